"""Reading recordings with libsndfile, and noticing when not all of one is there.

The only module that imports soundfile. A file is opened once: its header is checked on the same
descriptor that libsndfile then decodes from. A plain WAV (:mod:`melcli.audio.wav`) is read from it
directly, with the same result.
"""

from __future__ import annotations

import contextlib
import io
import math
import os
import socket
import sys
import threading
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, BinaryIO, Final, Literal, Self

import numpy as np
import soundfile

from melcli.audio import containers, formats, wav
from melcli.audio.evidence import HEAD_BYTES, Container
from melcli.audio.formats import MAX_CHANNELS, MAX_SAMPLE_RATE
from melcli.audio.raw import RawFormat
from melcli.audio.sources import Source, spool
from melcli.errors import AudioError

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType

    from _typeshed import WriteableBuffer

__all__ = [
    "Audio",
    "AudioInfo",
    "AudioReader",
    "PartError",
    "RawFormat",
    "part_of",
    "probe",
    "read",
    "spool",
]

FETCH_AGAIN: Final = "fetch or convert it again, or leave it out with --exclude"
LEAVE_OUT: Final = "leave it out with --exclude"

# libsndfile's code for "Format not recognised".
_UNRECOGNISED: Final = 1

# libsndfile's count where a stream does not say: SF_COUNT_MAX.
_UNKNOWN_COUNT: Final = 2**63 - 1

# A plain WAV is read without libsndfile where the bytes of the file are those of the samples.
_READS_PLAIN: Final = sys.byteorder == "little" and hasattr(os, "preadv")

# Decoders of blocks never run dry: beyond the end of the file they give silence, or the last block
# again, for as long as the header claims. No coding has more samples in a byte than these do.
_MOST_PER_BYTE: Final = 16
_MOST_PER_BYTE_OF: Final = {"ALAC": 4096, "FLAC": 2**63}

# A decoder of these can begin at any sample, with the same result. All others have a memory (MP3,
# Opus, ADPCM), or libsndfile goes wrong by a few samples (Vorbis near the end): what lies before
# the part that is asked for is decoded too, and thrown away.
_SEEKABLE: Final = ("PCM_", "FLOAT", "DOUBLE", "ULAW", "ALAW", "ALAC_")
_SKIPPED_SAMPLES: Final = 1 << 16
_SKIPPED_BYTES: Final = 1 << 20

MAX_OVERSHOOT_SECONDS: Final = 0.5
"""So much later than a recording a part of it may end: tables round, and so do lossy codecs."""

# int16 holds these exactly, and int16 / 32768 is bit for bit what libsndfile gives as float32.
_INT16_SUBTYPES: Final = frozenset({"PCM_16", "PCM_S8", "PCM_U8"})


@dataclass(frozen=True, slots=True)
class AudioInfo:
    """What a header says; nothing is decoded.

    Attributes:
        sample_rate: In Hz.
        n_channels: Of the file.
        n_samples: Per channel; None where it is unknown before decoding.
        exact: False where the count is an estimate, as in all lossy formats.
        format: libsndfile's major format: ``"WAV"``, ``"FLAC"``, ``"OGG"``, ``"MP3"``.
        subtype: libsndfile's name of the coding: ``"PCM_16"``, ``"VORBIS"``, ``"OPUS"``.
    """

    sample_rate: int
    n_channels: int
    n_samples: int | None
    exact: bool
    format: str
    subtype: str


@dataclass(frozen=True, slots=True)
class Audio:
    """A whole recording.

    Attributes:
        samples: ``(n_samples, n_channels)``, C-contiguous: int16 where the file stores integers of
            16 bits or less, float32 otherwise. int16 / 32768 is the float32 bit for bit.
        sample_rate: In Hz.
        info: What the header said.
    """

    samples: np.ndarray
    sample_rate: int
    info: AudioInfo


def probe(source: str | bytes | Path | BinaryIO, *, name: str | None = None) -> AudioInfo:
    """What the header says of rate, channels and length, without decoding.

    Args:
        source: As of :class:`AudioReader`.
        name: As of :class:`AudioReader`.

    Raises:
        AudioError: It is not audio, or its header shows that it is cut short.
    """
    with AudioReader(source, name=name) as reader:
        return reader.info


