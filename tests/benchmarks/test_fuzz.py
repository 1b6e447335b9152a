"""The fuzzer: the same damage from the same numbers, and nothing that goes by unnoticed."""

from __future__ import annotations

import io
import os
import signal
import time
from random import Random
from typing import TYPE_CHECKING, NoReturn

import pytest

from benchmarks import fuzz
from benchmarks.fuzz import Job, ReadPath, mutant, run, try_one
from benchmarks.fuzz_seeds import _with_checksum, joined_pages, pages, resealed, seeds
from melcli.audio.reading import read
from melcli.errors import AudioError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.fixture(scope="module")
def originals() -> dict[str, bytes]:
    """All recordings that are damaged."""
    return seeds()


def job(originals: dict[str, bytes], read_path: Callable[[Path, Random], int], files: int) -> Job:
    """A run with two workers."""
    return Job(1, files, 2, 1.0, originals, read_path)


def tell_nobody(_line: str) -> None:
    """Say nothing."""


def test_recordings_are_the_same_in_every_run(originals: dict[str, bytes]) -> None:
    """No date and no random serial number, or a number would stand for another file tomorrow."""
    time.sleep(1.1)
    assert seeds() == originals
    assert len(originals) > 200


def test_most_recordings_can_be_read(originals: dict[str, bytes], tmp_path: Path) -> None:
    """What nobody could read before it was damaged would try nothing."""
    n_read = 0
    for data in originals.values():
        (tmp_path / "a").write_bytes(data)
        try:
            read(tmp_path / "a")
        except AudioError:
            continue
        n_read += 1
    assert n_read > 170


def test_a_number_is_a_file(originals: dict[str, bytes]) -> None:
    """Whichever others were made before; and another seed is another file."""
    assert mutant(1, 77, originals) == mutant(1, 77, originals)
    made = {mutant(seed, number, originals)[1] for seed in (1, 2) for number in range(200)}
    assert len(made) > 390


def test_pages_come_back_with_their_checksums(originals: dict[str, bytes]) -> None:
    """The fuzzer's Ogg is Ogg: what libogg wrote has the checksum that is worked out here."""
    data = originals["ogg-vorbis-16000-1x30000"]
    assert joined_pages(pages(data), serial=1) == data
    page = pages(data)[2]
    spoilt = data[: data.index(page) + 99] + b"spoilt" + data[data.index(page) + 105 :]
    assert resealed(data) == data
    with pytest.raises(AudioError, match="fails its checksum"):
        read(io.BytesIO(spoilt))
    assert len(read(io.BytesIO(resealed(spoilt))).samples) == 30_000
    assert _with_checksum(page[:22] + bytes(4) + page[26:]) == page


def test_the_read_path_takes_real_damage(originals: dict[str, bytes], tmp_path: Path) -> None:
    """A few dozen files, each read or failed, none of them a fault."""
    real = job(originals, ReadPath(tmp_path), 60)
    outcomes = [try_one(real, number, tmp_path / "a") for number in range(60)]
    assert {outcome.verdict for outcome in outcomes} == {"read", "failed"}
    assert all(outcome.cause for outcome in outcomes if outcome.verdict == "failed")


def test_whatever_a_worker_does_is_counted(originals: dict[str, bytes], tmp_path: Path) -> None:
    """A crash, a hang and an exception: each is told with its number, and the run goes on."""
    numbers = {Random(f"1:{number}:read").random(): number for number in range(12)}  # noqa: S311

    def read_path(_path: Path, rng: Random) -> int:
        kind = numbers[rng.random()] % 6
        if kind == 0:
            os.kill(os.getpid(), signal.SIGSEGV)
        if kind == 1:
            time.sleep(60)
        if kind == 2:
            raise ZeroDivisionError
        if kind == 3:
            raise AudioError("is as expected", "a", "go on")
        if kind == 4:
            raise AudioError("has no remedy", "a")
        return 10**9

    tally = run(job(originals, read_path, 12), tmp_path, tell_nobody)
    assert tally.verdicts == {"death": 2, "hang": 2, "fault": 4, "failed": 2, "read": 2}
    assert len(tally.implausible) == 2
    assert sorted(number for number, *_ in tally.faults) == [0, 1, 2, 4, 6, 7, 8, 10]
    causes = dict.fromkeys(cause.strip().splitlines()[-1] for *_, cause in tally.faults)
    assert any("ZeroDivisionError" in cause for cause in causes)
    assert any("without cause or remedy" in cause for cause in causes)
    assert tally.causes == {"is as expected": 2}
    first = [cause.splitlines()[0] for *_, cause in tally.faults]
    assert {"killed by SIGSEGV", "took too long"} <= set(first)
    fuzz.keep(job(originals, read_path, 12), tally.faults, tmp_path / "kept")
    kept = sorted(path.suffix for path in (tmp_path / "kept").iterdir())
    assert kept == [".audio"] * len(tally.faults) + [".txt"] * len(tally.faults)


def test_a_worker_that_cannot_begin_is_no_run(
    originals: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise a broken fuzzer would find no faults, for ever."""

    def broken(*_args: object) -> NoReturn:
        raise OSError

    monkeypatch.setattr(fuzz, "_work", broken)
    with pytest.raises(RuntimeError, match="ended between two files: exit status 70"):
        run(job(originals, lambda _path, _rng: 1, 12), tmp_path, tell_nobody)
