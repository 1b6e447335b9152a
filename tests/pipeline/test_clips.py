"""From files to waveforms: channels, rate, length, and samples that no mel can be made of."""

from __future__ import annotations

import dataclasses
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import soxr
import torch

from melcli import presets
from melcli.config import MelConfig
from melcli.errors import AudioError
from melcli.pipeline import clips
from melcli.pipeline.plan import PlannedInput, Selection, make_plan
from melcli.pipeline.stopwatch import Stopwatch
from melcli.pipeline.waveforms import WaveformReader, source_of

if TYPE_CHECKING:
    from pathlib import Path

    from melcli.config.run import LongRule
    from melcli.store.records import Item
    from tests.conftest import Corpus

CONFIG = MelConfig().updated({"wave.sample_rate": 16_000})


def read_clips(planned: PlannedInput, config: MelConfig, long: LongRule) -> list[Any]:
    """What an input becomes: its items, each with its waveform as floats."""
    with (
        source_of(planned) as source,
        WaveformReader(source, planned, config, Stopwatch()) as reader,
    ):
        waveforms, is_last = reader.read()
        assert is_last, "a test's file is one piece"
        return [
            SimpleNamespace(waveform=as_float(clip.waveform), **fields(clip.item))
            for clip in clips.clips_of(planned, reader, waveforms, config, long)
        ]


def as_float(waveform: torch.Tensor) -> torch.Tensor:
    """Stored samples as the front end takes them."""
    return waveform / 32768 if waveform.dtype == torch.int16 else waveform


def fields(item: Item) -> dict[str, Any]:
    """An item's fields by name."""
    return {field.name: getattr(item, field.name) for field in dataclasses.fields(item)}


def clips_of(path: Path, long: LongRule = "error", **wave: Any) -> list[Any]:
    """Read a file with a front end at 16 kHz."""
    config = CONFIG.updated({f"wave.{name}": value for name, value in wave.items()})
    [planned] = make_plan(Selection(paths=(path,), root=path.parent))
    return read_clips(planned, config, long)


class TestSamples:
    """The numbers of a waveform."""

    @pytest.mark.parametrize("subtype", ["PCM_16", "PCM_U8", "PCM_24", "FLOAT"])
    def test_scale(self, corpus: Corpus, subtype: str) -> None:
        """Whatever a file's precision, full scale is one."""
        samples = np.array([[0.0], [0.5], [-1.0], [0.25]] * 200, dtype=np.float32)
        [clip] = clips_of(corpus.add_samples("a.wav", samples, subtype=subtype))
        assert clip.waveform.dtype == torch.float32
        assert clip.waveform.tolist() == samples[:, 0].tolist()
        assert clip.notes == ()

    def test_beyond_full_scale(self, corpus: Corpus) -> None:
        """Samples beyond full scale stay as they are, and are told."""
        samples = np.full((1000, 1), 1.5, np.float32)
        [clip] = clips_of(corpus.add_samples("a.wav", samples, subtype="FLOAT"))
        assert set(clip.waveform.tolist()) == {1.5}
        assert clip.notes == ("beyond full scale",)

    @pytest.mark.parametrize("wild", [np.nan, np.inf, -np.inf])
    def test_wild_samples(self, corpus: Corpus, wild: float) -> None:
        """NaN and infinite samples fail the input, with their number and the first of them."""
        samples = np.zeros((1000, 2), np.float32)
        samples[700, 1] = samples[701] = wild
        path = corpus.add_samples("a.wav", samples, subtype="FLOAT")
        with pytest.raises(
            AudioError, match=r"holds 3 samples that are NaN or infinite, from sample 700 on"
        ) as raised:
            clips_of(path)
        assert raised.value.remedy


