"""Is an output still what its audio gives? A sample of inputs is computed again and compared."""

from __future__ import annotations

import tempfile
from dataclasses import fields, replace
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from melcli.config import MelConfig, OutputConfig, Scale
from melcli.config.run import available_cores
from melcli.dsp.frontend import FrontEnd
from melcli.pipeline.batching import Batch
from melcli.pipeline.device import choose_device, machine_record, set_for_a_run
from melcli.pipeline.engine import Engine
from melcli.pipeline.report import plural
from melcli.pipeline.rescale import UNDONE
from melcli.pipeline.sample import Sample, inputs_of, source_of
from melcli.pipeline.tolerance import Tolerance, other_bits
from melcli.pipeline.worker import Worker
from melcli.store.compare import check_holds_mels
from melcli.store.records import Done, Failed, Fault, Item

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence

    from melcli.config.run import DType, LongRule
    from melcli.statistics.normalize import Normalization
    from melcli.store.protocols import Reader
    from melcli.store.records import Array

SAMPLE: Final = "1%"
_LONG_RULES: Mapping[str, LongRule] = {"cut": "cut", "chunks": "chunks"}
_FACTS: Final = [f.name for f in fields(Item) if f.name not in {"id", "crc32"}]
"""What an output says of an item beside its id and its rows; no checksum protects it."""


