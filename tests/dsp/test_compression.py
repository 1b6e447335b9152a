"""From mel to log mel, and every way back."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from melcli.dsp.compression import (
    Clip,
    DynamicRange,
    Floor,
    Logarithm,
    MelGain,
    Scaling,
    UtteranceMinMax,
)
from melcli.dsp.mel import MelBands, MelExponent
from melcli.dsp.stage import MeasuredStage, Stage
from melcli.dsp.stft import Spectrum
from melcli.dsp.waveform import Gain

if TYPE_CHECKING:
    from collections.abc import Iterator

    from melcli.config.fields import FloorMode, LogBase

EXACT = {
    "mel gain": MelGain(1000.0),
    "square root": MelExponent(0.5),
    "gain": Gain(32768.0),
    "ln": Logarithm("ln", 1.0),
    "log10": Logarithm("log10", 1.0),
    "decibels": Logarithm("log10", 10.0),
    "scaling": Scaling(-4.0, 4.0),
    "scaling by band": Scaling((1.0, -2.0, 3.0), (0.5, 2.0, -1.0)),
}
"""A stage of every kind that says its inverse leads all the way back."""


def kinds(of: type[Stage] = Stage) -> Iterator[type[Stage]]:
    """Every kind of stage there is."""
    for kind in of.__subclasses__():
        yield kind
        yield from kinds(kind)


def run(stage: MeasuredStage, rows: torch.Tensor) -> torch.Tensor:
    """Measure an item and map it."""
    return stage.of_whole(rows)


def test_every_exact_stage_is_tried_here() -> None:
    """A new stage that says "exact" must come home in the test below."""
    assert Spectrum in kinds()  # every module with stages is imported above
    assert {type(stage) for stage in EXACT.values()} == {k for k in kinds() if k.undo == "exact"}


@pytest.mark.parametrize("name", EXACT)
@settings(deadline=None)
@given(values=st.lists(st.floats(2**-33, 2**33, width=32), min_size=3, max_size=3))
def test_exact_stages_come_home(name: str, values: list[float]) -> None:
    """``inverse`` of what came out is what went in."""
    x = torch.tensor([values])
    stage = EXACT[name]
    # A logarithm of 23 (that of 2^33) is rounded to 1e-6, which the exponential makes relative:
    # a few roundings of that. A shift of 4 is rounded to 2e-7, whatever lies beside it.
    atol = 1e-6 if isinstance(stage, Scaling) else 0.0
    torch.testing.assert_close(stage.inverse(stage(x)), x, rtol=1e-5, atol=atol)


@pytest.mark.parametrize("stage", [MelBands(torch.ones(2, 3)), UtteranceMinMax(0.0)])
def test_stages_without_a_way_back_say_so(stage: Stage) -> None:
    """``inverse`` of what cannot be undone is an error that names the stage."""
    assert stage.undo == "never"
    with pytest.raises(TypeError, match=f"{type(stage).__name__} cannot be undone"):
        stage.inverse(torch.ones(1, 2))


@pytest.mark.parametrize(
    ("mode", "expected"),
    [
        ("clamp", [0.5, 0.5, 0.5, 2.0]),
        ("add", [0.5, 0.75, 1.0, 2.5]),
        ("replace_zero", [0.5, 0.25, 0.5, 2.0]),
    ],
)
def test_floors_by_hand(mode: FloorMode, expected: list[float]) -> None:
    """Three kinds of guard, on the same mel."""
    assert Floor(mode, 0.5)(torch.tensor([0.0, 0.25, 0.5, 2.0])).tolist() == expected


@settings(deadline=None)
@given(st.floats(0, 1e6, width=32))
def test_an_added_floor_comes_home(value: float) -> None:
    """What was added is taken away again."""
    x = torch.tensor([value])
    stage = Floor("add", 1e-3)
    # the sum is rounded at the larger of the two
    torch.testing.assert_close(stage.inverse(stage(x)), x, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("stage", [Floor("clamp", 0.5), Floor("replace_zero", 0.5), Clip(0.5, 3.0)])
@settings(deadline=None)
@given(st.floats(0.5, 3.0, width=32))
def test_clipped_stages_come_home_where_nothing_was_clipped(stage: Stage, value: float) -> None:
    """Inside the range nothing happens in either direction."""
    assert stage.undo == "clipped"
    x = torch.tensor([value])
    assert torch.equal(stage.inverse(stage(x)), x)


@pytest.mark.parametrize(
    ("base", "factor", "expected"),
    [("ln", 1.0, math.log(1e-5)), ("log10", 1.0, -5.0), ("log10", 10.0, -50.0)],
)
def test_logarithms_by_hand(base: LogBase, factor: float, expected: float) -> None:
    """Natural, decimal, decibels."""
    assert float(Logarithm(base, factor)(torch.tensor(1e-5))) == pytest.approx(expected, rel=1e-6)


def test_dynamic_range_hangs_from_the_maximum_of_the_item() -> None:
    """Everything is lifted to ``width`` below the loudest bin; above that nothing changes."""
    rows = torch.tensor([[10.0, -100.0], [3.0, 2.0]])
    stage = DynamicRange(8.0, subtract=False)
    assert run(stage, rows).tolist() == [[10.0, 2.0], [3.0, 2.0]]
    assert stage.inverse(rows) is rows


def test_minmax_is_from_minus_one_to_one() -> None:
    """The least value is -1, the largest 1; a constant item is -1 also without an eps."""
    assert run(UtteranceMinMax(0.0), torch.tensor([[2.0, 4.0], [3.0, 6.0]])).tolist() == [
        [-1.0, 0.0],
        [-0.5, 1.0],
    ]
    for eps in (0.0, 1e-8):
        assert run(UtteranceMinMax(eps), torch.full((3, 2), 7.0)).tolist() == [[-1.0, -1.0]] * 3


def test_scaling_by_band_runs_along_the_bands() -> None:
    """The last axis of rows is the bands."""
    rows = torch.tensor([[1.0, 2.0], [3.0, 4.0]])
    assert Scaling((1.0, 2.0), (2.0, 4.0))(rows).tolist() == [[0.0, 0.0], [1.0, 0.5]]
