"""Lists of inputs: bare names, tables with a row an input, and Kaldi's ``wav.scp``."""

from __future__ import annotations

import csv
import difflib
import json
import math
import sys
from contextlib import contextmanager
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple, TypeAlias

from melcli.audio.formats import MAX_CHANNELS
from melcli.errors import StoreError, UsageError
from melcli.pipeline.names import item_id
from melcli.store.records import Excerpt, check_id

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Callable, Iterator, Mapping
    from typing import BinaryIO

ListFormat: TypeAlias = Literal["names", "csv", "tsv", "jsonl", "scp"]

COLUMNS: Final = ("path", "id", "start", "end", "channel")
"""Of a table; all but the first may be missing, and so may any value of theirs."""

_FORMATS: Final[Mapping[str, ListFormat]] = {
    ".csv": "csv",
    ".tsv": "tsv",
    ".jsonl": "jsonl",
    ".scp": "scp",
}
_FIRST_PROBLEMS: Final = 5
_ESCAPE: Final = "surrogateescape"  # a name need not be UTF-8


class Listed(NamedTuple):
    """An input as a list has it.

    Args:
        path: Of the file, from the working folder.
        id: What it is to be called; None for what its path and the part say.
        start: Where the part that is wanted begins, in seconds.
        end: Where it ends; infinite for the end of the recording.
        channel: The one that is wanted, counted from 0; -1 leaves that to the front end.
    """

    path: bytes
    id: str | None = None
    start: float = 0.0
    end: float = math.inf
    channel: int = -1

    @property
    def is_plain(self) -> bool:
        """Nothing but a name."""
        return self[1:] == _PLAIN


_PLAIN: Final = Listed(b"")[1:]


def format_of(name: str) -> ListFormat:
    """How a list is written, by its name.

    >>> format_of("vad.tsv"), format_of("files.txt"), format_of("-")
    ('tsv', 'names', 'names')
    """
    return _FORMATS.get(PurePath(name).suffix.lower(), "names")


def read_list(
    name: str,
    *,
    null: bool = False,
    list_format: ListFormat | None = None,
    segments: str | None = None,
    ignored: Counter[str],
) -> Iterator[Listed]:
    """Stream the inputs of a list, in its order.

    Args:
        name: A file; ``-`` is standard input.
        null: Names are separated by NUL.
        list_format: How it is written; by default, its extension tells.
        segments: Kaldi's file of that name, for a ``wav.scp``: the parts to take.
        ignored: Counts columns that mean nothing here.

    Raises:
        UsageError: It cannot be read, or rows of it cannot be meant; some of them are named.
    """
    chosen = list_format or ("names" if null else format_of(name))
    if null and chosen != "names":
        raise UsageError(f"--null separates names, and this is a table: {chosen}", name)
    if segments is not None and chosen != "scp":
        remedy = "--files-from wav.scp --segments segments; other tables have columns for that"
        raise UsageError("segments are of Kaldi's wav.scp, and there is none", segments, remedy)
    with _opened(name) as file:
        if chosen == "names":
            yield from _names(file, null=null)
        elif chosen == "scp":
            yield from _kaldi(file, name, segments)
        else:
            yield from _table(file, name, chosen, ignored)


@contextmanager
def _opened(name: str) -> Iterator[BinaryIO]:
    if name == "-":
        yield sys.stdin.buffer
        return
    try:
        with Path(name).open("rb") as file:
            yield file
    except OSError as error:
        raise UsageError(f"the list cannot be read: {error.strerror}", name) from error


def _names(file: BinaryIO, *, null: bool) -> Iterator[Listed]:
    for line in file.read().split(b"\0" if null else b"\n"):
        if name := line if null else line.removesuffix(b"\r"):
            yield Listed(_path(name))


def _path(name: bytes) -> bytes:
    # A "-" in a list is a file of that name; standard input is asked for by argument.
    return b"./-" if name == b"-" else name


