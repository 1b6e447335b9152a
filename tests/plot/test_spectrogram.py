"""Pictures of mels and spectra."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from melcli.errors import DeviceError, UsageError
from melcli.plot import Panel, Quantity, plot_spectrogram
from melcli.plot.figure import check_target
from melcli.plot.spectrogram import Limits, as_drawn, draw, limits_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

pytest.importorskip("matplotlib")


def test_axes(figure: Any, new_panel: Callable[..., Panel]) -> None:
    """The picture reaches from the first column to the last, bands upwards; all have names."""
    panel = new_panel(start=-0.01, stop=1.99, title="a.wav", aside="librosa, 2.00 s")
    draw(figure, panel)
    axes, bar = figure.axes
    [image] = axes.images
    assert image.get_extent() == [-0.01, 1.99, -0.5, 127.5]
    assert image.origin == "lower"
    assert (np.asarray(image.get_array()) == panel.numbers.T).all()
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("time in seconds", "Hz")
    assert (axes.get_title("left"), axes.get_title("right")) == ("a.wav", "librosa, 2.00 s")
    assert bar.get_ylabel() == "dB re 1"


def test_hz(figure: Any, new_panel: Callable[..., Panel]) -> None:
    """Round frequencies stand where the bands of the front end hear them."""
    panel = new_panel("hifigan-22k")
    draw(figure, panel)
    axes = figure.axes[0]
    names = [text.get_text() for text in axes.get_yticklabels()]
    heard = dict(zip(names, np.interp(axes.get_yticks(), np.arange(80), panel.hz), strict=True))
    assert heard["1k"] == pytest.approx(1000.0)
    assert heard["5k"] == pytest.approx(5000.0)
    assert len(names) >= 6


def test_spectra(figure: Any, new_panel: Callable[..., Panel]) -> None:
    """A spectrum has an even axis, and its magnitudes are drawn in dB."""
    numbers = np.abs(new_panel(n_columns=5).numbers[:, :101]) + 0.1
    magnitudes = Quantity("magnitude, drawn in dB re 1", is_db=True, depth=80.0, exponent=1.0)
    panel = new_panel(numbers=numbers, hz=np.arange(101) * 80.0, is_even=True, quantity=magnitudes)
    draw(figure, panel)
    axes = figure.axes[0]
    ticks = dict(
        zip(axes.get_yticks(), [t.get_text() for t in axes.get_yticklabels()], strict=True)
    )
    assert ticks[100.0] == "8k"
    assert np.diff(list(ticks)) == pytest.approx(12.5)
    drawn = np.asarray(axes.images[0].get_array())
    assert drawn == pytest.approx(20.0 * np.log10(numbers.T), rel=1e-5)


def test_gaps_ends_and_marks(figure: Any, new_panel: Callable[..., Panel]) -> None:
    """Frames that are nowhere have no colour; patches and the end of a recording have lines."""
    panel = new_panel(end=0.5, marks=[0.25, 0.75], note="patches")
    panel.numbers[10] = np.nan
    draw(figure, panel)
    axes = figure.axes[0]
    assert np.ma.getmaskarray(axes.images[0].get_array())[:, 10].all()
    assert [line.get_xdata()[0] for line in axes.get_lines()] == [0.25, 0.75, 0.5]
    assert [text.get_text() for text in axes.texts] == ["end of the recording"]
    assert axes.get_xlabel() == "time in seconds; patches"


def test_silence_has_a_level() -> None:
    """Zeros have no logarithm and are drawn at a floor, the lowest or the one asked for."""
    powers = Quantity("power", is_db=True, depth=80.0, exponent=2.0)
    assert as_drawn(np.array([0.0, 1.0, 100.0]), powers).tolist() == [-200.0, 0.0, 20.0]
    assert as_drawn(np.array([0.0, 1.0]), powers, least=0.1).tolist() == [-10.0, 0.0]
    assert as_drawn(np.array([0.0]), Quantity("ln power")).tolist() == [0.0]


@pytest.mark.parametrize(
    ("numbers", "depth", "limits"),
    [
        (np.linspace(-50.0, 20.0, 500), 80.0, Limits(-50.0, 20.0)),  # all of it
        (np.linspace(-150.0, 20.0, 500), 80.0, Limits(-60.0, 20.0, "min")),  # the upper 80 dB
        (np.linspace(-1.0, 1.0, 500), None, Limits(-1.0, 1.0)),
        (np.full(9, 3.0), 80.0, Limits(2.0, 4.0)),  # one number all over
        (np.full(9, np.nan), None, Limits(0.0, 1.0)),
        (np.array([]), None, Limits(0.0, 1.0)),
    ],
)
def test_limits(numbers: Any, depth: float | None, limits: Limits) -> None:
    """Colours go from the least to the loudest, of levels at most 80 dB."""
    assert limits_of([numbers[:, None]], depth) == limits


def test_limits_of_strays() -> None:
    """A number far beyond all others costs the others no colours, and an arrow tells of it."""
    numbers = np.concatenate([np.linspace(0.0, 1.0, 5000), [100.0], [-100.0]])
    low, high, extend = limits_of([numbers[:, None]], None)
    assert [low, high] == pytest.approx([0.0, 1.0], abs=0.01)
    assert extend == "both"


@pytest.mark.parametrize("name", ["x.png", "x.svg", "x.pdf"])
def test_the_same_bytes(tmp_path: Path, new_panel: Callable[..., Panel], name: str) -> None:
    """The same numbers give the same bytes, of the kind that the name says."""
    panel = new_panel("hifigan-22k", title="日本/a$b_\n\udcff.wav", end=0.5)
    for folder in "ab":
        plot_spectrogram(panel, tmp_path / folder / name)
    data = (tmp_path / "a" / name).read_bytes()
    assert data == (tmp_path / "b" / name).read_bytes()
    assert data.startswith({"x.png": b"\x89PNG", "x.svg": b"<?xml", "x.pdf": b"%PDF"}[name])


def test_streams(new_panel: Callable[..., Panel]) -> None:
    """An open file gets a PNG, as large as a page of text is wide."""
    file = io.BytesIO()
    plot_spectrogram(new_panel(), file)
    header = file.getvalue()[16:24]
    assert (int.from_bytes(header[:4], "big"), int.from_bytes(header[4:], "big")) == (1200, 675)


def test_targets_are_checked_before_any_work(monkeypatch: pytest.MonkeyPatch) -> None:
    """A wrong name and a missing matplotlib are told before a recording is read."""
    with pytest.raises(UsageError, match="no name of a picture"):
        check_target("x.jpg")
    monkeypatch.setitem(__import__("sys").modules, "matplotlib", None)
    with pytest.raises(DeviceError, match="matplotlib"):
        check_target("x.png")
