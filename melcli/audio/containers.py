"""Does a file hold as much as its header promises? Bytes in, an answer out; nothing is decoded.

libsndfile repairs a wrong length silently, so that half a recording reads as a short one. What can
be known, and from what::

    WAV, RF64, BW64, W64, AIFF, AU, CAF   the size of the data chunk against the file's
    Ogg (Vorbis, Opus, FLAC)              every page whole, each stream ended by its end-of-stream
                                          page, and no second stream after the first
    MP3 with a Xing, Info or VBRI header  its frame count against what is decoded, and no audio
                                          behind the bytes it counts
    FLAC                                  its sample count against what is decoded

Elsewhere it cannot be known: an MP3 without such a header; a WAV, AU, CAF or FLAC that was written
to a pipe and says so (length "unknown": it is read to its end); bytes changed without a change of
length; the rarer formats, beyond what libsndfile itself notices. A cut 32-bit header of 2 GB or
more looks like one written to a pipe.

Headers lie. No size read here is allocated, and every loop moves forward in the file.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

HEAD_BYTES: Final = 4096

# 32-bit sizes from here on are what programs write when they do not know: sox 0x7FFFF000,
# others 0x7FFFFFFF less the header, ffmpeg 0xFFFFFFFF.
_UNKNOWN_32: Final = 0x7FFF_F000
_UNKNOWN_64: Final = 2**62

_MAX_CHUNKS: Final = 10_000
_MAX_OGG_STREAMS: Final = 256
_MAX_ID3_TAGS: Final = 16


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
        repairs: ``(offset, bytes)`` that replace a length left open, or a name, such that
            libsndfile reads to the end.
        fault: Why the file cannot be trusted, to be said after its name.
        needs_ffmpeg: The fault is one that ffmpeg copes with.
        is_cut_in_header: The file ends before its audio begins.
        mp3: Set for an MP3.
    """

    promised: int | None = None
    held: int = 0
    repairs: tuple[tuple[int, bytes], ...] = ()
    fault: str | None = None
    needs_ffmpeg: bool = False
    is_cut_in_header: bool = False
    mp3: Mp3Header | None = None


@dataclass(frozen=True, slots=True)
class _Size:
    """A size field: where it stands, how it is packed, and what it counts besides audio."""

    at: int
    format: str
    value: int
    overhead: int = 0


class _Bytes:
    """A file's bytes at any offset; its head is read already."""

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


def inspect(pread: Callable[[int, int], bytes], size: int, head: bytes | None = None) -> Container:
    """Read a file's header, and of Ogg the head of every page.

    Args:
        pread: ``pread(n_bytes, offset)``, as of :func:`os.pread`.
        size: Of the file, in bytes.
        head: The first bytes of the file, where they were read already.
    """
    data = _Bytes(pread, size, pread(HEAD_BYTES, 0) if head is None else head)
    magic, form = data.head[:4], data.head[8:12]
    by_magic = {b"OggS": _ogg, b"caff": _caf, b".snd": _au, b"dns.": _au, b"riff": _w64}
    if magic in (b"RIFF", b"RIFX", b"RF64", b"BW64") and form == b"WAVE":
        return _riff(data)
    if magic == b"FORM" and form in (b"AIFF", b"AIFC"):
        return _aiff(data)
    if magic in by_magic:
        return by_magic[magic](data)
    if magic[:3] == b"ID3" or _is_mpeg_header(magic):
        return _mpeg(data)
    return Container()


def foreign_format(pread: Callable[[int, int], bytes]) -> str | None:
    """The name of a format that ffmpeg reads and libsndfile does not, from a file's first bytes.

    Args:
        pread: ``pread(n_bytes, offset)``, as of :func:`os.pread`.
    """
    head = pread(64, 0)
    if head[:3] == b"ID3" and len(head) >= _ID3_BYTES:
        head = pread(64, _id3_bytes(head))
    for offset, magic, name in _FOREIGN:
        if head[offset : offset + len(magic)] == magic:
            return name
    is_adts = len(head) > 1 and head[0] == 0xFF and head[1] & 0xF6 == 0xF0  # sync, and layer 0
    return "AAC" if is_adts else None


