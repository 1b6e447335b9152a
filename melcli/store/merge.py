"""Shards to one output: complete, or refused.

The result is, byte for byte, what one run over the whole list would have written, but for the
command and the date. Its inputs lie in the order of the list, since each shard knows the places of
its own.
"""

from __future__ import annotations

import heapq
from contextlib import ExitStack
from dataclasses import dataclass, replace
from math import inf
from operator import itemgetter
from typing import TYPE_CHECKING

from melcli.config import MelConfig
from melcli.errors import StoreError
from melcli.store import is_hdf5, join, npy, open_reader, open_writer
from melcli.store.compare import differences, machine_differences, merged_machine
from melcli.store.copying import copy_inputs, is_there
from melcli.store.shards import SETTING, digest_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from pathlib import Path

    from melcli.store.protocols import Reader
    from melcli.store.records import Done, Failed, Header

    _Placed = tuple[float, Reader, Done | Failed, int]


@dataclass(frozen=True)
class Merged:
    """What a merge did.

    Args:
        n_shards: How many were put together.
        n_items: In the output.
        n_failures: In the output.
        n_bytes: Of rows that this run copied; none where they lie where they belong.
    """

    n_shards: int
    n_items: int
    n_failures: int
    n_bytes: int


def merge(
    shards: Sequence[Path],
    output: Path,
    *,
    command: str,
    created: str,
    overwrite: bool = False,
    accept_different_machine: bool = False,
    advanced: Callable[[int], None] = lambda _n_inputs: None,
) -> Merged:
    """Put all shards of an output together. Killed at any moment and called again, it goes on.

    Args:
        shards: ``.h5`` files; folders, with all the shards in them.
        output: An ``.h5`` file, or a folder; if it is the folder of all the shards, their files
            stay where they are.
        command: Kept in the output.
        created: Kept in the output, ISO 8601.
        overwrite: Replace a finished output.
        accept_different_machine: Put rows of different machines together.
        advanced: Told how many inputs are done.

    Raises:
        StoreError: A shard is missing, there twice, not finished, damaged, or differs from the
            others; or the output is there.
        DeviceError: The disk is full, or does not work.
    """
    if output in shards and (joined := _joined(output)):
        return joined
    with ExitStack() as opened:
        readers = [_open(opened, path) for path in _each(shards)]
        readers = _checked(readers, accept_different_machine=accept_different_machine)
        header = _header(readers, output, command, created, overwrite=overwrite)
        n_failures = sum(sum(1 for _ in reader.failures()) for reader in readers)
        if all(isinstance(reader, npy.NpyReader) and reader.path == output for reader in readers):
            join.join_shards(output, header)
            n_bytes = 0
        else:
            accept = accept_different_machine
            writer = open_writer(output, header, accept_different_machine=accept)
            opened.callback(writer.close)
            # What a merge left that was killed while it finished is finished again.
            if not is_there(lambda: _in_order(readers), writer, output):
                copy_inputs(_in_order(readers), writer, output, advanced)
                writer.finish(done.id for _, done, _ in _in_order(readers))
            n_bytes = writer.n_bytes_written
        return Merged(len(readers), sum(map(len, readers)), n_failures, n_bytes)


def _joined(folder: Path) -> Merged | None:
    """Tell what a folder holds whose shards were joined already; None if they were not."""
    join.finish_joining(folder)
    if not (folder / npy.Names.of(None).settings).exists():
        return None
    reader = open_reader(folder)
    try:
        return Merged(0, len(reader), sum(1 for _ in reader.failures()), 0)
    finally:
        reader.close()


def _each(shards: Iterable[Path]) -> Iterator[Path]:
    """Give what can be opened: a folder holds several."""
    for path in shards:
        found = npy.shards_in(path) if path.is_dir() else []
        if found:
            yield from (path / npy.Names.of(shard).settings for shard in found)
        else:
            yield path


def _open(opened: ExitStack, path: Path) -> Reader:
    reader = open_reader(path)
    opened.callback(reader.close)
    return reader


