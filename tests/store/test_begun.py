"""The ids that are being worked on: there after a crash, small, and believed only where whole."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from melcli.store import begun
from melcli.store.begun import BegunInputs

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the ids are kept."""
    return tmp_path / "begun"


def left_in(path: Path) -> set[str]:
    """What the next run finds."""
    return set(BegunInputs(path).left)


def test_what_was_begun_is_left(path: Path) -> None:
    """Whether or not it was closed, and together with what a run before it left."""
    first = BegunInputs(path)
    first.add(["a", "größe/b"])
    first.add(["c"])
    assert left_in(path) == {"a", "größe/b", "c"}
    second = BegunInputs(path)
    second.add(["d"])
    second.close()
    assert left_in(path) == {"a", "größe/b", "c", "d"}
    second.remove()
    assert left_in(path) == set()
    assert not list(path.parent.iterdir())
    first.close()


def test_nothing_is_written_for_nothing(path: Path) -> None:
    """A run that begins nothing leaves what is there."""
    path.write_text('["a"]\n')
    inputs = BegunInputs(path)
    inputs.committed(["a"])
    inputs.close()
    assert path.read_text() == '["a"]\n'


def test_it_stays_small(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is committed leaves the file before it grows large."""
    monkeypatch.setattr(begun, "_MOST_BYTES", 1000)
    inputs = BegunInputs(path)
    inputs.add(["stays"])
    for n in range(1000):
        inputs.add([f"{n}-a", f"{n}-b"])
        assert path.stat().st_size < 1100
        assert {"stays", f"{n}-a", f"{n}-b"} <= left_in(path)
        inputs.committed([f"{n}-a", f"{n}-b"])
    inputs.close()


@given(st.binary(), st.lists(st.text(), min_size=1), st.binary())
def test_torn_lines_say_nothing(
    tmp_path_factory: pytest.TempPathFactory, before: bytes, ids: list[str], after: bytes
) -> None:
    """Whole lines are read, whatever else is in the file."""
    path = tmp_path_factory.mktemp("torn") / "begun"
    path.write_bytes(before + b"\n" + json.dumps(ids).encode() + b"\n" + after)
    assert set(ids) <= left_in(path)
