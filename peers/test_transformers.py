"""transformers: the feature extractors that need neither weights nor a network.

None with an odd FFT or an odd rate: ``mel_filter_bank`` spreads its bins up to ``rate // 2``.
Chroma and raw-waveform extractors are no mel front ends; CohereAsr dithers with
a seed of its own; Qwen3Asr, Dots3Note and MossTranscribeDiarize are Whisper's code.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from transformers.audio_utils import mel_filter_bank, spectrogram, window_function
from transformers.models.audio_spectrogram_transformer import (
    feature_extraction_audio_spectrogram_transformer as ast,
)
from transformers.models.clap.feature_extraction_clap import ClapFeatureExtractor
from transformers.models.clvp.feature_extraction_clvp import ClvpFeatureExtractor
from transformers.models.fun_asr_nano.feature_extraction_fun_asr_nano import (
    FunAsrNanoFeatureExtractor,
)
from transformers.models.gemma3n.feature_extraction_gemma3n import Gemma3nAudioFeatureExtractor
from transformers.models.gemma4.feature_extraction_gemma4 import Gemma4AudioFeatureExtractor
from transformers.models.granite_speech.feature_extraction_granite_speech import (
    GraniteSpeechFeatureExtractor,
)
from transformers.models.inkling.feature_extraction_inkling import InklingFeatureExtractor
from transformers.models.lasr.feature_extraction_lasr import LasrFeatureExtractor
from transformers.models.nemotron_asr_streaming import feature_extraction_nemotron_asr_streaming
from transformers.models.parakeet.feature_extraction_parakeet import ParakeetFeatureExtractor
from transformers.models.phi4_multimodal.feature_extraction_phi4_multimodal import (
    Phi4MultimodalFeatureExtractor,
)
from transformers.models.seamless_m4t.feature_extraction_seamless_m4t import (
    SeamlessM4TFeatureExtractor,
)
from transformers.models.speech_to_text import feature_extraction_speech_to_text as s2t
from transformers.models.speecht5.feature_extraction_speecht5 import SpeechT5FeatureExtractor
from transformers.models.univnet.feature_extraction_univnet import UnivNetFeatureExtractor
from transformers.models.voxtral_realtime.feature_extraction_voxtral_realtime import (
    VoxtralRealtimeFeatureExtractor,
)
from transformers.models.whisper.feature_extraction_whisper import WhisperFeatureExtractor

from melcli.config import Frame, Log, Mel, MelConfig, Out, Scale, Spec, Wave
from peers.agreement import (
    FLOAT32_WEIGHTS,
    LN,
    LOG10,
    assert_levels,
    assert_linear,
    assert_normalised,
)
from peers.signals import (
    POWERS,
    RATES,
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
    pytest.mark.filterwarnings("ignore:At least one mel filter(bank)? has"),
]

FLOOR = float(np.finfo(np.float32).eps)
FAST_RATES = (16000, 22050, 24000, 44100, 48000)
DECIMAL: dict[str, Any] = {"floor_mode": "clamp", "floor": 1e-10, "log": "log10"}
SLANEY: dict[str, Any] = {"mel_scale": "slaney", "fb_norm": "slaney"}


def rows(features: Any) -> NDArray[np.float64]:
    """The one item of a batch."""
    return np.asarray(features[0], np.float64)


def kaldi_frame(window: str, rate: int = 16000) -> Frame:
    """Windows of 25 ms every 10 ms, as fairseq's models have them."""
    win_length = rate // 40
    return Frame(
        n_fft=1 << (win_length - 1).bit_length(),
        win_length=win_length,
        hop_length=rate // 100,
        frame_span="win_length",
        window=window,
        window_periodic=False,
        pad="none",
        frame_dc=True,
    )


KALDI_LOG = Log(floor_mode="clamp", floor=FLOOR, log="ln")
EMPHASIS: dict[str, Any] = {"preemph": 0.97, "preemph_scope": "frame"}


