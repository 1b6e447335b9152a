"""The Scaler in a training loop: it fits, applies, undoes, merges, is saved and moved about."""

from __future__ import annotations

import copy
import io
import pickle
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from melcli.errors import ScalerError, UsageError
from melcli.scaler.module import Scaler
from melcli.statistics.fitted import WEIGHTS, Statistics
from melcli.statistics.normalize import OVERS, RULES, Normalization

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.filterwarnings("ignore:Scaler. (only|[0-9]+ of):UserWarning")
"""Few frames are enough for a law."""

EXACT = 1e-12
"""Of the larger of mean and deviation: what float64 leaves of sums in another order."""


def mels(*shape: int, seed: int = 0, offset: float = -40.0) -> Tensor:
    """Noise, whose bins (the last axis but one) lie apart and spread apart."""
    generator = torch.Generator().manual_seed(seed)
    bins = torch.arange(shape[-2]).unsqueeze(-1)
    return torch.randn(shape, generator=generator) * (1 + bins) + offset + 3 * bins


def assert_same(ours: Statistics, theirs: Statistics, tolerance: float = EXACT) -> None:
    """Counts and ends are equal, moments but for rounding."""
    one, two = ours.moments, theirs.moments
    assert (one.count, ours.n_items, ours.weight) == (two.count, theirs.n_items, theirs.weight)
    assert one.weight == pytest.approx(two.weight, rel=1e-15)
    for name in ("min", "max"):
        assert np.array_equal(getattr(one, name), getattr(two, name))
    assert np.array_equal(ours.at_floor, theirs.at_floor)
    unit = np.maximum(np.abs(two.mean), two.std)
    assert (np.abs(one.mean - two.mean) <= tolerance * unit).all()
    assert (np.abs(one.std - two.std) <= tolerance * unit).all()


def assert_identical(ours: Statistics, theirs: Statistics) -> None:
    """Every number that goes on being used is the same, to the last bit."""
    for name in vars(theirs.moments):
        assert np.array_equal(getattr(ours.moments, name), getattr(theirs.moments, name)), name
    assert np.array_equal(ours.at_floor, theirs.at_floor)
    assert (ours.weight, ours.n_items) == (theirs.weight, theirs.n_items)
    assert (ours.counts is None) == (theirs.counts is None)
    if ours.counts is not None and theirs.counts is not None:
        assert np.array_equal(ours.counts.keys, theirs.counts.keys)
        assert np.array_equal(ours.counts.counts, theirs.counts.counts)


def through_a_file(state: dict[str, Any]) -> dict[str, Any]:
    """What torch.save and a torch.load that trusts nobody make of a state."""
    file = io.BytesIO()
    torch.save(state, file)
    file.seek(0)
    loaded: dict[str, Any] = torch.load(file, weights_only=True)
    return loaded


# Fitting


@settings(deadline=None, max_examples=50)
@given(
    n_bins=st.integers(1, 5),
    n_frames=st.integers(1, 700),
    cuts=st.lists(st.integers(0, 700), max_size=6),
    offset=st.sampled_from([0.0, -40.0, 3e4]),
    looks=st.booleans(),
)
def test_any_split_is_the_whole(
    n_bins: int,
    n_frames: int,
    cuts: list[int],
    offset: float,
    looks: bool,  # noqa: FBT001
) -> None:
    """Frames added in pieces, looked at in between or not, are frames added at once."""
    x = mels(n_bins, n_frames, offset=offset)
    pieces = Scaler()
    for piece in x.tensor_split(sorted(cut % n_frames for cut in cuts), dim=1):
        pieces.partial_fit(piece)
        if looks and piece.numel():
            assert pieces.statistics.moments.count <= n_frames
    found = pieces.statistics.moments
    whole = Scaler().partial_fit(x).statistics.moments
    wide = x.numpy().astype(np.longdouble)
    unit = np.maximum(np.abs(wide.mean(axis=1)), wide.std(axis=1))
    for moments in (found, whole):
        assert moments.count == n_frames
        assert (np.abs(moments.mean - wide.mean(axis=1)) <= EXACT * unit).all()
        assert (np.abs(moments.std - wide.std(axis=1)) <= EXACT * unit).all()
        assert np.array_equal(moments.min, x.amin(dim=1))
        assert np.array_equal(moments.max, x.amax(dim=1))


