"""melcli.MelSpectrogram: a front end in a model, learnt or not, moved, compiled and exported."""

from __future__ import annotations

import copy
import io
import pickle
from typing import TYPE_CHECKING, Any

import pytest
import soundfile
import torch
import tqdm
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import melcli
from melcli import frames, presets
from melcli.config import Frame, Log, Mel, MelConfig, Scale, Spec, Wave
from melcli.dsp.frontend import FrontEnd
from melcli.dsp.melspectrogram import MelSpectrogram
from melcli.dsp.traced import together
from melcli.errors import ConfigError, UsageError

if TYPE_CHECKING:
    from pathlib import Path

    from tests.strategies import small_configs
else:
    from strategies import small_configs

SMALL = MelConfig(
    frame=Frame(n_fft=16, hop_length=8),
    mel=Mel(n_mels=3),
    log=Log(floor_mode="add", floor=1e-2, log="ln"),
)
OF_MAGNITUDES = SMALL.updated({"spec.power": 1.0, "spec.mag_eps": 1e-3})


def kinds() -> dict[str, MelConfig]:
    """One preset for each sequence of stages and each rule of padding."""
    found: dict[tuple[object, ...], tuple[str, MelConfig]] = {}
    for preset in presets.presets():
        config = preset.config
        labels = [type(stage).__name__ for stage in FrontEnd(config).children()]
        found.setdefault((*labels, config.frame.pad, config.frame.pad_mode), (preset.name, config))
    return dict(found.values())


KINDS = kinds()


def may_be_open(config: MelConfig) -> bool:
    """Whether batch and length may be left open in an export: rows are the frames, all of them."""
    wave, out = config.wave, config.out
    counted = (wave.fix_samples, out.fix_frames, out.frames_multiple, out.patch_frames)
    is_plain = not any(counted) and out.stack == out.stack_stride == 1
    return (
        is_plain and config.scale.tail_mask == "none" and frames.fixed_padding(config) is not None
    )


OPEN = {name: config for name, config in KINDS.items() if may_be_open(config)}


def noise(*shape: int, seed: int = 3) -> torch.Tensor:
    """Quiet white noise."""
    return 0.1 * torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def long_enough(config: MelConfig) -> int:
    """A length that any rule takes, and no multiple of a hop."""
    return max(30_001, frames.shortest(config) + 5_000)


class TestFrontEnds:
    """Where a module comes from, and that it is the command's."""

    def test_by_name_by_config_by_path(self, tmp_path: Path) -> None:
        """All three ways lead to the same front end."""
        path = tmp_path / "mine.toml"
        config = presets.load("hifigan-22k").config
        path.write_text(config.to_toml())
        modules = [MelSpectrogram("hifigan-22k"), MelSpectrogram.from_config(config)]
        modules.append(MelSpectrogram.from_config(str(path)))
        x = noise(22_050)
        for module in modules:
            assert module.config == config
            assert torch.equal(module(x), modules[0](x))

    def test_an_unknown_name(self) -> None:
        """The nearest one is named."""
        with pytest.raises(ConfigError, match="whisper-8"):
            MelSpectrogram("whisper-8")

    def test_it_is_the_command(self, tmp_path: Path) -> None:
        """What was extracted to a file is, bit for bit, what a model sees."""
        samples = noise(2 * 22_050)
        path = tmp_path / "a.wav"
        soundfile.write(path, samples.numpy(), 22_050, "FLOAT")
        config = presets.load("hifigan-22k").config
        melcli.extract([path], tmp_path / "mels.h5", config)
        with melcli.open(tmp_path / "mels.h5") as mels:
            (extracted,) = mels.values()
            assert torch.equal(MelSpectrogram(mels.config)(samples), torch.from_numpy(extracted))

    def test_the_parts_have_names(self) -> None:
        """Stages are children by their labels; the second of a kind is numbered."""
        config = MelConfig(
            wave=Wave(wave_gain=2.0),
            log=Log(floor_mode="clamp", floor=1e-5, log="ln"),
            scale=Scale(pre_clip=(-9, 9), shift=1.0, clip=(-1, 1)),
        )
        assert [name for name, _ in MelSpectrogram(config).named_children()] == [
            "gain", "stft", "filterbank", "floor", "logarithm", "clip", "scaling", "clip_2",
        ]  # fmt: skip


