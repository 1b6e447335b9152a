"""melcli.compat.torchaudio: torchaudio's transforms, argument by argument."""

from __future__ import annotations

import math
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
import torchaudio.transforms as theirs
from hypothesis import assume, given
from hypothesis import strategies as st

from melcli.compat import torchaudio as ours
from peers.agreement import DECIBELS, assert_linear
from peers.signals import ODD_RATES, POWERS, RATES, Signal, bands, choice, fft_shapes

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = [
    pytest.mark.filterwarnings("ignore:At least one mel filterbank has all zero values"),
    pytest.mark.filterwarnings("ignore:.* filters are empty"),
]

EPS = float(torch.finfo(torch.float32).eps)
LEADING = choice([(), (1,), (2,), (2, 1), (1, 2, 2)])


def triangle(length: int, *, height: float = 1.0) -> torch.Tensor:
    """A window that torch does not know."""
    return height * torch.bartlett_window(length + 2, periodic=False)[1:-1]


WINDOWS: list[tuple[Callable[..., torch.Tensor], dict[str, Any] | None]] = [
    (torch.hann_window, None),
    (torch.hann_window, {}),
    (torch.hann_window, {"periodic": False}),
    (torch.hamming_window, {"periodic": False}),
    (torch.hamming_window, {"periodic": True, "alpha": 0.6, "beta": 0.3}),
    (torch.blackman_window, None),
    (torch.bartlett_window, {"periodic": False}),
    (torch.kaiser_window, {"periodic": True, "beta": 8.0}),
    (torch.kaiser_window, None),
    (torch.ones, None),
    (triangle, {"height": 0.5}),
]


@st.composite
def framings(draw: st.DrawFn, *, odd: bool) -> dict[str, Any]:
    """Arguments about frames that both transforms take, many left out."""
    shape: dict[str, Any] = draw(fft_shapes(odd=odd))
    for name in ("win_length", "hop_length"):
        if draw(st.booleans()):
            shape[name] = None
    window_fn, wkwargs = draw(choice(WINDOWS))
    # Of two samples, some windows are nothing.
    assume(shape["win_length"] is None or shape["win_length"] > 2)
    return {
        **shape,
        "pad": draw(st.just(0) | st.integers(0, 500), label="pad"),
        "window_fn": window_fn,
        "normalized": draw(choice([False, True, "window", "frame_length"])),
        "wkwargs": wkwargs,
        "center": draw(choice([True, True, False]), label="center"),
        "pad_mode": draw(choice(["reflect", "constant", "replicate", "circular"])),
    }


