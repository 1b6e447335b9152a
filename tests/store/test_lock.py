"""The lock of an output: one writer, known to whoever comes second, with flock or with a file."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import signal
import socket
import subprocess
import sys
import textwrap
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

import pytest

from melcli.errors import StoreError
from melcli.store import disk, lock
from melcli.store.journal import Entry, Journal
from melcli.store.records import Failed, Header

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from types import FrameType

HEADER = Header("", "d", {"a": "b"}, {"c": "d"}, "cmd", "now", "0", (4,), ("frame",), "float32")
ENTRY = Entry(Failed("a.wav", 1, 2, "holds no samples", None), -1)
MINUTE_AGO, NOW = 61.0, 0.0  # ages

SCRIPT = """
import errno, fcntl, json, os, random, sys, time, warnings
from pathlib import Path
from melcli.errors import StoreError
from melcli.store import lock
from melcli.store.journal import Journal
from melcli.store.records import Failed, Header
from test_lock import ENTRY, HEADER, no_locks
path = Path(sys.argv[1])
if sys.argv[2] == "file":
    fcntl.flock = no_locks
"""


def no_locks(*_: object) -> None:
    """Stand for flock where a file system has none."""
    raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Give a place for a journal, alone in its folder."""
    folder = tmp_path / "run"
    folder.mkdir()
    return folder / "x.journal"


