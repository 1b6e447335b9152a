"""The loop: what becomes of good and bad input, and that nothing but the input decides it."""

from __future__ import annotations

import os
import shutil
import signal
import threading
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import melcli
from melcli import OutputConfig, RunConfig, Selection, presets
from melcli.audio import reading
from melcli.errors import (
    ConfigError,
    DeviceError,
    NoInputError,
    StoreError,
    UsageError,
)
from melcli.pipeline import batching, loop, worker
from melcli.pipeline import run as run_module
from melcli.pipeline.engine import Engine
from melcli.store.records import Failed

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from melcli.pipeline.plan import PlannedInput
    from melcli.pipeline.report import Report
    from melcli.store import Outcome
    from tests.conftest import Corpus, ReadOutput

OUTPUTS = ["x.h5", "tree.h5", "npy/"]


@dataclass
class Ledger:
    """A listener that notes what became of every input."""

    lines: list[tuple[str, str]] = field(default_factory=list)
    causes: dict[str, str] = field(default_factory=dict)
    remedies: dict[str, str | None] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)

    def started(self, report: Report) -> None:
        """Nothing has happened yet."""

    def happened(self, planned: PlannedInput, outcome: Outcome, status: str) -> None:
        """Note it."""
        self.lines.append((planned.id, status))
        if isinstance(outcome, Failed):
            self.causes[planned.id] = outcome.cause
            self.remedies[planned.id] = outcome.remedy

    def advanced(self, report: Report) -> None:
        """Whenever this is called, the books balance."""
        assert report.inputs == report.done + report.already + report.failed + report.left
        assert report.left >= 0

    def warned(self, warning: str) -> None:
        """Keep what is told at once."""
        self.warnings.append(warning)


class Extract:
    """Runs an extraction into a folder, and checks its books every time."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.ledger = Ledger()

    def path(self, name: str) -> Path:
        """Where an output lies."""
        return self.folder / name

    def __call__(
        self,
        inputs: Any,
        name: str = "x.h5",
        config: Any = "librosa",
        *,
        run: Any = None,
        **out: Any,
    ) -> Report:
        """Extract, with ``tree.h5`` as the other layout."""
        self.ledger = Ledger()
        if name == "tree.h5":
            out["store_layout"] = "tree"
        report = melcli.extract(
            inputs, f"{self.folder}/{name}", config,
            out=OutputConfig(**out), run=run or RunConfig(), listener=self.ledger, command="test",
        )  # fmt: skip
        self._balance(report)
        return report

    def _balance(self, report: Report) -> None:
        told = [name for name, _ in self.ledger.lines]
        statuses = [status for _, status in self.ledger.lines]
        assert report.inputs == report.done + report.already + report.failed + report.left
        assert len(told) == len(set(told)) == report.inputs - report.left
        assert statuses.count("done") == report.done
        assert statuses.count("already done") == report.already
        assert statuses.count("failed") == report.failed
        assert report.left == 0 or report.stopped


@pytest.fixture
def extract(tmp_path: Path) -> Extract:
    """Extractions into ``tmp_path / "out"``."""
    (tmp_path / "out").mkdir()
    return Extract(tmp_path / "out")


@pytest.fixture
def frozen(monkeypatch: pytest.MonkeyPatch) -> None:
    """Outputs all begin at one moment, so that whole files can be compared."""
    freeze(monkeypatch)


def freeze(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no clock into a header."""
    real = run_module.make_header

    def header(*args: Any) -> Any:
        return replace(real(*args), created="2024-06-01T00:00:00+00:00")

    monkeypatch.setattr(run_module, "make_header", header)


def mels_of(path: Path) -> dict[str, bytes]:
    """Every mel of an output, with its shape."""
    with melcli.open(path) as output:
        return {
            name: bytes(str(mel.shape), "ascii") + mel.tobytes() for name, mel in output.items()
        }


def ids_of(path: Path) -> list[str]:
    """The ids of an output."""
    with melcli.open(path) as output:
        return list(output)


