"""The row file: a page left free for the metadata of HDF5, and behind it nothing but rows."""

from __future__ import annotations

import os
import zlib
from typing import TYPE_CHECKING

import numpy as np

from melcli.store import disk
from melcli.store.records import STORED, as_bytes

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from melcli.store.records import Array, Header

HEADER_PAGE = 4096


class RowFile:
    """Rows of one shape, one behind the other: row ``n`` lies at a place that needs no table.

    Rows are written at the place where they belong and never appended, so what a failed write
    left behind is written over.
    """

    def __init__(self, path: Path, header: Header) -> None:
        self.path = path
        self.row_bytes = header.row_bytes
        self._shape, self._dtype = header.row_shape, STORED[header.dtype]
        self.fd = disk.open_file(path)

    def offset(self, row: int) -> int:
        """Say where a row begins."""
        return HEADER_PAGE + row * self.row_bytes

    def write(self, row: int, stored: Array) -> int:
        """Write rows from ``row`` on and give their checksum."""
        data = as_bytes(stored)
        disk.write_at(self.fd, data, self.offset(row))
        return zlib.crc32(data)

    def read(self, row: int, n_rows: int) -> Array:
        """Read rows that are known to be there."""
        data = b"".join(disk.read_at(self.fd, n_rows * self.row_bytes, self.offset(row)))
        return np.frombuffer(data, self._dtype).reshape(n_rows, *self._shape)

    def crc32(self, row: int, n_rows: int) -> int | None:
        """Compute the checksum of rows; None if the file ends before them."""
        crc, left = 0, n_rows * self.row_bytes
        for block in disk.read_at(self.fd, left, self.offset(row)):
            crc = zlib.crc32(block, crc)
            left -= len(block)
        return None if left else crc

    def cut(self, n_rows: int) -> None:
        """Leave just ``n_rows`` rows."""
        disk.truncate(self.fd, self.offset(n_rows))

    def sync(self) -> None:
        """Return once all rows are on the disk."""
        disk.sync_data(self.fd)

    def close(self) -> None:
        """Close the file."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1


def blocks(n_rows: int, row_bytes: int) -> Iterator[tuple[int, int]]:
    """Divide rows into stretches of a few megabytes, so that an item of any length fits.

    >>> list(blocks(5, 3 << 21))
    [(0, 2), (2, 4), (4, 5)]
    """
    step = max(1, (1 << 24) // row_bytes)
    for start in range(0, n_rows, step):
        yield start, min(start + step, n_rows)
