"""Lengths: samples in, frames out, for every padding rule. Whole numbers only, no torch.

With S the length at which frames are cut (``config.span``), H the hop, W the window, E
``frame.frame_extra`` and N the number of samples:

============  =========================================  =====================================
pad           samples added left, right                  frames
============  =========================================  =====================================
center        S // 2, S // 2                             1 + (N + 2 (S // 2) - S) // H
same          (S - H) // 2 on both sides                 1 + (N + 2 ((S - H) // 2) - S) // H
same_ceil     (S - H) // 2, the rest of S - H            N // H
none          0, 0                                       1 + (N - S - E) // H
kaldi_round   W // 2 - H // 2, as needed                 (N + H // 2) // H
end           0, as needed                               ceil(N / H)
end_cover     0, as needed                               1 + ceil((N - S) / H)
causal        S - H, as needed                           ceil(N / H)
semi_causal   S // 2, 0                                  1 + (N + S // 2 - S - E) // H
tf_same       half of (T - 1) H + S - N, the other half  T = ceil(N / H)
============  =========================================  =====================================
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from melcli.errors import ConfigError

if TYPE_CHECKING:
    from melcli.config import MelConfig

_ENDLESS = 1 << 40
"""Samples beyond which no recording goes."""


@dataclass(frozen=True)
class Framing:
    """Where the frames of one waveform lie.

    Args:
        left: Samples of padding before the waveform.
        right: Samples of padding behind it; negative if samples at the end fill no frame.
        n_frames: Frames cut, before any are dropped.
    """

    left: int
    right: int
    n_frames: int


def framing(config: MelConfig, n_samples: int) -> Framing:
    """Padding and frames for a waveform of ``n_samples`` at the front end's rate.

    ``n_frames`` is 0 for what is too short for a single frame.

    >>> from melcli.config import MelConfig
    >>> framing(MelConfig(), 16000)  # centred, n_fft 400, hop 160
    Framing(left=200, right=200, n_frames=101)
    """
    span, hop = config.span, config.frame.hop_length
    half, extra = span // 2, config.frame.frame_extra
    pad = config.frame.pad
    if pad == "center":
        left, n_frames = half, 1 + (n_samples + 2 * half - span) // hop
    elif pad == "same":
        left = (span - hop) // 2
        n_frames = 1 + (n_samples + 2 * left - span) // hop
    elif pad == "same_ceil":
        left, n_frames = (span - hop) // 2, n_samples // hop
    elif pad == "none":
        left, n_frames = 0, 1 + (n_samples - span - extra) // hop
    elif pad == "kaldi_round":
        left = config.win_length // 2 - hop // 2
        n_frames = (n_samples + hop // 2) // hop
    elif pad == "end":
        left, n_frames = 0, _ceil_div(n_samples, hop)
    elif pad == "end_cover":
        left, n_frames = 0, 1 + max(0, _ceil_div(n_samples - span, hop))
    elif pad == "causal":
        left, n_frames = span - hop, _ceil_div(n_samples, hop)
    elif pad == "semi_causal":
        left, n_frames = half, 1 + (n_samples + half - span - extra) // hop
    else:
        n_frames = _ceil_div(n_samples, hop)
        left = max(0, (n_frames - 1) * hop + span - n_samples) // 2
    n_frames = max(0, n_frames)
    return Framing(left, (n_frames - 1) * hop + span - left - n_samples, n_frames)


def fixed_padding(config: MelConfig) -> tuple[int, int] | None:
    """Samples added left and right where the rule adds as many to a waveform of any length.

    What fills no frame at the end is left out. None: as many as are needed.
    """
    span, hop = config.span, config.frame.hop_length
    extra, half = config.frame.frame_extra, config.span // 2
    return {
        "center": (half, half),
        "same": ((span - hop) // 2, (span - hop) // 2),
        "same_ceil": ((span - hop) // 2, span - hop - (span - hop) // 2),
        "none": (0, -extra),
        "semi_causal": (half, -extra),
    }.get(config.frame.pad)


def padded_reach(config: MelConfig, n_samples: int) -> int:
    """How many samples from an edge reflected padding looks back, at most."""
    span, hop = config.span, config.frame.hop_length
    frames = framing(config, n_samples)
    # Originals pad by their rule first and cut frames then: a short clip fails on the padding
    # although no frame would reach its end.
    by_rule = {"center": span // 2, "same": (span - hop) // 2, "same_ceil": (span - hop + 1) // 2}
    # Where the padding depends on the length, the most it can be, or a longer clip might fail.
    by_rule |= {"end": span - 1, "end_cover": hop - 1, "tf_same": span // 2}
    by_rule |= {"kaldi_round": (span + 1) // 2 - hop % 2}
    return max(frames.left, frames.right, by_rule.get(config.frame.pad, 0))


def needs_length(config: MelConfig) -> bool:
    """Whether the first frame cannot be cut before the length of the waveform is known."""
    return config.frame.pad == "tf_same"


def reserve(config: MelConfig) -> int:
    """Samples that may be cut into frames only when it is known whether more will follow.

    Frames that end before them are alike for every length, and what the end reflects lies in them:
    no rule pads or leaves out more than a frame and a hop.
    """
    frame = config.frame
    dropped = frame.drop_last_frames * frame.hop_length
    return 2 * (config.span + frame.hop_length) + frame.frame_extra + dropped


def fixed_length(config: MelConfig, n_samples: int) -> int:
    """Samples that are framed, once the front end has padded, cut and filled."""
    wave = config.wave
    n_samples += sum(wave.wave_pad)
    n_samples = wave.fix_samples or n_samples
    if wave.samples_multiple:
        n_samples += -n_samples % wave.samples_multiple
    dropped = wave.preemph != 0 and wave.preemph_scope == "wave_drop_first"
    return n_samples - 1 if dropped else n_samples


def n_frames(config: MelConfig, n_samples: int) -> int:
    """Frames that a waveform of ``n_samples`` at the front end's rate becomes; 0 if too short.

    These are the frames of the filterbank, before any are filled in, stacked or cut to patches.

    >>> from melcli import presets
    >>> n_frames(presets.load("hifigan-22k").config, 22050)
    86
    """
    if n_samples < 1:
        return 0
    length = fixed_length(config, n_samples)
    if length < 1 or not _padding_possible(config, length):
        return 0
    return max(0, framing(config, length).n_frames - config.frame.drop_last_frames)


def n_rows(config: MelConfig, n_samples: int) -> int:
    """Rows of the output that a waveform of ``n_samples`` becomes; 0 if it is too short.

    >>> from melcli.config import MelConfig, Out
    >>> n_rows(MelConfig(out=Out(patch_frames=96, patch_hop=96)), 16000)
    1
    """
    rows, out = n_frames(config, n_samples), config.out
    if rows and out.fix_frames:
        rows = out.fix_frames
    if out.frames_multiple:
        beyond = rows % out.frames_multiple
        rows += (-rows % out.frames_multiple) if out.frames_multiple_mode == "pad" else -beyond
    if out.stack > 1 or out.stack_stride > 1:
        if out.stack_pad == "lfr":
            rows = _ceil_div(rows, out.stack_stride)
        else:
            rows = max(0, (rows - out.stack) // out.stack_stride + 1)
    if out.patch_frames:
        rows = max(0, (rows - out.patch_frames) // out.patch_hop + 1)
    return rows


def n_valid(config: MelConfig, n_framed: int, n_frames: int) -> int:
    """How many of an item's frames are of the signal, by ``scale.tail_mask``.

    Args:
        config: The front end.
        n_framed: Samples that were framed: :func:`fixed_length`.
        n_frames: Frames there are.
    """
    rule = config.scale.tail_mask
    if rule == "n_over_hop":
        return max(1, min(n_frames, n_framed // config.frame.hop_length))
    return max(1, n_frames - 1) if rule == "drop_one" else n_frames


def shortest(config: MelConfig) -> int:
    """The fewest samples, at the front end's rate, that give a row.

    Raises:
        ConfigError: If no length does.

    >>> from melcli.config import MelConfig
    >>> shortest(MelConfig())  # reflecting 200 samples takes 201
    201
    """
    low, high = 1, 1
    while n_rows(config, high) < 1:
        if high > _ENDLESS:
            raise ConfigError(
                "no audio, however long, gives a frame",
                None,
                "look at wave.fix_samples, out.fix_frames, frame.drop_last_frames and the patches",
            )
        low, high = high + 1, high * 2
    while low < high:  # the count never falls as the waveform grows, so halving finds the edge
        middle = (low + high) // 2
        if n_rows(config, middle) < 1:
            low = middle + 1
        else:
            high = middle
    return low


def _padding_possible(config: MelConfig, n_samples: int) -> bool:
    reach = padded_reach(config, n_samples)
    # The edge sample itself is not repeated, and torch reflects once. Zeros, and Kaldi's symmetric
    # padding, which goes to and fro as often as it must, need no length.
    return config.frame.pad_mode != "reflect" or reach < n_samples


def _ceil_div(a: int, b: int) -> int:
    return -(-a // b)
