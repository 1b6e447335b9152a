"""What is computed in which precision: never below float32, whatever is asked of a model."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Final

import torch
from torch import Tensor

from melcli.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

HALVES: Final = (torch.float16, torch.bfloat16)


def computed_as(dtype: torch.dtype, waveform: Tensor) -> Tensor:
    """A waveform in the precision of a module; int16, as it is stored, stays as it is.

    Args:
        dtype: That of the module, float32 or float64.
        waveform: Of any shape.

    Raises:
        UsageError: It is no waveform of numbers that the module could keep.
    """
    if waveform.dtype == torch.int16 and dtype == torch.float32:
        return waveform
    if waveform.dtype == torch.float64 and dtype == torch.float32:
        raise UsageError(
            "waveforms of float64, and the module is float32",
            None,
            "module.double(), or waveforms.float()",
        )
    if not waveform.is_floating_point():
        raise UsageError(f"waveforms of {waveform.dtype}: must be floating point, or torch.int16")
    return waveform.to(dtype)


def like_input(result: Tensor, waveform: Tensor) -> Tensor:
    """What was computed of half precision, in that half precision."""
    is_half = waveform.dtype in HALVES and result.is_floating_point()
    return result.to(waveform.dtype) if is_half else result


def full_precision(device: torch.device) -> AbstractContextManager[None]:
    """Keep autocast out: a power spectrum is beyond float16, and a mel loses its quiet bins."""
    if not torch.is_autocast_enabled(device.type):
        return contextlib.nullcontext()
    return torch.autocast(device.type, enabled=False)


def kept_precise(move: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    """What moves the tensors of a module, such as ``half()``, without rounding any below float32.

    Args:
        move: As ``nn.Module._apply`` takes it.
    """

    def moved(tensor: Tensor) -> Tensor:
        result = move(tensor)
        return tensor.to(result.device) if result.dtype in HALVES else result

    return moved
