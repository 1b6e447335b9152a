"""Spectra from mels: never negative, with the mels that were asked for, at any level."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import soundfile
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import nnls

from melcli.dsp.inversion import BandInversion, PseudoInversion
from melcli.dsp.mel import mel_filterbank

if TYPE_CHECKING:
    from torch import Tensor

    from melcli.config.fields import FilterNorm, MelScale

TOLERANCE = 1e-5
EXAMPLES = Path(__file__).parents[2] / "examples" / "audio"


def bank(
    n_fft: int = 1024, n_mels: int = 80, mel_scale: MelScale = "slaney", norm: FilterNorm = "slaney"
) -> Tensor:
    """A filterbank at 16 kHz, in float64."""
    weights = mel_filterbank(
        n_mels, n_fft, 16_000, f_min=0.0, f_max=8000.0, mel_scale=mel_scale, norm=norm
    )
    return weights.to(torch.float64)


BANKS = {
    "1024/80 slaney": bank(),
    "2048/128 htk": bank(2048, 128, "htk", "none"),
    "512/20": bank(512, 20),
    "400/128, some empty": bank(400, 128),
    "each bin in one band": torch.eye(4, dtype=torch.float64).repeat_interleave(5, dim=1),
    "one band": torch.ones(1, 7, dtype=torch.float64),
    "three bands a bin": torch.rand(5, 40, generator=torch.Generator().manual_seed(1)).double(),
}


def spectra(n_rows: int, n_freqs: int, seed: int, power: float) -> Tensor:
    """Like those of sound: a slope, harmonics, and noise that is never quite zero."""
    rng = np.random.default_rng(seed)
    slope = 10 ** (-np.linspace(0, rng.uniform(0, 4), n_freqs))
    harmonics = 1 + 100 * (np.arange(n_freqs) % rng.integers(3, 30) == 0)
    noise = rng.rayleigh(size=(n_rows, n_freqs)) * rng.uniform(0.01, 1, (n_rows, 1))
    return torch.from_numpy((slope * harmonics * noise) ** power)


def residual(weights: Tensor, found: Tensor, mels: Tensor) -> Tensor:
    """The relative residual of each row, computed here."""
    norm = torch.linalg.vector_norm(mels, dim=1)
    apart: Tensor = torch.linalg.vector_norm(found @ weights.T - mels, dim=1)
    return apart / torch.where(norm > 0, norm, 1.0)


@pytest.mark.parametrize("name", BANKS)
@pytest.mark.parametrize("power", [1.0, 2.0])
@given(seed=st.integers(0, 2**31), level=st.sampled_from([1.0, 1e-3, 1e-6, 1e-12, 1e9]))
@settings(max_examples=6, deadline=None)
def test_mels_of_spectra(name: str, power: float, seed: int, level: float) -> None:
    """What has a spectrum gets one: to the tolerance, at every level, and none of it negative."""
    weights = BANKS[name]
    mels = spectra(20, weights.shape[1], seed, power) @ weights.T * level
    found = BandInversion(weights)(mels)
    assert found.spectra.shape == (20, weights.shape[1])
    assert (found.spectra >= 0).all()
    assert (residual(weights, found.spectra, mels) <= TOLERANCE * 1.001).all()
    assert torch.allclose(found.residuals, residual(weights, found.spectra, mels), atol=1e-9)
    assert (found.n_steps <= 80).all()


@pytest.mark.parametrize("name", BANKS)
def test_mels_of_no_spectrum(name: str) -> None:
    """Where no spectrum has the mel, it is within a hundredth of the least squares."""
    weights = BANKS[name]
    rng = np.random.default_rng(3)
    sums = weights.sum(dim=1).numpy()
    mels = np.exp(1.5 * rng.standard_normal((12, len(sums)))) * np.where(sums > 0, sums, 1.0)
    found = BandInversion(weights)(torch.from_numpy(mels))
    best = np.array([nnls(weights.numpy(), mel)[1] / np.linalg.norm(mel) for mel in mels])
    assert (found.spectra >= 0).all()
    assert np.isfinite(found.spectra.numpy()).all()
    assert (found.residuals.numpy() <= np.maximum(1.05 * best, TOLERANCE)).all()
    assert np.median(found.residuals.numpy() / np.maximum(best, TOLERANCE)) <= 1.01


def test_silence() -> None:
    """A silent frame, and a silent band, have silent bins."""
    weights = BANKS["1024/80 slaney"]
    mels = spectra(3, 513, 1, 2.0) @ weights.T
    mels[0] = 0.0
    mels[1, 40:60] = 0.0
    found = BandInversion(weights)(mels)
    assert (found.spectra[0] == 0).all()
    assert found.residuals[0] == 0
    assert found.n_steps[0] == 0
    only_there = weights[40:60].sum(dim=0) > 0
    only_there &= (weights[:40].sum(dim=0) == 0) & (weights[60:].sum(dim=0) == 0)
    assert (found.spectra[1, only_there] == 0).all()


def test_each_row_by_itself() -> None:
    """A row's spectrum is bit for bit the same alone and among any others."""
    weights = BANKS["1024/80 slaney"]
    mels = spectra(700, 513, 5, 2.0) @ weights.T
    mels[10:400:7] = torch.rand(56, 80, generator=torch.Generator().manual_seed(2)).double()
    invert = BandInversion(weights)
    together = invert(mels)
    for row in (0, 17, 511, 512, 699):
        alone = invert(mels[row : row + 1])
        assert torch.equal(alone.spectra[0], together.spectra[row])
        assert alone.residuals[0] == together.residuals[row]
    assert invert(mels[:0]).spectra.shape == (0, 513)


