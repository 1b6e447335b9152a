"""The numbers of the originals: arrays that their code made once, see tests/golden/README.md."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from melcli import presets
from melcli.config import MelConfig
from melcli.dsp.frontend import FrontEnd

if TYPE_CHECKING:
    from tests.originals import GOLDEN, INDEX, compare, differences, golden_config, levels
else:
    from originals import GOLDEN, INDEX, compare, differences, golden_config, levels

COMPARED = Path(__file__).parent.parent / "data" / "compared.txt"

BY_TORCH_STFT = {
    "bigvgan",
    "chatterbox-tts (one file)",
    "librosa+torch",
    "matcha-tts (one file)",
    "nemo-toolkit (one file)",
    "openai-whisper",
    "s3tokenizer",
    "vocos",
}
"""Packages that call torch.stft: the same FFT library and windows as ours."""

MEAN = 2e-5
"""Float32 keeps 7 digits; a log mel of about 10 has 1e-6 of rounding, its FFT some times that."""
MEAN_DB = 5e-5
"""A decibel of power is 4.3 times finer than a natural logarithm."""
LARGEST_BY_TORCH_STFT = 1e-4
"""The same FFT library on another processor: from float64, HiFi-GAN's array is 0.9e-5 away and what
torch.stft gives here is 1.2e-5, 83 dB down; 6.3e-5 was the most (bigvgan-v2-44k-128-256x). On one
machine test_reference.py asks for 1e-5 of torch.stft itself."""
LARGEST = 5e-3
"""Another FFT rounds elsewhere: by 1e-7 of the frame's loudest bin (measured), which is 5e-3 of
what lies 100 dB of power below the item's, a factor of 5 for how the loudest frame differs."""
LARGEST_SHARE_SET_ASIDE = 0.2
"""The signal is exactly silent for an eighth of its length."""


@pytest.mark.parametrize("name", sorted(INDEX))
def test_equals_the_original(name: str) -> None:
    """A front end gives what the code it is named after gives."""
    config, found = golden_config(name), compare(name)
    assert list(found.shape) == INDEX[name]["shape"]
    assert found.tail_is_equal  # what stands for rows that were left out
    in_decibels = config.log.log_mult != 1.0 and config.scale.utt_norm == "none"
    assert found.mean <= (MEAN_DB if in_decibels else MEAN)
    # A band that hardly varies is divided by next to nothing, its last digits too.
    by_torch_stft = INDEX[name]["package"] in BY_TORCH_STFT and config.scale.utt_norm == "none"
    assert found.largest <= (LARGEST_BY_TORCH_STFT if by_torch_stft else LARGEST)
    assert found.set_aside <= LARGEST_SHARE_SET_ASIDE


def test_every_front_end_is_compared() -> None:
    """Every front end whose original was run has its array, and a line in docs/fidelity.md."""
    lines = COMPARED.read_text().splitlines()
    compared = {line for line in lines if line and not line.startswith("#")}
    assert set(INDEX) == compared <= set(presets.names())
    assert {path.stem for path in GOLDEN.glob("*.npz")} == compared | {"signals"}
    told = (GOLDEN.parent.parent / "docs" / "fidelity.md").read_text()
    assert all(f"| `{name}` |" in told for name in compared)


def test_the_folder_stays_small() -> None:
    """A clone pays for the golden arrays: 60 kB a front end, and its signals."""
    assert all(path.stat().st_size < 60_000 for path in (GOLDEN / f"{name}.npz" for name in INDEX))
    assert (GOLDEN / "signals.npz").stat().st_size < 1_500_000


def test_the_comparison_sees_one_wrong_bin() -> None:
    """A difference in one bin that holds sound is found, and one below it is counted."""
    level = np.full((10, 10), -50.0)
    theirs = np.zeros((10, 10), np.float32)
    ours = theirs.copy()
    ours[3, 4] = 0.5
    assert differences(ours, theirs, level) == (0.005, 0.5, 0.0)
    level[3, 4] = -100.1
    mean, largest, share = differences(ours, theirs, level)
    assert (mean, largest) == (0.0, 0.0)
    assert share == pytest.approx(0.01)


def test_levels_are_decibels_of_sound_pressure() -> None:
    """A tone 40 dB below another is 40 dB below it, in a mel of magnitudes and of powers alike."""
    t = torch.arange(16_000) / 16_000
    loud, quiet = torch.sin(6283.1853 * t), 0.01 * torch.sin(6283.1853 * t)
    waveform = torch.cat([loud, quiet])
    for power in (1.0, 2.0):
        frontend = FrontEnd(MelConfig().updated({"spec.power": power}))
        level = levels(frontend, waveform)
        assert level.max() == 0.0
        apart = level[50].max() - level[150].max()
        assert apart == pytest.approx(40.0, abs=0.01)  # 10 ms hops see the tone at other phases
