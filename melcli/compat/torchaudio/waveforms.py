"""torchaudio's way from spectra to waveforms."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from melcli.compat.arguments import at_least, config_of, wrong
from melcli.compat.torchaudio.held import Held
from melcli.compat.torchaudio.settings import NAMES, floating, framing, make_window, whole_number
from melcli.dsp import griffinlim
from melcli.dsp.precision import HALVES, full_precision, like_input

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


class GriffinLim(Held):
    """``torchaudio.transforms.GriffinLim``: waveforms of magnitudes, by phases that fit.

    ``rand_init`` draws where the original draws: ``torch.manual_seed`` makes the same waveform.

    What differs from the original:

    - Where the squares of all windows add up to less than a twentieth of the most they do, as
      between the windows of a ``hop_length`` near ``win_length``, they are taken for that much. The
      original divides by them, however small they are, or refuses.
    - ``length`` must be one that is cut into so many frames; the original says so by shapes that do
      not match. Left out, it is never shorter than reflecting takes.
    - Gradients at silence are 0, not NaN. Batches may be empty, ``n_iter`` not 0.

    The state is ``window``, in both directions.

    Args:
        n_fft: FFT length in samples.
        n_iter: How often the phases are improved.
        win_length: Window length in samples; None: ``n_fft``.
        hop_length: Step from frame to frame in samples; None: ``win_length // 2``.
        window_fn: Makes the window of a length.
        power: Exponent of the magnitudes.
        wkwargs: Further arguments of ``window_fn``.
        momentum: How far to go beyond each step, in [0, 1).
        length: Of the waveforms, in samples; None: the shortest.
        rand_init: Start from numbers drawn in the first quadrant, as the original does, of
            magnitudes between 0 and 1.4; otherwise from phase 0.

    Raises:
        UsageError: An argument cannot be; a ValueError.

    >>> GriffinLim(n_fft=512, n_iter=2)(torch.ones(2, 257, 10)).shape
    torch.Size([2, 2304])
    """

    window: Tensor
    """As ``window_fn`` gave it, ``(win_length,)``."""

    def __init__(
        self,
        n_fft: int = 400,
        n_iter: int = 32,
        win_length: int | None = None,
        hop_length: int | None = None,
        window_fn: Callable[..., Tensor] = torch.hann_window,
        power: float = 2.0,
        wkwargs: Mapping[str, Any] | None = None,
        momentum: float = 0.99,
        length: int | None = None,
        rand_init: bool = True,
    ) -> None:
        given = dict(locals())
        at_least("power", power, 0, above=True)
        keys = framing(n_fft, win_length, hop_length, window_fn, wkwargs)
        config = config_of(keys | {"spec.power": power}, NAMES, given)
        super().__init__("window", make_window(window_fn, wkwargs, config))
        self.n_fft, self.n_iter = config.frame.n_fft, whole_number("n_iter", n_iter, 1)
        self.win_length, self.hop_length = config.win_length, config.frame.hop_length
        self.power, self.momentum, self.rand_init = power, momentum, rand_init
        self.length = None if length is None else whole_number("length", length, 1)
        self._config = config
        self.follow()

    def follow(self) -> None:
        """Search with the window that is held."""
        self._search = griffinlim.GriffinLim(
            self._config, n_iter=self.n_iter, momentum=self.momentum, seed=None, w=self.window
        )

    def forward(self, specgram: Tensor) -> Tensor:
        """Waveforms ``(..., n_samples)`` of magnitudes ``(..., n_fft // 2 + 1, n_frames)``.

        Raises:
            UsageError: They have another number of bins, or of frames than ``length`` has.
        """
        n_freqs = self._config.n_freqs
        if specgram.dim() < 2 or specgram.shape[-2] != n_freqs or specgram.shape[-1] < 1:
            told = f"must be (..., n_freqs, n_frames), n_freqs = {n_freqs}"
            raise wrong("specgram", tuple(specgram.shape), told)
        wide = floating("specgram", specgram)
        self._check_length(specgram.shape[-1])
        wide = wide.float() if wide.dtype in HALVES else wide
        start = None
        if self.rand_init:
            dtype = griffinlim.complex_of(wide)
            start = torch.rand(wide.shape, dtype=dtype, device=wide.device)
        wide = wide.to(torch.promote_types(wide.dtype, self.window.dtype))
        with full_precision(wide.device):
            return like_input(self._search(wide, self.length, start), specgram)

    def _check_length(self, n_frames: int) -> None:
        if self.length is None:
            return
        least = griffinlim.least_samples(self._config, n_frames)
        most = griffinlim.least_samples(self._config, n_frames + 1) - 1
        if not least <= self.length <= most:
            told = f"must be from {least} to {most} for {n_frames} frames"
            raise wrong("length", self.length, told)
