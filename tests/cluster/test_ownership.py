# SPDX-License-Identifier: Apache-2.0
"""Which workload a pod belongs to, with all links of the chain of owners and with some of them missing."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import pytest

from podfence.cluster.state import ClusterState
from tests.cluster.parts import added, belongs, names, pod, workload

if TYPE_CHECKING:
    from podfence.kube.objects import KubeObject

HASH = {"pod-template-hash": "5d4f"}
DEPLOY = workload("Deployment", "web")
REPLICA_SET = workload("ReplicaSet", "web-5d4f", owner="Deployment/web", labels=HASH)
OLD_REPLICA_SET = workload("ReplicaSet", "web-77aa", owner="Deployment/web", replicas=0)
WEB_POD = pod("web-5d4f-x", owner="ReplicaSet/web-5d4f", labels=HASH)
CRON = workload("CronJob", "tick")
JOB = workload("Job", "tick-28123456", owner="CronJob/tick")
JOB_POD = pod("tick-28123456-x", owner="Job/tick-28123456")

CHAINS: list[tuple[str, list[KubeObject], dict[str, str]]] = [
    ("a Deployment with its ReplicaSets", [DEPLOY, REPLICA_SET, OLD_REPLICA_SET, WEB_POD], {"shop/web-5d4f-x": "shop/deploy/web"}),
    ("a Deployment without ReplicaSets", [DEPLOY, WEB_POD], {"shop/web-5d4f-x": "shop/deploy/web"}),
    ("a pod alone, its Deployment known by the hash", [WEB_POD], {"shop/web-5d4f-x": "shop/deploy/web"}),
    ("a ReplicaSet without its Deployment", [REPLICA_SET, WEB_POD], {"shop/web-5d4f-x": "shop/deploy/web"}),
    ("ReplicaSets old and new without their Deployment", [REPLICA_SET, OLD_REPLICA_SET, WEB_POD], {"shop/web-5d4f-x": "shop/deploy/web"}),
    ("a ReplicaSet of nobody", [workload("ReplicaSet", "rs"), pod("p", owner="ReplicaSet/rs")], {"shop/p": "shop/rs/rs"}),
    ("a ReplicaSet whose name does not end in the hash", [pod("p", owner="ReplicaSet/web", labels=HASH)], {"shop/p": "shop/rs/web"}),
    ("a ReplicaSet and a pod without the hash", [pod("p", owner="ReplicaSet/web-5d4f")], {"shop/p": "shop/rs/web-5d4f"}),
    ("a CronJob with its Job", [CRON, JOB, JOB_POD], {"shop/tick-28123456-x": "shop/cj/tick"}),
    ("a CronJob without its Job", [CRON, JOB_POD], {"shop/tick-28123456-x": "shop/cj/tick"}),
    ("a Job without its CronJob", [JOB, JOB_POD], {"shop/tick-28123456-x": "shop/cj/tick"}),
    ("a Job whose name is no CronJob's", [pod("p", owner="Job/import-7")], {"shop/p": "shop/job/import-7"}),
    ("a Job of nobody whose name looks like a CronJob's", [workload("Job", "tick-28123456"), JOB_POD], {"shop/tick-28123456-x": "shop/job/tick-28123456"}),
    ("a StatefulSet", [workload("StatefulSet", "db"), pod("db-0", owner="StatefulSet/db")], {"shop/db-0": "shop/sts/db"}),
    ("a static pod, owned by its Node", [pod("etcd-n1", owner="Node/n1")], {"shop/etcd-n1": ""}),
    ("a bare pod", [pod("p")], {"shop/p": ""}),
    ("an owner of a kind that is not read", [workload("StatefulSet", "db", owner="Postgres/main"), pod("db-0", owner="StatefulSet/db")], {"shop/db-0": "shop/sts/db"}),
    ("a ReplicaSet of a Rollout that is not read", [workload("ReplicaSet", "web-77aa", owner="Rollout/web", labels={"rollouts-pod-template-hash": "77aa"}), pod("p", owner="ReplicaSet/web-77aa")], {"shop/p": "shop/rollout/web"}),
    ("an operator's resource that owns two Deployments", [workload("Deployment", "front", owner="MyApp/x"), workload("Deployment", "back", owner="MyApp/x"), workload("ReplicaSet", "front-1", owner="Deployment/front"), pod("p", owner="ReplicaSet/front-1")], {"shop/p": "shop/deploy/front", "shop/deploy/back": "shop/deploy/back"}),
    ("an operator's resource that owns two Jobs", [workload("Job", "dump", owner="Backup/x"), workload("Job", "sweep", owner="Backup/x"), pod("p", owner="Job/dump")], {"shop/p": "shop/job/dump", "shop/job/sweep": "shop/job/sweep"}),
    ("a Deployment that a workload of another kind has made", [workload("Service.serving.knative.dev", "web"), workload("Deployment", "web-1", owner="Service.serving.knative.dev/web")], {"shop/deploy/web-1": "shop/deploy/web-1"}),
    ("Deployments that own each other", [workload("Deployment", "a", owner="Deployment/b"), workload("Deployment", "b", owner="Deployment/a")], {"shop/deploy/a": "shop/deploy/a", "shop/deploy/b": "shop/deploy/b"}),
    ("ReplicaSets that own each other", [workload("ReplicaSet", "a", owner="ReplicaSet/b"), workload("ReplicaSet", "b", owner="ReplicaSet/a"), pod("p", owner="ReplicaSet/a")], {"shop/p": "shop/rs/a", "shop/rs/b": "shop/rs/b"}),
    ("a ReplicaSet below one that is not read, whose name is a Deployment's", [workload("Deployment", "a"), workload("ReplicaSet", "a", owner="ReplicaSet/b-1", labels={"pod-template-hash": "1"}), workload("Deployment", "b")], {"shop/deploy/a": "shop/deploy/a", "shop/deploy/b": "shop/deploy/b"}),
    ("a ReplicaSet below a Job that is not read, whose name is a CronJob's", [workload("ReplicaSet", "a", owner="Job/c-28123456"), pod("p", owner="ReplicaSet/a")], {"shop/p": "shop/cj/c"}),
    ("an owner of that name in another namespace", [workload("Deployment", "web", namespace="dev"), WEB_POD], {"shop/web-5d4f-x": "shop/deploy/web", "dev/deploy/web": "dev/deploy/web"}),
]  # fmt: skip


@pytest.mark.parametrize(("objects", "expected"), [case[1:] for case in CHAINS], ids=[case[0] for case in CHAINS])
def test_pods_belong_to_their_topmost_controller_in_any_order(
    objects: list[KubeObject], expected: dict[str, str]
) -> None:
    for order in itertools.permutations(objects):
        state = ClusterState(order)
        assert belongs(state) == expected
        followed = ClusterState()
        for item in order:
            followed.apply(added(item))
        assert belongs(followed) == expected


def test_owners_in_a_circle_come_to_an_end() -> None:
    state = ClusterState(
        [
            workload("ReplicaSet", "a", owner="ReplicaSet/b"),
            workload("ReplicaSet", "b", owner="ReplicaSet/a"),
            pod("p", owner="ReplicaSet/a"),
        ]
    )

    assert "shop/p" in names(state)