@settings(deadline=None, max_examples=50)
@given(
    sizes=st.lists(st.integers(1, 200), min_size=2, max_size=5),
    weight=st.sampled_from(WEIGHTS),
    data=st.data(),
)
def test_merged_in_any_order_is_the_same(
    sizes: list[int], weight: Any, data: st.DataObject
) -> None:
    """Processes that each fit a part agree with one that fits all, whoever comes first."""
    parts = [mels(3, n, seed=i, offset=10.0 * i) for i, n in enumerate(sizes)]
    whole = Scaler(weight=weight, quantiles=True)
    for part in parts:
        whole.partial_fit(part)
    scalers = [Scaler(weight=weight, quantiles=True).partial_fit(part) for part in parts]
    merged = Scaler(weight=weight, quantiles=True)
    for scaler in data.draw(st.permutations(scalers)):
        assert merged.merge(scaler) is merged
    assert_same(merged.statistics, whole.statistics)
    assert merged.statistics.counts is not None
    assert whole.statistics.counts is not None
    assert np.array_equal(merged.statistics.counts.counts, whole.statistics.counts.counts)


def test_what_is_merged_is_applied() -> None:
    """Also by a Scaler that was applied before."""
    low, high = mels(3, 600), mels(3, 700, seed=1) + 9
    scaler, expected = Scaler().fit([low]), Scaler().fit([low, high])
    assert not torch.equal(scaler(low), expected(low))
    torch.testing.assert_close(scaler.merge(Scaler().fit([high]))(low), expected(low))


def test_what_weighs_the_same() -> None:
    """Frames, items however long, or calls: worked by hand."""
    short, long = torch.tensor([[0.0]]), torch.tensor([[6.0, 6.0, 6.0]])
    batches = [short, torch.stack([long, long])]
    means = {"frame": 36 / 7, "item": 4.0, "batch": 3.0}
    squares = {"frame": 216 / 7, "item": 24.0, "batch": 18.0}
    for weight, mean in means.items():
        found = Scaler(weight=weight).fit(batches).statistics  # type: ignore[arg-type]
        assert found.moments.mean.tolist() == pytest.approx([mean], rel=1e-15)
        variance = squares[weight] - mean**2
        assert found.moments.variance.tolist() == pytest.approx([variance], rel=1e-14)
        assert (found.moments.count, found.n_items) == (7, 3)
        assert found.at_floor.tolist() == [7]


@pytest.mark.parametrize("weight", WEIGHTS)
def test_bins_lie_wherever_it_is_said(weight: Any) -> None:
    """The axis of bins counts from either end; what lies behind time is frames too."""
    x = mels(4, 3, 50)  # items, bins, frames
    expected = Scaler(weight=weight).fit([x])
    y = expected(x)
    for axes, dim in (((0, 1, 2), 1), ((0, 2, 1), -1), ((0, 2, 1), 2)):
        scaler = Scaler(weight=weight, dim=dim).fit([x.permute(axes)])
        assert_same(scaler.statistics, expected.statistics)
        torch.testing.assert_close(scaler(x.permute(axes)), y.permute(axes))
    grouped = Scaler(weight=weight).fit([x.reshape(2, 2, 3, 50)])
    assert_same(grouped.statistics, expected.statistics)
    with_channels = Scaler(weight=weight, dim=-3).fit([torch.stack([x, x + 1], dim=-1)])
    both = Scaler(weight=weight).fit([torch.cat([x, x + 1], dim=-1)])
    assert_same(with_channels.statistics, both.statistics)


