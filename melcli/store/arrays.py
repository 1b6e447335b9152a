"""Arrays and texts by their names, as ``.npz`` and as ``.h5``: what both can hold alike.

A reader gives the names with kind and size; nothing is read before it is asked for, nothing is ever
unpickled, and nothing lies outside the file.
"""

from __future__ import annotations

import io
import math
import re
import secrets
import zipfile
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeAlias

import numpy as np

from melcli.store.npy import npy_header

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

DIRECTORY_TAIL: Final = 98
"""Bytes at the end of a ZIP file that say where its list of contents is."""
_HDF5_MAGIC: Final = b"\x89HDF\r\n\x1a\n"
_NPY_HEAD: Final = re.compile(
    rb"""\{\s*'descr'\s*:\s*'([<>=|]?[A-Za-z?]\d*)'\s*,\s*'fortran_order'\s*:\s*(True|False)\s*,
    \s*'shape'\s*:\s*\(([\d,\s]*)\)\s*,?\s*\}\s*""",
    re.VERBOSE,
)
TEXT, GROUP = "text", "group"
"""Kinds of fields that are no arrays."""
_MOST_FIELDS: Final = 128
_MOST_DIRECTORY_BYTES: Final = 1 << 16
_MOST_HEAD_BYTES: Final = 1 << 14
_MOST_ATTRIBUTE_BYTES: Final = 60_000
"""An attribute of HDF5 holds 64 kB."""

NumpyArray: TypeAlias = "np.ndarray[Any, np.dtype[Any]]"
Record: TypeAlias = "dict[str, str | NumpyArray]"


class Field(NamedTuple):
    """Something that a file holds, not read yet: its size is known first."""

    kind: str  # "text", "group", or a dtype as NumPy spells it
    shape: tuple[int, ...] | None
    size: int  # of a text, in characters; 0 where that is not known
    read: Callable[[], Any]


def in_memory(value: str | NumpyArray) -> Field:
    """Something that is there already, as if a file held it."""
    if isinstance(value, str):
        return Field(TEXT, (), len(value), lambda: value)
    return Field(value.dtype.str, value.shape, 0, lambda: value)


def npy_bytes(array: NumpyArray) -> bytes:
    """An array as a ``.npy`` file: little-endian, and always the same bytes."""
    stored = np.ascontiguousarray(array, array.dtype.newbyteorder("<"))
    # NumPy gives an array of no axes one.
    return npy_header(array.shape, stored.dtype) + stored.tobytes()


def npy_head(file: Any) -> tuple[np.dtype[Any], tuple[int, ...], bool]:  # noqa: ANN401, any stream
    """Read what a ``.npy`` file holds, as far as its head.

    Raises:
        ValueError: Python objects: reading them could run any program.
    """
    start = file.read(10)
    if start[:6] != b"\x93NUMPY" or start[6:8] not in {b"\1\0", b"\2\0"}:
        raise ValueError("it holds what is no .npy file, or a newer one")
    length = start[8:] if start[6:7] == b"\1" else start[8:] + file.read(2)
    n_bytes = int.from_bytes(length, "little")
    # Not by NumPy, which hands what it finds to the parser of Python.
    found = _NPY_HEAD.fullmatch(file.read(min(n_bytes, _MOST_HEAD_BYTES)))
    if not found:
        raise ValueError("the head of an array cannot be read")
    descr, is_fortran, sizes = (text.decode() for text in found.groups())
    dtype, shape = np.dtype(descr), tuple(map(int, sizes.replace(",", " ").split()))
    if dtype.hasobject:
        raise ValueError("it holds pickled objects, which could run any program as they are read")
    return dtype, shape, is_fortran == "True"


def npz_bytes(record: Record) -> bytes:
    """The bytes of an ``.npz`` file: always the same for the same record."""
    with io.BytesIO() as file:
        with zipfile.ZipFile(file, "w") as archive:
            for name, value in record.items():
                array = (
                    np.array(value, f"<U{max(1, len(value))}") if isinstance(value, str) else value
                )
                archive.writestr(zipfile.ZipInfo(f"{name}.npy"), npy_bytes(array))
        return file.getvalue()


def npz_fields(data: bytes) -> dict[str, Field]:
    """What an ``.npz`` file holds.

    Raises:
        ValueError: It cannot be trusted; so say other errors too, of the libraries that read it.
    """
    check_directory(data[-DIRECTORY_TAIL:], len(data))
    archive, fields = zipfile.ZipFile(io.BytesIO(data)), {}
    for info in archive.infolist():
        if info.compress_type != zipfile.ZIP_STORED or info.flag_bits & 1:
            raise ValueError(f"{info.filename} is compressed, as melcli and np.savez never do")
        name = info.filename.removesuffix(".npy")
        if name in fields:
            raise ValueError(f"{name} is there twice")
        with archive.open(info) as member:
            dtype, shape, _ = npy_head(member)
        is_text = dtype.str.startswith("<U")
        fields[name] = Field(
            TEXT if is_text else dtype.str,
            shape,
            dtype.itemsize // 4 if is_text else 0,
            partial(_member, archive, info, dtype, shape),
        )
    return fields


