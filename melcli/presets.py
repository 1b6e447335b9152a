"""Finds the named front ends: ``configs/*.toml``, in a checkout and in the installed wheel."""

from __future__ import annotations

import difflib
import os
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from melcli.config import MelConfig
from melcli.config.checks import Problem, config_error, did_you_mean
from melcli.errors import ConfigError, UsageError

ALIASES: Mapping[str, str] = {
    "desed": "dcase-task4-desed-16k",
    "kapre": "kapre-das",
    "keras": "keras-default",
    "librosa": "librosa-default-db",
    "nnaudio": "nnaudio-default",
    "torchaudio": "torchaudio-default-db",
}
"""Short names of the systems that people come from."""

DEFAULT = "librosa"

GROUPS = (
    "speech recognition and speech encoders",
    "speaker embedding",
    "text-to-speech and vocoders",
    "audio tagging and self-supervised audio",
    "DCASE baselines",
    "music and transcription",
    "mel losses of neural codecs",
    "library defaults",
)
"""The headings that front ends are listed under, in this order."""

_MAX_FILE_BYTES = 1 << 20
_MAX_BASES = 8


@dataclass(frozen=True, kw_only=True)
class About:
    """What a person must know of a front end, from the ``[about]`` table of its file.

    Args:
        group: Heading it is listed under.
        summary: At most 49 characters, for a column of a table: what it is for.
        also: Other models and recipes that compute the same, for people to search.
        source: Where its constants were read.
        compared_with: The original, with its version, whose output was compared.
        tolerance: The largest difference allowed in that comparison.
        notes: What the original does that a user must know: its resampler, its level rule.
    """

    group: str = ""
    summary: str = ""
    also: tuple[str, ...] = ()
    source: str = ""
    compared_with: str = ""
    tolerance: str = ""
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Preset:
    """A front end as a file: its name, where it lies, its text, and what it means."""

    name: str
    path: Path
    text: str
    about: About
    config: MelConfig

    @property
    def aliases(self) -> list[str]:
        """Its short names."""
        return [alias for alias, name in ALIASES.items() if name == self.name]

    @property
    def words(self) -> list[str]:
        """All that it can be found by."""
        return [*self.names, self.about.summary, self.about.group]

    @property
    def names(self) -> list[str]:
        """Its names, and those of the models that compute the same."""
        return [self.name, *self.aliases, *self.about.also]


def folder() -> Path:
    """The folder of the named front ends."""
    installed = Path(__file__).parent / "configs"
    return installed if installed.is_dir() else Path(__file__).parent.parent / "configs"


def names() -> list[str]:
    """The long names, sorted."""
    return sorted(path.stem for path in folder().glob("*.toml"))


def presets() -> Iterator[Preset]:
    """Every named front end."""
    for name in names():
        yield load(name)


def holds(text: str, part: str | None) -> bool:
    """Whether a text has that part, whatever the case; None is part of everything."""
    return part is None or part.casefold() in text.casefold()


def by_group(found: Iterable[Preset]) -> dict[str, list[Preset]]:
    """Front ends under their headings, in the order of :data:`GROUPS`."""
    headings: dict[str, list[Preset]] = {group: [] for group in GROUPS}
    for preset in found:
        headings.setdefault(preset.about.group, []).append(preset)
    return {group: members for group, members in headings.items() if members}


def search(
    word: str | None = None, *, sample_rate: int | None = None, group: str | None = None
) -> list[Preset]:
    """The front ends that fit all that is asked.

    Args:
        word: Part of a name, an alias, a summary, a heading, or a model that uses it; case does not
            matter.
        sample_rate: Rate it works at, in Hz.
        group: Part of the heading it is listed under.

    Raises:
        UsageError: If there is none, with the nearest.
    """
    known = list(presets())
    in_group = [p for p in known if holds(p.about.group, group)]
    named = [p for p in in_group if any(holds(text, word) for text in p.words)]
    found = [p for p in named if sample_rate in {None, p.config.wave.sample_rate}]
    if found:
        return found
    if not in_group:
        raise UsageError(
            f"no group has {group} in its name", None, "one of " + ", ".join(by_group(known))
        )
    if not named:
        near = _nearest(str(word), (text for preset in in_group for text in preset.names))
        where = f" in {', '.join(by_group(in_group))}" if group else ""
        raise UsageError(
            f"no front end{where} has {word} in its name, summary or models", None,
            f"did you mean {' or '.join(near)}?" if near else "melcli configs list shows all",
        )  # fmt: skip
    wanted = sample_rate or 0
    rates = sorted({p.config.wave.sample_rate for p in named}, key=lambda rate: abs(rate - wanted))
    nearest = ", ".join(map(str, rates[:3]))
    raise UsageError(
        f"none of {len(named)} front ends works at {wanted} Hz", None,
        f"{nearest} are the nearest; audio of any rate is resampled to the front end's",
    )  # fmt: skip


