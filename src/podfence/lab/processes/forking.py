# SPDX-License-Identifier: Apache-2.0
"""A process that does nothing but fork what it is asked for, and the side that asks."""

from __future__ import annotations

import gc
import os
import signal
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import msgspec

from podfence.lab.connection import Connection
from podfence.lab.errors import LabError

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Collection, Sequence

_Setup = TypeVar("_Setup", bound=msgspec.Struct)


class Parent:
    """Such a process, seen from the one that asks; all methods may be called from any thread.

    `folder` is what it said first: where the files of its children are, as it sees them.
    """

    def __init__(self, raw: socket.socket, children: str) -> None:
        """Wait until it is ready, at the other end of a socket. `children` says what it starts. Raises LabError."""
        self._connection = Connection(raw, f"the process that starts {children} has ended")
        self._lock = threading.Lock()
        self.folder = Path(self._connection.answer()[0]["folder"])

    def start(self, name: str, setup: msgspec.Struct, fds: Sequence[int]) -> tuple[int, int]:
        """Have a child forked that gets these files; return its process id and a pidfd. Raises LabError."""
        with self._lock:
            try:
                self._connection.send({"name": name, "setup": msgspec.to_builtins(setup)}, fds)
            except OSError as error:
                raise LabError(self._connection.gone) from error
            answer, files = self._connection.answer()
        return answer["pid"], files[0]

    def close(self) -> None:
        """End the process."""
        self._connection.close()


def serve(connection: Connection, kind: type[_Setup], make: Callable[[_Setup, list[int]], int]) -> None:
    """Fork what is asked for over a connection until that is closed.

    `make` gets what a child is told and its files, and returns its process id.
    """
    # The kernel buries the children; whoever wants to know of an end has a pidfd.
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # Without this, the collector would touch, and so copy, the memory that all children share.
    gc.disable()
    gc.freeze()
    while (received := connection.receive()) is not None:
        message, fds = received
        try:
            pid = make(msgspec.convert(message["setup"], kind), fds)
            fds.append(os.pidfd_open(pid))
            connection.send({"pid": pid}, fds[-1:])
        except OSError as error:
            connection.send({"error": f"{message['name']}: {error.filename or 'fork'}: {error.strerror}"})
        finally:
            for fd in fds:
                os.close(fd)


def fork(work: Callable[[], None], fds: Collection[int] | None = None) -> int:
    """Start a child that does some work and ends; return its process id. Whatever happens, the child never returns.

    It has only these files, and the standard ones, if they are given.
    """
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        if fds is not None:
            last = 2
            for fd in sorted(fds):
                os.closerange(last + 1, fd)
                last = fd
            os.closerange(last + 1, max(os.sysconf("SC_OPEN_MAX"), 1024))
        work()
        code = 0
    except BaseException:
        sys.excepthook(*sys.exc_info())
        raise
    finally:
        sys.stderr.flush()
        os._exit(code)
