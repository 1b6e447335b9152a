"""The end of a run: its summary, and the next command to try."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import click
from click.core import ParameterSource

from melcli.cli.funnel import say, typed

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from melcli.cli.options import Telling
    from melcli.pipeline.report import Report
    from melcli.store.shards import Shard

_LONGEST = 200
"""Characters of a command that is worth printing again."""

_KNOWS_ITS_FRONT_END = {".npz", ".h5"}


def sum_up(
    report: Report,
    telling: Telling,
    heard: Collection[str],
    following: str,
    *,
    more: str,
    hints: Iterable[str] = (),
) -> None:
    """Tell what was done, unless nothing is to be told.

    Args:
        report: The books.
        telling: What to tell.
        heard: Warnings that were told already.
        following: What :func:`after_output` or the like says.
        more: Where all failures are, if no report was written.
        hints: Lines to add.
    """
    if telling.quiet:
        return
    if telling.report is not None:
        more = f"{'the report' if telling.report == '-' else telling.report} lists all"
    elif report.stopped:
        more = "the same command with --report FILE lists all"
    say(report.summary(heard, more=more, hints=hints, verbose=telling.verbose))
    if following and not telling.as_json:
        say(following)


def after_output(report: Report, shard: Shard | None) -> str:
    """What to try once an output is written; nothing after a run that brought nothing new."""
    if not report.done or report.stopped:
        return ""
    if report.failed:
        again = retyped(add="--retry-failed", leave_out="--overwrite")  # what is good is kept
        return f"next, once they are mended: {again}" if again else ""
    if shard is not None:
        return after_shard("melcli merge", report.output, shard)
    return after("info", report.output)


def tell_how_to_do_it(telling: Telling, output: str | None) -> None:
    """Say, after ``--dry-run``, what is left to type."""
    again = retyped(leave_out="--dry-run")
    if output and again and not (telling.quiet or telling.as_json):
        say(f"next: {again}")


def after(*words: str) -> str:
    """A line that says what to try next."""
    return f"next: {shlex.join(['melcli', *words])}"


def after_shard(merge: str, output: str, shard: Shard) -> str:
    """The command that puts all shards together, if their names follow from that of one.

    >>> from melcli.store.shards import Shard
    >>> after_shard("melcli merge", "mels.3.h5", Shard(3, 8))
    'next, once all 8 are there: melcli merge mels.?.h5 -o mels.h5'
    >>> after_shard("melcli merge", "mels/", Shard(3, 8))
    'next, once all 8 are there: melcli merge mels/ -o mels/'
    """
    if output.endswith("/") or Path(output).is_dir():
        shards = whole = shlex.quote(output)  # all shards share one folder
    else:
        folder, name = str(Path(output).parent / "x")[:-1].removeprefix("./"), Path(output).name
        stem, suffix = name.removesuffix(Path(name).suffix), Path(name).suffix
        number, count = shard.number, shard.count
        pattern = (
            rf"[._-]*(?:shard|part)?[._-]*(?<!\d)(0*{number})(?!\d)(?:[._-]?of[._-]?0*{count})?"
        )
        found = list(re.finditer(pattern, stem))
        rest = stem[: found[-1].start()] + stem[found[-1].end() :] if found else ""
        if not rest:
            return ""
        digits = found[-1].span(1)
        is_fixed = len(found[-1][1]) == len(str(count))
        wild = "?" * len(found[-1][1]) if is_fixed else "*"
        ends = (folder + stem[: digits[0]], stem[digits[1] :] + suffix)
        shards = wild.join(shlex.quote(end) if end else "" for end in ends)
        whole = shlex.quote(f"{folder}{rest}{suffix}")
    return f"next, once all {shard.count} are there: {merge} {shards} -o {whole}"


def after_fit(report: Report, output: str, shard: Shard | None, outputs: list[str]) -> str:
    """What to try once a scaler is written.

    Args:
        report: The books.
        output: The scaler.
        shard: The part of the inputs that it is of.
        outputs: Those of the inputs that are outputs of extract.
    """
    if not report.done or report.stopped:
        return ""
    if shard is not None:
        return after_shard("melcli scaler merge", output, shard)
    if Path(output).suffix.lower() not in _KNOWS_ITS_FRONT_END:
        return after("scaler", "show", output)
    if outputs:
        return after("scaler", "apply", outputs[0], "-o", "normal.h5", "--scaler", output)
    lists = ("files_from", "null", "files_format", "segments")
    inputs = _given("inputs", *lists, "root", "include", "exclude")
    how = _given("name", "settings", "channels", "resample", "long")
    if "-" in inputs:
        return ""
    return after("extract", *inputs, "-o", "normal.h5", *how, "--scaler", output)


def retyped(*, add: str = "", leave_out: str = "") -> str:
    """The command that was typed, with a word more or less; nothing if it cannot be repeated."""
    words = [word for word in typed() if word != leave_out]
    if add and add not in words:
        words.append(add)
    if "-" in words:
        return ""  # standard input is read
    text = shlex.join(["melcli", *words])
    if len(text) <= _LONGEST and text.isprintable():
        return text
    changes = [f"with {add}"] if add else []
    if leave_out in typed():
        changes.append(f"without {leave_out}")
    return f"the same command {', '.join(changes)}"


def _given(*names: str) -> list[str]:
    """What was typed, or set in the environment, for these parameters: as words of a command."""
    context, words = click.get_current_context(), []
    for param in context.command.params:
        name = param.name or ""
        source = context.get_parameter_source(name)
        if name not in names or source in {ParameterSource.DEFAULT, None}:
            continue
        value, longest = context.params[name], max(param.opts, key=len)
        values = value if isinstance(value, tuple) else (value,)
        for one in values:
            if isinstance(param, click.Argument):
                words.append(str(one))
            else:
                words += [longest] if isinstance(one, bool) else [longest, str(one)]
    return words
