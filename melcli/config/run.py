"""What is written, and how soon it arrives. Nothing here changes a computed number."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from melcli.errors import UsageError

DType = Literal["float32", "float16"]
StoreLayout = Literal["packed", "tree"]
LongRule = Literal["error", "cut", "chunks"]

_QUOTA = Path("/sys/fs/cgroup/cpu.max")


@dataclass(frozen=True, kw_only=True)
class OutputConfig:
    """What an output holds, and what becomes of one that is there already.

    Args:
        dtype: Stored precision.
        store_layout: HDF5 only: one packed dataset, or a dataset for each item.
        long: Audio longer than the front end's fixed length: fail, cut, or an item for each
            length of it.
        overwrite: Replace a finished output, once the new one is complete.
        retry_failed: Try the inputs again that failed in an earlier run.
        accept_different_machine: Go on with rows that other versions or another processor made.
    """

    dtype: DType = "float32"
    store_layout: StoreLayout = "packed"
    long: LongRule = "error"
    overwrite: bool = False
    retry_failed: bool = False
    accept_different_machine: bool = False


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """How a run goes about it: changing any of this changes no byte of the output.

    Args:
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.
        workers: Processes that read and compute, or threads where processes cannot be had or do
            not pay; None takes one a core.
        memory: Bytes that audio and results in flight may take.
        strict: Stop at the first input that fails.
        max_failures: Stop after this many failures: a number (``"10"``) or a share of the
            inputs (``"2%"``); None never stops.
    """

    device: str = "auto"
    workers: int | None = None
    memory: int = 1 << 30
    strict: bool = False
    max_failures: str | None = None

    def __post_init__(self) -> None:
        self.failure_limit(1)  # complains about what it cannot read
        if self.workers is not None and self.workers < 1:
            raise UsageError(f"workers = {self.workers}: must be at least 1")
        if self.memory < 64 << 20:
            raise UsageError(f"memory = {self.memory}: must be at least 64 MB", None, "--memory 1G")

    @property
    def n_workers(self) -> int:
        """Processes or threads that read and compute."""
        return self.workers or available_cores()

    def failure_limit(self, n_inputs: int) -> int | None:
        """How many failures of ``n_inputs`` are one too many, or None for no limit."""
        if self.strict:
            return 1
        if self.max_failures is None:
            return None
        text = self.max_failures.strip()
        try:
            if text.endswith("%"):
                share = float(text[:-1])
                if 0 <= share <= 100:
                    return int(n_inputs * share / 100) + 1
            elif int(text) >= 0:
                return int(text) + 1
        except ValueError:
            pass
        raise UsageError(
            f"max failures = {self.max_failures}: must be a number or a percentage",
            None,
            "--max-failures 10, or --max-failures 2%",
        )


def available_cores() -> int:
    """Cores this process may use, which in a container or a job is not all there are."""
    if hasattr(os, "sched_getaffinity"):
        n_cores = len(os.sched_getaffinity(0))
    else:
        n_cores = os.cpu_count() or 1
    return max(1, min(n_cores, _quota(n_cores)))


def _quota(n_cores: int) -> int:
    """Cores that a container's quota of CPU time amounts to (cgroup 2); all if there is none."""
    try:
        quota, period = _QUOTA.read_text(encoding="ascii").split()
        return n_cores if quota == "max" else math.ceil(int(quota) / int(period))
    except (OSError, ValueError, ZeroDivisionError):
        return n_cores
