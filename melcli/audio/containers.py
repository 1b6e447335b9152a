"""Does a file hold as much as its header promises? Bytes in, an answer out; nothing is decoded.

libsndfile repairs a wrong length silently, so that half a recording reads as a short one. What can
be known, and from what::

    WAV, RF64, BW64, W64, AIFF, AU, CAF   the size of the data chunk against the file's, and
                                          against what lies behind it; the fields of the header
                                          against each other
    Ogg (Vorbis, Opus, FLAC)              every page whole, unspoilt and in its place, each stream
                                          ended by its end-of-stream page, and no second stream
                                          after the first
    MP3 with a Xing, Info or VBRI header  its frame count against what is decoded, and no audio
                                          behind the bytes it counts
    FLAC                                  its sample count against what is decoded, and its header
                                          against its last frame
    NIST SPHERE, VOC, 8SVX, AVR           the header's count against the file's size

Elsewhere it cannot be known: an MP3 without such a header; a WAV, AU, CAF or FLAC that was written
to a pipe and says so (length "unknown": it is read to its end); bytes changed without a change of
length, in what carries no checksums; frames of a FLAC that are there twice, or have changed places;
the rarer formats, beyond what libsndfile itself notices. A cut 32-bit header of 2 GB or more looks
like one written to a pipe.

Headers lie. No size read here is allocated, and every loop moves forward in the file.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from melcli.audio import flac, mpeg, ogg, older
from melcli.audio.evidence import HEAD_BYTES, Container, FileBytes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

# 32-bit sizes from here on are what programs write when they do not know: sox 0x7FFFF000,
# others 0x7FFFFFFF less the header, ffmpeg 0xFFFFFFFF.
_UNKNOWN_32: Final = 0x7FFF_F000
_UNKNOWN_64: Final = 2**62

_MAX_CHUNKS: Final = 10_000


@dataclass(frozen=True, slots=True)
class _Size:
    """A size field: where it stands, how it is packed, and what it counts besides audio."""

    at: int
    format: str
    value: int
    overhead: int = 0


def inspect(pread: Callable[[int, int], bytes], size: int, head: bytes | None = None) -> Container:
    """Read a file's header, and of Ogg every page.

    Args:
        pread: ``pread(n_bytes, offset)``, as of :func:`os.pread`.
        size: Of the file, in bytes.
        head: The first bytes of the file, where they were read already.
    """
    data = FileBytes(pread, size, pread(HEAD_BYTES, 0) if head is None else head)
    magic, form = data.head[:4], data.head[8:12]
    if magic in (b"RIFF", b"RIFX", b"RF64", b"BW64") and form == b"WAVE":
        return _riff(data)
    if magic == b"FORM" and form in (b"AIFF", b"AIFC"):
        return _aiff(data)
    if magic in _BY_MAGIC:
        return _BY_MAGIC[magic](data)
    if magic[:3] == b"ID3":
        start = mpeg.behind_id3(data, 0)
        return flac.inspect(data, start) if data.at(start, 4) == b"fLaC" else mpeg.inspect(data)
    return mpeg.inspect(data) if mpeg.is_header(magic) else older.inspect(data)


def foreign_format(pread: Callable[[int, int], bytes]) -> str | None:
    """The name of a format that ffmpeg reads and libsndfile does not, from a file's first bytes.

    Args:
        pread: ``pread(n_bytes, offset)``, as of :func:`os.pread`.
    """
    head = pread(64, 0)
    if head[:3] == b"ID3" and len(head) >= mpeg.ID3_BYTES:
        head = pread(64, mpeg.id3_bytes(head))
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


def _riff(data: FileBytes) -> Container:
    is_64 = data.head[:4] in (b"RF64", b"BW64")
    order = ">" if data.head[:4] == b"RIFX" else "<"
    form_bytes = struct.unpack_from(f"{order}I", data.head, 4)[0]
    size_64: _Size | None = None
    form = b""
    for at, name, n_bytes in _chunks(data, 12, f"{order}4sI"):
        if name == b"ds64" and is_64 and len(field := data.at(at + 8, 16)) == 16:
            form_64, data_64 = struct.unpack("<QQ", field)
            size_64 = _Size(at + 16, "<Q", data_64)
            form_bytes = form_64 if form_bytes == 0xFFFF_FFFF else form_bytes
        if name == b"fmt ":
            form = data.at(at + 8, 16)
        if name == b"data":
            size = _Size(at + 4, f"{order}I", n_bytes)
            if size_64 is not None and n_bytes == 0xFFFF_FFFF:  # "see ds64"
                size = size_64
            repairs: list[tuple[int, bytes]] = []
            if data.head[:4] == b"BW64":  # the same layout by a name that libsndfile does not know
                repairs.append((0, b"RIFF" if size_64 is None else b"RF64"))
            found = _extent(data, at + 8, size, repairs, _Behind(8 + form_bytes, f"{order}4sI", 2))
            return _described_wav(found, form, order)
    return Container(is_cut_in_header=True)


# Codings of which a sample is a number: integers, floats, A-law, mu-law, and what GUIDs tell.
_LINEAR: Final = frozenset({1, 3, 6, 7, 0xFFFE})
_COMMON_RATES: Final = frozenset(
    {8_000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000, 88_200, 96_000}
)


def _described_wav(found: Container, form: bytes, order: str) -> Container:
    """What was found, or the fault that it contradicts the ``fmt`` chunk, or that itself.

    libsndfile goes by some of the fields and is silent about the others. A byte that was spoilt
    makes a recording another one then: of three channels, or of another rate. Programs that never
    fill in the others are not meant: those have to agree with each other.
    """
    if found.fault is not None or len(form) < 16:
        return found
    tag, n_channels, sample_rate, byte_rate, block, n_bits = struct.unpack(f"{order}HHIIHH", form)
    if tag not in _LINEAR or not n_channels or not block or not n_bits:
        return found
    sample_bytes = 1 if tag in {6, 7} else -(-n_bits // 8)
    is_24_in_32 = n_bits == 24 and block == 4 * n_channels
    if block != n_channels * sample_bytes and byte_rate == sample_rate * block and not is_24_in_32:
        channels = f"{n_channels} channel{'s' * (n_channels > 1)} of {sample_bytes} bytes"
        return _contradiction(channels, f"{block} bytes for all")
    rate, rest = divmod(byte_rate, block)
    if not rest and rate in _COMMON_RATES and sample_rate not in {rate, *_COMMON_RATES}:
        return _contradiction(f"{sample_rate} Hz", f"{byte_rate} bytes a second")
    if (found.promised or 0) % block and not found.held % block:
        return _contradiction(f"{found.promised} bytes of audio", f"{block} for each sample")
    return found


def _contradiction(one: str, other: str) -> Container:
    return Container(fault=f"is damaged: its header says {one}, and {other}")


_W64_TAIL: Final = b"\0\xc0O\x8e\xdb\x8a"  # of all their names
_W64_DATA: Final = b"data\xf3\xac\xd3\x11\x8c\xd1\0\xc0O\x8e\xdb\x8a"
_W64_FORM: Final = b"fmt \xf3\xac\xd3\x11\x8c\xd1\0\xc0O\x8e\xdb\x8a"


def _w64(data: FileBytes) -> Container:
    # A chunk's size counts its own 24 bytes, and chunks begin at multiples of 8.
    form_end = int.from_bytes(data.at(16, 8), "little")
    at, form = 40, b""
    for _ in range(_MAX_CHUNKS):
        header = data.at(at, 24)
        if len(header) < 24:
            break
        name, n_bytes = struct.unpack("<16sQ", header)
        if name == _W64_FORM:
            form = data.at(at + 24, 16)
        if name == _W64_DATA:
            size = _Size(at + 16, "<Q", n_bytes, overhead=24)
            found = _extent(data, at + 24, size, (), _Behind(form_end, "<16sQ", 8))
            return _described_wav(found, form, "<")
        at += max(24, -(-n_bytes // 8) * 8)
    return Container(is_cut_in_header=True)


def _aiff(data: FileBytes) -> Container:
    form_end = 8 + int.from_bytes(data.at(4, 4), "big")
    common = b""
    for at, name, n_bytes in _chunks(data, 12, ">4sI"):
        if name == b"COMM":
            common = data.at(at + 8, min(n_bytes, 22))
        if name == b"SSND":
            # 8 bytes of the chunk are an offset, nearly always 0, and a block size.
            offset = int.from_bytes(data.at(at + 8, 4), "big")
            size = _Size(at + 4, ">I", n_bytes, overhead=8 + offset)
            found = _extent(data, at + 16 + offset, size, (), _Behind(form_end, ">4sI", 2))
            return _counted_aiff(found, common)
    return Container(is_cut_in_header=True)


def _counted_aiff(found: Container, common: bytes) -> Container:
    """What was found, or the fault that it is not what the ``COMM`` chunk counts."""
    if len(common) < 18 or common[18:] not in (b"", b"NONE", b"twos", b"sowt"):
        return found
    n_channels, n_samples, n_bits = struct.unpack_from(">HIH", common)
    frame_bytes = n_channels * -(-n_bits // 8)
    is_counted = 0 < n_samples < _UNKNOWN_32 and found.promised is not None
    counted = n_samples * frame_bytes
    if is_counted and found.promised not in {counted, counted + counted % 2}:
        counts = f"{n_samples} samples of {frame_bytes} bytes"
        return _contradiction(counts, f"{found.promised} bytes for all")
    return found


def _au(data: FileBytes) -> Container:
    order = ">" if data.head[:4] == b".snd" else "<"
    if len(data.head) < 24:
        return Container(is_cut_in_header=True)
    begin, n_bytes = struct.unpack_from(f"{order}II", data.head, 4)
    return _extent(
        data, begin, _Size(8, f"{order}I", n_bytes), (), _Behind(data.size, f"{order}4sI", 1)
    )


def _caf(data: FileBytes) -> Container:
    for at, name, n_bytes in _chunks(data, 8, ">4sQ", align=1):
        if name == b"data":
            # 4 bytes of the chunk count its edits. A size of -1 is "to the end of the file".
            size = _Size(at + 4, ">Q", n_bytes, overhead=4)
            return _extent(data, at + 16, size, (), _Behind(data.size, ">4sQ", 1))
    return Container(is_cut_in_header=True)


def _chunks(
    data: FileBytes, at: int, header_format: str, *, align: int = 2
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


# These are no samples, whatever size they claim.
_COMMON_CHUNKS: Final = frozenset(
    {b"LIST", b"id3 ", b"ID3 ", b"JUNK", b"junk", b"fact", b"cue ", b"bext", b"PAD ", b"FLLR"}
)


@dataclass(frozen=True, slots=True)
class _Behind:
    """What may lie behind the audio that a header counts: chunks, to where the file ends.

    Args:
        end: Where it does by its header.
        chunk_format: Name and size of a chunk, as they are packed.
        align: Chunks begin at multiples of it.
    """

    end: int
    chunk_format: str
    align: int

    def is_audio(self, data: FileBytes, at: int) -> bool:
        """Whether what lies there is neither chunks nor filling."""
        behind = data.at(at, 4096)
        if self.end != data.size or len(behind) < self.align or not any(behind):
            return False
        return not any(self.is_chunk(data, at + i) for i in range(self.align))

    def is_chunk(self, data: FileBytes, at: int) -> bool:
        """Whether bytes look like the head of a chunk: its name is one, its size fits."""
        header = data.at(at, struct.calcsize(self.chunk_format))
        if len(header) < struct.calcsize(self.chunk_format):
            return False
        name, n_bytes = struct.unpack(self.chunk_format, header)
        is_name = name.endswith(_W64_TAIL) or all(0x20 <= byte < 0x7F for byte in name)
        return name in _COMMON_CHUNKS or (is_name and bool(at + n_bytes <= data.size))


def _extent(
    data: FileBytes,
    begin: int,
    size: _Size,
    repairs: Iterable[tuple[int, bytes]],
    behind: _Behind,
) -> Container:
    """Compare what the header promises from ``begin`` on with what the file holds there.

    Args:
        data: The file.
        begin: Offset of the audio.
        size: What the header says of it.
        repairs: To be made in any case.
        behind: What may follow.
    """
    promised = max(0, size.value - size.overhead)
    held = max(0, data.size - begin)
    is_64 = size.format.endswith("Q")
    # No length, and samples behind it, not another chunk: never filled in.
    is_zero = promised == 0 and held > 0 and not behind.is_chunk(data, begin)
    is_open = promised > held and size.value >= (_UNKNOWN_64 if is_64 else _UNKNOWN_32)
    if is_zero or (is_open and is_64):  # a 32-bit size that is too large libsndfile corrects
        largest = 2 ** (64 if is_64 else 32) - 1
        value = struct.pack(size.format, min(held + size.overhead, largest))
        return Container(None, held, repairs=(*repairs, (size.at, value)))
    if is_open:
        return Container(None, held, repairs=(*repairs,))
    fault = None
    is_huge = data.size > _UNKNOWN_32
    if (
        # Beyond 2 or 4 GB a 32-bit size stops or wraps, and audio lies behind what it says.
        not is_64
        and is_huge
        and held - promised > 2**16
        and not behind.is_chunk(data, begin + promised + promised % 2)
    ):
        fault = "is longer than its header can say, so that not all of it would be read"
    elif behind.is_audio(data, begin + promised):
        fault = f"is damaged: its header counts {promised} bytes of audio, and more lie behind them"
    return Container(promised, held, None, (*repairs,), fault, needs_ffmpeg=is_huge)


_BY_MAGIC: Final = {
    b"OggS": ogg.inspect,
    b"fLaC": flac.inspect,
    b"caff": _caf,
    b".snd": _au,
    b"dns.": _au,
    b"riff": _w64,
}
