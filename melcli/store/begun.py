"""Which inputs are being worked on, for when one of them ends the process.

A line of JSON for each batch, added before it is decoded: a list of ids. The file is there only
while a run goes on, and when one was ended in the middle; what is in it then and was not committed
is under suspicion. It is not synced: a process that dies leaves what it wrote to the system, and
no recording stops the machine.
"""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

from melcli.store import disk

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

HDF5_SUFFIX = ".partial.begun"
"""Of an ``.h5``'s name, in its folder."""
NPY_NAME = "begun.jsonl"
"""In the folder of an unfinished ``.npy`` output."""

_MOST_BYTES = 1 << 20
"""From here on the file is written anew, with what is still begun."""
_MOST_READ = 64 * _MOST_BYTES


class BegunInputs:
    """The file at ``path``.

    Attributes:
        left: Ids that an earlier run left in it.
    """

    def __init__(self, path: Path) -> None:
        self._path, self._new = path, path.with_name(path.name + ".new")
        self._fd = -1
        self._n_bytes = 0
        self.left = frozenset(_read(path))
        self._open = dict.fromkeys(self.left)

    def add(self, ids: Sequence[str]) -> None:
        """Say that work on these inputs begins."""
        if self._fd < 0:
            self._rewrite()
        self._open |= dict.fromkeys(ids)
        self._append(ids)

    def committed(self, ids: Iterable[str]) -> None:
        """Say that these are safe, whatever became of them."""
        for name in ids:
            self._open.pop(name, None)
        if self._n_bytes > _MOST_BYTES:
            self._rewrite()

    def remove(self) -> None:
        """Remove the file: nothing is under suspicion."""
        self.left, self._open = frozenset(), {}
        self.close()
        disk.remove(self._new)
        disk.remove(self._path)

    def close(self) -> None:
        """Close the file, and leave it."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _rewrite(self) -> None:
        """Write the file anew, whole under another name, then in place of the old one."""
        self.close()
        self._fd = disk.open_file(self._new)
        disk.truncate(self._fd, 0)
        self._n_bytes = 0
        if self._open:
            self._append(list(self._open))
        disk.rename(self._new, self._path)

    def _append(self, ids: Sequence[str]) -> None:
        line = json.dumps(ids).encode() + b"\n"
        disk.write_at(self._fd, line, self._n_bytes)
        self._n_bytes += len(line)


def _read(path: Path) -> Iterable[str]:
    """Read the ids in whole lines; whatever else is there says nothing."""
    try:
        with path.open("rb") as file:
            lines = file.read(_MOST_READ).split(b"\n")
    except OSError:
        return
    for line in lines:
        try:
            ids = json.loads(line)
        except ValueError:
            continue
        if isinstance(ids, list):
            yield from (name for name in ids if isinstance(name, str))
