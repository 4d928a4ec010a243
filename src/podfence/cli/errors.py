# SPDX-License-Identifier: Apache-2.0
"""What every exception becomes: a message on standard error and an exit code, never a traceback."""

from __future__ import annotations

import os
import sys
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

import click

from podfence.errors import PodfenceError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import FrameType
    from typing import TextIO

UNANSWERED = 2
INTERRUPTED = 130
CLOSED_PIPE = 141
"""What a shell reports of a program that ended by SIGPIPE."""


class ClosedPipeError(Exception):
    """Nobody reads standard output any more."""


def guarded(run: Callable[[], object]) -> int:
    """Call `run` and return its exit code, or that of the exception it raises, with the message printed."""
    try:
        code = run()
    except ClosedPipeError:
        _discard(sys.stdout)
        return CLOSED_PIPE
    except (click.Abort, KeyboardInterrupt):
        return INTERRUPTED
    except click.UsageError as error:
        return _usage(error)
    except click.ClickException as error:
        return fail(error.format_message())
    except PodfenceError as error:
        return fail(str(error))
    except Exception as error:  # noqa: BLE001 - no exception may reach the user as a traceback
        if os.environ.get("PODFENCE_DEBUG"):
            import traceback

            traceback.print_exc()
        text = " ".join(f"{type(error).__name__}: {error}".split()).removesuffix(":")
        return fail(f"internal error: {text}; please report it (PODFENCE_DEBUG=1 shows the traceback)", kind="")
    return code if isinstance(code, int) else 0


@contextmanager
def writing() -> Iterator[None]:
    """Turn failures to write standard output into ClosedPipeError or PodfenceError, after flushing it."""
    try:
        yield
        sys.stdout.flush()
    except BrokenPipeError as error:
        raise ClosedPipeError from error
    except OSError as error:
        if error.filename is not None:
            raise
        _discard(sys.stdout)
        raise PodfenceError(f"the answer cannot be written: {error.strerror or error}") from error


@contextmanager
def ended_by_signals() -> Iterator[None]:
    """End with an exception, so that temporary folders are removed, when a signal asks to end meanwhile."""
    import signal

    def end(number: int, _frame: FrameType | None) -> None:
        raise SystemExit(128 + number)

    # Not every system has both.
    numbers = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]
    before = [signal.signal(number, end) for number in numbers]
    try:
        yield
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)


def complain(text: str) -> None:
    """Print lines of `text` to standard error, as far as anybody can read it."""
    with suppress(OSError):
        sys.stderr.write(text + "\n")
        sys.stderr.flush()


def fail(text: str, kind: str = "error: ") -> int:
    """Print an error to standard error, and return the exit code."""
    complain(f"podfence: {kind}{text}")
    return UNANSWERED


def _usage(error: click.UsageError) -> int:
    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        complain(error.format_message())
        return UNANSWERED
    if error.ctx is not None:
        path = error.ctx.command_path
        complain(f"{error.ctx.get_usage()}\nTry `{path} --help` for help.\n")
    return fail(error.format_message())


def _discard(stream: TextIO) -> None:
    """Point `stream` to nowhere, so that the interpreter's last flush of it cannot fail."""
    with suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)
