"""What a person sees of a run while it goes on: a bar, or a line every half minute."""

from __future__ import annotations

import contextlib
import json
import math
import os
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Self

from melcli.cli.funnel import forget_stdout, say
from melcli.errors import DeviceError
from melcli.pipeline.names import printable
from melcli.pipeline.report import duration

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tqdm import tqdm

    from melcli.cli.options import Telling
    from melcli.pipeline.plan import PlannedInput
    from melcli.pipeline.report import Report
    from melcli.store.records import Outcome

_LINE_EVERY_SECONDS = 30.0
_USUAL_COLUMNS = 80
_LEAST_BAR, _MOST_BAR = 8, 30


class Progress:
    """A listener that shows the run on stderr and writes its report.

    Args:
        telling: What to show, and where the report goes.
    """

    def __init__(self, telling: Telling) -> None:
        self._report_path = telling.report
        self._quiet, self._verbose = telling.quiet, telling.verbose
        self._show_bar = telling.bar and not telling.quiet and sys.stderr.isatty()
        self._lines = not self._show_bar and not telling.quiet
        self._bar: tqdm[Any] | None = None
        self._report: IO[str] | None = None
        self._began = self._last_line = time.monotonic()
        self._ready_bytes = 0
        self._share_before = 0.0
        self._exit = ExitStack()
        self.warnings: list[str] = []
        """That were told."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        if self._bar is not None:
            self._bar.close()
        with self._report_errors():
            self._exit.close()

    def stop(self) -> None:
        """Leave the terminal and the report as they should be, for the process ends now."""
        if self._bar is not None:
            self._bar.clear()
        if self._report is not None:
            self._report.flush()

    @contextlib.contextmanager
    def _report_errors(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            if self._report_path in {None, "-"}:
                raise
            raise DeviceError(
                f"the report cannot be written: {error.strerror}",
                self._report_path,
                "give --report another file; the output itself is kept",
            ) from error

    def started(self, report: Report) -> None:
        """Draw the bar, what earlier runs did already filled in."""
        self._began, self._share_before = time.monotonic(), self._share_of(report)
        if self._show_bar and report.left:
            from tqdm import tqdm

            tqdm.monitor_interval = 0  # no thread of its own: it would be in the way of forking
            self._bar = tqdm(
                total=report.inputs,
                initial=report.already + report.failed,
                file=sys.stderr,
                leave=False,  # the summary says it all
                nrows=2,  # a terminal that knows no height has room for one line, too
                bar_format="{desc}",
            )
            self._draw(self._bar, report)
            self._bar.refresh()

    def happened(self, planned: PlannedInput, outcome: Outcome, status: str) -> None:
        """Write the report's line, and tell a failure if asked to."""
        self._ready_bytes += outcome.source_size or 0
        if self._report_path is not None and self._report is None:
            self._report = self._open_report(self._report_path)
        if self._report is not None:
            line = json.dumps(report_line(planned, outcome, status), ensure_ascii=False)
            try:
                with self._report_errors():
                    self._report.write(line + "\n")
            except BrokenPipeError:
                # Whoever read it has had enough; the output is wanted all the same.
                forget_stdout()
                self._report, self._report_path = None, None
        if status == "failed" and self._verbose and not self._quiet:
            self._tell(f"failed: {planned.name}: {getattr(outcome, 'cause', '')}")

    def _tell(self, text: str) -> None:
        if self._bar is not None:
            self._bar.clear()
        say(text)

    def warned(self, warning: str) -> None:
        """Tell at once what may need a person."""
        if not self._quiet:
            self._tell(f"warning: {warning}")
            self.warnings.append(warning)

    def _open_report(self, path: str) -> IO[str]:
        # Only now: a command that is refused for its settings leaves an old report alone.
        if path == "-":
            return sys.stdout
        with self._report_errors():
            return self._exit.enter_context(Path(path).open("w", encoding="utf-8"))

    def advanced(self, report: Report) -> None:
        """Move the bar, or print a line if the last is half a minute old."""
        if self._bar is not None:
            self._draw(self._bar, report)
        elif self._lines and time.monotonic() - self._last_line >= _LINE_EVERY_SECONDS:
            self._last_line = time.monotonic()
            say(pace(report, self._seconds_left(report)))

    def _draw(self, bar: tqdm[Any], report: Report) -> None:
        columns = _columns() - 1  # in the last one some terminals begin a new line
        told = pace(report, self._seconds_left(report), columns - len("100% "))
        room = columns - len("100%  ") - len(told)
        drawn = f"{{bar:{min(room, _MOST_BAR)}}} " if room >= _LEAST_BAR else ""
        bar.ncols, bar.bar_format = columns, "{percentage:3.0f}% " + drawn + "{desc}"
        bar.set_description_str(told, refresh=False)
        bar.update(_ready(report) - bar.n)
        if not report.left:
            bar.refresh()

    def _share_of(self, report: Report) -> float:
        """How much is done, by size where sizes are known: one long file is more than a short."""
        if report.input_bytes and self._ready_bytes:
            return min(1.0, self._ready_bytes / report.input_bytes)
        return _ready(report) / report.inputs if report.inputs else 1.0

    def _seconds_left(self, report: Report) -> float | None:
        share = self._share_of(report)
        if share <= self._share_before:
            return None
        took = time.monotonic() - self._began
        return took * (1.0 - share) / (share - self._share_before)


