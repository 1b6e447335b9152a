"""nnAudio: the transform as a convolution in float32, over librosa's filterbank."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from nnAudio.features import MelSpectrogram

from melcli.config import Frame, Mel, MelConfig, Spec, Wave
from peers.agreement import assert_linear
from peers.signals import (
    ODD_RATES,
    POWERS,
    RATES,
    WINDOWS,
    bands,
    choice,
    fft_shapes,
    ours,
    signals_for,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

pytestmark = pytest.mark.filterwarnings("ignore:Empty filters detected")

PADDING = choice([("center", "constant"), ("center", "reflect"), ("none", "constant")])
# Its norm=1 is the norm that librosa has called "slaney" since 0.8.
NORMS = {"slaney": 1, "none": None}


@st.composite
def configs(draw: st.DrawFn) -> MelConfig:
    """What nnAudio can express, but an odd ``n_fft``: there its bins lie too high."""
    rate = draw(choice(RATES + ODD_RATES), label="sample_rate")
    pad, pad_mode = draw(PADDING)
    return MelConfig(
        wave=Wave(sample_rate=rate),
        frame=Frame(
            **draw(fft_shapes(odd=False)),
            window=draw(choice(WINDOWS), label="window"),
            pad=pad,
            pad_mode=pad_mode,
        ),
        spec=Spec(power=draw(choice(POWERS), label="power")),
        mel=Mel(
            **draw(bands(rate)),
            mel_scale=draw(choice(["htk", "slaney"])),
            fb_norm=draw(choice(["slaney", "none"])),
        ),
    )


def theirs(
    config: MelConfig, samples: NDArray[np.float32], *, trainable: bool = False
) -> NDArray[np.float32]:
    """The mel spectrogram of nnAudio with the settings of a config, as rows."""
    frame, mel = config.frame, config.mel
    layer = MelSpectrogram(
        sr=config.wave.sample_rate,
        n_fft=frame.n_fft,
        win_length=config.win_length,
        n_mels=mel.n_mels,
        hop_length=frame.hop_length,
        window=frame.window,
        center=frame.pad == "center",
        pad_mode=frame.pad_mode,
        power=config.spec.power,
        htk=mel.mel_scale == "htk",
        fmin=mel.f_min,
        fmax=mel.f_max,
        norm=NORMS[mel.fb_norm],
        trainable_STFT=trainable,
        verbose=False,
    )
    with torch.no_grad():
        return np.asarray(layer(torch.from_numpy(samples))[0].T.numpy())


@given(data=st.data())
def test_mel_spectrogram(data: st.DataObject) -> None:
    """A mel spectrogram is nnAudio's, with its convolutions and its old librosa filterbank."""
    config = data.draw(configs())
    signal = data.draw(signals_for(config))
    assert_linear("nnAudio MelSpectrogram", ours(config, signal), theirs(config, signal.samples))


@given(data=st.data())
def test_trainable(data: st.DataObject) -> None:
    """A trainable layer of nnAudio adds 1e-8 under the root, as mag_eps does."""
    config = data.draw(configs())
    signal = data.draw(signals_for(config))
    expected = theirs(config, signal.samples, trainable=True)
    guarded = config.updated({"spec.mag_eps": 1e-8})
    assert_linear("nnAudio trainable", ours(guarded, signal), expected)
