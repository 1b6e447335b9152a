"""Front ends as files: those that have a name, and one's own."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import pytest

from melcli import presets
from melcli.config import MelConfig
from melcli.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str, str | bytes], str]:
    """Write a config file, and give its path as one would type it."""

    def write_file(name: str, content: str | bytes) -> str:
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True, parents=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return str(path)

    return write_file


@pytest.mark.parametrize("name", presets.names())
def test_every_named_front_end_loads_and_is_explained(name: str) -> None:
    """Each file in configs/ is valid, says where it comes from, and what a user must know."""
    preset = presets.load(name)
    assert preset.name == preset.config.name == preset.path.stem == name
    assert preset.text == preset.path.read_text()
    for field in dataclasses.fields(presets.About):
        optional = field.name == "also"  # not every front end has others that use it
        assert getattr(preset.about, field.name) or optional, f"[about] {field.name} is missing"
    assert preset.text.startswith("# ")
    assert "\n" not in preset.about.summary
    assert not preset.about.summary.endswith(".")
    assert all(note.endswith(".") for note in preset.about.notes)


def test_presets_are_all_there_are() -> None:
    """``presets`` gives every name, sorted, once."""
    names = [preset.name for preset in presets.presets()]
    assert names == presets.names() == sorted(set(names))
    assert {"dcase-task4-desed-16k", "hifigan-22k", "kaldi-fbank-80", "whisper-80"} <= set(names)


@pytest.mark.parametrize(("alias", "name"), presets.ALIASES.items())
def test_aliases_are_their_long_names(alias: str, name: str) -> None:
    """A short name has the digest, and tells the name, of the long one."""
    short, long = presets.load(alias), presets.load(name)
    assert short == long
    assert short.config.digest == long.config.digest
    assert alias not in presets.names()


def test_the_default_is_a_name() -> None:
    """No ``--config`` means librosa's defaults."""
    assert presets.load(presets.DEFAULT).name == "librosa-default-db"


@pytest.mark.parametrize(
    ("name", "remedy"),
    [
        ("wisper-80", "did you mean whisper-80"),
        ("hifigan", "did you mean hifigan-22k"),
        ("Librosa", "did you mean librosa"),
        ("zzz", "melcli configs list shows all"),
        ("", "melcli configs list shows all"),
    ],
)
def test_an_unknown_name_gets_the_nearest(name: str, remedy: str) -> None:
    """The error names what was asked for, and what may have been meant."""
    with pytest.raises(ConfigError, match=f"there is no front end named {name}") as caught:
        presets.load(name)
    assert caught.value.remedy is not None
    assert caught.value.remedy.startswith(remedy)
    assert "a file of your own is ./NAME.toml" in caught.value.remedy


