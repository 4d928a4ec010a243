# SPDX-License-Identifier: Apache-2.0
"""Keeps the Services of all nodes as the cluster has them: tables, and flows to backends that are gone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from podfence.dataplane.conntrack import KernelConntrack
from podfence.dataplane.flows import Sides
from podfence.lab.network.namespaces import NetworkError, inside
from podfence.lab.network.service_table import ServiceTable, changes
from podfence.lab.network.services import Endpoint, proxied, table
from podfence.nft.errors import NftError
from podfence.nft.process import NftRunner

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from podfence.cluster.state import ClusterState
    from podfence.lab.addresses import Plan

_UDP: Final = 17


class Proxy:
    """What kube-proxy is on every node; for one thread at a time."""

    def __init__(self, plan: Plan, nodes: Sequence[tuple[str, int]]) -> None:
        """Keep the nodes in the plan's order: the name of each, and a process in its network namespace.

        Nothing is touched yet.
        """
        self._plan = plan
        self._pids = dict(nodes)
        self._programmed: dict[str, ServiceTable] = {}
        self._endpoints: frozenset[Endpoint] = frozenset()

    def update(self, state: ClusterState) -> int:
        """Bring all nodes in step; return how many tables changed. Raises NetworkError naming those that are not."""
        ports = proxied(state)
        changed = 0
        failures: list[str] = []
        endpoints = frozenset(item for port in ports if port.protocol == "UDP" for item in port.endpoints)
        gone = self._endpoints - endpoints
        for number, (node, pid) in enumerate(self._pids.items(), 1):
            # Kept only if all of it succeeds: else the next update makes the table anew.
            before = self._programmed.pop(node, None)
            own_pods = {family: self._plan.pod_range(number, family) for family in self._plan.families}
            after = table(ports, node, self._plan, own_pods)
            pieces = list(changes(before, after))
            try:
                with inside(pid, node):
                    for piece in pieces:
                        NftRunner().run(piece)
                    if gone:
                        forget_flows(gone)
            except (NftError, NetworkError) as error:
                failures.append(f"Services on {node}: {error}")
                continue
            self._programmed[node] = after
            changed += bool(pieces)
        if failures:
            raise NetworkError("\n".join(failures))
        self._endpoints = endpoints
        return changed


def forget_flows(gone: Collection[Endpoint]) -> None:
    """End the UDP flows through Services to backends that are gone, in this thread's network namespace.

    UDP has no end that the kernel could see: a client that goes on asking from one port would go on asking the old
    backend. Raises NetlinkError if the kernel refuses, OSError if it cannot.
    """
    places = {(item.address, item.port) for item in gone}
    table = KernelConntrack(0)
    try:
        stale = [
            flow.handle
            for flow in table.flows(Sides(answering={address for address, _ in places}))
            if flow.protocol == _UDP
            and flow.original.destination != flow.reply.source
            and (flow.reply.source, flow.reply.source_port) in places
        ]
        table.forget(stale)
    finally:
        table.close()