def part_of(info: AudioInfo, start: float, end: float, *, name: str) -> AudioInfo:
    """What a header that says this of a recording says of a part of it.

    Args:
        info: Of the recording.
        start: Where the part begins, in seconds.
        end: Where it ends.
        name: What messages call it.

    Raises:
        AudioError: The part is not in the recording.
    """
    first, last = _ends(info.sample_rate, start, end)
    n_samples = info.n_samples
    if n_samples is not None:
        if info.exact:
            _check_part(n_samples, info.sample_rate, first, last, name)
        last = n_samples if last is None else min(last, n_samples)
    return replace(info, n_samples=None if last is None else max(0, last - first))


def read(source: str | bytes | Path | BinaryIO, *, name: str | None = None) -> Audio:
    """Read a whole recording: :class:`AudioReader` with one piece.

    Args:
        source: As of :class:`AudioReader`.
        name: As of :class:`AudioReader`.

    Raises:
        AudioError: It is not audio, not whole, or holds no samples.
    """
    with AudioReader(source, name=name) as reader:
        return Audio(reader.read(), reader.sample_rate, reader.info)


class PartError(AudioError):
    """The part that is asked for is not in the recording; others may be."""


class AudioReader:
    """Read a recording piece by piece; the pieces are bit for bit those of a whole read.

    Args:
        source: A path (bytes need not be UTF-8), or a seekable binary stream, read from its start
            and left open.
        name: What messages call it; by default its path.
        start: Where the part that is read begins, in seconds. Only that part is decoded, and what
            lies before it where a decoder cannot begin anywhere else.
        end: Where it ends, in seconds: at the sample nearest to it, which is not read any more.
        raw: Read bytes without a header, coded like this.

    Attributes:
        info: What the header says.
        sample_rate: In Hz.
        n_channels: Of the file.
        dtype: Of what :meth:`read` returns.
        is_at_end: All samples were returned, and nothing is missing. Where the header counts them,
            this is so as soon as the last one was returned; where it does not, the read that finds
            no more tells.
        ends_early: The recording ended before the part that was asked for did, by at most
            ``MAX_OVERSHOOT_SECONDS``.

    Raises:
        AudioError: It cannot be read, is not audio, holds no samples, its header shows that it
            is cut short, or the part that is asked for is not in it.
    """

    info: AudioInfo
    sample_rate: int
    n_channels: int
    dtype: Literal["int16", "float32"]
    is_at_end: bool
    ends_early: bool = False

    # What a plain WAV does without.
    _container = Container()
    _view: _View | None = None
    _feed: _Feed | None = None
    _stream: _PlainWav | _SoundFile | None = None

    # What all of a recording does without.
    _first: int = 0
    _last: int | None = None

    def __init__(
        self,
        source: str | bytes | Path | BinaryIO,
        *,
        name: str | None = None,
        start: float = 0.0,
        end: float = math.inf,
        raw: RawFormat | None = None,
    ) -> None:
        self._n_read = 0  # counted from the start of the recording
        self.is_at_end = False
        self._source = Source(source, name=name)
        try:
            self._begin(raw)
            self.sample_rate, self.n_channels = self.info.sample_rate, self.info.n_channels
            self.dtype = "int16" if self.info.subtype in _INT16_SUBTYPES else "float32"
            self._whole_limit = self._limit
            if start or end != math.inf:
                self._go_to(start, end)
        except BaseException:
            self.close()
            raise

    def _begin(self, raw: RawFormat | None) -> None:
        """Find out what it is, and how many samples there are at most."""
        if raw is not None:
            self._stream = stream = self._open_raw(raw)
            self.info = self._describe(stream)
            self._limit = int(stream.frames)
            self._check_header()
            return
        head = self._source.pread(HEAD_BYTES, 0)
        plain = self._find_plain(head)
        if plain is not None:
            self._stream = _PlainWav(self._source, plain)
            self.info = self._describe_plain(plain)
            self._limit = plain.n_samples
            return
        self._container = containers.inspect(self._source.pread, self._source.size, head)
        self._check_container()
        self._stream = stream = self._open()
        self.info = self._describe(stream)
        counted = self._container.n_samples
        self._limit = int(stream.frames) if counted is None else counted
        self._check_header()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the file; a stream that was passed in stays open."""
        if self._stream is not None:
            self._stream.close()
            self._stream = None
        if self._feed is not None:
            self._feed.close()
            self._feed = None
        self._source.close()

    def read(self, n_samples: int = -1) -> np.ndarray:
        """The next samples, ``(n, n_channels)``.

        Args:
            n_samples: At most so many; negative for all that are left.

        Returns:
            Fewer than asked only at the end, and none after it.

        Raises:
            AudioError: The end came too early, the data is damaged, or there was none.
        """
        stream = self._stream
        if stream is None:
            raise ValueError("read() of a closed AudioReader")
        # The header is not believed: room for 16 times the file at first, then twice as much.
        frame_bytes = self.n_channels * (2 if self.dtype == "int16" else 4)
        wanted = self._n_left() if n_samples < 0 else min(n_samples, self._n_left())
        room = min(wanted, (16 * self._source.size + 2**20) // frame_bytes)
        block = np.empty((room, self.n_channels), self.dtype)
        filled = 0
        while filled < wanted and not self.is_at_end:
            if filled == len(block):
                grown = np.empty((min(2 * filled, wanted), self.n_channels), self.dtype)
                grown[:filled] = block
                block = grown
            n = self._decode(stream, block[filled:])
            filled += n
            self._n_read += n
            if n == 0 or self._n_left() == 0:
                self._check_end()
                self.is_at_end = True
        if filled < len(block):
            # A view, unless that would keep alive much more than it shows.
            block = block[:filled] if 8 * filled > 7 * len(block) else block[:filled].copy()
        return block

    @property
    def position(self) -> int:
        """The sample that comes next, counted from the start of the recording."""
        return self._n_read

    @property
    def is_forward_only(self) -> bool:
        """A part cannot be read without what lies before it."""
        return not (self.info.exact and self.info.subtype.startswith(_SEEKABLE))

    def go_on(self, start: float, end: float, *, name: str) -> None:
        """Read another part of the recording, that begins at `position` or later.

        Args:
            start: Where it begins, in seconds.
            end: Where it ends.
            name: What messages call it.

        Raises:
            AudioError: It is not in the recording.
        """
        self._source.name = name
        self.is_at_end = self.ends_early = False
        self._limit = self._whole_limit
        self._go_to(start, end)

    def _n_left(self) -> int:
        """How many samples may still come."""
        return self._limit - self._n_read

    def _go_to(self, start: float, end: float) -> None:
        """Let the first sample of a part be the next one that is read, and its last one the last.

        Raises:
            AudioError: It is not in the recording.
        """
        info = self.info
        self._first, self._last = first, last = _ends(info.sample_rate, start, end)
        if last is not None:
            if last <= first:
                cause = f"the part from {start:g} s to {end:g} s holds no sample"
                raise _not_there(cause, self._source.name)
            self._limit = min(self._limit, last)
        if info.exact and info.n_samples is not None:
            self._check_part(info.n_samples)
        if first:
            self._skip_to(first)

    def _skip_to(self, first: int) -> None:
        stream, info = self._stream, self.info
        assert stream is not None  # noqa: S101, it was opened just now
        if (info.format, info.subtype) == ("PAF", "PCM_24"):
            # Some samples are lost where one read ends and the next begins (libsndfile 1.2.2).
            cause = "is PAF of 24 bits, of which libsndfile reads no part"
            raise AudioError(cause, self._source.name, "convert it first: sox IN.paf OUT.wav")
        if not self.is_forward_only:
            try:
                stream.seek(first)
            except (soundfile.LibsndfileError, RuntimeError) as error:
                raise self._fault(f"is damaged: its {first}th sample cannot be found") from error
            self._n_read = first
            return
        n_samples = min(_SKIPPED_SAMPLES, _SKIPPED_BYTES // (4 * info.n_channels))
        block = np.empty((max(1, n_samples), info.n_channels), self.dtype)
        while self._n_read < first:
            n = self._decode(stream, block[: first - self._n_read])
            if n == 0:
                self._check_end()
            self._n_read += n

    def _check_part(self, n_samples: int) -> None:
        if self._first == 0 and self._last is None:
            return
        _check_part(n_samples, self.info.sample_rate, self._first, self._last, self._source.name)
        self.ends_early = self._last is not None and self._last > n_samples

    def _decode(self, stream: _PlainWav | _SoundFile, block: np.ndarray) -> int:
        try:
            return int(stream.buffer_read_into(block, self.dtype))
        except soundfile.LibsndfileError as error:
            cause = f"is cut short or damaged: it cannot be decoded ({_reason(error)})"
            raise self._fault(cause) from error

    def _find_plain(self, head: bytes) -> wav.Layout | None:
        """The layout of a file, not of a stream, that libsndfile is not needed for."""
        if self._source.fd is None or not _READS_PLAIN:
            return None
        plain = wav.layout(head, self._source.size, self._source.pread)
        if plain is None or plain.sample_rate > MAX_SAMPLE_RATE or plain.n_channels > MAX_CHANNELS:
            return None
        return plain

    def _describe_plain(self, plain: wav.Layout) -> AudioInfo:
        return AudioInfo(
            plain.sample_rate,
            plain.n_channels,
            plain.n_samples,
            exact=True,
            format=plain.format,
            subtype="PCM_16",
        )

    def _open(self) -> _SoundFile:
        """Give libsndfile the descriptor itself, unless it would misread the length."""
        mp3 = self._container.mp3
        try:
            if mp3 is not None and (mp3.n_frames is None or mp3.count_from == "VBRI"):
                # libsndfile estimates the length from the first frame's bit rate and stops there:
                # a third of the way into a VBR file. From a socket it cannot, and reads on.
                self._feed = _Feed(self._source, mp3.start, mp3.stop)
                return _SoundFile(self._feed.fileno(), "r", closefd=False)
            if self._source.fd is None or self._container.repairs:
                self._view = _View(self._source, self._container.repairs)
                return _SoundFile(self._view, "r")
            return _SoundFile(self._source.fd, "r", closefd=False)
        except soundfile.LibsndfileError as error:
            raise self._not_audio(error) from error

    def _open_raw(self, raw: RawFormat) -> _SoundFile:
        if extra := self._source.size % raw.frame_bytes:
            raise self._fault(f"is cut short: {extra} bytes of a sample are left over at its end")
        self._view = _View(self._source, ())
        return _SoundFile(
            self._view,
            "r",
            samplerate=raw.sample_rate,
            channels=raw.n_channels,
            subtype=raw.subtype,
            endian=raw.endian,
            format="RAW",
        )

    def _not_audio(self, error: soundfile.LibsndfileError) -> AudioError:
        self._check_source()
        promised, held = self._container.promised, self._container.held
        if self._container.is_cut_in_header:
            return self._fault("is cut short: the file ends within its header")
        if promised is not None and promised > held:
            return self._cut_short(promised, held, 0.0, "bytes")
        name, remedy = self._source.name, self._ffmpeg()
        foreign = containers.foreign_format(self._source.pread)
        if foreign is not None:
            cause = f"is {foreign}, which libsndfile cannot read"
        else:
            cause = f"is not audio that libsndfile can read ({_reason(error)})"
            is_known = error.code != _UNRECOGNISED or formats.is_foreign(name)
            remedy = f"{remedy}, or {LEAVE_OUT}" if is_known else LEAVE_OUT
            if formats.is_list(name):
                remedy = f"if it is a list of files: --files-from {name}"
        return AudioError(cause, name, remedy)

    def _ffmpeg(self) -> str:
        if self._source.fd is None:
            return "ffmpeg -i - -f flac -"
        return formats.ffmpeg_remedy(self._source.name)

    def _describe(self, stream: _SoundFile) -> AudioInfo:
        mp3 = self._container.mp3
        n_samples: int | None = stream.frames if stream.frames < _UNKNOWN_COUNT else None
        if self._container.n_samples is not None:
            n_samples = self._container.n_samples
        if mp3 is not None and mp3.count_from == "VBRI" and mp3.n_frames is not None:
            n_samples = mp3.n_frames * mp3.samples_per_frame
        subtype = stream.subtype
        exact = n_samples is not None and formats.is_length_exact(subtype)
        return AudioInfo(
            stream.samplerate, stream.channels, n_samples, exact, stream.format, subtype
        )

    def _check_container(self) -> None:
        if self._container.fault is not None:
            remedy = self._ffmpeg() if self._container.needs_ffmpeg else FETCH_AGAIN
            raise AudioError(self._container.fault, self._source.name, remedy)

    def _check_header(self) -> None:
        info, promised, held = self.info, self._container.promised, self._container.held
        if not 0 < info.sample_rate <= MAX_SAMPLE_RATE:
            raise self._fault(f"has an impossible sample rate: {info.sample_rate} Hz")
        if not 0 < info.n_channels <= MAX_CHANNELS:
            raise self._fault(f"has an impossible number of channels: {info.n_channels}")
        if info.format == "SDS":
            # Its samples depend on the sizes they are read in (libsndfile 1.2.2).
            remedy = "convert it first: sox IN.sds OUT.wav"
            raise AudioError(
                "is a MIDI sample dump, which libsndfile reads wrongly", self._source.name, remedy
            )
        if info.format != "MP3" and info.subtype.startswith("MPEG"):
            cause = f"is MPEG audio within {info.format}, whose length libsndfile only guesses"
            raise AudioError(cause, self._source.name, self._ffmpeg())
        if promised is not None and promised > held:
            seconds = (info.n_samples or 0) / info.sample_rate
            raise self._cut_short(promised, held, seconds / held if held else 0.0, "bytes")
        if info.n_samples == 0:
            raise self._no_samples()
        coding = info.format if info.format == "FLAC" else info.subtype[:4]
        most = _MOST_PER_BYTE_OF.get(coding, _MOST_PER_BYTE) * self._source.size
        if info.exact and (info.n_samples or 0) * info.n_channels > most:
            cause = f"is cut short or damaged: {self._source.size} bytes cannot hold the"
            raise self._fault(f"{cause} {info.n_samples} samples that its header promises")

    def _check_end(self) -> None:
        """Compare what was decoded with what the header counts, where it counts samples."""
        self._check_source()
        expected, mp3 = self.info.n_samples, self._container.mp3
        if self._last is not None and self._n_read == self._last != expected:
            return  # what lies behind the part was not looked at
        if self._n_read == 0:
            raise self._no_samples()
        # Without an encoder's delay, an MP3's count may include the frame that holds the count.
        tolerance = mp3.samples_per_frame if mp3 is not None and not mp3.is_gapless else 0
        if expected is not None and self._n_read < expected - tolerance:
            raise self._cut_short(expected, self._n_read, 1 / self.sample_rate, "samples")
        if self._container.n_samples is not None and self._holds_more():
            raise self._fault(f"is damaged: it holds more than the {expected} samples it counts")
        self._check_part(self._n_read)

    def _holds_more(self) -> bool:
        """Whether samples lie behind those that the header counts, and not only a tag."""
        stream = self._stream
        try:
            block = np.empty((1, self.n_channels), self.dtype)
            return stream is not None and int(stream.buffer_read_into(block, self.dtype)) > 0
        except soundfile.LibsndfileError:
            return False

    def _check_source(self) -> None:
        """Raise what the operating system said while libsndfile was reading, which hides it."""
        for hidden in (self._feed, self._view):
            if hidden is not None and hidden.error is not None:
                raise hidden.error

    def _cut_short(self, promised: int, held: int, seconds_each: float, unit: str) -> AudioError:
        long, short = f"{promised * seconds_each:.2f} s", f"{held * seconds_each:.2f} s"
        if long == short:
            long, short = f"{promised} {unit}", f"{held}"
        return self._fault(f"is cut short: the header promises {long}, the file holds {short}")

    def _no_samples(self) -> AudioError:
        remedy = "delete it, or leave it out with --exclude"
        return AudioError("holds no samples", self._source.name, remedy)

    def _fault(self, cause: str) -> AudioError:
        return AudioError(cause, self._source.name, FETCH_AGAIN)


def _ends(sample_rate: int, start: float, end: float) -> tuple[int, int | None]:
    """The first sample of a part, and the one behind its last; None for the recording's end."""
    first, last = (
        None if at == math.inf else math.floor(at * sample_rate + 0.5) for at in (start, end)
    )
    return first or 0, last


