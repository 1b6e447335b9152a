"""The golden values of the six seed systems: one signal, and what the originals made of it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import torch

if TYPE_CHECKING:
    from collections.abc import Mapping

OF_LARGEST = 1e-5
OF_VALUE = 1e-4
"""What float32 leaves of a linear number, in parts of the largest and of itself."""
DECIBELS = 1e-3
TOTAL = 1e-5


def golden_signal() -> torch.Tensor:
    """A tone in noise, quiet in its last quarter, from a generator of whole numbers."""
    state, noise = 1, []
    for _ in range(16_000):
        state = (1_103_515_245 * state + 12_345) % 2**31
        noise.append(state / 2**30 - 1)
    n = np.arange(16_000)
    x = 0.4 * np.sin(2 * np.pi * 440 * n / 16_000) + 0.1 * np.array(noise)
    x[12_000:] *= 1e-4
    assert abs(x.sum() - 4.23573720) < 1e-4
    return torch.from_numpy(x.astype(np.float32))


def assert_golden(
    actual: torch.Tensor,
    shape: tuple[int, ...],
    *,
    total: float | None = None,
    least: float | None = None,
    largest: float | None = None,
    values: Mapping[tuple[int, ...], float] | None = None,
    in_decibels: bool = False,
) -> None:
    """What was computed is what the original gave, as far as it is written down.

    Args:
        actual: What was computed.
        shape: Of all of it.
        total: Its sum.
        least: Its least value.
        largest: Its largest value.
        values: Some of its values, by index.
        in_decibels: Compare to 1e-3, not by parts of the values.
    """
    assert tuple(actual.shape) == shape
    exact = actual.detach().to(torch.float64)
    told = {} if values is None else {index: float(exact[index]) for index in values}
    scale = float(exact.abs().max())
    if total is not None:
        allowed = DECIBELS * math.sqrt(exact.numel()) if in_decibels else TOTAL * abs(total)
        assert abs(float(exact.sum()) - total) <= allowed, f"sum {float(exact.sum()):.9g}"
    for name, value, expected in (
        ("least", float(exact.min()), least),
        ("largest", float(exact.max()), largest),
        *((str(index), told[index], expected) for index, expected in (values or {}).items()),
    ):
        if expected is None:
            continue
        allowed = DECIBELS if in_decibels else OF_LARGEST * scale + OF_VALUE * abs(expected)
        assert abs(value - expected) <= allowed, f"{name}: {value:.9g}, not {expected:.9g}"
