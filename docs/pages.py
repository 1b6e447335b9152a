"""What the site needs beside the pages in this folder: a hook of mkdocs.yml.

Documents are read on GitHub too, where links are paths in the checkout. Of those that lead out of
``docs/``, some lead to documents that are pages of the site as well, and the others to files, which
are copied into it. So one link works in both places, and a wrong one fails the build.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import TYPE_CHECKING

from mkdocs.structure.files import File, Files

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[1]
PAGES = {"CHANGELOG.md": "changelog.md", "CONTRIBUTING.md": "contributing.md"}
"""Documents of the checkout that are pages of the site too."""
HOME = {"README.md": "index.md"}
"""A document that has another page in its place."""

_LINK = re.compile(r"(?<=\]\()(?!\w+:|#)([^)#\s]+)")
_CODE = re.compile(r"^( *```).*?^\1|`[^`\n]*`", re.MULTILINE | re.DOTALL)


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the documents from the root, and what pages link to outside ``docs/``."""
    for source, name in PAGES.items():
        text = _for_site((ROOT / source).read_text(encoding="utf-8"), "")
        files.append(File.generated(config, name, content=text))
    for path in sorted(_linked_files(files)):
        dest = config.site_dir
        files.append(File(path, str(ROOT), dest, use_directory_urls=config.use_directory_urls))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Give the text of a page with the links of the site."""
    del config, files
    if page.file.src_uri == "front-ends.md":
        page.meta["hide"] = ["toc"]  # its tables are wide, and are a table of contents themselves
    if page.file.src_uri in PAGES.values():
        return markdown
    return _for_site(markdown, "docs")


def _linked_files(files: Files) -> set[str]:
    """The files in the checkout, no pages, that pages lead to."""
    texts = [(file.content_string, "docs") for file in files.documentation_pages()]
    found = {_in_checkout(link, folder) for text, folder in texts for link in _links(text)}
    is_page = (*PAGES, *HOME)
    outside = {path for path in found if not path.startswith("docs/") and path not in is_page}
    return {path for path in outside if (ROOT / path).is_file()}


def _links(markdown: str) -> list[str]:
    return _LINK.findall(_CODE.sub("", markdown))


def _in_checkout(link: str, folder: str) -> str:
    return posixpath.normpath(posixpath.join(folder, link))


def _for_site(markdown: str, folder: str) -> str:
    """Replace links of a document in a folder of the checkout by those of a page of the site."""

    def on_site(found: re.Match[str]) -> str:
        path = _in_checkout(found[1], folder)
        return (PAGES | HOME).get(path) or path.removeprefix("docs/")

    parts, place = [], 0
    for code in _CODE.finditer(markdown):
        parts += [_LINK.sub(on_site, markdown[place : code.start()]), code[0]]
        place = code.end()
    return "".join([*parts, _LINK.sub(on_site, markdown[place:])])
