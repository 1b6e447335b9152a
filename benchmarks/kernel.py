"""The mel alone, on one core: melcli against what people write with torch and librosa.

``python -m benchmarks.kernel LIST`` takes as many recordings of LIST as make a few minutes, and
prints the seconds of every round as JSON. glibc is set as melcli's command sets it, for all;
``--default-allocator`` behind it leaves glibc as it is.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import librosa
import torch

from benchmarks.contenders.task import (
    CONFIG,
    FLOOR,
    HOP_LENGTH,
    N_FFT,
    N_MELS,
    SAMPLE_RATE,
    load,
)
from melcli import presets
from melcli.cli.process import keep_freed_memory
from melcli.dsp.frontend import FrontEnd
from melcli.dsp.mel import config_filterbank

if TYPE_CHECKING:
    from collections.abc import Callable

ROUNDS = 7
CLIPS = 30
BLOCK = 256
"""Frames that the bare FFT is handed at once, contiguous already."""
BATCH = 6
"""Clips of 10 s in a batch: what the pipeline takes at once."""


def contenders(clips: list[torch.Tensor]) -> dict[str, Callable[[], object]]:
    """What is timed: each takes all clips once."""
    config = presets.load(str(CONFIG)).config
    frontend = FrontEnd(config)
    window = torch.hann_window(N_FFT)
    bank = config_filterbank(config)
    edge = N_FFT // 2
    padded = [torch.nn.functional.pad(clip, (edge, edge)) for clip in clips]
    frames = torch.cat([clip.unfold(0, N_FFT, HOP_LENGTH) for clip in padded])

    def melcli_batches() -> None:
        for first in range(0, len(clips), BATCH):
            frontend.rows(clips[first : first + BATCH])

    def torch_stft() -> None:
        for clip in clips:
            spectrum = torch.stft(clip, N_FFT, HOP_LENGTH, window=window, return_complex=True)
            (bank @ spectrum.abs().pow(2)).clamp(min=FLOOR).log10()

    def bare_rfft() -> None:
        for first in range(0, len(frames), BLOCK):
            torch.fft.rfft(frames[first : first + BLOCK])

    def librosa_mel() -> None:
        for clip in clips:
            mel = librosa.feature.melspectrogram(
                y=clip.numpy(), sr=SAMPLE_RATE, n_fft=N_FFT, hop_length=HOP_LENGTH, n_mels=N_MELS
            )
            librosa.power_to_db(mel, top_db=None)

    return {
        "melcli": melcli_batches,
        "torch.stft, abs, matmul, log": torch_stft,
        "librosa": librosa_mel,
        "bare torch.fft.rfft of the frames": bare_rfft,
    }


def main() -> None:
    """Time everything in turn, round by round."""
    torch.set_num_threads(1)
    if "--default-allocator" not in sys.argv:
        keep_freed_memory()
    paths = Path(sys.argv[1]).read_text().splitlines()[:CLIPS]
    clips = [torch.from_numpy(load(path)) for path in paths]
    timed = contenders(clips)
    seconds: dict[str, list[float]] = {name: [] for name in timed}
    with torch.inference_mode():
        for _ in range(ROUNDS + 1):
            for name, run in timed.items():
                began = time.perf_counter()
                run()
                seconds[name].append(time.perf_counter() - began)
    audio = sum(map(len, clips)) / SAMPLE_RATE
    rounds = {name: taken[1:] for name, taken in seconds.items()}  # the first warms up
    json.dump({"audio_seconds": audio, "rounds": rounds}, sys.stdout)


if __name__ == "__main__":
    main()
