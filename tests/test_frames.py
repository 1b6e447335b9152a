"""Lengths: samples in, frames out."""

from __future__ import annotations

import typing

import librosa
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from melcli import frames, presets
from melcli.config import Frame, MelConfig, Wave
from melcli.config.fields import Padding, PadMode
from melcli.errors import ConfigError

PADDINGS: tuple[Padding, ...] = typing.get_args(Padding)
PAD_MODES: tuple[PadMode, ...] = typing.get_args(PadMode)


def small(pad: Padding, span: int, hop: int, pad_mode: PadMode = "constant") -> MelConfig | None:
    """A front end with frames of ``span`` samples, or None where the rule forbids the hop."""
    try:
        return MelConfig(
            frame=Frame(
                n_fft=span,
                win_length=span,
                frame_span="win_length",
                hop_length=hop,
                pad=pad,
                pad_mode=pad_mode,
            )
        )
    except ConfigError:
        return None


def count_by_hand(pad: Padding, n: int, span: int, hop: int) -> int:
    """Frames counted one by one: each starts a hop later, until the rule says it is the last."""
    half, edge = span // 2, (span - hop) // 2
    first, last_sample = {
        "center": (-half, n + half),
        "same": (-edge, n + edge),
        "none": (0, n),
        "semi_causal": (-half, n),
    }.get(pad, (0, 0))
    if pad in {"center", "same", "none", "semi_causal"}:  # frames that end inside the padding
        return sum(1 for start in range(first, last_sample - span + 1, hop))
    if pad in {"end", "causal", "tf_same"}:  # a frame for each hop that holds a sample
        return sum(1 for start in range(0, n, hop))
    if pad == "same_ceil":  # a frame for each whole hop
        return sum(1 for start in range(0, n - hop + 1, hop))
    if pad == "end_cover":  # frames until every sample lies in one
        count = 1
        while (count - 1) * hop + span < n:
            count += 1
        return count
    # kaldi_round: a frame for each whole hop, and for a last one of at least a half, to the sample
    return sum(1 for middle in range(hop - hop // 2, n + 1, hop))


@pytest.mark.parametrize("pad", PADDINGS)
@given(n=st.integers(1, 200), span=st.integers(2, 40), hop=st.integers(1, 50))
def test_framing_counts_as_by_hand(pad: Padding, n: int, span: int, hop: int) -> None:
    """The formulas of the table, for odd and even spans and hops."""
    config = small(pad, span, hop)
    if config is None:
        return
    framing = frames.framing(config, n)
    assert framing.n_frames == count_by_hand(pad, n, span, hop)
    # left, the samples and right are what the frames cover, no more and no less
    covered = (framing.n_frames - 1) * hop + span
    assert framing.left + n + framing.right == covered
    assert framing.left >= 0


@pytest.mark.parametrize(
    ("pad", "left", "right"),
    [
        ("center", 4, 1),  # of 4 + 12 + 4 samples three frames take 17
        ("same", 2, -1),  # of 2 + 12 + 2 samples two frames take 13
        ("same_ceil", 2, 3),  # the odd sample of 9 - 4 goes to the right
        ("none", 0, -3),
        ("kaldi_round", 2, 3),  # 9 // 2 - 4 // 2
        ("end", 0, 5),
        ("end_cover", 0, 1),
        ("causal", 5, 0),
        ("semi_causal", 4, -3),
        ("tf_same", 2, 3),
    ],
)
def test_edges_by_hand(pad: Padding, left: int, right: int) -> None:
    """12 samples, frames of 9, a hop of 4: where the odd sample goes."""
    config = small(pad, 9, 4)
    assert config is not None
    framing = frames.framing(config, 12)
    assert (framing.left, framing.right) == (left, right)


@given(n=st.integers(1, 500), span=st.integers(2, 40), hop=st.integers(1, 50))
def test_tf_same_pads_as_tensorflow(n: int, span: int, hop: int) -> None:
    """What is missing goes half to the left, and the odd sample to the right."""
    config = small("tf_same", span, hop)
    assert config is not None
    framing = frames.framing(config, n)
    total = max(0, (framing.n_frames - 1) * hop + span - n)
    assert framing.left == total // 2
    assert max(0, framing.right) == total - total // 2


@settings(deadline=None)
@given(n=st.integers(41, 300), span=st.integers(2, 40), hop=st.integers(1, 50))
def test_framing_counts_as_torch_stft(n: int, span: int, hop: int) -> None:
    """``center`` and ``none`` are torch.stft's two rules, odd spans included."""
    waveform, window = torch.zeros(n), torch.ones(span)
    for pad, center in (("center", True), ("none", False)):
        config = small("center" if center else "none", span, hop, "reflect")
        assert config is not None
        theirs = torch.stft(waveform, span, hop, window=window, center=center, return_complex=True)
        assert frames.n_frames(config, n) == theirs.shape[-1], pad


@settings(deadline=None)
@given(n=st.integers(41, 300), span=st.integers(2, 40), hop=st.integers(1, 50))
def test_framing_counts_as_librosa(n: int, span: int, hop: int) -> None:
    """``none`` is librosa.util.frame, ``center`` is librosa.stft."""
    waveform = np.zeros(n, np.float32)
    none, center = small("none", span, hop), small("center", span, hop)
    assert none is not None
    assert center is not None
    assert (
        frames.n_frames(none, n)
        == librosa.util.frame(waveform, frame_length=span, hop_length=hop).shape[-1]
    )
    theirs = librosa.stft(waveform, n_fft=span, hop_length=hop, window="boxcar")
    assert frames.n_frames(center, n) == theirs.shape[-1]


@pytest.mark.parametrize("pad_mode", PAD_MODES)
@pytest.mark.parametrize("pad", PADDINGS)
def test_the_shortest_gives_a_row_and_one_less_gives_none(pad: Padding, pad_mode: PadMode) -> None:
    """``shortest`` is an edge of what has frames, for every rule, mode, span and hop."""
    for span in (2, 3, 5, 8, 13, 19, 20, 24, 400):
        for hop in (1, 2, 3, 5, 6, 8, 10, 13, 160):
            config = small(pad, span, hop, pad_mode)
            if config is not None:
                shortest = frames.shortest(config)
                assert frames.n_frames(config, shortest) >= 1
                assert frames.n_frames(config, shortest - 1) == 0


@pytest.mark.parametrize("pad", PADDINGS)
@pytest.mark.parametrize("pad_mode", PAD_MODES)
def test_more_samples_never_give_fewer_rows(pad: Padding, pad_mode: PadMode) -> None:
    """A clip longer than the shortest is never too short, which messages and readers rely on."""
    for span in (2, 3, 5, 8, 13, 19, 20, 24):
        for hop in (1, 2, 3, 5, 6, 7, 9, 12, 20, 30):
            config = small(pad, span, hop, pad_mode)
            if config is not None:
                counts = [frames.n_frames(config, n) for n in range(80)]
                assert counts == sorted(counts), (span, hop)


@pytest.mark.parametrize(
    ("pad_mode", "shortest"), [("reflect", 201), ("symmetric", 1), ("constant", 1)]
)
def test_reflection_takes_what_it_shows(pad_mode: PadMode, shortest: int) -> None:
    """Reflecting 200 samples takes 201; going to and fro, like zeros, takes any number."""
    config = small("center", 400, 160, pad_mode)
    assert config is not None
    assert frames.shortest(config) == shortest


@pytest.mark.parametrize(
    ("name", "n_samples", "n_frames"),
    [
        ("librosa-default-db", 22_050, 44),  # 1 + 22050 // 512
        ("dcase-task4-desed-16k", 160_000, 626),
        ("whisper-80", 1, 3000),
        ("whisper-80", 480_000, 3000),
        ("hifigan-22k", 22_050, 86),
        ("hifigan-22k", 22_016, 86),
        ("kaldi-fbank-80", 16_000, 98),
        ("kaldi-fbank-80", 400, 1),
        ("kaldi-fbank-80", 399, 0),
    ],
)
def test_presets_by_hand(name: str, n_samples: int, n_frames: int) -> None:
    """The counts that people know by heart."""
    assert frames.n_frames(presets.load(name).config, n_samples) == n_frames


@pytest.mark.parametrize("name", presets.names())
def test_nothing_is_shorter_than_the_shortest(name: str) -> None:
    """Every preset has a shortest input; only a fixed length fills up what is shorter."""
    config = presets.load(name).config
    shortest = frames.shortest(config)
    assert frames.n_rows(config, shortest) >= 1
    assert all(frames.n_rows(config, n) == 0 for n in range(shortest))
    if config.wave.fix_samples:
        assert shortest == 1


def test_a_fixed_length_is_what_is_framed() -> None:
    """Cut or filled first; then pre-emphasis may drop a sample, and the end some frames."""
    wave = Wave(fix_samples=4000, preemph=0.9, preemph_scope="wave_drop_first")
    config = MelConfig(wave=wave, frame=Frame(pad="none", drop_last_frames=2))
    assert frames.fixed_length(config, 17) == 3999
    assert frames.n_frames(config, 17) == 1 + (3999 - 400) // 160 - 2
    assert frames.fixed_length(MelConfig(), 17) == 17


@pytest.mark.parametrize("drop", [1, 5])
def test_dropped_frames_are_not_counted(drop: int) -> None:
    """Nor do they make a negative number."""
    config = MelConfig(frame=Frame(pad="none", drop_last_frames=drop))
    assert frames.n_frames(config, 400) == 0
    assert frames.n_frames(config, 400 + 160 * drop) == 1
    assert frames.shortest(config) == 400 + 160 * drop


class EndlessError(Exception):
    """Stands for a loop without an end."""


def test_a_fixed_length_without_a_frame_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """A front end that cannot give a frame is told as one, where it is made or first asked."""
    count, asked = frames.n_frames, 0

    def counted(config: MelConfig, n_samples: int) -> int:
        nonlocal asked
        asked += 1
        if asked > 1000:
            raise EndlessError
        return count(config, n_samples)

    monkeypatch.setattr(frames, "n_frames", counted)
    with pytest.raises(ConfigError, match="no audio, however long"):
        frames.shortest(MelConfig(wave=Wave(fix_samples=100)))
