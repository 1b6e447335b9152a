"""Six systems' front ends under their own names, argument by argument, on the one engine.

::

    from melcli.compat import torchaudio            # torchaudio.MelSpectrogram(16000, n_fft=1024)
    from melcli.compat import nnaudio, keras, kapre, desed, librosa

Each takes the arguments of its original, with its defaults, shapes and order of axes, and gives its
numbers; ``docs/compat.md`` tells where they differ, and why. A layer's ``config`` is the front end
as ``melcli extract --config`` takes it: ``layer.config.to_toml()``. It is None where no config can
say it all.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from melcli.compat import desed, kapre, keras, librosa, nnaudio, torchaudio

__all__ = ["desed", "kapre", "keras", "librosa", "nnaudio", "torchaudio"]


def __getattr__(name: str) -> Any:  # noqa: ANN401, a module's names are of any type
    if name in __all__:
        return importlib.import_module(f"melcli.compat.{name}")
    raise AttributeError(f"module 'melcli.compat' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
