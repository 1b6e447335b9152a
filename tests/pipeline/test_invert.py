"""Mels to spectra: every kind of input, the same bytes by every way, each failure by itself."""

from __future__ import annotations

import io
import sys
from dataclasses import replace
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

import melcli
from melcli import InvertConfig, OutputConfig, RunConfig, Selection, presets
from melcli.dsp.frontend import FrontEnd
from melcli.dsp.mel import config_filterbank
from melcli.errors import ConfigError, FeatureError, NoInputError, StoreError, UsageError
from melcli.pipeline import batching, inverting, loop
from melcli.pipeline.fit import fit_scaler
from melcli.pipeline.invert import invert, invert_to_stream
from melcli.scaler import files
from melcli.statistics.normalize import Normalization
from melcli.store.merge import merge
from melcli.store.shards import Shard

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from melcli.config import MelConfig
    from melcli.pipeline.report import Report
    from tests.conftest import Corpus, ReadOutput

SMALL = presets.load("hifigan-22k").config.updated(
    {"wave.sample_rate": 16_000, "frame.n_fft": 256, "frame.hop_length": 64}
)
SMALL = replace(SMALL.updated({"frame.win_length": 256, "mel.n_mels": 20}), name="small")
BANK = config_filterbank(SMALL).double().numpy()
LAYOUTS: dict[str, Any] = {"x.h5": {}, "tree.h5": {"store_layout": "tree"}, "npy/": {}}


def rows_of(path: Path) -> dict[str, np.ndarray]:
    """The rows of every item, rows first."""
    with melcli.open(path) as output:
        return {name: output.reader.read(name) for name in output}


def certificates(path: Path) -> dict[str, tuple[float, int, int]]:
    """Residual, steps and clipped numbers of every item."""
    with melcli.open(path) as output:
        columns = [output.reader.certificates[k] for k in ("residual", "n_steps", "n_clipped")]
        return dict(zip(output, zip(*(c.tolist() for c in columns), strict=True), strict=True))


@pytest.fixture
def mels(corpus: Corpus, tmp_path: Path) -> Callable[..., Path]:
    """A function that extracts good recordings and one that fails."""
    corpus.add_good()
    corpus.add_bytes("z.wav", b"text, and no audio")

    def extract(name: str = "mels.h5", config: MelConfig = SMALL, **options: Any) -> Path:
        melcli.extract(corpus.folder, f"{tmp_path}/{name}", config, **options)
        return tmp_path / name

    return extract


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("source", ["mels.h5", "mels/"])
def test_spectra_have_the_mels(
    source: str, layout: str, mels: Callable[..., Path], tmp_path: Path
) -> None:
    """In every kind of output: frames by bins, never negative, with the mel, and certified."""
    features = mels(source)
    out = OutputConfig(**LAYOUTS[layout])
    report = invert(features, f"{tmp_path}/{layout}", out=out)
    assert (report.done, report.failed, report.exit_code) == (5, 1, 1)
    [(name, failed)] = report.failures
    assert (name, failed.cause[:24]) == ("z.wav", "could not be extracted: ")
    spectra, told = rows_of(tmp_path / layout), certificates(tmp_path / layout)
    for name, logs in rows_of(features).items():
        spectrum, mel = spectra[name].astype(float), np.exp(logs.astype(float))
        assert spectrum.shape == (len(mel), 129)
        assert (spectrum >= 0).all()
        residual = np.linalg.norm(spectrum @ BANK.T - mel) / np.linalg.norm(mel)
        assert residual <= 1.1e-5
        assert told[name][0] == pytest.approx(residual, abs=1e-6)
        assert told[name][2] == (mel <= 1e-5 * (1 + 1e-5)).sum()
    assert report.worst is not None
    assert report.worst.residual == max(residual for residual, _, _ in told.values())
    with melcli.open(tmp_path / layout) as output:
        assert output.header.content == "spectrogram"
        assert output.header.row_labels == ("frame", "frequency")
        assert output.header.settings["power"] == "1"
        assert output.header.config_digest == SMALL.digest
        assert output["b.ogg"].shape == (129, len(spectra["b.ogg"]))


