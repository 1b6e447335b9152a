"""From an input to what the front end takes: channels, sample rate, fixed length, all told."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from melcli import frames
from melcli.audio import reading
from melcli.errors import AudioError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from melcli.config import MelConfig
    from melcli.config.run import LongRule
    from melcli.pipeline.plan import PlannedInput

_MAX_RATIO = 256
"""Resampling further than this is a lie in a header, and would fill the memory."""


@dataclass(frozen=True, slots=True)
class Clip:
    """A waveform at the front end's rate, and where it comes from.

    Args:
        id: Of the item it becomes.
        waveform: Float32 ``(n_samples,)``.
        n_samples: Decoded, at the source's rate.
        sample_rate: Of the source, in Hz.
        n_channels: Of the source.
        channel: Which one this is, from 0; -1 if they were mixed.
        notes: What was changed on the way.
    """

    id: str
    waveform: Tensor
    n_samples: int
    sample_rate: int
    n_channels: int
    channel: int
    notes: tuple[str, ...]


def read_clips(planned: PlannedInput, config: MelConfig, long: LongRule) -> list[Clip]:
    """Decode an input and make its waveforms: one, or one a channel, or one a chunk.

    Raises:
        AudioError: With what makes it unusable.
    """
    decoded = _decode(planned)
    samples = torch.from_numpy(decoded.samples)
    notes = []
    if samples.dtype == torch.int16:
        channels = [samples[:, k].to(torch.float32) / 32768 for k in range(samples.shape[1])]
    else:
        _refuse_wild_samples(samples, planned.name)
        if samples.abs().max() > 1.0:
            notes.append("beyond full scale")
        channels = [samples[:, k].contiguous() for k in range(samples.shape[1])]
    clips = []
    for channel, waveform in _choose(channels, config, planned.name):
        told = [*notes]
        if channel < 0 and len(channels) > 1:
            told.append("mixed")
        elif config.wave.channels != "each" and len(channels) > 1:
            told.append("channels left out")
        at_rate = _resample(waveform, decoded.sample_rate, config, planned.name)
        if at_rate is not waveform:
            told.append("resampled")
        clip = Clip(
            id=f"{planned.id}#{channel}" if config.wave.channels == "each" else planned.id,
            waveform=at_rate,
            n_samples=samples.shape[0],
            sample_rate=decoded.sample_rate,
            n_channels=len(channels),
            channel=channel,
            notes=tuple(told),
        )
        clips += _fit_length(clip, config, long, planned.name)
    return clips


def _decode(planned: PlannedInput) -> reading.Audio:
    if planned.path is None:
        with reading.spool(sys.stdin.buffer) as stream:
            return reading.read(stream, name=planned.name)
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
    return reading.read(planned.path, name=planned.name)


def _refuse_wild_samples(samples: Tensor, name: str) -> None:
    low, high = torch.aminmax(samples)
    if not bool(torch.isfinite(low) & torch.isfinite(high)):
        wild = ~torch.isfinite(samples)
        first = int(wild.any(dim=1).to(torch.uint8).argmax())
        raise AudioError(
            f"holds {int(wild.sum())} samples that are NaN or infinite, from sample {first} on",
            name,
            "repair it, or leave it out with --exclude",
        )


def _choose(channels: list[Tensor], config: MelConfig, name: str) -> Iterator[tuple[int, Tensor]]:
    """The waveforms the front end asks for, each with the number of its channel, or -1."""
    rule = config.wave.channels
    if rule == "each":
        yield from enumerate(channels)
    elif rule == "mean":
        mixed = channels[0]
        # One by one and in order, so that the sum is rounded the same way everywhere.
        for channel in channels[1:]:
            mixed = mixed + channel
        yield -1, mixed / len(channels) if len(channels) > 1 else mixed
    else:
        number = 0 if rule == "first" else rule
        if number >= len(channels):
            raise AudioError(
                f"has {len(channels)} channel{'s' * (len(channels) > 1)}, counted from 0: "
                f"there is no channel {number}",
                name,
                "choose another with --channels",
            )
        yield number, channels[number]


def _resample(waveform: Tensor, sample_rate: int, config: MelConfig, name: str) -> Tensor:
    wanted, quality = config.wave.sample_rate, config.wave.resample
    if sample_rate == wanted:
        return waveform
    if quality == "error":
        raise AudioError(
            f"is at {sample_rate} Hz, the front end works at {wanted} Hz",
            name,
            "let it be resampled with --resample soxr-hq",
        )
    if not 1 / _MAX_RATIO <= wanted / sample_rate <= _MAX_RATIO:
        raise AudioError(
            f"claims {sample_rate} Hz, too far from {wanted} Hz to be resampled",
            name,
            "look at its header; it is probably damaged",
        )
    import soxr

    at_rate = soxr.resample(waveform.numpy(), sample_rate, wanted, quality.removeprefix("soxr-"))
    return torch.from_numpy(at_rate)


def _fit_length(clip: Clip, config: MelConfig, long: LongRule, name: str) -> list[Clip]:
    fixed, n_samples = config.wave.fix_samples, clip.waveform.shape[0]
    if frames.n_rows(config, n_samples) < 1:
        needed = frames.shortest(config)
        raise AudioError(
            f"is too short: {n_samples} samples at {config.wave.sample_rate} Hz, "
            f"this front end needs at least {needed}",
            name,
            "leave it out with --exclude, or pad it",
        )
    if fixed and long == "chunks":
        return [
            replace(clip, id=f"{clip.id}@{k}", waveform=clip.waveform[start : start + fixed])
            for k, start in enumerate(range(0, n_samples, fixed))
        ]
    if fixed and n_samples > fixed:
        seconds, limit = n_samples / config.wave.sample_rate, fixed / config.wave.sample_rate
        if long == "error":
            raise AudioError(
                f"is {seconds:.2f} s long, this front end takes {limit:g} s",
                name,
                f"--long cut keeps the first {limit:g} s, --long chunks makes an item of each",
            )
        return [replace(clip, waveform=clip.waveform[:fixed], notes=(*clip.notes, "cut"))]
    return [clip]
