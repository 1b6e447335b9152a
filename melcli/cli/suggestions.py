"""What somebody may have meant who mistyped a word: the same command line, mended."""

from __future__ import annotations

import difflib
import re
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_LONGEST = 200
"""Characters of a command line that is worth printing again."""

_HELD = {".h5", ".hdf5", ".npz"}
"""What outputs and scalers end in."""


def with_suggestion(error: click.UsageError, typed: Sequence[str]) -> click.UsageError:
    """The same error, with what may have been meant.

    Args:
        error: What click says.
        typed: The words behind ``melcli``.
    """
    if error.ctx is None:
        return error
    command, word = error.ctx.command, _quoted(error.message)
    if isinstance(error, click.NoSuchOption):
        meant = _option(error.option_name, error.ctx, typed)
    elif isinstance(command, click.Group) and word in typed:
        meant = _command(command, word, typed)
    elif isinstance(error, click.BadParameter) and error.param is not None:
        meant = _choice(error.param, word, typed)
    else:
        meant = ""
    if not meant:
        return error
    # Newer versions of click add all words that are near; the message is without them.
    told = error.format_message() if isinstance(error, click.BadParameter) else error.message
    return click.UsageError(f"{told}\n  try: {meant}", error.ctx)


def _quoted(message: str) -> str:
    """The word that click complains of stands in quotes."""
    found = re.search(r"'(.*?)'", message)
    return found[1] if found else ""


def _option(name: str, context: click.Context, typed: Sequence[str]) -> str:
    command = context.command
    near = _nearest(name, _options(command))
    if near:
        return _again(typed, name, near)
    if context.parent is not None or not isinstance(command, click.Group):
        return ""
    # An option of a command, before the command or without one.
    behind = [word for word in typed if word in command.commands]
    meant = behind[0] if behind else "extract"
    if name not in _options(command.commands[meant]):
        return ""
    rest = list(typed)
    if behind:
        rest.remove(meant)
    return _line([meant, *rest])


def _command(group: click.Group, word: str, typed: Sequence[str]) -> str:
    at = list(typed).index(word)
    before, rest = list(typed[:at]), list(typed[at + 1 :])
    if f"--{word}" in _options(group):  # melcli help extract
        return _line([*before, *rest, f"--{word}"])
    near = _nearest(word, group.commands)
    if near and (before or not Path(word).exists()):
        return _line([*before, near, *rest])
    for name, inner in group.commands.items():
        if isinstance(inner, click.Group) and word in inner.commands:
            return _line([*before, name, word, *rest])
    is_name = Path(word).exists() or "/" in word or "." in word
    if before or not is_name:
        return ""
    if Path(word).suffix.lower() in _HELD and not rest:
        return _line(["info", word])
    has_output = any(re.match(r"-o|--output(=|$)", other) for other in rest)
    return _line(["extract", word, *rest, *([] if has_output else ["-o", "mels.h5"])])


def _choice(param: click.Parameter, word: str, typed: Sequence[str]) -> str:
    if not isinstance(param.type, click.Choice):
        return ""
    near = _nearest(word, map(str, param.type.choices))
    return _again(typed, word, near) if near else ""


def _options(command: click.Command) -> list[str]:
    with click.Context(command, **command.context_settings) as context:
        params = command.get_params(context)
    return [name for param in params if isinstance(param, click.Option) for name in param.opts]


def _nearest(word: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(word.lower(), list(known), n=1)
    return near[0] if near else ""


def _again(typed: Sequence[str], wrong: str, right: str) -> str:
    """The command line with one word mended; the word alone if it was not typed, or is far off."""
    value = re.compile(rf"(?:(?<==)|^){re.escape(wrong)}(?==|$)")
    mended = [value.sub(lambda _: right, word) for word in typed]
    return (_line(mended) if mended != list(typed) else "") or right


def _line(words: Sequence[str]) -> str:
    text = shlex.join(["melcli", *words])
    return text if len(text) <= _LONGEST and text.isprintable() else ""
