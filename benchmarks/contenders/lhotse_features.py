"""lhotse: ``CutSet.compute_and_store_features`` in several jobs, to its default store, ``.npy``.

The manifest that says how long each recording is must be there before; here it is made without
looking, so what it costs its users is not counted.
"""

from __future__ import annotations

import logging

import soundfile
import torch
from lhotse import AudioSource, CutSet, Fbank, FbankConfig, MonoCut, Recording

from benchmarks.contenders.task import (
    HOP_LENGTH,
    N_FFT,
    N_MELS,
    N_WORKERS,
    SAMPLE_RATE,
    arguments,
)


def cuts(paths: list[str]) -> CutSet:
    """The recordings as lhotse knows them; all are like the first.

    Of several channels the first is taken: mixing them, lhotse reads a file once for each.
    """
    first = soundfile.info(paths[0])
    made = []
    for number, path in enumerate(paths):
        recording = Recording(
            id=str(number),
            sources=[AudioSource("file", list(range(first.channels)), path)],
            sampling_rate=first.samplerate,
            num_samples=first.frames,
            duration=first.duration,
        ).resample(SAMPLE_RATE)
        made.append(MonoCut(recording.id, 0.0, recording.duration, 0, recording=recording))
    return CutSet.from_cuts(made)


def main() -> None:
    """Extract with Fbank, its options as near to the front end of the benchmarks as they come."""
    paths, out = arguments()
    torch.set_num_threads(1)  # as lhotse asks for where there are several jobs
    logging.basicConfig(level=logging.ERROR)
    config = FbankConfig(
        sampling_rate=SAMPLE_RATE,
        frame_length=N_FFT / SAMPLE_RATE,
        frame_shift=HOP_LENGTH / SAMPLE_RATE,
        window_type="hanning",
        preemph_coeff=0.0,
        remove_dc_offset=False,
        low_freq=0.0,
        high_freq=0.0,
        num_filters=N_MELS,
    )
    cuts(paths).compute_and_store_features(
        Fbank(config), out / "feats", num_jobs=N_WORKERS, progress_bar=False
    )


if __name__ == "__main__":
    main()
