"""What a person sees of a run while it goes on: a bar, or a line every half minute."""

from __future__ import annotations

import contextlib
import json
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Self

from melcli.cli.funnel import say
from melcli.errors import DeviceError
from melcli.pipeline.report import duration

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tqdm import tqdm

    from melcli.cli.options import Telling
    from melcli.pipeline.plan import PlannedInput
    from melcli.pipeline.report import Report
    from melcli.store.records import Outcome

_LINE_EVERY_SECONDS = 30.0


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
        self._last_line = time.monotonic()
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
        if self._show_bar:
            from tqdm import tqdm

            tqdm.monitor_interval = 0  # no thread of its own: it would be in the way of forking
            self._bar = tqdm(
                total=report.inputs,
                initial=report.already + report.failed,
                unit=" files",
                dynamic_ncols=True,
                file=sys.stderr,
                smoothing=0.1,
            )

    def happened(self, planned: PlannedInput, outcome: Outcome, status: str) -> None:
        """Write the report's line, and tell a failure if asked to."""
        if self._report_path is not None and self._report is None:
            self._report = self._open_report(self._report_path)
        if self._report is not None:
            line = json.dumps(report_line(planned, outcome, status), ensure_ascii=False)
            with self._report_errors():
                self._report.write(line + "\n")
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
            self._bar.set_postfix_str(_pace(report), refresh=False)
            self._bar.update(report.done + report.already + report.failed - self._bar.n)
        elif self._lines and time.monotonic() - self._last_line >= _LINE_EVERY_SECONDS:
            self._last_line = time.monotonic()
            ready = report.done + report.already + report.failed
            say(f"{ready:,} of {report.inputs:,} files, {_pace(report)}")


def report_line(planned: PlannedInput, outcome: Outcome, status: str) -> dict[str, Any]:
    """One input's line of ``--report``: plain values only."""
    line: dict[str, Any] = {"id": planned.id, "path": planned.name, "status": status}
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


def _pace(report: Report) -> str:
    failed = f", {report.failed:,} failed" if report.failed else ""
    return f"{duration(report.audio_seconds)} of audio, {report.speed:,.0f} x real time{failed}"
