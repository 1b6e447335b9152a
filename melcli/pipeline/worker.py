"""What a worker does with a batch: read its inputs, compute them, look at the numbers."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

import torch
from torch import Tensor

from melcli.audio.shelf import Shelf
from melcli.dsp.rows import Rows
from melcli.errors import AudioError
from melcli.pipeline.ahead import ahead
from melcli.pipeline.clips import Clip, clips_of
from melcli.pipeline.engine import NO_ROOM, NO_ROOM_REMEDY
from melcli.pipeline.long import LongInput
from melcli.pipeline.stopwatch import Stopwatch, Times
from melcli.pipeline.waveforms import WaveformReader, source_of
from melcli.store.records import Done, Failed, Item

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path
    from typing import BinaryIO

    from melcli.config import OutputConfig
    from melcli.pipeline.batching import Batch
    from melcli.pipeline.engine import Engine
    from melcli.pipeline.plan import Plan, PlannedInput
    from melcli.statistics.fitted import Statistics
    from melcli.store.records import Array, Outcome

STEP_BYTES = 4 << 20
"""Rows of a long item that are looked at, or written, at once."""
_TOGETHER_BYTES = 64 << 20
"""Float32 audio, filled to its fixed length, that is computed at once."""
_FLOAT16_ENDS = 65520.0
"""From here on a number is rounded to infinity."""

_Made: TypeAlias = "list[tuple[Item, Rows]]"


class Result(NamedTuple):
    """What became of an input.

    Args:
        planned: The input.
        outcome: Done, or failed.
        rows: For each item its rows, in pieces.
        lows: For each item its least number.
    """

    planned: PlannedInput
    outcome: Outcome
    rows: Sequence[Iterable[Array]]
    lows: Sequence[float] = ()


class Worked(NamedTuple):
    """What came of a batch.

    Args:
        results: What became of each input.
        times: What that took.
        statistics: Of all their rows, if they were asked for instead of the rows.
        beside: Items that cannot be used, of inputs that can.
    """

    results: list[Result]
    times: Times
    statistics: Statistics | None = None
    beside: Sequence[Failed] = ()


class Worker:
    """Reads a batch and computes it. Called from several threads at once.

    Args:
        plan: The inputs.
        engine: What computes.
        out: What the output holds.
        folder: Where the rows of long items may wait.
        reads_ahead: Read the next piece of a long input while the last is computed.
    """

    def __init__(
        self, plan: Plan, engine: Engine, out: OutputConfig, folder: Path, *, reads_ahead: bool
    ) -> None:
        self._plan, self._engine, self._out = plan, engine, out
        self._folder, self._reads_ahead = folder, reads_ahead
        self._shelf = Shelf()
        self._dtype: torch.dtype = getattr(torch, out.dtype)
        self._step = max(1, STEP_BYTES // (4 * math.prod(engine.frontend.row_shape)))

    @property
    def device(self) -> torch.device:
        """Where it computes."""
        return self._engine.device

    def __call__(self, batch: Batch) -> Worked:
        """What became of each input, and what that took."""
        watch = Stopwatch()
        with torch.inference_mode():
            read = [self._read(self._plan[index], watch) for index in batch.indices]
            watch.start()
            clips = [clip for _, found in read if isinstance(found, list) for clip in found]
            rows = self._rows([clip.waveform for clip in clips])
            results = []
            for planned, found in read:
                if isinstance(found, list):
                    results.append(self._result(planned, _made(found, rows)))
                else:
                    results.append(found)
            watch.lap("mel")
        return Worked(results, watch.times)

    def _rows(self, waveforms: list[Tensor]) -> Iterator[Tensor | None]:
        """The rows of each waveform, computed together as far as the memory is meant to go.

        A small file may have a thousand channels, each of which is filled to a fixed length.
        """
        fixed = self._engine.frontend.config.wave.fix_samples
        group: list[Tensor] = []
        n_bytes = 0
        for waveform in waveforms:
            group_bytes = 4 * max(waveform.shape[-1], fixed)
            if group and n_bytes + group_bytes > _TOGETHER_BYTES:
                yield from self._engine.rows(group)
                group, n_bytes = [], 0
            group.append(waveform)
            n_bytes += group_bytes
        if group:
            yield from self._engine.rows(group)

    def _read(
        self, planned: PlannedInput, watch: Stopwatch
    ) -> tuple[PlannedInput, list[Clip] | Result]:
        """The clips of an input; or what became of it, if it failed or is long.

        The books will say of what size and time it was, so it must not change meanwhile. What
        changed since it was planned is read again, once.
        """
        planned, found = self._read_once(planned, watch)
        if (now := planned.looked_at_again()) == planned:
            return planned, found
        planned, found = self._read_once(now, watch)
        if planned.looked_at_again() == planned:
            return planned, found
        # With the size and time it has no more, so that the next run sees that it changed.
        remedy = "the same command reads it again once it is whole"
        return planned, failed(planned, "is being written while it is read", remedy)

    def _read_once(
        self, planned: PlannedInput, watch: Stopwatch
    ) -> tuple[PlannedInput, list[Clip] | Result]:
        watch.start()
        try:
            with source_of(planned) as source:
                return planned, self._open(planned, source, watch)
        except AudioError as error:
            watch.lap("read")  # it may have taken a while to find out
            return planned, failed(planned, error.cause, error.remedy)
        except MemoryError:
            cause = "does not fit into memory"
            return planned, failed(planned, cause, "split it into shorter files")

    def _open(
        self, planned: PlannedInput, source: bytes | BinaryIO, watch: Stopwatch
    ) -> list[Clip] | Result:
        config = self._engine.frontend.config
        with WaveformReader(source, planned, config, watch, self._shelf) as reader:
            waveforms, is_last = reader.read()
            if is_last:
                return clips_of(planned, reader, waveforms, config, self._out.long)
            computing = Stopwatch()
            long = LongInput(planned, source, self._engine, self._out.long, self._folder, computing)
            pieces = _pieces(reader, waveforms, watch)
            made = long.items(reader, ahead(pieces) if self._reads_ahead else pieces)
            computing.start()
            result = self._result(planned, made)
            computing.lap("mel")
            watch.times.add(computing.times)
            return result

    def _result(self, planned: PlannedInput, made: _Made | None) -> Result:
        """The outcome of an input with these items; None if a GPU had no room for one."""
        if made is None:
            return failed(planned, NO_ROOM, NO_ROOM_REMEDY)
        lows = []
        for _, rows in made:
            low, high = ends(rows.blocks(self._step))
            if problem := numeric_problem(low, high, self._out.dtype):
                return failed(planned, *problem)
            lows.append(low)
        items = tuple(item for item, _ in made)
        arrays = [Arrays(rows, self._step, self._dtype) for _, rows in made]
        done = Done(planned.id, planned.size, planned.mtime_ns, items, planned.excerpt)
        return Result(planned, done, arrays, lows)


class Arrays:
    """Rows as a writer takes them: in pieces, each as it is stored."""

    def __init__(self, rows: Rows, step: int, dtype: torch.dtype) -> None:
        self._rows, self._step, self._dtype = rows, step, dtype

    def __iter__(self) -> Iterator[Array]:
        return (step.to(self._dtype).contiguous().numpy() for step in self._rows.blocks(self._step))


def _made(clips: list[Clip], rows: Iterator[Tensor | None]) -> _Made | None:
    """The items of an input; its clips' rows are the next of ``rows``."""
    of_clips = [next(rows) for _ in clips]
    if any(r is None for r in of_clips):
        return None
    return [
        (clip.item, Rows.of(r)) for clip, r in zip(clips, of_clips, strict=True) if r is not None
    ]