def _check_part(n_samples: int, sample_rate: int, first: int, last: int | None, name: str) -> None:
    """Compare where a part begins and ends with how long the recording is.

    Raises:
        AudioError: It begins behind its end, or ends more than a little later.
    """
    length = f"the recording is {n_samples / sample_rate:.2f} s long"
    if first and first >= n_samples:
        raise _not_there(f"{length}, and the part begins at {first / sample_rate:g} s", name)
    if last is not None and last - n_samples > MAX_OVERSHOOT_SECONDS * sample_rate:
        raise _not_there(f"{length}, and the part ends at {last / sample_rate:g} s", name)


def _not_there(cause: str, name: str) -> PartError:
    return PartError(cause, name, "mend its row in the table, or take it out")


class _PlainWav:
    """The samples of a plain WAV, read as a SoundFile is."""

    def __init__(self, source: Source, layout: wav.Layout) -> None:
        self._source, self._at = source, layout.begin
        self._frame_bytes = 2 * layout.n_channels

    def seek(self, n_samples: int) -> None:
        """Go on that many samples further."""
        self._at += n_samples * self._frame_bytes

    def buffer_read_into(self, block: np.ndarray, _dtype: str) -> int:
        """Fill a block of int16 from here on; how many samples came."""
        n = self._source.read_into(block.data.cast("B"), self._at) // self._frame_bytes
        self._at += n * self._frame_bytes
        return n

    def close(self) -> None:
        """Do nothing: the source is not its own."""


