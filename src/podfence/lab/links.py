# SPDX-License-Identifier: Apache-2.0
"""The agents of a lab, one process for each node: fed with events, listened to, started again when they die."""

from __future__ import annotations

import os
import queue
import signal
import socket
import threading
import time
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING, BinaryIO, Final

import msgspec

from podfence.agent import wire
from podfence.agent.source import Bookmark, Synced
from podfence.kube.objects import Key
from podfence.lab.errors import LabError
from podfence.lab.node_agent import LENGTH, frame

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from podfence.agent.reports import Report
    from podfence.agent.source import Notice
    from podfence.lab.journal import Journal

RESTART_DELAY: Final = 0.2
"""Seconds before an agent that died is started again; they double each time that this does not succeed."""

LAST_DELAY: Final = 30.0
"""The most seconds until that."""


class AgentLink:
    """The agent of one node.

    `spawn` starts its process with one end of a connection, and returns the process id. `snapshot` gives
    all that it has to know, and the mark up to where that is; it is called with `lock` held, as `send` must be, so
    that an agent that starts anew misses nothing.
    """

    def __init__(
        self,
        node: str,
        spawn: Callable[[socket.socket], int],
        journal: Journal,
        lock: threading.RLock,
        snapshot: Callable[[], tuple[list[Notice], int]],
    ) -> None:
        """Start nothing yet."""
        self.node = node
        self.pid = 0
        self.is_running = False
        self.mark = -1
        self.is_enforcing = False
        self.real: dict[Key, float] = {}
        self._spawn = spawn
        self._journal = journal
        self._lock = lock
        self._snapshot = snapshot
        self._frames: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._changed = threading.Condition()

    def start(self) -> None:
        """Start the agent's process, and tell it everything. Raises LabError."""
        ours, theirs = socket.socketpair()
        with theirs, ExitStack() as stack:
            stack.enter_context(ours)
            self.pid = self._spawn(theirs)
            stack.pop_all()
        with self._lock:
            notices, mark = self._snapshot()
            frames: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
            self._frames = frames
            self.send([*notices, Synced(), Bookmark(mark)])
        self.is_running = True
        threading.Thread(target=_write, args=(ours, frames), name=f"to {self.node}", daemon=True).start()
        threading.Thread(target=self._listen, args=(ours, frames), name=f"from {self.node}", daemon=True).start()

    def send(self, notices: Iterable[Notice]) -> None:
        """Tell the agent what happened."""
        data = bytearray()
        for notice in notices:
            data += frame(wire.encode_notice(notice))
        if data:
            self._frames.put(bytes(data))

    def wait(self, mark: int, deadline: float) -> bool:
        """Return whether everything up to a mark is in the kernel, waiting for it until a monotonic time."""
        with self._changed:
            return self._changed.wait_for(
                lambda: self.is_enforcing and self.mark >= mark, max(0.0, deadline - time.monotonic())
            )

    def kill(self) -> None:
        """End the agent's process without notice, as a crash would."""
        with suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)

    def _listen(self, connection: socket.socket, frames: queue.SimpleQueue[bytes | None]) -> None:
        with connection, suppress(OSError), connection.makefile("rb") as stream:
            try:
                for report in _reports(stream):
                    self._take(report)
            except msgspec.DecodeError as error:
                self._say(f"sent a report that cannot be read, and was killed: {error}")
                self.kill()
        frames.put(None)
        self.is_running = self.is_enforcing = False
        self._say("ended; the kernel continues to enforce its rules; the lab starts another agent")
        self._start_later(RESTART_DELAY)

    def _start_later(self, delay: float) -> None:
        timer = threading.Timer(delay, self._start_again, (delay,))
        timer.daemon = True
        timer.start()

    def _start_again(self, delay: float) -> None:
        try:
            self.start()
        except (LabError, OSError) as error:
            after = min(LAST_DELAY, 2 * delay)
            self._say(f"cannot be started: {error}; the next try is in {after:g} s")
            self._start_later(after)

    def _take(self, report: Report) -> None:
        for text in (*report.errors, *report.denied):
            self._say(text)
        for text in report.drift or ():
            self._say(f"repaired: {text}")
        if report.cut:
            self._say(f"cut {report.cut} established flow{'s' if report.cut > 1 else ''} that policies now deny")
        with self._changed:
            for record in report.records:
                self.real[Key(record.kind, record.namespace, record.name)] = record.seconds
            self.is_enforcing = report.enforcing
            if report.revision is not None:
                self.mark = report.revision
            self._changed.notify_all()

    def _say(self, text: str) -> None:
        self._journal.say(f"agent {self.node}", text)


def _reports(stream: BinaryIO) -> Iterator[Report]:
    """Yield what comes until the stream ends; a part of a report at the end, of an agent that died, is dropped.

    Raises DecodeError for what is no report, and OSError.
    """
    while len(header := stream.read(LENGTH.size)) == LENGTH.size:
        (size,) = LENGTH.unpack(header)
        content = stream.read(size)
        if len(content) < size:
            return
        yield wire.decode_report(content)


def _write(connection: socket.socket, frames: queue.SimpleQueue[bytes | None]) -> None:
    with suppress(OSError):
        while (data := frames.get()) is not None:
            connection.sendall(data)
