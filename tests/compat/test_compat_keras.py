"""Keras's mel spectrogram under its own names: golden values, arguments, shapes, decibels."""

from __future__ import annotations

import inspect
import math
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pytest
import torch

from melcli.compat.keras import MelSpectrogram
from melcli.dsp.melspectrogram import MelSpectrogram as Ours
from melcli.errors import UsageError
from melcli.presets import load

if TYPE_CHECKING:
    from tests.seeds import assert_golden, golden_signal
else:
    from seeds import assert_golden, golden_signal

SHORT: dict[str, Any] = {"fft_length": 512, "sequence_length": 400, "sequence_stride": 160}
SMALL: dict[str, Any] = {
    "fft_length": 32,
    "sequence_stride": 8,
    "sampling_rate": 8000,
    "num_mel_bins": 4,
    "min_freq": 100.0,
}


def mel(**arguments: Any) -> torch.Tensor:
    """What the golden signal becomes."""
    result: torch.Tensor = MelSpectrogram(**arguments)(golden_signal())
    return result


class TestGolden:
    """What Keras 3.15 with the torch backend really gave."""

    def test_defaults(self) -> None:
        """All arguments left out."""
        assert_golden(
            mel(),
            (128, 32),
            total=12144.41,
            least=-33.13446,
            largest=46.86554,
            values={(0, 0): 19.2355, (16, 8): 10.0521, (42, 16): 11.7077, (64, 2): 12.3756},
            in_decibels=True,
        )

    def test_magnitudes(self) -> None:
        """A shorter Hamming window, and no decibels."""
        found = mel(**SHORT, window="hamming", num_mel_bins=64, power_to_db=False, mag_exp=1)
        assert_golden(
            found,
            (64, 101),
            total=19924.78,
            largest=56.63558,
            values={
                (0, 0): 4.54809,
                (8, 25): 0.330398,
                (21, 50): 1.59498,
                (32, 2): 1.60533,
                (63, 100): 0.000273405,
            },
        )
        assert float(found.min()) == pytest.approx(1.552631e-5, rel=0.01)

    def test_a_rectangle(self) -> None:
        """No window is 400 ones within 512, as on torch."""
        found = mel(**SHORT, window=None, num_mel_bins=64, power_to_db=False)
        assert_golden(
            found,
            (64, 101),
            total=640808.6,
            largest=6409.162,
            values={(0, 0): 18.1751, (8, 25): 57.9581, (21, 50): 6.46887, (32, 2): 5.13866},
        )
        assert float(found.min()) == pytest.approx(1.478e-9, rel=0.05)

    def test_a_batch(self) -> None:
        """The whole batch has one maximum: the quiet item lies on the floor."""
        x = golden_signal()
        layer = MelSpectrogram(num_mel_bins=64, top_db_over="batch")
        found = layer(torch.stack([0.001 * x, x]))
        assert_golden(
            found,
            (2, 64, 32),
            total=-53005.26,
            least=-32.39435,
            largest=47.60565,
            values=dict.fromkeys([(0, 0, 0), (0, 16, 8), (0, 42, 16), (0, 63, 2)], -32.3944),
            in_decibels=True,
        )

    def test_a_reference(self) -> None:
        """Another 0 dB, another least power, another range."""
        assert_golden(
            mel(ref_power=0.5, min_power=1e-3, top_db=40),
            (128, 32),
            total=59020.59,
            least=9.875843,
            largest=49.87584,
            values={(0, 0): 22.2458, (16, 8): 13.0624, (42, 16): 14.718, (64, 2): 15.3859},
            in_decibels=True,
        )