@settings(deadline=None, max_examples=40)
@given(
    lengths=st.lists(st.integers(0, 30), min_size=1, max_size=5),
    weight=st.sampled_from(WEIGHTS),
    dim=st.sampled_from([-2, -1]),
)
def test_padding_is_left_out(lengths: list[int], weight: Any, dim: int) -> None:
    """A padded batch and its lengths are the items by themselves, whatever the padding holds."""
    items = [mels(3, n, seed=i) for i, n in enumerate(lengths)]
    batch = torch.full((len(items), 3, 30), torch.nan)
    for row, item in zip(batch, items, strict=True):
        row[:, : item.shape[1]] = item
    if dim == -1:
        batch = batch.transpose(1, 2)
    scaler = Scaler(weight=weight, dim=dim)
    scaler.partial_fit(batch, torch.tensor(lengths))
    if not any(lengths):
        with pytest.raises(ScalerError, match="not fitted"):
            _ = scaler.statistics
        return
    apart = Scaler(weight=weight)
    if weight == "batch":
        apart.partial_fit(torch.cat(items, dim=1))  # one call, whatever it holds
        assert scaler.statistics.moments.weight == 1.0
        assert scaler.statistics.moments.mean == pytest.approx(apart.statistics.moments.mean)
        assert scaler.statistics.moments.std == pytest.approx(apart.statistics.moments.std)
        return
    for item in items:
        apart.partial_fit(item)
    assert_same(scaler.statistics, apart.statistics)
    assert scaler.statistics.n_items == sum(n > 0 for n in lengths)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_every_precision_is_taken_as_it_is(dtype: torch.dtype, device: str) -> None:
    """What is added is exactly what the tensor holds, in float64 what float64 holds."""
    x = (mels(2, 3, 40).to(torch.float64) + 1e-9).to(dtype)
    found = Scaler().fit([x.to(device, copy=True).requires_grad_()]).statistics.moments
    wide = x.detach().to(torch.float64)
    np.testing.assert_allclose(found.mean, wide.mean(dim=(0, 2)), rtol=1e-14)
    np.testing.assert_allclose(found.std, wide.std(dim=(0, 2), correction=0), rtol=1e-12)


def test_a_fit_starts_anew() -> None:
    """Through a transform, from any iterable, and without what was there."""
    scaler = Scaler().fit([mels(2, 100)])
    batches = ((mels(3, 4, 50, seed=i), "label") for i in range(3))
    assert scaler.fit(batches, transform=lambda batch: batch[0] * 2) is scaler
    assert (scaler.statistics.n_bins, scaler.statistics.n_items) == (4, 9)
    expected = Scaler().fit([mels(3, 4, 50, seed=i) * 2 for i in range(3)])
    assert_identical(scaler.statistics, expected.statistics)


def test_a_fit_that_fails_changes_nothing() -> None:
    """An empty loader, a NaN in the second batch: the old statistics stand."""
    scaler = Scaler().fit([mels(2, 100)])
    before = scaler.statistics
    with pytest.raises(ScalerError, match="no frames to fit on") as error:
        scaler.fit([])
    assert "an iterator gives its batches only once" in str(error.value.remedy)
    with pytest.raises(ScalerError, match="no frames"):
        scaler.fit([torch.zeros(2, 0), torch.zeros(0, 2, 5)])
    with pytest.raises(ScalerError, match="NaN") as error:
        scaler.fit([mels(2, 10), torch.full((2, 3), torch.nan)])
    assert error.value.__notes__ == ["in batch 1, counted from 0"]
    assert scaler.statistics is before


@pytest.mark.parametrize("bad", [torch.nan, torch.inf, -torch.inf, 1e39])
def test_what_is_not_finite_is_refused_whole(bad: float) -> None:
    """One wrong number in a batch, and nothing of the batch is added."""
    scaler = Scaler().partial_fit(mels(2, 100))
    before = scaler.statistics
    batch = mels(3, 2, 10).to(torch.float64)
    batch[1, 0, 4] = bad
    with pytest.raises(ScalerError, match="item 1 of the tensor: NaN, or a number beyond float32"):
        scaler.partial_fit(batch)
    assert scaler.statistics is before
    scaler.partial_fit(batch, [10, 4, 10])
    assert scaler.statistics.moments.count == 124


