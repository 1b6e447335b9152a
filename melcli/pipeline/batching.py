"""Pure: sizes in, batches and segments out, budgeted by the memory their audio will take."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

BATCH_BYTES = 4 << 20
"""Float32 audio in a batch: enough frames for full blocks, little enough to stay in the cache."""
BATCH_INPUTS = 256

SEGMENT_BYTES = 128 << 20
"""Float32 audio in a segment: what a crash may cost, against the price of a sync."""
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
    """

    indices: tuple[int, ...]
    n_bytes: int
    ends_segment: bool


def decoded_bytes(size: int, extension: str) -> int:
    """A rough guess at the float32 audio in a file of ``size`` bytes."""
    return int(size * _EXPANSION.get(extension, 4.0))


def make_batches(inputs: Iterable[tuple[int, int]]) -> Iterator[Batch]:
    """Cut a run of inputs into batches and segments, in order.

    Args:
        inputs: Position in the plan and decoded bytes of each.

    Yields:
        Batches; each segment ends with one that says so, and so does the last.

    >>> [(b.indices, b.ends_segment) for b in make_batches([(0, 3 << 20), (1, 1 << 20), (2, 9)])]
    [((0, 1), False), ((2,), True)]
    """
    indices: list[int] = []
    batch_bytes = segment_bytes = segment_inputs = 0
    for index, n_bytes in inputs:
        full = batch_bytes + n_bytes > BATCH_BYTES or len(indices) == BATCH_INPUTS
        if indices and full:
            segment_bytes += batch_bytes
            segment_inputs += len(indices)
            ends = segment_bytes >= SEGMENT_BYTES or segment_inputs >= SEGMENT_INPUTS
            yield Batch(tuple(indices), batch_bytes, ends)
            if ends:
                segment_bytes = segment_inputs = 0
            indices, batch_bytes = [], 0
        indices.append(index)
        batch_bytes += n_bytes
    if indices:
        yield Batch(tuple(indices), batch_bytes, ends_segment=True)
