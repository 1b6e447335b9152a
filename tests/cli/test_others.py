"""``info``, ``configs`` and ``doctor``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import melcli
from melcli import presets
from melcli.config import MelConfig

if TYPE_CHECKING:
    from tests.conftest import Cli, Corpus


class TestInfo:
    """What an output holds."""

    def test_json(self, cli: Cli, output: str) -> None:
        """``--json`` has counts of inputs, items and rows, settings, versions, and all failures."""
        record = json.loads(cli("info", output, "--json").text)
        assert (record["inputs"], record["items"]) == (7, 6)
        assert record["audio_seconds"] == pytest.approx(1.45, abs=0.001)
        assert record["longest_seconds"] == pytest.approx(0.4, abs=0.001)
        assert record["channels"] == {"1": 4, "2": 2}
        assert record["notes"] == {"resampled": 4}
        assert record["dtype"] == "float32"
        assert record["row_shape"] == [128]
        assert record["machine"]["melcli"] == melcli.__version__
        assert [failed["id"] for failed in record["failures"]] == ["e.wav", "f.wav"]
        assert all(failed["cause"] and failed["remedy"] for failed in record["failures"])
        with melcli.open(output) as mels:
            assert record["rows"] == sum(mel.shape[1] for mel in mels.values())
            assert record["config_digest"] == mels.config.digest

    def test_text(self, cli: Cli, output: str) -> None:
        """The text tells the same to a person, on stdout."""
        result = cli("info", output)
        assert (result.exit_code, result.stderr) == (0, "")
        assert "6 items" in result.text
        assert "failures  2" in result.text
        assert "e.wav: is not audio that libsndfile can read" in result.text
        assert "melcli extract" in result.text or "command" in result.text

    def test_nothing_but_failures(self, cli: Cli, corpus: Corpus) -> None:
        """An output without an item is an output all the same."""
        corpus.add_bytes("a.wav", b"text, and no audio")
        cli("extract", "corpus", "-o", "x.h5")
        result = cli("info", "x.h5")
        assert result.exit_code == 0
        assert "failures  1" in result.text
        assert json.loads(cli("info", "x.h5", "--json").text)["items"] == 0

    def test_many_failures(self, cli: Cli, corpus: Corpus) -> None:
        """Of many failures the text shows the first; ``--json`` has all."""
        for k in range(12):
            corpus.add_bytes(f"{k:02}.wav", b"text, and no audio")
        cli("extract", "corpus", "-o", "x.h5")
        assert "and 2 more: --json lists all" in cli("info", "x.h5").text
        assert len(json.loads(cli("info", "x.h5", "--json").text)["failures"]) == 12

    def test_unfinished(self, cli: Cli, corpus: Corpus) -> None:
        """An output that is not finished is not there yet."""
        corpus.add_bytes("a.wav", b"text, and no audio")
        corpus.add("b.wav")
        cli("extract", "corpus", "-o", "x.h5", "--strict")
        result = cli("info", "x.h5")
        assert (result.exit_code, result.stdout) == (4, b"")
        assert "x.h5" in result.stderr


class TestConfigs:
    """The named front ends."""

    def test_list(self, cli: Cli) -> None:
        """Every name is listed, with its short names and what it is for."""
        lines = cli("configs", "list").text.splitlines()
        for preset in presets.presets():
            [line] = [line for line in lines if line.split()[:1] == [preset.name]]
            assert preset.about.summary in line
            assert str(preset.config.wave.sample_rate) in line
        assert "(librosa)" in cli("configs", "list").text

    @pytest.mark.parametrize("name", [*presets.names(), *presets.ALIASES])
    def test_show(self, cli: Cli, name: str, tmp_path: Path) -> None:
        """``show`` prints the file; ``--resolved`` prints every field, and is a config itself."""
        preset = presets.load(name)
        assert cli("configs", "show", name).text == preset.path.read_text(encoding="utf-8")
        text = cli("configs", "show", name, "--resolved").text
        assert f"# digest {preset.config.digest}" in text
        (tmp_path / "mine.toml").write_text(text, encoding="utf-8")
        assert presets.load(str(tmp_path / "mine.toml")).config.digest == preset.config.digest
        result = cli("configs", "check", "mine.toml")
        assert (result.exit_code, preset.config.digest in result.text) == (0, True)

    def test_resolved_has_every_key(self, cli: Cli) -> None:
        """What ``--resolved`` is told to list, it lists."""
        text = cli("configs", "show", "librosa", "--resolved").text
        for key in ("n_fft", "win_length", "f_max", "fix_samples", "layout"):
            assert f"\n{key} = " in text
        assert MelConfig.from_toml(text).win_length == 2048

    def test_check(self, cli: Cli) -> None:
        """``check`` tells all that is wrong with each, and goes on to the next."""
        Path("bad.toml").write_text("[mel]\nn_mels = -1\nn_mel = 3\n", encoding="utf-8")
        Path("worse.toml").write_text("[mel\n", encoding="utf-8")
        result = cli("configs", "check", "bad.toml", "worse.toml", "whisper-80", "none")
        assert result.exit_code == 2
        assert "bad.toml: 2 problems" in result.stderr
        assert "mel.n_mels = -1: must be at least 1" in result.stderr
        assert "worse.toml: is not TOML" in result.stderr
        assert "whisper-80: good" in result.text
        assert "no front end named none" in result.stderr

    def test_a_config_of_ones_own(self, cli: Cli, corpus: Corpus) -> None:
        """A file on disk may build on a named one, and what it made is kept in the output."""
        corpus.add("a.wav")
        Path("mine.toml").write_text('base = "whisper-80"\n[wave]\nfix_samples = 8000\n', "utf-8")
        assert cli("extract", "corpus", "-o", "x.h5", "-c", "mine.toml").exit_code == 0
        with melcli.open("x.h5") as output:
            assert (output.config.name, output["a.wav"].shape) == ("mine", (80, 50))


class TestDoctor:
    """What an installation can do."""

    def test_json(self, cli: Cli) -> None:
        """``--json`` has versions, decoders, devices and threads."""
        record = json.loads(cli("doctor", "--json").text)
        assert record["versions"]["melcli"] == melcli.__version__
        assert {"WAV", "FLAC", "OGG", "MP3"} <= set(record["decoders"]["libsndfile"])
        assert record["devices"]["cpu"]
        assert record["threads"]["cores"] >= 1

    def test_text(self, cli: Cli) -> None:
        """The text names the same."""
        text = cli("doctor").text
        for word in ("torch", "libsndfile", "HDF5", "cuda", "cores"):
            assert word in text
