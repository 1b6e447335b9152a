"""DESED_task under its own names: golden values, the config keys, the scaler and its state."""

from __future__ import annotations

import copy
import inspect
import itertools
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from melcli import presets
from melcli.compat import desed
from melcli.compat.desed import MelSpectrogram, TorchScaler, take_log
from melcli.config import MelConfig
from melcli.dsp.melspectrogram import MelSpectrogram as Ours
from melcli.errors import ScalerError, UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.seeds import assert_golden, golden_signal
else:
    from seeds import assert_golden, golden_signal

FEATS: dict[str, Any] = {
    "n_mels": 128,
    "n_filters": 2048,
    "hop_length": 256,
    "n_window": 2048,
    "sample_rate": 16000,
    "f_min": 0,
    "f_max": 8000,
}
SMALL: dict[str, Any] = {"n_mels": 4, "n_window": 32, "hop_length": 8}
DIGITS = 2e-6
"""Of what is near 1, printed to six places."""


@pytest.fixture(scope="module")
def decibels() -> Tensor:
    """Those of the golden signal, ``(1, 128, 63)``."""
    return take_log(MelSpectrogram(**FEATS)(golden_signal()[None]))


@pytest.fixture(scope="module")
def batches() -> list[Tensor]:
    """Those that the dataset scalers were fitted on."""
    x, mel = golden_signal(), MelSpectrogram()
    quieter = torch.stack([x, 0.1 * x, 0.01 * x])
    return [take_log(mel(quieter)), take_log(mel(x.flip(0)[None]))]


def assert_digits(
    y: Tensor, least: float, largest: float, values: dict[tuple[int, int], float], total: float
) -> None:
    """Ends, values and the sum of numbers near 1."""
    assert y.shape == (1, 128, 63)
    assert float(y.min()) == pytest.approx(least, abs=DIGITS)
    assert float(y.max()) == pytest.approx(largest, abs=DIGITS)
    assert float(y.double().sum()) == pytest.approx(total, abs=DIGITS * y.numel() / 10)
    for (band, frame), value in values.items():
        assert float(y[0, band, frame]) == pytest.approx(value, abs=DIGITS)


