"""Spectra to audio files: as long as the recording was, at its level, and it sounds like it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import soundfile

import melcli
from melcli import AudioConfig, InvertConfig, OutputConfig, RunConfig, presets
from melcli.errors import UsageError
from melcli.pipeline import inverting, loop, sounding
from melcli.pipeline.invert import invert

if TYPE_CHECKING:
    from pathlib import Path

    from melcli.config import MelConfig
    from tests.conftest import Corpus, ReadOutput

SMALL = presets.load("librosa").config.updated(
    {"wave.sample_rate": 16_000, "frame.n_fft": 512, "frame.hop_length": 128, "mel.n_mels": 60}
)
QUICK = AudioConfig(n_iter=8)


def round_trip(
    corpus: Corpus, folder: Path, config: MelConfig, audio: AudioConfig = QUICK, **out: Any
) -> Path:
    """From recordings to mels and back to audio files."""
    melcli.extract(corpus.folder, folder / "m.h5", config, out=OutputConfig(**out))
    report = invert(folder / "m.h5", f"{folder}/w/", audio=audio)
    assert report.failed == 0
    return folder / "w"


def loudness(samples: np.ndarray) -> float:
    """The level in decibels."""
    return float(10 * np.log10(np.mean(np.square(samples, dtype=float)) + 1e-20))


CHANGES: dict[str, dict[str, Any]] = {
    "plain": {},
    "pre-emphasis": {"wave.preemph": 0.97},
    "the first sample dropped": {"wave.preemph": 0.97, "wave.preemph_scope": "wave_drop_first"},
    "in every frame": {"wave.preemph": 0.97, "wave.preemph_scope": "frame"},
    "int16 range": {"wave.wave_gain": 32768.0},
    "padded": {"wave.wave_pad": [200, 300]},
    "filled": {"wave.fix_samples": 24_000},
    "a multiple": {"wave.samples_multiple": 1000},
    "not centred": {"frame.pad": "none"},
    "kaldi": {
        "frame.pad": "kaldi_round",
        "frame.pad_mode": "symmetric",
        "frame.frame_span": "win_length",
    },
    "magnitude with a guard": {"spec.power": 1.0, "spec.mag_eps": 1e-6},
    "fixed frames": {"out.fix_frames": 300},
}


@pytest.mark.parametrize("change", CHANGES)
def test_front_ends(change: str, corpus: Corpus, tmp_path: Path) -> None:
    """Each stage over the waveform is undone: length and level are the recording's."""
    corpus.add("a.wav", 1.0)
    samples = corpus.samples("a.wav", 1.0)[:, 0]
    config = SMALL.updated(CHANGES[change])
    path = round_trip(corpus, tmp_path, config) / "a.wav"
    found, sample_rate = soundfile.read(path)
    assert sample_rate == 16_000
    assert len(found) == len(samples)
    middle = slice(1000, -1000)
    assert loudness(found[middle]) == pytest.approx(loudness(samples[middle]), abs=1.5)
    # Its tone is where it was.
    spectra = [np.abs(np.fft.rfft(x[middle])) for x in (samples, found)]
    assert abs(int(spectra[0].argmax()) - int(spectra[1].argmax())) <= 40


def test_as_near_as_griffin_and_lim_get(corpus: Corpus, tmp_path: Path) -> None:
    """More iterations lead to waveforms whose mel is nearer to the one they were made of."""
    corpus.add("a.wav", 1.0)

    def apart(n_iter: int) -> float:
        folder = tmp_path / str(n_iter)
        folder.mkdir()
        round_trip(corpus, folder, SMALL, AudioConfig(n_iter=n_iter))
        melcli.extract(folder / "w/a.wav", folder / "again.h5", SMALL)
        first, second = (next(iter(melcli.open(folder / n).values())) for n in ("m.h5", "again.h5"))
        return float(np.abs(first - second).mean())

    assert apart(32) < apart(1)


def test_resampled_channels_and_chunks(corpus: Corpus, tmp_path: Path) -> None:
    """A file for each item, each as long as what it was made from."""
    corpus.add("s.wav", 1.0, 22_050, n_channels=2)
    config = SMALL.updated({"wave.channels": "each", "wave.fix_samples": 6000})
    folder = round_trip(corpus, tmp_path, config, long="chunks")
    lengths = {p.name: soundfile.info(p).frames for p in sorted(folder.glob("*.wav"))}
    assert lengths == {
        f"s#{channel}@{chunk}.wav": n
        for channel in (0, 1)
        for chunk, n in ((0, 6000), (1, 6000), (2, 4000))
    }


