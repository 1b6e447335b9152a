"""``librosa.feature.inverse``: ``mel_to_stft`` and ``mel_to_audio``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from melcli.compat.arguments import at_least, wrong
from melcli.compat.librosa.arguments import (
    Array,
    Window,
    asked_for,
    filterbank,
    front_end,
    like,
    precision,
    tensor_of,
    window_numbers,
)
from melcli.dsp.griffinlim import GriffinLim, least_samples
from melcli.dsp.inverse_mel import InverseMelScale
from melcli.dsp.mel import MelExponent

if TYPE_CHECKING:
    from numpy.typing import DTypeLike

    from melcli.config import MelConfig


def mel_to_stft(
    M: Array,
    *,
    sr: float = 22050,
    n_fft: int = 2048,
    power: float = 2.0,
    n_mels: None = None,
    fmin: float = 0.0,
    fmax: float | None = None,
    htk: bool = False,
    norm: float | str | None = "slaney",
) -> Array:
    """``librosa.feature.inverse.mel_to_stft``: magnitudes that have a mel.

    What differs from the original:

    - The magnitudes have the mel to 1e-5, whatever its level, and are as smooth as they can be:
      see :class:`melcli.InverseMelScale`. Those of the original are 0.1 to 15 % off, the more the
      quieter a mel is, and its numbers are those of SciPy's search and of nothing else.
    - Each frame is found by itself, not with the others of its block.
    - ``M`` may hold whole numbers, and is not written to. A negative number is refused: decibels
      are no mel.

    Args:
        M: Mels ``(..., n_mels, n_frames)``, linear.
        sr: Sample rate in Hz.
        n_fft: FFT length in samples.
        power: Exponent of the magnitude in ``M``.
        n_mels: None: it is ``M``'s.
        fmin: Lowest edge in Hz.
        fmax: Highest edge in Hz; None: half the sample rate.
        htk: The HTK mel scale; Slaney's otherwise.
        norm: As for :func:`melspectrogram`.

    Returns:
        Magnitudes ``(..., n_freqs, n_frames)``, float64 if ``M`` is, float32 otherwise.

    Raises:
        UsageError: An argument cannot be; a ValueError.

    >>> S = mel_to_stft(np.ones((128, 5), np.float32))
    >>> S.shape, S.dtype
    ((1025, 5), dtype('float32'))
    """
    given = dict(locals())
    mels = _mels(M, n_mels, power).to(precision(tensor_of("M", M)))
    config = front_end(given, n_mels=mels.shape[-2])
    return like(M, MelExponent(1.0 / power)(_spectra(mels, config, norm)))


def mel_to_audio(
    M: Array,
    *,
    sr: float = 22050,
    n_fft: int = 2048,
    hop_length: int | None = None,
    win_length: int | None = None,
    window: Window = "hann",
    center: bool = True,
    pad_mode: str = "constant",
    power: float = 2.0,
    n_iter: int = 32,
    length: int | None = None,
    dtype: DTypeLike | torch.dtype = np.float32,
    n_mels: None = None,
    fmin: float = 0.0,
    fmax: float | None = None,
    htk: bool = False,
    norm: float | str | None = "slaney",
) -> Array:
    """``librosa.feature.inverse.mel_to_audio``: a waveform that has nearly this mel.

    What differs from the original:

    - What differs in :func:`mel_to_stft`.
    - It starts from the same phases every time: the same mel is the same waveform.
    - A ``length`` that is not cut into so many frames crops the waveform or fills it up with
      zeros; the original fails.
    - ``pad_mode`` is ``"constant"``, ``"reflect"`` or ``"symmetric"``.

    Args:
        M: Mels ``(..., n_mels, n_frames)``, linear.
        sr: Sample rate in Hz.
        n_fft: FFT length in samples.
        hop_length: Step from frame to frame in samples; None: a quarter of the window.
        win_length: Window length in samples; None: ``n_fft``.
        window: As for :func:`melspectrogram`.
        center: Frames were padded by ``n_fft // 2`` samples on both sides.
        pad_mode: What with.
        power: Exponent of the magnitude in ``M``.
        n_iter: How often the phases are improved.
        length: Samples wanted; None: the fewest that have so many frames.
        dtype: float32 or float64.
        n_mels: None: it is ``M``'s.
        fmin: Lowest edge in Hz.
        fmax: Highest edge in Hz; None: half the sample rate.
        htk: The HTK mel scale; Slaney's otherwise.
        norm: As for :func:`melspectrogram`.

    Returns:
        Waveforms ``(..., n_samples)`` of type ``dtype``.

    Raises:
        UsageError: An argument cannot be; a ValueError.

    >>> mel_to_audio(np.ones((128, 5), np.float32), length=2500).shape
    (2500,)
    """
    given = dict(locals())
    if length is not None:
        at_least("length", length, 1)
    at_least("n_iter", n_iter, 1)
    mels = _mels(M, n_mels, power)
    config = front_end(given, n_mels=mels.shape[-2], pad_mode=pad_mode)
    asked = asked_for(dtype)
    mels = mels.to(precision(mels, asked))
    w = window_numbers(window, config.win_length)
    search = GriffinLim(config, n_iter=n_iter, w=None if w is None else w.to(mels.dtype))
    spectra = _spectra(mels, config, norm)
    n_samples = least_samples(config, mels.shape[-1])
    if length is not None:
        most = least_samples(config, mels.shape[-1] + 1) - 1
        n_samples = min(max(int(length), n_samples), most)
    waveforms = search.to(mels.device)(spectra, n_samples)
    if length is not None:
        waveforms = nn.functional.pad(waveforms, (0, int(length) - n_samples))
    return like(M, waveforms.to(asked))


def _mels(M: Any, n_mels: object, power: object) -> Tensor:  # noqa: ANN401, arrays and tensors
    mels = tensor_of("M", M)
    if mels.dim() < 2:
        raise wrong("M", tuple(mels.shape), "must be (..., n_mels, n_frames)")
    if mels.is_complex():
        raise wrong("M", mels.dtype, "must be real")
    if n_mels is not None:
        raise wrong("n_mels", n_mels, f"must be left out: it is that of M, {mels.shape[-2]}")
    at_least("power", power, 0, above=True)
    return mels


def _spectra(mels: Tensor, config: MelConfig, norm: object) -> Tensor:
    """Spectra to the power that the mels are of."""
    inverse = InverseMelScale(filterbank(config, norm)).to(mels.device, mels.dtype)
    spectra: Tensor = inverse(mels)
    return spectra
