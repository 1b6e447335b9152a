"""Damaged recordings through the whole read path: each is a failure with its cause, or a mel.

    python -m benchmarks.fuzz --files 120000 --seed 1 --keep found
    python -m benchmarks.fuzz --seed 1 --only 4711      one of them again

What counts as a fault of melcli: an end of the process, a recording that takes too long, any
exception but an AudioError, a waveform that is not finite, samples that depend on the pieces they
are read in, and memory that grows. The recordings that did it are kept.

Number ``n`` is made from the seed and ``n`` alone (:mod:`benchmarks.fuzz_seeds` says from what).
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import dataclasses
import faulthandler
import gc
import io
import json
import os
import platform
import random
import re
import resource
import selectors
import signal
import statistics
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter, deque
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

import soundfile
import torch

from benchmarks import figures
from benchmarks.fuzz_seeds import resealed, seeds
from melcli import presets
from melcli.config import OutputConfig
from melcli.dsp.frontend import FrontEnd
from melcli.errors import AudioError
from melcli.pipeline import waveforms
from melcli.pipeline.batching import Batch
from melcli.pipeline.device import set_for_a_run
from melcli.pipeline.engine import Engine
from melcli.pipeline.plan import PlannedInput, Selection, make_plan
from melcli.pipeline.stopwatch import Stopwatch
from melcli.pipeline.waveforms import WaveformReader
from melcli.pipeline.worker import Worker
from melcli.store.records import Done

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from melcli.config.run import LongRule

FRONT_ENDS: Final = ("whisper-80", "hifigan-22k", "librosa")
PIECES: Final = (waveforms.PIECE_BYTES, 1 << 16, 1 << 12, 1000)
"""Bytes read at once; the first is what melcli reads."""
MEL_SHARE, STREAM_SHARE = 0.25, 0.125
"""How many go on to a mel, in one piece and in several; how many are read from a stream first."""
MOST_SAMPLES: Final = 10_000_000
"""Longer ones become no mel, which would only take time."""
IMPLAUSIBLE: Final = 2000
"""Values decoded from a byte of the file. A silent FLAC has 700."""
LOOK_EVERY: Final = 100
"""After so many files a worker looks at its memory."""
ROOM_BYTES: Final = 1 << 30
"""Memory that a worker may ask for beyond what it began with: a size that is believed fails."""
GROWTH_BYTES: Final = 32 << 20
"""Of a worker's memory, from its first tenth to its end: more is a leak."""
TOO_LONG: Final = "took too long"
MIB: Final = 1 << 20


# Damage.

RESEALED_SHARE: Final = 0.6
"""Of damaged Ogg, given right checksums: no decoder would see the others."""

_SIZES: Final = (0, 1, 2, 3, 7, 255, 1000, 1024)
_HEADER_BYTES: Final = 1024


def mutant(seed: int, number: int, originals: dict[str, bytes]) -> tuple[str, bytes]:
    """The name of the original, and what became of it.

    Args:
        seed: Of the run.
        number: Of the recording.
        originals: All there are, by name.
    """
    rng = random.Random(f"{seed}:{number}")  # noqa: S311  (it keeps no secret)
    names = list(originals)
    name = rng.choice(names)
    data = bytearray(originals[name])
    for _ in range(rng.choice((1, 1, 1, 2, 3, 5, 12))):
        rng.choice(_DAMAGES)(rng, data, originals[rng.choice(names)])
    if data.startswith(b"OggS") and rng.random() < RESEALED_SHARE:
        return name, resealed(bytes(data))
    return name, bytes(data)


def _place(rng: random.Random, data: bytearray) -> int:
    """An offset: in the header more often than anywhere else."""
    return rng.randrange(max(1, min(len(data), rng.choice((64, 256, len(data), len(data))))))


def _flip_bits(rng: random.Random, data: bytearray, _other: bytes) -> None:
    for _ in range(rng.choice((1, 1, 1, 4, 20))):
        if data:
            data[_place(rng, data)] ^= 1 << rng.randrange(8)


def _set_bytes(rng: random.Random, data: bytearray, _other: bytes) -> None:
    at, n_bytes = _place(rng, data), rng.choice((1, 1, 2, 4, 16, 300))
    value = rng.choice((0, 0, 255, 255, 0x7F, 0x80, rng.randrange(256)))
    n_bytes = len(data[at : at + n_bytes])
    data[at : at + n_bytes] = bytes([value]) * n_bytes


