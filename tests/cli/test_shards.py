"""Shards and their merge: what several runs make is what one would have made, or is refused."""

from __future__ import annotations

import json
import shutil
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import h5py
import pytest
from hypothesis import given
from hypothesis import strategies as st

import melcli
from melcli.errors import StoreError, UsageError
from melcli.pipeline.plan import Selection, make_plan
from melcli.store import copying
from melcli.store import merge as merging
from melcli.store.shards import Shard, digest_of
from melcli.store.writer import StoreWriter
from tests.store_contract import Killed, killed_at

if TYPE_CHECKING:
    from tests.conftest import Cli, Corpus, ReadOutput, Result

N_SHARDS = 3


@pytest.fixture
def recordings(corpus: Corpus) -> Corpus:
    """Enough for every shard to have some, and a few that fail."""
    for k in range(10):
        corpus.add(f"{k % 3}/{k}.wav", 0.05 + 0.01 * k, n_channels=1 + k % 2)
    for k in range(3):
        corpus.add_bytes(f"{k}/bad.wav", b"text")
    return corpus


def shard_paths(kind: str) -> list[str]:
    """Where the shards of a kind of output lie."""
    numbers = range(1, N_SHARDS + 1)
    return ["npy/"] * N_SHARDS if kind == "npy" else [f"{kind}.{n}.h5" for n in numbers]


def extract_shards(cli: Cli, kind: str, *args: str) -> list[Path]:
    """Extract every shard; what merge is to be given."""
    if kind == "tree":
        args = (*args, "--store-layout", "tree")
    paths = shard_paths(kind)
    for number, path in enumerate(paths, start=1):
        result = cli("extract", "corpus", "-o", path, "--shard", f"{number}/{N_SHARDS}", *args)
        assert result.exit_code in {0, 1}, result.stderr
    return [Path(path) for path in dict.fromkeys(paths)]


def merge(cli: Cli, shards: list[Path], output: str, *args: str) -> Result:
    """Merge them."""
    return cli("merge", *shards, "-o", output, *args)


class TestShard:
    """Which input belongs to which shard."""

    @given(st.text(st.characters(exclude_categories=["Cs"])), st.integers(1, 50))
    def test_each_input_has_one(self, name: str, count: int) -> None:
        """However many there are."""
        holders = [number for number in range(1, count + 1) if Shard(number, count).holds(name)]
        assert len(holders) == 1

    def test_for_good(self) -> None:
        """The same input belongs to the same shard tomorrow, and on another machine."""
        names = ["a.wav", "b/c.flac", "größe.wav", "x"]
        found = [next(n for n in range(1, 9) if Shard(n, 8).holds(name)) for name in names]
        assert found == [7, 4, 6, 8]
        # printf 'a\0b\0' | sha256sum
        digest = "8fb20ef63ced4145fc2e983ffe597d1dcff39154c3bf21f0fa9dde6a0c50fdc9"
        assert digest_of(["a", "b"]) == digest

    @pytest.mark.parametrize(
        "text", ["", "1", "0/3", "4/3", "-1/3", "1/0", "1/3/5", "a/b", "1/1000000", "\u0661/\u0663"]
    )
    def test_no_shard(self, text: str) -> None:
        """What cannot be is told with what can."""
        with pytest.raises(UsageError, match="is no shard: write I/N"):
            Shard.parse(text)

    def test_a_list_that_grows(self, recordings: Corpus) -> None:
        """Keeps its shards; positions are those in the whole list."""
        before = self._ids(recordings)
        recordings.add("1/new.wav")
        after = self._ids(recordings)
        assert all(set(old) <= set(new) for old, new in zip(before, after, strict=True))
        whole = list(make_plan(Selection(paths=(recordings.folder,))).ids())
        for number in range(1, N_SHARDS + 1):
            shard = Shard(number, N_SHARDS)
            plan = make_plan(Selection(paths=(recordings.folder,), shard=shard))
            positions = plan.positions()
            assert positions is not None
            assert [whole[position] for position in positions] == list(plan.ids())
            assert plan.inputs_digest == digest_of(whole)

    @staticmethod
    def _ids(corpus: Corpus) -> list[list[str]]:
        shards = [Shard(number, N_SHARDS) for number in range(1, N_SHARDS + 1)]
        plans = [make_plan(Selection(paths=(corpus.folder,), shard=shard)) for shard in shards]
        return [list(plan.ids()) for plan in plans]


