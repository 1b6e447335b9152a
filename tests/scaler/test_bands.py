"""Where bins lie in Hz."""

from __future__ import annotations

import numpy as np
import pytest

from melcli import presets
from melcli.config import Mel, MelConfig, Out, Wave
from melcli.dsp.mel import config_filterbank
from melcli.scaler.bands import bin_centres


@pytest.mark.parametrize("name", presets.names())
def test_filters_peak_there(name: str) -> None:
    """The centre of a band is where its filter is highest, to a bin of the FFT."""
    config = presets.load(name).config
    bank = config_filterbank(config).numpy()
    hz_per_bin = (config.mel.fb_sample_rate or config.wave.sample_rate) / config.frame.n_fft
    centres = bin_centres(config)
    assert centres.shape == config.row_shape[-1:]
    heard = bank.any(axis=1)
    peaks = bank.argmax(axis=1) * hz_per_bin
    assert (np.abs(peaks - centres[: config.mel.n_mels])[heard] <= hz_per_bin).all()


def test_htk_by_hand() -> None:
    """Between 0 and 8 kHz, the middle of one HTK band is where half the mels are."""
    config = MelConfig(wave=Wave(sample_rate=16_000), mel=Mel(n_mels=1, mel_scale="htk"))
    # 700 (sqrt(1 + 8000 / 700) - 1): half a logarithm is a root.
    assert bin_centres(config)[0] == pytest.approx(1767.7925, abs=1e-3)


def test_slaney_by_hand() -> None:
    """The Slaney scale is straight up to 1 kHz, and logarithmic above."""
    low = MelConfig(mel=Mel(n_mels=3, mel_scale="slaney", f_min=0.0, f_max=800.0))
    assert bin_centres(low) == pytest.approx([200.0, 400.0, 600.0])
    high = MelConfig(mel=Mel(n_mels=1, mel_scale="slaney", f_min=1000.0, f_max=4000.0))
    assert bin_centres(high) == pytest.approx([2000.0])


def test_stacked_frames() -> None:
    """Stacked frames hold the bands again and again."""
    one = bin_centres(MelConfig(mel=Mel(n_mels=4)))
    three = bin_centres(MelConfig(mel=Mel(n_mels=4), out=Out(stack=3)))
    assert three.tolist() == one.tolist() * 3
