"""The figures of the benchmarks."""

from __future__ import annotations

import pytest

from benchmarks.figures import Spread, ratios, table


def test_a_spread_is_told_with_its_range() -> None:
    """Whoever reads a figure sees how far the rounds lay apart."""
    assert Spread.of([1200.0, 1000.0, 1900.0]).text(",.0f") == "1,200 (1,000..1,900)"


def test_one_round_has_no_range() -> None:
    """A range of one round would look like certainty."""
    assert Spread.of([2.5]).text(".1f") == "2.5"


def test_ratios_are_taken_round_by_round() -> None:
    """A round that was slow for both says nothing of their ratio."""
    slow_once = ratios([2.0, 20.0, 2.0], [1.0, 10.0, 1.0])
    assert (slow_once.low, slow_once.median, slow_once.high) == (2.0, 2.0, 2.0)


def test_ratios_need_the_same_rounds() -> None:
    """A contender that missed a round is compared in none."""
    with pytest.raises(ValueError, match="zip"):
        ratios([1.0, 2.0], [1.0])


def test_columns_of_a_table_are_as_wide_as_their_widest_cell() -> None:
    """It can be read as it is, and as Markdown."""
    lines = table(["", "x"], [["a", "1,000"], ["long name", "2"]]).splitlines()
    assert lines == [
        "|           |     x |",
        "|:----------|------:|",
        "| a         | 1,000 |",
        "| long name |     2 |",
    ]
