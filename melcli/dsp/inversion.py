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
music two to twelve steps lead to 1e-5 of the mel.

Where no spectrum has this mel, as after a floor, the least squares are looked for from there on by
an accelerated projected gradient [2].

References:
    [1] I. I. Dikin, *Iterative Solution of Problems of Linear and Quadratic Programming*, Soviet
        Mathematics Doklady 8, 1967.
    [2] A. Beck, M. Teboulle, *A Fast Iterative Shrinkage-Thresholding Algorithm for Linear Inverse
        Problems*, SIAM Journal on Imaging Sciences 2, 2009.
    [3] B. O'Donoghue, E. Candes, *Adaptive Restart for Accelerated Gradient Schemes*, Foundations
        of Computational Mathematics 15, 2015.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple, Self

import torch
from torch import Tensor, nn

from melcli.dsp.band_steps import DenseStep, Step, TridiagonalStep

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

TOLERANCE: Final = 1e-5
"""The relative residual at which a row is done, unless another is asked for."""
_BLOCK_NUMBERS: Final = 1 << 18
"""Of the spectra that are worked on at once: as many as stay in the cache, always alike."""
_MOST_STEPS: Final = 80
_SURE_STEPS: Final = 12
"""Steps after which nearly all are done, and what is not may get worse: its best is kept."""
_PATIENCE: Final = 15
"""Further steps without a tenth gained, after which no spectrum is taken to have this mel."""
_MOST_DESCENTS: Final = 1000
_GAIN: Final = 1e-4
_DESCENTS: Final = 50
"""Steps of the descent until it is asked whether they gained anything."""
_TINY: Final = 1e-30
"""Of a row's loudest band: quieter bands are silent."""
_FINE: Final = 1e-6
"""Finer tolerances are beyond float32."""


class Inverted(NamedTuple):
    """Linear spectra, and how far their mels are from what was asked for.

    Args:
        spectra: ``(n_rows, n_freqs)``, never negative.
        residuals: ``|A x - m| / |m|`` of each row, ``(n_rows,)``; 0 for a mel of nothing.
        n_steps: That each row took, ``(n_rows,)``.
    """

    spectra: Tensor
    residuals: Tensor
    n_steps: Tensor


class _Float64(nn.Module):
    """Its constants stay float64 when a model that it is part of becomes another precision."""

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:  # noqa: FBT001, FBT002, torch's own
        def moved(tensor: Tensor) -> Tensor:
            result = fn(tensor)
            return result if result.dtype == tensor.dtype else tensor.to(result.device)

        return super()._apply(moved, recurse)  # type: ignore[no-untyped-call, no-any-return]


class PseudoInversion(_Float64):
    """The pseudo-inverse, its negative numbers set to 0: quick, and 1 to 20 % off the mel.

    Computed in float64, with singular values below ``rcond`` of the largest taken for 0.

    Args:
        bank: The filterbank, ``(n_mels, n_freqs)``.
        rcond: None takes float64's rounding, times the larger side of the bank.

    Raises:
        ValueError: ``bank`` is not a matrix.
    """

    bank: Tensor
    inverse: Tensor

    def __init__(self, bank: Tensor, rcond: float | None = None) -> None:
        super().__init__()
        bank = bank.to(torch.float64)
        inverse = torch.linalg.pinv(bank, rtol=rcond)
        inverse[~bank.any(dim=0)] = 0.0  # of no band: what is there is rounding
        self.register_buffer("bank", bank, persistent=False)
        self.register_buffer("inverse", inverse.T.contiguous(), persistent=False)

    def spectra(self, mels: Tensor) -> Tensor:
        """Spectra of mels ``(..., n_mels)`` and nothing else, in no blocks: twice as quick.

        To rounding they are those of :meth:`forward`.
        """
        found = mels.to(torch.float64) @ self.inverse
        return found.relu_().to(mels.dtype)

    def forward(self, mels: Tensor) -> Inverted:
        """Spectra of mels ``(n_rows, n_mels)``."""
        n_rows, size = mels.shape[0], block_rows(self.bank.shape[1])
        found = [_of_nothing(self.bank, mels)] if n_rows == 0 else []
        for block in torch.split(mels, size):
            whole = nn.functional.pad(block, (0, 0, 0, size - block.shape[0])).to(torch.float64)
            spectra = (whole @ self.inverse).clamp(min=0.0)
            missing = whole - spectra @ self.bank.T
            residuals = _share(missing, whole)
            n_steps = torch.zeros_like(residuals, dtype=torch.int64)
            found.append(Inverted(spectra.to(mels.dtype), residuals, n_steps))
        return Inverted(*(torch.cat(parts)[:n_rows] for parts in zip(*found, strict=True)))


