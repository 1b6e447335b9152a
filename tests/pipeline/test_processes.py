"""Processes that do the work: what they send home, how they end, and that no signal strands one."""

from __future__ import annotations

import _thread
import contextlib
import ctypes
import faulthandler
import os
import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from melcli.errors import AudioError, DeviceError
from melcli.pipeline.processes import Parcel, Processes, WorkerDiedError, can_fork

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="forks on Linux only")


class StopError(Exception):
    """What a signal handler raises, wherever the main process is."""


class TwoArgumentsError(Exception):
    """Cannot be unpickled: it is given one argument then."""

    def __init__(self, first: str, second: str) -> None:
        super().__init__(first + second)


def content(_task: int, _number: int, parcel: Parcel) -> Any:
    """Take a parcel as it is."""
    return parcel.content


def start(work: Callable[[int], Any], n: int = 2) -> Processes[int, Any]:
    """Processes that send home what ``work`` returns."""
    return Processes(lambda task, _: Parcel(work(task)), content, n)


def pids_of(pool: Processes[Any, Any]) -> list[int]:
    """The processes of a pool."""
    return [process.pid for process in pool._processes.values()]


def libc_sleep(seconds: int) -> int:
    """Sleep within C without releasing the interpreter lock."""
    slept: int = ctypes.PyDLL(None).sleep(seconds)
    return slept


