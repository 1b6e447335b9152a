"""What every contender is asked, and what they have in common.

Each is a script, ``python -m benchmarks.contenders.NAME LIST OUT``: LIST names recordings, one a
line, and their log mels are to be in the folder OUT when it ends. Each is written as the manual of
its library would have it, with as many workers as there are cores.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

import soundfile
import soxr

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

CONFIG: Final = Path(__file__).resolve().parent.parent / "front-end.toml"
SAMPLE_RATE: Final = 16_000
N_FFT: Final = 1024
HOP_LENGTH: Final = 256
N_MELS: Final = 80
FLOOR: Final = 1e-10
N_WORKERS: Final = len(os.sched_getaffinity(0))


def arguments() -> tuple[list[str], Path]:
    """The recordings, and the folder for their mels."""
    listed, out = sys.argv[1:]
    return Path(listed).read_text().splitlines(), Path(out)


def load(path: str) -> NDArray[np.float32]:
    """A recording as one float32 channel at `SAMPLE_RATE`, the way most loaders do it."""
    found, rate = soundfile.read(path, dtype="float32")
    waveform: NDArray[np.float32] = found if found.ndim == 1 else found.mean(axis=1)
    return waveform if rate == SAMPLE_RATE else soxr.resample(waveform, rate, SAMPLE_RATE)
