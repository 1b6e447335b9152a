"""``melcli.open``: a finished output as a mapping from id to array."""

from __future__ import annotations

import functools
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Self

import numpy as np

from melcli import store
from melcli.config import MelConfig
from melcli.errors import StoreError
from melcli.store.records import Array, Failed, Header

if TYPE_CHECKING:
    from melcli.scaler.module import Scaler
    from melcli.store.protocols import Reader


def open(path: str | os.PathLike[str]) -> Mels:  # noqa: A001, called as melcli.open
    """Open an output of ``melcli extract`` or ``invert``: an ``.h5`` file, or a folder.

    Args:
        path: The output. Of a shard that shares its folder with others, its ``.toml``.

    Returns:
        A mapping from id to array, ``(n_mels, n_frames)`` or as the front end's ``out.layout``
        says, in the units of the front end. Nothing is read before it is asked for.

    Raises:
        StoreError: If it is none, or damaged.

    >>> import melcli, tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     _ = melcli.extract("examples/audio/speech", f"{folder}/mels.h5", "hifigan-22k")
    ...     with melcli.open(f"{folder}/mels.h5") as mels:
    ...         sorted(mels)[1:], mels["vowels.wav"].shape, mels.config.mel.n_mels
    (['telephone.wav', 'two-speakers.opus', 'vowels.wav'], (80, 193), 80)
    """
    return Mels(path)


class Mels(Mapping[str, Array]):
    """A finished output: from the id of an item to its mel or spectrum, in the config's layout.

    ``mel_time`` gives ``(n_mels, n_frames)``, ``time_mel`` gives ``(n_frames, n_mels)``. Arrays
    are read when they are asked for. It pickles as its path, and opens its file again in a process
    that was forked, so it may be handed to workers.

    Args:
        path: An ``.h5`` file, or a folder.

    Raises:
        StoreError: If it is no output of melcli, or damaged.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self._pid = os.getpid()
        self._reader: Reader | None = store.open_reader(self.path)

    @property
    def reader(self) -> Reader:
        """The store's reader: header, columns of ``/items``, runs of rows."""
        # An HDF5 handle that was opened before a fork gives wrong data after it.
        if self._reader is None or self._pid != os.getpid():
            self._reader, self._pid = store.open_reader(self.path), os.getpid()
        return self._reader

    def __getitem__(self, item_id: str) -> Array:
        if self.header.content == "audio":
            raise StoreError("holds audio files", self.path, "read them with soundfile")
        rows = self.reader.read(item_id)
        return np.moveaxis(rows, 0, -1) if self.config.out.layout == "mel_time" else rows

    def __len__(self) -> int:
        return len(self.reader)

    def __iter__(self) -> Iterator[str]:
        return self.reader.ids()

    @property
    def header(self) -> Header:
        """Settings, versions and the command that made it."""
        return self.reader.header

    @functools.cached_property
    def config(self) -> MelConfig:
        """The front end that made it."""
        return MelConfig.from_toml(self.header.config, str(self.path))

    @functools.cached_property
    def scaler(self) -> Scaler | None:
        """What its rows were normalised by, for arrays as this mapping gives them; None if not.

        ``output.scaler.inverse(torch.from_numpy(output[id]))`` is the mel as it was.
        """
        from melcli.scaler.module import Scaler  # brings torch in

        found = self.header.scaler
        if found is None:
            return None
        dim = -2 if self.config.out.layout == "mel_time" else -1
        return Scaler.from_normalization(found, dim=dim)

    @property
    def failures(self) -> list[Failed]:
        """The inputs that failed, with cause and remedy."""
        return list(self.reader.failures())

    def close(self) -> None:
        """Close the file."""
        if self._reader is not None:
            self._reader.close()
            self._reader = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    def __reduce__(self) -> tuple[type[Mels], tuple[Path]]:
        return type(self), (self.path,)

    def __repr__(self) -> str:
        return f"<melcli output {self.path}: {len(self)} items, config {self.config.name}>"
