"""Pictures of filterbanks: the weights over Hz, and how wide the bands are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from melcli.plot.axes import hertz
from melcli.plot.figure import GREY, save, shown

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from melcli.config import MelConfig
    from melcli.plot.figure import Target
    from melcli.statistics.moments import Float64s

    Weights = npt.NDArray[np.float32]

_INCHES: Final = (8.0, 6.0)
_COLOURS: Final = "viridis"
_EMPTY: Final = "#c0392b"
_FEW: Final = 48
"""Bands up to which each is filled: more would hide each other."""
_NORMS: Final = {"none": "peaks of 1", "slaney": "unit area in Hz", "l1": "sum of 1"}


def plot_filterbank(
    config: MelConfig,
    weights: Weights,
    centres: Float64s,
    target: Target,
    *,
    title: str = "",
) -> None:
    """Draw the filterbank of a front end: each band over Hz; its width; which bands are empty.

    Args:
        config: The front end.
        weights: Its filterbank, ``(n_mels, n_freqs)``.
        centres: The frequency that each band hears best.
        target: The picture: ``.png``, ``.svg`` or ``.pdf``. What was there is replaced.
        title: Above it, instead of the front end's name.

    Raises:
        UsageError: The name ends otherwise.
        DeviceError: matplotlib is not there, the disk is full, or does not work.
    """
    save(lambda figure: draw(figure, config, weights, centres, title), target, _INCHES)


def draw(
    figure: Figure, config: MelConfig, weights: Weights, centres: Float64s, title: str = ""
) -> None:
    """The same on an empty figure."""
    upper, lower = figure.subplots(2, 1, height_ratios=[3, 2])
    name = title or config.name or "a front end of your own"
    upper.set_title(shown(name, 48), loc="left", fontsize="medium", parse_math=False)
    upper.set_title(_described(config), loc="right", fontsize="small", color=GREY)
    empty: npt.NDArray[np.bool_] = np.logical_not((weights != 0.0).any(axis=1))
    _draw_weights(upper, config, weights, centres, empty)
    _draw_widths(lower, config, weights, centres, empty)


def _described(config: MelConfig) -> str:
    mel = config.mel
    drawn = ", straight in mel" if mel.fb_domain == "mel" else ""
    return (
        f"{mel.n_mels} bands, {mel.f_min:g} to {config.f_max:g} Hz, {mel.mel_scale} scale{drawn}, "
        f"norm {mel.fb_norm}"
    )


def bin_hz(config: MelConfig) -> Float64s:
    """The frequency of each bin of the FFT, as the filterbank has them."""
    rate = config.mel.fb_sample_rate or config.wave.sample_rate
    return np.arange(config.n_freqs, dtype=np.float64) * (rate / config.frame.n_fft)


def half_widths(config: MelConfig, centres: Float64s) -> Float64s:
    """How wide each band is meant to be at half its height, in Hz, whatever the bins of the FFT.

    A triangle begins at the centre of the band before and ends at that of the next.
    """
    edges = np.concatenate([[config.mel.f_min], centres, [config.f_max]])
    if config.mel.fb_shape == "left_width":
        return np.diff(edges)[:-1]
    widths: Float64s = (edges[2:] - edges[:-2]) / 2
    return widths


def _draw_weights(
    axes: Axes,
    config: MelConfig,
    weights: Weights,
    centres: Float64s,
    empty: npt.NDArray[np.bool_],
) -> None:
    import matplotlib as mpl

    hz, colours = bin_hz(config), mpl.colormaps[_COLOURS]
    n_bands = len(weights)
    for band in np.flatnonzero(~empty):
        heard = np.flatnonzero(weights[band])
        part = slice(max(0, heard[0] - 1), heard[-1] + 2)
        # The brightest colours are hard to see on white.
        colour = colours(0.9 * band / max(1, n_bands - 1))
        axes.plot(hz[part], weights[band, part], color=colour, linewidth=0.9)
        if n_bands <= _FEW:
            axes.fill_between(hz[part], weights[band, part], color=colour, alpha=0.15, linewidth=0)
    if empty.any():
        _mark_empty(axes, centres[empty], np.zeros(int(empty.sum())))
    margin = 0.01 * (config.f_max - config.mel.f_min)
    axes.set_xlim(config.mel.f_min - margin, config.f_max + margin)
    axes.set_ylim(bottom=0.0)
    axes.xaxis.set_major_formatter(lambda at, _place: hertz(at))
    axes.set_xlabel("Hz")
    axes.set_ylabel(f"weight ({_NORMS[config.mel.fb_norm]})")
    _finish(axes)


def _draw_widths(
    axes: Axes,
    config: MelConfig,
    weights: Weights,
    centres: Float64s,
    empty: npt.NDArray[np.bool_],
) -> None:
    hz = bin_hz(config)
    bands = np.arange(len(weights))
    axes.plot(bands, centres, color="#1f4e8c", linewidth=1.4, label="centre")
    axes.plot(
        bands,
        half_widths(config, centres),
        color="#d9822b",
        linewidth=1.4,
        label="width at half height",
    )
    axes.axhline(hz[1], color=GREY, linewidth=0.8, linestyle="--", label="step of the FFT")
    if empty.any():
        _mark_empty(axes, bands[empty], centres[empty])
    axes.set_yscale("log")
    axes.yaxis.set_major_formatter(lambda at, _place: hertz(at))
    axes.set_xlim(-0.5, len(bands) - 0.5)
    axes.set_xlabel("band")
    axes.set_ylabel("Hz")
    axes.legend(fontsize="small", frameon=False, loc="upper left", ncols=4)
    _finish(axes)


def _mark_empty(axes: Axes, x: Any, y: Any) -> None:  # noqa: ANN401, arrays of any kind
    label = f"{len(x)} empty band" + "s" * (len(x) > 1)
    axes.plot(
        x, y, color=_EMPTY, linestyle="none", marker="x", markersize=5, label=label, clip_on=False
    )


def _finish(axes: Axes) -> None:
    axes.tick_params(labelsize="small")
    axes.grid(color="#e4e4e4", linewidth=0.6)
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
