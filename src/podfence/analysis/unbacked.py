# SPDX-License-Identifier: Apache-2.0
"""Services behind which nothing in the input is: what may answer for them (semantics 13.7)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from msgspec.structs import replace

from podfence.analysis.endpoints import AddressesEndpoint, PodsEndpoint
from podfence.analysis.pairs import NoCommonFamilyError, pairs
from podfence.analysis.paths import Step, arrivals
from podfence.analysis.services import hides_clients, node_sources, ports_behind, service_ports
from podfence.cluster.members import Member
from podfence.cluster.services import recorded, selected
from podfence.kube.objects import Key
from podfence.policy import unknown
from podfence.policy.ends import AddressEnd, PodEnd
from podfence.sets import AddressSet

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from podfence.analysis.endpoints import Endpoint, ServiceEndpoint
    from podfence.analysis.pairs import Pair
    from podfence.analysis.paths import Entry
    from podfence.analysis.ports import PortQuestion
    from podfence.policy.ends import End
    from podfence.policy.engine import Engine
    from podfence.sets import PortSet


_ANYTHING: Final = AddressSet.single(AddressSet.V4.spans[0][0]) | AddressSet.single(AddressSet.V6.spans[0][0])
"""What stands for anything, in both families."""


def has_unknown_backends(engine: Engine, destination: ServiceEndpoint) -> bool:
    """Return whether a Service may have backends that were not read, since none was.

    A cluster keeps an EndpointSlice of every Service with a selector, and leaves it empty while no pod has the labels.
    """
    service = destination.service
    kind = "EndpointSlice" if service.selector is None else "Pod"
    read = selected(engine.state, service) or recorded(engine.state, service.namespace, service.name)
    return engine.world.is_open(kind) and not read


def unbacked(
    engine: Engine, source: Endpoint, destination: ServiceEndpoint, behind: Iterable[PortSet]
) -> Iterator[Step]:
    """Yield the connections to whatever may be behind a Service, at the ports to which they are translated.

    That is a pod with the labels of its selector, and any others; without a selector it may be anything.
    """
    hidden = isinstance(source, AddressesEndpoint) and hides_clients(destination.service)
    option = engine.options.service_source if hidden else "client"
    for ports in dict.fromkeys(behind):
        for pair in _pairs(engine, source, destination):
            named = replace(pair, destination_name=destination.name)
            if not isinstance(pair.destination, PodEnd):
                # Of such an end nothing is sure for a pod, not even that it is there.
                sure = () if isinstance(pair.source, PodEnd) else pair.matter
                yield Step(replace(named, matter=sure, variant=pair.variant if sure else ""), ports)
                continue
            if option != "node":
                yield Step(named, ports)
            for end, name in node_sources(pair.destination) if option != "client" else ():
                yield Step(replace(named, source=end, source_name=name, addresses=None), ports)


def unbacked_at_node(
    engine: Engine, source: Endpoint, destination: ServiceEndpoint, behind: PortSet, entry: Entry, asked: PortSet
) -> Iterator[Step]:
    """Yield the same of a connection that a node leads there, which asked it at the ports `asked` (semantics 7.16)."""
    for pair in _pairs(engine, source, destination):
        is_pod = isinstance(pair.destination, PodEnd)
        # Of anything that may be behind it nobody can say that it does not run on the node.
        for step in arrivals(engine, pair, behind, replace(entry, local=entry.local and is_pod), asked):
            there = step.pair
            # Where it runs is a part of what is not known of it.
            its_node = unknown.node(pair.destination_name)
            yield step._replace(
                pair=replace(
                    there,
                    destination_name=destination.name,
                    arrival=there.arrival if is_pod else None,
                    matter=(*pair.matter, *(item for item in there.matter if item != its_node)),
                    variant=there.variant or pair.variant,
                )
            )


def _pairs(engine: Engine, source: Endpoint, destination: ServiceEndpoint) -> list[Pair]:
    service = destination.service
    what = unknown.backends(f"{service.namespace}/{service.name}")
    name = f"a backend of {destination.name}"
    stand_in: Endpoint = AddressesEndpoint(name, _ANYTHING)
    if service.selector is not None:
        member = Member(Key("Service", service.namespace, service.name), None, service.selector, ())
        stand_in = PodsEndpoint(name, (member,), hypothetical=True)
    try:
        connections = pairs(engine, source, stand_in)
    except NoCommonFamilyError:
        return []

    def behind(end: End) -> End:
        if isinstance(end, PodEnd):
            return replace(end, more=True, through_service=True)
        address = end.address if isinstance(end, AddressEnd) else 0
        return AddressEnd(address, name, behind=what)

    return [
        replace(
            pair,
            addresses=pair.addresses if isinstance(pair.source, AddressEnd) else None,
            destination=behind(pair.destination),
            destination_name=name,
            matter=(what,),
            variant="where something is behind it",
        )
        for pair in connections
    ]


def asked_behind(destination: ServiceEndpoint, port: PortQuestion) -> Iterator[PortSet]:
    """Yield the ports that pods behind a Service are asked at, for each of its ports that is asked about."""
    if destination.service.headless and not port.name:
        yield port.ports
        return
    for item in service_ports(destination, port):
        yield ports_behind(item)
