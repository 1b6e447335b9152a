"""What an output remembers, and how two outputs are compared."""

from __future__ import annotations

import errno
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from melcli.errors import DeviceError, StoreError
from melcli.store import disk
from melcli.store.compare import differences, merged_machine
from melcli.store.index import NOWHERE, IdIndex
from melcli.store.records import Done, Header, Item, check_id, check_outcome, input_id
from melcli.store.scratch import Scratch
from melcli.store.signals import HeldSignals

HEADER = Header("", "d", {}, {}, "cmd", "now", "0", (4,), ("frame", "mel"), "float32")


def test_header_comes_back() -> None:
    """A header survives the way through plain records."""
    header = replace(HEADER, settings={"b": "1", "a": "2"}, transpose=True)
    assert Header.from_record(header.as_record()) == header
    assert list(header.as_record()["settings"]) == ["a", "b"]


@pytest.mark.parametrize(
    "change",
    [
        {"dtype": "float64"},
        {"dtype": ["float32"]},
        {"row_shape": []},
        {"row_shape": [-1]},
        {"row_shape": 4},
        {"row_shape": ["4"]},
        {"settings": {"a": 1}},
        {"settings": "text"},
        {"config": None},
        {"row_labels": None},
    ],
    ids=str,
)
def test_header_believes_nothing(change: dict[str, Any]) -> None:
    """A record that is not a header is a ValueError."""
    with pytest.raises(ValueError, match=r"."):
        Header.from_record(HEADER.as_record() | change)


@given(st.text(alphabet="a@#0/", min_size=1))
def test_parts_lead_back(name: str) -> None:
    """A part of an input leads back to it, whatever its name looks like."""
    settings = {"long": "chunks", "channels": "each"}
    assert input_id(f"{name}#0@12", settings) == name
    assert input_id(f"{name}@3", {"long": "chunks"}) == name
    assert input_id(f"{name}#1", {"channels": "each", "long": "cut"}) == name
    assert input_id(name, {"channels": "mean", "long": "cut"}) == name


@pytest.mark.parametrize("name", ["a", "a/b.wav", "..a", "a../b", "…", " ", "C:\\x"])
def test_good_ids(name: str) -> None:
    """Unusual names are still names."""
    check_id(name)


def test_outcome_must_hold_together() -> None:
    """Items without rows, no items at all, and notes that cannot be told apart are bugs."""
    item, rows = Item("a", 1, 1, 1, 1, -1, ()), np.zeros((1, 4), np.float32)
    with pytest.raises(ValueError, match="1 items, but 0 arrays"):
        check_outcome(Done("a", None, None, (item,)), [], HEADER)
    with pytest.raises(ValueError, match="0 items"):
        check_outcome(Done("a", None, None, ()), [], HEADER)
    with pytest.raises(ValueError, match="comma"):
        check_outcome(Done("a", None, None, (replace(item, notes=("a, b",)),)), [[rows]], HEADER)


def test_same_digest_is_the_same_config() -> None:
    """How a config is written down makes no difference; what it says does."""
    other = replace(HEADER, config="# a comment\n", command="x", created="y", machine={"a": "b"})
    assert differences(HEADER, other) == []
    other = replace(HEADER, config="not [ toml", config_digest="e")
    assert differences(HEADER, other) == ["config_digest: d in the output, e asked for"]


def test_machine_is_named_once() -> None:
    """A machine that comes back is not named twice."""
    both = merged_machine({"torch": "1"}, {"torch": "2", "gpu": "H100"})
    assert both == {"gpu": "not set; H100", "torch": "1; 2"}
    assert merged_machine(both, {"torch": "1", "gpu": "H100"}) == both


def test_index_survives_equal_hashes() -> None:
    """Ids with one hash are candidates for each other, and the caller can tell them apart."""

    class Same(str):
        __slots__ = ()

        def __hash__(self) -> int:
            return 7

    index = IdIndex([(Same("a"), 1), (Same("b"), 2), ("c", 3)])
    assert list(index.places(Same("a"))) == [2, 1]
    assert list(index.places("c")) == [3]
    assert list(index.places("d")) == []
    assert list(IdIndex([]).places("a")) == []


@given(st.lists(st.sampled_from("abcdef")), st.lists(st.sampled_from("abcdef")))
def test_latest_is_the_first_place(seen: list[str], names: list[str]) -> None:
    """Asked for many ids at once, the index says what it says of each alone."""
    index = IdIndex((name, place) for place, name in enumerate(seen))
    assert index.latest(names) == [next(index.places(name), NOWHERE) for name in names]


@pytest.mark.parametrize(
    ("number", "cause"),
    [
        (errno.ENOSPC, "the disk is full"),
        (errno.EFBIG, "the file is larger than this file system allows"),
        (errno.EROFS, "the file system is read-only"),
        (errno.EACCES, "permission denied"),
        (errno.EMFILE, "too many open files"),
    ],
)
def test_disk_errors(number: int, cause: str) -> None:
    """What the disk refuses is told in words, with what to do and what is kept."""
    with pytest.raises(DeviceError) as caught, disk.device_errors(Path("x.h5"), lambda: 1):
        raise OSError(number, os.strerror(number))
    assert caught.value.cause == cause
    assert str(caught.value.remedy).endswith(": 1 input is kept")


def test_our_errors_pass() -> None:
    """A StoreError is an OSError, but never taken for one of the disk."""
    with pytest.raises(StoreError), disk.device_errors(Path("x")):
        raise StoreError("x")


def test_scratch_keeps_errors_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """HDF5 reads back what it wrote even where the disk is full, and the error is not lost."""
    scratch = Scratch(tmp_path / "x", HeldSignals())
    scratch.write(memoryview(b"0123456789"))
    original = disk.write_at
    monkeypatch.setattr(disk, "write_at", _full)
    for at, text in ((4, b"abc"), (5, b"XY"), (12, b"end")):
        scratch.seek(at)
        scratch.write(memoryview(text))
    monkeypatch.setattr(disk, "write_at", original)
    found = bytearray(13)
    assert scratch.seek(0, os.SEEK_END) == 15
    scratch.seek(2)
    scratch.readinto(memoryview(found))
    assert found == b"23aXY789\0\0end"
    with pytest.raises(OSError, match="No space left"):
        scratch.check()
    scratch.close()


def _full(*_: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_short_writes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A write that the system does in parts is carried on to its end."""
    original = os.write
    monkeypatch.setattr(os, "write", lambda fd, data: original(fd, data[:3]))
    fd = disk.open_file(tmp_path / "x")
    disk.write_at(fd, b"0123456789", 2)
    assert b"".join(disk.read_at(fd, 99, 0)) == b"\0\x000123456789"
    with pytest.raises(OSError, match="shorter"):
        disk.copy(fd, 4, 100, fd, 0)
    os.close(fd)
