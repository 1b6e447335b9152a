"""nnAudio's mel spectrogram under its own names: golden values, shapes, state, learning."""

from __future__ import annotations

import inspect
import logging
import math
from typing import TYPE_CHECKING, Any

import pytest
import torch

from melcli.compat.nnaudio import MelSpectrogram
from melcli.dsp.melspectrogram import MelSpectrogram as Ours
from melcli.dsp.stft import KernelSpectrum, Spectrum
from melcli.errors import UsageError

if TYPE_CHECKING:
    from tests.seeds import assert_golden, golden_signal
else:
    from seeds import assert_golden, golden_signal

SMALL: dict[str, Any] = {"sr": 8000, "n_fft": 32, "hop_length": 8, "n_mels": 4, "fmin": 100.0}


def mel(**arguments: Any) -> torch.Tensor:
    """What the golden signal becomes."""
    result: torch.Tensor = MelSpectrogram(sr=16000, **arguments)(golden_signal()).detach()
    return result


class TestGolden:
    """What nnAudio 0.3.4 really gave."""

    def test_defaults(self) -> None:
        """All arguments but the rate left out."""
        assert_golden(
            mel(),
            (1, 128, 32),
            total=65200.92,
            largest=2126.418,
            values={
                (0, 0, 0): 5.59301,
                (0, 16, 8): 0.39617,
                (0, 42, 16): 0.20025,
                (0, 64, 2): 0.459855,
            },
        )
        assert float(mel()[0, 127, 31]) == pytest.approx(2.7078e-9, rel=0.05)
        assert float(mel().min()) == pytest.approx(3.2e-10, rel=0.1)

    def test_constant_padding(self) -> None:
        """Zeros at both ends."""
        found = mel(pad_mode="constant")
        assert_golden(
            found, (1, 128, 32), total=63705.43, largest=2126.418, values={(0, 0, 0): 1.55291}
        )
        assert float(found[0, 127, 31]) == pytest.approx(1.89719e-9, rel=0.05)

    def test_a_transform_that_learns(self) -> None:
        """1e-8 under the root: what silence becomes is no 0."""
        found = mel(trainable_STFT=True)
        assert_golden(found, (1, 128, 32), total=65200.92, largest=2126.418)
        assert float(found.min()) == pytest.approx(1.60016e-9, rel=0.02)
        assert float(found[0, 127, 31]) == pytest.approx(3.98746e-9, rel=0.02)
        layer = MelSpectrogram(trainable_STFT=True)
        silence = layer(torch.zeros(22050)).detach()[0, :, 5]
        weights = layer.front_end.filterbank.weight.sum(dim=1)
        torch.testing.assert_close(silence, 1e-8 * weights, rtol=1e-5, atol=0.0)
        assert float(silence.max()) == pytest.approx(9.6e-10, rel=0.05)

    def test_everything_else(self) -> None:
        """Magnitudes, HTK, no norm, a shorter Hamming window, no padding."""
        found = mel(
            n_fft=1024,
            win_length=800,
            hop_length=160,
            window="hamming",
            n_mels=64,
            fmin=50,
            fmax=7600,
            htk=True,
            norm=None,
            power=1,
            center=False,
        )
        assert_golden(
            found,
            (1, 64, 94),
            total=46464.06,
            largest=129.6524,
            values={
                (0, 0, 0): 2.00647,
                (0, 8, 23): 4.77632,
                (0, 21, 47): 3.87613,
                (0, 32, 2): 4.28002,
                (0, 63, 93): 0.0018174,
            },
        )
        assert float(found.min()) == pytest.approx(5.641391e-5, rel=0.02)


