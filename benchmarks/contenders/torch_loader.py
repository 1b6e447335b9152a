"""torchaudio's way: ``torch.stft``, ``abs``, a matrix product and a log in a DataLoader, to HDF5.

torchaudio's transforms are these very operations. They are written out, because its wheels are
built for CUDA and do not load beside a CPU build of torch.
"""

from __future__ import annotations

import h5py
import torch
from torch.utils.data import DataLoader, Dataset

from benchmarks.contenders.task import (
    CONFIG,
    FLOOR,
    HOP_LENGTH,
    N_FFT,
    N_WORKERS,
    arguments,
    load,
)
from melcli import presets
from melcli.dsp.mel import config_filterbank


class Mels(Dataset[torch.Tensor]):
    """The log mel of every recording, computed in the worker that read it."""

    def __init__(self, paths: list[str]) -> None:
        self.paths = paths
        self.window = torch.hann_window(N_FFT)
        self.bank = config_filterbank(presets.load(str(CONFIG)).config)

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> torch.Tensor:
        waveform = torch.from_numpy(load(self.paths[index]))
        spectrum = torch.stft(waveform, N_FFT, HOP_LENGTH, window=self.window, return_complex=True)
        return (self.bank @ spectrum.abs().pow(2)).clamp(min=FLOOR).log10()


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
