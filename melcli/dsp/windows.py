"""Windows: torch's own where it has them, and SciPy's for the rest."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from melcli.config.checks import toml_value
from melcli.config.windows import resolve_window, window_complaint
from melcli.errors import ConfigError, DeviceError

if TYPE_CHECKING:
    from collections.abc import Callable

    from melcli.config.windows import WindowSpec


_TORCH: dict[str, Callable[..., Tensor]] = {
    "hann": torch.hann_window,
    "hamming": torch.hamming_window,
    "blackman": torch.blackman_window,
    "bartlett": torch.bartlett_window,
}


def window(spec: WindowSpec, length: int, *, periodic: bool) -> Tensor:
    """A window by name: any that ``scipy.signal.get_window`` knows, or ``povey``.

    ``hann`` is ``0.5 - 0.5 cos(t)`` with ``t = 2 pi n / (M - 1)``, ``hamming`` is
    ``0.54 - 0.46 cos(t)``, ``blackman`` is ``0.42 - 0.5 cos(t) + 0.08 cos(2 t)``, ``bartlett`` is
    the triangle that is zero at both ends, ``kaiser`` is ``I0(beta sqrt(1 - u^2)) / I0(beta)`` with
    ``u = 2 n / (M - 1) - 1``, and ``povey`` is Kaldi's Hann to the power 0.85. ``M`` is
    ``length``, or ``length + 1`` for a periodic window, which then loses its last sample.

    These, and the rectangle, are torch's, in its float32 arithmetic: front ends built on
    torch.stft have those very bits. All others are SciPy's, computed in float64 and rounded once,
    which is what librosa and nnAudio do for every window. Where both have a window they differ by
    up to 3e-7 (``kaiser``: 9e-7 at ``beta = 14``, growing with it), and so do near-silent mel bins.

    Args:
        spec: The name, or a tuple of it and its parameters: ``("kaiser", 14.0)``.
        length: In samples.
        periodic: Periodic, as for spectra, or symmetric, as for filters.

    Returns:
        Float32 of shape ``(length,)``.

    Raises:
        ConfigError: If there is no such window, or not with these parameters.
        DeviceError: If it is one of SciPy's, and SciPy is not installed.

    References:
        A. V. Oppenheim, R. W. Schafer, *Discrete-Time Signal Processing*, sections 7.2 and 7.3;
        Kaldi, ``src/feat/feature-window.cc``, for ``povey``.

    >>> window("hann", 4, periodic=True)
    tensor([0.0000, 0.5000, 1.0000, 0.5000])
    """
    complaint = window_complaint(spec, length, periodic=periodic)
    if complaint:
        raise ConfigError(f"window {toml_value(spec)}: {complaint}")
    name, parameters = resolve_window(spec)
    if name == "boxcar":
        return torch.ones(length, dtype=torch.float32)
    if name == "povey":
        return window("hann", length, periodic=periodic).pow(0.85)
    if name in _TORCH:
        return _TORCH[name](length, periodic=periodic, dtype=torch.float32)
    # Beyond 88.7, exp(beta) and with it torch's I0(beta) is infinite in float32.
    if name == "kaiser" and abs(beta := float(parameters[0])) <= 88:
        return torch.kaiser_window(length, periodic=periodic, beta=beta, dtype=torch.float32)
    return _scipy_window(name, parameters, length, periodic=periodic)


def _scipy_window(
    name: str, parameters: tuple[str | float, ...], length: int, *, periodic: bool
) -> Tensor:
    try:
        from scipy.signal import get_window, windows
    except ImportError as error:
        raise DeviceError(
            f'the window "{name}" needs scipy', None, 'pip install "melcli[windows]"'
        ) from error
    if name == "general_cosine":
        values = get_window((name, list(parameters)), length, fftbins=periodic)
    elif name == "taylor":
        nbar, sll, norm = map(float, parameters)
        values = get_window((name, int(nbar), sll, bool(norm)), length, fftbins=periodic)
    elif name == "kaiser_bessel_derived":  # SciPy 1.11 does not know it by name
        values = windows.kaiser_bessel_derived(length, *parameters)
    else:
        plain = (None if value == "none" else value for value in parameters)
        values = get_window((name, *plain), length, fftbins=periodic)
    return torch.as_tensor(values, dtype=torch.float32)
