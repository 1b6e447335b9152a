"""MelConfig: resolving, the digest, TOML there and back."""

from __future__ import annotations

import dataclasses
import hashlib
import tomllib
import typing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from melcli import presets
from melcli.config import (
    Frame,
    Log,
    Mel,
    MelConfig,
    Out,
    Scale,
    Spec,
    Wave,
    describe_settings,
    parse_setting,
)
from melcli.config.fields import ALWAYS, GROUPS
from melcli.errors import ConfigError

PINNED = Path(__file__).parent.parent / "data" / "digests.txt"
DIGESTS = dict(line.split() for line in PINNED.read_text().splitlines())
"""They stand in people's files, and must never change. A new front end adds a line."""

FIELDS = [
    pytest.param(group, field, id=f"{group}.{field.name}")
    for group, kind in GROUPS.items()
    for field in dataclasses.fields(kind)
]


def choices(kind: type, name: str) -> st.SearchStrategy[Any]:
    """The values that a field of words may have, from its type."""
    return st.sampled_from(typing.get_args(typing.get_type_hints(kind)[name]))


WINDOWS: st.SearchStrategy[str | tuple[str | float, ...]] = st.sampled_from(
    ["hann", "povey", ("kaiser", 8.0), "boxcar"]
)


def pairs() -> st.SearchStrategy[tuple[float, float] | None]:
    """A range, or none."""
    ends = st.tuples(st.floats(-100, 0), st.floats(0.5, 100))
    return st.one_of(st.none(), ends)


@st.composite
def configs(draw: st.DrawFn) -> MelConfig:
    """Valid configs, every field of them drawn."""
    sample_rate = draw(st.integers(1, 200_000))
    n_mels = draw(st.integers(1, 5))
    log = draw(choices(Log, "log"))
    guarded = log != "none" or draw(st.booleans())
    ranged = draw(st.booleans())
    one_a_band = st.lists(st.floats(0.1, 1e6), min_size=n_mels, max_size=n_mels).map(tuple)
    small, positive = st.floats(0, 1), st.floats(2**-60, 1)
    try:
        return MelConfig(
            wave=Wave(
                sample_rate=sample_rate,
                channels=draw(st.one_of(st.sampled_from(["mean", "first"]), st.integers(0, 99))),
                resample=draw(choices(Wave, "resample")),
                wave_gain=draw(st.one_of(st.integers(1, 1 << 15), st.floats(0.1, 1e5))),
                fix_samples=draw(st.sampled_from([0, 160_000])),
                preemph=draw(small),
                preemph_scope=draw(choices(Wave, "preemph_scope")),
            ),
            frame=Frame(
                n_fft=draw(st.integers(64, 4096)),
                hop_length=draw(st.integers(1, 2048)),
                win_length=draw(st.one_of(st.none(), st.integers(1, 4096))),
                frame_span=draw(choices(Frame, "frame_span")),
                window=draw(WINDOWS),
                window_periodic=draw(st.booleans()),
                pad=draw(choices(Frame, "pad")),
                pad_mode=draw(choices(Frame, "pad_mode")),
                frame_dc=draw(st.booleans()),
                drop_last_frames=draw(st.integers(0, 2)),
            ),
            spec=Spec(power=draw(st.floats(0, 3)), mag_eps=draw(small)),
            mel=Mel(
                n_mels=n_mels,
                f_min=draw(st.floats(0, 0.2)) * sample_rate,
                f_max=draw(st.one_of(st.none(), st.just(sample_rate / 3))),
                mel_scale=draw(choices(Mel, "mel_scale")),
                fb_domain=draw(choices(Mel, "fb_domain")),
                fb_norm=draw(choices(Mel, "fb_norm")),
                fb_precision=draw(choices(Mel, "fb_precision")),
            ),
            log=Log(
                floor_mode=draw(st.sampled_from(["clamp", "add"])) if guarded else "none",
                floor=draw(positive) if guarded else 0.0,
                log=log,
                log_mult=draw(st.sampled_from([1.0, 10, 20.0])),
                range_ref="item_max" if ranged else "none",
                range_width=draw(positive) if ranged else 0,
            ),
            scale=Scale(
                pre_clip=draw(pairs()),
                shift=draw(st.one_of(st.floats(-1e3, 1e3), one_a_band)),
                scale=draw(st.one_of(st.floats(0.1, 1e3), one_a_band)),
                clip=draw(pairs()),
                utt_norm=draw(choices(Scale, "utt_norm")),
                utt_over=draw(choices(Scale, "utt_over")),
                utt_eps=draw(small),
            ),
            out=Out(layout=draw(choices(Out, "layout"))),
            name=draw(st.text(max_size=20)),
        )
    except ConfigError:  # a window or a hop longer than the frame
        assume(False)  # noqa: FBT003, hypothesis has it so
        raise


@pytest.mark.parametrize("name", DIGESTS)
def test_digests_never_change(name: str) -> None:
    """The digest of a named front end is for ever: outputs are compared by it."""
    assert presets.load(name).config.digest == DIGESTS[name]


