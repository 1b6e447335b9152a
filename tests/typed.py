"""What a type checker sees of ``import melcli``: `make check` reads this, and nothing runs it.

The public names are loaded when they are used, and torch says of every call of a module that it
gives anything. Both would hide all types, silently.
"""

from __future__ import annotations

from typing import assert_type

import torch

import melcli
from melcli.config import MelConfig
from melcli.dataset.examples import Batch, Example, MelDataset
from melcli.dataset.mels import Mels
from melcli.dsp.inversion import Inverted
from melcli.pipeline.report import Report


def six_names(x: torch.Tensor) -> None:
    """Each has its own types, and what it gives has too."""
    assert_type(melcli.extract("audio", "mels.h5", "whisper-80"), Report)
    assert_type(melcli.open("mels.h5"), Mels)
    assert_type(melcli.open("mels.h5").config, MelConfig)
    assert_type(melcli.open("mels.h5").scaler, melcli.Scaler | None)
    assert_type(melcli.MelDataset("mels.h5"), MelDataset)
    assert_type(melcli.MelDataset("mels.h5")[0], Example)
    assert_type(melcli.collate([]), Batch)
    front_end = melcli.MelSpectrogram("whisper-80", trainable_filterbank=True)
    assert_type(front_end(x), torch.Tensor)
    assert_type(front_end(x, lengths=[1]), tuple[torch.Tensor, torch.Tensor])
    scaler = melcli.Scaler("minmax", "all").fit([x])
    assert_type(scaler, melcli.Scaler)
    assert_type(scaler(x), torch.Tensor)
    assert_type(scaler.inverse(x), torch.Tensor)
    inverse = melcli.InverseMelScale("whisper-80")
    assert_type(inverse(x), torch.Tensor)
    assert_type(inverse.solve(x), Inverted)


def mistakes() -> None:
    """What is wrong is seen to be: an ignore that nothing needs is an error itself."""
    melcli.Scalar()  # type: ignore[attr-defined]
    melcli.Scaler("maxmin")  # type: ignore[arg-type]
    melcli.MelSpectrogram(n_mels=64)  # type: ignore[call-arg]
    melcli.extract("audio")  # type: ignore[call-arg]
