"""A scaler put to an output, and taken from it: what extract with the scaler gives, and back."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import melcli
from melcli import OutputConfig, presets
from melcli.errors import ScalerError, StoreError, UsageError
from melcli.pipeline import rescale
from melcli.pipeline.fit import fit_scaler
from melcli.scaler import files
from melcli.statistics.normalize import OVERS, RULES, Normalization, Over, Rule
from melcli.store import copying

if TYPE_CHECKING:
    from tests.conftest import Corpus, ReadOutput

SMALL = presets.load("librosa").config.updated({"mel.n_mels": 20, "frame.n_fft": 512})
LAYOUTS: dict[str, Any] = {"x.h5": {}, "tree.h5": {"store_layout": "tree"}, "npy/": {}}


class Outputs:
    """Outputs of one corpus in one folder."""

    def __init__(self, corpus: Corpus, folder: Path) -> None:
        self.corpus, self.folder = corpus, folder

    def extract(self, name: str, scaler: Normalization | None = None, **out: Any) -> Path:
        """Extract into one."""
        options = OutputConfig(**(LAYOUTS.get(name.rsplit("-", maxsplit=1)[-1], {}) | out))
        target = f"{self.folder}/{name}"
        melcli.extract(self.corpus.folder, target, SMALL, scaler=scaler, out=options)
        return Path(target)

    def scaler(self, rule: Rule = "standard", over: Over = "bin") -> Normalization:
        """Statistics of the corpus, put to work."""
        path = self.folder / "s.npz"
        if not path.exists():
            fit_scaler(self.corpus.folder, path, SMALL, quantiles=True)
        return Normalization.of(files.load(path), rule, over)


@pytest.fixture
def outputs(corpus: Corpus, tmp_path: Path) -> Outputs:
    """Good recordings and one that fails."""
    corpus.add_good()
    corpus.add_bytes("z.wav", b"text, and no audio")
    return Outputs(corpus, tmp_path)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("over", OVERS)
def test_apply(
    outputs: Outputs, read_output: ReadOutput, layout: str, rule: Rule, over: Over
) -> None:
    """Applied to an output, a scaler gives, byte for byte, what extract with it gives."""
    scaler = outputs.scaler(rule, over)
    plain = outputs.extract(layout)
    direct = outputs.extract(f"direct-{layout}", scaler)
    target = Path(f"{outputs.folder}/applied-{layout}")
    found = rescale.apply(plain, target, scaler, command="test")
    assert (found.n_items, found.n_failures) == (5, 1)
    assert read_output(target) == read_output(direct)
    with melcli.open(target) as output, melcli.open(direct) as other:
        assert output.header.scaler == other.header.scaler == scaler
        assert found.n_rows == output.reader.items["stop"][-1]


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("rule", RULES)
def test_undo(outputs: Outputs, layout: str, rule: Rule) -> None:
    """Undone, the numbers are as they were, up to the rounding of float32."""
    plain, normal = outputs.extract(layout), outputs.extract(f"n-{layout}", outputs.scaler(rule))
    target = Path(f"{outputs.folder}/undone-{layout}")
    rescale.undo(normal, target, command="test")
    with melcli.open(plain) as before, melcli.open(target) as after:
        assert list(before) == list(after)
        assert after.header.scaler is None
        assert after.header.settings["undone"].startswith(rule)
        for item_id in before:
            assert np.allclose(before[item_id], after[item_id], rtol=1e-6, atol=1e-5)
            assert len(before[item_id])
    with pytest.raises(ScalerError, match="carries no scaler"):
        rescale.undo(target, outputs.folder / "again.h5", command="test")


def test_from_kind_to_kind(outputs: Outputs) -> None:
    """The new output may be of another kind."""
    plain, scaler = outputs.extract("tree.h5"), outputs.scaler()
    rescale.apply(plain, outputs.folder / "packed.h5", scaler, command="test")
    rescale.apply(plain, Path(f"{outputs.folder}/npy"), scaler, command="test")
    with (
        melcli.open(outputs.folder / "packed.h5") as one,
        melcli.open(outputs.folder / "npy") as other,
    ):
        for item_id in one:
            assert np.array_equal(one[item_id], other[item_id])


def test_shard(corpus: Corpus, outputs: Outputs) -> None:
    """A shard stays one, so that it can be merged with the others."""
    from melcli import Selection
    from melcli.store.merge import merge
    from melcli.store.shards import Shard

    scaler = outputs.scaler()
    parts = []
    for n in (1, 2):
        path = outputs.folder / f"{n}.h5"
        melcli.extract(Selection(paths=(corpus.folder,), shard=Shard(n, 2)), path, SMALL)
        parts.append(outputs.folder / f"n{n}.h5")
        rescale.apply(path, parts[-1], scaler, command="test")
    merge(parts, outputs.folder / "merged.h5", command="test", created="")
    whole = outputs.extract("whole.h5", scaler)
    with melcli.open(outputs.folder / "merged.h5") as merged, melcli.open(whole) as other:
        assert merged.header.scaler == scaler
        assert list(merged) == list(other)
        assert all(np.array_equal(merged[item_id], other[item_id]) for item_id in merged)


def test_resumed(
    outputs: Outputs, read_output: ReadOutput, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cut short, it goes on where it was; done, the same call does nothing."""
    plain, scaler = outputs.extract("x.h5"), outputs.scaler()
    monkeypatch.setattr(copying, "_SEGMENT_INPUTS", 2)
    target = outputs.folder / "applied.h5"

    def stop(n_inputs: int) -> None:
        if n_inputs == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        rescale.apply(plain, target, scaler, command="test", advanced=stop)
    assert not target.exists()
    told: list[int] = []
    rescale.apply(plain, target, scaler, command="test", advanced=told.append)
    assert told == [5, 6]
    assert read_output(target) == read_output(outputs.extract("direct.h5", scaler))
    told.clear()
    before = target.read_bytes()
    rescale.apply(plain, target, scaler, command="test", advanced=told.append)
    assert not told
    assert target.read_bytes() == before


