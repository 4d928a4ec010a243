# SPDX-License-Identifier: Apache-2.0
"""Who can reach whom: the listing of a whole cluster, of one end, or pod by pod."""

from __future__ import annotations

from collections import Counter, defaultdict
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import msgspec

from podfence.analysis.answers import Connection, Connectivity, Endpoints, Group, Matrix, PodConnection
from podfence.analysis.endpoints import AddressesEndpoint, Endpoint, NodeEndpoint, PodsEndpoint, ServiceEndpoint
from podfence.analysis.lines import Line, Question, lines
from podfence.analysis.naming import Namer, as_ports, owner_key
from podfence.cluster.members import display_name
from podfence.cluster.services import selected
from podfence.errors import EndpointError
from podfence.policy.model import Model
from podfence.policy.reach import Reach
from podfence.policy.verdict import Direction
from podfence.sets import AddressSet, PortSet, members

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

    from podfence.analysis.ports import PortQuestion
    from podfence.cluster.members import Member

_LONG = 6
"""A set with more members than this that several connections use is named once, as a group."""


@dataclass(frozen=True, slots=True)
class ListQuestion:
    """What to list: optionally one end or both, ports, and namespaces one of which an end must be in."""

    source: Endpoint | None
    destination: Endpoint | None
    port: PortQuestion
    namespaces: Collection[str] | None


@dataclass(frozen=True, slots=True)
class _End:
    """One end of a listing: classes, addresses outside, and the names to show (None for all)."""

    bits: int
    addresses: AddressSet
    only: frozenset[str] | None


def connectivity(
    model: Model, question: ListQuestion, progress: Callable[[float, int], None] | None = None
) -> Connectivity:
    """Return the connectivity as named sets; raises EndpointError for ends that cannot be listed.

    `progress` is that of `podfence.analysis.lines.lines`.
    """
    model = _telling_apart(model, question)
    with _present(model, question):
        source, destination = _end(model, question.source), _end(model, question.destination)
        asked = (end for end in (question.source, question.destination) if isinstance(end, AddressesEndpoint))
        internet = next((end.addresses for end in asked if end.name == "internet"), AddressSet.EMPTY)
        namer = Namer(model.index, internet)
        reach = Reach(model.engine, model.index)
        found = lines(model, reach, _question(model, question, source, destination), progress)
        open_sources, open_destinations = (reach.open_pods(d) for d in (Direction.EGRESS, Direction.INGRESS))
        named = []
        for line in found:
            own = _own(model, line)
            if own and line.sources == own and not line.source_addresses:
                continue
            named.append(
                Connection(
                    sources=namer.endpoints(
                        line.sources, line.source_addresses, opened=open_sources, optional=own, only=source.only
                    ),
                    destinations=namer.endpoints(
                        line.destinations, line.destination_addresses, opened=open_destinations, only=destination.only
                    ),
                    ports=as_ports(line.ports),
                    depends=line.depends,
                )
            )
        connections, groups = _grouped(named)
        return Connectivity(
            connections=connections,
            groups=groups,
            open_sources=_definition(namer, open_sources, [item.sources for item in connections]),
            open_destinations=_definition(namer, open_destinations, [item.destinations for item in connections]),
            workloads=namer.count(),
            pods=sum(len(item.members) for item in model.index.classes.values()),
            policies=sum(len(table) for table in model.state.policies.values()),
        )


def pod_connections(model: Model, question: ListQuestion) -> Iterator[PodConnection]:
    """Yield the connectivity between single pods, and between pods and blocks of addresses."""
    model = _telling_apart(model, question)
    with _present(model, question):
        source, destination = _end(model, question.source), _end(model, question.destination)
        found = lines(model, Reach(model.engine, model.index), _question(model, question, source, destination))
        for line in sorted(found, key=lambda line: _sort_key(model, line)):
            ports = as_ports(line.ports)
            senders = _expanded(model, line.sources, line.source_addresses, source.only)
            judged = model.engine.options.self_traffic == "policy"
            for receiver, receiving in _expanded(
                model, line.destinations, line.destination_addresses, destination.only
            ):
                for sender, sending in senders:
                    if judged or sending is None or sending is not receiving or sending.pod is None:
                        yield PodConnection(sender, receiver, ports, line.depends)


