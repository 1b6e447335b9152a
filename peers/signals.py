"""Random signals and random front ends, for the peers to be asked about."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from hypothesis import assume
from hypothesis import strategies as st

from melcli import frames
from melcli.dsp.frontend import FrontEnd
from melcli.dsp.mel import config_filterbank

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from melcli.config import MelConfig

RATES = (16000, 22050, 44100, 8000, 48000)
ODD_RATES = (11025, 7999, 44101)
WINDOWS: tuple[Any, ...] = (
    "hann",
    "hamming",
    "blackman",
    "bartlett",
    "boxcar",
    "nuttall",
    "cosine",
    ("kaiser", 8.6),
    ("tukey", 0.4),
    ("gaussian", 40.0),
)
POWERS = (2.0, 1.0, 1.5, 3.0)


def choice(options: Sequence[Any]) -> st.SearchStrategy[Any]:
    """One of these. Untyped: a config checks its values itself."""
    return st.sampled_from(options)


@dataclass(frozen=True)
class Signal:
    """A signal that a failing test names in one line."""

    n_samples: int
    seed: int

    @property
    def samples(self) -> NDArray[np.float32]:
        """A tone in noise, a tenth of it 80 dB softer and another tenth silent, wherever."""
        n, rng = self.n_samples, np.random.default_rng(self.seed)
        samples = 0.4 * np.sin(rng.uniform(0.05, 2.5) * np.arange(n) + rng.uniform(0.0, 6.0))
        samples += 0.1 * rng.standard_normal(n)
        for factor in (1e-4, 0.0):
            start = int(rng.integers(n))
            # Never all of it: of nothing there is nothing to compare.
            samples[max(1, start) : start + n // 10] *= factor
        return np.asarray(samples.clip(-1.0, 1.0), np.float32)


def ours(config: MelConfig, signal: Signal) -> NDArray[np.float32]:
    """The rows of one item."""
    rows = FrontEnd(config).rows([torch.from_numpy(signal.samples)])[0]
    return np.asarray(rows.numpy())


def every_filter_holds_a_bin(config: MelConfig) -> bool:
    """Whether no band of a front end is always zero, or has only what rounding leaves it."""
    return bool((_bank_without_norm(config).amax(dim=1) > 1e-4).all())


def _bank_without_norm(config: MelConfig) -> torch.Tensor:
    return config_filterbank(config.updated({"mel.fb_norm": "none"}))


@st.composite
def signals_for(
    draw: st.DrawFn, config: MelConfig, *, at_least: int = 1, most_frames: int = 30
) -> Signal:
    """A signal for a front end, often as short as it may be, or on either side of a whole hop."""
    # Where no filter holds a bin, there is only rounding to compare.
    assume(bool(_bank_without_norm(config).amax() > 1e-4))
    hop = config.frame.hop_length
    low = max(at_least, frames.shortest(config))
    if config.frame.pad_mode == "symmetric":
        # melcli goes to and fro over a signal shorter than its padding. Of a few samples that makes
        # a comb, or a constant: next to nothing between its teeth, so rounding is all there is.
        low = max(low, config.span // 2)
    high = max(low, min(low + most_frames * hop, 40_000))
    whole = st.integers(low // hop + 1, max(low // hop + 1, high // hop))
    near_whole = st.tuples(whole, st.integers(-1, 1)).map(lambda p: max(low, p[0] * hop + p[1]))
    length = draw(st.one_of(st.integers(low, high), st.just(low), near_whole), label="samples")
    return Signal(length, draw(st.integers(0, 2**20), label="seed"))


@st.composite
def fft_shapes(
    draw: st.DrawFn, *, smallest: int = 8, odd: bool = True, windowed: bool = True
) -> dict[str, Any]:
    """``n_fft``, ``hop_length`` and ``win_length`` of a frame."""
    usual = st.sampled_from((400, 512, 1024, 2048, 320, 551 if odd else 550))
    any_size = st.integers((smallest + 1) // 2, 600).map(lambda half: 2 * half)
    sizes = st.one_of(usual, any_size, st.integers(smallest, 1200)) if odd else usual | any_size
    n_fft = draw(sizes, label="n_fft")
    win_length = (
        draw(st.just(n_fft) | st.integers(max(2, n_fft // 3), n_fft)) if windowed else n_fft
    )
    hop_length = draw(st.integers(max(1, n_fft // 8), n_fft), label="hop_length")
    return {"n_fft": n_fft, "hop_length": hop_length, "win_length": win_length}


@st.composite
def bands(
    draw: st.DrawFn, sample_rate: int, *, fewest: int = 1, most: int = 80, lowest: float = 0.0
) -> dict[str, Any]:
    """``n_mels``, ``f_min`` and ``f_max`` of a filterbank; ``f_max`` may be left out."""
    nyquist = sample_rate // 2
    f_min = draw(st.just(lowest) | st.integers(0, nyquist // 3).map(float), label="f_min")
    f_max = draw(st.none() | st.integers(int(f_min) + nyquist // 5, nyquist).map(float))
    return {"n_mels": draw(st.integers(fewest, most)), "f_min": f_min, "f_max": f_max}
