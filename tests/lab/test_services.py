# SPDX-License-Identifier: Apache-2.0
"""Services: what a node's table says, and what packets do with it."""

from __future__ import annotations

import select
from contextlib import contextmanager
from typing import TYPE_CHECKING, get_args

import msgspec
import pytest

from podfence.cluster.state import ClusterState
from podfence.kube.objects import Backend, ContainerPort, EndpointPort, EndpointSlice, Service, ServicePort
from podfence.lab.addresses import Plan, PodNetworkKind
from podfence.lab.network.namespaces import NetworkError
from podfence.lab.network.proxy import Proxy
from podfence.lab.network.service_table import ServiceTable, changes
from podfence.lab.network.services import Endpoint, proxied, table
from podfence.sets.addresses import parse_address
from tests.lab.wiring import PATIENCE, Wired, exchange, needs_namespaces
from tests.policy.parts import pod

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterator

    from podfence.kube.objects import KubeObject, Pod
    from podfence.sets.addresses import Family

FAMILIES: tuple[Family, ...] = (4, 6)
PLAN = Plan(FAMILIES)
CLUSTER = ("10.96.0.80", "fd00:10:96::80")
WEB = Service(
    namespace="shop",
    name="web",
    selector={"app": "web"},
    addresses=CLUSTER,
    ports=(ServicePort(80, 8000), ServicePort(80, 8000, "UDP")),
)
OPEN = msgspec.structs.replace(
    WEB, type="NodePort", ports=(ServicePort(80, 8000, node_port=30080), ServicePort(80, 8000, "UDP", node_port=30080))
)
CLIENT = {4: "203.0.113.9", 6: "2001:db8::9"}


def web(number: int, node: int, *, app: str = "web") -> Pod:
    return pod(
        f"{app}-{node}-{number}",
        f"10.244.{node}.{number}",
        f"fd00:10:244:{node}::{number:x}",
        labels={"app": app},
        node=f"node-{node}",
    )


def targets(*objects: KubeObject) -> list[tuple[str, int, list[Endpoint]]]:
    return [(item.protocol, item.port, list(item.endpoints)) for item in proxied(ClusterState(objects))]


def endpoint(address: str, port: int, node: str = "") -> Endpoint:
    return Endpoint(parse_address(address), port, node)


# What the table says


def test_only_running_pods_that_stay_are_backends() -> None:
    good = pod("a", "10.244.1.2", labels={"app": "web"}, node="node-1")
    others = [
        msgspec.structs.replace(pod("b", "10.244.1.3", labels={"app": "web"}), phase="Pending"),
        msgspec.structs.replace(pod("c", "10.244.1.4", labels={"app": "web"}), terminating=True),
        msgspec.structs.replace(pod("d", "10.244.1.5", labels={"app": "web"}), phase="Succeeded"),
        pod("e", labels={"app": "web"}),
        pod("f", "10.244.1.7", labels={"app": "db"}),
        pod("g", "10.244.1.8", labels={"app": "web"}, namespace="other"),
    ]
    found = [endpoint("10.244.1.2", 8000, "node-1")]
    assert targets(good, *others, WEB) == [("TCP", 80, found), ("UDP", 80, found)]


def test_a_named_port_is_looked_up_on_each_pod() -> None:
    service = msgspec.structs.replace(WEB, ports=(ServicePort(80, "http"),))
    one = pod("a", "10.244.1.2", labels={"app": "web"}, ports=[ContainerPort(8080, name="http")])
    other = pod("b", "10.244.1.3", labels={"app": "web"}, ports=[ContainerPort(9090, name="http")])
    without = pod("c", "10.244.1.4", labels={"app": "web"})
    assert targets(one, other, without, service) == [
        ("TCP", 80, [endpoint("10.244.1.2", 8080), endpoint("10.244.1.3", 9090)])
    ]


def test_a_service_without_selector_has_the_addresses_of_its_slices() -> None:
    service = msgspec.structs.replace(WEB, selector=None, ports=(ServicePort(80, 80),))
    piece = EndpointSlice(namespace="shop", name="web-1", service="web", backends=(Backend(("192.0.2.7",)), Backend(("192.0.2.8",), ready=False)), ports=(EndpointPort(9000),))  # fmt: skip
    assert targets(service, piece) == [("TCP", 80, [endpoint("192.0.2.7", 9000)])]