def test_near_the_truth(corpus: Corpus, tmp_path: Path) -> None:
    """The spectrum is that of the recording, to a few decibels."""
    corpus.add("a.wav", 1.0)
    melcli.extract(corpus.folder, tmp_path / "m.h5", SMALL)
    invert(tmp_path / "m.h5", tmp_path / "s.h5")
    [found] = rows_of(tmp_path / "s.h5").values()
    samples = torch.from_numpy(corpus.samples("a.wav", 1.0)[:, 0])
    codes = (samples * 32768).round() / 32768
    padded = torch.nn.functional.pad(codes[None], (96, 96), mode="reflect")[0]
    window = torch.hann_window(256)
    true = torch.stft(padded, 256, 64, window=window, center=False, return_complex=True).abs()
    apart = 20 * np.log10(np.maximum(found, 1e-3) / np.maximum(true.T.numpy(), 1e-3))
    assert true.shape[1] == len(found)
    assert np.median(np.abs(apart[:, 1:-1])) < 6.0


CHANGES: dict[str, dict[str, Any]] = {
    "stacks": {"out.stack": 3, "out.stack_stride": 2, "out.stack_pad": "lfr"},
    "patches": {"out.patch_frames": 6, "out.patch_hop": 6},
    "time first": {"out.layout": "time_mel"},
    "scaled": {"scale.shift": -4.0, "scale.scale": 3.0},
    "power": {"spec.power": 2.0, "log.log": "log10", "log.log_mult": 10.0, "log.floor": 1e-10},
    "filled": {"wave.fix_samples": 8000},
    "filled frames": {"out.fix_frames": 200},
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("source", ["mels.h5", "mels/"])
def test_front_ends(change: str, source: str, mels: Callable[..., Path], tmp_path: Path) -> None:
    """Whatever came behind the filterbank is undone, and frames lie where they were."""
    config = SMALL.updated(CHANGES[change])
    plain = SMALL.updated(
        {"log.log": "none", "log.floor_mode": "none", "log.floor": 0.0}
        | {key: value for key, value in CHANGES[change].items() if key[:4] in {"spec", "wave"}}
    )
    features, known = mels(source, config), mels("plain.h5", plain)
    invert(features, tmp_path / "s.h5")
    spectra = rows_of(tmp_path / "s.h5")
    for name, mel in rows_of(known).items():
        found = spectra[name].astype(float) @ BANK.T
        if change == "patches":
            assert len(found) == len(mel) // 6 * 6
        else:
            assert len(found) == len(mel)
        floor = 1e-10 if change == "power" else 1e-5
        lifted = np.maximum(mel[: len(found)].astype(float), floor)
        apart = np.linalg.norm(found - lifted) / np.linalg.norm(lifted)
        assert apart < 3e-5


def test_frames_that_are_lost_are_noted(mels: Callable[..., Path], tmp_path: Path) -> None:
    """By item, and counted."""
    features = mels("m.h5", SMALL.updated({"out.patch_frames": 6, "out.patch_hop": 6}))
    report = invert(features, tmp_path / "s.h5")
    assert report.notes["frames lost"] > 0
    with melcli.open(tmp_path / "s.h5") as output:
        noted = [item for item in output.reader.some_items(0, 5) if "frames lost" in item.notes]
    assert len(noted) == report.notes["frames lost"]
    assert "resampled" not in report.notes  # which was told when they were extracted


@pytest.mark.parametrize("rule", ["standard", "minmax"])
def test_a_scaler_is_undone_unasked(rule: Any, mels: Callable[..., Path], tmp_path: Path) -> None:
    """The output carries it."""
    fit_scaler(mels("plain.h5"), tmp_path / "s.npz")
    scaler = Normalization.of(files.load(tmp_path / "s.npz"), rule, "bin")
    features = mels("normal.h5", scaler=scaler)
    invert(features, tmp_path / "x.h5")
    invert(tmp_path / "plain.h5", tmp_path / "y.h5")
    plain = rows_of(tmp_path / "y.h5")
    for name, found in rows_of(tmp_path / "x.h5").items():
        mel = plain[name] @ BANK.T
        assert np.linalg.norm(found @ BANK.T - mel) <= 1e-4 * np.linalg.norm(mel)


class TestSameBytes:
    """An item's spectrum does not depend on how the run went."""

    @pytest.fixture
    def expected(self, mels: Callable[..., Path], tmp_path: Path, read_output: ReadOutput) -> Any:
        """One run, in one thread."""
        invert(mels(), tmp_path / "expected.h5", run=RunConfig(workers=1))
        return read_output(tmp_path / "expected.h5")

    @pytest.mark.parametrize("n_workers", [1, 2, 3])
    @pytest.mark.parametrize("forks", [True, False])
    def test_workers(
        self, n_workers: int, *, forks: bool, expected: Any, tmp_path: Path,
        read_output: ReadOutput, monkeypatch: pytest.MonkeyPatch,
    ) -> None:  # fmt: skip
        """Processes and threads, small batches."""
        monkeypatch.setattr(loop, "FORK_BYTES", 0 if forks else 1 << 60)
        monkeypatch.setattr(batching, "BATCH_INPUTS", 2)
        run = RunConfig(workers=n_workers, memory=64 << 20)
        invert(tmp_path / "mels.h5", tmp_path / "x.h5", run=run)
        assert read_output(tmp_path / "x.h5") == expected

    def test_in_pieces(
        self, expected: Any, tmp_path: Path, read_output: ReadOutput,
        monkeypatch: pytest.MonkeyPatch, corpus: Corpus, mels: Callable[..., Path],
    ) -> None:  # fmt: skip
        """Items that are computed in pieces, as hours are."""
        corpus.add("long.wav", 5.0)
        features = mels("longer.h5")
        invert(features, tmp_path / "at-once.h5")
        monkeypatch.setattr(inverting, "_PIECE_BYTES", 4 * 129 * 256)
        invert(tmp_path / "mels.h5", tmp_path / "x.h5")
        assert read_output(tmp_path / "x.h5") == expected
        invert(features, tmp_path / "pieces.h5")
        assert read_output(tmp_path / "pieces.h5") == read_output(tmp_path / "at-once.h5")

    def test_shards(self, expected: Any, tmp_path: Path, read_output: ReadOutput) -> None:
        """Shards of the work, merged."""
        paths = []
        for number in (1, 2, 3):
            selection = Selection(paths=(tmp_path / "mels.h5",), shard=Shard(number, 3))
            paths.append(tmp_path / f"s.{number}.h5")
            invert(selection, paths[-1])
        merge(paths, tmp_path / "x.h5", command="", created="")
        found = read_output(tmp_path / "x.h5")
        assert found.keys() == expected.keys()
        np.testing.assert_array_equal(found["spectrogram"], expected["spectrogram"])
        np.testing.assert_array_equal(found["items/residual"], expected["items/residual"])

    def test_of_shards(self, expected: Any, tmp_path: Path, corpus: Corpus) -> None:
        """Shards of mels are inverted each, and stay shards."""
        del expected
        paths = []
        for number in (1, 2):
            selection = Selection(paths=(corpus.folder,), shard=Shard(number, 2))
            melcli.extract(selection, tmp_path / f"m.{number}.h5", SMALL)
            paths.append(tmp_path / f"s.{number}.h5")
            invert(tmp_path / f"m.{number}.h5", paths[-1])
        selection = Selection(paths=(tmp_path / "m.1.h5",), shard=Shard(1, 2))
        with pytest.raises(UsageError, match="is shard 1/2 already"):
            invert(selection, tmp_path / "no.h5")
        merge(paths, tmp_path / "merged.h5", command="", created="")
        found, whole = rows_of(tmp_path / "merged.h5"), rows_of(tmp_path / "expected.h5")
        assert list(found) == list(whole)
        for name, rows in found.items():
            np.testing.assert_array_equal(rows, whole[name])

    def test_extended(
        self, expected: Any, tmp_path: Path, read_output: ReadOutput, corpus: Corpus,
        mels: Callable[..., Path],
    ) -> None:  # fmt: skip
        """Of mels that were added to, only the new are inverted."""
        del expected
        corpus.add("e.wav")
        mels()
        report = invert(tmp_path / "mels.h5", tmp_path / "expected.h5")
        assert (report.done, report.already, report.failed) == (1, 5, 1)
        invert(tmp_path / "mels.h5", tmp_path / "anew.h5")
        assert read_output(tmp_path / "expected.h5") == read_output(tmp_path / "anew.h5")

    def test_again(self, expected: Any, tmp_path: Path) -> None:
        """Nothing new is nothing to do; another tolerance is another output."""
        del expected
        report = invert(tmp_path / "mels.h5", tmp_path / "expected.h5")
        assert (report.done, report.already, report.failed) == (0, 5, 1)
        with pytest.raises(StoreError, match=r"tolerance: 1e-05 in the output, 0\.001 asked for"):
            invert(tmp_path / "mels.h5", tmp_path / "expected.h5", how=InvertConfig(tolerance=1e-3))


class TestFiles:
    """Bare ``.npy`` files, as other programs make them."""

    @pytest.fixture
    def folder(self, tmp_path: Path) -> Path:
        """Three good ones."""
        rng = np.random.default_rng(2)
        for name, n in (("a/x", 30), ("b", 50), ("c", 1)):
            spectrum = rng.rayleigh(size=(129, n))
            path = tmp_path / f"in/{name}.npy"
            path.parent.mkdir(parents=True, exist_ok=True)
            np.save(path, np.log(np.maximum(BANK @ spectrum, 1e-5)).astype(np.float32))
        return tmp_path / "in"

    def test_folder(self, folder: Path, tmp_path: Path) -> None:
        """Each becomes an item of its name."""
        report = invert(folder, f"{tmp_path}/s/", SMALL)
        assert (report.done, report.failed) == (3, 0)
        for name in ("a/x", "b", "c"):
            found = np.load(tmp_path / f"s/{name}.npy")
            mel = np.exp(np.load(folder / f"{name}.npy").astype(float))
            assert np.linalg.norm(BANK @ found - mel) <= 1.1e-5 * np.linalg.norm(mel)
        assert invert(folder, f"{tmp_path}/s/", SMALL).already == 3

    def test_kinds_of_numbers(self, folder: Path, tmp_path: Path) -> None:
        """Other precisions, byte orders and memory orders are the same mel."""
        known = np.load(folder / "b.npy")
        np.save(folder / "f64.npy", known.astype(np.float64))
        np.save(folder / "big.npy", known.astype(">f4"))
        np.save(folder / "fortran.npy", np.asfortranarray(known))
        np.save(folder / "f16.npy", known.astype(np.float16))
        invert(folder, f"{tmp_path}/s/", SMALL)
        expected = np.load(tmp_path / "s/b.npy")
        for name in ("f64", "big", "fortran"):
            np.testing.assert_allclose(np.load(tmp_path / f"s/{name}.npy"), expected, rtol=1e-3)
        assert np.load(tmp_path / "s/f16.npy").shape == expected.shape

    def test_bad_ones_fail_alone(self, folder: Path, tmp_path: Path) -> None:
        """Each with its cause; the rest are intact."""
        mel = np.load(folder / "b.npy")
        nan, inf, huge = mel.copy(), mel.copy(), mel.copy()
        nan[3, 4], inf[0, 0], huge[5, 5] = np.nan, np.inf, 1000.0
        bad = {
            "nan": (nan, "holds NaN or infinite numbers"),
            "inf": (inf, "holds NaN or infinite numbers"),
            "huge": (huge, "is not finite once its front end is undone"),
            "bins": (mel[:19], "is 19 x 50, and this front end makes 20 x n"),
            "turned": (mel.T, "is 50 x 20, and this front end makes 20 x n"),
            "axes": (mel[None], "is 1 x 20 x 50, and this front end makes 20 x n"),
            "whole": (np.ones((20, 5), int), "holds int64, and no floating-point numbers"),
            "none": (mel[:, :0], "holds no frames"),
            "single": (np.float32(3), "is a single number"),
        }
        for name, (array, _) in bad.items():
            np.save(folder / f"{name}.npy", array)
        np.save(folder / "object.npy", np.array([{}]), allow_pickle=True)
        (folder / "text.npy").write_bytes(b"text, and no array")
        (folder / "cut.npy").write_bytes((folder / "b.npy").read_bytes()[:500])
        report = invert(folder, tmp_path / "s.h5", SMALL)
        assert (report.done, report.failed, report.exit_code) == (3, 12, 1)
        with melcli.open(tmp_path / "s.h5") as output:
            assert sorted(output) == ["a/x.npy", "b.npy", "c.npy"]
            told = {failed.id: failed for failed in output.failures}
        for name, (_, cause) in bad.items():
            assert cause in told[f"{name}.npy"].cause
        assert told["turned.npy"].remedy == "--set out.layout=time_mel"
        for name in ("object", "text", "cut"):
            assert told[f"{name}.npy"].cause.startswith("is no .npy file")

    def test_negative_mels(self, tmp_path: Path) -> None:
        """No filterbank gives one, unless a logarithm is taken."""
        linear = SMALL.updated({"log.log": "none", "log.floor_mode": "none", "log.floor": 0.0})
        np.save(tmp_path / "x.npy", -np.ones((20, 5), np.float32))
        report = invert(tmp_path / "x.npy", tmp_path / "s.h5", linear)
        assert "no filterbank gives a negative number" in report.failures[0][1].cause

    def test_a_front_end_is_needed(self, folder: Path, tmp_path: Path) -> None:
        """Nothing in an array says which."""
        with pytest.raises(UsageError, match="does not say which front end"):
            invert(folder, tmp_path / "s.h5")

    def test_not_there(self, tmp_path: Path) -> None:
        """A name that leads nowhere, and a folder with nothing in it."""
        with pytest.raises(NoInputError):
            invert(tmp_path / "nowhere.npy", tmp_path / "s.h5", SMALL)
        (tmp_path / "empty").mkdir()
        with pytest.raises(NoInputError):
            invert(tmp_path / "empty", tmp_path / "s.h5", SMALL)
        with pytest.raises(StoreError):
            invert(tmp_path / "nowhere.h5", tmp_path / "s.h5")

    @pytest.mark.parametrize("layout", ["mel_time", "time_mel"])
    def test_stream(self, folder: Path, layout: str, monkeypatch: pytest.MonkeyPatch) -> None:
        """One array in, one array out, in the same layout."""
        config = SMALL.updated({"out.layout": layout})
        mel = np.load(folder / "b.npy")
        data = io.BytesIO()
        np.save(data, mel if layout == "mel_time" else np.ascontiguousarray(mel.T))
        stdin = SimpleNamespace(buffer=io.BytesIO(data.getvalue()))
        monkeypatch.setattr(sys, "stdin", stdin)
        made = io.BytesIO()
        arguments = InvertConfig(), None, OutputConfig(), RunConfig()
        invert_to_stream(Selection(paths=("-",)), made, config, *arguments)
        found = np.load(io.BytesIO(made.getvalue()))
        assert found.shape == ((129, 50) if layout == "mel_time" else (50, 129))
        made = io.BytesIO()
        invert_to_stream(Selection(paths=(folder / "b.npy",)), made, SMALL, *arguments)
        again = np.load(io.BytesIO(made.getvalue()))
        np.testing.assert_array_equal(found if layout == "mel_time" else found.T, again)

    def test_stream_of_nonsense(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """What is wrong with standard input, or with asking for several, is said."""
        monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(b"RIFF")))
        arguments = SMALL, InvertConfig(), None, OutputConfig(), RunConfig()
        with pytest.raises(FeatureError, match=r"is no \.npy file"):
            invert_to_stream(Selection(paths=("-",)), io.BytesIO(), *arguments)
        with pytest.raises(UsageError, match="takes one input, not 3"):
            invert_to_stream(Selection(paths=(folder,)), io.BytesIO(), *arguments)


