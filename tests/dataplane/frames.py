# SPDX-License-Identifier: Apache-2.0
"""Frames as a pod with CAP_NET_RAW can send them, byte by byte."""

from __future__ import annotations

import socket
import struct
from typing import Final

BROADCAST: Final = "ff:ff:ff:ff:ff:ff"
IPV4, ARP, VLAN, IPV6, QINQ = 0x0800, 0x0806, 0x8100, 0x86DD, 0x88A8


def mac(text: str) -> bytes:
    return bytes.fromhex(text.replace(":", ""))


def ether(source: str, destination: str, kind: int, content: bytes) -> bytes:
    """Return a frame; `kind` below 0x600 is a length, as in a frame of IEEE 802.3."""
    return mac(destination) + mac(source) + struct.pack(">H", kind) + content


def tagged(frame: bytes, vid: int, kind: int = VLAN) -> bytes:
    """Return a frame with a tag of IEEE 802.1Q or 802.1ad more."""
    return frame[:12] + struct.pack(">HH", kind, vid) + frame[12:]


def arp(operation: int, sender: tuple[str, str], target: tuple[str, str], more: bytes = b"") -> bytes:
    """Return what ARP says; both ends are a hardware address and one of IPv4."""
    ends = b"".join(mac(hardware) + socket.inet_aton(address) for hardware, address in (sender, target))
    return struct.pack(">HHBBH", 1, IPV4, 6, 4, operation) + ends + more


def checksum(data: bytes) -> int:
    data += bytes(len(data) % 2)
    total: int = sum(struct.unpack(f">{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def ip(source: str, destination: str, protocol: int, content: bytes, hops: int = 64) -> bytes:
    """Return a packet of the family of its addresses."""
    if ":" in source:
        head = struct.pack(">IHBB", 6 << 28, len(content), protocol, hops)
        return head + _six(source) + _six(destination) + content
    ends = socket.inet_aton(source) + socket.inet_aton(destination)
    head = struct.pack(">BBHHHBB", 0x45, 0, 20 + len(content), 1, 0, hops, protocol)
    return head + struct.pack(">H", checksum(head + bytes(2) + ends)) + ends + content


def udp(source: str, destination: str, port: int, content: bytes, *, source_port: int = 999) -> bytes:
    """Return a packet with a datagram."""
    head = struct.pack(">HHH", source_port, port, 8 + len(content))
    return ip(source, destination, 17, _summed(source, destination, 17, head, content))


def icmpv6(source: str, destination: str, kind: int, content: bytes, hops: int = 255) -> bytes:
    """Return a message of ICMPv6; `content` begins after the checksum."""
    return ip(source, destination, 58, _summed(source, destination, 58, bytes((kind, 0)), content), hops)


def neighbour(
    kind: int, source: str, destination: str, target: str, hardware: str = "", *, more: bytes = b"", hops: int = 255
) -> bytes:
    """Return a solicitation (135) or an advertisement (136) about a target, with the hardware address of one end."""
    option = bytes((kind - 134, 1)) + mac(hardware) if hardware else b""
    flags = bytes((0x60 if kind == 136 else 0, 0, 0, 0))
    return icmpv6(source, destination, kind, flags + _six(target) + option + more, hops)


def listener_report(source: str, group: str) -> bytes:
    """Return a report of version 1 that somebody listens to a group, behind an option for routers."""
    body = _summed(source, group, 58, bytes((131, 0)), bytes(4) + _six(group))
    return ip(source, group, 0, bytes((58, 0, 5, 2, 0, 0, 1, 0)) + body, 1)


def _summed(source: str, destination: str, protocol: int, head: bytes, content: bytes) -> bytes:
    """Return an upper protocol's header with the checksum behind its first bytes, and what follows."""
    pack = _six if ":" in source else socket.inet_aton
    pseudo = pack(source) + pack(destination) + struct.pack(">IHBB", len(head) + 2 + len(content), 0, 0, protocol)
    value = checksum(pseudo + head + bytes(2) + content)
    return head + struct.pack(">H", value or 0xFFFF) + content


def _six(text: str) -> bytes:
    return socket.inet_pton(socket.AF_INET6, text)
