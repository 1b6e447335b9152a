"""A folder with one ``.npy`` for each item, ``melcli.jsonl`` and ``melcli.toml``.

Or with one ``.wav`` or ``.flac``: then the rows are the bytes of these files, and no head stands
before them.

While it runs, everything of ours lies in ``OUT/.melcli-partial``::

    journal.jsonl   see `melcli.store.journal`
    new/0.npy …     the files of the segment in hand: nothing here is committed
    rows/a/b.npy    committed files, if there is a finished output that must stay as it is

A segment is committed in this order: its files are synced, then its journal lines, then the files
are renamed to where they belong, then those folders are synced. So the journal tells for every
file in its place whether it is ours, and a rename that a crash prevented is made up for when the
output is opened again. In a folder without a finished output, the place is the final one.

Shards may share a folder. Each has names of its own: ``melcli.2-of-8.jsonl``, ``.toml``, and
``.melcli-partial.2-of-8``.

On resuming, the files of the last segment are read and compared with their checksums; of the
others only the size is looked at, since reading all of them would take as long as a run.
"""

from __future__ import annotations

import json
import math
import os
import re
import sys
import tomllib
import zlib
from array import array
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from melcli.errors import StoreError
from melcli.store import disk
from melcli.store.begun import NPY_NAME
from melcli.store.index import IdIndex
from melcli.store.reader import (
    CERTIFICATE,
    COLUMNS,
    EXCERPT,
    RECORDING,
    StoreReader,
    damage,
    ends,
    excerpt_of,
)
from melcli.store.records import STORED, Done, Failed, Header, as_bytes, check_id, printable
from melcli.store.rows import BLOCK_BYTES, rows_a_block
from melcli.store.shards import Shard
from melcli.store.writer import StoreWriter

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from typing import BinaryIO

    from melcli.store.journal import Segment
    from melcli.store.records import Array, Excerpt, Item, Outcome
    from melcli.store.selection import Selection

FORMAT_VERSION = 1
PARTIAL = ".melcli-partial"
_MARK = "\n# What follows was recorded by melcli.\n[melcli]\n"
_GROUPS = ("settings", "machine")
_NUMBERS = ("n_samples", "sample_rate", "n_channels", "channel", "crc32")
_SOURCE = ("source_size", "source_mtime_ns")
_SCALER = "scaler"
POSITION = "position"
JOURNAL = "journal.jsonl"
_SLICE = 1024
_BARE = re.compile(r"[A-Za-z0-9_-]+")
_NOT_ON_WINDOWS = re.compile(
    r"[\x00-\x1f<>:\"\\|?*]|[. ]\Z"
    r"|\A(?:con|prn|aux|nul|conin\$|conout\$|(?:com|lpt)[0-9\xb9\xb2\xb3]) *(?:\.|\Z)",
    re.IGNORECASE,
)
_SHARD_FILE = re.compile(r"melcli\.(\d+)-of-(\d+)\.(?:jsonl|toml)")
_REMOVE = "remove it, or choose another -o"
_LONGEST_NAME = 255  # bytes, on every common file system
_SPAN = r"@\d+(?:\.\d+)?-(?:\d+(?:\.\d+)?)?"
"""How the id of an excerpt ends, if nobody gave it another: from-to, in seconds."""
_NAME = re.compile(
    rf"(?P<stem>.+?)(?:\.[^.]*?)?(?P<part>(?:{_SPAN})?(?:#\d+)?(?:@\d+)?)\Z", re.DOTALL
)


class Names(NamedTuple):
    """What the files of ours are called in an output folder."""

    listing: str
    settings: str
    partial: str

    @classmethod
    def of(cls, shard: Shard | None) -> Names:
        """Give the names of a whole output, or of a shard of it."""
        if shard is None:
            return cls("melcli.jsonl", "melcli.toml", PARTIAL)
        of = shard.suffix
        return cls(f"melcli.{of}.jsonl", f"melcli.{of}.toml", f"{PARTIAL}.{of}")


def shards_in(folder: Path) -> list[Shard]:
    """Find the finished shards in a folder, in order."""
    found = (_SHARD_FILE.fullmatch(path.name) for path in folder.glob("melcli.*-of-*.toml"))
    return sorted(Shard.parse(f"{match[1]}/{match[2]}") for match in found if match)


