"""One step of the search for spectra: what each bin should grow by, for bands to have their mels.

Bands and bins lie along the first axis, so that each operation is one on long lines.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Final

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from collections.abc import Iterator

LOW: Final = 0.4
"""A bin becomes no less than this of itself in a step; lower is quicker, higher more natural."""
_GROUP: Final = 16
"""Bands that are multiplied at once on a CPU: a vector register full."""


class Step(ABC):
    """What is missing, and what each bin should grow by. Used by several threads at once."""

    @abstractmethod
    def room(self, n_rows: int) -> Tensor:
        """What a search of so many rows keeps from `missing` to `growth`."""

    @abstractmethod
    def missing(self, spectra: Tensor, mels: Tensor, room: Tensor) -> Tensor:
        """``m - A x``, ``(n_mels, n_rows)``."""

    @abstractmethod
    def spread(self, bands: Tensor) -> Tensor:
        """``A^T u``: what each bin gets of its bands, ``(n_freqs, n_rows)``."""

    @abstractmethod
    def growth(self, spectra: Tensor, missing: Tensor, room: Tensor) -> Tensor:
        """``clamp(1 + A^T u, low)`` with ``H u = r``, ``(n_freqs, n_rows)``; spoils ``missing``."""


class DenseStep(Step):
    """For banks in which a bin may belong to any bands, and for gradients."""

    def __init__(self, weights: Tensor) -> None:
        self._weights = weights

    def room(self, n_rows: int) -> Tensor:  # noqa: ARG002, nothing for any
        """Nothing is kept."""
        return self._weights.new_empty(0)

    def missing(self, spectra: Tensor, mels: Tensor, room: Tensor) -> Tensor:  # noqa: ARG002
        """A product with the whole bank."""
        return mels - self._weights @ spectra

    def spread(self, bands: Tensor) -> Tensor:
        """Likewise."""
        return self._weights.T @ bands

    def growth(self, spectra: Tensor, missing: Tensor, room: Tensor) -> Tensor:  # noqa: ARG002
        """A system for each row, solved as it is."""
        weights = self._weights
        matrices = torch.einsum("mk,kt,nk->tmn", weights, spectra, weights)
        diagonals = torch.diagonal(matrices, dim1=1, dim2=2)
        firm = torch.diag_embed(_firm(diagonals) - diagonals)
        u = torch.linalg.solve(matrices + firm, missing.T)
        return (1.0 + self.spread(u.T)).clamp(min=LOW)


class TridiagonalStep(Step):
    """For banks in which a bin belongs to two neighbouring bands at most, as in nearly all.

    ``A x``, and the two diagonals of ``H``, which are ``A^2 x`` and ``A[:-1] A[1:] x`` element by
    element, are one product: on a CPU for 16 bands at a time, with the bins that they touch.
    """

    def __init__(self, weights: Tensor) -> None:
        self._n_mels, n_freqs = weights.shape
        size = _GROUP if weights.device.type == "cpu" else self._n_mels
        self._n_groups = -(-self._n_mels // size)
        n_missing = self._n_groups * size - self._n_mels
        self._groups = list(_grouped(nn.functional.pad(weights, (0, 0, 0, n_missing + 1)), size))
        # The first band of each bin, and the one behind it: others it has none.
        first = (weights > 0).to(torch.int8).argmax(dim=0).clamp(max=max(0, self._n_mels - 2))
        second = (first + 1).clamp(max=self._n_mels - 1)
        bins = torch.arange(n_freqs, device=weights.device)
        of_second = torch.where(second > first, weights[second, bins], 0.0)
        self._first, self._of_first = first, weights[first, bins][:, None].contiguous()
        self._second, self._of_second = second, of_second[:, None].contiguous()

    def room(self, n_rows: int) -> Tensor:
        """The three products, ``(n_groups, 3 * size, n_rows)``."""
        weights = self._groups[0][2]
        return weights.new_empty(self._n_groups, weights.shape[0], n_rows)

    def missing(self, spectra: Tensor, mels: Tensor, room: Tensor) -> Tensor:
        """By the first of the three products, which are all computed here."""
        for (first, width, weights), out in zip(self._groups, room, strict=True):
            torch.mm(weights, spectra.narrow(0, first, width), out=out)
        return mels - self._of_bands(room, 0)

    def _of_bands(self, products: Tensor, which: int) -> Tensor:
        """One of the three, ``(n_mels, n_rows)``."""
        n_groups, _, n_rows = products.shape
        parts = products.view(n_groups, 3, -1, n_rows)[:, which]
        return parts.reshape(-1, n_rows)[: self._n_mels]

    def growth(self, spectra: Tensor, missing: Tensor, room: Tensor) -> Tensor:  # noqa: ARG002
        """A tridiagonal system for each row, all of them solved at once."""
        _solve_tridiagonal(_firm(self._of_bands(room, 1)), self._of_bands(room, 2), missing)
        return self.spread(missing).add_(1.0).clamp_(min=LOW)

    def spread(self, bands: Tensor) -> Tensor:
        """From two bands at most."""
        bins = torch.index_select(bands, 0, self._first).mul_(self._of_first)
        return bins.addcmul_(torch.index_select(bands, 0, self._second), self._of_second)


def _grouped(weights: Tensor, size: int) -> Iterator[tuple[int, int, Tensor]]:
    """For each ``size`` bands: the first bin, how many, and the three banks one on the other."""
    for at in range(0, weights.shape[0] - 1, size):
        bands, behind = weights[at : at + size], weights[at + 1 : at + size + 1]
        touched = bands.any(dim=0).nonzero().flatten().tolist() or [0]
        # Never fewer than two bins: a product of one has other roundings.
        first = min(touched[0], weights.shape[1] - 2) if weights.shape[1] > 1 else 0
        width = max(min(2, weights.shape[1]), touched[-1] + 1 - first)
        three = torch.cat([bands, bands.square(), bands * behind])
        yield first, width, three[:, first : first + width].contiguous()


def _firm(diagonal: Tensor) -> Tensor:
    """Keep a system solvable where bands are silent, or say the same thing twice."""
    share, least = (1e-6, 1e-36) if diagonal.dtype == torch.float32 else (1e-10, 1e-300)
    return diagonal * (1 + share) + least


def _solve_tridiagonal(diagonal: Tensor, beside: Tensor, right: Tensor) -> None:
    """Solve symmetric tridiagonal systems in place, one a column (the algorithm of Thomas).

    Args:
        diagonal: ``(n, n_systems)``; spoilt.
        beside: What stands below each number of it, ``(n, n_systems)``; the last is not read.
        right: The right sides, ``(n, n_systems)``; becomes the solutions.
    """
    pivots, off, rest = (list(part.unbind()) for part in (diagonal, beside, right))
    factor = torch.empty_like(right[0])
    for i in range(1, len(pivots)):
        torch.div(off[i - 1], pivots[i - 1], out=factor)
        pivots[i].addcmul_(factor, off[i - 1], value=-1)
        rest[i].addcmul_(factor, rest[i - 1], value=-1)
    rest[-1].div_(pivots[-1])
    for i in range(len(pivots) - 2, -1, -1):
        rest[i].addcmul_(off[i], rest[i + 1], value=-1).div_(pivots[i])
