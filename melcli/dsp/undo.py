"""What a front end did behind its filterbank, undone: from the rows of an output to linear mels.

The stages of the front end are gone through from the last to the first. What a floor, a range or a
clip changed stays as they left it, and is counted. What cannot be undone is refused by name.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple, cast

import torch
from torch import Tensor, nn

from melcli.dsp.compression import (
    DynamicRange,
    Scaling,
)
from melcli.dsp.frontend import compile_stages
from melcli.dsp.mel import MelBands, PowerMelBands
from melcli.dsp.rows import OverwriteTail, Rows, RowStage
from melcli.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from melcli.config import MelConfig
    from melcli.dsp.stage import Stage
    from melcli.statistics.normalize import Normalization

_BLOCK: Final = 256
"""Rows that are undone at once, always, so that all are rounded alike."""


class Levels(NamedTuple):
    """Linear mels.

    Args:
        mels: ``(n, n_mels)``, float64: what the filterbank gave, or as near as it is known.
        n_clipped: How many numbers of each row had been changed to an end, ``(n,)``.
    """

    mels: Tensor
    n_clipped: Tensor


class MelUndo(nn.Module):
    """Undoes a front end down to what its filterbank gave.

    Args:
        config: The front end.
        scaler: What its rows were normalised by, last of all.

    Attributes:
        losses: What is only known approximately, in words.

    Raises:
        ConfigError: With every stage that cannot be undone.
    """

    def __init__(self, config: MelConfig, scaler: Normalization | None = None) -> None:
        super().__init__()
        self.config = config
        self._refuse_what_is_lost()
        self.scaler = None if scaler is None else Scaling(scaler.shift, scaler.scale)
        behind = list(_behind_the_filterbank(compile_stages(config)))
        self._row_stages = [stage for stage in behind if isinstance(stage, RowStage)]
        # They only choose among rows, and what is left works on each row: so it can come later.
        levels = (s for s in behind if not isinstance(s, RowStage | OverwriteTail))
        self.stages = nn.ModuleList(levels)
        self.losses = list(self._losses())

    def _refuse_what_is_lost(self) -> None:
        scale, out = self.config.scale, self.config.out
        problems = []
        if scale.utt_norm != "none":
            problems.append(
                f"scale.utt_norm = {scale.utt_norm}: each item was normalised by its own "
                "statistics, and they were not kept"
            )
        if out.stack_stride > out.stack:
            problems.append(
                f"out.stack_stride = {out.stack_stride}: of {out.stack_stride} frames "
                f"{out.stack_stride - out.stack} are in no row"
            )
        if out.patch_hop > out.patch_frames > 0:
            problems.append(
                f"out.patch_hop = {out.patch_hop}: of {out.patch_hop} frames "
                f"{out.patch_hop - out.patch_frames} are in no patch"
            )
        if problems:
            raise ConfigError(
                "cannot be undone: " + "; ".join(problems),
                self.config.name or None,
                "extract without it, by --set, and invert that",
            )

    def _losses(self) -> Iterator[str]:
        log, scale = self.config.log, self.config.scale
        if log.range_ref == "item_max" and log.range_subtract:
            yield (
                "log.range_subtract: the level of each item is lost; its loudest number is taken "
                "to have been 0"
            )
        if scale.tail_mask != "none":
            yield "scale.tail_mask: frames behind the signal hold a constant, and no mel"

    def n_frames(self, n_rows: int, expected: int | None = None) -> int:
        """How many frames of an item can be had back.

        Args:
            n_rows: Of the item.
            expected: How many frames its length makes it expect; left out of account if they would
                not give ``n_rows``.
        """
        counts = [] if expected is None else self._counts(expected)
        if not counts or counts[-1] != n_rows:
            for stage in reversed(self._row_stages):
                n_rows = stage.n_undone(n_rows)
            return n_rows
        for stage, before in zip(reversed(self._row_stages), counts[-2::-1], strict=True):
            n_rows = min(before, stage.n_undone(n_rows))
        return n_rows

    def _counts(self, n_frames: int) -> list[int]:
        """How many rows there are before, between and behind the stages that change that."""
        counts = [n_frames]
        for stage in self._row_stages:
            counts.append(stage.n_rows(counts[-1]))
        return counts

    def is_cut(self, expected: int | None) -> bool:
        """Whether frames of an item with as many as ``expected`` are lost."""
        if expected is None:
            return False
        return self.n_frames(self._counts(expected)[-1], expected) < expected

    def frames(self, rows: Rows, n_frames: int) -> Rows:
        """The frames of an item, ``(n_frames, n_mels)``, given its rows: stacks, patches, fill."""
        if self.scaler is not None:
            rows = rows.mapped(self.scaler.inverse)
        counts = [rows.n_rows]
        for stage in reversed(self._row_stages):
            counts.append(stage.n_undone(counts[-1]))
        for stage, n_rows in zip(reversed(self._row_stages), counts[1:], strict=True):
            rows = stage.undone(rows, n_rows)
        return Rows(min(n_frames, rows.n_rows), rows.read)

    def measure(self, blocks: Iterable[Tensor]) -> float | None:
        """The maximum that an item's range hangs from; None if it has no such range.

        Args:
            blocks: Its frames, ``(n, n_mels)`` each.
        """
        hangs = next((s for s in self.stages if isinstance(s, DynamicRange)), None)
        if hangs is None:
            return None
        if hangs.subtract:
            return 0.0
        return max(float(self._back_to(hangs, block.double()).max()) for block in blocks)

    def _back_to(self, stage: nn.Module, x: Tensor) -> Tensor:
        """What came out of a stage."""
        for after in self._backwards():
            if after is stage:
                break
            x = _undone(after, x)
        return x

    def _backwards(self) -> list[Stage]:
        return cast("list[Stage]", list(self.stages)[::-1])

    def forward(self, frames: Tensor, top: float | None = None) -> Levels:
        """Linear mels of frames.

        Args:
            frames: ``(n, n_mels)``, as :meth:`frames` gives them.
            top: What :meth:`measure` gave for their item.
        """
        n_rows = frames.shape[0]
        if n_rows == 0:
            return Levels(frames.double(), frames.new_empty(0, dtype=torch.int64))
        found = []
        for block in torch.split(frames, _BLOCK):
            x = nn.functional.pad(block.double(), (0, 0, 0, _BLOCK - block.shape[0]))
            clipped = torch.zeros_like(x, dtype=torch.bool)
            for stage in self._backwards():
                if isinstance(stage, DynamicRange):
                    clipped |= stage.clipped_of(x, 0.0 if top is None else top)
                else:
                    clipped |= stage.clipped(x)
                x = _undone(stage, x)
            found.append(Levels(x, clipped.sum(dim=1)))
        return Levels(*(torch.cat(parts)[:n_rows] for parts in zip(*found, strict=True)))


def _undone(stage: Stage, x: Tensor) -> Tensor:
    # A maximum that was taken away is taken to have been 0.
    return x if stage.undo == "never" else stage.inverse(x)


def _behind_the_filterbank(stages: Iterable[Stage]) -> Iterator[Stage]:
    is_behind = False
    for stage in stages:
        if is_behind:
            yield stage
        is_behind = is_behind or isinstance(stage, MelBands | PowerMelBands)
