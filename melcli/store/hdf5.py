"""HDF5 outputs: all rows in one dataset (packed), or a dataset for each item (tree).

HDF5 files do not survive a crash while they are written, so none is: rows go to a plain `RowFile`
and what they are to a `Journal`. Only `finish` makes HDF5, in a scratch file beside the output.

For the packed layout that scratch file is complete but for its rows, which are a hole: HDF5 was
told to put them at the second page and to write nothing there. ::

    x.h5.partial.scratch   | header page | (hole)       | items, failures, attributes |
                                 |                                  | copied
                                 v                                  v
    x.h5.partial           | (free page) | rows         | (end of file)                 -> x.h5

If the rows do not lie in plan order, or HDF5 put them elsewhere (a handful of them), they are
copied into the hole instead and the scratch file is renamed: the bytes are the same.
"""

from __future__ import annotations

import os
import weakref
from contextlib import closing, contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

import h5py
import numpy as np
from h5py import h5d, h5f, h5fd, h5p, h5s, h5t

from melcli.errors import StoreError
from melcli.store import disk
from melcli.store.begun import HDF5_SUFFIX
from melcli.store.reader import (
    CERTIFICATE,
    COLUMNS,
    EXCERPT,
    RECORDING,
    StoreReader,
    damage,
    ends,
    excerpt_of,
    known,
)
from melcli.store.records import (
    STORED,
    Done,
    Excerpt,
    Failed,
    Header,
    as_bytes,
    check_id,
    printable,
)
from melcli.store.rows import HEADER_PAGE, RowFile, blocks
from melcli.store.scratch import Scratch
from melcli.store.signals import HeldSignals
from melcli.store.writer import StoreWriter

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from melcli.store.journal import Segment
    from melcli.store.records import Array, Item, Outcome
    from melcli.store.selection import Selection

FORMAT, FORMAT_VERSION = "melcli", 1
_ALIGN_FROM = 1 << 16  # larger than any block of metadata, so that only rows are aligned
_JOURNAL = ".partial.journal"
_SLICE = 4096
_TEXT = h5py.string_dtype()
_HEADER_TEXTS = ("melcli_version", "config", "config_digest", "command", "created", "dtype")
_HEADER_GROUPS = ("settings", "machine")
_POSITION = "position"
_SCALER = "scaler"
ITEM_TEXTS = ("id", "notes")
FAILURE_TEXTS = ("id", "cause", "remedy")
SOURCE = ("source_size", "source_mtime_ns")