def _cut(rng: random.Random, data: bytearray, _other: bytes) -> None:
    """The end is gone, or a stretch of the middle, or the beginning."""
    at = _place(rng, data)
    kind = rng.randrange(4)
    if kind < 2:
        del data[at:]
    elif kind == 2:
        del data[at : at + rng.choice((1, 2, 4, 27, 500))]
    else:
        del data[: rng.choice((1, 2, 4, at))]


def _splice(rng: random.Random, data: bytearray, other: bytes) -> None:
    """The beginning of one, the end of another."""
    data[_place(rng, data) :] = other[rng.randrange(len(other)) :]


def _insert(rng: random.Random, data: bytearray, other: bytes) -> None:
    """A stretch of another recording, or of nothing."""
    at, begin = _place(rng, data), rng.randrange(len(other))
    stretch = other[begin : begin + rng.choice((1, 4, 100, 3000))]
    data[at:at] = rng.choice((stretch, bytes(len(stretch))))


def _repeat(rng: random.Random, data: bytearray, _other: bytes) -> None:
    at, begin = _place(rng, data), _place(rng, data)
    stretch = bytes(data[begin : begin + rng.choice((1, 4, 100, 3000))])
    data[at:at] = stretch * rng.choice((1, 1, 3, 10))


def _lie(rng: random.Random, data: bytearray, _other: bytes) -> None:
    """A field of the header says something absurd, or the truth but for a little."""
    width = rng.choice((2, 4, 4, 8))
    order: Literal["little", "big"] = rng.choice(("little", "big"))
    at = rng.randrange(max(1, min(len(data), _HEADER_BYTES)))
    largest = 2 ** (8 * width) - 1
    said = int.from_bytes(data[at : at + width], order)
    wrong = (
        *(largest, largest - 1, largest // 2, largest // 2 + 1, 0x7FFF_F000, 2**31, 2**40),
        *(said + 1, said - 1, 2 * said, said // 2, said ^ 0xFF, rng.randrange(largest)),
        *_SIZES,
    )
    value = rng.choice(wrong) % (largest + 1)
    data[at : at + width] = value.to_bytes(width, order)


_DAMAGES: Final[tuple[Callable[[random.Random, bytearray, bytes], None], ...]] = (
    _flip_bits,
    _set_bytes,
    _cut,
    _splice,
    _insert,
    _repeat,
    _lie,
    _lie,
)


# The read path.


class FaultError(Exception):
    """melcli did what it never may."""


class ReadPath:
    """What melcli does with a recording, from its bytes to its mel.

    Args:
        folder: For the rows of long recordings.
    """

    def __init__(self, folder: Path) -> None:
        configs = [presets.load(name).config for name in FRONT_ENDS]
        configs.append(configs[0].updated({"wave.channels": "each"}))
        self._engines = [Engine(FrontEnd(config)) for config in configs]
        self._folder = folder

    def __call__(self, path: Path, rng: random.Random) -> int:
        """Read a file as melcli does, and let a share of them become mels; how many values.

        Raises:
            AudioError: As it should where a recording cannot be used.
            FaultError: It did what it may not.
        """
        engine, piece_bytes = rng.choice(self._engines), rng.choice(PIECES)
        from_stream, becomes_mel = rng.random() < STREAM_SHARE, rng.random() < MEL_SHARE
        failure: AudioError | None = None
        n_values, n_made = 0, 0
        try:
            n_values, n_made = _read(path, engine, piece_bytes, from_stream=from_stream)
        except AudioError as error:
            failure = error
        if becomes_mel and n_made <= MOST_SAMPLES:
            long: LongRule = rng.choice(("error", "cut", "chunks"))
            whole = self._compute(path, engine, PIECES[0], long)
            # From a stream libsndfile may fail for another reason: it seeks by other means.
            if failure is not None and whole != failure.cause and not from_stream:
                raise FaultError(f"it failed: {failure.cause}; and then: {whole}")
            if self._compute(path, engine, rng.choice(PIECES[1:]), long) != whole:
                raise FaultError("in other pieces it becomes something else")
            if isinstance(whole, str) and failure is None:
                failure = AudioError(whole, str(path), "as the worker says")
        if failure is not None:
            raise failure
        return n_values

    def _compute(
        self, path: Path, engine: Engine, piece_bytes: int, long: LongRule
    ) -> list[bytes] | str:
        """The rows of each item, or why there are none."""
        waveforms.PIECE_BYTES = piece_bytes
        plan = make_plan(Selection(paths=(path,)))
        worker = Worker(plan, engine, OutputConfig(long=long), self._folder, reads_ahead=False)
        [result] = worker(Batch((0,), 0, ends_segment=True)).results
        outcome = result.outcome
        if isinstance(outcome, Done):
            return [b"".join(step.tobytes() for step in rows) for rows in result.rows]
        if outcome.cause == "does not fit into memory":
            raise FaultError("it asked for more memory than there is")
        return outcome.cause


def _read(path: Path, engine: Engine, piece_bytes: int, *, from_stream: bool) -> tuple[int, int]:
    """Read a file to its end; how many values it has, and how many samples its waveforms."""
    waveforms.PIECE_BYTES = piece_bytes
    source = io.BytesIO(path.read_bytes()) if from_stream else os.fsencode(path)
    config = engine.frontend.config
    n_made, fixed = 0, config.wave.fix_samples  # to which all are filled with silence
    planned = PlannedInput(str(path), None, None, None)
    with WaveformReader(source, planned, config, Stopwatch()) as reader:
        is_last = False
        while not is_last:
            read, is_last = reader.read()
            n_made += sum(max(len(waveform), fixed) for waveform in read)
        if not reader.n_samples:
            raise FaultError("it was read, and holds nothing")
        return reader.n_samples * reader.n_channels, n_made


# Workers.


@dataclass(frozen=True)
class Job:
    """What all workers share."""

    seed: int
    files: int
    workers: int
    seconds: float
    originals: dict[str, bytes]
    read_path: Callable[[Path, random.Random], int]


@dataclass(frozen=True)
class Outcome:
    """What became of one file.

    Args:
        number: Of the file.
        name: Of the original.
        verdict: ``"read"``, ``"failed"`` or ``"fault"``.
        cause: Why it failed; with a fault, its traceback.
        seconds: That it took.
        n_bytes: Of the file.
        n_values: Decoded.
        resident: Bytes of the worker's memory afterwards; 0 where nobody looked.
        peak: The most that it ever was.
    """

    number: int
    name: str
    verdict: str
    cause: str
    seconds: float
    n_bytes: int
    n_values: int
    resident: int
    peak: int


def try_one(job: Job, number: int, path: Path) -> Outcome:
    """Make a file, and read it."""
    looks = number // job.workers % LOOK_EVERY == 0
    name, data = mutant(job.seed, number, job.originals)
    path.write_bytes(data)
    verdict, cause, n_values = "read", "", 0
    began = time.perf_counter()
    try:
        rng = random.Random(f"{job.seed}:{number}:read")  # noqa: S311
        n_values = job.read_path(path, rng)
    except AudioError as error:
        verdict, cause = "failed", error.cause
        if not error.cause or not error.remedy:
            verdict, cause = "fault", f"an error without cause or remedy: {error!r}"
    except Exception:  # noqa: BLE001  (whatever it is, it is what is looked for)
        verdict, cause = "fault", traceback.format_exc()
    return Outcome(
        number,
        name,
        verdict,
        cause,
        time.perf_counter() - began,
        len(data),
        n_values,
        _resident() if looks else 0,
        resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
    )


def _resident() -> int:
    """Bytes of memory, without what was freed already and may be used again."""
    gc.collect()
    with contextlib.suppress(AttributeError):  # glibc's
        ctypes.CDLL(None).malloc_trim(0)
    pages = int(Path("/proc/self/statm").read_bytes().split()[1])
    return pages * resource.getpagesize()


def _work(job: Job, first: int, folder: Path, answers: int) -> None:
    """Try every file that falls to one worker, and say before and after each which it is."""
    nowhere = os.open(os.devnull, os.O_RDWR)
    for descriptor in (1, 2):  # decoders print
        os.dup2(nowhere, descriptor)
    os.chdir(folder)
    data_bytes = int(Path("/proc/self/statm").read_bytes().split()[5]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_DATA, (data_bytes + ROOM_BYTES,) * 2)
    path = folder / f"{first % job.workers}.audio"
    with (folder / f"{first % job.workers}.trace").open("w") as trace:
        faulthandler.enable(trace)
        for number in range(first, job.files, job.workers):
            os.write(answers, b"%d\n" % number)
            # A thread in C: it ends the process even where a decoder never comes back.
            faulthandler.dump_traceback_later(job.seconds, exit=True, file=trace)
            outcome = try_one(job, number, path)
            faulthandler.cancel_dump_traceback_later()
            os.write(answers, json.dumps(dataclasses.asdict(outcome)).encode() + b"\n")


class Hand:
    """A worker process, as the one that started it sees it."""

    def __init__(self, job: Job, first: int, folder: Path) -> None:
        self.first = first
        self.trace = folder / f"{first % job.workers}.trace"
        self.begun: int | None = None
        self._left = b""
        self.answers, theirs = os.pipe()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # of threads, which it is without
            self._pid = os.fork()
        if self._pid == 0:
            status = 70
            with contextlib.suppress(BaseException):
                _work(job, first, folder, theirs)
                status = 0
            os._exit(status)
        os.close(theirs)

    def outcomes(self) -> Iterator[Outcome] | None:
        """What it has said since the last time; None if it has ended."""
        piece = os.read(self.answers, 1 << 16)
        if not piece:
            return None
        *lines, self._left = (self._left + piece).split(b"\n")
        return self._parsed(lines)

    def _parsed(self, lines: list[bytes]) -> Iterator[Outcome]:
        for line in lines:
            if line.startswith(b"{"):
                self.begun = None
                yield Outcome(**json.loads(line))
            else:
                self.begun = int(line)

    def end(self) -> str:
        """Wait for its end; how it was: an empty string if nothing was wrong."""
        os.close(self.answers)
        status = os.waitstatus_to_exitcode(os.waitpid(self._pid, 0)[1])
        if status < 0:
            return f"killed by {signal.Signals(-status).name}"
        return {0: "", 1: TOO_LONG}.get(status, f"exit status {status}")


# What came of it.


@dataclass
class Tally:
    """The books of a run.

    Args:
        verdicts: How many of each.
        causes: How many failed of each group of causes.
        faults: Number of the file and what it did.
        implausible: Files that gave more values than their size makes likely.
        slowest: The file that took longest.
        resident: Of each worker, its memory whenever it looked.
        peak: The most memory of any worker.
    """

    verdicts: Counter[str] = field(default_factory=Counter)
    causes: Counter[str] = field(default_factory=Counter)
    faults: list[tuple[int, str, str]] = field(default_factory=list)
    implausible: list[Outcome] = field(default_factory=list)
    slowest: Outcome | None = None
    resident: dict[int, list[int]] = field(default_factory=dict)
    peak: int = 0

    def add(self, outcome: Outcome, worker: int) -> None:
        """Count a file."""
        self.verdicts[outcome.verdict] += 1
        if outcome.verdict == "failed":
            self.causes[group(outcome.cause)] += 1
        if outcome.verdict == "fault":
            self.faults.append((outcome.number, outcome.name, outcome.cause))
        if outcome.n_values > max(1_000_000, IMPLAUSIBLE * outcome.n_bytes):
            self.implausible.append(outcome)
        if self.slowest is None or outcome.seconds > self.slowest.seconds:
            self.slowest = outcome
        if outcome.resident:
            self.resident.setdefault(worker, []).append(outcome.resident)
        self.peak = max(self.peak, outcome.peak)

    @property
    def growth(self) -> int:
        """Of a worker's memory after its first tenth, the most of any worker."""
        return max((grown(sizes) for sizes in self.resident.values()), default=0)


def grown(sizes: Sequence[int]) -> int:
    """By how much the last of these lie above those at a tenth: medians, so that one is no matter.

    >>> grown([50, 100, 100, 100, 100, 100, 100, 100, 100, 130])
    30
    """
    few = max(1, len(sizes) // 50)
    at = len(sizes) // 10
    return int(statistics.median(sizes[-few:]) - statistics.median(sizes[at : at + few]))


def group(cause: str) -> str:
    """A cause without what differs from file to file.

    >>> group("is cut short: the header promises 0.08 s, the file holds 0.07 s")
    'is cut short: the header promises N s, the file holds N s'
    """
    return re.sub(r"-?\d[\d,.]*(e[+-]?\d+)?", "N", cause)


def run(job: Job, folder: Path, tell: Callable[[str], None]) -> Tally:
    """Try all files, with a new worker for each that dies."""
    tally = Tally()
    selector = selectors.DefaultSelector()
    waiting = deque(range(job.workers))
    n_told, n_alive = 0, 0
    while waiting or n_alive:
        while waiting:
            hand = Hand(job, waiting.popleft(), folder)
            selector.register(hand.answers, selectors.EVENT_READ, hand)
            n_alive += 1
        for key, _ in selector.select():
            hand = key.data
            outcomes = hand.outcomes()
            if outcomes is not None:
                for outcome in outcomes:
                    tally.add(outcome, hand.first)
                continue
            selector.unregister(hand.answers)
            n_alive -= 1
            how = hand.end()
            if how and hand.begun is None:
                raise RuntimeError(f"a worker ended between two files: {how}")
            if hand.begun is not None:
                name = mutant(job.seed, hand.begun, job.originals)[0]
                tally.verdicts["hang" if how == TOO_LONG else "death"] += 1
                cause = f"{how or 'ended'}\n{hand.trace.read_text(errors='replace')}"
                tally.faults.append((hand.begun, name, cause))
                if hand.begun + job.workers < job.files:
                    waiting.append(hand.begun + job.workers)
        if sum(tally.verdicts.values()) // 10_000 > n_told:
            n_told += 1
            tell(f"{sum(tally.verdicts.values()):,} files, {len(tally.faults)} faults")
    return tally


def keep(job: Job, faults: Iterable[tuple[int, str, str]], folder: Path) -> None:
    """Write the files that did harm, each beside what it did."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, name, cause in faults:
        stem = folder / f"{job.seed}-{number}-{re.sub(r'[^a-z0-9]+', '-', name)}"
        stem.with_suffix(".audio").write_bytes(mutant(job.seed, number, job.originals)[1])
        stem.with_suffix(".txt").write_text(cause)


def report(job: Job, tally: Tally, seconds: float) -> str:
    """What is printed at the end."""
    slowest = tally.slowest
    rows = [[verdict, f"{count:,}"] for verdict, count in tally.verdicts.most_common()]
    rows += [
        ["files", f"{sum(tally.verdicts.values()):,}"],
        ["originals", f"{len(job.originals):,}"],
        ["seconds, of all workers together", f"{seconds:,.0f}"],
        ["implausibly many values", f"{len(tally.implausible):,}"],
        ["peak memory of a worker", f"{tally.peak / MIB:,.0f} MiB"],
        ["growth after a tenth", f"{tally.growth / MIB:+,.1f} MiB"],
    ]
    if slowest is not None:
        told = f"{slowest.seconds:.2f} s (number {slowest.number}, {slowest.name})"
        rows.append(["slowest file", told])
    causes = [[cause, f"{count:,}"] for cause, count in tally.causes.most_common()]
    parts = [_versions(), figures.table(["", f"seed {job.seed}"], rows)]
    parts.append(figures.table(["it fails because it", "files"], causes))
    parts += [f"fault: number {n} ({name}): {_last(cause)}" for n, name, cause in tally.faults]
    return "\n\n".join(parts)


def _last(cause: str) -> str:
    lines = cause.strip().splitlines() or [""]
    return lines[-1] if lines[0].startswith("Traceback") else lines[0]


def _versions() -> str:
    packages = ("melcli", "soundfile", "numpy", "torch", "soxr")
    told = [f"{name} {metadata.version(name)}" for name in packages]
    libsndfile = f"libsndfile {soundfile.__libsndfile_version__}"
    return ", ".join([f"Python {platform.python_version()}", libsndfile, *told])


def main() -> None:
    """Read the command line, and exit with 1 if melcli has a fault."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.fuzz",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--files", type=int, default=120_000, help="how many")
    parser.add_argument("--seed", type=int, default=1, help="of all that is random")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--limit", type=float, default=20.0, help="seconds for one file")
    parser.add_argument("--keep", type=Path, help="a folder for the files that did harm")
    parser.add_argument("--only", type=int, help="this number alone, with its traceback")
    asked = parser.parse_args()
    with set_for_a_run(), torch.inference_mode(), tempfile.TemporaryDirectory() as scratch:
        job = Job(
            asked.seed, asked.files, asked.workers, asked.limit, seeds(), ReadPath(Path(scratch))
        )
        if asked.only is not None:
            path = Path(scratch) / "only.audio"
            outcome = try_one(job, asked.only, path)
            if asked.keep is not None:
                keep(job, [(outcome.number, outcome.name, outcome.cause)], asked.keep)
            print(f"{outcome.name}: {outcome.verdict} {outcome.cause}")
            sys.exit(outcome.verdict == "fault")
        began = time.perf_counter()
        tally = run(job, Path(scratch), lambda line: print(line, file=sys.stderr, flush=True))
        print(report(job, tally, time.perf_counter() - began))
        if asked.keep is not None:
            keep(job, tally.faults, asked.keep)
        sys.exit(bool(tally.faults) or tally.growth > GROWTH_BYTES)


if __name__ == "__main__":
    main()
