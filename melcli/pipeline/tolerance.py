"""How far numbers may lie apart that are the same but for the machine they were made on."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from melcli import presets

if TYPE_CHECKING:
    from collections.abc import Iterable

    from melcli.config import MelConfig
    from melcli.store.records import Array


@dataclass(frozen=True)
class Tolerance:
    """How far a mel that was made on one machine may lie from the same made on another.

    A named front end says it (``about.tolerance``), any other is allowed 5e-3. A log mel may lie
    as far off in its own unit. Bins more than 100 dB below the loudest of their item are set
    aside: there a float32 FFT leaves rounding, and each processor another one. A mel without a
    logarithm may lie off by that share of the item's largest value. float16 may be rounded to the
    next number on top of that.

    Args:
        allowed: The largest difference, or the share.
        depth: What 100 dB are in a log mel before it is scaled; None without a logarithm.
        is_undone: A scaler was applied and undone: numbers were rounded as others of their size.
    """

    allowed: float
    depth: float | None
    is_undone: bool = False

    @classmethod
    def of(cls, config: MelConfig) -> Tolerance:
        """The one of a front end."""
        about = presets.load(config.name).about.tolerance if presets.is_named(config) else ""
        # "1e-5 on one machine; 5e-3 across machines, ...": none but these are written so.
        told = [float(number) for number in re.findall(r"\d(?:\.\d+)?e-\d+", about)]
        allowed = max(told, default=5e-3)
        if config.log.log == "none":
            return cls(allowed, None)
        # A bin is log_mult * log(amplitude ^ (power * mel_exponent)); 100 dB are 10^5 of amplitude.
        exponent = config.spec.power * config.mel.mel_exponent
        one_decade = math.log(10) if config.log.log == "ln" else 1.0
        return cls(allowed, 5 * one_decade * exponent * abs(config.log.log_mult))

    def after_undoing(self) -> Tolerance:
        """The one of rows that were normalised, and are not any more."""
        return replace(self, is_undone=True)

    def __str__(self) -> str:
        if self.depth is None:
            return f"{self.allowed:g} of the largest value of each item"
        return f"{self.allowed:g}, bins more than 100 dB below the loudest aside"

    def peak(self, levels: Iterable[Array]) -> float:
        """What `judge` has to know of a whole item: its largest value, or its loudest bin."""
        ends = (level if self.depth is not None else np.abs(level) for level in levels)
        return max(float(end.max()) for end in ends)

    def judge(
        self,
        stored: Array,
        fresh: Array,
        level: Array,
        peak: float,
        unit: Array | float = 1.0,
    ) -> tuple[npt.NDArray[np.bool_], float]:
        """Which numbers lie too far apart, and the largest difference of all that count.

        Args:
            stored: Of an output.
            fresh: Computed again.
            level: The same before anything was scaled.
            peak: What `peak` says of their item.
            unit: What the scaler divided by: differences are told in the front end's own unit.
        """
        exact = stored.astype(np.float64)
        apart = np.abs(exact - fresh) * unit
        size = np.abs(exact)
        if self.is_undone:
            size = 4 * size.max(initial=0.0)  # it lay up to twice as far off, and was rounded twice
        rounding = np.finfo(stored.dtype).eps * size * unit
        if self.depth is None:
            counts, allowed = np.ones(stored.shape, np.bool_), self.allowed * peak
        else:
            counts, allowed = level >= peak - self.depth, self.allowed
        largest = float(apart.max(where=counts, initial=0.0))
        return counts & ~(apart <= allowed + rounding), largest


def other_bits(stored: Array, fresh: Array) -> tuple[npt.NDArray[np.bool_], float]:
    """Which numbers are not the same in every bit, and the largest difference."""
    whole = f"u{stored.itemsize}"  # as numbers, 0 would be -0
    differ = stored.view(whole) != fresh.view(whole)
    apart = np.abs(stored.astype(np.float64) - fresh) if differ.any() else np.zeros(1)
    return differ, float(apart.max())