def test_headless_services_have_no_rules() -> None:
    assert targets(web(2, 1), msgspec.structs.replace(WEB, headless=True, addresses=())) == []


def own_pods(node: int, plan: Plan = PLAN) -> dict[Family, str]:
    return {family: plan.pod_range(node, family) for family in plan.families}


def table_of(*objects: KubeObject, plan: Plan = PLAN) -> ServiceTable:
    return table(proxied(ClusterState(objects)), "node-1", plan, own_pods(1, plan))


def script(before: ServiceTable | None, after: ServiceTable) -> str:
    return "".join(str(piece) for piece in changes(before, after))


def test_the_table_depends_on_nothing_but_the_state() -> None:
    objects: list[KubeObject] = [web(2, 1), web(3, 1), web(2, 2), OPEN]
    assert table_of(*objects) == table_of(*objects[::-1])
    text = script(None, table_of(*objects))
    assert text.startswith("add table inet podfence_lab\ndelete table inet podfence_lab\nadd table inet podfence_lab\n")
    places = "{ 0 : 10.244.1.2 . 8000, 1 : 10.244.1.3 . 8000, 2 : 10.244.2.2 . 8000 }"
    assert f"dnat ip to numgen random mod 3 map {places}" in text
    assert "dnat ip6 to jhash ip6 saddr . udp sport mod 3 map {" in text
    assert "10.96.0.80 . 6 . 80 : goto svc_shop_web_TCP_80" in text
    assert "6 . 30080 : goto ext_shop_web_TCP_80" in text


def test_a_lab_of_one_family_has_rules_of_that_family_only() -> None:
    text = script(None, table_of(web(2, 1), OPEN, plan=Plan((4,))))
    assert "ip6" not in text
    assert "fd00" not in text


def test_only_what_differs_is_sent() -> None:
    other = msgspec.structs.replace(WEB, name="api", addresses=("10.96.0.81",), selector={"app": "api"})
    before = table_of(web(2, 1), WEB, other)
    assert script(before, table_of(web(2, 1), WEB, other)) == ""
    text = script(before, table_of(web(2, 1), web(3, 1, app="api"), WEB, other))
    assert "svc_shop_api_TCP_80" in text
    assert "web" not in text


# What packets do


@pytest.fixture(scope="module", params=get_args(PodNetworkKind))
def lab(request: pytest.FixtureRequest) -> Iterator[Wired]:
    with Wired(Plan(FAMILIES, request.param), (3, 2)) as found:
        yield found


@pytest.fixture
def proxy(lab: Wired) -> Iterator[Proxy]:
    found = Proxy(PLAN, [("node-1", lab.nodes[0]), ("node-2", lab.nodes[1])])
    yield found
    found.update(ClusterState())


@contextmanager
def rejecting(lab: Wired, node: int, source: str) -> Iterator[None]:
    """Reject what podfence's own table would see from a source, where podfence's table looks."""
    word = "ip6" if ":" in source else "ip"
    lab.run(lab.nodes[node - 1], "nft", f"add table inet t; add chain inet t c {{ type filter hook forward priority -5; }}; add rule inet t c {word} saddr {source} meta l4proto 6 reject with tcp reset")  # fmt: skip
    try:
        yield
    finally:
        lab.run(lab.nodes[node - 1], "nft", "delete table inet t")


@needs_namespaces
@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("kind", ["tcp", "udp"])
def test_connections_to_a_service_are_spread_over_its_backends(
    lab: Wired, proxy: Proxy, family: Family, kind: str
) -> None:
    proxy.update(ClusterState([web(3, 1), web(2, 2), WEB]))
    client = lab.pods[0][0]
    servers = [lab.server(pid, kind, family, 8000) for pid in (lab.pods[0][1].pid, lab.pods[1][0].pid)]
    reached = set()
    for _ in range(64):
        with lab.open(client.pid, kind, family) as end:
            end.connect((CLUSTER[FAMILIES.index(family)], 80))
            if kind == "udp":
                end.send(b"?")
            server = ready(servers)
            reached.add(servers.index(server))
            if kind == "tcp":
                connection, peer = server.accept()
                connection.close()
            else:
                data, peer = server.recvfrom(9)
                server.sendto(data, peer)
                assert end.recv(9) == b"?"
            assert peer[0] == client.addresses[FAMILIES.index(family)]
        if len(reached) == 2:
            return
    pytest.fail("64 connections, one backend")


