"""Finished outputs as inputs: their rows, in stretches of whole items."""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import os
from array import array
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeAlias

import numpy as np

from melcli import store
from melcli.config import MelConfig
from melcli.errors import StoreError, UsageError
from melcli.store.compare import check_holds_mels, config_differences
from melcli.store.npy import Names, shard_of_file, shards_in
from melcli.store.records import input_id

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator
    from pathlib import Path

    import numpy.typing as npt

    from melcli.statistics.moments import Rows
    from melcli.store.protocols import Reader
    from melcli.store.shards import Shard

STRETCH_BYTES: Final = 256 << 20
"""Rows of a stretch, unless one item has more: what is read once more after a crash."""
_GROUP_BYTES: Final = 4 << 20
"""Rows that are read at once."""

_Column: TypeAlias = "npt.NDArray[np.integer[Any]]"
_Held: TypeAlias = "tuple[str, npt.NDArray[np.int64], Callable[[], Iterable[str]]]"
"""What holds inputs, the hashes of their ids, and the ids."""


def is_output(path: Path) -> bool:
    """Tell whether an input is an output of `extract`, by its name and what lies in it."""
    if store.is_hdf5(path) or shard_of_file(path):
        return path.is_file()
    return path.is_dir() and bool((path / Names.of(None).settings).exists() or shards_in(path))


def each_output(path: Path) -> Iterator[Path]:
    """Give what can be opened: a folder may hold several shards."""
    whole = path.is_dir() and (path / Names.of(None).settings).exists()
    if path.is_dir() and not whole:
        yield from (path / Names.of(shard).settings for shard in shards_in(path))
    else:
        yield path


@dataclass
class _Output:
    """One of the outputs.

    Args:
        path: As it was given.
        name: As ids have it: relative to the working folder, or without its leading slash.
        chosen: For each of its items, whether it is wanted.
        mtime_ns: When it was made.
    """

    path: Path
    name: str
    chosen: npt.NDArray[np.bool_]
    mtime_ns: int


class Group(NamedTuple):
    """Items of an output that lie one behind the other, and were read at once.

    Args:
        first: Position of the first of them in its output.
        n_rows: Of each item; at least one.
        rows: Of all, ``(n, *row_shape)``.
    """

    first: int
    n_rows: npt.NDArray[np.int64]
    rows: Rows


class Single(NamedTuple):
    """An item that is read by itself, since it is long, or since something is wrong.

    Args:
        position: In its output.
        n_rows: How many rows it has.
        blocks: Gives them, in pieces, each time it is called; raises
            `StoreError` if they cannot be read.
    """

    position: int
    n_rows: int
    blocks: Callable[[], Iterable[Rows]]


