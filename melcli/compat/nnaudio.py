"""nnAudio's mel spectrogram: ``nnAudio.features.MelSpectrogram``, as of 0.3.4."""

from __future__ import annotations

import logging
import math
import time
from typing import TYPE_CHECKING, Final

import torch

from melcli.compat.arguments import config_of, one_of, wrong
from melcli.compat.layer import Layer, check_shape, constant_spectrum, put
from melcli.dsp.frontend import FrontEnd, compile_with
from melcli.dsp.stft import KernelSpectrum, Spectrum, fourier_kernels

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

    from melcli.config.windows import WindowSpec

_LOG: Final = logging.getLogger(__name__)
_GUARD: Final = 1e-8
"""Under the root of a transform that learns."""
_NAMES: Final = {
    "wave.sample_rate": "sr",
    "frame.n_fft": "n_fft",
    "frame.win_length": "win_length",
    "frame.hop_length": "hop_length",
    "frame.window": "window",
    "frame.pad_mode": "pad_mode",
    "spec.power": "power",
    "mel.n_mels": "n_mels",
    "mel.f_min": "fmin",
    "mel.f_max": "fmax",
}


class MelSpectrogram(Layer):
    """``nnAudio.features.MelSpectrogram``.

    What differs from the original:

    - Gradients at digital silence are 0, not NaN.
    - With an odd ``n_fft`` the filterbank lies at the true frequencies of the bins; the original
      spreads them up to ``sr / 2``. A state loaded from the original brings the filterbank that it
      was trained with.
    - Arguments that cannot be raise ValueError, each with what is allowed; ``fmax`` may be
      ``sr / 2`` at most. A waveform that is too short for its padding does too.
    - ``verbose`` logs what the original prints, at level INFO.

    What a trained model depends on is as in the original: ``norm=1`` is what librosa calls
    ``"slaney"``, and with ``trainable_STFT`` 1e-8 is added under the root of every bin.

    A frozen transform is an FFT: 30 times less work than nnAudio's convolution at ``n_fft`` 2048.
    A state dict has the names and shapes of nnAudio's, in both directions; kernels that were
    trained elsewhere are used as they are, also where this layer does not train them.

    Args:
        sr: Sample rate in Hz.
        n_fft: FFT length in samples.
        win_length: Window length in samples; None: ``n_fft``.
        n_mels: Number of mel bands.
        hop_length: Step from frame to frame in samples; None: a quarter of the window.
        window: As ``scipy.signal.get_window`` takes it: a name, a tuple of a name and parameters,
            or a number, the beta of a Kaiser window. Always periodic.
        center: Pad ``n_fft // 2`` samples on both sides.
        pad_mode: ``"reflect"`` or ``"constant"``, which is zeros.
        power: Exponent of the magnitude.
        htk: The HTK mel scale; Slaney's otherwise.
        fmin: Lowest edge in Hz.
        fmax: Highest edge in Hz; None: half the sample rate.
        norm: 1 gives every triangle unit area; None or infinity leaves the peaks at one.
        trainable_mel: Make the filterbank a parameter.
        trainable_STFT: Make the kernels of the transform parameters.
        verbose: Whether to log how long the making took.
        iSTFT: Whether the state holds the kernels of the inverse transform too.

    Raises:
        UsageError: An argument cannot be; a ValueError.

    >>> mel = MelSpectrogram(sr=16000, verbose=False)
    >>> mel(torch.zeros(16000)).shape
    torch.Size([1, 128, 32])
    """

    def __init__(
        self,
        sr: float = 22050,
        n_fft: int = 2048,
        win_length: int | None = None,
        n_mels: int = 128,
        hop_length: int | None = 512,
        window: WindowSpec | float = "hann",
        center: bool = True,
        pad_mode: str = "reflect",
        power: float = 2.0,
        htk: bool = False,
        fmin: float = 0.0,
        fmax: float | None = None,
        norm: float | None = 1,
        trainable_mel: bool = False,
        trainable_STFT: bool = False,
        verbose: bool = True,
        *,
        iSTFT: bool = False,
    ) -> None:
        given = dict(locals())
        begun = time.perf_counter()
        one_of("pad_mode", pad_mode, ("reflect", "constant"))
        if norm is not None and norm not in {1, math.inf}:
            raise wrong("norm", norm, "must be 1, None or infinity; 1 is librosa's 'slaney'")
        length = n_fft if win_length is None else win_length
        config = config_of(
            {
                "wave.sample_rate": sr,
                "frame.n_fft": n_fft,
                "frame.win_length": win_length,
                "frame.hop_length": length // 4 if hop_length is None else hop_length,
                "frame.window": ("kaiser", float(window))
                if isinstance(window, int | float)
                else window,
                "frame.pad": "center" if center else "none",
                "frame.pad_mode": pad_mode,
                "spec.power": power,
                "spec.mag_eps": _GUARD if trainable_STFT else 0.0,
                "mel.n_mels": n_mels,
                "mel.f_min": fmin,
                "mel.f_max": fmax,
                "mel.mel_scale": "htk" if htk else "slaney",
                "mel.fb_norm": "slaney" if norm == 1 else "none",
            },
            _NAMES,
            given,
        )
        spectrum = KernelSpectrum(*Spectrum(config).kernels()) if trainable_STFT else None
        stages = compile_with(config, spectrum=spectrum, learns_bank=trainable_mel)
        super().__init__(FrontEnd(config, stages=stages), config)
        self.trainable_mel, self.trainable_STFT, self.iSTFT = trainable_mel, trainable_STFT, iSTFT
        if verbose:
            _LOG.info("kernels and filterbank made in %.4f s", time.perf_counter() - begun)

    def forward(self, x: Tensor) -> Tensor:
        """Mels ``(n_items, n_mels, n_frames)``.

        Args:
            x: ``(n_samples,)``, ``(n_items, n_samples)`` or ``(n_items, 1, n_samples)``.

        Raises:
            UsageError: Another shape, or too short.
        """
        if x.dim() not in {1, 2, 3} or (x.dim() == 3 and x.shape[1] != 1):
            raise wrong(
                "x", tuple(x.shape), "must be (n_samples,), (N, n_samples) or (N, 1, n_samples)"
            )
        mels: Tensor = self.front_end(x.reshape(-1, x.shape[-1]))
        return mels

    def original_state(self) -> dict[str, Tensor]:
        """Filterbank, kernels and window under nnAudio's names, and in its shapes."""
        cosines, sines = self.front_end.stft.kernels()
        config = self.front_end.config
        state = {
            "mel_basis": self.front_end.filterbank.weight,
            "stft.wsin": sines[:, None],
            "stft.wcos": cosines[:, None],
            "stft.window_mask": Spectrum(config).window[None, :, None],
        }
        return state | _inverse_kernels(config.frame.n_fft) if self.iSTFT else state

    def optional_state(self) -> frozenset[str]:
        """Kernels of the inverse transform, which nothing here computes with."""
        return frozenset(_inverse_kernels(1))

    def take_state(self, state: Mapping[str, Tensor]) -> None:
        """Go on with the filterbank and the kernels of a state.

        Raises:
            ValueError: They are of other sizes.
        """
        self._take_kernels(state["stft.wcos"], state["stft.wsin"])
        bank = state["mel_basis"]
        check_shape(bank, self.front_end.filterbank.weight, "mel_basis")
        if self.trainable_mel:
            put(self.front_end.filterbank.weight, bank)
        else:
            stage = type(self.front_end.filterbank)(bank)
            self.front_end = self.front_end.with_stage("filterbank", stage)

    def _take_kernels(self, wcos: Tensor, wsin: Tensor) -> None:
        ours = self.front_end.stft.kernels()
        theirs = wcos.squeeze(1), wsin.squeeze(1)
        for name, kernels, known in zip(("stft.wcos", "stft.wsin"), theirs, ours, strict=True):
            check_shape(kernels, known, name)
        if self.trainable_STFT:
            for kernels, known in zip(theirs, ours, strict=True):
                put(known, kernels)
            return
        stage = constant_spectrum(self.front_end.config, *theirs)
        self.front_end = self.front_end.with_stage("stft", stage)


def _inverse_kernels(n_fft: int) -> dict[str, Tensor]:
    """Cosines and sines of all frequencies, without a window: ``(n_fft, 1, n_fft, 1)``."""
    half = fourier_kernels(n_fft, torch.ones(n_fft))
    folded = slice(1, (n_fft + 1) // 2)
    cosines, sines = (
        torch.cat([kernels, sign * kernels[folded].flip(0)])
        for kernels, sign in zip(half, (1, -1), strict=True)
    )
    return {
        "stft.kernel_sin_inv": sines[:, None, :, None],
        "stft.kernel_cos_inv": cosines[:, None, :, None],
    }
