# SPDX-License-Identifier: Apache-2.0
"""The engine for single connections: what each tier rules, and what that allows.

Answers are sets of ports, so one question covers every port at once. Where something is open (an
address that is not known, an option set to ``depends``) it is answered twice, pessimistically and
optimistically; policies only ever admit more when more matches, so the truth lies between.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import TYPE_CHECKING

from podfence.policy.ends import AddressEnd, End, PodEnd
from podfence.policy.legacy import compile_namespace
from podfence.policy.verdict import Direction
from podfence.sets import AddressSet, PortSet

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


@dataclass(frozen=True, slots=True)
class Ruling:
    """What one tier decides of a connection, by port; ports in neither set go on to the next tier."""

    allowed: PortSet
    denied: PortSet


class Engine:
    """Judges connections in a cluster state; follows the state when told which namespaces changed."""

    def __init__(self, state: ClusterState, options: Options) -> None:
        """Judge the state with the options; nothing is compiled before it is needed."""
        self.state = state
        self.options = options
        self._compiled: dict[str, tuple[CompiledPolicy, ...]] = {}
        self._earlier: dict[str, tuple[CompiledPolicy, ...]] = {}

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
        if peer.own or (peer.name and peer.name == subject.member.node):
            if direction is Direction.INGRESS:
                return "7.3"
            if settle(self.options.own_node_egress, bound, "policy", "allowed") == "allowed":
                return "7.4"
        return None

    def network_policies(self, direction: Direction, subject: PodEnd, peer: End, bound: Bound) -> Ruling | None:
        """Return the ruling of the NetworkPolicy tier, None if no policy isolates the pod (semantics 2.1, 2.2)."""
        policies = self.applicable(direction, subject.member)
        if not policies:
            return None
        # Grants of one rule have the same ports, and many rules do.
        matching = {
            self.ports_of(grant, direction, subject, peer)
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
        return Ruling(allowed, PortSet.ALL - allowed)

    def matches_peer(self, grant: Grant, peer: End, bound: Bound) -> bool:
        """Return whether a grant's peer is the end: rules 3.2 to 3.5 for pods, 6.1 to 6.3 for addresses."""
        if grant.peer is None:
            return True
        if isinstance(grant.peer, AddressSet):
            return self.in_block(grant.peer, peer, bound)
        if not isinstance(peer, PodEnd):
            return False
        return self.selects(grant.peer, peer.member)

    def selects(self, selection: Selection, member: Member) -> bool:
        """Return whether a selection means a pod (semantics 3.3, 3.4)."""
        namespace = member.namespace
        if selection.namespace is None:
            labels = self.state.labels_of_namespace(namespace)
            if not selection.matches_namespace(namespace, labels):
                return False
        elif selection.namespace != namespace:
            return False
        return selection.matches_labels(member.labels)

    def in_block(self, block: AddressSet, peer: End, bound: Bound) -> bool:
        """Return whether an ipBlock's addresses hold the end's (semantics 6.1, 6.2, 7.13)."""
        if isinstance(peer, AddressEnd):
            return peer.address in block
        option = self.options.ip_block_pods if isinstance(peer, PodEnd) else self.options.ip_block_nodes
        if settle(option, bound, "never", "match") == "never":
            return False
        if peer.address is not None:
            return peer.address in block
        return self.unknown_in(block, peer.family, bound)

    def ports_of(self, grant: Grant, direction: Direction, subject: PodEnd, peer: End) -> PortSet:
        """Return the ports of a grant, names looked up on the destination pod (semantics 5.4, 5.5)."""
        if not grant.names:
            return grant.ports
        end = subject if direction is Direction.INGRESS else peer
        if not isinstance(end, PodEnd) or grant.names_in not in (None, end.member.namespace):
            return grant.ports
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

    def unknown_in(self, block: AddressSet, family: Family, bound: Bound) -> bool:
        """Return whether a block holds an address of a family of which nothing else is known (semantics 8.6).

        A block that is the whole family surely does; for a part of it `options.unknown_address` says.
        """
        whole = AddressSet.V4 if family == 4 else AddressSet.V6
        inside = block & whole
        if inside == whole or not inside:
            return bool(inside)
        return settle(self.options.unknown_address, bound, "outside", "inside") == "inside"