class TestArguments:
    """Names, defaults, and what is refused."""

    def test_names_and_defaults(self) -> None:
        """In nnAudio's order; what is passed on to its STFT comes last."""
        signature = inspect.signature(MelSpectrogram)
        assert {name: p.default for name, p in signature.parameters.items()} == {
            "sr": 22050,
            "n_fft": 2048,
            "win_length": None,
            "n_mels": 128,
            "hop_length": 512,
            "window": "hann",
            "center": True,
            "pad_mode": "reflect",
            "power": 2.0,
            "htk": False,
            "fmin": 0.0,
            "fmax": None,
            "norm": 1,
            "trainable_mel": False,
            "trainable_STFT": False,
            "verbose": True,
            "iSTFT": False,
        }

    @pytest.mark.parametrize("norm", [None, math.inf])
    def test_no_norm(self, norm: float | None) -> None:
        """Both leave the peaks at one."""
        assert float(MelSpectrogram(norm=norm).front_end.filterbank.weight.max()) > 0.9

    def test_hop_length_left_to_it(self) -> None:
        """A quarter of the window."""
        config = MelSpectrogram(n_fft=1024, win_length=800, hop_length=None).config
        assert config is not None
        assert config.frame.hop_length == 200

    def test_a_number_is_a_kaiser_window(self) -> None:
        """Its beta, as SciPy has it."""
        x = golden_signal()
        expected = MelSpectrogram(window=("kaiser", 9.0))(x)
        assert torch.equal(MelSpectrogram(window=9.0)(x), expected)

    def test_the_config_is_the_front_end(self) -> None:
        """What was learnt with nnAudio can be extracted by the command."""
        layer = MelSpectrogram(sr=16000, n_mels=64, htk=True)
        assert layer.config is not None
        found = layer(golden_signal())[0]
        torch.testing.assert_close(Ours(layer.config)(golden_signal()), found, rtol=1e-5, atol=1e-5)

    @pytest.mark.parametrize(
        ("arguments", "told"),
        [
            ({"norm": "slaney"}, "norm = 'slaney': must be 1, None or infinity"),
            ({"norm": 2}, "norm = 2: must be 1, None or infinity"),
            ({"win_length": 4096}, "win_length = 4096: must be at most n_fft = 2048"),
            ({"window": "hanning"}, "window = 'hanning': is no window; did you mean \"hann\"?"),
            ({"window": "gaussian"}, "window = 'gaussian': needs 1 parameter"),
            ({"pad_mode": "replicate"}, "pad_mode = 'replicate': must be one of 'reflect', 'cons"),
            ({"fmin": 9000.0, "fmax": 100.0}, "fmax = 100.0: must be above fmin = 9000 Hz"),
            ({"fmax": 20000.0}, "fmax = 20000.0: must be at most half of sr, 11025 Hz"),
            ({"n_mels": 0}, "n_mels = 0: must be at least 1"),
            ({"hop_length": 0}, "hop_length = 0: must be at least 1"),
            ({"power": -1.0}, "power = -1.0: must be at least 0"),
            ({"sr": 22050.5}, "sr = 22050.5: must be a whole number"),
        ],
    )
    def test_what_cannot_be(self, arguments: dict[str, Any], told: str) -> None:
        """The argument, its value and what is allowed, as a ValueError."""
        with pytest.raises(UsageError) as caught:
            MelSpectrogram(**arguments)
        assert str(caught.value).startswith(told)

    def test_verbose_is_logged(self, caplog: pytest.LogCaptureFixture, capsys: Any) -> None:
        """Nothing is printed."""
        with caplog.at_level(logging.INFO, "melcli"):
            MelSpectrogram(**SMALL)
            MelSpectrogram(**SMALL, verbose=False)
        assert len(caplog.messages) == 1
        assert caplog.messages[0].startswith("kernels and filterbank made in")
        assert capsys.readouterr().out == ""


class TestShapes:
    """Three shapes in, one out."""

    @pytest.mark.parametrize("shape", [(400,), (1, 400), (3, 400), (3, 1, 400), (0, 400)])
    def test_always_three_axes(self, shape: tuple[int, ...]) -> None:
        """Also of a single waveform."""
        layer = MelSpectrogram(**SMALL)
        x = torch.rand(shape)
        found = layer(x)
        assert found.shape == (1 if len(shape) == 1 else shape[0], 4, 51)
        assert torch.equal(found, layer(x.reshape(-1, 400)))

    @pytest.mark.parametrize("shape", [(), (3, 2, 400), (3, 1, 1, 400)])
    def test_other_shapes(self, shape: tuple[int, ...]) -> None:
        """They are refused, not guessed at."""
        with pytest.raises(UsageError, match=r"x = \(.*\): must be \(n_samples,\)"):
            MelSpectrogram(**SMALL)(torch.rand(shape))

    def test_too_short(self) -> None:
        """Reflection needs one sample more than the padding; without it, a frame."""
        for arguments, least in (({}, 17), ({"center": False}, 32), ({"pad_mode": "constant"}, 1)):
            layer = MelSpectrogram(**SMALL, **arguments)
            assert layer(torch.rand(least)).shape[1] == 4
            if least > 1:
                with pytest.raises(UsageError, match=f"the front end needs {least}"):
                    layer(torch.rand(least - 1))


