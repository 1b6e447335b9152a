"""librosa's functions under their own names: golden values, arrays and tensors, what is refused.

Live comparisons over random arguments are in ``peers/``.
"""

from __future__ import annotations

import inspect
import itertools
import math
from typing import TYPE_CHECKING, Any

import librosa as original
import numpy as np
import pytest
import torch

from melcli import presets
from melcli.compat import librosa
from melcli.dsp.melspectrogram import MelSpectrogram
from melcli.errors import UsageError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tests.seeds import DECIBELS, assert_golden, golden_signal
else:
    from seeds import DECIBELS, assert_golden, golden_signal

pytestmark = pytest.mark.filterwarnings(
    "ignore:n_fft=.* is too large for input signal", "ignore:Empty filters detected"
)

SMALL: dict[str, Any] = {"sr": 8000, "n_fft": 32, "hop_length": 8, "n_mels": 4, "fmin": 100.0}


def mel(**arguments: Any) -> NDArray[np.float32]:
    """What the golden signal becomes."""
    return librosa.melspectrogram(y=golden_signal().numpy(), sr=16000, **arguments)


def noise(*shape: int, seed: int = 0) -> NDArray[np.float32]:
    """Samples."""
    return np.random.default_rng(seed).standard_normal(shape, dtype=np.float32)


class TestGolden:
    """What librosa 0.11 really gave."""

    def test_defaults(self) -> None:
        """All arguments but the rate left out."""
        found = torch.from_numpy(mel())
        assert_golden(
            found,
            (128, 32),
            total=63705.43,
            largest=2126.418,
            values={(0, 0): 1.55291},
        )
        assert float(found.min()) == pytest.approx(4.14e-10, rel=0.05)
        assert float(found[127, 31]) == pytest.approx(1.89719e-9, rel=0.05)

    def test_rows_of_sum_one(self) -> None:
        """``norm=1`` is no area."""
        found = torch.from_numpy(mel(n_fft=1024, hop_length=256, n_mels=64, norm=1))
        assert_golden(
            found,
            (64, 63),
            total=250974.5,
            largest=2837.661,
            values={(0, 0): 6.85404, (8, 15): 2718.32, (21, 31): 0.590443, (32, 2): 2.71663},
        )
        assert float(found.min()) == pytest.approx(9.8e-10, rel=0.05)

    def test_power_to_db(self) -> None:
        """The lower end lies 80 dB below the maximum."""
        assert_golden(
            torch.from_numpy(librosa.power_to_db(mel())),
            (128, 32),
            total=-55144.58,
            least=-46.72351,
            largest=33.27649,
            values={
                (0, 0): 1.91147,
                (16, 8): -4.0212,
                (42, 16): -6.98428,
                (64, 2): -3.37379,
            },
            in_decibels=True,
        )

    def test_power_to_db_of_the_maximum(self) -> None:
        """It is 0."""
        assert_golden(
            torch.from_numpy(librosa.power_to_db(mel(), ref=np.max)),
            (128, 32),
            total=-191445.1,
            least=-80.0,
            largest=0.0,
            values={(0, 0): -31.365, (16, 8): -37.2977},
            in_decibels=True,
        )

    def test_amplitude_to_db(self) -> None:
        """Twice the decibels, of magnitudes."""
        assert_golden(
            torch.from_numpy(librosa.amplitude_to_db(mel(power=1))),
            (128, 32),
            total=-95905.82,
            least=-57.30862,
            largest=22.69139,
            values={
                (0, 0): -7.29898,
                (16, 8): -13.7447,
                (42, 16): -16.6172,
                (64, 2): -13.7573,
            },
            in_decibels=True,
        )


