"""``melcli invert``: streams, kinds of output, what it says, and what a kill leaves behind."""

from __future__ import annotations

import io
import json
import random
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import soundfile

import melcli
from tests.killing import wait_for_segments

if TYPE_CHECKING:
    from tests.conftest import Cli, Corpus, ReadOutput

CONFIG = "hifigan-22k"
SLOWLY = """
import time
from melcli.pipeline import batching, inverting, loop
batching.BATCH_INPUTS, batching.SEGMENT_INPUTS = 1, 3
loop.FORK_BYTES = 0
job = inverting.InvertingWorker._job
def slowly(*args):
    time.sleep(0.02)
    return job(*args)
inverting.InvertingWorker._job = slowly
"""


@pytest.fixture
def mels(cli: Cli, corpus: Corpus) -> str:
    """An output of good recordings and one that failed."""
    corpus.add_good()
    corpus.add_bytes("z.wav", b"text, and no audio")
    assert cli("extract", "corpus", "-o", "mels.h5", "-c", CONFIG).exit_code == 1
    return "mels.h5"


def test_summary(cli: Cli, mels: str) -> None:
    """What was done, how good it is, what failed and why."""
    result = cli("invert", mels, "-o", "s.h5")
    assert result.exit_code == 1
    lines = result.stderr.splitlines()
    assert lines[0] == "5 done, 1 failed, of 6 inputs"
    assert lines[1].endswith(f"rows with {CONFIG}")
    assert lines[2].startswith("mel residual ")
    assert " at worst, " in lines[2]
    assert lines[3].startswith("failed: z.wav: could not be extracted: ")
    assert lines[-2].startswith("s.h5  ")
    assert lines[-1].startswith("next")
    again = cli("invert", mels, "-o", "s.h5")
    assert again.stderr.startswith("0 done, 5 already done, 1 failed, of 6 inputs")


def test_json_and_report(cli: Cli, mels: str) -> None:
    """Numbers for programs: the worst of all, and of each item its own."""
    result = cli("invert", mels, "-o", "s/", "--json", "--report", "r.jsonl", "-q")
    record = json.loads(result.stdout)
    assert (record["done"], record["failed"]) == (5, 1)
    assert 0 < record["worst"]["residual"] <= 1e-5
    lines = [json.loads(line) for line in Path("r.jsonl").read_text().splitlines()]
    residuals = [item["residual"] for line in lines for item in line.get("items", [])]
    assert max(residuals) == record["worst"]["residual"]
    assert {line["status"] for line in lines} == {"done", "failed"}


def test_info_and_verify(cli: Cli, mels: str) -> None:
    """Other commands know spectra and waveforms, or say that they do not."""
    cli("invert", mels, "-o", "s.h5")
    cli("invert", mels, "-o", "w/", "--audio", "--iterations", 2)
    told = cli("info", "s.h5").text
    assert "rows of spectra: 513 float32" in told
    assert "  residual  " in told
    assert "of WAV files" in cli("info", "w").text
    assert json.loads(cli("info", "s.h5", "--json").stdout)["content"] == "spectrogram"
    for name in ("s.h5", "w"):
        assert cli("verify", name).exit_code == 0
        assert cli("verify", name, "--audio-root", "corpus").exit_code == 4
        assert cli("scaler", "undo", name, "-o", "n.h5").exit_code == 4
        assert cli("fit-scaler", name, "-o", "n.npz").exit_code == 4
        assert cli("invert", name, "-o", "n.h5").exit_code == 4
    with pytest.raises(melcli.StoreError, match="holds audio files"):
        melcli.open("w")["b.ogg"]


