# SPDX-License-Identifier: Apache-2.0
"""Controllers' labels are those that the lab puts on pods, and numbered pods are judged apart where a selector asks."""

from __future__ import annotations

import itertools
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podfence.cluster.controllers import ADDED, CHOSEN, PER_POD, UNKNOWN, added_labels, is_unknown, numbers
from podfence.cluster.state import ClusterState, Event, EventType
from podfence.kube.objects import Key, KubeObject, NetworkPolicy, PodTemplate, Requirement, Selector, Service, Workload
from podfence.kube.validation.names import label_value
from tests.cluster.parts import added, names, pod
from tests.lab import worlds
from tests.twin.effort import tried

NAME = "statefulset.kubernetes.io/pod-name"


def workload(kind: str, replicas: int = 1, first: int = 0, indexes: int = 0) -> Workload:
    return Workload(
        kind=kind, namespace="shop", name="db", template=PodTemplate(labels={"app": "db"}), replicas=replicas, first=first, indexes=indexes
    )  # fmt: skip


def asking(key: str, *values: str) -> NetworkPolicy:
    selector = Selector((Requirement(key, "In" if values else "Exists", values),))
    return NetworkPolicy(namespace="shop", name="p", pod_selector=selector)


LABELS = [
    (workload("Deployment"), None, {"pod-template-hash": UNKNOWN}),
    (workload("ReplicaSet"), None, {}),
    (workload("DaemonSet"), None, {"controller-revision-hash": UNKNOWN, "pod-template-generation": UNKNOWN}),
    (workload("StatefulSet"), 2, {"controller-revision-hash": "db-?", NAME: "db-2", "apps.kubernetes.io/pod-index": "2"}),
    (workload("StatefulSet"), None, {"controller-revision-hash": "db-?", NAME: "db-?", "apps.kubernetes.io/pod-index": UNKNOWN}),
    (workload("Job"), None, {"job-name": "db", "batch.kubernetes.io/job-name": "db", "controller-uid": UNKNOWN, "batch.kubernetes.io/controller-uid": UNKNOWN}),
    (workload("CronJob"), None, {"job-name": "db-?", "batch.kubernetes.io/job-name": "db-?", "controller-uid": UNKNOWN, "batch.kubernetes.io/controller-uid": UNKNOWN}),
    (workload("Rollout"), None, {}),
]  # fmt: skip


@pytest.mark.parametrize(("item", "number", "labels"), LABELS, ids=lambda value: getattr(value, "kind", None))
def test_every_controller_puts_its_own_labels_on(item: Workload, number: int | None, labels: dict[str, str]) -> None:
    assert added_labels(item, number=number) == labels
    assert labels.keys() <= ADDED


@pytest.mark.parametrize(
    "kind", ["Deployment", "ReplicaSet", "DaemonSet", "StatefulSet", "ReplicationController", "Job"]
)
def test_the_lab_puts_on_what_the_engine_expects(kind: str) -> None:
    item = workload(kind)
    made = worlds.world(1)
    worlds.apply(
        made, worlds.job("db") if kind == "Job" else worlds.workload(kind, "db", None if kind == "DaemonSet" else 1)
    )
    (found,) = worlds.pods(made).values()
    real = found.template.labels
    expected = {**({} if kind == "Job" else {"app": "db"}), **added_labels(item, number=0)}
    assert real.keys() <= expected.keys()
    assert {key: value for key, value in real.items() if not is_unknown(expected[key])} == {
        key: value for key, value in expected.items() if not is_unknown(value)
    }
    assert real.keys() >= expected.keys() - CHOSEN


def test_no_selector_can_name_an_unknown_value() -> None:
    assert label_value(UNKNOWN)


NUMBERED = [
    (workload("StatefulSet", 3), asking(NAME, "db-0"), ["shop/db-0", "shop/db-1", "shop/db-2"]),
    (workload("StatefulSet", 2, first=5), asking("apps.kubernetes.io/pod-index"), ["shop/db-5", "shop/db-6"]),
    (workload("StatefulSet", 1), asking(NAME, "db-0"), ["shop/sts/db"]),
    (workload("StatefulSet", 0), asking(NAME, "db-0"), ["shop/sts/db"]),
    (workload("StatefulSet", 3), asking("app", "db"), ["shop/sts/db"]),
    (workload("Job", indexes=2), asking("batch.kubernetes.io/job-completion-index", "1"), ["shop/db-0-?", "shop/db-1-?"]),
    (workload("CronJob", indexes=2), asking("batch.kubernetes.io/job-completion-index", "1"), ["shop/db-?-0-?", "shop/db-?-1-?"]),
    (workload("Job"), asking("batch.kubernetes.io/job-completion-index", "1"), ["shop/job/db"]),
    (workload("Deployment", 3), asking(NAME, "db-0"), ["shop/deploy/db"]),
    (workload("StatefulSet", 2), Service(namespace="shop", name="db-0", selector={NAME: "db-0"}), ["shop/db-0", "shop/db-1"]),
]  # fmt: skip


