# SPDX-License-Identifier: Apache-2.0
"""The cells of kubectl's table for pods: its STATUS is a word for the state of all containers together."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from podfence.cluster.members import FINISHED_PHASES
from podfence.lab.apiserver.ages import age, seconds
from podfence.lab.apiserver.cells import NONE, created
from podfence.lab.apiserver.cells import conditions as true_conditions

if TYPE_CHECKING:
    from podfence.lab.store.metadata import Raw


class _Restarts(NamedTuple):
    times: int = 0
    last: str = ""

    def with_those_of(self, state: Raw) -> _Restarts:
        ended = (state.get("lastState") or {}).get("terminated") or {}
        moment = ended.get("finishedAt") or ""
        later = moment if (seconds(moment) or 0) > (seconds(self.last) or 0) else self.last
        return _Restarts(self.times + (state.get("restartCount") or 0), later)

    def text(self, now: float) -> str:
        return f"{self.times} ({age(self.last, now)} ago)" if self.times and self.last else str(self.times)


class _Summary(NamedTuple):
    word: str
    ready: int
    restarts: _Restarts


def pod(obj: Raw, now: float) -> list[Any]:
    """Return the cells of a Pod."""
    spec, state = obj["spec"], obj.get("status") or {}
    sidecars = _sidecars(spec)
    found = _summary(spec, state, sidecars)
    word = found.word
    if obj["metadata"].get("deletionTimestamp"):
        if state.get("reason") == "NodeLost":
            word = "Unknown"
        elif state.get("phase") not in FINISHED_PHASES:
            word = "Terminating"
    total = len(spec.get("containers") or ()) + len(sidecars)
    addresses: list[Raw] = state.get("podIPs") or [{}]
    gates = [gate.get("conditionType") for gate in spec.get("readinessGates") or ()]
    met = true_conditions(state)
    return [
        *(obj["metadata"]["name"], f"{found.ready}/{total}", word, found.restarts.text(now), created(obj, now)),
        *(addresses[0].get("ip") or NONE, spec.get("nodeName") or NONE, state.get("nominatedNodeName") or NONE),
        f"{sum(gate in met for gate in gates)}/{len(gates)}" if gates else NONE,
    ]


def conditions(obj: Raw) -> list[Raw]:
    """Return what the row of a pod says of it besides its cells: that it has ended."""
    phase = (obj.get("status") or {}).get("phase")
    if phase not in FINISHED_PHASES:
        return []
    message = "The pod has completed successfully." if phase == "Succeeded" else "The pod failed."
    return [{"type": "Completed", "status": "True", "reason": phase, "message": message}]


def _sidecars(spec: Raw) -> set[str]:
    """Return the init containers that run as long as the pod."""
    return {item["name"] for item in spec.get("initContainers") or () if item.get("restartPolicy") == "Always"}


def _summary(spec: Raw, state: Raw, sidecars: set[str]) -> _Summary:
    word = state.get("reason") or state.get("phase") or ""
    terms = [term for term in state.get("conditions") or () if term.get("type") == "PodScheduled"]
    if any(term.get("reason") == "SchedulingGated" for term in terms):
        word = "SchedulingGated"
    initial = _Restarts()
    lasting = _Restarts()
    ready = 0
    stuck = ""
    for index, item in enumerate(state.get("initContainerStatuses") or ()):
        initial = initial.with_those_of(item)
        is_sidecar = item.get("name") in sidecars
        if is_sidecar:
            lasting = lasting.with_those_of(item)
        now = item.get("state") or {}
        if (now.get("terminated") or {}).get("exitCode") == 0:
            continue
        if is_sidecar and item.get("started"):
            ready += bool(item.get("ready"))
            continue
        stuck = _init_word(now, index, len(spec.get("initContainers") or ()))
        break
    if stuck and "Initialized" not in true_conditions(state):
        return _Summary(stuck, ready, initial)
    return _running(stuck or word, ready, lasting, state)


def _init_word(now: Raw, index: int, count: int) -> str:
    if ended := now.get("terminated"):
        return f"Init:{_ended(ended)}"
    reason = (now.get("waiting") or {}).get("reason")
    return f"Init:{reason}" if reason and reason != "PodInitializing" else f"Init:{index}/{count}"


def _ended(state: Raw) -> str:
    if state.get("reason"):
        return str(state["reason"])
    return f"Signal:{state['signal']}" if state.get("signal") else f"ExitCode:{state.get('exitCode', 0)}"


def _running(word: str, ready: int, restarts: _Restarts, state: Raw) -> _Summary:
    failed = ""
    runs = False
    for item in reversed(state.get("containerStatuses") or ()):
        restarts = restarts.with_those_of(item)
        now = item.get("state") or {}
        if waiting := (now.get("waiting") or {}).get("reason"):
            word = waiting
        elif ended := now.get("terminated"):
            word = _ended(ended)
            failed = word if ended.get("exitCode") else failed
        elif item.get("ready") and "running" in now:
            runs = True
            ready += 1
    if word == "Completed":
        word = "Running" if runs and "Ready" in true_conditions(state) else failed or ("NotReady" if runs else word)
    return _Summary(word, ready, restarts)
