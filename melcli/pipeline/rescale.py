"""A scaler applied to an output that is there, or undone: `melcli scaler apply` and `undo`.

Rows are read in blocks and written to a new output; the one that is there stays as it is. Killed
and called again, it goes on where it was.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import os
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

import melcli
from melcli import store
from melcli.config import MelConfig
from melcli.errors import ScalerError, UsageError
from melcli.pipeline.run import scaler_settings
from melcli.store.compare import check_holds_mels
from melcli.store.copying import copy_inputs, is_there
from melcli.store.records import STORED, Done

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from melcli.statistics.normalize import Normalization
    from melcli.store.protocols import Reader
    from melcli.store.records import Array, Header, Item, Outcome

UNDONE: Final = "undone"
"""The setting of an output whose rows were normalised once: they are rounded once more."""


@dataclass(frozen=True)
class Rescaled:
    """What was done.

    Args:
        n_items: In the output.
        n_failures: In the output, as in the one it was made from.
        n_rows: In all.
    """

    n_items: int
    n_failures: int
    n_rows: int


def apply(
    features: Path,
    output: Path,
    scaler: Normalization,
    *,
    command: str,
    overwrite: bool = False,
    advanced: Callable[[int], None] = lambda _n_inputs: None,
) -> Rescaled:
    """Write an output again, with every row normalised.

    Its rows are, bit for bit, those that `extract` with the same scaler gives, if what is stored is
    float32.

    Args:
        features: An output that is not normalised.
        output: The new one.
        scaler: Of the same front end.
        command: Kept in the output.
        overwrite: Replace an output that is there.
        advanced: Told how many inputs are done.

    Raises:
        StoreError: The output cannot be read, or the new one is there.
        ScalerError: It is normalised already; or numbers leave the range of float16.
        DeviceError: The disk is full, or does not work.
    """

    def normalised(header: Header) -> _New:
        if header.scaler is not None:
            raise ScalerError(
                f"is normalised already ({header.scaler.rule})",
                features,
                "melcli scaler undo it first",
            )
        settings = dict(header.settings) | scaler_settings(scaler)
        return _New(settings, scaler, lambda rows: _normalised(rows, scaler))

    return _rescaled(features, output, normalised, command, advanced, overwrite=overwrite)


def undo(
    features: Path,
    output: Path,
    *,
    command: str,
    overwrite: bool = False,
    advanced: Callable[[int], None] = lambda _n_inputs: None,
) -> Rescaled:
    """Write a normalised output again, as it was before, up to rounding.

    Args:
        features: An output that carries its scaler.
        output: The new one.
        command: Kept in the output.
        overwrite: Replace an output that is there.
        advanced: Told how many inputs are done.

    Raises:
        StoreError: The output cannot be read, or the new one is there.
        ScalerError: It is not normalised; or numbers leave the range of float16.
        DeviceError: The disk is full, or does not work.
    """

    def undone(header: Header) -> _New:
        scaler = header.scaler
        if scaler is None:
            raise ScalerError("carries no scaler: there is nothing to undo", features)
        settings = dict(header.settings)
        for name in scaler_settings(scaler):
            settings.pop(name, None)
        # Numbers were rounded twice: new ones, rounded once, are not to be mixed with them.
        settings[UNDONE] = f"{scaler.rule} {scaler.digest[:16]}"
        return _New(settings, None, lambda rows: _undone(rows, scaler))

    return _rescaled(features, output, undone, command, advanced, overwrite=overwrite)


class _New(NamedTuple):
    """What is new of an output.

    Args:
        settings: Its settings.
        scaler: What it carries.
        change: What is done to rows.
    """

    settings: dict[str, str]
    scaler: Normalization | None
    change: Callable[[Array], Array]


def _rescaled(
    features: Path,
    output: Path,
    what: Callable[[Header], _New],
    command: str,
    advanced: Callable[[int], None],
    *,
    overwrite: bool,
) -> Rescaled:
    _refuse_itself(features, output)
    with contextlib.closing(store.open_reader(features)) as reader:
        check_holds_mels(reader)
        new = what(reader.header)
        header = _header(reader, output, command, new, overwrite=overwrite)
        return _write(reader, output, header, new.change, advanced)


def _refuse_itself(features: Path, output: Path) -> None:
    if os.path.realpath(features) == os.path.realpath(output):
        raise UsageError("would replace what it is made of", str(output), "choose another -o")


def _header(reader: Reader, output: Path, command: str, new: _New, *, overwrite: bool) -> Header:
    header, settings = reader.header, new.settings
    layout = MelConfig.from_toml(header.config, str(reader.path)).out.layout
    settings["store_layout"] = settings["store_layout"] if store.is_hdf5(output) else "packed"
    return replace(
        header,
        settings=settings,
        command=command,
        created=dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
        melcli_version=melcli.__version__,
        transpose=not store.is_hdf5(output) and layout == "mel_time",
        overwrite=overwrite,
        scaler=new.scaler,
    )


def _normalised(rows: Array, scaler: Normalization) -> Array:
    """As the last stage of a front end does it: in float32, one after the other."""
    apart: Array = rows.astype(np.float32) - scaler.shift
    return apart / scaler.scale


def _undone(rows: Array, scaler: Normalization) -> Array:
    scaled: Array = rows.astype(np.float32) * scaler.scale
    return scaled + scaler.shift


def _write(
    reader: Reader,
    output: Path,
    header: Header,
    change: Callable[[Array], Array],
    advanced: Callable[[int], None],
) -> Rescaled:
    def changed(block: Array, item: Item) -> Array:
        with np.errstate(over="ignore"):
            rows = change(block).astype(STORED[header.dtype])
        if not np.isfinite(rows).all():
            raise ScalerError(
                f"{item.id}: a number leaves the range of {header.dtype}",
                reader.path,
                "an output of --dtype float32 has room for it",
            )
        return rows

    with contextlib.closing(store.open_writer(output, header)) as writer:
        if not is_there(lambda: _placed(reader), writer, output):
            copy_inputs(_placed(reader), writer, output, advanced, changed)
            places = [place for place, _, _ in reader.placed()] if header.shard else None
            writer.finish((outcome.id for _, outcome, _ in _placed(reader)), places)
    n_failures = sum(1 for _ in reader.failures())
    return Rescaled(len(reader), n_failures, int(reader.items["stop"][-1:].sum()))


def _placed(reader: Reader) -> Iterator[tuple[Reader, Outcome, int]]:
    """Every input in order, with the position of its first item."""
    position = 0
    outcomes = (
        (outcome for _, outcome, _ in reader.placed()) if reader.header.shard else reader.outcomes()
    )
    for outcome in outcomes:
        yield reader, outcome, position
        position += len(outcome.items) if isinstance(outcome, Done) else 0
