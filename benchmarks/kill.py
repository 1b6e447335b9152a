"""Extractions and fits that are killed, terminated, or run out of disk, again and again.

    python -m benchmarks.kill                    200 of each, to each kind of output
    python -m benchmarks.kill --times 20 --seed 7

Each run is ended at a random moment and begun again with the same command until it is done; then
the next output is begun. After every end it is looked at what is on the disk: every line that the
journal commits can be read, and its rows are what their checksums say. A finished output must be,
byte for byte, that of a run that nothing disturbed; a finished scaler holds the same numbers, sums
to 1e-13 and all others exactly. How much was computed in vain is counted where
it is computed. The runs are forked from one process that has torch loaded, or most of them would
be ended while Python starts.

Exit code 1 if anything was lost, differed, or was not told as it should be.
"""

from __future__ import annotations

import argparse
import faulthandler
import io
import itertools
import json
import os
import random
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import soundfile

from benchmarks import figures, measure
from melcli import store
from melcli.cli import cli
from melcli.pipeline import batching, fit, loop, run, worker
from melcli.statistics.counts import Counts
from melcli.statistics.fitted import Statistics
from melcli.statistics.moments import Moments
from melcli.store import journal as journals
from melcli.store.fitting import FitWriter

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from melcli.store.records import Header

N_INPUTS: Final = 120
SEGMENT: Final = 24
BATCH: Final = 2
RATE: Final = 16_000
PAGE: Final = 4096
N_WORKERS: Final = 2

SCALER: Final = "scaler.npz"
KINDS: Final[dict[str, tuple[str, ...]]] = {
    "packed.h5": ("extract",),
    "tree.h5": ("extract", "--store-layout", "tree"),
    "npy/": ("extract",),
    SCALER: ("fit-scaler", "--quantiles"),
}
FAULTS: Final = ("SIGKILL", "SIGTERM", "disk full")
FORKED: Final = {True: 0, False: 1 << 40}


class LostError(Exception):
    """Something that was committed is not there."""


@dataclass
class Tally:
    """What became of the runs with one kind of output and one kind of fault."""

    ended: int = 0
    finished: int = 0
    states: Counter[str] = field(default_factory=Counter)
    in_vain: list[int] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)

    def row(self, output: str, fault: str) -> list[str]:
        """For the table."""
        states = ", ".join(f"{n} {state}" for state, n in self.states.most_common())
        return [
            output,
            fault,
            f"{self.ended}",
            f"{self.finished}",
            states,
            f"{statistics.median(self.in_vain or [0]):g} / {max(self.in_vain, default=0)}",
            "none" if not self.faults else f"{len(self.faults)}: {self.faults[0]}",
        ]


def make_corpus(folder: Path) -> None:
    """Short recordings, a few of them bad."""
    folder.mkdir()
    rng = np.random.default_rng(5)
    for k in range(N_INPUTS):
        path = folder / f"{k:04}.wav"
        if k % 40 == 17:
            path.write_bytes(b"text, and no audio")
        else:
            samples = rng.normal(scale=0.1, size=int(rng.integers(800, 8_000)))
            soundfile.write(path, samples.clip(-1, 1), RATE)


def prepare(log: Path) -> None:
    """Small segments, headers that do not depend on when, and a note of what is computed."""
    batching.BATCH_INPUTS, batching.SEGMENT_INPUTS = BATCH, SEGMENT
    make_header, call = run.make_header, worker.Worker.__call__

    def frozen(*args: Any) -> Any:  # noqa: ANN401
        return replace(make_header(*args), created="then", command="that")

    def noted(self: worker.Worker, batch: batching.Batch) -> Any:  # noqa: ANN401
        made = call(self, batch)
        with log.open("ab", buffering=0) as file:
            file.write(b"".join(b"%d\n" % index for index in batch.indices))
        return made

    vars(run)["make_header"] = vars(fit)["make_header"] = frozen
    worker.Worker.__call__ = noted  # type: ignore[method-assign]


