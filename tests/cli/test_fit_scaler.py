"""``melcli fit-scaler`` and what takes its scalers, from a shell's point of view."""

from __future__ import annotations

import io
import json
import random
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import soundfile

import melcli
from melcli.scaler import files
from tests.killing import IN_PROCESSES, SLOWLY, wait_for_segments

if TYPE_CHECKING:
    from tests.conftest import Cli, Corpus, ReadOutput

N_INPUTS = 90
IN_SEGMENTS = (
    "from melcli.pipeline import batching\nbatching.BATCH_INPUTS, batching.SEGMENT_INPUTS = 1, 3"
)


@pytest.fixture
def recordings(corpus: Corpus) -> Corpus:
    """A few good recordings and a bad one."""
    corpus.add_good()
    corpus.add_bytes("z.wav", b"text, and no audio")
    return corpus


def load(path: str) -> dict[str, Any]:
    """Read a scaler as people do."""
    with np.load(path) as file:
        return dict(file)


@pytest.mark.parametrize("setup", [SLOWLY, IN_PROCESSES])
def test_kill(cli: Cli, corpus: Corpus, setup: str) -> None:
    """Killed again and again, a fit ends with the very numbers of one never killed."""
    for k in range(N_INPUTS):
        if k % 40 == 7:
            corpus.add_bytes(f"{k:03}.wav", b"text, and no audio")
        else:
            corpus.add(f"{k:03}.wav", 0.1 + 0.002 * k)
    args = ["fit-scaler", "corpus", "-o", "s.npz", "--quantiles"]
    moments, n_segments = random.Random(setup), 0  # noqa: S311, no secret
    for _ in range(3):
        n_segments += moments.randint(1, 7)
        with cli.start(*args, setup=setup) as process:
            wait_for_segments(process, "s.npz", n_segments)
            time.sleep(moments.random() / 50)
            process.kill()
            process.communicate()
        assert not Path("s.npz").exists()
    result = cli.run(*args, setup=IN_SEGMENTS)
    assert result.exit_code == 1  # of the bad ones
    assert " already done" in result.stderr
    assert not list(cli.folder.rglob("*partial*"))
    assert cli.run(*args[:3], "other.npz", "--quantiles", setup=IN_SEGMENTS).exit_code == 1
    found, whole = (load(name) for name in ("s.npz", "other.npz"))
    for key in ("count", "mean", "std", "m2", "min", "max", "histogram_count", "at_floor"):
        assert np.array_equal(found[key], whole[key])
    assert int(found["n_failed"]) == 3


def test_plain_numpy(cli: Cli, recordings: Corpus) -> None:
    """Three lines of NumPy use a scaler, and every key that is promised is there."""
    assert cli("fit-scaler", "corpus", "-o", "s.npz", "-c", "hifigan-22k").exit_code == 1
    cli("extract", "corpus", "-o", "x.h5", "-c", "hifigan-22k")
    cli("extract", "corpus", "-o", "n.h5", "-c", "hifigan-22k", "--scaler", "s.npz")
    scaler = load("s.npz")
    promised = {"count", "mean", "std", "min", "max", "m2", "config", "config_digest"}
    assert promised <= set(scaler)
    with melcli.open("x.h5") as plain, melcli.open("n.h5") as normal:
        assert str(scaler["config_digest"]) == plain.config.digest
        rows = np.concatenate([plain.reader.read(name) for name in plain])
        expected = (rows - scaler["mean"]) / scaler["std"]
        found = np.concatenate([normal.reader.read(name) for name in normal])
        assert np.allclose(found, expected, atol=1e-5)
        assert len(recordings.samples("b.ogg"))


def test_summary(cli: Cli, recordings: Corpus) -> None:
    """People are told what was done; programs get JSON and a line for each input."""
    result = cli("fit-scaler", "corpus", "-o", "s.npz", "--json", "--report", "r.jsonl")
    assert result.exit_code == 1
    record = json.loads(result.text)
    assert (record["done"], record["failed"], record["items"]) == (5, 1, 5)
    assert record["frames"] == record["rows"]
    assert "5 done, 1 failed, of 6 inputs" in result.stderr
    assert "these statistics are rough" in result.stderr
    assert "failed: corpus/z.wav" in result.stderr
    lines = [json.loads(line) for line in Path("r.jsonl").read_text(encoding="utf-8").splitlines()]
    assert {line["id"]: line["status"] for line in lines}["z.wav"] == "failed"
    assert len(lines) == 6
    again = cli("fit-scaler", "corpus", "-o", "s.npz", "--json", "-q")
    assert again.exit_code == 1
    assert json.loads(again.text)["already_done"] == 5
    assert not again.stderr
    assert (recordings.folder / "b.ogg").exists()


