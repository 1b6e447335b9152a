"""Rows that wait for their item to be complete: in memory, or in a file that has no name."""

from __future__ import annotations

import tempfile
import weakref
from typing import TYPE_CHECKING

import numpy as np

from melcli.errors import DeviceError
from melcli.store.records import as_bytes

if TYPE_CHECKING:
    from pathlib import Path

    from melcli.store.records import Array

IN_MEMORY = 8 << 20
"""Bytes of rows up to which a spool needs no file."""


class RowSpool:
    """Float32 rows of one shape: appended, then read at any place.

    The file is gone with the spool, or with the process, however that ends.

    Args:
        row_shape: Of one row.
        folder: Where its file would be: beside the output, where there is room for rows.
    """

    def __init__(self, row_shape: tuple[int, ...], folder: Path) -> None:
        self.n_rows = 0
        self._shape = row_shape
        self._row_bytes = 4 * int(np.prod(row_shape))
        self._folder = folder
        self._file = tempfile.SpooledTemporaryFile(IN_MEMORY, dir=str(folder))  # noqa: SIM115, ours to the end
        weakref.finalize(self, self._file.close)

    def append(self, rows: Array) -> None:
        """Add ``(n, *row_shape)``.

        Raises:
            DeviceError: The disk is full, or does not work.
        """
        try:
            self._file.seek(self.n_rows * self._row_bytes)
            self._file.write(np.ascontiguousarray(rows, np.float32).data)
        except OSError as error:
            raise self._fault(error) from error
        self.n_rows += len(rows)

    def read(self, start: int, stop: int) -> Array:
        """Rows ``start`` to ``stop``."""
        rows = np.empty((stop - start, *self._shape), np.float32)
        try:
            self._file.seek(start * self._row_bytes)
            n_bytes = self._file.readinto(as_bytes(rows)) if rows.size else 0
        except OSError as error:
            raise self._fault(error) from error
        if n_bytes != rows.nbytes:
            raise ValueError(f"rows {start} to {stop} of {self.n_rows}")
        return rows

    def _fault(self, error: OSError) -> DeviceError:
        return DeviceError(
            f"the rows of a long recording cannot be kept there: {error.strerror}",
            self._folder,
            "make room, then run the same command again",
        )
