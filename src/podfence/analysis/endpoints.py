# SPDX-License-Identifier: Apache-2.0
"""The ends of a question: pods, Services, nodes, and addresses outside; `podfence.analysis.parsing` reads them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct
from msgspec.structs import replace

from podfence.cluster.addresses import owner_of
from podfence.cluster.members import display_name
from podfence.cluster.nodes import node_addresses, numbers_of
from podfence.sets.addresses import AddressSet, format_address

if TYPE_CHECKING:
    from collections.abc import Collection

    from podfence.cluster.members import Member
    from podfence.cluster.state import ClusterState
    from podfence.kube.objects import Key, Service


class PodsEndpoint(Struct, frozen=True):
    """One or more pods: a pod, a workload's, a namespace's (`whole`), or one that need not exist (`hypothetical`)."""

    name: str
    members: tuple[Member, ...]
    hypothetical: bool = False
    whole: bool = False


class ServiceEndpoint(Struct, frozen=True):
    """A Service, judged on its backends; `at` is its external address, where it is meant by that."""

    name: str
    service: Service
    at: int | None = None

    @property
    def at_balancer(self) -> bool:
        """Whether it is meant by an address of its load balancer."""
        return self.at is not None and self.at in numbers_of(self.service.balancer_addresses)


class AddressesEndpoint(Struct, frozen=True):
    """Addresses outside the cluster, those of pods, nodes and Services taken out of ranges."""

    name: str
    addresses: AddressSet


class NodeEndpoint(Struct, frozen=True):
    """A node by name; `addresses` are empty when they are not known.

    Without a name it is any but the one that the pod at the other end runs on, or `own`, that one.
    """

    name: str
    node: str
    addresses: tuple[int, ...]
    own: bool = False


class SelfEndpoint(Struct, frozen=True):
    """The pod at the other end itself (semantics 7.1)."""

    name: str = "self"


class AlternativesEndpoint(Struct, frozen=True):
    """One of several ends, of which is not known which: `ends` are judged each, and `of` says what they are.

    Where nothing of it is in the input, `ends` are what it may be as a source, and `unread` is the Service of which it
    would be the backends as a destination.
    """

    name: str
    ends: tuple[Endpoint, ...]
    of: str
    unread: Service | None = None


Endpoint = PodsEndpoint | ServiceEndpoint | AddressesEndpoint | NodeEndpoint | SelfEndpoint | AlternativesEndpoint


def namespaces_of(end: Endpoint) -> frozenset[str]:
    """Return the namespaces of the pods that an end stands for; none for what is no pod and no Service."""
    match end:
        case PodsEndpoint():
            return frozenset(member.namespace for member in end.members)
        case ServiceEndpoint():
            return frozenset({end.service.namespace})
        case AlternativesEndpoint():
            return frozenset().union(*map(namespaces_of, end.ends))
    return frozenset()


def alone(found: Collection[Member]) -> bool:
    """Return whether members are one pod, and not a template that stands for several."""
    return len(found) == 1 and all(member.pod is not None for member in found)


def service_end(state: ClusterState, key: Key) -> ServiceEndpoint | None:
    """Return a Service as an end, None if it is not loaded."""
    service = state.services.get(key)
    return ServiceEndpoint(display_name(key), service) if service is not None else None


def address_end(state: ClusterState, number: int, text: str = "") -> PodsEndpoint | NodeEndpoint | AddressesEndpoint:
    """Return what has an address after translation: a pod, a node, or something outside, called `text`."""
    shown = text or format_address(number)
    member = owner_of(state, number)
    if member is not None:
        return PodsEndpoint(f"{display_name(member.key)} ({shown})", (replace(member, addresses=(number,)),))
    for name, numbers in node_addresses(state).items():
        if number in numbers:
            return NodeEndpoint(f"node:{name} ({shown})", name, (number,))
    return AddressesEndpoint(shown, AddressSet.single(number))
