"""Mels as inputs: a finished output, ``.npy`` files, or one ``.npy`` on standard input."""

from __future__ import annotations

import itertools
import math
import os
import shutil
import stat
import sys
import tempfile
from abc import ABC, abstractmethod
from array import array
from dataclasses import dataclass, replace
from typing import IO, TYPE_CHECKING, Final, Literal, cast

import numpy as np
import torch

from melcli import frames, store
from melcli.config import MelConfig
from melcli.dsp.rows import Rows
from melcli.errors import FeatureError, NoInputError, StoreError, UsageError
from melcli.pipeline.plan import Plan, make_plan
from melcli.pipeline.run import scaler_settings
from melcli.store.compare import check_holds_mels, config_differences
from melcli.store.npy import Names
from melcli.store.records import Done, Item

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from melcli.dsp.rows import ReadRows
    from melcli.pipeline.plan import PlannedInput, Selection
    from melcli.statistics.normalize import Normalization
    from melcli.store.protocols import Reader
    from melcli.store.records import Array, Failed, Outcome

NPY: Final = frozenset({".npy"})
_AGAIN: Final = "melcli verify names every fault of the output; extract --overwrite makes it anew"
_STEP_BYTES: Final = 4 << 20


@dataclass(frozen=True)
class FoundMel:
    """The mel of one item.

    Args:
        item: What is known of it. Its rows are those of the mel.
        rows: As the front end gave them.
        n_samples: That it was made from, at the front end's rate; None if that is not known.
    """

    item: Item
    rows: Rows
    n_samples: int | None


class Features(ABC):
    """Mels of one front end, planned as the inputs of a run.

    Attributes:
        config: The front end.
        scaler: What the rows were normalised by.
        settings: What else made them what they are.
        plan: An input for each recording that they were made from.
        notes: What is noted of some of them already.
    """

    config: MelConfig
    scaler: Normalization | None = None
    settings: Mapping[str, str]
    plan: Plan
    notes: frozenset[str] = frozenset()

    @abstractmethod
    def mels(self, index: int) -> list[FoundMel]:
        """The items of an input.

        Raises:
            FeatureError: They are damaged, or are no mel of this front end.
        """

    def close(self) -> None:  # noqa: B027, most hold nothing open
        """Close what is open."""


