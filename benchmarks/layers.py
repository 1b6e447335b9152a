"""The mel as a layer, forward and with gradients: melcli beside torchaudio and nnAudio.

``python -m benchmarks.layers`` prints, for batches as trainings have them, the median time of each
and how many times faster melcli is (the least and the most of single rounds in brackets). All are
the same mel, float32, of waveforms that are in memory; ``--threads N`` for more than one.
"""

from __future__ import annotations

import statistics
import sys
import time
import types
from typing import TYPE_CHECKING, Any, Final

import click
import torch

import melcli
from melcli.compat import nnaudio
from melcli.config import Frame, Mel, MelConfig, Wave

if TYPE_CHECKING:
    from collections.abc import Callable

RATE: Final = 22_050
N_FFT: Final = 1024
HOP: Final = 256
N_MELS: Final = 80
SHAPES: Final = ((16, 8_192), (64, 16_000), (8, 220_500))
"""A vocoder's segments, seconds, and ten seconds each."""


def layers() -> dict[str, dict[str, Callable[[torch.Tensor], torch.Tensor]]]:
    """Those that compute the same, ours first."""
    # torchaudio's compiled part, which its wheel links to CUDA, is not needed here.
    stand_in = types.ModuleType("torchaudio._extension")
    vars(stand_in).update(_IS_TORCHAUDIO_EXT_AVAILABLE=False, fail_if_no_align=lambda f: f)
    sys.modules["torchaudio._extension"] = stand_in
    import nnAudio.features
    import torchaudio

    config = MelConfig(
        wave=Wave(sample_rate=RATE),
        frame=Frame(n_fft=N_FFT, hop_length=HOP),
        mel=Mel(n_mels=N_MELS, mel_scale="slaney", fb_norm="slaney"),
    )
    same: dict[str, Any] = {"n_fft": N_FFT, "hop_length": HOP, "n_mels": N_MELS}
    frozen = {
        "melcli": melcli.MelSpectrogram(config),
        "torchaudio": torchaudio.transforms.MelSpectrogram(
            RATE, N_FFT, hop_length=HOP, n_mels=N_MELS, norm="slaney", mel_scale="slaney"
        ),
        "nnAudio": nnAudio.features.MelSpectrogram(**same, verbose=False),
    }
    found: dict[str, dict[str, Callable[[torch.Tensor], torch.Tensor]]] = {"frozen": frozen}
    for part in ("trainable_mel", "trainable_STFT"):
        learns = {**same, part: True}
        found[part] = {
            "melcli": nnaudio.MelSpectrogram(**learns),
            "nnAudio": nnAudio.features.MelSpectrogram(**learns, verbose=False),
        }
    return found


@click.command(help=__doc__)
@click.option("--threads", default=1, show_default=True)
@click.option("--rounds", default=11, show_default=True)
def main(threads: int, rounds: int) -> None:
    """Time all of them in turns, round by round."""
    torch.set_num_threads(threads)
    for kind, contenders in layers().items():
        for shape in SHAPES:
            for backward in (False, True):
                seconds: dict[str, list[float]] = {name: [] for name in contenders}
                waveforms = 0.1 * torch.randn(shape)
                waveforms.requires_grad_(backward)
                for _ in range(rounds + 1):
                    for name, layer in contenders.items():
                        begun = time.perf_counter()
                        mels = layer(waveforms)
                        if backward:
                            torch.autograd.backward(mels.sum())
                        seconds[name].append(time.perf_counter() - begun)
                what = "forward and backward" if backward else "forward"
                click.echo(f"{kind}, {shape[0]} x {shape[1]} samples, {what}:")
                click.echo(_told(seconds))


def _told(seconds: dict[str, list[float]]) -> str:
    ours = seconds["melcli"][1:]  # the first round warms up
    lines = [f"  melcli {statistics.median(ours) * 1e3:.1f} ms"]
    for name, theirs in seconds.items():
        if name != "melcli":
            ratios = sorted(t / o for t, o in zip(theirs[1:], ours, strict=True))
            lines.append(
                f"  {name} {statistics.median(theirs[1:]) * 1e3:.1f} ms,"
                f" {statistics.median(ratios):.2f} ({ratios[0]:.2f}..{ratios[-1]:.2f}) x"
            )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