class _SoundFile(soundfile.SoundFile):  # type: ignore[misc]  # soundfile has no types
    """A SoundFile that is only read forwards.

    Where it can, soundfile seeks after each read to where it already is. That costs time, and an
    MP3 read in pieces is then wrong by up to 0.3 (libsndfile 1.2.2): after a seek the decoder has
    forgotten what a frame borrows from those before it.
    """

    def seekable(self) -> bool:
        return False


class _View(io.RawIOBase):
    """A source as the file object libsndfile reads, some of its bytes replaced.

    An exception would be printed and lost between C and Python: it is kept in ``error``.
    """

    def __init__(self, source: Source, repairs: tuple[tuple[int, bytes], ...]) -> None:
        super().__init__()
        self.error: AudioError | None = None
        self._source, self._repairs = source, repairs
        self._at = 0

    def readinto(self, buffer: WriteableBuffer) -> int:
        """Fill a buffer from here on."""
        target = memoryview(buffer).cast("B")
        try:
            n = self._source.read_into(target, self._at)
        except AudioError as error:
            self.error = error
            return 0
        for offset, new in self._repairs:
            for i, byte in enumerate(new, start=offset - self._at):
                if 0 <= i < n:
                    target[i] = byte
        self._at += n
        return n

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go to an offset; never before the start."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._source.size}[whence]
        self._at = max(0, base + offset)
        return self._at

    def tell(self) -> int:
        """Where the next read begins."""
        return self._at


