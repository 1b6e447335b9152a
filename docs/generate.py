"""Writes the documents that follow from the code: ``docs/cli.md`` from the commands.

``python docs/generate.py`` writes them, ``--check`` fails if one is stale.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from melcli.cli import cli

if TYPE_CHECKING:
    from collections.abc import Iterator

DOCS = Path(__file__).parent


def command_line() -> str:
    """Every command with its help, as the terminal shows it."""
    head = (
        "# Command line\n\n"
        "Written by `docs/generate.py` from the commands themselves; edit those.\n"
    )
    return head + "".join(
        f"\n## {name}\n\n```text\n{text}\n```\n" for name, text in _helps(cli, None, "melcli")
    )


def _helps(
    command: click.Command, parent: click.Context | None, name: str
) -> Iterator[tuple[str, str]]:
    context = click.Context(
        command, parent, info_name=name, terminal_width=96, **command.context_settings
    )
    yield context.command_path, command.get_help(context)
    if isinstance(command, click.Group):
        for child in sorted(command.commands):
            yield from _helps(command.commands[child], context, child)


DOCUMENTS = {"cli.md": command_line}


def main() -> int:
    """Write the documents, or with ``--check`` compare them with what would be written."""
    stale = []
    for name, make in DOCUMENTS.items():
        path, text = DOCS / name, make()
        if "--check" not in sys.argv[1:]:
            path.write_text(text, encoding="utf-8")
        elif not path.is_file() or path.read_text(encoding="utf-8") != text:
            stale.append(name)
    if stale:
        sys.stderr.write(f"stale: {', '.join(stale)}; run python docs/generate.py\n")
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main())
