"""Several scalers to one: statistics of the parts of a dataset, put together."""

from __future__ import annotations

import os
from collections import defaultdict
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import melcli
from melcli.errors import ScalerError, UsageError
from melcli.scaler import files
from melcli.statistics.fitted import Statistics, merged
from melcli.store.compare import config_differences
from melcli.store.scalers import check_suffix
from melcli.store.shards import Shard

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path

_SHARD, _INPUTS, _MACHINE = "shard", "inputs_digest", "machine"
_FIRST_MISSING = 10
_AGAIN = "fit it again with melcli fit-scaler"


@dataclass(frozen=True)
class Part:
    """A scaler, and where it is from."""

    path: Path
    statistics: Statistics

    @property
    def shard(self) -> Shard | None:
        """Which part of a list of inputs it is of; None if it is no shard."""
        text = self.statistics.made.get(_SHARD)
        try:
            return None if text is None else Shard.parse(text)
        except UsageError as error:
            raise ScalerError(f"is damaged: {error.cause}", self.path, _AGAIN) from error


def merge(
    paths: Sequence[Path], output: Path, *, command: str, created: str, overwrite: bool = False
) -> Statistics:
    """Put statistics of one front end together, in the order of their names.

    In another order they are the same to 1e-12 of their value. One alone is only written anew, in
    the format that ``output`` asks for.

    Args:
        paths: Scalers: ``.h5`` or ``.npz``, or one of any kind.
        output: The one to write.
        command: Kept in it.
        created: Kept in it, ISO 8601.
        overwrite: Replace what is there.

    Returns:
        What was written.

    Raises:
        UsageError: A name ends like none of a scaler.
        ScalerError: They cannot be put together, or ``output`` is there.
        DeviceError: The disk is full, or does not work.
    """
    if not paths:
        raise UsageError("no scaler to merge", None, "name the scalers, then -o OUT")
    check_suffix(output, files.SUFFIXES)
    if os.path.lexists(output) and not overwrite:
        raise ScalerError("is there already", output, "choose another -o, or pass --overwrite")
    _refuse_twice(paths)
    parts = [Part(path, files.load(path)) for path in paths]
    if len(parts) > 1:
        _refuse_exports(parts)
    for part in parts[1:]:
        _refuse_other(parts[0], part)
    _refuse_missing(parts)
    made = {"command": command, "created": created, "melcli_version": melcli.__version__}
    whole = replace(merged([part.statistics for part in parts]), made=_made(parts, made))
    files.save(whole, output)
    return whole


def _made(parts: Sequence[Part], made: dict[str, str]) -> dict[str, str]:
    """How the result came about: by this merge, or as before where one was only written anew."""
    if len(parts) == 1:
        of_one = parts[0].statistics.made.items()
        return {key: text for key, text in of_one if key != _SHARD} or made
    machines = {part.statistics.made.get(_MACHINE, "") for part in parts}
    if len(machines) == 1 and (machine := machines.pop()):
        made[_MACHINE] = machine
    return made


def _refuse_twice(paths: Iterable[Path]) -> None:
    """Refuse one file under two names: its frames would weigh twice.

    Raises:
        ScalerError: There is one.
    """
    seen: dict[object, Path] = {}
    for path in paths:
        try:
            found = path.stat()
        except OSError:
            continue  # reading it says what is wrong
        # Windows knows no number of a file before it is opened.
        name = (found.st_dev, found.st_ino) if found.st_ino else path.resolve()
        if name in seen:
            same = "" if seen[name] == path else f": {seen[name]} is the same file"
            raise ScalerError(f"is named twice{same}", path, "name it once")
        seen[name] = path


def _refuse_exports(parts: Iterable[Part]) -> None:
    for part in parts:
        if part.statistics.is_export:
            raise ScalerError(
                "holds no count of frames, so it cannot be put together with others",
                part.path,
                "fit an .h5 or .npz of each part, and merge those",
            )


def _refuse_other(first: Part, part: Part) -> None:
    """Refuse what was fitted otherwise than the first.

    Raises:
        ScalerError: With every difference.
    """
    there, here = first.statistics, part.statistics
    lines = []
    if there.config_digest != here.config_digest:
        lines = config_differences(there.config, here.config, there="there", here="here")
        lines = lines or [_line("config_digest", lambda of: of.config_digest or None, there, here)]
    facts: dict[str, Callable[[Statistics], object]] = {
        "bins": lambda of: of.n_bins,
        "weight": lambda of: of.weight,
        "quantiles": lambda of: "none" if of.counts is None else "counted",
    }
    for name, fact in facts.items():
        if fact(there) != fact(here):
            lines.append(_line(name, fact, there, here))
    if lines:
        raise ScalerError(
            f"was fitted otherwise than {first.path}:" + "".join(f"\n  {line}" for line in lines),
            part.path,
            "fit all parts with the same options",
        )


def _line(
    name: str, fact: Callable[[Statistics], object], there: Statistics, here: Statistics
) -> str:
    return f"{name}: {fact(there) or 'not set'} there, {fact(here) or 'not set'} here"


def _refuse_missing(parts: Iterable[Part]) -> None:
    """Refuse shards that are there twice, or not all of one list of inputs.

    Raises:
        ScalerError: With those that are missing.
    """
    by_inputs: defaultdict[str, dict[int, tuple[Shard, Path]]] = defaultdict(dict)
    for part in parts:
        shard = part.shard
        if shard is None:
            continue
        seen = by_inputs[part.statistics.made.get(_INPUTS, "")]
        for other, path in seen.values():
            if other.count != shard.count:
                raise ScalerError(
                    f"is shard {shard}, and {path} is {other} of the same inputs",
                    part.path,
                    "fit every shard with the same --shard I/N",
                )
        if shard.number in seen:
            raise ScalerError(
                f"is shard {shard}, and so is {seen[shard.number][1]}", part.path, "name it once"
            )
        seen[shard.number] = shard, part.path
    for seen in by_inputs.values():
        count = next(iter(seen.values()))[0].count
        missing = [f"{number}/{count}" for number in range(1, count + 1) if number not in seen]
        if missing:
            more = ", …" if len(missing) > _FIRST_MISSING else ""
            raise ScalerError(
                f"{len(missing)} of {count} shards {'is' if len(missing) == 1 else 'are'} missing: "
                f"{', '.join(missing[:_FIRST_MISSING])}{more}",
                None,
                "name them too, once they are fitted",
            )
