# SPDX-License-Identifier: Apache-2.0
"""What the scheduler and the nodes do with pods: each gets a node and addresses, is started, and ends."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from podfence.cluster.members import FINISHED_PHASES
from podfence.kube.objects import Key
from podfence.lab.objects import statuses
from podfence.lab.objects.inventory import is_going
from podfence.lab.objects.owners import Place, place_of
from podfence.lab.objects.pod_specs import pod_spec
from podfence.lab.store.errors import StoreError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from podfence.lab.addresses import Plan
    from podfence.lab.objects.containers import PodSpec
    from podfence.lab.objects.inventory import Inventory
    from podfence.lab.objects.placement import Placement, Spot
    from podfence.lab.objects.statuses import ContainerReport
    from podfence.lab.store.history import Change
    from podfence.lab.store.metadata import Raw

_PODS: Final = "pods"


@dataclass(slots=True)
class _Running:
    """A pod that is to run, or still runs: which it is, what it runs, and whether it is to stop."""

    uid: str
    spec: PodSpec
    spot: Spot
    stopping: bool = False


class Nodes:
    """The pods that run, and those that are to be started and stopped.

    A name and an address are given to another pod only when the one that has them has stopped.
    """

    def __init__(self, inventory: Inventory, placement: Placement, plan: Plan) -> None:
        """Run nothing yet."""
        self._inventory = inventory
        self._store = inventory.store
        self._placement = placement
        self._plan = plan
        self._running: dict[Key, _Running] = {}
        self._starts: dict[Key, PodSpec] = {}
        self._stops: list[Key] = []
        self._kept: dict[Key, _Running] = {}
        self._due: list[Place] = []
        self.waiting: set[Place] = set()

    def take(self) -> tuple[list[PodSpec], list[Key]]:
        """Return what is to be started and what to be stopped since the last call."""
        taken = list(self._starts.values()), self._stops
        self._starts, self._stops = {}, []
        return taken

    def due(self) -> list[Place]:
        """Return the pods to tend because something has stopped since the last call."""
        due, self._due = self._due, []
        return due

    def woken_by(self, change: Change) -> Iterable[Place]:
        """Return the pod that a change is of."""
        return [place_of(_PODS, change.object)] if change.resource == _PODS else []

    def tend(self, place: Place) -> None:
        """Start a pod that is to run, and stop one that is not, or not so."""
        pod = self._inventory.find(place)
        key = Key("Pod", place.namespace, place.name)
        running = self._running.get(key)
        self.waiting.discard(place)
        kept = self._kept.pop(key, None)
        if kept is not None and (pod is None or not _is_alive(pod, kept.uid)):
            self._release(kept.spot)
            kept = None
        if running is not None:
            if not self._is_wanted(pod, running):
                self._stop(key, running)
        elif pod is None:
            return
        elif is_going(pod):
            # Nothing of it runs.
            self._store.delete(*place, uid=pod["metadata"]["uid"], grace=0)
        elif statuses.phase_of(pod) not in FINISHED_PHASES:
            self._start(key, pod, kept.spot if kept is not None else None)

    def seconds_to_end(self, key: Key) -> int:
        """Return how long a pod that is to stop has for that, 0 for one that is gone or has finished."""
        pod, running = self._inventory.find(Place(_PODS, *key[1:])), self._running.get(key)
        if pod is None or running is None or pod["metadata"]["uid"] != running.uid:
            return 0
        if is_going(pod):
            return int(pod["metadata"].get("deletionGracePeriodSeconds") or 0)
        if statuses.phase_of(pod) in FINISHED_PHASES:
            return 0
        return int(pod["spec"].get("terminationGracePeriodSeconds") or 0)

    def stopped(self, keys: Iterable[Key]) -> None:
        """Take in that nothing is left of pods that were to stop."""
        for key in keys:
            running = self._running.get(key)
            if running is not None and running.stopping:
                self._gone(key, running)

    def reported(self, key: Key, reports: Mapping[str, ContainerReport], failure: str) -> None:
        """Take in what became of the containers of a pod."""
        pod, running = self._inventory.find(Place(_PODS, *key[1:])), self._running.get(key)
        if pod is None or running is None or running.uid != pod["metadata"]["uid"] or running.stopping:
            return
        status = statuses.reported(pod, reports, failure, self._inventory.now())
        self._store.update(_PODS, {**pod, "status": status}, status=True)

    def _is_wanted(self, pod: Raw | None, running: _Running) -> bool:
        """Return whether a pod is to run, and just as it does."""
        if pod is None or not _is_alive(pod, running.uid):
            return False
        return pod_spec(self._plan, pod, running.spot) == running.spec

    def _start(self, key: Key, pod: Raw, spot: Spot | None = None) -> None:
        spot = spot or self._placement.place(pod["spec"])
        now = self._inventory.now()
        if spot is None:
            self.waiting.add(place_of(_PODS, pod))
            status = statuses.unscheduled(pod, len(self._placement.nodes), now)
            self._store.update(_PODS, {**pod, "status": status}, status=True)
            return
        try:
            pod = self._store.update(_PODS, {**pod, "spec": {**pod["spec"], "nodeName": spot.node}})
            addresses = self._placement.nodes[spot.node].addresses
            status = statuses.scheduled(pod, spot, addresses, now)
            self._store.update(_PODS, {**pod, "status": status}, status=True)
        except StoreError:
            self._release(spot)
            raise
        spec = pod_spec(self._plan, pod, spot)
        self._running[key] = _Running(pod["metadata"]["uid"], spec, spot)
        self._starts[key] = spec

    def _stop(self, key: Key, running: _Running) -> None:
        if self._starts.pop(key, None) is not None:
            # Nobody has started it yet, so nobody will tell that it has stopped.
            self._gone(key, running)
        elif not running.stopping:
            running.stopping = True
            self._stops.append(key)

    def _gone(self, key: Key, running: _Running) -> None:
        """Let another pod have the name and the address of one of which nothing is left.

        One that is there and only runs something else from now on keeps them.
        """
        del self._running[key]
        place = Place(_PODS, key.namespace, key.name)
        pod = self._inventory.find(place)
        if pod is not None and _is_alive(pod, running.uid):
            self._kept[key] = running
        else:
            self._release(running.spot)
        self._due.append(place)

    def _release(self, spot: Spot) -> None:
        self._placement.release(spot)
        self._due += sorted(self.waiting)


def _is_alive(pod: Raw, uid: str) -> bool:
    """Return whether a pod is the one that is meant, and is to run."""
    known = pod["metadata"]
    return known["uid"] == uid and not is_going(pod) and statuses.phase_of(pod) not in FINISHED_PHASES