def test_ids(cli: Cli, recordings: Corpus) -> None:
    """A list of ids picks a split; ends of line of Windows and empty lines do no harm."""
    Path("train.txt").write_bytes(b"b.ogg\r\n\na/one.wav\nnowhere.wav\n")
    result = cli("fit-scaler", "corpus", "-o", "s.npz", "--ids", "train.txt")
    assert result.exit_code == 1
    assert "no input has 1 id of --ids: nowhere.wav" in result.stderr
    assert int(load("s.npz")["n_items"]) == 2
    Path("nul.txt").write_bytes(b"b.ogg\0a/one.wav")
    assert cli("fit-scaler", "corpus", "-o", "t.npz", "--ids", "nul.txt", "-0").exit_code == 0
    assert np.array_equal(load("t.npz")["mean"], load("s.npz")["mean"])
    for name, words in (("gone.txt", "cannot be read"), ("bad.txt", "is not UTF-8")):
        Path("bad.txt").write_bytes(b"\xff\n")
        result = cli("fit-scaler", "corpus", "-o", "u.npz", "--ids", name)
        assert result.exit_code == 2
        assert words in result.stderr
    assert (recordings.folder / "b.ogg").exists()


def test_standard_input(cli: Cli) -> None:
    """One stream on standard input is an input like any other."""
    file = io.BytesIO()
    samples = np.random.default_rng(1).uniform(-0.5, 0.5, 16_000)
    soundfile.write(file, samples, 16_000, format="WAV")
    result = cli("fit-scaler", "-", "-o", "s.npz", stdin=file.getvalue())
    assert result.exit_code == 0
    assert int(load("s.npz")["n_items"]) == 1


@pytest.mark.parametrize("suffix", [".npz", ".h5", ".npy", ".pt"])
def test_every_format(cli: Cli, recordings: Corpus, suffix: str) -> None:
    """Each kind of file is written, and extract takes it; exports know mean and deviation only."""
    recordings.add("more.wav", 3.0)
    cli("fit-scaler", "corpus", "-o", "s.npz")
    assert cli("fit-scaler", "corpus", "-o", f"t{suffix}").exit_code == 1
    one, other = files.load("s.npz"), files.load(f"t{suffix}")
    assert np.allclose(one.moments.mean, other.moments.mean, rtol=1e-6)
    assert np.allclose(one.moments.std, other.moments.std, rtol=1e-3)
    is_export = suffix in {".npy", ".pt"}
    args = ["extract", "corpus", "--scaler", f"t{suffix}"]
    result = cli(*args, "-o", "x.h5")
    assert result.exit_code == (2 if is_export else 1)
    assert ("does not say which front end" in result.stderr) == is_export
    result = cli(*args, "-o", "y.h5", "-c", "librosa")
    assert result.exit_code == 1
    assert ("only its number of bins was compared" in result.stderr) == is_export
    minmax = cli(*args, "-o", "z.h5", "-c", "librosa", "--normalize", "minmax")
    assert minmax.exit_code == (4 if is_export else 1)


@pytest.mark.parametrize(
    ("args", "exit_code", "words"),
    [
        (["fit-scaler", "corpus", "-o", "s.txt"], 2, "is no name of a scaler"),
        (["fit-scaler", "corpus"], 2, "Missing option '-o'"),
        (["fit-scaler", "-o", "s.npz"], 2, "Missing argument"),
        (["fit-scaler", "nowhere", "-o", "s.npz"], 3, "no such file"),
        (["fit-scaler", "corpus", "-o", "s.npz", "--json", "--report", "-"], 2, "asked for by"),
        (["extract", "corpus", "-o", "x.h5", "--normalize", "mean"], 2, "needs a --scaler"),
        (["extract", "corpus", "-o", "x.h5", "--over", "all"], 2, "needs a --scaler"),
        (["extract", "corpus", "-o", "x.h5", "--scaler", "gone.npz"], 4, "is not there"),
        (["extract", "corpus", "-o", "x.h5", "--scaler", "good.npz", "-c", "whisper-80"], 4,
         "wave.sample_rate: 22050 in the scaler, 16000 asked for"),
        (["extract", "corpus", "-o", "x.h5", "--scaler", "good.npz", "--normalize", "robust"], 4,
         "--quantiles"),
        (["scaler", "apply", "x.h5", "-o", "y.h5"], 2, "does not exist"),
        (["scaler", "apply", "good.npz", "-o", "y.h5"], 2, "Missing option '--scaler'"),
    ],
)  # fmt: skip
def test_refused(cli: Cli, recordings: Corpus, args: list[str], exit_code: int, words: str) -> None:
    """What cannot be done ends with its exit code and the words that help."""
    cli("fit-scaler", "corpus", "-o", "good.npz")
    result = cli(*args)
    assert result.exit_code == exit_code, result.stderr
    assert words in result.stderr
    assert not Path("x.h5").exists()
    assert (recordings.folder / "b.ogg").exists()


