# SPDX-License-Identifier: Apache-2.0
"""What `lab verify` tries: which ends on which ports, and what the engine expects of each."""

from __future__ import annotations

from itertools import chain, count, islice, product
from typing import TYPE_CHECKING, Final, NamedTuple, TypeVar

from msgspec.structs import replace

from podfence.analysis.check import check
from podfence.analysis.endpoints import AddressesEndpoint, Endpoint, NodeEndpoint, PodsEndpoint
from podfence.analysis.judging import judged
from podfence.analysis.ports import PortQuestion
from podfence.analysis.routes import node_ports
from podfence.lab.processes.probing import Kind
from podfence.lab.verification.outside import outside
from podfence.lab.verification.result import LeftOut
from podfence.lab.verification.spots import Group, PodSpots, Spot, outside_spot, spots
from podfence.policy.ends import AddressEnd, NodeEnd, PodEnd
from podfence.policy.engine import Bound
from podfence.policy.reasons import reason
from podfence.policy.verdict import Decision, Direction
from podfence.sets import AddressSet, PortSet
from podfence.sets.addresses import format_address
from podfence.sets.ports import LAST_PORT, OTHER_POINT, PROTOCOLS, point

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable, Iterator

    from podfence.cluster.members import Member
    from podfence.policy.ends import End
    from podfence.policy.model import Model

_T = TypeVar("_T")

_FIRST_UNDECLARED: Final = 4000
_TRIED: Final[dict[str, Kind]] = {"TCP": "tcp", "UDP": "udp"}
_ITSELF, _OWN_NODE, _OTHER_NODE = "itself", "its own node", "another node"


class Port(NamedTuple):
    """A port to try: a point as in `podfence.sets.ports`, the probe's kind and number, and what it is called."""

    point: int
    probe: Kind
    number: int
    text: str
    kind: str

    @property
    def question(self) -> PortQuestion:
        """This port alone, as a question about connections has it."""
        return PortQuestion(self.text, PortSet(((self.point, self.point),)))


class Attempt(NamedTuple):
    """One connection to try, and whether it is expected to get there.

    Where nothing is `answered`, none would get there without policies either: no backend is behind a NodePort.
    """

    source: Spot
    destination: Spot
    source_group: str
    destination_group: str
    port: Port
    expected: bool
    answered: bool = True


class Schedule(NamedTuple):
    """Everything to try, and what is left out."""

    attempts: tuple[Attempt, ...]
    left_out: tuple[LeftOut, ...]


def schedule(model: Model, reserved: AddressSet, *, all_pairs: bool) -> Schedule:
    """Return what to try in the cluster of a model.

    For each pair of groups there is a connection inside one node and one between nodes, where there can
    be; every pod is tried as either end, and with itself. `all_pairs` tries every pod with every pod.
    Connections that no policy can concern (neither end is a pod to policies, semantics 1.3) are not tried.
    """
    planner = _Planner(model, reserved)
    attempts = (*planner.with_pods(all_pairs=all_pairs), *planner.from_outside())
    return Schedule(attempts, tuple(planner.left_out))