class TestArguments:
    """Names, defaults, what stands for what is left out, and what is refused."""

    def test_names_and_defaults(self) -> None:
        """In Keras's order; what is only by name comes last."""
        signature = inspect.signature(MelSpectrogram)
        assert {name: p.default for name, p in signature.parameters.items()} == {
            "fft_length": 2048,
            "sequence_stride": 512,
            "sequence_length": None,
            "window": "hann",
            "sampling_rate": 16000,
            "num_mel_bins": 128,
            "min_freq": 20.0,
            "max_freq": None,
            "power_to_db": True,
            "top_db": 80.0,
            "mag_exp": 2.0,
            "min_power": 1e-10,
            "ref_power": 1.0,
            "name": None,
            "dtype": None,
            "trainable": True,
            "top_db_over": "item",
        }

    def test_the_defaults_are_the_preset(self) -> None:
        """``melcli extract --config keras-default``."""
        assert MelSpectrogram().config == load("keras-default").config

    @pytest.mark.parametrize(
        "arguments",
        [
            {},
            {**SHORT, "window": "hamming", "mag_exp": 1.0},
            {"window": None, "ref_power": 0.01, "top_db": 30},
            {"power_to_db": False},
            {"top_db": None, "max_freq": 4000},
        ],
    )
    def test_the_config_is_the_front_end(self, arguments: dict[str, Any]) -> None:
        """What was learnt with Keras can be extracted by the command."""
        layer = MelSpectrogram(**arguments)
        assert layer.config is not None
        assert torch.equal(Ours(layer.config)(golden_signal()), layer(golden_signal()))

    def test_what_no_config_says(self) -> None:
        """Numbers of a window, and a maximum of several items; alone, an item is an item."""
        assert MelSpectrogram(window=torch.hann_window(2048)).config is None
        assert MelSpectrogram(top_db_over="batch").config is None
        assert MelSpectrogram(top_db_over="batch", top_db=None).config is not None
        torch.testing.assert_close(mel(top_db_over="batch"), mel())

    def test_zero_is_left_out(self) -> None:
        """For a length and a frequency, as in the original; half of an odd rate loses its half."""
        layer = MelSpectrogram(sampling_rate=11025, sequence_length=0, max_freq=0)
        assert layer.config is not None
        assert layer.config.win_length == 2048
        assert layer.config.f_max == 5512.0

    def test_a_window_of_numbers(self) -> None:
        """A tensor, an array or a list of the right length; in float64 it keeps its digits."""
        expected = mel(**SHORT, power_to_db=False)
        w = torch.hann_window(400, dtype=torch.float64)
        for window in (w, w.float(), w.numpy(), w.tolist()):
            found = mel(**SHORT, power_to_db=False, window=window)
            torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-3)
        rounded, exact = (
            MelSpectrogram(**SHORT, window=window, dtype="float64", power_to_db=False)
            for window in (w.float(), w)
        )
        x = golden_signal()
        assert float((rounded(x) - exact(x)).abs().max()) > 1e-6

    def test_a_window_that_is_read_only(self) -> None:
        """It is copied, without a warning."""
        w = np.ones(2048, np.float32)
        w.flags.writeable = False
        torch.testing.assert_close(mel(window=w), mel(window=None))

    @pytest.mark.parametrize("reference", [-0.25, torch.tensor(0.25), torch.tensor([[-0.25]])])
    def test_references(self, reference: float | torch.Tensor) -> None:
        """The sign does not count, and a scalar tensor is a number."""
        assert torch.equal(mel(ref_power=reference), mel(ref_power=0.25))

    def test_a_reference_of_nothing(self) -> None:
        """It is ``min_power``."""
        assert torch.equal(mel(ref_power=0, min_power=1e-3), mel(ref_power=1e-3, min_power=1e-3))

    @pytest.mark.parametrize(
        ("arguments", "told"),
        [
            ({"sequence_length": 4096}, "sequence_length = 4096: must be at most fft_length = 20"),
            ({"window": "hanning"}, "window = 'hanning': must be one of 'hann', 'hamming'"),
            (
                {"window": torch.ones(100)},
                "window = 'torch.float32 of shape (100,)': must be sequence_length = 2048 real",
            ),
            ({"window": torch.ones(2048, dtype=torch.complex64)}, "window = 'torch.complex64"),
            ({"sequence_stride": 0}, "sequence_stride = 0: must be at least 1"),
            ({"fft_length": 0}, "fft_length = 0: must be at least 2"),
            ({"num_mel_bins": 0}, "num_mel_bins = 0: must be at least 1"),
            ({"sampling_rate": None}, "sampling_rate = None: must be at least 1"),
            ({"sampling_rate": 0.5}, "sampling_rate = 0.5: must be at least 1"),
            ({"sampling_rate": 11025.5}, "sampling_rate = 11025.5: must be a whole number"),
            ({"max_freq": 9000}, "max_freq = 9000: must be at most half of sampling_rate, 8000 Hz"),
            ({"min_freq": 8000.0}, "max_freq = None: must be above min_freq = 8000 Hz"),
            ({"min_freq": -1.0}, "min_freq = -1.0: must be at least 0"),
            ({"mag_exp": -1.0}, "mag_exp = -1.0: must be at least 0"),
            ({"min_power": 0.0}, "min_power = 0.0: must be at least 1.17549"),
            ({"ref_power": np.max}, "ref_power = <function max"),
            ({"ref_power": math.nan}, "ref_power = nan: must be a number"),
            ({"ref_power": torch.ones(2)}, "ref_power = tensor([1., 1.]): must be a number"),
            ({"top_db": 0}, "top_db = 0: must be above 0"),
            ({"top_db": -80.0}, "top_db = -80.0: must be above 0"),
            ({"top_db_over": "time"}, "top_db_over = 'time': must be one of 'item', 'batch'"),
            ({"dtype": "int8"}, "dtype = 'int8': must be one of 'float16', 'bfloat16', 'float32'"),
        ],
    )
    def test_what_cannot_be(self, arguments: dict[str, Any], told: str) -> None:
        """The argument, its value and what is allowed, as a ValueError, at construction."""
        with pytest.raises(UsageError) as caught:
            MelSpectrogram(**arguments)
        assert str(caught.value).startswith(told)

    def test_what_does_nothing_is_not_looked_at(self) -> None:
        """A config of Keras may hold anything there."""
        found = mel(power_to_db=False, top_db=0, min_power=0, ref_power=None)
        assert torch.equal(found, mel(power_to_db=False))