class _Rows:
    """Reads rows, and complains of some of those that cannot be read at once."""

    def __init__(self, name: str) -> None:
        self._name = "standard input" if name == "-" else name
        self._problems: list[str] = []

    def listed(self, number: int, read: Callable[[], Listed]) -> Iterator[Listed]:
        """Give the input of a row, unless there was a problem in it or before it."""
        try:
            listed = read()
        except ValueError as error:
            self._problems.append(f"line {number}: {error}")
            if len(self._problems) == _FIRST_PROBLEMS:
                self.check()
        else:
            if not self._problems:
                yield listed

    def check(self) -> None:
        """Raise if there was a problem."""
        if self._problems:
            lines = "".join(f"\n  {problem}" for problem in self._problems)
            more = " (there may be more)" if len(self._problems) == _FIRST_PROBLEMS else ""
            raise UsageError(
                f"rows cannot be read{more}:{lines}", self._name, "mend them, or take them out"
            )

    def refuse(self, cause: str, remedy: str | None = None) -> UsageError:
        """Refuse the list as a whole."""
        return UsageError(cause, self._name, remedy)


def _table(
    file: BinaryIO, name: str, chosen: ListFormat, ignored: Counter[str]
) -> Iterator[Listed]:
    rows = _Rows(name)
    records = _json_records(file) if chosen == "jsonl" else _separated(file, rows, chosen)
    seen: set[str] = set()
    for number, record in records:
        if isinstance(record, dict) and not record.keys() <= seen:
            new = record.keys() - seen
            _check_columns(rows, new, number)
            seen |= new
        yield from rows.listed(number, lambda record=record: _listed(record))  # type: ignore[misc]
    rows.check()
    for column in sorted(seen - set(COLUMNS)):
        ignored[f"column {column!r} of the table"] += 1


def _check_columns(rows: _Rows, columns: set[str], number: int) -> None:
    """Refuse what is probably a known column, mistyped: its values would be lost."""
    for column in sorted(columns - set(COLUMNS)):
        near = difflib.get_close_matches(column.strip().lower(), COLUMNS, n=1, cutoff=0.75)
        if near and near[0] not in columns:
            raise rows.refuse(
                f"line {number}: there is no column {column!r}; is {near[0]!r} meant?",
                f"columns are {', '.join(COLUMNS)}",
            )


def _separated(
    file: BinaryIO, rows: _Rows, chosen: ListFormat
) -> Iterator[tuple[int, dict[str, Any]]]:
    # Values of a .tsv may hold quotation marks that are no more than that.
    how: dict[str, Any] = (
        {"delimiter": "\t", "quoting": csv.QUOTE_NONE} if chosen == "tsv" else {"strict": True}
    )
    reader = csv.reader(_lines(file), **how)
    try:
        head = next(reader, [])
        if "path" not in head:
            raise rows.refuse(
                f"its first line names no column 'path': {', '.join(head) or 'it is empty'}",
                f"begin it with a line of columns: {', '.join(COLUMNS)}; "
                "or --files-format names for a list of bare names",
            )
        if len(set(head)) < len(head):
            raise rows.refuse(f"two columns have one name: {', '.join(head)}")
        for values in reader:
            if not values:
                continue
            if len(values) != len(head):
                cause = f"{len(values)} values for {len(head)} columns"
                raise rows.refuse(f"line {reader.line_num}: {cause}")
            yield reader.line_num, dict(zip(head, values, strict=True))
    except csv.Error as error:
        raise rows.refuse(f"line {reader.line_num}: {error}") from error


def _lines(file: BinaryIO) -> Iterator[str]:
    for number, line in enumerate(file):
        start = 3 if number == 0 and line.startswith(b"\xef\xbb\xbf") else 0  # as Excel writes it
        yield line[start:].decode(errors=_ESCAPE)


def _json_records(file: BinaryIO) -> Iterator[tuple[int, Any]]:
    for number, line in enumerate(_lines(file), 1):
        if line.strip():
            try:
                yield number, json.loads(line)
            except (ValueError, RecursionError):
                yield number, None