def test_selected(mels: Callable[..., Path], tmp_path: Path) -> None:
    """Inputs of an output are chosen by their ids."""
    selection = Selection(paths=(mels(),), include=("a/*",), exclude=("*.flac",))
    report = invert(selection, tmp_path / "s.h5")
    assert list(rows_of(tmp_path / "s.h5")) == ["a/one.wav"]
    assert report.ignored["excluded"] == 5
    with pytest.raises(NoInputError, match="nothing of it is left"):
        invert(replace(selection, include=("q/*",)), tmp_path / "t.h5")


def test_channels(corpus: Corpus, tmp_path: Path) -> None:
    """An input of several items stays one input."""
    corpus.add("stereo.wav", 0.3, n_channels=2)
    melcli.extract(corpus.folder, tmp_path / "m.h5", SMALL.updated({"wave.channels": "each"}))
    report = invert(tmp_path / "m.h5", tmp_path / "s.h5")
    assert (report.inputs, report.items) == (1, 2)
    assert list(rows_of(tmp_path / "s.h5")) == ["stereo.wav#0", "stereo.wav#1"]


def test_pinv(mels: Callable[..., Path], tmp_path: Path) -> None:
    """The clamped pseudo-inverse, with an honest certificate."""
    invert(mels(), tmp_path / "s.h5", how=InvertConfig(method="pinv"))
    spectra, told = rows_of(tmp_path / "s.h5"), certificates(tmp_path / "s.h5")
    inverse = np.linalg.pinv(BANK)
    for name, logs in rows_of(tmp_path / "mels.h5").items():
        mel = np.exp(logs.astype(float))
        known = np.maximum(mel @ inverse.T, 0.0)
        np.testing.assert_allclose(spectra[name], known, atol=2e-6 * known.max())
        residual = np.linalg.norm(known @ BANK.T - mel) / np.linalg.norm(mel)
        assert told[name][0] == pytest.approx(residual, rel=1e-3)
        assert told[name][1] == 0


