# SPDX-License-Identifier: Apache-2.0
"""VXLAN that no node sent: a node takes it from anybody who knows its port, and what is inside has any source.

Podfence 0.1.0 let it pass. An ordinary UDP socket of a pod that may send to the node or of a pod of another node
delivered datagrams of every pod that a policy allows.
"""

from __future__ import annotations

from contextlib import closing, contextmanager
from functools import partial
from typing import TYPE_CHECKING, Final

import pytest
from scapy.compat import raw
from scapy.layers.inet import UDP
from scapy.layers.l2 import GRE, Ether
from scapy.layers.vxlan import VXLAN
from scapy.packet import Raw

from tests.attacks import plain
from tests.attacks.judging import Attack, Pair, Trial, against, arrived_before, ethernet, judge, packet
from tests.attacks.plain import ARRIVES
from tests.attacks.wiring import NETWORKS, TUNNELS, has

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.attacks.bed import Bed


OF_NO_RANGE: Final = {4: "10.99.0.2", 6: "fd00:99::2"}


def tunnelled(bed: Bed, sender: str, to: Callable[[Bed], str], inner: str, receiver: str, family: int) -> bool:
    """Return whether a receiver gets what an ordinary socket of a sender wraps as if a node had."""
    address, token = to(bed), bed.token()
    outer = 6 if ":" in address else 4
    node = bed.wiring.nodes[2 if receiver == "d" else 1]
    tunnel = TUNNELS[bed.network]
    wrapped = (
        VXLAN(vni=tunnel.number, flags="Instance")
        / Ether(src=bed.wiring.nodes[3 - node.number].tunnel_mac(outer), dst=node.tunnel_mac(outer))
        / packet(bed[inner].address(family), bed[receiver].address(family))
        / UDP(sport=bed.number(), dport=5353)
        / Raw(token)
    )
    port = bed.port(receiver)
    port.forget()
    with closing(plain.opened(bed, sender, plain.DATAGRAM, outer)) as speaking:
        speaking.sendto(raw(wrapped), (address, tunnel.port))
    return arrived_before(bed, receiver, token) if bed.guarded else port.hears(token, ARRIVES) is not None


def address_of_the_node(bed: Bed) -> str:
    return bed["n1"].four


def address6_of_the_node(bed: Bed) -> str:
    return bed["n1"].six


def address_of_the_other_node(bed: Bed) -> str:
    return bed["n2"].four


def gateway(bed: Bed) -> str:
    return bed.wiring.nodes[1].gateways[0]


def rows() -> Iterator[Attack]:
    for sender in ("a", "x", "h", "d"):
        for inner in ("c", "r"):
            for family in (4, 6):
                name = f"{sender}-as-{inner}-ipv{family}"
                yield Trial(
                    name,
                    partial(tunnelled, sender=sender, to=address_of_the_node, inner=inner, receiver="t", family=family),
                )
        name = f"{sender}-as-r-over-ipv6"
        yield Trial(name, partial(tunnelled, sender=sender, to=address6_of_the_node, inner="r", receiver="t", family=6))
    for sender in "axh":
        name = f"{sender}-as-r-to-the-gateway"
        yield Trial(name, partial(tunnelled, sender=sender, to=gateway, inner="r", receiver="t", family=4))
        name = f"{sender}-as-t-to-another-node"
        yield Trial(
            name, partial(tunnelled, sender=sender, to=address_of_the_other_node, inner="t", receiver="d", family=4)
        )


def out_of_a_tunnel(bed: Bed, family: int) -> bool:
    """Return whether d sends as r by the address that n1 has on its tunnel, from one that no Node's range has.

    So it comes to n1 out of one tunnel and goes into another. Plugins that manage addresses by themselves, as Calico
    does, give out such addresses.
    """
    d, t, token = bed["d"], bed["t"], bed.token()
    here, there = bed.wiring.nodes[1], bed.wiring.nodes[2]
    tunnel = TUNNELS[bed.network]
    port = bed.port("t")
    port.forget()
    bed.port("d").send(
        Ether(src=d.mac, dst=d.via)
        / packet(OF_NO_RANGE[family], here.ranges[family == 6].partition("/")[0])
        / UDP(sport=bed.number(), dport=tunnel.port)
        / VXLAN(vni=tunnel.number, flags="Instance")
        / Ether(src=there.tunnel_mac(family), dst=here.tunnel_mac(family))
        / packet(bed["r"].address(family), t.address(family))
        / UDP(sport=bed.number(), dport=5353)
        / Raw(token)
    )
    return arrived_before(bed, "t", token) if bed.guarded else port.hears(token, ARRIVES) is not None


@against(*rows(), *(Trial(f"out-of-another-ipv{family}", partial(out_of_a_tunnel, family=family)) for family in (4, 6)))
def test_nobody_but_a_node_sends_through_the_tunnel(pair: Pair, attack: Attack) -> None:
    judge(pair, attack)


@contextmanager
def tunnel_of_ip(bed: Bed, kind: str) -> Iterator[None]:
    """Have n1 take packets out of a tunnel without ports, from whoever sends them, as `tunl0` does."""
    node = bed["n1"]
    node.space.ip(f"link add more type {kind} local {node.four}", "link set more up")
    try:
        if bed.guarded:
            bed.until(lambda: "l4proto" in bed.run("n1", "nft", "list chain inet podfence tunnel_in"), "it is known")
        yield
    finally:
        node.space.ip("link del more")


def in_ip(bed: Bed, kind: str, sender: str) -> bool:
    """Return whether t gets what a sender's raw socket wraps as if a node had, in the name of r."""
    ends, token = (bed[sender], bed["n1"]), bed.token()
    wrap = packet(ends[0].four, ends[1].four, proto=47 if kind == "gre" else 4)
    inner = packet(bed["r"].four, bed["t"].four) / UDP(sport=bed.number(), dport=5353) / Raw(token)
    port = bed.port("t")
    with tunnel_of_ip(bed, kind):
        port.forget()
        bed.port(sender).send(ethernet(bed, *ends) / (wrap / GRE() if kind == "gre" else wrap) / inner)
        return arrived_before(bed, "t", token) if bed.guarded else port.hears(token, ARRIVES) is not None


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("sender", ["a", "x", "d"])
@pytest.mark.parametrize(
    "kind",
    [
        pytest.param(
            kind,
            marks=pytest.mark.skipif(
                not has(f"link add t type {kind} local 192.0.2.1"), reason=f"needs a kernel with {option}"
            ),
        )
        for kind, option in (("ipip", "CONFIG_NET_IPIP"), ("gre", "CONFIG_NET_IPGRE"))
    ],
)
def test_nobody_but_a_node_sends_through_a_tunnel_without_ports(pair: Pair, kind: str, sender: str) -> None:
    judge(pair, Trial(kind, partial(in_ip, kind=kind, sender=sender)))
