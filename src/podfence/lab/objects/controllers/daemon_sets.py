# SPDX-License-Identifier: Apache-2.0
"""DaemonSets: one pod on every node that the template allows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from podfence.cluster.controllers import REVISION_HASH, added_labels
from podfence.lab.objects.controllers.making import count_ready, observed, woken
from podfence.lab.objects.inventory import is_going
from podfence.lab.objects.owners import place_of
from podfence.lab.objects.workloads import revision, template_at

if TYPE_CHECKING:
    from collections.abc import Iterable

    from podfence.lab.objects.controllers.making import PodMaker
    from podfence.lab.objects.owners import Place
    from podfence.lab.store.history import Change
    from podfence.lab.store.metadata import Raw

_SETS: Final = "daemonsets.apps"


class DaemonSets:
    """The controller of DaemonSets. A changed template replaces all pods at once."""

    def __init__(self, maker: PodMaker) -> None:
        """Look after the DaemonSets of a store."""
        self._maker = maker

    def woken_by(self, change: Change) -> Iterable[Place]:
        """Return the sets that a change concerns: all of them, if it is of a node."""
        if change.resource == "nodes":
            return [place_of(_SETS, item) for item in self._maker.inventory.store.list(_SETS)[0]]
        return woken(change, _SETS, "DaemonSet")

    def tend(self, place: Place) -> None:
        """Delete the pods of nodes that are not allowed, or of another template, and make those that lack."""
        inventory = self._maker.inventory
        obj, workload = inventory.find(place), inventory.workload(place)
        if obj is None or workload is None or is_going(obj):
            return
        template = revision(template_at(obj))
        nodes = self._maker.placement.eligible(template_at(obj).get("spec") or {})
        kept: dict[str, Raw] = {}
        for pod in self._maker.owned(obj):
            node = pod["spec"].get("nodeName", "")
            mark = (pod["metadata"].get("labels") or {}).get(REVISION_HASH)
            if node not in nodes or node in kept or mark != template:
                self._maker.remove([pod])
            else:
                kept[node] = pod
        labels = {**workload.template.labels, **added_labels(workload, revision=template)}
        for node in nodes:
            if node not in kept:
                self._maker.make(obj, labels, node=node)
        pods = self._maker.owned(obj)
        ready = count_ready(pods)
        status = {
            **observed(obj),
            "currentNumberScheduled": len(pods),
            "desiredNumberScheduled": len(nodes),
            "numberAvailable": ready,
            "numberMisscheduled": 0,
            "numberReady": ready,
            "updatedNumberScheduled": len(pods),
        }
        inventory.store.update(_SETS, {**obj, "status": status}, status=True)
