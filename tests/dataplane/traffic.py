# SPDX-License-Identifier: Apache-2.0
"""Traffic without pause, in a process of its own: one that connects, or one that is connected to.

The first line of input is JSON: {"serve": [[fd, address, tcp ports, udp ports], ...]} or {"connect": [[number,
fd, kind, source, destination, port], ...], "in_flight": n}, where fd is an open network namespace. It says
"ready", writes records (see RECORD) to the file that is its only argument, and ends when its input does.

All flows are tried in turn, again and again, each try from a port of its own. A datagram is never answered,
so its flow stays new to every node on the way.
"""

from __future__ import annotations

import ctypes
import itertools
import json
import os
import select
import socket
import struct
import sys
import time
from collections import deque
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

Flow = tuple[int, int, str, str, str, int]

RECORD = struct.Struct("=iidd")
"""What came of a try, the number of its flow (or, at the server, its port), when it began and when it ended."""

CONNECTED, AGAIN, REFUSED, SILENT, SENT, ARRIVED = range(6)
"""Answered; answered after the first packet was lost; refused; not answered in time; a datagram that left, and one that arrived."""

PATIENCE = 0.4
"""Seconds until a connection is given up: before the kernel would try a second time."""

FIRST_PORT, LAST_PORT = 10000, 59999
SO_RCVBUFFORCE = 33
ROOM = 16 << 20
"""Bytes in which datagrams wait for a server that the machine has no time for; more than its limit, which is root's to pass."""
CLONE_NEWNET: Final = 0x40000000
LIBC: Final = ctypes.CDLL(None, use_errno=True)
RESET_AT_CLOSE = struct.pack("ii", 1, 0)
DATAGRAM = struct.Struct("=id")
RETRANSMISSIONS = struct.Struct("=100xI")
UNANSWERED = (2, 7)  # SYN_SENT and CLOSE


def enter(fd: int) -> None:
    if LIBC.setns(fd, CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "setns")


def family(address: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in address else socket.AF_INET


class Records:
    """The file, written in pieces."""

    def __init__(self, path: Path) -> None:
        self.file = path.open("wb", buffering=0)
        self.pending: list[bytes] = []

    def add(self, result: int, number: int, began: float, ended: float) -> None:
        self.pending.append(RECORD.pack(result, number, began, ended))
        if len(self.pending) >= 200:
            self.flush()

    def flush(self) -> None:
        self.file.write(b"".join(self.pending))
        self.pending.clear()


class Servers:
    """Listeners that take what comes."""

    def __init__(self, places: Iterable[tuple[int, str, list[int], list[int]]], records: Records) -> None:
        self.records = records
        self.poll = select.epoll()
        self.sockets: dict[int, tuple[socket.socket, Callable[[socket.socket], None]]] = {}
        for fd, address, tcp, udp in places:
            enter(fd)
            for port in tcp:
                self.watch(socket.socket(family(address), socket.SOCK_STREAM), address, port, self.accept).listen(4096)
            for port in udp:
                item = self.watch(socket.socket(family(address), socket.SOCK_DGRAM), address, port, self.receive)
                item.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, ROOM)

    def watch(
        self, item: socket.socket, address: str, port: int, handler: Callable[[socket.socket], None]
    ) -> socket.socket:
        item.setblocking(False)
        # Connections that others have at that port may go on.
        item.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        item.bind((address, port))
        self.sockets[item.fileno()] = item, handler
        self.poll.register(item, select.EPOLLIN)
        return item

    def accept(self, item: socket.socket) -> None:
        for _ in range(64):
            try:
                item.accept()[0].close()
            except OSError:
                return

    def receive(self, item: socket.socket) -> None:
        for _ in range(64):
            try:
                number, sent = DATAGRAM.unpack(item.recv(64))
            except OSError:
                return
            self.records.add(ARRIVED, number, sent, time.monotonic())

    def run(self) -> None:
        self.poll.register(0, select.EPOLLIN)
        while True:
            for fd, _ in self.poll.poll():
                if fd == 0:
                    return
                item, handler = self.sockets[fd]
                handler(item)


