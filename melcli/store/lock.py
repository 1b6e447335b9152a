r"""The lock of an output: one process writes it, and whoever comes second is told which.

Where the file system has locks (``flock``), the journal is locked as long as its writer lives, and
nothing else is needed: its first line names the writer. Where there are none, and on Windows
(untried), a file beside the journal stands for them, ``<journal>.lock``, one line of JSON::

    {"host": "node7", "process": 4242, "space": "d111c5d1-… pid:[4026531836]", "start": 3329502,
     "since": "2026-11-21T18:03:12+00:00", "token": "9a0c4b6f3d21e857"}

A thread touches it every 10 s. It is stale when its process is known to be dead, or after 60 s
without a beat; one that is not whole, since its maker is about to write it or was killed, after
60 s too. Ages are differences of two files' times, since the clocks of two hosts may differ.

Nobody changes a lock file that is there, to take it over or to remove his own, without a claim:
``<journal>.lock.<digest of its content>``, made with O_EXCL. So one process at a time decides what
follows this very lock file, and a claim becomes the next lock file by being renamed: whoever looks
sees the old one or the new one, whole, and never none.

A process that stood still for a minute may have lost its lock. It has to ask, with `Lock.check`,
before it writes what could do harm. And a process without flock cannot see one that has it: all who
write an output have to reach it in the same way.

melcli forks worker processes only where Python has no other thread. With a lock file it has one,
the one that beats, and so computes in threads.
"""

from __future__ import annotations

import _thread
import errno
import glob
import hashlib
import json
import os
import secrets
import socket
import sys
import time
import weakref
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import NamedTuple, Self

from melcli.errors import StoreError
from melcli.store import disk

if sys.platform != "win32":
    import fcntl

MARK = b'{"melcli journal": 1, '
FIRST_LINE = 256  # bytes, so that each process can write its name over the last
BEAT_SECONDS = 10.0
STALE_SECONDS = 60.0
TRUST_SECONDS = 30.0  # after a beat: nobody takes a lock over that was touched so lately

_NO_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP}
_GONE = {errno.ENOENT, errno.ESTALE}
_TRIES = 100
_MOST_BYTES = 1024
_UNKNOWN = "an unknown process"


