"""Mel scales, the filterbank, and the product with it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Self

import torch
from torch import Tensor, nn

from melcli.dsp.stage import Stage

if TYPE_CHECKING:
    from collections.abc import Callable

    from melcli.config import MelConfig
    from melcli.config.fields import (
        FilterDomain,
        FilterNorm,
        FilterShape,
        MelScale,
        Precision,
    )

_GROUP = 16
_TINY = 1e-12
_HTK_UNIT = 2595.0 / (1127.0 * math.log(10.0))
"""A mel of 1127 ln in mels of 2595 log10: all but 1."""
_RANK_TOLERANCE = 1e-12
_SLANEY_BREAK_HZ = 1000.0
_SLANEY_BREAK_MEL = 15.0
_SLANEY_HZ_PER_MEL = 200.0 / 3.0
_SLANEY_LOG_STEP = math.log(6.4) / 27.0


def hz_to_mel(hz: Tensor, mel_scale: MelScale) -> Tensor:
    """Hz to mel.

    ``htk`` is ``2595 log10(1 + f / 700)`` [1]; some write ``1127 ln``, and the constant cancels in
    a filterbank. ``slaney`` is straight up to 1 kHz, ``3 f / 200``, and logarithmic above,
    ``15 + 27 ln(f / 1000) / ln 6.4`` [2].

    References:
        [1] S. Young et al., *The HTK Book*, version 3.4, 2006.
        [2] M. Slaney, *Auditory Toolbox*, version 2, Interval Research TR 1998-010, 1998.

    >>> hz_to_mel(torch.tensor([1000.0], dtype=torch.float64), "slaney")
    tensor([15.], dtype=torch.float64)
    """
    if mel_scale == "htk":
        return 2595.0 * torch.log10(1.0 + hz / 700.0)
    above = _SLANEY_BREAK_MEL + torch.log(hz.clamp(min=1e-9) / _SLANEY_BREAK_HZ) / _SLANEY_LOG_STEP
    return torch.where(hz >= _SLANEY_BREAK_HZ, above, hz / _SLANEY_HZ_PER_MEL)


def mel_to_hz(mel: Tensor, mel_scale: MelScale) -> Tensor:
    """Mel to Hz, the inverse of :func:`hz_to_mel`."""
    if mel_scale == "htk":
        return 700.0 * (10.0 ** (mel / 2595.0) - 1.0)
    above = _SLANEY_BREAK_HZ * torch.exp((mel - _SLANEY_BREAK_MEL) * _SLANEY_LOG_STEP)
    return torch.where(mel >= _SLANEY_BREAK_MEL, above, mel * _SLANEY_HZ_PER_MEL)


def _hz_to_natural_mel(hz: Tensor, mel_scale: MelScale) -> Tensor:
    """Hz to mel as those write it who draw triangles in mel: HTK's as ``1127 ln(1 + f / 700)``."""
    return 1127.0 * torch.log(1.0 + hz / 700.0) if mel_scale == "htk" else hz_to_mel(hz, mel_scale)


