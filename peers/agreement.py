"""Whether a mel of ours is a mel of theirs, in one rule, and the largest differences seen."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

LN = 10.0 / math.log(10.0)
"""Decibels in one unit of a natural logarithm of power; twice that for one of magnitude."""
LOG10 = 10.0
"""Decibels in one unit of a decimal logarithm of power; twice that for one of magnitude."""

OF_LARGEST = 1e-5
OF_VALUE = 1e-4
DECIBELS = 1e-3
DEPTH = 100.0
FLOAT32_WEIGHTS = 4e-5
"""How far apart filterbanks are that were computed in float32, in parts of a filter's peak.

On a mel axis of some 3000 a float32 is good to 1e-4 mel, and a filter's side is 10 to 100 mel
wide; implementations differ in the order of operations, so in every one of those roundings.
"""
# What arithmetic in float32 leaves in a bin beside a loud one, in parts of the loud one's
# magnitude: it drowns 1e-3 dB from 50 dB below the loudest on.
ROUNDING = 3e-7
# Where a filter's only bin lies on its very edge, its weight is a rounding error, so is its band.
NOTHING = 1e-9


@dataclass
class Seen:
    """The largest differences of a peer over all its comparisons.

    Args:
        compared: How many mels were compared.
        linear: Relative to the largest value of its mel.
        decibels: In bins at most 60 dB below the loudest of its mel.
        deep: In decibels, from there down to where bins are set aside.
        normalised: Absolute, for mels that are normalised by their own statistics.
    """

    compared: int = 0
    linear: float | None = None
    decibels: float | None = None
    deep: float | None = None
    normalised: float | None = None


SEEN: dict[str, Seen] = {}
"""By peer, filled by the functions below and printed at the end of the run."""


def assert_linear(peer: str, ours: ArrayLike, theirs: ArrayLike, *, weights: float = 0.0) -> None:
    """Both are within 1e-5 of the largest value and 1e-4 of their own.

    The first part allows for float32 transforms, the second for what adds up over the bins of a
    filter.

    Args:
        peer: Whose differences these are.
        ours: Rows of mels.
        theirs: The same.
        weights: How far apart the filterbanks may be: 0, or ``FLOAT32_WEIGHTS``.
    """
    a, b = _same_shape(ours, theirs)
    difference, largest = np.abs(a - b), np.abs(b).max(initial=0.0)
    _record(peer, linear=float(difference.max() / largest) if largest > NOTHING else 0.0)
    allowed = NOTHING + OF_LARGEST * largest + OF_VALUE * np.abs(b)
    _assert_within(difference, allowed + weights * _within_reach(b), a, b)


def assert_levels(
    peer: str,
    ours: ArrayLike,
    theirs: ArrayLike,
    *,
    unit: float,
    power: float = 2.0,
    weights: float = 0.0,
) -> None:
    """Both are within 1e-3 dB, and within what float32 leaves beside a loud bin.

    Bins more than 100 dB below the loudest of the item are set aside: they are that rounding and
    nothing else. But both must have them there.

    Args:
        peer: Whose differences these are.
        ours: Logarithms.
        theirs: The same.
        unit: Decibels in one unit of them: 1, ``LN``, ``LOG10``, times 2 for a magnitude's, times
            whatever they were divided by.
        power: Exponent of the magnitude in the mels whose logarithms these are.
        weights: How far apart the filterbanks may be: 0, or ``FLOAT32_WEIGHTS``.
    """
    a, b = _same_shape(ours, theirs)
    a, b = a * unit, b * unit
    depth = b.max(initial=-math.inf) - b
    heard = depth <= DEPTH
    difference = np.abs(a - b)
    # An error of ROUNDING in the loudest magnitude, seen from a bin so much softer.
    allowed = DECIBELS + 20.0 * np.log10(1.0 + ROUNDING * 10.0 ** (np.minimum(depth, DEPTH) / 20.0))
    mels = 10.0 ** (-np.minimum(depth, 2.0 * DEPTH) * power / 20.0)
    allowed += 20.0 / power * np.log10(1.0 + weights * _within_reach(mels) / mels)
    _record(
        peer,
        decibels=float(difference[depth <= 60.0].max(initial=0.0)),
        deep=float(difference[heard & (depth > 60.0)].max(initial=0.0)),
    )
    _assert_within(difference[heard], allowed[heard], a[heard], b[heard])
    loud = a[~heard] - (b.max(initial=-math.inf) - DEPTH)
    assert (loud <= 1.0).all(), f"{loud.max():g} dB above where the peer is silent"


def assert_normalised(peer: str, ours: ArrayLike, theirs: ArrayLike) -> None:
    """Both are within 5e-3 and 5e-5 on the mean, for mels in units of their own deviation.

    Normalised, a band does not tell how loud it is. So this allows everywhere for what float32
    leaves in a near-silent bin, and the mean keeps the others near.
    """
    a, b = _same_shape(ours, theirs)
    difference = np.abs(a - b)
    _record(peer, normalised=float(difference.max()))
    _assert_within(difference, np.full_like(a, 5e-3), a, b)
    assert difference.mean() <= 5e-5, f"{difference.mean():.3g} apart on the mean"


def table() -> list[str]:
    """The largest differences, a line for each peer."""
    head = ("peer", "mels", "linear", "dB to 60", "dB to 100", "normalised")
    rows: list[tuple[str, ...]] = [head]
    for peer, seen in sorted(SEEN.items()):
        numbers = (seen.linear, seen.decibels, seen.deep, seen.normalised)
        told = ("-" if number is None else f"{number:.1e}" for number in numbers)
        rows.append((peer, str(seen.compared), *told))
    widths = [max(len(row[column]) for row in rows) for column in range(len(head))]
    return [
        "  ".join(
            cell.rjust(width) if column else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    ]


def _same_shape(
    ours: ArrayLike, theirs: ArrayLike
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    a, b = np.asarray(ours, np.float64), np.asarray(theirs, np.float64)
    assert a.shape == b.shape, f"ours has the shape {a.shape}, theirs {b.shape}"
    assert b.size, "nothing was compared"
    assert np.isfinite(a).all(), "ours is not finite"
    assert np.isfinite(b).all(), "theirs is not finite"
    return a, b


def _within_reach(mels: NDArray[np.float64]) -> NDArray[np.float64]:
    """A band with its neighbours: what a wrong weight can add a part of, or take away."""
    neighbours = np.pad(mels, ((0, 0), (1, 1)))
    return 2.0 * mels + neighbours[:, :-2] + neighbours[:, 2:]


def _record(peer: str, **differences: float) -> None:
    seen = SEEN.setdefault(peer, Seen())
    seen.compared += 1
    for name, difference in differences.items():
        setattr(seen, name, max(getattr(seen, name) or 0.0, difference))


def _assert_within(
    difference: NDArray[np.float64],
    allowed: NDArray[np.float64],
    a: NDArray[np.float64],
    b: NDArray[np.float64],
) -> None:
    if not difference.size:
        return
    worst = int((difference / np.maximum(allowed, 1e-300)).argmax())
    assert (difference <= allowed).all(), (
        f"{int((difference > allowed).sum())} of {difference.size} values differ; at "
        f"{np.unravel_index(worst, difference.shape)} ours is {a.flat[worst]:.8g}, theirs "
        f"{b.flat[worst]:.8g}, {difference.flat[worst]:.3g} apart where "
        f"{allowed.flat[worst]:.3g} is allowed"
    )