class Hdf5Writer(StoreWriter):
    """Keeps rows in a row file, and makes HDF5 of it at the end."""

    def __init__(self, path: Path, header: Header, *, accept_different_machine: bool) -> None:
        self.partial_path = path.with_name(path.name + ".partial")
        self._scratch = path.with_name(path.name + ".partial.scratch")
        self._rows: RowFile | None = None
        self._n_rows = 0  # of whole outcomes, those not committed included
        self._at = 0  # where the next row goes
        super().__init__(
            path,
            replace(header, transpose=False),  # rows come first in HDF5, always
            path.with_name(path.name + _JOURNAL),
            accept_different_machine=accept_different_machine,
        )

    def _finished_output(self) -> Hdf5Reader | None:
        return Hdf5Reader(self.path) if os.path.lexists(self.path) else None

    def _begun_path(self) -> Path:
        return self.path.with_name(self.path.name + HDF5_SUFFIX)

    def _has_rows(self) -> bool:
        return self.partial_path.exists()

    def _refuse_strangers(self) -> None:
        for path in (self.partial_path, self._scratch):
            if os.path.lexists(path):
                raise StoreError(
                    "is there, but no journal says what it is",
                    path,
                    "move it elsewhere, or delete it",
                )

    @property
    def rows(self) -> RowFile:
        """The row file, opened when first needed."""
        if self._rows is None:
            self._rows = RowFile(self.partial_path, self._header)
        return self._rows

    def _is_whole(self, segment: Segment) -> bool:
        return all(
            self.rows.crc32(row, item.n_rows) == item.crc32
            for entry in self._journal.entries(segment)
            for row, item in _placed(entry.outcome, entry.row)
        )

    def _resume(self) -> None:
        self._n_rows = self._at = self._journal.n_rows
        self.rows.cut(self._n_rows)

    def _close_rows(self) -> None:
        if self._rows is not None:
            self._rows.close()
            self._rows = None

    def _discard(self) -> None:
        self._close_rows()
        disk.remove(self._scratch)
        disk.remove(self.partial_path)

    def _begin_rows(self) -> None:
        self.rows.cut(0)

    def _first_row(self, *, kept: bool) -> int:  # noqa: ARG002  # rows lie together in any case
        return self._n_rows

    def _write_item(self, item: Item, pieces: Iterator[Array]) -> int:  # noqa: ARG002  # as above
        crc = 0
        for piece in pieces:
            with self._disk:
                crc = self.rows.write(self._at, piece, crc)
            self._at += len(piece)
            del piece  # it may be large, and the next one is made now
        return crc

    def _keep_item(self, item: Item) -> int:
        return self._write_item(item, self._previous_blocks(item))

    def _outcome_done(self, *, good: bool) -> None:
        if good:
            self.n_bytes_written += (self._at - self._n_rows) * self.rows.row_bytes
            self._n_rows = self._at
        else:
            self._at = self._n_rows

    def _flush_rows(self) -> None:
        if self._rows is not None:
            self._rows.flush()

    def _sync_rows(self) -> int:
        self.rows.sync()
        return self._n_rows

    def _assemble(self, header: Header, selection: Selection) -> None:
        place = self._write_metadata(header, selection)
        complete = self._scratch
        if place is not None:
            in_place = selection.in_row_order and selection.n_rows == self._n_rows
            if place == HEADER_PAGE and in_place:
                self._splice()
                complete = self.partial_path
            else:
                self._fill(selection, place)
        disk.sync_file(complete)
        disk.rename(complete, self.path)
        disk.sync_folder(self.path.parent)

    def _write_metadata(self, header: Header, selection: Selection) -> int | None:
        """Make the scratch file, and say where the packed rows belong in it."""
        raise NotImplementedError

    def _splice(self) -> None:
        """Put what HDF5 wrote around the rows where they are."""
        scratch = disk.open_file(self._scratch)
        try:
            end = self.rows.offset(self._n_rows)
            disk.truncate(self.rows.fd, end)  # rows that were begun and given up may lie there
            size = os.fstat(scratch).st_size
            disk.copy(scratch, end, size - end, self.rows.fd, end)
            disk.copy(scratch, 0, HEADER_PAGE, self.rows.fd, 0)
        finally:
            os.close(scratch)

    def _fill(self, selection: Selection, place: int) -> None:
        """Copy the rows into the scratch file, in plan order."""
        scratch = disk.open_file(self._scratch)
        try:
            for start, stop in _runs(selection):
                n_bytes = (stop - start) * self.rows.row_bytes
                disk.copy(self.rows.fd, self.rows.offset(start), n_bytes, scratch, place)
                place += n_bytes
        finally:
            os.close(scratch)


class PackedWriter(Hdf5Writer):
    """All rows in ``/mel``, or ``/spectrogram``; for each item where it starts and stops."""

    def _write_metadata(self, header: Header, selection: Selection) -> int | None:
        with _create(self._scratch) as (file, scratch):
            rows = _aligned(file, header, selection.n_rows)
            _label(rows, header)
            place: int | None = rows.id.get_offset()
            _write_header(file, header)
            start = 0
            listing = _Listing(file, header, selection, scratch)
            for done, _ in listing:
                for item in done.items:
                    listing.add(done, item, start)
                    start += item.n_rows
        return place


class TreeWriter(Hdf5Writer):
    """A dataset for each item, at ``/mel/<id>`` or ``/spectrogram/<id>``."""

    def _write_metadata(self, header: Header, selection: Selection) -> int | None:
        with _create(self._scratch) as (file, scratch):
            group, dtype = file.create_group(header.content), STORED[header.dtype]
            _write_header(file, header)
            listing = _Listing(file, header, selection, scratch)
            for done, row in listing:
                for first, item in _placed(done, row):
                    shape = (item.n_rows, *header.row_shape)
                    data = group.create_dataset(item.id, shape, dtype, track_times=False)
                    _label(data, header)
                    for start, stop in blocks(item.n_rows, header.row_bytes):
                        data[start:stop] = self.rows.read(first + start, stop - start)
                        scratch.check()  # or a long item would fill the memory behind a full disk
                    listing.add(done, item, 0)
        return None


