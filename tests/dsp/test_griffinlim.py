"""Waveforms from magnitudes: librosa's, whatever the padding, the batch and the length."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import librosa
import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import Tensor

from melcli import frames, presets
from melcli.config import Frame, Mel, MelConfig, Spec
from melcli.dsp import griffinlim
from melcli.dsp.frontend import FrontEnd
from melcli.dsp.griffinlim import GriffinLim, least_samples
from melcli.dsp.packing import pack, whole
from melcli.dsp.stft import Spectrum
from melcli.errors import UsageError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from melcli.config.fields import FftNorm, PadMode
    from tests.strategies import small_configs
else:
    from strategies import small_configs

CENTRED: dict[str, Any] = {"mel": Mel(n_mels=10), "spec": Spec(power=1.0)}


def voice(n_samples: int, rate: int = 16_000) -> NDArray[np.float32]:
    """A voice of sorts: a gliding pitch that comes and goes, and breath."""
    rng = np.random.default_rng(0)
    t = np.arange(n_samples) / rate
    phase = 2 * np.pi * np.cumsum(120 + 30 * np.sin(2 * np.pi * 1.3 * t)) / rate
    tones = sum(np.sin(k * phase + rng.uniform(0, 6)) / k for k in range(1, 30))
    loud = np.clip(np.sin(2 * np.pi * 1.7 * t), 0, 1)
    return (0.2 * tones * loud + 0.004 * rng.normal(size=n_samples)).astype(np.float32)


def spectrum(config: MelConfig, waveform: Tensor) -> Tensor:
    """What a front end sees, before anything is made of it: complex ``(n_frames, n_freqs)``."""
    packed = pack(config, [whole(config, waveform)], 1, waveform.device)
    rows: Tensor = Spectrum(config).to(waveform.device)(packed.frames)
    return rows


def inconsistency(config: MelConfig, found: Tensor, magnitudes: Tensor) -> float:
    """``| |STFT(y)| - S | / |S|``, ``magnitudes`` in rows."""
    apart = spectrum(config, found).abs() - magnitudes
    return float(torch.linalg.norm(apart) / torch.linalg.norm(magnitudes))


def in_range(config: MelConfig, n_frames: int, extra: int) -> int:
    """A length that is cut into so many frames, any of them."""
    try:
        least = least_samples(config, n_frames)
    except UsageError:
        assume(False)  # noqa: FBT003, hypothesis has it so
        raise
    return least + extra % (least_samples(config, n_frames + 1) - least)


@pytest.mark.parametrize("seed", [None, 1, 2])
@pytest.mark.parametrize("pad_mode", ["constant", "reflect"])
@pytest.mark.parametrize(("n_fft", "hop"), [(1024, 256), (2048, 512), (400, 100), (512, 200)])
def test_librosas_waveform(n_fft: int, hop: int, pad_mode: PadMode, seed: int | None) -> None:
    """From the same phases, 32 iterations lead where librosa's lead, and as far."""
    samples = voice(48 * 512)[: 24_000 // hop * hop]
    how: dict[str, Any] = {"hop_length": hop, "pad_mode": pad_mode}
    magnitudes = np.abs(librosa.stft(samples, n_fft=n_fft, **how))
    start = None
    if seed is not None:
        turns = np.random.RandomState(seed).random_sample(magnitudes.shape)
        start = torch.from_numpy(2 * np.pi * turns)
    theirs = torch.from_numpy(
        librosa.griffinlim(
            magnitudes,
            n_iter=32,
            momentum=0.99,
            init=None if seed is None else "random",
            random_state=np.random.RandomState(seed),
            **how,
        )
    )
    config = MelConfig(frame=Frame(n_fft=n_fft, hop_length=hop, pad_mode=pad_mode), **CENTRED)
    given_magnitudes = torch.from_numpy(magnitudes)
    ours = GriffinLim(config, seed=None)(given_magnitudes, start=start)
    assert ours.dtype == torch.float32
    assert ours.shape == theirs.shape
    # Each iteration makes float32's rounding grow: librosa's own answer in float64 is 2e-4 away.
    assert torch.linalg.norm(ours - theirs) <= 1e-3 * torch.linalg.norm(theirs)
    reached = [inconsistency(config, y, given_magnitudes.T) for y in (ours, theirs)]
    assert reached[0] == pytest.approx(reached[1], rel=0.01)


@given(config=small_configs(), n_frames=st.integers(1, 60))
@settings(max_examples=300, deadline=None)
def test_least_samples(config: MelConfig, n_frames: int) -> None:
    """The shortest length is found, for all padding rules, by trying them all."""

    def count(n_samples: int) -> int:
        reaches = frames.padded_reach(config, n_samples) < n_samples
        if config.frame.pad_mode == "reflect" and not reaches:
            return 0
        return frames.framing(config, n_samples).n_frames - config.frame.drop_last_frames

    most = (n_frames + 4) * config.frame.hop_length + 3 * config.span
    fitting = [n_samples for n_samples in range(1, most) if count(n_samples) == n_frames]
    if fitting:
        assert least_samples(config, n_frames) == fitting[0]
    else:
        with pytest.raises(UsageError, match=rf"^n_frames = {n_frames}: no waveform"):
            least_samples(config, n_frames)


@given(config=small_configs(), n_frames=st.integers(1, 12), extra=st.integers(0, 30))
@settings(max_examples=200, deadline=None)
def test_waveforms_are_fixed_points(config: MelConfig, n_frames: int, extra: int) -> None:
    """What has a waveform leads to it from its own phases, however frames are padded."""
    n_samples = in_range(config, n_frames, extra)
    generator = torch.Generator().manual_seed(extra)
    waveform = torch.randn(n_samples, dtype=torch.float64, generator=generator)
    find = GriffinLim(config, n_iter=3)
    # Samples that frames hardly see come back quieter: here there are none.
    stretch = griffinlim._Stretch.of(config, n_samples, 0, n_frames, n_frames)
    like = torch.ones(n_frames, config.n_freqs, dtype=torch.float64)
    gain = griffinlim._Search(find, like, stretch)._gain
    waveform = torch.where(gain < 0.999 / find.least_energy, waveform, 0.0)
    seen = spectrum(config, waveform)
    assert len(seen) == n_frames
    found = find.rows(seen.abs().square(), n_samples, start=seen.angle())
    torch.testing.assert_close(found, waveform, rtol=0, atol=1e-6)
    factors = torch.polar(torch.ones_like(seen.abs()), seen.angle())
    again = find(seen.abs().square().T, n_samples, start=factors.T)
    torch.testing.assert_close(again, found, rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", presets.names())
def test_named_front_ends(name: str) -> None:
    """Every front end there is gets waveforms that look as asked for, and no louder than was."""
    config = presets.load(name).config
    n_samples = 30 * config.frame.hop_length + 2 * config.frame.n_fft
    waveform = torch.from_numpy(voice(n_samples, config.wave.sample_rate))
    magnitudes = spectrum(config, waveform).abs()
    find = GriffinLim(config, n_iter=16)
    found = find.rows(magnitudes**config.spec.power, n_samples)
    # 0.18 at most; after a single iteration all front ends are above 0.28.
    assert inconsistency(config, found, magnitudes) < 0.25
    assert found.abs().max() < 2 * waveform.abs().max()


@pytest.mark.parametrize("hop", [256, 512, 1024])
def test_ends_that_frames_hardly_see_stay_quiet(hop: int) -> None:
    """Without padding the first sample is seen by one frame, times next to nothing."""
    config = MelConfig(frame=Frame(n_fft=1024, hop_length=hop, pad="none"), **CENTRED)
    waveform = torch.from_numpy(voice(1024 + 40 * 256))
    waveform[:600] *= 0.01
    found = GriffinLim(config).rows(spectrum(config, waveform).abs(), len(waveform))
    assert found[:300].abs().max() < waveform.abs().max()


def test_iterations() -> None:
    """Without momentum no step leads away, as Griffin and Lim proved; with it, half as many do."""
    config = MelConfig(frame=Frame(n_fft=256, hop_length=64, pad_mode="constant"), **CENTRED)
    waveform = torch.from_numpy(voice(64 * 120)).double()
    magnitudes = spectrum(config, waveform).abs()

    def reached(n_iter: int, momentum: float) -> float:
        find = GriffinLim(config, n_iter=n_iter, momentum=momentum)
        return inconsistency(config, find.rows(magnitudes, len(waveform)), magnitudes)

    steps = [reached(n_iter, 0.0) for n_iter in range(1, 33)]
    assert all(after < before for before, after in itertools.pairwise(steps))
    assert reached(16, 0.99) < steps[-1]


@pytest.mark.parametrize("rule", ["frame_length", "window", "window_sum", "power_n_fft"])
@pytest.mark.parametrize("power", [0.5, 1.0, 2.0, 3.0])
def test_spectra_are_what_the_front_end_calls_so(rule: FftNorm, power: float) -> None:
    """Whatever spectra were divided by, and to whatever power they are, the waveform is one."""
    frame = Frame(n_fft=64, hop_length=16)
    waveform = torch.from_numpy(voice(2000)).double()
    found = []
    for spec in (Spec(power=1.0), Spec(power=power, fft_norm=rule)):
        config = MelConfig(frame=frame, spec=spec, mel=Mel(n_mels=4))
        find = GriffinLim(config, n_iter=4)
        found.append(find.rows(spectrum(config, waveform).abs() ** spec.power, len(waveform)))
    # The windows of the two are rounded to float32, each its own way.
    torch.testing.assert_close(*found, rtol=0, atol=1e-5)


@given(
    config=small_configs(),
    n_frames=st.integers(1, 300),
    extra=st.integers(0, 30),
    n_iter=st.integers(1, 4),
    n_rows=st.integers(1, 9),
    seed=st.integers(0, 2**40),
)
@settings(max_examples=150, deadline=None)
def test_stretches_are_the_whole(
    config: MelConfig, n_frames: int, extra: int, n_iter: int, n_rows: int, seed: int
) -> None:
    """In stretches of any length, a waveform has the very bits that it has as a whole."""
    n_samples = in_range(config, n_frames, extra)
    generator = torch.Generator().manual_seed(extra)
    spectra = torch.rand(n_frames, config.n_freqs, generator=generator)
    find = GriffinLim(config, n_iter=n_iter, seed=seed)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(griffinlim, "_STRETCH", 8)
        patch.setattr(griffinlim, "_BLOCKS", {"cpu": n_rows * config.frame.n_fft})
        at_once = find.rows(spectra, n_samples)
        parts = list(find.stretches(lambda first, stop: spectra[first:stop], n_frames, n_samples))
    assert at_once.shape == (n_samples,)
    assert torch.equal(torch.cat(parts), at_once)


def test_long_items() -> None:
    """An item of any length is read and found in stretches, none much longer than the others."""
    config = MelConfig(frame=Frame(n_fft=64, hop_length=16), mel=Mel(n_mels=4))
    spectra = torch.rand(30_000, 33, generator=torch.Generator().manual_seed(1))
    asked: list[int] = []

    def read(first: int, stop: int) -> Tensor:
        asked.append(stop - first)
        return spectra[first:stop]

    find = GriffinLim(config, n_iter=2)
    parts = list(find.stretches(read, 30_000))
    assert len(parts) == len(asked) == 4
    assert max(asked) <= 4 * 4096  # two blocks, and one on either side
    assert torch.equal(torch.cat(parts), find.rows(spectra))


def test_alone_and_in_a_batch() -> None:
    """An item is the same, bit for bit, alone and in any batch, which may have any shape."""
    config = MelConfig(frame=Frame(n_fft=64, hop_length=16), mel=Mel(n_mels=4))
    spectra = torch.rand(2, 3, 33, 50, generator=torch.Generator().manual_seed(3))
    find = GriffinLim(config, n_iter=3)
    together = find(spectra)
    assert together.shape == (2, 3, least_samples(config, 50))
    for i, j in itertools.product(range(2), range(3)):
        assert torch.equal(find(spectra[i, j]), together[i, j])
        assert torch.equal(find.rows(spectra[i, j].T), together[i, j])
    assert find(spectra[:0], 790).shape == (0, 3, 790)


def test_the_start_is_drawn_for_frame_and_bin() -> None:
    """Phases depend on the seed and on the numbers of frame and bin, not on who asks for how many.

    The first two are written down: in years, a seed still means the same waveform.
    """
    drawn = griffinlim._phasors(5, 0, 1000, 33)
    assert torch.equal(griffinlim._phasors(5, 130, 700, 33), drawn[130:830])
    torch.testing.assert_close(drawn.abs(), torch.ones(1000, 33))
    assert drawn.mean().abs() < 0.02  # of 33,000: 0.0055 is to be expected
    turns = griffinlim._phasors(0, 0, 1, 2).angle() / (2 * np.pi)
    torch.testing.assert_close(turns, torch.tensor([[0.8506242 - 1, 0.6369616 - 1]]))
    config = MelConfig(frame=Frame(n_fft=64, hop_length=16), mel=Mel(n_mels=4))
    spectra = torch.rand(33, 50, generator=torch.Generator().manual_seed(3))
    one, same, other, none = (GriffinLim(config, seed=s)(spectra) for s in (1, 1, 2, None))
    assert torch.equal(one, same)
    assert not torch.allclose(one, other, atol=1e-3)
    assert not torch.allclose(one, none, atol=1e-3)
    assert torch.equal(none, GriffinLim(config)(spectra, start=torch.zeros(33, 50)))


@pytest.mark.parametrize("seed", [None, 0])
@pytest.mark.parametrize("power", [1.0, 2.0, 0.7])
def test_silence(power: float, seed: int | None) -> None:
    """Silence has a silent waveform, and gradients that are numbers; so has silence in a signal."""
    config = MelConfig(
        frame=Frame(n_fft=64, hop_length=16), spec=Spec(power=power), mel=Mel(n_mels=4)
    )
    find = GriffinLim(config, n_iter=3, seed=seed)
    silent = torch.zeros(33, 40)
    assert torch.equal(find(silent), torch.zeros(least_samples(config, 40)))
    partly = torch.rand(33, 40, generator=torch.Generator().manual_seed(3))
    partly[:, 10:30] = 0.0
    for spectra in (silent, partly):
        spectra.requires_grad_()
        found = find(spectra)
        found.square().sum().backward()
        assert found.isfinite().all()
        assert spectra.grad is not None
        assert spectra.grad.isfinite().all()
    assert not find(partly.detach())[12 * 16 : 26 * 16].any()


@pytest.mark.parametrize(
    ("pad", "pad_mode"),
    [("center", "reflect"), ("none", "reflect"), ("causal", "constant"), ("same", "symmetric")],
)
@pytest.mark.parametrize("power", [1.0, 2.0])
def test_gradients(pad: Any, pad_mode: PadMode, power: float) -> None:
    """They pass through every step, and what they pass through is what is computed without."""
    frame = Frame(n_fft=8, hop_length=3, pad=pad, pad_mode=pad_mode)
    config = MelConfig(frame=frame, spec=Spec(power=power), mel=Mel(n_mels=2))
    generator = torch.Generator().manual_seed(2)
    spectra = 0.1 + torch.rand(2, 5, 4, generator=generator, dtype=torch.float64)
    find = GriffinLim(config, n_iter=2)
    spectra.requires_grad_()
    assert torch.autograd.gradcheck(find, (spectra,))
    torch.testing.assert_close(find(spectra.detach()), find(spectra).detach())
    phases = torch.rand(5, 4, generator=generator, dtype=torch.float64, requires_grad=True)
    magnitudes = spectra[0].detach()
    assert torch.autograd.gradcheck(lambda p: find(magnitudes, start=p), (phases,))


def test_precision() -> None:
    """Float64 is computed as such, and all else in float32."""
    config = MelConfig(frame=Frame(n_fft=64, hop_length=16), mel=Mel(n_mels=4))
    spectra = torch.rand(33, 50, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    find = GriffinLim(config, n_iter=2)
    exact, single = find(spectra), find(spectra.float())
    assert (exact.dtype, single.dtype) == (torch.float64, torch.float32)
    assert 1e-12 < (exact - single).abs().max() < 1e-5
    assert torch.equal(find(spectra.half()), find(spectra.half().float()))
    assert torch.equal(find.double()(spectra), exact)


def test_back_through_the_front_end() -> None:
    """A waveform found for a mel's magnitudes has that mel, and as many frames."""
    config = presets.load("hifigan-22k").config
    waveform = torch.from_numpy(voice(22_050, 22_050))
    frontend = FrontEnd(config)
    mel = frontend(waveform)
    magnitudes = spectrum(config, waveform).abs()
    found = GriffinLim(config)(magnitudes.T**config.spec.power)
    assert least_samples(config, mel.shape[1]) == len(found)
    # A logarithm of amplitudes: 0.1 is a decibel
    assert (frontend(found) - mel).abs().mean() < 0.2


def test_devices(device: str) -> None:
    """The module moves; a GPU computes what a CPU computes, but for rounding."""
    config = MelConfig(frame=Frame(n_fft=256, hop_length=64), **CENTRED)
    spectra = spectrum(config, torch.from_numpy(voice(64 * 100))).abs()
    here = GriffinLim(config, n_iter=8).rows(spectra)
    there = GriffinLim(config, n_iter=8).to(device).rows(spectra.to(device))
    assert there.device.type == device
    torch.testing.assert_close(there.cpu(), here, rtol=0, atol=1e-3)


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ({"momentum": 1.0}, r"momentum = 1\.0: must be at least 0 and less than 1"),
        ({"momentum": -0.1}, r"momentum = -0\.1: must be at least 0 and less than 1"),
        ({"momentum": float("nan")}, "momentum = nan: must be at least 0 and less than 1"),
        ({"n_iter": 0}, "n_iter = 0: must be at least 1"),
        ({"seed": -1}, "seed = -1: must be at least 0, or None"),
    ],
)
def test_settings_that_cannot_be(setting: dict[str, Any], words: str) -> None:
    """The message names the setting, its value, and what is allowed."""
    with pytest.raises(ValueError, match=f"^{words}$"):
        GriffinLim(MelConfig(), **setting)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_a_model_in_half_precision(dtype: torch.dtype) -> None:
    """Its window is not rounded."""
    spectra = torch.rand(201, 9, generator=torch.Generator().manual_seed(1))
    expected = GriffinLim(MelConfig(), n_iter=4)(spectra)
    assert torch.equal(GriffinLim(MelConfig(), n_iter=4).to(dtype)(spectra), expected)


def test_a_power_of_0_tells_nothing() -> None:
    """Every magnitude to the power of 0 is 1."""
    with pytest.raises(UsageError, match=r"^spec\.power = 0: must be more than 0"):
        GriffinLim(MelConfig(spec=Spec(power=0.0)))


def test_inputs_that_do_not_fit() -> None:
    """Shapes and lengths are told with those that would fit."""
    find = GriffinLim(MelConfig())
    with pytest.raises(UsageError, match=r"^spectra of shape \(200, 9\): .* n_freqs = 201$"):
        find(torch.ones(200, 9))
    with pytest.raises(UsageError, match=r"^spectra of shape \(201,\): must be \(\.\.\., n_freqs"):
        find(torch.ones(201))
    with pytest.raises(UsageError, match=r"^spectra of shape \(201, 9\): must be \(n_frames, n_fr"):
        find.rows(torch.ones(201, 9))
    with pytest.raises(UsageError, match=r"^start of shape \(201, 8\): must be .* \(201, 9\)$"):
        find(torch.ones(201, 9), start=torch.ones(201, 8))
    with pytest.raises(UsageError, match=r"^n_frames = 0: no waveform"):
        find(torch.ones(201, 0))
    for n_samples in (1279, 1440):
        with pytest.raises(
            UsageError, match=rf"^n_samples = {n_samples}: must be from 1280 to 1439 for 9 frames$"
        ):
            find(torch.ones(201, 9), n_samples)
        with pytest.raises(UsageError, match=r"^n_samples = "):
            next(find.stretches(lambda first, stop: torch.ones(stop - first, 201), 9, n_samples))
    assert [find(torch.ones(201, 9), n).shape for n in (1280, 1439)] == [(1280,), (1439,)]
