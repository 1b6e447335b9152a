"""melcli in a real shell, between other programs, each pipe with what comes out of it."""

from __future__ import annotations

import json
import os
import shutil
import struct
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import melcli
from melcli.audio.reading import read
from tests.forking import programs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import numpy as np

    from tests.conftest import Cli, Corpus

_PYTHON = "melcli-python"  # what tests/forking.py calls Python: started already


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Where the shell looks for programs: melcli first."""
    folder = tmp_path_factory.mktemp("programs")
    with programs(folder):
        yield f"{folder}:{os.environ['PATH']}"


@pytest.fixture
def sh(path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Shell]:
    """Run a line in bash, in the folder of the test; a pipe fails if any of it does."""
    monkeypatch.chdir(tmp_path)
    env = {**os.environ, "PATH": path, "PYTHONWARNINGS": "error"}

    def run(line: str, exit_code: int = 0) -> Shell:
        done = subprocess.run(
            ["bash", "-o", "pipefail", "-c", line],
            cwd=tmp_path, env=env, stdin=subprocess.DEVNULL, capture_output=True, check=False,
        )  # fmt: skip
        found = Shell(done.stdout, done.stderr.decode())
        assert done.returncode == exit_code, (line, done.returncode, found)
        return found

    return run


class Shell:
    """What a line printed."""

    def __init__(self, stdout: bytes, stderr: str) -> None:
        self.stdout, self.stderr = stdout, stderr

    def __repr__(self) -> str:
        return f"{self.stdout[:300]!r}, {self.stderr}"


def needs(*names: str) -> pytest.MarkDecorator:
    """Skip where programs of others are missing."""
    missing = [name for name in names if not shutil.which(name)]
    return pytest.mark.skipif(bool(missing), reason=f"needs {', '.join(missing)}")


def script(name: str, code: str) -> str:
    """A Python program for the line, and how it is started."""
    Path(name).write_text(code, encoding="utf-8")
    return f"{_PYTHON} {name}"


def test_find(sh: Callable[..., Shell], corpus: Corpus) -> None:
    """``find -print0`` names files with any characters in them."""
    names = ["a.wav", 'b c/it\'s "it".wav', "d\ne/$(x).wav"]
    for name in names:
        corpus.add(name)
    sh("find corpus -name '*.wav' -print0 | sort -z | melcli extract --files-from - -0 -o mels.h5")
    with melcli.open("mels.h5") as found:
        assert list(found) == [f"corpus/{name}" for name in names]


def test_a_table_from_a_program(sh: Callable[..., Shell], corpus: Corpus) -> None:
    """A table is written by whatever one likes, and read from the pipe."""
    corpus.add("a.wav", 1.0)
    table = "printf 'path,start,end\\ncorpus/a.wav,0,0.5\\ncorpus/a.wav,0.5,1\\n'"
    sh(f"{table} | melcli extract --files-from - --files-format csv -o mels.h5")
    with melcli.open("mels.h5") as found:
        assert list(found) == ["corpus/a.wav@0-0.5", "corpus/a.wav@0.5-1"]


def test_in_and_out(sh: Callable[..., Shell], corpus: Corpus, cli: Cli) -> None:
    """Audio comes in by one pipe and the mel goes out by another, whole."""
    corpus.add("a.flac", 1.0, 22_050)
    expected = cli("extract", "corpus/a.flac", "-o", "-").stdout
    reader = script(
        "load.py",
        "import io, sys, numpy\n"
        "numpy.save('mel.npy', numpy.load(io.BytesIO(sys.stdin.buffer.read())))\n",
    )
    sh(f"cat corpus/a.flac | melcli extract - -o - | {reader}")
    assert Path("mel.npy").read_bytes()[128:] == expected[128:]


def test_numpy_load_needs_a_file(sh: Callable[..., Shell], corpus: Corpus) -> None:
    """``numpy.load`` seeks, which no pipe can: the documents say what does it instead.

    If this fails, NumPy has learnt it, and the documents may say so.
    """
    corpus.add("a.wav")
    load = script("load.py", "import sys, numpy\nnumpy.load(sys.stdin.buffer)\n")
    assert "seek" in sh(f"melcli extract corpus/a.wav -o - | {load}", exit_code=1).stderr


def streamed(samples: np.ndarray, size: int, extra: bytes = b"") -> bytes:
    """A WAV as programs write it that do not know yet how long it will be."""
    fmt = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, 1, 16_000, 32_000, 2, 16)
    head = b"RIFF" + struct.pack("<I", size) + b"WAVE" + fmt + extra
    return head + b"data" + struct.pack("<I", size) + samples.astype("<i2").tobytes()


@pytest.mark.parametrize(
    ("size", "extra"),
    [
        (0xFFFF_FFFF, b"LIST\x1a\0\0\0INFOISFT\x0d\0\0\0Lavf60.16.100\0"),  # ffmpeg
        (0x7FFF_F000, b""),  # sox
        (0, b""),  # gstreamer
    ],
)
def test_streamed_wav(
    sh: Callable[..., Shell], corpus: Corpus, cli: Cli, size: int, extra: bytes
) -> None:
    """A header that cannot know the length yet is read to the end of the stream."""
    corpus.add("a.wav", 1.0)
    samples = read("corpus/a.wav").samples
    Path("stream").write_bytes(streamed(samples, size, extra))
    found = sh("cat stream | melcli extract - -o -").stdout
    assert found == cli("extract", "corpus/a.wav", "-o", "-").stdout


@pytest.mark.parametrize(
    "program",
    [
        pytest.param("sox corpus/a.wav -t wav - | cat", marks=needs("sox")),
        pytest.param("sox corpus/a.wav -t flac - | cat", marks=needs("sox")),
        pytest.param("ffmpeg -v error -i corpus/a.wav -f wav - | cat", marks=needs("ffmpeg")),
        pytest.param("ffmpeg -v error -i corpus/a.wav -f flac - | cat", marks=needs("ffmpeg")),
    ],
)
def test_other_programs(sh: Callable[..., Shell], corpus: Corpus, cli: Cli, program: str) -> None:
    """The very samples that sox and ffmpeg send down a pipe."""
    corpus.add("a.wav", 1.0)
    expected = cli("extract", "corpus/a.wav", "-o", "-").stdout
    assert sh(f"{program} | melcli extract - -o -").stdout == expected


class TestRaw:
    """``--raw``: standard input without a header."""

    def test_as_the_file(self, sh: Callable[..., Shell], corpus: Corpus, cli: Cli) -> None:
        """The samples of a file, without its header."""
        corpus.add("a.wav", 0.5, n_channels=2)
        Path("raw").write_bytes(read("corpus/a.wav").samples.tobytes())
        found = sh("cat raw | melcli extract - --raw 16000,2,s16le -o -").stdout
        assert found == cli("extract", "corpus/a.wav", "-o", "-").stdout

    @needs("ffmpeg")
    def test_of_ffmpeg(self, sh: Callable[..., Shell], corpus: Corpus) -> None:
        """What ffmpeg decodes, where libsndfile cannot."""
        corpus.add("a.wav", 0.5)
        sh("ffmpeg -v error -i corpus/a.wav a.m4a")
        line = "ffmpeg -v error -i a.m4a -f s16le -ac 1 -ar 16000 - | melcli extract - --raw"
        found = sh(f"{line} 16000,1,s16le -o mels.h5 --json").stdout
        assert json.loads(found)["done"] == 1

    @pytest.mark.parametrize(
        ("args", "exit_code", "cause"),
        [
            ("- --raw 16000,1,s16 -o -", 2, "raw = 16000,1,s16: must be sample rate"),
            ("corpus/a.wav --raw 16000,1,s16le -o -", 2, "--raw says how standard input is coded"),
            ("- --raw 16000,3,f64be -o -", 1, "stdin: is cut short: 4 bytes of a sample are left"),
        ],
    )
    def test_wrong(self, cli: Cli, corpus: Corpus, args: str, exit_code: int, cause: str) -> None:
        """Nonsense is told as such."""
        corpus.add("a.wav")
        result = cli("extract", *args.split(), stdin=bytes(100))
        assert result.exit_code == exit_code
        assert cause in result.stderr


def test_there_and_back(sh: Callable[..., Shell], corpus: Corpus) -> None:
    """A mel goes through a pipe to ``invert``, and the spectrum through the next one."""
    corpus.add("a.wav", 0.5)
    shape = script(
        "shape.py",
        "import io, sys, numpy\nprint(numpy.load(io.BytesIO(sys.stdin.buffer.read())).shape)\n",
    )
    config = "--config whisper-80"
    line = f"melcli extract corpus/a.wav -o - {config} | melcli invert - {config} -o - | {shape}"
    assert sh(line).stdout == b"(201, 3000)\n"


@needs("jq")
def test_jq(sh: Callable[..., Shell], corpus: Corpus) -> None:
    """What is told as JSON is JSON, and the only thing on standard output."""
    corpus.add("a.wav")
    corpus.cut("b.wav")
    failed = (
        "melcli extract corpus -o mels.h5 --report - | jq -r 'select(.status==\"failed\") | .id'"
    )
    assert sh(failed, exit_code=1).stdout == b"b.wav\n"
    assert sh("melcli info mels.h5 --json | jq '.failures | length'").stdout == b"1\n"
    assert sh("melcli extract corpus -o mels.h5 --json | jq .failed", exit_code=1).stdout == b"1\n"


def test_report_of_parts(sh: Callable[..., Shell], corpus: Corpus) -> None:
    """A line of a report says which part of which file it is about."""
    corpus.add("a.wav", 1.0)
    Path("t.tsv").write_text("path\tstart\tend\tid\ncorpus/a.wav\t0.5\t\tx\n", encoding="utf-8")
    line = json.loads(sh("melcli extract --files-from t.tsv -o m.h5 --report -").stdout)
    assert (line["id"], line["path"], line["start"], line["end"]) == (
        "x",
        "corpus/a.wav",
        0.5,
        None,
    )
    assert (line["seconds"], line["channel"]) == (0.5, None)


@needs("parallel")
def test_parallel(sh: Callable[..., Shell], corpus: Corpus) -> None:
    """One shard a job, whatever starts the jobs."""
    for n in range(6):
        corpus.add(f"{n}.wav")
    sh("parallel -j2 melcli extract corpus -o mels.{}.h5 --shard {}/3 ::: 1 2 3")
    sh("melcli merge mels.1.h5 mels.2.h5 mels.3.h5 -o mels.h5")
    with melcli.open("mels.h5") as found:
        assert list(found) == [f"{n}.wav" for n in range(6)]


@pytest.mark.parametrize(
    "line",
    [
        "melcli extract corpus/a.wav -o - | head -c 10",
        "melcli configs list | head -n 1",
        "melcli info mels.h5 --json | head -c 1",
    ],
)
def test_a_closed_pipe(sh: Callable[..., Shell], corpus: Corpus, cli: Cli, line: str) -> None:
    """Who has read enough hears nothing, and what was to be kept is kept."""
    corpus.add("a.wav", 60.0)
    cli("extract", "corpus", "-o", "mels.h5")
    assert sh(line).stderr == ""


def test_a_closed_report(sh: Callable[..., Shell], corpus: Corpus) -> None:
    """Who stops reading the report does not stop the run: its output is complete."""
    for n in range(60):
        corpus.add(f"{n:03d}-{'x' * 150}.wav", 0.05)
    assert "60 done, 0 failed" in sh("melcli extract corpus -o m.h5 --report - | true").stderr
    with melcli.open("m.h5") as found:
        assert len(found) == 60


def test_kaldi(sh: Callable[..., Shell], corpus: Corpus) -> None:
    """``wav.scp`` and ``segments`` of a Kaldi data folder are an input."""
    corpus.add("a.wav", 1.0)
    Path("wav.scp").write_text("rec1 corpus/a.wav\n", encoding="utf-8")
    Path("segments").write_text("utt1 rec1 0.1 0.4\nutt2 rec1 0.5 -1\n", encoding="utf-8")
    sh("melcli extract --files-from wav.scp --segments segments -c kaldi-fbank-80 -o mels.h5")
    with melcli.open("mels.h5") as found:
        assert {name: found[name].shape for name in found} == {"utt1": (28, 80), "utt2": (48, 80)}


def test_python_m(sh: Callable[..., Shell]) -> None:
    """``python -m melcli`` is the same command."""
    told = sh(f"{sys.executable} -m melcli --version").stdout
    assert told == f"melcli, version {melcli.__version__}\n".encode()
