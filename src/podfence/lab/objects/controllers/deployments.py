# SPDX-License-Identifier: Apache-2.0
"""Deployments: a ReplicaSet for each template that there was, of which the one of the present has the pods.

A changed template replaces all pods at once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from podfence.cluster.controllers import TEMPLATE_HASH
from podfence.lab.objects.conditions import Condition, conditions
from podfence.lab.objects.controllers.making import observed
from podfence.lab.objects.inventory import is_going
from podfence.lab.objects.owners import Place, controller_of, place_of, reference_to
from podfence.lab.objects.workloads import revision, template_at
from podfence.lab.store.metadata import moment

if TYPE_CHECKING:
    from collections.abc import Iterator

    from podfence.kube.objects import Workload
    from podfence.lab.objects.controllers.making import PodMaker
    from podfence.lab.objects.inventory import Inventory
    from podfence.lab.store.metadata import Raw

_DEPLOYMENTS: Final = "deployments.apps"
_SETS: Final = "replicasets.apps"
_REVISION: Final = "deployment.kubernetes.io/revision"
_HISTORY: Final = 10


class Deployments:
    """The Deployments of a store, and their ReplicaSets."""

    def __init__(self, inventory: Inventory) -> None:
        """Look after the Deployments of a store."""
        self._inventory = inventory
        self._store = inventory.store

    def tend(self, _maker: PodMaker, obj: Raw, workload: Workload) -> Raw | None:
        """Let the ReplicaSet of the template have the pods, and no other; while it is paused, the one that has them."""
        sets = [item for item in self._inventory.owned(obj, _SETS) if not is_going(item)]
        name = f"{workload.name}-{revision(template_at(obj))}"
        number = str(max(map(_number, sets), default=0) + 1)
        if obj["spec"].get("paused"):
            # The template of the present does not matter: the pods stay with the ReplicaSet that has them.
            if not sets:
                return None
            current: Raw | None = max(sets, key=_number)
        else:
            found = next((item for item in sets if item["metadata"]["name"] == name), None)
            current = found or self._adopted(obj, name)
        # Those that stop come first: their addresses may be needed.
        for item in sets:
            if item is not current:
                self._scale(item, 0)
        if current is None:
            current = self._make(obj, name, workload.replicas, number)
        elif any(_number(item) > _number(current) for item in sets):
            current = self._scale(current, workload.replicas, number)
        else:
            current = self._scale(current, workload.replicas)
        obj = self._annotate(obj, str(_number(current)))
        others = [item for item in sets if item["metadata"]["name"] != current["metadata"]["name"]]
        self._forget(others)
        return self._reported(obj, current, others, is_new=current["metadata"]["name"] == name)

    def _adopted(self, obj: Raw, name: str) -> Raw | None:
        """Return the ReplicaSet of a name if nobody has it any more: a Deployment before this one has left it."""
        found = self._inventory.find(Place(_SETS, obj["metadata"]["namespace"], name))
        if found is None or controller_of(found) is not None or is_going(found):
            return None
        known = {**found["metadata"], "ownerReferences": [reference_to(obj)]}
        return self._store.update(_SETS, {**found, "metadata": known})

    def _make(self, obj: Raw, name: str, replicas: int, number: str) -> Raw:
        template = template_at(obj)
        value = name.rpartition("-")[2]
        labels = {**((template.get("metadata") or {}).get("labels") or {}), TEMPLATE_HASH: value}
        selector = obj["spec"].get("selector") or {}
        chosen = {**selector, "matchLabels": {**(selector.get("matchLabels") or {}), TEMPLATE_HASH: value}}
        return self._store.create(
            _SETS,
            {
                "apiVersion": "apps/v1",
                "kind": "ReplicaSet",
                "metadata": {
                    "name": name,
                    "namespace": obj["metadata"]["namespace"],
                    "labels": labels,
                    "annotations": {_REVISION: number},
                    "ownerReferences": [reference_to(obj)],
                },
                "spec": {
                    "replicas": replicas,
                    "selector": chosen,
                    "template": {**template, "metadata": {**(template.get("metadata") or {}), "labels": labels}},
                },
            },
        )

    def _scale(self, item: Raw, replicas: int, number: str = "") -> Raw:
        known = item["metadata"]
        if number:
            known = {**known, "annotations": {**(known.get("annotations") or {}), _REVISION: number}}
        return self._store.update(_SETS, {**item, "metadata": known, "spec": {**item["spec"], "replicas": replicas}})

    def _annotate(self, obj: Raw, number: str) -> Raw:
        known = obj["metadata"]
        notes = {**(known.get("annotations") or {}), _REVISION: number}
        # Through its status, because the generation counts annotations that others change.
        return self._store.update(_DEPLOYMENTS, {**obj, "metadata": {**known, "annotations": notes}}, status=True)

    def _forget(self, old: list[Raw]) -> None:
        """Delete the oldest of the sets that only a rollback would need."""
        empty = sorted((item for item in old if not (item.get("status") or {}).get("replicas")), key=_number)
        for item in empty[: max(0, len(empty) - _HISTORY)]:
            self._store.delete(*place_of(_SETS, item))

    def _reported(self, obj: Raw, current: Raw, others: list[Raw], *, is_new: bool) -> Raw:
        """Return a Deployment with its status; `is_new` says that the current ReplicaSet has its template."""
        wanted, sets = current["spec"]["replicas"], [*others, current]
        total = sum(_counted(sets, "replicas"))
        updated = sum(_counted([current], "replicas")) if is_new else 0
        ready = sum(_counted(sets, "readyReplicas"))
        enough = ready >= wanted
        done = updated == wanted == total and enough
        name = current["metadata"]["name"]
        progress = (
            ("NewReplicaSetAvailable", f'ReplicaSet "{name}" has successfully progressed.')
            if done
            else ("ReplicaSetUpdated", f'ReplicaSet "{name}" is progressing.')
        )
        available = (
            ("MinimumReplicasAvailable", "Deployment has minimum availability.")
            if enough
            else ("MinimumReplicasUnavailable", "Deployment does not have minimum availability.")
        )
        before = obj.get("status") or {}
        counts = {"replicas": total, "updatedReplicas": updated, "readyReplicas": ready, "availableReplicas": ready}
        counts["unavailableReplicas"] = max(0, wanted - ready)
        status = {**observed(obj), **{key: count for key, count in counts.items() if count}}
        status["conditions"] = conditions(
            before,
            moment(self._inventory.now()),
            (
                Condition("Available", enough, *available),
                Condition("Progressing", holds=True, reason=progress[0], message=progress[1]),
            ),
            updated=True,
        )
        return {**obj, "status": status}


def _number(item: Raw) -> int:
    """Return the revision of a ReplicaSet, 0 for one that no Deployment has numbered."""
    text = (item["metadata"].get("annotations") or {}).get(_REVISION, "")
    return int(text) if text.isdecimal() else 0


def _counted(sets: list[Raw], field: str) -> Iterator[int]:
    return ((item.get("status") or {}).get(field, 0) for item in sets)
