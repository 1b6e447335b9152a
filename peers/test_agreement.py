"""The rule by which every peer is judged."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from peers.agreement import (
    FLOAT32_WEIGHTS,
    LN,
    assert_levels,
    assert_linear,
    assert_normalised,
    table,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

LOUD = np.array([[1.0, 1e-3, 1e-6]])


@pytest.fixture(autouse=True)
def _leaves_no_trace(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("peers.agreement.SEEN", {})


@pytest.mark.parametrize(("change", "near"), [(0.9e-5, True), (2.1e-5, False)])
def test_linear_follows_the_largest(change: float, near: bool) -> None:  # noqa: FBT001
    """A soft bin may be off by a hundred-thousandth of the largest, and by no more."""
    changed = LOUD + np.array([[0.0, change, 0.0]])
    if near:
        assert_linear("a", changed, LOUD)
    else:
        with pytest.raises(AssertionError, match=r"1 of 3 values differ; at \(.*0.*, .*1.*\)"):
            assert_linear("a", changed, LOUD)


def test_linear_follows_the_value() -> None:
    """A loud bin may be off by a ten-thousandth of itself and what the first part allows."""
    assert_linear("a", LOUD * (1 + 1e-4), LOUD)
    with pytest.raises(AssertionError, match=r"1\.2e-05 apart where 1\.01e-05 is allowed"):
        assert_linear("a", LOUD + np.array([[0.0, 1.2e-5, 0.0]]), LOUD)


@pytest.mark.parametrize("unit", [1.0, LN, 2.0 * LN])
def test_levels_are_told_in_decibels(unit: float) -> None:
    """A thousandth of a decibel is near, twice that is not, in any unit of the logarithm."""
    levels = np.array([[0.0, -10.0, -20.0]]) / unit
    assert_levels("a", levels + 0.9e-3 / unit, levels, unit=unit)
    with pytest.raises(AssertionError, match="3 of 3 values differ"):
        assert_levels("a", levels + 2e-3 / unit, levels, unit=unit)


def test_levels_below_the_rounding_are_set_aside() -> None:
    """Bins 100 dB below the loudest may be anything, as long as we are as silent there."""
    theirs = np.array([[0.0, -101.0, -150.0]])
    assert_levels("a", [[0.0, -120.0, -101.0]], theirs, unit=1.0)
    with pytest.raises(AssertionError, match="60 dB above where the peer is silent"):
        assert_levels("a", [[0.0, -120.0, -40.0]], theirs, unit=1.0)


def test_levels_allow_for_rounding_beside_a_loud_bin() -> None:
    """From 50 dB below the loudest on, 1e-3 dB is less than float32 can hold."""
    theirs = np.array([[0.0, -90.0, -30.0]])
    assert_levels("a", theirs + np.array([[0.0, 0.05, 0.0]]), theirs, unit=1.0)
    with pytest.raises(AssertionError, match="1 of 3 values differ"):
        assert_levels("a", theirs + np.array([[0.0, 0.0, 0.05]]), theirs, unit=1.0)


def test_weights_reach_one_band_far() -> None:
    """A wrong weight lets a loud band into its neighbours, and no further."""
    theirs = np.array([[0.0, -20.0, -20.0, -20.0]])
    beside, beyond = np.array([[0.0, 0.01, 0.0, 0.0]]), np.array([[0.0, 0.0, 0.01, 0.0]])
    assert_levels("a", theirs + beside, theirs, unit=1.0, weights=FLOAT32_WEIGHTS)
    for change, weights in [(beyond, FLOAT32_WEIGHTS), (beside, 0.0)]:
        with pytest.raises(AssertionError, match="1 of 4 values differ"):
            assert_levels("a", theirs + change, theirs, unit=1.0, weights=weights)


def test_normalised_is_near_on_the_mean() -> None:
    """One bin may be off by what is left of silence, all of them may not."""
    theirs = np.zeros((10, 100))
    theirs[0, 0] = 4e-3
    assert_normalised("a", np.zeros((10, 100)), theirs)
    with pytest.raises(AssertionError, match=r"0\.004 apart on the mean"):
        assert_normalised("a", np.zeros((10, 100)), theirs * 0.0 + 4e-3)


@pytest.mark.parametrize(
    ("ours", "complaint"),
    [(LOUD.T, "ours has the shape"), (LOUD * np.nan, "ours is not finite")],
)
def test_shapes_and_numbers(ours: NDArray[np.float64], complaint: str) -> None:
    """Another number of frames, or none at all, is no agreement."""
    with pytest.raises(AssertionError, match=complaint):
        assert_linear("a", ours, LOUD)


def test_table_tells_the_largest() -> None:
    """The table has a line for each peer, with the largest difference of all its mels."""
    assert_linear("a", LOUD, LOUD)
    assert_linear("a", LOUD + 1e-6, LOUD)
    lines = table()
    assert lines[1].split() == ["a", "2", "1.0e-06", "-", "-", "-"]
    assert len(lines) == 2