class _Table:
    """A group with one dataset a column, filled in slices."""

    def __init__(self, group: h5py.Group, columns: Mapping[str, object], n_rows: int) -> None:
        self._columns = [
            group.create_dataset(name, (n_rows,), dtype, track_times=False)
            for name, dtype in columns.items()
        ]
        self._waiting: list[Sequence[object]] = []
        self._n_written = 0

    def add(self, *values: object) -> None:
        self._waiting.append(values)
        if len(self._waiting) == _SLICE:
            self.flush()

    def flush(self) -> None:
        start, stop = self._n_written, self._n_written + len(self._waiting)
        if start == stop:
            return
        for dataset, values in zip(self._columns, zip(*self._waiting, strict=True), strict=True):
            dataset[start:stop] = np.array(values, dtype=dataset.dtype)
        self._waiting, self._n_written = [], stop


class _Listing:
    """Writes ``/items`` and ``/failures`` while the outcomes pass by."""

    def __init__(
        self, file: h5py.File, header: Header, selection: Selection, scratch: Scratch
    ) -> None:
        self._selection, self._scratch = selection, scratch
        texts = dict.fromkeys(ITEM_TEXTS, _TEXT)
        of_shard = {} if selection.positions is None else {_POSITION: "<i8"}
        excerpt = {RECORDING: _TEXT} | dict(EXCERPT) if selection.has_excerpts else {}
        certificate = {} if header.content == "mel" else dict(CERTIFICATE)
        columns = texts | dict(COLUMNS) | excerpt | certificate | of_shard
        self._items = _Table(file.create_group("items"), columns, selection.n_items)
        texts = dict.fromkeys(FAILURE_TEXTS, _TEXT)
        columns = texts | {name: COLUMNS[name] for name in SOURCE} | excerpt | of_shard
        self._failures = _Table(file.create_group("failures"), columns, selection.n_failures)
        self._of_shard: Sequence[int] = ()  # of the input in hand

    def __iter__(self) -> Iterator[tuple[Done, int]]:
        """Give what was done and where its rows lie; note down what failed."""
        for entry, of_shard in self._selection.placed():
            self._scratch.check()
            outcome, self._of_shard = entry.outcome, tuple(of_shard.values())
            if isinstance(outcome, Done):
                yield outcome, entry.row
            else:
                source = self._source(outcome)
                remedy = outcome.remedy or ""
                self._failures.add(outcome.id, outcome.cause, remedy, *source, *self._of_shard)
        self._items.flush()
        self._failures.flush()

    def add(self, done: Done, item: Item, start: int) -> None:
        self._items.add(
            item.id,
            ", ".join(item.notes),
            start,
            start + item.n_rows,
            item.n_samples,
            item.sample_rate,
            item.n_channels,
            item.channel,
            item.crc32,
            *self._source(done),
            *(item.certificate or ()),
            *self._of_shard,
        )

    def _source(self, outcome: Outcome) -> tuple[object, ...]:
        size, mtime_ns = outcome.source_size, outcome.source_mtime_ns
        excerpt = (outcome.excerpt or Excerpt("")) if self._selection.has_excerpts else ()
        return -1 if size is None else size, -1 if mtime_ns is None else mtime_ns, *excerpt


def _placed(outcome: Outcome, row: int) -> Iterator[tuple[int, Item]]:
    """Give each item with the place of its first row in the row file."""
    for item in outcome.items if isinstance(outcome, Done) else ():
        yield row, item
        row += item.n_rows


def _runs(selection: Selection) -> Iterator[tuple[int, int]]:
    """Give the rows of an output in plan order, as stretches that are as long as can be."""
    start = stop = 0
    for entry in selection:
        for row, item in _placed(entry.outcome, entry.row):
            if row != stop:
                if start < stop:
                    yield start, stop
                start = row
            stop = row + item.n_rows
    if start < stop:
        yield start, stop


