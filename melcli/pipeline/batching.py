"""Pure: sizes in, batches and segments out, budgeted by the memory their audio will take."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Iterator

    from melcli.config import MelConfig

BATCH_BYTES = 4 << 20
"""Float32 audio in a batch: enough frames for full blocks, little enough to stay in the cache."""
MIN_BATCH_BYTES = 256 << 10
BATCH_INPUTS = 128

LONG_BYTES = 48 << 20
"""What an input of any length holds at most: pieces being read and computed, rows that wait."""

SEGMENT_BYTES = 128 << 20
"""Float32 audio in a segment: what a crash may cost, against the price of a sync.

Batches under way are lost with the segment in hand, and may belong to the next one. So a segment
is committed before it is full by as much as that; but not before it is half full, so that very many
workers do not sync all the time."""
SEGMENT_INPUTS = 2048

# Bytes of float32 audio from a byte of file, roughly: for budgets, not for buffers.
_EXPANSION = {
    ".flac": 4.0, ".mp3": 22.0, ".mp2": 22.0, ".ogg": 24.0, ".oga": 24.0, ".opus": 30.0,
    ".caf": 2.0, ".aif": 2.0, ".aiff": 2.0, ".au": 2.0, ".snd": 2.0, ".w64": 2.0, ".wav": 2.0,
}  # fmt: skip


@dataclass(frozen=True)
class Batch:
    """Inputs that are read and computed together.

    Args:
        indices: Positions in the plan.
        n_bytes: What their audio is expected to take, as float32.
        ends_segment: The segment is complete with this batch, and may be committed.
        is_suspect: An earlier run ended while it worked on this one input.
    """

    indices: tuple[int, ...]
    n_bytes: int
    ends_segment: bool
    is_suspect: bool = False

    def one_by_one(self) -> Iterator[Batch]:
        """The same inputs, each by itself."""
        for index in self.indices:
            ends_segment = self.ends_segment and index == self.indices[-1]
            yield Batch((index,), self.n_bytes // len(self.indices), ends_segment)


def decoded_bytes(size: int, extension: str) -> int:
    """A rough guess at the float32 audio in a file of ``size`` bytes."""
    return int(size * _EXPANSION.get(extension, 4.0))


@dataclass(frozen=True)
class Budget:
    """What a run may hold in memory at once, for its audio and its rows.

    Args:
        batch_bytes: Float32 audio in a batch.
        in_flight_bytes: Everything that belongs to the batches that are not written yet.
        expansion: Bytes held for a byte of float32 audio.
    """

    batch_bytes: int
    in_flight_bytes: int
    expansion: float

    def held_by(self, batch: Batch) -> int:
        """Bytes that a batch takes until it is written. Long inputs are held in pieces."""
        return int(min(batch.n_bytes, LONG_BYTES) * self.expansion)


def budget(config: MelConfig, memory: int, n_workers: int) -> Budget:
    """Divide ``memory`` among the batches of ``n_workers``; no byte of the output depends on it."""
    # The audio as it is read and as it is packed; its rows as they are made and as they wait.
    expansion = 2 + 2 * config.mel.n_mels / config.frame.hop_length
    in_flight = memory // 2  # the other half is for pieces of long inputs, and workspaces
    share = int(in_flight / expansion / (2 * n_workers + 1))
    return Budget(max(MIN_BATCH_BYTES, min(BATCH_BYTES, share)), in_flight, expansion)


def most_under_way(n_workers: int) -> int:
    """Batches between the plan and the writer: one in hand and one more for each worker."""
    return 2 * n_workers + 1


def make_batches(
    inputs: Iterable[tuple[int, int]],
    most_bytes: int = BATCH_BYTES,
    suspects: Container[int] = (),
    under_way: int = 0,
) -> Iterator[Batch]:
    """Cut a run of inputs into batches and segments, in order.

    Args:
        inputs: Position in the plan and decoded bytes of each.
        most_bytes: Float32 audio in a batch, unless one input has more.
        suspects: Positions of inputs that are to be batches by themselves.
        under_way: Batches that may be worked on beside the one that is written.

    Yields:
        Batches; each segment ends with one that says so, and so does the last.

    >>> [(b.indices, b.ends_segment) for b in make_batches([(0, 3 << 20), (1, 1 << 20), (2, 9)])]
    [((0, 1), False), ((2,), True)]
    """
    indices: list[int] = []
    batch_bytes = segment_bytes = segment_inputs = 0
    is_suspect = False
    spare = under_way + 1 if under_way else 0
    full_bytes = max(SEGMENT_BYTES // 2, SEGMENT_BYTES - spare * most_bytes)
    full_inputs = max(SEGMENT_INPUTS // 2, SEGMENT_INPUTS - spare * BATCH_INPUTS)
    for index, n_bytes in inputs:
        full = batch_bytes + n_bytes > most_bytes or len(indices) == BATCH_INPUTS
        was_suspect, is_suspect = is_suspect, index in suspects
        if indices and (full or was_suspect or is_suspect):
            segment_bytes += batch_bytes
            segment_inputs += len(indices)
            ends = segment_bytes >= full_bytes or segment_inputs >= full_inputs
            yield Batch(tuple(indices), batch_bytes, ends, was_suspect)
            if ends:
                segment_bytes = segment_inputs = 0
            indices, batch_bytes = [], 0
        indices.append(index)
        batch_bytes += n_bytes
    if indices:
        yield Batch(tuple(indices), batch_bytes, ends_segment=True, is_suspect=is_suspect)
