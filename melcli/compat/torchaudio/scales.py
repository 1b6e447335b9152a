"""torchaudio's way from linear spectra to mels, and back."""

from __future__ import annotations

from typing import TYPE_CHECKING

from melcli.compat.arguments import config_of, one_of, wrong
from melcli.compat.torchaudio.held import Held
from melcli.compat.torchaudio.settings import (
    NAMES,
    filterbank,
    floating,
    in_precision,
    warn_of_empty,
    whole_number,
)
from melcli.dsp.inverse_mel import driven
from melcli.dsp.mel import MelBands, config_filterbank
from melcli.dsp.precision import full_precision, like_input

if TYPE_CHECKING:
    from torch import Tensor

    from melcli.dsp.inversion import PseudoInversion


class _Bank(Held):
    """A filterbank that is known by its number of bins, and the settings it was made by."""

    fb: Tensor
    """The filterbank, ``(n_stft, n_mels)``."""

    def __init__(
        self,
        n_stft: int,
        n_mels: int,
        sample_rate: int,
        f_min: float,
        f_max: float | None,
        norm: str | None,
        mel_scale: str,
    ) -> None:
        given = dict(locals())
        n_freqs = whole_number("n_stft", n_stft, 2)
        n_fft = 2 * (n_freqs - 1)  # that an odd one has as many bins, nothing tells
        names = NAMES | {"frame.n_fft": "n_stft"}
        keys = filterbank(n_mels, n_fft, sample_rate, f_min, f_max, norm, mel_scale)
        config = config_of(keys | {"frame.n_fft": n_fft}, names, given)
        super().__init__("fb", config_filterbank(config).T.contiguous())
        self.n_stft, self.n_mels = n_freqs, config.mel.n_mels
        self.sample_rate, self.f_min, self.f_max = sample_rate, f_min, config.f_max
        self.norm, self.mel_scale = norm, mel_scale

    def extra_repr(self) -> str:
        """What ``print`` shows of it."""
        return f"n_stft={self.n_stft}, n_mels={self.n_mels}, sample_rate={self.sample_rate}"


class MelScale(_Bank):
    """``torchaudio.transforms.MelScale``: gathers the bins of a spectrum into mel bands.

    What differs from the original:

    - ``f_max`` must be above ``f_min``, and at most half the sample rate. The original takes more,
      for filters that are cut off or empty, and equal ones, for filters of nothing.
    - Half precision is computed in float32, and comes back as it came; the original takes none.

    What a trained model depends on is as in the original: the filterbank is computed in float32, at
    an odd rate its bins end at ``sample_rate // 2``, and it is that of the even FFT with so many
    bins. Empty filters are warned of.

    The state is ``fb``, ``(n_stft, n_mels)``, in both directions.

    Args:
        n_mels: Number of mel bands.
        sample_rate: In Hz.
        f_min: Lowest edge in Hz.
        f_max: Highest edge in Hz; None: ``sample_rate // 2``.
        n_stft: Number of bins, ``n_fft // 2 + 1``.
        norm: ``"slaney"`` gives every triangle unit area; None leaves the peaks at one.
        mel_scale: ``"htk"`` or ``"slaney"``.

    Raises:
        UsageError: An argument cannot be; a ValueError.

    >>> import torch
    >>> scale = MelScale(n_mels=64, n_stft=513)
    >>> scale(torch.ones(2, 513, 10)).shape
    torch.Size([2, 64, 10])
    """

    def __init__(
        self,
        n_mels: int = 128,
        sample_rate: int = 16000,
        f_min: float = 0.0,
        f_max: float | None = None,
        n_stft: int = 201,
        norm: str | None = None,
        mel_scale: str = "htk",
    ) -> None:
        super().__init__(n_stft, n_mels, sample_rate, f_min, f_max, norm, mel_scale)
        self.follow()
        warn_of_empty(self.fb.T, "n_stft")

    def follow(self) -> None:
        """Gather by the filterbank that is held."""
        self._bands = MelBands(self.fb.T)

    def forward(self, specgram: Tensor) -> Tensor:
        """Mels ``(..., n_mels, n_frames)`` of spectra ``(..., n_stft, n_frames)``.

        Raises:
            UsageError: They have another number of bins, or another precision.
        """
        if specgram.dim() < 2 or specgram.shape[-2] != self.n_stft:
            told = f"must be (..., n_stft, n_frames), n_stft = {self.n_stft}"
            raise wrong("specgram", tuple(specgram.shape), told)
        rows = in_precision("specgram", specgram, self.fb.dtype).transpose(-1, -2)
        with full_precision(rows.device):
            # Of more than two axes, which take one path, whether compiled or not.
            mels: Tensor = self._bands(rows[None])[0]
        return like_input(mels.transpose(-1, -2), specgram)


