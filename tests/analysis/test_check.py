# SPDX-License-Identifier: Apache-2.0
"""Single questions: what they are decided by, what they depend on, and what cannot be asked."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from podfence.api import Cluster
from podfence.errors import EndpointError
from podfence.kube.objects import (
    Backend,
    ContainerPort,
    EndpointPort,
    EndpointSlice,
    Node,
    Owner,
    Peer,
    Pod,
    PodTemplate,
    PolicyPort,
    Service,
    ServicePort,
    Workload,
)
from podfence.policy.options import Options
from podfence.policy.verdict import told
from tests.policy.parts import app, block, label, pod, policy, rule

if TYPE_CHECKING:
    from podfence.kube.objects import KubeObject


def owned(name: str, address: str, *, track: str = "", port: int = 8080, family6: str = "") -> Pod:
    """Return a pod of the StatefulSet app."""
    template = PodTemplate(labels={"app": "app", "track": track}, ports=(ContainerPort(port, "TCP", "http"),))
    return Pod(namespace="shop", name=name, template=template, owner=Owner("StatefulSet", "app"), phase="Running",
               addresses=tuple(filter(None, (address, family6))))  # fmt: skip


WEB = pod("web", "10.0.0.1", node="n1")
STABLE, CANARY = owned("app-0", "10.0.1.1", track="stable"), owned("app-1", "10.0.1.2", track="canary")
HIGH = owned("app-2", "10.0.1.3", track="stable", port=9090)
TWIN = owned("app-3", "10.0.1.4", track="stable")
NODE1, NODE2 = (Node(name=f"n{n}", labels={}, addresses=(f"172.18.0.{n}",)) for n in (1, 2))
HOST = pod("host", "172.18.0.2", node="n2", host=True)
HOST6 = pod("host", "172.18.0.2", "fd01::2", node="n2", host=True)
DENY_CANARY = policy("deny", label("track", "canary"), ingress=[])
ONLY_80 = policy("only", app("app"), ingress=[rule(ports=[PolicyPort("TCP", 80)])])
ONLY_8080 = policy("only", app("app"), ingress=[rule(ports=[PolicyPort("TCP", 8080)])])
ONLY_HTTP = policy("only", app("app"), ingress=[rule(ports=[PolicyPort("TCP", "http")])])
FROM_BLOCK = policy("only", app("app"), ingress=[rule(block("203.0.113.0/24", "203.0.113.128/25"))])
V6_ONLY = policy("only", app("app"), ingress=[rule(block("::/0"))])
DENY_ALL = policy("deny", ingress=[], egress=[])
DUAL, DUAL_WEB = owned("app-0", "10.0.1.1", family6="fd00::11"), pod("web", "10.0.0.1", "fd00::1", node="n1")
ONLY6 = pod("six", "fd00::6")
TEMPLATE = Workload(kind="StatefulSet", namespace="shop", name="app", template=STABLE.template)


def service(name: str = "app", target: int | str = "http", kind: str = "ClusterIP", *, select: bool = True,
            headless: bool = False, policy: str = "Cluster") -> Service:  # fmt: skip
    return Service(
        namespace="shop", name=name, type=kind, selector={"app": "app"} if select else None, headless=headless,
        ports=(ServicePort(80, target, "TCP", "web"), ServicePort(53, 5353, "UDP")), external_traffic_policy=policy,
    )  # fmt: skip


def endpoints(*addresses: str) -> EndpointSlice:
    ports = (EndpointPort(8080, "TCP", "web"),)
    return EndpointSlice(namespace="shop", name="app-1", service="app", backends=(Backend(addresses),), ports=ports)


Case = tuple[str, list["KubeObject"], str, str, str, str, str]
CASES: list[Case] = [
    ("one pod to another", [WEB, STABLE, ONLY_80], "shop/web", "shop/app", "80", "allowed", ""),
    ("another port", [WEB, STABLE, ONLY_80], "shop/web", "shop/app", "81", "denied", ""),
    ("every port", [WEB, STABLE, ONLY_80], "shop/web", "shop/app", "", "depends", "the port"),
    ("a range of ports", [WEB, STABLE, ONLY_80], "shop/web", "shop/app", "79-80", "depends", "the port"),
    ("a range that is allowed as a whole", [WEB, STABLE], "shop/web", "shop/app", "1-65535", "allowed", ""),
    ("pods of a workload, as destination", [WEB, STABLE, CANARY, DENY_CANARY], "shop/web", "shop/app", "80", "depends", "the destination pod"),
    ("pods of a workload, as source", [WEB, STABLE, CANARY, policy("deny", label("track", "canary"), egress=[])], "shop/app", "shop/web", "80", "depends", "the source pod"),
    ("pods of a workload that are alike", [WEB, STABLE, HIGH, DENY_CANARY], "shop/web", "shop/app", "80", "allowed", ""),
    ("a workload among itself", [STABLE, HIGH, DENY_ALL], "shop/app", "shop/app", "80", "denied", ""),
    ("a workload of equal pods among itself", [STABLE, TWIN, DENY_ALL], "shop/app", "shop/app", "80", "denied", ""),
    ("a workload to one of its equal pods", [STABLE, TWIN, DENY_ALL], "shop/app", "shop/app-0", "80", "denied", ""),
    ("one of two equal pods to its workload", [STABLE, TWIN, DENY_ALL], "shop/app-0", "shop/app", "80", "denied", ""),
    ("a workload to one of its different pods", [STABLE, HIGH, DENY_ALL], "shop/app", "shop/app-0", "80", "denied", ""),
    ("a workload of one pod is that pod and itself", [STABLE, DENY_ALL], "shop/app", "shop/app", "80", "allowed", ""),
    ("a workload without pods is more than one", [TEMPLATE, DENY_ALL], "shop/app", "shop/app", "80", "denied", ""),
    ("a named port", [WEB, STABLE, ONLY_8080], "shop/web", "shop/app", "http", "allowed", ""),
    ("a named port that differs", [WEB, STABLE, HIGH, ONLY_8080], "shop/web", "shop/app", "http", "depends", "the destination pod"),
    ("a named port in a rule and in the question", [WEB, STABLE, HIGH, ONLY_HTTP], "shop/web", "shop/app", "http", "allowed", ""),
    ("a named port, no common family", [ONLY6, STABLE], "shop/six", "shop/app", "http", "denied", ""),
    ("a named port, one of two pods has no common family", [ONLY6, STABLE, owned("app-1", "fd00::12")], "shop/six", "shop/app", "http", "allowed", ""),
    ("a number, no common family", [ONLY6, STABLE], "shop/six", "shop/app", "80", "denied", ""),
    ("both families alike", [DUAL_WEB, DUAL], "shop/web", "shop/app", "80", "allowed", ""),
    ("one family only", [DUAL_WEB, DUAL, V6_ONLY], "shop/web", "shop/app", "80", "depends", "the address family"),
    ("asked by address, one family", [DUAL_WEB, DUAL, V6_ONLY], "fd00::1", "shop/app", "80", "allowed", ""),
    ("an address inside of a block", [STABLE, FROM_BLOCK], "203.0.113.9", "shop/app", "80", "allowed", ""),
    ("an address in its except", [STABLE, FROM_BLOCK], "203.0.113.129", "shop/app", "80", "denied", ""),
    ("a range across its cuts", [STABLE, FROM_BLOCK], "203.0.112.0/23", "shop/app", "80", "depends", "the address"),
    ("a range between its cuts", [STABLE, FROM_BLOCK], "203.0.113.0/25", "shop/app", "80", "allowed", ""),
    ("internet into a block", [STABLE, FROM_BLOCK], "internet", "shop/app", "80", "depends", "the address"),
    ("internet, open pod", [STABLE], "internet", "shop/app", "80", "allowed", ""),
    ("internet, closed pod", [STABLE, DENY_ALL], "shop/app", "internet", "80", "denied", ""),
    ("two addresses", [STABLE, DENY_ALL], "203.0.113.9", "internet", "80", "allowed", ""),
    ("a node and an address", [NODE1, DENY_ALL], "node:n1", "203.0.113.9", "", "allowed", ""),
    ("the own node comes in", [WEB, NODE1, DENY_ALL], "node:n1", "shop/web", "80", "allowed", ""),
    ("the own node by address comes in", [WEB, NODE1, DENY_ALL], "172.18.0.1", "shop/web", "80", "allowed", ""),
    ("another node does not", [WEB, NODE1, NODE2, DENY_ALL], "node:n2", "shop/web", "80", "denied", ""),
    ("to the own node by policy", [WEB, NODE1, DENY_ALL], "shop/web", "node:n1", "80", "denied", ""),
    ("a hostNetwork pod is its node", [HOST, WEB, policy("p", ingress=[rule(block("172.18.0.2/32"))])], "shop/host", "shop/web", "80", "allowed", ""),
    ("a hostNetwork pod by one of its addresses", [HOST6, DUAL_WEB, policy("p", ingress=[rule(block("172.18.0.2/32"))])], "172.18.0.2", "shop/web", "80", "allowed", ""),
    ("a hostNetwork pod by all of its addresses", [HOST6, DUAL_WEB, policy("p", ingress=[rule(block("172.18.0.2/32"))])], "shop/host", "shop/web", "80", "depends", "the address family"),
    ("a hostNetwork pod is not isolated", [HOST, WEB, DENY_ALL], "203.0.113.9", "shop/host", "80", "allowed", ""),
    ("a hypothetical source", [STABLE, policy("p", app("app"), ingress=[rule(Peer(pod_selector=label("tier", "x")))])], "shop/tier=x,app=job", "shop/app", "80", "allowed", ""),
    ("a hypothetical source without the label", [STABLE, policy("p", app("app"), ingress=[rule(Peer(pod_selector=label("tier", "x")))])], "shop/app=job", "shop/app", "80", "denied", ""),
    ("a hypothetical destination", [WEB, DENY_CANARY], "shop/web", "shop/track=canary", "80", "denied", ""),
    ("a hypothetical pod is not the same pod twice", [WEB, DENY_ALL], "shop/app=x", "shop/app=x", "80", "denied", ""),
    ("a Service at its target port", [WEB, STABLE, ONLY_8080, service()], "shop/web", "shop/svc/app", "80", "allowed", ""),
    ("a Service by the name of its port", [WEB, STABLE, ONLY_8080, service()], "shop/web", "shop/svc/app", "web", "allowed", ""),
    ("a Service by the name of its port and protocol", [WEB, STABLE, ONLY_8080, service()], "shop/web", "shop/svc/app", "web/tcp", "allowed", ""),
    ("a Service, not at its own port", [WEB, STABLE, ONLY_80, service()], "shop/web", "shop/svc/app", "80", "denied", ""),
    ("a Service, each backend at its number", [WEB, STABLE, HIGH, ONLY_8080, service()], "shop/web", "shop/svc/app", "80", "depends", "the destination pod"),
    ("a Service, every port", [WEB, STABLE, ONLY_8080, service()], "shop/web", "shop/svc/app", "", "depends", "the port"),
    ("a Service without backend", [WEB, service()], "shop/web", "shop/svc/app", "80", "denied", ""),
    ("a Service whose pods have no such port", [WEB, STABLE, service(target="grpc")], "shop/web", "shop/svc/app", "80", "denied", ""),
    ("a Service without common family", [ONLY6, STABLE, service()], "shop/six", "shop/svc/app", "80", "denied", ""),
    ("a Service by slices, outside", [WEB, service(select=False), endpoints("203.0.113.9"), policy("p", egress=[rule(block("203.0.113.9/32"))])], "shop/web", "shop/svc/app", "80", "allowed", ""),
    ("a Service by slices, a pod", [WEB, STABLE, service(select=False), endpoints("10.0.1.1"), ONLY_8080], "shop/web", "shop/svc/app", "80", "allowed", ""),
    ("a Service by slices with a host name", [WEB, service(select=False), endpoints("db.example.com")], "shop/web", "shop/svc/app", "80", "denied", ""),
    ("a headless Service is its pods", [WEB, STABLE, ONLY_80, service(headless=True)], "shop/web", "shop/svc/app", "80", "allowed", ""),
    ("a headless Service without pods", [WEB, service(headless=True)], "shop/web", "shop/svc/app", "80", "denied", ""),
    ("a headless Service without selector", [WEB, STABLE, service(headless=True, select=False), DENY_ALL, endpoints("10.0.0.1")], "shop/app-0", "shop/svc/app", "80", "denied", ""),
    ("a headless Service without selector and slices has no backend", [WEB, STABLE, service(headless=True, select=False)], "shop/web", "shop/svc/app", "80", "denied", ""),
    ("an address outside to a ClusterIP Service", [STABLE, FROM_BLOCK, service()], "203.0.113.9", "shop/svc/app", "80", "allowed", ""),
    ("a pod to a NodePort Service", [WEB, STABLE, ONLY_8080, service(kind="NodePort")], "shop/web", "shop/svc/app", "80", "allowed", ""),
    ("outside to a NodePort Service that keeps addresses", [STABLE, FROM_BLOCK, service(kind="NodePort", policy="Local")], "203.0.113.9", "shop/svc/app", "80", "allowed", ""),
    ("outside to an open NodePort Service", [STABLE, service(kind="NodePort")], "203.0.113.9", "shop/svc/app", "80", "allowed", ""),
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=[case[0] for case in CASES])
def test_decisions_and_what_they_depend_on(case: Case) -> None:
    _, objects, source, destination, port, decision, depends_on = case
    verdict = Cluster.from_objects(objects, Options.parse(["world=closed"])).check(source, destination, port)

    assert (verdict.decision, told(verdict.depends_on)) == (decision, depends_on), str(verdict)
    assert bool(verdict.parts) == (decision == "depends")
    assert {part.decision for part in verdict.parts} == ({"allowed", "denied"} if verdict.parts else set())


@pytest.mark.parametrize(("value", "decision"), [("client", "allowed"), ("node", "depends"), ("depends", "depends")])
@pytest.mark.parametrize("kind", ["NodePort", "LoadBalancer"])
def test_source_of_outside_traffic_to_a_service(kind: str, value: str, decision: str) -> None:
    """Semantics 7.9; a pod runs on some node, known or not, which always reaches it (7.3)."""
    cluster = Cluster.from_objects([STABLE, FROM_BLOCK, service(kind=kind)], Options(service_source=value))

    assert cluster.check("203.0.113.9", "shop/svc/app", 80).decision == decision


def test_traffic_by_the_own_node_comes_through() -> None:
    """Semantics 7.9 with 7.3: the known hole."""
    backend = pod("app", "10.0.1.1", node="n1")
    cluster = Cluster.from_objects([backend, DENY_ALL, service(target=8080, kind="NodePort")])
    verdict = cluster.check("203.0.113.9", "shop/svc/app", 80)

    assert verdict.decision == "depends"
    assert {part.ingress.semantics for part in verdict.parts if part.decision == "allowed"} == {"7.3"}


def test_parts_name_the_pods_the_ports_and_the_addresses() -> None:
    def parts(objects: list[KubeObject], source: str, port: str) -> list[tuple[str, ...]]:
        found = Cluster.from_objects(objects).check(source, "shop/app", port).parts
        return sorted((part.source, part.destination, part.port, part.decision.value) for part in found)

    assert parts([WEB, STABLE, CANARY, DENY_CANARY], "shop/web", "80") == [
        ("shop/web", "shop/app-0", "TCP 80", "allowed"), ("shop/web", "shop/app-1", "TCP 80", "denied"),
    ]  # fmt: skip
    assert parts([WEB, STABLE, ONLY_80], "shop/web", "79-81") == [
        ("shop/web", "shop/app-0", "TCP 79,81", "denied"), ("shop/web", "shop/app-0", "TCP 80", "allowed"),
    ]  # fmt: skip
    assert parts([STABLE, FROM_BLOCK], "203.0.112.0/23", "80") == [
        ("203.0.112.0/24, 203.0.113.128/25", "shop/app-0", "TCP 80", "denied"),
        ("203.0.113.0/25", "shop/app-0", "TCP 80", "allowed"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("source", "destination", "port", "message"),
    [
        ("shop/svc/app", "shop/web", "80", "shop/svc/app is a Service: it opens no connections; name a workload or a pod as the source"),
        ("shop/web", "shop/svc/alias", "80", "shop/svc/alias is an ExternalName Service, an alias for a name outside; ask about its address"),
        ("shop/web", "shop/svc/app", "81", "shop/svc/app has no port TCP 81; it has 80/tcp (web), 53/udp"),
        ("shop/web", "shop/svc/app", "web/udp", "shop/svc/app has no port UDP web; it has 80/tcp (web), 53/udp"),
        ("shop/web", "shop/svc/bare", "80", "shop/svc/bare has no port TCP 80; it has no ports"),
        ("shop/web", "shop/app", "grpc", "shop/sts/app has no port named grpc; it has http (8080/tcp), http (9090/tcp)"),
        ("shop/web", "shop/app", "http/udp", "shop/sts/app has no port named UDP http; it has http (8080/tcp), http (9090/tcp)"),
        ("shop/app", "shop/web", "http", "shop/web has no port named http; it has no named ports"),
        ("shop/web", "203.0.113.9", "http", "port 'http': only pods and Services have named ports; give a number"),
        ("shop/web", "node:n1", "http", "port 'http': only pods and Services have named ports; give a number"),
    ],
)  # fmt: skip
def test_questions_that_cannot_be_asked(source: str, destination: str, port: str, message: str) -> None:
    others = [Service(namespace="shop", name="alias", type="ExternalName"), Service(namespace="shop", name="bare")]
    cluster = Cluster.from_objects([WEB, STABLE, HIGH, NODE1, service(), *others])
    with pytest.raises(EndpointError, match=f"^{re.escape(message)}$"):
        cluster.check(source, destination, port)


@pytest.mark.parametrize(
    ("objects", "source", "destination", "why", "rule_number"),
    [
        ([WEB, service()], "shop/web", "shop/svc/app", "cannot be reached: shop/svc/app has no backend", "7.7"),
        ([WEB, service(headless=True)], "shop/web", "shop/svc/app", "cannot be reached: shop/svc/app has no backend", "7.7"),
        ([ONLY6, STABLE], "shop/six", "shop/app", "cannot be reached: the two have no address family in common", "7.13"),
        ([], "203.0.113.9", "internet", "no policy applies (NetworkPolicy is only about connections with a pod at one end)", "1.3"),
        ([WEB, DENY_ALL], "shop/web", "shop/web", "allowed (source and destination are the same pod; a pod always reaches itself)", "7.1"),
    ],
)  # fmt: skip
def test_answers_that_no_policy_gives(
    objects: list[KubeObject], source: str, destination: str, why: str, rule_number: str
) -> None:
    verdict = Cluster.from_objects(objects).check(source, destination, 80)

    for reason in (verdict.egress, verdict.ingress):
        assert (reason.summary, reason.semantics) == (why, rule_number)
