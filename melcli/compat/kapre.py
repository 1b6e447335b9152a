"""The layers of kapre as DAS has it: ``kapre.time_frequency`` of kapre 0.1.4, as of DAS 0.32."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Literal

from torch import Tensor, nn

from melcli.compat.arguments import at_least, config_of, one_of, whole, wrong
from melcli.compat.decibels import decibels
from melcli.compat.layer import Layer, check_shape, constant_spectrum, put
from melcli.dsp.compression import Floor
from melcli.dsp.frontend import FrontEnd, compile_with
from melcli.dsp.mel import MelExponent
from melcli.dsp.precision import HALVES, computed_as, like_input
from melcli.dsp.stft import KernelSpectrum, Magnitude, Spectrum

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from typing import Self

    from melcli.config import MelConfig
    from melcli.dsp.stage import Stage

_AMIN: Final = 1e-10
_DYNAMIC_RANGE: Final = 80.0
_OF_KERAS: Final = frozenset({"trainable", "dtype", "batch_input_shape"})
"""What Keras puts into the config of any layer."""
_NAMES: Final = {
    "wave.sample_rate": "sr",
    "frame.n_fft": "n_dft",
    "frame.hop_length": "n_hop",
    "spec.power": "power_spectrogram",
    "mel.n_mels": "n_mels",
    "mel.f_min": "fmin",
    "mel.f_max": "fmax",
    "mel.mel_exponent": "power_melgram",
}
_NORMS: Final = {1: "l1", "slaney": "slaney", None: "none"}
_FLAGS: Final = frozenset(
    {
        "return_decibel_spectrogram",
        "return_decibel_melgram",
        "trainable_kernel",
        "trainable_fb",
        "htk",
    }
)
_DECIBELS: Final = {
    "log.floor_mode": "clamp",
    "log.floor": _AMIN,
    "log.log": "log10",
    "log.log_mult": 10.0,
    "log.range_ref": "item_max",
    "log.range_width": _DYNAMIC_RANGE,
    "log.range_subtract": True,
}

ImageDataFormat = Literal["default", "channels_first", "channels_last"]


class _Configured:
    """What Keras asks of a layer."""

    _settings: dict[str, Any]

    def get_config(self) -> dict[str, Any]:
        """All arguments, with what stands for those that were left out."""
        return dict(self._settings)

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Self:
        """The layer of a config: of this layer's, or of kapre's.

        What Keras adds to that is left out: its type, the shape of its input, and ``trainable``,
        for which there is ``requires_grad_``.
        """
        return cls(**{key: value for key, value in config.items() if key not in _OF_KERAS})


class _TimeFrequency(_Configured, Layer):
    """What both layers are: each channel by itself, its decibels with all channels together.

    Args:
        front_end: From the waveform of a channel to what it becomes, without decibels.
        config: The same as ``melcli extract --config`` takes it, for one channel; or None.
        settings: The arguments, with what stands for those that were left out.
        in_decibels: Whether decibels come out.
        axes: The order of sample, channel, bin and frame in which that comes out.
    """

    def __init__(
        self,
        front_end: FrontEnd,
        config: MelConfig | None,
        settings: dict[str, Any],
        *,
        in_decibels: bool,
        axes: tuple[int, int, int, int],
    ) -> None:
        super().__init__(front_end, config)
        self._settings, self._in_decibels, self._axes = settings, in_decibels, axes

    def forward(self, x: Tensor) -> Tensor:
        """The spectrograms of all channels.

        Args:
            x: ``(batch, n_samples, channels)``, whatever ``image_data_format`` is: floating point,
                or int16 as it is stored.

        Raises:
            UsageError: Another shape, or too short.
        """
        if x.dim() != 3:
            raise wrong("x", tuple(x.shape), "must be (batch, n_samples, channels)")
        found: Tensor = self.front_end(computed_as(self.front_end.dtype, x.transpose(1, 2)))
        if self._in_decibels:
            found = amplitude_to_decibel(found)
        return like_input(found.permute(self._axes), x)

    def compute_output_shape(self, input_shape: Sequence[int | None]) -> tuple[int | None, ...]:
        """The shape of what comes out, for inputs of a shape in which None is any size.

        Raises:
            UsageError: What has this shape is too short.
        """
        if len(input_shape) != 3:
            raise wrong("input_shape", tuple(input_shape), "must be (batch, n_samples, channels)")
        n_items, n_samples, n_channels = input_shape
        n_dft, n_hop, padding = (self._settings[key] for key in ("n_dft", "n_hop", "padding"))
        n_frames = conv_output_length(n_samples, n_dft, padding, n_hop)
        if n_frames is not None and n_frames < 1:
            least = 1 if padding == "same" else n_dft
            raise wrong("input_shape", tuple(input_shape), f"must have at least {least} samples")
        n_bins = self._settings.get("n_mels", n_dft // 2 + 1)
        sizes = (n_items, n_channels, n_bins, n_frames)
        return tuple(sizes[axis] for axis in self._axes)

    def original_state(self) -> dict[str, Tensor]:
        """The kernels under kapre's names, and in its shapes."""
        cosines, sines = self.front_end.stft.kernels()
        return {
            "real_kernels": cosines.T[:, None, None],
            "imag_kernels": -sines.T[:, None, None],
        }

    def take_state(self, state: Mapping[str, Tensor]) -> None:
        """Go on with the kernels of a state.

        Raises:
            ValueError: They are of other sizes.
        """
        for name, known in self.original_state().items():
            check_shape(state[name], known, name)
        real, imag = (state[name].flatten(1).T for name in ("real_kernels", "imag_kernels"))
        if self._settings["trainable_kernel"]:
            for known, given in zip(self.front_end.stft.kernels(), (real, -imag), strict=True):
                put(known, given)
        else:
            stage = constant_spectrum(self.front_end.config, real, -imag)
            self.front_end = self.front_end.with_stage("stft", stage)


