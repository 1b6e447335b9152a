"""What tests of pictures share: an empty figure, and something to draw."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from melcli import presets
from melcli.plot import Panel, quantity
from melcli.scaler.bands import bin_centres

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.fixture
def figure() -> Any:
    """An empty figure; where there is no matplotlib, nothing is drawn."""
    return pytest.importorskip("matplotlib.figure").Figure()


@pytest.fixture
def new_panel(rng: np.random.Generator) -> Callable[..., Panel]:
    """A function that gives a second of noise, as a mel of a front end."""

    def make(name: str = "librosa", n_columns: int = 40, **how: Any) -> Panel:
        config = presets.load(name).config
        numbers = rng.normal(scale=20.0, size=(n_columns, config.mel.n_mels)).astype(np.float32)
        given: dict[str, Any] = {
            "numbers": numbers,
            "start": 0.0,
            "stop": 1.0,
            "hz": bin_centres(config)[: config.mel.n_mels],
            "quantity": quantity(config),
        }
        return Panel(**(given | how))

    return make
