# SPDX-License-Identifier: Apache-2.0
"""A client's side of a command in a pod, or of a container's main process: files to read and write, and the end."""

from __future__ import annotations

import fcntl
import os
import pty
import struct
import termios
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Sequence

    from podfence.lab.processes.holder import Execution, Holder


@dataclass(slots=True)
class Session:
    """Files that do not block: what is written to `stdin` (-1: nothing can be), and `outputs` by name.

    `execution` ends with the command; closing the session ends a command, and leaves a main process as it is.
    """

    execution: Execution
    stdin: int
    outputs: dict[str, int]
    tty: bool
    _closed: bool = field(default=False, init=False)

    def __post_init__(self) -> None:
        """Make the files such that none holds up whoever reads or writes several."""
        for number in (self.stdin, *self.outputs.values()):
            if number >= 0:
                os.set_blocking(number, False)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def resize(self, columns: int, rows: int) -> None:
        """Give the terminal another size."""
        if self.tty and self.stdin >= 0:
            with suppress(OSError):
                fcntl.ioctl(self.stdin, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def end_input(self) -> None:
        """Let the command find the end of its input."""
        if self.tty:
            with suppress(OSError):
                os.write(self.stdin, b"\x04")
        elif self.stdin >= 0:
            os.close(self.stdin)
            self.stdin = -1

    def close(self) -> None:
        """Close everything."""
        if not self._closed:
            self._closed = True
            self.execution.close()
            for number in {self.stdin, *self.outputs.values()} - {-1}:
                os.close(number)


def execute(
    holder: Holder, command: Sequence[str], *, container: str = "", stdin: bool = False, tty: bool = False
) -> Session:
    """Start a command in a container with pipes, or with a terminal, and return the other side. Raises LabError."""
    if tty:
        master, slave = pty.openpty()
        theirs, ours, outputs = [slave] * 3, master, {"stdout": master}
    else:
        read, ours = os.pipe2(os.O_CLOEXEC) if stdin else (os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC), -1)
        pipes = {name: os.pipe2(os.O_CLOEXEC) for name in ("stdout", "stderr")}
        theirs, outputs = (
            [read, *(inside for _, inside in pipes.values())],
            {name: out for name, (out, _) in pipes.items()},
        )
    try:
        execution = holder.execute(command, theirs, tty=tty, container=container)
    except BaseException:
        for number in {ours, *outputs.values()} - {-1}:
            os.close(number)
        raise
    finally:
        for number in set(theirs):
            os.close(number)
    return Session(execution, ours, outputs, tty)


def attach(holder: Holder, container: str, *, stdin: bool) -> Session:
    """Join the main process of a container: its output from now on, and its input. Raises LabError."""
    pipes = {name: os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK) for name in ("stdout", "stderr")}
    message = {"do": "attach", "container": container, "streams": list(pipes), "stdin": stdin}
    with ExitStack() as undo:
        for outside, _ in pipes.values():
            undo.callback(os.close, outside)
        try:
            execution = undo.enter_context(holder.ask(message, [inside for _, inside in pipes.values()]))
        finally:
            for _, inside in pipes.values():
                os.close(inside)
        # A terminal prints everything on stdout; without an input no file comes along.
        answer, given = execution.answer()
        undo.pop_all()
    outputs = {name: outside for name, (outside, _) in pipes.items()}
    return Session(execution, given[0] if given else -1, outputs, bool(answer["tty"]))
