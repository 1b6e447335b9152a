"""Lays waveforms, whole or in pieces, into one buffer from which all their frames are one view."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from melcli import frames

if TYPE_CHECKING:
    from collections.abc import Sequence

    from melcli.config import MelConfig
    from melcli.config.fields import PadMode

INT16_SCALE = 1.0 / 32768.0
"""Of stored samples: int16 times this is what libsndfile gives as float32, bit for bit."""


@dataclass(frozen=True)
class Piece:
    """A run of frames of one waveform, and the samples they are cut from.

    Args:
        samples: ``(n_samples,)``, float32, or int16 as it is stored.
        left: Samples to be made up before them, as the front end pads.
        right: Samples to be made up behind them; negative if samples at the end fill no frame.
        n_frames: How many frames.
        first_frame: The number of the first in its waveform.
    """

    samples: Tensor
    left: int
    right: int
    n_frames: int
    first_frame: int = 0


class Cutter:
    """Cuts one waveform, which may arrive in parts, into pieces of whole frames.

    A piece that does not end the waveform holds a multiple of ``block_rows`` frames. As much is
    held back as the end may still need: what it reflects, and the frames it may drop.

    Args:
        config: The front end.
        block_rows: See above.
        n_samples: In all; to be known beforehand where :func:`melcli.frames.needs_length` says so.
    """

    def __init__(self, config: MelConfig, block_rows: int, n_samples: int | None = None) -> None:
        self._config, self._block_rows, self._n_promised = config, block_rows, n_samples
        self._span, self._hop = config.span, config.frame.hop_length
        self._held: Tensor | None = None
        self._first_held = 0  # number of the first sample that is held
        self._n_frames = 0  # cut so far
        self.n_samples = 0

    def feed(self, samples: Tensor, *, is_last: bool) -> Piece | None:
        """The frames that can be cut now, if there are any."""
        held = samples if self._held is None else torch.cat([self._held, samples])
        self.n_samples += samples.shape[-1]
        piece = self._rest(held) if is_last else self._next(held)
        if not is_last:
            # A view would keep alive what was cut already.
            keep = max(0, self._n_frames * self._hop - self._left() - self._first_held)
            self._held, self._first_held = held[keep:].clone(), self._first_held + keep
        return piece

    def _left(self) -> int:
        """Padding before the waveform, in all rules but one the same for every length."""
        return frames.framing(self._config, self._n_promised or self.n_samples).left

    def _next(self, held: Tensor) -> Piece | None:
        left = self._left()
        reserve = frames.reserve(self._config)
        cut = (self.n_samples - reserve + left - self._span) // self._hop + 1 - self._n_frames
        cut -= cut % self._block_rows
        # The first piece holds all that reaches into the padding before the waveform.
        if cut <= 0 or (self._n_frames + cut) * self._hop < left:
            return None
        return self._piece(held, left, cut)

    def _rest(self, held: Tensor) -> Piece | None:
        framing = frames.framing(self._config, self.n_samples)
        n_frames = framing.n_frames - self._config.frame.drop_last_frames - self._n_frames
        return self._piece(held, framing.left, n_frames) if n_frames > 0 else None

    def _piece(self, held: Tensor, left: int, n_frames: int) -> Piece:
        """The next ``n_frames``, of a waveform with ``left`` samples of padding before it."""
        start = self._n_frames * self._hop - left - self._first_held
        stop = start + (n_frames - 1) * self._hop + self._span
        first, self._n_frames = self._n_frames, self._n_frames + n_frames
        return Piece(held[max(0, start) :], max(0, -start), stop - held.shape[-1], n_frames, first)


@dataclass(frozen=True)
class Packed:
    """A batch in one buffer: a row of ``frames`` for every frame of every piece.

    Args:
        buffer: All samples, padding included.
        span: The length of a frame.
        hop_length: From one frame to the next.
        total: Rows in all. Those that straddle two pieces, or fill the last block, belong to
            nobody.
        first_rows: For each piece, the row of its first frame.
        n_rows: For each piece, how many rows are its own.
    """

    buffer: Tensor
    span: int
    hop_length: int
    total: int
    first_rows: list[int]
    n_rows: list[int]

    @property
    def frames(self) -> Tensor:
        """``(total, span)``, a view in which neighbours overlap."""
        return self.buffer.unfold(0, self.span, self.hop_length)


def whole(config: MelConfig, waveform: Tensor) -> Piece:
    """A waveform that is all there, as one piece."""
    piece = Cutter(config, 1).feed(waveform, is_last=True)
    assert piece is not None  # noqa: S101, who calls has seen to it that there is a frame
    return piece


def pack(
    config: MelConfig, pieces: Sequence[Piece], block_rows: int, device: torch.device
) -> Packed:
    """Lay pieces into one buffer, each with its own padding, at multiples of the hop.

    One view then gives every frame of every piece as a row of one matrix: no padding to the
    longest, and as few and as large operations for a thousand short clips as for one long one.

    Args:
        config: The front end.
        pieces: At least one, each of one frame or more.
        block_rows: The buffer holds whole blocks of so many frames.
        device: Where the buffer is wanted.
    """
    hop, span = config.frame.hop_length, config.span
    first_rows, total = [], 0
    for piece in pieces:
        first_rows.append(total)
        total += piece.n_frames + _ceil_div(span, hop) - 1  # the last frames reach this far
    total = _ceil_div(first_rows[-1] + pieces[-1].n_frames, block_rows) * block_rows
    buffer = _room(pieces, (total - 1) * hop + span, device)
    for piece, first in zip(pieces, first_rows, strict=True):
        place(config, piece, buffer[first * hop :])
    buffer = buffer.to(device, non_blocking=True)
    if buffer.dtype == torch.int16:
        buffer = buffer * INT16_SCALE
    return Packed(buffer, span, hop, total, first_rows, [piece.n_frames for piece in pieces])


def pack_batch(
    config: MelConfig, waveforms: Tensor, block_rows: int, device: torch.device
) -> Packed:
    """The same for whole waveforms of one length: a few operations, which have gradients.

    Args:
        config: The front end.
        waveforms: ``(n_items, n_samples)``, at least one, each with a frame.
        block_rows: The buffer holds whole blocks of so many frames.
        device: Where the buffer is wanted.
    """
    waveforms = waveforms.to(device, non_blocking=True)
    if waveforms.dtype == torch.int16:
        waveforms = waveforms * INT16_SCALE
    hop, span, (n_items, n_samples) = config.frame.hop_length, config.span, waveforms.shape
    framing = frames.framing(config, n_samples)
    n_frames = framing.n_frames - config.frame.drop_last_frames
    right = (n_frames - 1) * hop + span - framing.left - n_samples
    padded = edges(waveforms, framing.left, right, config.frame.pad_mode)
    apart = n_frames + _ceil_div(span, hop) - 1  # rows from one waveform to the next
    rows = torch.nn.functional.pad(padded, (0, apart * hop - padded.shape[-1])).reshape(-1)
    total = _ceil_div((n_items - 1) * apart + n_frames, block_rows) * block_rows
    buffer = torch.nn.functional.pad(rows, (0, (total - 1) * hop + span - len(rows)))
    first_rows = list(range(0, n_items * apart, apart))
    return Packed(buffer, span, hop, total, first_rows, [n_frames] * n_items)


def _room(pieces: Sequence[Piece], length: int, device: torch.device) -> Tensor:
    """Zeros, where the pieces are; for a GPU in memory that it can fetch from while we go on."""
    samples = [piece.samples for piece in pieces]
    is_staged = device.type == "cuda" and not samples[0].is_cuda
    # Stored samples take half the way to the GPU as they are; here they are scaled on the go.
    if is_staged and all(s.dtype == torch.int16 for s in samples):
        dtype = torch.int16
    else:
        dtype = next((s.dtype for s in samples if s.dtype != torch.int16), torch.float32)
    return torch.zeros(length, dtype=dtype, device=samples[0].device, pin_memory=is_staged)


def place(config: MelConfig, piece: Piece, room: Tensor) -> None:
    """Write samples and their edges to the start of ``room``."""
    samples, left, right = piece.samples, piece.left, piece.right
    n = samples.shape[-1]
    used = n + min(0, right)  # a negative right edge: samples at the end that fill no frame
    # Reflection leaves the edge sample out, the symmetric kind repeats it.
    skip = 1 if config.frame.pad_mode == "reflect" else 0
    if config.frame.pad_mode == "constant":
        left_edge = right_edge = 0
    else:
        left_edge, right_edge = left, max(0, right)
    if max(left_edge, right_edge) + skip > n:
        extended = _to_and_fro(samples, left_edge, right_edge)[: left + used + right_edge]
        _put(room[: extended.shape[-1]], extended)
        return
    _put(room[left : left + used], samples[:used])
    if not room.is_cuda and not room.requires_grad and skip + left_edge <= used:
        # What is placed already, mirrored; numpy takes a microsecond where torch takes ten.
        placed = room.numpy()
        placed[:left_edge] = placed[left + skip : left + skip + left_edge][::-1]
        end = left + n
        placed[end : end + right_edge] = placed[end - skip - right_edge : end - skip][::-1]
        return
    if left_edge:
        _put(room[:left], samples[skip : skip + left].flip(0))
    if right_edge:
        _put(room[left + n : left + n + right], samples[n - skip - right : n - skip].flip(0))


def edges(waveforms: Tensor, left: int, right: int, pad_mode: PadMode) -> Tensor:
    """Waveforms ``(n_items, n_samples)`` with what :func:`place` puts at both ends of each.

    Args:
        waveforms: All of one length.
        left: Samples to be made up before them.
        right: Samples to be made up behind them; negative: samples to be left out.
        pad_mode: What they are made of.
    """
    if pad_mode == "symmetric":
        return _to_and_fro(waveforms, left, right)
    # Padded with negative numbers, torch cuts first, and cannot reflect what is cut.
    padded = torch.nn.functional.pad(waveforms, (left, max(0, right)), mode=pad_mode)
    return padded[:, :right] if right < 0 else padded


def _put(room: Tensor, samples: Tensor) -> None:
    if samples.dtype == room.dtype:
        room.copy_(samples)
    elif samples.dtype == torch.int16:
        torch.mul(samples, INT16_SCALE, out=room)
    else:
        room.copy_(samples.to(room.dtype))


def _to_and_fro(waveform: Tensor, left: int, right: int) -> Tensor:
    """Extend a waveform that is shorter than its padding, symmetrically, as Kaldi does."""
    n = waveform.shape[-1]
    phase = torch.arange(-left, n + right, device=waveform.device) % (2 * n)
    return waveform[..., torch.minimum(phase, 2 * n - 1 - phase)]


def _ceil_div(a: int, b: int) -> int:
    return -(-a // b)
