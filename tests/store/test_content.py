"""Outputs of other content than mels: spectrograms, and folders of audio files."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np
import pytest

from melcli.errors import StoreError
from melcli.store import Done, Failed, Header, Item, Outcome, open_reader, open_writer
from melcli.store.compare import check_holds_mels, differences
from melcli.store.records import Certificate

if TYPE_CHECKING:
    from pathlib import Path

    from melcli.store import Array
    from tests.conftest import ReadOutput

KINDS: dict[str, dict[str, Any]] = {
    "packed.h5": {"content": "spectrogram"},
    "tree.h5": {"content": "spectrogram", "settings": {"store_layout": "tree"}},
    "npy": {"content": "spectrogram", "transpose": True},
    "wav": {
        "content": "audio",
        "dtype": "uint8",
        "row_shape": (1,),
        "settings": {"audio_format": "wav"},
    },
}
IDS = ["a/one.wav", "b/two.flac", "c.mp3"]


def header_of(kind: str) -> Header:
    """What is asked for."""
    header = Header(
        config="[mel]\nn_mels = 4\n",
        config_digest="a" * 64,
        settings={"store_layout": "packed"},
        machine={"device": "cpu"},
        command="melcli invert",
        created="2025-11-21T10:00:00+00:00",
        melcli_version="0.1.0",
        row_shape=(6,),
        row_labels=("frame", "frequency"),
        dtype="float32",
    )
    return replace(header, **KINDS[kind])


def outcome(number: int, header: Header) -> tuple[Done, list[list[Array]]]:
    """An input, with rows and a certificate that follow from its number."""
    rng = np.random.default_rng(number)
    shape = (number + 2, *header.row_shape)
    rows = rng.integers(0, 256, shape) if header.dtype == "uint8" else rng.random(shape)
    certificate = Certificate(1.5e-6 / (number + 3), 4 + number, number * 10**10)
    item = Item(IDS[number], len(rows), 1000, 8000, 1, -1, ("mixed",), certificate=certificate)
    return Done(IDS[number], 17, 18, (item,)), [[rows.astype(header.dtype)]]


def write(path: Path, header: Header, numbers: list[int], *, finish: bool = True) -> None:
    """Write inputs that are not there yet, a segment each, and one that failed."""
    writer = open_writer(path, header)
    try:
        there = {found.id for found in writer.outcomes()}
        for number in numbers:
            if IDS[number] not in there:
                writer.write(*outcome(number, header))
                writer.commit()
        if "bad" not in there:
            writer.write(Failed("bad", 1, 2, "holds NaN", None), [])
            writer.commit()
        if finish:
            writer.finish([*IDS, "bad"])
    finally:
        writer.close()


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_written_comes_back(kind: str, tmp_path: Path) -> None:
    """Rows, certificates to the last bit, and what they are."""
    header = header_of(kind)
    write(tmp_path / kind, header, [0, 1, 2])
    reader = open_reader(tmp_path / kind)
    assert reader.header.content == header.content
    found: list[Outcome] = list(reader.outcomes())
    for number, done in enumerate(found[:3]):
        known, [[rows]] = outcome(number, header)
        assert isinstance(done, Done)
        assert done.items[0].certificate == known.items[0].certificate
        assert [item.id for item in reader.some_items(number, number + 1)] == [IDS[number]]
        np.testing.assert_array_equal(reader.read(IDS[number]), rows)
    assert reader.certificates["n_clipped"].tolist() == [0, 10**10, 2 * 10**10]
    assert not list(reader.faults())
    with pytest.raises(StoreError, match="and no mels"):
        check_holds_mels(reader)
    reader.close()


@pytest.mark.parametrize("kind", KINDS)
def test_interrupted_and_extended(kind: str, tmp_path: Path, read_output: ReadOutput) -> None:
    """Whatever it went through, an output is what one run makes."""
    header = header_of(kind)
    write(tmp_path / "straight" / kind, header, [0, 1, 2])
    path = tmp_path / "run" / kind
    write(path, header, [0], finish=False)
    write(path, header, [0, 1], finish=False)
    write(path, header, [0, 1, 2])
    assert read_output(path) == read_output(tmp_path / "straight" / kind)
    writer = open_writer(path, header)
    for found in list(writer.previous()):
        writer.keep(found)
    writer.finish([*IDS, "bad"])
    writer.close()
    assert read_output(path) == read_output(tmp_path / "straight" / kind)


@pytest.mark.parametrize("kind", KINDS)
def test_a_certificate_belongs_to_what_was_computed_back(kind: str, tmp_path: Path) -> None:
    """Without one, or with one on a mel, an outcome is a mistake of ours."""
    header = header_of(kind)
    done, rows = outcome(0, header)
    bare = replace(done, items=(replace(done.items[0], certificate=None),))
    writer = open_writer(tmp_path / kind, header)
    with pytest.raises(ValueError, match="certificate"):
        writer.write(bare, rows)
    writer.close()
    if header.content == "spectrogram":
        writer = open_writer(tmp_path / f"mel-{kind}", replace(header, content="mel"))
        with pytest.raises(ValueError, match="certificate"):
            writer.write(done, rows)
        writer.close()


def test_audio_files(tmp_path: Path) -> None:
    """The bytes are the file, under the id's name with another ending."""
    header = header_of("wav")
    write(tmp_path / "out", header, [0, 1, 2])
    _, [[rows]] = outcome(1, header)
    assert (tmp_path / "out/b/two.wav").read_bytes() == rows.tobytes()
    lines = (tmp_path / "out/melcli.jsonl").read_text().splitlines()
    assert [json.loads(line).get("path") for line in lines] == [
        *("a/one.wav", "b/two.wav", "c.wav"),
        None,
    ]
    (tmp_path / "out/c.wav").write_bytes(b"shorter")
    reader = open_reader(tmp_path / "out")
    assert [fault.id for fault in reader.faults()] == ["c.mp3"]
    reader.close()


