"""De-emphasis: the way back from every rule of pre-emphasis, in any pieces."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.signal import lfilter
from torch import Tensor

from melcli.dsp.deemphasis import Deemphasis
from melcli.dsp.waveform import Preemphasis
from melcli.errors import UsageError

BLOCK = 64 * 256
COEFFICIENTS = st.sampled_from([0.97, 0.5, 0.0, -0.9, 0.999, 1.0, -1.0]) | st.floats(-1, 1)
LENGTHS = st.integers(1, 300) | st.integers(BLOCK - 2, BLOCK + 2) | st.just(3 * BLOCK + 77)


def noise(n_samples: int, seed: int = 0, dtype: torch.dtype = torch.float32) -> Tensor:
    """Uniform in [-1, 1)."""
    generator = torch.Generator().manual_seed(seed)
    return 2 * torch.rand(n_samples, generator=generator, dtype=dtype) - 1


@given(coefficient=COEFFICIENTS, n_samples=LENGTHS, seed=st.integers(0, 99))
@settings(max_examples=100, deadline=None)
def test_there_and_back(coefficient: float, n_samples: int, seed: int) -> None:
    """What was emphasised comes back, to what float32 lost on the way there."""
    waveform = noise(n_samples, seed)
    found = Deemphasis(coefficient, "wave")(Preemphasis(coefficient, "wave")(waveform))
    assert found.dtype == torch.float32
    # Two roundings of numbers up to 2 a sample, which are added up with weights 1, p, p^2 ...
    lost = 2 * 2.0**-24 * sum(abs(coefficient) ** np.arange(n_samples)) + 2.0**-24
    torch.testing.assert_close(found, waveform, rtol=0, atol=float(lost))


@given(coefficient=COEFFICIENTS, n_samples=LENGTHS)
@settings(max_examples=50, deadline=None)
def test_the_recursion(coefficient: float, n_samples: int) -> None:
    """It is the recursive filter, sample by sample, as exact as float64 is."""
    waveform = noise(n_samples, dtype=torch.float64)
    theirs = torch.from_numpy(lfilter([1.0], [1.0, -coefficient], waveform.numpy()))
    # The filter rounds after each sample, and forgets it after 1 / (1 - p) more.
    n_heard = min(n_samples, 1 / max(1 - abs(coefficient), 1e-9))
    rounding = 2.0**-52 * (n_heard + 1) * max(1.0, float(theirs.abs().max()))
    found = Deemphasis(coefficient, "wave")(waveform)
    torch.testing.assert_close(found, theirs, rtol=0, atol=rounding)


@given(
    n_samples=LENGTHS,
    cuts=st.lists(st.integers(0, 3 * BLOCK + 77), max_size=6),
    rule=st.sampled_from(["wave", "wave_drop_first", "frame"]),
)
@settings(max_examples=60, deadline=None)
def test_pieces(n_samples: int, cuts: list[int], rule: str) -> None:
    """A waveform in pieces, empty ones too, has the bits of the whole, and little is held back."""
    waveform = noise(n_samples)
    stage = Deemphasis(0.97, rule)  # type: ignore[arg-type]
    ends = [0, *sorted(cut % (n_samples + 1) for cut in cuts), n_samples]
    undo, given_out = stage.piecewise(), []
    for number, (begin, end) in enumerate(itertools.pairwise(ends), start=1):
        given_out.append(undo(waveform[begin:end], number == len(ends) - 1))
        assert sum(map(len, given_out)) > end - BLOCK
    assert torch.equal(torch.cat(given_out), stage(waveform))


def test_the_first_sample_that_was_dropped() -> None:
    """It is taken for 0: the rest is wrong by what it was, and less and less so."""
    waveform = noise(500, dtype=torch.float64)
    emphasised = Preemphasis(0.9, "wave_drop_first")(waveform)
    found = Deemphasis(0.9, "wave_drop_first")(emphasised)
    assert found.shape == waveform.shape
    assert found[0] == 0
    left = waveform[0] * 0.9 ** torch.arange(500, dtype=torch.float64)
    torch.testing.assert_close(found, waveform - left, rtol=0, atol=1e-12)
    silent_first = waveform * (torch.arange(500) > 0)
    back = Deemphasis(0.9, "wave_drop_first")(Preemphasis(0.9, "wave_drop_first")(silent_first))
    torch.testing.assert_close(back, silent_first, rtol=0, atol=1e-12)
    assert Deemphasis(0.9, "wave_drop_first")(waveform[:0]).tolist() == [0.0]


def test_within_frames() -> None:
    """A frame comes back but for its first sample, which is forgotten as the rest goes on."""
    waveform = noise(400, dtype=torch.float64)
    found = Deemphasis(0.97, "frame")(Preemphasis(0.97, "frame")(waveform))
    left = 0.97 * waveform[0] * 0.97 ** torch.arange(400, dtype=torch.float64)
    torch.testing.assert_close(found, waveform - left, rtol=0, atol=1e-12)


def test_batches() -> None:
    """Each waveform is mapped by itself, to the same bits."""
    waveforms = torch.stack([noise(20_000, seed) for seed in range(6)]).reshape(2, 3, 20_000)
    stage = Deemphasis(0.97, "wave_drop_first")
    together = stage(waveforms)
    assert together.shape == (2, 3, 20_001)
    for i, j in itertools.product(range(2), range(3)):
        assert torch.equal(stage(waveforms[i, j]), together[i, j])
    assert stage(waveforms[:0]).shape == (0, 3, 20_001)
    assert Deemphasis(0.97, "wave")(waveforms[..., :0]).shape == (2, 3, 0)


def test_gradients() -> None:
    """They pass, from block to block too: a sample is heard ever after."""
    waveform = noise(9, dtype=torch.float64).requires_grad_()
    assert torch.autograd.gradcheck(Deemphasis(0.9, "wave"), (waveform,))
    waveform = noise(BLOCK + 100, dtype=torch.float64).requires_grad_()
    Deemphasis(0.9999, "wave")(waveform)[-1].backward()
    expected = 0.9999 ** torch.arange(BLOCK + 99, -1, -1, dtype=torch.float64)
    assert waveform.grad is not None
    torch.testing.assert_close(waveform.grad, expected, rtol=1e-10, atol=0)


def test_devices(device: str) -> None:
    """A GPU computes what a CPU computes, but for rounding."""
    waveform = noise(40_000)
    here = Deemphasis(0.97, "wave")(waveform)
    there = Deemphasis(0.97, "wave").to(device)(waveform.to(device))
    assert there.device.type == device
    torch.testing.assert_close(there.cpu(), here, rtol=0, atol=1e-6)


@pytest.mark.parametrize("coefficient", [1.01, -2.0, float("nan")])
def test_coefficients_that_cannot_be_undone(coefficient: float) -> None:
    """Beyond 1 the recursion would grow without end."""
    with pytest.raises(UsageError, match=rf"^coefficient = {coefficient}: must be from -1 to 1$"):
        Deemphasis(coefficient, "wave")
