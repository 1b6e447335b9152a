"""WAV without libsndfile: exactly what libsndfile makes of the same file, or left to it."""

from __future__ import annotations

import os
import struct
import tracemalloc
import warnings
from typing import TYPE_CHECKING
from unittest import mock

import numpy as np
import pytest
import torch
from hypothesis import event, example, given, settings
from hypothesis import strategies as st

from melcli.audio import reading
from melcli.audio.reading import AudioReader, probe, read
from melcli.audio.wav import Layout, layout
from melcli.errors import AudioError

if TYPE_CHECKING:
    from pathlib import Path

    from tests.audio.conftest import Make

PCM_GUID = b"\x01\0\0\0\0\0\x10\0\x80\0\0\xaa\0\x38\x9b\x71"
RIFF_BYTES = 8


def chunk(name: bytes, body: bytes, *, pad: bytes = b"\0", n_bytes: int | None = None) -> bytes:
    """A chunk, padded to an even size; ``n_bytes`` is what it says of itself, if not the truth."""
    said = len(body) if n_bytes is None else n_bytes
    return name + struct.pack("<I", said) + body + pad[: len(body) % 2]


def fmt(n_channels: int = 1, sample_rate: int = 16_000, *, extensible: bool = False) -> bytes:
    """The ``fmt`` chunk of 16-bit PCM."""
    tag = 0xFFFE if extensible else 1
    block = 2 * n_channels
    body = struct.pack("<HHIIHH", tag, n_channels, sample_rate, sample_rate * block, block, 16)
    return chunk(b"fmt ", body + (struct.pack("<HHI", 22, 16, 3) + PCM_GUID) * extensible)


def riff(*chunks: bytes, magic: bytes = b"RIFF", form: bytes = b"WAVE", more: int = 0) -> bytes:
    """A file of chunks; ``more`` is by how much its size is wrong."""
    body = form + b"".join(chunks)
    return magic + struct.pack("<I", max(0, len(body) + more)) + body


def info_list(*texts: tuple[bytes, bytes]) -> bytes:
    """A ``LIST`` of texts, as encoders write their names into it."""
    return chunk(b"LIST", b"INFO" + b"".join(chunk(name, text) for name, text in texts))


SAMPLES = np.arange(-300, 300, dtype="<i2").tobytes()
DATA = chunk(b"data", SAMPLES)
ENCODER = info_list((b"ISFT", b"Lavf58.29.100\0"))


def layout_of(data: bytes) -> Layout | None:
    """What is found out about a file of these bytes."""
    return layout(data[:4096], len(data), lambda n_bytes, at: data[at : at + n_bytes])


# What is plain.

PLAIN = {
    "short": riff(fmt(), DATA),
    "stereo": riff(fmt(2), DATA),
    "with an empty extension": riff(chunk(b"fmt ", fmt()[8:] + b"\0\0"), DATA),
    "extensible": riff(fmt(3, extensible=True), DATA),
    "ffmpeg": riff(fmt(), ENCODER, DATA),
    "texts behind": riff(fmt(), DATA, info_list((b"INAM", b"odd"), (b"IART", b"even"))),
    "tags behind": riff(fmt(), DATA, chunk(b"id3 ", b"ID3" + bytes(101))),
    "aligned": riff(chunk(b"JUNK", bytes(28)), fmt(), chunk(b"FLLR", bytes(2000)), DATA),
    "fact": riff(fmt(extensible=True), chunk(b"fact", struct.pack("<I", 600)), DATA),
}


@pytest.mark.parametrize("name", PLAIN)
def test_plain_files_are_known(name: str) -> None:
    """What encoders write is read without libsndfile."""
    data = PLAIN[name]
    found = layout_of(data)
    assert found is not None
    n_bytes = 2 * found.n_samples * found.n_channels
    assert data[found.begin : found.begin + n_bytes] == SAMPLES
    assert found.begin % 2 == 0


@pytest.mark.parametrize("file_format", ["WAV", "WAVEX"])
@pytest.mark.parametrize("n_channels", [1, 2, 7])
def test_libsndfile_writes_plain_files(file_format: str, n_channels: int, make: Make) -> None:
    """What soundfile writes is plain, and described as libsndfile describes it."""
    path = make(file_format, "PCM_16", n_samples=3000, n_channels=n_channels)
    found = layout_of(path.read_bytes())
    assert found is not None
    assert found[:4] == (file_format, 16_000, n_channels, 3000)


