"""torchaudio's transforms under their own names: golden values, arguments, shapes, state."""

from __future__ import annotations

import copy
import inspect
import math
import pickle
import warnings
from typing import TYPE_CHECKING, Any, TypeAlias

import pytest
import torch

from melcli.compat.torchaudio import (
    AmplitudeToDB,
    GriffinLim,
    InverseMelScale,
    MelScale,
    MelSpectrogram,
    Spectrogram,
)
from melcli.compat.torchaudio.settings import window_name
from melcli.config import MelConfig
from melcli.dsp.mel import mel_filterbank
from melcli.dsp.melspectrogram import MelSpectrogram as Ours
from melcli.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.seeds import assert_golden, golden_signal
else:
    from seeds import assert_golden, golden_signal

Values: TypeAlias = dict[tuple[int, ...], float]

M: dict[str, Any] = {"n_fft": 1024, "hop_length": 256, "n_mels": 64}
SMALL: dict[str, Any] = {"n_fft": 32, "n_mels": 4}
LEADING = [(), (3,), (2, 1, 3), (0,), (2, 0)]


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    """Uniform in [-1, 1)."""
    return 2.0 * torch.rand(shape, generator=torch.Generator().manual_seed(seed)) - 1.0


def mel(**arguments: Any) -> torch.Tensor:
    """What the golden signal becomes."""
    found: torch.Tensor = MelSpectrogram(16000, **(M | arguments))(golden_signal())
    return found


