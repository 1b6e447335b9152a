"""Keras's mel spectrogram: ``keras.layers.MelSpectrogram``, as of Keras 3.15."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, Literal

import torch
from torch import Tensor

from melcli import frames
from melcli.compat.arguments import at_least, config_of, one_of, wrong
from melcli.compat.decibels import lifted
from melcli.compat.layer import Layer
from melcli.dsp.frontend import FrontEnd, compile_with
from melcli.dsp.precision import HALVES
from melcli.dsp.stft import Spectrum

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Self

    from numpy.typing import ArrayLike

    from melcli.config import MelConfig

_NAMES: Final = {
    "wave.sample_rate": "sampling_rate",
    "frame.n_fft": "fft_length",
    "frame.win_length": "sequence_length",
    "frame.hop_length": "sequence_stride",
    "spec.power": "mag_exp",
    "mel.n_mels": "num_mel_bins",
    "mel.f_min": "min_freq",
    "mel.f_max": "max_freq",
    "log.range_width": "top_db",
}
_DTYPES: Final = {
    "float16": torch.float16,
    "bfloat16": torch.bfloat16,
    "float32": torch.float32,
    "float64": torch.float64,
    "mixed_float16": torch.float16,
    "mixed_bfloat16": torch.bfloat16,
}
"""What comes out, by type or by Keras's policy."""
_LEAST_POWER: Final = 2.0**-126
"""The least normal float32."""


class MelSpectrogram(Layer):
    """``keras.layers.MelSpectrogram``.

    What differs from the original:

    - ``top_db`` hangs from the maximum of each waveform, so that a quiet one comes out the same
      beside a loud one as alone. The original's maximum is that of the whole batch:
      ``top_db_over="batch"``. None, or infinity, is no ``top_db`` at all.
    - Gradients at digital silence are 0, not NaN.
    - With an odd ``fft_length`` the filterbank lies at the true frequencies of the bins; the
      original spreads them up to ``sampling_rate / 2``.
    - ``window=None`` is a rectangle of ``sequence_length`` ones, as with Keras on torch. On its
      other backends it has ``fft_length`` of them.
    - Arguments that cannot be raise ValueError, each with what is allowed and at construction;
      ``max_freq`` may be half the sampling rate at most, and ``min_power`` is above 0. A waveform
      that is too short for its padding raises one too.
    - :meth:`compute_output_shape` tells the frames that there are, for any number of axes.

    What a trained model depends on is as in the original: triangles that are straight in mel and
    computed in float32, decibels with the factor 10 whatever ``mag_exp`` is, a ``max_freq`` that is
    left out cut to a whole number of Hz, a ``ref_power`` whose sign does not count, and integers
    taken for what they are, not for parts of a full scale.

    Args:
        fft_length: FFT length in samples.
        sequence_stride: Step from frame to frame in samples.
        sequence_length: Window length in samples; None or 0: ``fft_length``.
        window: ``"hann"`` or ``"hamming"``, which are periodic; the window itself, of
            ``sequence_length`` numbers; or None, which is a rectangle.
        sampling_rate: Sample rate in Hz.
        num_mel_bins: Number of mel bands.
        min_freq: Lowest edge in Hz.
        max_freq: Highest edge in Hz; None or 0: half the sampling rate, without its fraction.
        power_to_db: Whether to give decibels.
        top_db: Decibels are lifted to at least this far below the maximum.
        mag_exp: Exponent of the magnitude.
        min_power: What is less becomes this before the logarithm.
        ref_power: What is 0 dB; at least ``min_power``.
        name: Only kept, for :meth:`get_config`.
        dtype: Of what comes out, or the name of one of Keras's policies. It is computed in float64
            if this is ``"float64"``, and otherwise in float32.
        trainable: Only kept: nothing here learns.
        top_db_over: Whose maximum that is: of each waveform, or of the whole batch.

    Raises:
        UsageError: An argument cannot be; a ValueError.

    >>> layer = MelSpectrogram(num_mel_bins=64, sequence_stride=256)
    >>> layer(torch.zeros(2, 16000)).shape
    torch.Size([2, 64, 63])
    >>> layer.compute_output_shape((None, 16000))
    (None, 64, 63)
    """

    def __init__(
        self,
        fft_length: int = 2048,
        sequence_stride: int = 512,
        sequence_length: int | None = None,
        window: str | Tensor | ArrayLike | None = "hann",
        sampling_rate: float = 16000,
        num_mel_bins: int = 128,
        min_freq: float = 20.0,
        max_freq: float | None = None,
        power_to_db: bool = True,
        top_db: float | None = 80.0,
        mag_exp: float = 2.0,
        min_power: float = 1e-10,
        ref_power: float | Tensor = 1.0,
        *,
        name: str | None = None,
        dtype: str | torch.dtype | None = None,
        trainable: bool = True,
        top_db_over: Literal["item", "batch"] = "item",
    ) -> None:
        given = {key: value for key, value in locals().items() if key not in {"self", "__class__"}}
        at_least("sampling_rate", sampling_rate, 1)
        resolved = {
            "sequence_length": sequence_length or fft_length,
            "max_freq": max_freq or int(sampling_rate / 2),
            "name": "mel_spectrogram" if name is None else name,
            "dtype": str(dtype or "float32").removeprefix("torch."),
        }
        one_of("dtype", resolved["dtype"], _DTYPES)
        one_of("top_db_over", top_db_over, ("item", "batch"))
        if isinstance(window, str):
            one_of("window", window, ("hann", "hamming"))
        has_top = power_to_db and top_db is not None and top_db != math.inf
        if has_top:
            at_least("top_db", top_db, 0, above=True)
        config = config_of(
            {
                "wave.sample_rate": sampling_rate,
                "frame.n_fft": fft_length,
                "frame.win_length": resolved["sequence_length"],
                "frame.hop_length": sequence_stride,
                "frame.window": window if isinstance(window, str) else "boxcar",
                "spec.power": mag_exp,
                "mel.n_mels": num_mel_bins,
                "mel.f_min": min_freq,
                "mel.f_max": resolved["max_freq"],
                "mel.fb_domain": "mel",
                "mel.fb_precision": "float32",
                **(_decibels(min_power, ref_power) if power_to_db else {}),
                **(_range(top_db) if has_top and top_db_over == "item" else {}),
            },
            _NAMES,
            given,
        )
        result = _DTYPES[str(resolved["dtype"])]
        computed = torch.float32 if result in HALVES else result
        is_named = window is None or isinstance(window, str)
        spectrum = None if is_named else Spectrum(config, _window(window, config).to(computed))
        over_batch = has_top and top_db_over == "batch"
        # What no config says: a window of numbers, and a maximum of several items.
        told = config if is_named and not over_batch else None
        super().__init__(FrontEnd(config, stages=compile_with(config, spectrum=spectrum)), told)
        self._settings = given | resolved
        self._batch_top_db = top_db if over_batch else None
        self._half = result if result in HALVES else None
        self.to(computed)

    def forward(self, inputs: Tensor | ArrayLike) -> Tensor:
        """Mels ``(..., num_mel_bins, n_frames)``, of the type that ``dtype`` asked for.

        Args:
            inputs: Real numbers of any type, ``(..., n_samples)``.

        Raises:
            UsageError: They are too short, or no real numbers.
        """
        waveform = _tensor(inputs)
        if waveform.is_complex():
            raise wrong("inputs", waveform.dtype, "must be real numbers")
        mel: Tensor = self.front_end(waveform.to(self.front_end.dtype))
        if self._batch_top_db is not None:
            mel = lifted(mel, self._batch_top_db, range(mel.dim()))
        return mel if self._half is None else mel.to(self._half)

    def compute_output_shape(self, input_shape: Sequence[int | None]) -> tuple[int | None, ...]:
        """The shape of what comes out, for inputs of a shape in which None is any size.

        Raises:
            UsageError: What has this shape is too short.
        """
        *leading, n_samples = input_shape
        config = self.front_end.config
        n_frames = None if n_samples is None else frames.n_frames(config, n_samples)
        if n_frames == 0:
            least = frames.shortest(config)
            raise wrong("input_shape", tuple(input_shape), f"must have at least {least} samples")
        return (*leading, config.mel.n_mels, n_frames)

    def get_config(self) -> dict[str, Any]:
        """All arguments, with what stands for those that were left out.

        Keras's layer takes them too, but for ``top_db_over``, which is there only if it is
        ``"batch"``: what Keras always does.
        """
        return {
            key: value
            for key, value in self._settings.items()
            if key != "top_db_over" or value == "batch"
        }

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Self:
        """The layer of a config: of this layer's, or of Keras's, also as it lies in a file."""
        arguments: dict[str, Any] = {key: _unwrapped(value) for key, value in config.items()}
        return cls(**arguments)


