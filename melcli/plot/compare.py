"""Two mels or spectra one above the other, and what the second has more than the first."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import numpy as np

from melcli.plot.axes import hertz
from melcli.plot.figure import save
from melcli.plot.spectrogram import (
    Limits,
    draw_panel,
    limits_of,
    name_colours,
    name_time,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from melcli.plot.figure import Target
    from melcli.plot.spectrogram import Numbers, Panel

_INCHES: Final = (8.0, 9.0)
_COLOURS: Final = "RdBu_r"
_ROBUST: Final = 99.5


@dataclass(frozen=True, kw_only=True, eq=False)
class Difference:
    """What one has more than another, over all frames that both have.

    Args:
        numbers: ``(n_columns, n_bands)``: B less A, each the mean of the frames of a column.
        largest: The largest of any frame and band, with its sign.
        seconds: Where that is.
        hz: Likewise.
        rms: The root of the mean square over all frames and bands.
        told: Both with their unit, as `Quantity.told` writes them.
    """

    numbers: Numbers
    largest: float
    seconds: float
    hz: float
    rms: float
    told: tuple[str, str]

    def __str__(self) -> str:
        if not self.largest:
            return "B - A: the same numbers"
        largest, rms = self.told
        where = f"at {self.seconds:.3g} s, {hertz(float(f'{self.hz:.3g}'), ' ')}Hz"
        return f"B - A: largest {largest} {where}; RMS {rms}"


def plot_comparison(a: Panel, b: Panel, difference: Difference, target: Target) -> None:
    """Draw two mels or spectra, and their difference, with one time and one frequency axis.

    Args:
        a: The first.
        b: The second, of the same quantity, bands and columns.
        difference: B less A.
        target: The picture: ``.png``, ``.svg`` or ``.pdf``. What was there is replaced.

    Raises:
        UsageError: The name ends otherwise.
        DeviceError: matplotlib is not there, the disk is full, or does not work.
    """
    save(lambda figure: draw(figure, a, b, difference), target, _INCHES)


def draw(figure: Figure, a: Panel, b: Panel, difference: Difference) -> None:
    """The same on an empty figure."""
    rows = figure.subplots(3, 1, sharex=True, sharey=True)
    limits = limits_of([a.levels, b.levels], a.quantity.depth)
    draw_panel(rows[0], replace(a, title=f"A: {a.title}"), a.levels, limits)
    image = draw_panel(rows[1], replace(b, title=f"B: {b.title}"), b.levels, limits)
    bar = figure.colorbar(image, ax=rows[:2], extend=limits.extend, pad=0.015, aspect=40)
    name_colours(bar, a.quantity.label)
    ends = difference_limits(difference.numbers)
    told = replace(a, title=str(difference), aside="", end=None, marks=())
    image = draw_panel(rows[2], told, difference.numbers, ends, _COLOURS)
    bar = figure.colorbar(image, ax=rows[2], extend=ends.extend, pad=0.015, aspect=20)
    unit = "dB" if a.quantity.is_db else a.quantity.label
    name_colours(bar, f"B - A, in {unit}")
    name_time(rows[2], a)


def difference_limits(numbers: Numbers) -> Limits:
    """Ends that lie as far below zero as above, so that white is where nothing differs."""
    sizes = np.abs(numbers[np.isfinite(numbers)])
    largest = float(sizes.max()) if sizes.size else 0.0
    end = float(np.percentile(sizes, _ROBUST)) if largest else 0.0
    end = end or largest or 1.0
    return Limits(-end, end, "both" if largest > end else "neither")