def start(args: list[str], said: Path, *, forked: bool) -> int:
    """Fork the command; its process number."""
    pid = os.fork()
    if pid:
        return pid
    code = 99
    try:
        loop.FORK_BYTES = FORKED[forked]
        with said.open("wb") as file:
            os.dup2(file.fileno(), 1)
            os.dup2(file.fileno(), 2)
        faulthandler.enable()
        cli.main(args=args, prog_name="melcli")
    except SystemExit as end:
        code = int(end.code or 0)
    finally:
        os._exit(code)


def end_of(pid: int) -> int:
    """Wait for a process; its exit code, or the negative number of its signal."""
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def contents(path: Path) -> dict[str, bytes]:
    """All files of an output."""
    if path.is_file():
        return {path.name: path.read_bytes()}
    return {
        str(file.relative_to(path)): file.read_bytes()
        for file in sorted(path.rglob("*"))
        if file.is_file()
    }


def are_same(found: dict[str, bytes], expected: dict[str, bytes]) -> bool:
    """Compare two outputs; of a scaler the sums may differ in the last digits of float64.

    What was in hand when a run died is computed one by one, and so added up in another order.
    """
    if SCALER not in found:
        return found == expected
    one, other = (dict(np.load(io.BytesIO(files[SCALER]))) for files in (found, expected))
    sums = {"mean", "std", "m2"}
    of_order = {*sums, "mean_low", "m2_low", "crc32"}
    return (
        one.keys() == other.keys()
        and all(np.array_equal(one[key], other[key]) for key in one.keys() - of_order)
        and all(np.allclose(one[key], other[key], rtol=1e-13, atol=0) for key in sums)
    )


class Kept:
    """What is on the disk of an output that is not finished."""

    def __init__(self, path: Path, scratch: Path) -> None:
        self._path, self._scratch = path, scratch
        self._is_file = store.is_hdf5(path) or path.name == SCALER
        self.journal = (
            path.with_name(f"{path.name}.partial.journal")
            if self._is_file
            else path / ".melcli-partial/journal.jsonl"
        )

    def check(self) -> tuple[str, int]:
        """Read a copy of it; what state it is in, and how many inputs are committed.

        Raises:
            LostError: Something that is committed cannot be read back.
        """
        if not self.journal.exists():
            return ("finished" if self._is_finished() else "nothing yet"), 0
        copy = self._copy()
        found = journals.Journal(copy / self.journal.relative_to(self._path.parent))
        header, n_outcomes, is_begun = found.header, found.n_outcomes, bool(found.segments)
        found.close()
        if self._is_finished():
            return ("finishing" if is_begun else "finished"), n_outcomes
        if header is None or not is_begun:
            return "begun", 0
        with closing(self._writer(copy / self._path.name, header)) as writer:
            # Opening has dropped what is not whole at the end: that must be nothing.
            segments = writer._journal.segments  # noqa: SLF001
            if writer.n_kept != n_outcomes or not all(map(writer._is_whole, segments)):  # noqa: SLF001
                raise LostError("a committed segment is not whole")
            if len(list(writer.outcomes())) != n_outcomes:
                raise LostError("an outcome is gone")
        return "in the middle", n_outcomes

    def _writer(self, path: Path, header: Header) -> Any:  # noqa: ANN401, tests look inside
        if path.name != SCALER:
            return store.open_writer(path, header)
        n_bins = header.row_shape[0]
        nothing = Statistics(
            moments=Moments.none(n_bins),
            at_floor=np.zeros(n_bins, np.int64),
            counts=Counts.none(n_bins),
        )
        return FitWriter(path, header, nothing=nothing, still_counts=lambda _: True)

    def _is_finished(self) -> bool:
        path = self._path if self._is_file else self._path / "melcli.toml"
        return path.exists()

    def _copy(self) -> Path:
        shutil.rmtree(self._scratch, ignore_errors=True)
        self._scratch.mkdir()
        if self._is_file:
            for file in self._path.parent.glob(f"{self._path.name}*"):
                shutil.copy(file, self._scratch)
        else:
            shutil.copytree(self._path, self._scratch / self._path.name)
        return self._scratch