# What is left to libsndfile.

DOUBTFUL = {
    "empty": b"",
    "a header alone": riff(fmt(), chunk(b"data", b"")),
    "too short to be sure": riff(fmt(), chunk(b"data", b"\1\0")),
    "big-endian": riff(fmt(), DATA, magic=b"RIFX"),
    "64-bit": riff(fmt(), DATA, magic=b"RF64"),
    "not WAVE": riff(fmt(), DATA, form=b"AVI "),
    "a byte behind": riff(fmt(), DATA) + b"\0",
    "a byte behind, and counted": riff(fmt(), DATA, b"\0"),
    "much behind": riff(fmt(), DATA, chunk(b"id3 ", bytes(5000))),
    "a RIFF that counts itself": riff(fmt(), DATA, more=8),
    "no fmt": riff(DATA),
    "fmt behind": riff(DATA, fmt()),
    "two fmt": riff(fmt(), fmt(), DATA),
    "two fmt, one of them wrong": riff(chunk(b"fmt ", bytes(16)), fmt(), DATA),
    "two data": riff(fmt(), DATA, DATA),
    "data that is longer": riff(fmt(), chunk(b"data", SAMPLES, n_bytes=1202)),
    "data of no length": riff(fmt(), chunk(b"data", SAMPLES, n_bytes=0)),
    "data of unknown length": riff(fmt(), chunk(b"data", SAMPLES, n_bytes=0xFFFF_FFFF)),
    "half a sample": riff(fmt(2), chunk(b"data", SAMPLES[:-2])),
    "odd data": riff(fmt(), chunk(b"data", SAMPLES[:-1])),
    "another kind within": riff(fmt(), chunk(b"data", b"wvpk" + SAMPLES)),
    "8 bits": riff(fmt().replace(b"\2\0\x10\0", b"\1\0\x08\0"), DATA),
    "24 bits": riff(fmt().replace(b"\2\0\x10\0", b"\3\0\x18\0"), DATA),
    "12 bits": riff(fmt().replace(b"\2\0\x10\0", b"\2\0\x0c\0"), DATA),
    "another block": riff(fmt().replace(b"\2\0\x10\0", b"\4\0\x10\0"), DATA),
    "another coding": riff(fmt().replace(b"\1\0\1\0", b"\x11\0\1\0"), DATA),
    "no channels": riff(fmt(0), DATA),
    "no rate": riff(fmt(1, 0), DATA),
    "12 valid bits": riff(fmt(extensible=True).replace(b"\x16\0\x10", b"\x16\0\x0c"), DATA),
    "another GUID": riff(fmt(extensible=True).replace(b"\x9b\x71", b"\x9b\x72"), DATA),
    "a long fact": riff(fmt(), chunk(b"fact", bytes(8)), DATA),
    "an odd chunk": riff(fmt(), chunk(b"JUNK", b"odd"), DATA),
    "an unknown chunk": riff(fmt(), chunk(b"what", b"even"), DATA),
    "a list of cues": riff(fmt(), chunk(b"LIST", b"adtl" + bytes(8)), DATA),
    "data in a list": riff(fmt(), chunk(b"LIST", b"INFO" + DATA), DATA),
    "a long text": riff(fmt(), info_list((b"ICMT", bytes(2100))), DATA),
    "a list that ends early": riff(fmt(), chunk(b"LIST", ENCODER[8:-2]), DATA),
    "a list in capitals": riff(fmt(), chunk(b"LIST", b"INFO" + chunk(b"INFO", b"ab")), DATA),
    "a long header": riff(fmt(), chunk(b"JUNK", bytes(4096 - 52)), DATA),
}


@pytest.mark.parametrize("name", DOUBTFUL)
def test_what_is_unusual_is_left_to_libsndfile(name: str) -> None:
    """One field that is not as usual, and nothing is assumed."""
    assert layout_of(DOUBTFUL[name]) is None


