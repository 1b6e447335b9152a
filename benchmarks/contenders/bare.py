"""What the work costs without a program around it: the floor under melcli's own pipeline.

Batches as large as melcli's are decoded with soundfile, resampled with soxr, computed with the
same mel and written to a plain file, which is synced: first all of it on one thread, adding up
processor time; then decoding alone and the mel alone, each on a thread a core, by the clock.
Called like a contender; prints JSON.
"""

from __future__ import annotations

import json
import os
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import soundfile
import soxr
import torch

from benchmarks.contenders.task import CONFIG, N_WORKERS, SAMPLE_RATE, arguments
from melcli import presets
from melcli.dsp.frontend import FrontEnd

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

BATCH_SAMPLES = 1 << 20
"""4 MiB of float32, about what the pipeline computes at once."""


def decode(path: str) -> tuple[torch.Tensor, int]:
    """One float32 channel and its sample rate; integers are scaled, channels added in torch."""
    with soundfile.SoundFile(path) as file:
        rate = file.samplerate
        samples = torch.from_numpy(file.read(dtype="int16", always_2d=True))
    waveform = samples[:, 0].float()
    for channel in range(1, samples.shape[1]):
        waveform += samples[:, channel]
    return waveform / (32768 * samples.shape[1]), rate


def resample(waveform: torch.Tensor, rate: int) -> torch.Tensor:
    """At the front end's rate."""
    if rate == SAMPLE_RATE:
        return waveform
    return torch.from_numpy(soxr.resample(waveform.numpy(), rate, SAMPLE_RATE))


def batches(paths: list[str]) -> Iterator[list[str]]:
    """Paths in groups of about `BATCH_SAMPLES`; all are like the first."""
    info = soundfile.info(paths[0])
    n_files = max(1, int(BATCH_SAMPLES / SAMPLE_RATE / info.duration))
    for first in range(0, len(paths), n_files):
        yield paths[first : first + n_files]


class Stopwatch:
    """Processor seconds of this thread, by step."""

    def __init__(self) -> None:
        self.seconds = {"decode": 0.0, "resample": 0.0, "mel": 0.0, "write": 0.0}

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Add what happens inside to a step."""
        began = time.thread_time()
        yield
        self.seconds[name] += time.thread_time() - began


def one_thread(frontend: FrontEnd, grouped: list[list[str]], descriptor: int) -> dict[str, float]:
    """Do everything once, in order."""
    watch = Stopwatch()
    for paths in grouped:
        with watch.step("decode"):
            decoded = [decode(path) for path in paths]
        with watch.step("resample"):
            waveforms = [resample(waveform, rate) for waveform, rate in decoded]
        with watch.step("mel"):
            mels = frontend.rows(waveforms)
        with watch.step("write"):
            for mel in mels:
                os.write(descriptor, mel.contiguous().numpy().data)
    with watch.step("write"):
        os.fsync(descriptor)
    return watch.seconds


def a_thread_a_core(work: Callable[[Any], object], tasks: Iterable[Any]) -> float:
    """Seconds by the clock for all tasks."""
    with ThreadPoolExecutor(N_WORKERS) as pool:
        list(pool.map(id, range(N_WORKERS)))  # the threads are there
        began = time.perf_counter()
        for _ in pool.map(work, tasks):
            pass
        return time.perf_counter() - began


def main() -> None:
    """Measure, and print what was found."""
    paths, out = arguments()
    torch.set_num_threads(1)
    frontend = FrontEnd(presets.load(str(CONFIG)).config)
    grouped = list(batches(paths))

    def decode_only(paths: list[str]) -> None:
        for path in paths:
            decode(path)

    def mel_only(waveforms: list[torch.Tensor]) -> None:
        with torch.inference_mode():
            frontend.rows(waveforms)

    with (out / "rows").open("wb", buffering=0) as file, torch.inference_mode():
        one_thread(frontend, grouped[:2], file.fileno())  # warms up
        cpu = one_thread(frontend, grouped, file.fileno())
        waveforms = [[resample(*decode(path)) for path in group] for group in grouped]
    a_thread_a_core(mel_only, waveforms[: 2 * N_WORKERS])
    clock = {
        "decode": a_thread_a_core(decode_only, grouped),
        "mel": a_thread_a_core(mel_only, waveforms),
    }
    json.dump({"cpu": cpu, "clock": clock}, sys.stdout)


if __name__ == "__main__":
    main()
