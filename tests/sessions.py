"""Documents as sessions in a shell: what a page tells to type, and what came of it.

A page is typed from top to bottom into one bash, in a folder where there are recordings. Commands
are what follows ``$ `` in blocks of ``console``; what follows them there is what they print.
Blocks of ``python`` are programs, those of ``pycon`` go on in one interpreter and are compared as
doctests are. Readers do not see these, right above a block::

    <!-- setup: mkdir wavs -->         a command to be run first
    <!-- file: mine.toml -->           the block is a file of this name
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from tests.documents import ROOT, Block, fenced

if TYPE_CHECKING:
    from collections.abc import Iterator

_TOLD = re.compile(r"^<!-- *(setup|file):\s*(.*?)\s*-->", re.DOTALL | re.MULTILINE)

# What is another number in every run, or on another machine: how long, how fast, how many bytes.
_MEASURED = re.compile(
    r"in [\d.,]+ ?(s|min|h)\b( \([\d:]+\))?|[\d.,]+ ?(x real time|s/s)|[\d.,]+ ?([kMG]?B|[kMG]iB)\b"
    r"|\b[\d:.T+-]{19,}"
)


@dataclass(frozen=True)
class Step:
    """One thing that is done on a page.

    Args:
        kind: A command that readers see, one that they do not, a file to write, a program in
            Python, or what is typed into its interpreter.
        page: The document.
        line: Where it stands, from 1.
        code: The command, or what the file holds.
        shown: What the page says that it prints; empty if it does not say.
        name: Of the file.
    """

    kind: Literal["command", "setup", "file", "python", "pycon"]
    page: Path
    line: int
    code: str
    shown: str = ""
    name: str = ""

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"

    @property
    def words(self) -> str:
        """The command without the remark behind it."""
        return re.split(r"\s+# ", self.code)[0]


@dataclass(frozen=True)
class Outcome:
    """How a step ended: its exit status, and what it printed on either stream."""

    status: int
    printed: str


def steps_of(page: Path) -> list[Step]:
    """All steps of a page, in order."""
    blocks = fenced(page)
    text = page.read_text(encoding="utf-8")
    steps: list[Step] = []
    files: dict[int, str] = {}
    for found in _TOLD.finditer(text):
        line = text.count("\n", 0, found.end()) + 1
        if any(block.line <= line < block.line + block.text.count("\n") for block in blocks):
            continue
        if found[1] == "setup":
            steps.append(Step("setup", page, line, found[2]))
        else:
            files[line + 2] = found[2]  # the fence between them
    for block in blocks:
        if block.line in files:
            name = files.pop(block.line)
            steps.append(Step("file", page, block.line, block.text, name=name))
        elif block.language == "console":
            steps.extend(_commands(block))
        elif block.language == "python":
            steps.append(Step("python", page, block.line, block.text))
        elif block.language == "pycon":
            steps.append(Step("pycon", page, block.line, block.text))
    if files:
        raise ValueError(f"{page}: not right above a block: {', '.join(files.values())}")
    return sorted(steps, key=lambda step: step.line)


def _commands(block: Block) -> Iterator[Step]:
    """Each with the lines that it goes on in: after a backslash, or those that begin with ``>``."""
    lines = list(enumerate(block.text.splitlines(), start=block.line))
    while lines:
        number, line = lines.pop(0)
        if not line.startswith("$ "):
            raise ValueError(f"{block.page}:{number}: printed by no command: {line}")
        code, shown = line[2:], []
        while lines and (code.endswith("\\") or lines[0][1].startswith("> ")):
            code += "\n" + lines.pop(0)[1].removeprefix("> ")
        while lines and not lines[0][1].startswith("$ "):
            shown.append(lines.pop(0)[1])
        yield Step("command", block.page, number, code, "\n".join(shown))


def is_printed(shown: str, printed: str) -> bool:
    """Tell whether a command printed what is shown.

    ``...`` stands for anything within a line, and on a line of its own for any lines. Times, speeds
    and sizes may be others.
    """
    if not shown.strip():
        return True
    pattern = ""
    for line in shown.rstrip().splitlines():
        if line.strip() == "...":
            pattern += r"(?:.*\n)*?"
        else:
            parts = _MEASURED.sub("<measured>", line.rstrip()).split("...")
            pattern += ".*?".join(map(re.escape, parts)) + r"\s*\n"
    text = _MEASURED.sub("<measured>", printed.rstrip())
    return re.fullmatch(pattern, f"{text}\n") is not None


def play(steps: list[Step], folder: Path, programs: Path) -> dict[Step, Outcome]:
    """Do the steps of a page in one shell; those that it did not come to have no outcome.

    Args:
        steps: In order; those of Python are run by ``melcli-python``.
        folder: Becomes what a reader is thought to have: a checkout, with recordings of their own.
        programs: Comes first on PATH.
    """
    _furnish(folder, programs)
    session = folder.with_name(f"{folder.name}.session")
    session.mkdir()
    lines = ["set -o pipefail"]
    imports = ""
    for number, step in enumerate(steps):
        code = session / f"{number}.code"
        code.write_text(imports + step.code if step.kind == "pycon" else step.code, "utf-8")
        if step.kind == "pycon":
            imports += "".join(re.findall(r"^>>> (?:import|from) .*\n", step.code, re.MULTILINE))
        place = shlex.quote(step.name)
        run = {
            "file": f'mkdir -p "$(dirname {place})"; cp {code} {place}',
            "python": f"melcli-python {code}",
            "pycon": f"melcli-python -m doctest -o ELLIPSIS {code}",
        }.get(step.kind, f'eval "$(<{code})"')
        lines.append(f"{{ {run}; }} </dev/null >{session}/{number}.printed 2>&1")
        lines.append(f"echo $? >{session}/{number}.status")
    (session / "script").write_text("\n".join(lines))
    found = [str(programs), str(Path(sys.executable).parent), os.environ["PATH"]]
    told = {"PATH": os.pathsep.join(found), "HOME": str(session), "LC_ALL": "C.UTF-8"}
    subprocess.run(
        ["bash", session / "script"],
        cwd=folder, env={**os.environ, **told}, check=True, timeout=300,
    )  # fmt: skip
    outcomes = {}
    for number, step in enumerate(steps):
        status = session / f"{number}.status"
        if status.exists():
            printed = (session / f"{number}.printed").read_bytes().decode(errors="replace")
            outcomes[step] = Outcome(int(status.read_text()), printed)
    return outcomes


def _furnish(folder: Path, programs: Path) -> None:
    """Make a folder look like a checkout where somebody has a corpus."""
    examples = ROOT / "examples" / "audio"
    shutil.copytree(ROOT / "examples", folder / "examples")
    shutil.copytree(examples, folder / "corpus", ignore=shutil.ignore_patterns("*.md"))
    shutil.copy(examples / "speech" / "vowels.wav", folder / "a.wav")
    shutil.copy(examples / "noise" / "surf.flac", folder / "speech.flac")
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, folder)
    (folder / ".venv").mkdir()
    (folder / ".venv" / "bin").symlink_to(programs)
    (folder / ".venv" / "installed").touch()  # younger than those: make has nothing to install
