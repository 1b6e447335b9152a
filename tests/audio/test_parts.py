"""Parts of recordings: bit for bit the slice of the whole, without the rest being decoded."""

from __future__ import annotations

import io
import math
import os
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import soundfile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from melcli.audio import reading
from melcli.audio.raw import RawFormat
from melcli.audio.reading import AudioReader, part_of, probe, read
from melcli.audio.shelf import Shelf
from melcli.errors import AudioError, UsageError

if TYPE_CHECKING:
    from pathlib import Path

    from tests.audio.conftest import Make

EVERY = [
    *(("WAV", "PCM_16"), ("WAV", "PCM_U8"), ("WAV", "PCM_24"), ("WAV", "PCM_32"), ("WAV", "FLOAT")),
    *(("WAV", "DOUBLE"), ("WAV", "ULAW"), ("WAV", "ALAW"), ("WAV", "IMA_ADPCM")),
    *(("WAV", "MS_ADPCM"), ("WAV", "GSM610"), ("RF64", "PCM_16"), ("W64", "PCM_24")),
    *(("AIFF", "PCM_16"), ("AIFF", "PCM_S8"), ("AU", "PCM_16"), ("AU", "G721_32")),
    *(("CAF", "PCM_16"), ("CAF", "ALAC_16"), ("CAF", "ALAC_24"), ("FLAC", "PCM_16")),
    *(("FLAC", "PCM_24"), ("NIST", "PCM_16"), ("VOC", "PCM_16"), ("PAF", "PCM_16")),
    *(("OGG", "VORBIS"), ("OGG", "OPUS"), ("MP3", "MPEG_LAYER_III")),
]
RATE = 16_000


def part(source: Any, start: float, end: float = math.inf, size: int = -1) -> np.ndarray:
    """Read a part, in one piece or in several."""
    with AudioReader(source, start=start, end=end) as reader:
        pieces = [reader.read(size)]
        while not reader.is_at_end:
            pieces.append(reader.read(size))
        return np.concatenate(pieces)


