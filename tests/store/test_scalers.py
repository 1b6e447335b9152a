"""Scalers come back as they were written, and nothing else is believed."""

from __future__ import annotations

import errno
import io
import os
import pickle
import sys
import tracemalloc
import zipfile
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import fields, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from melcli.errors import DeviceError, ScalerError, UsageError
from melcli.statistics.counts import Counts, counts_of
from melcli.statistics.fitted import WEIGHTS, Statistics
from melcli.statistics.moments import Moments, moments_of
from melcli.store import arrays, disk, scalers

if sys.platform != "win32":
    import fcntl

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

WHOLE = ["s.npz", "s.h5"]
ALL = [*WHOLE, "s.npy"]
STEPS = ["make_folder", "open_file", "write_at", "sync_file", "rename", "sync_folder"]


def fitted(n_bins: int = 4, n_rows: int = 50, **changed: Any) -> Statistics:
    """Statistics of noise."""
    rows = np.random.default_rng(n_rows).normal(size=(n_rows, n_bins)).astype(np.float32)
    statistics = Statistics(
        moments=moments_of(rows),
        at_floor=np.arange(n_bins),
        counts=counts_of(rows),
        n_items=3,
        n_failed=1,
        config="[mel]\nn_mels = 4\n",
        config_digest="d" * 64,
        made={"command": "melcli fit-scaler é", "torch": "2.4"},
    )
    return replace(statistics, **changed)


def same(one: object, other: object) -> bool:
    """Whether two are equal, bit by bit."""
    if isinstance(one, np.ndarray) and isinstance(other, np.ndarray):
        return one.dtype == other.dtype and one.tobytes() == other.tobytes()
    if isinstance(one, Statistics | Moments | Counts):
        return type(one) is type(other) and all(
            same(getattr(one, field.name), getattr(other, field.name)) for field in fields(one)
        )
    return type(one) is type(other) and one == other


def test_same_sees_everything() -> None:
    """What the tests compare by notices a bit, a type and a key."""
    one = fitted()
    assert same(one, fitted())
    assert not same(one, replace(one, n_items=4))
    assert not same(one, replace(one, made={}))
    assert not same(one, replace(one, counts=None))
    assert not same(one, replace(one, at_floor=one.at_floor.astype(np.int32)))
    low = one.moments.mean_low + np.array([0, 0, 0, 5e-324])
    assert not same(one, replace(one, moments=replace(one.moments, mean_low=low)))


@st.composite
def statistics(draw: st.DrawFn) -> Statistics:
    """Statistics with every number drawn by itself, and counts of as many rows."""
    n_bins, n_rows = draw(st.integers(1, 5)), draw(st.integers(1, 4))
    number = st.floats(-1e150, 1e150)

    def drawn(numbers: st.SearchStrategy[float]) -> np.ndarray[Any, np.dtype[np.float64]]:
        return np.array(draw(st.lists(numbers, min_size=n_bins, max_size=n_bins)))

    ends = np.sort([drawn(number), drawn(number)], axis=0)
    moments = Moments(
        n_rows,
        draw(st.floats(1e-3, 1e15)),
        drawn(number),
        drawn(st.floats(0, 1e200)),
        ends[0],
        ends[1],
        drawn(st.floats(-1e-9, 1e-9)),
        drawn(st.floats(-1e-9, 1e-9)),
    )
    value = st.floats(-(2.0**100), 2.0**100, width=32)
    rows = np.array([drawn(value) for _ in range(n_rows)], np.float32)
    text = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=9)
    return Statistics(
        moments=moments,
        at_floor=np.array(draw(st.lists(st.integers(0, n_rows), min_size=n_bins, max_size=n_bins))),
        counts=counts_of(rows) if draw(st.booleans()) else None,
        weight=draw(st.sampled_from(WEIGHTS)),
        n_items=draw(st.integers(0, 2**40)),
        n_failed=draw(st.integers(0, 2**40)),
        config=draw(text),
        config_digest=draw(text),
        made=draw(st.dictionaries(st.sampled_from(["command", "shard", "a.B-_9"]), text)),
    )


@given(drawn=statistics())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@pytest.mark.parametrize("name", WHOLE)
def test_comes_back(tmp_path: Path, name: str, drawn: Statistics) -> None:
    """What is written whole comes back, every bit of it."""
    scalers.write(drawn, tmp_path / name)
    assert same(scalers.read(tmp_path / name), drawn)


