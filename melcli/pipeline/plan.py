"""Finds the inputs from names and ``stat`` alone, and gives each a stable id.

Nothing is opened here. An input that cannot be read is planned like any other, and fails with
its cause when its turn comes, so that the books balance.
"""

from __future__ import annotations

import fnmatch
import functools
import math
import os
import re
import stat
from array import array
from collections import Counter
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from melcli.audio.formats import AUDIO_EXTENSIONS, FOREIGN_EXTENSIONS
from melcli.errors import NoInputError, UsageError
from melcli.pipeline.batching import decoded_bytes
from melcli.pipeline.excerpts import Excerpts
from melcli.pipeline.lists import Listed, ListFormat, read_list
from melcli.pipeline.names import item_id, printable
from melcli.store.records import Excerpt
from melcli.store.shards import Shard, digest_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from melcli.audio.raw import RawFormat
    from melcli.store.records import Outcome

_SPLIT_NAME = re.compile(r"(.+?)(?:#\d+|@\d+|#\d+@\d+)", re.DOTALL)
"""The id of an item: that of its input, the number of its channel, the number of its chunk."""

_EXCERPT_BYTES = 4 * 2 * 48_000
"""Of float32 that a second of an excerpt may be, for budgets: two channels at 48 kHz."""

STDIN_ID = "stdin"
_STDIN_ROOT = b"-"


@dataclass(frozen=True, kw_only=True)
class Selection:
    """Which audio to work on.

    Args:
        paths: Files, folders, and ``-`` for one audio stream on standard input.
        files_from: A list of files, or a table of parts of files (:mod:`melcli.pipeline.lists`);
            ``-`` reads it from standard input.
        null: The names there are separated by NUL, as ``find -print0`` writes them.
        files_format: How it is written; None lets its extension tell.
        segments: Kaldi's file of that name, for a ``wav.scp``.
        raw: How the bytes on standard input are to be read, if they have no header.
        root: Folder that the ids of files given by name count from.
        include: Globs; only ids that match one are taken. Empty takes all.
        exclude: Globs; ids that match one are left out.
        ids: Take only inputs of these ids; None takes all.
        shard: Take only this part of all that.
        extensions: What is an input in a folder.
    """

    paths: tuple[str | os.PathLike[str], ...] = ()
    files_from: str | None = None
    null: bool = False
    files_format: ListFormat | None = None
    segments: str | None = None
    raw: RawFormat | None = None
    root: str | os.PathLike[str] = "."
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    ids: frozenset[str] | None = None
    shard: Shard | None = None
    extensions: frozenset[str] = AUDIO_EXTENSIONS | FOREIGN_EXTENSIONS

    @property
    def is_all(self) -> bool:
        """No id is left out."""
        return self.ids is None and not self.include and not self.exclude

    def holds(self, name: str) -> bool:
        """Whether it takes the input of this id, before any shard is taken."""
        return _selected(name, self)


@dataclass(frozen=True, slots=True)
class PlannedInput:
    """One input: its id, where it lies (None: standard input), and what ``stat`` says of it."""

    id: str
    path: bytes | None
    size: int | None
    mtime_ns: int | None
    excerpt: Excerpt | None = None
    raw: RawFormat | None = None

    @property
    def name(self) -> str:
        """What messages call it."""
        if self.path is None:
            return self.id
        return printable(self.path) + str(self.excerpt or "")

    def looked_at_again(self) -> PlannedInput:
        """The same input with what ``stat`` says of it now; as it is if there is no such file."""
        if self.path is None or self.size is None:
            return self
        try:
            status = os.stat(self.path)
        except OSError:
            return self
        if (status.st_size, status.st_mtime_ns) == (self.size, self.mtime_ns):
            return self
        return replace(self, size=status.st_size, mtime_ns=status.st_mtime_ns)