class TestState:
    """Under nnAudio's names and in its shapes; tests against nnAudio itself are in peers/."""

    def test_names_and_shapes(self) -> None:
        """Four tensors, whatever is trained; two more with the inverse."""
        shapes = {
            "mel_basis": (4, 17),
            "stft.wsin": (17, 1, 32),
            "stft.wcos": (17, 1, 32),
            "stft.window_mask": (1, 32, 1),
        }
        kinds: list[dict[str, Any]] = [{}, {"trainable_mel": True}, {"trainable_STFT": True}]
        for arguments in kinds:
            state = MelSpectrogram(**SMALL, **arguments).state_dict()
            assert {name: tuple(tensor.shape) for name, tensor in state.items()} == shapes
        state = MelSpectrogram(**SMALL, iSTFT=True).state_dict()
        assert state.keys() - shapes.keys() == {"stft.kernel_sin_inv", "stft.kernel_cos_inv"}
        assert state["stft.kernel_sin_inv"].shape == (32, 1, 32, 1)

    @pytest.mark.parametrize("trained", [{}, {"trainable_mel": True, "trainable_STFT": True}])
    @pytest.mark.parametrize("into", [{}, {"trainable_mel": True}, {"trainable_STFT": True}])
    def test_weights_go_on_counting(self, trained: dict[str, Any], into: dict[str, Any]) -> None:
        """What was trained is computed with, also where it is not trained any more."""
        state = MelSpectrogram(**SMALL, **trained).state_dict()
        generator = torch.Generator().manual_seed(1)
        for tensor in state.values():
            tensor.add_(0.05 * torch.rand(tensor.shape, generator=generator))
        frames = torch.rand(3, 32, generator=generator)
        basis, wsin, wcos = state["mel_basis"], state["stft.wsin"][:, 0], state["stft.wcos"][:, 0]
        expected = ((frames @ wcos.T) ** 2 + (frames @ wsin.T) ** 2) @ basis.T
        layer = MelSpectrogram(**SMALL, **into, center=False)
        layer.load_state_dict(state)
        torch.testing.assert_close(layer(frames)[:, :, 0], expected, rtol=1e-5, atol=1e-5)
        for name, tensor in layer.state_dict().items():
            if name != "stft.window_mask":
                torch.testing.assert_close(tensor, state[name])

    @pytest.mark.parametrize("name", ["mel_basis", "stft.wsin"])
    @pytest.mark.parametrize("into", [{}, {"trainable_mel": True, "trainable_STFT": True}])
    def test_no_config_says_what_was_learnt(self, name: str, into: dict[str, Any]) -> None:
        """There is one as long as the weights are its own, in any precision."""
        layer = MelSpectrogram(**SMALL, **into)
        state = layer.state_dict()
        layer.load_state_dict(state)
        assert layer.config is not None
        assert layer.double().config is not None
        layer.load_state_dict(state | {name: 1.01 * state[name]})
        assert layer.config is None

    def test_a_transform_stays_an_fft(self) -> None:
        """Where the kernels that are loaded are those of the transform."""
        layer = MelSpectrogram(**SMALL)
        state = MelSpectrogram(**SMALL, trainable_STFT=True).state_dict()
        layer.load_state_dict(state)
        assert isinstance(layer.front_end.stft, Spectrum)
        state["stft.wcos"][3] *= 1.1
        layer.load_state_dict(state)
        assert isinstance(layer.front_end.stft, KernelSpectrum)
        assert not list(layer.parameters())

    def test_parameters_stay_the_same_objects(self) -> None:
        """An optimiser goes on with them."""
        layer = MelSpectrogram(**SMALL, trainable_mel=True, trainable_STFT=True)
        before = list(layer.parameters())
        state = {name: tensor + 0.1 for name, tensor in layer.state_dict().items()}
        layer.load_state_dict(state)
        assert all(a is b for a, b in zip(layer.parameters(), before, strict=True))
        assert torch.equal(layer.front_end.filterbank.weight, state["mel_basis"])

    def test_within_a_model(self) -> None:
        """Prefixes are kept; what is missing, unexpected or of another shape is named."""
        model = torch.nn.Sequential(torch.nn.Identity(), MelSpectrogram(**SMALL))
        state = model.state_dict()
        assert all(name.startswith("1.") for name in state)
        assert model.load_state_dict(state).missing_keys == []
        without = {name: tensor for name, tensor in state.items() if name != "1.stft.wsin"}
        with pytest.raises(RuntimeError, match=r'Missing key\(s\) in state_dict: "1.stft.wsin"'):
            model.load_state_dict(without)
        assert model.load_state_dict(without, strict=False).missing_keys == ["1.stft.wsin"]
        with pytest.raises(RuntimeError, match=r'Unexpected key\(s\) in state_dict: "1.other"'):
            model.load_state_dict(state | {"1.other": torch.zeros(1)})
        with pytest.raises(RuntimeError, match=r"1.mel_basis of shape \(4, 9\): must be \(4, 17\)"):
            model.load_state_dict(state | {"1.mel_basis": torch.zeros(4, 9)})

    def test_kernels_of_the_inverse_are_taken_or_left(self) -> None:
        """A state may have them, or may lack them."""
        plain, inverse = MelSpectrogram(**SMALL), MelSpectrogram(**SMALL, iSTFT=True)
        plain.load_state_dict(inverse.state_dict())
        inverse.load_state_dict(plain.state_dict())


