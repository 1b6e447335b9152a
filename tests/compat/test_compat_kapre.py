"""kapre's layers under its own names: golden values, its formulas in NumPy, shapes, learning."""

from __future__ import annotations

import inspect
import math
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

from melcli.compat.kapre import (
    AmplitudeToDB,
    Melspectrogram,
    Spectrogram,
    amplitude_to_decibel,
    conv_output_length,
)
from melcli.dsp.melspectrogram import MelSpectrogram as Ours
from melcli.dsp.stft import KernelSpectrum, Spectrum
from melcli.errors import UsageError
from melcli.presets import load

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tests.seeds import assert_golden, golden_signal
else:
    from seeds import assert_golden, golden_signal

USUAL: dict[str, Any] = {"n_dft": 512, "n_hop": 160}
MEL: dict[str, Any] = {"sr": 16000, "n_mels": 64, **USUAL}
SMALL: dict[str, Any] = {"n_dft": 16, "n_hop": 6}
SMALL_MEL: dict[str, Any] = {"sr": 8000, "n_mels": 4, "fmin": 100.0, "n_dft": 32, "n_hop": 8}


def two_channels() -> torch.Tensor:
    """The golden signal, and half of it backwards: ``(1, 16000, 2)``."""
    x = golden_signal()
    return torch.stack([x, 0.5 * x.flip(0)], dim=-1)[None]


def noise(*shape: int, seed: int = 1) -> torch.Tensor:
    """Between -0.5 and 0.5."""
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed)) - 0.5


