# SPDX-License-Identifier: Apache-2.0
"""A cluster with manifests applied to it is what kubectl would make of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import pytest

import podfence
from podfence.api import Cluster
from podfence.cluster.applied import applied, objects_of
from podfence.cluster.state import ClusterState
from podfence.kube.objects import Key, Owner, PodTemplate, Workload
from podfence.policy.options import KINDS, Options
from tests.policy.parts import app, pod, policy, rule, space

if TYPE_CHECKING:
    from podfence.kube.objects import KubeObject


def deployment(name: str, **labels: str) -> Workload:
    return Workload(
        kind="Deployment", namespace="shop", name=name, template=PodTemplate(labels={"app": name, **labels})
    )


def replica_set(name: str) -> Workload:
    owner = Owner("Deployment", name)
    return Workload(
        kind="ReplicaSet", namespace="shop", name=f"{name}-1", template=PodTemplate(labels={"app": name}), owner=owner
    )


def running(name: str) -> KubeObject:
    return msgspec.structs.replace(
        pod(f"{name}-1-a", "10.0.0.1", labels={"app": name}), owner=Owner("ReplicaSet", f"{name}-1")
    )


LIVE: list[KubeObject] = [space("shop", team="a", injected="yes"), deployment("web"), replica_set("web"), running("web"),
        policy("web", app("web"), ingress=()), policy("old", app("web"), ingress=())]  # fmt: skip


def names(state: ClusterState) -> set[str]:
    return {f"{item.key.kind} {item.key.name}" for item in objects_of(state)}


def test_objects_replace_those_of_their_name() -> None:
    new = policy("web", app("web"), ingress=[rule()])

    state = applied(ClusterState(LIVE), [new])

    assert state.policies["shop"]["web"] is new
    assert names(state) == names(ClusterState(LIVE))


def test_a_namespace_keeps_what_others_put_on_it() -> None:
    state = applied(ClusterState(LIVE), [space("shop", team="b")])

    labels = state.namespaces["shop"].labels
    assert (labels["team"], labels["injected"]) == ("b", "yes")


@pytest.mark.parametrize(("labels", "member"), [({}, "web-1-a"), ({"v": "2"}, "web")])
def test_a_workload_has_new_pods_where_they_would_be_others(labels: dict[str, str], member: str) -> None:
    state = applied(ClusterState(LIVE), [deployment("web", **labels)])

    assert [key.name for key in state.members] == [member]


def test_what_is_not_given_stays_unless_it_is_pruned() -> None:
    given = [policy("web", app("web"), ingress=()), policy("other", app("web"), ingress=(), namespace="dev")]

    assert "NetworkPolicy old" in names(applied(ClusterState(LIVE), given))
    assert names(applied(ClusterState(LIVE), given, prune=True)) == {
        *("Namespace shop", "Deployment web", "ReplicaSet web-1", "Pod web-1-a"),
        *("NetworkPolicy web", "NetworkPolicy other"),
    }


def test_a_workload_is_pruned_with_all_that_it_owns() -> None:
    state = applied(ClusterState(LIVE), [deployment("db")], prune=True)

    assert names(state) == {"Namespace shop", "Deployment db", "NetworkPolicy web", "NetworkPolicy old"}


def test_the_addresses_of_pods_that_do_not_run_yet_are_not_known() -> None:
    live = Cluster(ClusterState(LIVE), Options(), closed=KINDS)
    given = Cluster.from_objects([deployment("db")])

    after = live.with_applied(given)

    assert live.check("10.0.0.9", "shop/web-1-a").decision == "denied"
    assert Key("Deployment", "shop", "db") in after.state.members
    assert after.engine.world.is_open("Pod")
    assert not live.with_applied(Cluster.from_objects([policy("web", app("web"), ingress=())])).engine.world.is_open(
        "Pod"
    )


def test_a_live_cluster_is_compared_with_what_would_be_applied() -> None:
    live = Cluster(ClusterState(LIVE), Options(), closed=KINDS)
    given = Cluster.from_objects([policy("web", app("web"), ingress=[rule()])])

    opened = podfence.diff(live, live.with_applied(given))
    pruned = podfence.diff(
        live, live.with_applied(Cluster.from_objects([policy("none", app("none"), ingress=())]), prune=True)
    )

    assert [item.causes[0].text for item in opened.connections] == [
        "ingress rule 1 of NetworkPolicy shop/web was added"
    ]
    assert {item.change for item in pruned.connections} == {"opened"}
    causes = [[cause.text for cause in item.causes] for item in pruned.connections if not item.joint]
    assert causes == [["NetworkPolicy shop/old was removed", "NetworkPolicy shop/web was removed"]]