def shard_of_file(path: Path) -> Shard | None:
    """Tell which shard a file of a folder speaks of, by its name."""
    match = _SHARD_FILE.fullmatch(path.name)
    return Shard.parse(f"{match[1]}/{match[2]}") if match else None


def npy_path(item_id: str, suffix: str = ".npy") -> str:
    """Give the path of an item's file in the output folder.

    >>> npy_path("a/b.wav"), npy_path("a/b.wav#0@3"), npy_path("a.b/take")
    ('a/b.npy', 'a/b#0@3.npy', 'a.b/take.npy')
    >>> npy_path("a/b.mp3#1", ".wav"), npy_path("a/b.mp3@1.5-3.25")
    ('a/b#1.wav', 'a/b@1.5-3.25.npy')

    Raises:
        StoreError: The id would leave the folder, or is too long for a file name.
    """
    check_id(item_id)
    folder, slash, name = item_id.rpartition("/")
    found = _NAME.fullmatch(name)
    file = f"{found['stem']}{found['part']}{suffix}" if found else f"{name}{suffix}"
    path = folder + slash + file
    if path.startswith((f"{PARTIAL}/", f"{PARTIAL}.")):
        raise StoreError(f"the id {item_id!r} is in {PARTIAL}, which melcli needs for itself")
    if any(len(part.encode()) > _LONGEST_NAME for part in path.split("/")):
        raise StoreError(
            f"the id {item_id!r} is too long for a file name", None, "use an .h5 output"
        )
    if sys.platform == "win32" and not is_windows_path(path):
        raise StoreError(
            f"the id {item_id!r} cannot be a file name on Windows", None, "use an .h5 output"
        )
    return path


def is_windows_path(path: str) -> bool:
    """Tell whether Windows takes a relative path for the file that it looks like.

    It takes ``a/nul.txt`` for a device, ``c:x`` for a drive, ``a/b. `` for ``a/b``, and a
    backslash for a slash.

    >>> is_windows_path("a/b.npy"), is_windows_path("a/Aux.npy"), is_windows_path("a./b.npy")
    (True, False, False)
    """
    return not any(_NOT_ON_WINDOWS.search(part) for part in path.split("/"))


