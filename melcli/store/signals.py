"""Holds signals back where an exception must not come from nowhere.

A handler of Python's may raise between any two steps of the main thread, in a function that C has
called too. HDF5 does not survive that, and a process that is being forked would unwind in two
copies. Masking signals is not enough: one that another thread of C's receives, such as a sleeping
one of a BLAS library, is still handled in the main thread.
"""

from __future__ import annotations

import signal
import threading
from contextlib import ExitStack
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from types import FrameType, TracebackType


class HeldSignals:
    """Within the ``with`` block, signals that Python handles are noted; behind it, handled.

    Outside the main thread it does nothing: no handler runs there.
    """

    def __init__(self) -> None:
        self._noted: list[int] = []
        self._handlers: dict[int, object] = {}
        self._restore = ExitStack()

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            for number in signal.valid_signals():
                handler = signal.getsignal(number)
                if callable(handler):
                    self._handlers[number] = handler
                    # All of them are restored, even if one that is starts to raise.
                    self._restore.callback(signal.signal, number, handler)
                    signal.signal(number, self._note)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        with self._restore:
            pass
        self.let_through()

    def _note(self, number: int, _frame: FrameType | None) -> None:
        self._noted.append(number)

    def let_through(self) -> None:
        """Handle what was noted, here where it does no harm."""
        while self._noted:
            number = self._noted.pop(0)
            handler = self._handlers[number]
            if callable(handler):
                handler(number, None)
