"""What is poor about statistics, in words."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    import numpy.typing as npt

    from melcli.statistics.fitted import Statistics

MUCH_AT_FLOOR: Final = 0.5
"""The share of a bin's frames at the floor from which on the bin says little."""

_FEW_FRAMES: Final = 1000
_MOST_RUNS: Final = 8


def faults(statistics: Statistics) -> Iterator[str]:
    """What a person should know before they use these, a line each."""
    count, n_bins = statistics.moments.count, statistics.n_bins
    if count < _FEW_FRAMES and not statistics.is_export:
        yield f"only {count:,} {'frame' if count == 1 else 'frames'}: these statistics are rough"
    is_constant = statistics.is_constant
    if is_constant.any():
        yield (
            f"{is_constant.sum()} of {n_bins} bins never vary: {runs(is_constant)}; "
            "they are moved and not divided"
        )
    shares = statistics.floor_share
    is_low = (shares >= MUCH_AT_FLOOR) & ~is_constant
    if is_low.any():
        yield (
            f"{is_low.sum()} of {n_bins} bins lie at the floor of their file in at least "
            f"{MUCH_AT_FLOOR:.0%} of the frames: {runs(is_low)} (up to {shares[is_low].max():.0%})"
        )


def runs(chosen: npt.NDArray[np.bool_]) -> str:
    """The places that are chosen, as people write them.

    >>> runs(np.array([True, True, True, False, True]))
    '0-2, 4'
    """
    texts = list(_runs(np.flatnonzero(chosen).tolist()))
    more = len(texts) - _MOST_RUNS
    return ", ".join(texts[:_MOST_RUNS]) + (f" and {more} more" if more > 0 else "")


def _runs(places: Iterable[int]) -> Iterator[str]:
    first = last = -2
    for place in places:
        if place != last + 1:
            if first >= 0:
                yield _run(first, last)
            first = place
        last = place
    if first >= 0:
        yield _run(first, last)


def _run(first: int, last: int) -> str:
    return str(first) if first == last else f"{first}-{last}"
