"""Formats of older days whose headers count what they hold: NIST SPHERE, VOC, 8SVX, AVR, PAF.

libsndfile reads to the end of such a file, whatever its header says. PVF and IRCAM do not say.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final

from melcli.audio.evidence import Container

if TYPE_CHECKING:
    from collections.abc import Iterator

    from melcli.audio.evidence import FileBytes

_MAX_BLOCKS: Final = 10_000


def inspect(data: FileBytes) -> Container:
    """What the header promises, and what the file holds of it."""
    head = data.head
    if head.startswith(b"NIST_1A\n"):
        return _nist(data)
    if head.startswith(b"Creative Voice File\x1a"):
        return _voc(data)
    if head.startswith(b"FORM") and head[8:12] in (b"8SVX", b"16SV"):
        return _svx(data)
    if head.startswith(b"2BIT"):
        return _avr(data)
    if head.startswith((b" paf", b"fap ")):
        return _paf(data)
    return Container()


def _nist(data: FileBytes) -> Container:
    """A text of names and values, as many as its second line says, then samples."""
    lines = [line.split() for line in data.head[:1024].split(b"\n")]
    values = {line[0]: line[2] for line in lines if len(line) > 2}
    try:
        header_bytes = int(lines[1][0])
    except (IndexError, ValueError):
        header_bytes = 0
    if not header_bytes or header_bytes % 1024:
        return Container(fault="is damaged: its header does not say how long it is")
    try:
        n_samples, n_channels, sample_bytes = (
            int(values[name]) for name in (b"sample_count", b"channel_count", b"sample_n_bytes")
        )
    except (KeyError, ValueError):
        return Container()
    if values.get(b"sample_coding", b"pcm") not in (b"pcm", b"ulaw", b"mu-law", b"alaw"):
        return Container()  # compressed
    held = max(0, data.size - header_bytes)
    promised = n_samples * n_channels * sample_bytes
    if held == n_samples * sample_bytes:  # some count the samples of all channels
        promised = held
    return Container(promised, held)


def _voc(data: FileBytes) -> Container:
    """Blocks: a byte that says what, three of size, and of sound, what it is made of."""
    blocks = list(_voc_blocks(data, int.from_bytes(data.at(20, 2), "little")))
    sounds = [(at, n_bytes) for kind, at, n_bytes in blocks if kind in {1, 2, 9}]
    if not sounds:
        return Container(is_cut_in_header=True)
    # Some programs count too few bytes: then what follows is no chain of blocks to the end.
    if len(sounds) > 1 and blocks[-1][0] == 0:
        fault = "is a VOC of several blocks, whose heads libsndfile reads as samples"
        return Container(fault=fault, needs_ffmpeg=True)
    at, n_bytes = sounds[0]
    about_bytes = 12 if data.at(at, 1) == b"\x09" else 2
    held = data.size - at - 4 - about_bytes
    return Container(max(0, n_bytes - about_bytes), max(0, held))


def _voc_blocks(data: FileBytes, at: int) -> Iterator[tuple[int, int, int]]:
    """Kind, offset and size of each block, to the one of kind 0, which ends the file."""
    for _ in range(_MAX_BLOCKS):
        header = data.at(at, 4)
        if not header or header[0] > 9:
            return
        n_bytes = int.from_bytes(header[1:], "little")
        yield header[0], at, n_bytes
        if header[0] == 0:
            return
        at += 4 + n_bytes


def _svx(data: FileBytes) -> Container:
    at = 12
    for _ in range(_MAX_BLOCKS):
        header = data.at(at, 8)
        if len(header) < 8:
            break
        name, n_bytes = struct.unpack(">4sI", header)
        if name == b"BODY":
            return Container(n_bytes, max(0, data.size - at - 8))
        at += 8 + n_bytes + n_bytes % 2
    return Container(is_cut_in_header=True)


def _avr(data: FileBytes) -> Container:
    if len(data.head) < 128:
        return Container(is_cut_in_header=True)
    is_stereo, n_bits = struct.unpack_from(">HH", data.head, 12)
    n_samples = int.from_bytes(data.head[26:30], "big")
    sample_bytes = 2 if n_bits == 16 else 1
    held = data.size - 128
    promised = n_samples * sample_bytes * (2 if is_stereo else 1)
    if held == n_samples * sample_bytes:  # some count the samples of both channels
        promised = held
    return Container(promised, held)


def _paf(data: FileBytes) -> Container:
    """No count; but 24-bit samples come in blocks, and libsndfile fills up the last one."""
    order = ">" if data.head[:4] == b" paf" else "<"
    if len(data.head) < 24:
        return Container(is_cut_in_header=True)
    coding, n_channels = struct.unpack_from(f"{order}II", data.head, 16)
    if coding == 1 and n_channels and (data.size - 2048) % (32 * n_channels):
        return Container(fault="is cut short: it ends within a block of samples")
    return Container()
