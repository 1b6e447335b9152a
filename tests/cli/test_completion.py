"""What shells complete: the words that are known, and the scripts in the shells themselves."""

from __future__ import annotations

import os
import re
import select
import shutil
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from click.shell_completion import get_completion_class

import melcli.cli
from melcli import presets
from melcli.config.checks import ALL_KEYS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.conftest import Cli

FILES = "(files)"


@pytest.fixture
def complete(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> Complete:
    """A function from a line to the words that may end it, in a folder with some files."""
    Path(cli.folder / "mine.toml").write_text("", "utf-8")
    Path(cli.folder / "my models").mkdir()
    Path(cli.folder / "my models" / "other.toml").write_text("", "utf-8")
    Path(cli.folder / "mels.h5").write_text("", "utf-8")
    return Complete(monkeypatch)


class Complete:
    """Asks as a shell does, in this process."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._monkeypatch = monkeypatch

    def __call__(self, line: str) -> list[str]:
        """The words."""
        self._monkeypatch.setenv("COMP_WORDS", line)
        asked = get_completion_class("bash")(melcli.cli.cli, {}, "melcli", "_MELCLI_COMPLETE")
        words = [found.partition("\t")[0] for found in asked.complete().splitlines()]
        return [word or FILES for word in words]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("melcli fit", ["fit-scaler"]),
        ("melcli scaler ", ["apply", "merge", "show", "undo"]),
        ("melcli extract a --resam", ["--resample"]),
        ("melcli extract a --resample=soxr-v", ["--resample=soxr-vhq"]),
        ("melcli extract a --dtype ", ["float32", "float16"]),
        ("melcli extract a -c whisper-", ["whisper-128", "whisper-80"]),
        ("melcli extract a --config=whisper-8", ["--config=whisper-80"]),
        ("melcli extract a -c libr", ["librosa", "librosa-default-db"]),
        ("melcli extract a -c mi", ["mine.toml"]),
        ("melcli extract a -c ./m", ["./mine.toml", "./my models/"]),
        ("melcli configs show whisper-8", ["whisper-80"]),
        ("melcli configs check librosa whisper-8", ["whisper-80"]),
        ("melcli extract a --set mel.n_m", ["mel.n_mels="]),
        ("melcli extract a --set mel.mel_scale=", ["mel.mel_scale=htk", "mel.mel_scale=slaney"]),
        ("melcli extract a --set=mel.mel_scale=s", ["--set=mel.mel_scale=slaney"]),
        ("melcli extract a --set wave.channels=f", ["wave.channels=first"]),
        ("melcli extract a --set mel.n_mels=", []),
        ("melcli extract a --device c", ["cpu", "cuda"]),
        ("melcli extract ", [FILES]),
        ("melcli extract a -o ", [FILES]),
        ("melcli extract a --scaler ", [FILES]),
        ("melcli info me", [FILES]),
        ("melcli completion ", ["bash", "zsh", "fish"]),
    ],
)
def test_words(complete: Complete, line: str, words: list[str]) -> None:
    """A line is ended by what may stand there, whole, however it is begun."""
    assert complete(line) == words


def test_all_names(complete: Complete) -> None:
    """Every front end and every key is known."""
    offered = complete("melcli extract a --config ")
    assert {*presets.names(), *presets.ALIASES, "mine.toml"} == set(offered)
    assert complete("melcli extract a --set ") == [f"{key}=" for key in ALL_KEYS]


def test_it_is_light(cli: Cli) -> None:
    """Nobody waits for torch or NumPy between a key and its answer."""
    code = """
import os, sys
os.environ.update(_MELCLI_COMPLETE="bash_complete", COMP_WORDS="melcli extract a --set mel.")
sys.argv = ["melcli"]
from melcli.cli import main
try:
    main()
except SystemExit:
    print(*[name for name in ("torch", "numpy", "h5py", "soundfile") if name in sys.modules])
"""
    result = cli.run_python(code)
    assert result.exit_code == 0, result.stderr
    *offered, loaded = result.text.splitlines()
    assert any(line.startswith("mel.n_mels=\t") for line in offered)
    assert not loaded


# What is typed before Tab, and what stands there after it: the bytes of a terminal that were
# printed since, without those that only move the cursor.
TYPED = [
    ("melcli fit-sc", "melcli fit-scaler "),
    ("melcli extract a --config=whisper-8", "melcli extract a --config=whisper-80"),
    ("melcli extract a --set mel.n_me", "melcli extract a --set mel.n_mels="),
    ("melcli extract a --set mel.mel_scale=s", "melcli extract a --set mel.mel_scale=slaney "),
    ("melcli info me", "melcli info mels.h5 "),
]
SHELLS = {
    "bash": (["--norc", "--noprofile", "-i"], 'eval "$(melcli completion bash)"'),
    "zsh": (["-f", "-i"], 'eval "$(melcli completion zsh)"'),
    "fish": (["--no-config", "-i"], "melcli completion fish | source"),
}


@pytest.mark.parametrize("shell", SHELLS)
def test_in_a_shell(cli: Cli, tmp_path: Path, shell: str) -> None:
    """The line that the help names makes the shell itself complete: commands, values, files."""
    pytest.importorskip("pty")
    program = shutil.which(shell)
    if program is None:
        pytest.skip(f"{shell} is not installed")
    (cli.folder / "mels.h5").write_text("", "utf-8")
    (tmp_path / "bin").mkdir()
    start = tmp_path / "bin" / "melcli"
    start.write_text(f"#!{sys.executable}\nfrom melcli.cli import main\nmain()\n", "utf-8")
    start.chmod(0o755)
    options, line = SHELLS[shell]
    session = Session(program, options, tmp_path)
    try:
        session.type(f"{line}; echo rea''dy\r")
        session.read_until("ready")
        for typed, completed in TYPED:
            session.type(f"{typed}\t")
            session.read_until(completed)
            session.type("\x15")  # Ctrl-U: away with it
    finally:
        session.end()


class Session:
    """An interactive shell on a terminal of its own."""

    def __init__(self, program: str, options: list[str], folder: Path) -> None:
        import fcntl
        import pty
        import struct
        import termios

        child, self._terminal = pty.fork()
        if child == 0:
            path = f"{folder / 'bin'}{os.pathsep}{os.environ['PATH']}"
            package = str(Path(melcli.__file__).parents[1])
            new = {"HOME": str(folder), "PATH": path, "TERM": "xterm", "PYTHONPATH": package}
            os.chdir(folder)
            os.execve(program, [program, *options], {**os.environ, **new})  # noqa: S606
        self._child = child
        fcntl.ioctl(self._terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 150, 0, 0))

    def type(self, keys: str) -> None:
        """Press these."""
        self._read = ""
        os.write(self._terminal, keys.encode())

    def read_until(self, text: str, seconds: float = 20.0) -> None:
        """Wait until this has been printed since the last keys."""
        for piece in self._pieces(seconds):
            self._read += piece
            if text in _visible(self._read):
                return
        pytest.fail(f"no {text!r} in {_visible(self._read)!r}")

    def _pieces(self, seconds: float) -> Iterator[str]:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if select.select([self._terminal], [], [], 0.1)[0]:
                piece = os.read(self._terminal, 65536)
                if b"\x1b[c" in piece or b"\x1b[0c" in piece:  # what kind of terminal are you?
                    os.write(self._terminal, b"\x1b[?1;2c")
                yield piece.decode(errors="replace")

    def end(self) -> None:
        """Hang up."""
        os.close(self._terminal)
        os.waitpid(self._child, 0)


def _visible(text: str) -> str:
    """What a person sees of it, as far as the tests go: letters that were typed over are left."""
    text = re.sub(r"\x1b\][^\x07]*\x07|\x1b\[[0-9;?]*[a-zA-Z]|\x1b[=>]|\x1b\(B|\x07", "", text)
    while "\x08" in text:
        text = re.sub(r"[^\x08]?\x08", "", text, count=1)
    return text
