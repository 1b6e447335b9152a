"""Finds the named front ends: ``configs/*.toml``, in a checkout and in the installed wheel."""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from melcli.config import MelConfig
from melcli.config.checks import Problem, config_error, did_you_mean
from melcli.errors import ConfigError

ALIASES: Mapping[str, str] = {
    "desed": "dcase-task4-desed-16k",
    "librosa": "librosa-default-db",
}
"""Short names of the systems that people come from."""

DEFAULT = "librosa"

_MAX_FILE_BYTES = 1 << 20
_MAX_BASES = 8


@dataclass(frozen=True, kw_only=True)
class About:
    """What a person must know of a front end, from the ``[about]`` table of its file.

    Args:
        group: Heading it is listed under.
        summary: One line: what it is for.
        source: Where its constants were read.
        compared_with: The original, with its version, whose output was compared.
        tolerance: The largest difference allowed in that comparison.
        notes: What the original does that a user must know: its resampler, its level rule.
    """

    group: str = ""
    summary: str = ""
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
    if name not in names():
        known = [*ALIASES, *names()]
        near = difflib.get_close_matches(name_or_path, known, n=3, cutoff=0.5)
        raise ConfigError(
            f"there is no front end named {name_or_path}",
            None,
            (f"did you mean {' or '.join(near)}? " if near else "")
            + "melcli configs list shows all; a file of your own is ./NAME.toml",
        )
    return _read(path, name)


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
        if base_path.stem not in names():
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
        elif key == "notes":
            if isinstance(value, list) and all(isinstance(note, str) for note in value):
                values[key] = tuple(value)
            else:
                problems.append(Problem("about.notes", value, "must be a list of text"))
        elif isinstance(value, str):
            values[key] = value
        else:
            problems.append(Problem(f"about.{key}", value, "must be text"))
    if problems:
        raise config_error(problems, str(path))
    return About(**values)  # type: ignore[arg-type]  # checked key by key above
