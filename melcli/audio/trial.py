"""Which of these recordings ends, or holds up, the process that decodes it?

A process of its own decodes one after the other, and says so after each. It needs no fork, so it
works beside threads and GPUs as well.
"""

from __future__ import annotations

import contextlib
import faulthandler
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

from melcli.audio.reading import AudioReader
from melcli.errors import DeviceError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_READY, _DECODED = b"!", b"."
_PIECE_SAMPLES: Final = 1 << 20
_RAN_OUT: Final = 1
"""What faulthandler exits with when the time is up."""

PROGRAM: Final = f"""
import sys
sys.path.insert(0, {str(Path(__file__).parents[2])!r})
from melcli.audio.trial import decode_all
decode_all()
"""


def deaths(recordings: Sequence[tuple[bytes, float]]) -> Iterator[str | None]:
    """Decode each in another process, within a time limit.

    Args:
        recordings: Path, and seconds that decoding it may take.

    Yields:
        For each, in what way the process ended; None if it did not.

    Raises:
        DeviceError: No such process can be started.
    """
    rest = list(recordings)
    while rest:
        told = b"".join(b"%s\0%a\0" % recording for recording in rest)
        ended = subprocess.run(  # noqa: S603, ourselves; the names go in as data
            [sys.executable, "-c", PROGRAM], input=told, stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL, check=False,
        )  # fmt: skip
        if not ended.stdout.startswith(_READY):
            raise DeviceError("a process that decodes cannot be started", sys.executable)
        n_decoded = len(ended.stdout) - len(_READY)
        for _ in range(n_decoded):
            yield None
        for _, limit in rest[n_decoded : n_decoded + 1]:
            yield _death(ended.returncode, limit)
        rest = rest[n_decoded + 1 :]


def _death(status: int, limit: float) -> str:
    if status == _RAN_OUT:
        return f"was not decoded in {limit:,.0f} s"
    how = signal.Signals(-status).name if status < 0 else f"exit status {status}"
    return f"ends the process that decodes it ({how})"


def decode_all() -> None:
    """Be that process: read names and limits from standard input, answer on standard output."""
    answers = os.dup(1)
    os.dup2(2, 1)  # decoders print
    nowhere = os.open(os.devnull, os.O_WRONLY)
    told = sys.stdin.buffer.read().split(b"\0")
    os.write(answers, _READY)
    for path, limit in zip(told[::2], told[1::2], strict=False):
        faulthandler.dump_traceback_later(float(limit), exit=True, file=nowhere)
        _decode(path)
        faulthandler.cancel_dump_traceback_later()
        os.write(answers, _DECODED)


def _decode(path: bytes) -> None:
    """Decode it all; whatever is raised will be raised again, where it can be told."""
    with contextlib.suppress(Exception), AudioReader(path) as reader:
        while not reader.is_at_end:
            reader.read(_PIECE_SAMPLES)
