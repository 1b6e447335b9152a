"""The loop: workers read and compute batches, one writer takes them in order."""

from __future__ import annotations

import contextlib
import datetime as dt
import os
from collections import deque
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING

import numpy as np
import torch

import melcli
from melcli import presets, store
from melcli.config import MelConfig, OutputConfig, RunConfig
from melcli.dsp.frontend import FrontEnd
from melcli.dsp.mel import filterbank_faults
from melcli.errors import AudioError, DeviceError, StoreError, UsageError
from melcli.pipeline.batching import Batch, decoded_bytes, make_batches
from melcli.pipeline.clips import Clip, read_clips
from melcli.pipeline.plan import Plan, PlannedInput, Selection, make_plan
from melcli.pipeline.report import Listener, Report, Silence
from melcli.pipeline.target import long_rule, output_path, plan_inputs
from melcli.pipeline.workers import Promise, Workers
from melcli.store.records import Done, Failed, Header, Item

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from melcli.store.protocols import Writer
    from melcli.store.records import Array, Outcome

_TODO, _DONE, _FAILED, _KEEP, _KEEP_FAILED = range(5)
"""What stands behind an input before the run: nothing, or what an earlier one left."""

_KEEP_INPUTS = 2048
"""Inputs taken over from a finished output between two commits."""


def extract(
    inputs: Selection | str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    output: str | os.PathLike[str],
    config: MelConfig | str = presets.DEFAULT,
    *,
    out: OutputConfig | None = None,
    run: RunConfig | None = None,
    listener: Listener | None = None,
    command: str = "melcli.extract()",
) -> Report:
    """Write the mel spectrogram of every input to ``output``.

    Killed at any moment and called again, it goes on where it was. torch's number of threads is
    one while it runs, and is then as it was; signals are left alone.

    Args:
        inputs: Files and folders, or a :class:`~melcli.pipeline.plan.Selection`.
        output: An ``.h5`` file, or a folder of ``.npy`` files (existing, or ending in ``/``).
        config: A front end, its name, or the path of its file.
        out: What the output holds, and what becomes of one that is there.
        run: How the run goes about it; changes no byte of the output.
        listener: Hears of every input.
        command: Kept in the output.

    Returns:
        The books: what became of each input, and the exit code that follows.

    Raises:
        UsageError: Contradicting inputs, or an output that is neither file nor folder.
        ConfigError: A front end that cannot be.
        NoInputError: There is no input.
        StoreError: The output has other settings, is in use, or is not melcli's.
        DeviceError: The disk is full, or there is no such device.
    """
    selection = as_selection(inputs)
    config = presets.load(config).config if isinstance(config, str) else config
    out, run, listener = out or OutputConfig(), run or RunConfig(), listener or Silence()
    path = output_path(output)
    plan = plan_inputs(selection, path, config, out)
    report = Report(str(output), config.name or "a config of your own", inputs=len(plan))
    report.input_bytes, report.ignored = plan.total_bytes(), plan.ignored
    device = choose_device(run.device)
    header = make_header(config, out, device, command)
    accept = out.accept_different_machine
    with contextlib.closing(
        store.open_writer(path, header, accept_different_machine=accept)
    ) as writer:
        books = _Books(plan, writer, report, listener, retry_failed=out.retry_failed)
        books.look_back()
        listener.started(report)
        if books.has_news():
            books.take_over()
            frontend = FrontEnd(config).to(device)
            # A named front end is as its original is: nothing to choose, so nothing to warn of.
            report.warnings = [] if presets.is_named(config) else filterbank_faults(config)
            worker = _Worker(plan, frontend, out)
            limit = run.failure_limit(len(plan))
            with one_torch_thread():
                _compute(books, worker, run, limit)
            if not report.stopped:
                writer.finish(books.order())
        report.tick()
        report.output_bytes = _output_bytes(path, writer)
    return report


