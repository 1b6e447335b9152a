"""torchaudio's way from waveforms to spectra and mels."""

from __future__ import annotations

import copy
import math
import warnings
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from melcli.compat.arguments import at_least, config_of, one_of
from melcli.compat.layer import Layer, check_shape
from melcli.compat.torchaudio.settings import (
    NAMES,
    filterbank,
    floating,
    framing,
    in_precision,
    make_window,
    padding,
    pads_itself,
    scaling,
    warn_of_empty,
    window_name,
)
from melcli.dsp.frontend import FrontEnd, compile_with
from melcli.dsp.precision import HALVES
from melcli.dsp.stft import Magnitude, Spectrum
from melcli.dsp.waveform import PadWaveform
from melcli.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from melcli.config import MelConfig
    from melcli.dsp.stage import Stage


class _WindowedSpectrum(Spectrum):
    """A spectrum that remembers its window as it was given, neither padded nor scaled."""

    plain: Tensor

    def __init__(self, config: MelConfig, w: Tensor) -> None:
        super().__init__(config, w)
        self.register_buffer("plain", w, persistent=False)


class _Transform(Layer):
    """What both transforms do with a waveform before it is cut into frames.

    Args:
        front_end: What computes.
        config: As of a layer.
        pad: Zeros on both sides.
        pad_mode: What else is padded.
        center: Whether it is.
    """

    def __init__(
        self,
        front_end: FrontEnd,
        config: MelConfig | None,
        *,
        pad: int,
        pad_mode: str,
        center: bool,
    ) -> None:
        super().__init__(front_end, config)
        frame = front_end.config.frame
        self.n_fft, self.hop_length = frame.n_fft, frame.hop_length
        self.win_length = front_end.config.win_length
        self.pad, self.pad_mode, self.center = pad, pad_mode, center

    @property
    def window(self) -> Tensor:
        """As ``window_fn`` gave it, ``(win_length,)``."""
        return self.front_end.stft.plain  # type: ignore[return-value]  # ours has it

    def _take_window(self, window: Tensor) -> None:
        stage = _WindowedSpectrum(self.front_end.config, window)
        self.front_end = self.front_end.with_stage("stft", stage)

    def _padded(self, waveform: Tensor) -> Tensor:
        """A waveform as the front end takes it."""
        if floating("waveform", waveform).dtype in HALVES:  # what is made of it is beyond them
            waveform = waveform.float()
        if not pads_itself(self.pad_mode, center=self.center) or waveform.dim() == 0:
            return waveform
        flat = waveform.reshape(math.prod(waveform.shape[:-1]), 1, waveform.shape[-1])
        flat = torch.nn.functional.pad(flat, (self.pad, self.pad))
        around = self.n_fft // 2
        least = around if self.pad_mode == "circular" else 1
        if flat.shape[-1] < least:
            needs = f"pad_mode = {self.pad_mode!r} needs {least}"
            raise UsageError(f"waveforms of {flat.shape[-1]} samples: {needs}")
        flat = torch.nn.functional.pad(flat, (around, around), mode=self.pad_mode)
        return flat.reshape(*waveform.shape[:-1], flat.shape[-1])


