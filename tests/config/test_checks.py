"""What a config may be, and how it is told when it is not."""

from __future__ import annotations

import re

import pytest

from melcli.config import Frame, Mel, MelConfig, Scale
from melcli.config.checks import did_you_mean, toml_value
from melcli.errors import ConfigError

TEN_MISTAKES = """
colour = "red"

[wave]
sample_rate = "16k"

[frame]
n_fft = 1
hop_lenght = 160
window = "hanning"

[mel]
n_mels = true
mel_scale = "mel"

[log]
log = "ln"

[scale]
clip = [1, -1]

[output]
layout = "time_mel"
"""


NO_FLOOR = "must be above 0, with a log.floor_mode, since the logarithm of silence is -inf"


def test_all_problems_are_told_at_once() -> None:
    """Ten mistakes are one error of ten messages: file, key, value, what is allowed."""
    with pytest.raises(ConfigError) as caught:
        MelConfig.from_toml(TEN_MISTAKES, "mine.toml")
    error = caught.value
    assert error.path == "mine.toml"
    assert str(error).startswith("mine.toml: ")
    assert error.exit_code == 2
    assert error.cause.splitlines() == [
        "10 problems",
        '  colour = "red": unknown key',
        "  [output]: unknown key; did you mean out?",
        "  frame.hop_lenght = 160: unknown key; did you mean frame.hop_length?",
        '  wave.sample_rate = "16k": must be a whole number',
        "  frame.n_fft = 1: must be at least 2",
        "  mel.n_mels = true: must be a whole number",
        '  mel.mel_scale = "mel": must be one of "htk", "slaney"',
        f"  log.floor = 0.0: {NO_FLOOR}",
        "  scale.clip = [1, -1]: must be [low, high]",
        '  frame.window = "hanning": is no window; did you mean "hann"?',
    ]


def test_one_problem_is_one_line() -> None:
    """It needs no heading."""
    with pytest.raises(ConfigError) as caught:
        MelConfig().updated({"mel.n_mels": 0})
    assert caught.value.cause == "mel.n_mels = 0: must be at least 1"
    assert caught.value.remedy == "melcli configs show librosa --resolved lists every key"


@pytest.mark.parametrize(
    ("key", "complaint"),
    [
        ("mel.n_mel", "unknown key; did you mean mel.n_mels?"),
        ("mel.fmax", "unknown key; did you mean mel.f_max?"),
        ("wave.n_fft", "unknown key; did you mean frame.n_fft?"),
        ("n_mels", "unknown key; did you mean mel.n_mels?"),
        ("melody.of.spring", "unknown key"),
        ("", "unknown key"),
    ],
)
def test_typos_get_the_nearest_key(key: str, complaint: str) -> None:
    """A misspelt key, one in the wrong group, and one without a group are all recognised."""
    assert did_you_mean(key) == complaint
    with pytest.raises(ConfigError, match=re.escape(f"{key} = 1: {complaint}")):
        MelConfig().updated({key: 1})


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("mel = 3", "mel = 3: must be a table: [mel]"),
        ("n_mels = 3", "n_mels = 3: unknown key; did you mean mel.n_mels?"),
        ("[frames]\nn_fft = 3", "[frames]: unknown key; did you mean frame?"),
        ("name = 3", "name = 3: must be text"),
    ],
)
def test_tables_and_keys_are_not_confused(text: str, complaint: str) -> None:
    """Each mistake in the outline of a file has its own words."""
    with pytest.raises(ConfigError) as caught:
        MelConfig.from_toml(text)
    assert caught.value.cause == complaint


@pytest.mark.parametrize(
    ("key", "value", "complaint"),
    [
        ("mel.n_mels", True, "must be a whole number"),
        ("mel.n_mels", 64.0, "must be a whole number"),
        ("mel.f_min", False, "must be a number"),
        ("mel.f_max", float("nan"), "must be a number"),
        ("mel.f_max", float("inf"), "must be a number"),
        ("mel.f_max", "8k", "must be a number"),
        ("frame.frame_dc", 1, "must be true or false"),
        ("frame.window", 1, "must be text or a list"),
        ("frame.win_length", 0, "must be at least 1"),
        ("wave.channels", True, "must be one of .* or a whole number"),
        ("wave.channels", -1, "counts from 0"),
        ("wave.channels", "left", 'must be one of "mean", "first", "each" or a whole number'),
        ("scale.clip", (1.0,), r"must be \[low, high\]"),
        ("scale.clip", (1.0, True), r"must be \[low, high\]"),
        ("scale.shift", ("a",), "must be a number or a list of numbers"),
        ("scale.shift", [1, 2], "has 2 entries; one number, or mel.n_mels = 80 of them"),
        ("scale.scale", 0, "must not be 0"),
        ("scale.scale", [0] + [1] * 79, "must not be 0"),
        ("scale.pre_clip", [3, 3], r"must be \[low, high\]"),
        ("frame.win_length", 401, "must be at most frame.n_fft = 400"),
        ("frame.hop_length", 401, None),
        ("frame.pad", "kaldi_round", 'needs frame.frame_span = "win_length"'),
        ("mel.f_max", 8000.5, "must be at most half of wave.sample_rate, 8000 Hz"),
        ("mel.f_max", 0, "must be above mel.f_min = 0 Hz"),
        ("mel.f_min", 8000, r"must be above mel.f_min = 8000 Hz \(left out, it is 8000 Hz\)"),
        ("log.log", "ln", "must be above 0, with a log.floor_mode"),
        ("log.range_ref", "item_max", "goes together with log.range_ref: both or none"),
        ("log.range_width", 80, "goes together with log.range_ref: both or none"),
    ],
)
def test_values_are_checked(key: str, value: object, complaint: str | None) -> None:
    """Types strictly (true is not 1), ranges, and what goes together."""
    if complaint is None:
        MelConfig().updated({key: value})
        return
    with pytest.raises(ConfigError, match=complaint):
        MelConfig().updated({key: value})