class TestShapes:
    """What goes in, and what is refused."""

    @pytest.mark.parametrize("leading", [(), (3,), (2, 1, 3), (0,), (2, 0)])
    def test_leading_axes(self, leading: tuple[int, ...]) -> None:
        """Any, none, and empty ones."""
        mels = MelSpectrogram(SMALL)(noise(*leading, 100))
        assert mels.shape == (*leading, 3, 13)

    def test_int16_is_what_is_stored(self) -> None:
        """Samples as a WAV file has them."""
        stored = (noise(2, 4_000) * 32768).round().to(torch.int16)
        module = MelSpectrogram("whisper-80")
        assert torch.equal(module(stored), module(stored / 32768.0))

    @pytest.mark.parametrize(
        ("waveform", "told"),
        [
            (torch.tensor(1.0), "without an axis"),
            (torch.zeros(2, 8), "waveforms of 8 samples: the front end needs 9"),
            (torch.zeros(100, dtype=torch.int32), "must be floating point, or torch.int16"),
            (torch.zeros(100, dtype=torch.complex64), "must be floating point, or torch.int16"),
            (torch.zeros(100, dtype=torch.float64), "the module is float32"),
        ],
    )
    def test_what_is_no_waveform(self, waveform: torch.Tensor, told: str) -> None:
        """It is told apart, as a ValueError."""
        with pytest.raises(UsageError, match=told):
            MelSpectrogram(SMALL)(waveform)


class TestLengths:
    """Padded batches."""

    @pytest.mark.parametrize("name", ["hifigan-22k", "nemo-asr-80", "vggish", "whisper-80"])
    @pytest.mark.parametrize("filler", [0.0, float("nan")])
    def test_each_is_what_it_is_alone(self, name: str, filler: float) -> None:
        """Bit for bit, whatever lies behind; the rest of the mel is 0."""
        module = MelSpectrogram(name)
        lengths = torch.tensor([[20_000, 48_000, 33_333], [17_000, 16_001, 48_000]])
        waveforms = noise(2, 3, 48_000)
        for place in ((i, j) for i in range(2) for j in range(3)):
            waveforms[place][int(lengths[place]) :] = filler
        mels, n_rows = module(waveforms, lengths)
        assert mels.shape[:2] == n_rows.shape == (2, 3)
        assert mels.shape[-1] == int(n_rows.max())
        for place in ((i, j) for i in range(2) for j in range(3)):
            alone = module(waveforms[place][: int(lengths[place])])
            assert int(n_rows[place]) == alone.shape[-1]
            assert torch.equal(mels[place][..., : alone.shape[-1]], alone)
            assert not mels[place][..., alone.shape[-1] :].any()

    def test_full_lengths_change_nothing(self) -> None:
        """A batch without padding is a batch."""
        module, waveforms = MelSpectrogram(SMALL), noise(2, 100)
        mels, n_rows = module(waveforms, [100, 100])
        assert torch.equal(mels, module(waveforms))
        assert n_rows.tolist() == [13, 13]

    def test_an_empty_batch(self) -> None:
        """No lengths, no mels, and the axes still there."""
        mels, n_rows = MelSpectrogram(SMALL)(noise(0, 100), [])
        assert mels.shape == (0, 3, 13)
        assert n_rows.shape == (0,)

    def test_padding_gets_no_gradient(self) -> None:
        """What counts does."""
        waveforms = noise(2, 100).requires_grad_()
        mels, _ = MelSpectrogram(SMALL)(waveforms, [100, 60])
        mels.sum().backward()  # type: ignore[no-untyped-call]
        assert waveforms.grad is not None
        assert bool((waveforms.grad[0] != 0).all())
        assert not waveforms.grad[1, 60:].any()
        assert bool((waveforms.grad[1, :50] != 0).all())

    @pytest.mark.parametrize(
        ("lengths", "told"),
        [
            ([100], r"lengths of shape \(1,\): must be one for each waveform, \(2,\)"),
            ([100, 101], "lengths from 100 to 101: must be from 0 to n_samples = 100"),
            ([-1, 100], "lengths from -1 to 100"),
            ([50.0, 60.0], "must be whole numbers"),
            ([100, 8], "waveforms of 8 samples: the front end needs 9"),
        ],
    )
    def test_lengths_that_do_not_fit(self, lengths: Any, told: str) -> None:
        """They are refused with what is allowed."""
        with pytest.raises(UsageError, match=told):
            MelSpectrogram(SMALL)(noise(2, 100), lengths)