class TestShapes:
    """Any leading axes, any type of numbers."""

    @pytest.mark.parametrize("leading", [(), (1,), (3,), (2, 3), (0,), (2, 0)])
    def test_leading_axes_are_kept(self, leading: tuple[int, ...]) -> None:
        """Also more than one, and none at all."""
        layer = MelSpectrogram(**SMALL)
        x = torch.rand(*leading, 400)
        found = layer(x)
        assert found.shape == (*leading, 4, 51)
        assert layer.compute_output_shape(x.shape) == found.shape
        assert MelSpectrogram(**SMALL, top_db_over="batch")(x).shape == found.shape

    @pytest.mark.parametrize("fft_length", [32, 33])
    @pytest.mark.parametrize("stride", [1, 8, 40])
    def test_the_shape_that_is_told_is_that_of_the_result(
        self, fft_length: int, stride: int
    ) -> None:
        """The original tells one frame too many wherever a hop ends with the waveform."""
        layer = MelSpectrogram(**{**SMALL, "fft_length": fft_length, "sequence_stride": stride})
        for n_samples in range(17, 90):
            x = torch.rand(n_samples)
            assert layer.compute_output_shape(x.shape) == layer(x).shape

    def test_sizes_that_are_not_known(self) -> None:
        """None goes through."""
        layer = MelSpectrogram(**SMALL)
        assert layer.compute_output_shape((None, None)) == (None, 4, None)
        assert layer.compute_output_shape((None, 2, 400)) == (None, 2, 4, 51)

    def test_too_short(self) -> None:
        """Reflection needs one sample more than the padding."""
        layer = MelSpectrogram(**SMALL)
        assert layer(torch.rand(17)).shape == (4, 3)
        with pytest.raises(UsageError, match="of 16 samples: the front end needs 17"):
            layer(torch.rand(16))
        with pytest.raises(UsageError, match=r"input_shape = \(2, 16\): must have at least 17 sam"):
            layer.compute_output_shape((2, 16))
        with pytest.raises(UsageError, match="without an axis"):
            layer(torch.tensor(1.0))

    @pytest.mark.parametrize("dtype", [torch.int16, torch.int64, torch.uint8, torch.float64])
    def test_numbers_are_what_they_are(self, dtype: torch.dtype) -> None:
        """An int16 of 100 is 100, not a part of full scale."""
        layer = MelSpectrogram(**SMALL)
        x = torch.randint(0, 200, (400,), generator=torch.Generator().manual_seed(1))
        found = layer(x.to(dtype))
        assert found.dtype == torch.float32
        assert torch.equal(found, layer(x.float()))
        assert torch.equal(found, layer(x.numpy()))

    def test_complex_numbers(self) -> None:
        """They are refused, not cut in half."""
        with pytest.raises(UsageError, match=r"inputs = torch.complex64: must be real numbers"):
            MelSpectrogram(**SMALL)(torch.zeros(400, dtype=torch.complex64))