def test_tolerance() -> None:
    """Who asks for less gets it in fewer steps."""
    weights = BANKS["2048/128 htk"]
    mels = spectra(50, 1025, 2, 2.0) @ weights.T
    rough, fine = BandInversion(weights, 1e-2)(mels), BandInversion(weights, 1e-8)(mels)
    assert (rough.residuals <= 1e-2).all()
    assert (fine.residuals <= 1e-8).all()
    assert rough.n_steps.sum() < fine.n_steps.sum()


def test_nearer_than_the_pseudo_inverse() -> None:
    """The spectrum is nearer to the true one, in decibels, than the clamped pseudo-inverse is."""
    weights = BANKS["1024/80 slaney"]
    true = spectra(100, 513, 7, 2.0)
    mels = true @ weights.T
    found = BandInversion(weights)(mels).spectra
    clamped = (mels @ torch.linalg.pinv(weights).T).clamp(min=0.0)

    def apart(one: Tensor) -> float:
        floor = 1e-10 * true.amax(dim=1, keepdim=True)
        difference = torch.maximum(one, floor).log10() - torch.maximum(true, floor).log10()
        return float(10 * difference.square().mean(dim=1).sqrt().mean())

    assert apart(found) < apart(clamped) - 3.0


@pytest.mark.parametrize("power", [1.0, 2.0])
@pytest.mark.parametrize("name", ["1024/80 slaney", "2048/128 htk", "three bands a bin"])
def test_float32(name: str, power: float) -> None:
    """In float32 too the tolerance holds, by a residual that is computed in float64."""
    weights = BANKS[name]
    mels = (spectra(600, weights.shape[1], 4, power) @ weights.T).to(torch.float32)
    found = BandInversion(weights)(mels)
    assert found.spectra.dtype == torch.float32
    known = residual(weights, found.spectra.double(), mels.double())
    assert (known <= 1.1 * TOLERANCE).all()
    assert torch.allclose(found.residuals, known, atol=1e-6)


def test_finer_than_float32() -> None:
    """A tolerance that float32 cannot keep is kept in float64."""
    weights = BANKS["512/20"]
    mels = (spectra(5, 257, 4, 2.0) @ weights.T).to(torch.float32)
    found = BandInversion(weights, 1e-10)(mels)
    assert found.spectra.dtype == torch.float64
    assert (residual(weights, found.spectra, mels.double()) <= 1e-10).all()


@pytest.mark.parametrize("level", [1e-12, 1e-20])
def test_quiet_bands(level: float) -> None:
    """Bands far below the loudest keep their level, though the residual does not see it."""
    weights = BANKS["1024/80 slaney"]
    true = spectra(8, 513, 6, 2.0)
    true[:, 200:] *= level
    mels = true @ weights.T
    found = BandInversion(weights)(mels).spectra
    quiet = (weights[:, :260] == 0).all(dim=1)  # a few bands beyond: those beside have loud bins
    assert quiet.sum() > 10
    assert torch.allclose((found @ weights.T)[:, quiet].log(), mels[:, quiet].log(), atol=0.3)


