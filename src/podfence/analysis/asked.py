# SPDX-License-Identifier: Apache-2.0
"""What a listing is asked, as sets of classes, addresses and ports."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from msgspec import Struct
from msgspec.structs import replace

from podfence.analysis.absent import supposed_pods
from podfence.analysis.doubts import Doubts
from podfence.analysis.endpoints import AddressesEndpoint, Endpoint, NodeEndpoint, PodsEndpoint, ServiceEndpoint, alone
from podfence.analysis.lines import Line, Question, lines
from podfence.analysis.pairs import may_be_service_address
from podfence.analysis.routes import service_at
from podfence.analysis.services import Target, hides_clients, pods_of_headless, refuse_as_source, service_ports, targets
from podfence.analysis.source_ranges import limit_of
from podfence.analysis.unread import Unread
from podfence.analysis.view import View, view_of
from podfence.cluster.members import display_name
from podfence.errors import EndpointError
from podfence.policy.reach import Reach
from podfence.policy.verdict import Direction
from podfence.sets import AddressSet, PortSet, union

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

    from podfence.analysis.lines import Progress
    from podfence.analysis.ports import PortQuestion
    from podfence.cluster.members import Member
    from podfence.policy.model import Model


class ListQuestion(Struct, frozen=True):
    """What to list: optionally one end or both, ports, and namespaces one of which an end must be in.

    `absent`: also what rules admit with peers of which none is there, and pods that policies select if there is none.
    """

    source: Endpoint | None
    destination: Endpoint | None
    port: PortQuestion
    namespaces: Collection[str] | None
    absent: bool = True


class Side(Struct, frozen=True):
    """One end of a listing: classes, addresses outside, and the names to show (None for all).

    `ports` are those of the backends of a Service; None where the question's own are meant.
    """

    bits: int
    addresses: AddressSet
    only: frozenset[str] | None
    ports: PortSet | None = None


class Asked:
    """A question about a model, ready to be answered; destinations at different ports are sides of their own."""

    def __init__(self, model: Model, question: ListQuestion, *, unread_once: bool = False) -> None:
        """Work out what is meant; raises EndpointError for ends that cannot be listed.

        Lines say nothing of policies that were not read if that is said once for all (see `Unread`).
        """
        destination = question.destination
        if (
            destination is not None
            and (service := service_at(model.engine, destination, question.port.ports)) is not None
        ):
            question = replace(question, destination=service)
        ends = (question.source, question.destination)
        refuse_as_source(question.source)
        self.question = question
        whole = question.absent and ends == (None, None)
        self.view = view_of(model, ends, question.port.name, supposed_pods(model.engine) if whole else ())
        self.source = _side(self.view, question.source)
        self.destinations = tuple(_destinations(self.view, question))
        self._limit = limit_of(self.view, question.destination)
        self.reach = Reach(self.view.engine, self.view.index)
        self.doubts = Doubts(self.view, self.reach)
        self.unread = Unread(self.view, told_once=unread_once)
        asked = (end.addresses for end in ends if isinstance(end, AddressesEndpoint) and end.name == "internet")
        self.internet = next(asked, AddressSet.EMPTY)

    @property
    def to_service(self) -> bool:
        """Whether the destination is a Service; what a pod may send to itself is another question there."""
        return isinstance(self.question.destination, ServiceEndpoint)

    @property
    def classes(self) -> int:
        """The classes that are asked about."""
        return self.source.bits | union(side.bits for side in self.destinations)

    def own(self, destinations: int) -> int:
        """Return the destination's class if it is a single pod: it always reaches itself (semantics 7.1)."""
        allowed = self.view.engine.options.self_traffic == "allowed" or self.to_service
        if allowed and destinations.bit_count() == 1:
            found = self.view.index.classes[destinations.bit_length() - 1]
            return destinations if alone(found.members.values()) else 0
        return 0

    def subjects(self, direction: Direction) -> int:
        """Return the classes whose connections with pods that are not there are asked about.

        None, if they are not, or if the end that the pods would be is another one.
        """
        question = self.question
        if not question.absent or (question.destination if direction is Direction.EGRESS else question.source):
            return 0
        sides = (self.source,) if direction is Direction.EGRESS else self.destinations
        return union(side.bits for side in sides) & self._shown

    def only(self, direction: Direction) -> frozenset[str] | None:
        """Return the names to show of those classes, None for all."""
        if direction is Direction.EGRESS:
            return self.source.only
        found = [side.only for side in self.destinations]
        return None if None in found else frozenset().union(*filter(None, found))

    @property
    def _shown(self) -> int:
        index, names = self.view.index, self.question.namespaces
        return index.all if names is None else union(map(index.in_namespace, names))

    def lines(self, progress: Progress | None = None) -> Iterator[tuple[Side, Line]]:
        """Yield the connections asked about, each with its destinations; each pair and port is in one line at most."""
        for side in self.destinations:
            for line in lines(self.view, self.reach, self.doubts, self.unread, self._to(side), progress):
                yield side, line

    def _to(self, destination: Side) -> Question:
        question, shown = self.question, self._shown
        blocks = (
            (destination.bits & shown, self.source.bits),
            (destination.bits & ~shown, self.source.bits & shown),
        )
        ports = destination.ports
        service = question.destination.service if isinstance(question.destination, ServiceEndpoint) else None
        return Question(
            blocks,
            self.source.bits & shown,
            destination.bits & shown,
            self.source.addresses,
            destination.addresses,
            (lambda number: ports_into(self.view, question.port, number)) if ports is None else (lambda _: ports),
            hidden=service is not None and hides_clients(service),
            no_pods=isinstance(question.source, AddressesEndpoint)
            and question.destination is not None
            and not destination.bits,
            limit=self._limit,
        )


