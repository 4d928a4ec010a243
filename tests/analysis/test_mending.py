# SPDX-License-Identifier: Apache-2.0
"""The changes that are proposed for a question admit all of it, however many connections it stands for."""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING

import pytest

from podfence.api import Cluster
from podfence.kube.objects import NetworkPolicy, PodTemplate, Workload
from podfence.policy.options import Options
from podfence.policy.verdict import Decision
from tests.policy.parts import app, pod, policy, space
from tests.twin.effort import part
from tests.twin.partial import SPACES, partial_cluster

if TYPE_CHECKING:
    from podfence.kube.objects import KubeObject
    from podfence.policy.verdict import Verdict

CLOSED = Options.parse(["world=closed"])


def has_changes(verdict: Verdict) -> bool:
    """Return whether a change is proposed for all that is denied."""
    several = verdict.parts or (verdict,)
    reasons = [reason for item in several for reason in (item.egress, item.ingress)]
    return all(reason.remedies for reason in reasons if reason.decision is Decision.DENIED)


def changed(objects: list[KubeObject], cluster: Cluster, verdict: Verdict) -> list[KubeObject] | None:
    """Return the objects with the changes that are proposed; None if a template is to be labelled."""
    found = cluster.mended(verdict)
    if any(item.policy is None for item in found):
        return None
    after = {item.policy.key: item.policy for item in found if item.policy is not None}
    return [item for item in objects if not (isinstance(item, NetworkPolicy) and item.key in after)] + [*after.values()]


def test_what_is_proposed_for_all_pods_of_a_namespace_admits_all_of_them() -> None:
    tried = several = 0
    for seed, (source, destination) in product(range(part(150)), product(SPACES, repeat=2)):
        objects = partial_cluster(seed)
        cluster = Cluster.from_objects(objects, CLOSED)
        there = {member.namespace for member in cluster.state.members.values() if not member.host}
        if not {source, destination} <= there:
            continue
        verdict = cluster.explain(f"{source}/*", f"{destination}/*", 80)
        if verdict.decision is not Decision.DENIED or not has_changes(verdict):
            continue
        after = changed(objects, cluster, verdict)
        if after is None:
            continue
        tried += 1
        several += len(verdict.parts) > 1
        found = Cluster.from_objects(after, CLOSED).check(f"{source}/*", f"{destination}/*", 80)
        assert found.decision is Decision.ALLOWED, (seed, source, destination, str(found))
    assert several > 2, (tried, several)


CLIENTS = [pod(name, f"10.1.0.{number}") for number, name in enumerate(("a", "b"), 1)]
NAMESAKES: list[KubeObject] = [
    pod("db", "10.1.0.3"),
    Workload(kind="Deployment", namespace="shop", name="db", template=PodTemplate(labels={"app": "other"})),
]


@pytest.mark.parametrize(
    ("servers", "names"),
    [
        (NAMESAKES[:1], ["a-ingress", "b-ingress", "db-ingress"]),
        (NAMESAKES, ["a-ingress", "b-ingress", "db-ingress", "db-ingress-2"]),
    ],
    ids=["several sources, one policy for each destination", "a pod and a workload of one name"],
)
def test_no_policy_that_is_proposed_takes_the_place_of_another(servers: list[KubeObject], names: list[str]) -> None:
    objects: list[KubeObject] = [space("shop"), *CLIENTS, *servers, policy("deny", ingress=[])]
    cluster = Cluster.from_objects(objects, CLOSED)
    after = changed(objects, cluster, cluster.explain("shop/*", "shop/*", 80))
    assert after is not None

    assert sorted(item.name for item in after if isinstance(item, NetworkPolicy)) == sorted([*names, "deny"])
    assert Cluster.from_objects(after, CLOSED).check("shop/*", "shop/*", 80).allowed


def test_parts_that_one_change_admits_are_not_told_apart() -> None:
    """Both pods have the labels that a rule would ask for."""
    twins = [pod(name, address, labels={"app": "web"}) for name, address in (("a", "10.1.0.1"), ("b", "10.1.0.2"))]
    objects: list[KubeObject] = [space("shop"), *twins, pod("db", "10.1.0.3"), policy("p", app("db"), ingress=[])]  # fmt: skip
    verdict = Cluster.from_objects(objects).explain("shop/*", "shop/db", 80)

    assert (verdict.decision, verdict.parts) == (Decision.DENIED, ())


def test_of_many_connections_that_are_denied_alike_the_first_is_told_and_said_to_be() -> None:
    crowd = [pod(f"p{number}", f"10.1.{number}.1", labels={"n": str(number)}) for number in range(11)]
    objects: list[KubeObject] = [space("shop"), *crowd, policy("p", ingress=[])]
    verdict = Cluster.from_objects(objects).explain("shop/*", "shop/*", 80)

    assert (verdict.decision, verdict.parts) == (Decision.DENIED, ())
    assert verdict.notes[0] == "this is about shop/p0 -> shop/p1, the first of 110 connections"
