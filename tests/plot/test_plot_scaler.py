"""Pictures of scalers."""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from melcli import plot
from melcli.config import Mel, MelConfig, Out
from melcli.errors import DeviceError, ScalerError, UsageError
from melcli.plot import scaler
from melcli.plot.figure import shown
from melcli.scaler.bands import bin_centres
from melcli.statistics.fitted import Statistics
from melcli.statistics.moments import moments_of
from melcli.store import disk

if TYPE_CHECKING:
    from pathlib import Path

figure_module = pytest.importorskip("matplotlib.figure")

HEADS = {"x.png": b"\x89PNG\r\n", "x.svg": b"<?xml", "x.pdf": b"%PDF-", "X.PNG": b"\x89PNG\r\n"}


def fitted(n_bins: int = 80) -> Statistics:
    """Statistics of noise: bins 0 and 1 never vary, 5 to 7 and the last lie at the floor."""
    rows = np.random.default_rng(0).normal(size=(2000, n_bins)).astype(np.float32)
    rows[:, :2] = 3.0
    at_floor = np.zeros(n_bins, np.int64)
    at_floor[[0, -1]] = at_floor[5:8] = 1500
    return Statistics(moments=moments_of(rows), at_floor=at_floor)


def drawn(statistics: Statistics, title: str = "", hz: Any = None) -> Any:
    """What would be drawn: the axes, once everything has found its place."""
    figure = figure_module.Figure()
    scaler.draw(figure, statistics, title, hz)
    figure.draw_without_rendering()
    return figure.axes[0]


def test_the_unit() -> None:
    """The axis says what the numbers are, where that is known."""
    for unit, told in (("", "value"), ("ln magnitude", "ln magnitude")):
        figure = figure_module.Figure()
        scaler.draw(figure, fitted(), "", None, unit)
        assert figure.axes[0].get_ylabel() == told


@pytest.mark.parametrize("name", HEADS)
def test_kinds(tmp_path: Path, name: str) -> None:
    """The ending says what is drawn; the same statistics give the same bytes."""
    hz = bin_centres(MelConfig(mel=Mel(n_mels=80)))
    for folder in "ab":
        plot.plot_scaler(fitted(), tmp_path / folder / name, title="s.h5", hz=hz)
    data = (tmp_path / "a" / name).read_bytes()
    assert data.startswith(HEADS[name])
    assert (tmp_path / "b" / name).read_bytes() == data
    assert len(data) > 5000


def test_size(tmp_path: Path) -> None:
    """A picture is as wide as a page of text can show."""
    plot.plot_scaler(fitted(), str(tmp_path / "x.png"))
    header = (tmp_path / "x.png").read_bytes()[16:24]
    assert (int.from_bytes(header[:4], "big"), int.from_bytes(header[4:], "big")) == (1200, 675)


@pytest.mark.parametrize("name", ["x", "x.jpg", "x.png.gz"])
def test_other_kinds(tmp_path: Path, name: str) -> None:
    """A name that says nothing is refused, with those that do."""
    with pytest.raises(UsageError, match="no name of a picture") as caught:
        plot.plot_scaler(fitted(), tmp_path / name)
    assert str(caught.value.remedy) == "let it end in .png, .svg or .pdf"


def test_lines() -> None:
    """Mean, mean less and more a deviation, least and largest stand at their bins."""
    statistics = fitted()
    moments = statistics.moments
    lines = [np.asarray(line.get_ydata()) for line in drawn(statistics).get_lines()]
    for expected in (
        moments.mean,
        moments.mean - moments.std,
        moments.mean + moments.std,
        moments.min,
        moments.max,
    ):
        assert any(len(line) == 80 and (line == expected).all() for line in lines)


def test_marks() -> None:
    """Constant bins and those at the floor are marked, and the legend says what is what."""
    axes = drawn(fitted())
    (crosses,) = [line for line in axes.get_lines() if line.get_marker() == "x"]
    assert crosses.get_xdata().tolist() == [0, 1]
    bars = [(bar.get_x(), bar.get_x() + bar.get_width()) for bar in axes.patches]
    assert bars == [(4.5, 7.5), (78.5, 79.5)]
    (legend,) = axes.figure.legends
    assert [text.get_text() for text in legend.get_texts()] == [
        "mean",
        "mean ± deviation",
        "least and largest",
        "half its frames or more at the floor",
        "never varies",
    ]


