"""The sounds in examples/audio are what examples/make_audio.py makes."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
COMMITTED = EXAMPLES / "audio"

# One step of each lossless subtype on the scale [-1, 1): another platform's sin, exp and log may
# differ in the last digit of a float64, and so tip a sample that lies between two steps. A float32
# below one has 24 bits or more.
STEP = {"PCM_16": 2.0**-15, "PCM_24": 2.0**-23, "FLOAT": 2.0**-24}


def sound_names(folder: Path) -> list[str]:
    """List every file below ``folder`` but the README, by its path from there."""
    files = (path for path in folder.rglob("*") if path.is_file() and path.name != "README.md")
    return sorted(path.relative_to(folder).as_posix() for path in files)


NAMES = sound_names(COMMITTED)
LOSSLESS = [name for name in NAMES if soundfile.info(COMMITTED / name).subtype in STEP]
LOSSY = [name for name in NAMES if name not in LOSSLESS]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Run the script once, as a user would, into an empty folder."""
    folder = tmp_path_factory.mktemp("made")
    subprocess.run([sys.executable, EXAMPLES / "make_audio.py", folder], check=True)
    return folder


def test_makes_the_committed_files(made: Path) -> None:
    """The script makes every committed sound and no other."""
    assert sound_names(made) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_keeps_rate_channels_and_coding(made: Path, name: str) -> None:
    """A committed sound is stored just as the script stores it."""
    new, old = soundfile.info(made / name), soundfile.info(COMMITTED / name)
    assert (new.samplerate, new.channels) == (old.samplerate, old.channels)
    assert (new.format, new.subtype) == (old.format, old.subtype)


@pytest.mark.parametrize("name", LOSSLESS)
def test_lossless_sounds_are_the_same_samples(made: Path, name: str) -> None:
    """A lossless sound comes back sample for sample, to one step of its coding."""
    new, _ = soundfile.read(made / name)
    old, _ = soundfile.read(COMMITTED / name)
    assert new.shape == old.shape
    np.testing.assert_allclose(new, old, rtol=0, atol=STEP[soundfile.info(made / name).subtype])


@pytest.mark.parametrize("name", LOSSY)
def test_lossy_sounds_are_as_long_and_as_loud(made: Path, name: str) -> None:
    """A lossy sound keeps its length and its loudness, whichever encoder made it."""
    new, sample_rate = soundfile.read(made / name, always_2d=True)
    old, _ = soundfile.read(COMMITTED / name, always_2d=True)
    # Without gapless information an MP3 gains the encoder's delay and a padded frame: at most
    # 1105 + 2 * 1152 samples, 0.08 s at 44.1 kHz.
    assert abs(len(new) - len(old)) / sample_rate < 0.08
    # Encoders are tuned to within some tenths of a dB of each other; 5 % is 0.4 dB.
    np.testing.assert_allclose(rms(new), rms(old), rtol=0.05)


def rms(waveform: NDArray[np.float64]) -> NDArray[np.float64]:
    """Root mean square of each channel of ``(n_samples, n_channels)``."""
    mean_square: NDArray[np.float64] = np.mean(waveform**2, axis=0)
    return np.sqrt(mean_square)


def test_rms_of_a_sine_is_its_amplitude_over_root_two() -> None:
    """The loudness that lossy sounds are compared by is the one in the textbook."""
    sine = np.sin(2 * np.pi * np.arange(1000) / 100)
    np.testing.assert_allclose(rms(np.stack([sine, 3 * sine], axis=-1)), [0.5**0.5, 4.5**0.5])


@pytest.mark.parametrize("name", NAMES)
def test_every_committed_sound_decodes(name: str) -> None:
    """A committed sound holds 1 to 4 s that are heard, are finite, and peak no higher than 0.9."""
    waveform, sample_rate = soundfile.read(COMMITTED / name, always_2d=True)
    assert len(waveform) == soundfile.info(COMMITTED / name).frames
    assert 1.0 <= len(waveform) / sample_rate <= 4.0
    assert np.isfinite(waveform).all()
    assert (rms(waveform) > 0.01).all()
    assert np.abs(waveform).max() <= 0.9


def test_covers_what_users_bring() -> None:
    """The sounds span the codings, rates and channel counts that the examples promise."""
    infos = [soundfile.info(COMMITTED / name) for name in NAMES]
    assert {(info.format, info.subtype) for info in infos} == {
        ("WAV", "PCM_16"),
        ("WAV", "PCM_24"),
        ("WAV", "FLOAT"),
        ("FLAC", "PCM_16"),
        ("FLAC", "PCM_24"),
        ("OGG", "VORBIS"),
        ("OGG", "OPUS"),
        ("MP3", "MPEG_LAYER_III"),
    }
    assert {info.samplerate for info in infos} == {8_000, 16_000, 22_050, 44_100, 48_000}
    assert {info.channels for info in infos} == {1, 2}
    assert any(" " in name and not name.isascii() for name in NAMES)


def test_stays_small() -> None:
    """The sounds take less than 900 kB of everyone's clone."""
    assert sum((COMMITTED / name).stat().st_size for name in NAMES) < 900_000


@pytest.mark.parametrize("name", NAMES)
def test_readme_lists_every_sound(name: str) -> None:
    """The README that gives the licence names every file it covers."""
    assert f"`{name}`" in (COMMITTED / "README.md").read_text(encoding="utf-8")
