"""The writer of statistics: segments that are safe, and count as long as their inputs do."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from melcli.config import MelConfig
from melcli.errors import StoreError
from melcli.statistics.counts import counts_of
from melcli.statistics.fitted import Statistics
from melcli.statistics.moments import moments_of
from melcli.store import scalers
from melcli.store.fitting import FitWriter
from melcli.store.records import Done, Failed, Header, Item

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from melcli.store import Outcome

N_BINS = 3
CONFIG = MelConfig()
HEADER = Header(
    config=CONFIG.to_toml(), config_digest=CONFIG.digest, settings={"weight": "frame"},
    machine={"device": "cpu"}, command="test", created="2024", melcli_version="0",
    row_shape=(N_BINS,), row_labels=("frame", "mel"), dtype="float32",
)  # fmt: skip


def rows_of(name: str) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Rows that follow from a name."""
    rng = np.random.default_rng(sum(name.encode()))
    return (rng.standard_normal((int(rng.integers(1, 50)), N_BINS)) * 9 - 40).astype(np.float32)


def fitted(*names: str) -> Statistics:
    """The statistics of some inputs."""
    rows = np.concatenate([rows_of(name) for name in names])
    return Statistics(
        moments=moments_of(rows),
        at_floor=np.zeros(N_BINS, np.int64),
        counts=counts_of(rows),
        n_items=len(names),
    )


NOTHING = replace(fitted("a"), moments=moments_of(np.empty((0, N_BINS))), n_items=0)
NOTHING = NOTHING.with_counts(counts_of(np.empty((0, N_BINS), np.float32)))


def done(name: str, mtime_ns: int = 1) -> Done:
    """An outcome."""
    return Done(name, 10, mtime_ns, (Item(name, 5, 800, 16000, 1, -1, ()),))