@contextmanager
def _create(path: Path) -> Iterator[tuple[h5py.File, Scratch]]:
    """Begin an HDF5 file in which large data begin at a page, and metadata never do."""
    access = h5p.create(h5p.FILE_ACCESS)
    access.set_alignment(_ALIGN_FROM, HEADER_PAGE)
    access.set_libver_bounds(h5f.LIBVER_EARLIEST, h5f.LIBVER_LATEST)
    with HeldSignals() as signals, closing(Scratch(path, signals)) as scratch:
        access.set_fileobj_driver(h5fd.fileobj_driver, scratch)
        try:
            handle = h5f.create(os.fsencode(path), h5f.ACC_TRUNC, fapl=access)
        finally:
            # It refers to Python, and must not outlive it: an error's traceback would keep it
            # until HDF5 ends with the process, and crash that.
            access.close()
        with h5py.File(handle) as file:
            yield file, scratch
        scratch.check()


def _aligned(file: h5py.File, header: Header, n_rows: int) -> h5py.Dataset:
    """Reserve room for the rows, first of all, and leave it as it is: a hole."""
    how = h5p.create(h5p.DATASET_CREATE)
    how.set_layout(h5d.CONTIGUOUS)
    how.set_alloc_time(h5d.ALLOC_TIME_EARLY)
    how.set_fill_time(h5d.FILL_TIME_NEVER)
    how.set_obj_track_times(False)  # h5py takes it by position only
    space = h5s.create_simple((n_rows, *header.row_shape))
    dtype = h5t.py_create(STORED[header.dtype])
    h5d.create(file.id, header.content.encode(), dtype, space, dcpl=how)
    return file[header.content]


def _label(rows: h5py.Dataset, header: Header) -> None:
    for axis, label in zip(rows.dims, header.row_labels, strict=False):
        axis.label = label


def _write_header(file: h5py.File, header: Header) -> None:
    attributes = file.attrs
    attributes["format"] = FORMAT
    attributes["format_version"] = FORMAT_VERSION
    for name in _HEADER_TEXTS:
        attributes[name] = printable(getattr(header, name))
    if header.inputs_digest:
        attributes["inputs_digest"] = header.inputs_digest
    if header.content != "mel":
        attributes["content"] = header.content
    attributes["row_shape"] = np.array(header.row_shape, dtype="<i8")
    attributes.create("row_labels", list(header.row_labels), dtype=_TEXT)
    for group in _HEADER_GROUPS:
        for key, value in sorted(getattr(header, group).items()):
            attributes[f"{group}_{key}"] = printable(value)
    if header.scaler is not None:
        scaler = file.create_group(_SCALER)
        for name, value in header.scaler.to_record().items():
            if isinstance(value, list):
                scaler.create_dataset(name, data=np.array(value), track_times=False)
            else:
                scaler.attrs[name] = value


def _read_header(file: h5py.File, scaler: Mapping[str, Any] | None) -> Header:
    attributes = file.attrs
    record: dict[str, Any] = {name: attributes[name] for name in _HEADER_TEXTS}
    record["inputs_digest"] = attributes.get("inputs_digest", "")
    record["content"] = attributes.get("content", "mel")
    record["row_shape"] = np.asarray(attributes["row_shape"]).tolist()
    record["row_labels"] = list(attributes["row_labels"])
    for group in _HEADER_GROUPS:
        prefix = f"{group}_"
        record[group] = {
            name.removeprefix(prefix): attributes[name]
            for name in attributes
            if name.startswith(prefix)
        }
    if scaler is not None:
        record["scaler"] = scaler
    return Header.from_record(record | {"transpose": False, "overwrite": False})


def _not_there(path: Path) -> StoreError:
    journal = path.with_name(path.name + _JOURNAL)
    if journal.exists():
        return StoreError("is not finished", path, "run the command again that began it")
    return StoreError("is not there", path, "check the name; melcli extract makes it")


def _open_unlocked_if_need_be(path: Path) -> h5py.File:
    """Open a finished file, also where a network disk cannot lock it.

    A finished file is never edited, so nobody needs the lock. But HDF5 wants all who open a file in
    one process to agree on it, so the usual way comes first.
    """
    try:
        return h5py.File(path, "r")
    except OSError as error:
        if "unable to lock" not in str(error):
            raise
        return h5py.File(path, "r", locking=False)