class BandInversion(_Float64):
    """Finds non-negative spectra with given mels.

    Numbers are float32, or float64 for mels of float64 and tolerances below 1e-6. Rows are worked
    on in blocks of one fixed shape, and one that is done makes room for the next; so each row's
    spectrum is the same, bit for bit, whatever rows are beside it.

    Args:
        bank: The filterbank, ``(n_mels, n_freqs)``, never negative.
        tolerance: The relative residual at which a row is done, whatever its level.
    """

    weights: Tensor
    sums: Tensor
    of_bins: Tensor

    def __init__(self, bank: Tensor, tolerance: float = TOLERANCE) -> None:
        super().__init__()
        self.tolerance = tolerance
        bank = bank.to(torch.float64)
        sums = bank.sum(dim=1)
        sums = torch.where(sums > 0, sums, 1.0)
        weights = bank / sums[:, None]  # so that bands of any height count alike
        of_bins = weights.sum(dim=0)
        gram = weights @ weights.T
        self.is_tridiagonal = not bool(torch.triu(gram, 2).any())
        self.step_length = 1.0 / float(torch.linalg.eigvalsh(_relative(bank, sums))[-1])
        self.rows_at_once = block_rows(weights.shape[1])
        for name, tensor in {
            "weights": weights,
            "sums": sums,
            "of_bins": torch.where(of_bins > 0, of_bins, torch.inf)[:, None],
        }.items():
            self.register_buffer(name, tensor.contiguous(), persistent=False)
        self._steps: dict[torch.dtype, Step] = {}

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:  # noqa: FBT001, FBT002, torch's own
        self._steps = {}  # the weights move
        return super()._apply(fn, recurse)

    def forward(self, mels: Tensor) -> Inverted:
        """Spectra of mels ``(n_rows, n_mels)``, finite and never negative."""
        is_fine = mels.dtype == torch.float64 or self.tolerance < _FINE
        dtype = torch.float64 if is_fine else torch.float32
        if mels.shape[0] == 0:
            return _of_nothing(self.weights, mels)
        mels = mels.to(torch.float64) / self.sums
        level = mels.amax(dim=1, keepdim=True)
        level = torch.where(level > 0, level, 1.0)
        if torch.is_grad_enabled() and mels.requires_grad:
            found = self._with_gradients(mels / level)
        else:
            with torch.no_grad():
                found = _Search(self, mels / level, dtype).run()
        return found._replace(spectra=(found.spectra * level).to(dtype))

    def smooth(self, mels: Tensor, step: Step) -> Tensor:
        """The spectra to start from, ``(n_freqs, n_rows)``, of mels ``(n_mels, n_rows)``.

        They are nothing where a band of a bin is silent: then it can only be.
        """
        # The geometric mean takes a fifth fewer steps than the arithmetic, to as natural an end.
        of_bins = self.of_bins.to(mels.dtype)
        spectra = (step.spread(mels.clamp(min=_TINY).log()) / of_bins).exp()
        is_silent = mels <= _TINY
        spectra = torch.where(of_bins == torch.inf, 0.0, spectra)
        if not bool(is_silent.any()):
            return spectra
        return torch.where(step.spread(is_silent.to(mels.dtype)) > 0, 0.0, spectra)

    def step(self, dtype: torch.dtype) -> Step:
        """What makes a step, in one precision."""
        if dtype not in self._steps:
            kind = TridiagonalStep if self.is_tridiagonal else DenseStep
            self._steps[dtype] = kind(self.weights.to(dtype))
        return self._steps[dtype]

    def descend(self, spectra: Tensor, mels: Tensor) -> tuple[Tensor, Tensor]:
        """Spectra ``(n_freqs, n_rows)`` nearer to the least squares, in units of the mel.

        An accelerated projected gradient, begun anew wherever it went uphill [3]. A row is as it
        was when ``_DESCENTS`` steps gained it less than a ten thousandth.

        Returns:
            The spectra, and how many steps each took, ``(n_rows,)``.
        """
        # The squares count in the mel's units, the rows of `weights` do not.
        heights = (self.sums / self.sums.max())[:, None]
        bank, target = (self.weights * heights).to(spectra.dtype), mels * heights.to(mels.dtype)
        best, before = spectra, torch.full_like(spectra[0], torch.inf)
        ahead, momentum = spectra, torch.ones_like(before)
        is_open = torch.ones_like(before, dtype=torch.bool)
        n_steps = torch.zeros_like(before, dtype=torch.int64)
        for step in range(_MOST_DESCENTS):
            last = spectra
            spectra = (ahead + self.step_length * (bank.T @ (target - bank @ ahead))).clamp(min=0.0)
            moved = spectra - last
            went_uphill = ((ahead - spectra) * moved).sum(dim=0) > 0
            momentum = torch.where(went_uphill, 1.0, momentum)
            following = (1 + (1 + 4 * momentum.square()).sqrt()) / 2
            ahead = spectra + (momentum - 1) / following * moved
            momentum = following
            if step % _DESCENTS == _DESCENTS - 1:
                now = torch.linalg.vector_norm(target - bank @ spectra, dim=0)
                best = torch.where(is_open, spectra, best)
                n_steps += _DESCENTS * is_open
                is_open = is_open & (now < (1 - _GAIN) * before)
                before = now
                if not bool(is_open.any()):
                    break
        return best, n_steps

    def _with_gradients(self, mels: Tensor) -> Inverted:
        """The same search, all rows at once, every step differentiable.

        What no spectrum has this mel of is descended to as ever, with the gradient of the search.
        """
        mels = mels.T
        step = DenseStep(self.weights)
        spectra = self.smooth(mels, step)
        n_steps = torch.zeros(mels.shape[1], dtype=torch.int64, device=mels.device)
        for _ in range(_SURE_STEPS + _PATIENCE):
            missing = mels - self.weights @ spectra
            is_open = _share((missing * self.sums[:, None]).T, (mels * self.sums[:, None]).T)
            is_open = is_open > self.tolerance
            if not bool(is_open.any()):
                break
            growth = step.growth(spectra, missing, missing)
            # What is done must not be divided by 0 on the way back either.
            spectra = torch.where(is_open, spectra * torch.where(is_open, growth, 1.0), spectra)
            n_steps += is_open
        with torch.no_grad():
            is_open = self.residuals(spectra, mels) > self.tolerance
            nearer, n_descents = self.descend(spectra, mels)
            nearer = torch.where(is_open, nearer, spectra)
            n_steps += n_descents * is_open
        spectra = spectra + (nearer - spectra).detach()
        return Inverted(spectra.T, self.residuals(spectra, mels).detach(), n_steps)

    def residuals(self, spectra: Tensor, mels: Tensor) -> Tensor:
        """The relative residual of each row, of ``(n_freqs, n_rows)`` and ``(n_mels, n_rows)``."""
        heights = self.sums[:, None].to(mels.dtype)
        missing = mels - self.weights.to(spectra.dtype) @ spectra
        return _share((missing * heights).T, (mels * heights).T)


