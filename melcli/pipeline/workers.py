"""Threads that do the work, for a main thread that a signal may interrupt anywhere.

``concurrent.futures`` is not made for that: an exception that a signal handler raises while a task
is handed over can leave one of its locks taken, and then its threads never end. Here the main
thread only touches ``SimpleQueue``, whose every operation is whole or not begun.
"""

from __future__ import annotations

import _thread
from queue import SimpleQueue
from typing import TYPE_CHECKING, Generic, Self, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

Task = TypeVar("Task")
Result = TypeVar("Result")


class Promise(Generic[Result]):
    """What a task will have become."""

    def __init__(self) -> None:
        self._outcome: SimpleQueue[tuple[Result | None, BaseException | None]] = SimpleQueue()

    def keep(self, work: Callable[[], Result]) -> None:
        """Do the work, and hand over what it returned or raised."""
        try:
            self._outcome.put((work(), None))
        except BaseException as error:  # noqa: BLE001, raised where the result is asked for
            self._outcome.put((None, error))

    def result(self) -> Result:
        """Wait for the task, and return or raise what it did. Ask once."""
        result, error = self._outcome.get()
        if error is not None:
            raise error
        return result  # type: ignore[return-value]  # there is one where there is no error


class Workers(Generic[Task, Result]):
    """Threads that each take the next task; leaving the ``with`` block ends them.

    Args:
        work: Called with each task, from several threads at once.
        n_threads: How many threads.
    """

    def __init__(self, work: Callable[[Task], Result], n_threads: int) -> None:
        self._work = work
        self._tasks: SimpleQueue[tuple[Task, Promise[Result]] | None] = SimpleQueue()
        self._stopping = False
        self._ended: SimpleQueue[None] = SimpleQueue()
        self._n_threads = n_threads
        self._n_started = 0

    def __enter__(self) -> Self:
        try:
            for _ in range(self._n_threads):
                # Counted first: a signal may arrive between the two. threading.Thread would take
                # locks of its own here, and a signal could leave them taken.
                self._n_started += 1
                _thread.start_new_thread(self._run, ())
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stop()
        for _ in range(self._n_started):
            self._ended.get()
        # The threads have said that they ended, and may still hold `self` for a moment. Whoever
        # drops a tensor last releases the interpreter lock, and a thread that wants it back while
        # the interpreter shuts down is ended where it stands: inside torch, which aborts.
        del self._work

    def submit(self, task: Task) -> Promise[Result]:
        """Hand over a task."""
        promise: Promise[Result] = Promise()
        self._tasks.put((task, promise))
        return promise

    def _stop(self) -> None:
        """Let what is being worked on be finished, and what waits be dropped."""
        self._stopping = True
        for _ in range(self._n_threads):
            self._tasks.put(None)

    def _run(self) -> None:
        try:
            self._take_tasks()
        finally:
            self._ended.put(None)  # holding no result any more: see `__exit__`

    def _take_tasks(self) -> None:
        while (handed := self._tasks.get()) is not None:
            task, promise = handed
            if not self._stopping:
                promise.keep(lambda task=task: self._work(task))  # type: ignore[misc]
            del handed, task, promise  # results are large, and the next task may be long in coming