def powers(
    x: torch.Tensor, *, n_dft: int, n_hop: int, padding: str = "same"
) -> NDArray[np.float64]:
    """The power spectrogram in float64 as the original defines it: ``(B, time, freq, C)``."""
    samples = np.moveaxis(x.numpy().astype(np.float64), 1, 2)
    n = samples.shape[-1]
    if padding == "same":
        n_frames = -(-n // n_hop)
        total = max((n_frames - 1) * n_hop + n_dft - n, 0)
        samples = np.pad(samples, ((0, 0), (0, 0), (total // 2, total - total // 2)))
    else:
        n_frames = (n - n_dft) // n_hop + 1
    at = n_hop * np.arange(n_frames)[:, None] + np.arange(n_dft)
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(n_dft) / n_dft)
    spectra = np.fft.rfft(samples[..., at] * hann)
    return np.asarray(np.moveaxis(np.abs(spectra) ** 2, 1, 3))


def filters(
    *, sr: int, n_dft: int, n_mels: int, fmin: float, fmax: float, htk: bool, norm: object
) -> NDArray[np.float64]:
    """Triangles in Hz as librosa draws them, ``(n_mels, n_freqs)``."""
    if htk:
        low, high = (2595 * math.log10(1 + hz / 700) for hz in (fmin, fmax))
        edges = 700 * (10 ** (np.linspace(low, high, n_mels + 2) / 2595) - 1)
    else:
        step = math.log(6.4) / 27
        low, high = (
            hz * 3 / 200 if hz < 1000 else 15 + math.log(hz / 1000) / step for hz in (fmin, fmax)
        )
        mels = np.linspace(low, high, n_mels + 2)
        edges = np.where(mels < 15, mels * 200 / 3, 1000 * np.exp((mels - 15) * step))
    hz, e = np.arange(n_dft // 2 + 1) * sr / n_dft, edges[:, None]
    bank = np.minimum((hz - e[:-2]) / (e[1:-1] - e[:-2]), (e[2:] - hz) / (e[2:] - e[1:-1])).clip(0)
    if norm == 1:
        return np.asarray(bank / bank.sum(axis=1, keepdims=True))
    return np.asarray(bank * 2 / (e[2:] - e[:-2]) if norm == "slaney" else bank)


def below_the_top(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Decibels as the original counts them: one maximum for all axes of a sample."""
    level = 10 * np.log(np.maximum(x, 1e-10)) / np.log(10)
    level -= level.max(axis=tuple(range(1, x.ndim)), keepdims=True)
    return np.asarray(np.maximum(level, -80))


class TestGolden:
    """What the fork really gave on TensorFlow 2.15 with librosa 0.11."""

    @pytest.mark.parametrize("learns", [False, True])
    def test_powers(self, learns: bool) -> None:  # noqa: FBT001
        """Zeros around the waveform, by an FFT and by kernels."""
        layer = Spectrogram(**USUAL, trainable_kernel=learns)
        assert_golden(
            layer(two_channels()),
            (1, 100, 257, 2),
            total=381907.2,
            largest=2752.286,
            values={
                (0, 0, 0, 0): 3.31295,
                (0, 25, 14, 0): 2518.85,
                (0, 50, 100, 1): 0.00656548,
            },
        )

    def test_magnitudes(self) -> None:
        """No zeros."""
        assert_golden(
            Spectrogram(**USUAL, padding="valid", power_spectrogram=1)(two_channels()),
            (1, 97, 257, 2),
            total=31442.57,
            largest=52.495,
            values={
                (0, 0, 0, 0): 1.4543,
                (0, 25, 14, 0): 51.1585,
                (0, 50, 100, 1): 0.0972633,
            },
        )

    def test_decibels_of_magnitudes(self) -> None:
        """What the networks of DAS take, with the factor 10."""
        layer = Spectrogram(**USUAL, power_spectrogram=1.0, return_decibel_spectrogram=True)
        found = layer(two_channels())
        # Of this sum no decimals are known.
        assert float(found.double().sum()) == pytest.approx(-1553495, abs=0.75)
        assert_golden(
            found,
            (1, 100, 257, 2),
            least=-80.0,
            largest=0.0,
            values={
                (0, 0, 0, 0): -14.5974,
                (0, 25, 14, 0): -0.192459,
                (0, 50, 100, 1): -28.1121,
            },
            in_decibels=True,
        )

    @pytest.mark.parametrize(
        ("norm", "total", "largest", "values"),
        [
            (1, 15171.39, 37.5377, (2.03805, 35.6663, 0.257563)),
            ("slaney", 2711.613, 6.56519, (0.344587, 6.21146, 0.0457778)),
            (None, 22013.11, 44.72326, (2.34739, 42.3136, None)),
        ],
    )
    def test_mels(self, norm: Any, total: float, largest: float, values: tuple[Any, ...]) -> None:
        """By each norm; the default is what librosa calls 1 today."""
        places = ((0, 0, 0, 0), (0, 8, 25, 0), (0, 21, 50, 1))
        told: dict[tuple[int, ...], float]
        told = {at: value for at, value in zip(places, values, strict=True) if value is not None}
        found = Melspectrogram(**MEL, norm=norm)(two_channels())
        assert_golden(found, (1, 64, 100, 2), total=total, largest=largest, values=told)
        if norm == 1:
            assert torch.equal(Melspectrogram(**MEL)(two_channels()), found)

    def test_the_quietest(self) -> None:
        """All but silent, of rounding most of all: to the two digits that are known."""
        x = two_channels()
        layers: list[tuple[Any, float]] = [
            (Spectrogram(**USUAL), 1.5e-13),
            (Spectrogram(**USUAL, padding="valid", power_spectrogram=1), 2.7e-7),
            (Melspectrogram(**MEL), 8.1e-6),
            (Melspectrogram(**MEL, norm="slaney"), 1.5e-6),
            (Melspectrogram(**MEL, norm=None), 9.9e-6),
        ]
        for layer, least in layers:
            assert float(layer(x).min()) == pytest.approx(least, rel=0.05)

    def test_mels_in_decibels(self) -> None:
        """Of powers, and by the HTK scale of their roots."""
        of_powers = Melspectrogram(
            **MEL, norm="slaney", power_melgram=2.0, return_decibel_melgram=True
        )
        assert_golden(
            of_powers(two_channels()),
            (1, 64, 100, 2),
            total=-589617.7,
            least=-80.0,
            largest=0.0,
            values={(0, 0, 0, 0): -25.599, (0, 8, 25, 0): -0.481075, (0, 21, 50, 1): -43.1318},
            in_decibels=True,
        )
        of_roots = Melspectrogram(**MEL, htk=True, return_decibel_melgram=True)
        assert_golden(
            of_roots(two_channels()),
            (1, 64, 100, 2),
            total=-350708.8,
            least=-67.76596,
            largest=0.0,
            values={(0, 0, 0, 0): -12.3832, (0, 8, 25, 0): -15.1981, (0, 21, 50, 1): -17.7764},
            in_decibels=True,
        )


class TestFormulas:
    """The original's formulas in float64 NumPy, wherever frames fall."""

    @pytest.mark.parametrize("padding", ["same", "valid"])
    @pytest.mark.parametrize(("n_dft", "n_hop"), [(2, 1), (64, 1), (64, 20), (64, 64), (64, 90)])
    def test_powers(self, padding: Any, n_dft: int, n_hop: int) -> None:
        """Hops up to beyond a frame, lengths around whole hops."""
        layer = Spectrogram(n_dft, n_hop, padding).double()
        for n_samples in (64, 65, 89, 90, 91, 180, 200, 201):
            x = noise(2, n_samples, 3, seed=n_samples).double()
            expected = powers(x, n_dft=n_dft, n_hop=n_hop, padding=padding)
            found = layer(x).numpy()
            assert found.shape == expected.shape
            np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)

    @pytest.mark.parametrize("n_samples", [1, 2, 31, 63])
    def test_shorter_than_a_frame(self, n_samples: int) -> None:
        """Zeros are put around it, as TensorFlow does where it is not told the length."""
        x = noise(1, n_samples, 1)
        found = Spectrogram(64, 16)(x)
        np.testing.assert_allclose(found, powers(x, n_dft=64, n_hop=16), rtol=1e-4, atol=1e-5)

    @pytest.mark.parametrize("exponent", [0.5, 1.0, 1.7, 2.0, 3.0])
    @pytest.mark.parametrize("in_decibels", [False, True])
    def test_spectrograms(self, exponent: float, *, in_decibels: bool) -> None:
        """The root of the powers, to a power; one maximum for both channels."""
        x = noise(3, 400, 2) * torch.tensor([1.0, 0.01])
        layer = Spectrogram(64, 20, "same", exponent, in_decibels).double()
        expected = np.sqrt(powers(x, n_dft=64, n_hop=20)) ** exponent
        expected = below_the_top(expected) if in_decibels else expected
        np.testing.assert_allclose(layer(x.double()), expected, rtol=1e-5, atol=1e-4)

    @pytest.mark.parametrize("norm", [1, "slaney", None])
    @pytest.mark.parametrize("htk", [False, True])
    @pytest.mark.parametrize("exponent", [0.5, 1.0, 2.0])
    @pytest.mark.parametrize("in_decibels", [False, True])
    def test_mels(self, norm: Any, exponent: float, *, htk: bool, in_decibels: bool) -> None:
        """Powers, the filterbank, the root, the exponent, decibels."""
        x = noise(2, 2_000, 2) * torch.tensor([1.0, 0.01])
        band: dict[str, Any] = {"sr": 16000, "n_mels": 20, "fmin": 50.0, "fmax": 7000.0}
        band |= {"htk": htk, "norm": norm}
        layer = Melspectrogram(
            **band, n_dft=256, power_melgram=exponent, return_decibel_melgram=in_decibels
        )
        mels = powers(x, n_dft=256, n_hop=128).transpose(0, 3, 1, 2) @ filters(**band, n_dft=256).T
        expected = np.sqrt(mels.transpose(0, 3, 2, 1)) ** exponent
        expected = below_the_top(expected) if in_decibels else expected
        found = layer.double()(x.double())
        atol = 1e-3 if in_decibels else 1e-6 * expected.max()
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=atol)


class TestShapes:
    """Samples before channels go in, whatever comes out."""

    @pytest.mark.parametrize("padding", ["same", "valid"])
    def test_every_layout(self, padding: Any) -> None:
        """The same numbers in other orders; and what is told is what comes."""
        x = noise(2, 400, 3)
        for layer, other, order in (
            (Spectrogram, (2, 3, 9), (0, 3, 2, 1)),
            (Melspectrogram, (2, 3, 4), (0, 2, 3, 1)),
        ):
            settings = SMALL if layer is Spectrogram else SMALL_MEL
            settings = settings | {"padding": padding}
            first = layer(**settings, image_data_format="channels_first")
            last = layer(**settings, image_data_format="channels_last")
            n_frames = conv_output_length(400, settings["n_dft"], padding, settings["n_hop"])
            found = first(x)
            assert found.shape == (*other, n_frames)
            assert torch.equal(last(x), found.permute(order))
            assert torch.equal(layer(**settings)(x), last(x))
            for made in (first, last):
                assert made.compute_output_shape(x.shape) == made(x).shape

    def test_as_the_fork_has_them(self) -> None:
        """Frames before frequencies, but mels before frames."""
        x = torch.zeros(5, 16000, 2)
        assert Spectrogram()(x).shape == (5, 63, 257, 2)
        assert Melspectrogram()(x).shape == (5, 128, 63, 2)

    def test_sizes_that_are_not_known(self) -> None:
        """None goes through, before anything was called."""
        assert Spectrogram().compute_output_shape((None, None, 1)) == (None, None, 257, 1)
        layer = Melspectrogram(n_mels=40, image_data_format="channels_first")
        assert layer.compute_output_shape((None, 16000, None)) == (None, None, 40, 63)

    @pytest.mark.parametrize("shape", [(0, 400, 2), (2, 400, 0)])
    @pytest.mark.parametrize("in_decibels", [False, True])
    def test_nothing(self, shape: tuple[int, ...], *, in_decibels: bool) -> None:
        """No samples, or no channels."""
        layer = Spectrogram(**SMALL, return_decibel_spectrogram=in_decibels)
        assert layer(torch.zeros(shape)).shape == (shape[0], 67, 9, shape[2])

    @pytest.mark.parametrize("shape", [(400,), (2, 400), (2, 400, 1, 1)])
    def test_other_shapes(self, shape: tuple[int, ...]) -> None:
        """They are refused, where the original has an IndexError."""
        with pytest.raises(UsageError, match=r"x = \(.*\): must be \(batch, n_samples, channels\)"):
            Spectrogram(**SMALL)(torch.zeros(shape))
        with pytest.raises(UsageError, match=r"input_shape = \(.*\): must be \(batch, n_samples"):
            Spectrogram(**SMALL).compute_output_shape(shape)

    def test_too_short(self) -> None:
        """A frame without zeros needs all of its samples."""
        layer = Spectrogram(**SMALL, padding="valid")
        assert layer(torch.zeros(1, 16, 1)).shape == (1, 1, 9, 1)
        with pytest.raises(UsageError, match="of 15 samples: the front end needs 16"):
            layer(torch.zeros(1, 15, 1))
        with pytest.raises(UsageError, match=r"= \(1, 15, 1\): must have at least 16 samples"):
            layer.compute_output_shape((1, 15, 1))
        with pytest.raises(UsageError, match=r"= \(1, 0, 1\): must have at least 1 samples"):
            Spectrogram(**SMALL).compute_output_shape((1, 0, 1))

    def test_steps_of_a_convolution(self) -> None:
        """By every padding."""
        assert [conv_output_length(n, 4, "same", 3) for n in (1, 3, 4, 6, 7)] == [1, 1, 2, 2, 3]
        assert [conv_output_length(n, 4, "causal", 3) for n in (1, 3, 4)] == [1, 1, 2]
        assert [conv_output_length(n, 4, "valid", 3) for n in (3, 4, 6, 7)] == [0, 1, 1, 2]
        assert [conv_output_length(n, 4, "full", 3) for n in (1, 3, 4)] == [2, 2, 3]
        assert conv_output_length(20, 4, "valid", 1, dilation=3) == 11
        assert conv_output_length(None, 4, "valid", 1) is None
        with pytest.raises(UsageError, match="padding = 'reflect': must be one of 'same', 'valid'"):
            conv_output_length(20, 4, "reflect", 1)


class TestArguments:
    """Names, defaults, and what is refused."""

    def test_names_and_defaults(self) -> None:
        """In the fork's order; the mel layer takes those of its base by name."""
        of_transform: dict[str, object] = {
            "n_dft": 512,
            "n_hop": None,
            "padding": "same",
            "power_spectrogram": 2.0,
            "return_decibel_spectrogram": False,
            "trainable_kernel": False,
            "image_data_format": "default",
            "name": None,
        }
        of_mel: dict[str, object] = {
            "sr": 22050,
            "n_mels": 128,
            "fmin": 0.0,
            "fmax": None,
            "power_melgram": 1.0,
            "return_decibel_melgram": False,
            "trainable_fb": False,
            "htk": False,
            "norm": 1,
        }
        signatures: list[tuple[Any, dict[str, object]]] = [
            (Spectrogram, of_transform),
            (Melspectrogram, of_mel | of_transform),
            (AmplitudeToDB, {"amin": 1e-10, "top_db": 80.0, "name": None}),
            (
                amplitude_to_decibel,
                {"x": inspect.Parameter.empty, "amin": 1e-10, "dynamic_range": 80.0},
            ),
        ]
        for original, defaults in signatures:
            parameters = inspect.signature(original).parameters
            assert [(n, p.default) for n, p in parameters.items()] == list(defaults.items())

    def test_the_defaults_are_the_preset(self) -> None:
        """``melcli extract --config kapre-das``."""
        assert Melspectrogram().config == load("kapre-das").config
        assert Spectrogram().config is None  # no config is without a filterbank

    @pytest.mark.parametrize(
        "arguments",
        [
            {},
            {"power_melgram": 2.0, "norm": "slaney", "padding": "valid"},
            {"return_decibel_melgram": True, "htk": True, "norm": None},
        ],
    )
    def test_the_config_is_the_front_end(self, arguments: dict[str, Any]) -> None:
        """Of one channel: what was learnt with DAS can be extracted by the command."""
        layer = Melspectrogram(**MEL, **arguments)
        assert layer.config is not None
        found = layer(golden_signal()[None, :, None])[0, :, :, 0]
        torch.testing.assert_close(found, Ours(layer.config)(golden_signal()), rtol=0, atol=1e-5)

    def test_what_is_told(self) -> None:
        """With what stands for arguments that were left out."""
        expected = {
            "n_dft": 512,
            "n_hop": 256,
            "padding": "same",
            "power_spectrogram": 2.0,
            "return_decibel_spectrogram": False,
            "trainable_kernel": False,
            "image_data_format": "channels_last",
        }
        assert Spectrogram().get_config() == expected | {"name": "spectrogram"}
        told = Spectrogram(power_spectrogram=1).get_config()["power_spectrogram"]
        assert isinstance(told, float)
        assert Melspectrogram(sr=16000.0).get_config() == expected | {
            "sr": 16000,
            "n_mels": 128,
            "fmin": 0.0,
            "fmax": 8000.0,
            "power_melgram": 1.0,
            "return_decibel_melgram": False,
            "trainable_fb": False,
            "htk": False,
            "norm": 1,
            "name": "melspectrogram",
        }
        told = AmplitudeToDB(top_db=60.0, name="levels").get_config()
        assert told == {"amin": 1e-10, "top_db": 60.0, "name": "levels"}

    def test_there_and_back(self) -> None:
        """The same layers; what Keras adds to a config is left out."""
        of_keras = {"trainable": True, "dtype": "float32", "batch_input_shape": (None, 400, 2)}
        layers: list[Any] = [
            Spectrogram(**SMALL, power_spectrogram=1.0, return_decibel_spectrogram=True),
            Melspectrogram(**SMALL_MEL, htk=True, norm=None, image_data_format="channels_first"),
            AmplitudeToDB(amin=1e-3, top_db=20.0),
        ]
        for layer in layers:
            again = type(layer).from_config(layer.get_config() | of_keras)
            assert again.get_config() == layer.get_config()
            assert torch.equal(again(noise(2, 400, 2)), layer(noise(2, 400, 2)))
        with pytest.raises(TypeError, match="n_fft"):
            Spectrogram.from_config({"n_fft": 512})

    @pytest.mark.parametrize(
        ("layer", "arguments", "told"),
        [
            (Spectrogram, {"n_dft": 500}, "n_dft = 500: must be a power of two, above 1"),
            (Spectrogram, {"n_dft": 1}, "n_dft = 1: must be a power of two, above 1"),
            (Spectrogram, {"n_dft": "512"}, "n_dft = '512': must be a power of two, above 1"),
            (Spectrogram, {"n_hop": 0}, "n_hop = 0: must be at least 1"),
            (Spectrogram, {"n_hop": 0.5}, "n_hop = 0.5: must be a whole number"),
            (Spectrogram, {"padding": "full"}, "padding = 'full': must be one of 'same', 'valid'"),
            (
                Spectrogram,
                {"power_spectrogram": -1.0},
                "power_spectrogram = -1.0: must be at least",
            ),
            (Spectrogram, {"power_spectrogram": "2"}, "power_spectrogram = '2': must be a number"),
            (
                Spectrogram,
                {"return_decibel_spectrogram": 1},
                "return_decibel_spectrogram = 1: must be one of True, False",
            ),
            (Spectrogram, {"trainable_kernel": None}, "trainable_kernel = None: must be one of"),
            (
                Spectrogram,
                {"image_data_format": "channel_last"},
                "image_data_format = 'channel_last': must be one of 'default', 'channels_last',",
            ),
            (Melspectrogram, {"n_dft": 500}, "n_dft = 500: must be a power of two, above 1"),
            (Melspectrogram, {"sr": 0}, "sr = 0: must be at least 1"),
            (Melspectrogram, {"sr": 22050.5}, "sr = 22050.5: must be a whole number"),
            (Melspectrogram, {"n_mels": 0}, "n_mels = 0: must be at least 1"),
            (Melspectrogram, {"fmin": -1.0}, "fmin = -1.0: must be at least 0"),
            (
                Melspectrogram,
                {"fmin": 900.0, "fmax": 900.0},
                "fmax = 900.0: must be above fmin = 9",
            ),
            (
                Melspectrogram,
                {"fmax": 12000.0},
                "fmax = 12000.0: must be at most half of sr, 11025",
            ),
            (Melspectrogram, {"power_melgram": 0.0}, "power_melgram = 0.0: must be above 0"),
            (Melspectrogram, {"norm": 2}, "norm = 2: must be one of 1, 'slaney', None"),
            (Melspectrogram, {"norm": True}, "norm = True: must be one of 1, 'slaney', None"),
            (Melspectrogram, {"norm": math.inf}, "norm = inf: must be one of 1, 'slaney', None"),
            (Melspectrogram, {"htk": "yes"}, "htk = 'yes': must be one of True, False"),
            (Melspectrogram, {"trainable_fb": 1}, "trainable_fb = 1: must be one of True, False"),
            (
                Melspectrogram,
                {"power_spectrogram": 1.0},
                "power_spectrogram = 1.0: must be left out: the filterbank takes powers",
            ),
            (
                Melspectrogram,
                {"return_decibel_spectrogram": True},
                "return_decibel_spectrogram = True: must be left out: the filterbank takes powers",
            ),
            (AmplitudeToDB, {"amin": 0.0}, "amin = 0.0: must be above 0"),
            (AmplitudeToDB, {"top_db": -80.0}, "top_db = -80.0: must be above 0"),
        ],
    )
    def test_what_cannot_be(self, layer: Any, arguments: dict[str, Any], told: str) -> None:
        """The argument, its value and what is allowed: a ValueError, not an AssertionError."""
        with pytest.raises(UsageError) as caught:
            layer(**arguments)
        assert str(caught.value).startswith(told)


class TestDecibels:
    """As a layer and as a function."""

    @pytest.mark.parametrize("shape", [(6,), (3, 5), (3, 5, 4), (2, 3, 5, 4)])
    def test_one_maximum_a_sample(self, shape: tuple[int, ...]) -> None:
        """Over all other axes; of a single axis, over that."""
        x = (noise(*shape) + 0.5) ** 8
        expected = below_the_top(x.double().numpy()) if len(shape) > 1 else None
        if expected is None:
            expected = below_the_top(x.double().numpy()[None])[0]
        for found in (AmplitudeToDB()(x), amplitude_to_decibel(x)):
            np.testing.assert_allclose(found, expected, atol=1e-3)

    def test_a_sample_is_the_same_in_any_batch(self) -> None:
        """A quiet one beside a loud one."""
        layer = Melspectrogram(**SMALL_MEL, return_decibel_melgram=True)
        x = noise(3, 400, 2) * torch.tensor([1.0, 1e-3, 10.0]).reshape(3, 1, 1)
        found = layer(x)
        for item, alone in zip(found, x, strict=True):
            assert torch.equal(item, layer(alone[None])[0])
            assert float(item.max()) == 0.0

    def test_range_and_floor(self) -> None:
        """Both have a say."""
        x = torch.tensor([[1.0, 1e-3, 1e-6]])
        torch.testing.assert_close(
            amplitude_to_decibel(x, 1e-5, 40.0), torch.tensor([[0.0, -30.0, -40.0]])
        )
        torch.testing.assert_close(
            amplitude_to_decibel(x, 1e-2, 40.0), torch.tensor([[0.0, -20.0, -20.0]])
        )
        with pytest.raises(UsageError, match=r"amin = 0: must be above 0"):
            amplitude_to_decibel(x, 0)

    def test_silence(self) -> None:
        """It is its own maximum."""
        layer = Spectrogram(**SMALL, return_decibel_spectrogram=True)
        assert not layer(torch.zeros(2, 400, 2)).any()

    @pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
    def test_half_precision(self, dtype: torch.dtype) -> None:
        """It is computed in float32: 1e-10 is 0 in float16."""
        x = torch.tensor([[1.0, 0.0, 0.5]], dtype=dtype)
        found = amplitude_to_decibel(x)
        assert found.dtype == dtype
        torch.testing.assert_close(found, amplitude_to_decibel(x.float()).to(dtype))
        layer, y = Spectrogram(**SMALL, return_decibel_spectrogram=True), noise(1, 400, 1).to(dtype)
        assert torch.equal(layer(y), layer(y.float()).to(dtype))
        assert torch.equal(layer.half()(y), layer(y.float()).to(dtype))


class TestState:
    """Under kapre's names and in its shapes."""

    def test_names_and_shapes(self) -> None:
        """Whatever is trained."""
        shapes: dict[str, tuple[int, ...]]
        shapes = {"real_kernels": (16, 1, 1, 9), "imag_kernels": (16, 1, 1, 9)}
        for learns in (False, True):
            state = Spectrogram(**SMALL, trainable_kernel=learns).state_dict()
            assert {name: tuple(tensor.shape) for name, tensor in state.items()} == shapes
        shapes = dict.fromkeys(shapes, (32, 1, 1, 17)) | {"Variable": (17, 4)}
        for learns in (False, True):
            layer = Melspectrogram(**SMALL_MEL, trainable_kernel=learns, trainable_fb=not learns)
            state = layer.state_dict()
            assert {name: tuple(tensor.shape) for name, tensor in state.items()} == shapes

    def test_kernels_are_those_of_the_original(self) -> None:
        """A Hann window times cosines, and times sines with a minus."""
        state = Spectrogram(64).state_dict()
        n, k = np.arange(64)[:, None], np.arange(33)
        hann = 0.5 - 0.5 * np.cos(2 * np.pi * n / 64)
        for name, wave in (("real", np.cos), ("imag", lambda t: -np.sin(t))):
            kernels = state[f"{name}_kernels"][:, 0, 0]
            np.testing.assert_allclose(kernels, hann * wave(2 * np.pi * n * k / 64), atol=3e-7)

    @pytest.mark.parametrize("learns", [False, True])
    def test_weights_go_on_counting(self, learns: bool) -> None:  # noqa: FBT001
        """What was trained in DAS, which trains whatever it is told, is computed with."""
        trained = Melspectrogram(**SMALL_MEL, power_melgram=2.0).state_dict()
        for seed, tensor in enumerate(trained.values()):
            tensor.add_(0.1 * noise(*tensor.shape, seed=seed))
        layer = Melspectrogram(
            **SMALL_MEL,
            power_melgram=2.0,
            padding="valid",
            trainable_kernel=learns,
            trainable_fb=learns,
        )
        layer.load_state_dict(trained)
        frames = noise(3, 32, 1)
        parts = (frames[..., 0] @ trained[f"{name}_kernels"][:, 0, 0] for name in ("real", "imag"))
        power = sum(part.square() for part in parts)
        expected = power @ trained["Variable"]
        torch.testing.assert_close(
            layer(frames)[:, :, 0, 0].detach(), expected, rtol=1e-5, atol=1e-5
        )
        for name, tensor in layer.state_dict().items():
            torch.testing.assert_close(tensor, trained[name])
        assert len(list(layer.parameters())) == (3 if learns else 0)

    def test_a_transform_stays_an_fft(self) -> None:
        """Where the kernels that are loaded are those of the transform; the state is not shared."""
        layer = Spectrogram(**SMALL)
        state = Spectrogram(**SMALL, trainable_kernel=True).state_dict()
        layer.load_state_dict(state)
        assert isinstance(layer.front_end.stft, Spectrum)
        state["real_kernels"][3] *= 1.1
        layer.load_state_dict(state)
        assert isinstance(layer.front_end.stft, KernelSpectrum)
        before = layer(noise(1, 40, 1))
        for tensor in state.values():
            tensor.zero_()
        assert torch.equal(layer(noise(1, 40, 1)), before)

    def test_parameters_stay_the_same_objects(self) -> None:
        """An optimiser goes on with them."""
        layer = Melspectrogram(**SMALL_MEL, trainable_fb=True, trainable_kernel=True)
        before = list(layer.parameters())
        state = {name: tensor + 0.1 for name, tensor in layer.state_dict().items()}
        layer.load_state_dict(state)
        assert all(a is b for a, b in zip(layer.parameters(), before, strict=True))
        for name, tensor in layer.state_dict().items():
            torch.testing.assert_close(tensor, state[name])

    def test_within_a_model(self) -> None:
        """Prefixes are kept; what is missing or of another shape is named."""
        model = torch.nn.Sequential(torch.nn.Identity(), Melspectrogram(**SMALL_MEL))
        state = model.state_dict()
        assert state.keys() == {"1.real_kernels", "1.imag_kernels", "1.Variable"}
        model.load_state_dict(state)
        without = {name: tensor for name, tensor in state.items() if name != "1.Variable"}
        with pytest.raises(RuntimeError, match=r'Missing key\(s\) in state_dict: "1.Variable"'):
            model.load_state_dict(without)
        with pytest.raises(RuntimeError, match=r"Variable of shape \(9, 4\): must be \(17, 4\)"):
            model.load_state_dict(state | {"1.Variable": torch.zeros(9, 4)})
        with pytest.raises(RuntimeError, match=r"imag_kernels of shape \(4,\): must be \(32, 1, 1"):
            model.load_state_dict(state | {"1.imag_kernels": torch.zeros(4)})


class TestLearning:
    """Gradients, and who moves."""

    @pytest.mark.parametrize("in_decibels", [False, True])
    @pytest.mark.parametrize("learns", [False, True])
    @pytest.mark.parametrize("power", [0.5, 1.0, 2.0])
    def test_silence_has_no_slope(self, power: float, *, learns: bool, in_decibels: bool) -> None:
        """The original has no finite one; beside sound, and alone."""
        layers = (
            Spectrogram(
                **SMALL,
                power_spectrogram=power,
                return_decibel_spectrogram=in_decibels,
                trainable_kernel=learns,
            ),
            Melspectrogram(
                **SMALL_MEL,
                power_melgram=power,
                return_decibel_melgram=in_decibels,
                trainable_kernel=learns,
                trainable_fb=learns,
            ),
        )
        for layer in layers:
            x = torch.zeros(2, 400, 2)
            x[1, 200:, 1] = noise(200)
            x.requires_grad_()
            found = layer(x)
            # Without weights a spectrogram's decibels below its own top add up to a constant.
            (found * noise(*found.shape)).sum().backward()
            assert x.grad is not None
            for gradient in (x.grad, *(p.grad for p in layer.parameters())):
                assert gradient is not None
                assert bool(torch.isfinite(gradient).all())
            assert not x.grad[0].any()
            assert bool(x.grad[1, :, 1].any())

    def test_a_filterbank_that_gives_less_than_nothing(self) -> None:
        """Its root is 0, with gradients and without; the original's is NaN."""
        for learns in (False, True):
            layer = Melspectrogram(**SMALL_MEL, trainable_fb=learns)
            layer.load_state_dict({n: -t for n, t in layer.state_dict().items()})
            x = noise(1, 400, 1)
            with torch.no_grad():
                assert not layer(x).any()
            found = layer(x.requires_grad_())
            assert not found.any()
            found.sum().backward()
            assert x.grad is not None
            assert not x.grad.any()

    @pytest.mark.parametrize("in_decibels", [False, True])
    def test_gradients_are_the_slope(self, *, in_decibels: bool) -> None:
        """Of each weight, in float64."""
        layers = (
            Spectrogram(
                n_dft=8,
                n_hop=5,
                power_spectrogram=1.0,
                return_decibel_spectrogram=in_decibels,
                trainable_kernel=True,
            ),
            Melspectrogram(
                sr=8000,
                n_mels=2,
                n_dft=8,
                return_decibel_melgram=in_decibels,
                trainable_kernel=True,
                trainable_fb=True,
            ),
        )
        for layer in layers:
            layer.double()
            x = noise(1, 12, 2).double()
            names = [name for name, _ in layer.named_parameters()]
            weights = tuple(p.detach().clone().requires_grad_() for p in layer.parameters())

            def found(*weights: torch.Tensor, layer: Any = layer, x: Any = x) -> torch.Tensor:
                named = dict(zip(names, weights, strict=True))  # noqa: B023, called in this turn
                result: torch.Tensor = torch.func.functional_call(layer, named, x)
                return result

            assert len(weights) == (2 if isinstance(layer, Spectrogram) else 3)
            assert torch.autograd.gradcheck(found, weights, atol=1e-4)

    def test_what_is_trainable_moves(self) -> None:
        """Each flag by itself, towards a target in a few steps; without, there is nothing to."""
        assert list(Melspectrogram(**SMALL_MEL).parameters()) == []
        assert list(Spectrogram(**SMALL).parameters()) == []
        x = noise(2, 200, 1)
        for flag, moved in (
            ("trainable_fb", {"Variable"}),
            ("trainable_kernel", {"real_kernels", "imag_kernels"}),
        ):
            arguments = SMALL_MEL | {flag: True}
            layer = Melspectrogram(**arguments)
            target, losses = 2.0 * layer(x).detach(), []
            before = {name: tensor.clone() for name, tensor in layer.state_dict().items()}
            optimizer = torch.optim.Adam(layer.parameters(), lr=1e-4)
            for _ in range(5):
                optimizer.zero_grad()
                loss = (layer(x) - target).square().mean()
                loss.backward()
                optimizer.step()
                losses.append(float(loss.detach()))
            assert losses == sorted(losses, reverse=True)
            after = layer.state_dict()
            assert {name for name in before if not torch.equal(before[name], after[name])} == moved

    @pytest.mark.parametrize("learns", [False, True])
    def test_compiled_whole(self, learns: bool) -> None:  # noqa: FBT001
        """Without a break in the graph."""
        torch.compiler.reset()
        layer = Melspectrogram(
            **SMALL_MEL, return_decibel_melgram=True, trainable_kernel=learns, trainable_fb=learns
        )
        x = noise(2, 400, 2)
        compiled = torch.compile(layer, backend="eager", fullgraph=True)
        torch.testing.assert_close(compiled(x), layer(x), rtol=1e-4, atol=1e-4)

    def test_float64(self) -> None:
        """After ``double()``."""
        layer, x = Spectrogram(**SMALL, power_spectrogram=1.0), noise(2, 400, 2)
        single = layer(x)
        double = layer.double()(x.double())
        assert double.dtype == torch.float64
        torch.testing.assert_close(double.float(), single, rtol=1e-4, atol=1e-5)

    def test_nothing_is_printed(self, capsys: pytest.CaptureFixture[str]) -> None:
        """The original prints shapes at every trace."""
        Melspectrogram(**SMALL_MEL)(noise(1, 400, 1))
        assert capsys.readouterr() == ("", "")