def _member(
    archive: zipfile.ZipFile, info: zipfile.ZipInfo, dtype: np.dtype[Any], shape: tuple[int, ...]
) -> NumpyArray | str:
    with archive.open(info) as member:
        _, _, is_fortran = npy_head(member)
        n_bytes = math.prod(shape) * dtype.itemsize
        data = member.read(n_bytes)
        # Asked for more, zipfile comes to the end, and compares the checksum.
        if len(data) != n_bytes or member.read(1) or is_fortran:
            raise ValueError(f"{info.filename} has another size than its head says")
    if dtype.kind == "U":
        # Not by NumPy, which makes texts of characters that there are none of.
        return data.decode("utf-32-le").rstrip("\0")
    return np.frombuffer(data, dtype).reshape(shape)


def check_directory(tail: bytes, n_bytes: int, most: int = _MOST_DIRECTORY_BYTES) -> None:
    """Refuse a ZIP file with a longer list of contents than expected, before it is read.

    Each entry of it takes ten times as much memory as bytes in the file.

    Args:
        tail: The last `DIRECTORY_TAIL` bytes of the file, or all of it: they say how long it is.
        n_bytes: How long the file is.
        most: The longest list that is let through, in bytes.

    Raises:
        ValueError: It is longer, or no ZIP file.
    """
    end, large = tail[-22:], tail[-DIRECTORY_TAIL:-42]
    if len(end) < 22 or end[:4] != b"PK\x05\x06":
        raise ValueError("it is cut off, or no ZIP file")
    n_listed = int.from_bytes(end[12:16], "little")
    if tail[-42:-38] == b"PK\x06\x07":  # 64 bits for each size, in another record
        place = int.from_bytes(tail[-34:-26], "little")
        if place != n_bytes - DIRECTORY_TAIL or large[:4] != b"PK\x06\x06":
            raise ValueError("its list of contents is not where it should be")
        n_listed = int.from_bytes(large[40:48], "little")
    if n_listed > most:
        raise ValueError("it holds more than a scaler does")


def hdf5_bytes(record: Record) -> bytes:
    """The bytes of an ``.h5`` file: always the same for the same record."""
    import h5py  # slow to load

    # In memory and under a name of its own: HDF5 takes two files of one name for the same.
    name = f"scaler {secrets.token_hex(8)}"
    with h5py.File(name, "w", driver="core", backing_store=False) as file:
        for key, value in record.items():
            if isinstance(value, str):
                # Of a fixed length: what HDF5 keeps elsewhere, it searches for in endless loops
                # once the file is damaged.
                data = value.encode()
                stored = np.array(data, h5py.string_dtype("utf-8", max(1, len(data))))
            else:
                data, stored = b"", value
            if stored.shape == () and len(data) <= _MOST_ATTRIBUTE_BYTES:
                file.attrs.create(key, stored, (), stored.dtype)
            else:
                file.create_dataset(key, data=stored, track_times=False)
        file.flush()
        image: bytes = file.id.get_file_image()
    return image


@contextmanager
def hdf5_fields(data: bytes) -> Iterator[dict[str, Field]]:
    """What an ``.h5`` file holds at its root, for as long as the ``with`` block lasts.

    Raises:
        ValueError: It cannot be trusted; so say other errors too, of the libraries that read it.
    """
    import h5py  # slow to load
    from h5py import h5f

    if not data.startswith(_HDF5_MAGIC):
        raise ValueError("it is no HDF5 file")
    try:
        opened_image = h5py.File(h5f.open_file_image(data))
    except (OSError, ValueError, TypeError, RuntimeError) as error:
        raise ValueError("HDF5 cannot open it: it is cut off, or overwritten") from error
    with opened_image as file:
        if len(file) + len(file.attrs) > _MOST_FIELDS:
            raise ValueError("it holds more than a scaler does")
        fields = {name: _dataset_field(file, name, len(data)) for name in file}
        for name in file.attrs:
            attribute = file.attrs.get_id(name)
            fields[name] = _hdf5_field(attribute, partial(file.attrs.__getitem__, name))
        yield fields


def _hdf5_field(stored: Any, read: Callable[[], Any]) -> Field:  # noqa: ANN401, of h5py
    import h5py

    text = h5py.check_string_dtype(stored.dtype)
    if text is not None and text.length is not None:
        return Field(TEXT, stored.shape, text.length, lambda: read().decode())
    return Field(stored.dtype.str, stored.shape, 0, read)


def _dataset_field(file: Any, name: str, n_bytes: int) -> Field:  # noqa: ANN401, likewise
    """Look at a dataset whose every byte lies in this file, or at a group."""
    import h5py
    from h5py import h5d

    if not isinstance(file.get(name, getlink=True), h5py.HardLink):
        raise TypeError(f"/{name} is a link")
    dataset = file[name]
    if not isinstance(dataset, h5py.Dataset):
        return Field(GROUP, None, 0, lambda: None)
    layout = dataset.id.get_create_plist()
    if layout.get_layout() != h5d.CONTIGUOUS or layout.get_external_count():
        raise TypeError(f"/{name} is not contiguous")
    if dataset.size:
        place, stored = dataset.id.get_offset(), dataset.id.get_storage_size()
        expected = dataset.size * dataset.id.get_type().get_size()
        if place is None or stored < expected or place + stored > n_bytes:
            raise ValueError(f"/{name} is cut off")
    return _hdf5_field(dataset, partial(dataset.__getitem__, ()))
