"""What an output path means, and the plan that fits it. No torch: ``--dry-run`` needs it too."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from melcli import frames
from melcli.errors import UsageError
from melcli.pipeline.plan import Plan, Selection, make_plan

if TYPE_CHECKING:
    from collections.abc import Callable

    from melcli.config import MelConfig, OutputConfig

_LONGEST_SUFFIX = "#1023@99999"
_HDF5 = frozenset({".h5", ".hdf5"})


def output_path(output: str | os.PathLike[str]) -> Path:
    """The output as a path, once it is known to be an ``.h5`` file or a folder.

    Raises:
        UsageError: If it is neither.
    """
    text, path = os.fspath(output), Path(output)
    if path.suffix.lower() in _HDF5:
        if path.is_dir():
            raise UsageError("is a folder named like an HDF5 file", text, "choose another name")
        return path
    if text.endswith("/") or path.is_dir():
        return path
    if path.suffix.lower() == ".npy":
        remedy = f"{path.with_suffix('')}/ for a folder of them, or -o - > {text} for one"
        raise UsageError("is one .npy file, and an output holds many inputs", text, remedy)
    remedy = f"{text}.h5, or {text}/ for a folder of .npy files"
    raise UsageError("is neither an .h5 file nor a folder", text, remedy)


def plan_inputs(
    selection: Selection, path: Path | None, config: MelConfig, out: OutputConfig
) -> Plan:
    """The plan, checked for collisions of ids and, for a folder, of the files in it.

    Raises:
        ConfigError: If no audio, however long, gives this front end a frame.
        UsageError: If channels are chosen twice.
    """
    frames.shortest(config)  # complains where no audio gives a frame
    splits = config.wave.channels == "each" or long_rule(config, out) == "chunks"
    stores_by: Callable[[str], str] | None = None
    if path is not None and path.suffix.lower() not in _HDF5:
        from melcli.store import npy

        def stores_by(name: str) -> str:
            npy.npy_path(name + _LONGEST_SUFFIX * splits)  # complains about what would be too long
            return npy.npy_path(name)

    plan = make_plan(selection, stores_by=stores_by, splits=splits)
    if config.wave.channels == "each" and plan.chooses_channels():
        raise UsageError(
            "the table names channels, and --channels each takes all of them",
            selection.files_from,
            "leave out one of the two",
        )
    return plan


def long_rule(config: MelConfig, out: OutputConfig) -> str:
    """The rule for long audio, where the front end has a fixed length at all."""
    return out.long if config.wave.fix_samples else "any length"
