"""What an INPUT of a picture is, and the rows to be drawn of it."""

from __future__ import annotations

import contextlib
import difflib
import itertools
import os
import shutil
import sys
import tempfile
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
import torch

from melcli import presets, store
from melcli.config import MelConfig, OutputConfig, RunConfig
from melcli.errors import AudioError, MelcliError, NoInputError, StoreError, UsageError
from melcli.pipeline.batching import Batch
from melcli.pipeline.columns import Grid, mel_frames, mel_grid, spectrum_grid
from melcli.pipeline.device import set_for_a_run
from melcli.pipeline.features import FileFeatures
from melcli.pipeline.plan import STDIN_ID, Selection, make_plan
from melcli.pipeline.report import plural
from melcli.pipeline.run import make_worker
from melcli.plot import Quantity, quantity
from melcli.scaler import files
from melcli.scaler.bands import bin_centres
from melcli.store import scalers
from melcli.store.compare import config_differences
from melcli.store.npy import Names, npy_path, shard_of_file, shards_in
from melcli.store.records import Failed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from melcli.statistics.fitted import Statistics
    from melcli.statistics.moments import Float64s
    from melcli.statistics.normalize import Normalization
    from melcli.store.protocols import Reader
    from melcli.store.records import Array, Item

STDIN: Final = "-"
_NPY: Final = ".npy"
_SCALERS: Final = frozenset({".npz", ".pt", ".pth", ".ckpt"})
_NPY_HEAD: Final = b"\x93NUMPY"
_FIRST_IDS: Final = 5
_LOOKED_THROUGH: Final = 10_000
"""Ids that a mistyped one is compared with letter by letter."""
_STEP_BYTES: Final = 4 << 20


@dataclass(frozen=True, kw_only=True, eq=False)
class Shown:
    """A mel or a spectrum that can be drawn.

    Args:
        name: Its id, or the name of its file.
        config: The front end.
        rows: Gives all its rows in blocks, each time it is asked.
        n_rows: How many there are.
        scaler: What they were normalised by.
        power: It is a spectrum, of magnitudes to this power, and no mel.
        n_samples: That it was made from, at the front end's rate, if that is known.
        seconds: The recording, or the part of it that the front end takes, if that is known.
        is_chosen: Somebody said which front end it is, or the output knows it.
        notes: What a person should know of it.
    """

    name: str
    config: MelConfig
    rows: Callable[[], Iterable[Array]]
    n_rows: int
    scaler: Normalization | None = None
    power: float | None = None
    n_samples: int | None = None
    seconds: float | None = None
    is_chosen: bool = True
    notes: tuple[str, ...] = ()

    @property
    def grid(self) -> Grid:
        """When its frames are."""
        grid_of = mel_grid if self.power is None else spectrum_grid
        return grid_of(self.config, self.n_rows, self.n_samples)

    @property
    def hz(self) -> Float64s:
        """The frequency of each band or bin."""
        if self.power is None:
            return bin_centres(self.config)[: self.config.mel.n_mels]
        rate, n_fft = self.config.wave.sample_rate, self.config.frame.n_fft
        return np.arange(self.config.n_freqs, dtype=np.float64) * (rate / n_fft)

    @property
    def quantity(self) -> Quantity:
        """What its numbers are."""
        return quantity(self.config, scaler=self.scaler, power=self.power)

    @property
    def front_end(self) -> str:
        """Its name."""
        return self.config.name or "a front end of your own"

    def frames(self) -> Iterator[Array]:
        """All its frames in blocks, ``(n, n_bands)``."""
        return mel_frames(self.config, self.rows()) if self.power is None else iter(self.rows())


