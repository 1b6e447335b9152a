"""How often each value occurs in each bin, with values rounded to bfloat16.

Integers, so that putting two together is exact in any order. A bfloat16 has eight significant bits:
a quantile is the value at its place, off by at most 2^-8 of it, however the values are spread.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from collections.abc import Sequence

    from melcli.statistics.moments import Float64s, Rows

_N_CODES: Final = 1 << 16
_NEGATIVE: Final = np.uint32(1 << 15)
_HELD_NUMBERS: Final = 1 << 21
"""Numbers whose codes are held before they are counted."""
_STEP_NUMBERS: Final = 1 << 15
"""Numbers that are rounded at once: as many as the second cache holds."""


@dataclass(frozen=True)
class Counts:
    """Which values occur in which bin, and how often.

    Args:
        n_bins: How many bins there are.
        keys: ``bin * 65536 + code``, rising; codes rise with the values they stand for.
        counts: Of each of them.
    """

    n_bins: int
    keys: npt.NDArray[np.uint64]
    counts: npt.NDArray[np.int64]

    def __reduce__(self) -> tuple[Any, ...]:
        # Goes from process to process in half the bytes, where numbers are as small as they mostly
        # are.
        largest = (int(array.max(initial=0)) for array in (self.keys, self.counts))
        if max(largest) < 1 << 32:
            return _widened, (self.n_bins, *(a.astype(np.uint32) for a in (self.keys, self.counts)))
        return Counts, (self.n_bins, self.keys, self.counts)

    @classmethod
    def none(cls, n_bins: int) -> Counts:
        """Those of no rows at all."""
        return cls(n_bins, np.empty(0, np.uint64), np.empty(0, np.int64))

    @classmethod
    def of_values(
        cls, n_bins: int, bins: npt.ArrayLike, values: npt.ArrayLike, counts: npt.ArrayLike
    ) -> Counts:
        """Put together what `bins`, `values` and `counts` give."""
        codes = _codes(np.asarray(values, np.float32)).astype(np.uint64)
        keys = np.asarray(bins, np.uint64) * np.uint64(_N_CODES) + codes
        return cls(n_bins, keys, np.asarray(counts, np.int64))

    @property
    def bins(self) -> npt.NDArray[np.int64]:
        """The bin of each key."""
        return (self.keys // np.uint64(_N_CODES)).astype(np.int64)

    @property
    def values(self) -> npt.NDArray[np.float32]:
        """The value of each key, which is a bfloat16."""
        return _values((self.keys % np.uint64(_N_CODES)).astype(np.uint32))

    def merge(self, *others: Counts) -> Counts:
        """Those of all rows. Exact.

        >>> one, two = counts_of(np.array([[1.0]])), counts_of(np.array([[2.0]]))
        >>> both = one.merge(two, one)
        >>> both.values.tolist(), both.counts.tolist()
        ([1.0, 2.0], [2, 1])
        """
        keys = np.concatenate([self.keys, *(other.keys for other in others)])
        counts = np.concatenate([self.counts, *(other.counts for other in others)])
        order = np.argsort(keys, kind="stable")
        keys, counts = keys[order], counts[order]
        first = np.flatnonzero(np.append(True, keys[1:] != keys[:-1])[: len(keys)])
        if len(first):
            counts = np.add.reduceat(counts, first)
        return Counts(self.n_bins, keys[first], counts)

    def over_all(self) -> Counts:
        """Those of all bins together, as one bin."""
        one = Counts(1, self.keys % np.uint64(_N_CODES), self.counts)
        return one.merge()

    def quantiles(self, shares: Sequence[float]) -> Float64s:
        """The least value of each bin that at least such a share of its rows does not exceed.

        Args:
            shares: From 0 to 1.

        Returns:
            ``(len(shares), n_bins)``; NaN for a bin without rows.
        """
        found = np.full((len(shares), self.n_bins), np.nan)
        values, upto = self.values, np.cumsum(self.counts)
        ends = np.searchsorted(self.bins, np.arange(self.n_bins + 1))
        for b, (start, stop) in enumerate(itertools.pairwise(ends)):
            if start == stop:
                continue
            before = upto[start - 1] if start else 0
            n_rows = int(upto[stop - 1] - before)
            for i, share in enumerate(shares):
                rank = min(n_rows, max(1, int(np.ceil(share * n_rows))))
                at = start + np.searchsorted(upto[start:stop] - before, rank)
                found[i, b] = values[at]
        return found


def _widened(n_bins: int, keys: npt.NDArray[np.uint32], counts: npt.NDArray[np.uint32]) -> Counts:
    return Counts(n_bins, keys.astype(np.uint64), counts.astype(np.int64))


class CountAccumulator:
    """Takes rows, and counts their values.

    Args:
        n_bins: Numbers in a row.
    """

    def __init__(self, n_bins: int) -> None:
        self.n_bins = n_bins
        self._held: list[npt.NDArray[np.uint16]] = []
        self._n_held = 0
        self._counted: list[Counts] = []

    def add(self, rows: Rows) -> None:
        """Add ``(n_rows, n_bins)``, all of them finite."""
        step = max(1, _STEP_NUMBERS // self.n_bins)
        for start in range(0, len(rows), step):
            codes = _codes(rows[start : start + step].astype(np.float32, copy=False))
            self._held.append(codes)
            self._n_held += codes.size
            if self._n_held >= _HELD_NUMBERS:
                self._count()

    def _count(self) -> None:
        if not self._held:
            return
        by_bin = np.ascontiguousarray(np.concatenate(self._held).T)
        keys, counts = [], []
        for b, codes in enumerate(by_bin):
            low = int(codes.min())
            count = np.bincount(codes - low)
            (seen,) = np.nonzero(count != 0)  # a mask is looked through eight at a time
            keys.append(seen.astype(np.uint64) + np.uint64(b * _N_CODES + low))
            counts.append(count[seen])
        self._counted.append(Counts(self.n_bins, np.concatenate(keys), np.concatenate(counts)))
        self._held, self._n_held = [], 0
        if len(self._counted) > 8:
            self._counted = [self._counted[0].merge(*self._counted[1:])]

    def taken(self) -> Counts:
        """Count what was added since the last time."""
        self._count()
        counted, self._counted = self._counted, []
        if len(counted) == 1:
            return counted[0]
        return Counts.none(self.n_bins).merge(*counted)


class CountTable:
    """Adds up counts in place, quickly: a number for each code of each bin.

    Args:
        n_bins: How many bins there are; each may take half a megabyte.
    """

    def __init__(self, n_bins: int) -> None:
        self.n_bins = n_bins
        self._table = np.zeros(0, np.int64)

    def add(self, counts: Counts) -> None:
        """Add counts, each key of which is there once."""
        if not len(self._table):
            # Pages that no value falls into are never touched, and take no memory.
            self._table = np.zeros(self.n_bins * _N_CODES, np.int64)
        self._table[counts.keys.astype(np.int64)] += counts.counts

    def taken(self) -> Counts:
        """What was added since the last time."""
        (keys,) = np.nonzero(self._table != 0)
        counts = self._table[keys]
        self._table[keys] = 0  # its pages are used again: asking for new ones takes longer
        return Counts(self.n_bins, keys.astype(np.uint64), counts)


def counts_of(rows: Rows) -> Counts:
    """The counts of rows that are all there, ``(n_rows, n_bins)``.

    >>> counts_of(np.array([[0.1], [0.1001], [-3.0]])).values.tolist()
    [-3.0, 0.10009765625]
    """
    accumulator = CountAccumulator(rows.shape[1])
    accumulator.add(rows)
    return accumulator.taken()


def _codes(values: npt.NDArray[np.float32]) -> npt.NDArray[np.uint16]:
    """Round to bfloat16, to the even one where two are as near; codes rise with the values."""
    bits = np.ascontiguousarray(values).view(np.uint32)
    rounded = (bits + np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1))) >> np.uint32(16)
    # Negative numbers rise as their bits fall; they come below the others.
    codes = rounded.astype(np.uint16)
    return codes ^ ((codes.view(np.int16) >> 15).view(np.uint16) | np.uint16(_NEGATIVE))


def _values(codes: npt.NDArray[np.uint32]) -> npt.NDArray[np.float32]:
    flips = np.where(codes & _NEGATIVE, _NEGATIVE, np.uint32(0xFFFF))
    values: npt.NDArray[np.float32] = ((codes ^ flips) << np.uint32(16)).view(np.float32)
    return values
