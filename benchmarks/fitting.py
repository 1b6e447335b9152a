"""What statistics cost: over audio beside extracting it, and over rows that were extracted.

    python -m benchmarks.fitting                       both, some minutes
    python -m benchmarks.fitting --only audio --rounds 9
    python -m benchmarks.fitting --only rows --gigabytes 1 4
    python -m benchmarks.fitting --only hours --hours 10000

Audio: `extract` to HDF5 and `fit-scaler`, with and without ``--quantiles``, in turn, over the same
files. Rows: `fit-scaler --workers 1` over packed HDF5 files of several sizes that hold the rows of
real mels, in the page cache; the rate is that of the whole command less the time that it takes for
a single item, and the largest process shows whether memory stays flat. Hours: that many hours of
frames of 10 ms, among them bins whose mean is ten thousand times their spread, through the
accumulator; what comes of them is known, for they are the same frames again and again.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from benchmarks import corpora, figures, measure
from benchmarks.corpora import CLIPS, WAV
from benchmarks.figures import Spread
from benchmarks.race import CONFIG
from melcli import store
from melcli.statistics.moments import Accumulator
from melcli.store.records import Done, Item

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from melcli.store.records import Array, Header

CORPORA: Final = Path(__file__).parent / "corpora"
MELCLI: Final = (sys.executable, "-m", "melcli")
ITEM_ROWS: Final = {"10 s items": 1000, "1 s items": 100}


def over_audio(rounds: int, scratch: Path) -> Iterator[list[str]]:
    """Seconds, and seconds of processors, beside those of extracting."""
    for kind, n_files in ((WAV, 1600), (CLIPS, 10_000)):
        measure.tell(f"{n_files:,} x {kind.title}")
        corpus = corpora.make(CORPORA, corpora.find_sources([]), kind, n_files)
        measure.warm(corpus.files)
        names = scratch / f"melcli-fitting-{os.getpid()}"
        names.write_text("\n".join(map(str, corpus.files)), encoding="utf-8")
        asked = ["-q", "--files-from", str(names), "--config", str(CONFIG)]
        runs: dict[str, list[measure.Run]] = {"extract": [], "fit": [], "quantiles": []}
        for _ in range(rounds):
            for what, found in runs.items():
                with tempfile.TemporaryDirectory(dir=scratch) as out:
                    command = [*MELCLI, "extract", "-o", f"{out}/x.h5", *asked]
                    if what != "extract":
                        command = [*MELCLI, "fit-scaler", "-o", f"{out}/s.npz", *asked]
                        command += ["--quantiles"] * (what == "quantiles")
                    found.append(measure.run(command))
        names.unlink()
        alone = runs["extract"]
        for what, found in runs.items():
            yield [
                f"{n_files:,} x {kind.title}: {what}",
                Spread.of(run.seconds for run in found).text(".2f"),
                figures.ratios([r.seconds for r in found], [r.seconds for r in alone]).text(".3f"),
                figures.ratios([r.cpu_seconds for r in found], [r.cpu_seconds for r in alone]).text(
                    ".3f"
                ),
            ]


def over_rows(gigabytes: Sequence[float], rounds: int, scratch: Path) -> Iterator[list[str]]:
    """Gigabytes a second of one core, and the largest process."""
    corpus = corpora.make(CORPORA, corpora.find_sources([]), WAV, 100)
    with tempfile.TemporaryDirectory(dir=scratch) as folder:
        sample, one = Path(folder, "sample.h5"), Path(folder, "one.h5")
        config = ["--config", str(CONFIG), "-q"]
        measure.run([*MELCLI, "extract", *map(str, corpus.files), "-o", str(sample), *config])
        with closing(store.open_reader(sample)) as reader:
            header, rows = reader.header, reader.rows(0, int(reader.items["stop"][-1]))
        _write(one, header, rows[:1000], 1000, 1)
        for what, item_rows in ITEM_ROWS.items():
            for size in gigabytes:
                path = Path(folder, "rows.h5")
                n_items = round(size * 1e9 / header.row_bytes / item_rows)
                _write(path, header, rows, item_rows, n_items)
                measure.warm([path])
                seconds, rates, peaks = [], [], []
                for _ in range(rounds):
                    base = _fit(one, folder)
                    run = _fit(path, folder)
                    n_bytes = n_items * item_rows * header.row_bytes
                    seconds.append(run.seconds)
                    rates.append(n_bytes / 1e9 / (run.seconds - base.seconds))
                    peaks.append(run.peak_bytes / 2**20)
                path.unlink()
                yield [
                    f"{size:g} GB of {what}, {header.row_shape[0]} bands",
                    Spread.of(seconds).text(".2f"),
                    Spread.of(rates).text(".2f"),
                    Spread.of(peaks).text(".0f"),
                ]


def over_hours(hours: float) -> Iterator[list[str]]:
    """How far mean and deviation are off after very many frames."""
    rng = np.random.default_rng(1)
    places = np.array([0.0, -40.0, 1e4, -1e4])
    rows = (places + rng.standard_normal((1_000_003, len(places)))).astype(np.float32)
    exact = rows.astype(np.longdouble)
    mean = exact.mean(axis=0)
    std = np.sqrt(np.square(exact - mean).mean(axis=0))
    n_times = round(hours * 360_000 / len(rows))
    measure.tell(f"{n_times:,} times {len(rows):,} frames")
    accumulator = Accumulator(len(places))
    for _ in range(n_times):
        accumulator.add(rows)
    found, _ = accumulator.taken()
    for n, place in enumerate(places):
        yield [
            f"mean {place:g}, deviation 1: {found.count:,} frames",
            f"{float(abs(found.mean[n] - mean[n]) / abs(mean[n])):.1e}",
            f"{float(abs(found.mean[n] - mean[n]) / std[n]):.1e}",
            f"{float(abs(found.std[n] - std[n]) / std[n]):.1e}",
        ]


def _fit(path: Path, folder: str) -> measure.Run:
    target = Path(folder, "s.npz")
    run = measure.run([*MELCLI, "fit-scaler", str(path), "-o", str(target), "-q", "--workers", "1"])
    target.unlink()
    return run


def _write(path: Path, header: Header, rows: Array, item_rows: int, n_items: int) -> None:
    """An output of many items, cut from some rows over and over again."""
    n_different = max(1, len(rows) // item_rows)
    with closing(store.open_writer(path, header)) as writer:
        names = [f"{n}.wav" for n in range(n_items)]
        for n, name in enumerate(names):
            start = n % n_different * item_rows
            piece = np.ascontiguousarray(rows[start : start + item_rows])
            item = Item(name, len(piece), 160 * len(piece), 16_000, 1, -1, ())
            writer.write(Done(name, 1, 1, (item,)), [[piece]])
            if n % 2048 == 2047:
                writer.commit()
        writer.finish(names)


def main() -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.fitting", description=__doc__)
    parser.add_argument("--only", choices=["audio", "rows", "hours"])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--gigabytes", type=float, nargs="+", default=[1.0, 4.0])
    parser.add_argument("--hours", type=float, default=10_000)
    parser.add_argument("--scratch", type=Path, default=Path(tempfile.gettempdir()))
    args = parser.parse_args()
    if args.only in {None, "audio"}:
        columns = ["", "seconds", "to extract", "processors, to extract"]
        print(figures.table(columns, over_audio(args.rounds, args.scratch)), end="\n\n")
    if args.only in {None, "rows"}:
        columns = ["", "seconds", "GB/s", "largest process, MiB"]
        rows = over_rows(args.gigabytes, args.rounds, args.scratch)
        print(figures.table(columns, rows), end="\n\n")
    if args.only in {None, "hours"}:
        columns = ["", "mean off, of itself", "mean off, in deviations", "deviation off"]
        print(figures.table(columns, over_hours(args.hours)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
