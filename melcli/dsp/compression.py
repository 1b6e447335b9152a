"""From mel to what a model sees: floor, log, range and scaling, each with its way back."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from melcli.dsp.stage import Blocks, MeasuredStage, Stage, Undo

if TYPE_CHECKING:
    from typing import TypeAlias

    import numpy as np
    import numpy.typing as npt

    from melcli.config.fields import FloorMode, LogBase, UtteranceEps
    from melcli.statistics.normalize import Over

    Numbers: TypeAlias = float | tuple[float, ...] | npt.NDArray[np.float32]

_SUM_BLOCK = 256
"""Rows."""
_ROUNDING = 2e-6
"""What a number of float32 may be off that was scaled there and back."""
_LOG_ROUNDING = 2e-5
"""The same if it went there and back by a logarithm, in decibels for one."""


class MelGain(Stage):
    """Multiply every mel, as before ``log(1 + 1000 x)``."""

    scope = "frame"
    undo = "exact"

    def __init__(self, gain: float) -> None:
        super().__init__()
        self.gain = gain

    def forward(self, mel: Tensor) -> Tensor:
        """``gain * x``."""
        return mel * self.gain

    def inverse(self, x: Tensor) -> Tensor:
        """``x / gain``."""
        return x / self.gain


class Floor(Stage):
    """Keep the logarithm away from zero: ``max(x, floor)``, ``x + floor``, or only exact zeros."""

    scope = "frame"
    undo = "clipped"

    def __init__(self, mode: FloorMode, floor: float) -> None:
        super().__init__()
        self.mode = mode
        self.floor = floor

    def forward(self, mel: Tensor) -> Tensor:
        """Elementwise."""
        if self.mode == "add":
            return mel + self.floor
        if self.mode == "replace_zero":
            return torch.where(mel == 0, self.floor, mel)
        return mel.clamp(min=self.floor)

    def inverse(self, x: Tensor) -> Tensor:
        """Subtract what was added; what was clamped stays at the floor."""
        return (x - self.floor).clamp(min=0.0) if self.mode == "add" else x

    def clipped(self, x: Tensor) -> Tensor:
        """What lies at the floor, unless it was added."""
        return super().clipped(x) if self.mode == "add" else _at_most(x, self.floor, _LOG_ROUNDING)


class Logarithm(Stage):
    """``ln x`` or ``log10 x`` (or ``x`` itself), times a factor."""

    scope = "frame"
    undo = "exact"

    def __init__(self, base: LogBase, factor: float) -> None:
        super().__init__()
        self.base = base
        self.factor = factor

    def forward(self, mel: Tensor) -> Tensor:
        """Elementwise; the input is above zero."""
        if self.base != "none":
            mel = mel.log() if self.base == "ln" else mel.log10()
        return mel if self.factor == 1.0 else mel * self.factor

    def inverse(self, x: Tensor) -> Tensor:
        """``e ^ (x / factor)`` or ``10 ^ (x / factor)``."""
        x = x / self.factor
        if self.base == "none":
            return x
        return x.exp() if self.base == "ln" else (x * math.log(10.0)).exp()


class FixedRange(Stage):
    """Lift everything to at least ``width`` below a fixed value, and perhaps take that away."""

    scope = "frame"
    undo = "clipped"

    def __init__(self, reference: float, width: float, *, subtract: bool) -> None:
        super().__init__()
        self.reference, self.width, self.subtract = reference, width, subtract

    def forward(self, x: Tensor) -> Tensor:
        """``max(x, reference - width)``, less the reference if that is asked for."""
        x = x.clamp(min=self.reference - self.width)
        return x - self.reference if self.subtract else x

    def inverse(self, x: Tensor) -> Tensor:
        """Add the reference again; what was lifted stays lifted."""
        return x + self.reference if self.subtract else x

    def clipped(self, x: Tensor) -> Tensor:
        """What lies at the lower end."""
        return _at_most(x, (0.0 if self.subtract else self.reference) - self.width)


class DynamicRange(MeasuredStage):
    """Lift everything to at least ``width`` below the item's maximum."""

    scope = "item"
    block = _SUM_BLOCK

    def __init__(self, width: float, *, subtract: bool) -> None:
        super().__init__()
        self.width, self.subtract = width, subtract

    @property
    def undo(self) -> Undo:  # type: ignore[override]  # a constant of the other stages
        """Once the maximum is taken away, it is not known any more."""
        return "never" if self.subtract else "clipped"

    def measure(self, blocks: Blocks) -> Tensor:
        """The maximum. Exact in any order."""
        return torch.stack([block.max() for block in blocks()]).max().reshape(1)

    def forward(self, rows: Tensor, measured: Tensor) -> Tensor:
        """``max(x, maximum - width)``, less the maximum if that is asked for."""
        rows = torch.maximum(rows, measured - self.width)
        return rows - measured if self.subtract else rows

    def inverse(self, x: Tensor) -> Tensor:
        """What was lifted stays lifted."""
        return super().inverse(x) if self.subtract else x

    def clipped_of(self, x: Tensor, top: float) -> Tensor:
        """What lies at the lower end of an item whose maximum is ``top``."""
        return _at_most(x, top - self.width)


