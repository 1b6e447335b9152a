"""``melcli scaler``: look at scalers, and put them together."""

from __future__ import annotations

import datetime as dt
import json
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from melcli.cli.funnel import debug_option, say

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from melcli.config import MelConfig
    from melcli.statistics.fitted import Statistics
    from melcli.statistics.moments import Float64s

_WEIGHTS = {
    "frame": "every frame weighs the same",
    "item": "every item weighs the same, however long",
    "batch": "every batch weighs the same, however large",
}
_COLUMNS = {
    "hz": "Hz",
    "mean": "mean",
    "std": "std",
    "min": "min",
    "max": "max",
    "floor_share": "at floor",
    "median": "median",
    "quartile_distance": "quartiles",
}


@click.group()
def scaler() -> None:
    """Statistics of a dataset: look at them, put them together, use them.

    \b
        melcli scaler show scaler.h5
        melcli scaler merge part.1.h5 part.2.h5 -o scaler.h5
    """


@scaler.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="As JSON, with every bin.")
@click.option(
    "--plot",
    "picture",
    metavar="PNG",
    type=click.Path(path_type=Path),
    help="Draw it too: a .png, .svg or .pdf. Needs matplotlib: pip install 'melcli[plot]'.",
)
@debug_option
def show(file: Path, *, as_json: bool, picture: Path | None) -> None:
    """Tell what the scaler FILE holds: what it is of, what is poor about it, and each bin.

    \b
        melcli scaler show scaler.h5
        melcli scaler show scaler.npz --plot scaler.png
        melcli scaler show scaler.pt --json | jq .bins.mean

    Columns: the bin; the frequency it hears best; mean and standard deviation; the least and the
    largest value; the share of frames at the least value of their file; and where quantiles were
    counted, the median and the distance between the quartiles.

    Exit status: 0 shown, 2 no name of a scaler, 4 not there, no scaler or damaged, 5 the machine.
    """
    tell_scaler(file, as_json=as_json, picture=picture)


def tell_scaler(file: Path, *, as_json: bool, picture: Path | None = None) -> None:
    """Tell what a scaler's file holds; `info` does so too."""
    from melcli.scaler import files

    statistics = files.load(file)
    config = _config(statistics)
    record = _record(statistics, config, file)
    if picture is not None:
        from melcli import plot

        title = "".join(_title(record))
        unit = "" if config is None else plot.quantity(config).undrawn
        plot.plot_scaler(statistics, picture, title=title, hz=record["bins"].get("hz"), unit=unit)
    if as_json:
        click.echo(json.dumps(record, ensure_ascii=False, allow_nan=False))
    else:
        for line in (*_lines(record), "", *_table(record["bins"], statistics.n_bins)):
            click.echo(line)


@scaler.command()
@click.argument(
    "scalers", nargs=-1, required=True, metavar="SCALERS...", type=click.Path(path_type=Path)
)
@click.option(
    "-o",
    "--output",
    required=True,
    metavar="OUT",
    type=click.Path(path_type=Path),
    help="An .h5 or .npz; or a .npy or .pt, which keep the mean and the deviation only.",
)
@click.option("--overwrite", is_flag=True, help="Replace what is there.")
@click.option("--json", "as_json", is_flag=True, help="The summary as JSON on stdout.")
@click.option("-q", "--quiet", is_flag=True, help="Print nothing but errors.")
@debug_option
def merge(
    scalers: tuple[Path, ...], output: Path, *, overwrite: bool, as_json: bool, quiet: bool
) -> None:
    """Put the SCALERS of parts of a dataset together in OUT, as if fitted at once.

    \b
        melcli scaler merge part.1.h5 part.2.h5 part.3.h5 -o scaler.h5
        melcli scaler merge scaler.h5 -o scaler.pt

    All must be of one front end and fitted with the same options; of shards, all must be there. One
    alone is written anew in another format. A .npy or .pt does not know of how many frames it is,
    so it cannot be put together with others.

    Exit status: 0 merged, 2 no name of a scaler, 4 OUT is there, or a scaler is missing, there
    twice, damaged or different, 5 the machine.
    """
    from melcli.pipeline.report import plural
    from melcli.scaler import merge as parts

    merged = parts.merge(
        scalers,
        output,
        command=shlex.join(["melcli", *sys.argv[1:]]),
        created=dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
        overwrite=overwrite,
    )
    if as_json:
        record = {
            "output": str(output),
            "scalers": len(scalers),
            "bins": merged.n_bins,
            "frames": merged.moments.count,
            "items": merged.n_items,
            "failed": merged.n_failed,
        }
        click.echo(json.dumps(record, ensure_ascii=False))
    if not quiet:
        held = f"{plural(merged.moments.count, 'frame')} of {plural(merged.n_items, 'item')}"
        say(
            f"{output}: {plural(len(scalers), 'scaler')}, {plural(merged.n_bins, 'bin')}"
            + ("" if merged.is_export else f", {held}")
        )


