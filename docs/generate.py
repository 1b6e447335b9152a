"""Writes the documents that follow from the code and the configs.

``python docs/generate.py`` writes them, ``--check`` fails if one is stale. A document is a function
that returns its text, and a line in ``DOCUMENTS``.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from melcli import presets
from melcli.cli import cli

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from melcli.config import MelConfig
    from melcli.presets import Preset

DOCS = Path(__file__).parent

_SET = r"--set [\w.]+=\S*[^\s;:.,]"


# docs/cli.md


def command_line() -> str:
    """What all commands share, then every command with its help, as the terminal shows it."""
    helps = list(_helps(cli, None, "melcli"))
    commands = "".join(
        f"- [{name}](#{name.replace(' ', '-')}): {command.get_short_help_str(200)}\n"
        for name, command, _ in helps[1:]
    )
    return f"{_MANUAL}\n{commands}" + "".join(
        f"\n## {name}\n\n```text\n{text}\n```\n" for name, _, text in helps
    )


_MANUAL = """\
# Command line

Written by `docs/generate.py`, the commands below from their own help; edit those.

```text
melcli COMMAND [OPTIONS] [ARGUMENTS]
```

Options may stand before, between and behind arguments; what follows `--` is an argument, whatever
it begins with. `melcli extract --help` prints what is below of it; `melcli --version` the version.
A mistyped word is answered with the command line that was perhaps meant.

## Streams

Standard output holds data and nothing else: an `.npy` (`-o -`), JSON (`--json`), the lines of
`--report -`, or what a command was asked to tell. Progress, summaries, warnings and errors go to
standard error: a bar where it is a terminal, else a line every half minute. With `-q` only
errors are printed. A summary ends with the next command to try, fit to be pasted.

`-` is standard input: as an input one audio stream, in `--files-from -` and `--ids -` a list of
names.

An error is told as cause, place, and what to do about it:

```text
Error: corpus/a/0042.wav: holds no samples
  try: delete it, or leave it out with --exclude
```

## Exit status

| status | means |
|---|---|
| 0 | done, all of it |
| 1 | done, but some inputs failed, or the run was stopped by `--strict` or `--max-failures` |
| 2 | wrong usage: a word, an option, a front end |
| 3 | there is no input |
| 4 | an output or scaler that is there has other settings, is damaged, or is not melcli's |
| 5 | the machine: a full disk, no such device |
| 70 | a bug in melcli; `--debug` shows where |
| 130, 143 | interrupted (Ctrl-C), terminated; what is done is kept, the same command goes on |

## Environment

| variable | means |
|---|---|
| `MELCLI_COMMAND_OPTION` | a value for any option, by its long name: `MELCLI_EXTRACT_CONFIG`, \
`MELCLI_FIT_SCALER_SHARD`, `MELCLI_SCALER_APPLY_OVER`. What is typed wins; a flag is set by `1`. |
| `NO_COLOR` | if not empty: no colour, on terminals either |
| `TMPDIR` | where `fit-scaler` and `-o -` keep what does not fit in memory |
| `CUDA_VISIBLE_DEVICES` | the GPUs that `--device cuda` may take |

## Files

| name | is |
|---|---|
| `OUT.h5` | an output in HDF5; `OUT.h5.partial…` beside it, while it is written |
| `OUT/` | an output as `.npy` or audio files, with `OUT/melcli.toml`; while it is written, and of \
shards, `OUT/.melcli-partial…` |
| `NAME.toml` | a front end of your own, for `--config`; `melcli configs show NAME` prints one |
| `SCALER.npz`, `SCALER.h5` | the statistics of `fit-scaler` |

## Completion

`eval "$(melcli completion bash)"` in `~/.bashrc`, `eval "$(melcli completion zsh)"` in `~/.zshrc`,
or `melcli completion fish | source` in `~/.config/fish/config.fish`: Tab then completes commands,
options, names of front ends, keys and values of `--set`, and files.

