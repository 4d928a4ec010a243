# SPDX-License-Identifier: Apache-2.0
"""The process that all agents of a lab are forked from: what they need is loaded once, and no pod sees their files.

It is forked itself, while there is one thread, from the process that has loaded most of that.
"""

from __future__ import annotations

import gc
import os
import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from podfence.lab import kernel
from podfence.lab.agents import Order
from podfence.lab.connection import Connection
from podfence.lab.processes import forking, launch
from podfence.lab.processes.rootfs import own_folder
from podfence.lab.processes.spawner import network_of

if TYPE_CHECKING:
    from podfence.lab.processes.holder import Holder


class Nursery:
    """Makes agents; all methods may be called from any thread. `folder` is where their files are, in memory."""

    def __init__(self) -> None:
        """Start the process, in a process with one thread. Raises LabError."""
        here, there = socket.socketpair()
        pid = forking.fork(lambda: _serve(there), [there.fileno()])
        there.close()
        self._parent = forking.Parent(here, "agents")
        self.folder = Path(f"/proc/{pid}/root{self._parent.folder}")

    def start(self, holder: Holder, order: Order, log: int) -> int:
        """Start an agent in the network of a holder, which writes its log to an open file; return its process id.

        Raises LabError.
        """
        with network_of(holder) as network:
            pid, process = self._parent.start(order.node, order, [log, network.fileno()])
        os.close(process)
        return pid


def _serve(raw: socket.socket) -> None:
    """Fork the agents that are asked for over a socket until that is closed."""
    launch.name_process("agents")
    connection = Connection(raw)
    kernel.unshare(kernel.NEW_MOUNT)
    connection.send({"folder": str(own_folder("700"))})
    from podfence.lab import node_agent  # noqa: PLC0415 - the other process needs none of that

    def make(order: Order, files: list[int]) -> int:
        def work() -> None:
            gc.enable()
            launch.name_process(f"agent {order.node}")
            os.dup2(files[0], sys.stderr.fileno())
            kernel.join(files[1], kernel.NEW_NET)
            node_agent.run(order)

        return forking.fork(work, files)

    forking.serve(connection, Order, make)