class Lock:
    """The right to write the journal at ``path``. Nothing is touched before `acquire`.

    Attributes:
        fd: The journal, open for reading and writing while the lock is held; otherwise -1.
    """

    def __init__(self, path: Path) -> None:
        self.fd = -1
        self._path = path
        self._file = path.with_name(path.name + ".lock")
        self._writer = _Writer.this()
        self._line = self._writer.line()
        self._has_file = self._beats = False
        self._last_beat = 0.0
        # A signal may interrupt the main thread anywhere, and every call of these is whole or not
        # begun: see `melcli.pipeline.workers`.
        self._stop: SimpleQueue[None] = SimpleQueue()
        self._ended: SimpleQueue[None] = SimpleQueue()

    def acquire(self) -> None:
        """Open the journal, or make it, and lock it.

        Raises:
            StoreError: Another process holds the lock; what is there was left as it is.
        """
        _held.add(self)
        try:
            self._try_often()
            if self._has_file:
                self._beats = True  # first: a signal may arrive between the two
                _thread.start_new_thread(self._beat, ())
        except BaseException:
            self.release()
            raise

    def sign(self) -> None:
        """Name this process in the first line of the journal."""
        told = json.dumps(str(self._writer)[:200]).encode()
        line = (MARK + b'"writer": %s}' % told).ljust(FIRST_LINE - 1)[: FIRST_LINE - 1] + b"\n"
        disk.write_at(self.fd, line, 0)

    def is_ours(self) -> bool:
        """Tell whether this process has the lock, and no other took it over."""
        return self.fd >= 0 and (not self._has_file or self._is_in_place())

    def check(self, trust_seconds: float = 0.0) -> None:
        """Refuse to go on if another process has taken the lock over.

        Args:
            trust_seconds: For how long after a beat nobody needs to look.

        Raises:
            StoreError: It has.
        """
        if _elapsed() - self._last_beat < trust_seconds or self.is_ours():
            return
        seen = _look(self._file)
        by = _Writer.named(seen.data) if seen else "one that has ended, or someone removed its lock"
        raise StoreError(
            f"another melcli took this output over while this one stood still ({by}): "
            "nothing of the segment in hand was written",
            self._file,
            "wait until no other writes this output, and run the same command again",
        )

    def release(self) -> None:
        """Let go of what is held. In a forked child this closes its copy of the journal only."""
        try:
            if self._writer.process == os.getpid():
                self._stop.put(None)
                if self._beats:
                    with suppress(Empty):  # it may hang in a call to a file server that is away
                        self._ended.get(timeout=1)
                with suppress(OSError):  # then it is stale in a minute at the latest
                    self._remove_file()
        finally:
            self._has_file = self._beats = False
            self._close()

    def _try_often(self) -> None:
        if not any(self._try() for _ in range(_TRIES)):
            raise _in_use(self._path, _UNKNOWN)  # others come and go all the time

    def _try(self) -> bool:
        """Try once to lock the journal; False if what was found has changed meanwhile."""
        # Asked before anything else: who is refused must not have made a journal. Besides, another
        # host may write this output that has no flock.
        if not self._has_file and os.path.lexists(self._file) and not self._take_over():
            return False
        self.fd = disk.open_file(self._path)
        has_flock = self._flock()
        if (has_flock or self._has_file or self._make_file()) and self._is_there():
            if has_flock and self._has_file:  # it was stale, and is not needed any more
                self._remove_file()
                self._has_file = False
            return True
        self._close()
        return False

    def _flock(self) -> bool:
        """Lock the journal, and tell whether this file system has locks at all."""
        if sys.platform != "win32":
            try:
                fcntl.flock(self.fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise _in_use(self._path, _signed(self.fd)) from None
            except OSError as error:
                if error.errno not in _NO_LOCKS:
                    raise
            else:
                return True
        return False

    def _is_there(self) -> bool:
        """Tell whether the journal is still what its name stands for.

        The process before us may have finished, and removed the file that we just opened.
        """
        try:
            return os.path.samestat(os.fstat(self.fd), self._path.stat())
        except FileNotFoundError:
            return False

    def _close(self) -> None:
        # Python looks for signals when a function begins or returns, so not between these.
        fd, self.fd = self.fd, -1
        if fd >= 0:
            os.close(fd)

    # The lock file.

    def _make_file(self) -> bool:
        self._last_beat = _elapsed()
        self._has_file = _create(self._file, self._line)
        return self._has_file

    def _is_in_place(self) -> bool:
        seen = _look(self._file)
        return seen is not None and seen.data == self._line

    def _take_over(self) -> bool:
        """Put our lock file in the place of one that is stale; False if it changed meanwhile.

        Raises:
            StoreError: It is not stale, or someone else is about to do the same.
        """
        seen = _look(self._file)
        if seen is None:
            return False
        if not self._is_stale(seen):
            raise _in_use(self._file, _Writer.named(seen.data))
        self._last_beat = _elapsed()
        self._has_file = self._replace(seen)
        if not self._has_file and (claim := _look(self._claim(seen))):
            if not self._is_stale(claim):
                raise _in_use(self._file, _Writer.named(claim.data))
            self._claim(seen).unlink(missing_ok=True)  # its maker was killed
        return self._has_file

    def _replace(self, stale: _Seen) -> bool:
        claim = self._claim(stale)
        if not _create(claim, self._line):
            return False
        try:
            if _look(self._file) != stale:  # another came first, or its holder is back
                return False
            with suppress(FileNotFoundError):  # another took the claim for a dead one's
                claim.replace(self._file)
            return self._is_in_place()
        finally:
            claim.unlink(missing_ok=True)

    def _remove_file(self) -> None:
        """Remove the lock file if it is ours."""
        seen = _look(self._file)
        if seen is None or seen.data != self._line:
            return
        claim = self._claim(seen)
        if not _create(claim, self._line):
            return  # someone is taking it over
        try:
            if self._is_in_place():
                self._file.unlink()
        finally:
            claim.unlink(missing_ok=True)
        for left in self._file.parent.glob(f"{glob.escape(self._file.name)}.*"):
            with suppress(FileNotFoundError):  # claims and probes of processes that were killed
                if _age(left.stat().st_mtime_ns, seen.mtime_ns) > STALE_SECONDS:
                    left.unlink()

    def _claim(self, seen: _Seen) -> Path:
        digest = hashlib.sha256(seen.data).hexdigest()[:16]
        return self._file.with_name(f"{self._file.name}.{digest}")

    def _is_stale(self, seen: _Seen) -> bool:
        writer = _Writer.parse(seen.data)
        if writer is not None and writer.is_dead():
            return True
        # What the file server's clock says now is the time of a file written now.
        probe = self._file.with_name(f"{self._file.name}.{self._writer.token}")
        try:
            _create(probe, b"?")
            return _age(seen.mtime_ns, probe.stat().st_mtime_ns) > STALE_SECONDS
        finally:
            probe.unlink(missing_ok=True)

    def _beat(self) -> None:
        """Touch the lock file until `release`, or until it is another's."""
        try:
            while True:
                with suppress(Empty):
                    self._stop.get(timeout=BEAT_SECONDS)
                    return
                with suppress(OSError):  # a file server that is away may come back
                    if not self.is_ours():
                        return
                    now = _elapsed()
                    os.utime(self._file)
                    self._last_beat = now
        finally:
            self._ended.put(None)


_held: weakref.WeakSet[Lock] = weakref.WeakSet()


def _leave_to_parent() -> None:
    """Close what a forked child has of the journals, or it would hold their locks with its parent.

    A worker process that outlives a killed run, be it for a moment, would lock the next run out.
    """
    for lock in list(_held):
        lock._close()  # noqa: SLF001, ours


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_leave_to_parent)


