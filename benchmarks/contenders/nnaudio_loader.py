"""nnAudio in a DataLoader, to HDF5.

The layer is called in the workers, on one recording at a time: on CPUs that is faster than batches
in the main process with torch's own threads, as its manual has it for a GPU.
"""

from __future__ import annotations

import h5py
import torch
from nnAudio.features.mel import MelSpectrogram
from torch.utils.data import DataLoader, Dataset

from benchmarks.contenders.task import (
    FLOOR,
    HOP_LENGTH,
    N_FFT,
    N_MELS,
    N_WORKERS,
    SAMPLE_RATE,
    arguments,
    load,
)


class Mels(Dataset[torch.Tensor]):
    """The log mel of every recording, computed in the worker that read it."""

    def __init__(self, paths: list[str]) -> None:
        self.paths = paths
        self.layer = MelSpectrogram(
            sr=SAMPLE_RATE, n_fft=N_FFT, hop_length=HOP_LENGTH, n_mels=N_MELS, verbose=False
        )

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> torch.Tensor:
        with torch.inference_mode():
            mel: torch.Tensor = self.layer(torch.from_numpy(load(self.paths[index])))
            return mel[0].clamp(min=FLOOR).log10()


def main() -> None:
    """Write each mel as a dataset of one HDF5 file."""
    paths, out = arguments()
    # Mels in eights: fewer messages from worker to writer, and no need to be equally long.
    loader = DataLoader(Mels(paths), batch_size=8, collate_fn=list, num_workers=N_WORKERS)
    with h5py.File(out / "mels.h5", "w") as file:
        for number, mel in enumerate(mel for mels in loader for mel in mels):
            file.create_dataset(str(number), data=mel.numpy())


if __name__ == "__main__":
    main()