def extract_to_stream(
    selection: Selection, stream: IO[bytes], config: MelConfig, out: OutputConfig, run: RunConfig
) -> None:
    """Write the mel of one input as ``.npy``, in the config's layout.

    Raises:
        UsageError: If there are several inputs, or one becomes several items.
        AudioError: If it cannot be used.
    """
    plan = make_plan(selection)
    several = "an .h5 file or a folder holds more"
    if len(plan) != 1:
        raise UsageError(f"standard output takes one input, not {len(plan)}", None, several)
    device = choose_device(run.device)
    with one_torch_thread():
        worker = _Worker(plan, FrontEnd(config).to(device), out)
        [(_, outcome, rows)] = worker(Batch((0,), 0, ends_segment=True))
    if isinstance(outcome, Failed):
        raise AudioError(outcome.cause, plan[0].name, outcome.remedy)
    if len(rows) != 1:
        raise UsageError(f"this input becomes {len(rows)} items", plan[0].name, several)
    array = np.moveaxis(rows[0], 0, -1) if config.out.layout == "mel_time" else rows[0]
    np.lib.format.write_array(stream, np.ascontiguousarray(array), allow_pickle=False)
    stream.flush()


def as_selection(
    inputs: Selection | str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
) -> Selection:
    """Whatever a caller names its inputs by, as a selection."""
    if isinstance(inputs, Selection):
        return inputs
    if isinstance(inputs, str | os.PathLike):
        return Selection(paths=(inputs,))
    return Selection(paths=tuple(inputs))


def make_header(config: MelConfig, out: OutputConfig, device: torch.device, command: str) -> Header:
    """What the output is, known before its first row."""
    return Header(
        config=config.to_toml(),
        config_digest=config.digest,
        settings={
            "channels": str(config.wave.channels),
            "long": long_rule(config, out),
            "store_layout": out.store_layout,
        },
        machine=machine_record(device),
        command=command,
        created=dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
        melcli_version=melcli.__version__,
        row_shape=config.row_shape,
        row_labels=config.row_labels,
        dtype=out.dtype,
        transpose=config.out.layout == "mel_time",
        overwrite=out.overwrite,
    )


def machine_record(device: torch.device) -> dict[str, str]:
    """What the bytes of a result depend on beside the audio and the config."""
    import soundfile
    import soxr

    return {
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "torch": torch.__version__,
        "soxr": soxr.__version__,
        "libsndfile": soundfile.__libsndfile_version__,
        "melcli": melcli.__version__,
    }


def choose_device(name: str) -> torch.device:
    """The device of that name; ``auto`` is a GPU where torch has one.

    Raises:
        DeviceError: If there is no such device.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise DeviceError(
            f"--device {name}: there is no such device", None, "auto, cpu or cuda:N"
        ) from error
    if device.type not in {"cpu", "cuda"}:
        raise DeviceError(f"--device {name}: melcli runs on cpu and cuda", None, "--device cpu")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        n = torch.cuda.device_count()
        raise DeviceError(
            f"--device {name}: torch {torch.__version__} sees {n} CUDA devices",
            None,
            "--device cpu",
        )
    return device


@contextlib.contextmanager
def one_torch_thread() -> Iterator[None]:
    """Keep torch to one thread an operation: the workers are the parallelism."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@dataclass
class _Worker:
    """Reads a batch and computes it. Called from several threads at once; changes nothing."""

    plan: Plan
    frontend: FrontEnd
    out: OutputConfig

    def __call__(self, batch: Batch) -> list[tuple[PlannedInput, Outcome, list[Array]]]:
        planned = [self.plan[index] for index in batch.indices]
        read = [self._read(one) for one in planned]
        clips = [clip for one in read if not isinstance(one, Failed) for clip in one]
        with torch.inference_mode():
            device = self._device()
            rows = iter(self.frontend.rows([clip.waveform.to(device) for clip in clips]))
            return [
                (one, *self._outcome(one, found, rows))
                for one, found in zip(planned, read, strict=True)
            ]

    def _device(self) -> torch.device:
        return next(self.frontend.buffers()).device

    def _read(self, planned: PlannedInput) -> list[Clip] | Failed:
        try:
            return read_clips(planned, self.frontend.config, self.out.long)
        except AudioError as error:
            return _failed(planned, error.cause, error.remedy)
        except MemoryError:
            return _failed(planned, "does not fit into memory", "split it into shorter files")

    def _outcome(
        self, planned: PlannedInput, clips: list[Clip] | Failed, rows: Iterator[torch.Tensor]
    ) -> tuple[Outcome, list[Array]]:
        """What an input became; its clips' rows are the next of ``rows``."""
        if isinstance(clips, Failed):
            return clips, []
        items, arrays = [], []
        problem: tuple[str, str] | None = None
        for clip in clips:
            mel = next(rows).to("cpu")
            stored = mel.to(getattr(torch, self.out.dtype))
            problem = problem or _numeric_problem(mel, stored, self.out.dtype)
            items.append(
                Item(
                    id=clip.id,
                    n_rows=mel.shape[0],
                    n_samples=clip.n_samples,
                    sample_rate=clip.sample_rate,
                    n_channels=clip.n_channels,
                    channel=clip.channel,
                    notes=clip.notes,
                )
            )
            arrays.append(stored.contiguous().numpy())
        if problem is not None:
            return _failed(planned, *problem), []
        return Done(planned.id, planned.size, planned.mtime_ns, tuple(items)), arrays


