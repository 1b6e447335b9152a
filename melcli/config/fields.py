"""The fields of a front end, in the groups of its TOML file and the order of the computation."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

ChannelRule = Literal["mean", "first", "each"]
Resampler = Literal["soxr-hq", "soxr-vhq", "soxr-mq", "error"]
PreemphasisScope = Literal["wave", "wave_drop_first", "frame"]
FrameSpan = Literal["n_fft", "win_length"]
WindowName = Literal["hann", "hamming", "povey", "rectangular", "blackman"]
Padding = Literal[
    "center",
    "same",
    "same_ceil",
    "none",
    "kaldi_round",
    "end",
    "end_cover",
    "causal",
    "semi_causal",
    "tf_same",
]
PadMode = Literal["reflect", "constant", "symmetric"]
MelScale = Literal["htk", "slaney"]
FilterDomain = Literal["hz", "mel"]
FilterNorm = Literal["none", "slaney", "l1"]
Precision = Literal["float64", "float32"]
FloorMode = Literal["none", "clamp", "add", "replace_zero"]
LogBase = Literal["none", "ln", "log10"]
RangeReference = Literal["none", "item_max"]
UtteranceNorm = Literal["none", "minmax"]
Layout = Literal["mel_time", "time_mel"]

ALWAYS = object()
"""Marks a field that is always part of the digest: no value of it means "does nothing"."""


def setting(
    default: object, doc: str, *, neutral: object = ALWAYS, low: float | None = None
) -> Any:  # noqa: ANN401, like dataclasses.field: the annotation beside it is the type
    """A field of a group, with what the digest, the checks and the help need to know about it.

    Args:
        default: What a file that is silent means.
        doc: One line for people.
        neutral: The value that does nothing. A field at this value is left out of the digest,
            so that fields added later never change the digest of an older file.
        low: The lowest value allowed, for numbers.
    """
    return field(default=default, metadata={"doc": doc, "neutral": neutral, "low": low})


@dataclass(frozen=True, kw_only=True)
class Wave:
    """The waveform before it is cut into frames."""

    sample_rate: int = setting(16000, "rate the front end works at, in Hz", low=1)
    channels: ChannelRule | int = setting(
        "mean", "several channels: their mean, the first, each as an item, or one by its number"
    )
    resample: Resampler = setting("soxr-hq", "how audio of another rate gets to sample_rate")
    wave_gain: float = setting(1.0, "factor on every sample (32768: int16 range)", neutral=1.0)
    fix_samples: int = setting(0, "cut or zero-pad to this many samples; 0: off", neutral=0, low=0)
    preemph: float = setting(0.0, "p in y[n] = x[n] - p x[n-1]", neutral=0.0)
    preemph_scope: PreemphasisScope = setting(
        "wave", "over the waveform, or within each frame", neutral="wave"
    )


@dataclass(frozen=True, kw_only=True)
class Frame:
    """How the waveform is cut into frames and windowed."""

    n_fft: int = setting(400, "FFT length in samples", low=2)
    hop_length: int = setting(160, "step from frame to frame in samples", low=1)
    win_length: int | None = setting(None, "window length in samples; left out: n_fft", low=1)
    frame_span: FrameSpan = setting("n_fft", "the length at which frames are cut")
    window: WindowName = setting("hann", "window shape (povey: symmetric Hann to the power 0.85)")
    window_periodic: bool = setting(True, "periodic, as for spectra, or symmetric")
    pad: Padding = setting("center", "where frames lie: the table in melcli/frames.py")
    pad_mode: PadMode = setting("reflect", "what the padding is made of")
    frame_dc: bool = setting(False, "take each frame's mean away", neutral=False)
    drop_last_frames: int = setting(0, "frames dropped at the end", neutral=0, low=0)


@dataclass(frozen=True, kw_only=True)
class Spec:
    """From the Fourier transform to what the filterbank is fed."""

    power: float = setting(2.0, "exponent of the magnitude: 1 is magnitude, 2 is power", low=0)
    mag_eps: float = setting(0.0, "added to the power before the root", neutral=0.0, low=0)


@dataclass(frozen=True, kw_only=True)
class Mel:
    """The filterbank."""

    n_mels: int = setting(80, "number of mel bands", low=1)
    f_min: float = setting(0.0, "lowest edge in Hz", low=0)
    f_max: float | None = setting(None, "highest edge in Hz; left out: half the sample rate")
    mel_scale: MelScale = setting("htk", "curve from Hz to mel")
    fb_domain: FilterDomain = setting("hz", "axis on which the triangles are straight")
    fb_norm: FilterNorm = setting("none", "height of the triangles")
    fb_precision: Precision = setting("float64", "arithmetic the filterbank is built in")


@dataclass(frozen=True, kw_only=True)
class Log:
    """From mel to log mel."""

    floor_mode: FloorMode = setting("none", "guard before the logarithm", neutral="none")
    floor: float = setting(0.0, "its value", neutral=0.0, low=0)
    log: LogBase = setting("none", "base of the logarithm", neutral="none")
    log_mult: float = setting(1.0, "factor after it: 10 for dB of power", neutral=1.0)
    range_ref: RangeReference = setting("none", "what the dynamic range hangs from", neutral="none")
    range_width: float = setting(0.0, "its depth; 0: off", neutral=0.0, low=0)


@dataclass(frozen=True, kw_only=True)
class Scale:
    """What is done to a log mel before a model sees it."""

    pre_clip: tuple[float, float] | None = setting(None, "clamp before scaling", neutral=None)
    shift: float | tuple[float, ...] = setting(
        0.0, "s in (x - s) / c: one number, or one a band", neutral=0.0
    )
    scale: float | tuple[float, ...] = setting(
        1.0, "c in (x - s) / c: one number, or one a band", neutral=1.0
    )
    clip: tuple[float, float] | None = setting(None, "clamp after scaling", neutral=None)
    utt_norm: UtteranceNorm = setting(
        "none", "normalise each item by itself (minmax: all of it to [-1, 1])", neutral="none"
    )
    utt_eps: float = setting(0.0, "added to the divisor of that", neutral=0.0, low=0)


@dataclass(frozen=True, kw_only=True)
class Out:
    """How the result is handed out."""

    layout: Layout = setting("mel_time", "axis order of .npy files and of melcli.open")


GROUPS: dict[str, type] = {
    "wave": Wave,
    "frame": Frame,
    "spec": Spec,
    "mel": Mel,
    "log": Log,
    "scale": Scale,
    "out": Out,
}