class _Planner:
    """Finds pairs of ends, gives them ports, and asks the engine about each kind of connection once.

    `left_out` is what is not tried, as far as it is known by now.
    """

    def __init__(self, model: Model, reserved: AddressSet) -> None:
        self._model = model
        self._engine = model.engine
        self._groups, self._nodes, left_out = spots(model)
        families = {spot.family for group in self._groups for pod in group.pods for spot in pod.spots}
        addresses, without = outside(model.engine, families, reserved)
        self._outside = tuple(outside_spot(model, number) for number in addresses)
        left_out += [LeftOut(text, "none of its addresses is outside of the cluster") for text in without]
        for group in self._groups:
            if numbers := sorted({p.number for p in group.pods[0].member.ports if p.protocol not in _TRIED}):
                ports = ", ".join(f"SCTP {number}" for number in numbers)
                left_out.append(LeftOut(f"{group.name} {ports}", "SCTP is not tried"))
        self.left_out = dict.fromkeys(left_out)
        self._undeclared = self._undeclared_ports()
        self._led = node_ports(model.state)
        self._node_ports = tuple(_as_ports(self._led))
        self._ports: dict[Hashable, tuple[Port, ...]] = {}
        self._rulings: dict[Hashable, tuple[PortSet, PortSet]] = {}
        self._turn = count()

    # Pairs

    def with_pods(self, *, all_pairs: bool) -> Iterator[Attempt]:
        """Yield the connections that have a pod at one end or at both, those with outside last."""
        for one, other in product(self._groups, repeat=2):
            if one.judged or other.judged:
                chosen = product(one.pods, other.pods) if all_pairs else self._representatives(one, other)
                for left, right in chosen:
                    # A hostNetwork pod is its node, and to the pods there more than others (semantics 7.3, 7.6).
                    here = " on its own node" if left.member.node == right.member.node else ""
                    source = one.name + ("" if one.judged else here)
                    destination = _ITSELF if left is right else other.name + ("" if other.judged else here)
                    yield from self._between(left.spots, right.spots, source, destination, self._ports_of(right))
        for group in self._groups:
            if group.judged:
                for pod in group.pods if all_pairs else (group.pods[next(self._turn) % len(group.pods)],):
                    yield from self._with_nodes(group, pod)
                    yield from self._with_outside(group, pod)

    def _representatives(self, one: Group, other: Group) -> Iterable[tuple[PodSpots, PodSpots]]:
        """Return pods of two groups, one pair inside a node and one between nodes, others each time.

        Of one group every pod is tried with the next one and with itself, so that none is left untried.
        """
        found: dict[tuple[PodSpots, PodSpots], None] = {}
        if one is other:
            found |= dict.fromkeys((pod, pod) for pod in one.pods)
            found |= dict.fromkeys(zip(one.pods, (*one.pods[1:], one.pods[0]), strict=True))
        turn = next(self._turn)
        for same in (True, False):
            candidates = (
                (left, right)
                for here in _rotated(one.by_node, turn)
                for there in _rotated(other.by_node, turn)
                if (here == there) is same
                for left in _rotated(one.by_node[here], turn)
                for right in _rotated(other.by_node[there], turn)
                if left is not right
            )
            found |= dict.fromkeys(islice(candidates, 1))
        return found

    def _with_nodes(self, group: Group, pod: PodSpots) -> Iterator[Attempt]:
        """Yield a pod with its own node and with another one, both ways (semantics 7.3 to 7.5)."""
        node = pod.member.node
        own = [spot for spot in self._nodes if node and spot.node == node]
        others = _rotated([spot for spot in self._nodes if spot.node != node], next(self._turn))
        other = [spot for spot in others if spot.node == others[0].node]
        # Those that its policies name and others, and NodePorts.
        ports = tuple(dict.fromkeys((*self._ports_outside(pod.member), *self._node_ports)))
        for ends, name in ((own, _OWN_NODE), (other, _OTHER_NODE)):
            yield from self._between(ends, pod.spots, name, group.name, self._ports_of(pod))
            yield from self._between(pod.spots, ends, group.name, name, ports)

    def _with_outside(self, group: Group, pod: PodSpots) -> Iterator[Attempt]:
        for spot in self._outside:
            yield from self._between((spot,), pod.spots, spot.name, group.name, self._ports_of(pod))
            yield from self._between(pod.spots, (spot,), group.name, spot.name, self._ports_outside(pod.member))

    def from_outside(self) -> Iterator[Attempt]:
        """Yield what comes from outside to NodePorts and hostPorts, at each node (semantics 7.16)."""
        for spot in self._outside if self._node_ports else ():
            for node in self._nodes:
                name = f"NodePorts and hostPorts of {node.name}"
                yield from self._between((spot,), (node,), spot.name, name, self._node_ports)

    def _between(
        self, left: Iterable[Spot], right: Iterable[Spot], left_name: str, right_name: str, ports: tuple[Port, ...]
    ) -> Iterator[Attempt]:
        """Yield the connections of ends of one family, one for each port; what the engine leaves open is left out."""
        for source, destination in product(left, right):
            if source.family == destination.family:
                ruling = self._ruling(source, destination)
                for port in ports:
                    arrives, answered, depends = self._expected(source, destination, port, *ruling)
                    if not depends:
                        yield Attempt(source, destination, left_name, right_name, port, arrives, answered)
                        continue
                    what = f"{left_name} -> {right_name} {port.kind}"
                    self.left_out[LeftOut(what, f"it depends on {depends}")] = None

    # Ports

    def _undeclared_ports(self) -> tuple[Port, ...]:
        """Return a TCP and a UDP port that no pod declares and, if there is one, no policy names, and ICMP."""
        declared = {point(port.protocol, port.number) for m in self._model.state.members.values() for port in m.ports}
        named = PortSet.union(
            PortSet(tuple(_named(grant.ports)))
            for namespace in self._model.state.namespaces
            for policy in self._engine.policies(namespace)
            for grant in chain.from_iterable(policy.grants.values())
        )
        found = []
        for protocol in _TRIED:
            numbers = [point(protocol, number) for number in range(_FIRST_UNDECLARED, LAST_PORT + 1)]
            free = [number for number in numbers if number not in declared]
            chosen = next((number for number in free if number not in named), free[0])
            found.append(_port(chosen)._replace(kind=f"other {protocol}"))
        return (*found, Port(OTHER_POINT, "icmp", 0, "ICMP", "ICMP"))

    def _ports_of(self, pod: PodSpots) -> tuple[Port, ...]:
        """Return what a pod declares, what policies for its ingress name, and what nobody does."""
        likeness = (pod.spots[0].likeness, pod.member.ports)
        if likeness not in self._ports:
            points = {point(item.protocol, item.number) for item in pod.member.ports}
            if isinstance(pod.spots[0].end, PodEnd):
                points |= self._points_named(Direction.INGRESS, pod.member)
            self._ports[likeness] = (*_as_ports(points), *self._undeclared)
        return self._ports[likeness]

    def _ports_outside(self, member: Member) -> tuple[Port, ...]:
        """Return the ports to try outside from a pod: those that policies for its egress name, and others."""
        return (*_as_ports(self._points_named(Direction.EGRESS, member)), *self._undeclared)

    def _points_named(self, direction: Direction, member: Member) -> set[int]:
        return {
            number
            for policy in self._engine.applicable(direction, member)
            for grant in policy.grants[direction]
            for span in _named(grant.ports)
            for number in span
        }

    # Expectations

    def _expected(
        self, source: Spot, destination: Spot, port: Port, low: PortSet, high: PortSet
    ) -> tuple[bool, bool, str]:
        """Return whether a connection is to get there, and whether something answers there without policies.

        The third is what that depends on, "" if the engine knows.
        """
        if isinstance(destination.end, NodeEnd) and port.point in self._led:
            # A NodePort or hostPort may lead to any backend (semantics 7.16).
            ends = _endpoint(source.end), _endpoint(destination.end)
            parts = judged(self._engine, *ends, port.question)
            decisions = {part.decision for part in parts}
            if len(decisions) == 1 and Decision.DEPENDS not in decisions:
                is_allowed = decisions == {Decision.ALLOWED}
                # What no policy denies is denied because there is no backend (semantics 7.7, 7.16).
                return is_allowed, is_allowed or not all(part.plain for part in parts), ""
            return False, True, "the pod that answers"
        if port.point in high and port.point not in low:
            reasons = (reason(self._engine, side, source.end, destination.end, port.point) for side in Direction)
            options = dict.fromkeys(name for item in reasons for name in item.options)
            return False, True, f"option {', '.join(options)}"
        return port.point in low, True, ""

    def _ruling(self, source: Spot, destination: Spot) -> tuple[PortSet, PortSet]:
        ends = (source.end, destination.end)
        own = source.node == destination.node and any(isinstance(end, NodeEnd) for end in ends)
        key = (source.likeness, destination.likeness, own, source.place == destination.place)
        found = self._rulings.get(key)
        if found is None:
            low, high = (self._engine.allowed(*ends, bound) for bound in (Bound.PESSIMISTIC, Bound.OPTIMISTIC))
            found = self._rulings[key] = (low, high)
        return found