class Clip(Stage):
    """Clamp to a range."""

    scope = "frame"
    undo = "clipped"

    def __init__(self, low: float, high: float) -> None:
        super().__init__()
        self.low = low
        self.high = high

    def forward(self, x: Tensor) -> Tensor:
        """Elementwise."""
        return x.clamp(self.low, self.high)

    def inverse(self, x: Tensor) -> Tensor:
        """What was clipped stays clipped."""
        return x

    def clipped(self, x: Tensor) -> Tensor:
        """What lies at either end."""
        return _at_most(x, self.low) | _at_most(-x, -self.high)


class Scaling(Stage):
    """``(x - shift) / scale``, with one number each or one a band."""

    scope = "frame"
    undo = "exact"
    shift: Tensor
    scale: Tensor

    def __init__(self, shift: Numbers, scale: Numbers) -> None:
        super().__init__()
        self.register_buffer("shift", torch.tensor(shift, dtype=torch.float32), persistent=False)
        self.register_buffer("scale", torch.tensor(scale, dtype=torch.float32), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Bands along the last axis."""
        return (x - self.shift) / self.scale

    def inverse(self, x: Tensor) -> Tensor:
        """``x * scale + shift``."""
        return x * self.scale + self.shift


class UtteranceMinMax(MeasuredStage):
    """Scale an item by itself to [low, 1]: ``(1 - low) (x - min) / (max - min + eps) + low``.

    Args:
        eps: Added to the divisor.
        low: What the least value becomes, -1 or 0.
        over: All bands alike, or each by its own ends.
    """

    scope = "item"
    block = _SUM_BLOCK
    leaves_out_tail = True

    def __init__(self, eps: float, *, low: float = -1.0, over: Over = "all") -> None:
        super().__init__()
        self.eps, self.low, self.over = eps, low, over

    def measure(self, blocks: Blocks) -> Tensor:
        """The least and the largest value, ``(2, n_mels)`` or ``(2, 1)``."""
        ends = [torch.aminmax(block, dim=0) for block in blocks()]
        least = torch.stack([end.min for end in ends]).amin(dim=0)
        largest = torch.stack([end.max for end in ends]).amax(dim=0)
        if self.over == "all":
            least, largest = least.amin(dim=0, keepdim=True), largest.amax(dim=0, keepdim=True)
        return torch.stack([least, largest])

    def forward(self, rows: Tensor, measured: Tensor) -> Tensor:
        """Bands along the last axis. What never varies becomes ``low``, also without ``eps``."""
        least, largest = measured.unbind()
        share = (rows - least) / _one_for_zero(largest - least + self.eps)
        return (1.0 - self.low) * share + self.low


class UtteranceMeanVar(MeasuredStage):
    """Normalise an item by itself: ``(x - mean) / deviation``, or only ``x - mean``.

    Args:
        divide: By the deviation too.
        over: Each band by its own mean and deviation, or all alike.
        ddof: Degrees of freedom taken off the variance: 1 for a sample, 0 for a population.
        eps: Added to the deviation, or within its root to the variance.
        eps_mode: Which of the two.
    """

    scope = "item"
    block = _SUM_BLOCK
    leaves_out_tail = True

    def __init__(
        self, *, divide: bool, over: Over, ddof: int, eps: float, eps_mode: UtteranceEps
    ) -> None:
        super().__init__()
        self.divide, self.over = divide, over
        self.ddof, self.eps, self.eps_mode = ddof, eps, eps_mode

    def measure(self, blocks: Blocks) -> Tensor:
        """Mean and divisor, ``(2, n_mels)`` or ``(2, 1)``, in float64."""
        total, n = self._sum(blocks)
        mean = total / n
        if not self.divide:
            return torch.stack([mean, torch.ones_like(mean)])
        # One number has no variance; what never varies is only moved to 0.
        squares, _ = self._sum(blocks, mean)
        variance = squares / max(1, n - self.ddof)
        if self.eps_mode == "var":
            deviation = _safe_root(variance + self.eps)
        else:
            deviation = _safe_root(variance) + self.eps
        return torch.stack([mean, _one_for_zero(deviation)])

    def forward(self, rows: Tensor, measured: Tensor) -> Tensor:
        """Bands along the last axis."""
        mean, deviation = measured.to(rows.dtype).unbind()
        return (rows - mean) / deviation if self.divide else rows - mean

    def _sum(self, blocks: Blocks, mean: Tensor | None = None) -> tuple[Tensor, int]:
        """Sum in float64, or that of the squared distances from ``mean``; and of how many numbers.

        The blocks are counted from the start of the item and added in order, so that a sum is
        rounded alike wherever the rows come from.
        """
        total, n_rows = torch.zeros((), dtype=torch.float64), 0
        for block in blocks():
            values = block.to(torch.float64)
            part = (values if mean is None else (values - mean).square()).sum(dim=0)
            total, n_rows = total.to(block.device) + part, n_rows + block.shape[0]
        if self.over == "all":
            return total.sum(dim=0, keepdim=True), n_rows * total.shape[0]
        return total, n_rows


def _at_most(x: Tensor, end: float, rounding: float = _ROUNDING) -> Tensor:
    """What is no higher than an end, or only by rounding."""
    return x <= end + rounding * abs(end)


def _safe_root(variance: Tensor) -> Tensor:
    """The root, with no slope at 0 instead of an infinite one."""
    varies = variance > 0
    return torch.where(varies, torch.where(varies, variance, 1.0).sqrt(), 0.0)


def _one_for_zero(divisor: Tensor) -> Tensor:
    return torch.where(divisor == 0, torch.ones_like(divisor), divisor)