class TestGolden:
    """What torchaudio and the scaler really gave."""

    def test_mel(self) -> None:
        """Magnitudes by a symmetric window."""
        found = MelSpectrogram()(golden_signal()[None])
        assert_golden(
            found,
            (1, 128, 63),
            total=94246.01,
            largest=337.7759,
            values={
                (0, 0, 0): 8.06002,
                (0, 16, 15): 3.66221,
                (0, 42, 31): 6.65636,
                (0, 64, 2): 8.77159,
            },
        )
        assert float(found.min()) == pytest.approx(8.46e-5, rel=1e-2)
        assert float(found[0, 127, 62]) == pytest.approx(0.00251768, rel=1e-4)

    def test_take_log(self, decibels: Tensor) -> None:
        """-50 where there is next to nothing."""
        assert_golden(
            decibels,
            (1, 128, 63),
            total=48720.78,
            least=-50.0,
            largest=50.57257,
            values={
                (0, 0, 0): 18.1267,
                (0, 16, 15): 11.2749,
                (0, 42, 31): 16.4647,
                (0, 64, 2): 18.8616,
                (0, 127, 62): -50.0,
            },
            in_decibels=True,
        )

    def test_instance_standard(self, decibels: Tensor) -> None:
        """Of all bands together."""
        y = TorchScaler("instance", "standard", (1, 2))(decibels)
        assert_digits(y, -2.005368, 1.593466, {(0, 0): 0.432441, (16, 15): 0.187259}, 0.0)

    def test_instance_standard_of_bands(self, decibels: Tensor) -> None:
        """Each by itself."""
        y = TorchScaler("instance", "standard", (2,))(decibels)
        assert_digits(y, -2.114375, 1.213168, {(0, 0): 0.881065, (16, 15): 0.398213}, 0.0)

    def test_instance_mean(self, decibels: Tensor) -> None:
        """Moved only."""
        y = TorchScaler("instance", "mean", (1, 2))(decibels)
        assert_golden(
            y,
            (1, 128, 63),
            least=-56.04176,
            largest=44.53081,
            values={(0, 0, 0): 12.085, (0, 16, 15): 5.23311},
            in_decibels=True,
        )
        assert abs(float(y.double().sum())) < 0.1

    def test_instance_minmax(self, decibels: Tensor) -> None:
        """From -1 to 1, as since April 2024."""
        y = TorchScaler("instance", "minmax", [1, 2])(decibels)
        assert_digits(y, -1.0, 1.0, {(0, 0): 0.354777, (16, 15): 0.218521}, 922.9589)

    def test_instance_minmax01(self, decibels: Tensor) -> None:
        """From 0 to 1, as before: half of the same, and a half."""
        y = TorchScaler("instance", "minmax01", [1, 2])(decibels)
        total = (922.9589 + y.numel()) / 2
        assert_digits(y, 0.0, 1.0, {(0, 0): 0.6773885, (16, 15): 0.6092605}, total)

    def test_dataset_standard(self, decibels: Tensor, batches: list[Tensor]) -> None:
        """Three items in one batch, one in the other: each batch weighs the same."""
        scaler = TorchScaler("dataset", "standard", (1, 2)).fit([(b, "label") for b in batches])
        assert scaler.mean is not None
        assert scaler.mean_squared is not None
        assert scaler.mean.shape == scaler.mean_squared.shape == (1, 1, 1)
        assert float(scaler.mean) == pytest.approx(-2.19037247, abs=1e-5)
        assert float(scaler.mean_squared) == pytest.approx(776.59265, rel=1e-6)
        assert_digits(scaler(decibels), -1.720935, 1.899232, {(0, 0): 0.731325}, 2389.528)

    def test_dataset_statistics_of_bands(self, batches: list[Tensor]) -> None:
        """One number each."""
        scaler = TorchScaler("dataset", "standard", (2,)).fit(batches, lambda batch: batch)
        assert scaler.mean is not None
        assert scaler.mean_squared is not None
        assert scaler.mean.shape == (1, 128, 1)
        mean, squared = scaler.mean.flatten()[:3], scaler.mean_squared.flatten()[:3]
        assert mean.tolist() == pytest.approx([-10.726507, -9.985, -11.101883], abs=1e-5)
        assert squared.tolist() == pytest.approx([679.07556, 676.61664, 678.138], rel=1e-6)


