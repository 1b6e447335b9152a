"""``melcli.open``: outputs as mappings, and read without melcli at all."""

from __future__ import annotations

import json
import multiprocessing
import pickle
import tomllib
from typing import TYPE_CHECKING, Literal

import h5py
import numpy as np
import pytest
import torch

import melcli
from melcli import OutputConfig, presets
from melcli.errors import ScalerError, StoreError

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import Corpus

IDS = ["a/one.wav", "a/two.flac", "b.ogg", "c.mp3", "d.opus"]


@pytest.fixture(params=["x.h5", "tree.h5", "npy/"])
def path(request: pytest.FixtureRequest, corpus: Corpus, tmp_path: Path) -> Path:
    """A finished output with a failure."""
    corpus.add_good()
    corpus.add_bytes("e.wav", b"text, and no audio")
    layout = OutputConfig(store_layout="tree" if request.param == "tree.h5" else "packed")
    melcli.extract(corpus.folder, f"{tmp_path}/{request.param}", out=layout)
    return tmp_path / str(request.param)


class TestMapping:
    """An output is a mapping from ids to arrays."""

    def test_mapping(self, path: Path) -> None:
        """Length, order, membership and items are those of a mapping."""
        with melcli.open(path) as output:
            assert (len(output), list(output)) == (5, IDS)
            assert "b.ogg" in output
            assert "e.wav" not in output
            assert output.get("nothing") is None
            assert {name: mel.shape for name, mel in output.items()} == {
                name: output[name].shape for name in IDS
            }

    def test_unknown_id(self, path: Path) -> None:
        """An id that is not there is a KeyError that names it."""
        with melcli.open(path) as output, pytest.raises(KeyError, match=r"b\.wav"):
            output["b.wav"]

    def test_what_it_is(self, path: Path) -> None:
        """Config, header and failures are those of the run."""
        with melcli.open(str(path)) as output:
            assert output.config == presets.load("librosa").config.resolved()
            assert output.header.command == "melcli.extract()"
            assert [(failed.id, bool(failed.cause)) for failed in output.failures] == [
                ("e.wav", True)
            ]
            assert output.scaler is None
            assert repr(output) == f"<melcli output {path}: 5 items, config librosa-default-db>"

    @pytest.mark.parametrize(("config", "axis"), [("librosa", 0), ("kaldi-fbank-80", 1)])
    @pytest.mark.parametrize("name", ["x.h5", "npy/"])
    def test_layout(
        self, corpus: Corpus, tmp_path: Path, config: str, axis: int, name: str
    ) -> None:
        """Arrays come with the axes in the order of the config's layout."""
        corpus.add("a.wav")
        melcli.extract(corpus.folder, f"{tmp_path}/{name}", config)
        with melcli.open(tmp_path / name) as output:
            assert output["a.wav"].shape[axis] == output.config.mel.n_mels

    def test_closed(self, path: Path) -> None:
        """A closed output opens itself again when it is asked for something."""
        output = melcli.open(path)
        output.close()
        output.close()
        assert len(output) == 5
        output.close()

    def test_pickle(self, path: Path) -> None:
        """It pickles as its path, however much it holds."""
        with melcli.open(path) as output:
            data = pickle.dumps(output)
            assert len(data) < 500
            with pickle.loads(data) as back:  # noqa: S301, what was pickled a moment ago
                assert np.array_equal(back["b.ogg"], output["b.ogg"])

    # Python 3.12 warns of any fork in a process with threads, and pytest or torch may have some.
    @pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
    @pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="needs fork")
    def test_fork(self, path: Path) -> None:
        """In a forked process it reads what it reads here, and here it goes on reading."""
        with melcli.open(path) as output:
            before = {name: mel.tobytes() for name, mel in output.items()}
            context = multiprocessing.get_context("fork")
            ours, theirs = context.Pipe()

            def child() -> None:
                theirs.send({name: mel.tobytes() for name, mel in output.items()})

            process = context.Process(target=child)
            process.start()
            assert ours.poll(60)
            assert ours.recv() == before
            process.join()
            assert {name: mel.tobytes() for name, mel in output.items()} == before
            ours.close()
            theirs.close()


class TestNoOutput:
    """What is no finished output is told to be none."""

    def test_missing(self, tmp_path: Path) -> None:
        """Neither a file nor a folder that is not there."""
        for name in ("x.h5", "folder"):
            with pytest.raises(StoreError, match=name):
                melcli.open(tmp_path / name)

    def test_other_things(self, corpus: Corpus, tmp_path: Path) -> None:
        """Nor a folder of audio, an HDF5 file of someone else, or text."""
        corpus.add("a.wav")
        h5py.File(tmp_path / "x.h5", "w").close()
        (tmp_path / "y.h5").write_bytes(b"text")
        for name in ("corpus", "x.h5", "y.h5"):
            with pytest.raises(StoreError):
                melcli.open(tmp_path / name)


