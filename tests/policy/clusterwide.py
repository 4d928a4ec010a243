# SPDX-License-Identifier: Apache-2.0
"""The kind of cluster-wide policies that only tests have (`tests/twin/clusterwide.py`), compiled for the engine."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from podfence.api import Cluster
from podfence.cluster.selection import Selection
from podfence.cluster.state import ClusterState
from podfence.policy.engine import Engine
from podfence.policy.grants import CompiledPolicy, Grant, rule_ports
from podfence.policy.options import Options
from podfence.policy.tiers import Action
from podfence.policy.verdict import Direction, Tier
from podfence.sets import AddressSet

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from podfence.kube.objects import KubeObject, Peer, Selector
    from tests.twin.clusterwide import ClusterPolicy, ClusterRule

_ACTIONS: Final = {"Accept": Action.ALLOW, "Deny": Action.DENY, "Pass": Action.PASS}


class TieredCluster(Cluster):
    """A cluster with policies of all tiers."""

    def __init__(self, objects: Iterable[KubeObject], options: Options, policies: Iterable[ClusterPolicy]) -> None:
        super().__init__(ClusterState(objects), options)
        self.engine = Engine(self.state, options, self._world(), compiled(policies))


def compiled(policies: Iterable[ClusterPolicy]) -> tuple[CompiledPolicy, ...]:
    """Return the policies as the engine takes them."""
    return tuple(
        CompiledPolicy(
            source=policy,
            key=policy.key,
            subject=Selection(None, _some(policy.namespaces), _some(policy.pods)),
            grants={
                direction: tuple(_grants(rules))
                for direction, rules in ((Direction.INGRESS, policy.ingress), (Direction.EGRESS, policy.egress))
                if rules
            },
            tier=Tier(policy.tier),
            priority=policy.priority,
        )
        for policy in policies
    )


def _grants(rules: tuple[ClusterRule, ...]) -> Iterator[Grant]:
    for index, rule in enumerate(rules):
        ports, names = rule_ports(rule.ports, end_port=Options().end_port)
        for peer in rule.peers or (None,):
            yield Grant(index, None if peer is None else _peer(peer), ports, names, action=_ACTIONS[rule.action])


def _peer(peer: Peer) -> Selection | AddressSet:
    if peer.ip_block is not None:
        return AddressSet.block(peer.ip_block.cidr, peer.ip_block.excepts)
    return Selection(None, _some(peer.namespace_selector), _some(peer.pod_selector))


def _some(selector: Selector | None) -> Selector | None:
    return selector if selector is not None and selector.requirements else None
