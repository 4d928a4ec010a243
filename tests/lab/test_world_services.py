# SPDX-License-Identifier: Apache-2.0
"""Services have the addresses and node ports an API server would give them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from podfence.cluster.services import backends
from podfence.kube.objects import Key
from tests.lab import worlds
from tests.lab.worlds import apply, errors, world

if TYPE_CHECKING:
    from podfence.kube.objects import Service
    from podfence.lab.objects.world import World


def service(made: World, name: str = "web", namespace: str = "default") -> Service:
    return made.state.services[Key("Service", namespace, name)]


def test_a_service_has_an_address_of_its_own_and_keeps_it() -> None:
    made = world()
    apply(made, worlds.service("web") + worlds.service("api"))
    (address,) = service(made).addresses

    assert address.startswith("10.96.")
    assert service(made, "api").addresses != (address,)
    apply(made, worlds.service("web", ports="[{port: 81}]"))
    assert service(made).addresses == (address,)
    assert service(made).ports[0].port == 81


def test_a_dual_stack_service_has_an_address_of_each_family() -> None:
    made = world(families=(6, 4))
    apply(made, worlds.service())

    six, four = service(made).addresses
    assert six.startswith("fd00:10:96::")
    assert four.startswith("10.96.")
    assert service(made, "kube-dns", "kube-system").addresses[0] == "fd00:10:96::a"


def test_a_wanted_address_is_given_once() -> None:
    made = world()
    apply(made, worlds.service("web", "  clusterIP: 10.96.3.4"))

    assert service(made).addresses == ("10.96.3.4",)
    (error,) = errors(made, worlds.service("api", "  clusterIP: 10.96.3.4"))
    taken = 'Invalid value: ["10.96.3.4"]: failed to allocate IP 10.96.3.4: provided IP is already allocated'
    assert error == f"app.yaml:8:14: error: spec.clusterIP: {taken}"
    assert Key("Service", "default", "api") not in made.state.services
    worlds.delete(made, "svc", "web")
    apply(made, worlds.service("api", "  clusterIP: 10.96.3.4"))


def test_an_address_of_another_cluster_is_replaced_and_that_is_said() -> None:
    made = world()
    done = worlds.applied(made, worlds.documents(worlds.service("web", "  clusterIP: 10.43.0.7")))

    assert done.notes == ["service/web: 10.43.0.7 is not in 10.96.0.0/16, so the Service gets another address"]
    assert service(made).addresses[0].startswith("10.96.")


def test_an_address_cannot_change() -> None:
    made = world()
    apply(made, worlds.service())
    before = service(made).addresses

    assert "may not change once set" in errors(made, worlds.service("web", "  clusterIP: 10.96.3.4"))[0]
    assert "may not change once set" in errors(made, worlds.service("web", "  clusterIP: None"))[0]
    assert service(made).addresses == before
    apply(made, worlds.service("other", "  clusterIP: 10.96.3.4"))


def test_a_headless_service_has_no_address_and_stays_headless() -> None:
    made = world()
    apply(made, worlds.service("web", "  clusterIP: None"))
    apply(made, worlds.service("web", ports="[{port: 81}]"))

    assert (service(made).addresses, service(made).headless) == ((), True)


def test_node_ports_are_given_and_wanted_ones_honoured() -> None:
    made = world()
    ports = "[{name: a, port: 80, nodePort: 30000}, {name: b, port: 81}, {name: c, port: 82}]"
    apply(made, worlds.service("web", "  type: NodePort", ports))

    assert [port.node_port for port in service(made).ports] == [30000, 30001, 30002]
    # A port that keeps its name keeps its number.
    apply(
        made, worlds.service("web", "  type: NodePort", ports.replace("81", "90").replace("c, port: 82", "d, port: 92"))
    )
    assert [port.node_port for port in service(made).ports] == [30000, 30001, 30003]


@pytest.mark.parametrize(
    ("kind", "number", "message"),
    [
        ("NodePort", 31261, "Invalid value: 31261: provided port is already allocated"),
        ("NodePort", 80, "Invalid value: 80: provided port is not in the valid range. The range of valid ports is 30000-32767"),
        ("ClusterIP", 31262, "Forbidden: may not be used when `type` is 'ClusterIP'"),
    ],
)  # fmt: skip
def test_a_node_port_that_cannot_be_had_is_an_error(kind: str, number: int, message: str) -> None:
    made = world()
    apply(made, worlds.service("web", "  type: NodePort", "[{port: 80, nodePort: 31261}]"))

    found = errors(made, worlds.service("api", f"  type: {kind}", f"[{{port: 80, nodePort: {number}}}]"))

    assert found == [f"app.yaml:7:32: error: spec.ports[0].nodePort: {message}"]


def test_a_refused_change_leaves_everything_as_it_was() -> None:
    made = world()
    apply(made, worlds.service("a", "  type: NodePort", "[{port: 80, nodePort: 30100}]"))
    apply(made, worlds.service("b", "  type: NodePort", "[{port: 80, nodePort: 30200}]"))
    before = service(made, "b")

    assert errors(made, worlds.service("b", "  type: NodePort", "[{port: 80, nodePort: 30100}]"))

    assert service(made, "b") is before
    assert (
        "already allocated" in errors(made, worlds.service("c", "  type: NodePort", "[{port: 80, nodePort: 30200}]"))[0]
    )
    assert "already allocated" in errors(made, worlds.service("c", f"  clusterIP: {before.addresses[0]}"))[0]


def test_node_ports_and_addresses_are_free_again_after_their_service() -> None:
    made = world()
    text = worlds.service("web", "  type: NodePort", "[{port: 80, nodePort: 31261}]")
    apply(made, text, "shop")
    worlds.delete(made, "ns", "shop")

    apply(made, text)
    apply(made, worlds.service("web"))
    assert service(made).ports[0].node_port == 0
    apply(made, text.replace("name: web}\n", "name: other}\n"))


def test_a_load_balancer_is_reached_by_its_node_port_and_that_is_said() -> None:
    made = world()
    done = worlds.applied(made, worlds.documents(worlds.service("web", "  type: LoadBalancer")))

    assert done.notes == ["service/web: the lab has no load balancer; from outside, use the node port"]
    assert service(made).ports[0].node_port >= 30000


def test_the_dns_service_has_its_address_whatever_is_written() -> None:
    made = world()
    text = worlds.service("kube-dns", "  clusterIP: 10.43.0.10")

    apply(made, text, "kube-system")
    assert service(made, "kube-dns", "kube-system").addresses == ("10.96.0.10",)
    worlds.delete(made, "svc", "kube-dns", namespace="kube-system")
    apply(made, text, "kube-system")
    assert service(made, "kube-dns", "kube-system").addresses == ("10.96.0.10",)


def test_an_external_name_has_no_address() -> None:
    made = world()
    apply(made, worlds.service("web", "  type: ExternalName\n  externalName: example.org", "[]"))

    assert service(made).addresses == ()


def test_endpoints_are_the_backends_of_a_service_without_a_selector() -> None:
    made = world()
    outcomes = apply(
        made,
        "{apiVersion: v1, kind: Service, metadata: {name: db}, spec: {ports: [{port: 80}]}}\n---\n"
        "{apiVersion: v1, kind: Endpoints, metadata: {name: db}, subsets: [{addresses: [{ip: 203.0.113.9}], ports: [{port: 8080}]}]}\n",
    )
    assert outcomes == ["service/db created", "endpoints/db created"]
    found = service(made, "db")
    assert [backend.number for backend in backends(made.state, found, found.ports[0])] == [8080]


def test_what_an_answer_does_not_depend_on_is_refused_all_the_same() -> None:
    made = world()
    (text,) = errors(made, "{apiVersion: v1, kind: Pod, metadata: {name: p}, spec: {containers: [{name: c}]}}")
    assert "spec.containers[0].image: Required value" in text
