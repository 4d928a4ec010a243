# SPDX-License-Identifier: Apache-2.0
"""Servers on every address of a fabric, and rounds of probes between them, in one event loop.

All probes of a round leave at once, each round from a source port that no earlier one had: else a probe
may belong to a flow that a node still takes for established.
"""

from __future__ import annotations

import select
import socket
import struct
import time
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Final, NamedTuple, Self

from tests.dataplane.fabric import places
from tests.dataplane.traffic import ROOM, SO_RCVBUFFORCE

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable

    from tests.dataplane.fabric import Fabric

TCP_PORTS: Final = (80, 81, 444, 8080)
UDP_PORTS: Final = (53, 81)
TRAFFIC: Final = (*(("tcp", port) for port in TCP_PORTS), *(("udp", port) for port in UDP_PORTS), ("icmp", 0))

FIRST_SOURCE_PORT: Final = 10000
LAST_SOURCE_PORT: Final = 59999
LONGEST: Final = 30.0
GRACE: Final = 0.02
AGAIN: Final = 0.5
_SOL_RAW: Final = 255

PLACE_OF: Final = {address: name for name, addresses in places().items() for address in addresses}


class Probe(NamedTuple):
    """One try: `kind` is tcp, udp or icmp (port 0)."""

    kind: str
    source: str
    destination: str
    port: int

    def __str__(self) -> str:
        """Return it as a line for people."""
        return f"{self.source} > {self.destination} {self.kind}{f' {self.port}' if self.port else ''}"