@dataclass
class Plan:
    """The inputs in order, in under 200 bytes each, and what was left out.

    Names lie end to end in one buffer, numbers in arrays: a million inputs are about 100 MB.
    """

    ignored: Counter[str] = field(default_factory=Counter)
    """Files in folders that are no inputs, counted by extension."""
    shard: Shard | None = None
    """Which part of the whole list these inputs are."""
    inputs_digest: str = ""
    """Of the whole list, if this is a shard of it."""
    expansion: float | None = None
    """Bytes of float32 that a byte of an input becomes, if it is no audio."""
    raw: RawFormat | None = None
    """How standard input is to be read, if it has no header."""
    _roots: list[bytes] = field(default_factory=list)
    _names: bytearray = field(default_factory=bytearray)
    _ends: array[int] = field(default_factory=lambda: array("Q"))
    _root_of: array[int] = field(default_factory=lambda: array("L"))
    _sizes: array[int] = field(default_factory=lambda: array("q"))
    _mtimes: array[int] = field(default_factory=lambda: array("q"))
    _positions: array[int] = field(default_factory=lambda: array("q"))
    _excerpts: Excerpts | None = None

    def __len__(self) -> int:
        return len(self._ends)

    def __getitem__(self, index: int) -> PlannedInput:
        root, name = self._roots[self._root_of[index]], self._name(index)
        size, mtime_ns = self._sizes[index], self._mtimes[index]
        return PlannedInput(
            id=self.id(index),
            path=None if root == _STDIN_ROOT else root + name,
            size=None if size < 0 else size,
            mtime_ns=None if mtime_ns < 0 else mtime_ns,
            excerpt=self._excerpt(index),
            raw=self.raw if root == _STDIN_ROOT else None,
        )

    def __iter__(self) -> Iterator[PlannedInput]:
        return (self[index] for index in range(len(self)))

    def _excerpt(self, index: int) -> Excerpt | None:
        if self._excerpts is None or (part := self._excerpts.part(index)) is None:
            return None
        return Excerpt(item_id(self._name(index)), *part)

    def id(self, index: int) -> str:
        """The id of one input."""
        if self._excerpts is not None and (name := self._excerpts.id(index)):
            return name
        # The name of a folder that could not be walked ends in a slash; no id does.
        return item_id(self._name(index).removesuffix(b"/"))

    def ids(self) -> Iterator[str]:
        """The ids, in order."""
        return (self.id(index) for index in range(len(self)))

    def finder(self) -> Callable[[str], int | None]:
        """A function from an id to its position, or None. It keeps 16 bytes an input.

        Quickest where ids are asked for in the order of the plan, as they mostly are.
        """
        import numpy as np

        hashes = np.fromiter(map(hash, self.ids()), np.int64, len(self))
        order = np.argsort(hashes, kind="stable")
        ranked = hashes[order]
        following = 0

        def find(name: str) -> int | None:
            nonlocal following
            if following < len(self) and self.id(following) == name:
                following += 1
                return following - 1
            index = search(name)
            following = 0 if index is None else index + 1
            return index

        def search(name: str) -> int | None:
            place = int(ranked.searchsorted(hash(name)))
            while place < len(ranked) and ranked[place] == hash(name):
                if self.id(int(order[place])) == name:
                    return int(order[place])
                place += 1
            return None

        return find

    def is_as(self, index: int, outcome: Outcome) -> bool:
        """Whether an input is known to have the size and time of an outcome, and is that part."""
        planned = self._mtimes[index]
        is_in_time = outcome.source_mtime_ns == (None if planned < 0 else planned)
        size = self._sizes[index]
        if not is_in_time or size < 0 or size != outcome.source_size:
            return False
        return self._excerpt(index) == outcome.excerpt

    def size(self, index: int) -> int:
        """Bytes of the input's file; 0 if unknown."""
        return max(0, self._sizes[index])

    def extension(self, index: int) -> str:
        """The extension of the input's file, lower case, with its dot."""
        return _extension(self._name(index))

    def decoded_bytes(self, index: int) -> int:
        """A rough guess at the float32 numbers that an input becomes, for budgets."""
        size = self.size(index)
        if self.expansion is not None:
            return int(size * self.expansion)
        n_bytes = decoded_bytes(size, self.extension(index))
        if self._excerpts is None or (part := self._excerpts.part(index)) is None:
            return n_bytes
        start, end, _ = part
        return n_bytes if end == math.inf else min(n_bytes, int((end - start) * _EXCERPT_BYTES))

    def total_bytes(self) -> int:
        """Bytes of the files of all inputs; a file counts as often as there are parts of it."""
        return sum(max(0, size) for size in self._sizes)

    def file_bytes(self) -> int:
        """Bytes of all files, each counted once."""
        if self._excerpts is None:
            return self.total_bytes()
        files = {
            (self._root_of[index], self._name(index)): self.size(index)
            for index in range(len(self))
        }
        return sum(files.values())

    def chooses_channels(self) -> bool:
        """Whether some inputs are a channel that a table named."""
        parts = map(self._excerpts.part, range(len(self))) if self._excerpts else ()
        return any(part is not None and part[2] >= 0 for part in parts)

    def positions(self) -> Iterator[int] | None:
        """Of each input in the whole list, if this is a shard of it."""
        return None if self.shard is None else iter(self._positions)

    def part(self, shard: Shard) -> Plan:
        """One shard of the inputs; it may have none."""
        part = Plan(self.ignored, shard, digest_of(self.ids()), self.expansion, self.raw)
        part._roots = self._roots
        for index, name in enumerate(self.ids()):
            if shard.holds(name):
                part._names += self._name(index)
                part._ends.append(len(part._names))
                part._root_of.append(self._root_of[index])
                part._sizes.append(self._sizes[index])
                part._mtimes.append(self._mtimes[index])
                part._positions.append(index)
                if self._excerpts is not None:
                    part._add_excerpt(self._excerpts.id(index), self._excerpts.part(index))
        return part

    def root(self, prefix: bytes) -> int:
        """Register what stands before a run of names; its number is passed to :meth:`add`."""
        if not self._roots or self._roots[-1] != prefix:
            self._roots.append(prefix)
        return len(self._roots) - 1

    def add(self, root: int, name: bytes, status: os.stat_result | None) -> None:
        """Append an input."""
        self._names += name
        self._ends.append(len(self._names))
        self._root_of.append(root)
        self._sizes.append(-1 if status is None else status.st_size)
        self._mtimes.append(-1 if status is None else status.st_mtime_ns)

    def remove_last(self) -> None:
        """Take the last input back."""
        for column in (self._ends, self._root_of, self._sizes, self._mtimes):
            column.pop()
        del self._names[self._ends[-1] if self._ends else 0 :]
        if self._excerpts is not None:
            self._excerpts.cut(len(self))

    def add_listed(
        self, root: int, name: bytes, status: os.stat_result | None, listed: Listed
    ) -> None:
        """Append an input of a list: a file, or a part of one."""
        self.add(root, name, status)
        if not listed.is_plain:
            part = (listed.start, listed.end, listed.channel)
            found = Excerpt(item_id(name), *part)
            self._add_excerpt(listed.id or f"{found.recording}{found}", part)

    def _add_excerpt(self, name: str, part: tuple[float, float, int] | None) -> None:
        """Say of the last input how it is called, and what part of its recording it is."""
        if part is not None:
            if self._excerpts is None:
                self._excerpts = Excerpts()
            self._excerpts.add(len(self) - 1, name, part)

    def add_stretch(
        self, name: bytes, n_bytes: int, mtime_ns: int, position: int | None = None
    ) -> None:
        """Append an input that is no file of its own, but a stretch of an output.

        Args:
            name: Its id.
            n_bytes: Of its rows.
            mtime_ns: When it was made.
            position: Of a shard: its place in the whole list, -1 if it is not there.
        """
        self.add(self.root(_STDIN_ROOT), name, None)
        self._sizes[-1], self._mtimes[-1] = n_bytes, mtime_ns
        if position is not None:
            self._positions.append(position)

    def _name(self, index: int) -> bytes:
        start = self._ends[index - 1] if index else 0
        return bytes(self._names[start : self._ends[index]])


