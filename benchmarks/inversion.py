"""Spectra from mels, beside librosa's least squares and the clamped pseudo-inverse of torchaudio.

    python -m benchmarks.inversion                     some minutes, most of them librosa's
    python -m benchmarks.inversion --without-librosa

Of each recording the first seconds become a spectrum, that a mel, and that a spectrum again; all in
one run, each with one thread. Told are the residual of the mel, |A x - m| / |m|, of the worst
frame; the log-spectral distance to the true spectrum in decibels of amplitude, frames averaged,
100 dB deep; the spectral convergence of the amplitudes; and seconds.
"""

from __future__ import annotations

import argparse
import sys
import time
import warnings
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import librosa
import numpy as np
import torch

from benchmarks import figures, measure
from benchmarks.figures import Spread
from melcli.dsp.inversion import BandInversion

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    Spectrum = NDArray[np.floating[Any]]

RATE: Final = 16_000
EXAMPLES: Final = measure.ROOT / "examples" / "audio"
SETTINGS: Final[dict[str, tuple[int, int, bool, Any]]] = {
    "1024/80 slaney": (1024, 80, False, "slaney"),
    "2048/128 htk": (2048, 128, True, None),
}
DEPTH: Final = 1e-5
"""Amplitudes below this of the loudest bin are taken for that: 100 dB."""


class Answer(NamedTuple):
    """How good one answer was."""

    residual: float
    distance: float
    convergence: float
    seconds: float


def judge(bank: Spectrum, found: Spectrum, true: Spectrum, power: float, seconds: float) -> Answer:
    """Compare spectra ``(n_freqs, n_frames)`` of amplitude to some power."""
    mel, target = bank @ found, bank @ true
    norm = np.linalg.norm(target, axis=0)
    residual = np.linalg.norm(mel - target, axis=0) / np.where(norm > 0, norm, 1.0)
    ours, theirs = (np.maximum(x, 0) ** (1 / power) for x in (found, true))
    floor = DEPTH * theirs.max()
    apart = 20 * np.log10(np.maximum(ours, floor) / np.maximum(theirs, floor))
    return Answer(
        float(residual.max()),
        float(np.sqrt(np.square(apart).mean(axis=0)).mean()),
        float(np.linalg.norm(ours - theirs) / np.linalg.norm(theirs)),
        seconds,
    )


def answers(
    path: Path, setting: str, power: float, seconds: float, *, with_librosa: bool
) -> Iterator[tuple[str, Answer]]:
    """What each method makes of one recording."""
    n_fft, n_mels, htk, norm = SETTINGS[setting]
    samples, _ = librosa.load(path, sr=RATE, duration=seconds)
    bank = librosa.filters.mel(sr=RATE, n_fft=n_fft, n_mels=n_mels, htk=htk, norm=norm)
    bank = bank.astype(np.float64)
    hop = n_fft // 4
    true = np.abs(librosa.stft(samples.astype(np.float64), n_fft=n_fft, hop_length=hop)) ** power
    mel = bank @ true
    invert = BandInversion(torch.from_numpy(bank))
    mels = torch.from_numpy(np.ascontiguousarray(mel.T))
    invert(mels[:1])
    began = time.perf_counter()
    found = invert(mels).spectra
    took = time.perf_counter() - began
    yield "melcli", judge(bank, found.numpy().T, true, power, took)
    inverse = np.linalg.pinv(bank)
    began = time.perf_counter()
    clamped = np.maximum(inverse @ mel, 0.0)
    took = time.perf_counter() - began
    yield "pseudo-inverse", judge(bank, clamped, true, power, took)
    if with_librosa:
        began = time.perf_counter()
        refined = librosa.util.nnls(bank, mel)
        took = time.perf_counter() - began
        yield "librosa", judge(bank, refined, true, power, took)


def rows(paths: Sequence[Path], seconds: float, *, with_librosa: bool) -> Iterator[list[str]]:
    """One row for each setting, power and method, over all recordings."""
    for setting in SETTINGS:
        for power in (1.0, 2.0):
            found: defaultdict[str, list[Answer]] = defaultdict(list)
            for path in paths:
                measure.tell(f"{setting}, power {power:g}: {path.name}")
                for who, answer in answers(
                    path, setting, power, seconds, with_librosa=with_librosa
                ):
                    found[who].append(answer)
            for who, of_all in found.items():
                yield [
                    f"{setting}, power {power:g}: {who}",
                    f"{max(a.residual for a in of_all):.1e}",
                    Spread.of(a.distance for a in of_all).text(".2f"),
                    Spread.of(a.convergence for a in of_all).text(".3f"),
                    Spread.of(a.seconds for a in of_all).text(".3f"),
                ]


def main() -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.inversion", description=__doc__)
    parser.add_argument("recordings", nargs="*", type=Path)
    parser.add_argument("--seconds", type=float, default=15.0)
    parser.add_argument("--without-librosa", action="store_true")
    args = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    paths = args.recordings or sorted(p for p in EXAMPLES.rglob("*") if p.suffix != ".md")
    columns = ["", "worst residual", "LSD, dB", "convergence", "seconds"]
    found = rows(paths, args.seconds, with_librosa=not args.without_librosa)
    print(figures.table(columns, found))
    return 0


if __name__ == "__main__":
    sys.exit(main())