@st.composite
def waveforms(draw: st.DrawFn, arguments: dict[str, Any]) -> torch.Tensor:
    """A batch for a transform, often as short as it may be."""
    n_fft, pad = arguments["n_fft"], arguments["pad"]
    # A few samples that are repeated, or stand alone, make a constant or a comb: next to nothing
    # beside what no filter gathers, so rounding is all there is to compare.
    least = max(n_fft // 2 + 1, n_fft - 2 * pad if not arguments["center"] else 1)
    n_samples = draw(st.just(least) | st.integers(least, least + 8 * n_fft), label="samples")
    leading = draw(LEADING, label="leading")
    seed = draw(st.integers(0, 2**20), label="seed")
    clips = [Signal(n_samples, seed + clip).samples for clip in range(math.prod(leading))]
    return torch.from_numpy(np.stack(clips)).reshape(*leading, n_samples)


def assert_same(peer: str, mine: torch.Tensor, other: torch.Tensor) -> None:
    """One shape, one type, and clip by clip the same numbers."""
    assert mine.dtype == other.dtype
    assert mine.shape == other.shape
    if mine.is_complex():
        mine, other = (torch.view_as_real(x.mT).flatten(-2).mT for x in (mine, other))
    for a, b in (
        zip(mine.flatten(0, -3), other.flatten(0, -3), strict=True)
        if mine.dim() > 2
        else [(mine, other)]
    ):
        assert_linear(peer, a.T, b.T)


@given(data=st.data(), power=choice([*POWERS, 0.5, None]), onesided=choice([True, True, False]))
def test_spectrogram(data: st.DataObject, power: float | None, onesided: bool) -> None:  # noqa: FBT001
    """Spectra, of all bins and complex ones too, with any padding and window."""
    arguments = data.draw(framings(odd=True)) | {"power": power, "onesided": onesided}
    x = data.draw(waveforms(arguments))
    mine, other = ours.Spectrogram(**arguments), theirs.Spectrogram(**arguments)
    assert_same("compat torchaudio Spectrogram", mine(x), other(x))
    assert torch.equal(mine.state_dict()["window"], other.window)
    exact, known = mine(x.double()), other(x.double())
    assert exact.dtype == known.dtype
    # Only a window that is scaled has been rounded before.
    allowed = 1e-12 if arguments["normalized"] is False else 1e-6
    assert float((exact - known).abs().max()) <= allowed * float(known.abs().max())


@st.composite
def mel_arguments(draw: st.DrawFn) -> dict[str, Any]:
    """All arguments of a mel spectrogram, but an odd ``n_fft``."""
    rate = draw(choice(RATES + ODD_RATES), label="sample_rate")
    return {
        "sample_rate": rate,
        **draw(framings(odd=False)),
        **draw(bands(rate, most=128)),
        "power": draw(choice(POWERS), label="power"),
        "norm": draw(choice([None, "slaney"])),
        "mel_scale": draw(choice(["htk", "slaney"])),
    }


@given(data=st.data())
def test_mel_spectrogram(data: st.DataObject) -> None:
    """Mels, at odd rates too, and a state that is the original's to the bit."""
    arguments = data.draw(mel_arguments())
    x = data.draw(waveforms(arguments))
    mine, other = ours.MelSpectrogram(**arguments), theirs.MelSpectrogram(**arguments)
    assert_same("compat torchaudio MelSpectrogram", mine(x), other(x))
    own, known = mine.state_dict(), other.state_dict()
    assert own.keys() == known.keys()
    assert all(torch.equal(own[name], known[name]) for name in known)


@given(data=st.data())
def test_state(data: st.DataObject) -> None:
    """A state goes there and back, and is computed with, where ``n_fft`` is odd too."""
    arguments = data.draw(mel_arguments())
    arguments["n_fft"] += data.draw(st.integers(0, 1))
    x = data.draw(waveforms(arguments))
    plain = {**arguments, "window_fn": torch.ones, "wkwargs": None, "f_min": 0.0, "norm": None}
    mine, other = ours.MelSpectrogram(**plain), theirs.MelSpectrogram(**arguments)
    mine.load_state_dict(other.state_dict())
    assert_same("compat torchaudio state", mine(x), other(x))
    back = theirs.MelSpectrogram(**plain)
    back.load_state_dict(mine.state_dict())
    assert torch.equal(back(x), other(x))


@given(
    data=st.data(),
    rate=choice(RATES + ODD_RATES),
    n_stft=st.integers(33, 600),
    norm=choice([None, "slaney"]),
    mel_scale=choice(["htk", "slaney"]),
    leading=LEADING,
    seed=st.integers(0, 2**20),
)
def test_mel_scale(
    data: st.DataObject,
    rate: int,
    n_stft: int,
    norm: str | None,
    mel_scale: str,
    leading: tuple[int, ...],
    seed: int,
) -> None:
    """Mels of spectra, contiguous or not."""
    arguments = {**data.draw(bands(rate)), "sample_rate": rate, "n_stft": n_stft}
    arguments |= {"norm": norm, "mel_scale": mel_scale}
    mine, other = ours.MelScale(**arguments), theirs.MelScale(**arguments)
    assert torch.equal(mine.fb, other.fb)
    spectra = power_spectra(n_stft, leading, seed)
    assert_same("compat torchaudio MelScale", mine(spectra), other(spectra))


def power_spectra(n_freqs: int, leading: tuple[int, ...], seed: int) -> torch.Tensor:
    """Like those of sound: a slope, peaks, and noise that is never quite zero."""
    rng = np.random.default_rng(seed)
    slope = 10 ** (-np.linspace(0, rng.uniform(0, 5), n_freqs))
    peaks = 1 + 100 * (np.arange(n_freqs) % rng.integers(3, 30) == 0)
    spectra = slope * peaks * rng.exponential(size=(*leading, 12, n_freqs))
    return torch.from_numpy(spectra.astype(np.float32)).mT


@given(
    data=st.data(),
    rate=choice(RATES + ODD_RATES),
    n_stft=st.integers(65, 600),
    norm=choice([None, "slaney"]),
    mel_scale=choice(["htk", "slaney"]),
    driver=choice(["gels", "gelsd", "gelss"]),
    leading=LEADING,
    seed=st.integers(0, 2**20),
)
def test_inverse_mel_scale(
    data: st.DataObject,
    rate: int,
    n_stft: int,
    norm: str | None,
    mel_scale: str,
    driver: str,
    leading: tuple[int, ...],
    seed: int,
) -> None:
    """Spectra of mels by every driver that works, of mels that no spectrum has too."""
    arguments = {**data.draw(bands(rate, most=60)), "sample_rate": rate, "n_stft": n_stft}
    arguments |= {"norm": norm, "mel_scale": mel_scale}
    other = theirs.InverseMelScale(**arguments, driver=driver)
    # Of a bank that is nearly, or quite, of lower rank, float32 gives an error, or anything.
    condition = float(torch.linalg.cond(other.fb.double()))
    assume(condition < 1000)
    mine = ours.InverseMelScale(**arguments, driver=driver)
    noise = torch.from_numpy(np.random.default_rng(seed).normal(size=(arguments["n_mels"], 12)))
    mels = (other.fb.T @ power_spectra(n_stft, leading, seed)).contiguous()
    mels += noise.float() * mels.max() * data.draw(choice([0.0, 0.1]))
    known, found = other(mels), mine(mels)
    assert found.shape == known.shape
    exact = torch.linalg.pinv(other.fb.T.double()) @ mels.double()
    largest = float(exact.abs().max())
    # Rounding in float32 counts as often as the bank's condition number says; ours is rounded once.
    assert float((known - exact.clamp(min=0)).abs().max()) <= 20 * EPS * condition * largest
    assert float((found - exact.clamp(min=0)).abs().max()) <= 2 * EPS * largest


@given(
    data=st.data(),
    stype=choice(["power", "magnitude", "amplitude"]),
    top_db=st.none() | st.floats(0.0, 120.0),
    n_axes=st.integers(2, 5),
    seed=st.integers(0, 2**20),
)
def test_amplitude_to_db(
    data: st.DataObject, stype: str, top_db: float | None, n_axes: int, seed: int
) -> None:
    """Decibels below one maximum where the original has one."""
    shape = data.draw(st.lists(st.integers(1, 4), min_size=n_axes, max_size=n_axes))
    levels = np.random.default_rng(seed).uniform(-14.0, 4.0, shape)
    x = torch.from_numpy(10.0**levels).float()
    mine = ours.AmplitudeToDB(stype, top_db, top_db_over="batch")(x)
    other = theirs.AmplitudeToDB(stype, top_db)(x)
    assert mine.shape == other.shape
    assert float((mine - other).abs().max()) <= DECIBELS / 10
    if n_axes == 3:
        alone = [theirs.AmplitudeToDB(stype, top_db)(clip) for clip in x]
        each = ours.AmplitudeToDB(stype, top_db)(x)
        assert float((each - torch.stack(alone)).abs().max()) <= DECIBELS / 10


@st.composite
def searches(draw: st.DrawFn) -> tuple[dict[str, Any], int]:
    """Arguments of a search, and how many frames."""
    n_fft = draw(st.integers(32, 600), label="n_fft")
    win_length = draw(st.none() | st.integers(n_fft // 2, n_fft), label="win_length")
    length = n_fft if win_length is None else win_length
    hop_length = draw(st.none() | st.integers(length // 5, length // 2), label="hop_length")
    hop = length // 2 if hop_length is None else hop_length
    window_fn, wkwargs = draw(choice(WINDOWS))
    n_frames = draw(st.integers(n_fft // 2 // hop + 2, n_fft // 2 // hop + 20), label="frames")
    # Further behind the last window's middle there is next to nothing to be divided by.
    extra = draw(st.none() | st.integers(0, (hop - 1) // 2), label="extra")
    arguments = {
        "n_fft": n_fft,
        "n_iter": draw(st.integers(1, 12)),
        "win_length": win_length,
        "hop_length": hop_length,
        "window_fn": window_fn,
        "power": draw(choice([2.0, 1.0, 1.5])),
        "wkwargs": wkwargs,
        "momentum": draw(choice([0.99, 0.0, 0.5])),
        "length": None if extra is None else (n_frames - 1) * hop + n_fft % 2 + extra,
        "rand_init": draw(st.booleans()),
    }
    return arguments, n_frames


@given(search=searches(), leading=LEADING, seed=st.integers(0, 2**20))
def test_griffin_lim(
    search: tuple[dict[str, Any], int], leading: tuple[int, ...], seed: int
) -> None:
    """Waveforms, from the phases that the original draws too.

    In float64: in float32 a rounding error grows from one improvement to the next.
    """
    arguments, n_frames = search
    generator = torch.Generator().manual_seed(seed)
    shape = (*leading, arguments["n_fft"] // 2 + 1, n_frames)
    spectra = torch.rand(shape, generator=generator, dtype=torch.float64)
    mine, other = ours.GriffinLim(**arguments).double(), theirs.GriffinLim(**arguments).double()
    assert torch.equal(mine.state_dict()["window"], other.window)
    torch.manual_seed(seed)
    found = mine(spectra)
    torch.manual_seed(seed)
    known = other(spectra)
    assert found.shape == known.shape
    assert found.dtype == known.dtype
    assert float((found - known).norm() / known.norm()) <= 1e-9


@pytest.mark.parametrize("rand_init", [False, True])
def test_griffin_lim_of_sound(rand_init: bool) -> None:  # noqa: FBT001
    """In float32 it is the same waveform to a thousandth."""
    spectra = theirs.Spectrogram()(torch.from_numpy(Signal(8000, 3).samples))
    torch.manual_seed(5)
    found = ours.GriffinLim(n_iter=16, rand_init=rand_init)(spectra)
    torch.manual_seed(5)
    known = theirs.GriffinLim(n_iter=16, rand_init=rand_init)(spectra)
    assert float((found - known).norm() / known.norm()) <= 1e-3


def test_warnings() -> None:
    """Both tell of empty filters, and of arguments that have no effect."""
    for transforms in (ours, theirs):
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            transforms.MelSpectrogram(onesided=True)
            transforms.Spectrogram(return_complex=True)
        assert len(told) == 3
