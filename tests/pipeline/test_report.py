"""The books of a run, and how they are told."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from melcli.pipeline.report import Report, duration, size
from melcli.store.records import Done, Failed, Item


def done(name: str, n_items: int = 1, notes: tuple[str, ...] = ()) -> Done:
    """An input of two seconds that became items of ten rows."""
    items = (Item(f"{name}#{k}", 10, 32_000, 16_000, 2, k, notes) for k in range(n_items))
    return Done(name, 1, 1, tuple(items))


def failed(name: str) -> Failed:
    """An input that did not."""
    return Failed(name, 1, 1, "holds no samples", "delete it")


@given(st.integers(0, 9), st.integers(0, 9), st.integers(0, 9), st.integers(0, 9))
def test_the_books_balance(n_done: int, n_already: int, n_failed: int, n_left: int) -> None:
    """Inputs are those done, done already, failed and left."""
    report = Report("x.h5", "librosa", inputs=n_done + n_already + n_failed + n_left)
    report.already = n_already
    for k in range(n_done):
        report.count_done(done(str(k)))
    for k in range(n_failed):
        report.count_failed(str(k), failed(str(k)))
    record = report.to_record()
    parts = ("done", "already_done", "failed", "left")
    assert [record[part] for part in parts] == [n_done, n_already, n_failed, n_left]
    assert record["exit_code"] == (1 if n_failed else 0)
    assert json.loads(json.dumps(record)) == record


def test_an_input_counts_once() -> None:
    """Channels and chunks of an input are items, but its audio and its notes count once."""
    report = Report("x.h5", "librosa", inputs=2)
    report.count_done(done("a.wav", 2, ("resampled",)))
    report.count_done(done("b.wav", 1, ("resampled", "mixed")))
    assert (report.done, report.items, report.rows, report.audio_seconds) == (2, 3, 30, 4.0)
    assert report.notes == {"resampled": 2, "mixed": 1}


def test_stopped_is_no_success() -> None:
    """A run that was stopped ends with 1, even if what stopped it was counted before."""
    report = Report("x.h5", "librosa", inputs=3)
    report.stopped = "1 failed, and --strict says to stop"
    assert report.exit_code == 1
    assert "stopped: 1 failed, and --strict says to stop" in str(report)
    assert "3 left" in str(report)


def test_words() -> None:
    """The summary tells what a person wants to know, and nothing of what there is none of."""
    report = Report("x.h5", "librosa", inputs=1)
    report.count_done(done("a.wav"))
    report.seconds, report.output_bytes = 0.5, 4_300_000
    assert str(report).splitlines() == [
        "1 done, 0 failed, of 1 input",
        "2.0 s of audio in 0.5 s (4 x real time), 10 rows with librosa",
        "x.h5  4.3 MB",
    ]


def test_all_words() -> None:
    """What was changed, left out, kept and failed is told with counts and remedies."""
    report = Report("x.h5", "librosa", inputs=1010)
    report.already, report.kept_beside = 1000, 1
    report.ignored.update({".txt": 3})
    report.count_done(done("a.wav", 1, ("resampled",)))
    for k in range(7):
        report.count_failed(f"c/{k}.wav", failed(f"{k}.wav"))
    lines = str(report).splitlines()
    assert lines[0] == "1 done, 1,000 already done, 7 failed, 2 left, of 1,010 inputs"
    assert "changed on the way: 1 resampled" in lines
    assert "left out: 3 .txt" in lines
    assert "kept 1 of an earlier run that are not among these inputs" in lines
    at = lines.index("failed: c/0.wav: holds no samples")
    assert lines[at + 1] == "  try: delete it"
    assert "failed: 2 more; --report FILE lists all" in lines


@pytest.mark.parametrize(
    ("seconds", "verbose", "begin"),
    [(9.0, False, None), (10.0, False, "the limit was the cores"), (1.0, True, "time: read ")],
)
def test_the_limit_is_told(seconds: float, verbose: bool, begin: str | None) -> None:  # noqa: FBT001
    """A run that took a while says what it waited for; ``-v`` says all of it, always."""
    report = Report("x.h5", "librosa", inputs=1, n_workers=1)
    report.count_done(done("a.wav"))
    report.seconds = report.times.busy["mel"] = report.times.elapsed["mel"] = seconds
    told = report.summary(verbose=verbose).splitlines()
    assert len(told) == 2 + (begin is not None)
    if begin:
        assert told[2].startswith(begin)


def test_a_run_that_did_nothing_was_not_limited() -> None:
    """Without workers there was no work, however long it took to look."""
    report = Report("x.h5", "librosa", inputs=1, already=1, seconds=60.0)
    assert str(report) == "0 done, 1 already done, 0 failed, of 1 input"


def test_what_a_caller_adds() -> None:
    """Where all failures are is the caller's to know; hints stand before the output."""
    report = Report("x.h5", "librosa", inputs=7, output_bytes=1)
    for k in range(7):
        report.count_failed(str(k), failed(str(k)))
    told = report.summary(more="look there", hints=["a hint"]).splitlines()
    assert told[-3:] == ["failed: 2 more; look there", "a hint", "x.h5  1 bytes"]
    report.failures.clear()  # those of an earlier run are counted, and not known
    assert "failed: 7; look there" in report.summary(more="look there")


def test_few_failures_are_kept() -> None:
    """Memory does not grow with failures: the first few stand for all."""
    report = Report("x.h5", "librosa", inputs=10_000)
    for k in range(10_000):
        report.count_failed(str(k), failed(str(k)))
    assert (report.failed, len(report.failures)) == (10_000, 5)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "0.0 s"),
        (59.94, "59.9 s"),
        (60, "1 min 0 s"),
        (3599.9, "1 h 0 min"),
        (7260, "2 h 1 min"),
    ],
)
def test_duration(seconds: float, words: str) -> None:
    """Times are told without sixties."""
    assert duration(seconds) == words


@pytest.mark.parametrize(
    ("n_bytes", "words"), [(0, "0 bytes"), (999, "999 bytes"), (1000, "1.0 kB"), (2e12, "2.0 TB")]
)
def test_size(n_bytes: float, words: str) -> None:
    """Sizes are told in powers of a thousand."""
    assert size(n_bytes) == words
