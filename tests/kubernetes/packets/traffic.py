# SPDX-License-Identifier: Apache-2.0
"""Connections without pause from one network namespace: what `prober.py` does for a request to send traffic.

Of each flow a new connection is begun every 20 ms, or one connection is kept and asked something every 100 ms.
Lines of JSON say what happened that should be looked at, as it happens, and once a second how much there was:

    {"flow": NUMBER, "at": SECONDS, "what": "passed" | "failed: REASON" | "lost: REASON" | "late: SECONDS"}
    {"counts": [tries of each flow], "longest": [seconds that the slowest answer of each took]}

A new connection that may not pass is given up after 0.4 s; one that may, and each answer, has `PATIENCE`. Times are
those of the machine's monotonic clock, which is the same in all of its namespaces.
"""

from __future__ import annotations

import errno
import json
import os
import selectors
import socket
import struct
import time
from collections import deque
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

PATIENCE: Final = 5.0
EVERY: Final = 0.02
_ASKED_EVERY: Final = 0.1
_FORBIDDEN_PATIENCE: Final = 0.4
_GET: Final = b"GET / HTTP/1.1\r\nHost: town\r\n\r\n"
_RESET_AT_CLOSE: Final = struct.pack("ii", 1, 0)


class _Try:
    def __init__(self, flow: int, item: socket.socket, began: float, end: float) -> None:
        self.flow, self.item, self.began, self.end = flow, item, began, end
        self.settled = False


class _Kept:
    """A connection that stays: what is awaited of it, and whether it is there at all."""

    def __init__(self, flow: int, item: socket.socket) -> None:
        self.flow, self.item = flow, item
        self.asked: float | None = None
        self.late = False


class Traffic:
    """All flows from one place; `file` is where lines go."""

    def __init__(self, flows: list[list[Any]], file: Any) -> None:  # noqa: ANN401
        """Send `flows`, each ["allowed" | "forbidden" | "kept", SOURCE, ADDRESS, PORT]."""
        self._flows = flows
        self._file = file
        self._poll = selectors.DefaultSelector()
        self._tries: deque[_Try] = deque()
        self._kept: list[_Kept] = []
        self._counts = [0] * len(flows)
        self._longest = [0.0] * len(flows)

    def run(self, control: socket.socket) -> None:
        """Send until the other side of `control` is closed."""
        for number, (kind, source, address, port) in enumerate(self._flows):
            if kind == "kept":
                item = _socket(source)
                item.settimeout(PATIENCE)
                item.connect((address, port))
                item.setblocking(False)
                kept = _Kept(number, item)
                self._kept.append(kept)
                self._poll.register(item, selectors.EVENT_READ, kept)
        self._poll.register(control, selectors.EVENT_READ, None)
        self._say({"ready": True})
        beat, ask, tell = time.monotonic(), 0.0, time.monotonic() + 1
        while True:
            now = time.monotonic()
            if now >= beat:
                self._begin(now)
                # Where the machine was busy, what was missed is not made up for.
                beat = max(beat + EVERY, now - EVERY)
            if now >= ask:
                ask = now + _ASKED_EVERY
                self._ask(now)
            if now >= tell:
                tell = now + 1
                self._say({"counts": self._counts, "longest": [round(item, 3) for item in self._longest]})
            self._expire(now)
            for key, _ in self._poll.select(max(0.0, min(beat, ask, tell) - time.monotonic())):
                if key.data is None:
                    return
                if isinstance(key.data, _Try):
                    self._connected(key.data)
                else:
                    self._answered(key.data)

    def _begin(self, now: float) -> None:
        for number, (kind, source, address, port) in enumerate(self._flows):
            if kind == "kept":
                continue
            item = _socket(source)
            self._counts[number] += 1
            code = item.connect_ex((address, port))
            if code not in {0, errno.EINPROGRESS}:
                item.close()
                self._failed(number, now, os.strerror(code))
                continue
            attempt = _Try(number, item, now, now + (PATIENCE if kind == "allowed" else _FORBIDDEN_PATIENCE))
            self._tries.append(attempt)
            self._poll.register(item, selectors.EVENT_WRITE, attempt)

    def _connected(self, attempt: _Try) -> None:
        code = attempt.item.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        self._settle(attempt)
        took = time.monotonic() - attempt.began
        self._longest[attempt.flow] = max(self._longest[attempt.flow], took)
        if code in {0, errno.ECONNREFUSED} and self._flows[attempt.flow][0] == "forbidden":
            self._tell(attempt.flow, attempt.began, "passed")
        elif code:
            self._failed(attempt.flow, attempt.began, os.strerror(code))

    def _failed(self, flow: int, began: float, why: str) -> None:
        if self._flows[flow][0] == "allowed":
            self._tell(flow, began, f"failed: {why}")

    def _expire(self, now: float) -> None:
        waiting: deque[_Try] = deque()
        for attempt in self._tries:
            if attempt.settled:
                continue
            if attempt.end <= now:
                self._settle(attempt)
                self._failed(attempt.flow, attempt.began, "no answer")
            else:
                waiting.append(attempt)
        self._tries = waiting

    def _settle(self, attempt: _Try) -> None:
        attempt.settled = True
        self._poll.unregister(attempt.item)
        attempt.item.close()

    def _ask(self, now: float) -> None:
        for kept in list(self._kept):
            if kept.asked is not None:
                if now - kept.asked > PATIENCE and not kept.late:
                    kept.late = True
                    self._tell(kept.flow, kept.asked, f"late: more than {PATIENCE} s")
                continue
            try:
                kept.item.send(_GET)
                kept.asked = now
                self._counts[kept.flow] += 1
            except OSError as error:
                self._lose(kept, str(error))

    def _answered(self, kept: _Kept) -> None:
        try:
            data = kept.item.recv(65536)
        except OSError as error:
            self._lose(kept, str(error))
            return
        if not data:
            self._lose(kept, "the server closed it")
        elif kept.asked is not None:
            self._longest[kept.flow] = max(self._longest[kept.flow], time.monotonic() - kept.asked)
            kept.asked, kept.late = None, False

    def _lose(self, kept: _Kept, why: str) -> None:
        self._poll.unregister(kept.item)
        self._kept.remove(kept)
        self._tell(kept.flow, time.monotonic(), f"lost: {why}")

    def _tell(self, flow: int, at: float, what: str) -> None:
        self._say({"flow": flow, "at": at, "what": what})

    def _say(self, line: dict[str, object]) -> None:
        self._file.write(json.dumps(line).encode() + b"\n")
        self._file.flush()


def _socket(source: str) -> socket.socket:
    item = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    item.setblocking(False)
    # A reset leaves nothing behind that would keep ports busy at either end.
    item.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_AT_CLOSE)
    if source:
        item.setsockopt(socket.IPPROTO_IP, 15, 1)  # IP_FREEBIND
        item.bind((source, 0))
    return item


def records(file: Any) -> Iterator[dict[str, Any]]:  # noqa: ANN401
    """Yield the lines that traffic said, until it ends."""
    for line in file:
        yield json.loads(line)