class TestArguments:
    """Names and defaults."""

    def test_names_and_defaults(self) -> None:
        """Those of 0.11, ``axes`` of 1.0; what is passed on to the filterbank is written out."""
        bank = {"fmin": 0.0, "fmax": None, "htk": False, "norm": "slaney"}
        decibels = {"S": inspect.Parameter.empty, "ref": 1.0, "top_db": 80.0, "axes": "auto"}
        inverse = {
            "M": inspect.Parameter.empty,
            "sr": 22050,
            "n_fft": 2048,
            "power": 2.0,
            "n_mels": None,
            **bank,
        }
        table: dict[str, dict[str, Any]] = {
            "melspectrogram": {
                "y": None,
                "sr": 22050,
                "S": None,
                "n_fft": 2048,
                "hop_length": 512,
                "win_length": None,
                "window": "hann",
                "center": True,
                "pad_mode": "constant",
                "power": 2.0,
                "n_mels": 128,
                **bank,
                "dtype": np.float32,
            },
            "power_to_db": {**decibels, "amin": 1e-10},
            "amplitude_to_db": {**decibels, "amin": 1e-5},
            "db_to_power": {"S_db": inspect.Parameter.empty, "ref": 1.0},
            "db_to_amplitude": {"S_db": inspect.Parameter.empty, "ref": 1.0},
            "mel_to_stft": inverse,
            "mel_to_audio": {
                **inverse,
                "hop_length": None,
                "win_length": None,
                "window": "hann",
                "center": True,
                "pad_mode": "constant",
                "n_iter": 32,
                "length": None,
                "dtype": np.float32,
            },
        }
        assert sorted(librosa.__all__) == sorted(table)
        for name, defaults in table.items():
            parameters = inspect.signature(getattr(librosa, name)).parameters
            assert {n: p.default for n, p in parameters.items()} == defaults
            kinds = [p.kind for p in parameters.values()]
            n_named = len(kinds) - (name != "melspectrogram")
            assert kinds[-n_named:] == [inspect.Parameter.KEYWORD_ONLY] * n_named

    @pytest.mark.parametrize(
        ("arguments", "told"),
        [
            ({"n_fft": 1}, "n_fft = 1: must be at least 2"),
            ({"n_fft": None}, "n_fft = None: must be a whole number"),
            ({"hop_length": 0}, "hop_length = 0: must be at least 1"),
            ({"hop_length": 12.5}, "hop_length = 12.5: must be a whole number"),
            ({"win_length": 4096}, "win_length = 4096: must be at most n_fft = 2048"),
            ({"window": "hanning"}, "window = 'hanning': is no window; did you mean \"hann\"?"),
            ({"window": None}, "window = None: must be"),
            ({"window": np.ones(400)}, "window = (400,): must be win_length = 2048 numbers"),
            ({"window": np.ones((2048, 1))}, "window = (2048, 1): must be win_length"),
            ({"window": lambda _: [1.0]}, "window = (1,): must be win_length = 2048 numbers"),
            ({"pad_mode": "wrap"}, "pad_mode = 'wrap': must be one of 'constant', 'reflect'"),
            ({"pad_mode": "empty"}, "pad_mode = 'empty': must be one of 'constant', 'reflect'"),
            ({"power": -1.0}, "power = -1.0: must be at least 0"),
            ({"n_mels": 0}, "n_mels = 0: must be at least 1"),
            ({"fmin": 9000.0, "fmax": 100.0}, "fmax = 100.0: must be above fmin = 9000 Hz"),
            ({"fmax": 20000.0}, "fmax = 20000.0: must be at most half of sr, 11025 Hz"),
            ({"sr": 22050.5}, "sr = 22050.5: must be a whole number"),
            ({"norm": "l2"}, "norm = 'l2': must be 'slaney', None, or a number above 0"),
            ({"norm": 0}, "norm = 0: must be 'slaney', None, or a number above 0"),
            ({"norm": -math.inf}, "norm = -inf: must be 'slaney', None, or a number above 0"),
            ({"norm": ["slaney"]}, "norm = ['slaney']: must be 'slaney', None, or a number"),
            ({"norm": True}, "norm = True: must be 'slaney', None, or a number above 0"),
            ({"dtype": np.int16}, "dtype = <class 'numpy.int16'>: must be float32 or float64"),
            ({"dtype": "no"}, "dtype = 'no': must be float32 or float64"),
            ({"y": None}, "y = None: must be given, or S"),
            ({"y": [0.0] * 4000}, "y = <class 'list'>: must be an array or a tensor"),
            ({"y": np.zeros(4000, np.int16)}, "y = torch.int16: must be floating point"),
            ({"y": np.array(1.0)}, "y = (): must be (..., n_samples)"),
            ({"y": np.array(["a"])}, "y = dtype('<U1'): must be numbers"),
            ({"y": np.full(4000, np.nan, np.float32)}, "y holds NaN or infinity: must be finite"),
            ({"y": np.full(4000, -np.inf)}, "y holds NaN or infinity: must be finite"),
            ({"center": False, "n_fft": 8000}, "n_fft = 8000: must be at most 4000, y's samples"),
            ({"y": noise(0), "pad_mode": "edge"}, "pad_mode = 'edge': must be 'constant', since"),
            ({"S": np.ones((9, 4), np.complex64)}, "S = torch.complex64: must be magnitudes"),
            ({"S": np.ones(9)}, "S = (9,): must be (..., n_freqs, n_frames)"),
            ({"S": np.ones((1, 9))}, "S = (1, 9): must be (..., n_freqs, n_frames)"),
            ({"S": np.ones((9, 4)), "n_mels": 0}, "n_mels = 0: must be at least 1"),
        ],
    )
    def test_what_cannot_be(self, arguments: dict[str, Any], told: str) -> None:
        """The argument, its value and what is allowed, as a ValueError."""
        with pytest.raises(UsageError) as caught:
            librosa.melspectrogram(**{"y": noise(4000), **arguments})
        assert str(caught.value).startswith(told)

    def test_by_name_only(self) -> None:
        """As in librosa since 0.9, and unknown names are not passed on."""
        with pytest.raises(TypeError):
            librosa.melspectrogram(noise(4000))  # type: ignore[call-arg]
        with pytest.raises(TypeError):
            librosa.melspectrogram(y=noise(4000), mels=4)  # type: ignore[call-arg]


