# SPDX-License-Identifier: Apache-2.0
"""The kernel's table of flows, read and labelled over netlink."""

from __future__ import annotations

import os
import shutil
import socket
from typing import TYPE_CHECKING

import pytest

from podfence.dataplane.conntrack import KernelConntrack, Labelled
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


def udp(table: KernelConntrack, *ends: str) -> list[Flow]:
    found = table.flows({parse_address(item) for item in ends} if ends else None)
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
