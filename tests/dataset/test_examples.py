"""``melcli.MelDataset`` and ``melcli.collate`` in a training loop."""

from __future__ import annotations

import functools
import multiprocessing
import pickle
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

import melcli
from melcli import Example, MelDataset, collate

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.conftest import Corpus


@pytest.fixture(params=["x.h5", "npy/"])
def path(request: pytest.FixtureRequest, corpus: Corpus, tmp_path: Path) -> Path:
    """An output of items of three lengths."""
    for k in range(6):
        corpus.add(f"{k}.wav", 0.1 + 0.1 * (k % 3))
    melcli.extract(corpus.folder, f"{tmp_path}/{request.param}")
    return tmp_path / str(request.param)


@pytest.fixture
def dataset(path: Path) -> Iterator[MelDataset]:
    """It as a dataset."""
    dataset = MelDataset(path)
    yield dataset
    dataset.mels.close()


class TestDataset:
    """Items as torch wants them."""

    def test_items(self, dataset: MelDataset, path: Path) -> None:
        """Each item is its id and its mel, mels first and time last, ready to be written to."""
        assert len(dataset) == 6
        with melcli.open(path) as output:
            for k, (name, mel) in enumerate(output.items()):
                example = dataset[k]
                assert example.id == name
                assert example.mel.dtype == torch.float32
                assert np.array_equal(example.mel.numpy(), mel)
                example.mel.zero_()
            assert all(mel.any() for mel in output.values())

    def test_time_last(self, corpus: Corpus, tmp_path: Path) -> None:
        """Also where the config's layout has time first."""
        corpus.add("a.wav")
        melcli.extract(corpus.folder, tmp_path / "kaldi.h5", "kaldi-fbank-80")
        dataset = MelDataset(tmp_path / "kaldi.h5")
        assert dataset[0].mel.shape == (80, 18)
        assert dataset[0].mel.is_contiguous()
        dataset.mels.close()

    def test_indices(self, dataset: MelDataset) -> None:
        """Indices count as in a list: from the end too, and not beyond."""
        assert dataset[-1].id == dataset[5].id
        with pytest.raises(IndexError):
            dataset[6]
        assert [example.id for example in dataset] == [f"{k}.wav" for k in range(6)]  # type: ignore[attr-defined]

    def test_pickle(self, dataset: MelDataset) -> None:
        """It can be handed to a worker, and reads the same there."""
        back = pickle.loads(pickle.dumps(dataset))  # noqa: S301, what was pickled a moment ago
        assert torch.equal(back[3].mel, dataset[3].mel)
        back.mels.close()

    # Python 3.12 warns of any fork in a process with threads, which torch has.
    @pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
    @pytest.mark.parametrize("start", ["fork", "spawn"])
    def test_workers(self, dataset: MelDataset, start: str) -> None:
        """Two workers, however they are started, give what one process gives, in order."""
        if start not in multiprocessing.get_all_start_methods():
            pytest.skip(f"needs {start}")
        if start == "spawn" and dataset.mels.path.is_dir():
            pytest.skip("takes seconds, and the .h5 file is the harder case")
        loaded = DataLoader(
            dataset, batch_size=2, num_workers=2, collate_fn=collate, multiprocessing_context=start
        )
        expected = [collate([dataset[k], dataset[k + 1]]) for k in (0, 2, 4)]
        for batch, other in zip(loaded, expected, strict=True):
            assert batch.ids == other.ids
            assert torch.equal(batch.mels, other.mels)
            assert torch.equal(batch.lengths, other.lengths)


class TestCollate:
    """Padded batches."""

    def test_padding(self, rng: np.random.Generator) -> None:
        """Each example stands at the start of its place, and nothing but padding follows."""
        lengths = [3, 7, 1]
        mels = [torch.from_numpy(rng.normal(size=(4, length))) for length in lengths]
        batch = collate([Example(str(k), mel) for k, mel in enumerate(mels)], padding=-11.5)
        assert (batch.ids, batch.lengths.tolist()) == (["0", "1", "2"], lengths)
        assert batch.mels.shape == (3, 4, 7)
        assert batch.mels.dtype == torch.float64
        for place, mel in zip(batch.mels, mels, strict=True):
            assert torch.equal(place[:, : mel.shape[1]], mel)
            assert bool((place[:, mel.shape[1] :] == -11.5).all())

    def test_partial(self) -> None:
        """The padding is chosen with ``functools.partial``, which workers can be handed."""
        with_silence = pickle.loads(pickle.dumps(functools.partial(collate, padding=-1.0)))  # noqa: S301
        batch = with_silence([Example("a", torch.zeros(1, 1)), Example("b", torch.zeros(1, 2))])
        assert batch.mels[0].tolist() == [[0.0, -1.0]]

    def test_half_precision(self) -> None:
        """The dtype stays what it is."""
        batch = collate([Example("a", torch.ones(2, 3, dtype=torch.float16))])
        assert batch.mels.dtype == torch.float16
