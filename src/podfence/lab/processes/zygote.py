# SPDX-License-Identifier: Apache-2.0
"""The process that all pods are forked from: small, with one thread, and with everything loaded that they need."""

from __future__ import annotations

import os
import socket
import sys
from typing import Final, NoReturn

from podfence.lab import kernel
from podfence.lab.connection import Connection
from podfence.lab.processes import forking, podinit, rootfs
from podfence.lab.processes.podinit import Setup

_OWN_PIDS: Final = "/proc/self/ns/pid"


def main(raw: socket.socket) -> None:
    """Fork the inits that are asked for over a socket until that is closed.

    Each gets the socket to its holder and, if it shares a network, a file that stands for that.
    """
    connection = Connection(raw)
    kernel.unshare(kernel.NEW_MOUNT)
    store = rootfs.make_store(os.environ.get("PATH", os.defpath))
    pids = os.open(_OWN_PIDS, os.O_RDONLY | os.O_CLOEXEC)
    connection.send({"folder": str(store)})
    forking.serve(connection, Setup, lambda setup, fds: _pod(setup, fds, pids))


def _pod(setup: Setup, fds: list[int], pids: int) -> int:
    """Fork the init of a pod, as the first process of a new PID namespace."""

    def work() -> NoReturn:
        podinit.main(socket.socket(fileno=fds[0]), setup, fds[1] if len(fds) > 1 else None)

    kernel.unshare(kernel.NEW_PID)
    try:
        return forking.fork(work, fds)
    finally:
        # Only a process whose children are born in its own namespace can make them another one.
        kernel.join(pids, kernel.NEW_PID)


if __name__ == "__main__":
    main(socket.socket(fileno=int(sys.argv[1])))
