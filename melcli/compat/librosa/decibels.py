"""``librosa.power_to_db``, ``amplitude_to_db``, and their inverses."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

import numpy as np
import torch
from torch import Tensor

from melcli.compat.arguments import at_least, wrong
from melcli.compat.decibels import decibels, lifted
from melcli.compat.librosa.arguments import Array, like, tensor_of
from melcli.dsp.compression import Logarithm
from melcli.dsp.precision import HALVES, like_input

if TYPE_CHECKING:
    from numpy.typing import NDArray

Reference: TypeAlias = "float | NDArray[Any] | Tensor | Callable[..., Any]"
Axes: TypeAlias = Literal["auto"] | int | Sequence[int] | None

_MAXIMA: Final = (np.max, np.amax, torch.max, torch.amax)


def power_to_db(
    S: Array,
    *,
    ref: Reference = 1.0,
    amin: float = 1e-10,
    top_db: float | None = 80.0,
    axes: Axes = "auto",
) -> Array:
    """``librosa.power_to_db``: ``10 log10(max(S, amin)) - 10 log10(max(|ref|, amin))``.

    What differs from the original:

    - Where ``ref`` is a function, and for ``top_db``, each spectrogram of a stack counts by itself,
      as from librosa 1.0 on; ``axes=None`` takes everything together, as 0.11 does.
    - A function is called with one array at a time, all that lies along ``axes``, and gives one
      number: it needs to know neither ``axis`` nor ``keepdims``.
    - Complex numbers count by their magnitude, without a warning.

    Args:
        S: Powers of any shape; an array, a tensor, a number or a list of numbers.
        ref: What is 0 dB: a number, an array that is laid over ``S``, or a function of ``S``, such
            as ``np.max`` (for tensors too).
        amin: The least power, and the least reference.
        top_db: Everything is lifted to at least so many decibels below the largest; None: nothing.
        axes: Those along which ``ref`` and ``top_db`` look: the last two, or the only one.

    Returns:
        Decibels in the shape and the precision of ``S``; float64 for whole numbers.

    Raises:
        UsageError: An argument cannot be; a ValueError.

    >>> power_to_db(np.array([[1.0, 0.5], [1e-3, 0.0]]), ref=np.max).round(2)
    array([[  0.  ,  -3.01],
           [-30.  , -80.  ]])
    """
    return _to_db(S, 10.0, ref, amin, top_db, axes)


def amplitude_to_db(
    S: Array,
    *,
    ref: Reference = 1.0,
    amin: float = 1e-5,
    top_db: float | None = 80.0,
    axes: Axes = "auto",
) -> Array:
    """``librosa.amplitude_to_db``: ``20 log10(max(|S|, amin)) - 20 log10(max(|ref|, amin))``.

    What differs from the original is as for :func:`power_to_db`. Nothing is squared, so very small
    and very large amplitudes keep their digits.

    Args:
        S: Amplitudes, otherwise as for :func:`power_to_db`.
        ref: What is 0 dB, an amplitude.
        amin: The least amplitude, and the least reference.
        top_db: As for :func:`power_to_db`.
        axes: Likewise.

    Returns:
        Decibels in the shape and the precision of ``S``; float64 for whole numbers.

    Raises:
        UsageError: An argument cannot be; a ValueError.

    >>> amplitude_to_db(torch.tensor([1.0, -0.1, 0.0]))
    tensor([  0., -20., -80.])
    """
    return _to_db(S, 20.0, ref, amin, top_db, axes)


def db_to_power(S_db: Array, *, ref: float | Array = 1.0) -> Array:
    """``librosa.db_to_power``: ``ref 10 ^ (S_db / 10)``.

    >>> db_to_power(np.array([0.0, 10.0]), ref=2.0).round(6)
    array([ 2., 20.])
    """
    return _from_db(S_db, 10.0, ref)


def db_to_amplitude(S_db: Array, *, ref: float | Array = 1.0) -> Array:
    """``librosa.db_to_amplitude``: ``|ref| 10 ^ (S_db / 20)``."""
    return _from_db(S_db, 20.0, ref)


def _to_db(
    S: Array, factor: float, ref: Reference, amin: float, top_db: float | None, axes: Axes
) -> Array:
    at_least("amin", amin, 0, above=True)
    if top_db is not None:
        at_least("top_db", top_db, 0)
    values = _values("S", S)
    x = values.abs() if factor == 20.0 or values.is_complex() else values
    if x.dtype in HALVES:
        x = x.to(torch.float32)
    along = _along(axes, x.dim())
    reference = _reference(ref, x, along, S)
    # What is less than that has no logarithm.
    floor = max(amin, torch.finfo(x.dtype).tiny)
    level = decibels(x, factor=factor, floor=floor, reference=reference)
    if top_db is not None:
        level = lifted(level, top_db, along)
    return _as_given(S, like_input(level, values))


def _from_db(S_db: Array, factor: float, ref: object) -> Array:
    level = _values("S_db", S_db)
    if level.is_complex():
        raise wrong("S_db", level.dtype, "must be decibels, which are real")
    reference = _values("ref", ref).to(level)
    if factor == 20.0:
        reference = reference.abs()
    found: Tensor = Logarithm("log10", factor).inverse(level)
    return _as_given(S_db, found * reference)


def _values(argument: str, values: object) -> Tensor:
    """Numbers of any shape as a tensor, floating point or complex."""
    found = values if isinstance(values, Tensor) else tensor_of(argument, np.asarray(values))
    is_exact = found.is_floating_point() or found.is_complex()
    return found if is_exact else found.to(torch.float64)


def _as_given(values: Array, result: Tensor) -> Array:
    if isinstance(values, Tensor | np.ndarray):
        return like(values, result)
    return result.numpy()[()]  # a number of a number


def _along(axes: Axes, n_axes: int) -> tuple[int, ...]:
    """The axes that count together, as numbers from 0 on."""
    if axes is None:
        return tuple(range(n_axes))
    if axes == "auto":
        return tuple(range(max(0, n_axes - 2), n_axes))
    chosen: tuple[Any, ...] = tuple(axes) if isinstance(axes, list | tuple) else (axes,)
    if not chosen or not all(isinstance(a, int) and -n_axes <= a < n_axes for a in chosen):
        raise wrong("axes", axes, f"must be 'auto', None, or of the {n_axes} axes of S")
    return tuple(sorted({axis % n_axes for axis in chosen}))


def _reference(ref: Reference, x: Tensor, along: tuple[int, ...], given: object) -> float | Tensor:
    """What is 0 dB, to be laid over ``x``."""
    if callable(ref):
        return _asked(ref, x, along, given) if x.numel() else 1.0
    found = _values("ref", ref)
    if found.dim() == 0 and not found.requires_grad:
        return float(found.abs())
    if found.dim() > x.dim() or not all(
        n in {1, wanted} for n, wanted in zip(found.shape[::-1], x.shape[::-1], strict=False)
    ):
        raise wrong("ref", tuple(found.shape), f"must be laid over S, which is {tuple(x.shape)}")
    return found.to(x)


def _asked(ref: Callable[..., Any], x: Tensor, along: tuple[int, ...], given: object) -> Tensor:
    """What a function says of all that lies along some axes, for each place along the others."""
    if ref in _MAXIMA:
        return x.amax(dim=along, keepdim=True)
    others = [axis for axis in range(x.dim()) if axis not in along]
    items = x.permute([*others, *along])
    items = items.reshape(-1, *items.shape[len(others) :])
    told = [ref(item if isinstance(given, Tensor) else item.numpy()) for item in items]
    numbers = [torch.as_tensor(number).to(x) for number in told]
    if any(number.numel() != 1 for number in numbers):
        raise wrong("ref", ref, "must give one number")
    shape = [1 if axis in along else n for axis, n in enumerate(x.shape)]
    return torch.stack([number.reshape(()) for number in numbers]).reshape(shape)
