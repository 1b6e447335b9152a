"""Waveforms that are all there, as the items they become: fixed lengths, and what is too short."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from melcli import frames
from melcli.errors import AudioError
from melcli.store.records import Item

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from melcli.config import MelConfig
    from melcli.config.run import LongRule
    from melcli.pipeline.plan import PlannedInput
    from melcli.pipeline.waveforms import WaveformReader


@dataclass(frozen=True, slots=True)
class Clip:
    """A waveform at the front end's rate, and the item it becomes.

    Args:
        waveform: ``(n_samples,)``, int16 as it is stored, or float32.
        item: All that is known of it but its checksum.
    """

    waveform: Tensor
    item: Item


def clips_of(
    planned: PlannedInput,
    reader: WaveformReader,
    waveforms: Sequence[Tensor],
    config: MelConfig,
    long: LongRule,
) -> list[Clip]:
    """The clips of an input that was read as a whole: one, or one a channel, or one a chunk.

    Raises:
        AudioError: If it is too short, or too long.
    """
    clips = []
    for channel, waveform in zip(reader.channels, waveforms, strict=True):
        n_samples, fixed = waveform.shape[0], config.wave.fix_samples
        n_rows = count_rows(config, n_samples, planned)
        item = item_of(planned, reader, channel, config, n_rows)
        if fixed and long == "chunks":
            clips += [
                Clip(waveform[start : start + fixed], chunk_of(item, number))
                for number, start in enumerate(range(0, n_samples, fixed))
            ]
        elif not fixed or n_samples <= fixed:
            clips.append(Clip(waveform, item))
        elif long == "cut":
            clips.append(Clip(waveform[:fixed], cut(item)))
        else:
            refuse_long(config, n_samples, planned)
    return clips


def item_of(
    planned: PlannedInput, reader: WaveformReader, channel: int, config: MelConfig, n_rows: int = 0
) -> Item:
    """What is known of an item once its input is read to the end."""
    return Item(
        id=f"{planned.id}#{channel}" if config.wave.channels == "each" else planned.id,
        n_rows=n_rows,
        n_samples=reader.n_samples,
        sample_rate=reader.sample_rate,
        n_channels=reader.n_channels,
        channel=channel,
        notes=reader.notes,
    )


def count_rows(config: MelConfig, n_samples: int, planned: PlannedInput) -> int:
    """How many rows a waveform gives.

    Raises:
        AudioError: If it is too short for one.
    """
    n_rows = frames.n_rows(config, n_samples)
    if n_rows < 1:
        needed = frames.shortest(config)
        raise AudioError(
            f"is too short: {n_samples} samples at {config.wave.sample_rate} Hz, "
            f"this front end needs at least {needed}",
            planned.name,
            "leave it out with --exclude, or pad it",
        )
    return n_rows


def refuse_long(config: MelConfig, n_samples: int, planned: PlannedInput) -> None:
    """Raise for a waveform beyond the front end's fixed length."""
    seconds = n_samples / config.wave.sample_rate
    limit = config.wave.fix_samples / config.wave.sample_rate
    raise AudioError(
        f"is {seconds:.2f} s long, this front end takes {limit:g} s",
        planned.name,
        f"--long cut keeps the first {limit:g} s, --long chunks makes an item of each",
    )


def chunk_of(item: Item, number: int) -> Item:
    """The item of one chunk."""
    return replace(item, id=f"{item.id}@{number}")


def cut(item: Item) -> Item:
    """The item of which only the beginning is kept."""
    return replace(item, notes=(*item.notes, "cut"))
