"""What every store's reader does alike: finding items, and putting inputs together again."""

from __future__ import annotations

import tokenize
import zlib
from abc import ABC, abstractmethod
from contextlib import contextmanager
from heapq import merge
from itertools import groupby
from math import inf
from typing import TYPE_CHECKING, Any

import numpy as np

from melcli.errors import MelcliError, StoreError
from melcli.store.index import IdIndex
from melcli.store.records import (
    Certificate,
    Done,
    Excerpt,
    Failed,
    Fault,
    Header,
    Item,
    Outcome,
    as_bytes,
    input_id,
)
from melcli.store.rows import blocks

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    import numpy.typing as npt

    from melcli.store.records import Array

    Column = npt.NDArray[np.integer[Any]]
    Placed = tuple[int, Done | Failed, int]

COLUMNS: Mapping[str, str] = {
    "start": "<i8",
    "stop": "<i8",
    "n_samples": "<i8",
    "sample_rate": "<i4",
    "n_channels": "<i4",
    "channel": "<i4",
    "crc32": "<u4",
    "source_size": "<i8",
    "source_mtime_ns": "<i8",
}
CERTIFICATE: Mapping[str, str] = {"residual": "<f8", "n_steps": "<i4", "n_clipped": "<i8"}
"""Columns that only what was computed back from mels has."""
EXCERPT: Mapping[str, str] = {
    "excerpt_start": "<f8",
    "excerpt_end": "<f8",
    "excerpt_channel": "<i4",
}
"""Columns that only an output with excerpts has, beside `RECORDING`: seconds, and a channel."""
RECORDING = "recording"
"""The column with the id of the recording that an excerpt is of; empty where there is none."""
_SLICE = 4096
_DAMAGES = (
    *(OSError, LookupError, ValueError, TypeError, RuntimeError, ArithmeticError),
    *(SystemError, tokenize.TokenError),  # so NumPy says of some heads of .npy
)
"""What the libraries raise on what is damaged."""


def known(value: int) -> int | None:
    """Read a size or time that is -1 where it is unknown."""
    return None if value < 0 else value


@contextmanager
def damage(path: Path) -> Iterator[None]:
    """Say of anything that goes wrong while reading that the output is damaged.

    Raises:
        StoreError: In place of whatever the libraries raised.
    """
    try:
        yield
    except MelcliError:
        raise
    except _DAMAGES as error:
        fault = f"{error.args[0]} is missing" if isinstance(error, KeyError) else str(error)
        raise StoreError(
            f"is damaged: {fault}",
            path,
            "restore it from a copy, or remove it and run the command again",
        ) from error


