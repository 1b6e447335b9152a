"""``verify``: is an output still what was written, and what its audio gives?"""

from __future__ import annotations

import json
import os
import struct
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import h5py
import pytest

import melcli

if TYPE_CHECKING:
    from tests.conftest import Cli, Corpus


@pytest.fixture
def packed(cli: Cli, corpus: Corpus) -> Path:
    """A packed output of five inputs."""
    corpus.add_good()
    assert cli("extract", "corpus", "-o", "x.h5").exit_code == 0
    return Path("x.h5")


def flip(output: str, item_id: str) -> None:
    """Change the last bit of an item's rows."""
    with melcli.open(output) as mels:
        mel = mels[item_id]
    stored = (mel if output == "npy/" else mel.T).tobytes()
    files = [file for file in [Path(output), *Path(output).rglob("*")] if file.is_file()]
    (file,) = [file for file in files if stored in file.read_bytes()]
    data = file.read_bytes()
    file.write_bytes(data.replace(stored, stored[:-1] + bytes([stored[-1] ^ 1])))


class TestReadBack:
    """Is an output still what was written?"""

    def test_good(self, cli: Cli, output: str) -> None:
        """Nothing is wrong: exit 0, and how much was read."""
        result = cli("verify", output)
        assert (result.exit_code, result.stderr) == (0, "")
        assert result.text.startswith(f"{output}: 6 items, ".replace("npy/", "npy"))
        assert "all as they were written" in result.text

    def test_damaged(self, cli: Cli, output: str) -> None:
        """Each fault is named, on stderr and in the record; exit 4 with what to do."""
        flip(output, "c.mp3#0")
        result = cli("verify", output, "--json")
        assert result.exit_code == 4
        record = json.loads(result.text)
        [fault] = record["faults"]
        assert "recomputed" not in record
        assert fault["id"] == "c.mp3#0"
        assert f"c.mp3#0: {fault['cause']}" in result.stderr
        assert "1 fault in 6 items" in result.stderr
        assert "--overwrite makes it anew" in result.stderr

    def test_another_config(self, cli: Cli, corpus: Corpus) -> None:
        """A config that was changed behind melcli's back is told, and nothing computed with it."""
        corpus.add("a.wav")
        cli("extract", "corpus", "-o", "npy/")
        settings = Path("npy/melcli.toml")
        settings.write_text(settings.read_text().replace("n_mels = 128", "n_mels = 127"))
        result = cli("verify", "npy")
        assert result.exit_code == 4
        assert "another digest" in result.stderr
        result = cli("verify", "npy", "--audio-root", "corpus", "--json")
        assert (result.exit_code, json.loads(result.text)["recomputed"]) == (4, None)
        assert "nothing is computed again" in result.stderr

    def test_other_rows(self, cli: Cli, corpus: Corpus) -> None:
        """Rows that the config cannot have made are told."""
        corpus.add("a.wav")
        cli("extract", "corpus", "-o", "npy/")
        settings = Path("npy/melcli.toml")
        settings.write_text(settings.read_text().replace("row_shape = [128]", "row_shape = [64]"))
        result = cli("verify", "npy", "--audio-root", "corpus")
        assert result.exit_code == 4
        assert "its config makes rows of (128,), and it holds (64,)" in result.stderr

    def test_no_output(self, cli: Cli) -> None:
        """What is not there is told like everywhere."""
        assert cli("verify", "nothing.h5").exit_code == 4

    def test_quiet(self, cli: Cli, packed: Path) -> None:
        """``-q`` prints nothing but errors."""
        result = cli("verify", packed, "-q", "--audio-root", "corpus")
        assert (result.exit_code, result.text, result.stderr) == (0, "", "")
        flip("x.h5", "c.mp3")
        result = cli("verify", packed, "-q")
        assert (result.exit_code, result.text) == (4, "")
        assert result.stderr.startswith("c.mp3: ")

    def test_torch_is_left_alone(self, cli: Cli, packed: Path) -> None:
        """Reading back does not wait for torch; computing again has to."""
        for more, is_loaded in (([], "False"), (["--audio-root", "corpus"], "True")):
            args = ["verify", str(packed), *more]
            code = (
                "import sys\nfrom melcli.cli import cli\n"
                f"cli({args!r}, standalone_mode=False)\nprint('torch' in sys.modules)"
            )
            assert cli.run_python(code).text.splitlines()[-1] == is_loaded


