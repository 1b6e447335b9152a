"""Frames at their times, and many of them in a few columns."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from melcli import frames, presets
from melcli.config import Frame, Mel, MelConfig, Out, Wave
from melcli.dsp.frontend import FrontEnd
from melcli.dsp.rows import Patches, Rows, StackFrames
from melcli.errors import UsageError
from melcli.pipeline import columns
from melcli.pipeline.columns import Grid, means, mel_frames, mel_grid, recut
from tests.strategies import small_configs

if TYPE_CHECKING:
    from numpy.typing import NDArray

RATE = 16_000


@pytest.mark.parametrize(
    "name",
    [
        *("whisper-80", "kaldi-fbank-80", "hifigan-22k", "nemo-asr-80", "vggish", "kapre-das"),
        *("styletts2-24k", "voxtral-realtime-128", "gemma4-128"),
        *("funasr-paraformer-560", "seamless-m4t-160", "dcase-task2-ae-16k", "yamnet"),
    ],
)
def test_a_click_is_drawn_where_it_is(name: str) -> None:
    """The frame in which a click is loudest is drawn at the time of the click, to half a hop."""
    config = presets.load(name).config.updated(
        {"log.log": "none", "log.log_mult": 1.0, "log.range_ref": "none", "log.range_width": 0.0,
         "log.range_subtract": False, "log.range_value": 0.0, "scale.utt_norm": "none"}
    )  # fmt: skip
    rate = config.wave.sample_rate
    n_samples, at = 2 * rate, round(0.913 * rate)
    waveform = torch.zeros(n_samples)
    waveform[at] = 0.5
    [rows] = FrontEnd(config).rows([waveform])
    grid = mel_grid(config, len(rows), n_samples)
    found = np.concatenate(list(mel_frames(config, [rows.numpy()])))
    assert len(found) == grid.n_frames
    loudest = grid.first + int(np.nansum(found, axis=1).argmax()) * grid.period
    assert abs(loudest - at / rate) <= 0.51 * grid.period


@settings(deadline=None)
@given(config=small_configs(), n_samples=st.integers(1, 400))
def test_centres_follow_from_padding(config: MelConfig, n_samples: int) -> None:
    """The first frame begins as far before the recording as is padded; each is a hop later."""
    n_rows = frames.n_rows(config, n_samples)
    if not n_rows:
        return
    grid = mel_grid(config, n_rows, n_samples)
    n_framed = frames.fixed_length(config, n_samples)
    left = frames.framing(config, n_framed).left
    # Where the first sample of the waveform is left out, times begin with the second.
    first = config.span // 2 - left + (n_samples - n_framed if config.wave.preemph else 0)
    assert grid.first * RATE == pytest.approx(first)
    assert grid.period * RATE == pytest.approx(config.frame.hop_length)
    assert grid.n_frames == n_rows


@st.composite
def joined(draw: st.DrawFn) -> tuple[MelConfig, NDArray[np.float32], NDArray[np.float32]]:
    """A front end that joins frames, frames, and its rows of them."""
    stack, hop = draw(st.integers(1, 5)), draw(st.integers(1, 6))
    pad = draw(st.sampled_from(["none", "lfr"]))
    n_patch = draw(st.integers(0, 5))
    out = Out(
        stack=stack,
        stack_stride=draw(st.integers(1, 7)),
        stack_pad=pad,  # type: ignore[arg-type]
        patch_frames=n_patch,
        patch_hop=hop if n_patch else 0,
    )
    config = MelConfig(mel=Mel(n_mels=2), frame=Frame(n_fft=16, hop_length=4), out=out)
    numbers = np.arange(2.0 * draw(st.integers(1, 40)), dtype=np.float32).reshape(-1, 2)
    rows = Rows.of(torch.from_numpy(numbers))
    if out.stack > 1 or out.stack_stride > 1:
        rows = StackFrames(out.stack, out.stack_stride, out.stack_pad).of(rows)
    if n_patch:
        rows = Patches(n_patch, hop).of(rows)
    made = rows.all().numpy() if rows.n_rows > 0 else np.empty((0, 0), np.float32)
    return config, numbers, made


@settings(deadline=None)
@given(made=joined(), size=st.integers(1, 9))
def test_frames_come_back_from_stacks_and_patches(
    made: tuple[MelConfig, NDArray[np.float32], NDArray[np.float32]], size: int
) -> None:
    """Each frame is where it was, however rows are cut into blocks; what is in no row is NaN."""
    config, numbers, rows = made
    if not len(rows):
        return
    blocks = [rows[at : at + size] for at in range(0, len(rows), size)]
    found = np.concatenate(list(mel_frames(config, blocks)))
    grid = mel_grid(config, len(rows), None)
    # The last frame may be repeated beyond the end, to fill the last row.
    assert grid.n_frames <= len(found)
    step = config.out.stack_stride if config.out.stack == 1 else 1
    wanted = numbers[::step]
    n = min(len(found), len(wanted), grid.n_frames)
    held = ~np.isnan(found[:n]).any(axis=1)
    assert (found[:n][held] == wanted[:n][held]).all()
    gaps = (
        config.out.stack_stride > config.out.stack > 1
        or config.out.patch_hop > config.out.patch_frames > 0
    )
    assert held.all() or gaps
    assert grid.period == pytest.approx(4 * step / RATE)


def test_gaps() -> None:
    """Between stacks that are further apart than they are long, frames are NaN."""
    config = MelConfig(mel=Mel(n_mels=1), out=Out(stack=2, stack_stride=3))
    rows = np.array([[0.0, 1.0], [3.0, 4.0]], np.float32)
    found = np.concatenate(list(mel_frames(config, [rows]))).ravel()
    assert np.array_equal(found, [0.0, 1.0, np.nan, 3.0, 4.0], equal_nan=True)
    assert mel_grid(config, 2, None).n_frames == 5


@settings(deadline=None)
@given(
    sizes=st.lists(st.integers(0, 5), max_size=9),
    start=st.integers(0, 10),
    length=st.integers(0, 20),
    size=st.integers(1, 7),
)
def test_recut(sizes: list[int], start: int, length: int, size: int) -> None:
    """However blocks come, they leave in one size, and hold the frames that were asked for."""
    whole = np.arange(float(sum(sizes)), dtype=np.float32)[:, None]
    blocks = np.split(whole, np.cumsum(sizes)[:-1]) if sizes else []
    found = list(recut(iter(blocks), start, start + length, size))
    assert all(len(block) == size for block in found[:-1])
    together = np.concatenate([np.empty((0, 1), np.float32), *found])
    assert (together == whole[start : start + length]).all()
    assert len(together) == len(whole[start : start + length])


def test_means_of_what_is_there() -> None:
    """NaN are left out of a mean, and are all there is only where nothing else is."""
    block = np.array([[1.0, np.nan], [3.0, np.nan], [np.nan, 8.0]], np.float32)
    found = means(block, 2)
    assert np.array_equal(found, [[2.0, np.nan], [np.nan, 8.0]], equal_nan=True)
    assert means(block, 1) is block


@pytest.mark.parametrize("n_frames", [1, 4000, 4001, 123_456, 10_000_000])
def test_columns_are_few(n_frames: int) -> None:
    """There are at most 4,000, and a block is a whole number of them."""
    group = columns.frames_a_column(n_frames)
    assert -(-n_frames // group) <= columns.MOST_COLUMNS
    assert columns.block_size(n_frames) % group == 0
    assert columns.block_size(n_frames) >= group


def test_a_part_in_seconds() -> None:
    """A frame belongs to the part of time in which its centre lies, the end excluded."""
    grid = Grid(0.1, 0.2, 10)  # 0.1, 0.3 ... 1.9
    assert grid.within(None, None) == (0, 10)
    assert grid.within(0.3, 0.7) == (1, 3)
    assert grid.within(0.31, None) == (2, 10)
    assert grid.edge(0) == grid.start == pytest.approx(0.0)
    for start, end in ((2.0, None), (0.31, 0.49), (None, 0.05)):
        with pytest.raises(UsageError, match=r"no frame lies from .*"):
            grid.within(start, end)


def test_numbers_of_samples_count() -> None:
    """TensorFlow's padding depends on the length, so a known length moves the frames."""
    config = MelConfig(
        wave=Wave(sample_rate=RATE), frame=Frame(n_fft=400, hop_length=160, pad="tf_same")
    )
    known, unknown = mel_grid(config, 100, 15_900), mel_grid(config, 100, None)
    assert known.first != unknown.first
    assert abs(known.first - unknown.first) <= 80 / RATE
