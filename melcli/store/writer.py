"""What the writers of rows do alike: outcomes, the rows of their items, and what is taken over."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING

from melcli.errors import StoreError
from melcli.store.records import Done, Failed, as_stored, check_outcome
from melcli.store.resumable import Resumable

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from melcli.store.records import Array, Item, Outcome, Pieces


class StoreWriter(Resumable):
    """A writer, but for where the rows lie: see `Writer` for what each method promises."""

    # What a store must say.

    @abstractmethod
    def _write_item(self, item: Item, pieces: Iterator[Array]) -> int:
        """Write the rows of an item, which are all there and as announced; give their checksum."""

    @abstractmethod
    def _keep_item(self, item: Item) -> int:
        """Take over the rows of an item and give their checksum."""

    @abstractmethod
    def _first_row(self, *, kept: bool) -> int:
        """Say where the rows of the next outcome will lie, for its journal line."""

    @abstractmethod
    def _outcome_done(self, *, good: bool) -> None:
        """Make the rows of the outcome in hand part of the segment, or forget them."""

    def _flush_rows(self) -> None:  # most gather nothing
        """Hand what was gathered to the system."""

    # What the pipeline calls.

    def keep(self, outcome: Done | Failed) -> None:
        """Take over an outcome of the finished output."""
        self._ready()
        items = outcome.items if isinstance(outcome, Done) else ()
        with self._disk:
            row, good = self._first_row(kept=True), False
            try:
                good = all(self._keep_item(item) == item.crc32 for item in items)
            finally:
                self._outcome_done(good=good)
        if not good:
            raise StoreError(
                f"the rows of {outcome.id} are not what their checksum says",
                self.path,
                "they are computed again",
            )
        self._add(outcome, row)

    def write_all(self, found: Iterable[tuple[Outcome, Sequence[Pieces]]]) -> None:
        """Add outcomes to the segment in hand."""
        for outcome, rows in found:
            check_outcome(outcome, rows, self._asked)
            if isinstance(outcome, Failed):
                self._add_failed(outcome)
            else:
                self.check_machine()
                self._ready()
                self._write_done(outcome, rows)
        with self._disk:
            self._flush_rows()

    def _write_done(self, done: Done, rows: Sequence[Pieces]) -> None:
        row, good = self._first_row(kept=False), False
        try:
            items = tuple(
                [
                    item.with_crc32(self._write_item(item, self._checked(item, pieces)))
                    for item, pieces in zip(done.items, rows, strict=True)
                ]
            )
            good = True
        finally:
            self._outcome_done(good=good)
        stored = Done(done.id, done.source_size, done.source_mtime_ns, items, done.excerpt)
        self._add(stored, row)

    # Steps they share.

    def _checked(self, item: Item, pieces: Pieces) -> Iterator[Array]:
        """Pass the pieces of an item on, as they lie on disk, one in memory at a time.

        Raises:
            ValueError: They are not the rows that were announced.
        """
        n_left = item.n_rows
        for piece in pieces:
            stored = as_stored(piece, self._asked, n_left)
            n_left -= len(stored)
            yield stored
            del piece, stored  # they may be large, and the next piece is made while this waits
        if n_left:
            raise ValueError(f"{item.id!r} lacks {n_left} of the {item.n_rows} rows announced")

    def _previous_blocks(self, item: Item) -> Iterator[Array]:
        """Read the rows of an item of the finished output.

        Raises:
            StoreError: There is none of that length and checksum.
        """
        previous = self._previous
        if previous is not None:
            for position in previous.candidates(item.id):
                # No need to read its id as well: the rows will be compared with the checksum.
                crc32 = int(previous.items["crc32"][position])
                if (previous.n_rows(position), crc32) == (item.n_rows, item.crc32):
                    return previous.blocks(position)
        raise StoreError(f"holds no {item.id} of that checksum", self.path)
