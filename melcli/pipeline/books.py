"""Which inputs are done, which are to do, and what the output will hold in the end."""

from __future__ import annotations

from itertools import chain, repeat
from typing import TYPE_CHECKING

from melcli.errors import StoreError
from melcli.pipeline.plan import PlannedInput
from melcli.store.records import Done, Failed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from melcli.pipeline.plan import Plan
    from melcli.pipeline.report import Listener, Report
    from melcli.pipeline.worker import Result
    from melcli.store.protocols import Writer
    from melcli.store.records import Array, Outcome

_TODO, _DONE, _FAILED, _KEEP, _KEEP_FAILED = range(5)
"""What stands behind an input before the run: nothing, or what an earlier one left."""

_KEEP_INPUTS = 2048
"""Inputs taken over from a finished output between two commits."""


class Books:
    """Which inputs are done, which are to do, and what the output will hold in the end."""

    def __init__(
        self, plan: Plan, writer: Writer, report: Report, listener: Listener, *, retry_failed: bool
    ) -> None:
        self.plan, self.writer, self.report, self.listener = plan, writer, report, listener
        self.retry_failed = retry_failed
        self.states = bytearray(len(plan))
        self._find = plan.finder()
        self._resumed = False
        self._beside: dict[str, None] = {}  # ids of earlier runs that are no inputs now, in order
        self._beside_previous: set[str] = set()

    def look_back(self) -> None:
        """Learn what earlier runs left, and enter it in the books."""
        for outcome in self.writer.outcomes():
            self._resumed = True
            self._enter(outcome, _DONE, _FAILED)
        for outcome in self.writer.previous():
            index = self._find(outcome.id)
            if index is None:
                if isinstance(outcome, Done) and outcome.id not in self._beside:
                    self._beside_previous.add(outcome.id)
                    self._beside[outcome.id] = None
            elif self.states[index] == _TODO:
                self._enter(outcome, _KEEP, _KEEP_FAILED)
        self._tell_what_is_done()
        self.report.kept_beside = len(self._beside)

    def _enter(self, outcome: Outcome, if_done: int, if_failed: int) -> None:
        index = self._find(outcome.id)
        if index is None:
            # What failed and is no input now leaves nothing to keep.
            if isinstance(outcome, Done):
                self._beside[outcome.id] = None
            return
        if not self.plan.is_as(index, outcome):
            self.states[index] = _TODO
        elif isinstance(outcome, Done):
            self.states[index] = if_done
        else:
            self.states[index] = _TODO if self.retry_failed else if_failed

    def _tell_what_is_done(self) -> None:
        """Enter the inputs that are done or failed already, each with its last outcome."""
        for kept, outcomes in ((False, self.writer.outcomes()), (True, self.writer.previous())):
            states = (_KEEP, _KEEP_FAILED) if kept else (_DONE, _FAILED)
            told = bytearray(len(self.plan))
            for outcome in outcomes:
                index = self._find(outcome.id)
                if index is None or self.states[index] not in states or told[index]:
                    continue
                if isinstance(outcome, Failed) != (self.states[index] == states[1]):
                    continue  # an older line of the journal
                told[index] = 1
                planned = self.plan[index]
                if isinstance(outcome, Failed):
                    self.report.count_failed(planned.name, outcome)
                    self.listener.happened(planned, outcome, "failed")
                else:
                    self.report.already += 1
                    self.listener.happened(planned, outcome, "already done")

    def suspects(self) -> frozenset[int]:
        """Positions of what is to be computed, and was in hand when an earlier run died."""
        found = map(self._find, self.writer.suspects)
        return frozenset(i for i in found if i is not None and self.states[i] == _TODO)

    def has_news(self) -> bool:
        """Something is to be computed, or an output is to be finished."""
        return self._resumed or _TODO in self.states or self.writer.is_due

    def take_over(self) -> None:
        """Bring what is good in the finished output into the new one."""
        taken = 0
        for outcome in self.writer.previous():
            index = self._find(outcome.id)
            if index is None:
                if outcome.id not in self._beside_previous:
                    continue
            elif self.states[index] not in {_KEEP, _KEEP_FAILED}:
                continue
            try:
                self.writer.keep(outcome)
            except StoreError:
                if index is None:
                    raise
                self.states[index] = _TODO  # its rows are damaged: compute them again
                self.report.already -= 1
                continue
            taken += 1
            if taken % _KEEP_INPUTS == 0:
                self.writer.commit()
        if taken:
            self.writer.commit()

    def todo(self) -> Iterator[tuple[int, int]]:
        """Position and decoded bytes of every input that is to be computed."""
        for index, state in enumerate(self.states):
            if state == _TODO:
                yield index, self.plan.decoded_bytes(index)

    def enter_new(self, results: Iterable[Result], is_enough: Callable[[], bool]) -> None:
        """Hand new outcomes to the writer and count them, until there is enough."""
        self.writer.write_all(self._counted(results, is_enough))

    def _counted(
        self, results: Iterable[Result], is_enough: Callable[[], bool]
    ) -> Iterator[tuple[Outcome, Sequence[Iterable[Array]]]]:
        for planned, outcome, rows, _ in results:
            yield outcome, rows
            # The writer asks for the next one: this one is written.
            if isinstance(outcome, Failed):
                self.report.count_failed(planned.name, outcome)
                self.listener.happened(planned, outcome, "failed")
            else:
                self.report.count_done(outcome)
                self.listener.happened(planned, outcome, "done")
            if is_enough():
                return

    def enter_beside(self, failures: Iterable[Failed]) -> None:
        """Enter items that cannot be used, of inputs that can: each counts as an input more."""
        for failed in failures:
            self.writer.write(failed, ())
            self._count_beside(failed)

    def _count_beside(self, failed: Failed) -> None:
        self.report.inputs += 1
        self.report.count_failed(failed.id, failed)
        self.listener.happened(PlannedInput(failed.id, None, None, None), failed, "failed")

    def look_back_beside(self, is_beside: Callable[[str], bool]) -> None:
        """Enter those of earlier runs again.

        Args:
            is_beside: Tells by an id whether it is one.
        """
        for outcome in self.writer.outcomes():
            if isinstance(outcome, Failed) and is_beside(outcome.id):
                self._count_beside(outcome)

    def order(self) -> Iterator[str]:
        """All ids of the finished output: the plan's, then those kept beside."""
        yield from self.plan.ids()
        yield from self._beside

    def positions(self) -> Iterator[int] | None:
        """Of a shard: the place of each of these in the whole list, -1 beside it."""
        of_plan = self.plan.positions()
        return None if of_plan is None else chain(of_plan, repeat(-1, len(self._beside)))
