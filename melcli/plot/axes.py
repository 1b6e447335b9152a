"""Round frequencies, where they lie among bands."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from melcli.statistics.moments import Float64s

_POWERS: Final = tuple(10.0**power for power in range(6))
_MOST_EVEN: Final = 10


def mel_ticks(
    hz: Float64s, least_apart: float, digits: Sequence[int] = (1, 5, 2)
) -> dict[float, str]:
    """Round frequencies, by their places among bands.

    A place is a number of bands, and a fraction where a frequency lies between the centres of two.
    Where bands come again, as in stacked frames, so do the frequencies.

    Args:
        hz: The frequency that each band hears best.
        least_apart: Places are at least this share of all bands apart.
        digits: That frequencies begin with, the most wanted first.

    >>> mel_ticks(np.array([60.0, 90.0, 130.0, 800.0, 1200.0]), 0.2)
    {1.25: '100', 3.5: '1k'}
    """
    n_bands = len(hz)
    named: dict[float, str] = {}
    for start, stop in runs(hz):
        for at in (digit * power for digit in digits for power in _POWERS):
            if not hz[start] <= at <= hz[stop - 1]:
                continue
            place = float(np.interp(at, hz[start:stop], np.arange(start, stop)))
            if all(abs(place - other) >= least_apart * n_bands for other in named):
                named[place] = hertz(at)
    return named


def even_ticks(hz: Float64s) -> dict[float, str]:
    """The same for bins that lie evenly from 0 Hz on: frequencies a round step apart.

    >>> even_ticks(np.linspace(0.0, 8000.0, 513))
    {0.0: '0', 64.0: '1k', 128.0: '2k', 192.0: '3k', 256.0: '4k', 320.0: '5k', 384.0: '6k', \
448.0: '7k', 512.0: '8k'}
    """
    steps = [digit * power for power in _POWERS for digit in (1, 2, 5)]
    step = next((s for s in steps if hz[-1] / s <= _MOST_EVEN), steps[-1])
    at = np.arange(0.0, hz[-1] * (1 + 1e-9), step)
    places = np.interp(at, hz, np.arange(len(hz)))
    return {float(place): hertz(f) for place, f in zip(places, at, strict=True)}


def runs(hz: Float64s) -> list[tuple[int, int]]:
    """Where the bands begin and end that rise from low to high: once, or once a stacked frame."""
    starts = np.flatnonzero(np.diff(hz, prepend=np.inf) < 0).tolist() or [0]
    return list(zip(starts, [*starts[1:], len(hz)], strict=True))


def hertz(at: float, space: str = "") -> str:
    """A frequency in few characters.

    >>> hertz(500.0), hertz(1500.0), hertz(1500.0, " ") + "Hz"
    ('500', '1.5k', '1.5 kHz')
    """
    return f"{at:g}{space}" if at < 1000 else f"{at / 1000:g}{space}k"


def name_ticks(axis: Any, ticks: Mapping[float, str]) -> None:  # noqa: ANN401, either axis
    """Put names at places of an axis."""
    axis.set_ticks(list(ticks), list(ticks.values()))
