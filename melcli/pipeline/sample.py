"""Which inputs of an output are looked at again, and where their audio lies."""

from __future__ import annotations

import hashlib
import math
import os
import re
from array import array
from collections import Counter
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

import numpy as np

from melcli.errors import NoInputError, StoreError, UsageError
from melcli.pipeline.lists import Listed
from melcli.pipeline.names import item_id
from melcli.pipeline.plan import Plan
from melcli.pipeline.report import plural
from melcli.store.records import Done, Fault, check_id

if TYPE_CHECKING:
    from collections.abc import Iterator

    from melcli.store.protocols import Reader
    from melcli.store.records import Outcome

Missing = Literal["gone", "changed"]

_ESCAPED: Final = re.compile(rb"%(25|[89A-F][0-9A-F])")


def sample_size(sample: str, n_inputs: int) -> int:
    """How many of ``n_inputs`` a sample is: a number, or a share, which is rounded up.

    Raises:
        UsageError: If it is neither.

    >>> sample_size("20", 1200), sample_size("1%", 1200), sample_size("1%", 3)
    (20, 12, 1)
    """
    found = re.fullmatch(r"(\d+(?:\.\d+)?)(%?)", sample.strip(), re.ASCII)
    number = Fraction(found[1]) if found else Fraction(0)
    if found and found[2] and 0 < number <= 100:
        return math.ceil(n_inputs * number / 100)
    if found and not found[2] and number >= 1 and number.denominator == 1:
        return min(n_inputs, int(number))
    raise UsageError(
        f"sample = {sample}: must be a number of inputs, or a share of them",
        None,
        "--sample 20, or --sample 1%",
    )


def names_of(input_id: str) -> Iterator[bytes]:
    """The names that a file of this id can have in its folder: the way back from `item_id`.

    Raises:
        StoreError: The id could lead out of the folder; melcli never gives such a one.

    >>> list(names_of("50%.wav")), list(names_of("50%25/b%FF.wav"))
    ([b'50%.wav'], [b'50%25/b%FF.wav', b'50%/b\\xff.wav'])
    """
    check_id(input_id)
    name = input_id.encode()
    yield name
    # Only an id with a byte that is not UTF-8 in it was escaped, and no escape makes a slash.
    raw = _ESCAPED.sub(lambda escape: bytes([int(escape[1], 16)]), name)
    if raw != name and item_id(raw) == input_id:
        yield raw


@dataclass
class Sample:
    """The inputs that are looked at, and what became of their sources.

    Which they are follows from their ids alone, so that the same call looks at the same ones.

    Args:
        plan: Those whose source is there as it was.
        positions: The position of the first item of each of these.
        n_inputs: Inputs of the output, but for those that failed.
        n_chosen: How many are looked at.
        missing: How many sources of these are gone, and how many were changed: have another size
            or time than the output remembers.
        first_missing: The id of the first of either.
        strangers: Ids that could lead out of the folder: melcli never gave them.
    """

    plan: Plan = field(default_factory=Plan)
    positions: array[int] = field(default_factory=lambda: array("Q"))
    n_inputs: int = 0
    n_chosen: int = 0
    missing: Counter[Missing] = field(default_factory=Counter)
    first_missing: dict[Missing, str] = field(default_factory=dict)
    strangers: list[Fault] = field(default_factory=list)

    @classmethod
    def of(cls, reader: Reader, audio_root: str | os.PathLike[str], size: str) -> Sample:
        """Choose inputs, and look for the source of each.

        Raises:
            UsageError: The size is neither a number nor a share.
            NoInputError: No source is there as it was.
        """
        sample_size(size, 1)  # complains before anything is read
        ranks = np.fromiter((_rank(done.id) for _, done in inputs_of(reader)), np.uint64)
        found = cls(n_inputs=len(ranks))
        if n := sample_size(size, len(ranks)):
            last = int(np.partition(ranks, n - 1)[n - 1])
            prefix = os.path.join(os.fsencode(audio_root), b"")  # noqa: PTH118, names are bytes
            for position, done in inputs_of(reader):
                if _rank(done.id) <= last:
                    found.n_chosen += 1
                    found._look_for(done, position, prefix)
        if not len(found.plan) and not found.strangers:
            raise found._nothing(audio_root)
        return found

    def _look_for(self, done: Done, position: int, prefix: bytes) -> None:
        try:
            names = list(names_of(done.excerpt.recording if done.excerpt else done.id))
        except StoreError as error:
            self.strangers.append(Fault(done.id, error.cause))
            return
        is_there = False
        for name in names:
            try:
                status = os.stat(prefix + name)  # noqa: PTH116, likewise
            except OSError:
                continue
            is_there = True
            if (status.st_size, status.st_mtime_ns) == source_of(done):
                self.plan.add_listed(self.plan.root(prefix), name, status, _listed(done, name))
                self.positions.append(position)
                return
        self.leave_out(done.id, "changed" if is_there else "gone")

    def leave_out(self, input_id: str, why: Missing) -> None:
        """Note a source that is not there as it was."""
        self.missing[why] += 1
        self.first_missing.setdefault(why, input_id)

    def _nothing(self, audio_root: str | os.PathLike[str]) -> NoInputError:
        if not self.n_inputs:
            return NoInputError("the output holds nothing that could be computed again")
        if gone := self.first_missing.get("gone"):
            remedy = f"give the folder that ids count from: {gone} must be in it"
        else:
            remedy = "a copy must keep the times of its files: cp -p, rsync -t"
        cause = (
            f"{self.n_chosen:,} of {plural(self.n_inputs, 'input')} were looked for, "
            f"and none is there as it was: {', '.join(self.what_is_missing())}"
        )
        return NoInputError(cause, Path(audio_root), remedy)

    def what_is_missing(self) -> Iterator[str]:
        """In words; nothing if all sources are there as they were."""
        words = {"gone": "gone", "changed": "changed since"}
        for why, first in self.first_missing.items():
            yield f"{self.missing[why]:,} {words[why]} ({first})"


def _listed(done: Done, name: bytes) -> Listed:
    if done.excerpt is None:
        return Listed(name)
    _, start, end, channel = done.excerpt
    return Listed(name, done.id, start, end, channel)


def inputs_of(reader: Reader) -> Iterator[tuple[int, Done]]:
    """The inputs that are done, each with the position of its first item."""
    position = 0
    for outcome in reader.outcomes():
        if isinstance(outcome, Done):
            yield position, outcome
            position += len(outcome.items)


def source_of(outcome: Outcome) -> tuple[int | None, int | None]:
    """The size and time of an input's file, as the books have them."""
    return outcome.source_size, outcome.source_mtime_ns


def _rank(input_id: str) -> int:
    digest = hashlib.blake2b(input_id.encode(errors="surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest)
