"""Options that several commands share, each a decorator."""

from __future__ import annotations

import dataclasses
import functools
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from melcli.cli.funnel import debug_option, say
from melcli.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from melcli.cli.funnel import Command
    from melcli.config import MelConfig, OutputConfig
    from melcli.config.run import DType, LongRule, StoreLayout
    from melcli.pipeline.lists import ListFormat
    from melcli.pipeline.plan import Selection
    from melcli.statistics.normalize import Normalization, Over, Rule

_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}


if TYPE_CHECKING:
    _Bytes = click.ParamType[int]
else:
    _Bytes = click.ParamType  # takes no parameter before click 8.2


class Size(_Bytes):
    """A number of bytes: ``512M``, ``1.5G``."""

    name = "size"

    def convert(
        self, value: str | int, param: click.Parameter | None, ctx: click.Context | None
    ) -> int:
        """Read a size."""
        if isinstance(value, int):
            return value
        found = re.fullmatch(r"([\d.]+)\s*([KMGT]?)i?B?", value.strip(), re.IGNORECASE)
        try:
            return int(float(found[1]) * _UNITS[found[2].upper()])  # type: ignore[index]
        except (TypeError, ValueError):
            self.fail(f"{value} is no size; write 512M or 2G", param, ctx)


def audio_options(command: Command) -> Command:
    """INPUTS that are audio, or parts of it; the command gets a ``selection``."""

    @input_options
    @click.option(
        "--files-format",
        type=click.Choice(["names", "csv", "tsv", "jsonl", "scp"]),
        help="How that list is written; without it, its extension tells.",
    )
    @click.option("--segments", metavar="FILE", help="Parts of the recordings of Kaldi's wav.scp.")
    @click.option(
        "--raw",
        metavar="RATE,CHANNELS,CODING",
        help="Standard input has no header: 16000,1,s16le.",
    )
    @functools.wraps(command)
    def with_audio(
        *args: Any,  # noqa: ANN401
        selection: Selection,
        files_format: ListFormat | None,
        segments: str | None,
        raw: str | None,
        **rest: Any,  # noqa: ANN401
    ) -> Any:  # noqa: ANN401
        from melcli.audio.raw import RawFormat

        selection = dataclasses.replace(
            selection,
            files_format=files_format,
            segments=segments,
            raw=None if raw is None else RawFormat.parse(raw),
        )
        return command(*args, selection=selection, **rest)

    return with_audio  # type: ignore[return-value]


def input_options(command: Command) -> Command:
    """INPUTS and how they are found; the command gets a ``selection``."""

    # What may not be read fails as one input of many, when its turn comes.
    @click.argument("inputs", nargs=-1, type=click.Path(readable=False))
    @click.option(
        "--files-from", metavar="FILE|-", help="Names, one a line, or a table; - is stdin."
    )
    @click.option("-0", "--null", is_flag=True, help="Those names are separated by NUL.")
    @click.option(
        "--root", type=click.Path(), default=".", help="Ids of named files count from here."
    )
    @click.option("--include", multiple=True, metavar="GLOB", help="Take only what matches.")
    @click.option("--exclude", multiple=True, metavar="GLOB", help="Leave out what matches.")
    @click.option(
        "--shard", metavar="I/N", help="Only the I-th of N parts, by a hash of the id; I from 1."
    )
    @functools.wraps(command)
    def with_selection(
        *args: Any,  # noqa: ANN401
        inputs: tuple[str, ...],
        files_from: str | None,
        null: bool,
        root: str,
        include: tuple[str, ...],
        exclude: tuple[str, ...],
        shard: str | None,
        **rest: Any,  # noqa: ANN401
    ) -> Any:  # noqa: ANN401
        from melcli.pipeline.plan import Selection
        from melcli.store.shards import Shard

        if not inputs and files_from is None:
            raise click.UsageError("Missing argument 'INPUTS...': files, folders, or -.")
        selection = Selection(
            paths=inputs,
            files_from=files_from,
            null=null,
            files_format="names",
            root=root,
            include=include,
            exclude=exclude,
            shard=None if shard is None else Shard.parse(shard),
        )
        return command(*args, selection=selection, **rest)

    return with_selection  # type: ignore[return-value]


