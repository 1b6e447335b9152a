"""What differs between an output that is there and the one asked for."""

from __future__ import annotations

import tomllib
from typing import TYPE_CHECKING, Any

from melcli.errors import StoreError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from melcli.store.protocols import Reader
    from melcli.store.records import Header

_NOT_SET = "not set"


def differences(found: Header, asked: Header) -> list[str]:
    """List, key by key, what would make rows of one unfit to lie beside rows of the other.

    Two configs with one digest are the same config, however they are written down. The command,
    the date and the machine do not count here.
    """
    lines = list(_lines(_facts(found), _facts(asked)))
    if found.config_digest != asked.config_digest:
        old, new = ({"config_digest": header.config_digest} for header in (found, asked))
        lines[:0] = config_differences(found.config, asked.config) or _lines(old, new)
    return lines


def config_differences(
    found: str, asked: str, *, there: str = "in the output", here: str = "asked for"
) -> list[str]:
    """List, key by key, what differs between two front ends, given as TOML.

    Args:
        found: That of an output, or of a scaler. One that is not TOML has no keys.
        asked: The other one.
        there: Where the first is from, in words.
        here: Likewise the second.

    >>> config_differences("[mel]\\nn_mels = 80", "[mel]\\nn_mels = 64")
    ['mel.n_mels: 80 in the output, 64 asked for']
    """
    old, new = (_settings(config) for config in (found, asked))
    return list(_lines(old, new, there, here))


def check_holds_mels(reader: Reader) -> None:
    """Refuse an output of `invert` where one of `extract` is asked for.

    Raises:
        StoreError: It holds spectra or waveforms.
    """
    if reader.header.content != "mel":
        told = {"spectrogram": "spectra", "audio": "waveforms"}[reader.header.content]
        raise StoreError(f"holds {told}, and no mels", reader.path, "name what it was made of")


def machine_differences(found: Mapping[str, str], asked: Mapping[str, str]) -> list[str]:
    """List what differs between two machine records."""
    return list(_lines(found, asked))


def merged_machine(found: Mapping[str, str], new: Mapping[str, str]) -> dict[str, str]:
    """Give a record that names both, where rows of two machines lie in one output.

    >>> merged_machine({"torch": "2.4.0"}, {"torch": "2.5.1"})
    {'torch': '2.4.0; 2.5.1'}
    """
    both = {}
    for key in sorted(found.keys() | new.keys()):
        values = [*found.get(key, _NOT_SET).split("; "), new.get(key, _NOT_SET)]
        both[key] = "; ".join(dict.fromkeys(values))
    return both


def refuse_other_settings(found: Header, asked: Header, path: Path, what: str) -> None:
    """Let an output be extended or resumed only with the settings it was made with.

    Raises:
        StoreError: They differ; it lists every difference.
    """
    if lines := differences(found, asked):
        raise StoreError(
            f"{what} has other settings:" + "".join(f"\n  {line}" for line in lines),
            path,
            "choose another -o, or pass --overwrite",
        )


def refuse_other_machine(found: Mapping[str, str], asked: Mapping[str, str], path: Path) -> None:
    """Let rows of one machine lie beside those of another only where that was asked for.

    Raises:
        StoreError: The records differ; it lists every difference.
    """
    if lines := machine_differences(found, asked):
        raise StoreError(
            "its rows come from another machine, and new ones might differ in their last bits:"
            + "".join(f"\n  {line}" for line in lines),
            path,
            "pass --accept-different-machine to mix them, or --overwrite to make all rows anew",
        )


def _facts(header: Header) -> dict[str, object]:
    content = {} if header.content == "mel" else {"content": header.content}
    return (
        dict(header.settings)
        | content
        | {
            "dtype": header.dtype,
            "row_shape": list(header.row_shape),
            "row_labels": list(header.row_labels),
            "transpose": header.transpose,
        }
    )


def _settings(config: str) -> dict[str, object]:
    try:
        return dict(_flat(tomllib.loads(config)))
    except (tomllib.TOMLDecodeError, RecursionError):  # tables in tables, a thousand deep
        return {}


def _flat(table: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, object]]:
    for key, value in table.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _lines(
    old: Mapping[str, object],
    new: Mapping[str, object],
    there: str = "in the output",
    here: str = "asked for",
) -> Iterator[str]:
    for key in [*old, *(key for key in new if key not in old)]:
        found, asked = old.get(key, _NOT_SET), new.get(key, _NOT_SET)
        if found != asked:
            yield f"{key}: {found} {there}, {asked} {here}"
