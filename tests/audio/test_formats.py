"""What names tell."""

from __future__ import annotations

import shlex
import subprocess
import sys

import pytest

from melcli.audio import formats


def test_extensions_are_lower_case_and_belong_to_one_side() -> None:
    """No extension is both readable and foreign, and each is written as it is looked up."""
    assert not formats.AUDIO_EXTENSIONS & formats.FOREIGN_EXTENSIONS
    for extension in formats.AUDIO_EXTENSIONS | formats.FOREIGN_EXTENSIONS:
        assert extension.startswith(".")
        assert extension == extension.lower()


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("talk.m4a", ["talk.m4a", "talk.flac"]),
        ("a folder/it's.wma", ["a folder/it's.wma", "a folder/it's.flac"]),
        ("-x.aac", ["./-x.aac", "./-x.flac"]),
        ("10:30.aac", ["./10:30.aac", "./10:30.flac"]),
        ("/x:y/a.aac", ["/x:y/a.aac", "/x:y/a.flac"]),
        ("a.flac", ["a.flac", "a.converted.flac"]),
        ("nameless", ["nameless", "nameless.flac"]),
    ],
)
def test_ffmpeg_remedy_survives_the_shell(name: str, arguments: list[str]) -> None:
    """The line can be pasted: a shell gives ffmpeg the file, never an option or a protocol."""
    source, target = arguments
    assert shlex.split(formats.ffmpeg_remedy(name)) == ["ffmpeg", "-i", source, target]


def test_formats_bring_in_neither_soundfile_nor_numpy() -> None:
    """Planning looks at names alone, and starts fast."""
    code = "import melcli.audio.formats, sys; print({'soundfile', 'numpy'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout == "set()\n"