def config_options(command: Command) -> Command:
    """The front end; the command gets a checked ``config``."""
    return _config_options(command, is_needed=True)


def optional_config_options(command: Command) -> Command:
    """The front end; the command gets a checked ``config``, or None if nothing was said of it."""
    return _config_options(command, is_needed=False)


def mel_config_options(command: Command) -> Command:
    """The front end of mels that are there; likewise ``config``, or None."""

    @_name_options("Front end of .npy files: a name of `melcli configs list`, or a .toml file.")
    @functools.wraps(command)
    def with_config(
        *args: Any,  # noqa: ANN401
        name: str | None,
        settings: tuple[str, ...],
        **rest: Any,  # noqa: ANN401
    ) -> Any:  # noqa: ANN401
        if settings and not name:
            raise click.UsageError("--set changes a --config, and there is none.")
        config = _load(name, settings, None, None) if name else None
        return command(*args, config=config, **rest)

    return with_config  # type: ignore[return-value]


def _name_options(told: str) -> Callable[[Command], Command]:
    """``--config`` and ``--set``."""

    def with_names(command: Command) -> Command:
        for option in (
            click.option(
                "--set",
                "settings",
                multiple=True,
                metavar="KEY=VALUE",
                help="Change one value of it: --set mel.n_mels=64.",
            ),
            click.option("-c", "--config", "name", metavar="NAME|FILE", help=told),
        ):
            command = option(command)
        return command

    return with_names


def _config_options(command: Command, *, is_needed: bool) -> Command:
    @_name_options(
        "Front end: a name of `melcli configs list`, or a .toml file. Without it: librosa."
    )
    @click.option(
        "--channels",
        metavar="mean|first|each|N",
        help="Several channels: mix them, take one, or keep each as an item (id#0, id#1).",
    )
    @click.option(
        "--resample",
        type=click.Choice(["soxr-vhq", "soxr-hq", "soxr-mq", "error"]),
        help="How audio of another rate gets to the front end's.",
    )
    @functools.wraps(command)
    def with_config(
        *args: Any,  # noqa: ANN401
        name: str | None,
        settings: tuple[str, ...],
        channels: str | None,
        resample: str | None,
        **rest: Any,  # noqa: ANN401
    ) -> Any:  # noqa: ANN401
        is_asked = name or settings or channels is not None or resample is not None
        config = _load(name, settings, channels, resample) if is_needed or is_asked else None
        click.get_current_context().meta["melcli.config_chosen"] = name is not None
        return command(*args, config=config, **rest)

    return with_config  # type: ignore[return-value]


def output_options(command: Command) -> Command:
    """What the output holds and what becomes of an old one; the command gets ``out``."""
    return _output_options(command, _outcome_options)  # type: ignore[no-any-return]


def spectra_options(command: Command) -> Command:
    """The same where the inputs are mels, and no audio that may be long."""
    return _output_options(command, _old_output_options)  # type: ignore[no-any-return]


def _output_options(command: Command, others: Callable[[Any], Any]) -> Any:  # noqa: ANN401
    @click.option(
        "--dtype",
        type=click.Choice(["float32", "float16"]),
        default="float32",
        help="Precision on disk; float32 unless told otherwise.",
    )
    @click.option(
        "--store-layout",
        type=click.Choice(["packed", "tree"]),
        default="packed",
        help="HDF5: one packed dataset, or one for each item.",
    )
    @others
    @functools.wraps(command)
    def with_out(
        *args: Any,  # noqa: ANN401
        dtype: DType,
        store_layout: StoreLayout,
        out: OutputConfig,
        **rest: Any,  # noqa: ANN401
    ) -> Any:  # noqa: ANN401
        out = dataclasses.replace(out, dtype=dtype, store_layout=store_layout)
        return command(*args, out=out, **rest)

    return with_out


