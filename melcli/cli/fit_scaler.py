"""``melcli fit-scaler``: the statistics of a dataset."""

from __future__ import annotations

import dataclasses
import json
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from melcli.cli.funnel import stoppable
from melcli.cli.options import (
    Telling,
    audio_options,
    fit_options,
    optional_config_options,
    run_options,
    telling_options,
)
from melcli.cli.process import keep_freed_memory, keep_stdout_clean, large_imports
from melcli.cli.progress import Progress
from melcli.cli.summary import after_fit, sum_up
from melcli.errors import UsageError

if TYPE_CHECKING:
    from melcli.config import MelConfig, OutputConfig, RunConfig
    from melcli.pipeline.fit import Fitted
    from melcli.pipeline.plan import Selection
    from melcli.statistics.fitted import Weight


@click.command("fit-scaler")
@audio_options
@click.option(
    "-o", "--output", required=True, metavar="SCALER", help="An .npz or .h5; or .npy or .pt."
)
@optional_config_options
@click.option("--ids", metavar="FILE", help="Take only inputs of these ids, one a line.")
@click.option(
    "--weight",
    type=click.Choice(["frame", "item"]),
    default="frame",
    help="What weighs the same: every frame, or every file however long.",
)
@click.option("--quantiles", is_flag=True, help="Count values too, for --normalize robust.")
@fit_options
@run_options
@telling_options
def fit_scaler(
    selection: Selection,
    output: str,
    config: MelConfig | None,
    out: OutputConfig,
    run: RunConfig,
    telling: Telling,
    *,
    ids: str | None,
    weight: Weight,
    quantiles: bool,
) -> None:
    """Gather the mean, deviation and range of every bin over INPUTS into SCALER.

    \b
        melcli fit-scaler train/ -o train.npz --config hifigan-22k
        melcli fit-scaler mels.h5 -o train.npz --ids train.txt
        melcli fit-scaler train/ -o train.npz --quantiles
        melcli fit-scaler train/ -o train.3.npz --shard 3/8
        melcli extract corpus/ -o mels.h5 --config hifigan-22k --scaler train.npz

    INPUTS are audio, as for extract, or outputs of extract, or both. An output knows its front end.
    Killed at any moment, the same command goes on where it was, to the same numbers.

    .npz and .h5 hold everything. .npy holds mean and deviation, (2, n_bins); .pt a state dict with
    mean and mean_squared, as the DESED baseline's TorchScaler has.

    Exit status: 0 all done, 1 some inputs failed or an id of --ids is nowhere, 2 wrong usage, 3 no
    input found, 4 the scaler is there and holds something else, 5 the machine, 130 interrupted.
    """
    if telling.report == "-" and telling.as_json:
        raise UsageError(
            "standard output is asked for by --report - and --json", None, "write one to a file"
        )
    if ids is not None:
        selection = dataclasses.replace(selection, ids=_read_ids(ids, null=selection.null))
    keep_stdout_clean()
    with stoppable() as at_stop:
        with large_imports():
            from melcli.pipeline import fit  # brings torch in; --help should not wait
            from melcli.pipeline.stretches import is_output
            from melcli.store.begun import HDF5_SUFFIX

        keep_freed_memory()
        with Progress(telling) as progress:
            at_stop(progress.stop)
            at_stop(lambda: Path(output + HDF5_SUFFIX).unlink())
            fitted = fit.fit_scaler(
                selection,
                output,
                config,
                weight=weight,
                quantiles=quantiles,
                out=out,
                run=run,
                listener=progress,
                command=shlex.join(["melcli", *sys.argv[1:]]),
            )
    if telling.as_json:
        click.echo(json.dumps(_record(fitted)))
    outputs = [str(path) for path in selection.paths if is_output(Path(path))]
    sum_up(
        fitted.report,
        telling,
        progress.warnings,
        after_fit(fitted.report, output, selection.shard, outputs),
        more="--retry-failed with --report FILE lists all",
    )
    if fitted.report.exit_code:
        sys.exit(fitted.report.exit_code)


def _read_ids(path: str, *, null: bool) -> frozenset[str]:
    try:
        raw = sys.stdin.buffer.read() if path == "-" else Path(path).read_bytes()
    except OSError as error:
        raise UsageError(f"the list of ids cannot be read: {error.strerror}", path) from error
    lines = raw.split(b"\0" if null else b"\n")
    try:
        return frozenset(line.decode().removesuffix("\r") for line in lines if line.strip())
    except UnicodeDecodeError as error:
        raise UsageError(
            "the list of ids is not UTF-8", path, "ids are: melcli info --json shows them"
        ) from error


def _record(fitted: Fitted) -> dict[str, object]:
    record = fitted.report.to_record()
    if fitted.statistics is not None:
        record |= {
            "frames": fitted.statistics.moments.count,
            "items": fitted.statistics.n_items,
            "weight": fitted.statistics.weight,
        }
    return record
