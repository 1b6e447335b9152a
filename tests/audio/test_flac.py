"""The header of a FLAC against its last frame."""

from __future__ import annotations

import io
import struct

import numpy as np
import pytest
import soundfile

from melcli.audio.containers import inspect
from melcli.audio.evidence import Container
from melcli.audio.flac import _crc8, _number
from melcli.audio.reading import read
from melcli.errors import AudioError

NOISE = np.random.default_rng(seed=5).normal(scale=0.1, size=(20_000, 8)).astype(np.float32)
STREAMINFO = 8


def flac(
    n_samples: int = 20_000,
    n_channels: int = 1,
    sample_rate: int = 16_000,
    subtype: str = "PCM_16",
    compression_level: float = 0.5,
) -> bytes:
    """A FLAC as libFLAC writes it; silence beyond the first second."""
    samples = np.zeros((n_samples, n_channels), np.float32)
    samples[: len(NOISE)] = NOISE[:n_samples, :n_channels]
    file = io.BytesIO()
    soundfile.write(
        file,
        samples,
        sample_rate,
        format="FLAC",
        subtype=subtype,
        compression_level=compression_level,
    )
    return file.getvalue()


def inspected(data: bytes) -> Container:
    """What a file of these bytes says."""
    return inspect(lambda n_bytes, offset: data[offset : offset + n_bytes], len(data))


def with_header(
    data: bytes, sample_rate: int, n_channels: int, n_bits: int, n_samples: int
) -> bytes:
    """The same FLAC, whose header says this."""
    packed = sample_rate << 44 | n_channels - 1 << 41 | n_bits - 1 << 36 | n_samples
    return data[:18] + struct.pack(">Q", packed) + data[26:]


def cause(data: bytes) -> str:
    """Why these bytes cannot be read."""
    with pytest.raises(AudioError) as caught:
        read(io.BytesIO(data))
    return caught.value.cause


# All ways of a frame to say its size: a code, 8 bits, 16 bits; its number in one byte or several.
@pytest.mark.parametrize("n_samples", [1, 100, 257, 4095, 4096, 4097, 8192, 20_000, 700_000])
@pytest.mark.parametrize("compression_level", [0.0, 0.5])
def test_the_last_frame_is_found_by_its_count(n_samples: int, compression_level: float) -> None:
    """A FLAC that is in order is not read the slow way."""
    data = flac(n_samples, compression_level=compression_level)
    assert inspected(data) == Container()


# Codes of their own, kHz in 8 bits, Hz in 16, tens of Hz in 16, and none that a frame could say.
RATES = [8_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000, 88_200, 96_000, 176_400, 192_000]


@pytest.mark.parametrize("sample_rate", [*RATES, 37_000, 12_345, 123_450])
@pytest.mark.parametrize("subtype", ["PCM_S8", "PCM_16", "PCM_24"])
def test_frames_agree_with_their_header(sample_rate: int, subtype: str) -> None:
    """However a frame says rate and width."""
    data = flac(5000, sample_rate=sample_rate, subtype=subtype)
    assert inspected(data) == Container()
    n_bits = {"PCM_S8": 8, "PCM_16": 16, "PCM_24": 24}[subtype]
    fault = inspected(with_header(data, sample_rate + 1000, 1, n_bits, 5000)).fault
    assert fault == f"is damaged: its header says {sample_rate + 1000} Hz, its frames {sample_rate}"
    assert "bits, its frames" in str(inspected(with_header(data, sample_rate, 1, 12, 5000)).fault)


def test_a_frame_need_not_say_it_again() -> None:
    """Rate and width left to the header; frames numbered by samples, the last one of 300."""
    head = with_header(flac(100)[:42], 123_457, 1, 16, 2**31 + 300)
    number = bytes.fromhex("fe 82 80 80 80 80 80")
    frame = b"\xff\xf9\x70\x00" + number + (299).to_bytes(2, "big")
    frame += bytes([_crc8(frame)])
    assert inspected(head + bytes(500) + frame + bytes(9)) == Container()
    assert inspected(head + bytes(500) + frame[:-3] + bytes(9)).n_samples == 2**31 + 300


@pytest.mark.parametrize("n_channels", range(1, 9))
def test_channels_of_a_frame_are_counted(n_channels: int) -> None:
    """Also where two are coded as their sum and difference."""
    data = flac(5000, n_channels=n_channels)
    assert inspected(data) == Container()
    wrong = n_channels % 8 + 1
    fault = inspected(with_header(data, 16_000, wrong, 16, 5000)).fault
    assert fault == f"is damaged: its header says {wrong} channels, its frames {n_channels}"


@pytest.mark.parametrize("tail", [b"TAG" + bytes(125), bytes(4000), b"APETAGEX" + bytes(300_000)])
def test_a_tag_behind_is_no_sound(tail: bytes) -> None:
    """Near the end of the file or far from it, the recording is what it was."""
    data = flac()
    whole = read(io.BytesIO(data)).samples
    assert np.array_equal(read(io.BytesIO(data + tail)).samples, whole)
    tag = b"ID3\4\0\0" + bytes([0, 0, 2, 0]) + bytes(256)
    assert np.array_equal(read(io.BytesIO(tag + data + tail)).samples, whole)


@pytest.mark.parametrize("tag", [b"", b"ID3\4\0\0" + bytes([0, 0, 2, 0]) + bytes(256)])
def test_a_count_that_is_too_small_is_told(tag: bytes) -> None:
    """Where libsndfile would stop, and be content."""
    data = flac()
    for n_samples in (1, 4096, 16_384, 19_999):
        wrong = cause(tag + with_header(data, 16_000, 1, 16, n_samples))
        assert wrong == f"is damaged: it holds more than the {n_samples} samples it counts"
    wrong = cause(tag + with_header(data, 16_000, 1, 16, 20_001))
    assert wrong == "is cut short: the header promises 20001 samples, the file holds 20000"


def test_frames_that_are_there_twice_are_told() -> None:
    """At the end of the file: there are more samples than the header counts."""
    data = flac()
    last = data.rindex(b"\xff\xf8")
    end = data.rindex(b"\xff\xf8", 0, last)
    assert cause(data + data[end:last])


@pytest.mark.parametrize(
    ("written", "number"),
    [
        ("00", 0), ("7f", 127), ("c2 80", 128), ("df bf", 2047), ("e0 a0 80", 2048),
        ("f0 90 80 80", 65_536), ("f8 88 80 80 80", 2**21), ("fc 84 80 80 80 80", 2**26),
        ("fe 82 80 80 80 80 80", 2**31), ("fe bf bf bf bf bf bf", 2**36 - 1),
    ],
)  # fmt: skip
def test_numbers_are_read_as_utf8_goes_on(written: str, number: int) -> None:
    """As in RFC 9639: seven bytes hold 36 bits."""
    coded = bytes.fromhex(written)
    assert _number((bytes(4) + coded).ljust(16, b"\0")) == (number, 4 + len(coded))


@pytest.mark.parametrize("written", ["80", "bf", "ff", "c2 00", "e0 a0 ff"])
def test_what_is_no_number_is_no_frame(written: str) -> None:
    """Bytes that only look like a frame give themselves away."""
    assert _number((bytes(4) + bytes.fromhex(written)).ljust(16, b"\0")) == (0, 0)


def test_the_checksum_of_a_frame_header_is_known() -> None:
    """The example of RFC 9639, appendix D.1."""
    assert _crc8(bytes.fromhex("ff f8 69 18 00 00 bf")) == 0
    assert _crc8(bytes.fromhex("ff f8 69 18 00 01 bf")) != 0
