"""melcli.MelSpectrogram: a front end as part of a model, with lengths and what can be learnt."""

from __future__ import annotations

from typing import TYPE_CHECKING, overload

import torch
from torch import Tensor, nn

from melcli import frames
from melcli.dsp.frontend import FrontEnd, compile_with
from melcli.dsp.stft import KernelSpectrum, Spectrum
from melcli.errors import UsageError
from melcli.presets import load

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Self

    from melcli.config import MelConfig


class MelSpectrogram(FrontEnd):
    """The front end of ``melcli extract`` as a torch module: waveforms in, mels out.

    ::

        mel = melcli.MelSpectrogram("whisper-80")
        mels = mel(waveforms)                               # (..., n_mels, n_frames)
        mels, n_frames = mel(waveforms, lengths)            # of a padded batch

    Waveforms are at ``config.wave.sample_rate``: nothing is resampled or mixed here. Each is
    computed by itself, so its mel is, bit for bit, that of the command, alone and in any batch,
    with gradients and without. Where a root or a logarithm has no finite slope, as at digital
    silence, the gradient is 0.

    Numbers are float32, or float64 after ``double()``. Half precision is computed in float32 and
    comes back as it came; ``half()`` and autocast change nothing else.

    The state holds what is learnt, and nothing of a front end that learns nothing: its constants
    follow from the config. With both options the parameters are ``filterbank.weight``
    ``(n_mels, n_freqs)``, ``stft.cosines`` and ``stft.sines`` ``(n_freqs, span)``.

    ``torch.compile`` takes it whole, ``torch.export`` for one shape; `docs/compat.md` says for
    which front ends batch and length may be left open. There the numbers are the same to rounding.

    Args:
        config: A front end, its name, or the path of its file.
        trainable_filterbank: Make the weights of the filterbank parameters.
        trainable_stft: Make the windowed cosines and sines of the transform parameters, which then
            is no FFT any more, and much slower.

    Raises:
        ConfigError: There is no such front end.

    >>> mel = MelSpectrogram.from_config("whisper-80")
    >>> mel(torch.zeros(2, 16_000)).shape  # Whisper's 30 s, whatever the length
    torch.Size([2, 80, 3000])

    What stands behind a waveform's length changes nothing:

    >>> mel, noise = MelSpectrogram("hifigan-22k"), 0.1 * torch.randn(2, 22_050)
    >>> mels, n_frames = mel(noise, lengths=[22_050, 11_025])
    >>> mels.shape, n_frames
    (torch.Size([2, 80, 86]), tensor([86, 43]))
    >>> torch.equal(mels[1, :, :43], mel(noise[1, :11_025]))
    True
    """

    def __init__(
        self,
        config: MelConfig | str,
        *,
        trainable_filterbank: bool = False,
        trainable_stft: bool = False,
    ) -> None:
        config = load(config).config if isinstance(config, str) else config
        spectrum = KernelSpectrum(*Spectrum(config).kernels()) if trainable_stft else None
        stages = compile_with(config, spectrum=spectrum, learns_bank=trainable_filterbank)
        super().__init__(config, stages=stages)

    @classmethod
    def from_config(
        cls,
        config: MelConfig | str,
        *,
        trainable_filterbank: bool = False,
        trainable_stft: bool = False,
    ) -> Self:
        """The same as calling the class."""
        return cls(config, trainable_filterbank=trainable_filterbank, trainable_stft=trainable_stft)

    @overload
    def forward(self, waveforms: Tensor, lengths: None = None) -> Tensor: ...

    @overload
    def forward(
        self, waveforms: Tensor, lengths: Tensor | Sequence[int]
    ) -> tuple[Tensor, Tensor]: ...

    def forward(
        self, waveforms: Tensor, lengths: Tensor | Sequence[int] | None = None
    ) -> Tensor | tuple[Tensor, Tensor]:
        """Mels ``(..., *row_shape, n_rows)`` of waveforms ``(..., n_samples)``.

        In most front ends that is ``(..., n_mels, n_frames)``; ``config.row_shape`` is that of a
        stack or a patch of frames where a front end makes such rows.

        Args:
            waveforms: Floating point, or int16 as it is stored.
            lengths: How many samples of each waveform count, in the shape of the leading axes; the
                rest is padding, which then changes nothing.

        Returns:
            The mels; with lengths also how many rows of each count, int64 in the shape of the
            leading axes. The rest is 0.

        Raises:
            UsageError: A waveform is too short for a row, or lengths do not fit.
        """
        if lengths is None:
            return super().forward(waveforms)
        flat, n_samples = _unpadded(waveforms, lengths)
        mels = [super(MelSpectrogram, self).forward(waveform) for waveform in flat]
        longest = frames.n_rows(self.config, waveforms.shape[-1])
        longest = max((mel.shape[-1] for mel in mels), default=longest)
        padded = [nn.functional.pad(mel, (0, longest - mel.shape[-1])) for mel in mels]
        together = (
            torch.stack(padded) if padded else waveforms.new_empty(0, *self.row_shape, longest)
        )
        n_rows = torch.tensor([mel.shape[-1] for mel in mels], device=together.device)
        shape = n_samples.shape
        return together.reshape(*shape, *together.shape[1:]), n_rows.long().reshape(shape)

    if TYPE_CHECKING:
        __call__ = forward  # torch's own gives anything


def _unpadded(waveforms: Tensor, lengths: Tensor | Sequence[int]) -> tuple[list[Tensor], Tensor]:
    """Each waveform without its padding, and the lengths as a tensor."""
    n_samples = torch.as_tensor(lengths)
    n_samples = n_samples if n_samples.numel() else n_samples.long()
    if n_samples.is_floating_point() or n_samples.is_complex() or n_samples.dtype == torch.bool:
        raise UsageError(f"lengths of {n_samples.dtype}: must be whole numbers of samples")
    if n_samples.shape != waveforms.shape[:-1]:
        raise UsageError(
            f"lengths of shape {tuple(n_samples.shape)}: must be one for each waveform,"
            f" {tuple(waveforms.shape[:-1])}"
        )
    counts = n_samples.flatten().tolist()
    if any(not 0 <= count <= waveforms.shape[-1] for count in counts):
        raise UsageError(
            f"lengths from {min(counts)} to {max(counts)}: must be from 0 to n_samples ="
            f" {waveforms.shape[-1]}"
        )
    flat = waveforms.reshape(-1, waveforms.shape[-1])
    return [row[:count] for row, count in zip(flat, counts, strict=True)], n_samples
