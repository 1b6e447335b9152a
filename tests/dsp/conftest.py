"""Signals with everything that goes wrong in them, and torch as the pipeline runs it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(autouse=True, scope="session")
def one_torch_thread() -> Iterator[None]:
    """One thread an operation, as in a run."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def recording() -> torch.Tensor:
    """Noise of changing level, with a stretch of digital silence and a click: 80,000 samples."""
    noise = torch.randn(80_000, generator=torch.Generator().manual_seed(7)) * 0.1
    noise[20_000:30_000] *= 1e-4
    noise[50_000:58_000] = 0.0
    noise[60_000] = 1.0
    return noise
