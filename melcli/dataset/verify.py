"""Is an output still what was written?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from melcli.errors import ConfigError
from melcli.store.records import Fault

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from melcli.dataset.mels import Mels


def faults(output: Mels, advanced: Callable[[int], None] | None = None) -> Iterator[Fault]:
    """Read an output back, all of it, and stream what is not as it was written.

    Args:
        output: Packed HDF5, a tree, or a folder of ``.npy``.
        advanced: Told how many bytes of rows were read, every few megabytes.
    """
    if cause := config_fault(output):
        yield Fault("", cause)
    yield from output.reader.faults(advanced)


def config_fault(output: Mels) -> str | None:
    """What is wrong with the config that an output holds, if anything is."""
    header = output.header
    try:
        config = output.config
    except ConfigError as error:
        return f"its config cannot be read: {error.cause}"
    if config.digest != header.config_digest:
        return "its config has another digest than the one that is stored with it"
    shapes = {"mel": config.row_shape, "spectrogram": (config.n_freqs,), "audio": (1,)}
    if shapes[header.content] != header.row_shape:
        made = shapes[header.content]
        return f"its config makes rows of {made}, and it holds {header.row_shape}"
    return None