class Spectrogram(_TimeFrequency):
    """``kapre.time_frequency.Spectrogram`` of DAS.

    What differs from the original:

    - ``trainable_kernel`` is what it says. In DAS it does nothing: on TensorFlow the kernels are
      always trained, with Keras 3 never. :meth:`load_state_dict` takes kernels that were trained
      there, and computes with them also where this layer does not train them.
    - Gradients at digital silence are 0, not NaN.
    - A clip shorter than ``n_dft`` has its spectrogram where zeros are put around it. The original
      refuses one if it is told the length in advance, and not otherwise.
    - Arguments that cannot be raise ValueError, each with what is allowed, where the original has
      AssertionError.
    - :meth:`compute_output_shape` tells what comes out, also with channels first, of any input and
      before the first call. ``"default"`` is channels last, whatever is set elsewhere.

    What a trained model depends on is as in the original: a periodic Hann window; zeros around the
    waveform as TensorFlow puts them, so that a frame begins half of all padding before a whole
    hop; decibels with the factor 10, also of magnitudes, below the maximum of a sample with all
    its channels, and at least -80.

    The state has the names and shapes of kapre's weights: ``real_kernels`` and ``imag_kernels``,
    ``(n_dft, 1, 1, n_dft // 2 + 1)``.

    Args:
        n_dft: FFT and window length in samples, a power of two.
        n_hop: Step from frame to frame in samples; None: half of ``n_dft``.
        padding: ``"same"`` puts zeros around the waveform, for a frame a hop; ``"valid"`` none.
        power_spectrogram: Exponent of the magnitude.
        return_decibel_spectrogram: Whether to give decibels.
        trainable_kernel: Make the kernels of the transform parameters.
        image_data_format: ``"channels_last"``, which is ``"default"`` too, or
            ``"channels_first"``: the order of the axes of what comes out.
        name: Only kept, for :meth:`get_config`.

    Raises:
        UsageError: An argument cannot be; a ValueError.

    >>> import torch
    >>> Spectrogram()(torch.zeros(4, 16000, 1)).shape  # (batch, time, frequency, channel)
    torch.Size([4, 63, 257, 1])
    >>> Spectrogram(image_data_format="channels_first")(torch.zeros(4, 16000, 1)).shape
    torch.Size([4, 1, 257, 63])
    """

    def __init__(
        self,
        n_dft: int = 512,
        n_hop: int | None = None,
        padding: Literal["same", "valid"] = "same",
        power_spectrogram: float = 2.0,
        return_decibel_spectrogram: bool = False,
        trainable_kernel: bool = False,
        image_data_format: ImageDataFormat = "default",
        *,
        name: str | None = None,
    ) -> None:
        given = {key: value for key, value in locals().items() if key not in {"self", "__class__"}}
        settings = given | _resolved(given) | {"name": "spectrogram" if name is None else name}
        config = config_of(_framing(settings) | {"spec.power": power_spectrogram}, _NAMES, given)
        stages: tuple[Stage, ...] = (
            _learnt_spectrum(config) if trainable_kernel else Spectrum(config),
            Magnitude(power_spectrogram, 0.0, "add"),
        )
        settings["power_spectrogram"] = float(power_spectrogram)
        super().__init__(
            FrontEnd(config, stages=stages),
            None,
            settings,
            in_decibels=return_decibel_spectrogram,
            axes=(0, 3, 2, 1) if settings["image_data_format"] == "channels_last" else (0, 1, 2, 3),
        )