@dataclass(frozen=True, slots=True)
class _Writer:
    """A process that writes an output.

    Args:
        host: The name of its machine.
        process: Its id.
        space: Where an id stands for one process: a boot of a machine, a container. None if that
            cannot be known.
        start: When it began, in ticks since the boot, which tells it from a later process of the
            same id. None if that cannot be known.
        since: When it began to write.
        token: A random text that nobody else has.
    """

    host: str
    process: int
    space: str | None
    start: int | None
    since: str
    token: str

    @classmethod
    def this(cls) -> Self:
        process = os.getpid()
        since = datetime.now(UTC).isoformat(timespec="seconds")
        token = secrets.token_hex(8)
        return cls(socket.gethostname(), process, _space(), _start(process), since, token)

    @classmethod
    def parse(cls, data: bytes) -> Self | None:
        """Read the line of a lock file; None if it is not whole."""
        try:
            writer = cls(**json.loads(data))
            is_whole = 0 < writer.process < 1 << 31
            is_whole &= writer.host.isprintable() and writer.since.isprintable()
        except (ValueError, TypeError, AttributeError, RecursionError):
            return None
        return writer if is_whole else None

    @classmethod
    def named(cls, data: bytes) -> str:
        return str(cls.parse(data) or _UNKNOWN)

    def line(self) -> bytes:
        return json.dumps(asdict(self)).encode() + b"\n"

    def __str__(self) -> str:
        since = self.since.replace("T", " ").replace("+00:00", " UTC")
        return f"process {self.process} on {self.host} since {since}"

    def is_dead(self) -> bool:
        """Tell whether it is known to be dead; of a process elsewhere that cannot be known."""
        if (self.host, self.space) != (socket.gethostname(), _space()):
            return False
        if sys.platform != "win32":  # where signal 0 is not harmless
            try:
                os.kill(self.process, 0)
            except ProcessLookupError:
                return True
            except PermissionError:  # it is there, and another user's
                pass
        start = _start(self.process)
        return start is not None and self.start is not None and start != self.start


def _space() -> str | None:
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
        return f"{boot} {Path('/proc/self/ns/pid').readlink()}"
    except OSError:
        return None


def _start(process: int) -> int | None:
    try:
        stat = Path(f"/proc/{process}/stat").read_bytes()
    except OSError:
        return None
    # The second field, a name in brackets, may hold anything, so count from behind it: the third
    # is the state, the 22nd the start.
    state, *fields = stat.rpartition(b")")[2].split()
    return -1 if state in (b"Z", b"X") else int(fields[18])  # those have ended


class _Seen(NamedTuple):
    """A lock file or a claim, as it was found."""

    data: bytes
    mtime_ns: int


def _look(file: Path) -> _Seen | None:
    """Read a lock file or a claim; None if there is none."""
    try:
        fd = os.open(file, os.O_RDONLY | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0))
        try:
            return _Seen(b"".join(disk.read_at(fd, _MOST_BYTES, 0)), os.fstat(fd).st_mtime_ns)
        finally:
            os.close(fd)
    except OSError as error:
        if error.errno in _GONE:
            return None
        raise


def _create(file: Path, data: bytes) -> bool:
    """Make a file with this content; False if there is one."""
    try:
        opened = file.open("xb")  # O_CREAT | O_EXCL
    except FileExistsError:
        return False
    try:
        with opened:
            opened.write(data)
    except BaseException:
        file.unlink(missing_ok=True)
        raise
    return True


def _age(mtime_ns: int, now_ns: int) -> float:
    return (now_ns - mtime_ns) / 1e9


def _elapsed() -> float:
    """Read a clock that goes on while the machine sleeps."""
    if sys.platform == "linux":
        return time.clock_gettime(time.CLOCK_BOOTTIME)
    else:  # noqa: RET505, mypy wants it where the platform decides
        return time.monotonic()


def _signed(fd: int) -> str:
    """Read who wrote his name into the first line of a journal."""
    try:
        return str(json.loads(b"".join(disk.read_at(fd, FIRST_LINE, 0)))["writer"])
    except (ValueError, KeyError, TypeError):
        return _UNKNOWN


def _in_use(path: Path, writer: str) -> StoreError:
    return StoreError(
        f"another melcli is writing this output ({writer})",
        path,
        "wait for it to end, or choose another -o",
    )
