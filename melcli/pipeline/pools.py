"""Who works on the batches: processes where they can be had and are worth it, threads elsewhere."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeAlias

from melcli.pipeline.batching import most_under_way
from melcli.pipeline.parcels import Parcels
from melcli.pipeline.processes import Processes, can_fork
from melcli.pipeline.workers import Workers

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from melcli.pipeline.batching import Batch
    from melcli.pipeline.parcels import Work
    from melcli.pipeline.plan import Plan
    from melcli.pipeline.worker import Worked

Pool: TypeAlias = "Workers[Batch, Worked] | Processes[Batch, Worked]"

PATIENCE_SECONDS = 300.0
PATIENCE_BYTES_A_SECOND = 20_000
"""The slowest that a recording is decoded; beyond that its decoder is taken to be stuck.

Ten hours of Opus at 32 kbit/s may take two hours; they take a minute or two."""

_NO_LIMIT: Final = 1e6


def time_limit(plan: Plan, indices: Iterable[int]) -> float:
    """Seconds that inputs may take before their decoder is taken to be stuck."""
    n_bytes = 0
    for index in indices:
        if plan[index].path is None:
            return _NO_LIMIT  # standard input comes when it comes
        n_bytes += plan.size(index)
    return PATIENCE_SECONDS + n_bytes / PATIENCE_BYTES_A_SECOND


class Pools:
    """Starts pools of workers.

    Args:
        worker: What each of them does.
        plan: The inputs.
        row_shape: Of the rows of the output.
        dtype: Of the rows of the output.
        folder: Where rows may wait that are too many for the memory.
    """

    def __init__(
        self, worker: Work, plan: Plan, row_shape: tuple[int, ...], dtype: str, folder: Path
    ) -> None:
        self._worker, self._plan = worker, plan
        self._row_shape, self._dtype, self._folder = row_shape, dtype, folder

    def processes(self, n_processes: int) -> Processes[Batch, Worked]:
        """Forked processes."""
        n_trays = most_under_way(n_processes) + 1
        parcels = Parcels(
            self._worker, self._plan, self._row_shape, self._dtype, self._folder, n_trays
        )
        return Processes(parcels.wrap, parcels.unwrap, n_processes, self._time_limit)

    def best(self, n_workers: int, *, is_worth_forking: bool) -> Pool:
        """What suits this machine and this much work."""
        if self._worker.device.type == "cpu" and can_fork() and is_worth_forking:
            return self.processes(n_workers)
        return Workers(self._worker, n_workers)

    def _time_limit(self, batch: Batch) -> float:
        return time_limit(self._plan, batch.indices)
