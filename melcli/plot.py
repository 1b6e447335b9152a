"""Pictures. matplotlib is imported here and nowhere else, once a picture is asked for."""

from __future__ import annotations

import io
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from melcli.errors import DeviceError, UsageError
from melcli.statistics.diagnosis import MUCH_AT_FLOOR
from melcli.store.scalers import replace_file

if TYPE_CHECKING:
    import os
    from collections.abc import Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from melcli.statistics.fitted import Statistics
    from melcli.statistics.moments import Float64s

SUFFIXES: Final = (".png", ".svg", ".pdf")

_INCHES, _DOTS_PER_INCH = (8.0, 4.5), 150
_LINE, _ENDS, _FLOOR, _CONSTANT = "#1f4e8c", "#9a9a9a", "#f0b050", "#c0392b"
_FLOOR_LABEL = "half its frames or more at the floor"
_LEGEND = ("mean", "mean ± deviation", "least and largest", _FLOOR_LABEL, "never varies")
_MOST_CHARACTERS = 90
_MOST_DOTS = 24
"""Bins beyond which a line says more than dots."""
_ROUND_HZ = tuple(digit * 10.0**power for digit in (1, 5, 2) for power in range(6))
"""The rounder come first."""
_LEAST_APART = 0.055
"""Of the width: closer together, two frequencies would run into each other."""


def plot_scaler(
    statistics: Statistics,
    path: str | os.PathLike[str],
    *,
    title: str = "",
    hz: Sequence[float] | Float64s | None = None,
) -> None:
    """Draw statistics: mean and deviation of each bin, and where they are poor.

    Args:
        statistics: What to draw.
        path: The picture: ``.png``, ``.svg`` or ``.pdf``. What was there is replaced.
        title: Above it.
        hz: The frequency of each bin, for a second axis.

    Raises:
        UsageError: The name ends otherwise.
        DeviceError: matplotlib is not there, the disk is full, or does not work.
    """
    path = Path(path)
    kind = path.suffix.lower()
    if kind not in SUFFIXES:
        raise UsageError("is no name of a picture", path, "let it end in .png, .svg or .pdf")
    try:
        from matplotlib import style
        from matplotlib.figure import Figure  # without pyplot: no window, and no state
        from matplotlib.layout_engine import ConstrainedLayoutEngine
    except ImportError as error:
        raise DeviceError(
            "a picture needs matplotlib, which is not installed",
            None,
            'pip install "melcli[plot]"',
        ) from error
    date = {".png": {}, ".svg": {"Date": None}, ".pdf": {"CreationDate": None}}[kind]
    with io.BytesIO() as file, warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing")  # of a name in any language
        # Whatever a person has set for pictures of their own. The same statistics give the same
        # bytes.
        with style.context(["default", {"svg.hashsalt": "melcli"}]):
            engine = ConstrainedLayoutEngine(w_pad=0.1, h_pad=0.06)
            figure = Figure(figsize=_INCHES, layout=engine)
            _draw(figure, statistics, title, None if hz is None else np.asarray(hz))
            figure.savefig(file, format=kind[1:], dpi=_DOTS_PER_INCH, metadata=date)
        replace_file(path, file.getvalue())


def _shown(title: str) -> str:
    """A title without what no font can show, that fits above the picture."""
    shown = "".join(character if character.isprintable() else "?" for character in title)
    cut = len(shown) - _MOST_CHARACTERS
    return f"…{shown[cut + 1 :]}" if cut > 0 else shown


def _draw(figure: Figure, statistics: Statistics, title: str, hz: Float64s | None) -> None:
    from matplotlib.ticker import MaxNLocator

    moments, n_bins = statistics.moments, statistics.n_bins
    bins = np.arange(n_bins)
    axes = figure.add_subplot()
    axes.set_title(_shown(title), loc="left", fontsize="medium", parse_math=False)
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
    axes.set_ylabel("value")
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
    n_bins = len(hz)
    named: dict[float, str] = {}
    # Stacked frames hold the bands again and again: each run of rising bins is one of them.
    starts = np.flatnonzero(np.diff(hz, prepend=np.inf) < 0)
    for start, stop in zip(starts, [*starts[1:], n_bins], strict=True):
        for at in _ROUND_HZ:
            if not hz[start] <= at <= hz[stop - 1]:
                continue
            place = float(np.interp(at, hz[start:stop], np.arange(start, stop)))
            if all(abs(place - other) >= _LEAST_APART * n_bins for other in named):
                named[place] = f"{at:g}" if at < 1000 else f"{at / 1000:g}k"
        if start:
            axes.axvline(start - 0.5, color=_ENDS, linewidth=0.6, linestyle=":")
    above = axes.secondary_xaxis("top")
    above.set_xticks(list(named), list(named.values()))
    above.set_xlabel("Hz")
    above.tick_params(labelsize="small")
