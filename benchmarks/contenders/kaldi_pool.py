"""kaldi-native-fbank in a pool of processes, one ``.npy`` a file."""

from __future__ import annotations

import multiprocessing
from functools import partial
from typing import TYPE_CHECKING

import kaldi_native_fbank
import numpy as np

from benchmarks.contenders.task import (
    HOP_LENGTH,
    N_FFT,
    N_MELS,
    N_WORKERS,
    SAMPLE_RATE,
    arguments,
    load,
)

if TYPE_CHECKING:
    from pathlib import Path


def options() -> kaldi_native_fbank.FbankOptions:
    """The front end of the benchmarks, as near as Kaldi's options come."""
    chosen = kaldi_native_fbank.FbankOptions()
    chosen.frame_opts.samp_freq = SAMPLE_RATE
    chosen.frame_opts.frame_length_ms = 1000 * N_FFT / SAMPLE_RATE
    chosen.frame_opts.frame_shift_ms = 1000 * HOP_LENGTH / SAMPLE_RATE
    chosen.frame_opts.window_type = "hann"
    chosen.frame_opts.dither = 0.0
    chosen.frame_opts.preemph_coeff = 0.0
    chosen.frame_opts.remove_dc_offset = False
    chosen.frame_opts.snip_edges = False
    chosen.mel_opts.num_bins = N_MELS
    chosen.mel_opts.low_freq = 0.0
    return chosen


def extract(out: Path, task: tuple[int, str]) -> None:
    """Write the log mel of one recording."""
    number, path = task
    fbank = kaldi_native_fbank.OnlineFbank(options())
    fbank.accept_waveform(SAMPLE_RATE, load(path))
    fbank.input_finished()
    frames = [fbank.get_frame(i) for i in range(fbank.num_frames_ready)]
    np.save(out / f"{number}.npy", np.stack(frames))


def main() -> None:
    """Hand the recordings out, some at a time."""
    paths, out = arguments()
    with multiprocessing.Pool(N_WORKERS) as pool:
        for _ in pool.imap_unordered(partial(extract, out), enumerate(paths), chunksize=4):
            pass


if __name__ == "__main__":
    main()
