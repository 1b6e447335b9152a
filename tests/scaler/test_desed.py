"""Every mode of DESED_task's TorchScaler: the numbers that it gave, and its formulas.

Where an item is scaled by itself, that is a front end; where it is scaled by the statistics of a
dataset, that is ``Scaler(weight="batch")``.
The values were printed by the original on one signal, to seven digits or fewer.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from melcli import presets
from melcli.dsp.compression import UtteranceMeanVar, UtteranceMinMax
from melcli.dsp.frontend import FrontEnd
from melcli.errors import ScalerError
from melcli.scaler.module import Scaler

if TYPE_CHECKING:
    from collections.abc import Sequence

    from melcli.dsp.stage import MeasuredStage
    from tests.test_configs import kapre_waveforms
else:
    from test_configs import kapre_waveforms

pytestmark = pytest.mark.filterwarnings("ignore:Scaler. only:UserWarning")

DECIBELS = 1e-4
"""They are printed to four places; 4.5e-5 was the most apart."""
DIGITS = 2e-6
"""Of what is near 1, printed to six places; 5.1e-7 was the most apart."""

INSTANCE: dict[str, dict[str, object]] = {
    "take_log": {"scale.utt_norm": "none"},
    "standard of all": {"scale.utt_norm": "mean_var", "scale.utt_over": "all"},
    "standard of bins": {"scale.utt_norm": "mean_var"},
    "mean of all": {"scale.utt_norm": "mean", "scale.utt_over": "all"},
    "minmax": {},
    "minmax before 2024": {"scale.utt_norm": "minmax01"},
}
"""What makes each instance mode of the front end as it stands."""


def mel_of(*waveforms: np.ndarray[Any, Any], mode: str = "take_log") -> Tensor:
    """``(n_items, 128, 63)``."""
    frontend = FrontEnd(presets.load("desed").config.updated(INSTANCE[mode]))
    with torch.inference_mode():
        mel: Tensor = frontend(torch.from_numpy(np.stack(waveforms)))
    return mel.clone()


@pytest.fixture(scope="module")
def waveform() -> np.ndarray[Any, Any]:
    """The signal: a tone in noise that falls quiet."""
    x = kapre_waveforms()[0]
    first = [0.00277402, 0.0039199, 0.09722547, 0.20509024]
    assert x[:4].tolist() == pytest.approx(first, abs=6e-9)
    wide = x.astype(np.float64)
    assert wide.sum() == pytest.approx(4.23573720, abs=1e-7)
    assert np.square(wide).sum() == pytest.approx(996.116440, abs=1e-6)
    return x


@pytest.fixture(scope="module")
def log_mel(waveform: np.ndarray[Any, Any]) -> Tensor:
    """Decibels, ``(1, 128, 63)``."""
    return mel_of(waveform)


@pytest.fixture(scope="module")
def batches(waveform: np.ndarray[Any, Any]) -> list[Tensor]:
    """What the dataset scalers were fitted on."""
    quieter = [waveform * np.float32(gain) for gain in (1.0, 0.1, 0.01)]
    return [mel_of(*quieter), mel_of(waveform[::-1].copy())]


def assert_golden(
    mel: Tensor,
    total: float | None,
    ends: tuple[float, float] | None,
    values: dict[tuple[int, int], float],
    tolerance: float,
) -> None:
    """Shape, sum, ends and single values, the sum to the tolerance of each of its numbers."""
    assert mel.shape == (1, 128, 63)
    wide = mel.to(torch.float64)
    if total is not None:
        assert float(wide.sum()) == pytest.approx(total, abs=tolerance * wide.numel() / 10)
    if ends is not None:
        assert float(wide.min()) == pytest.approx(ends[0], abs=tolerance)
        assert float(wide.max()) == pytest.approx(ends[1], abs=tolerance)
    for (band, frame), value in values.items():
        assert float(wide[0, band, frame]) == pytest.approx(value, abs=tolerance)


def test_the_mel_is_the_golden_one(waveform: np.ndarray[Any, Any]) -> None:
    """Magnitudes, before any logarithm."""
    linear = {"log.log": "none", "log.log_mult": 1.0, "log.floor_mode": "none", "log.floor": 0.0}
    config = presets.load("desed").config.updated(linear | INSTANCE["take_log"])
    mel = FrontEnd(config.updated({"scale.pre_clip": [0.0, 1e9]}))(torch.from_numpy(waveform))
    assert mel.shape == (128, 63)
    # Float32 accuracy: 1e-5 of the value where there is sound, and looser where there is little.
    assert float(mel.sum()) == pytest.approx(94246.01, rel=1e-5)
    assert float(mel.max()) == pytest.approx(337.7759, rel=1e-6)
    values = {(0, 0): 8.06002, (16, 15): 3.66221, (42, 31): 6.65636, (64, 2): 8.77159}
    for place, value in (values | {(127, 62): 0.00251768}).items():
        assert float(mel[place]) == pytest.approx(value, rel=1e-5)
    assert float(mel.min()) == pytest.approx(8.46e-5, rel=1e-2)


GOLDEN: dict[str, tuple[float, tuple[float, float], dict[tuple[int, int], float], float]] = {
    "take_log": (
        48720.78,
        (-50.0, 50.57257),
        {(0, 0): 18.1267, (16, 15): 11.2749, (42, 31): 16.4647, (64, 2): 18.8616, (127, 62): -50.0},
        DECIBELS,
    ),
    "standard of all": (
        0.0, (-2.005368, 1.593466), {(0, 0): 0.432441, (16, 15): 0.187259}, DIGITS,
    ),
    "standard of bins": (
        0.0, (-2.114375, 1.213168), {(0, 0): 0.881065, (16, 15): 0.398213}, DIGITS,
    ),
    "mean of all": (0.0, (-56.04176, 44.53081), {(0, 0): 12.085, (16, 15): 5.23311}, DECIBELS),
    "minmax": (922.9589, (-1.0, 1.0), {(0, 0): 0.354777, (16, 15): 0.218521}, DIGITS),
}  # fmt: skip


@pytest.mark.parametrize("mode", GOLDEN)
def test_instance_modes_give_the_golden_values(mode: str, waveform: np.ndarray[Any, Any]) -> None:
    """The front end, with one setting or two for each mode."""
    assert_golden(mel_of(waveform, mode=mode), *GOLDEN[mode])


def test_minmax_before_april_2024(waveform: np.ndarray[Any, Any], log_mel: Tensor) -> None:
    """From 0 to 1, by the formula of then from the decibels whose values are golden."""
    ours = mel_of(waveform, mode="minmax before 2024")
    least, largest = -50.0, 50.57257
    values = {(0, 0): 18.1267, (16, 15): 11.2749, (42, 31): 16.4647, (64, 2): 18.8616}
    expected = {at: (value - least) / (largest - least + 1e-8) for at, value in values.items()}
    total = (48720.78 - least * log_mel.numel()) / (largest - least + 1e-8)
    assert_golden(ours, total, (0.0, 1.0), expected, DIGITS)


def test_the_front_end_takes_the_deviation_as_torch_does() -> None:
    """A sample's deviation (N - 1) and an eps of 1e-8 beside it, unasked."""
    config = presets.load("desed").config
    assert (config.scale.utt_ddof, config.scale.utt_eps) == (1, 1e-8)
    assert config.scale.utt_eps_mode == "std"