# Applying


@settings(deadline=None, max_examples=60)
@given(
    rule=st.sampled_from(RULES),
    over=st.sampled_from(OVERS),
    shape=st.sampled_from([(3, 40), (2, 3, 1), (2, 2, 3, 7), (1, 3, 0)]),
    dtype=st.sampled_from([torch.float32, torch.float64]),
)
def test_undone_is_what_was_applied(
    rule: Any, over: Any, shape: tuple[int, ...], dtype: torch.dtype
) -> None:
    """``inverse`` of ``forward`` is the input, of any shape, by every rule."""
    scaler = Scaler(rule, over).fit([mels(3, 200)])
    x = mels(*shape, seed=1).to(dtype)
    y = scaler(x)
    assert (y.shape, y.dtype) == (x.shape, dtype)
    # Two roundings of what is near 50, which one deviation may be a tenth of.
    atol = 2e-5 if dtype == torch.float32 else 1e-13
    torch.testing.assert_close(scaler.inverse(y), x, rtol=0, atol=atol)


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("over", OVERS)
def test_what_is_applied_is_the_normalisation(rule: Any, over: Any, device: str) -> None:
    """To the bit what ``Normalization`` says, as the command line applies it."""
    x = mels(2, 3, 300)
    scaler = Scaler(rule, over).fit([x]).to(device)
    made = Normalization.of(scaler.statistics, rule, over)
    expected = (x.numpy() - made.shift[:, None]) / made.scale[:, None]
    assert np.array_equal(scaler(x.to(device)).cpu().numpy(), expected)
    if rule == "minmax":
        assert -1.0 <= expected.min() < -0.99999 < 0.99999 < expected.max() <= 1.0


@pytest.mark.parametrize("rule", RULES)
def test_float64_is_applied_in_float64(rule: Any) -> None:
    """By the statistics as they are, not as float32 rounds them."""
    x = mels(3, 700).to(torch.float64)
    scaler = Scaler(rule).fit([x])
    y, moments = scaler(x).numpy(), scaler.statistics.moments
    if rule in {"standard", "mean"}:
        assert np.abs(y.mean(axis=1)).max() < 1e-13
    if rule == "standard":
        np.testing.assert_allclose(y.std(axis=1), 1.0, rtol=1e-13)
    if rule.startswith("minmax"):
        low = -1.0 if rule == "minmax" else 0.0
        np.testing.assert_allclose(y.min(axis=1), low, atol=1e-13)
        np.testing.assert_allclose(y.max(axis=1), 1.0, rtol=1e-13)
    assert np.abs(y - scaler(x.float()).numpy()).max() < 1e-5 * np.abs(moments.max).max()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_float32(dtype: torch.dtype) -> None:
    """It comes back as it came, rounded once."""
    x = mels(2, 3, 100).to(dtype)
    scaler = Scaler().fit([x])
    assert torch.equal(scaler(x), scaler(x.to(torch.float32)).to(dtype))
    y = scaler(x)
    assert torch.equal(scaler.inverse(y), scaler.inverse(y.to(torch.float32)).to(dtype))


def test_gradients_flow() -> None:
    """Both ways, and also if the Scaler was made ready where none are kept."""
    scaler = Scaler().partial_fit(mels(3, 200))
    with torch.inference_mode():
        scaler(mels(3, 10))
    x = mels(2, 3, 4).to(torch.float64).requires_grad_()
    assert torch.autograd.gradcheck(scaler, x)
    assert torch.autograd.gradcheck(scaler.inverse, x)
    single = mels(3, 4).requires_grad_()
    scaler(single).sum().backward()  # type: ignore[no-untyped-call]
    assert single.grad is not None
    std = scaler.statistics.moments.std
    np.testing.assert_allclose(single.grad, np.broadcast_to(1 / std[:, None], (3, 4)), rtol=1e-6)
    assert list(scaler.parameters()) == []