class TestMelSpectrogram:
    """The recipe's call, by its own keys."""

    def test_names_and_defaults(self) -> None:
        """Those of the recipes' ``feats``; the scaler's are the original's."""
        parameters = inspect.signature(MelSpectrogram).parameters
        assert {name: p.default for name, p in parameters.items()} == FEATS
        parameters = inspect.signature(TorchScaler).parameters
        assert {name: p.default for name, p in parameters.items()} == {
            "statistic": "dataset",
            "normtype": "standard",
            "dims": (1, 2),
            "eps": 1e-8,
        }
        assert list(inspect.signature(TorchScaler.fit).parameters)[1:] == [
            "dataloader",
            "transform_func",
        ]

    def test_config(self) -> None:
        """The front end named desed, up to the mel; the rest is the scaler's and take_log's."""
        layer = MelSpectrogram(**FEATS)
        whole = presets.load("desed").config
        mel = MelConfig(wave=whole.wave, frame=whole.frame, spec=whole.spec, mel=whole.mel)
        assert layer.config == mel
        assert layer.config is not None
        x = golden_signal()
        assert torch.equal(Ours(layer.config)(x), layer(x))
        scaler = TorchScaler("instance", "minmax", [1, 2])
        torch.testing.assert_close(
            scaler(take_log(layer(x[None]))), Ours(whole)(x[None]), rtol=0, atol=1e-6
        )

    def test_shapes(self) -> None:
        """Any leading axes, and none; ten seconds are 626 frames."""
        layer = MelSpectrogram(**SMALL)
        for leading in [(), (3,), (2, 2), (0,)]:
            assert layer(torch.rand(*leading, 100)).shape == (*leading, 4, 13)
        with pytest.raises(UsageError, match="the front end needs 17"):
            layer(torch.rand(2, 16))

    @pytest.mark.parametrize(
        ("arguments", "told"),
        [
            ({"n_window": 0}, "n_window = 0: must be at least 2"),
            ({"hop_length": -1}, "hop_length = -1: must be at least 1"),
            ({"f_max": 9000}, "f_max = 9000: must be at most half of sample_rate, 8000 Hz"),
            ({"f_min": 8000}, "f_max = 8000: must be above f_min = 8000 Hz"),
            ({"n_mels": 12.5}, "n_mels = 12.5: must be a whole number"),
        ],
    )
    def test_what_cannot_be(self, arguments: dict[str, Any], told: str) -> None:
        """The argument, its value and what is allowed, as a ValueError."""
        with pytest.raises(UsageError) as caught:
            MelSpectrogram(**arguments)
        assert str(caught.value).startswith(told)
        with pytest.raises(TypeError):
            MelSpectrogram(n_fft=2048)  # type: ignore[call-arg]

    def test_silence_has_no_slope(self) -> None:
        """Through the mel, its decibels and every instance scaler; -50 everywhere."""
        for normtype in ("standard", "mean", "minmax", "minmax01"):
            x = torch.zeros(2, 400, requires_grad=True)
            log = take_log(MelSpectrogram(**SMALL)(x))
            assert bool((log == -50.0).all())
            y = TorchScaler("instance", normtype)(log)
            assert bool(torch.isfinite(y).all())
            y.sum().backward()
            assert x.grad is not None
            assert not x.grad.any()

    def test_state(self) -> None:
        """Two buffers of torchaudio's, as a trainer's checkpoint holds them; they are used."""
        layer = MelSpectrogram(**SMALL)
        state = layer.state_dict()
        assert {name: tuple(t.shape) for name, t in state.items()} == {
            "spectrogram.window": (32,),
            "mel_scale.fb": (17, 4),
        }
        x = torch.rand(1, 100)
        expected = layer(x)
        layer.load_state_dict(state)
        assert torch.equal(layer(x), expected)
        other = {"spectrogram.window": torch.rand(32), "mel_scale.fb": torch.rand(17, 4)}
        layer.load_state_dict(other)
        padded = nn.functional.pad(x, (16, 16), mode="reflect").unfold(-1, 32, 8)
        spectra = torch.fft.rfft(padded * other["spectrogram.window"]).abs()
        expected = (spectra @ other["mel_scale.fb"]).mT
        torch.testing.assert_close(layer(x), expected, rtol=1e-5, atol=1e-5)
        assert all(torch.equal(layer.state_dict()[name], t) for name, t in other.items())
        with pytest.raises(RuntimeError, match=r"mel_scale.fb of shape \(4, 17\): must be"):
            layer.load_state_dict({**other, "mel_scale.fb": torch.rand(4, 17)})
        with pytest.raises(RuntimeError, match=r"Missing key.*spectrogram\.window"):
            layer.load_state_dict({"mel_scale.fb": other["mel_scale.fb"]})

    def test_precision(self) -> None:
        """float64 after ``double()``; half precision comes back as it came."""
        layer, x = MelSpectrogram(**SMALL), torch.rand(2, 100)
        single = take_log(layer(x))
        assert take_log(layer(x.half()).half()).dtype == torch.float16
        double = take_log(layer.double()(x.double()))
        assert double.dtype == torch.float64
        torch.testing.assert_close(double.float(), single, rtol=0, atol=1e-4)


# What the original computes, said again in float64


def by_formula(x: Tensor, normtype: str, dims: Sequence[int], eps: float) -> Tensor:
    """Instances."""
    wide, over = x.double(), list(dims)
    mean = wide.mean(over, keepdim=True)
    least, largest = wide.amin(over, keepdim=True), wide.amax(over, keepdim=True)
    if normtype == "mean":
        return wide - mean
    if normtype == "standard":
        return (wide - mean) / (wide.std(over, keepdim=True) + eps)
    share = (wide - least) / (largest - least + eps)
    return share if normtype == "minmax01" else 2.0 * share - 1.0


