# SPDX-License-Identifier: Apache-2.0
"""Which tunnels of a node prove nothing about who sent, by the options of its links as the kernel lists them."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

import pytest

from podfence.agent.node.interfaces import Link, links
from podfence.agent.node.tunnels import tunnels
from podfence.netlink.messages import attribute

if TYPE_CHECKING:
    from tests.spaces import Space


def port(kind: str, number: int, value: int) -> Link:
    return Link("t", kind, attribute(1, b"\0\0\0\7") * (number != 1) + attribute(number, struct.pack(">H", value)))


def within_udp(kind: str, first: int, source: int, destination: int, encapsulation: int = 1) -> Link:
    return Link(
        "t",
        kind,
        attribute(first, struct.pack("=H", encapsulation))
        + attribute(first + 1, bytes(2))
        + attribute(first + 2, struct.pack(">H", source))
        + attribute(first + 3, struct.pack(">H", destination)),
    )


@pytest.mark.parametrize(
    ("link", "ports", "protocols"),
    [
        pytest.param(port("vxlan", 15, 8472), {8472}, set(), id="flannel's VXLAN"),
        pytest.param(port("vxlan", 15, 4789), {4789}, set(), id="VXLAN"),
        pytest.param(Link("t", "vxlan"), {8472}, set(), id="VXLAN that does not say"),
        pytest.param(port("geneve", 5, 6081), {6081}, set(), id="Geneve"),
        pytest.param(port("bareudp", 1, 6635), {6635}, set(), id="MPLS in UDP"),
        pytest.param(Link("tunl0", "ipip"), set(), {4}, id="IP in IP"),
        pytest.param(Link("t", "sit"), set(), {4, 41}, id="IPv6 in IP"),
        pytest.param(Link("t", "ip6tnl"), set(), {4, 41}, id="anything in IPv6"),
        pytest.param(Link("t", "gretap"), set(), {47}, id="GRE"),
        pytest.param(Link("t", "erspan"), set(), {47}, id="ERSPAN"),
        pytest.param(within_udp("ipip", 15, 0, 5555), {5555}, {4}, id="IP in UDP"),
        pytest.param(within_udp("gretap", 14, 7777, 7778), {7777, 7778}, {47}, id="GRE in UDP"),
        pytest.param(within_udp("ipip", 15, 7, 5555, 0), set(), {4}, id="ports without UDP mean nothing"),
        pytest.param(Link("wg0", "wireguard"), set(), set(), id="WireGuard proves who sends"),
        pytest.param(Link("x", "xfrm"), set(), set(), id="and so does IPsec"),
        pytest.param(Link("cni0", "bridge", attribute(15, b"\x21\x18")), set(), set(), id="a bridge is none"),
        pytest.param(Link("eth0", ""), set(), set(), id="a device is none"),
    ],
)
def test_tunnels_are_known_by_kind_and_port(link: Link, ports: set[int], protocols: set[int]) -> None:
    found = tunnels([link])
    assert found.ports == ports
    assert found.protocols == protocols
    assert found.kinds == ({link.kind} if ports or protocols else set())


def test_all_links_of_a_node_count_together() -> None:
    found = tunnels([port("vxlan", 15, 8472), port("geneve", 5, 6081), Link("t", "sit"), Link("g", "gre")])
    assert found.ports == {8472, 6081}
    assert found.protocols == {4, 41, 47}


def test_what_the_kernel_lists_is_understood(node: Space) -> None:
    node.ip(
        "link add vx1 type vxlan id 1 dstport 8472 dev lo",
        "link add vx2 type vxlan external dstport 4790",
    )
    assert tunnels(links().values()).ports == {8472, 4790}
