# SPDX-License-Identifier: Apache-2.0
"""Workloads as they are stored: their templates, selectors, and how many pods a Job wants."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec

from podfence.cluster.controllers import JOB_NAME
from podfence.kube import convert, wire
from podfence.lab.store.metadata import short_name

if TYPE_CHECKING:
    from podfence.kube.objects import Selector, Workload
    from podfence.lab.store.metadata import Raw

_REVISION: Final = 10


class Finished(NamedTuple):
    """How many pods of a Job have ended, and how."""

    succeeded: int = 0
    failed: int = 0


def job_pods(workload: Workload, spec: Raw, finished: Finished) -> int:
    """Return how many pods of a Job are to run now; `spec` is its own as it is stored."""
    if spec["suspend"] or finished.failed > spec["backoffLimit"]:
        return 0
    # Without completions, a Job is done as soon as one pod has succeeded.
    if spec.get("completions") is None:
        return 0 if finished.succeeded else workload.replicas
    missing: int = spec["completions"] - finished.succeeded
    return max(0, min(workload.replicas, missing))


def revision(template: object) -> str:
    """Return a short name for a pod template; another template has another."""
    return short_name(msgspec.json.encode(template, order="deterministic").decode(), _REVISION)


def template_at(workload: Raw) -> Raw:
    """Return the pod template of a workload."""
    found = (workload.get("spec") or {}).get("template")
    return found if isinstance(found, dict) else {}


def selector(workload: Raw) -> Selector | None:
    """Return what tells a workload its pods: those that stop matching are its own no longer. None if nothing does."""
    kind, written = workload["kind"], workload["spec"].get("selector")
    if kind == "Job":
        written = {JOB_NAME: workload["metadata"]["name"]}
    if not written:
        return None
    labels_only = kind in ("Job", "ReplicationController")
    return convert.selector(msgspec.convert({"matchLabels": written} if labels_only else written, wire.LabelSelector))