def test_max_residual(mels: Callable[..., Path], tmp_path: Path) -> None:
    """Items that are further off fail, with how far."""
    how = InvertConfig(method="pinv", max_residual=1e-9)
    report = invert(mels(), tmp_path / "s.h5", how=how)
    assert (report.done, report.failed) == (0, 6)
    assert "and at most 1e-09 is allowed" in report.failures[0][1].cause
    report = invert(mels(), tmp_path / "t.h5", how=InvertConfig(max_residual=1e-4))
    assert (report.done, report.failed) == (5, 1)


def test_float16(corpus: Corpus, tmp_path: Path) -> None:
    """Half the room; what does not fit into it fails."""
    corpus.add("quiet.wav")
    gain = {"spec.power": 2.0, "wave.wave_gain": 32768.0}
    out = OutputConfig(dtype="float16")
    melcli.extract(corpus.folder, tmp_path / "m.h5", SMALL)
    melcli.extract(corpus.folder, tmp_path / "loud.h5", SMALL.updated(gain))
    assert invert(tmp_path / "m.h5", tmp_path / "s.h5", out=out).failed == 0
    with melcli.open(tmp_path / "s.h5") as output:
        assert output["quiet.wav"].dtype == np.float16
    report = invert(tmp_path / "loud.h5", tmp_path / "t.h5", out=out)
    assert "its spectrum reaches" in report.failures[0][1].cause


