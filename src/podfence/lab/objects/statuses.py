# SPDX-License-Identifier: Apache-2.0
"""The status of a pod, as its node reports it."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from podfence.cluster.members import FINISHED_PHASES
from podfence.lab.objects.conditions import Condition, condition, conditions
from podfence.lab.store.metadata import moment

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from podfence.lab.objects.placement import Spot
    from podfence.lab.store.metadata import Raw


class ContainerReport(NamedTuple):
    """What became of a container: how often it was started, and its exit code unless it runs.

    The times are seconds since the epoch; `ended` means nothing while it runs.
    """

    starts: int
    exit: int | None
    started: float
    ended: float


def phase_of(pod: Raw) -> str:
    """Return the phase of a pod, "" if nobody has said one."""
    return (pod.get("status") or {}).get("phase") or ""


def is_ready(pod: Raw) -> bool:
    """Return whether all containers of a pod run."""
    return bool(condition(pod, "Ready", "True"))


def unscheduled(pod: Raw, nodes: int, now: float) -> Raw:
    """Return the status of a pod that no node has an address for."""
    before = pod.get("status") or {}
    message = f"0/{nodes} nodes are available: {nodes} Too many pods."
    found = conditions(
        before, moment(now), [Condition("PodScheduled", holds=False, reason="Unschedulable", message=message)]
    )
    return {**before, "phase": "Pending", "conditions": found, "qosClass": "BestEffort"}


def scheduled(pod: Raw, spot: Spot, node_addresses: Sequence[str], now: float) -> Raw:
    """Return the status of a pod that has a node and addresses, and no container yet."""
    before = pod.get("status") or {}
    status = {
        **before,
        "hostIP": node_addresses[0],
        "hostIPs": [{"ip": text} for text in node_addresses],
        "podIP": spot.addresses[0],
        "podIPs": [{"ip": text} for text in spot.addresses],
        "startTime": before.get("startTime") or moment(now),
    }
    return _with_containers(pod, status, {}, "", now)


def reported(pod: Raw, reports: Mapping[str, ContainerReport], failure: str, now: float) -> Raw:
    """Return the status of a pod by what became of its containers; `failure` says why none of them could start."""
    return _with_containers(pod, dict(pod.get("status") or {}), reports, failure, now)


def _with_containers(pod: Raw, status: Raw, reports: Mapping[str, ContainerReport], failure: str, now: float) -> Raw:
    spec = pod["spec"]
    restart = spec.get("restartPolicy") or "Always"
    main = [item for item in spec.get("containers") or () if item and item.get("name")]
    init = [item for item in spec.get("initContainers") or () if item and item.get("name")]
    side = [item for item in init if item.get("restartPolicy") == "Always"]
    for field, items in (("initContainerStatuses", side), ("containerStatuses", main)):
        known = {item["name"]: item for item in status.get(field) or ()}
        found = [
            _container(item, reports.get(item["name"]), known.get(item["name"]), restart, failure) for item in items
        ]
        if found:
            status[field] = found
    names = [item["name"] for item in (*side, *main)]
    exits = [reports[name].exit if name in reports else None for name in names]
    if names and len(reports) == len(names) and all(_is_done(code, restart) for code in exits):
        status["phase"] = "Failed" if any(exits) else "Succeeded"
    elif reports:
        status["phase"] = "Running"
    runs = bool(reports) and all(name in reports and reports[name].exit is None for name in names)
    if status["phase"] in FINISHED_PHASES:
        reason, message = "PodCompleted", ""
    else:
        reason, message = "ContainersNotReady", f"containers with unready status: [{' '.join(names)}]"
    why = ("", "") if runs else (reason, message)
    status["conditions"] = conditions(
        status,
        moment(now),
        (
            Condition("PodReadyToStartContainers", holds=status["phase"] not in FINISHED_PHASES),
            Condition("Initialized", holds=True, reason=reason if status["phase"] == "Succeeded" else ""),
            Condition("Ready", runs, *why),
            Condition("ContainersReady", runs, *why),
            Condition("PodScheduled", holds=True),
        ),
    )
    return status


def _is_done(code: int | None, restart: str) -> bool:
    """Return whether a container has ended for good."""
    return code is not None and (restart == "Never" or (restart == "OnFailure" and code == 0))


def _container(written: Raw, report: ContainerReport | None, known: Raw | None, restart: str, failure: str) -> Raw:
    """Return the status of one container. How it ended before is in `lastState` once it runs again."""
    runs = report is not None and report.exit is None
    last = (known or {}).get("lastState") or {}
    if report is None:
        reason = {"reason": "CreateContainerError", "message": failure} if failure else {"reason": "ContainerCreating"}
        state: Raw = {"waiting": reason}
    elif report.exit is None:
        last = {key: value for key, value in ((known or {}).get("state") or {}).items() if key == "terminated"} or last
        state = {"running": {"startedAt": moment(report.started)}}
    else:
        ended = {
            "exitCode": report.exit,
            "reason": "Error" if report.exit else "Completed",
            "startedAt": moment(report.started),
            "finishedAt": moment(report.ended),
        }
        if _is_done(report.exit, restart):
            state = {"terminated": ended}
        else:
            state = {"waiting": {"reason": "CrashLoopBackOff"}}
            last = {"terminated": ended}
    return {
        "name": written["name"],
        "state": state,
        "lastState": last,
        "ready": runs,
        "restartCount": max(0, report.starts - 1) if report is not None else 0,
        "image": written.get("image") or "",
        "imageID": "",
        "started": runs,
    }
