"""What an output will hold, found in its journal."""

from __future__ import annotations

from array import array
from itertools import islice
from typing import TYPE_CHECKING

from melcli.store.index import NOWHERE, IdIndex

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from melcli.store.journal import Entry, Journal, Summary

_SLICE = 1024


class Selection:
    """What an output will hold: for each id in ``order``, its last outcome in the journal.

    Keeps eight bytes an input, a shard sixteen; entries are read again each time it is walked
    through.

    Raises:
        ValueError: An id has no outcome, so the output would not be complete.
    """

    def __init__(
        self, journal: Journal, order: Iterable[str], positions: Iterable[int] | None = None
    ) -> None:
        self.positions = None if positions is None else array("q", positions)
        self._reader = journal.reader()
        self._places = array("q")
        self.n_items = self.n_failures = self.n_rows = 0
        self.in_row_order = True
        self.has_excerpts = False
        try:
            self._fill(IdIndex(journal.places()), order)
        except BaseException:
            self.close()
            raise

    def _fill(self, index: IdIndex, order: Iterable[str]) -> None:
        names = iter(order)
        while batch := list(islice(names, _SLICE)):
            # The latest line with the hash of an id is nearly always that of the id itself.
            places = index.latest(batch)
            if NOWHERE in places:
                raise _no_outcome(batch[places.index(NOWHERE)])
            for name, place, summary in zip(
                batch, places, self._reader.summaries(places), strict=True
            ):
                if summary.id == name:
                    self._add(place, summary)
                else:
                    self._search(index, name)

    def _search(self, index: IdIndex, name: str) -> None:
        for place in index.places(name):
            (summary,) = self._reader.summaries([place])
            if summary.id == name:
                self._add(place, summary)
                return
        raise _no_outcome(name)

    def _add(self, place: int, summary: Summary) -> None:
        self._places.append(place)
        self.has_excerpts |= summary.is_excerpt
        if summary.failed:
            self.n_failures += 1
            return
        self.in_row_order &= summary.row == self.n_rows
        self.n_items += summary.n_items
        self.n_rows += summary.n_rows

    def __iter__(self) -> Iterator[Entry]:
        return self._reader.entries(self._places)

    def placed(self) -> Iterator[tuple[Entry, dict[str, int]]]:
        """Give with each entry the columns that only a shard has."""
        if self.positions is None:
            yield from ((entry, {}) for entry in self)
            return
        for entry, position in zip(self, self.positions, strict=True):
            yield entry, {"position": position}

    def close(self) -> None:
        """Close the journal's file."""
        self._reader.close()


def _no_outcome(name: str) -> ValueError:
    return ValueError(f"no outcome for {name!r}: the output is not complete")