class TestGood:
    """Recordings that become mels."""

    @pytest.mark.parametrize("name", OUTPUTS)
    def test_every_format(self, corpus: Corpus, extract: Extract, name: str) -> None:
        """Every common format becomes a mel, in each kind of output."""
        ids = corpus.add_good()
        report = extract(corpus.folder, name)
        assert (report.done, report.failed, report.exit_code) == (5, 0, 0)
        with melcli.open(extract.path(name)) as output:
            assert list(output) == ids
            assert all(mel.shape[0] == 128 and np.isfinite(mel).all() for mel in output.values())

    @pytest.mark.parametrize("config", presets.names())
    def test_every_front_end(self, corpus: Corpus, extract: Extract, config: str) -> None:
        """What is stored is what the front end gives for the decoded samples."""
        from melcli.dsp.frontend import FrontEnd

        front_end = FrontEnd(presets.load(config).config)
        rate = front_end.config.wave.sample_rate
        path = corpus.add("a.wav", 1.1, rate, subtype="FLOAT")
        extract(corpus.folder, config=config)
        samples = torch.from_numpy(corpus.samples("a.wav", 1.1, rate)[:, 0].copy())
        [rows] = front_end.rows([samples])
        with melcli.open(extract.path("x.h5")) as output:
            assert np.array_equal(output.reader.read("a.wav"), rows.numpy())
        assert path.exists()

    def test_outputs_agree(self, corpus: Corpus, extract: Extract) -> None:
        """All kinds of output hold the same numbers."""
        corpus.add_good()
        for name in OUTPUTS:
            extract(corpus.folder, name)
        first, *others = (mels_of(extract.path(name)) for name in OUTPUTS)
        assert all(other == first for other in others)

    def test_float16(self, corpus: Corpus, extract: Extract) -> None:
        """Half precision is the single precision rounded once."""
        corpus.add_good()
        extract(corpus.folder, "full.h5")
        extract(corpus.folder, "half.h5", dtype="float16")
        with (
            melcli.open(extract.path("full.h5")) as full,
            melcli.open(extract.path("half.h5")) as half,
        ):
            for name, mel in half.items():
                assert mel.dtype == np.float16
                assert np.array_equal(mel, full[name].astype(np.float16))

    def test_channels_and_chunks(self, corpus: Corpus, extract: Extract) -> None:
        """One input may become many items; it is one input all the same."""
        corpus.add("a.wav", 0.3, n_channels=2)
        config = presets.load("whisper-80").config.updated(
            {"wave.fix_samples": 3200, "wave.channels": "each"}
        )
        report = extract(corpus.folder, config=config, long="chunks")
        assert (report.inputs, report.done, report.items) == (1, 1, 4)
        with melcli.open(extract.path("x.h5")) as output:
            assert list(output) == ["a.wav#0@0", "a.wav#0@1", "a.wav#1@0", "a.wav#1@1"]
        assert extract(corpus.folder, config=config, long="chunks").already == 1

    def test_gpu(self, corpus: Corpus, extract: Extract, device: str) -> None:
        """Each device gives the CPU's mel to the tolerance of float32 arithmetic."""
        ids = corpus.add_good()
        extract(corpus.folder, "cpu.h5", run=RunConfig(device="cpu"))
        extract(corpus.folder, run=RunConfig(device=device))
        with melcli.open(extract.path("x.h5")) as ours, melcli.open(extract.path("cpu.h5")) as cpu:
            for name in ids:
                # In decibels: 1e-3 is a relative error of 2e-4 in power, near the floor of 80 dB.
                np.testing.assert_allclose(ours[name], cpu[name], atol=1e-3)


CUT = ["1cut.wav", "2cut.flac", "3cut.ogg", "4cut.mp3"]