@pytest.mark.parametrize(("file_format", "subtype"), EVERY)
@settings(
    max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_a_part_is_the_slice(
    file_format: str, subtype: str, make: Make, data: st.DataObject
) -> None:
    """Whatever the format, wherever the part, in whatever pieces."""
    path = make(file_format, subtype, n_samples=30_000)
    whole = read(path).samples
    first = data.draw(st.integers(0, len(whole) - 1))
    last = data.draw(st.integers(first + 1, len(whole)))
    size = data.draw(st.sampled_from([-1, 700, 8192]))
    found = part(path, first / RATE, last / RATE, size)
    assert found.dtype == whole.dtype
    assert np.array_equal(found, whole[first:last])
    assert np.array_equal(part(path, first / RATE), whole[first:])


FORWARD_ONLY = [("OGG", "OPUS"), ("OGG", "VORBIS"), ("MP3", "MPEG_LAYER_III"), ("WAV", "MS_ADPCM")]


@pytest.mark.parametrize(("file_format", "subtype"), [*FORWARD_ONLY, ("FLAC", "PCM_16")])
@settings(
    max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_parts_of_one_reader(
    file_format: str, subtype: str, make: Make, data: st.DataObject
) -> None:
    """Whatever parts were read before, in whatever order, each is the slice of the whole."""
    path = make(file_format, subtype, n_samples=30_000)
    whole, shelf = read(path).samples, Shelf()
    for _ in range(5):
        first = data.draw(st.integers(0, len(whole) - 1))
        last = data.draw(st.integers(first + 1, len(whole)))
        reader = shelf.take("key", first / RATE)
        if reader is None:
            reader = AudioReader(path, start=first / RATE, end=last / RATE)
        else:
            reader.go_on(first / RATE, last / RATE, name="part")
        # Not always to its end: an error may end it before.
        n = data.draw(st.sampled_from([-1, 100]))
        found = reader.read(n)
        assert np.array_equal(found, whole[first:last][: None if n < 0 else n])
        shelf.put("key", reader)


def test_what_is_left_open_is_closed(make: Make) -> None:
    """A shelf keeps few readers, of those that are worth it, and closes them when it goes."""
    n_open = len(os.listdir("/proc/self/fd"))  # noqa: PTH208
    shelf = Shelf()
    shelf.put("flac", AudioReader(make("FLAC", "PCM_16")))
    assert shelf.take("flac", 0.0) is None
    for number in range(20):
        shelf.put(number, AudioReader(make("OGG", "OPUS")))
    left = {number: shelf.take(number, 0.0) for number in range(20)}
    assert [number for number, reader in left.items() if reader is not None] == [*range(4, 20)]
    for reader in left.values():
        if reader is not None:
            reader.close()
    for number in range(20):
        shelf.put("same", AudioReader(make("OGG", "OPUS"), start=number / 100))
    reader = shelf.take("same", 0.155)
    assert reader is not None
    assert reader.position == RATE * 15 // 100
    assert shelf.take("other", 1.0) is None
    reader.close()
    del shelf
    assert len(os.listdir("/proc/self/fd")) == n_open  # noqa: PTH208


@pytest.mark.parametrize("subtype", ["PCM_16", "FLOAT"])
def test_what_is_not_asked_for_is_not_read(subtype: str, tmp_path: Path) -> None:
    """A second of a long file costs the bytes of a second, on either side of it."""
    samples = np.zeros((RATE * 60, 1), np.float32)
    samples[RATE * 30 : RATE * 31] = 0.5
    soundfile.write(tmp_path / "a.wav", samples, RATE, subtype=subtype)
    n_bytes = [0]

    class Counting(io.FileIO):
        def readinto(self, buffer: Any) -> int:
            n = super().readinto(buffer)
            n_bytes[0] += n
            return n

        def read(self, size: int | None = -1) -> bytes:
            data = super().read(-1 if size is None else size)
            n_bytes[0] += len(data)
            return data

    with Counting(tmp_path / "a.wav") as file:
        found = part(file, 30, 31)
    scale = 16384 if found.dtype == np.int16 else 0.5
    assert np.array_equal(found, np.full((RATE, 1), scale, found.dtype))
    assert n_bytes[0] < 4 * RATE + 100_000 < 60 * RATE


def test_a_damaged_end_is_not_looked_at(make: Make) -> None:
    """A part is decoded no further than it goes: what lies behind may be broken."""
    data = bytearray(make("FLAC", "PCM_16", n_samples=64_000).read_bytes())
    expected = part(io.BytesIO(bytes(data)), 0.5, 1.0)
    data[len(data) // 2 :] = bytes(len(data) - len(data) // 2)
    assert np.array_equal(part(io.BytesIO(bytes(data)), 0.5, 1.0), expected)
    with pytest.raises(AudioError, match="is cut short or damaged"):
        part(io.BytesIO(bytes(data)), 0.5)


@pytest.mark.parametrize(
    ("file_format", "subtype"), [("WAV", "PCM_16"), ("FLAC", "PCM_16"), ("MP3", "MPEG_LAYER_III")]
)
class TestBeyondTheEnd:
    """Parts that the recording does not have, or not all of."""

    def test_a_little(self, file_format: str, subtype: str, make: Make) -> None:
        """A part that ends a little late is what there is of it, and that is told."""
        path = make(file_format, subtype)
        whole = read(path).samples
        with AudioReader(path, start=0.5, end=len(whole) / RATE + 0.4) as reader:
            assert np.array_equal(reader.read(), whole[RATE // 2 :])
            assert reader.ends_early
        with AudioReader(path, start=0.5, end=len(whole) / RATE) as reader:
            reader.read()
            assert not reader.ends_early

    def test_much(self, file_format: str, subtype: str, make: Make) -> None:
        """One that ends much later, or begins behind the end, is refused."""
        path = make(file_format, subtype)
        told = r"the recording is 1\.0\d s long, and the part"
        with pytest.raises(AudioError, match=f"{told} ends at 2 s"):
            part(path, 0.5, 2.0)
        for start in (1.5, 200.0):
            with pytest.raises(AudioError, match=f"{told} begins at {start:g} s"):
                part(path, start)

    def test_nothing(self, file_format: str, subtype: str, make: Make) -> None:
        """A part that is shorter than a sample holds nothing."""
        with pytest.raises(AudioError, match=r"the part from 0\.5 s to 0\.50001 s holds no sample"):
            part(make(file_format, subtype), 0.5, 0.50001)


def test_no_parts_of_what_cannot_be_read_in_parts(make: Make) -> None:
    """Samples of a PAF of 24 bits are lost between two reads: a part of one is refused."""
    path = make("PAF", "PCM_24")
    assert len(part(path, 0.0)) == 16_000
    with pytest.raises(AudioError, match="is PAF of 24 bits, of which libsndfile reads no part"):
        part(path, 0.25)


def test_a_cut_file_has_no_good_parts(make: Make) -> None:
    """A header that promises more than there is speaks of the whole file."""
    data = make("WAV", "PCM_16").read_bytes()
    with pytest.raises(AudioError, match=r"is cut short: the header promises 1\.00 s"):
        part(io.BytesIO(data[: len(data) // 2]), 0.0, 0.1)


def test_what_a_header_says_of_a_part(make: Make) -> None:
    """Without decoding: as many samples as reading gives, and the same errors."""
    info = probe(make("FLAC", "PCM_16"))
    for start, end, expected in [(0.25, 0.5, 4000), (0.25, math.inf, 12_000), (0.5, 1.2, 8000)]:
        assert part_of(info, start, end, name="a").n_samples == expected
    with pytest.raises(AudioError, match=r"a: the recording is 1\.00 s long, and the part ends"):
        part_of(info, 0.0, 1.6, name="a")


class TestRaw:
    """Bytes without a header."""

    @pytest.mark.parametrize(
        ("coding", "dtype"),
        [
            *(("s16le", "<i2"), ("s16be", ">i2"), ("s32le", "<i4"), ("s32be", ">i4")),
            *(("f32le", "<f4"), ("f32be", ">f4"), ("f64le", "<f8"), ("f64be", ">f8")),
            *(("s8", "i1"), ("u8", "u1")),
        ],
    )
    def test_codings(self, coding: str, dtype: str) -> None:
        """Each is read as what it says: the samples that NumPy sees, scaled to full scale."""
        rng = np.random.default_rng(0)
        kind = np.dtype(dtype)
        if kind.kind == "f":
            samples = rng.uniform(-1, 1, (5000, 2)).astype(kind)
            expected = samples.astype(np.float64)
        else:
            ends = np.iinfo(kind)
            samples = rng.integers(ends.min, ends.max, (5000, 2), endpoint=True).astype(kind)
            middle = 0 if kind.kind == "i" else 128
            expected = (samples.astype(np.float64) - middle) / 2 ** (8 * kind.itemsize - 1)
        raw = RawFormat(RATE, 2, coding)
        with AudioReader(io.BytesIO(samples.tobytes()), raw=raw) as reader:
            found = reader.read()
            assert (reader.sample_rate, reader.n_channels) == (RATE, 2)
        scale = 32768 if found.dtype == np.int16 else 1
        np.testing.assert_allclose(found / scale, expected, rtol=0, atol=6e-8)

    def test_as_the_file_with_a_header(self, make: Make) -> None:
        """The samples of a WAV without its header are those of the WAV."""
        for subtype, coding in (("PCM_16", "s16le"), ("PCM_24", "s24le"), ("ULAW", "mulaw")):
            path = make("WAV", subtype, n_samples=5000, n_channels=2)
            whole = read(path).samples
            data = path.read_bytes()
            raw = RawFormat(RATE, 2, coding)
            body = data[-len(whole) * raw.frame_bytes :]
            with AudioReader(io.BytesIO(body), raw=raw) as reader:
                assert np.array_equal(reader.read(), whole)

    def test_bad(self) -> None:
        """What does not fit is told: half a sample, no sample, nonsense."""
        raw = RawFormat.parse("16000,2,s16le")
        with pytest.raises(AudioError, match="is cut short: 3 bytes of a sample are left over"):
            AudioReader(io.BytesIO(bytes(103)), raw=raw)
        with pytest.raises(AudioError, match="is empty"):
            AudioReader(io.BytesIO(b""), raw=raw)
        for text in ("16000", "16000,1", "16000,1,s17", "x,1,s16le", "0,1,s16le", "1,-1,u8"):
            with pytest.raises(UsageError, match=f"raw = {text}: must be sample rate") as caught:
                RawFormat.parse(text)
            assert "--raw 16000,1,s16le; codings are u8, s8, s16le" in str(caught.value.remedy)


def test_what_is_skipped_is_bounded(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """A decoder that cannot begin anywhere passes over the beginning in small blocks."""
    monkeypatch.setattr(reading, "_SKIPPED_SAMPLES", 100)
    path = make("MP3", "MPEG_LAYER_III")
    whole = read(path).samples
    assert np.array_equal(part(path, 0.5, 0.75), whole[RATE // 2 : RATE * 3 // 4])
