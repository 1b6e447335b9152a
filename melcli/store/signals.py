"""Holds signals back where an exception must not come from nowhere.

A handler of Python's may raise between any two steps of the main thread, in a function that C has
called too. HDF5 does not survive that, and a process that is being forked would unwind in two
copies. Masking signals is not enough: one that another thread of C's receives, such as a sleeping
one of a BLAS library, is still handled in the main thread.
"""

from __future__ import annotations

import signal
import threading
from typing import TYPE_CHECKING, Any, Self, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType, TracebackType

_Handler: TypeAlias = "Callable[[int, FrameType | None], Any]"


class HeldSignals:
    """Within the ``with`` block, signals that Python handles are noted; behind it, handled.

    Outside the main thread it does nothing: no handler runs there.
    """

    def __init__(self) -> None:
        self._noted: list[int] = []
        self._handlers: dict[int, _Handler] = {}
        self._holds = False

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            self._holds = True
            try:
                for number in signal.valid_signals():
                    handler = signal.getsignal(number)
                    if callable(handler):
                        self._handlers[number] = handler
                        signal.signal(number, self._note)
            except BaseException:  # of a signal that was not held yet
                self._let_go()
                raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._let_go()

    def _let_go(self) -> None:
        # From here on what is still ours hands over to what was there before. So it does no harm
        # if a handler raises before all of them are back in their places.
        self._holds = False
        try:
            for number, handler in self._handlers.items():
                signal.signal(number, handler)
        finally:
            self.let_through()

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self._holds:
            self._noted.append(number)
        else:
            self._handlers[number](number, frame)

    def let_through(self) -> None:
        """Handle what was noted, here where it does no harm."""
        while self._noted:
            number = self._noted.pop(0)
            self._handlers[number](number, None)
