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
BLOCK_BYTES = 1 << 24
"""How much of an item is read, or turned around, at a time."""
_GATHERED_BYTES = 1 << 20
_SMALL_BYTES = 1 << 16
"""From here on a system call costs less than another copy."""


class RowFile:
    """Rows of one shape, one behind the other: row ``n`` lies at a place that needs no table.

    Rows are written at the place where they belong and never appended, so what a failed write
    left behind is written over. Small runs of rows that follow each other are gathered and written
    together; they are in the file after `flush` or `sync`.
    """

    def __init__(self, path: Path, header: Header) -> None:
        self.path = path
        self.row_bytes = header.row_bytes
        self._shape, self._dtype = header.row_shape, STORED[header.dtype]
        self._gathered = memoryview(bytearray(_GATHERED_BYTES))
        self._at = self._n_gathered = 0  # where they belong, and how many bytes
        self.fd = disk.open_file(path)

    def offset(self, row: int) -> int:
        """Say where a row begins."""
        return HEADER_PAGE + row * self.row_bytes

    def write(self, row: int, stored: Array, crc32: int = 0) -> int:
        """Write rows from ``row`` on, and carry the checksum of those before them on."""
        data, offset = as_bytes(stored), self.offset(row)
        n_bytes, n_before = len(data), self._n_gathered
        is_large = n_bytes > min(_SMALL_BYTES, _GATHERED_BYTES)
        if offset != self._at + n_before or is_large or n_before + n_bytes > _GATHERED_BYTES:
            self.flush()
            self._at, n_before = offset, 0
        if is_large:
            disk.write_at(self.fd, data, offset)
            self._at += n_bytes
        else:
            self._gathered[n_before : n_before + n_bytes] = data
            self._n_gathered = n_before + n_bytes
        return zlib.crc32(data, crc32)

    def flush(self) -> None:
        """Write what was gathered."""
        if self._n_gathered:
            disk.write_at(self.fd, self._gathered[: self._n_gathered], self._at)
            self._at += self._n_gathered
            self._n_gathered = 0

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
        self.flush()
        disk.sync_data(self.fd)

    def close(self) -> None:
        """Close the file."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1


def rows_a_block(row_bytes: int) -> int:
    """Count the rows of a block; a row of any size fits."""
    return max(1, BLOCK_BYTES // row_bytes)


def blocks(n_rows: int, row_bytes: int) -> Iterator[tuple[int, int]]:
    """Divide rows into stretches of a few megabytes, so that an item of any length fits.

    >>> list(blocks(5, 3 << 21))
    [(0, 2), (2, 4), (4, 5)]
    """
    step = rows_a_block(row_bytes)
    for start in range(0, n_rows, step):
        yield start, min(start + step, n_rows)
