"""Recordings that crash, hang or starve the process that works on them: each stops a run once."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from melcli.audio import trial
from melcli.errors import DeviceError
from melcli.pipeline.batching import make_batches

if TYPE_CHECKING:
    from tests.conftest import Cli, Corpus, ReadOutput

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="signals of Linux")

# A decoder that dies in ways of its own on recordings of certain names.
DECODER = """
import os, signal, time
from melcli.audio import reading
read = reading.AudioReader.read
def dying(self, *args):
    name = str(self._source.name)
    if "crash" in name:
        os.kill(os.getpid(), signal.SIGSEGV)
    if "abort" in name:
        os.abort()
    if "kill" in name:
        os.kill(os.getpid(), signal.SIGKILL)
    if "exit" in name:
        os._exit(0)
    if "hang" in name:
        while True:
            pass
    if "bug" in name:
        raise ZeroDivisionError("of the decoder")
    return read(self, *args)
reading.AudioReader.read = dying
"""
IMPATIENT = """
from melcli.pipeline import pools
pools.PATIENCE_SECONDS = 2.0
"""
IN_PROCESSES = f"""{DECODER}{IMPATIENT}
from melcli.pipeline import loop
loop.FORK_BYTES = 0
"""
IN_THREADS = f"""{DECODER}{IMPATIENT}
from melcli.pipeline import loop
loop.FORK_BYTES = 1 << 40
"""
# As on a GPU, or in a program with threads: what a process of its own decodes, it decodes alike.
NO_FORK = f"""{IN_THREADS}
from melcli.audio import trial
pools.can_fork = lambda: False
trial.PROGRAM = {DECODER!r} + trial.PROGRAM
"""
OUTPUTS = ["x.h5", "npy/"]


@pytest.fixture
def recordings(corpus: Corpus) -> Corpus:
    """Some good recordings: those before and behind the bad ones that a test adds."""
    for k in range(12):
        corpus.add(f"{k:02}.wav", 0.1)
    return corpus


def expected(cli: Cli, without: tuple[str, ...], read_output: ReadOutput) -> dict[str, object]:
    """What an output holds whose bad recordings are text."""
    for name in without:
        (cli.folder / "corpus" / name).write_text("no audio")
    assert cli.run("extract", "corpus", "-o", "other.h5").exit_code == 1
    return content(read_output, "other.h5")


def content(read_output: ReadOutput, name: str) -> dict[str, object]:
    """All of an output but what its failures say."""
    found = read_output(Path(name))
    return {key: value for key, value in found.items() if not key.startswith("failures/")}


def failures(cli: Cli, output: str) -> dict[str, str]:
    """Which inputs failed, and why."""
    listed = json.loads(cli("info", output, "--json").text)["failures"]
    return {failed["id"]: failed["cause"] for failed in listed}


BAD = ("03-crash.wav", "05-abort.wav", "05-hang.wav", "07-exit.wav", "09-kill.wav", "zz-crash.wav")
CAUSES = {
    "03-crash.wav": "ends the process that works on it (SIGSEGV)",
    "05-abort.wav": "ends the process that works on it (SIGABRT)",
    "05-hang.wav": "was not done in 2 s",
    "07-exit.wav": "ends the process that works on it",
    "09-kill.wav": "the process that worked on it was killed, perhaps for want of memory",
    "zz-crash.wav": "ends the process that works on it (SIGSEGV)",
}


@pytest.mark.parametrize("workers", [1, 3])
def test_in_processes(cli: Cli, recordings: Corpus, read_output: ReadOutput, workers: int) -> None:
    """Where workers are processes, the run goes on, and only the bad recordings are missing."""
    for name in BAD:
        recordings.add(name, 0.1)
    result = cli.run(*["extract", "corpus", "-o", "x.h5", "--workers", workers], setup=IN_PROCESSES)
    assert (result.exit_code, "6 failed" in result.stderr) == (1, True)
    assert failures(cli, "x.h5") == CAUSES
    assert content(read_output, "x.h5") == expected(cli, BAD, read_output)
    assert not list(cli.folder.glob("*partial*"))


@pytest.mark.parametrize(
    ("name", "setup", "bad", "cause"),
    [
        ("x.h5", IN_THREADS, "05-crash.wav", "ends the process that works on it (SIGSEGV)"),
        ("npy/", IN_THREADS, "05-abort.wav", "ends the process that works on it (SIGABRT)"),
        ("npy/", NO_FORK, "05-crash.wav", "ends the process that decodes it (SIGSEGV)"),
        ("x.h5", NO_FORK, "05-exit.wav", "ends the process that decodes it (exit status 0)"),
    ],
)
def test_in_threads(
    cli: Cli, recordings: Corpus, name: str, setup: str, bad: str, cause: str
) -> None:
    """Where workers are threads the run is gone, once: the same command finds out who it was."""
    recordings.add(bad, 0.1)
    args = ["extract", "corpus", "-o", name]
    result = cli.run(*args, setup=setup)
    assert result.exit_code in {-11, -6, 0}  # of Python, not of ours
    assert not result.stderr
    result = cli.run(*args, setup=setup)
    assert result.exit_code == 1
    assert "12 done, 1 failed" in result.stderr
    assert "13 inputs that the last run had in hand when it died" in result.stderr
    assert failures(cli, name) == {bad: cause}
    assert not list(cli.folder.rglob("*partial*"))


def test_a_hang(cli: Cli, recordings: Corpus) -> None:
    """A run that hangs is killed by whoever waits for it; the next one does not wait."""
    recordings.add("05-hang.wav", 0.1)
    args = ["extract", "corpus", "-o", "x.h5"]
    for setup, cause in ((IN_THREADS, "was not done in 2 s"), (NO_FORK, "was not decoded in 2 s")):
        with cli.start(*args, setup=setup) as process:
            begun = cli.folder / "x.h5.partial.begun"
            while not (begun.exists() and "05-hang.wav" in begun.read_text()):
                assert process.poll() is None
            process.kill()
        assert cli.run(*args, setup=setup).exit_code == 1
        assert failures(cli, "x.h5") == {"05-hang.wav": cause}
        Path("x.h5").unlink()


@pytest.mark.parametrize("setup", [IN_THREADS, IN_PROCESSES, NO_FORK])
def test_a_bug(cli: Cli, recordings: Corpus, setup: str) -> None:
    """An error that nobody foresaw asks for a report, and stops a run once."""
    recordings.add("05-bug.wav", 0.1)
    args = ["extract", "corpus", "-o", "x.h5"]
    result = cli.run(*args, setup=setup)
    assert result.exit_code == 70
    assert "Bug in melcli" in result.stderr
    result = cli.run(*args, setup=setup)
    assert result.exit_code == 1
    cause = "ends in a bug of melcli (ZeroDivisionError: of the decoder)"
    assert failures(cli, "x.h5") == {"05-bug.wav": cause}


def test_all_are_killed(cli: Cli, recordings: Corpus) -> None:
    """Where one process after the other is killed, it is the machine, and the run stops."""
    for k in range(5):
        recordings.add(f"05-kill-{k}.wav", 0.1)
    args = ["extract", "corpus", "-o", "x.h5"]
    result = cli.run(*args, setup=IN_PROCESSES)
    assert result.exit_code == 5
    assert "the processes that work on 3 inputs in a row were killed" in result.stderr
    result = cli.run(*args, setup=IN_PROCESSES)
    assert result.exit_code == 1
    assert "in a row" not in result.stderr
    assert len(failures(cli, "x.h5")) == 5
    result = cli.run(*args, "--retry-failed")
    assert (result.exit_code, failures(cli, "x.h5")) == (0, {})


@pytest.mark.parametrize("name", OUTPUTS)
def test_nobody_is_suspected_of_a_stop(cli: Cli, recordings: Corpus, name: str) -> None:
    """A run that ends in order, or is stopped by a person, leaves no suspicion."""
    recordings.add_bytes("05.txt.wav", b"no audio")
    result = cli.run(
        *["extract", "corpus", "-o", name, "--strict"],
        setup=f"{IN_THREADS}\nfrom melcli.pipeline import batching\nbatching.BATCH_INPUTS = 1",
    )
    assert result.exit_code == 1
    assert not list(cli.folder.rglob("*begun*"))
    result = cli.run("extract", "corpus", "-o", name)
    assert "had in hand" not in result.stderr


def test_suspects_are_batches_by_themselves() -> None:
    """In their place, so that rows still lie in plan order."""
    inputs = [(index, 10) for index in range(7)]
    batches = list(make_batches(inputs, suspects={2, 3, 6}))
    assert [batch.indices for batch in batches] == [(0, 1), (2,), (3,), (4, 5), (6,)]
    assert [batch.is_suspect for batch in batches] == [False, True, True, False, True]
    assert [batch.ends_segment for batch in batches] == [False] * 4 + [True]


class TestTrial:
    """Decoding in a program of its own."""

    def test_verdicts(self, corpus: Corpus, monkeypatch: pytest.MonkeyPatch) -> None:
        """Only what ends the program is found; what fails as others do fails later."""
        names = ["a.wav", "b-crash.wav", "c-hang.wav", "d.flac", "e-crash.wav"]
        paths = [bytes(corpus.add(name)) for name in names]
        paths.insert(1, bytes(corpus.add_bytes("a.txt.wav", b"no audio")))
        monkeypatch.setattr(trial, "PROGRAM", DECODER + trial.PROGRAM)
        assert list(trial.deaths([(path, 2.0) for path in paths])) == [
            None,
            None,
            "ends the process that decodes it (SIGSEGV)",
            "was not decoded in 2 s",
            None,
            "ends the process that decodes it (SIGSEGV)",
        ]

    def test_no_program(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """A program that does not start is nobody's fault."""
        monkeypatch.setattr(trial, "PROGRAM", "raise SystemExit(3)")
        with pytest.raises(DeviceError, match="cannot be started"):
            list(trial.deaths([(b"a.wav", 1.0)]))

    def test_nothing_to_try(self) -> None:
        """No program is started."""
        assert list(trial.deaths([])) == []
