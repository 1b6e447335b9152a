"""From mels back to linear spectra: what was never negative, and has just these mels.

A mel has fewer numbers than the spectrum it came from, so many spectra have the same mel. Of bands
that gather bins by weights ``A >= 0`` all that is known is ``A x = m``, ``x >= 0``.

The search starts from a smooth spectrum, in which each bin is the geometric mean of the levels of
the bands that it belongs to, and multiplies every bin by what its bands lack::

    r = m - A x                         what is missing
    H u = r,  H = A diag(x) A^T         one number a band
    x <- x * clamp(1 + A^T u, low)      a bin that would become negative shrinks

Without the clamp a step leads to ``A x = m`` at once: it is Newton's, with each bin weighed by its
own size (affine scaling [1]), so loud bins give and take what quiet ones cannot, and nothing
becomes negative. A bin of a mel filterbank belongs to two neighbouring bands at most, so ``H`` is
tridiagonal, and a step costs little more than a few products with the filterbank. Of speech and
music three to thirteen steps lead to 1e-5 of the mel.

Where no spectrum has this mel, as after a floor, the least squares are looked for from there on by
an accelerated projected gradient [2].

References:
    [1] I. I. Dikin, *Iterative Solution of Problems of Linear and Quadratic Programming*, Soviet
        Mathematics Doklady 8, 1967.
    [2] A. Beck, M. Teboulle, *A Fast Iterative Shrinkage-Thresholding Algorithm for Linear Inverse
        Problems*, SIAM Journal on Imaging Sciences 2, 2009.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import torch
from torch import Tensor, nn

from melcli.dsp.mel import MelBands

_BLOCK_ROWS: Final = 512
"""Frames that are worked on at once, always: so that none depends on which others are there."""
_LOW: Final = 0.4
"""A bin becomes no less than this of itself in a step; lower is quicker, higher more natural."""
_SILENT: Final = 1e-8
"""Of the loudest band: where a silent band starts from, which can only fall."""
_PATIENCE: Final = 15
"""Steps without a tenth gained, after which no spectrum is taken to have this mel."""
_MOST_STEPS: Final = 80
_MOST_GRADIENT_STEPS: Final = 400


class Inverted(NamedTuple):
    """Linear spectra, and how far their mels are from what was asked for.

    Args:
        spectra: ``(n_rows, n_freqs)``, float64, never negative.
        residuals: ``|A x - m| / |m|`` of each row, ``(n_rows,)``; 0 for a mel of nothing.
        n_steps: That each row took, ``(n_rows,)``.
    """

    spectra: Tensor
    residuals: Tensor
    n_steps: Tensor


class BandInversion(nn.Module):
    """Finds non-negative spectra with given mels.

    Args:
        bank: The filterbank, ``(n_mels, n_freqs)``, never negative.
        tolerance: The relative residual at which a row is done, whatever its level.
    """

    weights: Tensor
    start: Tensor
    sums: Tensor
    pair: Tensor
    pair_weights: Tensor

    def __init__(self, bank: Tensor, tolerance: float = 1e-5) -> None:
        super().__init__()
        self.tolerance = tolerance
        bank = bank.to(torch.float64)
        sums = bank.sum(dim=1)
        sums = torch.where(sums > 0, sums, 1.0)
        weights = bank / sums[:, None]  # so that bands of any height count alike
        of_bins = weights.sum(dim=0)
        gram = weights @ weights.T
        self._is_tridiagonal = not bool(torch.triu(gram, 2).any())
        self.bands = MelBands(weights)
        self.squares = MelBands(weights.square())
        self.neighbours = MelBands(weights[1:] * weights[:-1])
        # The first band of each bin, and the one behind it: others it has none, mostly.
        first = (weights > 0).to(torch.int8).argmax(dim=0).clamp(max=max(0, len(weights) - 2))
        second = (first + 1).clamp(max=len(weights) - 1)
        bins = torch.arange(weights.shape[1])
        second_weights = torch.where(second > first, weights[second, bins], 0.0)
        for name, tensor in {
            "weights": weights,
            "start": weights / torch.where(of_bins > 0, of_bins, 1.0),
            "sums": sums,
            "pair": torch.stack([first, second]),
            "pair_weights": torch.stack([weights[first, bins], second_weights]),
        }.items():
            self.register_buffer(name, tensor.contiguous(), persistent=False)

    def forward(self, mels: Tensor) -> Inverted:
        """Spectra of mels ``(n_rows, n_mels)``, finite and never negative."""
        n_rows = mels.shape[0]
        found = []
        for block in torch.split(mels.to(torch.float64), _BLOCK_ROWS):
            n_missing = _BLOCK_ROWS - block.shape[0]
            found.append(self._block(nn.functional.pad(block, (0, 0, 0, n_missing))))
        if not found:
            empty = mels.new_empty(0, dtype=torch.float64)
            return Inverted(empty.new_empty(0, self.weights.shape[1]), empty, empty.long())
        return Inverted(*(torch.cat(parts)[:n_rows] for parts in zip(*found, strict=True)))

    def _block(self, mels: Tensor) -> Inverted:
        mels = mels / self.sums
        level = mels.amax(dim=1, keepdim=True)
        level = torch.where(level > 0, level, 1.0)
        search = _Search(self, mels / level)
        spectra, residuals, n_steps = search.run()
        return Inverted(spectra * level, residuals, n_steps)

    def smooth(self, mels: Tensor) -> Tensor:
        """The spectra to start from: nothing where all bands of a bin are silent."""
        # The geometric mean takes a fifth fewer steps than the arithmetic, to as natural an end.
        spectra = (mels.clamp(min=_SILENT).log() @ self.start).exp()
        return torch.where(mels @ self.start > 0, spectra, 0.0)

    def residuals(self, missing: Tensor, norm: Tensor) -> Tensor:
        """The relative residual of each row, in the mel's own units."""
        absolute: Tensor = torch.linalg.vector_norm(missing * self.sums, dim=1)
        return absolute / norm

    def correction(self, spectra: Tensor, missing: Tensor) -> Tensor:
        """What each bin should grow by, as a share of itself: ``A^T u`` with ``H u = r``."""
        u: Tensor
        if self._is_tridiagonal:
            diagonal, beside = self.squares(spectra), self.neighbours(spectra)
            u = _solve_tridiagonal(_firm(diagonal), beside, missing)
            (first, second), (of_first, of_second) = self.pair, self.pair_weights
            return torch.addcmul(u[:, first] * of_first, u[:, second], of_second)
        matrix = torch.einsum("mk,tk,nk->tmn", self.weights, spectra, self.weights)
        diagonal = torch.diagonal(matrix, dim1=1, dim2=2)
        diagonal.copy_(_firm(diagonal))
        u = torch.linalg.solve(matrix, missing)
        return u @ self.weights

    def descend(self, spectra: Tensor, mels: Tensor, n_steps: int) -> Tensor:
        """Accelerated projected gradient on ``|A x - m|^2``, in units of the mel, from a start."""
        # The squares count in the mel's units, the rows of `weights` do not.
        bank = self.weights * self.sums[:, None] / self.sums.max()
        target = mels * self.sums / self.sums.max()
        step = 1.0 / float(torch.linalg.eigvalsh(bank @ bank.T)[-1])
        ahead, momentum = spectra, 1.0
        for _ in range(n_steps):
            before = spectra
            spectra = (ahead + step * ((target - ahead @ bank.T) @ bank)).clamp(min=0.0)
            following = (1 + (1 + 4 * momentum**2) ** 0.5) / 2
            ahead = spectra + (momentum - 1) / following * (spectra - before)
            momentum = following
        return spectra


