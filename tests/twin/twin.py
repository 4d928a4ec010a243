# SPDX-License-Identifier: Apache-2.0
"""The twin itself: each function is one rule of the specification, in plain loops.

Selectors, ports and addresses (sections 4 to 6) are in modules of their own.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING, Literal

from podfence.kube.objects import Namespace, NetworkPolicy, Node, Pod

from . import clusterwide
from .addresses import block_has, is_loopback, parse_address
from .ports import item_matches
from .question import AddressEnd, Answer, NodeEnd, PodEnd, agreement, all_of, answer, any_of
from .selectors import selects
from .size import too_large

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from podfence.kube.objects import IPBlock, KubeObject, Labels, Peer, Rule
    from podfence.policy.options import Options

    from .addresses import Address
    from .clusterwide import ClusterPolicy
    from .question import End, Traffic

Direction = Literal["Ingress", "Egress"]

NAME_LABEL = "kubernetes.io/metadata.name"
ISOLATION_ANNOTATION = "net.beta.kubernetes.io/network-policy"
OLD_API = "extensions/v1beta1"
ASSUMED_FAMILIES = {"ipv4": (4,), "ipv6": (6,), "dual": (4, 6)}


@dataclass(frozen=True)
class Place:
    """One end of a connection by one address: a pod, a node, or something outside.

    `pod` is set iff it is a pod to policies (7.6); `nodes` are the names of the nodes it is part of.
    `address` is None when only the family is known, or assumed.
    """

    kind: Literal["pod", "node", "outside"]
    family: int
    address: Address | None
    pod: Pod | None = None
    nodes: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Side:
    """One direction of a connection: what its subject, a pod or not, may have with the other end."""

    direction: Direction
    subject: Place
    other: Place
    traffic: Traffic

    @property
    def destination(self) -> Place:
        """The end whose ports are meant (semantics 5.2): the subject of ingress, the other end of egress."""
        return self.subject if self.direction == "Ingress" else self.other


def is_live(pod: Pod) -> bool:
    """Return whether the pod counts: finished ones do not (semantics 8.4), terminating ones do (8.5)."""
    return pod.phase not in {"Succeeded", "Failed"}


def owner_of(address: Address, pods: Iterable[Pod]) -> Pod | None:
    """Return the pod that has the address: Running, not terminating, newest, larger name first (semantics 8.6)."""
    claimants = [pod for pod in pods if address in map(parse_address, pod.addresses)]
    return max(
        claimants,
        key=lambda pod: (pod.phase == "Running", not pod.terminating, pod.created, pod.name, pod.namespace),
        default=None,
    )


def is_default_deny(annotations: Labels) -> bool:
    """Return whether the annotation asks for isolation (semantics 10.1); anything odd does not (10.2)."""
    try:
        value = json.loads(annotations.get(ISOLATION_ANNOTATION, "null"))
    except ValueError:
        return False
    ingress = value.get("ingress") if isinstance(value, dict) else None
    return isinstance(ingress, dict) and ingress.get("isolation") == "DefaultDeny"


def policy_types(policy: NetworkPolicy) -> tuple[str, ...]:
    """Return the directions of the policy, by default Ingress, and Egress if it has egress rules (semantics 2.3)."""
    return policy.policy_types or (("Ingress", "Egress") if policy.egress else ("Ingress",))


class Twin:
    """A set of objects under some options, ready to be asked; of objects with one key the last one counts."""

    def __init__(
        self, objects: Iterable[KubeObject], options: Options, clusterwide: Iterable[ClusterPolicy] = ()
    ) -> None:
        self.clusterwide = tuple(clusterwide)
        latest = {item.key: item for item in objects}.values()
        self.options = options
        self.pods = [item for item in latest if isinstance(item, Pod) and is_live(item)]
        self.every_pod = [item for item in latest if isinstance(item, Pod)]
        self.nodes = {item.name: item for item in latest if isinstance(item, Node)}
        self.node_names = {*self.nodes, *(pod.template.node for pod in self.every_pod if pod.template.node)}
        self.policies = [item for item in latest if isinstance(item, NetworkPolicy)]
        self.namespaces = {item.name: item for item in latest if isinstance(item, Namespace)}
        self.refused: dict[str, set[str]] = {}

    # Questions

    def allowed(self, source: End, destination: End, traffic: Traffic) -> Answer:
        """Return whether the connection is allowed: by egress AND by ingress (semantics 1.4), on every route."""
        return agreement(
            all_of([self.egress(start, end, traffic), self.ingress(start, end, traffic)])
            for start, end in self.routes(source, destination)
        )

    def egress_allowed(self, source: End, destination: End, traffic: Traffic) -> Answer:
        """Return whether egress allows the connection at its source, on every route."""
        return agreement(self.egress(start, end, traffic) for start, end in self.routes(source, destination))

    def ingress_allowed(self, source: End, destination: End, traffic: Traffic) -> Answer:
        """Return whether ingress allows the connection at its destination, on every route."""
        return agreement(self.ingress(start, end, traffic) for start, end in self.routes(source, destination))

    def share_family(self, source: End, destination: End) -> bool:
        """Return whether the ends have addresses of one family, so that a connection can exist at all."""
        return any(start.family == end.family for start, end in self.routes(source, destination))

    # Ends (sections 7 and 8)

    def routes(self, source: End, destination: End) -> list[tuple[Place, Place]]:
        """Return the pairs of addresses a connection can use: those of one family (semantics 7.13).

        If there is none, all pairs, so that every question has an answer.
        """
        pairs = list(product(self.places(source), self.places(destination)))
        return [(start, end) for start, end in pairs if start.family == end.family] or pairs

    def places(self, end: End) -> list[Place]:
        """Return what an end is, once for each of its addresses."""
        match end:
            case AddressEnd():
                return [self.place_of_address(parse_address(end.address))]
            case NodeEnd():
                return [self.node_place(address, end.name) for address in self.node_addresses(end.name)] or [
                    Place("node", family, None, nodes=frozenset({end.name})) for family in self.assumed_families()
                ]
            case PodEnd():
                return self.places_of_pod(self.pod_named(end), end.address)

    def place_of_address(self, address: Address) -> Place:
        """Return what has the address: the pod that owns it (semantics 8.6), a node, or something outside."""
        owner = owner_of(address, self.pods)
        if owner is not None:
            return self.pod_place(owner, address, address.version)
        if any(address in self.node_addresses(name) for name in self.node_names):
            return self.node_place(address)
        return Place("outside", address.version, address)

    def places_of_pod(self, pod: Pod, chosen: str | None) -> list[Place]:
        """Return the pod by the chosen address, by each of its addresses (semantics 7.13), or by an unknown one (8.6)."""
        addresses = [parse_address(text) for text in pod.addresses]
        on_node = self.node_addresses(pod.template.node) if self.is_node_traffic(pod) else []
        if chosen is not None:
            address = parse_address(chosen)
            if address not in [*addresses, *on_node]:
                message = f"{pod.namespace}/{pod.name} does not have {chosen}"
                raise ValueError(message)
            return [self.pod_place(pod, address, address.version)]
        return [self.pod_place(pod, address, address.version) for address in on_node or addresses] or [
            self.pod_place(pod, None, family) for family in self.assumed_families()
        ]

    def pod_place(self, pod: Pod, address: Address | None, family: int) -> Place:
        """Return a pod as an end: itself, or a part of its node (semantics 7.6)."""
        if not self.is_node_traffic(pod):
            return Place("pod", family, address, pod=pod)
        if address is None:
            return Place("node", family, None, nodes=frozenset({pod.template.node} - {""}))
        return self.node_place(address, pod.template.node)

    def node_place(self, address: Address, name: str = "") -> Place:
        """Return a node as an end: the named one, and whichever has the address."""
        named = {name} - {""}
        holders = {other for other in self.node_names if address in self.node_addresses(other)}
        return Place("node", address.version, address, nodes=frozenset(named | holders))

    def is_node_traffic(self, pod: Pod) -> bool:
        """Return whether the pod is ignored by every selector and its traffic is its node's (semantics 7.6)."""
        return pod.template.host_network and self.options.host_network == "node"

    def pod_named(self, end: PodEnd) -> Pod:
        """Return the live pod of that name; raises LookupError if there is none."""
        for pod in self.pods:
            if (pod.namespace, pod.name) == (end.namespace, end.name):
                return pod
        message = f"no live pod {end.namespace}/{end.name}"
        raise LookupError(message)

    def node_addresses(self, name: str) -> list[Address]:
        """Return the addresses of a node: its own, or those its pods tell of it if it is not loaded."""
        if name in self.nodes:
            return [parse_address(text) for text in self.nodes[name].addresses]
        told = {text for pod in self.every_pod if pod.template.node == name for text in pod.node_addresses}
        return [parse_address(text) for text in sorted(told)] if name else []

    def assumed_families(self) -> tuple[int, ...]:
        """Return the families assumed where no address is known (semantics 8.6)."""
        return ASSUMED_FAMILIES[self.options.pod_families]

    # Directions (sections 1, 2 and 7)

    def ingress(self, source: Place, destination: Place, traffic: Traffic) -> Answer:
        """Return whether ingress allows; a node's traffic to its own pods always may (semantics 7.3)."""
        if destination.pod is not None and self.is_own_node(destination.pod, source):
            return Answer.YES
        return self.judge(Side("Ingress", destination, source, traffic))

    def egress(self, source: Place, destination: Place, traffic: Traffic) -> Answer:
        """Return whether egress allows; to the own node as the option says (semantics 7.4)."""
        exempt = self.options.own_node_egress == "allowed"
        if exempt and source.pod is not None and self.is_own_node(source.pod, destination):
            return Answer.YES
        return self.judge(Side("Egress", source, destination, traffic))

    def judge(self, side: Side) -> Answer:
        """Return whether the subject allows: not a pod (semantics 1.3), to itself (7.1), or what the first tier decides.

        Those are Admin policies, NetworkPolicies and Baseline policies, and what none decides is allowed (11.21).
        """
        pod = side.subject.pod
        if pod is None or self.is_exempt_self(pod, side.other):
            return Answer.YES
        for decided in (
            clusterwide.says(self, self.clusterwide, "Admin", pod, side),
            self.network_policies_say(pod, side),
            clusterwide.says(self, self.clusterwide, "Baseline", pod, side),
        ):
            if decided is not None:
                return decided
        return Answer.YES

    def network_policies_say(self, pod: Pod, side: Side) -> Answer | None:
        """Return whether a rule admits (semantics 2.2), None if the pod is not isolated (2.1, 11.4)."""
        if not self.is_isolated(pod, side.direction):
            return None
        if side.traffic.protocol == "ICMP" and self.options.icmp != "portless":
            return self.isolated_icmp()
        return any_of(self.rule_matches(policy, rule, side) for policy, rule in self.rules_for(pod, side.direction))

    def is_exempt_self(self, pod: Pod, other: Place) -> bool:
        """Return whether the pod talks to itself and may: loopback always, its own address by option (semantics 7.1)."""
        return is_loopback(other.address) or (other.pod is pod and self.options.self_traffic == "allowed")

    def is_own_node(self, pod: Pod, other: Place) -> bool:
        """Return whether the other end is the node that the pod runs on (semantics 7.3)."""
        return pod.template.node in other.nodes

    def isolated_icmp(self) -> Answer:
        """Return whether an isolated pod has ICMP when rules do not decide it (semantics 7.12)."""
        return answer(self.options.icmp == "allowed")

    def is_isolated(self, pod: Pod, direction: Direction) -> bool:
        """Return whether a policy that selects the pod lists the direction (semantics 2.1), or the namespace is closed."""
        by_policy = any(
            self.reading(policy) == "v1" and direction in policy_types(policy) for policy in self.policies_for(pod)
        )
        return by_policy or (direction == "Ingress" and self.is_closed(pod.namespace))

    def policies_for(self, pod: Pod) -> Iterator[NetworkPolicy]:
        """Yield the policies of the pod's own namespace that select it (semantics 1.5, 2.7)."""
        for policy in self.policies:
            if policy.namespace == pod.namespace and selects(policy.pod_selector, pod.template.labels):
                yield policy

    def rules_for(self, pod: Pod, direction: Direction) -> Iterator[tuple[NetworkPolicy, Rule]]:
        """Yield the rules that admit: the union of all applicable policies' (semantics 1.6), of listed directions (2.4)."""
        for policy in self.policies_for(pod):
            reading = self.reading(policy)
            listed = direction in policy_types(policy) if reading == "v1" else direction == "Ingress"
            if reading != "no effect" and listed and not self.is_too_large(policy):
                for rule in policy.ingress if direction == "Ingress" else policy.egress:
                    yield policy, rule

    def is_too_large(self, policy: NetworkPolicy) -> bool:
        """Return whether a policy admits nothing because of its size, or that of its namespace (semantics 2.8)."""
        space = policy.namespace
        if space not in self.refused:
            there = [item for item in self.policies if item.namespace == space and self.reading(item) != "no effect"]
            self.refused[space] = too_large(there, self.options.budget)
        return policy.name in self.refused[space]

    # Rules and peers (section 3)

    def rule_matches(self, policy: NetworkPolicy, rule: Rule, side: Side) -> Answer:
        """Return whether the peer part AND the port part match (semantics 3.1); no peers is every peer (3.2)."""
        if self.is_old_empty(policy, rule):
            return Answer.NO
        if not rule.peers:
            return self.ports_match(rule, self.resolving_pod(policy, None, side), side.traffic)
        return any_of(
            all_of(
                [
                    self.peer_matches(policy, peer, side.other),
                    self.ports_match(rule, self.resolving_pod(policy, peer, side), side.traffic),
                ]
            )
            for peer in rule.peers
        )

    def peer_matches(self, policy: NetworkPolicy, peer: Peer, other: Place) -> Answer:
        """Return whether one item of `from` or `to` matches the other end: a block, or selectors (semantics 9.2)."""
        if peer.ip_block is not None:
            return self.ip_block_matches(peer.ip_block, other)
        return answer(other.pod is not None and self.selectors_match(policy, peer, other.pod))

    def selectors_match(self, policy: NetworkPolicy, peer: Peer, pod: Pod) -> bool:
        """Return whether the selectors match a pod: both are ANDed (semantics 3.3), alone as 3.4 says; only pods (3.5)."""
        if peer.pod_selector is None and peer.namespace_selector is None:
            return False
        if peer.namespace_selector is None:
            namespace_matches = pod.namespace == policy.namespace
        else:
            namespace_matches = selects(peer.namespace_selector, self.namespace_labels(pod.namespace))
        return namespace_matches and (peer.pod_selector is None or selects(peer.pod_selector, pod.template.labels))

    def namespace_labels(self, name: str) -> Labels:
        """Return a namespace's labels with its name among them, which is all an implied one has (semantics 3.7)."""
        given = self.namespaces[name].labels if name in self.namespaces else {}
        return {**given, NAME_LABEL: name}

    def ip_block_matches(self, block: IPBlock, other: Place) -> Answer:
        """Return whether the block has the other end's address (semantics 6.1); pods and nodes by option (6.2, 12.4)."""
        if other.kind == "pod" and self.options.ip_block_pods == "never":
            return Answer.NO
        if other.kind == "node" and self.options.ip_block_nodes == "never":
            return Answer.NO
        return block_has(other.address, other.family, block)

    # Ports (section 5)

    def ports_match(self, rule: Rule, resolve_on: Pod | None, traffic: Traffic) -> Answer:
        """Return whether the port part matches; no ports is every port of every protocol (semantics 3.2, 7.12)."""
        return answer(
            not rule.ports or any(item_matches(item, traffic, resolve_on, self.options) for item in rule.ports)
        )

    def resolving_pod(self, policy: NetworkPolicy, peer: Peer | None, side: Side) -> Pod | None:
        """Return the pod on which a port name resolves: the destination (semantics 5.4), under 5.7 if it is not selected."""
        pod = side.destination.pod
        selected = side.direction == "Ingress" or (peer is not None and peer.ip_block is None)
        if pod is None or selected or self.options.named_port_without_peer == "any-pod":
            return pod
        if self.options.named_port_without_peer == "own-namespace" and pod.namespace == policy.namespace:
            return pod
        return None

    # The old API (section 10)

    def reading(self, policy: NetworkPolicy) -> Literal["v1", "v1beta1", "no effect"]:
        """Return how a policy is read: the old way it has effect in an annotated namespace only (semantics 10.2, 10.8)."""
        if policy.api_version != OLD_API or self.options.legacy == "v1":
            return "v1"
        return "v1beta1" if self.is_annotated(policy.namespace) else "no effect"

    def is_annotated(self, name: str) -> bool:
        """Return whether the namespace opted in to isolation (semantics 10.1)."""
        return name in self.namespaces and is_default_deny(self.namespaces[name].annotations)

    def is_closed(self, name: str) -> bool:
        """Return whether the annotation isolates every pod of the namespace (semantics 10.3).

        With the option `legacy` at ``auto`` it counts only where an old policy is, at ``v1`` nowhere (10.8).
        """
        old = any(policy.api_version == OLD_API and policy.namespace == name for policy in self.policies)
        counts = self.options.legacy == "v1beta1" or (self.options.legacy == "auto" and old)
        return counts and self.is_annotated(name)

    def is_old_empty(self, policy: NetworkPolicy, rule: Rule) -> bool:
        """Return whether a list that is written and empty matches nothing (semantics 10.5)."""
        return (
            self.options.legacy_empty_list == "none"
            and self.reading(policy) == "v1beta1"
            and (rule.empty_peers or rule.empty_ports)
        )


def allowed(objects: Sequence[KubeObject], source: End, destination: End, traffic: Traffic, options: Options) -> Answer:
    """Return whether the connection is allowed (semantics 1.4); raises LookupError for a pod that does not live."""
    return Twin(objects, options).allowed(source, destination, traffic)


def egress_allowed(
    objects: Sequence[KubeObject], source: End, destination: End, traffic: Traffic, options: Options
) -> Answer:
    """Return whether egress allows the connection at its source; raises LookupError like `allowed`."""
    return Twin(objects, options).egress_allowed(source, destination, traffic)


def ingress_allowed(
    objects: Sequence[KubeObject], source: End, destination: End, traffic: Traffic, options: Options
) -> Answer:
    """Return whether ingress allows the connection at its destination; raises LookupError like `allowed`."""
    return Twin(objects, options).ingress_allowed(source, destination, traffic)