class TestWithoutMelcli:
    """The formats are plain: h5py, NumPy and the standard library are enough."""

    def test_packed(self, corpus: Corpus, tmp_path: Path) -> None:
        """The three lines of the documentation give the mel, rows first."""
        corpus.add("speaker/a.wav", 0.5)
        corpus.add("speaker/b.wav")
        melcli.extract(corpus.folder, tmp_path / "mels.h5")
        with h5py.File(tmp_path / "mels.h5") as f:
            i = list(f["items/id"].asstr()).index("speaker/a.wav")
            mel = f["mel"][f["items/start"][i] : f["items/stop"][i]]
            assert [dim.label for dim in f["mel"].dims] == ["frame", "mel"]
            assert f.attrs["format"] == "melcli"
            assert tomllib.loads(f.attrs["config"])["mel"]["n_mels"] == 128
            assert f["mel"].chunks is None
        with melcli.open(tmp_path / "mels.h5") as output:
            assert np.array_equal(mel.T, output["speaker/a.wav"])

    def test_mapped(self, corpus: Corpus, tmp_path: Path) -> None:
        """Rows lie in one piece, so that they can be mapped into memory."""
        corpus.add("a.wav", 0.5)
        melcli.extract(corpus.folder, tmp_path / "mels.h5")
        with h5py.File(tmp_path / "mels.h5") as file:
            shape, place = file["mel"].shape, file["mel"].id.get_offset()
            rows = file["mel"][:]
        mapped = np.memmap(tmp_path / "mels.h5", "<f4", "r", place, shape)
        assert np.array_equal(mapped, rows)

    def test_tree(self, corpus: Corpus, tmp_path: Path) -> None:
        """In a tree each item is a dataset of its own, at ``/mel/<id>``."""
        corpus.add("speaker/a.wav")
        out = OutputConfig(store_layout="tree")
        melcli.extract(corpus.folder, tmp_path / "mels.h5", out=out)
        with h5py.File(tmp_path / "mels.h5") as f:
            mel = f["mel/speaker/a.wav"][:]
        with melcli.open(tmp_path / "mels.h5") as output:
            assert np.array_equal(mel.T, output["speaker/a.wav"])

    def test_npy(self, corpus: Corpus, tmp_path: Path) -> None:
        """A folder mirrors the input's, with a list and the config beside."""
        corpus.add("speaker/a.wav")
        corpus.add_bytes("b.wav", b"text, and no audio")
        melcli.extract(corpus.folder, f"{tmp_path}/mels/")
        mel = np.load(tmp_path / "mels/speaker/a.npy")
        assert mel.shape[0] == 128
        lines = (tmp_path / "mels/melcli.jsonl").read_text(encoding="utf-8").splitlines()
        records = {record["id"]: record for record in map(json.loads, lines)}
        assert records["speaker/a.wav"]["status"] == "done"
        assert records["speaker/a.wav"]["path"] == "speaker/a.npy"
        assert tuple(records["speaker/a.wav"]["shape"]) == mel.shape
        assert records["b.wav"]["status"] == "failed"
        settings = tomllib.loads((tmp_path / "mels/melcli.toml").read_text(encoding="utf-8"))
        assert settings["mel"]["n_mels"] == 128
        assert sorted(path.name for path in (tmp_path / "mels").iterdir()) == [
            "melcli.jsonl", "melcli.toml", "speaker",
        ]  # fmt: skip


@pytest.mark.parametrize(("config", "name"), [("librosa", "x.h5"), ("kaldi-fbank-80", "npy/")])
@pytest.mark.parametrize("rule", ["standard", "robust"])
def test_scaler(
    corpus: Corpus, tmp_path: Path, config: str, name: str, rule: Literal["standard", "robust"]
) -> None:
    """An output gives the scaler that it carries, for its own arrays; undone, all is as before."""
    corpus.add_good()
    fitted = melcli.fit_scaler(corpus.folder, tmp_path / "s.npz", config, quantiles=True)
    assert fitted.statistics is not None
    scaler = melcli.Scaler.from_statistics(fitted.statistics, rule)
    melcli.extract(corpus.folder, f"{tmp_path}/plain/", config)
    melcli.extract(corpus.folder, f"{tmp_path}/{name}", config, scaler=scaler)
    with melcli.open(tmp_path / "plain") as plain, melcli.open(tmp_path / name) as normal:
        found = normal.scaler
        assert found is not None
        assert (found.normalize, found.over) == (rule, "bin")
        for item_id, mel in plain.items():
            there = torch.from_numpy(np.ascontiguousarray(normal[item_id]))
            assert torch.equal(found(torch.from_numpy(np.ascontiguousarray(mel))), there)
            assert np.allclose(found.inverse(there).numpy(), mel, atol=1e-4)
        assert found.double().half().normalization == scaler.normalization
    with pytest.raises(ScalerError, match="fitted to another front end"):
        melcli.extract(corpus.folder, tmp_path / "y.h5", "whisper-80", scaler=scaler)
    with pytest.raises(ScalerError, match="is not fitted"):
        melcli.extract(corpus.folder, tmp_path / "y.h5", config, scaler=melcli.Scaler())
