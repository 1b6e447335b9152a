"""Links between our documents lead where they say, on GitHub; `make docs` looks at the site."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from urllib.parse import unquote

import pytest

from tests.documents import ROOT, fenced

if TYPE_CHECKING:
    from pathlib import Path

DOCUMENTS = [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("examples/**/*.md")]
MADE = {"docs/python-api.md"}  # has headings that only the site has, from docstrings


def prose(page: Path) -> str:
    """A document without its code."""
    text = page.read_text(encoding="utf-8")
    for block in fenced(page):
        text = text.replace(block.text, "\n")
    return re.sub(r"`[^`\n]*`", "code", text)


def links(page: Path) -> list[str]:
    """Targets of links and pictures, but for those on other hosts."""
    found = re.findall(r"\]\(([^)\s]+)\)", prose(page))
    return [link for link in found if not re.match(r"https?:", link)]


def anchors(page: Path) -> set[str]:
    """What GitHub calls the headings of a document."""
    text = page.read_text(encoding="utf-8")
    for block in fenced(page):
        text = text.replace(block.text, "\n")
    headings = re.findall(r"^#+ (.*?) *#*$", text, re.MULTILINE)
    plain = (re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", heading) for heading in headings)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in plain}


def faults(page: Path) -> list[str]:
    """Links that lead nowhere."""
    wrong = []
    for link in links(page):
        path, _, anchor = unquote(link).partition("#")
        target = (page.parent / path).resolve() if path else page
        if not target.exists() or not target.is_relative_to(ROOT):
            wrong.append(link)
        elif anchor and target.relative_to(ROOT).as_posix() not in MADE:
            wrong += [] if anchor in anchors(target) else [link]
    return wrong


@pytest.mark.parametrize("page", DOCUMENTS, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    """Each relative link has a file, and each anchor a heading, in this checkout."""
    assert faults(page) == []


def test_a_broken_link_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A missing file, a missing heading, and what lies outside; code holds no links."""
    root = tmp_path / "checkout"
    root.mkdir()
    monkeypatch.setitem(globals(), "ROOT", root)
    (tmp_path / "d.md").touch()
    (root / "b.md").write_text("# Is `x` here? [Yes](a.md)\n```\n# not this\n```\n")
    page = root / "a.md"
    page.write_text(
        "[a](b.md#is-x-here-yes) [b](b.md#not-this) [c](c.md) [d](../d.md) ![e](e.png)\n"
        "`[f](f.md)` [g](https://example.com/g)\n```\n[h](h.md)\n```\n"
    )
    assert faults(page) == ["b.md#not-this", "c.md", "../d.md", "e.png"]
