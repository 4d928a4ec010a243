# SPDX-License-Identifier: Apache-2.0
"""The engine for single connections: what each tier rules, and what that allows.

Answers are sets of ports, so one question covers every port at once. Where something is open (an
address that is not known, an option set to ``depends``) it is answered twice, pessimistically and
optimistically; policies only ever admit more when more matches, so the truth lies between. A pod of which it is not
known whether a policy selects it is answered for both. `policy.extent` finds how much of what lies between is possible.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from functools import reduce
from operator import and_
from typing import TYPE_CHECKING, Literal

from podfence.cluster.controllers import is_unknown
from podfence.cluster.selection import may_match
from podfence.policy.ends import AddressEnd, End, NodeEnd, PodEnd
from podfence.policy.legacy import compile_namespace
from podfence.policy.verdict import Direction
from podfence.policy.world import World
from podfence.sets import AddressSet, PortSet
from podfence.sets.ports import PROTOCOLS

if TYPE_CHECKING:
    from podfence.cluster.members import Member
    from podfence.cluster.selection import Selection
    from podfence.cluster.state import ClusterState
    from podfence.policy.grants import CompiledPolicy, Grant
    from podfence.policy.options import Options
    from podfence.sets.addresses import Family


class Bound(enum.Enum):
    """How to take what is open: as denying, or as allowing."""

    PESSIMISTIC = enum.auto()
    OPTIMISTIC = enum.auto()


def settle(value: str, bound: Bound, denying: str, allowing: str) -> str:
    """Return an option's value, with ``depends`` taken as the bound says."""
    if value != "depends":
        return value
    return denying if bound is Bound.PESSIMISTIC else allowing


UnsetKind = Literal["Pod", "Node", "AnyNode"]
"""The kinds of ends of which no address may be known; of the last it is not known which node it is."""


def kind_of(end: PodEnd | NodeEnd) -> UnsetKind:
    """Return whether an end is a pod, a certain node or any node."""
    if isinstance(end, PodEnd):
        return "Pod"
    return "Node" if end.name else "AnyNode"


@dataclass(frozen=True, slots=True)
class Ruling:
    """What one tier decides of a connection, by port; ports in neither set go on to the next tier."""

    allowed: PortSet
    denied: PortSet


