"""The engine on a GPU beside the CPU: the same clips, from memory to memory, as JSON and a table.

    python -m benchmarks.gpu            needs a CUDA device; prints what docs/performance.md keeps

Timed is what a worker does after decoding: staging, the way there, the front end, the way back.
"""

from __future__ import annotations

import sys
import time
from concurrent.futures import ThreadPoolExecutor
from statistics import median
from typing import Final

import torch

from melcli import presets
from melcli.dsp.frontend import FrontEnd
from melcli.pipeline.device import set_for_a_run
from melcli.pipeline.engine import Engine

NAMES: Final = ("whisper-80", "hifigan-22k", "kaldi-fbank-80", "librosa")
SECONDS, CLIPS, BATCH, ROUNDS = 10, 256, 32, 5
THREADS: Final = (1, 2, 4)


def speed(engine: Engine, clips: list[torch.Tensor], n_threads: int) -> float:
    """Seconds of audio in a second, the median of some rounds."""
    batches = [clips[first : first + BATCH] for first in range(0, len(clips), BATCH)]
    taken = []
    with ThreadPoolExecutor(n_threads) as pool:
        for _ in range(ROUNDS + 1):  # the first warms up
            began = time.perf_counter()
            for _rows in pool.map(engine.rows, batches):
                pass
            taken.append(time.perf_counter() - began)
    return len(clips) * SECONDS / median(taken[1:])


def main() -> None:
    """Print a line for each front end, device, dtype and number of threads."""
    if not torch.cuda.is_available():
        sys.exit("torch sees no CUDA device")
    out = sys.stdout
    out.write(f"{torch.cuda.get_device_name(0)}, torch {torch.__version__}\n\n")
    out.write("| front end | device | samples | threads | x real time |\n|---|---|---|---|---|\n")
    for name in NAMES:
        config = presets.load(name).config
        generator = torch.Generator().manual_seed(0)
        n_samples = SECONDS * config.wave.sample_rate
        noise = torch.randn(CLIPS, n_samples, generator=generator).mul_(0.1).clamp_(-1, 1)
        kinds = {"float32": list(noise), "int16": list((noise * 32767).to(torch.int16))}
        for device in ("cpu", "cuda"):
            engine = Engine(FrontEnd(config).to(device))
            for kind, clips in kinds.items():
                for n_threads in THREADS:
                    with set_for_a_run(), torch.inference_mode():
                        found = speed(engine, clips, n_threads)
                    out.write(f"| {name} | {device} | {kind} | {n_threads} | {found:,.0f} |\n")


if __name__ == "__main__":
    main()
