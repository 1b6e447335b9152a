"""Audio without a header: what somebody who knows says of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Self

from melcli.audio.formats import MAX_CHANNELS, MAX_SAMPLE_RATE
from melcli.errors import UsageError

_CODINGS: Final = {
    "u8": ("PCM_U8", "FILE", 1),
    "s8": ("PCM_S8", "FILE", 1),
    "s16le": ("PCM_16", "LITTLE", 2),
    "s16be": ("PCM_16", "BIG", 2),
    "s24le": ("PCM_24", "LITTLE", 3),
    "s24be": ("PCM_24", "BIG", 3),
    "s32le": ("PCM_32", "LITTLE", 4),
    "s32be": ("PCM_32", "BIG", 4),
    "f32le": ("FLOAT", "LITTLE", 4),
    "f32be": ("FLOAT", "BIG", 4),
    "f64le": ("DOUBLE", "LITTLE", 8),
    "f64be": ("DOUBLE", "BIG", 8),
    "mulaw": ("ULAW", "FILE", 1),
    "alaw": ("ALAW", "FILE", 1),
}
"""As ffmpeg calls them: libsndfile's coding and order of bytes, and bytes a number."""


@dataclass(frozen=True, slots=True)
class RawFormat:
    """How samples lie in bytes that have no header, channels interleaved.

    Args:
        sample_rate: In Hz.
        n_channels: How many.
        coding: ``"s16le"``, ``"f32le"``, … as ffmpeg's ``-f`` calls it.

    Raises:
        UsageError: There is no such rate, number or coding.
    """

    sample_rate: int
    n_channels: int
    coding: str

    def __post_init__(self) -> None:
        rate_fits = 0 < self.sample_rate <= MAX_SAMPLE_RATE
        if not (rate_fits and 0 < self.n_channels <= MAX_CHANNELS and self.coding in _CODINGS):
            raise _no_format(f"{self.sample_rate},{self.n_channels},{self.coding}")

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read rate, channels and coding.

        Raises:
            UsageError: It is not three of these.

        >>> RawFormat.parse("16000,1,s16le")
        RawFormat(sample_rate=16000, n_channels=1, coding='s16le')
        """
        try:
            rate, n_channels, coding = text.split(",")
            return cls(int(rate), int(n_channels), coding.strip().lower())
        except ValueError as error:
            raise _no_format(text) from error

    @property
    def subtype(self) -> str:
        """The coding, as libsndfile calls it."""
        return _CODINGS[self.coding][0]

    @property
    def endian(self) -> str:
        """The order of bytes, as libsndfile calls it."""
        return _CODINGS[self.coding][1]

    @property
    def frame_bytes(self) -> int:
        """Bytes of one sample of all channels."""
        return self.n_channels * _CODINGS[self.coding][2]


def _no_format(text: str) -> UsageError:
    return UsageError(
        f"raw = {text}: must be sample rate, number of channels and coding",
        None,
        f"--raw 16000,1,s16le; codings are {', '.join(_CODINGS)}",
    )
