"""Opening what audio is read from: regular files and seekable streams, nothing that hangs."""

from __future__ import annotations

import io
import os
import stat
import tempfile
from typing import TYPE_CHECKING, BinaryIO, Final

from melcli.errors import AudioError

if TYPE_CHECKING:
    from pathlib import Path

CHECK_NAME: Final = "check the name, or leave it out with --exclude"
SPOOL_BYTES: Final = 64 * 2**20

# O_NONBLOCK: opening a FIFO that nobody writes to must not wait. The rest is absent on Windows.
_OPEN_FLAGS: Final = (
    os.O_RDONLY
    | getattr(os, "O_NONBLOCK", 0)
    | getattr(os, "O_NOCTTY", 0)
    | getattr(os, "O_CLOEXEC", 0)
    | getattr(os, "O_BINARY", 0)
)

_KINDS: Final = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a named pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)


class Source:
    """The bytes of one recording: opened once, read at any offset.

    Args:
        source: A path (bytes need not be UTF-8) or a seekable binary stream, read from its start.
        name: What messages call it; by default its path, or ``stream``.

    Raises:
        AudioError: It is not there, may not be read, is empty, or is neither a regular file nor
            a seekable stream.
    """

    def __init__(self, source: str | bytes | Path | BinaryIO, *, name: str | None = None) -> None:
        self.fd: int | None = None
        if isinstance(source, (str, bytes, os.PathLike)):
            self.name = printable(source) if name is None else name
            self.fd, self.size = _open_file(source, self.name)
        else:
            self.name = "stream" if name is None else name
            self._stream, self.size = source, _stream_size(source, self.name)
        if self.size == 0:
            self.close()
            raise AudioError("is empty", self.name, "delete it, or leave it out with --exclude")

    def pread(self, n_bytes: int, offset: int) -> bytes:
        """Up to ``n_bytes`` from ``offset``: fewer only at the end."""
        try:
            if self.fd is not None:
                return os.pread(self.fd, n_bytes, offset)
            self._stream.seek(offset)
            pieces = bytearray()  # a raw stream may answer in parts
            while len(pieces) < n_bytes and (piece := self._stream.read(n_bytes - len(pieces))):
                pieces += piece
            return bytes(pieces)
        except (OSError, ValueError) as error:
            raise unreadable(error, self.name) from error

    def read_into(self, buffer: memoryview, offset: int) -> int:
        """Fill a buffer of bytes from ``offset`` on; how many came, 0 only at the end."""
        if self.fd is None:
            piece = self.pread(len(buffer), offset)
            buffer[: len(piece)] = piece
            return len(piece)
        try:
            return os.preadv(self.fd, [buffer], offset)
        except OSError as error:
            raise unreadable(error, self.name) from error

    def close(self) -> None:
        """Close what was opened here; a stream stays its owner's."""
        if self.fd is not None:
            os.close(self.fd)
            self.fd = None


def printable(path: str | bytes | os.PathLike[str]) -> str:
    r"""A path that any terminal can show: bytes that are not UTF-8 become ``\xff``.

    >>> printable(b"caf\xe9.wav")
    'caf\\xe9.wav'
    """
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def unreadable(error: OSError | ValueError, name: str) -> AudioError:
    """What the operating system said, as our error."""
    reason = getattr(error, "strerror", None) or str(error)
    return AudioError(
        f"cannot be read ({reason})",
        name,
        "check the disk and the name, then run the same command again",
    )


def _open_file(path: str | bytes | os.PathLike[str], name: str) -> tuple[int, int]:
    try:
        fd = os.open(path, _OPEN_FLAGS)
    except FileNotFoundError as error:
        if os.path.islink(path):  # noqa: PTH114  (the path may be bytes)
            cause = "is a link to a file that does not exist"
        else:
            cause = "does not exist"
        raise AudioError(cause, name, CHECK_NAME) from error
    except PermissionError as error:
        remedy = "allow it (chmod +r), or leave it out with --exclude"
        raise AudioError("may not be read: permission denied", name, remedy) from error
    except (OSError, ValueError) as error:
        raise unreadable(error, name) from error
    status = os.fstat(fd)
    if not stat.S_ISREG(status.st_mode):
        os.close(fd)
        kind = next((kind for is_kind, kind in _KINDS if is_kind(status.st_mode)), "special")
        remedy = "name the files in it" if kind == "a folder" else "copy its data to a file first"
        raise AudioError(f"is {kind}, not a regular file", name, remedy)
    return fd, status.st_size


def _stream_size(stream: BinaryIO, name: str) -> int:
    try:
        seekable = stream.seekable()
        size = stream.seek(0, io.SEEK_END) if seekable else 0
    except (OSError, ValueError) as error:
        raise unreadable(error, name) from error
    if not seekable:
        remedy = "copy it first with melcli.audio.reading.spool"
        raise AudioError("is a stream that cannot be read at any place", name, remedy)
    return size


def spool(stream: BinaryIO) -> BinaryIO:
    """A seekable copy of a stream: in memory up to 64 MB, in a temporary file beyond.

    The copy is at its start. Closing it, or losing the last reference, frees it.

    Args:
        stream: Read to its end, in pieces.
    """
    copy = tempfile.SpooledTemporaryFile(max_size=SPOOL_BYTES)  # noqa: SIM115  (the caller's)
    while piece := stream.read(2**20):
        copy.write(piece)
    copy.seek(0)
    return copy  # type: ignore[return-value]  # typeshed: not a BinaryIO, though it is one
