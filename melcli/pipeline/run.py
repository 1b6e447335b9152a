"""Audio to mels: what `melcli extract` and `melcli.extract` do."""

from __future__ import annotations

import datetime as dt
import os
import tempfile
from array import array
from pathlib import Path
from typing import IO, TYPE_CHECKING

import numpy as np

import melcli
from melcli import presets
from melcli.config import MelConfig, OutputConfig, RunConfig
from melcli.dsp.frontend import FrontEnd
from melcli.dsp.mel import filterbank_faults
from melcli.errors import AudioError, UsageError
from melcli.pipeline.batching import Batch, budget
from melcli.pipeline.device import choose_device, machine_record, set_for_a_run
from melcli.pipeline.engine import Engine
from melcli.pipeline.outputs import Means, fill, kept_bytes, write_npy
from melcli.pipeline.plan import Plan, Selection, make_plan
from melcli.pipeline.report import Listener, Report, Silence
from melcli.pipeline.room import Room, room_for
from melcli.pipeline.target import long_rule, output_path, plan_inputs
from melcli.pipeline.worker import Worker
from melcli.scaler.files import check_front_end
from melcli.scaler.module import Scaler
from melcli.store.records import Failed, Header
from melcli.store.shards import SETTING

if TYPE_CHECKING:
    from collections.abc import Sequence

    import torch

    from melcli.pipeline.books import Books
    from melcli.statistics.normalize import Normalization


def extract(
    inputs: Selection | str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    output: str | os.PathLike[str],
    config: MelConfig | str = presets.DEFAULT,
    *,
    scaler: Scaler | Normalization | None = None,
    out: OutputConfig | None = None,
    run: RunConfig | None = None,
    listener: Listener | None = None,
    command: str = "melcli.extract()",
) -> Report:
    """Write the mel spectrogram of every input to ``output``.

    Killed at any moment and called again, it goes on where it was. torch's number of threads is
    one while it runs, and is then as it was; signals are left alone. On Linux, with much to do and
    no other thread of Python's, it forks worker processes and ends them; else it uses threads.

    Args:
        inputs: Files and folders, or a :class:`~melcli.pipeline.plan.Selection`.
        output: An ``.h5`` file, or a folder of ``.npy`` files (existing, or ending in ``/``).
        config: A front end, its name, or the path of its file.
        scaler: Normalises every row: a :class:`melcli.Scaler` that was fitted to this front end.
        out: What the output holds, and what becomes of one that is there.
        run: How the run goes about it; changes no byte of the output.
        listener: Hears of every input.
        command: Kept in the output.

    Returns:
        The books: what became of each input, and the exit code that follows.

    Raises:
        UsageError: Contradicting inputs, or an output that is neither file nor folder.
        ConfigError: A front end that cannot be.
        ScalerError: The scaler is not fitted, or is of another front end.
        NoInputError: There is no input.
        StoreError: The output has other settings, is in use, or is not melcli's.
        DeviceError: The disk is full, or there is no such device.

    An input that cannot be used raises nothing: it has failed, and the report says why.

    >>> with tempfile.TemporaryDirectory() as folder:
    ...     output = f"{folder}/mels.h5"
    ...     first = extract("examples/audio/speech", output, "hifigan-22k")
    ...     again = extract("examples/audio/speech", output, "hifigan-22k")
    >>> (first.done, first.already, first.exit_code), (again.done, again.already, again.exit_code)
    ((4, 0, 0), (0, 4, 0))
    """
    selection = as_selection(inputs)
    config = presets.load(config).config if isinstance(config, str) else config
    out, run, listener = out or OutputConfig(), run or RunConfig(), listener or Silence()
    path, scaler = output_path(output), as_normalization(scaler, config)
    plan = plan_inputs(selection, path, config, out)
    report = Report(str(output), config.name or "a config of your own", inputs=len(plan))
    report.input_bytes, report.ignored = plan.total_bytes(), plan.ignored
    device = choose_device(run.device)
    header = make_header(config, out, device, command, plan, scaler)

    def room(books: Books) -> Room:
        # A named front end is as its original is: nothing to choose, so nothing to warn of.
        report.warnings += [] if presets.is_named(config) else filterbank_faults(config)
        todo = array("q", (index for index, _ in books.todo()))
        kept = kept_bytes(books, path, overwrite=out.overwrite)
        return room_for(plan, todo, path, config, out, kept=kept)

    means = Means(
        room,
        lambda: make_worker(plan, config, out, run, device, path.parent, scaler),
        budget(config, run.memory, run.n_workers),
    )
    fill(path, header, plan, means, out=out, run=run, report=report, listener=listener)
    return report