def test_dataset_standard_of_all(log_mel: Tensor, batches: list[Tensor]) -> None:
    """One mean and one mean square, each batch weighing the same."""
    scaler = Scaler(over="all", weight="batch").fit(batches)
    moments = scaler.statistics.over_all().moments
    assert moments.mean.tolist() == pytest.approx([-2.19037247], abs=1e-5)
    squares = moments.variance + np.square(moments.mean)
    assert squares.tolist() == pytest.approx([776.59265], rel=1e-6)
    y = scaler(log_mel)
    assert_golden(y, 2389.528, (-1.720935, 1.899232), {(0, 0): 0.731325}, DIGITS)


def test_dataset_standard_of_bins(log_mel: Tensor, batches: list[Tensor]) -> None:
    """A mean and a mean square for each band."""
    scaler = Scaler(weight="batch").fit(batches)
    moments = scaler.statistics.moments
    squares = moments.variance + np.square(moments.mean)
    assert moments.mean[:3] == pytest.approx([-10.726507, -9.985, -11.101883], abs=1e-5)
    assert squares[:3] == pytest.approx([679.07556, 676.61664, 678.138], rel=1e-6)
    original = TorchScaler("standard", (2,)).fit(batches)
    torch.testing.assert_close(scaler(log_mel.double()), original(log_mel.double()))


def test_dataset_mean(log_mel: Tensor, batches: list[Tensor]) -> None:
    """Only moved: by one number, or by one a band."""
    moved = Scaler("mean", "all", weight="batch").fit(batches)(log_mel)
    assert float(moved[0, 0, 0]) == pytest.approx(18.1267 + 2.19037247, abs=DECIBELS)
    by_band = Scaler("mean", weight="batch").fit(batches)(log_mel)
    assert float(by_band[0, 0, 0]) == pytest.approx(18.1267 + 10.726507, abs=DECIBELS)


