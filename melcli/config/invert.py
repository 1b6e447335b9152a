"""How mels become spectra again, and spectra waveforms."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, get_args

from melcli.errors import UsageError

Method = Literal["nnls", "pinv"]
AudioFormat = Literal["wav", "flac"]


@dataclass(frozen=True, kw_only=True)
class InvertConfig:
    """How mels become spectra again.

    Args:
        method: ``nnls``, spectra that have the mel, none of them negative; or ``pinv``, the
            pseudo-inverse, its negative numbers set to 0.
        tolerance: For ``nnls``: the residual ``|A x - m| / |m|`` at which a frame is done.
        max_residual: An item whose residual is larger fails; None lets all pass.

    Raises:
        UsageError: One of them cannot be.
    """

    method: Method = "nnls"
    tolerance: float = 1e-5
    max_residual: float | None = None

    def __post_init__(self) -> None:
        if self.method not in get_args(Method):
            raise UsageError(f"method = {self.method!r}: must be 'nnls' or 'pinv'")
        if not 1e-12 <= self.tolerance < 1:
            raise UsageError(f"tolerance = {self.tolerance:g}: must be from 1e-12 to below 1")
        if self.max_residual is not None and not 0 <= self.max_residual < math.inf:
            raise UsageError(f"max residual = {self.max_residual:g}: must be 0 or more")


@dataclass(frozen=True, kw_only=True)
class AudioConfig:
    """How spectra become waveforms: Griffin and Lim's iterations, and a file for each item.

    Args:
        format: ``wav``, float32 as it is; or ``flac``, 16 bits, clipped at full scale.
        n_iter: Iterations.
        momentum: From 0 to below 1: how far each goes beyond where it would.
        seed: Of the phases that the first one starts from; None starts from 0.

    Raises:
        UsageError: One of them cannot be.
    """

    format: AudioFormat = "wav"
    n_iter: int = 32
    momentum: float = 0.99
    seed: int | None = 0

    def __post_init__(self) -> None:
        if self.format not in get_args(AudioFormat):
            raise UsageError(f"format = {self.format!r}: must be 'wav' or 'flac'")
        if self.n_iter < 1:
            raise UsageError(f"iterations = {self.n_iter}: must be at least 1")
        if not 0 <= self.momentum < 1:
            raise UsageError(f"momentum = {self.momentum:g}: must be from 0 to below 1")
        if self.seed is not None and self.seed < 0:
            raise UsageError(f"seed = {self.seed}: must be 0 or more, or None")
