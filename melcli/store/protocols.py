"""What the pipeline asks of a store, whatever lies behind it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    import numpy as np
    import numpy.typing as npt

    from melcli.store.records import Array, Done, Failed, Fault, Header, Item, Outcome, Pieces


class Writer(Protocol):
    """Makes one output, in segments, so that it can be killed at any moment.

    An outcome is safe once `commit` returns. `close` without `finish` leaves a partial output,
    which the next writer for the same path and settings goes on with.
    """

    @property
    def n_bytes_written(self) -> int:
        """Bytes of rows that this writer wrote or took over."""

    @property
    def n_kept(self) -> int:
        """Outcomes committed so far, those of earlier runs of this output included."""

    def outcomes(self) -> Iterator[Outcome]:
        """Stream what interrupted runs of this output committed, oldest first.

        An id can come twice, if its source changed between the runs: the last one counts.
        """

    def previous(self) -> Iterator[Outcome]:
        """Stream what the finished output holds that this one extends; none if it is replaced."""

    def check_machine(self) -> None:
        """Make sure that rows made here may lie beside those that are there.

        `write` asks this itself before it takes its first rows. Call it as soon as it is known
        that there is something to compute. An output with nothing new to do is never refused.

        Raises:
            StoreError: They come from another machine, and nobody said that this is accepted.
        """

    @property
    def suspects(self) -> frozenset[str]:
        """Inputs that an earlier run was working on when its process ended without a word.

        One of them may have been the reason. Those that are committed may be among them.
        """

    def begin_inputs(self, ids: Sequence[str]) -> None:
        """Note, before anything is done with them, that these inputs are worked on from now on.

        Raises:
            StoreError: As of `check_machine`.
        """

    def clear_suspicion(self) -> None:
        """Forget what was begun: the run ends in order, or for a reason that is no input's."""

    def keep(self, outcome: Done | Failed) -> None:
        """Take over an outcome that `previous` gave, rows and all.

        Raises:
            StoreError: Its rows are not what their checksum says, or are not there: compute it
                again. Nothing is taken over then, and the writer can go on.
        """

    def write(self, outcome: Outcome, rows: Sequence[Pieces]) -> None:
        """Add an outcome, with the rows of each of its items in pieces.

        A piece is an array ``(n, *row_shape)``; how the rows are cut leaves no trace. The pieces
        of one item are asked for after those of the item before, and no piece is held when the
        next is asked for. An item of usual size is a list with one array.

        Whatever goes wrong, and be it an exception that the pieces raise, which passes on as it
        is: nothing of this outcome is kept, and unless it was the disk, the writer can go on.

        Raises:
            StoreError: The id cannot be stored.
            ValueError: The rows of an item are not ``n_rows`` in all, or not of the header's kind.
            DeviceError: The disk is full, or does not work.
        """

    def write_all(self, found: Iterable[tuple[Outcome, Sequence[Pieces]]]) -> None:
        """`write` outcomes in turn, small ones with fewer calls to the disk.

        If one goes wrong, those before it are in the segment, and no further one is asked for.
        """

    def commit(self) -> None:
        """End a segment: return once everything written so far will survive a crash."""

    @property
    def is_due(self) -> bool:
        """There is no finished output yet, or it is a shard of another list of inputs."""

    def finish(self, order: Iterable[str], positions: Iterable[int] | None = None) -> None:
        """Make the finished output, with the inputs in this order, in place of any older one.

        Outcomes of ids that are not in ``order`` are left out.

        Args:
            order: Ids of inputs.
            positions: Of a shard: the place of each in the whole list, -1 if it is not there.
        """

    def close(self) -> None:
        """Stop, at any time. What is committed stays; what is not is forgotten."""


class Reader(Protocol):
    """Reads a finished output."""

    @property
    def path(self) -> Path:
        """Where it lies."""

    @property
    def header(self) -> Header:
        """What the output is."""

    @property
    def items(self) -> Mapping[str, npt.NDArray[np.integer[Any]]]:
        """Columns with one number an item, in plan order.

        ``start`` and ``stop`` count rows as `rows` does, whatever the layout. The others are
        ``n_samples``, ``sample_rate``, ``n_channels``, ``channel``, ``crc32``, ``source_size`` and
        ``source_mtime_ns`` (-1 if unknown).
        """

    @property
    def certificates(self) -> Mapping[str, npt.NDArray[Any]]:
        """``residual``, ``n_steps`` and ``n_clipped`` of each item; of mels there are none."""

    def __len__(self) -> int: ...

    def some_items(self, start: int, stop: int) -> Iterator[Item]:
        """Give the items from position ``start`` to ``stop``."""

    def ids(self) -> Iterator[str]:
        """Stream the ids of the items, in plan order."""

    def outcomes(self) -> Iterator[Outcome]:
        """Stream every input: those done in plan order, then those failed."""

    def failures(self) -> Iterator[Failed]:
        """Stream the inputs that failed, in plan order."""

    def placed(self) -> Iterator[tuple[int, Done | Failed, int]]:
        """Stream the inputs of a shard in plan order.

        Each comes with its place in the whole list, -1 if it is not there, and with the position
        of its first item among the items, -1 if it has none.

        Raises:
            StoreError: The output is no shard.
        """

    def fault(self, position: int) -> str | None:
        """Read one item back, and tell what is not as it was written."""

    def blocks(self, position: int) -> Iterator[Array]:
        """Read the rows of an item in blocks of a few megabytes."""

    def read(self, item_id: str) -> Array:
        """Read the rows of one item, ``(n_rows, *row_shape)``.

        Raises:
            KeyError: There is no such item.
            StoreError: The output is damaged.
        """

    def faults(self, advanced: Callable[[int], None] | None = None) -> Iterator[Fault]:
        """Read everything back, and stream what is not as it was written.

        Args:
            advanced: Told how many bytes of rows were read, every few megabytes.
        """

    def rows(self, start: int, stop: int) -> Array:
        """Read rows as if those of all items lay one behind the other, in plan order."""

    def close(self) -> None:
        """Close what is open."""