class TestAudioRoot:
    """Is it still what its audio gives?"""

    def test_same_machine(self, cli: Cli, output: str) -> None:
        """The bytes are compared, and that is said."""
        result = cli("verify", output, "--audio-root", "corpus", "--sample", "100%")
        assert (result.exit_code, result.stderr) == (0, "")
        assert result.text.splitlines()[1:] == [
            "recomputed 5 of 5 inputs: the same bytes (same machine record)"
        ]

    def test_one_percent(self, cli: Cli, packed: Path) -> None:
        """Without ``--sample`` it is 1%, and at least one input."""
        text = cli("verify", packed, "--audio-root", "corpus").text
        assert "recomputed 1 of 5 inputs" in text
        assert cli("verify", packed, "--audio-root", "corpus", "--sample", "1%").text == text

    def test_json(self, cli: Cli, packed: Path) -> None:
        """``--json`` has the same facts as fields."""
        os.utime("corpus/b.ogg", ns=(0, 0))
        Path("corpus/c.mp3").unlink()
        args = ["--audio-root", "corpus", "--sample", "100%", "--json"]
        record = json.loads(cli("verify", packed, *args).text)
        assert record["faults"] == []
        assert record["recomputed"] == {
            "inputs": 5,
            "sampled": 5,
            "compared": 3,
            "differing": 0,
            "gone": 1,
            "changed": 1,
            "failed": [],
            "comparison": "bytes",
            "tolerance": None,
            "largest_difference": 0.0,
            "machine_differences": {},
        }

    def test_decoders_that_print(self, cli: Cli, packed: Path) -> None:
        """What a C library prints while it decodes is not among the JSON."""
        setup = (
            "import os\nfrom melcli.pipeline import worker\n"
            "call = worker.Worker.__call__\n"
            "worker.Worker.__call__ = lambda *args: (os.write(1, b'noise'), call(*args))[1]"
        )
        result = cli.run("verify", packed, "--audio-root", "corpus", "--json", setup=setup)
        assert json.loads(result.text)["recomputed"]["compared"] == 1
        assert result.stderr == "noise"

    def test_another_machine(self, cli: Cli, packed: Path) -> None:
        """The tolerance and what differs between the machines are said."""
        with h5py.File(packed, "r+") as file:
            file.attrs["machine_torch"] = "2.4.0"
        args = ["--audio-root", "corpus", "--sample", "2"]
        result = cli("verify", packed, *args)
        assert result.exit_code == 0
        assert "recomputed 2 of 5 inputs: within 0.005, bins more than" in result.text
        assert "(torch: 2.4.0 there, " in result.text
        record = json.loads(cli("verify", packed, *args, "--json").text)["recomputed"]
        assert record["comparison"] == "tolerance"
        assert record["tolerance"].startswith("0.005, bins more than 100 dB")
        assert record["machine_differences"]["torch"]["there"] == "2.4.0"

    def test_differing(self, cli: Cli, packed: Path, corpus: Corpus) -> None:
        """What differs is a fault like any other, told beside those of reading back."""
        path = corpus.folder / "a/one.wav"
        status = path.stat()
        corpus.add_samples("a/one.wav", corpus.samples("another"))
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
        flip("x.h5", "c.mp3")
        args = ["--audio-root", "corpus", "--sample", "100%"]
        result = cli("verify", packed, *args)
        assert result.exit_code == 4
        first, second, error, _ = result.stderr.splitlines()
        assert first.startswith("c.mp3: its rows are not those that were written")
        assert second.startswith("a/one.wav: is not what its audio gives in ")
        assert error == "Error: x.h5: 2 faults in 5 items"
        assert result.text.startswith("recomputed 5 of 5 inputs: 1 not the same bytes")
        record = json.loads(cli("verify", packed, *args, "--json").text)
        assert [fault["id"] for fault in record["faults"]] == ["c.mp3", "a/one.wav"]
        assert record["recomputed"]["differing"] == 1

    def test_unreadable(self, cli: Cli, packed: Path, corpus: Corpus) -> None:
        """What cannot be read now is told with what to do; the output is not to blame: exit 1."""
        path = corpus.folder / "a/one.wav"
        status = path.stat()
        path.write_bytes(b"?" * status.st_size)
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
        args = ["--audio-root", "corpus", "--sample", "100%", "--json"]
        result = cli("verify", packed, *args)
        assert result.exit_code == 1
        [failed] = json.loads(result.text)["recomputed"]["failed"]
        assert failed["id"] == "a/one.wav"
        told, error, remedy = result.stderr.splitlines()
        assert told == f"a/one.wav: cannot be computed again: {failed['cause']}"
        assert error == "Error: x.h5: 1 input cannot be computed again"
        assert remedy == f"  try: {failed['remedy']}"

    def test_nothing_but_strangers(self, cli: Cli, packed: Path) -> None:
        """Ids that lead out of the folder are faults, also where there is nothing else."""
        with h5py.File(packed, "r+") as file:
            file["items/id"][:] = [f"../{k}.wav" for k in range(5)]
        result = cli("verify", packed, "--audio-root", "corpus", "--sample", "100%")
        assert result.exit_code == 4
        assert result.stderr.count("in it\n") == 5
        assert result.text == "recomputed 0 of 5 inputs\n"

    @pytest.mark.parametrize(
        ("options", "exit_code", "told"),
        [
            (["--sample", "1%"], 2, "--audio-root DIR"),
            (["--device", "cpu"], 2, "--device says how to compute again"),
            (["--audio-root", "corpus", "--sample", "0"], 2, "--sample 20, or --sample 1%"),
            (["--audio-root", "nowhere"], 2, "'nowhere' does not exist"),
            (["--audio-root", "x.h5"], 2, "is a file"),
            (["--audio-root", "."], 3, "give the folder that ids count from"),
            (["--audio-root", "corpus", "--device", "cuda:99"], 5, "--device cpu"),
        ],
    )
    def test_refused(
        self, cli: Cli, packed: Path, options: list[str], exit_code: int, told: str
    ) -> None:
        """What cannot be done is told before anything is read, with what to do."""
        flip("x.h5", "c.mp3")
        result = cli("verify", packed, *options)
        assert (result.exit_code, result.text) == (exit_code, "")
        assert told in result.stderr
        assert "c.mp3" not in result.stderr.replace("c.mp3 must", "")


