# SPDX-License-Identifier: Apache-2.0
"""The addresses outside that are tried: one of every kind that some block tells apart, and only free ones."""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING

import pytest
from hypothesis import given

from podfence.cluster.state import ClusterState
from podfence.kube.objects import Node, Service
from podfence.lab.verification.outside import UNROUTABLE, outside
from podfence.policy.engine import Engine
from podfence.policy.options import Options
from podfence.sets import AddressSet
from podfence.sets.addresses import format_address, parse_address
from tests.policy.parts import block, pod, policy, rule, space
from tests.twin import boundaries, strategies
from tests.twin.addresses import in_network, parse_network
from tests.twin.effort import tried

if TYPE_CHECKING:
    from podfence.kube.objects import KubeObject, Peer

KNOWN: tuple[KubeObject, ...] = (
    space("shop"),
    Node(name="n1", labels={}, addresses=("172.18.0.1",)),
    pod("web", "10.0.0.1"),
    Service(namespace="shop", name="web", addresses=("10.96.0.7",)),
)


def chosen(*peers: Peer, reserved: str = "192.0.2.0/24") -> tuple[list[str], tuple[str, ...]]:
    engine = Engine(ClusterState([*KNOWN, policy("p", ingress=[rule(*peers)])]), Options())
    found = outside(engine, [4], AddressSet.cidr(reserved))
    return [format_address(number) for number in found.addresses], found.without


@pytest.mark.parametrize(
    ("peers", "addresses"),
    [
        ([], ["203.0.113.9"]),
        ([block("0.0.0.0/0")], ["203.0.113.9"]),
        ([block("198.51.100.0/24")], ["198.51.100.1", "203.0.113.9"]),
        ([block("198.51.100.7/32")], ["198.51.100.7", "203.0.113.9"]),
        ([block("198.51.100.0/24", "198.51.100.0/25")], ["198.51.100.1", "198.51.100.129", "203.0.113.9"]),
        ([block("203.0.0.0/8")], ["1.0.0.1", "203.0.113.9"]),
        ([block("0.0.0.0/0", "203.0.113.0/24")], ["1.0.0.1", "203.0.113.9"]),
        ([block("8.0.0.0/8"), block("8.8.0.0/16")], ["8.0.0.1", "8.8.0.1", "203.0.113.9"]),
        ([block("::/0")], ["203.0.113.9"]),
        ([block("169.254.169.254/32")], ["169.254.169.254", "203.0.113.9"]),
    ],
)
def test_there_is_an_address_in_each_block_and_exception_and_one_in_none(
    peers: list[Peer], addresses: list[str]
) -> None:
    assert chosen(*peers) == (addresses, ())


def test_what_belongs_to_the_cluster_or_to_no_other_machine_is_never_chosen() -> None:
    addresses, without = chosen(
        block("10.0.0.0/31"), block("10.96.0.7/32"), block("172.18.0.1/32"), block("127.0.0.0/8"), block("192.0.2.0/28")
    )

    assert addresses == ["10.0.0.0", "203.0.113.9"]
    assert without == ("127.0.0.0/8", "192.0.2.0/28")


@tried(200)
@given(objects=strategies.clusters())
def test_every_address_is_told_apart_by_no_block_from_one_that_is_tried(objects: list[KubeObject]) -> None:
    engine = Engine(ClusterState(objects), Options())
    found = [
        ipaddress.ip_address(format_address(number)) for number in outside(engine, [4, 6], AddressSet.EMPTY).addresses
    ]
    networks = {parse_network(text) for item in boundaries.rules(objects) for peer in item.peers if peer.ip_block for text in (peer.ip_block.cidr, *peer.ip_block.excepts)}  # fmt: skip
    owned = {end.address for end in boundaries.pod_ends(objects)}
    owned |= {text for item in objects if isinstance(item, Node) for text in item.addresses}

    def kind(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> frozenset[object]:
        return frozenset({address.version, *(network for network in networks if in_network(address, network))})

    kinds = {kind(address) for address in found}
    assert not {str(address) for address in found} & owned
    for text in boundaries.addresses(objects):
        if text not in owned and parse_address(text) not in UNROUTABLE:
            assert kind(ipaddress.ip_address(text)) in kinds
