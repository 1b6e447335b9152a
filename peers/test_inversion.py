"""Spectra from mels: torchaudio's drivers, librosa's least squares; and phases for spectra."""

from __future__ import annotations

import librosa
import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torchaudio.transforms import GriffinLim as TheirGriffinLim
from torchaudio.transforms import InverseMelScale as TheirInverse

from melcli.config import Frame, Mel, MelConfig, Spec, Wave
from melcli.dsp.griffinlim import GriffinLim
from melcli.dsp.inverse_mel import Driver, InverseMelScale

FRAMES = 12


def power_spectra(n_freqs: int, seed: int) -> torch.Tensor:
    """Like those of sound: a slope, peaks, and noise that is never quite zero."""
    rng = np.random.default_rng(seed)
    slope = 10 ** (-np.linspace(0, rng.uniform(0, 5), n_freqs))
    peaks = 1 + 100 * (np.arange(n_freqs) % rng.integers(3, 30) == 0)
    spectra = slope * peaks * rng.exponential(size=(FRAMES, n_freqs))
    return torch.from_numpy(spectra.T.copy()).to(torch.float32)


@given(
    n_fft=st.sampled_from([400, 512, 1024, 2048]),
    n_mels=st.integers(8, 60),
    scale=st.sampled_from(["htk", "slaney"]),
    norm=st.sampled_from([None, "slaney"]),
    driver=st.sampled_from(["gels", "gelsd", "gelss"]),
    seed=st.integers(0, 1000),
)
@settings(deadline=None)
def test_torchaudio(
    n_fft: int, n_mels: int, scale: str, norm: str | None, driver: Driver, seed: int
) -> None:
    """The drivers that work give what ours of the same name give; ours of no name have the mel."""
    theirs = TheirInverse(
        n_fft // 2 + 1, n_mels, 16_000, 0.0, 8000.0, norm=norm, mel_scale=scale, driver=driver
    )
    bank = theirs.fb.T
    # Of a bank that is nearly, or quite, of lower rank, float32 gives an error, or anything.
    assume(float(torch.linalg.cond(bank.double())) < 1000)
    mel = bank @ power_spectra(n_fft // 2 + 1, seed)
    known, found = theirs(mel), InverseMelScale(bank, driver)(mel)
    largest = float(known.max())
    assert float((found - known).abs().max()) <= 2e-5 * largest
    exact = InverseMelScale(bank)(mel)
    ours, others = (
        float(((bank @ x - mel).norm(dim=0) / mel.norm(dim=0)).max()) for x in (exact, known)
    )
    assert ours <= 2e-5
    assert ours <= max(others, 2e-6)  # where theirs had nothing to clamp, it is as near


@given(seed=st.integers(0, 1000), level=st.sampled_from([1.0, 1e-3]))
@settings(deadline=None, max_examples=5)
def test_librosa(seed: int, level: float) -> None:
    """Its least squares never come nearer to the mel."""
    bank = librosa.filters.mel(sr=16_000, n_fft=512, n_mels=40)
    true = power_spectra(257, seed).numpy() * level
    mel = (bank @ true).astype(np.float32)
    theirs = librosa.feature.inverse.mel_to_stft(mel, sr=16_000, n_fft=512, power=2.0) ** 2
    ours = InverseMelScale(torch.from_numpy(bank))(torch.from_numpy(mel)).numpy()
    apart = [np.linalg.norm(bank @ x - mel) / np.linalg.norm(mel) for x in (ours, theirs)]
    assert apart[0] <= 1.1e-5
    assert apart[0] <= apart[1]


@pytest.mark.parametrize("momentum", [0.0, 0.99])
@pytest.mark.parametrize("power", [1.0, 2.0])
def test_griffin_lim(momentum: float, power: float) -> None:
    """From phase 0, torchaudio's waveform."""
    rng = np.random.default_rng(4)
    window = torch.hann_window(512)
    x = torch.from_numpy(rng.standard_normal(8000).astype(np.float32))
    stft = torch.stft(x, 512, 128, window=window, return_complex=True)
    spectra = stft.abs() ** power
    theirs = TheirGriffinLim(
        512, n_iter=16, hop_length=128, power=power, momentum=momentum, rand_init=False, length=8000
    )
    config = MelConfig(
        wave=Wave(sample_rate=16_000),
        frame=Frame(n_fft=512, hop_length=128),
        spec=Spec(power=power),
        mel=Mel(n_mels=20),
    )
    ours = GriffinLim(config, n_iter=16, momentum=momentum, seed=None)
    known, found = theirs(spectra), ours(spectra, 8000)
    assert float((found - known).norm() / known.norm()) <= 1e-3
