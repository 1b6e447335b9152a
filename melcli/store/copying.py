"""Inputs of finished outputs into a new one, rows and all."""

from __future__ import annotations

from dataclasses import replace
from itertools import chain, starmap, zip_longest
from typing import TYPE_CHECKING, Final

from melcli.errors import StoreError
from melcli.store.records import Done, Failed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from melcli.store.protocols import Reader, Writer
    from melcli.store.records import Array, Item, Outcome

_SEGMENT_BYTES: Final = 128 << 20
_SEGMENT_INPUTS: Final = 2048


def copy_inputs(
    inputs: Iterable[tuple[Reader, Outcome, int]],
    writer: Writer,
    output: Path,
    advanced: Callable[[int], None],
    change: Callable[[Array, Item], Array] | None = None,
) -> None:
    """Write every input that an earlier call has not written.

    Args:
        inputs: In the order of the new output: where each is, what became of it, and the position
            of its first item there.
        writer: Of the new output.
        output: Where that lies.
        advanced: Told how many inputs are done.
        change: What is done to rows on the way, a block at a time.

    Raises:
        StoreError: Rows are damaged, or what is there is the beginning of another output.
        DeviceError: The disk is full, or does not work.
    """
    there = writer.outcomes()
    n_inputs = n_bytes = 0
    for number, (reader, outcome, position) in enumerate(inputs, start=1):
        if (found := next(there, None)) is not None:
            if not _are_same(found, outcome):
                raise StoreError(
                    "an unfinished output of other inputs is there", output, "pass --overwrite"
                )
            continue
        items = outcome.items if isinstance(outcome, Done) else ()
        rows = [_rows(reader, position + n, item, change) for n, item in enumerate(items)]
        writer.write(outcome, rows)
        n_inputs += 1
        n_bytes += sum(item.n_rows for item in items) * reader.header.row_bytes
        if n_inputs >= _SEGMENT_INPUTS or n_bytes >= _SEGMENT_BYTES:
            writer.commit()
            n_inputs = n_bytes = 0
        advanced(number)


def is_there(
    inputs: Callable[[], Iterable[tuple[Reader, Outcome, int]]], writer: Writer, output: Path
) -> bool:
    """Tell whether the output is finished already.

    Args:
        inputs: What it is made of, as for `copy_inputs`; called twice.
        writer: Of the output.
        output: Where that lies.

    Raises:
        StoreError: Another one is there.
    """
    if writer.n_kept or writer.is_due:
        return False
    ours = chain(
        (outcome for _, outcome, _ in inputs() if isinstance(outcome, Done)),
        (outcome for _, outcome, _ in inputs() if isinstance(outcome, Failed)),
    )
    if all(starmap(_are_same, zip_longest(writer.previous(), ours))):
        return True
    raise StoreError("is there, and holds other inputs", output, "pass --overwrite to replace it")


def _are_same(one: Outcome | None, other: Outcome | None) -> bool:
    """Compare all but checksums, which depend on how rows lie on disk."""
    if isinstance(one, Done) and isinstance(other, Done):
        one, other = (
            replace(done, items=tuple(item.with_crc32(0) for item in done.items))
            for done in (one, other)
        )
    return one == other


def _rows(
    reader: Reader, position: int, item: Item, change: Callable[[Array, Item], Array] | None
) -> Iterator[Array]:
    """Read the rows of an item, once it is known that they are what was written."""
    if fault := reader.fault(position):
        raise StoreError(
            f"{item.id}: {fault}",
            reader.path,
            "melcli verify names every fault; make it again with --overwrite",
        )
    if change is None:
        yield from reader.blocks(position)
    else:
        for block in reader.blocks(position):
            yield change(block, item)
