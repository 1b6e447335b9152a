"""``melcli completion``: what a shell needs to complete our words, and what they may be."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import types
import typing
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click
from click.shell_completion import (
    CompletionItem,
    ShellComplete,
    add_completion_class,
    split_arg_string,
)
from click.types import StringParamType

from melcli.cli.funnel import debug_option

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

_ASKS = "_MELCLI_COMPLETE"
"""The variable by which a shell asks: click looks at it."""

# Each script calls melcli with the line up to the cursor, and gets lines: a word that fits, whole,
# and behind a tab what it is. A word that ends in = or / is to be gone on with; an empty word says
# that file names fit.

_BASH = r"""
%(complete_func)s() {
    local IFS=$'\n' line="${COMP_LINE:0:COMP_POINT}" word="${COMP_WORDS[COMP_CWORD]}" found
    local typed="${line##*[[:space:]]}"
    local before="${typed%%"$word"}"
    [[ $word == [=:] ]] && before="$typed"
    COMPREPLY=()
    while read -r found; do
        found="${found%%%%$'\t'*}"
        if [[ -z $found ]]; then
            compopt -o default
        else
            COMPREPLY+=("${found#"$before"}")
            [[ $found == *[=/] ]] && compopt -o nospace
        fi
    done < <(env COMP_WORDS="$line" %(complete_var)s=bash_complete "$1" 2>/dev/null)
}
complete -o nosort -F %(complete_func)s %(prog_name)s
"""

_ZSH = r"""#compdef %(prog_name)s

%(complete_func)s() {
    local line found list=() words_left=() words_whole=() told_left=() told_whole=()
    local IFS=$'\n'
    for line in $(env COMP_WORDS="${(j: :)words[1,CURRENT-1]} $PREFIX" \
            %(complete_var)s=zsh_complete "${words[1]}" 2>/dev/null); do
        found="${line%%%%$'\t'*}"
        [[ $line == *$'\t'?* ]] && list=(-l)
        if [[ -z $found ]]; then
            _files
        elif [[ $found == *[=/] ]]; then
            words_left+=("$found"); told_left+=("${line/$'\t'/  -- }")
        else
            words_whole+=("$found"); told_whole+=("${line/$'\t'/  -- }")
        fi
    done
    compadd -U -V left -S '' $list -d told_left -a words_left
    compadd -U -V whole $list -d told_whole -a words_whole
}

if [[ $zsh_eval_context[-1] == loadautofunc ]]; then
    %(complete_func)s "$@"
else
    (( $+functions[compdef] )) || { autoload -Uz compinit && compinit }
    compdef %(complete_func)s %(prog_name)s
fi
"""

_FISH = r"""
function %(complete_func)s
    set -l line (commandline -cp)
    for found in (env COMP_WORDS="$line" %(complete_var)s=fish_complete %(prog_name)s 2>/dev/null)
        if string match -q \t'*' -- $found
            __fish_complete_path (commandline -ct)
        else
            echo $found
        end
    end
