"""Two mels and their difference."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from melcli.plot.compare import Difference, difference_limits, draw
from melcli.plot.spectrogram import Limits, limits_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from melcli.plot import Panel

DIFFERENCE: dict[str, Any] = {
    "largest": -12.3, "seconds": 0.512, "hz": 1987.6, "rms": 2.5, "told": ("-12.3 dB", "2.5 dB"),
}  # fmt: skip


def test_panels(figure: Any, new_panel: Callable[..., Panel]) -> None:
    """A and B have one range of colours, the difference one that is even about zero."""
    a = new_panel(title="a.wav")
    b = replace(a, numbers=a.numbers + np.float32(30.0), title="b.wav")
    numbers = np.linspace(-3.0, 5.0, a.numbers.size).reshape(a.numbers.shape)
    draw(figure, a, b, Difference(numbers=numbers, **DIFFERENCE))
    one, other, apart, bar, apart_bar = figure.axes
    first, second, third = (axes.images[0] for axes in (one, other, apart))
    assert first.get_clim() == second.get_clim()
    assert first.get_clim() == limits_of([a.numbers, b.numbers], 80.0)[:2]
    assert third.get_clim()[0] == -third.get_clim()[1]
    assert (np.asarray(third.get_array()) == numbers.T).all()
    assert first.get_extent() == second.get_extent() == third.get_extent()
    assert one.get_title("left") == "A: a.wav"
    assert other.get_title("left") == "B: b.wav"
    assert apart.get_title("left") == "B - A: largest -12.3 dB at 0.512 s, 1.99 kHz; RMS 2.5 dB"
    assert (bar.get_ylabel(), apart_bar.get_ylabel()) == ("dB re 1", "B - A, in dB")


def test_words_of_no_difference() -> None:
    """What is the same is called the same."""
    same = Difference(numbers=np.zeros((2, 2)), **(DIFFERENCE | {"largest": 0.0}))
    assert str(same) == "B - A: the same numbers"


@pytest.mark.parametrize(
    ("numbers", "limits"),
    [
        (np.array([[-2.0, 1.0]]), Limits(-1.995, 1.995, "both")),
        (np.zeros((3, 3)), Limits(-1.0, 1.0)),
        (np.full((3, 3), np.nan), Limits(-1.0, 1.0)),
        (np.eye(100)[:1] * 0.0 + 3.0, Limits(-3.0, 3.0)),
    ],
)
def test_limits(numbers: Any, limits: Limits) -> None:
    """Zero is the middle colour, whatever differs."""
    found = difference_limits(numbers)
    assert found[:2] == pytest.approx(limits[:2])
    assert found.extend == limits.extend
