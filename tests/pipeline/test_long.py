"""Inputs of any length: what comes of their pieces is, byte for byte, what comes of the whole."""

from __future__ import annotations

import io
import os
import sys
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import melcli
from melcli import OutputConfig, RunConfig, Selection, presets
from melcli.config import MelConfig
from melcli.errors import DeviceError
from melcli.pipeline import batching, loop, parcels, spool, waveforms, worker
from melcli.pipeline.ahead import ahead
from melcli.store import disk

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from random import Random

    from numpy.typing import NDArray

    from tests.conftest import Corpus

CONFIGS: dict[str, MelConfig] = {
    "librosa": presets.load("librosa").config,
    "kaldi with means": presets.load("kaldi-fbank-80").config.updated(
        {"scale.utt_norm": "mean_var", "wave.wave_dc": True, "wave.sample_rate": 8000}
    ),
    "peak, patches": presets.load("torchaudio").config.updated(
        {"wave.wave_norm": "peak", "out.patch_frames": 16, "out.patch_hop": 5}
    ),
    "lfr stacks of each channel": presets.load("funasr-paraformer-560").config.updated(
        {"wave.channels": "each"}
    ),
    "length first": MelConfig().updated({"frame.pad": "tf_same", "frame.pad_mode": "constant"}),
    "fixed length": presets.load("whisper-80").config.updated({"wave.fix_samples": 9_000}),
}
FILES = {"a.wav": 44_100, "b.flac": 16_000, "c.ogg": 22_050, "d.mp3": 16_000, "e.wav": 8_000}


def small(patch: pytest.MonkeyPatch) -> None:
    """Read 4 kB at a time, keep 8 kB of rows in memory, and map them 2 kB at a time."""
    patch.setattr(waveforms, "PIECE_BYTES", 4096)
    patch.setattr(spool, "IN_MEMORY", 8192)
    patch.setattr(worker, "STEP_BYTES", 2048)


def mels(folder: Path, output: Path, config: MelConfig, run: RunConfig, **out: Any) -> Any:
    """All items of an extraction: their rows, and what is told of them."""
    report = melcli.extract(folder, output, config, out=OutputConfig(**out), run=run)
    with melcli.open(output) as made:
        rows = {name: made.reader.read(name).tobytes() for name in made}
        outcomes = sorted(made.reader.outcomes(), key=lambda outcome: outcome.id)
    return report.exit_code, rows, outcomes


@pytest.mark.parametrize("long", ["error", "cut", "chunks"])
@pytest.mark.parametrize("name", CONFIGS)
def test_pieces_give_the_bytes_of_the_whole(
    corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, long: str
) -> None:
    """Every kind of file and rule, resampled, mixed, and with the words of every failure."""
    for file, rate in FILES.items():
        corpus.add(file, 1.3, rate, n_channels=2)
    corpus.add("short.wav", 0.01)
    corpus.cut("cut.wav", 1.5)
    wild = corpus.samples("wild", 1.0)
    wild[9_000:9_003] = np.nan
    corpus.add_samples("wild.wav", wild, subtype="FLOAT")
    corpus.add_samples("loud.wav", corpus.samples("loud", 1.0) * 3, subtype="FLOAT")
    config = CONFIGS[name]
    whole = mels(corpus.folder, tmp_path / "whole.h5", config, RunConfig(workers=2), long=long)
    small(monkeypatch)
    for fork_bytes in (0, 1 << 40):  # in processes, and in threads
        monkeypatch.setattr(loop, "FORK_BYTES", fork_bytes)
        path = tmp_path / f"pieces-{fork_bytes}.h5"
        pieces = mels(corpus.folder, path, config, RunConfig(workers=2), long=long)
        assert pieces == whole
    alone = mels(corpus.folder, f"{tmp_path}/npy/", config, RunConfig(workers=1), long=long)  # type: ignore[arg-type]
    assert alone[:2] == whole[:2]  # checksums of .npy are of its own axis order


CORPORA = st.fixed_dictionaries(
    {
        "lengths": st.lists(st.integers(200, 60_000), min_size=1, max_size=5),
        "rates": st.lists(st.sampled_from([8000, 16_000, 22_050, 44_100]), min_size=5, max_size=5),
        "n_channels": st.integers(1, 3),
        "extension": st.sampled_from([".wav", ".flac", ".ogg"]),
    }
)
MANNERS = st.fixed_dictionaries(
    {
        "piece_bytes": st.integers(400, 60_000),
        "batch_bytes": st.integers(1000, 200_000),
        "workers": st.integers(1, 4),
        "memory": st.sampled_from([64 << 20, 1 << 30]),
        "fork_bytes": st.sampled_from([0, 1 << 40]),
        "tray_bytes": st.sampled_from([0, 10_000, 4 << 20]),
    }
)