class TestChannels:
    """What becomes of several channels."""

    @pytest.fixture
    def stereo(self, corpus: Corpus) -> Path:
        """Two channels that differ."""
        return corpus.add("s.wav", n_channels=2)

    @pytest.fixture
    def channels(self, stereo: Path) -> list[torch.Tensor]:
        """The two, one by one."""
        return [clip.waveform for clip in clips_of(stereo, channels="each")]

    def test_mean(self, stereo: Path, channels: list[torch.Tensor]) -> None:
        """They are mixed by default, and the item says so."""
        [clip] = clips_of(stereo)
        assert torch.equal(clip.waveform, (channels[0] + channels[1]) / 2)
        assert (clip.id, clip.channel, clip.n_channels) == ("s.wav", -1, 2)
        assert clip.notes == ("mixed",)

    def test_mean_of_one(self, corpus: Corpus) -> None:
        """The mean of one channel is that channel, untouched and untold."""
        path = corpus.add("mono.wav")
        [clip], [first] = clips_of(path), clips_of(path, channels="first")
        assert torch.equal(clip.waveform, first.waveform)
        assert clip.notes == first.notes == ()

    @pytest.mark.parametrize(("rule", "number"), [("first", 0), (0, 0), (1, 1)])
    def test_one(
        self, stereo: Path, channels: list[torch.Tensor], rule: str | int, number: int
    ) -> None:
        """One of them is taken by number, and that others were left out is told."""
        [clip] = clips_of(stereo, channels=rule)
        assert torch.equal(clip.waveform, channels[number])
        assert (clip.id, clip.channel) == ("s.wav", number)
        assert clip.notes == ("channels left out",)

    def test_each(self, stereo: Path) -> None:
        """Each is an item of its own, its number behind a ``#``."""
        clips = clips_of(stereo, channels="each")
        assert [(clip.id, clip.channel) for clip in clips] == [("s.wav#0", 0), ("s.wav#1", 1)]
        assert [clip.notes for clip in clips] == [(), ()]

    def test_each_of_one(self, corpus: Corpus) -> None:
        """A single channel has its number too: ids do not depend on what else a corpus holds."""
        [clip] = clips_of(corpus.add("mono.wav"), channels="each")
        assert clip.id == "mono.wav#0"

    def test_no_such_channel(self, stereo: Path) -> None:
        """A channel that is not there fails the input, and says how many there are."""
        with pytest.raises(
            AudioError, match="has 2 channels, counted from 0: there is no channel 2"
        ):
            clips_of(stereo, channels=2)


class TestRate:
    """How audio of another rate gets to the front end's."""

    @pytest.mark.parametrize("quality", ["hq", "vhq", "mq"])
    def test_resampled(self, corpus: Corpus, quality: str) -> None:
        """It is what soxr makes of the mixed channels, in float32, and is told."""
        path = corpus.add("a.wav", sample_rate=22_050, n_channels=2)
        channels = [c.waveform.numpy() for c in clips_of(path, channels="each", sample_rate=22_050)]
        [clip] = clips_of(path, resample=f"soxr-{quality}")
        mixed = (channels[0] + channels[1]) / np.float32(2)
        assert np.array_equal(clip.waveform.numpy(), soxr.resample(mixed, 22_050, 16_000, quality))
        assert clip.notes == ("mixed", "resampled")
        assert (clip.n_samples, clip.sample_rate) == (4410, 22_050)

    def test_error(self, corpus: Corpus) -> None:
        """Who wants no resampling gets a failure with both rates."""
        path = corpus.add("a.wav", sample_rate=22_050)
        with pytest.raises(
            AudioError, match="is at 22050 Hz, the front end works at 16000"
        ) as raised:
            clips_of(path, resample="error")
        assert "--resample soxr-hq" in str(raised.value.remedy)

    @pytest.mark.parametrize("sample_rate", [1, 9_000_000])
    def test_a_header_that_lies(self, corpus: Corpus, sample_rate: int) -> None:
        """A rate that would fill the memory when resampled is taken for a damaged header."""
        path = corpus.add_samples("a.wav", np.zeros((1000, 1)), sample_rate)
        with pytest.raises(AudioError, match=f"claims {sample_rate} Hz"):
            clips_of(path)