def test_a_size_of_2_gb_is_left_to_libsndfile() -> None:
    """From there on a size may mean that none was known."""
    n_bytes = 0x7FFF_F000
    head = b"RIFF" + struct.pack("<I", n_bytes + 36) + b"WAVE" + fmt() + b"data"
    for size, is_plain in ((n_bytes - 2, True), (n_bytes, False)):
        header = bytearray(head + struct.pack("<I", size)).ljust(4096, b"\1")
        struct.pack_into("<I", header, 4, size + 36)
        assert (layout(bytes(header), size + 44, lambda *_: b"") is not None) == is_plain


# That the two ways agree.


def outcome(path: Path, *, plain: bool, sizes: tuple[int, ...] = (-1,)) -> object:
    """All that a caller can learn of a file, with or without libsndfile for plain ones."""
    with mock.patch.object(reading, "_READS_PLAIN", plain):
        try:
            info = probe(path)
            with AudioReader(path) as reader:
                pieces = [reader.read(size) for size in sizes]
                told = [(piece.shape, piece.dtype.str, piece.tobytes()) for piece in pieces]
                state = reader.is_at_end, reader.dtype, reader.sample_rate, reader.n_channels
                rest = reader.read()
                return info, reader.info, told, state, rest.shape, rest.tobytes(), reader.is_at_end
        except AudioError as error:
            return error.args


def agree(data: bytes, sizes: tuple[int, ...], folder: Path) -> None:
    """Check that both ways give the same."""
    path = folder / "a.wav"
    path.write_bytes(data)
    assert outcome(path, plain=True, sizes=sizes) == outcome(path, plain=False, sizes=sizes)


@pytest.mark.parametrize("name", [*PLAIN, *DOUBTFUL])
def test_both_ways_agree_on_what_is_known(name: str, tmp_path: Path) -> None:
    """The same samples and the same description, or the same words."""
    agree({**PLAIN, **DOUBTFUL}[name], (7, 0, 100), tmp_path)


NAMES = [
    *(b"LIST", b"fact", b"JUNK", b"junk", b"PAD ", b"FLLR", b"id3 ", b"ID3 ", b"bext", b"cue "),
    *(b"smpl", b"PEAK", b"iXML", b"acid", b"data", b"fmt ", b"RIFF", b"\0\0\0\0", b"wxyz"),
]
TEXTS = st.sampled_from([b"ISFT", b"INAM", b"ICMT", b"IXYZ", b"INFO", b"data", b"exif", b"adtl"])
LISTS = st.lists(st.tuples(TEXTS, st.binary(max_size=9)), max_size=3).map(
    lambda texts: info_list(*texts)
)
OTHERS = st.builds(
    chunk,
    st.sampled_from(NAMES),
    st.binary(max_size=40) | st.just(bytes(612)) | st.just(struct.pack("<I", 11)),
    pad=st.sampled_from([b"\0", b"\0", b"x", b""]),
    n_bytes=st.sampled_from([None] * 6 + [0, 1, 4, 2**31, 2**32 - 1]) | st.integers(0, 100),
)
HARMLESS = st.builds(
    chunk,
    st.sampled_from([b"JUNK", b"junk", b"PAD ", b"FLLR", b"id3 ", b"ID3 "]),
    st.binary(max_size=30).map(lambda body: body + body),
) | st.binary(min_size=4, max_size=4).map(lambda count: chunk(b"fact", count))
SOUND = st.lists(HARMLESS | st.just(ENCODER), max_size=3)
AROUND = SOUND | SOUND | SOUND | st.lists(HARMLESS | LISTS | OTHERS, max_size=3)


@st.composite
def wav_files(draw: st.DrawFn) -> bytes:
    """WAV files of 16 bits: mostly sound, some wrong in one place or another."""
    n_channels = draw(st.integers(1, 4))
    sample_rate = draw(st.sampled_from([1, 8000, 16_000, 44_100, 10_000_000, 10_000_001]))
    form = bytearray(fmt(n_channels, sample_rate, extensible=draw(st.booleans())))
    wrongs = st.sets(st.sampled_from(["fmt", "samples", "size", "riff", "cut", "more"]), max_size=2)
    wrong = draw(st.just(set[str]()) | wrongs)
    if "fmt" in wrong:
        at = draw(st.integers(4, len(form) - 1))
        form[at] = draw(st.sampled_from([0, 1, 2, 4, 8, 18, 24, 0x7F, 0xFF]) | st.integers(0, 255))
    samples = draw(st.binary(min_size=2, max_size=60)) * 2 * n_channels
    if "samples" in wrong:
        samples = draw(st.sampled_from([b"wvpk", b"OggS", b"\1", b"\1\2", b""])) + samples[2:]
    said = None
    if "size" in wrong:
        near = st.integers(-9, 9).map(lambda more: max(0, len(samples) + more))
        said = draw(near | st.sampled_from([0, 0x7FFF_F000, 0xFFFF_FFFF]))
    data = riff(
        *draw(AROUND), bytes(form), *draw(AROUND), chunk(b"data", samples, n_bytes=said),
        *draw(AROUND), more=draw(st.integers(-9, 9)) if "riff" in wrong else 0,
    )  # fmt: skip
    if "cut" in wrong:
        data = data[: draw(st.integers(0, len(data)))]
    if "more" in wrong:
        data += draw(st.binary(max_size=9))
    return data


