# SPDX-License-Identifier: Apache-2.0
"""How workloads make and lose pods, whatever their kind."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from podfence.cluster.members import FINISHED_PHASES
from podfence.cluster.selection import matches
from podfence.kube.objects import Key
from podfence.lab.objects.inventory import is_going
from podfence.lab.objects.owners import controller_of, makers, place_of, reference_to, references, without_owner
from podfence.lab.objects.statuses import phase_of
from podfence.lab.objects.workloads import selector, template_at
from podfence.lab.store.errors import AlreadyExistsError
from podfence.lab.store.metadata import generated_name

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from podfence.kube.objects import Labels, Workload
    from podfence.lab.objects.inventory import Inventory
    from podfence.lab.objects.owners import Place
    from podfence.lab.objects.placement import Placement
    from podfence.lab.store.history import Change
    from podfence.lab.store.metadata import Raw
    from podfence.lab.store.store import Store

PODS: Final = "pods"


class PodMaker:
    """Makes pods for workloads; all workloads of a lab share one."""

    def __init__(self, inventory: Inventory, placement: Placement) -> None:
        """Make pods in the store of an inventory, no more of a workload than fit and one that waits."""
        self.inventory = inventory
        self.placement = placement
        self._made: dict[Key, int] = {}

    def owned(self, owner: Raw) -> list[Raw]:
        """Return the pods of a workload that are not being deleted, finished ones included.

        Those that it does not select any more are let go first: they have no owner from then on.
        """
        wanted = selector(owner)
        kept: list[Raw] = []
        for pod in self.inventory.owned(owner, PODS):
            if is_going(pod):
                continue
            if wanted is None or matches(wanted, pod["metadata"].get("labels") or {}):
                kept.append(pod)
            else:
                self.inventory.store.update(PODS, without_owner(pod, owner["metadata"]["uid"]))
        return kept

    def adopt(self, owner: Raw) -> bool:
        """Give a workload the pods of its namespace that it selects and nobody looks after; return whether any are."""
        found = False
        wanted, namespace = selector(owner), owner["metadata"]["namespace"]
        for place in self.inventory.dependents.alone(PODS, namespace) if wanted is not None else ():
            pod = self.inventory.find(place)
            if pod is None or is_going(pod) or phase_of(pod) in FINISHED_PHASES or controller_of(pod) is not None:
                continue
            known = pod["metadata"]
            if wanted is not None and matches(wanted, known.get("labels") or {}):
                owners = [*references(pod), reference_to(owner)]
                self.inventory.store.update(PODS, {**pod, "metadata": {**known, "ownerReferences": owners}})
                found = True
        return found

    def room(self, owner: Raw) -> int:
        """Return how many pods a workload may make now, so that at most one of them waits for an address."""
        waiting = sum(map(_waits, self.inventory.owned(owner, PODS)))
        return max(0, self.placement.room(template_at(owner).get("spec") or {}) + 1 - waiting)

    def make(self, owner: Raw, labels: Labels, *, name: str = "", node: str = "") -> None:
        """Make a pod by the template of a workload, with a name that is made up unless one is given.

        Raises AlreadyExistsError for a name that is given, and ForbiddenError in a namespace that is going.
        """
        template = template_at(owner)
        known = template.get("metadata") or {}
        spec = {**(template.get("spec") or {})}
        if node:
            spec["nodeName"] = node
        metadata = {
            "namespace": owner["metadata"]["namespace"],
            "labels": labels,
            "annotations": known.get("annotations"),
            "ownerReferences": [reference_to(owner)],
        }
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}
        if name:
            self.inventory.store.create(PODS, {**pod, "metadata": {**metadata, "name": name}})
            return
        metadata["generateName"] = f"{owner['metadata']['name']}-"
        while True:
            try:
                self.inventory.store.create(PODS, {**pod, "metadata": {**metadata, "name": self._name(owner)}})
            except AlreadyExistsError:
                continue
            return

    def remove(self, pods: Iterable[Raw]) -> None:
        """Delete pods."""
        for pod in pods:
            place = place_of(PODS, pod)
            self.inventory.store.delete(*place, uid=pod["metadata"]["uid"])

    def _name(self, owner: Raw) -> str:
        """Return the next name for a pod; it depends only on the workload and on how many there were."""
        maker = controller_of(owner) or {"kind": owner["kind"], "name": owner["metadata"]["name"]}
        key = Key(maker["kind"], owner["metadata"]["namespace"], maker["name"])
        number = self._made[key] = self._made.get(key, 0) + 1
        return generated_name(f"{owner['metadata']['name']}-", "/".join((*key, str(number))))


class Workloads:
    """The controller of one kind of workload."""

    def __init__(
        self,
        maker: PodMaker,
        resource: str,
        tend: Callable[[PodMaker, Raw, Workload], Raw | None],
        also: Callable[[Store, str, Change], Iterable[Place]] = lambda _store, _resource, _change: (),
        *,
        makes: str = PODS,
    ) -> None:
        """Let `tend` do what is to be done for a workload, and return it with its status; None if that comes later.

        A change concerns the workload that it is of, the one that looks after what it is of, and those of `also`.
        """
        self._maker = maker
        self._resource = resource
        self._tend = tend
        self._also = also
        self._makes = makes

    def woken_by(self, change: Change) -> Iterator[Place]:
        """Yield the workloads that a change concerns."""
        if change.resource == self._resource:
            yield place_of(self._resource, change.object)
        elif change.resource == self._makes:
            yield from makers(change, self._resource)
        yield from self._also(self._maker.inventory.store, self._resource, change)

    def tend(self, place: Place) -> None:
        """Give a workload what it lacks, take what it has too much of, and write its status."""
        inventory = self._maker.inventory
        obj, workload = inventory.find(place), inventory.workload(place)
        if obj is None or workload is None or is_going(obj):
            return
        done = self._tend(self._maker, obj, workload)
        if done is not None:
            inventory.store.update(self._resource, done, status=True)


def running(pods: Iterable[Raw]) -> list[Raw]:
    """Return the pods that have not finished."""
    return [pod for pod in pods if phase_of(pod) not in FINISHED_PHASES]


def observed(obj: Raw) -> Raw:
    """Return the generation of an object, as the status of a workload repeats it."""
    return {"observedGeneration": obj["metadata"].get("generation", 0)}


def _waits(pod: Raw) -> bool:
    return phase_of(pod) == "Pending" and "podIP" not in pod["status"]
