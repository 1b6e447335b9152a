"""``melcli info``: what an output or a scaler holds."""

from __future__ import annotations

import itertools
import json
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from melcli.cli.funnel import debug_option
from melcli.cli.scaler import tell_scaler

if TYPE_CHECKING:
    from collections.abc import Iterator

    from melcli.dataset.mels import Mels

_FIRST_FAILURES = 10
_SCALERS = {".npz", ".npy", ".pt", ".pth", ".ckpt"}


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="As JSON, with every failure.")
@debug_option
def info(file: Path, *, as_json: bool) -> None:
    """Tell what FILE holds: counts, hours, settings, versions, failures.

    \b
        melcli info mels.h5
        melcli info mels.h5 --json | jq .failures
        melcli info train.npz

    FILE is an output of extract, or a scaler of fit-scaler.
    """
    from melcli.store import scalers

    is_other = file.suffix.lower() in _SCALERS and file.is_file()
    if is_other or (file.suffix.lower() in scalers.SUFFIXES and scalers.is_scaler(file)):
        tell_scaler(file, as_json=as_json)
        return
    from melcli.dataset import mels

    with mels.open(file) as output:
        if as_json:
            click.echo(json.dumps(_record(output), ensure_ascii=False))
        else:
            for line in _lines(output):
                click.echo(line)


def _record(output: Mels) -> dict[str, Any]:
    columns = output.reader.items
    start, stop = columns["start"], columns["stop"]
    seconds = columns["n_samples"] / columns["sample_rate"]
    header = output.header
    n_inputs, audio, notes = 0, 0.0, Counter[str]()
    n_excerpts, recordings = 0, set[int]()
    for outcome in output.reader.outcomes():
        n_inputs += 1
        if outcome.excerpt is not None:
            n_excerpts += 1
            recordings.add(hash(outcome.excerpt.recording))
        items = getattr(outcome, "items", ())
        notes.update({note for item in items for note in item.notes})
        for item in items[:1]:  # channels and chunks of an input each carry its whole length
            audio += item.n_samples / item.sample_rate
    return {
        "path": str(output.path),
        "content": header.content,
        "inputs": n_inputs,
        "items": len(output),
        "rows": int((stop - start).sum()),
        "row_shape": list(header.row_shape),
        "dtype": header.dtype,
        "audio_seconds": round(audio, 3),
        "longest_seconds": round(float(seconds.max()), 3) if len(output) else 0.0,
        "sample_rates": _counts(columns["sample_rate"].tolist()),
        "channels": _counts(columns["n_channels"].tolist()),
        "notes": dict(sorted(notes.items())),
        **({"excerpts": n_excerpts, "recordings": len(recordings)} if n_excerpts else {}),
        **_certificates(output),
        "config": output.config.name,
        "config_digest": header.config_digest,
        "settings": dict(header.settings),
        "machine": dict(header.machine),
        "created": header.created,
        "command": header.command,
        "melcli_version": header.melcli_version,
        "failures": [
            {"id": failed.id, "cause": failed.cause, "remedy": failed.remedy}
            for failed in output.failures
        ],
    }


def _lines(output: Mels) -> Iterator[str]:
    from melcli.pipeline.report import duration, plural

    record = _record(output)
    yield f"{record['path']}: {plural(record['items'], 'item')}, {_what(output)}"
    longest = duration(record["longest_seconds"])
    yield f"  audio     {duration(record['audio_seconds'])}, the longest item {longest}"
    yield "  rates     " + ", ".join(f"{k} Hz ({n:,})" for k, n in record["sample_rates"].items())
    yield "  channels  " + ", ".join(f"{k} ({n:,})" for k, n in record["channels"].items())
    if "excerpts" in record:
        found = plural(record["recordings"], "recording")
        yield f"  excerpts  {record['excerpts']:,} of {found}"
    if record["notes"]:
        yield "  changed   " + ", ".join(f"{n:,} {note}" for note, n in record["notes"].items())
    if "largest_residual" in record:
        worst, n_steps = record["largest_residual"], record["most_steps"]
        clipped = plural(record["clipped"], "number")
        yield f"  residual  {worst:.1e} at most, {n_steps:,} steps; {clipped} of the mels clipped"
    yield f"  config    {record['config'] or 'unnamed'}, digest {record['config_digest'][:16]}"
    yield "  settings  " + ", ".join(f"{k} {v}" for k, v in sorted(record["settings"].items()))
    yield "  machine   " + ", ".join(f"{k} {v}" for k, v in sorted(record["machine"].items()))
    yield f"  created   {record['created']} by melcli {record['melcli_version']}"
    yield f"  command   {record['command']}"
    failures = record["failures"]
    if failures:
        yield f"  failures  {len(failures):,}"
    for failed in itertools.islice(failures, _FIRST_FAILURES):
        yield f"    {failed['id']}: {failed['cause']}"
    if len(failures) > _FIRST_FAILURES:
        yield f"    and {len(failures) - _FIRST_FAILURES:,} more: --json lists all"


def _what(output: Mels) -> str:
    """The rows in words: of mels, of spectra, or bytes of files."""
    from melcli.pipeline.report import plural, size
    from melcli.store.records import AUDIO_FORMAT

    header, n_rows = output.header, int(output.reader.items["stop"][-1:].sum())
    if header.content == "audio":
        return f"{size(n_rows)} of {header.settings[AUDIO_FORMAT].upper()} files"
    shape = " x ".join(map(str, header.row_shape))
    bins = "" if header.content == "mel" else " spectra:"
    return f"{plural(n_rows, 'row')} of{bins} {shape} {header.dtype}"


def _certificates(output: Mels) -> dict[str, Any]:
    """The worst of what was computed back from mels; nothing of mels."""
    columns = output.reader.certificates
    if not columns or not len(output):
        return {}
    return {
        "largest_residual": float(columns["residual"].max()),
        "most_steps": int(columns["n_steps"].max()),
        "clipped": int(columns["n_clipped"].sum()),
    }


def _counts(values: list[int]) -> dict[str, int]:
    return {str(value): count for value, count in sorted(Counter(values).items())}
