"""Reading: the samples are those of libsndfile, all of them, or there is an error that says why."""

from __future__ import annotations

import io
import os
import struct
import subprocess
import sys
import threading
import tracemalloc
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from melcli.audio import formats, reading
from melcli.audio.reading import Audio, AudioReader, probe, read
from melcli.errors import AudioError

if TYPE_CHECKING:
    from tests.audio.conftest import Make

INT16 = [
    *(("WAV", "PCM_16"), ("WAV", "PCM_U8"), ("WAVEX", "PCM_16"), ("RF64", "PCM_16")),
    *(("W64", "PCM_16"), ("AIFF", "PCM_16"), ("AIFF", "PCM_S8"), ("AIFF", "PCM_U8")),
    *(("AU", "PCM_16"), ("AU", "PCM_S8"), ("CAF", "PCM_16"), ("FLAC", "PCM_16")),
    *(("FLAC", "PCM_S8"), ("NIST", "PCM_16"), ("VOC", "PCM_16"), ("AVR", "PCM_16")),
    *(("PAF", "PCM_16"), ("PVF", "PCM_16"), ("SVX", "PCM_16"), ("IRCAM", "PCM_16")),
]
FLOAT32 = [
    *(("WAV", "PCM_24"), ("WAV", "PCM_32"), ("WAV", "FLOAT"), ("WAV", "DOUBLE")),
    *(("WAV", "ULAW"), ("WAV", "ALAW"), ("WAV", "IMA_ADPCM"), ("WAV", "MS_ADPCM")),
    *(("WAV", "GSM610"), ("RF64", "FLOAT"), ("W64", "PCM_24"), ("AIFF", "FLOAT")),
    *(("AU", "DOUBLE"), ("AU", "G721_32"), ("CAF", "ALAC_16"), ("CAF", "ALAC_24")),
    *(("FLAC", "PCM_24"), ("NIST", "ULAW")),
]
LOSSY = [("OGG", "VORBIS"), ("OGG", "OPUS"), ("MP3", "MPEG_LAYER_III")]
SIZED = [
    *(("WAV", "PCM_16"), ("WAV", "PCM_24"), ("WAV", "FLOAT"), ("WAV", "ULAW"), ("WAVEX", "PCM_16")),
    *(("RF64", "PCM_16"), ("W64", "PCM_16"), ("AIFF", "PCM_16"), ("AU", "PCM_16")),
    *(("CAF", "PCM_16"), ("FLAC", "PCM_16"), ("FLAC", "PCM_24")),
]


def message(data: bytes) -> str:
    """What reading these bytes fails with."""
    with pytest.raises(AudioError) as caught:
        read(io.BytesIO(data), name="a.wav")
    return str(caught.value)


def n_descriptors() -> int:
    """How many files this process has open."""
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


# What is read.


@pytest.mark.parametrize(("file_format", "subtype"), INT16)
def test_int16_is_the_float_read_bit_for_bit(file_format: str, subtype: str, make: Make) -> None:
    """16 bits or less come as they are stored, and scale to exactly what libsndfile scales to."""
    path = make(file_format, subtype)
    audio = read(path)
    floats, sample_rate = soundfile.read(path, dtype="float32", always_2d=True)
    assert audio.samples.dtype == np.int16
    assert np.array_equal(audio.samples / np.float32(32768), floats)
    assert audio.sample_rate == sample_rate == 16_000
    assert audio.info.exact


@pytest.mark.parametrize(("file_format", "subtype"), FLOAT32 + LOSSY)
def test_everything_else_is_float32(file_format: str, subtype: str, make: Make) -> None:
    """The samples are libsndfile's, and nothing is clipped or scaled."""
    path = make(file_format, subtype)
    floats, _ = soundfile.read(path, dtype="float32", always_2d=True)
    audio = read(path)
    assert audio.samples.dtype == np.float32
    # soundfile.read seeks to the start first, after which some MP3s round the last bit otherwise.
    tolerance = 1e-6 if file_format == "MP3" else 0.0
    np.testing.assert_allclose(audio.samples, floats, rtol=0, atol=tolerance)
    assert audio.info.exact == ((file_format, subtype) not in LOSSY)


