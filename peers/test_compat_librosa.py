"""melcli.compat.librosa beside librosa: arguments, shapes, types, numbers, and what is refused."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import librosa as original
import numpy as np
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy.signal import get_window

from melcli.compat import librosa
from peers.agreement import DECIBELS, assert_linear
from peers.signals import ODD_RATES, POWERS, RATES, WINDOWS, Signal, bands, choice, fft_shapes

if TYPE_CHECKING:
    from numpy.typing import NDArray

pytestmark = [
    pytest.mark.filterwarnings("ignore:Empty filters detected"),
    pytest.mark.filterwarnings("ignore:n_fft=.* is too large for input signal"),
    pytest.mark.filterwarnings("ignore:.*was called on complex input"),
]

SHAPES: tuple[tuple[int, ...], ...] = ((), (1,), (2,), (2, 1))
PAD_MODES = ("constant", "reflect", "symmetric", "edge", "linear_ramp")
NORMS = ("slaney", None, 1, 2, 0.5, math.inf)
HALF_A_ROUNDING = 1.2e-5
"""Of the residual that is looked for, 1e-5, and what a root and its power leave."""


@st.composite
def of_bank(draw: st.DrawFn, rate: int, n_fft: int) -> dict[str, Any]:
    """What both filterbanks take; never one that is nothing but rounding."""
    band = draw(bands(rate))
    given = {
        "sr": rate,
        "fmin": band["f_min"],
        "fmax": band["f_max"],
        "htk": draw(st.booleans()),
        "norm": draw(choice(NORMS)),
    }
    peaks = original.filters.mel(n_fft=n_fft, n_mels=band["n_mels"], **(given | {"norm": None}))
    assume(peaks.max() > 1e-4)
    # Of a filter that has a bin only on its very edge, a norm makes one of weight 1, or none.
    assume(given["norm"] in {None, "slaney"} or peaks.max(axis=1).min() > 1e-4)
    return {**given, "n_mels": band["n_mels"]}


@st.composite
def of_frames(draw: st.DrawFn) -> dict[str, Any]:
    """How both cut and window, each left out now and then."""
    given: dict[str, Any] = draw(fft_shapes())
    length = given["win_length"]
    if draw(st.booleans()):
        del given["win_length"]
        length = given["n_fft"]
    if length >= 4 and draw(st.booleans()):
        given["hop_length"] = None
    numbers = get_window(("tukey", 0.7), length)
    windows: tuple[Any, ...] = (*WINDOWS, 12.0, np.hamming, numbers, numbers.tolist())
    given["window"] = draw(choice(windows))
    given["center"] = draw(st.booleans())
    return given


def reflected_right(given: dict[str, Any], n_samples: int) -> bool:
    """Whether librosa reflects the end of a signal right: see ``test_librosa.py``."""
    n_fft = given["n_fft"]
    hop = given["hop_length"] or given.get("win_length", n_fft) // 4
    tail = (n_samples + n_fft // 2 - n_fft) // hop + 1
    is_whole = given["center"] and tail * hop == n_samples
    return not (is_whole and given["pad_mode"] == "reflect")


def waveforms(n_samples: int, shape: tuple[int, ...], seed: int) -> NDArray[np.float32]:
    """Tones in noise, as many as a shape asks for."""
    n_items = max(1, math.prod(shape))
    signals = [Signal(n_samples, seed + k).samples for k in range(n_items)]
    return np.stack(signals).reshape(*shape, n_samples)


def assert_same(peer: str, ours: NDArray[Any], theirs: NDArray[Any]) -> None:
    """Shapes, types and numbers, item by item."""
    assert ours.shape == theirs.shape
    assert ours.dtype == theirs.dtype
    rows = ours.shape[-2:]
    for a, b in zip(ours.reshape(-1, *rows), theirs.reshape(-1, *rows), strict=True):
        assert_linear(peer, a.T, b.T)


@given(
    data=st.data(),
    cut=of_frames(),
    shape=choice(SHAPES),
    more=st.integers(0, 4_000) | st.integers(-2_000, 0),
    seed=st.integers(0, 999),
)
def test_melspectrogram(
    data: st.DataObject, cut: dict[str, Any], shape: tuple[int, ...], more: int, seed: int
) -> None:
    """Of waveforms of any length, some shorter than a frame."""
    rate = data.draw(choice(RATES + ODD_RATES))
    arguments = {
        **cut,
        **data.draw(of_bank(rate, cut["n_fft"])),
        "pad_mode": data.draw(choice(PAD_MODES)),
        "power": data.draw(choice(POWERS)),
        "dtype": data.draw(choice((np.float32, np.float64))),
    }
    # Padded with themselves, a few samples are a comb or a constant: next to nothing between its
    # teeth, so rounding is all there is. tests/compat has such clips, of noise.
    bounds = {True: cut["n_fft"] // 2 + 1, False: cut["n_fft"]}
    least = 1 if cut["center"] and arguments["pad_mode"] == "constant" else bounds[cut["center"]]
    n_samples = max(least, cut["n_fft"] + more)
    assume(reflected_right(arguments, n_samples))
    y = waveforms(n_samples, shape, seed).astype(data.draw(choice((np.float32, np.float64))))
    expected = original.feature.melspectrogram(y=y, **arguments)
    # Of a clip of a few samples, windows may leave next to nothing.
    assume(expected.max() > 1e-6)
    assert_same("compat.librosa", librosa.melspectrogram(y=y, **arguments), expected)
    tensors = librosa.melspectrogram(y=torch.from_numpy(y), **arguments)
    assert_same("compat.librosa, tensors", tensors.numpy(), expected)


@given(
    data=st.data(),
    shape=choice(SHAPES),
    n_freqs=st.integers(2, 600),
    n_fft=st.none() | st.integers(2, 1200),
    seed=st.integers(0, 999),
)
def test_melspectrogram_of_spectra(
    data: st.DataObject, shape: tuple[int, ...], n_freqs: int, n_fft: int | None, seed: int
) -> None:
    """Of spectra, whether ``n_fft`` fits them or not."""
    n_fft = data.draw(choice((n_fft, 2 * n_freqs - 1, 2 * n_freqs - 2)))
    fits = n_fft is not None and n_fft // 2 + 1 == n_freqs
    arguments = data.draw(of_bank(data.draw(choice(RATES)), n_fft if fits else 2 * n_freqs - 2))
    dtype = data.draw(choice((np.float32, np.float64, np.int64)))
    rng = np.random.default_rng(seed)
    spectra = (1000.0 * rng.standard_normal((*shape, n_freqs, 7)) ** 2).astype(dtype)
    expected = original.feature.melspectrogram(S=spectra, n_fft=n_fft, **arguments)
    found = librosa.melspectrogram(S=spectra, n_fft=n_fft, **arguments)
    assert_same("compat.librosa, S", found, expected)


@given(
    name=choice(("power_to_db", "amplitude_to_db")),
    shape=st.lists(st.integers(1, 9), min_size=0, max_size=4).map(tuple),
    depth=st.floats(0.0, 10.0),
    dtype=choice((np.float32, np.float64, np.complex64, np.int64)),
    ref=st.floats(-5.0, 5.0) | choice((np.max, np.median, np.mean)),
    amin=st.floats(-12.0, 1.0).map(lambda power: 10.0**power),
    top_db=st.none() | st.floats(0.0, 150.0),
    seed=st.integers(0, 999),
)
def test_to_db(
    name: str,
    shape: tuple[int, ...],
    depth: float,
    dtype: Any,
    ref: Any,
    amin: float,
    top_db: float | None,
    seed: int,
) -> None:
    """Everything together, as in 0.11; and each spectrogram as if alone, as in 1.0."""
    rng = np.random.default_rng(seed)
    values: Any = (10.0 ** rng.uniform(-depth, 2.0, shape) * (rng.random(shape) < 0.9)).astype(
        dtype
    )
    ours, theirs = getattr(librosa, name), getattr(original, name)
    arguments = {"ref": ref, "amin": amin, "top_db": top_db}
    found, expected = ours(values, axes=None, **arguments), theirs(values, **arguments)
    # What theirs makes of a single float32 is a float64.
    assert found.dtype == (expected.dtype if shape else found.dtype)
    assert found.shape == expected.shape
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=DECIBELS)
    found = np.asarray(ours(values, **arguments))
    for place in np.ndindex(shape[:-2]):
        alone = theirs(values[place], **arguments)
        np.testing.assert_allclose(found[place], alone, rtol=1e-6, atol=DECIBELS)


@given(
    name=choice(("power", "amplitude")),
    shape=st.lists(st.integers(1, 9), min_size=0, max_size=3).map(tuple),
    ref=st.floats(1e-6, 100.0),
    seed=st.integers(0, 999),
)
def test_from_db(name: str, shape: tuple[int, ...], ref: float, seed: int) -> None:
    """The way back."""
    level: Any = np.random.default_rng(seed).uniform(-120.0, 60.0, shape).astype(np.float32)
    found = getattr(librosa, f"db_to_{name}")(level, ref=ref)
    expected = getattr(original, f"db_to_{name}")(level, ref=ref)
    assert found.shape == expected.shape
    np.testing.assert_allclose(found, expected, rtol=1e-5)


@given(
    data=st.data(),
    n_fft=choice((400, 512, 511)),
    power=choice((1.0, 2.0, 1.5)),
    level=st.floats(-8.0, 3.0),
    seed=st.integers(0, 999),
)
def test_mel_to_stft(
    data: st.DataObject, n_fft: int, power: float, level: float, seed: int
) -> None:
    """Shapes and types are the same; the mel is met, and never worse than theirs."""
    arguments = data.draw(of_bank(data.draw(choice(RATES)), n_fft))
    n_mels = arguments.pop("n_mels")
    dtype = data.draw(choice((np.float32, np.float64)))
    bank = original.filters.mel(n_fft=n_fft, n_mels=n_mels, dtype=np.float64, **arguments)
    # Where bands say the same twice, float32's rounding of a mel can be met by nothing.
    singular = np.linalg.svd(bank, compute_uv=False)
    assume(singular[-1] > 1e-3 * singular[0])
    rng = np.random.default_rng(seed)
    slope = 10.0 ** np.linspace(level, level - rng.uniform(0.0, 4.0), bank.shape[1])
    mels = (bank @ (slope[:, None] * rng.exponential(size=(len(slope), 6)))).astype(dtype)
    found = librosa.mel_to_stft(mels, n_fft=n_fft, power=power, **arguments)
    theirs = original.feature.inverse.mel_to_stft(mels, n_fft=n_fft, power=power, **arguments)
    assert found.shape == theirs.shape
    assert found.dtype == theirs.dtype
    assert (found >= 0.0).all()
    off, their_off = (
        np.linalg.norm(bank @ spectra.astype(np.float64) ** power - mels, axis=0)
        for spectra in (found, theirs)
    )
    sizes = np.linalg.norm(mels, axis=0)
    assert (off <= HALF_A_ROUNDING * sizes).all()
    assert (off <= np.maximum(their_off, HALF_A_ROUNDING * sizes)).all()


@given(data=st.data(), cut=of_frames(), n_frames=st.integers(4, 12), seed=st.integers(0, 99))
def test_mel_to_audio(data: st.DataObject, cut: dict[str, Any], n_frames: int, seed: int) -> None:
    """As long as theirs, also where a length is asked for that has so many frames."""
    hop = cut["hop_length"] or cut.get("win_length", cut["n_fft"]) // 4
    assume(hop * 2 <= cut.get("win_length", cut["n_fft"]))
    arguments = {
        **cut,
        **data.draw(of_bank(16_000, cut["n_fft"])),
        "n_iter": 2,
        "power": data.draw(choice((1.0, 2.0))),
        "dtype": data.draw(choice((np.float32, np.float64))),
    }
    n_mels = arguments.pop("n_mels")
    mels = np.random.default_rng(seed).random((2, n_mels, n_frames), np.float32) + 0.1
    if cut["center"] and data.draw(st.booleans()):
        least = (n_frames - 1) * hop + cut["n_fft"] % 2
        arguments["length"] = least + data.draw(st.integers(0, hop - 1))
    found = librosa.mel_to_audio(mels, **arguments)
    theirs = original.feature.inverse.mel_to_audio(mels, **arguments)
    assert found.shape == theirs.shape
    assert found.dtype == theirs.dtype
    assert np.isfinite(found).all()


REFUSED: tuple[tuple[str, dict[str, Any]], ...] = (
    ("y", {"y": None}),
    ("y", {"y": np.zeros(4000, np.int16)}),
    ("y", {"y": [0.0] * 4000}),
    ("y", {"y": np.array(0.0)}),
    ("y", {"y": np.full(4000, np.nan)}),
    ("y", {"y": np.full(4000, np.inf)}),
    ("hop_length", {"hop_length": 0}),
    ("hop_length", {"hop_length": 1.5}),
    ("win_length", {"win_length": 3000}),
    ("n_fft", {"n_fft": 5000, "center": False}),
    ("norm", {"norm": "l2"}),
    ("pad_mode", {"pad_mode": "wrap"}),
    ("pad_mode", {"pad_mode": "median"}),
    ("window", {"window": np.ones(5)}),
)


@pytest.mark.parametrize(("argument", "given"), REFUSED)
def test_both_refuse(argument: str, given: dict[str, Any]) -> None:
    """By its name, and as a ValueError; theirs is none."""
    arguments = {"y": np.zeros(4000, np.float32), **given}
    with pytest.raises((original.ParameterError, ValueError, TypeError)):
        original.feature.melspectrogram(**arguments)
    with pytest.raises(ValueError, match=rf"^{argument}\b"):
        librosa.melspectrogram(**arguments)