class TestPrecision:
    """Never below float32, and on any device."""

    @pytest.mark.parametrize("options", [{}, {"trainable_filterbank": True}])
    def test_devices(self, device: str, options: dict[str, bool]) -> None:
        """The module moves as others do; waveforms that lie elsewhere are fetched."""
        module, waveforms = MelSpectrogram("whisper-80", **options), noise(2, 9_000)
        expected = module(waveforms).detach()
        module.to(device)
        for found in (module(waveforms.to(device)), module(waveforms)):
            assert found.device.type == device
            torch.testing.assert_close(found.detach().cpu(), expected, rtol=1e-3, atol=1e-3)
        state = {name: tensor.cpu() for name, tensor in module.state_dict().items()}
        MelSpectrogram("whisper-80", **options).load_state_dict(state)

    @pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
    def test_a_model_in_half_precision(self, dtype: torch.dtype) -> None:
        """It is computed in float32 all the same, and comes back as it came."""
        module, waveforms = MelSpectrogram("hifigan-22k"), noise(2, 9_000).to(dtype)
        expected = module(waveforms.float()).to(dtype)
        assert module.to(dtype).dtype == torch.float32
        mels = module(waveforms)
        assert mels.dtype == dtype
        assert torch.equal(mels, expected)

    def test_autocast(self) -> None:
        """It reaches neither the transform nor the filterbank."""
        module, waveforms = MelSpectrogram("librosa", trainable_filterbank=True), noise(2, 9_000)
        expected = module(waveforms)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            mels = module(waveforms)
        assert torch.equal(mels, expected)

    def test_float64(self) -> None:
        """``double()`` is computed in float64, whose mel is the same to float32's rounding."""
        waveforms = noise(2, 9_000)
        single, double = MelSpectrogram("nnaudio"), MelSpectrogram("nnaudio").double()
        mels = double(waveforms.double())
        assert mels.dtype == torch.float64
        assert torch.equal(double(waveforms), mels)
        torch.testing.assert_close(single(waveforms).double(), mels, rtol=1e-4, atol=1e-5)
        assert not torch.equal(single(waveforms).double(), mels)
        assert double.float()(waveforms).dtype == torch.float32

    def test_silence_and_one_click_in_half_precision(self) -> None:
        """Powers beyond float16's range are logarithms by the time they are rounded."""
        module = MelSpectrogram("librosa").half()
        loud = torch.zeros(9_000, dtype=torch.float16)
        loud[4_000:5_000] = 1000.0
        assert bool(torch.isfinite(module(loud)).all())


class TestState:
    """What a checkpoint holds."""

    def test_a_frozen_one_has_nothing_to_hold(self) -> None:
        """Constants follow from the config."""
        module = MelSpectrogram("whisper-80")
        assert module.state_dict() == {}
        assert list(module.parameters()) == []

    def test_what_is_learnt_has_names(self) -> None:
        """The filterbank, the cosines and the sines."""
        module = MelSpectrogram(SMALL, trainable_filterbank=True, trainable_stft=True)
        shapes = {name: tuple(tensor.shape) for name, tensor in module.state_dict().items()}
        assert shapes == {
            "stft.cosines": (9, 16),
            "stft.sines": (9, 16),
            "filterbank.weight": (3, 9),
        }
        assert [name for name, _ in module.named_parameters()] == list(shapes)

    def test_it_comes_back(self) -> None:
        """Through a file, into another module."""
        learnt = MelSpectrogram(SMALL, trainable_filterbank=True, trainable_stft=True)
        with torch.no_grad():
            for parameter in learnt.parameters():
                parameter.add_(0.1 * torch.rand_like(parameter))
        file = io.BytesIO()
        torch.save(learnt.state_dict(), file)
        file.seek(0)
        other = MelSpectrogram(SMALL, trainable_filterbank=True, trainable_stft=True)
        x = noise(100)
        assert not torch.equal(other(x), learnt(x))
        other.load_state_dict(torch.load(file))
        assert torch.equal(other(x), learnt(x))

    @pytest.mark.parametrize("how", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))])  # noqa: S301, our own
    def test_copies_are_whole_and_apart(self, how: Any) -> None:
        """A copy computes with its own weights."""
        module = MelSpectrogram(SMALL, trainable_filterbank=True)
        other, x = how(module), noise(100)
        assert torch.equal(other(x), module(x))
        with torch.no_grad():
            other.filterbank.weight.mul_(2.0)
        assert not torch.equal(other(x), module(x))


