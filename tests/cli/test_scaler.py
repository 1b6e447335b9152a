"""``melcli scaler show`` and ``merge``."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from melcli.config import Mel, MelConfig
from melcli.scaler import files
from melcli.scaler.bands import bin_centres
from melcli.statistics.counts import counts_of
from melcli.statistics.fitted import Statistics
from melcli.statistics.moments import moments_of

if TYPE_CHECKING:
    from tests.conftest import Cli, Corpus

CONFIG = MelConfig(name="mine", mel=Mel(n_mels=4))
SHARE = "at least 50% of the frames"


def fitted(n_rows: int = 50, *, quantiles: bool = True, **changed: Any) -> Statistics:
    """Statistics of noise, of which bin 1 never varies."""
    rows = np.random.default_rng(n_rows).normal(size=(n_rows, 4)).astype(np.float32)
    rows[:, 1] = 7.0
    statistics = Statistics(
        moments=moments_of(rows),
        at_floor=np.array([0, 0, n_rows // 2, n_rows]),
        counts=counts_of(rows) if quantiles else None,
        n_items=3,
        n_failed=1,
        config=CONFIG.to_toml(),
        config_digest=CONFIG.digest,
        made={
            "command": "melcli fit-scaler corpus/",
            "created": "2026-01-02T03:04:05+00:00",
            "melcli_version": "1.2.3",
            "machine": '{"device": "cpu", "torch": "2.4"}',
            "inputs_digest": "abc",
        },
    )
    return replace(statistics, **changed)


class TestShow:
    """What a scaler holds, for people and for programs."""

    def test_head(self, cli: Cli) -> None:
        """First what it is, of what, and where it is from; then what is poor about it."""
        files.save(fitted(), "s.npz")
        result = cli("scaler", "show", "s.npz")
        assert result.exit_code == 0
        head, _, _ = result.text.partition("\n\n")
        assert head.splitlines() == [
            "s.npz: mine, 50 frames of 4 bins",
            f"  config    mine, digest {CONFIG.digest[:16]}",
            "  items     3, and 1 failed",
            "  weight    every frame weighs the same",
            "  created   2026-01-02T03:04:05+00:00 by melcli 1.2.3",
            "  machine   device cpu, torch 2.4",
            "  command   melcli fit-scaler corpus/",
            "  note      only 50 frames: these statistics are rough",
            "  note      1 of 4 bins never vary: 1; they are moved and not divided",
            f"  note      2 of 4 bins lie at the floor of their file in {SHARE}: 2-3 (up to 100%)",
        ]

    def test_table(self, cli: Cli) -> None:
        """A line for each bin, with its frequency and its quantiles where they are known."""
        statistics = fitted()
        files.save(statistics, "s.h5")
        lines = cli("scaler", "show", "s.h5").text.partition("\n\n")[2].splitlines()
        assert len({len(line) for line in lines}) == 1
        assert lines[0].split() == [
            *("bin", "Hz", "mean", "std", "min", "max", "at", "floor", "median", "quartiles")
        ]
        numbers = [line.split() for line in lines[1:]]
        assert [row[0] for row in numbers] == ["0", "1", "2", "3"]
        assert [row[1] for row in numbers] == [f"{hz:.0f}" for hz in bin_centres(CONFIG)]
        assert [float(row[2]) for row in numbers] == pytest.approx(
            statistics.moments.mean, rel=1e-4
        )
        assert numbers[1][3:] == ["0", "7", "7", "0.0%", "7", "0"]
        assert [row[6] for row in numbers] == ["0.0%", "0.0%", "50.0%", "100.0%"]

    def test_without_quantiles(self, cli: Cli) -> None:
        """What was not counted is no column."""
        files.save(fitted(quantiles=False), "s.h5")
        assert "median" not in cli("scaler", "show", "s.h5").text

    @pytest.mark.parametrize("name", ["s.npy", "s.pt"])
    def test_export(self, cli: Cli, name: str) -> None:
        """Of an export only what is known is shown, and it says what is not."""
        files.save(fitted(), name)
        head, _, table = cli("scaler", "show", name).text.partition("\n\n")
        assert head.splitlines() == [
            f"{name}: 4 bins",
            "  config    not known: this file does not say what it was fitted to",
            "  holds     mean and standard deviation, and nothing else",
            "  note      1 of 4 bins never vary: 1; they are moved and not divided",
        ]
        assert table.splitlines()[0].split() == ["bin", "mean", "std"]
        assert len(table.splitlines()) == 5

    @pytest.mark.parametrize("config", ["not [ toml", "[mel]\nn_mels = 4\nof_tomorrow = 1\n", ""])
    def test_config_of_another_melcli(self, cli: Cli, config: str) -> None:
        """A front end that this melcli cannot read costs the frequencies, and nothing else."""
        files.save(fitted(config=config), "s.h5")
        result = cli("scaler", "show", "s.h5")
        assert result.exit_code == 0
        assert "unnamed, digest" in result.text
        assert " Hz " not in result.text

    @pytest.mark.parametrize("machine", ["{", "{}", "[1]", '{"a": ' * 5000, "plain"])
    def test_odd_machine(self, cli: Cli, machine: str) -> None:
        """Any text is shown in some way."""
        files.save(fitted(made={"machine": machine}), "s.h5")
        result = cli("scaler", "show", "s.h5")
        assert result.exit_code == 0
        assert "  machine   " in result.text

    def test_json(self, cli: Cli) -> None:
        """Programs get everything, with every digit."""
        statistics = fitted()
        files.save(statistics, "s.h5")
        record = json.loads(cli("scaler", "show", "s.h5", "--json").text)
        bins = record.pop("bins")
        assert len(record.pop("faults")) == 3
        assert record == {
            "path": "s.h5",
            "n_bins": 4,
            "frames": 50,
            "items": 3,
            "failed": 1,
            "weight": "frame",
            "total_weight": 50.0,
            "config": "mine",
            "config_digest": CONFIG.digest,
            "config_toml": CONFIG.to_toml(),
            "made": dict(statistics.made),
        }
        assert bins["mean"] == statistics.moments.mean.tolist()
        assert bins["std"] == statistics.moments.std.tolist()
        assert bins["hz"] == bin_centres(CONFIG).tolist()
        assert bins["floor_share"] == [0, 0, 0.5, 1]
        assert set(bins) == {
            *("hz", "mean", "std", "min", "max", "floor_share"),
            *("lower_quartile", "median", "upper_quartile", "quartile_distance"),
        }

    def test_json_of_an_export(self, cli: Cli) -> None:
        """What is not known is left out, for JSON has no NaN."""
        files.save(fitted(), "s.npy")
        record = json.loads(cli("scaler", "show", "s.npy", "--json").text)
        assert set(record) == {"path", "n_bins", "faults", "bins"}
        assert set(record["bins"]) == {"mean", "std"}

    def test_plot(self, cli: Cli) -> None:
        """The picture is drawn beside the words."""
        pytest.importorskip("matplotlib")
        files.save(fitted(), "s.h5")
        result = cli("scaler", "show", "s.h5", "--plot", "s.png")
        assert result.exit_code == 0
        assert result.text.startswith("s.h5: mine")
        assert (cli.folder / "s.png").read_bytes().startswith(b"\x89PNG")
        files.save(fitted(), "s.npy")
        assert cli("scaler", "show", "s.npy", "--plot", "t.svg").exit_code == 0
        assert b"s.npy: 4 bins" in (cli.folder / "t.svg").read_bytes()
        result = cli("scaler", "show", "s.h5", "--plot", "s.txt")
        assert result.exit_code == 2
        assert "no name of a picture" in result.stderr

    def test_no_matplotlib(self, cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
        """Where it is missing, the message says how to get it."""
        monkeypatch.setitem(sys.modules, "matplotlib", None)
        files.save(fitted(), "s.h5")
        result = cli("scaler", "show", "s.h5", "--plot", "s.png")
        assert result.exit_code == 5
        assert 'pip install "melcli[plot]"' in result.stderr

    def test_an_output(self, cli: Cli, corpus: Corpus) -> None:
        """Who names what extract made is told how to make a scaler of it."""
        corpus.add("a.wav")
        assert cli("extract", "corpus", "-o", "mels.h5").exit_code == 0
        result = cli("scaler", "show", "mels.h5")
        assert result.exit_code == 4
        assert "is an output of melcli extract, and no scaler" in result.stderr
        assert "melcli fit-scaler mels.h5 -o scaler.h5" in result.stderr

    @pytest.mark.parametrize(("name", "code"), [("s.txt", 2), ("s.h5", 4), ("s.pt", 4)])
    def test_not_there(self, cli: Cli, name: str, code: int) -> None:
        """A wrong name is wrong usage; a good one that leads nowhere is not."""
        assert cli("scaler", "show", name).exit_code == code

    def test_no_torch(self, cli: Cli) -> None:
        """An .npy is shown, and the help printed, before torch could be loaded."""
        files.save(fitted(), "s.npy")
        for args in (["scaler", "show", "s.npy"], ["scaler", "show", "--help"]):
            code = (
                "import sys\nfrom click.testing import CliRunner\nfrom melcli.cli import cli\n"
                f"print(CliRunner().invoke(cli, {args}).exit_code, 'torch' in sys.modules)"
            )
            assert cli.run_python(code).text == "0 False\n"


class TestMerge:
    """Parts to one."""

    def test_merge(self, cli: Cli) -> None:
        """The result is told on stderr, and as JSON on stdout."""
        files.save(fitted(50), "a.npz")
        files.save(fitted(60), "b.h5")
        result = cli("scaler", "merge", "a.npz", "b.h5", "-o", "c.npz", "--json")
        assert result.exit_code == 0
        assert result.stderr == "c.npz: 2 scalers, 4 bins, 110 frames of 6 items\n"
        assert json.loads(result.text) == {
            "output": "c.npz",
            "scalers": 2,
            "bins": 4,
            "frames": 110,
            "items": 6,
            "failed": 2,
        }
        found = files.load("c.npz")
        assert found.moments.count == 110
        assert found.made["machine"] == fitted().made["machine"]
        assert found.made["command"].startswith("melcli ")

    def test_quiet(self, cli: Cli) -> None:
        """Nothing but errors, if that is asked for."""
        files.save(fitted(), "a.npz")
        result = cli("scaler", "merge", "a.npz", "-o", "b.pt", "-q")
        assert (result.exit_code, result.stdout, result.stderr) == (0, b"", "")
        result = cli("scaler", "merge", "b.pt", "-o", "c.npy")
        assert result.stderr == "c.npy: 1 scaler, 4 bins\n"

    def test_refusals(self, cli: Cli) -> None:
        """What cannot be merged is exit 4, with what to do."""
        files.save(fitted(), "a.npz")
        files.save(fitted(60, weight="item"), "b.npz")
        result = cli("scaler", "merge", "a.npz", "b.npz", "-o", "c.npz")
        assert result.exit_code == 4
        assert "weight: frame there, item here" in result.stderr
        result = cli("scaler", "merge", "b.npz", "-o", "a.npz")
        assert result.exit_code == 4
        assert "--overwrite" in result.stderr
        assert cli("scaler", "merge", "b.npz", "-o", "a.npz", "--overwrite").exit_code == 0
        assert files.load("a.npz").weight == "item"
        assert cli("scaler", "merge", "a.npz", "-o", "c.txt").exit_code == 2
        assert cli("scaler", "merge", "-o", "c.npz").exit_code == 2

    def test_shards(self, cli: Cli, corpus: Corpus) -> None:
        """The shards of a corpus give what it gives at once."""
        for number in range(12):
            corpus.add(f"{number}.wav")
        for number in (1, 2):
            args = ["corpus", "-o", f"s{number}.npz", "--shard", f"{number}/2", "--quantiles"]
            assert cli("fit-scaler", *args).exit_code == 0
        result = cli("scaler", "merge", "s1.npz", "-o", "m.npz")
        assert result.exit_code == 4
        assert "1 of 2 shards is missing: 2/2" in result.stderr
        assert cli("scaler", "merge", "s2.npz", "s1.npz", "-o", "m.npz").exit_code == 0
        assert cli("fit-scaler", "corpus", "-o", "whole.npz", "--quantiles").exit_code == 0
        merged, whole = files.load("m.npz"), files.load("whole.npz")
        assert merged.n_items == whole.n_items == 12
        assert np.allclose(merged.moments.mean, whole.moments.mean, rtol=1e-12, atol=1e-12)
        assert np.allclose(merged.moments.std, whole.moments.std, rtol=1e-12, atol=0)
        assert merged.counts is not None
        assert whole.counts is not None
        assert merged.counts.counts.tolist() == whole.counts.counts.tolist()
