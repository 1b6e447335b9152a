"""Signals that are held back: noted, handled later, and never lost."""

from __future__ import annotations

import os
import random
import signal
import sys
import threading
from typing import TYPE_CHECKING

import pytest

from melcli.store.signals import HeldSignals

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")


class StopError(Exception):
    """What the handler raises."""


@pytest.fixture(autouse=True)
def handler() -> Iterator[None]:
    """A handler that raises, for two signals."""

    def stop(number: int, _frame: FrameType | None) -> None:
        raise StopError(number)

    before = {number: signal.signal(number, stop) for number in (signal.SIGUSR1, signal.SIGUSR2)}
    yield
    for number, old in before.items():
        signal.signal(number, old)


def test_held_until_the_end() -> None:
    """The block is left in order, and then the handler runs."""
    steps = []

    def block() -> None:
        with HeldSignals():
            os.kill(os.getpid(), signal.SIGUSR1)
            steps.append("after the signal")

    with pytest.raises(StopError):
        block()
    assert steps == ["after the signal"]
    with pytest.raises(StopError):
        os.kill(os.getpid(), signal.SIGUSR1)  # it is at work again


def test_let_through() -> None:
    """Where it does no harm, it may come before the end."""
    with HeldSignals() as held:
        held.let_through()
        os.kill(os.getpid(), signal.SIGUSR2)
        with pytest.raises(StopError):
            held.let_through()
        held.let_through()


def test_a_signal_that_another_thread_receives() -> None:
    """Python handles it in the main thread all the same, mask or no mask."""
    received = threading.Event()

    def receive() -> None:
        signal.pthread_kill(threading.get_ident(), signal.SIGUSR1)
        received.set()

    steps = []

    def block() -> None:
        with HeldSignals():
            threading.Thread(target=receive).start()
            received.wait()
            steps.append("after the signal")

    with pytest.raises(StopError):
        block()
    assert steps == ["after the signal"]


def test_not_in_another_thread() -> None:
    """No handler runs there, and none can be set."""
    before = signal.getsignal(signal.SIGUSR1)
    seen = []

    def hold() -> None:
        with HeldSignals():
            seen.append(signal.getsignal(signal.SIGUSR1))

    thread = threading.Thread(target=hold)
    thread.start()
    thread.join()
    assert seen == [before]


# An exception may also arrive in a destructor, where Python can only tell of it: so it comes again.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_at_any_moment() -> None:
    """Whenever it comes, no signal is held for good, and none is lost."""

    def stop(_number: int, _frame: FrameType | None) -> None:
        raise StopError

    moments = random.Random(3)  # noqa: S311, no secret
    before, n_stopped = signal.signal(signal.SIGALRM, stop), 0
    try:
        for _ in range(300):
            try:
                signal.setitimer(signal.ITIMER_REAL, moments.uniform(1e-5, 3e-4), 0.01)
                while True:
                    with HeldSignals():
                        sum(range(100))
            except StopError:
                signal.setitimer(signal.ITIMER_REAL, 0)
                n_stopped += 1
            for number in (signal.SIGALRM, signal.SIGUSR1, signal.SIGUSR2):
                with pytest.raises(StopError):
                    os.kill(os.getpid(), number)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert n_stopped == 300
