# SPDX-License-Identifier: Apache-2.0
"""Pods each behind a link of its own: the link carries the pod's addresses and nothing else, and nobody else's does.

Every attack is tried without binding too, on the same kind of bed: there it arrives.
"""

from __future__ import annotations

import os
import shutil
import socket
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Final, NamedTuple

import pytest

from podfence.dataplane.settings import Settings
from podfence.sets.addresses import parse_address
from tests.dataplane.bed import (
    GATEWAY_MAC,
    GATEWAYS,
    LOG_GROUP,
    MARKER_PORT,
    NODE_ADDRESSES,
    OPEN_PORT,
    A,
    Bed,
    C,
    Person,
    T,
    X,
    frames_of,
    token,
)
from tests.dataplane.bridge_frames import ask
from tests.dataplane.frames import IPV4, IPV6, ether, icmpv6, ip, neighbour, udp

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.skipif(
    os.geteuid() != 0 or not all(map(shutil.which, ("nft", "ip"))), reason="needs root, nft and iproute2"
)


@pytest.fixture(scope="module")
def bed() -> Iterator[Bed]:
    with Bed("routed", Settings(log_group=LOG_GROUP)) as found:
        found.bind()
        yield found


@pytest.fixture(scope="module")
def unbound() -> Iterator[Bed]:
    with Bed("routed", Settings(binding="off")) as found:
        found.bind()
        yield found


class Try(NamedTuple):
    """A packet from one pod to another; `packet` makes it of the token."""

    name: str
    source: Person
    destination: Person
    packet: Callable[[bytes], bytes]

    def frame(self, key: bytes) -> bytes:
        packet = self.packet(key)
        return ether(self.source.mac, GATEWAY_MAC, IPV4 if packet[0] >> 4 == 4 else IPV6, packet)


ATTACKS: Final = (
    Try("a source that nobody has", X, C, lambda k: udp("198.51.100.7", C.four, OPEN_PORT, k)),
    Try("a source of IPv6 that nobody has", X, C, lambda k: udp("2001:db8::7", C.six, OPEN_PORT, k)),
    Try("the address of a pod without policies", X, C, lambda k: udp(A.four, C.four, OPEN_PORT, k)),
    Try("the address of another node's pod", X, C, lambda k: udp("10.244.2.2", C.four, OPEN_PORT, k)),
    Try("the address of an allowed pod", A, T, lambda k: udp(C.four, T.four, OPEN_PORT, k)),
    Try("the address of an allowed pod, IPv6", A, T, lambda k: udp(C.six, T.six, OPEN_PORT, k)),
    Try("the address of the receiver, IPv6", A, T, lambda k: udp(T.six, T.six, OPEN_PORT, k)),
    Try("the address of the node, IPv6", A, C, lambda k: udp(NODE_ADDRESSES[1], C.six, OPEN_PORT, k)),
    Try("a solicitation from nobody's address", A, C, lambda k: neighbour(135, "2001:db8::7", C.six, C.six, more=k)),
)
HONEST: Final = (
    Try("a datagram that a policy allows", C, T, lambda k: udp(C.four, T.four, OPEN_PORT, k)),
    Try("a datagram of IPv6 that a policy allows", C, T, lambda k: udp(C.six, T.six, OPEN_PORT, k)),
    Try("a datagram between pods without policies", A, C, lambda k: udp(A.four, C.four, 99, k)),
    Try("a ping of IPv6", A, C, lambda k: icmpv6(A.six, C.six, 128, bytes(4) + k, 64)),
    Try("another protocol", A, C, lambda k: ip(A.four, C.four, 253, k)),
)


@pytest.mark.parametrize("item", ATTACKS, ids=lambda item: item.name)
def test_without_binding_it_arrives(item: Try, unbound: Bed) -> None:
    key = token()
    assert unbound.arrives(item.source, item.destination, item.frame(key), key)


@pytest.mark.parametrize("item", ATTACKS, ids=lambda item: item.name)
def test_what_is_not_the_pods_own_does_not_arrive(item: Try, bed: Bed) -> None:
    key = token()
    assert not bed.arrives(item.source, item.destination, item.frame(key), key)