class TestBad:
    """Each bad file fails with its cause and remedy, and takes nothing else with it."""

    @pytest.mark.parametrize("name", OUTPUTS)
    def test_the_others_are_intact(self, corpus: Corpus, extract: Extract, name: str) -> None:
        """Among bad files of every kind, the good ones give what they give alone."""
        corpus.add_good()
        extract(corpus.folder, f"good-{name}")
        for bad in CUT:
            corpus.cut(bad)
        corpus.add_bytes("0text.wav", b"this is text, not audio")
        corpus.add_samples("a/zero.wav", np.zeros((0, 1)))
        corpus.add_samples("a/nan.wav", np.full((900, 1), np.nan), subtype="FLOAT")
        corpus.add_bytes("talk.m4a", b"\0\0\0\x20ftypM4A ")
        report = extract(corpus.folder, name)
        assert (report.done, report.failed, report.exit_code) == (5, 8, 1)
        assert mels_of(extract.path(name)) == mels_of(extract.path(f"good-{name}"))
        with melcli.open(extract.path(name)) as output:
            assert {failed.id: failed.cause for failed in output.failures} == extract.ledger.causes
            assert all(failed.remedy for failed in output.failures)

    @pytest.mark.parametrize("name", CUT)
    def test_cut_in_the_middle(self, corpus: Corpus, extract: Extract, name: str) -> None:
        """Half a file is no recording, whatever its format."""
        corpus.cut(name)
        corpus.add("good.wav")
        report = extract(corpus.folder)
        assert (report.done, report.failed) == (1, 1)
        assert "is cut short" in extract.ledger.causes[name]
        assert "fetch or convert it again" in str(extract.ledger.remedies[name])

    def test_header_that_promises_more(self, corpus: Corpus, extract: Extract) -> None:
        """A WAV whose header counts more than the file holds fails, with both lengths."""
        path = corpus.add("a.wav", 1.0)
        data = bytearray(path.read_bytes())
        at = data.index(b"data") + 4
        data[at : at + 4] = (320_000).to_bytes(4, "little")
        path.write_bytes(data)
        assert extract(corpus.folder).failed == 1
        assert extract.ledger.causes["a.wav"] == (
            "is cut short: the header promises 10.00 s, the file holds 1.00 s"
        )

    @pytest.mark.parametrize(
        ("samples", "cause"),
        [
            (np.zeros((0, 1)), "holds no samples"),
            (
                np.full((900, 1), np.inf),
                "holds 900 samples that are NaN or infinite, from sample 0 on",
            ),
        ],
    )
    def test_samples(
        self, corpus: Corpus, extract: Extract, samples: np.ndarray[Any, Any], cause: str
    ) -> None:
        """No samples, or samples that are no numbers, are no row of an output."""
        corpus.add_samples("a.wav", samples, subtype="FLOAT")
        assert extract(corpus.folder).failed == 1
        assert extract.ledger.causes["a.wav"] == cause
        assert mels_of(extract.path("x.h5")) == {}

    def test_text(self, corpus: Corpus, extract: Extract) -> None:
        """A text file named ``.wav`` is told to be no audio, an empty one to be empty."""
        corpus.add_bytes("a.wav", b"this is text, not audio")
        corpus.add_bytes("b.wav", b"")
        assert extract(corpus.folder).failed == 2
        assert extract.ledger.causes["a.wav"].startswith("is not audio that libsndfile can read")
        assert extract.ledger.causes["b.wav"] == "is empty"

    def test_foreign(self, corpus: Corpus, extract: Extract) -> None:
        """Audio of a format that only ffmpeg reads fails with the line that converts it."""
        path = corpus.add_bytes("a talk.m4a", b"\0\0\0\x20ftypM4A \0\0\0\0")
        assert extract(corpus.folder).failed == 1
        assert "MPEG-4 audio, which libsndfile cannot read" in extract.ledger.causes["a talk.m4a"]
        expected = f"ffmpeg -i '{path}' '{path.with_suffix('.flac')}'"
        assert extract.ledger.remedies["a talk.m4a"] == expected

    def test_broken_link(self, corpus: Corpus, extract: Extract) -> None:
        """A link to nothing fails as one."""
        corpus.add("b.wav")
        (corpus.folder / "a.wav").symlink_to("nothing.wav")
        assert extract(corpus.folder).failed == 1
        assert extract.ledger.causes["a.wav"] == "is a link to a file that does not exist"

    def test_name_that_is_not_utf8(self, corpus: Corpus, extract: Extract) -> None:
        """A name that is no UTF-8 is no hindrance, in any kind of output."""
        path = corpus.add("a.wav")
        path.rename(os.fsdecode(bytes(corpus.folder) + b"/caf\xe9 50%.wav"))
        for name in OUTPUTS:
            assert extract(corpus.folder, name).done == 1
            assert ids_of(extract.path(name)) == ["caf%E9 50%25.wav"]
            assert extract(corpus.folder, name).already == 1

    def test_odd_names(self, corpus: Corpus, extract: Extract) -> None:
        """Spaces, line breaks, quotes, a dash, a dot in a folder: all are names."""
        names = ["-a.wav", "a\nb.wav", "a b.wav", "d.wav/e.wav", "größe.wav", 'it\'s "x".wav']
        for name in names:
            corpus.add(name)
        for output in OUTPUTS:
            assert extract(corpus.folder, output).done == len(names)
            assert ids_of(extract.path(output)) == names

    def test_gone_while_running(self, corpus: Corpus, extract: Extract) -> None:
        """A file that is gone when its turn comes fails, and no more."""
        corpus.add("a.wav")
        corpus.add("b.wav")

        class Remover(Ledger):
            def started(self, report: Report) -> None:  # noqa: ARG002
                (corpus.folder / "a.wav").unlink()

        ledger = Remover()
        report = melcli.extract(corpus.folder, extract.path("x.h5"), listener=ledger)
        assert (report.done, report.failed) == (1, 1)
        assert ledger.causes == {"a.wav": "does not exist"}

    @pytest.mark.parametrize("fork_bytes", [0, 1 << 40])
    def test_changed_since_it_was_planned(
        self, corpus: Corpus, extract: Extract, monkeypatch: pytest.MonkeyPatch, fork_bytes: int
    ) -> None:
        """A file that was replaced before its turn came is what it is then, in the books too."""
        monkeypatch.setattr(loop, "FORK_BYTES", fork_bytes)
        corpus.add("a.wav")
        corpus.cut("b.wav")

        class Replacer(Ledger):
            def started(self, report: Report) -> None:  # noqa: ARG002
                corpus.add("a.wav", 0.5)
                corpus.add("b.wav", 0.4)

        report = melcli.extract(corpus.folder, extract.path("x.h5"), listener=Replacer())
        assert (report.done, report.failed) == (2, 0)
        assert extract(corpus.folder).already == 2
        extract(corpus.folder, "other.h5")
        assert mels_of(extract.path("x.h5")) == mels_of(extract.path("other.h5"))

    def test_changing_all_the_time(
        self, corpus: Corpus, extract: Extract, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A file that somebody writes to meanwhile fails, and is read once it is at rest."""
        corpus.add("a.wav")
        corpus.add("b.wav")
        read = reading.AudioReader.read
        times = iter(range(1, 100))

        def write_and_read(reader: Any, *args: Any) -> Any:
            if b"b.wav" in os.fsencode(reader._source.name):
                os.utime(corpus.folder / "b.wav", (1, next(times)))
            return read(reader, *args)

        with monkeypatch.context() as patch:
            patch.setattr(reading.AudioReader, "read", write_and_read)
            assert extract(corpus.folder).failed == 1
            assert extract.ledger.causes == {"b.wav": "is being written while it is read"}
            assert (extract(corpus.folder).already, extract(corpus.folder).failed) == (1, 1)
        corpus.add("b.wav", 0.3)
        report = extract(corpus.folder)
        assert (report.done, report.already, report.failed) == (1, 1, 0)

    @pytest.mark.parametrize("name", OUTPUTS)
    def test_float16_overflow(self, corpus: Corpus, extract: Extract, name: str) -> None:
        """A mel that float16 cannot hold fails with its largest value; a quiet one is stored."""
        config = presets.load("librosa").config.updated(
            {
                "log.log": "none", "log.log_mult": 1.0, "log.floor_mode": "none", "log.floor": 0.0,
                "log.range_ref": "none", "log.range_width": 0, "wave.wave_gain": 50.0,
            }
        )  # fmt: skip
        corpus.add("loud.wav", 0.5)
        corpus.add_samples("quiet.wav", corpus.samples("q", 0.5) / 1000)
        report = extract(corpus.folder, name, config, dtype="float16")
        assert (report.done, report.failed) == (1, 1)
        cause = extract.ledger.causes["loud.wav"]
        assert cause.startswith("its mel reaches ")
        assert cause.endswith("float16 ends at 65504")
        assert extract.ledger.remedies["loud.wav"] == "--dtype float32"
        assert ids_of(extract.path(name)) == ["quiet.wav"]
        assert extract(corpus.folder, f"full-{name}", config).failed == 0

    def test_mel_that_is_not_finite(self, corpus: Corpus, extract: Extract) -> None:
        """Samples so large that their power is infinite are a failure, not a row of infinities."""
        samples = np.full((2000, 1), 1e30, np.float32)
        corpus.add_samples("a.wav", samples, subtype="FLOAT")
        config = presets.load("librosa").config
        assert extract(corpus.folder, config=config).failed == 1
        assert "its mel holds NaN or infinite values" in extract.ledger.causes["a.wav"]

    def test_a_thousand_channels(
        self, corpus: Corpus, extract: Extract, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A small file of many channels, each filled to half a minute, is computed in groups."""
        corpus.add("a.wav", 0.01, n_channels=60)
        groups: list[int] = []
        rows = Engine.rows

        def noted(engine: Engine, waveforms: Sequence[torch.Tensor]) -> list[torch.Tensor | None]:
            groups.append(len(waveforms))
            return rows(engine, waveforms)

        config = presets.load("whisper-80").config.updated({"wave.channels": "each"})
        with monkeypatch.context() as patch:
            patch.setattr(Engine, "rows", noted)
            assert extract(corpus.folder, config=config).done == 1
            assert (sum(groups), max(groups) <= 35) == (60, True)  # 64 MB of 480,000 samples
            patch.setattr(worker, "_TOGETHER_BYTES", 1)
            extract(corpus.folder, "other.h5", config)
        assert mels_of(extract.path("x.h5")) == mels_of(extract.path("other.h5"))

    def test_strict(self, corpus: Corpus, extract: Extract) -> None:
        """``strict`` stops at the first failure; what was done is kept, and no output is there."""
        corpus.add("a.wav")
        corpus.add_bytes("b.wav", b"text")
        corpus.add("c.wav")
        report = extract(corpus.folder, run=RunConfig(strict=True))
        assert (report.done, report.failed, report.left, report.exit_code) == (1, 1, 1, 1)
        assert report.stopped.startswith(
            "1 failed, and --strict says to stop; what is done is kept"
        )
        assert not extract.path("x.h5").exists()
        corpus.add("b.wav")
        report = extract(corpus.folder, run=RunConfig(strict=True))
        assert (report.done, report.already, report.failed) == (2, 1, 0)

    @pytest.mark.parametrize(
        ("limit", "stops"), [("0", True), ("2", True), ("3", False), ("49%", True), ("50%", False)]
    )
    def test_max_failures(self, corpus: Corpus, extract: Extract, limit: str, stops: bool) -> None:  # noqa: FBT001
        """A run stops when more fail than the number, or the share, that is allowed."""
        for name in "abc":
            corpus.add_bytes(f"{name}.wav", b"text")
            corpus.add(f"{name}.flac")
        report = extract(corpus.folder, run=RunConfig(max_failures=limit))
        assert bool(report.stopped) == stops
        assert extract.path("x.h5").exists() != stops
        assert report.exit_code == 1


class TestWrongCalls:
    """What is refused before any work, and leaves nothing behind."""

    @pytest.mark.parametrize(
        ("output", "words", "remedy"),
        [
            ("mels", "is neither an .h5 file nor a folder", "mels.h5, or .*mels/ for a folder"),
            ("mels.npy", "is one .npy file, and an output holds many", "-o - > .*mels.npy for one"),
            ("folder.h5", "is a folder named like an HDF5 file", "choose another name"),
        ],
    )
    def test_output(
        self, corpus: Corpus, tmp_path: Path, output: str, words: str, remedy: str
    ) -> None:
        """An output that is neither an ``.h5`` file nor a folder is told what it could be."""
        import re

        corpus.add("a.wav")
        (tmp_path / "folder.h5").mkdir()
        with pytest.raises(UsageError, match=words) as raised:
            melcli.extract(corpus.folder, tmp_path / output)
        assert re.search(remedy, str(raised.value.remedy))
        assert sorted(path.name for path in tmp_path.iterdir()) == ["corpus", "folder.h5"]

    @pytest.mark.parametrize("device_name", ["cuda:99", "cuda:x", "mps", "gpu"])
    def test_device(self, corpus: Corpus, tmp_path: Path, device_name: str) -> None:
        """A device that is not there is told, with one that is."""
        corpus.add("a.wav")
        with pytest.raises(DeviceError, match=f"--device {device_name}: ") as raised:
            melcli.extract(corpus.folder, tmp_path / "x.h5", run=RunConfig(device=device_name))
        assert "cpu" in str(raised.value.remedy)
        assert not (tmp_path / "x.h5").exists()

    def test_run_settings(self) -> None:
        """Settings of a run are checked when they are made."""
        for wrong in (
            {"workers": 0},
            {"memory": 1},
            {"max_failures": "few"},
            {"max_failures": "101%"},
        ):
            with pytest.raises(UsageError):
                RunConfig(**wrong)

    def test_config_and_inputs(self, corpus: Corpus, tmp_path: Path) -> None:
        """A front end that is not there, and inputs that are not, are errors of their kind."""
        with pytest.raises(NoInputError):
            melcli.extract(corpus.folder, tmp_path / "x.h5")
        corpus.add("a.wav")
        with pytest.raises(ConfigError, match="no front end named librossa"):
            melcli.extract(corpus.folder, tmp_path / "x.h5", "librossa")

    @pytest.mark.parametrize("overwrite", [False, True])
    def test_not_an_output(self, corpus: Corpus, tmp_path: Path, overwrite: bool) -> None:  # noqa: FBT001
        """A file that melcli did not make is never replaced."""
        corpus.add("a.wav")
        (tmp_path / "x.h5").write_bytes(b"my thesis")
        with pytest.raises(StoreError, match="is not an output of melcli"):
            melcli.extract(corpus.folder, tmp_path / "x.h5", out=OutputConfig(overwrite=overwrite))
        assert (tmp_path / "x.h5").read_bytes() == b"my thesis"

    @pytest.mark.parametrize("overwrite", [False, True])
    def test_not_our_npy(self, corpus: Corpus, tmp_path: Path, overwrite: bool) -> None:  # noqa: FBT001
        """Nor is an array of someone else in the folder."""
        corpus.add("a.wav")
        (tmp_path / "out").mkdir()
        (tmp_path / "out/a.npy").write_bytes(b"my array")
        with pytest.raises(StoreError, match="melcli did not make it"):
            melcli.extract(corpus.folder, tmp_path / "out", out=OutputConfig(overwrite=overwrite))
        assert (tmp_path / "out/a.npy").read_bytes() == b"my array"


@pytest.fixture(scope="module")
def recordings(tmp_path_factory: pytest.TempPathFactory, new_corpus: type[Corpus]) -> Path:
    """Recordings of many lengths, rates and channels; one of them fails."""
    corpus = new_corpus(tmp_path_factory.mktemp("recordings"))
    for k, seconds in enumerate((0.1, 1.3, 0.2, 0.05, 0.7, 0.11, 0.4)):
        corpus.add(f"{k}.wav", seconds, (16_000, 22_050)[k % 2], 1 + k % 3)
    corpus.add("x/7.flac", 0.3)
    corpus.add("x/8.ogg", 0.3)
    corpus.add_bytes("x/9.wav", b"text")
    return corpus.folder


@pytest.fixture(scope="module")
def expected(recordings: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What one worker makes of them in one batch."""
    path = tmp_path_factory.mktemp("expected") / "x.h5"
    with pytest.MonkeyPatch.context() as patch:
        freeze(patch)
        melcli.extract(recordings, path, run=RunConfig(workers=1), command="test")
    return path


@pytest.mark.usefixtures("frozen")
class TestDeterminism:
    """The same bytes, whatever the batches, the order, the workers and the memory."""

    @settings(max_examples=25, deadline=None)
    @given(
        batch_bytes=st.sampled_from([1, 20_000, 100_000, 4 << 20]),
        batch_inputs=st.integers(1, 10),
        segment_bytes=st.sampled_from([1, 100_000, 128 << 20]),
        workers=st.integers(1, 4),
        memory=st.sampled_from([64 << 20, 1 << 30]),
        fork_bytes=st.sampled_from([0, 1 << 40]),
    )
    def test_batches(
        self, recordings: Path, expected: Path, tmp_path_factory: pytest.TempPathFactory, *,
        batch_bytes: int, batch_inputs: int, segment_bytes: int, workers: int, memory: int,
        fork_bytes: int,
    ) -> None:  # fmt: skip
        """Any batches, segments, workers and memory give the same file, byte for byte."""
        path = tmp_path_factory.mktemp("batches") / "x.h5"
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(batching, "BATCH_BYTES", batch_bytes)
            patch.setattr(batching, "BATCH_INPUTS", batch_inputs)
            patch.setattr(batching, "SEGMENT_BYTES", segment_bytes)
            patch.setattr(loop, "FORK_BYTES", fork_bytes)
            freeze(patch)
            run = RunConfig(workers=workers, memory=memory)
            melcli.extract(recordings, path, run=run, command="test")
        assert path.read_bytes() == expected.read_bytes()

    @settings(max_examples=10, deadline=None)
    @given(order=st.permutations(range(10)))
    def test_order(
        self, recordings: Path, expected: Path, tmp_path_factory: pytest.TempPathFactory,
        order: list[int],
    ) -> None:  # fmt: skip
        """In any order, and in any company, an input gives the same mel."""
        path = tmp_path_factory.mktemp("order") / "x.h5"
        names = sorted(str(file) for file in recordings.rglob("*.*"))
        paths = tuple(names[k] for k in order)
        melcli.extract(Selection(paths=paths, root=recordings), path)
        assert mels_of(path) == mels_of(expected)
        alone = path.with_name("alone.h5")
        melcli.extract(Selection(paths=paths[:1], root=recordings), alone)
        assert mels_of(alone).items() <= mels_of(expected).items()

    @pytest.mark.parametrize("name", OUTPUTS)
    def test_segments_of_one(
        self, recordings: Path, extract: Extract, monkeypatch: pytest.MonkeyPatch,
        read_output: ReadOutput, name: str,
    ) -> None:  # fmt: skip
        """Every kind of output is the same in one segment and in many."""
        extract(recordings, f"many/{name}" if name.endswith("/") else name)
        monkeypatch.setattr(batching, "BATCH_INPUTS", 1)
        monkeypatch.setattr(batching, "SEGMENT_INPUTS", 1)
        other = Extract(extract.folder / "other")
        other(recordings, name)
        first = extract.path(f"many/{name}" if name.endswith("/") else name)
        assert read_output(first) == read_output(other.path(name))

    def test_extended_is_the_same(self, recordings: Path, expected: Path, extract: Extract) -> None:
        """An output made in two goes holds the mels of one made at once, in the same order."""
        extract(Selection(paths=(recordings,), include=("x",)))
        extract(recordings)
        assert mels_of(extract.path("x.h5")) == mels_of(expected)
        with melcli.open(extract.path("x.h5")) as output, melcli.open(expected) as at_once:
            assert list(output) == list(at_once)


@pytest.mark.parametrize("name", OUTPUTS)
class TestExtending:
    """The same command again: what is good stays, what is new or changed is computed."""

    @pytest.fixture
    def stamp(self, extract: Extract, name: str) -> Any:
        """A function that tells when each file of the output was last touched."""

        def stamp() -> dict[str, tuple[int, int]]:
            path = extract.path(name)
            files = [path] if path.is_file() else sorted(path.rglob("*"))
            return {str(file): (file.stat().st_mtime_ns, file.stat().st_ino) for file in files}

        return stamp

    def test_nothing_new(self, corpus: Corpus, extract: Extract, name: str, stamp: Any) -> None:
        """With nothing new the output is not touched, and all is done already."""
        corpus.add_good()
        extract(corpus.folder, name)
        before = stamp()
        report = extract(corpus.folder, name)
        assert (report.done, report.already, report.exit_code) == (0, 5, 0)
        assert stamp() == before

    def test_nothing_new_with_failures(
        self, corpus: Corpus, extract: Extract, name: str, stamp: Any
    ) -> None:
        """A finished output with failures is not touched either, but is still no success."""
        corpus.add("a.wav")
        corpus.add_bytes("b.wav", b"text")
        extract(corpus.folder, name)
        before = stamp()
        report = extract(corpus.folder, name)
        assert (report.already, report.failed, report.exit_code) == (1, 1, 1)
        assert extract.ledger.causes["b.wav"].startswith("is not audio")
        assert stamp() == before

    def test_new_file(self, corpus: Corpus, extract: Extract, name: str) -> None:
        """A new file is added in plan order; the others are not computed again."""
        corpus.add("b.wav")
        extract(corpus.folder, name)
        corpus.add("a.wav")
        report = extract(corpus.folder, name)
        assert (report.done, report.already) == (1, 1)
        assert sorted(extract.ledger.lines) == [("a.wav", "done"), ("b.wav", "already done")]
        assert ids_of(extract.path(name)) == ["a.wav", "b.wav"]

    @pytest.mark.parametrize("change", ["size", "time", "content"])
    def test_changed_file(self, corpus: Corpus, extract: Extract, name: str, change: str) -> None:
        """A file of another size or time is computed again, and its old mel is gone."""
        path = corpus.add("a.wav")
        corpus.add("b.wav")
        extract(corpus.folder, name)
        before, status = mels_of(extract.path(name)), path.stat()
        if change == "size":
            corpus.add("a.wav", 0.5)
            os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
        else:
            if change == "content":
                corpus.add_samples("a.wav", corpus.samples("another"))
            os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns + 1))
        report = extract(corpus.folder, name)
        assert (report.done, report.already) == (1, 1)
        after = mels_of(extract.path(name))
        assert after["b.wav"] == before["b.wav"]
        assert (after["a.wav"] == before["a.wav"]) == (change == "time")
        assert extract(corpus.folder, name).already == 2

    def test_removed_file(self, corpus: Corpus, extract: Extract, name: str, stamp: Any) -> None:
        """A file that is gone stays in the output beside the inputs, and that is told."""
        corpus.add("b.wav")
        path = corpus.add("a.wav")
        extract(corpus.folder, name)
        before = mels_of(extract.path(name)), stamp()
        path.unlink()
        report = extract(corpus.folder, name)
        assert (report.inputs, report.already, report.kept_beside) == (1, 1, 1)
        assert "kept 1 of an earlier run" in str(report)
        assert (mels_of(extract.path(name)), stamp()) == before
        corpus.add("c.wav")
        report = extract(corpus.folder, name)
        assert (report.done, report.already, report.kept_beside) == (1, 1, 1)
        assert ids_of(extract.path(name)) == ["b.wav", "c.wav", "a.wav"]

    def test_changed_for_the_worse(self, corpus: Corpus, extract: Extract, name: str) -> None:
        """A file that can be used no more loses its old mel, which was of something else."""
        path = corpus.add("a.wav")
        extract(corpus.folder, name)
        path.write_bytes(b"text")
        assert extract(corpus.folder, name).failed == 1
        with melcli.open(extract.path(name)) as output:
            assert list(output) == []
            assert [failed.id for failed in output.failures] == ["a.wav"]

    def test_retry_failed(self, corpus: Corpus, extract: Extract, name: str) -> None:
        """What failed is tried again only if it is asked for, or if the file was changed."""
        path = corpus.add("b.wav")
        good, status = path.read_bytes(), path.stat()
        path.write_bytes(b"x" * len(good))
        os.utime(path, ns=(0, status.st_mtime_ns))
        corpus.add("a.wav")
        extract(corpus.folder, name)
        path.write_bytes(good)
        os.utime(path, ns=(0, status.st_mtime_ns))
        report = extract(corpus.folder, name)
        assert (report.already, report.failed) == (1, 1)
        report = extract(corpus.folder, name, retry_failed=True)
        assert (report.done, report.already, report.failed) == (1, 1, 0)
        with melcli.open(extract.path(name)) as output:
            assert (list(output), output.failures) == (["a.wav", "b.wav"], [])

    def test_retry_fails_again(self, corpus: Corpus, extract: Extract, name: str) -> None:
        """What fails again is counted once."""
        corpus.add("a.wav")
        corpus.add_bytes("b.wav", b"text")
        extract(corpus.folder, name)
        report = extract(corpus.folder, name, retry_failed=True)
        assert (report.already, report.failed) == (1, 1)
        with melcli.open(extract.path(name)) as output:
            assert len(output.failures) == 1

    def test_other_settings(self, corpus: Corpus, extract: Extract, name: str, stamp: Any) -> None:
        """Other settings are refused with what differs, and the output is not touched."""
        corpus.add("a.wav")
        extract(corpus.folder, name)
        before = stamp()
        other = presets.load("librosa").config.updated({"mel.n_mels": 64})
        with pytest.raises(
            StoreError, match=r"mel\.n_mels: 128 in the output, 64 asked for"
        ) as raised:
            extract(corpus.folder, name, other)
        assert "--overwrite" in str(raised.value.remedy)
        with pytest.raises(StoreError, match="dtype: float32 in the output, float16 asked for"):
            extract(corpus.folder, name, dtype="float16")
        assert stamp() == before

    def test_overwrite(self, corpus: Corpus, extract: Extract, name: str) -> None:
        """``overwrite`` makes all anew, with the settings asked for."""
        corpus.add_good()
        extract(corpus.folder, name)
        other = presets.load("librosa").config.updated({"mel.n_mels": 64})
        shutil.rmtree(corpus.folder / "a")
        report = extract(corpus.folder, name, other, overwrite=True)
        assert (report.done, report.already, report.kept_beside) == (3, 0, 0)
        with melcli.open(extract.path(name)) as output:
            assert list(output) == ["b.ogg", "c.mp3", "d.opus"]
            assert all(mel.shape[0] == 64 for mel in output.values())
        assert not list(extract.folder.rglob("*partial*"))

    def test_overwrite_keeps_the_old_one(
        self, corpus: Corpus, extract: Extract, name: str, read_output: ReadOutput
    ) -> None:
        """Until the new output is complete, the old one is there and whole."""
        corpus.add_good()
        extract(corpus.folder, name)
        before = mels_of(extract.path(name))
        corpus.add_bytes("bad.wav", b"text")
        other = presets.load("librosa").config.updated({"mel.n_mels": 64})
        stopped = extract(corpus.folder, name, other, overwrite=True, run=RunConfig(strict=True))
        assert stopped.stopped
        assert mels_of(extract.path(name)) == before
        report = extract(corpus.folder, name, other, overwrite=True)
        assert (report.already + report.done, report.failed) == (5, 1)
        fresh = Extract(extract.folder / "fresh")
        fresh(corpus.folder, name, other)
        assert read_output(extract.path(name)) == read_output(fresh.path(name))

    def test_another_machine(
        self, corpus: Corpus, extract: Extract, name: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Rows of another machine are not mixed with ours unless that was accepted."""
        corpus.add("a.wav")
        with monkeypatch.context() as patch:
            patch.setattr(run_module, "machine_record", lambda _device: {"torch": "1.0"})
            extract(corpus.folder, name)
        assert extract(corpus.folder, name).already == 1  # nothing new: nothing to mix
        corpus.add("b.wav")
        with pytest.raises(StoreError, match=r"torch: 1\.0 in the output") as raised:
            extract(corpus.folder, name)
        assert "--accept-different-machine" in str(raised.value.remedy)
        assert extract(corpus.folder, name, accept_different_machine=True).done == 1


class TestAsALibrary:
    """``melcli.extract`` leaves the process as it found it."""

    @pytest.fixture(autouse=True)
    def threads(self) -> Iterator[None]:
        """A number of threads that is not melcli's."""
        before = torch.get_num_threads()
        torch.set_num_threads(2)
        yield
        torch.set_num_threads(before)

    def state(self) -> tuple[Any, ...]:
        """What a run could leave changed."""
        signals = (signal.SIGINT, signal.SIGTERM, signal.SIGPIPE)
        names = {thread.name for thread in threading.enumerate()}
        return (
            torch.get_num_threads(),
            torch.is_grad_enabled(),
            torch.is_inference_mode_enabled(),
            [signal.getsignal(number) for number in signals],
            Path.cwd(),
            {name for name in names if name.startswith("melcli")},
        )

    def test_done(self, corpus: Corpus, extract: Extract) -> None:
        """Threads of torch, signals, gradients and the working folder are as they were."""
        corpus.add_good()
        before = self.state()
        extract(corpus.folder)
        assert self.state() == before

    def test_raised(self, corpus: Corpus, extract: Extract) -> None:
        """Also when the run raised in its midst, whatever raised."""
        corpus.add_good()
        before = self.state()

        class Faulty(Ledger):
            def happened(self, *_args: object) -> None:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            melcli.extract(corpus.folder, extract.path("x.h5"), listener=Faulty())
        assert self.state() == before
        assert extract(corpus.folder).exit_code == 0

    def test_within_a_thread(self, corpus: Corpus, extract: Extract) -> None:
        """It may be called from any thread: signals are left alone."""
        corpus.add("a.wav")
        reports: list[Report] = []
        thread = threading.Thread(target=lambda: reports.append(extract(corpus.folder)))
        thread.start()
        thread.join()
        assert reports[0].done == 1

    def test_silent(
        self, corpus: Corpus, extract: Extract, capfd: pytest.CaptureFixture[str]
    ) -> None:
        """The library prints nothing."""
        corpus.add("a.wav")
        corpus.add_bytes("b.wav", b"text")
        extract(corpus.folder)
        assert capfd.readouterr() == ("", "")

    @pytest.mark.parametrize("kind", [str, Path, list, tuple])
    def test_inputs(self, corpus: Corpus, extract: Extract, kind: type) -> None:
        """Inputs may be one path or several, text or path."""
        corpus.add("a.wav")
        text = str(corpus.folder)
        assert (
            extract([text] if kind is list else (text,) if kind is tuple else kind(text)).done == 1
        )

    def test_one_writer(self, corpus: Corpus, extract: Extract) -> None:
        """Two runs cannot write one output at the same time: the second is told who writes."""
        corpus.add("a.wav")
        told = []

        class Second(Ledger):
            def started(self, report: Report) -> None:  # noqa: ARG002
                with pytest.raises(StoreError, match="another melcli is writing") as raised:
                    melcli.extract(corpus.folder, extract.path("x.h5"))
                told.append(raised.value.remedy)

        melcli.extract(corpus.folder, extract.path("x.h5"), listener=Second())
        assert told == ["wait for it to end, or choose another -o"]