def ready(servers: list[socket.socket]) -> socket.socket:
    """Return the first of some sockets that has something to take."""
    return next(iter(select.select(servers, (), (), PATIENCE)[0]))


@needs_namespaces
@pytest.mark.parametrize("family", FAMILIES)
def test_a_node_reaches_services_too(lab: Wired, proxy: Proxy, family: Family) -> None:
    proxy.update(ClusterState([web(2, 2), WEB]))
    server = lab.server(lab.pods[1][0].pid, "tcp", family, 8000)
    for node in (1, 2):
        seen = lab.call(lab.nodes[node - 1], CLUSTER[FAMILIES.index(family)], 80, server)
        assert seen.client == PLAN.node_address(node, family)


@needs_namespaces
@pytest.mark.parametrize("family", FAMILIES)
def test_a_pod_reaches_itself_through_its_service_by_its_nodes_address(
    lab: Wired, proxy: Proxy, family: Family
) -> None:
    proxy.update(ClusterState([web(2, 1), WEB]))
    for kind in ("tcp", "udp"):
        server = lab.server(lab.pods[0][0].pid, kind, family, 8000)
        seen = lab.call(lab.pods[0][0].pid, CLUSTER[FAMILIES.index(family)], 80, server, kind)
        assert seen.client == lab.speaks_as(1, family)


@needs_namespaces
@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("kind", ["tcp", "udp"])
def test_a_node_port_is_open_on_every_node_and_gives_the_source_of_the_node(
    lab: Wired, proxy: Proxy, family: Family, kind: str
) -> None:
    proxy.update(ClusterState([web(2, 2), OPEN]))
    server = lab.server(lab.pods[1][0].pid, kind, family, 8000)
    for node in (1, 2):
        address = PLAN.node_address(node, family)
        for client, source in ((lab.outside, CLIENT[family]), (lab.pods[0][0].pid, ""), (lab.nodes[0], "")):
            seen = lab.call(client, address, 30080, server, kind, source=source)
            assert seen.client == (address if node == 1 else lab.speaks_as(2, family))


@needs_namespaces
@pytest.mark.parametrize("family", FAMILIES)
def test_behind_a_node_port_policies_see_the_client_on_the_called_node_and_the_node_on_others(
    lab: Wired, proxy: Proxy, family: Family
) -> None:
    proxy.update(ClusterState([web(2, 2), OPEN]))
    server = lab.server(lab.pods[1][0].pid, "tcp", family, 8000)

    def call(node: int) -> None:
        lab.call(lab.outside, PLAN.node_address(node, family), 30080, server, source=CLIENT[family])

    with rejecting(lab, 2, CLIENT[family]):
        call(1)
        with pytest.raises(ConnectionRefusedError):
            call(2)
    with rejecting(lab, 2, PLAN.node_address(1, family)):
        call(2)
        with pytest.raises(ConnectionRefusedError):
            call(1)


@needs_namespaces
@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("kind", ["tcp", "udp"])
def test_a_host_port_leads_to_its_pod_on_the_pods_node_alone_and_keeps_the_client(
    lab: Wired, proxy: Proxy, family: Family, kind: str
) -> None:
    proxy.update(ClusterState([with_host_ports(web(2, 2)), pod("other", "10.244.1.2", node="node-1")]))
    pid = lab.pods[1][0].pid
    server = lab.server(pid, kind, family, 8000)
    own = PLAN.node_address(2, family)
    for client, source in ((lab.outside, CLIENT[family]), (lab.pods[0][0].pid, "")):
        seen = lab.call(client, own, 9090, server, kind, source=source)
        assert seen.client == (source or lab.pods[0][0].addresses[FAMILIES.index(family)])
    assert lab.call(lab.nodes[1], own, 9090, server, kind)
    assert lab.call(pid, own, 9090, server, kind).client == lab.speaks_as(2, family)
    if kind == "tcp":
        with pytest.raises(ConnectionRefusedError):
            lab.call(lab.outside, PLAN.node_address(1, family), 9090, server, source=CLIENT[family])


