# SPDX-License-Identifier: Apache-2.0
"""DaemonSets: one pod on every node that the template allows. A changed template replaces all pods at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

from podfence.cluster.controllers import REVISION_HASH, added_labels
from podfence.lab.objects.controllers.making import observed
from podfence.lab.objects.owners import place_of
from podfence.lab.objects.statuses import is_ready
from podfence.lab.objects.workloads import revision, template_at

if TYPE_CHECKING:
    from podfence.kube.objects import Workload
    from podfence.lab.objects.controllers.making import PodMaker
    from podfence.lab.objects.owners import Place
    from podfence.lab.store.history import Change
    from podfence.lab.store.metadata import Raw
    from podfence.lab.store.store import Store


def also(store: Store, resource: str, change: Change) -> list[Place]:
    """Return all sets for a change of a node."""
    return [place_of(resource, item) for item in store.list(resource)[0]] if change.resource == "nodes" else []


def tend(maker: PodMaker, obj: Raw, workload: Workload) -> Raw:
    """Delete the pods of nodes that are not allowed, or of another template, and make those that lack."""
    template = revision(template_at(obj))
    nodes = maker.placement.eligible(template_at(obj).get("spec") or {})
    kept: dict[str, Raw] = {}
    for pod in maker.owned(obj):
        node = pod["spec"].get("nodeName", "")
        mark = (pod["metadata"].get("labels") or {}).get(REVISION_HASH)
        if node not in nodes or node in kept or mark != template:
            maker.remove([pod])
        else:
            kept[node] = pod
    labels = {**workload.template.labels, **added_labels(workload, revision=template)}
    for node in nodes:
        if node not in kept:
            maker.make(obj, labels, node=node)
    pods = maker.owned(obj)
    ready = sum(map(is_ready, pods))
    status = {
        **observed(obj),
        "currentNumberScheduled": len(pods),
        "desiredNumberScheduled": len(nodes),
        "numberAvailable": ready,
        "numberMisscheduled": 0,
        "numberReady": ready,
        "updatedNumberScheduled": len(pods),
    }
    return {**obj, "status": status}
