"""The package as a whole: its names, its errors, and what it leaves unloaded."""

from __future__ import annotations

import pickle
import re
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import melcli
from melcli import errors

if TYPE_CHECKING:
    from tests.conftest import Cli, Corpus

ROOT = Path(melcli.__file__).parents[1]
HEAVY = ("torch", "numpy", "h5py", "soundfile", "soxr")


@pytest.mark.parametrize("name", melcli.__all__)
def test_public_names(name: str) -> None:
    """Every public name can be had, and is documented."""
    assert getattr(melcli, name).__doc__
    assert name in dir(melcli)


def test_homes_are_the_public_names() -> None:
    """A name is public if, and only if, it is known where it lives."""
    assert sorted(melcli._HOMES) == sorted(melcli.__all__)


def test_one_version() -> None:
    """The citation file says the version that the package says; the changelog is as new."""
    lines = (ROOT / "CITATION.cff").read_text(encoding="utf-8").splitlines()
    fields = dict(line.split(": ", 1) for line in lines if re.match(r"[\w-]+: ", line))
    assert (fields["version"], fields["title"]) == (melcli.__version__, "melcli")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert (project["name"], project["license"]) == (fields["title"], fields["license"])
    assert "version" not in project  # hatchling takes it from the package
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    newest = re.findall(r"^## \[?([\w.]+)", changelog, re.MULTILINE)[0]
    assert newest in {"Unreleased", melcli.__version__}


def test_unknown_name() -> None:
    """A name that melcli has not is an AttributeError, as of any module."""
    with pytest.raises(AttributeError, match="no attribute 'extrakt'"):
        melcli.extrakt  # type: ignore[attr-defined]  # noqa: B018


@pytest.mark.parametrize(
    ("error", "builtin", "exit_code"),
    [
        (errors.UsageError, ValueError, 2),
        (errors.ConfigError, ValueError, 2),
        (errors.NoInputError, LookupError, 3),
        (errors.AudioError, OSError, 1),
        (errors.StoreError, OSError, 4),
        (errors.DeviceError, RuntimeError, 5),
    ],
)
def test_errors(error: type[errors.MelcliError], builtin: type[Exception], exit_code: int) -> None:
    """Each error is the builtin a caller expects, has its exit code, and comes home whole."""
    raised = error("is full", "disk", "buy another")
    assert isinstance(raised, builtin)
    assert raised.exit_code == exit_code
    back = pickle.loads(pickle.dumps(raised))  # noqa: S301, what was pickled a moment ago
    assert (type(back), back.cause, back.path, back.remedy) == (
        error,
        "is full",
        "disk",
        "buy another",
    )
    assert str(back) == "disk: is full"
    assert str(error("is full")) == "is full"


def _loaded_by(cli: Cli, code: str) -> set[str]:
    """Which of the heavy libraries are loaded once ``code`` has run in a fresh process."""
    lines = [
        "import contextlib, io, sys",
        code,
        f"print(*[n for n in {HEAVY!r} if n in sys.modules])",
    ]
    result = cli.run_python("\n".join(lines))
    assert result.exit_code == 0, result.stderr
    return set(result.text.split())


def test_import_is_light(cli: Cli) -> None:
    """``import melcli`` brings in none of the libraries that are slow to load."""
    assert _loaded_by(cli, "import melcli; melcli.__version__; dir(melcli)") == set()


@pytest.mark.parametrize(
    "args",
    [["--help"], ["--version"], ["extract", "--help"], ["info", "--help"], ["configs", "list"]],
)
def test_help_is_light(cli: Cli, args: list[str]) -> None:
    """Help and the list of front ends come without waiting for torch, NumPy, h5py or soundfile."""
    code = f"""
from melcli.cli import cli
with contextlib.redirect_stdout(io.StringIO()):
    cli({args!r}, standalone_mode=False)
"""
    assert _loaded_by(cli, code) == set()


def test_dry_run_is_light(cli: Cli, corpus: Corpus) -> None:
    """``--dry-run`` reads headers, and does not wait for torch."""
    corpus.add_good()
    code = """
from melcli.cli import cli
with contextlib.redirect_stdout(io.StringIO()):
    cli(["extract", "corpus", "-o", "x.h5", "--dry-run"], standalone_mode=False)
"""
    loaded = _loaded_by(cli, code)
    assert "torch" not in loaded
    assert "soundfile" in loaded  # so that this test is known to look at a run that read headers
