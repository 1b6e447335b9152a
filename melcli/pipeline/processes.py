"""Processes that do the work, where threads would stand in each other's way.

Reading a clip of a second is mostly Python, so threads wait for the interpreter lock in turn, and
handing it over costs more than the work: two of them are no faster than one. A forked process has
its own lock. It starts in milliseconds with all that this one has loaded, shares its memory until
one of them writes, and holds nothing that is worth saving.
"""

from __future__ import annotations

import contextlib
import ctypes
import faulthandler
import gc
import os
import pickle
import signal
import socket
import sys
import traceback
import warnings
from collections import deque
from typing import TYPE_CHECKING, Any, Final, Generic, NamedTuple, Self, TypeVar

from melcli.errors import DeviceError
from melcli.store.signals import HeldSignals

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

Task = TypeVar("Task")
Result = TypeVar("Result")

_LENGTH_BYTES: Final = 8
_PR_SET_PDEATHSIG: Final = 1
_ENDS: Final = (signal.SIGINT, signal.SIGTERM)
_RAN_OUT: Final = 1
"""What faulthandler exits with when the time is up."""


class Parcel(NamedTuple):
    """What a process sends home.

    Args:
        content: Anything that can be pickled.
        fd: An open file that goes with it, or -1; whoever receives it closes it.
    """

    content: Any
    fd: int = -1


class _Raised(NamedTuple):
    """An exception in place of a parcel's content."""

    error: BaseException


def signal_name(number: int) -> str:
    """What a signal is called; those without a name by their number.

    >>> signal_name(11), signal_name(40)
    ('SIGSEGV', 'signal 40')
    """
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def can_fork() -> bool:
    """Whether this process can be forked safely: on Linux, with no other thread of Python's.

    Another thread might hold a lock at that moment, and nobody would release it in the copy.
    """
    # threading.active_count() counts some that have ended.
    return sys.platform == "linux" and len(sys._current_frames()) == 1  # noqa: SLF001


class WorkerDiedError(DeviceError):
    """A worker process ended in the middle of a task, or did not end it in time.

    Attributes:
        signal_number: That it was ended by; None if it was none.
        limit: Seconds that the task had, if that was the reason.
    """

    signal_number: int | None = None
    limit: float | None = None