@pytest.fixture
def file(path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give the place of the lock file, and take flock away."""
    monkeypatch.setattr(fcntl, "flock", no_locks)
    return path.with_name("x.journal.lock")


@pytest.fixture(params=["flock", "file"])
def kind(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Give each kind of lock."""
    if request.param == "file":
        monkeypatch.setattr(fcntl, "flock", no_locks)
    return str(request.param)


class Process:
    """Another process that runs a script, to whose lines it answers."""

    def __init__(self, path: Path, kind: str, script: str) -> None:
        environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join([os.path.dirname(__file__), *sys.path]),  # noqa: PTH120
        }
        self.popen = subprocess.Popen(
            [sys.executable, "-c", SCRIPT + textwrap.dedent(script), str(path), kind],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.pid = self.popen.pid

    def hear(self) -> str:
        """Wait for a line."""
        assert self.popen.stdout is not None
        return self.popen.stdout.readline().strip()

    def tell(self) -> None:
        """Let it go on."""
        assert self.popen.stdin is not None
        self.popen.stdin.write("\n")
        self.popen.stdin.flush()

    def end(self, number: int | None = None) -> None:
        """Wait until it has ended, or kill it."""
        if number is not None:
            self.popen.send_signal(number)
        self.popen.communicate()


HOLDER = """
journal = Journal(path)
journal.begin(HEADER)
print("held", flush=True)
sys.stdin.readline()
journal.close()
"""


@pytest.fixture
def holder(path: Path, kind: str) -> Iterator[Process]:
    """Give a process that holds the lock."""
    process = Process(path, kind, HOLDER)
    assert process.hear() == "held"
    yield process
    process.end(signal.SIGKILL)


def listing(path: Path) -> dict[str, tuple[int, int, bytes]]:
    """Give names, sizes, times and contents of all that lies beside a journal."""
    return {
        found.name: (found.stat().st_size, found.stat().st_mtime_ns, found.read_bytes())
        for found in path.parent.iterdir()
    }


def record(**changes: Any) -> bytes:
    """Make the line of a lock file, whose process lives on another host if nothing else is said."""
    made = {
        "host": "node7",
        "process": 4242,
        "space": "boot pid:[1]",
        "start": 17,
        "since": "2026-11-21T18:03:12+00:00",
        "token": "0123456789abcdef",
    }
    return json.dumps(made | changes).encode() + b"\n"


def ours(**changes: Any) -> bytes:
    """Make the line of a lock file of a process on this host; of this one, if nothing is said."""
    made = {
        "host": socket.gethostname(),
        "process": os.getpid(),
        "space": lock._space(),
        "start": lock._start(os.getpid()),
    }
    return record(**made | changes)


def put(file: Path, data: bytes, age: float) -> None:
    """Write a lock file as another has left it, some seconds ago."""
    file.write_bytes(data)
    set_age(file, age)


def set_age(file: Path, age: float) -> None:
    """Make a file older."""
    then = time.time() - age
    os.utime(file, (then, then))


def refused(path: Path, match: str) -> StoreError:
    """Be refused, without a trace."""
    before = listing(path)
    with pytest.raises(StoreError, match=match) as caught:
        Journal(path)
    assert listing(path) == before
    assert caught.value.exit_code == 4
    return caught.value


def dead() -> int:
    """Give the id of a process that has ended."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


# Either kind.


def test_second_is_told(path: Path, holder: Process) -> None:
    """Whoever comes second is told who writes, where and since when, and touches nothing."""
    who = rf"\(process {holder.pid} on {socket.gethostname()} since \d{{4}}-\d\d-\d\d [\d:]+ UTC\)"
    told = refused(path, "another melcli is writing this output " + who)
    assert told.remedy == "wait for it to end, or choose another -o"
    holder.tell()
    holder.end()
    Journal(path).close()


def test_killed_holder(path: Path, holder: Process) -> None:
    """A writer that was killed holds nothing any more, at once."""
    holder.end(signal.SIGKILL)
    journal = Journal(path)
    assert journal.header == HEADER
    journal.remove()
    assert listing(path) == {}


def test_second_of_one_process(path: Path, kind: str) -> None:  # noqa: ARG001
    """Two writers in one process are two writers."""
    journal = Journal(path)
    refused(path, rf"process {os.getpid()} on ")
    journal.close()
    assert not journal.is_ours()
    Journal(path).close()


def test_removed_while_locking(
    path: Path,
    kind: str,  # noqa: ARG001
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A lock on a journal that its writer has just removed is not taken for one."""
    original = disk.open_file

    def removed_meanwhile(path: Path) -> int:
        fd = original(path)
        path.unlink()
        monkeypatch.setattr(disk, "open_file", original)
        return fd

    monkeypatch.setattr(disk, "open_file", removed_meanwhile)
    journal = Journal(path)
    journal.begin(HEADER)
    assert b"header" in path.read_bytes()
    refused(path, "another melcli")
    journal.close()


def test_foreign_journal(path: Path, kind: str) -> None:  # noqa: ARG001
    """A file that is no journal is left as it is, alone as it was."""
    path.write_bytes(b"mine")
    refused(path, "not a journal")


def test_forked_child(path: Path, kind: str) -> None:
    """A forked process neither beats nor lets go of the lock that its parent holds."""
    script = """
        warnings.simplefilter("ignore")  # that forking with threads may be unsafe
        journal = Journal(path)
        for ending in (journal.close, lambda: None):
            child = os.fork()
            if not child:
                alone = len(sys._current_frames()) == 1
                ending()
                os._exit(alone)
            print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
            sys.stdin.readline()
        journal.begin(HEADER)
        journal.remove()
        print("removed", flush=True)
    """
    process = Process(path, kind, script)
    for _ in range(2):
        assert process.hear() == "1"
        refused(path, f"process {process.pid} on ")
        process.tell()
    assert process.hear() == "removed"
    process.end()
    assert listing(path) == {}


@contextmanager
def interrupted(at: int) -> Iterator[None]:
    """Raise an exception before one of the lines of lock.py that are to come."""
    n_left = at

    def trace(frame: FrameType, event: str, _: Any) -> Any:
        nonlocal n_left
        if frame.f_code.co_filename != lock.__file__:
            return None
        if frame.f_code.co_name == "_close":  # where Python itself does not stop, as it says there
            return None
        if event == "line":
            n_left -= 1
            if not n_left:
                raise KeyboardInterrupt
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        yield
    finally:
        sys.settrace(before)


def is_beating() -> bool:
    """Tell whether a thread beats, once those that are about to end have done so."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        frames = sys._current_frames().values()
        if not any(frame.f_code.co_name == "_beat" for frame in frames):
            return False
        time.sleep(0.001)
    return True


def check_free(path: Path) -> None:
    """Check that the lock can be had, at the latest in a minute."""
    assert not is_beating()
    for left in path.parent.glob("*.lock*"):
        set_age(left, MINUTE_AGO)
    Journal(path).remove()
    assert listing(path) == {}


# A file that was opened, but not yet given a name when the exception came, closes itself, and says
# that it had to.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_interrupted_while_locking(path: Path, kind: str) -> None:
    """Wherever a signal comes while it locks, nothing hangs, beats on, or stays locked for long."""
    at, is_through = 0, False
    while not is_through:
        at += 1
        with suppress(KeyboardInterrupt):
            with interrupted(at):
                journal = Journal(path)
            is_through = True
            journal.close()
        check_free(path)
    assert at > (60 if kind == "file" else 30)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # as above
def test_interrupted_while_releasing(path: Path, kind: str) -> None:
    """A release that a signal interrupted can be done again, and is whole then."""
    at, is_through = 0, False
    while not is_through:
        at += 1
        journal = Journal(path)
        with suppress(KeyboardInterrupt), interrupted(at):
            journal.close()
            is_through = True
        journal.close()
        check_free(path)
    assert at > (30 if kind == "file" else 10)


# With flock.


def test_flock_needs_no_file(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where there are locks, nothing lies beside the journal, and to check costs nothing."""
    journal = Journal(path)
    journal.begin(HEADER)
    assert list(listing(path)) == ["x.journal"]
    monkeypatch.setattr(lock, "_look", None)  # as would a look at the disk
    journal.check()
    journal.commit(0)
    monkeypatch.undo()
    journal.close()


def test_name_of_the_last_writer(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While a long journal is read, its first line names who reads it, not who wrote it last."""
    journal = Journal(path)
    journal.begin(HEADER)
    journal.add(ENTRY)
    journal.commit(0)
    journal.close()
    with path.open("r+b") as file:
        file.write(path.read_bytes()[:256].replace(str(os.getpid()).encode(), b"0"))
    original = json.loads
    told = []

    def slow(text: Any) -> Any:
        if text.startswith(b'{"segment"'):
            monkeypatch.undo()
            told.append(refused(path, "another melcli"))
        return original(text)

    monkeypatch.setattr(json, "loads", slow)
    Journal(path).close()
    assert f"process {os.getpid()} on " in told[0].cause


def test_file_where_flock_works(path: Path) -> None:
    """A host without flock is believed by one that has it; what it left behind is removed."""
    file = path.with_name("x.journal.lock")
    put(file, record(), NOW)
    refused(path, "process 4242 on node7 since 2026-11-21 18:03:12 UTC")
    set_age(file, MINUTE_AGO)
    journal = Journal(path)
    assert list(listing(path)) == ["x.journal"]
    refused(path, f"process {os.getpid()} on ")
    journal.close()


def test_other_faults_of_flock(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only that there are no locks leads to a lock file; another fault is one."""

    def fails(*_: object) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(fcntl, "flock", fails)
    with pytest.raises(OSError, match="Input/output"):
        Journal(path)
    assert list(listing(path)) == ["x.journal"]


# With a file.


def test_what_the_file_says(path: Path, file: Path) -> None:
    """The lock file is one line of JSON that tells all that is needed, and goes with the lock."""
    journal = Journal(path)
    (line,) = file.read_text().splitlines()
    told = json.loads(line)
    assert told.pop("since")[:2] == "20"
    assert len(told.pop("token")) == 16
    assert told == {
        name: json.loads(ours())[name] for name in ("host", "process", "space", "start")
    }
    journal.close()
    assert list(listing(path)) == ["x.journal"]


def test_dead_process_of_this_host(path: Path, file: Path) -> None:
    """The lock of a process that is dead is taken over, however fresh."""
    put(file, ours(process=dead()), NOW)
    journal = Journal(path)
    assert json.loads(file.read_bytes())["process"] == os.getpid()
    journal.remove()
    assert listing(path) == {}


def test_reused_process_id(path: Path, file: Path) -> None:
    """A process that began at another time is another, though it has the same id."""
    path.touch()
    put(file, ours(), NOW)
    refused(path, f"process {os.getpid()} on ")
    put(file, ours(start=17), NOW)
    Journal(path).close()


def test_zombie(path: Path, file: Path) -> None:
    """A process that has ended is dead, though nobody has asked for its exit status."""
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    put(file, ours(process=process.pid, start=lock._start(process.pid)), NOW)
    path.touch()
    refused(path, f"process {process.pid} on ")
    process.kill()
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    Journal(path).close()
    process.communicate()


def test_start_of_a_process_with_a_wild_name(path: Path) -> None:
    """A process may be called anything without looking like another."""
    script = """
        before = lock._start(os.getpid())
        Path("/proc/self/comm").write_text("a) Z 1 (")
        print(before is not None and before == lock._start(os.getpid()), flush=True)
    """
    process = Process(path, "flock", script)
    assert process.hear() == "True"
    process.end()


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"host": "node7"}, id="host"),
        pytest.param({"space": "another boot, or another container"}, id="space"),
        {"space": None},
    ],
)
def test_process_elsewhere(path: Path, file: Path, changes: dict[str, Any]) -> None:
    """Of a process elsewhere only its beat is known: held for a minute, and stale from then on."""
    path.touch()
    put(file, ours(**{"process": dead()} | changes), 30)
    refused(path, "another melcli is writing")
    set_age(file, MINUTE_AGO)
    Journal(path).close()


