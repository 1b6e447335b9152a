"""``melcli scaler apply`` and ``undo``: a scaler put to an output, or taken from it."""

from __future__ import annotations

import json
import shlex
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from melcli.cli.funnel import debug_option, say, stoppable
from melcli.cli.options import Normalizing, normalize_options
from melcli.cli.summary import after

if TYPE_CHECKING:
    from collections.abc import Callable

    from melcli.cli.funnel import Command
    from melcli.pipeline.rescale import Rescaled

_LINE_EVERY_SECONDS = 30.0


def _rescaling(command: Command) -> Command:
    """What both commands take."""
    for option in (
        debug_option,
        click.option("-q", "--quiet", is_flag=True, help="Print nothing but errors."),
        click.option("--json", "as_json", is_flag=True, help="The summary as JSON on stdout."),
        click.option("--overwrite", is_flag=True, help="Replace a finished output by a new one."),
        click.option(
            "-o",
            "--output",
            required=True,
            metavar="OUT",
            help="An .h5 file, or a folder (ending in /).",
        ),
        click.argument("features", type=click.Path(exists=True, path_type=Path)),
    ):
        command = option(command)
    return command


@click.command()
@_rescaling
@normalize_options
def apply(
    features: Path,
    output: str,
    normalizing: Normalizing,
    *,
    overwrite: bool,
    as_json: bool,
    quiet: bool,
) -> None:
    """Normalise FEATURES, an output of extract, by a scaler; into OUT, a new one.

    \b
        melcli scaler apply mels.h5 -o normal.h5 --scaler train.npz
        melcli scaler apply mels.h5 -o normal.h5 --scaler train.npz --normalize minmax --over all

    Rows are what extract --scaler gives. OUT carries the scaler, so that it can be undone. Killed
    at any moment, the same command goes on where it was.

    Exit status: 0 done, 2 wrong usage, 4 a scaler of another front end, or an output that is there
    or is damaged, 5 the machine.
    """
    if normalizing.scaler is None:
        raise click.UsageError("Missing option '--scaler': melcli fit-scaler makes one.")
    from melcli.dataset import mels
    from melcli.pipeline import rescale
    from melcli.pipeline.target import output_path

    with mels.open(features) as found:
        scaler = normalizing.load(found.config, quiet=quiet)
    if scaler is None:
        raise click.UsageError("Missing option '--scaler'.")
    advanced = _teller(quiet=quiet)
    with stoppable():
        done = rescale.apply(
            features,
            output_path(output),
            scaler,
            command=shlex.join(["melcli", *sys.argv[1:]]),
            overwrite=overwrite,
            advanced=advanced,
        )
    _tell(done, output, f"normalised ({scaler.rule}, over {scaler.over})", as_json, quiet)


@click.command()
@_rescaling
def undo(features: Path, output: str, *, overwrite: bool, as_json: bool, quiet: bool) -> None:
    """Take from FEATURES, a normalised output, the scaler that it carries; into OUT.

    \b
        melcli scaler undo normal.h5 -o mels.h5

    Numbers are as they were up to float32's rounding. Killed at any moment, the same command goes
    on where it was.

    Exit status: 0 done, 2 wrong usage, 4 an output that carries no scaler, is there or is damaged,
    5 the machine.
    """
    from melcli.pipeline import rescale
    from melcli.pipeline.target import output_path

    advanced = _teller(quiet=quiet)
    with stoppable():
        done = rescale.undo(
            features,
            output_path(output),
            command=shlex.join(["melcli", *sys.argv[1:]]),
            overwrite=overwrite,
            advanced=advanced,
        )
    _tell(done, output, "as before it was normalised", as_json, quiet)


def _teller(*, quiet: bool) -> Callable[[int], None]:
    """Say every half minute how many inputs are done."""
    last_line = time.monotonic()

    def advanced(n_inputs: int) -> None:
        nonlocal last_line
        if not quiet and time.monotonic() - last_line >= _LINE_EVERY_SECONDS:
            last_line = time.monotonic()
            say(f"{n_inputs:,} inputs done")

    return advanced


def _tell(done: Rescaled, output: str, how: str, as_json: bool, quiet: bool) -> None:  # noqa: FBT001, two flags of the command
    from melcli.pipeline.report import plural

    if as_json:
        record = {
            "output": output,
            "items": done.n_items,
            "rows": done.n_rows,
            "failures": done.n_failures,
        }
        click.echo(json.dumps(record))
    if not quiet:
        say(
            f"{output}: {plural(done.n_items, 'item')}, {plural(done.n_rows, 'row')} {how}, "
            f"{plural(done.n_failures, 'failure')}"
        )
        if not as_json:
            say(after("info", output))
