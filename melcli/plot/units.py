"""What the numbers of a row are, in the words that a colour bar has room for."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from melcli.config import MelConfig
    from melcli.config.fields import UtteranceNorm
    from melcli.statistics.normalize import Normalization, Rule

_DEPTH_DB: Final = 80.0
"""How far below the loudest a picture goes: what lies deeper is noise to the eye."""
_STRAIGHT: Final = 0.1
"""A number added from which on a logarithm of it is all but straight for what is quiet."""
_DRAWN: Final = ", drawn in dB re 1"
_WORDS: Final = {1.0: "magnitude", 2.0: "power"}
_PER_ITEM: Final[dict[UtteranceNorm, str]] = {
    "mean": "less {} mean over the item",
    "mean_var": "in standard deviations of {} over the item",
    "minmax": "from -1 to 1 by the ends of {} over the item",
    "minmax01": "from 0 to 1 by the ends of {} over the item",
}
_PER_DATASET: Final[dict[Rule, str]] = {
    "standard": "in standard deviations from the mean of a dataset",
    "mean": "less the mean of a dataset",
    "minmax": "-1 to 1 by the ends of a dataset",
    "minmax01": "0 to 1 by the ends of a dataset",
    "robust": "in quartile distances from the median of a dataset",
}


@dataclass(frozen=True)
class Quantity:
    """What numbers are.

    Args:
        label: In full: ``"dB re 1"``, ``"ln magnitude"``, ``"(log10 power + 4) / 4"``.
        is_db: A difference of two is one in decibels.
        depth: What 80 dB are in these numbers; None where they are no levels any more.
        exponent: Of numbers that no logarithm was taken of, and that are drawn in decibels: 1 of
            magnitudes, 2 of powers. None: they are drawn as they are.
    """

    label: str
    is_db: bool = False
    depth: float | None = None
    exponent: float | None = None

    @property
    def undrawn(self) -> str:
        """What the numbers are as they are stored, however they are drawn.

        >>> _linear(2.0, "power").undrawn, Quantity("ln power").undrawn
        ('power', 'ln power')
        """
        return self.label.removesuffix(_DRAWN)

    def told(self, difference: float) -> str:
        """A difference of two of these numbers, with its unit if it has one.

        >>> Quantity("dB re 1", is_db=True).told(1.234), Quantity("ln power").told(1.234)
        ('1.23 dB', '1.23')
        """
        return f"{difference:.3g} dB" if self.is_db else f"{difference:.3g}"


def quantity(
    config: MelConfig, *, scaler: Normalization | None = None, power: float | None = None
) -> Quantity:
    """What the numbers of a front end's rows are.

    dB are claimed only where they are: for ten times the decimal logarithm of a power, or twenty
    times that of a magnitude, with nothing added before, and not scaled behind.

    Args:
        config: The front end.
        scaler: What its rows were normalised by.
        power: They are no mels, but spectra with this exponent of the magnitude.

    >>> from melcli.config import Log, MelConfig, Scale
    >>> quantity(MelConfig(log=Log(log="log10", log_mult=10.0, floor_mode="clamp", floor=1e-10)))
    Quantity(label='dB re 1', is_db=True, depth=80.0, exponent=None)
    >>> log = Log(log="log10", floor_mode="clamp", floor=1e-10)
    >>> quantity(MelConfig(log=log, scale=Scale(shift=-4.0, scale=4.0))).label
    '(log10 power + 4) / 4'
    """
    if power is not None:
        return _linear(power, _word(power)) if power > 0 else Quantity(_word(power))
    found, expression = _levels(config), _expression(config)
    if (norm := config.scale.utt_norm) != "none":
        how = _PER_ITEM[norm].format(_whose(config))
        found = _normalised(found, expression, how, keeps_levels=norm == "mean")
        expression = found.label
    if scaler is not None:
        found = _normalised(
            found, expression, _PER_DATASET[scaler.rule], keeps_levels=scaler.rule == "mean"
        )
    return found


def _normalised(found: Quantity, expression: str, how: str, *, keeps_levels: bool) -> Quantity:
    """What becomes of it: levels may be moved, and are still levels."""
    if found.exponent is not None or not keeps_levels:
        return Quantity(f"{expression}, {how}")
    return Quantity(f"{found.label}, {how}", is_db=found.is_db, depth=found.depth)


def _levels(config: MelConfig) -> Quantity:
    """Before an item or a dataset normalises them."""
    log, scale = config.log, config.scale
    expression = _expression(config)
    exponent = config.spec.power * config.mel.mel_exponent
    is_scaled = scale.shift != 0.0 or scale.scale != 1.0
    if log.log == "none":
        is_moved = is_scaled or log.range_subtract or log.floor_mode == "add"
        if is_moved or log.log_mult < 0 or exponent <= 0:
            return Quantity(expression)
        return _linear(exponent, expression)
    # log_mult log x^exponent, against 10 log10 x^2.
    db_per_unit = 20.0 / (exponent * log.log_mult)
    if log.log == "ln":
        db_per_unit /= math.log(10.0)
    is_level = log.floor_mode != "add" or log.floor < _STRAIGHT
    depth = _DEPTH_DB / abs(db_per_unit) if is_level else None
    if is_scaled:
        # Of bands that are scaled each by itself, no range of levels is known.
        by = scale.scale if isinstance(scale.scale, float | int) else None
        depth = None if by is None or depth is None else depth / abs(by)
        return Quantity(expression, depth=depth)
    if math.isclose(db_per_unit, 1.0, rel_tol=1e-6) and log.floor_mode != "add":
        return Quantity(_decibels(config), is_db=True, depth=depth)
    return Quantity(expression, depth=depth)


def _linear(exponent: float, word: str) -> Quantity:
    """Numbers without a logarithm: few of them would be seen beside the loudest."""
    return Quantity(f"{word}{_DRAWN}", is_db=True, depth=_DEPTH_DB, exponent=exponent)


def _word(exponent: float) -> str:
    return _WORDS.get(exponent, f"magnitude^{exponent:g}")


def _expression(config: MelConfig) -> str:
    """What was computed, but for floors that only clamp: they are the lower end of the colours.

    ``ln magnitude``, ``20 log10 magnitude``, ``ln(1 + 1000 magnitude)``, ``(ln power + 4) / 4``.
    """
    log = config.log
    word = _word(config.spec.power * config.mel.mel_exponent)
    inside = word if log.gain == 1.0 else f"{log.gain:g} {word}"
    if log.floor_mode == "add":
        inside = f"{log.floor:.3g} + {inside}"
    if log.log != "none":
        inside = f"{log.log}({inside})" if "+" in inside else f"{log.log} {inside}"
    elif "+" in inside and log.log_mult != 1.0:
        inside = f"({inside})"
    factor = "" if log.log_mult == 1.0 else f"{log.log_mult:.4g} "
    return _scaled(_less_reference(f"{factor}{inside}", config), config)


def _decibels(config: MelConfig) -> str:
    log = config.log
    if log.range_subtract:
        if log.range_ref == "item_max":
            return "dB re the loudest of the item"
        return f"dB re {log.range_value:g} dB"
    return f"dB re {1.0 / log.gain:.3g}"


def _less_reference(expression: str, config: MelConfig) -> str:
    log = config.log
    if not log.range_subtract:
        return expression
    if log.range_ref == "item_max":
        return f"{expression}, less the largest of the item"
    return f"{expression} - {log.range_value:g}"


def _scaled(expression: str, config: MelConfig) -> str:
    shift, scale = config.scale.shift, config.scale.scale
    if isinstance(shift, tuple) or isinstance(scale, tuple):
        return f"{expression}, each band scaled"
    if shift:
        expression = f"{expression} {'-' if shift > 0 else '+'} {abs(shift):.4g}"
    if scale == 1.0:
        return expression
    return f"({expression}) / {scale:.4g}" if " " in expression else f"{expression} / {scale:.4g}"


def _whose(config: MelConfig) -> str:
    """Whose statistics an item is normalised by."""
    norm, over = config.scale.utt_norm, config.scale.utt_over
    if over == "auto":
        over = "all" if norm in {"minmax", "minmax01"} else "bin"
    if norm == "mean":
        return "the" if over == "all" else "each band's"
    return "all bands" if over == "all" else "each band"