@pytest.mark.parametrize("skew", [-1e5, 1e5])
def test_local_clock(path: Path, file: Path, skew: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """The local clock may be wrong: ages are those of the file server's."""
    path.touch()
    put(file, record(), 30)
    original = time.time
    monkeypatch.setattr(time, "time", lambda: original() + skew)
    monkeypatch.setattr(time, "time_ns", lambda: int((original() + skew) * 1e9))
    refused(path, "node7")
    monkeypatch.undo()
    monkeypatch.setattr(fcntl, "flock", no_locks)
    put(file, record(), MINUTE_AGO)
    monkeypatch.setattr(time, "time", lambda: original() + skew)
    Journal(path).close()


@pytest.mark.parametrize("skew", [-1e5, 1e5])
def test_file_server_clock(path: Path, file: Path, skew: float) -> None:
    """A file server may live in another time, which its beats and the judge's file share."""
    path.touch()
    create = lock._create

    def shifted(made: Path, data: bytes) -> bool:
        is_made = create(made, data)
        set_age(made, skew)
        return is_made

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lock, "_create", shifted)
        put(file, record(), skew + 30)
        refused(path, "node7")
        set_age(file, skew + MINUTE_AGO)
        Journal(path).close()


@pytest.mark.parametrize(
    "data",
    [
        b"",
        record()[:-20],
        b"null\n",
        b"[" * 1000,
        record(process="4242"),
        record(process=0),
        record(process=1 << 40),
        record(host=7),
        record(host="\x1b[2J"),
        record(more=1),
        b"\xff" * 5000,
    ],
)
def test_torn_file(path: Path, file: Path, data: bytes) -> None:
    """A lock file that says nothing has a maker, who may be about to write it, for a minute."""
    path.touch()
    put(file, data, 30)
    refused(path, r"\(an unknown process\)")
    set_age(file, MINUTE_AGO)
    Journal(path).remove()
    assert listing(path) == {}


