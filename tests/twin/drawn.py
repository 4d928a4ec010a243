# SPDX-License-Identifier: Apache-2.0
"""Completions of a partial cluster drawn at random, in which nothing is unknown any more (semantics 13).

Where `completions` enumerates what two ends can be, one of these answers all questions about the cluster.
"""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING

import msgspec

from podfence.cluster.controllers import UNKNOWN
from podfence.kube.objects import (
    Backend,
    ContainerPort,
    EndpointPort,
    EndpointSlice,
    Namespace,
    Node,
    Pod,
    PodTemplate,
    Service,
)

from .addresses import parse_address
from .boundaries import rules
from .completions import BORN_WITH, FRESH_NODE, address_kinds, label_values, pod_values, single_addresses
from .partial import HASH, KEYS
from .twin import ASSUMED_FAMILIES, NAME_LABEL

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from random import Random

    from podfence.kube.objects import KubeObject, Labels
    from podfence.policy.options import Options

    from .addresses import Address

BEHIND = "behind"
"""The name of a pod that was not read, and that a Service selects."""

OUTSIDE = "203.0.113.77"
"""What may be behind a Service as well."""

LONE_NODE = "some-node"
"""A node where none is known; there is another one too."""

TRIES = 8
NUMBERS = {"TCP": (80, 81, 8080), "UDP": (53, 81)}


class Drawing:
    """A partial cluster, ready to be completed as often as asked; it has pods for its workloads (`as_pods`)."""

    def __init__(self, objects: Sequence[KubeObject], options: Options, asked: Iterable[str] = ()) -> None:
        """Take the addresses that are `asked` about for nobody's."""
        self.objects = list(objects)
        self.families = ASSUMED_FAMILIES[options.pod_families]
        named = {item.name for item in objects if isinstance(item, Namespace)}
        used = {item.namespace for item in objects if not isinstance(item, Namespace | Node)}
        self.spaces = sorted(used - named - set(BORN_WITH))
        self.space_values = label_values(objects)
        self.values = pod_values(objects)
        self.pods = [item for item in objects if isinstance(item, Pod)]
        services = [item for item in objects if isinstance(item, Service)]
        self.backed = [item for item in services if any(_is_selected(item, pod) for pod in self.pods)]
        self.nodes = {item.name: item for item in objects if isinstance(item, Node)}
        slices = [item for item in objects if isinstance(item, EndpointSlice)]
        named = {backend.node for item in slices for backend in item.backends}
        known = sorted({*self.nodes, *(pod.template.node for pod in self.pods), *named} - {""})
        self.places = [*(known or [LONE_NODE]), FRESH_NODE]
        self.singles = sorted({str(address) for address in single_addresses(objects)})
        known_addresses = {*map(parse_address, asked), *_known(objects)}
        self.taken = {*map(parse_address, self.singles), *known_addresses}
        blocks = [peer.ip_block for rule in rules(objects) for peer in rule.peers if peer.ip_block is not None]
        self.kinds = {family: address_kinds(family, blocks, self.taken) for family in self.families}
        # A node may have one that a policy names alone (13.6).
        self.node_kinds = {family: address_kinds(family, blocks, known_addresses) for family in self.families}

    def draw(self, random: Random) -> list[KubeObject]:
        """Return the objects of a completion."""
        return by_endpoints(_Completion(self, random).objects())


def by_endpoints(objects: Sequence[KubeObject]) -> list[KubeObject]:
    """Return the objects with Services that lead where their EndpointSlices say, if they have any."""
    known = {(item.namespace, item.service) for item in objects if isinstance(item, EndpointSlice)}
    return [
        msgspec.structs.replace(item, selector=None)
        if isinstance(item, Service) and (item.namespace, item.name) in known
        else item
        for item in objects
    ]


def is_complete(service: Service, objects: Sequence[KubeObject]) -> bool:
    """Return whether all pods are there that endpoints of a Service name, or have the addresses of if it selects pods."""
    there = {(item.namespace, item.name) for item in objects if isinstance(item, Pod)}
    owned = {text for item in objects if isinstance(item, Pod | Node) for text in item.addresses}
    return all(
        (item.namespace, backend.pod) in there
        if backend.pod
        else service.selector is None or owned & {*backend.addresses}
        for item in objects
        if isinstance(item, EndpointSlice) and (item.namespace, item.service) == (service.namespace, service.name)
        for backend in item.backends
    )


