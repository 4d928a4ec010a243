# SPDX-License-Identifier: Apache-2.0
"""Which interface leads to a pod, in every way that network plugins attach them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from podfence.agent.node.interfaces import Place, locate
from tests.spaces import Space

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def pod() -> Iterator[Space]:
    space = Space()
    yield space
    space.close()


def cable(node: Space, name: str, pod: Space) -> None:
    node.ip(f"link add {name} type veth peer name {name} netns {pod.path}", f"link set {name} up")
    pod.ip("link set lo up", f"link set {name} up")


def test_a_pod_with_a_route_of_its_own_is_routed_by_its_interface(node: Space, pod: Space) -> None:
    cable(node, "veth1", pod)
    cable(node, "cali0123456789a", pod)
    node.ip(
        "addr add 10.244.1.1/32 dev veth1",
        "route add 10.244.1.2/32 dev veth1 src 10.244.1.1",
        "route add 10.244.1.3/32 dev cali0123456789a scope link",
        "route add blackhole 10.244.1.0/26",
        "route add fd00::3/128 dev cali0123456789a",
    )
    assert locate(["10.244.1.2", "10.244.1.3", "fd00::3"]) == {
        "10.244.1.2": Place("veth1", "routed"),
        "10.244.1.3": Place("cali0123456789a", "routed"),
        "fd00::3": Place("cali0123456789a", "routed"),
    }


@pytest.mark.parametrize("bridge", ["cni0", "docker0"])
def test_a_pod_on_a_network_of_a_bridge_is_behind_the_bridge(node: Space, pod: Space, bridge: str) -> None:
    node.ip(
        f"link add {bridge} type bridge",
        f"addr add 10.244.1.1/24 dev {bridge}",
        f"addr add fd00::1/64 dev {bridge} nodad",
        f"link set {bridge} up",
    )
    cable(node, "veth1", pod)
    node.ip(f"link set veth1 master {bridge}")
    place = Place(bridge, "bridge", bridge)
    assert locate(["10.244.1.7", "fd00::7"]) == {"10.244.1.7": place, "fd00::7": place}


def test_a_bridge_without_pods_is_found_by_the_nodes_pod_cidr(node: Space) -> None:
    node.ip("link add cni0 type bridge", "addr add 10.244.1.1/24 dev cni0", "link set cni0 up")
    assert locate(["10.244.1.0/24"]) == {"10.244.1.0/24": Place("cni0", "bridge", "cni0")}


def test_rules_between_tables_of_routes_are_followed(node: Space, pod: Space) -> None:
    cable(node, "eni1", pod)
    node.ip("route add 10.0.0.9 dev eni1 table 7", "rule add to 10.0.0.9 lookup 7 priority 512")
    assert locate(["10.0.0.9"]) == {"10.0.0.9": Place("eni1", "routed")}


def test_what_another_node_has_to_be_asked_for_is_absent_whatever_the_link(node: Space, pod: Space) -> None:
    cable(node, "eth0", pod)
    node.ip("addr add 10.200.0.11/24 dev eth0", "route add 10.244.2.0/24 via 10.200.0.12")
    assert locate(["10.244.2.5"]) == {"10.244.2.5": Place("", "absent")}


def test_a_pod_on_the_network_of_a_shared_interface_bypasses_the_node(node: Space, pod: Space) -> None:
    cable(node, "eth0", pod)
    node.ip("link add shim link eth0 type macvlan mode bridge", "addr add 10.9.0.1/24 dev shim", "link set shim up")
    assert locate(["10.9.0.5"]) == {"10.9.0.5": Place("shim", "bypass")}


def test_a_pod_that_no_interface_leads_to_is_absent(node: Space, pod: Space) -> None:
    absent = Place("", "absent")
    assert locate(["10.244.1.2", "fd00::2"]) == {"10.244.1.2": absent, "fd00::2": absent}
    node.ip("link add br0 type bridge", "addr add 10.9.0.1/24 dev br0", "link set br0 up")
    node.ip("route add default via 10.9.0.254 dev br0", "route add unreachable 10.244.3.0/24")
    assert set(locate(["10.244.1.2", "10.244.3.2", "10.9.0.1", "127.0.0.1"]).values()) == {absent}


def test_a_tunnel_leads_to_another_node(node: Space) -> None:
    node.ip(
        "link add vx type vxlan id 7 dstport 4789 local 127.0.0.1", "link set vx up", "route add 10.244.2.0/24 dev vx"
    )
    assert locate(["10.244.2.2"]) == {"10.244.2.2": Place("", "absent")}


def test_what_is_no_address_is_left_out(node: Space) -> None:
    assert locate(["", "web", "10.0.0.300"]) == {}


def test_all_pods_of_a_full_node_are_located_at_once(node: Space, pod: Space) -> None:
    addresses = [f"10.244.1.{number}" for number in range(2, 252)]
    lines = []
    for number, address in enumerate(addresses):
        lines += [f"link add v{number} type veth peer name v{number} netns {pod.path}", f"link set v{number} up"]
        lines += [f"route add {address} dev v{number}"]
    pod.ip("link set lo up")
    node.ip(*lines)
    pod.ip(*(f"link set v{number} up" for number in range(len(addresses))))
    found = locate(addresses)
    assert {item.interface for item in found.values()} == {f"v{number}" for number in range(250)}
