"""melcli.compat.desed beside the torchaudio calls of the recipes: numbers, and states both ways."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torchaudio
from hypothesis import given
from hypothesis import strategies as st

from melcli.compat import desed
from peers.agreement import FLOAT32_WEIGHTS, assert_levels, assert_linear
from peers.signals import Signal, choice

pytestmark = pytest.mark.filterwarnings("ignore:At least one mel filterbank has all zero values")


@st.composite
def feats(draw: st.DrawFn) -> dict[str, Any]:
    """The recipes' own, or others that a recipe could ask for."""
    rate = draw(choice((16000, 44100, 32000)))
    n_window = 2 * draw(st.integers(200, 1100))
    return {
        "n_mels": draw(choice((128, 64, 40))),
        "n_filters": draw(choice((2048, 1))),
        "hop_length": draw(st.integers(n_window // 8, n_window)),
        "n_window": n_window,
        "sample_rate": rate,
        "f_min": draw(choice((0, 50))),
        "f_max": draw(choice((8000, rate // 2))),
    }


def of_recipe(feats: dict[str, Any]) -> Any:
    """As the recipes make it."""
    return torchaudio.transforms.MelSpectrogram(
        sample_rate=feats["sample_rate"],
        n_fft=feats["n_window"],
        win_length=feats["n_window"],
        hop_length=feats["hop_length"],
        f_min=feats["f_min"],
        f_max=feats["f_max"],
        n_mels=feats["n_mels"],
        window_fn=torch.hamming_window,
        wkwargs={"periodic": False},
        power=1,
    )


def log_of_recipe(mels: torch.Tensor) -> torch.Tensor:
    """As the recipes take it."""
    to_db = torchaudio.transforms.AmplitudeToDB(stype="amplitude")
    to_db.amin = 1e-5
    level: torch.Tensor = to_db(mels).clamp(min=-50, max=80)
    return level


@given(feats=feats(), n_samples=st.integers(1_200, 30_000), seed=st.integers(0, 999))
def test_mels_decibels_and_states(feats: dict[str, Any], n_samples: int, seed: int) -> None:
    """The mel, its decibels, and both again with a window and a bank of the other's state."""
    ours, theirs = desed.MelSpectrogram(**feats), of_recipe(feats)
    x = torch.from_numpy(Signal(n_samples, seed).samples)[None]
    generator = torch.Generator().manual_seed(seed)
    for _ in range(2):
        a, b = ours(x), theirs(x)
        assert_linear("compat.desed", a[0].T, b[0].T, weights=FLOAT32_WEIGHTS)
        levels = (desed.take_log(a)[0].T, log_of_recipe(b)[0].T)
        assert_levels("compat.desed", *levels, unit=1.0, power=1.0, weights=FLOAT32_WEIGHTS)
        assert ours.state_dict().keys() == theirs.state_dict().keys()
        state = theirs.state_dict()
        for tensor in state.values():
            tensor.mul_(1.0 + 0.1 * torch.rand(tensor.shape, generator=generator))
        ours.load_state_dict(state)
        theirs.load_state_dict(ours.state_dict())