class Melspectrogram(_TimeFrequency):
    """``kapre.time_frequency.Melspectrogram`` of DAS.

    What differs from the original:

    - All that is said of :class:`Spectrogram`; and ``trainable_fb`` is what it says, too.
    - ``image_data_format="channels_first"`` works, and gives ``(batch, channels, n_mels, time)``.
    - Where a filterbank that was trained gives less than 0, its root is 0, not NaN.
    - ``norm`` is 1, ``"slaney"`` or None; ``fmax`` is half the sample rate at most, and that rate a
      whole number.
    - ``return_decibel_spectrogram=True``, which has the original filter decibels, raises
      ValueError. Nothing is printed.

    What a trained model depends on is as in the original: the filterbank takes powers, and what
    comes of it is the root of them, to the power ``power_melgram``. ``norm=1`` makes each filter's
    weights add up to one, as in librosa since 0.8; kapre was written for an older one, where it
    meant ``"slaney"``. The state has the filterbank too: ``Variable``, of shape
    ``(n_dft // 2 + 1, n_mels)``.

    ``config`` is the front end of one channel. Several share their maximum in decibels, which no
    config says.

    Args:
        sr: Sample rate in Hz.
        n_mels: Number of mel bands.
        fmin: Lowest edge in Hz.
        fmax: Highest edge in Hz; None: half the sample rate.
        power_melgram: Exponent of the root of the mel of powers; 2 gives that mel itself.
        return_decibel_melgram: Whether to give decibels.
        trainable_fb: Make the filterbank a parameter.
        htk: The HTK mel scale; Slaney's otherwise.
        norm: 1 divides each filter by its sum, ``"slaney"`` gives it unit area in Hz, None leaves
            its peak at one.
        n_dft: As for :class:`Spectrogram`, and so all that follow.
        n_hop: Step from frame to frame in samples.
        padding: ``"same"`` or ``"valid"``.
        power_spectrogram: Only 2, as in the original.
        return_decibel_spectrogram: Only False.
        trainable_kernel: Make the kernels of the transform parameters.
        image_data_format: The order of the axes of what comes out.
        name: Only kept, for :meth:`get_config`.

    Raises:
        UsageError: An argument cannot be; a ValueError.

    >>> import torch
    >>> Melspectrogram(sr=16000, n_mels=40)(torch.zeros(4, 16000, 1)).shape
    torch.Size([4, 40, 63, 1])
    """

    def __init__(
        self,
        sr: float = 22050,
        n_mels: int = 128,
        fmin: float = 0.0,
        fmax: float | None = None,
        power_melgram: float = 1.0,
        return_decibel_melgram: bool = False,
        trainable_fb: bool = False,
        htk: bool = False,
        norm: Literal[1, "slaney"] | None = 1,
        *,
        n_dft: int = 512,
        n_hop: int | None = None,
        padding: Literal["same", "valid"] = "same",
        power_spectrogram: float = 2.0,
        return_decibel_spectrogram: bool = False,
        trainable_kernel: bool = False,
        image_data_format: ImageDataFormat = "default",
        name: str | None = None,
    ) -> None:
        given = {key: value for key, value in locals().items() if key not in {"self", "__class__"}}
        settings = given | _resolved(given) | {"name": "melspectrogram" if name is None else name}
        if power_spectrogram != 2.0 or return_decibel_spectrogram:
            faulty = (
                "power_spectrogram" if power_spectrogram != 2.0 else "return_decibel_spectrogram"
            )
            raise wrong(faulty, given[faulty], "must be left out: the filterbank takes powers")
        one_of("norm", whole(norm), _NORMS)
        at_least("power_melgram", power_melgram, 0, above=True)
        of_config = _framing(settings) | {
            "wave.sample_rate": sr,
            "mel.n_mels": n_mels,
            "mel.f_min": fmin,
            "mel.f_max": fmax,
            "mel.mel_scale": "htk" if htk else "slaney",
            "mel.fb_norm": _NORMS[norm],
            "mel.mel_exponent": power_melgram / 2.0,
        }
        config = config_of(of_config, _NAMES, given)
        told = config_of(of_config | _DECIBELS, _NAMES, given) if return_decibel_melgram else config
        spectrum = _learnt_spectrum(config) if trainable_kernel else None
        stages = compile_with(config, spectrum=spectrum, learns_bank=trainable_fb)
        settings |= {"sr": config.wave.sample_rate, "fmax": config.f_max, "power_spectrogram": 2.0}
        super().__init__(
            FrontEnd(config, stages=_without_negative(stages)),
            told,
            settings,
            in_decibels=return_decibel_melgram,
            axes=(0, 2, 3, 1) if settings["image_data_format"] == "channels_last" else (0, 1, 2, 3),
        )

    def original_state(self) -> dict[str, Tensor]:
        """Kernels and filterbank under kapre's names, and in its shapes."""
        return super().original_state() | {"Variable": self.front_end.filterbank.weight.T}

    def take_state(self, state: Mapping[str, Tensor]) -> None:
        """Go on with the kernels and the filterbank of a state.

        Raises:
            ValueError: They are of other sizes.
        """
        super().take_state(state)
        bank = state["Variable"].T
        if self._settings["trainable_fb"]:
            put(self.front_end.filterbank.weight, bank)
        else:
            stage = type(self.front_end.filterbank)(bank)
            self.front_end = self.front_end.with_stage("filterbank", stage)