def pace(report: Report, seconds_left: float | None, columns: int = 1000) -> str:
    """How far a run is and how fast, in the longest words that fit.

    Args:
        report: The books so far.
        seconds_left: Until it is done, about; None if nobody knows yet.
        columns: How wide it may be.
    """
    ready, total = f"{_ready(report):,}", f"{report.inputs:,}"
    others = [f"{report.failed:,} failed"] if report.failed else []
    if report.left == 0:
        others.append("finishing")
    elif seconds_left is not None:
        others.append(f"{about(seconds_left)} left")
    audio, speed = duration(report.audio_seconds), f"{report.speed:,.0f}"
    forms = (
        (f"{ready} of {total} files", f"{audio} of audio", f"{speed} x real time"),
        (f"{ready}/{total} files", f"{audio} of audio", f"{speed}x"),
        (f"{ready}/{total}", f"{about(report.audio_seconds)} audio", f"{speed}x"),
    )
    told = ""
    for files, heard, fast in forms:
        told = ", ".join([files, *others, *([heard, fast] if report.done else [])])
        if len(told) <= columns:
            break
    return told[: max(0, columns)]


def about(seconds: float) -> str:
    """A time in one unit, or two where the second matters.

    >>> about(3.2), about(61), about(900), about(7300), about(900_000)
    ('4 s', '61 s', '15 min', '2 h 2 min', '250 h')
    """
    whole = math.ceil(seconds)
    if whole < 100:
        return f"{whole} s"
    minutes = math.ceil(seconds / 60)
    if minutes < 100:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    return f"{hours:,} h {minutes} min" if hours < 10 else f"{hours:,} h"


def _ready(report: Report) -> int:
    return report.done + report.already + report.failed


def _columns() -> int:
    """How wide the terminal is, now: people change it."""
    try:
        return os.get_terminal_size(sys.stderr.fileno()).columns or _USUAL_COLUMNS
    except (OSError, ValueError):
        return _USUAL_COLUMNS


def report_line(planned: PlannedInput, outcome: Outcome, status: str) -> dict[str, Any]:
    """One input's line of ``--report``: plain values only."""
    path = planned.id if planned.path is None else printable(planned.path)
    line: dict[str, Any] = {"id": planned.id, "path": path, "status": status}
    if planned.excerpt is not None:
        _, start, end, channel = planned.excerpt
        line |= {
            "start": start,
            "end": None if end == math.inf else end,
            "channel": None if channel < 0 else channel,
        }
    items = getattr(outcome, "items", None)
    if items is None:
        return line | {
            "cause": getattr(outcome, "cause", ""),
            "remedy": getattr(outcome, "remedy", None),
        }
    first = items[0]
    return line | {
        "seconds": round(first.n_samples / first.sample_rate, 6),
        "sample_rate": first.sample_rate,
        "n_channels": first.n_channels,
        "notes": list(first.notes),
        "items": [
            {"id": item.id, "n_rows": item.n_rows}
            | ({} if item.certificate is None else item.certificate._asdict())
            for item in items
        ],
    }
