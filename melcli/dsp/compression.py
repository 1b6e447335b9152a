"""From mel to what a model sees: floor, log, range and scaling, each with its way back."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from melcli.dsp.stage import ItemStage, Stage

if TYPE_CHECKING:
    from melcli.config.fields import FloorMode, LogBase


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


class Logarithm(Stage):
    """``ln x`` or ``log10 x``, times a factor."""

    scope = "frame"
    undo = "exact"

    def __init__(self, base: LogBase, factor: float) -> None:
        super().__init__()
        self.base = base
        self.factor = factor

    def forward(self, mel: Tensor) -> Tensor:
        """Elementwise; the input is above zero."""
        logs = mel.log() if self.base == "ln" else mel.log10()
        return logs if self.factor == 1.0 else logs * self.factor

    def inverse(self, x: Tensor) -> Tensor:
        """``e ^ (x / factor)`` or ``10 ^ (x / factor)``."""
        x = x / self.factor
        return x.exp() if self.base == "ln" else (x * math.log(10.0)).exp()


class DynamicRange(ItemStage):
    """Lift everything to at least ``width`` below the item's maximum."""

    undo = "clipped"

    def __init__(self, width: float) -> None:
        super().__init__()
        self.width = width

    def measure(self, rows: Tensor) -> Tensor:
        """The maximum. Exact in any order, so blocks would give the same."""
        return rows.max().reshape(1)

    def forward(self, rows: Tensor, measured: Tensor) -> Tensor:
        """``max(x, maximum - width)``."""
        return torch.maximum(rows, measured - self.width)

    def inverse(self, x: Tensor) -> Tensor:
        """What was lifted stays lifted."""
        return x


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


class Scaling(Stage):
    """``(x - shift) / scale``, with one number each or one a band."""

    scope = "frame"
    undo = "exact"
    shift: Tensor
    scale: Tensor

    def __init__(self, shift: float | tuple[float, ...], scale: float | tuple[float, ...]) -> None:
        super().__init__()
        self.register_buffer("shift", torch.tensor(shift, dtype=torch.float32), persistent=False)
        self.register_buffer("scale", torch.tensor(scale, dtype=torch.float32), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Bands along the last axis."""
        return (x - self.shift) / self.scale

    def inverse(self, x: Tensor) -> Tensor:
        """``x * scale + shift``."""
        return x * self.scale + self.shift


class UtteranceMinMax(ItemStage):
    """Scale an item by itself to [-1, 1]: ``2 (x - min) / (max - min + eps) - 1``."""

    def __init__(self, eps: float) -> None:
        super().__init__()
        self.eps = eps

    def measure(self, rows: Tensor) -> Tensor:
        """The least and the largest value."""
        return torch.stack(torch.aminmax(rows))

    def forward(self, rows: Tensor, measured: Tensor) -> Tensor:
        """Elementwise. A constant item becomes -1, also where ``eps`` is 0."""
        low, high = measured.unbind()
        spread = high - low + self.eps
        spread = torch.where(spread == 0, torch.ones_like(spread), spread)
        return 2.0 * ((rows - low) / spread) - 1.0
