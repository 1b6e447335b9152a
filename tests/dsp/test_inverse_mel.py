"""The module: both methods and torchaudio's drivers, any leading axes, and what it refuses."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from melcli.dsp.inverse_mel import InverseMelScale
from melcli.dsp.mel import mel_filterbank
from melcli.errors import UsageError

if TYPE_CHECKING:
    from tests.seeds import golden_signal
else:
    from seeds import golden_signal


def bank(n_fft: int = 1024, n_mels: int = 64) -> torch.Tensor:
    """The filterbank of torchaudio at 16 kHz."""
    return mel_filterbank(
        n_mels, n_fft, 16_000, f_min=0.0, f_max=8000.0, mel_scale="htk", norm="none"
    )


def power_spectrum() -> torch.Tensor:
    """That of the golden signal, ``(513, 63)``."""
    window = torch.hann_window(1024)
    stft = torch.stft(golden_signal(), 1024, 256, window=window, return_complex=True)
    return stft.abs().square()


@pytest.mark.parametrize("method", ["gels", "gelss", "gelsd", "gelsy", "pinv"])
def test_torchaudio(method: str) -> None:
    """What torchaudio really gave for this signal, by every driver of it that works."""
    mel = bank() @ power_spectrum()
    spectrum = InverseMelScale(bank(), method)(mel)  # type: ignore[arg-type]  # one of them
    assert spectrum.shape == (513, 63)
    assert float(spectrum.sum()) == pytest.approx(916833.2, rel=1e-5)
    assert float(spectrum.max()) == pytest.approx(4330.271, rel=1e-5)
    assert float(spectrum.min()) == 0.0
    assert float(spectrum[64, 15]) == pytest.approx(0.968247, rel=1e-3)
    assert float(spectrum[171, 31]) == pytest.approx(1.11217, rel=1e-3)
    assert float(spectrum[256, 2]) == pytest.approx(0.466595, rel=1e-3)
    assert float(spectrum[512, 62]) == pytest.approx(0.0, abs=1e-18)


def test_nnls_has_the_mel() -> None:
    """Which the pseudo-inverse of the same mel has not, by far."""
    mel = bank() @ power_spectrum()
    found, clamped = (InverseMelScale(bank(), name).solve(mel) for name in ("nnls", "pinv"))
    assert (found.residuals <= 1.001e-5).all()
    assert (clamped.residuals > 1e-2).any()
    apart = (bank() @ found.spectra - mel).norm(dim=0) / mel.norm(dim=0)
    assert (apart <= 1.1e-5).all()
    assert found.n_steps.shape == (63,)


@pytest.mark.parametrize("method", ["nnls", "pinv"])
@pytest.mark.parametrize("leading", [(), (2,), (2, 1, 3), (0,)])
def test_leading_axes(method: str, leading: tuple[int, ...]) -> None:
    """Any, none and empty ones; each item as by itself."""
    generator = torch.Generator().manual_seed(1)
    mels = torch.rand(*leading, 64, 5, generator=generator)
    inverse = InverseMelScale(bank(), method)  # type: ignore[arg-type]  # one of them
    spectra = inverse(mels)
    assert spectra.shape == (*leading, 513, 5)
    assert spectra.dtype == torch.float32
    for place in np.ndindex(*leading):
        assert torch.equal(inverse(mels[place]), spectra[place])
    strided = mels.transpose(-1, -2).contiguous().transpose(-1, -2)
    assert torch.equal(inverse(strided), spectra)


def test_by_name() -> None:
    """A front end's name is its filterbank."""
    inverse = InverseMelScale("hifigan-22k")
    assert (inverse.n_mels, inverse.n_freqs) == (80, 513)
    assert "80 bands, 513 bins, method='nnls'" in repr(inverse)


def test_double() -> None:
    """float64 in, float64 out; the module may be moved as any other."""
    mels = torch.rand(64, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    inverse = InverseMelScale(bank(), tolerance=1e-9).to("cpu").double()
    found = inverse.solve(mels)
    assert found.spectra.dtype == torch.float64
    assert (found.residuals <= 1e-9).all() or (found.n_steps > 50).any()


@pytest.mark.parametrize("method", ["nnls", "pinv", "gels"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_a_model_in_another_precision(method: str, dtype: torch.dtype) -> None:
    """Its constants are not rounded, so the numbers are the same, with gradients and without."""
    mels = torch.rand(64, 3, generator=torch.Generator().manual_seed(1)) + 0.1
    expected = InverseMelScale(bank(), method)(mels)  # type: ignore[arg-type]  # one of them
    inverse = InverseMelScale(bank(), method).to(dtype)  # type: ignore[arg-type]  # likewise
    assert torch.equal(inverse(mels), expected)
    found = inverse(mels.requires_grad_())
    found.sum().backward()  # type: ignore[no-untyped-call]
    assert mels.grad is not None
    assert bool(mels.grad.isfinite().all())


@pytest.mark.parametrize("method", ["nnls", "pinv"])
def test_gradients(method: str) -> None:
    """Through both methods, by finite differences."""
    small = bank(64, 8)
    true = torch.rand(33, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(5))
    mels = (small.double() @ true).requires_grad_()
    inverse = InverseMelScale(small, method, tolerance=1e-13)  # type: ignore[arg-type]  # one of them
    assert torch.autograd.gradcheck(inverse, (mels,), atol=1e-5, rtol=1e-3)


@pytest.mark.parametrize(
    ("mels", "told"),
    [
        (torch.ones(63, 4), r"shape \(63, 4\): must be \(\.\.\., 64, n_frames\)"),
        (torch.ones(64), "must be"),
        (-torch.ones(64, 2), "negative number, NaN or infinity"),
        (torch.full((64, 2), torch.nan), "negative number, NaN or infinity"),
        (torch.full((64, 2), torch.inf), "negative number, NaN or infinity"),
    ],
)
def test_wrong_mels(mels: torch.Tensor, told: str) -> None:
    """Told with what is allowed."""
    with pytest.raises(UsageError, match=told):
        InverseMelScale(bank())(mels)


def test_wrong_arguments() -> None:
    """The argument, its value, and what is allowed."""
    with pytest.raises(UsageError, match=r"method = 'qr': must be one of nnls, pinv, gels"):
        InverseMelScale(bank(), "qr")  # type: ignore[arg-type]  # on purpose
    with pytest.raises(UsageError, match=r"tolerance = 0: must be above 0"):
        InverseMelScale(bank(), tolerance=0)
    with pytest.raises(UsageError, match=r"bank of shape \(3,\)"):
        InverseMelScale(torch.ones(3))
    with pytest.raises(UsageError, match="never negative"):
        InverseMelScale(-torch.ones(3, 4))


def test_gels_needs_full_rank() -> None:
    """As torchaudio's does; gelsd takes any."""
    empty = bank(400, 128)
    with pytest.raises(UsageError, match=r"method = 'gels': the filterbank has rank \d+, not 128"):
        InverseMelScale(empty, "gels")
    assert torch.isfinite(InverseMelScale(empty, "gelsd")(torch.ones(128, 2))).all()
