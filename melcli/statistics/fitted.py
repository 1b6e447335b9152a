"""What a scaler's file holds: statistics, what they are of, and how they came about."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import reduce
from typing import TYPE_CHECKING, Final, Literal, get_args

import numpy as np
import numpy.typing as npt

from melcli.statistics.moments import Float64s, Moments

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from melcli.statistics.counts import Counts

Weight = Literal["frame", "item", "batch"]
"""What weighs the same: every frame, every file, or every batch whatever its size."""

WEIGHTS: Final = get_args(Weight)

_LOST: Final = 0.01
"""Of a mean of squares: no more is lost in adding it up in float32."""
_UNDERFLOW: Final = float(np.finfo(np.float32).tiny)
"""Squares below this become 0 in float32."""


@dataclass(frozen=True, kw_only=True)
class Statistics:
    """Statistics of a dataset, bin by bin. A bin is a mel band, or one number of a stacked frame.

    Args:
        moments: Count, mean, spread and ends.
        at_floor: Frames of each bin that lie at the least value of their file, ``(n_bins,)``.
        counts: How often each value occurs; None if that was not asked for.
        weight: What weighs the same.
        n_items: Items they are of.
        n_failed: Inputs and items that could not be used.
        config: The front end, as TOML; empty if it is not known.
        config_digest: Its digest.
        made: How they came about: ``command``, ``created``, ``melcli_version``, the machine.
    """

    moments: Moments
    at_floor: npt.NDArray[np.int64]
    counts: Counts | None = None
    weight: Weight = "frame"
    n_items: int = 0
    n_failed: int = 0
    config: str = ""
    config_digest: str = ""
    made: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def exported(cls, mean: Float64s, std: Float64s) -> Statistics:
        """Those of a file that holds a mean and a standard deviation, and nothing else."""
        n_bins, unknown = len(mean), np.full(len(mean), np.nan)
        zeros = np.zeros(n_bins)
        moments = Moments(0, 1.0, mean, np.square(std), unknown, unknown, zeros, zeros)
        return cls(moments=moments, at_floor=np.zeros(n_bins, np.int64))

    @classmethod
    def of_mean_squared(cls, mean: Float64s, mean_squared: Float64s, eps: float) -> Statistics:
        """Those of the means of x and of x^2, as DESED's TorchScaler keeps them.

        Both were rounded when they were stored. So a variance ``mean_squared - mean^2`` below the
        last digit of ``mean_squared`` is nothing but rounding, and taken for 0.

        Args:
            mean: ``(n_bins,)``.
            mean_squared: Likewise.
            eps: How finely they are rounded: the ``eps`` of their dtype.

        Raises:
            ValueError: A mean of squares is less than the square of the mean.
        """
        with np.errstate(over="ignore", invalid="ignore"):
            squared_mean = np.square(mean)
            variance = mean_squared - squared_mean
        if (variance < -_LOST * squared_mean - _UNDERFLOW).any():
            raise ValueError("mean_squared is less than the square of mean, which cannot be")
        variance[variance < eps * mean_squared] = 0.0
        return cls.exported(mean, np.sqrt(variance))

    @property
    def is_export(self) -> bool:
        """Nothing but mean and deviation is known."""
        return self.moments.count == 0 and self.moments.weight > 0

    @property
    def n_bins(self) -> int:
        """How many bins there are."""
        return self.moments.n_bins

    @property
    def floor_share(self) -> Float64s:
        """The share of each bin's frames that lie at the least value of their file."""
        shares: Float64s = self.at_floor / max(1, self.moments.count)
        return shares

    @property
    def is_constant(self) -> npt.NDArray[np.bool_]:
        """The bins that never vary."""
        return self.moments.m2 <= 0.0

    def merge(self, other: Statistics) -> Statistics:
        """Those of both datasets, which are of one front end. What made them is the first's."""
        counts = None
        if self.counts is not None and other.counts is not None:
            counts = self.counts.merge(other.counts)
        return replace(
            self,
            moments=self.moments.merge(other.moments),
            at_floor=self.at_floor + other.at_floor,
            counts=counts,
            n_items=self.n_items + other.n_items,
            n_failed=self.n_failed + other.n_failed,
        )

    def with_counts(self, counts: Counts | None) -> Statistics:
        """The same with other counts."""
        return replace(self, counts=counts)

    def over_all(self) -> Statistics:
        """Those of all bins together, as one bin."""
        return replace(
            self,
            moments=self.moments.over_all(),
            at_floor=self.at_floor.sum(keepdims=True),
            counts=None if self.counts is None else self.counts.over_all(),
        )


def merged(parts: Sequence[Statistics]) -> Statistics:
    """Those of all parts, in their order; at least one."""
    return reduce(Statistics.merge, parts)
