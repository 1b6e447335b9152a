"""The command line: words in, one call, words out. click and tqdm are known here only."""

from __future__ import annotations

import click

import melcli
from melcli.cli.configs import configs
from melcli.cli.doctor import doctor
from melcli.cli.extract import extract
from melcli.cli.funnel import Funnel
from melcli.cli.info import info

__all__ = ["cli", "main"]


@click.group(
    cls=Funnel,
    context_settings={
        "auto_envvar_prefix": "MELCLI",
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
        melcli info mels.h5
        melcli configs list

    Every option can come from the environment: --config of extract from MELCLI_EXTRACT_CONFIG.
    """


for command in (extract, configs, info, doctor):
    cli.add_command(command)


def main() -> None:
    """Run the command line."""
    cli()
