"""What all tests share: seeded noise, corpora of real files, the command line, the devices."""

from __future__ import annotations

import os
import subprocess
import sys
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np
import pytest
import soundfile
from click.testing import CliRunner
from hypothesis import settings

import melcli

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

# Whatever a runner of the tests has in the environment is no setting of theirs. Unbuffered, a pipe
# would be another kind of stream than users have; below another make, make tells more.
_OTHERS = ("MELCLI_", "PYTHONUNBUFFERED", "MAKEFLAGS", "MAKELEVEL", "MFLAGS")
for _name in [name for name in os.environ if name.startswith(_OTHERS)]:
    del os.environ[_name]

# How long an example takes says nothing about whether it is right.
settings.register_profile("untimed", settings(), deadline=None)
settings.load_profile("untimed")

_PACKAGE = Path(melcli.__file__).parents[1]
_MAIN = "from melcli.cli import main\nmain()\n"


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip what needs a GPU where there is none."""
    if item.get_closest_marker("gpu"):
        import torch

        if not torch.cuda.is_available():
            pytest.skip("needs a CUDA device")


@pytest.fixture(params=["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
def device(request: pytest.FixtureRequest) -> str:
    """Each device there is."""
    return str(request.param)


@pytest.fixture
def rng() -> np.random.Generator:
    """The same random numbers in every run."""
    return np.random.default_rng(seed=20_240_601)


def tone(
    frequency: float, n_samples: int, sample_rate: int = 16_000, scale: float = 0.5
) -> NDArray[np.float32]:
    """A sine, ``(n_samples,)``."""
    phase = 2 * np.pi * frequency * np.arange(n_samples) / sample_rate
    return (scale * np.sin(phase)).astype(np.float32)


class Corpus:
    """A folder of made-up recordings; what each holds follows from its name."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def samples(
        self, name: str, seconds: float = 0.2, sample_rate: int = 16_000, n_channels: int = 1
    ) -> NDArray[np.float32]:
        """A tone in noise, ``(n_samples, n_channels)``: another one for each name and channel."""
        rng = np.random.default_rng(zlib.crc32(name.encode(errors="surrogateescape")))
        n_samples = round(seconds * sample_rate)
        noise = rng.normal(scale=0.05, size=(n_samples, n_channels)).astype(np.float32)
        for channel in range(n_channels):
            noise[:, channel] += tone(rng.uniform(100, 2000), n_samples, sample_rate, 0.3)
        return noise.clip(-1, 1)

    def add(
        self,
        name: str,
        seconds: float = 0.2,
        sample_rate: int = 16_000,
        n_channels: int = 1,
        **how: Any,
    ) -> Path:
        """Write one as its extension says; ``how`` goes to soundfile."""
        samples = self.samples(name, seconds, sample_rate, n_channels)
        return self.add_samples(name, samples, sample_rate, **how)

    def add_samples(
        self, name: str, samples: NDArray[Any], sample_rate: int = 16_000, **how: Any
    ) -> Path:
        """Write these samples."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix == ".opus":
            how = {"format": "OGG", "subtype": "OPUS"} | how
        soundfile.write(os.fsencode(path), samples, sample_rate, **_with_format(path, how))
        return path

    def add_bytes(self, name: str, data: bytes) -> Path:
        """Write a file that soundfile would not."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        return path

    def cut(self, name: str, seconds: float = 1.0) -> Path:
        """Write one, and cut its file in the middle."""
        path = self.add(name, seconds)
        data = path.read_bytes()
        path.write_bytes(data[: len(data) // 2])
        return path

    def add_good(self) -> list[str]:
        """Write one of each common format; their ids, in order."""
        self.add("a/one.wav")
        self.add("a/two.flac", 0.3, 22_050, 2)
        self.add("b.ogg", 0.25)
        self.add("c.mp3", 0.4)
        self.add("d.opus", 0.3)
        return ["a/one.wav", "a/two.flac", "b.ogg", "c.mp3", "d.opus"]


def _with_format(path: Path, how: dict[str, Any]) -> dict[str, Any]:
    # From a name in bytes soundfile cannot tell the format.
    formats = {".mp3": "MP3", ".ogg": "OGG", ".flac": "FLAC", ".wav": "WAV"}
    return {"format": formats.get(path.suffix, path.suffix.lstrip(".").upper())} | how


@pytest.fixture
def corpus(tmp_path: Path) -> Corpus:
    """An empty corpus in ``tmp_path / "corpus"``."""
    return Corpus(tmp_path / "corpus")


@pytest.fixture(scope="session")
def new_corpus() -> type[Corpus]:
    """For corpora that outlive a test: a function from a folder to a corpus in it."""
    return Corpus


@dataclass(frozen=True)
class Result:
    """What a command left: its exit code and its two streams."""

    exit_code: int
    stdout: bytes
    stderr: str

    @property
    def text(self) -> str:
        """Standard output as text."""
        return self.stdout.decode()


class Cli:
    """The command line, in this process or in one of its own; ``folder`` is its working folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __call__(
        self, *args: object, stdin: bytes = b"", env: Mapping[str, str] | None = None
    ) -> Result:
        """Run it in this process."""
        from melcli.cli import cli

        result = CliRunner().invoke(
            cli, [os.fspath(arg) if isinstance(arg, Path) else str(arg) for arg in args],
            input=stdin, env=env, prog_name="melcli",
        )  # fmt: skip
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return Result(result.exit_code, result.stdout_bytes, result.stderr)

    def start(self, *args: object, setup: str = "", **how: Any) -> subprocess.Popen[bytes]:
        """Start it in a process of its own, once ``setup``, which is Python, has run there."""
        own = ["-c", f"{setup}\n{_MAIN}"] if setup else ["-m", "melcli"]
        options: dict[str, Any] = {
            "stdin": subprocess.DEVNULL,
            "stdout": subprocess.PIPE,
            "stderr": subprocess.PIPE,
            "cwd": self.folder,
            "env": {**os.environ, "PYTHONPATH": str(_PACKAGE)},
        }
        process: subprocess.Popen[bytes] = subprocess.Popen(
            [sys.executable, *own, *map(str, args)], **(options | how)
        )
        return process

    def run(self, *args: object, setup: str = "", **how: Any) -> Result:
        """Run it in a process of its own, to its end."""
        data = how.pop("input", None)
        if data is not None:
            how["stdin"] = subprocess.PIPE
        with self.start(*args, setup=setup, **how) as process:
            stdout, stderr = process.communicate(data, timeout=120)
        return Result(process.returncode, stdout or b"", (stderr or b"").decode())

    def run_python(self, code: str) -> Result:
        """Run some Python in a process of its own."""
        env = {**os.environ, "PYTHONPATH": str(_PACKAGE)}
        done = subprocess.run(
            [sys.executable, "-c", code],
            cwd=self.folder, env=env, capture_output=True, check=False, timeout=120,
        )  # fmt: skip
        return Result(done.returncode, done.stdout, done.stderr.decode())


@pytest.fixture
def cli(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cli:
    """The command line, with ``tmp_path`` as the working folder."""
    monkeypatch.chdir(tmp_path)
    return Cli(tmp_path)


@pytest.fixture(scope="session")
def read_output() -> ReadOutput:
    """A function that reads all of an output but when and by what command it was begun."""
    return ReadOutput()


class ReadOutput:
    """Reads an output of either kind without melcli, as a mapping from names to contents."""

    def __call__(self, path: Path) -> dict[str, Any]:
        """All datasets and attributes, or all files, but for the command and the date."""
        return self._hdf5(path) if path.is_file() else self._folder(path)

    @staticmethod
    def _hdf5(path: Path) -> dict[str, Any]:
        found: dict[str, Any] = {}

        def visit(name: str, thing: h5py.Dataset | h5py.Group) -> None:
            if isinstance(thing, h5py.Dataset):
                found[name] = thing[()].tolist() if thing.dtype.kind == "O" else thing[()].tobytes()

        with h5py.File(path) as file:
            file.visititems(visit)
            for name, value in file.attrs.items():
                if name not in {"command", "created"}:
                    found[f"@{name}"] = value if isinstance(value, str) else list(np.ravel(value))
        return found

    @staticmethod
    def _folder(path: Path) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for file in sorted(path.rglob("*")):
            if file.is_file():
                lines = file.read_bytes().splitlines(keepends=True)
                told = (b"command = ", b"created = ")
                is_settings = file.name == "melcli.toml"
                kept = [line for line in lines if not (is_settings and line.startswith(told))]
                found[str(file.relative_to(path))] = b"".join(kept)
        return found
