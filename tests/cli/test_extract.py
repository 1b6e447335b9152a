"""``melcli extract`` as a person meets it: words, streams, exit codes."""

from __future__ import annotations

import io
import json
import os
import struct
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import h5py
import numpy as np
import pytest

import melcli
from melcli.cli import cli as click_group
from melcli.cli import progress as progress_module

if TYPE_CHECKING:
    from tests.conftest import Cli, Corpus, ReadOutput, Result

DROP_PRIVILEGES = """
import ctypes, os, sys
# Root reads everything, unless these two are given up, for good.
for capability in (1, 2):  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH
    if os.geteuid() == 0 and ctypes.CDLL(None).prctl(24, capability, 0, 0, 0):
        sys.exit(99)
os.execv(sys.executable, [sys.executable, "-m", "melcli", *sys.argv[1:]])
"""


# The same, and then the folder of the output may not be written to after two segments.
LOCK_OUT = (
    DROP_PRIVILEGES.partition("os.execv")[0]
    + """
import os
CODE = '''
import os
from melcli.pipeline import batching
from melcli.store.writer import StoreWriter
batching.BATCH_INPUTS = batching.SEGMENT_INPUTS = 2
commit, n_commits = StoreWriter.commit, 0
def lock_out(self):
    global n_commits
    commit(self)
    n_commits += 1
    if n_commits == 2:
        os.chmod("out", 0o555)
StoreWriter.commit = lock_out
from melcli.cli import main
main()
'''
os.execv(sys.executable, [sys.executable, "-c", CODE, *sys.argv[1:]])
"""
)


def lines_of(text: str) -> list[dict[str, object]]:
    """Read JSON lines."""
    return [json.loads(line) for line in text.splitlines()]


def is_clean(result: Result) -> bool:
    """No traceback, and nothing that Python complains of when it shuts down."""
    return not any(word in result.stderr for word in ("Traceback", "Exception", "Bug in melcli"))


