"""What all outputs do alike that can be killed: settings, journal, resuming, finishing."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import replace
from typing import TYPE_CHECKING

from melcli.errors import StoreError
from melcli.store import disk
from melcli.store.begun import BegunInputs
from melcli.store.compare import (
    differences,
    machine_differences,
    merged_machine,
    refuse_other_machine,
    refuse_other_settings,
)
from melcli.store.journal import Entry, Journal
from melcli.store.records import printable
from melcli.store.selection import Selection

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from melcli.store.journal import Segment
    from melcli.store.reader import StoreReader
    from melcli.store.records import Failed, Header, Outcome, Pieces


class Resumable(ABC):
    """An output made in segments, but for what lies in it: see `Writer` for its promises."""

    def __init__(
        self, path: Path, header: Header, journal: Path, *, accept_different_machine: bool
    ) -> None:
        self.path = path
        self.n_bytes_written = 0
        self._asked = self._header = replace(header, command=printable(header.command))
        self._accept = accept_different_machine
        self._replacing = header.overwrite
        self._begun = self._machine_checked = self._finished = self._closed = False
        self._previous: StoreReader | None = None
        with disk.device_errors(path):
            disk.make_folder(journal.parent)
            self._journal = Journal(journal)
        # Around everything that asks something of the disk, and around nothing else.
        self._disk = disk.Guard(path, lambda: self.n_kept)
        self._begun_inputs = BegunInputs(self._begun_path())
        self._in_segment: list[str] = []  # ids
        try:
            with disk.device_errors(path):
                self._previous = self._finished_output()
                self._refuse_or_resume()
        except BaseException:
            self.close()
            raise

    # What a store must say.

    @abstractmethod
    def _finished_output(self) -> StoreReader | None:
        """Open the finished output, if there is one; refuse what is not of melcli."""

    @abstractmethod
    def _begun_path(self) -> Path:
        """Say where the ids of what is begun are kept."""

    @abstractmethod
    def _has_rows(self) -> bool:
        """Tell whether the rows that the journal speaks of are there at all."""

    @abstractmethod
    def _is_whole(self, segment: Segment) -> bool:
        """Tell whether the rows of a committed segment are what their checksums say."""

    @abstractmethod
    def _resume(self) -> None:
        """Cut away what was never committed."""

    def _drop(self, segment: Segment) -> None:  # noqa: B027  # most have nothing to take back
        """Take back what a damaged segment left behind, before the journal forgets it."""

    @abstractmethod
    def _discard(self) -> None:
        """Remove every trace of a partial output, except the journal."""

    def _clean_up(self) -> None:
        """Remove what the finished output does not need, except the journal."""
        self._discard()

    def _end_journal(self) -> None:
        """Remove the journal, the last trace of a partial output."""
        folder = self._journal.path.parent
        disk.sync_folder(folder)  # without a journal, nobody would know what is left
        self._journal.remove()
        disk.sync_folder(folder)

    @abstractmethod
    def _refuse_strangers(self) -> None:
        """Refuse files under our working names that no journal speaks of."""

    @abstractmethod
    def _begin_rows(self) -> None:
        """Make the place for the rows of a new output."""

    @abstractmethod
    def _close_rows(self) -> None:
        """Close what is open."""

    @abstractmethod
    def _sync_rows(self) -> int:
        """Wait until the rows of the segment are safe, and count all rows so far."""

    def _committed(self) -> None:  # noqa: B027  # most have nothing left to do
        """Do what must wait for the commit."""

    @abstractmethod
    def _assemble(self, header: Header, selection: Selection) -> None:
        """Put the finished output in its place; nothing is lost if it is cut short anywhere."""

    # Opening.

    def _refuse_or_resume(self) -> None:
        asked, journal, finished = self._asked, self._journal, self._previous
        if finished is not None and not asked.overwrite:
            if len(finished):
                refuse_other_settings(finished.header, asked, self.path, "the output")
            # One in which every input failed has nothing to lose: other settings may be the cure.
            self._replacing = bool(differences(finished.header, asked))
        found = journal.header if journal.segments else None
        if found and not self._has_rows():
            # Only finishing takes the rows away: the output is complete, or someone removed them.
            made = replace(found, machine=journal.machine, overwrite=False)
            if finished is not None and finished.header == made:
                self._replacing = False
                self._begun_inputs.remove()  # all of them came to an end
            found = None
        elif found and asked.overwrite:
            if differences(found, asked) or not found.overwrite:
                found = None
        elif found:
            if found.overwrite and finished is not None:
                raise StoreError(
                    "an unfinished --overwrite of this output is there",
                    self.path,
                    "pass --overwrite to go on with it, or choose another -o",
                )
            refuse_other_settings(found, asked, self.path, "the unfinished output")
        if found is None:
            self._start_anew()
        else:
            self._go_on(found)

    def _start_anew(self) -> None:
        if self._journal.header is None:
            self._refuse_strangers()
        else:
            self._discard()
            self._journal.forget()
        if self._previous is not None and len(self._previous) and not self._replacing:
            # What is kept was made there; the first row made here brings this machine in.
            self._header = replace(self._asked, machine=self._previous.header.machine)
        else:
            self._machine_checked = True

    def _go_on(self, found: Header) -> None:
        segments = self._journal.segments
        while segments and not self._is_whole(segments[-1]):
            self._drop(segments[-1])
            segments.pop()
        self._journal.cut()
        self._resume()
        self._header = replace(found, machine=self._journal.machine)
        self._begun = True

    # What the pipeline calls.

    @property
    def n_kept(self) -> int:
        """Count the committed outcomes."""
        return self._journal.n_outcomes

    def outcomes(self) -> Iterator[Outcome]:
        """Stream what is committed, oldest first."""
        if self._begun:
            for entry in self._journal.entries():
                yield entry.outcome

    def previous(self) -> Iterator[Outcome]:
        """Stream the finished output that this one extends."""
        if self._previous is not None and not self._replacing:
            yield from self._previous.outcomes()

    def check_machine(self) -> None:
        """Refuse to mix rows of two machines, unless that was accepted."""
        if self._machine_checked:
            return
        found, ours = self._header.machine, self._asked.machine
        if machine_differences(found, ours):
            if not self._accept:
                refuse_other_machine(found, ours, self.path)
            if not self._begun:
                self._begin()
            self._header = replace(self._header, machine=merged_machine(found, ours))
            self._journal.add_machine(self._header.machine)
        self._machine_checked = True

    @property
    def suspects(self) -> frozenset[str]:
        """Inputs that an earlier run was working on when its process ended without a word."""
        return self._begun_inputs.left

    def begin_inputs(self, ids: Sequence[str]) -> None:
        """Note that these inputs are worked on from now on."""
        self.check_machine()
        self._ready()
        with self._disk:
            self._begun_inputs.add(ids)

    def clear_suspicion(self) -> None:
        """Forget what was begun."""
        with self._disk:
            if self._journal.is_ours():
                self._begun_inputs.remove()

    @abstractmethod
    def write_all(self, found: Iterable[tuple[Outcome, Sequence[Pieces]]]) -> None:
        """Add outcomes to the segment in hand."""

    def write(self, outcome: Outcome, rows: Sequence[Pieces]) -> None:
        """Add an outcome and its rows to the segment in hand."""
        self.write_all([(outcome, rows)])

    def _add_failed(self, failed: Failed) -> None:
        self._ready()
        remedy = None if failed.remedy is None else printable(failed.remedy)
        self._add(replace(failed, cause=printable(failed.cause), remedy=remedy), -1)

    def _add(self, outcome: Outcome, row: int) -> None:
        self._journal.add(Entry(outcome, row))
        self._in_segment.append(outcome.id)

    def commit(self) -> None:
        """End a segment: what was written will survive a crash."""
        if not self._journal.n_pending:
            return
        self._ready()
        with self._disk:
            self._journal.commit(self._sync_rows())
            self._committed()
            self._begun_inputs.committed(self._in_segment)
            self._in_segment = []

    @property
    def is_due(self) -> bool:
        """There is no finished output yet, or it is a shard of another list of inputs."""
        if self._previous is None or self._replacing:
            return True
        return self._previous.header.inputs_digest != self._asked.inputs_digest

    def finish(self, order: Iterable[str], positions: Iterable[int] | None = None) -> None:
        """Make the finished output and put it in its place."""
        self._ready()
        self.commit()
        # The list of inputs may have grown since the output was begun.
        self._header = replace(self._header, inputs_digest=self._asked.inputs_digest)
        with self._disk:
            selection = Selection(self._journal, order, positions)
            try:
                self._assemble(self._header, selection)
            finally:
                selection.close()
            self._finished = True
            self._begun_inputs.remove()
            self._clean_up()
            self._end_journal()

    def close(self) -> None:
        """Stop at any time; only what is committed stays."""
        try:
            with disk.device_errors(self.path):
                is_empty = not (self._closed or self._finished or self._journal.segments)
                if is_empty and self._journal.is_ours():  # or all that is there is another's
                    if self._journal.header is not None:
                        self._discard()
                    self._end_journal()
        finally:
            self._closed = True
            self._close_rows()
            self._begun_inputs.close()
            self._journal.close()
            if self._previous is not None:
                self._previous.close()

    # Steps they share.

    def _ready(self) -> None:
        """Begin the output if that was not done, and refuse to go on after a failed disk."""
        if self._disk.fault:
            # After a failed sync the system may have thrown the bytes away: only a new start,
            # which reads them back, can tell.
            raise self._disk.fault
        with self._disk:
            self._journal.check()
        if not self._begun:
            self._begin()

    def _begin(self) -> None:
        with self._disk:
            folder = self._journal.path.parent
            self._journal.begin(self._header)
            disk.sync_folder(folder)
            self._begin_rows()
            for made in (folder, folder.parent, self.path.parent):
                disk.sync_folder(made)
        self._begun = True
