"""Pictures of an INPUT, and of two with their difference: what `melcli plot` does."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from melcli import plot
from melcli.config import MelConfig
from melcli.errors import ConfigError, FeatureError, UsageError
from melcli.pipeline.columns import Grid, block_size, frames_a_column, means, recut
from melcli.pipeline.report import plural
from melcli.pipeline.shown import check_has_items, known_config, opened, scaler_of
from melcli.plot import Panel
from melcli.plot.compare import Difference
from melcli.plot.spectrogram import as_drawn
from melcli.scaler.bands import bin_centres
from melcli.scaler.files import check_front_end

if TYPE_CHECKING:
    from collections.abc import Iterator

    from melcli.pipeline.columns import Floats
    from melcli.pipeline.shown import Shown
    from melcli.plot import Target
    from melcli.statistics.fitted import Statistics

_MOST_MARKS: Final = 60
_LONG: Final = 100.0
"""Seconds from which on nobody asks for hundredths."""
_DEPTH: Final = 1e-8
"""80 dB, of a power: how far below the loudest of both two spectra are compared."""


@dataclass(frozen=True, kw_only=True)
class View:
    """What is to be seen of an INPUT.

    Args:
        item_id: Which item of an output.
        title: Above the picture, instead of the id.
        start: From where on, in seconds.
        end: Up to where.
    """

    item_id: str | None = None
    title: str | None = None
    start: float | None = None
    end: float | None = None

    def __post_init__(self) -> None:
        if self.start is not None and self.end is not None and not self.start < self.end:
            raise UsageError(
                f"--start {self.start:g} is not before --end {self.end:g}", None, "swap them"
            )


def picture(
    path: str, target: Target, config: MelConfig | None = None, view: View | None = None
) -> list[str]:
    """Draw an INPUT: audio, an item of an output, a ``.npy``, or a scaler.

    Args:
        path: The INPUT; ``-`` is standard input.
        target: The picture.
        config: The front end of audio or of a ``.npy``, if somebody said it.
        view: What is to be seen.

    Returns:
        What a person should know, in lines.

    Raises:
        UsageError: There is no such item, or an item has to be chosen.
        MelcliError: The INPUT cannot be read, or the picture not be written.
    """
    view = view or View()
    plot.check_target(target)
    if (statistics := scaler_of(path, config)) is not None:
        _draw_scaler(statistics, path, target, config, view)
        return [f"{path}: {plural(statistics.n_bins, 'bin')}"]
    check_has_items([path], view.item_id)
    with opened(path, view.item_id, config) as shown:
        frames = shown.grid.within(view.start, view.end)
        panel = _panel(shown, _columns(shown, frames), shown.grid, frames, view)
    plot.plot_spectrogram(panel, target)
    return [*_told(shown, frames), *_told_of_front_end(shown)]


def comparison(
    paths: tuple[str, str],
    target: Target,
    config: MelConfig | None = None,
    view: View | None = None,
) -> list[str]:
    """Draw two INPUTs, and what the second has more than the first.

    Audio gets the front end of the other INPUT, if nobody said one. If one begins earlier, or is
    longer, the frames that both have are compared, those that lie nearest in time.

    Args:
        paths: Both.
        target: The picture.
        config: The front end of audio or of a ``.npy``, if somebody said it.
        view: What is to be seen.

    Returns:
        What a person should know, in lines.

    Raises:
        UsageError: They cannot be compared, or an item has to be chosen.
        MelcliError: An INPUT cannot be read, or the picture not be written.
    """
    view = view or View()
    plot.check_target(target)
    if paths == ("-", "-"):
        raise UsageError("standard input cannot be both INPUTs", None, "name a file for one")
    for path in paths:
        if scaler_of(path, config) is not None:
            raise UsageError("is a scaler, and --compare is for mels and spectra", Path(path))
    check_has_items(paths, view.item_id)
    known = config or next(filter(None, map(known_config, paths)), None)
    with (
        opened(paths[0], view.item_id, config, guess=known) as a,
        opened(paths[1], view.item_id, config, guess=known) as b,
    ):
        _check_comparable(a, b)
        pair = _Pair(a, b, view)
        columns, difference = pair.compared()
    of_a, of_b = (
        _panel(shown, numbers, a.grid, pair.frames[0], view)
        for shown, numbers in zip((a, b), columns, strict=True)
    )
    plot.plot_comparison(of_a, of_b, difference, target)
    unit = "" if a.quantity.is_db or not difference.largest else f", in {a.quantity.label}"
    return [f"{difference}{unit}", *pair.notes(), *_told_of_front_end(a if b.is_chosen else b)]


def _draw_scaler(
    statistics: Statistics, path: str, target: Target, config: MelConfig | None, view: View
) -> None:
    if view.item_id is not None or view.start is not None or view.end is not None:
        raise UsageError("is a scaler: it has neither items nor times", Path(path))
    if config is not None:
        check_front_end(statistics, config, path)
    elif statistics.config:
        config = _config_of(statistics)
    hz = None if config is None else bin_centres(config)
    if hz is not None and len(hz) != statistics.n_bins:
        hz = None
    name = f", {config.name}" if config is not None and config.name else ""
    title = view.title or f"{path}{name}, {plural(statistics.n_bins, 'bin')}"
    unit = "" if config is None else plot.quantity(config).undrawn
    plot.plot_scaler(statistics, target, title=title, hz=hz, unit=unit)


def _config_of(statistics: Statistics) -> MelConfig | None:
    try:
        return MelConfig.from_toml(statistics.config)
    except ConfigError:
        return None  # of a newer melcli, say; its statistics are what they are


def _columns(shown: Shown, frames: tuple[int, int]) -> Floats:
    start, stop = frames
    group, size = frames_a_column(stop - start), block_size(stop - start)
    blocks = recut(_checked(shown), start, stop, size)
    return np.concatenate([means(block, group) for block in blocks])


def _checked(shown: Shown) -> Iterator[Floats]:
    """Its frames; where they are infinite, no picture would say so."""
    for block in shown.frames():
        if np.isinf(block).any():
            raise FeatureError("holds infinite numbers", shown.name, "look at what made it")
        yield block


def _panel(shown: Shown, columns: Floats, grid: Grid, frames: tuple[int, int], view: View) -> Panel:
    start, stop = grid.edge(frames[0]), grid.edge(frames[1])
    group = frames_a_column(frames[1] - frames[0])
    length = stop - grid.start if shown.seconds is None else shown.seconds
    aside = f"{shown.front_end}, {length:.{0 if length >= _LONG else 2}f} s"
    notes = [f"each column is the mean of {group} frames"] if group > 1 else []
    return Panel(
        numbers=columns,
        start=start,
        # The last column of several may be of fewer frames; it is drawn as wide as the others.
        stop=start + len(columns) * group * grid.period,
        hz=shown.hz,
        is_even=shown.power is not None,
        quantity=shown.quantity,
        title=shown.name if view.title is None else view.title,
        aside=aside,
        note="; ".join([*_row_notes(shown), *notes]),
        end=_recording_end(shown, start, stop),
        marks=[at for at in _marks(shown, grid) if start < at < stop],
    )


def _row_notes(shown: Shown) -> Iterator[str]:
    """What a row is, where it is no frame."""
    out = shown.config.out
    if shown.power is not None:
        return
    if out.patch_frames:
        are_marked = 1 < shown.n_rows <= _MOST_MARKS
        begin = ", lines where they begin" if are_marked else ""
        yield f"patches of {out.patch_frames} frames, {out.patch_hop} apart{begin}"
    if out.stack > 1:
        yield f"rows of {out.stack} frames, {out.stack_stride} apart, drawn frame by frame"


def _marks(shown: Shown, grid: Grid) -> list[float]:
    """Where patches begin, if there are not too many of them."""
    out = shown.config.out
    if shown.power is not None or not out.patch_frames or shown.n_rows > _MOST_MARKS:
        return []
    apart = out.patch_hop * (out.stack_stride if out.stack > 1 else 1)
    return [grid.edge(patch * apart) for patch in range(1, shown.n_rows)]


def _recording_end(shown: Shown, start: float, stop: float) -> float | None:
    """Where a recording ends, if what is filled in behind it is more than an edge."""
    if shown.seconds is None or not start < shown.seconds < stop:
        return None
    edge = 2 * shown.config.span / shown.config.wave.sample_rate
    is_filled = stop - shown.seconds > max(edge, 0.05 * (stop - start))
    return shown.seconds if is_filled else None


def _told(shown: Shown, frames: tuple[int, int]) -> list[str]:
    n_frames, bands = frames[1] - frames[0], "bin" if shown.power is not None else "band"
    told = f"{plural(n_frames, 'frame')} of {plural(len(shown.hz), bands)}"
    lines = [f"{shown.name}: {told}, {shown.front_end}", *shown.notes]
    if (group := frames_a_column(n_frames)) > 1:
        lines.append(f"each column is the mean of {group} frames")
    return lines


def _told_of_front_end(shown: Shown) -> list[str]:
    if shown.is_chosen:
        return []
    return ["no --config was given, so it was librosa; melcli configs list shows others"]


def _check_comparable(a: Shown, b: Shown) -> None:
    """Refuse two whose numbers are not of one kind, or whose bands or frames do not match.

    Raises:
        UsageError: They are not.
    """
    told = ""
    of_a, of_b = a.grid, b.grid
    if (a.power is None) != (b.power is None):
        told = "one is a mel, the other a spectrum"
    elif len(a.hz) != len(b.hz):
        told = f"{a.front_end} has {len(a.hz)} bands, {b.front_end} {len(b.hz)}"
    elif not np.allclose(a.hz, b.hz, rtol=1e-3, atol=0.5):
        worst = int(np.argmax(np.abs(a.hz - b.hz)))
        told = f"band {worst} is at {a.hz[worst]:.0f} Hz in one, {b.hz[worst]:.0f} Hz in the other"
    elif not np.isclose(of_a.period, of_b.period, rtol=1e-6):
        told = (
            f"frames are {1000 * of_a.period:.3g} ms apart in one, "
            f"{1000 * of_b.period:.3g} ms in the other"
        )
    elif a.quantity != b.quantity:
        told = f"one holds {a.quantity.label}, the other {b.quantity.label}"
    if told:
        raise UsageError(
            f"{a.name} and {b.name} cannot be compared: {told}",
            None,
            "compare what one front end made, or two of the same bands and the same logarithm",
        )


class _Pair:
    """Two items and the frames that they have in common."""

    def __init__(self, a: Shown, b: Shown, view: View) -> None:
        self._a, self._b = a, b
        grid, other = a.grid, b.grid
        # The frame of B that lies nearest to the first of A.
        shift = round((grid.first - other.first) / grid.period)
        self._late = other.first + shift * other.period - grid.first
        begin, stop = max(0, -shift), min(grid.n_frames, other.n_frames - shift)
        if begin >= stop:
            raise UsageError(f"{a.name} and {b.name} have no frame in common")
        self._n_left_out = (grid.n_frames - (stop - begin), other.n_frames - (stop - begin))
        first, last = grid.within(view.start, view.end)
        begin, stop = max(begin, first), min(stop, last)
        if begin >= stop:
            raise UsageError(f"{a.name} and {b.name} have no frame in common in this part")
        self.frames = (begin, stop), (begin + shift, stop + shift)

    def notes(self) -> Iterator[str]:
        """What a person should know."""
        grid, other = self._a.grid, self._b.grid
        if any(self._n_left_out):
            common = grid.n_frames - self._n_left_out[0]
            yield (
                f"A has {plural(grid.n_frames, 'frame')}, B has {other.n_frames:,}: "
                f"the {common:,} that both have are compared"
            )
        if abs(self._late) > 1e-6:
            late = f"{abs(1000 * self._late):.3g} ms {'later' if self._late > 0 else 'earlier'}"
            yield f"frames of B lie {late} than those of A"
        if (group := frames_a_column(self.frames[0][1] - self.frames[0][0])) > 1:
            yield f"each column is the mean of {group} frames; the figures are of all frames"

    def compared(self) -> tuple[tuple[Floats, Floats], Difference]:
        """The columns of both, and the difference."""
        n_frames = self.frames[0][1] - self.frames[0][0]
        group = frames_a_column(n_frames)
        quantity, least = self._a.quantity, self._least()
        columns: tuple[list[Floats], ...] = ([], [], [])
        largest, place, squares, count, at = 0.0, (0, 0), 0.0, 0, 0
        for pair in self._blocks():
            one, other = (as_drawn(block, quantity, least) for block in pair)
            apart = other.astype(np.float64) - one
            for found, block in zip(columns, (*pair, apart), strict=True):
                found.append(means(np.asarray(block, np.float32), group))
            sizes = np.nan_to_num(np.abs(apart), nan=0.0)
            frame, band = np.unravel_index(int(sizes.argmax()), sizes.shape)
            if sizes[frame, band] > abs(largest):
                largest, place = float(apart[frame, band]), (at + int(frame), int(band))
            squares += float(np.nansum(np.square(apart)))
            count += int(np.isfinite(apart).sum())
            at += len(apart)
        rms = (squares / max(1, count)) ** 0.5
        grid = self._a.grid
        a, b, numbers = (np.concatenate(found) for found in columns)
        difference = Difference(
            numbers=numbers,
            largest=largest,
            seconds=grid.first + (self.frames[0][0] + place[0]) * grid.period,
            hz=float(self._a.hz[place[1]]),
            rms=rms,
            told=(quantity.told(largest), quantity.told(rms)),
        )
        return (a, b), difference

    def _blocks(self) -> Iterator[tuple[Floats, Floats]]:
        size = block_size(self.frames[0][1] - self.frames[0][0])
        yield from zip(
            *(
                recut(_checked(shown), *frames, size)
                for shown, frames in zip((self._a, self._b), self.frames, strict=True)
            ),
            strict=True,
        )

    def _least(self) -> float:
        """80 dB below the loudest: what is less is taken for this, as silence has no logarithm."""
        exponent = self._a.quantity.exponent
        if exponent is None:
            return 0.0
        blocks = chain.from_iterable(self._blocks())
        depth: float = _DEPTH ** (exponent / 2.0)
        return depth * max(float(block.max()) for block in blocks)
