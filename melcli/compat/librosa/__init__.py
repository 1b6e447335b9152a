"""librosa's mel functions, as of 0.11: spectrograms, decibels, and the way back.

::

    from melcli.compat import librosa

    mel = librosa.melspectrogram(y=y, sr=sr)       # librosa.feature.melspectrogram
    level = librosa.power_to_db(mel, ref=np.max)
    S = librosa.mel_to_stft(mel, sr=sr)            # librosa.feature.inverse.mel_to_stft
    y = librosa.mel_to_audio(mel, sr=sr)           # librosa.feature.inverse.mel_to_audio

Arrays become arrays, of the types that librosa gives; tensors become tensors, on their device and
with gradients. What librosa raises as ParameterError is ValueError here.
"""

from __future__ import annotations

from melcli.compat.librosa.decibels import (
    amplitude_to_db,
    db_to_amplitude,
    db_to_power,
    power_to_db,
)
from melcli.compat.librosa.inverse import mel_to_audio, mel_to_stft
from melcli.compat.librosa.spectrum import melspectrogram

__all__ = [
    "amplitude_to_db",
    "db_to_amplitude",
    "db_to_power",
    "mel_to_audio",
    "mel_to_stft",
    "melspectrogram",
    "power_to_db",
]
