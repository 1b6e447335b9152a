"""What tests of several commands share: an output of each kind."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.conftest import Cli, Corpus


@pytest.fixture(params=["x.h5", "tree.h5", "npy/"])
def output(request: pytest.FixtureRequest, cli: Cli, corpus: Corpus) -> str:
    """An output of seven inputs, two of which failed."""
    corpus.add_good()
    corpus.add_bytes("e.wav", b"text, and no audio")
    corpus.cut("f.wav")
    layout = "tree" if request.param == "tree.h5" else "packed"
    args = ["--channels", "each", "--store-layout", layout]
    assert cli("extract", "corpus", "-o", request.param, *args).exit_code == 1
    return str(request.param)
