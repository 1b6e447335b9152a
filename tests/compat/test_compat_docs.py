"""docs/compat.md: what it tells people to write runs."""

from __future__ import annotations

import contextlib
import os
import pathlib
import re
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

import melcli
import melcli.compat

if TYPE_CHECKING:
    from collections.abc import Iterator

PAGE = pathlib.Path(melcli.__file__).parents[1] / "docs" / "compat.md"
BLOCKS = [
    block
    for block in re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    if "melcli" in block
]


@contextlib.contextmanager
def within(folder: pathlib.Path) -> Iterator[None]:
    """Work there for a while."""
    before = pathlib.Path.cwd()
    os.chdir(folder)
    yield
    os.chdir(before)


def names() -> dict[str, Any]:
    """What the page takes for given."""
    keras, kapre = melcli.compat.keras, melcli.compat.kapre
    learns: dict[str, Any] = {"trainable_mel": True, "trainable_STFT": True}
    return {
        "melcli": melcli,
        "np": np,
        "pathlib": pathlib,
        "waveforms": torch.zeros(2, 30_000),
        "lengths": [30_000, 20_000],
        "audio": torch.zeros(2, 30_000),
        "clips": torch.zeros(2, 3_000, 1),
        "y": np.zeros(9_000, np.float32),
        "sr": 22_050,
        "config": keras.MelSpectrogram(fft_length=1024, num_mel_bins=80).get_config()
        | {"feats": {"n_mels": 128, "n_filters": 2048, "hop_length": 256, "n_window": 2048}},
        "state": melcli.compat.nnaudio.MelSpectrogram(16000, n_mels=64, **learns).state_dict(),
        "kernels": kapre.Spectrogram(512, trainable_kernel=True).state_dict(),
    }


def test_there_is_one_for_each_system() -> None:
    """And some for melcli's own layer."""
    told = "".join(BLOCKS)
    for system in melcli.compat.__all__:
        assert f"melcli.compat.{system}." in told


@pytest.mark.parametrize("number", range(len(BLOCKS)))
def test_a_block_runs(number: int, tmp_path: pathlib.Path) -> None:
    """From its first line to its last."""
    given = names()
    if ".keras." in BLOCKS[number]:
        del given["config"]["feats"]
    with within(tmp_path):
        exec(BLOCKS[number], given)  # noqa: S102, our own page
