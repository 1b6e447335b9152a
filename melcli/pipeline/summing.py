"""What a worker does with a batch whose rows are wanted for their statistics only."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import torch

from melcli.errors import StoreError
from melcli.pipeline.batching import Batch
from melcli.pipeline.stopwatch import Stopwatch
from melcli.pipeline.stretches import Group
from melcli.pipeline.worker import Result, Worked
from melcli.statistics.tally import Tally
from melcli.store.records import Done, Failed, Item

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from melcli.config import MelConfig
    from melcli.pipeline.plan import Plan
    from melcli.pipeline.stretches import Single, Stretches
    from melcli.pipeline.worker import Worker
    from melcli.statistics.fitted import Weight
    from melcli.statistics.moments import Rows

_NOT_FINITE = "its rows hold NaN or infinite numbers"
_REMEDY = "melcli verify names every fault of the output; extract --overwrite makes it anew"


class SummingWorker:
    """Reads a batch, computes it, and gives the statistics of its rows instead of the rows.

    Args:
        plan: The inputs: audio, and behind it stretches of outputs.
        worker: Computes the rows of audio; None if there is none.
        stretches: Rows that were computed before.
        config: The front end of all of them.
        weight: What weighs the same.
        with_counts: Count values too.
    """

    def __init__(
        self,
        plan: Plan,
        worker: Worker | None,
        stretches: Stretches | None,
        config: MelConfig,
        *,
        weight: Weight,
        with_counts: bool,
    ) -> None:
        self._plan, self._worker, self._stretches = plan, worker, stretches
        self._n_bins, self._weight = config.row_shape[-1], weight
        self._with_counts = with_counts
        self._row_seconds = row_seconds(config)
        self._n_audio = len(plan) - (0 if stretches is None else len(stretches))

    @property
    def device(self) -> torch.device:
        """Where it computes."""
        return torch.device("cpu") if self._worker is None else self._worker.device

    def __call__(self, batch: Batch) -> Worked:
        """What became of each input, and the statistics of all rows together."""
        tally = Tally(self._n_bins, self._weight, with_counts=self._with_counts)
        audio = tuple(index for index in batch.indices if index < self._n_audio)
        results, watch, beside = [], Stopwatch(), list[Failed]()
        if audio and self._worker is not None:
            worked = self._worker(Batch(audio, batch.n_bytes, batch.ends_segment))
            watch.times.add(worked.times)
            watch.start()
            for planned, outcome, rows, lows in worked.results:
                for pieces, low in zip(rows, lows, strict=True):
                    tally.add(map(_binned, pieces), low)
                results.append(Result(planned, outcome, ()))
            watch.lap("mel")
        for index in batch.indices:
            if index >= self._n_audio:
                results.append(self._stretch(index, tally, beside))
                watch.lap("read")
        return Worked(results, watch.times, tally.taken(), beside)

    def _stretch(self, index: int, tally: Tally, beside: list[Failed]) -> Result:
        """Add the items of a stretch, but for those that are damaged."""
        stretches, planned = self._stretches, self._plan[index]
        if stretches is None:
            raise ValueError(f"input {index} is no stretch of an output")
        n, n_rows = index - self._n_audio, 0
        for found in stretches.items(n):
            for position, count, cause in _added(found, tally):
                if not cause:
                    n_rows += count
                    continue
                name = f"{planned.id}/{stretches.item_id(n, position)}"
                beside.append(Failed(name, None, None, cause, _REMEDY))
        seconds = round(n_rows * self._row_seconds)
        whole = Item(planned.id, n_rows, seconds, 1, 1, -1, ())
        return Result(planned, Done(planned.id, planned.size, planned.mtime_ns, (whole,)), ())


def _binned(rows: Rows) -> Rows:
    """Rows of bins: of a patch, each of its frames."""
    return rows.reshape(-1, rows.shape[-1])


_Added: TypeAlias = "tuple[int, int, str]"
"""The position of an item, how many rows were added, and why it was not, if it was not."""


def _added(found: Group | Single, tally: Tally) -> Iterator[_Added]:
    """Add items, but for those that are damaged."""
    if isinstance(found, Group):
        yield from _added_group(found, tally)
    else:
        yield _added_single(found, tally)


def _added_group(group: Group, tally: Tally) -> Iterator[_Added]:
    first, n_rows, rows = group
    starts = np.cumsum(n_rows) - n_rows
    # Over numbers that lie in a line this takes a tenth of the time that it takes over rows.
    places = starts * math.prod(rows.shape[1:])
    lows = np.minimum.reduceat(rows.reshape(-1), places)
    highs = np.maximum.reduceat(rows.reshape(-1), places)
    is_good = np.isfinite(lows) & np.isfinite(highs)
    if is_good.all():
        frames = math.prod(rows.shape[1:-1])  # of a patch
        tally.add_items(_binned(rows), n_rows * frames, lows)
        yield first, len(rows), ""
        return
    for n, (start, count) in enumerate(zip(starts.tolist(), n_rows.tolist(), strict=True)):
        if is_good[n]:
            tally.add([_binned(rows[start : start + count])], float(lows[n]))
        yield first + n, count, "" if is_good[n] else _NOT_FINITE


def _added_single(single: Single, tally: Tally) -> _Added:
    position, n_rows, blocks = single
    try:
        low = _least(blocks())
        if math.isnan(low):
            return position, 0, _NOT_FINITE
        tally.add(map(_binned, blocks()), low)
    except StoreError as error:
        return position, 0, error.cause
    return position, n_rows, ""


def row_seconds(config: MelConfig) -> float:
    """How much time a row stands for: from its start to that of the next."""
    out, hop = config.out, config.frame.hop_length / config.wave.sample_rate
    return hop * (out.stack_stride or 1) * (out.patch_hop if out.patch_frames else 1)


def _least(blocks: Iterable[Rows]) -> float:
    """The least number of an item; NaN if one of them is not finite."""
    least = math.inf
    for rows in blocks:
        low, high = float(rows.min()), float(rows.max())
        if not (math.isfinite(low) and math.isfinite(high)):
            return math.nan
        least = min(least, low)
    return least
