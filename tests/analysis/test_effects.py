# SPDX-License-Identifier: Apache-2.0
"""Notes about policies and rules that do nothing: one sentence a kind, and none where all do something."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import pytest
from hypothesis import given

from podfence.api import Cluster
from podfence.kube.objects import (
    ContainerPort,
    Namespace,
    NetworkPolicy,
    Peer,
    PodTemplate,
    PolicyPort,
    Requirement,
    Selector,
    Workload,
)
from podfence.policy.legacy import ANNOTATION
from podfence.policy.options import Options
from tests.policy.parts import app, block, label, pod, policy, rule, space
from tests.twin import strategies
from tests.twin.effort import tried
from tests.twin.selectors import selects
from tests.twin.twin import Twin

if TYPE_CHECKING:
    from podfence.kube.objects import KubeObject

WEB, DB = pod("web", ports=[ContainerPort(8080, "TCP", "http")]), pod("db")
HOST = pod("agent", "172.18.0.1", node="n1", host=True)
OPEN = "there is no NetworkPolicy, so no pod is isolated (`kubectl get all` does not include policies)"
SELECT, PEERS, NAMES, IDLE = (
    "policies that select no pod: ",
    "peers that match no pod here: ",
    "port names that no pod has: ",
    "rules without effect, because policyTypes leaves their direction out: ",
)


def from_peer(pods: Selector | None = None, spaces: Selector | None = None) -> NetworkPolicy:
    return policy("p", app("web"), ingress=[rule(Peer(pods, spaces))])


def on_port(name: str) -> NetworkPolicy:
    return policy("p", app("web"), ingress=[rule(ports=[PolicyPort("TCP", name)])])


CASES: list[tuple[str, list[KubeObject], list[str]]] = [
    ("no policy", [WEB], [OPEN]),
    ("no policy, and no pod that one could isolate", [HOST], []),
    ("nothing at all", [], []),
    ("no pod", [policy("p", ingress=[])], []),
    ("all do something", [WEB, DB, from_peer(app("db"))], []),
    ("a policy that selects none", [WEB, policy("p", app("wbe"), ingress=[])], [f"{SELECT}shop/p"]),
    ("a policy that selects one of a node's pods", [WEB, HOST, policy("p", app("agent"), ingress=[])], [f"{SELECT}shop/p"]),
    ("several, of which some are named", [WEB, *(policy(f"p{n}", app("x"), ingress=[]) for n in range(5))], [f"{SELECT}shop/p0, shop/p1, shop/p2 and 2 more"]),
    ("one that stands in default alone", [WEB, policy("p", namespace="default", ingress=[])], [f"{SELECT}default/p (is its namespace missing?)"]),
    ("a peer in the own namespace", [WEB, from_peer(app("cart"))], [f"{PEERS}shop/p ingress rule 1 (app=cart)"]),
    ("a peer in a namespace that is not here", [WEB, from_peer(spaces=label("team", "x"))], [f"{PEERS}shop/p ingress rule 1 (every pod of namespaces team=x)"]),
    ("one peer of a rule", [WEB, DB, policy("p", app("web"), ingress=[rule(Peer(pod_selector=app("db")), Peer(pod_selector=app("x")))])],
        [f"{PEERS}shop/p ingress rule 1 (app=x)"]),
    ("a block is no pod", [WEB, policy("p", app("web"), ingress=[rule(block("203.0.113.0/24"))])], []),
    ("every pod", [WEB, from_peer(spaces=Selector())], []),
    ("a term that is no equality", [WEB, from_peer(Selector((Requirement("app", "NotIn", ("web",)),)))], [f"{PEERS}shop/p ingress rule 1 (app not in (web))"]),
    ("a port name that a selected pod has", [WEB, on_port("http")], []),
    ("a port name of none", [WEB, on_port("htpp")], [f"{NAMES}shop/p ingress rule 1 (TCP htpp)"]),
    ("a port name of another pod", [WEB, DB, policy("p", app("db"), ingress=[rule(ports=[PolicyPort("TCP", "http")])])], [f"{NAMES}shop/p ingress rule 1 (TCP http)"]),
    ("a port name under another protocol", [WEB, policy("p", app("web"), ingress=[rule(ports=[PolicyPort("UDP", "http")])])], [f"{NAMES}shop/p ingress rule 1 (UDP http)"]),
    ("a port name of the destination", [WEB, DB, policy("p", app("db"), egress=[rule(Peer(pod_selector=app("web")), ports=[PolicyPort("TCP", "http")])])], []),
    ("a direction that is not listed", [WEB, msgspec.structs.replace(policy("p", app("web"), egress=[rule()], ingress=[]), policy_types=("Ingress",))], [f"{IDLE}egress of shop/p"]),
]  # fmt: skip


@pytest.mark.parametrize(("objects", "expected"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_what_does_nothing_is_noted(objects: list[KubeObject], expected: list[str]) -> None:
    found = Cluster.from_objects([space("shop"), Namespace(name="default", labels={}), *objects]).notes

    assert [text for text in found if not text.startswith("hostNetwork pods are part")] == expected


API = Workload(kind="Deployment", namespace="shop", name="api", template=PodTemplate(labels={"app": "api"}))
HASH = label("pod-template-hash", "abc")
PERHAPS: list[tuple[str, list[KubeObject]]] = [
    ("the labels of a namespace", [WEB, from_peer(spaces=label("team", "x"))]),
    ("a label that a controller chooses", [space("shop"), WEB, API, from_peer(HASH)]),
    ("the same where a policy selects by it", [space("shop"), WEB, API, policy("p", HASH, ingress=[rule()])]),
]  # fmt: skip


@pytest.mark.parametrize("objects", [case[1] for case in PERHAPS], ids=[case[0] for case in PERHAPS])
def test_what_may_do_something_for_all_that_is_known_is_not_noted(objects: list[KubeObject]) -> None:
    """Semantics 13.3, 13.4."""
    notes = Cluster.from_objects(objects).notes
    closed = Cluster.from_objects(objects, Options(world="closed")).notes

    assert not [text for text in notes if text.startswith((SELECT, PEERS))]
    assert [text for text in closed if text.startswith((SELECT, PEERS))]


def test_a_namespace_that_an_annotation_isolates_is_not_open() -> None:
    closed = Namespace(name="shop", labels={}, annotations={ANNOTATION: '{"ingress": {"isolation": "DefaultDeny"}}'})

    assert OPEN not in Cluster.from_objects([closed, WEB], Options(legacy="v1beta1")).notes
    assert OPEN in Cluster.from_objects([closed, WEB]).notes


def test_notes_are_in_the_document_of_a_listing_and_follow_events() -> None:
    cluster = Cluster.from_objects([space("shop"), WEB])

    assert cluster.connectivity().notes == cluster.notes == (OPEN,)


@tried(80)
@given(objects=strategies.clusters(), options=strategies.options())
def test_a_policy_is_said_to_select_no_pod_exactly_where_it_selects_none(
    objects: list[KubeObject], options: Options
) -> None:
    options = options.with_value("legacy", "v1")
    written = {item.key: item for item in objects if isinstance(item, NetworkPolicy)}.values()
    twin = Twin(objects, options)
    pods = [item for item in twin.pods if not twin.is_node_traffic(item)]
    expected = {
        f"{item.namespace}/{item.name}"
        for item in written
        if item.api_version == "networking.k8s.io/v1"
        and not any(pod.namespace == item.namespace and selects(item.pod_selector, pod.template.labels) for pod in pods)
    }
    notes = Cluster.from_objects(objects, options).notes
    (found,) = [text.removeprefix(SELECT) for text in notes if text.startswith(SELECT)] or [""]
    named = {name.partition(" (")[0] for name in found.split(" and ")[0].split(", ")} - {""}

    assert named <= expected
    assert bool(named) == bool(expected and twin.pods)
