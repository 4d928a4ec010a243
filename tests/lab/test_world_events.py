# SPDX-License-Identifier: Apache-2.0
"""A lab tells as events what happened to pods and workloads, in Kubernetes' words, and nothing that did not happen."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from podfence.lab.objects.controllers import events
from podfence.lab.objects.statuses import ContainerReport
from tests.lab import worlds
from tests.lab.worlds import NOW, apply, finish, pod_key, settle, world

if TYPE_CHECKING:
    from podfence.lab.objects.world import World
    from podfence.lab.store.metadata import Raw

TELLERS = {
    "ReplicaSet": "replicaset-controller",
    "ReplicationController": "replication-controller",
    "DaemonSet": "daemonset-controller",
    "StatefulSet": "statefulset-controller",
}


def told(made: World, kind: str, name: str = "") -> list[Raw]:
    found = [item for item in made.store.list("events", "default")[0] if item["involvedObject"]["kind"] == kind]
    return [item for item in found if not name or item["involvedObject"]["name"] == name]


def lines(found: list[Raw]) -> list[tuple[str, str, str]]:
    return [(item["source"]["component"], item["reason"], item["message"]) for item in found]


def test_a_pod_is_scheduled_and_started() -> None:
    made = world()
    apply(made, worlds.pod("client"))
    settle(made)

    assert lines(told(made, "Pod")) == [
        ("default-scheduler", "Scheduled", "Successfully assigned default/client to node-2"),
        ("kubelet", "Started", "Container started"),
    ]
    assert told(made, "Pod")[1]["involvedObject"]["fieldPath"] == "spec.containers{main}"
    assert told(made, "Pod")[1]["source"] == {"component": "kubelet", "host": "node-2"}


def test_a_deleted_pod_tells_once_which_containers_are_asked_to_end() -> None:
    made = world()
    apply(made, worlds.pod("client"))
    settle(made)
    for grace in (None, 1):
        made.store.delete("pods", "default", "client", grace=grace)
        made.take()

    assert lines(told(made, "Pod"))[2:] == [("kubelet", "Killing", "Stopping container main")]


def test_a_deployment_tells_what_it_scales_and_its_set_which_pods_it_makes() -> None:
    made = world()
    apply(made, worlds.workload())
    settle(made)
    (owner,) = made.store.list("replicasets.apps", "default")[0]
    name = owner["metadata"]["name"]
    apply(made, worlds.workload(replicas=1))
    settle(made)

    assert lines(told(made, "Deployment")) == [
        ("deployment-controller", "ScalingReplicaSet", f"Scaled up replica set {name} from 0 to 2"),
        ("deployment-controller", "ScalingReplicaSet", f"Scaled down replica set {name} from 2 to 1"),
    ]
    messages = {message for _, reason, message in lines(told(made, "ReplicaSet")) if reason == "SuccessfulCreate"}
    assert len(messages) == 2
    assert all(text.startswith(f"Created pod: {name}-") for text in messages)


@pytest.mark.parametrize("kind", TELLERS)
def test_every_workload_tells_of_its_pods_as_its_controller_does(kind: str) -> None:
    made = world(nodes=1)
    apply(made, worlds.workload(kind, replicas=None if kind == "DaemonSet" else 1))
    settle(made)

    ((source, reason, message),) = lines(told(made, kind))
    assert (source, reason) == (TELLERS[kind], "SuccessfulCreate")
    assert message.startswith("create Pod web-0 in" if kind == "StatefulSet" else "Created pod: web-")


def test_a_job_tells_that_it_is_complete() -> None:
    made = world()
    apply(made, worlds.job())
    settle(made)
    (pod,) = made.store.list("pods", "default")[0]
    finish(made, pod["metadata"]["name"], succeeded=True)
    settle(made)

    assert lines(told(made, "Job"))[1:] == [("job-controller", "Completed", "Job completed")]


def test_what_happens_again_is_counted() -> None:
    made = world()
    apply(made, worlds.pod("client"))
    settle(made)
    for starts in (1, 2):
        made.pod_reported(pod_key("client"), {"main": ContainerReport(starts, 1, NOW, NOW)})
        made.follow()
        made.pod_reported(pod_key("client"), {"main": ContainerReport(starts + 1, None, NOW + starts, NOW)})
        made.follow()

    counts = {item["reason"]: (item["type"], item["count"]) for item in told(made, "Pod")}
    assert counts == {"Scheduled": ("Normal", 1), "Started": ("Normal", 3), "BackOff": ("Warning", 2)}


def test_a_pod_that_cannot_be_started_tells_why() -> None:
    made = world()
    apply(made, worlds.pod("client"))
    made.take()
    made.pod_reported(pod_key("client"), {}, "no such program")
    made.follow()

    assert lines(told(made, "Pod"))[1:] == [("kubelet", "Failed", "Error: no such program")]


def test_the_oldest_events_go_when_there_are_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "_MOST", 3)
    made = world()
    for name in ("a", "b", "c"):
        apply(made, worlds.pod(name))
        settle(made)

    assert len(made.store.list("events")[0]) == 3
    assert [item["involvedObject"]["name"] for item in told(made, "Pod")] == ["b", "c", "c"]