class TestLearning:
    """Gradients that are the slope, and weights that move."""

    @pytest.mark.parametrize("config", [SMALL, OF_MAGNITUDES])
    @pytest.mark.parametrize("part", ["filterbank", "stft"])
    def test_gradients_are_the_slope(self, config: MelConfig, part: str) -> None:
        """Of every weight, against finite differences in float64."""
        module = MelSpectrogram(config, **{f"trainable_{part}": True}).double()
        names = [name for name, _ in module.named_parameters()]
        x = noise(48).double()

        def mel(*weights: torch.Tensor) -> torch.Tensor:
            named = dict(zip(names, weights, strict=True))
            found: torch.Tensor = torch.func.functional_call(module, named, x)
            return found

        weights = tuple(p.detach().clone().requires_grad_() for p in module.parameters())
        assert torch.autograd.gradcheck(mel, weights)

    @pytest.mark.parametrize("name", ["hifigan-22k", "whisper-80", "desed", "kapre", "keras"])
    def test_it_starts_from_the_front_end(self, name: str) -> None:
        """Before a step is made, the numbers are those of the frozen one, to rounding."""
        learns = MelSpectrogram(name, trainable_filterbank=True, trainable_stft=True)
        waveforms = noise(2, 12_000)
        expected = MelSpectrogram(name)(waveforms)
        torch.testing.assert_close(learns(waveforms).detach(), expected, rtol=1e-3, atol=1e-3)
        with torch.inference_mode():
            for options in ({"trainable_stft": True}, {"trainable_filterbank": True}):
                found = MelSpectrogram(name, **options)(waveforms)
                torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-3)

    @pytest.mark.parametrize("parts", [("filterbank",), ("stft",), ("filterbank", "stft")])
    def test_what_is_trainable_moves(self, parts: tuple[str, ...]) -> None:
        """Towards a target, in a few steps; and nothing else does."""
        options: dict[str, Any] = {f"trainable_{part}": True for part in parts}
        module, frozen, x = MelSpectrogram(SMALL, **options), MelSpectrogram(SMALL), noise(4, 400)
        target = frozen(x) + 0.5
        before = {name: p.detach().clone() for name, p in module.named_parameters()}
        optimizer = torch.optim.Adam(module.parameters(), lr=0.01)
        losses = []
        for _ in range(8):
            optimizer.zero_grad()
            loss = (module(x) - target).square().mean()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            losses.append(float(loss.detach()))
        assert losses[-1] < 0.8 * losses[0]
        assert {name.partition(".")[0] for name in before} == set(parts)
        for name, parameter in module.named_parameters():
            assert not torch.equal(parameter, before[name])
        assert torch.equal(frozen(x) + 0.5, target)

    @pytest.mark.parametrize("power", [1.0, 2.0, 0.5, 3.0])
    @pytest.mark.parametrize("options", [{}, {"trainable_stft": True}])
    def test_silence_has_no_slope(self, power: float, options: dict[str, bool]) -> None:
        """And no NaN, which would be the end of a training."""
        module = MelSpectrogram(
            MelConfig(spec=Spec(power=power), log=Log(floor_mode="clamp", floor=1e-10, log="ln")),
            **options,
        )
        waveforms = torch.zeros(2, 4_000)
        waveforms[1, :2_000] = noise(2_000)
        waveforms.requires_grad_()
        module(waveforms).sum().backward()  # type: ignore[no-untyped-call]
        for gradient in (waveforms.grad, *(p.grad for p in module.parameters())):
            assert gradient is not None
            assert bool(torch.isfinite(gradient).all())


