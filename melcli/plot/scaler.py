"""Pictures of statistics: the mean and the spread of each bin, and where they are poor."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from melcli.plot.axes import mel_ticks, name_ticks, runs
from melcli.plot.figure import save, shown
from melcli.statistics.diagnosis import MUCH_AT_FLOOR

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from melcli.plot.figure import Target
    from melcli.statistics.fitted import Statistics
    from melcli.statistics.moments import Float64s

_LINE, _ENDS, _FLOOR, _CONSTANT = "#1f4e8c", "#9a9a9a", "#f0b050", "#c0392b"
_FLOOR_LABEL: Final = "half its frames or more at the floor"
_LEGEND: Final = ("mean", "mean ± deviation", "least and largest", _FLOOR_LABEL, "never varies")
_MOST_DOTS: Final = 24
"""Bins beyond which a line says more than dots."""
_LEAST_APART: Final = 0.055
"""Of the width: closer together, two frequencies would run into each other."""


def plot_scaler(
    statistics: Statistics,
    target: Target,
    *,
    title: str = "",
    hz: Sequence[float] | Float64s | None = None,
    unit: str = "",
) -> None:
    """Draw statistics: mean and deviation of each bin, and where they are poor.

    Args:
        statistics: What to draw.
        target: The picture: ``.png``, ``.svg`` or ``.pdf``. What was there is replaced.
        title: Above it.
        hz: The frequency of each bin, for a second axis.
        unit: What the numbers are, if that is known.

    Raises:
        UsageError: The name ends otherwise.
        DeviceError: matplotlib is not there, the disk is full, or does not work.
    """
    numbers = None if hz is None else np.asarray(hz)
    save(lambda figure: draw(figure, statistics, title, numbers, unit), target)


def draw(
    figure: Figure, statistics: Statistics, title: str, hz: Float64s | None, unit: str = ""
) -> None:
    """The same on an empty figure."""
    from matplotlib.ticker import MaxNLocator

    moments, n_bins = statistics.moments, statistics.n_bins
    bins = np.arange(n_bins)
    axes = figure.add_subplot()
    axes.set_title(shown(title), loc="left", fontsize="medium", parse_math=False)
    dots: dict[str, Any] = {"marker": ".", "markersize": 5} if n_bins <= _MOST_DOTS else {}
    _mark(axes, ~statistics.is_constant & (statistics.floor_share >= MUCH_AT_FLOOR))
    if not statistics.is_export:
        axes.plot(bins, moments.max, color=_ENDS, linewidth=0.8, label="least and largest", **dots)
        axes.plot(bins, moments.min, color=_ENDS, linewidth=0.8, **dots)
    low, high = moments.mean - moments.std, moments.mean + moments.std
    axes.fill_between(
        bins, low, high, color=_LINE, alpha=0.2, linewidth=0, label="mean ± deviation"
    )
    axes.plot(bins, low, color=_LINE, linewidth=0.6, alpha=0.6, **dots)
    axes.plot(bins, high, color=_LINE, linewidth=0.6, alpha=0.6, **dots)
    axes.plot(bins, moments.mean, color=_LINE, linewidth=1.6, label="mean", **dots)
    if (constant := statistics.is_constant).any():
        axes.plot(
            bins[constant],
            moments.mean[constant],
            color=_CONSTANT,
            linestyle="none",
            marker="x",
            markersize=4,
            label="never varies",
        )
    axes.set_xlim(-0.5, n_bins - 0.5)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, steps=[1, 2, 5, 10], min_n_ticks=1))
    axes.set_xlabel("bin")
    axes.set_ylabel(unit or "value")
    axes.grid(axis="y", color="#e4e4e4", linewidth=0.6)
    axes.set_axisbelow(True)
    if hz is not None:
        _add_hz(axes, hz)
    # Below the picture: inside it would hide some bins, whatever they are.
    handles, labels = axes.get_legend_handles_labels()
    order = np.argsort([_LEGEND.index(label) for label in labels])
    figure.legend(
        [handles[i] for i in order],
        [labels[i] for i in order],
        loc="outside lower center",
        ncols=len(labels),
        fontsize="small",
        frameon=False,
    )


def _mark(axes: Axes, chosen: np.ndarray[Any, np.dtype[np.bool_]]) -> None:
    """Mark the bins that are chosen along the lower edge, each run of them at once."""
    steps = np.diff(np.concatenate([[0], chosen.view(np.int8), [0]]))
    label: dict[str, Any] = {"label": _FLOOR_LABEL}
    for start, stop in zip(np.flatnonzero(steps > 0), np.flatnonzero(steps < 0), strict=True):
        axes.axvspan(start - 0.5, stop - 0.5, ymax=0.03, color=_FLOOR, linewidth=0, **label)
        label = {}


def _add_hz(axes: Axes, hz: Float64s) -> None:
    """Name round frequencies above the bins in which they lie."""
    for start, _ in runs(hz)[1:]:
        axes.axvline(start - 0.5, color=_ENDS, linewidth=0.6, linestyle=":")
    above = axes.secondary_xaxis("top")
    name_ticks(above.xaxis, mel_ticks(hz, _LEAST_APART))
    above.set_xlabel("Hz")
    above.tick_params(labelsize="small")