class InverseMelScale(_Bank):
    """``torchaudio.transforms.InverseMelScale``: linear spectra of mels, by the pseudo-inverse.

    The least spectrum with this mel, its negative numbers set to 0: ``max(0, pinv(fb^T) mel)``.
    After that its mel is 1 to 20 % off; :class:`melcli.InverseMelScale` finds spectra that have it.

    What differs from the original:

    - ``"gelsy"`` gives what ``"gelsd"`` gives; in torch up to 2.13 it is all zeros or anything.
    - ``"gels"`` with a filterbank without full rank raises ValueError at once, on every device. The
      original raises when it is called, and on CUDA not always. The defaults of `MelSpectrogram`
      make such a filterbank: ``driver="gelsd"`` takes it.
    - Every driver works on every device, for any leading axes, whatever their strides, with
      gradients, and for any floating point type: computed in float64 and rounded once.
    - ``f_max`` as in :class:`MelScale`; 0 is no None.

    The state is ``fb``, ``(n_stft, n_mels)``, in both directions.

    Args:
        n_stft: Number of bins, ``n_fft // 2 + 1``.
        n_mels: Number of mel bands.
        sample_rate: In Hz.
        f_min: Lowest edge in Hz.
        f_max: Highest edge in Hz; None: ``sample_rate // 2``.
        norm: ``"slaney"`` gives every triangle unit area; None leaves the peaks at one.
        mel_scale: ``"htk"`` or ``"slaney"``.
        driver: ``"gels"``, ``"gelsd"``, ``"gelss"`` or ``"gelsy"``. The last three take singular
            values below float32's rounding for 0.

    Raises:
        UsageError: An argument cannot be; a ValueError.

    >>> import torch
    >>> scale, inverse = MelScale(n_mels=64, n_stft=513), InverseMelScale(513, n_mels=64)
    >>> mel = scale(torch.ones(513, 10))
    >>> inverse(mel).shape, bool((inverse(mel) >= 0).all())
    (torch.Size([513, 10]), True)
    """

    _inversion: PseudoInversion

    def __init__(
        self,
        n_stft: int,
        n_mels: int = 128,
        sample_rate: int = 16000,
        f_min: float = 0.0,
        f_max: float | None = None,
        norm: str | None = None,
        mel_scale: str = "htk",
        driver: str = "gels",
    ) -> None:
        one_of("driver", driver, ("gels", "gelsd", "gelss", "gelsy"))
        super().__init__(n_stft, n_mels, sample_rate, f_min, f_max, norm, mel_scale)
        self.driver = driver
        self.follow()
        warn_of_empty(self.fb.T, "n_stft")

    def follow(self) -> None:
        """Invert the filterbank that is held."""
        self._inversion = driven(self.fb.T, self.driver, "driver")

    def forward(self, melspec: Tensor) -> Tensor:
        """Spectra ``(..., n_stft, n_frames)`` of any real mels ``(..., n_mels, n_frames)``.

        Raises:
            UsageError: They have another number of bands, or are no floating point.
        """
        if melspec.dim() < 2 or melspec.shape[-2] != self.n_mels:
            told = f"must be (..., n_mels, n_frames), n_mels = {self.n_mels}"
            raise wrong("melspec", tuple(melspec.shape), told)
        rows = floating("melspec", melspec).transpose(-1, -2)
        return self._inversion.spectra(rows).transpose(-1, -2)
