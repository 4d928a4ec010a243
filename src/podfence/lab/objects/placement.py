# SPDX-License-Identifier: Apache-2.0
"""Which node a pod runs on, and the addresses it has there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from podfence.kube.objects import Node
from podfence.lab.objects.allocation import Pool

if TYPE_CHECKING:
    from podfence.kube.objects import Labels
    from podfence.lab.addresses import Plan
    from podfence.lab.objects.templates import Template

# As on real nodes, the first address of the block is the node's own.
_FIRST: Final = 2
_HOSTNAME: Final = "kubernetes.io/hostname"


class Place(NamedTuple):
    """A node, and addresses of its block that are a pod's (the node's own for hostNetwork)."""

    node: str
    addresses: tuple[str, ...]
    host: bool = False


class Placement:
    """The nodes of a lab and the addresses of their pods."""

    def __init__(self, plan: Plan, nodes: int) -> None:
        """Make nodes that are named node-1, node-2, and so on."""
        self.nodes = {f"node-{number}": _node(plan, number) for number in range(1, nodes + 1)}
        self._pools = {name: [Pool(block, _FIRST) for block in node.pod_cidrs] for name, node in self.nodes.items()}
        self._turn = 0

    def eligible(self, template: Template) -> list[str]:
        """Return the nodes that a pod may run on by its nodeName and nodeSelector; all, if they name none here."""
        if template.node in self.nodes:
            return [template.node]
        wanted = template.node_labels.items()
        return [name for name, node in self.nodes.items() if wanted <= node.labels.items()] or list(self.nodes)

    def notes(self, template: Template) -> list[str]:
        """Return what is to be said about a nodeName or nodeSelector that no node of the lab has."""
        if template.node and template.node not in self.nodes:
            return [f"the lab has no node {template.node}, so any node runs it"]
        wanted = template.node_labels.items()
        if not any(wanted <= node.labels.items() for node in self.nodes.values()):
            shown = ", ".join(f"{key}={value}" for key, value in wanted)
            return [f"no node of the lab has the labels {shown}, so any node runs it"]
        return []

    def place(self, template: Template, *, host: bool, node: str = "") -> Place | None:
        """Return a place for a pod, on `node` if that is given, else on the next in turn; None if all are full."""
        names = [node] if node else self.eligible(template)
        for step in range(len(names)):
            name = names[(self._turn + step) % len(names)]
            addresses = self.nodes[name].addresses if host else self._allocate(name)
            if addresses:
                if not node:
                    self._turn += step + 1
                return Place(name, addresses, host)
        return None

    def release(self, place: Place) -> None:
        """Give the addresses of a pod back."""
        if not place.host:
            for pool, address in zip(self._pools[place.node], place.addresses, strict=True):
                pool.release(address)

    def _allocate(self, name: str) -> tuple[str, ...]:
        pools = self._pools[name]
        found = [pool.allocate() for pool in pools]
        addresses = tuple(text for text in found if text is not None)
        if len(addresses) == len(pools):
            return addresses
        for pool, text in zip(pools, found, strict=True):
            if text is not None:
                pool.release(text)
        return ()


def _node(plan: Plan, number: int) -> Node:
    name = f"node-{number}"
    labels: Labels = {_HOSTNAME: name, "kubernetes.io/os": "linux"}
    return Node(
        name=name,
        labels=labels,
        addresses=tuple(plan.node_address(number, family) for family in plan.families),
        pod_cidrs=tuple(plan.pod_range(number, family) for family in plan.families),
    )
