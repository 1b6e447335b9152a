"""``melcli merge``: shards to one output."""

from __future__ import annotations

import datetime as dt
import json
import shlex
import sys
import time
from pathlib import Path

import click

from melcli.cli.funnel import debug_option, say, stoppable
from melcli.cli.summary import after

_LINE_EVERY_SECONDS = 30.0


@click.command()
@click.argument("shards", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path))
@click.option(
    "-o", "--output", required=True, metavar="OUT", help="An .h5 file, or a folder (ending in /)."
)
@click.option("--overwrite", is_flag=True, help="Replace a finished output by a new one.")
@click.option(
    "--accept-different-machine",
    is_flag=True,
    help="Put rows together that other versions or another processor made.",
)
@click.option("--json", "as_json", is_flag=True, help="The summary as JSON on stdout.")
@click.option("-q", "--quiet", is_flag=True, help="Print nothing but errors.")
@debug_option
def merge(
    shards: tuple[Path, ...],
    output: str,
    *,
    overwrite: bool,
    accept_different_machine: bool,
    as_json: bool,
    quiet: bool,
) -> None:
    """Put the SHARDS that extract --shard made together in OUT: all of them, or none.

    \b
        melcli merge mels.1.h5 mels.2.h5 mels.3.h5 -o mels.h5
        melcli merge mels/ -o mels/

    OUT holds what one run over all inputs would have written. A folder stands for all shards in it;
    if OUT is the same folder, their files stay where they are. Killed at any moment, the same
    command goes on where it was.

    Exit status: 0 merged, 4 a shard is missing, there twice, damaged or different, 5 the machine.
    """
    from melcli.pipeline.report import plural, size
    from melcli.pipeline.target import output_path
    from melcli.store import merge as store

    path, last_line = output_path(output), time.monotonic()

    def advanced(n_inputs: int) -> None:
        nonlocal last_line
        if not quiet and time.monotonic() - last_line >= _LINE_EVERY_SECONDS:
            last_line = time.monotonic()
            say(f"{n_inputs:,} inputs merged")

    with stoppable():
        merged = store.merge(
            shards,
            path,
            command=shlex.join(["melcli", *sys.argv[1:]]),
            created=dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
            overwrite=overwrite,
            accept_different_machine=accept_different_machine,
            advanced=advanced,
        )
    if as_json:
        record = {
            "output": output,
            "shards": merged.n_shards,
            "items": merged.n_items,
            "failures": merged.n_failures,
            "bytes_copied": merged.n_bytes,
        }
        click.echo(json.dumps(record))
    if not quiet:
        shards_told = plural(merged.n_shards, "shard") if merged.n_shards else "merged already"
        say(
            f"{output}: {shards_told}, {plural(merged.n_items, 'item')}, "
            f"{plural(merged.n_failures, 'failure')}, {size(merged.n_bytes)} copied"
        )
        if merged.n_shards and not as_json:
            say(after("info", output))
