"""melcli.compat.nnaudio beside nnAudio: arguments, shapes, numbers, gradients and state."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import nnAudio.features
import numpy as np
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st

from melcli import frames
from melcli.compat import nnaudio
from peers.agreement import NOTHING, OF_LARGEST, OF_VALUE, assert_linear
from peers.signals import ODD_RATES, POWERS, RATES, WINDOWS, Signal, bands, choice, fft_shapes

if TYPE_CHECKING:
    from melcli.config import MelConfig

pytestmark = pytest.mark.filterwarnings("ignore:Empty filters detected")

SHAPES: tuple[tuple[int, ...], ...] = ((), (1,), (2,), (2, 1))


@st.composite
def arguments(draw: st.DrawFn) -> dict[str, Any]:
    """What both take, each left out now and then; no odd ``n_fft``, where theirs is off."""
    rate = draw(choice(RATES + ODD_RATES))
    of_bank, of_frames = draw(bands(rate)), draw(fft_shapes(odd=False))
    given = {
        "sr": rate,
        **of_frames,
        "window": draw(choice((*WINDOWS, 12.0))),
        "center": draw(st.booleans()),
        "pad_mode": draw(choice(("reflect", "constant"))),
        "power": draw(choice(POWERS)),
        "n_mels": of_bank["n_mels"],
        "fmin": of_bank["f_min"],
        "fmax": of_bank["f_max"],
        "htk": draw(st.booleans()),
        "norm": draw(choice((1, None, math.inf))),
        "trainable_mel": draw(st.booleans()),
        "trainable_STFT": draw(st.booleans()),
    }
    left_out = draw(st.sets(choice(("win_length", "window", "power", "norm", "htk", "pad_mode"))))
    if draw(st.booleans()):
        given["hop_length"] = None
        assume((given["win_length"] if "win_length" not in left_out else given["n_fft"]) >= 4)
    return {name: value for name, value in given.items() if name not in left_out}


def both(given: dict[str, Any]) -> tuple[nnaudio.MelSpectrogram, Any, MelConfig]:
    """Ours, theirs, and what ours is."""
    layer = nnaudio.MelSpectrogram(**given)
    return layer, nnAudio.features.MelSpectrogram(**given, verbose=False), layer.front_end.config


def waveforms(config: MelConfig, shape: tuple[int, ...], more: int, seed: int) -> torch.Tensor:
    """Tones in noise, as many as a shape asks for."""
    # Theirs needs a frame without padding, too.
    n_samples = max(frames.shortest(config), config.frame.n_fft // 2 + 1) + more
    n_items = max(1, math.prod(shape))
    signals = [Signal(n_samples, seed + k).samples for k in range(n_items)]
    return torch.from_numpy(np.stack(signals)).reshape(*shape, n_samples)


@given(
    given=arguments(), shape=choice(SHAPES), more=st.integers(0, 4_000), seed=st.integers(0, 999)
)
def test_every_argument(
    given: dict[str, Any], shape: tuple[int, ...], more: int, seed: int
) -> None:
    """The same shape, and the same numbers to float32's rounding."""
    ours, theirs, config = both(given)
    x = waveforms(config, shape, more, seed)
    mine, other = ours(x).detach(), theirs(x).detach()
    assert mine.shape == other.shape
    for a, b in zip(mine, other, strict=True):
        assert_linear("compat.nnaudio", a.T, b.T)


@given(given=arguments(), seed=st.integers(0, 999), trained=st.booleans())
def test_states_go_both_ways(given: dict[str, Any], seed: int, trained: bool) -> None:  # noqa: FBT001
    """Names, shapes and numbers; theirs loads into ours, also trained, and ours into theirs."""
    ours, theirs, config = both(given)
    state = theirs.state_dict()
    own = ours.state_dict()
    assert own.keys() == state.keys()
    for name, tensor in state.items():
        torch.testing.assert_close(own[name], tensor, rtol=1e-5, atol=2e-6)
    if trained:
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for name, tensor in state.items():
                if name != "stft.window_mask":
                    scale = 0.1 * float(tensor.abs().max())
                    tensor.add_(scale * torch.rand(tensor.shape, generator=generator))
    ours.load_state_dict(state)
    x = waveforms(config, (1,), 1_000, seed)
    mine, other = ours(x).detach(), theirs(x).detach()
    assert_linear("compat.nnaudio, loaded", mine[0].T, other[0].T)
    theirs.load_state_dict(ours.state_dict())
    again = theirs(x).detach()
    assert_linear("compat.nnaudio, loaded", mine[0].T, again[0].T)


@given(given=arguments(), seed=st.integers(0, 999))
def test_gradients(given: dict[str, Any], seed: int) -> None:
    """Of the waveform, and of what is trained, where there is no silence."""
    given = {**given, "power": 2.0}
    ours, theirs, config = both(given)
    n_samples = max(frames.shortest(config), config.frame.n_fft // 2 + 1) + 500
    noise = torch.randn(1, n_samples, generator=torch.Generator().manual_seed(seed))
    gradients = []
    for layer in (ours, theirs):
        x = noise.clone().requires_grad_()
        layer(x).sum().backward()
        gradients.append(x.grad)
    assert gradients[0] is not None
    assert gradients[1] is not None
    _assert_alike(gradients[0], gradients[1])
    if given.get("trainable_mel"):
        grads = ours.front_end.filterbank.weight.grad
        assert grads is not None
        _assert_alike(grads, theirs.mel_basis.grad)
    if given.get("trainable_STFT"):
        for name, kernels in (("wcos", "cosines"), ("wsin", "sines")):
            grads = getattr(ours.front_end.stft, kernels).grad
            _assert_alike(grads, getattr(theirs.stft, name).grad[:, 0])


def _assert_alike(ours: torch.Tensor, theirs: torch.Tensor) -> None:
    largest = float(theirs.abs().max())
    # A gradient sums over all frames what a mel sums over a filter's bins.
    allowed = NOTHING + 10 * OF_LARGEST * largest
    torch.testing.assert_close(ours, theirs, rtol=OF_VALUE, atol=allowed)


@pytest.mark.parametrize("power", [1.0, 2.0])
def test_silence_is_where_theirs_has_no_gradient(power: float) -> None:
    """NaN there, 0 here: the reason for this difference."""
    gradients = []
    for layer in (
        nnaudio.MelSpectrogram(power=power),
        nnAudio.features.MelSpectrogram(power=power, verbose=False),
    ):
        x = torch.zeros(1, 8_000, requires_grad=True)
        layer(x).sum().backward()
        gradients.append(x.grad)
    assert gradients[0] is not None
    assert not gradients[0].any()
    assert gradients[1] is not None
    assert bool(gradients[1].isnan().any())