@given(
    name=st.sampled_from(sorted(CONFIGS)),
    dtype=st.sampled_from(["float32", "float16"]),
    made_of=CORPORA,
    how=MANNERS,
    random=st.randoms(use_true_random=False),
)
@settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck))
def test_nothing_but_the_input_decides_the_bytes(
    corpus: Corpus, tmp_path_factory: pytest.TempPathFactory, name: str, dtype: Any,
    made_of: dict[str, Any], how: dict[str, int], random: Random,
) -> None:  # fmt: skip
    """Not the workers, the memory, the batch, the order, the company, nor the pieces."""
    folder = tmp_path_factory.mktemp("law")
    corpus = type(corpus)(folder / "in")
    for k, (n_samples, rate) in enumerate(zip(made_of["lengths"], made_of["rates"], strict=False)):
        seconds = n_samples / rate
        corpus.add(f"{k}{made_of['extension']}", seconds, rate, made_of["n_channels"])
    out = OutputConfig(dtype=dtype, long="chunks")
    melcli.extract(corpus.folder, folder / "x.h5", CONFIGS[name], out=out)
    files = sorted(corpus.folder.iterdir())
    random.shuffle(files)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(waveforms, "PIECE_BYTES", how["piece_bytes"])
        patch.setattr(spool, "IN_MEMORY", 1000)
        patch.setattr(batching, "BATCH_BYTES", how["batch_bytes"])
        patch.setattr(batching, "MIN_BATCH_BYTES", how["batch_bytes"])
        patch.setattr(loop, "FORK_BYTES", how["fork_bytes"])
        patch.setattr(parcels, "_TRAY_BYTES", how["tray_bytes"])
        melcli.extract(
            Selection(paths=tuple(files), root=corpus.folder), folder / "y.h5", CONFIGS[name],
            out=out, run=RunConfig(workers=how["workers"], memory=how["memory"]),
        )  # fmt: skip
    with melcli.open(folder / "x.h5") as one, melcli.open(folder / "y.h5") as other:
        assert sorted(one) == sorted(other)
        assert all(one[item].tobytes() == other[item].tobytes() for item in one)
        told, as_told = ({o.id: o for o in made.reader.outcomes()} for made in (one, other))
        assert told == as_told


def test_standard_input_of_any_length(
    corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Audio that comes through a pipe is read in pieces too, more than once if need be."""
    config = CONFIGS["peak, patches"]
    path = corpus.add("a.wav", 1.3)
    _, whole, _ = mels(path, tmp_path / "whole.h5", config, RunConfig())
    small(monkeypatch)
    stdin = SimpleNamespace(buffer=io.BytesIO(path.read_bytes()))
    monkeypatch.setattr(sys, "stdin", stdin)
    melcli.extract("-", tmp_path / "piped.h5", config)
    with melcli.open(tmp_path / "piped.h5") as made:
        assert [made.reader.read("stdin").tobytes()] == list(whole.values())


class TestSpool:
    """Rows that wait for their item to be complete."""

    def rows(self, n_rows: int) -> NDArray[np.float32]:
        """Numbers that say where they are."""
        return np.arange(n_rows * 6, dtype=np.float32).reshape(n_rows, 2, 3)

    @pytest.mark.parametrize("in_memory", [0, 10, 1 << 20])
    def test_any_place_is_read_again(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, in_memory: int
    ) -> None:
        """In memory or on disk, while more is appended; and no file is seen."""
        monkeypatch.setattr(spool, "IN_MEMORY", in_memory)
        rows, kept = self.rows(10), spool.RowSpool((2, 3), tmp_path)
        kept.append(rows[:3])
        assert np.array_equal(kept.read(1, 3), rows[1:3])
        kept.append(rows[3:])
        assert kept.n_rows == 10
        assert np.array_equal(kept.read(0, 10), rows)
        assert kept.read(4, 4).shape == (0, 2, 3)
        assert not list(tmp_path.iterdir())

    def test_no_files_in_memory(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Where a container forbids them, there is the disk."""

        def forbidden(_name: str) -> int:
            raise OSError(38, "Function not implemented")

        monkeypatch.setattr(os, "memfd_create", forbidden, raising=False)
        kept = spool.RowSpool((2, 3), tmp_path)
        kept.append(self.rows(10))
        assert np.array_equal(kept.read(2, 9), self.rows(10)[2:9])

    def test_a_full_disk(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """It is the machine's fault, not the recording's."""

        def full(*_args: object) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(disk, "write_at", full)
        kept = spool.RowSpool((2, 3), tmp_path)
        with pytest.raises(DeviceError, match="No space left on device") as raised:
            kept.append(self.rows(1))
        assert raised.value.path == tmp_path


class TestAhead:
    """The next piece is made while the last is worked on."""

    def test_order(self) -> None:
        """Nothing is lost, doubled or moved."""
        assert list(ahead(iter(range(1000)))) == list(range(1000))

    def test_an_error_comes_where_its_item_would(self) -> None:
        """What was made before it is not lost."""

        def faulty() -> Iterator[int]:
            yield 1
            raise OSError("gone")

        items = ahead(faulty())
        assert next(items) == 1
        with pytest.raises(OSError, match="gone"):
            next(items)

    def test_leaving_early(self) -> None:
        """The thread ends, and at most three items were made."""
        made: list[int] = []

        def endless() -> Iterator[int]:
            while True:
                made.append(len(made))
                yield made[-1]

        items = ahead(endless())
        assert next(items) == 0
        items.close()  # type: ignore[attr-defined]
        assert len(made) <= 4


def test_memory_is_freed_with_the_rows(tmp_path: Path) -> None:
    """A spool's file is gone when nobody reads it any more."""
    kept = spool.RowSpool((1,), tmp_path)
    kept.append(torch.zeros(1, 1).numpy())
    fd = kept.fd
    del kept
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(fd)
