# SPDX-License-Identifier: Apache-2.0
"""Jobs: pods until enough of them have succeeded. Those that have finished stay."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from podfence.cluster.controllers import COMPLETION_INDEX, added_labels
from podfence.lab.objects.conditions import Condition, conditions
from podfence.lab.objects.controllers.making import PODS, count_ready, running, woken
from podfence.lab.objects.inventory import is_going
from podfence.lab.objects.statuses import phase_of
from podfence.lab.objects.workloads import Finished, job_pods
from podfence.lab.store.metadata import moment

if TYPE_CHECKING:
    from collections.abc import Iterable

    from podfence.kube.objects import Workload
    from podfence.lab.objects.controllers.making import PodMaker
    from podfence.lab.objects.owners import Place
    from podfence.lab.store.history import Change
    from podfence.lab.store.metadata import Raw

_JOBS: Final = "jobs.batch"


class Jobs:
    """The controller of Jobs."""

    def __init__(self, maker: PodMaker) -> None:
        """Look after the Jobs of a store."""
        self._maker = maker
        self._counted: dict[str, dict[str, bool]] = {}

    def woken_by(self, change: Change) -> Iterable[Place]:
        """Return the Jobs that a change concerns."""
        if change.resource == _JOBS and change.type == "DELETED":
            self._counted.pop(change.object["metadata"]["uid"], None)
        return woken(change, _JOBS, "Job")

    def tend(self, place: Place) -> None:
        """Count the pods that have finished, and make as many as are still wanted."""
        inventory = self._maker.inventory
        obj, workload = inventory.find(place), inventory.workload(place)
        if obj is None or workload is None or is_going(obj):
            return
        uid = obj["metadata"]["uid"]
        # A pod that is deleted afterwards has finished all the same.
        counted = self._counted.setdefault(uid, {})
        for pod in self._maker.owned(obj):
            if phase_of(pod) in ("Succeeded", "Failed"):
                counted[pod["metadata"]["uid"]] = phase_of(pod) == "Succeeded"
        done = Finished(sum(counted.values()), len(counted) - sum(counted.values()))
        wanted = job_pods(workload, obj.get("spec"), done)
        pods = running(self._maker.owned(obj))
        self._maker.remove(reversed(pods[wanted:]))
        if wanted > len(pods):
            self._make(obj, workload, min(wanted - len(pods), self._maker.room(obj)))
        self._report(obj, done, running(self._maker.owned(obj)), over=not wanted)

    def _make(self, obj: Raw, workload: Workload, count: int) -> None:
        uid = obj["metadata"]["uid"]
        for _ in range(count):
            number = self._free_index(obj, workload.indexes) if workload.indexes else None
            self._maker.make(obj, {**workload.template.labels, **added_labels(workload, number=number, uid=uid)})

    def _free_index(self, obj: Raw, indexes: int) -> int:
        """Return the lowest index for which no pod runs or has succeeded."""
        pods = [pod for pod in self._maker.inventory.owned(obj, PODS) if phase_of(pod) != "Failed"]
        taken = {(pod["metadata"].get("labels") or {}).get(COMPLETION_INDEX) for pod in pods}
        return next((number for number in range(indexes) if str(number) not in taken), indexes - 1)

    def _report(self, obj: Raw, done: Finished, pods: list[Raw], *, over: bool) -> None:
        before = obj.get("status") or {}
        now = moment(self._maker.inventory.now())
        status: Raw = {"ready": count_ready(pods), "terminating": 0, "uncountedTerminatedPods": {}}
        counts = {"active": len(pods), "succeeded": done.succeeded, "failed": done.failed}
        status |= {key: count for key, count in counts.items() if count}
        status["startTime"] = before.get("startTime") or now
        condition = _end(done) if over and not pods else None
        if condition is not None:
            status["conditions"] = conditions(before, now, [condition])
            if condition.type == "Complete":
                status["completionTime"] = before.get("completionTime") or now
        self._maker.inventory.store.update(_JOBS, {**obj, "status": status}, status=True)


def _end(done: Finished) -> Condition:
    """Return why a Job wants no pods."""
    if done.succeeded:
        message = "Reached expected number of succeeded pods"
        return Condition("Complete", holds=True, reason="CompletionsReached", message=message)
    if done.failed:
        message = "Job has reached the specified backoff limit"
        return Condition("Failed", holds=True, reason="BackoffLimitExceeded", message=message)
    return Condition("Suspended", holds=True, reason="JobSuspended", message="Job suspended")
