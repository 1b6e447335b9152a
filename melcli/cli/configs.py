"""``melcli configs``: the named front ends, and checking one's own."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from melcli.cli.funnel import debug_option, say, tell
from melcli.cli.plot import picture_target
from melcli.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from melcli.presets import Preset


@click.group()
def configs() -> None:
    """The front ends that --config knows by name.

    \b
        melcli configs list
        melcli configs show whisper-80
        melcli configs check mine.toml
        melcli configs plot whisper-80 -o filterbank.png
    """


@configs.command("list")
@click.argument("word", required=False)
@click.option("--rate", type=int, metavar="HZ", help="Only those that work at this sample rate.")
@click.option("--group", metavar="TEXT", help="Only groups with this in their heading.")
@debug_option
def list_configs(word: str | None, rate: int | None, group: str | None) -> None:
    """List them, or those that have WORD in their name or use.

    \b
        melcli configs list
        melcli configs list whisper
        melcli configs list --group text --rate 24000

    WORD is looked for in names, short names (in brackets), summaries, headings, and the models that
    compute the same. FFT/HOP are samples; MELS is 80x7 where seven frames of 80 bands make a row.
    """
    from melcli import presets

    found = presets.search(word, sample_rate=rate, group=group)
    rows = {preset.name: _row(preset) for preset in found}
    head = ("NAME", "RATE", "FFT/HOP", "MELS", "LOG", "FOR")
    widths = [max(map(len, column)) for column in zip(head, *rows.values(), strict=True)]
    click.echo(_line(head, widths))
    for heading, members in presets.by_group(found).items():
        click.echo(f"\n{heading}")
        for preset in members:
            line = _line(rows[preset.name], widths)
            click.echo(line)
            if word and not presets.holds(line, word):
                users = [user for user in preset.about.also if presets.holds(user, word)]
                if users:
                    click.echo(f"    used by {', '.join(users)}")


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


@configs.command("plot")
@click.argument("name")
@click.option(
    "-o",
    "--output",
    required=True,
    metavar="PNG",
    help="A .png, .svg or .pdf, replaced if it is there; or -, a PNG on standard output.",
)
@click.option(
    "--set",
    "settings",
    multiple=True,
    metavar="KEY=VALUE",
    help="Change one value of it: --set mel.n_mels=64.",
)
@debug_option
def plot_config(name: str, output: str, settings: tuple[str, ...]) -> None:
    """Draw the filterbank of the front end NAME, which may be a .toml file.

    \b
        melcli configs plot whisper-80 -o filterbank.png
        melcli configs plot librosa -o few.svg --set mel.n_mels=24

    Above, the weight of each band over Hz. Below, for each band where it lies, and how wide it is
    at half its height, beside the step from one bin of the FFT to the next: of bands that are
    narrower some say the same as their neighbours, and some are empty, which is marked.

    Exit status: 0 drawn, 2 no such front end, or no name of a picture, 5 the machine (no
    matplotlib, disk full).
    """
    from melcli import plot, presets
    from melcli.config import parse_setting

    target = picture_target(output)
    config = presets.load(name).config
    config = config.updated(dict(map(parse_setting, settings))) if settings else config
    plot.check_target(target)
    from melcli.dsp.mel import config_filterbank, filterbank_faults  # brings torch in
    from melcli.scaler.bands import bin_centres

    centres = bin_centres(config)[: config.mel.n_mels]
    plot.plot_filterbank(config, config_filterbank(config).numpy(), centres, target)
    for fault in filterbank_faults(config):
        say(f"warning: {fault}")


def _row(preset: Preset) -> tuple[str, ...]:
    config = preset.config
    stack = f"x{config.out.stack}" if config.out.stack > 1 else ""
    return (
        preset.name + "".join(f" ({alias})" for alias in preset.aliases),
        str(config.wave.sample_rate),
        f"{config.frame.n_fft}/{config.frame.hop_length}",
        f"{config.mel.n_mels}{stack}",
        _log(config.log.log, config.log.log_mult),
        preset.about.summary,
    )


def _line(cells: Iterable[str], widths: list[int]) -> str:
    return "  ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)).rstrip()


def _log(base: str, factor: float) -> str:
    if base == "none":
        return "-"
    return base if factor == 1.0 else f"{factor:g} {base}"
