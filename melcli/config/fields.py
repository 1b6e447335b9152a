"""The fields of a front end, in the groups of its TOML file and the order of the computation."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

ChannelRule = Literal["mean", "first", "each"]
Resampler = Literal["soxr-hq", "soxr-vhq", "soxr-mq", "error"]
PcmRounding = Literal["none", "s16_32767", "s16_32768"]
LevelRule = Literal["none", "peak", "peak_eps", "peak_if_over_1", "minmax_pm1"]
FillRule = Literal["zero", "repeat", "repeatpad"]
DitherScope = Literal["frame", "wave"]
PreemphasisScope = Literal["wave", "wave_drop_first", "frame"]
FrameSpan = Literal["n_fft", "win_length"]
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
FftNorm = Literal["none", "frame_length", "window", "window_sum", "power_n_fft"]
EpsMode = Literal["add", "clamp"]
MelScale = Literal["htk", "slaney"]
FilterDomain = Literal["hz", "mel"]
FilterNorm = Literal["none", "slaney", "l1"]
FilterShape = Literal["triangle", "left_width", "int_bin"]
Precision = Literal["float64", "float32"]
FloorMode = Literal["none", "clamp", "add", "replace_zero"]
LogBase = Literal["none", "ln", "log10"]
RangeReference = Literal["none", "item_max", "fixed"]
UtteranceNorm = Literal["none", "mean", "mean_var", "minmax", "minmax01"]
UtteranceOver = Literal["auto", "bin", "all"]
UtteranceEps = Literal["std", "var"]
TailMask = Literal["none", "n_over_hop", "drop_one"]
FixStage = Literal["out", "log"]
MultipleRule = Literal["pad", "drop"]
StackPadding = Literal["none", "lfr"]
Layout = Literal["mel_time", "time_mel"]

ALWAYS = object()
"""Marks a field that is always part of the digest: no value of it means "does nothing"."""


MOST_HERTZ = 10_000_000
MOST_SAMPLES = 1 << 26
MOST_FRAMES = 1 << 20
_MOST = (1 << 31) - 1
"""The highest values allowed. A config from elsewhere must not ask for all of the memory."""


def setting(
    default: object,
    doc: str,
    *,
    neutral: object = ALWAYS,
    low: float | None = None,
    high: float = _MOST,
) -> Any:  # noqa: ANN401, like dataclasses.field: the annotation beside it is the type
    """A field of a group, with what the digest, the checks and the help need to know about it.

    Args:
        default: What a file that is silent means.
        doc: One line for people.
        neutral: The value that does nothing. A field at this value is left out of the digest,
            so that fields added later never change the digest of an older file.
        low: The lowest value allowed, for numbers.
        high: The highest, for whole numbers.
    """
    metadata = {"doc": doc, "neutral": neutral, "low": low, "high": high}
    return field(default=default, metadata=metadata)


@dataclass(frozen=True, kw_only=True)
class Wave:
    """The waveform before it is cut into frames."""

    sample_rate: int = setting(16000, "rate the front end works at, in Hz", low=1, high=MOST_HERTZ)
    channels: ChannelRule | int = setting(
        "mean", "several channels: their mean, the first, each as an item, or one by its number"
    )
    resample: Resampler = setting("soxr-hq", "how audio of another rate gets to sample_rate")
    pcm_round: PcmRounding = setting(
        "none", "quantise like 16-bit storage: clip, multiply, truncate, divide", neutral="none"
    )
    wave_dc: bool = setting(False, "take the item's mean away", neutral=False)
    wave_norm: LevelRule = setting("none", "level rule over the item", neutral="none")
    wave_norm_target: float = setting(1.0, "peak after it", neutral=1.0)
    wave_clip: bool = setting(False, "clamp to [-1, 1]", neutral=False)
    wave_gain: float = setting(1.0, "factor on every sample (32768: int16 range)", neutral=1.0)
    wave_pad: tuple[int, int] = setting(
        (0, 0), "zeros put before and behind", neutral=(0, 0), high=1 << 24
    )
    fix_samples: int = setting(
        0, "cut or fill to this many samples; 0: off", neutral=0, low=0, high=MOST_SAMPLES
    )
    fix_samples_fill: FillRule = setting(
        "zero", "filled with zeros, repeats, or whole repeats and zeros", neutral="zero"
    )
    samples_multiple: int = setting(
        0, "zero-pad to a multiple of this; 0: off", neutral=0, low=0, high=MOST_SAMPLES
    )
    dither: float = setting(
        0.0, "standard deviation of Gaussian noise, the same for every item", neutral=0.0, low=0
    )
    dither_scope: DitherScope = setting(
        "frame", "noise on each frame, or on the waveform", neutral="frame"
    )
    preemph: float = setting(0.0, "p in y[n] = x[n] - p x[n-1]", neutral=0.0)
    preemph_scope: PreemphasisScope = setting(
        "wave", "over the waveform, or within each frame", neutral="wave"
    )


@dataclass(frozen=True, kw_only=True)
class Frame:
    """How the waveform is cut into frames and windowed."""

    n_fft: int = setting(400, "FFT length in samples", low=2, high=1 << 20)
    hop_length: int = setting(160, "step from frame to frame in samples", low=1, high=1 << 20)
    win_length: int | None = setting(None, "window length in samples; left out: n_fft", low=1)
    frame_span: FrameSpan = setting("n_fft", "the length at which frames are cut")
    window: str | tuple[str | float, ...] = setting(
        "hann", "window shape: a name of scipy's, [name, parameters], or povey"
    )
    window_periodic: bool = setting(True, "periodic, as for spectra, or symmetric")
    pad: Padding = setting("center", "where frames lie: the table in melcli/frames.py")
    pad_mode: PadMode = setting("reflect", "what the padding is made of")
    frame_extra: int = setting(
        0, "samples a frame needs behind it to exist", neutral=0, low=0, high=MOST_SAMPLES
    )
    frame_dc: bool = setting(False, "take each frame's mean away", neutral=False)
    drop_last_frames: int = setting(0, "frames dropped at the end", neutral=0, low=0)


@dataclass(frozen=True, kw_only=True)
class Spec:
    """From the Fourier transform to what the filterbank is fed."""

    fft_norm: FftNorm = setting("none", "what the spectrum is divided by", neutral="none")
    power: float = setting(2.0, "exponent of the magnitude: 1 is magnitude, 2 is power", low=0)
    mag_eps: float = setting(0.0, "guard of the power before the root", neutral=0.0, low=0)
    mag_eps_mode: EpsMode = setting("add", "added, or clamped to", neutral="add")


@dataclass(frozen=True, kw_only=True)
class Mel:
    """The filterbank."""

    n_mels: int = setting(80, "number of mel bands", low=1, high=1 << 13)
    f_min: float = setting(0.0, "lowest edge in Hz", low=0)
    f_max: float | None = setting(None, "highest edge in Hz; left out: half the sample rate")
    mel_scale: MelScale = setting("htk", "curve from Hz to mel")
    fb_domain: FilterDomain = setting("hz", "axis on which the triangles are straight")
    fb_norm: FilterNorm = setting("none", "height of the triangles")
    fb_shape: FilterShape = setting(
        "triangle", "or as wide as its left side, or with corners on FFT bins", neutral="triangle"
    )
    fb_sample_rate: int = setting(
        0, "rate the filterbank is drawn for; 0: the front end's", neutral=0, low=0, high=MOST_HERTZ
    )
    fb_precision: Precision = setting("float64", "arithmetic the filterbank is built in")
    mel_exponent: float = setting(1.0, "exponent after the filterbank", neutral=1.0)


@dataclass(frozen=True, kw_only=True)
class Log:
    """From mel to log mel."""

    gain: float = setting(1.0, "factor before the floor", neutral=1.0)
    floor_mode: FloorMode = setting("none", "guard before the logarithm", neutral="none")
    floor: float = setting(0.0, "its value", neutral=0.0, low=0)
    log: LogBase = setting("none", "base of the logarithm", neutral="none")
    log_mult: float = setting(1.0, "factor after it: 10 for dB of power", neutral=1.0)
    range_ref: RangeReference = setting("none", "what the dynamic range hangs from", neutral="none")
    range_value: float = setting(0.0, "that, if range_ref is fixed", neutral=0.0)
    range_width: float = setting(0.0, "its depth; 0: off", neutral=0.0, low=0)
    range_subtract: bool = setting(False, "then take the reference away", neutral=False)


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
        "none",
        "normalise each item by itself; minmax: to [-1, 1], minmax01: to [0, 1]",
        neutral="none",
    )
    utt_over: UtteranceOver = setting(
        "auto", "bin by bin, or all alike; auto: all for minmax and minmax01", neutral="auto"
    )
    utt_ddof: int = setting(1, "degrees of freedom taken off its variance", neutral=1, low=0)
    utt_eps: float = setting(0.0, "added to its divisor", neutral=0.0, low=0)
    utt_eps_mode: UtteranceEps = setting(
        "std", "added to the deviation, or to the variance", neutral="std"
    )
    tail_mask: TailMask = setting(
        "none", "frames left out of its statistics and overwritten", neutral="none"
    )
    tail_value: float = setting(0.0, "with this", neutral=0.0)


@dataclass(frozen=True, kw_only=True)
class Out:
    """How the result is handed out."""

    fix_frames: int = setting(
        0, "cut or fill to this many frames; 0: off", neutral=0, low=0, high=MOST_FRAMES
    )
    fix_frames_stage: FixStage = setting("out", "after scaling, or before it", neutral="out")
    fix_frames_value: float = setting(0.0, "what is filled in", neutral=0.0)
    frames_multiple: int = setting(
        0, "make the frames a multiple of this; 0: off", neutral=0, low=0, high=MOST_FRAMES
    )
    frames_multiple_mode: MultipleRule = setting("pad", "by zeros, or by dropping", neutral="pad")
    stack: int = setting(
        1, "neighbouring frames joined into one row", neutral=1, low=1, high=1 << 12
    )
    stack_stride: int = setting(
        1, "frames from one such row to the next", neutral=1, low=1, high=MOST_FRAMES
    )
    stack_pad: StackPadding = setting(
        "none", "lfr: the first frame repeated before, the last as needed", neutral="none"
    )
    patch_frames: int = setting(
        0, "frames in a patch; 0: no patches", neutral=0, low=0, high=1 << 16
    )
    patch_hop: int = setting(0, "frames from patch to patch", neutral=0, low=0, high=MOST_FRAMES)
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
