"""Rows of an item as the columns of a picture: each frame at its time, or many in one column.

Everything goes by in blocks, so an item of any length takes no more memory than a short one.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from melcli import frames
from melcli.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from melcli.config import MelConfig
    from melcli.store.records import Array

Floats = npt.NDArray[np.float32]

MOST_COLUMNS: Final = 4000
"""Several for each dot of a picture: more would not be seen."""
_BLOCK: Final = 4096
"""Frames, or a few more: a whole number of columns."""


class Grid(NamedTuple):
    """When the frames of an item are.

    Args:
        first: The centre of the first, in seconds from the start of the recording.
        period: From one to the next, in seconds.
        n_frames: How many there are.
    """

    first: float
    period: float
    n_frames: int

    @property
    def start(self) -> float:
        """Where the first begins: frames are drawn as wide as they are apart."""
        return self.first - self.period / 2

    def edge(self, frame: int) -> float:
        """Where a frame begins to be drawn."""
        return self.start + frame * self.period

    def within(self, start: float | None, end: float | None) -> tuple[int, int]:
        """The first frame whose centre lies in a stretch of time, and the first behind it.

        >>> Grid(0.0, 0.25, 9).within(0.5, 1.0)
        (2, 4)

        Raises:
            UsageError: There is none.
        """
        begin = 0 if start is None else self._frame_at(start)
        stop = self.n_frames if end is None else self._frame_at(end)
        if begin >= stop:
            last = self.edge(self.n_frames)
            raise UsageError(
                f"no frame lies from {start or 0:g} s to {last if end is None else end:g} s",
                None,
                f"choose --start and --end between 0 and {last:.2f}",
            )
        return begin, stop

    def _frame_at(self, seconds: float) -> int:
        # 0.5 s is a time that a person chose, and not 0.5000000001.
        frame = math.ceil(round((seconds - self.first) / self.period, 6))
        return min(max(0, frame), self.n_frames)


def mel_grid(config: MelConfig, n_rows: int, n_samples: int | None) -> Grid:
    """When the frames of a mel are, that are in its rows.

    Args:
        config: The front end.
        n_rows: Rows of the item.
        n_samples: That it was made from, at the front end's rate; None if that is not known.
    """
    out, n_frames = config.out, n_rows
    if out.patch_frames:
        n_frames = (n_frames - 1) * out.patch_hop + out.patch_frames
    stride = 1
    if out.stack > 1:
        ends = (n_frames - 1) * out.stack_stride + out.stack - _before(config)
        n_frames = min(ends, n_frames * out.stack_stride) if out.stack_pad == "lfr" else ends
    else:
        stride = out.stack_stride
    return _grid(config, n_frames, n_samples, stride)


def spectrum_grid(config: MelConfig, n_rows: int, n_samples: int | None) -> Grid:
    """The same of what was computed back from a mel: a row is a frame."""
    return _grid(config, n_rows, n_samples, 1)


def _grid(config: MelConfig, n_frames: int, n_samples: int | None, stride: int) -> Grid:
    hop, rate = config.frame.hop_length, config.wave.sample_rate
    n_framed = n_frames * hop if n_samples is None else frames.fixed_length(config, n_samples)
    # The window lies in the middle of what a frame is cut at.
    centre = config.span // 2 - frames.framing(config, n_framed).left - config.wave.wave_pad[0]
    if config.wave.preemph and config.wave.preemph_scope == "wave_drop_first":
        centre += 1
    return Grid(centre / rate, stride * hop / rate, n_frames)


def mel_frames(config: MelConfig, rows: Iterable[Array]) -> Iterator[Floats]:
    """The frames that the rows of a mel hold, in order, each once, ``(n, n_mels)``.

    Of patches and stacks that overlap, a frame is taken from the last that begins with it or
    before. Frames that lie between two, and in none, are NaN.

    Args:
        config: The front end.
        rows: All of an item, in blocks.
    """
    out = config.out
    found: Iterator[Floats] = (np.asarray(block, np.float32) for block in rows)
    if out.patch_frames:
        found = _unjoined(found, out.patch_hop)
    if out.stack > 1:
        stacks = (block.reshape(len(block), out.stack, config.mel.n_mels) for block in found)
        found = _without(_unjoined(stacks, out.stack_stride), _before(config))
    return found


def _before(config: MelConfig) -> int:
    """Frames that are repeated before the first."""
    return (config.out.stack - 1) // 2 if config.out.stack_pad == "lfr" else 0


def _unjoined(blocks: Iterable[Floats], stride: int) -> Iterator[Floats]:
    """Frames of rows ``(n, size, width)``: of each those before the next, ``stride`` later."""
    held: Floats | None = None
    for block in blocks:
        if not len(block):
            continue
        joined = block if held is None else np.concatenate([held, block])
        size, held = joined.shape[1], joined[-1:]
        own = joined[:-1, :stride]
        if stride > size:
            own = np.pad(own, ((0, 0), (0, stride - size), (0, 0)), constant_values=np.nan)
        yield own.reshape(-1, joined.shape[2])
    if held is not None:
        yield held[0]


def _without(blocks: Iterable[Floats], n: int) -> Iterator[Floats]:
    """Leave out the first ``n`` frames."""
    for block in blocks:
        yield block[n:]
        n = max(0, n - len(block))


def recut(blocks: Iterable[Floats], start: int, stop: int, size: int) -> Iterator[Floats]:
    """Frames ``start`` to ``stop``, in blocks of ``size``, the last one shorter.

    >>> [block.ravel().tolist() for block in recut(iter(np.arange(9.0).reshape(3, 3, 1)), 1, 6, 4)]
    [[1.0, 2.0, 3.0, 4.0], [5.0]]
    """
    held: list[Floats] = []
    n_held, at = 0, 0
    for block in blocks:
        part = block[max(0, start - at) : max(0, stop - at)]
        at += len(block)
        while len(part):
            taken = part[: size - n_held]
            held.append(taken)
            n_held, part = n_held + len(taken), part[len(taken) :]
            if n_held == size:
                yield np.concatenate(held)
                held, n_held = [], 0
        if at >= stop:
            break
    if held:
        yield np.concatenate(held)


def frames_a_column(n_frames: int) -> int:
    """How many frames a column is the mean of.

    >>> frames_a_column(4000), frames_a_column(4001)
    (1, 2)
    """
    return -(-n_frames // MOST_COLUMNS)


def block_size(n_frames: int) -> int:
    """Frames in a block, a whole number of columns."""
    group = frames_a_column(n_frames)
    return -(-_BLOCK // group) * group


def means(block: Floats, group: int) -> Floats:
    """The mean of each ``group`` frames, of those that are there; the last group may be shorter.

    >>> means(np.array([[1.0], [3.0], [5.0]], np.float32), 2).ravel().tolist()
    [2.0, 5.0]
    """
    if group == 1:
        return block
    starts = np.arange(0, len(block), group)
    is_there = ~np.isnan(block)
    sums = np.add.reduceat(np.where(is_there, block, 0.0).astype(np.float64), starts)
    counts = np.add.reduceat(is_there.astype(np.int64), starts)
    found: Floats = np.divide(
        sums, counts, out=np.full(sums.shape, np.nan), where=counts > 0
    ).astype(np.float32)
    return found