class TestDecibels:
    """The range below a maximum, and whose it is."""

    def test_an_item_is_the_same_in_any_batch(self) -> None:
        """A quiet one beside a loud one keeps its levels, bit for bit."""
        x, layer = golden_signal(), MelSpectrogram(**SHORT)
        batch = torch.stack([0.001 * x, x, x.flip(0)]).reshape(3, 1, -1)
        found = layer(batch)
        for item, alone in zip(found, batch, strict=True):
            assert torch.equal(item, layer(alone))
        for item in found[1:]:
            assert float(item.max() - item.min()) == pytest.approx(80.0, abs=1e-4)

    @pytest.mark.parametrize("top_db", [None, math.inf, 1e9])
    @pytest.mark.parametrize("over", ["item", "batch"])
    def test_no_floor(self, top_db: float | None, over: Literal["item", "batch"]) -> None:
        """None, infinity, or a number so large that nothing lies below."""
        layer = MelSpectrogram(top_db=top_db, top_db_over=over)
        levels = MelSpectrogram(power_to_db=False)(golden_signal()).clamp(min=1e-10).log10() * 10
        torch.testing.assert_close(layer(golden_signal()), levels)

    def test_silence(self) -> None:
        """It is ``min_power``, wherever it is compared with itself."""
        silence = torch.zeros(2, 400)
        assert bool((MelSpectrogram(**SMALL)(silence) == -100.0).all())


class TestConfig:
    """What Keras's layers tell of themselves."""

    def test_all_arguments(self) -> None:
        """With what stands for those that were left out."""
        assert MelSpectrogram(sampling_rate=11025).get_config() == {
            "fft_length": 2048,
            "sequence_stride": 512,
            "sequence_length": 2048,
            "window": "hann",
            "sampling_rate": 11025,
            "num_mel_bins": 128,
            "min_freq": 20.0,
            "max_freq": 5512,
            "power_to_db": True,
            "top_db": 80.0,
            "mag_exp": 2.0,
            "min_power": 1e-10,
            "ref_power": 1.0,
            "name": "mel_spectrogram",
            "dtype": "float32",
            "trainable": True,
        }

    @pytest.mark.parametrize(
        "arguments",
        [
            {},
            {**SHORT, "window": np.hamming(400), "name": "mel", "trainable": False},
            {"top_db_over": "batch", "top_db": 20.0, "dtype": "mixed_float16"},
            {"dtype": torch.float64, "top_db": None, "ref_power": 3.0, "max_freq": 4000.0},
        ],
    )
    def test_there_and_back(self, arguments: dict[str, Any]) -> None:
        """The same layer, and the same config again."""
        layer = MelSpectrogram(**arguments)
        again = MelSpectrogram.from_config(layer.get_config())
        batch = torch.stack([golden_signal(), golden_signal().flip(0) * 0.1])
        assert torch.equal(again(batch), layer(batch))
        told, expected = again.get_config(), layer.get_config()
        np.testing.assert_array_equal(told.pop("window"), expected.pop("window"))
        assert told == expected

    def test_as_keras_writes_it(self) -> None:
        """Its type policy and its window are classes with configs of their own."""
        config = MelSpectrogram(**SHORT).get_config() | {
            "dtype": {
                "module": "keras",
                "class_name": "DTypePolicy",
                "config": {"name": "mixed_bfloat16"},
                "registered_name": None,
            },
            "window": {
                "class_name": "__numpy__",
                "config": {"value": [1.0] * 400, "dtype": "float32"},
            },
        }
        layer = MelSpectrogram.from_config(config)
        expected = mel(**SHORT, window=None).bfloat16()
        assert torch.equal(layer(golden_signal()), expected)

    def test_what_keras_does_not_know(self) -> None:
        """It is refused by its name."""
        with pytest.raises(TypeError, match="n_fft"):
            MelSpectrogram.from_config({"n_fft": 512})


