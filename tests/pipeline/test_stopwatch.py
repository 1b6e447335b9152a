"""Where the time went."""

from __future__ import annotations

import time

import pytest

from melcli.pipeline.stopwatch import STEPS, Step, Stopwatch, Times


def times(**seconds: float) -> Times:
    """Steps that kept a core busy all the time."""
    made = Times()
    for step in STEPS:
        made.busy[step] = made.elapsed[step] = seconds.get(step, 0.0)
    return made


def test_a_lap_ends_a_step() -> None:
    """Sleeping takes time but no core; what lies before a start belongs to no step."""
    watch = Stopwatch()
    time.sleep(0.02)
    watch.start()
    watch.lap("mel")
    assert watch.times.elapsed["mel"] < 0.02
    time.sleep(0.02)
    watch.lap("read")
    assert watch.times.elapsed["read"] >= 0.02
    assert watch.times.busy["read"] < 0.02


def test_threads_add_up() -> None:
    """The seconds of many threads are one sum."""
    total = times(read=1.0, mel=2.0)
    total.add(times(mel=3.0, write=0.5))
    assert total.busy == {"read": 1.0, "resample": 0.0, "mel": 5.0, "write": 0.5}
    assert total.elapsed == total.busy


LIMITS: list[tuple[dict[Step, float], str]] = [
    ({"read": 9.0, "mel": 8.0}, "the cores, most of all for decoding"),
    ({"resample": 9.5, "mel": 9.0}, "the cores, most of all for resampling"),
    ({"read": 2.0, "mel": 17.0}, "the cores, most of all for computing"),
    ({"mel": 8.0, "write": 9.0}, "writing"),
    ({"read": 1.0, "mel": 2.0}, "too few inputs at once"),
]


@pytest.mark.parametrize(("seconds", "limit"), LIMITS)
def test_the_limit_is_named(seconds: dict[str, float], limit: str) -> None:
    """Of ten seconds with two workers, what a faster machine would need more of."""
    assert f"the limit was {limit}" in times(**seconds).where(10.0, 2)


def test_cores_that_others_use_are_told() -> None:
    """Steps that take longer than they keep a core busy share it."""
    made = times(read=1.0, mel=7.0)
    made.elapsed["mel"] = 17.0
    told = made.where(10.0, 2)
    assert told.endswith("the cores, most of all for computing; they had other work as well")


def test_a_slow_disk_is_no_decoder() -> None:
    """Reading that waits keeps no core busy."""
    made = times(read=1.0, mel=1.0)
    made.elapsed["read"] = 18.0
    told = made.where(10.0, 2)
    assert told.endswith("the limit was the disk that is read from")
    assert "waiting 18.0 s, with 2 workers in 10.0 s" in told