def fit_options(command: Command) -> Command:
    """What becomes of long audio, failures and an old scaler; the command gets ``out``."""
    return _outcome_options(command)


def _outcome_options(command: Command) -> Command:
    @click.option(
        "--long",
        type=click.Choice(["error", "cut", "chunks"]),
        default="error",
        help="Audio longer than the front end's fixed length: fail, cut, or an item a length.",
    )
    @_old_output_options
    @functools.wraps(command)
    def with_long(
        *args: Any,  # noqa: ANN401
        long: LongRule,
        out: OutputConfig,
        **rest: Any,  # noqa: ANN401
    ) -> Any:  # noqa: ANN401
        return command(*args, out=dataclasses.replace(out, long=long), **rest)

    return with_long  # type: ignore[return-value]


def _old_output_options(command: Command) -> Command:
    @click.option("--overwrite", is_flag=True, help="Replace a finished output by a new one.")
    @click.option("--retry-failed", is_flag=True, help="Try again what failed in an earlier run.")
    @click.option(
        "--accept-different-machine",
        is_flag=True,
        help="Go on beside rows that other versions or another processor made.",
    )
    @functools.wraps(command)
    def with_outcomes(
        *args: Any,  # noqa: ANN401
        overwrite: bool,
        retry_failed: bool,
        accept_different_machine: bool,
        **rest: Any,  # noqa: ANN401
    ) -> Any:  # noqa: ANN401
        from melcli.config import OutputConfig

        out = OutputConfig(
            overwrite=overwrite,
            retry_failed=retry_failed,
            accept_different_machine=accept_different_machine,
        )
        return command(*args, out=out, **rest)

    return with_outcomes  # type: ignore[return-value]


def normalize_options(command: Command) -> Command:
    """What rows are normalised by; the command gets a ``normalizing``."""
    return _normalize_options(command, "Normalise by the statistics of melcli fit-scaler.")


def normalized_options(command: Command) -> Command:
    """What rows were normalised by, likewise."""
    return _normalize_options(command, "What .npy files were normalised by: it is undone.")


def _normalize_options(command: Command, told: str) -> Command:
    @click.option(
        "--scaler",
        type=click.Path(dir_okay=False, path_type=Path),
        metavar="FILE",
        help=told,
    )
    @click.option(
        "--normalize",
        "rule",
        type=click.Choice(["standard", "mean", "minmax", "minmax01", "robust"]),
        help="How they are used; standard unless told otherwise.",
    )
    @click.option(
        "--over",
        type=click.Choice(["bin", "all"]),
        help="Each bin by itself, or all alike; bin unless told otherwise.",
    )
    @functools.wraps(command)
    def with_scaler(
        *args: Any,  # noqa: ANN401
        scaler: Path | None,
        rule: Rule | None,
        over: Over | None,
        **rest: Any,  # noqa: ANN401
    ) -> Any:  # noqa: ANN401
        if scaler is None and (rule or over):
            option = "--normalize" if rule else "--over"
            raise click.UsageError(f"{option} needs a --scaler: melcli fit-scaler makes one.")
        return command(*args, normalizing=Normalizing(scaler, rule, over), **rest)

    return with_scaler  # type: ignore[return-value]


class Telling(NamedTuple):
    """What a command is to tell, and where."""

    report: str | None
    as_json: bool
    quiet: bool
    verbose: bool
    bar: bool

    def check_streams(self, output: str | None, *, dry_run: bool = False) -> None:
        """Refuse to use standard output for two things, and a report of what makes none.

        Raises:
            UsageError: That is what was asked for.
        """
        streams = {
            "-o -": output == "-",
            "--report -": self.report == "-",
            "--json": self.as_json,
        }
        if sum(streams.values()) > 1:
            asked = " and ".join(name for name, is_asked in streams.items() if is_asked)
            raise UsageError(
                f"standard output is asked for by {asked}", None, "write one to a file"
            )
        if self.report is not None and (dry_run or output == "-"):
            instead = "--dry-run" if dry_run else "-o -"
            raise UsageError(f"{instead} makes no --report", None, "leave one of the two out")