def explained(model: Model, attempt: Attempt) -> str:
    """Return the deciding clauses of both directions of a connection, as one line."""
    ends = (attempt.source.end, attempt.destination.end)
    if isinstance(ends[1], NodeEnd) and attempt.port.point in node_ports(model.state):
        return check(model.engine, _endpoint(ends[0]), _endpoint(ends[1]), attempt.port.question).reason
    return " | ".join(str(reason(model.engine, side, *ends, attempt.port.point)) for side in Direction)


def _endpoint(end: End) -> Endpoint:
    """Return an end of a connection as one of a question."""
    match end:
        case PodEnd(member=member, address=int(address)):
            return PodsEndpoint(member.name, (replace(member, addresses=(address,)),))
        case NodeEnd(name=name, address=int(address)):
            return NodeEndpoint(f"node:{name}", name, (address,))
        case AddressEnd(address=address):
            return AddressesEndpoint(format_address(address), AddressSet.single(address))
    message = f"{end} has no address"
    raise ValueError(message)


def _named(ports: PortSet) -> Iterator[tuple[int, int]]:
    """Yield the ranges of TCP and UDP that a rule names; a whole protocol is not named."""
    for first, last in ports.spans:
        if first >> 16 < len(_TRIED) and (first & LAST_PORT, last & LAST_PORT) != (1, LAST_PORT):
            yield first, last


def _as_ports(points: Iterable[int]) -> Iterator[Port]:
    yield from (_port(number) for number in sorted(points) if number >> 16 < len(_TRIED))


def _port(number: int) -> Port:
    protocol = PROTOCOLS[number >> 16]
    text = f"{protocol} {number & LAST_PORT}"
    return Port(number, _TRIED[protocol], number & LAST_PORT, text, text)


def _rotated(items: Iterable[_T], by: int) -> list[_T]:
    found = list(items)
    start = by % len(found) if found else 0
    return found[start:] + found[:start]
