"""Waveforms from magnitudes, beside librosa's Griffin-Lim and torchaudio's loop.

    python -m benchmarks.griffinlim                    some minutes
    python -m benchmarks.griffinlim some.wav --seconds 10 --rounds 9

The recordings, one behind the other, are cut to clips of so many seconds. The magnitudes of a clip
become a waveform again by each method in turn, round by round, with one thread: 32 iterations,
momentum 0.99, frames centred and reflected. Told are milliseconds for a second of audio, the random
phases to start from included, and how many times longer than melcli it took in the same round.
Then, all started from the same phases, the inconsistency | |STFT(y)| - S | / |S|, as it is and over
melcli's.

torchaudio's loop is written out here over torch.stft and torch.istft: torchaudio is not needed.
"""

from __future__ import annotations

import argparse
import sys
import time
import warnings
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import librosa
import numpy as np
import torch
from torch import Tensor

from benchmarks import figures, measure
from benchmarks.figures import Spread
from melcli.config import Frame, Mel, MelConfig, Spec, Wave
from melcli.dsp.griffinlim import GriffinLim

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

    Samples = NDArray[np.floating[Any]]

EXAMPLES: Final = measure.ROOT / "examples" / "audio"
SETTINGS: Final = {"1024/256 at 16 kHz": (1024, 16_000), "2048/512 at 22.05 kHz": (2048, 22_050)}
MOMENTUM: Final = 0.99
ITERATIONS: Final = 32


class Problem:
    """The magnitudes of one clip, and who finds a waveform for them."""

    def __init__(self, samples: Samples, n_fft: int, sample_rate: int) -> None:
        self.n_fft, self.hop, self.n_samples = n_fft, n_fft // 4, len(samples)
        self.magnitudes = self._stft(samples).astype(np.float32)
        self._columns = torch.from_numpy(self.magnitudes)
        self._rows = self._columns.T.contiguous()
        self._window = torch.hann_window(n_fft)
        config = MelConfig(
            wave=Wave(sample_rate=sample_rate),
            frame=Frame(n_fft=n_fft, hop_length=self.hop),
            spec=Spec(power=1.0),
            mel=Mel(n_mels=40),
        )
        self._griffinlim = GriffinLim(config, n_iter=ITERATIONS, momentum=MOMENTUM)
        self.methods: dict[str, Callable[[], Samples]] = {
            "melcli": self.melcli,
            "librosa": self.librosa,
            "torchaudio's loop": self.torchaudio,
        }

    def _stft(self, samples: Samples) -> Samples:
        spectrum = librosa.stft(
            samples.astype(np.float64), n_fft=self.n_fft, hop_length=self.hop, pad_mode="reflect"
        )
        magnitudes: Samples = np.abs(spectrum)
        return magnitudes

    def inconsistency(self, samples: Samples) -> float:
        """How far the magnitudes of an answer are from those asked for."""
        apart = self._stft(samples) - self.magnitudes
        return float(np.linalg.norm(apart) / np.linalg.norm(self.magnitudes))

    def answers(self) -> Iterator[tuple[str, Samples]]:
        """What each method finds from the phases that librosa draws."""
        turns = np.random.RandomState(0).random_sample(self.magnitudes.shape)
        phases = torch.from_numpy(2 * np.pi * turns).to(torch.float32)
        yield "melcli", self.melcli(phases.T.contiguous())
        yield "librosa", self.librosa()
        yield "torchaudio's loop", self.torchaudio(torch.polar(torch.ones_like(phases), phases))

    def melcli(self, start: Tensor | None = None) -> Samples:
        """Find a waveform as melcli does."""
        return self._griffinlim.rows(self._rows, self.n_samples, start).numpy()

    def librosa(self) -> Samples:
        """Find one as librosa does."""
        found: Samples = librosa.griffinlim(
            self.magnitudes,
            n_iter=ITERATIONS,
            hop_length=self.hop,
            momentum=MOMENTUM,
            pad_mode="reflect",
            length=self.n_samples,
            random_state=np.random.RandomState(0),
        )
        return found

    def torchaudio(self, angles: Tensor | None = None) -> Samples:
        """Find one as torchaudio's transform does: its start has no unit length."""
        magnitudes, before = self._columns, None
        if angles is None:
            angles = torch.rand(magnitudes.shape, dtype=torch.complex64)
        for _ in range(ITERATIONS):
            waveform = self._istft(magnitudes * angles)
            rebuilt = torch.stft(
                waveform, self.n_fft, self.hop, window=self._window, return_complex=True
            )
            angles = rebuilt
            if before is not None:
                angles = angles - before * (MOMENTUM / (1 + MOMENTUM))
            angles = angles / (angles.abs() + 1e-16)
            before = rebuilt
        return self._istft(magnitudes * angles).numpy()

    def _istft(self, spectra: Tensor) -> Tensor:
        return torch.istft(
            spectra, self.n_fft, self.hop, window=self._window, length=self.n_samples
        )


def clips(paths: Sequence[Path], sample_rate: int, seconds: float) -> Iterator[Samples]:
    """All recordings one behind the other, cut to a length; what is left at the end is left out."""
    joined = np.concatenate([librosa.load(path, sr=sample_rate)[0] for path in paths])
    n_samples = round(seconds * sample_rate)
    for start in range(0, len(joined) - n_samples + 1, n_samples):
        yield joined[start : start + n_samples]


def rows(paths: Sequence[Path], lengths: Sequence[float], n_rounds: int) -> Iterator[list[str]]:
    """One row for each setting, length and method, over all clips and rounds."""
    for setting, (n_fft, sample_rate) in SETTINGS.items():
        for seconds in lengths:
            took: defaultdict[str, list[float]] = defaultdict(list)
            wrong: defaultdict[str, list[float]] = defaultdict(list)
            for number, clip in enumerate(clips(paths, sample_rate, seconds), start=1):
                measure.tell(f"{setting}, {seconds:g} s: clip {number}")
                problem = Problem(clip, n_fft, sample_rate)
                for who, answer in problem.answers():  # and all is warm from here on
                    wrong[who].append(problem.inconsistency(answer))
                for _ in range(n_rounds):
                    for who, method in problem.methods.items():
                        began = time.perf_counter()
                        method()
                        took[who].append((time.perf_counter() - began) / seconds * 1000)
            for who, times in took.items():
                yield [
                    f"{setting}, {seconds:g} s: {who}",
                    Spread.of(times).text(".1f"),
                    figures.ratios(times, took["melcli"]).text(".2f"),
                    Spread.of(wrong[who]).text(".4f"),
                    figures.ratios(wrong[who], wrong["melcli"]).text(".4f"),
                ]


def main() -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.griffinlim", description=__doc__)
    parser.add_argument("recordings", nargs="*", type=Path)
    parser.add_argument("--seconds", type=float, action="append", help="3, 7 and 15, if left out")
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    listed = args.recordings or EXAMPLES.rglob("*")
    paths = sorted(p for p in listed if p.is_file() and p.suffix != ".md")
    columns = ["", "ms a second", "over melcli's", "inconsistency", "over melcli's"]
    print(figures.table(columns, rows(paths, args.seconds or [3, 7, 15], args.rounds)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
