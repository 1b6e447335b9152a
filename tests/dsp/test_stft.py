"""Windows, spectra and magnitudes."""

from __future__ import annotations

import pytest
import torch
from scipy import signal

from melcli.config import Frame, MelConfig
from melcli.dsp.stft import Magnitude, RemoveDC, Spectrum
from melcli.dsp.windows import window


def noise(*shape: int) -> torch.Tensor:
    """Seeded, float32."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(5))


@pytest.mark.parametrize("periodic", [True, False])
@pytest.mark.parametrize("length", [1, 2, 3, 400, 1023])
@pytest.mark.parametrize(
    ("name", "scipys"),
    [
        ("hann", "hann"),
        ("hamming", "hamming"),
        ("blackman", "blackman"),
        ("rectangular", "boxcar"),
    ],
)
def test_windows_equal_scipys(name: str, scipys: str, length: int, *, periodic: bool) -> None:
    """The shapes are those of the books, periodic and symmetric."""
    theirs = torch.from_numpy(signal.get_window(scipys, length, fftbins=periodic))
    ours = window(name, length, periodic=periodic).double()
    # the cosine of a float32 angle of up to 2 pi: 6.3 * 6e-8
    torch.testing.assert_close(ours, theirs, rtol=0, atol=5e-7)


def test_povey_is_hann_to_the_power_085() -> None:
    """Kaldi's window, by hand: sin^1.7."""
    hann_quarter = 0.5**0.85
    values = window("povey", 5, periodic=False)
    torch.testing.assert_close(values, torch.tensor([0, hann_quarter, 1, hann_quarter, 0]))


@pytest.mark.parametrize("win_length", [None, 300, 301])
def test_spectrum_equals_torch_stft(win_length: int | None) -> None:
    """A window shorter than the frame lies in its middle, where torch.stft has it."""
    config = MelConfig(frame=Frame(n_fft=512, hop_length=512, win_length=win_length, pad="none"))
    frames = noise(8, 512)
    ours = Spectrum(config)(frames)
    length = win_length or 512
    theirs = torch.stft(
        frames.flatten(),
        512,
        512,
        length,
        torch.hann_window(length),
        center=False,
        return_complex=True,
    ).T
    assert torch.equal(ours, theirs)


def test_a_window_in_a_frame_of_its_length_is_padded_behind() -> None:
    """Frames cut at the window's length lose nothing: magnitudes are those of the centred ones."""
    frame = Frame(n_fft=512, hop_length=160, win_length=400, frame_span="win_length", pad="none")
    frames = noise(4, 400)
    ours = Spectrum(MelConfig(frame=frame))(frames).abs()
    in_the_middle = torch.nn.functional.pad(frames * torch.hann_window(400), (56, 56))
    # float32 FFT of a shifted frame, magnitudes up to 40
    torch.testing.assert_close(ours, torch.fft.rfft(in_the_middle).abs(), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("power", [0.5, 1.0, 1.5, 2.0, 3.0])
@pytest.mark.parametrize("eps", [0.0, 1e-6])
def test_magnitude_is_the_absolute_value_to_a_power(power: float, eps: float) -> None:
    """``eps`` is added to the power, under the root."""
    spectrum = torch.complex(noise(16, 65), noise(16, 65).flip(0))
    expected = (spectrum.to(torch.complex128).abs().square() + eps) ** (power / 2)
    # a root and a power, each rounded once
    torch.testing.assert_close(
        Magnitude(power, eps, "add")(spectrum).double(), expected, rtol=1e-6, atol=0
    )


def test_remove_dc_takes_each_frames_mean() -> None:
    """Row by row: what one frame holds moves no other."""
    frames = torch.tensor([[1.0, 2.0, 3.0], [5.0, 5.0, 5.0]])
    assert RemoveDC()(frames).tolist() == [[-1.0, 0.0, 1.0], [0.0, 0.0, 0.0]]
