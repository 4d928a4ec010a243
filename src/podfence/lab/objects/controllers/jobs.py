# SPDX-License-Identifier: Apache-2.0
"""Jobs: pods until enough of them have succeeded. Those that have finished stay."""

from __future__ import annotations

from typing import TYPE_CHECKING

from podfence.cluster.controllers import COMPLETION_INDEX, added_labels
from podfence.cluster.members import FINISHED_PHASES
from podfence.lab.objects.conditions import Condition, conditions
from podfence.lab.objects.controllers.making import PODS, running
from podfence.lab.objects.statuses import is_ready, phase_of
from podfence.lab.objects.workloads import Finished, job_pods
from podfence.lab.store.metadata import moment

if TYPE_CHECKING:
    from podfence.kube.objects import Workload
    from podfence.lab.objects.controllers.making import PodMaker
    from podfence.lab.objects.owners import Place
    from podfence.lab.store.history import Change
    from podfence.lab.store.metadata import Raw
    from podfence.lab.store.store import Store


class Jobs:
    """The Jobs of a store, and which of their pods have succeeded or failed."""

    def __init__(self) -> None:
        """Know of no pods yet."""
        self._counted: dict[str, dict[str, bool]] = {}

    def also(self, _store: Store, resource: str, change: Change) -> tuple[Place, ...]:
        """Forget the pods of a Job that is gone; that concerns no other."""
        if change.resource == resource and change.type == "DELETED":
            self._counted.pop(change.object["metadata"]["uid"], None)
        return ()

    def tend(self, maker: PodMaker, obj: Raw, workload: Workload) -> Raw:
        """Count the pods that have finished, and make as many as are still wanted."""
        uid = obj["metadata"]["uid"]
        # A pod that is deleted afterwards has finished all the same.
        counted = self._counted.setdefault(uid, {})
        for pod in maker.owned(obj):
            if phase_of(pod) in FINISHED_PHASES:
                counted[pod["metadata"]["uid"]] = phase_of(pod) == "Succeeded"
        done = Finished(sum(counted.values()), len(counted) - sum(counted.values()))
        wanted = job_pods(workload, obj["spec"], done)
        pods = running(maker.owned(obj))
        maker.remove(reversed(pods[wanted:]))
        for _ in range(min(wanted - len(pods), maker.room(obj))):
            number = _free_index(maker, obj, workload.indexes) if workload.indexes else None
            maker.make(obj, {**workload.template.labels, **added_labels(workload, number=number, uid=uid)})
        return {**obj, "status": _status(maker, obj, done, over=not wanted)}


def _free_index(maker: PodMaker, obj: Raw, indexes: int) -> int:
    """Return the lowest index for which no pod runs or has succeeded."""
    pods = [pod for pod in maker.inventory.owned(obj, PODS) if phase_of(pod) != "Failed"]
    taken = {(pod["metadata"].get("labels") or {}).get(COMPLETION_INDEX) for pod in pods}
    return next((number for number in range(indexes) if str(number) not in taken), indexes - 1)


def _status(maker: PodMaker, obj: Raw, done: Finished, *, over: bool) -> Raw:
    before, pods = obj.get("status") or {}, running(maker.owned(obj))
    now = moment(maker.inventory.now())
    status: Raw = {"ready": sum(map(is_ready, pods)), "terminating": 0, "uncountedTerminatedPods": {}}
    counts = {"active": len(pods), "succeeded": done.succeeded, "failed": done.failed}
    status |= {key: count for key, count in counts.items() if count}
    status["startTime"] = before.get("startTime") or now
    condition = _end(done) if over and not pods else None
    if condition is not None:
        status["conditions"] = conditions(before, now, [condition])
        if condition.type == "Complete":
            status["completionTime"] = before.get("completionTime") or now
    return status


def _end(done: Finished) -> Condition:
    """Return why a Job wants no pods."""
    if done.succeeded:
        message = "Reached expected number of succeeded pods"
        return Condition("Complete", holds=True, reason="CompletionsReached", message=message)
    if done.failed:
        message = "Job has reached the specified backoff limit"
        return Condition("Failed", holds=True, reason="BackoffLimitExceeded", message=message)
    return Condition("Suspended", holds=True, reason="JobSuspended", message="Job suspended")
