"""Rows that wait, for their item to be complete or for the writer: in memory, or in a file."""

from __future__ import annotations

import io
import os
import tempfile
import weakref
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from melcli.errors import DeviceError
from melcli.store import disk
from melcli.store.records import as_bytes

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import numpy.typing as npt

    from melcli.store.records import Array

IN_MEMORY = 8 << 20
"""Bytes of rows up to which a spool needs no disk."""

_FLOAT32: Final = np.dtype(np.float32)
_HAS_FILES_IN_MEMORY: Final = hasattr(os, "memfd_create")


class RowSpool:
    """Rows of one shape: appended, then read at any place.

    They lie in a file without a name, on Linux in memory up to `IN_MEMORY`. It is gone with the
    spool, or with the process, however that ends; and another process can be handed it.

    Args:
        row_shape: Of one row.
        folder: Where its file would be: beside the output, where there is room for rows.
        dtype: Of the rows.
        n_rows: Rows that are in ``fd`` already.
        fd: An open file to take over; None makes one.

    Raises:
        DeviceError: The disk is full, or does not work.
    """

    def __init__(
        self,
        row_shape: tuple[int, ...],
        folder: Path,
        dtype: np.dtype[Any] = _FLOAT32,
        n_rows: int = 0,
        fd: int | None = None,
    ) -> None:
        self.n_rows = n_rows
        self._shape, self._folder, self._dtype = row_shape, folder, dtype
        self._row_bytes = dtype.itemsize * int(np.prod(row_shape))
        self._is_in_memory = fd is None and _HAS_FILES_IN_MEMORY
        with self._device_errors():
            self._hold(fd if fd is not None else self._new_file())

    @property
    def fd(self) -> int:
        """The open file."""
        return self._fd

    def append(self, rows: npt.NDArray[Any]) -> None:
        """Add ``(n, *row_shape)``.

        Raises:
            DeviceError: The disk is full, or does not work.
        """
        data = as_bytes(np.ascontiguousarray(rows, self._dtype))
        at = self.n_rows * self._row_bytes
        with self._device_errors():
            if self._is_in_memory and at + len(data) > IN_MEMORY:
                self._move_to_disk(at)
            disk.write_at(self._fd, data, at)
        self.n_rows += len(rows)

    def read(self, start: int, stop: int) -> Array:
        """Rows ``start`` to ``stop``."""
        rows: Array = np.empty((stop - start, *self._shape), self._dtype)
        left, at = as_bytes(rows), start * self._row_bytes
        with self._device_errors():
            self._file.seek(at)
            while left and (n_bytes := self._file.readinto(left)):
                left = left[n_bytes:]
        if left:
            raise ValueError(f"rows {start} to {stop} of {self.n_rows}")
        return rows

    def _new_file(self) -> int:
        if self._is_in_memory:
            try:
                return os.memfd_create("melcli-rows")
            except OSError:  # some containers forbid it
                self._is_in_memory = False
        with tempfile.TemporaryFile(dir=str(self._folder)) as file:
            return os.dup(file.fileno())

    def _hold(self, fd: int) -> None:
        self._fd, self._file = fd, io.FileIO(fd, "r+b", closefd=False)
        self._close = weakref.finalize(self, os.close, fd)

    def _move_to_disk(self, n_bytes: int) -> None:
        self._is_in_memory = False
        before, close = self._fd, self._close
        self._hold(self._new_file())
        disk.copy(before, 0, n_bytes, self._fd, 0)
        close()

    @contextmanager
    def _device_errors(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise DeviceError(
                f"rows that wait cannot be kept there: {error.strerror}",
                self._folder,
                "make room, then run the same command again",
            ) from error
