"""A worker's results on their way from its process to the one that writes."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from melcli.pipeline.processes import Parcel
from melcli.pipeline.spool import RowSpool
from melcli.pipeline.stopwatch import Stopwatch, Times
from melcli.pipeline.worker import Result

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from melcli.config import OutputConfig
    from melcli.pipeline.batching import Batch
    from melcli.pipeline.plan import Plan
    from melcli.pipeline.worker import Worker
    from melcli.store.records import Array, Outcome

_STEP_BYTES = 4 << 20
"""Rows of a long item that are read at once."""

_TOGETHER_BYTES = 1 << 18

_Content: TypeAlias = "tuple[Sequence[Outcome], Times, int]"


class Parcels:
    """Wraps what a worker made of a batch, and unwraps it: rows go in a file, the rest pickled.

    Args:
        worker: What makes the results.
        plan: The inputs.
        row_shape: Of the rows.
        out: Their dtype.
        folder: Where rows may wait that are too many for the memory.
    """

    def __init__(
        self,
        worker: Worker,
        plan: Plan,
        row_shape: tuple[int, ...],
        out: OutputConfig,
        folder: Path,
    ) -> None:
        self._worker, self._plan = worker, plan
        self._row_shape, self._dtype, self._folder = row_shape, np.dtype(out.dtype), folder
        row_bytes = self._dtype.itemsize * int(np.prod(row_shape))
        self._step = max(1, _STEP_BYTES // row_bytes)

    def wrap(self, batch: Batch) -> Parcel:
        """Do the work, in the process that does it."""
        results, times = self._worker(batch)
        watch = Stopwatch()
        spool = RowSpool(self._row_shape, self._folder, self._dtype)
        few: list[Array] = []  # small items go together: a call for each takes longer than a copy
        for rows in (rows for result in results for pieces in result.rows for rows in pieces):
            few.append(rows)
            if len(few) * rows.nbytes >= _TOGETHER_BYTES:
                spool.append(np.concatenate(few))
                few = []
        if few:
            spool.append(np.concatenate(few))
        watch.lap("mel")
        times.add(watch.times)
        content: _Content = ([result.outcome for result in results], times, spool.n_rows)
        return Parcel(content, os.dup(spool.fd))

    def unwrap(self, batch: Batch, parcel: Parcel) -> tuple[list[Result], Times]:
        """What `wrap` made of the batch, in the process that writes it."""
        content: _Content = parcel.content
        outcomes, times, n_rows = content
        spool = RowSpool(self._row_shape, self._folder, self._dtype, n_rows, parcel.fd)
        results, first = [], 0
        for index, outcome in zip(batch.indices, outcomes, strict=True):
            items = getattr(outcome, "items", ())
            waiting = []
            for item in items:
                waiting.append(_Waiting(spool, first, first + item.n_rows, self._step))
                first += item.n_rows
            results.append(Result(self._plan[index], outcome, waiting))
        return results, times


class _Waiting:
    """Rows of a spool, as a writer takes them: in pieces."""

    def __init__(self, spool: RowSpool, start: int, stop: int, step: int) -> None:
        self._spool, self._start, self._stop, self._step = spool, start, stop, step

    def __iter__(self) -> Iterator[Array]:
        return (
            self._spool.read(at, min(at + self._step, self._stop))
            for at in range(self._start, self._stop, self._step)
        )
