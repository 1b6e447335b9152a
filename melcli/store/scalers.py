"""Scalers on disk: ``.npz`` and ``.h5`` hold all of them, ``.npy`` a mean and a deviation.

A scaler is a few thousand numbers, so it is made in memory and put in the place of what was there
at once. ``.npz`` and ``.h5`` have the same names in them; three lines of NumPy are enough::

    s = np.load("s.npz")
    y = (x - s["mean"]) / s["std"]

What is read is believed only once it was checked: how large it is before it is read, what it says
afterwards. Nothing is ever unpickled.
"""

from __future__ import annotations

import io
import math
import os
import re
import secrets
import stat
import struct
import sys
import warnings
import zipfile
import zlib
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Final, cast

import numpy as np

from melcli.errors import MelcliError, ScalerError, UsageError
from melcli.statistics.counts import Counts
from melcli.statistics.fitted import WEIGHTS, Statistics, Weight
from melcli.statistics.moments import Float64s, Moments
from melcli.store import disk
from melcli.store.arrays import (
    GROUP,
    TEXT,
    Field,
    NumpyArray,
    Record,
    hdf5_bytes,
    hdf5_fields,
    in_memory,
    npy_bytes,
    npy_head,
    npz_bytes,
    npz_fields,
)
from melcli.store.records import printable

if sys.platform != "win32":
    import fcntl

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

FORMAT, FORMAT_VERSION = "melcli scaler", 1
WHOLE_SUFFIXES: Final = (".h5", ".hdf5", ".npz")
SUFFIXES: Final = (*WHOLE_SUFFIXES, ".npy")

_VECTORS: Final = {
    "mean": "<f8",
    "std": "<f8",
    "min": "<f8",
    "max": "<f8",
    "m2": "<f8",
    "mean_low": "<f8",
    "m2_low": "<f8",
    "at_floor": "<i8",
}
_HISTOGRAM: Final = {"histogram_bin": "<i4", "histogram_value": "<f4", "histogram_count": "<i8"}
_MADE: Final = "made_"
_MADE_KEY: Final = re.compile(r"[A-Za-z0-9_.-]{1,64}", re.ASCII)
_REMEDY: Final = "restore it from a copy, or fit it again with melcli fit-scaler"

_MOST_BYTES: Final = 1 << 28
_MOST_BINS: Final = 1 << 20
_MOST_VALUES: Final = 1 << 23
_MOST_CHARACTERS: Final = 1 << 22
_MOST_FRAMES: Final = 1 << 47
"""So that the counts of a bin cannot add up to more than 64 bits hold."""


def read(path: Path) -> Statistics:
    """Read a scaler, by the ending of its name.

    Raises:
        UsageError: The name ends otherwise.
        ScalerError: It is not there, is no scaler, or is damaged.
    """
    check_suffix(path, SUFFIXES)
    data = read_bytes(path)
    with damage(path):
        if path.suffix.lower() == ".npy":
            return _export(data)
        if path.suffix.lower() == ".npz":
            return _whole(npz_fields(data), path)
        with hdf5_fields(data) as fields:
            return _whole(fields, path)


def write(statistics: Statistics, path: Path) -> None:
    """Write a scaler, by the ending of its name. What was there is there until it is complete.

    Raises:
        UsageError: The name ends otherwise.
        ScalerError: It could not be read back: it is of no frames, or of more than files hold.
        DeviceError: The disk is full, or does not work.
    """
    check_suffix(path, SUFFIXES)
    with np.errstate(over="ignore", invalid="ignore"):
        record = _record(statistics)
    try:
        _whole({name: in_memory(value) for name, value in record.items()}, path)
    except (ValueError, LookupError) as error:
        if isinstance(error, MelcliError):
            raise
        raise ScalerError(f"cannot be written: {error}", path) from error
    if path.suffix.lower() == ".npy":
        check_not_empty(statistics, path)
        vectors = [statistics.moments.mean, statistics.moments.std]
        replace_file(path, npy_bytes(np.stack(vectors)))
    else:
        replace_file(path, (npz_bytes if path.suffix.lower() == ".npz" else hdf5_bytes)(record))


