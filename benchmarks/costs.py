"""What melcli costs beside its speed: seconds until one file is done, memory, a dry run."""

from __future__ import annotations

import statistics
import sys
import tempfile
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from benchmarks import figures, measure
from benchmarks.figures import Spread
from benchmarks.race import CONFIG

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from benchmarks.measure import Run
    from benchmarks.race import Race

MELCLI: Final = (sys.executable, "-m", "melcli", "extract")
IMPORT_TORCH: Final = (sys.executable, "-c", "import torch")
MIB: Final = 1 << 20


@dataclass
class Costs:
    """What was measured, round by round.

    Args:
        import_torch: Python that imports torch and ends.
        one_file: melcli with one clip.
        dry_run: ``--dry-run`` of very many files.
        dry_run_files: How many.
        long_file: melcli with one file of many hours under ``--memory 1G``.
        long_hours: How many.
    """

    import_torch: list[Run] = field(default_factory=list)
    one_file: list[Run] = field(default_factory=list)
    dry_run: list[Run] = field(default_factory=list)
    dry_run_files: int = 0
    long_file: list[Run] = field(default_factory=list)
    long_hours: float = 0.0
    long_fault: str | None = None

    def to_record(self) -> dict[str, Any]:
        """For ``--json``: plain values only."""
        return {
            "import_torch": [run.to_record() for run in self.import_torch],
            "one_file": [run.to_record() for run in self.one_file],
            "dry_run_files": self.dry_run_files,
            "dry_run": [run.to_record() for run in self.dry_run],
            "long_hours": self.long_hours,
            "long_file": [run.to_record() for run in self.long_file],
            "long_fault": self.long_fault,
        }


def extract(path: Path, scratch: Path, *options: str, data_limit: int | None = None) -> Run:
    """Run melcli on one file or folder."""
    with tempfile.TemporaryDirectory(dir=scratch) as out:
        command = [*MELCLI, str(path), "-q", "-o", f"{out}/mels.h5", "--config", str(CONFIG)]
        command += ["--device", "cpu", *options]
        return measure.run(command, data_limit=data_limit)


def measure_start(costs: Costs, clip: Path, rounds: int, scratch: Path) -> None:
    """One file against ``import torch``, in turn."""
    measure.tell("one file, and import torch")
    for _ in range(rounds):
        costs.import_torch.append(measure.run(IMPORT_TORCH))
        costs.one_file.append(extract(clip, scratch))


def measure_dry_run(costs: Costs, folder: Path, n_files: int, rounds: int) -> None:
    """``--dry-run`` of a folder."""
    costs.dry_run_files = n_files
    for _ in range(rounds):
        measure.tell(f"--dry-run of {n_files:,} files")
        costs.dry_run.append(measure.run([*MELCLI, str(folder), "--dry-run"]))


def measure_long(costs: Costs, path: Path, hours: float, scratch: Path) -> None:
    """One long file, once. It may take half of the machine's memory, and fails beyond."""
    measure.tell(f"one file of {hours:g} hours")
    costs.long_hours = hours
    try:
        limit = measure.memory_bytes() // 2
        costs.long_file.append(extract(path, scratch, "--memory", "1G", data_limit=limit))
    except measure.BenchmarkError as error:
        costs.long_fault = str(error)


def costs_table(costs: Costs, races: list[Race]) -> str:
    """Seconds, and the most memory of any round: with a plus, above that of ``import torch``."""
    return figures.table(["", "seconds", "peak memory"], _rows(costs, races))


def _rows(costs: Costs, races: list[Race]) -> Iterator[list[str]]:
    def above(runs: list[Run]) -> str:
        return f"+{(max(run.peak_bytes for run in runs) - torch_peak) / MIB:.0f} MiB"

    torch_peak = statistics.median(run.peak_bytes for run in costs.import_torch)
    yield ["import torch", _seconds(costs.import_torch), f"{torch_peak / MIB:.0f} MiB"]
    beyond = Spread.of(
        one.seconds - torch.seconds
        for one, torch in zip(costs.one_file, costs.import_torch, strict=True)
    )
    yield ["one 10 s file, above that", beyond.text(".2f"), above(costs.one_file)]
    for race in races:
        runs, corpus = race.ours.many, race.ours.corpus
        name = f"{len(corpus.files):,} x {corpus.kind.title}"
        yield [name, _seconds(runs), above(runs)]
    if costs.long_hours:
        name = f"one file of {costs.long_hours:g} h, 44.1 kHz stereo FLAC, --memory 1G"
        if costs.long_fault is None:
            yield [name, _seconds(costs.long_file), above(costs.long_file)]
        else:
            yield [name, costs.long_fault, ""]
    peak = max(run.peak_bytes for run in costs.dry_run)
    name = f"--dry-run of {costs.dry_run_files:,} files (hard links)"
    yield [name, _seconds(costs.dry_run), f"{peak / MIB:.0f} MiB"]


def _seconds(runs: list[Run]) -> str:
    return Spread.of(run.seconds for run in runs).text(".2f")
