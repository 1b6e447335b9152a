"""Killed, interrupted, terminated: the same command goes on, and nothing tells that it did."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import signal
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from melcli.store import open_writer
from melcli.store.journal import Journal
from tests.killing import IN_PROCESSES, SLOWLY, journal_of, wait_for_segments

if TYPE_CHECKING:
    from tests.conftest import Cli, Corpus, ReadOutput

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")

N_INPUTS = 120
OUTPUTS = [
    ("x.h5", SLOWLY, []),
    ("x.h5", IN_PROCESSES, []),
    ("tree.h5", IN_PROCESSES, ["--store-layout", "tree"]),
    ("npy/", IN_PROCESSES, []),
]


@pytest.fixture
def recordings(corpus: Corpus) -> Path:
    """Enough short recordings, a few of them bad."""
    for k in range(N_INPUTS):
        if k % 40 == 7:
            corpus.add_bytes(f"{k:03}.wav", b"text, and no audio")
        else:
            corpus.add(f"{k:03}.wav", 0.1)
    return corpus.folder


def check_what_is_kept(folder: Path, name: str) -> None:
    """Read, from a copy, all that the journal of an unfinished output has committed."""
    copy = folder / "copy"
    copy.mkdir()
    for path in folder.glob(f"{name.rstrip('/')}*"):
        shutil.copytree(path, copy / path.name) if path.is_dir() else shutil.copy(path, copy)
    with contextlib.closing(Journal(copy / journal_of(name))) as journal:
        header, n_outcomes = journal.header, journal.n_outcomes
    assert header is not None
    writer: Any = open_writer(copy / name, header)
    with contextlib.closing(writer):
        assert writer.n_kept == n_outcomes
        assert all(map(writer._is_whole, writer._journal.segments))
        assert len(list(writer.outcomes())) == n_outcomes
    shutil.rmtree(copy)


@pytest.mark.parametrize(("name", "setup", "options"), OUTPUTS)
def test_kill(
    cli: Cli, recordings: Path, read_output: ReadOutput, name: str, setup: str, options: list[str]
) -> None:
    """Killed again and again, at any moment, a run ends with what one never killed makes."""
    args = ["extract", recordings.name, "-o", name, *options]
    moments = random.Random(name)  # noqa: S311, no secret
    n_segments = 0
    for _ in range(3):
        n_segments += moments.randint(2, 10)
        with cli.start(*args, setup=setup) as process:
            wait_for_segments(process, name, n_segments)
            time.sleep(moments.random() / 50)
            process.kill()
            process.communicate()
        check_what_is_kept(cli.folder, name)
    assert not (cli.folder / name).is_file()
    result = cli(*args)
    assert result.exit_code == 1  # of the bad ones
    assert " already done" in result.stderr
    other = f"other-{name}"
    assert cli("extract", recordings.name, "-o", other, *options).exit_code == 1
    assert read_output(cli.folder / name) == read_output(cli.folder / other)
    assert not list(cli.folder.rglob("*partial*"))


@pytest.mark.parametrize(
    ("number", "exit_code", "words"),
    [(signal.SIGINT, 130, "Interrupted."), (signal.SIGTERM, 143, "Terminated.")],
)
@pytest.mark.parametrize("setup", [SLOWLY, IN_PROCESSES])
def test_stop(
    cli: Cli, recordings: Path, read_output: ReadOutput, number: int, exit_code: int, words: str,
    setup: str,
) -> None:  # fmt: skip
    """Stopped, a run says that the same command goes on, and so it does."""
    args = ["extract", recordings.name, "-o", "x.h5", "--report", "r"]
    with cli.start(*args, setup=setup, start_new_session=True) as process:
        wait_for_segments(process, "x.h5", 3)
        os.killpg(process.pid, number)  # as a terminal does: all processes of the run
        stdout, stderr = process.communicate(timeout=60)
    text = stderr.decode()
    assert (process.returncode, stdout) == (exit_code, b"")
    assert f"{words} What is done is kept: the same command goes on." in text
    assert "Traceback" not in text
    assert "Exception" not in text
    result = cli(*args)
    assert " already done" in result.stderr
    assert len(Path("r").read_text(encoding="utf-8").splitlines()) == N_INPUTS
    cli("extract", recordings.name, "-o", "other.h5")
    assert read_output(Path("x.h5")) == read_output(Path("other.h5"))


def test_killed_with_overwrite(cli: Cli, recordings: Path, read_output: ReadOutput) -> None:
    """Killed while it replaces an output, a run leaves the old one, and goes on if asked again."""
    assert cli("extract", recordings.name, "-o", "x.h5").exit_code == 1
    before = Path("x.h5").read_bytes()
    args = ["extract", recordings.name, "-o", "x.h5", "-c", "whisper-80", "--overwrite"]
    args += ["--set", "wave.fix_samples=16000"]
    with cli.start(*args, setup=SLOWLY) as process:
        wait_for_segments(process, "x.h5", 4)
        process.kill()
        process.communicate()
    assert Path("x.h5").read_bytes() == before
    assert cli("info", "x.h5").exit_code == 0
    result = cli(*args)
    assert " already done" in result.stderr
    cli("extract", recordings.name, "-o", "other.h5", *args[4:6], *args[7:])
    assert read_output(Path("x.h5")) == read_output(Path("other.h5"))
