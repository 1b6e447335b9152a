"""Corpora of real sound, made once and kept: clips short and long, WAV and FLAC, mono and stereo.

Whatever sound there is becomes one stream in an order that a seed decides, and is cut into clips;
when it ends it begins again. The same sources give the same files, bit for bit where the versions
of soxr and libsndfile are the same. Clip ``i`` never depends on how many clips there are.
"""

from __future__ import annotations

import glob
import hashlib
import itertools
import os
import random
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from benchmarks.measure import ROOT, tell

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

EXTENSIONS: Final = frozenset({".flac", ".mp3", ".oga", ".ogg", ".opus", ".wav"})

# Debian packages of sound, and where they put it: speech, syllables in thirty languages, music.
DEBIAN: Final = {
    "asterisk-core-sounds-en-wav": "/usr/share/asterisk/sounds",
    "klettres-data": "/usr/share/klettres",
    "wesnoth-music": "/usr/share/games/wesnoth/*/data/core/music",
}
EXAMPLES: Final = ROOT / "examples" / "audio"

_LINKS_IN_A_FOLDER = 1000
_RECIPE = 1
"""Counts up whenever the same sources would give other files."""


@dataclass(frozen=True)
class Sources:
    """What corpora are made from.

    Args:
        files: Recordings, in the order of the stream.
        about: Where they are from, in words.
    """

    files: tuple[Path, ...]
    about: str

    @property
    def digest(self) -> str:
        """Stands for the files: their names and sizes."""
        told = [f"{_RECIPE}", *(f"{path.name} {path.stat().st_size}" for path in self.files)]
        return hashlib.sha256("\n".join(told).encode()).hexdigest()[:12]


@dataclass(frozen=True)
class Kind:
    """One kind of clip.

    Args:
        name: Of its folder.
        title: In words.
        seconds: Of each clip.
        sample_rate: In Hz.
        n_channels: Of each clip.
        extension: With its dot; says the format.
    """

    name: str
    title: str
    seconds: float
    sample_rate: int
    n_channels: int
    extension: str


WAV = Kind("wav-10s", "10 s WAV, 16 kHz", 10, 16_000, 1, ".wav")
FLAC = Kind("flac-10s", "10 s FLAC, 16 kHz", 10, 16_000, 1, ".flac")
CLIPS = Kind("wav-1s", "1 s WAV, 16 kHz", 1, 16_000, 1, ".wav")
STEREO = Kind("stereo-10s", "10 s FLAC, 44.1 kHz stereo", 10, 44_100, 2, ".flac")


@dataclass(frozen=True)
class Corpus:
    """Clips of one kind that are on disk, in order."""

    kind: Kind
    files: tuple[Path, ...]

    @property
    def seconds(self) -> float:
        """Of audio."""
        return len(self.files) * self.kind.seconds

    def first(self, n_files: int) -> Corpus:
        """The same with only its first files."""
        return Corpus(self.kind, self.files[:n_files])


def find_sources(folders: Sequence[Path]) -> Sources:
    """The recordings in ``folders``; without any, of Debian's packages; else our own examples."""
    if folders:
        found = {str(folder.resolve().name): [folder] for folder in folders}
    else:
        debian = {name: [Path(p) for p in glob.glob(at)] for name, at in DEBIAN.items()}  # noqa: PTH207, the pattern is absolute
        found = {name: paths for name, paths in debian.items() if any(map(_recordings, paths))}
    found = found or {"melcli's own examples": [EXAMPLES]}
    files, told = [], []
    for name, paths in found.items():
        recordings = list(itertools.chain.from_iterable(map(_recordings, paths)))
        files += recordings
        told.append(f"{name} ({len(recordings):,} files)")
    if not files:
        raise SystemExit(f"no recording in {', '.join(map(str, folders))}")
    # Speech and music in turn, so that the first part of a corpus is like the whole.
    random.Random(0).shuffle(files)  # noqa: S311, an order, not a secret
    return Sources(tuple(files), ", ".join(told))


def make(cache: Path, sources: Sources, kind: Kind, n_files: int) -> Corpus:
    """Clips of a kind, taken from the cache or made now."""
    folder = cache / sources.digest / kind.name
    files = tuple(folder / f"{i // 1000:03}" / f"{i:06}{kind.extension}" for i in range(n_files))
    if not all(path.exists() for path in files):
        if kind is FLAC:
            _cut(kind, files, make(cache, sources, WAV, n_files).files)
        elif kind is CLIPS:
            pieces = -(-n_files * kind.seconds // WAV.seconds)
            _cut(kind, files, make(cache, sources, WAV, int(pieces)).files)
        else:
            _cut(kind, files, sources.files)
    return Corpus(kind, files)


def make_long(cache: Path, sources: Sources, stereo: Corpus, hours: float) -> Path:
    """One file of many hours, 44.1 kHz stereo FLAC: the clips of ``stereo`` over and over."""
    path = cache / sources.digest / f"long-{hours:g}h.flac"
    if not path.exists():
        _cut(
            Kind("", f"{hours:g} h FLAC, 44.1 kHz stereo", hours * 3600, 44_100, 2, ".flac"),
            [path],
            stereo.files,
        )
    return path


def make_links(cache: Path, sources: Sources, clips: Corpus, n_links: int) -> Path:
    """A folder of very many files that takes no room: hard links to ``clips``."""
    top = cache / sources.digest / f"links-{n_links}"
    for i in range(n_links):
        path = top / f"{i // _LINKS_IN_A_FOLDER:04}" / f"{i:07}.wav"
        if i % _LINKS_IN_A_FOLDER == 0:
            path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            os.link(clips.files[i % len(clips.files)], path)
    return top


def _recordings(folder: Path) -> list[Path]:
    found = (p for p in folder.rglob("*") if p.suffix.lower() in EXTENSIONS and p.is_file())
    return sorted(found)


def _cut(kind: Kind, files: Sequence[Path], sources: Iterable[Path]) -> None:
    """Cut in another process, whose memory then is not ours: see `measure`."""
    tell(f"making {len(files):,} x {kind.title}")
    shape = [str(kind.sample_rate), str(kind.n_channels), str(kind.seconds)]
    names = "\n".join([*map(str, files), "", *map(str, sources)])
    subprocess.run(
        [sys.executable, "-m", "benchmarks.cutting", *shape],
        cwd=ROOT, input=names, text=True, check=True,
    )  # fmt: skip
