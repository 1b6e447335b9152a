"""What is seen of a run while it goes on: one line, as wide as there is room."""

from __future__ import annotations

import io
import os
import re
from typing import TYPE_CHECKING, Any

import pytest

from melcli.cli import progress as module
from melcli.cli.options import Telling
from melcli.cli.progress import Progress, pace
from melcli.pipeline.plan import PlannedInput
from melcli.pipeline.report import Report
from melcli.store.records import Done, Failed, Item

if TYPE_CHECKING:
    from collections.abc import Callable

LOUD = Telling(report=None, as_json=False, quiet=False, verbose=False, bar=True)


class Terminal(io.StringIO):
    """A stderr that says it is a terminal."""

    def isatty(self) -> bool:
        """It says so."""
        return True


def half_done(inputs: int = 10) -> Report:
    """Half of a run, one failed: an hour of audio in twelve seconds."""
    report = Report("x.h5", "librosa", inputs=inputs, input_bytes=1000)
    report.done, report.failed = inputs // 2 - 1, 1
    report.audio_seconds, report.seconds = 3600.0, 12.0
    return report


def of(n_bytes: int) -> tuple[PlannedInput, Done]:
    """An input of so many bytes, and what became of it."""
    item = Item("a.wav", 10, 32_000, 16_000, 1, 0, ())
    return PlannedInput("a.wav", b"a.wav", n_bytes, 1), Done("a.wav", n_bytes, 1, (item,))


@pytest.mark.parametrize(
    ("columns", "told"),
    [
        (99, "5 of 10 files, 1 failed, 12 s left, 1 h 0 min of audio, 300 x real time"),
        (71, "5 of 10 files, 1 failed, 12 s left, 1 h 0 min of audio, 300 x real time"),
        (70, "5/10 files, 1 failed, 12 s left, 1 h 0 min of audio, 300x"),
        (56, "5/10, 1 failed, 12 s left, 60 min audio, 300x"),
        (20, "5/10, 1 failed, 12 s"),
    ],
)
def test_words_that_fit(columns: int, told: str) -> None:
    """All is told where there is room; where there is not, in shorter words, and the end is cut."""
    assert pace(half_done(), 12.0, columns) == told


def test_what_is_not_known_is_not_told() -> None:
    """Before the first batch there is no speed, and in the end no time left."""
    report = Report("x.h5", "librosa", inputs=3)
    assert pace(report, None) == "0 of 3 files"
    report.done, report.audio_seconds, report.seconds = 3, 60.0, 1.0
    assert pace(report, 0.0) == "3 of 3 files, finishing, 1 min 0 s of audio, 60 x real time"


def test_eighty_columns_are_enough() -> None:
    """A million files, many failed, all of it is there on a small terminal."""
    report = half_done(1_000_000)
    report.failed, report.audio_seconds = 12_345, 4e6 - 1
    told = pace(report, 45_000.0, 74)
    for part in (r"/1,000,000\b", r"\b12,345 failed", r"\b12 h left", r"\b1,111 h audio", r"\d+x$"):
        assert re.search(part, told)


@pytest.fixture
def draw(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], list[str]]:
    """A function that draws a run of three lines on a terminal so wide, and reads them."""

    def drawn(columns: int) -> list[str]:
        terminal = Terminal()
        monkeypatch.setattr("sys.stderr", terminal)
        monkeypatch.setattr(module, "_columns", lambda: columns)
        report = half_done()
        report.done = report.failed = 0
        with Progress(LOUD) as progress:
            progress.started(report)
            report.done = 10
            progress.happened(*of(1000), "done")
            progress.advanced(report)
        return terminal.getvalue().split("\r")

    return drawn


@pytest.mark.parametrize("columns", [30, 80, 200])
def test_one_line_that_fits(draw: Callable[[int], list[str]], columns: int) -> None:
    """Whatever the width, lines are shorter, there is no second one, and none stays behind."""
    lines = draw(columns)
    assert max(map(len, lines)) < columns
    assert not any("\n" in line for line in lines)
    assert not lines[-1]
    assert not lines[-2].strip()  # the last one is blanked: the summary takes its place
    assert any(line.startswith("  0% ") for line in lines)
    assert any(line.startswith("100% ") for line in lines)
    has_bar = any("█" in line or "#" in line for line in lines)
    assert has_bar == (columns >= 80)


def test_a_terminal_without_a_size(monkeypatch: pytest.MonkeyPatch) -> None:
    """A terminal that says it is 0 wide, as some are, or does not say, is taken for a usual one."""
    monkeypatch.setattr("sys.stderr", Terminal())
    assert module._columns() == 80  # it has no file number
    with open(os.devnull, "w", encoding="utf-8") as file:  # noqa: PTH123
        monkeypatch.setattr("sys.stderr", file)
        monkeypatch.setattr(os, "get_terminal_size", lambda _fd: os.terminal_size((0, 0)))
        assert module._columns() == 80


def test_nothing_to_do_draws_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where all is done already there is no line that goes by."""
    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    report = Report("x.h5", "librosa", inputs=3, already=3)
    with Progress(LOUD) as progress:
        progress.started(report)
    assert not terminal.getvalue()


def test_time_left_goes_by_size(monkeypatch: pytest.MonkeyPatch) -> None:
    """A long file counts as what it is; what earlier runs did says nothing of how fast this is."""
    now = [100.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    report = Report("x.h5", "librosa", inputs=4, input_bytes=1000)
    progress = Progress(LOUD)
    progress.happened(*of(200), "already done")
    report.already = 1
    progress.started(report)
    assert progress._seconds_left(report) is None
    now[0] += 10.0
    report.done = 1
    progress.happened(*of(400), "done")
    assert progress._seconds_left(report) == pytest.approx(10.0)  # 400 bytes in 10 s, 400 to go


def test_time_left_without_sizes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Inputs that have no size, such as items of an output, count alike."""
    now = [0.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    report = Report("x.h5", "librosa", inputs=4)
    progress = Progress(LOUD)
    progress.started(report)
    now[0] = 3.0
    report.failed = 1
    failed: Any = Failed("a", None, None, "holds no samples", None)
    progress.happened(PlannedInput("a", None, None, None), failed, "failed")
    assert progress._seconds_left(report) == pytest.approx(9.0)