@given(data=st.data())
def test_spectrogram(data: st.DataObject) -> None:
    """What most extractors stand on, audio_utils.spectrogram, with all that it offers."""
    rate = data.draw(choice(RATES), label="sample_rate")
    shape = data.draw(fft_shapes(odd=False))
    by_mel = data.draw(st.booleans(), label="triangularize_in_mel_space")
    preemphasis = data.draw(st.none() | st.floats(0.1, 0.99))
    window = data.draw(choice(["hann", "hamming", "povey", "boxcar"]))
    config = MelConfig(
        wave=Wave(sample_rate=rate, preemph=preemphasis or 0.0, preemph_scope="frame"),
        frame=Frame(
            **shape,
            frame_span="win_length",
            window=window,
            window_periodic=data.draw(st.booleans(), label="periodic"),
            pad=data.draw(choice(["center", "none"])),
            pad_mode=data.draw(choice(["reflect", "constant", "symmetric"])),
            frame_dc=data.draw(st.booleans(), label="remove_dc_offset"),
        ),
        spec=Spec(power=data.draw(choice(POWERS), label="power")),
        mel=Mel(
            **data.draw(bands(rate)),
            mel_scale=data.draw(choice(["htk", "slaney"])),
            # In mel space its norm divides by mels, which is a norm of nobody else.
            fb_norm="none" if by_mel else data.draw(choice(["none", "slaney"])),
            fb_domain="mel" if by_mel else "hz",
        ),
    )
    frame, mel = config.frame, config.mel
    signal = data.draw(signals_for(config))
    expected = spectrogram(
        signal.samples,
        window_function(config.win_length, window, periodic=frame.window_periodic),
        frame_length=config.win_length,
        hop_length=frame.hop_length,
        fft_length=frame.n_fft,
        power=config.spec.power,
        center=frame.pad == "center",
        pad_mode=frame.pad_mode,
        preemphasis=preemphasis,
        mel_filters=mel_filter_bank(
            num_frequency_bins=frame.n_fft // 2 + 1,
            num_mel_filters=mel.n_mels,
            min_frequency=mel.f_min,
            max_frequency=config.f_max,
            sampling_rate=rate,
            norm=None if mel.fb_norm == "none" else mel.fb_norm,
            mel_scale="kaldi" if by_mel and mel.mel_scale == "htk" else mel.mel_scale,
            triangularize_in_mel_space=by_mel,
        ),
        mel_floor=0.0,
        remove_dc_offset=frame.frame_dc,
    )
    assert_linear("transformers spectrogram", ours(config, signal), expected.T)


