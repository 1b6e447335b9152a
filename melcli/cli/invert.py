"""``melcli invert``: mels to linear spectra."""

from __future__ import annotations

import json
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from melcli.cli.funnel import stoppable
from melcli.cli.options import (
    Normalizing,
    Telling,
    input_options,
    mel_config_options,
    normalized_options,
    run_options,
    spectra_options,
    telling_options,
)
from melcli.cli.process import keep_freed_memory, keep_stdout_clean, large_imports
from melcli.cli.progress import Progress
from melcli.cli.summary import after_output, sum_up, tell_how_to_do_it
from melcli.errors import UsageError

if TYPE_CHECKING:
    from melcli.config import AudioConfig, InvertConfig, MelConfig, OutputConfig, RunConfig
    from melcli.config.invert import Method
    from melcli.pipeline.plan import Selection
    from melcli.statistics.normalize import Normalization


@click.command()
@input_options
@click.option("-o", "--output", metavar="OUT", help="An .h5 file, a folder (ending in /), or -.")
@mel_config_options
@click.option(
    "--method",
    type=click.Choice(["nnls", "pinv"]),
    default="nnls",
    help="Spectra that have the mel; or the pseudo-inverse, clamped at 0.",
)
@click.option(
    "--tolerance",
    type=float,
    default=1e-5,
    metavar="R",
    help="The mel residual at which a frame is done; 1e-5 unless told otherwise.",
)
@click.option("--max-residual", type=float, metavar="R", help="Fail items that are further off.")
@click.option("--audio", "has_audio", is_flag=True, help="Go on to waveforms: OUT is a folder.")
@click.option(
    "--audio-format",
    type=click.Choice(["wav", "flac"]),
    help="WAV of float32, or FLAC of 16 bits; wav unless told otherwise.",
)
@click.option(
    "--iterations", type=int, metavar="N", help="Of Griffin-Lim; 32 unless told otherwise."
)
@click.option("--momentum", type=float, metavar="M", help="Of Griffin-Lim, below 1; 0.99.")
@click.option("--seed", type=int, metavar="N", help="Of the phases that it starts from; 0.")
@normalized_options
@spectra_options
@run_options
@click.option("--dry-run", is_flag=True, help="Read no mel, and say what would be done.")
@telling_options
def invert(
    selection: Selection,
    output: str | None,
    config: MelConfig | None,
    out: OutputConfig,
    run: RunConfig,
    telling: Telling,
    normalizing: Normalizing,
    *,
    dry_run: bool,
    method: Method,
    tolerance: float,
    max_residual: float | None,
    has_audio: bool,
    **sounding: Any,  # noqa: ANN401, as click has them
) -> None:
    """Write a linear spectrum, or a waveform, for every mel in INPUTS to OUT.

    \b
        melcli invert mels.h5 -o spectra.h5
        melcli invert mels/ -o spectra/ --tolerance 1e-3
        melcli invert generated/ -o spectra.h5 --config hifigan-22k
        melcli invert mels.h5 -o wavs/ --audio
        melcli invert generated/ -o wavs/ --audio --iterations 64 --config hifigan-22k
        melcli extract a.wav -o - -c whisper-80 | melcli invert - -o - -c whisper-80 > spectrum.npy

    INPUTS is an output of extract, which knows its front end; or .npy files and folders of them,
    or - for one on standard input, with the --config that made them, and the --scaler if there was
    one. What the front end did behind its filterbank is undone: scaler, scaling, log. What was
    clipped stays clipped, and is counted.

    A mel has fewer numbers than a spectrum: OUT holds one that is never negative, has this mel to
    the tolerance, and is as smooth as it can be; and for each item how far off its mel is.

    With --audio phases are found that frames which overlap can agree on, and OUT is a folder of
    audio files that mirrors the ids. The same seed gives the same bytes.

    Exit status: 0 all done, 1 some inputs failed, 2 wrong usage or a front end that cannot be
    undone, 3 no input found, 4 mels of another front end, or an output with other settings, 5 the
    machine (disk full, no such device), 130 interrupted.
    """
    from melcli.config import InvertConfig

    how = InvertConfig(method=method, tolerance=tolerance, max_residual=max_residual)
    audio = _audio_config(sounding, has_audio=has_audio)
    telling.check_streams(output, dry_run=dry_run)
    scaler = None if config is None else normalizing.load(config, quiet=telling.quiet)
    if normalizing.scaler is not None and config is None:
        raise click.UsageError(
            "--scaler is for .npy files, with a --config; an output has its own."
        )
    if dry_run:
        _dry_run(selection, config, audio, scaler, as_json=telling.as_json)
        tell_how_to_do_it(telling, output)
        return
    if output is None:
        raise click.UsageError("Missing option '-o': an .h5 file, a folder, or -.")
    keep_stdout_clean()
    with stoppable() as at_stop:
        if output == "-":
            _to_stdout(selection, config, how, audio, out, run, scaler)
            return
        with large_imports():
            from melcli import store
            from melcli.pipeline import (
                invert as pipeline,
            )  # brings torch in; --help should not wait

        keep_freed_memory()
        with Progress(telling) as progress:
            at_stop(progress.stop)
            at_stop(lambda: store.begun_path(Path(output), selection.shard).unlink())
            books = pipeline.invert(
                selection,
                output,
                config,
                how=how,
                audio=audio,
                scaler=scaler,
                out=out,
                run=run,
                listener=progress,
                command=shlex.join(["melcli", *sys.argv[1:]]),
            )
    if telling.as_json:
        click.echo(json.dumps(books.to_record()))
    sum_up(
        books,
        telling,
        progress.warnings,
        after_output(books, selection.shard),
        more=f"{shlex.join(['melcli', 'info', output])} --json lists all",
    )
    if books.exit_code:
        sys.exit(books.exit_code)


def _audio_config(sounding: dict[str, Any], *, has_audio: bool) -> AudioConfig | None:
    """What a command line says of waveforms; None if it wants none."""
    from melcli.config import AudioConfig

    names = {"audio_format": "format", "iterations": "n_iter"}
    given = {names.get(key, key): value for key, value in sounding.items() if value is not None}
    if given and not has_audio:
        option = next(key for key, value in sounding.items() if value is not None)
        raise click.UsageError(
            f"--{option.replace('_', '-')} is for --audio, which is not asked for."
        )
    return AudioConfig(**given) if has_audio else None


def _dry_run(
    selection: Selection,
    config: MelConfig | None,
    audio: AudioConfig | None,
    scaler: Normalization | None,
    *,
    as_json: bool,
) -> None:
    with large_imports():
        from melcli.pipeline.invert import foresee

    found = foresee(selection, config, audio, scaler)
    click.echo(json.dumps(found.to_record()) if as_json else str(found))


def _to_stdout(
    selection: Selection,
    config: MelConfig | None,
    how: InvertConfig,
    audio: AudioConfig | None,
    out: OutputConfig,
    run: RunConfig,
    scaler: Normalization | None,
) -> None:
    if sys.stdout.isatty():
        raise UsageError(
            "standard output is a terminal, and what is written is no text",
            None,
            "-o - > spectrum.npy",
        )
    with large_imports():
        from melcli.pipeline.invert import invert_to_stream

    invert_to_stream(selection, sys.stdout.buffer, config, how, audio, out, run, scaler)
