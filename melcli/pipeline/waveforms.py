"""From the samples of an input to waveforms at the front end's rate, piece by piece."""

from __future__ import annotations

import contextlib
import os
import sys
from typing import TYPE_CHECKING, BinaryIO, Protocol, Self

import numpy as np
import torch
from torch import Tensor

from melcli.audio import reading
from melcli.errors import AudioError
from melcli.store.records import Excerpt

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType

    from melcli.audio.shelf import Shelf
    from melcli.config import MelConfig
    from melcli.pipeline.plan import PlannedInput
    from melcli.pipeline.stopwatch import Stopwatch

PIECE_BYTES = 8 << 20
"""Decoded audio that is read at once: an input with less is one piece, and batched with others."""

_MAX_RATIO = 256
"""Resampling further than this is a lie in a header, and would fill the memory."""


@contextlib.contextmanager
def source_of(planned: PlannedInput) -> Iterator[bytes | BinaryIO]:
    """What an input is read from, as often as need be: its path, or a copy of standard input.

    Raises:
        AudioError: If it is a folder that could not be walked.
    """
    if planned.path is None:
        with reading.spool(sys.stdin.buffer) as stream:
            yield stream
        return
    if planned.path.endswith(b"/"):  # planned because it could not be walked
        try:
            os.scandir(planned.path).close()
        except OSError as error:
            raise AudioError(
                f"this folder cannot be read: {error.strerror}",
                planned.name,
                "make it readable, or leave it out with --exclude",
            ) from error
        raise AudioError(
            "this folder could not be read when the run began", planned.name, "run it again"
        )
    yield planned.path