@given(data=st.data())
def test_whisper(data: st.DataObject) -> None:
    """Whisper: a fixed length, the last frame dropped, 80 dB below the item's maximum."""
    rate = data.draw(choice(FAST_RATES))
    shape = data.draw(fft_shapes(odd=False, windowed=False))
    n_mels = data.draw(st.integers(2, 128))
    config = MelConfig(
        wave=Wave(sample_rate=rate, fix_samples=rate),
        frame=Frame(**shape, drop_last_frames=1),
        mel=Mel(n_mels=n_mels, f_max=8000.0, **SLANEY),
        log=Log(**DECIMAL, range_ref="item_max", range_width=8.0),
        scale=Scale(shift=-4.0, scale=4.0),
    )
    # Up to 1.3 s, so that some are cut and some are filled.
    signal = Signal(data.draw(st.integers(1, rate * 13 // 10)), data.draw(st.integers(0, 999)))
    extractor = WhisperFeatureExtractor(
        feature_size=n_mels,
        sampling_rate=rate,
        hop_length=shape["hop_length"],
        n_fft=shape["n_fft"],
        chunk_length=1,
    )
    expected = rows(extractor(signal.samples, sampling_rate=rate).input_features).T
    assert_levels("transformers Whisper", ours(config, signal), expected, unit=LOG10 * 4.0)


@given(data=st.data(), reference=st.floats(0.0, 4.0))
def test_voxtral_realtime(data: st.DataObject, reference: float) -> None:
    """Voxtral Realtime: Whisper with a fixed maximum, so that it can run on a stream."""
    shape = data.draw(fft_shapes(odd=False, windowed=False))
    n_mels = data.draw(st.integers(2, 128))
    config = MelConfig(
        frame=Frame(**shape, drop_last_frames=1),
        mel=Mel(n_mels=n_mels, f_max=8000.0, **SLANEY),
        log=Log(**DECIMAL, range_ref="fixed", range_value=reference, range_width=8.0),
        scale=Scale(shift=-4.0, scale=4.0),
    )
    signal = data.draw(signals_for(config))
    extractor = VoxtralRealtimeFeatureExtractor(
        feature_size=n_mels,
        hop_length=shape["hop_length"],
        n_fft=shape["n_fft"],
        win_length=shape["n_fft"],
        global_log_mel_max=reference,
    )
    expected = rows(extractor(signal.samples, sampling_rate=16000).input_features).T
    unit = LOG10 * 4.0
    assert_levels("transformers Voxtral Realtime", ours(config, signal), expected, unit=unit)


@given(data=st.data())
def test_granite_speech(data: st.DataObject) -> None:
    """Granite Speech: pairs of frames of torchaudio's mels, an odd last frame dropped."""
    shape = data.draw(fft_shapes(odd=False))
    n_mels = data.draw(st.integers(2, 100))
    config = MelConfig(
        frame=Frame(**shape),
        mel=Mel(n_mels=n_mels, fb_precision="float32"),
        log=Log(**DECIMAL, range_ref="item_max", range_width=8.0),
        scale=Scale(shift=-4.0, scale=4.0),
        out=Out(frames_multiple=2, frames_multiple_mode="drop", stack=2, stack_stride=2),
    )
    signal = data.draw(signals_for(config))
    extractor = GraniteSpeechFeatureExtractor(n_mels=n_mels, **shape)
    expected = rows(extractor(signal.samples)["input_features"])
    assert_levels("transformers Granite Speech", ours(config, signal), expected, unit=LOG10 * 4.0)


@pytest.mark.parametrize("path", ["torchaudio", "numpy"])
@given(data=st.data())
def test_ast(path: str, data: st.DataObject) -> None:
    """AST: Kaldi's mels cut or filled to a length before they are scaled, by either library."""
    n_mels, n_frames = data.draw(st.integers(4, 128)), data.draw(st.integers(1, 60))
    mean, std = data.draw(st.floats(-10.0, 10.0)), data.draw(st.floats(0.5, 10.0))
    config = MelConfig(
        wave=Wave(**EMPHASIS),
        frame=kaldi_frame("hann"),
        mel=Mel(
            n_mels=n_mels,
            f_min=20.0,
            fb_domain="mel",
            fb_precision="float32" if path == "torchaudio" else "float64",
        ),
        log=KALDI_LOG,
        scale=Scale(shift=mean, scale=2.0 * std),
        out=Out(fix_frames=n_frames, fix_frames_stage="log"),
    )
    signal = data.draw(signals_for(config, most_frames=80))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ast, "is_speech_available", lambda: path == "torchaudio")
        extractor = ast.ASTFeatureExtractor(
            num_mel_bins=n_mels, max_length=n_frames, mean=mean, std=std
        )
        expected = rows(extractor(signal.samples, sampling_rate=16000).input_values)
    assert_levels(
        f"transformers AST ({path})",
        ours(config, signal),
        expected,
        unit=LN * 2.0 * std,
        weights=FLOAT32_WEIGHTS if path == "torchaudio" else 0.0,
    )


@pytest.mark.parametrize("path", ["torchaudio", "numpy"])
@given(data=st.data(), normalised=st.booleans())
def test_speech2text(path: str, data: st.DataObject, normalised: bool) -> None:  # noqa: FBT001
    """Speech2Text: Kaldi's mels of 16-bit samples, normalised over the item with its own spread."""
    n_mels = data.draw(st.integers(4, 100))
    config = MelConfig(
        wave=Wave(**EMPHASIS, wave_gain=32768.0),
        frame=kaldi_frame("povey"),
        mel=Mel(
            n_mels=n_mels,
            f_min=20.0,
            fb_domain="mel",
            fb_precision="float32" if path == "torchaudio" else "float64",
        ),
        log=KALDI_LOG,
        scale=Scale(utt_norm="mean_var" if normalised else "none", utt_ddof=0),
    )
    # Enough frames for a band to vary: where none does, the original divides by 0.
    signal = data.draw(signals_for(config, at_least=16 * 160, most_frames=80))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(s2t, "is_speech_available", lambda: path == "torchaudio")
        extractor = s2t.Speech2TextFeatureExtractor(
            num_mel_bins=n_mels, do_ceptral_normalize=normalised
        )
        expected = rows(extractor(signal.samples, sampling_rate=16000).input_features)
    assume(bool(np.isfinite(expected).all()))
    peer, mels = f"transformers Speech2Text ({path})", ours(config, signal)
    weights = FLOAT32_WEIGHTS if path == "torchaudio" else 0.0
    if normalised:
        assert_normalised(peer, mels, expected)
    else:
        assert_levels(peer, mels, expected, unit=LN, weights=weights)


@given(data=st.data(), normalised=st.booleans())
def test_seamless_m4t(data: st.DataObject, normalised: bool) -> None:  # noqa: FBT001
    """SeamlessM4T: an even number of normalised frames, a few neighbours to a row."""
    n_mels, stride = data.draw(st.integers(4, 100)), data.draw(st.integers(1, 5))
    config = MelConfig(
        wave=Wave(**EMPHASIS, wave_gain=32768.0),
        frame=kaldi_frame("povey"),
        mel=Mel(n_mels=n_mels, f_min=20.0, fb_domain="mel"),
        log=KALDI_LOG,
        scale=Scale(
            utt_norm="mean_var" if normalised else "none", utt_eps=1e-7, utt_eps_mode="var"
        ),
        out=Out(frames_multiple=2, stack=stride, stack_stride=stride),
    )
    signal = data.draw(signals_for(config, at_least=16 * 160, most_frames=80))
    extractor = SeamlessM4TFeatureExtractor(num_mel_bins=n_mels, stride=stride)
    expected = extractor(
        signal.samples, sampling_rate=16000, do_normalize_per_mel_bins=normalised
    ).input_features
    peer, mels = "transformers SeamlessM4T", ours(config, signal)
    if normalised:
        assert_normalised(peer, mels, rows(expected))
    else:
        assert_levels(peer, mels, rows(expected), unit=LN)


@given(data=st.data())
def test_fun_asr_nano(data: st.DataObject) -> None:
    """Fun-ASR-Nano: Kaldi's mels at a low frame rate, the first and last frame repeated."""
    rate = data.draw(choice([16000, 8000, 48000]))
    n_mels = data.draw(st.integers(4, 80))
    stack, stride = data.draw(st.integers(1, 9)), data.draw(st.integers(1, 8))
    hop_ms = data.draw(st.integers(5, 20))
    win_ms = data.draw(st.integers(max(15, hop_ms), 40))
    win_length = win_ms * rate // 1000
    config = MelConfig(
        wave=Wave(sample_rate=rate, **EMPHASIS),
        frame=Frame(
            n_fft=1 << (win_length - 1).bit_length(),
            win_length=win_length,
            hop_length=hop_ms * rate // 1000,
            frame_span="win_length",
            window="hamming",
            window_periodic=False,
            pad="none",
            frame_dc=True,
        ),
        mel=Mel(n_mels=n_mels, f_min=20.0, fb_domain="mel", fb_precision="float32"),
        log=KALDI_LOG,
        out=Out(stack=stack, stack_stride=stride, stack_pad="lfr"),
    )
    signal = data.draw(signals_for(config))
    extractor = FunAsrNanoFeatureExtractor(
        feature_size=n_mels,
        sampling_rate=rate,
        frame_length=win_ms,
        frame_shift=hop_ms,
        num_frames_lfr=stack,
        stride_lfr=stride,
    )
    expected = rows(extractor(signal.samples, sampling_rate=rate).input_features)
    mels = ours(config, signal)
    assert mels.shape == expected.shape
    assert_levels(
        "transformers Fun-ASR-Nano",
        mels.reshape(-1, n_mels),
        expected.reshape(-1, n_mels),
        unit=LN,
        weights=FLOAT32_WEIGHTS,
    )


def nemo(data: st.DataObject) -> tuple[MelConfig, dict[str, Any]]:
    """A front end of NVIDIA NeMo, and the arguments of its port."""
    rate = data.draw(choice(RATES))
    shape = data.draw(fft_shapes(odd=False, smallest=256))
    n_mels, coefficient = data.draw(st.integers(2, 50)), data.draw(st.floats(0.1, 0.99))
    config = MelConfig(
        wave=Wave(sample_rate=rate, preemph=coefficient),
        frame=Frame(**shape, window_periodic=False, pad_mode="constant"),
        mel=Mel(n_mels=n_mels, **SLANEY),
        log=Log(floor_mode="add", floor=2.0**-24, log="ln"),
        scale=Scale(tail_mask="n_over_hop"),
    )
    arguments = {
        **shape,
        "feature_size": n_mels,
        "sampling_rate": rate,
        "preemphasis": coefficient,
    }
    return config, arguments


@given(data=st.data())
def test_parakeet(data: st.DataObject) -> None:
    """Parakeet: pre-emphasis, normalised over the frames that are full, the others zero."""
    config, arguments = nemo(data)
    config = config.updated({"scale.utt_norm": "mean_var", "scale.utt_eps": 1e-5})
    # A band without a bin is constant: what is left of it in float32 is divided by the 1e-5.
    assume(every_filter_holds_a_bin(config))
    signal = data.draw(signals_for(config, at_least=12 * config.frame.hop_length, most_frames=60))
    features = ParakeetFeatureExtractor(**arguments)(
        signal.samples, sampling_rate=config.wave.sample_rate
    )
    assert_normalised("transformers Parakeet", ours(config, signal), rows(features.input_features))


@given(data=st.data())
def test_nemotron_streaming(data: st.DataObject) -> None:
    """Nemotron streaming: Parakeet's mels as they are, but for the last frame."""
    config, arguments = nemo(data)
    signal = data.draw(signals_for(config, at_least=config.frame.hop_length))
    module = feature_extraction_nemotron_asr_streaming
    extractor = module.NemotronAsrStreamingFeatureExtractor(**arguments)
    features = extractor(signal.samples, sampling_rate=config.wave.sample_rate)
    assert_levels(
        "transformers Nemotron streaming",
        ours(config, signal),
        rows(features.input_features),
        unit=LN,
    )


def gemma(data: st.DataObject) -> tuple[MelConfig, dict[str, Any]]:
    """What the front ends of both Gemmas have in common, and their arguments."""
    rate = data.draw(choice([16000, 8000, 24000, 48000]))
    hop_ms = data.draw(st.integers(2, 20))
    frame_ms = data.draw(st.integers(hop_ms, 40))
    overdrive, coefficient = (
        data.draw(st.booleans()),
        data.draw(st.just(0.0) | st.floats(0.1, 0.99)),
    )
    win_length = rate * frame_ms // 1000
    n_fft = (1 << (win_length - 1).bit_length()) * (2 if overdrive else 1)
    band = data.draw(bands(rate, fewest=2, most=128))
    band["f_max"] = band["f_max"] or rate / 2
    n_mels, floor = band["n_mels"], data.draw(choice([1e-5, 1e-3]))
    gain = data.draw(choice([1.0, 0.5, 100.0]))
    numbers = st.floats(-5.0, 5.0, width=32)
    means = data.draw(st.none() | st.lists(numbers, min_size=n_mels, max_size=n_mels))
    config = MelConfig(
        wave=Wave(sample_rate=rate, wave_gain=gain, preemph=coefficient, preemph_scope="frame"),
        frame=Frame(
            n_fft=n_fft,
            win_length=win_length,
            hop_length=rate * hop_ms // 1000,
            frame_span="win_length",
            pad="none",
            frame_extra=1,
        ),
        spec=Spec(power=1.0),
        mel=Mel(**band),
        log=Log(floor_mode="clamp", floor=floor, log="ln"),
        scale=Scale(shift=tuple(means) if means else 0.0),
    )
    arguments = {
        "feature_size": n_mels,
        "sampling_rate": rate,
        "frame_length_ms": float(frame_ms),
        "hop_length_ms": float(hop_ms),
        "min_frequency": band["f_min"],
        "max_frequency": band["f_max"],
        "preemphasis": coefficient,
        "fft_overdrive": overdrive,
        "input_scale_factor": gain,
        "mel_floor": floor,
        "per_bin_mean": means,
    }
    return config, arguments


@given(data=st.data(), by_frame=st.booleans())
def test_gemma3n(data: st.DataObject, by_frame: bool) -> None:  # noqa: FBT001
    """Gemma 3n: frames that need one more sample, pre-emphasised by themselves or in a stream."""
    config, arguments = gemma(data)
    config = config.updated({"wave.samples_multiple": 128})
    if not by_frame and config.wave.preemph:
        # The extra sample is the first frame's predecessor.
        config = config.updated({"wave.preemph_scope": "wave_drop_first", "frame.frame_extra": 0})
    signal = data.draw(signals_for(config))
    extractor = Gemma3nAudioFeatureExtractor(**arguments, preemphasis_htk_flavor=by_frame)
    expected = rows(extractor(signal.samples)["input_features"])
    shift = np.array(config.scale.shift)
    assert_levels(
        "transformers Gemma 3n",
        ours(config, signal) + shift,
        expected + shift,
        unit=2.0 * LN,
        power=1.0,
    )


@given(data=st.data())
def test_gemma4(data: st.DataObject) -> None:
    """Gemma 4: half a frame of zeros before the signal and none behind it."""
    config, arguments = gemma(data)
    config = config.updated(
        {"frame.pad": "semi_causal", "frame.pad_mode": "constant", "log.floor_mode": "add"}
    )
    signal = data.draw(signals_for(config))
    # A filled end is masked there, which no setting says.
    features = Gemma4AudioFeatureExtractor(**arguments)([signal.samples], pad_to_multiple_of=None)
    shift = np.array(config.scale.shift)
    assert_levels(
        "transformers Gemma 4",
        ours(config, signal) + shift,
        rows(features["input_features"]) + shift,
        unit=2.0 * LN,
        power=1.0,
    )


@given(data=st.data())
def test_lasr(data: st.DataObject) -> None:
    """LASR: frames as long as the window, TensorFlow's filterbank in float64."""
    rate = data.draw(choice(FAST_RATES))
    shape = data.draw(fft_shapes(odd=False))
    n_mels = data.draw(st.integers(2, 128))
    config = MelConfig(
        wave=Wave(sample_rate=rate),
        frame=Frame(**shape, frame_span="win_length", window_periodic=False, pad="none"),
        mel=Mel(n_mels=n_mels, f_min=125.0, f_max=7500.0, fb_domain="mel"),
        log=Log(floor_mode="clamp", floor=1e-5, log="ln"),
    )
    signal = data.draw(signals_for(config))
    extractor = LasrFeatureExtractor(feature_size=n_mels, sampling_rate=rate, **shape)
    expected = rows(extractor(signal.samples, sampling_rate=rate).input_features)
    assert_levels("transformers LASR", ours(config, signal), expected, unit=LN)


@given(data=st.data())
def test_phi4_multimodal(data: st.DataObject) -> None:
    """Phi-4 Multimodal: Kaldi's mels of 16-bit samples without their mean taken away."""
    rate = data.draw(choice(RATES))
    shape = data.draw(fft_shapes(odd=False))
    band = data.draw(bands(rate))
    band["f_max"] = band["f_max"] or rate / 2
    coefficient = data.draw(st.floats(0.1, 0.99))
    config = MelConfig(
        wave=Wave(sample_rate=rate, wave_gain=32768.0, preemph=coefficient, preemph_scope="frame"),
        frame=Frame(
            **shape,
            frame_span="win_length",
            window="hamming",
            window_periodic=False,
            pad="none",
        ),
        mel=Mel(**band, fb_domain="mel"),
        log=Log(floor_mode="clamp", floor=1.0, log="ln"),
    )
    signal = data.draw(signals_for(config))
    extractor = Phi4MultimodalFeatureExtractor(
        feature_size=band["n_mels"],
        sampling_rate=rate,
        **shape,
        preemphasis=coefficient,
        mel_min_frequency=band["f_min"],
        mel_max_frequency=band["f_max"],
    )
    expected = rows(extractor(signal.samples, sampling_rate=rate).audio_input_features)
    assert_levels("transformers Phi-4", ours(config, signal), expected, unit=LN)


@given(data=st.data(), normalised=st.booleans())
def test_univnet(data: st.DataObject, normalised: bool) -> None:  # noqa: FBT001
    """UnivNet: padded by what a frame is longer than a hop, with a guard below the root."""
    rate = data.draw(choice(RATES))
    shape = data.draw(fft_shapes(odd=False, windowed=False))
    band = data.draw(bands(rate))
    guard = data.draw(choice([1e-9, 1e-6]))
    factor, floor = data.draw(st.floats(0.5, 100.0)), data.draw(choice([1e-5, 1e-4]))
    low, high = -11.5, data.draw(st.floats(1.0, 5.0))
    # 2 (x - low) / (high - low) - 1 is (x - middle) / half.
    config = MelConfig(
        wave=Wave(sample_rate=rate),
        frame=Frame(**shape, pad="same"),
        spec=Spec(power=1.0, mag_eps=guard),
        mel=Mel(**band, **SLANEY),
        log=Log(gain=factor, floor_mode="clamp", floor=floor * factor, log="ln"),
        scale=Scale(shift=(high + low) / 2, scale=(high - low) / 2) if normalised else Scale(),
    )
    signal = data.draw(signals_for(config))
    extractor = UnivNetFeatureExtractor(
        sampling_rate=rate,
        num_mel_bins=band["n_mels"],
        hop_length=shape["hop_length"],
        win_length=shape["n_fft"],
        filter_length=shape["n_fft"],
        fmin=band["f_min"],
        fmax=band["f_max"],
        mel_floor=guard,
        compression_factor=factor,
        compression_clip_val=floor,
        normalize_min=low,
        normalize_max=high,
        do_normalize=normalised,
    )
    features = extractor(signal.samples, sampling_rate=rate, padding=False, return_noise=False)
    assert_levels(
        "transformers UnivNet",
        ours(config, signal),
        rows(features.input_features),
        unit=2.0 * LN * float(np.ravel(config.scale.scale)[0]),
        power=1.0,
    )


@given(data=st.data())
def test_speecht5(data: st.DataObject) -> None:
    """SpeechT5: frames of the window's length, centred, then filled up to a power of two."""
    rate = data.draw(choice([16000, 8000, 24000, 48000]))
    hop_ms = data.draw(st.integers(4, 30))
    win_ms = data.draw(st.integers(hop_ms, 64))
    band, floor = data.draw(bands(rate)), data.draw(choice([1e-10, 1e-5]))
    band["f_max"] = band["f_max"] or rate / 2
    win_length = win_ms * rate // 1000
    config = MelConfig(
        wave=Wave(sample_rate=rate),
        frame=Frame(
            n_fft=1 << (win_length - 1).bit_length(),
            win_length=win_length,
            hop_length=hop_ms * rate // 1000,
            frame_span="win_length",
        ),
        spec=Spec(power=1.0),
        mel=Mel(**band, **SLANEY),
        log=Log(floor_mode="clamp", floor=floor, log="log10"),
    )
    signal = data.draw(signals_for(config))
    extractor = SpeechT5FeatureExtractor(
        sampling_rate=rate,
        num_mel_bins=band["n_mels"],
        hop_length=hop_ms,
        win_length=win_ms,
        fmin=band["f_min"],
        fmax=band["f_max"],
        mel_floor=floor,
    )
    expected = rows(extractor(audio_target=signal.samples, sampling_rate=rate).input_values)
    assert_levels(
        "transformers SpeechT5", ours(config, signal), expected, unit=2.0 * LOG10, power=1.0
    )


@given(data=st.data())
def test_inkling(data: st.DataObject) -> None:
    """Inkling: causal frames, and a guard below the root that is clamped to."""
    rate = data.draw(choice([16000, 8000, 48000]))
    hop_ms = data.draw(st.integers(5, 50))
    multiplier = data.draw(st.integers(1, 3))
    hop, win_length = hop_ms * rate // 1000, multiplier * hop_ms * rate // 1000
    n_fft = data.draw(st.none() | st.integers(win_length // 2 + 1, win_length).map(lambda h: 2 * h))
    n_mels = data.draw(st.integers(2, 100))
    config = MelConfig(
        wave=Wave(sample_rate=rate),
        frame=Frame(
            n_fft=n_fft or win_length,
            win_length=win_length,
            hop_length=hop,
            pad="causal",
            pad_mode="constant",
        ),
        spec=Spec(power=1.0, mag_eps=1e-10, mag_eps_mode="clamp"),
        mel=Mel(n_mels=n_mels, **SLANEY),
        log=Log(**DECIMAL),
    )
    signal = data.draw(signals_for(config))
    extractor = InklingFeatureExtractor(
        feature_size=n_mels,
        sampling_rate=rate,
        audio_token_duration_s=hop_ms / 1000,
        window_size_multiplier=float(multiplier),
        n_fft=n_fft,
    )
    expected = rows(extractor(signal.samples, sampling_rate=rate).input_features)
    assert_levels(
        "transformers Inkling", ours(config, signal), expected, unit=2.0 * LOG10, power=1.0
    )


@given(data=st.data())
def test_clvp(data: st.DataObject) -> None:
    """CLVP: a fixed length, and a divisor for every band."""
    rate = data.draw(choice(FAST_RATES))
    shape = data.draw(fft_shapes(odd=False, windowed=False, smallest=64))
    n_mels = data.draw(st.integers(2, 100))
    divisor = st.floats(0.5, 5.0, width=32)
    norms = data.draw(st.none() | st.lists(divisor, min_size=n_mels, max_size=n_mels))
    config = MelConfig(
        wave=Wave(sample_rate=rate, fix_samples=rate),
        frame=Frame(**shape),
        mel=Mel(n_mels=n_mels, f_max=8000.0, fb_norm="slaney"),
        log=Log(floor_mode="clamp", floor=1e-5, log="ln"),
        scale=Scale(scale=tuple(norms) if norms else 1.0),
    )
    signal = Signal(data.draw(st.integers(1, rate * 13 // 10)), data.draw(st.integers(0, 999)))
    extractor = ClvpFeatureExtractor(
        feature_size=n_mels,
        sampling_rate=rate,
        default_audio_length=1,
        hop_length=shape["hop_length"],
        n_fft=shape["n_fft"],
        mel_norms=norms,
    )
    expected = rows(extractor(signal.samples, sampling_rate=rate).input_features).T
    scale = np.array(config.scale.scale)
    assert_levels("transformers CLVP", ours(config, signal) * scale, expected * scale, unit=LN)


@given(data=st.data())
def test_clap(data: st.DataObject) -> None:
    """CLAP: filled with repeats to a fixed length; what is longer is cut at random there."""
    rate = data.draw(choice(FAST_RATES))
    shape = data.draw(fft_shapes(odd=False, windowed=False, smallest=64))
    band = data.draw(bands(rate))
    band["f_max"] = band["f_max"] or rate / 2
    fusion = data.draw(st.booleans(), label="fusion")
    fill: Any = data.draw(choice(["repeatpad", "repeat", "zero"]))
    config = MelConfig(
        wave=Wave(sample_rate=rate, fix_samples=rate, fix_samples_fill=fill),
        frame=Frame(**shape),
        mel=Mel(**band, **({} if fusion else SLANEY)),
        log=Log(**DECIMAL, log_mult=10.0),
    )
    # Of a few samples repeated there are only lines, and rounding between them.
    signal = Signal(data.draw(st.integers(rate // 8, rate)), data.draw(st.integers(0, 999)))
    extractor = ClapFeatureExtractor(
        feature_size=band["n_mels"],
        sampling_rate=rate,
        hop_length=shape["hop_length"],
        max_length_s=1,
        fft_window_size=shape["n_fft"],
        frequency_min=band["f_min"],
        frequency_max=band["f_max"],
        truncation="fusion" if fusion else "rand_trunc",
        padding="pad" if fill == "zero" else fill,
    )
    features = extractor(signal.samples, sampling_rate=rate).input_features
    assert_levels("transformers CLAP", ours(config, signal), rows(features[0]), unit=1.0)


@given(data=st.data())
def test_pop2piano(data: st.DataObject) -> None:
    """Pop2Piano: the mel of a segment; where the beats are is for Essentia to say."""
    rate = data.draw(choice(RATES))
    shape = data.draw(fft_shapes(odd=False, windowed=False))
    band = data.draw(bands(rate))
    config = MelConfig(
        wave=Wave(sample_rate=rate),
        frame=Frame(**shape),
        mel=Mel(**{**band, "f_max": None}),
        log=Log(floor_mode="clamp", floor=1e-6, log="ln"),
    )
    signal = data.draw(signals_for(config))
    # The package offers the class only where Essentia is installed; its file has it.
    name = "transformers.models.pop2piano.feature_extraction_pop2piano"
    extractor = importlib.import_module(name).Pop2PianoFeatureExtractor(
        sampling_rate=rate,
        window_size=shape["n_fft"],
        hop_length=shape["hop_length"],
        min_frequency=band["f_min"],
        feature_size=band["n_mels"],
    )
    mels = extractor.mel_spectrogram(signal.samples[None])[0].T
    expected = np.log(np.clip(mels, 1e-6, None))
    assert_levels("transformers Pop2Piano", ours(config, signal), expected, unit=LN)
