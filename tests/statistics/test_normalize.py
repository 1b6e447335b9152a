"""What statistics are made into, and what a record of that gives back."""

from __future__ import annotations

import copy
import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from melcli.errors import ScalerError
from melcli.statistics.counts import counts_of
from melcli.statistics.fitted import Statistics, merged
from melcli.statistics.moments import moments_of
from melcli.statistics.normalize import OVERS, RULES, Normalization, Over, Rule

if TYPE_CHECKING:
    from numpy.typing import NDArray


def fitted(rows: NDArray[Any], *, with_counts: bool = True) -> Statistics:
    """Statistics of one item."""
    at_floor = (rows == rows.min()).sum(axis=0)
    counts = counts_of(rows) if with_counts else None
    return Statistics(moments=moments_of(rows), at_floor=at_floor, counts=counts, n_items=1)


@st.composite
def data(draw: st.DrawFn) -> NDArray[np.float32]:
    """Rows of three bins; one may never vary."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    spread = draw(st.sampled_from([1e-30, 1e-3, 1.0, 40.0, 1e30]))
    mean = draw(st.sampled_from([0.0, -80.0, 1e4]))
    rows = mean + spread * rng.standard_normal((draw(st.integers(1, 400)), 3))
    if draw(st.booleans()):
        rows[:, 1] = mean
    return rows.astype(np.float32)


def applied(rows: NDArray[np.float32], scaler: Normalization) -> NDArray[np.float32]:
    """What the front end's last stage does."""
    return (rows - scaler.shift) / scaler.scale


@given(rows=data(), rule=st.sampled_from(RULES), over=st.sampled_from(OVERS))
@settings(max_examples=120, deadline=None)
def test_what_it_gives(rows: NDArray[np.float32], rule: Rule, over: Over) -> None:
    """Each rule keeps its promise, and what never varies is never divided by zero."""
    found = Normalization.of(fitted(rows), rule, over)
    result = applied(rows, found).astype(np.float64)
    assert found.shift.shape == ((1,) if over == "all" else (3,))
    assert np.isfinite(result).all()
    axis = None if over == "all" else 0
    varies = np.ptp(rows.astype(np.float64), axis=axis) > 0
    low, high = np.asarray(result.min(axis=axis)), np.asarray(result.max(axis=axis))
    if rule == "minmax":
        assert (np.abs(result) <= 1).all()
        # The middle of two neighbouring numbers is one of them.
        spacing = np.spacing(np.abs(rows).max(axis=axis))
        rounding = np.asarray(2 * spacing / np.where(varies, np.ptp(rows, axis=axis), 1))
        assert (low[varies] <= -1 + rounding[varies] + 1e-6).all()
        assert (np.where(varies, 0, low) == 0).all()
    elif rule == "minmax01":
        assert ((result >= 0) & (result <= 1)).all()
        assert (low == 0).all()
        assert (high[varies] == 1).all()


def test_standard(rng: np.random.Generator) -> None:
    """Mean 0 and deviation 1, in every bin or over all."""
    rows = (rng.standard_normal((10_000, 3)) * [1, 5, 9] + [0, -40, 7]).astype(np.float32)
    over_bins = applied(rows, Normalization.of(fitted(rows), "standard"))
    over_all = applied(rows, Normalization.of(fitted(rows), "standard", "all"))
    assert over_bins.mean(axis=0) == pytest.approx(np.zeros(3), abs=1e-5)
    assert over_bins.std(axis=0) == pytest.approx(np.ones(3), abs=1e-5)
    assert over_all.mean() == pytest.approx(0, abs=1e-5)
    assert over_all.std() == pytest.approx(1, abs=1e-5)
    moved = applied(rows, Normalization.of(fitted(rows), "mean"))
    assert moved.std(axis=0) == pytest.approx([1, 5, 9], rel=0.03)


