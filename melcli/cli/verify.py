"""``melcli verify``: is an output still what was written?"""

from __future__ import annotations

import json
from pathlib import Path

import click

from melcli.cli.funnel import debug_option, say
from melcli.errors import StoreError


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="As JSON, with every fault.")
@debug_option
def verify(file: Path, *, as_json: bool) -> None:
    """Read all of FILE back, and name every fault.

    \b
        melcli verify mels.h5
        melcli verify mels/ --json | jq .faults

    Every row is compared with the checksum it was written with; the exit code is 4 if anything
    is not as it was.
    """
    from melcli.dataset import mels
    from melcli.dataset.verify import faults

    found = []
    with mels.open(file) as output:
        n_items, n_rows = len(output), int(output.reader.items["stop"][-1:].sum())
        for fault in faults(output):
            found.append(fault)
            say(f"{fault.id}: {fault.cause}" if fault.id else fault.cause)
    if as_json:
        listed = [fault._asdict() for fault in found]
        record = {"path": str(file), "items": n_items, "rows": n_rows, "faults": listed}
        click.echo(json.dumps(record, ensure_ascii=False))
    if found:
        raise StoreError(
            f"{len(found):,} fault{'s' * (len(found) > 1)} in {n_items:,} items",
            file,
            "melcli info tells how it was made; --overwrite makes it anew",
        )
    if not as_json:
        click.echo(f"{file}: {n_items:,} items, {n_rows:,} rows, all as they were written")
