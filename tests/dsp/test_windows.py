"""Windows by name: SciPy's names and shapes, torch's bits, and what is said about the rest."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import scipy.signal
import torch
from torch import Tensor

from melcli.config import MelConfig
from melcli.config.windows import WINDOWS, WindowSpec, resolve_window, window_complaint
from melcli.dsp.frontend import compile_stages
from melcli.dsp.stft import Spectrum
from melcli.dsp.windows import window
from melcli.errors import ConfigError, DeviceError

if TYPE_CHECKING:
    from collections.abc import Callable

LENGTHS = [1, 2, 3, 4, 25, 400, 551]
BOTH = pytest.mark.parametrize("periodic", [True, False], ids=["periodic", "symmetric"])

ROUNDED_ONCE: list[tuple[WindowSpec, Any]] = [
    # What we write, and what SciPy is asked for.
    *(
        (name, name)
        for name in (
            "barthann",
            "brthan",
            "bth",
            "blackmanharris",
            "blackharr",
            "bkh",
            "bohman",
            "bman",
            "bmn",
            "cosine",
            "halfcosine",
            "exponential",
            "poisson",
            "flattop",
            "flat",
            "flt",
            "lanczos",
            "sinc",
            "nuttall",
            "nutl",
            "nut",
            "parzen",
            "parz",
            "par",
            "taylor",
            "taylorwin",
            "triang",
            "triangle",
            "tri",
            "tukey",
            "tuk",
        )
    ),
    *(((name, 60.0), (name, 60.0)) for name in ["chebwin", "cheb"]),
    *(((name, 7), (name, 7)) for name in ["gaussian", "gauss", "gss"]),
    *(
        ((name, 1.5, 7.0), (name, 1.5, 7.0))
        for name in ["general_gaussian", "general gaussian", "general_gauss", "ggs"]
    ),
    *(((name, 0.6), (name, 0.6)) for name in ["general_hamming", "general hamming"]),
    *(
        ((name, 0.4, 0.5, 0.1), (name, [0.4, 0.5, 0.1]))
        for name in ["general_cosine", "general cosine"]
    ),
    (("dpss", 0.4), ("dpss", 0.4)),
    (("tukey", 0.25), ("tukey", 0.25)),
    (("exponential", "none", 3.0), ("exponential", None, 3.0)),
    (("taylor", 5.0), ("taylor", 5)),
    (("taylor", 5, 40, 0), ("taylor", 5, 40, False)),
    (("nuttall",), "nuttall"),
    (("kaiser", 120.0), ("kaiser", 120.0)),  # beyond what float32 can hold
]
FLOAT32_ARITHMETIC: list[tuple[WindowSpec, Callable[..., Tensor]]] = [
    ("hann", torch.hann_window),
    ("han", torch.hann_window),
    (("hann",), torch.hann_window),
    *((name, torch.hamming_window) for name in ["hamming", "hamm", "ham"]),
    *((name, torch.blackman_window) for name in ["blackman", "black", "blk"]),
    *((name, torch.bartlett_window) for name in ["bartlett", "bart", "brt"]),
    *(
        (name, lambda n, periodic: torch.ones(n))  # noqa: ARG005
        for name in ["boxcar", "box", "ones", "rect", "rectangular"]
    ),
    *(
        ((name, beta), lambda n, periodic, beta=beta: torch.kaiser_window(n, periodic, beta))
        for name, beta in [("kaiser", 14.0), ("ksr", 5), ("kaiser", 0.0), ("kaiser", 88.0)]
    ),
    ("povey", lambda n, periodic: torch.hann_window(n, periodic) ** 0.85),
]
SHAPES: list[tuple[WindowSpec, bool, list[float]]] = [
    ("boxcar", True, [1, 1, 1]),
    ("triang", False, [0.25, 0.75, 0.75, 0.25]),
    ("bartlett", False, [0, 0.5, 1, 0.5, 0]),
    ("hamming", True, [0.08, 0.54, 1, 0.54]),
    ("blackman", True, [0, 0.34, 1, 0.34]),
    ("cosine", False, [0.5**0.5 / 2**0.5, 1, 0.5**0.5 / 2**0.5]),
    ("lanczos", False, [0, 2 / np.pi, 1, 2 / np.pi, 0]),
    ("bohman", False, [0, 1 / np.pi, 1, 1 / np.pi, 0]),
    (("tukey", 0.0), True, [1, 1, 1]),
    (("gaussian", 1.0), False, [np.exp(-0.5), 1, np.exp(-0.5)]),
    (("exponential", 0.0, 2.0), True, [1, np.exp(-0.5), np.exp(-1)]),
    (("general_cosine", 0.5, 0.5), True, [0, 0.5, 1, 0.5]),
    (("kaiser_bessel_derived", 3.0), False, [0.5**0.5, 0.5**0.5]),
]


def bits(w: Tensor) -> list[int]:
    """The values of a window as their 32 bits."""
    assert w.dtype == torch.float32
    integers: list[int] = w.view(torch.int32).tolist()
    return integers


@pytest.mark.parametrize("length", LENGTHS)
@BOTH
@pytest.mark.parametrize(("spec", "scipys"), ROUNDED_ONCE, ids=str)
def test_agrees_with_scipy(spec: WindowSpec, scipys: Any, length: int, *, periodic: bool) -> None:
    """Every name of SciPy's gives SciPy's window, rounded to float32 once."""
    expected = scipy.signal.get_window(scipys, length, fftbins=periodic)
    found = window(spec, length, periodic=periodic)
    assert found.dtype == torch.float32
    # Half a float32 step below 1 is 3e-8; unnormalised windows reach 2.
    np.testing.assert_allclose(found.numpy(), expected, rtol=0, atol=1e-7)


@pytest.mark.parametrize("length", LENGTHS)
@BOTH
@pytest.mark.parametrize(("spec", "torchs"), FLOAT32_ARITHMETIC, ids=str)
def test_has_the_bits_of_torch(
    spec: WindowSpec, torchs: Callable[..., Tensor], length: int, *, periodic: bool
) -> None:
    """A window that torch has is torch's to the last bit, under all of its names."""
    found = window(spec, length, periodic=periodic)
    assert bits(found) == bits(torchs(length, periodic=periodic))


