"""MPEG audio: the tags around it, and the headers that encoders hide in the first frame.

ISO 11172-3 and 13818-3.
"""

from __future__ import annotations

import struct
from typing import Final, NamedTuple

from melcli.audio.evidence import Container, FileBytes, Mp3Header

ID3_BYTES: Final = 10
_MAX_ID3_TAGS: Final = 16
_MPEG_IDENTITY: Final = 0xFFFE_0C00  # sync, version, layer and sample rate: the same in all frames
_HEAD_BYTES: Final = 256
_WINDOW_BYTES: Final = 1 << 16

# Of layer III, by the four bits that say so: kbit/s of version 1 and of versions 2 and 2.5.
_BIT_RATES: Final = (
    (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
)
_SAMPLE_RATES: Final = (44_100, 48_000, 32_000)


class _Count(NamedTuple):
    """What a first frame says of all: by what name, how many frames and bytes; 0 if not.

    Attributes:
        is_gapless: The encoder's delay is given.
        is_empty: It says that there are no frames.
        is_signed: Its own checksum is right.
    """

    name: str | None = None
    n_frames: int = 0
    n_bytes: int = 0
    is_gapless: bool = False
    is_empty: bool = False
    is_signed: bool = False


def inspect(data: FileBytes) -> Container:
    """Where the audio lies, and what the first frame says of its length."""
    start = behind_id3(data, 0)
    frame = data.at(start, _HEAD_BYTES)
    if not is_header(frame):
        return Container(is_cut_in_header=start >= data.size)
    header = int.from_bytes(frame[:4], "big")
    count = _count(frame.ljust(_HEAD_BYTES, b"\0"), header)
    samples_per_frame = {1: 384, 2: 1152, 3: 1152 if _is_mpeg_1(header) else 576}[_layer(header)]
    stop = _before_tags(data)
    mp3 = Mp3Header(
        start, stop, samples_per_frame, count.name, count.n_frames or None, count.is_gapless
    )
    if count.is_empty and count.is_gapless:
        # The decoder leaves out the end that the encoder filled up, and finds it too early.
        fault = "is damaged: its header counts no frames"
        return Container(mp3=mp3, fault=fault, needs_ffmpeg=True)
    # The decoder stops where the count ends.
    if count.n_frames and (
        (count.n_bytes and _is_joined(data, start + count.n_bytes, header))
        or (not count.is_signed and _n_frames(data, mp3, header) > count.n_frames + 1)
    ):
        fault = "holds more audio than its header counts: several MP3 files joined?"
        return Container(mp3=mp3, fault=fault, needs_ffmpeg=True)
    return Container(mp3=mp3)


def _count(frame: bytes, header: int) -> _Count:
    if _layer(header) != 3:
        return _Count()
    if frame[36:40] == b"VBRI":
        n_bytes, n_frames = (int.from_bytes(frame[i : i + 4], "big") for i in (46, 50))
        return _Count("VBRI", n_frames, n_bytes)
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
            # LAME's part: 21 bytes in, 12 bits of delay and 12 of padding; 34 in, the checksum of
            # the frame to here.
            is_gapless = any(frame[fields + 21 : fields + 24])
            is_signed = any(frame[fields : fields + 36]) and not _crc16(frame[: fields + 36])
            is_empty = bool(flags & 1) and not n_frames
            return _Count("Xing", n_frames, n_bytes, is_gapless, is_empty, is_signed)
    return _Count()


def _is_joined(data: FileBytes, end: int, header: int) -> bool:
    """Whether another MP3 like this one begins where the count of bytes ends."""
    behind = data.at(behind_id3(data, end), 4)
    return is_header(behind) and not (int.from_bytes(behind, "big") ^ header) & _MPEG_IDENTITY


def _n_frames(data: FileBytes, mp3: Mp3Header, header: int) -> int:
    """How many whole frames of layer III lie in a row.

    To follow them all takes a twentieth of the time of decoding: for headers that are in doubt.
    """
    version = header >> 19 & 3
    sample_rates = [rate >> {3: 0, 2: 1, 0: 2}[version] for rate in _SAMPLE_RATES]
    slot = 144_000 if version == 3 else 72_000
    sizes = {
        bit_rate << 3 | rate << 1 | padding: slot * kilobits // sample_rates[rate] + padding
        for bit_rate, kilobits in enumerate(_BIT_RATES[version != 3])
        for rate in range(3)
        for padding in range(2)
        if kilobits
    }
    n_frames, at, begin, window = 0, mp3.start, 0, b""
    while True:
        if at + 4 > begin + len(window):
            begin, window = at, data.at(at, _WINDOW_BYTES)
        frame = window[at - begin : at - begin + 3]
        if len(frame) < 3 or (frame[0] << 8 | frame[1]) >> 1 != header >> 17:
            break
        at += sizes.get(frame[2] >> 1 & 0x7F, data.size)
        if at > mp3.stop:
            break
        n_frames += 1
    return n_frames


def _crc16(data: bytes) -> int:
    """The CRC-16 of MP3 headers, polynomial 0x8005 reversed: as it is written behind the data, 0.

    LAME writes the checksum with its high byte first, so the last two bytes are taken as a number.
    """
    crc, table = 0, _CRC16
    for byte in data[:-2]:
        crc = crc >> 8 ^ table[(crc ^ byte) & 0xFF]
    return crc ^ int.from_bytes(data[-2:], "big")


def _crc16_of(byte: int) -> int:
    for _ in range(8):
        byte = byte >> 1 ^ (0xA001 if byte & 1 else 0)
    return byte


_CRC16: Final = tuple(map(_crc16_of, range(256)))


def behind_id3(data: FileBytes, at: int) -> int:
    """Where the ID3v2 tags at an offset end; the offset itself where there are none."""
    for _ in range(_MAX_ID3_TAGS):
        tag = data.at(at, ID3_BYTES)
        if tag[:3] != b"ID3" or len(tag) < ID3_BYTES:
            break
        at += id3_bytes(tag)
    return at


def id3_bytes(tag: bytes) -> int:
    """Size of an ID3v2 tag: four times 7 bits, its own header and maybe a footer apart."""
    n_bytes = sum((byte & 0x7F) << 7 * (3 - i) for i, byte in enumerate(tag[6:10]))
    return ID3_BYTES + n_bytes + (ID3_BYTES if tag[5] & 0x10 else 0)


def _before_tags(data: FileBytes) -> int:
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


def is_header(frame: bytes) -> bool:
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
