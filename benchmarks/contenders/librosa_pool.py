"""librosa in a pool of processes, one ``.npy`` a file."""

from __future__ import annotations

import multiprocessing
from functools import partial
from typing import TYPE_CHECKING

import librosa
import numpy as np

from benchmarks.contenders.task import (
    FLOOR,
    HOP_LENGTH,
    N_FFT,
    N_MELS,
    N_WORKERS,
    SAMPLE_RATE,
    arguments,
)

if TYPE_CHECKING:
    from pathlib import Path


def extract(out: Path, task: tuple[int, str]) -> None:
    """Write the log mel of one recording."""
    number, path = task
    waveform, _ = librosa.load(path, sr=SAMPLE_RATE, res_type="soxr_hq")
    mel = librosa.feature.melspectrogram(
        y=waveform, sr=SAMPLE_RATE, n_fft=N_FFT, hop_length=HOP_LENGTH, n_mels=N_MELS
    )
    np.save(out / f"{number}.npy", librosa.power_to_db(mel, amin=FLOOR, top_db=None))


def main() -> None:
    """Hand the recordings out, some at a time."""
    paths, out = arguments()
    with multiprocessing.Pool(N_WORKERS) as pool:
        for _ in pool.imap_unordered(partial(extract, out), enumerate(paths), chunksize=4):
            pass


if __name__ == "__main__":
    main()
