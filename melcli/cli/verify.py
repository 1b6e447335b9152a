"""``melcli verify``: is an output still what was written, and what its audio gives?"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import click

from melcli.cli.funnel import debug_option, say
from melcli.cli.process import keep_freed_memory, keep_stdout_clean, large_imports
from melcli.errors import AudioError, StoreError, UsageError
from melcli.pipeline.report import plural, size

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tqdm import tqdm

    from melcli.dataset.mels import Mels
    from melcli.pipeline.recompute import Recomputation
    from melcli.store.records import Failed, Fault

_LINE_EVERY_SECONDS = 30.0


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "--audio-root",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    metavar="DIR",
    help="Compute some inputs again, from the audio at DIR/ID, and compare.",
)
@click.option(
    "--sample",
    metavar="N|P%",
    help="How many: a number or a share, 1% if not told. Their ids decide which: always the same.",
)
@click.option(
    "--device",
    metavar="auto|cpu|cuda[:N]",
    help="Where to compute them; auto: on the CPU if FILE was made on one.",
)
@click.option("--json", "as_json", is_flag=True, help="As JSON, with every fault.")
@click.option("-q", "--quiet", is_flag=True, help="Print nothing but errors.")
@click.option("--no-progress", is_flag=True, help="Draw no bar.")
@debug_option
def verify(
    file: Path,
    *,
    audio_root: Path | None,
    sample: str | None,
    device: str | None,
    as_json: bool,
    quiet: bool,
    no_progress: bool,
) -> None:
    """Read all of FILE back, and name every fault.

    \b
        melcli verify mels.h5
        melcli verify mels/ --json | jq .faults
        melcli verify mels.h5 --audio-root corpus/
        melcli verify mels.h5 --audio-root corpus/ --sample 100%

    Every row is compared with the checksum it was written with. With --audio-root some inputs are
    computed again: on the machine that made FILE all bytes must be the same, on another the
    numbers must lie within the front end's tolerance, and what is printed says which. Audio that
    is gone or was changed since is counted, and not compared.

    Exit status: 0 all as it was, 1 some audio cannot be read now, 2 wrong usage, 3 none of the
    audio is there as it was, 4 a fault, 5 the machine, 130 interrupted.
    """
    if audio_root is None and (sample, device) != (None, None):
        option = "--device" if sample is None else "--sample"
        remedy = "--audio-root DIR: the folder that the ids of FILE count from"
        raise UsageError(f"{option} says how to compute again, and there is no audio", None, remedy)
    from melcli.dataset import mels

    again, found = None, []
    with mels.open(file) as output, _Progress(bar=not no_progress, quiet=quiet) as progress:
        n_items, n_rows = len(output), int(output.reader.items["stop"][-1:].sum())
        if audio_root is not None:
            again = _recomputation(output, audio_root, sample, device)
        for fault in _faults(output, again, progress):
            found.append(fault)
            progress.say(f"{fault.id}: {fault.cause}" if fault.id else fault.cause)
    if as_json:
        record: dict[str, Any] = {"path": str(file), "items": n_items, "rows": n_rows}
        record["faults"] = [fault._asdict() for fault in found]
        if audio_root is not None:
            record["recomputed"] = None if again is None else again.to_record()
        click.echo(json.dumps(record, ensure_ascii=False))
    elif not quiet:
        if not found:
            click.echo(f"{file}: {n_items:,} items, {n_rows:,} rows, all as they were written")
        if again is not None:
            click.echo(str(again))
    _complain(file, n_items, found, [] if again is None else again.failed)


def _recomputation(
    output: Mels, audio_root: Path, sample: str | None, device: str | None
) -> Recomputation | None:
    """What is to be computed again; None where the config is not what it was."""
    from melcli.dataset.verify import config_fault

    if config_fault(output):
        say("nothing is computed again: its config is not the one it was made with")
        return None
    keep_stdout_clean()
    with large_imports():
        from melcli.pipeline.recompute import SAMPLE, Recomputation  # brings torch in
    keep_freed_memory()
    return Recomputation(
        output.reader, audio_root, sample=sample or SAMPLE, device=device or "auto"
    )


def _faults(output: Mels, again: Recomputation | None, progress: _Progress) -> Iterator[Fault]:
    from melcli.dataset.verify import faults

    n_rows = int(output.reader.items["stop"][-1:].sum())
    progress.begin("read back", n_rows * output.header.row_bytes, "B")
    damaged = set()
    for fault in faults(output, progress.advanced):
        damaged.add(fault.id)
        yield fault
    if again is not None:
        progress.begin("recomputed", again.n_to_compute, " inputs")
        yield from again.faults(damaged, progress.advanced)


def _complain(file: Path, n_items: int, found: list[Fault], failed: list[Failed]) -> None:
    for outcome in failed:
        say(f"{outcome.id}: cannot be computed again: {outcome.cause}")
    if found:
        raise StoreError(
            f"{len(found):,} fault{'s' * (len(found) > 1)} in {n_items:,} items",
            file,
            "melcli info tells how it was made; --overwrite makes it anew",
        )
    if failed:
        cause = f"{plural(len(failed), 'input')} cannot be computed again"
        raise AudioError(cause, file, failed[0].remedy)


class _Progress:
    """A bar where stderr is a terminal, else a line every half minute.

    Args:
        bar: Show the bar.
        quiet: Show nothing.
    """

    def __init__(self, *, bar: bool, quiet: bool) -> None:
        self._show_bar = bar and not quiet and sys.stderr.isatty()
        self._lines = not self._show_bar and not quiet
        self._bar: tqdm[Any] | None = None
        self._last_line = time.monotonic()
        self._doing, self._unit, self._n, self._total = "", "", 0, 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        if self._bar is not None:
            self._bar.close()

    def begin(self, doing: str, total: int, unit: str) -> None:
        """Begin with something else: so many bytes (``B``), or inputs."""
        self._doing, self._total, self._unit, self._n = doing, total, unit, 0
        if self._show_bar:
            from tqdm import tqdm

            self.__exit__()
            self._bar = tqdm(
                desc=doing,
                total=total,
                unit=unit,
                unit_scale=unit == "B",
                dynamic_ncols=True,
                file=sys.stderr,
            )

    def advanced(self, n: int) -> None:
        """Move the bar, or print a line if the last is half a minute old."""
        self._n += n
        if self._bar is not None:
            self._bar.update(n)
        elif self._lines and time.monotonic() - self._last_line >= _LINE_EVERY_SECONDS:
            self._last_line = time.monotonic()
            done, total = (
                (size(self._n), size(self._total))
                if self._unit == "B"
                else (f"{self._n:,}", f"{self._total:,}{self._unit}")
            )
            say(f"{self._doing} {done} of {total}")

    def say(self, text: str) -> None:
        """Print a line above the bar."""
        if self._bar is not None:
            self._bar.clear()
        say(text)
