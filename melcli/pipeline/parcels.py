"""A worker's results on their way from its process to the one that writes."""

from __future__ import annotations

import mmap
import os
from functools import partial
from typing import TYPE_CHECKING, NamedTuple, Protocol

import numpy as np

from melcli.pipeline.processes import Parcel
from melcli.pipeline.spool import RowSpool
from melcli.pipeline.stopwatch import Stopwatch
from melcli.pipeline.worker import Result, Worked
from melcli.store.records import Done

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from pathlib import Path
    from typing import TypeAlias

    import torch

    from melcli.pipeline.batching import Batch
    from melcli.pipeline.plan import Plan
    from melcli.pipeline.stopwatch import Times
    from melcli.statistics.fitted import Statistics
    from melcli.store.records import Array, Failed, Item, Outcome

    _Read: TypeAlias = Callable[[int, int], Iterable[Array]]

_STEP_BYTES = 4 << 20
"""Rows of a long item that are read at once."""

_TRAY_BYTES = 4 << 20
"""Rows of a batch that need no file: those of nearly every batch."""


class Work(Protocol):
    """What a worker does with a batch."""

    @property
    def device(self) -> torch.device:
        """Where it computes."""

    def __call__(self, batch: Batch) -> Worked:
        """What comes of the batch."""


class _Content(NamedTuple):
    """What is pickled of a batch."""

    outcomes: Sequence[Outcome]
    times: Times
    n_rows: int
    """On the tray or in the file; none where only their statistics were asked for."""
    statistics: Statistics | None
    beside: Sequence[Failed]


class Parcels:
    """Wraps what a worker made of a batch, and unwraps it.

    Rows lie on a tray: memory that both processes share, used again and again, so that nobody
    copies them twice or waits for new pages. Those of a larger batch go in a file. The rest is
    pickled. A tray is free again when ``n_trays`` further tasks may be handed over.

    Args:
        worker: What makes the results.
        plan: The inputs.
        row_shape: Of the rows.
        dtype: Likewise.
        folder: Where rows may wait that are too many for the memory.
        n_trays: More than tasks are ever under way.
    """

    def __init__(
        self,
        worker: Work,
        plan: Plan,
        row_shape: tuple[int, ...],
        dtype: str,
        folder: Path,
        n_trays: int,
    ) -> None:
        self._worker, self._plan = worker, plan
        self._row_shape, self._dtype, self._folder = row_shape, np.dtype(dtype), folder
        row_bytes = self._dtype.itemsize * int(np.prod(row_shape))
        self._step, self._tray_rows = max(1, _STEP_BYTES // row_bytes), _TRAY_BYTES // row_bytes
        # Pages that are never written take no memory.
        self._trays = [self._tray(row_bytes) for _ in range(n_trays)]

    def _tray(self, row_bytes: int) -> Array:
        shared = mmap.mmap(-1, max(1, self._tray_rows * row_bytes))
        n_numbers = self._tray_rows * row_bytes // self._dtype.itemsize
        numbers = np.frombuffer(shared, self._dtype, n_numbers)
        return numbers.reshape(self._tray_rows, *self._row_shape)

    def wrap(self, batch: Batch, number: int) -> Parcel:
        """Do the work, in the process that does it."""
        results, times, statistics, beside = self._worker(batch)
        watch = Stopwatch()
        outcomes = [result.outcome for result in results]
        n_rows = sum(
            item.n_rows for result in results if result.rows for item in _items(result.outcome)
        )
        pieces = (rows for result in results for item in result.rows for rows in item)
        fd = -1
        if n_rows <= self._tray_rows:
            tray, at = self._trays[number % len(self._trays)], 0
            for rows in pieces:
                tray[at : at + len(rows)] = rows
                at += len(rows)
        else:
            spool = RowSpool(self._row_shape, self._folder, self._dtype)
            for rows in pieces:
                spool.append(rows)
            fd = os.dup(spool.fd)
        watch.lap("mel")
        times.add(watch.times)
        content = _Content(outcomes, times, n_rows, statistics, beside)
        return Parcel(content, fd)

    def unwrap(self, batch: Batch, number: int, parcel: Parcel) -> Worked:
        """What `wrap` made of the batch, in the process that writes it."""
        content: _Content = parcel.content
        outcomes, times, n_rows, statistics, beside = content
        if parcel.fd < 0:
            read = self._on_tray(number)
        else:
            spool = RowSpool(self._row_shape, self._folder, self._dtype, n_rows, parcel.fd)
            read = partial(_in_steps, spool, self._step)
        results, first = [], 0
        for index, outcome in zip(batch.indices, outcomes, strict=True):
            rows = []
            for item in _items(outcome) if n_rows else ():
                rows.append(read(first, first + item.n_rows))
                first += item.n_rows
            results.append(Result(self._plan[index], outcome, rows))
        return Worked(results, times, statistics, beside)

    def _on_tray(self, number: int) -> _Read:
        tray = self._trays[number % len(self._trays)]
        return lambda start, stop: (tray[start:stop],)


def _items(outcome: Outcome) -> Sequence[Item]:
    return outcome.items if isinstance(outcome, Done) else ()


def _in_steps(spool: RowSpool, size: int, start: int, stop: int) -> Iterator[Array]:
    """Rows of a spool, some at a time."""
    return (spool.read(at, min(at + size, stop)) for at in range(start, stop, size))
