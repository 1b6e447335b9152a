"""From frames to the spectrum that the filterbank is fed: windowing, the FFT, magnitudes."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from melcli.dsp.stage import Stage
from melcli.dsp.windows import window

if TYPE_CHECKING:
    from melcli.config import MelConfig
    from melcli.config.fields import EpsMode


class RemoveDC(Stage):
    """Take each frame's mean away."""

    scope = "frame"

    def forward(self, frames: Tensor) -> Tensor:
        """``x - mean(x)``, row by row."""
        return frames - frames.mean(dim=-1, keepdim=True)


class Spectrum(Stage):
    """Window each frame, zero-pad it to ``n_fft`` and transform it.

    A window shorter than frames of ``n_fft`` samples lies in their middle, ``(n_fft - W) // 2``
    from the left. Frames cut at the window's length are padded on the right, which leaves
    magnitudes as they are.

    Args:
        config: The front end.
        w: A window of ``config.win_length`` samples, instead of that of the config.
    """

    label = "stft"
    scope = "frame"
    window: Tensor

    def __init__(self, config: MelConfig, w: Tensor | None = None) -> None:
        super().__init__()
        self.n_fft = config.frame.n_fft
        if w is None:
            shape, is_periodic = config.frame.window, config.frame.window_periodic
            w = window(shape, config.win_length, periodic=is_periodic)
        left = (config.span - config.win_length) // 2
        w = torch.nn.functional.pad(w, (left, config.span - config.win_length - left))
        # Scaling the window scales the spectrum, at no cost.
        w = w / _spectrum_divisor(config, w)
        self.register_buffer("window", w, persistent=False)

    def forward(self, frames: Tensor, workspace: Tensor | None = None) -> Tensor:
        """Frames ``(n_rows, span)`` to complex ``(n_rows, n_freqs)``, unscaled.

        Args:
            frames: Views of one waveform, most often, that overlap.
            workspace: Room of their shape for the windowed frames. A new room for every block costs
                as much as the window: the system hands out its pages one by one.
        """
        windowed = torch.mul(frames, self.window, out=workspace)
        spectrum: Tensor = torch.fft.rfft(windowed, n=self.n_fft)
        return spectrum

    def kernels(self) -> tuple[Tensor, Tensor]:
        """The same as windowed cosines and sines, ``(n_freqs, span)`` each: see below."""
        return fourier_kernels(self.n_fft, self.window)


class KernelSpectrum(Stage):
    """The same spectrum as a product with windowed cosines and sines, which can be learnt.

    It costs ``n_fft / (2.5 log2 n_fft)`` times the work of an FFT::

        X[k] = sum_n x[n] (cosines[k, n] - i sines[k, n])
        cosines[k, n] = w[n] cos(2 pi k n / n_fft),  sines[k, n] = w[n] sin(2 pi k n / n_fft)

    Args:
        cosines: ``(n_freqs, span)``.
        sines: Of the same shape.
        learns: Whether they are parameters, or constants.
    """

    label = "stft"
    scope = "frame"
    cosines: Tensor
    sines: Tensor

    def __init__(self, cosines: Tensor, sines: Tensor, *, learns: bool = True) -> None:
        super().__init__()
        for name, kernels in (("cosines", cosines), ("sines", sines)):
            if learns:
                self.register_parameter(name, nn.Parameter(kernels))
            else:
                self.register_buffer(name, kernels, persistent=False)

    def forward(self, frames: Tensor, workspace: Tensor | None = None) -> Tensor:  # noqa: ARG002, as Spectrum
        """Frames ``(..., span)`` to complex ``(..., n_freqs)``."""
        # Of all rows at once, the kernels first: a third less time than the other way round.
        columns = frames.reshape(-1, frames.shape[-1]).T
        spectrum = torch.complex(self.cosines @ columns, -(self.sines @ columns)).T
        return spectrum.reshape(*frames.shape[:-1], -1)

    def kernels(self) -> tuple[Tensor, Tensor]:
        """Its cosines and sines."""
        return self.cosines, self.sines


def fourier_kernels(n_fft: int, w: Tensor) -> tuple[Tensor, Tensor]:
    """Windowed cosines and sines, ``(n_fft // 2 + 1, len(w))`` each.

    Computed in float64 and rounded to the window's precision before they are windowed, as nnAudio
    does.
    """
    k = torch.arange(n_fft // 2 + 1, dtype=torch.float64)
    n = torch.arange(len(w), dtype=torch.float64)
    # Reduced to one turn: cosines of large angles are less exact.
    angles = 2.0 * math.pi / n_fft * (torch.outer(k, n) % n_fft)
    return angles.cos().to(w) * w, angles.sin().to(w) * w


def _spectrum_divisor(config: MelConfig, w: Tensor) -> float:
    """What the spectrum is divided by: 1, or by a rule.

    ``frame_length`` and ``power_n_fft`` are the root of ``n_fft`` (on the power, ``n_fft``);
    ``window`` is the root of the window's energy, ``window_sum`` its sum.
    """
    rule = config.spec.fft_norm
    if rule in {"frame_length", "power_n_fft"}:
        return math.sqrt(config.frame.n_fft)
    if rule == "window":
        return float(w.to(torch.float64).square().sum().sqrt())
    return float(w.to(torch.float64).sum()) if rule == "window_sum" else 1.0


class Magnitude(Stage):
    """``(re^2 + im^2 + eps) ^ (power / 2)``: never a complex ``abs``, which costs five FFTs.

    Where ``eps_mode`` is ``"clamp"``, the sum of squares is clamped to ``eps`` instead.
    """

    scope = "frame"

    def __init__(self, power: float, eps: float, eps_mode: EpsMode) -> None:
        super().__init__()
        self.power = power
        self.eps = eps
        self.eps_mode = eps_mode

    def forward(self, spectrum: Tensor) -> Tensor:
        """Complex ``(n_rows, n_freqs)`` to real, of the same shape."""
        parts = torch.view_as_real(spectrum)
        # Squared where they lie, all in a row: twice as fast as each part with a stride.
        parts = parts.square() if parts.requires_grad else parts.square_()
        energy = parts[..., 0] + parts[..., 1]
        if self.eps:
            clamps = self.eps_mode == "clamp"
            energy = energy.clamp(min=self.eps) if clamps else energy + self.eps
        if self.power == 2.0:
            return energy
        if not energy.requires_grad:
            return energy.sqrt_() if self.power == 1.0 else self._root(energy)
        # The root has no slope at 0: silence stays 0, and what leads there gets no gradient.
        sounds = energy > 0
        return torch.where(sounds, self._root(torch.where(sounds, energy, 1.0)), 0.0)

    def _root(self, energy: Tensor) -> Tensor:
        magnitude = energy.sqrt()
        return magnitude if self.power == 1.0 else magnitude.pow(self.power)