def test_a_bin_that_never_varies_is_only_moved() -> None:
    """No division by zero."""
    x = mels(3, 200)
    x[1] = 7.0
    y = Scaler().fit([x])(x)
    assert (y[1] == 0).all()
    assert torch.isfinite(y).all()


@pytest.mark.filterwarnings("ignore:.*:DeprecationWarning")  # torch's own
def test_it_compiles() -> None:
    """Without a break where it is ready; and goes on where it has to get ready first."""
    x = mels(2, 3, 50)
    scaler = Scaler().fit([x])
    whole = torch.compile(scaler, backend="eager", fullgraph=True)
    assert torch.equal(whole(x), scaler(x))
    late = Scaler().partial_fit(x)
    model = nn.Sequential(late, nn.Identity())
    compiled = torch.compile(model, backend="eager")
    assert torch.equal(compiled(x), scaler(x))
    late.partial_fit(x + 1)
    assert torch.equal(compiled(x), Scaler().fit([torch.cat([x, x + 1])])(x))


# State


class Model(nn.Module):
    """Something bigger, with a Scaler in it."""

    def __init__(self, **how: Any) -> None:
        super().__init__()
        self.scaler = Scaler(**how)
        self.head = nn.Linear(3, 2)

    def forward(self, mel: Tensor) -> Tensor:
        """Each frame by itself."""
        scores: Tensor = self.head(self.scaler(mel).transpose(-2, -1))
        return scores


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("weight", WEIGHTS)
def test_a_checkpoint_holds_all_of_it(rule: Any, weight: Any) -> None:
    """A model that is loaded applies the same bits, and goes on fitting as if it never stopped."""
    model = Model(normalize=rule, weight=weight)
    model.scaler.partial_fit(mels(4, 3, 100))
    other = Model(normalize=rule, weight=weight)
    result = other.load_state_dict(through_a_file(model.state_dict()))
    assert result.missing_keys == result.unexpected_keys == []
    assert_identical(other.scaler.statistics, model.scaler.statistics)
    x = mels(2, 3, 20, seed=5)
    assert torch.equal(other(x), model(x))
    for scaler in (model.scaler, other.scaler):
        scaler.partial_fit(mels(2, 3, 50, seed=9))
    assert_identical(other.scaler.statistics, model.scaler.statistics)


def test_a_state_is_a_copy() -> None:
    """Who changes the tensors of a state does not change the Scaler."""
    scaler = Scaler().fit([mels(3, 200)])
    state = scaler.state_dict()
    before = copy.deepcopy(scaler.statistics)
    for tensor in state.values():
        tensor.zero_()
    assert_identical(scaler.statistics, before)


def test_states_of_what_is_not_fitted() -> None:
    """Nothing goes to nothing; a fitted Scaler misses what is not there."""
    assert Scaler().state_dict() == {}
    fresh = Scaler()
    fresh.load_state_dict({})
    fitted = Scaler().fit([mels(3, 200)])
    with pytest.raises(RuntimeError, match=r"Missing key.*\"count\""):
        fitted.load_state_dict({})
    assert "mean_low" in fitted.load_state_dict({}, strict=False).missing_keys
    assert fitted.statistics.n_bins == 3
    with pytest.raises(RuntimeError, match=r"Unexpected key.*\"gain\""):
        fresh.load_state_dict({"gain": torch.ones(1)})
    fresh.load_state_dict(fitted.state_dict() | {"gain": torch.ones(1)}, strict=False)
    assert_identical(fresh.statistics, fitted.statistics)


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("m2", torch.tensor([1.0, -1.0]), "no fit gives"),
        ("mean", torch.tensor([1.0, torch.nan]), "no fit gives"),
        ("mean_low", torch.ones(3), "no fit gives"),
        ("min", torch.tensor([-torch.inf, 0.0]), "no fit gives"),
        ("total_weight", torch.tensor(0.0), "no fit gives"),
        ("count", torch.tensor(-1), "no fit gives"),
        ("weight", torch.tensor(3), "no fit gives"),
        ("at_floor", torch.tensor([1, 2, 3]), "3 numbers where 2 should be"),
        ("n_items", torch.ones(2), "2 numbers where 1 should be"),
        ("max", torch.zeros(0), "0 numbers where some should be"),
        ("max", "much", "invalid data type"),
        ("quantile_keys", torch.tensor([5, 4]), "numbers where 2 should be"),
    ],
)
def test_a_damaged_state_is_refused(name: str, value: Any, words: str) -> None:
    """Nothing of it is believed, and nothing of it is kept."""
    state = Scaler(quantiles=True).fit([mels(2, 100)]).state_dict()
    scaler = Scaler()
    with pytest.raises(RuntimeError, match=words):
        scaler.load_state_dict(state | {name: value})
    with pytest.raises(ScalerError, match="not fitted"):
        _ = scaler.statistics


