"""``melcli configs``: the named front ends, and checking one's own."""

from __future__ import annotations

import sys

import click

from melcli.cli.funnel import debug_option, tell
from melcli.errors import ConfigError


@click.group()
def configs() -> None:
    """The front ends that --config knows by name.

    \b
        melcli configs list
        melcli configs show whisper-80
        melcli configs check mine.toml
    """


@configs.command("list")
@debug_option
def list_configs() -> None:
    """List them, with what tells them apart.

    \b
        melcli configs list
    """
    from melcli import presets

    rows = [("NAME", "RATE", "FFT/HOP", "MELS", "LOG", "FOR")]
    for preset in presets.presets():
        config = preset.config
        short = [alias for alias, name in presets.ALIASES.items() if name == preset.name]
        rows.append(
            (
                preset.name + "".join(f" ({alias})" for alias in short),
                str(config.wave.sample_rate),
                f"{config.frame.n_fft}/{config.frame.hop_length}",
                str(config.mel.n_mels),
                _log(config.log.log, config.log.log_mult),
                preset.about.summary,
            )
        )
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        click.echo("  ".join(cells).rstrip())


@configs.command("show")
@click.argument("name")
@click.option("--resolved", is_flag=True, help="Every field, with nothing left to a default.")
@debug_option
def show_config(name: str, *, resolved: bool) -> None:
    """Print a front end: its file, or with --resolved every field.

    \b
        melcli configs show whisper-80
        melcli configs show whisper-80 --resolved > mine.toml
    """
    from melcli import presets

    preset = presets.load(name)
    if resolved:
        click.echo(f"# digest {preset.config.digest}\n{preset.config.to_toml()}", nl=False)
    else:
        click.echo(preset.text, nl=False)


@configs.command("check")
@click.argument("names", nargs=-1, required=True)
@debug_option
def check_configs(names: tuple[str, ...]) -> None:
    """Check front ends, and tell all that is wrong with each.

    \b
        melcli configs check mine.toml
    """
    from melcli import presets

    faulty = 0
    for name in names:
        try:
            preset = presets.load(name)
        except ConfigError as error:
            tell(error)
            faulty += 1
        else:
            from melcli.dsp.mel import filterbank_faults  # brings torch in

            click.echo(f"{name}: good, digest {preset.config.digest}")
            for fault in filterbank_faults(preset.config):
                click.echo(f"  warning: {fault}")
    if faulty:
        sys.exit(ConfigError.exit_code)


def _log(base: str, factor: float) -> str:
    if base == "none":
        return "-"
    return base if factor == 1.0 else f"{factor:g} {base}"
