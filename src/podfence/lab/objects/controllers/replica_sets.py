# SPDX-License-Identifier: Apache-2.0
"""ReplicaSets and ReplicationControllers: so many pods, of any names."""

from __future__ import annotations

from typing import TYPE_CHECKING

from podfence.lab.objects.controllers.making import PODS, count_ready, observed, running, woken
from podfence.lab.objects.inventory import is_going
from podfence.lab.objects.owners import controller_of, place_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from podfence.lab.objects.controllers.making import PodMaker
    from podfence.lab.objects.owners import Place
    from podfence.lab.store.history import Change


class ReplicaSets:
    """The controller of one of the two kinds."""

    def __init__(self, maker: PodMaker, resource: str, kind: str) -> None:
        """Look after the objects of a resource."""
        self._maker = maker
        self._resource = resource
        self._kind = kind

    def woken_by(self, change: Change) -> Iterator[Place]:
        """Yield the sets that a change concerns; one of them may take over a pod that nobody looks after."""
        yield from woken(change, self._resource, self._kind)
        if change.resource == PODS and change.type != "DELETED" and controller_of(change.object) is None:
            namespace = change.object["metadata"]["namespace"]
            for obj in self._maker.inventory.store.list(self._resource, namespace)[0]:
                yield place_of(self._resource, obj)

    def tend(self, place: Place) -> None:
        """Make the pods that a set lacks, and delete the newest of those that it has too many of."""
        inventory = self._maker.inventory
        obj, workload = inventory.find(place), inventory.workload(place)
        if obj is None or workload is None or is_going(obj):
            return
        if self._maker.adopt(obj):
            # It counts them when it hears that they are its own.
            return
        pods = sorted(running(self._maker.owned(obj)), key=lambda pod: str(pod["metadata"]["creationTimestamp"]))
        self._maker.remove(reversed(pods[workload.replicas :]))
        missing = workload.replicas - len(pods)
        if missing > 0:
            for _ in range(min(missing, self._maker.room(obj))):
                self._maker.make(obj, workload.template.labels)
        pods = running(self._maker.owned(obj))
        ready = count_ready(pods)
        status = {"replicas": len(pods), "fullyLabeledReplicas": len(pods), **observed(obj)}
        status |= {"readyReplicas": ready, "availableReplicas": ready} if ready else {}
        inventory.store.update(self._resource, {**obj, "status": status}, status=True)