def mel_filterbank(
    n_mels: int,
    n_fft: int,
    sample_rate: int,
    *,
    f_min: float,
    f_max: float,
    mel_scale: MelScale,
    norm: FilterNorm,
    domain: FilterDomain = "hz",
    shape: FilterShape = "triangle",
    precision: Precision = "float64",
) -> Tensor:
    """Gather FFT bins into mel bands with overlapping triangles.

    The ``n_mels + 2`` edges ``e`` lie evenly on the mel axis from ``f_min`` to ``f_max``. Band
    ``m`` climbs from ``e[m]`` to its peak at ``e[m+1]`` and is back at zero by ``e[m+2]``::

        up[m, k]   = (f[k] - e[m]) / (e[m+1] - e[m])       f[k] = k * sample_rate / n_fft
        down[m, k] = (e[m+2] - f[k]) / (e[m+2] - e[m+1])   W = max(0, min(up, down))

    Args:
        n_mels: Number of bands.
        n_fft: FFT length in samples.
        sample_rate: In Hz.
        f_min: Lowest edge in Hz.
        f_max: Highest edge in Hz, at most ``sample_rate / 2``.
        mel_scale: ``"htk"`` is one smooth curve; ``"slaney"`` is straight up to 1 kHz.
        norm: ``"slaney"`` gives every triangle unit area in Hz, so white noise fills all bands
            alike; ``"l1"`` divides each row by its sum; ``"none"`` leaves the peaks at one.
        domain: The axis on which ``f`` and ``e`` are taken, so on which the triangles are
            straight: ``"hz"`` (librosa, torchaudio) or ``"mel"`` (Kaldi, TensorFlow).
        shape: ``"triangle"`` as above; ``"left_width"`` makes the right side of each triangle as
            wide as its left (SpeechBrain); ``"int_bin"`` moves the edges down to FFT bins, at
            ``floor((n_fft + 1) e / sample_rate)`` (python_speech_features).
        precision: Arithmetic it is computed in. What was trained on a float32 bank differs from
            a float64 one by up to 5e-4 (ln) in near-silent bins.

    Returns:
        Float32 weights of shape ``(n_mels, n_freqs)``, with ``n_freqs = n_fft // 2 + 1``, to be
        used as ``mel = weights @ spectrogram``.

    References:
        S. Young et al., *The HTK Book*, version 3.4, 2006, section 5.4;
        M. Slaney, *Auditory Toolbox*, version 2, Interval Research TR 1998-010, 1998.

    >>> band = dict(f_min=0.0, f_max=8_000.0, mel_scale="slaney", norm="slaney")
    >>> area = mel_filterbank(20, 2048, 16_000, **band).sum(dim=-1) * 16_000 / 2048
    >>> torch.allclose(area, torch.ones(20), atol=1e-3)
    True
    """
    dtype = torch.float64 if precision == "float64" else torch.float32
    to_mel = hz_to_mel if domain == "hz" else _hz_to_natural_mel
    ends = to_mel(torch.tensor([f_min, f_max], dtype=torch.float64), mel_scale).tolist()
    # The order of operations is that of the originals, so that float32 rounds as theirs does:
    # librosa and torchaudio in Hz, Kaldi, TensorFlow and Keras in mel.
    if domain == "hz":
        bins = torch.linspace(0.0, sample_rate * (n_fft // 2) / n_fft, n_fft // 2 + 1, dtype=dtype)
        edges = edges_hz = mel_to_hz(
            torch.linspace(ends[0], ends[1], n_mels + 2, dtype=dtype), mel_scale
        )
    else:
        bins = to_mel(torch.arange(n_fft // 2 + 1, dtype=dtype) * (sample_rate / n_fft), mel_scale)
        step = (ends[1] - ends[0]) / (n_mels + 1)
        edges = ends[0] + torch.arange(n_mels + 2, dtype=dtype) * step
        htk_units = _HTK_UNIT if mel_scale == "htk" else 1.0
        edges_hz = mel_to_hz(edges * htk_units, mel_scale)
    if shape == "int_bin":
        edges = ((n_fft + 1) * edges / sample_rate).floor()
        bins = torch.arange(n_fft // 2 + 1, dtype=dtype)
    width = edges.diff()[:, None]
    right = width[:-1] if shape == "left_width" else width[1:]
    end = edges[1:-1, None] + right if shape == "left_width" else edges[2:, None]
    # Edges on one bin leave a side without width: it has no bins either, so no weight.
    up = (bins - edges[:-2, None]) / width[:-1].clamp(min=_TINY)
    down = (end - bins) / right.clamp(min=_TINY)
    if shape == "int_bin":
        up = torch.where(bins < edges[1:-1, None], up, torch.inf)
    if shape == "left_width":
        slope = (bins - edges[1:-1, None]) / width[:-1]
        up, down = slope + 1.0, 1.0 - slope
    # Rounded before it is scaled, as librosa does, to be equal to it in every bit.
    weights = torch.minimum(up, down).clamp(min=0.0).to(torch.float32).to(dtype)
    if norm == "slaney":
        weights = weights * (2.0 / (edges_hz[2:] - edges_hz[:-2]))[:, None]
    elif norm == "l1":
        weights = weights / weights.sum(dim=1, keepdim=True).clamp(min=torch.finfo(dtype).tiny)
    return weights.to(torch.float32)


def config_filterbank(config: MelConfig) -> Tensor:
    """The filterbank of a front end, ``(n_mels, n_freqs)``."""
    return mel_filterbank(
        config.mel.n_mels,
        config.frame.n_fft,
        config.mel.fb_sample_rate or config.wave.sample_rate,
        f_min=config.mel.f_min,
        f_max=config.f_max,
        mel_scale=config.mel.mel_scale,
        norm=config.mel.fb_norm,
        domain=config.mel.fb_domain,
        shape=config.mel.fb_shape,
        precision=config.mel.fb_precision,
    )


def filterbank_faults(config: MelConfig) -> list[str]:
    """What is wrong with a filterbank that is possible but poor, each with its remedy.

    An empty filter lies between two FFT bins: its band is 0 whatever the sound. A bank of lower
    rank than it has bands says the same thing twice, so not even the bands can be told apart.
    """
    bank = config_filterbank(config).to(torch.float64)
    faults = []
    n_mels, empty = bank.shape[0], (bank.sum(dim=1) == 0).nonzero().flatten().tolist()
    remedy = "fewer mel.n_mels, a larger frame.n_fft, or a higher mel.f_min"
    if empty:
        named = ", ".join(str(band) for band in empty[:5]) + (", ..." if len(empty) > 5 else "")
        faults.append(f"{len(empty)} of {n_mels} filters are empty ({named}): {remedy} helps")
    # The eigenvalues of the rows' products are the squares of the singular values.
    eigenvalues = torch.linalg.eigvalsh(bank @ bank.T)
    rank = int((eigenvalues > eigenvalues.max() * _RANK_TOLERANCE).sum())
    if rank < n_mels - len(empty):
        faults.append(f"{n_mels} bands, but the filterbank has rank {rank}: {remedy} helps")
    return faults


class _Product(Stage):
    """A product with the filterbank, of which 98 % is zeros: each filter meets only its own bins.

    On a CPU, 16 neighbouring filters at a time are multiplied with the bins that any of them
    touches. 16 columns fill a vector register of 512 bits; fewer are slower, not faster, so the
    last group is filled up with empty filters. On a GPU more launches would cost more than zeros.

    Args:
        bank: ``(n_mels, n_freqs)``.
        repeats: How often each bin stands in the rows that are multiplied, one behind the other.
    """

    label = "filterbank"
    scope = "frame"
    bank: Tensor
    weights: Tensor

    def __init__(self, bank: Tensor, repeats: int) -> None:
        super().__init__()
        self.n_mels, self.repeats = bank.shape[0], repeats
        n_columns = -(-self.n_mels // _GROUP) * _GROUP
        bank = torch.nn.functional.pad(bank.T, (0, n_columns - self.n_mels))
        bank = bank.repeat_interleave(repeats, dim=0).contiguous()
        self.register_buffer("bank", bank, persistent=False)
        self._first_bins, self._widths, weights = [], [], []
        self._groups: list[tuple[int, int, Tensor]] | None = None
        for group in torch.split(bank, _GROUP, dim=1):
            touched = group.any(dim=1).nonzero().flatten().tolist() or [0]
            # Never fewer than two bins: a product of one has other roundings.
            first = min(touched[0], bank.shape[0] - 2)
            width = max(2, touched[-1] + 1 - first)
            self._first_bins.append(first)
            self._widths.append(width)
            weights.append(group[first : first + width])
        self.register_buffer("weights", torch.cat(weights).contiguous(), persistent=False)

    @property
    def weight(self) -> Tensor:
        """A copy of the filterbank, ``(n_mels, n_freqs)``."""
        return self.bank[:: self.repeats, : self.n_mels].T.clone()

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:  # noqa: FBT001, FBT002, torch's own
        self._groups = None  # the weights move, or become others
        return super()._apply(fn, recurse)  # type: ignore[no-untyped-call, no-any-return]

    def _product(self, values: Tensor) -> Tensor:
        if values.is_cuda:
            return (values @ self.bank)[..., : self.n_mels]
        if self._groups is None:
            weights = self.weights.split_with_sizes(self._widths)
            self._groups = list(zip(self._first_bins, self._widths, weights, strict=True))
        groups = self._groups
        if values.requires_grad or values.dim() > 2:
            mel = torch.cat([values[..., i : i + n] @ of_bins for i, n, of_bins in groups], dim=-1)
        else:
            mel = values.new_empty(values.shape[0], self.bank.shape[1])
            for (i, n, of_bins), bands in zip(groups, mel.chunk(len(groups), dim=1), strict=True):
                torch.mm(values.narrow(1, i, n), of_bins, out=bands)
        return mel if self.n_mels == mel.shape[-1] else mel[..., : self.n_mels].contiguous()


class MelBands(_Product):
    """The product with the filterbank: ``(n_rows, n_freqs)`` to ``(n_rows, n_mels)``."""

    def __init__(self, bank: Tensor) -> None:
        super().__init__(bank, repeats=1)

    def forward(self, spectrum: Tensor) -> Tensor:
        """``spectrum @ bank``."""
        return self._product(spectrum)


class PowerMelBands(_Product):
    """The power spectrum and its product with the filterbank in one step.

    The real and imaginary parts lie side by side; squared in place, they meet a filterbank in
    which every bin stands twice, so the product adds ``re^2`` and ``im^2`` by itself. That saves
    one pass over the largest block there is.
    """

    def __init__(self, bank: Tensor) -> None:
        super().__init__(bank, repeats=2)

    def forward(self, spectrum: Tensor) -> Tensor:
        """Complex ``(n_rows, n_freqs)`` to power mels ``(n_rows, n_mels)``."""
        parts = torch.view_as_real(spectrum).flatten(-2)
        return self._product(parts.square() if parts.requires_grad else parts.square_())


class LearntBands(Stage):
    """The product with a filterbank that can be learnt, so that every weight counts.

    Args:
        bank: What to start from, ``(n_mels, n_freqs)``.
        learns: Whether it is a parameter, or a constant.
    """

    label = "filterbank"
    scope = "frame"
    weight: Tensor

    def __init__(self, bank: Tensor, *, learns: bool = True) -> None:
        super().__init__()
        if learns:
            self.weight = nn.Parameter(bank)
        else:
            self.register_buffer("weight", bank, persistent=False)

    def forward(self, spectrum: Tensor) -> Tensor:
        """``spectrum @ weight.T``."""
        return spectrum @ self.weight.T


class MelExponent(Stage):
    """Raise every mel to a power, as kapre does after the filterbank."""

    scope = "frame"
    undo = "exact"

    def __init__(self, exponent: float) -> None:
        super().__init__()
        self.exponent = exponent

    def forward(self, mel: Tensor) -> Tensor:
        """``x ^ exponent``."""
        if not mel.requires_grad:
            return self._root(mel)
        # A root has no slope at 0: silence stays 0, and what leads there gets no gradient.
        sounds = mel > 0
        return torch.where(sounds, self._root(torch.where(sounds, mel, 1.0)), 0.0)

    def _root(self, mel: Tensor) -> Tensor:
        return mel.sqrt() if self.exponent == 0.5 else mel.pow(self.exponent)

    def inverse(self, x: Tensor) -> Tensor:
        """``x ^ (1 / exponent)``."""
        return x.pow(1.0 / self.exponent)
