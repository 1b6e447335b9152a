"""Everything a store asks of a disk, in one place.

Each function is one step that a crash can fall before or after: the tests stop a writer at every
one of them and see that the same command goes on. Errors of the disk become a `DeviceError` here.
"""

from __future__ import annotations

import errno
import os
import shutil
import sys
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from melcli.errors import DeviceError, MelcliError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path
    from types import TracebackType

_BLOCK = 1 << 23
# No link is followed: one that somebody laid in our way would lead what we write elsewhere.
_CREATE = os.O_RDWR | os.O_CREAT
for _name in ("O_CLOEXEC", "O_BINARY", "O_NOFOLLOW"):
    _CREATE |= getattr(os, _name, 0)

_FREE = "free some space and run the same command again"
_FAULTS = {
    errno.ENOSPC: ("the disk is full", _FREE),
    errno.EDQUOT: ("the disk quota is used up", _FREE),
    errno.EFBIG: ("the file is larger than this file system allows", "choose another -o"),
    errno.EROFS: ("the file system is read-only", "choose another -o"),
    errno.EACCES: ("permission denied", "choose another -o, or change its permissions"),
    errno.EPERM: ("permission denied", "choose another -o, or change its permissions"),
    errno.ENAMETOOLONG: ("the name is too long for this file system", "choose a shorter name"),
    errno.EEXIST: ("a file stands where a folder should be", "choose another -o"),
    errno.ENOTDIR: ("a file stands where a folder should be", "choose another -o"),
    errno.ENOENT: ("there is no such folder, and it cannot be made", "choose another -o"),
    errno.ELOOP: ("a link stands where a file of melcli's should be", "remove it"),
    errno.EIO: ("the disk reports an error", "check the disk and run the same command again"),
}
_AGAIN = "run the same command again"


@contextmanager
def device_errors(path: Path, n_kept: Callable[[], int] = lambda: 0) -> Iterator[None]:
    """Turn what the disk refuses into a `DeviceError` that says how much is kept.

    Raises:
        DeviceError: Any `OSError` that is not already one of ours.
    """
    try:
        yield
    except MelcliError:
        raise
    except OSError as error:
        raise _device_error(error, path, n_kept()) from error


class Guard:
    """Does what `device_errors` does, for one file again and again, and remembers the last fault.

    A class, since it is entered for every item: a generator would take longer than a small write.
    """

    def __init__(self, path: Path, n_kept: Callable[[], int]) -> None:
        self.fault: DeviceError | None = None
        self._path, self._n_kept = path, n_kept

    def __enter__(self) -> None:
        pass

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if isinstance(error, DeviceError):
            self.fault = error
        elif isinstance(error, OSError) and not isinstance(error, MelcliError):
            self.fault = _device_error(error, self._path, self._n_kept())
            raise self.fault from error


def _device_error(error: OSError, path: Path, n_kept: int) -> DeviceError:
    cause, remedy = _FAULTS.get(error.errno or 0, ((error.strerror or str(error)).lower(), _AGAIN))
    if n_kept:
        remedy += f": {n_kept} input{'s are' if n_kept > 1 else ' is'} kept"
    return DeviceError(cause, path, remedy)


def open_file(path: Path) -> int:
    """Open a file for reading and writing; make it if there is none."""
    return os.open(path, _CREATE, 0o666)


def write_at(fd: int, data: memoryview | bytes, offset: int) -> None:
    """Write all of ``data``, however many calls it takes."""
    rest = memoryview(data)
    os.lseek(fd, offset, os.SEEK_SET)
    while rest:
        rest = rest[os.write(fd, rest) :]


def read_at(fd: int, n_bytes: int, offset: int) -> Iterator[bytes]:
    """Read a stretch of a file in blocks; what lies behind its end is left out."""
    while n_bytes > 0:
        os.lseek(fd, offset, os.SEEK_SET)
        block = os.read(fd, min(n_bytes, _BLOCK))
        if not block:
            return
        yield block
        n_bytes -= len(block)
        offset += len(block)


def copy(source: int, start: int, n_bytes: int, target: int, offset: int) -> None:
    """Copy a stretch of one file to a place in another.

    Raises:
        OSError: The source ends too early.
    """
    for block in read_at(source, n_bytes, start):
        write_at(target, block, offset)
        offset += len(block)
        n_bytes -= len(block)
    if n_bytes:
        raise OSError(errno.EIO, "a file became shorter while it was read")


def truncate(fd: int, n_bytes: int) -> None:
    """Cut a file, or fill it up with zeros."""
    os.ftruncate(fd, n_bytes)


def sync_data(fd: int) -> None:
    """Return once the bytes of a file, and what is needed to find them, are on the disk."""
    getattr(os, "fdatasync", os.fsync)(fd)


def sync_file(path: Path) -> None:
    """Return once a whole file is on the disk."""
    fd = os.open(path, os.O_RDWR)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def sync_folder(path: Path) -> None:
    """Return once the names in a folder are on the disk. Windows has no such call."""
    if sys.platform == "win32":
        return
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def rename(old: Path, new: Path) -> None:
    """Give a file its final name, over whatever has it, at once."""
    old.replace(new)


def remove(path: Path) -> None:
    """Remove a file if it is there."""
    path.unlink(missing_ok=True)


def remove_tree(path: Path) -> None:
    """Remove a folder of ours, with all that is in it, if it is there."""
    shutil.rmtree(path, ignore_errors=True)


def remove_empty_folder(path: Path) -> None:
    """Remove a folder, unless there is something in it, or it is not there."""
    with suppress(OSError):
        path.rmdir()


def make_folder(path: Path) -> None:
    """Make a folder, and those above it, if they are not there."""
    path.mkdir(parents=True, exist_ok=True)