@pytest.mark.parametrize("options", [(), ("--channels", "each", "--dtype", "float16")])
@pytest.mark.parametrize(
    ("kind", "output", "same_as"),
    [
        ("packed", "x.h5", ()),
        ("tree", "x.h5", ("--store-layout", "tree")),
        ("npy", "npy/", ()),
        ("npy", "other/", ()),
        ("npy", "x.h5", ()),
        ("packed", "other/", ()),
    ],
)
def test_merged_is_whole(
    cli: Cli, recordings: Corpus, read_output: ReadOutput, kind: str, output: str,
    same_as: tuple[str, ...], options: tuple[str, ...],
) -> None:  # fmt: skip
    """From any kind to any kind, byte for byte but for the command and the date."""
    assert recordings.folder.is_dir()
    shards = extract_shards(cli, kind, *options)
    result = merge(cli, shards, output)
    assert (result.exit_code, "3 shards" in result.stderr) == (0, True)
    whole = "whole.h5" if output.endswith(".h5") else "whole/"
    assert cli("extract", "corpus", "-o", whole, *options, *same_as).exit_code == 1
    assert read_output(Path(output)) == read_output(Path(whole))
    assert cli("verify", output).exit_code == 0
    result = cli("extract", "corpus", "-o", output, *options, *same_as)
    assert "0 done" in result.stderr  # it is what the plain command would go on with


def test_again(cli: Cli, recordings: Corpus) -> None:
    """The same merge changes nothing; a merge over something else asks for --overwrite."""
    shards = extract_shards(cli, "packed")
    merge(cli, shards, "x.h5")
    before = Path("x.h5").read_bytes()
    result = merge(cli, shards, "x.h5")
    assert (result.exit_code, "0 bytes copied" in result.stderr) == (0, True)
    assert Path("x.h5").read_bytes() == before
    recordings.add("0/new.wav")
    shards = extract_shards(cli, "packed")
    result = merge(cli, shards, "x.h5")
    assert (result.exit_code, "holds other inputs" in result.stderr) == (4, True)
    assert Path("x.h5").read_bytes() == before
    assert merge(cli, shards, "x.h5", "--overwrite").exit_code == 0
    with melcli.open("x.h5") as output:
        assert "0/new.wav" in output


def test_in_place_again(cli: Cli, recordings: Corpus) -> None:
    """Shards of one folder are joined once; their lists are gone, and it says so."""
    assert recordings.folder.is_dir()
    shards = extract_shards(cli, "npy")
    assert merge(cli, shards, "npy/").exit_code == 0
    assert sorted(path.name for path in Path("npy").glob("*.*")) == ["melcli.jsonl", "melcli.toml"]
    result = merge(cli, shards, "npy/")
    assert (result.exit_code, "merged already" in result.stderr) == (0, True)
    result = cli("extract", "corpus", "-o", "npy/", "--shard", "1/3")
    assert (result.exit_code, "leave out --shard" in result.stderr) == (4, True)


class TestGrowth:
    """A list of inputs that grows between two merges."""

    @pytest.mark.parametrize("kind", ["packed", "npy"])
    def test_every_shard_is_told(
        self, cli: Cli, recordings: Corpus, read_output: ReadOutput, kind: str
    ) -> None:
        """Merge refuses until each shard has seen the new list, and names those that have not."""
        extract_shards(cli, kind)
        recordings.add("1/new.wav")
        (owner,) = (n for n in range(1, 4) if Shard(n, N_SHARDS).holds("1/new.wav"))
        path = shard_paths(kind)[owner - 1]
        result = cli("extract", "corpus", "-o", path, "--shard", f"{owner}/{N_SHARDS}")
        assert "1 done" in result.stderr
        shards = [Path(path) for path in dict.fromkeys(shard_paths(kind))]
        result = merge(cli, shards, "x.h5")
        assert result.exit_code == 4
        assert "was made of another list of inputs than" in result.stderr
        extract_shards(cli, kind)
        assert merge(cli, shards, "x.h5").exit_code == 0
        cli("extract", "corpus", "-o", "whole.h5")
        assert read_output(Path("x.h5")) == read_output(Path("whole.h5"))

    def test_what_is_gone_comes_last(self, cli: Cli, recordings: Corpus) -> None:
        """An input that is in the list no more is kept behind the others, as in one run."""
        extract_shards(cli, "packed")
        (recordings.folder / "0/3.wav").unlink()
        shards = extract_shards(cli, "packed")
        assert merge(cli, shards, "x.h5").exit_code == 0
        with melcli.open("x.h5") as output:
            assert list(output)[-1] == "0/3.wav"

    def test_an_empty_shard(self, cli: Cli, corpus: Corpus) -> None:
        """A shard that no input falls into is an output like others."""
        corpus.add("one.wav")
        shards = extract_shards(cli, "packed")
        assert [len(list(melcli.open(path))) for path in shards].count(0) == N_SHARDS - 1
        assert cli("info", shards[0]).exit_code == cli("info", shards[1]).exit_code == 0
        assert merge(cli, shards, "x.h5").exit_code == 0
        assert list(melcli.open("x.h5")) == ["one.wav"]
        shards = extract_shards(cli, "npy")
        assert merge(cli, shards, "npy/").exit_code == 0


