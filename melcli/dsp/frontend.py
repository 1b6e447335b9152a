"""Compiles a MelConfig into its stages, and runs them over packed batches in fixed blocks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from melcli import frames
from melcli.dsp.compression import (
    Clip,
    DynamicRange,
    FixedRange,
    Floor,
    Logarithm,
    MelGain,
    Scaling,
    UtteranceMeanVar,
    UtteranceMinMax,
)
from melcli.dsp.mel import MelBands, MelExponent, PowerMelBands, config_filterbank
from melcli.dsp.rows import FixFrames, FramesMultiple, OverwriteTail, Patches, StackFrames
from melcli.dsp.stage import ItemStage, Stage
from melcli.dsp.stft import Magnitude, RemoveDC, Spectrum
from melcli.dsp.waveform import (
    ClipWaveform,
    Dither,
    FixLength,
    Gain,
    Level,
    PadToMultiple,
    PadWaveform,
    PcmRounding,
    Preemphasis,
    RemoveMean,
    fixed_noise,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from melcli.config import MelConfig

_BLOCK_SAMPLES = 1 << 19
_LEAVE_OUT_TAIL = (UtteranceMeanVar, UtteranceMinMax)
_MIN_BLOCK_ROWS, _MAX_BLOCK_ROWS = 32, 256


def compile_stages(config: MelConfig) -> Iterator[Stage]:
    """The stages of a front end, in order: one for each thing it does, none for what it does not.

    The order is fixed. Over the waveform: rounding, mean, level, clip, gain, padding, length,
    dither, pre-emphasis. Frame by frame: dither, mean, pre-emphasis, window, FFT, magnitude,
    filterbank, exponent, gain, floor, log. Then range, clip, scaling, clip, normalisation; and at
    last the number of frames, stacks, patches.
    """
    yield from _sample_stages(config)
    yield from _frame_stages(config)
    yield from _level_stages(config)
    yield from _shape_stages(config)


def _sample_stages(config: MelConfig) -> Iterator[Stage]:
    yield from _loudness_stages(config)
    wave = config.wave
    if wave.wave_pad != (0, 0):
        yield PadWaveform(*wave.wave_pad)
    if wave.fix_samples:
        yield FixLength(wave.fix_samples, wave.fix_samples_fill)
    if wave.samples_multiple:
        yield PadToMultiple(wave.samples_multiple)
    if wave.dither and wave.dither_scope == "wave":
        yield Dither(wave.dither)
    if wave.preemph and wave.preemph_scope != "frame":
        yield Preemphasis(wave.preemph, wave.preemph_scope)


def _loudness_stages(config: MelConfig) -> Iterator[Stage]:
    wave = config.wave
    if wave.pcm_round != "none":
        yield PcmRounding(32767 if wave.pcm_round == "s16_32767" else 32768)
    if wave.wave_dc:
        yield RemoveMean()
    if wave.wave_norm != "none":
        yield Level(wave.wave_norm, wave.wave_norm_target)
    if wave.wave_clip:
        yield ClipWaveform()
    if wave.wave_gain != 1.0:
        yield Gain(wave.wave_gain)


def _frame_stages(config: MelConfig) -> Iterator[Stage]:
    wave, spec, mel, log = config.wave, config.spec, config.mel, config.log
    if config.frame.frame_dc:
        yield RemoveDC()
    if wave.preemph and wave.preemph_scope == "frame":
        yield Preemphasis(wave.preemph, "frame")
    yield Spectrum(config)
    bank = config_filterbank(config)
    if spec.power == 2.0 and not spec.mag_eps:
        yield PowerMelBands(bank)
    else:
        yield Magnitude(spec.power, spec.mag_eps, spec.mag_eps_mode)
        yield MelBands(bank)
    if mel.mel_exponent != 1.0:
        yield MelExponent(mel.mel_exponent)
    if log.gain != 1.0:
        yield MelGain(log.gain)
    if log.floor_mode != "none":
        yield Floor(log.floor_mode, log.floor)
    if log.log != "none" or log.log_mult != 1.0:
        yield Logarithm(log.log, log.log_mult)


def _level_stages(config: MelConfig) -> Iterator[Stage]:
    log, scale, out = config.log, config.scale, config.out
    if log.range_ref == "item_max":
        yield DynamicRange(log.range_width, subtract=log.range_subtract)
    elif log.range_ref == "fixed":
        yield FixedRange(log.range_value, log.range_width, subtract=log.range_subtract)
    if out.fix_frames and out.fix_frames_stage == "log":
        yield FixFrames(out.fix_frames, out.fix_frames_value)
    if scale.pre_clip is not None:
        yield Clip(*scale.pre_clip)
    if scale.shift != 0.0 or scale.scale != 1.0:
        yield Scaling(scale.shift, scale.scale)
    if scale.clip is not None:
        yield Clip(*scale.clip)
    if scale.utt_norm == "minmax":
        yield UtteranceMinMax(scale.utt_eps)
    elif scale.utt_norm != "none":
        yield UtteranceMeanVar(
            divide=scale.utt_norm == "mean_var",
            ddof=scale.utt_ddof,
            eps=scale.utt_eps,
            eps_mode=scale.utt_eps_mode,
        )
    if scale.tail_mask != "none":
        yield OverwriteTail(scale.tail_value)


def _shape_stages(config: MelConfig) -> Iterator[Stage]:
    out = config.out
    if out.fix_frames and out.fix_frames_stage == "out":
        yield FixFrames(out.fix_frames, out.fix_frames_value)
    if out.frames_multiple:
        yield FramesMultiple(out.frames_multiple, out.frames_multiple_mode)
    if out.stack > 1 or out.stack_stride > 1:
        yield StackFrames(out.stack, out.stack_stride, out.stack_pad)
    if out.patch_frames:
        yield Patches(out.patch_frames, out.patch_hop)


class FrontEnd(nn.Module):
    """A mel front end as a module: waveforms in, mels out, the constants as buffers.

    Everything is computed in blocks of one fixed shape, ``block_rows`` frames, whatever the batch:
    the libraries below round a row the same way wherever it lies in such a block, but not in
    blocks of other shapes. So an item's mel is the same, bit for bit, alone and in any batch.

    Args:
        config: The front end.
    """

    def __init__(self, config: MelConfig) -> None:
        super().__init__()
        self.config = config
        stages = list(compile_stages(config))
        by_item = next((i for i, s in enumerate(stages) if s.scope == "item"), len(stages))
        wave = config.wave
        self.frame_dither = wave.dither if wave.dither_scope == "frame" else 0.0
        self.sample_stages = nn.ModuleList(s for s in stages if s.scope == "sample")
        self.frame_stages = nn.ModuleList(s for s in stages[:by_item] if s.scope == "frame")
        # From the first stage that needs the whole item on. What follows it only compares, adds,
        # multiplies and divides, which is rounded correctly, so alike in any shape.
        self.item_stages = nn.ModuleList(stages[by_item:])
        fitting = _BLOCK_SAMPLES // config.frame.n_fft
        self.block_rows = max(_MIN_BLOCK_ROWS, min(_MAX_BLOCK_ROWS, fitting))

    @property
    def row_shape(self) -> tuple[int, ...]:
        """Shape of one row of the output."""
        return self.config.row_shape

    def forward(self, waveform: Tensor) -> Tensor:
        """Mels ``(..., *row_shape, n_rows)`` of waveforms ``(..., n_samples)``, each by itself.

        In most front ends that is ``(..., n_mels, n_frames)``.
        """
        if waveform.shape[:-1].numel() == 0:
            n_rows = frames.n_rows(self.config, waveform.shape[-1])
            return waveform.new_empty(*waveform.shape[:-1], *self.row_shape, n_rows)
        flat = waveform.reshape(-1, waveform.shape[-1])
        mels = torch.stack([rows.movedim(0, -1) for rows in self.rows(list(flat))])
        return mels.reshape(*waveform.shape[:-1], *mels.shape[1:])

    def rows(self, waveforms: Sequence[Tensor]) -> list[Tensor]:
        """The mel of each waveform of a batch, as rows.

        Args:
            waveforms: Float32 ``(n_samples,)`` each, at the front end's rate, and none shorter
                than :func:`melcli.frames.shortest` says.

        Returns:
            For each waveform ``(n_rows, *row_shape)``; in most front ends that is
            ``(n_frames, n_mels)``.
        """
        if not waveforms:
            return []
        shaped = [_through(self.sample_stages, waveform) for waveform in waveforms]
        packed = pack(self.config, shaped, self.block_rows)
        if self.frame_dither:
            packed = packed.dithered(self.frame_dither)
        blocks = [_through(self.frame_stages, block) for block in packed.blocks(self.block_rows)]
        mel = torch.cat(blocks)
        return [
            self._finish_item(mel[first : first + n_rows], n_samples)
            for first, n_rows, n_samples in zip(
                packed.first_rows, packed.n_rows, (w.shape[-1] for w in shaped), strict=True
            )
        ]

    def _finish_item(self, rows: Tensor, n_samples: int) -> Tensor:
        n_valid = frames.n_valid(self.config, n_samples, rows.shape[0])
        for stage in self.item_stages:
            if isinstance(stage, ItemStage):
                measured = rows[:n_valid] if isinstance(stage, _LEAVE_OUT_TAIL) else rows
                rows = stage(rows, stage.measure(measured))
            elif isinstance(stage, OverwriteTail):
                rows = stage(rows, n_valid)
            else:
                rows = stage(rows)
        return rows


@dataclass(frozen=True)
class Packed:
    """A batch in one buffer: a row of ``frames`` for every frame of every waveform.

    Args:
        frames: ``(n_rows, span)``, a view in which neighbours overlap. Rows that straddle two
            waveforms, or fill the last block, belong to nobody.
        first_rows: For each waveform, the row of its first frame.
        n_rows: For each waveform, how many rows are its own.
    """

    frames: Tensor
    first_rows: list[int]
    n_rows: list[int]

    def dithered(self, deviation: float) -> Packed:
        """The same with noise on every frame, alike for the frames of every item."""
        rows = self.frames.clone()
        span = rows.shape[1]
        noise = fixed_noise(max(self.n_rows, default=0) * span, rows).reshape(-1, span) * deviation
        for first, n_rows in zip(self.first_rows, self.n_rows, strict=True):
            rows[first : first + n_rows] += noise[:n_rows]
        return Packed(rows, self.first_rows, self.n_rows)

    def blocks(self, block_rows: int) -> Iterator[Tensor]:
        """The rows in blocks of ``block_rows``, all full."""
        for first in range(0, self.frames.shape[0], block_rows):
            yield self.frames[first : first + block_rows]


def pack(config: MelConfig, waveforms: Sequence[Tensor], block_rows: int) -> Packed:
    """Lay waveforms into one buffer, each with its own padding, at multiples of the hop.

    One view then gives every frame of every waveform as a row of one matrix: no padding to the
    longest, and as few and as large operations for a thousand short clips as for one long one.
    """
    hop, span = config.frame.hop_length, config.span
    framings = [frames.framing(config, w.shape[-1]) for w in waveforms]
    first_rows, total = [], 0
    for framing in framings:
        first_rows.append(total)
        total += framing.n_frames + _ceil_div(span, hop) - 1  # the last frames reach this far
    total = _ceil_div(total, block_rows) * block_rows
    length = (total - 1) * hop + span
    buffer = waveforms[0].new_zeros(length)
    for waveform, framing, first in zip(waveforms, framings, first_rows, strict=True):
        _place(config, waveform, framing, buffer[first * hop :])
    view = buffer.as_strided((total, span), (hop, 1))
    kept = [f.n_frames - config.frame.drop_last_frames for f in framings]
    return Packed(view, first_rows, kept)


def _place(config: MelConfig, waveform: Tensor, framing: frames.Framing, room: Tensor) -> None:
    """Write a waveform and its edges to the start of ``room``."""
    left, right, n = framing.left, framing.right, waveform.shape[-1]
    used = n + min(0, right)  # a negative right edge: samples at the end that fill no frame
    room[left : left + used] = waveform[:used]
    if config.frame.pad_mode == "constant":
        return
    # Reflection leaves the edge sample out, the symmetric kind repeats it.
    skip = 1 if config.frame.pad_mode == "reflect" else 0
    if max(left, right) + skip > n:
        waveform = _to_and_fro(waveform, left, max(0, right))
        room[: waveform.shape[-1]] = waveform
        return
    if left > 0:
        room[:left] = waveform[skip : skip + left].flip(0)
    if right > 0:
        room[left + n : left + n + right] = waveform[n - skip - right : n - skip].flip(0)


def _to_and_fro(waveform: Tensor, left: int, right: int) -> Tensor:
    """Extend a waveform that is shorter than its padding, symmetrically, as Kaldi does."""
    n = waveform.shape[-1]
    phase = torch.arange(-left, n + right, device=waveform.device) % (2 * n)
    return waveform[torch.minimum(phase, 2 * n - 1 - phase)]


def _through(stages: nn.ModuleList, x: Tensor) -> Tensor:
    for stage in stages:
        x = stage(x)
    return x


def _ceil_div(a: int, b: int) -> int:
    return -(-a // b)