class TestLength:
    """Front ends of fixed length, and audio too short for any frame."""

    FIXED = 3000

    def test_longer_is_an_error(self, corpus: Corpus) -> None:
        """What is longer than the front end takes fails, with both ways out."""
        path = corpus.add("a.wav")
        with pytest.raises(
            AudioError, match=r"is 0\.20 s long, this front end takes 0\.1875 s"
        ) as raised:
            clips_of(path, fix_samples=self.FIXED)
        assert "--long cut" in str(raised.value.remedy)
        assert "--long chunks" in str(raised.value.remedy)

    def test_cut(self, corpus: Corpus) -> None:
        """``cut`` keeps the beginning, and tells it."""
        path = corpus.add("a.wav")
        [whole], [clip] = clips_of(path), clips_of(path, "cut", fix_samples=self.FIXED)
        assert torch.equal(clip.waveform, whole.waveform[: self.FIXED])
        assert (clip.id, clip.notes, clip.n_samples) == ("a.wav", ("cut",), 3200)

    def test_cut_of_shorter(self, corpus: Corpus) -> None:
        """What is not longer is not cut, and nothing is told."""
        [clip] = clips_of(corpus.add("a.wav"), "cut", fix_samples=3200)
        assert (clip.waveform.shape[0], clip.notes) == (3200, ())

    @pytest.mark.parametrize(
        ("fixed", "lengths"), [(3000, [3000, 200]), (1600, [1600, 1600]), (9999, [3200])]
    )
    def test_chunks(self, corpus: Corpus, fixed: int, lengths: list[int]) -> None:
        """``chunks`` makes an item of each length: all the samples, each once, in order."""
        path = corpus.add("a.wav")
        [whole], chunks = clips_of(path), clips_of(path, "chunks", fix_samples=fixed)
        assert [clip.id for clip in chunks] == [f"a.wav@{k}" for k in range(len(lengths))]
        assert [clip.waveform.shape[0] for clip in chunks] == lengths
        assert torch.equal(torch.cat([clip.waveform for clip in chunks]), whole.waveform)

    def test_chunks_of_each_channel(self, corpus: Corpus) -> None:
        """The channel comes before the chunk."""
        path = corpus.add("a.wav", n_channels=2)
        chunks = clips_of(path, "chunks", channels="each", fix_samples=2000)
        assert [clip.id for clip in chunks] == ["a.wav#0@0", "a.wav#0@1", "a.wav#1@0", "a.wav#1@1"]

    def test_any_length(self, corpus: Corpus) -> None:
        """A front end without a fixed length knows no chunks."""
        [clip] = clips_of(corpus.add("a.wav"), "chunks")
        assert clip.id == "a.wav"

    def test_too_short(self, corpus: Corpus) -> None:
        """What is too short fails and names the smallest length, which is enough."""
        path = corpus.add_samples("a.wav", np.zeros((200, 1)))
        with pytest.raises(
            AudioError,
            match="is too short: 200 samples at 16000 Hz, this front end needs at least 201",
        ):
            clips_of(path)
        [clip] = clips_of(corpus.add_samples("b.wav", np.zeros((201, 1))))
        assert clip.waveform.shape[0] == 201

    @pytest.mark.parametrize("name", presets.names())
    def test_every_front_end_has_a_smallest_length(self, corpus: Corpus, name: str) -> None:
        """A single sample gives a clip or a failure with its reason, whatever the front end."""
        config = presets.load(name).config
        path = corpus.add_samples("a.wav", np.zeros((1, 1)), config.wave.sample_rate)
        [planned] = make_plan(Selection(paths=(path,)))
        try:
            assert len(read_clips(planned, config, "error")) == 1
        except AudioError as error:
            assert "is too short: 1 samples" in error.cause  # noqa: PT017, either outcome is right


def test_folder_readable_again(tmp_path: Path) -> None:
    """A folder that could not be walked fails even if it can be by then: its files are unknown."""
    planned = PlannedInput("sub/", bytes(tmp_path) + b"/", None, None)
    with pytest.raises(AudioError, match="could not be read when the run began") as raised:
        read_clips(planned, CONFIG, "error")
    assert raised.value.remedy == "run it again"


def test_folder_gone(tmp_path: Path) -> None:
    """And if it is gone, with what the system says."""
    planned = PlannedInput("sub/", bytes(tmp_path / "sub") + b"/", None, None)
    with pytest.raises(AudioError, match="this folder cannot be read: No such file"):
        read_clips(planned, CONFIG, "error")