def with_host_ports(found: Pod) -> Pod:
    ports = (ContainerPort(8000, host_port=9090), ContainerPort(8000, "UDP", host_port=9090))
    return msgspec.structs.replace(found, template=msgspec.structs.replace(found.template, ports=ports))


def test_a_host_port_is_opened_for_pods_that_run_and_a_port_has_one_leader() -> None:
    first, second = (with_host_ports(web(number, 1, app=app)) for number, app in ((2, "a"), (3, "b")))
    ended = msgspec.structs.replace(with_host_ports(web(4, 1, app="0")), phase="Succeeded")
    found = table(proxied(ClusterState([first, second, ended])), "node-1", PLAN, own_pods(1))
    elsewhere = table(proxied(ClusterState([first, second, ended])), "node-2", PLAN, own_pods(2))

    def leaders(made: ServiceTable) -> list[str]:
        return [
            str(one) for item, several in made.elements.items() if item.name == "node_ports" for one in several.values()
        ]

    assert ["a-1-2" in item for item in leaders(found)] == [True, True]
    assert not leaders(elsewhere)


@needs_namespaces
@pytest.mark.parametrize("family", FAMILIES)
def test_policy_local_keeps_the_client_and_uses_only_the_nodes_own_backends(
    lab: Wired, proxy: Proxy, family: Family
) -> None:
    proxy.update(ClusterState([web(2, 2), msgspec.structs.replace(OPEN, external_traffic_policy="Local")]))
    server = lab.server(lab.pods[1][0].pid, "tcp", family, 8000)
    seen = lab.call(lab.outside, PLAN.node_address(2, family), 30080, server, source=CLIENT[family])
    assert seen.client == CLIENT[family]
    with pytest.raises(TimeoutError):
        lab.call(lab.outside, PLAN.node_address(1, family), 30080, server, patience=0.2)
    pod_client = lab.pods[0][0]
    assert lab.call(pod_client.pid, PLAN.node_address(1, family), 30080, server).client in pod_client.addresses
    with pytest.raises(TimeoutError):
        # A pod of another node is like a client outside, though its address is one of the cluster's pods.
        lab.call(lab.pods[1][1].pid, PLAN.node_address(1, family), 30080, server, patience=0.2)


@needs_namespaces
@pytest.mark.parametrize("family", FAMILIES)
def test_external_addresses_lead_pods_to_the_backends(lab: Wired, proxy: Proxy, family: Family) -> None:
    external = {4: "198.51.100.5", 6: "2001:db8:5::5"}
    proxy.update(ClusterState([web(2, 2), msgspec.structs.replace(WEB, external_addresses=tuple(external.values()))]))
    server = lab.server(lab.pods[1][0].pid, "tcp", family, 8000)
    lab.call(lab.pods[0][0].pid, external[family], 80, server)


@needs_namespaces
@pytest.mark.parametrize("family", FAMILIES)
def test_a_service_without_backends_refuses_at_once(lab: Wired, proxy: Proxy, family: Family) -> None:
    external = {4: "198.51.100.5", 6: "2001:db8:5::5"}
    service = msgspec.structs.replace(OPEN, external_addresses=tuple(external.values()))
    proxy.update(ClusterState([service]))
    unused = lab.server(lab.pods[1][0].pid, "tcp", family, 8000)
    cluster = CLUSTER[FAMILIES.index(family)]
    for client in (lab.pods[0][0].pid, lab.nodes[0]):
        for address, port in (
            (cluster, 80),
            (cluster, 81),
            (external[family], 80),
            (PLAN.node_address(1, family), 30080),
        ):
            with pytest.raises(ConnectionRefusedError):
                lab.call(client, address, port, unused)
    with lab.open(lab.pods[0][0].pid, "udp", family) as end:
        end.connect((cluster, 80))
        end.send(b"?")
        with pytest.raises(ConnectionRefusedError):
            end.recv(1)


