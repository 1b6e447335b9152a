"""Rules that act on the item: levels, lengths, normalisation, stacks, patches."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from melcli import frames
from melcli.config import MelConfig
from melcli.dsp.compression import DynamicRange, FixedRange, UtteranceMeanVar, UtteranceMinMax
from melcli.dsp.frontend import FrontEnd
from melcli.dsp.mel import filterbank_faults, mel_filterbank
from melcli.dsp.rows import FixFrames, FramesMultiple, OverwriteTail, Patches, Rows, StackFrames
from melcli.dsp.waveform import (
    FixedNoise,
    FixLength,
    Level,
    PadToMultiple,
    PcmRounding,
    RemoveMean,
)

LOG = {"log.log": "ln", "log.floor_mode": "clamp", "log.floor": 1e-5}
CASES: dict[str, dict[str, object]] = {
    "kaldi-like rounding": {"frame.frame_span": "win_length", "frame.win_length": 300,
                            "frame.pad": "kaldi_round", "frame.pad_mode": "symmetric"},
    "extra": {"frame.pad": "semi_causal", "frame.pad_mode": "constant", "frame.frame_extra": 1},
    "mean and variance": {"scale.utt_norm": "mean_var", "scale.utt_eps": 1e-5},
    "nemo tail": {"scale.utt_norm": "mean_var", "scale.tail_mask": "n_over_hop"},
    "mean": {"scale.utt_norm": "mean"},
    "mean and variance of all": {"scale.utt_norm": "mean_var", "scale.utt_over": "all",
                                 "scale.utt_eps": 1e-8},
    "nemo tail of all": {"scale.utt_norm": "mean", "scale.utt_over": "all",
                         "scale.tail_mask": "n_over_hop"},
    "ends": {"scale.utt_norm": "minmax"},
    "ends of each band": {"scale.utt_norm": "minmax01", "scale.utt_over": "bin"},
    "range below the maximum": {"log.range_ref": "item_max", "log.range_width": 8.0,
                                "log.range_subtract": True},
    "fixed frames before scaling": {"out.fix_frames": 64, "out.fix_frames_stage": "log"},
    "fixed frames": {"out.fix_frames": 64, "out.fix_frames_value": -3.0},
    "multiple padded": {"out.frames_multiple": 16},
    "multiple dropped": {"out.frames_multiple": 7, "out.frames_multiple_mode": "drop"},
    "stacked": {"out.stack": 5},
    "low frame rate": {"out.stack": 7, "out.stack_stride": 6, "out.stack_pad": "lfr"},
    "patches": {"out.patch_frames": 20, "out.patch_hop": 10},
    "level": {"wave.wave_dc": True, "wave.wave_norm": "peak_eps", "wave.wave_norm_target": 0.5},
    "min to max": {"wave.wave_norm": "minmax_pm1"},
    "padded": {"wave.wave_pad": [500, 700], "wave.samples_multiple": 128},
    "repeated": {"wave.fix_samples": 40000, "wave.fix_samples_fill": "repeatpad"},
    "16 bits": {"wave.pcm_round": "s16_32767"},
    "dither on frames": {"wave.dither": 1e-3},
    "dither on the waveform": {"wave.dither": 1e-3, "wave.dither_scope": "wave"},
    "root after the bank": {"mel.mel_exponent": 0.5},
    "SpeechBrain's triangles": {"mel.fb_shape": "left_width", "mel.fb_precision": "float32"},
    "corners on bins": {"mel.fb_shape": "int_bin", "mel.n_mels": 20},
    "a scaled spectrum": {"spec.fft_norm": "window", "spec.power": 1.5},
}  # fmt: skip


def config(**changes: Any) -> MelConfig:
    """The default front end with a logarithm and some changes, keys with ``__`` for a dot."""
    return MelConfig().updated(LOG | {k.replace("__", "."): v for k, v in changes.items()})


def noise(n: int, seed: int = 0) -> torch.Tensor:
    """White noise with a little tone."""
    rng = np.random.default_rng(seed)
    wave = 0.1 * rng.standard_normal(n) + 0.3 * np.sin(np.arange(n) / 7)
    return torch.from_numpy(wave.astype(np.float32))


@pytest.mark.parametrize("changes", CASES.values(), ids=CASES)
def test_an_item_is_the_same_bytes_alone_and_in_any_batch(changes: dict[str, object]) -> None:
    """Rules act on the item, never on the batch: its neighbours do not change a bit of it."""
    front_end = FrontEnd(MelConfig().updated(LOG | changes))
    waves = [noise(n, seed) * 10**-seed for seed, n in enumerate((9000, 5001, 12345))]
    with torch.inference_mode():
        together = front_end.rows(waves)
        backwards = front_end.rows(waves[::-1])[::-1]
        alone = [front_end.rows([wave])[0] for wave in waves]
    for a, b, c in zip(together, backwards, alone, strict=True):
        assert torch.equal(a, c)
        assert torch.equal(b, c)


@pytest.mark.parametrize("changes", CASES.values(), ids=CASES)
def test_rows_have_the_documented_shape_down_to_the_shortest_input(
    changes: dict[str, object],
) -> None:
    """frames.n_rows and config.row_shape say what comes out, for the shortest legal input too."""
    made = MelConfig().updated(LOG | changes)
    front_end = FrontEnd(made)
    shortest = frames.shortest(made)
    assert frames.n_rows(made, shortest - 1) == 0
    for n in (shortest, shortest + 1, 7999, 8000, 8001):
        if n >= shortest:
            rows = front_end.rows([noise(n)])[0]
            assert rows.shape == (frames.n_rows(made, n), *made.row_shape)


@pytest.mark.parametrize("changes", CASES.values(), ids=CASES)
@pytest.mark.parametrize("what", ["silence", "impulse", "square", "constant"])
def test_hard_signals_stay_finite(changes: dict[str, object], what: str) -> None:
    """Silence, an impulse, a full-scale square wave and a constant give finite numbers."""
    n = 8000
    wave = {
        "silence": torch.zeros(n),
        "impulse": (torch.arange(n) == n // 2).to(torch.float32),
        "square": torch.ones(n) * (-1.0) ** (torch.arange(n) // 50),
        "constant": torch.full((n,), 0.5),
    }[what]
    assert torch.isfinite(FrontEnd(MelConfig().updated(LOG | changes)).rows([wave])[0]).all()


def test_rounding_to_16_bits_is_that_of_int16() -> None:
    """Clip, multiply, truncate to int16, divide: what numpy's cast does."""
    wave = torch.tensor([-2.0, -1.0, -0.50001, -1e-6, 0.0, 0.3, 0.99999, 1.0, 3.0])
    ours = PcmRounding(32767)(wave)
    codes = (np.clip(wave.numpy(), -1, 1) * 32767).astype(np.int16)
    assert np.array_equal(ours.numpy(), codes.astype(np.float32) / np.float32(32767))
    assert PcmRounding(32768)(wave).max() == 32767 / 32768


