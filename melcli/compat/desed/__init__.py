"""The front end and the scaler of the DCASE task 4 recipes (DESED_task), 2021 to 2024.

::

    from melcli.compat import desed

    mel = desed.MelSpectrogram(**config["feats"])
    scaler = desed.TorchScaler("instance", "minmax", [1, 2])
    features = scaler(desed.take_log(mel(waveforms)))
"""

from __future__ import annotations

from melcli.compat.desed.features import MelSpectrogram, take_log
from melcli.compat.desed.scaler import TorchScaler

__all__ = ["MelSpectrogram", "TorchScaler", "take_log"]
