"""The command line: words in, one call, words out. click and tqdm are known here only."""

from __future__ import annotations

import os
import sys

import click

import melcli
from melcli.cli.completion import completion, know_values
from melcli.cli.configs import configs
from melcli.cli.doctor import doctor
from melcli.cli.extract import extract
from melcli.cli.fit_scaler import fit_scaler
from melcli.cli.funnel import Funnel
from melcli.cli.info import info
from melcli.cli.invert import invert
from melcli.cli.merge import merge
from melcli.cli.plot import plot
from melcli.cli.scaler import scaler
from melcli.cli.scaler_apply import apply, undo
from melcli.cli.verify import verify

__all__ = ["cli", "main"]


@click.group(
    cls=Funnel,
    context_settings={
        "help_option_names": ["-h", "--help"],
        "max_content_width": 100,
    },
)
@click.version_option(melcli.__version__, prog_name="melcli")
def cli() -> None:
    """Mel spectrograms for whole datasets, equal to the front end your model was trained on.

    \b
        melcli extract corpus/ -o mels.h5
        melcli extract corpus/ -o mels.h5 --config whisper-80
        melcli extract speech.flac -o - > mel.npy
        melcli extract corpus/ -o mels.3.h5 --shard 3/8
        melcli merge mels.?.h5 -o mels.h5
        melcli fit-scaler mels.h5 -o train.npz --ids train.txt
        melcli invert mels.h5 -o spectra.h5
        melcli plot mels.h5 --id a/b.wav -o mel.png
        melcli info mels.h5
        melcli verify mels.h5 --audio-root corpus/
        melcli configs list

    Every option can come from the environment: --config of extract from MELCLI_EXTRACT_CONFIG.
    `melcli completion` tells how Tab completes commands, options and front ends.
    """


for command in (apply, undo):
    scaler.add_command(command)
for command in (
    extract,
    fit_scaler,
    scaler,
    invert,
    merge,
    configs,
    plot,
    info,
    verify,
    doctor,
    completion,
):
    cli.add_command(command)


def _name_variables(command: click.Command, prefix: str) -> None:
    """Give every option the variable that is called what the option is called.

    click's own auto_envvar_prefix goes by the names of parameters, which are not always those.
    """
    for option in command.params:
        if isinstance(option, click.Option):
            longest = max(option.opts, key=len).lstrip("-")
            option.envvar = f"{prefix}_{longest}".upper().replace("-", "_")
    if isinstance(command, click.Group):
        for name, inner in command.commands.items():
            _name_variables(inner, f"{prefix}_{name}")


for command in cli.commands.values():
    _name_variables(command, f"melcli_{command.name}")
    know_values(command)


def main() -> None:
    """Run the command line."""
    _open_closed_streams()
    cli()


def _open_closed_streams() -> None:
    """Where a standard stream is closed (``>&-``), put the null device in its place.

    Else the next file opened would get its number, and whatever is printed would land there.
    """
    for number, (name, mode) in enumerate((("stdin", "r"), ("stdout", "w"), ("stderr", "w"))):
        if getattr(sys, name) is None:
            os.open(os.devnull, os.O_RDWR)  # gets the lowest free number: this one
            setattr(sys, name, open(number, mode, encoding="utf-8", closefd=False))  # noqa: SIM115