def scaler_of(path: str, config: MelConfig | None) -> Statistics | None:
    """The statistics in a file, if it is a scaler's.

    A ``.npy`` may be one, of two rows, or a mel. It is a mel if it lies in an output, or is what
    the front end that somebody named makes.
    """
    place = Path(path)
    suffix = place.suffix.lower()
    if path == STDIN or not place.is_file():
        return None
    if suffix == _NPY:
        shape = _npy_shape(place)
        if len(shape) != 2 or shape[0] != 2 or _output_around(place) is not None:
            return None
        if config is not None and (_is_mel(shape, config) or shape[1:] != config.row_shape[-1:]):
            return None
        return files.load(place)
    if suffix in _SCALERS or (store.is_hdf5(place) and scalers.is_scaler(place)):
        return files.load(place)
    return None


def known_config(path: str) -> MelConfig | None:
    """The front end of an output, or of a file in one; None where it has to be said."""
    if path == STDIN:
        return None
    place = Path(path)
    folder = _output_around(place) if place.suffix.lower() == _NPY else None
    if folder is None and not _is_output(place):
        return None
    with _open(folder or place) as reader:
        return MelConfig.from_toml(reader.header.config, str(place))


def check_has_items(paths: Sequence[str], item_id: str | None) -> None:
    """Refuse an id where there is no output to choose an item of.

    Raises:
        UsageError: One is given, and no INPUT is an output.
    """
    if item_id is not None and not any(_is_output(Path(path)) for path in paths):
        raise UsageError(
            f"--id {item_id} chooses an item of an output", Path(paths[0]), "leave out --id"
        )


@contextlib.contextmanager
def opened(
    path: str, item_id: str | None, config: MelConfig | None, *, guess: MelConfig | None = None
) -> Iterator[Shown]:
    """What is to be drawn of an INPUT.

    Args:
        path: An audio file, an output, a ``.npy``, or ``-`` for either on standard input.
        item_id: Which item of an output.
        config: The front end, if somebody said it.
        guess: That of audio, if nobody did.

    Raises:
        UsageError: An item has to be chosen, or there is no such one; a ``.npy`` without its front
            end.
        StoreError: An output of another front end, or a damaged one.
        AudioError: Audio that cannot be used.
        FeatureError: A ``.npy`` that is no mel and no spectrum of the front end.
        NoInputError: There is no such file.
    """
    if path == STDIN:
        with _spooled() as (place, is_npy):
            yield _from_stdin(place, config, guess, is_npy=is_npy)
        return
    place = Path(path)
    folder = _output_around(place) if place.suffix.lower() == _NPY else None
    if folder is not None or _is_output(place):
        with _open(folder or place) as reader:
            wanted = item_id if folder is None else _id_of(reader, place)
            yield _item(reader, wanted, config)
        return
    if place.suffix.lower() == _NPY:
        yield _npy(place, config or guess)
    else:
        yield _audio(path, config, guess)


# Outputs


def _is_output(path: Path) -> bool:
    return store.is_hdf5(path) or path.is_dir() or shard_of_file(path) is not None


def _check_folder(path: Path) -> None:
    """Refuse a folder of something else, of audio most likely.

    Raises:
        UsageError: It is one.
    """
    if path.is_dir() and not (path / Names.of(None).settings).exists() and not shards_in(path):
        raise UsageError("is a folder, and no output of melcli", path, "name one file of it")


@contextlib.contextmanager
def _open(path: Path) -> Iterator[Reader]:
    _check_folder(path)
    reader = store.open_reader(path)
    try:
        yield reader
    finally:
        reader.close()


def _output_around(path: Path) -> Path | None:
    """The folder that is an output, and that a file lies in."""
    if not path.is_file():
        return None
    settings, parents = Names.of(None).settings, Path(os.path.abspath(path)).parents  # noqa: PTH100, links stay
    return next((folder for folder in parents if (folder / settings).is_file()), None)


def _id_of(reader: Reader, path: Path) -> str:
    """The id of the item whose file this is."""
    wanted = Path(os.path.abspath(path)).relative_to(reader.path).as_posix()  # noqa: PTH100, as above
    suffix = reader.header.suffix
    for name in reader.ids():
        if npy_path(name, suffix) == wanted:
            return name
    raise StoreError(
        "is in the folder of an output, and not in its list of items",
        path,
        "copy it elsewhere, and give the --config that made it",
    )


