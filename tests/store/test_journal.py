"""The journal: what it says is committed, and nothing else."""

from __future__ import annotations

import json
import os
import re
import zlib
from typing import TYPE_CHECKING

import pytest

from melcli.errors import StoreError
from melcli.store.journal import Entry, Journal
from melcli.store.records import Done, Failed, Header, Item

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

HEADER = Header("", "d", {"a": "b"}, {"c": "d"}, "cmd", "now", "0", (4,), ("frame",), "float32")


def entries(n: int, start: int = 0) -> list[Entry]:
    """Make entries of every kind."""
    made = []
    for i in range(start, start + n):
        name = f'{i}", "source": [é☃\\\n'
        items = tuple(Item(f"{name}#{c}", 3, 480, 16_000, 2, c, ("cut",), i) for c in range(i % 3))
        done = Done(name, None if i % 5 else i, -i, items)
        failed = Failed(name, i, None, 'a "cause"', None)
        made.append(Entry(done, 6 * i) if items else Entry(failed, -1))
    return made


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Give a place for a journal."""
    return tmp_path / "x.journal"


@pytest.fixture
def journal(path: Path) -> Iterator[Journal]:
    """Give a journal that has begun."""
    journal = Journal(path)
    journal.begin(HEADER)
    yield journal
    journal.close()


def fill(journal: Journal, n_segments: int, n: int = 10) -> list[Entry]:
    """Commit some segments."""
    every = entries(n_segments * n)
    for i in range(n_segments):
        for entry in every[i * n : (i + 1) * n]:
            journal.add(entry)
        journal.commit(100 * (i + 1))
    return every


def test_round_trip(journal: Journal, path: Path) -> None:
    """A journal opened again says just what was committed."""
    every = fill(journal, 3)
    journal.add(entries(1, 99)[0])  # never committed
    journal.close()
    again = Journal(path)
    assert again.header == HEADER
    assert list(again.entries()) == every
    assert (again.n_outcomes, again.n_rows) == (30, 300)
    assert list(again.entries(again.segments[1])) == every[10:20]
    again.close()


def test_places(journal: Journal) -> None:
    """Every entry can be read alone, by the place that goes with its id."""
    every = fill(journal, 2)
    reader = journal.reader()
    places = list(journal.places())
    assert [name for name, _ in places] == [entry.outcome.id for entry in every]
    assert [reader.at(place) for _, place in reversed(places)] == every[::-1]
    reader.close()


def test_every_line_is_json(journal: Journal, path: Path) -> None:
    """The journal can be read by anyone, with who writes it in the first line."""
    fill(journal, 2)
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    since = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC"
    assert re.fullmatch(rf"process {os.getpid()} on \S+ since {since}", lines[0]["writer"])
    assert [next(iter(line)) for line in lines].count("segment") == 2


def test_cut_anywhere(journal: Journal, path: Path) -> None:
    """A journal cut at any byte says what the whole segments before it say."""
    every = fill(journal, 3, n=2)
    stops = [segment.stop for segment in journal.segments]
    journal.close()
    data = path.read_bytes()
    for size in range(len(data)):
        path.write_bytes(data[:size])
        cut = Journal(path)
        n_whole = sum(stop <= size for stop in stops)
        assert list(cut.entries()) == every[: 2 * n_whole]
        cut.close()


def test_changed_anywhere(journal: Journal, path: Path) -> None:
    """A changed byte ends the journal at the segment before it; what follows is not believed."""
    every = fill(journal, 3, n=2)
    stops = [segment.stop for segment in journal.segments]
    begin = journal.segments[0].start
    journal.close()
    data = path.read_bytes()
    for at in range(begin, len(data)):
        path.write_bytes(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
        changed = Journal(path)
        n_whole = sum(stop <= at for stop in stops)
        assert list(changed.entries()) == every[: 2 * n_whole]
        changed.close()


def test_remains_of_a_failed_commit(journal: Journal, path: Path) -> None:
    """A segment that follows the remains of a failed one is read without them."""
    fill(journal, 1)
    with path.open("ab") as file:
        file.write(b'{"failed": "x", "source": [0, 0], "cause": "torn", "remedy": null}\n' * 50)
    journal.close()
    again = Journal(path)
    again.add(entries(1, 10)[0])
    again.commit(200)
    again.close()
    last = Journal(path)
    assert list(last.entries()) == entries(11)
    last.close()


def test_machines(journal: Journal, path: Path) -> None:
    """The last committed machine record counts."""
    journal.add_machine({"c": "d; e"})
    journal.add(entries(1)[0])
    assert journal.machine == {"c": "d"}
    journal.commit(0)
    assert journal.machine == {"c": "d; e"}
    journal.close()
    again = Journal(path)
    assert again.machine == {"c": "d; e"}
    again.close()


def test_beginning_again_forgets(journal: Journal, path: Path) -> None:
    """Nothing of an older output shines through a new one in the same place."""
    fill(journal, 3)
    journal.begin(HEADER)
    assert list(journal.entries()) == []
    journal.close()
    again = Journal(path)
    assert again.segments == []
    again.close()


def test_header_of_another_version(journal: Journal, path: Path) -> None:
    """A journal that is whole but unknown is left alone."""
    text = json.dumps({"header": {"dtype": "float64"}})[:-1]
    line = f'{text}, "crc32": {zlib.crc32(text.encode())}}}\n'
    journal.close()
    data = path.read_bytes()[:256] + line.encode()
    path.write_bytes(data)
    with pytest.raises(StoreError, match="not written by this version"):
        Journal(path)
    assert path.read_bytes() == data
