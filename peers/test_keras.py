"""Keras on torch: the filterbank of TensorFlow, all of it in float32."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.signal import get_window

from melcli.config import Frame, Log, Mel, MelConfig, Spec, Wave
from peers.agreement import FLOAT32_WEIGHTS, assert_levels, assert_linear
from peers.signals import POWERS, RATES, WINDOWS, bands, choice, fft_shapes, ours, signals_for

if TYPE_CHECKING:
    from numpy.typing import NDArray

# Keras's convert_to_numpy does not know NumPy 2's copy keyword.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


@st.composite
def configs(draw: st.DrawFn, log: Log | None = None) -> MelConfig:
    """What Keras can express, but odd sizes and rates: there its bins or its top lie elsewhere."""
    rate = draw(choice(RATES), label="sample_rate")
    return MelConfig(
        wave=Wave(sample_rate=rate),
        frame=Frame(
            **draw(fft_shapes(odd=False)),
            window=draw(choice(WINDOWS), label="window"),
            window_periodic=draw(st.booleans()),
        ),
        spec=Spec(power=draw(choice(POWERS), label="power")),
        mel=Mel(**draw(bands(rate)), fb_domain="mel", fb_precision="float32"),
        log=log or Log(),
    )


def theirs(
    config: MelConfig, samples: NDArray[np.float32], **levels: float | bool
) -> NDArray[np.float32]:
    """The output of Keras's layer with the settings of a config, as rows."""
    frame, mel = config.frame, config.mel
    named = frame.window in {"hann", "hamming"} and frame.window_periodic
    window: Any = frame.window
    if not named:
        window = get_window(window, config.win_length, fftbins=frame.window_periodic)
    layer = keras.layers.MelSpectrogram(
        fft_length=frame.n_fft,
        sequence_stride=frame.hop_length,
        sequence_length=config.win_length,
        window=window if named else window.astype(np.float32),
        sampling_rate=config.wave.sample_rate,
        num_mel_bins=mel.n_mels,
        min_freq=mel.f_min,
        max_freq=mel.f_max,
        mag_exp=config.spec.power,
        **levels,
    )
    return np.asarray(keras.ops.convert_to_numpy(layer(samples)).T)


@given(data=st.data())
def test_mel_spectrogram(data: st.DataObject) -> None:
    """A linear mel spectrogram is that of Keras, whose triangles are straight in mel."""
    config = data.draw(configs())
    signal = data.draw(signals_for(config))
    expected = theirs(config, signal.samples, power_to_db=False)
    assert_linear("keras linear", ours(config, signal), expected, weights=FLOAT32_WEIGHTS)


@given(data=st.data(), top_db=st.floats(10.0, 120.0), ref=st.floats(0.01, 100.0))
def test_decibels(data: st.DataObject, top_db: float, ref: float) -> None:
    """Decibels are those of Keras, for one item: the factor is 10 whatever the exponent is."""
    min_power = data.draw(choice([1e-10, 1e-6]))
    # A reference is a gain before the floor, which then lies that much lower.
    log = Log(
        gain=1.0 / ref,
        floor_mode="clamp",
        floor=min_power / ref,
        log="log10",
        log_mult=10.0,
        range_ref="item_max",
        range_width=top_db,
    )
    config = data.draw(configs(log))
    signal = data.draw(signals_for(config))
    expected = theirs(config, signal.samples, top_db=top_db, ref_power=ref, min_power=min_power)
    # With an exponent p a decibel of power is p / 2 of these.
    power = config.spec.power
    assert_levels(
        "keras decibels",
        ours(config, signal),
        expected,
        unit=2.0 / power,
        power=power,
        weights=FLOAT32_WEIGHTS,
    )