class OutputFeatures(Features):
    """A finished output of `extract`.

    Args:
        path: An ``.h5`` file, or a folder.
        selection: Which of its inputs; those that are its paths do not count here.
        config: The front end that it is expected to be of; None takes any.

    Raises:
        StoreError: It cannot be read, holds no mels, or is of another front end.
        NoInputError: Nothing of it is selected.
    """

    def __init__(self, path: Path, selection: Selection, config: MelConfig | None) -> None:
        self._path, self._pid = path, os.getpid()
        reader = self._reader = store.open_reader(path)
        self._failures, self._next_failure = reader.failures(), 0
        try:
            header = reader.header
            check_holds_mels(reader)
            self.config = MelConfig.from_toml(header.config, str(path))
            self._check_front_end(config)
            self.scaler, self.settings = header.scaler, header.settings
            self._first, self._n_items = array("q"), array("q")
            self.plan = self._planned(reader, selection)
        except BaseException:
            reader.close()
            raise

    def _check_front_end(self, config: MelConfig | None) -> None:
        if config is None or config.digest == self.config.digest:
            return
        lines = config_differences(self.config.to_toml(), config.to_toml())
        raise StoreError(
            "was made by another front end:" + "".join(f"\n  {line}" for line in lines),
            self._path,
            "leave out --config: an output knows its own",
        )

    def _planned(self, reader: Reader, selection: Selection) -> Plan:
        header = reader.header
        if header.shard is not None and selection.shard is not None:
            raise UsageError(f"is shard {header.shard} already", self._path, "leave out --shard")
        self._of: array[int] | None = None
        width = math.prod(header.row_shape)
        plan = Plan(shard=header.shard, inputs_digest=header.inputs_digest)
        plan.expansion = (
            4 * self.config.n_freqs / (header.row_bytes / width * self.config.mel.n_mels)
        )
        now = _mtime_ns(self._path)
        position, n_failed, notes = 0, 0, set[str]()
        for place, outcome in _outcomes(reader):
            items = outcome.items if isinstance(outcome, Done) else ()
            first, position = position, position + len(items)
            if not items:
                first, n_failed = n_failed, n_failed + 1
            if not selection.holds(outcome.id):
                plan.ignored["excluded"] += 1
                continue
            n_bytes = sum(item.n_rows for item in items) * header.row_bytes
            mtime_ns = now if outcome.source_mtime_ns is None else outcome.source_mtime_ns
            plan.add_stretch(outcome.id.encode(), n_bytes, mtime_ns, place)
            self._first.append(first)
            self._n_items.append(len(items))
            notes.update(note for item in items for note in item.notes)
        self.notes = frozenset(notes)
        if not len(plan) and header.shard is None:
            raise NoInputError("nothing of it is left to invert", self._path, "check --include")
        if selection.shard is None:
            return plan
        part = plan.part(selection.shard)
        self._of = array("q", part.positions() or ())
        return part

    def _open(self) -> Reader:
        # An HDF5 handle that was opened before a fork gives wrong data after it.
        if self._pid != os.getpid():
            self._reader, self._pid = store.open_reader(self._path), os.getpid()
            self._failures, self._next_failure = self._reader.failures(), 0
        return self._reader

    def mels(self, index: int) -> list[FoundMel]:
        """The items of an input, once all of them are known to be as they were written."""
        reader, index = self._open(), index if self._of is None else self._of[index]
        first, found = self._first[index], []
        if not self._n_items[index]:
            failed = self._failure(reader, first)
            cause = f"could not be extracted: {failed.cause}"
            raise FeatureError(cause, self._path, failed.remedy)
        for position in range(first, first + self._n_items[index]):
            if fault := reader.fault(position):
                raise FeatureError(fault, self._path, _AGAIN)
            start = int(reader.items["start"][position])
            [item] = reader.some_items(position, position + 1)
            rows = Rows(item.n_rows, _reading(reader.rows, start))
            found.append(FoundMel(item, rows, self._n_samples(item)))
        return found

    def _failure(self, reader: Reader, number: int) -> Failed:
        """One of the inputs that failed, quickest where they are asked for in order."""
        if number < self._next_failure:
            self._failures, self._next_failure = reader.failures(), 0
        n_skipped, self._next_failure = number - self._next_failure, number + 1
        return next(itertools.islice(self._failures, n_skipped, None))

    def _n_samples(self, item: Item) -> int | None:
        """Samples at the front end's rate, if they are known to the last one."""
        exact = item.n_samples * self.config.wave.sample_rate / item.sample_rate
        # Nobody says how a resampler rounds: what gives as many rows as there are will do.
        for n_samples in (round(exact), math.floor(exact), math.ceil(exact)):
            if frames.n_rows(self.config, n_samples) == item.n_rows:
                return n_samples
        return None

    def close(self) -> None:
        """Close the output."""
        if self._pid == os.getpid():
            self._reader.close()


