"""Builds what is published, and tries it where nothing else is: ``make dist``.

The sdist holds what git holds, and the wheel is built from it. The wheel is installed into an
environment of its own, outside the checkout, and does there what the README begins with.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import wave
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
DIST = ROOT / "dist"
CONFIGS = sorted((ROOT / "configs").glob("*.toml"))
DEVELOPMENT = {"build", "hypothesis", "librosa", "matplotlib", "mypy", "pytest", "ruff", "scipy"}

_ASK = """
from importlib import metadata
import melcli
print(melcli.__file__, metadata.version("melcli"), sep="\\n")
print(metadata.metadata("melcli")["Description-Content-Type"])
print(*(found.name for found in metadata.distributions()), sep="\\n")
"""

_ENVIRONMENT = {
    name: value
    for name, value in os.environ.items()
    if not name.startswith(("PYTHON", "MELCLI_", "VIRTUAL_ENV"))
}


def main() -> None:
    """Build, look inside, install, and run."""
    shutil.rmtree(DIST, ignore_errors=True)
    _run(sys.executable, "-m", "build", "--outdir", str(DIST), str(ROOT))
    [sdist], [wheel] = DIST.glob("*.tar.gz"), DIST.glob("*.whl")
    _check_sdist(sdist)
    _check_wheel(wheel)
    with tempfile.TemporaryDirectory(prefix="melcli-dist-") as folder:
        _try(_installed(wheel, Path(folder)), Path(folder), wheel.name.split("-")[1])
    sys.stdout.write(f"good: {sdist.relative_to(ROOT)}, {wheel.relative_to(ROOT)}\n")


def _check_sdist(sdist: Path) -> None:
    with tarfile.open(sdist) as archive:
        held = {name.partition("/")[2] for name in archive.getnames()} - {"PKG-INFO"}
    if not (ROOT / ".git").exists() or not shutil.which("git"):
        return
    wanted = _listed()
    new = _listed("--others", "--exclude-standard")  # not committed yet
    _expect(sorted(held - wanted - new), [], "the sdist holds what git does not")
    _expect(sorted(wanted - held), [], "the sdist lacks, see pyproject.toml")


def _listed(*which: str) -> set[str]:
    """The files of the checkout that git knows, wherever and by whom it was cloned."""
    git = ("git", "-c", "safe.directory=*", "-C", str(ROOT), "ls-files", "-z")
    return {name for name in _run(*git, *which).split("\0") if (ROOT / name).is_file()}


def _check_wheel(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        held = set(archive.namelist())
    tops = {name.partition("/")[0] for name in held}
    _expect(tops, {"melcli", f"{wheel.name.rpartition('-py3')[0]}.dist-info"}, "the wheel holds")
    configs = {f"melcli/configs/{path.name}" for path in CONFIGS}
    _expect(sorted({*configs, "melcli/py.typed"} - held), [], "the wheel lacks")


def _installed(wheel: Path, folder: Path) -> Path:
    """The folder of programs of a new environment that holds the wheel and what it needs."""
    _run(sys.executable, "-m", "venv", "--without-pip", str(folder / "venv"))
    programs = folder / "venv" / ("Scripts" if os.name == "nt" else "bin")
    install = (
        *(sys.executable, "-m", "pip", "--python", str(programs / "python"), "install"),
        *("--quiet", "--no-compile", "--constraint", str(ROOT / "constraints.txt")),
    )
    _run(*install, "torch")  # first, pinned, as the Makefile does
    _run(*install, str(wheel))
    return programs


def _try(programs: Path, folder: Path, version: str) -> None:
    melcli, python = str(programs / "melcli"), str(programs / "python")
    told = f"melcli, version {version}\n"
    _expect(_run(melcli, "--version", cwd=folder), told, "melcli --version")
    _expect(_run(python, "-m", "melcli", "--version", cwd=folder), told, "python -m melcli")
    place, known, readme, *packages = _run(python, "-c", _ASK, cwd=folder).splitlines()
    if not Path(place).is_relative_to(folder.resolve()):
        sys.exit(f"make dist: not what was installed: {place}")
    _expect((known, readme), (version, "text/markdown"), "the metadata say")
    _expect(sorted(DEVELOPMENT.intersection(map(str.lower, packages))), [], "nothing needs")

    with wave.open(str(folder / "tone.wav"), "wb") as audio:
        audio.setparams((1, 2, 16_000, 0, "NONE", ""))
        audio.writeframes(bytes(range(256)) * 125)  # one second
    _run(melcli, "extract", "tone.wav", "-o", "mels.h5", "--config", "whisper-80", cwd=folder)
    record = json.loads(_run(melcli, "info", "mels.h5", "--json", cwd=folder))
    _expect((record["items"], record["row_shape"], record["audio_seconds"]), (1, [80], 1.0), "info")
    names = {
        line.split(" ")[0] for line in _run(melcli, "configs", "list", cwd=folder).splitlines()
    }
    _expect(sorted({path.stem for path in CONFIGS} - names), [], "configs list lacks")


def _run(*command: str, cwd: Path | None = None) -> str:
    """What a command prints; its errors end this script, told."""
    done = subprocess.run(
        command,
        cwd=cwd,
        env=_ENVIRONMENT,
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=False,
    )
    if done.returncode:
        sys.exit(f"{' '.join(command)}\n{done.stdout}{done.stderr}")
    return done.stdout


def _expect(found: object, wanted: object, what: str) -> None:
    if found != wanted:
        sys.exit(f"make dist: {what}: {found}" + (f", not {wanted}" if wanted else ""))


if __name__ == "__main__":
    main()