class NpyWriter(StoreWriter):
    """Writes a file for each item, and moves it into place once its segment is committed."""

    def __init__(self, path: Path, header: Header, *, accept_different_machine: bool) -> None:
        self._names = Names.of(header.shard)
        self.partial_path = path / self._names.partial
        self._new = self.partial_path / "new"
        self._staged = self.partial_path / "rows"
        self._place = path  # where committed files go
        self._old: Listing | None = None
        self._journalled: IdIndex | None = None
        self._last_folder: str | None = None
        self._written: list[str] = []  # where the files of the segment belong, by their number
        self._n_good = 0  # of whole outcomes
        self._n_bytes = 0  # of the outcome in hand
        super().__init__(
            path,
            header,
            self.partial_path / JOURNAL,
            accept_different_machine=accept_different_machine,
        )

    # Opening.

    def _finished_output(self) -> NpyReader | None:
        finished = None
        for folder in (self.partial_path, self._new, self._staged):
            if folder.is_symlink():
                raise StoreError("is a link where a folder of melcli's should be", folder, _REMOVE)
        self._refuse_other_parts()
        listing, settings, _ = self._names
        if os.path.lexists(self.path / settings):
            finished = NpyReader(self.path, self._asked.shard)
            self._old = finished.listing
        elif os.path.lexists(self.path / listing):
            if not self._journal.segments:
                raise StoreError(
                    f"has a {listing} but no {settings}", self.path, "choose another -o"
                )
            self._old = Listing(self.path / listing, self._asked.suffix)
        if finished is not None:
            self._place = self._staged
        return finished

    def _begun_path(self) -> Path:
        return self.partial_path / NPY_NAME

    def _refuse_other_parts(self) -> None:
        """Refuse a shard in a whole output, and the other way round."""
        shard, found = self._asked.shard, shards_in(self.path)
        if shard is not None and os.path.lexists(self.path / Names.of(None).settings):
            raise StoreError(
                "holds a whole output, and not shards", self.path, "leave out --shard to extend it"
            )
        if any(other.count != (shard.count if shard else 0) for other in found):
            raise StoreError(
                f"holds shard {found[0]} of an output", self.path,
                "melcli merge makes a whole one of its shards; or choose another -o",
            )  # fmt: skip

    def _has_rows(self) -> bool:
        return True  # each file is looked for where it is needed

    def _refuse_strangers(self) -> None:
        """Accept what is there: nobody but melcli writes into its own folder."""
        self._clean_up()

    def _is_whole(self, segment: Segment) -> bool:
        # An item written twice in one segment has one file, the later.
        return all(
            any(
                _crc32(path, self._asked, item) == item.crc32 for path in (new, *self._places(item))
            )
            for item, new in self._files(segment)
        )

    def _resume(self) -> None:
        if self._journal.segments:
            self._publish(self._journal.segments[-1])
        disk.remove_tree(self._new)
        self._begin_rows()

    def _drop(self, segment: Segment) -> None:
        for item, _ in self._files(segment):
            for path in self._places(item):
                disk.remove(path)

    def _discard(self) -> None:
        """Remove also what is in place already: no list will ever name it."""
        found = self._journal.header or self._asked
        for entry in self._journal.entries():
            for item in _items(entry.outcome) if entry.row >= 0 else ():
                path = npy_path(item.id, found.suffix)
                listed = self._old is not None and self._old.has_path(path)
                file = self.path / path
                if not listed and self._is_inside(path) and _crc32(file, found, item) == item.crc32:
                    disk.remove(file)
        self._clean_up()

    def _clean_up(self) -> None:
        disk.remove_tree(self._new)
        disk.remove_tree(self._staged)
        for name in (self._names.listing, self._names.settings):
            disk.remove(self.partial_path / name)

    def _end_journal(self) -> None:
        super()._end_journal()
        disk.remove_empty_folder(self.partial_path)

    def _begin_rows(self) -> None:
        disk.make_folder(self._new)

    def _close_rows(self) -> None:
        """Nothing stays open between two calls."""

    # Files.

    def _places(self, item: Item) -> tuple[Path, Path]:
        """Give where a committed file may lie, the likelier place first."""
        path = self._file_path(item)
        return self._staged / path, self.path / path

    def _file_path(self, item: Item) -> str:
        return npy_path(item.id, self._asked.suffix)

    def _files(self, segment: Segment) -> Iterator[tuple[Item, Path]]:
        """Give the items written in a segment, and their files before they are moved."""
        last = {}
        for entry in self._journal.entries(segment):
            for i, item in enumerate(_items(entry.outcome) if entry.row >= 0 else ()):
                last[item.id] = item, self._new / f"{entry.row + i}.npy"
        yield from last.values()

    def _is_ours(self, path: str) -> bool:
        """Tell whether a file in its final place may be replaced."""
        if self._old is not None and self._old.has_path(path):
            return True
        if self._journalled is None:  # only needed for what lay there before this writer came
            self._journalled = IdIndex(
                (self._file_path(item), 0)
                for entry in self._journal.entries()
                for item in _items(entry.outcome)
            )
        return any(True for _ in self._journalled.places(path))

    def _is_inside(self, path: str) -> bool:
        """Tell whether the folder of a file really lies in the output, whatever links there are."""
        folder = os.path.realpath((self.path / path).parent)
        return Path(folder).is_relative_to(os.path.realpath(self.path))

    def _check_place(self, path: str) -> None:
        """Refuse to write over what is not ours.

        Raises:
            StoreError: A file that melcli did not make is in the way.
        """
        folder = path.rpartition("/")[0]
        if folder != self._last_folder:
            for above in (self.path / path).relative_to(self.path).parents:
                if os.path.lexists(self.path / above) and not (self.path / above).is_dir():
                    raise _in_the_way(self.path / above)
            if not self._is_inside(path):
                raise StoreError(
                    "a link leads out of the output folder",
                    self.path / folder,
                    _REMOVE,
                )
            self._last_folder = folder
        if os.path.lexists(f"{self.path}/{path}") and not self._is_ours(path):
            raise _in_the_way(self.path / path)

    # Writing.

    def _first_row(self, *, kept: bool) -> int:
        return -1 if kept else len(self._written)

    def _write_item(self, item: Item, pieces: Iterator[Array]) -> int:
        path = self._file_path(item)
        with self._disk:
            self._check_place(path)
            fd = disk.open_file(self._new_file(len(self._written)))
        try:
            with self._disk:
                # A write that failed may have left something. Besides, ext4 begins to write such a
                # file out as soon as it is closed, and syncing it takes a third of the time.
                disk.truncate(fd, 0)
            file = _ItemFile(fd, self._asked, item)
            for piece in pieces:
                with self._disk:
                    file.add(piece)
                del piece  # it may be large, and the next one is made now
            with self._disk:
                crc = file.end()
        finally:
            with self._disk:
                os.close(fd)
        self._written.append(path)
        self._n_bytes += item.n_rows * self._asked.row_bytes
        return crc

    def _new_file(self, n: int) -> Path:
        return self._new / f"{n}.npy"

    def _keep_item(self, item: Item) -> int:
        crc = _crc32(self.path / self._file_path(item), self._asked, item)
        return ~item.crc32 if crc is None else crc

    def _outcome_done(self, *, good: bool) -> None:
        if good:
            self._n_good = len(self._written)
            self.n_bytes_written += self._n_bytes
        else:
            del self._written[self._n_good :]
        self._n_bytes = 0

    def _sync_rows(self) -> int:
        for n in range(len(self._written)):
            disk.sync_file(self._new_file(n))
        disk.sync_folder(self._new)
        return len(self._written)

    def _committed(self) -> None:
        """Move the files of the segment to their places; of an item written twice, the later."""
        last = {path: n for n, path in enumerate(self._written)}
        files = ((self._new_file(n), self._place / path) for path, n in last.items())
        self._move(files, self._place)
        self._written, self._n_good = [], 0

    def _publish(self, segment: Segment) -> None:
        """Move the files of the last segment to their places, where a crash prevented it."""
        files = (
            (new, self._place / self._file_path(item))
            for item, new in self._files(segment)
            if _crc32(new, self._asked, item) == item.crc32
        )
        self._move(files, self._place)

    def _move(self, files: Iterator[tuple[Path, Path]], root: Path) -> None:
        """Rename files, then sync every folder that got a name."""
        folders: set[Path] = set()
        for source, target in files:
            if target.parent not in folders:
                disk.make_folder(target.parent)
                folders.update(above for above in target.parents if above.is_relative_to(root))
            disk.rename(source, target)
        for folder in sorted(folders):
            disk.sync_folder(folder)

    def outcomes(self) -> Iterator[Outcome]:
        """Stream what is committed and whose files are there."""
        for outcome in super().outcomes():
            if not isinstance(outcome, Done) or all(map(self._is_there, outcome.items)):
                yield outcome

    def _is_there(self, item: Item) -> bool:
        return any(is_file_of(path, self._asked, item.n_rows) for path in self._places(item))

    # Finishing.

    def _assemble(self, header: Header, selection: Selection) -> None:
        listing = self.partial_path / self._names.listing
        settings = self.partial_path / self._names.settings
        write_text(listing, _listing_lines(header, selection))
        write_text(settings, iter([settings_text(header)]))
        # From here until the new one is there, the output is not a finished one.
        disk.remove(self.path / settings.name)
        disk.sync_folder(self.path)
        self._move(self._staged_files(selection), self.path)
        self._remove_unlisted(Listing(listing, header.suffix))
        disk.rename(listing, self.path / listing.name)
        disk.sync_folder(self.path)
        disk.rename(settings, self.path / settings.name)
        disk.sync_folder(self.path)

    def _staged_files(self, selection: Selection) -> Iterator[tuple[Path, Path]]:
        for entry in selection:
            for item in _items(entry.outcome):
                staged, final = self._places(item)
                if entry.row >= 0 and is_file_of(staged, self._asked, item.n_rows):
                    yield staged, final
                elif not is_file_of(final, self._asked, item.n_rows):
                    raise StoreError(
                        "is missing, or was changed, while the output was made",
                        final,
                        "run the same command again",
                    )

    def _remove_unlisted(self, new: Listing) -> None:
        """Remove the files that the old list names and the new one does not."""
        folders = set()
        for path in self._old.paths() if self._old is not None else ():
            if not new.has_path(path) and self._is_inside(path):
                disk.remove(self.path / path)
                folders.add((self.path / path).parent)
        for folder in sorted(folders):
            if folder.is_dir():
                disk.sync_folder(folder)


