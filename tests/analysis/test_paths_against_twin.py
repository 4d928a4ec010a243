# SPDX-License-Identifier: Apache-2.0
"""NodePorts and external addresses of a Service of a random cluster: `check` says what the way of the packet says."""

from __future__ import annotations

import ipaddress
import itertools
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podfence.api import Cluster
from podfence.kube.objects import Service, ServicePort
from podfence.policy.options import Options
from tests.analysis.test_check_against_twin import endpoint_text, whole_pods
from tests.policy.parts import pod, policy, space
from tests.twin import boundaries, strategies
from tests.twin.effort import tried
from tests.twin.paths import EXTERNAL, PathTwin, exposed
from tests.twin.question import AddressEnd, Answer, PodEnd
from tests.twin.services import clusters

if TYPE_CHECKING:
    from podfence.kube.objects import KubeObject

DECISIONS = {Answer.YES: "allowed", Answer.NO: "denied", Answer.MAYBE: "depends"}


@tried(60)
@given(
    drawn=clusters(),
    options=strategies.options(),
    source=st.sampled_from(("client", "node", "depends")),
    data=st.data(),
)
def test_a_node_port_leads_where_the_packet_goes(
    drawn: list[KubeObject], options: Options, source: str, data: st.DataObject
) -> None:
    options = options.with_value("service_source", source)
    objects = exposed(drawn)
    cluster, twin = Cluster.from_objects(objects, options), PathTwin(objects, options)
    port = twin.services.service.ports[0]
    ends = [end for end in whole_pods(boundaries.ends(objects)) if not is_loopback(end)]
    node = data.draw(st.sampled_from(sorted(twin.twin.node_names) or [""]))
    for start in ends if node else ():
        verdict = cluster.check(endpoint_text(start), f"node:{node}", f"{port.node_port}/{port.protocol.lower()}")

        expected = DECISIONS[twin.node_port(start, node, port)]
        assert verdict.decision == expected, (start, node, str(verdict))


@tried(60)
@given(drawn=clusters(), options=strategies.options(), source=st.sampled_from(("client", "node", "depends")))
def test_an_external_address_is_translated_on_the_pods_own_node(
    drawn: list[KubeObject], options: Options, source: str
) -> None:
    options = options.with_value("service_source", source)
    objects = exposed(drawn)
    cluster, twin = Cluster.from_objects(objects, options), PathTwin(objects, options)
    port = twin.services.service.ports[0]
    for start in whole_pods(boundaries.ends(objects)):
        if not isinstance(start, PodEnd) or twin.twin.is_node_traffic(twin.twin.pod_named(start)):
            continue
        verdict = cluster.check(endpoint_text(start), EXTERNAL, f"{port.port}/{port.protocol.lower()}")

        assert verdict.decision == DECISIONS[twin.external(start, port)], (start, str(verdict))


@pytest.mark.parametrize("world", ["open", "closed"])
@pytest.mark.parametrize("source", ["node", "depends"])
@pytest.mark.parametrize("both", [True, False], ids=["both are behind it", "one is behind it"])
def test_where_nobody_knows_the_node_of_a_pod_an_external_address_leads_as_on_any_node(
    world: str, source: str, both: bool
) -> None:
    options = Options.parse([f"world={world}", f"service-source={source}"])
    service = Service(namespace="shop", name="svc", selector={"a": "x"}, ports=(ServicePort(80, 80, "TCP", "one"),))
    for nodes in itertools.product(("n1", ""), ("n1", "n2", "")):
        pods = [
            pod(name, address, labels=labels, node=node)
            for name, address, labels, node in zip(
                ("web", "db"), ("10.0.0.1", "10.0.0.2"), ({"a": "x"}, {"a": "x" if both else "y"}), nodes, strict=True
            )
        ]
        objects = exposed([space("shop"), *pods, policy("none", ingress=[]), service])
        cluster, twin = Cluster.from_objects(objects, options), PathTwin(objects, options)
        for item in pods:
            verdict = cluster.check(f"shop/{item.name}", EXTERNAL, "80/tcp")
            said = twin.external(PodEnd("shop", item.name), twin.services.service.ports[0])
            assert verdict.decision == DECISIONS[said], (nodes, str(verdict))


def is_loopback(end: object) -> bool:
    return isinstance(end, AddressEnd) and ipaddress.ip_address(end.address).is_loopback