@given(data=wav_files(), sizes=st.lists(st.integers(0, 40), max_size=3).map(tuple))
@example(data=PLAIN["ffmpeg"], sizes=(600,))
@settings(max_examples=300, deadline=None)
def test_both_ways_agree(
    data: bytes, sizes: tuple[int, ...], tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Whatever a header says, reading it without libsndfile changes nothing that can be seen."""
    event(f"plain: {layout_of(data) is not None}")
    agree(data, sizes, tmp_path_factory.getbasetemp())


@given(at=st.integers(0, 87), byte=st.integers(0, 255), name=st.sampled_from(sorted(PLAIN)))
@settings(max_examples=200, deadline=None)
def test_both_ways_agree_on_spoilt_headers(
    at: int, byte: int, name: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """One byte of a good header is another one."""
    spoilt = bytearray(PLAIN[name])
    spoilt[at] = byte
    agree(bytes(spoilt), (10,), tmp_path_factory.getbasetemp())


# That a long one is read like a short one.


def test_samples_are_the_callers_own(make: Make) -> None:
    """What is returned can be written to, is aligned, and makes a tensor without a warning."""
    path = make("WAV", "PCM_16")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        samples = read(path).samples
        torch.from_numpy(samples).zero_()
    assert samples.flags.aligned
    assert samples.flags.c_contiguous
    assert np.count_nonzero(read(path).samples) > 0


def test_a_long_file_is_read_in_pieces(tmp_path: Path) -> None:
    """Ten hours take no more memory than the piece that is asked for."""
    n_samples = 10 * 3600 * 16_000
    head = riff(fmt(), chunk(b"data", b"", n_bytes=2 * n_samples), more=2 * n_samples)
    with (tmp_path / "a.wav").open("wb") as file:
        file.write(head)
        file.seek(len(head) + 2 * n_samples - 2)
        file.write(b"\3\0")
    with AudioReader(tmp_path / "a.wav") as reader:
        assert reader.info.n_samples == n_samples
        tracemalloc.start()
        assert [len(reader.read(100_000)) for _ in range(5)] == [100_000] * 5
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 500_000
        assert not reader.is_at_end


def test_a_system_may_hand_over_less_than_asked(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A network's file system may answer in parts, also in half samples: all are put together."""
    path = make("WAV", "PCM_16", n_channels=2, n_samples=5000)
    whole = read(path).samples
    preadv = os.preadv

    def a_part(fd: int, buffers: list[memoryview], offset: int) -> int:
        return preadv(fd, [buffers[0][:1001]], offset)

    monkeypatch.setattr(os, "preadv", a_part)
    assert np.array_equal(read(path).samples, whole)


def test_a_file_that_shrinks_is_an_error(make: Make, tmp_path: Path) -> None:
    """What is cut while it is read never reads as a shorter recording."""
    data = make("WAV", "PCM_16").read_bytes()
    (tmp_path / "a.wav").write_bytes(data)
    with AudioReader(tmp_path / "a.wav") as reader:
        assert len(reader.read(100)) == 100
        os.truncate(tmp_path / "a.wav", len(data) - 1000)
        with pytest.raises(AudioError, match="is cut short: the header promises"):
            reader.read()
        assert not reader.is_at_end


def test_a_disk_error_is_told(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """A failing disk is not a short recording."""

    def fail(*_: object) -> int:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "preadv", fail)
    with pytest.raises(AudioError, match=r"cannot be read \(Input/output error\)"):
        read(make("WAV", "PCM_16"))