end
complete --no-files --command %(prog_name)s --arguments "(%(complete_func)s)"
"""


class _Whole(ShellComplete):
    """Completes whole words, as they are typed: ``--config=wh`` and ``mel.norm=sl`` are one each.

    click itself splits at an equals sign where bash does, and gives the rest.
    """

    def get_completion_args(self) -> tuple[list[str], str]:
        """The words before the cursor, and what there is of the next."""
        line = os.environ["COMP_WORDS"]
        words = split_arg_string(line)[1:]
        is_begun = bool(words) and not line[-1:].isspace()
        self._begun = words.pop() if is_begun else ""
        return words, self._begun

    def format_completion(self, item: CompletionItem[str]) -> str:
        """A line for the script: the word, a tab, and what it is."""
        if item.type != "plain":
            return "\t"
        option, equals, _ = self._begun.partition("=")
        prefix = option + equals if option.startswith("--") and equals else ""
        word = item.value if item.value.startswith(prefix) else prefix + item.value
        return f"{word}\t{(item.help or '').splitlines()[0]}" if item.help else word


class _Bash(_Whole):
    name, source_template = "bash", _BASH.lstrip()


class _Zsh(_Whole):
    name, source_template = "zsh", _ZSH


class _Fish(_Whole):
    name, source_template = "fish", _FISH.lstrip()


_SHELLS: dict[str, type[ShellComplete]] = {kind.name: kind for kind in (_Bash, _Zsh, _Fish)}
for _kind in _SHELLS.values():
    add_completion_class(_kind)


class _Word(StringParamType):
    """Text, of which something is known.

    Args:
        fitting: The words that begin with what there is; with one of type ``file``, any file may.
    """

    def __init__(self, fitting: Callable[[str], Iterable[CompletionItem[str]]]) -> None:
        self._fitting = fitting

    def shell_complete(
        self, _ctx: click.Context, _param: click.Parameter, incomplete: str
    ) -> list[CompletionItem[str]]:
        """What fits."""
        return list(self._fitting(incomplete))


def know_values(command: click.Command) -> None:
    """Give the parameters of a command, and of those below, the words that may be theirs."""
    for param in command.params:
        known = _KNOWN.get(max(param.opts, key=len))
        if known is not None and isinstance(param.type, StringParamType):
            param.type = _Word(known)
    if isinstance(command, click.Group):
        for inner in command.commands.values():
            know_values(inner)


def _names(begun: str) -> Iterator[CompletionItem[str]]:
    """Names of front ends, and what may be or lead to a file of one's own."""
    from melcli import presets

    for name in sorted([*presets.ALIASES, *presets.names()]):
        if name.startswith(begun):
            yield CompletionItem(name)
    folder, slash, start = begun.rpartition("/")
    with contextlib.suppress(OSError):
        for path in sorted(Path(f"{folder}{slash}" or ".").expanduser().iterdir()):
            end = "" if path.suffix == ".toml" else "/" if begun and path.is_dir() else None
            if end is not None and path.name.startswith(start):
                yield CompletionItem(f"{folder}{slash}{path.name}{end}")


def _settings(begun: str) -> Iterator[CompletionItem[str]]:
    """Keys of a front end; behind an equals sign the values that are known by name."""
    from melcli.config.fields import GROUPS

    for group, kind in GROUPS.items():
        for field in dataclasses.fields(kind):
            key = f"{group}.{field.name}="
            if begun.startswith(key):
                for value in _values(typing.get_type_hints(kind)[field.name]):
                    if f"{key}{value}".startswith(begun):
                        yield CompletionItem(f"{key}{value}")
            elif key.startswith(begun):
                yield CompletionItem(key, help=field.metadata["doc"])


def _values(annotation: object) -> Iterator[str]:
    if annotation is bool:
        yield from ("true", "false")
    elif typing.get_origin(annotation) is Literal:
        yield from map(str, typing.get_args(annotation))
    elif typing.get_origin(annotation) in {types.UnionType, typing.Union}:
        for choice in typing.get_args(annotation):
            yield from _values(choice)


def _files(begun: str) -> Iterator[CompletionItem[str]]:
    yield CompletionItem(begun, type="file")


def _among(*words: str) -> Callable[[str], Iterator[CompletionItem[str]]]:
    return lambda begun: (CompletionItem(word) for word in words if word.startswith(begun))


_KNOWN: dict[str, Callable[[str], Iterator[CompletionItem[str]]]] = {
    "--channels": _among("mean", "first", "each"),
    "--config": _names,
    "--device": _among("auto", "cpu", "cuda"),
    "--files-from": _files,
    "--ids": _files,
    "--output": _files,
    "--report": _files,
    "--segments": _files,
    "--set": _settings,
    "name": _names,
    "names": _names,
}
"""By the longest name of an option, or the name of an argument."""


@click.command()
@click.argument("shell", type=click.Choice(list(_SHELLS)))
@debug_option
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """Print what makes SHELL complete the words behind melcli.

    \b
        melcli completion bash
        eval "$(melcli completion bash)"        # this line in ~/.bashrc
        eval "$(melcli completion zsh)"         # in ~/.zshrc
        melcli completion fish | source         # in ~/.config/fish/config.fish

    In a shell that is started then, Tab completes commands, options, names of front ends, keys and
    values of --set, and files. bash must be 4.4 or newer.
    """
    click.echo(_SHELLS[shell](context.find_root().command, {}, "melcli", _ASKS).source(), nl=False)
