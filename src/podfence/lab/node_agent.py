# SPDX-License-Identifier: Apache-2.0
"""The process that is the agent of a lab's node: notices from a socket, reports back to it."""

from __future__ import annotations

import contextlib
import os
import queue
import select
import signal
import socket
import struct
import threading
import time
from typing import TYPE_CHECKING, Final

from msgspec.structs import replace

from podfence.agent.kernel import NodeKernel, settling
from podfence.agent.loop import Agent
from podfence.agent.source import SourceClosed
from podfence.agent.wire import decode_notice, encode_report

if TYPE_CHECKING:
    from podfence.agent.reports import Report
    from podfence.agent.source import Notice
    from podfence.agent.watch import Watch
    from podfence.dataplane.settings import Settings
    from podfence.nft.runner import Runner
    from podfence.policy.options import Options

LENGTH: Final = struct.Struct("!I")
"""What goes before each message: how long it is."""

_AT_ONCE: Final = 1 << 18


def frame(content: bytes) -> bytes:
    """Return a message as it goes through the socket: its length in four bytes, and then itself."""
    return LENGTH.pack(len(content)) + content


class FrameSource:
    """The notices that come from a socket as frames."""

    def __init__(self, raw: socket.socket, wake: int, watch: Watch | None = None) -> None:
        """Read from a connected stream socket, and nobody else may; `wake` is a pipe that signals are written to.

        Without it, a signal that comes just before the socket is waited for would be seen only afterwards.
        What the `watch` has to tell ends the wait, too; whoever calls has to look at it then.
        """
        self._socket = raw
        self._wake = wake
        self._data = bytearray()
        self._poll = select.poll()
        self._poll.register(raw, select.POLLIN)
        self._poll.register(wake, select.POLLIN)
        if watch is not None:
            self._poll.register(watch, select.POLLIN)

    def receive(self, timeout: float | None) -> list[Notice]:
        """Return the notices that are there, waiting up to `timeout` seconds for the first, or for the watch.

        Raises SourceClosed when the other end has closed; a part of a frame at the end is dropped.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        while True:
            # Part of a frame is not a notice yet, and the rest of it is on its way.
            if not self._readable(None if deadline is None else max(0.0, deadline - time.monotonic())):
                return []
            try:
                data = self._socket.recv(_AT_ONCE)
            except OSError as error:
                raise SourceClosed from error
            if not data:
                raise SourceClosed
            self._data += data
            if found := self._frames():
                return found

    def _readable(self, timeout: float | None) -> bool:
        # A time limit of the socket itself would be one for those who write to it, too.
        ready = {number for number, _ in self._poll.poll(None if timeout is None else timeout * 1000)}
        if self._wake in ready:
            os.read(self._wake, _AT_ONCE)
        return self._socket.fileno() in ready

    def _frames(self) -> list[Notice]:
        found: list[Notice] = []
        start = 0
        with memoryview(self._data) as view:
            while start + LENGTH.size <= len(view):
                end = start + LENGTH.size + LENGTH.unpack_from(view, start)[0]
                if end > len(view):
                    break
                found.append(decode_notice(bytes(view[start + LENGTH.size : end])))
                start = end
        del self._data[:start]
        return found


class Outbox:
    """Sends reports from a thread of its own: a reader that is busy never keeps the kernel waiting."""

    def __init__(self, raw: socket.socket) -> None:
        """Write to a connected stream socket, and nobody else may."""
        self._socket = raw
        self._reports: queue.SimpleQueue[Report | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._send, name="reports", daemon=True)
        self._thread.start()

    def put(self, report: Report) -> None:
        """Have a report sent after those before it."""
        self._reports.put(report)

    def close(self, patience: float) -> None:
        """Wait up to `patience` seconds until all is sent."""
        self._reports.put(None)
        self._thread.join(patience)

    def _send(self) -> None:
        # When nobody reads any more, the source says so.
        with contextlib.suppress(OSError):
            while (report := self._reports.get()) is not None:
                self._socket.sendall(frame(encode_report(report)))


def main(raw: socket.socket, node: str, options: Options, settings: Settings, runner: Runner | None = None) -> None:
    """Run the agent of a node in this process and network namespace, until the socket ends or SIGTERM comes.

    Must be called in the main thread. Raises OptionError if an option's value cannot be enforced.
    """
    outbox = Outbox(raw)
    wake, awakened = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    kernel = NodeKernel(node, settings, outbox.put, runner)
    source = FrameSource(raw, wake, kernel.watch)
    agent = Agent(
        source,
        node,
        kernel.runner,
        options,
        settings,
        settling(outbox.put),
        conntrack=kernel.conntrack,
        watch=kernel.watch,
    )

    def stop(_number: int, _where: object) -> None:
        agent.stop()
        with contextlib.suppress(OSError):
            raw.shutdown(socket.SHUT_RD)

    signal.set_wakeup_fd(awakened)
    signal.signal(signal.SIGTERM, stop)
    kernel.listen(agent, lambda told: outbox.put(replace(agent.status(), denied=tuple(map(str, told)))))
    agent.run()
    outbox.close(patience=1.0)
