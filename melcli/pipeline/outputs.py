"""A run from its plan to its finished output: what extracting and inverting have in common."""

from __future__ import annotations

import contextlib
from typing import IO, TYPE_CHECKING, NamedTuple

import numpy as np

from melcli import store
from melcli.pipeline.books import Books
from melcli.pipeline.device import set_for_a_run
from melcli.pipeline.loop import cleared_of_suspicion, compute
from melcli.pipeline.pools import Pools
from melcli.store.records import STORED, as_bytes

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from melcli.config import OutputConfig, RunConfig
    from melcli.pipeline.batching import Budget
    from melcli.pipeline.parcels import Work
    from melcli.pipeline.plan import Plan
    from melcli.pipeline.report import Listener, Report
    from melcli.pipeline.room import Room
    from melcli.store.protocols import Writer
    from melcli.store.records import Array, Header


class Means(NamedTuple):
    """What a run works with, made when there is something to do.

    Args:
        room: Watches the disk; gets the books of what is to do.
        worker: Reads inputs and computes them.
        memory: How much may be under way.
    """

    room: Callable[[Books], Room]
    worker: Callable[[], Work]
    memory: Budget


def fill(
    path: Path,
    header: Header,
    plan: Plan,
    means: Means,
    *,
    out: OutputConfig,
    run: RunConfig,
    report: Report,
    listener: Listener,
) -> None:
    """Bring an output to where it holds every input of a plan, whatever it holds already.

    Raises:
        StoreError: The output has other settings, is in use, or is not melcli's.
        DeviceError: The disk is full, or does not work.
    """
    accept = out.accept_different_machine
    with contextlib.closing(
        store.open_writer(path, header, accept_different_machine=accept)
    ) as writer:
        books = Books(plan, writer, report, listener, retry_failed=out.retry_failed)
        books.look_back()
        listener.started(report)
        if books.has_news():
            room = means.room(books)
            if warning := room.check_plan():
                report.warnings.append(warning)
                listener.warned(warning)
            books.take_over()
            with set_for_a_run(), cleared_of_suspicion(writer):
                pools = Pools(means.worker(), plan, header.row_shape, header.dtype, path.parent)
                compute(books, pools, run, means.memory, room=room)
            if not report.stopped:
                writer.finish(books.order(), books.positions())
        report.tick()
        report.output_bytes = _output_bytes(path, writer)


def write_npy(stream: IO[bytes], rows: Array, dtype: str, *, rows_last: bool) -> None:
    """Write rows as one ``.npy``."""
    array = np.moveaxis(rows, 0, -1) if rows_last else rows
    # numpy's own writer asks an open file for its position, which a pipe does not have.
    array = np.ascontiguousarray(array, STORED[dtype])
    stream.write(store.npy_header(array.shape, array.dtype))
    stream.write(as_bytes(array))
    stream.flush()


def kept_bytes(books: Books, path: Path, *, overwrite: bool) -> int:
    """Bytes that are taken over from a finished file."""
    extends = path.is_file() and not overwrite and not books.writer.n_kept
    return path.stat().st_size if extends else 0


def _output_bytes(path: Path, writer: Writer) -> int:
    try:
        return writer.n_bytes_written if path.is_dir() else path.stat().st_size
    except OSError:
        return 0