class _Search:
    """Rows on their way, of which a fixed number is worked on at once.

    Bands and bins lie along the first axis: then what belongs to a bin lies in a line for all rows,
    and every operation below is one on long lines.

    Args:
        of: What searches.
        mels: ``(n_rows, n_mels)``, each row's largest number 1, or all of it 0.
        dtype: Of the arithmetic.
    """

    def __init__(self, of: BandInversion, mels: Tensor, dtype: torch.dtype) -> None:
        self._of, self._mels, self._dtype = of, mels, dtype
        self._step = of.step(dtype)
        (n_rows, n_mels), n_freqs, device = mels.shape, of.weights.shape[1], mels.device
        self._spectra = torch.empty(n_rows, n_freqs, dtype=dtype, device=device)
        self._residuals = torch.empty(n_rows, dtype=torch.float64, device=device)
        self._n_steps = torch.empty(n_rows, dtype=torch.int64, device=device)
        self._lost: list[Tensor] = []  # rows that no spectrum was found for
        size = of.rows_at_once
        self._room = self._step.room(size)
        self._heights = of.sums[:, None].to(dtype)
        self._x = torch.zeros(n_freqs, size, dtype=dtype, device=device)
        self._best = torch.zeros_like(self._x)
        self._m = torch.zeros(n_mels, size, dtype=dtype, device=device)
        self._norms = torch.ones(size, dtype=dtype, device=device)
        self._row = torch.full((size,), -1, device=device)
        self._took = torch.zeros(size, dtype=torch.int64, device=device)
        self._since = torch.zeros_like(self._took)
        self._least = torch.full_like(self._norms, torch.inf)

    def run(self) -> Inverted:
        """Search until each row is done, or cannot be."""
        self._start_all()
        waiting, free = 0, torch.arange(len(self._row), device=self._row.device)
        while True:
            waiting = self._seat(free, waiting)
            if not bool((self._row >= 0).any()):
                break
            free = self._advance()
        if self._lost:
            self._descend(torch.cat(self._lost))
        return Inverted(self._spectra, self._residuals, self._n_steps)

    def _start_all(self) -> None:
        """Put the smooth spectrum of each row where its answer will be."""
        for first, block in _blocks(self._mels, len(self._row)):
            n = min(len(block), len(self._mels) - first)
            mels = block.T.to(self._dtype).contiguous()
            self._spectra[first : first + n] = self._of.smooth(mels, self._step).T[:n]

    def _seat(self, free: Tensor, waiting: int) -> int:
        """Give free places to rows that wait, or to nobody; the first that still waits."""
        n = min(len(free), len(self._mels) - waiting)
        taken, empty = free[:n], free[n:]
        if n:
            rows = slice(waiting, waiting + n)
            self._x[:, taken] = self._spectra[rows].T
            self._m[:, taken] = self._mels[rows].T.to(self._dtype)
            self._row[taken] = torch.arange(waiting, waiting + n, device=free.device)
            self._norms = torch.linalg.vector_norm(self._m * self._heights, dim=0)
            self._norms = torch.where(self._norms > 0, self._norms, 1.0)
            self._took[free], self._since[free], self._least[free] = 0, 0, torch.inf
        self._row[empty] = -1
        self._x[:, empty], self._m[:, empty] = 0.0, 0.0
        return waiting + n

    def _advance(self) -> Tensor:
        """Make a step with all; the places of those that are done with."""
        missing = self._step.missing(self._x, self._m, self._room)
        residuals = torch.linalg.vector_norm(missing * self._heights, dim=0) / self._norms
        is_seated = self._row >= 0
        is_done = is_seated & (residuals <= self._of.tolerance)
        is_lost = is_seated & ~is_done & self._remember(residuals, is_seated & ~is_done)
        self._leave(is_done.nonzero().flatten(), self._x, residuals)
        lost = is_lost.nonzero().flatten()
        if len(lost):
            self._lost.append(self._row[lost])
            self._leave(lost, self._best, self._least)
        leaves: Tensor = is_done | is_lost
        if not torch.equal(leaves, is_seated):
            self._x.mul_(self._step.growth(self._x, missing, self._room))
            self._took += 1
        return leaves.nonzero().flatten()

    def _remember(self, residuals: Tensor, is_open: Tensor) -> Tensor:
        """Keep the best of what takes long; who has not got better for too long, or too late."""
        is_late = is_open & (self._took >= _SURE_STEPS)
        if not bool(is_late.any()):
            return is_late
        is_better = is_late & (residuals < self._least)
        gained = is_late & (residuals < 0.9 * self._least)
        better = is_better.nonzero().flatten()
        self._best[:, better] = self._x[:, better]
        self._least[better] = residuals[better]
        self._since = torch.where(gained, 0, self._since + is_late)
        return is_late & ((self._since >= _PATIENCE) | (self._took >= _MOST_STEPS))

    def _leave(self, places: Tensor, spectra: Tensor, residuals: Tensor) -> None:
        if len(places):
            rows = self._row[places]
            self._spectra[rows] = spectra[:, places].T
            self._residuals[rows] = residuals[places].to(torch.float64)
            self._n_steps[rows] = self._took[places]

    def _descend(self, rows: Tensor) -> None:
        """Look for the least squares of rows that no spectrum was found for."""
        size = len(self._row)
        for first, block in _blocks(self._spectra[rows], size):
            n = min(size, len(rows) - first)
            of = rows[first : first + n]
            mels = nn.functional.pad(self._mels[of].to(self._dtype), (0, 0, 0, size - n)).T
            spectra, n_steps = self._of.descend(block.T.contiguous(), mels.contiguous())
            residuals = self._of.residuals(spectra, mels)[:n].to(torch.float64)
            is_better = residuals < self._residuals[of]
            self._spectra[of] = torch.where(is_better[:, None], spectra.T[:n], self._spectra[of])
            self._residuals[of] = torch.where(is_better, residuals, self._residuals[of])
            self._n_steps[of] += n_steps[:n]