class AmplitudeToDB(_Configured, nn.Module):
    """``kapre.utils.AmplitudeToDB`` of DAS: :func:`amplitude_to_decibel` as a layer.

    Args:
        amin: What is less becomes this before the logarithm.
        top_db: How far below the maximum the least value lies.
        name: Only kept, for :meth:`get_config`.

    Raises:
        UsageError: ``amin`` or ``top_db`` is not above 0; a ValueError.

    >>> import torch
    >>> AmplitudeToDB()(torch.tensor([[1.0, 0.1, 0.0], [10.0, 10.0, 1.0]]))
    tensor([[  0., -10., -80.],
            [  0.,   0., -10.]])
    """

    def __init__(
        self, amin: float = _AMIN, top_db: float = _DYNAMIC_RANGE, *, name: str | None = None
    ) -> None:
        super().__init__()
        at_least("amin", amin, 0, above=True)
        at_least("top_db", top_db, 0, above=True)
        self.amin, self.top_db = amin, top_db
        named = "amplitude_to_db" if name is None else name
        self._settings = {"amin": amin, "top_db": top_db, "name": named}

    def forward(self, x: Tensor) -> Tensor:
        """Decibels, in the shape of ``x``: samples along the first axis."""
        return amplitude_to_decibel(x, self.amin, self.top_db)


