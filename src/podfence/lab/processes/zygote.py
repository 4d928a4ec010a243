# SPDX-License-Identifier: Apache-2.0
"""The process that all pods are forked from: small, with one thread, and with everything loaded that they need."""

from __future__ import annotations

import gc
import os
import signal
import socket
import sys
from typing import TYPE_CHECKING, Any, Final, NoReturn

import msgspec

from podfence.lab import kernel
from podfence.lab.connection import Connection
from podfence.lab.processes import podinit, rootfs

if TYPE_CHECKING:
    from collections.abc import Callable

_OWN_PIDS: Final = "/proc/self/ns/pid"


def main(raw: socket.socket) -> None:
    """Fork what is asked for over a socket until that is closed.

    Every request has the file descriptors of the child with it; the answer has its process id and a pidfd.
    """
    connection = Connection(raw)
    kernel.unshare(kernel.NEW_MOUNT)
    store = rootfs.make_store(os.environ.get("PATH", os.defpath))
    # The kernel buries the children; whoever wants to know of an end has a pidfd.
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # Without this, the collector would touch, and so copy, the memory that all children share.
    gc.disable()
    gc.freeze()
    pids = os.open(_OWN_PIDS, os.O_RDONLY | os.O_CLOEXEC)
    connection.send({"store": str(store)})
    while (received := connection.receive()) is not None:
        message, fds = received
        try:
            pid = _pod(message, fds, pids)
            process = os.pidfd_open(pid)
            fds.append(process)
            connection.send({"pid": pid}, [process])
        except OSError as error:
            connection.send({"error": f"{message['name']}: {error.filename or 'fork'}: {error.strerror}"})
        finally:
            for fd in fds:
                os.close(fd)


def _pod(message: dict[str, Any], fds: list[int], pids: int) -> int:
    """Fork the init of a pod, as the first process of a new PID namespace."""
    setup = msgspec.convert(message["setup"], podinit.Setup)

    def work() -> NoReturn:
        podinit.main(socket.socket(fileno=fds[0]), setup, fds[1] if len(fds) > 1 else None)

    kernel.unshare(kernel.NEW_PID)
    try:
        return fork(work, fds)
    finally:
        # Only a process whose children are born in its own namespace can make them another one.
        kernel.join(pids, kernel.NEW_PID)


def fork(work: Callable[[], None], fds: list[int]) -> int:
    """Fork a child that has only these files, and the standard ones."""
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
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


if __name__ == "__main__":
    main(socket.socket(fileno=int(sys.argv[1])))
