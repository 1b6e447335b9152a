"""Threads that do the work, in order, and that no signal can lock up."""

from __future__ import annotations

import random
import signal
import threading
import time
from queue import SimpleQueue
from typing import TYPE_CHECKING

import pytest

from melcli.pipeline import workers as workers_module
from melcli.pipeline.workers import Workers

if TYPE_CHECKING:
    from types import FrameType


class StopError(Exception):
    """What a signal handler raises, wherever the main thread is."""


def _square(n: int) -> int:
    return n * n


def _inverse(n: int) -> int:
    return 1 // n


def test_results_come_with_their_tasks() -> None:
    """Each promise gives what its own task became, on as many threads as there are."""
    with Workers(_square, 3) as workers:
        promises = [workers.submit(n) for n in range(100)]
        assert [promise.result() for promise in promises] == [n * n for n in range(100)]


def test_what_a_task_raises_is_raised_where_its_result_is_asked_for() -> None:
    """One task that fails leaves the others alone."""
    with Workers(_inverse, 2) as workers:
        bad, good = workers.submit(0), workers.submit(1)
        assert good.result() == 1
        with pytest.raises(ZeroDivisionError):
            bad.result()


def test_leaving_ends_the_threads_and_drops_what_waits() -> None:
    """No thread outlives the block, and what was never begun is not begun."""
    begun: list[int] = []
    gate = threading.Event()

    def work(n: int) -> None:
        begun.append(n)
        gate.wait(10)

    before = threading.active_count()
    with Workers(work, 2) as workers:
        for n in range(50):
            workers.submit(n)
        while len(begun) < 2:
            pass
        threading.Timer(0.05, gate.set).start()
    assert len(begun) == 2
    assert threading.active_count() <= before + 1  # the timer may still be ending


def test_results_nobody_asked_for_are_dropped_by_the_main_thread(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """After the block no thread holds any: the interpreter could end it while it drops one."""
    made: list[int] = []
    dropped_by: list[int] = []

    class Large:
        def __del__(self) -> None:
            dropped_by.append(threading.get_ident())

    class SlowQueue(SimpleQueue[object]):
        """Lets the main thread go on before the thread that said it ended has ended."""

        def put(self, item: object, block: bool = True, timeout: float | None = None) -> None:  # noqa: FBT001, FBT002, its base's
            super().put(item, block, timeout)
            if item is None:
                time.sleep(0.02)

    def work(n: int) -> Large:
        made.append(n)
        return Large()

    monkeypatch.setattr(workers_module, "SimpleQueue", SlowQueue)
    with Workers(work, 2) as workers:
        promises = [workers.submit(n) for n in range(4)]
        while len(made) < 4:
            pass
    del promises
    time.sleep(0.1)
    assert len(dropped_by) == 4
    assert set(dropped_by) == {threading.get_ident()}


# An exception may also arrive in a destructor, where Python can only tell of it.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_signal_at_any_moment_locks_nothing_up() -> None:
    """An exception that arrives anywhere in the main thread ends the run, and no thread hangs."""

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        raise StopError

    moments = random.Random(7)  # noqa: S311, no secret
    before = signal.signal(signal.SIGALRM, interrupt)
    stopped = 0
    try:
        for _ in range(400):
            try:
                signal.setitimer(signal.ITIMER_REAL, moments.uniform(1e-5, 3e-3))
                with Workers(_square, 2) as workers:
                    for n in range(2000):
                        workers.submit(n).result()
                    signal.setitimer(signal.ITIMER_REAL, 0)
            except StopError:
                stopped += 1
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert stopped > 100