def telling_options(command: Command) -> Command:
    """What a run tells while it goes on and in the end; the command gets a ``telling``."""

    @click.option("--report", metavar="FILE|-", help="One JSON line for each input.")
    @click.option("--json", "as_json", is_flag=True, help="The summary as JSON on stdout.")
    @click.option("-q", "--quiet", is_flag=True, help="Print nothing but errors.")
    @click.option(
        "-v", "--verbose", is_flag=True, help="Print each failure at once, and where the time went."
    )
    @click.option("--no-progress", is_flag=True, help="Draw no bar.")
    @debug_option
    @functools.wraps(command)
    def with_telling(
        *args: Any,  # noqa: ANN401
        report: str | None,
        as_json: bool,
        quiet: bool,
        verbose: bool,
        no_progress: bool,
        **rest: Any,  # noqa: ANN401
    ) -> Any:  # noqa: ANN401
        telling = Telling(report, as_json, quiet, verbose, not no_progress)
        return command(*args, telling=telling, **rest)

    return with_telling  # type: ignore[return-value]


class Normalizing(NamedTuple):
    """What a command line says of normalising."""

    scaler: Path | None
    rule: Rule | None
    over: Over | None

    def load(
        self, config: MelConfig, *, is_chosen: bool = True, quiet: bool = False
    ) -> Normalization | None:
        """What it means for a front end; None if nothing is normalised.

        Args:
            config: The front end.
            is_chosen: Somebody said that it is this one.
            quiet: Tell nothing but errors.

        Raises:
            ScalerError: The scaler cannot be read, or is one of another front end.
            UsageError: The scaler does not know its front end, and nobody else said.
        """
        from melcli.scaler import files
        from melcli.statistics.normalize import Normalization

        if self.scaler is None:
            return None
        statistics = files.load(self.scaler)
        files.check_front_end(statistics, config, self.scaler)
        if not statistics.config_digest:
            told = "does not say which front end it is of"
            if not is_chosen:
                raise UsageError(told, self.scaler, "say it: --config NAME")
            if not quiet:
                say(f"warning: {self.scaler} {told}: only its number of bins was compared")
        return Normalization.of(statistics, self.rule or "standard", self.over or "bin")


def run_options(command: Command) -> Command:
    """How the run goes about it; the command gets ``run``."""

    @click.option("--device", default="auto", metavar="auto|cpu|cuda[:N]", help="Where to compute.")
    @click.option(
        "--workers", type=click.IntRange(min=1), help="Read and compute; without it one a core."
    )
    @click.option("--memory", type=Size(), default="1G", help="For audio and mels in flight.")
    @click.option("--strict", is_flag=True, help="Stop at the first input that fails.")
    @click.option("--max-failures", metavar="N|P%", help="Stop when more fail than this.")
    @functools.wraps(command)
    def with_run(
        *args: Any,  # noqa: ANN401
        device: str,
        workers: int | None,
        memory: int,
        strict: bool,
        max_failures: str | None,
        **rest: Any,  # noqa: ANN401
    ) -> Any:  # noqa: ANN401
        from melcli.config import RunConfig

        run = RunConfig(
            device=device,
            workers=workers,
            memory=memory,
            strict=strict,
            max_failures=max_failures,
        )
        return command(*args, run=run, **rest)

    return with_run  # type: ignore[return-value]


def _load(
    name: str | None, settings: tuple[str, ...], channels: str | None, resample: str | None
) -> MelConfig:
    from melcli import presets
    from melcli.config import parse_setting

    config = presets.load(name or presets.DEFAULT).config
    changes = dict(map(parse_setting, settings))
    if channels is not None:
        changes["wave.channels"] = int(channels) if channels.isdecimal() else channels
    if resample is not None:
        changes["wave.resample"] = resample
    return config.updated(changes) if changes else config
