"""Is an output still what was written?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from melcli.errors import ConfigError
from melcli.store.records import Fault

if TYPE_CHECKING:
    from collections.abc import Iterator

    from melcli.dataset.mels import Mels


def faults(output: Mels) -> Iterator[Fault]:
    """Read an output back, all of it, and stream what is not as it was written.

    Args:
        output: Packed HDF5, a tree, or a folder of ``.npy``.
    """
    try:
        if output.config.digest != output.header.config_digest:
            yield Fault("", "its config has another digest than the one that is stored with it")
    except ConfigError as error:
        yield Fault("", f"its config cannot be read: {error.cause}")
    yield from output.reader.faults()
