# SPDX-License-Identifier: Apache-2.0
"""The whole connectivity at once, in sets of classes.

Every rule admits a rectangle: its peers x its subjects x its ports. Egress admits the union of the
egress rectangles, and everything from pods that no policy isolates for egress; ingress likewise; a
connection is allowed where both do (semantics 1.4, 1.6, 2.1). Rectangles with equal peers and ports
are joined before anything is multiplied out, and for each destination only the rectangles that touch
it meet, so the cost follows the size of the policies and of the answer, not pods x pods.
Where there are cluster-wide policies, each pair is decided tier by tier instead (see `policy.ordered`).
"""

from __future__ import annotations

from collections import defaultdict
from functools import cache
from operator import and_
from typing import TYPE_CHECKING

from msgspec import Struct, field

from podfence.cluster.selection import Selection
from podfence.policy.engine import Bound, settle
from podfence.policy.named_ports import named_ports
from podfence.policy.ordered import Ranked, decided, isolated, outside
from podfence.policy.peers import Peers, Scenario
from podfence.policy.tiers import Step
from podfence.policy.verdict import Direction, Tier
from podfence.sets import AddressSet, PortSet, members, union
from podfence.sets.partition import disjoint, disjoint_addresses

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

    from podfence.cluster.classes import ClassIndex
    from podfence.cluster.pod_class import PodClass
    from podfence.policy.engine import Engine
    from podfence.policy.grants import Grant
    from podfence.policy.named_ports import PortName

Partition = dict[PortSet, int]
"""Disjoint sets of classes (bits), by the ports they have."""

AddressPartition = dict[PortSet, AddressSet]
"""Disjoint sets of addresses, by the ports they have."""

_Ports = tuple[PortSet, tuple["PortName", ...], str | None]
_Piece = tuple[int, _Ports]


class _Side(Struct):
    """The rectangles of one direction.

    `isolated`: the classes a policy isolates. `by_peer`: subjects by (peer, ports). `by_subject`: the
    grants of each class, in order of policy name and rule. `clusterwide`: the grants of cluster-wide policies, in the
    order in which they are asked.
    """

    isolated: int = 0
    by_peer: dict[tuple[Selection | AddressSet | None, _Ports], int] = field(default_factory=lambda: defaultdict(int))
    by_subject: dict[int, list[Grant]] = field(default_factory=lambda: defaultdict(list))
    clusterwide: list[Ranked] = field(default_factory=list)

    def without(self, classes: int) -> _Side:
        """Return the same without the subjects in `classes`, and without cluster-wide policies."""
        other = _Side(self.isolated & ~classes)
        other.by_peer.update((key, left) for key, bits in self.by_peer.items() if (left := bits & ~classes))
        other.by_subject.update(item for item in self.by_subject.items() if not classes >> item[0] & 1)
        return other


