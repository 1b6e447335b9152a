"""The numbers of the originals: arrays that their code made once, see tests/golden/README.md."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

from melcli import presets
from melcli.config import MelConfig
from melcli.config.fields import GROUPS
from melcli.dsp.compression import Floor, Logarithm
from melcli.dsp.frontend import FrontEnd, pack

if TYPE_CHECKING:
    from numpy.typing import NDArray

GOLDEN = Path(__file__).parent.parent / "golden"
INDEX: dict[str, dict[str, Any]] = json.loads((GOLDEN / "index.json").read_text())

WITHOUT_ARRAY: frozenset[str] = frozenset()
"""Front ends whose original could not be run."""

BY_TORCH_STFT = {"dcase-task4-desed-16k", "hifigan-22k", "whisper-80"}
"""Originals that call torch.stft: the same FFT library and windows as ours."""

MEAN = 2e-5
"""Float32 keeps 7 digits; a log mel of about 10 has 1e-6 of rounding, its FFT some times that."""
MEAN_DB = 5e-5
"""A decibel of power is 4.3 times finer than a natural logarithm."""
LARGEST_BY_TORCH_STFT = 2e-5
"""The same FFT library on another processor: from float64, HiFi-GAN's array is 0.9e-5 away and what
torch.stft gives here is 1.2e-5 (measured, 83 dB down). On one machine test_reference.py asks for
1e-5 of torch.stft itself, and gets 0."""
LARGEST = 5e-3
"""Another FFT rounds elsewhere: by 1e-7 of the frame's loudest bin (measured), which is 5e-3 of
what lies 100 dB of power below the item's, a factor of 5 for how the loudest frame differs."""
SET_ASIDE_DB = -100.0
"""Below this a float32 FFT leaves rounding noise, not sound: no two libraries agree there."""
LARGEST_SHARE_SET_ASIDE = 0.2
"""The signal is exactly silent for an eighth of its length."""


def golden_config(name: str) -> MelConfig:
    """The front end, with the fields in which the run of the original differed."""
    group_of = {f.name: group for group, kind in GROUPS.items() for f in dataclasses.fields(kind)}
    overrides = INDEX[name]["overrides"]
    changes = {f"{group_of[k]}.{k}": v for k, v in overrides.items() if k != "layout"}
    return presets.load(name).config.updated(changes)


def golden_waveform(name: str) -> torch.Tensor:
    """What the original was fed."""
    with np.load(GOLDEN / "signals.npz") as signals:
        signal = signals[str(INDEX[name]["sample_rate"])][: INDEX[name]["n_samples"]]
    return torch.from_numpy(signal)


def levels(frontend: FrontEnd, waveform: torch.Tensor) -> NDArray[np.float64]:
    """The linear mel, in dB below its loudest bin: the front end's stages up to the floor."""
    for stage in frontend.sample_stages:
        waveform = stage(waveform)
    packed = pack(frontend.config, [waveform], frontend.block_rows)
    mel = packed.frames
    for stage in frontend.frame_stages:
        if isinstance(stage, Floor | Logarithm):
            break
        mel = stage(mel)
    linear = mel[: packed.n_rows[0]].double().numpy()
    decibels = 20 / frontend.config.spec.power
    below: NDArray[np.float64] = decibels * np.log10(np.maximum(linear / linear.max(), 1e-300))
    return below


def differences(
    ours: NDArray[np.float32], theirs: NDArray[np.float32], level: NDArray[np.float64]
) -> tuple[float, float, float]:
    """Mean and largest difference of the bins that hold sound, and the share of the others."""
    assert ours.shape == theirs.shape == level.shape
    sound = level >= SET_ASIDE_DB
    apart = np.abs(ours.astype(np.float64) - theirs)[sound]
    return float(apart.mean()), float(apart.max()), 1 - float(sound.mean())


@pytest.mark.parametrize("name", sorted(INDEX))
def test_equals_the_original(name: str) -> None:
    """A front end gives what the code it is named after gives."""
    config = golden_config(name)
    frontend = FrontEnd(config)
    waveform = golden_waveform(name)
    with torch.inference_mode():
        ours = frontend.rows([waveform])[0].numpy()
        level = levels(frontend, waveform)
    assert list(ours.shape) == INDEX[name]["shape"]
    with np.load(GOLDEN / f"{name}.npz") as arrays:
        theirs, rows = arrays["mel"], arrays["rows"]
    assert (ours[rows[-1] :] == ours[rows[-1]]).all()  # what stands for rows that were left out
    mean, largest, share = differences(ours[rows], theirs, level[rows])
    in_decibels = config.log.log_mult != 1.0 and config.scale.utt_norm == "none"
    assert mean <= (MEAN_DB if in_decibels else MEAN)
    assert largest <= (LARGEST_BY_TORCH_STFT if name in BY_TORCH_STFT else LARGEST)
    assert share <= LARGEST_SHARE_SET_ASIDE


def test_every_front_end_is_compared() -> None:
    """A front end without an array of its original is one whose original could not be run."""
    assert set(INDEX) | WITHOUT_ARRAY == set(presets.names())
    assert not set(INDEX) & WITHOUT_ARRAY
    assert {path.stem for path in GOLDEN.glob("*.npz")} == set(INDEX) | {"signals"}


def test_the_folder_stays_small() -> None:
    """A clone pays for the golden arrays: 60 kB a front end, and its signals."""
    assert all(path.stat().st_size < 60_000 for path in map(GOLDEN.joinpath, arrays_of(INDEX)))
    assert (GOLDEN / "signals.npz").stat().st_size < 1_500_000


def arrays_of(index: dict[str, dict[str, Any]]) -> list[str]:
    """The files of the front ends."""
    return [f"{name}.npz" for name in index]


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
