# SPDX-License-Identifier: Apache-2.0
"""The process that all agents of a lab are forked from: what they need is loaded once, and no pod sees their files.

It is forked itself, while there is one thread, from the process that has loaded most of that.
"""

from __future__ import annotations

import gc
import os
import signal
import socket
import sys
import threading
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from podfence.lab import kernel
from podfence.lab.agents import Order
from podfence.lab.connection import Connection
from podfence.lab.errors import LabError
from podfence.lab.processes import launch
from podfence.lab.processes.rootfs import own_folder
from podfence.lab.processes.spawner import network_of
from podfence.lab.processes.zygote import fork

if TYPE_CHECKING:
    from podfence.lab.processes.holder import Holder

_ENDED = "the process that starts agents has ended"


class Nursery:
    """Makes agents; all methods may be called from any thread. `folder` is where their files are, in memory."""

    def __init__(self) -> None:
        """Start the process, in a process with one thread. Raises LabError."""
        here, there = socket.socketpair()
        self._lock = threading.Lock()
        self._connection = Connection(here)
        pid = fork(lambda: _serve(there), [there.fileno()])
        there.close()
        self.folder = Path(f"/proc/{pid}/root{self._ask({}, [])['folder']}")

    def start(self, holder: Holder, order: Order, log: int) -> int:
        """Start an agent in the network of a holder, which writes its log to an open file; return its process id.

        Raises LabError.
        """
        with ExitStack() as stack:
            pid: int = self._ask({"order": msgspec.to_builtins(order)}, [log, network_of(holder, stack)])["pid"]
        return pid

    def _ask(self, message: dict[str, Any], files: list[int]) -> dict[str, Any]:
        with self._lock:
            try:
                self._connection.send(message, files)
                received = self._connection.receive()
            except OSError as error:
                raise LabError(_ENDED) from error
        if received is None:
            raise LabError(_ENDED)
        answer, _ = received
        if "error" in answer:
            raise LabError(answer["error"])
        return answer


def _serve(raw: socket.socket) -> None:
    """Fork the agents that are asked for over a socket until that is closed; the first question is for the folder."""
    launch.name_process("agents")
    connection = Connection(raw)
    kernel.unshare(kernel.NEW_MOUNT)
    # The kernel buries the children.
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    connection.receive()
    connection.send({"folder": str(own_folder("700"))})
    from podfence.lab import node_agent  # noqa: PLC0415 - the other process needs none of that

    # Without this, the collector would touch, and so copy, the memory that all agents share.
    gc.disable()
    gc.freeze()
    while (received := connection.receive()) is not None:
        message, files = received
        order = msgspec.convert(message["order"], Order)

        def work(order: Order = order, files: list[int] = files) -> None:
            gc.enable()
            launch.name_process(f"agent {order.node}")
            os.dup2(files[0], sys.stderr.fileno())
            kernel.join(files[1], kernel.NEW_NET)
            node_agent.run(order)

        try:
            connection.send({"pid": fork(work, files)})
        except OSError as error:
            connection.send({"error": f"{order.node}: fork: {error.strerror}"})
        finally:
            for file in files:
                os.close(file)
