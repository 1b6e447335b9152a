"""Statistics of audio and of outputs: those of all rows, however they were come by."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np
import pytest

import melcli
from melcli import OutputConfig, RunConfig, Selection, presets
from melcli.errors import NoInputError, ScalerError, StoreError, UsageError
from melcli.pipeline import batching, loop, stretches
from melcli.pipeline.fit import fit_scaler
from melcli.scaler import files
from melcli.scaler.merge import merge
from melcli.statistics.normalize import Normalization
from melcli.store.fitting import FitWriter
from melcli.store.records import Failed
from melcli.store.shards import Shard

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from melcli.pipeline.fit import Fitted
    from melcli.pipeline.plan import PlannedInput
    from melcli.pipeline.report import Report
    from melcli.statistics.fitted import Statistics
    from melcli.store import Outcome
    from tests.conftest import Corpus

SMALL = presets.load("librosa").config.updated({"mel.n_mels": 20, "frame.n_fft": 512})
CONFIGS = {
    "log mel": SMALL,
    "stacks": SMALL.updated({"out.stack": 3, "out.stack_stride": 2}),
    "patches": SMALL.updated({"out.patch_frames": 4, "out.patch_hop": 2}),
    "each channel": SMALL.updated({"wave.channels": "each"}),
}


class Notes:
    """A listener that notes what became of every input."""

    def __init__(self) -> None:
        self.statuses: dict[str, str] = {}
        self.causes: dict[str, str] = {}

    def started(self, report: Report) -> None:
        """Nothing has happened yet."""

    def happened(self, planned: PlannedInput, outcome: Outcome, status: str) -> None:
        """Note it."""
        assert planned.id not in self.statuses
        self.statuses[planned.id] = status
        if isinstance(outcome, Failed):
            self.causes[planned.id] = outcome.cause

    def advanced(self, report: Report) -> None:
        """The books balance."""
        assert report.inputs == report.done + report.already + report.failed + report.left

    def warned(self, warning: str) -> None:
        """Hear it."""


class Fit:
    """Fits into a folder, and checks the books every time."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.notes = Notes()

    def __call__(
        self, inputs: Any, name: str = "s.npz", config: Any = SMALL, run: Any = None, **how: Any
    ) -> Fitted:
        """Fit; ``out`` options and those of `fit_scaler` by name."""
        self.notes = Notes()
        of_fit = {key: how.pop(key) for key in ("weight", "quantiles") if key in how}
        fitted = fit_scaler(
            inputs, self.folder / name, config, out=OutputConfig(**how),
            run=run or RunConfig(), listener=self.notes, command="test", **of_fit,
        )  # fmt: skip
        report = fitted.report
        assert report.inputs == report.done + report.already + report.failed + report.left
        if fitted.statistics is not None:
            read = files.load(self.folder / name)
            assert read.moments.mean.tolist() == fitted.statistics.moments.mean.tolist()
            assert read.n_failed == report.failed
        return fitted

    def statistics(self, *args: Any, **how: Any) -> Statistics:
        """Fit, and give what came of it."""
        found = self(*args, **how).statistics
        assert found is not None
        return found


@pytest.fixture
def fit(tmp_path: Path) -> Fit:
    """Fits into ``tmp_path``."""
    return Fit(tmp_path)


@pytest.fixture
def recordings(corpus: Corpus) -> Corpus:
    """Good recordings of several lengths."""
    corpus.add_good()
    for k in range(8):
        corpus.add(f"more/{k}.wav", 0.1 + 0.3 * k)
    return corpus


def rows_of(path: Path) -> list[NDArray[Any]]:
    """The rows of every item, as an output has them, bins last."""
    with melcli.open(path) as output:
        reader = output.reader
        return [
            reader.read(item_id).reshape(-1, output.config.row_shape[-1]).astype(np.longdouble)
            for item_id in output
        ]


