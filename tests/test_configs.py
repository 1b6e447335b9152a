"""The files of configs/: that each loads, tells all it must, and means what it meant."""

from __future__ import annotations

import re
import tomllib
from itertools import chain
from pathlib import Path

import numpy as np
import pytest

from melcli import presets
from melcli.config import parse_setting
from melcli.errors import ConfigError, UsageError

NAMES = presets.names()
COMPARED = [
    line
    for line in (Path(__file__).parent / "data" / "compared.txt").read_text().splitlines()
    if not line.startswith("#")
]
DIGESTS = {
    "dcase-task4-desed-16k": "d9cadba9a593a01ec9d977a9dda35e9bfc213fb587fb98aacd5cff4303739a5d",
    "hifigan-22k": "44b213db06e463a7b8e7c364cfc253da732f7396aed9b4d32115b6097f71b58d",
    "kaldi-fbank-80": "8f3ca8c670c417a6777b9087cb198edc840a3b2b1554d068eb1f8affb6be7fdf",
    "librosa-default-db": "3e4072a1ef7a0bd3ef785f6a18b0916790d88959b59df0f7b54242c3c63e5993",
    "whisper-80": "cb9f836f4fd9478a9e71a97db602391349d283a99b3a1ee983bc346c24c15e21",
}
SUMMARY_WIDTH = 49
"""With the widest of the other columns, a line of `melcli configs list` has 120 characters."""
SETTINGS = re.compile(r"--set \S+=\S*[^\s;:.,](?: --set \S+=\S*[^\s;:.,])*")


@pytest.mark.parametrize("name", NAMES)
def test_tells_what_a_user_must_know(name: str) -> None:
    """A file says what it is, where it comes from, what it was compared with, and what to mind."""
    preset = presets.load(name)
    about = preset.about
    assert re.match(r"(# .*\n)*# .*\.\n\n", preset.text)
    assert about.group in presets.GROUPS
    assert 0 < len(about.summary) <= SUMMARY_WIDTH
    assert not about.summary.endswith(".")
    assert all([about.source, about.compared_with, about.tolerance, about.notes])
    assert all(note.endswith(".") for note in about.notes)
    assert preset.config.name == name


@pytest.mark.parametrize("name", NAMES)
def test_what_a_note_advises_is_possible(name: str) -> None:
    """Every --set in a note is accepted, and changes the front end."""
    preset = presets.load(name)
    for advice in chain.from_iterable(map(SETTINGS.findall, preset.about.notes)):
        changes = dict(
            parse_setting(text) for text in advice.removeprefix("--set ").split(" --set ")
        )
        assert preset.config.updated(changes).digest != preset.config.digest, advice


@pytest.mark.parametrize("name", NAMES)
def test_a_base_is_a_front_end_of_ours(name: str) -> None:
    """A base is named in full, never by a path or an alias, and chains of them end."""
    seen = [name]
    while base := tomllib.loads(presets.load(seen[-1]).text).get("base"):
        assert base in NAMES
        assert base not in seen
        seen.append(base)


@pytest.mark.parametrize("name", NAMES)
def test_the_resolved_form_is_the_same_front_end(name: str) -> None:
    """What `configs show --resolved` prints reads back to the same digest."""
    config = presets.load(name).config
    assert type(config).from_toml(config.to_toml()).digest == config.digest


def test_names_tell_front_ends_apart() -> None:
    """No name, alias or model name leads to two places, on any file system."""
    names = [name.casefold() for name in (*NAMES, *presets.ALIASES)]
    assert len(set(names)) == len(names)
    for preset in presets.presets():
        others = {name.casefold() for name in NAMES if name != preset.name}
        assert not others.intersection(map(str.casefold, preset.about.also))
        assert len(set(preset.about.also)) == len(preset.about.also)


@pytest.mark.parametrize("alias", presets.ALIASES)
def test_an_alias_is_the_same_front_end(alias: str) -> None:
    """A short name and its long one give the same digest."""
    long = presets.load(presets.ALIASES[alias])
    assert presets.load(alias).config.digest == long.config.digest
    assert presets.load(alias).name == long.name
    assert alias in long.aliases


def test_the_seed_systems_have_short_names() -> None:
    """The systems that people come from are found under the names they know."""
    assert set(presets.ALIASES) >= {"librosa", "torchaudio", "keras", "nnaudio", "kapre", "desed"}


@pytest.mark.parametrize("name", COMPARED)
def test_every_original_that_was_run_has_a_config(name: str) -> None:
    """A front end with a golden array has a file, and it says what was run."""
    about = presets.load(name).about
    assert not about.compared_with.startswith("not executed")
    assert not about.tolerance.startswith("none")


def test_what_was_not_run_says_so() -> None:
    """A file without a golden array claims no comparison, but for two that were run elsewhere."""
    for name in set(NAMES).difference(COMPARED, ["fish-speech-44k-128", "kapre-das"]):
        about = presets.load(name).about
        assert about.compared_with.startswith("not executed")
        assert about.tolerance.startswith("none")


@pytest.mark.parametrize(("name", "digest"), DIGESTS.items())
def test_digests_stay(name: str, digest: str) -> None:
    """The front ends of the first release keep their digest, and so the outputs made with them."""
    assert presets.load(name).config.digest == digest


