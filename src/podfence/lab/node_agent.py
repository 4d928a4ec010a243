# SPDX-License-Identifier: Apache-2.0
"""The process that is the agent of a lab's node: notices from a socket, reports back to it."""

from __future__ import annotations

import contextlib
import gc
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

from podfence.agent.denials import Denials, parse
from podfence.agent.loop import Agent
from podfence.agent.nflog import LogGroup
from podfence.agent.reports import Report
from podfence.agent.source import SourceClosed
from podfence.agent.watch import KernelWatch
from podfence.agent.wire import decode_notice, encode_report
from podfence.dataplane.conntrack import KernelConntrack
from podfence.netlink.asking import NetlinkError
from podfence.nft.direct import DirectRunner
from podfence.nft.errors import NftError
from podfence.nft.probe import probe

if TYPE_CHECKING:
    from collections.abc import Callable

    from podfence.agent.source import Notice
    from podfence.agent.watch import Watch
    from podfence.dataplane.chains import Settings
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

    Without a `runner` the kernel is spoken to directly where that is possible, which is faster than nft; it is tried
    first what nft and the kernel can do.
    Must be called in the main thread. Raises OptionError if an option's value cannot be enforced.
    """
    outbox = Outbox(raw)
    conntrack = _conntrack(node, settings, outbox)
    wake, awakened = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    if runner is None:
        runner = DirectRunner()
        _require_features(node, runner, outbox)
    watch = _watch(node, outbox)
    source = FrameSource(raw, wake, watch)
    agent = Agent(source, node, runner, options, settings, _settled(outbox.put), conntrack=conntrack, watch=watch)

    def stop(_number: int, _where: object) -> None:
        agent.stop()
        with contextlib.suppress(OSError):
            raw.shutdown(socket.SHUT_RD)

    signal.set_wakeup_fd(awakened)
    signal.signal(signal.SIGTERM, stop)
    if settings.log_group is not None:
        threading.Thread(
            target=_listen, args=(settings.log_group, agent, node, outbox), name="denials", daemon=True
        ).start()
    agent.run()
    outbox.close(patience=1.0)


def _settled(tell: Callable[[Report], None]) -> Callable[[Report], None]:
    """Return `tell`, with what is there at the first report that the kernel has all left to itself from then on.

    Thousands of objects stay for as long as the agent; to go through them took the collector 150 ms, now and then.
    """
    settled = False

    def report(item: Report) -> None:
        nonlocal settled
        tell(item)
        if item.enforcing and not settled:
            settled = True
            gc.collect()
            gc.freeze()

    return report


def _require_features(node: str, runner: Runner, outbox: Outbox) -> None:
    """Say what nft and the kernel lack, in words, before the first transaction fails for it."""
    try:
        probe(runner).require()
    except NftError as error:
        outbox.put(Report(node=node, enforcing=False, errors=(f"node {node} cannot be enforced: {error}",)))


def _conntrack(node: str, settings: Settings, outbox: Outbox) -> KernelConntrack | None:
    try:
        return KernelConntrack(settings.label)
    except OSError as error:
        text = (
            f"node {node} does not cut established flows: its kernel's connection tracking cannot be reached: {error}"
        )
        outbox.put(Report(node=node, enforcing=False, errors=(text,)))
        return None


def _watch(node: str, outbox: Outbox) -> KernelWatch | None:
    try:
        return KernelWatch()
    except OSError as error:
        text = f"what others change in the table of node {node} is found only once a minute: {error}"
        outbox.put(Report(node=node, enforcing=False, errors=(text,)))
        return None


def _listen(group: int, agent: Agent, node: str, outbox: Outbox) -> None:
    """Report denied flows for as long as the process lives."""
    denials = Denials()
    try:
        with LogGroup(group) as logged:
            while True:
                found = [item for one in logged.receive() if (item := parse(one)) is not None]
                enforcer = agent.enforcer
                if enforcer is None:
                    continue
                lines = denials.lines(found, enforcer.compiler, time.monotonic())
                if lines:
                    outbox.put(replace(agent.status(), denied=tuple(lines)))
    except (NetlinkError, OSError) as error:
        text = f"denied flows of node {node} are not written down: {error}"
        outbox.put(replace(agent.status(), errors=(text,)))