@pytest.mark.parametrize("length", LENGTHS)
@BOTH
@pytest.mark.parametrize(
    "spec", ["boxcar", "hann", "hamming", "blackman", "bartlett", ("kaiser", 14.0)], ids=str
)
def test_torch_means_the_same(spec: WindowSpec, length: int, *, periodic: bool) -> None:
    """The windows of torch are SciPy's but for the arithmetic: the names mean one shape."""
    expected = scipy.signal.get_window(spec, length, fftbins=periodic)
    found = window(spec, length, periodic=periodic).numpy()
    # A phase near 2 pi is known to 5e-7 in float32, and cos, times 0.5, is no steeper; I0 of
    # nearly 14 magnifies its argument's last bit 14 times.
    tolerance = 1e-6 if spec == ("kaiser", 14.0) else 3e-7
    np.testing.assert_allclose(found, expected, rtol=0, atol=tolerance)


@pytest.mark.parametrize(("spec", "periodic", "expected"), SHAPES, ids=str)
def test_by_hand(spec: WindowSpec, expected: list[float], *, periodic: bool) -> None:
    """A few windows short enough to be worked out by hand."""
    found = window(spec, len(expected), periodic=periodic).tolist()
    assert found == pytest.approx(expected, abs=1e-7)


@pytest.mark.parametrize("name", ["kaiser_bessel_derived", "kaiser bessel derived", "kbd"])
def test_bessel_derived_is_symmetric_and_even(name: str) -> None:
    """The Kaiser-Bessel-derived window exists for symmetric even lengths, and only there."""
    expected = scipy.signal.windows.kaiser_bessel_derived(64, 8.0)
    found = window((name, 8.0), 64, periodic=False).numpy()
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-7)
    with pytest.raises(ConfigError, match=r"frame\.window_periodic = false"):
        window((name, 8.0), 64, periodic=True)
    with pytest.raises(ConfigError, match=r"even frame\.win_length, not 63"):
        window((name, 8.0), 63, periodic=False)


