"""What every step of a front end says of itself."""

from __future__ import annotations

from typing import Literal

from torch import Tensor, nn

Scope = Literal["sample", "frame", "item"]
Undo = Literal["exact", "clipped", "never"]


class Stage(nn.Module):
    """One step of a front end: a pure function of tensors, its constants held as buffers.

    A front end is a list of stages in three runs: *sample* stages map a waveform
    ``(n_samples,)``; *frame* stages map a block of frames, ``(n_rows, width)``, each row by itself;
    *item* stages need a number from all rows of an item before they can map any row of it.
    """

    scope: Scope
    undo: Undo = "never"
    """How far ``inverse`` leads back: all the way, up to what was clipped, or it has none."""

    def inverse(self, x: Tensor) -> Tensor:  # noqa: ARG002, the stages that have one use it
        """What went in, given what came out."""
        raise TypeError(f"{type(self).__name__} cannot be undone")


class ItemStage(Stage):
    """A stage in two steps: measure the whole item, then map its rows one block at a time.

    Frames that the front end leaves out of its statistics (``scale.tail_mask``) are not measured.
    """

    scope = "item"

    def measure(self, rows: Tensor) -> Tensor:
        """The numbers of an item, from all its rows ``(n_rows, n_mels)``: shape ``(n,)``."""
        raise NotImplementedError

    def forward(self, rows: Tensor, measured: Tensor) -> Tensor:
        """Map rows ``(..., n_mels)`` of the item whose numbers are ``measured``."""
        raise NotImplementedError
