"""The windows by name: scipy.signal.get_window's, with their aliases and parameters, and povey.

Only what is needed to check a config: neither torch nor SciPy is loaded. The shapes themselves are
in ``melcli/dsp/windows.py``.
"""

from __future__ import annotations

import difflib
import json
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

WindowSpec = str | tuple[str | float, ...]
"""A name, or a name and its parameters: ``"hann"``, ``("gaussian", 50.0)``."""


@dataclass(frozen=True)
class Parameter:
    """One number that shapes a window.

    Args:
        name: As SciPy calls it.
        must: Where it must lie, in words that follow "must be".
        holds: Whether a number lies there.
        default: What it is if left out; None: it cannot be. ``"none"`` is SciPy's None, which
            TOML has no word for.
    """

    name: str
    must: str = "a number"
    holds: Callable[[float], bool] = math.isfinite
    default: str | float | None = None

    def complaint(self, value: str | float) -> str:
        """What is wrong with a value, or nothing."""
        if value == self.default:
            return ""
        if isinstance(value, int | float) and math.isfinite(value) and self.holds(value):
            return ""
        word = ' or "none"' if self.default == "none" else ""
        return f"its {self.name} must be {self.must}{word}"

    def __str__(self) -> str:
        return self.name if self.default is None else f"{self.name} = {json.dumps(self.default)}"


@dataclass(frozen=True)
class Shape:
    """What is known of a window: how else it is called, and what numbers it takes."""

    aliases: tuple[str, ...] = ()
    parameters: tuple[Parameter, ...] = ()
    endless: bool = False
    """The last parameter may come any number of times."""

    @property
    def fewest(self) -> int:
        """The number of parameters it needs."""
        return sum(parameter.default is None for parameter in self.parameters)

    @property
    def most(self) -> float:
        """The number of parameters it takes."""
        return math.inf if self.endless else len(self.parameters)


def _above_0(name: str, default: float | None = None) -> Parameter:
    return Parameter(name, "above 0", lambda value: value > 0, default)


def _at_least_0(name: str, default: float | None = None) -> Parameter:
    return Parameter(name, "at least 0", lambda value: value >= 0, default)


# Beyond 709, exp(beta) and with it I0(beta) is infinite in float64.
_BETA = Parameter("beta", "from -700 to 700", lambda value: abs(value) <= 700)
_NBAR = Parameter(
    "nbar", "a whole number, at least 1", lambda value: value >= 1 and value == int(value), 4
)
_NORM = Parameter("norm", "0 or 1", lambda value: value in {0, 1}, 1)

WINDOWS = {
    "barthann": Shape(("brthan", "bth")),
    "bartlett": Shape(("bart", "brt")),
    "blackman": Shape(("black", "blk")),
    "blackmanharris": Shape(("blackharr", "bkh")),
    "bohman": Shape(("bman", "bmn")),
    "boxcar": Shape(("box", "ones", "rect", "rectangular")),
    "chebwin": Shape(("cheb",), (Parameter("at"),)),
    "cosine": Shape(("halfcosine",)),
    "dpss": Shape((), (_above_0("NW"),)),
    "exponential": Shape(
        ("poisson",), (Parameter("center", default="none"), _above_0("tau", default=1.0))
    ),
    "flattop": Shape(("flat", "flt")),
    "gaussian": Shape(("gauss", "gss"), (_above_0("std"),)),
    "general_cosine": Shape((), (Parameter("a"),), endless=True),
    "general_gaussian": Shape(("general_gauss", "ggs"), (_at_least_0("p"), _above_0("sig"))),
    "general_hamming": Shape((), (Parameter("alpha"),)),
    "hamming": Shape(("hamm", "ham")),
    "hann": Shape(("han",)),
    "kaiser": Shape(("ksr",), (_BETA,)),
    "kaiser_bessel_derived": Shape(("kbd",), (_BETA,)),
    "lanczos": Shape(("sinc",)),
    "nuttall": Shape(("nutl", "nut")),
    "parzen": Shape(("parz", "par")),
    "povey": Shape(),
    "taylor": Shape(("taylorwin",), (_NBAR, _at_least_0("sll", default=30), _NORM)),
    "triang": Shape(("triangle", "tri")),
    "tukey": Shape(("tuk",), (Parameter("alpha", default=0.5),)),
}
"""SciPy's names of windows, and povey. Underscores may also be written as spaces.

A list for ``general_cosine`` is written out, as in ``["general_cosine", 0.5, 0.5]``.
"""

