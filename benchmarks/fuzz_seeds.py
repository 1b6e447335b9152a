"""The recordings that :mod:`benchmarks.fuzz` damages: small ones of every kind, made when needed.

The same bytes in every run with the same libsndfile: times and random numbers that it writes into
headers are overwritten.
"""

from __future__ import annotations

import io
import struct
import zlib
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import soundfile

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from numpy.typing import NDArray

N_SAMPLES: Final = 1200
"""Of most recordings: small files are mutated in more of their parts in the same time."""

_STEREO: Final = (
    *(("WAV", "PCM_16"), ("WAV", "PCM_24"), ("WAV", "FLOAT"), ("WAV", "MS_ADPCM")),
    *(("WAVEX", "PCM_32"), ("RF64", "PCM_16"), ("AIFF", "PCM_24"), ("AU", "ULAW")),
    *(("W64", "PCM_16"), ("CAF", "FLOAT"), ("CAF", "ALAC_16"), ("CAF", "ALAC_32")),
    *(("FLAC", "PCM_16"), ("FLAC", "PCM_24"), ("OGG", "VORBIS"), ("OGG", "OPUS")),
    *(("MP3", "MPEG_LAYER_III"), ("NIST", "PCM_16"), ("VOC", "PCM_16"), ("PAF", "PCM_24")),
)
_ODD_RATES: Final = (
    *(
        ("WAV", "PCM_16", 11_025),
        ("WAV", "PCM_U8", 44_101),
        ("AIFF", "PCM_16", 7),
        ("VOC", "PCM_16", 22_255),
    ),
    *(("FLAC", "PCM_16", 96_000), ("FLAC", "PCM_S8", 12_345), ("OGG", "VORBIS", 22_050)),
    *(("OGG", "OPUS", 48_000), ("OGG", "OPUS", 8_000), ("MP3", "MPEG_LAYER_III", 44_100)),
    *(("MP3", "MPEG_LAYER_III", 8_000), ("AU", "PCM_16", 1_000_000)),
)
_LONG: Final = (
    *(("WAV", "PCM_16"), ("FLAC", "PCM_16"), ("OGG", "VORBIS"), ("OGG", "OPUS")),
    *(("MP3", "MPEG_LAYER_III"), ("CAF", "ALAC_24"), ("W64", "IMA_ADPCM")),
)
_MATLAB_TEXT: Final = 116
"""Bytes of a MAT5 header that say who wrote it, and when."""


def seeds() -> dict[str, bytes]:
    """Every seed by its name."""
    made = dict(_written())
    made.update(_joined(made))
    made.update(_by_hand(made))
    return made