@given(drawn=statistics())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40)
def test_export_comes_back(tmp_path: Path, drawn: Statistics) -> None:
    """A .npy keeps mean and deviation, every bit, and no more; so does an export in any file."""
    scalers.write(drawn, tmp_path / "s.npy")
    export = scalers.read(tmp_path / "s.npy")
    assert export.is_export
    assert same(export.moments.mean, drawn.moments.mean)
    assert np.array_equal(export.moments.std, drawn.moments.std) or drawn.moments.m2.max() < 1e-290
    for name in WHOLE:
        scalers.write(export, tmp_path / name)
        assert same(scalers.read(tmp_path / name), export)


@pytest.mark.parametrize("name", ALL)
def test_same_bytes(tmp_path: Path, name: str) -> None:
    """The same statistics make the same file, byte for byte."""
    for folder in ("a", "b"):
        scalers.write(fitted(), tmp_path / folder / name)
    assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_three_lines_of_numpy(tmp_path: Path) -> None:
    """A user needs no melcli: mean and std are arrays, texts are texts, nothing is pickled."""
    scalers.write(fitted(), tmp_path / "s.npz")
    x = np.random.default_rng(50).normal(size=(50, 4)).astype(np.float32)
    s = np.load(tmp_path / "s.npz", allow_pickle=False)
    y = (x - s["mean"]) / s["std"]
    assert np.allclose(y.mean(axis=0), 0, atol=1e-12)  # a handful of roundings of float64
    assert np.allclose(y.std(axis=0), 1, atol=1e-12)
    assert {name: s[name].shape for name in s.files} == {
        **dict.fromkeys(
            ["mean", "std", "min", "max", "m2", "mean_low", "m2_low", "at_floor"], (4,)
        ),
        **dict.fromkeys(["format", "format_version", "crc32", "config", "config_digest"], ()),
        **dict.fromkeys(["count", "weight", "total_weight", "n_items", "n_failed"], ()),
        **dict.fromkeys(["made_command", "made_torch"], ()),
        **{name: s[name].shape for name in s.files if name.startswith("histogram_")},
    }
    assert str(s["made_command"]) == "melcli fit-scaler é"
    assert int(s["count"]) == 50
    assert s["histogram_count"].sum() == 200
    assert s["histogram_value"].dtype == np.float32


def test_plain_h5py(tmp_path: Path) -> None:
    """The same names in HDF5: vectors are datasets, texts and single numbers are attributes."""
    scalers.write(fitted(), tmp_path / "s.h5")
    scalers.write(fitted(), tmp_path / "s.npz")
    with h5py.File(tmp_path / "s.h5") as file:
        names = {*file, *file.attrs}
        assert names == set(np.load(tmp_path / "s.npz").files)
        assert file.attrs["format"].decode() == "melcli scaler"
        assert file.attrs["format_version"] == 1
        assert file["mean"][:].tolist() == fitted().moments.mean.tolist()
        assert all(isinstance(file[name], h5py.Dataset) for name in file)


def test_npy_is_an_array(tmp_path: Path) -> None:
    """A .npy is ``(2, n_bins)`` of float64, and is read as float32, by columns and big-endian."""
    scalers.write(fitted(), tmp_path / "s.npy")
    array = np.load(tmp_path / "s.npy")
    assert (array.shape, array.dtype) == ((2, 4), np.float64)
    for other in (array.astype(np.float32), np.asfortranarray(array), array.astype(">f8")):
        np.save(tmp_path / "t.npy", other)
        found = scalers.read(tmp_path / "t.npy").moments
        assert np.array_equal(found.mean, other[0])
        # The root of a square in float64 is the number itself.
        assert np.array_equal(found.std, other[1].astype(np.float64))


@pytest.mark.parametrize("name", WHOLE)
def test_long_texts(tmp_path: Path, name: str) -> None:
    """A command that names a hundred thousand files is kept, and so is what no text can hold."""
    long = fitted(made={"command": "x" * 1_000_000}, config="é" * 50_000)
    scalers.write(long, tmp_path / name)
    assert same(scalers.read(tmp_path / name), long)
    scalers.write(fitted(made={"command": "caf\udce9 \0"}), tmp_path / name)
    assert scalers.read(tmp_path / name).made == {"command": "caf\\udce9 \\0"}


