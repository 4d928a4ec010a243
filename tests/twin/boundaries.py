# SPDX-License-Identifier: Apache-2.0
"""The addresses, ports and ends of a cluster at which an answer can change."""

from __future__ import annotations

from typing import TYPE_CHECKING

from podfence.kube.objects import NetworkPolicy, Node, Pod

from .addresses import parse_address, parse_network
from .question import AddressEnd, NodeEnd, PodEnd, Traffic
from .twin import is_live

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from podfence.kube.objects import IPBlock, KubeObject, PolicyPort, Rule

    from .addresses import Address, Network
    from .question import End

LAST_PORT = 65535
ORDINARY_PORT = 80
ORDINARY_ADDRESSES = ("203.0.113.99", "2001:db8:ffff::99")


def rules(objects: Iterable[KubeObject]) -> Iterator[Rule]:
    """Yield every rule of every policy, of both directions."""
    for item in objects:
        if isinstance(item, NetworkPolicy):
            yield from item.ingress
            yield from item.egress


def cuts(network: Network) -> list[Address]:
    """Return first - 1, first, last and last + 1 of a block, without those outside its family (semantics 6.7)."""
    first, last = network.network_address, network.broadcast_address
    found: list[Address] = [first, last]
    if int(first) > 0:
        found.append(first - 1)
    if int(last) < 2**network.max_prefixlen - 1:
        found.append(last + 1)
    return found


def block_cuts(block: IPBlock) -> Iterator[Address]:
    """Yield the cuts of `cidr` and of every `except`."""
    for text in (block.cidr, *block.excepts):
        yield from cuts(parse_network(text))


def addresses(objects: Sequence[KubeObject]) -> list[str]:
    """Return every cut of every block, every pod's and node's address, and one ordinary one of each family, sorted."""
    found = set(map(parse_address, ORDINARY_ADDRESSES))
    for item in objects:
        if isinstance(item, Pod | Node):
            found.update(map(parse_address, item.addresses))
    for rule in rules(objects):
        for peer in rule.peers:
            if peer.ip_block is not None:
                found.update(block_cuts(peer.ip_block))
    return [str(address) for address in sorted(found, key=lambda address: (address.version, int(address)))]


def item_ports(item: PolicyPort) -> list[int]:
    """Return the boundaries of one item of `ports`: before, first, last and after; none for a name."""
    if not isinstance(item.port, int):
        return []
    last = item.end_port or item.port
    return [item.port - 1, item.port, item.port + 1, last, last + 1]


def ports(objects: Sequence[KubeObject]) -> list[int]:
    """Return every boundary of every port or range, every container port, and an ordinary one, sorted."""
    found = {ORDINARY_PORT}
    for item in objects:
        if isinstance(item, Pod):
            found.update(port.number for port in item.template.ports)
    for rule in rules(objects):
        for policy_port in rule.ports:
            found.update(item_ports(policy_port))
    return sorted(port for port in found if 1 <= port <= LAST_PORT)


def traffic(objects: Sequence[KubeObject]) -> list[Traffic]:
    """Return every port of `ports` under every protocol, and ICMP."""
    numbers = ports(objects)
    return [
        *(Traffic("TCP", number) for number in numbers),
        *(Traffic("UDP", number) for number in numbers),
        *(Traffic("SCTP", number) for number in numbers),
        Traffic("ICMP"),
    ]


def pod_ends(objects: Sequence[KubeObject]) -> list[PodEnd]:
    """Return every live pod once for each of its addresses, once without if it has none."""
    return [
        PodEnd(item.namespace, item.name, address)
        for item in objects
        if isinstance(item, Pod) and is_live(item)
        for address in item.addresses or (None,)
    ]


def node_ends(objects: Sequence[KubeObject]) -> list[NodeEnd]:
    """Return every node that there is, or that a pod runs on."""
    names = {item.name for item in objects if isinstance(item, Node)}
    names |= {item.template.node for item in objects if isinstance(item, Pod) and item.template.node}
    return [NodeEnd(name) for name in sorted(names)]


def ends(objects: Sequence[KubeObject]) -> list[End]:
    """Return every pod, every node, and every address of `addresses`."""
    return [*pod_ends(objects), *node_ends(objects), *map(AddressEnd, addresses(objects))]
