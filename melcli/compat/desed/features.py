"""The mel of the DCASE task 4 recipes, and its decibels."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import torch
from torch import Tensor

from melcli.compat.arguments import config_of
from melcli.compat.decibels import decibels
from melcli.compat.layer import Layer, check_shape
from melcli.dsp.compression import Clip
from melcli.dsp.frontend import FrontEnd
from melcli.dsp.mel import MelBands
from melcli.dsp.precision import HALVES, like_input
from melcli.dsp.stft import Spectrum

if TYPE_CHECKING:
    from collections.abc import Mapping

_FLOOR: Final = 1e-5
_DECIBELS: Final = (-50.0, 80.0)
_NAMES: Final = {
    "wave.sample_rate": "sample_rate",
    "frame.n_fft": "n_window",
    "frame.hop_length": "hop_length",
    "mel.n_mels": "n_mels",
    "mel.f_min": "f_min",
    "mel.f_max": "f_max",
}


class MelSpectrogram(Layer):
    """The mel of magnitudes that the recipes make of ``feats``: ``MelSpectrogram(**feats)``.

    It is ``torchaudio.transforms.MelSpectrogram`` as the recipes call it: a symmetric Hamming
    window, ``power=1``, the HTK scale without a norm. What a model is fed are the decibels of
    this, :func:`take_log`, scaled by a :class:`~melcli.compat.desed.TorchScaler`; the front end
    named ``desed`` is all three.

    What differs from the original:

    - Waveforms of any leading axes are taken, each by itself, and gradients at digital silence
      are 0.
    - With an odd ``n_window`` or ``sample_rate`` the filterbank lies at the true frequencies of
      the bins. A state loaded from the original brings its own filterbank.
    - Arguments that cannot be raise ValueError, each with what is allowed.

    Args:
        n_mels: Number of mel bands.
        n_filters: Read by nothing, as in the recipes.
        hop_length: Step from frame to frame in samples.
        n_window: Length of window and FFT in samples.
        sample_rate: In Hz.
        f_min: Lowest edge in Hz.
        f_max: Highest edge in Hz.

    Raises:
        UsageError: An argument cannot be; a ValueError.

    >>> mel = MelSpectrogram()
    >>> mel(torch.zeros(2, 160_000)).shape
    torch.Size([2, 128, 626])
    """

    def __init__(
        self,
        n_mels: int = 128,
        n_filters: int = 2048,
        hop_length: int = 256,
        n_window: int = 2048,
        sample_rate: int = 16000,
        f_min: float = 0,
        f_max: float = 8000,
    ) -> None:
        given = dict(locals())
        config = config_of(
            {
                "wave.sample_rate": sample_rate,
                "frame.n_fft": n_window,
                "frame.hop_length": hop_length,
                "frame.window": "hamming",
                "frame.window_periodic": False,
                "spec.power": 1.0,
                "mel.n_mels": n_mels,
                "mel.f_min": f_min,
                "mel.f_max": f_max,
                "mel.fb_precision": "float32",
            },
            _NAMES,
            given,
        )
        super().__init__(FrontEnd(config), config)
        self.n_filters = n_filters

    def forward(self, waveforms: Tensor) -> Tensor:
        """Mels ``(..., n_mels, n_frames)`` of waveforms ``(..., n_samples)``.

        Raises:
            UsageError: They are too short.
        """
        mels: Tensor = self.front_end(waveforms)
        return mels

    def original_state(self) -> dict[str, Tensor]:
        """Window and filterbank under torchaudio's names, and in its shapes."""
        return {
            "spectrogram.window": self.front_end.get_buffer("stft.window"),
            "mel_scale.fb": self.front_end.filterbank.weight.T,
        }

    def take_state(self, state: Mapping[str, Tensor]) -> None:
        """Go on with the window and the filterbank of a state.

        Raises:
            ValueError: They are of other sizes.
        """
        for name, known in self.original_state().items():
            check_shape(state[name], known, name)
        spectrum = Spectrum(self.front_end.config, state["spectrogram.window"])
        front_end = self.front_end.with_stage("stft", spectrum)
        self.front_end = front_end.with_stage("filterbank", MelBands(state["mel_scale.fb"].T))


def take_log(mels: Tensor) -> Tensor:
    """The recipes' ``take_log``: ``20 log10(max(mels, 1e-5))``, clamped to [-50, 80].

    So -50 is all below ``10 ^ -2.5``. It is elementwise: nothing depends on the other items of a
    batch. Gradients are 0 where it clamps.

    >>> take_log(torch.tensor([0.0, 1.0, 10.0, 1e5]))
    tensor([-50.,   0.,  20.,  80.])
    """
    x = mels.to(torch.float32) if mels.dtype in HALVES else mels
    level: Tensor = Clip(*_DECIBELS)(decibels(x, factor=20.0, floor=_FLOOR))
    return like_input(level, mels)