class Trial:
    """Runs of one command, each ended by the same kind of fault.

    Args:
        folder: To work in; ``corpus`` is there.
        kind: Of output.
        fault: What ends the runs.
        moments: Where randomness comes from.
        log: Where the workers note what they computed.
    """

    def __init__(
        self, folder: Path, kind: str, fault: str, moments: random.Random, log: Path
    ) -> None:
        self._output, self._kind, self._fault = folder / "out" / kind, kind, fault
        self._moments, self._log, self._said = moments, log, folder / "said"
        command, *options = KINDS[kind]
        self._args = [command, str(folder / "corpus"), "-o", f"{folder}/out/{kind}"]
        self._args += [*options, "--workers", str(N_WORKERS), "-q"]
        self._kept = Kept(self._output, folder / "copy")
        self.tally = Tally()

    def run(self, n_times: int) -> Tally:
        """End so many runs, and see to it that every output is finished in the end."""
        expected, seconds, n_bytes = self._undisturbed()
        if self._fault == "disk full":
            self._make_disk()
        forked = itertools.cycle([True, False])
        while self.tally.ended < n_times:
            self._begin_anew()
            tries = 0
            while not self._one(next(forked), seconds, n_bytes, tries):
                tries += 1
            self.tally.finished += 1
            if self._fault == "disk full":
                self._resize(None)
            if not are_same(contents(self._output), expected):
                self.tally.faults.append("the output differs")
            left = [path.name for path in self._output.parent.rglob("*partial*")]
            if left:
                self.tally.faults.append(f"left behind: {left}")
        if self._fault == "disk full":
            subprocess.run(["umount", self._output.parent], check=True)
        return self.tally

    def _make_disk(self) -> None:
        """Let the output lie on a disk of its own."""
        shutil.rmtree(self._output.parent)
        self._output.parent.mkdir()
        disk = ["-t", "tmpfs", "-o", "size=1g", "melcli-kill", str(self._output.parent)]
        subprocess.run(["mount", *disk], check=True)

    def _resize(self, n_bytes: int | None) -> None:
        how = f"remount,size={n_bytes or 1 << 30}"
        subprocess.run(["mount", "-o", how, self._output.parent], check=True)

    def _begin_anew(self) -> None:
        self._output.parent.mkdir(exist_ok=True)
        for path in self._output.parent.iterdir():
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        self._log.write_bytes(b"")
        self._n_computed = self._n_committed = 0

    def _undisturbed(self) -> tuple[dict[str, bytes], float, int]:
        self._begin_anew()
        began = time.perf_counter()
        code = end_of(start(self._args, self._said, forked=True))
        seconds = time.perf_counter() - began
        if code != 1:  # a few are bad
            raise measure.BenchmarkError(f"ended with {code}: {self._said.read_text()}")
        found = contents(self._output)
        return found, seconds, sum(-(-len(data) // PAGE) * PAGE for data in found.values())

    def _one(self, forked: bool, seconds: float, n_bytes: int, tries: int) -> bool:  # noqa: FBT001
        """One run, and whether it came to its end."""
        if self._fault == "disk full":
            # A little more room each time; below half of what is needed nothing is begun.
            taken = shutil.disk_usage(self._output.parent).used
            self._resize(taken + int(n_bytes * self._moments.uniform(0.05, 0.6 + 0.2 * tries)))
        pid = start(self._args, self._said, forked=forked)
        if self._fault != "disk full":
            time.sleep(self._moments.uniform(0, self._moments.choice([0.3, 1.1]) * seconds))
            os.kill(pid, getattr(signal, self._fault))
        self._look(code := end_of(pid))
        return code == 1

    def _look(self, code: int) -> None:
        """See that the run ended as it should, and that what is committed is there."""
        n_computed = len(self._log.read_bytes().splitlines())
        told = self._said.read_text(errors="replace")
        # A signal that comes before the command has set up its own handling ends it like any.
        expected = {
            "SIGKILL": {-signal.SIGKILL},
            "SIGTERM": {143, -signal.SIGTERM},
            "disk full": {5},
        }
        if code not in {1, *expected[self._fault]}:
            self.tally.faults.append(f"ended with {code}: {told.strip()[-4000:]}")
        remedies = ("same command goes on", "run the same command again", "free some space")
        if "Traceback" in told or (code in {5, 143} and not any(r in told for r in remedies)):
            self.tally.faults.append(f"said {told.strip()[-200:]!r}")
        if code == 1:
            self._count(n_computed, N_INPUTS)
            return
        self.tally.ended += 1
        try:
            state, n_committed = self._kept.check()
        except Exception as error:  # noqa: BLE001, whatever it is, it is what we look for
            self.tally.faults.append(f"{type(error).__name__}: {error}")
            return
        self.tally.states[state] += 1
        if state in {"in the middle", "begun", "nothing yet"}:
            if n_committed < self._n_committed:
                self.tally.faults.append(f"{n_committed} kept, after {self._n_committed}")
            self._count(n_computed, n_committed)
            self._n_committed = n_committed

    def _count(self, n_computed: int, n_committed: int) -> None:
        """Count what this run computed and did not commit."""
        if n_committed < N_INPUTS:
            new = n_computed - self._n_computed - (n_committed - self._n_committed)
            self.tally.in_vain.append(new)
            if new > SEGMENT:
                self.tally.faults.append(f"{new} inputs computed in vain")
        self._n_computed = n_computed


def trials(
    n_times: int, seed: int, cases: Iterable[tuple[str, str]]
) -> Iterator[tuple[str, str, Tally]]:
    """Every kind of output with every kind of fault."""
    with tempfile.TemporaryDirectory(prefix="melcli-kill-") as name:
        folder = Path(name)
        make_corpus(folder / "corpus")
        log = folder / "log"
        prepare(log)
        for kind, fault in cases:
            moments = random.Random(f"{seed} {kind} {fault}")  # noqa: S311, no secret
            measure.tell(f"{kind}: {fault}")
            yield kind, fault, Trial(folder, kind, fault, moments, log).run(n_times)


def main() -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.kill", description=__doc__)
    parser.add_argument("--times", type=int, default=200, help="runs ended, of each kind")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--output", choices=KINDS, help="only this kind")
    parser.add_argument("--fault", choices=FAULTS, help="only this one")
    parser.add_argument("--json", type=Path, help="write what was found")
    args = parser.parse_args()
    kinds = [args.output] if args.output else list(KINDS)
    faults = [args.fault] if args.fault else list(FAULTS)
    if "disk full" in faults and os.geteuid() != 0:
        measure.tell("only root can make a disk that is full: left out")
        faults.remove("disk full")
    import torch  # noqa: F401, loaded before forking

    began = time.monotonic()
    found = list(trials(args.times, args.seed, itertools.product(kinds, faults)))
    columns = ["output", "ended by", "runs ended", "outputs finished", "states found"]
    columns += [f"computed in vain, median / most (a segment: {SEGMENT})"]
    print(figures.table([*columns, "faults"], (tally.row(kind, by) for kind, by, tally in found)))
    print(f"\n{time.monotonic() - began:.0f} s")
    if args.json:
        listed = [vars(tally) | {"output": kind, "fault": by} for kind, by, tally in found]
        args.json.write_text(json.dumps(listed))
    return 1 if any(tally.faults for _, _, tally in found) else 0


if __name__ == "__main__":
    sys.exit(main())
