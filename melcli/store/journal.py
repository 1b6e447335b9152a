r"""The journal of an unfinished output: what is committed, and nothing else.

Plain JSON lines. The first names the process that writes, which alone may (`melcli.store.lock`);
the second is the `Header`; then a line for each input, and after the inputs of a segment one line
that closes it with a checksum of every line so far::

    {"melcli journal": 1, "writer": "process 4242 on node7 since 2026-11-21 18:03:12 UTC"}
    {"header": {...}, "crc32": 1234}
    {"done": "a.wav", "source": [176444, 17e17], "row": 0, "items": [["", 173, ...]]}
    {"failed": "b.wav", "source": [0, 17e17], "cause": "holds no samples", "remedy": null}
    {"segment": 2, "rows": 173, "crc32": 5678}

Of an excerpt, ``source`` also holds the recording, where the excerpt begins and ends in seconds
(null for the end of the recording), and its channel.

A segment counts once its closing line is whole and its checksum, which runs on from the line
before, is right; what follows the last such line was never committed. The caller syncs the rows
before `commit`, so a row that the journal knows is on the disk.
"""

from __future__ import annotations

import json
import math
import zlib
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple

from melcli.errors import StoreError
from melcli.store import disk
from melcli.store.lock import FIRST_LINE, MARK, TRUST_SECONDS, Lock
from melcli.store.records import Certificate, Done, Excerpt, Failed, Header, Item, Outcome

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from io import BufferedReader
    from pathlib import Path

_SLICE = 128


@dataclass(frozen=True, slots=True)
class Entry:
    """An outcome as the journal has it.

    Args:
        outcome: With the checksums of its items.
        row: Where its first row lies in the row file; for ``.npy``, -1 if the files were kept.
    """

    outcome: Outcome
    row: int


class Summary(NamedTuple):
    """What it takes to count an entry."""

    id: str
    failed: bool
    row: int
    n_items: int
    n_rows: int
    is_excerpt: bool


@dataclass(frozen=True, slots=True)
class Segment:
    """Where a committed segment lies in the journal, and what it commits in all."""

    start: int
    stop: int
    n_outcomes: int
    n_rows: int
    crc32: int


