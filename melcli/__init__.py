"""Mel spectrograms for whole datasets, equal to the front end a model was trained on.

::

    melcli.extract(inputs, output, config)    audio to an output: what the command does
    melcli.fit_scaler(inputs, "train.npz")    the statistics of a dataset
    melcli.Scaler.load("train.npz")           normalises by them: a torch module
    melcli.MelSpectrogram("whisper-80")       the front end as a torch module
    melcli.compat                             the same under the names of six other systems
    melcli.invert("mels.h5", "spectra.h5")    mels back to linear spectra
    melcli.InverseMelScale(config)            the same as a torch module
    melcli.GriffinLim(config)                 and waveforms of spectra
    melcli.open(output)                       an output as a mapping from id to array
    melcli.MelDataset(output)                 an output as a torch Dataset
    melcli.collate(examples)                  a padded batch, with lengths

Waveforms are float32 in [-1, 1], ``(..., n_samples)``; mels ``(..., n_mels, n_frames)``, in the
units of their front end. What fails raises a ``melcli.MelcliError``, which says why, where, and
what to do. ``docs/python-api.md`` shows all of it on one screen.

Names are loaded when they are used: ``import melcli`` is quick, and torch comes only with what
needs it.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from melcli import compat as compat
    from melcli.config import AudioConfig, InvertConfig, MelConfig, OutputConfig, RunConfig
    from melcli.dataset.examples import Batch, Example, MelDataset, collate
    from melcli.dataset.mels import Mels, open  # noqa: A004, melcli.open reads as it should
    from melcli.dsp.griffinlim import GriffinLim
    from melcli.dsp.inverse_mel import InverseMelScale
    from melcli.dsp.melspectrogram import MelSpectrogram
    from melcli.errors import (
        AudioError,
        ConfigError,
        DeviceError,
        FeatureError,
        MelcliError,
        NoInputError,
        ScalerError,
        StoreError,
        UsageError,
    )
    from melcli.pipeline.fit import Fitted, fit_scaler
    from melcli.pipeline.invert import invert
    from melcli.pipeline.plan import Selection
    from melcli.pipeline.report import Report
    from melcli.pipeline.run import extract
    from melcli.scaler.module import Scaler
    from melcli.statistics.fitted import Statistics

__version__ = "0.1.0"

_HOMES = {
    "AudioConfig": "melcli.config",
    "AudioError": "melcli.errors",
    "Batch": "melcli.dataset.examples",
    "ConfigError": "melcli.errors",
    "DeviceError": "melcli.errors",
    "Example": "melcli.dataset.examples",
    "FeatureError": "melcli.errors",
    "Fitted": "melcli.pipeline.fit",
    "GriffinLim": "melcli.dsp.griffinlim",
    "InverseMelScale": "melcli.dsp.inverse_mel",
    "InvertConfig": "melcli.config",
    "MelConfig": "melcli.config",
    "MelDataset": "melcli.dataset.examples",
    "MelSpectrogram": "melcli.dsp.melspectrogram",
    "MelcliError": "melcli.errors",
    "Mels": "melcli.dataset.mels",
    "NoInputError": "melcli.errors",
    "OutputConfig": "melcli.config",
    "Report": "melcli.pipeline.report",
    "RunConfig": "melcli.config",
    "Scaler": "melcli.scaler.module",
    "ScalerError": "melcli.errors",
    "Selection": "melcli.pipeline.plan",
    "Statistics": "melcli.statistics.fitted",
    "StoreError": "melcli.errors",
    "UsageError": "melcli.errors",
    "collate": "melcli.dataset.examples",
    "extract": "melcli.pipeline.run",
    "fit_scaler": "melcli.pipeline.fit",
    "invert": "melcli.pipeline.invert",
    "open": "melcli.dataset.mels",
}

__all__ = [
    "AudioConfig",
    "AudioError",
    "Batch",
    "ConfigError",
    "DeviceError",
    "Example",
    "FeatureError",
    "Fitted",
    "GriffinLim",
    "InverseMelScale",
    "InvertConfig",
    "MelConfig",
    "MelDataset",
    "MelSpectrogram",
    "MelcliError",
    "Mels",
    "NoInputError",
    "OutputConfig",
    "Report",
    "RunConfig",
    "Scaler",
    "ScalerError",
    "Selection",
    "Statistics",
    "StoreError",
    "UsageError",
    "collate",
    "extract",
    "fit_scaler",
    "invert",
    "open",
]


if not TYPE_CHECKING:  # or a checker would believe that there is any name at all

    def __getattr__(name: str) -> Any:  # noqa: ANN401, a module's names are of any type
        if name == "compat":
            return importlib.import_module("melcli.compat")
        home = _HOMES.get(name)
        if home is None:
            raise AttributeError(f"module 'melcli' has no attribute {name!r}")
        return getattr(importlib.import_module(home), name)


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