class TestCompilers:
    """torch.compile and torch.export, for one front end of each kind."""

    @settings(max_examples=200, deadline=None)
    @given(config=small_configs(), more=st.integers(0, 60), seed=st.integers(0, 999))
    def test_a_batch_at_once_is_item_by_item(self, config: MelConfig, more: int, seed: int) -> None:
        """What compilers are given: every rule of padding, down to the shortest, to rounding."""
        n_samples = frames.shortest(config) + more
        assume(frames.n_frames(config, n_samples) > 0)
        front_end, waveforms = FrontEnd(config), noise(3, n_samples, seed=seed)
        rows = front_end.rows(list(waveforms))
        expected = torch.stack(rows).movedim(1, -1)
        torch.testing.assert_close(together(front_end, waveforms), expected, rtol=1e-4, atol=1e-6)
        assert torch.equal(front_end(waveforms), expected)

    @pytest.mark.parametrize("name", KINDS)
    def test_compiled_whole(self, name: str) -> None:
        """Without a break in the graph, and the same mel to rounding."""
        torch.compiler.reset()
        module = MelSpectrogram(KINDS[name])
        waveforms = noise(2, long_enough(KINDS[name]))
        mels = torch.compile(module, backend="eager", fullgraph=True)(waveforms)
        torch.testing.assert_close(mels, module(waveforms), rtol=1e-4, atol=2e-4)

    @pytest.mark.parametrize("name", sorted(KINDS.keys() - OPEN.keys()))
    def test_exported_for_one_shape(self, name: str) -> None:
        """A program of torch operations alone."""
        module = MelSpectrogram(KINDS[name])
        waveforms = noise(2, long_enough(KINDS[name]))
        program = torch.export.export(module, (waveforms,)).module()
        torch.testing.assert_close(program(waveforms), module(waveforms), rtol=1e-4, atol=2e-4)

    @pytest.mark.parametrize("name", OPEN)
    def test_exported_for_every_shape(self, name: str) -> None:
        """Batch and length left open, where rows are the frames."""
        module, low = MelSpectrogram(OPEN[name]), frames.shortest(OPEN[name]) + 1_500
        batch = torch.export.Dim("batch", min=2, max=512)
        length = torch.export.Dim("length", min=max(low, 4_000), max=1 << 24)
        example = noise(2, long_enough(OPEN[name]))
        open_axes = ({0: batch, 1: length},)
        program = torch.export.export(module, (example,), dynamic_shapes=open_axes).module()
        for waveforms in (example, noise(5, 41_234), noise(3, max(low, 4_000))):
            expected = module(waveforms)
            torch.testing.assert_close(program(waveforms), expected, rtol=1e-4, atol=2e-4)

    @pytest.mark.parametrize("scope", ["frame", "wave"])
    def test_dither_is_the_same_noise(self, scope: str) -> None:
        """Compiled, with a break in the graph, and exported."""
        torch.compiler.reset()
        module = MelSpectrogram(SMALL.updated({"wave.dither": 0.1, "wave.dither_scope": scope}))
        waveforms = noise(2, 400)
        assert not torch.equal(module(waveforms), MelSpectrogram(SMALL)(waveforms))
        compiled = torch.compile(module, backend="eager")
        program = torch.export.export(module, (waveforms,)).module()
        for mels in (compiled(waveforms), program(waveforms)):
            torch.testing.assert_close(mels, module(waveforms), rtol=1e-4, atol=1e-4)

    def test_gradients_of_a_compiled_one(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """They are those of the plain one, for waveforms and weights."""
        torch.compiler.reset()
        # torch shows a bar, whose thread would stay, and keep later tests from forking.
        monkeypatch.setattr(tqdm.tqdm, "monitor_interval", 0)
        module = MelSpectrogram(OF_MAGNITUDES, trainable_filterbank=True, trainable_stft=True)
        compiled = torch.compile(module, backend="aot_eager", fullgraph=True)
        gradients = []
        for mel in (module, compiled):
            x = noise(2, 200).requires_grad_()
            weights = tuple(module.parameters())
            gradients.append(torch.autograd.grad(mel(x).square().sum(), (x, *weights)))
        for ours, theirs in zip(*gradients, strict=True):
            torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)