def test_refused(outputs: Outputs) -> None:
    """What cannot be is told apart, and nothing is written."""
    plain, scaler = outputs.extract("x.h5"), outputs.scaler()
    normal = outputs.extract("normal.h5", scaler)
    target = outputs.folder / "y.h5"
    with pytest.raises(ScalerError, match="is normalised already"):
        rescale.apply(normal, target, scaler, command="test")
    with pytest.raises(UsageError, match="would replace what it is made of"):
        rescale.apply(plain, plain, scaler, command="test", overwrite=True)
    with pytest.raises(StoreError, match="other settings"):
        rescale.apply(plain, normal, outputs.scaler("minmax"), command="test")
    with pytest.raises(StoreError, match="is not there"):
        rescale.apply(outputs.folder / "none.h5", target, scaler, command="test")
    assert not target.exists()


def test_damaged_rows(outputs: Outputs) -> None:
    """Rows that are not what was written are not passed on."""
    plain, scaler = outputs.extract("x.h5"), outputs.scaler()
    data = bytearray(plain.read_bytes())
    data[5000] ^= 1
    plain.write_bytes(data)
    with pytest.raises(StoreError, match="another checksum"):
        rescale.apply(plain, outputs.folder / "y.h5", scaler, command="test")
    assert not (outputs.folder / "y.h5").exists()


def test_float16(outputs: Outputs) -> None:
    """In float16 rows are rounded once more, and one that leaves its range is told."""
    plain, scaler = outputs.extract("x.h5", dtype="float16"), outputs.scaler()
    rescale.apply(plain, outputs.folder / "y.h5", scaler, command="test")
    with melcli.open(plain) as before, melcli.open(outputs.folder / "y.h5") as after:
        rows = before.reader.read("b.ogg").astype(np.float32)
        expected = ((rows - scaler.shift) / scaler.scale).astype(np.float16)
        assert np.array_equal(after.reader.read("b.ogg"), expected)
    tiny = replace(scaler, scale=np.full_like(scaler.scale, 1e-6))
    with pytest.raises(ScalerError, match="leaves the range of float16"):
        rescale.apply(plain, outputs.folder / "z.h5", tiny, command="test")