def _listed(record: Any) -> Listed:  # noqa: ANN401, whatever stands in the line
    if not isinstance(record, dict):
        raise ValueError("is no JSON object")  # noqa: TRY004, as all that a row can have wrong
    path, name, channel = record.get("path"), record.get("id"), _number(record, "channel")
    if not isinstance(path, str) or not path or "\0" in path:
        raise ValueError("has no path")
    if channel is not None and not (0 <= channel < MAX_CHANNELS and channel == int(channel)):
        raise ValueError(f"channel {channel:g}: must be a whole number, counted from 0")
    start, end = _number(record, "start"), _number(record, "end")
    return Listed(
        _path(path.encode(errors=_ESCAPE)),
        None if name is None or name == "" else _checked_id(name),
        *_checked_part(start or 0.0, math.inf if end is None else end),
        -1 if channel is None else int(channel),
    )


def _number(record: Mapping[str, Any], column: str) -> float | None:
    value = record.get(column)
    if value is None or (isinstance(value, str) and not value.strip()):
        return None
    try:
        number = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError):
        number = math.nan
    if not math.isfinite(number):
        raise ValueError(f"{column} {value!r}: must be a number")
    return number


def _checked_part(start: float, end: float) -> tuple[float, float]:
    if start < 0:
        raise ValueError(f"start {start:g}: must not be before the recording")
    if end <= start:
        raise ValueError(f"start {start:g}, end {end:g}: the end must come after the start")
    if not Excerpt("", start, end).is_possible:
        raise ValueError(f"start {start:g}, end {end:g}: no recording is that long")
    return start, end


def _checked_id(name: object) -> str:
    if isinstance(name, int):
        name = str(name)
    if not isinstance(name, str):
        raise ValueError(f"id {name!r}: must be a text")  # noqa: TRY004, likewise
    found = item_id(name.encode(errors=_ESCAPE))
    try:
        check_id(found)
    except StoreError as error:
        raise ValueError(error.cause) from error
    return found


def _kaldi(file: BinaryIO, name: str, segments: str | None) -> Iterator[Listed]:
    """``wav.scp``: an id and a path in a line; with ``segments`` id, recording, start, end."""
    rows = _Rows(name)
    recordings: dict[str, Listed] = {}
    for number, line in enumerate(_lines(file), 1):
        for listed in rows.listed(number, lambda line=line: _recording(line)):  # type: ignore[misc]
            if segments is None:
                yield listed
            else:
                recordings[listed.id or ""] = listed
    rows.check()
    if segments is None:
        return
    rows = _Rows(segments)
    with _opened(segments) as parts:
        for number, line in enumerate(_lines(parts), 1):
            yield from rows.listed(
                number,
                lambda line=line: _segment(line, recordings, name),  # type: ignore[misc]
            )
    rows.check()


def _recording(line: str) -> Listed:
    name, _, path = line.strip().partition(" ")
    if not (path := path.strip()):
        raise ValueError("is not an id and a path")
    if path.endswith("|"):
        raise ValueError("is a command, and melcli runs none: write its output to a file")
    return Listed(_path(path.encode(errors=_ESCAPE)), _checked_id(name))


def _segment(line: str, recordings: Mapping[str, Listed], name: str) -> Listed:
    try:
        utterance, recording, start, end = line.split()[:4]
        seconds = {"start": start, "end": end}
    except ValueError:
        raise ValueError("is not an id, a recording, a start and an end") from None
    if recording not in recordings:
        raise ValueError(f"there is no recording {recording} in {name}")
    first, last = _number(seconds, "start") or 0.0, _number(seconds, "end")
    return Listed(
        recordings[recording].path,
        _checked_id(utterance),
        # Kaldi writes -1 for the end of the recording.
        *_checked_part(first, math.inf if last in {None, -1.0} else last or 0.0),
    )
