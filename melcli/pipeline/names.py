"""What paths are called: ids in outputs, and names in messages."""

from __future__ import annotations


def item_id(name: bytes) -> str:
    """The id of a relative path: UTF-8, whatever bytes the file system holds.

    In a name that is not UTF-8 each undecodable byte is written ``%FF``, and ``%`` as ``%25``.

    >>> item_id("größe.wav".encode()), item_id(b"50%/b\\xff.wav"), item_id(b"50%.wav")
    ('größe.wav', '50%25/b%FF.wav', '50%.wav')
    """
    try:
        return name.decode()
    except UnicodeDecodeError:
        text = name.replace(b"%", b"%25").decode(errors="surrogateescape")
        return "".join(f"%{ord(c) - 0xDC00:02X}" if "\udc80" <= c <= "\udcff" else c for c in text)


def printable(path: bytes) -> str:
    """A path for messages: undecodable bytes and control characters cannot garble a terminal."""
    text = path.decode(errors="backslashreplace")
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)
