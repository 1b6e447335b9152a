"""Waveforms as files: what libsndfile reads back is what was written."""

from __future__ import annotations

import io

import numpy as np
import pytest
import soundfile

from melcli.audio.writing import flac_bytes, n_beyond, wav_bytes
from melcli.errors import AudioError


def read(data: bytes) -> tuple[np.ndarray, int, str]:
    """What libsndfile makes of a file."""
    with soundfile.SoundFile(io.BytesIO(data)) as file:
        return file.read(dtype="float32"), file.samplerate, f"{file.format} {file.subtype}"


@pytest.mark.parametrize("n_samples", [0, 1, 1000, 100_001])
def test_wav(n_samples: int, rng: np.random.Generator) -> None:
    """Every bit comes back, also beyond full scale, and however it was cut."""
    waveform = (3.0 * rng.standard_normal(n_samples)).astype(np.float32)
    whole = b"".join(wav_bytes([waveform], n_samples, 22_050))
    cut = b"".join(wav_bytes(np.array_split(waveform, 7), n_samples, 22_050))
    assert whole == cut
    found, sample_rate, kind = read(whole)
    assert np.array_equal(found, waveform)
    assert (sample_rate, kind) == (22_050, "WAV FLOAT")


def test_wav_of_another_length(rng: np.random.Generator) -> None:
    """A head that promises more than comes is a bug, and not a file."""
    with pytest.raises(ValueError, match="3 samples are missing"):
        list(wav_bytes([rng.standard_normal(7)], 10, 8000))


def test_wav_has_an_end() -> None:
    """Beyond 4 GB there is no WAV: that is said before anything is written."""
    pieces = wav_bytes([], 1 << 30, 8000)
    with pytest.raises(AudioError, match="too long for WAV"):
        next(pieces)


@pytest.mark.parametrize("sample_rate", [8000, 22_050, 44_100])
def test_flac(sample_rate: int, rng: np.random.Generator) -> None:
    """Every sample comes back to half a step of 16 bits, and the same bytes are written again."""
    waveform = (0.1 * rng.standard_normal(50_000)).astype(np.float32)
    whole = b"".join(flac_bytes([waveform], sample_rate))
    cut = b"".join(flac_bytes(np.array_split(waveform, 5), sample_rate))
    assert whole == cut
    found, found_rate, kind = read(whole)
    assert np.abs(found - waveform).max() <= 0.5 / 32768 + 1e-7
    assert (found_rate, kind) == (sample_rate, "FLAC PCM_16")


def test_flac_is_clipped() -> None:
    """What is beyond full scale ends there, and does not wrap around."""
    found, _, _ = read(b"".join(flac_bytes([np.array([1.5, -1.5, 1.0, -1.0, 0.0])], 8000)))
    assert found.tolist() == [32767 / 32768, -1.0, 32767 / 32768, -1.0, 0.0]
    assert n_beyond(np.array([1.5, -1.5, 1.0, -1.0, 0.0])) == 2


def test_flac_of_an_impossible_rate() -> None:
    """Told as an error of this item."""
    with pytest.raises(AudioError, match="FLAC of 9999999 Hz"):
        list(flac_bytes([np.zeros(10)], 9_999_999))
