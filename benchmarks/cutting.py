"""One endless stream of sound from many recordings, cut into clips.

``python -m benchmarks.cutting SAMPLE_RATE N_CHANNELS SECONDS`` reads names from standard input:
the clips to make, an empty line, the recordings to make them from.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import soundfile
import soxr

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

_SOURCE_SECONDS = 600
"""So much of a recording at most: one of many hours would be all there is."""


def stream(
    recordings: Sequence[Path], sample_rate: int, n_channels: int
) -> Iterator[NDArray[np.int16]]:
    """The sound of all recordings, ``(n_samples, n_channels)`` each, over and over."""
    while True:
        n_read = 0
        for path in recordings:
            try:
                with soundfile.SoundFile(path) as file:
                    rate = file.samplerate
                    found = file.read(_SOURCE_SECONDS * rate, "float32", always_2d=True)
            except soundfile.LibsndfileError:
                continue  # another format, or damaged: there are others
            if n_channels == 1:
                found = found.mean(axis=1, keepdims=True)
            elif found.shape[1] != n_channels:
                found = np.repeat(found[:, :1], n_channels, axis=1)
            if rate != sample_rate:
                found = soxr.resample(found, rate, sample_rate)
            n_read += len(found)
            yield np.clip(np.round(found * 32768), -32768, 32767).astype(np.int16)
        if not n_read:
            raise SystemExit(f"none of {len(recordings)} recordings can be read")


def cut(
    files: Sequence[Path],
    recordings: Sequence[Path],
    sample_rate: int,
    n_channels: int,
    length: int,
) -> None:
    """Write clips of ``length`` samples; those that are there already are left as they are."""
    blocks = stream(recordings, sample_rate, n_channels)
    left = next(blocks)
    for path in files:
        path.parent.mkdir(parents=True, exist_ok=True)
        half_made = path.with_name(f"{path.name}.partial")
        kind = {".wav": "WAV", ".flac": "FLAC"}[path.suffix]
        with soundfile.SoundFile(
            half_made, "w", sample_rate, n_channels, "PCM_16", format=kind
        ) as clip:
            missing = length
            while missing:
                if not len(left):
                    left = next(blocks)
                clip.write(left[:missing])
                missing, left = missing - len(left[:missing]), left[missing:]
        if path.exists():
            half_made.unlink()
        else:
            os.replace(half_made, path)  # noqa: PTH105, says that it replaces


def main() -> None:
    """Read what to make from the command line and standard input."""
    sample_rate, n_channels = int(sys.argv[1]), int(sys.argv[2])
    files, recordings = sys.stdin.read().split("\n\n")
    cut(
        [Path(name) for name in files.splitlines()],
        [Path(name) for name in recordings.splitlines()],
        sample_rate,
        n_channels,
        round(float(sys.argv[3]) * sample_rate),
    )


if __name__ == "__main__":
    main()
