"""Mels to spectra: what `melcli invert` and `melcli.invert` do."""

from __future__ import annotations

import contextlib
import tempfile
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from melcli import presets, store
from melcli.config import AudioConfig, InvertConfig, MelConfig, OutputConfig, RunConfig
from melcli.dsp.mel import filterbank_faults
from melcli.dsp.undo import MelUndo
from melcli.errors import FeatureError, UsageError
from melcli.pipeline.batching import BATCH_BYTES, MIN_BATCH_BYTES, Batch, Budget
from melcli.pipeline.books import Books
from melcli.pipeline.device import choose_device, set_for_a_run
from melcli.pipeline.features import FileFeatures, OutputFeatures
from melcli.pipeline.inverting import InvertingWorker
from melcli.pipeline.outputs import Means, fill, kept_bytes, write_npy
from melcli.pipeline.report import Listener, Report, Silence, plural, size
from melcli.pipeline.room import Room
from melcli.pipeline.run import as_normalization, as_selection, make_header
from melcli.pipeline.sounding import audio_losses
from melcli.pipeline.stretches import is_output
from melcli.pipeline.target import output_path
from melcli.store.records import AUDIO_FORMAT, Failed, as_bytes

if TYPE_CHECKING:
    import os
    from collections.abc import Sequence

    import torch

    from melcli.pipeline.books import Books
    from melcli.pipeline.features import Features
    from melcli.pipeline.plan import Selection
    from melcli.scaler.module import Scaler
    from melcli.statistics.normalize import Normalization
    from melcli.store.records import Header

_HELD = 4.0
"""Bytes held for a byte of spectra: as they are searched for, and as they wait."""


def invert(
    inputs: Selection | str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    output: str | os.PathLike[str],
    config: MelConfig | str | None = None,
    *,
    how: InvertConfig | None = None,
    audio: AudioConfig | None = None,
    scaler: Scaler | Normalization | None = None,
    out: OutputConfig | None = None,
    run: RunConfig | None = None,
    listener: Listener | None = None,
    command: str = "melcli.invert()",
) -> Report:
    """Write the linear spectrum of every mel to ``output``, or a waveform that has it.

    Everything that the front end did behind its filterbank is undone, and a spectrum is looked for
    that has the mel. It has the front end's ``spec.power``: what the filterbank was fed.

    Killed at any moment and called again, it goes on where it was.

    Args:
        inputs: An output of :func:`melcli.extract`; or ``.npy`` files, and folders of them.
        output: An ``.h5`` file, or a folder (existing, or ending in ``/``); of waveforms a folder.
        config: The front end, its name, or the path of its file. An output knows its own.
        how: The method, and how good it must be.
        audio: Go on to waveforms, by Griffin and Lim's iterations, and write a file of each.
        scaler: What ``.npy`` files were normalised by. An output carries its own.
        out: What the output holds, and what becomes of one that is there.
        run: How the run goes about it; changes no byte of the output.
        listener: Hears of every input.
        command: Kept in the output.

    Returns:
        The books: what became of each input, and the exit code that follows.

    Raises:
        UsageError: Contradicting inputs, or an output that is neither file nor folder.
        ConfigError: A front end that cannot be, or cannot be undone.
        NoInputError: There is no input.
        StoreError: The features cannot be read, or are of another front end; or the output has
            other settings, is in use, or is not melcli's.
        DeviceError: The disk is full, or there is no such device.
    """
    how, out, run = how or InvertConfig(), out or OutputConfig(), run or RunConfig()
    listener, path = listener or Silence(), output_path(output)
    if audio is not None and store.is_hdf5(path):
        raise UsageError("holds no waveforms", path, f"a folder: {path.with_suffix('')}/")
    with contextlib.closing(find_features(as_selection(inputs), config, scaler)) as features:
        report = Report(str(output), features.config.name or "a config of your own")
        report.inputs, plan = len(features.plan), features.plan
        report.input_bytes, report.ignored = plan.total_bytes(), plan.ignored
        report.former_notes, report.has_files = features.notes, audio is not None
        losses = audio_losses(features.config) if audio else []
        for doubt in [*_doubts(features.config), *losses]:
            report.warnings.append(doubt)
            listener.warned(doubt)  # before the work, which may not be worth it then
        device = choose_device(run.device)
        worker = InvertingWorker(features, how, out.dtype, device, path.parent, audio)
        header = _header(features, how, audio, out, device, command)
        means = Means(
            lambda books: _room(books, path, header, features.config), lambda: worker, _budget(run)
        )
        fill(path, header, plan, means, out=out, run=run, report=report, listener=listener)
    return report


def invert_to_stream(
    selection: Selection,
    stream: IO[bytes],
    config: MelConfig | str | None,
    how: InvertConfig,
    audio: AudioConfig | None,
    out: OutputConfig,
    run: RunConfig,
    scaler: Normalization | None = None,
) -> None:
    """Write the spectrum of one mel as ``.npy``, in the layout of its front end, or its waveform.

    Raises:
        UsageError: If there are several.
        FeatureError: If it cannot be used.
    """
    several = "an .h5 file or a folder holds more"
    device = choose_device(run.device)
    found = find_features(selection, config, scaler)
    with contextlib.closing(found) as features, set_for_a_run():
        if len(features.plan) != 1:
            raise UsageError(
                f"standard output takes one input, not {len(features.plan)}", None, several
            )
        folder = Path(tempfile.gettempdir())
        worker = InvertingWorker(features, how, out.dtype, device, folder, audio)
        [result] = worker(Batch((0,), 0, ends_segment=True)).results
        outcome, name = result.outcome, features.plan[0].name
        if isinstance(outcome, Failed):
            raise FeatureError(outcome.cause, name, outcome.remedy)
        if len(result.rows) != 1:
            raise UsageError(f"this input holds {len(result.rows)} items", name, several)
        if audio is not None:
            for data in result.rows[0]:
                stream.write(as_bytes(data))
            stream.flush()
            return
        rows = np.concatenate(list(result.rows[0]))
        is_turned = features.config.out.layout == "mel_time"
    write_npy(stream, rows, out.dtype, rows_last=is_turned)


