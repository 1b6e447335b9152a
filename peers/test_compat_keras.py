"""melcli.compat.keras beside Keras on torch: arguments, shapes, numbers, types and configs."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy.signal import get_window

from melcli import frames
from melcli.compat.keras import MelSpectrogram
from peers.agreement import FLOAT32_WEIGHTS, assert_levels, assert_linear
from peers.signals import ODD_RATES, POWERS, RATES, WINDOWS, Signal, bands, choice, fft_shapes

if TYPE_CHECKING:
    from numpy.typing import NDArray

# Keras's convert_to_numpy does not know NumPy 2's copy keyword.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

SHAPES: tuple[tuple[int, ...], ...] = ((), (1,), (2,), (2, 2))


@st.composite
def arguments(draw: st.DrawFn, /, **fixed: Any) -> dict[str, Any]:
    """What both take, each left out now and then; no odd ``fft_length``, where theirs is off."""
    rate = draw(choice(RATES + ODD_RATES), label="sampling_rate")
    of_bank, of_frames = draw(bands(rate)), draw(fft_shapes(odd=False))
    length = of_frames["win_length"]
    if length == of_frames["n_fft"] and draw(st.booleans()):
        length = draw(choice((None, 0)))
    given = {
        "fft_length": of_frames["n_fft"],
        "sequence_stride": of_frames["hop_length"],
        "sequence_length": length,
        "sampling_rate": rate,
        "num_mel_bins": of_bank["n_mels"],
        "min_freq": of_bank["f_min"],
        "max_freq": draw(choice((None, 0))) if of_bank["f_max"] is None else of_bank["f_max"],
        "top_db": draw(st.floats(10.0, 120.0)),
        "mag_exp": draw(choice(POWERS)),
        "min_power": draw(choice((1e-10, 1e-6))),
        "ref_power": draw(st.floats(0.01, 100.0) | choice((-0.5, 0.0, 1))),
    }
    left_out = draw(st.sets(choice(sorted(given)), max_size=4), label="left out")
    given = {name: value for name, value in given.items() if name not in left_out} | fixed
    fft_length = given.get("fft_length", 2048)
    length = given.get("sequence_length") or fft_length
    nyquist = int(given.get("sampling_rate", 16_000) / 2)
    f_max = given.get("max_freq") or nyquist
    assume(length <= fft_length)
    assume(given.get("min_freq", 20.0) < f_max <= nyquist)
    named = draw(st.sampled_from(({}, {"window": "hamming"}, {"window": None}, None)), label="name")
    if named is None:
        shape = draw(choice(WINDOWS), label="window")
        named = {"window": get_window(shape, length).astype(np.float32)}
    return given | named


def signals(layer: MelSpectrogram, shape: tuple[int, ...], more: int, seed: int) -> torch.Tensor:
    """Tones in noise, as many as a shape asks for, the second one 60 dB softer than the first."""
    n_samples = frames.shortest(layer.front_end.config) + more
    n_items = max(1, math.prod(shape))
    items = [Signal(n_samples, seed + k).samples for k in range(n_items)]
    softened = [1e-3 * item if k == 1 else item for k, item in enumerate(items)]
    return torch.from_numpy(np.stack(softened)).reshape(*shape, n_samples)


def called(layer: Any, x: torch.Tensor) -> NDArray[np.float32]:
    """What a layer of theirs gives."""
    return np.asarray(keras.ops.convert_to_numpy(layer(x.numpy())))


def rows(mels: Any) -> NDArray[np.float64]:
    """All frames of all items, one below the other."""
    levels = np.moveaxis(np.asarray(mels, np.float64), -2, -1)
    return levels.reshape(-1, levels.shape[-1])


def assert_decibels(name: str, layer: MelSpectrogram, ours: Any, theirs: Any) -> None:
    """Decibels of whatever exponent: with an exponent p one of power is p / 2 of these.

    Where a filter's only bin lies on its very edge, as the last one's at half the rate, its weight
    is 0 or a rounding error: 50 dB down, that is more than nothing. The linear mels compare those.
    """
    power = layer.front_end.config.spec.power
    holds_a_bin = np.asarray(layer.front_end.filterbank.weight.amax(dim=1) > 1e-4)
    mine, other = rows(ours), rows(theirs)
    mine = np.where(holds_a_bin, mine, other)
    assert_levels(name, mine, other, unit=2.0 / power, power=power, weights=FLOAT32_WEIGHTS)


@given(
    given=arguments(power_to_db=False),
    shape=choice(SHAPES),
    more=st.integers(0, 4_000),
    seed=st.integers(0, 999),
)
def test_linear(given: dict[str, Any], shape: tuple[int, ...], more: int, seed: int) -> None:
    """The same shape, and the same numbers to what float32 leaves of the filterbank."""
    ours, theirs = MelSpectrogram(**given), keras.layers.MelSpectrogram(**given)
    x = signals(ours, shape, more, seed)
    mine, other = ours(x), called(theirs, x)
    assert mine.shape == other.shape == ours.compute_output_shape(x.shape)
    for a, b in zip(*(mels.reshape(-1, *mels.shape[-2:]) for mels in (mine, other)), strict=True):
        assert_linear("compat.keras", a.T, b.T, weights=FLOAT32_WEIGHTS)


@given(
    given=arguments(),
    shape=choice(SHAPES),
    more=st.integers(0, 4_000),
    seed=st.integers(0, 999),
)
def test_decibels_of_a_batch(
    given: dict[str, Any], shape: tuple[int, ...], more: int, seed: int
) -> None:
    """By its name there is their maximum: one over all there is."""
    ours = MelSpectrogram(**given, top_db_over="batch")
    x = signals(ours, shape, more, seed)
    mine, other = ours(x), called(keras.layers.MelSpectrogram(**given), x)
    assert mine.shape == other.shape
    assert_decibels("compat.keras, batch", ours, mine, other)


@given(
    given=arguments(),
    shape=choice(SHAPES),
    more=st.integers(0, 4_000),
    seed=st.integers(0, 999),
)
def test_decibels_of_items(
    given: dict[str, Any], shape: tuple[int, ...], more: int, seed: int
) -> None:
    """Each item of a batch is what theirs makes of it alone."""
    ours, theirs = MelSpectrogram(**given), keras.layers.MelSpectrogram(**given)
    x = signals(ours, shape, more, seed)
    mels = ours(x)
    mels = mels.reshape(-1, *mels.shape[-2:])
    for item, mel in zip(x.reshape(-1, x.shape[-1]), mels, strict=True):
        assert_decibels("compat.keras, items", ours, mel, called(theirs, item))


@given(given=arguments(), seed=st.integers(0, 999), dtype=choice(("float64", "mixed_float16")))
def test_types(given: dict[str, Any], seed: int, dtype: str) -> None:
    """The same type comes out, with its digits; of a float64 or an integer, too."""
    layer = MelSpectrogram(**given, dtype=dtype)
    theirs = keras.layers.MelSpectrogram(**given, dtype=dtype)
    x = signals(layer, (), 1_000, seed)
    for values in (x, x.double(), (1000 * x).to(torch.int16)):
        mine, other = layer(values), called(theirs, values)
        assert str(mine.dtype) == f"torch.{other.dtype}"
        if dtype == "float64":
            assert_decibels("compat.keras, float64", layer, mine, other)
        else:
            single = MelSpectrogram(**given)(values)
            assert torch.equal(mine, single.half())


@given(given=arguments(), seed=st.integers(0, 999))
def test_configs_go_both_ways(given: dict[str, Any], seed: int) -> None:
    """Theirs makes ours, also as it lies in a file; ours makes theirs."""
    theirs = keras.layers.MelSpectrogram(**given)
    written = json.loads(json.dumps(keras.layers.serialize(theirs)))["config"]
    config = theirs.get_config()
    ours = MelSpectrogram(**given)
    x = signals(ours, (), 500, seed)
    expected = ours(x)
    for told in (config, written):
        assert torch.equal(MelSpectrogram.from_config(told)(x), expected)
    own = ours.get_config()
    assert own.keys() == config.keys()
    for name in own.keys() - {"name", "dtype", "window"}:
        assert own[name] == config[name]
    again = keras.layers.MelSpectrogram.from_config(own)
    np.testing.assert_array_equal(called(again, x), called(theirs, x))


@given(given=arguments(power_to_db=False), seed=st.integers(0, 999))
def test_gradients(given: dict[str, Any], seed: int) -> None:
    """Of the waveform, where there is no silence."""
    given["mag_exp"] = 2.0
    ours, theirs = MelSpectrogram(**given), keras.layers.MelSpectrogram(**given)
    n_samples = frames.shortest(ours.front_end.config) + 500
    noise = torch.randn(n_samples, generator=torch.Generator().manual_seed(seed))
    gradients = []
    for layer in (ours, theirs):
        x = noise.clone().requires_grad_()
        layer(x).sum().backward()
        assert x.grad is not None
        gradients.append(x.grad)
    largest = float(gradients[1].abs().max())
    # A gradient adds up what the weights are off over all filters.
    allowed = 1e-9 + (1e-4 + FLOAT32_WEIGHTS) * largest
    torch.testing.assert_close(gradients[0], gradients[1], rtol=1e-4, atol=allowed)


def test_silence_is_where_theirs_has_no_gradient() -> None:
    """NaN there, 0 here: the reason for this difference."""
    gradients = []
    for layer in (MelSpectrogram(), keras.layers.MelSpectrogram()):
        x = torch.zeros(8_000, requires_grad=True)
        layer(x).sum().backward()
        gradients.append(x.grad)
    assert gradients[0] is not None
    assert not gradients[0].any()
    assert gradients[1] is not None
    assert bool(gradients[1].isnan().any())