def is_alive(pid: int) -> bool:
    """Whether there is such a process, a dead one that nobody has asked for left out."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_results_come_with_their_tasks() -> None:
    """Each promise gives what its own task became, in another process."""
    with start(lambda n: (n * n, os.getpid()), 3) as pool:
        found = [promise.result() for promise in [pool.submit(n) for n in range(50)]]
    assert [square for square, _ in found] == [n * n for n in range(50)]
    assert len({pid for _, pid in found} | {os.getpid()}) == 4


def test_large_results() -> None:
    """More than a socket holds at once."""
    with start(lambda n: bytes([n]) * 3_000_000) as pool:
        for n, promise in enumerate([pool.submit(n) for n in range(4)]):
            assert promise.result() == bytes([n]) * 3_000_000


def test_an_open_file_comes_home() -> None:
    """What a process wrote can be read here; it has no name."""

    def work(n: int, number: int) -> Parcel:
        assert n == number
        fd = os.memfd_create("test")
        os.write(fd, b"%d" % n)
        return Parcel("told", fd)

    def unwrap(n: int, number: int, parcel: Parcel) -> bytes:
        assert n == number
        assert parcel.content == "told"
        try:
            return os.pread(parcel.fd, 10, 0)
        finally:
            os.close(parcel.fd)

    open_files = len(list(Path("/proc/self/fd").iterdir()))
    with Processes(work, unwrap, 2) as pool:
        assert [pool.submit(n).result() for n in range(300)] == [b"%d" % n for n in range(300)]
    assert len(list(Path("/proc/self/fd").iterdir())) == open_files


class TestRaised:
    """What a task raises is raised where its result is asked for."""

    def test_our_errors(self) -> None:
        """With cause, place and remedy; the other tasks go on."""

        def work(n: int) -> int:
            if n == 1:
                raise AudioError("is cut", "a.wav", "mend it")
            return n

        with start(work) as pool:
            promises = [pool.submit(n) for n in range(3)]
            assert promises[0].result() == 0
            with pytest.raises(AudioError) as raised:
                promises[1].result()
            assert promises[2].result() == 2
        told = raised.value
        assert (told.cause, told.path, told.remedy) == ("is cut", "a.wav", "mend it")

    def test_bugs(self) -> None:
        """With the traceback that stays behind, as a note."""
        with start(lambda n: 1 // n) as pool, pytest.raises(ZeroDivisionError) as raised:
            pool.submit(0).result()
        assert "in a worker process" in raised.value.__notes__[0]
        assert "test_processes.py" in raised.value.__notes__[0]

    def test_what_cannot_be_sent(self) -> None:
        """As a plain error that holds the traceback."""

        def work(_: int) -> None:
            raise TwoArgumentsError("one", "two")

        with start(work) as pool, pytest.raises(RuntimeError, match="TwoArgumentsError: onetwo"):
            pool.submit(0).result()

    def test_killed(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """A process that is gone is told, with its signal; its number may be another's by then."""
        killed, kill = [], os.kill

        def record(pid: int, sent: int) -> None:
            killed.append(pid)
            kill(pid, sent)

        monkeypatch.setattr(os, "kill", record)
        with start(lambda _: os.kill(os.getpid(), signal.SIGKILL)) as pool:
            first, second = pids_of(pool)
            with pytest.raises(WorkerDiedError, match="ended by SIGKILL") as raised:
                pool.submit(0).result()
            assert raised.value.signal_number == signal.SIGKILL
            third, _ = pids_of(pool)
        assert first not in killed  # its number may be another's by then
        assert set(killed) <= {second, third}
        assert third != first
        assert not any(map(is_alive, (first, second, third)))

    def test_killed_and_replaced(self) -> None:
        """What waited for the process that died is done by its successor; nothing else is lost."""

        def work(n: int) -> int:
            if n % 5 == 2:
                faulthandler.disable()  # pytest's would print every stack
                os.kill(os.getpid(), signal.SIGSEGV)
            return n * n

        with start(work) as pool:
            promises = [pool.submit(n) for n in range(20)]
            for n, promise in enumerate(promises):
                if n % 5 == 2:
                    with pytest.raises(WorkerDiedError, match="ended by SIGSEGV"):
                        promise.result()
                else:
                    assert promise.result() == n * n

    def test_killed_while_it_sends(self) -> None:
        """An answer that came in part is none, and its open file is not left open."""

        def work(n: int, _: int) -> Parcel:
            fd = os.memfd_create("test")
            if n == 0:
                threading.Timer(0.3, lambda: os.kill(os.getpid(), signal.SIGKILL)).start()
            return Parcel(bytes(100_000_000 if n == 0 else 1), fd)

        def unwrap(_n: int, _number: int, parcel: Parcel) -> int:
            os.close(parcel.fd)
            return len(parcel.content)

        open_files = len(list(Path("/proc/self/fd").iterdir()))
        with Processes(work, unwrap, 1) as pool:
            promises = [pool.submit(n) for n in range(2)]
            time.sleep(1)  # its answer is larger than the socket, so it waits to be asked
            with pytest.raises(WorkerDiedError):
                promises[0].result()
            assert promises[1].result() == 1
        assert len(list(Path("/proc/self/fd").iterdir())) == open_files

    @pytest.mark.parametrize(
        "stuck",
        [lambda: time.sleep(60), lambda: libc_sleep(60), lambda: sum(iter(int, 1))],
        ids=["sleeping", "within C, holding the lock", "in a loop"],
    )
    def test_too_long(self, stuck: Callable[[], object]) -> None:
        """A task that does not end is ended with its process; the next ones are done."""

        def work(n: int, _: int) -> Parcel:
            if n == 1:
                stuck()
            return Parcel(n)

        with Processes(work, content, 1, lambda n: 0.2 if n == 1 else 30.0) as pool:
            promises = [pool.submit(n) for n in range(3)]
            assert promises[0].result() == 0
            with pytest.raises(WorkerDiedError, match=r"did not end its task in 0 s") as raised:
                promises[1].result()
            assert raised.value.limit == 0.2
            assert promises[2].result() == 2

    def test_submitted_to_the_dead(self) -> None:
        """Handing a task to a process that is gone is told as well."""

        def work(_: int) -> None:
            os._exit(3)

        with start(work, 1) as pool:
            promise = pool.submit(0)
            with pytest.raises(DeviceError, match="a worker process was ended"):
                promise.result()