@pytest.mark.parametrize(("item", "asks", "expected"), NUMBERED)
def test_numbered_pods_are_judged_apart_where_a_selector_asks(
    item: Workload, asks: NetworkPolicy | Service, expected: list[str]
) -> None:
    for order in ([item, asks], [asks, item]):
        state = ClusterState()
        for part in order:
            state.apply(added(part))
        assert names(state) == expected == names(ClusterState(order))
        assert sorted(member.name for member in state.workload_pods(item.key)) == expected
        assert {member.workload for member in state.members.values()} == {item.key}
    state.apply(Event(EventType.DELETED, asks))
    assert len(names(state)) == 1
    assert state.workload_pods(item.key)


def test_a_pod_with_the_name_of_a_numbered_one_takes_its_place_while_it_is_there() -> None:
    item, asks, other = workload("StatefulSet", 2), asking(NAME, "db-0"), pod("db-1", labels={"app": "else"})
    state = ClusterState([item, asks])
    delta = state.apply(added(other))
    assert [member.labels.get(NAME) for member in delta.removed] == ["db-1"]
    assert state.members[Key("Pod", "shop", "db-1")].labels == {"app": "else"}
    assert [member.name for member in state.workload_pods(item.key)] == ["shop/db-0"]
    state.apply(Event(EventType.DELETED, other))
    assert state.members[Key("Pod", "shop", "db-1")].labels[NAME] == "db-1"


def test_workloads_of_one_name_that_number_their_pods_stand_for_all_of_them() -> None:
    numbered = (workload("StatefulSet", 2), workload("Job", indexes=2), workload("CronJob", indexes=2))
    items: list[KubeObject] = [*numbered, asking(NAME, "db-0")]
    expected = ["shop/db-0", "shop/db-0-?", "shop/db-1", "shop/db-1-?", "shop/db-?-0-?", "shop/db-?-1-?"]
    for order in itertools.permutations(items):
        assert names(ClusterState(order)) == expected


OF_ONE_NAME = (
    workload("StatefulSet", 2),
    workload("StatefulSet", 3, first=1),
    workload("Job", indexes=2),
    workload("Job"),
    workload("CronJob", indexes=3),
    pod("db-0"),
    pod("db-0", phase="Failed"),
    pod("db-1", owner="StatefulSet/db"),
    pod("db-1", owner="Job/db"),
    asking(NAME, "db-0"),
)


@tried(200)
@given(history=st.lists(st.tuples(st.sampled_from(EventType), st.sampled_from(OF_ONE_NAME)), min_size=5, max_size=9))
def test_numbered_pods_after_events_are_those_of_a_fresh_load(history: list[tuple[EventType, KubeObject]]) -> None:
    state = ClusterState()
    present: dict[Key, KubeObject] = {}
    for kind, item in history:
        state.apply(Event(kind, item))
        present.pop(item.key, None)
        if kind is not EventType.DELETED:
            present[item.key] = item
    assert judged(state) == judged(ClusterState(present.values()))


def judged(state: ClusterState) -> dict[Key, tuple[Key | None, dict[str, str]]]:
    return {key: (member.workload, member.labels) for key, member in state.members.items()}


def test_live_pods_replace_all_that_stands_for_them() -> None:
    item, asks = workload("StatefulSet", 2), asking(NAME, "db-0")
    real = pod("db-0", owner="StatefulSet/db", labels={NAME: "db-0"})
    state = ClusterState([item, asks])
    delta = state.apply(added(real))
    assert len(delta.removed) == 2
    assert names(state) == ["shop/db-0"]


def test_no_more_than_a_thousand_pods_are_numbered() -> None:
    assert len(numbers(workload("StatefulSet", 10**9))) == 1000
    assert all(re.fullmatch(r"[a-z./-]+", key) for key in PER_POD)
