"""Stages over the waveform, before it is cut into frames."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from melcli.dsp.stage import Scope, Stage

if TYPE_CHECKING:
    from melcli.config.fields import FillRule, LevelRule, PreemphasisScope

_SUM_BLOCK = 1 << 16
_PEAK_EPS = 1e-8


class PcmRounding(Stage):
    """Quantise as 16-bit storage does: clip, multiply, truncate towards zero, divide."""

    scope = "sample"
    undo = "clipped"

    def __init__(self, steps: int) -> None:
        super().__init__()
        self.steps = steps

    def forward(self, waveform: Tensor) -> Tensor:
        """``trunc(clip(x) * steps) / steps``, with the steps that int16 has."""
        codes = (waveform.clamp(-1.0, 1.0) * self.steps).trunc()
        rounded = codes.clamp(-32768, 32767) / self.steps
        if not waveform.requires_grad:
            return rounded
        # Steps have no slope: gradients pass as if nothing were rounded. What is added is 0.
        return rounded.detach() + (waveform - waveform.detach())

    def inverse(self, x: Tensor) -> Tensor:
        """What was rounded away stays away."""
        return x


class RemoveMean(Stage):
    """Take the item's mean away."""

    scope = "sample"

    def forward(self, waveform: Tensor) -> Tensor:
        """``x - mean(x)``."""
        return waveform - _mean(waveform).to(waveform.dtype)


class Level(Stage):
    """Bring the item to a level: its peak to ``target``, or its range to [-1, 1].

    ``peak`` is ``x / max|x| * target``; ``peak_eps`` divides by ``max|x| + 1e-8``;
    ``peak_if_over_1`` only acts where the peak is above 1; ``minmax_pm1`` is
    ``2 (x - min) / (max - min) - 1``. Silence stays as it is.
    """

    scope = "sample"

    def __init__(self, rule: LevelRule, target: float) -> None:
        super().__init__()
        self.rule = rule
        self.target = target

    def forward(self, waveform: Tensor) -> Tensor:
        """Scale one waveform."""
        if self.rule == "minmax_pm1":
            low, high = torch.aminmax(waveform)
            return 2.0 * ((waveform - low) / _one_for_zero(high - low)) - 1.0
        peak = waveform.abs().max()
        if self.rule == "peak_if_over_1":
            return waveform / peak.clamp(min=1.0)
        divisor = peak + _PEAK_EPS if self.rule == "peak_eps" else _one_for_zero(peak)
        return waveform / divisor * self.target


class ClipWaveform(Stage):
    """Clamp samples to [-1, 1]."""

    scope = "sample"
    undo = "clipped"

    def forward(self, waveform: Tensor) -> Tensor:
        """Elementwise."""
        return waveform.clamp(-1.0, 1.0)

    def inverse(self, x: Tensor) -> Tensor:
        """What was clipped stays clipped."""
        return x


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


class PadWaveform(Stage):
    """Put zeros before and behind the waveform."""

    scope = "sample"

    def __init__(self, before: int, behind: int) -> None:
        super().__init__()
        self.before, self.behind = before, behind

    def forward(self, waveform: Tensor) -> Tensor:
        """``before`` zeros, ``x``, ``behind`` zeros."""
        return torch.nn.functional.pad(waveform, (self.before, self.behind))


class FixLength(Stage):
    """Cut the waveform, or fill it, to a fixed number of samples.

    It is filled with zeros, with repeats of itself (``repeat``), or with as many whole repeats as
    fit and then zeros (``repeatpad``).
    """

    scope = "sample"

    def __init__(self, n_samples: int, fill: FillRule = "zero") -> None:
        super().__init__()
        self.n_samples = n_samples
        self.fill = fill

    def forward(self, waveform: Tensor) -> Tensor:
        """Map ``(..., n)`` to ``(..., n_samples)``."""
        n = waveform.shape[-1]
        if self.fill != "zero" and n < self.n_samples:
            copies = self.n_samples // n if self.fill == "repeatpad" else -(-self.n_samples // n)
            waveform = waveform.repeat(*[1] * (waveform.dim() - 1), copies)
        missing = self.n_samples - waveform.shape[-1]
        if missing <= 0:
            return waveform[..., : self.n_samples]
        return torch.nn.functional.pad(waveform, (0, missing))


class PadToMultiple(Stage):
    """Put zeros behind the waveform up to a multiple of a length."""

    scope = "sample"

    def __init__(self, multiple: int) -> None:
        super().__init__()
        self.multiple = multiple

    def forward(self, waveform: Tensor) -> Tensor:
        """As few zeros as needed, perhaps none."""
        return torch.nn.functional.pad(waveform, (0, -waveform.shape[-1] % self.multiple))


class Dither(Stage):
    """Add Gaussian noise: the same for every item, so that the same file gives the same numbers."""

    scope = "sample"

    def __init__(self, deviation: float) -> None:
        super().__init__()
        self.deviation = deviation

    def forward(self, waveform: Tensor) -> Tensor:
        """``x + deviation * noise``."""
        return waveform + fixed_noise(waveform.shape[-1], waveform) * self.deviation


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


def fixed_noise(n: int, like: Tensor) -> Tensor:
    """The first ``n`` of one endless row of standard normal numbers."""
    # NumPy draws them one by one, so a longer row begins with the shorter; torch's does not.
    noise = np.random.default_rng(0).standard_normal(n, dtype=np.float32)
    return torch.from_numpy(noise).to(like)


def _mean(waveform: Tensor) -> Tensor:
    """The mean in float64, from sums over fixed blocks counted from the start."""
    blocks = torch.split(waveform, _SUM_BLOCK)
    total = torch.zeros((), dtype=torch.float64, device=waveform.device)
    for block in blocks:
        total = total + block.to(torch.float64).sum()
    return total / max(1, waveform.shape[-1])


def _one_for_zero(divisor: Tensor) -> Tensor:
    return torch.where(divisor == 0, torch.ones_like(divisor), divisor)
