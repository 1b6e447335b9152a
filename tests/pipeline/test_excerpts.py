"""Parts of recordings as inputs: what a file of just that part gives, kept and known as such."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np
import pytest

import melcli
from melcli import OutputConfig, RunConfig, Selection, store
from melcli.audio import reading
from melcli.errors import ScalerError, UsageError
from melcli.pipeline import waveforms
from melcli.pipeline.recompute import Recomputation
from melcli.pipeline.survey import survey
from melcli.pipeline.target import plan_inputs
from melcli.presets import load
from melcli.store.merge import merge
from melcli.store.shards import Shard

if TYPE_CHECKING:
    from melcli.config.run import StoreLayout
    from tests.conftest import Corpus, ReadOutput

OUTPUTS = ["x.h5", "tree.h5", "npy/"]
TABLE = """\
path,id,start,end,channel
corpus/a.wav,,0.25,0.75,
corpus/a.wav,tail,0.7,,
corpus/b.flac,left,,,0
corpus/b.flac,right,0.1,0.5,1
corpus/c.mp3,,0.3,0.6,
corpus/d.wav,,,,
corpus/a.wav,far,7,8,
corpus/none.wav,gone,1,2,
corpus/b.flac,third,,,2
"""


@pytest.fixture(autouse=True)
def table(corpus: Corpus, monkeypatch: pytest.MonkeyPatch) -> Selection:
    """A table of parts of four recordings; three of its rows cannot be used."""
    monkeypatch.chdir(corpus.folder.parent)
    corpus.add("a.wav", 1.0)
    corpus.add("b.flac", 0.6, 22_050, 2)
    corpus.add("c.mp3", 0.8)
    corpus.add("d.wav", 0.3)
    Path("t.csv").write_text(TABLE, encoding="utf-8")
    return Selection(files_from="t.csv")


def extract(selection: Selection, output: str, **out: Any) -> Any:
    """Extract with a front end at 16 kHz."""
    layout: StoreLayout = "tree" if "tree" in output else "packed"
    return melcli.extract(
        selection, output, "kaldi-fbank-80", out=OutputConfig(store_layout=layout, **out)
    )


def cut(corpus: Corpus, name: str, source: str, start: float, end: float | None, n: int) -> None:
    """Write a part of a recording to a file of its own, as float32."""
    audio = reading.read(corpus.folder / source)
    samples = audio.samples if audio.samples.dtype == np.float32 else audio.samples / 32768
    first = round(start * audio.sample_rate)
    last = len(samples) if end is None else round(end * audio.sample_rate)
    channel = samples[first:last, [n]].astype(np.float32)
    corpus.add_samples(name, channel, audio.sample_rate, subtype="FLOAT")


@pytest.mark.parametrize("output", OUTPUTS)
def test_a_part_is_what_its_own_file_gives(corpus: Corpus, table: Selection, output: str) -> None:
    """Bit for bit; and what cannot be used has failed with its cause, beside what can."""
    report = extract(table, output)
    assert (report.done, report.failed, report.exit_code) == (6, 3, 1)
    parts = {
        "corpus/a.wav@0.25-0.75": ("a.wav", 0.25, 0.75, 0),
        "tail": ("a.wav", 0.7, None, 0),
        "left": ("b.flac", 0.0, None, 0),
        "right": ("b.flac", 0.1, 0.5, 1),
        "corpus/c.mp3@0.3-0.6": ("c.mp3", 0.3, 0.6, 0),
    }
    for number, part in enumerate(parts.values()):
        cut(corpus, f"cut/{number}.wav", *part)
    extract(Selection(paths=("corpus/cut",)), "cut.h5")
    with melcli.open(output) as found, melcli.open("cut.h5") as expected:
        assert list(found) == [*parts, "corpus/d.wav"]
        for number, name in enumerate(parts):
            assert np.array_equal(found[name], expected[f"{number}.wav"]), name
        causes = {failed.id: failed.cause for failed in found.failures}
    assert causes == {
        "far": "the recording is 1.00 s long, and the part begins at 7 s",
        "gone": "does not exist",
        "third": "has 2 channels, counted from 0: there is no channel 2",
    }


def test_what_is_stored(table: Selection) -> None:
    """The recording, where the part lies in it and its channel; whole files have none."""
    extract(table, "x.h5")
    with h5py.File("x.h5") as file:
        items = {name: column[()].tolist() for name, column in file["items"].items()}
        assert file["failures/recording"].asstr()[:].tolist() == [
            *("corpus/a.wav", "corpus/none.wav", "corpus/b.flac"),
        ]
    assert items["recording"][3:] == [b"corpus/b.flac", b"corpus/c.mp3", b""]
    assert items["excerpt_start"] == [0.25, 0.7, 0.0, 0.1, 0.3, 0.0]
    assert items["excerpt_end"] == [0.75, np.inf, np.inf, 0.5, 0.6, np.inf]
    assert items["excerpt_channel"] == [-1, -1, 0, 1, -1, -1]
    assert items["channel"] == [0, 0, 0, 1, 0, 0]  # this front end takes the first
    assert items["n_samples"][:2] == [8000, 4800]
    extract(table, "npy/")
    lines = [json.loads(line) for line in Path("npy/melcli.jsonl").read_text().splitlines()]
    assert lines[1]["path"] == "tail.npy"
    assert (lines[1]["recording"], lines[1]["excerpt_start"]) == ("corpus/a.wav", 0.7)
    assert lines[1]["excerpt_end"] is None
    assert "recording" not in lines[5]
    assert Path("npy/corpus/a@0.25-0.75.npy").is_file()


def test_outputs_without_parts_stay_as_they_were(corpus: Corpus) -> None:
    """No column more, not even by a table of bare paths."""
    Path("t.csv").write_text("path\ncorpus/a.wav\n", encoding="utf-8")
    extract(Selection(files_from="t.csv"), "x.h5")
    extract(Selection(paths=(corpus.folder / "a.wav",)), "y.h5")
    for name in ("x.h5", "y.h5"):
        with h5py.File(name) as file:
            assert "recording" not in file["items"]


@pytest.mark.parametrize("output", OUTPUTS)
def test_another_part_is_computed_again(
    table: Selection, output: str, read_output: ReadOutput
) -> None:
    """Who calls another part by the same id gets that part, and all else is kept."""
    extract(table, output)
    again = extract(table, output)
    assert (again.done, again.already, again.failed) == (0, 6, 3)
    text = TABLE.replace("tail,0.7,", "tail,0.6,").replace("far,7,8", "far,0,0.5")
    Path("t.csv").write_text(text, encoding="utf-8")
    changed = extract(table, output)
    assert (changed.done, changed.already, changed.failed) == (2, 5, 2)
    extract(table, f"straight-{output}")
    # Inputs lie in the order of the table, whenever they were computed.
    assert read_output(Path(output)) == read_output(Path(f"straight-{output}"))


@pytest.mark.parametrize("output", OUTPUTS)
def test_recomputed(table: Selection, output: str) -> None:
    """``verify --audio-root`` finds the recording of each part, and computes just that."""
    extract(table, output)
    reader = store.open_reader(Path(output))
    again = Recomputation(reader, ".", sample="100%")
    assert list(again.faults()) == []
    assert (again.n_compared, again.n_differing) == (6, 0)
    reader.close()


def test_shards(table: Selection, read_output: ReadOutput) -> None:
    """Shards of a table merge to what one run gives."""
    extract(table, "whole.h5")
    for number in (1, 2):
        shard = Selection(files_from="t.csv", shard=Shard(number, 2))
        extract(shard, f"part.{number}.h5")
    merge([Path("part.1.h5"), Path("part.2.h5")], Path("x.h5"), command="", created="")
    assert read_output(Path("x.h5")) == read_output(Path("whole.h5"))


def test_a_long_part(table: Selection, monkeypatch: pytest.MonkeyPatch) -> None:
    """A part that is longer than a piece is a stream, to the same bytes."""
    extract(table, "x.h5")
    monkeypatch.setattr(waveforms, "PIECE_BYTES", 3000)
    extract(table, "y.h5")
    with melcli.open("x.h5") as one, melcli.open("y.h5") as other:
        assert list(one) == list(other)
        assert all(np.array_equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize("order", ["sorted", "backwards"])
def test_a_recording_is_decoded_once(
    corpus: Corpus, monkeypatch: pytest.MonkeyPatch, order: str
) -> None:
    """Parts of an MP3 in their order cost one decoding of it; in any order they are the same."""
    corpus.add("long.mp3", 4.0)
    starts = [n / 10 for n in range(40)]
    beyond = [f"corpus/long.mp3,beyond{n},{n},{n + 1}" for n in range(5, 15)]
    rows = [f"corpus/long.mp3,{n},{start},{start + 0.1}" for n, start in enumerate(starts)]
    rows = [*beyond, *rows[::-1]] if order == "backwards" else [*rows, *beyond]
    Path("t.csv").write_text("\n".join(["path,id,start,end", *rows]), encoding="utf-8")
    decoded = [0]
    original = reading.AudioReader._decode

    def counting(reader: reading.AudioReader, *args: Any) -> int:
        n = original(reader, *args)
        decoded[0] += n
        return n

    monkeypatch.setattr(reading.AudioReader, "_decode", counting)
    report = melcli.extract(
        Selection(files_from="t.csv"), "x.h5", "kaldi-fbank-80", run=RunConfig(workers=1)
    )
    assert (report.done, report.failed) == (40, 10)
    assert (decoded[0] <= 4.2 * 16_000) == (order == "sorted")
    for n, start in enumerate(starts):
        cut(corpus, f"cut/{n:02}.wav", "long.mp3", start, start + 0.1, 0)
    extract(Selection(paths=("corpus/cut",)), "cut.h5")
    with melcli.open("x.h5") as found, melcli.open("cut.h5") as expected:
        assert len(found) == 40
        assert all(np.array_equal(found[name], expected[f"{int(name):02}.wav"]) for name in found)


def test_a_part_that_ends_late(corpus: Corpus, table: Selection) -> None:
    """It is marked and counted, as all that is not as it was asked for."""
    Path("t.csv").write_text("path,start,end\ncorpus/a.wav,0.5,1.25\n", encoding="utf-8")
    report = extract(table, "x.h5")
    assert dict(report.notes) == {"shorter than asked": 1}
    with h5py.File("x.h5") as file:
        assert file["items/n_samples"][0] == 8000
    del corpus


def test_survey(table: Selection) -> None:
    """``--dry-run`` counts what the parts are, and names those that are not there."""
    config = load("kaldi-fbank-80").config
    plan = plan_inputs(table, None, config, OutputConfig())
    found = survey(plan, config, OutputConfig(), 1)
    assert (found.inputs, found.problems) == (9, 2)
    extract(table, "x.h5")
    with melcli.open("x.h5") as output:
        n_rows = sum(len(output[name]) for name in output)
    assert abs(found.rows - n_rows) <= 60  # the third channel is noticed on decoding only
    files = [Path("corpus") / name for name in ("a.wav", "b.flac", "c.mp3", "d.wav")]
    assert found.input_bytes == sum(os.path.getsize(file) for file in files)  # noqa: PTH202


def test_statistics(table: Selection, tmp_path: Path) -> None:
    """``fit-scaler`` over a table is that over the output of the table."""
    extract(table, "x.h5")
    melcli.fit_scaler(table, tmp_path / "a.npz", "kaldi-fbank-80")
    melcli.fit_scaler("x.h5", tmp_path / "b.npz")
    one, other = (melcli.Scaler.load(tmp_path / name) for name in ("a.npz", "b.npz"))
    for name, value in one.state_dict().items():
        np.testing.assert_allclose(value, other.state_dict()[name], rtol=1e-12)
    # Another part by the same id is another fit.
    Path("t.csv").write_text(TABLE.replace("tail,0.7,", "tail,0.6,"), encoding="utf-8")
    with pytest.raises(ScalerError, match="its inputs are others, or were changed since"):
        melcli.fit_scaler(table, tmp_path / "a.npz", "kaldi-fbank-80")


def test_channels_twice(table: Selection) -> None:
    """A table that names channels does not go with one item for each of them."""
    config = load("kaldi-fbank-80").config.updated({"wave.channels": "each"})
    with pytest.raises(UsageError, match="the table names channels, and --channels each"):
        melcli.extract(table, "x.h5", config)
