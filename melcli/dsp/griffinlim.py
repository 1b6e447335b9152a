"""From magnitudes to waveforms: the phases that frames which overlap can agree on.

Frames overlap, so few spectra are those of a waveform. Given magnitudes ``S`` with any phases
``P``, let every frame be heard, and look at the frames of what is heard [1]::

    y[n] = sum_t w[n - tH] f_t[n - tH] / sum_t w[n - tH]^2        f_t = irfft(S_t P_t)
    R_t[k] = sum_n w[n] y[n + tH] exp(-2 pi i k n / n_fft)
    P = A / |A|,   A = R - b R_before,   b = momentum / (1 + momentum)

and so on. ``y`` is the waveform whose frames are the nearest to ``f`` by least squares, so with
``b = 0`` the distance from ``|R|`` to ``S`` never grows; going beyond each step, ``b > 0``, leads
nearer in as many steps [2].

Padding, window and transform are linear, so ``R - b R_before`` is the spectrum of
``y - b y_before``: no spectrum has to be remembered, and a block of frames is seen, given its
magnitudes and added to the next waveform while it is at hand.

Where frames hardly look, as at the ends of a waveform without padding, the sum of squared windows
is next to nothing and a sample could be anything. It is taken for a twentieth of the most it can
be, at least: without this, speech with a peak of 0.2 began with samples of 1,700.

References:
    [1] D. W. Griffin, J. S. Lim, *Signal Estimation from Modified Short-Time Fourier Transform*,
        IEEE Transactions on Acoustics, Speech, and Signal Processing 32 (2), 1984.
    [2] N. Perraudin, P. Balazs, P. L. Soendergaard, *A Fast Griffin-Lim Algorithm*, IEEE Workshop
        on Applications of Signal Processing to Audio and Acoustics, 2013.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
import torch
from torch import Tensor, nn

from melcli import frames
from melcli.dsp.packing import Packed, Piece, pack, place
from melcli.dsp.precision import kept_precise
from melcli.dsp.stft import Spectrum
from melcli.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from typing import Self

    from melcli.config import MelConfig

_BLOCKS: Final = {"cpu": 1 << 18, "cuda": 1 << 24}
"""Samples in a block of frames: smaller ones fit a cache better, and make more calls."""
_STRETCH: Final = 8192
"""Frames of a long item that are computed at once, or more: minutes, and 17 MB at n_fft 1024."""
_DRAWN: Final = 64
"""Frames whose phases are drawn at once."""
_LEAST_ENERGY: Final = 0.05
"""Of the most that squared windows add up to."""
_TINY: Final = 1e-32
"""Added to the energy of a bin, so that silence can be divided by."""


def least_samples(config: MelConfig, n_frames: int) -> int:
    """The length of the shortest waveform that a front end cuts into just so many frames.

    Args:
        config: The front end; the waveform is at its rate, as the stages over the waveform leave
            it.
        n_frames: That are kept once ``frame.drop_last_frames`` are dropped.

    Raises:
        UsageError: If there is none.

    >>> from melcli.config import MelConfig
    >>> least_samples(MelConfig(), 101)  # centred, hop 160
    16000
    """

    def count(n_samples: int) -> int:
        # A waveform is reflected once, and needs to be longer than that.
        if frame.pad_mode == "reflect" and frames.padded_reach(config, n_samples) >= n_samples:
            return 0
        return frames.framing(config, n_samples).n_frames - frame.drop_last_frames

    frame = config.frame
    low, high = 1, 1
    while count(high) < n_frames:
        low, high = high + 1, 2 * high
    while low < high:  # the count never falls as the waveform grows, so halving finds the edge
        middle = (low + high) // 2
        low, high = (middle + 1, high) if count(middle) < n_frames else (low, middle)
    if n_frames < 1 or count(low) != n_frames:
        raise UsageError(f"n_frames = {n_frames}: no waveform is cut into so many frames")
    return low


class GriffinLim(nn.Module):
    """Finds waveforms whose spectra have given magnitudes, framed as a front end frames.

    A waveform is what frames are cut from: behind the stages over the waveform, such as a gain, and
    before those over single frames, such as taking their mean away.

    An item is computed by itself, so its waveform is bit for bit the same alone and in any batch,
    at once and in :meth:`stretches`.

    Args:
        config: The front end.
        n_iter: How often the phases are improved.
        momentum: How far to go beyond each step, in [0, 1); 0 is the algorithm of 1984.
        seed: Of the phases to start from, drawn for each frame and bin, the same for every item;
            None starts from phase 0.
        w: A window of ``config.win_length`` samples, instead of that of the config.

    Raises:
        UsageError: For a number that is not allowed.

    Magnitudes of a waveform, given its phases, lead nowhere else:

    >>> from melcli.config import Frame, MelConfig
    >>> config = MelConfig(frame=Frame(n_fft=16, hop_length=4, pad_mode="constant"))
    >>> x, w = torch.sin(torch.arange(40) ** 1.5), torch.hann_window(16)
    >>> X = torch.stft(x, 16, 4, window=w, pad_mode="constant", return_complex=True)
    >>> y = GriffinLim(config)(X.abs() ** 2, start=X.angle())
    >>> torch.allclose(x, y, atol=1e-5)
    True
    """

    def __init__(
        self,
        config: MelConfig,
        *,
        n_iter: int = 32,
        momentum: float = 0.99,
        seed: int | None = 0,
        w: Tensor | None = None,
    ) -> None:
        super().__init__()
        if config.spec.power == 0:
            raise UsageError("spec.power = 0: must be more than 0 to tell magnitudes")
        if n_iter < 1:
            raise UsageError(f"n_iter = {n_iter}: must be at least 1")
        if not 0 <= momentum < 1:
            raise UsageError(f"momentum = {momentum}: must be at least 0 and less than 1")
        if seed is not None and seed < 0:
            raise UsageError(f"seed = {seed}: must be at least 0, or None")
        self.config = config
        self.n_iter = n_iter
        self.momentum = momentum
        self.seed = seed
        self.spectrum = Spectrum(config, w)
        squares = self.spectrum.window.to(torch.float64).square()
        hop = config.frame.hop_length
        energy = nn.functional.pad(squares, (0, -len(squares) % hop)).view(-1, hop).sum(dim=0)
        self.least_energy = _LEAST_ENERGY * float(energy.max())

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:  # noqa: FBT001, FBT002, torch's own
        return super()._apply(kept_precise(fn), recurse)  # type: ignore[no-untyped-call, no-any-return]

    @property
    def block_rows(self) -> int:
        """Frames in a block."""
        n_samples = _BLOCKS[self.spectrum.window.device.type]
        return max(1, n_samples // self.config.frame.n_fft)

    @property
    def overlap(self) -> int:
        """How many frames on either side a frame shares samples with."""
        return (self.config.span - 1) // self.config.frame.hop_length

    def forward(
        self, spectra: Tensor, n_samples: int | None = None, start: Tensor | None = None
    ) -> Tensor:
        """Waveforms ``(..., n_samples)`` of spectra ``(..., n_freqs, n_frames)``, each by itself.

        Args:
            spectra: Magnitudes to the power of ``spec.power``, never negative. Float64 is computed
                in float64, all else in float32.
            n_samples: The length wanted, one that is cut into just so many frames; left out, the
                shortest.
            start: What to start from, in the shape of ``spectra``: phases in radians, or complex
                factors of the magnitudes.

        Raises:
            UsageError: For a shape or a length that does not fit.
        """
        if spectra.dim() < 2 or spectra.shape[-2] != self.config.n_freqs:
            raise self._unfit(spectra, "(..., n_freqs, n_frames)")
        _check_start(start, spectra)
        *leading, n_freqs, n_frames = spectra.shape
        n_samples = self._length(n_frames, n_samples)
        items = spectra.reshape(-1, n_freqs, n_frames).transpose(1, 2)
        starts: Iterable[Tensor | None] = [None] * len(items)
        if start is not None:
            starts = start.reshape(items.mT.shape).transpose(1, 2)
        waveforms = [self.rows(item, n_samples, s) for item, s in zip(items, starts, strict=True)]
        if not waveforms:
            return spectra.new_empty(*leading, n_samples)
        return torch.stack(waveforms).reshape(*leading, n_samples)

    def rows(
        self, spectra: Tensor, n_samples: int | None = None, start: Tensor | None = None
    ) -> Tensor:
        """The same for one item in rows: ``(n_frames, n_freqs)`` to ``(n_samples,)``."""
        if spectra.dim() != 2 or spectra.shape[1] != self.config.n_freqs:
            raise self._unfit(spectra, "(n_frames, n_freqs)")
        _check_start(start, spectra)
        n_samples = self._length(len(spectra), n_samples)
        stretch = _Stretch.of(self.config, n_samples, 0, len(spectra), len(spectra))
        return _Search(self, spectra, stretch, start).run()

    def stretches(
        self, read: Callable[[int, int], Tensor], n_frames: int, n_samples: int | None = None
    ) -> Iterator[Tensor]:
        """The waveform of an item of any length, in pieces: bit for bit that of :meth:`rows`.

        In an iteration, a frame learns of those that it shares samples with. So what is further
        away than all iterations can reach changes nothing: each stretch is computed with so many
        frames more on either side, which are then forgotten.

        Args:
            read: Gives the rows of spectra from one frame up to another, ``(n, n_freqs)``; some it
                is asked for twice.
            n_frames: Of the item.
            n_samples: As for :meth:`forward`.

        Yields:
            The waveform in order, some minutes at a time.
        """
        n_samples = self._length(n_frames, n_samples)
        # One overlap for each time that waveforms are heard, and one for what padding reflects.
        reach, rows = (self.n_iter + 2) * self.overlap + 3, self.block_rows
        # Blocks begin at the same frames as in the whole, so sums are added up in the same order.
        step = math.ceil(max(_STRETCH, 2 * reach) / rows) * rows
        done = 0
        for begin in range(0, n_frames, step):
            end = min(begin + step, n_frames)
            first = max(0, begin - reach) // rows * rows
            stop = min(math.ceil((end + reach) / rows) * rows, n_frames)
            stretch = _Stretch.of(self.config, n_samples, first, stop, n_frames)
            waveform = _Search(self, read(first, stop), stretch).run()
            until = n_samples
            if end < n_frames:
                until = _first_sample(self.config, n_samples, end)
            yield waveform[done - stretch.low : until - stretch.low]
            done = until

    def _unfit(self, spectra: Tensor, shape: str) -> UsageError:
        has = tuple(spectra.shape)
        return UsageError(
            f"spectra of shape {has}: must be {shape}, n_freqs = {self.config.n_freqs}"
        )

    def _length(self, n_frames: int, n_samples: int | None) -> int:
        least = least_samples(self.config, n_frames)
        if n_samples is None:
            return least
        most = least_samples(self.config, n_frames + 1) - 1
        if not least <= n_samples <= most:
            raise UsageError(
                f"n_samples = {n_samples}: must be from {least} to {most} for {n_frames} frames"
            )
        return n_samples


@dataclass(frozen=True)
class _Stretch:
    """Frames that are computed together, and the samples that they are cut from.

    Args:
        first: Number of the first frame in its item.
        n_frames: How many frames.
        low: Number of the first sample in its item.
        n_samples: How many samples.
        left: Samples of padding before them.
        right: Samples of padding behind them; negative if some at the end are in no frame.
    """

    first: int
    n_frames: int
    low: int
    n_samples: int
    left: int
    right: int

    @classmethod
    def of(
        cls, config: MelConfig, n_samples: int, first: int, stop: int, n_frames: int
    ) -> _Stretch:
        """Frames ``first`` up to ``stop`` of an item of so many samples and frames."""
        begin = _first_sample(config, n_samples, first)
        end = _first_sample(config, n_samples, stop - 1) + config.span
        low = max(0, begin)
        # Samples behind the last frame may be reflected, or lie in a gap before the next.
        high = min(n_samples, max(end, _first_sample(config, n_samples, stop)))
        high = n_samples if stop == n_frames else high
        return cls(first, stop - first, low, high - low, low - begin, end - high)


def _first_sample(config: MelConfig, n_samples: int, frame: int) -> int:
    """The number of the sample that a frame begins with; negative in the padding."""
    return frame * config.frame.hop_length - frames.framing(config, n_samples).left


class _Search:
    """One stretch on its way from magnitudes to samples.

    Where gradients are wanted, nothing is overwritten, and all frames are one block. Elsewhere
    rooms, and views of them, are made once: to be given new ones in every iteration would take a
    tenth of the time.

    Args:
        of: What searches.
        spectra: ``(n_frames, n_freqs)``.
        stretch: Where its frames lie.
        start: What to start from, if it is given.
    """

    def __init__(
        self, of: GriffinLim, spectra: Tensor, stretch: _Stretch, start: Tensor | None = None
    ) -> None:
        self._of, self._stretch, self._config = of, stretch, of.config
        gives_grad = spectra.requires_grad or (start is not None and start.requires_grad)
        self._needs_grad = torch.is_grad_enabled() and gives_grad
        self._n_rows = stretch.n_frames if self._needs_grad else of.block_rows
        magnitudes = _magnitudes(spectra, of.config.spec.power)
        self._magnitudes = torch.split(magnitudes, self._n_rows)
        self._start = self._drawn() if start is None else self._given(start)
        self._windowed = magnitudes.new_empty(self._n_rows, of.config.span)
        self._padded: Packed | None = None
        self._rows: Sequence[Tensor] = []
        self._hops: Tensor | None = None
        self._places: Iterable[Iterable[Tensor]] = []
        squares = of.spectrum.window.to(magnitudes.dtype).square()
        energy = self._overlapped(squares.expand(len(m), -1) for m in self._magnitudes)
        self._gain = 1 / energy.clamp(min=of.least_energy)

    def run(self) -> Tensor:
        """The samples, ``(n_samples,)``."""
        beyond = self._of.momentum / (1 + self._of.momentum)
        waveform = self._heard(self._start)
        before = torch.zeros_like(waveform)
        for _ in range(self._of.n_iter):
            # Two roundings, never a fused multiply-add: the same bits wherever a sample lies.
            if self._needs_grad:
                before, waveform = waveform, self._heard(self._seen(waveform - before * beyond))
            else:
                ahead = before.mul_(-beyond).add_(waveform)
                before, waveform = waveform, self._heard(self._seen(ahead), room=ahead)
        return waveform

    def _given(self, start: Tensor) -> Iterator[Tensor]:
        starts = torch.split(start, self._n_rows)
        for magnitudes, factors in zip(self._magnitudes, starts, strict=True):
            if factors.is_complex():
                yield magnitudes * factors.to(complex_of(magnitudes))
            else:
                yield torch.polar(magnitudes, factors.to(magnitudes.dtype))

    def _drawn(self) -> Iterator[Tensor]:
        first, seed = self._stretch.first, self._of.seed
        for magnitudes in self._magnitudes:
            if seed is None:
                yield magnitudes.to(complex_of(magnitudes))
            else:
                phasors = _phasors(seed, first, *magnitudes.shape)
                yield magnitudes * phasors.to(magnitudes.device)
            first += len(magnitudes)

    def _seen(self, waveform: Tensor) -> Iterator[Tensor]:
        """The spectra of a waveform's frames, given the magnitudes, block by block."""
        stretch = self._stretch
        piece = Piece(waveform, stretch.left, stretch.right, stretch.n_frames)
        if self._padded is None or self._needs_grad:
            self._padded = pack(self._config, [piece], 1, waveform.device)
            self._rows = torch.split(self._padded.frames, self._n_rows)
        else:
            place(self._config, piece, self._padded.buffer)
        return map(self._rephased, self._rows, self._magnitudes)

    def _rephased(self, rows: Tensor, magnitudes: Tensor) -> Tensor:
        spectrum: Tensor
        if self._needs_grad:
            spectrum = self._of.spectrum(rows)
            # Nothing has the sign 0, and the slope 0.
            return magnitudes * torch.sgn(spectrum)
        spectrum = self._of.spectrum.forward(rows, self._windowed[: len(rows)])
        squares = torch.view_as_real(spectrum).square()
        energy = squares[..., 0] + squares[..., 1]
        return spectrum.mul_(energy.add_(_TINY).rsqrt_().mul_(magnitudes))

    def _heard(self, spectra: Iterable[Tensor], room: Tensor | None = None) -> Tensor:
        """The waveform whose frames are the nearest to those of spectra that come in blocks."""
        window, n_fft = self._of.spectrum.window, self._config.frame.n_fft
        heard = (torch.fft.irfft(block, n=n_fft)[:, : len(window)] for block in spectra)
        summed = self._overlapped(block.mul_(window) for block in heard)
        return torch.mul(summed, self._gain, out=room)

    def _overlapped(self, blocks: Iterable[Tensor]) -> Tensor:
        """Frames that come in blocks, added up where they lie."""
        stretch, hop = self._stretch, self._config.frame.hop_length
        if self._hops is None or self._needs_grad:
            n_hops = stretch.n_frames + self._of.overlap
            self._hops = self._windowed.new_zeros(n_hops, hop)
            self._places = self._places_in(self._hops)
            if not self._needs_grad:
                self._places = [list(places) for places in self._places]
        else:
            self._hops.zero_()
        for block, places in zip(blocks, self._places, strict=True):
            for room, part in zip(places, torch.split(block, hop, dim=1), strict=True):
                room.add_(part)
        samples = self._hops.view(-1)[stretch.left :][: stretch.n_samples]
        missing = stretch.n_samples - len(samples)
        return nn.functional.pad(samples, (0, missing)) if missing else samples

    def _places_in(self, hops: Tensor) -> Iterator[Iterable[Tensor]]:
        """For each block where its frames go: the kth hop of each frame lies k rows further on."""
        hop, first = hops.shape[1], 0
        widths = [min(hop, self._config.span - k) for k in range(0, self._config.span, hop)]
        for magnitudes in self._magnitudes:
            begin, end = first, first + len(magnitudes)
            yield (hops[begin + k : end + k, :width] for k, width in enumerate(widths))
            first = end


