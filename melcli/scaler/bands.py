"""Where the bins of a scaler lie on the frequency axis."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from melcli.dsp.mel import hz_to_mel, mel_to_hz

if TYPE_CHECKING:
    from melcli.config import MelConfig
    from melcli.statistics.moments import Float64s


def bin_centres(config: MelConfig) -> Float64s:
    """The frequency at which each bin of a row hears best, in Hz.

    That is where a filter peaks: the ``n_mels + 2`` edges lie evenly on the mel axis, and band
    ``m`` peaks at edge ``m + 1``; with ``int_bin`` filters, at the FFT bin below it. In stacked
    frames the bands come again for each frame.

    >>> from melcli.config import Mel, MelConfig
    >>> bin_centres(MelConfig(mel=Mel(n_mels=4, mel_scale="slaney", f_max=1000.0))).round().tolist()
    [200.0, 400.0, 600.0, 800.0]
    """
    n_mels, scale = config.mel.n_mels, config.mel.mel_scale
    ends = hz_to_mel(torch.tensor([config.mel.f_min, config.f_max], dtype=torch.float64), scale)
    mels = torch.linspace(float(ends[0]), float(ends[1]), n_mels + 2, dtype=torch.float64)
    centres: Float64s = mel_to_hz(mels[1:-1], scale).numpy()
    if config.mel.fb_shape == "int_bin":
        rate, n_fft = config.mel.fb_sample_rate or config.wave.sample_rate, config.frame.n_fft
        # Counted in steps of one more than there are, as the filterbank does.
        centres = np.floor((n_fft + 1) * centres / rate) * rate / n_fft
    return np.tile(centres, config.out.stack)