class TestSameBytes:
    """The same seed gives the same files, however the run went."""

    def test_workers(
        self, corpus: Corpus, tmp_path: Path, read_output: ReadOutput,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:  # fmt: skip
        """One, several, threads, processes."""
        corpus.add_good()
        melcli.extract(corpus.folder, tmp_path / "m.h5", SMALL)
        outputs = []
        for n_workers, fork_bytes in ((1, 1 << 60), (3, 1 << 60), (2, 0)):
            monkeypatch.setattr(loop, "FORK_BYTES", fork_bytes)
            target = f"{tmp_path}/{n_workers}/"
            invert(tmp_path / "m.h5", target, audio=QUICK, run=RunConfig(workers=n_workers))
            outputs.append(read_output(tmp_path / str(n_workers)))
        assert outputs[0] == outputs[1] == outputs[2]

    def test_long_items(
        self, corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """An item that is computed in pieces is the same file."""
        corpus.add("a.wav", 6.0)
        whole = (round_trip(corpus, tmp_path, SMALL) / "a.wav").read_bytes()
        monkeypatch.setattr(inverting, "_PIECE_BYTES", 4 * 257 * 256)
        invert(tmp_path / "m.h5", f"{tmp_path}/pieces/", audio=QUICK)
        assert (tmp_path / "pieces/a.wav").read_bytes() == whole

    def test_seeds(self, corpus: Corpus, tmp_path: Path) -> None:
        """Another seed is another file, and another output."""
        corpus.add("a.wav", 0.5)
        first = (round_trip(corpus, tmp_path, SMALL) / "a.wav").read_bytes()
        found = {}
        for seed in (0, 1, None):
            target = tmp_path / f"seed-{seed}"
            invert(tmp_path / "m.h5", f"{target}/", audio=replace(QUICK, seed=seed))
            found[seed] = (target / "a.wav").read_bytes()
        assert found[0] == first
        assert len(set(found.values())) == 3
        with pytest.raises(melcli.StoreError, match="seed: 0 in the output, 1 asked for"):
            invert(tmp_path / "m.h5", f"{tmp_path}/w/", audio=replace(QUICK, seed=1))


def test_flac_is_told_where_it_clips(corpus: Corpus, tmp_path: Path) -> None:
    """What is beyond full scale is noted; WAV keeps it."""
    tone = np.sin(np.arange(16_000) * 0.1)
    corpus.add_samples("loud.wav", (3 * tone).astype(np.float32), subtype="FLOAT")
    corpus.add_samples("quiet.wav", (0.1 * tone).astype(np.float32), subtype="FLOAT")
    melcli.extract(corpus.folder, tmp_path / "m.h5", SMALL)
    for format_, peak in (("wav", 2.0), ("flac", 0.0)):
        audio = AudioConfig(n_iter=4, format=format_)  # type: ignore[arg-type]  # one of the two
        invert(tmp_path / "m.h5", f"{tmp_path}/{format_}/", audio=audio)
        found, _ = soundfile.read(tmp_path / format_ / f"loud.{format_}")
        assert peak < np.abs(found).max() <= (1.0 if format_ == "flac" else 10.0)
        with melcli.open(tmp_path / format_) as output:
            items = {item.id: item for item in output.reader.some_items(0, 2)}
        assert "beyond full scale" in items["loud.wav"].notes
        assert items["quiet.wav"].notes == ()


def test_losses_are_told(corpus: Corpus, tmp_path: Path) -> None:
    """What of a waveform is not to be had back, by the name of its setting."""
    corpus.add("a.wav")
    config = SMALL.updated(
        {
            "wave.wave_norm": "peak",
            "wave.wave_dc": True,
            "wave.preemph": 0.9,
            "wave.preemph_scope": "frame",
            "wave.dither": 1e-5,
        }
    )
    told = sounding.audio_losses(config)
    assert [line.split(":")[0].split(" ")[0] for line in told] == [
        *("wave.wave_norm", "wave.wave_dc", "wave.preemph", "wave.dither")
    ]
    melcli.extract(corpus.folder, tmp_path / "m.h5", config)
    report = invert(tmp_path / "m.h5", f"{tmp_path}/w/", audio=QUICK)
    assert set(told) <= set(report.warnings)
    assert not set(told) & set(invert(tmp_path / "m.h5", tmp_path / "s.h5").warnings)


def test_max_residual_holds_for_audio(corpus: Corpus, tmp_path: Path) -> None:
    """A spectrum that is not good enough becomes no file."""
    corpus.add("a.wav")
    melcli.extract(corpus.folder, tmp_path / "m.h5", SMALL)
    how = InvertConfig(method="pinv", max_residual=1e-9)
    report = invert(tmp_path / "m.h5", f"{tmp_path}/w/", how=how, audio=QUICK)
    assert report.failed == 1
    assert not list((tmp_path / "w").glob("*.wav"))


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"format": "mp3"}, "format = 'mp3': must be 'wav' or 'flac'"),
        ({"n_iter": 0}, "iterations = 0: must be at least 1"),
        ({"momentum": 1.0}, "momentum = 1: must be from 0 to below 1"),
        ({"seed": -2}, "seed = -2: must be 0 or more, or None"),
    ],
)
def test_arguments(wrong: dict[str, Any], told: str) -> None:
    """The argument, its value, and what is allowed."""
    with pytest.raises(UsageError, match=told):
        AudioConfig(**wrong)
