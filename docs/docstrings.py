"""Docstrings as Markdown, for the Python API page: an extension of griffe, which reads them.

They are written for ``help()``, with the roles and the ``::`` of reStructuredText. The site wants
links, and fences around examples.
"""

from __future__ import annotations

import re
from typing import Any

import griffe

_ROLE = re.compile(r":(?:class|func|meth|mod):`~?([\w.]+)`")
_EXAMPLE = re.compile(r"(?:^>>> .*\n?(?:^(?!\s*$).*\n?)*)", re.MULTILINE)
_RETURNS = re.compile(r"(?<=^Returns:\n)( +[^\n:]*):(?= )", re.MULTILINE)
_LITERAL = re.compile(r"^::\n|::$", re.MULTILINE)


class Markdown(griffe.Extension):
    """Rewrites each docstring as it is loaded."""

    def on_instance(self, *, obj: griffe.Object, **_kwargs: Any) -> None:  # noqa: ANN401, of griffe
        """Rewrite the docstring of a module, class, function or attribute."""
        if obj.docstring is not None:
            obj.docstring.value = as_markdown(obj.docstring.value)


def as_markdown(docstring: str) -> str:
    """Put roles, literal blocks and doctests as Markdown says them."""
    text = _ROLE.sub(r"`\1`", docstring)
    text = _RETURNS.sub(r"\1&#58;", text)  # or what stands before a colon would be taken for a type
    text = _LITERAL.sub(lambda found: "" if found[0].endswith("\n") else ":", text)
    return _EXAMPLE.sub(lambda found: f"```pycon\n{found[0].rstrip()}\n```\n", text)