def check_not_empty(statistics: Statistics, path: Path) -> None:
    """Refuse to export a mean and a deviation of nothing.

    Raises:
        ScalerError: It is of no frame.
    """
    if not statistics.moments.weight:
        raise ScalerError("cannot be written: it is of no frame at all", path, "choose .npz or .h5")


def to_bytes(statistics: Statistics) -> bytes:
    """Give a scaler as the bytes of an ``.npz``."""
    return npz_bytes(_record(statistics))


def from_bytes(data: bytes, path: Path) -> Statistics:
    """Read what `to_bytes` gave; ``path`` is where it comes from.

    Raises:
        ScalerError: It is damaged.
    """
    with damage(path):
        return _whole(npz_fields(data), path)


def is_scaler(path: Path) -> bool:
    """Tell whether an ``.h5`` file says that it is a scaler. It is not read any further."""
    try:
        data = read_bytes(path)
        with damage(path), hdf5_fields(data) as fields:
            return "format" in fields and _text(fields, "format") == FORMAT
    except ScalerError:
        return False


def check_suffix(path: Path, suffixes: tuple[str, ...]) -> None:
    """Refuse a name that does not end like a scaler's.

    Raises:
        UsageError: It does not.
    """
    if path.suffix.lower() not in suffixes:
        raise UsageError(
            "is no name of a scaler",
            path,
            "let it end in .h5 or .npz, which hold everything, or in .npy or .pt",
        )


def read_bytes(path: Path) -> bytes:
    """Read a whole file that is no larger than a scaler can be.

    Raises:
        ScalerError: It is not there, is larger, or is no file.
    """
    with opened(path) as (file, n_bytes), damage(path):
        if n_bytes > _MOST_BYTES:
            raise ScalerError(
                f"is no scaler: it is larger than any, {n_bytes:,} bytes",
                path,
                "melcli fit-scaler makes one of an output of melcli extract",
            )
        return file.read(n_bytes)


@contextmanager
def opened(path: Path) -> Iterator[tuple[BinaryIO, int]]:
    """Open a regular file, and tell how long it is.

    Raises:
        ScalerError: It is not there, is no file, or cannot be read.
    """
    try:
        # Without waiting for the other end of a pipe.
        fd = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        raise _unreadable(path, error) from error
    try:
        found = os.fstat(fd)
        if not stat.S_ISREG(found.st_mode):
            raise ScalerError("is no file", path, "give an .h5, .npz, .npy or .pt file")
        with open(fd, "rb", closefd=False) as file:
            yield file, found.st_size
    finally:
        os.close(fd)


def _unreadable(path: Path, error: OSError | ValueError) -> ScalerError:
    if isinstance(error, FileNotFoundError):
        return ScalerError("is not there", path, "check the name; melcli fit-scaler makes one")
    cause = getattr(error, "strerror", None) or str(error)
    return ScalerError(f"cannot be read: {cause.lower()}", path, "check its name and permissions")


def replace_file(path: Path, data: bytes) -> None:
    """Put a file in the place of what was there, at once: a crash leaves the one or the other.

    Raises:
        ScalerError: A folder or a device is there.
        DeviceError: The disk is full, or does not work.
    """
    with disk.device_errors(path):
        if path.is_symlink():
            path = Path(os.path.realpath(path))  # or the file would take the place of the link
        if path.exists() and not path.is_file():
            raise ScalerError("is no file", path, "choose another -o")
        disk.make_folder(path.parent)
        _remove_orphans(path)
        partial_path, fd = _own_file(path)
        try:
            try:
                disk.write_at(fd, data, 0)
                disk.sync_file(partial_path)
                disk.rename(partial_path, path)
            finally:
                os.close(fd)
        except BaseException:
            with suppress(OSError):
                disk.remove(partial_path)
            raise
        disk.sync_folder(path.parent)


