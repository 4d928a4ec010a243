# SPDX-License-Identifier: Apache-2.0
"""What nodes lead elsewhere: external addresses of Services, NodePorts, and hostPorts of pods (semantics 7.16)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from msgspec import Struct

from podfence.analysis.endpoints import AddressesEndpoint, Endpoint, NodeEndpoint, PodsEndpoint, ServiceEndpoint
from podfence.analysis.paths import Entry
from podfence.analysis.services import Target, ports_behind, targets
from podfence.cluster.members import display_name
from podfence.cluster.nodes import numbers_of
from podfence.policy.references import policy_ref
from podfence.policy.verdict import Direction
from podfence.sets import AddressSet, PortSet
from podfence.sets.ports import point

if TYPE_CHECKING:
    from collections.abc import Iterator

    from podfence.analysis.ports import PortQuestion
    from podfence.cluster.members import Member
    from podfence.cluster.state import ClusterState
    from podfence.kube.objects import ServicePort
    from podfence.policy.engine import Engine
    from podfence.policy.grants import CompiledPolicy

_FAMILIES: Final = (AddressSet.V4, AddressSet.V6)
_AT_NODES: Final = ("NodePort", "LoadBalancer")


class Route(Struct, frozen=True):
    """Where some of the ports asked about lead, and by which node; `text` says so in words.

    `entry` is None for an address outside that is a Service's, which any node may translate. `behind` are the ports
    of whatever may be behind a Service of which no backend was read.
    """

    ports: PortSet
    service: ServiceEndpoint | None
    targets: tuple[Target, ...]
    entry: Entry | None
    text: str
    behind: PortSet = PortSet.EMPTY


def routes(engine: Engine, destination: Endpoint, asked: PortSet) -> tuple[list[Route], PortSet]:
    """Return where the ports asked about of a node or an address lead, and those that lead nowhere else."""
    found: list[Route] = []
    rest = asked
    for route in _all(engine, destination):
        if route.ports & rest:
            found.append(route)
            rest -= route.ports
    return found, rest


def service_at(engine: Engine, destination: Endpoint, asked: PortSet) -> ServiceEndpoint | None:
    """Return the Service to which an address outside leads on one of the ports, None if it leads nowhere else."""
    if isinstance(destination, AddressesEndpoint):
        for route in _by_address(engine, destination):
            if route.ports & asked:
                return route.service
    return None


def addressed(engine: Engine, source: Endpoint, destination: Endpoint, port: PortQuestion) -> list[str]:
    """Return a sentence if an egress rule of the source means the address of a Service, which no rule can (7.8)."""
    if not isinstance(source, PodsEndpoint):
        return []
    if isinstance(destination, ServiceEndpoint):
        ends = [destination]
    else:
        found = routes(engine, destination, port.ports)[0]
        ends = [route.service for route in found if route.service is not None and route.entry is None]
    for end in ends:
        service = end.service
        for text in (*service.addresses, *service.external_addresses):
            for number in numbers_of((text,)):
                policy = _block_with(engine, source.members[0], number)
                if policy is not None:
                    behind = "pods" if service.selector is not None else "endpoints"
                    where = f"that address of {display_name(service.key)} is translated to its {behind}"
                    return [
                        f"an ipBlock of {policy_ref(policy)} holds {text}, but {where} before policies are asked (7.8)"
                    ]
    return []


def _block_with(engine: Engine, member: Member, number: int) -> CompiledPolicy | None:
    """Return a policy for egress of a pod with a block that holds an address, and is not a whole family."""
    for policy in engine.applicable(Direction.EGRESS, member):
        for grant in policy.grants[Direction.EGRESS]:
            block = grant.peer
            if isinstance(block, AddressSet) and number in block and not any(whole <= block for whole in _FAMILIES):
                return policy
    return None


def node_ports(state: ClusterState) -> frozenset[int]:
    """Return the NodePorts of all Services and the hostPorts of pods, as points (`podfence.sets.ports`)."""
    services = {
        point(port.protocol, port.node_port)
        for service in state.services.values()
        if service.type in _AT_NODES
        for port in service.ports
        if port.node_port
    }
    pods = {
        point(port.protocol, port.host_port)
        for member in state.members.values()
        for port in member.ports
        if port.host_port and not member.host
    }
    return frozenset(services | pods)


def _all(engine: Engine, destination: Endpoint) -> Iterator[Route]:
    yield from _by_address(engine, destination)
    if isinstance(destination, NodeEndpoint):
        yield from _by_node_port(engine, destination)
        yield from _by_host_port(engine.state, destination)


def _by_address(engine: Engine, destination: Endpoint) -> Iterator[Route]:
    match destination:
        case AddressesEndpoint(addresses=addresses) if addresses.spans[0][0] == addresses.spans[-1][1]:
            numbers = {addresses.spans[0][0]}
        case NodeEndpoint(addresses=known):
            numbers = set(known)
        case _:
            return
    for service in engine.state.services.values():
        if there := numbers.intersection(numbers_of(service.external_addresses)):
            end = ServiceEndpoint(f"{display_name(service.key)} ({destination.name})", service, min(there))
            for port in service.ports:
                yield _route(engine, end, port, PortSet.single(port.protocol, port.port), None, destination)


def _by_node_port(engine: Engine, node: NodeEndpoint) -> Iterator[Route]:
    for service in engine.state.services.values():
        for port in service.ports if service.type in _AT_NODES else ():
            if port.node_port:
                entry = Entry(node, local=service.external_traffic_policy == "Local")
                end = ServiceEndpoint(display_name(service.key), service)
                yield _route(engine, end, port, PortSet.single(port.protocol, port.node_port), entry, node)


def _route(
    engine: Engine, end: ServiceEndpoint, port: ServicePort, ports: PortSet, entry: Entry | None, to: Endpoint
) -> Route:
    found = tuple(targets(engine, end, port))
    behind = sorted({str(target.ports) for target in found})
    text = f"{to.name} {ports} is {display_name(end.service.key)} {port.protocol} {port.port}"
    if behind:
        text += f", which is {', '.join(behind)} of its {'pods' if end.service.selector is not None else 'endpoints'}"
    if entry is not None:
        text += f" (externalTrafficPolicy {end.service.external_traffic_policy})"
    return Route(ports, end, found, entry, text, ports_behind(port))


def _by_host_port(state: ClusterState, node: NodeEndpoint) -> Iterator[Route]:
    found: dict[PortSet, list[Target]] = {}
    for member in state.members.values():
        if member.host or (node.node and member.node and member.node != node.node):
            continue
        for port in member.ports:
            if port.host_port:
                outer, inner = (PortSet.single(port.protocol, number) for number in (port.host_port, port.number))
                target = Target(PodsEndpoint(display_name(member.key), (member,)), inner)
                found.setdefault(outer, []).append(target)
    for outer, several in found.items():
        names = ", ".join(f"{target.endpoint.name} ({target.ports})" for target in several)
        entry = Entry(node, local=True, host_port=True)
        yield Route(outer, None, tuple(several), entry, f"{node.name} {outer} is the hostPort of {names}")