def amplitude_to_decibel(
    x: Tensor, amin: float = _AMIN, dynamic_range: float = _DYNAMIC_RANGE
) -> Tensor:
    """``10 log10(max(x, amin))`` below the maximum of each sample, and at least ``-dynamic_range``.

    The factor is 10 whatever ``x`` is, as in the original: of a magnitude these are half decibels.

    Args:
        x: Samples along the first axis, each with one maximum over all others; of a single axis
            all is one sample.
        amin: Above 0.
        dynamic_range: How far below the maximum the least value lies.

    Raises:
        UsageError: ``amin`` is not above 0; a ValueError.
    """
    at_least("amin", amin, 0, above=True)
    level = decibels(x.float() if x.dtype in HALVES else x, factor=10.0, floor=amin)
    if level.numel():
        axes = tuple(range(min(1, x.dim() - 1), x.dim()))
        level = (level - level.amax(axes, keepdim=True)).clamp(min=-dynamic_range)
    return like_input(level, x)


def conv_output_length(
    input_length: int | None, filter_size: int, padding: str, stride: int, dilation: int = 1
) -> int | None:
    """How many steps a convolution makes: ``kapre.time_frequency.conv_output_length``.

    Args:
        input_length: In samples; None: not known, and so is the result.
        filter_size: In samples.
        padding: ``"same"`` and ``"causal"`` make one for each stride begun, ``"valid"`` as many as
            lie within the input, ``"full"`` as many as touch it.
        stride: In samples.
        dilation: Distance between samples of the filter.

    Raises:
        UsageError: There is no such padding; a ValueError.

    >>> conv_output_length(1000, 512, "same", 256), conv_output_length(1000, 512, "valid", 256)
    (4, 2)
    """
    one_of("padding", padding, ("same", "valid", "full", "causal"))
    if input_length is None:
        return None
    reach = (filter_size - 1) * dilation
    longer = {"valid": -reach, "full": reach}.get(padding, 0)
    return -(-(input_length + longer) // stride)


def _resolved(given: Mapping[str, Any]) -> dict[str, Any]:
    """What stands for the arguments of the transform that were left out, all of them checked."""
    n_dft, n_hop = whole(given["n_dft"]), given["n_hop"]
    if not isinstance(n_dft, int) or n_dft < 2 or n_dft & (n_dft - 1):
        raise wrong("n_dft", n_dft, "must be a power of two, above 1")
    one_of("padding", given["padding"], ("same", "valid"))
    layout = given["image_data_format"]
    one_of("image_data_format", layout, ("default", "channels_last", "channels_first"))
    for flag in given.keys() & _FLAGS:
        one_of(flag, given[flag], (True, False))
    return {
        "n_dft": n_dft,
        "n_hop": n_dft // 2 if n_hop is None else whole(n_hop),
        "image_data_format": "channels_last" if layout == "default" else layout,
    }


def _framing(settings: Mapping[str, Any]) -> dict[str, object]:
    return {
        "frame.n_fft": settings["n_dft"],
        "frame.hop_length": settings["n_hop"],
        "frame.pad": "tf_same" if settings["padding"] == "same" else "none",
        "frame.pad_mode": "constant",
    }


def _learnt_spectrum(config: MelConfig) -> KernelSpectrum:
    return KernelSpectrum(*Spectrum(config).kernels())


def _without_negative(stages: Iterable[Stage]) -> Iterator[Stage]:
    """The stages, and nothing below 0 where a root is taken: of a filterbank that was trained."""
    for stage in stages:
        if isinstance(stage, MelExponent):
            yield Floor("clamp", 0.0)
        yield stage
