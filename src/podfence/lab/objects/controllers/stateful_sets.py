# SPDX-License-Identifier: Apache-2.0
"""StatefulSets: pods with numbers, each of which waits for the end of its forerunner."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from podfence.cluster.controllers import REVISION_HASH, added_labels
from podfence.lab.objects.controllers.making import PODS, count_ready, observed, woken
from podfence.lab.objects.inventory import is_going
from podfence.lab.objects.owners import Place
from podfence.lab.objects.workloads import revision, template_at
from podfence.lab.store.errors import AlreadyExistsError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from podfence.lab.objects.controllers.making import PodMaker
    from podfence.lab.store.history import Change

_SETS: Final = "statefulsets.apps"


class StatefulSets:
    """The controller of StatefulSets. All pods start, stop and are replaced at once."""

    def __init__(self, maker: PodMaker) -> None:
        """Look after the StatefulSets of a store."""
        self._maker = maker

    def woken_by(self, change: Change) -> Iterator[Place]:
        """Yield the sets that a change concerns; a pod that is gone may have had the name of one that waits."""
        yield from woken(change, _SETS, "StatefulSet")
        if change.resource == PODS and change.type == "DELETED":
            known = change.object["metadata"]
            yield Place(_SETS, known["namespace"], known["name"].rpartition("-")[0])

    def tend(self, place: Place) -> None:
        """Delete the pods that a set does not want, or not so any more, and make those that it lacks."""
        inventory = self._maker.inventory
        obj, workload = inventory.find(place), inventory.workload(place)
        if obj is None or workload is None or is_going(obj):
            return
        template = revision(template_at(obj))
        mark = f"{place.name}-{template}"
        pods = {pod["metadata"]["name"]: pod for pod in self._maker.owned(obj)}
        numbers = range(workload.first, workload.first + workload.replicas)
        kept = {
            name: pod
            for name, pod in pods.items()
            if _number(name) in numbers and (pod["metadata"].get("labels") or {}).get(REVISION_HASH) == mark
        }
        self._maker.remove(pod for name, pod in reversed(pods.items()) if name not in kept)
        room = self._maker.room(obj)
        for number in numbers:
            name = f"{place.name}-{number}"
            if name in kept or not room:
                continue
            labels = {**workload.template.labels, **added_labels(workload, revision=template, number=number)}
            try:
                self._maker.make(obj, labels, name=name)
            except AlreadyExistsError:
                continue
            room -= 1
        pods = {pod["metadata"]["name"]: pod for pod in self._maker.owned(obj)}
        ready = count_ready(list(pods.values()))
        status = {
            **observed(obj),
            "replicas": len(pods),
            "readyReplicas": ready,
            "availableReplicas": ready,
            "currentReplicas": len(pods),
            "updatedReplicas": len(pods),
            "currentRevision": mark,
            "updateRevision": mark,
            "collisionCount": 0,
        }
        inventory.store.update(_SETS, {**obj, "status": status}, status=True)


def _number(name: str) -> int:
    text = name.rpartition("-")[2]
    return int(text) if text.isdecimal() else -1
