"""torchaudio's arguments as the keys of a config, and its windows by name."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any, Final

import torch
from torch import Tensor

from melcli.compat.arguments import at_least, one_of, whole, wrong
from melcli.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from melcli.config import MelConfig

NAMES: Final = {
    "wave.sample_rate": "sample_rate",
    "wave.wave_pad": "pad",
    "frame.n_fft": "n_fft",
    "frame.win_length": "win_length",
    "frame.hop_length": "hop_length",
    "frame.window": "window_fn",
    "spec.power": "power",
    "mel.n_mels": "n_mels",
    "mel.f_min": "f_min",
    "mel.f_max": "f_max",
    "mel.fb_sample_rate": "sample_rate",
}
"""What torchaudio calls a key."""
_WINDOWS: Final[dict[Callable[..., Tensor], str]] = {
    torch.hann_window: "hann",
    torch.hamming_window: "hamming",
    torch.blackman_window: "blackman",
    torch.bartlett_window: "bartlett",
    torch.kaiser_window: "kaiser",
}
_SHAPING: Final = {"hamming": {"alpha", "beta"}, "kaiser": {"beta"}}
"""What else than ``periodic`` shapes a window."""


def framing(
    n_fft: int,
    win_length: int | None,
    hop_length: int | None,
    window_fn: Callable[..., Tensor],
    wkwargs: Mapping[str, Any] | None,
) -> dict[str, object]:
    """How frames are cut and windowed, by key of a config."""
    at_least("n_fft", n_fft, 2)
    length = n_fft if win_length is None else win_length
    at_least("win_length", length, 1)
    named = window_name(window_fn, wkwargs)
    return {
        "frame.n_fft": n_fft,
        "frame.win_length": win_length,
        "frame.hop_length": length // 2 if hop_length is None else hop_length,
        "frame.window": "boxcar" if named is None else named,
        "frame.window_periodic": bool((wkwargs or {}).get("periodic", True)),
    }


def padding(pad: int, pad_mode: str, *, center: bool) -> dict[str, object]:
    """What a waveform is padded with, by key of a config.

    Where the engine lacks a mode, nothing: then the layer pads by itself.
    """
    around = whole_number("pad", pad, 0)
    one_of("pad_mode", pad_mode, ("reflect", "constant", "replicate", "circular"))
    if pads_itself(pad_mode, center=center):
        return {"frame.pad": "none"}
    return {
        "wave.wave_pad": (around, around),
        "frame.pad": "center" if center else "none",
        "frame.pad_mode": pad_mode if center else "reflect",
    }


def pads_itself(pad_mode: str, *, center: bool) -> bool:
    """Whether a layer has to pad: the engine knows the other modes."""
    return bool(center) and pad_mode in {"replicate", "circular"}


def scaling(normalized: bool | str) -> dict[str, object]:
    """What a spectrum is divided by, by key of a config."""
    one_of("normalized", normalized, (False, True, "window", "frame_length"))
    if isinstance(normalized, bool):
        normalized = "window" if normalized else "none"
    return {"spec.fft_norm": normalized}


def filterbank(
    n_mels: int,
    n_fft: int,
    sample_rate: int,
    f_min: float,
    f_max: float | None,
    norm: str | None,
    mel_scale: str,
) -> dict[str, object]:
    """A filterbank, by key of a config: in float32, up to ``sample_rate // 2``.

    At an odd rate that is half a hertz short, and models are trained with it. Where ``n_fft`` is
    odd too, the bins lie where they are.
    """
    one_of("norm", norm, (None, "slaney"))
    one_of("mel_scale", mel_scale, ("htk", "slaney"))
    at_least("sample_rate", sample_rate, 1)
    is_short = sample_rate % 2 == 1 and n_fft % 2 == 0
    return {
        "wave.sample_rate": sample_rate,
        "mel.n_mels": n_mels,
        "mel.f_min": f_min,
        "mel.f_max": float(sample_rate // 2) if f_max is None else f_max,
        "mel.mel_scale": mel_scale,
        "mel.fb_norm": norm or "none",
        "mel.fb_sample_rate": sample_rate - 1 if is_short else 0,
        "mel.fb_precision": "float32",
    }


def window_name(
    window_fn: Callable[..., Tensor], wkwargs: Mapping[str, Any] | None
) -> str | tuple[str | float, ...] | None:
    """What a config calls a window, or None.

    >>> window_name(torch.hamming_window, None)
    'hamming'
    >>> window_name(torch.hamming_window, {"periodic": False, "alpha": 0.5, "beta": 0.5})
    ('general_cosine', 0.5, 0.5)
    >>> window_name(torch.ones, None)
    """
    # What cannot be looked up, such as an object that is called, is nobody's window.
    name = next((name for known, name in _WINDOWS.items() if known is window_fn), None)
    shape = {key: value for key, value in (wkwargs or {}).items() if key != "periodic"}
    if name is None or not shape.keys() <= _SHAPING.get(name, set()):
        return None
    if name == "kaiser":
        return (name, float(shape.get("beta", 12.0)))
    if shape:
        return ("general_cosine", float(shape.get("alpha", 0.54)), float(shape.get("beta", 0.46)))
    return name


def make_window(
    window_fn: Callable[..., Tensor], wkwargs: Mapping[str, Any] | None, config: MelConfig
) -> Tensor:
    """What ``window_fn(win_length, **wkwargs)`` gives.

    Raises:
        UsageError: It gives no window.
    """
    wkwargs = dict(wkwargs or {})
    if any(known is window_fn for known in _WINDOWS):
        wkwargs.setdefault("periodic", True)  # torch asks for it where a shape is told
    window = window_fn(config.win_length, **wkwargs)
    is_fitting = window.shape == (config.win_length,) and window.is_floating_point()
    if not is_fitting or not bool(window.isfinite().all() and window.any()):
        told = f"must give {config.win_length} finite numbers, not all 0"
        raise wrong("window_fn", window_fn, told)
    return window.detach()


def warn_of_empty(bank: Tensor, larger: str) -> None:
    """Tell of filters that lie between two bins, as torchaudio does.

    Args:
        bank: ``(n_mels, n_freqs)``.
        larger: What there should be more of.
    """
    empty = (~bank.any(dim=1)).nonzero().flatten().tolist()
    if empty:
        named = ", ".join(map(str, empty[:5])) + (", ..." if len(empty) > 5 else "")
        warnings.warn(
            f"{len(empty)} of {len(bank)} filters are empty ({named}):"
            f" fewer n_mels, a larger {larger}, or a higher f_min helps",
            stacklevel=3,
        )


def whole_number(argument: str, value: float, least: int) -> int:
    """A whole number as such.

    Raises:
        UsageError: It is none, or below the least that may be.
    """
    number = whole(value)
    if not isinstance(number, int) or number < least:
        raise wrong(argument, value, f"must be a whole number, at least {least}")
    return number


def floating(argument: str, x: Tensor) -> Tensor:
    """What a module computes with.

    Raises:
        UsageError: It is no floating point.
    """
    if not x.is_floating_point():
        raise UsageError(f"{argument} of {x.dtype}: must be floating point")
    return x


def in_precision(argument: str, x: Tensor, dtype: torch.dtype) -> Tensor:
    """What a module of one precision computes with, in that.

    Raises:
        UsageError: It is no floating point, or float64 where the module is float32.
    """
    if floating(argument, x).dtype == torch.float64 and dtype == torch.float32:
        raise UsageError(
            f"{argument} of float64, and the module is float32",
            None,
            f"module.double(), or {argument}.float()",
        )
    return x.to(dtype)
