"""What became of each input, and the exit code that follows from it."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from melcli.pipeline.stopwatch import STEPS, Times

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

    from melcli.pipeline.plan import PlannedInput
    from melcli.store import Outcome
    from melcli.store.records import Certificate, Done, Failed

_FIRST_FAILURES = 5
_LONG_RUN_SECONDS = 10.0
"""From here on what limited a run says something: a shorter one mostly starts and ends."""


class Listener(Protocol):
    """Hears how a run goes. The library prints nothing; the command line shows a bar."""

    def started(self, report: Report) -> None:
        """The plan is made, and what earlier runs did is counted."""

    def happened(self, planned: PlannedInput, outcome: Outcome, status: str) -> None:
        """An input is ``done``, ``already done`` or ``failed``."""

    def advanced(self, report: Report) -> None:
        """Some inputs further."""

    def warned(self, warning: str) -> None:
        """Something that a person may want to act on while the run goes on."""


class Silence:
    """A listener that does nothing."""

    def started(self, report: Report) -> None:
        """Say nothing."""

    def happened(self, planned: PlannedInput, outcome: Outcome, status: str) -> None:
        """Say nothing."""

    def advanced(self, report: Report) -> None:
        """Say nothing."""

    def warned(self, warning: str) -> None:
        """Say nothing."""


@dataclass
class Report:
    """The books of a run. They balance: inputs = done + already done + failed (+ left).

    ``left`` is what a stopped run has not come to.
    """

    output: str
    config: str
    inputs: int = 0
    input_bytes: int = 0
    done: int = 0
    already: int = 0
    failed: int = 0
    items: int = 0
    rows: int = 0
    has_files: bool = False
    """Rows are bytes of files, and nobody counts those."""
    audio_seconds: float = 0.0
    notes: Counter[str] = field(default_factory=Counter)
    ignored: Counter[str] = field(default_factory=Counter)
    suspects: int = 0
    """Inputs that an earlier run was working on when its process died."""
    unknown_ids: list[str] = field(default_factory=list)
    """Ids that were asked for and that no input has."""
    kept_beside: int = 0
    """Inputs of an earlier run that are not among these, and were kept."""
    failures: list[tuple[str, Failed]] = field(default_factory=list)
    """The first few, with the names that messages use."""
    output_bytes: int = 0
    seconds: float = 0.0
    stopped: str = ""
    times: Times = field(default_factory=Times)
    """Where the time went."""
    n_workers: int = 0
    warnings: list[str] = field(default_factory=list)
    """What is poor about the front end."""
    former_notes: frozenset[str] = frozenset()
    """What was noted of some inputs before this run: it is not told again."""
    worst: Certificate | None = None
    """Of what was computed back from mels: the largest residual, the most steps, all clipped."""
    _began: float = field(default_factory=time.monotonic)

    @property
    def left(self) -> int:
        """Inputs the run has not come to."""
        return self.inputs - self.done - self.already - self.failed

    @property
    def exit_code(self) -> int:
        """0 if every input is done, else 1."""
        return 1 if self.failed or self.unknown_ids or self.stopped else 0

    @property
    def speed(self) -> float:
        """Seconds of audio in a second of work."""
        return self.audio_seconds / self.seconds if self.seconds else 0.0

    def count_done(self, outcome: Done) -> None:
        """Count an input that this run computed."""
        self.done += 1
        self.items += len(outcome.items)
        self.rows += sum(item.n_rows for item in outcome.items)
        if outcome.items:
            first = outcome.items[0]
            self.audio_seconds += first.n_samples / first.sample_rate
        notes = {note for item in outcome.items for note in item.notes}
        self.notes.update(notes - self.former_notes)
        for item in outcome.items:
            if item.certificate is not None:
                self.worst = item.certificate.and_also(self.worst)

    def count_failed(self, name: str, outcome: Failed) -> None:
        """Count an input that cannot be used."""
        self.failed += 1
        if len(self.failures) < _FIRST_FAILURES:
            self.failures.append((name, outcome))

    def tick(self) -> None:
        """Note how long the run has taken."""
        self.seconds = time.monotonic() - self._began

    def to_record(self) -> dict[str, Any]:
        """For ``--json``: plain values only."""
        return {
            "output": self.output,
            "config": self.config,
            "inputs": self.inputs,
            "done": self.done,
            "already_done": self.already,
            "failed": self.failed,
            "left": self.left,
            "items": self.items,
            "rows": self.rows,
            "audio_seconds": round(self.audio_seconds, 3),
            "seconds": round(self.seconds, 3),
            "output_bytes": self.output_bytes,
            "notes": dict(sorted(self.notes.items())),
            "ignored": dict(sorted(self.ignored.items())),
            "kept_beside": self.kept_beside,
            "unknown_ids": self.unknown_ids,
            "suspects": self.suspects,
            "stopped": self.stopped,
            "cpu_seconds": {step: round(self.times.busy[step], 3) for step in STEPS},
            "warnings": self.warnings,
            "exit_code": self.exit_code,
            **({} if self.worst is None else {"worst": self.worst._asdict()}),
        }

    @property
    def made(self) -> str:
        """What was made: rows, or files."""
        return plural(self.items, "file") if self.has_files else plural(self.rows, "row")

    def where_time_went(self) -> str:
        """Seconds by step and the limit, for who wants it faster."""
        return self.times.where(self.seconds, self.n_workers)

    def __str__(self) -> str:
        return self.summary()

    def summary(
        self,
        heard: Collection[str] = (),
        *,
        more: str = "--report FILE lists all",
        hints: Iterable[str] = (),
        verbose: bool = False,
    ) -> str:
        """What was done, how fast, what limited it, what was changed, what failed, and where it is.

        Args:
            heard: Warnings that were told already, while it went on.
            more: Where all failures are, if there are more than a few.
            hints: What a caller has to add, a line each.
            verbose: Tell where the time went, however short it was.
        """
        lines = [
            *self._books_lines(verbose=verbose),
            *self._quality_lines(),
            *self._remark_lines(heard),
            *self._failure_lines(more),
            *hints,
        ]
        if self.stopped:
            lines.append(f"stopped: {self.stopped}")
        elif self.output_bytes:
            lines.append(f"{self.output}  {size(self.output_bytes)}")
        return "\n".join(lines)

    def _books_lines(self, *, verbose: bool) -> Iterator[str]:
        yield (
            f"{self.done:,} done"
            + (f", {self.already:,} already done" if self.already else "")
            + f", {self.failed:,} failed"
            + (f", {self.left:,} left" if self.left else "")
            + f", of {plural(self.inputs, 'input')}"
        )
        if self.done:
            yield (
                f"{duration(self.audio_seconds)} of audio in {duration(self.seconds)} "
                f"({self.speed:,.0f} x real time), {self.made} with {self.config}"
            )
        if self.n_workers and verbose:
            yield self.where_time_went()
        elif self.n_workers and self.seconds >= _LONG_RUN_SECONDS:
            yield f"the limit was {self.times.limit(self.seconds, self.n_workers)}"

    def _remark_lines(self, heard: Collection[str]) -> Iterator[str]:
        if self.suspects:
            yield (
                f"worked on one by one: {plural(self.suspects, 'input')} that the last run had in "
                "hand when it died"
            )
        for warning in self.warnings:
            if warning not in heard:
                yield f"warning: {warning}"
        if self.ignored:
            yield "left out: " + ", ".join(
                f"{count:,} {kind}" for kind, count in self.ignored.most_common(8)
            )
        if self.kept_beside:
            yield f"kept {self.kept_beside:,} of an earlier run that are not among these inputs"
        if self.unknown_ids:
            yield (
                f"no input has {plural(len(self.unknown_ids), 'id')} of --ids: "
                + ", ".join(self.unknown_ids[:_FIRST_FAILURES])
                + (", …" if len(self.unknown_ids) > _FIRST_FAILURES else "")
            )

    def _quality_lines(self) -> Iterator[str]:
        if self.worst is not None:
            yield str(self.worst)
        if self.notes:
            yield "changed on the way: " + ", ".join(
                f"{count:,} {note}" for note, count in sorted(self.notes.items())
            )

    def _failure_lines(self, more: str) -> Iterator[str]:
        for name, outcome in self.failures:
            yield f"failed: {name}: {outcome.cause}"
            if outcome.remedy:
                yield f"  try: {outcome.remedy}"
        left_out = self.failed - len(self.failures)
        if left_out:
            yield f"failed: {left_out:,}{' more' * bool(self.failures)}; {more}"


def plural(count: int, noun: str) -> str:
    """A count with its noun.

    >>> plural(1, "file"), plural(1200, "file")
    ('1 file', '1,200 files')
    """
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def duration(seconds: float) -> str:
    """A time as people say it.

    >>> duration(0.53), duration(75.2), duration(5000)
    ('0.5 s', '1 min 15 s', '1 h 23 min')
    """
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60:,} h {minutes % 60} min"


def size(n_bytes: float) -> str:
    """A number of bytes as people say it.

    >>> size(512), size(4_300_000)
    ('512 bytes', '4.3 MB')
    """
    for unit in ("bytes", "kB", "MB", "GB"):
        if n_bytes < 1000:
            return f"{n_bytes:.0f} bytes" if unit == "bytes" else f"{n_bytes:.1f} {unit}"
        n_bytes /= 1000
    return f"{n_bytes:,.1f} TB"
