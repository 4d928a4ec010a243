# SPDX-License-Identifier: Apache-2.0
"""This terminal and a command in the lab: standard streams handed over, or a terminal of its own in between."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import signal
import sys
import termios
import threading
import tty as modes
from contextlib import contextmanager
from typing import TYPE_CHECKING

from podfence.cli.lab import shared

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


def run(
    lab: str,
    target: str,
    command: Sequence[str],
    *,
    container: str | None,
    namespace: str,
    stdin: bool,
    tty: bool,
) -> int:
    """Run a command in a lab with the standard streams of this process, and return its exit code.

    With `tty` it gets a terminal of its own, and this one carries the keys there and the screen back. Raises
    LabError.
    """
    client = shared.client(lab)
    environment = {"TERM": os.environ["TERM"]} if tty and "TERM" in os.environ else {}

    def execute(fds: Sequence[int]) -> int:
        return client.execute(
            target, command, fds, namespace=namespace, container=container, tty=tty, environment=environment
        )

    sys.stdout.flush()
    if tty:
        with _terminal() as slave:
            return execute((slave,))
    with open(os.devnull, "rb") as nothing:  # noqa: PTH123 - a device, not a file
        return execute((0 if stdin else nothing.fileno(), 1, 2))


@contextmanager
def _terminal() -> Iterator[int]:
    """Give a terminal whose keys and screen are those of this process."""
    master, slave = pty.openpty()
    with _raw():
        _take_size(slave)
        signal.signal(signal.SIGWINCH, lambda *_: _take_size(slave))
        stop, stopped = os.pipe()
        carrier = threading.Thread(target=_carry, args=(master, stop), daemon=True)
        carrier.start()
        try:
            yield slave
        finally:
            os.close(slave)
            os.close(stopped)
            carrier.join()
            os.close(master)


@contextmanager
def _raw() -> Iterator[None]:
    """Let every key through as it is, while this lasts."""
    if not sys.stdin.isatty():
        yield
        return
    before = termios.tcgetattr(0)
    modes.setraw(0, termios.TCSADRAIN)
    try:
        yield
    finally:
        termios.tcsetattr(0, termios.TCSADRAIN, before)


def _take_size(slave: int) -> None:
    if sys.stdin.isatty():
        fcntl.ioctl(slave, termios.TIOCSWINSZ, fcntl.ioctl(0, termios.TIOCGWINSZ, b"\0" * 8))


def _carry(master: int, stop: int) -> None:
    """Carry keys and screen until `stop` closes and everything that was printed is shown."""
    sources = {0, master, stop}
    while True:
        ready, _, _ = select.select(list(sources), [], [], None if stop in sources else 0)
        if stop in ready:
            sources -= {stop, 0}
        if 0 in ready and 0 in sources:
            keys = os.read(0, 4096)
            if keys:
                os.write(master, keys)
            else:
                os.write(master, b"\x04")
                sources.discard(0)
        if master in ready:
            try:
                shown = os.read(master, 65536)
            except OSError:
                # Nobody holds the other side any more.
                return
            os.write(1, shown)
        elif stop not in sources:
            return
