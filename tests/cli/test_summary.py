"""The end of a run: what it says, and the command that it says to try next."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import melcli
from melcli.cli.summary import after_shard
from melcli.store.shards import Shard

if TYPE_CHECKING:
    from tests.conftest import Cli, Corpus, Result

JUNK = b"text, and no audio"


def following(result: Result) -> str:
    """The last line of a summary, if it says what to try."""
    last = (result.stderr.splitlines() or [""])[-1]
    return last if last.startswith("next") else ""


def follow(cli: Cli, line: str) -> Result:
    """Do what it says, as somebody would who pastes it."""
    program, *args = shlex.split(line.partition(": ")[2])
    assert program == "melcli"
    return cli(*args)


@pytest.mark.parametrize("output", ["x.h5", "npy/", "a b.h5"])
def test_after_extract(cli: Cli, corpus: Corpus, output: str) -> None:
    """An output is to be looked at; the line works when pasted, and is not said twice."""
    corpus.add("a.wav")
    line = following(cli("extract", "corpus", "-o", output))
    assert line == f"next: melcli info {shlex.quote(output)}"
    assert follow(cli, line).exit_code == 0
    again = cli("extract", "corpus", "-o", output)
    assert (following(again), "1 already done" in again.stderr) == ("", True)


def test_what_is_good_is_kept(cli: Cli, corpus: Corpus) -> None:
    """What failed of a new output is tried again without making all of it anew once more."""
    corpus.add("a.wav")
    corpus.add_bytes("b.wav", JUNK)
    line = following(cli("extract", "corpus", "-o", "x.h5", "--overwrite"))
    assert line.endswith(": melcli extract corpus -o x.h5 --retry-failed")
    root = "/".join(["x"] * 150)
    line = following(cli("extract", "corpus", "-o", "x.h5", "--overwrite", "--root", root))
    assert line.endswith(": the same command with --retry-failed, without --overwrite")


def test_after_failures(cli: Cli, corpus: Corpus) -> None:
    """What failed is tried again by the same command with a word more."""
    corpus.add("a.wav")
    for k in range(7):
        corpus.add_bytes(f"{k}.wav", JUNK)
    result = cli("extract", "corpus", "-o", "x.h5", "-c", "whisper-80")
    line = following(result)
    command = "melcli extract corpus -o x.h5 -c whisper-80 --retry-failed"
    assert line == f"next, once they are mended: {command}"
    assert "failed: 2 more; melcli info x.h5 --json lists all" in result.stderr
    assert len(json.loads(cli("info", "x.h5", "--json").text)["failures"]) == 7
    for k in range(7):
        corpus.add(f"{k}.wav")
    assert follow(cli, line).exit_code == 0


def test_where_all_failures_are(cli: Cli, corpus: Corpus) -> None:
    """If a report was asked for it lists them; of a run that was stopped only a report does."""
    corpus.add("a.wav")
    for k in range(7):
        corpus.add_bytes(f"{k}.wav", JUNK)
    told = cli("extract", "corpus", "-o", "x.h5", "--report", "r.jsonl").stderr
    assert "failed: 2 more; r.jsonl lists all" in told
    stopped = cli("extract", "corpus", "-o", "y.h5", "--max-failures", "6")
    assert "more; the same command with --report FILE lists all" in stopped.stderr
    assert not following(stopped)


@pytest.mark.parametrize("option", ["-q", "--json"])
def test_not_for_scripts(cli: Cli, corpus: Corpus, option: str) -> None:
    """Nothing is suggested to a program."""
    corpus.add("a.wav")
    assert not following(cli("extract", "corpus", "-o", "x.h5", option))


def test_standard_input_is_not_read_twice(cli: Cli, corpus: Corpus) -> None:
    """A command that read its list from a pipe cannot be pasted, so it is not suggested."""
    corpus.add("a.wav")
    corpus.add_bytes("b.wav", JUNK)
    names = b"corpus/a.wav\ncorpus/b.wav\n"
    result = cli("extract", "--files-from", "-", "-o", "x.h5", stdin=names)
    assert (result.exit_code, following(result)) == (1, "")


def test_after_a_dry_run(cli: Cli, corpus: Corpus) -> None:
    """The same command without the word."""
    corpus.add("a.wav")
    line = following(cli("extract", "corpus", "-o", "x.h5", "--dry-run"))
    assert line == "next: melcli extract corpus -o x.h5"
    assert follow(cli, line).exit_code == 0


@pytest.mark.parametrize(
    ("output", "shard", "command"),
    [
        ("mels.3.h5", Shard(3, 8), "melcli merge mels.?.h5 -o mels.h5"),
        ("mels.3.h5", Shard(3, 12), "melcli merge mels.*.h5 -o mels.h5"),
        ("mels.03.h5", Shard(3, 12), "melcli merge mels.??.h5 -o mels.h5"),
        ("mels-3-of-8.h5", Shard(3, 8), "melcli merge mels-?-of-8.h5 -o mels.h5"),
        ("out/tts22k.5.h5", Shard(5, 5), "melcli merge out/tts22k.?.h5 -o out/tts22k.h5"),
        ("my set.3.h5", Shard(3, 8), "melcli merge 'my set.'?.h5 -o 'my set.h5'"),
        ("mels/", Shard(3, 8), "melcli merge mels/ -o mels/"),
        ("mels.h5", Shard(5, 8), ""),
        ("3.h5", Shard(3, 8), ""),
        ("mels13.h5", Shard(3, 13), ""),
    ],
)
def test_after_a_shard(output: str, shard: Shard, command: str) -> None:
    """Names of the other shards follow from that of one, if its number stands in it."""
    expected = f"next, once all {shard.count} are there: {command}" if command else ""
    assert after_shard("melcli merge", output, shard) == expected


def test_shards_are_merged(cli: Cli, corpus: Corpus) -> None:
    """What is said after a shard puts all of them together, once they are there."""
    corpus.add_good()
    cli("extract", "corpus", "-o", "m.1.h5", "--shard", "1/2")
    line = following(cli("extract", "corpus", "-o", "m.2.h5", "--shard", "2/2"))
    assert line == "next, once all 2 are there: melcli merge m.?.h5 -o m.h5"
    merged = cli("merge", *sorted(map(str, Path().glob("m.?.h5"))), "-o", "m.h5")
    assert following(merged) == "next: melcli info m.h5"
    assert follow(cli, following(merged)).exit_code == 0


def test_after_fit_scaler(cli: Cli, corpus: Corpus) -> None:
    """A scaler of audio is for the extraction of that audio, with the same front end."""
    corpus.add("a.wav")
    how = ["--config", "whisper-80", "--set", "mel.n_mels=20", "--exclude", "b*"]
    line = following(cli("fit-scaler", "corpus", "-o", "s.npz", *how))
    told = "corpus --exclude 'b*' -o normal.h5 --config whisper-80 --set mel.n_mels=20"
    assert sorted(shlex.split(line)) == sorted(
        shlex.split(f"next: melcli extract {told} --scaler s.npz")
    )
    assert follow(cli, line).exit_code == 0
    with melcli.open("normal.h5") as output:
        assert output.scaler is not None
    assert not following(cli("fit-scaler", "corpus", "-o", "s.npz", *how))


def test_after_fit_scaler_of_mels(cli: Cli, corpus: Corpus) -> None:
    """A scaler of mels is put to them."""
    corpus.add("a.wav")
    cli("extract", "corpus", "-o", "x.h5")
    line = following(cli("fit-scaler", "x.h5", "-o", "s.npz"))
    assert line == "next: melcli scaler apply x.h5 -o normal.h5 --scaler s.npz"
    applied = follow(cli, line)
    assert (applied.exit_code, following(applied)) == (0, "next: melcli info normal.h5")
    assert following(cli("fit-scaler", "x.h5", "-o", "s.npy")) == "next: melcli scaler show s.npy"


def test_after_invert(cli: Cli, corpus: Corpus) -> None:
    """Spectra are to be looked at."""
    corpus.add("a.wav")
    cli("extract", "corpus", "-o", "x.h5", "-c", "hifigan-22k")
    assert following(cli("invert", "x.h5", "-o", "s.h5", "--dry-run")).endswith("x.h5 -o s.h5")
    assert following(cli("invert", "x.h5", "-o", "s.h5")) == "next: melcli info s.h5"
