"""Waveforms as files: WAV of float32, FLAC of 16 bits; the same samples give the same bytes."""

from __future__ import annotations

import struct
import tempfile
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from melcli.errors import AudioError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    import numpy.typing as npt

    Samples = npt.NDArray[np.floating[Any]]

_FLOAT_FORMAT: Final = 3
_MOST_BYTES: Final = 0xFFFFFFFF
_PIECE: Final = 1 << 20
_FULL_SCALE: Final = 32768.0


def wav_bytes(pieces: Iterable[Samples], n_samples: int, sample_rate: int) -> Iterator[bytes]:
    """A WAV file of float32, one channel, in pieces.

    Not written by libsndfile, which notes the time of day in such files.

    Args:
        pieces: Of the waveform, in order.
        n_samples: In all.
        sample_rate: In Hz.

    Raises:
        AudioError: It is too long for a WAV file.
        ValueError: The pieces are not ``n_samples`` long.
    """
    n_bytes = 4 * n_samples
    chunks = struct.pack(
        "<4sIHHIIHHH", b"fmt ", 18, _FLOAT_FORMAT, 1, sample_rate, 4 * sample_rate, 4, 32, 0
    ) + struct.pack("<4sII", b"fact", 4, n_samples)
    if len(chunks) + n_bytes + 12 > _MOST_BYTES:
        raise AudioError(f"is too long for WAV: {n_samples:,} samples", None, "choose flac")
    riff = struct.pack("<4sI4s", b"RIFF", len(chunks) + n_bytes + 12, b"WAVE")
    yield riff + chunks + struct.pack("<4sI", b"data", n_bytes)
    for piece in pieces:
        n_samples -= len(piece)
        yield np.ascontiguousarray(piece, "<f4").tobytes()
    if n_samples:
        raise ValueError(f"{n_samples} samples are missing")


def flac_bytes(pieces: Iterable[Samples], sample_rate: int) -> Iterator[bytes]:
    """A FLAC file of 16 bits, one channel, in pieces; what is beyond full scale is clipped.

    Args:
        pieces: Of the waveform, in order.
        sample_rate: In Hz.

    Raises:
        AudioError: FLAC has no such sample rate.
    """
    import soundfile

    with tempfile.TemporaryFile() as file:
        try:
            with soundfile.SoundFile(file, "w", sample_rate, 1, "PCM_16", format="FLAC") as flac:
                for piece in pieces:
                    codes = np.rint(np.asarray(piece, np.float64) * _FULL_SCALE)
                    flac.write(codes.clip(-_FULL_SCALE, _FULL_SCALE - 1).astype(np.int16))
        except soundfile.LibsndfileError as error:
            raise AudioError(
                f"cannot be written as FLAC of {sample_rate} Hz: {error.error_string}",
                None,
                "choose wav",
            ) from error
        file.seek(0)
        while data := file.read(_PIECE):
            yield data


def n_beyond(piece: Samples) -> int:
    """How many samples are beyond full scale."""
    return int((np.abs(piece) > 1.0).sum())
