"""``melcli plot``: pictures."""

from __future__ import annotations

import sys
from typing import IO, TYPE_CHECKING

import click

from melcli.cli.funnel import debug_option, say
from melcli.cli.options import optional_config_options
from melcli.cli.process import keep_stdout_clean, large_imports
from melcli.errors import UsageError

if TYPE_CHECKING:
    from melcli.config import MelConfig


@click.command()
@click.argument("inputs", nargs=-1, metavar="INPUT", type=click.Path())
@click.option(
    "-o",
    "--output",
    required=True,
    metavar="PNG",
    help="A .png, .svg or .pdf, replaced if it is there; or -, a PNG on standard output.",
)
@click.option("--compare", is_flag=True, help="Two INPUTs, A and B, and B - A.")
@click.option("--id", "item_id", metavar="ID", help="Which item of an output.")
@click.option("--start", type=float, metavar="S", help="From this second on.")
@click.option("--end", type=float, metavar="S", help="Up to this second.")
@click.option("--title", metavar="TEXT", help="Above it, instead of the id.")
@optional_config_options
@click.option("-q", "--quiet", is_flag=True, help="Print nothing but errors.")
@debug_option
def plot(
    inputs: tuple[str, ...],
    output: str,
    config: MelConfig | None,
    *,
    compare: bool,
    item_id: str | None,
    start: float | None,
    end: float | None,
    title: str | None,
    quiet: bool,
) -> None:
    """Draw INPUT: a mel over seconds and Hz, a linear spectrum, or a scaler.

    \b
        melcli plot speech.wav -o speech.png
        melcli plot speech.wav -o speech.png --config whisper-80 --end 5
        melcli plot mels.h5 --id a/b.wav -o mel.png
        melcli plot --compare mels.h5 other.h5 --id a/b.wav -o difference.png
        melcli plot --compare speech.wav wavs/speech.wav -o difference.svg
        melcli plot train.npz -o scaler.pdf
        melcli extract a.wav -o - -c whisper-80 | melcli plot - -c whisper-80 -o a.png

    INPUT is an audio file, whose front end is librosa's unless --config says another; an output of
    extract or invert, with --id; one .npy, with --config, or inside an output, which knows it; a
    scaler; or -, audio or one .npy on standard input.

    A frame is drawn at the time of its centre, a frequency where the bands of the front end hear
    it. The colour bar says what the numbers are. Of more than 4,000 frames, each column is the
    mean of several.

    With --compare, audio gets the front end of the other INPUT, and the frames that both have are
    compared; the largest and the RMS difference are told.

    Exit status: 0 drawn, 1 the audio or .npy cannot be used, 2 wrong usage, 3 no such file, 4 an
    output of another front end, or damaged, 5 the machine (no matplotlib, disk full).
    """
    if len(inputs) != (2 if compare else 1):
        wanted = "two INPUTs" if compare else "one INPUT; --compare takes two"
        raise click.UsageError(f"This takes {wanted}.")
    target = picture_target(output)
    with large_imports():
        from melcli.pipeline import pictures  # brings torch in; --help should not wait

    view = pictures.View(item_id=item_id, title=title, start=start, end=end)
    if compare:
        told = pictures.comparison((inputs[0], inputs[1]), target, config, view)
    else:
        told = pictures.picture(inputs[0], target, config, view)
    if not quiet:
        for line in told:
            say(line)


def picture_target(output: str) -> str | IO[bytes]:
    """Where a picture goes: a file, or standard output for ``-``.

    Raises:
        UsageError: A terminal.
    """
    if output != "-":
        return output
    if sys.stdout.isatty():
        raise UsageError(
            "standard output is a terminal, and a picture is no text", None, "-o - > mel.png"
        )
    keep_stdout_clean()
    return sys.stdout.buffer