class TestRefused:
    """What cannot be inverted is refused before any work."""

    def test_another_front_end(self, mels: Callable[..., Path], tmp_path: Path) -> None:
        """Told with what differs."""
        with pytest.raises(StoreError, match=r"another front end:\n.*mel\.n_mels"):
            invert(mels(), tmp_path / "s.h5", SMALL.updated({"mel.n_mels": 30}))
        assert invert(mels(), tmp_path / "s.h5", SMALL).done == 5

    def test_statistics_that_were_not_kept(self, mels: Callable[..., Path], tmp_path: Path) -> None:
        """By the name of the setting."""
        features = mels("m.h5", SMALL.updated({"scale.utt_norm": "mean_var"}))
        with pytest.raises(ConfigError, match=r"scale\.utt_norm = mean_var"):
            invert(features, tmp_path / "s.h5")
        assert not (tmp_path / "s.h5").exists()

    def test_spectra(self, mels: Callable[..., Path], tmp_path: Path) -> None:
        """What is inverted already; and other commands refuse it too."""
        invert(mels(), tmp_path / "s.h5")
        for call in (
            lambda: invert(tmp_path / "s.h5", tmp_path / "t.h5"),
            lambda: fit_scaler(tmp_path / "s.h5", tmp_path / "t.npz"),
        ):
            with pytest.raises(StoreError, match="holds spectra, and no mels"):
                call()

    def test_other_inputs(self, mels: Callable[..., Path], tmp_path: Path) -> None:
        """An output is inverted by itself."""
        with pytest.raises(UsageError, match="there are other inputs"):
            invert([mels(), tmp_path], tmp_path / "s.h5")

    @pytest.mark.parametrize(
        ("wrong", "told"),
        [
            ({"method": "svd"}, "method = 'svd': must be"),
            ({"tolerance": 0.0}, "tolerance = 0: must be"),
            ({"tolerance": float("nan")}, "tolerance = nan: must be"),
            ({"max_residual": -1.0}, "max residual = -1: must be"),
        ],
    )
    def test_arguments(self, wrong: dict[str, Any], told: str) -> None:
        """The argument, its value, and what is allowed."""
        with pytest.raises(UsageError, match=told):
            InvertConfig(**wrong)


