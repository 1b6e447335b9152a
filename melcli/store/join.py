"""Shards that share a folder become one output: their files stay, their lists become one.

It can be killed anywhere: as long as ``.melcli-partial/joining`` is there, the lists of the shards
are still needed, unless ``melcli.toml`` is there too. Then they may go.
"""

from __future__ import annotations

import heapq
import json
from math import inf
from operator import itemgetter
from typing import TYPE_CHECKING, Any

from melcli.errors import StoreError
from melcli.store import disk, npy
from melcli.store.journal import Journal
from melcli.store.reader import damage

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from melcli.store.records import Header

_MARK = "joining"


def join_shards(folder: Path, header: Header) -> None:
    """Make one output of all the shards in a folder, which were found to be complete.

    Args:
        folder: Where they lie.
        header: Of the whole output.

    Raises:
        StoreError: One of them is being written, or lacks a file.
        DeviceError: The disk is full, or does not work.
    """
    shards = npy.shards_in(folder)
    for shard in shards:
        if (folder / npy.Names.of(shard).partial).exists():
            raise StoreError(
                f"shard {shard} is being written, or was not finished", folder,
                f"run extract --shard {shard} again",
            )  # fmt: skip
    listing, settings, partial = npy.Names.of(None)
    with disk.device_errors(folder):
        work = folder / partial
        disk.make_folder(work)
        journal = Journal(work / npy.JOURNAL)  # whoever else wants to write a whole output waits
        try:
            if journal.segments:
                raise StoreError(
                    "holds an unfinished whole output beside the shards", folder,
                    "finish it, or remove .melcli-partial if it is not wanted",
                )  # fmt: skip
            npy.write_text(work / _MARK, iter(()))
            disk.sync_folder(work)
            lists = [folder / npy.Names.of(shard).listing for shard in shards]
            npy.write_text(work / listing, _lines(lists, folder, header))
            npy.write_text(work / settings, iter([npy.settings_text(header)]))
            disk.rename(work / listing, folder / listing)
            disk.sync_folder(folder)
            disk.rename(work / settings, folder / settings)
            disk.sync_folder(folder)
        finally:
            journal.close()
        finish_joining(folder)


def finish_joining(folder: Path) -> None:
    """Remove what is needed no more, once the lists of shards have become one.

    Called again where a crash prevented it. Before they have, nothing is removed but what they
    were to become.
    """
    listing, settings, partial = npy.Names.of(None)
    work = folder / partial
    with disk.device_errors(folder):
        if (work / _MARK).exists():
            if (folder / settings).exists():
                for shard in npy.shards_in(folder):
                    old_listing, old_settings, _ = npy.Names.of(shard)
                    disk.remove(folder / old_listing)
                    disk.remove(folder / old_settings)
                disk.sync_folder(folder)
            for name in (listing, settings, npy.JOURNAL):
                disk.remove(work / name)
            disk.remove(work / _MARK)  # last: without it nobody would come back
        disk.remove_empty_folder(work)


def _lines(lists: list[Path], folder: Path, header: Header) -> Iterator[str]:
    """Give the lines of all lists in the order of the whole one."""
    for _, record in heapq.merge(*map(_records, lists), key=itemgetter(0)):
        if record["status"] == "done":
            path = folder / npy.npy_path(record["id"], header.suffix)
            if not npy.is_file_of(path, header, record["n_rows"]):
                raise StoreError("is missing, or was changed", path, "make its shard again")
        yield npy.as_line(record)


def _records(path: Path) -> Iterator[tuple[float, dict[str, Any]]]:
    with damage(path), path.open("rb") as lines:
        for line in lines:
            record = json.loads(line)
            place = record.pop(npy.POSITION)
            yield (place if place >= 0 else inf), record
