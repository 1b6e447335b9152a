"""From spectra to the file of a waveform: phases, the stages over the waveform undone, bytes."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import numpy as np

from melcli import frames
from melcli.audio.writing import flac_bytes, n_beyond, wav_bytes
from melcli.dsp.deemphasis import Deemphasis
from melcli.dsp.griffinlim import GriffinLim, least_samples
from melcli.dsp.rows import Rows
from melcli.errors import FeatureError
from melcli.pipeline.spool import RowSpool

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    import torch
    from torch import Tensor

    from melcli.config import AudioConfig, MelConfig
    from melcli.dsp.stage import Piecewise
    from melcli.store.records import Item

_BEYOND: Final = "beyond full scale"
_CHUNK: Final = re.compile(r"@(\d+)\Z")


@dataclass(frozen=True)
class _Lengths:
    """How long the waveform of an item is.

    Args:
        framed: Samples that its frames are cut from, behind all stages over the waveform.
        first: The first of them, once these stages are undone, that was in the recording.
        stop: The one behind the last.
    """

    framed: int
    first: int
    stop: int


class Sounding:
    """Makes a waveform of each spectrum, and a file of each waveform.

    Args:
        config: The front end.
        audio: How.
        device: Where to compute.
        folder: Where files may wait that are too long for the memory.
    """

    def __init__(
        self, config: MelConfig, audio: AudioConfig, device: torch.device, folder: Path
    ) -> None:
        self._config, self._audio, self._folder = config, audio, folder
        self._device = device
        self._lim = GriffinLim(
            config, n_iter=audio.n_iter, momentum=audio.momentum, seed=audio.seed
        ).to(device)

    def file(self, item: Item, spectra: Rows, n_samples: int | None) -> tuple[Item, RowSpool]:
        """The file of an item, a row of one for each of its bytes.

        Args:
            item: As its spectra have it.
            spectra: Of the item.
            n_samples: That it was made from, if that is known.

        Returns:
            The item with the length of its file, and what is to be said of it; and the file.

        Raises:
            FeatureError: No waveform has so many frames, or no file such a waveform.
        """
        lengths = self._lengths(item, spectra.n_rows, n_samples)
        spool = RowSpool((1,), self._folder, np.dtype(np.uint8))
        heard = _Heard(self._pieces(spectra, lengths))
        length, rate = lengths.stop - lengths.first, self._config.wave.sample_rate
        is_wav = self._audio.format == "wav"
        for data in wav_bytes(heard, length, rate) if is_wav else flac_bytes(heard, rate):
            spool.append(np.frombuffer(data, np.uint8)[:, None])
        notes = item.notes
        if heard.n_beyond and _BEYOND not in notes:
            notes = (*notes, _BEYOND)
        made = replace(
            item,
            n_rows=spool.n_rows,
            n_samples=length,
            sample_rate=rate,
            n_channels=1,
            channel=-1,
            notes=notes,
        )
        return made, spool

    def _lengths(self, item: Item, n_frames: int, n_samples: int | None) -> _Lengths:
        """As long as the recording was, if that is known; else as long as its frames are."""
        wave = self._config.wave
        before = wave.wave_pad[0]
        dropped = int(wave.preemph != 0 and wave.preemph_scope == "wave_drop_first")
        if n_samples is not None:
            if wave.fix_samples and (chunk := _CHUNK.search(item.id)):
                n_samples = max(1, n_samples - int(chunk[1]) * wave.fix_samples)
            if frames.n_frames(self._config, n_samples) == n_frames:
                framed = frames.fixed_length(self._config, n_samples)
                return _Lengths(framed, before, min(before + n_samples, framed + dropped))
        framed = least_samples(self._config, n_frames)
        first, stop = min(before, framed - 1), framed + dropped
        return _Lengths(framed, first, stop if n_samples is None else min(stop, first + n_samples))

    def _pieces(self, spectra: Rows, lengths: _Lengths) -> Iterator[Tensor]:
        """The waveform in order, as the recording had it, as far as that is known."""
        wave = self._config.wave
        undo: Piecewise | None = None
        if wave.preemph:
            undo = Deemphasis(wave.preemph, wave.preemph_scope).piecewise()
        read = Rows(spectra.n_rows, lambda start, stop: self._fed(spectra.read(start, stop)))
        at, n_left = 0, lengths.framed
        for framed in self._lim.stretches(read.read, spectra.n_rows, lengths.framed):
            piece = framed.cpu()
            n_left -= len(piece)
            if undo is not None:
                piece = undo(piece, n_left == 0)
            start, at = at, at + len(piece)
            piece = piece[max(0, lengths.first - start) : max(0, lengths.stop - start)]
            yield piece / wave.wave_gain

    def _fed(self, spectra: Tensor) -> Tensor:
        """What the filterbank was fed, without the guard that was added to the power."""
        spec, spectra = self._config.spec, spectra.to(self._device)
        if not spec.mag_eps or spec.mag_eps_mode != "add":
            return spectra
        energy = spectra.pow(2.0 / spec.power) - spec.mag_eps
        fed: Tensor = energy.clamp(min=0.0).pow(spec.power / 2.0)
        return fed


class _Heard:
    """A waveform on its way, and how many of its samples are beyond full scale."""

    def __init__(self, pieces: Iterable[Tensor]) -> None:
        self._pieces, self.n_beyond = pieces, 0

    def __iter__(self) -> Iterator[np.ndarray]:
        for piece in self._pieces:
            samples = piece.numpy()
            if not np.isfinite(samples).all():
                raise FeatureError("its waveform is not finite", None, "look at its spectrum")
            self.n_beyond += n_beyond(samples)
            yield samples


def audio_losses(config: MelConfig) -> list[str]:
    """What of a waveform is not to be had back, in words."""
    wave = config.wave
    told = []
    if wave.wave_norm != "none":
        told.append(
            "wave.wave_norm: the level of each recording is lost; waveforms have the one it was "
            "brought to"
        )
    if wave.wave_dc or config.frame.frame_dc:
        told.append(f"{'wave.wave_dc' if wave.wave_dc else 'frame.frame_dc'}: the mean is lost")
    if wave.preemph and wave.preemph_scope == "frame":
        told.append("wave.preemph within frames is undone as if it were over the waveform: nearly")
    if wave.dither:
        told.append("wave.dither: the noise that was added stays in")
    return told
