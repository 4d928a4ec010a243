# SPDX-License-Identifier: Apache-2.0
"""Workloads as they are stored: their templates, selectors, and how many pods a Job wants."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec

from podfence.cluster.controllers import JOB_NAME
from podfence.kube import wire
from podfence.kube.objects import Requirement, Selector
from podfence.lab.store.metadata import short_name

if TYPE_CHECKING:
    from podfence.kube.objects import Labels, Workload
    from podfence.lab.store.metadata import Raw

_REVISION: Final = 10


class Finished(NamedTuple):
    """How many pods of a Job have ended, and how."""

    succeeded: int = 0
    failed: int = 0


class _JobSpec(wire.Fields):
    completions: int | None = None
    backoff_limit: int | None = None
    suspend: bool | None = None


def job_pods(workload: Workload, spec: object, finished: Finished) -> int:
    """Return how many pods of a Job are to run now; `spec` is its own as it is stored."""
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


def revision(template: object) -> str:
    """Return a short name for a pod template; another template has another."""
    return short_name(msgspec.json.encode(template, order="deterministic").decode(), _REVISION)


def template_at(workload: Raw) -> Raw:
    """Return the pod template of a workload."""
    found = (workload.get("spec") or {}).get("template")
    return found if isinstance(found, dict) else {}


def selector(workload: Raw) -> Selector | None:
    """Return what tells a workload its pods: those that stop matching are its own no longer. None if nothing does."""
    if workload["kind"] == "Job":
        return _all_of({JOB_NAME: workload["metadata"]["name"]})
    written = workload["spec"].get("selector")
    if not written:
        return None
    if workload["kind"] == "ReplicationController":
        return _all_of(written)
    read = msgspec.convert(written, wire.LabelSelector)
    found = _all_of(read.match_labels or {}).requirements
    found += tuple(
        Requirement(term.key or "", _operator(term.operator), tuple(value or "" for value in term.values or ()))
        for term in read.match_expressions or ()
        if term is not None
    )
    return Selector(found)


def _operator(written: str | None) -> Any:  # noqa: ANN401 - validation has let the four operators through
    return written


def _all_of(labels: wire.Texts | Labels) -> Selector:
    return Selector(tuple(Requirement(key, "In", (value or "",)) for key, value in labels.items()))
