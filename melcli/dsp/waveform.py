"""Stages over the waveform, before it is cut into frames."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from melcli.dsp.stage import Scope, Stage

if TYPE_CHECKING:
    from melcli.config.fields import PreemphasisScope


class Gain(Stage):
    """Multiply every sample, as front ends do that expect the int16 range."""

    scope = "sample"
    undo = "exact"

    def __init__(self, gain: float) -> None:
        super().__init__()
        self.gain = gain

    def forward(self, waveform: Tensor) -> Tensor:
        """``gain * x``."""
        return waveform * self.gain

    def inverse(self, x: Tensor) -> Tensor:
        """``x / gain``."""
        return x / self.gain


class FixLength(Stage):
    """Cut the waveform, or fill it with zeros, to a fixed number of samples."""

    scope = "sample"

    def __init__(self, n_samples: int) -> None:
        super().__init__()
        self.n_samples = n_samples

    def forward(self, waveform: Tensor) -> Tensor:
        """The first ``n_samples`` of ``x``, then zeros."""
        missing = self.n_samples - waveform.shape[-1]
        if missing <= 0:
            return waveform[..., : self.n_samples]
        return torch.nn.functional.pad(waveform, (0, missing))


class Preemphasis(Stage):
    """Tilt the spectrum up: ``y[n] = x[n] - p x[n-1]``.

    Over the waveform the first sample stays as it is, or is dropped (``wave_drop_first``); within
    a frame it is taken for its own predecessor, so that ``y[0] = (1 - p) x[0]``, as in Kaldi.
    """

    def __init__(self, coefficient: float, rule: PreemphasisScope) -> None:
        super().__init__()
        self.coefficient = coefficient
        self.rule = rule

    @property
    def scope(self) -> Scope:  # type: ignore[override]  # a constant of the other stages
        """Over the waveform, or within frames."""
        return "frame" if self.rule == "frame" else "sample"

    def forward(self, x: Tensor) -> Tensor:
        """Map a waveform, or frames, along the last axis."""
        # Two roundings, never a fused multiply-add: the same bits on every vector width.
        y = x[..., 1:] - x[..., :-1] * self.coefficient
        if self.rule == "wave_drop_first":
            return y
        first = x[..., :1]
        if self.rule == "frame":
            first = first - first * self.coefficient
        return torch.cat([first, y], dim=-1)