def test_knows_all_of_scipy() -> None:
    """Every window function that SciPy publishes is in the table, and povey beside them."""
    published = set(scipy.signal.windows.__all__) - {"get_window"}
    assert set(WINDOWS) == published | {"povey"}


@pytest.mark.parametrize("name", WINDOWS)
def test_every_name_is_listed_once(name: str) -> None:
    """A name and its aliases lead to one window, and no name to two."""
    every = [name for known, shape in WINDOWS.items() for name in (known, *shape.aliases)]
    assert len(every) == len(set(every))
    numbers = (1.0,) * WINDOWS[name].fewest
    for alias in (name, *WINDOWS[name].aliases):
        assert resolve_window((alias, *numbers)) == resolve_window((name, *numbers))


@BOTH
@pytest.mark.parametrize("length", [2, 5, 400])
@pytest.mark.parametrize("name", WINDOWS)
def test_whatever_passes_can_be_made(name: str, length: int, *, periodic: bool) -> None:
    """A window about which there is no complaint is finite, at the edges of its parameters too."""
    for number in (-700.0, -1.0, 0.0, 1e-3, 0.5, 1, 60.0, 700.0):
        if name == "chebwin" and number < 45:
            continue  # SciPy warns that it is no window for spectra
        spec = (name, *(number for _ in range(WINDOWS[name].fewest)))
        if not window_complaint(spec, length, periodic=periodic):
            w = window(spec, length, periodic=periodic)
            assert w.shape == (length,)
            assert w.isfinite().all()


COMPLAINTS: list[tuple[WindowSpec, str]] = [
    ("", "is no window"),
    ((), "is no window"),
    ("Hann", 'is no window; did you mean "hann"?'),
    ("gausian", 'is no window; did you mean "gaussian"?'),
    ("black man harris", 'is no window; did you mean "blackmanharris"?'),
    ("kaiserin", 'is no window; did you mean "kaiser"?'),
    ("zzz", "is no window"),
    ((14.0,), 'begins with a name; a number alone is a Kaiser window: ["kaiser", 14.0]'),
    ("hann_periodic", 'is written "hann", with frame.window_periodic = true'),
    ("nuttall_symmetric", 'is written "nuttall", with frame.window_periodic = false'),
    ("gaussian", 'needs 1 parameter: ["gaussian", std]'),
    ("ksr", 'needs 1 parameter: ["ksr", beta]'),
    (("gss", 1.0, 2.0), 'needs 1 parameter: ["gss", std]'),
    (("ggs", 1.0), 'needs 2 parameters: ["ggs", p, sig]'),
    ("general_cosine", 'needs at least 1 parameter: ["general_cosine", a, ...]'),
    (("hann", 0.5), 'takes no parameters: "hann"'),
    (("povey", 0.85), 'takes no parameters: "povey"'),
    (("tukey", 0.5, 1.0), 'takes at most 1 parameter: ["tukey", alpha = 0.5]'),
    (
        ("exponential", 1.0, 2.0, 3.0),
        'takes at most 2 parameters: ["exponential", center = "none", tau = 1.0]',
    ),
    (
        ("taylor", 4, 30, 1, 1),
        'takes at most 3 parameters: ["taylor", nbar = 4, sll = 30, norm = 1]',
    ),
    (("gaussian", "wide"), "its std must be above 0"),
    (("gaussian", 0.0), "its std must be above 0"),
    (("gaussian", float("inf")), "its std must be above 0"),
    (("chebwin", "none"), "its at must be a number"),
    (("general_gaussian", -1.0, 2.0), "its p must be at least 0"),
    (("general_cosine", 0.5, "half"), "its a must be a number"),
    (("exponential", "middle"), 'its center must be a number or "none"'),
    (("exponential", "none", 0), "its tau must be above 0"),
    (("taylor", 4.5), "its nbar must be a whole number, at least 1"),
    (("taylor", 4, 30, 2), "its norm must be 0 or 1"),
    (("kaiser", 1000.0), "its beta must be from -700 to 700"),
]


