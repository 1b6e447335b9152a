"""kaldi-native-fbank: Kaldi's own C++, in float32."""

from __future__ import annotations

from typing import TYPE_CHECKING

import kaldi_native_fbank as knf
import numpy as np
from hypothesis import assume, given
from hypothesis import strategies as st

from melcli.config import Frame, Log, Mel, MelConfig, Spec, Wave
from peers.agreement import FLOAT32_WEIGHTS, LN, assert_levels, assert_linear
from peers.signals import (
    ODD_RATES,
    RATES,
    bands,
    choice,
    every_filter_holds_a_bin,
    ours,
    signals_for,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

FLOOR = float(np.finfo(np.float32).eps)
WINDOWS = {
    "povey": "povey",
    "hann": "hanning",
    "hamming": "hamming",
    "blackman": "blackman",
    "boxcar": "rectangular",
}


@st.composite
def configs(draw: st.DrawFn, log: Log) -> MelConfig:
    """What Kaldi's fbank can express, without its energy column and its vocal tract warping."""
    rate = draw(choice(RATES + ODD_RATES), label="sample_rate")
    win_length = draw(st.just(rate // 40) | st.integers(20, 1200), label="win_length")
    # It rounds the length of its transform up to a power of two.
    n_fft = 1 << (win_length - 1).bit_length()
    hops = st.just(rate // 100) if win_length == rate // 40 else st.nothing()
    hops |= st.integers(max(1, win_length // 8), win_length)
    snip_edges = draw(st.booleans(), label="snip_edges")
    config = MelConfig(
        wave=Wave(
            sample_rate=rate,
            wave_gain=draw(choice([1.0, 32768.0])),
            preemph=draw(choice([0.97, 0.0]) | st.floats(0.1, 0.99)),
            preemph_scope="frame",
        ),
        frame=Frame(
            n_fft=n_fft,
            win_length=win_length,
            hop_length=draw(hops, label="hop_length"),
            frame_span="win_length",
            window=draw(choice(sorted(WINDOWS)), label="window"),
            window_periodic=False,
            pad="none" if snip_edges else "kaldi_round",
            pad_mode="symmetric",
            frame_dc=draw(st.booleans()),
        ),
        spec=Spec(power=draw(choice([2.0, 1.0]))),
        mel=Mel(
            **draw(bands(rate, fewest=4, lowest=20.0)), fb_domain="mel", fb_precision="float32"
        ),
        log=log,
    )
    # Kaldi refuses a filter that holds no bin.
    assume(every_filter_holds_a_bin(config))
    return config


def theirs(config: MelConfig, samples: NDArray[np.float32]) -> NDArray[np.float32]:
    """Kaldi's fbank with the settings of a config."""
    rate, frame, mel = config.wave.sample_rate, config.frame, config.mel
    options = knf.FbankOptions()
    options.frame_opts.samp_freq = rate
    # Lengths are cut to whole samples: half a sample more is safe from rounding.
    options.frame_opts.frame_length_ms = 1000.0 * (config.win_length + 0.5) / rate
    options.frame_opts.frame_shift_ms = 1000.0 * (frame.hop_length + 0.5) / rate
    options.frame_opts.dither = 0.0
    options.frame_opts.preemph_coeff = config.wave.preemph
    options.frame_opts.remove_dc_offset = frame.frame_dc
    options.frame_opts.window_type = WINDOWS[str(frame.window)]
    options.frame_opts.snip_edges = frame.pad == "none"
    options.mel_opts.num_bins = mel.n_mels
    options.mel_opts.low_freq = mel.f_min
    options.mel_opts.high_freq = mel.f_max or 0.0
    options.use_energy = False
    options.use_power = config.spec.power == 2.0
    options.use_log_fbank = config.log.log == "ln"
    fbank = knf.OnlineFbank(options)
    fbank.accept_waveform(rate, (samples * np.float32(config.wave.wave_gain)).tolist())
    fbank.input_finished()
    return np.stack([fbank.get_frame(i) for i in range(fbank.num_frames_ready)])


@given(data=st.data())
def test_log_fbank(data: st.DataObject) -> None:
    """A log filterbank is Kaldi's, with either treatment of the edges."""
    config = data.draw(configs(Log(floor_mode="clamp", floor=FLOOR, log="ln")))
    signal = data.draw(signals_for(config))
    power = config.spec.power
    assert_levels(
        "kaldi-native-fbank log",
        ours(config, signal),
        theirs(config, signal.samples),
        unit=LN * 2.0 / power,
        power=power,
        weights=FLOAT32_WEIGHTS,
    )


@given(data=st.data())
def test_linear_fbank(data: st.DataObject) -> None:
    """Without the logarithm it is Kaldi's too."""
    config = data.draw(configs(Log()))
    signal = data.draw(signals_for(config))
    assert_linear(
        "kaldi-native-fbank linear",
        ours(config, signal),
        theirs(config, signal.samples),
        weights=FLOAT32_WEIGHTS,
    )
