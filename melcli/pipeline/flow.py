"""Batches through the workers and back in order, whatever becomes of a worker.

A decoder that crashes takes its process with it. Where workers are processes, its batch is worked
on again input by input, each in a process that may die; the input that it dies of has failed, and
nobody else notices. Where they are threads, the whole run is gone. The next one finds in the store
what was begun, and treats each of these inputs with suspicion: by itself, in a process if it can,
and else only once another program has decoded it.
"""

from __future__ import annotations

import signal
from collections import deque
from typing import TYPE_CHECKING, Final, Protocol

from melcli.audio import trial
from melcli.audio.reading import LEAVE_OUT
from melcli.errors import DeviceError, MelcliError
from melcli.pipeline.batching import most_under_way
from melcli.pipeline.pools import time_limit
from melcli.pipeline.processes import Processes, WorkerDiedError, signal_name
from melcli.pipeline.stopwatch import Times
from melcli.pipeline.worker import Worked, failed

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator

    from melcli.pipeline.batching import Batch, Budget
    from melcli.pipeline.plan import Plan
    from melcli.pipeline.pools import Pool, Pools

_MOST_KILLED: Final = 3
"""So many inputs in a row whose process was killed, and the machine is the reason."""


class _Promise(Protocol):
    def result(self) -> Worked: ...


class _Settled:
    """A result that is known already."""

    def __init__(self, worked: Worked) -> None:
        self._worked = worked

    def result(self) -> Worked:
        return self._worked


class WorkersKilledError(DeviceError):
    """Whatever is worked on, its process is killed."""


class Flow:
    """Hands batches to a pool and gives back what became of them, in their order.

    Args:
        plan: The inputs.
        pool: What works on them.
        pools: Starts another one where it is needed.
        memory: How much may be under way at once.
        n_workers: In the pool.
        begin: Called with the ids of a batch before it is handed over.
        suspects: Positions of inputs that an earlier run may have died of.
    """

    def __init__(
        self,
        plan: Plan,
        pool: Pool,
        pools: Pools,
        memory: Budget,
        n_workers: int,
        begin: Callable[[list[str]], None],
        suspects: Collection[int] = (),
    ) -> None:
        self._plan, self._pool, self._pools = plan, pool, pools
        self._memory, self._most = memory, most_under_way(n_workers)
        self._begin = begin
        self._n_killed = 0  # in a row
        self._deaths: dict[int, str] = {}
        if not isinstance(pool, Processes):
            self._deaths = self._tried(sorted(suspects))

    def __call__(self, batches: Iterable[Batch]) -> Iterator[tuple[Batch, Worked]]:
        """What came of each batch, in order, with a bounded number under way.

        A slow writer is asked for the next result later, so nothing new is begun meanwhile.

        Raises:
            WorkersKilledError: One process after the other is killed.
        """
        waiting: deque[tuple[int, Batch, _Promise]] = deque()
        under_way = 0
        for batch in batches:
            n_bytes = self._memory.held_by(batch)
            while waiting and (
                len(waiting) >= self._most or under_way + n_bytes > self._memory.in_flight_bytes
            ):
                n_freed, first, promise = waiting.popleft()
                yield from self._finished(first, promise)
                under_way -= n_freed
            waiting.append((n_bytes, batch, self._begun(batch)))
            under_way += n_bytes
        while waiting:
            _, first, promise = waiting.popleft()
            yield from self._finished(first, promise)

    def _begun(self, batch: Batch) -> _Promise:
        [index, *others] = batch.indices
        if not others and index in self._deaths:
            return _Settled(self._failed(batch, self._deaths[index], LEAVE_OUT))
        self._begin([self._plan.id(index) for index in batch.indices])
        return self._pool.submit(batch)

    def _finished(self, batch: Batch, promise: _Promise) -> Iterator[tuple[Batch, Worked]]:
        try:
            worked = promise.result()
        except WorkerDiedError as death:
            if len(batch.indices) > 1:
                with self._pools.processes(1) as pool:
                    for single in batch.one_by_one():
                        yield from self._finished(single, pool.submit(single))
                return
            yield batch, self._died(batch, death)
            if self._n_killed >= _MOST_KILLED:
                raise WorkersKilledError(
                    f"the processes that work on {self._n_killed} inputs in a row were killed",
                    None,
                    "if the memory was full: fewer --workers, or a smaller --memory; "
                    "then the same command goes on",
                ) from death
        except MelcliError:
            raise
        except Exception as error:
            if not batch.is_suspect:
                raise
            cause = f"ends in a bug of melcli ({type(error).__name__}: {error})"
            yield batch, self._failed(batch, cause, f"report it, please; {LEAVE_OUT}")
        else:
            self._n_killed = 0
            yield batch, worked

    def _died(self, batch: Batch, death: WorkerDiedError) -> Worked:
        self._n_killed = self._n_killed + 1 if death.signal_number == signal.SIGKILL else 0
        if death.limit is not None:
            cause = f"was not done in {death.limit:,.0f} s"
            return self._failed(batch, cause, "convert it; --retry-failed if the disk was slow")
        if death.signal_number == signal.SIGKILL:
            cause = "the process that worked on it was killed, perhaps for want of memory"
            return self._failed(batch, cause, "--retry-failed with fewer --workers")
        by = death.signal_number
        how = "" if by is None else f" ({signal_name(by)})"
        return self._failed(batch, f"ends the process that works on it{how}", LEAVE_OUT)

    def _failed(self, batch: Batch, cause: str, remedy: str) -> Worked:
        [index] = batch.indices
        return Worked([failed(self._plan[index], cause, remedy)], Times())

    def _tried(self, suspects: list[int]) -> dict[int, str]:
        """Find those that end a process, by decoding them in one that may be ended."""
        files = [(index, path) for index in suspects if (path := self._plan[index].path)]
        found = trial.deaths([(path, time_limit(self._plan, [index])) for index, path in files])
        return {index: how for (index, _), how in zip(files, found, strict=True) if how is not None}