class TestLearning:
    """Gradients, and who moves."""

    @pytest.mark.parametrize("arguments", [{}, {"trainable_STFT": True}, {"power": 1.0}])
    def test_silence_has_no_slope(self, arguments: dict[str, Any]) -> None:
        """The original gives NaN there, unless its transform learns."""
        layer, x = MelSpectrogram(**SMALL, **arguments), torch.zeros(2, 400, requires_grad=True)
        layer(x).sum().backward()
        assert x.grad is not None
        assert bool(torch.isfinite(x.grad).all())

    @pytest.mark.parametrize("part", ["trainable_mel", "trainable_STFT"])
    def test_gradients_are_the_slope(self, part: str) -> None:
        """Of each weight, in float64."""
        layer = MelSpectrogram(**{**SMALL, "n_fft": 16, part: True, "power": 1.0}).double()
        x = torch.rand(24, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
        names = [name for name, _ in layer.named_parameters()]

        def found(*weights: torch.Tensor) -> torch.Tensor:
            named = dict(zip(names, weights, strict=True))
            result: torch.Tensor = torch.func.functional_call(layer, named, x)
            return result

        weights = tuple(p.detach().clone().requires_grad_() for p in layer.parameters())
        assert torch.autograd.gradcheck(found, weights, atol=1e-4)

    def test_what_is_trainable_moves(self) -> None:
        """Towards a target in a few steps; a frozen one has nothing that could."""
        assert list(MelSpectrogram(**SMALL).parameters()) == []
        layer = MelSpectrogram(**SMALL, trainable_mel=True, trainable_STFT=True)
        x = torch.rand(2, 200, generator=torch.Generator().manual_seed(3)) - 0.5
        target, losses = 2.0 * layer(x).detach(), []
        optimizer = torch.optim.Adam(layer.parameters(), lr=1e-5)
        before = [p.detach().clone() for p in layer.parameters()]
        for _ in range(5):
            optimizer.zero_grad()
            loss = (layer(x) - target).square().mean()
            loss.backward()
            optimizer.step()
            losses.append(float(loss.detach()))
        assert losses == sorted(losses, reverse=True)
        assert len(before) == 3
        assert not any(torch.equal(a, b) for a, b in zip(before, layer.parameters(), strict=True))

    def test_compiled_whole(self) -> None:
        """Without a break in the graph."""
        torch.compiler.reset()
        layer, x = MelSpectrogram(**SMALL), torch.rand(2, 400)
        compiled = torch.compile(layer, backend="eager", fullgraph=True)
        torch.testing.assert_close(compiled(x), layer(x))

    def test_float64(self) -> None:
        """After ``double()``."""
        layer, x = MelSpectrogram(**SMALL), torch.rand(2, 400)
        single = layer(x)
        double = layer.double()(x.double())
        assert double.dtype == torch.float64
        torch.testing.assert_close(double.float(), single)
