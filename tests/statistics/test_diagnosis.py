"""What is told of poor statistics."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from melcli.statistics.diagnosis import faults, runs
from melcli.statistics.fitted import Statistics
from melcli.statistics.moments import moments_of


def test_faults(rng: np.random.Generator) -> None:
    """Constant bins, bins at the floor and too few frames are told; good statistics say nothing."""
    rows = rng.standard_normal((2000, 10)).astype(np.float32)
    good = Statistics(moments=moments_of(rows), at_floor=np.zeros(10, np.int64))
    assert not list(faults(good))
    rows[:, 2:5] = -80.0
    at_floor = np.array([0, 0, 2000, 2000, 2000, 0, 0, 0, 999, 1500])
    poor = Statistics(moments=moments_of(rows), at_floor=at_floor)
    constant, floor = faults(poor)
    assert constant == "3 of 10 bins never vary: 2-4; they are moved and not divided"
    assert floor.startswith("1 of 10 bins lie at the floor of their file in at least 50%")
    assert floor.endswith(": 9 (up to 75%)")
    few = Statistics(moments=moments_of(rows[:1]), at_floor=np.zeros(10, np.int64))
    assert next(iter(faults(few))) == "only 1 frame: these statistics are rough"
    assert next(faults(Statistics.exported(np.zeros(2), np.zeros(2)))).startswith("2 of 2 bins")
    assert not list(faults(Statistics.exported(np.zeros(2), np.ones(2))))
    assert replace(good, n_items=3).floor_share.tolist() == [0.0] * 10


def test_runs() -> None:
    """Many places are not all told."""
    assert runs(np.array([False, True])) == "1"
    assert runs(np.arange(40) % 2 == 0) == "0, 2, 4, 6, 8, 10, 12, 14 and 12 more"
