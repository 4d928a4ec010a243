# SPDX-License-Identifier: Apache-2.0
"""The kernel's table of flows, read and labelled over netlink."""

from __future__ import annotations

import os
import shutil
import socket
from functools import partial
from typing import TYPE_CHECKING

import pytest

from podfence.dataplane.conntrack import KernelConntrack, Labelled
from podfence.dataplane.flows import Sides
from podfence.dataplane.listing import MOST_ENDS, FlowText
from podfence.dataplane.listing import _request as request_of
from podfence.netlink.asking import NetlinkError
from podfence.netlink.messages import attribute
from podfence.sets.addresses import parse_address
from tests.dataplane.inside import inside
from tests.dataplane.network import Network

if TYPE_CHECKING:
    from collections.abc import Iterator

    from podfence.dataplane.flows import Flow

pytestmark = pytest.mark.skipif(
    os.geteuid() != 0 or not all(map(shutil.which, ("nft", "ip", "unshare", "nsenter"))),
    reason="needs root, nft, iproute2 and util-linux",
)

FOUR, SIX = "172.18.0.1", "fd00:172::1"
LABEL = 119
COUNT = 300
"""More than go into one call."""


@pytest.fixture(scope="module")
def network() -> Iterator[Network]:
    with Network((FOUR, SIX), ()) as found:
        found.nft(
            "add table inet t; add chain inet t o { type filter hook output priority 0; };"
            f"add rule inet t o ct state untracked ct label set {LABEL}"
        )
        yield found


@pytest.fixture
def table(network: Network) -> Iterator[KernelConntrack]:
    """Return a table with flows of UDP to port 9 of both addresses, and nothing else."""
    found = open_table(network, LABEL)
    empty(found)
    for address in (FOUR, SIX):
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        with inside(network.pid_of(FOUR), lambda family=family: socket.socket(family, socket.SOCK_DGRAM)) as sender:  # type: ignore[misc]
            sender.bind((address, 0))
            for number in range(COUNT):
                sender.sendto(b"", (address, 1000 + number))
    yield found
    found.close()


def open_table(network: Network, label: int) -> KernelConntrack:
    return inside(network.pid_of(FOUR), lambda: KernelConntrack(label))


def empty(table: KernelConntrack) -> None:
    assert table._table.change(0x102, [bytes(4)]) == [0]


def sides_of(*ends: str) -> Sides:
    return Sides.both({parse_address(item) for item in ends})


def udp(table: KernelConntrack, *ends: str) -> list[Flow]:
    found = table.flows(sides_of(*ends) if ends else None)
    return sorted(flow for flow in found if flow.protocol == 17)


def test_flows_of_both_families_are_listed_with_their_ends_and_ports(table: KernelConntrack) -> None:
    for address in (FOUR, SIX):
        number = parse_address(address)
        found = [flow for flow in udp(table) if flow.source == number]
        assert {(flow.original.destination, flow.destination) for flow in found} == {(number, number)}
        assert [flow.original.destination_port for flow in found] == list(range(1000, 1000 + COUNT))
        assert [flow.point for flow in found] == [(1 << 16) + 1000 + item for item in range(COUNT)]


def test_asking_by_address_gives_what_the_whole_list_has_of_it(table: KernelConntrack) -> None:
    many = tuple(f"192.0.2.{number}" for number in range(20))
    everything = udp(table)
    four = [flow for flow in everything if flow.source < 1 << 32]
    assert udp(table, FOUR) == udp(table, FOUR, *many) == four
    assert udp(table, SIX) == udp(table, SIX, *many) == [flow for flow in everything if flow not in four]
    assert udp(table, *many) == udp(table, *many[:2]) == []