def test_every_digest_is_pinned() -> None:
    """A named front end without a pinned digest could change unseen."""
    assert set(DIGESTS) == set(presets.names())


def test_the_canonical_form_is_this() -> None:
    """Resolved values, one line a field, in the order of the file, neutral ones left out."""
    form = """\
wave.sample_rate=16000
wave.channels="mean"
wave.resample="soxr-hq"
frame.n_fft=400
frame.hop_length=160
frame.win_length=400
frame.frame_span="n_fft"
frame.window="hann"
frame.window_periodic=true
frame.pad="center"
frame.pad_mode="reflect"
spec.power=0x1.0000000000000p+1
mel.n_mels=80
mel.f_min=0x0.0p+0
mel.f_max=0x1.f400000000000p+12
mel.mel_scale="htk"
mel.fb_domain="hz"
mel.fb_norm="none"
mel.fb_precision="float64"
out.layout="mel_time"
"""
    assert MelConfig().digest == hashlib.sha256(form.encode()).hexdigest()


def test_the_canonical_form_of_lists_is_this() -> None:
    """A list is its numbers as floats, and words of another field are not confused with it."""
    scaled = MelConfig(mel=Mel(n_mels=2), scale=Scale(shift=(1, 2.5), clip=(-1, 1)))
    form = """\
scale.shift=[0x1.0000000000000p+0,0x1.4000000000000p+1]
scale.clip=[-0x1.0000000000000p+0,0x1.0000000000000p+0]
out.layout="mel_time"
"""
    head = """\
wave.sample_rate=16000
wave.channels="mean"
wave.resample="soxr-hq"
frame.n_fft=400
frame.hop_length=160
frame.win_length=400
frame.frame_span="n_fft"
frame.window="hann"
frame.window_periodic=true
frame.pad="center"
frame.pad_mode="reflect"
spec.power=0x1.0000000000000p+1
mel.n_mels=2
mel.f_min=0x0.0p+0
mel.f_max=0x1.f400000000000p+12
mel.mel_scale="htk"
mel.fb_domain="hz"
mel.fb_norm="none"
mel.fb_precision="float64"
"""
    assert scaled.digest == hashlib.sha256((head + form).encode()).hexdigest()


