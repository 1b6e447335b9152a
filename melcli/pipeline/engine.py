"""Runs a front end on its device, however much memory that has."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from melcli.errors import AudioError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from melcli.dsp.frontend import FrontEnd

NO_ROOM = "does not fit into the memory of the GPU"
NO_ROOM_REMEDY = "--device cpu, or free the GPU"


class Engine:
    """Waveforms in, rows out, both in the computer's own memory. Used by several threads at once.

    On a GPU each thread has a stream of its own, so that one copies while another computes.
    Waveforms are laid into pinned memory, as int16 where they are stored so, and go over in one
    copy. Where that does not fit, half of them go first: what is staged gets smaller, never the
    blocks that are computed, so the numbers stay what they are.

    Args:
        frontend: Already on its device.
    """

    def __init__(self, frontend: FrontEnd) -> None:
        self.frontend = frontend
        self.device = frontend.device
        self._own = threading.local()

    def rows(self, waveforms: Sequence[Tensor]) -> list[Tensor | None]:
        """The mel of each waveform, ``(n_rows, *row_shape)``; None where one alone does not fit."""
        if self.device.type != "cuda":
            return list(self.frontend.rows(waveforms))
        with torch.cuda.stream(self._stream()):
            return self._halving(waveforms)

    def rows_of(self, waveform: Tensor, name: str) -> Tensor:
        """The mel of one waveform.

        Raises:
            AudioError: The GPU has no room for it.
        """
        [rows] = self.rows([waveform])
        if rows is None:
            raise AudioError(NO_ROOM, name, NO_ROOM_REMEDY)
        return rows

    def stepwise(self, rows: Iterator[Tensor], name: str) -> Iterator[Tensor]:
        """Rows that are computed as they are asked for, each brought back.

        Raises:
            AudioError: The GPU has no room for a single step.
        """
        try:
            if self.device.type != "cuda":
                yield from rows
                return
            # Left between two steps: the caller's own work is not for this stream.
            while True:
                with torch.cuda.stream(self._stream()):
                    step = next(rows, None)
                    step = None if step is None else step.to("cpu")
                if step is None:
                    return
                yield step
        except torch.OutOfMemoryError as error:
            torch.cuda.empty_cache()
            raise AudioError(NO_ROOM, name, NO_ROOM_REMEDY) from error

    def _halving(self, waveforms: Sequence[Tensor]) -> list[Tensor | None]:
        try:
            return self._brought_back(self.frontend.rows(waveforms))
        except torch.OutOfMemoryError:
            pass  # not in here: the error holds on to what was allocated
        torch.cuda.empty_cache()
        if len(waveforms) == 1:
            return [None]
        half = len(waveforms) // 2
        return self._halving(waveforms[:half]) + self._halving(waveforms[half:])

    def _brought_back(self, rows: list[Tensor]) -> list[Tensor | None]:
        """All rows in one copy to pinned memory."""
        together = torch.cat([r.reshape(-1) for r in rows])
        host = torch.empty(together.shape, dtype=together.dtype, pin_memory=together.is_cuda)
        host.copy_(together, non_blocking=True)
        if together.is_cuda:
            torch.cuda.current_stream().synchronize()
        parts = host.split_with_sizes([r.numel() for r in rows])
        return [part.view(r.shape) for part, r in zip(parts, rows, strict=True)]

    def _stream(self) -> torch.cuda.Stream:
        if not hasattr(self._own, "stream"):
            self._own.stream = torch.cuda.Stream(self.device)  # type: ignore[no-untyped-call]
        stream: torch.cuda.Stream = self._own.stream
        return stream