class FileFeatures(Features):
    """``.npy`` files, each a mel in the layout of the front end.

    Args:
        selection: Files, folders of them, or ``-``.
        config: The front end that they are of.
        scaler: What they were normalised by.

    Raises:
        NoInputError: There is none.
        UsageError: Two have one id.
    """

    def __init__(
        self, selection: Selection, config: MelConfig, scaler: Normalization | None = None
    ) -> None:
        self.config, self.scaler = config, scaler
        self.settings = {"channels": str(config.wave.channels), "long": "any length"}
        if scaler is not None:
            self.settings |= scaler_settings(scaler)
        self.plan = make_plan(replace(selection, extensions=NPY))
        self.plan.expansion = config.n_freqs / config.mel.n_mels
        self._stdin: IO[bytes] | None = None
        if any(planned.path is None for planned in self.plan):
            self._stdin = _spooled_stdin()

    def mels(self, index: int) -> list[FoundMel]:
        """The mel of a file."""
        planned = self.plan[index]
        stored = self._mapped(planned)
        rows = self._rows(stored, planned.name)
        self._check(rows, planned.name)
        hop, rate = self.config.frame.hop_length, self.config.wave.sample_rate
        item = Item(planned.id, len(rows), len(rows) * hop, rate, 1, -1, ())
        return [FoundMel(item, Rows(len(rows), _reading(lambda i, j: rows[i:j])), None)]

    def close(self) -> None:
        """Forget what came on standard input."""
        if self._stdin is not None:
            self._stdin.close()

    def _mapped(self, planned: PlannedInput) -> Array:
        try:
            if planned.path is None:
                return _load(cast("IO[bytes]", self._stdin))
            if not stat.S_ISREG(os.stat(planned.path).st_mode):  # noqa: PTH116, a name of bytes
                raise FeatureError("is no regular file", planned.name)  # noqa: TRY301, short
            with open(planned.path, "rb") as file:  # noqa: PTH123, likewise
                return _load(file)
        except OSError as error:
            raise FeatureError(f"cannot be read: {error.strerror}", planned.name) from error
        except FeatureError:
            raise
        except (ValueError, EOFError, TypeError, SyntaxError) as error:
            raise FeatureError(f"is no .npy file: {error}", planned.name) from error

    def _rows(self, stored: Array, name: str) -> Array:
        """The array with its rows first."""
        if stored.dtype.kind != "f":
            raise FeatureError(f"holds {stored.dtype}, and no floating-point numbers", name)
        shape, layout = self.config.row_shape, self.config.out.layout
        by_layout = {
            "mel_time": np.moveaxis(stored, -1, 0) if stored.ndim else stored,
            "time_mel": stored,
        }
        rows = by_layout.pop(layout)
        if rows.shape[1:] == shape and stored.ndim:
            if not len(rows):
                raise FeatureError("holds no frames", name, "leave it out with --exclude")
            return rows
        [(other, turned)] = by_layout.items()
        told = " x ".join(map(str, stored.shape)) or "a single number"
        width = " x ".join(map(str, shape))
        wanted = f"{width} x n" if layout == "mel_time" else f"n x {width}"
        fits = stored.ndim and turned.shape[1:] == shape
        remedy = f"--set out.layout={other}" if fits else "give the --config that made it"
        raise FeatureError(f"is {told}, and this front end makes {wanted}", name, remedy)

    def _check(self, rows: Array, name: str) -> None:
        step = max(1, _STEP_BYTES // max(1, rows[:1].nbytes))
        for at in range(0, len(rows), step):
            if not np.isfinite(rows[at : at + step]).all():
                raise FeatureError("holds NaN or infinite numbers", name, "look at what made it")


def _reading(read: Callable[[int, int], Array], first: int = 0) -> ReadRows:
    """Rows of an item, counted from its first, as tensors that torch can compute with."""

    def read_rows(start: int, stop: int) -> torch.Tensor:
        rows = read(first + start, first + stop)
        wide = np.float64 if rows.dtype.itemsize > 4 else np.float32
        return torch.from_numpy(np.array(rows, wide, order="C"))  # a file may not be written to

    return read_rows


def _outcomes(reader: Reader) -> Iterator[tuple[int | None, Outcome]]:
    """Every input, and of a shard its place in the whole list."""
    if reader.header.shard is None:
        yield from ((None, outcome) for outcome in reader.outcomes())
    else:
        yield from ((place, outcome) for place, outcome, _ in reader.placed())


def _mtime_ns(path: Path) -> int:
    settings = path / Names.of(None).settings
    return (settings if path.is_dir() else path).stat().st_mtime_ns


def _spooled_stdin() -> IO[bytes]:
    """Standard input in a file without a name: a pipe can be read once, and not by seeking."""
    file: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115, as long as the run
    shutil.copyfileobj(sys.stdin.buffer, file)
    file.flush()
    return file


def _load(file: IO[bytes]) -> Array:
    """The array of an open ``.npy``, where it lies.

    Raises:
        ValueError: It is none.
    """
    file.seek(0)
    version = np.lib.format.read_magic(file)
    read = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }
    if version not in read:
        raise ValueError(f"version {version} of the format")
    shape, is_fortran, dtype = read[version](file)
    if dtype.hasobject:
        raise ValueError("it holds Python objects")
    order: Literal["C", "F"] = "F" if is_fortran else "C"
    return np.memmap(file, dtype, "r", file.tell(), shape, order)
