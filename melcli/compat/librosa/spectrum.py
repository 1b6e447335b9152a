"""``librosa.feature.melspectrogram``."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any, Final, cast

import numpy as np
import torch
from torch import Tensor, nn

from melcli.compat.arguments import one_of, whole, wrong
from melcli.compat.librosa.arguments import (
    NORMS,
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
from melcli.dsp.frontend import FrontEnd, compile_with
from melcli.dsp.mel import MelBands
from melcli.dsp.stft import Spectrum
from melcli.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import DTypeLike

_BY_CONFIG: Final = ("constant", "reflect", "symmetric")
_PAD_MODES: Final = (*_BY_CONFIG, "edge", "linear_ramp")


def melspectrogram(
    *,
    y: Array | None = None,
    sr: float = 22050,
    S: Array | None = None,
    n_fft: int | None = 2048,
    hop_length: int | None = 512,
    win_length: int | None = None,
    window: Window = "hann",
    center: bool = True,
    pad_mode: str | Callable[..., Any] = "constant",
    power: float = 2.0,
    n_mels: int = 128,
    fmin: float = 0.0,
    fmax: float | None = None,
    htk: bool = False,
    norm: float | str | None = "slaney",
    dtype: DTypeLike | torch.dtype = np.float32,
) -> Array:
    """``librosa.feature.melspectrogram``.

    What differs from the original:

    - It is computed in float32, and in float64 for float64 or where ``dtype`` asks for that; the
      original computes in float64 and rounds. Windows and filterbanks are float32 in either.
    - ``sr`` is a whole number, ``fmax`` is at most ``sr / 2`` and above ``fmin``.
    - ``pad_mode`` cannot be ``"empty"``, whose numbers are anything.
    - A filter without a bin, and a signal shorter than ``n_fft``, are not warned of.

    ``norm=1`` divides each filter by its sum, as librosa does since 0.8; what it was before is
    ``"slaney"``. Padding was ``"reflect"`` before 0.9.

    Args:
        y: Waveforms ``(..., n_samples)``, floating point.
        sr: Sample rate in Hz.
        S: Spectra ``(..., n_freqs, n_frames)``, instead of ``y``; then only what shapes the
            filterbank counts.
        n_fft: FFT length in samples; with ``S`` twice ``n_freqs - 1`` if it does not fit.
        hop_length: Step from frame to frame in samples; None: a quarter of the window.
        win_length: Window length in samples; None: ``n_fft``.
        window: A name, a tuple of a name and parameters, the beta of a Kaiser window, a function
            of ``win_length``, or ``win_length`` numbers. Those with a name are periodic.
        center: Pad ``n_fft // 2`` samples on both sides.
        pad_mode: ``"constant"`` (zeros), ``"reflect"``, ``"symmetric"``, ``"edge"`` or
            ``"linear_ramp"``, as NumPy's; for arrays also a function, as ``np.pad`` takes it.
        power: Exponent of the magnitude.
        n_mels: Number of mel bands.
        fmin: Lowest edge in Hz.
        fmax: Highest edge in Hz; None: half the sample rate.
        htk: The HTK mel scale; Slaney's otherwise.
        norm: ``"slaney"`` gives every triangle unit area; a number p makes the p-norm of each
            filter 1, infinity its peak; None leaves the peaks at one.
        dtype: float32 or float64.

    Returns:
        Mels ``(..., n_mels, n_frames)``, float64 if the input or ``dtype`` is, float32 otherwise.

    Raises:
        UsageError: An argument cannot be; a ValueError.

    >>> mel = melspectrogram(y=np.zeros(16000, np.float32), sr=16000)
    >>> mel.shape, mel.dtype
    ((128, 32), dtype('float32'))
    """
    given = dict(locals())
    if S is not None:
        return like(S, _bands_of(given, tensor_of("S", S)))
    if y is None:
        raise wrong("y", y, "must be given, or S")
    waveforms = tensor_of("y", y)
    _check_waveforms(waveforms)
    waveforms = waveforms.to(precision(waveforms, asked_for(dtype)))
    pads_itself = center and _pads_itself(waveforms.shape[-1], n_fft, pad_mode)
    given = {name: value for name, value in given.items() if name not in {"y", "S"}}
    given |= {
        "center": center and not pads_itself,
        "pad_mode": pad_mode if center and not pads_itself else "constant",
        "dtype": waveforms.dtype,
    }
    make = _make if callable(window) else _made  # what it gives is its own affair
    try:
        front = make(**given, device=waveforms.device)
    except TypeError:  # a window as numbers cannot be looked up
        front = _make(**given, device=waveforms.device)
    size = front.config.frame.n_fft
    if pads_itself:
        waveforms = _as_numpy_pads(waveforms, size // 2, pad_mode)
    elif not center and waveforms.shape[-1] < size:
        raise wrong("n_fft", size, f"must be at most {waveforms.shape[-1]}, y's samples")
    return like(y, front(waveforms))


def _make(
    *,
    device: torch.device,
    dtype: torch.dtype,
    pad_mode: str,
    n_mels: object,
    norm: float | str | None,
    **given: Any,  # noqa: ANN401, checked by the config
) -> FrontEnd:
    """What computes, for librosa's arguments."""
    config = front_end(given | {"norm": norm}, n_mels=n_mels, pad_mode=pad_mode)
    w = window_numbers(given["window"], config.win_length)
    spectrum = None if w is None else Spectrum(config, w)
    bank = None if norm in NORMS else filterbank(config, norm)
    stages = compile_with(config, spectrum=spectrum, bank=bank)
    front = FrontEnd(config, stages=stages, exact=False)
    return front.to(device, dtype)