class TestRefused:
    """What is no complete output is named, and nothing is written."""

    def refused(self, cli: Cli, shards: list[Path], *words: str) -> None:
        """Merge, and see that it tells why it does not."""
        result = merge(cli, shards, "x.h5")
        assert result.exit_code == 4, result.stderr
        for word in words:
            assert word in result.stderr
        assert not list(Path().glob("x.h5*"))

    def test_missing(self, cli: Cli, recordings: Corpus) -> None:
        """By its number."""
        assert recordings.folder.is_dir()
        first, _, third = extract_shards(cli, "packed")
        self.refused(cli, [first], "2 of 3 shards are missing: 2/3, 3/3")
        self.refused(cli, [third, first], "1 of 3 shards is missing: 2/3")

    def test_doubled(self, cli: Cli, recordings: Corpus) -> None:
        """By both names."""
        assert recordings.folder.is_dir()
        first, second, third = extract_shards(cli, "packed")
        shutil.copy(first, "copy.h5")
        shards = [first, second, third, Path("copy.h5")]
        self.refused(cli, shards, "copy.h5: is shard 1/3, and so is packed.1.h5")

    def test_different(self, cli: Cli, recordings: Corpus) -> None:
        """With the difference."""
        assert recordings.folder.is_dir()
        shards = extract_shards(cli, "packed")
        args = ["extract", "corpus", "-o", shards[1], "--shard", "2/3", "--overwrite"]
        cli(*args, "--set", "mel.n_mels=40")
        self.refused(cli, shards, "packed.2.h5: has other settings", "mel.n_mels: 128 there, 40")
        cli(*args[:-3], "--shard", "2/4", "--overwrite")
        self.refused(cli, shards, "packed.2.h5: has other settings", "shards: 3 there, 4 here")

    def test_another_machine(self, cli: Cli, recordings: Corpus) -> None:
        """Unless it is accepted; the output then names both."""
        assert recordings.folder.is_dir()
        shards = extract_shards(cli, "packed")
        with h5py.File(shards[2], "r+") as file:
            file.attrs["machine_torch"] = "2.4.0"
        self.refused(cli, shards, "comes from another machine", "--accept-different-machine")
        assert merge(cli, shards, "x.h5", "--accept-different-machine").exit_code == 0
        machine = json.loads(cli("info", "x.h5", "--json").text)["machine"]
        assert machine["torch"].endswith("; 2.4.0")

    def test_no_shards(self, cli: Cli, recordings: Corpus) -> None:
        """A whole output is none, nor is what is not finished, nor anything else."""
        cli("extract", "corpus", "-o", "whole.h5")
        self.refused(cli, [Path("whole.h5")], "whole.h5: is no shard")
        path = next(recordings.folder.rglob("*.wav"))
        self.refused(cli, [path], "is not an output of melcli")

    def test_damaged(self, cli: Cli, recordings: Corpus) -> None:
        """A row that is not what was written is found while it is copied."""
        assert recordings.folder.is_dir()
        shards = extract_shards(cli, "packed")
        with h5py.File(shards[1], "r+") as file:
            file["mel"][0, 0] += 1
        result = merge(cli, shards, "x.h5")
        assert result.exit_code == 4
        assert "packed.2.h5" in result.stderr
        assert "another checksum" in result.stderr
        assert not Path("x.h5").exists()

    def test_a_file_is_gone(self, cli: Cli, recordings: Corpus) -> None:
        """Shards of one folder are joined only if every file is there."""
        assert recordings.folder.is_dir()
        shards = extract_shards(cli, "npy")
        Path("npy/1/4.npy").unlink()
        result = merge(cli, shards, "npy/")
        assert result.exit_code == 4
        assert "npy/1/4.npy: is missing" in result.stderr
        assert len(list(Path("npy").glob("melcli.*-of-3.toml"))) == 3
        assert not Path("npy/melcli.toml").exists()

    def test_not_finished(self, cli: Cli, recordings: Corpus) -> None:
        """A shard of the folder that is being written is waited for."""
        assert recordings.folder.is_dir()
        shards = extract_shards(cli, "npy")
        Path("npy/.melcli-partial.2-of-3").mkdir()
        result = merge(cli, shards, "npy/")
        assert (result.exit_code, "shard 2/3 is being written" in result.stderr) == (4, True)

    def test_beside_an_unfinished_output(
        self, cli: Cli, recordings: Corpus, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A whole output that was begun in the folder before is somebody's work."""

        def killed(*_: object) -> None:
            raise Killed

        with monkeypatch.context() as patch, suppress(Killed):
            patch.setattr(StoreWriter, "finish", killed)
            melcli.extract(recordings.folder / "1/bad.wav", "npy/")
        assert b"segment" in Path("npy/.melcli-partial/journal.jsonl").read_bytes()
        before = Path("npy/.melcli-partial/journal.jsonl").read_bytes()[256:]
        shards = extract_shards(cli, "npy")
        result = merge(cli, shards, "npy/")
        assert (result.exit_code, "an unfinished whole output" in result.stderr) == (4, True)
        assert Path("npy/.melcli-partial/journal.jsonl").read_bytes()[256:] == before

    def test_a_whole_output_is_no_place_for_shards(self, cli: Cli, recordings: Corpus) -> None:
        """Nor are shards for a whole one."""
        assert recordings.folder.is_dir()
        extract_shards(cli, "npy")
        result = cli("extract", "corpus", "-o", "npy/")
        assert (result.exit_code, "melcli merge makes a whole one" in result.stderr) == (4, True)
        result = cli("info", "npy/")
        assert (result.exit_code, "holds 3 of 3 shards" in result.stderr) == (4, True)
        assert cli("info", "npy/melcli.2-of-3.toml").exit_code == 0
        result = cli("extract", "corpus", "-o", "packed.1.h5", "--shard", "1/3")
        result = cli("extract", "corpus", "-o", "packed.1.h5")
        assert (result.exit_code, "shard: 1/3 in the output" in result.stderr) == (4, True)

    @pytest.mark.parametrize("value", ["9/3", "x", ""])
    def test_hostile_settings(self, cli: Cli, recordings: Corpus, value: str) -> None:
        """A file from elsewhere may say anything."""
        assert recordings.folder.is_dir()
        shards = extract_shards(cli, "packed")
        with h5py.File(shards[1], "r+") as file:
            file.attrs["settings_shard"] = value
        self.refused(cli, shards, "packed.2.h5: is damaged")

    def test_hostile_places(self, cli: Cli, recordings: Corpus) -> None:
        """Places that do not make the list are refused."""
        assert recordings.folder.is_dir()
        shards = extract_shards(cli, "packed")
        with h5py.File(shards[1], "r+") as file:
            places = file["items/position"]
            places[...] = places[...][::-1]
        self.refused(cli, shards, "do not hold the inputs that they were made of")


class TestKilled:
    """A merge that is killed at any step goes on, and is whole in the end."""

    @pytest.mark.parametrize(("kind", "output"), [("packed", "x.h5"), ("npy", "npy")])
    def test_at_every_step(
        self, cli: Cli, recordings: Corpus, read_output: ReadOutput,
        monkeypatch: pytest.MonkeyPatch, kind: str, output: str,
    ) -> None:  # fmt: skip
        """Of the disk's."""
        monkeypatch.setattr(copying, "_SEGMENT_INPUTS", 3)
        assert recordings.folder.is_dir()
        shards = extract_shards(cli, kind)
        whole = "whole.h5" if kind == "packed" else "whole/"
        cli("extract", "corpus", "-o", whole)
        expected = read_output(Path(whole))
        shutil.copytree("npy", "before") if kind == "npy" else None
        step, is_done = 0, False
        while not is_done:
            if kind == "npy":
                shutil.rmtree("npy")
                shutil.copytree("before", "npy")
            else:
                for path in Path().glob("x.h5*"):
                    path.unlink()
            with killed_at(step), suppress(Killed):
                self._merge(shards, output)
                is_done = True
            self._merge(shards, output)
            assert read_output(Path(output)) == expected, f"killed at step {step}"
            assert not list(Path().rglob("*partial*"))
            step += 1
        assert step > 10

    @staticmethod
    def _merge(shards: list[Path], output: str) -> None:
        merging.merge(shards, Path(output), command="merge", created="now")

    def test_other_shards_meanwhile(
        self, cli: Cli, recordings: Corpus, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A merge does not go on with the rows of shards that changed since."""
        monkeypatch.setattr(copying, "_SEGMENT_INPUTS", 1)
        shards = extract_shards(cli, "packed")
        with killed_at(25), suppress(Killed):
            self._merge(shards, "x.h5")
        assert Path("x.h5.partial").exists()
        recordings.add("0/0.wav", 0.3)
        shards = extract_shards(cli, "packed")
        with pytest.raises(StoreError, match="an unfinished output of other inputs"):
            self._merge(shards, "x.h5")
        assert merge(cli, shards, "x.h5", "--overwrite").exit_code == 0
