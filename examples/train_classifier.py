"""Train a small classifier of sounds on mels that melcli extracted.

    python examples/train_classifier.py             on sounds that are made up on the spot
    python examples/train_classifier.py FOLDER      on your own: FOLDER/dog/1.wav, FOLDER/cat/2.flac

All steps of a real training, small: extract, split, normalise by the training part, load in padded
batches, train, and count what is right of recordings that were not trained on. A quarter of each
class is held out for that. The same run gives the same numbers.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import soundfile
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Subset

import melcli

if TYPE_CHECKING:
    from collections.abc import Iterator

FRONT_END = "panns-cnn14-16k"  # 64 bands in decibels; melcli configs list shows others
N_EPOCHS = 10


class Classifier(nn.Module):
    """Three convolutions, the mean over what is no padding, and a linear layer.

    Args:
        scaler: Fitted; a part of the model, so that it is saved with it.
        n_classes: How many there are to tell apart.
    """

    def __init__(self, scaler: melcli.Scaler, n_classes: int) -> None:
        super().__init__()
        self.scaler = scaler
        self.layers = nn.ModuleList(
            nn.Conv2d(n_before, n_after, kernel_size=5, stride=2, padding=2)
            for n_before, n_after in ((1, 16), (16, 32), (32, 32))
        )
        self.out = nn.Linear(32, n_classes)

    def forward(self, mels: Tensor, lengths: Tensor) -> Tensor:
        """Scores ``(n_items, n_classes)`` of a padded batch ``(n_items, n_mels, n_frames)``."""
        x = self.scaler(mels).unsqueeze(1)
        x = x * is_frame(x, lengths)
        for layer in self.layers:
            x, lengths = nn.functional.silu(layer(x)), (lengths + 1) // 2  # of a stride of 2
            # Padding stays 0: what an item shares a batch with does not change its scores.
            x = x * is_frame(x, lengths)
        means = x.mean(dim=2).sum(dim=-1) / lengths.unsqueeze(1)
        scores: Tensor = self.out(means)
        return scores


def is_frame(x: Tensor, lengths: Tensor) -> Tensor:
    """1 where there is a frame of the item, 0 where it is padded: ``(n_items, 1, 1, n_frames)``."""
    places = torch.arange(x.shape[-1], device=x.device)
    return (places < lengths[:, None, None, None]).to(x.dtype)


def run(recordings: Path, output: Path) -> float:
    """Train on a folder of folders; give the share of the held out recordings that is right."""
    report = melcli.extract(recordings, output, FRONT_END)
    print(f"{report.done} recordings, {report.failed} failed, {report.rows:,} frames")

    dataset = melcli.MelDataset(output)
    names = [item_id.partition("/")[0] for item_id in dataset.mels]  # an id is CLASS/FILE
    classes = sorted(set(names))
    # Every fourth of each class is held out. Items come in the order of their ids.
    held_out = [i for i, name in enumerate(names) if names[:i].count(name) % 4 == 3]
    trained_on = sorted({*range(len(dataset))} - {*held_out})

    def load(places: list[int], *, shuffle: bool) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        # A real one has num_workers: each worker opens the output by itself.
        part = Subset(dataset, places)
        loader = DataLoader(part, batch_size=8, shuffle=shuffle, collate_fn=melcli.collate)
        for ids, mels, lengths in loader:
            labels = [classes.index(item_id.partition("/")[0]) for item_id in ids]
            yield mels, lengths, torch.tensor(labels)

    torch.manual_seed(0)
    scaler = melcli.Scaler().fit(dataset[i].mel for i in trained_on)
    model = Classifier(scaler, len(classes))
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    for epoch in range(N_EPOCHS):
        losses = []
        for mels, lengths, labels in load(trained_on, shuffle=True):
            loss = nn.functional.cross_entropy(model(mels, lengths), labels)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            losses.append(loss.item())
        print(f"epoch {epoch + 1}: loss {np.mean(losses):.3f}")

    n_right = 0
    with torch.inference_mode():
        for mels, lengths, labels in load(held_out, shuffle=False):
            n_right += int((model(mels, lengths).argmax(dim=1) == labels).sum())
    accuracy, chance = n_right / len(held_out), 1 / len(classes)
    print(f"{n_right} of {len(held_out)} held out are right: {accuracy:.0%}; chance: {chance:.0%}")
    return accuracy


def make_sounds(folder: Path, n_each: int = 24, sample_rate: int = 16_000) -> None:
    """Make up recordings of five kinds, of another length, pitch and loudness each, in noise."""
    rng = np.random.default_rng(seed=1)
    for kind in ("buzz", "fall", "hiss", "rise", "wobble"):
        (folder / kind).mkdir(parents=True)
        for number in range(n_each):
            time = np.arange(rng.integers(6_000, 16_000)) / sample_rate
            pitch = rng.uniform(300, 900) * np.ones_like(time)  # in Hz
            if kind in {"fall", "rise"}:
                pitch *= 4 ** ((1 if kind == "rise" else -1) * time)  # two octaves in a second
            if kind == "wobble":
                pitch *= 1 + 0.1 * np.sin(2 * np.pi * 6 * time)
            phase = 2 * np.pi * np.cumsum(pitch) / sample_rate
            sound = sum(np.sin(k * phase) / k for k in range(1, 6))
            noise = rng.normal(size=len(time))
            waveform = noise if kind == "hiss" else sound + 0.2 * noise
            peak = rng.uniform(0.1, 0.9) / np.abs(waveform).max()
            soundfile.write(folder / kind / f"{number:02}.wav", peak * waveform, sample_rate)


def main(arguments: list[str]) -> float:
    """Run it on a folder, or on sounds that are made up."""
    with tempfile.TemporaryDirectory() as scratch:
        if arguments:
            return run(Path(arguments[0]), Path(scratch) / "mels.h5")
        make_sounds(Path(scratch) / "sounds")
        return run(Path(scratch) / "sounds", Path(scratch) / "mels.h5")


if __name__ == "__main__":
    main(sys.argv[1:])