def complex_of(x: Tensor) -> torch.dtype:
    """The complex type of as many digits: ``dtype.to_complex`` is unknown to torch.compile."""
    return torch.complex128 if x.dtype == torch.float64 else torch.complex64


def _check_start(start: Tensor | None, spectra: Tensor) -> None:
    if start is not None and start.shape != spectra.shape:
        raise UsageError(
            f"start of shape {tuple(start.shape)}: must be that of spectra, {tuple(spectra.shape)}"
        )


def _magnitudes(spectra: Tensor, power: float) -> Tensor:
    if spectra.dtype != torch.float64:
        spectra = spectra.to(torch.float32)
    spectra = spectra.contiguous()
    if power == 1.0:
        return spectra
    if not spectra.requires_grad:
        return spectra.sqrt() if power == 2.0 else spectra.pow(1 / power)
    # The root has no slope at 0: silence stays 0, and gets no gradient.
    sounds = spectra > 0
    return torch.where(sounds, torch.where(sounds, spectra, 1.0).pow(1 / power), 0.0)


def _phasors(seed: int, first: int, n_frames: int, n_freqs: int) -> Tensor:
    """``exp(2 pi i u)``, ``u`` uniform, for frames of an item from ``first`` on.

    ``u`` depends on the seed and on the numbers of frame and bin, and on nothing else.
    """
    drawn = []
    skipped = first % _DRAWN
    for number in range(first // _DRAWN, math.ceil((first + n_frames) / _DRAWN)):
        rng = np.random.default_rng([seed, number])
        angles = torch.from_numpy(rng.random((_DRAWN, n_freqs), dtype=np.float32)) * (2 * math.pi)
        drawn.append(torch.complex(angles.cos(), angles.sin()))
    return torch.cat(drawn)[skipped : skipped + n_frames]
