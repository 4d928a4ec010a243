# SPDX-License-Identifier: Apache-2.0
"""Services for the twin: random ones, and what a connection to one amounts to, rule by rule."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

import msgspec
from hypothesis import strategies as st

from podfence.kube.objects import Backend, EndpointPort, EndpointSlice, Pod, Service, ServicePort

from . import strategies
from .addresses import parse_address
from .question import AddressEnd, Answer, PodEnd, Traffic, agreement
from .strategies import NODE_ADDRESSES, POD_ADDRESSES, PORT_NAMES, PORT_NUMBERS
from .twin import Place, Twin, owner_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hypothesis.strategies import DrawFn, SearchStrategy

    from podfence.kube.objects import KubeObject, Labels
    from podfence.policy.options import Options

    from .addresses import Address
    from .question import End

SERVICE = "svc"
BACKEND_ADDRESSES = (*(text for several in POD_ADDRESSES for text in several), *NODE_ADDRESSES["n1"], "203.0.113.7")


@cache
def ports() -> SearchStrategy[tuple[ServicePort, ...]]:
    """Return the ports of a Service: one or two, to numbers or to names, which pods have or have not."""
    protocol = st.sampled_from(("TCP", "TCP", "UDP"))
    target = st.sampled_from((*PORT_NUMBERS[:3], *PORT_NAMES))
    first = st.builds(ServicePort, st.just(80), target, protocol, st.just("one"))
    second = st.builds(ServicePort, st.just(443), target, protocol, st.just("two"))
    return st.one_of(st.tuples(first), st.tuples(first, second))


@st.composite
def clusters(draw: DrawFn) -> list[KubeObject]:
    """Return the objects of a cluster with a Service, often of pods that policies isolate."""
    objects = draw(strategies.clusters())
    backed = draw(st.sampled_from([item for item in objects if isinstance(item, Pod)]))
    labels = backed.template.labels or {"a": "x"}
    template = msgspec.structs.replace(backed.template, labels=labels)
    objects[objects.index(backed)] = msgspec.structs.replace(backed, template=template)
    objects += [draw(strategies.policies(backed.namespace, name)) for name in ("s1", "s2")]
    return [*objects, *draw(services(backed.namespace, dict([draw(st.sampled_from(sorted(labels.items())))])))]


@st.composite
def services(draw: DrawFn, namespace: str, labels: Labels) -> list[KubeObject]:
    """Return a Service that selects the labels, or one without a selector and its EndpointSlice."""
    some_ports = draw(ports())
    selector = draw(st.sampled_from((labels, labels, None)))
    service = Service(
        namespace=namespace,
        name=SERVICE,
        type=draw(st.sampled_from(("ClusterIP", "NodePort", "LoadBalancer"))),
        selector=selector,
        ports=some_ports,
        external_traffic_policy=draw(st.sampled_from(("Cluster", "Cluster", "Local"))),
    )
    if selector is not None:
        return [service]
    backend = st.builds(
        Backend,
        st.tuples(st.sampled_from(BACKEND_ADDRESSES)),
        ready=st.sampled_from((True, True, False)),
        node=st.sampled_from(("", *NODE_ADDRESSES)),
    )
    number = st.sampled_from(PORT_NUMBERS[:3])
    return [
        service,
        EndpointSlice(
            namespace=namespace,
            name=f"{SERVICE}-1",
            service=SERVICE,
            backends=tuple(draw(st.lists(backend, max_size=3, unique=True))),
            ports=tuple(EndpointPort(draw(number), port.protocol, port.name) for port in some_ports),
        ),
    ]


class ServiceTwin:
    """A set of objects with one Service among them, ready to be asked about it."""

    def __init__(self, objects: Sequence[KubeObject], options: Options) -> None:
        # What comes back to a pod through a Service is exempt as `hairpin` says (semantics 7.2), not by 7.1.
        self.twin = Twin(objects, options.with_value("self_traffic", options.hairpin))
        self.options = options
        (self.service,) = (item for item in objects if isinstance(item, Service))
        self.slices = [item for item in objects if isinstance(item, EndpointSlice)]

    def backends(self, port: ServicePort) -> dict[tuple[End, Traffic], None]:
        """Return where a port of the Service leads: by its selector, or else by EndpointSlices (semantics 7.7)."""
        found: dict[tuple[End, Traffic], None] = {}
        if self.service.selector is not None:
            for pod in self.twin.pods:
                number = self.number(pod, port)
                if self.is_selected(pod) and number is not None:
                    found[PodEnd(pod.namespace, pod.name), Traffic(port.protocol, number)] = None
            return found
        for piece in self.slices:
            for written in piece.ports:
                for backend in piece.backends:
                    if written.name == port.name and backend.ready:
                        end = self.end_at(backend.addresses[0])
                        found[end, Traffic(written.protocol, written.number)] = None
        return found

    def is_selected(self, pod: Pod) -> bool:
        """Return whether the Service selects the pod."""
        wanted = self.service.selector or {}
        return pod.namespace == self.service.namespace and all(
            pod.template.labels.get(key) == value for key, value in wanted.items()
        )

    def number(self, pod: Pod, port: ServicePort) -> int | None:
        """Return the pod's number of a target port (semantics 5.4), None if it has none of that name."""
        if isinstance(port.target, int):
            return port.target
        for item in pod.template.ports:
            if (item.name, item.protocol) == (port.target, port.protocol):
                return item.number
        return None

    def end_at(self, text: str) -> End:
        """Return what has an address: a pod by all its addresses, or whatever it is (semantics 8.6)."""
        pod = owner_of(parse_address(text), self.twin.pods)
        return AddressEnd(text) if pod is None else PodEnd(pod.namespace, pod.name)

    def node_at(self, address: Address | None) -> str:
        """Return the node that the endpoint with an address names, "" if none."""
        backends = [backend for piece in self.slices for backend in piece.backends if backend.ready]
        return next((one.node for one in backends if parse_address(one.addresses[0]) == address), "")

    def allowed(self, source: End, backend: End, traffic: Traffic) -> Answer:
        """Return whether a connection to the Service reaches a backend, whoever it comes from there (semantics 7.9)."""
        as_client = self.twin.allowed(source, backend, traffic)
        hides = self.service.type in {"NodePort", "LoadBalancer"} and self.service.external_traffic_policy == "Cluster"
        outside = all(place.kind == "outside" for place in self.twin.places(source))
        if not outside or not hides or self.options.service_source == "client":
            return as_client
        families = {start.family for start, end in self.twin.routes(source, backend)}
        as_node = [
            answer
            for place in self.twin.places(backend)
            if place.family in families
            for answer in ([Answer.YES] if place.pod is None else [Answer.YES, self.from_other_node(place, traffic)])
        ]
        return agreement(as_node if self.options.service_source == "node" else [as_client, *as_node])

    def from_other_node(self, place: Place, traffic: Traffic) -> Answer:
        """Return whether a node that the pod does not run on, of which nothing else is known, reaches it (semantics 7.5)."""
        return self.twin.ingress(Place("node", place.family, None), place, traffic)
