# SPDX-License-Identifier: Apache-2.0
"""Policies compiled: which pods they mean, which directions they isolate, and what their rules admit.

A rule becomes one grant for each of its peers: "this peer, on these ports". A connection is admitted
by a rule when one of its grants matches (semantics 3.1).
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Protocol

from msgspec import Struct

from podfence.cluster.selection import Selection
from podfence.kube.objects import Key, NetworkPolicy
from podfence.policy.budget import NOTHING, Size
from podfence.policy.named_ports import PortName
from podfence.policy.tiers import Action
from podfence.policy.verdict import Direction, Tier
from podfence.sets import AddressSet, PortSet

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from podfence.kube.objects import Peer, PolicyPort, Rule
    from podfence.kube.origin import Origin
    from podfence.policy.options import Options


_FEW = 16


class Source(Protocol):
    """The object that a policy was compiled from."""

    @property
    def name(self) -> str:
        """The name of the object."""

    @property
    def origin(self) -> Origin | None:
        """Where it was read, if it was."""


class Grant(Struct, frozen=True, gc=False):
    """One peer of one rule with the rule's ports, and what the rule does: rules of NetworkPolicies only allow.

    `peer` is a selection of pods, a set of addresses, or None for every peer (semantics 3.2). `names`
    are ports by name, looked up on the destination pod (semantics 5.4); `names_in` limits that to pods
    of one namespace, if set.
    """

    rule: int
    peer: Selection | AddressSet | None
    ports: PortSet
    names: tuple[PortName, ...] = ()
    names_in: str | None = None
    action: Action = Action.ALLOW


class CompiledPolicy(Struct, frozen=True, eq=False, gc=False):
    """A policy, or the isolation a namespace annotation asks for, ready to be judged by.

    `source` is the object it came from, and `key` its name, which is asked for far more often than it is made;
    `grants` are by direction, for the directions it isolates.
    `size` is that of its text. `refused` says why it admits nothing, if it is too large (semantics 2.8).
    It belongs to a `tier`. In those of cluster-wide policies the lower `priority` is asked first (semantics 11.2), and
    no pod is isolated.
    """

    source: Source
    key: Key
    subject: Selection
    grants: dict[Direction, tuple[Grant, ...]]
    size: Size = NOTHING
    refused: str = ""
    tier: Tier = Tier.NETWORK_POLICY
    priority: int = 0

    def isolates(self, direction: Direction) -> bool:
        """Return whether the pods it means are isolated in this direction (semantics 2.1)."""
        return direction in self.grants


def compile_policy(policy: NetworkPolicy, options: Options, size: Size, refused: str) -> CompiledPolicy:
    """Compile a policy with the meaning of networking.k8s.io/v1 (semantics 2 to 6), and 2.8 if it is refused."""
    return CompiledPolicy(
        source=policy,
        key=policy.key,
        subject=subject_of(policy),
        grants={
            direction: () if refused else tuple(rule_grants(policy, direction, options))
            for direction in (Direction.EGRESS, Direction.INGRESS)
            if direction.capitalize() in policy.policy_types
        },
        size=size,
        refused=refused,
    )


def rules_of(source: object, direction: Direction) -> tuple[Rule, ...]:
    """Return the rules of a direction as a NetworkPolicy has them, none for what is no NetworkPolicy."""
    if not isinstance(source, NetworkPolicy):
        return ()
    return source.ingress if direction is Direction.INGRESS else source.egress


def cuts_of(policies: Iterable[CompiledPolicy]) -> set[int]:
    """Return where blocks of policies begin and end; between these they tell no two addresses apart."""
    return {
        cut
        for policy in policies
        for grants in policy.grants.values()
        for grant in grants
        if isinstance(grant.peer, AddressSet)
        for cut in grant.peer.cuts()
    }


def place_of(policy: CompiledPolicy) -> tuple[int, str]:
    """Return the place of a cluster-wide policy in its tier: by priority, of equal ones by name (semantics 11.3)."""
    return policy.priority, policy.key.name


def subject_of(policy: NetworkPolicy) -> Selection:
    """Return the pods a policy selects, in its own namespace only (semantics 1.5, 2.7)."""
    pods = policy.pod_selector if policy.pod_selector.requirements else None
    return Selection(policy.namespace, None, pods)


def rule_grants(policy: NetworkPolicy, direction: Direction, options: Options) -> Iterator[Grant]:
    """Yield the grants of a policy's rules for one direction (semantics 3.1, 3.2)."""
    namespace = policy.namespace
    for index, rule in enumerate(rules_of(policy, direction)):
        # Long lists of ports are seldom there twice, and would be kept for nothing.
        read = rule_ports if len(rule.ports) <= _FEW else rule_ports.__wrapped__
        ports, names = read(rule.ports, end_port=options.end_port)
        peers: list[Selection | AddressSet | None] = [_peer(item, namespace) for item in rule.peers]
        for peer in peers or [None]:
            # Towards a selected pod a name is that pod's; otherwise upstream leaves it open (semantics 5.7).
            loose = direction is Direction.EGRESS and not isinstance(peer, Selection) and names
            if not loose or options.named_port_without_peer == "any-pod":
                yield Grant(index, peer, ports, names)
            elif options.named_port_without_peer == "own-namespace":
                yield Grant(index, peer, ports, names, namespace)
            else:
                yield Grant(index, peer, ports)


@lru_cache(maxsize=1024)
def rule_ports(items: tuple[PolicyPort, ...], *, end_port: str) -> tuple[PortSet, tuple[PortName, ...]]:
    """Return a rule's ports by number, and by name (semantics 5.1, 5.3); no item means every port (3.2).

    `end_port` is the option of that name. Rules have the same ports over and over.
    """
    if not items:
        return PortSet.ALL, ()
    ports: list[PortSet] = []
    names: list[PortName] = []
    for item in items:
        if item.port is None:
            ports.append(PortSet.whole(item.protocol))
        elif isinstance(item.port, str):
            names.append((item.port, item.protocol))
        else:
            last = item.port if item.end_port is None or end_port == "first" else item.end_port
            ports.append(PortSet.of(item.protocol, item.port, last))
    return ports[0] if len(ports) == 1 else PortSet.union(ports), tuple(dict.fromkeys(names))


def _peer(peer: Peer, namespace: str) -> Selection | AddressSet:
    if peer.ip_block is not None:
        return AddressSet.block(peer.ip_block.cidr, peer.ip_block.excepts)
    pods = peer.pod_selector if peer.pod_selector and peer.pod_selector.requirements else None
    if peer.namespace_selector is None:
        return Selection(namespace, None, pods)
    return Selection(None, peer.namespace_selector if peer.namespace_selector.requirements else None, pods)
