"""What librosa's functions are given: arrays or tensors, windows, norms, dtypes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import chain
from typing import TYPE_CHECKING, Any, Final, TypeAlias, TypeVar, cast

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from melcli.compat.arguments import config_of, whole, wrong
from melcli.dsp.mel import config_filterbank

if TYPE_CHECKING:
    from melcli.config import MelConfig

Array = TypeVar("Array", npt.NDArray[Any], Tensor)
"""What goes in and comes out: one of the two."""

Window: TypeAlias = (
    str
    | tuple[Any, ...]
    | float
    | Callable[[int], Any]
    | Sequence[float]
    | npt.NDArray[Any]
    | Tensor
)
"""As librosa takes it; numbers may be a list, an array or a tensor."""

_KNOWN: Final = {
    np.dtype(np.longdouble): np.dtype(np.float64),
    np.dtype(np.clongdouble): np.dtype(np.complex128),
}
"""For types that torch does not have, the nearest that it has."""
_DTYPES: Final = {"float32": torch.float32, "float64": torch.float64}
NORMS: Final[dict[Any, str]] = {None: "none", "slaney": "slaney", 1: "l1"}
"""Those that a config has, and what it calls them."""
_TINY: Final = float(np.finfo(np.float32).tiny)
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


def tensor_of(argument: str, values: object) -> Tensor:
    """An array or a tensor as a tensor; the first is not written to.

    Raises:
        UsageError: It is neither.
    """
    if isinstance(values, Tensor):
        return values
    if not isinstance(values, np.ndarray):
        raise wrong(argument, type(values), "must be an array or a tensor")
    if values.dtype.kind not in "fiubc":
        raise wrong(argument, values.dtype, "must be numbers")
    dtype = values.dtype.newbyteorder("=")
    return torch.from_numpy(np.require(values, _KNOWN.get(dtype, dtype), ["C", "W"]))


def like(values: Array, result: Tensor) -> Array:
    """A result as an array where an array was given."""
    given: object = values
    return cast("Array", result if isinstance(given, Tensor) else result.numpy())


def asked_for(dtype: object) -> torch.dtype:
    """The type that an argument ``dtype`` stands for, be it NumPy's or torch's.

    Raises:
        UsageError: It is neither float32 nor float64.
    """
    try:
        is_torch = isinstance(dtype, torch.dtype)
        return _DTYPES[str(dtype)[6:] if is_torch else np.dtype(cast("Any", dtype)).name]
    except (KeyError, TypeError):
        raise wrong("dtype", dtype, "must be float32 or float64") from None


def precision(values: Tensor, asked: torch.dtype = torch.float32) -> torch.dtype:
    """What to compute in: float64 where that is given or asked for, float32 otherwise.

    Whole numbers ask for float64, as NumPy has it.
    """
    is_narrow = values.is_floating_point() and values.dtype != torch.float64
    return asked if is_narrow else torch.float64


def given_window(window: Window) -> str | tuple[Any, ...]:
    """A window as a config has it: by name; Hann's where it is given as numbers instead."""
    beta = whole(window)
    if isinstance(beta, int | float) and not isinstance(beta, bool):
        return "kaiser", float(beta)
    if isinstance(window, tuple):  # SciPy takes a list, None and booleans in it
        parts = chain.from_iterable(p if isinstance(p, list | tuple) else [p] for p in window)
        plain = ("none" if part is None else part for part in parts)
        return tuple(int(part) if isinstance(part, bool) else part for part in plain)
    return "hann" if _is_numbers(window) else cast("str", window)


def window_numbers(window: Window, win_length: int) -> Tensor | None:
    """The numbers of a window that has no name, ``(win_length,)`` in float64.

    Raises:
        UsageError: There are more, or fewer.
    """
    if not _is_numbers(window):
        return None
    values = window(win_length) if callable(window) else window
    numbers = values if isinstance(values, Tensor) else tensor_of("window", np.asarray(values))
    if numbers.shape != (win_length,):
        raise wrong("window", tuple(numbers.shape), f"must be win_length = {win_length} numbers")
    return numbers.detach().to(torch.float64)


def _is_numbers(window: Window) -> bool:
    return callable(window) or isinstance(window, list | np.ndarray | Tensor)


def front_end(given: dict[str, Any], *, n_mels: object, pad_mode: str = "constant") -> MelConfig:
    """The front end that arguments ask for; those that are not among them stay neutral.

    Args:
        given: librosa's arguments by name.
        n_mels: The number of bands.
        pad_mode: How a config is to pad.

    Raises:
        UsageError: For one that cannot be.
    """
    norm = whole(given["norm"])
    is_number = isinstance(norm, int | float) and not isinstance(norm, bool) and norm > 0
    if not (norm is None or is_number or (isinstance(norm, str) and norm == "slaney")):
        raise wrong(
            "norm", given["norm"], "must be 'slaney', None, or a number above 0, also infinity"
        )
    settings = {
        "wave.sample_rate": given["sr"],
        "frame.n_fft": given["n_fft"],
        "mel.n_mels": n_mels,
        "mel.f_min": given["fmin"],
        "mel.f_max": given["fmax"],
        "mel.mel_scale": "htk" if given["htk"] else "slaney",
        "mel.fb_norm": NORMS.get(norm, "none"),
        "spec.power": given.get("power", 2.0),
    }
    if "window" in given:
        n_fft, hop_length = whole(given["n_fft"]), given["hop_length"]
        win_length = n_fft if given["win_length"] is None else whole(given["win_length"])
        quarter = win_length // 4 if isinstance(win_length, int) else 1  # an error of its own
        settings |= {
            "frame.win_length": win_length,
            "frame.hop_length": quarter if hop_length is None else hop_length,
            "frame.window": given_window(given["window"]),
            "frame.pad": "center" if given["center"] else "none",
            "frame.pad_mode": pad_mode,
        }
    return config_of(settings, _NAMES, given)


def filterbank(config: MelConfig, norm: object) -> Tensor:
    """The filterbank ``(n_mels, n_freqs)``, each row divided by its p-norm if `norm` is a number.

    Args:
        config: The front end.
        norm: As librosa has it.
    """
    bank = config_filterbank(config)
    if norm in NORMS:
        return bank
    rows = bank.to(torch.float64)
    sizes = torch.linalg.vector_norm(rows, ord=float(cast("float", norm)), dim=1, keepdim=True)
    # An empty filter stays empty.
    return (rows / torch.where(sizes < _TINY, 1.0, sizes)).to(bank.dtype)
