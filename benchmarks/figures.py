"""Figures with their spread, and the tables they are printed in."""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


@dataclass(frozen=True)
class Spread:
    """One figure, measured in several rounds: its median, lowest and highest."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Iterable[float]) -> Spread:
        """The spread of a figure over the rounds."""
        values = list(values)
        return cls(statistics.median(values), min(values), max(values))

    def text(self, style: str) -> str:
        """Median and range, each formatted by ``style`` (``",.0f"``); one round has no range."""
        if self.low == self.high:
            return f"{self.median:{style}}"
        return f"{self.median:{style}} ({self.low:{style}}..{self.high:{style}})"


def ratios(over: Sequence[float], under: Sequence[float]) -> Spread:
    """The spread of one figure over another, round by round.

    What slows a whole round down slows both, so the ratio of a round is steadier than the ratio of
    two medians.
    """
    return Spread.of(a / b for a, b in zip(over, under, strict=True))


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table for people and for Markdown: words to the left, figures to the right."""
    cells = [list(head), *map(list, rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = [
        " | ".join(
            [row[0].ljust(widths[0])]
            + [cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)]
        )
        for row in cells
    ]
    rule = "|".join([":" + "-" * (widths[0] + 1)] + ["-" * (w + 1) + ":" for w in widths[1:]])
    return "\n".join([f"| {lines[0]} |", f"|{rule}|", *(f"| {line} |" for line in lines[1:])])
