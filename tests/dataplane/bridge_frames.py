# SPDX-License-Identifier: Apache-2.0
"""What a pod may send by its port of a bridge, and what it may not, frame by frame."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Final, NamedTuple

from tests.dataplane.bed import GATEWAYS, OPEN_PORT, A, C, Person, T, X
from tests.dataplane.frames import (
    ARP,
    BROADCAST,
    IPV4,
    IPV6,
    QINQ,
    arp,
    ether,
    icmpv6,
    ip,
    listener_report,
    neighbour,
    tagged,
    udp,
)

ALL_NODES: Final = "33:33:00:00:00:01"


class Try(NamedTuple):
    """A frame from one pod to another; `frame` makes it of the token."""

    name: str
    source: Person
    destination: Person
    frame: Callable[[bytes], bytes]


def group(name: bytes) -> str:
    """Return a group whose address ends with eight bytes."""
    return socket.inet_ntop(socket.AF_INET6, b"\xff\x02" + bytes(6) + name)


def frame(source: Person, destination: Person, kind: int, content: bytes, *, at: str = "") -> bytes:
    return ether(source.mac, at or destination.mac, kind, content)


ATTACKS: Final = (
    # Addresses that policies do not know
    Try(
        "a datagram between link-local addresses",
        A,
        T,
        lambda k: frame(A, T, IPV6, udp(A.local, T.local, OPEN_PORT, k)),
    ),
    Try(
        "a datagram to the group of all nodes",
        A,
        T,
        lambda k: frame(A, T, IPV6, udp(A.local, "ff02::1", OPEN_PORT, k), at=ALL_NODES),
    ),
    Try(
        "a datagram to the group of all nodes, from its own address",
        A,
        T,
        lambda k: frame(A, T, IPV6, udp(A.six, "ff02::1", OPEN_PORT, k), at=ALL_NODES),
    ),
    Try("an egress to a link-local address", X, C, lambda k: frame(X, C, IPV6, udp(X.local, C.local, OPEN_PORT, k))),
    Try(
        "an egress from its own to a link-local address",
        A,
        C,
        lambda k: frame(A, C, IPV6, udp(A.six, C.local, OPEN_PORT, k)),
    ),
    Try(
        "a datagram to everybody",
        A,
        T,
        lambda k: frame(A, T, IPV4, udp(A.four, "255.255.255.255", OPEN_PORT, k), at=BROADCAST),
    ),
    Try(
        "a datagram to all hosts",
        A,
        T,
        lambda k: frame(A, T, IPV4, udp(A.four, "224.0.0.1", OPEN_PORT, k), at="01:00:5e:00:00:01"),
    ),
    Try("a source that nobody has", X, C, lambda k: frame(X, C, IPV4, udp("198.51.100.7", C.four, OPEN_PORT, k))),
    Try("a source of IPv6 that nobody has", X, C, lambda k: frame(X, C, IPV6, udp("2001:db8::7", C.six, OPEN_PORT, k))),
    Try("a destination that nobody has", A, C, lambda k: frame(A, C, IPV4, udp(A.four, "198.51.100.7", OPEN_PORT, k))),
    # Addresses of others
    Try("the address of an allowed pod", A, T, lambda k: frame(A, T, IPV4, udp(C.four, T.four, OPEN_PORT, k))),
    Try("the address of an allowed pod, IPv6", A, T, lambda k: frame(A, T, IPV6, udp(C.six, T.six, OPEN_PORT, k))),
    Try("both addresses of an allowed pod", A, T, lambda k: frame(C, T, IPV4, udp(C.four, T.four, OPEN_PORT, k))),
    Try("the hardware address of another pod", A, C, lambda k: frame(T, C, IPV4, udp(A.four, C.four, OPEN_PORT, k))),
    Try("the address of the receiver", A, T, lambda k: frame(A, T, IPV6, udp(T.six, T.six, OPEN_PORT, k))),
    # What is not IP
    Try("a tag of VLAN 0", A, T, lambda k: tagged(frame(A, T, IPV4, udp(A.four, T.four, OPEN_PORT, k)), 0)),
    Try("a tag of VLAN 7", A, T, lambda k: tagged(frame(A, T, IPV4, udp(A.four, T.four, OPEN_PORT, k)), 7)),
    Try("a tag of 802.1ad", A, T, lambda k: tagged(frame(A, T, IPV4, udp(A.four, T.four, OPEN_PORT, k)), 0, QINQ)),
    Try("two tags", A, T, lambda k: tagged(tagged(frame(A, T, IPV4, udp(A.four, T.four, OPEN_PORT, k)), 0), 0, QINQ)),
    Try(
        "a tag before an honest packet", C, T, lambda k: tagged(frame(C, T, IPV4, udp(C.four, T.four, OPEN_PORT, k)), 0)
    ),
    Try("PPPoE", A, T, lambda k: frame(A, T, 0x8864, k)),
    Try("MPLS", A, T, lambda k: frame(A, T, 0x8847, k * 5)),
    Try("a protocol for experiments", X, C, lambda k: frame(X, C, 0x88B5, k)),
    Try("a frame with a length", A, T, lambda k: frame(A, T, 60, b"\xaa\xaa\x03\0\0\0\x88\xb5" + k * 4)),
    # ARP
    Try(
        "a payload behind ARP",
        A,
        T,
        lambda k: frame(A, T, ARP, arp(2, (A.mac, A.four), (T.mac, T.four), bytes(20) + k)),
    ),
    Try(
        "ARP with the address of another pod",
        A,
        T,
        lambda k: frame(A, T, ARP, arp(1, (A.mac, C.four), (T.mac, T.four), k)),
    ),
    Try(
        "ARP with the address of the gateway",
        A,
        T,
        lambda k: frame(A, T, ARP, arp(2, (A.mac, GATEWAYS[0]), (T.mac, T.four), k)),
    ),
    Try(
        "ARP with a hardware address of another",
        A,
        T,
        lambda k: frame(A, T, ARP, arp(2, (C.mac, A.four), (T.mac, T.four), k)),
    ),
    Try("ARP in a frame of another", A, T, lambda k: frame(C, T, ARP, arp(2, (A.mac, A.four), (T.mac, T.four), k))),
    Try(
        "ARP with an address that nobody has",
        A,
        T,
        lambda k: frame(A, T, ARP, arp(1, (A.mac, "10.9.9.9"), (T.mac, T.four), k)),
    ),
    Try(
        "a probe for the address of another",
        A,
        T,
        lambda k: frame(A, T, ARP, arp(1, (A.mac, "0.0.0.0"), (T.mac, T.four), k), at=BROADCAST),
    ),
    Try("ARP of other lengths", A, T, lambda k: frame(A, T, ARP, b"\0\x01\x08\0\x06\x10\0\x01" + k)),
    # Neighbour discovery
    Try(
        "a router advertisement",
        A,
        T,
        lambda k: frame(A, T, IPV6, icmpv6(A.local, "ff02::1", 134, bytes(12) + k), at=ALL_NODES),
    ),
    Try("a redirect", A, C, lambda k: frame(A, C, IPV6, icmpv6(A.local, C.six, 137, bytes(36) + k))),
    Try(
        "a solicitation with a payload",
        X,
        C,
        lambda k: frame(X, C, IPV6, neighbour(135, X.six, C.six, C.six, X.mac, more=k * 2)),
    ),
    Try(
        "a solicitation that came by a router",
        A,
        C,
        lambda k: frame(A, C, IPV6, neighbour(135, A.six, C.six, C.six, more=k, hops=64)),
    ),
    Try(
        "a solicitation to all nodes",
        X,
        C,
        lambda k: frame(X, C, IPV6, neighbour(135, X.six, "ff02::1", C.six, more=k), at=ALL_NODES),
    ),
    Try(
        "a solicitation from a router's address",
        X,
        C,
        lambda k: frame(X, C, IPV6, neighbour(135, GATEWAYS[1], C.six, C.six, more=k)),
    ),
    Try(
        "an advertisement of another pod's address",
        A,
        T,
        lambda k: frame(A, T, IPV6, neighbour(136, A.six, T.six, C.six, more=k)),
    ),
    Try(
        "an advertisement of the gateway's address",
        A,
        T,
        lambda k: frame(A, T, IPV6, neighbour(136, A.local, "ff02::1", GATEWAYS[1], more=k), at=ALL_NODES),
    ),
    Try(
        "an advertisement of nobody's address",
        A,
        T,
        lambda k: frame(A, T, IPV6, neighbour(136, A.six, T.six, "2001:db8::9", more=k)),
    ),
    Try(
        "a listener report",
        X,
        C,
        lambda k: frame(X, C, IPV6, listener_report(X.local, group(k)), at="33:33:00:00:00:09"),
    ),
)


def solicited(address: str) -> tuple[str, str]:
    """Return the group in which somebody with an address listens for solicitations, of IPv6 and of hardware."""
    last = socket.inet_pton(socket.AF_INET6, address)[-3:]
    return f"ff02::1:ff{last[0]:02x}:{last[1]:02x}{last[2]:02x}", f"33:33:ff:{last.hex(':')}"


def ask(source: str, sender: Person, target: str, more: bytes) -> bytes:
    to, at = solicited(target)
    return ether(sender.mac, at, IPV6, neighbour(135, source, to, target, more=more))


HONEST: Final = (
    Try("a datagram that a policy allows", C, T, lambda k: frame(C, T, IPV4, udp(C.four, T.four, OPEN_PORT, k))),
    Try("a datagram of IPv6 that a policy allows", C, T, lambda k: frame(C, T, IPV6, udp(C.six, T.six, OPEN_PORT, k))),
    Try("a datagram between pods without policies", A, C, lambda k: frame(A, C, IPV4, udp(A.four, C.four, 99, k))),
    Try("a ping of IPv6", A, C, lambda k: frame(A, C, IPV6, icmpv6(A.six, C.six, 128, bytes(4) + k, 64))),
    Try("another protocol", A, C, lambda k: frame(A, C, IPV4, ip(A.four, C.four, 253, k))),
    Try(
        "a question by ARP",
        A,
        T,
        lambda k: frame(A, T, ARP, arp(1, (A.mac, A.four), ("00:00:00:00:00:00", T.four), k), at=BROADCAST),
    ),
    Try("an answer by ARP", A, T, lambda k: frame(A, T, ARP, arp(2, (A.mac, A.four), (T.mac, T.four), k))),
    Try(
        "a padded answer by ARP",
        A,
        T,
        lambda k: frame(A, T, ARP, arp(2, (A.mac, A.four), (T.mac, T.four), k + bytes(10))),
    ),
    Try(
        "a gratuitous ARP", A, T, lambda k: frame(A, T, ARP, arp(1, (A.mac, A.four), (A.mac, A.four), k), at=BROADCAST)
    ),
    Try(
        "a probe for its own address",
        A,
        T,
        lambda k: frame(A, T, ARP, arp(1, (A.mac, "0.0.0.0"), (A.mac, A.four), k), at=BROADCAST),
    ),
    Try("a solicitation", A, T, lambda k: ask(A.six, A, T.six, k)),
    Try("a solicitation from its link-local address", A, T, lambda k: ask(A.local, A, T.six, k)),
    Try(
        "a solicitation of one whom it knows",
        A,
        T,
        lambda k: frame(A, T, IPV6, neighbour(135, A.six, T.six, T.six, more=k)),
    ),
    Try("a search for duplicates of its address", A, T, lambda k: ask("::", A, A.six, k)),
    Try("a search for duplicates of its link-local address", A, T, lambda k: ask("::", A, A.local, k)),
    Try("an advertisement", A, T, lambda k: frame(A, T, IPV6, neighbour(136, A.six, T.six, A.six, more=k))),
    Try(
        "an advertisement of its link-local address",
        A,
        T,
        lambda k: frame(A, T, IPV6, neighbour(136, A.local, T.local, A.local, more=k)),
    ),
    Try(
        "an advertisement to all",
        A,
        T,
        lambda k: frame(A, T, IPV6, neighbour(136, A.six, "ff02::1", A.six, more=k), at=ALL_NODES),
    ),
)
