"""An output as torch's training loops want it: a Dataset, and a collate function."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from melcli.dataset.mels import Mels

if TYPE_CHECKING:
    import os
    from collections.abc import Sequence


class Example(NamedTuple):
    """One item.

    Args:
        id: Its id.
        mel: ``(n_mels, n_frames)``, time last whatever the config's layout.
    """

    id: str
    mel: Tensor


class Batch(NamedTuple):
    """Several items, padded to the longest.

    Args:
        ids: Their ids.
        mels: ``(n_items, n_mels, n_frames)``.
        lengths: Frames of each, ``(n_items,)``, int64.
    """

    ids: list[str]
    mels: Tensor
    lengths: Tensor


class MelDataset(Dataset[Example]):
    """A finished output as a ``torch.utils.data.Dataset``.

    Its examples are pairs of an id and a mel ``(n_mels, n_frames)``, float32 or float16 as it is
    stored, in the order of the output. `mels` is the output itself: settings, failures, scaler.

    The file is opened in each worker by itself, under fork and under spawn; what is pickled is its
    path.

    Args:
        path: An ``.h5`` file, or a folder of ``.npy``.

    Raises:
        StoreError: If it is no output of melcli, or damaged.

    >>> import melcli, tempfile
    >>> from torch.utils.data import DataLoader
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     _ = melcli.extract("examples/audio/noise", f"{folder}/mels.h5", "hifigan-22k")
    ...     dataset = MelDataset(f"{folder}/mels.h5")
    ...     for ids, mels, lengths in DataLoader(dataset, batch_size=2, collate_fn=collate):
    ...         print(ids, tuple(mels.shape), lengths.tolist())
    ['bursts.wav', 'surf.flac'] (2, 80, 172) [129, 172]
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.mels = Mels(path)
        self._ids = np.array(list(self.mels), dtype=object)

    def __len__(self) -> int:
        return len(self._ids)

    def __getitem__(self, index: int) -> Example:
        item_id = self._ids[index]
        rows = self.mels.reader.read(item_id)
        # A copy: the rows may be a view of a file that is opened read-only.
        mel = torch.from_numpy(np.array(np.moveaxis(rows, 0, -1), order="C"))
        return Example(item_id, mel)


def collate(examples: Sequence[Example], padding: float = 0.0) -> Batch:
    """Pad examples to the longest, for a DataLoader's ``collate_fn``.

    Args:
        examples: Items of one output.
        padding: Value behind the end of shorter items. In a log mel 0 is no silence:
            ``functools.partial(melcli.collate, padding=-11.5)``.

    Returns:
        The batch, with the length of each item.

    >>> short, long = torch.ones(2, 1), torch.ones(2, 3)
    >>> collate([Example("a", short), Example("b", long)]).mels[0]
    tensor([[1., 0., 0.],
            [1., 0., 0.]])
    """
    lengths = torch.tensor([example.mel.shape[-1] for example in examples], dtype=torch.int64)
    first = examples[0].mel
    shape = (len(examples), *first.shape[:-1], int(lengths.max()))
    mels = first.new_full(shape, padding)
    for place, example in zip(mels, examples, strict=True):
        place[..., : example.mel.shape[-1]] = example.mel
    return Batch([example.id for example in examples], mels, lengths)