class _ItemFile:
    """One ``.npy`` file, written in blocks of rows, so that an item of any length fits.

    With the rows axis last, each number of a row belongs to another of the long lines that lie one
    behind the other in the file, and a block of rows is a short stretch of every line. So each
    line has its own checksum, and that of the file is put together from them.
    """

    def __init__(self, fd: int, header: Header, item: Item) -> None:
        self._fd, self._header, self._n_rows = fd, header, item.n_rows
        self._head, self._dtype = _head(header, item.n_rows), STORED[header.dtype]
        self._n_lines = math.prod(header.row_shape) if header.transpose else 1
        self._line_bytes = item.n_rows * header.row_bytes // self._n_lines
        self._crc32s = [0] * self._n_lines
        self._first = 0  # row of the block in hand
        self._begin_block()

    def _begin_block(self) -> None:
        """Make room for the next rows, with their numbers as they lie on disk."""
        n = min(rows_a_block(self._header.row_bytes), self._n_rows - self._first)
        block = np.empty(_shape(self._header, n), self._dtype)
        self._lines = block.reshape(self._n_lines, -1)
        self._rows = np.moveaxis(block, -1, 0) if self._header.transpose else block
        self._n_filled = 0

    def add(self, piece: Array) -> None:
        """Put the next rows in their places, and write every block that is full."""
        while len(piece):
            n = min(len(piece), len(self._rows) - self._n_filled)
            self._rows[self._n_filled : self._n_filled + n] = piece[:n]
            self._n_filled += n
            piece = piece[n:]
            if self._n_filled == len(self._rows) and self._first + self._n_filled < self._n_rows:
                self._write_block()
                self._first += self._n_filled
                self._begin_block()

    def end(self) -> int:
        """Write the last block and give the checksum of all rows."""
        if self._first:
            self._write_block()
            disk.write_at(self._fd, self._head, 0)
            return joined_crc32(self._crc32s, self._line_bytes)
        content = as_bytes(self._lines)
        disk.write_at(self._fd, b"".join((self._head, content)), 0)  # nearly all items fit
        return zlib.crc32(content)

    def _write_block(self) -> None:
        offset = len(self._head) + self._first * (self._line_bytes // self._n_rows)
        for i, stretch in enumerate(self._lines):
            data = as_bytes(stretch)
            disk.write_at(self._fd, data, offset + i * self._line_bytes)
            self._crc32s[i] = zlib.crc32(data, self._crc32s[i])


def joined_crc32(crc32s: Sequence[int], n_bytes: int) -> int:
    """Compute the checksum of stretches of one length, laid end to end, from those of each.

    A CRC is linear: ``crc(a + b) = Z(crc(a)) ^ crc(b)``, where ``Z`` is what as many zero bytes as
    ``b`` has do to a CRC, a matrix of 32 x 32 bits. That of one zero byte is asked of zlib, and
    its power is found by squaring.

    >>> joined_crc32([zlib.crc32(b"lon"), zlib.crc32(b"ger")], 3) == zlib.crc32(b"longer")
    True
    """
    square = [zlib.crc32(b"\0", 1 << bit) ^ zlib.crc32(b"\0") for bit in range(32)]
    zeros = [1 << bit for bit in range(32)]
    while n_bytes:
        if n_bytes & 1:
            zeros = [_product(square, column) for column in zeros]
        square = [_product(square, column) for column in square]
        n_bytes >>= 1
    crc = 0
    for crc32 in crc32s:
        crc = _product(zeros, crc) ^ crc32
    return crc


def _product(columns: Sequence[int], vector: int) -> int:
    """Multiply a matrix of bits with a vector of bits."""
    total = 0
    for column in columns:
        if vector & 1:
            total ^= column
        vector >>= 1
    return total


class Listing:
    """What a ``melcli.jsonl`` says: columns in memory, texts where they are.

    Args:
        path: Of the file.
        suffix: How the names of the files that it lists end.

    Raises:
        StoreError: It is not what melcli writes.
    """

    def __init__(self, path: Path, suffix: str) -> None:
        self._path, self._suffix = path, suffix
        self._by_path: IdIndex | None = None
        self.has_excerpts = False
        self.item_places, self.failure_places = array("q"), array("q")
        self.item_positions, self.failure_positions = array("q"), array("q")
        columns = {name: array("q") for name in ("n_rows", *_NUMBERS, *_SOURCE)}
        certificates = {name: array("d") for name in CERTIFICATE}
        with damage(path), path.open("rb") as lines:
            place = 0
            for line in lines:
                record = json.loads(line)
                self.has_excerpts |= RECORDING in record
                if record["status"] == "done":
                    self.item_places.append(place)
                    self.item_positions.append(record.get(POSITION, -1))
                    for name, column in columns.items():
                        value = record[name]
                        column.append(-1 if value is None else value)
                    for name, certificate in certificates.items():
                        if name in record:
                            certificate.append(record[name])
                else:
                    self.failure_places.append(place)
                    self.failure_positions.append(record.get(POSITION, -1))
                place += len(line)
        self.columns = {
            name: np.array(column, dtype=COLUMNS.get(name, "<i8"))
            for name, column in columns.items()
        }
        self.certificates = {
            name: np.array(column, dtype=CERTIFICATE[name])
            for name, column in certificates.items()
            if len(column) == len(self.item_places)
        }
        if (self.columns["n_rows"] < 0).any():
            raise StoreError("is damaged: a negative number of rows", path)

    def records(self, places: Sequence[int]) -> Iterator[Mapping[str, Any]]:
        """Read some lines again."""
        with damage(self._path), self._path.open("rb") as lines:
            for place in places:
                lines.seek(place)
                record = json.loads(lines.readline())
                if not isinstance(record["id"], str):
                    raise TypeError("an id that is not a text")
                yield record

    def paths(self) -> Iterator[str]:
        """Stream the path of every file."""
        for record in self.records(self.item_places):
            yield npy_path(record["id"], self._suffix)

    def has_path(self, path: str) -> bool:
        """Tell whether a file is named."""
        if self._by_path is None:
            self._by_path = IdIndex(zip(self.paths(), self.item_places, strict=True))
        found = self.records(list(self._by_path.places(path)))
        return any(npy_path(record["id"], self._suffix) == path for record in found)


class NpyReader(StoreReader):
    """Reads a finished folder, and believes nothing that is in it."""

    def __init__(self, path: Path, shard: Shard | None = None) -> None:
        super().__init__(path)
        listing, settings, _ = Names.of(shard)
        if not os.path.lexists(path / settings):
            raise _not_there(path, settings)
        with damage(path / settings):
            self.header = _read_settings(path / settings)
        if self.header.shard != shard:
            raise StoreError(f"is damaged: it says that it is shard {shard}", path / settings)
        self.listing = Listing(path / listing, self.header.suffix)
        columns = dict(self.listing.columns)
        self.items = ends(columns.pop("n_rows")) | columns
        if self.header.content != "mel":
            self.certificates = self.listing.certificates
            if len(self.certificates) != len(CERTIFICATE):
                raise StoreError("is damaged: residuals are missing", path / listing)
        if shard is not None:
            self._positions = (
                np.array(self.listing.item_positions, dtype="<i8"),
                np.array(self.listing.failure_positions, dtype="<i8"),
            )

    def _ids(self, start: int, stop: int) -> list[str]:
        records = self.listing.records(self.listing.item_places[start:stop])
        return [record["id"] for record in records]

    def _notes(self, start: int, stop: int) -> list[tuple[str, ...]]:
        records = self.listing.records(self.listing.item_places[start:stop])
        with damage(self.path):
            return [tuple(str(note) for note in record["notes"]) for record in records]

    def _excerpts(self, start: int, stop: int) -> list[Excerpt | None]:
        if not self.listing.has_excerpts:
            return [None] * (stop - start)
        records = self.listing.records(self.listing.item_places[start:stop])
        with damage(self.path):
            return [_excerpt(record) for record in records]

    def failures(self) -> Iterator[Failed]:
        """Stream the inputs that failed."""
        for record in self.listing.records(self.listing.failure_places):
            with damage(self.path):
                failed = Failed(
                    record["id"],
                    record["source_size"],
                    record["source_mtime_ns"],
                    str(record["cause"]),
                    record["remedy"],
                    _excerpt(record),
                )
            yield failed

    def read_rows(self, position: int, start: int, stop: int) -> Array:
        """Read a run of the rows of an item."""
        path = self._file(position)
        shape = _shape(self.header, self.n_rows(position))
        dtype = STORED[self.header.dtype]
        with damage(path), path.open("rb") as file:
            place = self._check_head(file, shape)
            if 0 in shape:
                return self.rows(0, 0)
            stored = np.memmap(file, dtype, "r", place, shape)
            rows = np.moveaxis(stored, -1, 0) if self.header.transpose else stored
            return np.array(rows[start:stop], order="C")

    def _stored(self, position: int) -> Iterator[Array]:
        """Read the numbers of a file as they lie in it."""
        path, dtype = self._file(position), STORED[self.header.dtype]
        shape = _shape(self.header, self.n_rows(position))
        with damage(path), path.open("rb") as file:
            self._check_head(file, shape)
            while data := file.read(BLOCK_BYTES):
                yield np.frombuffer(data, dtype)

    def _file(self, position: int) -> Path:
        (name,) = self._ids(position, position + 1)
        return self.path / npy_path(name, self.header.suffix)

    def _check_head(self, file: BinaryIO, shape: tuple[int, ...]) -> int:
        """Compare a file's head and size with what the list says; give the place of its data."""
        dtype = STORED[self.header.dtype]
        if self.header.content != "audio":
            version = np.lib.format.read_magic(file)
            if version != (1, 0):
                raise ValueError(f"format {version} of .npy")
            found = np.lib.format.read_array_header_1_0(file)
            if found != (shape, False, dtype):
                raise ValueError(
                    f"shape, Fortran order and dtype are {found}, not {(shape, False, dtype)}"
                )
        place = file.tell()
        if os.fstat(file.fileno()).st_size != place + math.prod(shape) * dtype.itemsize:
            raise ValueError("the file has another size than the list says")
        return place

    def close(self) -> None:
        """Nothing stays open between two calls."""


def npy_header(shape: tuple[int, ...], dtype: np.dtype[Any]) -> bytes:
    """Give the head of a ``.npy`` file, format 1.0: always the same bytes, unlike NumPy's own.

    >>> from io import BytesIO
    >>> np.load(BytesIO(npy_header((1, 2), np.dtype("<f4")) + bytes(8)))
    array([[0., 0.]], dtype=float32)
    """
    text = f"{{'descr': {dtype.str!r}, 'fortran_order': False, 'shape': {shape!r}, }}"
    text += " " * (-(len(text) + 11) % 64) + "\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text.encode("ascii")


def _shape(header: Header, n_rows: int) -> tuple[int, ...]:
    return (*header.row_shape, n_rows) if header.transpose else (n_rows, *header.row_shape)


def _head(header: Header, n_rows: int) -> bytes:
    if header.content == "audio":
        return b""
    return npy_header(_shape(header, n_rows), STORED[header.dtype])


def _file_size(header: Header, n_rows: int) -> int:
    return len(_head(header, n_rows)) + n_rows * header.row_bytes


def is_file_of(path: Path, header: Header, n_rows: int) -> bool:
    """Tell whether there is a file of just the size that an item of so many rows has."""
    return _size(path) == _file_size(header, n_rows)


def _size(path: Path) -> int | None:
    try:
        return path.stat().st_size
    except (FileNotFoundError, NotADirectoryError):
        return None


def _crc32(path: Path, header: Header, item: Item) -> int | None:
    """Compute the checksum of an item's file; None if there is none that it could be."""
    head = _head(header, item.n_rows)
    if not is_file_of(path, header, item.n_rows):
        return None
    fd = os.open(path, os.O_RDONLY)
    try:
        if b"".join(disk.read_at(fd, len(head), 0)) != head:
            return None
        crc = 0
        for block in disk.read_at(fd, item.n_rows * header.row_bytes, len(head)):
            crc = zlib.crc32(block, crc)
        return crc
    finally:
        os.close(fd)


def _items(outcome: Outcome) -> tuple[Item, ...]:
    return outcome.items if isinstance(outcome, Done) else ()


def _in_the_way(path: Path) -> StoreError:
    return StoreError(
        "is there already, and melcli did not make it", path, "move it, or choose another -o"
    )


def _not_there(path: Path, settings: str) -> StoreError:
    if found := shards_in(path):
        return StoreError(
            f"holds {len(found)} of {found[0].count} shards, and no whole output",
            path,
            f"melcli merge {path} -o {path}",
        )
    return StoreError(f"holds no finished output: there is no {settings}", path)


def _listing_lines(header: Header, selection: Selection) -> Iterator[str]:
    for entry, of_shard in selection.placed():
        outcome = entry.outcome
        source = {name: getattr(outcome, name) for name in _SOURCE}
        source |= _excerpt_record(outcome.excerpt) | of_shard
        if isinstance(outcome, Failed):
            record: dict[str, object] = {
                "status": "failed",
                "id": outcome.id,
                "cause": outcome.cause,
            }
            yield as_line(record | {"remedy": outcome.remedy} | source)
            continue
        for item in outcome.items:
            record = {
                "status": "done",
                "id": item.id,
                "path": npy_path(item.id, header.suffix),
                "shape": _shape(header, item.n_rows),
                "dtype": header.dtype,
                "n_rows": item.n_rows,
            }
            record |= {name: getattr(item, name) for name in _NUMBERS}
            record |= {} if item.certificate is None else item.certificate._asdict()
            yield as_line(record | {"notes": item.notes} | source)


def _excerpt_record(excerpt: Excerpt | None) -> dict[str, Any]:
    if excerpt is None:
        return {}
    recording, start, end, channel = excerpt
    values = (start, None if end == math.inf else end, channel)  # JSON has no infinity
    return {RECORDING: recording} | dict(zip(EXCERPT, values, strict=True))


def _excerpt(record: Mapping[str, Any]) -> Excerpt | None:
    if RECORDING not in record:
        return None
    start, end, channel = (record[name] for name in EXCERPT)
    end = math.inf if end is None else float(end)
    return excerpt_of(str(record[RECORDING]), float(start), end, int(channel))


def as_line(value: object) -> str:
    """Write a value as JSON in a line of its own."""
    return json.dumps(value, ensure_ascii=False) + "\n"


def settings_text(header: Header) -> str:
    """Give the resolved config as it is, and behind it what else there is to know."""
    record = header.as_record()
    groups = {name: record.pop(name) for name in (*_GROUPS, _SCALER) if name in record}
    del record["config"], record["overwrite"]
    text = header.config + _MARK + _toml({"format_version": FORMAT_VERSION} | record)
    return text + "".join(f"\n[melcli.{name}]\n{_toml(group)}" for name, group in groups.items())


def _toml(table: Mapping[str, object]) -> str:
    # Texts, numbers, truth values and lists of them look in TOML as in JSON, but for one character.
    lines = (
        f"{key if _BARE.fullmatch(key) else json.dumps(key)} = {as_line(value)}"
        for key, value in table.items()
    )
    return printable("".join(lines)).replace("\x7f", "\\u007f")


def _read_settings(path: Path) -> Header:
    text = path.read_bytes().decode()
    config, found, _ = text.rpartition(_MARK)
    if not found:
        raise StoreError("was not made by melcli", path, "choose another -o")
    record = tomllib.loads(text)["melcli"]
    if (version := record["format_version"]) != FORMAT_VERSION:
        raise StoreError(f"has format version {version}", path, "use a newer melcli")
    return Header.from_record(record | {"config": config, "overwrite": False})


def write_text(path: Path, lines: Iterator[str]) -> None:
    """Write a file anew, and wait until it is on the disk."""
    fd = disk.open_file(path)
    try:
        disk.truncate(fd, 0)
        place = 0
        while text := "".join(islice(lines, _SLICE)).encode():
            disk.write_at(fd, text, place)
            place += len(text)
        disk.sync_data(fd)
    finally:
        os.close(fd)
