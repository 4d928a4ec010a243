# SPDX-License-Identifier: Apache-2.0
"""A kind of cluster-wide policies that only tests have, and how the twin judges by them (semantics 11.12, 11.21).

It is as plain as a kind with tiers can be: subjects and peers by labels of namespaces and pods, blocks of addresses,
ports as NetworkPolicies write them, and what to do with what matches. So the engine's tiers are compared with the
twin's before any API kind fills them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from podfence.kube.objects import IPBlock, Key, NetworkPolicy, Peer, PolicyPort, Rule, Selector

from .ports import item_matches
from .question import Answer
from .selectors import selects

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from random import Random

    from podfence.kube.objects import Pod

    from .twin import Side, Twin

Tier = Literal["Admin", "Baseline"]
Act = Literal["Accept", "Deny", "Pass"]

ANY = Selector()


@dataclass(frozen=True)
class ClusterRule:
    """What happens to connections with the peers on the ports; none of these means all of them.

    Of a peer both selectors are ANDed; one without a block has one for namespaces.
    """

    action: Act
    peers: tuple[Peer, ...] = ()
    ports: tuple[PolicyPort, ...] = ()


@dataclass(frozen=True)
class ClusterPolicy:
    """Rules for the pods of some namespaces, in their order; a lower `priority` is asked first."""

    tier: Tier
    priority: int
    name: str
    namespaces: Selector = ANY
    pods: Selector = ANY
    ingress: tuple[ClusterRule, ...] = ()
    egress: tuple[ClusterRule, ...] = ()
    origin: None = None

    @property
    def key(self) -> Key:
        """The name of the object inside its cluster."""
        return Key("ClusterPolicy", "", self.name)


def says(twin: Twin, policies: Iterable[ClusterPolicy], tier: Tier, pod: Pod, side: Side) -> Answer | None:
    """Return what a tier decides: the first rule that matches, of the lowest priority (11.2); None leaves it open."""
    asked = sorted((item for item in policies if item.tier == tier), key=lambda item: (item.priority, item.name))
    for policy in asked:
        spaces = twin.namespace_labels(pod.namespace)
        if not (selects(policy.namespaces, spaces) and selects(policy.pods, pod.template.labels)):
            continue
        for rule in policy.ingress if side.direction == "Ingress" else policy.egress:
            if matches(twin, rule, side):
                return {"Accept": Answer.YES, "Deny": Answer.NO, "Pass": None}[rule.action]
    return None


def matches(twin: Twin, rule: ClusterRule, side: Side) -> bool:
    """Return whether the other end is one of the peers AND the port is one of the ports (semantics 3.1, 5.4)."""
    options = twin.options.with_value("end_port", "range")
    on = side.destination.pod
    ports = not rule.ports or any(item_matches(item, side.traffic, on, options) for item in rule.ports)
    return ports and (not rule.peers or any(is_peer(twin, item, side) for item in rule.peers))


def is_peer(twin: Twin, peer: Peer, side: Side) -> bool:
    """Return whether the other end is what one peer means: an address of a block, or a pod that is selected."""
    if peer.ip_block is not None:
        return twin.ip_block_matches(peer.ip_block, side.other) is Answer.YES
    pod = side.other.pod
    if pod is None or peer.namespace_selector is None:
        return False
    spaces = twin.namespace_labels(pod.namespace)
    return selects(peer.namespace_selector, spaces) and selects(peer.pod_selector or ANY, pod.template.labels)


# Random policies


@dataclass(frozen=True)
class Parts:
    """What random policies are made of."""

    pods: Callable[[Random], Selector]
    spaces: Callable[[Random], Selector]
    blocks: Sequence[IPBlock]
    ports: Sequence[PolicyPort]


def drawn(random: Random, parts: Parts) -> list[ClusterPolicy]:
    """Return some policies of both tiers, of which two may have one priority."""
    return [
        ClusterPolicy(
            tier=random.choice(("Admin", "Admin", "Baseline")),
            priority=random.randint(0, 2),
            name=f"c{number}",
            namespaces=random.choice((ANY, parts.spaces(random))),
            pods=random.choice((ANY, parts.pods(random))),
            ingress=_rules(random, parts),
            egress=_rules(random, parts),
        )
        for number in range(random.randint(1, 4))
    ]


def _rules(random: Random, parts: Parts) -> tuple[ClusterRule, ...]:
    return tuple(_rule(random, parts) for _ in range(random.choice((0, 1, 1, 2, 3))))


def _rule(random: Random, parts: Parts) -> ClusterRule:
    peers = tuple(_peer(random, parts) for _ in range(random.choice((0, 1, 1, 2))))
    ports = tuple(random.choice(parts.ports) for _ in range(random.choice((0, 0, 1, 2))))
    if any(peer.ip_block is not None for peer in peers):
        # Addresses name no ports, and the API kinds refuse them together (semantics 11.8).
        ports = tuple(port for port in ports if not isinstance(port.port, str)) or (PolicyPort("TCP", 80),)
    return ClusterRule(random.choice(("Accept", "Deny", "Deny", "Pass")), peers, ports)


def _peer(random: Random, parts: Parts) -> Peer:
    if random.random() < 0.35:
        return Peer(ip_block=random.choice(parts.blocks))
    pods = random.choice((None, parts.pods(random)))
    return Peer(pod_selector=pods, namespace_selector=random.choice((ANY, parts.spaces(random))))


def shown(policies: Iterable[ClusterPolicy]) -> list[NetworkPolicy]:
    """Return NetworkPolicies with the same selectors, blocks and ports, for what looks for boundaries in these.

    They are in a namespace of their own, in which no pod is.
    """
    return [
        NetworkPolicy(
            namespace="shown",
            name=policy.name,
            pod_selector=policy.pods,
            ingress=(
                Rule((Peer(namespace_selector=policy.namespaces),)),
                *(Rule(rule.peers, rule.ports) for rule in policy.ingress),
            ),
            egress=tuple(Rule(rule.peers, rule.ports) for rule in policy.egress),
        )
        for policy in policies
    ]
