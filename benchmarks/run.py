"""All benchmarks, as tables of ratios from one run.

    python -m benchmarks.run                a first look, about three minutes
    python -m benchmarks.run --full         everything, about a quarter of an hour
    python -m benchmarks.run --only kernel
    python -m benchmarks.run --audio /my/recordings --json found.json

Corpora are made the first time, which takes longer; they stay in benchmarks/corpora.
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import os
import platform
import shlex
import sys
import tempfile
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from benchmarks import corpora, figures, measure
from benchmarks.corpora import CLIPS, FLAC, STEREO, WAV, Kind, Sources
from benchmarks.costs import (
    Costs,
    costs_table,
    measure_dry_run,
    measure_long,
    measure_start,
)
from benchmarks.figures import Spread
from benchmarks.race import FEW_FILES, N_CORES, ONE_THREAD, Race, floor_table, race, speeds_table

if TYPE_CHECKING:
    from collections.abc import Iterator

PACKAGES: Final = (
    "melcli", "torch", "numpy", "h5py", "soundfile", "soxr",
    "librosa", "lhotse", "nnaudio", "kaldi-native-fbank",
)  # fmt: skip


@dataclass(frozen=True)
class Course:
    """A corpus to race on.

    Args:
        kind: Of clip.
        n_files: How many.
        rounds: How often everyone runs.
        peers: How many times their usual share of the files the peers are given: more where
            decoding takes most of the time, so that all are alike. 0: only melcli runs.
    """

    kind: Kind
    n_files: int
    rounds: int
    peers: float


@dataclass(frozen=True)
class Size:
    """How much is measured.

    Args:
        courses: Kinds of clips.
        rounds: Of everything else.
        dry_run_files: Looked at by ``--dry-run``.
        long_hours: Of the one long file; 0 for none.
    """

    courses: tuple[Course, ...]
    rounds: int
    dry_run_files: int
    long_hours: float

    def n_files(self, kind: Kind) -> int:
        """How many clips of a kind there are to be; a few where none is raced on."""
        return max([course.n_files for course in self.courses if course.kind is kind] or [100])


QUICK: Final = Size(
    courses=(Course(WAV, 1600, 3, 1), Course(FLAC, 800, 3, 0), Course(CLIPS, 8000, 3, 0)),
    rounds=3,
    dry_run_files=10_000,
    long_hours=0,
)
FULL: Final = Size(
    courses=(
        Course(WAV, 3200, 5, 1),
        Course(FLAC, 1600, 3, 1),
        Course(CLIPS, 20_000, 3, 1),
        Course(STEREO, 400, 3, 4),
    ),
    rounds=5,
    dry_run_files=100_000,
    long_hours=10,
)
TRIAL: Final = Size(
    courses=(Course(WAV, 200, 1, 1), Course(CLIPS, 1000, 1, 0), Course(STEREO, 24, 1, 8)),
    rounds=1,
    dry_run_files=1000,
    long_hours=0.1,
)

METHOD: Final = f"""\
Figures are medians of several rounds (with the lowest and the highest); all contenders run in
every round. Steady state: the seconds for many files less the seconds for {FEW_FILES} of them, so
without start-up. Files are in the page cache. melcli syncs what it writes; the peers do not.
"""
FLOOR: Final = f"""\
The bare work of an hour of audio, and melcli's steady state. `ideal`: the processor seconds of
the steps, each done bare on one thread, over {N_CORES} cores. `threads`: decoding and the mel, one
after the other, each on {N_CORES} threads.
"""
KINDS: Final = {kind.name: kind for kind in (WAV, FLAC, CLIPS, STEREO)}
SECTIONS: Final = (*KINDS, "kernel", "costs")


def main() -> None:
    """Measure what was asked for, and print it."""
    parser = _parser()
    asked = parser.parse_args()
    size = TRIAL if asked.trial else FULL if asked.full else QUICK
    for name in asked.only or ():
        if name in KINDS and KINDS[name] not in [course.kind for course in size.courses]:
            parser.error(f"{name} is measured with --full only")
    sources = corpora.find_sources([folder.resolve() for folder in asked.audio])
    asked.corpora = asked.corpora.resolve()  # commands run in the checkout
    asked.corpora.mkdir(parents=True, exist_ok=True)
    bench = Bench(size, sources, asked.corpora, frozenset(asked.only or SECTIONS))
    with tempfile.TemporaryDirectory(dir=asked.corpora) as scratch:
        for text in bench.run(Path(scratch)):
            sys.stdout.write(f"{text}\n\n")
            sys.stdout.flush()
    if asked.json is not None:
        asked.json.write_text(json.dumps(bench.found, indent=1) + "\n")


class Bench:
    """One run of all that was asked for.

    Attributes:
        found: All figures of all rounds, for ``--json``.
    """

    def __init__(self, size: Size, sources: Sources, cache: Path, only: frozenset[str]) -> None:
        self.size, self.sources, self.cache, self.only = size, sources, cache, only
        self.found: dict[str, Any] = {}

    def run(self, scratch: Path) -> Iterator[str]:
        """The tables, each as soon as it is measured."""
        self.found["machine"] = machine()
        told = [*self.found["machine"].values(), f"sound: {self.sources.about}"]
        yield "\n".join([*told, "", METHOD.rstrip()])
        if "kernel" in self.only:
            yield self._kernel(scratch)
        races = []
        for course in self.size.courses:
            if course.kind.name in self.only:
                corpus = self._corpus(course.kind)
                run = race(corpus, course.rounds, scratch, peers=course.peers)
                races.append(run)
                yield f"{course.kind.title}, to mels on disk\n\n{speeds_table(run)}"
        self.found["races"] = [run.to_record() for run in races]
        if races:
            yield f"{FLOOR}\n{floor_table(races)}"
        if "costs" in self.only:
            yield self._costs(races, scratch)

    def _corpus(self, kind: Kind) -> corpora.Corpus:
        return corpora.make(self.cache, self.sources, kind, self.size.n_files(kind))

    def _kernel(self, scratch: Path) -> str:
        clips = self._corpus(WAV)
        measure.warm(clips.files)
        listed = scratch / "files"
        listed.write_text("".join(f"{path}\n" for path in clips.files))
        measure.tell("the mel alone")
        command = [sys.executable, "-m", "benchmarks.kernel", str(listed)]
        tables = []
        for name, options in (
            ("as melcli's command sets it", []), ("by default", ["--default-allocator"]),
        ):  # fmt: skip
            run = measure.run([*command, *options], environment=ONE_THREAD)
            self.found[f"kernel, allocator {name}"] = found = json.loads(run.output)
            title = f"The mel alone, on one core, 10 s clips, glibc's allocator {name}"
            tables.append(f"{title}\n\n{kernel_table(found)}")
        return "\n\n".join(tables)

    def _costs(self, races: list[Race], scratch: Path) -> str:
        costs = Costs()
        rounds = self.size.rounds
        clips = self._corpus(CLIPS)
        measure_start(costs, self._corpus(WAV).files[0], rounds, scratch)
        n_links = self.size.dry_run_files
        links = corpora.make_links(self.cache, self.sources, clips, n_links)
        measure_dry_run(costs, links, n_links, min(rounds, 3))
        if self.size.long_hours:
            hours = self.size.long_hours
            path = corpora.make_long(self.cache, self.sources, self._corpus(STEREO), hours)
            measure_long(costs, path, hours, scratch)
        self.found["costs"] = costs.to_record()
        return f"Start, memory, --dry-run\n\n{costs_table(costs, races)}"


def kernel_table(found: dict[str, Any]) -> str:
    """The speed of each on one core, and melcli as a multiple of it."""
    rounds: dict[str, list[float]] = found["rounds"]
    rows = []
    for name, seconds in rounds.items():
        speed = Spread.of(found["audio_seconds"] / taken for taken in seconds)
        faster = figures.ratios(seconds, rounds["melcli"]).text(".2f")
        rows.append([name, speed.text(",.0f"), "" if name == "melcli" else f"{faster} x as fast"])
    return figures.table(["", "x real time", "melcli is"], rows)


def machine() -> dict[str, str]:
    """What the figures were measured on, and with what."""
    return {
        "command": shlex.join(["python", "-m", "benchmarks.run", *sys.argv[1:]]),
        "date": f"{dt.datetime.now(dt.UTC):%Y-%m-%d %H:%M} UTC",
        "machine": (
            f"{_cpu_model()}, {N_CORES} cores, "
            f"{measure.memory_bytes() / (1 << 30):.0f} GiB, {platform.system()}; "
            f"load before it began {os.getloadavg()[0]:.1f}"
        ),
        "versions": f"Python {platform.python_version()}, " + ", ".join(_versions()),
    }


def _cpu_model() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def _versions() -> Iterator[str]:
    for package in PACKAGES:
        try:
            yield f"{package} {metadata.version(package)}"
        except metadata.PackageNotFoundError:
            yield f"no {package}"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.run",
        description="melcli and its peers on the same files, as tables of ratios.",
    )
    how_much = parser.add_mutually_exclusive_group()
    how_much.add_argument("--full", action="store_true", help="everything, a quarter of an hour")
    how_much.add_argument(
        "--trial", action="store_true", help="a minute or two, to see that it works: no figures"
    )
    parser.add_argument("--only", nargs="+", choices=SECTIONS, help="these tables")
    parser.add_argument(
        "--audio", nargs="+", type=Path, default=[], metavar="FOLDER",
        help="make the corpora from these recordings, not from Debian's packages of sounds",
    )  # fmt: skip
    parser.add_argument(
        "--corpora", type=Path, default=measure.ROOT / "benchmarks" / "corpora", metavar="FOLDER",
        help="where corpora are made and kept",
    )  # fmt: skip
    parser.add_argument("--json", type=Path, metavar="FILE", help="all figures of all rounds")
    return parser


if __name__ == "__main__":
    main()