class TestMelspectrogram:
    """Beside the original, at what no config says."""

    @pytest.mark.parametrize(
        "arguments",
        [
            {"window": 9.0},
            {"window": ("kaiser", 9.0)},
            {"window": ("general_cosine", [0.5, 0.4, 0.1])},
            {"window": ("exponential", None, 9.0)},
            {"window": ("taylor", 4, 30, False)},
            {"window": np.hanning},
            {"window": torch.hann_window},
            {"window": np.hamming(24).tolist(), "win_length": 24},
            {"window": np.bartlett(24)[::-1], "win_length": 24},
            {"window": torch.hamming_window(24), "win_length": 24},
            {"norm": np.int64(2)},
            {"norm": 0.5},
            {"window": np.float32(9.0)},
            {"norm": math.inf},
            {"norm": None},
            {"norm": 1.0},
            {"norm": 2, "n_mels": 40, "fmin": 0.0},  # some filters are empty
            {"power": 0},
            {"hop_length": None},
            {"hop_length": None, "win_length": 20},
            {"n_fft": 33},
            {"center": False},
            {"center": False, "pad_mode": "edge"},
            {"center": False, "pad_mode": "reflect"},
            {"dtype": np.float64},
            {"dtype": "float32"},
            {"sr": np.int64(8000), "hop_length": np.int32(8)},
            *({"pad_mode": mode} for mode in ("reflect", "symmetric", "edge", "linear_ramp")),
        ],
    )
    @pytest.mark.parametrize("n_samples", [2000, 100, 5, 1])
    def test_as_the_original(self, arguments: dict[str, Any], n_samples: int) -> None:
        """Also of clips that are shorter than a frame, or than the padding."""
        y, given = noise(2, n_samples), {**SMALL, **arguments}
        if not given.get("center", True) and n_samples < 32:
            return
        theirs: dict[str, Any] = {
            n: v.numpy() if isinstance(v, torch.Tensor) else v for n, v in given.items()
        }
        found = librosa.melspectrogram(y=y, **given)
        expected = original.feature.melspectrogram(y=y, **theirs)
        assert found.shape == expected.shape
        assert found.dtype == expected.dtype
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5 * expected.max())

    def test_a_function_that_pads(self) -> None:
        """As NumPy calls it, for arrays."""

        def ones(vector: Any, width: tuple[int, int], _: int, __: dict[str, Any]) -> None:
            if any(width):
                vector[: width[0]], vector[-width[1] :] = 1.0, 1.0

        y = noise(2, 300)
        expected = librosa.melspectrogram(
            y=np.pad(y, [(0, 0), (16, 16)], constant_values=1.0), center=False, **SMALL
        )
        assert np.array_equal(librosa.melspectrogram(y=y, pad_mode=ones, **SMALL), expected)
        with pytest.raises(UsageError, match=r"pad_mode = .*: must be a name"):
            librosa.melspectrogram(y=torch.from_numpy(y).requires_grad_(), pad_mode=ones, **SMALL)

    def test_nothing_at_all(self) -> None:
        """One frame of zeros; of no waveforms, none."""
        for shape in [(0,), (2, 0)]:
            found = librosa.melspectrogram(y=noise(*shape), **SMALL)
            assert found.shape == (*shape[:-1], 4, 1)
            assert not found.any()
        assert librosa.melspectrogram(y=noise(0, 100), **SMALL).shape == (0, 4, 13)

    @pytest.mark.parametrize("n_fft", [32, 33, 999, None])
    @pytest.mark.parametrize("dtype", [np.float32, np.float64, np.float16, np.int64])
    def test_spectra(self, n_fft: int | None, dtype: type[Any]) -> None:
        """Only the filterbank counts; ``n_fft`` does if it fits."""
        spectra = (100.0 * noise(2, 17, 5) ** 2).astype(dtype)
        given: dict[str, Any] = {"sr": 8000, "n_mels": 4, "fmin": 100.0, "n_fft": n_fft}
        found = librosa.melspectrogram(S=spectra, y=noise(3), power=7.0, hop_length=-1, **given)
        expected = original.feature.melspectrogram(S=spectra, **given)
        assert found.dtype == expected.dtype
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6 * expected.max())

    def test_types(self) -> None:
        """float64 for what is float64, or where it is asked for; views and bytes of any order."""
        y = noise(2, 400)
        expected = librosa.melspectrogram(y=y, **SMALL)
        for given, dtype in (
            (y.astype(np.float64), np.float64),
            (y.astype(np.longdouble), np.float64),
            (y.astype(">f4"), np.float32),
            (y[::-1, ::-1][::-1, ::-1], np.float32),
        ):
            given.flags.writeable = False
            found = librosa.melspectrogram(y=given, **SMALL)
            assert found.dtype == dtype
            np.testing.assert_allclose(found, expected, rtol=1e-4)
        half = librosa.melspectrogram(y=y.astype(np.float16), **SMALL)
        assert half.dtype == np.float32
        asked = librosa.melspectrogram(y=torch.from_numpy(y), dtype=torch.float64, **SMALL)
        assert asked.dtype == torch.float64

    def test_tensors(self) -> None:
        """The same numbers; gradients flow, and are finite at silence."""
        y = noise(2, 400)
        for arguments in ({}, {"pad_mode": "edge"}, {"power": 1.0}, {"norm": 2}):
            given: dict[str, Any] = {**SMALL, **arguments}
            x = torch.from_numpy(y).requires_grad_()
            found = librosa.melspectrogram(y=x, **given)
            assert np.array_equal(found.detach().numpy(), librosa.melspectrogram(y=y, **given))
            found.sum().backward()
            assert x.grad is not None
            assert bool(x.grad.any())
            silence = torch.zeros(400, requires_grad=True)
            librosa.power_to_db(librosa.melspectrogram(y=silence, **given)).sum().backward()
            assert silence.grad is not None
            assert not silence.grad.any()

    def test_it_is_the_preset(self) -> None:
        """``melcli extract --config librosa`` gives these very numbers."""
        config = presets.load("librosa").config
        y = golden_signal()
        found = librosa.power_to_db(librosa.melspectrogram(y=y, sr=config.wave.sample_rate))
        torch.testing.assert_close(found, MelSpectrogram(config)(y), rtol=0, atol=1e-5)


