# SPDX-License-Identifier: Apache-2.0
"""Who may connect to a load balancer that has `loadBalancerSourceRanges`: no firm "allowed" from outside of them (7.17)."""

from __future__ import annotations

import msgspec
import pytest

from podfence.api import Cluster
from podfence.kube.objects import KubeObject, Node, Service, ServicePort
from podfence.policy.options import Options
from podfence.policy.verdict import told
from tests.policy.parts import app, block, pod, policy, rule, space

AT, OTHER, CLIENT = "203.0.113.50", "203.0.113.51", "198.51.100.7"
SERVICE = Service(
    namespace="shop",
    name="web",
    type="LoadBalancer",
    selector={"app": "web"},
    ports=(ServicePort(80, 8080, node_port=30080),),
    addresses=("10.96.0.9",),
    external_addresses=(AT, OTHER),
    balancer_addresses=(AT,),
    source_ranges=("198.51.100.0/24", "10.1.0.0/24", "fd00::/8"),
    external_traffic_policy="Local",
)
WEB, NEAR, FAR = (
    pod("web", "10.1.0.1", node="n1"),
    pod("near", "10.1.0.2", node="n1"),
    pod("far", "10.2.0.2", node="n1"),
)
UNSET, BOTH = pod("unset", node="n1"), pod("both", "10.2.0.3", "fd00::3", node="n1")
NODES = [Node(name="n1", labels={}, addresses=("172.18.0.1",)), Node(name="n2", labels={}, addresses=("10.1.0.99",))]
OBJECTS: list[KubeObject] = [space("shop"), WEB, NEAR, FAR, UNSET, BOTH, *NODES]
OPTION, ADDRESS = "option source-ranges", "the address of shop/unset"
HIDING = msgspec.structs.replace(SERVICE, external_traffic_policy="Cluster")
ANYBODY = msgspec.structs.replace(SERVICE, source_ranges=("0.0.0.0/0",))
WRONG = msgspec.structs.replace(SERVICE, source_ranges=("nowhere",))
DENY = policy("deny", app("web"), ingress=[])

ROWS = [
    ("from inside the ranges", [SERVICE], CLIENT, AT, 80, "", "allowed", ""),
    ("from outside of them", [SERVICE], "192.0.2.7", AT, 80, "", "depends", OPTION),
    ("from outside of them, enforced", [SERVICE], "192.0.2.7", AT, 80, "enforced", "denied", ""),
    ("from outside of them, ignored", [SERVICE], "192.0.2.7", AT, 80, "ignored", "allowed", ""),
    ("from outside of them, denied by a policy", [SERVICE, DENY], "192.0.2.7", AT, 80, "", "denied", ""),
    ("from inside them, denied by a policy", [SERVICE, DENY], CLIENT, AT, 80, "", "denied", ""),
    ("from outside of them, some admitted by a policy", [SERVICE, policy("p", app("web"), ingress=[rule(block("192.0.2.0/25"))])], "192.0.2.0/24", AT, 80, "enforced", "denied", ""),
    ("from a block that is partly outside", [SERVICE], "198.51.0.0/16", AT, 80, "enforced", "depends", "the address"),
    ("from everywhere", [SERVICE], "internet", AT, 80, "", "depends", OPTION),
    ("to an address that no load balancer gave", [SERVICE], "192.0.2.7", OTHER, 80, "", "allowed", ""),
    ("to a NodePort", [SERVICE], "192.0.2.7", "node:n1", 30080, "", "allowed", ""),
    ("by the name of the Service", [SERVICE], "192.0.2.7", "shop/svc/web", 80, "", "depends", OPTION),
    ("by the name of the Service, from inside", [SERVICE], CLIENT, "shop/svc/web", 80, "", "allowed", ""),
    ("behind a node's address, from outside", [HIDING], "192.0.2.7", AT, 80, "", "depends", OPTION),
    ("behind a node's address, from inside", [HIDING], CLIENT, AT, 80, "", "allowed", ""),
    ("from a pod inside", [SERVICE], "shop/near", AT, 80, "", "allowed", ""),
    ("from a pod outside", [SERVICE], "shop/far", AT, 80, "", "depends", OPTION),
    ("from a pod outside, enforced", [SERVICE], "shop/far", AT, 80, "enforced", "denied", ""),
    ("from a pod outside, by the name of the Service", [SERVICE], "shop/far", "shop/svc/web", 80, "", "allowed", ""),
    ("from a pod without an address", [SERVICE], "shop/unset", AT, 80, "", "depends", f"{ADDRESS} (give its pods: kubectl get pods -n shop -o yaml, or --set pod-cidrs=CIDR) and {OPTION}"),
    ("from a pod without an address, enforced", [SERVICE], "shop/unset", AT, 80, "enforced", "depends", ADDRESS),
    ("from a node outside", [SERVICE], "node:n1", AT, 80, "", "depends", OPTION),
    ("from a node inside", [SERVICE], "node:n2", AT, 80, "", "allowed", ""),
    ("from a node to a Service of which nothing was read", [msgspec.structs.replace(SERVICE, selector={"app": "x"})], "node:n1", AT, 80, "", "depends", "the backends of Service shop/web"),
    ("everybody is in the ranges", [ANYBODY], "192.0.2.7", AT, 80, "", "allowed", ""),
    ("everybody is in the ranges, without an address", [ANYBODY], "shop/unset", AT, 80, "", "allowed", ""),
    ("a range that is none", [WRONG], CLIENT, AT, 80, "", "depends", OPTION),
]  # fmt: skip


