"""``melcli configs list``: a table that a person can scan, and search."""

from __future__ import annotations

import pytest
from click.testing import CliRunner, Result

from melcli import presets
from melcli.cli import cli

WIDTH = 120
"""Columns of a terminal that people have beside their editor."""


def list_configs(*args: str) -> Result:
    """Run the command."""
    return CliRunner().invoke(cli, ["configs", "list", *args])


def test_lists_all_under_headings() -> None:
    """Every front end has a line, in its group, with its short name; no line is too wide."""
    result = list_configs()
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert lines[0].split() == ["NAME", "RATE", "FFT/HOP", "MELS", "LOG", "FOR"]
    assert [line for line in lines if line in presets.GROUPS] == list(presets.GROUPS)
    names = [line.split()[0] for line in lines[1:] if line and line not in presets.GROUPS]
    assert sorted(names) == presets.names()
    assert max(map(len, lines)) <= WIDTH
    assert "librosa-default-db (librosa)" in result.stdout


def test_a_line_tells_front_ends_apart() -> None:
    """A line has the rate, FFT and hop, bands (times stacked frames), logarithm, and use."""
    line = list_configs("paraformer").stdout.splitlines()[-1]
    assert line.split()[:5] == ["funasr-paraformer-560", "16000", "512/160", "80x7", "ln"]
    assert line.endswith(presets.load("funasr-paraformer-560").about.summary)
    assert "10 log10" in list_configs("librosa").stdout
    assert "  -  " in list_configs("nnaudio-default").stdout


def test_tells_why_a_line_is_there() -> None:
    """A front end found by a model that computes the same is shown with that model."""
    lines = list_configs("distil").stdout.splitlines()
    assert lines[-2].startswith("whisper-80")
    assert lines[-1].strip() == "used by distil-whisper"


@pytest.mark.parametrize(
    ("args", "names"),
    [
        (["VGGISH"], ["essentia-vggish", "vggish"]),
        (["--rate", "20000"], ["tacotron-keithito-20k"]),
        (["--group", "neural codecs"], ["dac-mel-loss", "encodec-mel-loss"]),
        (["rvc", "--rate", "48000", "--group", "text"], ["rvc-48k"]),
    ],
)
def test_filters(args: list[str], names: list[str]) -> None:
    """A word, a rate and a group choose lines; headings without any are left out."""
    lines = list_configs(*args).stdout.splitlines()
    shown = [line.split()[0] for line in lines[1:] if line and line not in presets.GROUPS]
    assert sorted(shown) == names


@pytest.mark.parametrize(
    ("args", "told"),
    [
        (["wisper-80"], "whisper-80"),
        (["--rate", "11025"], "8000, 16000"),
        (["--group", "speach"], "speech recognition"),
    ],
)
def test_nothing_found(args: list[str], told: str) -> None:
    """Nothing found is exit 2, with the nearest on stderr and nothing on stdout."""
    result = list_configs(*args)
    assert result.exit_code == 2
    assert result.stdout == ""
    assert told in result.stderr
