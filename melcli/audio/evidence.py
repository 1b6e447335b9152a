"""The words in which a file's own bytes say how long it is, and whether it can be trusted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

HEAD_BYTES: Final = 4096


@dataclass(frozen=True, slots=True)
class Mp3Header:
    """The first frame of an MP3, and what a Xing, Info or VBRI header in it counts."""

    start: int  # of the first frame, behind ID3v2 tags
    stop: int  # before the tags at the end
    samples_per_frame: int
    count_from: str | None = None  # "Xing" (or "Info", its name in files of one bit rate) or "VBRI"
    n_frames: int | None = None
    is_gapless: bool = False  # the encoder's delay and padding are given: the count is exact


@dataclass(frozen=True, slots=True)
class Container:
    """What a file's own bytes say about its length.

    Attributes:
        promised: Bytes of audio by the header; None where it does not say.
        held: Bytes of audio that the file has room for.
        n_samples: Per channel, where a repair hides the header's count from libsndfile, which
            would stop there.
        repairs: ``(offset, bytes)`` that replace a length left open, or a name, such that
            libsndfile reads to the end.
        fault: Why the file cannot be trusted, to be said after its name.
        needs_ffmpeg: The fault is one that ffmpeg copes with.
        is_cut_in_header: The file ends before its audio begins.
        mp3: Set for an MP3.
    """

    promised: int | None = None
    held: int = 0
    n_samples: int | None = None
    repairs: tuple[tuple[int, bytes], ...] = ()
    fault: str | None = None
    needs_ffmpeg: bool = False
    is_cut_in_header: bool = False
    mp3: Mp3Header | None = None


class FileBytes:
    """A file's bytes at any offset; its head is read already.

    Args:
        pread: ``pread(n_bytes, offset)``, as of :func:`os.pread`.
        size: Of the file, in bytes.
        head: Its first bytes: ``HEAD_BYTES``, or all.
    """

    def __init__(self, pread: Callable[[int, int], bytes], size: int, head: bytes) -> None:
        self.size = size
        self.head = head
        self._pread = pread

    def at(self, offset: int, n_bytes: int) -> bytes:
        """``n_bytes`` from ``offset``: fewer at the end of the file."""
        if offset + n_bytes <= len(self.head):
            return self.head[offset : offset + n_bytes]
        if offset >= self.size:
            return b""
        return self._pread(n_bytes, offset)