def test_a_bank_of_a_hertz_less_may_end_at_half_the_rate() -> None:
    """As torchaudio's is, at an odd rate; no further, and with no other rate."""
    odd = {"wave.sample_rate": 11025, "mel.fb_sample_rate": 11024}
    assert MelConfig().updated(odd | {"mel.f_max": 5512.5}).f_max == 5512.5
    with pytest.raises(ConfigError, match=r"must be at most half of mel\.fb_sample_rate, 5512 Hz"):
        MelConfig().updated(odd | {"mel.f_max": 5513.0})
    with pytest.raises(ConfigError, match=r"must be at most half of mel\.fb_sample_rate, 5511 Hz"):
        MelConfig().updated(odd | {"mel.fb_sample_rate": 11022, "mel.f_max": 5512.5})


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"frame.n_fft": 1 << 40}, "frame.n_fft = 1099511627776: must be at most 1048576"),
        ({"frame.hop_length": 1 << 21}, "must be at most 1048576"),
        ({"mel.n_mels": 10**11}, "must be at most 8192"),
        ({"wave.sample_rate": 10**9}, "must be at most 10000000"),
        ({"wave.fix_samples": 1 << 50}, "must be at most 67108864"),
        ({"wave.wave_pad": [0, 1 << 25]}, "must be at most 16777216"),
        ({"wave.channels": 1 << 40}, "must be at most 2147483647"),
        ({"mel.n_mels": 8192, "frame.n_fft": 1 << 20}, "a filterbank of 4294975488 numbers"),
        ({"out.stack": 4096, "mel.n_mels": 4096}, "makes rows of 16777216 numbers"),
    ],
)
def test_nothing_large_is_asked_for(changes: dict[str, object], complaint: str) -> None:
    """A config from elsewhere cannot fill the memory with one number."""
    with pytest.raises(ConfigError, match=complaint):
        MelConfig().updated(changes)


@pytest.mark.parametrize("pad", ["same", "same_ceil", "causal", "kaldi_round"])
def test_padding_is_never_negative(pad: str) -> None:
    """Rules that pad by span minus hop refuse a hop longer than the frame."""
    settings = {"frame.pad": pad, "frame.frame_span": "win_length", "frame.win_length": 100}
    with pytest.raises(ConfigError, match="at most the frame's 100 samples"):
        MelConfig().updated(settings)
    assert MelConfig().updated({**settings, "frame.hop_length": 100}).frame.pad == pad


def test_a_rule_waits_for_the_types_it_reads() -> None:
    """A wrong type is told once, not again by every rule that would trip over it."""
    with pytest.raises(ConfigError) as caught:
        MelConfig().updated({"mel.f_max": "8k", "mel.f_min": 9000.0, "frame.n_fft": "big"})
    assert len(caught.value.cause.splitlines()) == 3  # a heading and two problems


def test_creation_is_checked_too() -> None:
    """There is no way to a MelConfig that is not one, in Python either."""
    with pytest.raises(ConfigError, match="3 problems"):
        MelConfig(frame=Frame(n_fft=-1), mel=Mel(n_mels=0), scale=Scale(clip=(1, 0)))


def test_a_number_beyond_floats_is_no_number() -> None:
    """TOML's whole numbers have no end, and those beyond float64 are told like inf."""
    with pytest.raises(ConfigError, match=r"mel\.f_max"):
        MelConfig().updated({"mel.f_max": 10**400})


def test_a_floor_that_float32_cannot_hold_is_no_floor() -> None:
    """The floor is there so that the logarithm of silence is finite."""
    with pytest.raises(ConfigError, match=r"log\.floor"):
        MelConfig().updated({"log.log": "ln", "log.floor_mode": "clamp", "log.floor": 1e-50})


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (True, "true"),
        (64, "64"),
        (1e-5, "1e-05"),
        ('a "b"', r'"a \"b\""'),
        ("Gärten", '"Gärten"'),
        ((1, 2.5), "[1, 2.5]"),
        ([True], "[true]"),
    ],
)
def test_values_are_shown_as_they_are_typed(value: object, text: str) -> None:
    """A message quotes the file, not Python."""
    assert toml_value(value) == text