def block_rows(n_freqs: int) -> int:
    """Rows that are worked on at once, for spectra of so many bins.

    >>> block_rows(513), block_rows(1025), block_rows(1 << 19)
    (496, 240, 16)
    """
    return max(16, min(1024, _BLOCK_NUMBERS // n_freqs) // 16 * 16)


def _blocks(rows: Tensor, size: int) -> Iterator[tuple[int, Tensor]]:
    """Rows in blocks of one size, the last filled with zeros, and where each begins."""
    for first in range(0, len(rows), size):
        block = rows[first : first + size]
        yield first, nn.functional.pad(block, (0, 0, 0, size - len(block)))


def _of_nothing(bank: Tensor, mels: Tensor) -> Inverted:
    """What becomes of no rows at all."""
    empty = mels.new_empty(0, dtype=torch.float64)
    return Inverted(mels.new_empty(0, bank.shape[1]), empty, empty.long())


def _share(missing: Tensor, whole: Tensor) -> Tensor:
    """How long each row is beside another, ``(n_rows,)``."""
    norm = torch.linalg.vector_norm(whole.detach(), dim=1)
    share: Tensor = torch.linalg.vector_norm(missing.detach(), dim=1)
    return share / torch.where(norm > 0, norm, 1.0)


def _relative(bank: Tensor, sums: Tensor) -> Tensor:
    """The products of the bands with each other, their heights relative to the largest sum."""
    bank = bank / sums.max()
    return bank @ bank.T