def test_a_path_has_a_slash_or_ends_in_toml(
    write: Callable[[str, str | bytes], str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file in the working folder never hides a named front end."""
    for name in ("mine.toml", "whisper-80", "whisper-80.toml", "plain"):
        write(name, "[mel]\nn_mels = 7\n")
    monkeypatch.chdir(tmp_path)
    for path in ("mine.toml", "./mine.toml", "./whisper-80", "whisper-80.toml", "./plain"):
        assert presets.load(path).config.mel.n_mels == 7
    assert presets.load("whisper-80").config.mel.n_mels == 80
    with pytest.raises(ConfigError, match="there is no front end named plain"):
        presets.load("plain")


def test_a_file_is_named_by_itself_or_by_its_name(write: Callable[[str, str | bytes], str]) -> None:
    """``name`` in the file, else that of the file; the digest knows neither."""
    plain, named = write("plain.toml", ""), write("x.toml", 'name = "mine"')
    assert presets.load(plain).config.name == "plain"
    assert presets.load(named).config.name == "mine"
    assert presets.load(plain).config.digest == presets.load(named).config.digest
    assert presets.load(plain).config == MelConfig()


def test_a_base_by_name_is_laid_under(write: Callable[[str, str | bytes], str]) -> None:
    """A file with a base says only what differs."""
    for base in ("hifigan-22k", "librosa"):
        path = write("mine.toml", f'base = "{base}"\n[mel]\nn_mels = 40\n[about]\nsummary = "x"')
        mine = presets.load(path)
        assert mine.config == presets.load(base).config.updated({"mel.n_mels": 40})
        assert mine.config.name == "mine"
        assert mine.about == presets.About(summary="x")


def test_a_base_by_path_counts_from_the_file_that_names_it(
    write: Callable[[str, str | bytes], str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Wherever the command runs, and through several files."""
    write("shared/bottom.toml", 'base = "whisper-80"\n[mel]\nn_mels = 41\nf_min = 30')
    write("shared/middle.toml", 'base = "bottom.toml"\n[mel]\nf_min = 50\n')
    top = write("mine/top.toml", 'base = "../shared/middle.toml"\n[wave]\nwave_gain = 2')
    monkeypatch.chdir(tmp_path)
    for path in (top, "mine/top.toml"):
        config = presets.load(path).config
        assert (config.mel.n_mels, config.mel.f_min, config.wave.wave_gain) == (41, 50, 2)
        assert config.wave.fix_samples == 480_000


def test_bases_in_a_circle_end(write: Callable[[str, str | bytes], str]) -> None:
    """A file that is its own base, directly or not, is an error and no endless loop."""
    write("b.toml", 'base = "a.toml"')
    for path in (write("a.toml", 'base = "b.toml"'), write("own.toml", 'base = "own.toml"')):
        with pytest.raises(ConfigError, match="its bases go on and on") as caught:
            presets.load(path)
        assert caught.value.remedy == "end the circle"


def test_an_unknown_base_is_told_with_the_nearest(write: Callable[[str, str | bytes], str]) -> None:
    """By name with a suggestion; by path with the path."""
    with pytest.raises(ConfigError, match=r'base = "whispr-80": .*did you mean whisper-80\?'):
        presets.load(write("a.toml", 'base = "whispr-80"'))
    with pytest.raises(ConfigError, match=r"nowhere\.toml: cannot be read: No such file"):
        presets.load(write("b.toml", 'base = "nowhere.toml"'))
    with pytest.raises(ConfigError, match="base = 3: must be the name or path of a config"):
        presets.load(write("c.toml", "base = 3"))


def test_a_mistake_in_a_base_names_the_base(write: Callable[[str, str | bytes], str]) -> None:
    """The file to mend, which is not the one that was asked for."""
    write("base.toml", "[mel]\nn_mels = 0")
    with pytest.raises(ConfigError, match=r"base\.toml: mel.n_mels = 0: must be at least 1"):
        presets.load(write("top.toml", 'base = "base.toml"'))


def test_what_cannot_be_read_is_told(
    write: Callable[[str, str | bytes], str], tmp_path: Path
) -> None:
    """No file, a folder, no TOML, no text, far too much: each with the path and a remedy."""
    (tmp_path / "folder.toml").mkdir()
    cases = {
        str(tmp_path / "nowhere.toml"): "cannot be read: No such file",
        str(tmp_path / "folder.toml"): "cannot be read: Is a directory",
        write("broken.toml", "[mel]\nn_mels = \n"): "is not TOML: .*line 2",
        write("sound.toml", b"RIFF\xff\xfe\x00\x00WAVE"): "is not TOML: ",
        write("large.toml", "#" * ((1 << 20) + 1)): "is larger than any front end's file",
    }
    for path, cause in cases.items():
        with pytest.raises(ConfigError, match=cause) as caught:
            presets.load(path)
        assert str(caught.value.path) == path
        assert caught.value.remedy
    assert presets.load(write("full.toml", "#" * (1 << 20))).config == MelConfig()


def test_an_unreadable_file_is_told(
    write: Callable[[str, str | bytes], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Permissions bind everyone but root, who may run the tests: so the error is made here."""
    path = write("secret.toml", "")

    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("pathlib.Path.open", refuse)
    with pytest.raises(ConfigError, match=r"secret\.toml: cannot be read: Permission denied"):
        presets.load(path)


def test_an_endless_file_is_not_read_to_its_end() -> None:
    """A device in place of a file is refused, and the memory is kept."""
    with pytest.raises(ConfigError, match="is larger than any front end's file"):
        presets.load("/dev/zero")


def test_mistakes_in_about_are_told_together(write: Callable[[str, str | bytes], str]) -> None:
    """What people read is checked as strictly as what is computed."""
    path = write("a.toml", '[about]\nsumary = "x"\ngroup = 3\nnotes = "one"\nsource = "here"\n')
    with pytest.raises(ConfigError) as caught:
        presets.load(path)
    assert caught.value.cause.splitlines() == [
        "3 problems",
        '  about.sumary = "x": unknown key; did you mean summary?',
        "  about.group = 3: must be text",
        '  about.notes = "one": must be a list of text',
    ]
    with pytest.raises(ConfigError, match=r"about = 3: must be a table: \[about\]"):
        presets.load(write("b.toml", "about = 3"))


def test_a_windows_file_is_read(write: Callable[[str, str | bytes], str]) -> None:
    """Line ends are no part of what it says."""
    assert presets.load(write("a.toml", b"[mel]\r\nn_mels = 7\r\n")).config.mel.n_mels == 7


def test_a_file_of_brackets_is_no_toml(write: Callable[[str, str | bytes], str]) -> None:
    """Whatever is in it, a file is read or told."""
    with pytest.raises(ConfigError, match="is not TOML"):
        presets.load(write("a.toml", "x = " + "[" * 5000))


def test_a_base_that_no_file_can_be_called(write: Callable[[str, str | bytes], str]) -> None:
    """A base is told like any other value that cannot be."""
    with pytest.raises(ConfigError):
        presets.load(write("a.toml", 'base = "\\u0000.toml"'))


def test_a_name_longer_than_any_file_is_unknown() -> None:
    """It is no front end, and no crash."""
    with pytest.raises(ConfigError, match="there is no front end"):
        presets.load("x" * 300)


def test_a_base_with_a_slash_is_a_path(write: Callable[[str, str | bytes], str]) -> None:
    """The rule of --config: what holds a slash is a path, and never a named front end."""
    with pytest.raises(ConfigError, match="cannot be read"):
        presets.load(write("a.toml", 'base = "./hifigan-22k"'))


def test_an_installed_wheel_has_its_own_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Beside the package where it is installed, above it in a checkout."""
    package = tmp_path / "melcli"
    (package / "configs").mkdir(parents=True)
    monkeypatch.setattr(presets, "__file__", str(package / "presets.py"))
    assert presets.folder() == package / "configs"
    (package / "configs").rmdir()
    assert presets.folder() == tmp_path / "configs"