# A function has no layer to keep its constants in, and making them takes longer than a second of
# audio. Those who call it clip by clip do so with the same arguments.
_made = functools.lru_cache(maxsize=8, typed=True)(_make)


def _bands_of(given: dict[str, Any], spectra: Tensor) -> Tensor:
    """Mels of spectra that are there already."""
    if spectra.is_complex():
        raise wrong("S", spectra.dtype, "must be magnitudes or powers, which are real")
    if spectra.dim() < 2 or spectra.shape[-2] < 2:
        raise wrong("S", tuple(spectra.shape), "must be (..., n_freqs, n_frames)")
    n_freqs, n_fft = spectra.shape[-2], whole(given["n_fft"])
    fits = isinstance(n_fft, int) and n_fft // 2 + 1 == n_freqs
    mels = {name: given[name] for name in ("sr", "fmin", "fmax", "htk", "norm", "n_mels")}
    mels["n_fft"] = n_fft if fits else 2 * (n_freqs - 1)
    config = front_end(mels, n_mels=given["n_mels"])
    spectra = spectra.to(precision(spectra, asked_for(given["dtype"])))
    bands = MelBands(filterbank(config, given["norm"])).to(spectra.device, spectra.dtype)
    rows = spectra.transpose(-1, -2)
    found: Tensor = bands(rows.reshape(-1, n_freqs))
    return found.reshape(*rows.shape[:-1], -1).transpose(-1, -2).contiguous()


def _check_waveforms(waveforms: Tensor) -> None:
    if not waveforms.is_floating_point():
        raise wrong("y", waveforms.dtype, "must be floating point")
    if waveforms.dim() == 0:
        raise wrong("y", tuple(waveforms.shape), "must be (..., n_samples)")
    if not bool(torch.isfinite(waveforms).all()):
        raise UsageError("y holds NaN or infinity: must be finite")


def _pads_itself(n_samples: int, n_fft: object, pad_mode: str | Callable[..., Any]) -> bool:
    """Whether padding is beyond a config: it is done before frames are cut.

    So it is for modes that only NumPy has, reflection to and fro in a signal that is shorter than
    its padding, and padding of nothing at all.
    """
    if callable(pad_mode):
        return True
    one_of("pad_mode", pad_mode, _PAD_MODES)
    if n_samples == 0 and pad_mode != "constant":
        raise wrong("pad_mode", pad_mode, "must be 'constant', since y has no samples")
    size = whole(n_fft)
    reach = size // 2 if pad_mode == "reflect" and isinstance(size, int) else 0
    return pad_mode not in _BY_CONFIG or n_samples <= reach


def _as_numpy_pads(waveforms: Tensor, half: int, pad_mode: str | Callable[..., Any]) -> Tensor:
    """What ``np.pad`` makes of waveforms, with their gradients."""
    n_samples = waveforms.shape[-1]
    if callable(pad_mode):
        if waveforms.requires_grad or waveforms.device.type != "cpu":
            raise wrong("pad_mode", pad_mode, "must be a name, where y is a tensor")
        widths = [(0, 0)] * (waveforms.dim() - 1) + [(half, half)]
        return torch.from_numpy(np.pad(waveforms.numpy(), widths, cast("Any", pad_mode)))
    if pad_mode == "constant":
        return nn.functional.pad(waveforms, (half, half))
    is_ramp = pad_mode == "linear_ramp"
    # Padding tells where each sample comes from, and ramps how much is left of it.
    places = np.pad(np.arange(n_samples), half, cast("Any", "edge" if is_ramp else pad_mode))
    padded = waveforms[..., torch.from_numpy(places).to(waveforms.device)]
    if not is_ramp:
        return padded
    return padded * torch.from_numpy(np.pad(np.ones(n_samples), half, "linear_ramp")).to(padded)
