"""Opening files: what is no regular file, and what cannot be opened."""

from __future__ import annotations

import io
import os
from pathlib import Path

import pytest

from melcli.audio import sources
from melcli.audio.sources import Source
from melcli.errors import AudioError


def test_a_folder_is_refused(tmp_path: Path) -> None:
    """A folder opens like a file, and is not one."""
    with pytest.raises(AudioError, match="is a folder, not a regular file"):
        Source(tmp_path)


def test_a_named_pipe_is_refused_at_once(tmp_path: Path) -> None:
    """A named pipe without a writer never makes a run wait."""
    os.mkfifo(tmp_path / "pipe.wav")
    with pytest.raises(AudioError, match="is a named pipe") as caught:
        Source(tmp_path / "pipe.wav")
    assert caught.value.remedy == "copy its data to a file first"


def test_a_device_is_refused() -> None:
    """A device has no end."""
    with pytest.raises(AudioError, match="is a device"):
        Source("/dev/zero")


def test_a_missing_file_and_a_dangling_link_are_told_apart(tmp_path: Path) -> None:
    """Who follows links sees the link, and wonders."""
    with pytest.raises(AudioError, match=r"a\.wav: does not exist"):
        Source(tmp_path / "a.wav")
    (tmp_path / "b.wav").symlink_to(tmp_path / "a.wav")
    with pytest.raises(AudioError, match="is a link to a file that does not exist"):
        Source(tmp_path / "b.wav")
    with pytest.raises(AudioError, match="is a link to a file that does not exist"):
        Source(os.fsencode(tmp_path / "b.wav"))


def test_a_loop_of_links_and_an_impossible_name_are_errors_of_ours(tmp_path: Path) -> None:
    """Whatever the operating system says reaches the report, never a traceback."""
    (tmp_path / "loop.wav").symlink_to(tmp_path / "loop.wav")
    with pytest.raises(AudioError, match="cannot be read"):
        Source(tmp_path / "loop.wav")
    with pytest.raises(AudioError, match=r"cannot be read .*null"):
        Source("a\0.wav")


def test_a_file_without_permission_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that may not be read is that file's failure, with the remedy."""

    def deny(*_: object) -> int:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "open", deny)
    with pytest.raises(AudioError, match="permission denied") as caught:
        Source(tmp_path / "a.wav")
    assert "chmod +r" in str(caught.value.remedy)


def test_an_empty_file_is_refused(tmp_path: Path) -> None:
    """Zero bytes are not a recording; the descriptor is not left open."""
    (tmp_path / "a.wav").touch()
    before = len(list(Path("/proc/self/fd").iterdir()))
    with pytest.raises(AudioError, match="is empty"):
        Source(tmp_path / "a.wav")
    with pytest.raises(AudioError, match="stream: is empty"):
        Source(io.BytesIO())
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_a_name_that_is_not_utf8_can_be_opened_and_printed(tmp_path: Path) -> None:
    """Old corpora hold names in Latin-1."""
    path = os.fsencode(tmp_path) + b"/caf\xe9.wav"
    with open(path, "wb") as file:  # noqa: PTH123  (a Path holds no bytes)
        file.write(b"x")
    source = Source(path)
    assert source.pread(10, 0) == b"x"
    assert source.name.endswith(r"/caf\xe9.wav")
    source.close()


def test_a_stream_that_cannot_seek_is_refused_with_the_remedy() -> None:
    """Nothing is read from a stream that cannot be read again."""

    class Pipe(io.BytesIO):
        def seekable(self) -> bool:
            return False

    with pytest.raises(AudioError, match="cannot be read at any place") as caught:
        Source(Pipe(b"RIFF"), name="stdin")
    assert "spool" in str(caught.value.remedy)
    assert caught.value.path == "stdin"


def test_a_disk_error_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A failing disk is not a short file."""
    (tmp_path / "a.wav").write_bytes(b"RIFF")
    source = Source(tmp_path / "a.wav")

    def fail(*_: object) -> bytes:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "pread", fail)
    with pytest.raises(AudioError, match=r"cannot be read \(Input/output error\)"):
        source.pread(4, 0)
    source.close()


@pytest.mark.parametrize("n_bytes", [0, 10, 3 * 2**20])
def test_spool_copies_the_whole_stream(n_bytes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """In memory or in a file, the copy is the stream, at its start."""
    monkeypatch.setattr(sources, "SPOOL_BYTES", 2**20)
    data = bytes(range(256)) * (n_bytes // 256) + b"x" * (n_bytes % 256)
    with sources.spool(io.BytesIO(data)) as copy:
        assert copy.seekable()
        assert copy.read() == data
