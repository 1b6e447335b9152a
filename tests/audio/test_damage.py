"""Damage of every kind, to every format: a failure with its cause, or the samples that were there.

The law, for each format and each damage: reading gives an `AudioError` that says why and what to
do, or the right samples. What is right depends on what a format lets one know, and is said with
each test. `benchmarks/fuzz.py` goes on where this ends, with damage at random.
"""

from __future__ import annotations

import io
import struct
import subprocess
import sys
import zlib
from typing import TYPE_CHECKING

import numpy as np
import pytest
import soundfile

from melcli.audio.reading import AudioReader, probe, read
from melcli.config import MelConfig
from melcli.errors import AudioError
from melcli.pipeline.plan import PlannedInput
from melcli.pipeline.stopwatch import Stopwatch
from melcli.pipeline.waveforms import WaveformReader

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from tests.audio.conftest import Make

STREAM = PlannedInput("a.wav", None, None, None)
N_SAMPLES = 3000
N_CUTS, N_FLIPS = 40, 60

# Formats whose bytes say where they should end.
WHOLE = [
    *(("WAV", "PCM_U8"), ("WAV", "PCM_16"), ("WAV", "PCM_24"), ("WAV", "PCM_32")),
    *(("WAV", "FLOAT"), ("WAV", "DOUBLE"), ("WAV", "ULAW"), ("WAV", "IMA_ADPCM")),
    *(("WAV", "MS_ADPCM"), ("WAV", "G721_32"), ("WAV", "NMS_ADPCM_32"), ("WAVEX", "PCM_16")),
    *(("WAVEX", "PCM_24"), ("RF64", "PCM_16"), ("RF64", "FLOAT"), ("W64", "PCM_24")),
    *(("W64", "GSM610"), ("AIFF", "PCM_S8"), ("AIFF", "PCM_16"), ("AIFF", "FLOAT")),
    *(("AIFF", "ALAW"), ("AU", "PCM_16"), ("AU", "G723_24"), ("CAF", "PCM_16")),
    *(("CAF", "DOUBLE"), ("CAF", "ALAC_16"), ("CAF", "ALAC_24"), ("FLAC", "PCM_S8")),
    *(("FLAC", "PCM_16"), ("FLAC", "PCM_24"), ("OGG", "VORBIS"), ("OGG", "OPUS")),
    *(("MP3", "MPEG_LAYER_III"), ("NIST", "PCM_16"), ("NIST", "ULAW"), ("VOC", "PCM_U8")),
    *(("VOC", "PCM_16"), ("SVX", "PCM_16"), ("AVR", "PCM_16"), ("PAF", "PCM_24")),
]
MONO = {"G721_32", "NMS_ADPCM_32", "G723_24", "GSM610", "SVX"}  # libsndfile writes no more of it
# Formats that do not say: what is left of them is all that can be had.
BEGUN = [("PAF", "PCM_16"), ("PVF", "PCM_16"), ("IRCAM", "PCM_16"), ("IRCAM", "FLOAT")]

PLAIN = [
    *(("WAV", "PCM_16"), ("WAV", "PCM_24"), ("WAV", "FLOAT"), ("WAVEX", "PCM_16")),
    *(("RF64", "PCM_16"), ("W64", "PCM_16"), ("AIFF", "PCM_24"), ("AU", "PCM_16")),
    *(("CAF", "PCM_16"), ("NIST", "PCM_16"), ("VOC", "PCM_16"), ("SVX", "PCM_16")),
    *(("AVR", "PCM_16"), ("PVF", "PCM_16"), ("IRCAM", "PCM_16"), ("AU", "ULAW")),
]
CHECKED = [
    *(("FLAC", "PCM_S8"), ("FLAC", "PCM_16"), ("FLAC", "PCM_24")),
    *(("OGG", "VORBIS"), ("OGG", "OPUS")),
]


def outcome(data: bytes) -> NDArray[np.generic] | AudioError:
    """The samples of these bytes, or the failure that they are: with a cause and a remedy."""
    try:
        return read(io.BytesIO(data), name="a.wav").samples
    except AudioError as error:
        failure = error
    assert failure.cause
    assert failure.remedy
    assert failure.path == "a.wav"
    return failure