class TestDecibels:
    """Beside the original, and what only librosa 1.0 has."""

    @pytest.mark.parametrize("name", ["power_to_db", "amplitude_to_db"])
    @pytest.mark.parametrize(
        "arguments",
        [
            {},
            {"ref": 0.3},
            {"ref": -0.3},
            {"ref": np.float32(0.3)},
            {"ref": 0.0},
            {"ref": np.max},
            {"ref": np.median},
            {"ref": lambda x: np.percentile(x, 90)},
            {"amin": 0.1},
            {"top_db": 3},
            {"top_db": 0},
            {"top_db": None},
        ],
    )
    @pytest.mark.parametrize("shape", [(3, 4), (7,), (2, 3, 4)])
    def test_as_the_original(
        self, name: str, arguments: dict[str, Any], shape: tuple[int, ...]
    ) -> None:
        """0.11 takes everything together: ``axes=None``."""
        spectra = noise(*shape, seed=3)
        if name == "power_to_db":
            spectra **= 2
        spectra.flat[0] = 0.0
        ours, theirs = getattr(librosa, name), getattr(original, name)
        found, expected = ours(spectra, axes=None, **arguments), theirs(spectra, **arguments)
        assert found.dtype == expected.dtype
        np.testing.assert_allclose(found, expected, rtol=0, atol=DECIBELS)
        # 1.0 calls for each of a stack what 0.11 gave for it alone.
        stacked = np.stack([spectra, 1e-3 * spectra])
        if len(shape) == 2:
            apart = [theirs(item, **arguments) for item in stacked]
            np.testing.assert_allclose(ours(stacked, **arguments), apart, rtol=0, atol=DECIBELS)

    def test_axes(self) -> None:
        """Each its own maximum, over those that are named."""
        x = np.array([[1.0, 0.1], [1e-3, 1e-6]])
        together = [[0.0, -10.0], [-20.0, -20.0]]
        by_row = [[0.0, -10.0], [0.0, -20.0]]
        by_column = [[0.0, 0.0], [-20.0, -20.0]]
        cases: list[tuple[Any, Any]] = [
            ("auto", together),
            (None, together),
            ((0, 1), together),
            ([-1, -2], together),
            (1, by_row),
            ((-1,), by_row),
            (0, by_column),
        ]
        refs: list[Any] = [np.max, lambda item: item.max()]
        for (axes, expected), ref in itertools.product(cases, refs):
            found = librosa.power_to_db(x, ref=ref, top_db=20.0, axes=axes)
            np.testing.assert_allclose(found, expected, atol=1e-6)

    def test_references_laid_over(self) -> None:
        """One for each item."""
        spectra = noise(2, 3, 4) ** 2
        ref = np.array([1.0, 100.0], np.float32).reshape(2, 1, 1)
        expected = librosa.power_to_db(spectra, top_db=None)
        expected[1] -= 20.0
        found = librosa.power_to_db(spectra, ref=ref, top_db=None)
        np.testing.assert_allclose(found, expected, atol=1e-4)

    @pytest.mark.parametrize("values", [1.0, 3, [1, 2, 3], np.arange(4), np.float64(0.5)])
    @pytest.mark.parametrize("ref", [1.0, np.max, np.median])
    def test_numbers_and_lists(self, values: Any, ref: Any) -> None:
        """As NumPy would take them, in float64."""
        found: Any = librosa.power_to_db(values, ref=ref)
        expected: Any = original.power_to_db(values, ref=ref)
        assert type(found) is type(expected)
        assert found.dtype == expected.dtype
        np.testing.assert_allclose(found, expected)

    @pytest.mark.filterwarnings("ignore:.*was called on complex input")
    def test_complex(self) -> None:
        """By its magnitude."""
        spectra = (noise(3, 4) + 1j * noise(3, 4, seed=1)).astype(np.complex64)
        for name in ("power_to_db", "amplitude_to_db"):
            expected = getattr(original, name)(spectra)
            found = getattr(librosa, name)(spectra)
            assert found.dtype == np.float32
            np.testing.assert_allclose(found, expected, atol=DECIBELS)

    def test_very_quiet_and_very_loud(self) -> None:
        """Where squares leave float32, and floors lie below it."""
        found = librosa.amplitude_to_db(
            np.array([1e-30, 1e30], np.float32), amin=1e-35, top_db=None
        )
        np.testing.assert_allclose(found, [-600.0, 600.0], atol=DECIBELS)
        found = librosa.power_to_db(np.zeros(2, np.float32), amin=1e-300)
        assert np.isfinite(found).all()
        assert librosa.power_to_db(np.zeros(2), amin=1e-300)[0] == pytest.approx(-3000.0)

    def test_tensors(self) -> None:
        """The same; half precision by way of float32; functions of tensors; gradients."""
        spectra = noise(2, 3, 4) ** 2
        x = torch.from_numpy(spectra)
        for ref in (np.max, torch.max, torch.median, torch.amax):
            array_ref: Any = np.median if ref is torch.median else np.max
            expected = librosa.power_to_db(spectra[..., :3], ref=array_ref)
            found = librosa.power_to_db(x[..., :3], ref=ref)
            np.testing.assert_allclose(found.numpy(), expected, atol=1e-4)
        assert librosa.power_to_db(x.half()).dtype == torch.float16
        assert float(librosa.power_to_db(torch.zeros(1).half())) == -100.0
        wide = x.double().requires_grad_()
        assert torch.autograd.gradcheck(
            lambda s: librosa.power_to_db(s, ref=torch.mean, top_db=20.0), (wide,)
        )
        zero = torch.zeros(3, requires_grad=True)
        librosa.amplitude_to_db(zero).sum().backward()  # type: ignore[no-untyped-call]
        assert zero.grad is not None
        assert not zero.grad.any()

    def test_nothing_at_all(self) -> None:
        """No numbers have no maximum; so they become no numbers."""
        for ref in (1.0, np.max, np.median):
            assert librosa.power_to_db(noise(3, 0), ref=ref).shape == (3, 0)

    @pytest.mark.parametrize("name", ["power", "amplitude"])
    @pytest.mark.parametrize("ref", [1.0, 0.2, -0.2])
    def test_there_and_back(self, name: str, ref: float) -> None:
        """As the original goes back, and to where it came from."""
        spectra = np.abs(noise(3, 4)) + 0.1
        level = getattr(librosa, f"{name}_to_db")(spectra, ref=ref)
        back = getattr(librosa, f"db_to_{name}")
        np.testing.assert_allclose(np.abs(back(level, ref=ref)), spectra, rtol=1e-5)
        expected = getattr(original, f"db_to_{name}")(level, ref=ref)
        assert back(level, ref=ref).dtype == expected.dtype
        np.testing.assert_allclose(back(level, ref=ref), expected, rtol=1e-5)
        np.testing.assert_allclose(
            back(torch.from_numpy(level), ref=torch.tensor([ref])).numpy(), expected, rtol=1e-5
        )

    @pytest.mark.parametrize(
        ("arguments", "told"),
        [
            ({"amin": 0}, "amin = 0: must be above 0"),
            ({"amin": -1e-5}, "amin = -1e-05: must be above 0"),
            ({"top_db": -1}, "top_db = -1: must be at least 0"),
            ({"top_db": "80"}, "top_db = '80': must be at least 0"),
            ({"axes": "all"}, "axes = 'all': must be 'auto', None, or of the 2 axes of S"),
            ({"axes": 2}, "axes = 2: must be 'auto', None, or of the 2 axes of S"),
            ({"axes": ()}, "axes = (): must be 'auto', None, or of the 2 axes of S"),
            ({"ref": np.ones(3)}, "ref = (3,): must be laid over S, which is (2, 4)"),
            ({"ref": np.ones((1, 1, 1))}, "ref = (1, 1, 1): must be laid over S"),
            ({"ref": lambda x: x}, "ref = <function"),
            ({"ref": "max"}, "ref = dtype('<U3'): must be numbers"),
            ({"S": "x"}, "S = dtype('<U1'): must be numbers"),
        ],
    )
    def test_what_cannot_be(self, arguments: dict[str, Any], told: str) -> None:
        """The argument, its value and what is allowed, as a ValueError."""
        given = {"S": noise(2, 4), **arguments}
        for convert in (librosa.power_to_db, librosa.amplitude_to_db):
            with pytest.raises(UsageError) as caught:
                convert(**given)
            assert str(caught.value).startswith(told)

    def test_what_cannot_go_back(self) -> None:
        """Decibels are real."""
        with pytest.raises(UsageError, match=r"S_db = torch.complex128: must be decibels"):
            librosa.db_to_power(np.ones(2, complex))