def test_a_quick_look_for_a_few_addresses_gives_what_a_walk_through_the_table_gives(
    table: KernelConntrack, network: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Flows of every form that the text has: with ports, of ICMP, and with nothing but a protocol's number."""
    echo4, echo6 = bytes.fromhex("0800f7ff00000000"), bytes.fromhex("8000000000000000")
    for address, protocol, data in ((FOUR, 1, echo4), (SIX, 58, echo6), (FOUR, 253, b"x")):
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        make = partial(socket.socket, family, socket.SOCK_RAW, protocol)
        with inside(network.pid_of(FOUR), make) as raw:
            raw.sendto(data, (address, 0))
    with (
        inside(network.pid_of(FOUR), lambda: socket.create_server((FOUR, 0))) as server,
        inside(network.pid_of(FOUR), lambda: socket.create_connection(server.getsockname())),
    ):
        pass
    monkeypatch.setattr("podfence.dataplane.listing.MOST_ASKED", 10 * COUNT)
    ends = {FOUR: {1, 6, 17, 253}, SIX: {17, 58}}
    assert isinstance(table._text, FlowText)
    for address, protocols in ends.items():
        wanted = sides_of(address)
        asked = table._text.requests(wanted, 1.0)
        walked = sorted(table.flows(wanted))
        assert asked is not None
        assert len(asked) == len(walked)
        assert {flow.protocol for flow in walked} == protocols
        table.label(walked[:3], present=True)
        assert sorted(table.flows(wanted, quick=True)) == sorted(table.flows(wanted))
    assert list(table.flows(sides_of("192.0.2.1"), quick=True)) == []


def test_a_flow_is_asked_for_whatever_its_line_tells_besides() -> None:
    plain = request_of(
        b"ipv4     2 udp      17 29 src=10.0.0.1 dst=10.0.0.2 sport=1 dport=2 src=10.0.0.2 dst=10.0.0.1 sport=2 "
        b"dport=1 mark=0 zone=3 use=2\n",
        0,
    )
    told = request_of(
        b"ipv4     2 udp      17 29 src=10.0.0.1 dst=10.0.0.2 sport=1 dport=2 packets=1 bytes=29 [UNREPLIED] "
        b"src=10.0.0.2 dst=10.0.0.1 sport=2 dport=1 packets=0 bytes=0 [OFFLOAD] mark=7 secctx=a zone=3 delta-time=9 "
        b"use=2\n",
        0,
    )
    assert plain is not None
    assert plain == told


def test_what_a_quick_look_cannot_find_cheaply_is_found_by_a_walk(
    table: KernelConntrack, monkeypatch: pytest.MonkeyPatch
) -> None:
    four = sides_of(FOUR)
    everything = sorted(table.flows(four))
    assert isinstance(table._text, FlowText)
    # So many that to ask for each takes longer.
    monkeypatch.setattr("podfence.dataplane.listing.MOST_ASKED", COUNT - 1)
    assert table._text.requests(four, 1.0) is None
    assert sorted(table.flows(four, quick=True)) == everything
    # So long that to read it does, and from then on also half of that, until there are fewer flows.
    monkeypatch.setattr("podfence.dataplane.listing.MOST_ASKED", COUNT)
    assert table._text.requests(four, 1.0) is not None
    assert table._text.requests(four, 0.0) is None
    assert table._text.requests(four, 1.0) is None
    assert sorted(table.flows(four, quick=True)) == everything
    table.forget([flow.handle for flow in udp(table)[1:]])
    assert len(table._text.requests(four, 1.0) or ()) == 1
    assert sorted(table.flows(four, quick=True)) == everything[:1]
    assert table._text.requests(Sides(opened=frozenset(range(MOST_ENDS + 1))), 1.0) is None
    table._text.close()
    table._text = None
    assert sorted(table.flows(four, quick=True)) == everything[:1]


@pytest.mark.parametrize(
    "line",
    [
        (
            "ipv4     2 gre      47 29 src=10.0.0.1 dst=10.0.0.2 srckey=0x0 dstkey=0x1 [UNREPLIED] src=10.0.0.2 "
            "dst=10.0.0.1 srckey=0x1 dstkey=0x0 mark=0 zone=0 use=2"
        ),
        (
            "ipv4     2 udp      17 29 src=10.0.0.1 dst=10.0.0.2 sport=1 dport=2 [UNREPLIED] src=10.0.0.2 dst=10.0.0.1 "
            "sport=2 dport=1 mark=0 zone-orig=1 use=2"
        ),
        "something else about src=10.0.0.1 ",
    ],
)
def test_flows_whose_line_does_not_say_how_to_ask_for_them_are_left_to_a_walk(line: str) -> None:
    assert request_of(f"{line}\n".encode(), 0) is None


def test_the_label_is_set_and_cleared_on_those_flows_and_on_no_others(table: KernelConntrack) -> None:
    found = udp(table)
    some = found[::2]
    assert table.label(some, present=True) == Labelled(COUNT)
    assert [flow.labelled for flow in udp(table)] == [True, False] * COUNT
    assert table.label(some[:5], present=False) == Labelled(5)
    assert sum(flow.labelled for flow in udp(table)) == COUNT - 5


@pytest.mark.parametrize("bit", [0, 31, 32, 127])
def test_bits_of_others_stay_as_they_are(table: KernelConntrack, network: Network, bit: int) -> None:
    other = open_table(network, bit)
    found = udp(table)[:3]
    other.label(found, present=True)
    assert not any(flow.labelled for flow in udp(table))
    table.label(found, present=True)
    table.label(found, present=False)
    assert sum(flow.labelled for flow in udp(other)) == 3
    other.close()


def test_a_flow_that_ended_meanwhile_is_no_error(table: KernelConntrack) -> None:
    found = udp(table)
    empty(table)
    assert table.label(found, present=True) == Labelled(0)


def test_an_entry_is_deleted_and_one_that_came_in_its_place_is_not(table: KernelConntrack) -> None:
    found = udp(table)
    gone = [flow.handle for flow in found[::2]]
    assert table.forget(gone) == set()
    assert udp(table) == found[1::2]
    # What ends a handle is the number that tells entries of the same ends from each other.
    place_taken = [flow.handle[:-1] + bytes((flow.handle[-1] ^ 1,)) for flow in found[1::2]]
    assert table.forget([*gone, *place_taken]) == set()
    assert udp(table) == found[1::2]


def test_a_list_that_nobody_reads_to_its_end_does_not_disturb_the_next(table: KernelConntrack) -> None:
    for _ in range(3):
        assert next(iter(table.flows(None))).source
    assert len(udp(table)) == 2 * COUNT


def test_the_addresses_of_all_interfaces_are_the_nodes_own(table: KernelConntrack) -> None:
    assert {parse_address(item) for item in (FOUR, SIX, "127.0.0.1", "::1")} <= table.own_addresses()


def test_what_the_kernel_refuses_is_said(table: KernelConntrack) -> None:
    (flow, *_) = udp(table)
    with pytest.raises(NetlinkError, match="labelling a flow: Invalid argument"):
        table.label([flow._replace(handle=flow.handle[:4] + attribute(0x8001, b""))], present=True)
    with pytest.raises(NetlinkError, match="deleting a flow's entry: Invalid argument"):
        table.forget([flow.handle[:4] + attribute(0x8001, b"")])
