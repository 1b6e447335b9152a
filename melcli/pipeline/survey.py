"""What a run would do, from headers alone: for ``--dry-run``. Nothing is decoded, no torch."""

from __future__ import annotations

import math
from collections import Counter, deque
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, Any

from melcli import frames
from melcli.audio import reading
from melcli.errors import AudioError
from melcli.pipeline.report import duration, plural, size
from melcli.pipeline.workers import Workers

if TYPE_CHECKING:
    from collections.abc import Iterator

    from melcli.config import MelConfig, OutputConfig
    from melcli.pipeline.plan import Plan, PlannedInput

_PROBED_IN_A_ROW = 256
"""By one thread: to hand over each header by itself would take longer than to read it."""

_FIRST_PROBLEMS = 5


@dataclass
class Survey:
    """What the headers of the inputs promise, and what the output would take."""

    config: str
    inputs: int = 0
    input_bytes: int = 0
    seconds: float = 0.0
    estimated: int = 0
    """Inputs whose length is known only once they are decoded."""
    rates: Counter[int] = field(default_factory=Counter)
    channels: Counter[int] = field(default_factory=Counter)
    formats: Counter[str] = field(default_factory=Counter)
    resampled: int = 0
    items: int = 0
    rows: int = 0
    output_bytes: int = 0
    problems: int = 0
    """Inputs that would fail for what is known already."""
    first_problems: list[tuple[str, str, str | None]] = field(default_factory=list)
    ignored: Counter[str] = field(default_factory=Counter)

    def to_record(self) -> dict[str, Any]:
        """For ``--json``: plain values only."""
        return {
            "config": self.config,
            "inputs": self.inputs,
            "input_bytes": self.input_bytes,
            "hours": round(self.seconds / 3600, 6),
            "estimated": self.estimated,
            "rates": {str(rate): count for rate, count in sorted(self.rates.items())},
            "channels": {str(n): count for n, count in sorted(self.channels.items())},
            "formats": dict(sorted(self.formats.items())),
            "resampled": self.resampled,
            "items": self.items,
            "rows": self.rows,
            "output_bytes": self.output_bytes,
            "problems": self.problems,
            "ignored": dict(sorted(self.ignored.items())),
        }

    def __str__(self) -> str:
        return "\n".join(self._lines())

    def _lines(self) -> Iterator[str]:
        about = "about " if self.estimated else ""
        yield (
            f"{plural(self.inputs, 'input')}, {size(self.input_bytes)}, "
            f"{about}{duration(self.seconds)} of audio"
        )
        yield "formats:  " + _counts(self.formats)
        yield "rates:    " + _counts({f"{rate} Hz": n for rate, n in sorted(self.rates.items())})
        yield "channels: " + _counts({str(k): n for k, n in sorted(self.channels.items())})
        if self.resampled:
            yield f"{self.resampled:,} would be resampled"
        yield (
            f"output:   {about}{plural(self.items, 'item')}, {self.rows:,} rows, "
            f"{size(self.output_bytes)} with {self.config}"
        )
        if self.estimated:
            yield f"{plural(self.estimated, 'lossy file')}, of estimated length"
        if self.ignored:
            yield "left out: " + _counts(dict(self.ignored.most_common(8)))
        for name, cause, remedy in self.first_problems:
            yield f"would fail: {name}: {cause}"
            if remedy:
                yield f"  try: {remedy}"
        if self.problems > len(self.first_problems):
            yield f"would fail: {self.problems - len(self.first_problems):,} more"


def survey(plan: Plan, config: MelConfig, out: OutputConfig, n_workers: int) -> Survey:
    """Read the header of every input and add up what a run would make of them.

    Args:
        plan: The inputs.
        config: The front end.
        out: What the output would hold.
        n_workers: Threads that read headers.
    """
    found = Survey(config.name, inputs=len(plan), input_bytes=plan.file_bytes())
    found.ignored = plan.ignored
    row_bytes = math.prod(config.row_shape) * (2 if out.dtype == "float16" else 4)

    def probe_all(indices: range) -> Probed:
        return [(index, _probe(plan[index])) for index in indices]

    with Workers(probe_all, n_workers) as workers:
        for index, info in _in_order(workers, len(plan), 2 * n_workers):
            if isinstance(info, AudioError):
                found.problems += 1
                if len(found.first_problems) < _FIRST_PROBLEMS:
                    found.first_problems.append((plan[index].name, info.cause, info.remedy))
            else:
                _add(found, info, config, out)
    found.output_bytes = found.rows * row_bytes
    return found


Probed = list[tuple[int, "reading.AudioInfo | AudioError"]]


def _in_order(
    workers: Workers[range, Probed], n_inputs: int, n_under_way: int
) -> Iterator[tuple[int, reading.AudioInfo | AudioError]]:
    """What the workers find, input by input; a few runs of inputs are under way at any time."""
    starts = range(0, n_inputs, _PROBED_IN_A_ROW)
    runs = (range(at, min(at + _PROBED_IN_A_ROW, n_inputs)) for at in starts)
    promises = deque(map(workers.submit, islice(runs, n_under_way)))
    while promises:
        yield from promises.popleft().result()
        promises.extend(map(workers.submit, islice(runs, 1)))


def _probe(planned: PlannedInput) -> reading.AudioInfo | AudioError:
    if planned.path is None:
        return AudioError("standard input is read only once", planned.name)
    try:
        return probe_input(planned, planned.path)
    except AudioError as error:
        return error


def probe_input(planned: PlannedInput, path: bytes) -> reading.AudioInfo:
    """What the header of an input's file says of the part that the input is.

    Raises:
        AudioError: It is not audio, its header shows that it is cut short, or the part is not in
            it.
    """
    if planned.excerpt is None:
        return reading.probe(path)
    info = reading.probe(path, name=planned.name)
    return reading.part_of(info, planned.excerpt.start, planned.excerpt.end, name=planned.name)


def _add(found: Survey, info: reading.AudioInfo, config: MelConfig, out: OutputConfig) -> None:
    n_samples = info.n_samples or 0
    found.formats[f"{info.format} {info.subtype}"] += 1
    found.rates[info.sample_rate] += 1
    found.channels[info.n_channels] += 1
    found.seconds += n_samples / info.sample_rate
    found.estimated += not info.exact
    found.resampled += info.sample_rate != config.wave.sample_rate
    n_items, n_rows = items_and_rows(info, config, out)
    found.items += n_items
    found.rows += n_rows


def items_and_rows(
    info: reading.AudioInfo, config: MelConfig, out: OutputConfig
) -> tuple[int, int]:
    """How many items and rows a recording becomes, by what its header says."""
    n_items = info.n_channels if config.wave.channels == "each" else 1
    at_rate = round((info.n_samples or 0) * config.wave.sample_rate / info.sample_rate)
    fixed = config.wave.fix_samples
    if fixed and out.long == "chunks":
        n_items *= max(1, -(-at_rate // fixed))
    return n_items, n_items * frames.n_rows(config, at_rate)


def _counts(counts: dict[str, int] | Counter[str]) -> str:
    return ", ".join(f"{name} ({count:,})" for name, count in counts.items()) or "none"
