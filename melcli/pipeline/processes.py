"""Processes that do the work, where threads would stand in each other's way.

Reading a clip of a second is mostly Python, so threads wait for the interpreter lock in turn, and
handing it over costs more than the work: two of them are no faster than one. A forked process has
its own lock. It starts in milliseconds with all that this one has loaded, shares its memory until
one of them writes, and holds nothing that is worth saving.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import os
import pickle
import signal
import socket
import sys
import traceback
import warnings
from typing import TYPE_CHECKING, Any, Final, Generic, NamedTuple, Self, TypeVar

from melcli.errors import DeviceError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import TracebackType

Task = TypeVar("Task")
Result = TypeVar("Result")

_LENGTH_BYTES: Final = 8
_PR_SET_PDEATHSIG: Final = 1
_ENDS: Final = (signal.SIGINT, signal.SIGTERM)


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


def can_fork() -> bool:
    """Whether this process can be forked safely: on Linux, with no other thread of Python's.

    Another thread might hold a lock at that moment, and nobody would release it in the copy.
    """
    # threading.active_count() counts some that have ended.
    return sys.platform == "linux" and len(sys._current_frames()) == 1  # noqa: SLF001


class Processes(Generic[Task, Result]):
    """Processes that take tasks in turn; leaving the ``with`` block ends them.

    Args:
        work: Called with each task and its number, in a process.
        unwrap: Called in this process with a task, its number, and the parcel that came of it.
        n_processes: How many.

    Raises:
        DeviceError: The system starts no further process.
    """

    def __init__(
        self,
        work: Callable[[Task, int], Parcel],
        unwrap: Callable[[Task, int, Parcel], Result],
        n_processes: int,
    ) -> None:
        self._work, self._unwrap = work, unwrap
        self._n_processes, self._n_submitted = n_processes, 0
        self._channels: list[_Channel] = []
        self._pids: list[int] = []

    def __enter__(self) -> Self:
        pairs = [socket.socketpair() for _ in range(self._n_processes)]
        self._channels = [_Channel(ours) for ours, _ in pairs]
        try:
            for number in range(self._n_processes):
                self._start(number, pairs)
        except OSError as error:
            self._stop()
            raise DeviceError(
                f"no worker process can be started: {error.strerror}", None, "fewer --workers"
            ) from error
        except BaseException:
            self._stop()
            raise
        finally:
            for _, theirs in pairs:
                theirs.close()
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
        process = number % self._n_processes
        with self._deaths_told(process):
            self._channels[process].send(Parcel((task, number)))
        return ParcelPromise(self, task, number)

    def receive(self, task: Task, number: int) -> Result:
        """Wait for the result of a task.

        Raises:
            DeviceError: Its process was killed.
        """
        process = number % self._n_processes
        with self._deaths_told(process):
            parcel = self._channels[process].receive()
        if isinstance(parcel.content, _Raised):
            raise parcel.content.error
        return self._unwrap(task, number, parcel)

    def _start(self, number: int, pairs: list[tuple[socket.socket, socket.socket]]) -> None:
        libc, parent = ctypes.CDLL(None), os.getpid()
        # Nothing may interrupt between the fork and the moment both sides know who they are: in
        # the child, a handler's exception would unwind into what belongs to the parent.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        try:
            with warnings.catch_warnings():
                # Newer Pythons warn of threads they count themselves, numpy's sleeping ones too.
                warnings.simplefilter("ignore", DeprecationWarning)
                pid = os.fork()
            if pid:
                self._pids.append(pid)
                return
            try:
                libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)  # not to outlive a killed parent
                if os.getppid() == parent:
                    self._serve(number, pairs, before)
            except BaseException:  # noqa: BLE001, nothing may return into the parent's stack
                traceback.print_exc()
            finally:
                os._exit(0)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)

    def _serve(
        self,
        number: int,
        pairs: list[tuple[socket.socket, socket.socket]],
        mask: set[int | signal.Signals],
    ) -> None:
        """Be the child: take tasks until the parent has no more."""
        # What ends a run may be sent to all its processes at once; the parent decides.
        for sent in signal.valid_signals():
            if callable(signal.getsignal(sent)) or sent in _ENDS:
                signal.signal(sent, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        gc.freeze()  # looking at what is the parent's would copy it, page by page
        for other, (ours, theirs) in enumerate(pairs):
            ours.close()
            if other != number:
                theirs.close()
        channel = _Channel(pairs[number][1])
        with contextlib.suppress(EOFError, ConnectionError):
            while True:
                parcel = self._answer(*channel.receive().content)
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
        for channel in self._channels:
            channel.close()
        while self._pids:
            # Only a child that nobody has waited for is surely still the one of that number.
            with contextlib.suppress(ChildProcessError):
                if os.waitpid(self._pids[-1], os.WNOHANG) == (0, 0):
                    os.kill(self._pids[-1], signal.SIGKILL)
                    os.waitpid(self._pids[-1], 0)
            self._pids.pop()

    @contextlib.contextmanager
    def _deaths_told(self, process: int) -> Iterator[None]:
        try:
            yield
        except (EOFError, ConnectionError) as error:
            with contextlib.suppress(ChildProcessError):
                _, status = os.waitpid(self._pids[process], 0)
                how = f" by signal {os.WTERMSIG(status)}" if os.WIFSIGNALED(status) else ""
                raise DeviceError(
                    f"a worker process was ended{how}",
                    None,
                    "if the memory was full, fewer --workers; then the same command goes on",
                ) from error
            raise


class ParcelPromise(Generic[Task, Result]):
    """What a task will have become in its process."""

    def __init__(self, processes: Processes[Task, Result], task: Task, number: int) -> None:
        self._processes, self._task, self._number = processes, task, number

    def result(self) -> Result:
        """Wait for the task, and return or raise what it did. Ask once, and in order."""
        return self._processes.receive(self._task, self._number)


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
        head += self._read(_LENGTH_BYTES - len(head))
        content = self._read(int.from_bytes(head, "little"))
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
