"""Scalers by the ending of their name: ``.h5`` and ``.npz`` hold everything, ``.npy``, ``.pt`` not.

A ``.pt`` is what ``torch.save`` makes of the state of DESED's TorchScaler, once that is fitted: two
tensors, ``mean`` and ``mean_squared``. torch is loaded only where it reads or writes one.
"""

from __future__ import annotations

import io
import pickle
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from melcli.errors import ScalerError
from melcli.statistics.fitted import Statistics
from melcli.store import arrays, scalers
from melcli.store.compare import config_differences

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping

    from melcli.config import MelConfig
    from melcli.statistics.moments import Float64s

SUFFIXES: Final = (*scalers.SUFFIXES, ".pt", ".pth", ".ckpt")

_STATE_DICT = "state_dict"
_MEAN, _MEAN_SQUARED = "mean", "mean_squared"
_MOST_BINS = 1 << 20
_MOST_DIRECTORY_BYTES = 1 << 22
_TRUSTED = (
    'where you trust it, write what it holds: torch.save(scaler.state_dict(), "scaler.pt"); '
    "melcli reads that"
)
_HOW_SAVED = 'torch.save(scaler.state_dict(), "scaler.pt") makes one that melcli reads'


def load(path: str | os.PathLike[str]) -> Statistics:
    """Read a scaler.

    Args:
        path: ``.h5``, ``.hdf5`` or ``.npz`` for all of it; ``.npy``, ``.pt``, ``.pth`` or ``.ckpt``
            for a mean and a deviation and nothing else.

    Raises:
        UsageError: The name ends otherwise.
        ScalerError: It is not there, is no scaler, or is damaged.
    """
    path = Path(path)
    scalers.check_suffix(path, SUFFIXES)
    return scalers.read(path) if path.suffix.lower() in scalers.SUFFIXES else _load_state(path)


def save(statistics: Statistics, path: str | os.PathLike[str]) -> None:
    """Write a scaler. What was there is there until the new one is complete.

    Args:
        statistics: What to write.
        path: As for :func:`load`. ``.npy`` and ``.pt`` keep the mean and the deviation only.

    Raises:
        UsageError: The name ends otherwise.
        ScalerError: It could not be read back.
        DeviceError: The disk is full, or does not work.
    """
    path = Path(path)
    scalers.check_suffix(path, SUFFIXES)
    if path.suffix.lower() in scalers.SUFFIXES:
        scalers.write(statistics, path)
    else:
        scalers.replace_file(path, _state(statistics, path))


def check_front_end(
    statistics: Statistics, config: MelConfig, path: str | os.PathLike[str]
) -> None:
    """Refuse a scaler that was fitted to another front end.

    Of one that does not know its front end, only the number of bins can be compared: one for each
    number of a row, or one for all of them.

    Args:
        statistics: The scaler.
        config: The front end it is to be used with.
        path: Where the scaler is from, for the message.

    Raises:
        ScalerError: With every setting that differs.
    """
    path = Path(path)
    if statistics.config_digest and statistics.config_digest != config.digest:
        lines = config_differences(statistics.config, config.to_toml(), there="in the scaler")
        lines = lines or [
            f"config_digest: {statistics.config_digest} in the scaler, {config.digest} asked for"
        ]
        raise ScalerError(
            "was fitted to another front end:" + "".join(f"\n  {line}" for line in lines),
            path,
            "choose the --config that it was fitted with, or fit another with melcli fit-scaler",
        )
    n_bins = config.row_shape[-1]
    if statistics.n_bins not in {1, n_bins}:
        raise ScalerError(
            f"has {statistics.n_bins} bins, and {config.name or 'this front end'} has {n_bins}",
            path,
            "choose the --config that it was fitted with, or fit another with melcli fit-scaler",
        )


def _state(statistics: Statistics, path: Path) -> bytes:
    """The bytes of a ``.pt``: float32 of shape ``(1, n_bins, 1)``, as TorchScaler broadcasts it."""
    import torch  # slow to load

    scalers.check_not_empty(statistics, path)
    moments = statistics.moments
    with np.errstate(over="ignore"):
        mean = moments.mean.astype(np.float32)
        # Of the mean as it is rounded, which is what TorchScaler squares and takes away: so no
        # variance comes out below 0, whose root would be NaN.
        mean_squared = (np.square(mean.astype(np.float64)) + moments.variance).astype(np.float32)
    if not np.isfinite(mean_squared).all():
        raise ScalerError(
            "cannot be written: mean_squared is beyond float32", path, "choose .h5, .npz or .npy"
        )
    state = {_MEAN: mean, _MEAN_SQUARED: mean_squared}
    with io.BytesIO() as file:
        torch.save({name: torch.from_numpy(x)[None, :, None] for name, x in state.items()}, file)
        return file.getvalue()