class Prober:
    """The sockets of all namespaces.

    `strays` are probes that arrived at their destination after their round had ended without them; `longest`
    is for how many seconds a round waits for probes that are expected.
    """

    def __init__(self, fabric: Fabric) -> None:
        """Serve on every address, pods' and others'."""
        self._fabric = fabric
        self._poll = select.epoll()
        self._handlers: dict[int, Callable[[], None]] = {}
        self._servers: list[socket.socket] = []
        self._pings: dict[str, socket.socket] = {}
        self._port = FIRST_SOURCE_PORT - 1
        self._answered: set[Probe] = set()
        self._waiting: set[Probe] = set()
        self._by_number: list[Probe] = []
        self._before: dict[int, set[Probe]] = {}
        self.strays: list[Probe] = []
        self.longest = LONGEST
        self._place_of: dict[str, str] = {}
        for name, addresses in fabric.layout.places().items():
            self._place_of |= dict.fromkeys(addresses, name)
            with fabric.spaces[name].entered():
                for address in addresses:
                    self._serve(address)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for item in self._servers:
            item.close()
        self._poll.close()

    def _serve(self, address: str) -> None:
        family = _family(address)
        for port in TCP_PORTS:
            server = self._server(socket.socket(family, socket.SOCK_STREAM), address, port)
            server.listen(4096)
            self._watch(server, partial(self._accept, server, address, port))
        for port in UDP_PORTS:
            server = self._server(socket.socket(family, socket.SOCK_DGRAM), address, port)
            server.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, ROOM)
            self._watch(server, partial(self._echo, server, address, port))
        version4 = family == socket.AF_INET
        ping = socket.socket(family, socket.SOCK_RAW, socket.IPPROTO_ICMP if version4 else socket.IPPROTO_ICMPV6)
        if version4:
            ping.setsockopt(_SOL_RAW, 1, struct.pack("=I", ~1 & 0xFFFFFFFF))
        else:
            ping.setsockopt(
                socket.IPPROTO_ICMPV6, 1, struct.pack("=8I", *[0xFFFFFFFF] * 4, ~2 & 0xFFFFFFFF, *[0xFFFFFFFF] * 3)
            )
        self._pings[address] = self._server(ping, address, 0)
        self._watch(ping, partial(self._pong, ping, 20 if version4 else 0))

    def _server(self, item: socket.socket, address: str, port: int) -> socket.socket:
        item.setblocking(False)
        item.bind((address, port))
        self._servers.append(item)
        return item

    def _watch(self, item: socket.socket, handler: Callable[[], None], events: int = select.EPOLLIN) -> None:
        self._handlers[item.fileno()] = handler
        self._poll.register(item, events)

    # What arrives

    def _accept(self, server: socket.socket, address: str, port: int) -> None:
        try:
            item, peer = server.accept()
        except OSError:
            return
        item.close()
        self._arrived(Probe("tcp", peer[0], address, port), peer[1])

    def _echo(self, server: socket.socket, address: str, port: int) -> None:
        try:
            data, peer = server.recvfrom(64)
            self._arrived(Probe("udp", peer[0], address, port), peer[1])
            server.sendto(data, peer)
        except OSError:
            return

    def _arrived(self, probe: Probe, source_port: int) -> None:
        if source_port != self._port and probe in self._before.get(source_port, ()):
            self.strays.append(probe)

    def _pong(self, ping: socket.socket, offset: int) -> None:
        data = ping.recv(256)
        _, _, _, identity, number = struct.unpack("!BBHHH", data[offset : offset + 8])
        if identity == self._port:
            self._answer(self._by_number[number])

    def _answer(self, probe: Probe) -> None:
        self._answered.add(probe)
        self._waiting.discard(probe)

    # Rounds

    def passed(self, probes: Collection[Probe], expected: Iterable[Probe]) -> set[Probe]:
        """Return which of the probes were answered; those that are expected are waited for."""
        self._port = FIRST_SOURCE_PORT if self._port >= LAST_SOURCE_PORT else self._port + 1
        self._answered = set()
        self._waiting = set(expected)
        self._by_number = list(probes)
        opened: list[socket.socket] = []
        resend: dict[Probe, Callable[[], object]] = {}
        by_place: dict[str, list[int]] = {}
        for number, probe in enumerate(self._by_number):
            by_place.setdefault(self._place_of[probe.source], []).append(number)
        for name, numbers in by_place.items():
            with self._fabric.spaces[name].entered():
                self._send(numbers, opened, resend)
        self._wait(resend)
        for item in opened:
            self._forget(item)
        self._before[self._port] = set(self._by_number) - self._answered
        self._before.pop(self._port - 3, None)
        return self._answered

    def _send(self, numbers: list[int], opened: list[socket.socket], resend: dict[Probe, Callable[[], object]]) -> None:
        udp: dict[str, socket.socket] = {}
        for number in numbers:
            probe = self._by_number[number]
            if probe.kind == "tcp":
                opened.append(self._connect(probe))
                continue
            if probe.kind == "icmp":
                again = self._ping(probe, number)
            else:
                item = udp.get(probe.source)
                if item is None:
                    item = udp[probe.source] = self._datagrams(probe.source)
                    opened.append(item)
                again = partial(_send_to, item, b"?", (probe.destination, probe.port))
            again()
            resend[probe] = again

    def _connect(self, probe: Probe) -> socket.socket:
        item = socket.socket(_family(probe.source), socket.SOCK_STREAM)
        item.setblocking(False)
        item.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        item.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        item.bind((probe.source, self._port))
        item.connect_ex((probe.destination, probe.port))

        def done() -> None:
            self._poll.unregister(item)
            del self._handlers[item.fileno()]
            if item.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0:
                self._answer(probe)

        self._watch(item, done, select.EPOLLOUT)
        return item

    def _datagrams(self, source: str) -> socket.socket:
        item = socket.socket(_family(source), socket.SOCK_DGRAM)
        item.setblocking(False)
        item.bind((source, self._port))

        def receive() -> None:
            _, peer = item.recvfrom(64)
            self._answer(Probe("udp", source, peer[0], peer[1]))

        self._watch(item, receive)
        return item

    def _ping(self, probe: Probe, number: int) -> Callable[[], object]:
        version4 = ":" not in probe.source
        message = struct.pack("!BBHHH", 8 if version4 else 128, 0, 0, self._port, number)
        if version4:
            total = sum(struct.unpack("!4H", message))
            total = (total & 0xFFFF) + (total >> 16)
            message = message[:2] + struct.pack("!H", ~total & 0xFFFF) + message[4:]
        return partial(_send_to, self._pings[probe.source], message, (probe.destination, 0))

    def _wait(self, resend: dict[Probe, Callable[[], object]]) -> None:
        now = time.monotonic()
        end, again, graced = now + self.longest, now + AGAIN, False
        while (now := time.monotonic()) < end:
            if not self._waiting and not graced:
                graced, end = True, now + GRACE
            if self._waiting and now >= again:
                again = now + AGAIN
                for probe in self._waiting & resend.keys():
                    resend[probe]()
            for number, _ in self._poll.poll(max(min(end, again) - now, 0.001) if self._waiting else end - now):
                handler = self._handlers.get(number)
                if handler:
                    handler()

    def _forget(self, item: socket.socket) -> None:
        if self._handlers.pop(item.fileno(), None):
            self._poll.unregister(item)
        item.close()


def _send_to(item: socket.socket, data: bytes, destination: tuple[str, int]) -> None:
    """Send a datagram; the sender's own node may drop it at once, which is an error here."""
    with suppress(PermissionError):
        item.sendto(data, destination)


def _family(address: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in address else socket.AF_INET