def test_file_without_a_journal(path: Path, file: Path) -> None:
    """While the last writer tidies up, the journal is gone already: nobody makes a new one."""
    put(file, record(), NOW)
    refused(path, "node7")
    assert not path.exists()


def test_link_to_nothing(path: Path, file: Path) -> None:
    """What can neither be read nor made is refused, and not tried for ever."""
    path.touch()
    file.symlink_to("nowhere")
    with pytest.raises(StoreError, match="an unknown process"):
        Journal(path)
    assert file.is_symlink()


def test_beat(path: Path, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As long as its writer lives, the lock file is touched, and its content is left alone."""
    monkeypatch.setattr(lock, "BEAT_SECONDS", 0.01)
    journal = Journal(path)
    line = file.read_bytes()
    for _ in range(3):
        set_age(file, MINUTE_AGO)
        old = file.stat().st_mtime
        deadline = time.monotonic() + 30
        while file.stat().st_mtime < old + 30 and time.monotonic() < deadline:
            time.sleep(0.001)
        assert file.stat().st_mtime > old + 30
    assert file.read_bytes() == line
    journal.close()
    # Nothing beats any more.
    put(file, line, MINUTE_AGO)
    before = listing(path)
    time.sleep(0.05)
    assert listing(path) == before


def lose(journal: Journal, file: Path) -> Journal:
    """Let a second writer take the output over, as if the first had slept for a minute."""
    set_age(file, MINUTE_AGO)
    second = Journal(journal.path)
    assert not journal.is_ours()
    assert second.is_ours()
    return second


def test_lost_lock(path: Path, file: Path) -> None:
    """A writer that lost its lock is told to whom, and spoils nothing of the other's."""
    first = Journal(path)
    first.begin(HEADER)
    first.add(ENTRY)
    second = lose(first, file)
    second.add(ENTRY)
    second.commit(7)
    before = listing(path)
    who = json.loads(file.read_bytes())
    pattern = (
        rf"took this output over .*\(process {who['process']} on {who['host']} since .* UTC\): "
        "nothing of the segment in hand was written"
    )
    for begins in (False, True):
        with pytest.raises(StoreError, match=pattern) as caught:
            first.begin(HEADER) if begins else first.commit(1)
        assert caught.value.exit_code == 4
        assert "run the same command again" in str(caught.value.remedy)
    first.remove()
    first.close()
    assert listing(path) == before
    second.commit(9)
    second.remove()
    assert listing(path) == {}


def test_lost_file(path: Path, file: Path) -> None:
    """A lock whose file is gone is lost too: someone may have come and gone meanwhile."""
    journal = Journal(path)
    journal.begin(HEADER)
    file.unlink()
    with pytest.raises(StoreError, match="one that has ended, or someone removed its lock"):
        journal.commit(1)
    journal.close()


def test_quick_check(path: Path, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Shortly after a beat nobody can have taken the lock, so nobody looks; later somebody does."""
    journal = Journal(path)
    looks: list[Path] = []
    look = lock._look

    def looked(file: Path) -> object:
        looks.append(file)
        return look(file)

    monkeypatch.setattr(lock, "_look", looked)
    journal.check()
    assert looks == []
    clock = lock._elapsed
    monkeypatch.setattr(lock, "_elapsed", lambda: clock() + 31)
    journal.check()
    assert looks == [file]
    second = lose(journal, file)
    with pytest.raises(StoreError, match="took this output over"):
        journal.check()
    journal.close()
    second.close()


def test_stopped_holder(path: Path, file: Path) -> None:
    """A process that was stopped and woken up notices, and does not beat for the other."""
    script = """
        lock.BEAT_SECONDS = 0.01
        journal = Journal(path)
        journal.begin(HEADER)
        print("held", flush=True)
        sys.stdin.readline()
        time.sleep(0.1)  # it may have been stopped in the middle of a beat
        print("awake", flush=True)
        sys.stdin.readline()
        time.sleep(0.1)
        try:
            journal.commit(1)
        except StoreError as error:
            print(error, flush=True)
        journal.remove()
    """
    process = Process(path, "file", script)
    assert process.hear() == "held"
    process.popen.send_signal(signal.SIGSTOP)
    os.waitid(os.P_PID, process.pid, os.WSTOPPED)
    set_age(file, MINUTE_AGO)
    journal = Journal(path)
    process.tell()
    process.popen.send_signal(signal.SIGCONT)
    assert process.hear() == "awake"
    before = listing(path)
    process.tell()
    assert f"(process {os.getpid()} on " in process.hear()
    process.end()
    assert listing(path) == before
    journal.commit(0)
    journal.close()


CONTENDER = """
n_rounds, n_processes, me = map(int, sys.argv[3:])
# Slower than they are, these steps of several processes fall between each other's.
for name in ("_look", "_create"):
    def slowed(*args, original=getattr(lock, name)):
        result = original(*args)
        time.sleep(random.random() / 500)
        return result
    setattr(lock, name, slowed)
won = {}
for n in range(n_rounds):
    folder = path / str(n)
    (path / f"{n} {me}").touch()
    while not all((path / f"{n} {other}").exists() for other in range(n_processes)):
        time.sleep(0.0005)
    try:
        won[n] = Journal(folder / "x.journal")
    except StoreError as error:
        assert "is writing this output" in str(error), error
(path / f"end {me}").touch()
while not all((path / f"end {other}").exists() for other in range(n_processes)):
    time.sleep(0.0005)
for journal in won.values():
    journal.begin(HEADER)
print(json.dumps(list(won)), flush=True)
for journal in won.values():
    journal.remove()
"""


@pytest.mark.parametrize("start", ["stale", "dead", "torn", "none"])
def test_many_at_once(tmp_path: Path, start: str) -> None:
    """Of several that want a lock at the same time one has it, undisturbed by the others."""
    n_rounds, n_processes = 25, 4
    data = {"stale": record(), "dead": ours(process=dead()), "torn": b""}.get(start)
    for n in range(n_rounds):
        folder = tmp_path / str(n)
        folder.mkdir()
        (folder / "x.journal").touch()
        if data is not None:
            put(folder / "x.journal.lock", data, NOW if start == "dead" else MINUTE_AGO)
    arguments = f"sys.argv += ['{n_rounds}', '{n_processes}', '%d']"
    processes = [
        Process(tmp_path, "file", f"{arguments % me}{CONTENDER}") for me in range(n_processes)
    ]
    won = [json.loads(process.hear()) for process in processes]
    for process in processes:
        process.end()
    assert sorted(n for each in won for n in each) == list(range(n_rounds))
    for n in range(n_rounds):
        assert not list((tmp_path / str(n)).iterdir())


def claim(file: Path) -> Path:
    """Give the claim that goes with a lock file as it is."""
    seen = lock._look(file)
    assert seen is not None
    return lock.Lock(file.with_name("x.journal"))._claim(seen)


@pytest.mark.parametrize(
    ("made_by", "age", "is_free"),
    [
        (record(), NOW, False),
        (record(), MINUTE_AGO, True),
        (b"", NOW, False),
        (b"", MINUTE_AGO, True),
        (ours(), NOW, False),
        (ours(start=17), NOW, True),
    ],
)
def test_claim(path: Path, file: Path, made_by: bytes, age: float, *, is_free: bool) -> None:
    """Whoever is about to take a stale lock over is left to it, unless he was killed there."""
    path.touch()
    put(file, record(process=7), MINUTE_AGO)
    put(claim(file), made_by, age)
    if is_free:
        Journal(path).remove()
        assert listing(path) == {}
    else:
        refused(path, "an unknown process" if not made_by else "process (4242|[0-9]+) on ")


def test_holder_comes_back(path: Path, file: Path) -> None:
    """A beat that arrives while the lock is judged saves it."""
    path.touch()
    put(file, record(), MINUTE_AGO)
    create = lock._create

    def beaten(made: Path, data: bytes) -> bool:
        if made == claim(file):
            os.utime(file)
        return create(made, data)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lock, "_create", beaten)
        with pytest.raises(StoreError, match="node7"):
            Journal(path)
    assert file.read_bytes() == record()
    assert sorted(listing(path)) == ["x.journal", "x.journal.lock"]


def test_lost_while_releasing(path: Path, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A lock that another takes over at the last moment is left to him."""
    journal = Journal(path)
    create = lock._create

    def replaced(made: Path, data: bytes) -> bool:
        file.write_bytes(record())
        return create(made, data)

    monkeypatch.setattr(lock, "_create", replaced)
    journal.close()
    assert file.read_bytes() == record()
    assert sorted(listing(path)) == ["x.journal", "x.journal.lock"]


def test_remains_are_removed(path: Path, file: Path) -> None:
    """What killed processes left beside a lock goes with it; what is fresh may be in use."""
    journal = Journal(path)
    put(file.with_name("x.journal.lock.old"), b"?", MINUTE_AGO + 10)
    put(file.with_name("x.journal.lock.new"), b"?", NOW)
    put(file.with_name("x.journal.locked"), b"mine", MINUTE_AGO + 10)
    journal.close()
    assert sorted(listing(path)) == ["x.journal", "x.journal.lock.new", "x.journal.locked"]


def test_full_disk(path: Path, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A lock file that cannot be written is not left behind half made."""
    path.touch()
    monkeypatch.setattr(lock._Writer, "line", lambda _: "not bytes")
    with pytest.raises(TypeError):
        Journal(path)
    assert not file.exists()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="POSIX")
def test_a_child_does_not_hold_it(path: Path) -> None:
    """The lock is gone with its process, though one that was forked from it lives on."""
    code = (
        "import os, signal, sys, time\n"
        "from pathlib import Path\n"
        "from melcli.store.lock import Lock\n"
        "lock = Lock(Path(sys.argv[1]))\n"
        "lock.acquire()\n"
        "if not os.fork():\n"
        "    print(os.getpid(), flush=True)\n"  # it is on its way once it says so itself
        "time.sleep(60)\n"
    )
    command = [sys.executable, "-c", code, str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        child = int(process.stdout.readline())
        process.kill()
        process.wait()
        ours = lock.Lock(path)
        try:
            ours.acquire()
            ours.release()
        finally:
            os.kill(child, signal.SIGKILL)
