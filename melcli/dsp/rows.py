"""The rows of an item, in memory or not, and the stages over them: lengths, stacks, patches."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeAlias

import torch
from torch import Tensor

from melcli.dsp.stage import Stage

if TYPE_CHECKING:
    from collections.abc import Iterator

    from melcli.config.fields import MultipleRule, StackPadding

ReadRows: TypeAlias = Callable[[int, int], Tensor]
"""Gives rows ``start`` to ``stop`` of an item."""


class Rows:
    """The rows of one item, which need not all be in memory.

    Args:
        n_rows: How many there are.
        read: Gives any stretch of them.
    """

    def __init__(self, n_rows: int, read: ReadRows) -> None:
        self.n_rows = n_rows
        self.read = read

    @classmethod
    def of(cls, rows: Tensor) -> Rows:
        """Rows that are in memory."""
        return cls(rows.shape[0], lambda start, stop: rows[start:stop])

    def all(self) -> Tensor:
        """Every row."""
        return self.read(0, self.n_rows)

    def blocks(self, size: int, n_rows: int | None = None) -> Iterator[Tensor]:
        """The rows, or the first ``n_rows``, in stretches of ``size``."""
        n_rows = self.n_rows if n_rows is None else n_rows
        if torch.compiler.is_compiling():  # how many there are may be left open
            return iter([self.read(0, n_rows)])
        return (self.read(at, min(at + size, n_rows)) for at in range(0, n_rows, size))

    def mapped(self, function: Callable[[Tensor], Tensor]) -> Rows:
        """The same with a function applied to each row."""
        return Rows(self.n_rows, lambda start, stop: function(self.read(start, stop)))


class RowStage(Stage):
    """A stage after which there are other rows, or other numbers of them."""

    scope = "item"

    def n_rows(self, n_rows: int) -> int:
        """How many rows come of ``n_rows``."""
        raise NotImplementedError

    def take(self, rows: Rows, start: int, stop: int) -> Tensor:
        """Rows ``start`` to ``stop`` of what comes of ``rows``."""
        raise NotImplementedError

    def of(self, rows: Rows) -> Rows:
        """What comes of ``rows``, without reading any yet."""
        return Rows(self.n_rows(rows.n_rows), lambda start, stop: self.take(rows, start, stop))

    def forward(self, rows: Tensor) -> Tensor:
        """Map ``(n, width)``: the whole item at once."""
        return self.of(Rows.of(rows)).all()

    def n_undone(self, n_rows: int) -> int:
        """How many rows, at most, ``n_rows`` of what came of them still hold."""
        return n_rows

    def undone(self, rows: Rows, n_rows: int) -> Rows:
        """The first ``n_rows`` of what went in, given what came of it."""
        return Rows(min(n_rows, rows.n_rows), rows.read)


class FixFrames(RowStage):
    """Cut an item, or fill it with one value, to a fixed number of frames."""

    def __init__(self, n_frames: int, value: float) -> None:
        super().__init__()
        self.n_frames = n_frames
        self.value = value

    def n_rows(self, n_rows: int) -> int:  # noqa: ARG002, the same for all
        """The fixed number."""
        return self.n_frames

    def take(self, rows: Rows, start: int, stop: int) -> Tensor:
        """Rows as they are, and fill behind them."""
        return _filled(rows, start, stop, self.value)


class FramesMultiple(RowStage):
    """Make the frames a multiple: with frames of zeros behind, or by dropping the last."""

    def __init__(self, multiple: int, rule: MultipleRule) -> None:
        super().__init__()
        self.multiple = multiple
        self.rule = rule

    def n_rows(self, n_rows: int) -> int:
        """The next, or last, multiple."""
        beyond = n_rows % self.multiple
        return n_rows - beyond if self.rule == "drop" else n_rows + -n_rows % self.multiple

    def take(self, rows: Rows, start: int, stop: int) -> Tensor:
        """Rows as they are, and zeros behind them."""
        return _filled(rows, start, stop, 0.0)


class StackFrames(RowStage):
    """Join neighbouring frames into one long row.

    With ``lfr`` padding, FunASR's low frame rate, the first frame is repeated ``(stack - 1) // 2``
    times before the item and the last as often as the last row needs.
    """

    def __init__(self, stack: int, stride: int, padding: StackPadding) -> None:
        super().__init__()
        self.stack, self.stride = stack, stride
        self.padding = padding
        self.before = (stack - 1) // 2 if padding == "lfr" else 0

    def n_rows(self, n_rows: int) -> int:
        """How many stacks."""
        if self.padding == "lfr":
            return -(-n_rows // self.stride)
        return max(0, (n_rows - self.stack) // self.stride + 1)

    def take(self, rows: Rows, start: int, stop: int) -> Tensor:
        """Map ``(n, width)`` to ``(n_stacks, stack * width)``."""
        first = start * self.stride - self.before
        end = (stop - 1) * self.stride - self.before + self.stack
        held = rows.read(min(max(first, 0), rows.n_rows - 1), min(max(end, 1), rows.n_rows))
        before, behind = max(0, -first), max(0, end - rows.n_rows)
        if before or behind:
            held = torch.cat([held[:1].expand(before, -1), held, held[-1:].expand(behind, -1)])
        stacks = held.unfold(0, self.stack, self.stride)  # (n_stacks, width, stack)
        return stacks.transpose(1, 2).flatten(1)

    def n_undone(self, n_rows: int) -> int:
        """Frames up to the end of the last stack, but for those that are sure to be repeats."""
        last = (n_rows - 1) * self.stride - self.before + self.stack if n_rows else 0
        return max(0, min(last, n_rows * self.stride) if self.padding == "lfr" else last)

    def undone(self, rows: Rows, n_rows: int) -> Rows:
        """Each frame from the last stack that begins with it or before."""
        frames = rows.mapped(lambda stacks: stacks.reshape(len(stacks), self.stack, -1))
        n_rows = min(n_rows, self.n_undone(rows.n_rows))
        return _unjoined(frames, n_rows, self.stride, self.before)


class Patches(RowStage):
    """Cut an item into patches of frames; what fills none at the end is dropped."""

    def __init__(self, n_frames: int, hop: int) -> None:
        super().__init__()
        self.n_frames, self.hop = n_frames, hop

    def n_rows(self, n_rows: int) -> int:
        """How many patches."""
        return max(0, (n_rows - self.n_frames) // self.hop + 1)

    def take(self, rows: Rows, start: int, stop: int) -> Tensor:
        """Map ``(n, width)`` to ``(n_patches, n_frames, width)``."""
        held = rows.read(start * self.hop, (stop - 1) * self.hop + self.n_frames)
        return held.unfold(0, self.n_frames, self.hop).transpose(1, 2).contiguous()

    def n_undone(self, n_rows: int) -> int:
        """Frames up to the end of the last patch."""
        return (n_rows - 1) * self.hop + self.n_frames if n_rows else 0

    def undone(self, rows: Rows, n_rows: int) -> Rows:
        """Each frame from the last patch that begins with it or before."""
        n_rows = min(n_rows, self.n_undone(rows.n_rows))
        return _unjoined(rows, n_rows, self.hop, 0)


class OverwriteTail(Stage):
    """Overwrite the frames at the end that are not of the signal."""

    scope = "item"

    def __init__(self, value: float) -> None:
        super().__init__()
        self.value = value

    def of(self, rows: Rows, n_valid: int) -> Rows:
        """Rows from ``n_valid`` on become ``value``."""
        kept = Rows(n_valid, rows.read)
        return Rows(rows.n_rows, lambda start, stop: _filled(kept, start, stop, self.value))


def _unjoined(rows: Rows, n_frames: int, stride: int, before: int) -> Rows:
    """Frames, given rows ``(n, size, width)`` of some of them each, ``stride`` apart.

    Frame ``f`` is the one at ``f + before - stride * row`` of the last row that begins by then.
    """

    def read(start: int, stop: int) -> Tensor:
        places = torch.arange(start, stop) + before
        row = (places // stride).clamp(max=rows.n_rows - 1)
        first, last = int(row[0]), int(row[-1]) + 1
        held = rows.read(first, last)
        within = (places - row * stride).to(held.device)
        return held[(row - first).to(held.device), within]

    return Rows(n_frames, read)


def _filled(rows: Rows, start: int, stop: int, value: float) -> Tensor:
    """Rows ``start`` to ``stop``, where those that do not exist are full of ``value``."""
    held = rows.read(min(start, rows.n_rows), min(stop, rows.n_rows))
    missing = (stop - start) - held.shape[0]
    if missing <= 0:
        return held
    return torch.cat([held, held.new_full((missing, *held.shape[1:]), value)])
