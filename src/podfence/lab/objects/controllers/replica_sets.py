# SPDX-License-Identifier: Apache-2.0
"""ReplicaSets and ReplicationControllers: so many pods, of any names."""

from __future__ import annotations

from typing import TYPE_CHECKING

from podfence.lab.objects.controllers.making import PODS, observed, running
from podfence.lab.objects.owners import controller_of, place_of
from podfence.lab.objects.statuses import is_ready

if TYPE_CHECKING:
    from podfence.kube.objects import Workload
    from podfence.lab.objects.controllers.making import PodMaker
    from podfence.lab.objects.owners import Place
    from podfence.lab.store.history import Change
    from podfence.lab.store.metadata import Raw
    from podfence.lab.store.store import Store


def also(store: Store, resource: str, change: Change) -> list[Place]:
    """Return the sets for a change of a pod that nobody looks after: one of them may take it over."""
    if change.resource != PODS or change.type == "DELETED" or controller_of(change.object) is not None:
        return []
    return [place_of(resource, obj) for obj in store.list(resource, change.object["metadata"]["namespace"])[0]]


def tend(maker: PodMaker, obj: Raw, workload: Workload) -> Raw | None:
    """Make the pods that a set lacks, and delete the newest of those that it has too many of."""
    if maker.adopt(obj):
        # It counts them when it hears that they are its own.
        return None
    pods = sorted(running(maker.owned(obj)), key=lambda pod: str(pod["metadata"]["creationTimestamp"]))
    maker.remove(reversed(pods[workload.replicas :]))
    missing = workload.replicas - len(pods)
    if missing > 0:
        for _ in range(min(missing, maker.room(obj))):
            maker.make(obj, workload.template.labels)
    pods = running(maker.owned(obj))
    ready = sum(map(is_ready, pods))
    status = {"replicas": len(pods), "fullyLabeledReplicas": len(pods), **observed(obj)}
    status |= {"readyReplicas": ready, "availableReplicas": ready} if ready else {}
    return {**obj, "status": status}