# From das's own layer, for the signal of kapre_waveforms, at 16 kHz with a hop of 160 and 64 bands.
DAS = [
    ({}, 15171.39, 37.5377, (2.03805, 35.6663)),
    ({"mel.fb_norm": "slaney"}, 2711.613, 6.56519, (0.344587, 6.21146)),
    ({"mel.fb_norm": "none"}, 22013.11, 44.72326, (2.34739, 42.3136)),
]


def kapre_waveforms() -> list[np.ndarray[tuple[int], np.dtype[np.float32]]]:
    """A tone and noise that fall quiet; and the same backwards, at half the level."""
    state, noise = 1, np.empty(16_000)
    for n in range(16_000):
        state = (1_103_515_245 * state + 12_345) % 2**31
        noise[n] = state / 2**30 - 1
    x = 0.4 * np.sin(2 * np.pi * 440 * np.arange(16_000) / 16_000) + 0.1 * noise
    x[12_000:] *= 1e-4
    forwards = x.astype(np.float32)
    return [forwards, (0.5 * forwards[::-1]).astype(np.float32)]


@pytest.mark.parametrize(("changes", "total", "largest", "values"), DAS)
def test_kapre_is_that_of_das(
    changes: dict[str, object], total: float, largest: float, values: tuple[float, float]
) -> None:
    """The short name kapre means the Melspectrogram layer that DAS ships."""
    import torch

    from melcli.dsp.frontend import FrontEnd

    small = {"wave.sample_rate": 16_000, "frame.hop_length": 160, "mel.n_mels": 64}
    frontend = FrontEnd(presets.load("kapre").config.updated(small | changes))
    with torch.inference_mode():
        waveforms = [torch.from_numpy(waveform) for waveform in kapre_waveforms()]
        first, second = (rows.numpy() for rows in frontend.rows(waveforms))
    assert first.shape == (100, 64)
    assert first.sum() + second.sum() == pytest.approx(total, rel=1e-5)
    assert max(first.max(), second.max()) == pytest.approx(largest, rel=1e-5)
    assert (first[0, 0], first[25, 8]) == pytest.approx(values, rel=1e-4)


@pytest.mark.parametrize(
    ("word", "found"),
    [
        ("WHISPER-1", {"whisper-128"}),  # a name
        ("kapre", {"kapre-das", "kapre-default", "openl3-mel128-48k", "openl3-mel256-48k"}),
        ("desed", {"dcase-task4-desed-16k"}),
        ("speaker cloning", {"zonos-speaker-80"}),  # a summary
        ("sensevoice-560", {"funasr-paraformer-560"}),  # a model that computes the same
    ],
)
def test_a_word_finds_front_ends(word: str, found: set[str]) -> None:
    """A word is looked for in names, aliases, summaries and models, whatever its case."""
    assert {preset.name for preset in presets.search(word)} >= found


def test_filters_add_up() -> None:
    """A word, a rate and a group together find what fits all three."""
    found = presets.search("bigvgan", sample_rate=24_000, group="VOCODERS")
    assert [preset.name for preset in found] == ["bigvgan-24k-100"]
    assert len(presets.search()) == len(NAMES)
    assert {p.config.wave.sample_rate for p in presets.search(sample_rate=8000)} == {8000}
    assert {p.about.group for p in presets.search(group="dcase")} == {"DCASE baselines"}


def test_groups_keep_their_order() -> None:
    """Headings come in one order, and none is empty."""
    assert list(presets.by_group(presets.presets())) == list(presets.GROUPS)
    assert list(presets.by_group(presets.search("torchopenl3"))) == ["music and transcription"]


@pytest.mark.parametrize(
    ("asked", "cause", "remedy"),
    [
        ({"word": "wisper-80"}, "no front end has wisper-80", "whisper-80"),
        ({"word": "zzzzzz"}, "no front end has zzzzzz", "melcli configs list"),
        ({"word": "vggish", "group": "music"}, "no front end in music", "list"),
        ({"group": "speach"}, "no group has speach", "speech recognition"),
        ({"word": "whisper", "sample_rate": 8000}, "works at 8000 Hz", "16000"),
    ],
)
def test_finding_nothing_tells_the_nearest(
    asked: dict[str, object], cause: str, remedy: str
) -> None:
    """Who finds nothing is told what stopped it, and what is near."""
    with pytest.raises(UsageError, match=cause) as error:
        presets.search(**asked)  # type: ignore[arg-type]
    assert remedy in str(error.value.remedy)


def test_a_model_leads_to_its_front_end() -> None:
    """Loading the name of a model fails with the front end that computes its mel."""
    with pytest.raises(ConfigError, match="named distil-whisper") as error:
        presets.load("Distil-Whisper".lower())
    assert "did you mean whisper-80?" in str(error.value.remedy)


def test_lists_of_text_are_lists_of_text(tmp_path: Path) -> None:
    """A string where [about] wants a list is told, not taken apart into letters."""
    path = tmp_path / "mine.toml"
    path.write_text('[about]\nalso = "x"\nnotes = [1]\n')
    with pytest.raises(ConfigError, match=r"about\.also = \"x\": must be a list of text"):
        presets.load(str(path))
