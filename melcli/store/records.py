"""What an output remembers: of itself, of each input, and of each row of ``/items``."""

from __future__ import annotations

import math
import re
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeAlias, cast

import numpy as np
import numpy.typing as npt

from melcli.errors import StoreError, UsageError
from melcli.statistics.normalize import Normalization
from melcli.store.shards import Shard

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

Array: TypeAlias = npt.NDArray[np.floating[Any]]
DType: TypeAlias = Literal["float32", "float16", "uint8"]
Content: TypeAlias = Literal["mel", "spectrogram", "audio"]
Pieces: TypeAlias = "Iterable[Array]"
"""The rows of one item, in order, in as many arrays as their maker likes."""

STORED: Mapping[str, np.dtype[Any]] = {
    "float32": np.dtype("<f4"),
    "float16": np.dtype("<f2"),
    "uint8": np.dtype("u1"),
}
"""How each dtype lies on disk: little-endian, whatever the machine."""

_MOST_SECONDS = 1e9
"""Thirty years; farther out, numbers of samples are not exact any more."""

AUDIO_FORMAT = "audio_format"
"""The setting that says what kind of files waveforms are in: ``wav`` or ``flac``."""
AUDIO_FORMATS: Mapping[str, str] = {"wav": ".wav", "flac": ".flac"}

_CHUNK = re.compile(r"(?<=.)@\d+\Z", re.DOTALL)
_CHANNEL = re.compile(r"(?<=.)#\d+\Z", re.DOTALL)


class Certificate(NamedTuple):
    """How far an item that was computed back from a mel is from having that mel.

    Args:
        residual: ``|A x - m| / |m|`` over all its frames.
        n_steps: That its slowest frame took.
        n_clipped: Numbers of the mel that a floor, a range or a clip had changed.
    """

    residual: float
    n_steps: int
    n_clipped: int

    def __str__(self) -> str:
        told = f"mel residual {self.residual:.1e} at worst, {self.n_steps:,} steps at most"
        if not self.n_clipped:
            return told
        return f"{told}; {self.n_clipped:,} numbers of the mels had been clipped, and stay so"

    def and_also(self, other: Certificate | None) -> Certificate:
        """Give the worse residual and number of steps of two items, and what was clipped of both.

        >>> Certificate(1e-5, 3, 7).and_also(Certificate(1e-6, 9, 1))
        Certificate(residual=1e-05, n_steps=9, n_clipped=8)
        """
        if other is None:
            return self
        return Certificate(
            max(self.residual, other.residual),
            max(self.n_steps, other.n_steps),
            self.n_clipped + other.n_clipped,
        )


@dataclass(frozen=True, slots=True)
class Item:
    """One row of ``/items``: a stretch of rows made from one input.

    Args:
        id: The input's id, with ``#0`` for a channel, ``@3`` for a chunk, or ``#0@3``.
        n_rows: How many rows it has.
        n_samples: Decoded, at the source's rate.
        sample_rate: Of the source, in Hz.
        n_channels: Of the source.
        channel: Which one this is, from 0; -1 if they were mixed.
        notes: What was changed on the way, such as ``"resampled"``.
        crc32: ``zlib.crc32`` of the stored little-endian bytes; a writer fills it in.
        certificate: Of what was computed back from a mel.
    """

    id: str
    n_rows: int
    n_samples: int
    sample_rate: int
    n_channels: int
    channel: int
    notes: tuple[str, ...]
    crc32: int = 0
    certificate: Certificate | None = None

    def __reduce__(self) -> tuple[type[Item], tuple[object, ...]]:
        # Goes from process to process, in a quarter of the time that a dataclass's own way takes.
        return Item, (
            self.id,
            self.n_rows,
            self.n_samples,
            self.sample_rate,
            self.n_channels,
            self.channel,
            self.notes,
            self.crc32,
            self.certificate,
        )

    def with_crc32(self, crc32: int) -> Item:
        """Give the same item with its checksum, for less than `dataclasses.replace` takes."""
        return Item(
            self.id,
            self.n_rows,
            self.n_samples,
            self.sample_rate,
            self.n_channels,
            self.channel,
            self.notes,
            crc32,
            self.certificate,
        )


class Excerpt(NamedTuple):
    """An input that is a part of a recording, or a whole one under another name: a table's row.

    Args:
        recording: The id that the whole recording would have.
        start: Where the part begins, in seconds.
        end: Where it ends; infinite for the end of the recording.
        channel: The one it is taken from, counted from 0; -1 leaves that to the front end.
    """

    recording: str
    start: float = 0.0
    end: float = math.inf
    channel: int = -1

    @property
    def is_possible(self) -> bool:
        """Whether some recording may have such a part."""
        ends_well = self.end == math.inf or self.end <= _MOST_SECONDS
        return (
            0 <= self.start < self.end
            and self.start <= _MOST_SECONDS
            and ends_well
            and -1 <= self.channel < 2**31
        )

    def __str__(self) -> str:
        told = "" if (self.start, self.end) == (0.0, math.inf) else f"@{_span(self)}"
        return told + ("" if self.channel < 0 else f"#{self.channel}")


