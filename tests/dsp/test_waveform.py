"""Stages over the waveform."""

from __future__ import annotations

import pytest
import torch

from melcli.dsp.waveform import FixLength, Preemphasis

X = torch.tensor([1.0, 2.0, 4.0])


@pytest.mark.parametrize(
    ("n_samples", "expected"), [(2, [1, 2]), (3, [1, 2, 4]), (5, [1, 2, 4, 0, 0])]
)
def test_fixed_length_cuts_or_fills(n_samples: int, expected: list[float]) -> None:
    """The first samples stay, zeros follow."""
    assert FixLength(n_samples)(X).tolist() == expected


def test_preemphasis_over_the_waveform() -> None:
    """``y[n] = x[n] - p x[n-1]``; the first sample stays."""
    stage = Preemphasis(0.5, "wave")
    assert stage.scope == "sample"
    assert stage(X).tolist() == [1.0, 1.5, 3.0]


def test_preemphasis_may_drop_the_first_sample() -> None:
    """It has no predecessor, and some originals leave it out."""
    stage = Preemphasis(0.5, "wave_drop_first")
    assert stage.scope == "sample"
    assert stage(X).tolist() == [1.5, 3.0]


def test_preemphasis_within_frames() -> None:
    """Kaldi takes the first sample of a frame for its own predecessor."""
    stage = Preemphasis(0.5, "frame")
    assert stage.scope == "frame"
    assert stage(torch.stack([X, 2 * X])).tolist() == [[0.5, 1.5, 3.0], [1.0, 3.0, 6.0]]