def _failed(planned: PlannedInput, cause: str, remedy: str | None) -> Failed:
    return Failed(planned.id, planned.size, planned.mtime_ns, cause, remedy)


def _numeric_problem(mel: torch.Tensor, stored: torch.Tensor, dtype: str) -> tuple[str, str] | None:
    """What is wrong with the numbers of a mel: a cause and a remedy."""
    low, high = torch.aminmax(mel)
    if not bool(torch.isfinite(low) & torch.isfinite(high)):
        return "its mel holds NaN or infinite values", "look at its samples: they are huge"
    if dtype == "float16" and not bool(torch.isfinite(stored).all()):
        largest = max(-float(low), float(high))
        return f"its mel reaches {largest:.6g}, float16 ends at 65504", "--dtype float32"
    return None


class _Books:
    """Which inputs are done, which are to do, and what the output will hold in the end."""

    def __init__(
        self, plan: Plan, writer: Writer, report: Report, listener: Listener, *, retry_failed: bool
    ) -> None:
        self.plan, self.writer, self.report, self.listener = plan, writer, report, listener
        self.retry_failed = retry_failed
        self.states = bytearray(len(plan))
        self._find = plan.finder()
        self._resumed = False
        self._beside: dict[str, None] = {}  # ids of earlier runs that are no inputs now, in order
        self._beside_previous: set[str] = set()

    def look_back(self) -> None:
        """Learn what earlier runs left, and enter it in the books."""
        for outcome in self.writer.outcomes():
            self._resumed = True
            self._enter(outcome, _DONE, _FAILED)
        for outcome in self.writer.previous():
            index = self._find(outcome.id)
            if index is None:
                if isinstance(outcome, Done) and outcome.id not in self._beside:
                    self._beside_previous.add(outcome.id)
                    self._beside[outcome.id] = None
            elif self.states[index] == _TODO:
                self._enter(outcome, _KEEP, _KEEP_FAILED)
        self._tell_what_is_done()
        self.report.kept_beside = len(self._beside)

    def _enter(self, outcome: Outcome, if_done: int, if_failed: int) -> None:
        index = self._find(outcome.id)
        if index is None:
            # What failed and is no input now leaves nothing to keep.
            if isinstance(outcome, Done):
                self._beside[outcome.id] = None
            return
        planned = self.plan[index]
        unchanged = planned.size is not None and (planned.size, planned.mtime_ns) == (
            outcome.source_size,
            outcome.source_mtime_ns,
        )
        if not unchanged:
            self.states[index] = _TODO
        elif isinstance(outcome, Done):
            self.states[index] = if_done
        else:
            self.states[index] = _TODO if self.retry_failed else if_failed

    def _tell_what_is_done(self) -> None:
        """Enter the inputs that are done or failed already, each with its last outcome."""
        for kept, outcomes in ((False, self.writer.outcomes()), (True, self.writer.previous())):
            states = (_KEEP, _KEEP_FAILED) if kept else (_DONE, _FAILED)
            told = bytearray(len(self.plan))
            for outcome in outcomes:
                index = self._find(outcome.id)
                if index is None or self.states[index] not in states or told[index]:
                    continue
                if isinstance(outcome, Failed) != (self.states[index] == states[1]):
                    continue  # an older line of the journal
                told[index] = 1
                planned = self.plan[index]
                if isinstance(outcome, Failed):
                    self.report.count_failed(planned.name, outcome)
                    self.listener.happened(planned, outcome, "failed")
                else:
                    self.report.already += 1
                    self.listener.happened(planned, outcome, "already done")

    def has_news(self) -> bool:
        """Something is to be computed, or a run that was interrupted is to be finished."""
        return self._resumed or _TODO in self.states

    def take_over(self) -> None:
        """Bring what is good in the finished output into the new one."""
        taken = 0
        for outcome in self.writer.previous():
            index = self._find(outcome.id)
            if index is None:
                if outcome.id not in self._beside_previous:
                    continue
            elif self.states[index] not in {_KEEP, _KEEP_FAILED}:
                continue
            try:
                self.writer.keep(outcome)
            except StoreError:
                if index is None:
                    raise
                self.states[index] = _TODO  # its rows are damaged: compute them again
                self.report.already -= 1
                continue
            taken += 1
            if taken % _KEEP_INPUTS == 0:
                self.writer.commit()
        if taken:
            self.writer.commit()

    def todo(self) -> Iterator[tuple[int, int]]:
        """Position and decoded bytes of every input that is to be computed."""
        for index, state in enumerate(self.states):
            if state == _TODO:
                size = self.plan.size(index)
                yield index, decoded_bytes(size, self.plan.extension(index))

    def enter_new(self, planned: PlannedInput, outcome: Outcome, rows: list[Array]) -> None:
        """Hand a new outcome to the writer and count it."""
        self.writer.write(outcome, rows)
        if isinstance(outcome, Failed):
            self.report.count_failed(planned.name, outcome)
            self.listener.happened(planned, outcome, "failed")
        else:
            self.report.count_done(outcome)
            self.listener.happened(planned, outcome, "done")

    def order(self) -> Iterator[str]:
        """All ids of the finished output: the plan's, then those kept beside."""
        yield from self.plan.ids()
        yield from self._beside


