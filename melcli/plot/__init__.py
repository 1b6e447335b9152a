"""Pictures. matplotlib is imported here and nowhere else, once a picture is asked for."""

from __future__ import annotations

from melcli.plot.compare import plot_comparison
from melcli.plot.figure import SUFFIXES, Target, check_target
from melcli.plot.filterbank import plot_filterbank
from melcli.plot.scaler import plot_scaler
from melcli.plot.spectrogram import Panel, plot_spectrogram
from melcli.plot.units import Quantity, quantity

__all__ = [
    "SUFFIXES",
    "Panel",
    "Quantity",
    "Target",
    "check_target",
    "plot_comparison",
    "plot_filterbank",
    "plot_scaler",
    "plot_spectrogram",
    "quantity",
]