def test_normalised_output(cli: Cli, recordings: Corpus) -> None:
    """An output carries its scaler: it is shown, goes on with it, is verified with it, undone."""
    cli("fit-scaler", "corpus", "-o", "s.npz", "--quantiles")
    args = ["--scaler", "s.npz", "--normalize", "robust", "--over", "all"]
    for name in ("x.h5", "npy/"):
        assert cli("extract", "corpus", "-o", name, *args).exit_code == 1
        record = json.loads(cli("info", name, "--json").text)
        assert record["settings"]["normalize"] == "robust"
        assert record["settings"]["over"] == "all"
        assert cli("verify", name, "--audio-root", "corpus", "--sample", "100%").exit_code == 0
        other = cli("extract", "corpus", "-o", name)
        assert other.exit_code == 4
        assert "normalize: robust in the output, not set asked for" in other.stderr
        recordings.add(f"new-{name[0]}.wav")
        more = cli("extract", "corpus", "-o", name, *args)
        assert "1 done, " in more.stderr
        back = cli("scaler", "undo", name, "-o", "plain.h5", "--overwrite", "--json")
        assert back.exit_code == 0
        assert json.loads(back.text)["failures"] == 1
        verified = cli("verify", "plain.h5", "--audio-root", "corpus", "--sample", "100%")
        assert verified.exit_code == 0, verified.text
        assert "(a scaler was applied and undone)" in verified.text
        cli("extract", "corpus", "-o", "other.h5", "--overwrite")
        with melcli.open("plain.h5") as undone, melcli.open("other.h5") as plain:
            assert list(undone) == list(plain)
            for item in plain:
                assert np.allclose(undone[item], plain[item], atol=1e-4)
        applied = cli("scaler", "apply", "other.h5", "-o", "applied.h5", "--overwrite", *args)
        assert applied.exit_code == 0
        with melcli.open("applied.h5") as one, melcli.open(name) as two:
            assert all(np.array_equal(one[item], two[item]) for item in one)


def test_to_stdout(cli: Cli, corpus: Corpus) -> None:
    """One input to standard output is normalised too."""
    path = corpus.add("a.wav", 1.0)
    cli("fit-scaler", path, "-o", "s.npz")
    plain, normal = (
        np.load(io.BytesIO(cli("extract", path, "-o", "-", *args).stdout))
        for args in ((), ("--scaler", "s.npz"))
    )
    scaler = load("s.npz")
    assert np.allclose(
        normal, (plain - scaler["mean"][:, None]) / scaler["std"][:, None], atol=1e-4
    )


@pytest.mark.parametrize("output", ["x.h5", "npy/"])
def test_kill_normalising(cli: Cli, corpus: Corpus, read_output: ReadOutput, output: str) -> None:
    """An extraction with a scaler that was killed goes on with it, and refuses to without."""
    for k in range(40):
        corpus.add(f"{k:03}.wav", 0.1 + 0.002 * k)
    cli("fit-scaler", "corpus", "-o", "s.npz", "--quantiles")
    args = ["--scaler", "s.npz", "--normalize", "robust"]
    with cli.start("extract", "corpus", "-o", output, *args, setup=SLOWLY) as process:
        wait_for_segments(process, output, 4)
        process.kill()
        process.communicate()
    refused = cli("extract", "corpus", "-o", output)
    assert refused.exit_code == 4
    assert "normalize: robust in the output, not set asked for" in refused.stderr
    result = cli("extract", "corpus", "-o", output, *args)
    assert result.exit_code == 0
    assert " already done" in result.stderr
    assert cli("extract", "corpus", "-o", f"other-{output}", *args).exit_code == 0
    assert read_output(Path(output)) == read_output(Path(f"other-{output}"))


@pytest.mark.parametrize("output", ["x.h5", "npy/"])
def test_shards_with_a_scaler(
    cli: Cli, corpus: Corpus, read_output: ReadOutput, output: str
) -> None:
    """Shards that are normalised are merged to what one run gives, and carry the scaler on."""
    corpus.add_good()
    cli("fit-scaler", "corpus", "-o", "s.npz")
    args = ["--scaler", "s.npz", "--over", "all"]
    is_folder = output.endswith("/")
    parts = [output if is_folder else f"{n}.h5" for n in (1, 2)]
    for n, part in enumerate(parts, start=1):
        assert cli("extract", "corpus", "-o", part, *args, "--shard", f"{n}/2").exit_code == 0
    assert cli("merge", *dict.fromkeys(parts), "-o", output).exit_code == 0
    assert cli("extract", "corpus", "-o", f"other-{output}", *args).exit_code == 0
    assert read_output(Path(output)) == read_output(Path(f"other-{output}"))
    cli("extract", "corpus", "-o", "plain.h5")
    cli("extract", "corpus", "-o", "3.h5", "--shard", "1/2")
    if not is_folder:
        mixed = cli("merge", "3.h5", "2.h5", "-o", "mixed.h5")
        assert mixed.exit_code == 4
        assert "scaler: not set there" in mixed.stderr
    assert cli("scaler", "undo", output, "-o", "undone.h5").exit_code == 0
    with melcli.open("undone.h5") as undone, melcli.open("plain.h5") as plain:
        assert all(np.allclose(undone[item], plain[item], atol=1e-4) for item in plain)