class Hdf5Reader(StoreReader):
    """Reads a finished output of either layout, and believes nothing that is in it."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._place: int | None = None  # where packed rows begin
        try:
            # Rows are read past HDF5, which takes longer to find a small item than to read it.
            self._raw = os.open(path, os.O_RDONLY)
            self._close_raw = weakref.finalize(self, os.close, self._raw)
        except FileNotFoundError as error:
            raise _not_there(path) from error
        self._file: h5py.File | None = None
        try:
            try:
                self._file = _open_unlocked_if_need_be(path)
            except OSError as error:
                raise StoreError(
                    f"is not an output of melcli, or is damaged: {error}",
                    path,
                    "choose another name",
                ) from error
            with damage(path):
                self._open(self._file)
        except BaseException:
            self.close()
            raise

    def _open(self, file: h5py.File) -> None:
        found = os.fstat(self._raw)
        if not os.path.samestat(found, self.path.stat()):
            raise StoreError("was replaced while it was opened", self.path, "try again")
        self._n_bytes = found.st_size
        if file.attrs.get("format") != FORMAT:
            raise StoreError("is not an output of melcli", self.path, "choose another name")
        if (version := file.attrs["format_version"]) != FORMAT_VERSION:
            raise StoreError(f"has format version {version}", self.path, "use a newer melcli")
        self.header = _read_header(file, self._scaler())
        n_items, n_failures = (len(self._plain(f"{group}/id")) for group in ("items", "failures"))
        self._texts_of = {
            f"{group}/{name}": self._column(f"{group}/{name}", n, text=True)
            for group, names, n in (
                ("items", ITEM_TEXTS, n_items),
                ("failures", FAILURE_TEXTS, n_failures),
            )
            for name in names
        }
        self.items = {name: self._column(f"items/{name}", n_items)[:] for name in COLUMNS}
        if self.header.content != "mel":
            self.certificates = {
                name: self._column(f"items/{name}", n_items, of="fiu")[:] for name in CERTIFICATE
            }
        self._failure_source = [self._column(f"failures/{name}", n_failures)[:] for name in SOURCE]
        self._excerpts_of = {
            group: self._excerpt_columns(group, n)
            for group, n in (("items", n_items), ("failures", n_failures))
            if f"{group}/{RECORDING}" in file
        }
        if self.header.shard is not None:
            self._positions = (
                self._column(f"items/{_POSITION}", n_items)[:],
                self._column(f"failures/{_POSITION}", n_failures)[:],
            )
        start, stop = self.items["start"], self.items["stop"]
        if (start < 0).any() or (stop < start).any():
            raise ValueError("/items/start and /items/stop do not follow each other")
        name = self.header.content
        if not isinstance(file[name], h5py.Dataset):
            self.items |= ends(stop - start)
            return
        rows = self._rows_of(name)
        self._place, self._n_rows = rows.id.get_offset() or 0, len(rows)
        if n_items and ((start[1:] < stop[:-1]).any() or stop[-1] > len(rows)):
            raise ValueError(f"items reach outside the {len(rows)} rows of /{name}")

    def _excerpt_columns(self, group: str, n_rows: int) -> list[h5py.Dataset]:
        names = {
            f"{group}/{name}": "f" if kind == "<f8" else "iu" for name, kind in EXCERPT.items()
        }
        recording = self._column(f"{group}/{RECORDING}", n_rows, text=True)
        return [
            recording.asstr(),
            *(self._column(name, n_rows, of=of) for name, of in names.items()),
        ]

    def _scaler(self) -> dict[str, Any] | None:
        """Read what rows were normalised by, as the record it was written from."""
        file = cast("h5py.File", self._file)
        if _SCALER not in file:
            return None
        group = file[_SCALER]
        record = {
            name: getattr(value, "item", lambda v=value: v)() for name, value in group.attrs.items()
        }
        for name in group:
            dataset = self._plain(f"{_SCALER}/{name}")
            if dataset.dtype.kind not in "fi":
                raise TypeError(f"/{_SCALER}/{name} is not of numbers")
            record[name] = dataset[:].tolist()
        return record

    def _plain(self, name: str) -> h5py.Dataset:
        """Open a dataset whose every byte lies in this file, and is as long as it says."""
        group, _, leaf = name.rpartition("/")
        file = cast("h5py.File", self._file)
        parent = file[group] if group else file
        if not isinstance(parent.get(leaf, getlink=True), h5py.HardLink):
            raise TypeError(f"/{name} is a link")
        dataset = parent[leaf]
        if not isinstance(dataset, h5py.Dataset) or dataset.shape is None:
            raise TypeError(f"/{name} is not a dataset")
        layout = dataset.id.get_create_plist()
        if layout.get_layout() != h5d.CONTIGUOUS or layout.get_external_count():
            raise TypeError(f"/{name} is not contiguous")
        if dataset.size:
            place, n_bytes = dataset.id.get_offset(), dataset.id.get_storage_size()
            expected = dataset.size * dataset.id.get_type().get_size()
            if place is None or n_bytes < expected or place + n_bytes > self._n_bytes:
                raise ValueError(f"/{name} is cut off")
        return dataset

    def _column(
        self, name: str, n_rows: int, *, text: bool = False, of: str = "iu"
    ) -> h5py.Dataset:
        dataset = self._plain(name)
        fits = h5py.check_string_dtype(dataset.dtype) if text else dataset.dtype.kind in of
        if dataset.shape != (n_rows,) or not fits:
            raise TypeError(f"/{name} is not a column of {n_rows} {'texts' if text else 'numbers'}")
        return dataset

    def _rows_of(self, name: str, n_rows: int | None = None) -> h5py.Dataset:
        dataset = self._plain(name)
        n_rows = dataset.shape[0] if n_rows is None and dataset.shape else n_rows
        expected = (n_rows, *self.header.row_shape)
        if dataset.shape != expected or dataset.dtype != STORED[self.header.dtype]:
            raise ValueError(f"/{name} is not {expected} of {self.header.dtype}")
        return dataset

    def _texts(self, name: str, start: int, stop: int) -> list[str]:
        with damage(self.path):
            texts: list[str] = self._texts_of[name].asstr()[start:stop].tolist()
        return texts

    def _ids(self, start: int, stop: int) -> list[str]:
        return self._texts("items/id", start, stop)

    def _notes(self, start: int, stop: int) -> list[tuple[str, ...]]:
        notes = self._texts("items/notes", start, stop)
        return [tuple(note.split(", ")) if note else () for note in notes]

    def _excerpts(self, start: int, stop: int, group: str = "items") -> list[Excerpt | None]:
        if group not in self._excerpts_of:
            return [None] * (stop - start)
        with damage(self.path):
            columns = [column[start:stop].tolist() for column in self._excerpts_of[group]]
            return [excerpt_of(*values) for values in zip(*columns, strict=True)]

    def failures(self) -> Iterator[Failed]:
        """Stream the inputs that failed."""
        n_failures = len(self._failure_source[0])
        for start in range(0, n_failures, _SLICE):
            stop = min(start + _SLICE, n_failures)
            texts = [self._texts(f"failures/{name}", start, stop) for name in FAILURE_TEXTS]
            source = [column[start:stop].tolist() for column in self._failure_source]
            found = zip(*texts, *source, self._excerpts(start, stop, "failures"), strict=True)
            for name, cause, remedy, size, mtime_ns, excerpt in found:
                yield Failed(name, known(size), known(mtime_ns), cause, remedy or None, excerpt)

    def read_rows(self, position: int, start: int, stop: int) -> Array:
        """Read a run of the rows of an item."""
        if self._place is not None:
            first = int(self.items["start"][position])
            return self._packed_rows(self._place, first + start, first + stop)
        with damage(self.path):
            (name,) = self._ids(position, position + 1)
            check_id(name)
            name = f"{self.header.content}/{name}"
            rows: Array = self._rows_of(name, self.n_rows(position))[start:stop]
        return rows

    def rows(self, start: int, stop: int) -> Array:
        """Read rows, counted over all items."""
        if self._place is None:
            return super().rows(start, stop)
        return self._packed_rows(self._place, start, max(start, min(stop, self._n_rows)))

    def _packed_rows(self, place: int, start: int, stop: int) -> Array:
        rows: Array = np.empty((stop - start, *self.header.row_shape), STORED[self.header.dtype])
        with damage(self.path):
            at, rest = place + start * self.header.row_bytes, as_bytes(rows)
            while rest:
                if not (n_bytes := os.preadv(self._raw, [rest], at)):
                    raise ValueError("the file ends among the rows")
                at, rest = at + n_bytes, rest[n_bytes:]
        return rows

    def close(self) -> None:
        """Close the file."""
        self._close_raw()
        if self._file is not None:
            self._file.close()