def test_gradients() -> None:
    """A gradient is that of the search, by finite differences; what is silent has none."""
    weights = bank(64, 10, "htk", "none")
    mels = (spectra(3, 33, 1, 1.0) @ weights.T).requires_grad_()
    invert = BandInversion(weights, 1e-13)
    assert torch.autograd.gradcheck(lambda m: invert(m).spectra, (mels,), atol=1e-5, rtol=1e-3)
    assert torch.allclose(invert(mels).spectra, invert(mels.detach()).spectra, rtol=1e-10)
    silent = torch.zeros(2, 10, dtype=torch.float64, requires_grad=True)
    invert(silent).spectra.sum().backward()
    assert silent.grad is not None
    assert not silent.grad.any()


def test_gradients_where_no_spectrum_has_the_mel() -> None:
    """Values are as without gradients, and gradients are finite."""
    weights = BANKS["512/20"]
    rng = np.random.default_rng(1)
    mels = torch.from_numpy(np.exp(2.0 * rng.standard_normal((4, 20)))).requires_grad_()
    invert = BandInversion(weights)
    found, plain = invert(mels), invert(mels.detach())
    assert (plain.residuals > 1e-3).any()
    assert torch.allclose(found.residuals, plain.residuals, rtol=0.02, atol=1e-4)
    found.spectra.sum().backward()
    assert mels.grad is not None
    assert torch.isfinite(mels.grad).all()


@pytest.mark.parametrize("name", BANKS)
def test_pseudo_inverse(name: str) -> None:
    """It is NumPy's pseudo-inverse, with its negative numbers set to 0, and tells how far off."""
    weights = BANKS[name]
    mels = spectra(600, weights.shape[1], 8, 2.0) @ weights.T
    found = PseudoInversion(weights)(mels)
    known = np.maximum(mels.numpy() @ np.linalg.pinv(weights.numpy()).T, 0.0)
    assert np.allclose(found.spectra, known, atol=1e-9 * known.max())
    assert torch.allclose(found.residuals, residual(weights, found.spectra, mels), atol=1e-12)
    alone = PseudoInversion(weights)(mels[599:])
    assert torch.equal(alone.spectra[0], found.spectra[599])
    assert PseudoInversion(weights)(mels[:0]).spectra.shape == (0, weights.shape[1])


def test_gradients_of_the_pseudo_inverse() -> None:
    """By finite differences."""
    weights = bank(64, 10, "htk", "none")
    mels = (spectra(3, 33, 1, 1.0) @ weights.T).requires_grad_()
    invert = PseudoInversion(weights)
    assert torch.autograd.gradcheck(lambda m: invert(m).spectra, (mels,))


@pytest.mark.parametrize("name", ["speech/vowels.wav", "speech/telephone.wav", "music/plucked.wav"])
@pytest.mark.parametrize("shape", ["1024/80 slaney", "2048/128 htk"])
@pytest.mark.parametrize("power", [1.0, 2.0])
def test_recordings(name: str, shape: str, power: float) -> None:
    """Speech and music have the mel of every frame to the tolerance, loud and quiet alike."""
    weights, n_fft = BANKS[shape], int(shape.partition("/")[0])
    samples, _ = soundfile.read(EXAMPLES / name, dtype="float32", always_2d=True)
    window = torch.hann_window(n_fft)
    waveform = torch.from_numpy(samples[:, 0].copy())
    stft = torch.stft(waveform, n_fft, n_fft // 4, window=window, return_complex=True)
    true = stft.abs().double().pow(power).T
    invert = BandInversion(weights)
    for scale in (1.0, 1e-3, 1e-6):
        mels = (true * scale**power @ weights.T).to(torch.float32)
        found = invert(mels)
        assert (residual(weights, found.spectra.double(), mels.double()) <= 1.1 * TOLERANCE).all()
        assert (found.n_steps <= 20).all()


def test_devices(device: str) -> None:
    """Wherever it is computed, each mel is met and the spectrum is the same to rounding."""
    weights = BANKS["1024/80 slaney"]
    mels = spectra(700, 513, 9, 2.0) @ weights.T
    mels[5] = torch.rand(80, generator=torch.Generator().manual_seed(2)).double()
    here = BandInversion(weights)(mels)
    there = BandInversion(weights).to(device)(mels.to(device))
    assert there.spectra.device.type == device
    known = residual(weights, there.spectra.cpu(), mels)
    assert torch.allclose(known, here.residuals, atol=2 * TOLERANCE, rtol=0.02)
    clamped = PseudoInversion(weights).to(device)(mels.to(device)).spectra.cpu()
    assert torch.allclose(clamped, PseudoInversion(weights)(mels).spectra, rtol=1e-6)