# The formulas, in float64


class TorchScaler(nn.Module):
    """What the original computes over a dataset, said again in float64."""

    mean: Tensor
    mean_squared: Tensor

    def __init__(self, normtype: str, dims: Sequence[int]) -> None:
        super().__init__()
        self.normtype, self.dims = normtype, list(dims)

    def fit(self, batches: Sequence[Tensor]) -> TorchScaler:
        """Average over the items of a batch, and then over batches."""
        means, squares = [], []
        for batch in batches:
            wide = batch.to(torch.float64)
            means.append(wide.mean(self.dims, keepdim=True).mean(0, keepdim=True))
            squares.append(wide.square().mean(self.dims, keepdim=True).mean(0, keepdim=True))
        self.register_buffer("mean", torch.stack(means).mean(0))
        self.register_buffer("mean_squared", torch.stack(squares).mean(0))
        return self

    def forward(self, x: Tensor) -> Tensor:
        """Take the mean away, and perhaps divide."""
        if self.normtype == "mean":
            return x - self.mean
        return (x - self.mean) / ((self.mean_squared - self.mean.square()).sqrt() + 1e-8)


def instance(x: Tensor, normtype: str, dims: Sequence[int]) -> Tensor:
    """What it computes over each item, said again in float64."""
    wide = x.to(torch.float64)
    mean = wide.mean(list(dims), keepdim=True)
    least, largest = wide.amin(list(dims), keepdim=True), wide.amax(list(dims), keepdim=True)
    if normtype == "mean":
        return wide - mean
    if normtype == "standard":
        return (wide - mean) / (wide.std(list(dims), keepdim=True) + 1e-8)
    share = (wide - least) / (largest - least + 1e-8)
    return share if normtype == "minmax01" else 2.0 * share - 1.0


def drawn(shape: tuple[int, ...], seed: int) -> Tensor:
    """Decibels of no sound in particular."""
    noise = torch.randn(shape, generator=torch.Generator().manual_seed(seed))
    return (20.0 * noise - 10.0).clamp(-50.0, 80.0)


@settings(deadline=None, max_examples=60)
@given(
    normtype=st.sampled_from(["mean", "standard", "minmax", "minmax01"]),
    over=st.sampled_from(["bin", "all"]),
    n_bands=st.integers(1, 6),
    n_frames=st.integers(2, 600),
    seed=st.integers(0, 1 << 30),
)
def test_instance_formulas(
    normtype: str, over: Any, n_bands: int, n_frames: int, seed: int
) -> None:
    """Every type over both sets of axes, on items of any size."""
    x = drawn((1, n_bands, n_frames), seed)
    stage: MeasuredStage
    if normtype.startswith("minmax"):
        low = -1.0 if normtype == "minmax" else 0.0
        stage = UtteranceMinMax(1e-8, low=low, over=over)
    else:
        divide = normtype == "standard"
        stage = UtteranceMeanVar(divide=divide, over=over, ddof=1, eps=1e-8, eps_mode="std")
    expected = instance(x, normtype, (1, 2) if over == "all" else (2,))
    # Two frames may lie close: what is divided by less than 1 keeps fewer of float32's digits.
    atol = 2e-5 * max(1.0, float(expected.abs().max() / x.abs().max()))
    ours = stage.of_whole(x[0].T).T[None].double()
    torch.testing.assert_close(ours, expected, rtol=1e-5, atol=atol)


@settings(deadline=None, max_examples=60)
@given(
    normtype=st.sampled_from(["mean", "standard"]),
    over=st.sampled_from(["bin", "all"]),
    sizes=st.lists(st.tuples(st.integers(1, 4), st.integers(20, 90)), min_size=1, max_size=4),
    seed=st.integers(0, 1 << 30),
)
def test_dataset_formulas(
    normtype: Any, over: Any, sizes: list[tuple[int, int]], seed: int
) -> None:
    """Fitted on batches of any size, and applied; its state loads into a Scaler of ours."""
    batches = [drawn((n, 3, n_frames), seed + i) for i, (n, n_frames) in enumerate(sizes)]
    original = TorchScaler(normtype, (1, 2) if over == "all" else (2,)).fit(batches)
    x = drawn((2, 3, 40), seed + 9)
    expected = original(x.to(torch.float64))
    ours = Scaler(normtype, over, weight="batch").fit(batches)
    # Float32 keeps seven digits of what is near 50, in units of a deviation near 20.
    atol = 2e-5 if normtype == "mean" else 2e-6
    torch.testing.assert_close(ours(x).double(), expected, rtol=0, atol=atol)
    loaded = Scaler(normtype)
    loaded.load_state_dict(original.state_dict())
    torch.testing.assert_close(loaded(x).double(), expected, rtol=0, atol=atol)


