"""What a front end's values may be: the type of each field, and the rules between fields."""

from __future__ import annotations

import dataclasses
import difflib
import itertools
import json
import sys
import types
import typing
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from melcli.config.fields import GROUPS
from melcli.config.windows import window_complaint
from melcli.errors import ConfigError

ALL_KEYS = tuple(
    f"{group}.{field.name}" for group, kind in GROUPS.items() for field in dataclasses.fields(kind)
)

_ANNOTATIONS = {group: typing.get_type_hints(kind) for group, kind in GROUPS.items()}


@dataclass(frozen=True)
class Problem:
    """One thing wrong with a config: where, what stands there, and what could."""

    key: str
    value: object
    complaint: str

    def __str__(self) -> str:
        if self.value is None:
            return f"{self.key}: {self.complaint}"
        return f"{self.key} = {toml_value(self.value)}: {self.complaint}"


def config_error(problems: Iterable[Problem], source: str | None) -> ConfigError:
    """All problems of a config as the one error that tells them."""
    lines = [str(problem) for problem in problems]
    cause = lines[0] if len(lines) == 1 else "\n  ".join([f"{len(lines)} problems", *lines])
    return ConfigError(cause, source, "melcli configs show librosa --resolved lists every key")


def find_problems(groups: Mapping[str, Any]) -> list[Problem]:
    """All that is wrong with the groups of a front end.

    Types come first; a rule is asked only if every field it needs has the right type.
    """
    problems = []
    for group, values in groups.items():
        annotations = _ANNOTATIONS[group]
        for field in dataclasses.fields(values):
            value = getattr(values, field.name)
            complaint = _complaint(value, annotations[field.name], field.metadata)
            if complaint:
                problems.append(Problem(f"{group}.{field.name}", value, complaint))
    faulty = {problem.key for problem in problems}
    draft = types.SimpleNamespace(**groups)
    for needs, rule in _RULES:
        complaint = "" if faulty.intersection(needs) else rule(draft)
        if complaint:
            group, _, name = needs[0].partition(".")
            problems.append(Problem(needs[0], getattr(groups[group], name), complaint))
    return problems


def did_you_mean(key: str, known: Iterable[str] = ALL_KEYS) -> str:
    """The complaint about an unknown key, with the nearest known one."""
    names = list(known)
    near = difflib.get_close_matches(key, names, n=1, cutoff=0.6)
    if not near:  # the right field in the wrong group, or without one
        field = key.rpartition(".")[2]
        same = [name for name in names if name.rpartition(".")[2] == field]
        near = same or difflib.get_close_matches(field, [n.rpartition(".")[2] for n in names], n=1)
    return f"unknown key; did you mean {near[0]}?" if near else "unknown key"