class Spectrogram(_Transform):
    """``torchaudio.transforms.Spectrogram``: waveforms to spectra.

    What differs from the original:

    - Gradients at digital silence are 0 for every ``power``; the original's are NaN below 1.
    - Arguments that cannot be raise ValueError, each with what is allowed, and so does a waveform
      that is too short for its padding. ``power`` must be above 0.
    - Batches may be empty.

    The state is ``window``, ``(win_length,)``, in both directions.

    Args:
        n_fft: FFT length in samples.
        win_length: Window length in samples; None: ``n_fft``.
        hop_length: Step from frame to frame in samples; None: ``win_length // 2``.
        pad: Zeros put before and behind.
        window_fn: Makes the window of a length.
        power: Exponent of the magnitude; None gives the complex spectrum.
        normalized: ``"window"``, or True, divides the spectrum by the root of the window's energy,
            ``"frame_length"`` by that of ``n_fft``.
        wkwargs: Further arguments of ``window_fn``.
        center: Pad ``n_fft // 2`` samples on both sides.
        pad_mode: ``"reflect"``, ``"constant"``, ``"replicate"`` or ``"circular"``.
        onesided: Leave out the bins above half the rate, which mirror those below.
        return_complex: Without effect, for long; ``power=None`` is what it was.

    Raises:
        UsageError: An argument cannot be; a ValueError.

    >>> Spectrogram(n_fft=512)(torch.zeros(2, 16000)).shape
    torch.Size([2, 257, 63])
    """

    def __init__(
        self,
        n_fft: int = 400,
        win_length: int | None = None,
        hop_length: int | None = None,
        pad: int = 0,
        window_fn: Callable[..., Tensor] = torch.hann_window,
        power: float | None = 2.0,
        normalized: bool | str = False,
        wkwargs: Mapping[str, Any] | None = None,
        center: bool = True,
        pad_mode: str = "reflect",
        onesided: bool = True,
        return_complex: bool | None = None,
    ) -> None:
        given = dict(locals())
        one_of("onesided", onesided, (True, False))
        if return_complex is not None:
            warnings.warn("return_complex has no effect: power=None is complex", stacklevel=2)
        if power is not None:
            at_least("power", power, 0, above=True)
        keys = framing(n_fft, win_length, hop_length, window_fn, wkwargs)
        keys |= padding(pad, pad_mode, center=center) | scaling(normalized)
        config = config_of(keys, NAMES, given)
        stages = _stages(config, make_window(window_fn, wkwargs, config), power)
        front_end = FrontEnd(config, stages=stages)
        super().__init__(front_end, None, pad=pad, pad_mode=pad_mode, center=center)
        self.power, self.normalized, self.onesided = power, normalized, onesided

    def forward(self, waveform: Tensor) -> Tensor:
        """Spectra ``(..., n_freqs, n_frames)`` of waveforms ``(..., n_samples)``.

        ``n_freqs`` is ``n_fft // 2 + 1``, or ``n_fft`` with ``onesided=False``.

        Args:
            waveform: Float64 is computed in float64, all else in the precision of the module.

        Raises:
            UsageError: They are too short, or no floating point.
        """
        samples, front_end = self._padded(waveform), self.front_end
        if samples.dtype == torch.float64 != front_end.dtype:
            front_end = copy.deepcopy(front_end).double()
        spectra: Tensor = front_end(samples)
        if self.onesided:
            return spectra
        mirrored = spectra[..., 1 : (self.n_fft + 1) // 2, :].flip(-2)
        return torch.cat([spectra, mirrored.conj()], dim=-2)

    def original_state(self) -> dict[str, Tensor]:
        """The window as it was given."""
        return {"window": self.window}

    def take_state(self, state: Mapping[str, Tensor]) -> None:
        """Go on with the window of a state.

        Raises:
            ValueError: It is of another length.
        """
        check_shape(state["window"], self.window, "window")
        self._take_window(state["window"])


class MelSpectrogram(_Transform):
    """``torchaudio.transforms.MelSpectrogram``: waveforms to mels.

    What differs from the original:

    - Gradients at digital silence are 0 for every ``power``; the original's are NaN below 1.
    - With an odd ``n_fft`` the filterbank lies at the true frequencies of the bins; the original
      spreads them up to half the rate. A state loaded from the original brings the filterbank that
      it was trained with.
    - Arguments that cannot be raise ValueError, each with what is allowed, and so does a waveform
      that is too short for its padding: ``power=None`` at once, ``f_max`` above half the sample
      rate or not above ``f_min``, ``power`` of 0 or less.
    - Batches may be empty.

    What a trained model depends on is as in the original: the filterbank is computed in float32,
    and at an odd rate its bins end at ``sample_rate // 2``. Empty filters are warned of: at the
    defaults 4 of 128 are empty.

    The state has the names and shapes of torchaudio's, ``spectrogram.window`` and ``mel_scale.fb``,
    in both directions; what was made elsewhere is used as it is.

    Args:
        sample_rate: In Hz.
        n_fft: FFT length in samples.
        win_length: Window length in samples; None: ``n_fft``.
        hop_length: Step from frame to frame in samples; None: ``win_length // 2``.
        f_min: Lowest edge in Hz.
        f_max: Highest edge in Hz; None: ``sample_rate // 2``.
        pad: Zeros put before and behind.
        n_mels: Number of mel bands.
        window_fn: Makes the window of a length.
        power: Exponent of the magnitude.
        normalized: ``"window"``, or True, divides the spectrum by the root of the window's energy,
            ``"frame_length"`` by that of ``n_fft``.
        wkwargs: Further arguments of ``window_fn``.
        center: Pad ``n_fft // 2`` samples on both sides.
        pad_mode: ``"reflect"``, ``"constant"``, ``"replicate"`` or ``"circular"``.
        onesided: Without effect, for long.
        norm: ``"slaney"`` gives every triangle unit area; None leaves the peaks at one.
        mel_scale: ``"htk"`` or ``"slaney"``.

    Raises:
        UsageError: An argument cannot be; a ValueError.

    >>> mel = MelSpectrogram(16000, n_fft=1024, n_mels=64)
    >>> mel(torch.zeros(2, 16000)).shape, mel.config.frame.hop_length
    (torch.Size([2, 64, 32]), 512)
    """

    def __init__(
        self,
        sample_rate: int = 16000,
        n_fft: int = 400,
        win_length: int | None = None,
        hop_length: int | None = None,
        f_min: float = 0.0,
        f_max: float | None = None,
        pad: int = 0,
        n_mels: int = 128,
        window_fn: Callable[..., Tensor] = torch.hann_window,
        power: float = 2.0,
        normalized: bool | str = False,
        wkwargs: Mapping[str, Any] | None = None,
        center: bool = True,
        pad_mode: str = "reflect",
        onesided: bool | None = None,
        norm: str | None = None,
        mel_scale: str = "htk",
    ) -> None:
        given = dict(locals())
        if onesided is not None:
            warnings.warn("onesided has no effect on mels", stacklevel=2)
        at_least("power", power, 0, above=True)
        keys = framing(n_fft, win_length, hop_length, window_fn, wkwargs)
        keys |= padding(pad, pad_mode, center=center) | scaling(normalized)
        keys |= filterbank(n_mels, n_fft, sample_rate, f_min, f_max, norm, mel_scale)
        config = config_of(keys | {"spec.power": power}, NAMES, given)
        window = make_window(window_fn, wkwargs, config).to(torch.float32)
        stages = compile_with(config, spectrum=_WindowedSpectrum(config, window))
        is_told = window_name(window_fn, wkwargs) is not None
        is_told = is_told and not pads_itself(pad_mode, center=center)
        super().__init__(
            FrontEnd(config, stages=stages),
            config if is_told else None,
            pad=pad,
            pad_mode=pad_mode,
            center=center,
        )
        self.sample_rate, self.n_mels = config.wave.sample_rate, config.mel.n_mels
        self.f_min, self.f_max, self.power, self.normalized = f_min, f_max, power, normalized
        warn_of_empty(self.front_end.filterbank.weight, "n_fft")

    def forward(self, waveform: Tensor) -> Tensor:
        """Mels ``(..., n_mels, n_frames)`` of waveforms ``(..., n_samples)``.

        Args:
            waveform: In the precision of the module; half precision gives float32.

        Raises:
            UsageError: They are too short, or of another type.
        """
        samples = self._padded(waveform)
        return self.front_end(in_precision("waveform", samples, self.front_end.dtype))  # type: ignore[no-any-return]

    def original_state(self) -> dict[str, Tensor]:
        """Window and filterbank under torchaudio's names, and in its shapes."""
        return {
            "spectrogram.window": self.window,
            "mel_scale.fb": self.front_end.filterbank.weight.T,
        }

    def take_state(self, state: Mapping[str, Tensor]) -> None:
        """Go on with the window and the filterbank of a state.

        Raises:
            ValueError: They are of other sizes.
        """
        known = self.original_state()
        for name, tensor in known.items():
            check_shape(state[name], tensor, name)
        self._take_window(state["spectrogram.window"])
        bank = type(self.front_end.filterbank)(state["mel_scale.fb"].T)
        self.front_end = self.front_end.with_stage("filterbank", bank)


def _stages(config: MelConfig, window: Tensor, power: float | None) -> Iterator[Stage]:
    """Those of a spectrum without a filterbank."""
    if config.wave.wave_pad != (0, 0):
        yield PadWaveform(*config.wave.wave_pad)
    yield _WindowedSpectrum(config, window)
    if power is not None:
        yield Magnitude(power, 0.0, "add")
