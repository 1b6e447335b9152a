"""Second opinions that run here and now: librosa, torch.stft, and values worked by hand."""

from __future__ import annotations

import math

import librosa
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from melcli import presets
from melcli.config import Frame, Log, Mel, MelConfig, Spec, Wave
from melcli.dsp.frontend import FrontEnd
from melcli.dsp.packing import pack, whole
from melcli.dsp.stft import Spectrum

LINEAR = 1e-5
"""Of the loudest bin: float32 products and another FFT; 1.0e-6 measured over 150 drawn cases."""
DECIBELS, DECIBELS_MEAN = 2e-3, 5e-5
"""The FFTs differ by 1e-7 of a frame's loudest bin, and noise leaves single bins 60 dB below it;
3.6e-4 and 7e-6 measured over 150 drawn cases."""


@st.composite
def librosa_cases(draw: st.DrawFn) -> tuple[MelConfig, int, int]:
    """A config that librosa can be asked for, a length, and a seed for the waveform."""
    sample_rate = draw(st.sampled_from([8_000, 16_000, 22_050, 44_100]))
    n_fft = draw(st.integers(16, 2048))
    config = MelConfig(
        wave=Wave(sample_rate=sample_rate),
        frame=Frame(
            n_fft=n_fft,
            hop_length=draw(st.integers(n_fft // 8 + 1, n_fft)),
            pad_mode=draw(st.sampled_from(["constant", "reflect"])),
        ),
        spec=Spec(power=draw(st.sampled_from([1.0, 1.5, 2.0]))),
        mel=Mel(
            n_mels=draw(st.integers(1, 128)),
            f_min=draw(st.floats(0, sample_rate / 8)),
            f_max=draw(st.one_of(st.none(), st.floats(sample_rate / 4, sample_rate / 2))),
            mel_scale=draw(st.sampled_from(["htk", "slaney"])),
            fb_norm=draw(st.sampled_from(["none", "slaney"])),
        ),
    )
    return config, draw(st.integers(n_fft, 20_000)), draw(st.integers(0, 1 << 30))


@pytest.mark.filterwarnings("ignore:Empty filters:UserWarning")  # drawn banks may be too fine
@settings(max_examples=40, deadline=None)
@given(librosa_cases())
def test_equals_librosa(case: tuple[MelConfig, int, int]) -> None:
    """Whatever its arguments: melspectrogram as it is, and with power_to_db behind it."""
    config, n_samples, seed = case
    rng, n_fft = np.random.default_rng(seed), config.frame.n_fft
    waveform = rng.normal(scale=10 ** rng.uniform(-3, 0), size=n_samples).astype(np.float32)
    # librosa mirrors a cut-off end of the waveform, and where the hop is half a frame or more that
    # end is shorter than the padding: its last frames then differ from its own definition.
    is_padded_here = config.frame.pad_mode == "reflect" and 2 * config.frame.hop_length >= n_fft
    padding = n_fft // 2 if is_padded_here else 0
    theirs = librosa.feature.melspectrogram(
        y=np.pad(waveform, padding, mode="reflect") if padding else waveform,
        center=not is_padded_here,
        sr=config.wave.sample_rate,
        n_fft=config.frame.n_fft,
        hop_length=config.frame.hop_length,
        n_mels=config.mel.n_mels,
        fmin=config.mel.f_min,
        fmax=config.mel.f_max,
        htk=config.mel.mel_scale == "htk",
        norm=None if config.mel.fb_norm == "none" else config.mel.fb_norm,
        power=config.spec.power,
        pad_mode=config.frame.pad_mode,
    )
    ours = FrontEnd(config)(torch.from_numpy(waveform)).numpy()
    assert ours.shape == theirs.shape
    assert np.abs(ours - theirs).max() <= LINEAR * theirs.max()

    default = presets.load("librosa").config
    in_db = config.updated({f"log.{key}": value for key, value in vars(default.log).items()})
    apart = np.abs(
        FrontEnd(in_db)(torch.from_numpy(waveform)).numpy() - librosa.power_to_db(theirs)
    )
    assert apart.max() <= DECIBELS
    assert apart.mean() <= DECIBELS_MEAN


def by_torch_stft(name: str, waveform: torch.Tensor) -> torch.Tensor:
    """The few lines that the originals consist of, as their sources have them: rows first."""
    config = presets.load(name).config
    n_fft, hop = config.frame.n_fft, config.frame.hop_length
    if name == "hifigan-22k":
        edge = (n_fft - hop) // 2
        padded = torch.nn.functional.pad(waveform[None], (edge, edge), mode="reflect")[0]
        window = torch.hann_window(n_fft)
        spectrum = torch.stft(padded, n_fft, hop, window=window, center=False, return_complex=True)
        parts = torch.view_as_real(spectrum)
        energy = torch.sqrt(parts.pow(2).sum(-1) + 1e-9)
    else:
        waveform = torch.nn.functional.pad(waveform, (0, 480_000 - waveform.shape[0]))
        window = torch.hann_window(n_fft)
        spectrum = torch.stft(waveform, n_fft, hop, window=window, return_complex=True)
        energy = spectrum[..., :-1].abs() ** 2
    bank = librosa.filters.mel(
        sr=config.wave.sample_rate, n_fft=n_fft, n_mels=80, fmin=0, fmax=8000
    )
    mel = torch.from_numpy(bank) @ energy
    if name == "hifigan-22k":
        return torch.log(torch.clamp(mel, min=1e-5)).T
    log_mel = torch.clamp(mel, min=1e-10).log10()
    return ((torch.maximum(log_mel, log_mel.max() - 8.0) + 4.0) / 4.0).T


@pytest.mark.parametrize("name", ["hifigan-22k", "whisper-80"])
def test_equals_torch_stft(name: str, recording: torch.Tensor) -> None:
    """On one machine the torch.stft family agrees to 1e-5 in every bin: the FFT is the same."""
    ours = FrontEnd(presets.load(name).config).rows([recording])[0]
    theirs = by_torch_stft(name, recording)
    assert ours.shape == theirs.shape
    assert float((ours - theirs).abs().max()) <= 1e-5


CENTERED = [
    name
    for name in presets.names()
    if (config := presets.load(name).config).frame.frame_span == "n_fft"
    and config.frame.pad == "center"
    and not config.frame.frame_dc
    and config.wave.preemph_scope != "frame"
]


@pytest.mark.parametrize("name", CENTERED)
def test_linear_mels_are_those_of_torch_stft(name: str, recording: torch.Tensor) -> None:
    """Every centred front end has torch.stft's spectrum to the last digits of float32."""
    config = presets.load(name).config
    frontend = FrontEnd(config)
    waveform = frontend.shaped(recording)
    transform = next(s for s in frontend.frame_stages if isinstance(s, Spectrum))
    ours = pack(config, [whole(config, waveform)], 256, frontend.device)
    blocks = torch.cat([transform(b) for b in torch.split(ours.frames, 256)])
    theirs = torch.stft(
        waveform,
        config.frame.n_fft,
        config.frame.hop_length,
        window=transform.window,
        pad_mode=config.frame.pad_mode,
        return_complex=True,
    ).T
    apart = (blocks[: ours.n_rows[0]] - theirs[: ours.n_rows[0]]).abs().max()
    assert apart <= 1e-6 * theirs.abs().max()  # a few roundings of the FFT, of its largest bin


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("whisper-80", -1.5),  # (log10 1e-10 + 4) / 4
        ("kaldi-fbank-80", math.log(2**-23)),  # the logarithm of float32's epsilon
        ("hifigan-22k", math.log(1e-5)),  # sqrt(1e-9) times a row of the bank stays under 1e-5
        ("dcase-task4-desed-16k", -1.0),  # a constant clip is its own minimum
        ("librosa-default-db", -100.0),  # 10 log10 1e-10
    ],
)
def test_silence_is_the_pinned_value(name: str, value: float) -> None:
    """Digital silence is one known number everywhere: what models see as padding."""
    rows = FrontEnd(presets.load(name).config).rows([torch.zeros(20_000)])[0]
    # float32 keeps 7 digits
    torch.testing.assert_close(rows, torch.full_like(rows, value), rtol=2e-7, atol=0)


