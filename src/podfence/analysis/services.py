# SPDX-License-Identifier: Apache-2.0
"""A Service as the end of a connection: judged on each backend, at the backend's port (semantics 7.7)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

from podfence.analysis.endpoints import AddressesEndpoint, Endpoint, PodsEndpoint, ServiceEndpoint, address_end
from podfence.cluster.members import Member, display_name
from podfence.cluster.services import backends, selected, target_number
from podfence.errors import EndpointError
from podfence.kube.objects import Key
from podfence.policy.ends import NodeEnd
from podfence.sets import PortSet
from podfence.sets.ports import point

if TYPE_CHECKING:
    from podfence.analysis.ports import PortQuestion
    from podfence.cluster.services import ServiceBackend
    from podfence.cluster.state import ClusterState
    from podfence.kube.objects import Service, ServicePort
    from podfence.policy.ends import PodEnd
    from podfence.policy.engine import Engine

OWN_NODE = "the pod's own node"
OTHER_NODE = "another node"


class Target(Struct, frozen=True):
    """One backend of a Service with the ports, after translation, that the ports asked about lead to.

    It is `unread` if it is a pod that is only named, and may have any labels (semantics 13.7). `node` is the node that
    its endpoint names.
    """

    endpoint: Endpoint
    ports: PortSet
    unread: bool = False
    node: str = ""


def refuse_as_source(endpoint: Endpoint | None) -> None:
    """Raise EndpointError for a Service, which opens no connections."""
    if isinstance(endpoint, ServiceEndpoint):
        message = f"{endpoint.name} is a Service: it opens no connections; name a workload or a pod as the source"
        raise EndpointError(message)


def pods_of_headless(state: ClusterState, destination: ServiceEndpoint) -> tuple[Member, ...] | None:
    """Return the pods that the name of a headless Service leads to, at any port of theirs; None for other Services.

    Raises EndpointError for a Service that is only an alias.
    """
    service = destination.service
    if service.type == "ExternalName":
        message = f"{destination.name} is an ExternalName Service, an alias for a name outside; ask about its address"
        raise EndpointError(message)
    return tuple(selected(state, service)) if service.headless and service.selector is not None else None


def targets(engine: Engine, destination: ServiceEndpoint, port: ServicePort) -> list[Target]:
    """Return where a port of a Service leads, each backend once."""
    found: dict[tuple[str, str], Target] = {}
    state = engine.state
    for backend in backends(state, destination.service, port):
        ports = PortSet.single(backend.protocol, backend.number)
        if backend.member is not None:
            endpoint: Endpoint = PodsEndpoint(display_name(backend.member.key), (backend.member,))
        elif backend.address is not None:
            endpoint = address_end(state, backend.address)
        else:
            continue
        unread = isinstance(endpoint, AddressesEndpoint) and engine.world.is_open("Pod")
        pod = _unread_pod(destination, backend) if unread else None
        found.setdefault((endpoint.name, str(ports)), Target(pod or endpoint, ports, pod is not None, backend.node))
    return list(found.values())


def _unread_pod(destination: ServiceEndpoint, backend: ServiceBackend) -> PodsEndpoint | None:
    """Return a pod that was not read, by what its endpoint and the selector of its Service say; None if it is none."""
    key = backend.unread
    if key is None or backend.address is None:
        return None
    member = Member(key, None, destination.service.selector or {}, (), (backend.address,), node=backend.node)
    return PodsEndpoint(display_name(key), (member,), hypothetical=True)


def translation(state: ClusterState, destination: ServiceEndpoint, port: PortQuestion) -> str:
    """Return which ports of its backends the ports asked about are: ``shop/svc/web TCP 80 is TCP 8080 of its pods``."""
    found = []
    for item in service_ports(destination, port):
        numbers = sorted({backend.number for backend in backends(state, destination.service, item)})
        if not numbers:
            continue
        target = f" ({item.target})" if isinstance(item.target, str) else ""
        behind = "pods" if destination.service.selector is not None else "endpoints"
        there = f"{item.protocol} {', '.join(map(str, numbers))}{target} of its {behind}"
        found.append(f"{destination.name} {item.protocol} {item.port} is {there}")
    return "; ".join(found)


def namesake(state: ClusterState, destination: Endpoint, port: PortQuestion) -> str:
    """Return a sentence if pods are asked about at a port which is another one for the Service of their name.

    Who writes ``web 80`` may mean the Service web, whose 80 can be any port of the same pods.
    """
    if not isinstance(destination, PodsEndpoint) or destination.hypothetical:
        return ""
    key = Key("Service", destination.members[0].namespace, destination.name.rpartition("/")[2])
    service = state.services.get(key)
    if service is None or service.headless or port.ports == PortSet.ALL:
        return ""
    if all(
        target_number(member, item) in (None, item.port)
        for member in destination.members
        for item in service.ports
        if point(item.protocol, item.port) in port.ports
    ):
        return ""
    there = translation(state, ServiceEndpoint(display_name(key), service), port)
    return f"{destination.name} is asked at its own port; {there}" if there else ""


def _asked_ports(service: Service, port: PortQuestion) -> list[ServicePort]:
    if port.name:
        return [p for p in service.ports if port.names(p)]
    return [p for p in service.ports if point(p.protocol, p.port) in port.ports]


def has_port(destination: ServiceEndpoint, port: PortQuestion) -> bool:
    """Return whether a Service has a port that is asked about."""
    return bool(_asked_ports(destination.service, port))


def service_ports(destination: ServiceEndpoint, port: PortQuestion) -> list[ServicePort]:
    """Return the ports of a Service that are asked about; raises EndpointError if there is none."""
    service = destination.service
    found = _asked_ports(service, port)
    if not found:
        known = ", ".join(f"{p.port}/{p.protocol.lower()}{f' ({p.name})' if p.name else ''}" for p in service.ports)
        raise EndpointError(f"{destination.name} has no port {port.text}; it has {known or 'no ports'}")
    return found


def ports_behind(port: ServicePort) -> PortSet:
    """Return the ports of a pod of which nothing is known that a port of a Service may lead to."""
    if isinstance(port.target, int):
        return PortSet.single(port.protocol, port.target)
    # A name is another number on every pod.
    return PortSet.whole(port.protocol)


def hides_clients(service: Service) -> bool:
    """Return whether connections from outside may arrive with a node's address (semantics 7.9)."""
    return service.type in ("NodePort", "LoadBalancer") and service.external_traffic_policy == "Cluster"


def node_sources(destination: PodEnd) -> tuple[tuple[NodeEnd, str], ...]:
    """Return the nodes with whose address a hidden client may arrive at a pod, with what they are called."""
    return (
        (NodeEnd(destination.member.node, None, destination.family, own=True), OWN_NODE),
        (NodeEnd("", None, destination.family, own=False), OTHER_NODE),
    )