class _Feed:
    """A thread that sends a source through a socket, for a reader that must not know its length."""

    def __init__(self, source: Source, start: int, stop: int) -> None:
        self.error: AudioError | None = None
        self._source, self._start, self._stop = source, start, stop
        self._ours, self._theirs = socket.socketpair()
        self._thread = threading.Thread(target=self._run, name="melcli-mp3-feed", daemon=True)
        self._thread.start()

    def fileno(self) -> int:
        """The descriptor to read from."""
        return self._theirs.fileno()

    def _run(self) -> None:
        offset = self._start
        # A reader that stops early is no fault; nor may it kill the process with a signal.
        with self._ours, contextlib.suppress(OSError):
            try:
                while piece := self._source.pread(self._piece_bytes(offset), offset):
                    self._ours.sendall(piece, getattr(socket, "MSG_NOSIGNAL", 0))
                    offset += len(piece)
            except AudioError as error:
                self.error = error

    def _piece_bytes(self, offset: int) -> int:
        return max(0, min(2**16, self._stop - offset))

    def close(self) -> None:
        """Stop the thread, even where a forked process holds the same socket."""
        with contextlib.suppress(OSError):
            self._theirs.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._theirs.close()


def _reason(error: soundfile.LibsndfileError) -> str:
    return str(error.error_string).removeprefix("Error : ").strip().rstrip(".")
