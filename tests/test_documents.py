"""What README.md and docs/ tell people to type works, and prints what they say it prints."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
from typing import TYPE_CHECKING

import click
import pytest

from melcli.cli import cli as group
from tests.documents import ROOT, fenced
from tests.forking import programs
from tests.sessions import Step, is_printed, play, steps_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.sessions import Outcome

PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "examples" / "README.md"]
PAGES += sorted((ROOT / "docs").glob("*.md"))

# Whose Python is told to run under names that the page takes for given: tests/compat runs it.
PYTHON_ELSEWHERE = {"compat.md"}

STEPS = {
    page: [s for s in steps_of(page) if s.kind != "python" or page.name not in PYTHON_ELSEWHERE]
    for page in PAGES
}
COMMANDS = [step for steps in STEPS.values() for step in steps if step.kind == "command"]

# Why a command is not run here, by its first words. .ci/run is run before every commit.
NOT_RUN = {
    "make test": "is what runs this; run by .ci/run",
    "make check": "run by .ci/run",
    "make peers": "run by .ci/run",
    "make docs": "run by .ci/run",
    "make format": "rewrites the checkout",
    "make bench": "takes minutes, and says nothing about whether it is right",
    "make gpu": "needs a GPU; its tests run in `make test` where there is one",
    "python -m benchmarks.kill": "takes minutes; tests/cli/test_kill.py is the short form",
    "python -m benchmarks.fuzz": "takes minutes; tests/benchmarks/test_fuzz.py is the short form",
    "python -m benchmarks.safety": "takes minutes and 10 GB",
    "OMP_NUM_THREADS=1 python -m benchmarks.inversion": "needs recordings that are not ours",
    "JOB=$(sbatch": "needs SLURM; the script runs, its variables set by hand",
    "sbatch": "needs SLURM; the command that it wraps runs",
    "pip install .": "needs the network; make dist, which .ci/run runs, installs the wheel",
}

# Programs of others that a machine may lack; what they are told by, if that matters.
OTHERS = {"sox": "", "ffmpeg": "", "jq": "", "parallel": "GNU"}


@pytest.fixture(scope="session")
def session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Session]:
    """Where pages are played."""
    folder = tmp_path_factory.mktemp("programs")
    with programs(folder):
        yield Session(folder, tmp_path_factory)


class Session:
    """Plays each page once, when the first of its lines is asked for."""

    def __init__(self, folder: Path, factory: pytest.TempPathFactory) -> None:
        self.folder = folder
        self.factory = factory
        self.played: dict[Path, dict[Step, Outcome]] = {}

    def outcome(self, step: Step) -> Outcome | None:
        """How a step ended."""
        page = step.page
        if page not in self.played:
            steps = [step for step in STEPS[page] if not why_not_run(step)]
            self.played[page] = play(steps, self.factory.mktemp(page.stem), self.folder)
        return self.played[page].get(step)


def why_not_run(step: Step) -> str | None:
    """The reason that a step is left out for."""
    if step.kind == "command":
        return not_run(step.words) or missing_program(step.code)
    return None


def not_run(words: str) -> str | None:
    """The reason in the list above."""
    found = [first for first in NOT_RUN if re.match(rf"{re.escape(first)}(?!\S)", words)]
    return NOT_RUN[max(found, key=len)] if found else None


def missing_program(code: str) -> str | None:
    """Tell which program of others a command needs that is not here."""
    for name, told in OTHERS.items():
        if re.search(rf"(^|[|;&(]\s*){name}\s", code, re.MULTILINE):
            if not shutil.which(name):
                return f"needs {name}"
            version = subprocess.run([name, "--version"], capture_output=True, check=False).stdout
            if told.encode() not in version:
                return f"needs {told} {name}"
    return None


@pytest.mark.parametrize("step", [s for steps in STEPS.values() for s in steps], ids=str)
def test_a_line_works(step: Step, session: Session) -> None:
    """Each step of each page ends well, and prints what the page shows."""
    if reason := why_not_run(step):
        pytest.skip(reason)
    outcome = session.outcome(step)
    if outcome is None:
        pytest.fail(f"{step}: an earlier line ended the shell", pytrace=False)
    told = f"{step}: {step.code}\nprinted:\n{outcome.printed}"
    if outcome.status:
        pytest.fail(f"{told}exit status {outcome.status}", pytrace=False)
    if not is_printed(step.shown, outcome.printed):
        pytest.fail(f"{told}but the page shows:\n{step.shown}", pytrace=False)


@pytest.mark.parametrize("words", NOT_RUN)
def test_what_is_not_run_is_told_of(words: str) -> None:
    """What is left out stands in a document: the list does not grow stale."""
    assert [step for step in COMMANDS if step.words.startswith(words)]


@pytest.mark.parametrize("step", [s for s in COMMANDS if s.words.startswith("make ")], ids=str)
def test_make(step: Step) -> None:
    """Every target of make is there, and every variable."""
    makefile = (ROOT / "Makefile").read_text()
    for word in shlex.split(step.words)[1:]:
        name, is_variable, _ = word.partition("=")
        assert re.search(
            rf"^{name} ?(\?=|=)" if is_variable else rf"^{name}:", makefile, re.MULTILINE
        )


@pytest.mark.parametrize(
    "step", [s for s in COMMANDS if "python -m benchmarks." in s.words], ids=str
)
def test_benchmarks(step: Step) -> None:
    """Every benchmark that is named is there."""
    name = step.words.partition("python -m ")[2].split()[0]
    assert (ROOT / f"{name.replace('.', '/')}.py").is_file()


def test_what_ci_runs() -> None:
    """What is left out since .ci/run runs it, is run by it."""
    lines = (ROOT / ".ci" / "run").read_text().splitlines()
    run = {f"make {word}" for line in lines if line.startswith("make ") for word in line.split()}
    told = [words for words, reason in NOT_RUN.items() if "run by .ci/run" in reason]
    assert told
    assert [words for words in told if words not in run] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_commands_stand_where_they_are_run(page: Path) -> None:
    """A command that readers are told to type stands behind ``$`` in a block of ``console``."""
    files = {step.line for step in STEPS[page] if step.kind == "file"}
    for block in fenced(page):
        if block.language in {"console", "text", "python", "pycon"} or block.line in files:
            continue
        assert not re.search(r"^\W*(melcli|make|python|pip) ", block.text, re.MULTILINE), block


# Examples of the help texts, and whatever else the documents say that melcli takes


def examples() -> Iterator[tuple[str, str]]:
    """Every call of melcli in a help text, in a block, or in the middle of a sentence."""
    for path, command in commands(group):
        for lines in re.findall(r"^\x08\n((?:.+\n?)+)", command.help or "", re.MULTILINE):
            for line in lines.splitlines():
                yield " ".join(["melcli", *path]), line.strip()
    for page in PAGES:
        prose = page.read_text(encoding="utf-8")
        for block in fenced(page):
            prose = prose.replace(block.text, "\n")
        for found in re.findall(r"`(melcli [^`]+)`", prose):
            first, *others = " ".join(found.split()).split(" / ")
            yield page.name, first
            for other in others:  # `melcli scaler show / merge`
                yield page.name, f"{first.rpartition(' ')[0]} {other}"
    for step in (step for steps in STEPS.values() for step in steps):
        if "melcli " in step.code and (step.kind == "command" or step.code.startswith("#!")):
            yield str(step), step.code


def commands(command: click.Command, *path: str) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """All commands below one, with the words that call them."""
    yield path, command
    if isinstance(command, click.Group):
        for name, inner in command.commands.items():
            yield from commands(inner, *path, name)


def calls(code: str) -> Iterator[list[str]]:
    """The words of each call of melcli in a line of shell."""
    words = shlex.shlex(code, posix=True, punctuation_chars=True)
    words.commenters = "#"
    words.wordchars += "{}$!%,@:"
    call: list[str] | None = None
    for word in words:
        if re.fullmatch(r"[;&|()<>\n]+", word):
            if call:
                yield call
            call = None
        elif call is not None:
            call.append(word)
        elif word == "melcli":
            call = []
        elif "melcli " in word:  # in quotes, for another program or $()
            yield from calls(word.removeprefix("$"))
    if call:
        yield call


def parse(command: click.Command, words: list[str], context: click.Context | None = None) -> None:
    """Parse as click would, but look at no file.

    Raises:
        click.UsageError: Words that the command does not know.
    """
    name = command.name or "melcli"
    context = click.Context(command, context, info_name=name, **command.context_settings)
    values, left, _ = command.make_parser(context).parse_args(list(words))
    for option in command.params:
        if isinstance(option.type, click.Choice) and option.name in values:
            option.type.convert(values[option.name], option, context)
    if isinstance(command, click.Group):
        if left:
            _, inner, left = command.resolve_command(context, left)
            assert inner is not None
            parse(inner, left, context)
    elif left:
        raise click.UsageError(f"too many words: {left}", context)


@pytest.mark.parametrize(("place", "code"), sorted(set(examples())))
def test_an_example_is_understood(place: str, code: str) -> None:
    """Each call of melcli has a command and options that exist, wherever it stands."""
    found = list(calls(code))
    assert found, place
    for words in found:
        try:
            parse(group, words)
        except click.BadOptionUsage:  # a sentence that names an option without its value
            assert words[-1].startswith("-"), code
            assert " " not in place, code


# What the tests above compare with, tested itself


@pytest.mark.parametrize(
    ("shown", "printed", "is_so"),
    [
        ("", "whatever", True),
        ("10 done", "10 done\n", True),
        ("10 done", "11 done\n", False),
        ("10 done", "10 done\nand a warning\n", False),
        ("done in 0.3 s (81 x real time)", "done in 12.5 s (1,212 x real time)", True),
        ("23.1 s of audio in 0.3 s", "23.2 s of audio in 0.3 s", False),
        ("x.h5  528.4 kB", "x.h5  1.4 MB", True),
        ("a\n...\nd", "a\nb\nc\nd", True),
        ("a\n...\nd", "a\nd", True),
        ("a\n...", "a\nb\nc", True),
        ("...\nd", "a\nd\ne", False),
        ("digest 3e40...", "digest 3e4072a1", True),
        ("digest 3e40...\nb", "digest 3e40\nc\nb", False),
    ],
)
def test_is_printed(shown: str, printed: str, is_so: bool) -> None:  # noqa: FBT001, of a table
    """Counts are compared, times are not."""
    assert is_printed(shown, printed) is is_so


def test_calls() -> None:
    """Words of the shell are not words of melcli."""
    code = "sox a.flac -t wav - | melcli extract - -o - > x.npy; melcli info 'a b' --json | jq .x"
    assert list(calls(code)) == [["extract", "-", "-o", "-"], ["info", "a b", "--json"]]


@pytest.mark.parametrize(
    "code",
    ["melcli extrakt a", "melcli info a b", "melcli info --jsn a", "melcli invert --method x"],
)
def test_a_wrong_example_is_noticed(code: str) -> None:
    """A word that melcli does not know."""
    (words,) = calls(code)
    with pytest.raises(click.UsageError):
        parse(group, words)


def test_steps(tmp_path: Path) -> None:
    """A page is read as its docstring says."""
    page = tmp_path / "page.md"
    page.write_text(
        "<!-- setup: mkdir a -->\n```console\n$ one \\\n    two  # why\nshown\n$ three\n```\n"
        "<!-- file: b.toml -->\n```toml\nx = 1\n```\n"
    )
    setup, first, second, file = steps_of(page)
    assert (setup.kind, setup.code) == ("setup", "mkdir a")
    assert (first.words, first.shown, first.line) == ("one \\\n    two", "shown", 3)
    assert (second.code, second.shown) == ("three", "")
    assert (file.kind, file.name, file.code) == ("file", "b.toml", "x = 1\n")
    page.write_text("<!-- file: b.toml -->\ntext\n")
    with pytest.raises(ValueError, match=r"b\.toml"):
        steps_of(page)