def test_kaldi_of_silence_to_the_last_digit() -> None:
    """ln(2^-23) is -15.942385 as the reference prints it."""
    assert math.log(Log(floor=2**-23).floor) == pytest.approx(-15.942385, abs=5e-7)
    assert presets.load("kaldi-fbank-80").config.log.floor == 2**-23


def test_a_tone_by_hand() -> None:
    """A cosine on bin 8 of 64 under a rectangular window is all in bin 8, with power (N / 2)^2."""
    frame = Frame(n_fft=64, hop_length=64, window="rectangular", pad="none")
    config = MelConfig(
        wave=Wave(sample_rate=6400), frame=frame, mel=Mel(n_mels=31, mel_scale="slaney", f_max=3200)
    )
    t = torch.arange(640, dtype=torch.float64)
    tone = torch.cos(2 * math.pi * 8 * t / 64).to(torch.float32)
    rows = FrontEnd(config).rows([tone])[0]
    # 800 Hz is 12 mel; the 33 edges lie 3200 Hz = 31.9187 mel apart by 32: 0.997459 each. It lies
    # on the falling side of band 11 (peak at edge 12) and the rising side of band 12.
    top = 15 + 27 * math.log(3.2) / math.log(6.4)
    up = 12 / (top / 32) - 12
    expected = torch.zeros(31)
    expected[11], expected[12] = 32.0**2 * (1 - up), 32.0**2 * up
    # float32 sums over 64 samples
    torch.testing.assert_close(rows, expected.expand(10, 31), rtol=1e-5, atol=1e-4)
