"""Outputs on disk: HDF5, packed or as a tree, and folders of ``.npy``.

A `Writer` can be killed at any moment: the same command goes on, and what it makes is byte for
byte what it would have made undisturbed. How is told where it is done: what they share in
`melcli.store.writer` and `melcli.store.journal`, the rest in `melcli.store.hdf5` and
`melcli.store.npy`.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from melcli.errors import StoreError
from melcli.store.begun import HDF5_SUFFIX, NPY_NAME
from melcli.store.npy import Names, NpyReader, NpyWriter, npy_header, npy_path, shard_of_file
from melcli.store.records import (
    Array,
    Done,
    Excerpt,
    Failed,
    Fault,
    Header,
    Item,
    Outcome,
    Pieces,
    check_id,
    input_id,
)

if TYPE_CHECKING:
    from melcli.store.protocols import Reader, Writer
    from melcli.store.shards import Shard

__all__ = [
    "Array",
    "Done",
    "Excerpt",
    "Failed",
    "Fault",
    "Header",
    "Item",
    "Outcome",
    "Pieces",
    "begun_path",
    "check_id",
    "finished",
    "input_id",
    "is_hdf5",
    "npy_header",
    "npy_path",
    "open_reader",
    "open_writer",
]

_HDF5 = (".h5", ".hdf5")


def is_hdf5(path: Path) -> bool:
    """Tell whether a name asks for an HDF5 file; any other is a folder of ``.npy``."""
    return path.suffix.lower() in _HDF5


def begun_path(path: Path, shard: Shard | None) -> Path:
    """Say where an unfinished output keeps the ids of what is begun: `melcli.store.begun`."""
    if not is_hdf5(path):
        return path / Names.of(shard).partial / NPY_NAME
    path = Path(os.path.realpath(path)) if path.is_symlink() else path
    return path.with_name(path.name + HDF5_SUFFIX)


def open_writer(path: Path, header: Header, *, accept_different_machine: bool = False) -> Writer:
    """Begin an output, go on with one that was interrupted, or extend a finished one.

    Args:
        path: An ``.h5`` file, packed or a tree as ``header.settings["store_layout"]`` says; or a
            folder.
        header: What is asked for. An output that goes on keeps its own command and date.
        accept_different_machine: Let new rows lie beside rows made elsewhere.

    Raises:
        StoreError: It is not an output of melcli (whatever ``header.overwrite`` says), has other
            settings, or another process is writing it.
        DeviceError: The disk is full, read-only, or does not work.
    """
    _check_kind(path)
    if not is_hdf5(path):
        return NpyWriter(path, header, accept_different_machine=accept_different_machine)
    if path.is_symlink():
        # Or finishing would put a file in the place of the link.
        path = Path(os.path.realpath(path))
    from melcli.store.hdf5 import PackedWriter, TreeWriter  # h5py is slow to load

    layouts = {"packed": PackedWriter, "tree": TreeWriter}
    layout = layouts[header.settings.get("store_layout", "packed")]
    return layout(path, header, accept_different_machine=accept_different_machine)


def open_reader(path: Path) -> Reader:
    """Open a finished output.

    Args:
        path: An ``.h5`` file, a folder, or of a shard that shares its folder with others the
            ``melcli.2-of-8.toml``.

    Raises:
        StoreError: There is none, or it is damaged.
    """
    if shard := shard_of_file(path):
        return NpyReader(path.parent, shard)
    if not is_hdf5(path) and path.is_file():
        remedy = "give an .h5 file, or a folder that melcli extract made"
        raise StoreError("is not an output of melcli", path, remedy)
    _check_kind(path)
    if is_hdf5(path):
        from melcli.store.hdf5 import Hdf5Reader  # h5py is slow to load

        return Hdf5Reader(path)
    return NpyReader(path)


def finished(path: Path) -> Header | None:
    """Tell what the finished output at ``path`` is; None if there is none yet.

    Raises:
        StoreError: Something else is there.
    """
    _check_kind(path)
    if not (path if is_hdf5(path) else path / "melcli.toml").exists():
        return None
    reader = open_reader(path)
    reader.close()
    return reader.header


def _check_kind(path: Path) -> None:
    """Refuse a folder called ``x.h5``, and a file where a folder should be."""
    if is_hdf5(path) and path.is_dir():
        raise StoreError("is a folder", path, "choose another name")
    if not is_hdf5(path) and os.path.lexists(path) and not path.is_dir():
        raise StoreError("is a file", path, "choose a folder, or a name that ends in .h5")
