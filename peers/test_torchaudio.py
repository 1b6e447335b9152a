"""torchaudio: transforms over torch.stft, and Kaldi's fbank written in torch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from torchaudio.compliance import kaldi
from torchaudio.transforms import AmplitudeToDB, MelSpectrogram

from melcli.config import Frame, Log, Mel, MelConfig, Spec, Wave
from peers.agreement import FLOAT32_WEIGHTS, LN, assert_levels, assert_linear
from peers.signals import ODD_RATES, POWERS, RATES, bands, choice, fft_shapes, ours, signals_for

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

pytestmark = [
    pytest.mark.filterwarnings("ignore:At least one mel filterbank has all zero values"),
]

FLOOR = float(torch.finfo(torch.float32).eps)
WINDOWS: dict[Any, tuple[Callable[..., torch.Tensor], dict[str, float]]] = {
    "hann": (torch.hann_window, {}),
    "hamming": (torch.hamming_window, {}),
    "blackman": (torch.blackman_window, {}),
    "bartlett": (torch.bartlett_window, {}),
    ("kaiser", 12.0): (torch.kaiser_window, {"beta": 12.0}),
}
KALDI_WINDOWS = {
    "povey": "povey",
    "hann": "hanning",
    "hamming": "hamming",
    "blackman": "blackman",
    "boxcar": "rectangular",
}
NORMALIZED = {"none": False, "window": "window", "frame_length": "frame_length"}


@st.composite
def configs(draw: st.DrawFn, log: Log | None = None, power: float | None = None) -> MelConfig:
    """What the transforms can express, but an odd ``n_fft``: there their bins lie too high.

    At an odd rate the bins reach to the whole number below its half: fb_sample_rate says so.
    """
    rate = draw(choice(RATES + ODD_RATES), label="sample_rate")
    pad = draw(choice(["center", "center", "none"]))
    around = draw(st.just(0) | st.integers(0, 500), label="pad")
    return MelConfig(
        wave=Wave(sample_rate=rate, wave_pad=(around, around)),
        frame=Frame(
            **draw(fft_shapes(odd=False)),
            window=draw(choice(sorted(WINDOWS, key=str)), label="window"),
            window_periodic=draw(st.booleans()),
            pad=pad,
            pad_mode=draw(choice(["reflect", "constant"])),
        ),
        spec=Spec(
            fft_norm=draw(choice(sorted(NORMALIZED))),
            power=power or draw(choice(POWERS), label="power"),
        ),
        mel=Mel(
            **draw(bands(rate)),
            mel_scale=draw(choice(["htk", "slaney"])),
            fb_norm=draw(choice(["slaney", "none"])),
            fb_sample_rate=rate - 1 if rate % 2 else 0,
            fb_precision="float32",
        ),
        log=log or Log(),
    )


def theirs(config: MelConfig, samples: NDArray[np.float32]) -> torch.Tensor:
    """The mel spectrogram of torchaudio with the settings of a config, bands first."""
    frame, mel = config.frame, config.mel
    window_fn, parameters = WINDOWS[frame.window]
    transform = MelSpectrogram(
        sample_rate=config.wave.sample_rate,
        n_fft=frame.n_fft,
        win_length=config.win_length,
        hop_length=frame.hop_length,
        f_min=mel.f_min,
        f_max=mel.f_max,
        pad=config.wave.wave_pad[0],
        n_mels=mel.n_mels,
        window_fn=window_fn,
        power=config.spec.power,
        normalized=NORMALIZED[config.spec.fft_norm],
        wkwargs={"periodic": frame.window_periodic, **parameters},
        center=frame.pad == "center",
        pad_mode=frame.pad_mode,
        norm=None if mel.fb_norm == "none" else mel.fb_norm,
        mel_scale=mel.mel_scale,
    )
    mels: torch.Tensor = transform(torch.from_numpy(samples))
    return mels


@given(data=st.data())
def test_mel_spectrogram(data: st.DataObject) -> None:
    """A mel spectrogram is that of torchaudio, normalised and padded as it may be."""
    config = data.draw(configs())
    signal = data.draw(signals_for(config))
    assert_linear(
        "torchaudio MelSpectrogram", ours(config, signal), theirs(config, signal.samples).T
    )


@given(
    data=st.data(),
    stype=choice(["power", "magnitude"]),
    top_db=st.none() | st.floats(10.0, 120.0),
)
def test_amplitude_to_db(data: st.DataObject, stype: str, top_db: float | None) -> None:
    """Decibels are those of AmplitudeToDB, whose floor is 1e-10 for magnitudes too."""
    power = 2.0 if stype == "power" else 1.0
    ranged: dict[str, Any] = {"range_ref": "item_max", "range_width": top_db} if top_db else {}
    log = Log(floor_mode="clamp", floor=1e-10, log="log10", log_mult=20.0 / power, **ranged)
    config = data.draw(configs(log, power))
    signal = data.draw(signals_for(config))
    expected = AmplitudeToDB(stype, top_db=top_db)(theirs(config, signal.samples)).T
    assert_levels("torchaudio AmplitudeToDB", ours(config, signal), expected, unit=1.0, power=power)


@st.composite
def kaldi_configs(draw: st.DrawFn, log: Log) -> MelConfig:
    """What compliance.kaldi.fbank can express, without its energy column and warping."""
    rate = draw(choice(RATES + ODD_RATES), label="sample_rate")
    win_length = draw(st.just(rate // 40) | st.integers(20, 1200), label="win_length")
    power_of_two = draw(st.booleans(), label="round_to_power_of_two")
    assume(power_of_two or win_length % 2 == 0)  # it refuses an odd transform
    hops = st.just(rate // 100) if win_length == rate // 40 else st.nothing()
    hops |= st.integers(max(1, win_length // 8), win_length)
    snip_edges = draw(st.booleans(), label="snip_edges")
    return MelConfig(
        wave=Wave(
            sample_rate=rate,
            wave_gain=draw(choice([1.0, 32768.0])),
            preemph=draw(choice([0.97, 0.0]) | st.floats(0.1, 0.99)),
            preemph_scope="frame",
        ),
        frame=Frame(
            n_fft=1 << (win_length - 1).bit_length() if power_of_two else win_length,
            win_length=win_length,
            hop_length=draw(hops, label="hop_length"),
            frame_span="win_length",
            window=draw(choice(sorted(KALDI_WINDOWS)), label="window"),
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


def kaldi_fbank(
    config: MelConfig, samples: NDArray[np.float32], *, subtract_mean: bool = False
) -> torch.Tensor:
    """What compliance.kaldi.fbank makes with the settings of a config."""
    rate, frame, mel = config.wave.sample_rate, config.frame, config.mel
    features: torch.Tensor = kaldi.fbank(
        torch.from_numpy(samples * np.float32(config.wave.wave_gain))[None],
        # Lengths are cut to whole samples: half a sample more is safe from rounding.
        frame_length=1000.0 * (config.win_length + 0.5) / rate,
        frame_shift=1000.0 * (frame.hop_length + 0.5) / rate,
        high_freq=mel.f_max or 0.0,
        low_freq=mel.f_min,
        num_mel_bins=mel.n_mels,
        preemphasis_coefficient=config.wave.preemph,
        remove_dc_offset=frame.frame_dc,
        round_to_power_of_two=frame.n_fft != config.win_length,
        sample_frequency=rate,
        snip_edges=frame.pad == "none",
        subtract_mean=subtract_mean,
        use_log_fbank=config.log.log == "ln",
        use_power=config.spec.power == 2.0,
        window_type=KALDI_WINDOWS[str(frame.window)],
    )
    return features


@given(data=st.data(), subtract_mean=st.booleans())
def test_kaldi_log_fbank(data: st.DataObject, subtract_mean: bool) -> None:  # noqa: FBT001
    """A log filterbank is that of compliance.kaldi, less its mean if that is asked for."""
    config = data.draw(kaldi_configs(Log(floor_mode="clamp", floor=FLOOR, log="ln")))
    signal = data.draw(signals_for(config, at_least=config.win_length))
    expected = kaldi_fbank(config, signal.samples, subtract_mean=subtract_mean)
    mels = torch.from_numpy(ours(config, signal))
    if subtract_mean:
        mels = torch.from_numpy(ours(config.updated({"scale.utt_norm": "mean"}), signal))
        # Put back on both sides: how loud a bin is decides how near they must be.
        mean = kaldi_fbank(config, signal.samples).mean(dim=0)
        mels, expected = mels + mean, expected + mean
    power = config.spec.power
    assert_levels(
        "torchaudio kaldi log",
        mels,
        expected,
        unit=LN * 2.0 / power,
        power=power,
        weights=FLOAT32_WEIGHTS,
    )


@given(data=st.data())
def test_kaldi_linear_fbank(data: st.DataObject) -> None:
    """Without the logarithm it is that of compliance.kaldi too."""
    config = data.draw(kaldi_configs(Log()))
    signal = data.draw(signals_for(config, at_least=config.win_length))
    assert_linear(
        "torchaudio kaldi linear",
        ours(config, signal),
        kaldi_fbank(config, signal.samples),
        weights=FLOAT32_WEIGHTS,
    )
