"""The example that trains a classifier trains one."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import soundfile
import torch

import melcli

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import ModuleType

SCRIPT = Path(__file__).resolve().parents[2] / "examples" / "train_classifier.py"


@pytest.fixture(scope="module")
def example() -> ModuleType:
    """The script, imported: starting torch once more would take longer than the training."""
    spec = importlib.util.spec_from_file_location("train_classifier", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Convolutions this small wait for each other's threads where others work too."""
    n_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(n_threads)


def test_it_learns(example: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    """Most of what was held out is told right: four seeds gave 100 %, and chance is 20 %."""
    accuracy: Any = example.main([])
    assert accuracy > 0.7
    assert "120 recordings, 0 failed" in capsys.readouterr().out


@pytest.mark.filterwarnings("ignore:.*these statistics are rough")
def test_it_takes_a_folder(
    example: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Folders are classes, their recordings may lie deeper, and a damaged one costs only itself."""
    rng = np.random.default_rng(0)
    for name in ("high", "low"):
        for number in range(8):
            folder = tmp_path / name / str(number % 2)
            folder.mkdir(parents=True, exist_ok=True)
            noise = rng.normal(scale=0.1, size=8_000)
            waveform = np.diff(noise) if name == "high" else np.cumsum(noise) / 50
            soundfile.write(folder / f"{number}.flac", waveform, 16_000)
    (tmp_path / "low" / "damaged.wav").write_bytes(b"RIFF")
    example.main([str(tmp_path)])
    assert "16 recordings, 1 failed" in capsys.readouterr().out


@pytest.mark.filterwarnings("ignore:.*these statistics are rough")
def test_scores_are_those_of_an_item_alone(example: ModuleType) -> None:
    """What an item shares a batch with changes no score: its padding is left out."""
    mels = [torch.randn(64, n_frames) for n_frames in (37, 90)]
    scaler = melcli.Scaler().fit(mels)
    model = example.Classifier(scaler, 3)
    batch = melcli.collate([melcli.Example("", mel) for mel in mels], padding=-100.0)
    together = model(batch.mels, batch.lengths)
    for mel, scores in zip(mels, together, strict=True):
        alone = model(mel.unsqueeze(0), torch.tensor([mel.shape[-1]]))
        torch.testing.assert_close(alone[0], scores)
