"""Statistics of a dataset: what `melcli fit-scaler` and `melcli.fit_scaler` do."""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from melcli.config import MelConfig, OutputConfig, RunConfig
from melcli.dsp.mel import filterbank_faults
from melcli.errors import NoInputError, ScalerError, UsageError
from melcli.pipeline.batching import budget
from melcli.pipeline.books import Books
from melcli.pipeline.device import choose_device, set_for_a_run
from melcli.pipeline.loop import cleared_of_suspicion, compute
from melcli.pipeline.pools import Pools
from melcli.pipeline.report import Listener, Report, Silence
from melcli.pipeline.run import as_selection, make_header, make_worker
from melcli.pipeline.sources import Sources
from melcli.pipeline.summing import SummingWorker
from melcli.presets import is_named
from melcli.scaler import files
from melcli.statistics.counts import Counts
from melcli.statistics.diagnosis import faults
from melcli.statistics.fitted import Statistics, Weight
from melcli.statistics.moments import Moments
from melcli.store.fitting import FitWriter, journal_path
from melcli.store.records import Failed
from melcli.store.scalers import WHOLE_SUFFIXES, check_suffix
from melcli.store.shards import SETTING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import torch

    from melcli.pipeline.plan import Selection
    from melcli.pipeline.worker import Worked
    from melcli.store.records import Header, Outcome


@dataclass(frozen=True)
class Fitted:
    """What a fit came to.

    Args:
        report: The books: what became of each input.
        statistics: None if the run was stopped.
    """

    report: Report
    statistics: Statistics | None


def fit_scaler(
    inputs: Selection | str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    output: str | os.PathLike[str],
    config: MelConfig | str | None = None,
    *,
    weight: Weight = "frame",
    quantiles: bool = False,
    out: OutputConfig | None = None,
    run: RunConfig | None = None,
    listener: Listener | None = None,
    command: str = "melcli.fit_scaler()",
) -> Fitted:
    """Gather the statistics of every bin over all inputs, and write them to ``output``.

    Killed at any moment and called again, it goes on where it was, to the same numbers.

    Args:
        inputs: Audio, outputs of :func:`melcli.extract`, or both; or a
            :class:`~melcli.pipeline.plan.Selection` of them.
        output: A scaler's file: ``.npz`` or ``.h5``; or ``.npy`` or ``.pt``, which hold less.
        config: A front end, its name, or the path of its file. None takes that of the outputs
            among the inputs, and the default if there is none.
        weight: What weighs the same: every ``"frame"``, or every ``"item"`` however long it is.
        quantiles: Count the values too, so that ``robust`` normalisation can be had.
        out: Of it, all but the precision and the layout counts here.
        run: How the run goes about it.
        listener: Hears of every input.
        command: Kept in the file.

    Raises:
        UsageError: Contradicting inputs, or a name that no scaler's file has.
        ConfigError: A front end that cannot be.
        NoInputError: There is no input, or none that can be used.
        StoreError: An output that cannot be read, or was made by another front end.
        ScalerError: The file is there, and holds something else.
        DeviceError: The disk is full, or there is no such device.
    """
    if weight not in {"frame", "item"}:
        raise UsageError(f"weight = {weight!r}: must be 'frame' or 'item'")
    path = Path(output)
    check_suffix(path, files.SUFFIXES)
    selection = as_selection(inputs)
    if selection.shard is not None and path.suffix.lower() not in WHOLE_SUFFIXES:
        raise UsageError("cannot hold a shard: it could not be merged", path, "choose .npz or .h5")
    out, run = replace(out or OutputConfig(), dtype="float32"), run or RunConfig()
    with contextlib.closing(Sources(selection, config, out)) as sources:
        name = sources.config.name or "a config of your own"
        report = Report(str(output), name, inputs=len(sources.plan))
        device = choose_device(run.device)
        header = _header(sources, out, device, command, weight, with_counts=quantiles)
        fit = _Fit(sources, path, header, out, run, device, report, listener or Silence())
        return fit.look_up() or fit.run_it()


