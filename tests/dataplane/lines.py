# SPDX-License-Identifier: Apache-2.0
"""Flows through the router of a test, both ends of each in the test's hands."""

from __future__ import annotations

import select
import socket
import struct
import threading
import time
from contextlib import ExitStack, suppress
from itertools import count
from typing import TYPE_CHECKING, Self

from tests.dataplane.inside import inside

if TYPE_CHECKING:
    from tests.dataplane.network import Network

SOON = 30.0
"""Seconds to wait for what must come: far more than it takes, because the machine may be busy."""

PORTS = count(20000)
"""Of clients: none is used twice, so that no flow meets the entry of an earlier one."""

KINDS = {"tcp": socket.SOCK_STREAM, "udp": socket.SOCK_DGRAM}


class Lines:
    """Makes flows, and closes them in the end."""

    def __init__(self, network: Network) -> None:
        self.network = network
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def socket(self, address: str, kind: str, port: int) -> socket.socket:
        """Return a socket bound to an address, in the namespace that has it."""
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        found = inside(self.network.pid_of(address), lambda: socket.socket(family, KINDS[kind]))
        self._stack.callback(found.close)
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        found.settimeout(SOON)
        found.bind((address, port))
        return found

    def connect(
        self, kind: str, source: str, destination: str, port: int, *, via: tuple[str, int] | None = None
    ) -> Line:
        """Return a flow on which both ends have spoken; `via` is a Service for the destination and its port."""
        server = self.socket(destination, kind, port)
        client = self.socket(source, kind, next(PORTS))
        if kind == "tcp":
            server.listen()
        client.connect(via or (destination, port))
        if kind == "tcp":
            listener, (server, _) = server, server.accept()
            listener.close()
            self._stack.callback(server.close)
            server.settimeout(SOON)
        else:
            client.send(b"hello")
            _, peer = server.recvfrom(64)
            server.connect(peer)
        line = Line(kind, client, server)
        line.works()
        return line

    def stream(self, source: str, destination: str, port: int) -> Stream:
        """Return a flow of TCP on which bytes go all the time."""
        found = Stream(self.connect("tcp", source, destination, port))
        self._stack.callback(found.end)
        return found

    def unreachable(self, line: Line) -> None:
        """Tell the client of a flow of UDP and IPv4, from the server's end, that its port is unreachable."""
        client, server = (line.ends[name].getsockname() for name in ("client", "server"))
        ends = socket.inet_aton(client[0]) + socket.inet_aton(server[0])
        packet = struct.pack("!BBHHHBBH", 0x45, 0, 28, 0, 0, 64, socket.IPPROTO_UDP, 0) + ends
        packet = packet[:10] + struct.pack("!H", checksum(packet)) + packet[12:]
        packet += struct.pack("!4H", client[1], server[1], 8, 0)
        message = struct.pack("!BBHI", 3, 3, 0, 0) + packet
        message = message[:2] + struct.pack("!H", checksum(message)) + message[4:]
        pid = self.network.pid_of(server[0])
        with inside(pid, lambda: socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)) as item:
            item.bind((server[0], 0))
            item.sendto(message, (client[0], 0))

    def ping(self, source: str, destination: str) -> Ping:
        """Return a way to ask for echoes."""
        family, protocol = (
            (socket.AF_INET6, socket.IPPROTO_ICMPV6) if ":" in source else (socket.AF_INET, socket.IPPROTO_ICMP)
        )
        item = inside(self.network.pid_of(source), lambda: socket.socket(family, socket.SOCK_RAW, protocol))
        self._stack.callback(item.close)
        item.bind((source, 0))
        item.settimeout(SOON)
        return Ping(item, destination)


