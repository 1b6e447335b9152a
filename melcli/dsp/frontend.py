"""Compiles a MelConfig into its stages, and runs them over packed batches in fixed blocks."""

from __future__ import annotations

import re
from collections import Counter
from functools import partial
from itertools import chain
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
from melcli.dsp.mel import LearntBands, MelBands, MelExponent, PowerMelBands, config_filterbank
from melcli.dsp.packing import INT16_SCALE, Packed, Piece, pack, pack_batch, whole
from melcli.dsp.precision import computed_as, full_precision, kept_precise, like_input
from melcli.dsp.rows import (
    FixFrames,
    FramesMultiple,
    OverwriteTail,
    Patches,
    Rows,
    RowStage,
    StackFrames,
)
from melcli.dsp.stage import MeasuredStage, Stage
from melcli.dsp.stft import KernelSpectrum, Magnitude, RemoveDC, Spectrum
from melcli.dsp.traced import together
from melcli.dsp.waveform import (
    ClipWaveform,
    Dither,
    FixedNoise,
    FixLength,
    Gain,
    Level,
    PadToMultiple,
    PadWaveform,
    PcmRounding,
    Preemphasis,
    RemoveMean,
)
from melcli.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from typing import Self

    from melcli.config import MelConfig, Scale
    from melcli.statistics.normalize import Normalization

_BLOCKS = {"cpu": (1 << 19, 32, 256), "cuda": (1 << 23, 512, 8192)}
"""For each kind of device: samples that a block should hold, and the fewest and most rows."""


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


def compile_with(
    config: MelConfig,
    *,
    spectrum: Stage | None = None,
    bank: Tensor | None = None,
    learns_bank: bool = False,
) -> Iterator[Stage]:
    """The stages of a front end, but for what is given instead of its own.

    Args:
        config: The front end.
        spectrum: From frames to their spectrum.
        bank: The filterbank, ``(n_mels, n_freqs)``.
        learns_bank: Make that a parameter.
    """
    for stage in compile_stages(config):
        if spectrum is not None and isinstance(stage, Spectrum):
            yield spectrum
        elif learns_bank and isinstance(stage, MelBands | PowerMelBands):
            if isinstance(stage, PowerMelBands):
                yield Magnitude(2.0, 0.0, "add")
            yield LearntBands(stage.weight if bank is None else bank)
        elif bank is not None and isinstance(stage, MelBands | PowerMelBands):
            yield type(stage)(bank)
        else:
            yield stage


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
    yield from _utterance_stages(scale)
    if scale.tail_mask != "none":
        yield OverwriteTail(scale.tail_value)