def matrix(model: Model, question: ListQuestion) -> Matrix:
    """Return the grid of all workloads for a port; None asks about every port."""
    model = _telling_apart(model, question)
    namer = Namer(model.index)
    base = _question(model, replace(question, namespaces=None), *(_End(model.index.all, AddressSet.EMPTY, None),) * 2)
    cells: dict[tuple[int, int], str] = {}
    for line in lines(model, Reach(model.engine, model.index), base):
        for number in members(line.destinations):
            symbol = "?" if line.depends else "." if base.ports_into(number) <= line.ports else "~"
            for other in members(line.sources):
                cells[other, number] = symbol if (other, number) not in cells else "~"
    wanted = [
        (name, pod_class.id)
        for pod_class in model.index.classes.values()
        for name in namer.names(1 << pod_class.id)
        if question.namespaces is None or pod_class.namespace in question.namespaces
    ]
    wanted.sort()
    alone = _single_pods(model) if model.engine.options.self_traffic == "allowed" else set()
    rows = []
    for name, row in wanted:
        itself = name.partition("[")[0]
        rows.append(
            "".join(
                "." if name == other and (itself, row) in alone else cells.get((row, column), "X")
                for other, column in wanted
            )
        )
    return Matrix(tuple(name for name, _ in wanted), tuple(rows))


def _single_pods(model: Model) -> set[tuple[str, int]]:
    """Return (name, class) of what is a single pod in its class: it always reaches itself (semantics 7.1)."""
    found: dict[tuple[str, int], list[Member]] = defaultdict(list)
    for pod_class in model.index.classes.values():
        for member in pod_class.members.values():
            found[display_name(owner_key(member)), pod_class.id].append(member)
    return {place for place, pods in found.items() if _alone(pods)}


def _sort_key(model: Model, line: Line) -> tuple[object, ...]:
    def first(bits: int) -> str:
        return min((display_name(k) for n in members(bits) for k in model.index.classes[n].members), default="")

    return first(line.destinations), first(line.sources), line.ports.spans, line.depends


def _expanded(
    model: Model, bits: int, addresses: AddressSet, only: frozenset[str] | None
) -> list[tuple[str, Member | None]]:
    found: list[tuple[str, Member | None]] = [
        (display_name(member.key), member)
        for number in members(bits)
        for member in model.index.classes[number].members.values()
        if only is None or display_name(member.key) in only
    ]
    found.sort(key=lambda item: item[0])
    return found + [(text, None) for text in addresses.cidrs()]


def _own(model: Model, line: Line) -> int:
    """Return the destination's class if it is a single pod: it always reaches itself (semantics 7.1)."""
    if model.engine.options.self_traffic == "allowed" and line.destinations.bit_count() == 1:
        number = line.destinations.bit_length() - 1
        if _alone(model.index.classes[number].members.values()):
            return line.destinations
    return 0


def _alone(found: Collection[Member]) -> bool:
    return len(found) == 1 and all(member.pod is not None for member in found)


def _telling_apart(model: Model, question: ListQuestion) -> Model:
    """Return a model whose classes tell pods apart by the named port asked about (semantics 5.4).

    It is one of its own, because those who follow the changes of `model` know its classes by number.
    """
    if not question.port.name:
        return model
    own = Model(model.engine)
    own.index.look_at((), (question.port.name,), ())
    return own


@contextmanager
def _present(model: Model, question: ListQuestion) -> Iterator[None]:
    """Let hypothetical pods be in the index while a question is answered."""
    extra = {
        member.key: member
        for endpoint in (question.source, question.destination)
        if isinstance(endpoint, PodsEndpoint) and endpoint.hypothetical
        for member in endpoint.members
    }
    for member in extra.values():
        model.index.add(member)
    try:
        yield
    finally:
        for key in extra:
            model.index.remove(key)


