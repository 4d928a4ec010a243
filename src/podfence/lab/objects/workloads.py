# SPDX-License-Identifier: Apache-2.0
"""What the controllers of a cluster do: which pods a workload wants, and what they are called."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec

from podfence.cluster.controllers import JOB_NAME, TEMPLATE_HASH, added_labels
from podfence.kube import wire
from podfence.kube.objects import Owner, Requirement, Selector

if TYPE_CHECKING:
    from collections.abc import Iterable

    from podfence.kube.objects import Labels, Workload

# The letters and digits that Kubernetes makes names of: none that could spell a word.
_ALPHABET: Final = "bcdfghjklmnpqrstvwxz2456789"
# More than all nodes of a lab have addresses for.
_MOST: Final = 60_000


class Slot(NamedTuple):
    """A place for one pod of a workload; `name` is "" where the pod's name is made up, `node` where any will do."""

    id: str
    name: str = ""
    node: str = ""


class Finished(NamedTuple):
    """How many pods of a Job have ended, and how."""

    succeeded: int = 0
    failed: int = 0


class _JobSpec(wire.Fields):
    completions: int | None = None
    backoff_limit: int | None = None
    suspend: bool | None = None


class _Ordinals(wire.Fields):
    start: int | None = None


class _SetSpec(wire.Fields):
    ordinals: _Ordinals | None = None


def slots(workload: Workload, spec: object, nodes: Iterable[str], finished: Finished) -> list[Slot]:
    """Return the places a workload has for pods that run now.

    `spec` is the workload's as it is written, `nodes` are those that its pods may run on.
    """
    if workload.kind == "DaemonSet":
        return [Slot(node, node=node) for node in nodes]
    if workload.kind == "StatefulSet":
        written = _read(spec, _SetSpec)
        start = (written.ordinals.start or 0) if written.ordinals is not None else 0
        numbers = range(start, start + min(workload.replicas, _MOST))
        return [Slot(str(number), f"{workload.name}-{number}") for number in numbers]
    count = _job_pods(workload, spec, finished) if workload.kind == "Job" else workload.replicas
    return [Slot(str(number)) for number in range(min(count, _MOST))]


def _job_pods(workload: Workload, spec: object, finished: Finished) -> int:
    written = _read(spec, _JobSpec)
    limit = 6 if written.backoff_limit is None else written.backoff_limit
    if written.suspend or finished.failed > limit:
        return 0
    # Without completions, a Job is done as soon as one pod has succeeded.
    if written.completions is None:
        return 0 if finished.succeeded else workload.replicas
    missing: int = written.completions - finished.succeeded
    return max(0, min(workload.replicas, missing))


def _read(spec: object, wanted: type[Any]) -> Any:  # noqa: ANN401 - what `wanted` is
    try:
        return msgspec.convert(spec, wanted)
    except msgspec.ValidationError:
        return wanted()


def revision(value: object) -> str:
    """Return a short name for a pod template as it is written; another template has another."""
    return _short(hashlib.sha256(msgspec.json.encode(value, order="deterministic")).digest(), 10)


def suffix(seed: str) -> str:
    """Return the five characters that end the name of a pod, the same for the same seed."""
    return _short(hashlib.sha256(seed.encode()).digest(), 5)


def _short(digest: bytes, length: int) -> str:
    return "".join(_ALPHABET[byte % len(_ALPHABET)] for byte in digest[:length])


def controller(workload: Workload, template: str) -> Owner:
    """Return the owner of a workload's pods: a Deployment's belong to the ReplicaSet of the template."""
    if workload.kind == "Deployment":
        return Owner("ReplicaSet", f"{workload.name}-{template}")
    return Owner(workload.kind, workload.name)


def pod_labels(workload: Workload, template: str, slot: str) -> Labels:
    """Return the labels of a pod: the template's and those its controller puts on."""
    number = int(slot) if slot.isdecimal() else None
    return {**workload.template.labels, **added_labels(workload, revision=template, number=number, uid="")}


def selector(workload: Workload, spec: object, template: str) -> Selector:
    """Return what tells a workload its pods: those that stop matching are its own no longer."""
    if workload.kind == "Job":
        return _all_of({JOB_NAME: workload.name})
    written = spec.get("selector") if isinstance(spec, dict) else None
    if not written:
        # Written for an old API, or a ReplicationController: the template's labels.
        return _all_of(workload.template.labels)
    if workload.kind == "ReplicationController":
        return _all_of(written)
    read = msgspec.convert(written, wire.LabelSelector)
    found = _all_of(read.match_labels or {}).requirements
    found += tuple(
        Requirement(term.key or "", _operator(term.operator), tuple(value or "" for value in term.values or ()))
        for term in read.match_expressions or ()
        if term is not None
    )
    if workload.kind == "Deployment":
        found += (Requirement(TEMPLATE_HASH, "In", (template,)),)
    return Selector(found)


def _operator(written: str | None) -> Any:  # noqa: ANN401 - validation has let the four operators through
    return written


def _all_of(labels: wire.Texts | Labels) -> Selector:
    return Selector(tuple(Requirement(key, "In", (value or "",)) for key, value in labels.items()))
