"""The one place where errors become messages and exit codes."""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import sys
import traceback
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, TypeVar

import click

import melcli
from melcli.errors import DeviceError, MelcliError

if TYPE_CHECKING:
    from types import FrameType

_BUG, _INTERRUPTED, _TERMINATED = 70, 130, 143
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


Command = TypeVar("Command", bound=Callable[..., Any])


class Terminated(BaseException):
    """SIGTERM arrived. No Exception, so that nothing on the way takes it for one of its own."""


class Funnel(click.Group):
    """A click group that tells every error as cause, place and remedy."""

    def invoke(self, ctx: click.Context) -> Any:  # noqa: ANN401, click's own signature
        """Run a command; whatever goes wrong ends here."""
        if "NO_COLOR" in os.environ:
            ctx.color = False
        try:
            result = super().invoke(ctx)
            sys.stdout.flush()  # a reader that is gone shows now, not when Python has shut down
        except (click.ClickException, click.exceptions.Exit, click.Abort):
            raise
        except MelcliError as error:
            tell(error)
            _trace(ctx)
            raise SystemExit(error.exit_code) from error
        except BrokenPipeError:
            _forget_stdout()  # whoever read us has had enough
            raise SystemExit(0) from None
        except OSError as error:
            if error.errno not in _FULL:
                raise SystemExit(_bug(ctx, error)) from error
            _forget_stdout()
            cause = (error.strerror or "the disk is full").lower()
            tell(DeviceError(cause, error.filename, "free some space and run the command again"))
            _trace(ctx)
            raise SystemExit(DeviceError.exit_code) from error
        except KeyboardInterrupt as error:
            say("Interrupted. What is done is kept: the same command goes on.")
            raise SystemExit(_INTERRUPTED) from error
        except Terminated as error:
            say("Terminated. What is done is kept: the same command goes on.")
            raise SystemExit(_TERMINATED) from error
        except Exception as error:
            raise SystemExit(_bug(ctx, error)) from error
        return result


def debug_option(command: Command) -> Command:
    """``--debug``: show where an error comes from."""

    def remember(ctx: click.Context, _param: click.Parameter, value: bool) -> None:  # noqa: FBT001, click's own signature
        ctx.find_root().meta["melcli.debug"] = value

    return click.option(
        "--debug", is_flag=True, expose_value=False, callback=remember, help="Show tracebacks."
    )(command)


def tell(error: MelcliError) -> None:
    """Print an error: cause and place, then the remedy."""
    say(f"Error: {error}", fg="red")
    if error.remedy:
        say(f"  try: {error.remedy}")


def say(text: str, fg: str | None = None) -> None:
    """Print words for a person, on stderr."""
    with contextlib.suppress(OSError):  # nobody there to read them
        click.secho(text, err=True, fg=fg)


@contextlib.contextmanager
def stoppable() -> Iterator[None]:
    """Let SIGTERM unwind like Ctrl-C does, and a second of either end the process at once.

    Nothing needs tidying up for that: an output is safe at every moment.
    """
    signals = {signal.SIGINT: _INTERRUPTED, signal.SIGTERM: _TERMINATED}
    seen = False

    def stop(number: int, _frame: FrameType | None) -> None:
        nonlocal seen
        if seen:
            os._exit(signals[signal.Signals(number)])
        seen = True
        raise KeyboardInterrupt if number == signal.SIGINT else Terminated

    before = {number: signal.signal(number, stop) for number in signals}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _bug(ctx: click.Context, error: Exception) -> int:
    """Ask for a report; the exit code that goes with it."""
    say(f"Bug in melcli {melcli.__version__}: {type(error).__name__}: {error}", fg="red")
    say("  try: the same command with --debug, and report what it prints")
    _trace(ctx)
    return _BUG


def _forget_stdout() -> None:
    """Let what is left in the buffer go nowhere: Python would complain when it flushes at exit."""
    with contextlib.suppress(OSError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _trace(ctx: click.Context) -> None:
    if ctx.find_root().meta.get("melcli.debug"):
        traceback.print_exc()