def test_damaged_mels_fail_alone(mels: Callable[..., Path], tmp_path: Path) -> None:
    """A checksum that does not fit is a failure of its item."""
    features = mels("m/")
    path = features / "a/one.npy"
    data = bytearray(path.read_bytes())
    data[-3] ^= 1
    path.write_bytes(data)
    report = invert(features, tmp_path / "s.h5")
    assert (report.done, report.failed) == (4, 2)
    assert "another checksum" in report.failures[0][1].cause


def test_doubts_come_first(corpus: Corpus, tmp_path: Path) -> None:
    """Empty filters and lost levels are told before the work."""
    corpus.add("a.wav")
    config = SMALL.updated(
        {"mel.n_mels": 128, "log.range_ref": "item_max", "log.range_width": 8.0}
    ).updated({"log.range_subtract": True})
    melcli.extract(corpus.folder, tmp_path / "m.h5", config)
    told: list[str] = []

    class Hears(melcli.pipeline.report.Silence):
        def started(self, report: Report) -> None:
            told.extend(report.warnings)

    report = invert(tmp_path / "m.h5", tmp_path / "s.h5", listener=Hears())
    assert any("filters are empty" in line for line in told)
    assert any(line.startswith("log.range_subtract: the level") for line in told)
    assert report.exit_code == 0