# Its state


def desed_state(mean: list[float], squared: list[float]) -> dict[str, Tensor]:
    """The state of a fitted TorchScaler: one number, or one a band."""
    return {
        name: torch.tensor(values).reshape(1, -1, 1)
        for name, values in (("mean", mean), ("mean_squared", squared))
    }


def test_one_number_is_for_all_bins() -> None:
    """Shape (1, 1, 1): whatever is given, ``over`` whatever."""
    for over in ("bin", "all"):
        scaler = Scaler(over=over)
        scaler.load_state_dict(desed_state([1.0], [5.0]))
        assert scaler(torch.full((2, 7, 3), 5.0)).tolist() == torch.full((2, 7, 3), 2.0).tolist()
        assert scaler(torch.full((4, 1), 5.0)).tolist() == [[2.0]] * 4
        assert "n_bins=1, from a mean and a deviation" in repr(scaler)


def test_a_number_a_band() -> None:
    """Shape (1, n, 1), inside a bigger model too; other bins are told."""
    state = desed_state([1.0, -2.0, 0.0], [5.0, 4.0, 9.0])
    model = nn.ModuleDict({"scaler": Scaler()})
    model.load_state_dict({f"scaler.{name}": tensor for name, tensor in state.items()})
    scaler = model["scaler"]
    x = torch.tensor([[5.0], [5.0], [6.0]])
    # The second never varies: it is only moved.
    assert scaler(x).tolist() == [[2.0], [7.0], [2.0]]
    with pytest.raises(ScalerError, match="fitted on 3 bins, and given 2"):
        scaler(torch.ones(2, 5))
    every = Scaler(over="all")
    every.load_state_dict(state)
    spread = (18 / 3 - (1 / 3) ** 2) ** 0.5  # the mean of squares, and that of means
    assert every(x).flatten().tolist() == pytest.approx(
        [(value + 1 / 3) / spread for value in (5.0, 5.0, 6.0)], rel=1e-6
    )


def test_it_is_an_export() -> None:
    """Nothing is known but mean and deviation: no ends, no count, and nothing to add to."""
    state = desed_state([1.0, -2.0], [5.0, 5.0])
    scaler = Scaler(weight="batch")
    scaler.load_state_dict(state)
    for use in (scaler.partial_fit, lambda x: scaler.merge(Scaler(weight="batch").partial_fit(x))):
        with pytest.raises(ScalerError, match="nothing can be added") as error:
            use(torch.ones(2, 5))
        assert error.value.remedy == "fit() starts anew"
    with pytest.raises(RuntimeError, match="no least and largest value"):
        Scaler("minmax").load_state_dict(state)
    back = Scaler()
    back.load_state_dict(scaler.state_dict())
    assert torch.equal(back(torch.ones(2, 5)), scaler(torch.ones(2, 5)))
    assert back.statistics.is_export
    scaler.fit([torch.randn(2, 2000)])
    assert scaler.statistics.weight == "batch"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"mean_squared": torch.full((1, 2, 1), torch.nan)}, "a number that is NaN or infinite"),
        ({"mean_squared": torch.full((1, 2, 1), 3.9)}, "less than the square of mean"),
        ({"mean_squared": torch.ones(1, 3, 1)}, "3 numbers where 2 should be"),
        ({"std": torch.ones(1, 2, 1)}, r"Unexpected key.*\"std\""),
    ],
)
def test_a_state_that_is_not_its_own_is_refused(change: dict[str, Tensor], words: str) -> None:
    """NaN, squares that cannot be, two sizes, more than the two or less."""
    with pytest.raises(RuntimeError, match=words):
        Scaler().load_state_dict(desed_state([1.0, 2.0], [5.0, 5.0]) | change)
    with pytest.raises(RuntimeError, match=r"Missing key.*\"mean\""):
        Scaler().load_state_dict({"mean_squared": torch.ones(1, 2, 1)})


@pytest.mark.parametrize("lost", [-2e-4, 0.0, 2e-4])
def test_a_variance_below_rounding_is_none(lost: float) -> None:
    """What float32 leaves of E[x^2] - E[x]^2 of a constant, where the original has NaN or noise."""
    mean, squared = torch.full((1, 1, 1), -50.0), torch.full((1, 1, 1), 2500.0 + lost)
    assert squared.item() != 2500.0 or not lost
    scaler = Scaler()
    scaler.load_state_dict({"mean": mean, "mean_squared": squared})
    assert (scaler(torch.full((3, 4), -47.0)) == 3.0).all()