def extract_to_stream(
    selection: Selection,
    stream: IO[bytes],
    config: MelConfig,
    out: OutputConfig,
    run: RunConfig,
    scaler: Normalization | None = None,
) -> None:
    """Write the mel of one input as ``.npy``, in the config's layout.

    Raises:
        UsageError: If there are several inputs, or one becomes several items.
        AudioError: If it cannot be used.
    """
    plan = make_plan(selection)
    several = "an .h5 file or a folder holds more"
    if len(plan) != 1:
        raise UsageError(f"standard output takes one input, not {len(plan)}", None, several)
    device = choose_device(run.device)
    with set_for_a_run():
        folder = Path(tempfile.gettempdir())
        worker = make_worker(plan, config, out, run, device, folder, scaler)
        [result] = worker(Batch((0,), 0, ends_segment=True)).results
        outcome, rows = result.outcome, [np.concatenate(list(pieces)) for pieces in result.rows]
    if isinstance(outcome, Failed):
        raise AudioError(outcome.cause, plan[0].name, outcome.remedy)
    if len(rows) != 1:
        raise UsageError(f"this input becomes {len(rows)} items", plan[0].name, several)
    write_npy(stream, rows[0], out.dtype, rows_last=config.out.layout == "mel_time")


def as_selection(
    inputs: Selection | str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
) -> Selection:
    """Whatever a caller names its inputs by, as a selection."""
    if isinstance(inputs, Selection):
        return inputs
    if isinstance(inputs, str | os.PathLike):
        return Selection(paths=(inputs,))
    return Selection(paths=tuple(inputs))


def as_normalization(
    scaler: Scaler | Normalization | None, config: MelConfig
) -> Normalization | None:
    """What a scaler does to rows of a front end.

    Raises:
        ScalerError: It is not fitted, or is of another front end.
    """
    if scaler is None:
        return None
    if isinstance(scaler, Scaler):
        scaler = scaler.normalization
    check_front_end(scaler.statistics, config, "the scaler")
    return scaler


def make_header(
    config: MelConfig,
    out: OutputConfig,
    device: torch.device,
    command: str,
    plan: Plan,
    scaler: Normalization | None = None,
) -> Header:
    """What the output is, known before its first row."""
    shard = {} if plan.shard is None else {SETTING: str(plan.shard)}
    return Header(
        config=config.to_toml(),
        config_digest=config.digest,
        settings={
            "channels": str(config.wave.channels),
            "long": long_rule(config, out),
            "store_layout": out.store_layout,
            **shard,
            **({} if scaler is None else scaler_settings(scaler)),
        },
        machine=machine_record(device),
        command=command,
        created=dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
        melcli_version=melcli.__version__,
        row_shape=config.row_shape,
        row_labels=config.row_labels,
        dtype=out.dtype,
        transpose=config.out.layout == "mel_time",
        overwrite=out.overwrite,
        inputs_digest=plan.inputs_digest,
        scaler=scaler,
    )


def scaler_settings(scaler: Normalization) -> dict[str, str]:
    """What an output's settings say of its scaler: outputs of two scalers are not mixed."""
    return {"normalize": scaler.rule, "over": scaler.over, "scaler": scaler.digest[:16]}


def make_worker(
    plan: Plan,
    config: MelConfig,
    out: OutputConfig,
    run: RunConfig,
    device: torch.device,
    folder: Path,
    scaler: Normalization | None = None,
) -> Worker:
    """What reads the inputs of a plan and computes them."""
    engine = Engine(FrontEnd(config, scaler).to(device))
    return Worker(plan, engine, out, folder, reads_ahead=run.n_workers > 1)