@needs_namespaces
@pytest.mark.parametrize("family", FAMILIES)
def test_a_udp_client_that_keeps_its_port_is_led_to_the_next_backend(lab: Wired, proxy: Proxy, family: Family) -> None:
    first, second = (lab.server(lab.pods[1][number].pid, "udp", family, 8000) for number in (0, 1))
    proxy.update(ClusterState([web(2, 2), WEB]))
    with lab.open(lab.pods[0][0].pid, "udp", family) as end:
        end.connect((CLUSTER[FAMILIES.index(family)], 80))
        exchange(end, first)
        proxy.update(ClusterState([web(2, 2), web(3, 2), WEB]))
        exchange(end, first)
        proxy.update(ClusterState([web(3, 2), WEB]))
        exchange(end, second)


@needs_namespaces
def test_connections_survive_changes_of_other_services_and_an_equal_state_changes_nothing(
    lab: Wired, proxy: Proxy
) -> None:
    other = msgspec.structs.replace(WEB, name="api", addresses=("10.96.0.81",))
    server = lab.server(lab.pods[1][0].pid, "tcp", 4, 8000)
    assert proxy.update(ClusterState([web(2, 2), WEB])) == 2
    assert proxy.update(ClusterState([web(2, 2), WEB])) == 0
    with lab.open(lab.pods[0][0].pid, "tcp", 4) as end:
        end.connect((CLUSTER[0], 80))
        accepted, _ = server.accept()
        with accepted:
            accepted.settimeout(PATIENCE)
            assert proxy.update(ClusterState([web(2, 2), WEB, other])) == 2
            end.send(b"still")
            assert accepted.recv(9) == b"still"
            accepted.send(b"there")
            assert end.recv(9) == b"there"


@needs_namespaces
def test_services_are_not_reached_from_outside(lab: Wired, proxy: Proxy) -> None:
    proxy.update(ClusterState([web(2, 2), WEB]))
    server = lab.server(lab.pods[1][0].pid, "tcp", 4, 8000)
    with pytest.raises(OSError, match="No route to host"):
        lab.call(lab.outside, CLUSTER[0], 80, server)


@needs_namespaces
def test_many_services_come_and_go(lab: Wired, proxy: Proxy) -> None:
    services = [
        msgspec.structs.replace(
            OPEN,
            name=f"web-{number}",
            addresses=(f"10.96.1.{number}",),
            ports=(ServicePort(80, 8000, node_port=30000 + number),),
        )
        for number in range(100)
    ]
    pods = [web(number, node) for node in (1, 2) for number in range(2, 52)]
    proxy.update(ClusterState([*services, *pods]))
    server = lab.server(lab.pods[1][0].pid, "tcp", 4, 8000)
    proxy.update(ClusterState([*services, web(2, 2)]))
    for number in (0, 99):
        lab.call(lab.pods[0][0].pid, f"10.96.1.{number}", 80, server)
        lab.call(lab.pods[0][0].pid, PLAN.node_address(1, 4), 30000 + number, server)
    proxy.update(ClusterState([services[0], web(2, 2)]))
    lab.call(lab.pods[0][0].pid, "10.96.1.0", 80, server)
    with pytest.raises(ConnectionRefusedError):
        lab.call(lab.pods[0][0].pid, "10.96.1.99", 80, server)
    listing = lab.run(lab.nodes[0], "nft", "list", "table", "inet", "podfence_lab")
    assert "web-99" not in listing


@needs_namespaces
def test_a_table_that_somebody_deleted_comes_back_at_the_second_try(lab: Wired, proxy: Proxy) -> None:
    proxy.update(ClusterState([web(2, 2), WEB]))
    lab.run(lab.nodes[0], "nft", "delete", "table", "inet", "podfence_lab")
    state = ClusterState([web(2, 2), web(3, 2), WEB])
    with pytest.raises(NetworkError, match="Services on node-1: "):
        proxy.update(state)
    proxy.update(state)
    assert "10.244.2.3" in lab.run(lab.nodes[0], "nft", "list", "table", "inet", "podfence_lab")
