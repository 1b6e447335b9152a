"""For tests that kill a command: runs with a middle to be killed in, and when it is reached."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import subprocess

# Segments of three inputs, each a little slow, so that there is a middle to be killed in.
SLOWLY = """
import time
from melcli.pipeline import batching, worker
batching.BATCH_INPUTS, batching.SEGMENT_INPUTS = 1, 3
clips_of = worker.clips_of
def slowly(*args):
    time.sleep(0.01)
    return clips_of(*args)
worker.clips_of = slowly
"""
IN_PROCESSES = f"""{SLOWLY}
from melcli.pipeline import loop
loop.FORK_BYTES = 0
"""


def journal_of(name: str) -> Path:
    """Where an unfinished output keeps its journal."""
    if name.endswith("/"):
        return Path(name) / ".melcli-partial/journal.jsonl"
    return Path(f"{name}.partial.journal")


def wait_for_segments(process: subprocess.Popen[bytes], name: str, n_segments: int) -> None:
    """Return once so many segments are committed, or the run has ended."""
    journal = journal_of(name)
    while process.poll() is None:
        try:
            if journal.read_bytes().count(b'{"segment"') >= n_segments:
                return
        except (FileNotFoundError, NotADirectoryError):
            pass
        time.sleep(0.002)
