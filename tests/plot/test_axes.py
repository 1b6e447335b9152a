"""Round frequencies lie where the bands hear them."""

from __future__ import annotations

import numpy as np
import pytest

from melcli import presets
from melcli.plot.axes import even_ticks, mel_ticks, runs
from melcli.scaler.bands import bin_centres


def hertz_of(name: str) -> float:
    """What a name of a frequency says."""
    return 1000.0 * float(name[:-1]) if name.endswith("k") else float(name)


@pytest.mark.parametrize("name", ["whisper-80", "kaldi-fbank-23", "python-speech-features-26"])
def test_places_are_those_of_the_bands(name: str) -> None:
    """Read at its place between the centres of the bands, a tick says its own frequency."""
    hz = bin_centres(presets.load(name).config)
    ticks = mel_ticks(hz, 0.045, (1, 5, 2, 3, 7))
    assert len(ticks) >= 6
    for place, text in ticks.items():
        assert np.interp(place, np.arange(len(hz)), hz) == pytest.approx(hertz_of(text))
    assert np.diff(sorted(ticks)).min() >= 0.045 * len(hz)


def test_the_rounder_are_preferred() -> None:
    """Where there is room for few, they are 100, 1k, 10k."""
    hz = bin_centres(presets.load("librosa").config)
    assert list(mel_ticks(hz, 0.2).values())[:3] == ["100", "1k", "10k"]


def test_even_bins() -> None:
    """Bins of a spectrum get steps that are round, from 0 Hz to the last."""
    hz = np.arange(513, dtype=np.float64) * (22050 / 1024)
    ticks = even_ticks(hz)
    assert list(ticks.values()) == ["0", "2k", "4k", "6k", "8k", "10k"]
    assert [place * 22050 / 1024 for place in ticks] == pytest.approx(
        [hertz_of(t) for t in ticks.values()]
    )


def test_runs() -> None:
    """Bands that come again are as many runs; one band is one."""
    assert runs(np.array([1.0, 2.0, 3.0, 1.0, 2.0, 3.0])) == [(0, 3), (3, 6)]
    assert runs(np.array([5.0])) == [(0, 1)]
