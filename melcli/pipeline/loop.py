"""The loop that every run goes through: workers in front, one writer behind."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from melcli.errors import MelcliError
from melcli.pipeline.batching import Budget, make_batches, most_under_way
from melcli.pipeline.flow import Flow, WorkersKilledError
from melcli.pipeline.stopwatch import Stopwatch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from melcli.config import RunConfig
    from melcli.pipeline.books import Books
    from melcli.pipeline.pools import Pools
    from melcli.pipeline.report import Report
    from melcli.pipeline.room import Room
    from melcli.pipeline.worker import Worked
    from melcli.store.protocols import Writer

FORK_BYTES = 32 << 20
"""Float32 audio from which on it pays to start processes: some eight minutes at 16 kHz."""


@contextlib.contextmanager
def cleared_of_suspicion(writer: Writer) -> Iterator[None]:
    """Tell the store that the run ended for no input's fault; of a bug one may be the reason."""
    try:
        yield
    except Exception as error:
        if isinstance(error, MelcliError):
            writer.clear_suspicion()
        raise
    except BaseException:
        writer.clear_suspicion()
        raise
    writer.clear_suspicion()


def compute(
    books: Books,
    pools: Pools,
    run: RunConfig,
    memory: Budget,
    *,
    room: Room | None = None,
    gather: Callable[[Worked], None] | None = None,
) -> None:
    """Run every batch through the workers and write it, in order, until done or stopped.

    Args:
        books: What is to do.
        pools: Who does it.
        run: With how many, and when to stop.
        memory: How much may be under way.
        room: Watches that the disk has room for the rows.
        gather: Takes what came of a batch whose rows are not written. Such a batch is entered
            whole, since its statistics cannot be taken apart.
    """
    report, limit = books.report, run.failure_limit(books.report.inputs)
    watch = Stopwatch()

    def beyond_limit() -> bool:
        return limit is not None and report.failed >= limit

    if beyond_limit():
        report.stopped = _stopped_by(run, report)
        return
    report.n_workers = run.n_workers
    suspects, begin = books.suspects(), books.writer.begin_inputs
    report.suspects = len(suspects)
    pool = pools.best(run.n_workers, is_worth_forking=bool(suspects) or _is_much(books))
    flow = Flow(books.plan, pool, pools, memory, run.n_workers, begin, suspects)
    under_way = most_under_way(run.n_workers)
    batches = make_batches(books.todo(), memory.batch_bytes, suspects, under_way)
    n_sources, written = 0, books.writer.n_bytes_written
    with pool:
        try:
            for batch, worked in flow(batches):
                watch.start()
                report.times.add(worked.times)
                books.enter_new(worked.results, _never if gather else beyond_limit)
                if gather is not None:
                    gather(worked)
                n_sources += sum(map(books.plan.size, batch.indices))
                if batch.ends_segment or beyond_limit():
                    books.writer.commit()
                    written, before = books.writer.n_bytes_written, written
                    if room and (warning := room.check_segment(n_sources, written - before)):
                        books.listener.warned(warning)
                    n_sources = 0
                watch.lap("write")
                report.tick()
                books.listener.advanced(report)
                if beyond_limit():
                    report.stopped = _stopped_by(run, report)
                    break
        except WorkersKilledError:
            books.writer.commit()  # what these failed of is not tried again
            raise
    report.times.add(watch.times)


def _stopped_by(run: RunConfig, report: Report) -> str:
    rule = "--strict" if run.strict else f"--max-failures {run.max_failures}"
    return (
        f"{report.failed:,} failed, and {rule} says to stop; what is done is kept: "
        "mend them and add --retry-failed, or allow more failures"
    )


def _is_much(books: Books) -> bool:
    """Whether there is as much to do as starting processes takes."""
    n_bytes = 0
    for _, decoded in books.todo():
        n_bytes += decoded
        if n_bytes >= FORK_BYTES:
            return True
    return False


def _never() -> bool:
    return False
