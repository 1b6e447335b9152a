"""What safety costs: the journal and the syncs, finishing a large output, taking up a large one.

    python -m benchmarks.safety                          all of it, some minutes
    python -m benchmarks.safety --only cost --rounds 9
    python -m benchmarks.safety --only finish --gigabytes 10
    python -m benchmarks.safety --only resume --inputs 1000000

Cost: the same command with and without its journal, its note of what is begun, and every sync, in
turn. Finish: seconds from the last commit to the finished file. Resume: an output of very many
inputs that was killed just before its end is taken up by the same command.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
import soundfile
import torch

from benchmarks import corpora, figures, measure
from benchmarks.corpora import CLIPS, WAV
from benchmarks.figures import Spread
from benchmarks.race import CONFIG
from melcli import OutputConfig, presets, store
from melcli.pipeline.batching import make_batches
from melcli.pipeline.books import Books
from melcli.pipeline.plan import Selection, make_plan
from melcli.pipeline.report import Report, Silence
from melcli.pipeline.run import make_header
from melcli.store.records import Done, Item

if TYPE_CHECKING:
    from collections.abc import Iterator

    from melcli.pipeline.plan import Plan
    from melcli.store.protocols import Writer
    from melcli.store.records import Header

CORPORA: Final = Path(__file__).parent / "corpora"
MAIN: Final = "from melcli.cli import main; main()"
UNSAFE: Final = """
from melcli.store import begun, disk, writer
for name in ("sync_data", "sync_file", "sync_folder"):
    setattr(disk, name, lambda *_: None)
begun.BegunInputs.add = begun.BegunInputs.committed = lambda *_: None
commit, finish = writer.StoreWriter.commit, writer.StoreWriter.finish
def commit_and_finish(self, *args):
    writer.StoreWriter.commit = commit
    finish(self, *args)
