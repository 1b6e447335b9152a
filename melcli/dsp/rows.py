"""Stages over the finished rows of an item: lengths, stacks, patches."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from melcli.dsp.stage import Stage

if TYPE_CHECKING:
    from melcli.config.fields import MultipleRule, StackPadding


class FixFrames(Stage):
    """Cut an item, or fill it with one value, to a fixed number of frames."""

    scope = "item"

    def __init__(self, n_frames: int, value: float) -> None:
        super().__init__()
        self.n_frames = n_frames
        self.value = value

    def forward(self, rows: Tensor) -> Tensor:
        """Map ``(n, width)`` to ``(n_frames, width)``."""
        return _filled(rows[: self.n_frames], self.n_frames, self.value)


class FramesMultiple(Stage):
    """Make the frames a multiple: with frames of zeros behind, or by dropping the last."""

    scope = "item"

    def __init__(self, multiple: int, rule: MultipleRule) -> None:
        super().__init__()
        self.multiple = multiple
        self.rule = rule

    def forward(self, rows: Tensor) -> Tensor:
        """Map ``(n, width)`` to the next, or last, multiple."""
        beyond = rows.shape[0] % self.multiple
        if self.rule == "drop":
            return rows[: rows.shape[0] - beyond]
        return _filled(rows, rows.shape[0] + -rows.shape[0] % self.multiple, 0.0)


class StackFrames(Stage):
    """Join neighbouring frames into one long row.

    With ``lfr`` padding, FunASR's low frame rate, the first frame is repeated ``(stack - 1) // 2``
    times before the item and the last as often as the last row needs.
    """

    scope = "item"

    def __init__(self, stack: int, stride: int, padding: StackPadding) -> None:
        super().__init__()
        self.stack, self.stride, self.padding = stack, stride, padding

    def forward(self, rows: Tensor) -> Tensor:
        """Map ``(n, width)`` to ``(n_stacks, stack * width)``."""
        if self.padding == "lfr":
            n_stacks = -(-rows.shape[0] // self.stride)
            before = (self.stack - 1) // 2
            behind = (n_stacks - 1) * self.stride + self.stack - before - rows.shape[0]
            first, last = rows[:1].expand(before, -1), rows[-1:].expand(max(0, behind), -1)
            rows = torch.cat([first, rows, last])
        stacks = rows.unfold(0, self.stack, self.stride)  # (n_stacks, width, stack)
        return stacks.transpose(1, 2).flatten(1)


class Patches(Stage):
    """Cut an item into patches of frames; what fills none at the end is dropped."""

    scope = "item"

    def __init__(self, n_frames: int, hop: int) -> None:
        super().__init__()
        self.n_frames, self.hop = n_frames, hop

    def forward(self, rows: Tensor) -> Tensor:
        """Map ``(n, width)`` to ``(n_patches, n_frames, width)``."""
        return rows.unfold(0, self.n_frames, self.hop).transpose(1, 2).contiguous()


class OverwriteTail(Stage):
    """Overwrite the frames at the end that are not of the signal."""

    scope = "item"

    def __init__(self, value: float) -> None:
        super().__init__()
        self.value = value

    def forward(self, rows: Tensor, n_valid: int) -> Tensor:
        """Rows from ``n_valid`` on become ``value``."""
        return _filled(rows[:n_valid], rows.shape[0], self.value)


def _filled(rows: Tensor, n_rows: int, value: float) -> Tensor:
    missing = n_rows - rows.shape[0]
    if missing <= 0:
        return rows
    return torch.cat([rows, rows.new_full((missing, *rows.shape[1:]), value)])
