"""Moments: equal to two passes in more digits than float64 has, in any pieces and any order."""

from __future__ import annotations

from functools import reduce
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from melcli.statistics.moments import Accumulator, Moments, moments_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

DIGITS = 1e-12
"""What is asked for; it is 1e-15 or so."""


def two_pass(rows: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Mean and standard deviation in 64 bits of mantissa, where the machine has them."""
    exact = rows.astype(np.longdouble)
    mean = exact.mean(axis=0)
    return mean, np.sqrt(np.square(exact - mean).mean(axis=0))


def check(found: Moments, rows: NDArray[Any]) -> None:
    """Compare with two passes: the mean to the digits of the data, the deviation to its own."""
    mean, std = two_pass(rows)
    largest = np.abs(rows.astype(np.float64)).max(axis=0)
    assert found.count == len(rows)
    assert found.weight == len(rows)
    assert (np.abs(found.mean - mean) <= DIGITS * largest).all()
    assert (np.abs(found.std - std) <= DIGITS * std).all()
    assert (found.min == rows.min(axis=0)).all()
    assert (found.max == rows.max(axis=0)).all()


@st.composite
def data(draw: st.DrawFn) -> NDArray[np.float32]:
    """Rows about some mean, that may be far away; now and then a bin never varies."""
    n_rows, n_bins = draw(st.integers(1, 1500)), draw(st.sampled_from([1, 2, 7, 80]))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    mean = draw(st.sampled_from([0.0, 1.0, -80.0, 1e4, -1e4]))
    rows = (mean + rng.standard_normal((n_rows, n_bins))).astype(np.float32)
    if draw(st.booleans()):
        rows[:, 0] = mean + 0.1
    if draw(st.booleans()):
        rows[draw(st.integers(0, n_rows - 1))] = draw(st.sampled_from([-1e5, 1e6]))
    return rows


@given(rows=data(), cuts=st.lists(st.integers(0, 1500), max_size=8))
@settings(max_examples=60, deadline=None)
def test_pieces(rows: NDArray[np.float32], cuts: list[int]) -> None:
    """Rows in any pieces have the moments that two passes over all of them give."""
    accumulator = Accumulator(rows.shape[1])
    edges = sorted({0, len(rows), *(cut for cut in cuts if cut < len(rows))})
    for start, stop in pairwise(edges):
        accumulator.add(rows[start:stop])
    found, _ = accumulator.taken()
    check(found, rows)
    assert accumulator.taken()[0].count == 0


@given(rows=data(), n_parts=st.integers(1, 9), seed=st.integers(0, 99))
@settings(max_examples=60, deadline=None)
def test_any_order(rows: NDArray[np.float32], n_parts: int, seed: int) -> None:
    """Parts merged in any order, and in any grouping, give the same to the last digit but one."""
    parts = [moments_of(part) for part in np.array_split(rows, n_parts) if len(part)]
    shuffled = [parts[i] for i in np.random.default_rng(seed).permutation(len(parts))]
    for order in (parts, shuffled):
        check(reduce(Moments.merge, order), rows)
        check(tree(order), rows)
    one, other = reduce(Moments.merge, parts), tree(shuffled)
    largest = np.abs(rows.astype(np.float64)).max(axis=0)
    assert (np.abs(one.mean - other.mean) <= 1e-15 * largest).all()
    assert np.allclose(one.m2, other.m2, rtol=1e-14, atol=0)


def tree(parts: Sequence[Moments]) -> Moments:
    """Merge neighbours, and then those."""
    if len(parts) == 1:
        return parts[0]
    half = len(parts) // 2
    return tree(parts[:half]).merge(tree(parts[half:]))


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_precision(rng: np.random.Generator, dtype: Any) -> None:
    """Each precision is taken as it is, and the first rows need not be of the last one's."""
    rows = rng.standard_normal((3000, 3)).astype(dtype)
    check(moments_of(rows), rows)
    accumulator = Accumulator(3)
    accumulator.add(rows[:100].astype(np.float16))
    accumulator.add(rows[100:].astype(np.float64))
    mixed = np.concatenate([rows[:100].astype(np.float16).astype(np.float64), rows[100:]])
    check(accumulator.taken()[0], mixed)


@pytest.mark.parametrize("distance", [0.0, 1e2, 1e4, -1e4])
def test_far_mean(rng: np.random.Generator, distance: float) -> None:
    """A mean ten thousand times the spread costs no digit of the deviation."""
    rows = (distance + rng.standard_normal((100_000, 4))).astype(np.float32)
    check(moments_of(rows), rows)


def test_outlier_first(rng: np.random.Generator) -> None:
    """The row that a block is looked at from may lie anywhere."""
    rows = rng.standard_normal((5000, 3))
    rows[0] = 1e8
    rows[3000] = -1e8
    check(moments_of(rows), rows)


def test_constant() -> None:
    """A bin that never varies has no spread at all, not even in the last digit."""
    rows = np.full((100_003, 2), 0.1, np.float32)
    rows[:, 1] = -80.0
    parts = [moments_of(part) for part in np.array_split(rows, 7)]
    found = reduce(Moments.merge, parts)
    assert found.m2.tolist() == [0.0, 0.0]
    assert found.mean.tolist() == [float(np.float32(0.1)), -80.0]


def test_ten_thousand_hours() -> None:
    """3.6e9 frames in many items, merged one by one: the numbers do not drift.

    What they should be is known exactly: each item has frames of two values about its own mean.
    """
    n_items, frames, distance = 200_000, 18_000, 1e4
    item = Moments(
        frames, float(frames), np.zeros(1), np.full(1, float(frames)), np.full(1, -1.0),
        np.full(1, 1.0), np.zeros(1), np.zeros(1),
    )  # fmt: skip
    total = Moments.none(1)
    for k in range(n_items):
        at = np.full(1, distance + (0.25 if k % 2 else -0.25))
        total = total.merge(
            Moments(frames, item.weight, at, item.m2, at - 1, at + 1, item.mean_low, item.m2_low)
        )
    assert total.count == n_items * frames
    assert total.mean[0] == pytest.approx(distance, rel=1e-15)
    assert total.std[0] == pytest.approx(np.sqrt(1.0625), rel=1e-15)
    assert (total.min[0], total.max[0]) == (distance - 1.25, distance + 1.25)


@given(rows=data(), seed=st.integers(0, 99))
@settings(max_examples=30, deadline=None)
def test_weighing(rows: NDArray[np.float32], seed: int) -> None:
    """Items that weigh the same, however long: the mean is that of their means."""
    cuts = np.sort(np.random.default_rng(seed).integers(1, len(rows) + 1, 3))
    items = [part for part in np.split(rows, cuts) if len(part)]
    found = reduce(Moments.merge, [moments_of(item).weighing(1.0) for item in items])
    means = np.array([item.astype(np.longdouble).mean(axis=0) for item in items])
    mean = means.mean(axis=0)
    spread = [np.square(item - mean).mean(axis=0) for item in items]
    std = np.sqrt(np.mean(spread, axis=0))
    largest = np.abs(rows.astype(np.float64)).max(axis=0)
    assert (found.count, found.weight) == (len(rows), len(items))
    assert (np.abs(found.mean - mean) <= DIGITS * largest).all()
    assert (np.abs(found.std - std) <= DIGITS * np.maximum(std, 1e-3)).all()


def test_over_all(rng: np.random.Generator) -> None:
    """All bins together are one bin with all the numbers."""
    rows = rng.standard_normal((999, 5)) * [1, 2, 3, 4, 5] + [0, 10, -20, 5, 1]
    found = moments_of(rows).over_all()
    check(found, rows.reshape(-1, 1))


def test_at_floor(rng: np.random.Generator) -> None:
    """Frames at the least value of their item are counted, wherever block borders lie."""
    items = [rng.uniform(0, 1, (n, 3)).astype(np.float32) for n in (1, 700, 3, 5000, 40)]
    expected = np.zeros(3, np.int64)
    accumulator = Accumulator(3)
    for share, item in zip((0.3, 0.98, 1.0, 0.99, 0.0), items, strict=True):
        item[rng.random(item.shape) < share] = np.float32(rng.uniform(-9, 0))
        expected += (item == item.min()).sum(axis=0)
        for piece in np.array_split(item, 3):
            accumulator.add(piece, float(item.min()))
    assert accumulator.taken()[1].tolist() == expected.tolist()


def test_nothing() -> None:
    """No rows leave everything as it was."""
    accumulator = Accumulator(2)
    accumulator.add(np.empty((0, 2), np.float32))
    assert accumulator.taken()[0].count == 0
    some = moments_of(np.ones((3, 2)))
    for both in (some.merge(Moments.none(2)), Moments.none(2).merge(some)):
        assert (both.count, both.mean.tolist(), both.min.tolist()) == (3, [1.0, 1.0], [1.0, 1.0])
    assert Moments.none(2).merge(Moments.none(2)).std.tolist() == [0.0, 0.0]
