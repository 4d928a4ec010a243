# SPDX-License-Identifier: Apache-2.0
"""Which link is whose, decided from values: results, pods, and what a kernel could say."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import pytest

from podfence.agent.node.interfaces import Link, Place
from podfence.agent.node.matching import Granted, Kernel, Matched, match
from podfence.agent.node.results import Attachment
from podfence.dataplane.links import PodLink
from podfence.sets.addresses import format_address, parse_address

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

MAC = "0a:58:0a:f4:01:02"
A, B, C = "10.244.1.2", "10.244.1.3", "10.244.1.4"
SIX = "fd00::2"


@dataclass(frozen=True)
class Node:
    """What the kernel has: links by name with kind and master, ways by address, and addresses with their own route."""

    links: Mapping[str, tuple[str, str]]
    ways: Mapping[str, Place]
    own: frozenset[str] = frozenset()
    addresses: Mapping[str, tuple[str, ...]] | None = None

    def kernel(self) -> Kernel:
        numbers = {name: number for number, name in enumerate(self.links, 1)}
        return Kernel(
            {numbers[n]: Link(n, kind, b"", numbers.get(master, 0)) for n, (kind, master) in self.links.items()},
            {numbers[name]: frozenset(map(parse_address, texts)) for name, texts in (self.addresses or {}).items()},
            lambda address: self.ways.get(format_address(address), Place("", "absent")),
            lambda address: format_address(address) in self.own,
        )


BRIDGED = Node(
    {
        "eth0": ("veth", ""),
        "cni0": ("bridge", ""),
        "docker0": ("bridge", ""),
        "veth1": ("veth", "cni0"),
        "veth2": ("veth", "cni0"),
        "veth9": ("veth", "docker0"),
        "bwp1": ("ifb", ""),
    },
    dict.fromkeys((A, B, C, SIX), Place("cni0", "bridge", "cni0")),
    addresses={"cni0": ("10.244.1.1", "fe80::1"), "docker0": ("172.17.0.1",), "eth0": ("172.18.0.2",)},
)

ROUTED = Node(
    {
        "eth0": ("veth", ""),
        "cali1": ("veth", ""),
        "cali2": ("veth", ""),
        "vrf1": ("vrf", ""),
        "cali3": ("veth", "vrf1"),
    },
    {
        A: Place("cali1", "routed"),
        SIX: Place("cali1", "routed"),
        B: Place("cali2", "routed"),
        C: Place("eth0", "routed"),
    },
    own=frozenset({A, B, SIX}),
)


def result(
    *links: str,
    addresses: Sequence[str] = (A,),
    pod: str = "shop/web",
    mac: str = MAC,
    written: int = 1,
    gateway: str = "",
) -> Attachment:
    gateways = (parse_address(gateway),) if gateway else ()
    return Attachment(pod, mac, tuple(map(parse_address, addresses)), gateways, links, written)


def matched(
    *results: Attachment,
    node: Node = BRIDGED,
    pods: Mapping[str, Sequence[str]] | None = None,
    granted: Granted | None = None,
    before: Sequence[int] = (),
) -> Matched:
    known = {"shop/web": (A,)} if pods is None else pods
    numbers = {pod: tuple(map(parse_address, texts)) for pod, texts in known.items()}
    return match(results, numbers, node.kernel(), granted or Granted(), before)


def told(found: Matched) -> list[str]:
    """Return each link as text: the way that people would read it."""
    return [
        f"{link.pod} {link.interface}{f'@{link.bridge}' if link.bridge else ''} {link.mac}".rstrip()
        + "".join(f" {format_address(address)}" for address in link.addresses)
        for link in found.links.pods
    ]


BOUND = f"shop/web veth1@cni0 {MAC}"


@pytest.mark.parametrize(
    ("results", "expected"),
    [
        pytest.param([result("cni0", "veth1")], [f"{BOUND} {A}"], id="its port"),
        pytest.param([result("cni0", "veth1", "bwp1")], [f"{BOUND} {A}"], id="what shapes bandwidth is no cable"),
        pytest.param([result("veth1")], [f"{BOUND} {A}"], id="the kernel knows the bridge, too"),
        pytest.param([result("cni0", "veth1", pod="")], [f"{BOUND} {A}"], id="an old result, known by its address"),
        pytest.param(
            [result("cni0", "veth1", pod="", addresses=[B])], [], id="an old result with an address of nobody"
        ),
        pytest.param(
            [result("cni0", "veth1", addresses=[A, SIX])], [f"{BOUND} {A}"], id="an address that no status has"
        ),
        pytest.param([result("cni0", "veth7")], [], id="the sandbox is gone, and its cable with it"),
        pytest.param(
            [result("cni0", "veth7", written=2), result("cni0", "veth1")],
            [f"{BOUND} {A}"],
            id="a newer result whose cable is gone",
        ),
        pytest.param(
            [result("cni0", "veth1"), result("cni0", "veth2", addresses=[B], written=2)],
            [f"{BOUND} {A}", f"shop/web veth2@cni0 {MAC}"],
            id="a new sandbox has no address until the status has it",
        ),
        pytest.param(
            [result("cni0", "veth2"), result("cni0", "veth1", written=2)],
            [f"{BOUND} {A}", f"shop/web veth2@cni0 {MAC}"],
            id="the older of two sandboxes with one address has none",
        ),
        pytest.param(
            [result("cni0", "veth1", pod="shop/old", written=3), result("cni0", "veth1", written=2)],
            [f"shop/old veth1@cni0 {MAC}"],
            id="a link is one pod's, by the newest result",
        ),
        pytest.param([result("eth0", "docker0", "cni0")], [], id="a bridge is no end, nor is a link without a bridge"),
    ],
)
def test_the_link_of_a_pod_behind_a_bridge_is_found(results: list[Attachment], expected: list[str]) -> None:
    assert told(matched(*results)) == expected


def test_a_pod_is_known_by_its_link_before_it_has_an_address() -> None:
    found = matched(result("cni0", "veth1"), pods={})
    assert found.links.pods == (PodLink("veth1", "cni0", MAC, (), "shop/web"),)
    assert not found.unproven


@pytest.mark.parametrize(
    ("item", "node", "reason"),
    [
        (None, BRIDGED, "no result of a CNI plugin says at which port of bridge cni0 it is"),
        (
            result("cni0", "veth1", mac=""),
            BRIDGED,
            "its CNI plugin does not report the hardware address of its end of veth1",
        ),
        (
            result("cni0", "veth1"),
            replace(BRIDGED, links={**BRIDGED.links, "cni0": ("openvswitch", "")}),
            "its link veth1 is a port of cni0, which is a openvswitch",
        ),
        (
            None,
            replace(ROUTED, ways={A: Place("eth0", "routed")}, own=frozenset()),
            "eth0, which leads to it, also leads elsewhere",
        ),
    ],
)
def test_where_nothing_proves_the_link_it_is_said_why(item: Attachment | None, node: Node, reason: str) -> None:
    found = matched(*[item] if item else [], node=node)
    assert found.links.pods == ()
    assert found.unproven == {"shop/web": reason}


def test_a_pod_whose_result_was_lost_is_not_cut_off_by_one_that_proves_its_bridge() -> None:
    found = matched(result("cni0", "veth1", addresses=[B], pod="shop/new"), pods={"shop/web": (A,), "shop/new": (B,)})
    assert [link.pod for link in found.links.pods] == ["shop/new"]
    assert "shop/web" in found.unproven
    assert (set(found.links.uplinks), set(found.links.held)) == ({"veth2"}, set())
    # With no such pod, a port of nobody is of one that is being made.
    alone = matched(result("cni0", "veth1", addresses=[B], pod="shop/new"), pods={"shop/new": (B,)})
    assert (set(alone.links.uplinks), set(alone.links.held)) == (set(), {"veth2"})


def test_an_address_that_the_result_does_not_have_is_not_bound() -> None:
    found = matched(result("cni0", "veth1"), pods={"shop/web": (A, SIX)})
    assert told(found) == [f"{BOUND} {A}"]
    assert found.unproven == {"shop/web": "the result of its CNI plugin does not have its address fd00::2"}


def test_a_pod_that_has_no_link_is_not_wired_yet_or_gone() -> None:
    found = matched(node=ROUTED, pods={"shop/web": ("10.244.1.9",)})
    assert found.links.pods == ()
    assert (found.unproven, found.astray) == ({}, {})


@pytest.mark.parametrize(
    ("results", "pods", "expected"),
    [
        pytest.param([result("cali1", mac="")], {"shop/web": (A,)}, ["shop/web cali1 10.244.1.2"], id="Calico"),
        pytest.param(
            [result("cali1", addresses=[A, SIX])],
            {"shop/web": (A, SIX)},
            [f"shop/web cali1 {MAC} 10.244.1.2 fd00::2"],
            id="both families",
        ),
        pytest.param(
            [result("cali1", mac=""), result("cali1", mac="", addresses=[B], written=2)],
            {"shop/web": (A,)},
            [],
            id="a name that a new sandbox took over, with no way to its address yet",
        ),
        pytest.param(
            [result("cali1", "cali2", mac="")],
            {"shop/web": (A,)},
            ["shop/web cali1 10.244.1.2"],
            id="of several cables, the one that the way leads over",
        ),
        pytest.param([], {"shop/web": (A, SIX)}, ["shop/web cali1 10.244.1.2 fd00::2"], id="no result, but a route"),
        pytest.param([result()], {"shop/web": (A,)}, ["shop/web cali1 10.244.1.2"], id="a result without a link"),
        pytest.param(
            [result("cali1", mac="")],
            {"shop/web": (A,), "shop/db": (B,)},
            ["shop/web cali1 10.244.1.2", "shop/db cali2 10.244.1.3"],
            id="one by its result, one by its route",
        ),
    ],
)
def test_the_link_of_a_routed_pod_is_found(
    results: list[Attachment], pods: dict[str, tuple[str, ...]], expected: list[str]
) -> None:
    found = matched(*results, node=ROUTED, pods=pods)
    assert told(found) == expected
    assert found.links.bridges == frozenset()


@pytest.mark.parametrize(
    ("item", "node", "reason"),
    [
        (result("cali3"), ROUTED, "10.244.1.2 is behind cali3, but the route to it leads by cali1"),
        (
            result("cali3", addresses=["10.244.1.9"]),
            ROUTED,
            "10.244.1.9 is behind cali3, but the route to it leads nowhere",
        ),
        (result("cali1", addresses=[C]), ROUTED, "10.244.1.4 is behind cali1, but the route to it leads by eth0"),
    ],
    ids=["a vrf", "by a rule for packets of an interface or with a mark", "another link"],
)
def test_a_pod_that_the_node_reaches_by_another_way_is_not_bound_and_that_is_said(
    item: Attachment, node: Node, reason: str
) -> None:
    pods = {"shop/web": tuple(map(format_address, item.addresses))}
    found = matched(item, node=node, pods=pods)
    assert found.links.pods == ()
    assert found.astray == {"shop/web": reason}
    assert not found.unproven


def test_a_link_that_leads_to_several_pods_is_none_of_theirs() -> None:
    node = replace(ROUTED, ways={A: Place("cali1", "routed"), B: Place("cali1", "routed")})
    found = matched(node=node, pods={"shop/web": (A,), "shop/db": (B,)})
    assert found.links.pods == ()
    assert set(found.unproven) == {"shop/web", "shop/db"}


def test_bridges_are_those_of_pods_and_stay_so_without_any() -> None:
    found = matched(result("cni0", "veth1"))
    assert found.links.bridges == {"cni0"}
    assert matched(pods={}).links.bridges == frozenset()
    number = list(BRIDGED.links).index("cni0") + 1
    assert matched(pods={}, before=[number, 99]).links.bridges == {"cni0"}


def test_what_no_pod_may_claim_are_the_addresses_of_the_bridge_and_the_gateways() -> None:
    found = matched(result("cni0", "veth1", gateway="10.244.1.254"))
    assert set(map(format_address, found.links.reserved)) == {"10.244.1.1", "fe80::1", "10.244.1.254"}


@pytest.mark.parametrize(
    ("kind", "is_uplink"),
    [("", True), ("vlan", True), ("vxlan", True), ("bond", True), ("veth", False), ("tun", False), ("netkit", False)],
)
def test_a_port_that_is_no_cable_leads_away_from_the_node(kind: str, is_uplink: bool) -> None:
    node = replace(BRIDGED, links={**BRIDGED.links, "port": (kind, "cni0")})
    found = matched(result("cni0", "veth1"), result("cni0", "veth2", addresses=[B], pod="shop/db"), node=node)
    assert found.links.uplinks == (frozenset({"port"}) if is_uplink else frozenset())
    assert found.links.held == (frozenset() if is_uplink else frozenset({"port"}))


def test_a_port_that_is_a_cable_leads_away_if_the_node_says_so_and_never_if_it_is_a_pods() -> None:
    granted = Granted(uplinks=frozenset({"veth1", "veth2", "veth9"}))
    found = matched(result("cni0", "veth1"), granted=granted)
    assert found.links.uplinks == {"veth2"}
    assert told(found) == [f"{BOUND} {A}"]
    assert not found.links.held


def test_a_namespace_that_the_node_exempts_is_told_as_such_and_never_missed() -> None:
    granted = Granted(namespaces=frozenset({"shop"}))
    (link,) = matched(result("cni0", "veth1"), granted=granted).links.pods
    assert link.exempt
    assert not matched(granted=granted).unproven
