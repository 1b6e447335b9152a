"""Every store keeps the promises of the contract, and each has some of its own."""

from __future__ import annotations

import json
import os
import resource
import sys
import tomllib
import tracemalloc
import zlib
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from melcli.errors import DeviceError, StoreError
from melcli.store import Done, Header, Item, disk, npy, open_reader, open_writer, rows
from melcli.store.hdf5 import Hdf5Writer
from melcli.store.npy import joined_crc32, npy_path

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.store_contract import Input, StoreContract, check_output, content, extract, outcome
else:
    from store_contract import Input, StoreContract, check_output, content, extract, outcome


def read_all(path: Path) -> None:
    """Read every item of an output."""
    reader = open_reader(path)
    try:
        for name in list(reader.ids()):
            reader.read(name)
    finally:
        reader.close()


class Hdf5Contract(StoreContract):
    """What both HDF5 layouts promise beside the contract."""

    @pytest.mark.parametrize("data", [b"", b"mine", b"\x89HDF\r\n\x1a\n"])
    def test_foreign_file(self, path: Path, header: Header, data: bytes) -> None:
        """A file that melcli did not make is never replaced."""
        path.parent.mkdir()
        path.write_bytes(data)
        for asked in (header, replace(header, overwrite=True)):
            with pytest.raises(StoreError, match="not an output of melcli"):
                open_writer(path, asked)
        assert content(path.parent) == {self.name: data}

    def test_foreign_hdf5(self, path: Path, header: Header) -> None:
        """An HDF5 file of someone else is foreign too."""
        path.parent.mkdir()
        h5py.File(path, "w").close()
        with pytest.raises(StoreError, match="not an output of melcli"):
            open_writer(path, replace(header, overwrite=True))

    @pytest.mark.parametrize("ending", [".partial", ".partial.scratch", ".partial.journal"])
    def test_foreign_working_file(self, path: Path, header: Header, ending: str) -> None:
        """Not even under the names that melcli works with is a foreign file replaced."""
        path.parent.mkdir()
        path.with_name(path.name + ending).write_bytes(b"mine")
        for asked in (header, replace(header, overwrite=True)):
            with pytest.raises(StoreError):
                open_writer(path, asked)
        assert content(path.parent) == {self.name + ending: b"mine"}

    def test_overwrite_killed_after_the_rename(self, path: Path, header: Header) -> None:
        """A replacement that was complete but for its tidying up is not made again."""
        extract(path, header, self.INPUTS)
        asked = replace(header, overwrite=True, created="later")
        writer = self.interrupted(path, asked, 8)
        journal = path.with_name(path.name + ".partial.journal").read_bytes()
        writer.finish(made.id for made in self.INPUTS)
        writer.close()
        path.with_name(path.name + ".partial.journal").write_bytes(journal)
        assert extract(path, asked, self.INPUTS) == 0
        assert list(content(path.parent)) == [self.name]

    def test_file_too_large(self, path: Path, header: Header, tmp_path: Path) -> None:
        """A limit that the system itself sets is told as such, by HDF5 too, and costs nothing."""
        writer = self.interrupted(path, header, 8)
        limits = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (4500, limits[1]))
        try:
            with pytest.raises(DeviceError, match="larger than this file system allows"):
                writer.finish(made.id for made in self.INPUTS)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
            writer.close()
        assert extract(path, header, self.INPUTS) == 0
        assert content(path.parent) == self.straight(tmp_path, header, self.INPUTS)

    def test_rows_come_first(self, path: Path, header: Header) -> None:
        """The axis order that a config asks for is one of files, not of HDF5."""
        extract(path, replace(header, transpose=True), self.INPUTS)
        check_output(path, header, self.INPUTS)
        assert extract(path, replace(header, transpose=True), self.INPUTS) == 0

    def test_a_link_is_written_through(self, path: Path, header: Header, tmp_path: Path) -> None:
        """An output that is a link to another disk is made there, and stays a link."""
        real = tmp_path / "disk" / self.name
        real.parent.mkdir()
        path.parent.mkdir()
        path.symlink_to(real)
        for inputs in (self.INPUTS, self.changed()):
            extract(path, header, inputs)
            assert path.is_symlink()
            assert list(real.parent.iterdir()) == [real]
            assert list(path.parent.iterdir()) == [path]

    @pytest.mark.parametrize("ending", [".partial", ".partial.journal", ".partial.begun.new"])
    def test_a_link_in_our_way(
        self, path: Path, header: Header, tmp_path: Path, ending: str
    ) -> None:
        """What a link leads to is not written over."""
        precious = tmp_path / "precious"
        precious.write_bytes(b"mine")
        path.parent.mkdir(parents=True)
        path.with_name(path.name + ending).symlink_to(precious)
        with pytest.raises((StoreError, DeviceError)):
            extract(path, header, self.INPUTS)
        assert precious.read_bytes() == b"mine"

    def test_dates_leave_no_trace(self, path: Path, header: Header, tmp_path: Path) -> None:
        """The same outcomes make the same bytes, today and tomorrow."""
        extract(path, header, self.INPUTS)
        before = content(path.parent)
        os.utime(path, (0, 0))
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("TZ", "Asia/Tokyo")
            assert before == self.straight(tmp_path, header, self.INPUTS)

    @pytest.mark.parametrize(
        ("name", "change"),
        [
            pytest.param("items/stop", lambda old: old + 1_000_000, id="beyond"),
            ("items/start", lambda old: old - 1),
            pytest.param("items/stop", lambda old: old[::-1], id="backwards"),
            ("items/crc32", lambda old: old[:-1]),
            ("items/n_samples", lambda old: old.astype("f8")),
            ("items/id", lambda old: np.zeros(len(old), "i4")),
            ("failures/cause", None),
            ("items/notes", None),
            ("items", None),
            ("mel", None),
            ("@config", None),
            ("@row_shape", [5]),
            ("@row_shape", [-4]),
            ("@row_shape", "text"),
            ("@dtype", "float64"),
            ("@dtype", 7),
            ("@format_version", 2),
        ],
    )
    def test_hostile_file(self, path: Path, header: Header, name: str, change: Any) -> None:
        """A file that is not as it should be is a StoreError, whatever is wrong with it."""
        extract(path, header, self.INPUTS)
        with h5py.File(path, "r+") as file:
            place, key = (file.attrs, name[1:]) if name[0] == "@" else (file, name)
            old = place[key]
            new = change(old[:]) if callable(change) else change
            del place[key]
            if new is not None:
                place[key] = new
        with pytest.raises(StoreError, match=r"damaged|format version"):
            read_all(path)

    def test_external_rows(self, path: Path, header: Header, tmp_path: Path) -> None:
        """Nothing outside the file is read, wherever its datasets claim to lie."""
        extract(path, header, self.INPUTS)
        secret = tmp_path / "secret"
        secret.write_bytes(bytes(1000))
        name = "mel" if self.layout == "packed" else "mel/a/one.wav"
        with h5py.File(path, "r+") as file:
            shape = file[name].shape
            del file[name]
            file.create_dataset(name, shape, "<f4", external=[(str(secret), 0, 1000)])
        with pytest.raises(StoreError, match="damaged"):
            read_all(path)

    def test_cut_off_anywhere(self, path: Path, header: Header) -> None:
        """A file cut off at any length never gives a wrong row, and never crashes."""
        extract(path, header, self.INPUTS)
        data = path.read_bytes()
        for size in range(0, len(data) - 1, 211):
            path.write_bytes(data[:size])
            with pytest.raises(StoreError):
                read_all(path)