def _checked(readers: list[Reader], *, accept_different_machine: bool) -> list[Reader]:
    """Give the readers in the order of their shards.

    Raises:
        StoreError: They are not all the shards of one output.
    """
    by_number: dict[int, Reader] = {}
    first = readers[0]
    for reader in readers:
        shard = reader.header.shard
        if shard is None:
            raise StoreError("is no shard", reader.path, "merge what extract --shard made")
        if shard.number in by_number:
            other = by_number[shard.number].path
            raise StoreError(f"is shard {shard}, and so is {other}", reader.path, "name it once")
        by_number[shard.number] = reader
        lines = differences(_whole(first.header, shard.count), _whole(reader.header, shard.count))
        if lines:
            raise _differs("has other settings", lines, first, reader)
        lines = machine_differences(first.header.machine, reader.header.machine)
        if lines and not accept_different_machine:
            remedy = "pass --accept-different-machine to put them together"
            raise _differs("comes from another machine", lines, first, reader, remedy)
    count = _count(first)
    missing = [f"{n}/{count}" for n in range(1, count + 1) if n not in by_number]
    if missing:
        listed = ", ".join(missing[:10]) + (", …" if len(missing) > 10 else "")
        raise StoreError(
            f"{len(missing)} of {count} shards {'is' if len(missing) == 1 else 'are'} missing: "
            f"{listed}",
            None,
            "name them too, once they are finished",
        )
    for reader in readers:
        if reader.header.inputs_digest != first.header.inputs_digest:
            raise StoreError(
                f"was made of another list of inputs than {first.path}",
                reader.path,
                "run extract for every shard again, over the same inputs; what is done is kept",
            )
    readers = [by_number[number] for number in sorted(by_number)]
    ids = (outcome.id for place, _, outcome, _ in _in_places(readers) if place < inf)
    if digest_of(ids) != first.header.inputs_digest:
        raise StoreError(
            "the shards do not hold the inputs that they were made of",
            first.path,
            "run extract for every shard again, over the same inputs",
        )
    return readers


def _count(reader: Reader) -> int:
    shard = reader.header.shard
    return shard.count if shard else 0


def _whole(header: Header, count: int) -> Header:
    """Give the header of the whole output, but for how many shards it is made of."""
    settings = {key: value for key, value in header.settings.items() if key != SETTING}
    shard = header.shard
    settings["shards"] = str(shard.count if shard else count)
    return replace(header, settings=settings)


def _differs(
    what: str, lines: list[str], first: Reader, other: Reader, remedy: str | None = None
) -> StoreError:
    # The lines speak of what is there and what is asked for; here two outputs are compared.
    told = [line.replace("in the output", "there").replace("asked for", "here") for line in lines]
    return StoreError(
        f"{what} than {first.path}:" + "".join(f"\n  {line}" for line in told), other.path, remedy
    )


def _header(
    readers: Sequence[Reader], output: Path, command: str, created: str, *, overwrite: bool
) -> Header:
    """Give the header of the merged output."""
    found = readers[0].header
    machine = found.machine
    for reader in readers[1:]:
        machine = merged_machine(machine, reader.header.machine)
    settings = {key: value for key, value in found.settings.items() if key != SETTING}
    layout = MelConfig.from_toml(found.config, str(readers[0].path)).out.layout
    return replace(
        found,
        settings=settings,
        machine=machine,
        command=command,
        created=created,
        transpose=not is_hdf5(output) and layout == "mel_time",
        overwrite=overwrite,
        inputs_digest="",
    )


def _in_order(readers: Sequence[Reader]) -> Iterator[tuple[Reader, Done | Failed, int]]:
    """Stream the inputs of all shards in the order of the whole list, then those beside it."""
    return ((reader, outcome, position) for _, reader, outcome, position in _in_places(readers))


def _in_places(readers: Iterable[Reader]) -> Iterator[_Placed]:
    return heapq.merge(*map(_placed, readers), key=itemgetter(0))


def _placed(reader: Reader) -> Iterator[_Placed]:
    for place, outcome, position in reader.placed():
        yield (place if place >= 0 else inf), reader, outcome, position
