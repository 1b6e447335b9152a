"""``melcli extract``: audio to mels."""

from __future__ import annotations

import json
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from melcli.cli.funnel import stoppable
from melcli.cli.options import (
    Normalizing,
    Telling,
    audio_options,
    config_options,
    normalize_options,
    output_options,
    run_options,
    telling_options,
)
from melcli.cli.process import keep_freed_memory, keep_stdout_clean, large_imports
from melcli.cli.progress import Progress
from melcli.cli.summary import after_output, sum_up, tell_how_to_do_it
from melcli.errors import UsageError

if TYPE_CHECKING:
    from melcli.config import MelConfig, OutputConfig, RunConfig
    from melcli.pipeline.plan import Selection
    from melcli.statistics.normalize import Normalization


@click.command()
@audio_options
@click.option("-o", "--output", metavar="OUT", help="An .h5 file, a folder (ending in /), or -.")
@config_options
@normalize_options
@output_options
@run_options
@click.option("--dry-run", is_flag=True, help="Read headers only, and say what would be done.")
@telling_options
def extract(
    selection: Selection,
    output: str | None,
    config: MelConfig,
    normalizing: Normalizing,
    out: OutputConfig,
    run: RunConfig,
    telling: Telling,
    *,
    dry_run: bool,
) -> None:
    """Write the mel spectrogram of every audio file in INPUTS to OUT.

    \b
        melcli extract corpus/ -o mels.h5
        melcli extract corpus/ -o mels.h5 --config hifigan-22k
        melcli extract corpus/ -o mels/ --config whisper-80 --long cut
        find corpus -name '*.wav' -print0 | melcli extract --files-from - -0 -o mels.h5
        melcli extract --files-from segments.csv -o mels.h5
        melcli extract corpus/ -o mels.h5 --scaler train.npz --normalize standard
        melcli extract corpus/ -o mels.h5 --dry-run
        sox in.flac -t wav - | melcli extract - -o - > mel.npy
        ffmpeg -i in.m4a -f s16le - | melcli extract - --raw 44100,2,s16le -o - > mel.npy

    INPUTS are files, folders, or - for one audio stream on standard input. Killed at any moment,
    the same command goes on where it was; new and changed files are added to a finished output.

    A list of names, or a table (.csv, .tsv, .jsonl) with columns path, id, start, end (seconds) and
    channel, of which all but the first may be missing: then parts of recordings are inputs. Kaldi's
    wav.scp goes with --segments.

    Exit status: 0 all done, 1 some inputs failed, 2 wrong usage, 3 no input found, 4 the output
    has other settings, 5 the machine (disk full, no such device), 130 interrupted.
    """
    telling.check_streams(output, dry_run=dry_run)
    is_chosen = click.get_current_context().meta["melcli.config_chosen"]
    scaler = normalizing.load(config, is_chosen=is_chosen, quiet=telling.quiet)
    if dry_run:
        _dry_run(selection, output, config, out, run, as_json=telling.as_json)
        tell_how_to_do_it(telling, output)
        return
    if output is None:
        raise click.UsageError("Missing option '-o': an .h5 file, a folder, or -.")
    keep_stdout_clean()
    with stoppable() as at_stop:
        if output == "-":
            _to_stdout(selection, config, out, run, scaler)
            return
        with large_imports():
            from melcli import store
            from melcli.pipeline import run as pipeline  # brings torch in; --help should not wait

        keep_freed_memory()
        with Progress(telling) as progress:
            at_stop(progress.stop)
            at_stop(lambda: store.begun_path(Path(output), selection.shard).unlink())
            books = pipeline.extract(
                selection,
                output,
                config,
                scaler=scaler,
                out=out,
                run=run,
                listener=progress,
                command=shlex.join(["melcli", *sys.argv[1:]]),
            )
    if telling.as_json:
        click.echo(json.dumps(books.to_record()))
    hint = "no --config was given, so it was librosa; melcli configs list shows others"
    sum_up(
        books,
        telling,
        progress.warnings,
        after_output(books, selection.shard),
        more=f"{shlex.join(['melcli', 'info', output])} --json lists all",
        hints=[] if is_chosen else [hint],
    )
    if books.exit_code:
        sys.exit(books.exit_code)


def _dry_run(
    selection: Selection,
    output: str | None,
    config: MelConfig,
    out: OutputConfig,
    run: RunConfig,
    *,
    as_json: bool,
) -> None:
    from melcli.pipeline.survey import survey
    from melcli.pipeline.target import output_path, plan_inputs

    path = None if output in {None, "-"} else output_path(output or "")
    plan = plan_inputs(selection, path, config, out)
    found = survey(plan, config, out, run.n_workers)
    click.echo(json.dumps(found.to_record()) if as_json else str(found))


def _to_stdout(
    selection: Selection,
    config: MelConfig,
    out: OutputConfig,
    run: RunConfig,
    scaler: Normalization | None,
) -> None:
    if sys.stdout.isatty():
        raise UsageError(
            "standard output is a terminal, and .npy is no text", None, "-o - > mel.npy"
        )
    with large_imports():
        from melcli.pipeline.run import extract_to_stream

    extract_to_stream(selection, sys.stdout.buffer, config, out, run, scaler)
