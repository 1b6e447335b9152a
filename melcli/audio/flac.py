"""FLAC (RFC 9639): does its header agree with its frames?

Each frame carries checksums, and libFLAC heeds them. The header, STREAMINFO, has none, and
libsndfile believes it: at a wrong rate, or to where a count that is too small ends. But frames say
the same again. The last one tells where the recording ends, and is looked for at the end of the
file; where it is not found, the count is hidden from libsndfile, which then reads to the end, a
little slower, and is compared with what came.

The MD5 of the samples is not looked at: it would take a quarter of the time of decoding.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from melcli.audio.evidence import Container

if TYPE_CHECKING:
    from collections.abc import Iterator

    from melcli.audio.evidence import FileBytes

_HEADER_BYTES: Final = 42  # "fLaC", the head of a block, and STREAMINFO
_MAX_FRAME_HEADER_BYTES: Final = 16
_ID3V1_BYTES: Final = 128
_MAX_TAIL_BYTES: Final = 1 << 18

_SYNCS: Final = (b"\xff\xf8", b"\xff\xf9")  # frames of one size, counted; or of any, by samples

# What the four bits of a frame header say. 0 is "see STREAMINFO".
_SAMPLE_RATES: Final = {
    1: 88_200, 2: 176_400, 3: 192_000, 4: 8_000, 5: 16_000, 6: 22_050, 7: 24_000, 8: 32_000,
    9: 44_100, 10: 48_000, 11: 96_000,
}  # fmt: skip
_BITS: Final = {1: 8, 2: 12, 4: 16, 5: 20, 6: 24, 7: 32}


class _StreamInfo(NamedTuple):
    """What the header of a FLAC says."""

    block_size: int
    frame_bytes: int  # of the largest; 0 if it is unknown
    sample_rate: int
    n_channels: int
    n_bits: int
    n_samples: int  # 0 if it is unknown


class _Frame(NamedTuple):
    """What a frame says: where it ends, and what it is made of; 0 is "as STREAMINFO says"."""

    header: bytes  # to its checksum
    end: int
    sample_rate: int
    n_channels: int
    n_bits: int


def inspect(data: FileBytes, start: int = 0) -> Container:
    """Compare the header of a FLAC with its last frame.

    Args:
        data: The file.
        start: Where the FLAC begins, behind ID3v2 tags.
    """
    head = data.at(start, _HEADER_BYTES)
    info = _stream_info(head)
    if info is None or not info.n_samples:
        return Container()
    for frame in _last_frames(data, info):
        if frame.end != info.n_samples:
            continue  # not the last frame, or bytes that only look like one
        fault = _contradiction(info, frame)
        if fault is None or not _crc8(frame.header):
            return Container(fault=fault)
    hidden = bytes([head[21] & 0xF0]) + bytes(4)
    return Container(n_samples=info.n_samples, repairs=((start + 21, hidden),))


def _contradiction(info: _StreamInfo, frame: _Frame) -> str | None:
    """What a frame says otherwise than the header."""
    for said, framed, unit in (
        (info.sample_rate, frame.sample_rate, "Hz"),
        (info.n_channels, frame.n_channels, "channels"),
        (info.n_bits, frame.n_bits, "bits"),
    ):
        if framed not in {0, said}:
            return f"is damaged: its header says {said} {unit}, its frames {framed}"
    return None


def _stream_info(head: bytes) -> _StreamInfo | None:
    if len(head) < _HEADER_BYTES or head[4] & 0x7F or head[5:8] != b"\0\0\x22":
        return None
    # 20 bits of rate, 3 of channels less one, 5 of bits less one, 36 of samples.
    packed = int.from_bytes(head[18:26], "big")
    return _StreamInfo(
        block_size=int.from_bytes(head[8:10], "big"),
        frame_bytes=int.from_bytes(head[15:18], "big"),
        sample_rate=packed >> 44,
        n_channels=(packed >> 41 & 7) + 1,
        n_bits=(packed >> 36 & 31) + 1,
        n_samples=packed & (1 << 36) - 1,
    )


def _last_frames(data: FileBytes, info: _StreamInfo) -> Iterator[_Frame]:
    """What may be frames at the end of the file, the last first."""
    tail_bytes = min(info.frame_bytes or _MAX_TAIL_BYTES, _MAX_TAIL_BYTES) + _ID3V1_BYTES
    tail = data.at(max(0, data.size - tail_bytes), tail_bytes)
    for sync in _SYNCS:
        at = tail.rfind(sync)
        while at >= 0:
            header = tail[at : at + _MAX_FRAME_HEADER_BYTES]
            frame = _frame(header.ljust(_MAX_FRAME_HEADER_BYTES, b"\0"), info.block_size)
            if frame is not None:
                yield frame
            at = tail.rfind(sync, 0, at + 1)


def _frame(header: bytes, block_size: int) -> _Frame | None:
    """What a frame header says, its checksum apart; None if these bytes are none."""
    number, at = _number(header)
    if not at:
        return None
    size_code, rate_code = header[2] >> 4, header[2] & 15
    channels_code, bits_code = header[3] >> 4, header[3] >> 1 & 7
    if size_code >= 8:
        n_samples = 256 << size_code - 8
    elif size_code in {6, 7}:
        n_more = size_code - 5
        n_samples = int.from_bytes(header[at : at + n_more], "big") + 1
        at += n_more
    else:
        n_samples = 576 << size_code - 2 if size_code > 1 else 192 * size_code
    sample_rate = _SAMPLE_RATES.get(rate_code, 0)
    if rate_code in {12, 13, 14}:
        n_more = 1 if rate_code == 12 else 2
        unit = {12: 1000, 13: 1, 14: 10}[rate_code]
        sample_rate = unit * int.from_bytes(header[at : at + n_more], "big")
        at += n_more
    return _Frame(
        header=header[: at + 1],
        end=(number if header[1] & 1 else number * block_size) + n_samples,
        sample_rate=sample_rate,
        n_channels=channels_code + 1 if channels_code < 8 else 2,
        n_bits=_BITS.get(bits_code, 0),
    )


def _number(header: bytes) -> tuple[int, int]:
    """The number of a frame or sample, written as in UTF-8, and where it ends; 0 if it is none."""
    lead = header[4]
    if lead < 0x80:
        return lead, 5
    n_bytes = 8 - (lead ^ 0xFF).bit_length()  # as many as there are leading ones
    rest = header[5 : 4 + n_bytes]
    if n_bytes in {1, 8} or any(byte >> 6 != 2 for byte in rest):
        return 0, 0
    number = lead & 0x7F >> n_bytes
    for byte in rest:
        number = number << 6 | byte & 0x3F
    return number, 4 + n_bytes


def _crc8(data: bytes) -> int:
    """The CRC-8 of a frame header, polynomial 0x07: 0 where the last byte is that of the rest."""
    crc = 0
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = (crc << 1 ^ 0x107) if crc & 0x80 else crc << 1
    return crc