@pytest.mark.parametrize(("group", "field"), FIELDS)
def test_every_field_is_part_of_the_digest(
    group: str,
    field: dataclasses.Field[Any],
    unusual: MelConfig,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Two front ends that differ in one field are two."""
    # The digest asks for no permission, and the checks know too well what goes together.
    monkeypatch.setattr("melcli.config.mel.find_problems", lambda _groups: [])
    value = getattr(getattr(unusual, group), field.name)
    assert value != field.default, "the fixture must differ from the default"
    other = {str: "another", int: 7, float: 2.0, bool: not value, tuple: (-7.0, 7.0, 9.0)}
    draft = dataclasses.replace(getattr(unusual, group), **{field.name: other[type(value)]})
    assert dataclasses.replace(unusual, **{group: draft}).digest != unusual.digest


@pytest.mark.parametrize(("group", "field"), FIELDS)
def test_neutral_means_the_default(group: str, field: dataclasses.Field[Any]) -> None:
    """A field that old files lack is one they never used: its default does nothing."""
    assert group in GROUPS
    neutral = field.metadata["neutral"]
    assert neutral is ALWAYS or neutral == field.default


def test_a_new_field_leaves_old_digests_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """A field at its neutral value is left out, so the day it is added changes nothing."""
    from melcli.config.fields import setting

    before = MelConfig().digest
    newer = dataclasses.make_dataclass(
        "Newer",
        [("dither", "float", setting(0.0, "noise, added one day", neutral=0.0))],
        bases=(Wave,),
        frozen=True,
        kw_only=True,
    )
    monkeypatch.setitem(GROUPS, "wave", newer)
    assert MelConfig(wave=newer()).digest == before
    assert MelConfig(wave=newer(dither=1.0)).digest != before


@settings(deadline=None)
@given(configs())
def test_resolved_is_the_same_front_end(config: MelConfig) -> None:
    """What was left to a default has the digest of the same thing said."""
    resolved = config.resolved()
    assert resolved.digest == config.digest
    assert resolved.frame.win_length is not None
    assert resolved.mel.f_max is not None
    assert resolved.resolved() == resolved


@pytest.mark.parametrize(
    "spellings",
    [
        ("[mel]\nf_max = 7600", "[mel]\nf_max = 7600.0", "[mel]\nf_max = 7.6e3"),
        ("[wave]\nwave_gain = 2", "[wave]\nwave_gain = 2.0"),
        ("[wave]\nwave_gain = 1", "", "[frame]\nwin_length = 400", "[mel]\nf_max = 8000"),
        ("[scale]\nclip = [-1, 1]", "[scale]\nclip = [-1.0, 1.0]", "scale = {clip = [-1, 1.0]}"),
        ("[mel]\nn_mels = 64", "mel.n_mels = 64", "[mel]\nn_mels = 0x40"),
        ('name = "mine"', 'name = "yours"', ""),
    ],
)
def test_the_digest_is_of_values_not_of_spellings(spellings: tuple[str, ...]) -> None:
    """Whole or not, in whatever form, under whatever name: the same numbers are the same."""
    assert len({MelConfig.from_toml(text).digest for text in spellings}) == 1


def test_minus_zero_is_zero() -> None:
    """The same number has the same digest, whatever its sign."""
    assert MelConfig(mel=Mel(f_min=-0.0)).digest == MelConfig().digest


@settings(deadline=None)
@given(configs())
def test_toml_comes_home(config: MelConfig) -> None:
    """What ``to_toml`` writes reads back to the resolved config, its digest and its name."""
    text = config.to_toml()
    back = MelConfig.from_toml(text)
    assert back == config.resolved()
    assert back.digest == config.digest
    assert back.name == config.name
    assert back.to_toml() == text


def test_toml_holds_every_field(unusual: MelConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of a front end is left to the defaults of the version that reads it."""
    monkeypatch.setattr("melcli.config.mel.find_problems", lambda _groups: [])
    tables = tomllib.loads(unusual.to_toml())
    name = tables.pop("name")
    assert name == "unusual"
    assert {f"{group}.{key}" for group, table in tables.items() for key in table} == {
        key for key, _, _ in describe_settings()
    }
    assert MelConfig.from_toml(unusual.to_toml()) == unusual


def test_what_is_no_toml_says_where() -> None:
    """The line of the mistake is part of the message, and so is the file."""
    with pytest.raises(ConfigError, match=r"store\.h5: is not TOML: .*line 2"):
        MelConfig.from_toml("[mel]\nn_mels = \n", "store.h5")


def test_derived_lengths() -> None:
    """Where a front end leaves a value out, it is this."""
    config = MelConfig(
        wave=Wave(sample_rate=11_025), frame=Frame(n_fft=401, win_length=300, hop_length=100)
    )
    assert (config.win_length, config.span, config.n_freqs, config.f_max) == (300, 401, 201, 5512.5)
    cut = MelConfig(frame=Frame(n_fft=401, win_length=300, frame_span="win_length"))
    assert cut.span == 300
    assert MelConfig(frame=Frame(n_fft=401)).win_length == 401


def test_updated_changes_one_value_and_the_original_keeps_its() -> None:
    """``--set`` over a front end: a new one, with the rest as it was."""
    config = presets.load("hifigan-22k").config
    changed = config.updated({"mel.f_max": 11_025, "scale.clip": [-1, 1]})
    assert (changed.mel.f_max, changed.scale.clip) == (11_025, (-1, 1))
    assert config.mel.f_max == 8000.0
    assert dataclasses.replace(changed, mel=config.mel, scale=config.scale) == config
    assert changed.digest != config.digest
    assert changed.name == "hifigan-22k with mel.f_max=11025, scale.clip=[-1, 1]"
    assert config.updated({}).name == "hifigan-22k"
    assert MelConfig().updated({"mel.n_mels": 64}).name == ""


@pytest.mark.parametrize(
    ("text", "setting"),
    [
        ("mel.n_mels=64", ("mel.n_mels", 64)),
        (" mel.n_mels = 64 ", ("mel.n_mels", 64)),
        ("mel.f_max=7600.0", ("mel.f_max", 7600.0)),
        ("log.floor=1e-5", ("log.floor", 1e-5)),
        ("frame.frame_dc=true", ("frame.frame_dc", True)),
        ("frame.window=hann", ("frame.window", "hann")),
        ('frame.window="hann"', ("frame.window", "hann")),
        ("scale.clip=[-1, 1]", ("scale.clip", [-1, 1])),
        ("wave.channels=1", ("wave.channels", 1)),
        ("a=b=c", ("a", "b=c")),
        ("mel.n_mels=", ("mel.n_mels", "")),
    ],
)
def test_settings_are_toml_or_plain_text(text: str, setting: tuple[str, object]) -> None:
    """``--set KEY=VALUE``: quotes may be left out, since a shell takes them away."""
    key, value = parse_setting(text)
    assert (key, value) == setting
    assert type(value) is type(setting[1])


def test_a_setting_needs_an_equals_sign() -> None:
    """The remedy shows the form."""
    with pytest.raises(ConfigError, match=r"--set mel\.n_mels: is not KEY=VALUE") as caught:
        parse_setting("mel.n_mels")
    assert caught.value.remedy == "write it as mel.n_mels=64"


def test_every_field_is_documented() -> None:
    """``melcli configs show --resolved`` has a line for each key."""
    described = list(describe_settings())
    assert [key for key, _, _ in described] == [
        f"{group}.{field.name}"
        for group, kind in GROUPS.items()
        for field in dataclasses.fields(kind)
    ]
    assert all(doc and not doc.endswith(".") for _, _, doc in described)
    assert all(getattr(MelConfig(), k.partition(".")[0]) is not None for k, _, _ in described)
