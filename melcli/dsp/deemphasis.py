"""The way back from pre-emphasis: ``x[n] = y[n] + p x[n-1]``, without a step for each sample.

A row of ``L`` samples that begins behind ``c`` is a product with a triangular matrix, and what is
left over from ``c``::

    x[i] = sum_j T[i, j] y[j] + p^(i + 1) c        T[i, j] = p^(i - j) for i >= j, else 0

The last samples of rows follow the same law with ``p^L`` in the place of ``p``, so those of all the
rows of a block are one product more. What a block ends with is handed to the next. All of it is in
float64: with ``p`` near 1 a sample is the sum of thousands before it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

import torch
from torch import Tensor, nn

from melcli.errors import UsageError

if TYPE_CHECKING:
    from melcli.config.fields import PreemphasisScope
    from melcli.dsp.stage import Piecewise

_ROWS: Final = 256
_LENGTH: Final = 64
"""A block is so many rows of this length."""


class Deemphasis(nn.Module):
    """Undo :class:`melcli.dsp.waveform.Preemphasis` over a waveform.

    ======================  ==================================================================
    scope                   what comes back
    ======================  ==================================================================
    ``wave``                the waveform
    ``wave_drop_first``     one sample more than there is: the first was dropped, and is taken
                            for 0, so others lack ``p^n`` times what it was
    ``frame``               nearly the waveform: each frame began with ``(1 - p) x[0]``, which
                            a waveform cannot have at every frame, and is not undone
    ======================  ==================================================================

    Args:
        coefficient: ``p``, from -1 to 1: beyond, rounding errors would grow without end.
        rule: The scope.

    Raises:
        UsageError: For a coefficient that is not allowed.

    >>> from melcli.dsp.waveform import Preemphasis
    >>> x = torch.tensor([1.0, 2.0, 4.0, 0.0, -1.0])
    >>> Deemphasis(0.5, "wave")(Preemphasis(0.5, "wave")(x))
    tensor([ 1.,  2.,  4.,  0., -1.])
    """

    def __init__(self, coefficient: float, rule: PreemphasisScope) -> None:
        super().__init__()
        if not -1 <= coefficient <= 1:
            raise UsageError(f"coefficient = {coefficient}: must be from -1 to 1")
        self.coefficient = coefficient
        self.rule = rule

    def forward(self, waveform: Tensor) -> Tensor:
        """Map waveforms ``(..., n_samples)``, each by itself."""
        n_samples = waveform.shape[-1]
        flat = waveform.reshape(waveform.shape[:-1].numel(), n_samples)
        shape = (*waveform.shape[:-1], n_samples + self._n_dropped)
        undone = [self.piecewise()(item, True) for item in flat]  # noqa: FBT003, as in Piecewise
        return torch.stack(undone).reshape(shape) if undone else waveform.new_empty(shape)

    def piecewise(self) -> Piecewise:
        """The same for a waveform ``(n_samples,)`` that comes in pieces, to the same bits.

        Blocks are counted from its start, and given out as they are full.
        """
        size = _ROWS * _LENGTH
        held: Tensor | None = None
        before: Tensor | None = None
        powers: _Powers | None = None

        def undo(piece: Tensor, is_last: bool) -> Tensor:  # noqa: FBT001
            nonlocal held, before, powers
            parts = []
            if held is None or before is None or powers is None:
                held, before = piece[:0], piece.new_zeros((), dtype=torch.float64)
                powers = _Powers.of(self.coefficient, piece)
                parts.append(piece.new_zeros(self._n_dropped))
            held = torch.cat([held, piece])
            n_ready = held.shape[-1] if is_last else held.shape[-1] // size * size
            for start in range(0, n_ready, size):
                block = held[start : min(start + size, n_ready)]
                n_samples = block.shape[-1]
                filled = nn.functional.pad(block.to(torch.float64), (0, size - n_samples))
                undone, before = powers.undo(filled, before)
                parts.append(undone[:n_samples].to(piece.dtype))
            held = held[n_ready:].clone()  # a view would keep alive what was given out
            return torch.cat([piece[:0], *parts])

        return undo

    @property
    def _n_dropped(self) -> int:
        return int(self.rule == "wave_drop_first")


class _Powers(NamedTuple):
    """What one block is multiplied with.

    Args:
        within: ``T`` of a row.
        between: ``T`` of the ends of rows.
        onward: What is left, at each sample of a row, of the one before it.
        across: What is left, at the end of each row, of the sample before the block.
    """

    within: Tensor
    between: Tensor
    onward: Tensor
    across: Tensor

    @classmethod
    def of(cls, coefficient: float, like: Tensor) -> _Powers:
        """For waveforms of a dtype, on a device."""
        # The coefficient as it was when samples of this dtype were multiplied with it.
        p = torch.tensor(coefficient, dtype=like.dtype, device=like.device).to(torch.float64)
        onward = p ** torch.arange(_LENGTH + 1, device=like.device)
        across = p ** (_LENGTH * torch.arange(_ROWS + 1, device=like.device))
        return cls(_triangle(onward[:-1]), _triangle(across[:-1]), onward[1:], across[1:])

    def undo(self, block: Tensor, before: Tensor) -> tuple[Tensor, Tensor]:
        """A block's samples, and the last of them, given the one before."""
        rows = block.view(_ROWS, _LENGTH) @ self.within.T
        ends = self.between @ rows[:, -1] + self.across * before
        befores = torch.cat([before[None], ends[:-1]])
        return (rows + befores[:, None] * self.onward).view(-1), ends[-1]


def _triangle(powers: Tensor) -> Tensor:
    """``T[i, j] = powers[i - j]`` for ``i >= j``, else 0."""
    number = torch.arange(len(powers), device=powers.device)
    lag = number[:, None] - number
    return torch.where(lag >= 0, powers[lag.clamp(min=0)], 0.0)