def _item(reader: Reader, item_id: str | None, config: MelConfig | None) -> Shown:
    header = reader.header
    own = MelConfig.from_toml(header.config, str(reader.path))
    if config is not None and config.digest != own.digest:
        lines = config_differences(own.to_toml(), config.to_toml())
        raise StoreError(
            "was made by another front end:" + "".join(f"\n  {line}" for line in lines),
            reader.path,
            "leave out --config: an output knows its own",
        )
    position = _position(reader, item_id)
    if fault := reader.fault(position):
        raise StoreError(fault, reader.path, "melcli verify names every fault of the output")
    [item] = reader.some_items(position, position + 1)
    if header.content == "audio":
        file = reader.path / npy_path(item.id, header.suffix)
        return _audio(str(file), own, None, name=item.id)
    start = int(reader.items["start"][position])
    step = max(1, _STEP_BYTES // header.row_bytes)
    return Shown(
        name=item.id,
        config=own,
        rows=partial(_read, reader, start, start + item.n_rows, step),
        n_rows=item.n_rows,
        scaler=header.scaler,
        power=float(header.settings["power"]) if header.content == "spectrogram" else None,
        n_samples=_n_samples(item, own),
        seconds=_seconds(item, own),
    )


def _read(reader: Reader, start: int, stop: int, step: int) -> Iterator[Array]:
    for at in range(start, stop, step):
        yield reader.rows(at, min(at + step, stop))


def _position(reader: Reader, item_id: str | None) -> int:
    """Where an item is.

    Raises:
        UsageError: There is no such one, or several, and none was chosen.
    """
    if item_id is None:
        if len(reader) == 1:
            return 0
        first = _named(itertools.islice(reader.ids(), _FIRST_IDS), len(reader))
        remedy = "choose one with --id"
        raise UsageError(f"holds {plural(len(reader), 'item')}: {first}", reader.path, remedy)
    for position, name in enumerate(reader.ids()):
        if name == item_id:
            return position
    for failed in reader.failures():
        if failed.id == item_id:
            raise UsageError(f"{item_id} failed: {failed.cause}", reader.path, failed.remedy)
    near = _near(reader, item_id)
    remedy = f"--id {near[0]!r}" if len(near) == 1 else "melcli info tells what it holds"
    told = f"; there is {_named(near, len(near))}" if near else ""
    raise UsageError(f"holds no item {item_id!r}{told}", reader.path, remedy)


def _near(reader: Reader, item_id: str) -> list[str]:
    """Ids that a mistyped one may stand for: that hold it, or else that look alike."""
    holding = (name for name in reader.ids() if item_id.lower() in name.lower())
    if found := list(itertools.islice(holding, _FIRST_IDS)):
        return found
    some = list(itertools.islice(reader.ids(), _LOOKED_THROUGH))
    return difflib.get_close_matches(item_id, some, 3)


def _named(names: Iterable[str], n: int) -> str:
    some = list(names)
    return ", ".join(some) + (", ..." if n > len(some) else "")


def _n_samples(item: Item, config: MelConfig) -> int:
    """Samples at the front end's rate, but for how a resampler rounds."""
    return round(item.n_samples * config.wave.sample_rate / item.sample_rate)


def _seconds(item: Item, config: MelConfig) -> float:
    whole = item.n_samples / item.sample_rate
    fixed = config.wave.fix_samples
    return min(whole, fixed / config.wave.sample_rate) if fixed else whole


# Audio


def _audio(
    path: str, config: MelConfig | None, guess: MelConfig | None, name: str | None = None
) -> Shown:
    """The mel of a recording; what is beyond the front end's fixed length is left out."""
    is_chosen = config is not None or guess is not None
    config = config or guess or presets.load(presets.DEFAULT).config
    plan = make_plan(Selection(paths=(path,)))
    name = name or plan[0].id
    out = OutputConfig(long="cut")
    with set_for_a_run():
        folder = Path(tempfile.gettempdir())
        worker = make_worker(plan, config, out, RunConfig(), torch.device("cpu"), folder)
        [result] = worker(Batch((0,), 0, ends_segment=True)).results
    if isinstance(result.outcome, Failed):
        raise AudioError(result.outcome.cause, path, result.outcome.remedy)
    [*items] = result.outcome.items
    if len(items) != 1:
        raise UsageError(
            f"becomes {len(items)} items, one a channel", path, "choose one: --channels 0"
        )
    [item], [rows] = items, result.rows
    limit = config.wave.fix_samples / config.wave.sample_rate
    is_cut = "cut" in item.notes
    notes = (f"only the first {limit:g} s: this front end takes no more",) if is_cut else ()
    return Shown(
        name=name,
        config=config,
        rows=lambda: rows,
        n_rows=item.n_rows,
        n_samples=_n_samples(item, config),
        seconds=_seconds(item, config),
        is_chosen=is_chosen,
        notes=notes,
    )


# .npy


def _npy(path: Path, config: MelConfig | None) -> Shown:
    """A mel in a file, or a spectrum; each in the layout of its front end."""
    if not path.exists():
        raise NoInputError("there is no such file", path)
    if config is None:
        raise UsageError("does not say which front end it is of", path, "say it: --config NAME")
    shape = _npy_shape(path)
    if not _is_mel(shape, config) and _is_spectrum(shape, config):
        return _spectrum(path, config)
    features = FileFeatures(Selection(paths=(path,)), config)
    [found] = features.mels(0)
    step = max(1, _STEP_BYTES // (4 * int(np.prod(config.row_shape))))
    return Shown(
        name=features.plan[0].id,
        config=config,
        rows=lambda: (block.numpy() for block in found.rows.blocks(step)),
        n_rows=found.rows.n_rows,
    )


def _spectrum(path: Path, config: MelConfig) -> Shown:
    stored = np.lib.format.open_memmap(path, mode="r")
    rows = stored.T if config.out.layout == "mel_time" else stored
    step = max(1, _STEP_BYTES // (4 * config.n_freqs))
    places = range(0, len(rows), step)
    return Shown(
        name=make_plan(Selection(paths=(path,)))[0].id,
        config=config,
        rows=lambda: (np.asarray(rows[at : at + step], np.float32) for at in places),
        n_rows=len(rows),
        power=config.spec.power,
    )


def _npy_shape(path: Path) -> tuple[int, ...]:
    """The shape of the array in a file; nothing if it is none, which is told where it is read."""
    with contextlib.suppress(OSError, ValueError, EOFError, TypeError, SyntaxError):
        return tuple(np.lib.format.open_memmap(path, mode="r").shape)
    return ()


def _is_mel(shape: Sequence[int], config: MelConfig) -> bool:
    return len(shape) > 0 and _row_shape(shape, config) == config.row_shape


def _is_spectrum(shape: Sequence[int], config: MelConfig) -> bool:
    return len(shape) == 2 and _row_shape(shape, config) == (config.n_freqs,)


def _row_shape(shape: Sequence[int], config: MelConfig) -> tuple[int, ...]:
    return tuple(shape[:-1] if config.out.layout == "mel_time" else shape[1:])


# Standard input


@contextlib.contextmanager
def _spooled() -> Iterator[tuple[Path, bool]]:
    """Standard input in a file, as what goes by once is looked at twice; is it a ``.npy``?"""
    with tempfile.NamedTemporaryFile(suffix=_NPY) as file:
        shutil.copyfileobj(sys.stdin.buffer, file)
        file.flush()
        file.seek(0)
        yield Path(file.name), file.read(len(_NPY_HEAD)) == _NPY_HEAD


def _from_stdin(
    place: Path, config: MelConfig | None, guess: MelConfig | None, *, is_npy: bool
) -> Shown:
    try:
        shown = _npy(place, config or guess) if is_npy else _audio(str(place), config, guess)
    except MelcliError as error:
        # Nobody knows the file that it was laid down in.
        raise type(error)(error.cause, "standard input", error.remedy) from error
    return replace(shown, name=STDIN_ID)