class StoreReader(ABC):
    """A reader, but for where the rows lie: see `Reader` for what each method promises."""

    header: Header
    items: Mapping[str, Column]

    def __init__(self, path: Path) -> None:
        self.path = path
        self.certificates: Mapping[str, npt.NDArray[Any]] = {}
        self._index: IdIndex | None = None
        self._positions: tuple[Column, Column] | None = None  # of items and failures of a shard

    @abstractmethod
    def _ids(self, start: int, stop: int) -> list[str]:
        """Read the ids of a run of items."""

    @abstractmethod
    def _notes(self, start: int, stop: int) -> list[tuple[str, ...]]:
        """Read the notes of a run of items."""

    @abstractmethod
    def _excerpts(self, start: int, stop: int) -> list[Excerpt | None]:
        """Read what part of a recording each of a run of items was made of."""

    @abstractmethod
    def read_rows(self, position: int, start: int, stop: int) -> Array:
        """Read a run of the rows of the item at ``position``."""

    @abstractmethod
    def failures(self) -> Iterator[Failed]:
        """Stream the inputs that failed, in plan order."""

    @abstractmethod
    def close(self) -> None:
        """Close what is open."""

    def __len__(self) -> int:
        return len(self.items["start"])

    def ids(self) -> Iterator[str]:
        """Stream the ids of the items."""
        for start in range(0, len(self), _SLICE):
            yield from self._ids(start, min(start + _SLICE, len(self)))

    def outcomes(self) -> Iterator[Outcome]:
        """Stream the inputs: those done, then those failed."""
        yield from (done for _, done in self._found_inputs())
        yield from self.failures()

    def placed(self) -> Iterator[Placed]:
        """Stream the inputs of a shard with their places in the whole list."""
        if self._positions is None:
            raise StoreError("is no shard", self.path, "merge what --shard made")
        of_items, of_failures = self._positions
        done: Iterator[Placed] = (
            (int(of_items[first]), outcome, first) for first, outcome in self._found_inputs()
        )
        failed: Iterator[Placed] = (
            (place, outcome, -1)
            for place, outcome in zip(of_failures.tolist(), self.failures(), strict=True)
        )
        # What is not in the list any more lies behind it.
        yield from merge(done, failed, key=lambda found: found[0] if found[0] >= 0 else inf)

    def _found_inputs(self) -> Iterator[tuple[int, Done]]:
        """Stream what was done, each input with the position of its first item."""
        # Items of one input lie together.
        for name, found in groupby(self._found_items(), key=lambda pair: pair[0]):
            together = list(found)
            _, first, _, excerpt = together[0]
            yield (
                first,
                Done(
                    name,
                    known(int(self.items["source_size"][first])),
                    known(int(self.items["source_mtime_ns"][first])),
                    tuple(item for _, _, item, _ in together),
                    excerpt,
                ),
            )

    def _found_items(self) -> Iterator[tuple[str, int, Item, Excerpt | None]]:
        for start in range(0, len(self), _SLICE):
            stop = min(start + _SLICE, len(self))
            items, excerpts = self.some_items(start, stop), self._excerpts(start, stop)
            for position, (item, excerpt) in enumerate(zip(items, excerpts, strict=True), start):
                yield input_id(item.id, self.header.settings), position, item, excerpt

    def some_items(self, start: int, stop: int) -> Iterator[Item]:
        """Give the items from position ``start`` to ``stop``."""
        columns = {name: column[start:stop].tolist() for name, column in self.items.items()}
        certificates = [column[start:stop].tolist() for column in self.certificates.values()]
        texts = zip(self._ids(start, stop), self._notes(start, stop), strict=True)
        for i, (name, notes) in enumerate(texts):
            certificate = Certificate(*(c[i] for c in certificates)) if certificates else None
            yield Item(
                name,
                columns["stop"][i] - columns["start"][i],
                columns["n_samples"][i],
                columns["sample_rate"][i],
                columns["n_channels"][i],
                columns["channel"][i],
                notes,
                columns["crc32"][i],
                certificate,
            )

    def position(self, item_id: str) -> int | None:
        """Find an item; None if there is none of this id."""
        for position in self.candidates(item_id):
            if self._ids(position, position + 1) == [item_id]:
                return position
        return None

    def candidates(self, item_id: str) -> Iterator[int]:
        """Give the positions where an item may be; where it must be, if it is there at all."""
        if self._index is None:
            self._index = IdIndex((name, i) for i, name in enumerate(self.ids()))
        return self._index.places(item_id)

    def n_rows(self, position: int) -> int:
        """Count the rows of the item at ``position``."""
        return int(self.items["stop"][position] - self.items["start"][position])

    def blocks(self, position: int) -> Iterator[Array]:
        """Read the rows of an item in blocks of a few megabytes."""
        for start, stop in blocks(self.n_rows(position), self.header.row_bytes):
            yield self.read_rows(position, start, stop)

    def read(self, item_id: str) -> Array:
        """Read the rows of one item; `KeyError` if there is none of this id."""
        position = self.position(item_id)
        if position is None:
            raise KeyError(item_id)
        return self.read_rows(position, 0, self.n_rows(position))

    def rows(self, start: int, stop: int) -> Array:
        """Read rows, counted over all items."""
        starts, stops = self.items["start"], self.items["stop"]
        first = int(stops.searchsorted(start, side="right"))
        last = int(starts.searchsorted(stop, side="left"))
        parts = [
            self.read_rows(
                i, max(start - int(starts[i]), 0), min(stop, int(stops[i])) - int(starts[i])
            )
            for i in range(first, last)
            if starts[i] < stops[i]
        ]
        return np.concatenate(parts or [self._no_rows()])

    def faults(self, advanced: Callable[[int], None] | None = None) -> Iterator[Fault]:
        """Read everything back, and stream what is not as it was written."""
        for position, name in enumerate(self.ids()):
            # Most hashes are there once, and then so is the id.
            if len(list(self.candidates(name))) > 1 and self.position(name) != position:
                yield Fault(name, "is there twice")
            if cause := self.fault(position, advanced):
                yield Fault(name, cause)
        for failed in self.failures():
            if self.position(failed.id) is not None:
                yield Fault(failed.id, "is among the items and among the failures")

    def fault(self, position: int, advanced: Callable[[int], None] | None = None) -> str | None:
        """Read one item back, and tell what is not as it was written."""
        crc32, is_finite = 0, True
        try:
            for numbers in self._stored(position):
                crc32 = zlib.crc32(as_bytes(numbers), crc32)
                is_finite = is_finite and bool(np.isfinite(numbers).all())
                if advanced is not None:
                    advanced(numbers.nbytes)
        except StoreError as error:
            return error.cause
        if crc32 != self.items["crc32"][position]:
            return "its rows are not those that were written: they have another checksum"
        return None if is_finite else "holds NaN or infinite numbers"

    def _stored(self, position: int) -> Iterator[Array]:
        """Read the numbers of an item in the order in which they lie on disk, in blocks."""
        return self.blocks(position)

    def _no_rows(self) -> Array:
        return np.empty((0, *self.header.row_shape), self.header.dtype)


def excerpt_of(recording: str, start: float, end: float, channel: int) -> Excerpt | None:
    """Read the columns of an excerpt; None if there is none.

    Raises:
        ValueError: There can be no such part.
    """
    if not recording:
        return None
    excerpt = Excerpt(recording, start, end, channel)
    if not excerpt.is_possible:
        raise ValueError(f"an excerpt from {start} s to {end} s, channel {channel}")
    return excerpt


def ends(n_rows: Column) -> dict[str, Column]:
    """Give the starts and stops of items that lie one behind the other."""
    stop = np.cumsum(n_rows, dtype=np.int64)
    return {"start": stop - n_rows, "stop": stop}