class Engine:
    """Judges connections in a cluster state; follows the state when told which namespaces changed."""

    def __init__(self, state: ClusterState, options: Options, world: World | None = None) -> None:
        """Judge the state with the options, and nothing but it unless a `world` says what else there may be.

        Nothing is compiled before it is needed.
        """
        self.state = state
        self.options = options
        self.world = world or World(state, options)
        self._compiled: dict[str, tuple[CompiledPolicy, ...]] = {}
        self._earlier: dict[str, tuple[CompiledPolicy, ...]] = {}

    def with_options(self, options: Options) -> Engine:
        """Return an engine for the same state and world with other options."""
        return Engine(self.state, options, self.world)

    def as_read(self) -> Engine:
        """Return an engine that takes the policies which were read for all there are."""
        return Engine(self.state, self.options, self.world.as_read())

    def policies(self, namespace: str) -> tuple[CompiledPolicy, ...]:
        """Return the compiled policies of a namespace, in order of name."""
        found = self._compiled.get(namespace)
        if found is None:
            known = self.state.namespaces.get(namespace)
            written = self.state.policies.get(namespace, {}).values()
            earlier = self._earlier.pop(namespace, ())
            if known is None:
                return ()
            self._compiled[namespace] = found = compile_namespace(known, written, self.options, earlier)
        return found

    def forget(self, namespace: str) -> tuple[CompiledPolicy, ...]:
        """Compile a namespace's policies when next asked, objects that are new at least; return what was compiled."""
        found = self._compiled.pop(namespace, ())
        if found:
            self._earlier[namespace] = found
        return found

    def keep(self, namespace: str, compiled: tuple[CompiledPolicy, ...]) -> None:
        """Hold on to compiled policies of a namespace that are known to be equal to a fresh compilation."""
        if namespace in self.state.namespaces:
            self._compiled[namespace] = compiled

    def applicable(self, direction: Direction, member: Member) -> tuple[CompiledPolicy, ...]:
        """Return the policies that isolate a pod in a direction (semantics 2.1)."""
        return tuple(
            policy
            for policy in self.policies(member.namespace)
            if policy.isolates(direction) and policy.subject.matches_labels(member.labels)
        )

    def concerned(
        self, direction: Direction, end: PodEnd
    ) -> tuple[tuple[CompiledPolicy, ...], tuple[CompiledPolicy, ...]]:
        """Return the policies that isolate a pod in a direction, and those of which it is not known whether they do."""
        answers = [
            (policy, self._pods_match(policy.subject, end))
            for policy in self.policies(end.member.namespace)
            if policy.isolates(direction)
        ]
        return (
            tuple(policy for policy, answer in answers if answer),
            tuple(policy for policy, answer in answers if answer is None),
        )

    # One connection

    def allowed(self, source: End, destination: End, bound: Bound) -> PortSet:
        """Return the ports on which a connection is allowed: by egress and by ingress (semantics 1.4)."""
        egress = self.admitted(Direction.EGRESS, source, destination, bound)
        return egress & self.admitted(Direction.INGRESS, source, destination, bound) if egress else egress

    def admitted(self, direction: Direction, source: End, destination: End, bound: Bound) -> PortSet:
        """Return the ports one direction allows; an end that is no pod allows everything (semantics 1.3)."""
        subject, peer = (source, destination) if direction is Direction.EGRESS else (destination, source)
        if not isinstance(subject, PodEnd) or self.exemption(direction, subject, peer, bound):
            return PortSet.ALL
        if self.world.unread(subject.member.namespace):
            return PortSet.EMPTY if bound is Bound.PESSIMISTIC else PortSet.ALL
        if isinstance(peer, AddressEnd) and peer.behind is not None:
            return _behind(self.concerned(direction, subject), direction, bound)
        ruling = self.network_policies(direction, subject, peer, bound)
        # Admin tier rules come before, Baseline rules after; whatever no tier decides is allowed (semantics 11.21).
        return PortSet.ALL if ruling is None else ruling.allowed

    def exemption(self, direction: Direction, subject: PodEnd, peer: End, bound: Bound) -> str | None:
        """Return the rule that exempts a connection, if one does: 7.1, 7.2 (itself), 7.3, 7.4 (own node)."""
        if isinstance(peer, PodEnd):
            one = peer.member.key == subject.member.key and subject.member.pod is not None
            if not (one or subject.itself):
                return None
            if subject.through_service or peer.through_service:
                return "7.2" if settle(self.options.hairpin, bound, "policy", "allowed") == "allowed" else None
            return "7.1" if self.options.self_traffic == "allowed" else None
        if isinstance(peer, AddressEnd):
            return "7.1" if peer.address in AddressSet.LOOPBACK else None
        own = self.is_own_node(subject, peer)
        if own or (own is None and bound is Bound.OPTIMISTIC):
            if direction is Direction.INGRESS:
                return "7.3"
            if settle(self.options.own_node_egress, bound, "policy", "allowed") == "allowed":
                return "7.4"
        return None

    def is_own_node(self, subject: PodEnd, peer: NodeEnd) -> bool | None:
        """Return whether a node is the one that a pod runs on; None where that is not known (semantics 13.5)."""
        if peer.own is not None:
            return peer.own
        node = subject.member.node
        if not (node and peer.name) and self.world.is_open("Pod"):
            return None
        return bool(node) and node == peer.name

    def network_policies(self, direction: Direction, subject: PodEnd, peer: End, bound: Bound) -> Ruling | None:
        """Return the ruling of the NetworkPolicy tier, None if no policy isolates the pod (semantics 2.1, 2.2)."""
        sure, maybe = self.concerned(direction, subject)
        if not sure and (not maybe or bound is Bound.OPTIMISTIC):
            return None
        # Where none surely selects the pod each may be the only one that does.
        several = [(*sure, *(maybe if bound is Bound.OPTIMISTIC else ()))] if sure else [(policy,) for policy in maybe]
        allowed = reduce(and_, (self._united(policies, direction, subject, peer, bound) for policies in several))
        return Ruling(allowed, PortSet.ALL - allowed)

    def _united(
        self, policies: tuple[CompiledPolicy, ...], direction: Direction, subject: PodEnd, peer: End, bound: Bound
    ) -> PortSet:
        """Return the ports that the rules of policies admit together (semantics 1.6)."""
        # Grants of one rule have the same ports, and many rules do.
        matching = {
            self.ports_of(grant, direction, subject, peer, bound)
            for policy in policies
            for grant in policy.grants[direction]
            if self.matches_peer(grant, peer, bound)
        }
        allowed = PortSet.union(matching)
        icmp = settle(self.options.icmp, bound, "denied", "allowed")
        if icmp == "denied":
            allowed -= PortSet.OTHER
        elif icmp == "allowed":
            allowed |= PortSet.OTHER
        return allowed

    def matches_peer(self, grant: Grant, peer: End, bound: Bound) -> bool:
        """Return whether a grant's peer is the end: rules 3.2 to 3.5 for pods, 6.1 to 6.3 for addresses."""
        if grant.peer is None:
            return True
        if isinstance(grant.peer, AddressSet):
            return self.in_block(grant.peer, peer, bound)
        if not isinstance(peer, PodEnd):
            return False
        found = self.selects(grant.peer, peer)
        return bound is Bound.OPTIMISTIC if found is None else found

    def selects(self, selection: Selection, end: PodEnd) -> bool | None:
        """Return whether a selection means a pod (semantics 3.3, 3.4); None where that is not known (13.3, 13.4)."""
        space = self._space_matches(selection, end)
        if space is False:
            return False
        pods = self._pods_match(selection, end)
        return pods if space or not pods else None

    def _space_matches(self, selection: Selection, end: PodEnd) -> bool | None:
        name = end.member.namespace
        if selection.namespace is not None:
            return selection.namespace == name
        if selection.namespaces is None:
            return True
        labels = self.state.labels_of_namespace(name)
        if not self.world.has_unknown_labels(name):
            return selection.matches_namespace(name, labels)
        supposed: dict[str, str | None] = {**labels, **dict(end.space)} if end.space else {**labels}
        return may_match(selection.namespaces, supposed, whole=False)

    def _pods_match(self, selection: Selection, end: PodEnd) -> bool | None:
        if not (end.more or end.labels) and (end.member.pod or not any(map(is_unknown, end.member.labels.values()))):
            return selection.matches_labels(end.member.labels)
        if not self.world.is_open("Pod"):
            return selection.matches_labels(end.member.labels)
        labels: dict[str, str | None] = {**end.member.labels, **dict(end.labels)}
        return may_match(selection.pods, labels, whole=not end.more)

    def in_block(self, block: AddressSet, peer: End, bound: Bound) -> bool:
        """Return whether an ipBlock's addresses hold the end's (semantics 6.1, 6.2, 7.13)."""
        if isinstance(peer, AddressEnd):
            return peer.address in block
        option = self.options.ip_block_pods if isinstance(peer, PodEnd) else self.options.ip_block_nodes
        if settle(option, bound, "never", "match") == "never":
            return False
        if peer.address is not None:
            return peer.address in block
        found = self.holds_unset(block, kind_of(peer), peer.family)
        return bound is Bound.OPTIMISTIC if found is None else found

    def ports_of(
        self, grant: Grant, direction: Direction, subject: PodEnd, peer: End, bound: Bound = Bound.OPTIMISTIC
    ) -> PortSet:
        """Return the ports of a grant, names looked up on the destination pod (semantics 5.4, 5.5).

        A pod of which not all is known may have any name at any port, or at none (semantics 13.7).
        """
        if not grant.names:
            return grant.ports
        end = subject if direction is Direction.INGRESS else peer
        if not isinstance(end, PodEnd) or grant.names_in not in (None, end.member.namespace):
            return grant.ports
        if end.more:
            if bound is Bound.PESSIMISTIC:
                return grant.ports
            return grant.ports | PortSet.union(PortSet.whole(protocol) for _, protocol in grant.names)
        return grant.ports | self.named_ports(end.member, grant.names)

    def named_ports(self, member: Member, names: tuple[tuple[str, str], ...]) -> PortSet:
        """Return the numbers that names of ports have on a pod (semantics 5.4 to 5.6, 5.8)."""
        found = PortSet.EMPTY
        for port in member.ports:
            if (port.name, port.protocol) in names and not (port.sidecar and self.options.init_ports == "containers"):
                found |= PortSet.single(port.protocol, port.number)
        return found

    def assumed_families(self) -> tuple[Family, ...]:
        """Return the address families a pod without known addresses is taken to have."""
        assumed: dict[str, tuple[Family, ...]] = {"ipv4": (4,), "ipv6": (6,), "dual": (4, 6)}
        return assumed[self.options.pod_families]

    def unset_addresses(self, kind: UnsetKind, family: Family) -> AddressSet:
        """Return the addresses that a pod or a node of which none is known may have (semantics 13.6)."""
        whole = AddressSet.V4 if family == 4 else AddressSet.V6
        if not self._is_unset(kind):
            return whole
        if kind == "Pod":
            return self.world.pod_addresses(family)
        return self.world.node_addresses(family, anyone=kind == "AnyNode")

    def _is_unset(self, kind: UnsetKind) -> bool:
        return self.world.is_open("Pod" if kind == "Pod" else "Node")

    def holds_unset(self, block: AddressSet, kind: UnsetKind, family: Family) -> bool | None:
        """Return whether a block holds the address of a pod or node of which none is known; None where that is open.

        A block that is all that the address may be surely does. For a part of it nothing is known, but in a closed
        world, where an end without an address has none, it does not (semantics 8.6, 13.6).
        """
        everything = self.unset_addresses(kind, family)
        inside = block & everything
        if inside == everything or not inside:
            return bool(inside)
        return None if self._is_unset(kind) else False


def _behind(
    policies: tuple[tuple[CompiledPolicy, ...], tuple[CompiledPolicy, ...]], direction: Direction, bound: Bound
) -> PortSet:
    """Return the ports on which a pod reaches what is not known, at whatever port that turns out to be.

    There may be nothing, or a pod that admits nobody. Nothing is reached by a pod whose rules admit no port at all.
    """
    sure, maybe = policies
    if bound is Bound.PESSIMISTIC:
        return PortSet.EMPTY
    grants = [grant for policy in (*sure, *maybe) for grant in policy.grants[direction]]
    protocols = {protocol for grant in grants for protocol, *_ in grant.ports.ranges()}
    protocols.update(protocol for grant in grants for _, protocol in grant.names)
    known = [PortSet.whole(protocol) for protocol in PROTOCOLS if protocol in protocols]
    return PortSet.union([*known, *(grant.ports for grant in grants)]) if sure else PortSet.ALL
