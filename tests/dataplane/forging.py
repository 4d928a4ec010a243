# SPDX-License-Identifier: Apache-2.0
"""Packets that no honest end sends, made byte by byte: segments of TCP, and errors of ICMP, from any address."""

from __future__ import annotations

import socket
import struct
from enum import IntFlag
from typing import TYPE_CHECKING, Final, NamedTuple

from tests.dataplane.inside import inside
from tests.dataplane.lines import checksum

if TYPE_CHECKING:
    from tests.dataplane.lines import Line
    from tests.dataplane.network import Network

UNREACHABLE, TOO_BIG = "unreachable", "too big"
MTU: Final = 1280
"""What an error says that does not fit."""

_KINDS: Final = {(4, UNREACHABLE): (3, 3), (4, TOO_BIG): (3, 4), (6, UNREACHABLE): (1, 4), (6, TOO_BIG): (2, 0)}
_ALL_FRAMES: Final = 0x0003


class Flag(IntFlag):
    """Flags of a segment of TCP."""

    FIN, SYN, RST, PUSH, ACK = 1, 2, 4, 8, 16


class Ends(NamedTuple):
    """Addresses and ports of what is sent from one end to another."""

    source: str
    source_port: int
    destination: str
    destination_port: int


def ends(line: Line, speaker: str) -> Ends:
    """Return those of what one end of a flow sends."""
    own, other = line.ends[speaker].getsockname(), line.other(speaker).getsockname()
    return Ends(own[0], own[1], other[0], other[1])


class Heard:
    """What a flow of TCP is at, as its client's link sees it: begin to listen before it speaks."""

    def __init__(self, network: Network, address: str) -> None:
        self._socket = inside(
            network.pid_of(address), lambda: socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(_ALL_FRAMES))
        )  # fmt: skip
        self._socket.settimeout(5)

    def expected(self, sent: Ends) -> int:
        """Return the number that the receiver of some segments expects next, as it said last."""
        family = socket.AF_INET6 if ":" in sent.source else socket.AF_INET
        addresses = socket.inet_pton(family, sent.destination) + socket.inet_pton(family, sent.source)
        ports = struct.pack("!2H", sent.destination_port, sent.source_port)
        header, place = (40, 8) if family == socket.AF_INET6 else (20, 12)
        found: int | None = None
        self._socket.setblocking(False)
        while True:
            try:
                data = self._socket.recv(4096)
            except BlockingIOError:
                assert found is not None
                self._socket.close()
                return found
            if data[place:header] == addresses and data[header : header + 4] == ports:
                found = int.from_bytes(data[header + 8 : header + 12], "big")


def segment(
    network: Network, sent: Ends, flags: Flag, sequence: int = 1, answer: int = 1, data: bytes = b"", times: int = 1
) -> None:
    """Send a segment of TCP from the namespace of its source, so many times at once."""
    ports = sent.source_port, sent.destination_port
    content = struct.pack("!2H2IBBHHH", *ports, sequence, answer, 0x50, flags, 1024, 0, 0) + data
    _send(network, sent.source, sent, socket.IPPROTO_TCP, content, 16, times)


def raw(network: Network, source: str, destination: str, protocol: int, data: bytes) -> None:
    """Send a packet of some protocol, without anything that is known of it."""
    _send(network, source, Ends(source, 0, destination, 0), protocol, data, None)


def error(network: Network, liar: str, sender: str, line: Line, hearer: str, kind: str) -> None:
    """Send one end of a flow, `hearer`, an error about what it sent there; `sender` sends it as `liar`."""
    quoted = ends(line, hearer)
    six = ":" in liar
    number, code = _KINDS[6 if six else 4, kind]
    protocol = socket.IPPROTO_TCP if line.kind == "tcp" else socket.IPPROTO_UDP
    inner = struct.pack("!2HHH", quoted.source_port, quoted.destination_port, 8, 0) + bytes(32)
    content = (
        struct.pack("!BBHI", number, code, 0, MTU if kind == TOO_BIG else 0) + _header(quoted, protocol, inner) + inner
    )
    to = Ends(liar, 0, quoted.source, 0)
    _send(network, sender, to, socket.IPPROTO_ICMPV6 if six else socket.IPPROTO_ICMP, content, 2)


def _send(
    network: Network, place: str, to: Ends, protocol: int, content: bytes, sum_at: int | None, times: int = 1
) -> None:
    """Send a packet from the namespace of a place, with its checksum filled in."""
    family = socket.AF_INET6 if ":" in to.source else socket.AF_INET
    if sum_at is not None:
        pseudo = b"" if protocol == socket.IPPROTO_ICMP else _pseudo(to, protocol, len(content))
        whole = pseudo + content + bytes(len(content) % 2)
        content = content[:sum_at] + struct.pack("!H", checksum(whole)) + content[sum_at + 2 :]
    packet = _header(to, protocol, content) + content
    with inside(network.pid_of(place), lambda: socket.socket(family, socket.SOCK_RAW, socket.IPPROTO_RAW)) as item:
        for _ in range(times):
            item.sendto(packet, (to.destination, 0))


def _pseudo(to: Ends, protocol: int, length: int) -> bytes:
    family = socket.AF_INET6 if ":" in to.source else socket.AF_INET
    addresses = socket.inet_pton(family, to.source) + socket.inet_pton(family, to.destination)
    return addresses + struct.pack("!2I" if family == socket.AF_INET6 else "!2H", *_order(family, protocol, length))


def _order(family: int, protocol: int, length: int) -> tuple[int, int]:
    return (length, protocol) if family == socket.AF_INET6 else (protocol, length)


def _header(to: Ends, protocol: int, content: bytes) -> bytes:
    """Return the header of IP."""
    if ":" in to.source:
        addresses = socket.inet_pton(socket.AF_INET6, to.source) + socket.inet_pton(socket.AF_INET6, to.destination)
        return struct.pack("!IHBB", 6 << 28, len(content), protocol, 64) + addresses
    addresses = socket.inet_aton(to.source) + socket.inet_aton(to.destination)
    head = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(content), 1, 0, 64, protocol, 0) + addresses
    return head[:10] + struct.pack("!H", checksum(head)) + head[12:]
