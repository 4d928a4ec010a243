# SPDX-License-Identifier: Apache-2.0
"""The state after events: who is judged, which namespaces there are, and what an event says it changed."""

from __future__ import annotations

import pytest

from podfence.cluster.state import NAME_LABEL, ClusterState, Event
from podfence.kube.objects import KubeObject, Namespace, NetworkPolicy, Node, Service
from podfence.sets.addresses import parse_address
from tests.cluster.parts import added, deleted, modified, names, pod, workload

HASH = {"pod-template-hash": "5d4f"}
DEPLOY = workload("Deployment", "web")
REPLICA_SET = workload("ReplicaSet", "web-5d4f", owner="Deployment/web")
ONE = pod("one", owner="ReplicaSet/web-5d4f", labels=HASH)
TWO = pod("two", owner="ReplicaSet/web-5d4f", labels=HASH)
DONE = pod("one", owner="ReplicaSet/web-5d4f", labels=HASH, phase="Failed")
CRON, JOB = workload("CronJob", "tick"), workload("Job", "tick-28123456", owner="CronJob/tick")
TEMPLATE = "shop/deploy/web"

STORIES: list[tuple[str, list[tuple[Event, list[str]]]]] = [
    ("pods come and go", [
        (added(DEPLOY), [TEMPLATE]), (added(REPLICA_SET), [TEMPLATE]), (added(ONE), ["shop/one"]),
        (added(TWO), ["shop/one", "shop/two"]), (deleted(ONE), ["shop/two"]), (deleted(TWO), [TEMPLATE])]),
    ("the Deployment comes after its pods", [
        (added(ONE), ["shop/one"]), (added(DEPLOY), ["shop/one"]), (added(REPLICA_SET), ["shop/one"]),
        (deleted(REPLICA_SET), ["shop/one"]), (deleted(ONE), [TEMPLATE]), (deleted(DEPLOY), [])]),
    ("the ReplicaSet stands in while the Deployment is not known", [
        (added(REPLICA_SET), ["shop/rs/web-5d4f"]), (added(ONE), ["shop/one"]), (deleted(ONE), ["shop/rs/web-5d4f"]),
        (added(DEPLOY), [TEMPLATE]), (deleted(DEPLOY), ["shop/rs/web-5d4f"])]),
    ("a Job stands in while the CronJob is not known", [
        (added(JOB), ["shop/job/tick-28123456"]), (added(CRON), ["shop/cj/tick"]),
        (added(pod("t", owner="Job/tick-28123456")), ["shop/t"]), (deleted(CRON), ["shop/t"]),
        (deleted(JOB), ["shop/t"])]),
    ("a finished pod is not judged, nor is a template for it", [
        (added(DEPLOY), [TEMPLATE]), (added(DONE), []), (added(TWO), ["shop/two"]), (deleted(TWO), []),
        (deleted(DONE), [TEMPLATE])]),
    ("a pod finishes", [(added(ONE), ["shop/one"]), (modified(DONE), []), (modified(ONE), ["shop/one"])]),
    ("zero replicas are judged as if they ran", [(added(workload("Deployment", "web", replicas=0)), [TEMPLATE])]),
    ("what was never there is deleted", [(deleted(ONE), []), (deleted(DEPLOY), []), (deleted(REPLICA_SET), [])]),
    ("the same is added twice", [(added(ONE), ["shop/one"]), (added(ONE), ["shop/one"]), (deleted(ONE), [])]),
]  # fmt: skip


@pytest.mark.parametrize("story", [case[1] for case in STORIES], ids=[case[0] for case in STORIES])
def test_members_after_each_event(story: list[tuple[Event, list[str]]]) -> None:
    state = ClusterState()
    for event, expected in story:
        before = dict(state.members)
        delta = state.apply(event)
        assert names(state) == expected

        gone = {member.key for member in delta.removed}
        come = {member.key for member in delta.added}
        assert gone == {key for key, member in before.items() if state.members.get(key) is not member}
        assert come == {key for key, member in state.members.items() if before.get(key) is not member}


@pytest.mark.parametrize(
    "item",
    [pod("p"), DEPLOY, NetworkPolicy(namespace="shop", name="n"), Service(namespace="shop", name="s")],
    ids=lambda item: item.key.kind,
)  # fmt: skip
def test_a_namespace_that_is_only_mentioned_lives_as_long_as_what_is_in_it(item: KubeObject) -> None:
    state = ClusterState()

    assert state.apply(added(item)).namespaces == {"shop"}
    assert (set(state.namespaces), state.implied) == ({"shop"}, {"shop"})
    assert state.namespaces["shop"].labels == state.labels_of_namespace("shop") == {NAME_LABEL: "shop"}
    state.apply(modified(item))
    assert (set(state.namespaces), state.implied) == ({"shop"}, {"shop"})
    assert state.apply(deleted(item)).namespaces == {"shop"}
    assert (state.namespaces, state.implied) == ({}, set())


def test_a_namespace_that_is_deleted_before_its_pods_is_implied_until_they_go() -> None:
    space = Namespace(name="shop", labels={"team": "a", NAME_LABEL: "shop"})
    state = ClusterState([pod("p"), space])
    assert state.implied == set()
    assert state.labels_of_namespace("shop")["team"] == "a"

    assert state.apply(deleted(space)).namespaces == {"shop"}
    assert (state.implied, state.labels_of_namespace("shop")) == ({"shop"}, {NAME_LABEL: "shop"})
    state.apply(added(space))
    assert (state.implied, state.labels_of_namespace("shop")["team"]) == (set(), "a")
    state.apply(deleted(pod("p")))
    assert set(state.namespaces) == {"shop"}
    state.apply(deleted(space))
    assert state.namespaces == {}


def test_nodes_imply_no_namespace() -> None:
    assert ClusterState([Node(name="n1", labels={})]).namespaces == {}


def test_policies_come_and_go_in_their_namespace() -> None:
    policy = NetworkPolicy(namespace="shop", name="n")
    state = ClusterState([policy])
    assert state.policies == {"shop": {"n": policy}}

    other = NetworkPolicy(namespace="shop", name="n")
    assert state.apply(modified(other)).policies == {"shop"}
    assert state.policies["shop"]["n"] is other
    assert state.apply(deleted(other)).policies == {"shop"}
    assert state.policies == {}


def test_pods_of_a_workload_are_found_by_it() -> None:
    state = ClusterState([DEPLOY, ONE, TWO, pod("other", owner="StatefulSet/db")])

    assert [member.name for member in state.workload_pods(DEPLOY.key)] == ["shop/one", "shop/two"]
    assert state.known_workload(DEPLOY.key)
    assert not state.known_workload(REPLICA_SET.key)
    state.apply(deleted(ONE))
    state.apply(deleted(TWO))
    assert [member.name for member in state.workload_pods(DEPLOY.key)] == [TEMPLATE]


def test_addresses_that_cannot_be_read_are_left_out() -> None:
    state = ClusterState([pod("p", "not-an-address", "::ffff:10.0.0.2", "fd00::1")])

    assert [member.addresses for member in state.members.values()] == [(0x0A000002, parse_address("fd00::1"))]


def test_of_several_addresses_of_a_family_the_first_is_the_pods() -> None:
    state = ClusterState([pod("p", "10.0.0.1", "10.0.0.2")])

    assert [member.addresses for member in state.members.values()] == [(0x0A000001,)]