_FOREIGN: Final = (
    (4, b"ftyp", "MPEG-4 audio"),
    (4, b"moov", "QuickTime"),
    (0, b"ADIF", "AAC"),
    (0, b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", "Windows Media"),
    (0, b"\x1a\x45\xdf\xa3", "Matroska or WebM"),
    (0, b"#!AMR", "AMR"),
    (0, b"\x0b\x77", "AC-3"),
    (0, b"\x7f\xfe\x80\x01", "DTS"),
    (0, b"MAC ", "Monkey's Audio"),
    (0, b"wvpk", "WavPack"),
    (0, b"TTA1", "True Audio"),
    (0, b"tBaK", "TAK"),
    (0, b"ajkg", "Shorten"),
    (0, b"MPCK", "Musepack"),
    (0, b"MP+", "Musepack"),
    (0, b"DSD ", "DSD"),
    (0, b"FRM8", "DSD"),
    (0, b".RMF", "RealMedia"),
    (0, b".ra\xfd", "RealAudio"),
    (0, b"FLV\x01", "Flash video"),
    (8, b"AVI ", "AVI"),
    (28, b"Speex   ", "Speex"),
)


# Chunks: RIFF, W64, AIFF, CAF, and AU, which is one chunk.


def _riff(data: _Bytes) -> Container:
    is_64 = data.head[:4] in (b"RF64", b"BW64")
    order = ">" if data.head[:4] == b"RIFX" else "<"
    size_64: _Size | None = None
    for at, name, n_bytes in _chunks(data, 12, f"{order}4sI"):
        if name == b"ds64" and is_64 and len(field := data.at(at + 16, 8)) == 8:
            size_64 = _Size(at + 16, "<Q", int.from_bytes(field, "little"))
        if name == b"data":
            size = _Size(at + 4, f"{order}I", n_bytes)
            if size_64 is not None and n_bytes == 0xFFFF_FFFF:  # "see ds64"
                size = size_64
            repairs: list[tuple[int, bytes]] = []
            if data.head[:4] == b"BW64":  # the same layout by a name that libsndfile does not know
                repairs.append((0, b"RIFF" if size_64 is None else b"RF64"))
            return _extent(data, at + 8, size, repairs)
    return Container(is_cut_in_header=True)


_W64_DATA: Final = b"data\xf3\xac\xd3\x11\x8c\xd1\0\xc0O\x8e\xdb\x8a"


def _w64(data: _Bytes) -> Container:
    # A chunk's size counts its own 24 bytes, and chunks begin at multiples of 8.
    at = 40
    for _ in range(_MAX_CHUNKS):
        header = data.at(at, 24)
        if len(header) < 24:
            break
        name, n_bytes = struct.unpack("<16sQ", header)
        if name == _W64_DATA:
            return _extent(data, at + 24, _Size(at + 16, "<Q", n_bytes, overhead=24))
        at += max(24, -(-n_bytes // 8) * 8)
    return Container(is_cut_in_header=True)


def _aiff(data: _Bytes) -> Container:
    for at, name, n_bytes in _chunks(data, 12, ">4sI"):
        if name == b"SSND":
            # 8 bytes of the chunk are an offset, nearly always 0, and a block size.
            offset = int.from_bytes(data.at(at + 8, 4), "big")
            size = _Size(at + 4, ">I", n_bytes, overhead=8 + offset)
            return _extent(data, at + 16 + offset, size)
    return Container(is_cut_in_header=True)


def _au(data: _Bytes) -> Container:
    order = ">" if data.head[:4] == b".snd" else "<"
    if len(data.head) < 24:
        return Container(is_cut_in_header=True)
    begin, n_bytes = struct.unpack_from(f"{order}II", data.head, 4)
    return _extent(data, begin, _Size(8, f"{order}I", n_bytes))


def _caf(data: _Bytes) -> Container:
    for at, name, n_bytes in _chunks(data, 8, ">4sQ", align=1):
        if name == b"data":
            # 4 bytes of the chunk count its edits. A size of -1 is "to the end of the file".
            return _extent(data, at + 16, _Size(at + 4, ">Q", n_bytes, overhead=4))
    return Container(is_cut_in_header=True)


def _chunks(
    data: _Bytes, at: int, header_format: str, *, align: int = 2
) -> Iterator[tuple[int, bytes, int]]:
    """Offset, name and size of each chunk until the end of the file."""
    header_bytes = struct.calcsize(header_format)
    for _ in range(_MAX_CHUNKS):
        header = data.at(at, header_bytes)
        if len(header) < header_bytes:
            return
        name, n_bytes = struct.unpack(header_format, header)
        yield at, name, n_bytes
        at += header_bytes + -(-n_bytes // align) * align


def _extent(
    data: _Bytes, begin: int, size: _Size, repairs: Iterable[tuple[int, bytes]] = ()
) -> Container:
    """Compare what the header promises from ``begin`` on with what the file holds there."""
    promised = max(0, size.value - size.overhead)
    held = max(0, data.size - begin)
    is_64 = size.format.endswith("Q")
    # No length, and samples behind it, not another chunk: never filled in.
    is_zero = promised == 0 and held > 0 and not _is_chunk(data.at(begin, 8))
    is_open = promised > held and size.value >= (_UNKNOWN_64 if is_64 else _UNKNOWN_32)
    if is_zero or (is_open and is_64):  # a 32-bit size that is too large libsndfile corrects
        largest = 2 ** (64 if is_64 else 32) - 1
        value = struct.pack(size.format, min(held + size.overhead, largest))
        return Container(None, held, (*repairs, (size.at, value)))
    if is_open:
        return Container(None, held, (*repairs,))
    fault = None
    if (
        # Beyond 2 or 4 GB a 32-bit size stops or wraps, and audio lies behind what it says.
        not is_64
        and data.size > _UNKNOWN_32
        and held - promised > 2**16
        and not _is_chunk(data.at(begin + promised + promised % 2, 8))
    ):
        fault = "is longer than its header can say, so that not all of it would be read"
    return Container(promised, held, (*repairs,), fault, needs_ffmpeg=fault is not None)


def _is_chunk(header: bytes) -> bool:
    """Whether bytes look like the name of a chunk, not like samples."""
    return len(header) >= 8 and all(0x20 <= byte < 0x7F for byte in header[:4])


# Ogg, by its pages: RFC 3533.


def _ogg(data: _Bytes) -> Container:
    unended: set[int] = set()  # the streams that have begun and not ended
    has_ended = False
    at = 0
    while at < data.size:
        page = data.at(at, 27 + 255)
        if page[:4] != b"OggS":
            if unended:
                return Container(fault=f"is damaged: an Ogg page is missing at byte {at}")
            break  # a tag behind the last page harms nobody
        n_segments = page[26] if len(page) > 26 else 0
        end = at + 27 + n_segments + sum(page[27 : 27 + n_segments])
        if len(page) < 27 + n_segments or end > data.size:
            return Container(fault="is cut short: it ends within an Ogg page")
        flags, serial = page[5], int.from_bytes(page[14:18], "little")
        if flags & 0x02:  # begins a stream
            if has_ended and not unended:
                return Container(
                    fault="is several Ogg streams in a row, of which libsndfile reads the first",
                    needs_ffmpeg=True,
                )
            unended.add(serial)
            if len(unended) > _MAX_OGG_STREAMS:
                return Container(fault=f"holds more than {_MAX_OGG_STREAMS} Ogg streams")
        if flags & 0x04:  # ends it
            has_ended = True
            unended.discard(serial)
        at = end
    if unended:
        return Container(fault="is cut short: it lacks the page that ends an Ogg stream")
    return Container()


# MPEG audio: ISO 11172-3 and 13818-3, and the headers that encoders hide in the first frame.

_ID3_BYTES: Final = 10
_MPEG_IDENTITY: Final = 0xFFFE_0C00  # sync, version, layer and sample rate: the same in all frames


def _mpeg(data: _Bytes) -> Container:
    start = _behind_id3(data, 0)
    frame = data.at(start, 256)
    if not _is_mpeg_header(frame):
        return Container(is_cut_in_header=start >= data.size)
    header = int.from_bytes(frame[:4], "big")
    count, n_frames, n_bytes, is_gapless = _mpeg_count(frame.ljust(256, b"\0"), header)
    samples_per_frame = {1: 384, 2: 1152, 3: 1152 if _is_mpeg_1(header) else 576}[_layer(header)]
    stop = _before_tags(data)
    mp3 = Mp3Header(start, stop, samples_per_frame, count, n_frames, is_gapless)

    # Two MP3 files joined end to end: the decoder stops where the first one's count ends.
    if n_frames and n_bytes:
        behind = data.at(_behind_id3(data, start + n_bytes), 4)
        identity = int.from_bytes(behind, "big") ^ header
        if _is_mpeg_header(behind) and not identity & _MPEG_IDENTITY:
            fault = "holds more audio than its header counts: several MP3 files joined?"
            return Container(mp3=mp3, fault=fault, needs_ffmpeg=True)
    return Container(mp3=mp3)


def _mpeg_count(frame: bytes, header: int) -> tuple[str | None, int | None, int, bool]:
    """Its name, frames and bytes, and whether it gives the encoder's delay, from a first frame."""
    if _layer(header) != 3:
        return None, None, 0, False
    if frame[36:40] == b"VBRI":
        n_bytes, n_frames = (int.from_bytes(frame[i : i + 4], "big") for i in (46, 50))
        return "VBRI", n_frames or None, n_bytes, False
    # Xing, or Info, stands where the samples would begin: behind the side information.
    is_mono = header >> 6 & 3 == 3
    side_bytes = (17 if is_mono else 32) if _is_mpeg_1(header) else (9 if is_mono else 17)
    for at in (4 + side_bytes, 6 + side_bytes):  # a checksum may move it
        if frame[at : at + 4] in (b"Xing", b"Info"):
            flags, fields = frame[at + 7], at + 8
            n_frames = int.from_bytes(frame[fields : fields + 4], "big") if flags & 1 else 0
            fields += 4 if flags & 1 else 0
            n_bytes = int.from_bytes(frame[fields : fields + 4], "big") if flags & 2 else 0
            fields += sum(n for bit, n in ((2, 4), (4, 100), (8, 4)) if flags & bit)
            # LAME's part: 21 bytes in, 12 bits of delay and 12 of padding.
            return "Xing", n_frames or None, n_bytes, any(frame[fields + 21 : fields + 24])
    return None, None, 0, False


def _behind_id3(data: _Bytes, at: int) -> int:
    """Where the ID3v2 tags at an offset end; the offset itself where there are none."""
    for _ in range(_MAX_ID3_TAGS):
        tag = data.at(at, _ID3_BYTES)
        if tag[:3] != b"ID3" or len(tag) < _ID3_BYTES:
            break
        at += _id3_bytes(tag)
    return at


def _id3_bytes(tag: bytes) -> int:
    """Size of an ID3v2 tag: four times 7 bits, its own header and maybe a footer apart."""
    n_bytes = sum((byte & 0x7F) << 7 * (3 - i) for i, byte in enumerate(tag[6:10]))
    return _ID3_BYTES + n_bytes + (_ID3_BYTES if tag[5] & 0x10 else 0)


def _before_tags(data: _Bytes) -> int:
    """Where the audio of an MP3 ends: before an ID3v1 and an APE tag, which decoders stumble on."""
    stop = data.size
    if stop > 128 and data.at(stop - 128, 3) == b"TAG":
        stop -= 128
    footer = data.at(stop - 32, 32) if stop > 32 else b""
    if footer[:8] == b"APETAGEX":
        n_bytes, _, flags = struct.unpack_from("<III", footer, 12)
        n_bytes += 32 if flags >> 31 else 0  # the size leaves out a header
        stop -= n_bytes if n_bytes < stop else 0
    return stop


def _layer(header: int) -> int:
    return 4 - (header >> 17 & 3)


def _is_mpeg_1(header: int) -> bool:
    return header >> 19 & 3 == 3


def _is_mpeg_header(frame: bytes) -> bool:
    """Whether four bytes can begin a frame: in sync, and no field at its reserved value."""
    if len(frame) < 4:
        return False
    header = int.from_bytes(frame[:4], "big")
    return (
        header >> 21 == 0x7FF
        and header >> 19 & 3 != 1
        and header >> 17 & 3 != 0
        and header >> 12 & 15 != 15
        and header >> 10 & 3 != 3
    )