def divisor(x: Tensor, normtype: str, dims: Sequence[int], eps: float) -> Tensor:
    """What instances are divided by."""
    wide, over = x.double(), list(dims)
    if normtype == "mean":
        return torch.ones(())
    if normtype == "standard":
        return wide.std(over, keepdim=True) + eps
    return wide.amax(over, keepdim=True) - wide.amin(over, keepdim=True) + eps


def fitted_by_formula(batches: Sequence[Tensor], dims: Sequence[int]) -> tuple[Tensor, Tensor]:
    """Mean, and mean of squares, over items and then over batches."""
    found = []
    for power in (1, 2):
        means = [b.double().pow(power).mean(list(dims), keepdim=True) for b in batches]
        found.append(torch.stack([m.mean(0, keepdim=True) for m in means]).mean(0))
    return found[0], found[1]


DIMS = [
    dims
    for n in (1, 2, 3)
    for dims in itertools.combinations((0, 1, 2), n)
]  # fmt: skip


def drawn(shape: tuple[int, ...], seed: int) -> Tensor:
    """Decibels of no sound in particular."""
    noise = torch.randn(shape, generator=torch.Generator().manual_seed(seed))
    return (20.0 * noise - 10.0).clamp(-50.0, 80.0)


class TestInstances:
    """Every type over every set of axes."""

    @settings(deadline=None, max_examples=80)
    @given(
        normtype=st.sampled_from(["mean", "standard", "minmax", "minmax01"]),
        dims=st.sampled_from([*DIMS, (-1,), (-2, -1), (2, 1)]),
        shape=st.tuples(st.integers(2, 4), st.integers(2, 6), st.integers(2, 300)),
        eps=st.sampled_from([1e-8, 0.5]),
        seed=st.integers(0, 1 << 30),
    )
    def test_formulas(
        self, normtype: Any, dims: Any, shape: tuple[int, int, int], eps: float, seed: int
    ) -> None:
        """To float32's rounding of numbers near 50, in units of what they are divided by."""
        x = drawn(shape, seed)
        expected = by_formula(x, normtype, dims, eps)
        ours = TorchScaler("instance", normtype, list(dims), eps)(x)
        assert ours.dtype == torch.float32
        # Two numbers of 50 may differ by 0.1: what they are rounded by is large beside that.
        units = divisor(x, normtype, dims, eps)
        torch.testing.assert_close(ours.double() * units, expected * units, rtol=1e-5, atol=2e-5)

    def test_any_number_of_axes(self) -> None:
        """Those of an embedding, and channels beside the batch."""
        for shape, dims in (((5,), (0,)), ((3, 4, 5, 6), (1, 3)), ((3, 7), (1,))):
            x = drawn(shape, 1).double()
            expected = by_formula(x, "standard", dims, 1e-8)
            torch.testing.assert_close(TorchScaler("instance", "standard", dims)(x), expected)

    @pytest.mark.parametrize("normtype", ["standard", "mean", "minmax", "minmax01"])
    def test_what_never_varies(self, normtype: Any) -> None:
        """0, or the low end; one number alone too, of which torch's deviation is NaN."""
        low = {"minmax": -1.0}.get(normtype, 0.0)
        for shape in ((2, 3, 50), (2, 1, 1)):
            y = TorchScaler("instance", normtype)(torch.full(shape, -37.3))
            assert y.unique().tolist() == [low]

    def test_items_are_by_themselves(self) -> None:
        """Also none at all."""
        scaler, x = TorchScaler("instance", "standard"), drawn((3, 4, 50), 2)
        apart = torch.cat([scaler(item[None]) for item in x])
        torch.testing.assert_close(scaler(x), apart, rtol=0, atol=1e-6)
        assert scaler(x[:0]).shape == (0, 4, 50)

    @pytest.mark.parametrize("normtype", ["standard", "mean", "minmax", "minmax01"])
    @pytest.mark.parametrize("dims", [(1, 2), (2,), (0, 2)])
    def test_gradients_are_the_slope(self, normtype: Any, dims: tuple[int, ...]) -> None:
        """In float64, the statistics' part of it included."""
        x = drawn((2, 3, 5), 4).double().requires_grad_()
        scaler = TorchScaler("instance", normtype, dims).double()
        assert torch.autograd.gradcheck(scaler, (x,))

    def test_compiled_whole(self) -> None:
        """Without a break in the graph, instances and dataset."""
        x = drawn((2, 3, 50), 5)
        dataset = TorchScaler().fit([(x,)])
        for scaler in (TorchScaler("instance", "minmax"), TorchScaler("instance"), dataset):
            torch.compiler.reset()
            compiled = torch.compile(scaler, backend="eager", fullgraph=True)
            torch.testing.assert_close(compiled(x), scaler(x))