writer.StoreWriter.commit = lambda self: None
writer.StoreWriter.finish = commit_and_finish
"""
PIECE_ROWS: Final = 200_000


def cost(rounds: int, scratch: Path) -> Iterator[list[str]]:
    """The same run with and without its safety."""
    for kind, n_files in ((WAV, 600), (CLIPS, 6000)):
        measure.tell(f"{n_files:,} x {kind.title}, safe and unsafe")
        corpus = corpora.make(CORPORA, corpora.find_sources([]), kind, n_files)
        names = scratch / f"melcli-safety-{os.getpid()}"
        names.write_text("\n".join(map(str, corpus.files)), encoding="utf-8")
        for output in ("mels.h5", "npy/"):
            runs: dict[str, list[measure.Run]] = {"": [], UNSAFE: []}
            for _ in range(rounds):
                for setup, found in runs.items():
                    with tempfile.TemporaryDirectory(dir=scratch) as out:
                        command = [sys.executable, "-c", setup + MAIN, "extract", "-q"]
                        command += ["--files-from", str(names), "-o", f"{out}/{output}"]
                        command += ["--config", str(CONFIG)]
                        found.append(measure.run(command))
            safe, unsafe = runs[""], runs[UNSAFE]
            ratios = Spread.of(a.seconds / b.seconds for a, b in zip(safe, unsafe, strict=True))
            yield [
                f"{n_files:,} x {kind.title} to {output}",
                Spread.of(run.seconds for run in safe).text(".2f"),
                Spread.of(run.seconds for run in unsafe).text(".2f"),
                ratios.text(".3f"),
            ]
        names.unlink()


def header_of(audio: Path) -> Header:
    """What an output of some audio is asked to be."""
    plan = make_plan(Selection(paths=(audio,)))
    config = presets.load(str(CONFIG)).config
    return make_header(config, OutputConfig(), torch.device("cpu"), "benchmark", plan)


def finish(gigabytes: float, scratch: Path) -> Iterator[list[str]]:
    """Seconds that finishing a packed output takes."""
    with tempfile.TemporaryDirectory(dir=scratch) as out:
        audio = Path(out, "x.wav")
        soundfile.write(audio, np.zeros(16_000), 16_000)
        header = header_of(audio)
        rows = np.random.default_rng(1).normal(size=(PIECE_ROWS, *header.row_shape))
        piece = rows.astype(np.float32)
        n_items = round(gigabytes * 1e9 / piece.nbytes)
        writer = store.open_writer(Path(out, "mels.h5"), header)
        names = [f"{n}.wav" for n in range(n_items)]
        for name in names:
            item = Item(name, PIECE_ROWS, 160 * PIECE_ROWS, 16_000, 1, -1, ())
            writer.write(Done(name, 1, 1, (item,)), [[piece]])
            writer.commit()
        os.sync()
        began = time.perf_counter()
        writer.finish(names)
        seconds = time.perf_counter() - began
        writer.close()
        n_bytes = Path(out, "mels.h5").stat().st_size
    yield [f"finishing {n_bytes / 1e9:.1f} GB", f"{seconds:.3f} s"]


def resume(n_inputs: int, scratch: Path) -> Iterator[list[str]]:
    """Seconds until a killed run of very many inputs goes on, and ends."""
    with tempfile.TemporaryDirectory(dir=scratch) as out:
        corpus, path = Path(out, "corpus"), Path(out, "mels.h5")
        measure.tell(f"{n_inputs:,} hard links")
        _many(corpus, n_inputs)
        began = time.perf_counter()
        plan = make_plan(Selection(paths=(corpus,)))
        yield ["finding and checking the inputs", f"{time.perf_counter() - began:.1f} s"]
        header = header_of(corpus / "000")
        writer = store.open_writer(path, header)
        row = np.zeros((1, *header.row_shape), np.float32)
        for n, planned in enumerate(plan, start=1):
            if n == n_inputs:
                break
            item = Item(planned.id, 1, 160, 16_000, 1, -1, ())
            writer.write(Done(planned.id, planned.size, planned.mtime_ns, (item,)), [[row]])
            if n % 2048 == 0:
                writer.commit()
        writer.commit()
        writer.close()
        began = time.perf_counter()
        writer = store.open_writer(path, header)
        yield ["opening the unfinished output", f"{time.perf_counter() - began:.1f} s"]
        began = time.perf_counter()
        todo = _look_back(plan, writer)
        yield ["learning what is done", f"{time.perf_counter() - began:.1f} s"]
        writer.close()
        if todo != [n_inputs - 1]:
            raise measure.BenchmarkError(f"{len(todo)} inputs to do, and not the last")
        command = [sys.executable, "-m", "melcli", "extract", str(corpus), "-o", str(path)]
        command += ["--config", str(CONFIG), "-q"]
        run = measure.run(command)
        yield ["the whole command, with the last input and finishing", f"{run.seconds:.1f} s"]
        yield ["its largest process", f"{run.peak_bytes / 2**20:.0f} MiB"]


def _many(corpus: Path, n_inputs: int) -> None:
    """A folder of folders of a thousand links each to one short recording."""
    corpus.mkdir()
    one = corpus.with_name("one.wav")
    soundfile.write(one, np.zeros(1600), 16_000)
    for n in range(n_inputs):
        folder = corpus / f"{n // 1000:03}"
        if n % 1000 == 0:
            folder.mkdir()
        os.link(one, folder / f"{n % 1000:03}.wav")


def _look_back(plan: Plan, writer: Writer) -> list[int]:
    books = Books(plan, writer, Report("", ""), Silence(), retry_failed=False)
    books.look_back()
    return [i for batch in make_batches(books.todo()) for i in batch.indices]


def main() -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.safety", description=__doc__)
    parser.add_argument("--only", choices=["cost", "finish", "resume"])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--gigabytes", type=float, default=10.0)
    parser.add_argument("--inputs", type=int, default=1_000_000)
    parser.add_argument("--scratch", type=Path, default=Path(tempfile.gettempdir()))
    parser.add_argument("--links", type=Path, default=Path("/dev/shm"))  # noqa: S108
    args = parser.parse_args()
    if args.only in {None, "cost"}:
        columns = ["", "safe, s", "unsafe, s", "ratio"]
        print(figures.table(columns, cost(args.rounds, args.scratch)), end="\n\n")
    if args.only in {None, "finish"}:
        print(figures.table(["", ""], finish(args.gigabytes, args.scratch)), end="\n\n")
    if args.only in {None, "resume"}:
        print(figures.table([f"{args.inputs:,} inputs", ""], resume(args.inputs, args.links)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
