"""Decibels as the seed systems count them, made of the engine's own stages."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from melcli.dsp.compression import Floor, Logarithm

if TYPE_CHECKING:
    from collections.abc import Sequence


def decibels(x: Tensor, *, factor: float, floor: float, reference: float | Tensor = 1.0) -> Tensor:
    """``factor log10(max(x, floor)) - factor log10(max(|reference|, floor))``, elementwise.

    Args:
        x: Magnitudes or powers.
        factor: 10, or 20 for what is no power.
        floor: Above 0.
        reference: What is 0 dB; a tensor is laid over ``x``.
    """
    level = Logarithm("log10", factor)(Floor("clamp", floor)(x))
    if isinstance(reference, Tensor):
        zero: Tensor = Logarithm("log10", factor)(Floor("clamp", floor)(reference.abs()))
        return level - zero  # type: ignore[no-any-return]
    return level - factor * math.log10(max(abs(reference), floor))  # type: ignore[no-any-return]


def lifted(x: Tensor, top_db: float, axes: Sequence[int]) -> Tensor:
    """Everything at least ``top_db`` below the maximum: ``max(x, max(x) - top_db)``.

    Args:
        x: Decibels.
        top_db: How far below.
        axes: Over which the maximum is taken; what lies along others does not count.
    """
    return torch.maximum(x, x.amax(dim=tuple(axes), keepdim=True) - top_db) if x.numel() else x