def test_robust(rng: np.random.Generator) -> None:
    """The median becomes 0, and half of the rows lie within one quartile distance."""
    rows = (rng.standard_normal((10_001, 2)) * 3 - 50).astype(np.float32)
    rows[:100] = 1e6  # outliers move it by a hundredth
    result = applied(rows, Normalization.of(fitted(rows), "robust"))
    assert np.median(result, axis=0) == pytest.approx([0, 0], abs=0.06)  # 2^-8 of -50, in quartiles
    assert np.quantile(result, 0.75, axis=0) - np.quantile(result, 0.25, axis=0) == pytest.approx(
        [1, 1], abs=0.1
    )


def test_what_is_missing(rng: np.random.Generator) -> None:
    """A rule says what it needs, and how to get it."""
    plain = fitted(rng.standard_normal((9, 2)), with_counts=False)
    with pytest.raises(ScalerError, match="holds no quantiles") as caught:
        Normalization.of(plain, "robust")
    assert caught.value.remedy is not None
    assert "--quantiles" in caught.value.remedy
    export = Statistics.exported(np.zeros(2), np.ones(2))
    with pytest.raises(ScalerError, match="no least and largest"):
        Normalization.of(export, "minmax")
    assert Normalization.of(export, "standard").scale.tolist() == [1.0, 1.0]
    huge = fitted(np.array([[1e300], [-1e300]]), with_counts=False)
    with pytest.raises(ScalerError, match="beyond float32"):
        Normalization.of(huge, "standard")


@given(rows=data(), rule=st.sampled_from(RULES), over=st.sampled_from(OVERS))
@settings(max_examples=60, deadline=None)
def test_record(rows: NDArray[np.float32], rule: Rule, over: Over) -> None:
    """Through JSON and back nothing is lost: not a bit of what is applied."""
    made = Normalization.of(fitted(rows), rule, over)
    again = Normalization.from_record(json.loads(json.dumps(made.to_record())))
    assert again == made
    assert again.digest == made.digest
    assert (again.rule, again.over) == (rule, over)
    for name in ("shift", "scale"):
        assert np.array_equal(getattr(again, name), getattr(made, name))
    for name in ("mean", "m2", "min", "max"):
        there, here = (getattr(n.statistics.moments, name) for n in (again, made))
        assert np.array_equal(there, here)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("mean", []), ("mean", [[1.0]]), ("mean", ["x"]), ("mean", [float("nan")]),
        ("shift", [1.0, 2.0, 3.0]), ("scale", [0.0, 1.0]), ("scale", None), ("m2", [-1.0, 0.0]),
        ("normalize", "best"), ("over", 7), ("weight", ""), ("count", "many"), ("digest", "0"),
        ("total_weight", 0.0), ("total_weight", "x"), ("at_floor", "x"),
    ],
)  # fmt: skip
def test_damaged_record(key: str, value: object) -> None:
    """A record that cannot be is refused by ValueError, and by nothing else."""
    record = Normalization.of(fitted(np.array([[1.0, 2.0], [3.0, 5.0]])), "standard").to_record()
    Normalization.from_record(copy.deepcopy(record))
    with pytest.raises(ValueError, match=r"."):
        Normalization.from_record(record | {key: value})


@pytest.mark.parametrize("key", ["mean", "m2", "shift", "scale", "count", "normalize", "digest"])
def test_incomplete_record(key: str) -> None:
    """A record that lacks something is refused likewise."""
    record = Normalization.of(fitted(np.array([[1.0, 2.0], [3.0, 5.0]])), "standard").to_record()
    del record[key]
    with pytest.raises(ValueError, match=r"is missing|another digest"):
        Normalization.from_record(record)


def test_merged(rng: np.random.Generator) -> None:
    """Datasets put together are one dataset."""
    rows = rng.standard_normal((500, 4)).astype(np.float32)
    both = merged([fitted(rows[:100]), fitted(rows[100:])])
    whole = fitted(rows)
    assert np.allclose(both.moments.mean, whole.moments.mean, rtol=1e-12)
    assert both.n_items == 2
    assert both.counts is not None
    assert whole.counts is not None
    assert np.array_equal(both.counts.counts, whole.counts.counts)
    assert merged([fitted(rows), fitted(rows, with_counts=False)]).counts is None
