"""What every step of a front end says of itself."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import ClassVar, Literal, TypeAlias

import torch
from torch import Tensor, nn

Scope = Literal["sample", "frame", "item"]
Undo = Literal["exact", "clipped", "never"]

Piecewise: TypeAlias = Callable[[Tensor, bool], Tensor]
"""Takes the next piece of a waveform, and whether it is the last; gives what becomes of it."""

Blocks: TypeAlias = Callable[[], Iterable[Tensor]]
"""Gives an item from its start in blocks of a fixed length (the last one shorter), each time."""


class Stage(nn.Module):
    """One step of a front end: a pure function of tensors, its constants held as buffers.

    A front end is a list of stages in three runs: *sample* stages map a waveform
    ``(n_samples,)``; *frame* stages map a block of frames, ``(n_rows, width)``, each row by itself;
    *item* stages work on the rows of one item.
    """

    label: ClassVar[str] = ""
    """What it is called in a front end; its class's name, unless it says another."""
    scope: Scope
    undo: Undo = "never"
    """How far ``inverse`` leads back: all the way, up to what was clipped, or it has none."""

    def inverse(self, x: Tensor) -> Tensor:  # noqa: ARG002, the stages that have one use it
        """What went in, given what came out."""
        raise TypeError(f"{type(self).__name__} cannot be undone")

    def clipped(self, x: Tensor) -> Tensor:
        """Which numbers of what came out lie where it clips, so that they may have been others.

        To float32's rounding: what comes after may have been undone.
        """
        return torch.zeros_like(x, dtype=torch.bool)

    def piecewise(self) -> Piecewise:
        """A *sample* stage for a waveform that arrives in pieces.

        What it gives, end to end, is bit for bit what the whole waveform becomes.
        """
        return lambda piece, is_last: self(piece)  # noqa: ARG005, most map each sample by itself


class MeasuredStage(Stage):
    """A stage in two steps: measure the whole item, then map it piece by piece.

    Frames that the front end leaves out of its statistics (``scale.tail_mask``) are not measured.
    """

    block: int
    """The length of the blocks that :meth:`measure` sums over: samples, or rows."""
    leaves_out_tail = False
    """Frames behind the signal (``scale.tail_mask``) are not measured."""

    def measure(self, blocks: Blocks) -> Tensor:
        """The numbers of an item, from all of it: shape ``(n,)`` or ``(n, n_mels)``."""
        raise NotImplementedError

    def forward(self, x: Tensor, measured: Tensor) -> Tensor:
        """Map samples or rows of the item whose numbers are ``measured``."""
        raise NotImplementedError

    def of_whole(self, x: Tensor) -> Tensor:
        """Measure and map an item that is all there."""
        mapped: Tensor = self(x, self.measure(lambda: torch.split(x, self.block)))
        return mapped
