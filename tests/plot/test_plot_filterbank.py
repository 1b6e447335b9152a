"""Pictures of filterbanks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

from melcli import presets
from melcli.dsp.mel import config_filterbank, hz_to_mel, mel_to_hz
from melcli.plot.filterbank import bin_hz, draw, half_widths
from melcli.scaler.bands import bin_centres

if TYPE_CHECKING:
    from melcli.config import MelConfig


def drawn(figure: Any, config: MelConfig) -> list[Any]:
    """The axes of the picture of a front end."""
    weights = config_filterbank(config).numpy()
    draw(figure, config, weights, bin_centres(config)[: config.mel.n_mels])
    axes: list[Any] = figure.axes
    return axes


@pytest.mark.parametrize("name", ["kaldi-fbank-23", "speechbrain-fbank-40"])
def test_weights(figure: Any, name: str) -> None:
    """Each band is a line through its weights, at the frequencies of the bins that it hears."""
    config = presets.load(name).config
    upper, _ = drawn(figure, config)
    weights, hz = config_filterbank(config).numpy(), bin_hz(config)
    assert len(upper.get_lines()) == len(weights)
    for line, band in zip(upper.get_lines(), weights, strict=True):
        x, y = np.asarray(line.get_xdata()), np.asarray(line.get_ydata())
        assert np.interp(hz, x, y, left=0.0, right=0.0) == pytest.approx(band, abs=1e-7)
    assert config.mel.mel_scale in upper.get_title("right")


@pytest.mark.parametrize("name", ["whisper-80", "kaldi-fbank-80", "speechbrain-fbank-40"])
def test_widths(name: str) -> None:
    """A band is half as wide as from the edge where it begins to the edge where it ends."""
    config = presets.load(name).config
    mel, n = config.mel, config.mel.n_mels
    ends = hz_to_mel(torch.tensor([mel.f_min, config.f_max], dtype=torch.float64), mel.mel_scale)
    edges = mel_to_hz(
        torch.linspace(float(ends[0]), float(ends[1]), n + 2, dtype=torch.float64), mel.mel_scale
    ).numpy()
    widths = half_widths(config, bin_centres(config))
    if mel.fb_shape == "left_width":
        assert widths == pytest.approx(np.diff(edges)[:-1])
    else:
        assert widths == pytest.approx((edges[2:] - edges[:-2]) / 2)


def test_empty_bands(figure: Any) -> None:
    """Bands without a bin are marked on both axes, and counted."""
    config = presets.load("whisper-80").config.updated({"mel.n_mels": 256})
    empty = np.flatnonzero(~config_filterbank(config).numpy().any(axis=1))
    upper, lower = drawn(figure, config)
    assert len(upper.get_lines()) == 256 - len(empty) + 1
    [marks] = [line for line in lower.get_lines() if line.get_marker() == "x"]
    assert marks.get_xdata().tolist() == empty.tolist()
    assert marks.get_label() == f"{len(empty)} empty bands"
    [step] = [line for line in lower.get_lines() if line.get_linestyle() == "--"]
    assert step.get_ydata()[0] == 40.0  # 16 kHz / 400