def _decibels(min_power: float, ref_power: float | Tensor) -> dict[str, object]:
    at_least("min_power", min_power, _LEAST_POWER)
    reference = ref_power
    if isinstance(ref_power, Tensor) and ref_power.numel() == 1:
        reference = float(ref_power)
    is_number = isinstance(reference, int | float) and not isinstance(reference, bool)
    if not is_number or not math.isfinite(reference):
        raise wrong("ref_power", ref_power, "must be a number, of which the sign does not count")
    return {
        "log.floor_mode": "clamp",
        "log.floor": min_power,
        "log.log": "log10",
        "log.log_mult": 10.0,
        "scale.shift": 10.0 * math.log10(max(abs(float(reference)), min_power)),
    }


def _range(top_db: float | None) -> dict[str, object]:
    return {"log.range_ref": "item_max", "log.range_width": top_db}


def _window(numbers: object, config: MelConfig) -> Tensor:
    """A window that was given."""
    w = _tensor(numbers).detach()
    if w.is_complex() or w.shape != (config.win_length,):
        told = f"{w.dtype} of shape {tuple(w.shape)}"
        raise wrong("window", told, f"must be sequence_length = {config.win_length} real numbers")
    return w


def _tensor(values: object) -> Tensor:
    # A copy of what is none: an array may be one that must not be written to.
    return values if isinstance(values, Tensor) else torch.tensor(values)


def _unwrapped(value: object) -> object:
    """What Keras writes as a class and its config: a type policy, or the numbers of a window."""
    if not isinstance(value, Mapping):
        return value
    config = value["config"]
    return config["name"] if "name" in config else config["value"]
