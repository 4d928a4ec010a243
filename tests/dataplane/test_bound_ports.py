# SPDX-License-Identifier: Apache-2.0
"""Ports of a bridge whose pods are not known yet, and those that are no pods': what may come by them."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING, Final

import pytest

from podfence.dataplane.settings import Settings
from tests.dataplane.bed import (
    FLOODING,
    GATEWAYS,
    LOG_GROUP,
    MARKER_PORT,
    A,
    Bed,
    C,
    T,
    X,
    token,
    until,
)
from tests.dataplane.bridge_frames import ALL_NODES, Try, ask, frame, group
from tests.dataplane.frames import (
    ARP,
    BROADCAST,
    IPV4,
    IPV6,
    arp,
    ether,
    icmpv6,
    listener_report,
    neighbour,
    tagged,
    udp,
)
from tests.dataplane.test_bound_bridge import at_node

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.skipif(
    os.geteuid() != 0 or not all(map(shutil.which, ("nft", "ip"))), reason="needs root, nft and iproute2"
)


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
    Try("a solicitation from the address of the gateway", X, A, lambda k: ask(GATEWAYS[1], X, A.six, k)),
    # The kernel of a pod that is just starting would take it for a duplicate, and give its address up.
    Try("a claim of the address of a pod", X, A, lambda k: ask("::", X, A.six, k)),
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
    # Found by frames at random: who believed it sent what was for the new pod to another.
    Try(
        "an ARP answer with another pod's hardware address",
        X,
        A,
        lambda k: frame(X, A, ARP, arp(2, (T.mac, X.four), (A.mac, A.four), k)),
    ),
    Try(
        "an ARP question with another pod's hardware address",
        X,
        A,
        lambda k: frame(X, A, ARP, arp(1, (T.mac, X.four), (A.mac, A.four), k)),
    ),
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


@pytest.mark.parametrize("state", ["holding", "unnoticed"])
@pytest.mark.parametrize(("source", "destination"), [(A.four, GATEWAYS[0]), (A.six, GATEWAYS[1])])
def test_a_pod_that_is_not_known_does_not_speak_to_the_node_as_one_that_is(
    source: str, destination: str, state: str, request: pytest.FixtureRequest
) -> None:
    where: Bed = request.getfixturevalue(state)
    for speaker in (X, A):
        key = token()
        assert at_node(where, speaker, udp(source, destination, 99, key), key) is (speaker is A)


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
            (
                False,
                Try("the hardware address of a pod", A, C, lambda k: frame(T, C, IPV4, udp(outside, C.four, 99, k))),
            ),
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