def _span(excerpt: Excerpt) -> str:
    """Seconds as an id tells them: from-to, to the microsecond, without zeros that say nothing."""
    ends = (excerpt.start, excerpt.end)
    return "-".join("" if e == math.inf else f"{e:.6f}".rstrip("0").rstrip(".") for e in ends)


@dataclass(frozen=True, slots=True)
class Done:
    """An input that became items. Size and time of the source are None where it has none."""

    id: str
    source_size: int | None
    source_mtime_ns: int | None
    items: tuple[Item, ...]
    excerpt: Excerpt | None = None

    def __reduce__(self) -> tuple[type[Done], tuple[object, ...]]:
        return Done, (self.id, self.source_size, self.source_mtime_ns, self.items, self.excerpt)


@dataclass(frozen=True, slots=True)
class Failed:
    """An input that could not be used, and why."""

    id: str
    source_size: int | None
    source_mtime_ns: int | None
    cause: str
    remedy: str | None
    excerpt: Excerpt | None = None


Outcome: TypeAlias = Done | Failed


@dataclass(frozen=True)
class Header:
    """What an output is, known before its first row.

    Args:
        config: The resolved front end, as TOML.
        config_digest: SHA-256 of its canonical form.
        settings: Whatever else changes the stored bytes: ``store_layout``, ``long``, ``channels``.
        machine: What the bytes depend on beside them: device kind, versions, CPU capability.
        command: The command line that began it.
        created: When it began, ISO 8601.
        melcli_version: Of the program that began it.
        row_shape: Of one row: ``(n_mels,)`` or ``(patch_frames, n_mels)``.
        row_labels: What each axis is, rows first: ``("frame", "mel")``.
        dtype: Of the stored rows.
        transpose: For ``.npy``: files have the rows axis last, ``(n_mels, n_frames)``.
        overwrite: Replaces whatever output was there; kept so that the same command resumes.
        inputs_digest: Of a shard: that of the whole list of inputs, by `melcli.store.shards`.
        scaler: What its rows were normalised by, if they were.
        content: What its rows are: of a mel, of a spectrogram, or bytes of an audio file.
    """

    config: str
    config_digest: str
    settings: Mapping[str, str]
    machine: Mapping[str, str]
    command: str
    created: str
    melcli_version: str
    row_shape: tuple[int, ...]
    row_labels: tuple[str, ...]
    dtype: DType
    transpose: bool = False
    overwrite: bool = False
    inputs_digest: str = ""
    scaler: Normalization | None = None
    content: Content = "mel"

    @property
    def suffix(self) -> str:
        """How the names of its files end, if it is a folder."""
        if self.content != "audio":
            return ".npy"
        return AUDIO_FORMATS[self.settings[AUDIO_FORMAT]]

    @property
    def shard(self) -> Shard | None:
        """Which part of its inputs it holds; None if all of them."""
        return Shard.of(self.settings)

    def as_record(self) -> dict[str, Any]:
        """Give plain dicts, lists and strings, as JSON and TOML want them."""
        record = asdict(replace(self, scaler=None))
        del record["scaler"]
        if self.scaler is not None:
            record["scaler"] = self.scaler.to_record()
        if not self.inputs_digest:
            del record["inputs_digest"]
        if self.content == "mel":
            del record["content"]
        record["settings"] = dict(sorted(self.settings.items()))
        record["machine"] = dict(sorted(self.machine.items()))
        record["row_shape"] = list(self.row_shape)
        record["row_labels"] = list(self.row_labels)
        return record

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> Header:
        """Read what `as_record` gave, believing nothing.

        Raises:
            ValueError: A field is missing or is not what it should be.
        """
        try:
            dtype, row_shape = record["dtype"], tuple(record["row_shape"])
            sizes_are_whole = all(isinstance(n, int) and n > 0 for n in row_shape)
            if dtype not in STORED or not row_shape or not sizes_are_whole:
                raise ValueError(f"rows of {dtype} and shape {row_shape}")
            settings, content = _texts(record["settings"]), record.get("content", "mel")
            Shard.of(settings)
            if content not in {"mel", "spectrogram", "audio"}:
                raise ValueError(f"content {content!r}")
            if content == "audio" and settings.get(AUDIO_FORMAT) not in AUDIO_FORMATS:
                raise ValueError("audio of no known format")
            return cls(
                config=_text(record["config"]),
                config_digest=_text(record["config_digest"]),
                settings=settings,
                machine=_texts(record["machine"]),
                command=_text(record["command"]),
                created=_text(record["created"]),
                melcli_version=_text(record["melcli_version"]),
                row_shape=row_shape,
                row_labels=tuple(_text(label) for label in record["row_labels"]),
                dtype=cast("DType", dtype),
                transpose=bool(record["transpose"]),
                overwrite=bool(record["overwrite"]),
                inputs_digest=_text(record.get("inputs_digest", "")),
                scaler=_scaler(record.get("scaler"), row_shape[-1]),
                content=content,
            )
        except KeyError as error:
            raise ValueError(f"{error.args[0]} is missing") from error
        except UsageError as error:
            raise ValueError(error.cause) from error
        except (TypeError, AttributeError) as error:
            raise ValueError(str(error)) from error

    @property
    def row_bytes(self) -> int:
        """How many bytes one row takes on disk."""
        return math.prod(self.row_shape) * STORED[self.dtype].itemsize


