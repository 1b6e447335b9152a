"""A file that HDF5 writes to without ever hearing of an error."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from melcli.store import disk

if TYPE_CHECKING:
    from pathlib import Path

    from melcli.store.signals import HeldSignals


class Scratch:
    """Stands between HDF5 and the disk, as the file object that h5py asks for.

    HDF5 does not survive a write that fails: the file can no longer be closed, and the process
    may crash when it ends. So an error is kept back, and what could not be written stays in
    memory and is read from there, until HDF5 has closed the file. `check` raises the error.

    Args:
        path: The file, made anew.
        signals: Held back while HDF5 may call.
    """

    def __init__(self, path: Path, signals: HeldSignals) -> None:
        self._signals = signals
        self._fd = disk.open_file(path)
        self._at = self._size = 0
        self._error: BaseException | None = None
        self._unwritten: list[tuple[int, bytes]] = []
        self.truncate(0)

    def check(self) -> None:
        """Raise what went wrong so far, or let a signal do so.

        Ask often, and not while HDF5 is at work: until then nothing is written any more, and nobody
        can interrupt it.
        """
        self._signals.let_through()
        if self._error is not None:
            raise self._error

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Go to a place, counted from the start or from the end."""
        self._at = offset + (self._size if whence == os.SEEK_END else 0)
        return self._at

    def tell(self) -> int:
        """Say where we are."""
        return self._at

    def readinto(self, buffer: memoryview) -> int:
        """Read as many bytes as the buffer holds; what was never written is zero."""
        size = len(buffer)
        data = b"".join(disk.read_at(self._fd, size, self._at))
        found = bytearray(data.ljust(size, b"\0"))
        for offset, kept in self._unwritten:
            start, stop = max(offset, self._at), min(offset + len(kept), self._at + size)
            if start < stop:
                found[start - self._at : stop - self._at] = kept[start - offset : stop - offset]
        buffer[:] = found
        return size

    def write(self, data: memoryview) -> int:
        """Write, or remember what could not be written."""
        if self._error is None:
            try:
                disk.write_at(self._fd, data, self._at)
            except BaseException as error:  # noqa: BLE001  # raised by check()
                self._error = error
        if self._error is not None:
            self._unwritten.append((self._at, bytes(data)))
        self._size = max(self._size, self._at + len(data))
        return len(data)

    def truncate(self, size: int) -> int:
        """Set the length."""
        if self._error is None:
            try:
                disk.truncate(self._fd, size)
            except BaseException as error:  # noqa: BLE001  # raised by check()
                self._error = error
        self._size = size
        return size

    def flush(self) -> None:
        """Do nothing: the file is synced when it is complete."""

    def close(self) -> None:
        """Close the file."""
        os.close(self._fd)
