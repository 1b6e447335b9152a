"""Tensors, however their axes lie, as the rows that statistics are gathered from."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from melcli.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from melcli.statistics.moments import Rows


def items_of(x: Tensor, dim: int, lengths: Tensor | Sequence[int] | None) -> list[Rows]:
    """The items of a tensor, ``(n_rows, n_bins)`` each: what counts of them."""
    check_tensor(x, dim)
    if x.ndim < 2:
        raise UsageError(
            f"x of shape {tuple(x.shape)}: an item has an axis of bins and one of time"
        )
    bins = dim % x.ndim
    time = bins + 1 if bins + 1 < x.ndim else bins - 1
    n_leading = min(bins, time)
    ordered = x.detach().movedim((time, bins), (n_leading, -1))
    n_items = ordered.shape[:n_leading].numel()
    n_frames, n_bins = ordered.shape[n_leading], ordered.shape[-1]
    if not n_bins:
        raise UsageError(f"x of shape {tuple(x.shape)}: there are no bins along dim={dim}")
    upto = _lengths(lengths, n_items, n_frames)
    if x.dtype != torch.float64:
        ordered = ordered.to(torch.float32)
    rest = ordered.shape[n_leading + 1 : -1].numel()
    array: NDArray[Any] = ordered.cpu().numpy().reshape(n_items, n_frames, rest, n_bins)
    return [item[:n].reshape(-1, n_bins) for item, n in zip(array, upto, strict=True)]


def _lengths(lengths: Tensor | Sequence[int] | None, n_items: int, n_frames: int) -> list[int]:
    if lengths is None:
        return [n_frames] * n_items
    given = torch.as_tensor(lengths).reshape(-1)
    if given.dtype == torch.bool or given.is_floating_point() or given.is_complex():
        raise UsageError(f"lengths of {given.dtype}: must be whole numbers of frames")
    found: list[int] = given.tolist()
    if len(found) != n_items:
        raise UsageError(f"lengths: {len(found)} of them; {n_items} are needed, one an item")
    for number, n in enumerate(found):
        if not 0 <= n <= n_frames:
            raise UsageError(f"lengths[{number}]={n}: must be from 0 to {n_frames} frames")
    return found


def check_tensor(x: Tensor, dim: int) -> None:
    """Refuse what is no floating-point tensor with such an axis.

    Raises:
        UsageError: It is something else.
    """
    if not isinstance(x, Tensor):
        raise UsageError(
            f"a tensor is needed, not a {type(x).__name__}",
            None,
            "for loaders that give more: fit(loader, transform=lambda batch: batch[0])",
        )
    if not x.is_floating_point():
        raise UsageError(f"x of {x.dtype}: must be floating point")
    if not -x.ndim <= dim < x.ndim:
        raise UsageError(f"dim={dim}: x of shape {tuple(x.shape)} has no such axis")