def _end(model: Model, endpoint: Endpoint | None) -> _End:
    match endpoint:
        case None:
            return _End(model.index.all, AddressSet.ALL, None)
        case AddressesEndpoint(addresses=addresses):
            return _End(0, addresses, None)
        case NodeEndpoint(name=name):
            message = f"{name}: list shows pods and addresses outside; ask `podfence check` about a node"
            raise EndpointError(message)
        case ServiceEndpoint(service=service):
            found = tuple(selected(model.state, service))
        case PodsEndpoint(members=found):
            pass
    bits = 0
    names = set()
    for member in found:
        pod_class = model.index.class_of(member.key)
        if pod_class is None:
            message = (
                f"{display_name(member.key)} is a hostNetwork pod, part of its node; ask `podfence check` about it"
            )
            raise EndpointError(message)
        bits |= 1 << pod_class.id
        names |= {display_name(owner_key(member)), display_name(member.key)}
    return _End(bits, AddressSet.EMPTY, frozenset(names))


def _question(model: Model, question: ListQuestion, source: _End, destination: _End) -> Question:
    blocks: tuple[tuple[int, int], ...] = ((destination.bits, source.bits),)
    inside_sources, inside_destinations = source.bits, destination.bits
    if question.namespaces is not None:
        shown = 0
        for name in question.namespaces:
            shown |= model.index.in_namespace(name)
        blocks = ((destination.bits & shown, source.bits), (destination.bits & ~shown, source.bits & shown))
        inside_sources &= shown
        inside_destinations &= shown
    return Question(
        blocks,
        inside_sources,
        inside_destinations,
        source.addresses,
        destination.addresses,
        lambda number: _asked(model, question.port, number),
    )


def _asked(model: Model, port: PortQuestion, number: int | None) -> PortSet:
    """Return the ports a question asks about at a destination class; names are looked up on its pods."""
    if not port.name:
        return port.ports
    result = PortSet.EMPTY
    for member in model.index.classes[number].members.values() if number is not None else ():
        for item in member.ports:
            if item.name == port.name and port.protocol in ("", item.protocol):
                result |= PortSet.single(item.protocol, item.number)
    return result


def _grouped(found: list[Connection]) -> tuple[tuple[Connection, ...], tuple[Group, ...]]:
    """Put connections in order, and name long sets of pods that several of them use."""
    found.sort(key=lambda item: (item.destinations.items(), item.sources.items(), str(item.ports), item.depends))
    sides = [_pods_of(side) for item in found for side in (item.sources, item.destinations)]
    uses = Counter(sides)
    names: dict[Endpoints, str] = {}
    for side in sides:
        if uses[side] > 1 and len(side.items()) > _LONG and side not in names:
            names[side] = f"G{len(names) + 1}"
    connections = [
        msgspec.structs.replace(
            item,
            sources=_with_group(item.sources, names.get(_pods_of(item.sources))),
            destinations=_with_group(item.destinations, names.get(_pods_of(item.destinations))),
        )
        for item in found
    ]
    return tuple(connections), tuple(Group(name, side) for side, name in names.items())


def _pods_of(side: Endpoints) -> Endpoints:
    """Return the part of a set that groups can name."""
    return Endpoints(open_pods=side.open_pods, namespaces=side.namespaces, workloads=side.workloads)


def _with_group(side: Endpoints, group: str | None) -> Endpoints:
    if group is None:
        return side
    return msgspec.structs.replace(side, groups=(group,), open_pods=False, namespaces=(), workloads=())


def _definition(namer: Namer, opened: int, used: list[Endpoints]) -> Endpoints:
    """Return what "open pods" stands for, nothing if no connection says it."""
    return namer.endpoints(opened) if any(side.open_pods or side.groups for side in used) else Endpoints()