def _utterance_stages(scale: Scale) -> Iterator[Stage]:
    is_minmax = scale.utt_norm in {"minmax", "minmax01"}
    over = ("all" if is_minmax else "bin") if scale.utt_over == "auto" else scale.utt_over
    if is_minmax:
        low = -1.0 if scale.utt_norm == "minmax" else 0.0
        yield UtteranceMinMax(scale.utt_eps, low=low, over=over)
    elif scale.utt_norm != "none":
        yield UtteranceMeanVar(
            divide=scale.utt_norm == "mean_var",
            over=over,
            ddof=scale.utt_ddof,
            eps=scale.utt_eps,
            eps_mode=scale.utt_eps_mode,
        )


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
    """The stages of a front end as a module: waveforms in, mels out, the constants as buffers.

    Everything is computed in blocks of one fixed shape, ``block_rows`` frames, whatever the batch:
    the libraries below round a row the same way wherever it lies in such a block, but not in
    blocks of other shapes. So an item's mel is the same, bit for bit, alone, in any batch, and in
    pieces: an item that is all there is an item of one piece.

    It is computed in float32, or in float64 after ``double()``; ``half()`` and autocast change
    nothing of that. Each stage is a child by its label, such as ``stft`` and ``filterbank``.

    Args:
        config: The front end.
        scaler: What its rows are normalised by, last of all.
        stages: Instead of those of the config, which then says only how frames are cut.
        exact: Whether a mel must be the same to the last bit. If not, what fills less than half a
            block is computed by itself: a clip of a second in a quarter of the time.
    """

    stft: Spectrum | KernelSpectrum
    filterbank: MelBands | PowerMelBands | LearntBands

    def __init__(
        self,
        config: MelConfig,
        scaler: Normalization | None = None,
        stages: Iterable[Stage] | None = None,
        *,
        exact: bool = True,
    ) -> None:
        super().__init__()
        self.config, self.exact = config, exact
        stages = list(compile_stages(config) if stages is None else stages)
        if scaler is not None:
            stages.append(Scaling(scaler.shift, scaler.scale))
        by_item = next((i for i, s in enumerate(stages) if s.scope == "item"), len(stages))
        wave = config.wave
        self.frame_dither = wave.dither if wave.dither_scope == "frame" else 0.0
        self.sample_stages = tuple(s for s in stages if s.scope == "sample")
        self.frame_stages = tuple(s for s in stages[:by_item] if s.scope == "frame")
        # From the first stage that needs the whole item on. What follows it only compares, adds,
        # multiplies and divides, which is rounded correctly, so alike in any shape.
        self.item_stages = tuple(stages[by_item:])
        for label, stage in _labelled(stages):
            self.add_module(label, stage)
        # Fixed blocks are for what a command extracts; their last one is half empty on the mean.
        self._learns = any(isinstance(s, KernelSpectrum | LearntBands) for s in stages)

    def with_stage(self, label: str, stage: Stage) -> FrontEnd:
        """The same front end with one stage replaced; the others are shared.

        Args:
            label: Of the stage that is replaced.
            stage: What comes in its place.
        """
        stages = (*self.sample_stages, *self.frame_stages, *self.item_stages)
        stages = tuple(stage if s is getattr(self, label) else s for s in stages)
        front_end = FrontEnd(self.config, stages=stages, exact=self.exact)
        return front_end.to(self.device, self.dtype)

    @property
    def row_shape(self) -> tuple[int, ...]:
        """Shape of one row of the output of the config's own stages."""
        return self.config.row_shape

    @property
    def device(self) -> torch.device:
        """Where the constants are, and everything is computed."""
        return self._constant.device

    @property
    def dtype(self) -> torch.dtype:
        """What it is computed in: float32 or float64."""
        return self._constant.dtype

    @property
    def _constant(self) -> Tensor:
        return next(chain(self.buffers(), self.parameters()))

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:  # noqa: FBT001, FBT002, torch's own
        return super()._apply(kept_precise(fn), recurse)  # type: ignore[no-untyped-call, no-any-return]

    @property
    def block_rows(self) -> int:
        """Frames in a block: on a CPU as many as its cache holds, on a GPU enough to keep it busy.

        A multiple of 16, so that every block of the output begins at a whole cache line.
        """
        n_samples, least, most = _BLOCKS.get(self.device.type, _BLOCKS["cuda"])
        return max(least, min(most, n_samples // self.config.frame.n_fft)) // 16 * 16

    def forward(self, waveform: Tensor) -> Tensor:
        """Mels ``(..., *row_shape, n_rows)`` of waveforms ``(..., n_samples)``, each by itself.

        In most front ends that is ``(..., n_mels, n_frames)``. What torch compiles or exports, and
        what learns, is computed by :func:`~melcli.dsp.traced.together`.

        Args:
            waveform: Floating point, or int16 as it is stored. Half precision is computed in
                float32, and comes back as it came.

        Raises:
            UsageError: It is too short for a row, or of another type.
        """
        self.check_length(waveform)
        samples = computed_as(self.dtype, waveform).reshape(-1, waveform.shape[-1])
        # Nothing tells the shape of what there is none of as surely as one that there is.
        is_empty = 0 in waveform.shape[:-1]
        if is_empty:
            samples = samples.new_zeros(1, waveform.shape[-1])
        with full_precision(samples.device):
            if torch.compiler.is_compiling() or self._learns or self._is_small(samples):
                mels = together(self, samples)
            else:
                mels = self._batch(samples)
        if is_empty:
            mels = mels[:0]
        return like_input(mels.reshape(*waveform.shape[:-1], *mels.shape[1:]), waveform)

    def _is_small(self, waveforms: Tensor) -> bool:
        """Whether most of a block would be empty, and that may be told from the last digits."""
        if self.exact:
            return False
        n_items, n_samples = waveforms.shape
        return 2 * n_items * frames.n_frames(self.config, n_samples) <= self.block_rows

    def check_length(self, waveform: Tensor) -> None:
        """See that there is enough of each waveform ``(..., n_samples)`` for a row.

        Raises:
            UsageError: There is not.
        """
        if waveform.dim() == 0:
            raise UsageError("a waveform without an axis: must be (..., n_samples)")
        n_samples = waveform.shape[-1]
        if type(n_samples) is not int:
            return  # an export leaves the length open
        if frames.n_rows(self.config, n_samples) < 1:
            least = frames.shortest(self.config)
            raise UsageError(f"waveforms of {n_samples} samples: the front end needs {least}")

    def _batch(self, waveforms: Tensor) -> Tensor:
        """Mels of waveforms ``(n_items, n_samples)``: the very numbers of :meth:`rows`."""
        if self.sample_stages:
            waveforms = torch.stack([self.shaped(waveform) for waveform in waveforms])
        packed = pack_batch(self.config, waveforms, self.block_rows, self.device)
        mels = self._computed(packed, [0] * len(waveforms), FixedNoise())
        if self.item_stages:
            n_framed = waveforms.shape[-1]
            mels = [self.finished(Rows.of(mel), n_framed).all() for mel in mels]
        return torch.stack([mel.movedim(0, -1) for mel in mels])

    def rows(self, waveforms: Sequence[Tensor]) -> list[Tensor]:
        """The mel of each waveform of a batch, as rows.

        Args:
            waveforms: ``(n_samples,)`` each, float32 or int16 as they are stored, at the front
                end's rate, and none shorter than :func:`melcli.frames.shortest` says.

        Returns:
            For each waveform ``(n_rows, *row_shape)``; in most front ends that is
            ``(n_frames, n_mels)``.
        """
        if not waveforms:
            return []
        shaped = [self.shaped(waveform) for waveform in waveforms]
        mels = self.frame_rows([whole(self.config, waveform) for waveform in shaped], FixedNoise())
        if not self.item_stages:
            return mels
        return [
            self.finished(Rows.of(mel), waveform.shape[-1]).all()
            for mel, waveform in zip(mels, shaped, strict=True)
        ]

    def shaped(self, waveform: Tensor) -> Tensor:
        """A waveform after the sample stages."""
        if self.sample_stages and waveform.dtype == torch.int16:
            waveform = waveform * INT16_SCALE
        for stage in self.sample_stages:
            waveform = (
                stage.of_whole(waveform) if isinstance(stage, MeasuredStage) else stage(waveform)
            )
        return waveform

    def frame_rows(self, pieces: Sequence[Piece], noise: FixedNoise) -> list[Tensor]:
        """What the frame stages make of each piece: ``(n_frames, n_mels)``.

        Args:
            pieces: At least one.
            noise: The row of numbers to dither frames from, where the front end does.
        """
        packed = pack(self.config, pieces, self.block_rows, self.device)
        return self._computed(packed, [piece.first_frame for piece in pieces], noise)

    def _computed(
        self, packed: Packed, first_frames: Sequence[int], noise: FixedNoise
    ) -> list[Tensor]:
        """What the frame stages make of each piece, which begins with this frame of its item."""
        matrix = packed.frames
        if self.frame_dither:
            matrix = self._dithered(packed, first_frames, noise)
        needs_grad = torch.is_grad_enabled() and matrix.requires_grad
        workspace = None if needs_grad else matrix.new_empty(self.block_rows, packed.span)
        mel = torch.cat(
            [self._block(block, workspace) for block in torch.split(matrix, self.block_rows)]
        )
        return [
            mel[first : first + n_rows]
            for first, n_rows in zip(packed.first_rows, packed.n_rows, strict=True)
        ]

    def _block(self, block: Tensor, workspace: Tensor | None) -> Tensor:
        # Not called as modules: nothing hooks in here, and looking for hooks takes 7 us a stage.
        for stage in self.frame_stages:
            is_spectrum = stage.label == "stft"
            block = stage.forward(block, workspace) if is_spectrum else stage.forward(block)
        return block

    def _dithered(self, packed: Packed, first_frames: Sequence[int], noise: FixedNoise) -> Tensor:
        """The frames with noise on each, alike for the frames of every item."""
        rows = packed.frames.clone()
        span = packed.span
        placed = zip(packed.first_rows, first_frames, packed.n_rows, strict=True)
        # The longest first: all others are dithered with what was drawn for it.
        for first, first_frame, n_rows in sorted(placed, key=lambda piece: -piece[2]):
            start, stop = first_frame * span, (first_frame + n_rows) * span
            drawn = noise.take(start, stop, rows).reshape(-1, span)
            rows[first : first + n_rows] += drawn * self.frame_dither
        return rows

    def finished(self, rows: Rows, n_framed: int) -> Rows:
        """What the item stages make of an item's rows.

        Rows that are measured are read for it here; the rest is done as the result is read.

        Args:
            rows: What the frame stages gave.
            n_framed: Samples that were framed.
        """
        n_valid = frames.n_valid(self.config, n_framed, rows.n_rows)
        for stage in self.item_stages:
            if isinstance(stage, MeasuredStage):
                n_measured = n_valid if stage.leaves_out_tail else None
                measured = stage.measure(partial(rows.blocks, stage.block, n_measured))
                rows = rows.mapped(partial(stage, measured=measured))
            elif isinstance(stage, OverwriteTail):
                rows = stage.of(rows, n_valid)
            elif isinstance(stage, RowStage):
                rows = stage.of(rows)
            else:
                rows = rows.mapped(stage)
        return rows


def _labelled(stages: Sequence[Stage]) -> Iterator[tuple[str, Stage]]:
    """Each stage with its label, numbered where it is not the first to have it."""
    seen: Counter[str] = Counter()
    for stage in stages:
        label = stage.label or re.sub(r"(?<!^)([A-Z])", r"_\1", type(stage).__name__).lower()
        seen[label] += 1
        yield (label if seen[label] == 1 else f"{label}_{seen[label]}"), stage
