# SPDX-License-Identifier: Apache-2.0
"""The way of a packet to a NodePort, or from a pod to an external address of a Service, node by node (semantics 7.16).

It follows `docs/explanation/on-a-node.md`: what each node rewrites, and whom it judges with which addresses then.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import msgspec

from podfence.kube.objects import Service

from .question import Answer, PodEnd, Traffic, agreement
from .services import ServiceTwin
from .twin import Place

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from podfence.kube.objects import KubeObject, ServicePort
    from podfence.policy.options import Options

    from .question import End

NODE_PORT = 30080
EXTERNAL = "198.51.100.77"


def exposed(objects: Sequence[KubeObject]) -> list[KubeObject]:
    """Return the objects with NodePorts and an external address for their Service."""
    return [with_ports(item) if isinstance(item, Service) else item for item in objects]


def with_ports(service: Service) -> Service:
    ports = [msgspec.structs.replace(port, node_port=NODE_PORT + index) for index, port in enumerate(service.ports)]
    return msgspec.structs.replace(service, type="NodePort", ports=tuple(ports), external_addresses=(EXTERNAL,))


@dataclass(frozen=True)
class Way:
    """A source and a backend of one family, with the nodes that they are on ("" for none)."""

    source: Place
    source_node: str
    backend: Place
    backend_node: str
    traffic: Traffic


class PathTwin:
    """A set of objects with one Service among them, asked about at nodes."""

    def __init__(self, objects: Sequence[KubeObject], options: Options) -> None:
        self.services = ServiceTwin(objects, options)
        self.twin = self.services.twin
        self.options = options
        self.local = self.services.service.external_traffic_policy == "Local"

    def node_port(self, source: End, node: str, port: ServicePort) -> Answer:
        """Return whether a source reaches all that a NodePort of a node may lead to; NO if that is nothing."""
        asked = Traffic(port.protocol, port.node_port)
        ways = list(self.ways(source, port))
        answers = [self.at_node(way, node, asked) for way in ways]
        return self.together(ways, answers, [self.is_missed(way, node) for way in ways])

    def external(self, source: PodEnd, port: ServicePort) -> Answer:
        """Return whether a pod reaches all that an external address may lead to, which its own node translates."""
        ways = list(self.ways(source, port))
        answers = [agreement(self.translated(item, item.source_node) for item in self.placed(way)) for way in ways]
        return self.together(ways, answers, [False] * len(ways))

    def placed(self, way: Way) -> Iterator[Way]:
        """Yield the way for all nodes that its pods may run on; a pod reaches itself on one node, whichever that is."""
        for node in self.may_run_on(way.source):
            source = _on(way.source, node)
            if way.backend.pod is not None and way.backend.pod is way.source.pod:
                backend = replace(way.backend, pod=source.pod)
                yield replace(way, source=source, source_node=node, backend=backend, backend_node=node)
                continue
            for other in self.may_run_on(way.backend):
                yield Way(source, node, _on(way.backend, other), other or way.backend_node, way.traffic)

    def may_run_on(self, place: Place) -> list[str]:
        """Return a pod's node; if nobody knows it, in an open world any, and otherwise one where nothing else runs."""
        if place.pod is None or place.pod.template.node:
            return [node_of(place)]
        alone = f"node-of-{place.pod.name}"
        return [alone] if self.options.world == "closed" else [*sorted(self.twin.node_names), "some-node", alone]

    @staticmethod
    def together(ways: list[Way], answers: list[Answer], missed: list[bool]) -> Answer:
        """Return the answer of all backends that may be led to: those that are missed count only alone."""
        met = {way.backend.family for way, miss in zip(ways, missed, strict=True) if not miss}
        counted = [
            answer
            for way, answer, miss in zip(ways, answers, missed, strict=True)
            if not (miss and way.backend.family in met)
        ]
        return agreement(counted) if counted else Answer.NO

    def ways(self, source: End, port: ServicePort) -> Iterator[Way]:
        for end, traffic in self.services.backends(port):
            for start in self.twin.places(source):
                for place in self.twin.places(end):
                    if start.family == place.family:
                        # What is outside is beside the node that its endpoint names.
                        at = self.services.node_at(place.address) if place.kind == "outside" else node_of(place)
                        yield Way(start, node_of(start), place, at, traffic)

    def is_missed(self, way: Way, node: str) -> bool:
        """Return whether a node with the policy Local does not lead to a backend: neither its own nor asked within."""
        return self.local and node not in (way.backend_node, way.source_node)

    def at_node(self, way: Way, node: str, asked: Traffic) -> Answer:
        if self.is_missed(way, node):
            return Answer.NO
        if way.source.pod is not None and way.source_node != node:
            # Its own node sends it on as it is.
            return both(self.twin.egress(way.source, self.node(node, way), asked), self.arriving(way, node))
        return self.translated(way, node)

    def translated(self, way: Way, node: str) -> Answer:
        """Return the answer where the node that translates is the source's own, or the source is no pod."""
        if way.source.pod is None:
            return self.arriving(way, node)
        return both(self.twin.egress(way.source, way.backend, way.traffic), self.arriving(way, node))

    def arriving(self, way: Way, node: str) -> Answer:
        """Return whether the backend takes it, from whom it comes there."""
        seen = way.source
        here = way.backend_node == node and bool(node)
        if not self.local and (
            self.options.service_source == "node" or (self.options.service_source == "depends" and not here)
        ):
            seen = self.node(node, way)
            if here:
                return Answer.YES
        return self.twin.ingress(seen, way.backend, way.traffic)

    def node(self, name: str, way: Way) -> Place:
        found = [item for item in self.twin.node_addresses(name) if item.version == way.source.family] if name else []
        return Place("node", way.source.family, found[0] if found else None, nodes=frozenset({name} - {""}))


def _on(place: Place, node: str) -> Place:
    """Return a pod's place on a node; what is no pod stays where it is."""
    if place.pod is None:
        return place
    template = msgspec.structs.replace(place.pod.template, node=node)
    return replace(place, pod=msgspec.structs.replace(place.pod, template=template))


def node_of(place: Place) -> str:
    """Return the node that a place is on, "" for outside and for what runs on none."""
    if place.pod is not None:
        return place.pod.template.node
    return min(place.nodes, default="")


def both(one: Answer, other: Answer) -> Answer:
    """Return NO if one is, YES if both are."""
    if Answer.NO in (one, other):
        return Answer.NO
    return Answer.YES if one is other else Answer.MAYBE