def _config(statistics: Statistics) -> MelConfig | None:
    """The front end, where it is known to this melcli."""
    from melcli.config import MelConfig
    from melcli.errors import ConfigError

    try:
        config = MelConfig.from_toml(statistics.config) if statistics.config else None
    except ConfigError:
        return None  # of a newer melcli, say; its statistics are what they are
    if config is None or config.digest != statistics.config_digest:
        return None
    return config if config.row_shape[-1] == statistics.n_bins else None


def _record(statistics: Statistics, config: MelConfig | None, file: Path) -> dict[str, Any]:
    """All that is known, as plain texts, numbers and lists; what is not known is left out."""
    from melcli.statistics.diagnosis import faults

    record: dict[str, Any] = {"path": str(file), "n_bins": statistics.n_bins}
    if not statistics.is_export:
        moments = statistics.moments
        record |= {
            "frames": moments.count,
            "items": statistics.n_items,
            "failed": statistics.n_failed,
            "weight": statistics.weight,
            "total_weight": moments.weight,
        }
    if statistics.config_digest:
        record |= {
            "config": config.name if config else "",
            "config_digest": statistics.config_digest,
            "config_toml": statistics.config,
        }
    if statistics.made:
        record["made"] = dict(statistics.made)
    return record | {
        "faults": list(faults(statistics)),
        "bins": {name: numbers.tolist() for name, numbers in _bins(statistics, config)},
    }


def _bins(statistics: Statistics, config: MelConfig | None) -> Iterator[tuple[str, Float64s]]:
    """What is known of each bin, by the names that JSON has for it."""
    from melcli.statistics.normalize import QUARTILES

    moments = statistics.moments
    if config is not None:
        from melcli.scaler.bands import bin_centres  # brings torch in

        yield "hz", bin_centres(config)
    yield "mean", moments.mean
    yield "std", moments.std
    if not statistics.is_export:
        yield "min", moments.min
        yield "max", moments.max
        yield "floor_share", statistics.floor_share
    if statistics.counts is not None:
        lower, median, upper = statistics.counts.quantiles(QUARTILES)
        yield "lower_quartile", lower
        yield "median", median
        yield "upper_quartile", upper
        yield "quartile_distance", upper - lower


def _title(record: Mapping[str, Any]) -> Iterator[str]:
    from melcli.pipeline.report import plural

    yield f"{record['path']}: "
    if record.get("config"):
        yield f"{record['config']}, "
    if "frames" in record:
        yield f"{plural(record['frames'], 'frame')} of "
    yield plural(record["n_bins"], "bin")


def _lines(record: Mapping[str, Any]) -> Iterator[str]:
    yield "".join(_title(record))
    if "config_digest" in record:
        name = record["config"] or "unnamed"
        yield f"  config    {name}, digest {record['config_digest'][:16]}"
    else:
        yield "  config    not known: this file does not say what it was fitted to"
    if "frames" in record:
        yield f"  items     {record['items']:,}, and {record['failed']:,} failed"
        yield f"  weight    {_WEIGHTS[record['weight']]}"
    else:
        yield "  holds     mean and standard deviation, and nothing else"
    made = dict(record.get("made", {}))
    created, version = made.pop("created", ""), made.pop("melcli_version", "")
    if created or version:
        yield f"  created   {created or 'some time'} by melcli {version or '(version not known)'}"
    command = made.pop("command", "")
    for key, text in sorted(made.items()):
        if not key.endswith("_digest"):  # for programs: --json has them
            yield f"  {key:<9} {_told(text)}"
    if command:
        yield f"  command   {command}"
    yield from (f"  note      {fault}" for fault in record["faults"])


def _told(text: str) -> str:
    """A text as it is, or the record that it is, as people read it."""
    try:
        record = json.loads(text) if text.startswith("{") else None
    except (ValueError, RecursionError):
        record = None
    if not isinstance(record, dict):
        return text
    return ", ".join(f"{key} {value}" for key, value in record.items())


def _table(bins: Mapping[str, Sequence[float]], n_bins: int) -> Iterator[str]:
    columns = [["bin", *map(str, range(n_bins))]]
    for name, heading in _COLUMNS.items():
        if name in bins:
            columns.append([heading, *(_cell(name, number) for number in bins[name])])
    widths = [max(map(len, column)) for column in columns]
    for row in zip(*columns, strict=True):
        yield "  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True))


def _cell(name: str, number: float) -> str:
    if name == "hz":
        return f"{number:.0f}"
    return f"{number:.1%}" if name == "floor_share" else f"{number:.5g}"
