"""Spectra from mels, beside librosa's least squares and the clamped pseudo-inverse of torchaudio.

    python -m benchmarks.inversion some.wav --seconds 3    minutes, most of them librosa's
    python -m benchmarks.inversion --without-librosa       the recordings of examples/audio
    python -m benchmarks.inversion --only command          an hour of mels by `melcli invert`

Of each recording the middle becomes a spectrum, that a mel of float32, and that a spectrum again;
by each method in turn, in one run, with one thread (of NumPy's products by OMP_NUM_THREADS=1). Told
are the worst residual of a frame, |A x - m| / |m|, for the signal as it is and scaled by 1e-3 and
1e-6; the log-spectral distance to the true spectrum in decibels of amplitude, over frames, where
both count no lower than 60, 80 or 100 dB below the loudest bin, or no lower than 1e-10 (none); the
spectral convergence | |X| - |Y| | / |X| of the amplitudes; and seconds of audio in a second.

librosa is `librosa.feature.inverse.mel_to_stft`. What torchaudio's `InverseMelScale` gives, by each
of its drivers that works, is the pseudo-inverse with its negative numbers set to 0 (peers compares
the two); here it is one product in NumPy.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
import warnings
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import librosa
import numpy as np
import torch

from benchmarks import corpora, figures, measure
from benchmarks.figures import Spread
from melcli.dsp.inversion import BandInversion

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Spectrum = NDArray[np.floating[Any]]

RATE: Final = 16_000
SETTINGS: Final[dict[str, tuple[int, int, bool, Any]]] = {
    "1024/80 slaney": (1024, 80, False, "slaney"),
    "2048/128 htk": (2048, 128, True, None),
}
LEVELS: Final = (1.0, 1e-3, 1e-6)
ROUNDS: Final = 5
"""Of what takes milliseconds; librosa takes seconds, and has one."""
DEPTHS: Final = (60.0, 80.0, 100.0, None)
CORPORA: Final = Path(__file__).parent / "corpora"
N_CLIPS: Final = 360
"""An hour of them."""
OUTPUTS: Final[dict[str, list[str]]] = {"spectra": [], "waveforms": ["--audio"]}


class Answer(NamedTuple):
    """How good one answer was."""

    residual: float
    distances: tuple[float, ...]
    convergence: float
    speed: float


def worst_residual(bank: Spectrum, found: Spectrum, mel: Spectrum) -> float:
    """Of any frame; frames of nothing have none."""
    norm = np.linalg.norm(mel, axis=0)
    apart = np.linalg.norm(bank @ found.astype(float) - mel, axis=0)
    return float((apart / np.where(norm > 0, norm, 1.0)).max())


def distance(ours: Spectrum, true: Spectrum, depth: float | None) -> float:
    """The log-spectral distance of amplitudes."""
    floor = 1e-10 if depth is None else true.max() * 10 ** (-depth / 20)
    apart = 20 * np.log10(np.maximum(ours, floor) / np.maximum(true, floor))
    return float(np.sqrt(np.square(apart).mean(axis=0)).mean())


class Problem:
    """A spectrum, its mel, and who finds the one from the other."""

    def __init__(self, samples: Spectrum, setting: str, power: float) -> None:
        self.n_fft, n_mels, self.htk, self.norm = SETTINGS[setting]
        self.power, self.seconds = power, len(samples) / RATE
        bank = librosa.filters.mel(
            sr=RATE, n_fft=self.n_fft, n_mels=n_mels, htk=self.htk, norm=self.norm
        )
        self.bank = bank.astype(np.float64)
        wide = samples.astype(np.float64)
        stft = librosa.stft(wide, n_fft=self.n_fft, hop_length=self.n_fft // 4)
        self.true = np.abs(stft) ** power
        self.mel = (self.bank @ self.true).astype(np.float32)
        self._invert = BandInversion(torch.from_numpy(self.bank))
        self._invert(torch.from_numpy(self.mel[:, :2].T.copy()))
        self._inverse = np.linalg.pinv(self.bank).astype(np.float32)

    def melcli(self, mel: Spectrum) -> Spectrum:
        """Ours."""
        rows = torch.from_numpy(np.ascontiguousarray(mel.T))
        found: Spectrum = self._invert(rows).spectra.numpy().T
        return found

    def pseudo_inverse(self, mel: Spectrum) -> Spectrum:
        """What torchaudio gives."""
        found: Spectrum = np.maximum(self._inverse @ mel, 0.0)
        return found

    def librosa(self, mel: Spectrum) -> Spectrum:
        """Its own function, of which the root is taken back."""
        found = librosa.feature.inverse.mel_to_stft(
            mel, sr=RATE, n_fft=self.n_fft, power=self.power, htk=self.htk, norm=self.norm
        )
        back: Spectrum = found.astype(float) ** self.power
        return back

    def answer(self, who: str) -> Answer:
        """How one of them does."""
        method, residuals = getattr(self, who), []
        found, took = method(self.mel[:, :1]), []
        for _ in range(1 if who == "librosa" else ROUNDS):
            began = time.perf_counter()
            found = method(self.mel)
            took.append(time.perf_counter() - began)
        for level in LEVELS if who != "librosa" else LEVELS[:2]:
            mel = (self.mel * level**self.power).astype(np.float32)
            of_level = found if level == 1 else method(mel)
            residuals.append(worst_residual(self.bank, of_level, mel.astype(float)))
        ours, true = (np.maximum(x, 0) ** (1 / self.power) for x in (found, self.true))
        return Answer(
            max(residuals),
            tuple(distance(ours, true, depth) for depth in DEPTHS),
            float(np.linalg.norm(ours - true) / np.linalg.norm(true)),
            self.seconds / statistics.median(took),
        )


def quality(
    paths: Sequence[Path], seconds: float, settings: Sequence[str], powers: Sequence[float],
    *, with_librosa: bool,
) -> None:  # fmt: skip
    """A table for each setting and power, over all recordings."""
    methods = ["melcli", "pseudo_inverse"] + ["librosa"] * with_librosa
    depths = ["none" if depth is None else f"{depth:.0f} dB" for depth in DEPTHS]
    columns = ["", "worst residual", *(f"LSD, {d}" for d in depths), "convergence", "x real time"]
    for setting in settings:
        for power in powers:
            found: defaultdict[str, list[Answer]] = defaultdict(list)
            for path in paths:
                measure.tell(f"{setting}, power {power:g}: {path.name}")
                length = librosa.get_duration(path=path)
                offset = max(0.0, (length - seconds) / 2)
                samples, _ = librosa.load(path, sr=RATE, offset=offset, duration=seconds)
                problem = Problem(samples, setting, power)
                for who in methods:
                    found[who].append(problem.answer(who))
            print(f"\n{setting}, power {power:g}\n")
            print(figures.table(columns, [_row(who, of_all) for who, of_all in found.items()]))
            for other in methods[1:]:
                _compare(other, found["melcli"], found[other])
            sys.stdout.flush()


def _row(who: str, answers: Sequence[Answer]) -> list[str]:
    distances = zip(*(a.distances for a in answers), strict=True)
    return [
        who,
        f"{max(a.residual for a in answers):.1e}",
        *(Spread.of(of_depth).text(".1f") for of_depth in distances),
        Spread.of(a.convergence for a in answers).text(".3f"),
        Spread.of(a.speed for a in answers).text(",.0f"),
    ]


def _compare(other: str, ours: Sequence[Answer], theirs: Sequence[Answer]) -> None:
    """How much nearer, and how much faster, recording by recording."""
    nearer = [
        Spread.of(b.distances[k] - a.distances[k] for a, b in zip(ours, theirs, strict=True))
        for k in range(len(DEPTHS))
    ]
    faster = figures.ratios([a.speed for a in ours], [b.speed for b in theirs])
    told = ", ".join(spread.text(".1f") for spread in nearer)
    print(f"\nmelcli beside {other}: nearer by {told} dB; speed {faster.text(',.1f')} times")


def command(rounds: int, sources: Sequence[Path]) -> None:
    """What `melcli invert` takes for an hour of mels, start and files included, with all cores."""
    corpus = corpora.make(CORPORA, corpora.find_sources(sources), corpora.WAV, N_CLIPS)
    melcli = [sys.executable, "-m", "melcli"]
    front_end = ["--config", "librosa", "--set", "wave.sample_rate=16000"]
    front_end += ["--set", "frame.n_fft=1024", "--set", "frame.hop_length=256"]
    front_end += ["--set", "mel.n_mels=80"]
    speeds: defaultdict[str, list[float]] = defaultdict(list)
    with tempfile.TemporaryDirectory() as folder:
        names, mels = Path(folder, "names"), f"{folder}/mels.h5"
        names.write_text("\n".join(map(str, corpus.files)), encoding="utf-8")
        measure.run([*melcli, "extract", "--files-from", str(names), "-o", mels, *front_end, "-q"])
        for number in range(rounds):
            measure.tell(f"round {number + 1} of {rounds}")
            for what, options in OUTPUTS.items():
                out = f"{folder}/{number}-{what}" + ("/" if "--audio" in options else ".h5")
                run = measure.run([*melcli, "invert", mels, "-o", out, *options, "-q"])
                speeds[what].append(corpus.seconds / run.seconds)
    rows = [[what, Spread.of(found).text(",.0f")] for what, found in speeds.items()]
    print(figures.table([f"melcli invert, {N_CLIPS} clips of 10 s", "x real time"], rows))


def main() -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.inversion", description=__doc__)
    parser.add_argument("recordings", nargs="*", type=Path)
    parser.add_argument("--seconds", type=float, default=15.0)
    parser.add_argument("--setting", choices=SETTINGS)
    parser.add_argument("--power", type=float)
    parser.add_argument("--without-librosa", action="store_true")
    parser.add_argument("--only", choices=["quality", "command"])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--sources", type=Path, action="append", default=[], help="of the corpus")
    args = parser.parse_args()
    if args.only != "command":
        torch.set_num_threads(1)
        warnings.simplefilter("ignore")
        found = corpora.EXAMPLES.rglob("*.*")
        paths = args.recordings or sorted(path for path in found if path.suffix != ".md")
        settings = [args.setting] if args.setting else list(SETTINGS)
        powers = [args.power] if args.power else [1.0, 2.0]
        with_librosa = not args.without_librosa
        quality(paths, args.seconds, settings, powers, with_librosa=with_librosa)
    if args.only != "quality":
        command(args.rounds, args.sources)
    return 0


if __name__ == "__main__":
    sys.exit(main())
