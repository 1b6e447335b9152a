"""Makes the file of a scaler, in segments, so that it can be killed at any moment.

While it runs, two files lie beside ``x.npz``:

- ``x.npz.partial.journal`` says which inputs are committed, as for any output;
- ``x.npz.partial`` holds the statistics of each segment, one behind the other.

Statistics cannot be taken apart again. So a segment counts only as long as each of its inputs is
still among those asked for, and as it was; else its other inputs are computed once more.
"""

from __future__ import annotations

import os
import struct
import zlib
from typing import TYPE_CHECKING, Final

from melcli.errors import StoreError
from melcli.statistics.counts import CountTable
from melcli.store import disk, scalers
from melcli.store.begun import HDF5_SUFFIX
from melcli.store.records import Done, Failed, check_id
from melcli.store.resumable import Resumable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from pathlib import Path

    from melcli.statistics.fitted import Statistics
    from melcli.store.journal import Segment
    from melcli.store.records import Header, Outcome, Pieces
    from melcli.store.selection import Selection

_HEAD: Final = struct.Struct("<QI")
"""Before each segment's statistics: how many bytes they are, and their CRC-32."""


def journal_path(path: Path) -> Path:
    """Say where an unfinished fit keeps its journal."""
    return path.with_name(path.name + ".partial.journal")


class FitWriter(Resumable):
    """Gathers statistics, until `finish` has them saved.

    Args:
        path: The scaler's file.
        header: What is asked for.
        nothing: The statistics of no input at all.
        still_counts: Whether statistics with an outcome in them can be used: its input is still
            asked for, and as it was.
        accept_different_machine: Go on with statistics of rows that another machine made.

    Attributes:
        save: Writes the scaler's file, at once or not at all; what `finish` calls.
    """

    def __init__(
        self,
        path: Path,
        header: Header,
        *,
        nothing: Statistics,
        still_counts: Callable[[Outcome], bool],
        accept_different_machine: bool = False,
    ) -> None:
        self._partial = path.with_name(path.name + ".partial")
        self._nothing, self._still_counts = nothing, still_counts
        self.save: Callable[[], None] | None = None
        self._fd = -1
        self._at = 0
        self._stale: set[int] = set()  # numbers of segments
        # Counts are added up in a table, which is quicker than merging them.
        self._gathered, self._table = nothing.with_counts(None), CountTable(nothing.n_bins)
        super().__init__(
            path,
            header,
            journal_path(path),
            accept_different_machine=accept_different_machine,
        )

    # What is on disk.

    def _finished_output(self) -> None:
        """A finished scaler is never extended: who asks for other inputs is refused before."""

    def _begun_path(self) -> Path:
        return self.path.with_name(self.path.name + HDF5_SUFFIX)

    def _has_rows(self) -> bool:
        return self._partial.exists()

    def _refuse_strangers(self) -> None:
        if os.path.lexists(self._partial):
            raise StoreError(
                "is there, but no journal says what it is",
                self._partial,
                "move it elsewhere, or delete it",
            )

    def _open(self) -> int:
        if self._fd < 0:
            self._fd = disk.open_file(self._partial)
        return self._fd

    def _is_whole(self, segment: Segment) -> bool:
        number = self._journal.segments.index(segment)
        return self._bytes(number) is not None

    def _bytes(self, number: int) -> bytes | None:
        """The statistics of a segment as they were written; None if they are not there."""
        segments = self._journal.segments
        start = segments[number - 1].n_rows if number else 0
        data = b"".join(disk.read_at(self._open(), segments[number].n_rows - start, start))
        if len(data) < _HEAD.size:
            return None
        n_bytes, crc32 = _HEAD.unpack_from(data)
        body = data[_HEAD.size :]
        return body if len(body) == n_bytes and zlib.crc32(body) == crc32 else None

    def _resume(self) -> None:
        self._at = self._journal.n_rows
        disk.truncate(self._open(), self._at)
        for number, segment in enumerate(self._journal.segments):
            if not all(self._still_counts(e.outcome) for e in self._journal.entries(segment)):
                self._stale.add(number)

    def outcomes(self) -> Iterator[Outcome]:
        """Stream what is committed in segments that still count."""
        if not self._begun:
            return
        for number, segment in enumerate(self._journal.segments):
            if number not in self._stale:
                for entry in self._journal.entries(segment):
                    yield entry.outcome

    def _discard(self) -> None:
        self._close_rows()
        disk.remove(self._partial)

    def _begin_rows(self) -> None:
        self._at = 0
        disk.truncate(self._open(), 0)

    def _close_rows(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def abandon(self) -> None:
        """Remove every trace of it: what it was to make is there."""
        with self._disk:
            self._discard()
            self._begun_inputs.remove()
            self._end_journal()

    # What the pipeline calls.

    def keep(self, outcome: Done | Failed) -> None:
        """Nothing is ever taken over from a finished scaler."""
        raise NotImplementedError

    def write_all(self, found: Iterable[tuple[Outcome, Sequence[Pieces]]]) -> None:
        """Add outcomes to the segment in hand; their statistics come by `gather`."""
        for outcome, _ in found:
            check_id(outcome.id)
            if isinstance(outcome, Failed):
                self._add_failed(outcome)
            else:
                self.check_machine()
                self._ready()
                self._add(outcome, -1)

    def gather(self, statistics: Statistics) -> None:
        """Add the statistics of inputs whose outcomes are in the segment in hand."""
        if statistics.counts is not None:
            self._table.add(statistics.counts)
        self._gathered = self._gathered.merge(statistics)

    def _sync_rows(self) -> int:
        counts = None if self._nothing.counts is None else self._table.taken()
        gathered = self._gathered.with_counts(counts)
        body = scalers.to_bytes(gathered) if gathered.moments.count else b""
        disk.write_at(self._open(), _HEAD.pack(len(body), zlib.crc32(body)) + body, self._at)
        disk.sync_data(self._open())
        return self._at + _HEAD.size + len(body)

    def _committed(self) -> None:
        self.n_bytes_written += self._journal.n_rows - self._at
        self._at = self._journal.n_rows
        self._gathered = self._nothing.with_counts(None)

    @property
    def fitted(self) -> Statistics:
        """What all segments that count come to."""
        total, table = self._nothing.with_counts(None), CountTable(self._nothing.n_bins)
        for number in range(len(self._journal.segments)):
            if number in self._stale:
                continue
            with self._disk:
                data = self._bytes(number)
            if data is None:
                raise StoreError(
                    "is damaged", self._partial, "remove it, and run the same command again"
                )
            if not data:
                continue  # all its inputs failed
            part = scalers.from_bytes(data, self._partial)
            if part.counts is not None:
                table.add(part.counts)
            total = total.merge(part)
        return total if self._nothing.counts is None else total.with_counts(table.taken())

    def _assemble(self, header: Header, selection: Selection) -> None:  # noqa: ARG002, both checked
        if self.save is None:
            raise ValueError("nobody said how the scaler is saved")
        self.save()
