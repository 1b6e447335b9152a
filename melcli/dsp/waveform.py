"""Stages over the waveform, before it is cut into frames."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from melcli.dsp.stage import Blocks, MeasuredStage, Piecewise, Scope, Stage

if TYPE_CHECKING:
    from melcli.config.fields import FillRule, LevelRule, PreemphasisScope

_SUM_BLOCK = 1 << 16
_PEAK_EPS = 1e-8


class PcmRounding(Stage):
    """Quantise as 16-bit storage does: clip, multiply, truncate towards zero, divide."""

    scope = "sample"
    undo = "clipped"

    def __init__(self, steps: int) -> None:
        super().__init__()
        self.steps = steps

    def forward(self, waveform: Tensor) -> Tensor:
        """``trunc(clip(x) * steps) / steps``, with the steps that int16 has."""
        codes = (waveform.clamp(-1.0, 1.0) * self.steps).trunc()
        rounded = codes.clamp(-32768, 32767) / self.steps
        if not waveform.requires_grad:
            return rounded
        # Steps have no slope: gradients pass as if nothing were rounded. What is added is 0.
        return rounded.detach() + (waveform - waveform.detach())

    def inverse(self, x: Tensor) -> Tensor:
        """What was rounded away stays away."""
        return x


class RemoveMean(MeasuredStage):
    """Take the item's mean away."""

    scope = "sample"
    block = _SUM_BLOCK

    def measure(self, blocks: Blocks) -> Tensor:
        """The mean, in float64, from sums over fixed blocks added in order."""
        total, n_samples = torch.zeros(1, dtype=torch.float64), 0
        for block in blocks():
            total = total.to(block.device) + block.to(torch.float64).sum()
            n_samples += block.shape[-1]
        return total / max(1, n_samples)

    def forward(self, waveform: Tensor, measured: Tensor) -> Tensor:
        """``x - mean(x)``."""
        return waveform - measured.to(waveform.dtype)


class Level(MeasuredStage):
    """Bring the item to a level: its peak to ``target``, or its range to [-1, 1].

    ``peak`` is ``x / max|x| * target``; ``peak_eps`` divides by ``max|x| + 1e-8``;
    ``peak_if_over_1`` only acts where the peak is above 1; ``minmax_pm1`` is
    ``2 (x - min) / (max - min) - 1``. Silence stays as it is.
    """

    scope = "sample"
    block = _SUM_BLOCK

    def __init__(self, rule: LevelRule, target: float) -> None:
        super().__init__()
        self.rule = rule
        self.target = target

    def measure(self, blocks: Blocks) -> Tensor:
        """The least and the largest sample. Exact in any order."""
        ends = torch.stack([torch.stack(torch.aminmax(block)) for block in blocks()])
        return torch.stack([ends[:, 0].min(), ends[:, 1].max()])

    def forward(self, waveform: Tensor, measured: Tensor) -> Tensor:
        """Scale one waveform."""
        low, high = measured.unbind()
        if self.rule == "minmax_pm1":
            return 2.0 * ((waveform - low) / _one_for_zero(high - low)) - 1.0
        peak = torch.maximum(-low, high)
        if self.rule == "peak_if_over_1":
            return waveform / peak.clamp(min=1.0)
        divisor = peak + _PEAK_EPS if self.rule == "peak_eps" else _one_for_zero(peak)
        return waveform / divisor * self.target


class ClipWaveform(Stage):
    """Clamp samples to [-1, 1]."""

    scope = "sample"
    undo = "clipped"

    def forward(self, waveform: Tensor) -> Tensor:
        """Elementwise."""
        return waveform.clamp(-1.0, 1.0)

    def inverse(self, x: Tensor) -> Tensor:
        """What was clipped stays clipped."""
        return x


class Gain(Stage):
    """Multiply every sample, as front ends do that expect the int16 range."""

    scope = "sample"
    undo = "exact"

    def __init__(self, gain: float) -> None:
        super().__init__()
        self.gain = gain

    def forward(self, waveform: Tensor) -> Tensor:
        """``gain * x``."""
        return waveform * self.gain

    def inverse(self, x: Tensor) -> Tensor:
        """``x / gain``."""
        return x / self.gain


class _EdgeStage(Stage):
    """A stage that must know where the waveform begins or ends; the whole is one piece."""

    scope = "sample"

    def forward(self, waveform: Tensor) -> Tensor:
        """Map ``(..., n_samples)``."""
        return self.piecewise()(waveform, True)  # noqa: FBT003, the positions of Piecewise


class PadWaveform(_EdgeStage):
    """Put zeros before and behind the waveform."""

    def __init__(self, before: int, behind: int) -> None:
        super().__init__()
        self.before, self.behind = before, behind

    def piecewise(self) -> Piecewise:
        """Zeros before the first piece and behind the last."""
        before = self.before

        def pad(piece: Tensor, is_last: bool) -> Tensor:  # noqa: FBT001
            nonlocal before
            left, before = before, 0
            return torch.nn.functional.pad(piece, (left, self.behind if is_last else 0))

        return pad