def _load_state(path: Path) -> Statistics:
    """Read a ``.pt``: the state of a TorchScaler, by itself or as a part of a checkpoint.

    Raises:
        ScalerError: It is not there, holds none, or holds objects that only a program could read.
    """
    with scalers.damage(path):
        _check_archive(path)
        state = _unpickled(path)
        inner = state.get(_STATE_DICT) if isinstance(state, dict) else None
        mean, mean_squared, eps = _mean_and_squared(inner if isinstance(inner, dict) else state)
        moments = Statistics.of_mean_squared(mean, mean_squared, eps).moments
        return scalers.exported(moments.mean, moments.std)


def _check_archive(path: Path) -> None:
    """Refuse what is no archive of torch's, or is one that would grow as it is read."""
    with scalers.opened(path) as (file, n_bytes):
        file.seek(max(0, n_bytes - arrays.DIRECTORY_TAIL))
        tail = file.read(arrays.DIRECTORY_TAIL)
        file.seek(0)
        if file.read(4) != b"PK\x03\x04":
            raise ScalerError("is not what torch.save writes", path, _HOW_SAVED)
        arrays.check_directory(tail, n_bytes, _MOST_DIRECTORY_BYTES)
        with zipfile.ZipFile(file) as archive:
            members = archive.infolist()
    for member in members:
        if member.compress_type != zipfile.ZIP_STORED:
            raise ValueError(f"{member.filename} is compressed, as torch.save never does")
        if member.filename.endswith("/constants.pkl"):
            raise ScalerError("is a program of TorchScript, and no state", path, _HOW_SAVED)
    if sum(member.file_size for member in members) > n_bytes:
        raise ValueError("it holds more than it is long")


def _unpickled(path: Path) -> Any:  # noqa: ANN401, whatever is in it
    import torch  # slow to load

    try:
        # Mapped, so that of a large checkpoint only what is looked at is read.
        return torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except pickle.UnpicklingError as error:
        if "nsupported" not in str(error):
            raise ValueError("it cannot be unpickled") from error
        raise ScalerError(
            "holds pickled objects, which could run any program as they are read", path, _TRUSTED
        ) from error


def _mean_and_squared(state: object) -> tuple[Float64s, Float64s, float]:
    """The two of a state, and how finely they are rounded.

    Raises:
        ValueError: They are not there, are there more than once, or are not what they should be.
    """
    found: Mapping[Any, Any] = state if isinstance(state, dict) else {}
    prefixes = [
        key.removesuffix(_MEAN_SQUARED)
        for key in found
        if isinstance(key, str) and (key == _MEAN_SQUARED or key.endswith(f".{_MEAN_SQUARED}"))
    ]
    prefixes = [prefix for prefix in prefixes if f"{prefix}{_MEAN}" in found]
    if len(prefixes) != 1:
        several = f"several: {', '.join(sorted(prefixes)[:5])}" if prefixes else "none"
        raise ValueError(f"of the pair mean and mean_squared it holds {several}")
    tensors = [found[f"{prefixes[0]}{name}"] for name in (_MEAN, _MEAN_SQUARED)]
    (mean, eps), (mean_squared, _) = map(_numbers, tensors)
    if len(mean) != len(mean_squared):
        raise ValueError(f"mean has {len(mean)} bins, and mean_squared {len(mean_squared)}")
    return mean, mean_squared, eps


def _numbers(tensor: object) -> tuple[Float64s, float]:
    import torch

    if (
        not isinstance(tensor, torch.Tensor)
        or tensor.layout != torch.strided
        or tensor.device.type != "cpu"
        or tensor.dtype not in {torch.float32, torch.float64}
    ):
        raise ValueError("mean or mean_squared is no tensor of float32 or float64")
    shape = tuple(tensor.shape)
    is_ours = len(shape) == 3 and shape[0] == shape[2] == 1
    if not is_ours or not 1 <= shape[1] <= _MOST_BINS:
        raise ValueError(f"mean or mean_squared has shape {shape}, not (1, bins, 1)")
    numbers: Float64s = tensor.detach().flatten().to(torch.float64).numpy().copy()
    return numbers, torch.finfo(tensor.dtype).eps
