"""MelConfig: a front end, complete and checked, with its TOML form and its digest."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Self

from melcli.config.checks import (
    ALL_KEYS,
    Problem,
    config_error,
    did_you_mean,
    find_problems,
    toml_value,
)
from melcli.config.fields import ALWAYS, GROUPS, Frame, Log, Mel, Out, Scale, Spec, Wave
from melcli.errors import ConfigError


@dataclass(frozen=True, kw_only=True, eq=False)
class MelConfig:
    """A mel front end, complete: the same config gives the same numbers everywhere.

    Two are equal if their digests are: a value that is left out equals the one it stands for.

    Raises:
        ConfigError: On creation, with all the problems there are, not the first.

    >>> MelConfig(mel=Mel(n_mels=64)).digest == MelConfig(mel=Mel(n_mels=64, f_max=8000.0)).digest
    True
    """

    wave: Wave = Wave()
    frame: Frame = Frame()
    spec: Spec = Spec()
    mel: Mel = Mel()
    log: Log = Log()
    scale: Scale = Scale()
    out: Out = Out()
    name: str = ""
    """What people call it. No part of the digest."""

    def __post_init__(self) -> None:
        if not isinstance(self.name, str):
            raise config_error([Problem("name", self.name, "must be text")], None)
        problems = find_problems({group: getattr(self, group) for group in GROUPS})
        if problems:
            raise config_error(problems, None)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, MelConfig) and self.digest == other.digest

    def __hash__(self) -> int:
        return hash(self.digest)

    @property
    def win_length(self) -> int:
        """Window length in samples, resolved."""
        return self.frame.n_fft if self.frame.win_length is None else self.frame.win_length

    @property
    def f_max(self) -> float:
        """Highest edge of the filterbank in Hz, resolved."""
        rate = self.mel.fb_sample_rate or self.wave.sample_rate
        return rate / 2 if self.mel.f_max is None else self.mel.f_max

    @property
    def span(self) -> int:
        """Length in samples at which frames are cut."""
        return self.frame.n_fft if self.frame.frame_span == "n_fft" else self.win_length

    @property
    def row_shape(self) -> tuple[int, ...]:
        """Shape of one row of the output: a frame, a stack of frames, or a patch."""
        width = self.mel.n_mels * self.out.stack
        return (self.out.patch_frames, width) if self.out.patch_frames else (width,)

    @property
    def row_labels(self) -> tuple[str, ...]:
        """What each axis of the rows is, rows first."""
        return ("patch", "frame", "mel") if self.out.patch_frames else ("frame", "mel")

    @property
    def n_freqs(self) -> int:
        """Bins of the real FFT."""
        return self.frame.n_fft // 2 + 1

    def resolved(self) -> Self:
        """The same front end with nothing left to a default."""
        return dataclasses.replace(
            self,
            frame=dataclasses.replace(self.frame, win_length=self.win_length),
            mel=dataclasses.replace(self.mel, f_max=self.f_max),
        )

    @functools.cached_property
    def digest(self) -> str:
        """SHA-256 of the canonical form, in hexadecimal: what makes two front ends the same.

        The form has one line a field, ``group.field=value``, of the resolved config, in the order
        of the TOML file; floats as ``float.hex``; fields at their neutral value are left out.
        """
        lines = []
        resolved = self.resolved()
        for group, kind in GROUPS.items():
            for setting in dataclasses.fields(kind):
                value = getattr(getattr(resolved, group), setting.name)
                neutral = setting.metadata["neutral"]
                if neutral is ALWAYS or value != neutral:
                    lines.append(f"{group}.{setting.name}={_canonical(value, setting.type)}\n")
        return hashlib.sha256("".join(lines).encode()).hexdigest()

    def to_toml(self) -> str:
        """The resolved config as the text of a file that reads back to the same digest."""
        import tomli_w

        resolved = self.resolved()
        tables: dict[str, Any] = {"name": self.name} if self.name else {}
        for group, kind in GROUPS.items():
            values = {
                f.name: getattr(getattr(resolved, group), f.name) for f in dataclasses.fields(kind)
            }
            tables[group] = {
                name: list(value) if isinstance(value, tuple) else value
                for name, value in values.items()
                if value is not None
            }
        return tomli_w.dumps(tables)

    @classmethod
    def from_toml(cls, text: str, source: str | None = None) -> Self:
        """Read what :meth:`to_toml` wrote.

        Raises:
            ConfigError: If it is not TOML, or for all that is wrong with its values.
        """
        try:
            tables = tomllib.loads(text)
        except (tomllib.TOMLDecodeError, RecursionError) as error:
            raise ConfigError(f"is not TOML: {error}", source) from error
        return cls().overlaid(tables, source)

    def overlaid(self, tables: Mapping[str, object], source: str | None = None) -> Self:
        """This config with the tables of a file laid over it.

        Args:
            tables: A parsed TOML file: tables of fields, and perhaps a ``name``.
            source: The file, for error messages.

        Raises:
            ConfigError: With all the problems there are.
        """
        problems = []
        changes: dict[str, object] = {}
        name = tables.get("name", self.name)
        if not isinstance(name, str):
            problems.append(Problem("name", name, "must be text"))
        for key, value in tables.items():
            if key == "name":
                continue
            if isinstance(value, Mapping) and key in GROUPS:
                changes |= {f"{key}.{field}": v for field, v in value.items()}
            elif key in GROUPS:
                problems.append(Problem(key, value, f"must be a table: [{key}]"))
            elif isinstance(value, Mapping):
                problems.append(Problem(f"[{key}]", None, did_you_mean(key, GROUPS)))
            else:
                problems.append(Problem(key, value, did_you_mean(key)))
        return dataclasses.replace(self._changed(changes, problems, source), name=str(name))

    def updated(self, changes: Mapping[str, object], source: str | None = None) -> Self:
        """This config with single values changed, as by ``--set``.

        Args:
            changes: Such as ``{"mel.n_mels": 64}``.
            source: Where the changes come from, for error messages.

        Raises:
            ConfigError: With all the problems there are.

        >>> MelConfig(name="mine").updated({"mel.n_mels": 64}).name
        'mine with mel.n_mels=64'
        """
        config = self._changed(changes, [], source)
        told = ", ".join(f"{key}={toml_value(value)}" for key, value in changes.items())
        named = self.name and told
        return dataclasses.replace(config, name=f"{self.name} with {told}") if named else config

    def _changed(
        self, changes: Mapping[str, object], problems: list[Problem], source: str | None
    ) -> Self:
        groups = {group: getattr(self, group) for group in GROUPS}
        for key, value in changes.items():
            group, _, name = key.partition(".")
            if key in ALL_KEYS:
                plain = tuple(value) if isinstance(value, list) else value
                groups[group] = dataclasses.replace(groups[group], **{name: plain})
            else:
                problems.append(Problem(key, value, did_you_mean(key)))
        problems = [*problems, *find_problems(groups)]
        if problems:
            raise config_error(problems, source)
        return dataclasses.replace(self, **groups)


def describe_settings() -> Iterator[tuple[str, object, str]]:
    """Every key with its default and its one line of documentation."""
    for group, kind in GROUPS.items():
        for setting in dataclasses.fields(kind):
            yield f"{group}.{setting.name}", setting.default, setting.metadata["doc"]


def parse_setting(text: str) -> tuple[str, object]:
    """Split ``mel.n_mels=64`` as given to ``--set``: the value is TOML, or else plain text.

    Raises:
        ConfigError: If there is no ``=``.

    >>> parse_setting("mel.n_mels=64"), parse_setting("frame.window=hann")
    (('mel.n_mels', 64), ('frame.window', 'hann'))
    """
    key, equals, value = text.partition("=")
    if not equals:
        raise ConfigError(f"--set {text}: is not KEY=VALUE", None, "write it as mel.n_mels=64")
    try:
        parsed: object = tomllib.loads(f"value = {value.strip()}")["value"]
    except (tomllib.TOMLDecodeError, RecursionError):
        parsed = value.strip()
    return key.strip(), parsed


def _hex(value: float) -> str:
    return (float(value) + 0.0).hex()  # -0.0 and 0.0 are one number


def _canonical(value: object, annotation: object) -> str:
    """One spelling for each value, the same in every version and on every platform."""
    if isinstance(value, tuple):
        spelt = (json.dumps(v) if isinstance(v, str) else _hex(v) for v in value)
        return "[" + ",".join(spelt) + "]"
    if (
        isinstance(value, int | float)
        and not isinstance(value, bool)
        and "float" in str(annotation)
    ):
        return _hex(value)  # 1 and 1.0 are one value of a float field
    return json.dumps(value)
