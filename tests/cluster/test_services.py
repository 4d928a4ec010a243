# SPDX-License-Identifier: Apache-2.0
"""The backends of a Service: by selector with each pod's own numbers, by EndpointSlices, or none."""

from __future__ import annotations

import pytest

from podfence.cluster.services import backends, selected, target_number
from podfence.cluster.state import ClusterState
from podfence.kube.objects import (
    Backend,
    ContainerPort,
    EndpointPort,
    EndpointSlice,
    KubeObject,
    Service,
    ServicePort,
)
from podfence.sets.addresses import format_address
from tests.cluster.parts import pod, workload

APP = {"app": "web"}
HTTP = ServicePort(80, "http", "TCP", "web")
NUMBER = ServicePort(80, 8080, "TCP", "web")


def web(name: str, *ports: ContainerPort, address: str = "", phase: str = "Running", app: str = "web") -> KubeObject:
    return pod(name, *filter(None, [address]), labels={"app": app, "tier": "front"}, ports=ports, phase=phase)


def service(port: ServicePort, selector: dict[str, str] | None) -> Service:
    return Service(namespace="shop", name="web", selector=selector, ports=(port,))


def endpoints(*items: Backend, ports: tuple[EndpointPort, ...] = (EndpointPort(8080, "TCP", "web"),), of: str = "web",
              namespace: str = "shop") -> EndpointSlice:  # fmt: skip
    return EndpointSlice(namespace=namespace, name=f"{of}-1", service=of, backends=items, ports=ports)


def ready(*addresses: str) -> Backend:
    return Backend(addresses)


A = web("a", ContainerPort(8080, "TCP", "http"), address="10.0.0.1")
B = web("b", ContainerPort(9090, "TCP", "http"), address="10.0.0.2")

CASES: list[tuple[str, ServicePort, dict[str, str] | None, list[KubeObject], list[str]]] = [
    ("a number is every pod's", NUMBER, APP, [A, B], ["shop/a TCP 8080", "shop/b TCP 8080"]),
    ("a name is each pod's own number", HTTP, APP, [A, B], ["shop/a TCP 8080", "shop/b TCP 9090"]),
    ("a pod without the name is no backend", HTTP, APP, [A, web("c")], ["shop/a TCP 8080"]),
    ("a name under another protocol is no backend", HTTP, APP, [web("c", ContainerPort(53, "UDP", "http"))], []),
    ("labels that do not match", NUMBER, APP, [web("c", app="db")], []),
    ("pods of other namespaces", NUMBER, APP, [pod("p", namespace="dev", labels=APP)], []),
    ("finished pods", NUMBER, APP, [web("c", phase="Succeeded")], []),
    ("pods a workload would have", NUMBER, APP, [workload("Deployment", "web", labels=APP)], ["shop/deploy/web TCP 8080"]),
    ("with a selector, EndpointSlices do not count", NUMBER, APP, [A, endpoints(ready("10.0.0.2"))], ["shop/a TCP 8080"]),
    ("EndpointSlices name pods by address", NUMBER, None, [A, B, endpoints(ready("10.0.0.2"))], ["shop/b TCP 8080"]),
    ("EndpointSlices name addresses outside", NUMBER, None, [endpoints(ready("203.0.113.9"))], ["203.0.113.9 TCP 8080"]),
    ("endpoints that are not ready", NUMBER, None, [endpoints(Backend(("203.0.113.9",), ready=False))], []),
    ("endpoints that are host names", NUMBER, None, [endpoints(ready("db.example.com"), ready("203.0.113.9"))], ["203.0.113.9 TCP 8080"]),
    ("endpoints without address", NUMBER, None, [endpoints(ready())], []),
    ("slices of other Services", NUMBER, None, [endpoints(ready("203.0.113.9"), of="db")], []),
    ("slices of other namespaces", NUMBER, None, [endpoints(ready("203.0.113.9"), namespace="dev")], []),
    ("slice ports of another name", NUMBER, None, [endpoints(ready("203.0.113.9"), ports=(EndpointPort(1, "TCP", "x"),))], []),
    ("slice ports of another protocol", NUMBER, None, [endpoints(ready("203.0.113.9"), ports=(EndpointPort(1, "UDP", "web"),))], []),
    ("slice ports without a number", NUMBER, None, [endpoints(ready("203.0.113.9"), ports=(EndpointPort(None, "TCP", "web"),))], []),
    ("no selector and no slices", NUMBER, None, [A], []),
]  # fmt: skip


@pytest.mark.parametrize(
    ("port", "selector", "objects", "expected"), [case[1:] for case in CASES], ids=[case[0] for case in CASES]
)
def test_backends_of_a_service_port(
    port: ServicePort, selector: dict[str, str] | None, objects: list[KubeObject], expected: list[str]
) -> None:
    found = [
        f"{item.member.name if item.member else format_address(item.address or 0)} {item.protocol} {item.number}"
        for item in backends(ClusterState(objects), service(port, selector), port)
    ]

    assert found == expected


def test_a_service_without_selector_selects_nothing() -> None:
    assert selected(ClusterState([A, B]), service(NUMBER, None)) == []
    assert [member.name for member in selected(ClusterState([B, A]), service(NUMBER, APP))] == ["shop/a", "shop/b"]


def test_target_number_of_one_pod() -> None:
    (member,) = ClusterState([A]).members.values()

    assert target_number(member, NUMBER) == 8080
    assert target_number(member, HTTP) == 8080
    assert target_number(member, ServicePort(80, "metrics")) is None