class Fault(NamedTuple):
    """Something in an output that is not as it was written.

    Args:
        id: The item or input it is in; empty if it is in none of them.
        cause: What is wrong.
    """

    id: str
    cause: str


def input_id(item_id: str, settings: Mapping[str, str]) -> str:
    """Give the id of the input that an item came from.

    Only a suffix that the settings can have made is one: a file may be called ``take@3``.

    >>> input_id("a/b.wav#1@3", {"long": "chunks", "channels": "each"})
    'a/b.wav'
    >>> input_id("a/take@3", {"long": "error"})
    'a/take@3'
    """
    if settings.get("long") == "chunks":
        item_id = _CHUNK.sub("", item_id)
    if settings.get("channels") == "each":
        item_id = _CHANNEL.sub("", item_id)
    return item_id


def check_id(name: str) -> None:
    """Refuse an id that could leave the output, or that cannot be written down.

    Raises:
        StoreError: It is empty, absolute, not UTF-8, or has an empty, ``.`` or ``..`` part.
    """
    try:
        name.encode()
    except UnicodeEncodeError:
        fault = "is not valid UTF-8"
    else:
        if "\0" in name:
            fault = "has a NUL byte in it"
        elif name.startswith("/"):
            fault = "is absolute"
        elif "//" in (framed := f"/{name}/") or "/./" in framed or "/../" in framed:
            fault = "has an empty part, or '.' or '..', in it"
        else:
            return
    raise StoreError(f"the id {name!r} {fault}", None, "give the file another name, or a --root")


def printable(text: str) -> str:
    r"""Make a text that UTF-8 and HDF5 can hold, changing only what they cannot.

    >>> printable("caf\udce9 \x00")
    'caf\\udce9 \\0'
    """
    return text.encode("utf-8", "backslashreplace").decode().replace("\0", "\\0")


def _scaler(record: Mapping[str, Any] | None, n_bins: int) -> Normalization | None:
    if record is None:
        return None
    scaler = Normalization.from_record(record)
    if scaler.statistics.n_bins not in {1, n_bins}:
        raise ValueError(f"a scaler of {scaler.statistics.n_bins} bins for rows of {n_bins}")
    return scaler


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is not a text")
    return value


def _texts(values: Mapping[object, object]) -> dict[str, str]:
    return {_text(key): _text(value) for key, value in values.items()}


def as_stored(rows: Array, header: Header, n_rows: int) -> Array:
    """Give rows as they lie on disk: little-endian and contiguous.

    Raises:
        ValueError: They are not of the header's shape and dtype, or are more than ``n_rows``.
    """
    stored, shape = STORED[header.dtype], rows.shape
    fits = shape[1:] == header.row_shape and shape[0] <= n_rows
    if not fits or (rows.dtype != stored and rows.dtype.newbyteorder("<") != stored):
        raise ValueError(
            f"rows of shape {shape} and {rows.dtype}, "
            f"but {(n_rows, *header.row_shape)} and {header.dtype} were announced"
        )
    return np.ascontiguousarray(rows, dtype=stored)


def as_bytes(stored: npt.NDArray[Any]) -> memoryview:
    """Look at a contiguous array as bytes, without a copy."""
    return memoryview(cast("bytes", stored.reshape(-1).view(np.uint8)))


def check_outcome(outcome: Outcome, rows: Sequence[Pieces], header: Header) -> None:
    """Refuse an outcome that could not be read back as it was written.

    Raises:
        StoreError: An id cannot be stored, or could be taken for a part of another input.
        ValueError: Items and rows do not belong together.
    """
    check_id(outcome.id)
    items = outcome.items if isinstance(outcome, Done) else ()
    if len(items) != len(rows) or (isinstance(outcome, Done) and not items):
        raise ValueError(f"{len(items)} items, but {len(rows)} arrays, for {outcome.id!r}")
    for item in items:
        if (item.certificate is None) != (header.content == "mel"):
            raise ValueError(f"a certificate belongs to what was computed back, not to {item.id!r}")
        if input_id(item.id, header.settings) != outcome.id:
            raise StoreError(
                f"the id {item.id!r} does not lead back to the input {outcome.id!r}",
                None,
                "give the file a name that does not end like a channel (#0) or a chunk (@0)",
            )
        if item.notes and any("," in note for note in item.notes):
            raise ValueError(f"a note with a comma in it: {item.notes}")
