# SPDX-License-Identifier: Apache-2.0
"""Events: what happened to pods and workloads, as `kubectl describe` shows it. Only what is true of a lab is told."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from podfence.lab.objects.conditions import condition
from podfence.lab.objects.inventory import is_going
from podfence.lab.objects.owners import Place, controller_of, reference_to
from podfence.lab.store.metadata import moment

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from podfence.lab.objects.inventory import Inventory
    from podfence.lab.store.history import Change
    from podfence.lab.store.metadata import Raw

_EVENTS: Final = "events"
_MOST: Final = 1000
"""How many events are kept. Kubernetes keeps them for an hour."""

_MAKERS: Final = {
    "ReplicaSet": "replicaset-controller",
    "ReplicationController": "replication-controller",
    "DaemonSet": "daemonset-controller",
    "Job": "job-controller",
    "StatefulSet": "statefulset-controller",
}


class _About(NamedTuple):
    """The object that an event is about."""

    kind: str
    namespace: str
    name: str
    uid: str
    version: str


class _Event(NamedTuple):
    """What happened to an object, and who tells it; `part` is the field of the object that it is about."""

    about: _About
    reason: str
    message: str
    source: str
    host: str = ""
    part: str = ""
    kind: str = "Normal"


class Events:
    """The recorder of events. What happens to the same object again is counted."""

    def __init__(self, inventory: Inventory) -> None:
        """Tell what happens from now on."""
        self._inventory = inventory
        self._store = inventory.store
        self._told: dict[_Event, Place] = {}
        self._untold: dict[Place, _Event] = {}

    def woken_by(self, change: Change) -> Iterator[Place]:
        """Yield where the events of a change are to be."""
        tell = _TOLD.get(change.resource) if change.type != "DELETED" else None
        for number, event in enumerate(tell(change.object, change.previous) if tell is not None else ()):
            about = event.about
            name = f"{about.name}.{change.revision:08x}{number:02x}"
            place = self._told.get(event) or Place(_EVENTS, about.namespace, name)
            self._untold[place] = event
            yield place

    def tend(self, place: Place) -> None:
        """Write an event that was not told yet, or count it once more."""
        event = self._untold.pop(place, None)
        if event is None:
            return
        now = moment(self._inventory.now())
        before = self._inventory.find(place)
        if before is not None:
            self._store.update(_EVENTS, {**before, "count": before["count"] + 1, "lastTimestamp": now})
            return
        self._store.create(_EVENTS, _written(event, place, now))
        self._told[event] = place
        if len(self._told) > _MOST:
            oldest = next(iter(self._told))
            self._store.delete(*self._told.pop(oldest))


def _written(event: _Event, place: Place, now: str) -> Raw:
    about = event.about
    involved = {"kind": about.kind, "namespace": about.namespace, "name": about.name, "uid": about.uid}
    involved |= {"apiVersion": about.version} | ({"fieldPath": event.part} if event.part else {})
    source = {"component": event.source} | ({"host": event.host} if event.host else {})
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": place.name, "namespace": place.namespace},
        "involvedObject": involved,
        "reason": event.reason,
        "message": event.message,
        "source": source,
        "firstTimestamp": now,
        "lastTimestamp": now,
        "count": 1,
        "type": event.kind,
        "reportingComponent": event.source,
        "reportingInstance": event.host,
    }


def _of_pod(pod: Raw, before: Raw | None) -> Iterator[_Event]:
    known, owner = pod["metadata"], controller_of(pod)
    if before is None:
        if owner is not None and owner["kind"] in _MAKERS:
            message = f"Created pod: {known['name']}"
            if owner["kind"] == "StatefulSet":
                message = f"create Pod {known['name']} in StatefulSet {owner['name']} successful"
            yield _Event(_about(owner, pod), "SuccessfulCreate", message, _MAKERS[owner["kind"]])
        return
    about = _about(reference_to(pod), pod)
    node = pod["spec"].get("nodeName", "")
    if node and not before["spec"].get("nodeName"):
        text = f"Successfully assigned {known['namespace']}/{known['name']} to {node}"
        yield _Event(about, "Scheduled", text, "default-scheduler")
    waits, waited = condition(pod, "PodScheduled", "False"), condition(before, "PodScheduled", "False")
    if waits and not waited:
        yield _Event(about, "FailedScheduling", waits["message"], "default-scheduler", kind="Warning")
    ends = is_going(pod) and not is_going(before)
    states = {item["name"]: item["state"] for item in (before.get("status") or {}).get("containerStatuses") or ()}
    for item in (pod.get("status") or {}).get("containerStatuses") or ():
        now, then = item["state"], states.get(item["name"]) or {}
        part = f"spec.containers{{{item['name']}}}"
        waiting, had = now.get("waiting") or {}, then.get("waiting") or {}
        if "running" in now and now["running"] != then.get("running"):
            yield _Event(about, "Started", "Container started", "kubelet", node, part)
        if ends and "running" in now:
            yield _Event(about, "Killing", f"Stopping container {item['name']}", "kubelet", node, part)
        if waiting.get("reason") == "CrashLoopBackOff" and waiting != had:
            text = f"Back-off restarting failed container {item['name']} in pod"
            text += f" {known['name']}_{known['namespace']}({known['uid']})"
            yield _Event(about, "BackOff", text, "kubelet", node, part, "Warning")
        if waiting.get("reason") == "CreateContainerError" and waiting != had:
            yield _Event(about, "Failed", f"Error: {waiting['message']}", "kubelet", node, part, "Warning")


def _of_replica_set(item: Raw, before: Raw | None) -> Iterator[_Event]:
    owner = controller_of(item)
    old, new = (before or {"spec": {}})["spec"].get("replicas") or 0, item["spec"].get("replicas") or 0
    if owner is not None and owner["kind"] == "Deployment" and old != new:
        message = f"Scaled {'up' if new > old else 'down'} replica set {item['metadata']['name']} from {old} to {new}"
        yield _Event(_about(owner, item), "ScalingReplicaSet", message, "deployment-controller")


def _of_job(job: Raw, before: Raw | None) -> Iterator[_Event]:
    if condition(job, "Complete", "True") and not condition(before or {}, "Complete", "True"):
        yield _Event(_about(reference_to(job), job), "Completed", "Job completed", _MAKERS["Job"])


_TOLD: Final[Mapping[str, Callable[[Raw, Raw | None], Iterator[_Event]]]] = {
    "pods": _of_pod,
    "replicasets.apps": _of_replica_set,
    "jobs.batch": _of_job,
}


def _about(reference: Raw, beside: Raw) -> _About:
    namespace = beside["metadata"]["namespace"]
    return _About(reference["kind"], namespace, reference["name"], reference["uid"], reference["apiVersion"])