class TestPrecision:
    """What is computed in what, and comes out as what."""

    @pytest.mark.parametrize(
        ("name", "dtype"),
        [
            ("float16", torch.float16),
            ("mixed_float16", torch.float16),
            ("bfloat16", torch.bfloat16),
            (torch.bfloat16, torch.bfloat16),
            ("mixed_bfloat16", torch.bfloat16),
        ],
    )
    def test_half_precision_is_only_rounded_to(
        self, name: str | torch.dtype, dtype: torch.dtype
    ) -> None:
        """Computed in float32."""
        found = mel(dtype=name)
        assert found.dtype == dtype
        assert torch.equal(found, mel().to(dtype))

    def test_float64(self) -> None:
        """By its own argument, or by torch's method; also of what is float32."""
        x = golden_signal()
        layer = MelSpectrogram(**SHORT, dtype="float64", power_to_db=False)
        found = layer(x)
        assert found.dtype == torch.float64
        single = MelSpectrogram(**SHORT, power_to_db=False)
        torch.testing.assert_close(single(x).double(), found, rtol=1e-4, atol=1e-2)
        assert torch.equal(single.double()(x), found)
        # Nothing on the way was float32: noise of float32 would be 100 times this.
        w = torch.hann_window(400).double()
        frame = torch.nn.functional.pad(w, (56, 56)) * x[160 * 20 - 256 : 160 * 20 + 256].double()
        power = torch.fft.rfft(frame).abs().square()
        expected = layer.front_end.filterbank.weight @ power
        torch.testing.assert_close(found[:, 20], expected, rtol=1e-11, atol=1e-11)

    def test_half_and_autocast_change_nothing(self) -> None:
        """A model in half precision takes the layer with it."""
        layer, x = MelSpectrogram(**SMALL), torch.rand(2, 400)
        expected = layer(x)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            assert torch.equal(layer(x), expected)
        assert torch.equal(layer.half()(x), expected)


class TestTorch:
    """Within a model."""

    @pytest.mark.parametrize("arguments", [{}, {"mag_exp": 1.0}, {"mag_exp": 0.5}])
    @pytest.mark.parametrize("over", ["item", "batch"])
    @pytest.mark.parametrize("power_to_db", [True, False])
    def test_silence_has_no_slope(
        self, arguments: dict[str, Any], over: Literal["item", "batch"], *, power_to_db: bool
    ) -> None:
        """The original gives NaN there."""
        layer = MelSpectrogram(**SMALL, **arguments, power_to_db=power_to_db, top_db_over=over)
        x = torch.zeros(2, 400)
        x[1, 200:] = torch.rand(200, generator=torch.Generator().manual_seed(2))
        x.requires_grad_()
        layer(x).sum().backward()
        assert x.grad is not None
        assert bool(torch.isfinite(x.grad).all())
        assert not x.grad[0].any()
        assert bool(x.grad[1].any())

    def test_gradients_are_the_slope(self) -> None:
        """Of every sample, in float64."""
        layer = MelSpectrogram(**SMALL, dtype="float64", top_db_over="batch", top_db=200.0)
        x = torch.rand(2, 40, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
        assert torch.autograd.gradcheck(layer, (x.requires_grad_(),))

    def test_it_has_no_weights(self) -> None:
        """Nothing to learn and nothing to store, as in the original."""
        model = torch.nn.Sequential(MelSpectrogram(**SMALL))
        assert list(model.parameters()) == []
        assert model.state_dict() == {}
        assert model.load_state_dict({}).missing_keys == []

    @pytest.mark.parametrize("over", ["item", "batch"])
    def test_compiled_whole(self, over: Literal["item", "batch"]) -> None:
        """Without a break in the graph."""
        torch.compiler.reset()
        layer, x = MelSpectrogram(**SMALL, top_db_over=over), torch.rand(2, 400)
        compiled = torch.compile(layer, backend="eager", fullgraph=True)
        torch.testing.assert_close(compiled(x), layer(x))

    def test_odd_fft_length(self) -> None:
        """The bins lie where the transform has them; the original's reach up to half the rate."""
        layer = MelSpectrogram(fft_length=511, num_mel_bins=40, min_freq=20.0)
        mels = 1127.0 * np.log1p(np.arange(256) * 16_000 / 511 / 700)
        lowest, highest = (1127.0 * np.log1p(hz / 700) for hz in (20.0, 8000.0))
        e = np.linspace(lowest, highest, 42)[:, None]
        up, down = (mels - e[:-2]) / (e[1:-1] - e[:-2]), (e[2:] - mels) / (e[2:] - e[1:-1])
        expected = np.minimum(up, down).clip(0.0)
        np.testing.assert_allclose(layer.front_end.filterbank.weight, expected, atol=4e-5)
