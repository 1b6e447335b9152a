"""A front end over one waveform that arrives in pieces, because the whole would fill the memory."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import TYPE_CHECKING, TypeAlias, cast

import torch
from torch import Tensor

from melcli import frames
from melcli.dsp.packing import INT16_SCALE, Cutter
from melcli.dsp.stage import MeasuredStage
from melcli.dsp.waveform import FixedNoise

if TYPE_CHECKING:
    from melcli.dsp.frontend import FrontEnd
    from melcli.dsp.stage import Piecewise, Stage

Pieces: TypeAlias = Callable[[], Iterable[tuple[Tensor, bool]]]
"""Gives a waveform from its start in pieces, each time: the samples, and whether they are the last.

The waveform is as :meth:`FrontEnd.rows` takes it; its last piece may be empty.
"""


class FrontEndStream:
    """Computes the rows of one item while its waveform comes in, bit for bit those of the whole.

    Rules that need the whole waveform (its mean, its peak) take passes of their own over it first.

    Args:
        frontend: Of the item.
        pieces: Its waveform, for those passes; what is computed is fed.
    """

    def __init__(self, frontend: FrontEnd, pieces: Pieces) -> None:
        self._frontend, self._pieces = frontend, pieces
        self._stages: list[Callable[[], Piecewise]] = []
        for stage in cast("Iterable[Stage]", frontend.sample_stages):
            if isinstance(stage, MeasuredStage):
                measured = stage.measure(partial(self._blocks, stage.block))
                self._stages.append(partial(_as_measured, stage, measured))
            else:
                self._stages.append(stage.piecewise)
        n_samples = self._count() if frames.needs_length(frontend.config) else None
        self._cutter = Cutter(frontend.config, frontend.block_rows, n_samples)
        self._noise = FixedNoise()
        self._now = [begin() for begin in self._stages]

    @property
    def n_framed(self) -> int:
        """Samples that were framed so far; in the end, of the item."""
        return self._cutter.n_samples

    def feed(self, samples: Tensor, *, is_last: bool) -> Iterator[Tensor]:
        """What the frame stages make of the frames that are complete now: ``(n, n_mels)``.

        Args:
            samples: The next piece of the waveform.
            is_last: No more will follow.
        """
        piece = self._cutter.feed(self._through(self._now, samples, is_last), is_last=is_last)
        if piece is not None:
            yield from self._frontend.frame_rows([piece], self._noise)

    def _through(self, stages: list[Piecewise], samples: Tensor, is_last: bool) -> Tensor:  # noqa: FBT001
        if stages and samples.dtype == torch.int16:
            samples = samples * INT16_SCALE
        for stage in stages:
            samples = stage(samples, is_last)
        return samples

    def _shaped(self) -> Iterator[tuple[Tensor, bool]]:
        """The waveform after those sample stages that are known by now."""
        stages = [begin() for begin in self._stages]
        for samples, is_last in self._pieces():
            yield self._through(stages, samples, is_last), is_last

    def _blocks(self, size: int) -> Iterator[Tensor]:
        """The same in blocks of ``size``, the last one shorter."""
        held: list[Tensor] = []
        for samples, is_last in self._shaped():
            if not self._stages and samples.dtype == torch.int16:
                samples = samples * INT16_SCALE  # noqa: PLW2901, the same samples
            held.append(samples)
            if is_last or sum(h.shape[-1] for h in held) >= size:
                joined = torch.cat(held)
                whole = joined.shape[-1] if is_last else joined.shape[-1] // size * size
                yield from torch.split(joined[:whole], size)
                held = [joined[whole:]]

    def _count(self) -> int:
        return sum(samples.shape[-1] for samples, _ in self._shaped())


def _as_measured(stage: MeasuredStage, measured: Tensor) -> Piecewise:
    """A stage whose numbers are known by now maps each sample by itself."""
    return lambda piece, is_last: stage(piece, measured)  # noqa: ARG005
