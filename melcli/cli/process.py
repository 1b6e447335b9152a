"""What a command sets for its whole process, and a library must not."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import io
import os
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
_KEPT_BYTES = 64 << 20
_STDOUT, _STDERR = 1, 2


def keep_freed_memory() -> None:
    """Let glibc keep freed blocks of up to 64 MB instead of giving each back to the system.

    The blocks of a mel are about 1 MB, made and freed thousands of times a second. By default each
    is mapped anew, page by page, which takes as long as the arithmetic. Elsewhere it does nothing.
    """
    if not sys.platform.startswith("linux"):
        return
    with contextlib.suppress(OSError, AttributeError):
        libc = ctypes.CDLL(None)
        libc.mallopt(_M_MMAP_THRESHOLD, _KEPT_BYTES)
        libc.mallopt(_M_TRIM_THRESHOLD, _KEPT_BYTES)


def keep_stdout_clean() -> None:
    """Send to standard error what C libraries print on standard output, between rows or JSON.

    libsndfile's decoders of SDS and ALAC do, when a file is damaged. What Python prints goes where
    it did. Nothing happens where standard output is no file of its own, as in a notebook.
    """
    try:
        if sys.stdout.fileno() != _STDOUT:
            return
        sys.stdout.flush()
        ours = os.dup(_STDOUT)
        os.dup2(_STDERR, _STDOUT)
    except (AttributeError, OSError, ValueError):
        return
    sys.stdout = io.TextIOWrapper(
        io.BufferedWriter(io.FileIO(ours, "w")),
        encoding=sys.stdout.encoding,
        errors=sys.stdout.errors,
        line_buffering=os.isatty(ours),
    )


@contextlib.contextmanager
def large_imports() -> Iterator[None]:
    """Import without collecting garbage, and never look at what was imported again.

    Half a million objects of torch's live as long as the process. Looking through them for garbage
    takes a tenth of a second, a few times while they are made and once in a while thereafter.
    """
    if "torch" in sys.modules:  # a command that is called in somebody's program: theirs to decide
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()
