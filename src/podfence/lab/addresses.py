# SPDX-License-Identifier: Apache-2.0
"""Which addresses a lab has, nodes, pods, Services and the world around them, and how its pods are connected."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Final, Literal

if TYPE_CHECKING:
    from podfence.sets.addresses import Family

_NODES: Final[dict[Family, str]] = {4: "172.30.0.0/24", 6: "fd00:172:30::/64"}
_PODS: Final[dict[Family, str]] = {4: "10.244.0.0/16", 6: "fd00:10:244::/48"}
_POD_BITS: Final[dict[Family, int]] = {4: 24, 6: 64}
_SERVICES: Final[dict[Family, str]] = {4: "10.96.0.0/16", 6: "fd00:10:96::/112"}
_FIRST_NODE: Final = 11
_GATEWAY: Final = 1
_API: Final = 1
_DNS: Final = 10

PodNetworkKind = Literal["routed", "bridge"]
"""A link of its own for each pod, or a bridge for the pods of each node."""

MOST_NODES: Final = 200
"""How many nodes a lab can have: their addresses end in 11 to 210."""


@dataclass(frozen=True, slots=True)
class Plan:
    """The addresses of a lab with these families and this network of pods; nodes are counted from 1, as they are named.

    Ranges and addresses are texts; a dual-stack lab has IPv4 first.
    """

    families: tuple[Family, ...] = (4,)
    network: PodNetworkKind = "routed"

    def node_address(self, node: int, family: Family) -> str:
        """Return the address of a node."""
        return _nth(_NODES[family], _FIRST_NODE + node - 1)

    def pod_range(self, node: int, family: Family) -> str:
        """Return the block that the pods of a node have their addresses from."""
        network = ipaddress.ip_network(_PODS[family])
        size = 1 << network.max_prefixlen - _POD_BITS[family]
        return f"{network[node * size]}/{_POD_BITS[family]}"

    def pods(self, family: Family) -> str:
        """Return the block that holds the pod ranges of all nodes."""
        return _PODS[family]

    def node_range(self, family: Family) -> str:
        """Return the block of the link that nodes and the outside world share."""
        return _NODES[family]

    def gateway(self, family: Family) -> str:
        """Return the address on that link that leads to the outside world."""
        return _nth(_NODES[family], _GATEWAY)

    def service_range(self, family: Family) -> str:
        """Return the block that Services have their cluster addresses from."""
        return _SERVICES[family]

    def dns_address(self) -> str:
        """Return the cluster address of the DNS Service."""
        return _nth(_SERVICES[self.families[0]], _DNS)

    def api_address(self) -> str:
        """Return the cluster address of the Service `kubernetes`."""
        return _nth(_SERVICES[self.families[0]], _API)


@cache
def _nth(block: str, number: int) -> str:
    return str(ipaddress.ip_network(block)[number])
