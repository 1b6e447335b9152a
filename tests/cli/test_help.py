"""Every command and every option explains itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click
import pytest

import melcli
from melcli.cli import cli as group

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.conftest import Cli


def commands(command: click.Command, *path: str) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """All commands below one, with the words that call them."""
    yield path, command
    if isinstance(command, click.Group):
        for name, inner in command.commands.items():
            yield from commands(inner, *path, name)


ALL = list(commands(group))
IDS = [" ".join(path) or "melcli" for path, _ in ALL]


@pytest.mark.parametrize(("path", "command"), ALL, ids=IDS)
def test_help(cli: Cli, path: tuple[str, ...], command: click.Command) -> None:
    """Every command has help with an example of itself, short lines, and ``-h`` for ``--help``."""
    result = cli(*path, "--help")
    assert result.exit_code == 0
    assert "\n      melcli " + " ".join(path) in result.text
    assert max(map(len, result.text.splitlines())) <= 100
    assert cli(*path, "-h").text == result.text
    assert command.help


@pytest.mark.parametrize(("path", "command"), ALL, ids=IDS)
def test_examples_come_first(path: tuple[str, ...], command: click.Command) -> None:
    """Behind one line that says what a command does stand lines to paste, and then the rest."""
    what, examples, *_ = str(command.help).split("\n\n")
    assert len(what.splitlines()) == 1
    mark, *lines = examples.splitlines()
    assert mark.strip() == "\b"
    assert lines[0].startswith(" " * 4)
    assert any(line.split("#")[0].strip().startswith("melcli") for line in lines)
    assert " ".join(["melcli", *path]) in lines[0]


@pytest.mark.parametrize(("path", "command"), ALL, ids=IDS)
def test_summaries_are_whole(path: tuple[str, ...], command: click.Command) -> None:
    """In a list of commands no summary is cut where there are a hundred columns."""
    told = command.get_help(click.Context(command, terminal_width=98))
    assert "..." not in told.partition("Commands:")[2], path


@pytest.mark.parametrize(("path", "command"), ALL, ids=IDS)
def test_options(path: tuple[str, ...], command: click.Command) -> None:
    """Every option of every command has a text."""
    options = [option for option in command.params if isinstance(option, click.Option)]
    silent = [option.opts for option in options if not option.help]
    assert silent == [], path


@pytest.mark.parametrize(("path", "command"), ALL, ids=IDS)
def test_debug(path: tuple[str, ...], command: click.Command) -> None:
    """Every command that does something takes ``--debug``, as the message on a bug says."""
    names = {name for option in command.params for name in option.opts}
    assert isinstance(command, click.Group) or "--debug" in names, path


def test_version(cli: Cli) -> None:
    """``--version`` tells it."""
    assert cli("--version").text == f"melcli, version {melcli.__version__}\n"


def test_exit_codes_are_documented(cli: Cli) -> None:
    """Who scripts it finds the exit codes in the help."""
    text = " ".join(cli("extract", "--help").text.split())
    for told in ("0 all done", "1 some inputs failed", "2 wrong usage", "3 no input", "130"):
        assert told in text


def test_installed_command() -> None:
    """The script that is installed calls the same."""
    from melcli.__main__ import main
    from melcli.cli import main as real

    assert main is real
