# SPDX-License-Identifier: Apache-2.0
"""StatefulSets: pods with numbers, each of which waits for the end of its forerunner.

All pods start, stop and are replaced at once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from podfence.cluster.controllers import REVISION_HASH, added_labels
from podfence.lab.objects.controllers.making import PODS, observed
from podfence.lab.objects.owners import Place
from podfence.lab.objects.statuses import is_ready
from podfence.lab.objects.workloads import revision, template_at
from podfence.lab.store.errors import AlreadyExistsError

if TYPE_CHECKING:
    from podfence.kube.objects import Workload
    from podfence.lab.objects.controllers.making import PodMaker
    from podfence.lab.store.history import Change
    from podfence.lab.store.metadata import Raw
    from podfence.lab.store.store import Store


def also(_store: Store, resource: str, change: Change) -> list[Place]:
    """Return the set of a pod that is gone, which may have had the name of one that waits."""
    known = change.object["metadata"]
    is_gone = change.resource == PODS and change.type == "DELETED"
    return [Place(resource, known["namespace"], known["name"].rpartition("-")[0])] if is_gone else []


def tend(maker: PodMaker, obj: Raw, workload: Workload) -> Raw:
    """Delete the pods that a set does not want, or not so any more, and make those that it lacks."""
    template = revision(template_at(obj))
    mark = f"{workload.name}-{template}"
    pods = {pod["metadata"]["name"]: pod for pod in maker.owned(obj)}
    numbers = range(workload.first, workload.first + workload.replicas)
    kept = {
        name: pod
        for name, pod in pods.items()
        if _number(name) in numbers and (pod["metadata"].get("labels") or {}).get(REVISION_HASH) == mark
    }
    maker.remove(pod for name, pod in reversed(pods.items()) if name not in kept)
    room = maker.room(obj)
    for number in numbers:
        name = f"{workload.name}-{number}"
        if name in kept or not room:
            continue
        labels = {**workload.template.labels, **added_labels(workload, revision=template, number=number)}
        try:
            maker.make(obj, labels, name=name)
        except AlreadyExistsError:
            continue
        room -= 1
    now = maker.owned(obj)
    count, ready = len(now), sum(map(is_ready, now))
    status = {
        **observed(obj),
        "replicas": count,
        "readyReplicas": ready,
        "availableReplicas": ready,
        "currentReplicas": count,
        "updatedReplicas": count,
        "currentRevision": mark,
        "updateRevision": mark,
        "collisionCount": 0,
    }
    return {**obj, "status": status}


def _number(name: str) -> int:
    text = name.rpartition("-")[2]
    return int(text) if text.isdecimal() else -1