def cause(data: bytes) -> str:
    """Why these bytes cannot be read."""
    found = outcome(data)
    assert isinstance(found, AudioError), f"{len(found)} samples were read"
    return found.cause


def is_same(found: NDArray[np.generic] | AudioError, whole: NDArray[np.generic]) -> bool:
    """Whether samples were read, and are these to the bit."""
    return isinstance(found, np.ndarray) and found.tobytes() == whole.tobytes()


def flipped(data: bytes, bit: int) -> bytes:
    """The same with one bit turned over."""
    spoilt = bytearray(data)
    spoilt[bit // 8] ^= 1 << bit % 8
    return bytes(spoilt)


def places(n: int, begin: int, end: int) -> list[int]:
    """Different places, the same in every run: densely at the beginning, and the last ones."""
    rng = np.random.default_rng(seed=11)
    early = range(begin, min(end, begin + n // 2))
    late = range(max(begin, end - 3), end)
    return sorted({*early, *late, *rng.integers(begin, end, n - n // 2).tolist()})


# Cuts.


@pytest.mark.parametrize(
    ("file_format", "subtype", "n_channels"),
    [
        (file_format, subtype, n_channels)
        for file_format, subtype in WHOLE
        for n_channels in ((1,) if MONO & {file_format, subtype} else (1, 2))
    ],
)
def test_a_cut_anywhere_is_told(
    file_format: str, subtype: str, n_channels: int, make: Make
) -> None:
    """Nothing shorter is ever read, wherever the end is lost."""
    data = make(file_format, subtype, n_samples=N_SAMPLES, n_channels=n_channels).read_bytes()
    whole = read(io.BytesIO(data)).samples
    for n_kept in places(N_CUTS, 0, len(data)):
        found = outcome(data[:n_kept])
        # What fills up the last block, or ends it, is no sample.
        is_filling = n_kept >= len(data) - 1 and file_format in {"CAF", "VOC"}
        assert isinstance(found, AudioError) or (is_filling and is_same(found, whole)), n_kept


@pytest.mark.parametrize(("file_format", "subtype"), BEGUN)
def test_what_is_left_of_a_file_without_a_length_is_right(
    file_format: str, subtype: str, make: Make
) -> None:
    """Where the header does not count, a cut cannot be known: but what is read was there."""
    data = make(file_format, subtype, n_samples=N_SAMPLES).read_bytes()
    whole = read(io.BytesIO(data)).samples
    n_read = 0
    for n_kept in places(N_CUTS, 0, len(data)):
        found = outcome(data[:n_kept])
        if isinstance(found, np.ndarray):
            assert is_same(found, whole[: len(found)]), n_kept
            n_read += 1
    assert n_read > N_CUTS // 4


@pytest.mark.parametrize("n_lost", [1, 31, 32, 33])
def test_a_block_of_samples_is_not_filled_up(n_lost: int, make: Make) -> None:
    """What libsndfile completes the last block of a 24-bit PAF with is whatever its memory held."""
    data = make("PAF", "PCM_24", n_samples=N_SAMPLES).read_bytes()
    whole = read(io.BytesIO(data)).samples
    found = outcome(data[:-n_lost])
    if n_lost == 32:
        assert is_same(found, whole[:-10])
    else:
        assert "ends within a block of samples" in cause(data[:-n_lost])


# Bits.


@pytest.mark.parametrize(("file_format", "subtype"), CHECKED)
@pytest.mark.parametrize("n_channels", [1, 2])
def test_checksums_are_heeded(file_format: str, subtype: str, n_channels: int, make: Make) -> None:
    """Where frames and pages carry checksums, a flipped bit changes no sample unnoticed."""
    data = make(file_format, subtype, n_samples=20_000, n_channels=n_channels).read_bytes()
    whole = read(io.BytesIO(data)).samples
    n_header = 8 * (42 if file_format == "FLAC" else 60)
    n_told = 0
    for bit in [*range(n_header), *places(N_FLIPS, n_header, 8 * len(data))]:
        found = outcome(flipped(data, bit))
        assert isinstance(found, AudioError) or is_same(found, whole), bit
        n_told += isinstance(found, AudioError)
    assert n_told > N_FLIPS


@pytest.mark.parametrize(("file_format", "subtype"), CHECKED)
def test_checksums_are_heeded_in_pieces(file_format: str, subtype: str, make: Make) -> None:
    """However it is cut into reads, none of them is the last before the damage was told."""
    data = make(file_format, subtype, n_samples=20_000).read_bytes()
    whole = read(io.BytesIO(data)).samples
    for bit in places(N_FLIPS // 2, 8 * 500, 8 * len(data)):
        pieces = []
        try:
            with AudioReader(io.BytesIO(flipped(data, bit))) as reader:
                while not reader.is_at_end:
                    pieces.append(reader.read(1000))
        except AudioError:
            continue
        assert is_same(np.concatenate(pieces), whole), bit


@pytest.mark.parametrize(("file_format", "subtype"), PLAIN)
def test_a_bit_of_a_plain_sample_is_one_sample(file_format: str, subtype: str, make: Make) -> None:
    """Where nothing guards a sample, its damage stays its own."""
    data = make(file_format, subtype, n_samples=N_SAMPLES).read_bytes()
    whole = read(io.BytesIO(data)).samples[:, 0]
    n_header = len(data) - N_SAMPLES
    n_changed = 0
    for bit in places(N_FLIPS, 8 * n_header, 8 * len(data)):
        found = outcome(flipped(data, bit))
        if isinstance(found, np.ndarray):
            assert len(found) == N_SAMPLES, bit
            different = found[:, 0] != whole
            assert different.sum() <= 1, bit
            n_changed += int(different.sum())
    assert n_changed > N_FLIPS // 2


# Of these the header says everything twice, or it does not matter.
DOUBLY_SAID = [
    *(("WAV", "PCM_U8"), ("WAV", "PCM_16"), ("WAV", "PCM_24"), ("WAVEX", "PCM_16")),
    *(("WAVEX", "PCM_24"), ("RF64", "PCM_16"), ("W64", "PCM_16")),
]


@pytest.mark.parametrize(("file_format", "subtype"), DOUBLY_SAID)
@pytest.mark.parametrize("n_channels", [1, 2, 3, 6])
def test_a_bit_of_a_header_makes_no_other_recording(
    file_format: str, subtype: str, n_channels: int, make: Make
) -> None:
    """Rate, channels, width and length are what they were, or the file is refused."""
    path = make(file_format, subtype, n_samples=200, n_channels=n_channels)
    data, whole = path.read_bytes(), read(path)
    n_told = 0
    for bit in range(8 * data.index(b"data")):
        try:
            found = read(io.BytesIO(flipped(data, bit)))
        except AudioError:
            n_told += 1
            continue
        assert found.sample_rate == whole.sample_rate, bit
        assert is_same(found.samples, whole.samples), bit
    assert n_told > 100


# Sizes and counts in headers: where each stands, how it is packed, and what it counts.
SIZES = [
    *(("WAV", b"RIFF", 4, "<I"), ("WAV", b"fmt ", 4, "<I"), ("WAV", b"data", 4, "<I")),
    *(("WAVEX", b"fmt ", 4, "<I"), ("WAVEX", b"data", 4, "<I"), ("RF64", b"RF64", 4, "<I")),
    *(("RF64", b"ds64", 4, "<I"), ("RF64", b"ds64", 8, "<Q"), ("RF64", b"ds64", 16, "<Q")),
    *(("RF64", b"ds64", 24, "<Q"), ("RF64", b"data", 4, "<I"), ("W64", b"riff", 16, "<Q")),
    *(("W64", b"fmt ", 16, "<Q"), ("W64", b"data", 16, "<Q"), ("AIFF", b"FORM", 4, ">I")),
    *(("AIFF", b"COMM", 4, ">I"), ("AIFF", b"COMM", 10, ">I"), ("AIFF", b"SSND", 4, ">I")),
    *(("AIFF", b"SSND", 8, ">I"), ("AIFF", b"SSND", 12, ">I"), ("AU", b".snd", 4, ">I")),
    *(("AU", b".snd", 8, ">I"), ("CAF", b"desc", 4, ">Q"), ("CAF", b"data", 4, ">Q")),
    *(("FLAC", b"fLaC", 4, ">I"), ("FLAC", b"fLaC", 21, ">I"), ("FLAC", b"fLaC", 22, ">I")),
    *(("VOC", b"\x1a\x1a\0", 6, "<H"), ("VOC", b"\x1a\x1a\0", 1, "<H"), ("SVX", b"BODY", 4, ">I")),
    *(("SVX", b"FORM", 4, ">I"), ("AVR", b"2BIT", 26, ">I")),
]
WRONG = [0, 1, 2, 3, 7, 0x7FFF_F000, 0x7FFF_FFFF, 0x8000_0000, 0xFFFF_FFFF, 2**40, 2**62, 2**63]


@pytest.mark.parametrize(("file_format", "chunk", "offset", "size_format"), SIZES)
def test_a_wrong_size_loses_nothing_unnoticed(
    file_format: str, chunk: bytes, offset: int, size_format: str, make: Make
) -> None:
    """Every size field with every absurd value, and with values near the truth."""
    data = make(file_format, "PCM_16", n_samples=N_SAMPLES).read_bytes()
    whole = read(io.BytesIO(data)).samples
    at = data.index(chunk) + offset
    [right] = struct.unpack_from(size_format, data, at)
    n_bytes = struct.calcsize(size_format)
    near = [right - 1, right + 1, right - 32, right + 32, right // 2, 2 * right, right - 1000]
    for value in [*WRONG, 2**64 - 1, *near]:
        spoilt = bytearray(data)
        struct.pack_into(size_format, spoilt, at, value % 2 ** (8 * n_bytes))
        found = outcome(bytes(spoilt))
        assert isinstance(found, AudioError) or is_same(found, whole), (value, len(found))


@pytest.mark.parametrize("value", [b"0", b"1", b"2999", b"3001", b"99999999999999", b"-5", b"x"])
def test_a_wrong_count_of_a_nist_file_loses_nothing(value: bytes, make: Make) -> None:
    """Its header is text."""
    data = make("NIST", "PCM_16", n_samples=N_SAMPLES).read_bytes()
    whole = read(io.BytesIO(data)).samples
    count = b"sample_count -i 3000"
    assert count in data
    spoilt = data.replace(count, (b"sample_count -i " + value).ljust(len(count)))[: len(data)]
    spoilt = spoilt[:1024] if len(spoilt) < len(data) else spoilt
    found = outcome(spoilt)
    assert isinstance(found, AudioError) or is_same(found, whole)


@pytest.mark.parametrize("size", [b"   0000", b"   1000", b"  99999", b"     x ", b"   2048"])
def test_a_nist_file_that_does_not_say_where_it_begins_is_refused(size: bytes, make: Make) -> None:
    """Its header as samples, or its samples out of step, would be noise."""
    data = make("NIST", "PCM_16", n_samples=N_SAMPLES).read_bytes()
    assert data[8:15] == b"   1024"
    assert cause(data[:8] + size + data[15:])


@pytest.mark.parametrize("n_frames", [0, 1, 5, 6, 8, 1000, 2**31, 2**32 - 1])
@pytest.mark.parametrize("mode", ["CONSTANT", "VARIABLE"])
def test_a_wrong_count_of_mp3_frames_is_told(n_frames: int, mode: str) -> None:
    """Where the decoder would stop early, and where it would wait for more."""
    file = io.BytesIO()
    noise = np.random.default_rng(seed=2).normal(scale=0.1, size=6000)
    soundfile.write(file, noise, 16_000, format="MP3", bitrate_mode=mode)
    data = file.getvalue()
    at = next(at for at in (data.find(b"Xing"), data.find(b"Info")) if at >= 0) + 8
    [right] = struct.unpack_from(">I", data, at)
    assert right not in {0, n_frames}
    spoilt = bytearray(data)
    struct.pack_into(">I", spoilt, at, n_frames)
    assert cause(bytes(spoilt))


# Ogg.


def ogg_pages(data: bytes) -> list[bytes]:
    """The pages of an Ogg."""
    starts = [at for at in range(len(data)) if data[at : at + 4] == b"OggS"]
    return [data[begin:end] for begin, end in zip(starts, [*starts[1:], len(data)], strict=True)]


@pytest.mark.parametrize("subtype", ["VORBIS", "OPUS"])
def test_pages_are_all_there_and_in_order(subtype: str, make: Make) -> None:
    """A page that is gone, there twice, or has changed places with the next: none is overheard.

    libsndfile decodes a page twice if it is there twice, and the first page of sound that is gone
    or spoilt makes a shorter recording to it.
    """
    pages = ogg_pages(make("OGG", subtype, n_samples=96_000).read_bytes())
    assert len(pages) > 5
    for i in range(len(pages)):
        before, page, after = pages[:i], pages[i], pages[i + 1 :]
        assert cause(b"".join([*before, *after]))
        assert cause(b"".join([*before, page, page, *after]))
        if after:
            assert cause(b"".join([*before, after[0], page, *after[1:]]))


@pytest.mark.parametrize("subtype", ["VORBIS", "OPUS"])
def test_a_spoilt_first_page_of_sound_is_told(subtype: str, make: Make) -> None:
    """Wherever it is spoilt: it would be left out, and the recording would begin later."""
    data = make("OGG", subtype, n_samples=96_000).read_bytes()
    pages = ogg_pages(data)
    begin = len(pages[0]) + len(pages[1])
    for bit in places(N_FLIPS, 8 * begin, 8 * (begin + len(pages[2]))):
        assert cause(flipped(data, bit))


def test_a_page_is_known_by_its_checksum() -> None:
    """Ogg's own polynomial, worked out bit by bit."""
    from melcli.audio.ogg import _is_unspoilt

    page = bytearray(b"OggS" + bytes(22) + b"\x01\x05" + b"hello")
    crc = 0
    for byte in page:
        crc ^= byte << 24
        for _ in range(8):
            crc = (crc << 1 ^ 0x1_04C1_1DB7) if crc >> 31 else crc << 1
    struct.pack_into("<I", page, 22, crc)
    assert _is_unspoilt(bytes(page))
    struct.pack_into("<I", page, 22, zlib.crc32(page))
    assert not _is_unspoilt(bytes(page))


# Named cases.


def chunk(name: bytes, body: bytes, *, said: int | None = None) -> bytes:
    """A chunk of a WAV; ``said`` is the size it claims, if not the truth."""
    n_bytes = len(body) if said is None else said
    return name + struct.pack("<I", n_bytes) + body + bytes(len(body) % 2)


def fmt(n_channels: int = 1, sample_rate: int = 16_000, tag: int = 1, n_bits: int = 16) -> bytes:
    """The ``fmt`` chunk, all fields in agreement."""
    block = n_channels * n_bits // 8 % 2**16
    byte_rate = sample_rate * block % 2**32
    body = struct.pack("<HHIIHH", tag, n_channels, sample_rate, byte_rate, block, n_bits)
    guid = struct.pack("<H", 1) + b"\0\0\0\0\x10\0\x80\0\0\xaa\0\x38\x9b\x71"
    return chunk(b"fmt ", body + (struct.pack("<HHI", 22, n_bits, 0) + guid) * (tag == 0xFFFE))


def riff(*chunks: bytes) -> bytes:
    """A WAV of chunks."""
    body = b"WAVE" + b"".join(chunks)
    return b"RIFF" + struct.pack("<I", len(body)) + body


SAMPLES = np.arange(-3000, 3000, dtype="<i2")
DATA = chunk(b"data", SAMPLES.tobytes())


@pytest.mark.parametrize(
    ("n_channels", "words"),
    [(0, "Channel count is zero"), (1025, "channels"), (2000, "channels"), (65_535, "channels")],
)
def test_impossible_numbers_of_channels_are_told(n_channels: int, words: str) -> None:
    """None, and more than any recording has."""
    assert words in cause(riff(fmt(n_channels), DATA))


def test_a_thousand_channels_are_read() -> None:
    """As long as they are there."""
    found = outcome(riff(fmt(1000), DATA))
    assert is_same(found, SAMPLES.reshape(6, 1000))


@pytest.mark.parametrize("sample_rate", [0, 10_000_001, 2**31 - 1, 2**31, 2**32 - 1])
def test_impossible_rates_are_told(sample_rate: int) -> None:
    """No recording has them, and a resampler would need a filter as long."""
    assert cause(riff(fmt(sample_rate=sample_rate), DATA))


@pytest.mark.parametrize("sample_rate", [1, 62, 10_000_000])
def test_rates_too_far_from_the_front_end_are_told(sample_rate: int) -> None:
    """A sample that becomes 16,000 of them is a lie in a header: resampling stops at 256."""
    data = io.BytesIO(riff(fmt(sample_rate=sample_rate), DATA))
    config = MelConfig().updated({"wave.sample_rate": 16_000})
    with pytest.raises(AudioError, match=f"claims {sample_rate} Hz, too far from 16000 Hz"):
        WaveformReader(data, STREAM, config, Stopwatch())


ODD = {
    "odd chunks before": riff(chunk(b"bext", b"odd"), fmt(), chunk(b"what", b"odd"), DATA),
    "odd chunks behind": riff(fmt(), DATA, chunk(b"LIST", b"INFOx"), chunk(b"id3 ", b"ID3")),
    "extensible, odd": riff(fmt(tag=0xFFFE), chunk(b"junk", b"x"), DATA, chunk(b"cue ", b"xyz")),
    "a chunk of nothing": riff(chunk(b"JUNK", b""), fmt(), DATA, chunk(b"LIST", b"")),
    "filling behind": riff(fmt(), DATA) + bytes(512),
    "filling within": riff(fmt(), DATA, bytes(512)),
    "text behind": riff(fmt(), DATA) + b"written by a program that is no more",
}


@pytest.mark.parametrize("name", ODD)
def test_odd_chunks_are_no_matter(name: str) -> None:
    """Before the samples or behind them, padded as they should be."""
    assert is_same(outcome(ODD[name]), SAMPLES[:, None])


@pytest.mark.parametrize("said", [2**16, 0x7FFF_F000, 2**31, 2**32 - 1])
def test_a_list_that_lies_is_told(said: int) -> None:
    """A chunk before the samples that reaches beyond the file hides them."""
    data = riff(fmt(), chunk(b"LIST", b"INFO", said=said), DATA)
    assert cause(data) == "is cut short: the file ends within its header"


@pytest.mark.parametrize("said", [2**16, 0x7FFF_F000, 2**31, 2**32 - 1])
def test_a_list_that_lies_behind_the_samples_is_no_matter(said: int) -> None:
    """They are all there."""
    found = outcome(riff(fmt(), DATA, chunk(b"LIST", b"INFO", said=said)))
    assert is_same(found, SAMPLES[:, None])


@pytest.mark.parametrize("tag_bytes", [10, 500, 5000])
@pytest.mark.parametrize("behind", [b"", b"TAG" + bytes(125), bytes(700)])
def test_tags_without_sound_are_told(tag_bytes: int, behind: bytes) -> None:
    """An MP3 of which only the tags came."""
    size = bytes(tag_bytes >> 7 * i & 0x7F for i in (3, 2, 1, 0))
    tag = b"ID3\4\0\0" + size + bytes(tag_bytes)
    assert cause(tag + behind)


def test_a_wrong_md5_of_a_flac_is_no_matter(make: Make) -> None:
    """The samples are guarded by the checksums of their frames, and are right."""
    data = make("FLAC", "PCM_16").read_bytes()
    whole = read(io.BytesIO(data)).samples
    assert is_same(outcome(data[:26] + bytes(range(16)) + data[42:]), whole)
    assert is_same(outcome(data[:26] + bytes(16) + data[42:]), whole)


FLOATS = [
    ("WAV", "FLOAT"),
    ("WAV", "DOUBLE"),
    ("AIFF", "FLOAT"),
    ("CAF", "DOUBLE"),
    ("AU", "FLOAT"),
]


@pytest.mark.parametrize(("file_format", "subtype"), FLOATS)
@pytest.mark.parametrize("wild", [np.nan, np.inf, -np.inf])
def test_samples_that_are_no_numbers_are_counted(
    file_format: str, subtype: str, wild: float
) -> None:
    """From where on, and how many; no piece of them becomes a waveform."""
    samples = np.full((5000, 2), 0.25)
    samples[[1234, 1300, 4999], [1, 0, 1]] = wild
    file = io.BytesIO()
    soundfile.write(file, samples, 16_000, format=file_format, subtype=subtype)
    config = MelConfig().updated({"wave.sample_rate": 16_000})
    with (
        WaveformReader(file, STREAM, config, Stopwatch()) as reader,
        pytest.raises(AudioError, match="holds 3 samples that are NaN or infinite, from sample 12"),
    ):
        reader.read()


# Lies about length cost neither time nor memory.


def promises(file_format: str, subtype: str, make: Make) -> Iterator[tuple[str, bytes]]:
    """Small files whose headers promise some 2**40 samples, or no end."""
    data = make(file_format, subtype, n_samples=N_SAMPLES).read_bytes()
    for chunk_name, offset, size_format in {
        "RF64": [(b"ds64", 16, "<Q")],
        "W64": [(b"data\xf3", 16, "<Q"), (b"fact\xf3", 24, "<Q")],
        "CAF": [(b"data", 4, ">Q"), (b"pakt", 12, ">Q"), (b"pakt", 20, ">Q")],
    }[file_format]:
        for size in (2**40, 2**41, 2**60, 2**63, 2**63 + 2**61):
            if chunk_name in data:
                spoilt = bytearray(data)
                struct.pack_into(size_format, spoilt, data.index(chunk_name) + offset, size)
                yield f"{chunk_name!r} {size}", bytes(spoilt)


@pytest.mark.parametrize(
    ("file_format", "subtype"),
    [
        *(("RF64", "PCM_16"), ("RF64", "FLOAT"), ("W64", "PCM_24"), ("W64", "GSM610")),
        *(("W64", "IMA_ADPCM"), ("CAF", "PCM_16"), ("CAF", "ALAC_16"), ("CAF", "ALAC_32")),
    ],
)
def test_what_a_header_promises_is_not_waited_for(
    file_format: str, subtype: str, make: Make
) -> None:
    """The samples that are there, or a failure: never silence for as long as was promised."""
    whole = read(make(file_format, subtype, n_samples=N_SAMPLES)).samples
    for name, data in promises(file_format, subtype, make):
        with_header = io.BytesIO(data)
        try:
            n_samples = probe(with_header).n_samples
        except AudioError:
            continue
        assert (n_samples or 0) <= 2 * len(whole), name
        assert is_same(outcome(data), whole), name


def test_decoders_that_never_run_dry_are_not_believed(make: Make, tmp_path: Path) -> None:
    """A W64 of 435 bytes that kept libsndfile busy for good.

    A size that is wrong hides the data chunk from whoever goes by sizes. libsndfile finds it, takes
    its negative size for a large one, and decodes the last block of GSM 6.10 over and over.
    """
    data = bytearray(make("W64", "GSM610", n_samples=1200).read_bytes())
    struct.pack_into("<Q", data, data.index(b"fact\xf3") + 16, 160)
    struct.pack_into("<Q", data, data.index(b"data\xf3") + 16, 0xBED9_0000_0000_011C)
    (tmp_path / "a.w64").write_bytes(data)
    with pytest.raises(AudioError, match="bytes cannot hold the 549755815680 samples that its"):
        probe(tmp_path / "a.w64")


PEAK = """
import io, resource, sys
from melcli.audio.reading import read
from melcli.errors import AudioError
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
resource.setrlimit(resource.RLIMIT_DATA, (1 << 30, 1 << 30))
for name in sys.argv[1:]:
    try:
        read(name)
    except AudioError:
        pass
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


def test_what_a_header_promises_is_not_allocated(make: Make, tmp_path: Path) -> None:
    """Neither here nor in libsndfile: not asked for, under a limit, and not used."""
    names = []
    for file_format, subtype in [("RF64", "PCM_16"), ("W64", "PCM_24"), ("CAF", "ALAC_16")]:
        for number, (_, data) in enumerate(promises(file_format, subtype, make)):
            names.append(tmp_path / f"{file_format}-{subtype}-{number}.lie")
            names[-1].write_bytes(data)
    flac = bytearray(make("FLAC", "PCM_16", n_samples=N_SAMPLES).read_bytes())
    flac[21:26] = bytes([flac[21] | 0x0F]) + b"\xff" * 4
    names.append(tmp_path / "flac.lie")
    names[-1].write_bytes(flac)
    done = subprocess.run(
        [sys.executable, "-c", PEAK, *names], check=True, capture_output=True, text=True
    )
    assert int(done.stdout.splitlines()[-1]) < 32 * 1024  # kB