def is_named(config: MelConfig) -> bool:
    """Tell whether a config is the named front end that its name says, unchanged."""
    return config.name in names() and load(config.name).config == config


def load(name_or_path: str) -> Preset:
    """The front end of that name, or the file at that path.

    Args:
        name_or_path: A name (``whisper-80``), an alias (``librosa``), or a path, which is what
            holds a slash or ends in ``.toml``.

    Raises:
        ConfigError: If there is none, with the nearest name; or for all that is wrong in it.
    """
    if "/" in name_or_path or name_or_path.endswith(".toml"):
        return _read(Path(name_or_path), Path(name_or_path).stem)
    name = ALIASES.get(name_or_path, name_or_path)
    path = folder() / f"{name}.toml"
    if not os.path.isfile(path):  # noqa: PTH113, False for names that no file can have
        near = _used_by(name_or_path) or _nearest(name_or_path, [*ALIASES, *names()])
        raise ConfigError(
            f"there is no front end named {name_or_path}",
            None,
            (f"did you mean {' or '.join(near)}? " if near else "")
            + "melcli configs list shows all; a file of your own is ./NAME.toml",
        )
    return _read(path, name)


def _nearest(word: str, known: Iterable[str]) -> list[str]:
    spelt = {text.casefold(): text for text in known}
    near = difflib.get_close_matches(word.casefold(), spelt, n=3, cutoff=0.5)
    return [spelt[text] for text in near]


def _used_by(model: str) -> list[str]:
    """The front ends that a model of this name uses."""
    wanted = model.casefold()
    return [p.name for p in presets() if wanted in map(str.casefold, p.about.also)]


def _read(path: Path, name: str) -> Preset:
    text, tables = _parse(path)
    about = _about(tables.pop("about", {}), path)
    tables.setdefault("name", name)
    return Preset(name, path, text, about, _resolve_base(tables, path, depth=0))


def _resolve_base(tables: dict[str, object], path: Path, depth: int) -> MelConfig:
    base = tables.pop("base", None)
    if base is None:
        return MelConfig().overlaid(tables, str(path))
    if not isinstance(base, str):
        raise config_error(
            [Problem("base", base, "must be the name or path of a config")], str(path)
        )
    if depth >= _MAX_BASES:
        raise ConfigError(f"its bases go on and on: {base}", path, "end the circle")
    # A relative path counts from the file that names it.
    local = path.parent / base
    if "/" in base or base.endswith(".toml"):
        base_path = local
    else:
        base_path = folder() / f"{ALIASES.get(base, base)}.toml"
        if not os.path.isfile(base_path):  # noqa: PTH113, likewise
            raise config_error([Problem("base", base, did_you_mean(base, names()))], str(path))
    _, base_tables = _parse(base_path)
    base_tables.pop("about", None)
    return _resolve_base(base_tables, base_path, depth + 1).overlaid(tables, str(path))


def _parse(path: Path) -> tuple[str, dict[str, object]]:
    try:
        with path.open("rb") as file:
            raw = file.read(_MAX_FILE_BYTES + 1)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        cause = getattr(error, "strerror", None) or str(error)
        raise ConfigError(
            f"cannot be read: {cause}", path, "melcli configs list shows the named ones"
        ) from error
    if len(raw) > _MAX_FILE_BYTES:
        raise ConfigError("is larger than any front end's file", path, "give a .toml file")
    try:
        text = raw.decode()
        return text, dict(tomllib.loads(text))
    except (UnicodeDecodeError, tomllib.TOMLDecodeError, RecursionError) as error:
        raise ConfigError(
            f"is not TOML: {error}", path, "melcli configs show librosa is one"
        ) from error


def _about(table: object, path: Path) -> About:
    problems = []
    values: dict[str, object] = {}
    fields = About.__dataclass_fields__
    if not isinstance(table, Mapping):
        problems.append(Problem("about", table, "must be a table: [about]"))
        table = {}
    for key, value in table.items():
        if key not in fields:
            near = did_you_mean(key, fields)
            problems.append(Problem(f"about.{key}", value, near))
        elif fields[key].default == ():
            if isinstance(value, list) and all(isinstance(text, str) for text in value):
                values[key] = tuple(value)
            else:
                problems.append(Problem(f"about.{key}", value, "must be a list of text"))
        elif isinstance(value, str):
            values[key] = value
        else:
            problems.append(Problem(f"about.{key}", value, "must be text"))
    if problems:
        raise config_error(problems, str(path))
    return About(**values)  # type: ignore[arg-type]  # checked key by key above
