# SPDX-License-Identifier: Apache-2.0
"""A question judged part by part: every connection that it stands for, at the ports that arrive."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Final

from msgspec.structs import replace

from podfence.analysis.apiserver import API_SERVICE
from podfence.analysis.endpoints import (
    AddressesEndpoint,
    AlternativesEndpoint,
    Endpoint,
    NodeEndpoint,
    PodsEndpoint,
    ServiceEndpoint,
    service_end,
)
from podfence.analysis.pairs import NoCommonFamilyError, Pair, may_be_service_address, pairs, unread_end
from podfence.analysis.parts import Part
from podfence.analysis.paths import Entry, Step, arrivals
from podfence.analysis.routes import routes
from podfence.analysis.services import has_port, hides_clients, node_sources, pods_of_headless, service_ports, targets
from podfence.analysis.source_ranges import limited
from podfence.analysis.unbacked import asked_behind, has_unknown_backends, unbacked, unbacked_at_node
from podfence.errors import EndpointError
from podfence.policy.ends import AddressEnd, NodeEnd, PodEnd
from podfence.policy.extent import Extent, extent
from podfence.policy.unknown import part as as_part
from podfence.policy.verdict import Decision, Direction
from podfence.sets import PortSet

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from podfence.analysis.ports import PortQuestion
    from podfence.analysis.routes import Route
    from podfence.analysis.services import Target
    from podfence.policy.engine import Engine

MOST_TOLD: Final = 100
"""Of more connections than this that are decided alike only the first is told."""

_NO_FAMILY = ("cannot be reached: the two have no address family in common", "7.13")
_NO_POD = ("no policy applies (NetworkPolicy is only about connections with a pod at one end)", "1.3")


def judged(engine: Engine, source: Endpoint, destination: Endpoint, port: PortQuestion) -> list[Part]:
    """Return the parts of a question, one at least; raises EndpointError for a port the destination does not have."""
    for one, other in ((source, destination), (destination, source)):
        if isinstance(one, AlternativesEndpoint):
            return _alternatives(engine, one, other, port, is_source=one is source)
    if isinstance(destination, ServiceEndpoint):
        return limited(engine, source, destination, _to_service(engine, source, destination, port))
    if port.name:
        return _named(engine, source, destination, port)
    led, rest = routes(engine, destination, port.ports)
    parts: list[Part] = []
    for route in led:
        there = _led(engine, source, destination, route)
        # What comes by a port of a node does not come by a load balancer.
        at_address = route.service if route.entry is None else None
        parts += there if at_address is None else limited(engine, source, at_address, there)
    if rest:
        parts += _direct(engine, source, destination, rest)
    return parts


def _alternatives(
    engine: Engine, end: AlternativesEndpoint, other: Endpoint, port: PortQuestion, *, is_source: bool
) -> list[Part]:
    found: list[Part] = []
    if not is_source and (service := service_end(engine.state, API_SERVICE)) is not None and has_port(service, port):
        return judged(engine, other, service, port)
    if not is_source and end.unread is not None:
        unread = ServiceEndpoint(end.name, end.unread)
        if has_unknown_backends(engine, unread):
            steps = unbacked(engine, other, unread, asked_behind(unread, port))
            return _unbacked(engine, other, unread, port.ports or PortSet.ALL, steps)
        return [_plain(other, end, port.ports or PortSet.ALL, Decision.DENIED, _no_backend(unread))]
    for one in end.ends:
        parts = judged(engine, one, other, port) if is_source else judged(engine, other, one, port)
        several = len(end.ends) > 1
        found += [
            replace(part, pair=replace(part.pair, matter=(as_part(end.of),), variant=one.name)) if several else part
            for part in parts
        ]
    return found


def _direct(engine: Engine, source: Endpoint, destination: Endpoint, ports: PortSet) -> list[Part]:
    """Judge what is not translated on its way."""
    may_be_service = isinstance(source, NodeEndpoint) and may_be_service_address(engine, destination)
    if not may_be_service and _is_outside(engine, source) and _is_outside(engine, destination):
        return [_plain(source, destination, ports, Decision.ALLOWED, _NO_POD)]
    try:
        connections = pairs(engine, source, destination)
    except NoCommonFamilyError:
        return [_plain(source, destination, ports, Decision.DENIED, _NO_FAMILY)]
    kept = len(connections) <= MOST_TOLD
    return [part for pair in connections for part in _judge(engine, pair, ports, kept=kept)]


def _is_outside(engine: Engine, end: Endpoint) -> bool:
    if isinstance(end, AddressesEndpoint):
        first, last = end.addresses.spans[0][0], end.addresses.spans[-1][1]
        return first != last or unread_end(engine, first) is None
    return isinstance(end, NodeEndpoint)


def _judge(engine: Engine, pair: Pair, asked: PortSet, *, kept: bool = True) -> list[Part]:
    """Return one connection's ports by decision: those surely allowed, those that depend, those denied.

    How each is decided is `kept` where there are not too many of them.
    """
    behind = pair.destination.behind if isinstance(pair.destination, AddressEnd) else None
    if behind is not None and isinstance(pair.source, NodeEnd):
        # No policy is asked of a node, but what answers for a Service may deny it, or there may be nothing.
        known = replace(pair, matter=(behind,), variant="where it is not the address of a Service")
        other = replace(pair, matter=(behind,), variant="where it is that of a Service without a backend")
        nothing = f"cannot be reached: the Service at {pair.destination_name} has no backend", "13.8"
        return [Part(known, asked, Decision.ALLOWED, _NO_POD), Part(other, asked, Decision.DENIED, nothing)]
    found = extent_of(engine, pair, asked)
    low, high = found.low, found.high
    decided = (
        (Decision.ALLOWED, low),
        (Decision.DEPENDS, high - low),
        (Decision.DENIED, asked - high),
    )
    if high - low != asked or pair.arrival is not None:
        found = found._replace(rests_on=())
    return [Part(pair, ports, decision, extent=found if kept else None) for decision, ports in decided if ports]


def extent_of(engine: Engine, pair: Pair, asked: PortSet) -> Extent:
    """Return how far a connection is allowed on some ports, after what becomes of it on its way."""
    arrival = pair.arrival
    if arrival is None:
        return extent(engine, pair.source, pair.destination, asked)
    sent = extent(engine, pair.source, pair.destination, asked, (Direction.EGRESS,))
    arriving = extent(engine, arrival.source, arrival.destination, arrival.ports, (Direction.INGRESS,))
    return Extent(
        sent.low if arrival.ports <= arriving.low else PortSet.EMPTY,
        sent.high if arrival.ports & arriving.high else PortSet.EMPTY,
        rulings={**sent.rulings, **arriving.rulings},
    )


def _plain(source: Endpoint, destination: Endpoint, ports: PortSet, decision: Decision, why: tuple[str, str]) -> Part:
    """Return a part that no policy is asked about."""
    ends = AddressEnd(0, source.name), AddressEnd(0, destination.name)
    return Part(Pair(*ends, source.name, destination.name), ports, decision, why)


# Services


def _to_service(engine: Engine, source: Endpoint, destination: ServiceEndpoint, port: PortQuestion) -> list[Part]:
    """Judge a Service on every backend at its target port (semantics 7.7)."""
    members = pods_of_headless(engine.state, destination)
    if members:
        return judged(engine, source, PodsEndpoint(destination.name, members), port)
    found = [target for item in service_ports(destination, port) for target in targets(engine, destination, item)]
    parts = [part for target in dict.fromkeys(found) for part in _backend(engine, source, destination, target)]
    if parts:
        parts += _unmet(engine, destination, port, parts[0].pair)
        return _further(engine, source, destination, asked_behind(destination, port), parts) or parts
    if not found and has_unknown_backends(engine, destination):
        steps = unbacked(engine, source, destination, asked_behind(destination, port))
        return _unbacked(engine, source, destination, port.ports or PortSet.ALL, steps)
    why = _NO_FAMILY if found else _no_backend(destination)
    return [_plain(source, destination, port.ports or PortSet.ALL, Decision.DENIED, why)]


def _unbacked(
    engine: Engine, source: Endpoint, destination: ServiceEndpoint, asked: PortSet, steps: Iterable[Step]
) -> list[Part]:
    """Judge a Service on what may be behind it, and as one behind which there is nothing (semantics 13.7)."""
    found: list[Part] = []
    for pair, ports, why, *_ in steps:
        if why:
            found.append(Part(pair, ports, Decision.DENIED, (why, "7.16")))
        elif isinstance(pair.source, PodEnd) or isinstance(pair.destination, PodEnd):
            found += _judge(engine, pair, ports)
        else:
            found.append(Part(pair, ports, Decision.ALLOWED, _NO_POD))
        if pair.matter:
            nothing = replace(pair, variant="where nothing is behind it")
            found.append(Part(nothing, ports, Decision.DENIED, _no_backend(destination)))
    return found or [_plain(source, destination, asked, Decision.DENIED, _NO_FAMILY)]


def _further(
    engine: Engine, source: Endpoint, destination: ServiceEndpoint, behind: Iterable[PortSet], parts: list[Part]
) -> list[Part]:
    """Return the parts for backends that may be where something was not read, if nothing that was read is reached.

    Whatever else depends there depends on policies that were not read anyway (semantics 13.9).
    """
    is_open = engine.world.is_open("Pod") and engine.world.unread(destination.service.namespace)
    if not is_open or any(part.decision is not Decision.DENIED for part in parts):
        return []
    steps = unbacked(engine, source, destination, behind)
    found = [
        part for pair, ports, *_ in steps if isinstance(pair.source, PodEnd) for part in _judge(engine, pair, ports)
    ]
    return [part for part in found if part.decision is not Decision.DENIED]


def _unmet(engine: Engine, destination: ServiceEndpoint, port: PortQuestion, pair: Pair) -> Iterator[Part]:
    """Yield the ports of a Service for which it has no backend, while it has for others."""
    for item in service_ports(destination, port):
        if not targets(engine, destination, item):
            ports = PortSet.single(item.protocol, item.port)
            why = f"cannot be reached: {destination.name} has no backend for {ports}", "7.7"
            yield Part(replace(pair, destination_name=destination.name), ports, Decision.DENIED, why)


def _no_backend(destination: ServiceEndpoint) -> tuple[str, str]:
    return f"cannot be reached: {destination.name} has no backend", "7.7"


def _backend(engine: Engine, source: Endpoint, destination: ServiceEndpoint, target: Target) -> Iterator[Part]:
    try:
        connections = [_through_service(pair, target) for pair in pairs(engine, source, target.endpoint)]
    except NoCommonFamilyError:
        return
    hidden = isinstance(source, AddressesEndpoint) and hides_clients(destination.service)
    option = engine.options.service_source if hidden else "client"
    for pair in connections if option != "node" else ():
        yield from _judge(engine, pair, target.ports)
    if option == "client":
        return
    # The client's address is not seen behind a node's: all pieces of a range are judged as one there.
    for pair in {pair.destination: pair for pair in connections}.values():
        if isinstance(pair.destination, PodEnd):
            for end, name in node_sources(pair.destination):
                as_node = replace(pair, source=end, source_name=name, addresses=None)
                yield from _judge(engine, as_node, target.ports)
        elif option == "node":
            yield from _judge(engine, pair, target.ports)


def _through_service(pair: Pair, target: Target) -> Pair:
    if isinstance(pair.destination, PodEnd):
        return replace(
            pair,
            destination=replace(pair.destination, through_service=True, more=pair.destination.more or target.unread),
        )
    return pair


# Ports of nodes, and addresses that nodes translate


def _led(engine: Engine, source: Endpoint, destination: Endpoint, route: Route) -> list[Part]:
    """Judge what is asked of one place and led to another on its way (semantics 7.16)."""
    entry, service = route.entry, route.service
    if entry is None and service is not None and isinstance(source, PodsEndpoint):
        # A pod's own node translates it.
        own = NodeEndpoint("the pod's own node", "", (), own=True)
        entry = Entry(own, local=service.service.external_traffic_policy == "Local")
    found: list[Part] = []
    if service is not None and not route.targets and has_unknown_backends(engine, service):
        if entry is None:
            steps = unbacked(engine, source, service, (route.behind,))
        else:
            steps = unbacked_at_node(engine, source, service, route.behind, entry, route.ports)
        return _unbacked(engine, source, service, route.ports, steps)
    if entry is None and service is not None:
        for target in route.targets:
            found += _backend(engine, source, service, target)
    elif entry is not None:
        for step in _met(engine, source, route, entry):
            if step.why:
                found.append(Part(step.pair, step.ports, Decision.DENIED, (step.why, "7.16")))
            else:
                found += _judge(engine, step.pair, step.ports)
    if found:
        at_address = service if route.entry is None else None
        return (at_address and _further(engine, source, at_address, (route.behind,), found)) or found
    what = service.name if service is not None else destination.name
    why = _NO_FAMILY if route.targets else (f"cannot be reached: {what} has no backend", "7.7")
    return [_plain(source, destination, route.ports, Decision.DENIED, why)]


def _met(engine: Engine, source: Endpoint, route: Route, entry: Entry) -> list[Step]:
    """Return what a connection to a node may become; it misses no pod where there is one that it meets."""
    found: list[Step] = []
    for target in route.targets:
        with suppress(NoCommonFamilyError):
            for pair in pairs(engine, source, target.endpoint):
                through = _through_service(pair, target)
                found += arrivals(engine, through, target.ports, entry, route.ports, target.node)
    met = {(step.pair.family, step.start) for step in found if step.is_placed and not step.missed}
    return [step for step in found if not (step.missed and (step.pair.family, step.start) in met)]


# Named ports


def _named(engine: Engine, source: Endpoint, destination: Endpoint, port: PortQuestion) -> list[Part]:
    """Judge a named port on each destination pod with the pod's own number (semantics 5.4)."""
    if not isinstance(destination, PodsEndpoint):
        raise EndpointError(f"port {port.text!r}: only pods and Services have named ports; give a number")
    parts: list[Part] = []
    named = False
    for member in destination.members:
        numbers = port.on((member,))
        if not numbers:
            continue
        alone = PodsEndpoint(destination.name, (member,), destination.hypothetical)
        named = True
        with suppress(NoCommonFamilyError):
            for pair in pairs(engine, source, alone):
                parts += _judge(engine, pair, numbers)
    if not named and destination.hypothetical:
        raise EndpointError(f"port {port.text!r}: the port names of {destination.name} are not known; give a number")
    if not named:
        names = sorted(
            {
                f"{item.name} ({item.number}/{item.protocol.lower()})"
                for m in destination.members
                for item in m.ports
                if item.name
            }
        )
        message = f"{destination.name} has no port named {port.text}; it has {', '.join(names) or 'no named ports'}"
        raise EndpointError(message)
    return parts or [_plain(source, destination, PortSet.ALL, Decision.DENIED, _NO_FAMILY)]