@pytest.mark.parametrize("item", HONEST, ids=lambda item: item.name)
def test_what_pods_have_to_say_arrives(item: Try, bed: Bed) -> None:
    key = token()
    assert bed.arrives(item.source, item.destination, item.frame(key), key)


def _message(kind: int, hops: int, key: bytes) -> bytes:
    return icmpv6(X.six, C.six, kind, bytes(20) + key, hops)


DISCOVERY: Final = tuple(
    Try(f"type {kind}, {hops} hops", X, C, partial(_message, kind, hops))
    for kind in (130, 131, 132, 133, 134, 135, 136, 143)
    for hops in (2, 64, 255)
)


@pytest.mark.parametrize("state", ["bed", "unbound"])
@pytest.mark.parametrize("item", DISCOVERY, ids=lambda item: item.name)
def test_discovery_is_no_way_past_policies(item: Try, state: str, request: pytest.FixtureRequest) -> None:
    key = token()
    assert not request.getfixturevalue(state).arrives(item.source, item.destination, item.frame(key), key)


def test_only_the_links_of_the_pods_of_a_node_lead_to_what_is_bound_there(bed: Bed) -> None:
    """An address that leads to a pod's link and is not bound there, as one that an earlier pod had."""
    bed.node.ip(f"route add 192.0.2.9 dev {C.interface}")
    key = token()
    assert not bed.arrives(A, C, ether(A.mac, GATEWAY_MAC, IPV4, udp(A.four, "192.0.2.9", 99, key)), key)
    bed.node.ip(f"route del 192.0.2.9 dev {C.interface}")


def test_what_is_not_bound_is_left_alone() -> None:
    with Bed("routed") as bed:
        bed.bind(A, T, C)
        key = token()
        assert bed.arrives(X, C, ether(X.mac, GATEWAY_MAC, IPV4, udp("198.51.100.7", C.four, OPEN_PORT, key)), key)
        key = token()
        spoofed = ether(X.mac, GATEWAY_MAC, IPV4, udp(A.four, C.four, OPEN_PORT, key))
        assert not bed.arrives(X, C, spoofed, key), "an address that is bound comes in by no other link"


def test_a_pod_without_an_address_finds_its_gateway() -> None:
    answer = b"\x88", socket.inet_pton(socket.AF_INET6, GATEWAYS[1])
    with Bed("routed") as bed:
        links = bed.links(A, T, C)
        bed.enforcer.attach(links._replace(pods=(*links.pods, X.link("")._replace(addresses=()))))
        for source in ("::", X.six):
            with bed.listening(X) as receiver:
                bed.send(X, ask(source, X, GATEWAYS[1], b""))
                bed.send(C, bed.datagram(C, X, b"last", MARKER_PORT))
                found = [(item[54:55], item[62:78]) for item in frames_of(receiver, b"last")]
            assert answer in found, source


def test_an_exempt_pod_sends_as_it_likes() -> None:
    with Bed("routed") as bed:
        links = bed.links()
        bed.enforcer.attach(links._replace(pods=(*links.pods[1:], links.pods[0]._replace(exempt=True))))
        key = token()
        assert bed.arrives(A, C, ether(A.mac, GATEWAY_MAC, IPV4, udp("198.51.100.7", C.four, 99, key)), key)
        key = token()
        assert not bed.arrives(A, C, ether(A.mac, GATEWAY_MAC, IPV4, udp(T.four, C.four, 99, key)), key)


def test_what_is_only_reported_passes() -> None:
    with Bed("routed", Settings(binding="report", log_group=LOG_GROUP)) as bed:
        bed.bind()
        for item in ATTACKS:
            key = token()
            assert bed.arrives(item.source, item.destination, item.frame(key), key), item.name


def test_spoofed_packets_are_not_tracked(bed: Bed, unbound: Bed) -> None:
    spoofed = [f"198.51.100.{number}" for number in range(20)]
    for where, sender in ((bed, X), (unbound, A)):
        for source in spoofed:
            where.send(sender, ether(sender.mac, GATEWAY_MAC, IPV4, udp(source, C.four, OPEN_PORT, b"?")))
        sources = {flow.original.source for flow in where.conntrack.flows(None)}
        assert len(sources & set(map(parse_address, spoofed))) == (20 if where is unbound else 0)
