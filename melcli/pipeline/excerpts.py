"""The inputs of a plan that are parts of recordings, in 24 bytes each and their ids."""

from __future__ import annotations

import math
from array import array

_NO_EXCERPT = -2
"""Stands for the channel of inputs that are whole files."""


class Excerpts:
    """Ids and parts of the inputs that have some, end to end like the names of a plan."""

    def __init__(self) -> None:
        self._ids, self._ends = bytearray(), array("Q")
        self._starts, self._stops, self._channels = array("d"), array("d"), array("l")

    def add(self, index: int, name: str, part: tuple[float, float, int]) -> None:
        """Say how an input is called, and where it starts and ends, and its channel."""
        self._fill(index)
        self._ids += name.encode()
        self._append(*part)

    def _fill(self, n_inputs: int) -> None:
        """Inputs before it that are whole files have no id here, and no part."""
        while len(self._ends) < n_inputs:
            self._append(0.0, math.inf, _NO_EXCERPT)

    def _append(self, start: float, stop: float, channel: int) -> None:
        self._ends.append(len(self._ids))
        self._starts.append(start)
        self._stops.append(stop)
        self._channels.append(channel)

    def cut(self, n_inputs: int) -> None:
        """Keep what is of the first inputs."""
        del self._ends[n_inputs:], self._starts[n_inputs:]
        del self._stops[n_inputs:], self._channels[n_inputs:]
        del self._ids[self._ends[-1] if self._ends else 0 :]

    def id(self, index: int) -> str:
        """How an input is called; empty if it is a whole file, which is called by its path."""
        if index >= len(self._ends):
            return ""
        start = self._ends[index - 1] if index else 0
        return self._ids[start : self._ends[index]].decode()

    def part(self, index: int) -> tuple[float, float, int] | None:
        """Start, end and channel of an input; None if it is a whole file."""
        if index >= len(self._ends) or self._channels[index] == _NO_EXCERPT:
            return None
        return self._starts[index], self._stops[index], self._channels[index]
