"""melcli and its peers from recordings to mels on disk, each a command, round by round.

One rule for all: a command is run on many files and on a few, and what the few take is taken off
what the many take. That leaves the steady state, without start-up, imports and ending. Slow
contenders get fewer files, from the start of the same corpus. All files are in the page cache, and
every command starts with nothing left to be written by another.
"""

from __future__ import annotations

import importlib.util
import json
import os
import statistics
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from benchmarks import figures, measure
from benchmarks.figures import Spread
from benchmarks.measure import BenchmarkError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.corpora import Corpus
    from benchmarks.measure import Run

CONFIG: Final = measure.ROOT / "benchmarks" / "front-end.toml"
N_CORES: Final = len(os.sched_getaffinity(0))
FEW_FILES: Final = 2 * N_CORES
"""Two for each worker: start-up includes starting them."""

# numpy's and torch's own threads, which in a pool of processes only get in each other's way.
ONE_THREAD: Final = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")

STEPS: Final = ("decode", "resample", "mel", "write")
"""Of the bare work."""

MEL_BYTES_A_SECOND: Final = 80 * 4 * 16_000 / 256


@dataclass(frozen=True)
class Contender:
    """A way from recordings to mels.

    Args:
        name: In the table.
        writes: What it leaves on disk.
        script: Of `benchmarks.contenders`; empty for melcli itself.
        needs: The package without which it is left out.
        share: The part of a corpus of short files that keeps it busy about as long as all of it
            does melcli.
        environment: Variables that its users would set.
    """

    name: str
    writes: str
    script: str = ""
    needs: str = "melcli"
    share: float = 1.0
    environment: dict[str, str] = field(default_factory=dict)

    def is_installed(self) -> bool:
        """Tell whether it can run here."""
        return importlib.util.find_spec(self.needs) is not None

    def command(self, listed: Path, root: Path, out: Path) -> list[str]:
        """From recordings under ``root``, listed in a file, to mels in a folder."""
        python = [sys.executable, "-m"]
        if self.script:
            return [*python, f"benchmarks.contenders.{self.script}", str(listed), str(out)]
        return [
            *python, "melcli", "extract", "--files-from", str(listed), "--root", str(root),
            "-q", "-o", str(out / "mels.h5"), "--config", str(CONFIG), "--device", "cpu",
        ]  # fmt: skip


MELCLI: Final = Contender("melcli", "one packed HDF5, synced")
BARE: Final = Contender("bare", "rows", "bare", share=0.25)
PEERS: Final = (
    Contender("torch.stft, DataLoader", "HDF5, a dataset a file", "torch_loader", share=0.5),
    Contender("kaldi-native-fbank, pool", ".npy a file", "kaldi_pool", "kaldi_native_fbank",
              share=0.25, environment=ONE_THREAD),
    Contender("nnAudio, DataLoader", "HDF5, a dataset a file", "nnaudio_loader", "nnAudio",
              share=0.25),
    Contender("lhotse, jobs", ".npy a file", "lhotse_features", "lhotse", share=0.25),
    Contender("librosa, pool", ".npy a file", "librosa_pool", "librosa", share=0.5,
              environment=ONE_THREAD),
)  # fmt: skip


@dataclass
class Laps:
    """What one contender did with one corpus, round by round.

    Args:
        contender: Who.
        corpus: The files it was given.
        few: Runs on the first few of them.
        many: Runs on all.
        fault: Why it has no figures.
    """

    contender: Contender
    corpus: Corpus
    few: list[Run] = field(default_factory=list)
    many: list[Run] = field(default_factory=list)
    fault: str | None = None

    @property
    def startup(self) -> float:
        """The median over all rounds: one start-up says little of another."""
        return statistics.median(run.seconds for run in self.few)

    @property
    def speeds(self) -> list[float]:
        """Seconds of audio a second in each round, steady state."""
        audio = self.corpus.seconds - self.corpus.first(FEW_FILES).seconds
        # Too few files, lost in the noise of starting, give an absurd speed rather than none.
        return [audio / max(run.seconds - self.startup, 0.01) for run in self.many]

    def to_record(self) -> dict[str, Any]:
        """For ``--json``: plain values only."""
        return {
            "name": self.contender.name,
            "files": len(self.corpus.files),
            "audio_seconds": self.corpus.seconds,
            "few_files": FEW_FILES,
            "few": [run.to_record() for run in self.few],
            "many": [run.to_record() for run in self.many],
            "fault": self.fault,
        }


@dataclass
class Bare:
    """The bare work on a corpus, round by round.

    Args:
        corpus: The files it was done on.
        cpu: Processor seconds of each step, on one thread.
        clock: Seconds of decoding and of the mel, each alone on a thread a core.
    """

    corpus: Corpus
    cpu: list[dict[str, float]] = field(default_factory=list)
    clock: list[dict[str, float]] = field(default_factory=list)

    def an_hour(self, rounds: list[dict[str, float]], *steps: str) -> list[float]:
        """Seconds that steps take for one hour of audio, in each round."""
        hours = self.corpus.seconds / 3600
        return [sum(found[step] for step in steps) / hours for found in rounds]


@dataclass(frozen=True)
class Race:
    """All that was measured on one corpus."""

    ours: Laps
    peers: list[Laps]
    bare: Bare

    def to_record(self) -> dict[str, Any]:
        """For ``--json``: plain values only."""
        return {
            "corpus": self.ours.corpus.kind.name,
            "contenders": [laps.to_record() for laps in (self.ours, *self.peers)],
            "bare": {
                "audio_seconds": self.bare.corpus.seconds,
                "cpu": self.bare.cpu,
                "clock": self.bare.clock,
            },
        }


