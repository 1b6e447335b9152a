"""Headers against files: what is whole, what is cut, what does not say."""

from __future__ import annotations

import struct
import tracemalloc
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from melcli.audio.containers import foreign_format, inspect

if TYPE_CHECKING:
    from collections.abc import Callable

    from melcli.audio.evidence import Container
    from tests.audio.conftest import Make

CHUNKED = ["WAV", "WAVEX", "RF64", "W64", "AIFF", "AU", "CAF"]


def pread_of(data: bytes) -> Callable[[int, int], bytes]:
    """``os.pread``, of bytes."""
    return lambda n_bytes, offset: data[offset : offset + n_bytes]


def inspect_bytes(data: bytes) -> Container:
    """What a file of these bytes says."""
    return inspect(pread_of(data), len(data))


@pytest.mark.parametrize("file_format", CHUNKED)
def test_a_whole_file_holds_what_it_promises(file_format: str, make: Make) -> None:
    """The size of the data chunk is that of the samples: 16 bits each."""
    container = inspect_bytes(make(file_format, "PCM_16").read_bytes())
    assert container.promised == 2 * 16_000
    assert container.held >= container.promised
    assert container.fault is None
    assert container.repairs == ()


@pytest.mark.parametrize("file_format", CHUNKED)
@pytest.mark.parametrize("n_lost", [1, 1000, 31_999])
def test_a_cut_file_holds_less(file_format: str, n_lost: int, make: Make) -> None:
    """Even the last byte is missed."""
    data = make(file_format, "PCM_16").read_bytes()
    whole = inspect_bytes(data)
    n_behind = whole.held - (whole.promised or 0)
    container = inspect_bytes(data[: len(data) - n_behind - n_lost])
    assert container.promised == 2 * 16_000
    assert container.held == 2 * 16_000 - n_lost


@pytest.mark.parametrize("file_format", CHUNKED)
def test_a_file_that_ends_in_its_header_says_so(file_format: str, make: Make) -> None:
    """Without a data chunk nothing is promised, and the cut is still known."""
    assert inspect_bytes(make(file_format, "PCM_16").read_bytes()[:20]).is_cut_in_header


def test_a_chunk_behind_no_samples_is_not_audio() -> None:
    """A data chunk of size 0 with another chunk behind it is empty, not left open."""
    head = (
        b"RIFF"
        + struct.pack("<I", 56)
        + b"WAVEfmt "
        + struct.pack("<IHHIIHH", 16, 1, 1, 8000, 16000, 2, 16)
    )
    data = head + b"data" + struct.pack("<I", 0) + b"LIST" + struct.pack("<I", 4) + b"INFO"
    assert inspect_bytes(data).promised == 0


def test_a_size_that_wrapped_at_4_gb_is_a_fault() -> None:
    """A 32-bit size says 1 kB, the file is 5 GB: reading 1 kB of it would be wrong."""
    head = (
        b"RIFF"
        + struct.pack("<I", 1060)
        + b"WAVEfmt "
        + struct.pack("<IHHIIHH", 16, 1, 1, 8000, 16000, 2, 16)
    )
    data = head + b"data" + struct.pack("<I", 1024)

    def pread(n_bytes: int, offset: int) -> bytes:
        return data[offset : offset + n_bytes].ljust(n_bytes, b"\1")

    container = inspect(pread, 5 * 2**30)
    assert "longer than its header can say" in str(container.fault)


PCM = struct.pack("<HHIIHH", 1, 1, 16_000, 32_000, 2, 16)