def noise(n_samples: int, n_channels: int = 1) -> NDArray[np.float32]:
    """Near silence, then noise: ``(n_samples, n_channels)``."""
    rng = np.random.default_rng(seed=3)
    samples = rng.normal(scale=0.2, size=(n_samples, n_channels))
    samples[: n_samples // 4] *= 0.001
    return samples.clip(-1, 1).astype(np.float32)


# What libsndfile writes.


def _written() -> Iterator[tuple[str, bytes]]:
    # SD2 keeps its header in a second file, which libsndfile would write to the working folder.
    for file_format in sorted(soundfile.available_formats().keys() - {"SD2"}):
        for subtype in sorted(soundfile.available_subtypes(file_format)):
            yield from _write(file_format, subtype)
    for file_format, subtype in _STEREO:
        yield from _write(file_format, subtype, n_channels=2)
    for file_format, subtype, sample_rate in _ODD_RATES:
        yield from _write(file_format, subtype, sample_rate=sample_rate)
    for file_format, subtype in _LONG:
        yield from _write(file_format, subtype, n_samples=30_000)
    for mode in ("CONSTANT", "AVERAGE", "VARIABLE"):
        yield from _write("MP3", "MPEG_LAYER_III", n_samples=9000, bitrate_mode=mode)
    yield from _write("WAV", "PCM_16", n_channels=1000, n_samples=4)
    yield from _write("FLAC", "PCM_16", n_channels=8)
    yield from _write("OGG", "VORBIS", n_channels=6)


def _write(
    file_format: str,
    subtype: str,
    *,
    n_channels: int = 1,
    sample_rate: int = 16_000,
    n_samples: int = N_SAMPLES,
    **how: Any,  # noqa: ANN401  (soundfile's)
) -> Iterator[tuple[str, bytes]]:
    """One recording and its name; nothing where libsndfile does not write such a one."""
    file = io.BytesIO()
    try:
        soundfile.write(
            file,
            noise(n_samples, n_channels),
            sample_rate,
            format=file_format,
            subtype=subtype,
            **how,
        )
    except soundfile.LibsndfileError:
        return
    told = "".join(f"-{value}".lower() for value in how.values())
    name = f"{file_format}-{subtype}-{sample_rate}-{n_channels}x{n_samples}{told}".lower()
    yield name, _timeless(file.getvalue())


def _timeless(data: bytes) -> bytes:
    """Without what differs between two runs: dates, and the random serial numbers of Ogg."""
    if data[:4] == b"OggS":
        return joined_pages(pages(data), serial=1)
    if data[:6] == b"MATLAB":
        return b"MATLAB 5.0 MAT-file".ljust(_MATLAB_TEXT) + data[_MATLAB_TEXT:]
    peak = data.find(b"PEAK", 0, 200)
    return data if peak < 0 else data[: peak + 12] + bytes(4) + data[peak + 16 :]


# Ogg: RFC 3533.


def pages(data: bytes) -> list[bytes]:
    """The pages of an Ogg that is whole."""
    found, at = [], 0
    while at < len(data):
        n_segments = data[at + 26]
        end = at + 27 + n_segments + sum(data[at + 27 : at + 27 + n_segments])
        found.append(data[at:end])
        at = end
    return found


def joined_pages(found: Iterable[bytes], *, serial: int) -> bytes:
    """Pages as one stream: numbered from 0, each with a right checksum."""
    return b"".join(
        _with_checksum(page[:14] + struct.pack("<III", serial, number, 0) + page[26:])
        for number, page in enumerate(found)
    )


def resealed(data: bytes) -> bytes:
    """Every page as far as they follow each other, with a right checksum: whatever it holds."""
    found, at = [], 0
    while data[at : at + 4] == b"OggS" and at + 27 <= len(data):
        n_segments = data[at + 26]
        end = at + 27 + n_segments + sum(data[at + 27 : at + 27 + n_segments])
        found.append(_with_checksum(data[at : at + 22] + bytes(4) + data[at + 26 : end]))
        at = end
    return b"".join(found) + data[at:]


_REVERSED: Final = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


def _with_checksum(page: bytes) -> bytes:
    """A page whose checksum is 0, with the right one.

    Ogg's CRC-32 has zlib's polynomial, takes the bits of a byte in the other order, and begins and
    ends with 0 where zlib has all ones.
    """
    crc = zlib.crc32(page.translate(_REVERSED), 0xFFFF_FFFF) ^ 0xFFFF_FFFF
    return page[:22] + crc.to_bytes(4, "big").translate(_REVERSED) + page[26:]


def _page(packet: bytes, granule: int, flags: int = 0) -> bytes:
    """One packet on a page of its own."""
    lacing = bytes([255] * (len(packet) // 255) + [len(packet) % 255])
    return struct.pack("<4sBBq12xB", b"OggS", 0, flags, granule, len(lacing)) + lacing + packet


def _ogg_flac(flac: bytes) -> bytes:
    """A FLAC laid into Ogg; few libsndfiles can read one."""
    found = [_page(b"\x7fFLAC\1\0\0\0" + flac[:42], 0, flags=2)]
    found += [_page(flac[at : at + 9000], at) for at in range(42, len(flac), 9000)]
    return joined_pages([*found, _page(b"", len(flac), flags=4)], serial=1)


# What no encoder of ours writes, made out of what one did.


def _joined(made: dict[str, bytes]) -> Iterator[tuple[str, bytes]]:
    vorbis, opus = made["ogg-vorbis-16000-1x1200"], made["ogg-opus-16000-1x1200"]
    flac = made["flac-pcm_16-16000-1x30000"]
    mp3 = made["mp3-mpeg_layer_iii-16000-1x9000-variable"]
    second = mp3.index(mp3[:2], 4)
    yield "ogg in a row", vorbis + joined_pages(pages(vorbis), serial=2)
    yield "ogg of two kinds", vorbis + joined_pages(pages(opus), serial=2)
    yield "ogg side by side", _side_by_side(pages(vorbis), pages(opus))
    yield "ogg flac", _ogg_flac(flac)
    yield "mp3 in a row", mp3 + mp3
    yield "mp3 without a count", mp3[second:]
    yield "mp3 with tags", _id3(300) + _id3(20) + mp3[second:] + _ape(200) + b"TAG" + bytes(125)
    yield "mp3 with a vbri", mp3[:36] + b"VBRI" + struct.pack(">HHHII", 1, 0, 0, 900, 9) + mp3[54:]
    yield "id3 alone", _id3(500)
    yield "id3 and noise", _id3(50) + noise(300).tobytes()
    yield "id3 that lies", b"ID3\4\0\0\x7f\x7f\x7f\x7f" + mp3
    yield "flac with id3", _id3(50) + flac
    yield "flac of no length", flac[:21] + bytes([flac[21] & 0xF0]) + bytes(4) + flac[26:]
    yield "flac of a wrong md5", flac[:26] + bytes(range(16)) + flac[42:]
    block = b"\2" + (5000).to_bytes(3, "big") + bytes(5000)
    yield "flac with a long header", flac[:42] + block + flac[42:]


def _side_by_side(one: list[bytes], other: list[bytes]) -> bytes:
    """Two streams whose pages alternate."""
    ours = pages(joined_pages(one, serial=1))
    theirs = pages(joined_pages(other, serial=2))
    n_pairs = max(len(ours), len(theirs))
    return b"".join(b"".join(ours[i : i + 1] + theirs[i : i + 1]) for i in range(n_pairs))


def _id3(n_bytes: int) -> bytes:
    """An ID3v2 tag with so many bytes in it."""
    return b"ID3\4\0\0" + bytes(n_bytes >> 7 * i & 0x7F for i in (3, 2, 1, 0)) + bytes(n_bytes)


def _ape(n_bytes: int) -> bytes:
    """An APE tag with so many bytes in it."""
    return bytes(n_bytes) + b"APETAGEX" + struct.pack("<IIII8x", 2000, n_bytes + 32, 0, 0)


def _by_hand(made: dict[str, bytes]) -> Iterator[tuple[str, bytes]]:
    pcm = (noise(600) * 32767).astype("<i2").tobytes()
    data = _chunk(b"data", pcm)
    info = _chunk(b"LIST", b"INFO" + _chunk(b"ISFT", b"melcli"))
    extensible = _fmt(0xFFFE, more=struct.pack("<HHI", 22, 16, 4) + _PCM_GUID)
    yield "wav with odd chunks", _riff(_chunk(b"bext", b"odd"), _fmt(), info, data, info)
    yield "wav extensible", _riff(extensible, _chunk(b"junk", b"x"), data, _chunk(b"cue ", b"x"))
    yield "wav with a list that lies", _riff(_fmt(), _chunk(b"LIST", b"INFO", said=2**31), data)
    yield "wav to a pipe", _riff(_fmt(), _chunk(b"data", pcm, said=0xFFFF_FFFF))
    yield "wav of no channels", _riff(_fmt(n_channels=0), data)
    yield "wav of 2,000 channels", _riff(_fmt(n_channels=2000), data)
    yield "wav at 0 Hz", _riff(_fmt(sample_rate=0), data)
    yield "wav at 1 Hz", _riff(_fmt(sample_rate=1), data)
    yield "wav at 2 GHz", _riff(_fmt(sample_rate=2**31 - 1), data)
    wild = np.array([0, np.nan, np.inf, -np.inf, 3e38] * 100, "<f4").tobytes()
    yield "wav of nan", _riff(_fmt(3, n_bits=32), _chunk(b"data", wild))
    mp3 = made["mp3-mpeg_layer_iii-16000-1x9000-constant"]
    of_mp3 = _fmt(0x55, n_bits=0, more=struct.pack("<HHIHHH", 12, 1, 2, 144, 1, 0))
    yield "wav of mp3", _riff(of_mp3, _chunk(b"fact", bytes(4)), _chunk(b"data", mp3))
    yield "wav of ogg", _riff(_fmt(), _chunk(b"data", made["ogg-vorbis-16000-1x1200"]))
    wav = made["wav-pcm_16-16000-1x1200"]
    yield "rifx", b"RIFX" + wav[4:]
    rf64, w64 = made["rf64-pcm_16-16000-1x1200"], made["w64-pcm_16-16000-1x1200"]
    yield "bw64", b"BW64" + rf64[4:]
    yield "rf64 of 2^63", rf64[:20] + struct.pack("<QQQ", 2**63, 2**63, 2**63) + rf64[44:]
    at = w64.index(b"data\xf3")
    yield "w64 of 2^63", w64[: at + 16] + struct.pack("<Q", 2**63) + w64[at + 24 :]
    caf = made["caf-pcm_16-16000-1x1200"]
    at = caf.index(b"data")
    yield "caf of no length", caf[: at + 4] + b"\xff" * 8 + caf[at + 12 :]
    yield "caf of 2^62", caf[: at + 4] + struct.pack(">Q", 2**62 - 1) + caf[at + 12 :]
    au = made["au-pcm_16-16000-1x1200"]
    yield "au of no length", au[:8] + b"\xff" * 4 + au[12:]
    yield "mpeg-4", b"\0\0\0\x20ftypM4A " + bytes(300)
    yield "text", b"to be or not to be " * 20
    yield "zeros", bytes(2000)


_PCM_GUID: Final = b"\x01\0\0\0\0\0\x10\0\x80\0\0\xaa\0\x38\x9b\x71"


def _chunk(name: bytes, body: bytes, *, said: int | None = None) -> bytes:
    """A chunk of a WAV; ``said`` is the size that it claims, if not the truth."""
    n_bytes = len(body) if said is None else said
    return name + struct.pack("<I", n_bytes) + body + bytes(len(body) % 2)


def _fmt(
    tag: int = 1,
    *,
    n_channels: int = 1,
    sample_rate: int = 16_000,
    n_bits: int = 16,
    more: bytes = b"",
) -> bytes:
    block = n_channels * n_bits // 8
    byte_rate = sample_rate * block % 2**32
    body = struct.pack("<HHIIHH", tag, n_channels, sample_rate, byte_rate, block, n_bits)
    return _chunk(b"fmt ", body + more)


def _riff(*chunks: bytes) -> bytes:
    body = b"WAVE" + b"".join(chunks)
    return b"RIFF" + struct.pack("<I", len(body)) + body
