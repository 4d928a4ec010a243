# SPDX-License-Identifier: Apache-2.0
"""The engine for single connections: what each tier rules, and what that allows.

Answers are sets of ports, so one question covers every port at once. Where something is open (an
address that is not known, an option set to ``depends``) it is answered twice, pessimistically and
optimistically, each rule by itself (see `policy.tiers`), so the truth lies between. A pod of which it is not
known whether a policy selects it is answered for both. `policy.extent` finds how much of what lies between is possible.
"""

from __future__ import annotations

import enum
from copy import copy
from typing import TYPE_CHECKING

from podfence.cluster.selection import Selection, may_match
from podfence.policy.ends import AddressEnd, End, NodeEnd, PodEnd, is_one_pod
from podfence.policy.grants import place_of
from podfence.policy.legacy import compile_namespace
from podfence.policy.named_ports import named_ports
from podfence.policy.ruling import UNJUDGED, Admission, Ruling, Standing, behind, isolation
from podfence.policy.subjects import Subjects
from podfence.policy.tiers import TierRuling, decide, first_match
from podfence.policy.verdict import Direction, Tier
from podfence.policy.world import ASSUMED_FAMILIES, World
from podfence.sets import AddressSet, PortSet
from podfence.sets.addresses import family_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from podfence.cluster.members import Member
    from podfence.cluster.state import ClusterState
    from podfence.policy.grants import CompiledPolicy, Grant
    from podfence.policy.options import Options
    from podfence.policy.world import UnsetKind
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


def kind_of(end: PodEnd | NodeEnd) -> UnsetKind:
    """Return whether an end is a pod, a certain node or any node."""
    if isinstance(end, PodEnd):
        return "Pod"
    return "Node" if end.name else "AnyNode"


