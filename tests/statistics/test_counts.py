"""Counts of rounded values: exact in any order, quantiles within 2^-8."""

from __future__ import annotations

import pickle
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from melcli.statistics.counts import CountAccumulator, Counts, CountTable, counts_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

SHARES = [0.0, 0.01, 0.25, 0.5, 0.75, 0.99, 1.0]


def log_mel(rng: np.random.Generator, n_rows: int, n_bins: int) -> NDArray[np.float32]:
    """Numbers as in a log mel, with zeros of both signs and a floor."""
    rows = (rng.standard_normal((n_rows, n_bins)) * 20 - 30).astype(np.float32)
    rows[rng.random(rows.shape) < 0.1] = -80.0
    rows[rng.random(rows.shape) < 0.02] = 0.0
    rows[rng.random(rows.shape) < 0.02] = -0.0
    return rows


def same(one: Counts, other: Counts) -> bool:
    """Every number is the same."""
    return np.array_equal(one.keys, other.keys) and np.array_equal(one.counts, other.counts)


@given(st.integers(0, 2**32), st.integers(1, 4000), st.sampled_from([1, 3, 80]))
@settings(max_examples=40, deadline=None)
def test_quantiles(seed: int, n_rows: int, n_bins: int) -> None:
    """A quantile is the value at its place, to 2^-8 of it."""
    rows = log_mel(np.random.default_rng(seed), n_rows, n_bins)
    found = counts_of(rows).quantiles(SHARES)
    exact = np.quantile(rows, SHARES, axis=0, method="inverted_cdf")
    assert (np.abs(found - exact) <= 2.0**-8 * np.abs(exact)).all()


@given(st.integers(0, 2**32), st.lists(st.integers(0, 3000), max_size=6))
@settings(max_examples=30, deadline=None)
def test_any_order(seed: int, cuts: list[int]) -> None:
    """Pieces, merges and tables in any order count the same."""
    rng = np.random.default_rng(seed)
    rows = log_mel(rng, 3000, 5)
    parts = np.split(rows, sorted(cuts))
    order = rng.permutation(len(parts))
    counts = [counts_of(parts[i]) for i in order if len(parts[i])]
    whole, table, accumulator = counts_of(rows), CountTable(5), CountAccumulator(5)
    for part, count in zip((parts[i] for i in order if len(parts[i])), counts, strict=True):
        table.add(count)
        accumulator.add(part)
    assert same(counts[0].merge(*counts[1:]), whole)
    assert same(table.taken(), whole)
    assert same(accumulator.taken(), whole)
    assert not len(table.taken().keys)
    assert not len(accumulator.taken().keys)
    assert whole.counts.sum() == rows.size


def test_more_than_is_held(rng: np.random.Generator) -> None:
    """Many chunks are put together on the way."""
    rows = log_mel(rng, 40_000, 600)
    accumulator = CountAccumulator(600)
    for part in np.array_split(rows, 11):
        accumulator.add(part)
    found = accumulator.taken()
    assert found.counts.sum() == rows.size
    some = counts_of(rows[:, 77:78])
    of_bin = found.bins == 77
    assert np.array_equal(found.values[of_bin], some.values)
    assert np.array_equal(found.counts[of_bin], some.counts)


def test_rounding(rng: np.random.Generator) -> None:
    """Values are rounded as torch rounds to bfloat16, and rise from key to key."""
    values = (rng.standard_normal(100_000) * np.exp(20 * rng.standard_normal(100_000)))[:, None]
    values = values.astype(np.float32)
    counts = counts_of(values)
    rounded = torch.from_numpy(values).bfloat16().float().numpy()
    expected, number = np.unique(rounded, return_counts=True)
    assert np.array_equal(counts.values, expected)
    assert np.array_equal(counts.counts, number)


def test_columns(rng: np.random.Generator) -> None:
    """The columns of a file give the same counts again."""
    counts = counts_of(log_mel(rng, 100, 4))
    again = Counts.of_values(4, counts.bins, counts.values, counts.counts)
    assert same(again, counts)


@pytest.mark.parametrize("count", [1, (1 << 32) - 1, 1 << 32])
def test_pickled(rng: np.random.Generator, count: int) -> None:
    """From process to process nothing is lost, however large the numbers are."""
    counts = counts_of(log_mel(rng, 100, 4))
    counts.counts[3] = count
    again = pickle.loads(pickle.dumps(counts))  # noqa: S301, made here
    assert same(again, counts)
    assert (again.n_bins, again.keys.dtype, again.counts.dtype) == (4, np.uint64, np.int64)
    large = Counts(1 << 20, np.array([1 << 35], np.uint64), np.array([7]))
    assert same(pickle.loads(pickle.dumps(large)), large)  # noqa: S301


def test_over_all(rng: np.random.Generator) -> None:
    """All bins together are one bin with all the numbers."""
    rows = log_mel(rng, 500, 4)
    assert same(counts_of(rows).over_all(), counts_of(rows.reshape(-1, 1)))


def test_nothing() -> None:
    """A bin without rows has no quantile."""
    assert np.isnan(Counts.none(3).quantiles([0.5])).all()
    assert same(Counts.none(3).merge(Counts.none(3)), Counts.none(3))
    assert Counts.none(2).merge(counts_of(np.ones((1, 2)))).counts.tolist() == [1, 1]


@pytest.mark.parametrize("value", [3.4e38, -3.4e38, 1e-45, -1e-45])
def test_ends(value: float) -> None:
    """The ends of float32 are counted like any other value."""
    counts = counts_of(np.array([[value]], np.float32))
    assert counts.counts.tolist() == [1]
    assert np.sign(counts.values[0]) in {np.sign(value), 0}
