# SPDX-License-Identifier: Apache-2.0
"""Many connections tried at once from one network namespace, each with what became of it."""

from __future__ import annotations

import errno
import os
import resource
import select
import socket
import struct
import time
from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING, Final, Literal, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

Kind = Literal["tcp", "udp", "icmp"]

FIRST_PORT: Final = 10000
LAST_PORT: Final = 60999
SPARE_PORTS: Final = 64
"""How many more source ports than probes to keep free: some may be taken by servers."""

_LONGEST: Final = 3.0
_GRACE: Final = 0.3
_AGAIN: Final = 0.5
_MOST_AT_ONCE: Final = 4000
_OTHER_FILES: Final = 64
_SYMBOLS: Final = {errno.ECONNREFUSED: "refused", errno.ECONNRESET: "refused", errno.ETIMEDOUT: "timeout"}
# The options IP_FREEBIND and IPV6_FREEBIND: a socket may be bound to addresses that no interface has.
_FREEBIND: Final[dict[int, tuple[int, int]]] = {
    socket.AF_INET: (socket.IPPROTO_IP, 15),
    socket.AF_INET6: (socket.IPPROTO_IPV6, 78),
}
_ECHO: Final = {socket.AF_INET: (8, 0), socket.AF_INET6: (128, 129)}
_UNREACHABLE: Final = {socket.AF_INET: 3, socket.AF_INET6: 1}
_ICMP: Final = struct.Struct("!BBHHH")

# What any server of a protocol answers: those of DNS (RFC 1035, 4) say nothing to what is no question.
_DATAGRAMS: Final = {53: struct.pack("!6H", 1, 0x0100, 1, 0, 0, 0) + b"\x08podfence\x00" + struct.pack("!2H", 1, 1)}
_DATAGRAM: Final = b"?"


class Probe(NamedTuple):
    """One try. `port` is 0 for icmp; `source` is an address or "" for any; `expected` says whether to wait for it."""

    kind: Kind
    source: str
    destination: str
    port: int
    expected: bool = True

    @property
    def space(self) -> str:
        """Return what its source port is counted by: one port has one flow per protocol and address."""
        return f"{self.kind} {self.source}"


def run(probes: Sequence[Probe], first_ports: Mapping[str, int] | None = None) -> list[str]:
    """Return what became of each probe: "open", "refused", "timeout" or "error: ...".

    "open" is connected or answered; "refused" is a reset or an unreachable port, so that it got there. Expected
    ones are awaited for up to 3 s, the others until 0.3 s after the last expected one was answered. `first_ports`
    has the source port (for ICMP: the identifier) to begin with, per `Probe.space`.
    """
    size = max(1, min(_MOST_AT_ONCE, raise_limit_of_files() - _OTHER_FILES))
    ports = dict(first_ports or {})
    found: list[str] = []
    for start in range(0, len(probes), size):
        batch = _Batch(probes[start : start + size], ports)
        found += batch.wait()
    return found


