"""What the peers need before they are imported, and the table at the end of the run."""

from __future__ import annotations

import os
import sys
import types
from typing import TYPE_CHECKING

import pytest
import torch
from hypothesis import HealthCheck, settings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

os.environ["KERAS_BACKEND"] = "torch"
os.environ["HF_HUB_OFFLINE"] = "1"


def _torchaudio_without_its_library() -> None:
    """Stand in for torchaudio's compiled part, which its wheel links to CUDA.

    Beside a CPU build of torch it cannot be loaded, and nothing that is compared here uses it.
    """

    def fail_if_no_align(function: Callable[..., object]) -> Callable[..., object]:
        return function

    stand_in = types.ModuleType("torchaudio._extension")
    vars(stand_in).update(_IS_TORCHAUDIO_EXT_AVAILABLE=False, fail_if_no_align=fail_if_no_align)
    sys.modules["torchaudio._extension"] = stand_in


_torchaudio_without_its_library()

from peers import agreement  # noqa: E402, no peer may be imported before the lines above

# The same examples in every run; --hypothesis-profile=soak looks further.
settings.register_profile(
    "peers",
    max_examples=25,
    derandomize=True,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.register_profile(
    "soak", settings.get_profile("peers"), max_examples=400, derandomize=False
)
settings.load_profile("peers")


@pytest.fixture(autouse=True, scope="session")
def one_torch_thread() -> Iterator[None]:
    """One thread an operation: on few and small frames, more would wait for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Tell how far the peers were from us at most."""
    if agreement.SEEN:
        terminalreporter.section("largest differences")
        for line in agreement.table():
            terminalreporter.write_line(line)