@pytest.mark.parametrize(
    "spoil",
    [
        lambda keys, counts: (keys.flip(0), counts),
        lambda keys, counts: (keys + (1 << 17), counts),
        lambda keys, counts: (keys - (1 << 17), counts),
        lambda keys, counts: (keys, counts - 1),
    ],
    ids=["falling", "of other bins", "below", "of nothing"],
)
def test_damaged_counts_are_refused(spoil: Any) -> None:
    """Keys that do not rise or are of no bin, and counts of nothing."""
    state = Scaler(quantiles=True).fit([torch.arange(200.0).reshape(2, 100)]).state_dict()
    keys, counts = spoil(state["quantile_keys"], state["quantile_counts"])
    with pytest.raises(RuntimeError, match="counts that no fit gives"):
        Scaler().load_state_dict(state | {"quantile_keys": keys, "quantile_counts": counts})
    del state["quantile_keys"]
    with pytest.raises(RuntimeError, match=r"Missing key.*\"quantile_keys\""):
        Scaler().load_state_dict(state)


def test_what_was_counted_otherwise_is_not_added_to() -> None:
    """A loaded state is applied by any Scaler, and fitted on by its like."""
    state = Scaler(weight="item").fit([mels(3, 200)]).state_dict()
    scaler = Scaler()
    scaler.load_state_dict(state)
    assert scaler(mels(3, 5)).shape == (3, 5)
    with pytest.raises(ScalerError, match="counted in another way") as error:
        scaler.partial_fit(mels(3, 5))
    assert error.value.remedy == "Scaler(weight='item', quantiles=False)"
    alike = Scaler(weight="item", quantiles=True)
    alike.load_state_dict(state)
    with pytest.raises(ScalerError, match="counted in another way"):
        alike.partial_fit(mels(3, 5))
    with pytest.raises(RuntimeError, match="holds no quantiles"):
        Scaler("robust").load_state_dict(state)


@pytest.mark.parametrize("when", ["fitted before", "fitted after"])
def test_casting_a_model_leaves_the_statistics(when: str, device: str) -> None:
    """``half()``, ``to(float16)`` and the way back round nothing; a device is moved to."""
    x = mels(2, 3, 200) * 1e-3 - 70.0  # float16 keeps nothing of it
    model = Model()
    expected = Scaler().fit([x])
    if when == "fitted before":
        model.scaler.fit([x])
    model.half().to(device).bfloat16().to(torch.float16)
    if when == "fitted after":
        model.scaler.partial_fit(x.to(device))
    assert_identical(model.scaler.statistics, expected.statistics)
    y = model.scaler(x.to(device))
    assert y.device.type == device
    assert torch.equal(y.cpu(), expected(x))
    assert model.head.weight.dtype == torch.float16


def test_a_scaler_made_nowhere_comes_to_life() -> None:
    """The meta device holds no numbers: they come from the statistics."""
    x = mels(3, 200)
    expected = Scaler().fit([x])
    with torch.device("meta"):
        model = Model()
    model.to_empty(device="cpu")
    model.scaler.load_state_dict(expected.state_dict())
    model.to("meta").to_empty(device="cpu")
    assert torch.equal(model.scaler(x), expected(x))