class Journal:
    """The journal at ``path``, locked for this process; made if there is none.

    Raises:
        StoreError: Another process writes it, or the file is not a journal.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.header: Header | None = None
        self.segments: list[Segment] = []
        self._pending: list[bytes] = []
        self._n_pending = 0
        self._start = self._first_crc = 0
        self._lock = Lock(path)
        try:
            self._lock.acquire()
            self._scan()
        except BaseException:
            self._lock.release()
            raise

    @property
    def n_outcomes(self) -> int:
        """How many outcomes are committed; an id may have several, and the last counts."""
        return self.segments[-1].n_outcomes if self.segments else 0

    @property
    def n_rows(self) -> int:
        """How many rows are committed."""
        return self.segments[-1].n_rows if self.segments else 0

    @property
    def _stop(self) -> int:
        return self.segments[-1].stop if self.segments else self._start

    @property
    def _crc(self) -> int:
        return self.segments[-1].crc32 if self.segments else self._first_crc

    def _scan(self) -> None:
        """Find the header and every whole segment, and sign as soon as it is known to be ours."""
        with self._reading(0) as lines:
            first = lines.read(FIRST_LINE)
            if first and not first.startswith(MARK[: len(first)]):
                raise StoreError("is not a journal of melcli", self.path, "choose another -o")
            header = lines.readline()
            try:
                self.header = _header(header)
            except ValueError as error:
                raise StoreError(
                    f"was not written by this version of melcli: {error}",
                    self.path,
                    "finish it with the version that began it, or choose another -o",
                ) from error
            self._lock.sign()
            if self.header is None:
                return
            crc = self._first_crc = zlib.crc32(header)
            start = offset = self._start = FIRST_LINE + len(header)
            n_outcomes = 0
            for line in lines:
                offset += len(line)
                if not line.startswith(b'{"segment"'):
                    crc = zlib.crc32(line, crc)
                    n_outcomes += line.startswith((b'{"done"', b'{"failed"'))
                    continue
                closing, found, _ = line.partition(b', "crc32": ')
                crc = zlib.crc32(closing, crc)
                if not found or not line.endswith(b"%d}\n" % crc):
                    return
                n_rows = int(json.loads(line)["rows"])
                self.segments.append(Segment(start, offset, n_outcomes, n_rows, crc))
                start = offset

    def _reading(self, offset: int) -> BufferedReader:
        lines = self.path.open("rb")
        lines.seek(offset)
        return lines

    def check(self) -> None:
        """Refuse to go on if another process has taken the lock over. Quick: ask before any write.

        Raises:
            StoreError: It has.
        """
        self._lock.check(TRUST_SECONDS)

    def is_ours(self) -> bool:
        """Tell whether this process still has the lock, and may remove what lies there."""
        return self._lock.is_ours()

    def begin(self, header: Header) -> None:
        """Forget what was there, and begin with this header.

        Raises:
            StoreError: Another process has taken the lock over; nothing was written.
        """
        self._lock.check()
        record = json.dumps({"header": header.as_record()})[:-1]
        line = b'%s, "crc32": %d}\n' % (record.encode(), zlib.crc32(record.encode()))
        disk.truncate(self._lock.fd, FIRST_LINE)
        disk.write_at(self._lock.fd, line, FIRST_LINE)
        disk.sync_data(self._lock.fd)
        self.header, self.segments = header, []
        self._start, self._first_crc = FIRST_LINE + len(line), zlib.crc32(line)

    def forget(self) -> None:
        """Know of nothing that is committed: the rows are gone, or not wanted."""
        self.segments = []

    def add(self, entry: Entry) -> None:
        """Put an outcome into the segment in hand."""
        self._pending.append(_line(entry))
        self._n_pending += 1

    def add_machine(self, machine: Mapping[str, str]) -> None:
        """Say that rows of this segment and later ones come from these machines."""
        self._pending.append(json.dumps({"machine": dict(machine)}).encode() + b"\n")

    @property
    def machine(self) -> Mapping[str, str]:
        """The machines that the rows come from."""
        found: Mapping[str, str] = self.header.machine if self.header else {}
        with self._reading(self._start) as lines:
            for line in _until(lines, self._stop):
                if line.startswith(b'{"machine"'):
                    found = json.loads(line)["machine"]
        return found

    @property
    def n_pending(self) -> int:
        """How many outcomes wait for `commit`."""
        return self._n_pending

    def commit(self, n_rows: int) -> None:
        """Write the segment in hand and the line that closes it, and wait until they are safe.

        Raises:
            StoreError: Another process has taken the lock over; nothing was written.
        """
        self._lock.check()
        n_outcomes = self.n_outcomes + self._n_pending
        closing = b'{"segment": %d, "rows": %d' % (len(self.segments) + 1, n_rows)
        text = b"".join(self._pending)
        crc = zlib.crc32(closing, zlib.crc32(text, self._crc))
        text += b'%s, "crc32": %d}\n' % (closing, crc)
        disk.write_at(self._lock.fd, text, self._stop)
        disk.sync_data(self._lock.fd)
        start = self._stop
        self.segments.append(Segment(start, start + len(text), n_outcomes, n_rows, crc))
        self._pending, self._n_pending = [], 0

    def cut(self) -> None:
        """Cut off what was never committed, or taken from `segments` since."""
        disk.truncate(self._lock.fd, self._stop)
        disk.sync_data(self._lock.fd)

    def entries(self, segment: Segment | None = None) -> Iterator[Entry]:
        """Stream what is committed, oldest first; or one segment of it."""
        start, stop = (segment.start, segment.stop) if segment else (self._start, self._stop)
        with self._reading(start) as lines:
            wanted = (ln for ln in _until(lines, stop) if ln.startswith((b'{"done"', b'{"failed"')))
            while batch := list(islice(wanted, _SLICE)):
                yield from map(_entry, _parsed(batch))

    def places(self) -> Iterator[tuple[str, int]]:
        """Stream the id and the place of every committed outcome, oldest first."""
        with self._reading(self._start) as lines:
            offset = self._start
            for line in _until(lines, self._stop):
                if line.startswith((b'{"done"', b'{"failed"')):
                    # Ids are written as ASCII, first in the line: no need to parse the rest.
                    begin = line.index(b": ") + 2
                    stop = line.index(b', "source": [', begin)
                    name = line[begin:stop]
                    plain = b"\\" not in name
                    yield (name[1:-1].decode() if plain else json.loads(name)), offset
                offset += len(line)

    def reader(self) -> JournalReader:
        """Read single entries by their place."""
        return JournalReader(self._reading(0))

    def close(self) -> None:
        """Let the lock go. Outcomes that wait for a commit are forgotten."""
        self._lock.release()

    def remove(self) -> None:
        """Remove the journal while it is still locked, and let the lock go."""
        if self.is_ours():
            disk.remove(self.path)
        self.close()


class JournalReader:
    """Reads entries at the places that `Journal.places` gave."""

    def __init__(self, lines: BufferedReader) -> None:
        self._lines = lines

    def at(self, place: int) -> Entry:
        """Read the entry whose line begins at ``place``."""
        (entry,) = self.entries([place])
        return entry

    def entries(self, places: Iterable[int]) -> Iterator[Entry]:
        """Read the entries whose lines begin at these places."""
        return map(_entry, self._records(places))

    def summaries(self, places: Iterable[int]) -> Iterator[Summary]:
        """Read the entries at these places, and of each only what it takes to count."""
        return map(_summary, self._records(places))

    def _records(self, places: Iterable[int]) -> Iterator[Mapping[str, Any]]:
        rest = iter(places)
        while batch := list(islice(rest, _SLICE)):
            yield from _parsed(map(self._line, batch))

    def _line(self, place: int) -> bytes:
        self._lines.seek(place)
        return self._lines.readline()

    def close(self) -> None:
        """Close the file."""
        self._lines.close()


def _header(line: bytes) -> Header | None:
    """Read the header line; a torn one is none."""
    record, _, crc = line.rpartition(b', "crc32": ')
    if crc != b"%d}\n" % zlib.crc32(record):
        return None
    return Header.from_record(json.loads(line)["header"])


def _until(lines: BufferedReader, stop: int) -> Iterator[bytes]:
    left = stop - lines.tell()
    while left > 0 and (line := lines.readline()):
        left -= len(line)
        yield line


def _parsed(lines: Iterable[bytes]) -> list[Mapping[str, Any]]:
    """Read lines, with one call of json for all of them."""
    records: list[Mapping[str, Any]] = json.loads(f"[{b','.join(lines).decode()}]")
    return records


def _line(entry: Entry) -> bytes:
    outcome = entry.outcome
    source: list[Any] = [outcome.source_size, outcome.source_mtime_ns]
    if outcome.excerpt is not None:
        recording, start, end, channel = outcome.excerpt
        source += [recording, start, None if end == math.inf else end, channel]
    record: dict[str, Any]
    if isinstance(outcome, Done):
        items = [_item_record(item, outcome.id) for item in outcome.items]
        record = {"done": outcome.id, "source": source, "row": entry.row, "items": items}
    else:
        record = {
            "failed": outcome.id,
            "source": source,
            "cause": outcome.cause,
            "remedy": outcome.remedy,
        }
    return json.dumps(record).encode() + b"\n"


def _item_record(item: Item, name: str) -> list[Any]:
    record = [
        item.id.removeprefix(name),
        item.n_rows,
        item.n_samples,
        item.sample_rate,
        item.n_channels,
        item.channel,
        list(item.notes),
        item.crc32,
    ]
    return record if item.certificate is None else [*record, list(item.certificate)]


def _summary(record: Mapping[str, Any]) -> Summary:
    is_excerpt = len(record["source"]) > 2
    if "failed" in record:
        return Summary(
            record["failed"], failed=True, row=-1, n_items=0, n_rows=0, is_excerpt=is_excerpt
        )
    items = record["items"]
    n_rows = sum([item[1] for item in items])
    return Summary(
        record["done"],
        failed=False,
        row=record["row"],
        n_items=len(items),
        n_rows=n_rows,
        is_excerpt=is_excerpt,
    )


def _entry(record: Mapping[str, Any]) -> Entry:
    size, mtime_ns, *part = record["source"]
    excerpt = _excerpt(*part) if part else None
    if "failed" in record:
        cause, remedy = record["cause"], record["remedy"]
        return Entry(Failed(record["failed"], size, mtime_ns, cause, remedy, excerpt), -1)
    name = record["done"]
    items = tuple([_item(name, item) for item in record["items"]])
    return Entry(Done(name, size, mtime_ns, items, excerpt), record["row"])


def _excerpt(recording: str, start: float, end: float | None, channel: int) -> Excerpt:
    return Excerpt(recording, start, math.inf if end is None else end, channel)


def _item(name: str, record: list[Any]) -> Item:
    suffix, n_rows, n_samples, rate, n_channels, channel, notes, crc32, *rest = record
    certificate = Certificate(*rest[0]) if rest else None
    numbers = n_rows, n_samples, rate, n_channels, channel
    return Item(name + suffix, *numbers, tuple(notes), crc32, certificate)
