"""Count, mean, spread and ends of each bin, in float64, gathered in one pass over the rows.

The textbook's ``E[x^2] - E[x]^2`` loses twice as many digits as the mean has over the spread. Here
every block of rows is looked at from one of its own rows, blocks are put together by the rule of
Chan, Golub and LeVeque [1], and the totals are kept as sums of two float64, so that nothing drifts,
however many blocks there are and in whatever order they come.

References:
    [1] T. F. Chan, G. H. Golub, R. J. LeVeque, *Algorithms for Computing the Sample Variance:
        Analysis and Recommendations*, The American Statistician 37, 1983.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt

Float64s: TypeAlias = npt.NDArray[np.float64]
Rows: TypeAlias = npt.NDArray[np.floating[Any]]

_BLOCK_NUMBERS: Final = 1 << 17
"""Numbers that are added up at once: about what the second cache holds in float64."""
_FOLD: Final = 8
"""Rows that NumPy sees as one long row; a loop over 80 numbers would mostly start and end."""
_MOST_FOLDED: Final = 255
"""Long rows in a block: so many can be counted in eight bits."""
_N_BLOCKS: Final = 64
"""Blocks that are put together at once."""
_CANCELLED: Final = 1e-2
"""Where less than this of a sum of squares is left, two digits are lost: look from elsewhere."""


@dataclass(frozen=True)
class Moments:
    """What is known of each bin after any number of rows.

    Args:
        count: Rows.
        weight: Of all rows together: their number, or that of the items where each weighs the same.
        mean: ``(n_bins,)``, as all here.
        m2: Weighted sum of the squared distances from the mean.
        min: The least value; NaN where it is not known.
        max: The largest.
        mean_low: What the mean is beyond float64.
        m2_low: Likewise.
    """

    count: int
    weight: float
    mean: Float64s
    m2: Float64s
    min: Float64s
    max: Float64s
    mean_low: Float64s
    m2_low: Float64s

    @classmethod
    def none(cls, n_bins: int) -> Moments:
        """Those of no rows at all."""
        zeros, ends = np.zeros(n_bins), np.full(n_bins, np.inf)
        return cls(0, 0.0, zeros, zeros, ends, -ends, zeros, zeros)

    @property
    def n_bins(self) -> int:
        """How many bins there are."""
        return len(self.mean)

    @property
    def variance(self) -> Float64s:
        """The mean of the squared distances from the mean, that of a population."""
        return self.m2 / self.weight if self.weight else np.zeros_like(self.m2)

    @property
    def std(self) -> Float64s:
        """The standard deviation, that of a population."""
        return np.sqrt(self.variance)

    def weighing(self, weight: float) -> Moments:
        """The same rows, with another weight in all."""
        factor = weight / self.weight if self.weight else 0.0
        m2, m2_low = self.m2 * factor, self.m2_low * factor
        return Moments(self.count, weight, self.mean, m2, self.min, self.max, self.mean_low, m2_low)

    def merge(self, other: Moments) -> Moments:
        """Put the rows of both together.

        ::

            weight = a + b      mean = mean_a + delta b / weight     delta = mean_b - mean_a
                                m2   = m2_a + m2_b + delta^2 a b / weight

        >>> low, high = moments_of(np.array([[1.0], [3.0]])), moments_of(np.array([[8.0]]))
        >>> both = low.merge(high)
        >>> both.count, both.mean.tolist(), both.m2.tolist()
        (3, [4.0], [26.0])
        """
        weight = self.weight + other.weight
        if not weight:
            return self
        delta = (other.mean - self.mean) + (other.mean_low - self.mean_low)
        share = other.weight / weight
        mean, mean_low = _sum(self.mean, self.mean_low, delta * share, 0.0)
        m2, m2_low = _sum(self.m2, self.m2_low, other.m2, other.m2_low)
        m2, m2_low = _sum(m2, m2_low, delta * delta * (self.weight * share), 0.0)
        low, high = np.minimum(self.min, other.min), np.maximum(self.max, other.max)
        return Moments(self.count + other.count, weight, mean, m2, low, high, mean_low, m2_low)

    def over_all(self) -> Moments:
        """Those of all bins together, as one bin."""
        n = self.n_bins
        mean = self.mean.mean()
        m2 = self.m2.sum() + self.weight * np.square(self.mean - mean).sum()
        zero = np.zeros(1)
        return Moments(
            self.count * n,
            self.weight * n,
            zero + mean,
            zero + m2,
            zero + self.min.min(),
            zero + self.max.max(),
            zero,
            zero,
        )


class Accumulator:
    """Takes rows, in any number and in pieces of any length, and knows their moments.

    Args:
        n_bins: Numbers in a row.
    """

    def __init__(self, n_bins: int) -> None:
        self.n_bins = n_bins
        n_folded = min(max(1, _BLOCK_NUMBERS // (n_bins * _FOLD)), _MOST_FOLDED)
        self._n_rows = n_folded * _FOLD  # of a block
        self._total = Moments.none(n_bins)
        self._at_floor = np.zeros(n_bins, np.int64)
        self._n_held = 0
        self._use(np.dtype(np.float32))
        # Of whole blocks that are not in the total yet.
        self._n_blocks = 0
        self._counts = np.zeros((_N_BLOCKS, 1))
        self._means = np.zeros((_N_BLOCKS, n_bins))
        self._m2s = np.zeros((_N_BLOCKS, n_bins))
        self._low = np.full(n_bins, np.inf)
        self._high = np.full(n_bins, -np.inf)

    def _use(self, dtype: np.dtype[Any]) -> None:
        """Hold rows of this precision."""
        folded = self._n_rows // _FOLD, self.n_bins * _FOLD
        self._rows = np.empty((self._n_rows, self.n_bins), dtype)
        self._floors = np.empty((self._n_rows, 1), dtype)
        self._apart, self._place = np.empty(folded), np.empty((_FOLD, self.n_bins))
        self._is_low = np.empty(folded, np.bool_)

    def add(self, rows: Rows, floor: Rows | float | None = None) -> None:
        """Add rows, all of them finite.

        Args:
            rows: ``(n_rows, n_bins)``, float16, float32 or float64.
            floor: The least value of the item that they are of, or of each row's, ``(n_rows, 1)``;
                None if they are all of one item.
        """
        if not len(rows):
            return
        if rows.dtype == np.float64 and self._rows.dtype != np.float64:
            self._end_block()
            self._use(rows.dtype)
        least = rows.min() if floor is None else floor
        with np.errstate(over="ignore", invalid="ignore"):  # float64 beyond 1e150: m2 is infinite
            self._add(rows, least)

    def _add(self, rows: Rows, floors: Rows | float) -> None:
        start, is_as_held = 0, rows.dtype == self._rows.dtype
        while start < len(rows):
            n = min(len(rows) - start, self._n_rows - self._n_held)
            part = rows[start : start + n]
            floor = floors[start : start + n] if isinstance(floors, np.ndarray) else floors
            start += n
            if n == self._n_rows and is_as_held:
                self._add_block(np.ascontiguousarray(part), floor, n)
                continue
            stop = self._n_held + n
            self._rows[self._n_held : stop] = part
            self._floors[self._n_held : stop] = floor
            self._n_held = stop
            if stop == self._n_rows:
                self._end_block()

    def _end_block(self) -> None:
        """Add the rows that are held."""
        n, rows = self._n_held, self._rows
        if not n:
            return
        if n < self._n_rows:  # the shape stays the same; what is filled in lies at no distance
            rows[n:] = rows[0]
            self._floors[n:] = np.inf
        self._add_block(rows, self._floors, n)
        self._n_held = 0

    def _add_block(self, rows: Rows, floors: Rows | float, n: int) -> None:
        folded = rows.reshape(self._apart.shape)
        first = rows[0].astype(np.float64)
        mean, m2 = self._seen_from(folded, first, n)
        squares = m2 + n * np.square(mean - first)
        if (m2 < _CANCELLED * squares).any():
            mean, m2 = _seen_from_near(rows[:n], mean)
        low = _unfolded(np.minimum, folded)
        np.minimum(self._low, low, out=self._low)
        np.maximum(self._high, _unfolded(np.maximum, folded), out=self._high)
        if low.min() <= np.min(floors):
            self._count_low(rows, floors)
        self._counts[self._n_blocks] = n
        self._means[self._n_blocks], self._m2s[self._n_blocks] = mean, m2
        self._n_blocks += 1
        if self._n_blocks == _N_BLOCKS:
            self._end_blocks()

    def _count_low(self, rows: Rows, floors: Rows | float) -> None:
        np.equal(rows, floors, out=self._is_low.reshape(rows.shape))
        of_folded = np.add.reduce(self._is_low.view(np.uint8), axis=0, dtype=np.uint8)
        self._at_floor += np.add.reduce(of_folded.reshape(_FOLD, -1), axis=0, dtype=np.int64)

    def _seen_from(self, folded: Rows, place: Float64s, n: int) -> tuple[Float64s, Float64s]:
        """Mean and squares of a block of ``n`` rows, from its distances to some place.

        Rows beyond those lie at that place.
        """
        apart, self._place[:] = self._apart, place
        np.copyto(apart, folded)
        np.subtract(apart, self._place.reshape(-1), out=apart)
        distance = _unfolded(np.add, apart)
        np.multiply(apart, apart, out=apart)
        squares = _unfolded(np.add, apart)
        return _from_sums(place, n, distance, squares)

    def _end_blocks(self) -> None:
        """Put the blocks together, exactly as many at once as there are."""
        n = self._n_blocks
        if not n:
            return
        counts, means, m2s = self._counts[:n], self._means[:n], self._m2s[:n]
        count = float(counts.sum())
        # From the first mean, which lies near; twice, as within a block.
        mean = means[0] + (counts * (means - means[0])).sum(axis=0) / count
        step = (counts * (means - mean)).sum(axis=0) / count
        m2 = m2s.sum(axis=0) + (counts * np.square(means - mean)).sum(axis=0) - count * step * step
        zeros = np.zeros(self.n_bins)
        blocks = Moments(int(count), count, mean + step, m2, self._low, self._high, zeros, zeros)
        self._total = self._total.merge(blocks)
        self._n_blocks = 0
        self._low = np.full(self.n_bins, np.inf)
        self._high = np.full(self.n_bins, -np.inf)

    def taken(self) -> tuple[Moments, npt.NDArray[np.int64]]:
        """What was added since the last time, and how many rows of each bin lay at their floor."""
        with np.errstate(over="ignore", invalid="ignore"):
            self._end_block()
            self._end_blocks()
        taken = self._total, self._at_floor
        self._total = Moments.none(self.n_bins)
        self._at_floor = np.zeros(self.n_bins, np.int64)
        return taken


def moments_of(rows: Rows) -> Moments:
    """The moments of rows that are all there, ``(n_rows, n_bins)``.

    >>> moments_of(np.array([[1.0, 5.0], [3.0, 5.0]])).std.tolist()
    [1.0, 0.0]
    """
    accumulator = Accumulator(rows.shape[1])
    accumulator.add(rows)
    return accumulator.taken()[0]


def _seen_from_near(rows: Rows, mean: Float64s) -> tuple[Float64s, Float64s]:
    """Mean and squares of rows, from their distances to what is nearly their mean."""
    apart = rows - mean
    return _from_sums(mean, len(rows), apart.sum(axis=0), np.square(apart).sum(axis=0))


def _from_sums(
    place: Float64s, n: int, distance: Float64s, squares: Float64s
) -> tuple[Float64s, Float64s]:
    step = distance / n
    return place + step, np.maximum(squares - distance * step, 0.0)


def _unfolded(reduce: np.ufunc, folded: Rows) -> Float64s:
    """Reduce over the rows that were folded."""
    wide = reduce.reduce(folded, axis=0)
    bins: Float64s = reduce.reduce(wide.reshape(_FOLD, -1), axis=0)
    return bins


def _sum(
    a: Float64s, a_low: Float64s, b: Float64s, b_low: Float64s | float
) -> tuple[Float64s, Float64s]:
    """Add two numbers that are held as two float64 each (Dekker's addition)."""
    total = a + b
    of_b = total - a
    rest = (a - (total - of_b)) + (b - of_b) + (a_low + b_low)
    high = total + rest
    return high, rest - (high - total)