def stft(x: torch.Tensor, n_fft: int, **how: Any) -> torch.Tensor:
    """As torch has it, at a hop of half a frame."""
    return torch.stft(x, n_fft, n_fft // 2, return_complex=True, **how)


def assert_quiet_too(found: torch.Tensor, values: Values, rel: float = 2e-4) -> None:
    """Numbers far below the largest as well, of which `assert_golden` allows more."""
    for index, expected in values.items():
        assert float(found[index]) == pytest.approx(expected, rel=rel)


def triangle(length: int) -> torch.Tensor:
    """A window that torch does not know."""
    return torch.bartlett_window(length + 2, periodic=False)[1:-1]


def layers() -> dict[str, tuple[torch.nn.Module, torch.Tensor]]:
    """One of each kind and more, with something to compute."""
    return {
        "MelSpectrogram": (MelSpectrogram(**SMALL), noise(2, 200)),
        "circular": (MelSpectrogram(**SMALL, pad_mode="circular"), noise(2, 200)),
        "Spectrogram": (Spectrogram(32), noise(2, 200)),
        "complex": (Spectrogram(32, power=None, onesided=False), noise(2, 200)),
        "MelScale": (MelScale(4, n_stft=17), noise(2, 17, 9).abs()),
        "one spectrum": (MelScale(20, n_stft=129), noise(129, 9).abs()),
        "InverseMelScale": (InverseMelScale(17, 4), noise(2, 4, 9)),
        "AmplitudeToDB": (AmplitudeToDB("power", 60.0), noise(2, 4, 9).abs()),
        "GriffinLim": (GriffinLim(32, n_iter=1, rand_init=False), noise(2, 17, 9).abs()),
    }


class TestGolden:
    """What torchaudio 2.11 really gave."""

    def test_mel_spectrogram(self) -> None:
        """HTK, no norm."""
        values: Values = {(0, 0): 57.9585, (8, 15): 1.31518, (21, 31): 9.76718, (32, 2): 9.72318}
        found = mel()
        assert_golden(found, (64, 63), total=772460.4, largest=9263.056, values=values)
        assert_quiet_too(found, values)
        assert_quiet_too(found, {(63, 62): 2.16766e-7}, rel=0.05)
        assert float(found.min()) == pytest.approx(3.07e-9, rel=0.1)

    def test_slaney(self) -> None:
        """Slaney's scale and area."""
        values: Values = {(0, 0): 1.7004, (8, 15): 173.955, (21, 31): 0.0377764, (32, 2): 0.173725}
        found = mel(norm="slaney", mel_scale="slaney")
        assert_golden(found, (64, 63), total=16245.79, largest=181.5916, values=values)
        assert_quiet_too(found, values)
        assert float(found.min()) == pytest.approx(6.26e-11, rel=0.1)

    def test_normalized(self) -> None:
        """By the root of the energy of a shorter window."""
        values: Values = {
            (0, 0): 0.174746,
            (8, 15): 0.00291854,
            (21, 31): 0.0282598,
            (32, 2): 0.0287989,
        }
        found = mel(win_length=800, normalized=True)
        assert_golden(found, (64, 63), total=2011.33, largest=24.04842, values=values)
        assert_quiet_too(found, values)
        assert float(found.min()) == pytest.approx(3.5e-12, rel=0.1)

    def test_decibels(self) -> None:
        """80 dB of power."""
        assert_golden(
            AmplitudeToDB("power", 80.0)(mel()),
            (64, 63),
            total=-6381.224,
            least=-40.33246,
            largest=39.66754,
            values={(0, 0): 17.6312, (8, 15): 1.18985, (21, 31): 9.89769, (32, 2): 9.87808},
            in_decibels=True,
        )

    @pytest.mark.parametrize(
        ("driver", "total", "largest", "quiet"),
        [
            ("gels", 916833.2, 4330.271, (0.968247, 1.11217)),
            ("gelss", 916833.3, 4330.272, (0.968078, 1.11212)),
            ("gelsd", 916833.2, 4330.271, (0.968247, 1.11217)),
            ("gelsy", 916833.2, 4330.271, (0.968247, 1.11217)),
        ],
    )
    def test_inverse(
        self, driver: str, total: float, largest: float, quiet: tuple[float, float]
    ) -> None:
        """By each driver; gelsy as it would be if torch's worked."""
        found = InverseMelScale(513, 64, driver=driver)(mel())
        values: Values = {
            (64, 15): quiet[0],
            (171, 31): quiet[1],
            (256, 2): 0.466595,
            (512, 62): 0.0,
        }
        assert_golden(found, (513, 63), total=total, least=0.0, largest=largest, values=values)
        assert_quiet_too(found, values, rel=1e-3)


class TestArguments:
    """Names, defaults, and what is refused."""

    def test_names_and_defaults(self) -> None:
        """In torchaudio's order; what is ours alone comes behind and by name only."""
        frames = {"win_length": None, "hop_length": None}
        window: dict[str, Any] = {"window_fn": torch.hann_window}
        scale = {"f_min": 0.0, "f_max": None}
        shape = {"norm": None, "mel_scale": "htk"}
        centred = {"wkwargs": None, "center": True, "pad_mode": "reflect"}
        expected: dict[type, dict[str, Any]] = {
            Spectrogram: {"n_fft": 400, **frames, "pad": 0, **window, "power": 2.0}
            | {"normalized": False, **centred, "onesided": True, "return_complex": None},
            MelSpectrogram: {"sample_rate": 16000, "n_fft": 400, **frames, **scale, "pad": 0}
            | {"n_mels": 128, **window, "power": 2.0, "normalized": False, **centred}
            | {"onesided": None, **shape},
            MelScale: {"n_mels": 128, "sample_rate": 16000, **scale, "n_stft": 201, **shape},
            InverseMelScale: {"n_stft": inspect.Parameter.empty, "n_mels": 128}
            | {"sample_rate": 16000, **scale, **shape, "driver": "gels"},
            AmplitudeToDB: {"stype": "power", "top_db": None, "top_db_over": "item"},
            GriffinLim: {"n_fft": 400, "n_iter": 32, **frames, **window, "power": 2.0}
            | {"wkwargs": None, "momentum": 0.99, "length": None, "rand_init": True},
        }
        for kind, defaults in expected.items():
            parameters = inspect.signature(kind).parameters
            assert [(name, p.default) for name, p in parameters.items()] == list(defaults.items())
        only_ours = inspect.signature(AmplitudeToDB).parameters["top_db_over"]
        assert only_ours.kind is inspect.Parameter.KEYWORD_ONLY

    @pytest.mark.parametrize(
        ("kind", "arguments", "told"),
        [
            (MelSpectrogram, {"power": None}, "power = None: must be above 0"),
            (MelSpectrogram, {"power": 0.0}, "power = 0.0: must be above 0"),
            (MelSpectrogram, {"norm": "l1"}, "norm = 'l1': must be one of None, 'slaney'"),
            (MelSpectrogram, {"mel_scale": "mel"}, "mel_scale = 'mel': must be one of 'htk', 'sl"),
            (MelSpectrogram, {"f_min": 9000.0}, "f_max = None: must be above f_min = 9000 Hz"),
            (MelSpectrogram, {"f_min": 10.0, "f_max": 10.0}, "f_max = 10.0: must be above f_min"),
            (MelSpectrogram, {"f_max": 8001.0}, "f_max = 8001.0: must be at most half of sample_r"),
            (MelSpectrogram, {"f_min": -1.0}, "f_min = -1.0: must be at least 0"),
            (MelSpectrogram, {"sample_rate": 0}, "sample_rate = 0: must be at least 1"),
            (MelSpectrogram, {"sample_rate": 9.5}, "sample_rate = 9.5: must be a whole number"),
            (MelSpectrogram, {"n_mels": 0}, "n_mels = 0: must be at least 1"),
            (Spectrogram, {"power": -1.0}, "power = -1.0: must be above 0"),
            (Spectrogram, {"n_fft": 0}, "n_fft = 0: must be at least 2"),
            (Spectrogram, {"win_length": 0}, "win_length = 0: must be at least 1"),
            (Spectrogram, {"win_length": 401}, "win_length = 401: must be at most n_fft = 400"),
            (Spectrogram, {"hop_length": 0}, "hop_length = 0: must be at least 1"),
            (Spectrogram, {"win_length": 1}, "hop_length = None: must be at least 1"),
            (Spectrogram, {"pad": -1}, "pad = -1: must be a whole number, at least 0"),
            (Spectrogram, {"pad": 0.5}, "pad = 0.5: must be a whole number, at least 0"),
            (Spectrogram, {"pad_mode": "edge"}, "pad_mode = 'edge': must be one of 'reflect', 'c"),
            (Spectrogram, {"normalized": 1}, "normalized = 1: must be one of False, True, 'windo"),
            (Spectrogram, {"onesided": None}, "onesided = None: must be one of True, False"),
            (MelScale, {"n_stft": 1}, "n_stft = 1: must be a whole number, at least 2"),
            (MelScale, {"n_stft": 20.5}, "n_stft = 20.5: must be a whole number, at least 2"),
            (MelScale, {"f_max": 0.0}, "f_max = 0.0: must be above f_min = 0 Hz"),
            (InverseMelScale, {"n_stft": 9, "f_max": 0.0}, "f_max = 0.0: must be above f_min = 0"),
            (
                InverseMelScale,
                {"n_stft": 9, "driver": "qr"},
                "driver = 'qr': must be one of 'gels'",
            ),
            (AmplitudeToDB, {"stype": "amp"}, "stype = 'amp': must be one of 'power', 'magnitude'"),
            (AmplitudeToDB, {"top_db": -1.0}, "top_db = -1.0: must be at least 0"),
            (AmplitudeToDB, {"top_db_over": "all"}, "top_db_over = 'all': must be one of 'item'"),
            (GriffinLim, {"power": 0.0}, "power = 0.0: must be above 0"),
            (GriffinLim, {"n_iter": 0}, "n_iter = 0: must be a whole number, at least 1"),
            (GriffinLim, {"momentum": 1.0}, "momentum = 1.0: must be at least 0 and less than 1"),
            (GriffinLim, {"length": 0}, "length = 0: must be a whole number, at least 1"),
        ],
    )
    def test_what_cannot_be(
        self, kind: type[torch.nn.Module], arguments: dict[str, Any], told: str
    ) -> None:
        """The argument, its value and what is allowed, as a ValueError."""
        with pytest.raises(UsageError) as caught:
            kind(**arguments)
        assert str(caught.value).startswith(told)

    def test_left_to_it(self) -> None:
        """The hop is half the window, the highest edge the whole half of the rate."""
        layer = MelSpectrogram(sample_rate=22051, n_fft=1024, win_length=801, n_mels=40)
        assert (layer.n_fft, layer.win_length, layer.hop_length) == (1024, 801, 400)
        assert (layer.sample_rate, layer.n_mels, layer.f_min, layer.f_max) == (22051, 40, 0.0, None)
        assert layer.config is not None
        assert layer.config.f_max == 11025.0
        assert MelScale(40, 22051, n_stft=513).f_max == 11025.0

    def test_whole_floats(self) -> None:
        """A rate that was computed is a whole number all the same."""
        layer = MelSpectrogram(sample_rate=16000.0, **M)  # type: ignore[arg-type]  # on purpose
        assert torch.equal(layer(golden_signal()), mel())

    def test_without_effect(self) -> None:
        """Told, as in the original."""
        with pytest.warns(UserWarning, match="onesided has no effect"):
            MelSpectrogram(**SMALL, onesided=True)
        with pytest.warns(UserWarning, match="return_complex has no effect"):
            Spectrogram(return_complex=True)

    def test_empty_filters(self) -> None:
        """Which, how many, and what helps; gels does not take them."""
        told = r"4 of 128 filters are empty \(.*\): fewer n_mels, a larger n_{}, or a higher f_min"
        with pytest.warns(UserWarning, match=told.format("fft")) as caught:
            MelSpectrogram()
        assert caught[0].filename == __file__
        with pytest.warns(UserWarning, match=told.format("stft")):
            MelScale()
        with pytest.warns(UserWarning, match=told.format("stft")):
            InverseMelScale(201, driver="gelsd")
        with pytest.raises(UsageError, match="driver = 'gels': the filterbank has rank 107, not"):
            InverseMelScale(201)


class TestWindows:
    """Torch's by name, all others by their numbers."""

    @pytest.mark.parametrize(
        ("window_fn", "wkwargs", "name"),
        [
            (torch.hann_window, None, "hann"),
            (torch.hann_window, {"periodic": False}, "hann"),
            (torch.blackman_window, {"periodic": True}, "blackman"),
            (torch.bartlett_window, {}, "bartlett"),
            (torch.hamming_window, {"periodic": False}, "hamming"),
            (torch.hamming_window, {"alpha": 0.6, "beta": 0.3}, ("general_cosine", 0.6, 0.3)),
            (torch.kaiser_window, None, ("kaiser", 12.0)),
            (torch.kaiser_window, {"beta": 5.0, "periodic": False}, ("kaiser", 5.0)),
            (torch.ones, None, None),
            (torch.hann_window, {"dtype": torch.float64}, None),
            (triangle, None, None),
        ],
    )
    def test_by_name(
        self, window_fn: Callable[..., torch.Tensor], wkwargs: dict[str, Any] | None, name: Any
    ) -> None:
        """What has a name is the window of the config too; each is what is computed with."""
        arguments = SMALL | {"window_fn": window_fn, "wkwargs": wkwargs}
        assert window_name(window_fn, wkwargs) == name
        layer, x = MelSpectrogram(**arguments), noise(200)
        called = window_fn(32, **({"periodic": True} if name else {}) | (wkwargs or {})).float()
        spectrum = stft(x, 32, window=called).abs().square()
        torch.testing.assert_close(layer(x), MelScale(4, n_stft=17)(spectrum))
        assert torch.equal(layer.window, called)
        assert (layer.config is None) == (name is None)
        if layer.config is not None:
            torch.testing.assert_close(Ours(layer.config)(x), layer(x))

    def test_periodic(self) -> None:
        """As torch's are, unless told otherwise."""
        assert torch.equal(Spectrogram().window, torch.hann_window(400))
        symmetric = Spectrogram(wkwargs={"periodic": False}).window
        assert torch.equal(symmetric, torch.hann_window(400, periodic=False))

    @pytest.mark.parametrize(
        "window",
        [
            torch.ones(399),
            torch.ones(400, dtype=torch.int64),
            torch.full((400,), torch.nan),
            torch.ones(1, 400),
            torch.zeros(400),
        ],
        ids=["short", "whole", "nan", "matrix", "silent"],
    )
    def test_no_window(self, window: torch.Tensor) -> None:
        """What is none is told of at once."""
        for kind in (Spectrogram, GriffinLim):
            with pytest.raises(UsageError, match=r"window_fn = .*: must give 400 finite numbers"):
                kind(window_fn=lambda _: window)

    def test_unknown_arguments(self) -> None:
        """They are the window's to refuse."""
        with pytest.raises(TypeError, match="width"):
            Spectrogram(wkwargs={"width": 3})


class TestSpectra:
    """Spectrogram and MelSpectrogram."""

    @pytest.mark.parametrize("pad_mode", ["reflect", "constant", "replicate", "circular"])
    @pytest.mark.parametrize("pad", [0, 7])
    @pytest.mark.parametrize("center", [True, False])
    @pytest.mark.parametrize("n_fft", [32, 33])
    def test_padding(self, pad_mode: str, pad: int, center: bool, n_fft: int) -> None:  # noqa: FBT001
        """Zeros first, then as the mode says."""
        x = noise(2, 100)
        how: dict[str, Any] = {"pad": pad, "pad_mode": pad_mode, "center": center}
        padded = torch.nn.functional.pad(x, (pad, pad))
        window = torch.hann_window(n_fft)
        expected = stft(padded, n_fft, window=window, center=center, pad_mode=pad_mode)
        torch.testing.assert_close(Spectrogram(n_fft, power=None, **how)(x), expected)
        if n_fft == 32:
            layer = MelSpectrogram(n_fft=n_fft, n_mels=4, **how)
            mels = MelScale(4, n_stft=17)(expected.abs().square())
            torch.testing.assert_close(layer(x), mels)
            assert (layer.config is None) == (center and pad_mode in {"replicate", "circular"})

    @pytest.mark.parametrize("n_fft", [32, 33])
    @pytest.mark.parametrize("power", [None, 1.0, 2.0])
    def test_both_sides(self, n_fft: int, power: float | None) -> None:
        """All ``n_fft`` bins are those of torch."""
        x, window = noise(2, 100), torch.hann_window(n_fft)
        expected = stft(x, n_fft, window=window, onesided=False)
        found = Spectrogram(n_fft, power=power, onesided=False)(x)
        torch.testing.assert_close(found, expected if power is None else expected.abs() ** power)

    @pytest.mark.parametrize("normalized", [False, True, "window", "frame_length"])
    def test_scaling(self, normalized: bool | str) -> None:  # noqa: FBT001
        """Divided by the root of the window's energy, or of the length."""
        x, window = noise(100), triangle(20)
        divisor = {False: 1.0, "frame_length": math.sqrt(32)}.get(normalized, float(window.norm()))
        found = Spectrogram(32, 20, 16, window_fn=triangle, power=None, normalized=normalized)(x)
        expected = stft(x, 32, win_length=20, window=window) / divisor
        torch.testing.assert_close(found, expected)

    def test_odd_rates(self) -> None:
        """Bins end at the whole half of the rate, also for the command."""
        layer = MelSpectrogram(11025, 512, n_mels=20)
        bins, edges = torch.linspace(0, 5512, 257), torch.linspace(0, 2595, 22)
        edges = 700 * (10 ** (edges / 2595 * math.log10(1 + 5512 / 700)) - 1)
        up = (bins - edges[:-2, None]) / edges.diff()[:-1, None]
        down = (edges[2:, None] - bins) / edges.diff()[1:, None]
        expected = torch.minimum(up, down).clamp(min=0)
        bank = layer.state_dict()["mel_scale.fb"].T
        torch.testing.assert_close(bank, expected, rtol=0, atol=2e-5)
        assert torch.equal(bank, MelScale(20, 11025, n_stft=257).fb.T)
        assert layer.config is not None
        assert layer.config.mel.fb_sample_rate == 11024
        assert layer.config.mel.fb_precision == "float32"
        even = MelSpectrogram(11024, 512, n_mels=20).state_dict()
        assert torch.equal(even["mel_scale.fb"].T, bank)

    @pytest.mark.parametrize("rate", [9000, 9001])
    def test_odd_transforms(self, rate: int) -> None:
        """Bins lie where they are, not at parts of half the rate."""
        bank = MelSpectrogram(rate, 25, n_mels=3).front_end.filterbank.weight
        known = mel_filterbank(
            3, 25, rate, f_min=0.0, f_max=4500.0, mel_scale="htk", norm="none", precision="float32"
        )
        assert torch.equal(bank, known)
        assert float((bank - MelScale(3, rate, n_stft=13).fb.T).abs().max()) > 0.01

    def test_a_band_may_end_at_half_an_odd_rate(self) -> None:
        """Where the filterbank's last bin is half a hertz below."""
        layer = MelSpectrogram(11025, n_fft=512, n_mels=20, f_max=5512.5)
        assert layer.config is not None
        assert (layer.config.f_max, layer.config.mel.fb_sample_rate) == (5512.5, 11024)
        with pytest.raises(UsageError, match=r"^f_max = 5513\.0: must be at most half"):
            MelSpectrogram(11025, n_fft=512, n_mels=20, f_max=5513.0)

    def test_the_config_is_the_front_end(self) -> None:
        """Through its file, bit for bit."""
        layer = MelSpectrogram(11025, 512, 400, 100, 50.0, 5000.0, 30, 20, norm="slaney")
        assert layer.config is not None
        config = MelConfig.from_toml(layer.config.to_toml())
        assert torch.equal(Ours(config)(noise(2, 3000)), layer(noise(2, 3000)))

    @pytest.mark.parametrize("leading", LEADING)
    @pytest.mark.parametrize("kind", [MelSpectrogram, Spectrogram])
    @pytest.mark.parametrize("pad_mode", ["reflect", "circular"])
    def test_leading_axes(
        self, kind: type[torch.nn.Module], leading: tuple[int, ...], pad_mode: str
    ) -> None:
        """Any, none and empty ones, whatever their strides."""
        arguments = {"n_fft": 32, "pad_mode": pad_mode} | (SMALL if kind is MelSpectrogram else {})
        layer, x = kind(**arguments), noise(*leading, 200)
        found = layer(x)
        assert found.shape == (*leading, 4 if kind is MelSpectrogram else 17, 13)
        strided = x.movedim(0, -1).contiguous().movedim(-1, 0)
        torch.testing.assert_close(layer(strided), found)

    def test_too_short(self) -> None:
        """Told what is needed; the zeros of ``pad`` count."""
        for arguments, least in (
            ({}, 17),
            ({"pad": 3}, 11),
            ({"center": False}, 32),
            ({"pad_mode": "circular"}, 16),
            ({"pad_mode": "circular", "pad": 3}, 10),
            ({"pad_mode": "replicate"}, 1),
            ({"pad_mode": "constant"}, 1),
        ):
            for layer in (Spectrogram(32, **arguments), MelSpectrogram(**SMALL, **arguments)):
                assert layer(noise(least)).shape[-1] >= 1
                with pytest.raises(UsageError, match=r"waveforms of .* samples: .* needs"):
                    layer(noise(least - 1))

    def test_precision(self) -> None:
        """Float32, or float64; half precision becomes float32, as in the original."""
        x = noise(200)
        for half in (torch.float16, torch.bfloat16):
            for kept in (MelSpectrogram(**SMALL), Spectrogram(32)):
                layer = copy.deepcopy(kept).to(half)
                assert layer(x.to(half)).dtype == torch.float32
                assert torch.equal(layer(x.to(half)), kept(x.to(half).float()))
                assert torch.equal(layer.window, torch.hann_window(32))
        exact = stft(x.double(), 32, window=torch.hann_window(32).double()).abs().square()
        for layer in (Spectrogram(32), Spectrogram(32).double()):
            torch.testing.assert_close(layer(x.double()), exact, rtol=1e-12, atol=1e-12)
        assert Spectrogram(32).double()(x).dtype == torch.float64
        assert Spectrogram(32, wkwargs={"dtype": torch.float64})(x).dtype == torch.float64
        bank = MelScale(4, n_stft=17).fb.double()
        mels = MelSpectrogram(**SMALL).double()(x.double())
        torch.testing.assert_close(mels, bank.T @ exact, rtol=1e-12, atol=1e-12)
        with pytest.raises(UsageError, match="waveform of float64, and the module is float32"):
            MelSpectrogram(**SMALL)(x.double())
        for layer in (MelSpectrogram(**SMALL), Spectrogram(32)):
            with pytest.raises(UsageError, match=r"waveform of torch\.int16: must be floating"):
                layer(torch.zeros(200, dtype=torch.int16))


class TestScales:
    """MelScale and InverseMelScale."""

    def test_the_product(self) -> None:
        """With the filterbank, frame by frame."""
        scale, spectra = MelScale(20, n_stft=201), noise(3, 201, 7).abs()
        torch.testing.assert_close(scale(spectra), scale.fb.T @ spectra)

    def test_the_least_spectrum(self) -> None:
        """Of float64's pseudo-inverse, where it is not negative; any real mel is taken."""
        inverse, mels = InverseMelScale(201, 20), noise(3, 20, 7)
        expected = (torch.linalg.pinv(inverse.fb.T.double()) @ mels.double()).clamp(min=0)
        torch.testing.assert_close(inverse(mels), expected.float())
        torch.testing.assert_close(inverse(mels.double()), expected, rtol=1e-10, atol=1e-12)
        torch.testing.assert_close(
            inverse.double()(mels.double()), expected, rtol=1e-10, atol=1e-12
        )

    @pytest.mark.filterwarnings("ignore:.*filters are empty")
    @pytest.mark.parametrize("driver", ["gelsd", "gelss", "gelsy"])
    def test_without_full_rank(self, driver: str) -> None:
        """What is beyond float32 is no part of the answer."""
        scale, inverse = MelScale(), InverseMelScale(201, driver=driver)
        spectra = torch.ones(201, 3)
        found = inverse(scale(spectra))
        assert float(found.max()) < 3.0
        apart = (scale(found) - scale(spectra)).norm() / scale(spectra).norm()
        assert float(apart) < 0.1

    def test_more_bands_than_bins(self) -> None:
        """Least squares, if the bank has that rank."""
        bank = noise(9, 12, seed=4).abs()
        with pytest.warns(UserWarning, match="1 of 12 filters are empty"):
            inverse = InverseMelScale(9, 12, f_min=700.0, driver="gelsd")
        inverse.load_state_dict({"fb": bank})
        spectra = noise(9, 5).abs()
        torch.testing.assert_close(inverse(bank.T @ spectra), spectra, rtol=1e-3, atol=1e-3)

    @pytest.mark.parametrize("leading", LEADING)
    @pytest.mark.parametrize(
        ("layer", "n_in", "n_out"),
        [(MelScale(4, n_stft=17), 17, 4), (InverseMelScale(17, 4), 4, 17)],
    )
    def test_leading_axes(
        self, layer: torch.nn.Module, n_in: int, n_out: int, leading: tuple[int, ...]
    ) -> None:
        """Any, none and empty ones, whatever their strides; and no frames at all."""
        x = noise(*leading, n_in, 5).abs()
        found = layer(x)
        assert found.shape == (*leading, n_out, 5)
        strided = x.movedim(0, -1).contiguous().movedim(-1, 0)
        torch.testing.assert_close(layer(strided), found)
        assert layer(x[..., :0]).shape == (*leading, n_out, 0)

    def test_there_and_back(self) -> None:
        """What a model was moved to and from changes nothing."""
        for layer, n in ((MelScale(4, n_stft=17), 17), (InverseMelScale(17, 4), 4)):
            x = noise(2, n, 5)
            known = layer(x)
            assert torch.equal(layer.float()(x), known)
            assert torch.equal(layer.double().to(torch.float32)(x), known)

    def test_wrong_input(self) -> None:
        """Shape and type, each with what is allowed."""
        scale, inverse = MelScale(4, n_stft=17), InverseMelScale(17, 4)
        for shape in ((17,), (16, 3)):
            with pytest.raises(UsageError, match=r"specgram = .*: must be .*, n_stft = 17"):
                scale(noise(*shape))
            with pytest.raises(UsageError, match=r"melspec = .*: must be .*, n_mels = 4"):
                inverse(noise(*shape))
        with pytest.raises(UsageError, match=r"specgram of torch\.complex64: must be floating"):
            scale(torch.zeros(17, 3, dtype=torch.complex64))
        with pytest.raises(UsageError, match="specgram of float64, and the module is float32"):
            scale(torch.zeros(17, 3, dtype=torch.float64))
        with pytest.raises(UsageError, match=r"melspec of torch\.int64: must be floating"):
            inverse(torch.zeros(4, 3, dtype=torch.int64))

    def test_half_precision(self) -> None:
        """Computed in float32, and back as it came."""
        for layer, n in ((MelScale(4, n_stft=17), 17), (InverseMelScale(17, 4), 4)):
            x = noise(2, n, 5).abs().half()
            expected = layer(x.float()).half()
            assert torch.equal(layer.half()(x), expected)
            assert layer.fb.dtype == torch.float32


class TestLevels:
    """AmplitudeToDB."""

    @pytest.mark.parametrize("stype", ["power", "magnitude", "amplitude"])
    def test_levels(self, stype: str) -> None:
        """10 or 20 of a decade; 1e-10 is the least of both."""
        factor = 10.0 if stype == "power" else 20.0
        found = AmplitudeToDB(stype)(torch.tensor([0.0, 1e-10, 1.0, 100.0]))
        expected = torch.tensor([-10.0, -10.0, 0.0, 2.0]) * factor
        torch.testing.assert_close(found, expected)

    @pytest.mark.parametrize(
        ("shape", "over", "axes"),
        [
            ((), "item", ()),
            ((5,), "item", (0,)),
            ((4, 5), "item", (0, 1)),
            ((3, 4, 5), "item", (1, 2)),
            ((3, 4, 5), "batch", (0, 1, 2)),
            ((2, 3, 4, 5), "item", (1, 2, 3)),
            ((2, 3, 4, 5), "batch", (1, 2, 3)),
            ((2, 2, 3, 4, 5), "item", (2, 3, 4)),
        ],
    )
    def test_who_shares_a_maximum(
        self, shape: tuple[int, ...], over: Any, axes: tuple[int, ...]
    ) -> None:
        """A clip with its channels; never the batch, unless that is asked for."""
        x = 10.0 ** (8.0 * noise(*shape))
        level = 10.0 * x.clamp(min=1e-10).log10()
        expected = torch.maximum(level, level.amax(dim=axes, keepdim=True) - 30.0)
        found = AmplitudeToDB(top_db=30.0, top_db_over=over)(x)
        torch.testing.assert_close(found, expected)

    def test_a_quiet_clip_beside_a_loud_one(self) -> None:
        """It is what it is alone."""
        clips = torch.stack([mel(), 1e-6 * mel()])
        to_db = AmplitudeToDB(top_db=40.0)
        assert torch.equal(to_db(clips)[1], to_db(clips[1]))
        assert not torch.equal(
            AmplitudeToDB(top_db=40.0, top_db_over="batch")(clips)[1], to_db(clips[1])
        )

    def test_another_least(self) -> None:
        """Set afterwards, as DESED does."""
        to_db = AmplitudeToDB("amplitude")
        to_db.amin = 1e-5
        assert float(to_db(torch.zeros(1))) == pytest.approx(-100.0)

    def test_types(self) -> None:
        """Half precision has 1e-10 too; empty batches stay empty; complex numbers have no level."""
        found = AmplitudeToDB()(torch.tensor([0.0, 1.0], dtype=torch.float16))
        assert found.tolist() == [-100.0, 0.0]
        assert found.dtype == torch.float16
        assert AmplitudeToDB(top_db=80.0)(torch.zeros(0, 4, 5)).shape == (0, 4, 5)
        assert AmplitudeToDB()(torch.ones(2, dtype=torch.float64)).dtype == torch.float64
        with pytest.raises(UsageError, match=r"x = torch\.complex64: must be real"):
            AmplitudeToDB()(torch.zeros(2, dtype=torch.complex64))


class TestGriffinLim:
    """Waveforms of spectra."""

    def test_a_waveform_comes_back(self) -> None:
        """Its spectrum does, to a few percent, whatever the power."""
        x = golden_signal()[:8000]
        for power in (1.0, 2.0):
            spectra = Spectrogram(512, hop_length=128, power=power)(x)
            layer = GriffinLim(512, 64, hop_length=128, power=power, length=8000, rand_init=False)
            found = layer(spectra)
            assert found.shape == (8000,)
            back = Spectrogram(512, hop_length=128, power=1.0)(found)
            truth = spectra.pow(1 / power)
            assert float((back - truth).norm() / truth.norm()) < 0.1

    def test_what_it_starts_from(self) -> None:
        """Numbers that torch draws, in one draw; from phase 0 nothing is drawn."""
        spectra = noise(2, 17, 9).abs()
        layer, plain = GriffinLim(32, 1), GriffinLim(32, 1, rand_init=False)
        torch.manual_seed(7)
        first = layer(spectra)
        torch.manual_seed(7)
        assert torch.equal(layer(spectra), first)
        drawn = torch.rand(1)
        torch.manual_seed(7)
        assert torch.rand(spectra.shape, dtype=torch.complex64).shape == spectra.shape
        assert torch.equal(torch.rand(1), drawn)
        assert torch.equal(plain(spectra), plain(spectra))
        assert not torch.equal(layer(spectra), first)

    def test_one_improvement(self) -> None:
        """From drawn factors, as the definition has it."""
        spectra, window = noise(17, 9).abs(), torch.hann_window(32)

        def heard(spectrum: torch.Tensor) -> torch.Tensor:
            return torch.istft(spectrum, 32, 16, window=window)

        torch.manual_seed(3)
        start = torch.rand(17, 9, dtype=torch.complex64)
        seen = stft(heard(spectra.sqrt() * start), 32, window=window)
        expected = heard(spectra.sqrt() * seen / seen.abs())
        torch.manual_seed(3)
        torch.testing.assert_close(GriffinLim(32, 1)(spectra), expected, rtol=1e-4, atol=1e-5)

    @pytest.mark.parametrize("leading", LEADING)
    def test_leading_axes(self, leading: tuple[int, ...]) -> None:
        """Any, none and empty ones, whatever their strides."""
        layer, spectra = GriffinLim(32, 2, rand_init=False), noise(*leading, 17, 9).abs()
        assert layer(spectra).shape == (*leading, 128)
        strided = spectra.movedim(0, -1).contiguous().movedim(-1, 0)
        torch.testing.assert_close(layer(strided), layer(spectra))

    def test_length(self) -> None:
        """One that has so many frames."""
        spectra = noise(17, 9).abs()
        for length in (128, 143):
            assert GriffinLim(32, 1, length=length)(spectra).shape == (length,)
        for length in (127, 144):
            with pytest.raises(UsageError, match=f"length = {length}: must be from 128 to 143 fo"):
                GriffinLim(32, 1, length=length)(spectra)

    def test_wide_steps(self) -> None:
        """Between windows that hardly overlap nothing is blown up."""
        for hop_length in (30, 32):
            found = GriffinLim(32, 2, hop_length=hop_length, rand_init=False)(torch.ones(17, 9))
            assert float(found.abs().max()) < 2.0

    def test_precision(self) -> None:
        """Float64 where the module or the spectra are; half precision in float32."""
        spectra = noise(17, 9).abs()
        layer = GriffinLim(32, 2, rand_init=False)
        known = layer(spectra)
        for found in (layer(spectra.double()), copy.deepcopy(layer).double()(spectra)):
            assert found.dtype == torch.float64
            torch.testing.assert_close(found.float(), known, rtol=1e-3, atol=1e-3)
        half = layer.half()
        assert half.window.dtype == torch.float32
        assert torch.equal(half(spectra), known)
        assert half(spectra.half()).dtype == torch.float16

    def test_wrong_input(self) -> None:
        """Shape and type, each with what is allowed."""
        layer = GriffinLim(32, 1)
        for shape in ((17,), (16, 9), (17, 0)):
            with pytest.raises(UsageError, match=r"specgram = .*: must be .*, n_freqs = 17"):
                layer(noise(*shape))
        with pytest.raises(UsageError, match=r"specgram of torch\.complex64: must be floating"):
            layer(torch.zeros(17, 9, dtype=torch.complex64))


class TestState:
    """Under torchaudio's names, in both directions; tests with torchaudio are in peers/."""

    def test_names_and_shapes(self) -> None:
        """Each constant once, and nothing of the engine's."""
        expected: dict[str, dict[str, tuple[int, ...]]] = {
            "MelSpectrogram": {"spectrogram.window": (32,), "mel_scale.fb": (17, 4)},
            "Spectrogram": {"window": (32,)},
            "MelScale": {"fb": (17, 4)},
            "InverseMelScale": {"fb": (17, 4)},
            "AmplitudeToDB": {},
            "GriffinLim": {"window": (32,)},
        }
        for name, shapes in expected.items():
            state = layers()[name][0].state_dict()
            assert {key: tuple(tensor.shape) for key, tensor in state.items()} == shapes

    def test_the_window_is_plain(self) -> None:
        """Neither scaled nor padded."""
        arguments: dict[str, Any] = {"n_fft": 32, "win_length": 20, "normalized": True}
        for layer in (Spectrogram(**arguments), MelSpectrogram(**arguments, n_mels=4)):
            assert torch.equal(layer.window, torch.hann_window(20))

    def test_spectra_go_on_with_it(self) -> None:
        """The window that is loaded, normalised and padded."""
        x, window = noise(2, 200), triangle(20)
        layer = Spectrogram(32, 20, 16, normalized=True, power=None)
        layer.load_state_dict({"window": window})
        expected = stft(x, 32, win_length=20, window=window) / window.norm()
        torch.testing.assert_close(layer(x), expected)
        assert torch.equal(layer.state_dict()["window"], window)
        found = layer.double()(x.double())
        torch.testing.assert_close(found.to(torch.complex64), expected)

    @pytest.mark.parametrize("power", [1.0, 2.0])
    def test_mels_go_on_with_it(self, power: float) -> None:
        """Window and filterbank, which no config tells any more; its own leave it as it is."""
        x, window, bank = noise(2, 200), triangle(32), noise(17, 4)
        layer = MelSpectrogram(**SMALL, power=power)
        layer.load_state_dict(MelSpectrogram(**SMALL).state_dict())
        assert layer.config is not None
        for state in (
            {"spectrogram.window": window, "mel_scale.fb": layer.state_dict()["mel_scale.fb"]},
            {"spectrogram.window": layer.window, "mel_scale.fb": bank},
            {"spectrogram.window": window, "mel_scale.fb": bank},
        ):
            found = MelSpectrogram(**SMALL, power=power)
            found.load_state_dict(state)
            spectrum = stft(x, 32, window=state["spectrogram.window"]).abs().pow(power)
            expected = state["mel_scale.fb"].T @ spectrum
            torch.testing.assert_close(found(x), expected, rtol=1e-4, atol=1e-4)
            assert found.config is None
            for name, tensor in found.state_dict().items():
                assert torch.equal(tensor, state[name])

    def test_scales_go_on_with_it(self) -> None:
        """The filterbank, there and back."""
        bank, x = noise(17, 4), noise(17, 5)
        scale, inverse = MelScale(4, n_stft=17), InverseMelScale(17, 4)
        for layer in (scale, inverse):
            layer.load_state_dict({"fb": bank})
        torch.testing.assert_close(scale(x), bank.T @ x)
        expected = (torch.linalg.pinv(bank.T) @ x[:4]).clamp(min=0)
        torch.testing.assert_close(inverse(x[:4]), expected, rtol=1e-4, atol=1e-5)
        with pytest.raises(UsageError, match="driver = 'gels': the filterbank has rank 1, not 4"):
            inverse.load_state_dict({"fb": 1.0 + 1e-6 * noise(17, 4)})

    def test_searches_go_on_with_it(self) -> None:
        """The window."""
        layer = GriffinLim(32, 2, rand_init=False)
        layer.load_state_dict({"window": triangle(32)})
        expected = GriffinLim(32, 2, rand_init=False, window_fn=triangle)
        spectra = noise(17, 9).abs()
        assert torch.equal(layer(spectra), expected(spectra))
        assert not torch.equal(layer(spectra), GriffinLim(32, 2, rand_init=False)(spectra))

    def test_within_a_model(self) -> None:
        """Prefixes are kept; what is missing or of another shape is named."""
        model = torch.nn.Sequential(*(layer for layer, _ in layers().values()))
        state = model.state_dict()
        names = {
            "0.spectrogram.window",
            "0.mel_scale.fb",
            "2.window",
            "4.fb",
            "5.fb",
            "6.fb",
            "8.window",
        }
        assert names < state.keys()
        model.load_state_dict(state)
        for name in sorted(names):
            others = {key: tensor for key, tensor in state.items() if key != name}
            with pytest.raises(RuntimeError, match=rf'Missing key\(s\) in state_dict: "{name}"'):
                model.load_state_dict(others)
            with pytest.raises(RuntimeError, match=f"{name}.* shape"):
                model.load_state_dict(state | {name: torch.zeros(3, 3)})


class TestModules:
    """What all of them are."""

    @pytest.mark.parametrize("name", layers())
    def test_as_any_module(self, name: str) -> None:
        """Nothing learns; copies, pickles and compiles give the same numbers."""
        layer, x = layers()[name]
        assert list(layer.parameters()) == []
        known = layer(x)
        assert torch.equal(copy.deepcopy(layer)(x), known)
        assert torch.equal(pickle.loads(pickle.dumps(layer))(x), known)  # noqa: S301, our own
        compiled = torch.compile(layer, backend="eager", fullgraph=True)
        torch.testing.assert_close(compiled(x), known, rtol=1e-4, atol=1e-5)

    @pytest.mark.parametrize("name", layers())
    @pytest.mark.parametrize("power", [0.5, 1.0, 2.0])
    def test_silence_has_no_slope(self, name: str, power: float) -> None:
        """Gradients are finite, whatever the exponent."""
        layer, x = layers()[name]
        if name == "MelSpectrogram":
            layer = MelSpectrogram(**SMALL, power=power)
        if name == "Spectrogram":
            layer = Spectrogram(32, power=power)
        if name == "GriffinLim":
            layer = GriffinLim(32, 2, power=power)
        silence = torch.zeros_like(x).requires_grad_()
        found = layer(silence)
        (torch.view_as_real(found) if found.is_complex() else found).sum().backward()
        assert silence.grad is not None
        assert bool(torch.isfinite(silence.grad).all())

    @pytest.mark.parametrize("name", layers())
    def test_gradients_are_the_slope(self, name: str) -> None:
        """By finite differences, in float64."""
        layer, x = layers()[name]
        x = x[..., : 4 if x.shape[-1] == 9 else 24].double()
        x = x[0] if len(x) == 2 else x
        x = (x + (0.5 if name == "AmplitudeToDB" else 0.0)).requires_grad_()
        assert torch.autograd.gradcheck(layer.double(), (x,), atol=1e-4)

    def test_an_input_that_is_fitted_moves(self) -> None:
        """Through the way back and forth: a mel is found whose spectrum is a target's."""
        inverse, target = InverseMelScale(17, 4), noise(17, 5).abs()
        mels = torch.ones(4, 5).requires_grad_()
        optimizer, losses = torch.optim.SGD([mels], lr=2.0), []
        for _ in range(10):
            optimizer.zero_grad()
            loss = (inverse(mels) - target).square().mean()
            loss.backward()
            optimizer.step()
            losses.append(float(loss.detach()))
        assert losses[-1] < 0.9 * losses[0]

    def test_autocast_changes_nothing(self) -> None:
        """Mels and spectra are beyond half precision."""
        for layer, x in layers().values():
            known = layer(x)
            with torch.autocast("cpu", torch.bfloat16), warnings.catch_warnings():
                assert torch.equal(layer(x), known)
