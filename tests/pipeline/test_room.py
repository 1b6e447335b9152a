"""Room on the disk: asked for before a run and after each segment, by what the inputs become."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import melcli
from melcli import OutputConfig
from melcli.errors import DeviceError
from melcli.pipeline import batching, room
from melcli.pipeline.plan import Selection, make_plan
from melcli.pipeline.report import Silence
from melcli.presets import load

if TYPE_CHECKING:
    from tests.conftest import Corpus, ReadOutput

CONFIG = load("whisper-80").config.updated({"wave.fix_samples": 0})


class Warnings(Silence):
    """Keeps what is told at once."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def warned(self, warning: str) -> None:
        """Keep it."""
        self.told.append(warning)


@pytest.fixture
def recordings(corpus: Corpus) -> Corpus:
    """A minute in sixty files, of some formats."""
    for k in range(60):
        corpus.add(f"{k:02}.{('wav', 'wav', 'flac')[k % 3]}", 1.0, 16_000, 1 + k % 2)
    return corpus


@pytest.fixture
def in_segments(monkeypatch: pytest.MonkeyPatch) -> None:
    """Segments of six inputs."""
    monkeypatch.setattr(batching, "BATCH_INPUTS", 3)
    monkeypatch.setattr(batching, "SEGMENT_INPUTS", 12)  # of which half may be under way


def extract(corpus: Corpus, output: str, listener: Warnings | None = None) -> melcli.Report:
    """Extract all of them."""
    return melcli.extract(corpus.folder, output, CONFIG, listener=listener)


@pytest.mark.parametrize(
    ("output", "layout", "times"),
    [("x.h5", "packed", 1), ("x.h5", "tree", 2), ("npy/", "packed", 1)],
)
def test_the_guess(
    recordings: Corpus, tmp_path: Path, output: str, layout: str, times: int
) -> None:
    """It is near what the output takes, while it is made and when it is."""
    plan = make_plan(Selection(paths=(recordings.folder,)))
    out = OutputConfig(store_layout="tree" if layout == "tree" else "packed")
    path = tmp_path / output
    guess = room.room_for(plan, range(len(plan)), path, CONFIG, out)
    melcli.extract(recordings.folder, f"{path}/" if output == "npy/" else path, CONFIG, out=out)
    files = path.rglob("*.npy") if path.is_dir() else [path]
    taken = sum(file.stat().st_size for file in files)
    assert (guess._needed + guess._finishing) / times == pytest.approx(taken, rel=0.1)


def test_what_cannot_be_read_takes_no_room(corpus: Corpus) -> None:
    """Nor does it spoil the guess for the others."""
    for k in range(4):
        corpus.add_bytes(f"{k}.wav", b"text")
    plan = make_plan(Selection(paths=(corpus.folder,)))
    guess = room.room_for(plan, range(4), Path("x.h5"), CONFIG, OutputConfig())
    assert guess._needed == 0


def test_far_too_little(
    recordings: Corpus, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A run that cannot end is not begun, and leaves nothing."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(room, "free_bytes", lambda _: 500_000)
    with pytest.raises(DeviceError, match=r"about 1\.9 MB are needed, and 500\.0 kB are free"):
        extract(recordings, "x.h5")
    assert not list(tmp_path.glob("x*"))


def test_perhaps_too_little(
    recordings: Corpus, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A run that may not end is begun with a warning, once."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(room, "free_bytes", lambda _: 1_500_000)
    listener = Warnings()
    report = extract(recordings, "x.h5", listener)
    assert report.exit_code == 0
    [told] = listener.told
    assert "are needed, and 1.5 MB are free" in told
    assert told in str(report)


@pytest.mark.usefixtures("in_segments")
@pytest.mark.parametrize("output", ["x.h5", "npy/"])
def test_less_and_less(
    recordings: Corpus, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, read_output: ReadOutput,
    output: str,
) -> None:  # fmt: skip
    """Somebody else fills the disk: a warning, then an end before it is full; all is kept."""
    monkeypatch.chdir(tmp_path)
    left = iter([10**7] * 4 + [10**6] * 2 + [10**5] * 100)
    listener = Warnings()
    with monkeypatch.context() as patch:
        patch.setattr(room, "free_bytes", lambda _: next(left))
        with pytest.raises(DeviceError, match=r"the disk is nearly full: 100\.0 kB") as raised:
            extract(recordings, output, listener)
    assert "run the same command again" in str(raised.value.remedy)
    [told] = listener.told
    assert "more are needed, and 1.0 MB are free" in told
    report = extract(recordings, output)
    assert (report.already, report.done) == (36, 24)
    extract(recordings, f"other-{output}")
    assert read_output(Path(output)) == read_output(Path(f"other-{output}"))


def test_a_system_that_does_not_say(
    recordings: Corpus, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Nothing is refused for that."""
    assert room.free_bytes(tmp_path / "not/yet/there") == room.free_bytes(tmp_path)

    def unknown(_: Path) -> None:
        raise OSError

    monkeypatch.setattr(shutil, "disk_usage", unknown)
    assert room.free_bytes(tmp_path) is None
    assert extract(recordings, str(tmp_path / "x.h5")).exit_code == 0
