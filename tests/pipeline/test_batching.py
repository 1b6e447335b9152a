"""Sizes in, batches and segments out."""

from __future__ import annotations

from itertools import count, islice, pairwise
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from melcli.pipeline.batching import (
    BATCH_BYTES,
    BATCH_INPUTS,
    SEGMENT_BYTES,
    SEGMENT_INPUTS,
    Batch,
    decoded_bytes,
    make_batches,
    most_under_way,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

SIZES = st.one_of(
    st.integers(0, 100),
    st.integers(0, BATCH_BYTES),
    st.integers(BATCH_BYTES - 3, BATCH_BYTES + 3),
    st.integers(0, 2 * SEGMENT_BYTES),
)
RUNS = st.lists(st.tuples(SIZES, st.integers(1, 600)), max_size=12).map(
    lambda runs: [size for size, times in runs for _ in range(times)]
)
"""Runs of inputs of one size, as a folder of clips has them."""


def batches_of(sizes: list[int]) -> list[Batch]:
    """The batches of inputs whose positions skip those that are done."""
    return list(make_batches((3 * k, size) for k, size in enumerate(sizes)))


def segments_of(batches: list[Batch]) -> Iterator[list[Batch]]:
    """Batches up to each that ends a segment."""
    segment: list[Batch] = []
    for batch in batches:
        segment.append(batch)
        if batch.ends_segment:
            yield segment
            segment = []
    assert not segment, "the last batch ends a segment"


@given(RUNS)
def test_order_is_kept_and_nothing_is_lost_or_doubled(sizes: list[int]) -> None:
    """The positions of all batches, one after another, are those that came in."""
    positions = [index for batch in batches_of(sizes) for index in batch.indices]
    assert positions == [3 * k for k in range(len(sizes))]


@given(RUNS)
def test_batches_keep_to_their_budget(sizes: list[int]) -> None:
    """Only an input that is larger by itself exceeds it, and that has a batch of its own."""
    for batch in batches_of(sizes):
        assert 1 <= len(batch.indices) <= BATCH_INPUTS
        assert batch.n_bytes == sum(sizes[index // 3] for index in batch.indices)
        assert batch.n_bytes <= BATCH_BYTES or len(batch.indices) == 1


@given(RUNS)
def test_batches_are_as_full_as_they_may_be(sizes: list[int]) -> None:
    """The next input would not have fitted."""
    for batch, following in pairwise(batches_of(sizes)):
        fits = batch.n_bytes + sizes[following.indices[0] // 3] <= BATCH_BYTES
        assert not fits or len(batch.indices) == BATCH_INPUTS


@given(RUNS)
def test_segments_end_when_they_are_full(sizes: list[int]) -> None:
    """Not before, and at the batch that fills them: what a crash may cost is bounded."""
    segments = list(segments_of(batches_of(sizes)))
    for number, segment in enumerate(segments):
        so_far = segment[:-1]
        assert sum(batch.n_bytes for batch in so_far) < SEGMENT_BYTES
        assert sum(len(batch.indices) for batch in so_far) < SEGMENT_INPUTS
        if number < len(segments) - 1:
            full = sum(batch.n_bytes for batch in segment) >= SEGMENT_BYTES
            assert full or sum(len(batch.indices) for batch in segment) >= SEGMENT_INPUTS


@given(RUNS, st.integers(1, 6))
def test_a_crash_costs_a_segment(sizes: list[int], n_workers: int) -> None:
    """What is not committed and what is under way are together no more than a segment."""
    under_way = most_under_way(n_workers)
    batches = list(make_batches(enumerate(sizes), under_way=under_way))
    begun = 0  # the first batch of the segment in hand
    for number, batch in enumerate(batches):
        lost = batches[begun : number + 1 + under_way]
        usual = [b for b in lost if b.n_bytes <= BATCH_BYTES]  # others are one recording each
        assert sum(b.n_bytes for b in usual) <= SEGMENT_BYTES
        assert n_workers > 3 or sum(len(b.indices) for b in lost) <= SEGMENT_INPUTS
        if batch.ends_segment:
            begun = number + 1


def test_many_workers_do_not_sync_all_the_time() -> None:
    """A segment is at least half of what it could be."""
    batches = list(make_batches(((n, BATCH_BYTES) for n in range(200)), under_way=100))
    [length] = {len(segment) for segment in segments_of(batches[:192])}
    assert length == SEGMENT_BYTES // BATCH_BYTES // 2


def test_nothing_makes_no_batch() -> None:
    """An empty plan has no segment to commit."""
    assert batches_of([]) == []


def test_batches_come_as_the_plan_is_read() -> None:
    """A plan of any length: at most one input is taken ahead of the batch handed out."""
    taken = 0

    def endless() -> Iterator[tuple[int, int]]:
        nonlocal taken
        for taken in count(1):
            yield taken, BATCH_BYTES // 2

    for number, batch in enumerate(islice(make_batches(endless()), 100), start=1):
        assert len(batch.indices) == 2
        assert taken == 2 * number + 1


@pytest.mark.parametrize(
    ("extension", "expected"), [(".wav", 2000), (".flac", 4000), (".mp3", 22_000), (".xyz", 4000)]
)
def test_decoded_bytes_is_a_whole_number_of_the_right_size(extension: str, expected: int) -> None:
    """16 bits become 32; codecs more; what is not known is taken for something between."""
    assert decoded_bytes(1000, extension) == expected
    assert decoded_bytes(0, extension) == 0