class Fit:
    """Opens writers for one file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.still_counts: Callable[[Outcome], bool] = lambda _outcome: True

    def open(self, header: Header = HEADER, **how: Any) -> FitWriter:
        """Begin, or go on."""
        return FitWriter(self.path, header, nothing=NOTHING, still_counts=self.still_counts, **how)

    def segment(self, writer: FitWriter, *names: str) -> None:
        """Commit some inputs."""
        writer.write_all([(done(name), ()) for name in names])
        writer.gather(fitted(*names))
        writer.commit()

    def finish(self, writer: FitWriter, *names: str) -> Statistics:
        """Save what was gathered."""
        writer.save = lambda: scalers.write(writer.fitted, self.path)
        writer.finish(names)
        return scalers.read(self.path)


@pytest.fixture
def fit(tmp_path: Path) -> Fit:
    """A file that is not there yet."""
    return Fit(tmp_path / "x.npz")


def check(found: Statistics, *names: str) -> None:
    """It is the statistics of these inputs."""
    whole = fitted(*names)
    assert (found.n_items, found.moments.count) == (len(names), whole.moments.count)
    assert np.allclose(found.moments.mean, whole.moments.mean, rtol=1e-14)
    assert np.allclose(found.moments.m2, whole.moments.m2, rtol=1e-13)
    assert found.counts is not None
    assert whole.counts is not None
    assert np.array_equal(found.counts.keys, whole.counts.keys)
    assert np.array_equal(found.counts.counts, whole.counts.counts)


def test_whole(fit: Fit) -> None:
    """Segments are put together; nothing but the scaler is left."""
    with contextlib.closing(fit.open()) as writer:
        fit.segment(writer, "a", "b")
        fit.segment(writer, "c")
        check(fit.finish(writer, "a", "b", "c"), "a", "b", "c")
    assert [path.name for path in fit.path.parent.iterdir()] == ["x.npz"]


def test_resumed(fit: Fit) -> None:
    """What is committed stays; what is not is gone; the numbers are the same to the last bit."""
    with contextlib.closing(fit.open()) as writer:
        fit.segment(writer, "a", "b")
        writer.write(done("c"), ())
        writer.gather(fitted("c"))
    with contextlib.closing(fit.open()) as writer:
        assert [outcome.id for outcome in writer.outcomes()] == ["a", "b"]
        fit.segment(writer, "c")
        resumed = fit.finish(writer, "a", "b", "c")
    fit.path.unlink()
    with contextlib.closing(fit.open()) as writer:
        fit.segment(writer, "a", "b")
        fit.segment(writer, "c")
        whole = fit.finish(writer, "a", "b", "c")
    assert resumed.moments.mean.tolist() == whole.moments.mean.tolist()
    assert resumed.moments.m2.tolist() == whole.moments.m2.tolist()


def test_stale_segment(fit: Fit) -> None:
    """A segment with an input that changed is forgotten, and so are its other inputs."""
    with contextlib.closing(fit.open()) as writer:
        fit.segment(writer, "a", "b")
        fit.segment(writer, "c", "d")
    fit.still_counts = lambda outcome: outcome.id != "b"
    with contextlib.closing(fit.open()) as writer:
        assert [outcome.id for outcome in writer.outcomes()] == ["c", "d"]
        fit.segment(writer, "a", "e")
        check(fit.finish(writer, "a", "c", "d", "e"), "a", "c", "d", "e")


def test_failures(fit: Fit) -> None:
    """Failures are kept, also in a segment that holds nothing else."""
    with contextlib.closing(fit.open()) as writer:
        writer.write(Failed("bad", 1, 1, "is silent\0", None), ())
        writer.commit()
        fit.segment(writer, "a")
    with contextlib.closing(fit.open()) as writer:
        first, _ = writer.outcomes()
        assert first == Failed("bad", 1, 1, "is silent\\0", None)
        check(fit.finish(writer, "bad", "a"), "a")


@pytest.mark.parametrize("damage", ["cut", "flip", "gone"])
def test_damaged_partial(fit: Fit, damage: str) -> None:
    """A segment whose bytes are not what was written is computed again; without any, all are."""
    partial = fit.path.with_name("x.npz.partial")
    with contextlib.closing(fit.open()) as writer:
        fit.segment(writer, "a")
        n_bytes = partial.stat().st_size
        fit.segment(writer, "b")
    data = bytearray(partial.read_bytes())
    if damage == "gone":
        partial.unlink()
    elif damage == "cut":
        partial.write_bytes(data[: n_bytes + 7])
    else:
        data[n_bytes + 40] ^= 1
        partial.write_bytes(data)
    with contextlib.closing(fit.open()) as writer:
        left = [outcome.id for outcome in writer.outcomes()]
        assert left == ([] if damage == "gone" else ["a"])
        fit.segment(writer, *({"a", "b"} - set(left)))
        check(fit.finish(writer, "a", "b"), "a", "b")


def test_damaged_first_segment(fit: Fit) -> None:
    """Damage that is found only when all is put together is told, and nothing is written."""
    partial = fit.path.with_name("x.npz.partial")
    with contextlib.closing(fit.open()) as writer:
        fit.segment(writer, "a")
        fit.segment(writer, "b")
    data = bytearray(partial.read_bytes())
    data[40] ^= 1
    partial.write_bytes(data)
    with contextlib.closing(fit.open()) as writer, pytest.raises(StoreError, match="is damaged"):
        fit.finish(writer, "a", "b")
    assert not fit.path.exists()


def test_refused(fit: Fit) -> None:
    """Other settings, another machine, and files that are nobody's are refused."""
    with contextlib.closing(fit.open()) as writer:
        fit.segment(writer, "a")
    with pytest.raises(StoreError, match="weight: frame in the output, item asked for"):
        fit.open(replace(HEADER, settings={"weight": "item"}))
    elsewhere = replace(HEADER, machine={"device": "cuda"})
    with (
        contextlib.closing(fit.open(elsewhere)) as writer,
        pytest.raises(StoreError, match="another machine"),
    ):
        writer.write(done("b"), ())
    with contextlib.closing(fit.open(elsewhere, accept_different_machine=True)) as writer:
        fit.segment(writer, "b")
    with contextlib.closing(fit.open(replace(HEADER, overwrite=True))) as writer:
        assert not list(writer.outcomes())
    fit.path.with_name("x.npz.partial").write_bytes(b"mine")
    with pytest.raises(StoreError, match="no journal says what it is"):
        fit.open()


def test_incomplete(fit: Fit) -> None:
    """A scaler is not made of less than what was asked for."""
    with contextlib.closing(fit.open()) as writer:
        fit.segment(writer, "a")
        with pytest.raises(ValueError, match="no outcome for 'b'"):
            fit.finish(writer, "a", "b")
    assert not fit.path.exists()