@pytest.mark.parametrize("row", ROWS, ids=[row[0] for row in ROWS])
def test_what_a_load_balancer_may_drop_is_not_surely_allowed(
    row: tuple[str, list[KubeObject], str, str, int, str, str, str],
) -> None:
    _, objects, source, destination, port, value, decision, clause = row
    options = Options.parse([f"source-ranges={value or 'depends'}"])
    verdict = Cluster.from_objects([*OBJECTS, *objects], options).check(source, destination, port)

    assert verdict.decision == decision, str(verdict)
    assert clause in told(verdict.depends_on), str(verdict)
    assert bool(verdict.depends_on) == (decision == "depends")


def test_the_parts_say_what_the_ranges_are_and_that_they_may_be_enforced_or_not() -> None:
    verdict = Cluster.from_objects([*OBJECTS, SERVICE]).check("192.0.2.7", AT, 80)

    assert [(part.decision, part.port) for part in verdict.parts] == [
        ("allowed", "TCP 8080 where its source ranges are ignored"),
        ("denied", "TCP 8080 where its source ranges are enforced"),
    ]
    assert (
        "loadBalancerSourceRanges of shop/svc/web (203.0.113.50) are 198.51.100.0/24"
        in verdict.parts[1].ingress.summary
    )


@pytest.mark.parametrize("value", ["depends", "enforced", "ignored"])
def test_a_listing_of_a_load_balancer_says_of_every_end_what_check_says(value: str) -> None:
    options = Options.parse([f"source-ranges={value}"])
    # Of a pod without an address a listing says that it depends on the option alone.
    cluster = Cluster.from_objects([item for item in (*OBJECTS, SERVICE) if item is not UNSET], options)
    listed = {item.source: item.depends for item in cluster.pod_connections(destination=AT, port=80)}

    for name in ("shop/near", "shop/far", "shop/both"):
        wanted = cluster.check(name, AT, 80).decision
        found = "denied" if name not in listed else "depends" if listed[name] else "allowed"
        assert found == wanted, name
    assert ("192.0.2.0/24" in str(cluster.connectivity(source="192.0.2.0/24", destination=AT).connections)) == (
        value != "enforced"
    )