def check(found: Statistics, items: list[NDArray[Any]]) -> None:
    """Compare with two passes over all rows."""
    rows = np.concatenate(items)
    if found.weight == "item":
        weights = np.concatenate([np.full(len(item), 1 / len(item)) for item in items])
        weights = weights[:, None] / len(items)
    else:
        weights = np.full((len(rows), 1), 1 / len(rows), np.longdouble)
    mean = (rows * weights).sum(axis=0)
    std = np.sqrt((np.square(rows - mean) * weights).sum(axis=0))
    assert found.moments.count == len(rows)
    assert found.n_items == len(items)
    assert (np.abs(found.moments.mean - mean) <= 1e-12 * np.abs(rows).max(axis=0)).all()
    assert (np.abs(found.moments.std - std) <= 1e-12 * std).all()
    assert (found.moments.min == rows.min(axis=0)).all()
    assert (found.moments.max == rows.max(axis=0)).all()
    assert (found.at_floor == sum((item == item.min()).sum(axis=0) for item in items)).all()
    if found.counts is not None:
        exact = np.quantile(rows.astype(np.float64), 0.5, axis=0, method="inverted_cdf")
        assert (np.abs(found.counts.quantiles([0.5]) - exact) <= 2.0**-8 * np.abs(exact)).all()


@pytest.mark.parametrize("weight", ["frame", "item"])
@pytest.mark.parametrize("config", CONFIGS)
def test_all_rows(fit: Fit, recordings: Corpus, config: str, weight: str) -> None:
    """Audio and every kind of output give the statistics of the rows that extract writes."""
    front_end = CONFIGS[config]
    for name, out in (("x.h5", {}), ("tree.h5", {"store_layout": "tree"}), ("npy/", {})):
        target = f"{fit.folder}/{name}"
        melcli.extract(recordings.folder, target, front_end, out=OutputConfig(**out))  # type: ignore[arg-type]
    items = rows_of(fit.folder / "x.h5")
    for n, source in enumerate(
        (recordings.folder, *(fit.folder / p for p in ("x.h5", "tree.h5", "npy")))
    ):
        given = front_end if n != 1 else None
        found = fit.statistics(source, f"{n}.npz", given, weight=weight, quantiles=True)
        check(found, items)
        assert found.config_digest == front_end.digest


@pytest.mark.parametrize("fork_bytes", [0, 1 << 40])
def test_in_processes_and_threads(
    fit: Fit, recordings: Corpus, monkeypatch: pytest.MonkeyPatch, fork_bytes: int
) -> None:
    """Whoever works, and however inputs are cut into batches, the numbers are the same."""
    melcli.extract(recordings.folder, fit.folder / "x.h5", SMALL)
    items = rows_of(fit.folder / "x.h5")
    monkeypatch.setattr(loop, "FORK_BYTES", fork_bytes)
    monkeypatch.setattr(batching, "BATCH_INPUTS", 2)
    monkeypatch.setattr(batching, "SEGMENT_INPUTS", 5)
    monkeypatch.setattr(stretches, "STRETCH_BYTES", 3000)
    check(fit.statistics(recordings.folder, "a.npz", run=RunConfig(workers=3)), items)
    fitted = fit(fit.folder / "x.h5", "b.npz", run=RunConfig(workers=3))
    assert fitted.statistics is not None
    check(fitted.statistics, items)
    assert fitted.report.done > 5  # stretches


