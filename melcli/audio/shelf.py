"""Recordings that stay open from one part of them to the next.

The decoders of MP3, Opus and others only go forwards. A thousand parts of an hour of Opus, each
decoded from the start, would be five hundred hours of decoding; in their order, with the reader
kept in between, they are one hour.
"""

from __future__ import annotations

import threading
import weakref
from typing import TYPE_CHECKING, Final, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Hashable

    from melcli.audio.reading import AudioReader

_MOST: Final = 16

_Kept: TypeAlias = "list[tuple[Hashable, AudioReader]]"


class Shelf:
    """Readers that may be needed again, the last used ones; shared by threads.

    What is left on it is closed with it.
    """

    def __init__(self) -> None:
        self._kept: _Kept = []
        self._lock = threading.Lock()
        weakref.finalize(self, _close, self._kept)

    def take(self, key: Hashable, start: float) -> AudioReader | None:
        """Take the reader that is nearest before a place; None if there is none.

        Args:
            key: Says which recording, as it was when it was opened.
            start: Where the next part begins, in seconds.
        """
        with self._lock:
            before = [
                (reader.position, index)
                for index, (of, reader) in enumerate(self._kept)
                if of == key and reader.position <= start * reader.sample_rate
            ]
            return self._kept.pop(max(before)[1])[1] if before else None

    def put(self, key: Hashable, reader: AudioReader) -> None:
        """Keep a reader, if opening the recording again would cost more."""
        if not reader.is_forward_only:
            reader.close()
            return
        with self._lock:
            self._kept.append((key, reader))
            leaving = [self._kept.pop(0)] if len(self._kept) > _MOST else []
        _close(leaving)


def _close(kept: _Kept) -> None:
    while kept:
        kept.pop()[1].close()
