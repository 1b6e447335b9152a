"""Several scalers to one."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import melcli
from melcli.config import Mel, MelConfig
from melcli.errors import ScalerError, UsageError
from melcli.scaler import files
from melcli.scaler.merge import merge
from melcli.statistics.counts import counts_of
from melcli.statistics.fitted import Statistics
from melcli.statistics.moments import moments_of

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

CONFIG = MelConfig(mel=Mel(n_mels=4))


def rows(n_rows: int, seed: int = 0, n_bins: int = 4) -> NDArray[np.float32]:
    """Noise far from 0, where moments are hard."""
    rng = np.random.default_rng([seed, n_rows])
    return rng.normal(size=(n_rows, n_bins), loc=-40, scale=3).astype(np.float32)


def fitted(found: NDArray[np.float32], **changed: Any) -> Statistics:
    """Statistics of some rows."""
    statistics = Statistics(
        moments=moments_of(found),
        at_floor=(found == found.min()).sum(axis=0),
        counts=counts_of(found),
        n_items=len(found) // 10,
        n_failed=1,
        config=CONFIG.to_toml(),
        config_digest=CONFIG.digest,
        made={"command": "fit", "created": "then", "melcli_version": "0", "machine": "cpu"},
    )
    return replace(statistics, **changed)


def shard(number: int, count: int, inputs: str = "i", **changed: Any) -> Statistics:
    """That of one shard."""
    made = {"shard": f"{number}/{count}", "inputs_digest": inputs}
    return fitted(rows(50, number), made=made, **changed)


def save(folder: Path, parts: Sequence[Statistics], kind: str = ".npz") -> list[Path]:
    """Write each to a file of its own."""
    paths = [folder / f"{number}{kind}" for number in range(len(parts))]
    for path, part in zip(paths, parts, strict=True):
        files.save(part, path)
    return paths


def merged(folder: Path, parts: Sequence[Statistics]) -> Statistics:
    """Merge them, and read the result."""
    paths, output = save(folder, parts), folder / "out.h5"
    merge(paths, output, command="melcli scaler merge", created="now", overwrite=True)
    return files.load(output)


@given(data=st.data())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40)
def test_any_order(tmp_path: Path, data: st.DataObject) -> None:
    """In any order and any parts they are those of all rows together."""
    sizes = data.draw(st.lists(st.integers(1, 200), min_size=2, max_size=6))
    parts = [rows(n_rows, seed) for seed, n_rows in enumerate(sizes)]
    order = data.draw(st.permutations(range(len(parts))))
    found = merged(tmp_path, [fitted(parts[number]) for number in order])
    whole = np.concatenate(parts).astype(np.float64)
    assert np.allclose(found.moments.mean, whole.mean(axis=0), rtol=1e-12, atol=0)
    # Of a few equal rows all is rounding: 1e-12 of how far from 0 they lie.
    assert np.allclose(found.moments.std, whole.std(axis=0), rtol=1e-12, atol=40e-12)
    assert found.moments.count == len(whole)
    assert np.array_equal(found.moments.min, whole.min(axis=0))
    assert np.array_equal(found.moments.max, whole.max(axis=0))
    at_floor = np.sum([(part == part.min()).sum(axis=0) for part in parts], axis=0)
    assert found.at_floor.tolist() == at_floor.tolist()
    expected = counts_of(whole.astype(np.float32))
    assert found.counts is not None
    assert found.counts.keys.tolist() == expected.keys.tolist()
    assert found.counts.counts.tolist() == expected.counts.tolist()
    assert found.n_items == sum(n_rows // 10 for n_rows in sizes)
    assert found.n_failed == len(sizes)


def test_order_of_the_command_line(tmp_path: Path) -> None:
    """They are put together in the order in which they are named, bit by bit."""
    parts = [fitted(rows(50, seed)) for seed in range(4)]
    found = merged(tmp_path, parts).moments
    expected = parts[0].moments
    for part in parts[1:]:
        expected = expected.merge(part.moments)
    assert found.mean.tobytes() == expected.mean.tobytes()
    assert found.m2_low.tobytes() == expected.m2_low.tobytes()


def test_made(tmp_path: Path) -> None:
    """It says that a merge made it, and where it was fitted if that was one machine."""
    one = fitted(rows(50))
    found = merged(tmp_path, [one, fitted(rows(60))])
    assert found.made == {
        "command": "melcli scaler merge",
        "created": "now",
        "melcli_version": melcli.__version__,
        "machine": "cpu",
    }
    assert (found.config, found.config_digest) == (CONFIG.to_toml(), CONFIG.digest)
    other = fitted(rows(60), made={"machine": "gpu"})
    assert "machine" not in merged(tmp_path, [one, other]).made
    assert "machine" not in merged(tmp_path, [one, fitted(rows(60), made={})]).made


@pytest.mark.parametrize("kind", [".npz", ".h5", ".npy", ".pt"])
def test_one_alone(tmp_path: Path, kind: str) -> None:
    """One alone is written anew, and still says how it came about; exports too."""
    one = fitted(rows(50))
    (path,) = save(tmp_path, [one])
    merge([path], tmp_path / f"out{kind}", command="c", created="now")
    found = files.load(tmp_path / f"out{kind}")
    assert np.allclose(found.moments.std, one.moments.std, rtol=1e-4)  # of a .pt, far from 0
    if kind in {".npz", ".h5"}:
        assert found.made == one.made
    merge([tmp_path / f"out{kind}"], tmp_path / "again.npz", command="c", created="now")
    again = files.load(tmp_path / "again.npz")
    assert again.moments.mean.tolist() == found.moments.mean.tolist()
    assert again.is_export == found.is_export


def refused(folder: Path, parts: Sequence[Statistics], cause: str, kind: str = ".npz") -> str:
    """Merge what must not be; nothing is written."""
    paths = save(folder, parts, kind)
    with pytest.raises(ScalerError, match=cause) as caught:
        merge(paths, folder / "out.h5", command="", created="")
    assert not (folder / "out.h5").exists()
    assert caught.value.remedy
    return str(caught.value)


def test_another_front_end(tmp_path: Path) -> None:
    """Every setting that differs is told."""
    config = MelConfig(mel=Mel(n_mels=4, f_min=20.0))
    other = fitted(rows(9), config=config.to_toml(), config_digest=config.digest, weight="item")
    message = refused(tmp_path, [fitted(rows(50)), other], "was fitted otherwise than")
    assert message.splitlines() == [
        f"{tmp_path / '1.npz'}: was fitted otherwise than {tmp_path / '0.npz'}:",
        "  mel.f_min: 0.0 there, 20.0 here",
        "  weight: frame there, item here",
    ]


def test_unknown_front_end(tmp_path: Path) -> None:
    """One that knows its front end and one that does not are not of one front end."""
    unknown = fitted(rows(9), config="", config_digest="")
    assert "not set here" in refused(tmp_path, [fitted(rows(9)), unknown], "fitted otherwise")
    assert merged(tmp_path, [unknown, replace(unknown, n_items=7)]).n_items == 7


def test_same_text_other_digest(tmp_path: Path) -> None:
    """Two digests are two front ends, whatever is written beside them."""
    other = fitted(rows(9), config_digest="e")
    refused(tmp_path, [fitted(rows(9)), other], f"config_digest: {CONFIG.digest} there, e here")


def test_other_bins(tmp_path: Path) -> None:
    """Where no front end is known, the bins must be as many."""
    unknown = {"config": "", "config_digest": ""}
    parts = [fitted(rows(9), **unknown), fitted(rows(9, n_bins=5), **unknown)]
    refused(tmp_path, parts, "bins: 4 there, 5 here")


def test_quantiles_in_all_or_none(tmp_path: Path) -> None:
    """Half of the values tell no quantile."""
    without = fitted(rows(9), counts=None)
    refused(tmp_path, [fitted(rows(50)), without], "quantiles: counted there, none here")
    assert merged(tmp_path, [without, fitted(rows(50), counts=None)]).counts is None


@pytest.mark.parametrize("kind", [".npy", ".pt"])
def test_exports(tmp_path: Path, kind: str) -> None:
    """Two means without their counts have no mean."""
    refused(tmp_path, [fitted(rows(50)), fitted(rows(9))], "holds no count of frames", kind)


def test_named_twice(tmp_path: Path) -> None:
    """One file under two names would count twice."""
    (path,) = save(tmp_path, [fitted(rows(50))])
    (tmp_path / "link.npz").symlink_to(path)
    (tmp_path / "hard.npz").hardlink_to(path)
    for again in (path, tmp_path / "link.npz", tmp_path / "hard.npz"):
        with pytest.raises(ScalerError, match="is named twice") as caught:
            merge([path, again], tmp_path / "out.h5", command="", created="")
        assert caught.value.remedy == "name it once"


class TestShards:
    """All shards of a list of inputs, or none."""

    def test_complete(self, tmp_path: Path) -> None:
        """All of them, in any order, with others that are none."""
        parts = [shard(3, 3), shard(1, 3), fitted(rows(9)), shard(2, 3), shard(1, 1, "j")]
        found = merged(tmp_path, parts)
        assert found.moments.count == 209
        assert "shard" not in found.made

    def test_missing(self, tmp_path: Path) -> None:
        """Those that are missing are named; one alone is no conversion."""
        refused(tmp_path, [shard(3, 5), shard(1, 5)], "3 of 5 shards are missing: 2/5, 4/5, 5/5")
        refused(tmp_path, [shard(2, 2)], "1 of 2 shards is missing: 1/2")
        refused(tmp_path, [shard(1, 99)], "98 of 99 shards are missing: 2/99.*11/99, …")
        refused(tmp_path, [shard(1, 2), shard(2, 2, "j")], "1 of 2 shards is missing: 2/2")

    def test_twice(self, tmp_path: Path) -> None:
        """A copy of a shard under another name is still that shard."""
        refused(tmp_path, [shard(1, 2), shard(1, 2)], "is shard 1/2, and so is .*0.npz")

    def test_other_count(self, tmp_path: Path) -> None:
        """Thirds and halves overlap."""
        refused(tmp_path, [shard(1, 2), shard(2, 3)], "is shard 2/3, and .*0.npz is 1/2")

    @pytest.mark.parametrize("text", ["", "3", "5/2", "x/y"])
    def test_no_shard(self, tmp_path: Path, text: str) -> None:
        """A shard that cannot be is damage."""
        refused(tmp_path, [fitted(rows(9), made={"shard": text})], "is damaged: .* is no shard")


class TestOutput:
    """What is there stays, unless it may go."""

    def test_is_there(self, tmp_path: Path) -> None:
        """It is not replaced unasked; asked, it is, even by a merge of itself."""
        paths = save(tmp_path, [fitted(rows(50)), fitted(rows(9))])
        with pytest.raises(ScalerError, match="is there already") as caught:
            merge(paths, paths[0], command="", created="")
        assert "--overwrite" in str(caught.value.remedy)
        assert files.load(paths[0]).moments.count == 50
        merge(paths, paths[0], command="", created="", overwrite=True)
        assert files.load(paths[0]).moments.count == 59

    def test_no_name(self, tmp_path: Path) -> None:
        """A name that says nothing is refused before anything is read."""
        with pytest.raises(UsageError, match="no name of a scaler"):
            merge([tmp_path / "nowhere.h5"], tmp_path / "out.txt", command="", created="")
        with pytest.raises(UsageError, match="no scaler to merge"):
            merge([], tmp_path / "out.h5", command="", created="")

    def test_not_there(self, tmp_path: Path) -> None:
        """A part that is not there is told by its name."""
        with pytest.raises(ScalerError, match=r"nowhere.h5: is not there"):
            merge([tmp_path / "nowhere.h5"], tmp_path / "out.h5", command="", created="")
