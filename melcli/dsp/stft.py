"""From frames to the spectrum that the filterbank is fed: windows, the FFT, magnitudes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from melcli.dsp.stage import Stage

if TYPE_CHECKING:
    from melcli.config import MelConfig
    from melcli.config.fields import WindowName


def window(name: WindowName, length: int, *, periodic: bool) -> Tensor:
    """A window by torch's own functions, in their float32 arithmetic.

    ``hann`` is ``0.5 - 0.5 cos(t)`` with ``t = 2 pi n / (M - 1)``, ``hamming`` is
    ``0.54 - 0.46 cos(t)``, ``blackman`` is ``0.42 - 0.5 cos(t) + 0.08 cos(2 t)``, and ``povey`` is
    Kaldi's Hann to the power 0.85. ``M`` is ``length``, or ``length + 1`` for a periodic window,
    which then loses its last sample.

    Args:
        name: The shape.
        length: In samples.
        periodic: Periodic, as for spectra, or symmetric, as for filters.

    Returns:
        Float32 of shape ``(length,)``. Front ends built on torch.stft have these very bits; a
        window computed in float64 differs in the last one, and so do near-silent mel bins.

    References:
        A. V. Oppenheim, R. W. Schafer, *Discrete-Time Signal Processing*, section 7.2;
        Kaldi, ``src/feat/feature-window.cc``, for ``povey``.

    >>> window("hann", 4, periodic=True)
    tensor([0.0000, 0.5000, 1.0000, 0.5000])
    """
    if name == "hamming":
        return torch.hamming_window(length, periodic=periodic)
    if name == "blackman":
        return torch.blackman_window(length, periodic=periodic)
    if name == "rectangular":
        return torch.ones(length)
    hann = torch.hann_window(length, periodic=periodic)
    return hann.pow(0.85) if name == "povey" else hann


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
    """

    scope = "frame"
    window: Tensor

    def __init__(self, config: MelConfig) -> None:
        super().__init__()
        self.n_fft = config.frame.n_fft
        w = window(config.frame.window, config.win_length, periodic=config.frame.window_periodic)
        left = (config.span - config.win_length) // 2
        w = torch.nn.functional.pad(w, (left, config.span - config.win_length - left))
        self.register_buffer("window", w, persistent=False)

    def forward(self, frames: Tensor) -> Tensor:
        """Frames ``(n_rows, span)`` to complex ``(n_rows, n_freqs)``, unscaled."""
        spectrum: Tensor = torch.fft.rfft(frames * self.window, n=self.n_fft)
        return spectrum


class Magnitude(Stage):
    """``(re^2 + im^2 + eps) ^ (power / 2)``: never a complex ``abs``, which costs five FFTs."""

    scope = "frame"

    def __init__(self, power: float, eps: float) -> None:
        super().__init__()
        self.power = power
        self.eps = eps

    def forward(self, spectrum: Tensor) -> Tensor:
        """Complex ``(n_rows, n_freqs)`` to real, of the same shape."""
        parts = torch.view_as_real(spectrum)
        energy = parts[..., 0].square() + parts[..., 1].square()
        if self.eps:
            energy = energy + self.eps
        if self.power == 2.0:
            return energy
        if torch.is_grad_enabled() and energy.requires_grad:
            # The root has no slope at 0; the smallest normal number there keeps gradients finite.
            energy = energy.clamp(min=torch.finfo(energy.dtype).tiny)
        magnitude = energy.sqrt()
        return magnitude if self.power == 1.0 else magnitude.pow(self.power)