def test_pipe(cli: Cli, corpus: Corpus) -> None:
    """From audio to its spectrum, and to a waveform, with nothing on disk between."""
    path = corpus.add("a.wav", 0.5, 22_050)
    mel = cli.run("extract", path, "-o", "-", "-c", CONFIG)
    spectrum = cli.run("invert", "-", "-o", "-", "-c", CONFIG, input=mel.stdout)
    assert (spectrum.exit_code, spectrum.stderr) == (0, "")
    found, known = np.load(io.BytesIO(spectrum.stdout)), np.load(io.BytesIO(mel.stdout))
    assert found.shape == (513, known.shape[1])
    args = ["invert", "-", "-o", "-", "-c", CONFIG, "--audio", "--iterations", "4"]
    wave = cli.run(*args, input=mel.stdout)
    samples, sample_rate = soundfile.read(io.BytesIO(wave.stdout))
    assert sample_rate == 22_050
    assert abs(len(samples) - 11_025) <= 256
    flac = cli.run(*args, "--audio-format", "flac", input=mel.stdout)
    assert flac.stdout[:4] == b"fLaC"


def test_bad_input_on_a_pipe(cli: Cli) -> None:
    """An error, and nothing on standard output."""
    for data in (b"", b"RIFF and no array"):
        result = cli.run("invert", "-", "-o", "-", "-c", CONFIG, input=data)
        assert (result.exit_code, result.stdout) == (1, b"")
        assert "is no .npy file" in result.stderr


@pytest.mark.parametrize(
    ("args", "exit_code", "words"),
    [
        (["mels.h5"], 2, "Missing option '-o'"),
        (["mels.h5", "-o", "s.h5", "--scaler", "x.npz"], 2, "--scaler is for .npy files"),
        (["mels.h5", "--dry-run", "--report", "r"], 2, "--dry-run makes no --report"),
        (["-o", "s.h5"], 2, "Missing argument"),
        (["mels.h5", "-o", "s.wav"], 2, "neither an .h5 file nor a folder"),
        (["mels.h5", "-o", "s.h5", "--audio"], 2, "holds no waveforms"),
        (
            ["mels.h5", "-o", "s/", "--seed", "3"],
            2,
            "--seed is for --audio, which is not asked for",
        ),
        (["mels.h5", "-o", "s/", "--audio", "--iterations", "0"], 2, "iterations = 0: must be"),
        (["mels.h5", "-o", "s/", "--audio", "--momentum", "1"], 2, "momentum = 1: must be"),
        (["mels.h5", "-o", "s/", "--audio", "--seed", "-1"], 2, "seed = -1: must be"),
        (["mels.h5", "-o", "s.h5", "--tolerance", "2"], 2, "tolerance = 2: must be"),
        (["mels.h5", "-o", "s.h5", "--set", "mel.n_mels=3"], 2, "--set changes a --config"),
        (["mels.h5", "-o", "s.h5", "-c", "whisper-80"], 4, "made by another front end"),
        (["mels.h5", "-o", "-", "--json"], 2, "standard output is asked for by"),
        (["mels.h5", "-o", "-"], 2, "takes one input, not 6"),
        (["mels.h5", "-o", "-", "--include", "z.wav"], 1, "could not be extracted"),
        (["nowhere.h5", "-o", "s.h5"], 4, "is not there"),
        (["corpus", "-o", "s.h5", "-c", CONFIG], 3, "no audio was found; left out"),
        (["corpus", "-o", "s.h5"], 2, "does not say which front end"),
        (["mels.h5", "-o", "s.h5", "--device", "abacus"], 5, "there is no such device"),
    ],
)
def test_refused(cli: Cli, mels: str, args: list[str], exit_code: int, words: str) -> None:
    """Wrong usage has a cause and an exit code, and makes nothing."""
    result = cli("invert", *args)
    assert (result.exit_code, result.stdout) == (exit_code, b"")
    assert words in result.stderr
    assert not Path("s.h5").exists()
    assert not list(Path().glob("s*partial*"))
    assert Path(mels).exists()


