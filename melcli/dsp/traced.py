"""The same stages over a whole batch at once, for what torch compiles or exports, or what learns.

Packing cuts, mirrors and writes item by item, which a compiler would unroll. Here every operation
is one over the batch, and frames are one view of it. The numbers are the same but for rounding:
blocks are not of one fixed shape.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from melcli import frames
from melcli.dsp.packing import INT16_SCALE, edges
from melcli.dsp.rows import Rows
from melcli.dsp.stage import MeasuredStage, Stage
from melcli.dsp.waveform import FixedNoise

if TYPE_CHECKING:
    from melcli.dsp.frontend import FrontEnd


def together(front_end: FrontEnd, waveforms: Tensor) -> Tensor:
    """Mels ``(n_items, *row_shape, n_rows)`` of waveforms ``(n_items, n_samples)``."""
    waveforms = waveforms.to(front_end.device)
    if waveforms.dtype == torch.int16:
        waveforms = waveforms * INT16_SCALE
    for stage in front_end.sample_stages:
        waveforms = _item_by_item(stage, waveforms)
    rows = _frames(front_end, waveforms)
    for stage in front_end.frame_stages:
        rows = stage(rows)
    if front_end.item_stages:
        finish = partial(_finished, front_end, waveforms.shape[-1])
        rows = torch.vmap(finish)(rows)
    return rows.movedim(1, -1)


def _item_by_item(stage: Stage, waveforms: Tensor) -> Tensor:
    """A stage over the waveform: those that measure it measure each by itself."""
    if isinstance(stage, MeasuredStage):
        return torch.vmap(partial(_measured, stage))(waveforms)
    return stage(waveforms)  # type: ignore[no-any-return]


def _measured(stage: MeasuredStage, x: Tensor) -> Tensor:
    # In one block: how many there are would depend on the length, which may be left open.
    return stage(x, stage.measure(lambda: [x]))  # type: ignore[no-any-return]


def _frames(front_end: FrontEnd, waveforms: Tensor) -> Tensor:
    """Frames ``(n_items, n_frames, span)``."""
    config = front_end.config
    span, hop = config.span, config.frame.hop_length
    padding = frames.fixed_padding(config)
    if padding is None:
        framing = frames.framing(config, waveforms.shape[-1])
        padding = framing.left, framing.right
    cut = edges(waveforms, *padding, config.frame.pad_mode).unfold(-1, span, hop)
    n_frames = cut.shape[1] - config.frame.drop_last_frames
    if config.frame.drop_last_frames:
        cut = cut[:, :n_frames]
    if front_end.frame_dither:
        noise = FixedNoise().take(0, n_frames * span, cut)
        cut = cut + noise.view(n_frames, span) * front_end.frame_dither
    return cut


def _finished(front_end: FrontEnd, n_framed: int, rows: Tensor) -> Tensor:
    return front_end.finished(Rows.of(rows), n_framed).all()
