# SPDX-License-Identifier: Apache-2.0
"""The listing and the matrix: how connectivity is put into lines, and what limits it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from podfence.api import Cluster
from podfence.errors import EndpointError
from podfence.kube.objects import (
    Backend,
    ContainerPort,
    EndpointPort,
    EndpointSlice,
    Owner,
    Peer,
    Pod,
    PodTemplate,
    PolicyPort,
    Rule,
    Service,
    ServicePort,
    Workload,
)
from podfence.policy.options import Options
from tests.policy.parts import app, block, label, pod, policy, rule, space

if TYPE_CHECKING:
    from podfence.kube.objects import KubeObject

WEB, DB, TOOL = pod("web", "10.0.0.1"), pod("db", "10.0.0.2"), pod("tool", "10.0.9.1", namespace="dev")
TRIO: list[KubeObject] = [WEB, DB, TOOL]
FROM_WEB = policy("db", app("db"), ingress=[rule(Peer(pod_selector=app("web")), ports=[PolicyPort("TCP", 5432)])])
DENY_ALL = policy("deny", ingress=[], egress=[])


def owned(name: str, track: str, kind: str = "StatefulSet") -> Pod:
    template = PodTemplate(labels={"track": track, "pod": name})
    return Pod(namespace="shop", name=name, template=template, owner=Owner(kind, "app"), phase="Running")


def lines(cluster: Cluster, **question: Any) -> list[str]:  # noqa: ANN401 - whatever can be asked
    return [
        f"{item.sources} -> {item.destinations} {item.ports}" + (f" ({item.depends})" if item.depends else "")
        for item in cluster.connectivity(**question).connections
    ]


def serving(selector: dict[str, str] | None, target: int | str = 5432) -> Service:
    return Service(namespace="shop", name="s", selector=selector, ports=(ServicePort(80, target, name="main"),))


SLICE = EndpointSlice(
    namespace="shop",
    name="s-1",
    service="s",
    backends=(Backend(("10.0.0.2",)), Backend(("203.0.113.9",))),
    ports=(EndpointPort(5432, name="main"),),
)
FROM_OUTSIDE = policy("db", app("db"), ingress=[rule(block("203.0.113.0/24"))])
NAMED = pod("web", "10.0.0.1", ports=[ContainerPort(8080, "TCP", "http")])
NAMED_TWICE = [
    pod(name, labels={"crowd": "yes"}, ports=[ContainerPort(number, "TCP", "http")])
    for name, number in (("web", 8080), ("db", 9090))
]
DUAL, DUAL_DB = pod("web", "10.0.0.1", "fd00::1"), pod("db", "10.0.0.2", "fd00::2")
LISTS: list[tuple[str, list[KubeObject], dict[str, Any], list[str]]] = [
    ("no policy", TRIO, {}, ["everything -> all pods all ports", "all pods -> any address all ports"]),
    ("one pod", [WEB], {}, ["everything -> all pods all ports", "all pods -> any address all ports"]),
    ("nothing", [], {}, []),
    ("a named port with another number on each pod", [NAMED, pod("db", "10.0.0.2", ports=[ContainerPort(9090, "TCP", "http")])], {"port": "http"}, [
        "everything -> shop/db TCP 9090", "everything -> shop/web TCP 8080"]),
    ("a closed namespace", [*TRIO, DENY_ALL], {}, [
        "any address -> dev/tool all ports", "dev/tool -> any address all ports"]),
    ("one rule", [*TRIO, FROM_WEB], {}, [
        "all pods -> any address all ports", "everything -> dev/tool, shop/web all ports", "shop/* -> shop/db TCP 5432"]),
    ("from one pod", [*TRIO, FROM_WEB], {"source": "shop/web"}, [
        "shop/web -> any address all ports", "shop/web -> dev/tool, shop/web all ports", "shop/web -> shop/db TCP 5432"]),
    ("from a pod that reaches nothing", [*TRIO, DENY_ALL], {"source": "shop/web"}, []),
    ("to one pod", [*TRIO, FROM_WEB], {"destination": "shop/db"}, ["shop/* -> shop/db TCP 5432"]),
    ("to one pod on one port", [*TRIO, FROM_WEB], {"destination": "shop/db", "port": 5432}, ["shop/* -> shop/db TCP 5432"]),
    ("to one pod on another port", [*TRIO, FROM_WEB], {"destination": "shop/db", "port": 80}, []),
    ("on one port", [*TRIO, FROM_WEB], {"port": "53/udp"}, [
        "all pods -> any address UDP 53", "everything -> dev/tool, shop/web UDP 53"]),
    ("on a named port", [NAMED, DB], {"port": "http"}, ["everything -> shop/web TCP 8080"]),
    ("one pair", [*TRIO, FROM_WEB], {"source": "shop/web", "destination": "shop/db"}, ["shop/web -> shop/db TCP 5432"]),
    ("from an address", [*TRIO, FROM_WEB], {"source": "203.0.113.9"}, ["203.0.113.9/32 -> dev/tool, shop/web all ports"]),
    ("from a range", [WEB, policy("p", ingress=[rule(block("203.0.113.0/24", "203.0.113.128/25"))])], {"source": "203.0.112.0/23"}, [
        "203.0.113.0/25 -> all pods all ports"]),
    ("to an address", [*TRIO, DENY_ALL], {"destination": "203.0.113.9"}, ["dev/tool -> 203.0.113.9/32 all ports"]),
    ("one namespace", [*TRIO, FROM_WEB], {"namespaces": ["dev"]}, [
        "everything -> dev/tool all ports", "dev/tool -> any address all ports", "dev/tool -> shop/web all ports"]),
    ("a name in its namespace", [*TRIO, FROM_WEB], {"destination": "db", "namespace": "shop"}, ["shop/* -> shop/db TCP 5432"]),
    ("a Service, at its target port", [*TRIO, FROM_WEB, serving({"app": "db"})], {"destination": "shop/svc/s"}, ["shop/* -> shop/db TCP 5432"]),
    ("a Service, asked at its own port", [*TRIO, FROM_WEB, serving({"app": "db"})], {"destination": "shop/svc/s", "port": 80}, ["shop/* -> shop/db TCP 5432"]),
    ("a Service whose name of a port is another number on each pod", [*NAMED_TWICE, serving({"crowd": "yes"}, "http")], {"destination": "shop/svc/s"}, [
        "everything -> shop/db TCP 9090", "everything -> shop/web TCP 8080"]),
    ("a Service without selector", [*TRIO, FROM_WEB, serving(None), SLICE], {"destination": "shop/svc/s"}, [
        "all pods -> 203.0.113.9/32 TCP 5432", "shop/* -> shop/db TCP 5432"]),
    ("a Service without selector and without endpoints", [*TRIO, serving(None)], {"destination": "shop/svc/s"}, []),
    ("a headless Service, at any port of its pods", [*TRIO, FROM_WEB, msgspec.structs.replace(serving({"app": "db"}), headless=True)],
        {"destination": "shop/svc/s", "port": 5432}, ["shop/* -> shop/db TCP 5432"]),
    ("a Service that may hide its clients", [*TRIO, FROM_OUTSIDE, msgspec.structs.replace(serving({"app": "db"}), type="NodePort")],
        {"destination": "shop/svc/s", "source": "203.0.113.0/24"}, ["203.0.113.0/24 -> shop/db TCP 5432 (depends on service-source)"]),
    ("between addresses, which no policy judges", [*TRIO, DENY_ALL], {"source": "203.0.113.9", "destination": "198.51.100.7", "port": 80}, [
        "203.0.113.9/32 -> 198.51.100.7/32 TCP 80"]),
    ("a hypothetical source", [*TRIO, FROM_WEB], {"source": "shop/app=web", "destination": "shop/db"}, ["shop/app=web -> shop/db TCP 5432"]),
    ("whole namespaces", [WEB, DB, TOOL, pod("x", namespace="dev"), policy("p", namespace="dev", ingress=[rule(Peer(namespace_selector=label("t", "a")))]), space("shop", t="a"), space("dev")],
        {"destination": "dev/tool"}, ["shop/* -> dev/tool all ports"]),
    ("a workload of unlike pods", [owned("app-0", "stable"), owned("app-1", "canary"), DB, policy("p", label("track", "canary"), ingress=[])],
        {"destination": "shop/app"}, ["everything -> shop/sts/app[track=stable] all ports"]),
    ("a workload of unlike pods, one without the label", [owned("app-0", "stable"), Pod(namespace="shop", name="app-1", owner=Owner("StatefulSet", "app")), policy("p", label("track", "stable"), ingress=[])],
        {"destination": "shop/app", "source": "203.0.113.9"}, ["203.0.113.9/32 -> shop/sts/app[!track] all ports"]),
    ("IPv4 only", [DUAL, DUAL_DB, policy("p", app("db"), ingress=[rule(block("0.0.0.0/0"))])], {"source": "shop/web", "destination": "shop/db"},
        ["shop/web -> shop/db all ports (IPv4 only)"]),
    ("IPv6 only", [DUAL, DUAL_DB, policy("p", app("db"), ingress=[rule(block("fd00::/8"))])], {"source": "shop/web", "destination": "shop/db"},
        ["shop/web -> shop/db all ports (IPv6 only)"]),
    ("outside, several blocks", [WEB, policy("p", egress=[rule(block("10.0.0.0/8", "10.1.0.0/16")), rule(block("203.0.113.0/24"), ports=[PolicyPort("TCP", 443)])])],
        {"source": "shop/web"}, ["shop/web -> 10.0.0.0/8 except 10.1.0.0/16 all ports", "shop/web -> 203.0.113.0/24 TCP 443"]),
]  # fmt: skip


@pytest.mark.parametrize(("objects", "question", "expected"), [case[1:] for case in LISTS], ids=[case[0] for case in LISTS])  # fmt: skip
def test_lines_of_a_listing(objects: list[KubeObject], question: dict[str, Any], expected: list[str]) -> None:
    cluster = Cluster.from_objects(objects)

    assert sorted(lines(cluster, **question)) == sorted(expected)
    assert sorted(lines(cluster, **question)) == sorted(expected), "a question leaves nothing behind"


@pytest.mark.parametrize(
    ("settings", "rules", "expected"),
    [
        ("icmp=depends", [Rule()], ["shop/web -> shop/db all TCP; all UDP; all SCTP", "shop/web -> shop/db other protocols (depends on icmp)"]),
        ("icmp=denied", [Rule()], ["shop/web -> shop/db all TCP; all UDP; all SCTP"]),
        ("ip_block_pods=depends", [rule(block("10.0.0.0/8"))], ["shop/web -> shop/db all ports (depends on ip-block-pods)"]),
        ("self_traffic=policy", [rule(Peer(pod_selector=app("web")))], ["shop/web -> shop/db all ports"]),
        ("ip_block_pods=never", [rule(block("10.0.0.0/8"))], []),
    ],
)  # fmt: skip
def test_lines_that_depend_on_an_option(settings: str, rules: list[Rule], expected: list[str]) -> None:
    cluster = Cluster.from_objects([WEB, DB, policy("p", app("db"), ingress=rules)], Options.parse([settings]))

    assert lines(cluster, source="shop/web", destination="shop/db") == expected


def test_large_sets_that_several_lines_share_are_named_once() -> None:
    crowd: list[KubeObject] = [pod(f"p{number}", labels={"app": f"p{number}", "crowd": "yes"}) for number in range(8)]
    crowd += [pod(name, labels={"app": name}) for name in ("one", "two", "other")]
    peer = Peer(pod_selector=label("crowd", "yes"))
    ports = {"one": 1, "two": 2}
    rules = [policy(name, app(name), ingress=[rule(peer, ports=[PolicyPort("TCP", port)])]) for name, port in ports.items()]  # fmt: skip
    looked_at = [policy(f"look{number}", app(f"p{number}"), ingress=[Rule()]) for number in range(8)]
    found = Cluster.from_objects([*crowd, *rules, *looked_at]).connectivity()

    assert [(group.name, group.members.workloads) for group in found.groups] == [
        ("G1", tuple(f"shop/p{number}" for number in range(8)))
    ]
    shown = [f"{item.sources} -> {item.destinations} {item.ports}" for item in found.connections]
    assert {"G1 -> shop/one TCP 1", "G1 -> shop/two TCP 2"} <= set(shown)


def test_open_pods_are_named_as_one_and_defined() -> None:
    everyone: list[KubeObject] = [pod(f"p{number}") for number in range(6)]
    looked_at = [policy(f"n{number}", label("no", f"p{number}"), ingress=[rule(Peer(pod_selector=app(f"p{number}")))]) for number in range(6)]  # fmt: skip
    closed: list[KubeObject] = [pod("closed"), policy("closed", app("closed"), egress=[])]
    found = Cluster.from_objects([*everyone, *looked_at, *closed]).connectivity()
    shown = [f"{item.sources} -> {item.destinations} {item.ports}" for item in found.connections]

    assert "open pods -> any address all ports" in shown
    assert found.open_sources.workloads == tuple(f"shop/p{number}" for number in range(6))
    assert (found.workloads, found.pods, found.policies) == (7, 7, 7)


@pytest.mark.parametrize(
    ("question", "message"),
    [
        ({"source": "node:n1"}, "node:n1: list shows pods and addresses outside; ask `podfence check` about a node"),
        (
            {"destination": "shop/host"},
            "shop/host is a hostNetwork pod, part of its node; ask `podfence check` about it",
        ),
        (
            {"source": "shop/svc/s"},
            "shop/svc/s is a Service: it opens no connections; name a workload or a pod as the source",
        ),
        ({"destination": "shop/svc/s", "port": 81}, "shop/svc/s has no port TCP 81; it has 80/tcp (main)"),
        (
            {"destination": "shop/svc/alias"},
            "shop/svc/alias is an ExternalName Service, an alias for a name outside; ask about its address",
        ),
        ({"namespaces": ["shpo"]}, "there is no namespace 'shpo' here; did you mean shop?"),
        ({"port": "80/icmp"}, "port '80/icmp': protocol 'icmp' is not one of tcp, udp, sctp"),
    ],
)
def test_what_cannot_be_listed(question: dict[str, Any], message: str) -> None:
    alias = Service(namespace="shop", name="alias", type="ExternalName")
    cluster = Cluster.from_objects([WEB, pod("host", "172.18.0.1", node="n1", host=True), serving({}), alias])
    with pytest.raises(EndpointError) as caught:
        cluster.connectivity(**question)

    assert str(caught.value) == message


def test_pod_by_pod_names_only_the_pods_that_are_asked_about() -> None:
    cluster = Cluster.from_objects([owned("app-0", "a"), owned("app-1", "a"), DB])

    def pairs(**question: str) -> set[tuple[str, str]]:
        return {(item.source, item.destination) for item in cluster.pod_connections(**question)}  # type: ignore[arg-type]

    assert pairs(source="shop/app-0", destination="shop/db") == {("shop/app-0", "shop/db")}
    assert pairs(source="shop/app", destination="shop/db") == {("shop/app-0", "shop/db"), ("shop/app-1", "shop/db")}
    assert pairs(source="shop/app-0", destination="shop/app") == {("shop/app-0", "shop/app-1")}
    assert pairs(source="shop/app-0", destination="203.0.113.9") == {("shop/app-0", "203.0.113.9/32")}


TEMPLATE = Workload(kind="Deployment", namespace="shop", name="w", template=PodTemplate())
MATRICES: list[tuple[str, list[KubeObject], dict[str, Any], list[str], list[str]]] = [
    ("no policy", TRIO, {}, [], ["dev/tool ...", "shop/db ...", "shop/web ..."]),
    ("one rule, every port", [*TRIO, FROM_WEB], {}, [], ["dev/tool .X.", "shop/db ...", "shop/web .~."]),
    ("one rule, its port", [*TRIO, FROM_WEB], {"port": 5432}, [], ["dev/tool .X.", "shop/db ...", "shop/web ..."]),
    ("one rule, another port", [*TRIO, FROM_WEB], {"port": 80}, [], ["dev/tool .X.", "shop/db ...", "shop/web .X."]),
    ("one namespace", [*TRIO, FROM_WEB], {"port": 80, "namespaces": ["shop"]}, [], ["shop/db ..", "shop/web X."]),
    ("pods that are alike each reach themselves", [pod("a"), pod("b"), DENY_ALL], {}, [], ["shop/a .X", "shop/b X."]),
    ("unless policy says otherwise", [pod("a"), pod("b"), DENY_ALL], {}, ["self_traffic=policy"], ["shop/a XX", "shop/b XX"]),
    ("pods of a workload among each other", [owned("app-0", "a"), owned("app-1", "a"), DENY_ALL], {}, [], ["shop/sts/app X"]),
    ("a workload of one pod", [owned("app-0", "a"), DENY_ALL], {}, [], ["shop/sts/app ."]),
    ("a workload without pods", [TEMPLATE, DENY_ALL], {}, [], ["shop/deploy/w X"]),
    ("what depends", [WEB, DB, policy("p", app("db"), ingress=[rule(block("10.0.0.0/8"))])], {"port": 80}, ["ip_block_pods=depends"], ["shop/db ..", "shop/web ?."]),
    ("what depends beside what does not", [WEB, DB, policy("p", app("db"), ingress=[rule(ports=[PolicyPort("TCP", 80)])])], {}, ["icmp=depends"], ["shop/db ..", "shop/web ?."]),
    ("one port in one family, another in the other", [DUAL, DUAL_DB, policy("p", app("db"), ingress=[
        rule(block("10.0.0.0/8"), ports=[PolicyPort("TCP", 80)]), rule(block("fd00::/8"), ports=[PolicyPort("TCP", 81)])])], {}, [], ["shop/db ..", "shop/web ?."]),
    ("nothing", [], {}, [], []),
]  # fmt: skip


@pytest.mark.parametrize(("objects", "question", "settings", "expected"), [case[1:] for case in MATRICES], ids=[case[0] for case in MATRICES])  # fmt: skip
def test_cells_of_the_matrix(
    objects: list[KubeObject], question: dict[str, Any], settings: list[str], expected: list[str]
) -> None:
    found = Cluster.from_objects(objects, Options.parse(settings)).matrix(**question)

    assert [f"{name} {row}" for name, row in zip(found.names, found.rows, strict=True)] == expected
