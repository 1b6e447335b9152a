"""Front ends whose output is no plain frame by frame matrix, from audio to an output and back."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest

import melcli
from melcli import frames, presets
from melcli.pipeline.survey import survey
from melcli.pipeline.target import plan_inputs

EXAMPLES = Path(__file__).parent.parent.parent / "examples" / "audio"


@pytest.mark.parametrize(
    ("name", "row_shape"),
    [("vggish", (96, 64)), ("funasr-paraformer-560", (560,)), ("ast-audioset", (128,))],
)
@pytest.mark.parametrize("output", ["x.h5", "npy/"])
def test_rows_of_every_shape_are_stored(
    tmp_path: Path, name: str, row_shape: tuple[int, ...], output: str
) -> None:
    """Patches and stacks lie in an output as the front end gives them, rows first in HDF5."""
    config = presets.load(name).config
    report = melcli.extract(EXAMPLES / "speech", f"{tmp_path}/{output}", config)
    assert report.done == report.inputs == 4
    with melcli.open(tmp_path / output) as mels:
        for item_id, mel in mels.items():
            assert mel.shape[1:] == row_shape or config.out.layout == "mel_time", item_id
            assert np.isfinite(mel).all()
        n_rows = sum(len(mels.reader.read(item_id)) for item_id in mels)
    assert n_rows == report.rows
    if output == "x.h5":
        with h5py.File(tmp_path / output) as file:
            assert file["mel"].shape == (n_rows, *row_shape)
            labels = [dim.label for dim in file["mel"].dims]
            assert labels == list(config.row_labels)


@pytest.mark.parametrize("name", ["vggish", "funasr-paraformer-560", "whisper-80", "gemma4-128"])
def test_a_dry_run_foretells_the_rows(tmp_path: Path, name: str) -> None:
    """What --dry-run says of lossless files is what extraction makes of them."""
    config, out = presets.load(name).config, melcli.OutputConfig(long="cut")
    chosen = melcli.Selection(paths=(EXAMPLES,), include=("*.wav", "*.flac"))
    found = survey(plan_inputs(chosen, None, config, out), config, out, 2)
    report = melcli.extract(chosen, tmp_path / "x.h5", config, out=out)
    assert found.rows == report.rows > 0
    assert found.items == report.items


def test_too_short_for_a_patch_fails_by_name(tmp_path: Path) -> None:
    """The failure names the smallest length, for rules behind the frames too."""
    config = presets.load("vggish").config.updated({"out.patch_frames": 960, "out.patch_hop": 960})
    report = melcli.extract(EXAMPLES / "speech" / "vowels.wav", tmp_path / "x.h5", config)
    assert report.failed == 1
    assert f"needs at least {frames.shortest(config)}" in report.failures[0][1].cause


def test_a_poor_filterbank_is_told_once_unless_it_is_the_originals(tmp_path: Path) -> None:
    """What a user can choose is warned of; a named front end is as its original is."""
    changed = presets.load("torchaudio").config.updated({"mel.n_mels": 127})
    report = melcli.extract(EXAMPLES / "speech", tmp_path / "a.h5", changed)
    assert report.warnings
    assert str(report).count("warning: ") == len(report.warnings)
    report = melcli.extract(EXAMPLES / "speech", tmp_path / "b.h5", "torchaudio")
    assert report.warnings == []