class TestDataset:
    """Statistics of batches."""

    @settings(deadline=None, max_examples=60)
    @given(
        normtype=st.sampled_from(["mean", "standard"]),
        dims=st.sampled_from([*DIMS, (-1,), (-2, -1)]),
        sizes=st.lists(st.tuples(st.integers(1, 4), st.integers(20, 90)), min_size=1, max_size=4),
        seed=st.integers(0, 1 << 30),
    )
    def test_formulas(
        self, normtype: Any, dims: Any, sizes: list[tuple[int, int]], seed: int
    ) -> None:
        """Batches of any size weigh the same; frames may differ where they are reduced."""
        n_frames = None if {2, -1} & set(dims) else 40
        batches = [drawn((n, 3, n_frames or t), seed + i) for i, (n, t) in enumerate(sizes)]
        x = drawn((2, 3, 40), seed + 9)
        mean, squared = fitted_by_formula(batches, dims)
        scaler = TorchScaler("dataset", normtype, dims).fit(batches, lambda batch: batch)
        assert scaler.mean is not None
        assert scaler.mean_squared is not None
        torch.testing.assert_close(scaler.mean.double(), mean, rtol=1e-6, atol=1e-6)
        torch.testing.assert_close(scaler.mean_squared.double(), squared, rtol=1e-6, atol=1e-6)
        # As they are kept, in float32; a bin seen a few times may hardly vary.
        mean, squared = scaler.mean.double(), scaler.mean_squared.double()
        deviation = (squared - mean.square()).clamp(min=0.0).sqrt()
        if normtype == "mean":
            expected = x.double() - mean
        else:
            nothing = deviation.square() < 1.2e-7 * squared
            expected = (x.double() - mean) / torch.where(nothing, 1.0, deviation + 1e-8)
        atol = 2e-5 * max(1.0, float(expected.abs().max() / x.abs().max()))
        torch.testing.assert_close(scaler(x).double(), expected, rtol=1e-5, atol=atol)

    def test_what_never_varies_is_only_moved(self) -> None:
        """In float32 the original's variances are 0, 1e-4, 0 and -1e-13, whose root is NaN."""
        loud = torch.tensor([-50.0, -37.1, 80.0, 1e-3])[None, :, None]
        batches = [loud.expand(3, 4, 70).clone(), loud.expand(1, 4, 50).clone()]
        for dims in ((2,), (0, 2)):
            scaler = TorchScaler(dims=dims).fit(batches, lambda batch: batch)
            torch.testing.assert_close(
                scaler(loud + 3.0), torch.full((1, 4, 1), 3.0), rtol=0, atol=1e-5
            )

    def test_it_is_added_up_in_float64(self) -> None:
        """Many small batches of what lies far from 0."""
        rng = np.random.default_rng(0)
        values = torch.from_numpy(rng.standard_normal((2000, 1, 1, 4)) - 1000.0).float()
        scaler = TorchScaler().fit(list(values), lambda batch: batch)
        assert scaler.mean is not None
        assert float(scaler.mean) == float(values.double().mean().float())

    def test_fitting_again_starts_anew(self) -> None:
        """And in vain changes nothing."""
        scaler = TorchScaler().fit([drawn((1, 2, 9), 1)[None]])
        scaler.fit([drawn((1, 2, 9), 2)[None]])
        expected = TorchScaler().fit([drawn((1, 2, 9), 2)[None]])
        assert scaler.mean is not None
        assert expected.mean is not None
        assert torch.equal(scaler.mean, expected.mean)
        for loader, told in (
            ([], "no batches to fit on"),
            ([torch.full((1, 1, 2, 9), torch.nan)], "NaN or infinity in batch 0"),
            ([torch.full((1, 1, 2, 9), -torch.inf)], "NaN or infinity in batch 0"),
        ):
            with pytest.raises(ScalerError, match=told):
                scaler.fit(loader)
            assert torch.equal(scaler.mean, expected.mean)

    def test_other_features(self) -> None:
        """Told when they are fitted, and when they are scaled."""
        by_band, all_bands = TorchScaler(dims=(2,)), TorchScaler()
        with pytest.raises(ScalerError, match=r"of shape \(1, 3, 9\) in batch 1"):
            by_band.fit([torch.rand(1, 2, 9), torch.rand(1, 3, 9)], lambda batch: batch)
        batches = [drawn((2, 3, 9), 1), drawn((2, 3, 12), 1)]
        for scaler in (by_band, all_bands):
            scaler.fit(batches, lambda batch: batch)
            assert scaler(torch.rand(5, 3, 2)).shape == (5, 3, 2)
            assert scaler(torch.rand(0, 3, 2)).shape == (0, 3, 2)
            with pytest.raises(ScalerError, match=r"fitted on statistics of shape \(1, . 1\)|fit"):
                scaler(torch.rand(5, 3, 2, 2))
        with pytest.raises(ScalerError, match=r"fitted on statistics of shape \(1, 3, 1\)"):
            by_band(torch.rand(5, 4, 9))
        assert all_bands(torch.rand(5, 4, 9)).shape == (5, 4, 9)
        with pytest.raises(UsageError, match=r"dims = \(1, 2\): must be axes of features"):
            all_bands(torch.rand(5, 4))

    def test_gradients_are_the_slope(self) -> None:
        """In float64."""
        scaler = TorchScaler(dims=(2,)).fit([drawn((2, 3, 50), 1)], lambda batch: batch).double()
        x = drawn((2, 3, 5), 4).double().requires_grad_()
        assert torch.autograd.gradcheck(scaler, (x,))

    def test_fitted_in_inference_mode(self) -> None:
        """What is learnt before it can be learnt all the same."""
        scaler = TorchScaler()
        with torch.inference_mode():
            scaler.fit([drawn((2, 3, 50), 1)], lambda batch: batch)
        x = drawn((1, 3, 5), 2).requires_grad_()
        scaler(x).sum().backward()
        assert x.grad is not None
        assert bool((x.grad > 0).all())


