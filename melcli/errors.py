"""Every failure that melcli can name.

::

    MelcliError
    ├── UsageError    (ValueError)    exit 2: the command or call contradicts itself
    ├── ConfigError   (ValueError)    exit 2: a front end that cannot be
    ├── NoInputError  (LookupError)   exit 3: nothing to work on
    ├── AudioError    (OSError)       exit 1: one recording that cannot be used
    ├── FeatureError  (ValueError)    exit 1: one mel that cannot be inverted
    ├── StoreError    (OSError)       exit 4: an output with other settings, or a damaged one
    ├── ScalerError   (ValueError)    exit 4: a scaler of another front end, or a damaged one
    └── DeviceError   (RuntimeError)  exit 5: the machine: disk full, no such device, no extra
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from pathlib import Path


class MelcliError(Exception):
    """A failure told in three parts: why it happened, where, and what to do next.

    Args:
        cause: What is wrong, without a capital or a full stop: it follows the place.
        path: The file or folder it happened in, if there is one.
        remedy: What to do about it, as a command or an instruction.
    """

    exit_code: ClassVar[int] = 70

    def __init__(
        self, cause: str, path: Path | str | None = None, remedy: str | None = None
    ) -> None:
        super().__init__(cause, path, remedy)
        self.cause = cause
        self.path = path
        self.remedy = remedy

    def __reduce__(self) -> tuple[type[MelcliError], tuple[str, Path | str | None, str | None]]:
        # OSError keeps two of three arguments; all three must come home from a worker process.
        return type(self), (self.cause, self.path, self.remedy)

    def __str__(self) -> str:
        return self.cause if self.path is None else f"{self.path}: {self.cause}"


class UsageError(MelcliError, ValueError):
    """The command or the call contradicts itself."""

    exit_code = 2


class ConfigError(MelcliError, ValueError):
    """A front end that cannot be: an unknown key, a value out of range, two that contradict."""

    exit_code = 2


class NoInputError(MelcliError, LookupError):
    """Nothing to work on: an empty run is never a success."""

    exit_code = 3


class AudioError(MelcliError, OSError):
    """One recording that cannot be used. It fails that item and never the run."""

    exit_code = 1


class FeatureError(MelcliError, ValueError):
    """One mel that cannot be inverted. It fails that item and never the run."""

    exit_code = 1


class StoreError(MelcliError, OSError):
    """An output made with other settings, in use, or damaged."""

    exit_code = 4


class ScalerError(MelcliError, ValueError):
    """A scaler that is damaged, of another front end, or lacks what is asked of it."""

    exit_code = 4


class DeviceError(MelcliError, RuntimeError):
    """The machine cannot do it: the disk is full, there is no such device, an extra is missing."""

    exit_code = 5