def test_copies_are_of_their_own() -> None:
    """Pickled or copied, in the midst of fitting, both go on by themselves."""
    scaler = Scaler(weight="item", quantiles=True).partial_fit(mels(2, 3, 50))
    copies = [copy.deepcopy(scaler), pickle.loads(pickle.dumps(scaler))]  # noqa: S301, our own
    for one in copies:
        assert_identical(one.statistics, scaler.statistics)
        one.partial_fit(mels(3, 50))
        assert torch.equal(one.merge(scaler)(mels(3, 9)), one(mels(3, 9)))
    assert (scaler.statistics.n_items, copies[0].statistics.n_items) == (2, 5)


@pytest.mark.parametrize("suffix", ["npz", "h5"])
def test_files_come_home(suffix: str, tmp_path: Path) -> None:
    """What is saved is loaded, and goes on being fitted."""
    scaler = Scaler(weight="item", quantiles=True).fit([mels(4, 3, 100)])
    path = tmp_path / f"scaler.{suffix}"
    scaler.save(path)
    back = Scaler.load(path, "robust", "all", dim=-1)
    assert_identical(back.statistics, scaler.statistics)
    assert (back.normalize, back.over, back.dim) == ("robust", "all", -1)
    back.partial_fit(mels(3, 50).T)
    scaler.partial_fit(mels(3, 50))
    assert_identical(back.statistics, scaler.statistics)


# What goes wrong, and what is told


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ({"normalize": "zscore"}, "normalize='zscore': must be one of standard, mean, minmax,"),
        ({"over": "band"}, "over='band': must be one of bin, all"),
        ({"weight": "clip"}, "weight='clip': must be one of frame, item, batch"),
    ],
)
def test_wrong_arguments_are_told(how: Any, words: str) -> None:
    """Which argument, what it is, and what it may be."""
    with pytest.raises(ValueError, match=words):
        Scaler(**how)


@pytest.mark.parametrize(
    ("x", "lengths", "words"),
    [
        ((torch.ones(2, 3), "label"), None, "a tensor is needed, not a tuple"),
        (np.ones((2, 3)), None, "a tensor is needed, not a ndarray"),
        (torch.ones(2, 3, dtype=torch.int64), None, "torch.int64: must be floating point"),
        (torch.ones(2), None, "dim=-2: x of shape .2,. has no such axis"),
        (torch.ones(0, 5), None, "there are no bins along dim=-2"),
        (torch.ones(2, 3, 5), [5], "1 of them; 2 are needed, one an item"),
        (torch.ones(2, 3, 5), [5, 6], r"lengths\[1\]=6: must be from 0 to 5 frames"),
        (torch.ones(2, 3, 5), [-1, 5], r"lengths\[0\]=-1"),
        (torch.ones(2, 3, 5), [1.0, 0.5], "float32: must be whole numbers of frames"),
        (torch.ones(2, 3, 5), torch.tensor([True, False]), "bool: must be whole numbers"),
    ],
)
def test_what_cannot_be_added_is_told(x: Any, lengths: Any, words: str) -> None:
    """Before anything is added."""
    scaler = Scaler()
    with pytest.raises(UsageError, match=words):
        scaler.partial_fit(x, lengths)
    assert "not fitted" in repr(scaler)


def test_one_number_is_no_item() -> None:
    """A row of bins has no time, also where the axis of bins is there."""
    with pytest.raises(UsageError, match="an axis of bins and one of time"):
        Scaler(dim=-1).partial_fit(torch.ones(3))
    assert Scaler(dim=-1).fit([mels(3, 9).T])(torch.ones(3)).shape == (3,)