class Processes(Generic[Task, Result]):
    """Processes that take tasks in turn; leaving the ``with`` block ends them.

    One that dies is replaced, and what it still had to do is handed to its successor, but for the
    task that it died of: whoever asks for its result is told.

    Args:
        work: Called with each task and its number, in a process.
        unwrap: Called in this process with a task, its number, and the parcel that came of it.
        n_processes: How many.
        time_limit: Seconds that a task may take before its process is ended.

    Raises:
        DeviceError: The system starts no further process.
    """

    def __init__(
        self,
        work: Callable[[Task, int], Parcel],
        unwrap: Callable[[Task, int, Parcel], Result],
        n_processes: int,
        time_limit: Callable[[Task], float] | None = None,
    ) -> None:
        self._work, self._unwrap, self._time_limit = work, unwrap, time_limit
        self._n_processes, self._n_submitted = n_processes, 0
        self._processes: dict[int, _Process[Task]] = {}

    def __enter__(self) -> Self:
        try:
            for place in range(self._n_processes):
                self._start(place)
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

    def submit(self, task: Task) -> ParcelPromise[Task, Result]:
        """Hand over a task. The results are to be asked for in the order of their tasks."""
        number, self._n_submitted = self._n_submitted, self._n_submitted + 1
        process = self._processes[number % self._n_processes]
        process.hand_over(task, number)
        return ParcelPromise(self, task, number)

    def receive(self, task: Task, number: int) -> Result:
        """Wait for the result of a task.

        Raises:
            WorkerDiedError: Its process died of it.
        """
        process = self._processes[number % self._n_processes]
        try:
            parcel = process.channel.receive()
        except (EOFError, ConnectionError) as error:
            status = process.wait()
            process.tasks.popleft()
            self._replace(number % self._n_processes)
            raise self._death(task, status) from error
        process.tasks.popleft()
        if isinstance(parcel.content, _Raised):
            raise parcel.content.error
        return self._unwrap(task, number, parcel)

    def _death(self, task: Task, status: int | None) -> WorkerDiedError:
        how, signal_number, limit = "was ended", None, None
        if status is not None and os.WIFSIGNALED(status):
            signal_number = os.WTERMSIG(status)
            how = f"was ended by {signal_name(signal_number)}"
        elif status is not None and os.WEXITSTATUS(status) == _RAN_OUT and self._time_limit:
            limit = self._time_limit(task)
            how = f"did not end its task in {limit:,.0f} s"
        remedy = "if the memory was full, fewer --workers; then the same command goes on"
        death = WorkerDiedError(f"a worker process {how}", None, remedy)
        death.signal_number, death.limit = signal_number, limit
        return death

    def _replace(self, place: int) -> None:
        """Start a process for one that has ended, and hand it what that one had still to do."""
        ended = self._processes[place]
        ended.channel.close()
        self._start(place)
        for task in ended.tasks:
            self._processes[place].hand_over(*task)

    def _start(self, place: int) -> None:
        # Nothing may interrupt between the fork and the moment both sides know who they are: in
        # the child, a handler's exception would unwind into what belongs to the parent.
        with HeldSignals():
            self._fork(place)

    def _fork(self, place: int) -> None:
        libc, parent = ctypes.CDLL(None), os.getpid()
        before = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        try:
            ours, theirs = socket.socketpair()
            process: _Process[Task] = _Process(_Channel(ours))
            self._processes[place] = process
            with theirs, warnings.catch_warnings():
                # Newer Pythons warn of threads they count themselves, numpy's sleeping ones too.
                warnings.simplefilter("ignore", DeprecationWarning)
                process.pid = os.fork()
                if process.pid:
                    return
                try:
                    libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)  # not to outlive a killed parent
                    if os.getppid() == parent:
                        self._serve(_Channel(theirs), before)
                except BaseException:  # noqa: BLE001, nothing may return into the parent's stack
                    traceback.print_exc()
                finally:
                    os._exit(0)
        except OSError as error:
            raise DeviceError(
                f"no worker process can be started: {error.strerror}", None, "fewer --workers"
            ) from error
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)

    def _serve(self, channel: _Channel, mask: set[int | signal.Signals]) -> None:
        """Be the child: take tasks until the parent has no more."""
        # What ends a run may be sent to all its processes at once; the parent decides.
        for sent in signal.valid_signals():
            if callable(signal.getsignal(sent)) or sent in _ENDS:
                signal.signal(sent, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        gc.freeze()  # looking at what is the parent's would copy it, page by page
        for process in self._processes.values():
            process.channel.close()
        nowhere = os.open(os.devnull, os.O_WRONLY)
        with contextlib.suppress(EOFError, ConnectionError):
            while True:
                task, number = channel.receive().content
                if self._time_limit is not None:
                    # A thread of C's, which no stuck decoder can keep from its work.
                    limit = self._time_limit(task)
                    faulthandler.dump_traceback_later(limit, exit=True, file=nowhere)
                parcel = self._answer(task, number)
                faulthandler.cancel_dump_traceback_later()
                channel.send(parcel)
                if parcel.fd >= 0:
                    os.close(parcel.fd)

    def _answer(self, task: Task, number: int) -> Parcel:
        try:
            return self._work(task, number)
        except Exception as error:  # noqa: BLE001, raised where the result is asked for
            return Parcel(_Raised(_portable(error)))

    def _stop(self) -> None:
        """Kill them: whatever they hold, the next run makes again."""
        for process in self._processes.values():
            process.channel.close()
        for process in self._processes.values():
            process.kill()


class ParcelPromise(Generic[Task, Result]):
    """What a task will have become in its process."""

    def __init__(self, processes: Processes[Task, Result], task: Task, number: int) -> None:
        self._processes, self._task, self._number = processes, task, number

    def result(self) -> Result:
        """Wait for the task, and return or raise what it did. Ask once, and in order."""
        return self._processes.receive(self._task, self._number)


class _Process(Generic[Task]):
    """A process as its parent knows it; its number is 0 before it is started and when it ended."""

    def __init__(self, channel: _Channel) -> None:
        self.channel = channel
        self.pid = 0
        self.tasks: deque[tuple[Task, int]] = deque()  # handed over, and not answered

    def hand_over(self, task: Task, number: int) -> None:
        """Give it a task. If it is dead, whoever asks for the result is told."""
        self.tasks.append((task, number))
        with contextlib.suppress(ConnectionError):
            self.channel.send(Parcel((task, number)))

    def wait(self) -> int | None:
        """Wait until it has ended; how it did, or None if nobody knows."""
        if not self.pid:
            return None
        try:
            _, status = os.waitpid(self.pid, 0)
        except ChildProcessError:
            status = None
        self.pid = 0
        return status

    def kill(self) -> None:
        """End it."""
        if not self.pid:
            return
        # Only a child that nobody has waited for is surely still the one of that number.
        with contextlib.suppress(ChildProcessError):
            if os.waitpid(self.pid, os.WNOHANG) == (0, 0):
                os.kill(self.pid, signal.SIGKILL)
                os.waitpid(self.pid, 0)
        self.pid = 0


class _Channel:
    """Parcels over a socket: their length, then what was pickled, with a file beside it."""

    def __init__(self, end: socket.socket) -> None:
        self._socket = end

    def send(self, parcel: Parcel) -> None:
        content = pickle.dumps(parcel.content, pickle.HIGHEST_PROTOCOL)
        data = len(content).to_bytes(_LENGTH_BYTES, "little") + content
        n_sent = 0
        if parcel.fd >= 0:
            n_sent = socket.send_fds(self._socket, [data], [parcel.fd])
        self._socket.sendall(memoryview(data)[n_sent:])

    def receive(self) -> Parcel:
        head, fds, _, _ = socket.recv_fds(
            self._socket, _LENGTH_BYTES, 1, flags=socket.MSG_CMSG_CLOEXEC
        )
        if not head:
            raise EOFError
        try:
            head += self._read(_LENGTH_BYTES - len(head))
            content = self._read(int.from_bytes(head, "little"))
        except BaseException:
            for fd in fds:
                os.close(fd)
            raise
        return Parcel(pickle.loads(content), fds[0] if fds else -1)  # noqa: S301, from ourselves

    def _read(self, n_bytes: int) -> bytearray:
        data = bytearray(n_bytes)
        left = memoryview(data)
        while left:
            n_read = self._socket.recv_into(left)
            if not n_read:
                raise EOFError
            left = left[n_read:]
        return data

    def close(self) -> None:
        self._socket.close()


def _portable(error: Exception) -> Exception:
    """The exception as it can be sent home, where its traceback cannot go."""
    trace = "".join(traceback.format_exception(error))
    try:
        if type(pickle.loads(pickle.dumps(error))) is type(error):  # noqa: S301, our own
            error.add_note(f"raised in a worker process:\n{trace}")
            return error
    except Exception:  # noqa: BLE001, S110, whatever it is that cannot be pickled
        pass
    return RuntimeError(f"raised in a worker process:\n{trace}")
