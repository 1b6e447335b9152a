"""The mel alone, on one core: melcli against what people write with torch and librosa.

``python benchmarks/mel.py`` prints a table of ratios from one run, medians of several rounds.
"""

from __future__ import annotations

import statistics
import sys
import time
from typing import TYPE_CHECKING

import librosa
import numpy as np
import torch

from melcli.config import Frame, Log, MelConfig
from melcli.dsp.frontend import FrontEnd
from melcli.dsp.mel import config_filterbank

if TYPE_CHECKING:
    from collections.abc import Callable

ROUNDS = 7
CLIPS, SECONDS, SAMPLE_RATE = 32, 10, 16_000
CONFIG = MelConfig(
    frame=Frame(n_fft=1024, hop_length=256),
    log=Log(floor_mode="clamp", floor=1e-10, log="log10"),
)


def contenders(clips: list[torch.Tensor]) -> dict[str, Callable[[], object]]:
    """What is timed: each takes all clips once."""
    frontend = FrontEnd(CONFIG)
    window = torch.hann_window(1024)
    bank = config_filterbank(CONFIG)
    frames = torch.randn(1 + SECONDS * SAMPLE_RATE // 256, 1024)

    def melcli_batches() -> None:
        for first in range(0, len(clips), 8):
            frontend.rows(clips[first : first + 8])

    def torch_stft() -> None:
        for clip in clips:
            spectrum = torch.stft(clip, 1024, 256, window=window, return_complex=True)
            (bank @ spectrum.abs().pow(2)).clamp(min=1e-10).log10()

    def bare_rfft() -> None:
        for _ in clips:
            torch.fft.rfft(frames)

    def librosa_mel() -> None:
        for clip in clips:
            mel = librosa.feature.melspectrogram(
                y=clip.numpy(), sr=SAMPLE_RATE, n_fft=1024, hop_length=256, n_mels=80, htk=True
            )
            librosa.power_to_db(mel, top_db=None)

    return {
        "melcli": melcli_batches,
        "torch.stft + abs + matmul + log": torch_stft,
        "librosa": librosa_mel,
        "bare torch.fft.rfft of the frames": bare_rfft,
    }


def main() -> None:
    """Time everything in turn, round by round, and print the medians."""
    torch.set_num_threads(1)
    rng = np.random.default_rng(0)
    noise = rng.standard_normal((CLIPS, SECONDS * SAMPLE_RATE), dtype=np.float32) * 0.1
    clips = list(torch.from_numpy(noise))
    timed = contenders(clips)
    seconds: dict[str, list[float]] = {name: [] for name in timed}
    with torch.inference_mode():
        for _ in range(ROUNDS + 1):  # the first warms up
            for name, run in timed.items():
                began = time.perf_counter()
                run()
                seconds[name].append(time.perf_counter() - began)
    ours = statistics.median(seconds["melcli"][1:])
    out = sys.stdout
    out.write(f"{'one core, 10 s clips, 1024/256/80, log10':42} x real time   melcli is\n")
    for name, rounds in seconds.items():
        median = statistics.median(rounds[1:])
        speed = CLIPS * SECONDS / median
        out.write(f"{name:42} {speed:11,.0f}   {median / ours:6.2f} x as fast\n")


if __name__ == "__main__":
    main()
