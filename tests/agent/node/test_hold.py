# SPDX-License-Identifier: Apache-2.0
"""Pods of a node that has just booted reach nobody, the node reaches them, and after a while all is as before."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import time
from ipaddress import ip_network
from typing import TYPE_CHECKING, Final, Literal

import pytest

from podfence.agent.node.hold import FRAMES, TABLE, Held, frames, packets, release
from podfence.nft.process import NftRunner
from tests.dataplane.bed import GATEWAY_MAC, GATEWAYS, MARKER_PORT, PATIENCE, RANGES, A, Bed, C, T, token, until
from tests.dataplane.frames import IPV4, IPV6, ether, udp

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.dataplane.bed import Person

pytestmark = pytest.mark.skipif(
    os.geteuid() != 0 or not all(map(shutil.which, ("nft", "ip"))), reason="needs root, nft and iproute2"
)

HELD: Final = Held(tuple(map(ip_network, RANGES)))
SHORT: Final = 1.0
MANY: Final = 500


@pytest.fixture(params=["bridge", "routed"])
def bed(request: pytest.FixtureRequest) -> Iterator[Bed]:
    """Return a node on which no agent has been since it booted."""
    kind: Literal["bridge", "routed"] = request.param
    with Bed(kind) as found:
        found.nft("delete", "table", "inet", "podfence")
        yield found


def load(bed: Bed, held: Held) -> None:
    for script in (packets(held), frames(held)):
        with bed.node.entered():
            subprocess.run(["nft", "-f", "-"], input=script, text=True, check=True)


def dropped(bed: Bed) -> int:
    """Return how many packets and frames were held."""
    listed = bed.nft("list", "table", *TABLE.address.split()) + bed.nft("list", "table", *FRAMES.address.split())
    return sum(int(found) for found in re.findall(r"counter packets (\d+)", listed))


def reached(bed: Bed, receiver: socket.socket, person: Person) -> bytes:
    """Return what came to a pod until now, by a packet that the node sends after all others."""
    marker = token()
    with bed.node.entered(), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.sendto(marker, (person.four, MARKER_PORT))
    return until(receiver, marker)


def test_many_pods_that_are_held_reach_no_pod_and_not_the_node(bed: Bed) -> None:
    mark = token()
    assert bed.arrives(A, C, bed.datagram(A, C, mark), mark)
    load(bed, HELD)
    sent = [
        ether(A.mac, bed.next_hop(C), IPV4, udp(f"10.244.1.{16 + n % 200}", C.four, 20_000 + n, mark))
        for n in range(MANY)
    ]
    sent += [bed.datagram(A, C, mark, six=True), bed.datagram(A, T, mark)]
    with bed.node.entered():
        node = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with node, bed.listening(C) as receiver, bed.pods["a"].entered():
        node.bind(("", 0))
        sent.append(ether(A.mac, GATEWAY_MAC, IPV4, udp(A.four, GATEWAYS[0], node.getsockname()[1], mark)))
        with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0) as sender:
            sender.bind(("eth0", 0))
            for frame in sent:
                sender.send(frame)
        assert mark not in reached(bed, receiver, C)
        with pytest.raises(BlockingIOError):
            node.recv(100, socket.MSG_DONTWAIT)
    assert dropped(bed) >= MANY


def test_what_has_no_address_of_a_pod_is_held_by_its_link(bed: Bed) -> None:
    mark = token()
    foreign = ether(A.mac, bed.next_hop(C), IPV4, udp("192.0.2.7", C.four, 20_000, mark))
    local = ether(A.mac, bed.next_hop(C), IPV6, udp(A.local, C.local, 20_000, mark))
    assert bed.arrives(A, C, foreign, mark)
    load(bed, HELD)
    with bed.listening(C) as receiver:
        bed.send(A, foreign)
        bed.send(A, local)
        assert mark not in reached(bed, receiver, C)


def test_the_node_reaches_pods_that_are_held_as_probes_do(bed: Bed) -> None:
    load(bed, HELD)
    with bed.pods["c"].entered():
        listening = socket.create_server((C.four, 8080))
    with listening, bed.node.entered(), socket.create_connection((C.four, 8080), PATIENCE) as probe:
        served, _ = listening.accept()
        with served:
            served.sendall(b"well")
            assert probe.recv(4) == b"well"


def test_held_pods_are_let_go_by_the_kernel_alone(bed: Bed) -> None:
    load(bed, HELD)
    with bed.listening(C) as receiver:
        first, last = token(), token()
        bed.send(A, bed.datagram(A, C, first))
        assert first not in reached(bed, receiver, C)
        load(bed, Held(HELD.networks, timeout=SHORT))
        came, end = b"", time.monotonic() + PATIENCE
        while last not in came:
            assert time.monotonic() < end
            bed.send(A, bed.datagram(A, C, last))
            came = reached(bed, receiver, C)
    held = dropped(bed)
    mark = token()
    assert bed.arrives(A, C, bed.datagram(A, C, mark), mark)
    assert dropped(bed) == held


def test_release_deletes_the_tables_and_leaves_those_of_others(bed: Bed) -> None:
    with bed.node.entered():
        assert not release(NftRunner())
        load(bed, HELD)
        load(bed, HELD)
        assert release(NftRunner())
        assert "podfence_hold" not in bed.nft("list", "tables")
        bed.nft("add", "table", *TABLE.address.split())
        assert not release(NftRunner())
        assert "podfence_hold" in bed.nft("list", "tables")


@pytest.mark.parametrize(("ranges", "families"), [(RANGES[:1], {4}), (RANGES[1:], {6}), ((), set())])
def test_only_families_that_the_node_has_are_in_the_tables(ranges: tuple[str, ...], families: set[int]) -> None:
    held = Held(tuple(map(ip_network, ranges)))
    for script in (packets(held), frames(held)):
        assert {int(found) for found in re.findall(r"set held(\d)", script)} == families


def test_held_frames_include_those_that_ask_for_addresses() -> None:
    assert "arp saddr ip @held4 goto held" in frames(HELD)
    assert "arp" not in frames(Held(HELD.networks[1:]))