class WaveformReader:
    """Reads an input piece by piece: one waveform for each channel that is asked for.

    The pieces of a waveform, end to end, are bit for bit what one piece would be.

    Args:
        source: As of :class:`~melcli.audio.reading.AudioReader`.
        planned: The input: what messages call it, and which part of the source it is.
        config: The front end, for its channels, its rate and how to get there.
        watch: Told what reading took, and what mixing and resampling did.
        shelf: Where the source stays open for another part of it.

    Attributes:
        channels: The number of each waveform's channel, from 0; -1 if they are mixed.
        sample_rate: Of the source, in Hz.
        n_channels: Of the source.
        n_samples: Read so far, of the source.

    Raises:
        AudioError: With what makes it unusable.
    """

    def __init__(
        self,
        source: bytes | BinaryIO,
        planned: PlannedInput,
        config: MelConfig,
        watch: Stopwatch,
        shelf: Shelf | None = None,
    ) -> None:
        self._name, self._config, self._watch = planned.name, config, watch
        excerpt = planned.excerpt or Excerpt("")
        self._shelf = shelf if planned.excerpt is not None else None
        self._key = (planned.path, planned.size, planned.mtime_ns)
        self._reader = self._opened(source, planned, excerpt)
        self.sample_rate, self.n_channels = self._reader.sample_rate, self._reader.n_channels
        self.n_samples = 0
        self._is_beyond_full_scale = False
        self._n_wild, self._first_wild = 0, 0
        try:
            rule = config.wave.channels if excerpt.channel < 0 else excerpt.channel
            self.channels = _chosen(rule, self.n_channels, self._name)
            self._resamplers = self._start_resampling()
        except BaseException:
            self.close()
            raise
        sample_bytes = self.n_channels * (2 if self._reader.dtype == "int16" else 4)
        self._piece_samples = max(1, PIECE_BYTES // sample_bytes)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._shelf is not None and exc is None:
            self._shelf.put(self._key, self._reader)
        else:
            self.close()

    def close(self) -> None:
        """Let go of the source."""
        self._reader.close()

    def _opened(
        self, source: bytes | BinaryIO, planned: PlannedInput, excerpt: Excerpt
    ) -> reading.AudioReader:
        """A reader of just the part that is asked for, new or from the shelf."""
        start, end, shelf = excerpt.start, excerpt.end, self._shelf
        reader = shelf.take(self._key, start) if shelf is not None else None
        reader = reader or reading.AudioReader(source, name=self._name, raw=planned.raw)
        try:
            if planned.excerpt is not None:
                reader.go_on(start, end, name=self._name)
        except reading.PartError:
            # Perhaps at the end of the recording, where it is known how long that is.
            if shelf is not None:
                shelf.put(self._key, reader)
            raise
        except BaseException:
            reader.close()
            raise
        return reader

    @property
    def notes(self) -> tuple[str, ...]:
        """What was changed on the way so far."""
        told = ["beyond full scale"] if self._is_beyond_full_scale else []
        if self._reader.ends_early:
            told.append("shorter than asked")
        if self.n_channels > 1 and self._config.wave.channels != "each":
            told.append("mixed" if self.channels == (-1,) else "channels left out")
        return (*told, "resampled") if self._resamplers else tuple(told)

    def read(self) -> tuple[list[Tensor], bool]:
        """The next piece of each waveform, and whether it is the last.

        What passed on the watch before counts as reading too: start it before opening.

        Samples are int16 where nothing was done to stored ones, float32 otherwise.

        Raises:
            AudioError: The end came too early, or samples are NaN or infinite.
        """
        samples = self._reader.read(self._piece_samples)
        is_last = self._reader.is_at_end
        self._watch.lap("read")
        if samples.dtype != np.int16:
            self._look_at(samples)
        self.n_samples += len(samples)
        if self._n_wild:
            self._count_to_the_end(is_last=is_last)
        waveforms = self._mixed(torch.from_numpy(samples))
        if self._resamplers:
            waveforms = [
                torch.from_numpy(resampler.resample_chunk(_as_float(waveform).numpy(), is_last))
                for resampler, waveform in zip(self._resamplers, waveforms, strict=True)
            ]
        self._watch.lap("resample")
        return waveforms, is_last

    def _look_at(self, samples: np.ndarray) -> None:
        if not len(samples):
            return
        low, high = (float(end) for end in torch.aminmax(torch.from_numpy(samples)))
        if np.isfinite(low) and np.isfinite(high):
            self._is_beyond_full_scale |= max(-low, high) > 1.0
            return
        wild = ~np.isfinite(samples)
        if not self._n_wild:
            self._first_wild = self.n_samples + int(wild.any(axis=1).argmax())
        self._n_wild += int(wild.sum())

    def _count_to_the_end(self, *, is_last: bool) -> None:
        """Count all samples that no mel can be made of, and raise."""
        while not is_last:
            samples = self._reader.read(self._piece_samples)
            is_last = self._reader.is_at_end
            self._n_wild += int((~np.isfinite(samples)).sum())
        raise AudioError(
            f"holds {self._n_wild} samples that are NaN or infinite, "
            f"from sample {self._first_wild} on",
            self._name,
            "repair it, or leave it out with --exclude",
        )

    def _mixed(self, samples: Tensor) -> list[Tensor]:
        if self.n_channels == 1:
            return [samples[:, 0]]
        if self.channels != (-1,):
            return [samples[:, channel].contiguous() for channel in self.channels]
        is_int16 = samples.dtype == torch.int16
        samples = samples.to(torch.float32)
        # One by one and in order, so that the sum is rounded the same way everywhere.
        mixed = samples[:, 0] + samples[:, 1]
        for channel in range(2, self.n_channels):
            mixed += samples[:, channel]
        if is_int16:
            mixed *= 1.0 / 32768.0  # exact, so it does not matter when
        return [mixed.div_(self.n_channels)]

    def _start_resampling(self) -> list[_Resampler]:
        wanted, quality = self._config.wave.sample_rate, self._config.wave.resample
        if self.sample_rate == wanted:
            return []
        if quality == "error":
            raise AudioError(
                f"is at {self.sample_rate} Hz, the front end works at {wanted} Hz",
                self._name,
                "let it be resampled with --resample soxr-hq",
            )
        if not 1 / _MAX_RATIO <= wanted / self.sample_rate <= _MAX_RATIO:
            raise AudioError(
                f"claims {self.sample_rate} Hz, too far from {wanted} Hz to be resampled",
                self._name,
                "look at its header; it is probably damaged",
            )
        import soxr

        recipe = quality.removeprefix("soxr-")
        return [
            soxr.ResampleStream(self.sample_rate, wanted, 1, "float32", recipe)
            for _ in self.channels
        ]


class _Resampler(Protocol):
    def resample_chunk(self, x: np.ndarray, last: bool = ..., /) -> np.ndarray: ...  # noqa: FBT001


def _chosen(rule: int | str, n_channels: int, name: str) -> tuple[int, ...]:
    """The numbers of the channels that a rule asks for; -1 for their mean."""
    if rule == "each":
        return tuple(range(n_channels))
    if rule == "mean":
        return (-1,)
    number = 0 if rule == "first" else int(rule)
    if number >= n_channels:
        raise AudioError(
            f"has {n_channels} channel{'s' * (n_channels > 1)}, counted from 0: "
            f"there is no channel {number}",
            name,
            "choose another with --channels",
        )
    return (number,)


def _as_float(samples: Tensor) -> Tensor:
    return samples / 32768 if samples.dtype == torch.int16 else samples
