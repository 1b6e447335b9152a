"""From statistics to what is done to a mel: ``(x - shift) / scale``, for each bin or for all alike.

==========  =========================  ==============================  ======================
rule        shift                      scale                           gives
==========  =========================  ==============================  ======================
standard    mean                       standard deviation              mean 0, deviation 1
mean        mean                       1                               mean 0
minmax      (min + max) / 2            (max - min) / 2                 from -1 to 1
minmax01    min                        max - min                       from 0 to 1
robust      median                     upper quartile - lower quartile median 0
==========  =========================  ==============================  ======================

The deviation is that of a population. Where the scale would be 0, in a bin that never varies, it is
1: such a bin becomes 0.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal, cast, get_args

import numpy as np
import numpy.typing as npt

from melcli.errors import ScalerError
from melcli.statistics.fitted import WEIGHTS, Statistics, Weight
from melcli.statistics.moments import Float64s, Moments

if TYPE_CHECKING:
    from collections.abc import Mapping

Rule = Literal["standard", "mean", "minmax", "minmax01", "robust"]
Over = Literal["bin", "all"]

RULES: Final = get_args(Rule)
OVERS: Final = get_args(Over)
QUARTILES: Final = (0.25, 0.5, 0.75)

Float32s = npt.NDArray[np.float32]
_Number = type[np.float32] | type[np.float64]


@dataclass(frozen=True, eq=False)
class Normalization:
    """A rule, put to work: what is taken away from each bin, and what it is divided by.

    Args:
        rule: How statistics were used.
        over: For each bin by itself, or for all alike.
        shift: ``(n_bins,)``, or ``(1,)`` for all alike; float32, as it is applied.
        scale: Likewise; never 0.
        statistics: What it was made from.
    """

    rule: Rule
    over: Over
    shift: Float32s
    scale: Float32s
    statistics: Statistics

    @classmethod
    def of(cls, statistics: Statistics, rule: Rule, over: Over = "bin") -> Normalization:
        """Put statistics to work.

        >>> from melcli.statistics.moments import moments_of
        >>> low_high = moments_of(np.array([[-3.0], [5.0]]))
        >>> fitted = Statistics(moments=low_high, at_floor=np.zeros(1, np.int64))
        >>> found = Normalization.of(fitted, "minmax")
        >>> float(found.shift[0]), float(found.scale[0])
        (1.0, 4.0)

        Raises:
            ScalerError: The rule asks for what is not known.
        """
        if not statistics.moments.weight:
            raise ScalerError(
                "is of no frame at all", None, "melcli scaler merge puts it to the other shards"
            )
        used = statistics.over_all() if over == "all" else statistics
        shift, scale = _RULES[rule](used, np.float32)
        if not (np.isfinite(shift).all() and np.isfinite(scale).all()):
            raise ScalerError(f"--normalize {rule} gives numbers beyond float32")
        return cls(rule, over, shift, scale, statistics)

    def in_float64(self) -> tuple[Float64s, Float64s]:
        """Shift and scale as they were before they were rounded, for what is float64 itself.

        Where the counts that they were found by are not at hand, they stay rounded.
        """
        if self.rule == "robust" and self.statistics.counts is None:
            return self.shift.astype(np.float64), self.scale.astype(np.float64)
        used = self.statistics.over_all() if self.over == "all" else self.statistics
        return _RULES[self.rule](used, np.float64)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Normalization) and self.digest == other.digest

    def __hash__(self) -> int:
        return hash(self.digest)

    @property
    def digest(self) -> str:
        """SHA-256 of what is applied: two with one digest give the same numbers."""
        digest = hashlib.sha256(f"{self.rule} {self.over} ".encode())
        for numbers in (self.shift, self.scale):
            digest.update(np.ascontiguousarray(numbers, "<f4").tobytes())
        return digest.hexdigest()

    def to_record(self) -> dict[str, Any]:
        """Plain texts, numbers and lists of numbers, for whatever an output keeps it in.

        The counts of values are left out: an output keeps what undoing it takes.
        """
        fitted, moments = self.statistics, self.statistics.moments
        record = {
            "normalize": self.rule,
            "over": self.over,
            "digest": self.digest,
            "config_digest": fitted.config_digest,
            "weight": fitted.weight,
            "n_items": fitted.n_items,
            "count": moments.count,
            "total_weight": float(moments.weight),
            "shift": self.shift.tolist(),
            "scale": self.scale.tolist(),
            "mean": moments.mean.tolist(),
            "std": moments.std.tolist(),
            "m2": moments.m2.tolist(),
        }
        if not fitted.is_export:
            record |= {
                "min": moments.min.tolist(),
                "max": moments.max.tolist(),
                "at_floor": fitted.at_floor.tolist(),
            }
        return record

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> Normalization:
        """Read what `to_record` gave, believing nothing.

        Raises:
            ValueError: Something is missing, or is not what it should be.
        """
        try:
            mean = _numbers(record["mean"])
            n_bins, unknown = len(mean), [np.nan] * len(mean)
            ends = [np.asarray(record.get(name, unknown), np.float64) for name in ("min", "max")]
            zeros = np.zeros(n_bins)
            moments = Moments(
                int(record["count"]),
                float(record["total_weight"]),
                mean,
                _numbers(record["m2"], n_bins),
                ends[0],
                ends[1],
                zeros,
                zeros,
            )
            fitted = Statistics(
                moments=moments,
                at_floor=np.asarray(record.get("at_floor", [0] * n_bins), np.int64),
                weight=cast("Weight", _one_of(record["weight"], WEIGHTS)),
                n_items=int(record["n_items"]),
                config_digest=str(record["config_digest"]),
            )
            over = cast("Over", _one_of(record["over"], OVERS))
            n_applied = 1 if over == "all" else n_bins
            shift, scale = (
                _numbers(record[name], n_applied).astype(np.float32) for name in ("shift", "scale")
            )
            rule = cast("Rule", _one_of(record["normalize"], RULES))
            found = cls(rule, over, shift, scale, fitted)
        except KeyError as error:
            raise ValueError(f"{error.args[0]} is missing") from error
        except (TypeError, OverflowError) as error:
            raise ValueError(str(error)) from error
        if (scale == 0).any() or (moments.m2 < 0).any() or moments.weight <= 0:
            raise ValueError("a scaler that cannot be")
        if found.digest != record.get("digest"):
            raise ValueError("its scaler has another digest than the one stored with it")
        return found


def _standard(fitted: Statistics, number: _Number) -> tuple[Any, Any]:
    return _as(number, fitted.moments.mean), _not_zero(_as(number, fitted.moments.std))


def _mean(fitted: Statistics, number: _Number) -> tuple[Any, Any]:
    shift = _as(number, fitted.moments.mean)
    return shift, np.ones_like(shift)


def _minmax(fitted: Statistics, number: _Number) -> tuple[Any, Any]:
    low, high = _ends(fitted)
    shift = _as(number, low + (high - low) / 2)
    # What float32 makes of the ends themselves: then nothing comes out beyond -1 and 1.
    low, high = _as(number, low), _as(number, high)
    return shift, _not_zero(np.maximum(high - shift, shift - low))


def _minmax01(fitted: Statistics, number: _Number) -> tuple[Any, Any]:
    low, high = (_as(number, end) for end in _ends(fitted))
    return low, _not_zero(high - low)


def _robust(fitted: Statistics, number: _Number) -> tuple[Any, Any]:
    if fitted.counts is None:
        raise ScalerError(
            "holds no quantiles, and --normalize robust needs them",
            None,
            "fit it with --quantiles, or choose another --normalize",
        )
    lower, median, upper = fitted.counts.quantiles(QUARTILES)
    return _as(number, median), _not_zero(_as(number, upper - lower))


_RULES: Final = {
    "standard": _standard,
    "mean": _mean,
    "minmax": _minmax,
    "minmax01": _minmax01,
    "robust": _robust,
}


def _ends(fitted: Statistics) -> tuple[Float64s, Float64s]:
    if fitted.is_export:
        raise ScalerError(
            "holds a mean and a standard deviation, and no least and largest value",
            None,
            "--normalize standard or mean; or fit an .npz or .h5",
        )
    return fitted.moments.min, fitted.moments.max


def _as(number: _Number, values: Float64s) -> Any:  # noqa: ANN401, an array of that kind
    with np.errstate(over="ignore"):  # what becomes infinite is refused in words
        return values.astype(number)


def _not_zero(scale: Any) -> Any:  # noqa: ANN401
    return np.where(scale == 0, scale.dtype.type(1), scale)


def _numbers(values: object, n: int | None = None) -> Float64s:
    numbers = np.asarray(values, np.float64)
    if numbers.ndim != 1 or not len(numbers) or len(numbers) != (n or len(numbers)):
        raise ValueError(f"{numbers.shape} numbers where {n or 'some'} should be")
    if not np.isfinite(numbers).all():
        raise ValueError("a number that is NaN or infinite")
    return numbers


def _one_of(value: object, allowed: tuple[str, ...]) -> str:
    if value not in allowed:
        raise ValueError(f"{value!r} is none of {', '.join(allowed)}")
    return str(value)
