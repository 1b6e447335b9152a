"""torchaudio's transforms: ``torchaudio.transforms`` as of 2.11.

::

    MelSpectrogram, Spectrogram      waveforms to mels, and to spectra
    MelScale, InverseMelScale        spectra to mels, and back
    AmplitudeToDB                    either to decibels
    GriffinLim                       spectra to waveforms
"""

from __future__ import annotations

from melcli.compat.torchaudio.levels import AmplitudeToDB
from melcli.compat.torchaudio.scales import InverseMelScale, MelScale
from melcli.compat.torchaudio.spectrograms import MelSpectrogram, Spectrogram
from melcli.compat.torchaudio.waveforms import GriffinLim

__all__ = [
    "AmplitudeToDB",
    "GriffinLim",
    "InverseMelScale",
    "MelScale",
    "MelSpectrogram",
    "Spectrogram",
]