class _Search:
    """One block of rows on their way: the best of each so far, and how long ago that was.

    Args:
        of: What searches.
        mels: ``(_BLOCK_ROWS, n_mels)``, each row's largest number 1, or all of it 0.
    """

    def __init__(self, of: BandInversion, mels: Tensor) -> None:
        self._of, self._mels = of, mels
        norm = torch.linalg.vector_norm(mels * of.sums, dim=1)
        self._norm = torch.where(norm > 0, norm, 1.0)
        self._best = of.smooth(mels)
        self._residuals = self._residuals_of(self._best)
        self._n_steps = torch.zeros(len(mels), dtype=torch.int64, device=mels.device)

    def _missing(self, spectra: Tensor) -> Tensor:
        missing: Tensor = self._mels - self._of.bands(spectra)
        return missing

    def _residuals_of(self, spectra: Tensor) -> Tensor:
        return self._of.residuals(self._missing(spectra), self._norm)

    def _keep(self, spectra: Tensor, *, of: Tensor) -> Tensor:
        """Keep what is better, and tell which of the rows gained a tenth."""
        residuals = self._residuals_of(spectra)
        is_better = of & (residuals < self._residuals)
        gained = of & (residuals < 0.9 * self._residuals)
        self._best = torch.where(is_better[:, None], spectra, self._best)
        self._residuals = torch.where(is_better, residuals, self._residuals)
        return gained

    def run(self) -> Inverted:
        """Search until each row is done, or cannot be."""
        spectra, since = self._best, torch.zeros_like(self._n_steps)
        is_open = self._residuals > self._of.tolerance
        for _ in range(_MOST_STEPS):
            searching = is_open & (since < _PATIENCE)
            if not bool(searching.any()):
                break
            growth = 1.0 + self._of.correction(spectra, self._missing(spectra))
            spectra = torch.where(searching[:, None], spectra * growth.clamp(min=_LOW), spectra)
            self._n_steps += searching
            gained = self._keep(spectra, of=searching)
            since = torch.where(gained, 0, since + 1)
            is_open = is_open & (self._residuals > self._of.tolerance)
        if bool(is_open.any()):
            spectra = self._of.descend(self._best, self._mels, _MOST_GRADIENT_STEPS)
            self._keep(spectra, of=is_open)
            self._n_steps += is_open * _MOST_GRADIENT_STEPS
        return Inverted(self._best, self._residuals, self._n_steps)


def _firm(diagonal: Tensor) -> Tensor:
    """Keep a system solvable where bands are silent, or say the same thing twice."""
    return diagonal * (1 + 1e-10) + 1e-300


def _solve_tridiagonal(diagonal: Tensor, beside: Tensor, right: Tensor) -> Tensor:
    """Solve symmetric tridiagonal systems, one a row (the algorithm of Thomas).

    Args:
        diagonal: ``(n_rows, n)``.
        beside: Next to it, ``(n_rows, n - 1)``.
        right: The right sides, ``(n_rows, n)``.
    """
    # Bands first: each step is one operation on all rows.
    pivots, rest = list(diagonal.T.contiguous()), list(right.T.contiguous())
    off = list(beside.T.contiguous())
    for i in range(1, len(pivots)):
        factor = off[i - 1] / pivots[i - 1]
        pivots[i] = pivots[i] - factor * off[i - 1]
        rest[i] = rest[i] - factor * rest[i - 1]
    rest[-1] = rest[-1] / pivots[-1]
    for i in range(len(pivots) - 2, -1, -1):
        rest[i] = (rest[i] - off[i] * rest[i + 1]) / pivots[i]
    return torch.stack(rest, dim=1)