@dataclass(frozen=True)
class _Fit:
    """One call of `fit_scaler`."""

    sources: Sources
    path: Path
    header: Header
    out: OutputConfig
    run: RunConfig
    device: torch.device
    report: Report
    listener: Listener

    def look_up(self) -> Fitted | None:
        """What is there already.

        Raises:
            ScalerError: It is something else.
        """
        if not os.path.lexists(self.path) or self.out.overwrite:
            return None
        found = files.load(self.path)
        lines = list(_differences(found.made, self._made()))
        if lines:
            raise ScalerError(
                "is there, and was fitted on something else:"
                + "".join(f"\n  {ln}" for ln in lines),
                self.path,
                "choose another -o, or pass --overwrite; melcli scaler merge adds what is new",
            )
        if found.n_failed and self.out.retry_failed:
            return None
        if journal_path(self.path).exists():
            with contextlib.closing(self._writer()) as writer:
                writer.abandon()  # a fit that was killed when it was done, and was tidying up
        report = self.report
        report.failed, report.unknown_ids = found.n_failed, self.sources.unknown_ids
        told = found.made.get("inputs", "")
        report.inputs = max(report.failed, int(told) if told.isdecimal() else report.inputs)
        report.already = report.inputs - report.failed
        self.listener.started(report)
        report.output_bytes = self.path.stat().st_size
        report.tick()
        return Fitted(report, found)

    def run_it(self) -> Fitted:
        """Go through all inputs that are not done."""
        sources, report, config = self.sources, self.report, self.sources.config
        plan = sources.plan
        report.input_bytes, report.ignored = plan.total_bytes(), plan.ignored
        report.unknown_ids = sources.unknown_ids
        with contextlib.closing(self._writer()) as writer:
            books = Books(plan, writer, report, self.listener, retry_failed=self.out.retry_failed)
            books.look_back()
            books.look_back_beside(self._is_beside)
            self.listener.started(report)
            report.warnings += [] if is_named(config) else filterbank_faults(config)

            def gather(worked: Worked) -> None:
                if worked.statistics is not None:
                    writer.gather(worked.statistics)
                books.enter_beside(worked.beside)

            with set_for_a_run(), cleared_of_suspicion(writer):
                memory = budget(config, self.run.memory, self.run.n_workers)
                compute(books, self._pools(), self.run, memory, gather=gather)
            if report.stopped:
                report.tick()
                return Fitted(report, None)
            fitted = self._completed(writer.fitted)
            if not fitted.moments.count and self.header.shard is None:
                report.tick()
                first = "".join(f": {name}: {failed.cause}" for name, failed in report.failures[:1])
                raise NoInputError(
                    f"none of the {report.failed:,} inputs can be used{first}",
                    None,
                    "--report FILE says why, for each",
                )
            writer.save = lambda: files.save(fitted, self.path)
            writer.finish(books.order())
        report.warnings += faults(fitted)
        report.output_bytes = self.path.stat().st_size
        report.tick()
        return Fitted(report, fitted)

    def _writer(self) -> FitWriter:
        find, plan = self.sources.plan.finder(), self.sources.plan

        def still_counts(outcome: Outcome) -> bool:
            if isinstance(outcome, Failed):
                # Of a stretch, which is read again as a whole if it is read again.
                return not (self.out.retry_failed and self._is_beside(outcome.id))
            index = find(outcome.id)
            return index is not None and plan.is_as(index, outcome)

        return FitWriter(
            self.path,
            self.header,
            nothing=self._nothing(),
            still_counts=still_counts,
            accept_different_machine=self.out.accept_different_machine,
        )

    def _is_beside(self, name: str) -> bool:
        """Whether something that failed is an item of a stretch that is read now."""
        stretch, found, _ = name.partition("]/")
        return bool(found) and f"{stretch}]" in self.sources.stretch_names

    def _nothing(self) -> Statistics:
        settings, n_bins = self.header.settings, self.sources.config.row_shape[-1]
        return Statistics(
            moments=Moments.none(n_bins),
            at_floor=np.zeros(n_bins, np.int64),
            counts=Counts.none(n_bins) if settings["quantiles"] == "yes" else None,
            weight="item" if settings["weight"] == "item" else "frame",
        )

    def _pools(self) -> Pools:
        sources, folder, nothing = self.sources, Path(tempfile.gettempdir()), self._nothing()
        plan, config = sources.plan, sources.config
        worker = None
        if sources.has_audio:
            worker = make_worker(plan, config, self.out, self.run, self.device, folder)
        summing = SummingWorker(
            plan,
            worker,
            sources.stretches,
            config,
            weight=nothing.weight,
            with_counts=nothing.counts is not None,
        )
        return Pools(summing, plan, config.row_shape, self.out.dtype, folder)

    def _completed(self, statistics: Statistics) -> Statistics:
        return replace(
            statistics,
            n_failed=self.report.failed,
            config=self.header.config,
            config_digest=self.header.config_digest,
            made=self._made() | {"inputs": str(self.report.inputs)},
        )

    def _made(self) -> dict[str, str]:
        header = self.header
        shard = {SETTING: str(header.shard)} if header.shard else {}
        return {
            "command": header.command,
            "created": header.created,
            "melcli_version": header.melcli_version,
            "machine": json.dumps(dict(sorted(header.machine.items()))),
            "settings": json.dumps(dict(sorted(header.settings.items()))),
            "inputs_digest": self.sources.inputs_digest,
            "sources_digest": self.sources.digest,
            **shard,
        }


def _header(
    sources: Sources,
    out: OutputConfig,
    device: torch.device,
    command: str,
    weight: Weight,
    *,
    with_counts: bool,
) -> Header:
    header = make_header(sources.config, out, device, command, sources.plan)
    settings = dict(header.settings) | {
        "weight": weight,
        "quantiles": "yes" if with_counts else "no",
    }
    del settings["store_layout"]
    return replace(header, settings=settings, inputs_digest=sources.inputs_digest)


def _differences(there: Mapping[str, str], asked: Mapping[str, str]) -> list[str]:
    """What makes another scaler of a file that is there, a line each."""
    try:
        old = dict(json.loads(there["settings"]))
    except (KeyError, ValueError, TypeError, RecursionError):
        return ["it does not say what it was fitted on"]
    new = json.loads(asked["settings"])
    lines = [
        f"{key}: {old.get(key)} there, {new.get(key)} asked for"
        for key in sorted(old.keys() | new.keys())
        if old.get(key) != new.get(key)
    ]
    if there.get("sources_digest") != asked["sources_digest"]:
        lines.append("its inputs are others, or were changed since")
    return lines
