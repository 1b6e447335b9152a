"""Copy the golden arrays that the front ends in configs/ need out of the reference folder.

``python tests/golden/make.py REFERENCE_FOLDER``; what comes of it is told in README.md.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

HERE = Path(__file__).parent
CONFIGS = HERE.parent.parent / "configs"
KEPT_FIELDS = ("kind", "package", "sample_rate", "n_samples", "shape", "overrides")
EVERY = 6
"""Of the rows between the edges, every sixth is kept: neighbours share most samples."""
EDGE = 8
"""Rows kept at either end of the sound, where the padding shows."""


def kept_rows(mel: NDArray[np.float32]) -> NDArray[np.int64]:
    """The rows of a golden array that are kept.

    Of equal rows at the end (zeros that fill a fixed length) the first two are kept; of the rest
    the first and last ``EDGE``, and every ``EVERY``-th between.
    """
    differs = np.flatnonzero((mel != mel[-1]).reshape(len(mel), -1).any(axis=1))
    sound = int(differs[-1]) + 1 if len(differs) else 0
    rows = np.arange(min(len(mel), sound + 2))
    at_edge = (rows < EDGE) | (rows >= sound - EDGE)
    kept: NDArray[np.int64] = rows[at_edge | (rows % EVERY == 0)]
    return kept


def copy(reference: Path, target: Path, names: list[str]) -> None:
    """Write the arrays of ``names``, the signals they were made of, and the index."""
    everything: dict[str, dict[str, Any]] = json.loads((reference / "index.json").read_text())
    index = {name: everything[name] for name in names if name in everything}
    for name in index:
        with np.load(reference / f"{name}.npz") as arrays:
            mel = arrays["mel"]
        rows = kept_rows(mel)
        np.savez_compressed(target / f"{name}.npz", mel=mel[rows], rows=rows.astype(np.uint16))
    with np.load(reference / "signals.npz") as signals:
        rates = sorted({str(entry["sample_rate"]) for entry in index.values()})
        used: dict[str, Any] = {rate: signals[rate] for rate in rates}
    np.savez_compressed(target / "signals.npz", **used)
    lean = {name: {key: index[name][key] for key in KEPT_FIELDS} for name in index}
    (target / "index.json").write_text(json.dumps(lean, indent=1) + "\n")


if __name__ == "__main__":
    copy(Path(sys.argv[1]), HERE, sorted(path.stem for path in CONFIGS.glob("*.toml")))
