"""The suite that every store inherits: what is written comes back, whatever happened meanwhile."""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import signal
import subprocess
import sys
import textwrap
import time
import tracemalloc
import weakref
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import wraps
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from melcli.errors import DeviceError, StoreError
from melcli.store import (
    Array,
    Done,
    Excerpt,
    Failed,
    Header,
    Item,
    Outcome,
    disk,
    finished,
    index,
    lock,
    open_reader,
    open_writer,
)
from melcli.store import rows as rows_module
from melcli.store.npy import NpyWriter
from melcli.store.writer import StoreWriter

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from melcli.store.protocols import Writer
    from melcli.store.records import Pieces

CONFIG = "[mel]\nn_mels = 4\n\n[frame]\nhop_length = 160\n"


@dataclass(frozen=True)
class Input:
    """A made-up recording: everything about it follows from these three."""

    id: str
    n_rows: int = 3  # -1 makes it fail
    version: int = 0


def outcome(made: Input, header: Header) -> tuple[Outcome, list[list[Array]]]:
    """Give what a pipeline would hand to a writer for this input."""
    size, mtime_ns = 1000 + made.version, 1_700_000_000_000_000_000 + made.version
    if made.n_rows < 0:
        return Failed(made.id, size, mtime_ns, "holds no samples", "delete it"), []
    seed = [*made.id.encode(), made.version]
    rows = np.random.default_rng(seed).normal(size=(made.n_rows, *header.row_shape))
    notes = ("resampled", "beyond full scale") if made.version else ()
    item = Item(made.id, made.n_rows, 160 * made.n_rows, 16_000, 2, -1, notes)
    return Done(made.id, size, mtime_ns, (item,)), [[rows.astype(header.dtype)]]


def extract(
    path: Path, header: Header, inputs: Sequence[Input], *, segment: int = 2, **options: Any
) -> int:
    """Do what a pipeline does, and tell how many inputs had to be computed."""
    writer = open_writer(path, header, **options)
    n_computed = 0
    try:
        expected = {made.id: outcome(made, header)[0] for made in inputs}
        there = {seen.id: seen for seen in writer.outcomes()}
        there = {name: seen for name, seen in there.items() if _is_current(seen, expected)}
        earlier = {seen.id: seen for seen in writer.previous()}
        is_current = all(_is_current(seen, expected) for seen in earlier.values())
        if (
            finished(path)
            and not writer.n_kept
            and is_current
            and earlier.keys() == expected.keys()
        ):
            return 0
        for seen in earlier.values():
            if seen.id not in there and _is_current(seen, expected):
                with suppress(StoreError):
                    writer.keep(seen)
                    there[seen.id] = seen
        writer.commit()
        for made in inputs:
            if made.id not in there:
                writer.begin_inputs([made.id])
                writer.write(*outcome(made, header))
                n_computed += 1
                if n_computed % segment == 0:
                    writer.commit()
        writer.finish(expected)
    finally:
        writer.close()
    return n_computed


def _is_current(seen: Outcome, expected: dict[str, Outcome]) -> bool:
    return seen.id in expected and seen.source_size == expected[seen.id].source_size


