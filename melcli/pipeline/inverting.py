"""What a worker does with a batch of mels: undo their front end, and look for their spectra."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import numpy as np
import torch
from torch import Tensor

from melcli import frames
from melcli.dsp.inversion import BandInversion, Inverted, PseudoInversion
from melcli.dsp.mel import config_filterbank
from melcli.dsp.rows import Rows
from melcli.dsp.undo import MelUndo
from melcli.errors import DeviceError, FeatureError, MelcliError
from melcli.pipeline.sounding import Sounding
from melcli.pipeline.spool import RowSpool
from melcli.pipeline.stopwatch import Stopwatch
from melcli.pipeline.worker import STEP_BYTES, Arrays, Result, Worked, ends, failed, numeric_problem
from melcli.store.records import Certificate, Done

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from melcli.config import AudioConfig, InvertConfig
    from melcli.pipeline.batching import Batch
    from melcli.pipeline.features import Features, FoundMel
    from melcli.pipeline.plan import PlannedInput
    from melcli.store.records import Array, Item

_BLOCK: Final = 256
"""Frames that squares are added up over, counted from the start of an item: always alike."""
_PIECE_BYTES: Final = 32 << 20
"""Spectra from which on an item is computed in pieces, and of such a piece."""
_LOST: Final = "frames lost"


@dataclass(frozen=True)
class _Job:
    """An item to be inverted.

    Args:
        item: As it will be, but for its certificate.
        frames: Of its mel, ``(n_frames, n_mels)``, as the front end scaled them.
        top: What its range hangs from.
        n_samples: That it was made from, if that is known.
    """

    item: Item
    frames: Rows
    top: float | None
    n_samples: int | None


class _Certifier:
    """Adds up how far an item is from having its mel."""

    def __init__(self) -> None:
        self._missing = self._whole = 0.0
        self._n_steps = self._n_clipped = 0

    def add(self, mels: Tensor, found: Inverted, n_clipped: Tensor) -> None:
        """Add frames; all calls but the last bring whole blocks."""
        # In float64: the squares of float32 leave its range, at either end.
        rows = mels.cpu().numpy().astype(np.float64)
        squares = np.einsum("ij,ij->i", rows, rows)  # each row by itself, in its order
        missing = squares * np.square(found.residuals.cpu().numpy())
        for at in range(0, len(squares), _BLOCK):
            self._whole += float(np.add.reduce(squares[at : at + _BLOCK]))
            self._missing += float(np.add.reduce(missing[at : at + _BLOCK]))
        self._n_steps = max(self._n_steps, int(found.n_steps.max()))
        self._n_clipped += int(n_clipped.sum())

    @property
    def certificate(self) -> Certificate:
        """Of all frames."""
        residual = (self._missing / self._whole) ** 0.5 if self._whole else 0.0
        return Certificate(residual, self._n_steps, self._n_clipped)


class InvertingWorker:
    """Reads mels and gives spectra. Called from several processes or threads; changes nothing.

    Args:
        features: Where the mels are.
        how: The method.
        dtype: Of the spectra.
        device: Where to compute.
        folder: Where the rows of long items may wait.
        audio: Go on to waveforms; then rows are the bytes of their files.

    Raises:
        ConfigError: The front end cannot be undone.
    """

    def __init__(
        self,
        features: Features,
        how: InvertConfig,
        dtype: str,
        device: torch.device,
        folder: Path,
        audio: AudioConfig | None = None,
    ) -> None:
        self._features, self._how, self._dtype, self._folder = features, how, dtype, folder
        self.device = device
        self._config = features.config
        self._undo = MelUndo(features.config, features.scaler)
        bank = config_filterbank(features.config)
        inversion = (
            PseudoInversion(bank) if how.method == "pinv" else BandInversion(bank, how.tolerance)
        )
        self._inversion = inversion.to(device)
        self._sounding: Sounding | None = None
        if audio is not None:
            self._sounding = Sounding(features.config, audio, device, folder)
        self._n_freqs = features.config.n_freqs
        piece = _PIECE_BYTES // (4 * self._n_freqs)
        self._piece = max(_BLOCK, piece // _BLOCK * _BLOCK)
        self._step = max(1, STEP_BYTES // (4 * self._n_freqs))

    def __call__(self, batch: Batch) -> Worked:
        """What became of each input, and what that took."""
        watch, results = Stopwatch(), []
        with torch.inference_mode():
            watch.start()
            found = [self._read(index) for index in batch.indices]
            watch.lap("read")
            jobs = [job for jobs in found if isinstance(jobs, list) for job in jobs]
            inverted = self._inverted(jobs)
            for index, of_input in zip(batch.indices, found, strict=True):
                planned = self._features.plan[index]
                if isinstance(of_input, MelcliError):
                    results.append(failed(planned, of_input.cause, of_input.remedy))
                else:
                    results.append(self._result(planned, of_input, inverted))
            watch.lap("mel")
        return Worked(results, watch.times)

    def _read(self, index: int) -> list[_Job] | MelcliError:
        """The items of an input, or why they cannot be used."""
        try:
            return [self._job(found) for found in self._features.mels(index)]
        except MelcliError as error:
            return error

    def _job(self, found: FoundMel) -> _Job:
        undo, item = self._undo, found.item
        expected = found.n_samples and frames.n_frames(self._config, found.n_samples)
        n_frames = undo.n_frames(item.n_rows, expected)
        if n_frames < 1:
            raise FeatureError("holds no frames", item.id, "leave it out with --exclude")
        notes = (*item.notes, _LOST) if undo.is_cut(expected) else item.notes
        of_item = undo.frames(found.rows, n_frames)
        top = undo.measure(of_item.blocks(self._piece))
        item = replace(item, n_rows=of_item.n_rows, notes=notes, crc32=0)
        return _Job(item, of_item, top, found.n_samples)

    def _inverted(self, jobs: list[_Job]) -> Iterator[tuple[Rows, Certificate] | MelcliError]:
        """What comes of each job, short ones that follow each other computed together."""
        waiting: list[_Job] = []
        n_frames = 0
        for job in jobs:
            is_long = job.frames.n_rows > self._piece
            if waiting and (is_long or n_frames + job.frames.n_rows > self._piece):
                yield from self._together(waiting)
                waiting, n_frames = [], 0
            if is_long:
                yield self._long(job)
            else:
                waiting.append(job)
                n_frames += job.frames.n_rows
        if waiting:
            yield from self._together(waiting)

    def _together(self, jobs: list[_Job]) -> Iterator[tuple[Rows, Certificate] | MelcliError]:
        levels = [self._levels(job, 0, job.frames.n_rows) for job in jobs]
        good = [pair[0] for pair in levels if isinstance(pair, tuple)]
        spectra = self._spectra(good) if good else iter(())
        for pair in levels:
            if isinstance(pair, MelcliError):
                yield pair
                continue
            (mels, n_clipped), found, certifier = pair, next(spectra), _Certifier()
            certifier.add(mels, found, n_clipped)
            yield Rows.of(found.spectra), certifier.certificate

    def _spectra(self, mels: list[Tensor]) -> Iterator[Inverted]:
        """What is found for each of some mels, computed at once."""
        together: Inverted = self._inversion(torch.cat(mels).to(self.device))
        sizes = [len(mel) for mel in mels]
        parts = (torch.split(part.cpu(), sizes) for part in together)
        return (Inverted(*of_one) for of_one in zip(*parts, strict=True))

    def _long(self, job: _Job) -> tuple[Rows, Certificate] | MelcliError:
        """An item of any length, in pieces, of which one at a time is in memory."""
        spool = RowSpool((self._n_freqs,), self._folder)
        certifier = _Certifier()
        for start in range(0, job.frames.n_rows, self._piece):
            pair = self._levels(job, start, min(start + self._piece, job.frames.n_rows))
            if isinstance(pair, MelcliError):
                return pair
            mels, n_clipped = pair
            found = self._inversion(mels.to(self.device))
            certifier.add(mels, found, n_clipped)
            spool.append(found.spectra.to(torch.float32).cpu().numpy())
        read = lambda start, stop: torch.from_numpy(spool.read(start, stop))  # noqa: E731, one line
        return Rows(spool.n_rows, read), certifier.certificate

    def _levels(self, job: _Job, start: int, stop: int) -> tuple[Tensor, Tensor] | MelcliError:
        """Linear mels of some frames, and how many numbers of each had been clipped."""
        mels, n_clipped = self._undo(job.frames.read(start, stop), job.top)
        if not bool(torch.isfinite(mels).all()):
            return FeatureError(
                "its mel is not finite once its front end is undone",
                job.item.id,
                "check that it is of this front end",
            )
        if float(mels.min()) < 0:
            return FeatureError(
                f"its mel is {float(mels.min()):.3g} somewhere once its front end is undone, and "
                "no filterbank gives a negative number",
                job.item.id,
                "check that it is of this front end",
            )
        # As it was stored, to a bit of float32: that is what it is computed in.
        return mels.to(torch.float32), n_clipped

    def _result(
        self,
        planned: PlannedInput,
        jobs: list[_Job],
        inverted: Iterator[tuple[Rows, Certificate] | MelcliError],
    ) -> Result:
        made = [next(inverted) for _ in jobs]
        items: list[Item] = []
        arrays: list[Iterable[Array]] = []
        for job, found in zip(jobs, made, strict=True):
            if isinstance(found, MelcliError):
                return failed(planned, found.cause, found.remedy)
            spectra, certificate = found
            if problem := self._problem(spectra, certificate):
                return failed(planned, *problem)
            item = replace(job.item, certificate=certificate)
            if self._sounding is None:
                items.append(item)
                arrays.append(Arrays(spectra, self._step, getattr(torch, self._dtype)))
                continue
            try:
                item, file = self._sounding.file(item, spectra, job.n_samples)
            except MelcliError as error:
                if isinstance(error, DeviceError):
                    raise
                return failed(planned, error.cause, error.remedy)
            items.append(item)
            arrays.append(_in_pieces(file))
        done = Done(planned.id, planned.size, planned.mtime_ns, tuple(items))
        return Result(planned, done, arrays)

    def _problem(self, spectra: Rows, certificate: Certificate) -> tuple[str, str] | None:
        limit = self._how.max_residual
        if limit is not None and certificate.residual > limit:
            return (
                f"its mel residual is {certificate.residual:.2e}, and at most {limit:g} is allowed",
                "no spectrum has just this mel; a larger --max-residual lets it pass",
            )
        low, high = ends(spectra.blocks(self._step))
        return numeric_problem(low, high, self._dtype, "spectrum")


def _in_pieces(file: RowSpool) -> Iterator[Array]:
    """The bytes of a file, some at a time."""
    for start in range(0, file.n_rows, STEP_BYTES):
        yield file.read(start, min(start + STEP_BYTES, file.n_rows))
