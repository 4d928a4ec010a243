# SPDX-License-Identifier: Apache-2.0
"""A Service of a random cluster: `check` and `list` say what the slow twin says of its backends."""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podfence.api import Cluster
from podfence.errors import EndpointError
from podfence.kube.objects import Node, Pod
from tests.analysis.test_check_against_twin import endpoint_text, whole_pods
from tests.analysis.test_list_against_twin import holds, is_block
from tests.twin import boundaries, strategies
from tests.twin.effort import tried
from tests.twin.question import AddressEnd, Answer, NodeEnd, PodEnd, agreement
from tests.twin.services import SERVICE, ServiceTwin, clusters

if TYPE_CHECKING:
    from podfence.analysis.answers import PodConnection
    from podfence.kube.objects import KubeObject, ServicePort
    from podfence.policy.options import Options
    from tests.twin.question import End

DECISIONS = {Answer.YES: "allowed", Answer.NO: "denied", Answer.MAYBE: "depends"}
SOURCES = ("client", "node", "depends")


def drawn_options(options: Options, source: str) -> Options:
    return options.with_value("service_source", source)


def text_of(port: ServicePort) -> str:
    return f"{port.port}/{port.protocol.lower()}"


@tried(150)
@given(objects=clusters(), options=strategies.options(), source=st.sampled_from(SOURCES))
def test_check_asks_every_backend_of_a_service(objects: list[KubeObject], options: Options, source: str) -> None:
    options = drawn_options(options, source)
    cluster, twin = Cluster.from_objects(objects, options), ServiceTwin(objects, options)
    to = f"{twin.service.namespace}/svc/{SERVICE}"
    for start in whole_pods(boundaries.ends(objects)):
        if isinstance(start, NodeEnd) or is_loopback(start):
            continue
        for port in twin.service.ports:
            expected = [
                twin.allowed(start, end, traffic)
                for end, traffic in twin.backends(port)
                if twin.twin.share_family(start, end)
            ]
            verdict = cluster.check(endpoint_text(start), to, text_of(port))

            wanted = DECISIONS[agreement(expected)] if expected else "denied"
            assert verdict.decision == wanted, (start, port, str(verdict), expected)


@tried(150)
@given(objects=clusters(), options=strategies.options(), source=st.sampled_from(SOURCES))
def test_list_shows_the_backends_of_a_service_at_their_ports(
    objects: list[KubeObject], options: Options, source: str
) -> None:
    options = drawn_options(options, source)
    cluster, twin = Cluster.from_objects(objects, options), ServiceTwin(objects, options)
    to = f"{twin.service.namespace}/svc/{SERVICE}"
    owned = {address for item in objects if isinstance(item, Pod | Node) for address in item.addresses}
    for port in twin.service.ports:
        if any(place.kind == "node" for end, _ in twin.backends(port) for place in twin.twin.places(end)):
            with pytest.raises(EndpointError, match=r"hostNetwork pod|about a node"):
                cluster.pod_connections(destination=to, port=text_of(port))
            continue
        found = list(cluster.pod_connections(destination=to, port=text_of(port)))
        for start in whole_pods(boundaries.ends(objects)):
            if isinstance(start, NodeEnd) or is_loopback(start):
                continue
            if isinstance(start, AddressEnd) and start.address in owned:
                continue
            for end, traffic in twin.backends(port):
                if start == end or not twin.twin.share_family(start, end) or is_host(start, objects, options):
                    continue
                if isinstance(start, AddressEnd) and isinstance(end, AddressEnd):
                    # Neither is judged, and neither is a pod to be listed unless it is asked about.
                    continue
                lines = [item for item in found if is_between(item, start, end) and holds(item.ports, traffic)]
                assert len(lines) <= 1, "a pair and a port are in one line at most"
                listed = Answer.NO if not lines else Answer.MAYBE if lines[0].depends else Answer.YES
                assert listed is twin.allowed(start, end, traffic), (start, end, traffic, lines)


def is_loopback(end: End) -> bool:
    return isinstance(end, AddressEnd) and ipaddress.ip_address(end.address).is_loopback


def is_host(end: End, objects: list[KubeObject], options: Options) -> bool:
    """Return whether an end is a pod that is a part of its node, and so is not listed."""
    return options.host_network == "node" and any(
        isinstance(item, Pod)
        and item.template.host_network
        and (item.namespace, item.name) == (end.namespace, end.name)
        for item in objects
        if isinstance(end, PodEnd)
    )


def is_between(item: PodConnection, start: End, end: End) -> bool:
    return is_at(item.source, start) and is_at(item.destination, end)


def is_at(name: str, end: End) -> bool:
    match end:
        case PodEnd(namespace=namespace, name=pod):
            return name == f"{namespace}/{pod}"
        case AddressEnd(address=address):
            return is_block(name) and ipaddress.ip_address(address) in ipaddress.ip_network(name)
        case NodeEnd():
            return False