class FixLength(_EdgeStage):
    """Cut the waveform, or fill it, to a fixed number of samples.

    It is filled with zeros, with repeats of itself (``repeat``), or with as many whole repeats as
    fit and then zeros (``repeatpad``).
    """

    def __init__(self, n_samples: int, fill: FillRule = "zero") -> None:
        super().__init__()
        self.n_samples = n_samples
        self.fill = fill

    def piecewise(self) -> Piecewise:
        """Nothing until the last piece: what is kept until then is no longer than the result."""
        kept: list[Tensor] = []

        def fix(piece: Tensor, is_last: bool) -> Tensor:  # noqa: FBT001
            missing = self.n_samples - sum(k.shape[-1] for k in kept)
            kept.append(piece[..., :missing])
            return self._fixed(torch.cat(kept, dim=-1)) if is_last else piece[..., :0]

        return fix

    def _fixed(self, waveform: Tensor) -> Tensor:
        n = waveform.shape[-1]
        if self.fill != "zero" and n < self.n_samples:
            copies = self.n_samples // n if self.fill == "repeatpad" else -(-self.n_samples // n)
            waveform = waveform.repeat(*[1] * (waveform.dim() - 1), copies)
        missing = self.n_samples - waveform.shape[-1]
        if missing <= 0:
            return waveform[..., : self.n_samples]
        return torch.nn.functional.pad(waveform, (0, missing))


class PadToMultiple(_EdgeStage):
    """Put zeros behind the waveform up to a multiple of a length, as few as needed."""

    def __init__(self, multiple: int) -> None:
        super().__init__()
        self.multiple = multiple

    def piecewise(self) -> Piecewise:
        """Zeros behind the last piece, perhaps none."""
        n_samples = 0

        def pad(piece: Tensor, is_last: bool) -> Tensor:  # noqa: FBT001
            nonlocal n_samples
            n_samples += piece.shape[-1]
            return torch.nn.functional.pad(piece, (0, -n_samples % self.multiple * is_last))

        return pad


class Dither(_EdgeStage):
    """Add Gaussian noise: the same for every item, so that the same file gives the same numbers."""

    def __init__(self, deviation: float) -> None:
        super().__init__()
        self.deviation = deviation

    def piecewise(self) -> Piecewise:
        """``x + deviation * noise``, the noise going on from piece to piece."""
        noise, n_samples = FixedNoise(), 0

        def dither(piece: Tensor, is_last: bool) -> Tensor:  # noqa: ARG001, FBT001
            nonlocal n_samples
            start, n_samples = n_samples, n_samples + piece.shape[-1]
            return piece + noise.take(start, n_samples, piece) * self.deviation

        return dither


class Preemphasis(Stage):
    """Tilt the spectrum up: ``y[n] = x[n] - p x[n-1]``.

    Over the waveform the first sample stays as it is, or is dropped (``wave_drop_first``); within
    a frame it is taken for its own predecessor, so that ``y[0] = (1 - p) x[0]``, as in Kaldi.
    """

    def __init__(self, coefficient: float, rule: PreemphasisScope) -> None:
        super().__init__()
        self.coefficient = coefficient
        self.rule = rule

    @property
    def scope(self) -> Scope:  # type: ignore[override]  # a constant of the other stages
        """Over the waveform, or within frames."""
        return "frame" if self.rule == "frame" else "sample"

    def forward(self, x: Tensor) -> Tensor:
        """Map a waveform, or frames, along the last axis."""
        y = self._tilt(x)
        if self.rule == "wave_drop_first":
            return y
        first = x[..., :1]
        if self.rule == "frame":
            first = first - first * self.coefficient
        return torch.cat([first, y], dim=-1)

    def piecewise(self) -> Piecewise:
        """Each piece looks back at the last sample of the one before."""
        before: Tensor | None = None

        def tilt(piece: Tensor, is_last: bool) -> Tensor:  # noqa: ARG001, FBT001
            nonlocal before
            if piece.shape[-1] == 0:
                return piece
            behind, before = before, piece[..., -1:]
            if behind is None:
                return self(piece)  # type: ignore[no-any-return]
            return self._tilt(torch.cat([behind, piece], dim=-1))

        return tilt

    def _tilt(self, x: Tensor) -> Tensor:
        # Two roundings, never a fused multiply-add: the same bits on every vector width.
        return x[..., 1:] - x[..., :-1] * self.coefficient


class FixedNoise:
    """One endless row of standard normal numbers, always the same, read from the start on.

    What was asked for last is kept, to be asked for again; what lies before it is forgotten.
    """

    def __init__(self) -> None:
        self._start_anew()

    def _start_anew(self) -> None:
        self._numbers = np.random.default_rng(0)
        self._first, self._kept = 0, np.empty(0, np.float32)

    def take(self, start: int, stop: int, like: Tensor) -> Tensor:
        """Numbers ``start`` to ``stop``, as the dtype and on the device of ``like``."""
        if start < self._first:
            self._start_anew()
        end = self._first + len(self._kept)
        if stop > end:
            # NumPy draws them one by one, so that two draws give what one gives; torch does not.
            drawn = self._numbers.standard_normal(stop - end, dtype=np.float32)
            self._kept = np.concatenate([self._kept, drawn])
        self._kept, self._first = self._kept[start - self._first :], start
        return torch.from_numpy(self._kept[: stop - start]).to(like)


def _one_for_zero(divisor: Tensor) -> Tensor:
    return torch.where(divisor == 0, torch.ones_like(divisor), divisor)