class TestWords:
    """What a run prints."""

    def test_summary(self, cli: Cli, corpus: Corpus) -> None:
        """The summary goes to stderr, stdout stays empty, and all done is 0."""
        corpus.add_good()
        result = cli("extract", "corpus", "-o", "x.h5")
        assert (result.exit_code, result.stdout) == (0, b"")
        assert "5 done, 0 failed, of 5 inputs" in result.stderr
        *_, hint, place, following = result.stderr.splitlines()
        assert hint.startswith("no --config was given, so it was librosa")
        assert place.startswith("x.h5  ")
        assert following == "next: melcli info x.h5"

    def test_failures(self, cli: Cli, corpus: Corpus) -> None:
        """Each failure is told with the name as it was typed, its cause and its remedy; exit 1."""
        corpus.add("a.wav")
        corpus.add_bytes("b.wav", b"text, and no audio")
        result = cli("extract", "corpus", "-o", "x.h5")
        assert result.exit_code == 1
        lines = result.stderr.splitlines()
        at = next(
            k for k, line in enumerate(lines) if line.startswith("failed: corpus/b.wav: is not")
        )
        assert lines[at + 1] == "  try: leave it out with --exclude"

    def test_quiet(self, cli: Cli, corpus: Corpus) -> None:
        """``-q`` prints nothing but errors; the exit code still tells."""
        corpus.add_bytes("b.wav", b"text, and no audio")
        assert cli("extract", "corpus", "-o", "x.h5", "-q") == type(cli("--version"))(1, b"", "")
        result = cli("extract", "corpus", "-o", "x", "-q")
        assert result.stderr.startswith("Error: x: is neither")

    def test_verbose(self, cli: Cli, corpus: Corpus) -> None:
        """``-v`` tells each failure when it happens."""
        corpus.add_bytes("b.wav", b"text, and no audio")
        result = cli("extract", "corpus", "-o", "x.h5", "-v")
        assert result.stderr.startswith("failed: corpus/b.wav: is not audio")

    def test_json(self, cli: Cli, corpus: Corpus) -> None:
        """``--json`` puts the books on stdout, and they balance."""
        corpus.add("a.wav")
        corpus.add_bytes("b.wav", b"text, and no audio")
        result = cli("extract", "corpus", "-o", "x.h5", "--json")
        books = json.loads(result.text)
        assert (books["inputs"], books["done"], books["failed"], books["left"]) == (2, 1, 1, 0)
        assert books["exit_code"] == result.exit_code == 1

    @pytest.mark.parametrize("where", ["report.jsonl", "-"])
    def test_report(self, cli: Cli, corpus: Corpus, where: str) -> None:
        """``--report`` has exactly one line an input, whatever became of it, and when."""
        names = [*corpus.add_good(), "bad.wav"]
        corpus.add_bytes("bad.wav", b"text, and no audio")
        for expected in ("done", "already done"):
            result = cli("extract", "corpus", "-o", "x.h5", "--report", where)
            text = result.text if where == "-" else Path(where).read_text(encoding="utf-8")
            lines = {str(line["id"]): line for line in lines_of(text)}
            assert sorted(lines) == sorted(names)
            assert len(text.splitlines()) == len(names)
            assert lines["bad.wav"]["status"] == "failed"
            assert str(lines["bad.wav"]["cause"]).startswith("is not audio")
            assert lines["a/two.flac"] == {
                "id": "a/two.flac", "path": "corpus/a/two.flac", "status": expected, "seconds": 0.3,
                "sample_rate": 22050, "n_channels": 2, "notes": ["mixed"],
                "items": [{"id": "a/two.flac", "n_rows": 13}],
            }  # fmt: skip

    def test_report_of_a_stopped_run(self, cli: Cli, corpus: Corpus) -> None:
        """Inputs a stopped run has not come to are in no report, and counted as left."""
        corpus.add("a.wav")
        corpus.add_bytes("b.wav", b"text, and no audio")
        corpus.add("c.wav")
        result = cli("extract", "corpus", "-o", "x.h5", "--report", "r", "--json", "--strict")
        assert len(Path("r").read_text(encoding="utf-8").splitlines()) == 2
        assert (result.exit_code, json.loads(result.text)["left"]) == (1, 1)
        assert "stopped: 1 failed, and --strict says to stop" in result.stderr
        result = cli("extract", "corpus", "-o", "x.h5", "--max-failures", "1")
        assert (result.exit_code, Path("x.h5").exists()) == (1, True)

    def test_progress_lines(
        self, cli: Cli, corpus: Corpus, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Where stderr is no terminal, a line now and then shows that it goes on."""
        corpus.add_good()
        monkeypatch.setattr(progress_module, "_LINE_EVERY_SECONDS", 0.0)
        result = cli("extract", "corpus", "-o", "x.h5")
        assert result.stderr.startswith("5 of 5 files, finishing, 1.4 s of audio, ")

    def test_bar(self, cli: Cli, corpus: Corpus) -> None:
        """Where stderr is a terminal there is a bar, unless it is not wanted."""
        pty, fcntl = pytest.importorskip("pty"), pytest.importorskip("fcntl")
        termios = pytest.importorskip("termios")
        corpus.add_good()
        for options, has_bar in (([], True), (["--no-progress"], False)):
            ours, theirs = pty.openpty()
            fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 100, 0, 0))
            args = ("extract", "corpus", "-o", f"x{has_bar}.h5", *options)
            with cli.start(*args, stderr=theirs) as process:
                os.close(theirs)
                text = _read_terminal(ours)
                assert process.wait(60) == 0
            os.close(ours)
            assert ("of 5 files" in text) == has_bar
            assert "5 done, 0 failed" in text

    def test_no_color(self, cli: Cli, corpus: Corpus) -> None:
        """``NO_COLOR`` holds, and so does a stderr that is no terminal."""
        corpus.add("a.wav")
        result = cli("extract", "corpus", "-o", "x", env={"NO_COLOR": "1"})
        assert "\x1b" not in result.stderr

    def test_debug(self, cli: Cli, corpus: Corpus) -> None:
        """``--debug`` shows where an error comes from; without it no traceback is seen."""
        corpus.add("a.wav")
        assert "Traceback" not in cli("extract", "corpus", "-o", "x").stderr
        assert "Traceback" in cli("extract", "corpus", "-o", "x", "--debug").stderr


def _read_terminal(terminal: int) -> str:
    """Read until the other end is closed."""
    pieces: list[bytes] = []
    while True:
        try:
            piece = os.read(terminal, 4096)
        except OSError:  # EIO is how Linux says so
            piece = b""
        if not piece:
            return b"".join(pieces).decode()
        pieces.append(piece)


class TestWrongUsage:
    """Exit codes 2 to 5: what is wrong, and what would be right; nothing is left behind."""

    @pytest.mark.parametrize(
        ("args", "exit_code", "words", "remedy"),
        [
            ("extract", 2, "Missing argument 'INPUTS...'", ""),
            ("extract corpus", 2, "Missing option '-o'", ""),
            ("extract corpus -o x", 2, "x: is neither an .h5 file nor a folder", "x.h5, or x/ for"),
            ("extract corpus -o x.npy", 2, "x.npy: is one .npy file", "x/ for a folder of them"),
            ("extract corpus -o x.npy --dry-run", 2, "x.npy: is one .npy file", "x/ for a"),
            ("extract a.wav -o - --json", 2, "is asked for by -o - and --json", "one to a file"),
            ("extract a.wav -o - --report -", 2, "asked for by -o - and --report -", "to a file"),
            ("extract a.wav -o x.h5 --json --report -", 2, "--report - and --json", "to a file"),
            ("extract corpus -o -", 2, "standard output takes one input, not 2", "an .h5 file"),
            ("extract - --files-from - -o x.h5", 2, "both the audio and the list", "list.txt"),
            ("extract --files-from none -o x.h5", 2, "none: the list cannot be read", ""),
            ("extract empty -o x.h5", 3, "no audio was found: empty is empty", "give a folder"),
            ("extract nothere -o x.h5", 3, "no such file or folder: nothere", "check the name"),
            ("extract corpus -o x.h5 --device cuda:9", 5, "cuda:9: torch", "--device cpu"),
            ("extract corpus -o x.h5 --device tpu", 5, "--device tpu", "cpu"),
            ("extract corpus -o x.h5 --memory 1M", 2, "must be at least 64 MB", "--memory 1G"),
            ("extract corpus -o x.h5 --memory many", 2, "many is no size", ""),
            ("extract corpus -o x.h5 --max-failures x", 2, "a number or a percentage", "2%"),
            ("extract corpus -o x.h5 --workers 0", 2, "'--workers'", ""),
            ("extract corpus -o x.h5 --wrkers 1", 2, "No such option", ""),
            ("extract corpus -o x.h5 -c hifi", 2, "no front end named hifi", "hifigan-22k?"),
            ("extract corpus -o x.h5 -c ./none.toml", 2, "cannot be read", "configs list"),
            ("extract corpus -o x.h5 --set mel.n_mel=3", 2, "did you mean mel.n_mels?", ""),
            ("extract corpus -o x.h5 --set mel.f_max=2e4", 2, "half of wave.sample_rate", ""),
            ("extract corpus -o x.h5 --set mel", 2, "is not KEY=VALUE", "mel.n_mels=64"),
            ("extract corpus -o x.h5 --channels left", 2, 'one of "mean", "first", "each"', ""),
            ("extract corpus -o x.h5 --resample cubic", 2, "soxr-hq", ""),
            ("extract corpus corpus -o x.h5", 2, "with one id: corpus/a.", "rename one"),
            ("extract corpus -o here/", 2, "corpus/a.flac and corpus/a.wav", "an .h5 file"),
            ("extract .melcli-partial/a.wav -o here/", 4, "which melcli needs for itself", ""),
            ("extract corpus -o mine.h5", 4, "mine.h5: is not an output of melcli", ""),
            ("extract corpus -o mine.h5 --overwrite", 4, "mine.h5: is not an output of melcli", ""),
            ("extract corpus -o mine.h5/x.h5", 5, "mine.h5/x.h5", ""),
            ("extract corpus -o x.h5 --report none/r.jsonl", 5, "report cannot be written", ""),
            ("info none.h5", 4, "none.h5", ""),
            ("info empty", 4, "empty", ""),
            ("info mine.h5", 4, "mine.h5: is not an output of melcli", ""),
            ("configs show none", 2, "no front end named none", "configs list"),
            ("extrct", 2, "No such command 'extrct'", ""),
        ],
    )  # fmt: skip
    def test_table(
        self, cli: Cli, corpus: Corpus, args: str, exit_code: int, words: str, remedy: str
    ) -> None:
        """Each wrong command has its exit code, its cause and its remedy."""
        corpus.add("a.wav")
        corpus.add("a.flac")
        Path("empty").mkdir()
        Path("mine.h5").write_bytes(b"my thesis")
        Path(".melcli-partial").mkdir()
        (corpus.folder / "a.wav").rename("a.wav")
        Path(".melcli-partial/a.wav").write_bytes(Path("a.wav").read_bytes())
        corpus.add("a.wav")
        before = sorted(Path().rglob("*"))
        result = cli(*args.split())
        assert (result.exit_code, result.stdout) == (exit_code, b"")
        assert words in result.stderr
        if remedy:
            assert remedy in result.stderr.partition("  try: ")[2]
        assert is_clean(result)
        # The folder of an .npy output may stay; nothing else does.
        assert [path for path in sorted(Path().rglob("*")) if path.name != "here"] == before

    def test_config_file(self, cli: Cli, corpus: Corpus) -> None:
        """All that is wrong in a config is told at once: file, key, value, what is allowed."""
        corpus.add("a.wav")
        Path("mine.toml").write_text(
            "[mel]\nn_mel = 64\nf_max = 9000.0\n[farme]\n", encoding="utf-8"
        )
        result = cli("extract", "corpus", "-o", "x.h5", "-c", "mine.toml")
        assert result.exit_code == 2
        assert result.stderr.startswith("Error: mine.toml: 3 problems\n")
        assert "mel.n_mel = 64: unknown key; did you mean mel.n_mels?" in result.stderr
        assert "mel.f_max = 9000.0: must be at most half of wave.sample_rate, 8000" in result.stderr
        assert "[farme]: unknown key; did you mean frame?" in result.stderr

    def test_other_settings(self, cli: Cli, corpus: Corpus) -> None:
        """An output made with other settings is exit 4, and each difference is a line."""
        corpus.add("a.wav")
        assert cli("extract", "corpus", "-o", "x.h5").exit_code == 0
        before = Path("x.h5").read_bytes()
        result = cli(
            *["extract", "corpus", "-o", "x.h5", "--set", "mel.n_mels=64", "--channels", "first"]
        )
        assert result.exit_code == 4
        assert "\n  mel.n_mels: 128 in the output, 64 asked for\n" in result.stderr
        assert "\n  wave.channels: mean in the output, first asked for\n" in result.stderr
        assert "  try: choose another -o, or pass --overwrite" in result.stderr
        assert Path("x.h5").read_bytes() == before

    def test_a_bug(self, cli: Cli, corpus: Corpus, monkeypatch: pytest.MonkeyPatch) -> None:
        """What nobody foresaw is exit 70 and asks for a report."""
        from melcli.pipeline import worker

        corpus.add("a.wav")

        def fail(*_args: object) -> None:
            raise ZeroDivisionError("by zero")

        monkeypatch.setattr(worker, "clips_of", fail)
        result = cli("extract", "corpus", "-o", "x.h5")
        assert result.exit_code == 70
        assert "Bug in melcli" in result.stderr
        assert "ZeroDivisionError: by zero" in result.stderr
        assert "--debug, and report what it prints" in result.stderr


class TestEnvironment:
    """Every option can come from the environment."""

    @pytest.mark.parametrize(
        ("name", "value", "expected"),
        [
            ("MELCLI_EXTRACT_CONFIG", "whisper-80", "with whisper-80"),
            ("MELCLI_EXTRACT_SET", "mel.n_mels=20 mel.f_max=5000", "mel.n_mels=20"),
            ("MELCLI_EXTRACT_CHANNELS", "first", 'wave.channels="first"'),
            ("MELCLI_EXTRACT_OUTPUT", "y.h5", "y.h5"),
            ("MELCLI_EXTRACT_STRICT", "1", "--strict says to stop"),
            ("MELCLI_EXTRACT_EXCLUDE", "b.wav", "1 excluded"),
        ],
    )
    def test_extract(self, cli: Cli, corpus: Corpus, name: str, value: str, expected: str) -> None:
        """A variable does what the option does."""
        corpus.add("a.wav")
        corpus.add_bytes("b.wav", b"text, and no audio")
        args = ["extract", "corpus"] + (["-o", "x.h5"] if "OUTPUT" not in name else [])
        assert expected in cli(*args, env={name: value}).stderr

    def test_the_command_line_wins(self, cli: Cli, corpus: Corpus) -> None:
        """What is typed wins over the environment."""
        corpus.add("a.wav")
        env = {"MELCLI_EXTRACT_CONFIG": "whisper-80"}
        assert (
            "hifigan-22k"
            in cli(*["extract", "corpus", "-o", "x.h5", "-c", "hifigan-22k"], env=env).stderr
        )

    def test_wrong_value(self, cli: Cli, corpus: Corpus) -> None:
        """A wrong value in the environment is as wrong as a typed one."""
        corpus.add("a.wav")
        result = cli("extract", "corpus", "-o", "x.h5", env={"MELCLI_EXTRACT_DTYPE": "float8"})
        assert (result.exit_code, "float8" in result.stderr) == (2, True)

    def test_every_option(self) -> None:
        """The variable of an option is called what the option is called, in every command."""
        import click

        for name in ("info", "doctor", "extract"):
            for option in click_group.commands[name].params:
                if isinstance(option, click.Option):
                    longest = max(option.opts, key=len).lstrip("-").upper().replace("-", "_")
                    assert option.envvar == f"MELCLI_{name.upper()}_{longest}"


class TestStreams:
    """Standard input and output."""

    def mel_of(self, data: bytes) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
        """Read a .npy from memory."""
        return np.asarray(np.load(io.BytesIO(data)))

    def test_one_npy(self, cli: Cli, corpus: Corpus) -> None:
        """``-o -`` writes the mel of one input, as it would lie in a folder, and nothing else."""
        path = corpus.add("a.flac", n_channels=2)
        cli("extract", path, "-o", "out/", "--root", "corpus")
        result = cli("extract", path, "-o", "-")
        assert (result.exit_code, result.stderr) == (0, "")
        assert result.stdout[128:] == Path("out/a.npy").read_bytes()[128:]
        assert np.array_equal(self.mel_of(result.stdout), np.load("out/a.npy"))

    def test_layout(self, cli: Cli, corpus: Corpus) -> None:
        """Its axes are in the order of the config's layout."""
        path = corpus.add("a.wav", 1.0)
        assert self.mel_of(cli("extract", path, "-o", "-").stdout).shape == (128, 44)
        kaldi = cli("extract", path, "-o", "-", "-c", "kaldi-fbank-80").stdout
        assert self.mel_of(kaldi).shape == (98, 80)

    @pytest.mark.parametrize("name", ["a.wav", "b.flac", "c.ogg", "d.mp3", "e.opus"])
    def test_standard_input(self, cli: Cli, corpus: Corpus, name: str) -> None:
        """``-`` gives the mel that the file gives, for every format."""
        path = corpus.add(name, 0.5)
        expected = cli("extract", path, "-o", "-").stdout
        assert cli("extract", "-", "-o", "-", stdin=path.read_bytes()).stdout == expected
        assert cli("extract", "-", "-o", "x.h5", stdin=path.read_bytes()).exit_code == 0
        with melcli.open("x.h5") as output:
            assert list(output) == ["stdin"]
            assert np.array_equal(output["stdin"], self.mel_of(expected))

    def test_pipe_and_file(self, cli: Cli, corpus: Corpus) -> None:
        """A true pipe and a true file on standard input give the same."""
        path = corpus.add("a.wav", 0.5)
        piped = cli.run("extract", "-", "-o", "-", input=path.read_bytes())
        with path.open("rb") as file:
            redirected = cli.run("extract", "-", "-o", "-", stdin=file)
        expected = cli("extract", path, "-o", "-").stdout
        assert piped.stdout == redirected.stdout == expected
        assert piped.stderr == redirected.stderr == ""

    @pytest.mark.parametrize(
        ("data", "cause"),
        [(b"", "stdin: is empty"), (b"text, and no audio", "stdin: is not audio that libsndfile")],
    )
    def test_bad_standard_input(self, cli: Cli, data: bytes, cause: str) -> None:
        """A bad stream is one failed input: exit 1, and no half array on stdout."""
        result = cli("extract", "-", "-o", "-", stdin=data)
        assert (result.exit_code, result.stdout) == (1, b"")
        assert f"Error: {cause}" in result.stderr
        assert cli("extract", "-", "-o", "x.h5", stdin=data).exit_code == 1

    def test_truncated_standard_input(self, cli: Cli, corpus: Corpus) -> None:
        """Half a stream is noticed as half a file is."""
        path = corpus.cut("a.wav")
        result = cli("extract", "-", "-o", "-", stdin=path.read_bytes())
        assert (result.exit_code, result.stdout) == (1, b"")
        assert (
            "stdin: is cut short: the header promises 1.00 s, the file holds 0.50" in result.stderr
        )

    def test_several_items(self, cli: Cli, corpus: Corpus) -> None:
        """An input that becomes several items does not fit one array."""
        path = corpus.add("a.wav", n_channels=2)
        result = cli("extract", path, "-o", "-", "--channels", "each")
        assert (result.exit_code, result.stdout) == (2, b"")
        assert "this input becomes 2 items" in result.stderr

    def test_names_on_standard_input(self, cli: Cli, corpus: Corpus) -> None:
        """``--files-from - -0`` takes what ``find -print0`` gives, line breaks and all."""
        names = [corpus.add("a\nb.wav"), corpus.add("c.wav")]
        stdin = b"\0".join(os.fsencode(path.relative_to(cli.folder)) for path in names) + b"\0"
        result = cli(
            *["extract", "--files-from", "-", "-0", "-o", "x.h5", "--root", "corpus"], stdin=stdin
        )
        assert result.exit_code == 0
        with melcli.open("x.h5") as output:
            assert list(output) == ["a\nb.wav", "c.wav"]

    @pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")  # noqa: PTH110
    @pytest.mark.parametrize(
        "args", ["extract a.wav -o -", "extract a.wav -o x.h5 --report /dev/full", "configs list"]
    )
    def test_full(self, cli: Cli, corpus: Corpus, args: str) -> None:
        """Where nothing more can be written it is exit 5, whatever was to be written."""
        corpus.add("a.wav").rename("a.wav")
        with open("/dev/full", "wb") as full:  # noqa: PTH123
            result = cli.run(*args.split(), stdout=full)
        assert result.exit_code == 5
        assert "no space left on device" in result.stderr.lower()
        assert is_clean(result)

    def test_reader_that_has_had_enough(self, cli: Cli, corpus: Corpus) -> None:
        """A closed stdout, as of ``| head``, ends the command quietly."""
        corpus.add("a.wav", 30).rename("a.wav")
        for args in ("extract a.wav -o -", "configs show librosa"):
            read, write = os.pipe()
            os.close(read)
            result = cli.run(*args.split(), stdout=write)
            os.close(write)
            assert (result.exit_code, result.stderr) == (0, "")

    @pytest.mark.parametrize("fork_bytes", [0, 1 << 40])
    def test_what_libraries_print(self, cli: Cli, corpus: Corpus, fork_bytes: int) -> None:
        """A C library that prints on standard output spoils neither rows nor JSON."""
        path = corpus.add("a.wav")
        setup = f"""
import os
from melcli.pipeline import loop, worker
loop.FORK_BYTES = {fork_bytes}
clips_of = worker.clips_of
def noisily(*args):
    os.write(1, b"noise")
    return clips_of(*args)
worker.clips_of = noisily
"""
        expected = cli("extract", path, "-o", "-").stdout
        piped = cli.run("extract", path, "-o", "-", setup=setup)
        assert (piped.exit_code, piped.stdout) == (0, expected)
        assert "noise" in piped.stderr
        told = cli.run("extract", "corpus", "-o", "x.h5", "--json", setup=setup)
        assert json.loads(told.stdout)["done"] == 1
        assert "noise" in told.stderr

    def test_no_streams_at_all(self, cli: Cli, corpus: Corpus, read_output: ReadOutput) -> None:
        """With all three streams closed, an extraction works, and nothing is printed into it."""
        corpus.add_good()
        code = "import os, sys; [os.close(n) for n in (0, 1, 2)]; os.execv(sys.executable, "
        code += "[sys.executable, '-m', 'melcli', *sys.argv[1:]])"
        # The streams must be closed before Python starts, so this takes two starts.
        result = cli.run(*["extract", "corpus", "-o", "x.h5", "--json"], setup=code)
        assert result.exit_code == 0
        assert cli("extract", "corpus", "-o", "y.h5").exit_code == 0
        assert read_output(Path("x.h5")) == read_output(Path("y.h5"))


class TestDisk:
    """What the operating system refuses."""

    @pytest.mark.skipif(sys.platform == "win32", reason="POSIX permissions")
    def test_permissions(self, cli: Cli, corpus: Corpus) -> None:
        """A file and a folder that may not be read fail, and the others are intact."""
        corpus.add("a.wav")
        corpus.add("b.wav").chmod(0)
        corpus.add("sub/c.wav")
        (corpus.folder / "sub").chmod(0)
        try:
            result = cli.run(
                *["extract", "corpus", "-o", "x.h5", "--report", "r"], setup=DROP_PRIVILEGES
            )
        finally:
            (corpus.folder / "sub").chmod(0o755)
        if result.exit_code == 99:
            pytest.skip("root's privileges cannot be dropped here")
        assert result.exit_code == 1
        assert "corpus/b.wav: may not be read: permission denied" in result.stderr
        assert "corpus/sub/: this folder cannot be read: Permission denied" in result.stderr
        lines = {
            line["id"]: line["status"] for line in lines_of(Path("r").read_text(encoding="utf-8"))
        }
        assert lines == {"a.wav": "done", "b.wav": "failed", "sub": "failed"}
        with melcli.open("x.h5") as output:
            assert list(output) == ["a.wav"]

    @pytest.mark.skipif(sys.platform == "win32", reason="POSIX permissions")
    def test_readable_again(self, cli: Cli, corpus: Corpus) -> None:
        """Once a folder may be read, its files take the place of its failure."""
        corpus.add("a.wav")
        corpus.add("sub/c.wav")
        (corpus.folder / "sub").chmod(0)
        try:
            result = cli.run(*["extract", "corpus", "-o", "x.h5"], setup=DROP_PRIVILEGES)
        finally:
            (corpus.folder / "sub").chmod(0o755)
        if result.exit_code == 99:
            pytest.skip("root's privileges cannot be dropped here")
        assert result.exit_code == 1
        result = cli("extract", "corpus", "-o", "x.h5")
        assert (result.exit_code, "kept" in result.stderr) == (0, False)
        with melcli.open("x.h5") as output:
            assert list(output) == ["a.wav", "sub/c.wav"]
            assert output.failures == []

    @pytest.mark.skipif(sys.platform == "win32", reason="POSIX permissions")
    @pytest.mark.parametrize("output", ["x.h5", "npy/"])
    def test_unreadable_arguments(self, cli: Cli, corpus: Corpus, output: str) -> None:
        """Even what was named itself, a folder or a file, is one failed input of many."""
        corpus.add("a.wav").rename("a.wav")
        corpus.add("b.wav").rename("b.wav")
        corpus.folder.chmod(0)
        Path("a.wav").chmod(0)
        try:
            args = ["extract", "corpus", "a.wav", "b.wav", "-o", output]
            result = cli.run(*args, setup=DROP_PRIVILEGES)
        finally:
            corpus.folder.chmod(0o755)
        if result.exit_code == 99:
            pytest.skip("root's privileges cannot be dropped here")
        assert result.exit_code == 1
        assert "corpus/: this folder cannot be read: Permission denied" in result.stderr
        assert "a.wav: may not be read: permission denied" in result.stderr
        assert "1 done, 2 failed, of 3 inputs" in result.stderr

    @pytest.mark.skipif(sys.platform == "win32", reason="POSIX permissions")
    @pytest.mark.parametrize("name", ["out/x.h5", "out/"])
    def test_locked_out(self, cli: Cli, corpus: Corpus, read_output: ReadOutput, name: str) -> None:
        """A folder that becomes read-only while a run writes to it is exit 5; nothing is lost."""
        for k in range(8):
            corpus.add(f"{k}.wav")
        Path("out").mkdir()
        args = ["extract", "corpus", "-o", name]
        result = cli.run(*args, setup=LOCK_OUT)
        Path("out").chmod(0o755)
        if result.exit_code == 99:
            pytest.skip("root's privileges cannot be dropped here")
        assert result.exit_code == 5
        assert "permission denied" in result.stderr
        assert is_clean(result)
        result = cli(*args)
        assert (result.exit_code, " already done" in result.stderr) == (0, True)
        other = name.replace("out", "other")
        cli("extract", "corpus", "-o", other)
        assert read_output(Path(name)) == read_output(Path(other))

    @pytest.mark.parametrize("name", ["x.h5", "npy/"])
    def test_full_disk(self, cli: Cli, corpus: Corpus, read_output: ReadOutput, name: str) -> None:
        """A disk that is full is exit 5 and keeps what is done; with room the same command ends."""
        pytest.importorskip("resource")
        for k in range(12):
            corpus.add(f"{k:02}.wav", 0.2 + k % 3)
        args = ["extract", "corpus", "-o", name]
        limit = 100_000 if name == "x.h5" else 40_000
        setup = f"""
import resource
resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, resource.RLIM_INFINITY))
from melcli.pipeline import batching
batching.BATCH_INPUTS = batching.SEGMENT_INPUTS = 1
"""
        result = cli.run(*args, setup=setup)
        assert result.exit_code == 5
        assert "Error: " in result.stderr
        assert is_clean(result)
        result = cli(*args)
        assert result.exit_code == 0
        assert " already done" in result.stderr
        cli("extract", "corpus", "-o", f"other-{name}")
        assert read_output(Path(name)) == read_output(Path(f"other-{name}"))

    def test_dry_run_writes_nothing(self, cli: Cli, corpus: Corpus) -> None:
        """``--dry-run`` tells what would be done on stdout, and does not do it."""
        corpus.add_good()
        corpus.add_bytes("bad.wav", b"text, and no audio")
        result = cli("extract", "corpus", "-o", "x.h5", "--dry-run")
        assert result.exit_code == 0
        assert "6 inputs" in result.text
        assert "would fail: corpus/bad.wav" in result.text
        assert [path.name for path in Path().iterdir()] == ["corpus"]
        record = json.loads(cli("extract", "corpus", "--dry-run", "--json").text)
        assert (record["inputs"], record["problems"]) == (6, 1)

    def test_the_command_is_kept(self, cli: Cli, corpus: Corpus) -> None:
        """An output tells the command that made it."""
        corpus.add("a b.wav")
        assert cli.run("extract", "corpus/a b.wav", "-o", "x.h5").exit_code == 0
        with h5py.File("x.h5") as file:
            assert file.attrs["command"] == "melcli extract 'corpus/a b.wav' -o x.h5"