def raise_limit_of_files() -> int:
    """Let this process have as many open files as the system lets it, and return how many that are."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


class _Batch:
    """Probes that are under way at the same time."""

    def __init__(self, probes: Sequence[Probe], ports: dict[str, int]) -> None:
        """Start all of them; `ports` has the next source port of each source and is moved on."""
        self._probes = probes
        self._ports = ports
        self._outcomes: list[str | None] = [None] * len(probes)
        self._missing = sum(probe.expected for probe in probes)
        self._files = ExitStack()
        self._poll = self._files.enter_context(select.epoll())
        self._sockets: dict[int, tuple[socket.socket, int]] = {}
        self._pings: dict[tuple[int, str], _Pings] = {}
        self._questions: dict[int, Callable[[], object]] = {}
        for index, probe in enumerate(probes):
            try:
                self._start(index, probe)
            except OSError as error:
                self._settle(index, _outcome(error.errno or 0))
            if index % 256 == 255:
                self._take(0)

    def wait(self) -> list[str]:
        """Return the outcomes, as soon as waiting any longer has no sense."""
        begin = time.monotonic()
        end, again = begin + _LONGEST, begin + _AGAIN
        graced = False
        while None in self._outcomes:
            if not graced and not self._missing:
                graced, end = True, time.monotonic() + _GRACE
            now = time.monotonic()
            if now >= end:
                break
            if now >= again:
                again = now + _AGAIN
                self._repeat()
            self._take(min(end, again) - now)
        self._files.close()
        return [outcome or "timeout" for outcome in self._outcomes]

    def _start(self, index: int, probe: Probe) -> None:
        if probe.kind == "icmp":
            self._ping(index, probe)
            return
        family = _family(probe)
        kind = socket.SOCK_STREAM if probe.kind == "tcp" else socket.SOCK_DGRAM
        item = self._files.enter_context(socket.socket(family, kind | socket.SOCK_NONBLOCK))
        self._bind(item, probe)
        code = item.connect_ex((probe.destination, probe.port))
        if code not in {0, errno.EINPROGRESS}:
            raise OSError(code, os.strerror(code))
        if probe.kind == "udp":
            self._ask(index, partial(item.send, _DATAGRAMS.get(probe.port, _DATAGRAM)))
        self._sockets[item.fileno()] = item, index
        self._poll.register(item.fileno(), select.EPOLLIN if probe.kind == "udp" else select.EPOLLOUT)

    def _bind(self, item: socket.socket, probe: Probe) -> None:
        """Bind to a source port that no probe had: an old one may belong to a flow the kernel still knows."""
        item.setsockopt(*_FREEBIND[item.family], 1)
        for _ in range(SPARE_PORTS):
            try:
                item.bind((probe.source, self._next_port(probe.space)))
            except OSError as error:
                if error.errno != errno.EADDRINUSE:
                    raise
            else:
                return
        raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))

    def _next_port(self, space: str) -> int:
        port = self._ports.get(space, FIRST_PORT)
        self._ports[space] = port + 1 if port < LAST_PORT else FIRST_PORT
        return port

    def _ping(self, index: int, probe: Probe) -> None:
        family = _family(probe)
        pings = self._pings.get((family, probe.source))
        if pings is None:
            pings = self._pings[family, probe.source] = _Pings(family, probe.source, self._next_port(probe.space))
            self._files.enter_context(pings.socket)
            self._poll.register(pings.socket.fileno(), select.EPOLLIN)
        self._ask(index, partial(pings.send, index, probe.destination))

    def _ask(self, index: int, question: Callable[[], object]) -> None:
        self._questions[index] = question
        question()

    def _repeat(self) -> None:
        """Ask again what has no answer: a packet may be lost while neighbours are looked up. TCP does that itself."""
        for index, question in self._questions.items():
            if self._outcomes[index] is None:
                try:
                    question()
                except OSError as error:
                    self._settle(index, _outcome(error.errno or 0))

    def _take(self, seconds: float) -> None:
        """Wait for something to happen, for so long, and note what it was."""
        pings = {item.socket.fileno(): item for item in self._pings.values()}
        for number, _ in self._poll.poll(seconds):
            if number in pings:
                for index, outcome in pings[number].receive(len(self._probes)):
                    self._settle(index, outcome)
                continue
            item, index = self._sockets.pop(number)
            if item.type == socket.SOCK_STREAM:
                self._settle(index, _outcome(item.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)))
                # A reset leaves nothing behind that would keep the port busy at either end.
                item.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            else:
                try:
                    item.recv(16)
                    self._settle(index, "open")
                except OSError as error:
                    self._settle(index, _outcome(error.errno or 0))
            item.close()

    def _settle(self, index: int, outcome: str) -> None:
        if self._outcomes[index] is None:
            self._outcomes[index] = outcome
            self._missing -= self._probes[index].expected


class _Pings:
    """The echo requests from one address, with one identifier and the number of the probe in the sequence."""

    def __init__(self, family: socket.AddressFamily, source: str, identity: int) -> None:
        self._identity = identity
        self._family = family
        protocol = socket.IPPROTO_ICMP if family == socket.AF_INET else socket.IPPROTO_ICMPV6
        self.socket = socket.socket(family, socket.SOCK_RAW | socket.SOCK_NONBLOCK, protocol)
        self.socket.setsockopt(*_FREEBIND[family], 1)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        self.socket.bind((source, 0))

    def send(self, index: int, destination: str) -> None:
        request = _ECHO[self._family][0]
        total = 0
        if self._family == socket.AF_INET:
            # The kernel computes the checksum of ICMPv6 itself.
            total = sum(struct.unpack("!4H", _ICMP.pack(request, 0, 0, self._identity, index)))
            total = ~((total & 0xFFFF) + (total >> 16)) & 0xFFFF
        self.socket.sendto(_ICMP.pack(request, 0, total, self._identity, index), (destination, 0))

    def receive(self, count: int) -> list[tuple[int, str]]:
        """Return the outcomes that the packets which have come tell."""
        found: list[tuple[int, str]] = []
        while True:
            try:
                data = self.socket.recv(2048)
            except BlockingIOError:
                return found
            body = data[(data[0] & 15) * 4 :] if self._family == socket.AF_INET else data
            outcome = "open"
            if body[:1] == bytes([_UNREACHABLE[self._family]]):
                # After eight bytes comes the packet that was refused, with its header.
                inner = body[8:]
                body = inner[(inner[0] & 15) * 4 :] if self._family == socket.AF_INET else inner[40:]
                outcome = "refused"
            if len(body) < _ICMP.size:
                continue
            kind, _, _, identity, index = _ICMP.unpack_from(body)
            right = _ECHO[self._family][1 if outcome == "open" else 0]
            if kind == right and identity == self._identity and index < count:
                found.append((index, outcome))


def _family(probe: Probe) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in probe.destination else socket.AF_INET


def _outcome(code: int) -> str:
    return "open" if code == 0 else _SYMBOLS.get(code, f"error: {os.strerror(code)}")