def test_in_hdf5(tmp_path: Path) -> None:
    """A spectrogram is called one, and residuals are a column that h5py reads."""
    write(tmp_path / "x.h5", header_of("packed.h5"), [0, 1, 2])
    with h5py.File(tmp_path / "x.h5") as file:
        assert sorted(file) == ["failures", "items", "spectrogram"]
        assert [axis.label for axis in file["spectrogram"].dims] == ["frame", "frequency"]
        assert file.attrs["content"] == "spectrogram"
        assert file["items/residual"][:].tolist() == [1.5e-6 / 3, 1.5e-6 / 4, 1.5e-6 / 5]


def test_mels_are_as_ever(tmp_path: Path) -> None:
    """An output of mels says nothing new."""
    header = replace(header_of("packed.h5"), content="mel")
    assert "content" not in header.as_record()
    writer = open_writer(tmp_path / "x.h5", header)
    done, rows = outcome(0, header)
    writer.write(replace(done, items=(replace(done.items[0], certificate=None),)), rows)
    writer.finish([IDS[0]])
    writer.close()
    with h5py.File(tmp_path / "x.h5") as file:
        assert "content" not in file.attrs
        assert "residual" not in file["items"]
    reader = open_reader(tmp_path / "x.h5")
    assert dict(reader.certificates) == {}
    check_holds_mels(reader)
    reader.close()


def test_other_content_is_another_output() -> None:
    """Spectra are not mixed with mels."""
    spectra = header_of("packed.h5")
    lines = differences(spectra, replace(spectra, content="mel"))
    assert lines == ["content: spectrogram in the output, not set asked for"]


@pytest.mark.parametrize(
    ("where", "change"),
    [
        ("@content", "noise"),
        ("@content", "audio"),
        ("items/residual", None),
        ("items/residual", [1.0]),
        ("items/n_steps", np.array(["x", "y", "z"], "S1")),
        ("spectrogram", None),
    ],
)
def test_hostile_file(where: str, change: Any, tmp_path: Path) -> None:
    """Whatever is wrong with it is a StoreError."""
    path = tmp_path / "x.h5"
    write(path, header_of("packed.h5"), [0, 1, 2])
    with h5py.File(path, "r+") as file:
        place, key = (file.attrs, where[1:]) if where[0] == "@" else (file, where)
        del place[key]
        if change is not None:
            place[key] = change
    with pytest.raises(StoreError, match="damaged"):
        list(open_reader(path).outcomes())


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'"residual": ', b'"residue": '),
        (b'"residual": ', b'"residual": "x", "y": '),
        (b'audio_format = "wav"', b'audio_format = "exe"'),
        (b'content = "audio"', b'content = "text"'),
    ],
)
def test_hostile_folder(old: bytes, new: bytes, tmp_path: Path) -> None:
    """Likewise."""
    write(tmp_path / "out", header_of("wav"), [0, 1, 2])
    changed = 0
    for name in ("melcli.toml", "melcli.jsonl"):
        data = (tmp_path / "out" / name).read_bytes()
        changed += old in data
        (tmp_path / "out" / name).write_bytes(data.replace(old, new, 1))
    assert changed == 1
    with pytest.raises(StoreError):
        list(open_reader(tmp_path / "out").outcomes())
