"""librosa: the reference for what is computed in float64 and rounded once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import librosa
import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy.signal import get_window

from melcli.config import Frame, Log, Mel, MelConfig, Spec, Wave
from peers.agreement import assert_levels, assert_linear
from peers.signals import (
    ODD_RATES,
    POWERS,
    RATES,
    WINDOWS,
    Signal,
    bands,
    choice,
    every_filter_holds_a_bin,
    fft_shapes,
    ours,
    signals_for,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

pytestmark = [
    # Many narrow filters over a short FFT: both sides leave the same ones empty.
    pytest.mark.filterwarnings("ignore:Empty filters detected"),
    pytest.mark.filterwarnings("ignore:n_fft=.* is too large for input signal"),
]

NORMS = {"slaney": "slaney", "none": None, "l1": 1}
PADDING = choice(
    [("center", "constant"), ("center", "reflect"), ("center", "symmetric"), ("none", "constant")]
)


@st.composite
def configs(draw: st.DrawFn, log: Log | None = None, power: float | None = None) -> MelConfig:
    """What librosa can express: everything but the triangles, which are straight in Hz."""
    rate = draw(choice(RATES + ODD_RATES), label="sample_rate")
    pad, pad_mode = draw(PADDING)
    config = MelConfig(
        wave=Wave(sample_rate=rate),
        frame=Frame(
            **draw(fft_shapes()),
            window=draw(choice(WINDOWS), label="window"),
            window_periodic=draw(st.booleans()),
            pad=pad,
            pad_mode=pad_mode,
        ),
        spec=Spec(power=power or draw(choice(POWERS), label="power")),
        mel=Mel(
            **draw(bands(rate)),
            mel_scale=draw(choice(["htk", "slaney"])),
            fb_norm=draw(choice(["slaney", "none", "l1"])),
        ),
        log=log or Log(),
    )
    # Of a filter that has a bin only on its very edge, the L1 norm makes one of weight 1, or none.
    assume(config.mel.fb_norm != "l1" or every_filter_holds_a_bin(config))
    return config


def reflected_right(config: MelConfig, signal: Signal) -> bool:
    """Whether librosa reflects the end of a signal right.

    It pads the end by itself, and takes one sample too few for that where a hop of half a frame or
    more ends with the signal: the first sample of the last frame is another one then. A window
    that is zero there hides it. For the start they mended this in their issue 1567.
    """
    frame = config.frame
    half, n_samples = frame.n_fft // 2, signal.n_samples
    tail = (n_samples + half - frame.n_fft) // frame.hop_length + 1
    whole = tail * frame.hop_length == n_samples
    return not (frame.pad == "center" and frame.pad_mode == "reflect" and whole)


def cases(config: MelConfig) -> st.SearchStrategy[Signal]:
    """Signals for a front end that librosa computes right."""
    return signals_for(config).filter(lambda signal: reflected_right(config, signal))


def theirs(config: MelConfig, samples: NDArray[np.float32]) -> NDArray[np.float32]:
    """The mel spectrogram of the peer with the settings of a config, as rows."""
    frame, mel = config.frame, config.mel
    mels: NDArray[np.float32] = librosa.feature.melspectrogram(
        y=samples,
        sr=config.wave.sample_rate,
        n_fft=frame.n_fft,
        hop_length=frame.hop_length,
        win_length=config.win_length,
        window=get_window(frame.window, config.win_length, fftbins=frame.window_periodic),
        center=frame.pad == "center",
        pad_mode=frame.pad_mode,
        power=config.spec.power,
        n_mels=mel.n_mels,
        fmin=mel.f_min,
        fmax=mel.f_max,
        htk=mel.mel_scale == "htk",
        norm=NORMS[mel.fb_norm],
    )
    return mels.T


@given(data=st.data())
def test_mel_spectrogram(data: st.DataObject) -> None:
    """A mel spectrogram is librosa's, at any size, window, rate and edge, odd ones included."""
    config = data.draw(configs())
    signal = data.draw(cases(config))
    assert_linear("librosa melspectrogram", ours(config, signal), theirs(config, signal.samples))


@given(data=st.data(), top_db=st.none() | st.floats(10.0, 120.0), relative=st.booleans())
def test_power_to_db(data: st.DataObject, top_db: float | None, relative: bool) -> None:  # noqa: FBT001
    """Decibels of power are librosa's, with its floor, its range and either reference."""
    amin = data.draw(choice([1e-10, 1e-5, 1e-12]))
    ranged: dict[str, Any] = {"range_ref": "item_max", "range_width": top_db} if top_db else {}
    if relative and top_db:
        ranged["range_subtract"] = True
    log = Log(floor_mode="clamp", floor=amin, log="log10", log_mult=10.0, **ranged)
    config = data.draw(configs(log, power=2.0))
    signal = data.draw(cases(config))
    ref: Any = np.max if relative and top_db else 1.0
    expected = librosa.power_to_db(
        theirs(config, signal.samples), ref=ref, amin=amin, top_db=top_db
    )
    assert_levels("librosa power_to_db", ours(config, signal), expected, unit=1.0)


@given(data=st.data(), top_db=st.none() | st.floats(10.0, 120.0))
def test_amplitude_to_db(data: st.DataObject, top_db: float | None) -> None:
    """Decibels of a magnitude are librosa's amplitude_to_db."""
    ranged: dict[str, Any] = {"range_ref": "item_max", "range_width": top_db} if top_db else {}
    log = Log(floor_mode="clamp", floor=1e-5, log="log10", log_mult=20.0, **ranged)
    config = data.draw(configs(log, power=1.0))
    signal = data.draw(cases(config))
    expected = librosa.amplitude_to_db(theirs(config, signal.samples), top_db=top_db)
    assert_levels("librosa amplitude_to_db", ours(config, signal), expected, unit=1.0)


@given(data=st.data(), coefficient=st.floats(0.5, 0.99))
def test_preemphasis(data: st.DataObject, coefficient: float) -> None:
    """Pre-emphasis over the waveform is librosa's, if that starts from nothing."""
    config = data.draw(configs()).updated({"wave.preemph": coefficient})
    signal = data.draw(cases(config))
    emphasised = librosa.effects.preemphasis(signal.samples, coef=coefficient, zi=[0.0])
    assert_linear("librosa preemphasis", ours(config, signal), theirs(config, emphasised))
