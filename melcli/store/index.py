"""Finds ids among millions, with sixteen bytes for each."""

from __future__ import annotations

from array import array
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence


NOWHERE = -1


class IdIndex:
    """Where each id was seen: a table of hashes and places, sorted by hash.

    The ids themselves are not kept, so a place found is a candidate only: the caller looks there
    whether it really has the id. Places come latest first, so that the last line for an id wins.

    >>> index = IdIndex([("a", 10), ("b", 20), ("a", 30)])
    >>> list(index.places("a"))
    [30, 10]
    """

    def __init__(self, seen: Iterable[tuple[str, int]]) -> None:
        hashes, places = array("q"), array("q")
        for name, place in seen:
            hashes.append(hash(name))
            places.append(place)
        if hashes:
            order = np.argsort(np.frombuffer(hashes, dtype=np.int64), kind="stable")
            self._hashes = np.frombuffer(hashes, dtype=np.int64)[order]
            self._places = np.frombuffer(places, dtype=np.int64)[order]
        else:
            self._hashes = self._places = np.empty(0, dtype=np.int64)

    def latest(self, names: Sequence[str]) -> list[int]:
        """Give for each name the first of its `places`; `NOWHERE` if it has none."""
        if not len(self._hashes):
            return [NOWHERE] * len(names)
        wanted = np.fromiter(map(hash, names), np.int64, len(names))
        last = self._hashes.searchsorted(wanted, side="right") - 1
        seen = self._hashes[last] == wanted
        places: list[int] = np.where(seen, self._places[last], NOWHERE).tolist()
        return places

    def places(self, name: str) -> Iterator[int]:
        """Give the places where ``name`` may have been seen, the latest first."""
        wanted = hash(name)
        at = int(self._hashes.searchsorted(wanted, side="right"))
        while at and self._hashes[at - 1] == wanted:
            at -= 1
            yield int(self._places[at])