@pytest.mark.parametrize(("spec", "complaint"), COMPLAINTS, ids=str)
def test_complaints(spec: WindowSpec, complaint: str) -> None:
    """A window that cannot be is told apart by what would make it one."""
    assert window_complaint(spec) == complaint
    with pytest.raises(ConfigError, match=r"^window") as error:
        window(spec, 400, periodic=True)
    assert error.value.cause.endswith(complaint)


def test_complaints_about_the_length() -> None:
    """Two windows depend on the frame: dpss on its length, exponential on being periodic."""
    assert window_complaint(("dpss", 3.0)) == ""
    assert window_complaint(("dpss", 3.0), 7, periodic=True) == ""
    wide = window_complaint(("dpss", 3.0), 6, periodic=True)
    assert wide == "its NW must be below half of frame.win_length, 3"
    moved = window_complaint(("exponential", 3.0), 8, periodic=False)
    assert moved.endswith("frame.window_periodic = true")
    assert window_complaint(("exponential", "none", 3.0), 8, periodic=False) == ""


@pytest.mark.parametrize(
    ("spec", "complaint"),
    # An infinite number is refused before the rules are asked.
    [case for case in COMPLAINTS if "inf" not in str(case[0])],
    ids=str,
)
def test_config_complains(spec: WindowSpec, complaint: str) -> None:
    """A config tells what is wrong with its window, at frame.window."""
    with pytest.raises(ConfigError, match=r"^frame\.window = ") as error:
        MelConfig().updated({"frame.window": spec})
    assert error.value.cause.endswith(complaint)


@pytest.mark.parametrize(
    "spec", ["nuttall", ("gaussian", 50.0), ("kaiser", 120.0), ("general_cosine", 0.5, 0.5)]
)
def test_without_scipy(spec: WindowSpec, monkeypatch: pytest.MonkeyPatch) -> None:
    """A window of SciPy's without SciPy is a DeviceError that says what to install."""
    monkeypatch.setitem(sys.modules, "scipy.signal", None)
    with pytest.raises(DeviceError, match=r'the window "[a-z_]+" needs scipy') as error:
        window(spec, 400, periodic=True)
    assert error.value.remedy == 'pip install "melcli[windows]"'


@pytest.mark.parametrize(("spec", "torchs"), FLOAT32_ARITHMETIC, ids=str)
def test_torch_needs_no_scipy(
    spec: WindowSpec, torchs: Callable[..., Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A window that torch has is made without SciPy."""
    monkeypatch.setitem(sys.modules, "scipy.signal", None)
    assert bits(window(spec, 400, periodic=True)) == bits(torchs(400, periodic=True))


def test_checking_loads_neither_torch_nor_scipy() -> None:
    """Windows are checked without torch and SciPy, which are slow to load or not there."""
    code = (
        "import sys; from melcli.config import MelConfig\n"
        "MelConfig().updated({'frame.window': ['gaussian', 50.0]})\n"
        "assert not {'torch', 'scipy'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_window_in_toml() -> None:
    """A TOML file may give a window with its parameters, and the front end runs with it."""
    config = MelConfig.from_toml('[frame]\nwindow = ["gaussian", 50.0]\n')
    assert config.frame.window == ("gaussian", 50.0)
    assert MelConfig.from_toml(config.to_toml()) == config.resolved()
    assert MelConfig.from_toml(config.to_toml()).digest == config.digest != MelConfig().digest
    (spectrum,) = (stage for stage in compile_stages(config) if isinstance(stage, Spectrum))
    expected = torch.as_tensor(scipy.signal.get_window(("gaussian", 50.0), 400)).float()
    assert bits(spectrum.window) == bits(expected)
    # A frame of a lone one in the middle has the window's middle value at all frequencies.
    frame = torch.zeros(1, 400)
    frame[0, 200] = 1.0
    assert spectrum(frame).abs().flatten().tolist() == pytest.approx([1.0] * 201, abs=1e-6)
