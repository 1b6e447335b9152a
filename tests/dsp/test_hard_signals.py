"""Every named front end on signals that break front ends, and what originals make of silence."""

from __future__ import annotations

import math

import pytest
import torch

from melcli import frames, presets
from melcli.dsp.frontend import FrontEnd


def hard_signals(name: str) -> dict[str, torch.Tensor]:
    """Silence, an impulse, a square wave, a sample more and less than whole hops, the shortest."""
    config = presets.load(name).config
    hop, shortest = config.frame.hop_length, frames.shortest(config)
    n = max(shortest, 20 * hop) + -max(shortest, 20 * hop) % hop
    tone = 0.5 * torch.sin(torch.arange(n + 1) / 5)
    return {
        "silence": torch.zeros(n),
        "impulse": (torch.arange(n) == n // 2).to(torch.float32),
        "square": 1.0 - 2.0 * (torch.arange(n) // 40 % 2),
        "one more": tone,
        "one less": tone[: max(shortest, n - 1)],
        "shortest": tone[:shortest],
    }


@pytest.mark.parametrize("name", presets.names())
def test_hard_signals_give_finite_numbers_of_the_right_shape(name: str) -> None:
    """No front end gives NaN, infinity or a wrong number of rows, whatever it is fed."""
    config = presets.load(name).config
    frontend = FrontEnd(config)
    signals = hard_signals(name)
    with torch.inference_mode():
        mels = frontend.rows(list(signals.values()))
    for what, mel in zip(signals, mels, strict=True):
        n_rows = frames.n_rows(config, signals[what].shape[0])
        assert mel.shape == (n_rows, *config.row_shape), what
        assert torch.isfinite(mel).all(), what


@pytest.mark.parametrize(
    ("name", "low", "high"),
    [
        ("whisper-128", -1.5, -1.5),  # (log10 1e-10 + 4) / 4
        ("kaldi-fbank-80-nosnip", -23 * math.log(2), -23 * math.log(2)),  # ln of float32's epsilon
        ("bigvgan-22k-80-fmax8k", math.log(1e-5), math.log(1e-5)),  # 1e-9 does not show through
        ("vits-22k", -10.01, -9.93),  # 1e-6 does
        ("melgan-22k-log10", -5.0, -5.0),
        ("parallel-wavegan-22k", -10.0, -10.0),
        ("gemma4-128", math.log(1e-3), math.log(1e-3)),
    ],
)
def test_silence_is_what_the_original_makes_of_it(name: str, low: float, high: float) -> None:
    """The floors of the originals, kept in kind and in value."""
    config = presets.load(name).config
    mel = FrontEnd(config).rows([torch.zeros(config.wave.sample_rate)])[0]
    assert float(mel.min()) >= low - 1e-5  # the last digit of a float32 near 16
    assert float(mel.max()) <= high + 1e-5


def test_frames_that_ast_fills_in_are_scaled_zeros() -> None:
    """AST pads before it normalises: (0 + 4.2677393) / 9.1379 = 0.467033."""
    mel = FrontEnd(presets.load("ast-audioset").config).rows([torch.ones(16_000)])[0]
    assert mel.shape == (1024, 128)
    assert float((mel[200:] - 0.467033).abs().max()) <= 1e-5
