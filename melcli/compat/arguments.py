"""From the arguments of another system to a front end, and errors that speak of those arguments."""

from __future__ import annotations

import dataclasses
import re
from typing import TYPE_CHECKING

import numpy as np

from melcli.config import MelConfig
from melcli.config.checks import find_problems
from melcli.config.fields import GROUPS
from melcli.errors import ConfigError, UsageError

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping


def config_of(
    settings: Mapping[str, object], names: Mapping[str, str], given: Mapping[str, object]
) -> MelConfig:
    """The front end that a system's arguments ask for.

    Args:
        settings: By key of a config, such as ``{"frame.n_fft": 512}``; all others are neutral.
        names: What the system calls a key, such as ``{"frame.n_fft": "fft_length"}``.
        given: The system's arguments as they were given.

    Raises:
        UsageError: For the first that cannot be: the argument, its value and what is allowed.
    """
    groups = {group: kind() for group, kind in GROUPS.items()}
    for key, value in settings.items():
        group, _, field = key.partition(".")
        groups[group] = dataclasses.replace(groups[group], **{field: whole(value)})
    try:
        return MelConfig(**groups)
    except ConfigError:
        problem = find_problems(groups)[0]
    argument = names.get(problem.key, problem.key)
    keys = "|".join(map(re.escape, names))
    complaint = re.sub(keys, lambda key: names[key[0]], problem.complaint)
    raise wrong(argument, given.get(argument, problem.value), complaint)


def wrong(argument: str, value: object, allowed: str) -> UsageError:
    """The error for an argument that cannot be.

    Args:
        argument: Its name.
        value: What was given.
        allowed: What may be, as in "must be at least 1".

    >>> str(wrong("top_db", -1, "must be at least 0, or None"))
    'top_db = -1: must be at least 0, or None'
    """
    return UsageError(f"{argument} = {value!r}: {allowed}")


def one_of(argument: str, value: object, allowed: Collection[object]) -> None:
    """See that a value is one of a few.

    Raises:
        UsageError: It is not.
    """
    # 1 == True: compared within one type only.
    if not any(type(value) is type(choice) and value == choice for choice in allowed):
        raise wrong(argument, value, f"must be one of {', '.join(map(repr, allowed))}")


def at_least(argument: str, value: object, least: float, *, above: bool = False) -> None:
    """See that a value is a number, and not below the least that may be.

    Args:
        argument: Its name.
        value: What was given.
        least: The least number.
        above: It must be more than that.

    Raises:
        UsageError: It is not.
    """
    number = whole(value)
    is_number = isinstance(number, int | float) and not isinstance(number, bool)
    if not is_number or (number <= least if above else number < least):  # type: ignore[operator]
        raise wrong(argument, value, f"must be {'above' if above else 'at least'} {least}")


def whole(value: object) -> object:
    """A float that is a whole number as the int it stands for, NumPy's numbers as Python's.

    Rates and sizes are often computed, and a config asks for whole numbers as such.

    >>> whole(22050.0), whole(0.5), whole("hann")
    (22050, 0.5, 'hann')
    """
    if isinstance(value, np.generic):
        value = value.item()
    return int(value) if isinstance(value, float) and value.is_integer() else value
