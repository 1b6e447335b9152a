"""From mels back to linear spectra as a torch module, by name of method."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, get_args

import torch
from torch import Tensor, nn

from melcli.config import MelConfig
from melcli.dsp.inversion import TOLERANCE, BandInversion, Inverted, PseudoInversion
from melcli.dsp.mel import config_filterbank
from melcli.errors import UsageError
from melcli.presets import load

Driver = Literal["nnls", "pinv", "gels", "gelsd", "gelss", "gelsy"]


class InverseMelScale(nn.Module):
    """Finds linear spectra with given mels: ``A x = m``, ``x >= 0``.

    ``nnls`` looks for spectra that have the mel, to a tolerance, and are as smooth as they can be:
    see :mod:`melcli.dsp.inversion`. ``pinv`` multiplies by the pseudo-inverse and sets what is
    negative to 0; its mel is 1 to 20 % off. ``gels``, ``gelsd``, ``gelss`` and ``gelsy`` are what
    torchaudio calls its ways to the same numbers: ``gels`` refuses a filterbank without full rank,
    the others take singular values below float32's rounding for 0.

    The mels are linear: what a filterbank gives, before any logarithm. A power mel yields a power
    spectrum. The module takes mels ``(..., n_mels, n_frames)`` and gives spectra
    ``(..., n_freqs, n_frames)`` of the same dtype. Gradients flow back to the mels.

    Args:
        bank: A front end, its name, the path of its file, or a filterbank ``(n_mels, n_freqs)``.
        method: Which of these.
        tolerance: For ``nnls``: the residual ``|A x - m| / |m|`` at which a frame is done.

    Raises:
        UsageError: There is no such method, or no such tolerance; or ``gels`` meets a filterbank
            without full rank.
        ConfigError: A front end that cannot be.

    >>> from melcli import MelSpectrogram
    >>> mels = MelSpectrogram("resemblyzer-40")(torch.randn(1600))  # it has no logarithm
    >>> spectra, residuals, n_steps = InverseMelScale("resemblyzer-40").solve(mels)
    >>> mels.shape, spectra.shape, bool((spectra >= 0).all()), bool((residuals <= 1e-5).all())
    (torch.Size([40, 11]), torch.Size([201, 11]), True, True)

    Of a bank of bands that are flat and four bins wide:

    >>> mel = InverseMelScale(torch.eye(3).repeat_interleave(4, dim=1))
    >>> mel(torch.tensor([[1.0], [0.0], [2.0]])).squeeze()
    tensor([0.2500, 0.2500, 0.2500, 0.2500, 0.0000, 0.0000, 0.0000, 0.0000, 0.5000,
            0.5000, 0.5000, 0.5000])
    """

    def __init__(
        self,
        bank: MelConfig | str | Tensor,
        method: Driver = "nnls",
        *,
        tolerance: float = TOLERANCE,
    ) -> None:
        super().__init__()
        if method not in get_args(Driver):
            known = ", ".join(get_args(Driver))
            raise UsageError(f"method = {method!r}: must be one of {known}")
        if not 0 < tolerance < 1:
            raise UsageError(f"tolerance = {tolerance!r}: must be above 0 and below 1")
        if isinstance(bank, str):
            bank = load(bank).config
        if isinstance(bank, MelConfig):
            bank = config_filterbank(bank)
        if bank.dim() != 2 or bank.numel() == 0 or not bool((bank >= 0).all()):
            raise UsageError(
                f"bank of shape {tuple(bank.shape)}: must be (n_mels, n_freqs), and never negative"
            )
        self.method, self.n_mels, self.n_freqs = method, bank.shape[0], bank.shape[1]
        self._inversion = _inversion(bank, method, tolerance)

    def forward(self, mels: Tensor) -> Tensor:
        """Spectra ``(..., n_freqs, n_frames)`` of mels ``(..., n_mels, n_frames)``.

        Raises:
            UsageError: As of :meth:`solve`.
        """
        return self.solve(mels).spectra

    if TYPE_CHECKING:
        __call__ = forward  # torch's own gives anything

    def solve(self, mels: Tensor) -> Inverted:
        """Spectra as :meth:`forward` gives them, and how far off the mel of each frame is.

        Residuals and numbers of steps are ``(..., n_frames)``.

        Raises:
            UsageError: They have another number of bands, or hold what no filterbank gives: a
                negative number, NaN or infinity.
        """
        if mels.dim() < 2 or mels.shape[-2] != self.n_mels:
            raise UsageError(
                f"mels of shape {tuple(mels.shape)}: must be (..., {self.n_mels}, n_frames)"
            )
        if not bool((torch.isfinite(mels) & (mels >= 0)).all()):
            raise UsageError("mels hold a negative number, NaN or infinity: they must be linear")
        rows = mels.transpose(-1, -2)
        found: Inverted = self._inversion(rows.reshape(-1, self.n_mels))
        spectra = found.spectra.reshape(*rows.shape[:-1], self.n_freqs)
        return Inverted(
            spectra.transpose(-1, -2).to(mels.dtype),
            found.residuals.reshape(rows.shape[:-1]),
            found.n_steps.reshape(rows.shape[:-1]),
        )

    def extra_repr(self) -> str:
        """What ``print`` shows of it."""
        return f"{self.n_mels} bands, {self.n_freqs} bins, method={self.method!r}"


def driven(bank: Tensor, driver: str, argument: str = "method") -> PseudoInversion:
    """What one of torchaudio's drivers does, where its LAPACK is not at fault.

    Args:
        bank: The filterbank, ``(n_mels, n_freqs)``.
        driver: ``"gels"``, ``"gelsd"``, ``"gelss"`` or ``"gelsy"``.
        argument: What an error calls that.

    Raises:
        UsageError: ``gels`` meets a filterbank without full rank.
    """
    # The rounding of float32, in which the originals call LAPACK.
    rcond = torch.finfo(torch.float32).eps * max(bank.shape)
    if driver == "gels":
        singular = torch.linalg.svdvals(bank.to(torch.float64))
        rank = int((singular > singular[0] * rcond).sum())
        if rank < min(bank.shape):
            raise UsageError(
                f"{argument} = 'gels': the filterbank has rank {rank}, not {min(bank.shape)}",
                None,
                "gelsd takes any rank",
            )
    return PseudoInversion(bank, rcond)


def _inversion(bank: Tensor, method: Driver, tolerance: float) -> nn.Module:
    if method == "nnls":
        return BandInversion(bank, tolerance)
    return PseudoInversion(bank) if method == "pinv" else driven(bank, method)