def test_levels_follow_their_rules() -> None:
    """Peaks land on their target, quiet sound is left alone by peak_if_over_1, silence by all."""
    wave = torch.tensor([0.1, -0.4, 0.2])
    assert Level("peak", 0.95).of_whole(wave).abs().max() == pytest.approx(0.95)
    assert torch.equal(Level("peak_if_over_1", 1.0).of_whole(wave), wave)
    assert Level("peak_if_over_1", 1.0).of_whole(10 * wave).abs().max() == 1.0
    mapped = Level("minmax_pm1", 1.0).of_whole(wave)
    assert [float(mapped.min()), float(mapped.max())] == [-1.0, 1.0]
    for rule in ("peak", "peak_eps", "peak_if_over_1", "minmax_pm1"):
        assert torch.isfinite(Level(rule, 0.5).of_whole(torch.zeros(4))).all()


def test_the_mean_of_a_long_item_is_taken_in_float64() -> None:
    """A million samples with an offset lose it to float32's last digit."""
    wave = torch.full((1_000_003,), 0.1) + 1e-3 * noise(1_000_003)
    assert abs(float(RemoveMean().of_whole(wave).to(torch.float64).mean())) < 1e-9


@pytest.mark.parametrize(
    ("fill", "expected"),
    [("zero", [1, 2, 3, 0, 0, 0, 0, 0]), ("repeat", [1, 2, 3, 1, 2, 3, 1, 2]),
     ("repeatpad", [1, 2, 3, 1, 2, 3, 0, 0])],
)  # fmt: skip
def test_a_fixed_length_is_filled_by_its_rule(fill: Any, expected: list[int]) -> None:
    """Zeros, repeats, or whole repeats and then zeros; longer audio is cut."""
    wave = torch.tensor([1.0, 2.0, 3.0])
    assert FixLength(8, fill)(wave).tolist() == expected
    assert FixLength(2, fill)(wave).tolist() == [1, 2]
    assert PadToMultiple(4)(wave).tolist() == [1, 2, 3, 0]