def test_export() -> None:
    """Of a mean and a deviation alone, nothing else is drawn or named."""
    export = Statistics.exported(np.zeros(80), np.ones(80))
    axes = drawn(export)
    assert len(axes.get_lines()) == 3
    assert [text.get_text() for text in axes.figure.legends[0].get_texts()] == [
        "mean",
        "mean ± deviation",
    ]
    assert not axes.child_axes


def test_hz() -> None:
    """Round frequencies stand above the bins that hear them best, and not too close."""
    hz = bin_centres(MelConfig(mel=Mel(n_mels=80, mel_scale="slaney", f_max=8000.0)))
    (above,) = drawn(fitted(), hz=hz).child_axes
    places, names = above.get_xticks(), [text.get_text() for text in above.get_xticklabels()]
    heard = dict(zip(names, np.interp(places, np.arange(80), hz), strict=True))
    # 200 would stand where 100 does.
    assert heard == pytest.approx({"100": 100, "500": 500, "1k": 1000, "2k": 2000, "5k": 5000})
    assert np.diff(sorted(places)).min() >= 0.05 * 80


def test_stacked_frames() -> None:
    """Of stacked frames each has its own frequencies, with a line between."""
    config = MelConfig(mel=Mel(n_mels=20), out=Out(stack=4))
    axes = drawn(fitted(80), hz=bin_centres(config))
    (above,) = axes.child_axes
    names = [text.get_text() for text in above.get_xticklabels()]
    assert names.count("1k") == 4
    lines = [line.get_xdata() for line in axes.get_lines() if line.get_linestyle() == ":"]
    assert [places[0] for places in lines] == [19.5, 39.5, 59.5]


@pytest.mark.parametrize("n_bins", [1, 2, 20, 560])
def test_any_number_of_bins(tmp_path: Path, n_bins: int) -> None:
    """One bin is drawn as well as hundreds."""
    statistics = fitted(max(2, n_bins))
    if n_bins == 1:
        statistics = statistics.over_all()
    plot.plot_scaler(statistics, tmp_path / "x.png", hz=np.arange(1.0, n_bins + 1))
    assert (tmp_path / "x.png").stat().st_size > 5000


@pytest.mark.parametrize(
    "title", ["", "$", "a$b_\\frac{1", "日本.h5", "a\n\0b", "x\udcff.h5", "long" * 99]
)
def test_titles(tmp_path: Path, title: str) -> None:
    """A file may be called anything."""
    for name in ("x.png", "x.svg"):
        plot.plot_scaler(fitted(), tmp_path / name, title=title)


def test_long_title() -> None:
    """Of a long title the end is shown, which says more."""
    assert len(shown("x" * 500 + "s.h5: librosa")) == 90
    assert shown("x" * 500 + "s.h5: librosa").endswith("xxs.h5: librosa")
    assert shown("x" * 90) == "x" * 90


def test_a_persons_settings(tmp_path: Path) -> None:
    """What somebody set for pictures of their own is left alone, and changes nothing here."""
    import matplotlib as mpl

    plot.plot_scaler(fitted(), tmp_path / "a.png")
    with mpl.rc_context({"text.usetex": True, "lines.linewidth": 40, "figure.dpi": 10}):
        plot.plot_scaler(fitted(), tmp_path / "b.png")
        assert mpl.rcParams["lines.linewidth"] == 40
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


def test_no_matplotlib(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where matplotlib is missing, the extra that brings it is named."""
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(DeviceError, match="needs matplotlib") as caught:
        plot.plot_scaler(fitted(), tmp_path / "x.png")
    assert caught.value.remedy == 'pip install "melcli[plot]"'


def test_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full disk leaves the picture that was there."""
    (tmp_path / "x.png").write_bytes(b"old")

    def full(*_args: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(disk, "write_at", full)
    with pytest.raises(DeviceError, match="disk is full"):
        plot.plot_scaler(fitted(), tmp_path / "x.png")
    assert (tmp_path / "x.png").read_bytes() == b"old"
    (tmp_path / "folder.png").mkdir()
    with pytest.raises(ScalerError, match="is no file"):
        plot.plot_scaler(replace(fitted(), n_items=2), tmp_path / "folder.png")