_CANONICAL = {name: name for name in WINDOWS} | {
    alias: name for name, shape in WINDOWS.items() for alias in shape.aliases
}


def resolve_window(spec: WindowSpec) -> tuple[str, tuple[str | float, ...]]:
    """The first name of a window and all its parameters, those left out at their defaults.

    Args:
        spec: One that :func:`window_complaint` has nothing to say about.

    >>> resolve_window("rect"), resolve_window(("taylorwin", 5))
    (('boxcar', ()), ('taylor', (5, 30, 1)))
    """
    name, given = _split(spec)
    canonical = _CANONICAL[name]
    rest = WINDOWS[canonical].parameters[len(given) :]
    return canonical, given + tuple(p.default for p in rest if p.default is not None)


def window_complaint(
    spec: WindowSpec, length: int | None = None, *, periodic: bool | None = None
) -> str:
    """What is wrong with a window, or nothing.

    Args:
        spec: A name, or a name and its parameters.
        length: In samples; None: leave out what depends on it.
        periodic: Periodic or symmetric; None: leave out what depends on it.

    >>> window_complaint("hanning")
    'is no window; did you mean "hann"?'
    >>> window_complaint("gaussian")
    'needs 1 parameter: ["gaussian", std]'
    >>> window_complaint(("gaussian", 50.0))
    ''
    """
    name, given = _split(spec)
    if name not in _CANONICAL:
        return _unknown(name)
    shape = WINDOWS[_CANONICAL[name]]
    if not shape.fewest <= len(given) <= shape.most:
        return _wrong_number(name, shape)
    parameters = shape.parameters * (len(given) if shape.endless else 1)
    for parameter, value in zip(parameters, given, strict=False):
        complaint = parameter.complaint(value)
        if complaint:
            return complaint
    return _unfit(spec, length, periodic=periodic)


def _split(spec: WindowSpec) -> tuple[str, tuple[str | float, ...]]:
    name, *given = (spec,) if isinstance(spec, str) else spec or ("",)
    return str(name).replace(" ", "_"), tuple(given)


def _unknown(name: str) -> str:
    try:
        return f'begins with a name; a number alone is a Kaiser window: ["kaiser", {float(name)}]'
    except ValueError:
        pass
    stem, _, ending = name.rpartition("_")
    if stem in _CANONICAL and ending in {"periodic", "symmetric"}:
        value = "true" if ending == "periodic" else "false"
        return f'is written "{stem}", with frame.window_periodic = {value}'
    near = difflib.get_close_matches(name.lower(), _CANONICAL, n=1, cutoff=0.5)
    return f'is no window; did you mean "{near[0]}"?' if near else "is no window"


def _wrong_number(name: str, shape: Shape) -> str:
    if not shape.parameters:
        return f'takes no parameters: "{name}"'
    example = ", ".join([f'"{name}"', *map(str, shape.parameters)])
    number, wanted = shape.fewest, "needs"
    if shape.endless:
        example, wanted = f"{example}, ...", "needs at least"
    elif not shape.fewest:
        number, wanted = len(shape.parameters), "takes at most"
    return f"{wanted} {number} parameter{'s' if number > 1 else ''}: [{example}]"


def _unfit(spec: WindowSpec, length: int | None, *, periodic: bool | None) -> str:
    name, parameters = resolve_window(spec)
    if name == "kaiser_bessel_derived":
        if periodic is True:
            return "is symmetric only: needs frame.window_periodic = false"
        if length is not None and length % 2:
            return f"needs an even frame.win_length, not {length}"
    if name == "exponential" and periodic is False and parameters[0] != "none":
        return "can have its center moved only with frame.window_periodic = true"
    if name == "dpss" and length is not None and length > 1 and float(parameters[0]) >= length / 2:
        return f"its NW must be below half of frame.win_length, {length / 2:g}"
    return ""
