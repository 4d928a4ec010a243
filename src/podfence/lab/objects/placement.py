# SPDX-License-Identifier: Apache-2.0
"""Which node a pod runs on, and the addresses it has there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from podfence.lab.objects.allocation import Pool

if TYPE_CHECKING:
    from collections.abc import Mapping

    from podfence.kube.objects import Node
    from podfence.lab.addresses import Plan
    from podfence.lab.store.metadata import Raw

# As on real nodes, the first address of the block is the node's own.
_FIRST: Final = 2
_MOST: Final = 10_000


class Spot(NamedTuple):
    """A node, and addresses of its block that are a pod's (the node's own for hostNetwork)."""

    node: str
    addresses: tuple[str, ...]
    host: bool = False


class Placement:
    """The nodes of a lab and the addresses of their pods."""

    def __init__(self, nodes: Mapping[str, Node], plan: Plan, count: int) -> None:
        """Place pods on so many nodes, which are in `nodes` when the first pod comes; their labels may change."""
        self.nodes = nodes
        self._pools = {
            f"node-{number}": [Pool(plan.pod_range(number, family), _FIRST) for family in plan.families]
            for number in range(1, count + 1)
        }
        self._turn = 0

    def eligible(self, spec: Raw) -> list[str]:
        """Return the nodes that a pod may run on by its nodeName and nodeSelector; all, if they name none here."""
        if spec.get("nodeName") in self.nodes:
            return [spec["nodeName"]]
        wanted = (spec.get("nodeSelector") or {}).items()
        return [name for name, node in self.nodes.items() if wanted <= node.labels.items()] or list(self.nodes)

    def room(self, spec: Raw) -> int:
        """Return for how many pods like this there are addresses; as good as any number with hostNetwork."""
        if spec.get("hostNetwork"):
            return _MOST
        return sum(min(pool.free for pool in self._pools[name]) for name in self.eligible(spec))

    def place(self, spec: Raw) -> Spot | None:
        """Return a place for a pod, on the next node in turn; None if all are full."""
        names, host = self.eligible(spec), bool(spec.get("hostNetwork"))
        for step in range(len(names)):
            name = names[(self._turn + step) % len(names)]
            addresses = self.nodes[name].addresses if host else self._allocate(name)
            if addresses:
                if len(names) > 1:
                    self._turn += step + 1
                return Spot(name, addresses, host)
        return None

    def release(self, spot: Spot) -> None:
        """Give the addresses of a pod back."""
        if not spot.host:
            for pool, address in zip(self._pools[spot.node], spot.addresses, strict=True):
                pool.release(address)

    def _allocate(self, name: str) -> tuple[str, ...]:
        pools = self._pools[name]
        return tuple(filter(None, (pool.allocate() for pool in pools))) if all(pool.free for pool in pools) else ()