def _compute(books: _Books, worker: _Worker, run: RunConfig, limit: int | None) -> None:
    """Run every batch through the workers and write it, in order, until done or stopped."""
    report = books.report

    def beyond_limit() -> bool:
        return limit is not None and report.failed >= limit

    if beyond_limit():
        report.stopped = _stopped_by(run, report)
        return
    with Workers(worker, run.n_workers) as workers:
        for batch, results in _in_order(workers, make_batches(books.todo()), run):
            for planned, outcome, rows in results:
                books.enter_new(planned, outcome, rows)
                if beyond_limit():
                    break
            if batch.ends_segment or beyond_limit():
                books.writer.commit()
            report.tick()
            books.listener.advanced(report)
            if beyond_limit():
                report.stopped = _stopped_by(run, report)
                break


def _stopped_by(run: RunConfig, report: Report) -> str:
    rule = "--strict" if run.strict else f"--max-failures {run.max_failures}"
    return (
        f"{report.failed:,} failed, and {rule} says to stop; what is done is kept: "
        "mend them and add --retry-failed, or allow more failures"
    )


Results = list[tuple[PlannedInput, "Outcome", "list[Array]"]]


def _in_order(
    workers: Workers[Batch, Results], batches: Iterable[Batch], run: RunConfig
) -> Iterator[tuple[Batch, Results]]:
    """Results in the order of the batches, with a bounded number under way.

    A slow writer is asked for the next result later, so nothing new is begun meanwhile.
    """
    waiting: deque[tuple[Batch, Promise[Results]]] = deque()
    under_way = 0
    # Audio, frames and mel of a batch take a few times the audio alone.
    budget = run.memory // 4
    for batch in batches:
        while waiting and (
            len(waiting) >= 2 * run.n_workers + 1 or under_way + batch.n_bytes > budget
        ):
            first, promise = waiting.popleft()
            yield first, promise.result()
            under_way -= first.n_bytes
        waiting.append((batch, workers.submit(batch)))
        under_way += batch.n_bytes
    while waiting:
        first, promise = waiting.popleft()
        yield first, promise.result()


def _output_bytes(path: Path, writer: Writer) -> int:
    try:
        return writer.n_bytes_written if path.is_dir() else path.stat().st_size
    except OSError:
        return 0