def make_plan(
    selection: Selection, *, stores_by: Callable[[str], str] | None = None, splits: bool = False
) -> Plan:
    """Find the inputs.

    Args:
        selection: Which audio.
        stores_by: Where an id is stored, for outputs that turn ids into paths. Checked for
            collisions like the ids themselves.
        splits: An input may become several items, whose ids end in ``#0`` or ``@0``.

    Raises:
        NoInputError: If there is none.
        UsageError: If two ids, or two paths they are stored under, are equal, equal but for case,
            or one inside the other; or if standard input is asked for two things.
    """
    plan = Plan(raw=selection.raw)
    _check_streams(selection)
    cwd, root = os.getcwdb(), os.path.abspath(os.fsencode(selection.root))
    missing = []
    status_of = functools.lru_cache(maxsize=1)(_status)  # a file's parts mostly stand together
    for listed in _given(selection, plan.ignored):
        path = listed.path
        if path == _STDIN_ROOT:
            plan.add(plan.root(_STDIN_ROOT), STDIN_ID.encode(), None)
            continue
        status = status_of(path)
        if status is None:
            missing.append(path)
        if status is not None and stat.S_ISDIR(status.st_mode):
            if not listed.is_plain:
                raise UsageError(
                    "is a folder, and has no parts or channels", printable(path), "name its files"
                )
            _walk(plan, path, selection)
            continue
        prefix, name = _named(path, cwd, root)
        plan.add_listed(plan.root(prefix), name, status, listed)
        if not selection.is_all and not _selected(plan.id(len(plan) - 1), selection):
            plan.remove_last()
            plan.ignored["excluded"] += 1
    if len(plan) == len(missing):
        raise _nothing_found(plan, missing, selection)
    _refuse_collisions(plan, plan.id, "inputs with one id", _RENAME, splits=splits)
    if stores_by is not None:
        stored = stores_by
        what = "inputs stored as one file"
        _refuse_collisions(plan, lambda i: stored(plan.id(i)), what, _SEPARATE, splits=False)
    return plan if selection.shard is None else plan.part(selection.shard)


