# SPDX-License-Identifier: Apache-2.0
"""What single events say they changed: pods, policies, and the classes of either direction."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from podfence.api import Cluster
from podfence.cluster.state import Event, EventType
from podfence.kube.objects import Node, Owner, Peer, Pod, PolicyPort, Service, Workload
from podfence.policy.options import Options
from tests.policy.parts import app, block, label, pod, policy, rule, space

if TYPE_CHECKING:
    from podfence.kube.objects import KubeObject

WEB, API, DB = pod("web", "10.1.0.1"), pod("api", "10.1.0.2"), pod("db", "10.1.0.3")
TOOL = pod("tool", "10.2.0.1", namespace="dev")
DB_POLICY = policy("db", app("db"), ingress=[rule(Peer(pod_selector=app("api")), ports=[PolicyPort("TCP", 5432)])])
TEAM_POLICY = policy("web", app("web"), ingress=[rule(Peer(namespace_selector=label("team", "a")))])
OUT_POLICY = policy("api", app("api"), egress=[rule(block("10.1.0.0/24", "10.1.0.64/26"))])
CLUSTER: list[KubeObject] = [
    space("shop"), space("dev"), WEB, API, DB, TOOL, DB_POLICY, TEAM_POLICY, OUT_POLICY,
]  # fmt: skip
SOME, NONE = EventType.ADDED, EventType.DELETED
EVENTS: list[tuple[str, EventType, KubeObject, str, str, str, str]] = [
    ("a pod of a class that is there already", SOME, pod("tool2", "10.2.0.2", namespace="dev", labels={"app": "tool"}), "tool2", "", "", ""),
    ("a pod of a new class", SOME, pod("cache", "10.2.0.9"), "cache", "", "cache", "cache"),
    ("a pod that a block holds", SOME, pod("web2", "10.1.0.9", labels={"app": "web"}), "web2", "api", "", "api"),
    ("a pod that the except of a block holds", SOME, pod("web2", "10.1.0.65", labels={"app": "web"}), "web2", "web", "web2", "web2"),
    ("the only pod of a peer goes", NONE, API, "api", "api db", "db", ""),
    ("the only subject goes", NONE, DB, "db", "api db", "", "api"),
    ("labels that policies do not look at", SOME, pod("db", "10.1.0.3", labels={"app": "db", "v": "2"}), "db", "api db", "db", "api db"),
    ("a policy is written anew", SOME, policy("db", app("db"), ingress=[rule(Peer(pod_selector=app("api")))]), "", "db", "db", ""),
    ("a policy goes", NONE, TEAM_POLICY, "", "web", "web", ""),
    ("a policy for everyone", SOME, policy("deny", egress=[]), "", "deny", "", "api db web"),
    ("a policy for nobody", SOME, policy("deny", app("none"), ingress=[]), "", "deny", "", ""),
    ("a policy of an empty namespace", SOME, policy("deny", namespace="new", ingress=[]), "", "deny", "", ""),
    ("a namespace joins the peers", SOME, space("dev", team="a"), "", "web", "web", ""),
    ("a namespace with labels of no interest", SOME, space("dev", tier="x"), "", "", "", ""),
    ("a Service", SOME, Service(namespace="shop", name="web"), "", "", "", ""),
    ("a node", SOME, Node(name="n1", labels={}, addresses=("10.1.0.200",)), "", "", "", ""),
    ("a hostNetwork pod is no pod to policies", SOME, pod("web2", "10.1.0.9", host=True), "", "", "", ""),
    ("a workload without pods is judged", SOME, Workload(kind="Job", namespace="shop", name="batch", template=WEB.template), "batch", "web", "batch", "batch"),
    ("a workload in another namespace", SOME, Workload(kind="Job", namespace="dev", name="job", template=WEB.template), "job", "", "job", "job"),
    ("what is not there goes", NONE, pod("ghost"), "", "", "", ""),
]  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "item", "pods", "policies", "ingress", "egress"), [case[1:] for case in EVENTS], ids=[case[0] for case in EVENTS]
)  # fmt: skip
def test_change_of_an_event(
    kind: EventType, item: KubeObject, pods: str, policies: str, ingress: str, egress: str
) -> None:
    cluster = Cluster.from_objects(CLUSTER, Options.parse(["world=closed"]))
    change = cluster.apply(Event(kind, item))

    def names(classes: frozenset[int]) -> str:
        found = cluster.model.index.classes
        return " ".join(sorted(key.name for number in classes for key in found[number].members))

    assert change.event.object is item
    assert " ".join(sorted(key.name for key in change.pods)) == pods
    assert " ".join(sorted(key.name for key in change.policies)) == policies
    assert (names(change.ingress), names(change.egress)) == (ingress, egress)


def test_a_workload_that_comes_between_its_pods_moves_them() -> None:
    owned = Pod(namespace="shop", name="w-1", template=WEB.template, owner=Owner("ReplicaSet", "w"))
    cluster = Cluster.from_objects([owned])
    assert cluster.check("shop/rs/w", "shop/w-1").source == "shop/rs/w"

    middle = Workload(kind="ReplicaSet", namespace="shop", name="w", template=WEB.template, owner=Owner("Deployment", "w"))  # fmt: skip
    change = cluster.apply(Event(EventType.ADDED, middle))
    assert {key.name for key in change.pods} == {"w-1"}
    assert cluster.check("shop/deploy/w", "shop/w-1").source == "shop/deploy/w"