class TestArguments:
    """What passes, and what is refused."""

    @pytest.mark.parametrize(("statistic", "normtype"), [(None, "standard"), ("dataset", None)])
    def test_none_changes_nothing(self, statistic: Any, normtype: Any) -> None:
        """Not even a fit is needed."""
        x = torch.arange(6)
        assert TorchScaler(statistic, normtype)(x) is x

    @pytest.mark.parametrize(
        ("arguments", "told"),
        [
            ({"statistic": "global"}, "statistic = 'global': must be one of 'dataset', 'inst"),
            ({"normtype": "max"}, "normtype = 'max': must be one of 'standard', 'mean', 'minm"),
            ({"normtype": "minmax"}, "normtype = 'minmax': must be 'standard' or 'mean'"),
            ({"normtype": "minmax01"}, "normtype = 'minmax01': must be 'standard' or 'mean'"),
            ({"dims": ()}, "dims = (): must be one axis or several, each once"),
            ({"dims": (1, 1)}, "dims = (1, 1): must be one axis or several, each once"),
            ({"dims": (1.0,)}, "dims = (1.0,): must be one axis or several, each once"),
            ({"eps": -1.0}, "eps = -1.0: must be at least 0"),
        ],
    )
    def test_what_cannot_be(self, arguments: dict[str, Any], told: str) -> None:
        """The argument, its value and what is allowed, as a ValueError."""
        with pytest.raises(UsageError) as caught:
            TorchScaler(**arguments)
        assert str(caught.value).startswith(told)

    def test_what_cannot_be_scaled(self) -> None:
        """Whole numbers, missing axes, nothing to take statistics of, a scaler never fitted."""
        scaler = TorchScaler("instance")
        with pytest.raises(UsageError, match=r"tensor = torch.int64: must be floating point"):
            scaler(torch.ones(1, 2, 3, dtype=torch.int64))
        with pytest.raises(UsageError, match=r"dims = \(1, 2\): must be axes of features"):
            scaler(torch.ones(2, 3))
        with pytest.raises(UsageError, match="nothing to take statistics of"):
            scaler(torch.ones(2, 3, 0))
        with pytest.raises(ScalerError, match="the scaler is not fitted"):
            TorchScaler()(torch.ones(1, 2, 3))

    @pytest.mark.parametrize("given", [{"a": 1}, torch.ones(2, 3, 4, dtype=torch.int64)])
    def test_what_cannot_be_fitted(self, given: Any) -> None:
        """No tensor, or no floating point; and a scaler that fits nothing."""
        with pytest.raises(UsageError, match=r"transform_func = .*: must give a tensor"):
            TorchScaler().fit([given], lambda batch: batch)
        with pytest.raises(UsageError, match="must give numbers"):
            TorchScaler().fit([torch.rand(0, 2, 3)], lambda batch: batch)
        for statistic in ("instance", None):
            scaler = TorchScaler(statistic)
            with pytest.raises(UsageError, match="must be 'dataset' to be fitted"):
                scaler.fit([torch.ones(1, 2, 3, 4)])


