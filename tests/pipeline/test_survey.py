"""What ``--dry-run`` promises is what a run does."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

import melcli
from melcli import presets
from melcli.config import OutputConfig
from melcli.pipeline.plan import Selection, make_plan
from melcli.pipeline.survey import survey

if TYPE_CHECKING:
    from pathlib import Path

    from melcli.config.run import LongRule
    from melcli.pipeline.survey import Survey
    from tests.conftest import Corpus


def surveyed(corpus: Corpus, config: str = "librosa", long: LongRule = "error") -> Survey:
    """Survey a corpus."""
    plan = make_plan(Selection(paths=(corpus.folder,)))
    return survey(plan, presets.load(config).config, OutputConfig(long=long), 2)


@pytest.mark.parametrize("config", presets.names())
def test_counts_agree_with_a_run(corpus: Corpus, tmp_path: Path, config: str) -> None:
    """Items, rows and hours of lossless audio are known from its headers."""
    corpus.add("a.wav", 1.5)
    corpus.add("b.flac", 1.2, 44_100, 2)
    corpus.add("c.wav", 1.7, 22_050)
    found = surveyed(corpus, config)
    report = melcli.extract(corpus.folder, tmp_path / "x.h5", config)
    assert (found.inputs, found.items, found.rows) == (report.inputs, report.items, report.rows)
    assert found.seconds == pytest.approx(report.audio_seconds)
    assert found.resampled == report.notes["resampled"]
    assert found.problems == 0


def test_chunks(corpus: Corpus) -> None:
    """Chunks are counted as items."""
    corpus.add("a.wav", 61)
    corpus.add("b.wav", 60)
    found = surveyed(corpus, "whisper-80", long="chunks")
    assert (found.items, found.rows) == (5, 5 * 3000)


def test_lossy_lengths_are_estimates(corpus: Corpus) -> None:
    """A lossy file's length is told as an estimate."""
    corpus.add("a.mp3")
    corpus.add("b.wav")
    found = surveyed(corpus)
    assert found.estimated == 1
    assert "about 0.4 s of audio" in str(found)
    assert "1 lossy file, of estimated length" in str(found)


def test_problems(corpus: Corpus) -> None:
    """What is known to fail is told, with its remedy; the first few stand for many."""
    corpus.add("a.wav")
    for k in range(7):
        corpus.add_bytes(f"bad{k}.wav", b"this is text, not audio")
    found = surveyed(corpus)
    assert found.problems == 7
    words = str(found)
    assert "bad0.wav: is not audio that libsndfile can read" in words
    assert "would fail: 2 more" in words
    assert found.to_record()["problems"] == 7


@pytest.mark.parametrize("n_workers", [1, 3])
def test_many_are_surveyed_in_order(
    corpus: Corpus, monkeypatch: pytest.MonkeyPatch, n_workers: int
) -> None:
    """However many threads read headers, every input is counted once, and the first come first."""
    monkeypatch.setattr("melcli.pipeline.survey._PROBED_IN_A_ROW", 2)
    for k in range(20):
        corpus.add(f"{k:02}.wav") if k % 2 else corpus.add_bytes(f"{k:02}.wav", b"text")
    plan = make_plan(Selection(paths=(corpus.folder,)))
    found = survey(plan, presets.load("librosa").config, OutputConfig(), n_workers)
    assert (found.inputs, found.items, found.problems) == (20, 10, 10)
    names = [name.rpartition("/")[2] for name, _, _ in found.first_problems]
    assert names == [f"{k:02}.wav" for k in range(0, 10, 2)]


def test_nothing_is_decoded(corpus: Corpus, monkeypatch: pytest.MonkeyPatch) -> None:
    """Headers are read, samples are not."""
    from melcli.audio import reading

    corpus.add_good()

    def read(*_args: object) -> None:
        raise AssertionError

    monkeypatch.setattr(reading.AudioReader, "read", read)
    assert surveyed(corpus).inputs == 5