class _Completion:
    def __init__(self, drawing: Drawing, random: Random) -> None:
        self.drawing = drawing
        self.random = random
        self.given: set[Address] = set()
        self.slices = [item for item in drawing.objects if isinstance(item, EndpointSlice)]
        self.nodes = {name: self.node(name) for name in drawing.places}

    def objects(self) -> list[KubeObject]:
        drawing = self.drawing
        found = {item.key: item for item in drawing.objects}
        more: list[KubeObject] = [self.space(name) for name in drawing.spaces]
        more += self.nodes.values()
        for item in (*more, *map(self.pod, drawing.pods)):
            found[item.key] = item
        services = [item for item in drawing.objects if isinstance(item, Service)]
        for item in [piece for service in services for piece in self.behind(service, list(found.values()))]:
            found[item.key] = item
        return list(found.values())

    def space(self, name: str) -> Namespace:
        chosen = {key: self.random.choice(values) for key, values in self.drawing.space_values.items()}
        labels = {key: value for key, value in chosen.items() if value is not None}
        return Namespace(name=name, labels={**labels, NAME_LABEL: name})

    def node(self, name: str) -> Node:
        known = self.drawing.nodes.get(name, Node(name=name, labels={}))
        return known if known.addresses else msgspec.structs.replace(known, addresses=self.addresses(of_node=True))

    def pod(self, pod: Pod) -> Pod:
        random, template = self.random, pod.template
        value = random.choice(self.drawing.values)
        labels = {key: value if text == UNKNOWN else text for key, text in template.labels.items()}
        node = template.node or random.choice(self.drawing.places)
        known = pod.addresses
        if not known:
            known = self.nodes[node].addresses if template.host_network else self.addresses()
        return msgspec.structs.replace(
            pod, addresses=known, template=msgspec.structs.replace(template, labels=labels, node=node)
        )

    def addresses(self, *, of_node: bool = False) -> tuple[str, ...]:
        """Return addresses that nobody has, of each family that is assumed."""
        found = []
        for kinds in (self.drawing.node_kinds if of_node else self.drawing.kinds).values():
            free = [several for kind in kinds if (several := [item for item in kind if item not in self.given])]
            address = self.random.choice(self.random.choice(free))
            self.given.add(address)
            found.append(str(address))
        return tuple(found)

    # What may be behind a Service of which no backend was read (13.7)

    def behind(self, service: Service, objects: Sequence[KubeObject]) -> Iterator[KubeObject]:
        """Yield what is behind a Service of which no backend was read: it may be nothing."""
        for piece in self.slices:
            if (piece.namespace, piece.service) == (service.namespace, service.name):
                yield from self.named(piece, service)
                return
        if self.random.random() < 0.25:
            return
        if service.selector is None:
            yield from self.anything(service, objects)
        elif service not in self.drawing.backed:
            backend = self.backend(service, service.selector)
            # A Service of which backends were read has no others.
            if not any(_is_selected(item, backend) for item in self.drawing.backed):
                yield backend

    def named(self, piece: EndpointSlice, service: Service) -> Iterator[Pod]:
        """Yield the pods of endpoints that were not read; a Service of which pods were read has no others."""
        there = {(pod.namespace, pod.name) for pod in self.drawing.pods}
        owned = {text for pod in self.drawing.pods for text in pod.addresses}
        owned |= {text for node in self.nodes.values() for text in node.addresses}
        for backend in piece.backends:
            if (piece.namespace, backend.pod) in there or (not backend.pod and owned & {*backend.addresses}):
                continue
            if backend.pod or service.selector is not None:
                selecting = self.selecting(piece.namespace, backend)
                labels = dict(chain.from_iterable((item.selector or {}).items() for item in selecting))
                drawn = [self.backend(service, labels, backend.addresses, backend.node) for _ in range(TRIES)]
                free = [
                    pod
                    for pod in drawn
                    if all(_is_selected(item, pod) for item in selecting)
                    and not any(_is_selected(item, pod) for item in self.drawing.backed)
                ]
                name = backend.pod or f"{BEHIND}-{backend.addresses[0]}"
                yield from (msgspec.structs.replace(pod, name=name) for pod in free[:1])

    def selecting(self, namespace: str, wanted: Backend) -> list[Service]:
        """Return the Services that select the pod of an endpoint, because their EndpointSlices have it."""
        names = {
            piece.service
            for piece in self.slices
            for backend in piece.backends
            if piece.namespace == namespace and (backend.addresses, backend.pod) == (wanted.addresses, wanted.pod)
        }
        services = [item for item in self.drawing.objects if isinstance(item, Service) and item.selector]
        return [item for item in services if item.namespace == namespace and item.name in names]

    def backend(self, service: Service, selector: Labels, known: tuple[str, ...] = (), node: str = "") -> Pod:
        random = self.random
        others = {key: random.choice(("x", "y", "z")) for key in (*KEYS, HASH) if random.random() < 0.5}
        ports = (ContainerPort(random.choice(NUMBERS["TCP"]), "TCP", "http"),)
        at = node or random.choice(self.drawing.places)
        template = PodTemplate(labels={**others, **selector}, ports=ports, node=at)
        name = f"{BEHIND}-{service.name}"
        return Pod(namespace=service.namespace, name=name, template=template, addresses=known or self.addresses())

    def anything(self, service: Service, objects: Sequence[KubeObject]) -> Iterator[KubeObject]:
        """Yield an endpoint: a pod that was read or another one, a node, or somebody outside."""
        random = self.random
        texts = [text for item in objects if isinstance(item, Pod | Node) for text in item.addresses]
        address = random.choice((*texts, OUTSIDE, *self.drawing.singles))
        kind = random.random()
        if kind < 0.25:
            address = random.choice(self.addresses())
        elif kind < 0.6:
            # It may also be in a namespace that nothing mentions.
            space = self.space(f"{BEHIND}-{service.name}")
            spaces = [space, *(item for item in objects if isinstance(item, Namespace))]
            pod = msgspec.structs.replace(self.backend(service, {}), namespace=random.choice(spaces).name)
            if not any(_is_selected(item, pod) for item in self.drawing.backed):
                yield from (space, pod)
                address = random.choice(pod.addresses)
        ports = tuple(
            EndpointPort(random.choice(NUMBERS[port.protocol]), port.protocol, port.name) for port in service.ports
        )
        yield EndpointSlice(
            namespace=service.namespace,
            name=f"{service.name}-{BEHIND}",
            service=service.name,
            backends=(Backend((address,)),),
            ports=ports,
        )


def _is_selected(service: Service, pod: Pod) -> bool:
    wanted = (service.selector or {}).items()
    return bool(wanted) and pod.namespace == service.namespace and wanted <= pod.template.labels.items()


def _known(objects: Iterable[KubeObject]) -> Iterator[Address]:
    for item in objects:
        if isinstance(item, Pod | Node):
            yield from map(parse_address, item.addresses)
        if isinstance(item, Pod):
            yield from map(parse_address, item.node_addresses)
        if isinstance(item, EndpointSlice):
            yield from map(parse_address, chain.from_iterable(backend.addresses for backend in item.backends))