## Commands
"""


def _helps(
    command: click.Command, parent: click.Context | None, name: str
) -> Iterator[tuple[str, click.Command, str]]:
    context = click.Context(
        command, parent, info_name=name, terminal_width=96, **command.context_settings
    )
    yield context.command_path, command, command.get_help(context)
    if isinstance(command, click.Group):
        for child in sorted(command.commands):
            yield from _helps(command.commands[child], context, child)


# docs/front-ends.md


def front_ends() -> str:
    """The named front ends: a table for each group, then what the file of each says."""
    groups = presets.by_group(presets.presets())
    found = [preset for members in groups.values() for preset in members]
    head = (
        "# Front ends\n\n"
        "Written by `docs/generate.py` from `configs/*.toml`; edit those. "
        "`melcli configs list` is the short form, and searches.\n\n"
        f"{len(found)} front ends. `--config NAME` takes one, `--set KEY=VALUE` changes one value "
        "of it, `melcli configs show NAME` prints its file, `--resolved` all its values. A short "
        "name stands in brackets.\n\n"
        "In the tables: FFT, window and hop in samples; how the ends are padded; what the "
        "filterbank is fed (magnitudes, or their squares: powers); the bands, their edges in Hz, "
        "the mel scale, whether triangles are straight on it and not in Hz, and how they are "
        "normalised; the logarithm and its floor; and what comes after it.\n"
    )
    tables = (_group_table(group, members) for group, members in groups.items())
    return "".join([head, *tables, *map(_description, found)])


def _group_table(group: str, members: Iterable[Preset]) -> str:
    head = ("name", "for", "rate", "FFT/window/hop", "padding", "fed", "bands", "log", "then")
    return f"\n## {_heading(group)}\n\n" + _table(
        head,
        (
            (
                f"[{preset.name}](#{preset.name})"
                + "".join(f" ({alias})" for alias in preset.aliases),
                preset.about.summary,
                *_cells(preset.config),
            )
            for preset in members
        ),
    )


def _cells(config: MelConfig) -> Iterator[str]:
    frame, spec, mel = config.frame, config.spec, config.mel
    yield str(config.wave.sample_rate)
    yield f"{frame.n_fft}/{config.win_length}/{frame.hop_length}"
    yield frame.pad + (f", {frame.pad_mode}" if frame.pad != "none" else "")
    yield {1.0: "magnitudes", 2.0: "powers"}.get(spec.power, f"power {spec.power:g}")
    scale = mel.mel_scale + (", drawn in mel" if mel.fb_domain == "mel" else "")
    norm = "" if mel.fb_norm == "none" else f", {mel.fb_norm} norm"
    yield f"{mel.n_mels}, {mel.f_min:g}-{config.f_max:g}, {scale}{norm}"
    yield _logarithm(config)
    yield ", ".join([*_levels(config), *_rows(config)]) or "-"


def _logarithm(config: MelConfig) -> str:
    log = config.log
    floor = f"{log.floor:.3g}".replace("e-0", "e-")
    inside = "x" if log.gain == 1.0 else f"{log.gain:g} x"
    if log.floor_mode == "clamp":
        inside = f"max({inside}, {floor})"
    elif log.floor_mode == "add":
        inside = f"{inside} + {floor}"
    elif log.floor_mode == "replace_zero":
        inside = f"{inside}, or {floor} for 0"
    if log.log == "none":
        return "none" if inside == "x" else inside
    factor = "" if log.log_mult == 1.0 else f"{log.log_mult:g} "
    return f"{factor}{log.log}({inside})"


def _levels(config: MelConfig) -> Iterator[str]:
    log, scale = config.log, config.scale
    if log.range_ref == "item_max":
        yield f"at most {log.range_width:g} below the loudest"
    if log.range_ref == "fixed":
        yield f"at least {log.range_value - log.range_width:g}"
    if log.range_subtract:
        yield "less the loudest"
    if scale.pre_clip:
        yield "clip to {:g} ... {:g}".format(*scale.pre_clip)
    if isinstance(scale.shift, tuple) or isinstance(scale.scale, tuple):
        yield "scaled band by band"
    elif (scale.shift, scale.scale) != (0.0, 1.0):
        sign = "-" if scale.shift > 0 else "+"
        yield f"(x {sign} {abs(scale.shift):g}) / {scale.scale:g}"
    if scale.clip:
        yield "clip to {:g} ... {:g}".format(*scale.clip)


def _rows(config: MelConfig) -> Iterator[str]:
    norms = {
        "mean": "mean 0",
        "mean_var": "mean 0, deviation 1",
        "minmax": "-1 ... 1",
        "minmax01": "0 ... 1",
    }
    if config.scale.utt_norm != "none":
        over = {"auto": "", "bin": ", each band", "all": ", all bands"}[config.scale.utt_over]
        yield f"{norms[config.scale.utt_norm]} over the item{over}"
    if config.out.fix_frames:
        yield f"{config.out.fix_frames} frames"
    if config.out.stack > 1:
        yield f"{config.out.stack} frames a row"
    if config.out.patch_frames:
        yield f"patches of {config.out.patch_frames} frames"


def _description(preset: Preset) -> str:
    about = preset.about
    facts = [
        *([f"Short name: `{', '.join(preset.aliases)}`"] if preset.aliases else []),
        *([f"Also: {', '.join(about.also)}"] if about.also else []),
        f"Source: {about.source}",
        f"Compared with: {about.compared_with}",
        f"Tolerance: {about.tolerance}",
    ]
    return (
        f"\n### {preset.name}\n\n{_escape(about.summary)}.\n\n"
        + "".join(f"- {_escape(text)}\n" for text in facts)
        + "\n"
        + "".join(f"- {_escape(note)}\n" for note in about.notes)
    )


# What documents share


def _table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    cells = list(head)
    lines = [cells, ["---"] * len(cells), *(map(_escape, row) for row in rows)]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _escape(text: str) -> str:
    """Set options as code, and keep Markdown from reading the rest as its own."""
    parts = re.split(rf"({_SET}(?: {_SET})*|--long \w+)", text)
    plain = [re.sub(r"[|*]|(?<!\w)_|_(?!\w)", r"\\\g<0>", part) for part in parts[::2]]
    parts[::2] = [part.replace("<", "&lt;") for part in plain]
    parts[1::2] = [f"`{option}`" for option in parts[1::2]]
    return "".join(parts)


def _heading(text: str) -> str:
    return text[0].upper() + text[1:]


DOCUMENTS = {"cli.md": command_line, "front-ends.md": front_ends}


def main() -> int:
    """Write the documents, or with ``--check`` compare them with what would be written."""
    stale = []
    for name, make in DOCUMENTS.items():
        path, text = DOCS / name, make()
        if "--check" not in sys.argv[1:]:
            path.write_text(text, encoding="utf-8")
        elif not path.is_file() or path.read_text(encoding="utf-8") != text:
            stale.append(name)
    if stale:
        sys.stderr.write(f"stale: {', '.join(stale)}; run python docs/generate.py\n")
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main())