@pytest.mark.parametrize(("file_format", "subtype"), [*INT16[:8], *FLOAT32[:4], *LOSSY])
def test_channels_stay_apart(file_format: str, subtype: str, make: Make) -> None:
    """Samples are (n_samples, n_channels), C-contiguous, from a path as from a stream."""
    path = make(file_format, subtype, n_channels=2, n_samples=5000)
    audio = read(path)
    assert audio.samples.shape == (5000, 2)
    assert audio.samples.flags.c_contiguous
    assert (audio.info.n_channels, audio.info.n_samples) == (2, 5000)
    with path.open("rb") as file:
        assert np.array_equal(read(file).samples, audio.samples)
        assert not file.closed
    assert probe(path) == audio.info


def test_floats_beyond_full_scale_are_kept(tmp_path: Path) -> None:
    """A float file may exceed 1: that is its owner's affair."""
    soundfile.write(tmp_path / "a.wav", np.array([2.5, -3.0], np.float32), 8000, subtype="FLOAT")
    assert read(tmp_path / "a.wav").samples[:, 0].tolist() == [2.5, -3.0]


@pytest.mark.parametrize(("file_format", "subtype"), [*INT16, *FLOAT32, *LOSSY])
@given(sizes=st.lists(st.integers(0, 5000), min_size=1, max_size=6))
@settings(max_examples=10, deadline=None)
def test_pieces_are_the_whole(file_format: str, subtype: str, make: Make, sizes: list[int]) -> None:
    """However a recording is cut into reads, the bits are the same."""
    path = make(file_format, subtype)
    pieces = []
    with AudioReader(path) as reader:
        pieces += [reader.read(size) for size in sizes]
        while len(piece := reader.read(max(*sizes, 500))):
            pieces.append(piece)
        assert reader.read().shape == (0, 1)
    assert np.array_equal(np.concatenate(pieces), read(path).samples)


@pytest.mark.parametrize(("file_format", "subtype"), [*INT16, *FLOAT32, *LOSSY])
@pytest.mark.parametrize("size", [1, 999, 4000, 15_999, 16_000, 16_001])
def test_a_reader_knows_its_end(file_format: str, subtype: str, size: int, make: Make) -> None:
    """Every piece is as long as asked but the last, and with the last samples the end is known."""
    path = make(file_format, subtype, n_samples=160 if size == 1 else 16_000)
    n_samples = len(read(path).samples)
    n_read = 0
    with AudioReader(path) as reader:
        while n_read < n_samples:
            assert not reader.is_at_end
            expected = min(size, n_samples - n_read)
            assert len(reader.read(size)) == expected
            n_read += expected
        assert reader.is_at_end
        assert len(reader.read(size)) == 0


def test_a_read_gives_no_more_than_asked(make: Make) -> None:
    """A size is a size; a closed reader is a bug of the caller."""
    with AudioReader(make("WAV", "PCM_16")) as reader:
        assert reader.dtype == "int16"
        assert [len(reader.read(n)) for n in (0, 1, 999, 20_000, 5)] == [0, 1, 999, 15_000, 0]
    with pytest.raises(ValueError, match="closed"):
        reader.read()


# What is not whole.


@pytest.mark.parametrize(("file_format", "subtype"), SIZED + LOSSY)
@pytest.mark.parametrize("kept", [0.999, 0.9, 0.5, 0.2])
def test_a_cut_file_is_an_error(file_format: str, subtype: str, kept: float, make: Make) -> None:
    """A recording that lost its end never reads as a shorter one."""
    data = make(file_format, subtype).read_bytes()
    assert "is cut short" in message(data[: int(kept * len(data))])


@pytest.mark.parametrize(("file_format", "subtype"), SIZED + LOSSY)
def test_the_last_byte_counts(file_format: str, subtype: str, make: Make) -> None:
    """One byte less is one byte lost."""
    data = make(file_format, subtype).read_bytes()
    assert "is cut short" in message(data[:-1])


@pytest.mark.parametrize("n_kept", [4, 12, 20, 40])
def test_a_file_cut_in_its_header_is_an_error(n_kept: int, make: Make) -> None:
    """Nothing but a piece of a header is left."""
    for file_format, subtype in [*SIZED, *LOSSY]:
        data = make(file_format, subtype).read_bytes()[:n_kept]
        assert "cut short" in message(data) or "is not audio" in message(data)


