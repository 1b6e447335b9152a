"""Mel scales and filterbanks."""

from __future__ import annotations

from typing import TYPE_CHECKING

import librosa
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from melcli import presets
from melcli.dsp.mel import MelBands, PowerMelBands, config_filterbank, hz_to_mel, mel_filterbank
from melcli.dsp.mel import mel_to_hz as to_hz

if TYPE_CHECKING:
    from melcli.config.fields import FilterDomain, FilterNorm, MelScale

NEAR_ZERO = 1e-9
"""Of a band's peak. Where an edge falls on a bin, a weight is 0 or the rounding of a float64
subtraction, and torch and NumPy round exp and log apart: 2.4e-10 measured in 1500 banks."""


def float64(values: list[float]) -> torch.Tensor:
    """Exact numbers for exact comparisons."""
    return torch.tensor(values, dtype=torch.float64)


def test_slaney_frequencies_by_hand() -> None:
    """Five points even in Slaney's mel from 0 to 8 kHz."""
    top = float(hz_to_mel(float64([8000]), "slaney"))
    hz = to_hz(float64([top * k / 4 for k in range(5)]), "slaney")
    expected = float64([0, 754.094008, 1688.908463, 3675.767634, 8000])
    torch.testing.assert_close(hz, expected, rtol=0, atol=5e-7)  # six decimals are written here


@pytest.mark.parametrize(
    ("mel_scale", "hz", "mel"),
    [
        ("htk", 0.0, 0.0),
        ("htk", 700.0, 781.1728388),  # 2595 log10 2
        ("htk", 6300.0, 2595.0),  # 2595 log10 10
        ("slaney", 200.0, 3.0),
        ("slaney", 1000.0, 15.0),
        ("slaney", 6400.0, 42.0),  # 15 + 27
    ],
)
def test_mel_by_hand(mel_scale: MelScale, hz: float, mel: float) -> None:
    """Where the formulas give round numbers, both ways."""
    torch.testing.assert_close(hz_to_mel(float64([hz]), mel_scale), float64([mel]))
    torch.testing.assert_close(to_hz(float64([mel]), mel_scale), float64([hz]))


@settings(deadline=None)
@given(hz=st.floats(0, 200_000), mel_scale=st.sampled_from(["htk", "slaney"]))
def test_hz_come_home_from_mel(hz: float, mel_scale: MelScale) -> None:
    """mel_to_hz undoes hz_to_mel."""
    there_and_back = to_hz(hz_to_mel(float64([hz]), mel_scale), mel_scale)
    # float64 keeps 16 digits, of which 10 ** (mel / 2595) - 1 loses four near 0 Hz
    torch.testing.assert_close(there_and_back, float64([hz]), rtol=1e-12, atol=1e-12 * 700)


@settings(deadline=None)
@given(
    pair=st.tuples(st.floats(0, 100_000), st.floats(1e-3, 1000)),
    mel_scale=st.sampled_from(["htk", "slaney"]),
)
def test_mel_rises_with_hz(pair: tuple[float, float], mel_scale: MelScale) -> None:
    """A higher frequency is a higher mel, across the break of Slaney's curve too."""
    low, high = hz_to_mel(float64([pair[0], pair[0] + pair[1]]), mel_scale)
    assert low < high


@pytest.mark.filterwarnings("ignore:Empty filters:UserWarning")  # drawn banks may be too fine
@settings(max_examples=60, deadline=None)
@given(
    sample_rate=st.integers(4_000, 50_000),
    n_fft=st.integers(2, 4096),
    n_mels=st.integers(1, 200),
    band=st.tuples(st.floats(0, 0.4), st.floats(0.6, 1)),
    mel_scale=st.sampled_from(["htk", "slaney"]),
    norm=st.sampled_from(["none", "slaney"]),
)
def test_filterbank_equals_librosa(
    sample_rate: int,
    n_fft: int,
    n_mels: int,
    band: tuple[float, float],
    mel_scale: MelScale,
    norm: FilterNorm,
) -> None:
    """Bit for bit, but for weights that would be zero in exact arithmetic."""
    f_min, f_max = (edge * sample_rate / 2 for edge in band)
    ours = mel_filterbank(
        n_mels, n_fft, sample_rate, f_min=f_min, f_max=f_max, mel_scale=mel_scale, norm=norm
    ).numpy()
    theirs = librosa.filters.mel(
        sr=sample_rate,
        n_fft=n_fft,
        n_mels=n_mels,
        fmin=f_min,
        fmax=f_max,
        htk=mel_scale == "htk",
        norm="slaney" if norm == "slaney" else None,
    )
    assert ours.shape == theirs.shape
    assert ours.dtype == theirs.dtype == np.float32
    # A row may hold nothing but such a weight: the bank's own peak tells what is zero, too.
    peak = np.maximum(theirs.max(axis=1, keepdims=True), 1e-3 * theirs.max())
    assert (np.abs(ours - theirs) <= NEAR_ZERO * peak).all()