def _pieces(
    reader: WaveformReader, first: list[Tensor], watch: Stopwatch
) -> Iterator[tuple[list[Tensor], bool]]:
    """All pieces of an input, of which the first has been read."""
    yield first, False
    is_last = False
    while not is_last:
        watch.start()  # on the clock of this thread, which may be another now
        waveforms, is_last = reader.read()
        yield waveforms, is_last


def failed(planned: PlannedInput, cause: str, remedy: str | None) -> Result:
    """An input that cannot be used."""
    size, mtime_ns = planned.size, planned.mtime_ns
    outcome = Failed(planned.id, size, mtime_ns, cause, remedy, planned.excerpt)
    return Result(planned, outcome, ())


def ends(steps: Iterable[Tensor]) -> tuple[float, float]:
    """The least and the largest number of a mel; NaN if it holds one."""
    least, largest = math.inf, -math.inf
    for step in steps:
        low, high = (float(end) for end in torch.aminmax(step))
        if not (math.isfinite(low) and math.isfinite(high)):
            return math.nan, math.nan
        least, largest = min(least, low), max(largest, high)
    return least, largest


def numeric_problem(
    low: float, high: float, dtype: str, what: str = "mel"
) -> tuple[str, str] | None:
    """What is wrong with the numbers of a mel, given its ends: a cause and a remedy."""
    if math.isnan(low):
        return f"its {what} holds NaN or infinite values", "look at its samples: they are huge"
    largest = max(-low, high)
    if dtype == "float16" and largest >= _FLOAT16_ENDS:
        return f"its {what} reaches {largest:.6g}, float16 ends at 65504", "--dtype float32"
    return None
