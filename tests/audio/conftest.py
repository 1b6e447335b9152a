"""Real files of every format, made with soundfile and kept for the session."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import numpy as np
import pytest
import soundfile

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray


class Make(Protocol):
    """Write a recording once, and give its path: not to be changed."""

    def __call__(
        self, file_format: str, subtype: str, *, n_samples: int = 16_000, n_channels: int = 1
    ) -> Path:
        """Names are libsndfile's; the sample rate is 16 kHz."""


def sweep(n_samples: int, n_channels: int) -> NDArray[np.float32]:
    """Silence, then noise: every sample, channel and codec frame differs from its neighbours."""
    rng = np.random.default_rng(seed=7)
    noise = rng.normal(scale=0.2, size=(n_samples, n_channels))
    noise[: n_samples // 4] *= 0.001
    return noise.clip(-1, 1).astype(np.float32)


@pytest.fixture(scope="session")
def make(tmp_path_factory: pytest.TempPathFactory) -> Make:
    """Recordings at 16 kHz, by libsndfile's names of format and subtype."""
    folder = tmp_path_factory.mktemp("audio")

    def make_file(
        file_format: str, subtype: str, *, n_samples: int = 16_000, n_channels: int = 1
    ) -> Path:
        path = folder / f"{subtype}-{n_samples}-{n_channels}.{file_format.lower()}"
        if not path.exists():
            samples = sweep(n_samples, n_channels)
            soundfile.write(path, samples, 16_000, format=file_format, subtype=subtype)
        return path

    return make_file


@pytest.fixture(scope="session")
def countless_mp3(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """An MP3 of varying bit rate whose frame with the Xing header is gone; 3 s, quiet at first."""
    path = tmp_path_factory.mktemp("mp3") / "vbr.mp3"
    samples = sweep(48_000, 1)
    soundfile.write(path, samples, 16_000, subtype="MPEG_LAYER_III", bitrate_mode="VARIABLE")
    data = path.read_bytes()
    start = data.index(b"\xff\xf3")
    second = data.index(data[start : start + 2], start + 4)
    assert b"Xing" in data[start:second]
    return data[second:]