_RENAME = "rename one of them, name the folder above both, or make two outputs"
_SEPARATE = "write to an .h5 file, which keeps whole names, or make two outputs"


def _check_streams(selection: Selection) -> None:
    """Refuse options that do not fit together.

    Raises:
        UsageError: Standard input is asked for two things, or what is said of it is of no use.
    """
    has_audio = "-" in map(str, selection.paths)
    if has_audio and selection.files_from == "-":
        raise UsageError(
            "standard input cannot be both the audio and the list of names",
            None,
            "give the names in a file: --files-from list.txt",
        )
    if selection.raw is not None and not has_audio:
        raise UsageError(
            "--raw says how standard input is coded, and that is no input",
            None,
            "name it: -; a file gets a header with: sox -t raw OPTIONS in.raw out.wav",
        )
    if selection.files_from is None:
        is_table = selection.files_format not in {None, "names"}
        for option, is_given in (("--segments", selection.segments), ("--files-format", is_table)):
            if is_given:
                raise UsageError(f"{option} goes with a list", None, "name it: --files-from LIST")


def _given(selection: Selection, ignored: Counter[str]) -> Iterator[Listed]:
    for path in selection.paths:
        yield Listed(os.fsencode(path))
    if selection.files_from is not None:
        yield from read_list(
            selection.files_from,
            null=selection.null,
            list_format=selection.files_format,
            segments=selection.segments,
            ignored=ignored,
        )


def _status(path: bytes) -> os.stat_result | None:
    try:
        return os.stat(path)
    except (OSError, ValueError):
        return None


def _named(path: bytes, cwd: bytes, root: bytes) -> tuple[bytes, bytes]:
    """Split the path of a file given by name into what its id leaves out, and its id."""
    whole = os.path.normpath(os.path.join(cwd, path))
    inside = root if root.endswith(b"/") else root + b"/"
    if not whole.startswith(inside):
        return b"/", whole.lstrip(b"/")
    # Inside the working folder, messages show the path as short as it was typed.
    return (b"" if root == cwd else inside), whole[len(inside) :]


def _walk(plan: Plan, folder: bytes, selection: Selection) -> None:
    """Add a folder's audio in the byte order of whole paths, following each link once."""
    prefix = folder if folder.endswith(b"/") else folder + b"/"
    root = plan.root(prefix)
    entered = {_identity(os.stat(folder))}
    # Depth first, with a list for a stack: folders may be nested deeper than Python may recurse.
    stack = [iter(_entries(plan, root, prefix, b""))]
    while stack:
        entry = next(stack[-1], None)
        if entry is None:
            stack.pop()
            continue
        name, is_folder, is_link = entry
        if is_folder:
            if is_link:
                identity = _identity(os.stat(prefix + name))
                if identity in entered:
                    plan.ignored["link to a folder walked already"] += 1
                    continue
                entered.add(identity)
            else:
                entered.add(_identity(os.stat(prefix + name, follow_symlinks=False)))
            stack.append(iter(_entries(plan, root, prefix, name + b"/")))
        else:
            _add_found(plan, root, prefix, name, selection)


