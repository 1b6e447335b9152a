"""RunConfig: how a run goes about it."""

from __future__ import annotations

import pytest

from melcli.config import RunConfig
from melcli.config.run import available_cores
from melcli.errors import UsageError


@pytest.mark.parametrize(
    ("run", "n_inputs", "limit"),
    [
        (RunConfig(), 1000, None),
        (RunConfig(strict=True), 1000, 1),
        (RunConfig(max_failures="0"), 1000, 1),
        (RunConfig(max_failures="10"), 5, 11),
        (RunConfig(max_failures="2%"), 1000, 21),
        (RunConfig(max_failures=" 0.5% "), 100, 1),
        (RunConfig(max_failures="100%"), 7, 8),
        (RunConfig(max_failures="10", strict=True), 1000, 1),
    ],
)
def test_failures_are_allowed_up_to_a_limit(
    run: RunConfig, n_inputs: int, limit: int | None
) -> None:
    """The limit is the first number that is too many."""
    assert run.failure_limit(n_inputs) == limit


@pytest.mark.parametrize("text", ["", "%", "-1", "-1%", "101%", "nan%", "many", "1.5"])
def test_other_limits_are_refused_on_creation(text: str) -> None:
    """Not after an hour, when the first file fails."""
    with pytest.raises(UsageError, match="must be a number or a percentage") as caught:
        RunConfig(max_failures=text)
    assert caught.value.remedy == "--max-failures 10, or --max-failures 2%"


def test_workers_are_one_a_core_unless_told() -> None:
    """Cores are those this process may use."""
    assert RunConfig().n_workers == available_cores() >= 1
    assert RunConfig(workers=3).n_workers == 3
    with pytest.raises(UsageError, match="workers = 0: must be at least 1"):
        RunConfig(workers=0)


def test_memory_has_a_least() -> None:
    """Below 64 MB not even one batch fits with what reads it."""
    assert RunConfig(memory=64 << 20).memory == 64 << 20
    with pytest.raises(UsageError, match="must be at least 64 MB"):
        RunConfig(memory=(64 << 20) - 1)
