# SPDX-License-Identifier: Apache-2.0
"""Who can reach whom: the listing of a whole cluster, of one end, or pod by pod."""

from __future__ import annotations

from collections import defaultdict
from itertools import chain
from typing import TYPE_CHECKING

from msgspec.structs import replace

from podfence.analysis.absent import absent_connections, absent_groups, absent_pods
from podfence.analysis.answers import Connection, Connectivity, Endpoints, Group, Matrix, PodConnection
from podfence.analysis.asked import Asked, ListQuestion, Side, ports_into
from podfence.analysis.endpoints import alone
from podfence.analysis.naming import Namer, as_ports, group_names
from podfence.analysis.view import counts_of
from podfence.cluster.members import display_name
from podfence.policy.verdict import Direction
from podfence.sets import AddressSet, members

if TYPE_CHECKING:
    from collections.abc import Iterator

    from podfence.analysis.absent import AbsentGroup
    from podfence.analysis.lines import Line, Progress
    from podfence.analysis.view import View
    from podfence.cluster.members import Member
    from podfence.policy.model import Model


def connectivity(
    model: Model, question: ListQuestion, progress: Progress | None = None, notes: tuple[str, ...] = ()
) -> Connectivity:
    """Return the connectivity as named sets; raises EndpointError for ends that cannot be listed.

    `notes` become those of the answer.
    """
    asked = Asked(model, question)
    view = asked.view
    namer = Namer(view.index, asked.internet)
    open_sources, open_destinations = (asked.reach.open_pods(d) for d in (Direction.EGRESS, Direction.INGRESS))
    named = []
    for side, line in asked.lines(progress):
        own = asked.own(line.destinations)
        if own and line.sources == own and not line.source_addresses:
            continue
        named.append(
            Connection(
                sources=namer.endpoints(
                    line.sources, line.source_addresses, opened=open_sources, optional=own, only=asked.source.only
                ),
                destinations=namer.endpoints(
                    line.destinations, line.destination_addresses, opened=open_destinations, only=side.only
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
        **counts_of(view.engine)._asdict(),
        absent=absent_connections(asked, namer),
        notes=notes,
        unknown=(*asked.doubts.unknown, *asked.unread.unknown),
    )


def pod_connections(model: Model, question: ListQuestion) -> Iterator[PodConnection]:
    """Return the connectivity between single pods, and between pods and blocks of addresses.

    What cannot be asked is refused at once, and what is yielded later is the answer of the time of the call.
    """
    asked = Asked(model, question)
    pods = {
        number: sorted((display_name(key), member) for key, member in item.members.items())
        for number, item in asked.view.index.classes.items()
    }
    judged = asked.view.engine.options.self_traffic == "policy" and not asked.to_service
    lines = sorted(asked.lines(), key=lambda found: _sort_key(pods, found[1]))
    return chain(_expand(lines, asked.source, pods, judged=judged), _absent(asked, pods, absent_groups(asked)))


_Pods = dict[int, list[tuple[str, "Member"]]]
"""The pods of each class with their names, in order."""


def _expand(found: list[tuple[Side, Line]], source: Side, pods: _Pods, *, judged: bool) -> Iterator[PodConnection]:
    for side, line in found:
        ports = as_ports(line.ports)
        senders = _expanded(pods, line.sources, line.source_addresses, source.only)
        for receiver, receiving in _expanded(pods, line.destinations, line.destination_addresses, side.only):
            for sender, sending in senders:
                if judged or sending is None or sending is not receiving or sending.pod is None:
                    yield PodConnection(sender, receiver, ports, line.depends)


def _absent(asked: Asked, pods: _Pods, groups: dict[AbsentGroup, int]) -> Iterator[PodConnection]:
    """Yield what rules admit with pods of which none is in the input, for each pod that has such rules."""
    found = ((item, str(absent_pods(item.peers, some_here=item.some_here)), bits) for item, bits in groups.items())
    for item, peers, bits in sorted(found, key=lambda one: (one[0].direction, one[1], one[0].ports.spans, one[0][4:])):
        for name, _ in _expanded(pods, bits, AddressSet.EMPTY, asked.only(item.direction)):
            yield PodConnection(*item.direction.ordered(name, peers), as_ports(item.ports), item.depends, item.names)


def matrix(model: Model, question: ListQuestion) -> Matrix:
    """Return the grid of all workloads for a port; None asks about every port."""
    asked = Asked(model, replace(question, source=None, destination=None, namespaces=None))
    view = asked.view
    namer = Namer(view.index)
    cells: dict[tuple[int, int], str] = {}
    for _, line in asked.lines():
        for number in members(line.destinations):
            everything = ports_into(view, question.port, number) <= line.ports
            symbol = "?" if line.depends else "." if everything else "~"
            for other in members(line.sources):
                known = cells.get((other, number))
                cells[other, number] = symbol if known is None else "?" if "?" in (known, symbol) else "~"
    wanted = [
        (name, pod_class.id)
        for pod_class in view.index.classes.values()
        for name in namer.names(1 << pod_class.id)
        if question.namespaces is None or pod_class.namespace in question.namespaces
    ]
    wanted.sort()
    alone = _single_pods(view) if view.engine.options.self_traffic == "allowed" else set()
    rows = tuple(
        "".join(
            "." if name == other and (name.partition("[")[0], row) in alone else cells.get((row, column), "X")
            for other, column in wanted
        )
        for name, row in wanted
    )
    return Matrix(tuple(name for name, _ in wanted), rows)


def _single_pods(view: View) -> set[tuple[str, int]]:
    """Return (name, class) of what is a single pod in its class: it always reaches itself (semantics 7.1)."""
    found: dict[tuple[str, int], list[Member]] = defaultdict(list)
    for pod_class in view.index.classes.values():
        for member in pod_class.members.values():
            found[display_name(member.owner), pod_class.id].append(member)
    return {place for place, pods in found.items() if alone(pods)}


def _sort_key(pods: _Pods, line: Line) -> tuple[object, ...]:
    def first(bits: int) -> str:
        return min((pods[number][0][0] for number in members(bits)), default="")

    return first(line.destinations), first(line.sources), line.ports.spans, line.depends


def _expanded(
    pods: _Pods, bits: int, addresses: AddressSet, only: frozenset[str] | None
) -> list[tuple[str, Member | None]]:
    found: list[tuple[str, Member | None]] = [
        item for number in members(bits) for item in pods[number] if only is None or item[0] in only
    ]
    found.sort(key=lambda item: item[0])
    return found + [(text, None) for text in addresses.cidrs()]


def _grouped(found: list[Connection]) -> tuple[tuple[Connection, ...], tuple[Group, ...]]:
    """Put connections in order, and name long sets of pods that several of them use."""
    found.sort(key=lambda item: (item.destinations.items(), item.sources.items(), str(item.ports), item.depends))
    sides = (_pods_of(side) for item in found for side in (item.sources, item.destinations))
    names = group_names(sides, lambda side: len(side.items()))
    connections = [
        replace(
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
    return replace(side, groups=(group,), open_pods=False, namespaces=(), workloads=())


def _definition(namer: Namer, opened: int, used: list[Endpoints]) -> Endpoints:
    """Return what "open pods" stands for, nothing if no connection says it."""
    return namer.endpoints(opened) if any(side.open_pods or side.groups for side in used) else Endpoints()