class TestProgress:
    """What a person sees while it goes on."""

    def test_lines(self, cli: Cli, packed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Where stderr is no terminal, a line now and then shows that it goes on."""
        # In the package the name of the module is that of the command.
        monkeypatch.setattr(sys.modules["melcli.cli.verify"], "_LINE_EVERY_SECONDS", 0.0)
        with melcli.open(packed) as mels:
            n_bytes = sum(mel.nbytes for mel in mels.values())
        args = ["--audio-root", "corpus", "--sample", "2"]
        lines = cli("verify", packed, *args).stderr.splitlines()
        whole = f"{n_bytes / 1000:.1f} kB"
        assert len(lines) == 5 + 2
        assert lines[4] == f"read back {whole} of {whole}"
        assert lines[5:] == ["recomputed 1 of 2 inputs", "recomputed 2 of 2 inputs"]
        assert cli("verify", packed, *args, "-q").stderr == ""

    def test_bar(self, cli: Cli, packed: Path) -> None:
        """Where stderr is a terminal there is a bar, unless it is not wanted."""
        pty, fcntl = pytest.importorskip("pty"), pytest.importorskip("fcntl")
        termios = pytest.importorskip("termios")
        for options, has_bar in (([], True), (["--no-progress"], False), (["-q"], False)):
            ours, theirs = pty.openpty()
            fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 100, 0, 0))
            args = ("verify", packed, "--audio-root", "corpus", "--sample", "2", *options)
            with cli.start(*args, stderr=theirs) as process:
                os.close(theirs)
                text = _read_terminal(ours)
                assert process.wait(60) == 0
            os.close(ours)
            assert ("read back: 100%" in text) == has_bar
            assert ("2/2" in text) == has_bar

    def test_interrupted(self, cli: Cli, packed: Path) -> None:
        """Ctrl-C is exit 130, also while something is computed."""
        setup = (
            "from melcli.pipeline import worker\n"
            "def stop(*_): raise KeyboardInterrupt\n"
            "worker.Worker.__call__ = stop"
        )
        result = cli.run("verify", packed, "--audio-root", "corpus", setup=setup)
        assert result.exit_code == 130
        assert "Traceback" not in result.stderr


def _read_terminal(terminal: int) -> str:
    found = b""
    while True:
        try:
            piece = os.read(terminal, 65536)
        except OSError:  # Linux says so where the other side is closed
            piece = b""
        if not piece:
            return found.decode(errors="replace")
        found += piece
