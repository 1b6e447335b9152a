"""The code in our documents: blocks between fences, and where they stand."""

from __future__ import annotations

import pathlib
import re
from dataclasses import dataclass

ROOT = pathlib.Path(__file__).parents[1]
"""The checkout: README.md, docs/, examples/ lie there."""

_FENCE = re.compile(r" *(`{3,}|~{3,})([^`]*)")


@dataclass(frozen=True)
class Block:
    """What stands between two fences.

    Args:
        page: The document.
        line: Of its first line of code, from 1.
        language: The first word behind the opening fence, ``"python"`` or ``"console"``; may be
            empty.
        text: The code, each line with its end.
    """

    page: pathlib.Path
    line: int
    language: str
    text: str

    def __str__(self) -> str:
        return f"{self.page.name}:{self.line}"


def fenced(page: pathlib.Path) -> list[Block]:
    """All fenced blocks of a Markdown document, in order.

    Raises:
        ValueError: A fence is never closed, so that half of the page would be code.
    """
    blocks, opened, code = [], None, ""
    for number, line in enumerate(page.read_text(encoding="utf-8").splitlines(), start=1):
        found = _FENCE.fullmatch(line)
        if opened is None:
            if found:
                words = found[2].split()
                opened, code = (number, found[1], words[0] if words else ""), ""
        # Closed by a fence of the same kind, at least as long, with nothing behind it.
        elif found and found[1].startswith(opened[1]) and not found[2].strip():
            blocks.append(Block(page, opened[0] + 1, opened[2], code))
            opened = None
        else:
            code += f"{line}\n"
    if opened is not None:
        raise ValueError(f"{page}:{opened[0]}: the fence is never closed")
    return blocks


def code_of(page: pathlib.Path, language: str) -> list[Block]:
    """Those in one language."""
    return [block for block in fenced(page) if block.language == language]
