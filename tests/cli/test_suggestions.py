"""A mistyped word is answered with the command line that was perhaps meant."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.conftest import Cli


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("extrat corpus -o x.h5", "melcli extract corpus -o x.h5"),
        ("Extract corpus", "melcli extract corpus"),
        ("fit_scaler corpus", "melcli fit-scaler corpus"),
        ("scaler aply x.h5", "melcli scaler apply x.h5"),
        ("configs lst", "melcli configs list"),
        ("list whisper", "melcli configs list whisper"),
        ("help", "melcli --help"),
        ("help extract", "melcli extract --help"),
        ("extract --hlep", "melcli extract --help"),
        ("--verison", "melcli --version"),
        # The command is forgotten.
        ("corpus -o x.h5", "melcli extract corpus -o x.h5"),
        ("corpus/ --output=x.h5", "melcli extract corpus/ --output=x.h5"),
        ("nowhere/a.wav -oy.h5", "melcli extract nowhere/a.wav -oy.h5"),
        ("corpus", "melcli extract corpus -o mels.h5"),
        ("infos/", "melcli extract infos/ -o mels.h5"),
        ("mels.h5", "melcli info mels.h5"),
        ("-o x.h5 corpus", "melcli extract -o x.h5 corpus"),
        ("--config whisper-80 corpus", "melcli extract --config whisper-80 corpus"),
        ("-v extract corpus", "melcli extract -v corpus"),
        # Options, with a value and without.
        ("extract a --ouput x.h5", "melcli extract a --output x.h5"),
        ("extract a --sacler=x.npz", "melcli extract a --scaler=x.npz"),
        ("extract a --strct", "melcli extract a --strict"),
        # Choices.
        ("extract a --resample soxr-hg", "melcli extract a --resample soxr-hq"),
        ("extract a --dtype=flot16", "melcli extract a --dtype=float16"),
        ("fit-scaler a --weight frmae", "melcli fit-scaler a --weight frame"),
        ("completion bsh", "melcli completion bash"),
        # What contains the wrong word is left alone.
        ("extract dtype-x --dtype x --dtyp x", "melcli extract dtype-x --dtype x --dtype x"),
    ],
)
def test_meant(cli: Cli, typed: str, meant: str) -> None:
    """What to type stands behind the error, ready to be pasted."""
    for name in ("corpus", "infos"):
        Path(name).mkdir()
    result = cli(*typed.split())
    assert (result.exit_code, result.stdout) == (2, b"")
    assert result.stderr.splitlines()[-1] == f"  try: {meant}"


@pytest.mark.parametrize(
    "typed", ["stats", "extract corpus -o x.h5 --zzzz", "extract corpus --dtype complex", "extract"]
)
def test_nothing_near(cli: Cli, typed: str) -> None:
    """Where nothing is near, nothing is suggested."""
    result = cli(*typed.split())
    assert result.exit_code == 2
    assert "Error: " in result.stderr
    assert "  try: " not in result.stderr
    assert "Did you mean" not in result.stderr


def test_a_word_from_the_environment(cli: Cli) -> None:
    """What was not typed cannot be mended in what was typed: the word is told."""
    result = cli("extract", "corpus", env={"MELCLI_EXTRACT_DTYPE": "flot16"})
    assert result.stderr.endswith("  try: float16\n")


def test_long_lines_are_not_repeated(cli: Cli) -> None:
    """Of a command line that would fill the screen, the word is enough."""
    result = cli("extract", "--strct", *(f"recording-{k}.wav" for k in range(20)))
    assert result.stderr.endswith("  try: --strict\n")
