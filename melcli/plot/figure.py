"""What all pictures share: kinds and style; and that the same numbers give the same bytes."""

from __future__ import annotations

import importlib.util
import io
import os
import sys
import warnings
from pathlib import Path
from typing import IO, TYPE_CHECKING, Final, TypeAlias

from melcli.errors import DeviceError, UsageError
from melcli.store.scalers import replace_file

if TYPE_CHECKING:
    from collections.abc import Callable

    from matplotlib.figure import Figure

Target: TypeAlias = "str | os.PathLike[str] | IO[bytes]"
"""Where a picture goes: a name that says its kind, or an open file, which gets a PNG."""

SUFFIXES: Final = (".png", ".svg", ".pdf")
WIDE: Final = (8.0, 4.5)
"""In inches: as wide as a page of text can show."""
GREY: Final = "#6b6b6b"

_DOTS_PER_INCH: Final = 150
_DATES: Final = {".png": {}, ".svg": {"Date": None}, ".pdf": {"CreationDate": None}}
_MOST_CHARACTERS: Final = 90


def check_target(target: Target) -> str:
    """See that a picture can be drawn at all, before any work; give the ending of its kind.

    Raises:
        UsageError: The name ends otherwise than in one of `SUFFIXES`.
        DeviceError: matplotlib is not there.
    """
    kind = ".png"
    if isinstance(target, str | os.PathLike):
        kind = Path(target).suffix.lower()
        if kind not in SUFFIXES:
            raise UsageError(
                "is no name of a picture", Path(target), "let it end in .png, .svg or .pdf"
            )
    is_there = "matplotlib" in sys.modules or importlib.util.find_spec("matplotlib") is not None
    if not is_there or sys.modules.get("matplotlib", sys) is None:
        raise DeviceError(
            "a picture needs matplotlib, which is not installed",
            None,
            'pip install "melcli[plot]"',
        )
    return kind


def save(
    draw: Callable[[Figure], None], target: Target, inches: tuple[float, float] = WIDE
) -> None:
    """Draw a picture, and put it in the place of what was there.

    Args:
        draw: Draws it on an empty figure.
        target: Where it goes.
        inches: Its width and height.

    Raises:
        UsageError: The name ends otherwise than in one of `SUFFIXES`.
        DeviceError: matplotlib is not there, the disk is full, or does not work.
    """
    kind = check_target(target)
    from matplotlib import style
    from matplotlib.figure import Figure  # without pyplot: no window, and no state
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    with io.BytesIO() as file, warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing")  # of a name in any language
        # Whatever a person has set for pictures of their own. The same numbers give the same bytes.
        with style.context(["default", {"svg.hashsalt": "melcli"}]):
            figure = Figure(figsize=inches, layout=ConstrainedLayoutEngine(w_pad=0.1, h_pad=0.06))
            draw(figure)
            figure.savefig(file, format=kind[1:], dpi=_DOTS_PER_INCH, metadata=_DATES[kind])
        data = file.getvalue()
    if isinstance(target, str | os.PathLike):
        replace_file(Path(target), data)
    else:
        target.write(data)


def shown(title: str, most: int = _MOST_CHARACTERS) -> str:
    """A title without what no font can show, and of a long one the end, which says more."""
    printable = "".join(character if character.isprintable() else "?" for character in title)
    cut = len(printable) - most
    return f"…{printable[cut + 1 :]}" if cut > 0 else printable
