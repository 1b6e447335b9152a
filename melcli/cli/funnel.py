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
from melcli.cli.suggestions import with_suggestion
from melcli.errors import DeviceError, MelcliError

if TYPE_CHECKING:
    from types import FrameType

_BUG, _INTERRUPTED = 70, 130
_TYPED = "melcli.typed"
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


Command = TypeVar("Command", bound=Callable[..., Any])


class Funnel(click.Group):
    """A click group that tells every error as cause, place and remedy."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Note what was typed, for :func:`typed`."""
        ctx.meta[_TYPED] = typed_words = tuple(args)
        try:
            return super().parse_args(ctx, args)
        except click.UsageError as error:
            raise with_suggestion(error, typed_words) from error

    def invoke(self, ctx: click.Context) -> Any:  # noqa: ANN401, click's own signature
        """Run a command; whatever goes wrong ends here."""
        if os.environ.get("NO_COLOR"):
            ctx.color = False
        try:
            result = super().invoke(ctx)
            sys.stdout.flush()  # a reader that is gone shows now, not when Python has shut down
        except click.UsageError as error:
            raise with_suggestion(error, ctx.meta[_TYPED]) from error
        except (click.ClickException, click.exceptions.Exit, click.Abort):
            raise
        except MelcliError as error:
            tell(error)
            _trace(ctx)
            raise SystemExit(error.exit_code) from error
        except BrokenPipeError:
            forget_stdout()  # whoever read us has had enough
            raise SystemExit(0) from None
        except OSError as error:
            if error.errno not in _FULL:
                raise SystemExit(_bug(ctx, error)) from error
            forget_stdout()
            cause = (error.strerror or "the disk is full").lower()
            tell(DeviceError(cause, error.filename, "free some space and run the command again"))
            _trace(ctx)
            raise SystemExit(DeviceError.exit_code) from error
        except KeyboardInterrupt as error:
            say("Interrupted.")
            raise SystemExit(_INTERRUPTED) from error
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


def typed() -> tuple[str, ...]:
    """The words of the command line behind ``melcli``."""
    return tuple(click.get_current_context().meta.get(_TYPED, ()))


def tell(error: MelcliError) -> None:
    """Print an error: cause and place, then the remedy."""
    say(f"Error: {error}", fg="red")
    if error.remedy:
        say(f"  try: {error.remedy}")


def say(text: str, fg: str | None = None) -> None:
    """Print words for a person, on stderr."""
    with contextlib.suppress(OSError):  # nobody there to read them
        click.echo(click.style(text, fg=fg) if fg else text, err=True)


@contextlib.contextmanager
def stoppable() -> Iterator[Callable[[Callable[[], object]], None]]:
    """End the process at once when SIGINT or SIGTERM comes, with a word.

    Nothing is unwound. An output is safe at every moment, so it need not be; and an exception that
    came from nowhere could not be survived by what C is doing for us just then, such as importing a
    module.

    Yields:
        A function that takes what is to be called last.
    """
    words = {signal.SIGINT: ("Interrupted", 130), signal.SIGTERM: ("Terminated", 143)}
    last: list[Callable[[], object]] = []

    def stop(number: int, _frame: FrameType | None) -> None:
        word, code = words[signal.Signals(number)]
        try:
            for other in words:
                signal.signal(other, signal.SIG_DFL)  # who insists does not wait for us
            for call in last:
                with contextlib.suppress(Exception):
                    call()
            told = f"{word}. What is done is kept: the same command goes on.\n"
            os.write(2, told.encode())  # click or tqdm may be in the middle of a line of their own
        finally:
            os._exit(code)

    before = {number: signal.signal(number, stop) for number in words}
    try:
        yield last.append
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _bug(ctx: click.Context, error: Exception) -> int:
    """Ask for a report; the exit code that goes with it."""
    say(f"Bug in melcli {melcli.__version__}: {type(error).__name__}: {error}", fg="red")
    say("  try: the same command with --debug, and report what it prints")
    _trace(ctx)
    return _BUG


def forget_stdout() -> None:
    """Let what is left in the buffer go nowhere: Python would complain when it flushes at exit."""
    with contextlib.suppress(OSError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _trace(ctx: click.Context) -> None:
    if ctx.find_root().meta.get("melcli.debug"):
        traceback.print_exc()