def race(corpus: Corpus, rounds: int, scratch: Path, *, peers: float) -> Race:
    """Run every contender on a corpus, several rounds, each round in another order.

    Args:
        corpus: What they are given; slow ones get only the first of it.
        rounds: How many.
        scratch: A folder on the disk to write to.
        peers: How many times their share of the files the peers are given; 0 leaves them out.

    Raises:
        BenchmarkError: If melcli fails; a peer that does is told in its place in the table.
    """
    measure.warm(corpus.files)
    laps = [Laps(MELCLI, corpus)]
    for peer in PEERS if peers else ():
        n_files = round(len(corpus.files) * min(1.0, peers * peer.share))
        laps.append(Laps(peer, corpus.first(max(3 * FEW_FILES, n_files))))
    measure.tell(f"{corpus.kind.title}, warming up")
    for lap in laps:
        _warm_up(lap, scratch)
    bare = Bare(corpus.first(round(len(corpus.files) * BARE.share)))
    for number in range(rounds):
        told = f"{corpus.kind.title}, round {number + 1} of {rounds}"
        turn = number % len(laps)
        for lap in [*laps[turn:], *laps[:turn]]:
            if lap.fault is None:
                measure.tell(f"{told}: {lap.contender.name}")
                _run_lap(lap, scratch)
        measure.tell(f"{told}: the bare work")
        found = json.loads(_once(BARE, bare.corpus, scratch).output)
        bare.cpu.append(found["cpu"])
        bare.clock.append(found["clock"])
    if laps[0].fault is not None:
        raise BenchmarkError(f"melcli on {corpus.kind.title} {laps[0].fault}")
    return Race(laps[0], laps[1:], bare)


def _warm_up(laps: Laps, scratch: Path) -> None:
    """Run once what the first round shall not wait for: reading imports, compiling of caches."""
    if not laps.contender.is_installed():
        laps.fault = "is not installed"
        return
    try:
        _once(laps.contender, laps.corpus.first(FEW_FILES), scratch)
    except BenchmarkError as error:
        laps.fault = str(error)


def _run_lap(laps: Laps, scratch: Path) -> None:
    """One round of one contender."""
    try:
        few = _once(laps.contender, laps.corpus.first(FEW_FILES), scratch)
        many = _once(laps.contender, laps.corpus, scratch)
    except BenchmarkError as error:
        laps.fault = str(error)
        return
    laps.few.append(few)
    laps.many.append(many)


def _once(contender: Contender, corpus: Corpus, scratch: Path) -> Run:
    """Run a contender on a corpus, and see that it wrote as much as it should."""
    with tempfile.TemporaryDirectory(dir=scratch) as folder:
        listed, out = Path(folder, "files"), Path(folder, "out")
        out.mkdir()
        listed.write_text("".join(f"{path}\n" for path in corpus.files))
        root = corpus.files[0].parent.parent
        done = measure.run(contender.command(listed, root, out), environment=contender.environment)
        written = sum(path.stat().st_size for path in out.rglob("*") if path.is_file())
        if written < 0.95 * corpus.seconds * MEL_BYTES_A_SECOND:
            raise BenchmarkError(f"wrote only {written:,} bytes")
        return done


def speeds_table(run: Race) -> str:
    """Everyone's steady state, and melcli as a multiple of each; below it, who was left out."""
    head = ["", "on disk", "files", "start-up, s", "files a second", "x real time", "melcli is"]
    everyone = (run.ours, *run.peers)
    rows = [_speed_row(laps, run.ours) for laps in everyone if laps.fault is None]
    left_out = [f"{laps.contender.name} {laps.fault}" for laps in everyone if laps.fault]
    return "\n".join([figures.table(head, rows), *left_out])


def _speed_row(laps: Laps, ours: Laps) -> list[str]:
    speed = Spread.of(laps.speeds)
    faster = figures.ratios(ours.speeds, laps.speeds).text(".1f")
    return [
        laps.contender.name,
        laps.contender.writes,
        f"{len(laps.corpus.files):,}",
        Spread.of(run.seconds for run in laps.few).text(".2f"),
        f"{speed.median / laps.corpus.kind.seconds:,.0f}",
        speed.text(",.0f"),
        "" if laps is ours else f"{faster} x as fast",
    ]


def floor_table(runs: Sequence[Race]) -> str:
    """The bare work for an hour of audio, and what melcli takes above it."""
    head = [
        "",
        *(f"{step}, s" for step in STEPS),
        "ideal, s",
        "melcli, s",
        "melcli / ideal",
        "threads, s",
        "threads / melcli",
    ]
    return figures.table(head, [_floor_row(run) for run in runs])


def _floor_row(run: Race) -> list[str]:
    bare = run.bare
    ours = [3600 / speed for speed in run.ours.speeds]
    ideal = [seconds / N_CORES for seconds in bare.an_hour(bare.cpu, *STEPS)]
    threads = bare.an_hour(bare.clock, "decode", "mel")
    return [
        run.ours.corpus.kind.title,
        *(f"{Spread.of(bare.an_hour(bare.cpu, step)).median:.2f}" for step in STEPS),
        Spread.of(ideal).text(".2f"),
        Spread.of(ours).text(".2f"),
        figures.ratios(ours, ideal).text(".2f"),
        Spread.of(threads).text(".2f"),
        figures.ratios(threads, ours).text(".0%"),
    ]