def test_a_cut_file_tells_both_lengths(make: Make, tmp_path: Path) -> None:
    """The message says what was promised and what is there; the remedy what to do."""
    data = make("WAV", "PCM_16", n_samples=32_000).read_bytes()
    (tmp_path / "a.wav").write_bytes(data[: 44 + 2 * 21_920])
    with pytest.raises(AudioError, match=r"promises 2\.00 s, the file holds 1\.37 s") as caught:
        probe(tmp_path / "a.wav")
    assert caught.value.remedy == "fetch or convert it again, or leave it out with --exclude"
    assert caught.value.path == str(tmp_path / "a.wav")
    assert message(data[:-1]).endswith("promises 64000 bytes, the file holds 63999")


def test_pieces_of_a_cut_flac_end_in_an_error(make: Make) -> None:
    """Reading in pieces cannot miss the end that reading at once misses."""
    data = make("FLAC", "PCM_16").read_bytes()
    with AudioReader(io.BytesIO(data[: len(data) // 2])) as reader:
        assert len(reader.read(1000)) == 1000
        with pytest.raises(AudioError, match="is cut short"):
            reader.read()


@pytest.mark.parametrize("subtype", ["VORBIS", "OPUS"])
def test_a_hole_in_an_ogg_is_an_error(subtype: str, make: Make) -> None:
    """A page that is gone, torn or spoilt is noticed, wherever it was."""
    data = make("OGG", subtype, n_samples=96_000).read_bytes()
    pages = [i for i in range(len(data)) if data[i : i + 4] == b"OggS"]
    assert len(pages) > 4
    gone = data[: pages[-3]] + data[pages[-2] :]
    assert "Ogg pages are missing, or there twice" in message(gone)
    torn = data[: pages[-3] + 40] + data[pages[-2] :]
    assert f"the Ogg page at byte {pages[-3]} fails its checksum" in message(torn)
    nameless = data[: pages[-2]] + b"oggs" + data[pages[-2] + 4 :]
    assert f"an Ogg page is missing at byte {pages[-2]}" in message(nameless)
    spoilt = bytearray(data)
    spoilt[pages[-2] - 10] ^= 1
    assert f"the Ogg page at byte {pages[-3]} fails its checksum" in message(bytes(spoilt))


def test_ogg_streams_in_a_row_are_an_error(make: Make) -> None:
    """Of several, libsndfile would read the first and be silent about the others."""
    data = make("OGG", "VORBIS").read_bytes()
    assert "several Ogg streams in a row" in message(data * 2)
    assert len(read(io.BytesIO(data + b"TAG" + bytes(125))).samples) == 16_000


def test_joined_mp3_files_are_an_error(make: Make, tmp_path: Path) -> None:
    """Of the two, libsndfile would stop where the first file's count ends."""
    path = tmp_path / "both.mp3"
    path.write_bytes(make("MP3", "MPEG_LAYER_III").read_bytes() * 2)
    with pytest.raises(AudioError, match="several MP3 files joined") as caught:
        read(path)
    assert caught.value.remedy == formats.ffmpeg_remedy(path)


def test_an_mp3_without_a_count_is_read_to_its_end(countless_mp3: bytes, tmp_path: Path) -> None:
    """By itself, libsndfile estimates the length from the first frame, and stops there."""
    path = tmp_path / "vbr.mp3"
    path.write_bytes(countless_mp3)
    assert soundfile.info(path).frames < 40_000
    n_threads = threading.active_count()
    audio = read(path)
    assert 48_000 <= len(audio.samples) < 52_000
    assert audio.info.n_samples is None
    assert not audio.info.exact
    with AudioReader(io.BytesIO(countless_mp3)) as reader:
        assert np.array_equal(reader.read(100), audio.samples[:100])
    assert threading.active_count() == n_threads
    with AudioReader(path) as reader:
        told = [(len(reader.read(n)), reader.is_at_end) for n in (len(audio.samples), 1)]
    assert told == [(len(audio.samples), False), (0, True)]
    tagged = (
        countless_mp3
        + bytes(4000)
        + b"APETAGEX"
        + struct.pack("<IIII", 2000, 4032, 0, 0)
        + bytes(8)
    )
    assert np.array_equal(read(io.BytesIO(tagged)).samples, audio.samples)


# What does not say how long it is.

OPEN_LENGTHS = [
    *(("WAV", b"data", 4, "<I", size) for size in (0, 0x7FFFF000, 0x7FFFFFDB, 0xFFFFFFFF)),
    *(("AIFF", b"SSND", 4, ">I", size) for size in (0, 0x7FFFF008, 0xFFFFFFFF)),
    *(("AU", b".snd", 8, ">I", size) for size in (0, 0xFFFFFFFF)),
    *(("RF64", b"ds64", 16, "<Q", size) for size in (0, 2**64 - 1)),
    *(("W64", b"data\xf3", 16, "<Q", size) for size in (0, 24, 2**63 - 1, 2**64 - 1)),
    *(("CAF", b"data", 4, ">Q", size) for size in (0, 2**64 - 1)),
]


@pytest.mark.parametrize(("file_format", "chunk", "offset", "size_format", "size"), OPEN_LENGTHS)
def test_an_open_length_reads_to_the_end(
    file_format: str,
    chunk: bytes,
    offset: int,
    size_format: str,
    size: int,
    make: Make,
    tmp_path: Path,
) -> None:
    """What was written to a pipe has no length: the file's end is its end."""
    whole = make(file_format, "PCM_16")
    data = bytearray(whole.read_bytes())
    struct.pack_into(size_format, data, data.index(chunk) + offset, size)
    (tmp_path / "a.wav").write_bytes(data)
    assert np.array_equal(read(tmp_path / "a.wav").samples, read(whole).samples)
    assert np.array_equal(read(io.BytesIO(data)).samples, read(whole).samples)


def test_a_flac_without_a_length_reads_to_the_end(make: Make) -> None:
    """A FLAC written to a pipe counts 0 samples: unknown, before decoding."""
    data = bytearray(make("FLAC", "PCM_16").read_bytes())
    data[21] &= 0xF0
    data[22:26] = bytes(4)
    with AudioReader(io.BytesIO(data)) as reader:
        assert reader.info.n_samples is None
        assert not reader.info.exact
        assert len(reader.read()) == 16_000


def test_a_bw64_reads_as_the_rf64_it_is(make: Make) -> None:
    """The EBU's second name for the same layout, which libsndfile does not know."""
    path = make("RF64", "PCM_16")
    renamed = b"BW64" + path.read_bytes()[4:]
    assert np.array_equal(read(io.BytesIO(renamed)).samples, read(path).samples)


def test_a_lie_costs_no_memory(make: Make) -> None:
    """A FLAC of 1 s that claims 49 days is an error, for the price of 1 s."""
    data = bytearray(make("FLAC", "PCM_16").read_bytes())
    data[21] |= 0x0F
    data[22:26] = b"\xff" * 4
    tracemalloc.start()
    assert "is cut short" in message(bytes(data))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8 * 2**20


# What is not audio.


@pytest.mark.parametrize(
    "data", [b"hello\n", b"to be or not to be " * 100, bytes(5000), b"\x89PNG"]
)
def test_what_is_not_audio_says_so(data: bytes) -> None:
    """A text file named .wav."""
    assert message(data).startswith("a.wav: is not audio that libsndfile can read (")


def test_a_list_is_told_where_it_belongs(tmp_path: Path) -> None:
    """Who names a list as if it were audio is told the option for lists."""
    path = tmp_path / "segments.csv"
    path.write_bytes(b"path,start\na.wav,1\n")
    with pytest.raises(AudioError, match="is not audio that libsndfile can read") as caught:
        read(path)
    assert caught.value.remedy == f"if it is a list of files: --files-from {path}"


def test_a_foreign_format_gives_the_ffmpeg_line(tmp_path: Path) -> None:
    """By content, also when the extension lies; and by extension, when the content says nothing."""
    (tmp_path / "my talk.wav").write_bytes(b"\0\0\0\x20ftypM4A " + bytes(200))
    with pytest.raises(AudioError, match="is MPEG-4 audio, which libsndfile cannot") as caught:
        read(tmp_path / "my talk.wav")
    assert caught.value.remedy == formats.ffmpeg_remedy(tmp_path / "my talk.wav")
    (tmp_path / "b.aac").write_bytes(b"?" * 200)
    with pytest.raises(AudioError, match="is not audio that libsndfile can read") as caught:
        read(tmp_path / "b.aac")
    assert formats.ffmpeg_remedy(tmp_path / "b.aac") in str(caught.value.remedy)


@pytest.mark.parametrize("file_format", ["WAV", "AIFF", "AU", "CAF", "W64"])
def test_no_samples_are_an_error(file_format: str, make: Make) -> None:
    """A header alone is no recording."""
    assert "holds no samples" in message(make(file_format, "PCM_16", n_samples=0).read_bytes())


def test_impossible_rates_are_an_error(make: Make) -> None:
    """A rate of 50 MHz is a broken header, and would ask for a huge filter."""
    data = bytearray(make("WAV", "PCM_16").read_bytes())
    struct.pack_into("<II", data, 24, 50_000_000, 100_000_000)
    assert "impossible sample rate: 50000000 Hz" in message(bytes(data))
    struct.pack_into("<I", data, 24, 0)
    assert message(bytes(data))


def test_a_midi_sample_dump_is_refused(make: Make) -> None:
    """In other pieces, libsndfile reads other samples: none are better."""
    assert "is a MIDI sample dump" in message(make("SDS", "PCM_16").read_bytes())


def test_files_are_closed_whatever_happens(make: Make, tmp_path: Path) -> None:
    """A run over a million files, good and bad, uses up no descriptors."""
    good = make("WAV", "PCM_16")
    (tmp_path / "cut.wav").write_bytes(good.read_bytes()[:500])
    (tmp_path / "text.wav").write_text("hello, hello")
    before = n_descriptors()
    for path in (good, tmp_path / "cut.wav", tmp_path / "text.wav", make("MP3", "MPEG_LAYER_III")):
        try:
            read(path)
        except AudioError:
            continue
    assert n_descriptors() == before


def test_a_disk_error_while_decoding_is_told(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """A failing read is the end, to libsndfile: the reason must not be lost."""

    class Failing(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            if self.tell() > 8000:
                raise OSError(5, "Input/output error")
            return super().read(size)

    monkeypatch.setattr(reading, "FETCH_AGAIN", "")
    with pytest.raises(AudioError, match=r"stdin: cannot be read \(Input/output error\)"):
        read(Failing(make("FLAC", "PCM_16").read_bytes()), name="stdin")


def test_a_name_that_is_not_utf8_is_read(make: Make, tmp_path: Path) -> None:
    """Bytes are a path, too."""
    path = os.fsencode(tmp_path) + b"/caf\xe9.wav"
    os.link(make("WAV", "PCM_16"), path)
    assert len(read(path).samples) == 16_000


def test_reading_brings_in_no_torch() -> None:
    """Readers start as processes: each import is paid for by every one of them."""
    code = "import melcli.audio.reading, sys; print({'torch', 'click', 'h5py'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout == "set()\n"


MUTABLE = [
    *(("WAV", "PCM_16"), ("WAV", "MS_ADPCM"), ("RF64", "PCM_16"), ("W64", "FLOAT")),
    *(("AIFF", "PCM_24"), ("AU", "ULAW"), ("CAF", "PCM_16"), ("FLAC", "PCM_16"), *LOSSY),
]


@pytest.mark.parametrize(("file_format", "subtype"), MUTABLE)
@given(data=st.data())
# The same examples every time: what they could find at random is libsndfile's, not ours.
@settings(max_examples=60, deadline=None, derandomize=True)
def test_spoilt_bytes_give_audio_or_an_error(
    file_format: str, subtype: str, make: Make, data: st.DataObject
) -> None:
    """Whatever a disk or a network did to a file, nothing else comes out of it."""
    spoilt = bytearray(make(file_format, subtype, n_samples=2000).read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, min(len(spoilt), 120) - 1) | st.integers(0, len(spoilt) - 1))
        spoilt[at] = data.draw(st.sampled_from([0, 0x7F, 0x80, 0xFF]) | st.integers(0, 255))
    try:
        audio = read(io.BytesIO(spoilt))
    except AudioError:
        return
    assert isinstance(audio, Audio)
    assert len(audio.samples) > 0
