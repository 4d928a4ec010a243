# SPDX-License-Identifier: Apache-2.0
"""Ports of nodes: who judges, by which addresses, as it was observed on the wire (docs/explanation/on-a-node.md)."""

from __future__ import annotations

import msgspec
import pytest

from podfence import Cluster, Options
from podfence.analysis.check import check
from podfence.analysis.parsing import parse_endpoint
from podfence.analysis.ports import parse_port
from podfence.kube.decode import decode
from podfence.kube.objects import (
    ContainerPort,
    KubeObject,
    Node,
    Pod,
    PodTemplate,
    PolicyPort,
    Service,
    ServicePort,
    Workload,
)
from podfence.kube.yaml import parse
from podfence.policy.engine import Engine
from podfence.policy.world import World
from tests.policy.parts import app, block, policy, rule, space

N1, N2, OUTSIDE = "10.200.0.11", "10.200.0.12", "10.200.0.1"
WEB, ON_N1, ON_N2 = "10.244.1.74", "10.244.1.75", "10.244.2.96"
NODES = (Node(name="n1", labels={}, addresses=(N1,)), Node(name="n2", labels={}, addresses=(N2,)))


def pod(name: str, address: str, node: str, *ports: ContainerPort) -> Pod:
    template = PodTemplate(labels={"app": name}, node=node, ports=ports)
    addresses = (address,) if address else ()
    return Pod(namespace="shop", name=name, template=template, addresses=addresses, phase="Running")


def service(traffic: str) -> Service:
    return Service(
        namespace="shop",
        name="web",
        type="NodePort",
        selector={"app": "web"},
        ports=(ServicePort(80, 8080, node_port=31901),),
        external_traffic_policy=traffic,
    )


PODS = (pod("web", WEB, "n1"), pod("one", ON_N1, "n1"), pod("two", ON_N2, "n2"))


def decided(source: str, to: str, port: int, *objects: KubeObject, option: str = "depends") -> str:
    options = Options().with_value("service_source", option)
    cluster = Cluster.from_objects([space("shop"), *NODES, *PODS, *objects], options)
    return cluster.check(source, to, port, namespace="shop").decision.value


# (source, node, externalTrafficPolicy, source that the pod of n1 is judged by: None is dropped, "" the own node)
INGRESS = [
    (OUTSIDE, "n1", "Cluster", OUTSIDE),
    (OUTSIDE, "n1", "Local", OUTSIDE),
    (OUTSIDE, "n2", "Cluster", N2),
    (OUTSIDE, "n2", "Local", None),
    ("node:n1", "n1", "Cluster", ""),
    ("node:n1", "n2", "Cluster", N2),
    ("two", "n1", "Cluster", ON_N2),
    ("two", "n2", "Cluster", N2),
    ("two", "n2", "Local", ON_N2),
    ("one", "n1", "Cluster", ON_N1),
    ("one", "n2", "Cluster", N2),
]


@pytest.mark.parametrize(("source", "node", "traffic", "seen"), INGRESS)
def test_ingress_is_judged_by_the_address_that_the_hook_sees(
    source: str, node: str, traffic: str, seen: str | None
) -> None:
    only = policy("only", app("web"), ingress=[rule(block(f"{seen}/32"))] if seen else [])
    others = policy("others", app("web"), ingress=[rule(block("0.0.0.0/0", f"{seen}/32"))] if seen else [])
    found = [decided(source, f"node:{node}", 31901, service(traffic), item) for item in (only, others)]

    expected = {None: ["denied", "denied"], "": ["allowed", "allowed"]}.get(seen, ["allowed", "denied"])
    assert found == expected


# (source, node, what its own node judges its egress by: an address and a port)
EGRESS = [
    ("two", "n1", N1, 31901),
    ("two", "n2", WEB, 8080),
    ("one", "n1", WEB, 8080),
    ("one", "n2", N2, 31901),
]