def test_other_bins_are_told() -> None:
    """Added, applied, undone, merged: with both numbers and the axis."""
    scaler = Scaler().fit([mels(3, 200)])
    words = "fitted on 3 bins, and given 2 along dim=-2"
    for use in (scaler, scaler.inverse, scaler.partial_fit):
        with pytest.raises(ScalerError, match=words):
            use(mels(2, 9))
    with pytest.raises(ScalerError, match=words):
        scaler.merge(Scaler().partial_fit(mels(2, 9)))
    with pytest.raises(ScalerError, match="fitted on 2 bins, and given 4"):
        Scaler().partial_fit(mels(2, 9)).partial_fit(mels(4, 9))
    one = Scaler().fit([mels(1, 200)])
    with pytest.raises(ScalerError, match="fitted on 1 bins"):
        one(mels(2, 9))
    with pytest.raises(UsageError, match="must be floating point"):
        scaler(torch.ones(3, 2, dtype=torch.int32))
    with pytest.raises(UsageError, match="has no such axis"):
        scaler(torch.ones(3))


def test_who_is_not_fitted_says_what_to_do() -> None:
    """Applied, undone, looked at or saved."""
    scaler = Scaler()
    for use in (scaler, scaler.inverse, lambda _: scaler.statistics, lambda _: scaler.save("s.h5")):
        with pytest.raises(ScalerError, match="the Scaler is not fitted") as error:
            use(mels(2, 9))
        assert "scaler.fit(batches)" in str(error.value.remedy)


def test_what_does_not_go_together_is_not_merged() -> None:
    """Another weight, quantiles in one only, another front end."""
    scaler = Scaler().partial_fit(mels(3, 200))
    before = scaler.statistics
    for other, words in (
        (Scaler(weight="item"), "weight 'frame' and 'item'"),
        (Scaler(quantiles=True), "quantiles False and True"),
    ):
        with pytest.raises(ScalerError, match=f"cannot be merged: {words}"):
            scaler.merge(other.partial_fit(mels(3, 9)))
        with pytest.raises(ScalerError, match="cannot be merged"):
            Scaler().merge(other)
    moments, floors = before.moments, before.at_floor
    ours, theirs = (
        Scaler.from_statistics(Statistics(moments=moments, at_floor=floors, config_digest=digest))
        for digest in ("ab", "cd")
    )
    with pytest.raises(ScalerError, match="front end 'ab' and 'cd'"):
        ours.merge(theirs)
    assert scaler.merge(Scaler()).statistics is before
    assert ours.merge(scaler).statistics.moments.count == 400
    assert ours.statistics.config_digest == "ab"


def test_poor_statistics_are_told_once(recwarn: pytest.WarningsRecorder) -> None:
    """At the end of a fit, or when what was added is first applied; never when loaded."""
    warnings.simplefilter("always")

    def told() -> list[str]:
        texts = [str(warning.message) for warning in recwarn]
        recwarn.clear()
        return texts

    few = "Scaler: only 40 frames: these statistics are rough"
    x = mels(2, 3, 20)
    scaler = Scaler().fit([x])
    assert told() == [few]
    scaler(x)
    scaler.half()
    scaler.partial_fit(x)
    scaler(x)
    assert told() == []
    x[:, 1] = 0.0
    scaler.fit([x])
    constant = "Scaler: 1 of 3 bins never vary: 1; they are moved and not divided"
    assert told() == [few, constant]
    gathered = Scaler().merge(Scaler().partial_fit(mels(2, 3, 20)))
    assert told() == []
    gathered(x)
    gathered(x)
    assert told() == [few]
    loaded = Scaler()
    loaded.load_state_dict(scaler.state_dict())
    loaded(x)
    Scaler.from_statistics(scaler.statistics)(x)
    copy.deepcopy(scaler)(x)
    assert told() == []


def test_the_warning_points_at_the_fit() -> None:
    """The line that is shown is the caller's."""
    with pytest.warns(UserWarning, match="only 40 frames") as caught:
        Scaler().fit([mels(2, 3, 20)])
    assert caught[0].filename == __file__


def test_it_says_what_it_is() -> None:
    """How it was made, and what it is fitted on."""
    scaler = Scaler("minmax", dim=1)
    assert repr(scaler) == "Scaler('minmax', over='bin', weight='frame', dim=1, not fitted)"
    scaler.partial_fit(mels(2, 3, 50))
    assert repr(scaler).endswith("dim=1, n_bins=3, n_frames=100)")
