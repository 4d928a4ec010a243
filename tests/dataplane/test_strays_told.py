# SPDX-License-Identifier: Apache-2.0
"""What the kernel tells of packets that are not those of their link's pod, and what it counts."""

from __future__ import annotations

import os
import shutil
import socket
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Final

import pytest

from podfence.agent.nflog import LogGroup
from podfence.dataplane.settings import Settings
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
    T,
    X,
    token,
)
from tests.dataplane.frames import ARP, IPV4, IPV6, arp, ether, icmpv6, tagged, udp

if TYPE_CHECKING:
    from collections.abc import Iterator

    from podfence.agent.nflog import Logged

pytestmark = pytest.mark.skipif(
    os.geteuid() != 0 or not all(map(shutil.which, ("nft", "ip"))), reason="needs root, nft and iproute2"
)

SETTINGS: Final = Settings(log_group=LOG_GROUP)
SPOOFED: Final = ether(X.mac, C.mac, IPV4, udp("198.51.100.7", C.four, OPEN_PORT, b"?"))


@contextmanager
def logging(bed: Bed) -> Iterator[LogGroup]:
    with bed.node.entered():
        group = LogGroup(LOG_GROUP)
    with closing(group):
        yield group


def told(group: LogGroup, count: int) -> list[Logged]:
    found: list[Logged] = []
    while len(found) < count:
        found += group.receive()
    return found


def index(bed: Bed, name: str) -> int:
    with bed.node.entered():
        return socket.if_nametoindex(name)


FRAMES: Final = (
    ("unknown-source", IPV4, SPOOFED),
    ("unknown-source", IPV6, ether(X.mac, C.mac, IPV6, udp(X.local, C.local, OPEN_PORT, b"?"))),
    ("unknown-source", ARP, ether(X.mac, C.mac, ARP, arp(1, (X.mac, C.four), (T.mac, T.four)))),
    ("unknown-destination", IPV4, ether(X.mac, C.mac, IPV4, udp(X.four, "224.0.0.1", OPEN_PORT, b"?"))),
    ("unknown-destination", IPV4, ether(X.mac, C.mac, IPV4, udp(X.four, "198.51.100.7", OPEN_PORT, b"?"))),
    ("unknown-protocol", 0x88B5, ether(X.mac, C.mac, 0x88B5, b"?" * 46)),
    ("unknown-protocol", IPV4, tagged(ether(X.mac, C.mac, IPV4, udp(X.four, C.four, OPEN_PORT, b"?")), 7)),
    ("unknown-protocol", IPV6, ether(X.mac, "33:33:00:00:00:01", IPV6, icmpv6(X.local, "ff02::1", 134, bytes(12)))),
)


def test_a_line_of_the_kernel_has_the_reason_the_port_and_the_frame() -> None:
    with Bed("bridge", SETTINGS) as bed:
        bed.bind()
        with logging(bed) as group:
            for reason, kind, frame in FRAMES:
                bed.send(X, frame)
                (found,) = told(group, 1)
                assert found.prefix == f"podfence {reason}: "
                assert found.interface == index(bed, X.interface)
                assert found.kind == kind
                assert found.hardware == X.mac
        expected = {name: sum(reason == name for reason, _, _ in FRAMES) for name in bed.strays()}
        assert bed.strays() == expected


def test_a_line_of_a_routed_link_has_the_link() -> None:
    with Bed("routed", SETTINGS) as bed:
        bed.bind(tunnel_ports=frozenset({8472}))
        with logging(bed) as group:
            bed.send(X, ether(X.mac, GATEWAY_MAC, IPV4, udp("198.51.100.7", C.four, OPEN_PORT, b"?")))
            bed.send(A, ether(A.mac, GATEWAY_MAC, IPV4, udp(A.four, NODE_ADDRESSES[0], 8472, b"?")))
            one, two = told(group, 2)
        assert (one.prefix, one.interface) == ("podfence unknown-source: ", index(bed, X.interface))
        assert (two.prefix, two.interface) == ("podfence tunnel: ", index(bed, A.interface))


@pytest.mark.parametrize("kind", ["bridge", "routed"])
def test_nobody_hides_the_lines_of_another_behind_many_of_his_own(kind: str) -> None:
    with Bed(kind, SETTINGS) as bed:  # type: ignore[arg-type]
        bed.bind()
        with logging(bed) as group:
            for number in range(500):
                bed.send(
                    X,
                    ether(X.mac, bed.next_hop(C), IPV4, udp(f"198.51.{number // 200}.{number % 200}", C.four, 9, b"?")),
                )
            bed.send(A, ether(A.mac, bed.next_hop(C), IPV4, udp("203.0.113.5", C.four, 9, b"?")))
            mine = index(bed, A.interface)
            found: list[Logged] = []
            while not any(item.interface == mine for item in found):
                found += group.receive()
        assert len(found) < 100
        assert bed.strays()["unknown-source"] == 501


@pytest.mark.parametrize("kind", ["bridge", "routed"])
def test_what_is_only_reported_is_counted_and_passes(kind: str) -> None:
    with Bed(kind, Settings(binding="report", log_group=LOG_GROUP)) as bed:  # type: ignore[arg-type]
        bed.bind(tunnel_ports=frozenset({8472}))
        for six, source in ((False, "198.51.100.7"), (True, "2001:db8::7")):
            key = token()
            packet = udp(source, C.six if six else C.four, OPEN_PORT, key)
            assert bed.arrives(X, C, ether(X.mac, bed.next_hop(C), IPV6 if six else IPV4, packet), key)
        assert bed.strays()["unknown-source"] >= 2
        assert bed.enforcer.verify() == ()


def test_a_pod_without_an_address_yet_is_held_in_silence() -> None:
    for kind in ("bridge", "routed"):
        with Bed(kind, SETTINGS) as bed:
            links = bed.links()
            bed.enforcer.attach(links._replace(pods=(*links.pods[:-1], links.pods[-1]._replace(addresses=()))))
            key = token()
            frame = ether(X.mac, bed.next_hop(A), IPV4, udp(X.four, A.four, MARKER_PORT, key))
            assert not bed.arrives(X, A, frame, key, marks=C)
            assert sum(bed.strays().values()) == 0
            if kind == "bridge":
                question = ether(X.mac, A.mac, ARP, arp(1, (X.mac, X.four), (A.mac, GATEWAYS[0]), key))
                assert bed.arrives(X, A, question, key, marks=C)