def content(folder: Path) -> dict[str, bytes]:
    """Read every file below a folder, hidden ones too."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


class Killed(BaseException):
    """Stands for SIGKILL: nothing of ours may catch it and tidy up."""


def _die(*_: object) -> None:
    raise Killed


@contextmanager
def killed_at(step: int | None) -> Iterator[list[str]]:
    """Let the disk stop for good at one of the steps; a write stops half-way.

    Gives a list that grows with every step done.
    """
    steps: list[str] = []
    originals = {
        name: getattr(disk, name)
        for name in (
            "open_file", "write_at", "truncate", "sync_data", "sync_file", "sync_folder",
            "rename", "remove", "remove_tree", "remove_empty_folder", "make_folder",
        )
    }  # fmt: skip

    def stopping(name: str) -> Any:
        original = originals[name]

        @wraps(original)
        def run(*args: Any) -> Any:
            is_dead = step is not None and len(steps) > step
            if steps[-3:] == ["write_at"] * 3 and name == "write_at" and not is_dead:
                return original(*args)  # the many small writes of HDF5 count as three
            if step is not None and len(steps) >= step:
                if name == "write_at" and len(steps) == step:
                    fd, data, offset = args
                    original(fd, memoryview(data)[: len(data) // 2], offset)
                steps.append(name)
                raise Killed
            steps.append(name)
            return original(*args)

        return run

    with pytest.MonkeyPatch.context() as patch:
        for name in originals:
            patch.setattr(disk, name, stopping(name))
        yield steps


def _without_checksums(seen: Outcome) -> Outcome:
    if isinstance(seen, Failed):
        return seen
    return replace(seen, items=tuple(replace(item, crc32=0) for item in seen.items))


def check_output(path: Path, header: Header, inputs: Sequence[Input]) -> None:
    """Read an output back and compare it with what it was made from."""
    reader = open_reader(path)
    try:
        assert reader.header == replace(header, overwrite=False)
        done = [made for made in inputs if made.n_rows >= 0]
        assert list(reader.ids()) == [made.id for made in done]
        assert len(reader) == len(done)
        every = [np.zeros((0, *header.row_shape), header.dtype)]
        for made in done:
            ((rows,),) = outcome(made, header)[1]
            every.append(rows)
            found = reader.read(made.id)
            assert found.dtype == rows.dtype
            np.testing.assert_array_equal(found, rows)
        total = np.concatenate(every)
        np.testing.assert_array_equal(reader.rows(0, len(total)), total)
        np.testing.assert_array_equal(reader.rows(2, 7), total[2:7])
        assert reader.items["stop"].tolist() == np.cumsum([made.n_rows for made in done]).tolist()
        failed = [outcome(made, header)[0] for made in inputs if made.n_rows < 0]
        assert list(reader.failures()) == failed
        for seen in reader.outcomes():
            made = next(made for made in inputs if made.id == seen.id)
            assert _without_checksums(seen) == outcome(made, header)[0]
    finally:
        reader.close()


class StoreContract:
    """What every store promises."""

    name: ClassVar[str] = "mels.h5"
    layout: ClassVar[str] = "packed"
    transpose: ClassVar[bool] = False

    @pytest.fixture
    def header(self) -> Header:
        """Give what is asked for."""
        return self.make_header()

    def make_header(self, **changes: Any) -> Header:
        """Give a header for this store."""
        header = Header(
            config=CONFIG,
            config_digest="a" * 64,
            settings={"store_layout": self.layout, "long": "error"},
            machine={"device": "cpu", "torch": "2.4.0"},
            command="melcli extract corpus -o mels",
            created="2025-11-21T10:00:00+00:00",
            melcli_version="0.1.0",
            row_shape=(4,),
            row_labels=("frame", "mel"),
            dtype="float32",
            transpose=self.transpose,
        )
        return replace(header, **changes)

    @pytest.fixture
    def path(self, tmp_path: Path) -> Path:
        """Give an output alone in its folder."""
        return tmp_path / "run" / self.name

    INPUTS: ClassVar = (
        Input("a/one.wav", 5),
        Input("a/two.wav", 0),
        Input("bad.wav", -1),
        Input("b/three.wav", 9, version=1),
        Input("four", 1),
        Input("b/ünï ☃.flac", 4),
        Input("worse.wav", -1),
        Input("c/five.wav", 2),
    )

    def straight(self, tmp_path: Path, header: Header, inputs: Sequence[Input]) -> dict[str, bytes]:
        """Give the files of a run that nothing disturbed."""
        folder = tmp_path / "straight"
        shutil.rmtree(folder, ignore_errors=True)
        extract(folder / self.name, header, inputs)
        return content(folder)

    # Writing and reading.

    @pytest.mark.parametrize("dtype", ["float32", "float16"])
    @pytest.mark.parametrize("row_shape", [(4,), (3, 4)])
    def test_round_trip(self, path: Path, dtype: str, row_shape: tuple[int, ...]) -> None:
        """What is written comes back: rows, outcomes, header, in plan order."""
        labels = ("patch", "frame", "mel")[-len(row_shape) - 1 :]
        header = self.make_header(dtype=dtype, row_shape=row_shape, row_labels=labels)
        assert finished(path) is None
        extract(path, header, self.INPUTS)
        check_output(path, header, self.INPUTS)
        assert finished(path) == header

    @pytest.mark.parametrize("inputs", [(), (Input("bad.wav", -1),), (Input("a.wav", 0),)])
    def test_no_rows(self, path: Path, header: Header, inputs: tuple[Input, ...]) -> None:
        """An output without a single row is a valid one."""
        extract(path, header, inputs)
        check_output(path, header, inputs)

    def test_only_the_output_remains(self, path: Path, header: Header) -> None:
        """A finished output leaves no journal, partial or scratch file behind."""
        extract(path, header, self.INPUTS)
        assert not list(path.parent.rglob("*partial*"))

    def test_plan_order(self, path: Path, header: Header, tmp_path: Path) -> None:
        """The order in which inputs were computed leaves no trace in the output."""
        writer = open_writer(path, header)
        for made in (self.INPUTS[n] for n in (3, 0, 7, 1, 6, 2, 5, 4)):
            writer.write(*outcome(made, header))
            writer.commit()
        writer.finish(made.id for made in self.INPUTS)
        writer.close()
        assert content(path.parent) == self.straight(tmp_path, header, self.INPUTS)

    def test_parts_of_an_input(self, path: Path, header: Header) -> None:
        """Channels and chunks are items of one input, found again as such."""
        header = replace(header, settings={**header.settings, "long": "chunks", "channels": "each"})
        parts = ("x.wav#0@0", "x.wav#0@1", "x.wav#1@0")
        items = tuple(Item(part, 2, 9, 8000, 2, int(part[6]), ()) for part in parts)
        rows = [np.full((2, 4), i, dtype=np.float32) for i in range(3)]
        writer = open_writer(path, header)
        writer.write(Done("x.wav", None, None, items), [[part] for part in rows])
        writer.finish(["x.wav"])
        writer.close()
        reader = open_reader(path)
        (seen,) = reader.outcomes()
        assert isinstance(seen, Done)
        assert (seen.id, seen.source_size, seen.source_mtime_ns) == ("x.wav", None, None)
        assert [item.id for item in seen.items] == list(parts)
        np.testing.assert_array_equal(reader.read("x.wav#0@1"), rows[1])
        with pytest.raises(KeyError):
            reader.read("x.wav")
        reader.close()

    def test_excerpts(self, path: Path, header: Header) -> None:
        """What part of which recording an input is comes back, from the journal and the output."""
        excerpts = {
            "a.wav": None,
            "b": Excerpt("r/größe.wav", 0.1, 0.7, 1),
            "c": Excerpt("r.wav", 1 / 3),
            "d": Excerpt("r.wav", 0.0, 2.5),
            "e.wav": None,
        }
        made = [Input("a.wav"), Input("b"), Input("c", 0), Input("d", -1), Input("e.wav", -1)]
        outcomes = [
            (replace(what, excerpt=excerpts[what.id]), rows)
            for what, rows in (outcome(one, header) for one in made)
        ]
        expected = [_without_checksums(what) for what, _ in outcomes]
        for n_written in (4, 5):
            writer = open_writer(path, header)
            assert [_without_checksums(seen) for seen in writer.outcomes()] == (
                expected[:4] if n_written == 5 else []
            )
            for what, rows in outcomes[4 if n_written == 5 else 0 : n_written]:
                writer.write(what, rows)
            writer.commit()
            writer.close()
        writer = open_writer(path, header)
        writer.finish(excerpts)
        writer.close()
        reader = open_reader(path)
        assert [_without_checksums(seen) for seen in reader.outcomes()] == expected
        assert list(reader.faults()) == []
        reader.close()
        # Taken over into a larger output, they are what they were.
        writer = open_writer(path, header)
        for seen in list(writer.previous()):
            writer.keep(seen)
        writer.write(*outcome(Input("f.wav"), header))
        writer.finish([*excerpts, "f.wav"])
        writer.close()
        reader = open_reader(path)
        assert [_without_checksums(seen) for seen in reader.outcomes()] == [
            *expected[:3],
            _without_checksums(outcome(Input("f.wav"), header)[0]),
            *expected[3:],
        ]
        reader.close()

    def test_equal_hashes(
        self, path: Path, header: Header, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Ids that cannot be told apart by their hashes are told apart."""
        expected = self.straight(tmp_path, header, self.INPUTS)
        monkeypatch.setattr(index, "hash", lambda _: 7, raising=False)
        extract(path, header, self.INPUTS)
        assert content(path.parent) == expected

    def test_incomplete_is_refused(self, path: Path, header: Header) -> None:
        """An input without an outcome can never go unnoticed."""
        writer = open_writer(path, header)
        with pytest.raises(ValueError, match=r"no outcome for 'a\.wav'"):
            writer.finish(["a.wav"])
        writer.close()
        assert finished(path) is None

    @pytest.mark.parametrize("name", ["../x", "/x", "a//b", "", "a/./b", "a\0b", "caf\udce9"])
    def test_ids_stay_inside(self, path: Path, header: Header, name: str) -> None:
        """No id can leave the output or spoil it."""
        writer = open_writer(path, header)
        item = Item(name, 1, 1, 1, 1, -1, ())
        with pytest.raises(StoreError, match="the id"):
            writer.write(Done(name, None, None, (item,)), [[np.zeros((1, 4), np.float32)]])
        writer.close()

    def test_wrong_rows_are_refused(self, path: Path, header: Header) -> None:
        """Rows of another shape or dtype are a bug, and never stored."""
        writer = open_writer(path, header)
        done, _ = outcome(Input("a.wav", 3), header)
        for rows in (np.zeros((2, 4), np.float32), np.zeros((3, 4)), np.zeros((3, 5), np.float32)):
            with pytest.raises(ValueError, match="announced"):
                writer.write(done, [[rows]])
        writer.close()

    # Items in pieces.

    @settings(
        max_examples=60,
        deadline=None,
        suppress_health_check=[HealthCheck.differing_executors],  # each store inherits this test
    )
    @given(data=st.data())
    def test_pieces_leave_no_trace(
        self, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
    ) -> None:
        """However the rows of an item are cut, gathered and divided, the files are the same."""
        tmp_path = tmp_path_factory.mktemp("pieces")
        row_shape = data.draw(st.sampled_from([(4,), (1,), (3, 2)]))
        header = self.make_header(
            row_shape=row_shape,
            dtype=data.draw(st.sampled_from(["float32", "float16"])),
            transpose=data.draw(st.booleans()),
        )
        inputs = [Input(f"{n}.wav", data.draw(st.integers(-1, 20))) for n in range(3)]
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(rows_module, "BLOCK_BYTES", data.draw(st.integers(1, 400)))
            patch.setattr(rows_module, "_GATHERED_BYTES", data.draw(st.integers(1, 400)))
            writer = open_writer(tmp_path / "run" / self.name, header)
            for made in inputs:
                found, rows = outcome(made, header)
                cuts = st.lists(st.integers(0, max(made.n_rows, 0)), max_size=5).map(sorted)
                writer.write(found, [iter(np.split(whole, data.draw(cuts))) for (whole,) in rows])
            writer.finish(made.id for made in inputs)
            writer.close()
        assert content(tmp_path / "run") == self.straight(tmp_path, header, inputs)
        shutil.rmtree(tmp_path)

    def test_kill_at_every_step_of_a_long_item(
        self, tmp_path: Path, header: Header, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Killed between any two blocks of an item, the same command makes what one run makes."""
        expected = self.straight(tmp_path, header, self.INPUTS)
        monkeypatch.setattr(rows_module, "BLOCK_BYTES", 64)
        monkeypatch.setattr(rows_module, "_GATHERED_BYTES", 48)
        self.kill_everywhere(tmp_path / "run", header, self.INPUTS, expected)

    FAULTS: ClassVar = {
        "raises": (KeyError("mine"), r"mine"),
        "raises an OSError": (OSError(errno.ENOSPC, "not the output's disk"), "not the output's"),
        "raises a DeviceError": (DeviceError("the GPU went away"), "GPU"),
        "is too short": (None, "lacks 3 of the 9 rows announced"),
        "is too long": (np.zeros((4, 4), np.float32), "announced"),
        "changes its shape": (np.zeros((3, 5), np.float32), "announced"),
        "changes its dtype": (np.zeros((3, 4), np.float16), "announced"),
        "is no array of rows": (np.zeros((), np.float32), "announced"),
    }

    @pytest.mark.parametrize("fault", FAULTS)
    @pytest.mark.parametrize("n_before", [0, 4])
    @pytest.mark.parametrize("block_bytes", [1, 1 << 20])
    def test_faulty_pieces(
        self,
        path: Path,
        header: Header,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        fault: str,
        n_before: int,
        block_bytes: int,
    ) -> None:
        """An item that goes wrong in the middle leaves nothing, and the writer goes on."""
        expected = self.straight(tmp_path, header, self.INPUTS)
        monkeypatch.setattr(rows_module, "BLOCK_BYTES", block_bytes)
        monkeypatch.setattr(rows_module, "_GATHERED_BYTES", block_bytes)
        found, words = self.FAULTS[fault]
        kind = type(found) if isinstance(found, Exception) else ValueError
        item = Item("long.wav", 9, 9, 16_000, 1, -1, ())

        def pieces() -> Iterator[Array]:
            yield np.ones((6, 4), np.float32)
            if isinstance(found, Exception):
                raise found
            if found is not None:
                yield found

        def goes_wrong(writer: Writer) -> None:
            with pytest.raises(kind, match=words) as caught:
                writer.write(Done("long.wav", None, None, (item,)), [pieces()])
            assert not isinstance(found, Exception) or caught.value is found

        writer = open_writer(path, header)
        for made in self.INPUTS[:n_before]:
            writer.write(*outcome(made, header))
        goes_wrong(writer)
        writer.commit()
        for made in self.INPUTS[n_before:]:
            writer.write(*outcome(made, header))
        goes_wrong(writer)
        writer.finish(made.id for made in self.INPUTS)
        writer.close()
        assert content(path.parent) == expected

    def test_nothing_of_an_input_is_kept(self, path: Path, header: Header, tmp_path: Path) -> None:
        """If the last item of an input goes wrong, its first items are forgotten with it."""
        header = replace(header, settings={**header.settings, "long": "chunks"})
        items = tuple(Item(f"x.wav@{n}", 2, 9, 8000, 1, -1, ()) for n in range(2))
        good = [np.ones((2, 4), np.float32)]
        writer = open_writer(path, header)
        for made in self.INPUTS[:2]:
            writer.write(*outcome(made, header))
            writer.commit()
            with pytest.raises(ValueError, match=r"'x\.wav@1' lacks 2"):
                writer.write(Done("x.wav", None, None, items), [good, []])
        with pytest.raises(ValueError, match="no outcome"):
            writer.finish(["a/one.wav", "a/two.wav", "x.wav"])
        assert writer.n_bytes_written == 5 * header.row_bytes
        writer.finish(["a/one.wav", "a/two.wav"])
        writer.close()
        assert content(path.parent) == self.straight(tmp_path, header, self.INPUTS[:2])

    def test_write_all(self, path: Path, header: Header, tmp_path: Path) -> None:
        """Written together, outcomes are what they are one by one, up to one that goes wrong."""
        expected = self.straight(tmp_path, header, self.INPUTS)
        taken = []

        def found() -> Iterator[tuple[Outcome, Sequence[Pieces]]]:
            for made in self.INPUTS[:5]:
                seen, rows = outcome(made, header)
                taken.append(made.id)
                yield seen, rows if made.id != "four" else [[]]

        writer = open_writer(path, header)
        with pytest.raises(ValueError, match="'four' lacks 1"):
            writer.write_all(found())
        assert taken == [made.id for made in self.INPUTS[:5]]
        writer.commit()
        assert writer.n_kept == 4
        writer.write_all(outcome(made, header) for made in self.INPUTS[4:])
        writer.finish(made.id for made in self.INPUTS)
        writer.close()
        assert content(path.parent) == expected

    def test_one_piece_at_a_time(self, path: Path, header: Header) -> None:
        """Nobody holds a piece any more when the next one is made."""
        item = Item("long.wav", 6, 9, 16_000, 1, -1, ())
        alive = []

        def pieces() -> Iterator[Array]:
            for _ in range(3):
                piece = np.zeros((2, 4), np.float32)
                told = weakref.ref(piece)
                yield piece
                del piece
                alive.append(told() is not None)

        writer = open_writer(path, header)
        writer.write(Done("long.wav", None, None, (item,)), [pieces()])
        writer.close()
        assert alive == [False] * 3

    @pytest.mark.parametrize("transpose", [False, True])
    def test_memory_of_a_long_item(
        self, path: Path, monkeypatch: pytest.MonkeyPatch, *, transpose: bool
    ) -> None:
        """Written, resumed, taken over or finished, an item of any length fits into memory."""
        header = self.make_header(row_shape=(256,), transpose=transpose)
        monkeypatch.setattr(rows_module, "BLOCK_BYTES", 1 << 20)
        monkeypatch.setattr(disk, "_BLOCK", 1 << 20)
        n_pieces, piece_rows = 32, 1024  # 1 MiB each
        item = Item("long.wav", n_pieces * piece_rows, 9, 16_000, 1, -1, ())
        done = Done("long.wav", 1, 1, (item,))

        def pieces() -> Iterator[Array]:
            for n in range(n_pieces):
                yield np.full((piece_rows, 256), n, np.float32)

        tracemalloc.start()
        try:
            writer = open_writer(path, header)
            writer.write(done, [pieces()])
            writer.commit()
            writer.close()
            writer = open_writer(path, header)  # reads the last segment
            writer.write(*outcome(Input("short.wav"), header))
            writer.finish(["short.wav", "long.wav"])  # not in this order: they must be copied
            writer.close()
            writer = open_writer(path, header)
            for seen in writer.previous():
                writer.keep(seen)
            writer.finish(["long.wav"])
            writer.close()
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert peak < 10 << 20
        reader = open_reader(path)
        assert reader.read("long.wav")[::piece_rows, 0].tolist() == list(range(n_pieces))
        reader.close()

    # Being interrupted.

    def interrupted(self, path: Path, header: Header, n: int, *, n_more: int = 0) -> Writer:
        """Commit ``n`` inputs and write some more, as a run does that is then interrupted."""
        writer = open_writer(path, header)
        for made in self.INPUTS[:n]:
            writer.write(*outcome(made, header))
        writer.commit()
        for made in self.INPUTS[n : n + n_more]:
            writer.write(*outcome(made, header))
        return writer

    @pytest.mark.parametrize("n", range(9))
    def test_resume(self, path: Path, header: Header, n: int, tmp_path: Path) -> None:
        """What was committed is not computed again, and the result is that of one run."""
        self.interrupted(path, header, n, n_more=2).close()
        assert extract(path, replace(header, created="later"), self.INPUTS) == 8 - n
        expected = self.straight(tmp_path, header, self.INPUTS)
        if n:
            assert content(path.parent) == expected

    def test_nothing_is_left_of_nothing(self, path: Path, header: Header) -> None:
        """A run that committed nothing leaves nothing behind."""
        path.parent.mkdir()
        self.interrupted(path, header, 0, n_more=3).close()
        assert not content(path.parent)

    def kill_everywhere(
        self, folder: Path, header: Header, inputs: Sequence[Input], expected: dict[str, bytes]
    ) -> None:
        """Stop at every step in turn, go on each time, and compare with the expected files."""
        before = folder.with_name("before")
        if folder.exists():
            folder.rename(before)
        step = 0
        while True:
            shutil.rmtree(folder, ignore_errors=True)
            if before.exists():
                shutil.copytree(before, folder)
            with killed_at(step) as steps, suppress(Killed):
                extract(folder / self.name, header, inputs)
            if len(steps) <= step:
                break
            # Die a second time, a bit later, before the run that gets through.
            with killed_at(step // 2 + 5), suppress(Killed):
                extract(folder / self.name, header, inputs)
            extract(folder / self.name, header, inputs)
            assert content(folder) == expected, f"killed at step {step}, {steps[-1]}"
            step += 1
        assert step > 20

    def test_kill_at_every_step(self, tmp_path: Path, header: Header) -> None:
        """Killed at any step, the same command makes what one run would have made."""
        expected = self.straight(tmp_path, header, self.INPUTS)
        self.kill_everywhere(tmp_path / "run", header, self.INPUTS, expected)

    def test_what_was_in_hand_is_known(self, path: Path, header: Header) -> None:
        """Killed in the middle of an input, the next run knows which, until it is committed."""
        writer: Any = open_writer(path, header)
        writer.begin_inputs(["a.wav", "b.wav"])
        writer.write(*outcome(Input("a.wav", 3), header))
        writer.begin_inputs(["c.wav"])
        for opened in (writer._journal, writer._begun_inputs):  # as if the process were gone
            opened.close()
        writer._close_rows()
        again = open_writer(path, header)
        assert again.suspects == {"a.wav", "b.wav", "c.wav"}
        again.close()
        again = open_writer(path, header)
        assert again.suspects == {"a.wav", "b.wav", "c.wav"}
        again.clear_suspicion()
        again.close()
        again = open_writer(path, header)
        assert again.suspects == frozenset()
        again.close()
        assert not list(path.parent.rglob("*begun*"))

    def test_killed_behind_the_end(
        self, path: Path, header: Header, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Killed when the output is in its place, the next writer tidies up, with nothing to do."""
        end_journal = StoreWriter._end_journal
        monkeypatch.setattr(StoreWriter, "_end_journal", _die)
        monkeypatch.setattr(NpyWriter, "_end_journal", _die)
        with suppress(Killed):
            extract(path, header, self.INPUTS)
        monkeypatch.undo()
        assert StoreWriter._end_journal is end_journal
        assert finished(path)
        assert list(path.parent.rglob("*journal*"))
        writer = open_writer(path, header)
        if list(writer.outcomes()):
            writer.finish(made.id for made in self.INPUTS)
        writer.close()
        check_output(path, header, self.INPUTS)
        assert not list(path.parent.rglob("*partial*"))

    def changed(self) -> list[Input]:
        """Give the inputs after some were changed, removed, repaired and added."""
        one, _, bad, three, *rest = self.INPUTS
        new = [Input("new.wav", 3), Input("b/new.wav", 2), Input("b/newer.wav", 1)]
        return [replace(one, version=1), three, replace(bad, n_rows=2, version=1), *rest[1:], *new]

    @pytest.mark.parametrize("overwrite", [False, True])
    def test_kill_at_every_step_of_an_extension(
        self, path: Path, tmp_path: Path, header: Header, *, overwrite: bool
    ) -> None:
        """Killed at any step, an output that is extended or replaced is whole in the end."""
        extract(path, header, self.INPUTS)
        header = replace(header, overwrite=overwrite)
        expected = self.straight(tmp_path, header, self.changed())
        self.kill_everywhere(path.parent, header, self.changed(), expected)

    @settings(
        max_examples=40,
        deadline=None,
        suppress_health_check=[HealthCheck.differing_executors],  # each store inherits this test
    )
    @given(data=st.data())
    def test_any_history(
        self, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
    ) -> None:
        """Any inputs, any commits and any kills make the files of a straight run."""
        tmp_path = tmp_path_factory.mktemp("history")
        header = self.make_header()
        rows = st.integers(-1, 6)
        inputs = [Input(f"{n % 3}/{n}.wav", data.draw(rows)) for n in range(data.draw(rows) + 2)]
        for _ in range(data.draw(st.integers(0, 4))):
            with killed_at(data.draw(st.integers(0, 60))), suppress(Killed):
                segment = data.draw(st.integers(1, 4))
                extract(tmp_path / "run" / self.name, header, inputs, segment=segment)
        extract(tmp_path / "run" / self.name, header, inputs)
        assert content(tmp_path / "run") == self.straight(tmp_path, header, inputs)
        shutil.rmtree(tmp_path)

    def test_sigkill(self, path: Path, header: Header, tmp_path: Path) -> None:
        """A process killed by the system at random loses nothing that was committed."""
        inputs = [Input(f"{n % 7}/{n}.wav", n % 50) for n in range(400)]
        script = f"""
            import sys
            from pathlib import Path
            from store_contract import Header, Input, extract
            inputs = [Input(f"{{n % 7}}/{{n}}.wav", n % 50) for n in range(400)]
            print("begun", flush=True)
            extract(Path({str(path)!r}), {header!r}, inputs, segment=5)
        """
        paths = [os.path.dirname(__file__), *sys.path]  # noqa: PTH120
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
        for attempt in range(4):
            process = subprocess.Popen(
                [sys.executable, "-c", textwrap.dedent(script)],
                env=environment,
                stdout=subprocess.PIPE,
            )
            assert process.stdout is not None
            process.stdout.readline()
            time.sleep(0.02 + 0.04 * attempt)
            process.send_signal(signal.SIGKILL)
            process.wait()
            process.stdout.close()
        extract(path, header, inputs)
        assert content(path.parent) == self.straight(tmp_path, header, inputs)

    def test_unsynced_end_of_the_journal(self, path: Path, header: Header, tmp_path: Path) -> None:
        """Whatever part of the last journal lines a crash leaves, the rest is good."""
        self.interrupted(path, header, 2).close()
        (journal,) = path.parent.rglob("*journal*")
        whole = journal.stat().st_size
        writer = open_writer(path, header)
        for made in self.INPUTS[2:4]:
            writer.write(*outcome(made, header))
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(disk, "rename", _die)  # files are moved when the journal is synced
            with suppress(Killed):
                writer.commit()
        writer.close()
        for size in range(whole, journal.stat().st_size, 7):
            copy = tmp_path / f"copy{size}"
            shutil.copytree(path.parent, copy)
            (torn,) = copy.rglob("*journal*")
            os.truncate(torn, size)
            assert extract(copy / self.name, header, self.INPUTS) == 6
            check_output(copy / self.name, header, self.INPUTS)

    # A full disk.

    @pytest.mark.parametrize(
        ("number", "words"),
        [(errno.ENOSPC, "the disk is full"), (errno.EDQUOT, "quota"), (errno.EIO, "error")],
    )
    def test_disk_full(
        self, path: Path, header: Header, tmp_path: Path, number: int, words: str
    ) -> None:
        """A full disk says what is kept, and the same command goes on when there is room."""
        writer = self.interrupted(path, header, 3)

        def fails(fd: int, data: Any, offset: int) -> None:
            os.pwrite(fd, bytes(data)[:3], offset)
            raise OSError(number, os.strerror(number))

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(disk, "write_at", fails)
            with pytest.raises(DeviceError, match=words) as caught:
                writer.write(*outcome(self.INPUTS[3], header))
        assert caught.value.path == path
        assert "same command again: 3 inputs are kept" in str(caught.value.remedy)
        with pytest.raises(DeviceError):  # it does not recover by itself
            writer.write(*outcome(self.INPUTS[3], header))
        writer.close()
        assert extract(path, header, self.INPUTS) == 5
        assert content(path.parent) == self.straight(tmp_path, header, self.INPUTS)

    def test_disk_full_while_finishing(self, path: Path, header: Header, tmp_path: Path) -> None:
        """A disk that fills up while the output is finished costs nothing either."""
        writer = self.interrupted(path, header, 8)

        def fails(_: Path) -> None:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(disk, "sync_folder", fails)
            with pytest.raises(DeviceError, match="full"):
                writer.finish(made.id for made in self.INPUTS)
        writer.close()
        assert extract(path, header, self.INPUTS) == 0
        assert content(path.parent) == self.straight(tmp_path, header, self.INPUTS)

    # Extending.

    def test_nothing_new(self, path: Path, header: Header) -> None:
        """A finished output with nothing new to do is not touched."""
        extract(path, header, self.INPUTS)
        before = content(path.parent)
        assert extract(path, replace(header, created="later"), self.INPUTS) == 0
        assert content(path.parent) == before

    def test_nothing_but_failures(self, path: Path, header: Header) -> None:
        """An output without any item is still one that can be extended."""
        failing = [Input("bad.wav", -1), Input("worse.wav", -1)]
        extract(path, header, failing)
        assert extract(path, header, failing) == 0
        assert extract(path, header, [*failing, Input("good.wav")]) == 1
        with pytest.raises(StoreError, match="other settings"):
            open_writer(path, replace(header, dtype="float16"))

    def test_extension(self, path: Path, header: Header) -> None:
        """New and changed inputs are computed, the others are taken over, removed ones go."""
        extract(path, header, self.INPUTS)
        header = replace(header, created="later")
        assert extract(path, header, self.changed()) == 5
        check_output(path, header, self.changed())

    def test_finished_stays_until_the_end(self, path: Path, header: Header) -> None:
        """While it is extended or replaced, the old output can be read as before."""
        extract(path, header, self.INPUTS)
        for overwrite in (False, True):
            writer = open_writer(path, replace(header, overwrite=overwrite))
            writer.write(*outcome(replace(self.INPUTS[0], version=5), header))
            writer.commit()
            check_output(path, header, self.INPUTS)
            writer.close()
            check_output(path, header, self.INPUTS)

    # Reading everything back.

    def faults(self, path: Path) -> dict[str, str]:
        """What is wrong with each item."""
        reader = open_reader(path)
        found = dict(reader.faults())
        reader.close()
        return found

    def test_no_faults(self, path: Path, header: Header, monkeypatch: pytest.MonkeyPatch) -> None:
        """An output as it was written has none, though ids share a hash and blocks are small."""
        extract(path, header, self.INPUTS)
        assert self.faults(path) == {}
        monkeypatch.setattr(index, "hash", lambda _: 7, raising=False)
        monkeypatch.setattr(rows_module, "BLOCK_BYTES", 20)
        assert self.faults(path) == {}

    def test_damaged_rows_are_named(self, path: Path, header: Header) -> None:
        """One byte that changed is the fault of one item."""
        extract(path, header, self.INPUTS)
        self.damage(path, outcome(self.INPUTS[3], header)[1][0][0])
        (found,) = self.faults(path).items()
        assert found[0] == "b/three.wav"
        assert "another checksum" in found[1]

    def test_wild_numbers_are_named(self, path: Path, header: Header) -> None:
        """What was written as it is, and should never have been."""
        writer = open_writer(path, header)
        for name, number in (("a", 0.0), ("b", np.nan), ("c", -np.inf)):
            item = Item(name, 1, 1, 1, 1, -1, ())
            writer.write(Done(name, None, None, (item,)), [[np.full((1, 4), number, np.float32)]])
        writer.finish(["a", "b", "c"])
        writer.close()
        assert self.faults(path) == dict.fromkeys("bc", "holds NaN or infinite numbers")

    def test_damaged_rows_are_not_kept(self, path: Path, header: Header) -> None:
        """A row that is not what its checksum says is not carried into a new output."""
        extract(path, header, self.INPUTS)
        self.damage(path, outcome(self.INPUTS[3], header)[1][0][0])
        writer = open_writer(path, header)
        kept = []
        for seen in writer.previous():
            if seen.id == "b/three.wav":
                with pytest.raises(StoreError, match="checksum"):
                    writer.keep(seen)
            else:
                writer.keep(seen)
                kept.append(seen.id)
        assert set(kept) == {made.id for made in self.INPUTS} - {"b/three.wav"}
        writer.write(*outcome(self.INPUTS[3], header))
        writer.finish(made.id for made in self.INPUTS)
        writer.close()
        check_output(path, header, self.INPUTS)

    def damage(self, path: Path, rows: Array) -> None:
        """Change one byte of these rows wherever they are stored below a path."""
        stored = np.moveaxis(rows, 0, -1).tobytes() if self.transpose else rows.tobytes()
        for file in [path] if path.is_file() else path.rglob("*"):
            if file.is_file() and (at := file.read_bytes().find(stored)) >= 0:
                data = bytearray(file.read_bytes())
                data[at + 5] ^= 1
                file.write_bytes(data)
                return
        raise AssertionError("no such rows")

    def test_damaged_last_segment(self, path: Path, header: Header, tmp_path: Path) -> None:
        """Rows that the disk lost after the journal knew them are computed again."""
        self.interrupted(path, header, 1).close()
        writer = open_writer(path, header)
        for made in self.INPUTS[1:5]:
            writer.write(*outcome(made, header))
        writer.commit()
        writer.close()
        rows = outcome(self.INPUTS[3], header)[1][0][0]
        self.damage(path.parent, rows)
        assert extract(path, header, self.INPUTS) == 7
        assert content(path.parent) == self.straight(tmp_path, header, self.INPUTS)

    # Settings.

    def test_other_settings(self, path: Path, header: Header) -> None:
        """Other settings are refused, finished or not, and every difference is told."""
        config = CONFIG.replace("= 4", "= 8").replace("hop_length = 160", "n_fft = 512")
        asked = replace(header, config=config, config_digest="b" * 64, dtype="float16")
        self.interrupted(path, header, 2).close()
        for what in ("the unfinished output", "the output"):
            with pytest.raises(StoreError, match=f"{what} has other settings") as caught:
                open_writer(path, asked)
            assert str(caught.value).splitlines()[1:] == [
                "  mel.n_mels: 4 in the output, 8 asked for",
                "  frame.hop_length: 160 in the output, not set asked for",
                "  frame.n_fft: not set in the output, 512 asked for",
                "  dtype: float32 in the output, float16 asked for",
            ]
            assert caught.value.remedy == "choose another -o, or pass --overwrite"
            extract(path, header, self.INPUTS)
        check_output(path, header, self.INPUTS)

    def test_overwrite_other_settings(self, path: Path, header: Header) -> None:
        """With overwrite, other settings replace the old output, and resume as well."""
        extract(path, header, self.INPUTS)
        asked = replace(header, row_shape=(7,), config_digest="c" * 64, overwrite=True)
        self.interrupted(path, asked, 3).close()
        check_output(path, header, self.INPUTS)
        with pytest.raises(StoreError, match="has other settings"):
            open_writer(path, replace(asked, overwrite=False))
        assert extract(path, asked, self.INPUTS) == 5
        check_output(path, asked, self.INPUTS)

    def test_nothing_to_lose(self, path: Path, header: Header) -> None:
        """An output without items takes other settings, also when that is interrupted."""
        bad = [Input("a.wav", -1), Input("b.wav", -1)]
        extract(path, header, bad)
        asked = replace(header, row_shape=(7,), config_digest="c" * 64)
        self.interrupted(path, asked, 3).close()
        check_output(path, header, bad)
        assert extract(path, asked, self.INPUTS) == 5
        check_output(path, asked, self.INPUTS)
        with pytest.raises(StoreError, match="has other settings"):
            open_writer(path, header)

    def test_overwrite_needs_to_be_said_again(self, path: Path, header: Header) -> None:
        """An unfinished replacement is not taken for an extension."""
        extract(path, header, self.INPUTS)
        self.interrupted(path, replace(header, overwrite=True), 3).close()
        with pytest.raises(StoreError, match="unfinished --overwrite"):
            open_writer(path, header)

    def test_overwrite_discards_other_partials(self, path: Path, header: Header) -> None:
        """An unfinished output of other settings gives way to overwrite, without a trace."""
        self.interrupted(path, header, 5).close()
        asked = replace(header, config_digest="c" * 64, overwrite=True)
        assert extract(path, asked, self.INPUTS[-2:]) == 2
        check_output(path, asked, self.INPUTS[-2:])
        assert not [name for name in content(path.parent) if "one" in name]

    def test_other_machine(self, path: Path, header: Header) -> None:
        """Rows of two machines are mixed only where that was accepted, and it is recorded."""
        other = replace(header, machine={"device": "cpu", "torch": "2.5.1"})
        self.interrupted(path, header, 3).close()
        for inputs in (self.INPUTS, (*self.INPUTS, Input("new.wav"))):
            with pytest.raises(StoreError, match=r"torch: 2\.4\.0 in the output") as caught:
                extract(path, other, inputs)
            assert "--accept-different-machine" in str(caught.value.remedy)
            extract(path, header, inputs)
        assert extract(path, other, inputs) == 0
        inputs = (*inputs, Input("newer.wav"))
        assert extract(path, other, inputs, accept_different_machine=True) == 1
        found = finished(path)
        assert found is not None
        assert found.machine == {"device": "cpu", "torch": "2.4.0; 2.5.1"}
        # What is only taken over is still of the machine that made it.
        extract(path, other, inputs[1:])
        assert finished(path) == replace(found, created=other.created)

    def test_machine_of_a_resumed_mixture(self, path: Path, header: Header) -> None:
        """A machine that was accepted is remembered if the run is then interrupted."""
        other = replace(header, machine={"device": "cuda", "torch": "2.4.0"})
        self.interrupted(path, header, 2).close()
        writer = open_writer(path, other, accept_different_machine=True)
        writer.write(*outcome(self.INPUTS[2], header))
        writer.write(*outcome(self.INPUTS[3], header))
        writer.commit()
        writer.close()
        extract(path, other, self.INPUTS, accept_different_machine=True)
        found = finished(path)
        assert found is not None
        assert found.machine["device"] == "cpu; cuda"

    # Strangers.

    def test_second_writer(self, path: Path, header: Header) -> None:
        """Two writers never share an output, and the second touches nothing."""
        writer = self.interrupted(path, header, 3)
        before = content(path.parent)
        with pytest.raises(StoreError, match=rf"another melcli .* \(process {os.getpid()} on "):
            open_writer(path, header)
        assert content(path.parent) == before
        writer.close()
        open_writer(path, header).close()

    @pytest.mark.parametrize("n_committed", [0, 2])
    def test_lost_lock(
        self, path: Path, header: Header, n_committed: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A writer that stood still, and lost its lock, spoils nothing of the other's."""

        def no_locks(*_: object) -> None:
            raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

        monkeypatch.setattr(fcntl, "flock", no_locks)
        first = self.interrupted(path, header, n_committed, n_more=1)
        (file,) = path.parent.rglob("*.lock")
        long_ago = file.stat().st_mtime - 61
        os.utime(file, (long_ago, long_ago))
        second = open_writer(path, header)
        for made in self.INPUTS[n_committed:5]:
            second.write(*outcome(made, header))
        second.commit()
        before = content(path.parent)
        clock = lock._elapsed
        monkeypatch.setattr(lock, "_elapsed", lambda: clock() + 61)
        with pytest.raises(StoreError, match="took this output over"):
            first.write(*outcome(Input("other.wav", 9), header))
        with pytest.raises(StoreError, match="took this output over"):
            first.commit()
        with pytest.raises(StoreError, match="took this output over"):
            first.finish([])
        first.clear_suspicion()
        first.close()
        assert content(path.parent) == before
        second.close()
        extract(path, header, self.INPUTS)
        check_output(path, header, self.INPUTS)

    def test_wrong_kind(self, path: Path, header: Header) -> None:
        """A folder where a file should be, and the reverse, are refused and stay."""
        if self.name == "out":
            path.parent.mkdir()
            path.write_bytes(b"mine")
        else:
            path.mkdir(parents=True)
        before = content(path.parent)
        for asked in (header, replace(header, overwrite=True)):
            with pytest.raises(StoreError, match=r"is a (file|folder)"):
                open_writer(path, asked)
        with pytest.raises(StoreError):
            open_reader(path)
        assert content(path.parent) == before
