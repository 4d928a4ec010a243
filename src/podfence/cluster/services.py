# SPDX-License-Identifier: Apache-2.0
"""Services to backends: policy judges a Service on the pods behind it (semantics 7.7)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from msgspec import Struct

from podfence.cluster.addresses import owners
from podfence.cluster.members import Member
from podfence.cluster.nodes import numbers_of
from podfence.kube.objects import Key

if TYPE_CHECKING:
    from collections.abc import Iterable

    from podfence.cluster.state import ClusterState
    from podfence.kube.objects import Backend, EndpointSlice, Service, ServicePort


ENDPOINT: Final = "Endpoint"
"""The kind in the key of a pod of which nothing is known but that an endpoint has its address."""


class ServiceBackend(Struct, frozen=True):
    """One place a Service sends a port to: a member, or an address that is no pod.

    `protocol` and `number` are those of the backend, after translation (semantics 5.2). `unread` names the pod that
    the address is said to be of, if that was not read, and `node` is the node that its endpoint names.
    """

    member: Member | None
    address: int | None
    protocol: str
    number: int
    unread: Key | None = None
    node: str = ""


def backends(state: ClusterState, service: Service, port: ServicePort) -> list[ServiceBackend]:
    """Return the backends of one port of a Service: by its selector, or where no pod has it by its EndpointSlices.

    A named target port is looked up on each pod (semantics 5.4); pods without it are no backend.
    """
    members = selected(state, service)
    if members:
        return [
            ServiceBackend(member, None, port.protocol, number)
            for member in members
            if (number := target_number(member, port)) is not None
        ]
    found: list[ServiceBackend] = []
    owned = owners(state)
    for piece in recorded(state, service.namespace, service.name):
        for endpoint in piece.ports:
            if endpoint.number is None or (endpoint.name, endpoint.protocol) != (port.name, port.protocol):
                continue
            for backend in piece.backends:
                numbers = list(numbers_of(backend.addresses))
                member = next((owned[number] for number in numbers if number in owned), None) or _unaddressed(
                    state, piece.namespace, backend
                )
                address = None if member or not numbers else numbers[0]
                if backend.ready and (member or address is not None):
                    unread = None if member else _unread(piece.namespace, backend, service)
                    found.append(
                        ServiceBackend(member, address, endpoint.protocol, endpoint.number, unread, backend.node)
                    )
    return found


def recorded(state: ClusterState, namespace: str, name: str) -> Iterable[EndpointSlice]:
    """Return the EndpointSlices of a Service; where there is none, its Endpoints, which clusters make slices of."""
    found = [piece for piece in state.slices.values() if (piece.namespace, piece.service) == (namespace, name)]
    if found:
        return found
    endpoints = state.endpoints.get(Key("Endpoints", namespace, name))
    return endpoints.slices if endpoints is not None else ()


def unread_pods(state: ClusterState) -> dict[int, Member]:
    """Return the pods that only endpoints tell of, by their addresses, each with nothing but that (semantics 13.7)."""
    pieces = (*state.slices.values(), *(piece for item in state.endpoints.values() for piece in item.slices))
    return {
        number: Member(key, None, {}, (), (number,), node=backend.node)
        for piece in pieces
        for service in [state.services.get(Key("Service", piece.namespace, piece.service))]
        for backend in piece.backends
        if (key := _unread(piece.namespace, backend, service)) and key not in state.pods
        for number in numbers_of(backend.addresses)
    }


def _unread(namespace: str, backend: Backend, service: Service | None) -> Key | None:
    """Return the pod that an endpoint is of, by its name; by its address, if its Service selects pods.

    A cluster makes the endpoints of such a Service of nothing but pods.
    """
    if backend.pod:
        return Key("Pod", namespace, backend.pod)
    selects = service is not None and service.selector is not None
    return Key(ENDPOINT, namespace, backend.addresses[0]) if selects and backend.addresses else None


def selected(state: ClusterState, service: Service) -> list[Member]:
    """Return the members a Service's selector means, in order of name; none if it has no selector."""
    if service.selector is None:
        return []
    wanted = service.selector.items()
    found = (
        member
        for member in state.members.values()
        if member.namespace == service.namespace and wanted <= member.labels.items()
    )
    return sorted(found, key=lambda member: member.key)


def target_number(member: Member, port: ServicePort) -> int | None:
    """Return the number of a Service port on one pod, None if it is named and the pod has no such port."""
    if isinstance(port.target, int):
        return port.target
    for item in member.ports:
        if item.name == port.target and item.protocol == port.protocol:
            return item.number
    return None


def _unaddressed(state: ClusterState, namespace: str, backend: Backend) -> Member | None:
    """Return the pod that an endpoint names, if its addresses are not known: nobody else is known to have them."""
    member = state.members.get(Key("Pod", namespace, backend.pod)) if backend.pod else None
    return None if member is None or member.addresses else member
