"""Where the time of a run goes: seconds by step, of one thread or of many."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

Step: TypeAlias = Literal["read", "resample", "mel", "write"]
STEPS: tuple[Step, ...] = ("read", "resample", "mel", "write")

_WORK: dict[Step, str] = {"read": "decoding", "resample": "resampling", "mel": "computing"}
_MOST = 0.75
"""A share of the time from which on it decides."""


@dataclass
class Times:
    """Seconds of each step: how long it took, and how much of that a core was busy."""

    elapsed: dict[Step, float] = field(default_factory=lambda: dict.fromkeys(STEPS, 0.0))
    busy: dict[Step, float] = field(default_factory=lambda: dict.fromkeys(STEPS, 0.0))

    def where(self, seconds: float, n_workers: int) -> str:
        """Where the time of a run went, and which of it was the limit: a line for people.

        Args:
            seconds: That the run took.
            n_workers: How many read and computed, beside the one that wrote.
        """
        working = sum(self.busy[step] for step in STEPS if step != "write")
        waiting = max(0.0, n_workers * seconds - working)
        parts = [f"{step} {self.busy[step]:.1f} s" for step in STEPS]
        return (
            f"time: {', '.join(parts)} of a core, waiting {waiting:.1f} s, "
            f"with {n_workers} worker{'s' * (n_workers > 1)} in {seconds:.1f} s; "
            f"the limit was {self.limit(seconds, n_workers)}"
        )

    def limit(self, seconds: float, n_workers: int) -> str:
        """What more of would have made a run shorter, in a few words; see :meth:`where`."""
        of_workers = [step for step in STEPS if step != "write"]
        busy = sum(self.busy[step] for step in of_workers)
        at_work = sum(self.elapsed[step] for step in of_workers)
        if self.elapsed["write"] > _MOST * seconds:
            return "writing: a faster disk would help"
        if self.elapsed["read"] > 2 * busy:
            return "the disk that is read from"
        if at_work + self.busy["write"] > _MOST * n_workers * seconds:
            largest = max(of_workers, key=lambda step: self.busy[step])
            others = "; they had other work as well" if busy < _MOST * at_work else ""
            return f"the cores, most of all for {_WORK[largest]}{others}"
        return "too few inputs at once, or starting: not all workers had something to do"

    def add(self, other: Times) -> None:
        """Count what another did."""
        for step in STEPS:
            self.elapsed[step] += other.elapsed[step]
            self.busy[step] += other.busy[step]


class Stopwatch:
    """Divides the time of one thread into steps: each :meth:`lap` ends one."""

    def __init__(self) -> None:
        self.times = Times()
        self.start()

    def start(self) -> None:
        """What went before belongs to no step."""
        self._elapsed, self._busy = time.perf_counter(), time.thread_time()

    def lap(self, step: Step) -> None:
        """The time since the last lap belongs to ``step``."""
        elapsed, busy = time.perf_counter(), time.thread_time()
        self.times.elapsed[step] += elapsed - self._elapsed
        self.times.busy[step] += busy - self._busy
        self._elapsed, self._busy = elapsed, busy
