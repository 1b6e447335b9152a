"""Is there room on the disk for what is to come? Asked before a run and after each segment."""

from __future__ import annotations

import math
import shutil
from typing import TYPE_CHECKING

from melcli.errors import AudioError, DeviceError
from melcli.pipeline.report import size
from melcli.pipeline.survey import items_and_rows, probe_input
from melcli.store import is_hdf5

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from melcli.config import MelConfig, OutputConfig
    from melcli.pipeline.plan import Plan

_SAMPLE = 64
"""Headers that are read for an estimate, evenly over the inputs."""

_MAKE_ROOM = "free some space, choose another -o, or --dtype float16"
_KEPT = "if the disk is full before the end, what is done is kept"


def free_bytes(folder: Path) -> int | None:
    """What the disk of a folder, or of the first one above that is there, has left.

    None where the system does not say. It knows nothing of quotas.
    """
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    try:
        found = shutil.disk_usage(folder)
    except OSError:
        return None
    return found.free if found.total else None


class Room:
    """Keeps an eye on the disk while a run fills it.

    Args:
        folder: Where the output lies.
        n_sources: Bytes of all that is to be computed.
        needed: Bytes that its rows are expected to take.
        finishing: Bytes that finishing the output takes beside those.
    """

    def __init__(self, folder: Path, n_sources: int, needed: int, finishing: int) -> None:
        self._folder, self._n_sources = folder, n_sources
        self._needed, self._finishing = needed, finishing
        self._n_done = self._n_written = 0
        self._was_told = False

    def check_plan(self) -> str | None:
        """Compare what is needed with what is there; a warning, if it may not do.

        Raises:
            DeviceError: It is not half of what is needed.
        """
        free, needed = free_bytes(self._folder), self._needed + self._finishing
        if free is None or needed <= free:
            return None
        told = f"about {size(needed)} are needed, and {size(free)} are free"
        if needed > 2 * free:
            raise DeviceError(told, self._folder, _MAKE_ROOM)
        self._was_told = True
        return f"{told}; {_KEPT}"

    def check_segment(self, n_done: int, n_written: int) -> str | None:
        """The same once a segment is safe, by what was written; a warning is given once.

        Args:
            n_done: Bytes of the sources of this segment.
            n_written: Bytes of rows that became of them.

        Raises:
            DeviceError: Another such segment would fill the disk.
        """
        self._n_done += n_done
        self._n_written += n_written
        free = free_bytes(self._folder)
        if free is None or not self._n_done:
            return None
        left = max(0, self._n_sources - self._n_done)
        needed = round(self._n_written / self._n_done * left)
        if free < min(n_written, needed):
            raise DeviceError(
                f"the disk is nearly full: {size(free)} are free, and about {size(needed)} needed",
                self._folder,
                "free some space and run the same command again: what is done is kept",
            )
        needed += self._finishing
        if self._was_told or needed <= free:
            return None
        self._was_told = True
        return f"about {size(needed)} more are needed, and {size(free)} are free; {_KEPT}"


def room_for(
    plan: Plan,
    todo: Sequence[int],
    path: Path,
    config: MelConfig,
    out: OutputConfig,
    *,
    kept: int = 0,
) -> Room:
    """Guess what an output will take, by a few of the headers.

    Args:
        plan: The inputs.
        todo: Positions of those that are to be computed.
        path: The output.
        config: The front end.
        out: What the output holds.
        kept: Bytes that are taken over from an older output.
    """
    n_sources = sum(plan.size(index) for index in todo)
    row_bytes = math.prod(config.row_shape) * (2 if out.dtype == "float16" else 4)
    n_rows = n_bytes = 0
    for index in todo[:: max(1, len(todo) // _SAMPLE)]:
        planned = plan[index]
        if planned.path is None:
            continue
        try:
            _, rows = items_and_rows(probe_input(planned, planned.path), config, out)
        except AudioError:
            continue  # makes no rows
        n_rows += rows
        n_bytes += plan.size(index)
    rows_needed = round(n_sources * n_rows * row_bytes / n_bytes) if n_bytes else 0
    needed = rows_needed + kept
    # A tree is copied from the rows that lie beside it until it is finished.
    is_tree = is_hdf5(path) and out.store_layout == "tree"
    return Room(path.parent if is_hdf5(path) else path, n_sources, needed, needed * is_tree)