@pytest.mark.parametrize("name", ["hifigan-22k", "librosa-default-db", "whisper-80"])
def test_filterbanks_of_presets_are_librosas(name: str) -> None:
    """Front ends that take librosa's bank have its very bits."""
    config = presets.load(name).config
    theirs = librosa.filters.mel(
        sr=config.wave.sample_rate,
        n_fft=config.frame.n_fft,
        n_mels=config.mel.n_mels,
        fmin=config.mel.f_min,
        fmax=config.f_max,
    )
    assert np.array_equal(config_filterbank(config).numpy(), theirs)


@pytest.mark.parametrize("domain", ["hz", "mel"])
@pytest.mark.parametrize("mel_scale", ["htk", "slaney"])
def test_triangles_cover_the_band_evenly(domain: FilterDomain, mel_scale: MelScale) -> None:
    """Between the first and the last peak the unscaled triangles of neighbours add up to one."""
    bank = mel_filterbank(
        20, 1024, 16_000, f_min=0, f_max=8000, mel_scale=mel_scale, norm="none", domain=domain
    )
    peaks = bank.argmax(dim=1)
    inside = bank[:, int(peaks[0]) + 1 : int(peaks[-1])].sum(dim=0)
    # each weight is rounded to float32 once
    torch.testing.assert_close(inside, torch.ones_like(inside), rtol=0, atol=2e-7)
    assert (bank >= 0).all()
    assert (bank <= 1).all()


def test_l1_rows_add_up_to_one() -> None:
    """The l1 norm divides each row by its sum, and leaves an empty row empty."""
    bank = mel_filterbank(60, 128, 16_000, f_min=0, f_max=8000, mel_scale="slaney", norm="l1")
    sums = bank.sum(dim=1)
    empty = sums == 0
    assert 0 < int(empty.sum()) < 60
    # 65 float32 weights
    torch.testing.assert_close(sums[~empty], torch.ones(60)[~empty], rtol=0, atol=1e-6)


@pytest.mark.parametrize("norm", ["none", "slaney", "l1"])
@pytest.mark.parametrize("domain", ["hz", "mel"])
def test_float32_banks_are_close_to_float64_ones(norm: FilterNorm, domain: FilterDomain) -> None:
    """The precision changes roundings and nothing else."""
    single, double = (
        mel_filterbank(
            40,
            512,
            16_000,
            f_min=20,
            f_max=8000,
            mel_scale="htk",
            norm=norm,
            domain=domain,
            precision=precision,
        )
        for precision in ("float32", "float64")
    )
    # bins of 31 Hz at 8 kHz: float32 frequencies have 5e-4 Hz, against bands of 45 Hz and more
    assert float((single - double).abs().max()) <= 1e-4 * float(double.max())
    assert not torch.equal(single, double)


@pytest.mark.parametrize("n_mels", [1, 2, 17])
def test_power_bands_square_and_add(n_mels: int) -> None:
    """The doubled filterbank gives the mel of the power spectrum, and changes no number of it."""
    generator = torch.Generator().manual_seed(3)
    spectrum = torch.randn(32, 129, dtype=torch.complex64, generator=generator)
    bank = torch.rand(n_mels, 129, generator=generator)
    power = spectrum.real.square() + spectrum.imag.square()
    rows = PowerMelBands(bank)(spectrum.clone())
    assert rows.shape == (32, n_mels)
    torch.testing.assert_close(rows, power @ bank.T, rtol=1e-6 * 16, atol=0)  # 258 additions
    torch.testing.assert_close(MelBands(bank)(power), power @ bank.T, rtol=1e-6 * 16, atol=0)


@pytest.mark.parametrize("kind", [MelBands, PowerMelBands])
@pytest.mark.parametrize("n_mels", [1, 2, 17])
def test_no_product_has_a_single_column_or_bin(
    kind: type[MelBands | PowerMelBands], n_mels: int
) -> None:
    """Those take another path in the library, with roundings that may depend on the rows."""
    bank = torch.zeros(n_mels, 5)
    bank[0, 4] = 1.0
    product = kind(bank)
    assert product.weights.shape[1] == 16
    assert min(product._widths) >= 2
    rows = torch.rand(3, 5, dtype=torch.complex64 if kind is PowerMelBands else torch.float32)
    expected = rows.abs().square() if kind is PowerMelBands else rows
    torch.testing.assert_close(product(rows.clone())[:, 0], expected[:, 4])
    assert not product(rows)[:, 1:].any()
