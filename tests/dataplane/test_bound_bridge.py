# SPDX-License-Identifier: Apache-2.0
"""Pods behind one bridge: a port carries its pod's addresses and nothing else, and what has to pass does.

Every attack is tried without binding too, on the same kind of bed: there it arrives.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, NamedTuple

import pytest

from podfence.dataplane.settings import Settings
from tests.dataplane.bed import (
    GATEWAY_MAC,
    GATEWAYS,
    LOG_GROUP,
    MARKER_PORT,
    NODE_ADDRESSES,
    NODE_LOCAL,
    OPEN_PORT,
    A,
    Bed,
    C,
    Person,
    T,
    X,
    token,
    until,
)
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

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.skipif(
    os.geteuid() != 0 or not all(map(shutil.which, ("nft", "ip"))), reason="needs root, nft and iproute2"
)

FLOODING: Final = "mcast_snooping 0"
"""What makes a bridge hand groups to all ports, so that what does not arrive was dropped."""

BEDS: Final = {
    "plain": {},
    "flooding": {"options": FLOODING},
    "filtering": {"options": "vlan_filtering 1"},
    "hairpin": {"port": "hairpin on"},
}
ALL_NODES: Final = "33:33:00:00:00:01"
HARMLESS: Final = "10.244.1.99"


@pytest.fixture(scope="module", params=BEDS)
def bed(request: pytest.FixtureRequest) -> Iterator[Bed]:
    try:
        found = Bed("bridge", Settings(log_group=LOG_GROUP), **BEDS[request.param])
    except subprocess.CalledProcessError as error:
        pytest.skip(f"this kernel has no such bridges: {error}")
    with found:
        found.bind()
        yield found


@pytest.fixture(scope="module")
def unbound() -> Iterator[Bed]:
    with Bed("bridge", Settings(binding="off"), options=FLOODING) as found:
        found.bind()
        yield found


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


@pytest.mark.parametrize("item", ATTACKS, ids=lambda item: item.name)
def test_without_binding_it_arrives(item: Try, unbound: Bed) -> None:
    key = token()
    unbound.announce()
    assert unbound.arrives(item.source, item.destination, item.frame(key), key)


@pytest.mark.parametrize("item", ATTACKS, ids=lambda item: item.name)
def test_what_is_not_the_pods_own_does_not_arrive(item: Try, bed: Bed) -> None:
    key = token()
    assert not bed.arrives(item.source, item.destination, item.frame(key), key)


@pytest.mark.parametrize("item", HONEST, ids=lambda item: item.name)
def test_what_pods_have_to_say_arrives(item: Try, bed: Bed) -> None:
    key = token()
    assert bed.arrives(item.source, item.destination, item.frame(key), key)


# Ports whose pods are not known yet


@pytest.fixture(scope="module")
def holding() -> Iterator[Bed]:
    """X is being made: its port is held, and T, A and C are bound."""
    with Bed("bridge", Settings(log_group=LOG_GROUP), options=FLOODING) as found:
        found.bind(A, T, C, held=frozenset({X.interface}))
        yield found


@pytest.fixture(scope="module")
def unnoticed() -> Iterator[Bed]:
    """X is there and nobody has noticed it."""
    with Bed("bridge", Settings(log_group=LOG_GROUP), options=FLOODING) as found:
        found.bind(A, T, C)
        yield found


HELD: Final = (
    Try("a datagram", X, A, lambda k: frame(X, A, IPV4, udp(X.four, A.four, 7, k))),
    Try("a datagram of IPv6", X, A, lambda k: frame(X, A, IPV6, udp(X.six, A.six, 7, k))),
    Try("a datagram between link-local addresses", X, A, lambda k: frame(X, A, IPV6, udp(X.local, A.local, 7, k))),
    Try("ARP with the address of a pod", X, A, lambda k: frame(X, A, ARP, arp(1, (X.mac, T.four), (A.mac, A.four), k))),
    Try(
        "ARP with the address of the gateway",
        X,
        A,
        lambda k: frame(X, A, ARP, arp(1, (X.mac, GATEWAYS[0]), (A.mac, A.four), k)),
    ),
    Try("a long ARP", X, A, lambda k: frame(X, A, ARP, arp(1, (X.mac, X.four), (A.mac, A.four), bytes(20) + k))),
    Try("a solicitation from the address of a pod", X, A, lambda k: ask(T.six, X, A.six, k)),
    Try("an advertisement", X, A, lambda k: frame(X, A, IPV6, neighbour(136, X.six, A.six, X.six, more=k))),
    Try(
        "a router advertisement",
        X,
        A,
        lambda k: frame(X, A, IPV6, icmpv6(X.local, "ff02::1", 134, bytes(12) + k), at=ALL_NODES),
    ),
    Try(
        "a listener report",
        X,
        A,
        lambda k: frame(X, A, IPV6, listener_report(X.local, group(k)), at="33:33:00:00:00:09"),
    ),
    Try("a tag", X, A, lambda k: tagged(frame(X, A, IPV4, udp(X.four, A.four, 7, k)), 0)),
)
STARTING: Final = (
    Try(
        "a question by ARP",
        X,
        A,
        lambda k: frame(X, A, ARP, arp(1, (X.mac, X.four), ("00:00:00:00:00:00", A.four), k), at=BROADCAST),
    ),
    Try("a solicitation", X, A, lambda k: ask(X.six, X, A.six, k)),
    Try("a solicitation from its link-local address", X, A, lambda k: ask(X.local, X, A.six, k)),
)


@pytest.mark.parametrize("state", ["holding", "unnoticed"])
@pytest.mark.parametrize("item", HELD, ids=lambda item: item.name)
def test_a_pod_that_is_not_known_does_not_reach_one_that_is(
    item: Try, state: str, request: pytest.FixtureRequest
) -> None:
    key = token()
    assert not request.getfixturevalue(state).arrives(item.source, item.destination, item.frame(key), key, marks=C)


@pytest.mark.parametrize("state", ["holding", "unnoticed"])
@pytest.mark.parametrize("item", STARTING, ids=lambda item: item.name)
def test_a_pod_that_is_not_known_may_ask_for_its_neighbours(
    item: Try, state: str, request: pytest.FixtureRequest
) -> None:
    key = token()
    assert request.getfixturevalue(state).arrives(item.source, item.destination, item.frame(key), key, marks=C)


def test_a_held_port_takes_over_nobodys_hardware_address(holding: Bed) -> None:
    stolen = ether(T.mac, BROADCAST, ARP, arp(1, (T.mac, X.four), (A.mac, A.four)))
    key = token()
    with holding.listening(T) as receiver:
        holding.send(X, stolen)
        holding.send(C, holding.datagram(C, T, key))
        holding.send(C, holding.datagram(C, T, b"last", MARKER_PORT))
        assert key in until(receiver, b"last")


def test_a_pod_is_bound_as_soon_as_it_is_attached() -> None:
    with Bed("bridge") as bed:
        bed.bind(A, T, C, held=frozenset({X.interface}))
        key = token()
        assert not bed.arrives(X, A, frame(X, A, IPV4, udp(X.four, A.four, MARKER_PORT, key)), key, marks=C)
        bed.bind()
        assert bed.arrives(X, A, frame(X, A, IPV4, udp(X.four, A.four, MARKER_PORT, key)), key)
        bed.bind(A, T, C)
        assert not bed.arrives(X, A, frame(X, A, IPV4, udp(X.four, A.four, MARKER_PORT, key)), key, marks=C)
        assert bed.enforcer.verify() == ()


# What is not a pod's port


def test_an_exempt_pod_sends_as_it_likes_but_not_as_another_pod() -> None:
    with Bed("bridge", options=FLOODING) as bed:
        links = bed.links()
        bed.enforcer.attach(links._replace(pods=(*links.pods[1:], links.pods[0]._replace(exempt=True))))
        key = token()
        assert bed.arrives(A, C, frame(A, C, IPV4, udp("198.51.100.7", C.four, 99, key)), key)
        key = token()
        assert not bed.arrives(A, C, frame(A, C, IPV4, udp(T.four, C.four, 99, key)), key)


def test_what_comes_by_an_uplink_passes_if_it_is_for_the_pod_and_from_no_pod() -> None:
    with Bed("bridge", options=FLOODING) as bed:
        bed.bind(T, C, X, uplinks=frozenset({A.interface}))
        outside = "198.51.100.7"
        for passes, item in (
            (True, Try("a datagram", A, C, lambda k: frame(A, C, IPV4, udp(outside, C.four, 99, k)))),
            (False, Try("for another address", A, C, lambda k: frame(A, C, IPV4, udp(outside, "198.51.100.8", 99, k)))),
            (False, Try("the address of a pod", A, C, lambda k: frame(A, C, IPV4, udp(T.four, C.four, 99, k)))),
            (
                False,
                Try("ARP for a pod", A, C, lambda k: frame(A, C, ARP, arp(2, (A.mac, T.four), (C.mac, C.four), k))),
            ),
            (True, Try("ARP", A, C, lambda k: frame(A, C, ARP, arp(2, (A.mac, outside), (C.mac, C.four), k)))),
            (True, Try("to the uplink", C, A, lambda k: frame(C, A, IPV4, udp(C.four, outside, 99, k)))),
            (False, Try("as another to it", X, A, lambda k: frame(X, A, IPV4, udp(C.four, outside, 99, k)))),
            (
                False,
                Try(
                    "a report to it",
                    C,
                    A,
                    lambda k: frame(C, A, IPV6, listener_report(C.local, group(k)), at="33:33:00:00:00:09"),
                ),
            ),
        ):
            key = token()
            marks = X if item.source is A else item.source
            assert bed.arrives(item.source, item.destination, item.frame(key), key, marks=marks) is passes, item.name


# The node


def at_node(bed: Bed, source: Person, content: bytes, key: bytes, *, at: str = GATEWAY_MAC) -> bool:
    """Return whether a datagram to port 99 comes to a program of the node."""
    with bed.node.entered():
        receiver = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    with receiver:
        receiver.bind(("::", 99))
        receiver.settimeout(5)
        bed.send(source, ether(source.mac, at, IPV4 if content[0] >> 4 == 4 else IPV6, content))
        last = ether(C.mac, GATEWAY_MAC, IPV4, udp(C.four, GATEWAYS[0], 99, b"last"))
        bed.send(C, last)
        return next(iter(lambda: receiver.recv(99), b"")) == key


ASIDE: Final = "01:80:c2:00:00:0e"
LLDP: Final = 0x88CC
TO_NODE: Final = (
    ("from a link-local address", lambda k: udp(A.local, NODE_LOCAL, 99, k), GATEWAY_MAC),
    ("from a link-local address to a global one", lambda k: udp(A.local, NODE_ADDRESSES[1], 99, k), GATEWAY_MAC),
    ("to a group of the node", lambda k: udp(A.local, "ff02::1", 99, k), ALL_NODES),
    ("as another pod", lambda k: udp(T.four, GATEWAYS[0], 99, k), GATEWAY_MAC),
    ("past the bridge", lambda k: udp("198.51.100.7", GATEWAYS[0], 99, k), ASIDE),
)


@pytest.mark.parametrize("item", TO_NODE, ids=lambda item: item[0])
def test_the_node_takes_nothing_from_a_pod_but_what_is_the_pods_own(
    item: tuple[str, Callable[[bytes], bytes], str], bed: Bed, unbound: Bed
) -> None:
    _, packet, at = item
    for where in (bed, unbound):
        where.announce()
        key = token()
        assert at_node(where, A, packet(key), key, at=at) is (where is unbound)
    key = token()
    assert at_node(bed, A, udp(A.four, GATEWAYS[0], 99, key), key)


def test_what_the_node_sends_to_a_pod_comes_to_no_other(bed: Bed, unbound: Bed) -> None:
    """A bridge learns from frames that are for itself, which pass by its hooks: T takes over the address of C."""
    for where in (bed, unbound):
        where.announce()
        with where.node.entered():
            sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        key = token()
        with where.listening(T) as receiver, sender:
            where.send(T, ether(C.mac, ASIDE, LLDP, bytes(46)))
            sender.sendto(key, (C.four, 99))
            sender.sendto(b"last", (T.four, 99))
            assert (key in until(receiver, b"last")) is (where is unbound)