class Clients:
    """Connections in flight, oldest first."""

    def __init__(self, flows: Iterable[Flow], in_flight: int, records: Records) -> None:
        self.records = records
        self.limit = in_flight
        self.poll = select.epoll()
        self.poll.register(0, select.EPOLLIN)
        self.open: dict[int, tuple[socket.socket, int, float]] = {}
        self.order: deque[tuple[int, float]] = deque()
        self.senders: dict[str, socket.socket] = {}
        by_place: dict[int, list[Flow]] = {}
        for flow in flows:
            by_place.setdefault(flow[1], []).append(flow)
            if flow[2] == "udp" and flow[3] not in self.senders:
                enter(flow[1])
                sender = self.senders[flow[3]] = socket.socket(family(flow[3]), socket.SOCK_DGRAM)
                sender.setblocking(False)
                sender.bind((flow[3], FIRST_PORT))
        self.places: Sequence[tuple[int, list[Flow]]] = list(by_place.items())

    def run(self) -> None:
        for port in itertools.cycle(range(FIRST_PORT, LAST_PORT + 1)):
            for fd, flows in self.places:
                enter(fd)
                for flow in flows:
                    if flow[2] == "udp":
                        self.send(flow)
                    else:
                        self.connect(flow, port)
                if self.look():
                    return

    def send(self, flow: Flow) -> None:
        try:
            now = time.monotonic()
            self.senders[flow[3]].sendto(DATAGRAM.pack(flow[0], now), (flow[4], flow[5]))
            self.records.add(SENT, flow[0], now, now)
        except OSError:
            return

    def connect(self, flow: Flow, port: int) -> None:
        item = socket.socket(family(flow[3]), socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        item.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        item.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_AT_CLOSE)
        item.bind((flow[3], port))
        began = time.monotonic()
        item.connect_ex((flow[4], flow[5]))
        number = item.fileno()
        self.open[number] = item, flow[0], began
        self.order.append((number, began))
        self.poll.register(number, select.EPOLLOUT)

    def look(self) -> bool:
        """Take what was answered and give up what was not; return whether it is time to end."""
        while True:
            full = len(self.open) >= self.limit
            for fd, _ in self.poll.poll(0.005 if full else 0, 512):
                if fd == 0:
                    return True
                self.close(fd)
            now = time.monotonic()
            while self.order and (self.order[0][1] < now - PATIENCE or self.gone(*self.order[0])):
                number, began = self.order.popleft()
                if not self.gone(number, began):
                    self.close(number)
            if len(self.open) < self.limit:
                return False

    def gone(self, number: int, began: float) -> bool:
        found = self.open.get(number)
        return found is None or found[2] != began

    def close(self, number: int) -> None:
        item, flow, began = self.open.pop(number)
        error = item.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        told = item.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 104)
        if error:
            result = REFUSED
        elif told[0] in UNANSWERED:
            result = SILENT
        else:
            result = AGAIN if RETRANSMISSIONS.unpack(told)[0] else CONNECTED
        self.poll.unregister(number)
        item.close()
        self.records.add(result, flow, began, time.monotonic())


def main() -> None:
    records = Records(Path(sys.argv[1]))
    # Unbuffered, so that nothing but the end of input is left for the event loop to see.
    line = b""
    while not line.endswith(b"\n"):
        line += os.read(0, 1 << 16)
    wanted = json.loads(line)
    worker: Servers | Clients
    if "serve" in wanted:
        worker = Servers(wanted["serve"], records)
    else:
        worker = Clients(wanted["connect"], wanted["in_flight"], records)
    os.write(1, b"ready\n")
    worker.run()
    records.flush()


if __name__ == "__main__":
    main()