class Engine:
    """Judges connections in a cluster state; follows the state when told which namespaces changed."""

    def __init__(
        self,
        state: ClusterState,
        options: Options,
        world: World | None = None,
        clusterwide: Iterable[CompiledPolicy] = (),
    ) -> None:
        """Judge the state with the options, and nothing but it unless a `world` says what else there may be.

        `clusterwide` are the policies of the tiers around NetworkPolicies. Nothing else is compiled before it is
        needed.
        """
        self.state = state
        self.options = options
        self.world = world or World(state, options)
        self.clusterwide = tuple(sorted(clusterwide, key=place_of))
        self._icmp = tuple(settle(options.icmp, bound, "denied", "allowed") for bound in Bound)
        self._compiled: dict[str, tuple[CompiledPolicy, ...]] = {}
        self._earlier: dict[str, tuple[CompiledPolicy, ...]] = {}
        self._subjects: dict[str, Subjects] = {}

    def with_options(self, options: Options) -> Engine:
        """Return an engine for the same state and world with other options."""
        return Engine(self.state, options, self.world, self.clusterwide)

    def as_read(self) -> Engine:
        """Return an engine that takes the policies which were read for all there are; both share what is compiled."""
        other = copy(self)
        other.world = self.world.as_read()
        return other

    def naming(self, asked: AddressSet) -> Engine:
        """Return an engine for a question that names addresses: no pod or node that is not known has one of them."""
        result = copy(self)
        result.world = self.world.naming(asked)
        return result

    def with_policies(self, namespace: str, compiled: tuple[CompiledPolicy, ...]) -> Engine:
        """Return an engine that takes these, in order of name, for the policies of a namespace, and shares the rest."""
        other = copy(self)
        other._compiled, other._subjects = dict(self._compiled), dict(self._subjects)  # noqa: SLF001  another of this class
        other.keep(namespace, compiled)
        return other

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

    def policies_over(self, namespace: str) -> tuple[CompiledPolicy, ...]:
        """Return all policies that may select pods of a namespace: its own, and those of the whole cluster."""
        return (*self.policies(namespace), *self.clusterwide)

    def forget(self, namespace: str) -> tuple[CompiledPolicy, ...]:
        """Compile a namespace's policies when next asked, objects that are new at least; return what was compiled."""
        found = self._compiled.pop(namespace, ())
        self._subjects.pop(namespace, None)
        if found:
            self._earlier[namespace] = found
        return found

    def keep(self, namespace: str, compiled: tuple[CompiledPolicy, ...]) -> None:
        """Hold on to compiled policies of a namespace that are known to be equal to a fresh compilation."""
        if namespace in self.state.namespaces:
            self._compiled[namespace] = compiled
            self._subjects.pop(namespace, None)

    def applicable(self, direction: Direction, member: Member) -> tuple[CompiledPolicy, ...]:
        """Return the policies that isolate a pod in a direction (semantics 2.1)."""
        possible = self._possible(member.namespace).possible(member.labels)
        return tuple(
            policy for policy in possible if policy.isolates(direction) and policy.subject.matches_labels(member.labels)
        )

    def _possible(self, namespace: str) -> Subjects:
        found = self._subjects.get(namespace)
        if found is None:
            found = self._subjects[namespace] = Subjects(self.policies(namespace))
        return found

    def concerned(
        self, direction: Direction, end: PodEnd
    ) -> tuple[tuple[CompiledPolicy, ...], tuple[CompiledPolicy, ...]]:
        """Return the policies that isolate a pod in a direction, and those of which it is not known whether they do."""
        labels = end.member.labels if end.labels is None else end.labels
        possible = self._possible(end.member.namespace).possible(labels, whole=not end.more)
        isolating = [policy for policy in possible if policy.isolates(direction)]
        return _sure_and_maybe([(policy, self._pods_match(policy.subject, end)) for policy in isolating])

    def tiers(self, direction: Direction, end: PodEnd) -> tuple[Standing, ...]:
        """Return the tiers with policies in the order in which they are asked, and those that select a pod (11.21)."""
        own = Standing(Tier.NETWORK_POLICY, *self.concerned(direction, end))
        if not self.clusterwide:
            return (own,)
        return self._clusterwide(Tier.ADMIN, direction, end), own, self._clusterwide(Tier.BASELINE, direction, end)

    def _clusterwide(self, tier: Tier, direction: Direction, end: PodEnd) -> Standing:
        written = (policy for policy in self.clusterwide if policy.tier is tier and direction in policy.grants)
        return Standing(tier, *_sure_and_maybe([(policy, self.selects(policy.subject, end)) for policy in written]))

    # One connection

    def allowed(self, source: End, destination: End, bound: Bound) -> PortSet:
        """Return the ports on which a connection is allowed: by egress and by ingress (semantics 1.4)."""
        egress = self.admitted(Direction.EGRESS, source, destination, bound)
        return egress & self.admitted(Direction.INGRESS, source, destination, bound) if egress else egress

    def admitted(self, direction: Direction, source: End, destination: End, bound: Bound) -> PortSet:
        """Return the ports one direction allows; an end that is no pod allows everything (semantics 1.3)."""
        ruling = self.ruling(direction, source, destination)
        return ruling.low if bound is Bound.PESSIMISTIC else ruling.high

    def ruling(
        self,
        direction: Direction,
        source: End,
        destination: End,
        known: Ruling | None = None,
        supposed: frozenset[str] = frozenset(),
    ) -> Ruling:
        """Return what one direction allows in both bounds, and by what (semantics 1.3, 1.6, 2.1, 2.2).

        `known` is the ruling for the same ends where the labels `supposed`, or an address, are not supposed of them:
        only what it leaves open because of these is asked again.
        """
        subject, peer = direction.ordered(source, destination)
        if not isinstance(subject, PodEnd):
            return UNJUDGED
        if known is not None and any(item.maybe for item in known.tiers):
            known = None
        tiers = self.tiers(direction, subject) if known is None else known.tiers
        if exemption := self.exemption(direction, subject, peer, Bound.PESSIMISTIC):
            return Ruling(PortSet.ALL, PortSet.ALL, exemption, tiers)
        found, lows, highs = [], [], []
        unread = self.world.unread(subject.member.namespace)
        for tier in tiers:
            if not (tier.sure or tier.maybe or unread):
                found.append(tier)
                continue
            if known is None:
                admissions = tuple(self._admissions(tier.policies, direction, subject, peer))
            else:
                admissions = tuple(self._left(tier.admissions, peer, supposed))
            standing = Standing(tier.tier, tier.sure, tier.maybe, admissions)
            one, other = self._bounds(standing, subject, direction, peer)
            found.append(standing)
            lows.append(one)
            highs.append(other)
        low = decide(lows)
        high = low if lows == highs else decide(highs)
        if isinstance(peer, AddressEnd) and peer.behind is not None:
            low, high = PortSet.EMPTY, PortSet.ALL if self.clusterwide else high
        if self.exemption(direction, subject, peer, Bound.OPTIMISTIC):
            high = PortSet.ALL
        return Ruling(low, high, None, tuple(found))

    def _admissions(
        self, policies: tuple[CompiledPolicy, ...], direction: Direction, subject: PodEnd, peer: End
    ) -> Iterator[Admission]:
        for policy in policies:
            rule = item = -1
            for grant in policy.grants[direction]:
                item = item + 1 if grant.rule == rule else 0
                rule = grant.rule
                found = self.matches(grant, peer)
                if found is not False:
                    ports = self.ports_of(grant, direction, subject, peer)
                    yield Admission(policy, grant, item, ports, bool(found))
                    if unread := self.unread_ports(grant, direction, subject, peer):
                        yield Admission(policy, grant, item, unread, bool(found), is_unread=True)

    def _left(self, admissions: tuple[Admission, ...], peer: End, supposed: frozenset[str]) -> Iterator[Admission]:
        for known in admissions:
            means = known.grant.peer
            concerned = not supposed or (isinstance(means, Selection) and not supposed.isdisjoint(means.all_keys))
            if known.matched or not concerned:
                yield known
                continue
            found = self.matches(known.grant, peer)
            if found is not False:
                yield known._replace(matched=bool(found))

    def _bounds(
        self, tier: Standing, subject: PodEnd, direction: Direction, peer: End
    ) -> tuple[TierRuling, TierRuling]:
        """Return what a tier rules if what is open is taken as denying, and as allowing."""
        if tier.tier is not Tier.NETWORK_POLICY:
            return first_match(tier.steps, surely=True), first_match(tier.steps, surely=False)
        if self.world.unread(subject.member.namespace):
            return TierRuling(PortSet.EMPTY, PortSet.ALL), TierRuling(PortSet.ALL, PortSet.EMPTY)
        low, high = isolation(tier, self._icmp)
        if isinstance(peer, AddressEnd) and peer.behind is not None and tier.sure:
            high = TierRuling(behind(tier, direction, subject.family), PortSet.ALL)
        return low, high

    def exemption(self, direction: Direction, subject: PodEnd, peer: End, bound: Bound) -> str | None:
        """Return the rule that exempts a connection, if one does: 7.1, 7.2 (itself), 7.3, 7.4 (own node)."""
        if isinstance(peer, PodEnd):
            if not (subject.itself or is_one_pod(subject, peer)):
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

    def matches(self, grant: Grant, peer: End) -> bool | None:
        """Return whether a grant's peer is the end (3.2 to 3.5 for pods, 6.1 to 6.3 for addresses); None if open."""
        if grant.peer is None:
            return True
        if isinstance(grant.peer, AddressSet):
            return self.in_block(grant.peer, peer)
        return self.selects(grant.peer, peer) if isinstance(peer, PodEnd) else False

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
        if end.space is not None:
            return may_match(selection.namespaces, end.space, whole=False)
        if not self.world.has_unknown_labels(name):
            return selection.matches_namespace(name, self.state.labels_of_namespace(name))
        return may_match(selection.namespaces, self.state.labels_of_namespace(name), whole=False)

    def _pods_match(self, selection: Selection, end: PodEnd) -> bool | None:
        if not self.world.is_open("Pod"):
            return selection.matches_labels(end.member.labels)
        labels = end.member.labels if end.labels is None else end.labels
        return may_match(selection.pods, labels, whole=not end.more)

    def in_block(self, block: AddressSet, peer: End) -> bool | None:
        """Return whether an ipBlock's addresses hold the end's (semantics 6.1, 6.2, 7.13); None where that is open."""
        if isinstance(peer, AddressEnd):
            return peer.address in block
        option = self.options.ip_block_pods if isinstance(peer, PodEnd) else self.options.ip_block_nodes
        if option == "never":
            return False
        if peer.address is not None:
            found: bool | None = peer.address in block
        else:
            found = self.world.holds_unset(block, kind_of(peer), peer.family)
        return None if found and option == "depends" else found

    def ports_of(self, grant: Grant, direction: Direction, subject: PodEnd, peer: End) -> PortSet:
        """Return the ports that a grant surely has, names looked up on the destination pod (semantics 5.4, 5.5)."""
        end = self._named_on(grant, direction, subject, peer)
        if end is None or self.has_unknown_ports(end):
            return grant.ports
        return grant.ports | self.named_ports(end.member, grant.names)

    def unread_ports(self, grant: Grant, direction: Direction, subject: PodEnd, peer: End) -> PortSet:
        """Return the ports that names of a grant may be, on a pod whose ports are not known (semantics 13.7, 13.10)."""
        end = self._named_on(grant, direction, subject, peer)
        if end is None or not self.has_unknown_ports(end):
            return PortSet.EMPTY
        return PortSet.union(PortSet.whole(protocol) for _, protocol in grant.names)

    @staticmethod
    def _named_on(grant: Grant, direction: Direction, subject: PodEnd, peer: End) -> PodEnd | None:
        """Return the pod on which names of a grant are looked up, None if it has none or they mean nothing there."""
        end = subject if direction is Direction.INGRESS else peer
        if not grant.names or not isinstance(end, PodEnd) or grant.names_in not in (None, end.member.namespace):
            return None
        return end

    def has_unknown_ports(self, end: PodEnd) -> bool:
        """Return whether nothing is known of the ports that a pod names (semantics 13.7, 13.10)."""
        return end.more or (end.member.is_supposed and self.world.is_open("Pod"))

    def named_ports(self, member: Member, names: tuple[tuple[str, str], ...]) -> PortSet:
        """Return the numbers that names of ports have on a pod (semantics 5.4 to 5.6, 5.8)."""
        declared = ((port.name, port.protocol, port.number, port.sidecar) for port in member.ports)
        return named_ports(declared, names, self.options)

    def is_judged(self, member: Member) -> bool:
        """Return whether a pod is a pod to policies, and not a part of its node (semantics 7.6)."""
        return not member.host or self.options.host_network == "pod"

    def pod_ends(self, member: Member) -> tuple[PodEnd, ...]:
        """Return the ends of a pod, one for each address, or for each family that it may have one of (7.13, 8.6)."""
        if member.addresses:
            return tuple(PodEnd(member, number, family_of(number)) for number in member.addresses)
        return tuple(PodEnd(member, None, family) for family in self.assumed_families())

    def assumed_families(self) -> tuple[Family, ...]:
        """Return the address families a pod without known addresses is taken to have."""
        return ASSUMED_FAMILIES[self.options.pod_families][1]


def _sure_and_maybe(
    answers: list[tuple[CompiledPolicy, bool | None]],
) -> tuple[tuple[CompiledPolicy, ...], tuple[CompiledPolicy, ...]]:
    return (
        tuple(policy for policy, answer in answers if answer),
        tuple(policy for policy, answer in answers if answer is None),
    )