@pytest.mark.parametrize(
    ("output", "options"),
    [
        ("s.h5", []),
        ("tree.h5", ["--store-layout", "tree"]),
        ("npy/", []),
        ("wavs/", ["--audio", "--iterations", "1"]),
    ],
)
def test_kill(
    cli: Cli, corpus: Corpus, read_output: ReadOutput, output: str, options: list[str]
) -> None:
    """Killed again and again, it ends with what one that was never killed makes."""
    for k in range(40):
        corpus.add(f"{k:02}.wav", 0.1)
    assert cli("extract", "corpus", "-o", "mels.h5", "-c", CONFIG).exit_code == 0
    args = ["invert", "mels.h5", "-o", output, *options]
    moments = random.Random(output)  # noqa: S311, no secret
    n_segments = 0
    for _ in range(3):
        n_segments += moments.randint(1, 3)
        with cli.start(*args, setup=SLOWLY) as process:
            wait_for_segments(process, output, n_segments)
            time.sleep(moments.random() / 30)
            process.kill()
            process.communicate()
    result = cli(*args)
    assert result.exit_code == 0
    assert " already done" in result.stderr
    assert cli("invert", "mels.h5", "-o", f"other-{output}", *options).exit_code == 0
    assert read_output(Path(output)) == read_output(Path(f"other-{output}"))
    assert not list(cli.folder.rglob("*partial*"))


def test_killed_on_a_run(cli: Cli, corpus: Corpus) -> None:
    """Ctrl-C says that the same command goes on."""
    for k in range(30):
        corpus.add(f"{k:02}.wav", 0.1)
    cli("extract", "corpus", "-o", "mels.h5", "-c", CONFIG)
    with cli.start("invert", "mels.h5", "-o", "s.h5", setup=SLOWLY) as process:
        wait_for_segments(process, "s.h5", 2)
        process.terminate()
        _, stderr = process.communicate(timeout=60)
    assert process.returncode == 143
    assert "the same command goes on" in stderr.decode()


def test_dry_run(cli: Cli, mels: str) -> None:
    """What would be done, before anything is."""
    result = cli("invert", mels, "--dry-run")
    assert result.exit_code == 0
    assert result.text.startswith(f"6 inputs of {CONFIG}, ")
    record = json.loads(cli("invert", mels, "-o", "s.h5", "--dry-run", "--json").stdout)
    with melcli.open(mels) as output:
        n_rows = int(output.reader.items["stop"][-1])
    assert record["n_inputs"] == 6
    assert record["n_bytes"] == pytest.approx(n_rows * 513 * 4, rel=0.01)
    assert not Path("s.h5").exists()


def test_scaler_of_files(cli: Cli, mels: str) -> None:
    """Files that were normalised come back with the scaler that did it, and with no other."""
    cli("fit-scaler", mels, "-o", "s.npz")
    cli("extract", "corpus", "-o", "normal/", "-c", CONFIG, "--scaler", "s.npz")
    cli("extract", "corpus", "-o", "plain/", "-c", CONFIG)
    for folder in ("normal", "plain"):
        (Path(folder) / "melcli.toml").unlink()
        (Path(folder) / "melcli.jsonl").unlink()
    args = ["-c", CONFIG, "--scaler", "s.npz"]
    assert cli("invert", "normal", "-o", "a/", *args).exit_code == 0
    assert cli("invert", "plain", "-o", "b/", "-c", CONFIG).exit_code == 0
    one, other = np.load("a/b.npy"), np.load("b/b.npy")
    assert np.linalg.norm(one - other) <= 1e-3 * np.linalg.norm(other)
    refused = cli("invert", "normal", "-o", "c/", "-c", "whisper-80", "--scaler", "s.npz")
    assert refused.exit_code == 4
    assert "another front end" in refused.stderr


def test_each_warning_once(cli: Cli, corpus: Corpus) -> None:
    """Before the work, and not again behind it; with --json it is in the record too."""
    corpus.add("a.wav", 1.0)
    cli("extract", "corpus", "-o", "m.h5", "-c", "ast-hf")
    result = cli("invert", "m.h5", "-o", "s.h5")
    told = [line for line in result.stderr.splitlines() if line.startswith("warning: ")]
    assert len(told) == 2
    assert result.stderr.splitlines()[:2] == told
    assert len(set(told)) == 2
    record = json.loads(cli("invert", "m.h5", "-o", "t.h5", "--json").stdout)
    assert [f"warning: {warning}" for warning in record["warnings"]] == told