def test_no_further_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the system has a limit, that is told, and those that were started are ended."""
    fork = os.fork
    pids: list[int] = []

    def limited() -> int:
        if pids:
            raise BlockingIOError(11, "Resource temporarily unavailable")
        pid = fork()
        pids.append(pid)
        return pid

    monkeypatch.setattr(os, "fork", limited)
    with pytest.raises(DeviceError, match="Resource temporarily unavailable") as raised:
        start(lambda n: n, 3).__enter__()
    assert raised.value.remedy == "fewer --workers"
    assert not is_alive(pids[0])


class TestEnds:
    """No process outlives the block, however it is left."""

    def test_leaving_in_the_middle(self) -> None:
        """What is being worked on is not waited for."""
        with start(lambda _: os.getpid()) as pool:
            pids = [pool.submit(n).result() for n in range(2)]
        with start(lambda _: time.sleep(60)) as pool:
            pool.submit(0)
            pids += pids_of(pool)
            began = time.monotonic()
        assert time.monotonic() - began < 30
        assert not any(map(is_alive, pids))

    def test_the_parent_is_killed(self) -> None:
        """A process that is left alone ends, even in the middle of a task."""
        code = (
            "import time\n"
            "from melcli.pipeline.processes import Parcel, Processes\n"
            "def work(n, number):\n"
            "    time.sleep(60)\n"
            "with Processes(work, lambda *_: None, 3) as pool:\n"
            "    pool.submit(0)\n"
            "    print(*[p.pid for p in pool._processes.values()], flush=True)\n"
            "    time.sleep(60)\n"
        )
        with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            pids = [int(pid) for pid in process.stdout.readline().split()]
            assert len(pids) == 3
            assert all(map(is_alive, pids))
            process.kill()
        deadline = time.monotonic() + 30
        while any(map(is_alive, pids)) and time.monotonic() < deadline:
            time.sleep(0.01)
        assert not any(map(is_alive, pids))

    @pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM, signal.SIGUSR1])
    def test_signals_to_all(self, sent: signal.Signals) -> None:
        """A signal that reaches every process of a run is the parent's to answer."""

        def work(n: int) -> int:
            os.kill(os.getpid(), sent)
            return n

        before = signal.signal(sent, lambda *_: None)
        try:
            with start(work) as pool:
                assert [pool.submit(n).result() for n in range(4)] == [0, 1, 2, 3]
        finally:
            signal.signal(sent, before)

    # An exception may also arrive in a destructor, where Python can only tell of it.
    @pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
    def test_a_signal_at_any_moment(self) -> None:
        """An exception that arrives anywhere in the main thread strands no process."""

        def interrupt(_number: int, _frame: FrameType | None) -> None:
            raise StopError

        def children() -> int:
            listed = Path(f"/proc/self/task/{threading.get_native_id()}/children").read_text()
            return sum(is_alive(int(pid)) for pid in listed.split())

        moments = random.Random(7)  # noqa: S311, no secret
        before, n_before, stopped = signal.signal(signal.SIGALRM, interrupt), children(), 0
        try:
            for _ in range(60):
                try:
                    signal.setitimer(signal.ITIMER_REAL, moments.uniform(1e-4, 0.1))
                    with start(lambda n: n) as pool:
                        for n in range(2000):
                            pool.submit(n).result()
                        signal.setitimer(signal.ITIMER_REAL, 0)
                except StopError:
                    stopped += 1
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, before)
            with contextlib.suppress(ChildProcessError):
                while os.waitpid(-1, os.WNOHANG)[0]:
                    pass
        assert stopped > 20
        deadline = time.monotonic() + 30  # one forked in the last moment still has to notice
        while children() > n_before and time.monotonic() < deadline:
            time.sleep(0.01)
        assert children() == n_before


def test_not_beside_a_thread() -> None:
    """A lock that another thread holds at that moment would stay taken."""
    known = threading.Event()

    def become_known() -> None:
        threading.current_thread()
        known.set()

    # A thread that threading did not start, and was told of: it stays in its books for good.
    _thread.start_new_thread(become_known, ())
    known.wait()
    deadline = time.monotonic() + 30
    while not can_fork() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert can_fork()
    gate = threading.Event()
    thread = threading.Thread(target=gate.wait)
    thread.start()
    try:
        assert not can_fork()
    finally:
        gate.set()
        thread.join()