class Line:
    """One flow between two sockets."""

    def __init__(self, kind: str, client: socket.socket, server: socket.socket) -> None:
        self.kind = kind
        self.ends = {"client": client, "server": server}
        self._reset: set[str] = set()

    def works(self) -> None:
        """Assert that what either end says arrives at the other."""
        for speaker in ("client", "server"):
            self.arrives(speaker)

    def arrives(self, speaker: str) -> None:
        """Assert that what one end says arrives at the other."""
        self.ends[speaker].send(speaker.encode())
        assert self.other(speaker).recv(64) == speaker.encode()

    def other(self, name: str) -> socket.socket:
        return self.ends["server" if name == "client" else "client"]

    def refuses(self, speaker: str, fence: Line) -> None:
        """Assert that what one end says does not arrive, and that with TCP it sees a reset; `fence` works."""
        if self.kind == "tcp":
            self.resets(speaker)
        else:
            self.ends[speaker].send(b"forbidden")
        # What was sent first and has the same way would be there by now.
        fence.works()
        other = "server" if speaker == "client" else "client"
        if self.kind == "tcp":
            self.hears_nothing(other)
        else:
            self.silent(other)

    def resets(self, speaker: str) -> None:
        """Assert that one end of TCP sees a reset when it speaks, if it has not seen one before."""
        if speaker in self._reset:
            return
        self.ends[speaker].settimeout(SOON)
        with suppress(ConnectionResetError):
            self.ends[speaker].send(b"forbidden")
            data = self.ends[speaker].recv(64)
            raise AssertionError(f"no reset, but {data!r}")
        self._reset.add(speaker)

    def hears_nothing(self, name: str) -> None:
        """Assert that no data waits at an end; it may be told of a reset, as its own acknowledgement may come late."""
        self.ends[name].setblocking(False)
        try:
            data = self.ends[name].recv(64)
        except ConnectionResetError:
            self._reset.add(name)
        except BlockingIOError:
            pass
        else:
            raise AssertionError(f"{name} was sent {data!r}")

    def silent(self, name: str) -> None:
        """Assert that nothing waits to be read at an end."""
        item = self.ends[name]
        assert not item.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        assert not select.select([item], [], [], 0)[0], f"{name} was sent {item.recv(64)!r}"


def checksum(data: bytes) -> int:
    """Return the checksum of the Internet (RFC 1071)."""
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    total = (total & 0xFFFF) + (total >> 16)
    return ~(total + (total >> 16)) & 0xFFFF


class Ping:
    """Echo requests with one identifier, which are one flow to the kernel."""

    def __init__(self, item: socket.socket, destination: str) -> None:
        self._socket = item
        self._destination = destination
        self._identity = next(PORTS)
        self._sequence = 0

    def ask(self) -> None:
        six = self._socket.family == socket.AF_INET6
        self._sequence += 1
        words = [0x8000 if six else 0x0800, 0, self._identity, self._sequence]
        if not six:
            words[1] = checksum(struct.pack("!4H", *words))
        self._socket.sendto(struct.pack("!4H", *words), (self._destination, 0))

    def answered(self, patience: float) -> bool:
        """Return whether the latest request is within so many seconds."""
        end = time.monotonic() + patience
        while True:
            if not select.select([self._socket], [], [], max(0.0, end - time.monotonic()))[0]:
                return False
            data = self._socket.recv(256)
            body = data if self._socket.family == socket.AF_INET6 else data[20:]
            kind, _, _, identity, sequence = struct.unpack("!BBHHH", body[:8])
            if kind in (0, 129) and (identity, sequence) == (self._identity, self._sequence):
                return True


class Stream:
    """Bytes that go through a flow all the time, counted at both ends."""

    def __init__(self, line: Line) -> None:
        self.sent = self.received = 0
        self._stop = threading.Event()
        self._client, self._server = line.ends["client"], line.ends["server"]
        self._threads = [threading.Thread(target=item) for item in (self._send, self._receive)]
        for thread in self._threads:
            thread.start()

    def _send(self) -> None:
        while not self._stop.is_set():
            self.sent += self._client.send(bytes(4096))
        self._client.shutdown(socket.SHUT_WR)

    def _receive(self) -> None:
        while data := self._server.recv(65536):
            self.received += len(data)

    def end(self) -> None:
        """Stop, and wait until all has arrived that was sent."""
        self._stop.set()
        for thread in self._threads:
            thread.join()
