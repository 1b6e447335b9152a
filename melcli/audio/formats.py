"""What names tell of formats, what to do about those that libsndfile lacks, and how far it goes."""

from __future__ import annotations

import shlex
from pathlib import PurePath
from typing import Final

AUDIO_EXTENSIONS: Final = frozenset(
    {
        *(".wav", ".wave", ".bwf", ".rf64", ".w64"),  # RIFF and its 64-bit kin
        *(".aif", ".aiff", ".aifc", ".au", ".snd", ".caf"),
        *(".flac", ".ogg", ".oga", ".opus"),
        *(".mp3", ".mp2", ".mpga"),
        *(".sph", ".nist"),  # NIST SPHERE: TIMIT and the corpora of the LDC
        *(".voc", ".avr", ".paf", ".pvf", ".svx", ".8svx", ".ircam"),
    }
)
"""What a folder is searched for: what libsndfile 1.2 reads, in lower case, with the dot.

Left out, because in data sets they are hardly ever audio: ``.mat`` (matrices), ``.htk`` (HTK keeps
features in it), ``.raw`` and ``.pcm`` (no header: rate and width are anybody's guess), ``.sf``
(signatures), ``.iff`` (pictures), ``.xi`` (instruments), ``.mpc`` (Musepack far more often than
Akai), ``.sd2`` (its header is a resource fork), ``.sds`` (libsndfile reads it differently in
different pieces). A file named directly is tried whatever it is called.
"""

FOREIGN_EXTENSIONS: Final = frozenset(
    {
        *(".m4a", ".m4b", ".m4p", ".mp4", ".aac", ".alac", ".3gp", ".3g2"),
        *(".wma", ".asf", ".amr", ".awb", ".ac3", ".eac3", ".dts", ".ra", ".rm"),
        *(".mka", ".webm", ".weba", ".spx", ".mpc", ".mp+"),
        *(".ape", ".wv", ".tta", ".tak", ".shn", ".dsf", ".dff"),
    }
)
"""Audio that libsndfile cannot read and ffmpeg can, in lower case, with the dot."""

MAX_SAMPLE_RATE: Final = 10_000_000
"""In Hz: a header that says more is damaged."""

MAX_CHANNELS: Final = 1024
"""libsndfile reads no more."""

LOSSY_SUBTYPES: Final = frozenset(
    {"VORBIS", "OPUS", "MPEG_LAYER_I", "MPEG_LAYER_II", "MPEG_LAYER_III"}
)
"""libsndfile's names of the codecs whose sample count, before decoding, is an estimate."""


def is_length_exact(subtype: str) -> bool:
    """Whether a header's sample count is believed: for all but the lossy codecs.

    Args:
        subtype: libsndfile's name of the coding, such as ``"PCM_16"``.

    >>> is_length_exact("PCM_16"), is_length_exact("VORBIS")
    (True, False)
    """
    return subtype not in LOSSY_SUBTYPES


def is_list(path: PurePath | str) -> bool:
    """Whether a name's extension is that of a list of files, or a table of them.

    >>> is_list("segments.csv"), is_list("wav.scp"), is_list("talk.wav")
    (True, True, False)
    """
    return PurePath(path).suffix.lower() in {".csv", ".tsv", ".jsonl", ".scp", ".txt", ".lst"}


def is_foreign(path: PurePath | str) -> bool:
    """Whether a name's extension is that of audio which only ffmpeg reads.

    >>> is_foreign("talk.M4A"), is_foreign("talk.wav")
    (True, False)
    """
    return PurePath(path).suffix.lower() in FOREIGN_EXTENSIONS


def ffmpeg_remedy(path: PurePath | str) -> str:
    """The command that turns a file into a FLAC that libsndfile reads, ready to be pasted.

    Args:
        path: The file. Its name is quoted for the shell.

    >>> ffmpeg_remedy("talks/opening talk.m4a")
    "ffmpeg -i 'talks/opening talk.m4a' 'talks/opening talk.flac'"
    >>> ffmpeg_remedy("-take2.flac")
    'ffmpeg -i ./-take2.flac ./-take2.converted.flac'
    """
    source = PurePath(path)
    target = source.with_suffix(".converted.flac" if source.suffix.lower() == ".flac" else ".flac")
    # ffmpeg takes a name that begins with a dash for an option, and "a:b" for a protocol.
    is_plain = source.is_absolute() or not (source.parts[0].startswith("-") or ":" in str(source))
    before, after = (p if is_plain else f"./{p}" for p in (str(source), str(target)))
    return f"ffmpeg -i {shlex.quote(before)} {shlex.quote(after)}"