def test_long_inputs(fit: Fit, corpus: Corpus, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is read in pieces counts like anything else, and so does an item of many blocks."""
    corpus.add("long.wav", 20.0)
    corpus.add("short.wav", 0.5)
    melcli.extract(corpus.folder, fit.folder / "x.h5", SMALL)
    items = rows_of(fit.folder / "x.h5")
    monkeypatch.setattr("melcli.pipeline.waveforms.PIECE_BYTES", 1 << 16)
    monkeypatch.setattr(stretches, "_GROUP_BYTES", 1000)
    check(fit.statistics(corpus.folder, "a.npz", quantiles=True), items)
    check(fit.statistics(fit.folder / "x.h5", "b.npz"), items)


def test_float16(fit: Fit, recordings: Corpus) -> None:
    """An output in float16 is taken as it is."""
    melcli.extract(recordings.folder, fit.folder / "x.h5", SMALL, out=OutputConfig(dtype="float16"))
    check(fit.statistics(fit.folder / "x.h5"), rows_of(fit.folder / "x.h5"))


def test_both(fit: Fit, recordings: Corpus, new_corpus: type[Corpus]) -> None:
    """Audio and outputs together; an input that is in both is refused, for it would count twice."""
    melcli.extract(recordings.folder, fit.folder / "x.h5", SMALL)
    other = new_corpus(fit.folder / "other")
    other.add("new.wav", 0.7)
    melcli.extract(other.folder, f"{fit.folder}/y/", SMALL)
    items = rows_of(fit.folder / "x.h5") + rows_of(fit.folder / "y")
    check(fit.statistics([other.folder, fit.folder / "x.h5"], "a.npz"), items)
    check(fit.statistics([fit.folder / "x.h5", fit.folder / "y"], "b.npz"), items)
    for twice in (
        [recordings.folder, fit.folder / "x.h5"],
        [fit.folder / "y", other.folder],
        [fit.folder / "x.h5", fit.folder / "x.h5"],
    ):
        with pytest.raises(UsageError, match="both hold"):
            fit(twice, "c.npz")


def test_ids(fit: Fit, recordings: Corpus) -> None:
    """Only the ids asked for count; one that is nowhere is told, and makes the exit code 1."""
    melcli.extract(recordings.folder, fit.folder / "x.h5", SMALL)
    ids = frozenset({"a/one.wav", "more/3.wav", "more/5.wav"})
    with melcli.open(fit.folder / "x.h5") as output:
        items = [output.reader.read(name).astype(np.longdouble) for name in sorted(ids)]
    for n, source in enumerate((recordings.folder, fit.folder / "x.h5")):
        fitted = fit(Selection(paths=(source,), ids=ids), f"{n}.npz")
        assert fitted.statistics is not None
        check(fitted.statistics, items)
        assert fitted.report.exit_code == 0
        fitted = fit(Selection(paths=(source,), ids=ids | {"gone.wav"}), f"{n}.npz", overwrite=True)
        assert fitted.report.unknown_ids == ["gone.wav"]
        assert fitted.report.exit_code == 1
        assert "no input has 1 id of --ids: gone.wav" in str(fitted.report)
        with pytest.raises(NoInputError):
            fit(Selection(paths=(source,), ids=frozenset({"gone.wav"})), "none.npz")


def test_other_ids_when_it_goes_on(
    fit: Fit, recordings: Corpus, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was counted of an output for other ids does not count, be it as many rows."""
    recordings.add("more/3b.wav", 1.0)  # as long as more/3.wav
    melcli.extract(recordings.folder, fit.folder / "x.h5", SMALL)
    bad = recordings.add_bytes("zz.wav", b"text")

    def selection(name: str) -> Selection:
        ids = frozenset({name, "zz.wav"})
        return Selection(paths=(bad, fit.folder / "x.h5"), root=recordings.folder, ids=ids)

    with monkeypatch.context() as patch:
        patch.setattr(FitWriter, "finish", stop)
        with pytest.raises(KeyboardInterrupt):
            fit(selection("more/3.wav"))
    found = fit(selection("more/3b.wav")).statistics
    with melcli.open(fit.folder / "x.h5") as output:
        assert found is not None
        check(found, [output.reader.read("more/3b.wav").astype(np.longdouble)])


def test_two_outputs_that_share_what_is_not_asked_for(fit: Fit, recordings: Corpus) -> None:
    """An id that two outputs hold is no harm if it is not asked for."""
    for name in ("x.h5", "y.h5"):
        melcli.extract(recordings.folder, fit.folder / name, SMALL)
    (recordings.folder / "b.ogg").unlink()
    recordings.add("new.wav", 0.3)
    melcli.extract(recordings.folder, fit.folder / "y.h5", SMALL)
    paths = (fit.folder / "x.h5", fit.folder / "y.h5")
    found = fit(Selection(paths=paths, ids=frozenset({"new.wav"}))).statistics
    assert found is not None
    assert found.n_items == 1
    with pytest.raises(UsageError, match="both hold"):
        fit(Selection(paths=paths, ids=frozenset({"new.wav", "c.mp3"})), "t.npz")


def test_ids_that_only_outputs_have(fit: Fit, recordings: Corpus, corpus: Corpus) -> None:
    """Audio of which nothing is asked for does not stop what is asked for elsewhere."""
    melcli.extract(recordings.folder, fit.folder / "x.h5", SMALL)
    other = fit.folder / "other"
    other.mkdir()
    (corpus.folder / "a/one.wav").rename(other / "unasked.wav")
    paths = (other, fit.folder / "x.h5")
    found = fit(Selection(paths=paths, ids=frozenset({"b.ogg"}))).statistics
    assert found is not None
    assert found.n_items == 1
    with pytest.raises(NoInputError):
        fit(Selection(paths=paths, ids=frozenset({"nowhere"})), "t.npz")


def stop(*_args: object, **_how: object) -> None:
    """In place of what should not be come to."""
    raise KeyboardInterrupt


@pytest.mark.parametrize("kind", ["audio", "x.h5", "npy"])
def test_shards(fit: Fit, recordings: Corpus, kind: str) -> None:
    """Shards put together in any order are one pass."""
    source = recordings.folder
    if kind != "audio":
        source = fit.folder / kind
        melcli.extract(recordings.folder, f"{source}/" if kind == "npy" else source, SMALL)
    whole = fit.statistics(source, "whole.npz", quantiles=True)
    paths = []
    for n in (1, 2, 3):
        selection = Selection(paths=(source,), shard=Shard(n, 3))
        fit(selection, f"{n}.npz", quantiles=True)
        paths.append(fit.folder / f"{n}.npz")
    for order in ([0, 1, 2], [2, 0, 1]):
        target = fit.folder / "merged.npz"
        parts = [paths[n] for n in order]
        merged = merge(parts, target, command="test", created="", overwrite=True)
        assert merged.moments.count == whole.moments.count
        assert merged.n_items == whole.n_items
        assert np.allclose(merged.moments.mean, whole.moments.mean, rtol=1e-12, atol=0)
        assert np.allclose(merged.moments.std, whole.moments.std, rtol=1e-12, atol=0)
        assert merged.counts is not None
        assert whole.counts is not None
        assert np.array_equal(merged.counts.counts, whole.counts.counts)
    with pytest.raises(ScalerError, match="2/3"):
        merge([paths[0], paths[2]], fit.folder / "m.npz", command="test", created="")


def test_empty_shard(fit: Fit, corpus: Corpus) -> None:
    """A shard without inputs is a scaler too, or the others could not be merged with it."""
    corpus.add("a.wav")
    shards = [Shard(n, 4) for n in (1, 2, 3, 4)]
    for shard in shards:
        fitted = fit(Selection(paths=(corpus.folder,), shard=shard), f"{shard.number}.npz")
        assert fitted.report.inputs == shard.holds("a.wav")
        again = fit(Selection(paths=(corpus.folder,), shard=shard), f"{shard.number}.npz")
        assert again.report.already == shard.holds("a.wav")
    paths = [fit.folder / f"{shard.number}.npz" for shard in shards]
    merged = merge(paths, fit.folder / "m.npz", command="test", created="")
    whole = fit.statistics(corpus.folder, "whole.npz")
    assert merged.moments.mean.tolist() == whole.moments.mean.tolist()
    assert merged.moments.min.tolist() == whole.moments.min.tolist()
    empty = next(s.number for s in shards if not s.holds("a.wav"))
    with pytest.raises(ScalerError, match="is of no frame at all"):
        Normalization.of(files.load(fit.folder / f"{empty}.npz"), "standard")
    with pytest.raises(UsageError, match="cannot hold a shard"):
        fit(Selection(paths=(corpus.folder,), shard=shards[0]), "s.pt")


def test_failures(fit: Fit, recordings: Corpus) -> None:
    """What cannot be used is told and left out, and tried again only if asked."""
    fit(recordings.folder, "good.npz")
    recordings.cut("cut.wav")
    recordings.add_bytes("z.wav", b"text, and no audio")
    fitted = fit(recordings.folder)
    assert fitted.report.exit_code == 1
    assert sorted(fit.notes.causes) == ["cut.wav", "z.wav"]
    good = files.load(fit.folder / "good.npz")
    assert fitted.statistics is not None
    assert fitted.statistics.moments.mean.tolist() == good.moments.mean.tolist()
    assert fitted.statistics.n_failed == 2
    again = fit(recordings.folder)
    assert (again.report.already, again.report.failed, again.report.exit_code) == (13, 2, 1)
    assert fit(recordings.folder, retry_failed=True).report.done == 13


def test_nothing_can_be_used(fit: Fit, corpus: Corpus) -> None:
    """Statistics of nothing are not written."""
    corpus.add_bytes("z.wav", b"text, and no audio")
    with pytest.raises(NoInputError, match=r"none of the 1 inputs can be used: .*z.wav: "):
        fit(corpus.folder)
    assert not (fit.folder / "s.npz").exists()


@pytest.mark.parametrize("rule", [{"strict": True}, {"max_failures": "1"}])
def test_stopped(fit: Fit, recordings: Corpus, rule: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stopped at failures, a fit keeps what is done, and goes on to the same numbers."""
    monkeypatch.setattr(batching, "BATCH_INPUTS", 3)
    for name in ("aa.wav", "ab.wav"):
        recordings.add_bytes(name, b"text, and no audio")
    fitted = fit(recordings.folder, run=RunConfig(**rule))
    assert fitted.statistics is None
    assert fitted.report.stopped
    assert fitted.report.left
    assert not (fit.folder / "s.npz").exists()
    fitted = fit(recordings.folder)
    assert fitted.report.already
    assert fitted.statistics is not None
    whole = fit.statistics(recordings.folder, "whole.npz")
    assert np.allclose(fitted.statistics.moments.mean, whole.moments.mean, rtol=1e-14)
    assert np.allclose(fitted.statistics.moments.m2, whole.moments.m2, rtol=1e-13)


def test_again(fit: Fit, recordings: Corpus) -> None:
    """The same command again does nothing; other inputs or settings are refused by name."""
    fit(recordings.folder)
    before = (fit.folder / "s.npz").read_bytes()
    again = fit(recordings.folder)
    assert (again.report.already, again.report.done, again.report.exit_code) == (13, 0, 0)
    with pytest.raises(ScalerError, match="weight: frame there, item asked for"):
        fit(recordings.folder, weight="item")
    recordings.add("new.wav")
    with pytest.raises(ScalerError, match="its inputs are others") as caught:
        fit(recordings.folder)
    assert caught.value.remedy is not None
    assert "merge" in caught.value.remedy
    assert (fit.folder / "s.npz").read_bytes() == before
    assert fit(recordings.folder, overwrite=True).report.done == 14


def test_killed_while_it_tidied_up(
    fit: Fit, recordings: Corpus, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the scaler is there and so is what it was made of, the same command removes that."""
    with monkeypatch.context() as patch:
        patch.setattr(FitWriter, "_clean_up", stop)
        with pytest.raises(KeyboardInterrupt):
            fit(recordings.folder)
    assert (fit.folder / "s.npz").exists()
    assert list(fit.folder.glob("*partial*"))
    assert fit(recordings.folder).report.already == 13
    assert not list(fit.folder.glob("*partial*"))


def test_source_changed_between_runs(
    fit: Fit, recordings: Corpus, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An input that changed after it was counted does not count any more as it was."""
    monkeypatch.setattr(batching, "BATCH_INPUTS", 2)
    monkeypatch.setattr(batching, "SEGMENT_INPUTS", 2)
    bad = recordings.add_bytes("more/9.wav", b"text")
    assert fit(recordings.folder, run=RunConfig(strict=True)).statistics is None
    recordings.add("a/one.wav", 2.0)
    (recordings.folder / "more/0.wav").unlink()
    bad.unlink()
    found = fit(recordings.folder)
    assert found.report.already
    assert found.statistics is not None
    melcli.extract(recordings.folder, fit.folder / "x.h5", SMALL)
    check(found.statistics, rows_of(fit.folder / "x.h5"))


def test_damaged_outputs(fit: Fit, recordings: Corpus) -> None:
    """An item that is not finite, or whose file is gone, fails by its id; all others count."""
    melcli.extract(recordings.folder, fit.folder / "x.h5", SMALL)
    melcli.extract(recordings.folder, f"{fit.folder}/npy/", SMALL)
    items = rows_of(fit.folder / "x.h5")
    with h5py.File(fit.folder / "x.h5", "r+") as file:
        ids = list(file["items/id"].asstr())
        for name, value in (("b.ogg", np.nan), ("more/2.wav", np.inf)):
            file["mel"][file["items/start"][ids.index(name)] + 1, 3] = value
    (fit.folder / "npy/b.npy").unlink()
    shutil.copy(fit.folder / "npy/c.npy", fit.folder / "npy/more/2.npy")
    left = [
        item for name, item in zip(ids, items, strict=True) if name not in {"b.ogg", "more/2.wav"}
    ]
    for name in ("x.h5", "npy"):
        fitted = fit(fit.folder / name, f"{name}.npz")
        assert fitted.statistics is not None
        check(fitted.statistics, left)
        assert fitted.statistics.n_failed == 2
        assert fitted.report.exit_code == 1
        failed = sorted(key.partition("]/")[2] for key in fit.notes.causes)
        assert failed == ["b.ogg", "more/2.wav"]
        again = fit(fit.folder / name, f"{name}.npz")
        assert (again.report.failed, again.report.exit_code) == (2, 1)


@pytest.mark.parametrize("retry_failed", [False, True])
def test_damaged_outputs_resumed(
    fit: Fit, recordings: Corpus, monkeypatch: pytest.MonkeyPatch, *, retry_failed: bool
) -> None:
    """Items that failed are told again when a fit goes on, or read again if that is asked for."""
    melcli.extract(recordings.folder, f"{fit.folder}/npy/", SMALL)
    items = rows_of(fit.folder / "npy")
    monkeypatch.setattr(stretches, "STRETCH_BYTES", 3000)
    good = (fit.folder / "npy/b.npy").read_bytes()
    (fit.folder / "npy/b.npy").write_bytes(b"")
    bad = recordings.add_bytes("zz/9.wav", b"text")
    sources = [bad, fit.folder / "npy"]
    selection = Selection(paths=tuple(sources), root=recordings.folder)
    monkeypatch.setattr(batching, "SEGMENT_BYTES", 1)
    # The recording comes first; the run stops at the second failure, which is the item.
    assert fit(selection, run=RunConfig(max_failures="1")).statistics is None
    (fit.folder / "npy/b.npy").write_bytes(good)
    found = fit(selection, retry_failed=retry_failed)
    assert found.statistics is not None
    assert found.report.failed == (1 if retry_failed else 2)
    assert found.statistics.n_items == len(items) - (not retry_failed)
    if retry_failed:
        check(found.statistics, items)


def test_refused(fit: Fit, recordings: Corpus) -> None:
    """Other front ends, outputs that are normalised, files that are none: each is told apart."""
    melcli.extract(recordings.folder, fit.folder / "x.h5", SMALL)
    other = SMALL.updated({"mel.n_mels": 21})
    melcli.extract(recordings.folder, fit.folder / "other.h5", other)
    with pytest.raises(StoreError, match=r"mel.n_mels: 20 in the output, 21 asked for"):
        fit(fit.folder / "x.h5", "a.npz", other)
    with pytest.raises(StoreError, match=r"mel.n_mels: 20 .*, 21 "):
        fit([fit.folder / "x.h5", fit.folder / "other.h5"], "a.npz", None)
    fit(fit.folder / "x.h5")
    scaler = Normalization.of(files.load(fit.folder / "s.npz"), "standard")
    melcli.extract(recordings.folder, fit.folder / "normal.h5", SMALL, scaler=scaler)
    with pytest.raises(StoreError, match="is normalised already"):
        fit(fit.folder / "normal.h5", "a.npz")
    melcli.extract(recordings.folder, f"{fit.folder}/npy/", SMALL)
    for part in ("npy/b.npy", "npy/melcli.toml", "s.npz"):
        with pytest.raises(UsageError, match="is neither audio nor an output of extract"):
            fit(fit.folder / part, "a.npz")
    with pytest.raises(UsageError, match="is no name of a scaler"):
        fit(recordings.folder, "a.txt")
    with pytest.raises(UsageError, match="weight"):
        fit(recordings.folder, "a.npz", weight="batch")
    (fit.folder / "mine.npz").write_bytes(b"mine")
    with pytest.raises(ScalerError):
        fit(recordings.folder, "mine.npz")
    assert (fit.folder / "mine.npz").read_bytes() == b"mine"
