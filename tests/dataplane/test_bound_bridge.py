# SPDX-License-Identifier: Apache-2.0
"""Pods behind one bridge: a port carries its pod's addresses and nothing else, and what has to pass does.

Every attack is tried without binding too, on the same kind of bed: there it arrives.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from typing import TYPE_CHECKING, Final

import pytest

from podfence.dataplane.settings import Settings
from tests.dataplane.bed import (
    FLOODING,
    GATEWAY_MAC,
    GATEWAYS,
    LOG_GROUP,
    NODE_ADDRESSES,
    NODE_LOCAL,
    PATIENCE,
    A,
    Bed,
    C,
    Person,
    T,
    token,
    until,
)
from tests.dataplane.bridge_frames import ALL_NODES, ATTACKS, HONEST, Try
from tests.dataplane.frames import (
    IPV4,
    IPV6,
    ether,
    udp,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = pytest.mark.skipif(
    os.geteuid() != 0 or not all(map(shutil.which, ("nft", "ip"))), reason="needs root, nft and iproute2"
)

BEDS: Final = {
    "plain": {},
    "flooding": {"options": FLOODING},
    "filtering": {"options": "vlan_filtering 1"},
    "hairpin": {"port": "hairpin on"},
    "promiscuous": {"options": FLOODING, "state": "promisc on"},
}


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


@pytest.fixture(scope="module")
def reporting() -> Iterator[Bed]:
    with Bed("bridge", Settings(binding="report", log_group=LOG_GROUP), options=FLOODING) as found:
        found.bind()
        yield found


@pytest.mark.parametrize("state", ["unbound", "reporting"])
@pytest.mark.parametrize("item", ATTACKS, ids=lambda item: item.name)
def test_where_nothing_is_dropped_it_arrives(item: Try, state: str, request: pytest.FixtureRequest) -> None:
    where: Bed = request.getfixturevalue(state)
    key = token()
    where.announce()
    assert where.arrives(item.source, item.destination, item.frame(key), key)


@pytest.mark.parametrize("item", ATTACKS, ids=lambda item: item.name)
def test_what_is_not_the_pods_own_does_not_arrive(item: Try, bed: Bed) -> None:
    key = token()
    assert not bed.arrives(item.source, item.destination, item.frame(key), key)


@pytest.mark.parametrize("item", HONEST, ids=lambda item: item.name)
def test_what_pods_have_to_say_arrives(item: Try, bed: Bed) -> None:
    key = token()
    assert bed.arrives(item.source, item.destination, item.frame(key), key)


# The node


def at_node(bed: Bed, source: Person, content: bytes, key: bytes, *, at: str = GATEWAY_MAC) -> bool:
    """Return whether a datagram to port 99 comes to a program of the node."""
    with bed.node.entered():
        receiver = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    with receiver:
        receiver.bind(("::", 99))
        receiver.settimeout(PATIENCE)
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
    ("to everybody, past groups", lambda k: udp(A.four, "255.255.255.255", 99, k), GATEWAY_MAC),
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