def toml_value(value: object) -> str:
    """A value as one would type it in a TOML file."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, tuple | list):
        return "[" + ", ".join(toml_value(v) for v in value) + "]"
    return str(value)


def _complaint(value: object, annotation: object, limits: Mapping[str, Any]) -> str:
    if not _fits(value, annotation):
        return f"must be {_expected(annotation)}"
    low, high = limits["low"], limits["high"]
    if low is not None and isinstance(value, int | float) and value < low:
        return f"must be at least {low}"
    numbers = value if isinstance(value, tuple) else (value,)
    if any(isinstance(number, int) and number > high for number in numbers):
        return f"must be at most {high}"
    return ""


def _fits(value: object, annotation: object) -> bool:
    origin, choices = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is Literal:
        # 1 == True: compare within one type only.
        return any(type(value) is type(choice) and value == choice for choice in choices)
    if origin in _UNIONS:
        return any(_fits(value, choice) for choice in choices)
    if origin is tuple:
        kinds = itertools.repeat(choices[0]) if choices[-1] is Ellipsis else choices
        fixed = choices[-1] is not Ellipsis
        right_length = isinstance(value, tuple) and (not fixed or len(value) == len(choices))
        return right_length and all(map(_fits, value, kinds))  # type: ignore[call-overload]
    if annotation is float:
        return type(value) in {int, float} and abs(value) <= _LARGEST  # type: ignore[arg-type]
    return type(value) is annotation


def _expected(annotation: object) -> str:
    origin = typing.get_origin(annotation)
    if origin is Literal:
        return "one of " + ", ".join(toml_value(a) for a in typing.get_args(annotation))
    if origin in _UNIONS:
        choices = [c for c in typing.get_args(annotation) if c is not types.NoneType]
        return " or ".join(_expected(choice) for choice in choices)
    if origin is tuple:
        kinds = typing.get_args(annotation)
        if kinds[-1] is Ellipsis:
            return "a list of numbers" if kinds[0] is float else "a list"
        return "[low, high]" if kinds[0] is float else "a list of two whole numbers"
    return {int: "a whole number", float: "a number", bool: "true or false"}.get(
        typing.cast("type", annotation), "text"
    )


_UNIONS = (types.UnionType, typing.Union)  # what X | Y is depends on X and Y

_LARGEST = sys.float_info.max
_SMALLEST = 2.0**-126
"""The least normal float32: what is smaller may be 0 where it is used."""

_MOST_NUMBERS = 1 << 27
_MOST_IN_A_ROW = 1 << 22

Rule = Callable[[Any], str]
_RULES: list[tuple[tuple[str, ...], Rule]] = []


def _rule(*needs: str) -> Callable[[Rule], Rule]:
    """Register a rule: the fields it reads, the one to blame first. It returns its complaint."""

    def register(rule: Rule) -> Rule:
        _RULES.append((needs, rule))
        return rule

    return register


@_rule("wave.channels")
def _channel_is_counted_from_zero(c: Any) -> str:  # noqa: ANN401, a namespace of the groups
    number = c.wave.channels
    return "counts from 0" if isinstance(number, int) and number < 0 else ""


@_rule("mel.n_mels", "frame.n_fft")
def _filterbank_has_a_size(c: Any) -> str:  # noqa: ANN401
    n_numbers = c.mel.n_mels * (c.frame.n_fft // 2 + 1)
    too_many = n_numbers > _MOST_NUMBERS
    return f"makes a filterbank of {n_numbers} numbers; {_MOST_NUMBERS} may be" if too_many else ""


@_rule("out.stack", "out.patch_frames", "mel.n_mels")
def _row_has_a_size(c: Any) -> str:  # noqa: ANN401
    n_numbers = c.mel.n_mels * c.out.stack * max(1, c.out.patch_frames)
    too_many = n_numbers > _MOST_IN_A_ROW
    return f"makes rows of {n_numbers} numbers; {_MOST_IN_A_ROW} may be" if too_many else ""


@_rule("frame.win_length", "frame.n_fft")
def _window_fits_the_fft(c: Any) -> str:  # noqa: ANN401
    win_length = c.frame.win_length
    too_long = win_length is not None and win_length > c.frame.n_fft
    return f"must be at most frame.n_fft = {c.frame.n_fft}" if too_long else ""


@_rule("frame.pad", "frame.frame_span")
def _kaldi_rounding_counts_windows(c: Any) -> str:  # noqa: ANN401
    wrong = c.frame.pad == "kaldi_round" and c.frame.frame_span != "win_length"
    return 'needs frame.frame_span = "win_length"' if wrong else ""


@_rule("frame.pad", "frame.hop_length", "frame.n_fft", "frame.win_length", "frame.frame_span")
def _padding_is_not_negative(c: Any) -> str:  # noqa: ANN401
    win_length = c.frame.n_fft if c.frame.win_length is None else c.frame.win_length
    span = c.frame.n_fft if c.frame.frame_span == "n_fft" else win_length
    if c.frame.pad in {"same", "same_ceil", "causal", "kaldi_round"} and c.frame.hop_length > span:
        return f"needs frame.hop_length to be at most the frame's {span} samples"
    return ""


@_rule("mel.f_max", "mel.f_min", "mel.fb_sample_rate", "wave.sample_rate")
def _band_is_a_band(c: Any) -> str:  # noqa: ANN401
    rate = "mel.fb_sample_rate" if c.mel.fb_sample_rate else "wave.sample_rate"
    nyquist = (c.mel.fb_sample_rate or c.wave.sample_rate) / 2
    f_max = nyquist if c.mel.f_max is None else c.mel.f_max
    # At an odd rate torchaudio draws its bank for a hertz less; a band may end where it must.
    is_odd = c.mel.fb_sample_rate == c.wave.sample_rate - 1
    if f_max > (c.wave.sample_rate / 2 if is_odd else nyquist):
        return f"must be at most half of {rate}, {nyquist:g} Hz"
    if f_max <= c.mel.f_min:
        return f"must be above mel.f_min = {c.mel.f_min:g} Hz" + (
            f" (left out, it is {nyquist:g} Hz)" if c.mel.f_max is None else ""
        )
    return ""


@_rule("log.floor", "log.floor_mode", "log.log")
def _logarithm_has_a_floor(c: Any) -> str:  # noqa: ANN401
    guarded = c.log.floor_mode != "none" and c.log.floor >= _SMALLEST
    if c.log.log != "none" and not guarded:
        return "must be above 0, with a log.floor_mode, since the logarithm of silence is -inf"
    return ""


@_rule("log.range_width", "log.range_ref")
def _range_has_a_reference(c: Any) -> str:  # noqa: ANN401
    if (c.log.range_width > 0) != (c.log.range_ref != "none"):
        return "goes together with log.range_ref: both or none"
    return ""


@_rule("log.range_subtract", "log.range_ref")
def _subtracts_a_reference(c: Any) -> str:  # noqa: ANN401
    return "needs a log.range_ref" if c.log.range_subtract and c.log.range_ref == "none" else ""


@_rule("wave.wave_gain")
def _gain_leaves_something(c: Any) -> str:  # noqa: ANN401
    return "must not be 0" if abs(c.wave.wave_gain) < _SMALLEST else ""


@_rule("log.log_mult")
def _log_factor_leaves_something(c: Any) -> str:  # noqa: ANN401
    return "must not be 0" if abs(c.log.log_mult) < _SMALLEST else ""


@_rule("log.gain")
def _mel_gain_is_positive(c: Any) -> str:  # noqa: ANN401
    return "must be above 0" if c.log.gain < _SMALLEST else ""


@_rule("mel.mel_exponent")
def _exponent_is_positive(c: Any) -> str:  # noqa: ANN401
    return "must be above 0" if c.mel.mel_exponent <= 0 else ""


@_rule("mel.fb_shape", "mel.fb_domain")
def _shapes_are_drawn_in_hz(c: Any) -> str:  # noqa: ANN401
    drawn_in_mel = c.mel.fb_shape != "triangle" and c.mel.fb_domain == "mel"
    return 'needs mel.fb_domain = "hz"' if drawn_in_mel else ""


@_rule("frame.frame_extra", "frame.pad")
def _extra_samples_lie_behind(c: Any) -> str:  # noqa: ANN401
    wrong = c.frame.frame_extra and c.frame.pad not in {"none", "semi_causal"}
    return 'needs frame.pad = "none" or "semi_causal"' if wrong else ""


@_rule("wave.wave_pad")
def _wave_padding_is_not_negative(c: Any) -> str:  # noqa: ANN401
    return "must not be negative" if min(c.wave.wave_pad) < 0 else ""


@_rule("out.fix_frames", "out.frames_multiple")
def _one_rule_for_frames(c: Any) -> str:  # noqa: ANN401
    both = c.out.fix_frames and c.out.frames_multiple
    return "goes not together with out.frames_multiple" if both else ""


@_rule("out.patch_hop", "out.patch_frames")
def _patches_have_a_hop(c: Any) -> str:  # noqa: ANN401
    if bool(c.out.patch_frames) != bool(c.out.patch_hop):
        return "goes together with out.patch_frames: both or none"
    return ""


@_rule("scale.scale", "mel.n_mels")
def _divisors_fit(c: Any) -> str:  # noqa: ANN401
    return _one_a_band(c.scale.scale, c.mel.n_mels) or (
        "must not be 0" if any(abs(v) < _SMALLEST for v in _values(c.scale.scale)) else ""
    )


@_rule("scale.shift", "mel.n_mels")
def _shifts_fit(c: Any) -> str:  # noqa: ANN401
    return _one_a_band(c.scale.shift, c.mel.n_mels)


@_rule("scale.pre_clip")
def _pre_clip_is_a_range(c: Any) -> str:  # noqa: ANN401
    return _low_high(c.scale.pre_clip)


@_rule("scale.clip")
def _clip_is_a_range(c: Any) -> str:  # noqa: ANN401
    return _low_high(c.scale.clip)


@_rule("frame.window")
def _window_is_known(c: Any) -> str:  # noqa: ANN401
    return window_complaint(c.frame.window)


@_rule("frame.window", "frame.window_periodic", "frame.win_length", "frame.n_fft")
def _window_has_that_length(c: Any) -> str:  # noqa: ANN401
    if window_complaint(c.frame.window):
        return ""  # told already
    length = c.frame.n_fft if c.frame.win_length is None else c.frame.win_length
    return window_complaint(c.frame.window, length, periodic=c.frame.window_periodic)


def _values(value: float | tuple[float, ...]) -> Iterator[float]:
    yield from value if isinstance(value, tuple) else (value,)


def _one_a_band(value: float | tuple[float, ...], n_mels: int) -> str:
    if isinstance(value, tuple) and len(value) != n_mels:
        return f"has {len(value)} entries; one number, or mel.n_mels = {n_mels} of them"
    return ""


def _low_high(pair: tuple[float, float] | None) -> str:
    return "must be [low, high]" if pair is not None and pair[0] >= pair[1] else ""