@pytest.mark.parametrize(("source", "node", "address", "port"), EGRESS)
def test_egress_is_judged_by_the_node_that_is_asked_or_by_the_pod_that_answers(
    source: str, node: str, address: str, port: int
) -> None:

    only = policy("only", app(source), egress=[rule(block(f"{address}/32"), ports=[PolicyPort("TCP", port)])])
    others = policy("others", app(source), egress=[rule(block("0.0.0.0/0", f"{address}/32"))])

    assert decided(source, f"node:{node}", 31901, service("Cluster"), only) == "allowed"
    assert decided(source, f"node:{node}", 31901, service("Cluster"), others) == "denied"


@pytest.mark.parametrize(("option", "seen"), [("client", OUTSIDE), ("depends", N2), ("node", N2)])
def test_the_option_says_whose_address_is_seen_on_another_node(option: str, seen: str) -> None:
    only = policy("only", app("web"), ingress=[rule(block(f"{seen}/32"))])

    assert decided(OUTSIDE, "node:n2", 31901, service("Cluster"), only, option=option) == "allowed"


def test_a_pod_that_is_there_is_met_and_others_are_not_missed() -> None:
    """With `Local` a node leads to its own pods, whatever runs elsewhere."""
    more = pod("web", "10.244.2.99", "n2")
    others = (Pod(namespace="shop", name="web-2", template=more.template, addresses=more.addresses),)

    assert decided(OUTSIDE, "node:n1", 31901, service("Local"), *others) == "allowed"
    assert decided(OUTSIDE, "node:n2", 31901, service("Local"), *others) == "allowed"


def test_a_pod_of_which_no_node_is_known_may_run_on_either() -> None:
    template = PodTemplate(labels={"app": "api"})
    api = Workload(kind="Deployment", namespace="shop", name="api", template=template)
    only = policy("only", app("api"), ingress=[rule(block(f"{OUTSIDE}/32"))])
    served = msgspec.structs.replace(service("Cluster"), selector={"app": "api"})
    state = Cluster.from_objects([space("shop"), *NODES, api, only, served]).state

    options = Options()
    engine = Engine(state, options, World(state, options, ("Pod",)))
    ends = [parse_endpoint(state, text, "shop") for text in (OUTSIDE, "node:n1")]
    verdict = check(engine, ends[0], ends[1], parse_port(31901))

    assert [item.text for item in verdict.depends_on] == ["the node that shop/deploy/api runs on"]
    assert [(part.decision.value, part.port) for part in verdict.parts] == [
        ("allowed", "TCP 8080 where shop/deploy/api runs on n1"),
        ("denied", "TCP 8080 where shop/deploy/api runs on another node"),
    ]


def test_an_address_of_a_load_balancer_that_is_a_proxy_leads_nowhere_else() -> None:

    text = """
apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop}
spec: {type: LoadBalancer, selector: {app: web}, ports: [{port: 80, targetPort: 8080}]}
status: {loadBalancer: {ingress: [{ip: 203.0.113.50, ipMode: MODE}]}}
"""
    closed = policy("closed", app("web"), ingress=[])
    found = []
    for mode in ("VIP", "Proxy"):
        documents, _ = parse(text.replace("MODE", mode).encode(), "svc.yaml")
        found.append(decided("two", "203.0.113.50", 80, *decode(documents).objects, closed))

    assert found == ["denied", "allowed"]


def test_a_host_port_leads_to_its_pod_where_that_runs() -> None:
    edge = pod("edge", "10.244.1.80", "n1", ContainerPort(8080, host_port=80))
    closed = policy("closed", app("edge"), ingress=[rule(block(f"{OUTSIDE}/32"))])

    assert decided(OUTSIDE, "node:n1", 80, edge, closed) == "allowed"
    assert decided("two", "node:n1", 80, edge, closed) == "denied"
    assert decided("two", "node:n2", 80, edge, closed) == "allowed", "nothing of that pod is there"
