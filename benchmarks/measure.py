"""Commands as their users start them: seconds, processor seconds, peak memory.

Nothing large may be imported here or by `run`: Linux counts the memory of the process that starts
a command into the command's own peak.
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

ROOT = Path(__file__).resolve().parent.parent
"""The checkout: commands run here, so that ``python -m melcli`` is the one beside us."""


class BenchmarkError(Exception):
    """A command that failed, or did not do what it was to do: it has no time."""


@dataclass(frozen=True)
class Run:
    """What a command took.

    Args:
        seconds: From its start to its end.
        cpu_seconds: Of processor time, its child processes included.
        peak_bytes: Most memory resident at once, in the largest of its processes.
        output: What it printed.
    """

    seconds: float
    cpu_seconds: float
    peak_bytes: int
    output: str

    def to_record(self) -> dict[str, float]:
        """For ``--json``: the figures."""
        return {
            "seconds": self.seconds,
            "cpu_seconds": self.cpu_seconds,
            "peak_bytes": self.peak_bytes,
        }


def run(
    command: Sequence[str],
    *,
    environment: Mapping[str, str] | None = None,
    data_limit: int | None = None,
) -> Run:
    """Run a command to its end.

    Args:
        command: Program and arguments.
        environment: Variables beside those that there are.
        data_limit: Bytes of memory it may ask for; more fails, rather than the machine.

    Raises:
        BenchmarkError: If it fails, with the last that it said.
    """
    os.sync()  # nobody pays for what another left to be written
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        began = time.perf_counter()
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            env={**os.environ, **(environment or {})},
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=err,
        )
        if data_limit is not None:
            resource.prlimit(process.pid, resource.RLIMIT_DATA, (data_limit, data_limit))
        try:
            # wait4 tells what the process took; Popen's own wait would lose it.
            _, status, usage = os.wait4(process.pid, 0)
        except BaseException:
            process.kill()
            process.wait()
            raise
        seconds = time.perf_counter() - began
        process.returncode = os.waitstatus_to_exitcode(status)
        out.seek(0)
        err.seek(0)
        if process.returncode:
            said = err.read().decode(errors="replace").strip().splitlines() or ["said nothing"]
            raise BenchmarkError(f"ended with {process.returncode}: {said[-1]}")
        return Run(
            seconds,
            usage.ru_utime + usage.ru_stime,
            usage.ru_maxrss * 1024,
            out.read().decode(errors="replace"),
        )


def memory_bytes() -> int:
    """Of the machine."""
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def tell(what: str) -> None:
    """Say on stderr what is being done; stdout is for the tables."""
    sys.stderr.write(f"{what}\n")


def warm(files: Iterable[Path]) -> None:
    """Read files once, so that everyone finds them in the page cache."""
    room = bytearray(1 << 20)
    for path in files:
        with path.open("rb", buffering=0) as file:
            while file.readinto(room):
                pass
