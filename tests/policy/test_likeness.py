# SPDX-License-Identifier: Apache-2.0
"""Policies are matched against few pods, and destinations of which they see the same are asked once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from podfence.api import Cluster
from podfence.kube.objects import ContainerPort, Peer, Pod, PodTemplate, PolicyPort, Requirement, Selector
from podfence.policy.engine import Bound
from podfence.policy.likeness import Likeness
from podfence.policy.peers import Scenario
from podfence.policy.reach import Reach
from podfence.policy.subjects import Subjects
from tests.policy.parts import app, block, label, policy, rule, space

if TYPE_CHECKING:
    from podfence.kube.objects import KubeObject, NetworkPolicy

CLIENT = Pod(namespace="shop", name="client", template=PodTemplate(labels={"app": "client"}))
ASKED = policy("asked", app("client"), egress=[rule(block("10.0.0.0/8"))])


def there(name: str, *, namespace: str = "one", port: int = 0, address: str = "", **labels: str) -> Pod:
    ports = (ContainerPort(port, "TCP", "http"),) if port else ()
    addresses = (address,) if address else ()
    return Pod(namespace=namespace, name=name, template=PodTemplate(labels=labels, ports=ports), addresses=addresses)


ROWS: list[tuple[str, list[Pod], list[NetworkPolicy], bool]] = [
    ("namespaces of which no policy says anything", [there("a"), there("b", namespace="two")], [], True),
    ("a namespace that a rule names", [there("a"), there("b", namespace="two")],
     [policy("p", app("client"), egress=[rule(Peer(namespace_selector=label("kubernetes.io/metadata.name", "two")))])],
     False),
    ("a label that a rule asks for", [there("a", tier="x"), there("b", tier="y")],
     [policy("p", app("client"), egress=[rule(Peer(label("tier", "x"), Selector()))])], False),
    ("a policy for one of them", [there("a", tier="x"), there("b", namespace="two", tier="x")],
     [policy("p", label("tier", "x"), namespace="two", ingress=[rule()])], False),
    ("a named port with another number", [there("a", port=80), there("b", port=81)],
     [policy("p", app("client"), egress=[rule(Peer(namespace_selector=Selector()), ports=[PolicyPort("TCP", "http")])])],
     False),
    ("an address that a block holds", [there("a", address="10.0.0.1"), there("b", address="192.168.0.1")], [], False),
    ("two addresses of one block", [there("a", address="10.0.0.1"), there("b", namespace="two", address="10.0.0.2")],
     [], True),
    ("another address family", [there("a", address="203.0.113.1"), there("b", address="fd00::1")], [], False),
]  # fmt: skip


@pytest.mark.parametrize("row", ROWS, ids=[row[0] for row in ROWS])
def test_destinations_are_alike_if_policies_see_the_same_of_them(
    row: tuple[str, list[Pod], list[NetworkPolicy], bool],
) -> None:
    _, pods, policies, expected = row
    objects: list[KubeObject] = [space("shop"), space("one"), space("two"), CLIENT, ASKED, *pods, *policies]
    model = Cluster.from_objects(objects).model
    scenarios = tuple(Scenario(family, bound) for family in (4, 6) for bound in Bound)
    likeness = Likeness(Reach(model.engine, model.index), model.index, scenarios)
    numbers = [found.id for pod in pods if (found := model.index.class_of(pod.key)) is not None]

    one, other = map(likeness.of_destination, numbers)

    assert (one == other) is expected


def test_a_pod_is_matched_against_the_policies_whose_subjects_may_have_its_labels() -> None:
    web, db, exists = (policy(name, on) for name, on in (
        ("web", app("web")), ("db", app("db")), ("exists", Selector((Requirement("app", "Exists"),))),
    ))  # fmt: skip
    compiled = Cluster.from_objects([space("shop"), web, db, exists]).model.engine.policies("shop")
    subjects = Subjects(compiled)

    def names(labels: dict[str, str | None], *, whole: bool = True) -> list[str]:
        return [found.key.name for found in subjects.possible(labels, whole=whole)]

    assert names({"app": "web"}) == ["exists", "web"]
    assert names({"app": None}) == names({}) == ["exists"]
    assert names({"app": "web-?"}) == names({}, whole=False) == ["db", "exists", "web"]
