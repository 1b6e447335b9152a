"""The plainest of recordings, WAV of 16-bit integers, found out without libsndfile.

Most data sets are made of nothing else, and libsndfile takes several times longer to open such a
file than the system takes to hand over a second of speech. So one layout is known here::

    RIFF  the rest of the file, to the byte
    WAVE
    fmt   integer PCM of 16 bits, in the short form or the extensible one
    data  a whole number of samples
    LIST, fact, JUNK and the like, before and behind these: nothing that bears on the samples

Whatever differs in the least is not judged here. The answer is None, and libsndfile reads the file
or says what is wrong with it.
"""

from __future__ import annotations

from struct import Struct
from typing import TYPE_CHECKING, Final, NamedTuple

from melcli.audio.evidence import HEAD_BYTES

if TYPE_CHECKING:
    from collections.abc import Callable

_UNKNOWN_SIZE: Final = 0x7FFF_F000
"""From here on a size may mean "unknown"."""

_RIFF: Final = Struct("<4sI4s")
_CHUNK: Final = Struct("<4sI")
_FORMAT: Final = Struct("<HHIIHH")

_PCM: Final = 1
_EXTENSIBLE: Final = 0xFFFE
_PCM_GUID: Final = b"\x01\0\0\0\0\0\x10\0\x80\0\0\xaa\0\x38\x9b\x71"

_SKIPPED: Final = frozenset({b"JUNK", b"junk", b"PAD ", b"FLLR", b"id3 ", b"ID3 "})
_MAX_TEXT_BYTES: Final = 1024

# libsndfile takes samples that begin like this for a file of another kind in the WAV.
_NO_SAMPLES: Final = (b"wvpk", b"OggS")


class Layout(NamedTuple):
    """Where the samples of a plain WAV lie: int16, little-endian, one channel after the other.

    Attributes:
        format: libsndfile's name: ``"WAV"``, or ``"WAVEX"`` for the extensible form.
        sample_rate: In Hz.
        n_channels: Of the file.
        n_samples: Per channel.
        begin: Offset of the first, in bytes: even.
    """

    format: str
    sample_rate: int
    n_channels: int
    n_samples: int
    begin: int


def layout(head: bytes, size: int, pread: Callable[[int, int], bytes]) -> Layout | None:
    """The layout of a plain WAV; None for anything else.

    Args:
        head: The first ``HEAD_BYTES`` of the file; all of it if it is shorter.
        size: Of the file, in bytes.
        pread: ``pread(n_bytes, offset)``, as of :func:`os.pread`: for what stands behind the
            samples. More than ``HEAD_BYTES`` there are not plain.
    """
    if len(head) < 44 or _RIFF.unpack_from(head) != (b"RIFF", size - 8, b"WAVE"):
        return None
    found = _find_data(head)
    if found is None:
        return None
    (file_format, sample_rate, n_channels), begin, n_bytes = found
    n_samples, rest = divmod(n_bytes, 2 * n_channels)
    end = begin + n_bytes
    if rest or not 0 < n_bytes < _UNKNOWN_SIZE or head[begin : begin + 4] in _NO_SAMPLES:
        return None
    if end != size and not (end < size <= end + HEAD_BYTES and _is_tail(pread(size - end, end))):
        return None
    return Layout(file_format, sample_rate, n_channels, n_samples, begin)


def _find_data(head: bytes) -> tuple[tuple[str, int, int], int, int] | None:
    """What ``fmt`` says, and where the samples begin and how many bytes they claim to be."""
    form: tuple[str, int, int] | None = None
    at = 12
    while (begin := at + _CHUNK.size) + 4 <= len(head):  # 4: what the samples begin with is needed
        name, n_bytes = _CHUNK.unpack_from(head, at)
        if name == b"data":
            return None if form is None else (form, begin, n_bytes)
        at = begin + n_bytes
        if name == b"fmt " and form is None:
            form = _format(head[begin:at])
            if form is None:
                break
        elif not _is_skipped(name, n_bytes, head[begin:at]):
            break
    return None


def _format(body: bytes) -> tuple[str, int, int] | None:
    """Name, rate and channels by a ``fmt`` chunk of 16-bit PCM whose fields all agree."""
    if len(body) not in {16, 18, 40}:
        return None
    tag, n_channels, sample_rate, byte_rate, block_align, n_bits = _FORMAT.unpack_from(body)
    agree = (
        n_bits == 16 and block_align == 2 * n_channels and byte_rate == sample_rate * block_align
    )
    if not agree or not n_channels or not sample_rate:
        return None
    if tag == _PCM and body[16:] in (b"", b"\0\0"):
        return "WAV", sample_rate, n_channels
    # 22 more bytes, 16 valid bits; the next four say where the loudspeakers stand.
    if tag == _EXTENSIBLE and body[16:20] == b"\x16\0\x10\0" and body[24:] == _PCM_GUID:
        return "WAVEX", sample_rate, n_channels
    return None


def _is_tail(tail: bytes) -> bool:
    """Whether nothing but chunks to skip stands behind the samples, up to the last byte."""
    at = 0
    while at + _CHUNK.size <= len(tail):
        name, n_bytes = _CHUNK.unpack_from(tail, at)
        begin, at = at + _CHUNK.size, at + _CHUNK.size + n_bytes
        if not _is_skipped(name, n_bytes, tail[begin:at]):
            return False
    return at == len(tail)


def _is_skipped(name: bytes, n_bytes: int, body: bytes) -> bool:
    """Whether libsndfile goes on right behind a chunk, whatever it holds."""
    if n_bytes % 2 or n_bytes != len(body):
        return False
    if name == b"fact":
        return n_bytes == 4
    return name in _SKIPPED or (name == b"LIST" and _is_info(body))


def _is_info(body: bytes) -> bool:
    """Whether a ``LIST`` holds short texts of the usual names, and ends where the last one does."""
    at = 4
    while at + _CHUNK.size <= len(body):
        name, n_bytes = _CHUNK.unpack_from(body, at)
        is_usual = name[:1] == b"I" and name != b"INFO" and name.isalnum() and name.isupper()
        if not is_usual or n_bytes > _MAX_TEXT_BYTES:
            return False
        at += _CHUNK.size + n_bytes + n_bytes % 2
    return body[:4] == b"INFO" and 4 < at == len(body)