def _entries(plan: Plan, root: int, prefix: bytes, inside: bytes) -> list[tuple[bytes, bool, bool]]:
    """What a folder holds: (relative path, is a folder, is a link), sorted as whole paths sort."""
    found = []
    try:
        with os.scandir(prefix + inside or b".") as entries:
            for entry in entries:
                if entry.name.startswith(b"."):
                    plan.ignored["hidden"] += 1
                    continue
                try:
                    is_folder = entry.is_dir()
                except OSError:
                    is_folder = False
                found.append((inside + entry.name, is_folder, entry.is_symlink()))
    except OSError:
        if inside:
            plan.add(root, inside, None)  # fails with its cause when its turn comes
        else:
            above, _, name = os.path.abspath(prefix).rpartition(b"/")
            plan.add(plan.root(above + b"/"), name + b"/", None)
    return sorted(found, key=lambda entry: entry[0] + (b"/" if entry[1] else b""))


def _add_found(plan: Plan, root: int, prefix: bytes, name: bytes, selection: Selection) -> None:
    extension = _extension(name)
    if extension not in selection.extensions:
        plan.ignored[extension or "no extension"] += 1
    elif not _selected(item_id(name), selection):
        plan.ignored["excluded"] += 1
    else:
        try:
            status = os.stat(prefix + name)
        except OSError:
            status = None
        plan.add(root, name, status)


def _selected(name: str, selection: Selection) -> bool:
    if selection.ids is not None and name not in selection.ids:
        return False
    if selection.include and not any(_matches(name, glob) for glob in selection.include):
        return False
    return not any(_matches(name, glob) for glob in selection.exclude)


def _matches(name: str, glob: str) -> bool:
    """A glob with a slash is for the whole id, one without for any part of it."""
    if "/" in glob:
        return fnmatch.fnmatchcase(name, glob)
    return any(fnmatch.fnmatchcase(part, glob) for part in name.split("/"))


def _extension(name: bytes) -> str:
    return os.path.splitext(name)[1].decode(errors="replace").lower()


def _identity(status: os.stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino


def _refuse_collisions(
    plan: Plan, name_at: Callable[[int], str], what: str, remedy: str, *, splits: bool
) -> None:
    """Refuse names that are equal, equal but for case, or one a folder of the other.

    Only hashes are kept, 16 bytes a name; names are compared again where hashes are equal.
    """
    import numpy as np

    n_names = len(plan)
    hashes = np.fromiter((hash(name_at(i).casefold()) for i in range(n_names)), np.int64, n_names)
    order = np.argsort(hashes, kind="stable")
    ranked = hashes[order]

    def collision(first: int, second: int) -> UsageError:
        names = f"{plan[first].name} and {plan[second].name}"
        return UsageError(f"two {what}: {names}", None, remedy)

    def refuse(index: int, folded: str) -> None:
        """Raise if some input is called ``folded``."""
        place = int(np.searchsorted(ranked, hash(folded)))
        if place < n_names and ranked[place] == hash(folded):
            other = int(order[place])
            if name_at(other).casefold() == folded:
                raise collision(other, index)

    for position in np.flatnonzero(ranked[1:] == ranked[:-1]):
        first, second = int(order[position]), int(order[position + 1])
        if name_at(first).casefold() == name_at(second).casefold():
            raise collision(first, second)
    seen = ""  # the folder of the name before: neighbours mostly share it
    for index in range(n_names):
        name = name_at(index)
        if splits and (split := _SPLIT_NAME.fullmatch(name)):
            refuse(index, split[1].casefold())
        folder = innermost = name.rpartition("/")[0]
        while folder and folder != seen and not seen.startswith(folder + "/"):
            refuse(index, folder.casefold())
            folder = folder.rpartition("/")[0]
        seen = innermost


def _nothing_found(plan: Plan, missing: list[bytes], selection: Selection) -> NoInputError:
    if missing:
        names = ", ".join(map(printable, missing[:3])) + (", ..." if len(missing) > 3 else "")
        return NoInputError(f"there is no such file or folder: {names}", None, "check the name")
    if plan.ignored:
        kinds = ", ".join(f"{count} {kind}" for kind, count in plan.ignored.most_common(5))
        remedy = "name a file directly to have it tried, whatever its extension"
        return NoInputError(f"no audio was found; left out: {kinds}", None, remedy)
    given = [str(path) for path in selection.paths] or [selection.files_from or "the list"]
    return NoInputError(
        f"no audio was found: {given[0]} is empty", None, "give a folder or files of audio"
    )
