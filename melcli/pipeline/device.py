"""The machine: which device computes, how torch is set, what is recorded."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import torch

import melcli
from melcli.errors import DeviceError

if TYPE_CHECKING:
    from collections.abc import Iterator


def choose_device(name: str) -> torch.device:
    """The device of that name; ``auto`` is a GPU where torch has one.

    Raises:
        DeviceError: If there is no such device.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise DeviceError(
            f"--device {name}: there is no such device", None, "auto, cpu or cuda:N"
        ) from error
    if device.type not in {"cpu", "cuda"}:
        raise DeviceError(f"--device {name}: melcli runs on cpu and cuda", None, "--device cpu")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        n = torch.cuda.device_count()
        raise DeviceError(
            f"--device {name}: torch {torch.__version__} sees {n} CUDA devices",
            None,
            "--device cpu",
        )
    return device


def machine_record(device: torch.device) -> dict[str, str]:
    """What the bytes of a result depend on beside the audio and the config."""
    import soundfile
    import soxr

    return {
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "torch": torch.__version__,
        "soxr": soxr.__version__,
        "libsndfile": soundfile.__libsndfile_version__,
        "melcli": melcli.__version__,
    }


@contextlib.contextmanager
def set_for_a_run() -> Iterator[None]:
    """Set torch up for a run, and leave it as it was.

    One thread an operation, for the workers are the parallelism; and products in full float32,
    never in TF32, which keeps three digits.
    """
    n_threads, precision = torch.get_num_threads(), torch.get_float32_matmul_precision()
    torch.set_num_threads(1)
    torch.set_float32_matmul_precision("highest")
    try:
        yield
    finally:
        torch.set_num_threads(n_threads)
        torch.set_float32_matmul_precision(precision)