def _own_file(path: Path) -> tuple[Path, int]:
    """Open a file beside ``path`` that nobody else writes to or removes, and give its name too."""
    while True:
        partial_path = path.with_name(f"{path.name}.{secrets.token_hex(4)}.partial")
        fd = disk.open_file(partial_path)
        if _lock(fd) is not False and partial_path.exists():
            return partial_path, fd
        os.close(fd)  # somebody took it for an orphan, or it is another's


def _remove_orphans(path: Path) -> None:
    """Remove what was begun beside ``path`` by a process that was killed: nobody locks it."""
    name = re.compile(re.escape(path.name) + r"\.[0-9a-f]{8}\.partial")
    for found in list(path.parent.iterdir()):
        if not name.fullmatch(found.name) or found.is_symlink():
            continue
        with suppress(OSError), found.open("rb") as file:
            if _lock(file.fileno()):
                disk.remove(found)


def _lock(fd: int) -> bool | None:
    """Lock an open file until it is closed: whether that could be done; None without locks."""
    if sys.platform == "win32":
        return None
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # a disk that knows no locks
        return None
    return True


@contextmanager
def damage(path: Path) -> Iterator[None]:
    """Say of anything that goes wrong while reading that the scaler is none, or damaged.

    Raises:
        ScalerError: In place of whatever the libraries raised.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # NumPy's on odd heads
            yield
    except MelcliError:
        raise
    except (
        *(OSError, EOFError, LookupError, ValueError, TypeError, AttributeError, RuntimeError),
        *(ArithmeticError, MemoryError, SyntaxError, AssertionError),
        *(zipfile.BadZipFile, zlib.error, struct.error),
    ) as error:
        fault = f"{error.args[0]} is missing" if isinstance(error, KeyError) else str(error)
        raise ScalerError(f"is no scaler, or a damaged one: {fault}", path, _REMEDY) from error


def _record(statistics: Statistics) -> Record:
    """All that a scaler is, by the names that it has in a file."""
    moments, counts = statistics.moments, statistics.counts
    vectors = {
        "mean": moments.mean,
        "std": moments.std,
        "min": moments.min,
        "max": moments.max,
        "m2": moments.m2,
        "mean_low": moments.mean_low,
        "m2_low": moments.m2_low,
        "at_floor": statistics.at_floor,
    }
    record: Record = {
        "format": FORMAT,
        "format_version": _number(FORMAT_VERSION),
        "count": _number(moments.count),
        "weight": statistics.weight,
        "total_weight": np.array(moments.weight, "<f8"),
        **{name: np.ascontiguousarray(vectors[name], dtype) for name, dtype in _VECTORS.items()},
        "n_items": _number(statistics.n_items),
        "n_failed": _number(statistics.n_failed),
        "config": printable(statistics.config),
        "config_digest": printable(statistics.config_digest),
        **{f"{_MADE}{key}": printable(text) for key, text in sorted(statistics.made.items())},
    }
    if counts is not None:
        columns = zip(_HISTOGRAM.items(), (counts.bins, counts.values, counts.counts), strict=True)
        record |= {name: np.ascontiguousarray(column, dtype) for (name, dtype), column in columns}
    return record | {"crc32": _number(_crc32(record))}


def _number(value: int) -> NumpyArray:
    return np.array(value, "<i8")


def _crc32(record: Mapping[str, str | NumpyArray]) -> int:
    """The checksum of all that a scaler is: HDF5 has none of its own."""
    crc = 0
    for name, value in sorted(record.items()):
        data = value.encode() if isinstance(value, str) else value.tobytes()
        crc = zlib.crc32(data, zlib.crc32(name.encode(), crc))
    return crc


def _whole(fields: Mapping[str, Field], path: Path) -> Statistics:
    """Read all that a scaler is, and refuse what none can be.

    Raises:
        ScalerError: It is something else, or newer.
        ValueError: It is damaged; so say other errors too, of the library that reads it.
    """
    _check_format(fields, path)
    bins = fields["mean"].shape
    if bins is None or len(bins) != 1 or not 1 <= bins[0] <= _MOST_BINS:
        raise ValueError(f"mean has shape {bins}")
    record: Record = {"format": FORMAT}
    for name in ("weight", "config", "config_digest", *_made(fields)):
        record[name] = _text(fields, name)
    for name in ("format_version", "count", "n_items", "n_failed"):
        record[name] = _numbers(fields, name, "<i8", ())
    record["total_weight"] = _numbers(fields, "total_weight", "<f8", ())
    for name, dtype in _VECTORS.items():
        record[name] = _numbers(fields, name, dtype, bins)
    if fields.keys() & _HISTOGRAM.keys():
        values = fields["histogram_value"].shape
        if values is None or len(values) != 1 or values[0] > _MOST_VALUES:
            raise ValueError(f"histogram_value has shape {values}, and {_MOST_VALUES:,} may be")
        for name, dtype in _HISTOGRAM.items():
            record[name] = _numbers(fields, name, dtype, values)
    statistics = _statistics(record)
    if _crc32(record) != _numbers(fields, "crc32", "<i8", ()):
        raise ValueError("its numbers are not those that were written: they have another checksum")
    return statistics


def _check_format(fields: Mapping[str, Field], path: Path) -> None:
    if "items" in fields and fields["items"].kind == GROUP:
        raise ScalerError(
            "is an output of melcli extract, and no scaler",
            path,
            f"melcli fit-scaler {path} -o scaler.h5 makes one of it",
        )
    if "format" not in fields or _text(fields, "format") != FORMAT:
        raise ScalerError(
            "is no scaler of melcli", path, "give one that melcli fit-scaler made, or a .npy or .pt"
        )
    version = int(_numbers(fields, "format_version", "<i8", ()))
    if version != FORMAT_VERSION:
        raise ScalerError(f"has format version {version}", path, "use a newer melcli")


def _made(fields: Mapping[str, Field]) -> Iterator[str]:
    for name in fields:
        if name.startswith(_MADE):
            if not _MADE_KEY.fullmatch(name.removeprefix(_MADE)):
                raise ValueError(f"{name!r} is no name of a text")
            yield name


def _text(fields: Mapping[str, Field], name: str) -> str:
    field = fields[name]
    if field.kind != TEXT or field.shape != () or field.size > _MOST_CHARACTERS:
        raise ValueError(f"{name} is no text")
    text = str(field.read())
    if len(text) > _MOST_CHARACTERS:
        raise ValueError(f"{name} is no text")
    text.encode()  # complains about what no terminal could show
    return text


def _numbers(
    fields: Mapping[str, Field], name: str, dtype: str, shape: tuple[int, ...]
) -> NumpyArray:
    field = fields[name]
    if field.kind != dtype or field.shape != shape:
        raise ValueError(f"{name} is {field.kind} of shape {field.shape}, not {dtype} of {shape}")
    return np.array(field.read(), dtype)  # a copy: what is read may belong to the file


def _statistics(record: Mapping[str, Any]) -> Statistics:
    """What a record says, where it can be.

    Raises:
        ValueError: It cannot.
    """
    moments = _moments(record)
    count, n_items, n_failed = moments.count, int(record["n_items"]), int(record["n_failed"])
    if record["weight"] not in WEIGHTS:
        raise ValueError(f"weight is {record['weight']!r}, none of {', '.join(WEIGHTS)}")
    if n_items < 0 or n_failed < 0:
        raise ValueError(f"{n_items} items, {n_failed} failed")
    at_floor = record["at_floor"]
    if (at_floor < 0).any() or (at_floor > count).any():
        raise ValueError("at_floor holds what no count of frames can be")
    return Statistics(
        moments=moments,
        at_floor=at_floor,
        counts=_counts(record, moments) if "histogram_value" in record else None,
        weight=cast("Weight", record["weight"]),
        n_items=n_items,
        n_failed=n_failed,
        config=record["config"],
        config_digest=record["config_digest"],
        made={
            name.removeprefix(_MADE): text
            for name, text in record.items()
            if name.startswith(_MADE)
        },
    )


def _moments(record: Mapping[str, Any]) -> Moments:
    count, weight = int(record["count"]), float(record["total_weight"])
    names = ("mean", "m2", "min", "max", "mean_low", "m2_low")
    vectors: list[Float64s] = [record[name] for name in names]
    moments = Moments(count, weight, *vectors)
    is_empty = count == weight == 0
    if not (is_empty or 0 < weight < math.inf) or not 0 <= count <= _MOST_FRAMES:
        raise ValueError(f"it is of {count} frames, which weigh {weight:g}")
    if is_empty:  # a shard that had nothing to do
        return Moments.none(len(moments.mean))
    for name in ("mean", "m2", "mean_low", "m2_low", *(("min", "max") if count else ())):
        if not np.isfinite(record[name]).all():
            raise ValueError(f"{name} holds NaN or infinite numbers")
    if (moments.m2 < 0).any():
        raise ValueError("m2 holds numbers below 0")
    # Of no frames at all, as from a .npy, the ends are not known.
    fits = moments.min <= moments.max if count else np.isnan(moments.min) & np.isnan(moments.max)
    if not fits.all():
        raise ValueError("min and max do not belong together")
    with np.errstate(over="ignore"):
        std = moments.std
    if not np.isfinite(std).all():
        raise ValueError("std is beyond float64")
    if not np.array_equal(record["std"], std):
        raise ValueError("std is not what follows from m2")
    return moments


def _counts(record: Mapping[str, Any], moments: Moments) -> Counts:
    n_bins, count = moments.n_bins, moments.count
    bins, values, counted = (record[name] for name in _HISTOGRAM)
    if ((bins < 0) | (bins >= n_bins)).any() or ((counted < 1) | (counted > count)).any():
        raise ValueError("the histogram holds bins or counts that cannot be")
    if not np.isfinite(values).all():
        raise ValueError("the histogram holds NaN or infinite values")
    counts = Counts.of_values(n_bins, bins, values, counted)
    if (counts.keys[1:] <= counts.keys[:-1]).any():
        raise ValueError("the values of the histogram do not rise")
    if counts.values.tobytes() != values.tobytes():
        raise ValueError("the histogram holds values that are no bfloat16")
    of_bins = np.zeros(n_bins, np.int64)
    np.add.at(of_bins, bins, counted)
    if (of_bins != count).any():
        raise ValueError(f"the histogram is not of {count} frames")
    return counts


def _export(data: bytes) -> Statistics:
    """Read mean and deviation: ``(2, n_bins)``."""
    file = io.BytesIO(data)
    dtype, shape, is_fortran = npy_head(file)
    is_ours = dtype.kind == "f" and dtype.itemsize in {4, 8} and len(shape) == 2 and shape[0] == 2
    if not is_ours or not 1 <= shape[1] <= _MOST_BINS:
        raise ValueError(f"{dtype} of shape {shape}, not mean and deviation: float64 of (2, bins)")
    numbers = data[file.tell() :]
    if len(numbers) != math.prod(shape) * dtype.itemsize:
        raise ValueError("the file has another size than its head says")
    array = np.frombuffer(numbers, dtype).reshape(shape, order="F" if is_fortran else "C")
    return exported(*array.astype(np.float64))


def exported(mean: Float64s, std: Float64s) -> Statistics:
    """Statistics of nothing but a mean and a deviation, where they can be.

    Raises:
        ValueError: They cannot.
    """
    with np.errstate(over="ignore"):
        statistics = Statistics.exported(mean, std)
    if not (np.isfinite(mean).all() and np.isfinite(statistics.moments.m2).all()):
        raise ValueError("it holds NaN, infinite or much too large numbers")
    if (std < 0).any():
        raise ValueError("a deviation below 0")
    return statistics
