"""Pictures of mels and spectra: time in seconds, frequency in Hz, and what the colours mean."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from melcli.plot.axes import even_ticks, mel_ticks, name_ticks
from melcli.plot.figure import GREY, save, shown

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.image import AxesImage

    from melcli.plot.figure import Target
    from melcli.plot.units import Quantity
    from melcli.statistics.moments import Float64s

Numbers = npt.NDArray[np.floating[Any]]

COLOURS: Final = "magma"
"""As light as they are large, also in print and for those who do not see all colours."""
_NOTHING: Final = "#c8c8c8"
_MARK: Final = "#ffffff"
_LEAST_POWER: Final = 1e-20
"""What silence is drawn as, where it has no logarithm."""
_SEEN: Final = (800, 300)
"""Columns and bands up to which each is a few dots large, and drawn with sharp edges as it is."""
_LEAST_APART: Final = 0.045
"""Of the height: closer together, two frequencies would run into each other."""
_DIGITS: Final = (1, 5, 2, 3, 7)
_ROBUST: Final = 99.9
_FAR: Final = 0.1
"""Of the range: less than this above nearly all others, the largest number has a colour too."""
_SIDE_CHARACTERS: Final = 60
_LINE_CHARACTERS: Final = 44


class Limits(NamedTuple):
    """The numbers of the first and the last colour, and on which sides there are more."""

    low: float
    high: float
    extend: str = "neither"


@dataclass(frozen=True, kw_only=True, eq=False)
class Panel:
    """What is drawn on one pair of axes.

    Args:
        numbers: ``(n_columns, n_bands)``, NaN where there is nothing.
        start: Where the first column begins, in seconds.
        stop: Where the last one ends.
        hz: The frequency that each band hears best.
        is_even: These lie evenly, from 0 Hz on: bins of a spectrum, and no mel bands.
        quantity: What the numbers are.
        title: Above it, on the left.
        aside: Above it, on the right.
        note: Beside the name of the time axis.
        end: Where the recording ends, if there are columns far behind.
        marks: Where rows begin that hold many frames, in seconds.
    """

    numbers: Numbers
    start: float
    stop: float
    hz: Float64s
    is_even: bool = False
    quantity: Quantity
    title: str = ""
    aside: str = ""
    note: str = ""
    end: float | None = None
    marks: Sequence[float] = ()

    @property
    def levels(self) -> Numbers:
        """The numbers as they are drawn."""
        return as_drawn(self.numbers, self.quantity)


def plot_spectrogram(panel: Panel, target: Target) -> None:
    """Draw a mel or a spectrum.

    Args:
        panel: What to draw.
        target: The picture: ``.png``, ``.svg`` or ``.pdf``. What was there is replaced.

    Raises:
        UsageError: The name ends otherwise.
        DeviceError: matplotlib is not there, the disk is full, or does not work.
    """
    save(lambda figure: draw(figure, panel), target)


def draw(figure: Figure, panel: Panel) -> None:
    """The same on an empty figure."""
    axes = figure.add_subplot()
    limits = limits_of([panel.levels], panel.quantity.depth)
    image = draw_panel(axes, panel, panel.levels, limits)
    name_time(axes, panel)
    bar = figure.colorbar(image, ax=axes, extend=limits.extend, pad=0.015, aspect=28)
    name_colours(bar, panel.quantity.label)


def draw_panel(
    axes: Axes, panel: Panel, numbers: Numbers, limits: Limits, colours: str = COLOURS
) -> AxesImage:
    """Draw numbers, bands upwards, on the axes of a panel."""
    import matplotlib as mpl

    n_bands = numbers.shape[1]
    image = axes.imshow(
        numbers.T,
        cmap=mpl.colormaps[colours].with_extremes(bad=_NOTHING),
        vmin=limits.low,
        vmax=limits.high,
        origin="lower",
        aspect="auto",
        interpolation="nearest" if len(numbers) <= _SEEN[0] and n_bands <= _SEEN[1] else None,
        extent=(panel.start, panel.stop, -0.5, n_bands - 0.5),
    )
    ticks = even_ticks(panel.hz) if panel.is_even else mel_ticks(panel.hz, _LEAST_APART, _DIGITS)
    name_ticks(axes.yaxis, ticks)
    axes.set_ylabel("Hz")
    axes.tick_params(labelsize="small")
    axes.set_title(
        shown(panel.title, _SIDE_CHARACTERS), loc="left", fontsize="medium", parse_math=False
    )
    axes.set_title(
        shown(panel.aside, _SIDE_CHARACTERS),
        loc="right",
        fontsize="small",
        color=GREY,
        parse_math=False,
    )
    for at in panel.marks:
        axes.axvline(at, color=_MARK, linewidth=0.6, alpha=0.7)
    if panel.end is not None:
        axes.axvline(panel.end, color=_MARK, linewidth=1.0, linestyle="--")
        axes.annotate(
            "end of the recording",
            (panel.end, 1.0),
            xycoords=("data", "axes fraction"),
            xytext=(4, -4),
            textcoords="offset points",
            va="top",
            color=_MARK,
            fontsize="small",
        )
    return image


def name_time(axes: Axes, panel: Panel) -> None:
    """Say what the time axis is."""
    axes.set_xlabel(f"time in seconds; {panel.note}" if panel.note else "time in seconds")


def name_colours(bar: Any, label: str) -> None:  # noqa: ANN401, matplotlib's has no type of its own
    """Say what a colour bar is."""
    if len(label) > _LINE_CHARACTERS:
        label = label.replace(", ", ",\n", 1)
    bar.set_label(label, fontsize="small", parse_math=False)
    bar.ax.tick_params(labelsize="small")
    bar.outline.set_linewidth(0.6)


def as_drawn(numbers: Numbers, quantity: Quantity, least: float = 0.0) -> Numbers:
    """Numbers as they are drawn: those that no logarithm was taken of, in decibels.

    Args:
        numbers: As they are stored.
        quantity: What they are.
        least: What is less is drawn as this.
    """
    if quantity.exponent is None:
        return numbers
    power = 2.0 / quantity.exponent
    floor = max(least, _LEAST_POWER ** (1.0 / power))
    decibels: Numbers = 10.0 * power * np.log10(np.maximum(numbers, floor, dtype=np.float64))
    return decibels


def limits_of(drawn: Sequence[Numbers], depth: float | None) -> Limits:
    """The numbers between which colours change.

    From the largest, unless it stands alone, down to the least; of levels not further than 80 dB.

    Args:
        drawn: All that share these colours.
        depth: How far down levels are shown; None: they are no levels, and what is far from all
            others has no colour of its own at either end.
    """
    numbers = np.concatenate([part[np.isfinite(part)] for part in drawn])
    if not numbers.size:
        return Limits(0.0, 1.0)
    least, largest = float(numbers.min()), float(numbers.max())
    tails = 100.0 - _ROBUST, _ROBUST
    # What silence is filled with says nothing of the rest.
    others = numbers[numbers > least] if least < largest else numbers
    bottom, top = (float(end) for end in np.percentile(others, tails))
    high = largest if largest - top <= _FAR * (top - bottom) else top
    if depth is not None:
        low = max(least, high - depth)
    else:
        low = least if bottom - least <= _FAR * (top - bottom) else bottom
    if not high > low:
        middle = (low + high) / 2  # one number all over
        return Limits(middle - 1.0, middle + 1.0)
    below, above = low > least, high < largest
    sides = {(True, True): "both", (True, False): "min", (False, True): "max"}
    return Limits(low, high, sides.get((below, above), "neither"))
