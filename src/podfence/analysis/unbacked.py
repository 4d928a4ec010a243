# SPDX-License-Identifier: Apache-2.0
"""Services behind which nothing in the input is: what may answer for them (semantics 13.7)."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from podfence.analysis.endpoints import AddressesEndpoint, PodsEndpoint
from podfence.analysis.pairs import NoCommonFamilyError, pairs
from podfence.analysis.services import service_ports
from podfence.cluster.members import Member
from podfence.cluster.services import recorded, selected
from podfence.kube.objects import Key
from podfence.policy import unknown
from podfence.policy.ends import AddressEnd, PodEnd
from podfence.sets import AddressSet, PortSet

if TYPE_CHECKING:
    from collections.abc import Iterator

    from podfence.analysis.endpoints import Endpoint, ServiceEndpoint
    from podfence.analysis.pairs import Pair
    from podfence.analysis.ports import PortQuestion
    from podfence.policy.ends import End
    from podfence.policy.engine import Engine


def has_unknown_backends(engine: Engine, destination: ServiceEndpoint) -> bool:
    """Return whether a Service may have backends that were not read, since none was.

    A cluster keeps an EndpointSlice of every Service with a selector, and leaves it empty while no pod has the labels.
    """
    service = destination.service
    pieces = recorded(engine.state, service.namespace, service.name)
    if service.selector is None:
        return engine.world.is_open("EndpointSlice") and not pieces
    is_empty = bool(pieces) and not any(piece.backends for piece in pieces)
    return engine.world.is_open("Pod") and not is_empty and not selected(engine.state, service)


def unbacked(
    engine: Engine, source: Endpoint, destination: ServiceEndpoint, port: PortQuestion
) -> Iterator[tuple[Pair, PortSet]]:
    """Yield the connections to whatever may be behind a Service, at the ports to which they are translated.

    That is a pod with the labels of its selector, and any others; without a selector it may be anything.
    """
    service = destination.service
    what = unknown.backends(f"{service.namespace}/{service.name}")
    name = f"a backend of {destination.name}"
    stand_in: Endpoint = AddressesEndpoint(name, AddressSet.single(0))
    if service.selector is not None:
        member = Member(Key("Service", service.namespace, service.name), None, service.selector, ())
        stand_in = PodsEndpoint(name, (member,), hypothetical=True)
    try:
        connections = pairs(engine, source, stand_in)
    except NoCommonFamilyError:
        return

    def behind(end: End) -> End:
        if isinstance(end, PodEnd):
            return replace(end, more=True, through_service=True)
        return AddressEnd(0, name, behind=what)

    for ports in dict.fromkeys(_ports(destination, port)):
        for pair in connections:
            end = behind(pair.destination)
            there = replace(pair, destination=end, destination_name=destination.name)
            if isinstance(end, AddressEnd) and isinstance(pair.source, PodEnd):
                # Of such an end nothing is sure, not even that it is there.
                yield there, ports
            else:
                yield replace(there, matter=(what,), variant="where something is behind it"), ports


def _ports(destination: ServiceEndpoint, port: PortQuestion) -> Iterator[PortSet]:
    if destination.service.headless and not port.name:
        yield port.ports
        return
    for item in service_ports(destination, port):
        if isinstance(item.target, int):
            yield PortSet.single(item.protocol, item.target)
        else:
            # A name is another number on every pod.
            yield PortSet.whole(item.protocol)