@pytest.mark.parametrize("name", ["s.npz", "s.h5"])
def test_nothing_at_all(tmp_path: Path, name: str) -> None:
    """A shard that had nothing to do is a scaler of no frames; an export of that is refused."""
    nothing = fitted(moments=Moments.none(4), at_floor=np.zeros(4, np.int64), counts=None)
    scalers.write(nothing, tmp_path / name)
    read = scalers.read(tmp_path / name)
    assert same(read, nothing)
    assert not read.is_export
    with pytest.raises(ScalerError, match="of no frame at all"):
        scalers.write(nothing, tmp_path / "s.npy")


@pytest.mark.parametrize(
    ("changed", "cause"),
    [
        ({"made": {"a key": ""}}, "no name of a text"),
        ({"moments": Moments.none(4)}, "at_floor holds"),
        ({"moments": replace(Moments.none(4), weight=-1.0)}, "it is of 0 frames"),
        ({"moments": replace(fitted().moments, mean=np.full(4, np.nan))}, "mean holds NaN"),
        ({"at_floor": np.array([0, 0, 0, 51])}, "at_floor"),
        ({"at_floor": np.zeros(3, np.int64)}, "at_floor is"),
        ({"config": "x" * (1 << 23)}, "config is no text"),
        ({"counts": counts_of(np.ones((3, 4)))}, "not of 50 frames"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
@pytest.mark.parametrize("name", ALL)
def test_what_cannot_be_read_is_not_written(
    tmp_path: Path, name: str, changed: dict[str, Any], cause: str
) -> None:
    """No file is left that could not be read back."""
    with pytest.raises(ScalerError, match=f"cannot be written: .*{cause}"):
        scalers.write(fitted(**changed), tmp_path / name)
    assert list(tmp_path.iterdir()) == []


def test_other_names(tmp_path: Path) -> None:
    """The ending of a name says what is in it, whatever its case; others are refused."""
    scalers.write(fitted(), tmp_path / "S.NPZ")
    assert same(scalers.read(tmp_path / "S.NPZ"), fitted())
    for name in ("s.txt", "s", "s.npz.gz"):
        with pytest.raises(UsageError, match="no name of a scaler") as caught:
            scalers.write(fitted(), tmp_path / name)
        assert caught.value.remedy
        assert all(kind in caught.value.remedy for kind in (".h5", ".npz", ".npy", ".pt"))
        with pytest.raises(UsageError):
            scalers.read(tmp_path / name)


class TestWriting:
    """A crash at any moment leaves the old file or the new one."""

    def test_order(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """What a name leads to is on the disk before the name leads there."""
        seen: list[str] = []
        for step in STEPS:
            _before(monkeypatch, step, partial(seen.append, step))
        scalers.write(fitted(), tmp_path / "s.npz")
        assert seen == STEPS

    @pytest.mark.parametrize("step", STEPS)
    @pytest.mark.parametrize("name", ALL)
    def test_killed(
        self, tmp_path: Path, name: str, step: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Before each step and in the midst of writing, the old file is there until it is new."""
        path = tmp_path / name
        scalers.write(fitted(n_rows=9), path)
        old = path.read_bytes()
        _before(monkeypatch, step, _kill)
        monkeypatch.setattr(disk, "remove", lambda _path: None)  # who is killed removes nothing
        with pytest.raises(Killed):
            scalers.write(fitted(), path)
        monkeypatch.undo()
        assert (path.read_bytes() == old) == (step != "sync_folder")
        expected = fitted() if step == "sync_folder" else fitted(n_rows=9)
        assert np.array_equal(scalers.read(path).moments.mean, expected.moments.mean)

    @pytest.mark.parametrize("step", STEPS)
    def test_full_disk(self, tmp_path: Path, step: str, monkeypatch: pytest.MonkeyPatch) -> None:
        """What the disk refuses is told in words; the old file is there, and nothing beside it."""
        path = tmp_path / "s.npz"
        scalers.write(fitted(n_rows=9), path)
        _before(monkeypatch, step, _full)
        with pytest.raises(DeviceError, match="the disk is full") as caught:
            scalers.write(fitted(), path)
        assert "free some space" in str(caught.value.remedy)
        assert [found.name for found in tmp_path.iterdir()] == ["s.npz"]
        expected = 50 if step == "sync_folder" else 9
        assert scalers.read(path).moments.count == expected

    def test_makes_the_folder(self, tmp_path: Path) -> None:
        """A folder that is not there is made."""
        scalers.write(fitted(), tmp_path / "a" / "b" / "s.h5")
        assert scalers.read(tmp_path / "a" / "b" / "s.h5").n_items == 3

    def test_link_stays(self, tmp_path: Path) -> None:
        """A link goes on leading to where it led."""
        (tmp_path / "link.npz").symlink_to(tmp_path / "s.npz")
        scalers.write(fitted(), tmp_path / "link.npz")
        assert (tmp_path / "link.npz").is_symlink()
        assert scalers.read(tmp_path / "s.npz").n_items == 3

    def test_no_file(self, tmp_path: Path) -> None:
        """A folder and a pipe are never replaced."""
        (tmp_path / "folder.npz").mkdir()
        os.mkfifo(tmp_path / "pipe.npz")
        for name in ("folder.npz", "pipe.npz"):
            with pytest.raises(ScalerError, match="is no file"):
                scalers.write(fitted(), tmp_path / name)
            with pytest.raises(ScalerError, match="is no file"):
                scalers.read(tmp_path / name)
        assert (tmp_path / "folder.npz").is_dir()
        assert (tmp_path / "pipe.npz").is_fifo()


class Killed(BaseException):
    """The process ends here."""


def _kill() -> None:
    raise Killed


def _full() -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _before(monkeypatch: pytest.MonkeyPatch, step: str, call: Callable[[], object]) -> None:
    original = getattr(disk, step)

    def stopped(*args: Any) -> Any:
        if step == "write_at":
            original(args[0], args[1][: len(args[1]) // 2], args[2])
        call()
        return original(*args)

    monkeypatch.setattr(disk, step, stopped)


def refused(path: Path, cause: str) -> ScalerError:
    """Read what must be refused, in little memory."""
    tracemalloc.start()
    try:
        with pytest.raises(ScalerError, match=cause) as caught:
            scalers.read(path)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 4 << 20  # of files that are a few kilobytes long
    assert caught.value.path == path
    assert caught.value.remedy
    return caught.value


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("data", [b"", b"text", b"PK\x05\x06" + bytes(18), b"\x93NUMPY\x01\x00"])
def test_foreign_file(tmp_path: Path, name: str, data: bytes) -> None:
    """What somebody else wrote is no scaler."""
    (tmp_path / name).write_bytes(data)
    refused(tmp_path / name, "no scaler")


@pytest.mark.parametrize("name", ALL)
def test_not_there(tmp_path: Path, name: str) -> None:
    """A name that leads nowhere is told as that."""
    assert "fit-scaler" in str(refused(tmp_path / name, "is not there").remedy)


@pytest.mark.parametrize("name", ALL)
def test_cut_off(tmp_path: Path, name: str) -> None:
    """A file that was cut anywhere is refused."""
    scalers.write(fitted(), tmp_path / name)
    data = (tmp_path / name).read_bytes()
    for n_bytes in {0, 1, 100, len(data) // 3, len(data) // 2, len(data) - 1}:
        (tmp_path / name).write_bytes(data[:n_bytes])
        refused(tmp_path / name, "no scaler, or a damaged one")


@given(data=st.data())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=150)
@pytest.mark.parametrize("name", WHOLE)
def test_damaged(tmp_path: Path, name: str, data: st.DataObject) -> None:
    """Bytes that changed are noticed wherever they matter: what is read is what was written."""
    small = fitted(1, 3)
    scalers.write(small, tmp_path / name)
    found = bytearray((tmp_path / name).read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(found) - 1))
        found[place] ^= data.draw(st.integers(1, 255))
    (tmp_path / name).write_bytes(found)
    with suppress(ScalerError):
        assert same(scalers.read(tmp_path / name), small)


def test_too_large(tmp_path: Path) -> None:
    """What is larger than any scaler is not read at all."""
    for name in ALL:
        with (tmp_path / name).open("wb") as file:
            file.truncate((1 << 28) + 1)
        assert "fit-scaler makes one" in str(refused(tmp_path / name, "larger than any").remedy)


def test_is_scaler(tmp_path: Path) -> None:
    """An HDF5 file says whether it is a scaler; whatever else is there is none."""
    scalers.write(fitted(), tmp_path / "s.h5")
    assert scalers.is_scaler(tmp_path / "s.h5")
    h5py.File(tmp_path / "t.h5", "w").close()
    (tmp_path / "u.h5").write_bytes(b"text")
    for name in ("t.h5", "u.h5", "v.h5", "."):
        assert not scalers.is_scaler(tmp_path / name)


OBJECTS = np.array(["a"], object)
BAD_FIELDS: dict[str, tuple[dict[str, object], str]] = {
    "newer": ({"format_version": 2}, "format version 2"),
    "other format": ({"format": "x"}, "is no scaler of melcli"),
    "format is a number": ({"format": 1}, "format is no text"),
    "version is a float": ({"format_version": 1.0}, "format_version is <f8"),
    "mean missing": ({"mean": None}, "mean is missing"),
    "crc32 missing": ({"crc32": None}, "crc32 is missing"),
    "texts missing": ({"config": None}, "config is missing"),
    "histogram incomplete": ({"histogram_bin": None}, "histogram_bin is missing"),
    "too short": ({"std": np.ones(3)}, "std is <f8 of shape .3,., not <f8 of .4,."),
    "float32": ({"mean": np.zeros(4, np.float32)}, "mean is <f4"),
    "no bins": ({"mean": np.zeros(0)}, "mean has shape .0,."),
    "a matrix": ({"mean": np.zeros((4, 1))}, "mean has shape"),
    "a mean of its own": ({"mean": np.zeros(4)}, "another checksum"),
    "NaN": ({"mean": np.full(4, np.nan)}, "mean holds NaN"),
    "infinite low part": ({"mean_low": np.full(4, np.inf)}, "mean_low holds NaN"),
    "negative m2": ({"m2": np.full(4, -1.0)}, "m2 holds numbers below 0"),
    "NaN m2": ({"m2": np.full(4, np.nan)}, "m2 holds NaN"),
    "std of its own": ({"std": np.full(4, 9.0)}, "std is not what follows"),
    "std beyond": ({"total_weight": 5e-324}, "std is beyond float64"),
    "min above max": ({"min": np.full(4, 99.0)}, "min and max"),
    "no frames": ({"count": 0}, "min and max"),
    "negative count": ({"count": -1}, "it is of -1 frames"),
    "too many": ({"count": 1 << 60}, "it is of .* frames"),
    "no weight": ({"total_weight": 0.0}, "which weigh 0"),
    "NaN weight": ({"total_weight": np.nan}, "which weigh nan"),
    "negative items": ({"n_items": -1}, "-1 items"),
    "other weight": ({"weight": "clip"}, "weight is 'clip'"),
    "floor above count": ({"at_floor": np.full(4, 51)}, "at_floor"),
    "negative floor": ({"at_floor": np.full(4, -1)}, "at_floor"),
    "key": ({"made_a b": "x"}, "'made_a b' is no name"),
    "a made number": ({"made_x": 1}, "made_x is no text"),
    "unsorted": ({"histogram_value": "reversed"}, "do not rise"),
    "bin beyond": ({"histogram_bin": "+9"}, "bins or counts that cannot be"),
    "count of nothing": ({"histogram_count": "+-1"}, "bins or counts that cannot be"),
    "count beyond": ({"histogram_count": "+1"}, "is not of 50 frames"),
    "infinite value": ({"histogram_value": "inf"}, "NaN or infinite values"),
    "fine value": ({"histogram_value": "+1e-6"}, "no bfloat16"),
}


def changed_field(old: Any, new: object) -> Any:
    """Change one thing that a file holds."""
    if not isinstance(new, str):
        return new
    if new == "reversed":
        return old[::-1].copy()
    if new == "inf":
        return np.where(np.arange(len(old)) == 0, np.float32(np.inf), old)
    if new.startswith("+"):
        return (old + old.dtype.type(float(new[1:]))).astype(old.dtype)
    return new


@pytest.mark.parametrize("bad", BAD_FIELDS)
def test_npz_believes_nothing(tmp_path: Path, bad: str) -> None:
    """Whatever is wrong in an .npz is told as that."""
    path, (change, cause) = tmp_path / "s.npz", BAD_FIELDS[bad]
    scalers.write(fitted(), path)
    held: dict[str, Any] = dict(np.load(path))
    for name, value in change.items():
        held[name] = changed_field(held.get(name), value)
        if value is None:
            del held[name]
    np.savez(path, **held)
    refused(path, cause)


@pytest.mark.parametrize("bad", BAD_FIELDS)
def test_hdf5_believes_nothing(tmp_path: Path, bad: str) -> None:
    """Whatever is wrong in an .h5 is told as that."""
    path, (change, cause) = tmp_path / "s.h5", BAD_FIELDS[bad]
    scalers.write(fitted(), path)
    with h5py.File(path, "r+") as file:
        for name, value in change.items():
            old = file[name][()] if name in file else None
            where = file.attrs if old is None else file
            if name in where:
                del where[name]
            if old is None and isinstance(value, str):
                kind = h5py.string_dtype("utf-8", len(value))
                file.attrs.create(name, value.encode(), (), kind)
            elif value is not None:
                where[name] = changed_field(old, value)
    refused(path, cause)


@pytest.mark.parametrize("missing", ["format", "format_version", "mean"])
def test_rewritten_npz(tmp_path: Path, missing: str) -> None:
    """An .npz of somebody else, or part of ours, is no scaler."""
    scalers.write(fitted(), tmp_path / "s.npz")
    held = dict(np.load(tmp_path / "s.npz"))
    del held[missing]
    np.savez(tmp_path / "s.npz", **held)
    refused(tmp_path / "s.npz", "is no scaler")


class TestNpz:
    """What only an .npz can do to its reader."""

    def members(self, path: Path, **changed: bytes) -> None:
        """Write a scaler with some of its members changed."""
        scalers.write(fitted(), path)
        with zipfile.ZipFile(path) as archive:
            held = {info.filename: archive.read(info) for info in archive.infolist()}
        held |= {f"{name}.npy": data for name, data in changed.items()}
        with zipfile.ZipFile(path, "w") as archive:
            for name, data in held.items():
                archive.writestr(name, data)

    def test_saved_again(self, tmp_path: Path) -> None:
        """What NumPy saves of the same arrays is the same scaler."""
        path = tmp_path / "s.npz"
        scalers.write(fitted(), path)
        np.savez(path, **dict(np.load(path)))
        assert same(scalers.read(path), fitted())

    def test_pickle(self, tmp_path: Path) -> None:
        """Pickled objects are refused before they are read."""
        path = tmp_path / "s.npz"
        data = io.BytesIO()
        np.save(data, np.array([Bomb()], object), allow_pickle=True)
        for name in ("mean", "config", "format"):
            self.members(path, **{name: data.getvalue()})
            refused(path, "pickled objects")
        np.save(tmp_path / "s.npy", np.array([[Bomb()], [Bomb()]]), allow_pickle=True)
        refused(tmp_path / "s.npy", "pickled objects")

    @pytest.mark.parametrize(
        ("head", "cause"),
        [
            ("'<f8', 'fortran_order': False, 'shape': (9999999999999,)", "mean has shape"),
            ("'<f8', 'fortran_order': False, 'shape': (99999, 99999, 9)", "mean has shape"),
            ("'<f8', 'fortran_order': False, 'shape': (1048576,)", "another size"),
            ("'<f8', 'fortran_order': False, 'shape': (4,)", "another size"),
            ("'<f8', 'fortran_order': True, 'shape': (4,)", "another size"),
            ("'<f8', 'fortran_order': False, 'shape': (-1,)", "head of an array"),
            ("[('a', '<f8')], 'fortran_order': False, 'shape': (4,)", "head of an array"),
            ("'<f8', 'fortran_order': exit(), 'shape': (4,)", "head of an array"),
            ("(" * 9000, "head of an array"),
        ],
    )
    def test_head(self, tmp_path: Path, head: str, cause: str) -> None:
        """A head that announces what is not there is not believed."""
        text = f"{{'descr': {head}, }}".encode()
        data = b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text
        self.members(tmp_path / "s.npz", mean=data)
        refused(tmp_path / "s.npz", cause)

    def test_long_text(self, tmp_path: Path) -> None:
        """A text of gigabytes is not read."""
        text = b"{'descr': '<U500000000', 'fortran_order': False, 'shape': (), }"
        data = b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text
        self.members(tmp_path / "s.npz", config=data)
        refused(tmp_path / "s.npz", "config is no text")

    @pytest.mark.parametrize("code", [0x110000, 0xD800])
    def test_no_text(self, tmp_path: Path, code: int) -> None:
        """Four bytes that are no character are no text."""
        data = arrays.npy_bytes(np.array("x")).replace(b"x\0\0\0", code.to_bytes(4, "little"))
        self.members(tmp_path / "s.npz", config=data)
        refused(tmp_path / "s.npz", "no scaler, or a damaged one")

    def test_bomb(self, tmp_path: Path) -> None:
        """Compressed members could grow, so they are refused."""
        path = tmp_path / "s.npz"
        scalers.write(fitted(), path)
        np.savez_compressed(path, **dict(np.load(path)) | {"mean": np.zeros(1 << 20)})
        refused(path, "is compressed")

    def test_twice(self, tmp_path: Path) -> None:
        """Two members of one name could be read as either."""
        path = tmp_path / "s.npz"
        scalers.write(fitted(), path)
        with zipfile.ZipFile(path, "a") as archive:
            archive.writestr("mean", arrays.npy_bytes(np.zeros(4)))
        refused(path, "mean is there twice")

    def test_many_members(self, tmp_path: Path) -> None:
        """A list of contents without end is not read."""
        path = tmp_path / "s.npz"
        with zipfile.ZipFile(path, "w") as archive:
            for number in range(3000):
                archive.writestr(f"{number}.npy", b"")
        refused(path, "more than a scaler does")


class Bomb:
    """Does harm as it is unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return pytest.fail, ("it was unpickled",)


def test_bomb_goes_off() -> None:
    """The tests would notice if something were unpickled."""
    with pytest.raises(pytest.fail.Exception):
        pickle.loads(pickle.dumps(Bomb()))  # noqa: S301, ours


@pytest.mark.parametrize(
    ("array", "cause"),
    [
        (np.zeros((3, 4)), "not mean and deviation"),
        (np.zeros(4), "not mean and deviation"),
        (np.zeros((2, 0)), "not mean and deviation"),
        (np.zeros((2, 4), np.int64), "not mean and deviation"),
        (np.zeros((2, 4), np.float16), "not mean and deviation"),
        (np.full((2, 4), np.nan), "NaN"),
        (np.full((2, 4), 1e200), "too large"),
        (np.full((2, 4), -1.0), "deviation below 0"),
        (np.zeros((2, 4), [("a", "<f8")]), "head of an array"),
    ],
)
def test_npy_believes_nothing(tmp_path: Path, array: Any, cause: str) -> None:
    """Whatever is no mean and deviation is refused."""
    np.save(tmp_path / "s.npy", array)
    refused(tmp_path / "s.npy", cause)


def test_npy_that_goes_on(tmp_path: Path) -> None:
    """A .npy must be as long as its head says, and announce what fits."""
    path = tmp_path / "s.npy"
    scalers.write(fitted(), path)
    data = path.read_bytes()
    path.write_bytes(data + b"x")
    refused(path, "another size")
    path.write_bytes(data.replace(b"(2, 4), }        ", b"(2, 999999), }   "))
    refused(path, "another size")
    path.write_bytes(data.replace(b"(2, 4), }        ", b"(2, 99999999), } "))
    refused(path, "not mean and deviation")


class TestHdf5:
    """What only an .h5 can do to its reader."""

    def written(self, tmp_path: Path) -> Path:
        """A scaler."""
        scalers.write(fitted(), tmp_path / "s.h5")
        return tmp_path / "s.h5"

    def test_soft_and_external_links(self, tmp_path: Path) -> None:
        """A link leads to what somebody else chose."""
        path = self.written(tmp_path)
        for link in (h5py.SoftLink("/m2"), h5py.ExternalLink(str(path), "/m2")):
            with h5py.File(path, "r+") as file:
                del file["mean"]
                file["mean"] = link
            refused(path, "/mean is a link")

    def test_external_storage(self, tmp_path: Path) -> None:
        """Numbers in another file are not read."""
        path = self.written(tmp_path)
        (tmp_path / "secret").write_bytes(bytes(32))
        with h5py.File(path, "r+") as file:
            del file["mean"]
            external = [(str(tmp_path / "secret"), 0, 32)]
            file.create_dataset("mean", (4,), "<f8", external=external)
        refused(path, "/mean is not contiguous")

    def test_virtual(self, tmp_path: Path) -> None:
        """Nor are those that another file lends."""
        path = self.written(tmp_path)
        layout = h5py.VirtualLayout((4,), "<f8")
        layout[:] = h5py.VirtualSource(str(path), "m2", (4,))
        with h5py.File(path, "r+") as file:
            del file["mean"]
            file.create_virtual_dataset("mean", layout)
        refused(path, "/mean is not contiguous")

    @pytest.mark.parametrize("how", [{"chunks": (4,), "compression": "gzip"}, {"chunks": (2,)}])
    def test_chunks(self, tmp_path: Path, how: dict[str, Any]) -> None:
        """Chunks could grow as they are unpacked."""
        path = self.written(tmp_path)
        with h5py.File(path, "r+") as file:
            del file["mean"]
            file.create_dataset("mean", data=np.zeros(4), **how)
        refused(path, "/mean is not contiguous")

    def test_huge(self, tmp_path: Path) -> None:
        """A dataset that says it is large, of which nothing was ever stored, is not read."""
        path = self.written(tmp_path)
        with h5py.File(path, "r+") as file:
            del file["mean"]
            file.create_dataset("mean", (1 << 20,), "<f8")
        refused(path, "/mean is cut off")

    def test_group(self, tmp_path: Path) -> None:
        """A group has no numbers."""
        path = self.written(tmp_path)
        with h5py.File(path, "r+") as file:
            del file["mean"]
            file.create_group("mean")
        refused(path, "mean has shape None")

    def test_text_of_no_fixed_length(self, tmp_path: Path) -> None:
        """A text that lies elsewhere in the file is not looked for: HDF5 may never come back."""
        path = self.written(tmp_path)
        with h5py.File(path, "r+") as file:
            file.attrs["config"] = "x"
        refused(path, "config is no text")

    def test_empty_attribute(self, tmp_path: Path) -> None:
        """An attribute without a value has none."""
        path = self.written(tmp_path)
        with h5py.File(path, "r+") as file:
            file.attrs["count"] = h5py.Empty("<i8")
        refused(path, "count is <i8 of shape None")

    def test_many_attributes(self, tmp_path: Path) -> None:
        """More of them than any scaler has are not looked at."""
        path = self.written(tmp_path)
        with h5py.File(path, "r+") as file:
            for number in range(200):
                file.attrs[f"made_{number}"] = 0
        refused(path, "more than a scaler does")

    def test_hdf5_of_somebody_else(self, tmp_path: Path) -> None:
        """Without a word of ours it is no scaler."""
        h5py.File(tmp_path / "s.h5", "w").close()
        refused(tmp_path / "s.h5", "is no scaler of melcli")


@pytest.mark.skipif(sys.platform == "win32", reason="flock")
def test_orphans(tmp_path: Path) -> None:
    """What a killed process left is removed; what another one is writing, or has, is not."""
    orphan, live, other = (
        tmp_path / name
        for name in ("s.npz.0123abcd.partial", "s.npz.4567cdef.partial", "s.npz.mine.partial")
    )
    for path in (orphan, live, other):
        path.write_bytes(b"half")
    with live.open("rb") as file:
        fcntl.flock(file.fileno(), fcntl.LOCK_EX)
        scalers.write(fitted(), tmp_path / "s.npz")
        assert {path.name for path in tmp_path.iterdir()} == {"s.npz", live.name, other.name}
    scalers.write(fitted(), tmp_path / "s.npz")
    assert {path.name for path in tmp_path.iterdir()} == {"s.npz", other.name}
    assert same(scalers.read(tmp_path / "s.npz"), fitted())


def test_writers_at_once(tmp_path: Path) -> None:
    """Many that write one file at once: each comes to its end, and one of them is there."""
    statistics = [fitted(n_items=n) for n in range(1, 9)]
    with ThreadPoolExecutor(8) as pool:
        for _ in pool.map(lambda s: scalers.write(s, tmp_path / "s.npz"), statistics * 5):
            pass
    assert [path.name for path in tmp_path.iterdir()] == ["s.npz"]
    assert scalers.read(tmp_path / "s.npz").n_items in range(1, 9)