class TestInverse:
    """Spectra that have a mel, and waveforms that nearly have."""

    @pytest.mark.parametrize("power", [1.0, 2.0, 1.5])
    @pytest.mark.parametrize("level", [1.0, 1e-6])
    def test_mel_to_stft(self, power: float, level: float) -> None:
        """Whatever the level; the original is 15 % off where it is low."""
        mels = level * mel(power=power)
        spectra = librosa.mel_to_stft(mels, sr=16000, power=power)
        assert spectra.shape == (1025, 32)
        assert spectra.dtype == np.float32
        assert (spectra >= 0).all()
        bank = original.filters.mel(sr=16000, n_fft=2048, dtype=np.float64)
        off = np.linalg.norm(bank @ spectra.astype(np.float64) ** power - mels, axis=0)
        # What is found is to 1e-5, and a root of it and its power are rounded.
        assert (off <= 1.2e-5 * np.linalg.norm(mels, axis=0)).all()
        if power == 2.0:
            theirs = original.feature.inverse.mel_to_stft(mels, sr=16000)
            far = np.linalg.norm(bank @ theirs.astype(np.float64) ** 2 - mels)
            assert far > (0.1 if level < 1.0 else 1e-3) * np.linalg.norm(mels)

    @pytest.mark.parametrize("norm", [1, 2, math.inf, None])
    def test_filterbank(self, norm: float | None) -> None:
        """Its arguments are passed on; leading axes are free."""
        y = noise(2, 3, 4000)
        given: dict[str, Any] = {"sr": 8000, "n_fft": 512, "fmin": 50.0, "fmax": 3500.0}
        given |= {"htk": True, "norm": norm}
        mels = librosa.melspectrogram(y=y, n_mels=20, **given)
        spectra = librosa.mel_to_stft(mels, **given)
        assert spectra.shape == (2, 3, 257, 8)
        bank = original.filters.mel(n_mels=20, **given)
        np.testing.assert_allclose(bank @ spectra**2, mels, rtol=1e-3, atol=1e-5 * mels.max())
        tensors = librosa.mel_to_stft(torch.from_numpy(mels), **given)
        assert np.array_equal(tensors.numpy(), spectra)

    def test_types(self) -> None:
        """float64 for what is float64 or whole; nothing is written to."""
        mels = np.ones((20, 3))
        given: dict[str, Any] = {"sr": 8000, "n_fft": 512}
        for dtype, expected in ((np.float64, np.float64), (np.int32, np.float64), ("f2", "f4")):
            before = mels.astype(dtype)
            kept = before.copy()
            spectra = librosa.mel_to_stft(kept, **given)
            assert spectra.dtype == expected
            assert np.array_equal(kept, before)
        assert not librosa.mel_to_stft(np.zeros((20, 3)), **given).any()

    def test_gradients(self) -> None:
        """To the mel, of spectra and of waveforms; finite at silence."""
        mels = torch.rand(20, 6, generator=torch.Generator().manual_seed(1))
        mels[:, 2] = 0.0
        given: dict[str, Any] = {"sr": 8000, "n_fft": 512}
        for inverse in (librosa.mel_to_stft, librosa.mel_to_audio):
            x = mels.clone().requires_grad_()
            found: Any = inverse(x, **given)
            found.square().sum().backward()
            assert x.grad is not None
            assert bool(torch.isfinite(x.grad).all())
            assert bool(x.grad[:, 0].any())

    @pytest.mark.parametrize(
        "arguments",
        [
            {},
            {"n_fft": 501},
            {"center": False},
            {"win_length": 400, "hop_length": 128},
            {"window": np.hanning, "win_length": 400},
            {"window": 8.0, "pad_mode": "reflect"},
            {"pad_mode": "symmetric", "power": 1.0},
            {"dtype": np.float64},
        ],
    )
    def test_mel_to_audio(self, arguments: dict[str, Any]) -> None:
        """As long as the original's, and the same every time; it nearly has the mel."""
        arguments = {"sr": 8000, "n_fft": 512, **arguments}
        n = np.arange(4000)
        y = np.sin(0.3 * n + 2e-5 * n**2).astype(np.float32) * np.hanning(4000).astype(np.float32)
        of_mel = {name: value for name, value in arguments.items() if name != "dtype"}
        of_mel.setdefault("hop_length", arguments.get("win_length", arguments["n_fft"]) // 4)
        mels = librosa.melspectrogram(y=y, n_mels=40, **of_mel)
        found = librosa.mel_to_audio(mels, **arguments)
        expected = original.feature.inverse.mel_to_audio(mels, n_iter=2, **arguments)
        assert found.shape == expected.shape
        assert found.dtype == expected.dtype
        assert np.array_equal(librosa.mel_to_audio(mels, **arguments), found)
        again = librosa.melspectrogram(y=found.astype(np.float32), n_mels=40, **of_mel)
        assert np.linalg.norm(again - mels) < 0.2 * np.linalg.norm(mels)
        assert np.array_equal(
            librosa.mel_to_audio(torch.from_numpy(mels), **arguments).numpy(), found
        )

    def test_windows_given_as_numbers(self) -> None:
        """They are those that spectra are heard by."""
        mels = librosa.melspectrogram(y=noise(4000), sr=8000, n_fft=512, n_mels=20)
        given: dict[str, Any] = {"sr": 8000, "n_fft": 512, "n_iter": 2, "dtype": np.float64}
        named = librosa.mel_to_audio(mels, window="blackman", **given)
        numbers = torch.blackman_window(512).requires_grad_()
        found = librosa.mel_to_audio(mels, window=numbers, **given)
        np.testing.assert_allclose(found, named, rtol=0, atol=1e-5 * np.abs(named).max())
        other = librosa.mel_to_audio(mels, window="hann", **given)
        assert np.abs(other - named).max() > 1e-3 * np.abs(named).max()

    @pytest.mark.parametrize("center", [True, False])
    @pytest.mark.parametrize("length", [None, 1, 1500, 4095, 4096, np.int64(4100), 9000])
    def test_lengths(self, center: bool, length: int | None) -> None:  # noqa: FBT001
        """One that does not fit crops the waveform, or fills it up with zeros."""
        mels = librosa.melspectrogram(
            y=noise(2, 4100), sr=8000, n_fft=512, hop_length=128, n_mels=20
        )
        given: dict[str, Any] = {"sr": 8000, "n_fft": 512, "center": center, "n_iter": 3}
        least = 128 * 32 + (0 if center else 512)
        most = least + 127
        found = librosa.mel_to_audio(mels, length=length, **given)
        fitting = least if length is None else min(max(length, least), most)
        whole = librosa.mel_to_audio(mels, length=fitting, **given)
        wanted = fitting if length is None else length
        assert whole.shape == (2, fitting)
        assert found.shape == (2, wanted)
        assert np.array_equal(found[:, :fitting], whole[:, :wanted])
        assert not found[:, fitting:].any()
        # What lies behind the shortest waveform is heard too, as far as frames reach.
        assert bool(whole[:, least:].any()) == (center and fitting > least)

    @pytest.mark.parametrize(
        ("arguments", "told"),
        [
            ({"M": np.ones(20)}, "M = (20,): must be (..., n_mels, n_frames)"),
            ({"M": np.ones((20, 3), complex)}, "M = torch.complex128: must be real"),
            ({"M": [[1.0]]}, "M = <class 'list'>: must be an array or a tensor"),
            ({"M": -np.ones((20, 3))}, "mels hold a negative number, NaN or infinity"),
            ({"n_mels": 20}, "n_mels = 20: must be left out: it is that of M, 20"),
            ({"power": 0}, "power = 0: must be above 0"),
            ({"norm": "l1"}, "norm = 'l1': must be 'slaney', None, or a number above 0"),
            ({"fmax": 9000.0}, "fmax = 9000.0: must be at most half of sr, 4000 Hz"),
        ],
    )
    def test_what_cannot_be(self, arguments: dict[str, Any], told: str) -> None:
        """The argument, its value and what is allowed, as a ValueError."""
        given = {"M": np.ones((20, 3)), "sr": 8000, "n_fft": 512, **arguments}
        for inverse in (librosa.mel_to_stft, librosa.mel_to_audio):
            with pytest.raises(UsageError) as caught:
                inverse(**given)
            assert str(caught.value).startswith(told)

    @pytest.mark.parametrize(
        ("arguments", "told"),
        [
            ({"n_iter": 0}, "n_iter = 0: must be at least 1"),
            ({"length": 0}, "length = 0: must be at least 1"),
            ({"hop_length": 0}, "hop_length = 0: must be at least 1"),
            ({"win_length": 600}, "win_length = 600: must be at most n_fft = 512"),
            ({"pad_mode": "edge"}, "pad_mode = 'edge': must be one of"),
            ({"window": np.ones(3)}, "window = (3,): must be win_length = 512 numbers"),
            ({"dtype": np.int16}, "dtype = <class 'numpy.int16'>: must be float32 or float64"),
        ],
    )
    def test_what_cannot_be_heard(self, arguments: dict[str, Any], told: str) -> None:
        """Likewise."""
        with pytest.raises(UsageError) as caught:
            librosa.mel_to_audio(np.ones((20, 3)), **{"sr": 8000, "n_fft": 512, **arguments})
        assert str(caught.value).startswith(told)