@dataclass(frozen=True)
class Foreseen:
    """What a run would do.

    Args:
        n_inputs: There are.
        n_bytes: Of their spectra, about, as float32.
        config: The name of the front end.
        warnings: What is not to be had.
    """

    n_inputs: int
    n_bytes: int
    config: str
    warnings: list[str]

    def to_record(self) -> dict[str, Any]:
        """For ``--json``: plain values only."""
        return asdict(self)

    def __str__(self) -> str:
        told = f"{plural(self.n_inputs, 'input')} of {self.config}, {size(self.n_bytes)} of spectra"
        return "\n".join([told, *(f"warning: {warning}" for warning in self.warnings)])


def foresee(
    selection: Selection,
    config: MelConfig | str | None,
    audio: AudioConfig | None,
    scaler: Normalization | None = None,
) -> Foreseen:
    """Tell what `invert` would do, without reading any mel.

    Raises:
        ConfigError: The front end cannot be undone.
    """
    with contextlib.closing(find_features(selection, config, scaler)) as features:
        plan = features.plan
        n_bytes = sum(plan.decoded_bytes(index) for index in range(len(plan)))
        warnings = _doubts(features.config) + (audio_losses(features.config) if audio else [])
        name = features.config.name or "a config of your own"
        return Foreseen(len(plan), n_bytes, name, warnings)


def find_features(
    selection: Selection,
    config: MelConfig | str | None,
    scaler: Scaler | Normalization | None = None,
) -> Features:
    """Whatever holds mels.

    Raises:
        UsageError: Nobody says which front end they are of; an output among other inputs; or a
            scaler for one, which carries its own.
        ScalerError: The scaler is not fitted, or is of another front end.
    """
    given = presets.load(config).config if isinstance(config, str) else config
    outputs = [path for path in map(Path, selection.paths) if is_output(path)]
    if outputs and (len(selection.paths) > 1 or selection.files_from is not None):
        raise UsageError(
            "is an output, and there are other inputs", outputs[0], "invert each by itself"
        )
    if outputs and scaler is not None:
        raise UsageError("carries its own scaler, if it has one", outputs[0], "leave out --scaler")
    if outputs:
        return OutputFeatures(outputs[0], selection, given)
    for path in map(Path, selection.paths):
        if store.is_hdf5(path):
            store.open_reader(path).close()  # says what is wrong with it
    if given is None:
        raise UsageError(
            "does not say which front end it is of",
            str(selection.paths[0]) if selection.paths else selection.files_from,
            "--config NAME: melcli configs list shows them",
        )
    return FileFeatures(selection, given, as_normalization(scaler, given))


def _doubts(config: MelConfig) -> list[str]:
    """What is not to be had of any mel of a front end, however it is inverted."""
    return [*MelUndo(config).losses, *filterbank_faults(config)]


def _header(
    features: Features,
    how: InvertConfig,
    audio: AudioConfig | None,
    out: OutputConfig,
    device: torch.device,
    command: str,
) -> Header:
    config = features.config
    header = make_header(config, out, device, command, features.plan)
    inversion = {"method": how.method, "power": f"{config.spec.power:g}"}
    if how.method == "nnls":
        inversion["tolerance"] = f"{how.tolerance:g}"
    if how.max_residual is not None:
        inversion["max_residual"] = f"{how.max_residual:g}"
    settings = dict(header.settings) | dict(features.settings) | inversion
    settings["store_layout"] = out.store_layout
    if audio is None:
        return replace(
            header,
            settings=settings,
            row_shape=(config.n_freqs,),
            row_labels=("frame", "frequency"),
            content="spectrogram",
        )
    sounding = {
        AUDIO_FORMAT: audio.format,
        "iterations": str(audio.n_iter),
        "momentum": f"{audio.momentum:g}",
        "seed": "none" if audio.seed is None else str(audio.seed),
    }
    return replace(
        header,
        settings=settings | sounding,
        row_shape=(1,),
        row_labels=("byte",),
        dtype="uint8",
        transpose=False,
        content="audio",
    )


def _budget(run: RunConfig) -> Budget:
    """Divide the memory among the batches under way."""
    in_flight = run.memory // 2
    share = int(in_flight / _HELD / (2 * run.n_workers + 1))
    return Budget(max(MIN_BATCH_BYTES, min(BATCH_BYTES, share)), in_flight, _HELD)


def _room(books: Books, path: Path, header: Header, config: MelConfig) -> Room:
    """The room on the disk, once it is known that there may be enough."""
    n_sources = n_spectra = 0
    for index, n_bytes in books.todo():
        n_sources, n_spectra = n_sources + books.plan.size(index), n_spectra + n_bytes
    share = 0.5 if header.dtype == "float16" else 1.0
    if header.content == "audio":
        share = config.frame.hop_length / config.n_freqs
    needed = int(share * n_spectra)
    needed += kept_bytes(books, path, overwrite=header.overwrite)
    is_hdf5 = store.is_hdf5(path)
    finishing = needed * (is_hdf5 and header.settings["store_layout"] == "tree")
    folder = path.parent if is_hdf5 else path
    return Room(folder, n_sources, needed, finishing)