class Recomputation:
    """A sample of the inputs of an output, to be computed again and compared, one at a time.

    On the machine that the output was made on, by its record, all bytes have to be the same;
    elsewhere numbers may lie as far apart as a `Tolerance` says. A source that is gone, or was
    changed since, says nothing of the output: it is counted and left out. So is what cannot be
    read any more.

    Args:
        reader: The output. Its config is known to be the one it was made with.
        audio_root: The folder that its ids count from.
        sample: How many inputs: a number (``"20"``), or a share (``"1%"``).
        device: Where to compute; ``auto`` is the CPU if the output was made on one.

    Attributes:
        failed: Inputs that cannot be read now.
        machine_differences: For each part of the machine record that differs, what it is in the
            output, and what it is here.

    Raises:
        UsageError: The sample is neither a number nor a share.
        NoInputError: No source of the sample is there as it was.
        DeviceError: There is no such device.
        StoreError: It holds no mels.
    """

    def __init__(
        self,
        reader: Reader,
        audio_root: str | os.PathLike[str],
        *,
        sample: str = SAMPLE,
        device: str = "auto",
    ) -> None:
        check_holds_mels(reader)
        self._reader, header = reader, reader.header
        made_on_cpu = header.machine.get("device") == "cpu"
        self._device = choose_device("cpu" if device == "auto" and made_on_cpu else device)
        there, here = header.machine, machine_record(self._device)
        self.machine_differences = {
            key: (there.get(key, "unknown"), here.get(key, "unknown"))
            for key in sorted(there.keys() | here.keys())
            if there.get(key) != here.get(key)
        }
        self._config = MelConfig.from_toml(header.config)
        self._is_undone = UNDONE in header.settings
        self.tolerance: Tolerance | None = None
        if self.machine_differences or self._is_undone:
            rule = Tolerance.of(self._config)
            self.tolerance = rule.after_undoing() if self._is_undone else rule
        self.sample = Sample.of(reader, audio_root, sample)
        self.failed: list[Failed] = []
        self.n_compared = self.n_differing = 0
        self.largest_difference = 0.0

    @property
    def n_to_compute(self) -> int:
        """How many inputs of the sample are there as they were."""
        return len(self.sample.plan)

    def faults(
        self, known: Collection[str] = (), advanced: Callable[[int], None] | None = None
    ) -> Iterator[Fault]:
        """Compute, and stream what is not the same.

        Args:
            known: Ids of items whose rows are damaged: they are not looked at again.
            advanced: Told of inputs that are done, one at a time.
        """
        yield from self.sample.strangers
        with set_for_a_run():
            compute, compute_levels = self._workers()
            for index, position, stored in self._wanted():
                batch = Batch((index,), 0, ends_segment=True)
                [(_, fresh, rows, _)] = compute(batch).results
                levels: Sequence[Iterable[Array]] = rows
                if compute_levels and isinstance(fresh, Done):  # whose items are the same
                    [(_, fresh, levels, _)] = compute_levels(batch).results
                # Read again if it changed just now; then it says nothing, as if changed before.
                if (fresh.source_size, fresh.source_mtime_ns) != source_of(stored):
                    self.sample.leave_out(stored.id, "changed")
                elif isinstance(fresh, Failed):
                    self.failed.append(fresh)
                else:
                    found = list(self._differences(position, stored, fresh, rows, levels, known))
                    self.n_compared += 1
                    self.n_differing += bool(found)
                    yield from found
                if advanced is not None:
                    advanced(1)

    def _workers(self) -> tuple[Worker, Worker | None]:
        """What computes the rows, and what the levels of their bins, where those are others.

        A log mel is a level until it is scaled, by its mean and deviation for one. No number that
        a scaler made is one.
        """
        header = self._reader.header
        long = _LONG_RULES.get(header.settings.get("long", ""), "error")
        dtype: DType = "float16" if header.dtype == "float16" else "float32"
        out = OutputConfig(dtype=dtype, long=long)
        worker = self._worker(self._config, out, header.scaler)
        plain = self._config
        if self.tolerance is not None and self.tolerance.depth is not None:
            plain = replace(plain, scale=Scale())
        is_plain = plain == self._config and header.scaler is None
        if self.tolerance is None or is_plain:
            return worker, None
        return worker, self._worker(plain, OutputConfig(long=long))

    def _worker(
        self, config: MelConfig, out: OutputConfig, scaler: Normalization | None = None
    ) -> Worker:
        engine = Engine(FrontEnd(config, scaler).to(self._device))
        folder = Path(tempfile.gettempdir())
        return Worker(self.sample.plan, engine, out, folder, reads_ahead=available_cores() > 1)

    def _wanted(self) -> Iterator[tuple[int, int, Done]]:
        """Each input of the plan: its place there, the position of its first item, what it is."""
        wanted = enumerate(self.sample.positions)
        index, first = next(wanted, (-1, -1))
        for position, done in inputs_of(self._reader):
            if position == first:
                yield index, position, done
                index, first = next(wanted, (-1, -1))

    def _differences(
        self,
        position: int,
        stored: Done,
        fresh: Done,
        rows: Sequence[Iterable[Array]],
        levels: Sequence[Iterable[Array]],
        known: Collection[str],
    ) -> Iterator[Fault]:
        was, now = [item.id for item in stored.items], [item.id for item in fresh.items]
        if was != now:
            pairs = zip_longest(was, now)
            first = next(a or b for a, b in pairs if a != b)
            cause = f"is {plural(len(was), 'item')}, and {len(now):,} when it is computed again"
            yield Fault(stored.id, f"{cause}: {first} is the first that differs")
            return
        for n, (item, again) in enumerate(zip(stored.items, fresh.items, strict=True)):
            if item.id in known:
                continue
            cause = self._item_difference(item, again)
            cause = cause or self._rows_difference(position + n, rows[n], levels[n])
            if cause:
                yield Fault(item.id, cause)

    def _item_difference(self, stored: Item, fresh: Item) -> str:
        # Another libsndfile may find a sample more in an MP3; then the rows tell what matters.
        names = _FACTS if self.tolerance is None else ["n_rows"]
        for name in names:
            was, now = getattr(stored, name), getattr(fresh, name)
            if was != now:
                return f"its {name} is {was}, and {now} when it is computed again"
        return ""

    def _rows_difference(
        self, position: int, rows: Iterable[Array], levels: Iterable[Array]
    ) -> str:
        rule = self.tolerance
        peak = rule.peak(levels) if rule else 0.0
        scaler = self._reader.header.scaler
        unit = 1.0 if scaler is None else scaler.scale
        start = at = int(self._reader.items["start"][position])
        first, n_differing, largest = 0, 0, 0.0
        pairs = ((r, r) for r in rows) if levels is rows else zip(rows, levels, strict=True)
        for computed, level in pairs:
            stored = self._reader.rows(at, at + len(computed))
            fresh = np.ascontiguousarray(computed, stored.dtype)
            differ, apart = (
                rule.judge(stored, fresh, level, peak, unit) if rule else other_bits(stored, fresh)
            )
            differing = np.flatnonzero(differ.reshape(len(stored), -1).any(axis=1))
            if len(differing) and not n_differing:
                first = at - start + int(differing[0])
            n_differing, largest = n_differing + len(differing), max(largest, apart)
            at += len(computed)
        self.largest_difference = max(self.largest_difference, largest)
        if not n_differing:
            return ""
        allowed = f" (allowed: {rule})" if rule else ""
        return (
            f"is not what its audio gives in {n_differing:,} of {plural(at - start, 'row')}: the "
            f"first is row {first:,}, the largest difference {largest:.3g}{allowed}"
        )

    def to_record(self) -> dict[str, Any]:
        """For ``--json``: plain values only."""
        return {
            "inputs": self.sample.n_inputs,
            "sampled": self.sample.n_chosen,
            "compared": self.n_compared,
            "differing": self.n_differing,
            "gone": self.sample.missing["gone"],
            "changed": self.sample.missing["changed"],
            "failed": [
                {"id": failed.id, "cause": failed.cause, "remedy": failed.remedy}
                for failed in self.failed
            ],
            "comparison": "bytes" if self.tolerance is None else "tolerance",
            "tolerance": None if self.tolerance is None else str(self.tolerance),
            "largest_difference": self.largest_difference,
            "machine_differences": {
                key: {"there": there, "here": here}
                for key, (there, here) in self.machine_differences.items()
            },
        }

    def __str__(self) -> str:
        text = f"recomputed {self.n_compared:,} of {plural(self.sample.n_inputs, 'input')}"
        if self.n_compared:
            differing = f"{self.n_differing:,} not " if self.n_differing else ""
            text += f": {differing}{self._how}"
        missing = list(self.sample.what_is_missing())
        if self.failed:
            missing.append(f"{len(self.failed):,} cannot be read now")
        return f"{text}; not compared: {', '.join(missing)}" if missing else text

    @property
    def _how(self) -> str:
        if self.tolerance is None:
            return "the same bytes (same machine record)"
        machine = "; ".join(
            f"{key}: {there} there, {here} here"
            for key, (there, here) in self.machine_differences.items()
        )
        undone = "a scaler was applied and undone" if self._is_undone else ""
        return f"within {self.tolerance} ({'; '.join(filter(None, (undone, machine)))})"
