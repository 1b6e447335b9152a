"""Statistics as tensors, for state dicts: our own, and those of a DESED TorchScaler."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np
import torch
from torch import Tensor

from melcli.statistics.counts import Counts
from melcli.statistics.fitted import WEIGHTS, Statistics
from melcli.statistics.moments import Moments

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

_VECTORS: Final = ("mean", "m2", "min", "max", "mean_low", "m2_low")
_REQUIRED: Final = frozenset({"count", "total_weight", "weight", "n_items", "at_floor", *_VECTORS})
_COUNTED: Final = frozenset({"quantile_keys", "quantile_counts"})
_DESED: Final = frozenset({"mean", "mean_squared"})


def needed_of(state: Mapping[str, Tensor]) -> frozenset[str]:
    """The names that a state has to have: ours, or those of a TorchScaler if it is one."""
    if "mean_squared" in state:
        return _DESED
    return _REQUIRED | _COUNTED if _COUNTED & state.keys() else _REQUIRED


def to_state(fitted: Statistics) -> dict[str, Tensor]:
    """The tensors that hold statistics; `weight` is the place of its name in ``WEIGHTS``."""
    moments = fitted.moments
    state = {name: torch.tensor(getattr(moments, name)) for name in _VECTORS}
    state |= {
        "count": torch.tensor(moments.count),
        "total_weight": torch.tensor(moments.weight, dtype=torch.float64),
        "weight": torch.tensor(WEIGHTS.index(fitted.weight)),
        "n_items": torch.tensor(fitted.n_items),
        "at_floor": torch.tensor(fitted.at_floor),
    }
    if fitted.counts is not None:
        state["quantile_keys"] = torch.tensor(fitted.counts.keys.astype(np.int64))
        state["quantile_counts"] = torch.tensor(fitted.counts.counts)
    return state


def from_state(state: Mapping[str, Tensor]) -> Statistics:
    """Read what `to_state` gave, or what a TorchScaler holds, believing nothing.

    Raises:
        ValueError: It cannot be that.
    """
    return _from_desed(state) if "mean_squared" in state else _from_own(state)


def _from_own(state: Mapping[str, Tensor]) -> Statistics:
    vectors = {name: _array(state[name], np.float64) for name in _VECTORS}
    n_bins = len(vectors["mean"])
    count, weight, n_items = (
        int(_array(state[name], np.int64, 1)[0]) for name in ("count", "weight", "n_items")
    )
    total_weight = float(_array(state["total_weight"], np.float64, 1)[0])
    at_floor = _array(state["at_floor"], np.int64, n_bins)
    known = [name for name in _VECTORS if count or name not in {"min", "max"}]
    is_sound = (
        all(len(vector) == n_bins for vector in vectors.values())
        and all(np.isfinite(vectors[name]).all() for name in known)
        and (vectors["m2"] >= 0).all()
        and 0 < total_weight < np.inf
        and min(count, n_items, at_floor.min()) >= 0
        and 0 <= weight < len(WEIGHTS)
    )
    if not is_sound:
        raise ValueError("numbers that no fit gives")
    moments = Moments(count, total_weight, **vectors)
    counts = None
    if "quantile_keys" in state:
        keys = _array(state["quantile_keys"], np.int64)
        values = _array(state["quantile_counts"], np.int64, len(keys))
        counts = Counts(n_bins, keys.astype(np.uint64), values)
        if (
            keys[0] < 0
            or (np.diff(keys) <= 0).any()
            or counts.bins[-1] >= n_bins
            or min(values) < 1
        ):
            raise ValueError("counts that no fit gives")
    return Statistics(
        moments=moments, at_floor=at_floor, counts=counts, weight=WEIGHTS[weight], n_items=n_items
    )


def _from_desed(state: Mapping[str, Tensor]) -> Statistics:
    """What a TorchScaler holds: the means of x and of x^2, of each bin or one for all.

    Raises:
        ValueError: It cannot be that.
    """
    mean = _array(state["mean"], np.float64)
    squared = _array(state["mean_squared"], np.float64, len(mean))
    if not np.isfinite([mean, squared]).all():
        raise ValueError("a number that is NaN or infinite")
    eps = torch.finfo(torch.as_tensor(state["mean_squared"]).dtype).eps
    return Statistics.of_mean_squared(mean, squared, eps)


def _array(tensor: Tensor, dtype: type[Any], n: int | None = None) -> NDArray[Any]:
    array: NDArray[Any] = (
        torch.as_tensor(tensor).detach().cpu().reshape(-1).to(torch.float64).numpy()
    )
    if not len(array) or len(array) != (n or len(array)):
        raise ValueError(f"{len(array)} numbers where {n or 'some'} should be")
    return array.astype(dtype)
