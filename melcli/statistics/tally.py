"""Rows of many items to one `Statistics`, whatever weighs the same."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from melcli.statistics.counts import CountAccumulator
from melcli.statistics.fitted import Statistics
from melcli.statistics.moments import Accumulator, Moments

if TYPE_CHECKING:
    from collections.abc import Iterable

    import numpy.typing as npt

    from melcli.statistics.fitted import Weight
    from melcli.statistics.moments import Rows


class Tally:
    """Adds up items, until somebody asks.

    Args:
        n_bins: Numbers in a row.
        weight: What weighs the same.
        with_counts: Count values too.
    """

    def __init__(self, n_bins: int, weight: Weight, *, with_counts: bool) -> None:
        self.n_bins = n_bins
        self._weight = weight
        self._rows = Accumulator(n_bins)
        self._values = CountAccumulator(n_bins) if with_counts else None
        self._total = Moments.none(n_bins)
        self._at_floor = np.zeros(n_bins, np.int64)
        self._n_items = 0

    def add(self, pieces: Iterable[Rows], low: float) -> None:
        """Add an item.

        Args:
            pieces: Its rows, ``(n, n_bins)`` each, all of them finite.
            low: The least of its numbers.
        """
        for rows in pieces:
            self._rows.add(rows, low)
            if self._values is not None:
                self._values.add(rows)
        self._n_items += 1
        if self._weight == "item":
            self._end(1.0)

    def add_items(self, rows: Rows, n_rows: npt.NDArray[np.int64], lows: Rows) -> None:
        """Add several items that lie one behind the other, quicker than one by one.

        Args:
            rows: Of all of them, ``(n, n_bins)``.
            n_rows: Of each, at least one.
            lows: The least number of each.
        """
        if self._weight == "item":
            for item, low in zip(np.split(rows, np.cumsum(n_rows)[:-1]), lows, strict=True):
                self.add([item], float(low))
            return
        self._rows.add(rows, np.repeat(lows, n_rows)[:, None])
        if self._values is not None:
            self._values.add(rows)
        self._n_items += len(n_rows)

    def end_batch(self) -> None:
        """Say that what was added since the last time is a batch."""
        if self._weight == "batch":
            self._end(1.0)

    def _end(self, weight: float | None = None) -> None:
        moments, at_floor = self._rows.taken()
        if moments.count:
            moments = moments if weight is None else moments.weighing(weight)
            self._total = self._total.merge(moments)
        self._at_floor += at_floor

    def taken(self) -> Statistics:
        """The statistics of all that was added; of nothing, if nothing was."""
        self._end()
        return Statistics(
            moments=self._total,
            at_floor=self._at_floor,
            counts=None if self._values is None else self._values.taken(),
            weight=self._weight,
            n_items=self._n_items,
        )
