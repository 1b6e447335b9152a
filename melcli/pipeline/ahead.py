"""Makes the next piece while the last is worked on."""

from __future__ import annotations

import queue
import threading
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterator

T = TypeVar("T")


def ahead(items: Iterator[T]) -> Iterator[T]:
    """The same items, the next one being made in another thread.

    At most three are there at once: the one in use, one that waits, one in the making. An
    exception comes where its item would; leaving early ends the thread.
    """
    made: queue.Queue[tuple[T | None, BaseException | None, bool]] = queue.Queue(maxsize=1)
    has_left = threading.Event()

    def make() -> None:
        try:
            for item in items:
                made.put((item, None, False))
                if has_left.is_set():
                    return
            made.put((None, None, True))
        except BaseException as error:  # noqa: BLE001, raised where the item is asked for
            made.put((None, error, True))

    thread = threading.Thread(target=make, name="melcli-ahead", daemon=True)
    thread.start()
    try:
        while True:
            item, error, is_end = made.get()
            if error is not None:
                raise error
            if is_end:
                return
            yield item  # type: ignore[misc]  # there is one, if it is neither error nor end
    finally:
        has_left.set()
        while thread.is_alive():
            try:
                made.get(timeout=0.05)
            except queue.Empty:
                continue
        thread.join()