class TestState:
    """Two tensors, or none."""

    @staticmethod
    def state(prefix: str = "", shape: tuple[int, ...] = (1, 1, 1)) -> dict[str, Tensor]:
        """What the original saves."""
        return {
            f"{prefix}mean": torch.full(shape, 1.0),
            f"{prefix}mean_squared": torch.full(shape, 5.0),
        }

    def test_names(self) -> None:
        """None before a fit, and none of instances."""
        for scaler in (TorchScaler(), TorchScaler("instance"), TorchScaler(None)):
            assert scaler.state_dict() == {}
        scaler = TorchScaler(dims=(2,)).fit([torch.rand(2, 2, 4, 9)])
        assert {name: tuple(t.shape) for name, t in scaler.state_dict().items()} == {
            "mean": (1, 4, 1),
            "mean_squared": (1, 4, 1),
        }
        assert all(tensor.dtype == torch.float32 for tensor in scaler.state_dict().values())
        assert "not fitted" in repr(TorchScaler())
        assert "not fitted" not in repr(scaler)

    def test_into_unfitted_and_fitted(self) -> None:
        """Strictly, and inside a trainer; the original refuses the first."""
        x = torch.full((2, 3, 4), 5.0)
        fitted = TorchScaler().fit([torch.rand(2, 2, 4, 9)])
        for scaler in (TorchScaler(), fitted):
            told = scaler.load_state_dict(self.state())
            assert (told.missing_keys, told.unexpected_keys) == ([], [])
            assert torch.equal(scaler(x), torch.full((2, 3, 4), 2.0))
            assert all(
                torch.equal(scaler.state_dict()[name], t) for name, t in self.state().items()
            )
        trainer = nn.ModuleDict({"scaler": TorchScaler(), "net": nn.Linear(1, 1)})
        rest = {f"net.{name}": t for name, t in trainer["net"].state_dict().items()}
        trainer.load_state_dict(self.state("scaler.") | rest)
        assert torch.equal(trainer["scaler"](x), torch.full((2, 3, 4), 2.0))
        moved = TorchScaler(normtype="mean")
        moved.load_state_dict(self.state())
        assert torch.equal(moved(x), x - 1.0)

    def test_saved_and_loaded_is_the_same(self) -> None:
        """Bit for bit, by state, by copy."""
        x = drawn((2, 3, 40), 1)
        scaler = TorchScaler(dims=(2,)).fit([x], lambda batch: batch)
        loaded = TorchScaler(dims=(2,))
        loaded.load_state_dict(scaler.state_dict())
        assert torch.equal(loaded(x), scaler(x))
        assert torch.equal(copy.deepcopy(scaler)(x), scaler(x))

    def test_instances_ignore_it(self) -> None:
        """A checkpoint may hold what another scaler was fitted on."""
        scaler = TorchScaler("instance", "minmax")
        scaler.load_state_dict(self.state())
        assert scaler.state_dict() == {}
        nn.ModuleDict({"scaler": scaler}).load_state_dict(self.state("scaler."))

    def test_what_does_not_fit(self) -> None:
        """Other axes, half of it, and what no features have: told, and nothing is changed."""
        scaler = TorchScaler().fit([torch.rand(2, 2, 4, 9)])
        before = {name: tensor.clone() for name, tensor in scaler.state_dict().items()}
        x = torch.rand(1, 4, 9)
        expected = scaler(x)
        broken = self.state()
        broken["mean_squared"] = torch.full((1, 1, 1), 0.5)
        infinite = self.state()
        infinite["mean"] = torch.full((1, 1, 1), torch.inf)
        unlike = self.state()
        unlike["mean_squared"] = torch.ones(1, 2, 1)
        for state, told in (
            (self.state(shape=(1, 4, 1)), r"dims = \(1, 2\): no statistics of shape \(1, 4, 1\)"),
            (self.state(shape=(1,)), r"dims = \(1, 2\): must be axes of"),
            (broken, "mean_squared is less than the square of mean"),
            (infinite, "NaN or infinite"),
            (unlike, r"mean_squared of shape \(1, 2, 1\): must be \(1, 1, 1\)"),
            ({"mean": torch.ones(1, 1, 1)}, r"Missing key.*mean_squared"),
            ({}, r"Missing key.*mean"),
        ):
            with pytest.raises(RuntimeError, match=told):
                scaler.load_state_dict(state)
            assert all(torch.equal(scaler.state_dict()[n], t) for n, t in before.items())
            assert torch.equal(scaler(x), expected)
        with pytest.raises(RuntimeError, match=r"Unexpected key.*std"):
            scaler.load_state_dict(before | {"std": torch.ones(1)})
        told = scaler.load_state_dict({"mean": torch.ones(1, 1, 1)}, strict=False)
        assert told.missing_keys == ["mean_squared"]
        assert torch.equal(scaler(x), expected)
        other = TorchScaler(dims=(2,))
        other.load_state_dict(self.state())
        with pytest.raises(ScalerError, match=r"fitted on statistics of shape \(1, 1, 1\)"):
            other(torch.rand(1, 4, 9))

    def test_of_half_precision(self) -> None:
        """It is kept in float32, and casts round nothing below that."""
        scaler = TorchScaler()
        scaler.load_state_dict({name: t.half() for name, t in self.state().items()})
        x = torch.full((2, 3, 4), 5.0)
        assert scaler(x).dtype == torch.float32
        assert torch.equal(scaler.half()(x), torch.full((2, 3, 4), 2.0))
        assert torch.equal(scaler(x.half()), torch.full((2, 3, 4), 2.0).half())
        assert scaler(x.double()).dtype == torch.float64
        assert all(t.dtype == torch.float32 for t in scaler.state_dict().values())
        assert scaler.double()(x).dtype == torch.float32


def test_public_names() -> None:
    """The three of the recipe."""
    assert sorted(desed.__all__) == ["MelSpectrogram", "TorchScaler", "take_log"]