def test_an_engine_of_its_own(mels: Callable[..., Path], tmp_path: Path) -> None:
    """What extract gives and what the front end gives are one mel, so one spectrum."""
    invert(mels(), tmp_path / "s.h5")
    with melcli.open(tmp_path / "mels.h5") as output:
        rows = torch.from_numpy(np.ascontiguousarray(output["b.ogg"].T))
    assert rows.shape[1] == FrontEnd(SMALL).row_shape[0]
    np.save(tmp_path / "b.npy", rows.T.numpy())
    invert(tmp_path / "b.npy", tmp_path / "t.h5", SMALL)
    np.testing.assert_array_equal(
        rows_of(tmp_path / "s.h5")["b.ogg"], next(iter(rows_of(tmp_path / "t.h5").values()))
    )


@pytest.mark.parametrize("level", [1e-30, 1e-22, 1.0, 1e22])
def test_certificates_at_any_level(level: float, tmp_path: Path) -> None:
    """A residual is that of the mel, however quiet or loud: squares do not leave their range."""
    linear = SMALL.updated({"log.log": "none", "log.floor_mode": "none", "log.floor": 0.0})
    rng = np.random.default_rng(3)
    mel = (level * np.exp(2.0 * rng.standard_normal((20, 40)))).astype(np.float32)
    np.save(tmp_path / "x.npy", mel)
    report = invert(tmp_path / "x.npy", tmp_path / "s.h5", linear, how=InvertConfig(method="pinv"))
    assert report.failed == 0
    [spectrum] = rows_of(tmp_path / "s.h5").values()
    wide = mel.astype(float)
    known = np.linalg.norm(spectrum.astype(float) @ BANK.T - wide.T) / np.linalg.norm(wide)
    [(residual, _, _)] = certificates(tmp_path / "s.h5").values()
    assert residual == pytest.approx(known, rel=1e-3)
    assert residual > 1e-3