class Reach:
    """The connectivity between classes, and between classes and addresses outside."""

    def __init__(
        self, engine: Engine, index: ClassIndex, like: Reach | None = None, apart: Collection[str] = ()
    ) -> None:
        """Collect the rectangles of all policies; `index` must look at all their keys, names and cuts.

        `like` is that of a cluster whose policies and classes are the same in all namespaces but those `apart`.
        """
        self._engine = engine
        self._index = index
        self._sides = {direction: _Side() for direction in Direction} if like is None else like.without(index, apart)
        self.peers = Peers(engine, index)
        for namespace in engine.state.namespaces if like is None else apart:
            for policy in engine.policies(namespace):
                self._collect(policy.subject, policy.grants)
        for policy in engine.clusterwide:
            bits = index.bits(policy.subject)
            for direction, grants in policy.grants.items():
                self._sides[direction].clusterwide += (Ranked(policy.tier, bits, grant) for grant in grants)
        self._resolved: dict[tuple[_Ports, object], PortSet] = {}
        self._and: Callable[[PortSet, PortSet], PortSet] = cache(and_)

    def without(self, index: ClassIndex, namespaces: Collection[str]) -> dict[Direction, _Side]:
        """Return the rectangles without those of pods of some namespaces, and without cluster-wide policies."""
        spare = sum(map(index.in_namespace, namespaces))
        return {direction: side.without(spare) for direction, side in self._sides.items()}

    def _collect(self, subject: Selection, grants: dict[Direction, tuple[Grant, ...]]) -> None:
        bits = self._index.bits(subject)
        for direction, items in grants.items():
            side = self._sides[direction]
            side.isolated |= bits
            for grant in items:
                side.by_peer[grant.peer, (grant.ports, grant.names, grant.names_in)] |= bits
            if items:
                for number in members(bits):
                    side.by_subject[number].extend(items)

    @property
    def is_ordered(self) -> bool:
        """Whether cluster-wide policies have a say, whose rules have an order."""
        return bool(self._engine.clusterwide)

    def open_pods(self, direction: Direction) -> int:
        """Return the classes no policy isolates in a direction."""
        return self._index.all & ~self._sides[direction].isolated

    def is_isolated(self, direction: Direction, number: int) -> bool:
        """Return whether a policy isolates a class in a direction."""
        return bool(self._sides[direction].isolated >> number & 1)

    def rectangles(self, direction: Direction) -> Iterator[tuple[Selection | AddressSet | None, int]]:
        """Yield the peers of the rules of a direction with their subjects."""
        return ((peer, subjects) for (peer, _), subjects in self._sides[direction].by_peer.items())

    @property
    def looks_up_own_names(self) -> bool:
        """Whether names of ports may mean something in the rule's own namespace only (semantics 5.7)."""
        return self._engine.options.named_port_without_peer == "own-namespace"

    def ports_at(self, grant: Grant, pod_class: PodClass) -> PortSet:
        """Return the ports of a grant at a destination class (semantics 5.4)."""
        ports = (grant.ports, grant.names, grant.names_in)
        return self._resolve(ports, pod_class) if grant.names else grant.ports

    def grants(self, direction: Direction, number: int) -> list[Grant]:
        """Return what the rules of a class admit in a direction, in order of policy name and rule."""
        return self._sides[direction].by_subject.get(number, [])

    def with_absent_peers(self, direction: Direction) -> int:
        """Return the classes of which a rule in a direction may name peers that are absent."""
        rules = self.rectangles(direction)
        return union(subjects for peer, subjects in rules if self.peers.is_nobody(peer) or _is_unbounded(peer))

    def is_absent(self, direction: Direction, namespace: str, peer: Selection) -> bool:
        """Return whether a peer of a rule of a namespace's policies means pods that the input does not show.

        That is nobody, or pods of every namespace, but for some, if no pod of another one is here that is not isolated.
        """
        if not _is_unbounded(peer) or not self._engine.world.is_open("Namespace"):
            return self.peers.is_nobody(peer)
        elsewhere = self._index.bits(peer) & ~self._index.in_namespace(namespace)
        return not elsewhere & self.open_pods(direction.other)

    def universe(self, scenario: Scenario) -> int:
        """Return the classes that have an address of the scenario's family."""
        assumed = scenario.family in self._engine.assumed_families()
        return self._index.in_family(scenario.family, assumed=assumed)

    def into(self, scenario: Scenario, destinations: int, sources: int, opened: int = 0) -> dict[int, Partition]:
        """Return for each destination class the sources that may connect to it, by ports.

        The `opened` are taken as classes that no policy isolates. Sources with no port are left out. A class may stand
        in its own row: its pods among each other.
        """
        universe = self.universe(scenario)
        destinations &= universe
        sources &= universe
        pieces = self._egress_pieces(scenario, destinations, sources)
        everywhere = pieces.pop(-1, [])
        open_sources = sources & (self.open_pods(Direction.EGRESS) | opened)
        side = self._sides[Direction.INGRESS]
        if self.is_ordered:
            return {
                number: self._decided(scenario, number, sources, opened, [*pieces.get(number, []), *everywhere])
                for number in members(destinations)
            }
        # Most destinations are reached by the same rules; only names of ports may mean something else there.
        from_everywhere: dict[object, Partition] = {}
        alike: dict[object, Partition] = {}
        result: dict[int, Partition] = {}
        isolated = side.isolated & ~opened
        for number in members(destinations):
            pod_class = self._index.classes[number]
            looks = pod_class.ports, pod_class.namespace if self.looks_up_own_names else ""
            outgoing = from_everywhere.get(looks)
            if outgoing is None:
                outgoing = from_everywhere[looks] = self._by_ports(everywhere, pod_class)
            own = pieces.get(number)
            is_plain = not own and not isolated >> number & 1
            if is_plain and looks in alike:
                result[number] = alike[looks]
                continue
            if own:
                outgoing = self._by_ports(own, pod_class, outgoing)
            if isolated >> number & 1:
                incoming = self._ingress(scenario, side.by_subject.get(number, []), pod_class, sources)
            else:
                incoming = {PortSet.ALL: sources}
            result[number] = self._meet(incoming, outgoing, open_sources)
            if is_plain:
                alike[looks] = result[number]
        return result

    def _decided(self, scenario: Scenario, number: int, sources: int, opened: int, outgoing: list[_Piece]) -> Partition:
        """Return the sources that may connect to a destination class, by ports, as all tiers decide.

        `outgoing` are the egress rectangles that reach it.
        """
        pod_class = self._index.classes[number]
        sending, taking = self._sides[Direction.EGRESS], self._sides[Direction.INGRESS]
        is_sure = scenario.bound is Bound.PESSIMISTIC
        sent = self._by_ports(outgoing, pod_class).items()
        egress = isolated(sent, sources, sending.isolated, opened)
        taken = self._ingress(scenario, taking.by_subject.get(number, []), pod_class, sources).items()
        ingress = isolated(taken, sources, *(sources if b >> number & 1 else 0 for b in (taking.isolated, opened)))
        one, other = (
            decided(self._rules(direction, scenario, number), isolation, sources, surely=is_sure)
            for direction, isolation in ((Direction.EGRESS, egress), (Direction.INGRESS, ingress))
        )
        return self._meet(other, one, 0)

    def _rules(self, direction: Direction, scenario: Scenario, number: int) -> Iterator[tuple[Tier, int, Step]]:
        """Yield the rules of cluster-wide policies with the sources whose connections to a class they match."""
        for tier, subjects, grant in self._sides[direction].clusterwide:
            ports = self.ports_at(grant, self._index.classes[number])
            bounds = (self.peers.of(grant.peer, Scenario(scenario.family, bound)) for bound in Bound)
            if direction is Direction.EGRESS:
                surely, perhaps = (subjects if peers >> number & 1 else 0 for peers in bounds)
            else:
                surely, perhaps = (peers if subjects >> number & 1 else 0 for peers in bounds)
            yield tier, surely, Step(grant.action, ports, surely=True)
            yield tier, perhaps & ~surely, Step(grant.action, ports, surely=False)

    def shared_sources(self, scenario: Scenario, destination: int) -> set[int]:
        """Return the sets of sources that a destination is likely to have in common with others.

        They are the pods no policy isolates for egress, as far as each of the destination's ingress rules
        admits them.
        """
        opened = self.open_pods(Direction.EGRESS)
        side = self._sides[Direction.INGRESS]
        if not side.isolated >> destination & 1:
            return {opened}
        return {opened & self.peers.of(grant.peer, scenario) for grant in side.by_subject.get(destination, ())}

    def _egress_pieces(self, scenario: Scenario, destinations: int, sources: int) -> dict[int, list[_Piece]]:
        """Return the egress rectangles by destination class, those that reach every one under -1."""
        side = self._sides[Direction.EGRESS]
        result: dict[int, list[_Piece]] = defaultdict(list)
        for (peer, written), subjects in side.by_peer.items():
            from_here = subjects & sources
            if not from_here:
                continue
            to = self.peers.of(peer, scenario) & destinations
            ports = self._without_icmp(written, scenario)
            if to == destinations:
                result[-1].append((from_here, ports))
                continue
            for number in members(to):
                result[number].append((from_here, ports))
        if settle(self._engine.options.icmp, scenario.bound, "denied", "allowed") == "allowed":
            result[-1].append((side.isolated & sources, (PortSet.OTHER, (), None)))
        return result

    def _ingress(self, scenario: Scenario, grants: list[Grant], pod_class: PodClass, sources: int) -> Partition:
        pieces = [
            (
                self.peers.of(grant.peer, scenario) & sources,
                self._without_icmp((grant.ports, grant.names, grant.names_in), scenario),
            )
            for grant in grants
        ]
        if settle(self._engine.options.icmp, scenario.bound, "denied", "allowed") == "allowed":
            pieces.append((sources, (PortSet.OTHER, (), None)))
        return self._by_ports(pieces, pod_class)

    def _without_icmp(self, ports: _Ports, scenario: Scenario) -> _Ports:
        if settle(self._engine.options.icmp, scenario.bound, "denied", "allowed") == "denied":
            return ports[0] - PortSet.OTHER, ports[1], ports[2]
        return ports

    def _by_ports(self, pieces: list[_Piece], pod_class: PodClass, others: Partition | None = None) -> Partition:
        """Join pieces and others with equal ports, names looked up on the destination; the sets may overlap."""
        result: Partition = dict(others or {})
        for bits, ports in pieces:
            resolved = self._resolve(ports, pod_class) if ports[1] else ports[0]
            if bits and resolved:
                result[resolved] = result.get(resolved, 0) | bits
        return result

    def _resolve(self, ports: _Ports, pod_class: PodClass) -> PortSet:
        numbers, names, names_in = ports
        if names_in not in (None, pod_class.namespace):
            return numbers
        key = (ports, pod_class.ports)
        found = self._resolved.get(key)
        if found is None:
            found = self._resolved[key] = numbers | named_ports(pod_class.ports, names, self._engine.options)
        return found

    def _meet(self, incoming: Partition, outgoing: Partition, open_sources: int) -> Partition:
        met: Partition = {}
        for allowed_in, admitted in incoming.items():
            bits = admitted & open_sources
            if bits:
                met[allowed_in] = met.get(allowed_in, 0) | bits
            for allowed_out, sending in outgoing.items():
                bits = admitted & sending
                if bits:
                    ports = self._and(allowed_in, allowed_out)
                    if ports:
                        met[ports] = met.get(ports, 0) | bits
        return disjoint(met.items()) if len(met) > 1 else met

    # Addresses outside

    def outside(self, direction: Direction, bound: Bound, classes: int) -> dict[int, AddressPartition]:
        """Return for each class the addresses outside it may exchange connections with in a direction, by ports.

        Ingress: which may connect to it; egress: to which it may. Named ports are those of the class, and
        towards addresses none (semantics 5.4, 5.7).
        """
        side = self._sides[direction]
        everything: AddressPartition = {PortSet.ALL: AddressSet.ALL}
        known: dict[object, AddressPartition] = {}
        result: dict[int, AddressPartition] = {}
        for number in members(classes):
            if self.is_ordered:
                result[number] = self._outside_decided(direction, bound, number)
                continue
            if not side.isolated >> number & 1:
                result[number] = everything
                continue
            key = self._from_outside(direction, bound, number)
            if key not in known:
                known[key] = disjoint_addresses(key)
            result[number] = known[key]
        return result

    def _from_outside(self, direction: Direction, bound: Bound, number: int) -> tuple[tuple[PortSet, AddressSet], ...]:
        """Return what the rules of NetworkPolicies admit of addresses outside; the addresses may overlap."""
        icmp = settle(self._engine.options.icmp, bound, "denied", "allowed")
        pieces: dict[tuple[PortSet, AddressSet], None] = {}
        for grant in self._sides[direction].by_subject.get(number, ()):
            if not isinstance(grant.peer, Selection):
                ports = self._own_ports(direction, grant, number)
                if icmp == "denied":
                    ports -= PortSet.OTHER
                pieces[ports, _addresses(grant)] = None
        if icmp == "allowed":
            pieces[PortSet.OTHER, AddressSet.ALL] = None
        return tuple(pieces)

    def _own_ports(self, direction: Direction, grant: Grant, number: int) -> PortSet:
        """Return the ports of a grant of a class with addresses outside, on which no port has a name (5.4, 5.7)."""
        return self.ports_at(grant, self._index.classes[number]) if direction is Direction.INGRESS else grant.ports

    def _outside_decided(self, direction: Direction, bound: Bound, number: int) -> AddressPartition:
        side = self._sides[direction]
        is_isolated = bool(side.isolated >> number & 1)
        rules = [
            (tier, _addresses(grant), Step(grant.action, self._own_ports(direction, grant, number), surely=True))
            for tier, subjects, grant in side.clusterwide
            if subjects >> number & 1 and not isinstance(grant.peer, Selection)
        ]
        admitted = self._from_outside(direction, bound, number) if is_isolated else ()
        return outside(rules, admitted, is_isolated=is_isolated)


def _addresses(grant: Grant) -> AddressSet:
    """Return the addresses outside that a grant means which is not for selected pods."""
    return grant.peer if isinstance(grant.peer, AddressSet) else AddressSet.ALL


def _is_unbounded(peer: Selection | AddressSet | None) -> bool:
    """Return whether a peer means pods of any namespace but those that a selector excludes."""
    if not isinstance(peer, Selection) or peer.namespace is not None:
        return False
    terms = peer.namespaces.requirements if peer.namespaces else ()
    return all(term.operator in ("NotIn", "DoesNotExist") for term in terms)