def wav(form: bytes, n_bytes: int, behind: bytes = b"") -> bytes:
    """A WAV of this ``fmt`` chunk, so many bytes of audio and what follows."""
    body = b"WAVEfmt " + struct.pack("<I", len(form)) + form
    body += b"data" + struct.pack("<I", n_bytes) + b"\x7f\x80" * (n_bytes // 2) + behind
    return b"RIFF" + struct.pack("<I", len(body)) + body


CONTRADICTIONS = {
    "says 3 channels of 2 bytes, and 2 bytes for all": (1, 3, 16_000, 32_000, 2, 16),
    "says 1 channel of 2 bytes, and 4 bytes for all": (1, 1, 16_000, 64_000, 4, 16),
    "says 2 channels of 1 bytes, and 4 bytes for all": (7, 2, 8_000, 32_000, 4, 8),
    "says 1 channel of 4 bytes, and 2 bytes for all": (3, 1, 16_000, 32_000, 2, 32),
    "says 16001 Hz, and 32000 bytes a second": (1, 1, 16_001, 32_000, 2, 16),
    "says 278144 Hz, and 64000 bytes a second": (1, 2, 278_144, 64_000, 4, 16),
}
AGREEMENTS = {
    "as it should be": (1, 1, 16_000, 32_000, 2, 16),
    "bytes a second never filled in": (1, 1, 16_001, 0, 2, 16),
    "bytes for all never filled in": (1, 3, 16_000, 32_000, 0, 16),
    "bytes for all of one channel, and nothing agrees with it": (1, 2, 16_000, 64_000, 2, 16),
    "a rate of another file, both of them common": (1, 1, 16_000, 88_200, 2, 16),
    "an odd rate, and bits a second": (1, 1, 16_001, 256_016, 2, 16),
    "24 bits in 32": (1, 2, 48_000, 384_000, 8, 24),
    "20 bits in 24": (1, 2, 48_000, 288_000, 6, 20),
    "mu-law, of no bits": (7, 1, 8_000, 8_000, 1, 0),
    "mu-law, of 16 bits": (7, 1, 8_000, 8_000, 1, 16),
    "ADPCM, whose rates are its own": (2, 1, 16_001, 8_000, 256, 4),
}


@pytest.mark.parametrize("words", CONTRADICTIONS)
def test_a_header_that_contradicts_itself_is_a_fault(words: str) -> None:
    """Fields that agree with each other and not with a third: that one is spoilt."""
    fault = inspect_bytes(wav(struct.pack("<HHIIHH", *CONTRADICTIONS[words]), 1200)).fault
    assert fault == f"is damaged: its header {words}"


def test_half_a_sample_is_a_fault() -> None:
    """A size one less than the truth; but a byte of filling behind an odd size is none."""
    data = bytearray(wav(PCM, 1200))
    struct.pack_into("<I", data, data.index(b"data") + 4, 1199)
    fault = "is damaged: its header says 1199 bytes of audio, and 2 for each sample"
    assert inspect_bytes(bytes(data)).fault == fault
    data = bytearray(wav(struct.pack("<HHIIHH", 1, 1, 16_000, 48_000, 3, 24), 1204))
    struct.pack_into("<I", data, data.index(b"data") + 4, 1203)
    assert inspect_bytes(bytes(data)).fault is None


@pytest.mark.parametrize("name", AGREEMENTS)
def test_a_header_that_leaves_things_out_is_believed(name: str) -> None:
    """What programs never filled in, or fill in their own way, says nothing of the rest."""
    assert inspect_bytes(wav(struct.pack("<HHIIHH", *AGREEMENTS[name]), 1200)).fault is None


@pytest.mark.parametrize(
    "behind",
    [
        *(b"", b"\0", b"\xff", bytes(2000), b"LIST\x04\0\0\0INFO", b"what\0\0\0\0"),
        *(b"\0LIST\x04\0\0\0INFO", b"LIST\xff\xff\xff\xffINFO"),
    ],
)
def test_what_may_lie_behind_the_audio(behind: bytes) -> None:
    """Chunks, wherever they are aligned, and filling."""
    assert inspect_bytes(wav(PCM, 1200, behind)).fault is None


@pytest.mark.parametrize("behind", [b"\x7f\x80", b"\x7f\x80" * 500, b"what\xff\xff\0\0" * 3])
def test_what_may_not_lie_behind_the_audio(behind: bytes) -> None:
    """More of it: the header counts too little. But only if the file ends where it should."""
    fault = "is damaged: its header counts 1200 bytes of audio, and more lie behind them"
    data = wav(PCM, 1200, behind)
    assert inspect_bytes(data).fault == fault
    assert inspect_bytes(data[:4] + b"\0" + data[5:]).fault is None


def test_a_voc_of_several_blocks_is_a_fault(make: Make) -> None:
    """Between them libsndfile takes heads for samples; ffmpeg does not."""
    data = make("VOC", "PCM_U8").read_bytes()
    assert inspect_bytes(data).promised == 16_000
    sound = b"\x02" + (100).to_bytes(3, "little") + bytes(100)
    container = inspect_bytes(data[:-1] + sound + b"\0")
    assert "is a VOC of several blocks" in str(container.fault)
    assert container.needs_ffmpeg
    # sox counts 8 bytes too few, and the samples are all there.
    at = data.index(b"\x1a\x1a\0") + 7
    miscounted = data[:at] + (int.from_bytes(data[at : at + 3], "little") - 8).to_bytes(3, "little")
    assert inspect_bytes(miscounted + data[at + 3 :]).fault is None


def test_an_mp3_that_counts_no_frames_is_a_fault(make: Make) -> None:
    """With a count of zero, libsndfile leaves out what it takes for the encoder's filling."""
    data = bytearray(make("MP3", "MPEG_LAYER_III").read_bytes())
    at = data.index(b"Xing")
    struct.pack_into(">I", data, at + 8, 0)
    assert inspect_bytes(bytes(data)).fault == "is damaged: its header counts no frames"


def test_frames_of_an_unsigned_mp3_are_counted(make: Make) -> None:
    """The checksum of the first frame stands for its count; without it they are followed."""
    data = bytearray(make("MP3", "MPEG_LAYER_III").read_bytes())
    at = data.index(b"Xing")
    [n_frames] = struct.unpack_from(">I", data, at + 8)
    data[at + 120 + 9] ^= 1  # in the name of the encoder
    assert inspect_bytes(bytes(data)).fault is None
    struct.pack_into(">I", data, at + 8, n_frames - 1)
    assert "holds more audio than its header counts" in str(inspect_bytes(bytes(data)).fault)


def test_an_mp3_counts_its_frames(make: Make) -> None:
    """The Info header's frames cover the samples, the encoder's delay and its padding."""
    mp3 = inspect_bytes(make("MP3", "MPEG_LAYER_III").read_bytes()).mp3
    assert mp3 is not None
    assert mp3.n_frames is not None
    assert 16_000 < mp3.n_frames * mp3.samples_per_frame < 16_000 + 5 * mp3.samples_per_frame
    assert mp3.is_gapless


def test_tags_around_an_mp3_are_not_audio(countless_mp3: bytes) -> None:
    """ID3v2 in front, APE and ID3v1 behind: what is fed to the decoder lies between."""
    id3 = b"ID3\4\0\0" + bytes([0, 0, 0x10, 0]) + bytes(2048)
    ape = bytes(3000) + b"APETAGEX" + struct.pack("<IIII", 2000, 3032, 0, 0) + bytes(8)
    mp3 = inspect_bytes(id3 + countless_mp3 + ape + b"TAG" + bytes(125)).mp3
    assert mp3 is not None
    assert mp3.count_from is None
    assert (mp3.start, mp3.stop) == (len(id3), len(id3) + len(countless_mp3))


def test_a_vbri_header_is_read(countless_mp3: bytes) -> None:
    """Fraunhofer's header stands at a place of its own."""
    frame = bytearray(countless_mp3[:200])
    frame[36:54] = b"VBRI" + struct.pack(">HHHII", 1, 0, 0, 5000, 77)
    mp3 = inspect_bytes(bytes(frame)).mp3
    assert mp3 is not None
    assert (mp3.count_from, mp3.n_frames) == ("VBRI", 77)


@pytest.mark.parametrize(
    ("head", "name"),
    [
        (b"\0\0\0\x20ftypM4A \0\0\0\0", "MPEG-4 audio"),
        (b"\x30\x26\xb2\x75\x8e\x66\xcf\x11\xa6\xd9", "Windows Media"),
        (b"\x1a\x45\xdf\xa3\x01\0\0\0", "Matroska or WebM"),
        (b"\xff\xf1\x50\x80\x02\x1f", "AAC"),
        (b"ID3\4\0\0\0\0\0\x0a" + bytes(10) + b"\xff\xf9\x50\x80", "AAC"),
        (b"ID3\4\0\0\0\0\x7f\x7f" + bytes(16383) + b"\xff\xf9\x50\x80", "AAC"),
        (b"#!AMR\n", "AMR"),
        (b"\xff\xfb\x90\x64", None),
        (b"hello", None),
        (b"", None),
    ],
)
def test_foreign_formats_are_known_by_content(head: bytes, name: str | None) -> None:
    """An extension may lie; the first bytes hardly do."""
    assert foreign_format(pread_of(head)) == name


MAGICS = [
    *(b"RIFF\xff\xff\xff\xffWAVE", b"RIFX\0\0\0\0WAVE", b"RF64\xff\xff\xff\xffWAVEds64"),
    *(b"FORM\0\0\0\0AIFF", b".snd", b"dns.", b"caff\0\1\0\0", b"OggS\0\2", b"ID3\4\0\0"),
    *(b"riff.\x91\xcf\x11\xa5\xd6(\xdb\x04\xc1\0\0", b"\xff\xfb\x90\x64", b"\xff\xf3\x40\xc0"),
]


@given(st.sampled_from(MAGICS), st.binary(max_size=400))
def test_no_bytes_are_too_strange(magic: bytes, rest: bytes) -> None:
    """Whatever a header claims, the answer comes, and adds up."""
    container = inspect_bytes(magic + rest)
    assert 0 <= container.held <= len(magic + rest)
    assert container.promised is None or container.promised >= 0
    for offset, new in container.repairs:
        assert 0 <= offset <= len(magic + rest) - len(new)


def test_a_header_of_lies_costs_no_memory(make: Make) -> None:
    """A size of 2**64 - 1 is compared, not allocated."""
    data = bytearray(make("CAF", "PCM_16").read_bytes())
    at = data.index(b"data") + 4
    data[at : at + 8] = b"\x3f" + b"\xff" * 7
    tracemalloc.start()
    container = inspect_bytes(bytes(data))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert container.promised == 2**62 - 1 - 4
    assert peak < 2**20
