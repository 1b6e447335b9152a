"""Inputs of any length in memory that does not grow: read, computed and kept in pieces."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Protocol

import torch

from melcli.dsp.rows import Rows
from melcli.dsp.streaming import FrontEndStream
from melcli.pipeline.clips import chunk_of, count_rows, cut, item_of, refuse_long
from melcli.pipeline.spool import RowSpool
from melcli.pipeline.waveforms import WaveformReader

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from typing import BinaryIO

    from torch import Tensor

    from melcli.config import MelConfig
    from melcli.config.run import LongRule
    from melcli.pipeline.engine import Engine
    from melcli.pipeline.plan import PlannedInput
    from melcli.pipeline.stopwatch import Stopwatch
    from melcli.store.records import Item


@dataclass(frozen=True)
class LongInput:
    """An input that is computed while its pieces come in.

    Args:
        planned: The input.
        source: What it is read from; some rules of front ends read it more than once.
        engine: What computes.
        long: What becomes of audio that is longer than the front end takes.
        folder: Where rows may wait that are too many for the memory.
        watch: Told what computing took.
    """

    planned: PlannedInput
    source: bytes | BinaryIO
    engine: Engine
    long: LongRule
    folder: Path
    watch: Stopwatch

    @property
    def config(self) -> MelConfig:
        """The front end."""
        return self.engine.frontend.config

    def items(
        self, reader: WaveformReader, pieces: Iterator[tuple[list[Tensor], bool]]
    ) -> list[tuple[Item, Rows]]:
        """The items, and their rows wherever they lie.

        Args:
            reader: What the pieces are read by: says in the end what was read.
            pieces: Of each channel's waveform, and whether they are the last.

        Raises:
            AudioError: With what makes it unusable.
        """
        channels = [self._channel(number) for number in range(len(reader.channels))]
        for waveforms, is_last in pieces:
            self.watch.start()
            for channel, waveform in zip(channels, waveforms, strict=True):
                channel.feed(waveform, is_last=is_last)
            self.watch.lap("mel")
        return [
            made
            for number, channel in zip(reader.channels, channels, strict=True)
            for made in channel.items(item_of(self.planned, reader, number, self.config))
        ]

    def _channel(self, number: int) -> _Channel:
        if not self.config.wave.fix_samples:
            return _Streamed(self, number)
        return _Chunked(self) if self.long == "chunks" else _Beginning(self)


class _Channel(Protocol):
    """One channel of a long input."""

    def feed(self, waveform: Tensor, *, is_last: bool) -> None:
        """Take the next piece."""

    def items(self, item: Item) -> Iterator[tuple[Item, Rows]]:
        """What it became, given what is known of its item."""


class _Streamed:
    """A channel of any length that becomes one item."""

    def __init__(self, of: LongInput, number: int) -> None:
        self._of = of
        self._n_samples = 0
        self._spool: RowSpool | None = None
        self._stream = FrontEndStream(of.engine.frontend, partial(self._pieces, number))

    def _pieces(self, number: int) -> Iterator[tuple[Tensor, bool]]:
        """The channel from its start, for rules that look at all of it first."""
        of = self._of
        with WaveformReader(of.source, of.planned, of.config, of.watch) as reader:
            is_last = False
            while not is_last:
                of.watch.start()
                waveforms, is_last = reader.read()
                yield waveforms[number], is_last

    def feed(self, waveform: Tensor, *, is_last: bool) -> None:
        self._n_samples += waveform.shape[-1]
        steps = self._stream.feed(waveform, is_last=is_last)
        for rows in self._of.engine.stepwise(steps, self._of.planned.name):
            if self._spool is None:
                self._spool = RowSpool(tuple(rows.shape[1:]), self._of.folder)
            self._spool.append(rows.numpy())

    def items(self, item: Item) -> Iterator[tuple[Item, Rows]]:
        of, spool = self._of, self._spool
        count_rows(of.config, self._n_samples, of.planned)
        assert spool is not None  # noqa: S101, it is long enough for a row
        frontend, device = of.engine.frontend, of.engine.device
        rows = frontend.finished(
            _spooled(spool).mapped(lambda part: part.to(device)), self._stream.n_framed
        )
        yield replace(item, n_rows=rows.n_rows), rows.mapped(lambda part: part.to("cpu"))


class _Beginning:
    """A channel of which only the beginning is kept, or none of it if more is not allowed."""

    def __init__(self, of: LongInput) -> None:
        self._of, self._fixed = of, of.config.wave.fix_samples
        self._held: list[Tensor] = []
        self._n_samples = 0

    def feed(self, waveform: Tensor, *, is_last: bool) -> None:  # noqa: ARG002, alike for all
        missing = self._fixed - self._n_samples
        if missing > 0:
            self._held.append(waveform[:missing].clone())  # a view would keep all of it
        self._n_samples += waveform.shape[-1]

    def items(self, item: Item) -> Iterator[tuple[Item, Rows]]:
        of = self._of
        count_rows(of.config, self._n_samples, of.planned)
        if self._n_samples > self._fixed:
            if of.long == "error":
                refuse_long(of.config, self._n_samples, of.planned)
            item = cut(item)
        rows = Rows.of(of.engine.rows_of(torch.cat(self._held), of.planned.name))
        yield replace(item, n_rows=rows.n_rows), rows


class _Chunked:
    """A channel that becomes an item for each stretch of a fixed length."""

    def __init__(self, of: LongInput) -> None:
        self._of, self._fixed = of, of.config.wave.fix_samples
        self._held: Tensor | None = None
        self._n_samples = 0
        self._n_rows: list[int] = []  # of each chunk
        self._spool = RowSpool(of.config.row_shape, of.folder)

    def feed(self, waveform: Tensor, *, is_last: bool) -> None:
        self._n_samples += waveform.shape[-1]
        held = waveform if self._held is None else torch.cat([self._held, waveform])
        if is_last:
            count_rows(self._of.config, self._n_samples, self._of.planned)
        while held.shape[-1] >= self._fixed or (is_last and held.shape[-1]):
            rows = self._of.engine.rows_of(held[: self._fixed], self._of.planned.name)
            self._spool.append(rows.numpy())
            self._n_rows.append(rows.shape[0])
            held = held[self._fixed :]
        self._held = held.clone()

    def items(self, item: Item) -> Iterator[tuple[Item, Rows]]:
        start = 0
        for number, n_rows in enumerate(self._n_rows):
            yield (
                replace(chunk_of(item, number), n_rows=n_rows),
                _spooled(self._spool, start, n_rows),
            )
            start += n_rows


def _spooled(spool: RowSpool, first: int = 0, n_rows: int | None = None) -> Rows:
    """Rows of a spool from ``first`` on."""
    return Rows(
        spool.n_rows if n_rows is None else n_rows,
        lambda start, stop: torch.from_numpy(spool.read(first + start, first + stop)),
    )