def ports_into(view: View, port: PortQuestion, number: int | None) -> PortSet:
    """Return the ports a question asks about at a destination class; names are looked up on its pods."""
    return port.on(view.index.classes[number].members.values() if number is not None else ())


def _destinations(view: View, question: ListQuestion) -> Iterator[Side]:
    end = question.destination
    if not isinstance(end, ServiceEndpoint):
        outside = isinstance(question.source, AddressesEndpoint)
        if end is not None and may_be_service_address(view.engine, end) and not outside:
            message = (
                f"{end.name} may be the address of a Service that was not read, and list shows what was; "
                "ask `podfence check` about it"
            )
            raise EndpointError(message)
        yield _side(view, end)
        return
    members = pods_of_headless(view.engine.state, end)
    if members is not None:
        yield _pods(view, members)
        return
    found = [target for item in service_ports(end, question.port) for target in targets(view.engine, end, item)]
    for ports, several in _by_ports(found).items():
        yield _backends(view, several, ports)


def _by_ports(found: Iterable[Target]) -> dict[PortSet, list[Target]]:
    """Return each backend of a Service once, by all its ports that are asked about."""
    ports: dict[str, PortSet] = defaultdict(lambda: PortSet.EMPTY)
    ends: dict[str, Target] = {}
    for target in found:
        ports[target.endpoint.name] |= target.ports
        ends[target.endpoint.name] = target
    result: dict[PortSet, list[Target]] = defaultdict(list)
    for name, target in ends.items():
        result[ports[name]].append(target)
    return result


def _backends(view: View, found: Iterable[Target], ports: PortSet) -> Side:
    members: list[Member] = []
    addresses = AddressSet.EMPTY
    for target in found:
        if target.unread:
            message = f"{target.endpoint.name} was not read, and list shows what was; ask `podfence check` about it"
            raise EndpointError(message)
        match target.endpoint:
            case PodsEndpoint(members=pods):
                members += pods
            case AddressesEndpoint(addresses=outside):
                addresses |= outside
            case other:
                _side(view, other)
    side = _pods(view, members)
    return Side(side.bits, addresses, side.only, ports)


def _side(view: View, endpoint: Endpoint | None) -> Side:
    match endpoint:
        case None:
            return Side(view.index.all, AddressSet.ALL, None)
        case AddressesEndpoint(addresses=addresses):
            return Side(0, addresses, None)
        case PodsEndpoint(members=found, whole=whole):
            return replace(_pods(view, found), only=None) if whole else _pods(view, found)
        case other:
            what = "a node" if isinstance(other, NodeEndpoint) else "it"
            message = f"{other.name}: list shows pods and addresses outside; ask `podfence check` about {what}"
            raise EndpointError(message)


def _pods(view: View, found: Iterable[Member]) -> Side:
    bits = 0
    names = set()
    for member in found:
        pod_class = view.index.class_of(member.key)
        if pod_class is None:
            message = (
                f"{display_name(member.key)} is a hostNetwork pod, part of its node; ask `podfence check` about it"
            )
            raise EndpointError(message)
        bits |= 1 << pod_class.id
        names |= {display_name(member.owner), display_name(member.key)}
    return Side(bits, AddressSet.EMPTY, frozenset(names))
