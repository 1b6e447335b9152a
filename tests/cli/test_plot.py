"""``melcli plot`` and ``melcli configs plot``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.conftest import Cli

pytest.importorskip("matplotlib")

VOWELS = Path(__file__).parents[2] / "examples" / "audio" / "speech" / "vowels.wav"
PNG = b"\x89PNG\r\n"


def test_a_pipe(cli: Cli) -> None:
    """What `extract` writes to a pipe is drawn as it comes, and the picture can go on."""
    mel = cli("extract", VOWELS, "-o", "-", "-c", "hifigan-22k")
    drawn = cli("plot", "-", "-c", "hifigan-22k", "-o", "-", stdin=mel.stdout)
    assert drawn.exit_code == 0
    assert drawn.stdout.startswith(PNG)
    assert drawn.stderr == "stdin: 193 frames of 80 bands, hifigan-22k\n"


def test_comparing(cli: Cli) -> None:
    """Two INPUTs are drawn with their difference, which is told on standard error."""
    result = cli("plot", "--compare", VOWELS, VOWELS, "-o", "d.svg", "--end", "1")
    assert result.exit_code == 0
    assert result.stderr.startswith("B - A: the same numbers\nno --config was given")
    assert (cli.folder / "d.svg").read_bytes().startswith(b"<?xml")


def test_replacing_quietly(cli: Cli) -> None:
    """An older picture is replaced; --quiet says nothing; options come from the environment."""
    (cli.folder / "x.png").write_bytes(b"old")
    result = cli("plot", VOWELS, "-o", "x.png", "-q", env={"MELCLI_PLOT_CONFIG": "kaldi-fbank-23"})
    assert (result.exit_code, result.stdout, result.stderr) == (0, b"", "")
    assert (cli.folder / "x.png").read_bytes().startswith(PNG)


@pytest.mark.parametrize(
    ("args", "told"),
    [
        (["a.wav", "b.wav"], "This takes one INPUT; --compare takes two."),
        (["--compare", "a.wav"], "This takes two INPUTs."),
        ([], "This takes one INPUT"),
        (["a.wav", "--start", "2", "--end", "1"], "--start 2 is not before --end 1"),
    ],
)
def test_usage(cli: Cli, args: list[str], told: str) -> None:
    """What is asked for in a wrong way is exit 2."""
    result = cli("plot", *args, "-o", "x.png")
    assert result.exit_code == 2
    assert told in result.stderr


@pytest.mark.parametrize("name", ["x", "x.jpg"])
def test_names(cli: Cli, name: str) -> None:
    """A name that is none of a picture is refused before anything is read."""
    for command in (["plot", "nothing.wav"], ["configs", "plot", "whisper-80"]):
        result = cli(*command, "-o", name)
        assert result.exit_code == 2
        assert f"Error: {name}: is no name of a picture" in result.stderr


def test_no_matplotlib(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """A missing extra is exit 5, with what installs it."""
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    for command in (["plot", "nothing.wav"], ["configs", "plot", "whisper-80"]):
        result = cli(*command, "-o", "x.png")
        assert result.exit_code == 5
        assert 'try: pip install "melcli[plot]"' in result.stderr


def test_no_such_file(cli: Cli) -> None:
    """A file that is not there is exit 3."""
    assert cli("plot", "nothing.wav", "-o", "x.png").exit_code == 3


def test_filterbanks(cli: Cli) -> None:
    """A filterbank is drawn, changed by --set, with what is poor about it."""
    args = ["configs", "plot", "whisper-80", "--set", "mel.n_mels=256", "-o"]
    result = cli(*args, "-")
    assert result.exit_code == 0
    assert result.stdout.startswith(PNG)
    assert "of 256 filters are empty" in result.stderr
    wrong = cli("configs", "plot", "wisper-80", "-o", "x.png")
    assert wrong.exit_code == 2
    assert "whisper-80" in wrong.stderr


def test_help_is_quick(cli: Cli) -> None:
    """Help loads neither NumPy nor torch nor matplotlib."""
    code = (
        "import sys\n"
        "from melcli.cli import cli\n"
        "try: cli(['plot', '--help'])\n"
        "except SystemExit: pass\n"
        "print({'numpy', 'torch', 'matplotlib'} & set(sys.modules))"
    )
    assert cli.run_python(code).text.splitlines()[-1] == "set()"
