"""Parts of a list of inputs, for several processes or machines."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from melcli.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

SETTING = "shard"
"""The key among an output's settings."""

_MOST_SHARDS = 100_000
_HASH_BYTES = 8


@dataclass(frozen=True, order=True, slots=True)
class Shard:
    """One of several parts of a list of inputs.

    An input belongs to the shard that a hash of its id says, so a list that grows keeps its shards.

    Args:
        number: From 1.
        count: How many there are.
    """

    number: int
    count: int

    @classmethod
    def parse(cls, text: str) -> Shard:
        """Read ``2/8``.

        >>> Shard.parse("2/8")
        Shard(number=2, count=8)

        Raises:
            UsageError: It is no shard.
        """
        found = re.fullmatch(r"\s*(\d{1,9})\s*/\s*(\d{1,9})\s*", text, re.ASCII)
        number, count = map(int, found.groups()) if found else (0, 0)
        if not 1 <= number <= count <= _MOST_SHARDS:
            raise UsageError(
                f"{text!r} is no shard: write I/N, with I from 1 to N and N up to {_MOST_SHARDS:,}",
                None,
                "--shard 1/8 for the first of eight",
            )
        return cls(number, count)

    @classmethod
    def of(cls, settings: Mapping[str, str]) -> Shard | None:
        """Read it from the settings of an output; None if that is whole."""
        return cls.parse(settings[SETTING]) if SETTING in settings else None

    def __str__(self) -> str:
        return f"{self.number}/{self.count}"

    @property
    def suffix(self) -> str:
        """What the names of its files say.

        >>> Shard(2, 8).suffix
        '2-of-8'
        """
        return f"{self.number}-of-{self.count}"

    def holds(self, name: str) -> bool:
        """Tell whether an input belongs to it: by BLAKE2b, eight bytes, as a big-endian number."""
        digest = hashlib.blake2b(name.encode(), digest_size=_HASH_BYTES).digest()
        return int.from_bytes(digest, "big") % self.count == self.number - 1


def digest_of(ids: Iterable[str]) -> str:
    """Compute the digest of a whole list of inputs: SHA-256 of its ids in order, NUL after each."""
    digest = hashlib.sha256()
    for name in ids:
        digest.update(name.encode() + b"\0")
    return digest.hexdigest()