class TestPacked(Hdf5Contract):
    """All rows in one dataset."""

    def test_three_lines_of_h5py(self, path: Path, header: Header) -> None:
        """The example of the documentation works, and the axes have names."""
        extract(path, header, self.INPUTS)
        with h5py.File(path) as f:
            i = list(f["items/id"].asstr()).index("b/three.wav")
            mel = f["mel"][f["items/start"][i] : f["items/stop"][i]]
            assert [axis.label for axis in f["mel"].dims] == ["frame", "mel"]
            assert f.attrs["config"] == header.config
            assert f.attrs["machine_torch"] == "2.4.0"
        np.testing.assert_array_equal(mel, outcome(self.INPUTS[3], header)[1][0][0])

    def test_rows_are_not_copied(
        self, path: Path, header: Header, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Rows in plan order stay where they were written; HDF5 comes to them."""
        inputs = [Input(f"{n}.wav", 1000) for n in range(20)]
        writer = open_writer(path, header)
        for made in inputs:
            writer.write(*outcome(made, header))
        writer.commit()
        partial = path.with_name(path.name + ".partial")
        inode = partial.stat().st_ino
        monkeypatch.setattr(Hdf5Writer, "_fill", None)
        writer.finish(made.id for made in inputs)
        writer.close()
        assert path.stat().st_ino == inode
        check_output(path, header, inputs)

    def test_moved_and_spliced_are_the_same(
        self, path: Path, header: Header, tmp_path: Path
    ) -> None:
        """Whether rows are copied into HDF5, or HDF5 put around them, the bytes are equal."""
        inputs = [Input(f"{n}.wav", 1000) for n in range(20)]
        writer = open_writer(path, header)
        for made in reversed(inputs):
            writer.write(*outcome(made, header))
        writer.finish(made.id for made in inputs)
        writer.close()
        assert content(path.parent) == self.straight(tmp_path, header, inputs)

    def test_ids_that_are_there_twice_are_named(self, path: Path, header: Header) -> None:
        """Only the last of equal ids could be read by its name."""
        extract(path, header, self.INPUTS)
        with h5py.File(path, "r+") as f:
            f["items/id"][0], f["failures/id"][0] = f["items/id"][1], f["items/id"][2]
            twice, both = f["items/id"].asstr()[1], f["items/id"].asstr()[2]
        assert self.faults(path) == {
            twice: "is there twice",
            both: "is among the items and among the failures",
        }

    def test_given_up_rows_are_cut_off(self, path: Path, header: Header, tmp_path: Path) -> None:
        """What an item left that went wrong is not in the output, where its rows are spliced."""
        inputs = [Input(f"{n}.wav", 1000) for n in range(20)]
        writer = open_writer(path, header)
        for made in inputs:
            writer.write(*outcome(made, header))
        long = Done("long.wav", None, None, (Item("long.wav", 1 << 20, 1, 1, 1, -1, ()),))
        with pytest.raises(ValueError, match="lacks"):
            writer.write(long, [[np.ones((1 << 18, 4), np.float32)]])
        writer.finish(made.id for made in inputs)
        writer.close()
        assert content(path.parent) == self.straight(tmp_path, header, inputs)

    def test_kill_at_every_step_of_a_splice(self, tmp_path: Path, header: Header) -> None:
        """Putting HDF5 around the rows can be stopped anywhere."""
        inputs = [Input(f"{n}.wav", 3000) for n in range(4)]
        expected = self.straight(tmp_path, header, inputs)
        self.kill_everywhere(tmp_path / "run", header, inputs, expected)

    def test_long_texts(self, path: Path, header: Header) -> None:
        """A command line of a million characters, or a config, is stored whole."""
        header = replace(header, command="x" * 1_000_000, config=CONFIG_LONG)
        extract(path, header, self.INPUTS)
        check_output(path, header, self.INPUTS)

    def test_many_items(self, path: Path, header: Header) -> None:
        """More items than one slice holds are all there."""
        inputs = [Input(f"{n}.wav", n % 3 - 1) for n in range(9000)]
        extract(path, header, inputs, segment=1000)
        reader = open_reader(path)
        assert list(reader.ids()) == [made.id for made in inputs if made.n_rows >= 0]
        assert len(list(reader.failures())) == 3000
        reader.close()


CONFIG_LONG = "[mel]\nn_mels = 4\n" + "# a comment\n" * 20_000


class TestTree(Hdf5Contract):
    """A dataset for each item."""

    layout = "tree"

    def test_browsing(self, path: Path, header: Header) -> None:
        """Each item is a dataset under its id."""
        extract(path, header, self.INPUTS)
        with h5py.File(path) as f:
            np.testing.assert_array_equal(
                f["mel/b/three.wav"][:], outcome(self.INPUTS[3], header)[1][0][0]
            )
            assert [axis.label for axis in f["mel/four"].dims] == ["frame", "mel"]
            assert f["items/start"][:].tolist() == [0] * 6

    def test_disk_full_in_a_long_item(
        self, path: Path, header: Header, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """While HDF5 is kept from hearing of a full disk, the memory does not fill up instead."""
        monkeypatch.setattr(rows, "BLOCK_BYTES", 1 << 20)
        monkeypatch.setattr(disk, "_BLOCK", 1 << 20)
        n_rows = 1 << 20  # 16 MiB
        item = Item("long.wav", n_rows, 1, 1, 1, -1, ())
        writer = open_writer(path, header)
        writer.write(Done("long.wav", None, None, (item,)), [[np.ones((n_rows, 4), np.float32)]])
        writer.commit()
        limits = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, limits[1]))
        tracemalloc.start()
        try:
            with pytest.raises(DeviceError, match="larger than this file system allows"):
                writer.finish(["long.wav"])
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
            writer.close()
        assert peak < 8 << 20


class TestNpy(StoreContract):
    """A file for each item."""

    name = "out"
    transpose = True

    def test_files_that_are_gone_or_cut_are_named(self, path: Path, header: Header) -> None:
        """Each is the fault of its item, and the others are read all the same."""
        extract(path, header, self.INPUTS)
        (path / "b/three.npy").unlink()
        (path / "four.npy").write_bytes((path / "four.npy").read_bytes()[:-1])
        found = self.faults(path)
        assert sorted(found) == ["b/three.wav", "four"]
        assert "No such file" in found["b/three.wav"]
        assert "another size" in found["four"]

    def test_plain_files(self, path: Path, header: Header) -> None:
        """Each item is a plain array in the config's layout, listed with what it came from."""
        extract(path, header, self.INPUTS)
        rows = outcome(self.INPUTS[3], header)[1][0][0]
        np.testing.assert_array_equal(np.load(path / "b/three.npy", allow_pickle=False), rows.T)
        lines = [json.loads(line) for line in (path / "melcli.jsonl").read_text().splitlines()]
        assert [line["status"] for line in lines].count("failed") == 2
        assert lines[3]["path"] == "b/three.npy"
        assert lines[3]["shape"] == [4, 9]
        text = (path / "melcli.toml").read_text()
        assert text.startswith(header.config)
        assert tomllib.loads(text)["melcli"]["machine"]["torch"] == "2.4.0"

    def test_rows_first(self, path: Path) -> None:
        """Without transposition, files have the rows first."""
        header = self.make_header(transpose=False)
        extract(path, header, self.INPUTS)
        check_output(path, header, self.INPUTS)
        assert np.load(path / "b/three.npy").shape == (9, 4)

    def test_other_files_are_left_alone(self, path: Path, header: Header) -> None:
        """Files from elsewhere in the folder outlive every kind of run."""
        strangers = {"notes.txt": b"mine", "a/other.npy": b"mine too"}
        for name, data in strangers.items():
            (path / name).parent.mkdir(parents=True, exist_ok=True)
            (path / name).write_bytes(data)
        extract(path, header, self.INPUTS)
        extract(path, replace(header, overwrite=True), self.INPUTS[5:])
        for name, data in strangers.items():
            assert (path / name).read_bytes() == data
        assert not (path / "a/one.npy").exists()

    @pytest.mark.parametrize("name", ["a/one.npy", "a"])
    def test_foreign_file_in_the_way(self, path: Path, header: Header, name: str) -> None:
        """A file that melcli did not make is never replaced."""
        (path / name).parent.mkdir(parents=True)
        (path / name).write_bytes(b"mine")
        for asked in (header, replace(header, overwrite=True)):
            with pytest.raises(StoreError, match="did not make it"):
                extract(path, asked, self.INPUTS)
        assert (path / name).read_bytes() == b"mine"

    def test_a_link_that_leads_out(self, path: Path, header: Header, tmp_path: Path) -> None:
        """Nothing is written, and nothing removed, where a link leads."""
        outside = tmp_path / "outside"
        outside.mkdir()
        path.mkdir(parents=True)
        (path / "a").symlink_to(outside)
        with pytest.raises(StoreError, match="leads out of the output folder"):
            extract(path, header, self.INPUTS)
        assert not list(outside.iterdir())
        (path / "a").unlink()
        extract(path, header, self.INPUTS)
        for file in list((path / "a").iterdir()):
            file.rename(outside / file.name)
        (path / "a").rmdir()
        (path / "a").symlink_to(outside)
        extract(path, replace(header, overwrite=True), self.INPUTS[2:])
        assert sorted(file.name for file in outside.iterdir()) == ["one.npy", "two.npy"]

    def test_a_link_that_stays(self, path: Path, header: Header) -> None:
        """A link within the output is the user's own affair."""
        (path / "real").mkdir(parents=True)
        (path / "a").symlink_to("real")
        extract(path, header, self.INPUTS)
        assert sorted(file.name for file in (path / "real").iterdir()) == ["one.npy", "two.npy"]

    @pytest.mark.parametrize("name", ["", "/new", "/rows"])
    def test_a_link_for_our_own_folder(
        self, path: Path, header: Header, tmp_path: Path, name: str
    ) -> None:
        """What we empty is a folder of ours, and no place that somebody else chose."""
        outside = tmp_path / "outside"
        (outside / "new").mkdir(parents=True)
        (outside / "new/precious").touch()
        link = path / f".melcli-partial{name}"
        link.parent.mkdir(parents=True)
        link.symlink_to(outside)
        with pytest.raises(StoreError, match="is a link where a folder"):
            extract(path, header, self.INPUTS)
        assert (outside / "new/precious").exists()

    @pytest.mark.parametrize(
        ("item_id", "is_good"),
        [
            ("a/b.wav", True),
            ("console/comx/lpt", True),
            ("com10.wav", True),
            ("nul.wav", False),
            ("a/NUL/b.wav", False),
            ("Com1.x.wav", False),
            ("lpt\xb2", False),
            ("aux ", False),
            ("c:x", False),
            ("a\\..\\b", False),
            ("a/b ./c", False),
            ("a/b./c", False),
            ("what?", False),
            ("tab\t", False),
        ],
    )
    def test_windows(self, item_id: str, monkeypatch: pytest.MonkeyPatch, *, is_good: bool) -> None:
        """Names that Windows takes for something else are refused there, and only there."""
        path = npy_path(item_id)
        assert npy.is_windows_path(path) == is_good
        monkeypatch.setattr(sys, "platform", "win32")
        if is_good:
            assert npy_path(item_id) == path
        else:
            with pytest.raises(StoreError, match="on Windows"):
                npy_path(item_id)

    @pytest.mark.parametrize("name", ["melcli.toml", "melcli.jsonl"])
    def test_foreign_settings(self, path: Path, header: Header, name: str) -> None:
        """Not even the names of our own lists are taken without looking."""
        path.mkdir(parents=True)
        (path / name).write_bytes(b"mine")
        with pytest.raises(StoreError):
            open_writer(path, replace(header, overwrite=True))
        assert (path / name).read_bytes() == b"mine"

    def test_renamed_source(self, path: Path, header: Header) -> None:
        """A source that came back as another format takes the place of its file."""
        extract(path, header, [Input("a.wav"), Input("b.wav")])
        now = [Input("a.flac", 5), Input("b.wav")]
        assert extract(path, header, now) == 1
        check_output(path, header, now)

    def test_deleted_file(self, path: Path, header: Header) -> None:
        """A committed file that someone deleted is computed again."""
        self.interrupted(path, header, 4).close()
        writer = open_writer(path, header)
        writer.write(*outcome(self.INPUTS[4], header))
        writer.commit()
        writer.close()
        (path / "b/three.npy").unlink()
        assert extract(path, header, self.INPUTS) == 4
        check_output(path, header, self.INPUTS)

    @pytest.mark.parametrize(
        ("item_id", "path"),
        [
            ("a/b.wav", "a/b.npy"),
            ("a/b.wav#0", "a/b#0.npy"),
            ("a/b.wav@12", "a/b@12.npy"),
            ("a/b.wav#1@0", "a/b#1@0.npy"),
            ("a.dir/take", "a.dir/take.npy"),
            (".hidden", ".hidden.npy"),
            ("v1.5.ogg", "v1.5.npy"),
            ("#0", "#0.npy"),
            ("é\nx.wav", "é\nx.npy"),
        ],
    )
    def test_path(self, item_id: str, path: str) -> None:
        """The suffix of the audio goes, that of a channel or chunk stays."""
        assert npy_path(item_id) == path

    @pytest.mark.parametrize("item_id", ["x" * 253, ".melcli-partial/x.wav", "../x", "a/../b"])
    def test_impossible_path(self, item_id: str) -> None:
        """An id that cannot be a file of the folder is refused before any work."""
        with pytest.raises(StoreError, match="the id"):
            npy_path(item_id)

    @pytest.mark.parametrize(
        ("name", "old", "new"),
        [
            ("b/three.npy", b"(4, 9)", b"(9, 4)"),
            ("b/three.npy", b"<f4", b"|O8"),
            ("b/three.npy", b"NUMPY", b"numpy"),
            ("melcli.jsonl", b'"a/one.wav"', b'"../a/one.wav"'),
            ("melcli.jsonl", b'"n_rows": 5', b'"n_rows": -5'),
            ("melcli.jsonl", b'"n_rows": 5', b'"n_rows": 1e99'),
            ("melcli.jsonl", b'"n_rows": 5', b'"n_rows": 999999999999999999999'),
            ("melcli.jsonl", b'"n_rows": 5', b'"n_rows": 500000000000'),
            ("melcli.jsonl", b'"crc32"', b'"crc"'),
            ("melcli.jsonl", b'"id"', b'"ID"'),
            ("melcli.jsonl", b"}\n", b"\n"),
            ("melcli.toml", b"row_shape = [4]", b"row_shape = [0]"),
            ("melcli.toml", b"row_shape = [4]", b"row_shape = [4"),
            ("melcli.toml", b"format_version = 1", b"format_version = 2"),
            ("melcli.toml", b"[melcli]", b"[other]"),
        ],
    )
    def test_hostile_folder(
        self, path: Path, header: Header, name: str, old: bytes, new: bytes
    ) -> None:
        """A folder that is not as it should be is a StoreError, whatever is wrong with it."""
        extract(path, header, self.INPUTS)
        data = (path / name).read_bytes()
        assert old in data
        (path / name).write_bytes(data.replace(old, new))
        with pytest.raises(StoreError):
            read_all(path)

    def test_files_are_synced_before_they_are_journalled(
        self, path: Path, header: Header, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The journal never knows a file that the disk may not have."""
        steps: list[str] = []

        def noted(name: str, original: Callable[..., None]) -> Callable[..., None]:
            def run(*args: Any) -> None:
                steps.append(name)
                original(*args)

            return run

        for name in ("sync_file", "sync_data", "rename"):
            monkeypatch.setattr(disk, name, noted(name, getattr(disk, name)))
        writer = self.interrupted(path, header, 4)
        assert steps == ["sync_data", *["sync_file"] * 3, "sync_data", *["rename"] * 3]
        writer.close()


@given(st.integers(0, 40).flatmap(lambda n: st.lists(st.binary(min_size=n, max_size=n))))
def test_joined_checksums(stretches: list[bytes]) -> None:
    """The checksum of stretches laid end to end follows from theirs and their length."""
    n_bytes = len(stretches[0]) if stretches else 7
    joined = joined_crc32([zlib.crc32(stretch) for stretch in stretches], n_bytes)
    assert joined == zlib.crc32(b"".join(stretches))


def test_item_ids_lead_back_to_inputs(tmp_path: Path) -> None:
    """With chunks, a file whose own name ends like one cannot be mistaken for a part."""
    header = replace(StoreContract().make_header(), settings={"long": "chunks"})
    writer = open_writer(tmp_path / "x.h5", header)
    item, rows = Item("x@3", 1, 1, 1, 1, -1, ()), [[np.zeros((1, 4), np.float32)]]
    with pytest.raises(StoreError, match="does not lead back to the input 'x@3'"):
        writer.write(Done("x@3", None, None, (item,)), rows)
    writer.write(Done("x@3", None, None, (replace(item, id="x@3@0"),)), rows)
    writer.close()