@given(st.integers(1, 40), st.integers(1, 9), st.integers(1, 6))
@settings(deadline=None)
def test_low_frame_rate_stacks_as_funasr_does(n: int, stack: int, stride: int) -> None:
    """The first frame stands (stack - 1) // 2 times before, the last as often as needed."""
    rows = torch.arange(2 * n, dtype=torch.float32).reshape(n, 2)
    padded = [rows[0]] * ((stack - 1) // 2) + list(rows)
    expected = []
    for start in range(0, math.ceil(n / stride) * stride, stride):
        piece = padded[start : start + stack]
        piece += [padded[-1]] * (stack - len(piece))
        expected.append(torch.cat(piece))
    assert torch.equal(StackFrames(stack, stride, "lfr")(rows), torch.stack(expected))


def test_rows_are_cut_filled_and_gathered() -> None:
    """Fixed lengths, multiples, stacks and patches keep frames in their order."""
    rows = torch.arange(10.0).reshape(5, 2)
    assert FixFrames(3, 9.0)(rows).tolist() == rows[:3].tolist()
    assert FixFrames(6, 9.0)(rows)[-1].tolist() == [9.0, 9.0]
    assert FramesMultiple(4, "drop")(rows).tolist() == rows[:4].tolist()
    assert FramesMultiple(4, "pad")(rows)[5:].tolist() == [[0.0, 0.0]] * 3
    assert StackFrames(2, 2, "none")(rows)[1].tolist() == [4, 5, 6, 7]
    assert Patches(3, 2)(rows).shape == (2, 3, 2)
    assert Patches(3, 2)(rows)[1].tolist() == rows[2:5].tolist()
    overwritten = OverwriteTail(7.0).of(Rows.of(rows), 4).all()
    assert overwritten.tolist() == [*rows[:4].tolist(), [7.0, 7.0]]


OVER: dict[str, int | None] = {"bin": 0, "all": None}
"""The axis of rows that NumPy reduces."""


@pytest.mark.parametrize("over", OVER)
@pytest.mark.parametrize("ddof", [0, 1])
@pytest.mark.parametrize("mode", ["std", "var"])
def test_normalisation_is_that_of_numpy(ddof: int, mode: Any, over: Any) -> None:
    """Mean and deviation of each band, or of all, in float64; eps where it belongs."""
    rows = noise(900).reshape(300, 3) * torch.tensor([1.0, 3.0, 9.0]) - 11
    stage = UtteranceMeanVar(divide=True, over=over, ddof=ddof, eps=1e-3, eps_mode=mode)
    x = rows.numpy().astype(np.float64)
    var = x.var(axis=OVER[over], ddof=ddof)
    by = np.sqrt(var + 1e-3) if mode == "var" else np.sqrt(var) + 1e-3
    ours = stage.of_whole(rows).numpy()
    # float32 rounding
    np.testing.assert_allclose(ours, (x - x.mean(axis=OVER[over])) / by, atol=2e-6)
    moved = UtteranceMeanVar(divide=False, over=over, ddof=ddof, eps=1e-3, eps_mode=mode)
    expected = x - x.mean(axis=OVER[over])
    np.testing.assert_allclose(moved.of_whole(rows).numpy(), expected, atol=2e-6)


@pytest.mark.parametrize("over", OVER)
@pytest.mark.parametrize("low", [-1.0, 0.0])
def test_scaling_to_the_ends_is_that_of_numpy(low: float, over: Any) -> None:
    """The least and the largest value of each band, or of all, become the ends of the range."""
    rows = noise(900).reshape(300, 3) * torch.tensor([1.0, 3.0, 9.0]) - 11
    x = rows.numpy().astype(np.float64)
    least, largest = x.min(axis=OVER[over]), x.max(axis=OVER[over])
    expected = low + (1 - low) * (x - least) / (largest - least + 1e-3)
    ours = UtteranceMinMax(1e-3, low=low, over=over).of_whole(rows).numpy()
    np.testing.assert_allclose(ours, expected, atol=1e-6)  # float32 rounding
    exact = UtteranceMinMax(0.0, low=low, over=over).of_whole(rows).numpy()
    ends = exact.min(axis=OVER[over]), exact.max(axis=OVER[over])
    assert (ends[0] == low).all()
    assert (ends[1] == 1.0).all()


@pytest.mark.parametrize(
    ("rule", "over", "expected"),
    [
        ("mean", "auto", "bin"),
        ("mean_var", "auto", "bin"),
        ("minmax", "auto", "all"),
        ("minmax01", "auto", "all"),
        *((rule, over, over) for rule in ("mean", "minmax01") for over in ("bin", "all")),
    ],
)
def test_what_an_item_is_normalised_over(rule: str, over: str, expected: str) -> None:
    """Left to the rule, moments are those of each band and ends those of all; else as is said."""
    changes = {"scale.utt_norm": rule, "scale.utt_over": over}
    (stage,) = FrontEnd(MelConfig().updated(LOG | changes)).item_stages
    assert isinstance(stage, UtteranceMeanVar | UtteranceMinMax)
    assert stage.over == expected


@pytest.mark.parametrize("over", OVER)
def test_what_never_varies_becomes_the_lowest(over: Any) -> None:
    """No division by zero: one frame, a constant band or item is 0, or the low end of the range."""
    mean_var = UtteranceMeanVar(divide=True, over=over, ddof=1, eps=0.0, eps_mode="std")
    for rows in (torch.full((1, 2), 3.0), torch.full((9, 2), 3.0)):
        assert (mean_var.of_whole(rows) == 0).all()
        assert (UtteranceMinMax(0.0, over=over).of_whole(rows) == -1).all()
        assert (UtteranceMinMax(0.0, low=0.0, over=over).of_whole(rows) == 0).all()


def test_one_number_has_no_variance() -> None:
    """One frame of one band, over all: the divisor N - 1 is not 0."""
    stage = UtteranceMeanVar(divide=True, over="all", ddof=1, eps=1e-8, eps_mode="std")
    assert stage.of_whole(torch.tensor([[5.0]])).tolist() == [[0.0]]


def test_the_tail_is_left_out_of_the_statistics() -> None:
    """NeMo's extra frame is overwritten, and does not move the mean."""
    masked = config(scale__utt_norm="mean", scale__tail_mask="n_over_hop", scale__tail_value=5.0)
    rows = FrontEnd(masked).rows([noise(1600)])[0]
    assert rows.shape[0] == 11
    assert (rows[10] == 5.0).all()
    assert rows[:10].mean(dim=0).abs().max() < 1e-5  # the mean of ten float32 numbers near 10


def test_ranges_hang_from_their_reference() -> None:
    """From the item's maximum or a fixed value, which may then be taken away."""
    rows = torch.tensor([[0.0, -3.0], [2.0, -9.0]])
    stage = DynamicRange(4.0, subtract=True)
    assert stage.of_whole(rows).tolist() == [[-2.0, -4.0], [0.0, -4.0]]
    assert FixedRange(1.5, 4.0, subtract=False)(rows).tolist() == [[0.0, -2.5], [2.0, -2.5]]


@given(st.integers(1, 3000), st.integers(1, 3000))
@settings(deadline=None, max_examples=25)
def test_dither_of_a_longer_item_begins_with_that_of_a_shorter(a: int, b: int) -> None:
    """The noise is one endless row, so it does not depend on the item's length."""
    like = torch.zeros(1)
    n, middle = min(a, b), min(a, b) // 2
    whole = FixedNoise().take(0, a, like)
    assert torch.equal(whole[:n], FixedNoise().take(0, b, like)[:n])
    noise = FixedNoise()  # in pieces, and then once more from the start
    for start, stop in ((0, middle), (middle, n), (0, n)):
        assert torch.equal(noise.take(start, stop, like), whole[start:stop])


def test_filterbank_shapes_follow_their_originals() -> None:
    """Worked by hand: symmetric triangles, and corners floored to FFT bins."""
    band = {"f_min": 0.0, "f_max": 8000.0, "mel_scale": "htk", "norm": "none"}
    bins = mel_filterbank(26, 512, 16000, shape="int_bin", **band)  # type: ignore[arg-type]
    edges = 700 * (10 ** (np.linspace(0, 2595 * np.log10(1 + 8000 / 700), 28) / 2595) - 1)
    corners = np.floor(513 * edges / 16000).astype(int)
    expected = np.zeros((26, 257))
    for j in range(26):
        a, b, c = corners[j : j + 3]
        for i in range(a, b):
            expected[j, i] = (i - a) / (b - a)
        for i in range(b, c):
            expected[j, i] = (c - i) / (c - b)
    np.testing.assert_allclose(bins.numpy(), expected, atol=1e-7)  # rounded to float32 once
    wide = mel_filterbank(40, 400, 16000, shape="left_width", **band)  # type: ignore[arg-type]
    hz = 700 * (10 ** (np.linspace(0, 2595 * np.log10(1 + 8000 / 700), 42) / 2595) - 1)
    f = np.linspace(0, 8000, 201)
    slope = (f - hz[1:-1, None]) / np.diff(hz)[:-1, None]
    expected = np.maximum(0, np.minimum(slope + 1, 1 - slope))
    np.testing.assert_allclose(wide.numpy(), expected, atol=1e-6)


def test_poor_filterbanks_are_told_with_their_remedy() -> None:
    """Torchaudio's default has 4 empty filters and rank 107 of 128; librosa's has no fault."""
    poor = MelConfig().updated({"mel.n_mels": 128})
    empty, rank = filterbank_faults(poor)
    assert empty.startswith("4 of 128 filters are empty (")
    assert "rank 107" in rank
    assert "frame.n_fft" in rank
    assert filterbank_faults(MelConfig().updated({"frame.n_fft": 2048, "mel.n_mels": 40})) == []