class Stretches:
    """Stretches of the items of outputs that were made by one front end.

    Args:
        paths: The outputs.
        ids: Take only items of these ids, or of inputs of these ids; None takes all.
        shard: Take only this part.

    Raises:
        StoreError: One of them is none, is damaged, was made by another front end than the first,
            or is normalised already.
        UsageError: Two hold an input of one id.
    """

    def __init__(
        self, paths: Iterable[Path], ids: Collection[str] | None = None, shard: Shard | None = None
    ) -> None:
        self._ids, self._shard = ids, shard
        self._outputs: list[_Output] = []
        self._readers: dict[int, Reader] = {}
        self._pid = os.getpid()
        self._of, self._first, self._last = array("q"), array("q"), array("q")
        self._sizes = array("q")
        self.seen: set[str] = set()
        """Those of ``ids`` that are there."""
        self._held: list[_Held] = []
        for path in paths:
            self._add(path)

    def _add(self, path: Path) -> None:
        reader = store.open_reader(path)
        number = len(self._outputs)
        self._readers[number] = reader
        check_holds_mels(reader)
        if reader.header.scaler is not None:
            raise StoreError(
                "is normalised already: statistics of it would say nothing",
                path,
                f"melcli scaler undo {path} -o plain.h5, or fit on what it was made from",
            )
        self._check_front_end(path, reader)
        settings = path if path.is_file() else path / Names.of(None).settings
        chosen = np.ones(len(reader), np.bool_)
        for position, item_id in enumerate(reader.ids()):
            chosen[position] = self._is_wanted(item_id, reader)
        self.check_once(str(path), lambda: _input_ids(reader, chosen))
        self._outputs.append(_Output(path, _name(path), chosen, settings.stat().st_mtime_ns))
        self._cut(number, reader, chosen)

    def _check_front_end(self, path: Path, reader: Reader) -> None:
        first = self._readers[0]
        if first.header.config_digest != reader.header.config_digest:
            lines = config_differences(first.header.config, reader.header.config)
            told = "".join(f"\n  {line}" for line in lines)
            raise StoreError(
                f"was made by another front end than {self._outputs[0].path}:{told}",
                path,
                "fit each by itself",
            )

    def _is_wanted(self, item_id: str, reader: Reader) -> bool:
        name = input_id(item_id, reader.header.settings)
        if self._ids is not None:
            found = {item_id, name}.intersection(self._ids)
            self.seen |= found
            if not found:
                return False
        return self._shard is None or self._shard.holds(name)

    def check_once(self, what: str, names: Callable[[], Iterable[str]]) -> None:
        """Refuse inputs that were there before: they would count twice.

        Args:
            what: What they are in.
            names: Gives their ids, each time it is called.

        Raises:
            UsageError: One of them was there.
        """
        hashes = np.unique(np.fromiter(map(hash, names()), np.int64))
        for before, others, names_before in self._held:
            common = set(np.intersect1d(hashes, others, assume_unique=True).tolist())
            ours = {name for name in names() if hash(name) in common} if common else set()
            twice = next((name for name in names_before() if name in ours), None) if ours else None
            if twice is not None:
                raise UsageError(
                    f"{before} and {what} both hold {twice}",
                    None,
                    "name each once; if these are two recordings, fit both by themselves, then "
                    "melcli scaler merge",
                )
        self._held.append((what, hashes, names))

    def _cut(self, number: int, reader: Reader, chosen: npt.NDArray[np.bool_]) -> None:
        """Divide an output into stretches, whatever is chosen of it."""
        n_bytes = (reader.items["stop"] - reader.items["start"]) * reader.header.row_bytes
        first = size = 0
        for position, item_bytes in enumerate(n_bytes.tolist()):
            if size and size + item_bytes > STRETCH_BYTES:
                self._append(number, first, position, chosen)
                first, size = position, 0
            size += item_bytes
        if size:
            self._append(number, first, len(n_bytes), chosen)

    def _append(self, number: int, first: int, last: int, chosen: npt.NDArray[np.bool_]) -> None:
        if not chosen[first:last].any():
            return
        items = self._readers[number].items
        held = chosen[first:last]
        n_rows = int((items["stop"][first:last] - items["start"][first:last])[held].sum())
        self._of.append(number)
        self._first.append(first)
        self._last.append(last)
        self._sizes.append(n_rows * self._readers[number].header.row_bytes)

    def __len__(self) -> int:
        return len(self._of)

    @property
    def config(self) -> MelConfig:
        """The front end that made all of them."""
        return MelConfig.from_toml(self._readers[0].header.config, str(self._outputs[0].path))

    @property
    def first_path(self) -> Path:
        """The first of the outputs."""
        return self._outputs[0].path

    def name(self, n: int) -> str:
        """What a stretch is called: its output, the positions of its items, and which of them."""
        output, first, last = self._outputs[self._of[n]], self._first[n], self._last[n]
        chosen = output.chosen[first:last]
        which = (
            ""
            if chosen.all()
            else f" {hashlib.sha256(np.packbits(chosen).tobytes()).hexdigest()[:16]}"
        )
        return f"{output.name}[{first}:{last}{which}]"

    def size(self, n: int) -> int:
        """Bytes of the rows that are wanted of a stretch."""
        return self._sizes[n]

    def mtime_ns(self, n: int) -> int:
        """When its output was made."""
        return self._outputs[self._of[n]].mtime_ns

    @property
    def digest(self) -> str:
        """SHA-256 of what is read: the outputs, when they were made, and the items chosen."""
        digest = hashlib.sha256()
        for output in self._outputs:
            digest.update(f"{output.name}\0{output.mtime_ns}\0{len(output.chosen)}\0".encode())
            digest.update(np.packbits(output.chosen).tobytes())
        return digest.hexdigest()

    @property
    def whole_digest(self) -> str:
        """SHA-256 of the outputs and what was chosen of them, before any shard was taken."""
        digest = hashlib.sha256()
        for output in self._outputs:
            digest.update(f"{output.mtime_ns}\0{len(output.chosen)}\0".encode())
        for name in sorted(self.seen):
            digest.update(f"{name}\0".encode())
        return digest.hexdigest()

    def _reader(self, number: int) -> Reader:
        # An HDF5 handle that was opened before a fork gives wrong data after it.
        if self._pid != os.getpid():
            self._readers, self._pid = {}, os.getpid()
        if number not in self._readers:
            self._readers[number] = store.open_reader(self._outputs[number].path)
        return self._readers[number]

    def items(self, n: int) -> Iterator[Group | Single]:
        """The items that are wanted of a stretch, with their rows as float32 or float64."""
        number, first, last = self._of[n], self._first[n], self._last[n]
        reader, chosen = self._reader(number), self._outputs[number].chosen[first:last]
        start = reader.items["start"][first:last][chosen]
        stop = reader.items["stop"][first:last][chosen]
        positions = first + np.flatnonzero(chosen)
        most_rows = max(1, _GROUP_BYTES // reader.header.row_bytes)
        begin = 0
        while begin < len(positions):
            # As many as lie behind each other without a gap, and are not too much.
            end = begin + int(np.searchsorted(stop[begin:], start[begin] + most_rows, "right"))
            gaps = np.flatnonzero(start[begin + 1 : end] != stop[begin : end - 1])
            end = max(begin + 1, begin + 1 + int(gaps[0]) if len(gaps) else end)
            yield from _read(
                reader, positions[begin:end], start[begin:end], stop[begin:end], most_rows
            )
            begin = end

    def item_id(self, n: int, position: int) -> str:
        """The id of an item of the output that a stretch is of."""
        reader = self._reader(self._of[n])
        return next(itertools.islice(reader.ids(), position, None))

    def close(self) -> None:
        """Close the outputs."""
        for reader in self._readers.values():
            reader.close()
        self._readers = {}


def _read(
    reader: Reader, positions: _Column, start: _Column, stop: _Column, most_rows: int
) -> Iterator[Group | Single]:
    """Items that lie one behind the other, read at once if that can be."""
    n_rows = (stop - start).astype(np.int64)
    if n_rows.min() > 0 and stop[-1] - start[0] <= most_rows:
        with contextlib.suppress(StoreError):  # in one of them: whoever reads that one is told
            rows = reader.rows(int(start[0]), int(stop[-1]))
            yield Group(int(positions[0]), n_rows, _plain(rows))
            return
    for position, n in zip(positions.tolist(), n_rows.tolist(), strict=True):
        yield Single(position, n, partial(_blocks, reader, position))


def _blocks(reader: Reader, position: int) -> Iterator[Rows]:
    return map(_plain, reader.blocks(position))


def _plain(rows: Rows) -> Rows:
    """Rows in a precision that NumPy computes in: float16 is for storing."""
    return rows.astype(np.float32) if rows.dtype == np.float16 else rows


def _name(path: Path) -> str:
    absolute = os.path.abspath(path)  # noqa: PTH100, a link in it may stay
    inside = os.path.join(os.getcwd(), "")  # noqa: PTH109, PTH118, likewise
    return absolute.removeprefix(inside).lstrip("/")


def _input_ids(reader: Reader, chosen: npt.NDArray[np.bool_]) -> Iterator[str]:
    settings = reader.header.settings
    return (input_id(item_id, settings) for item_id in itertools.compress(reader.ids(), chosen))
