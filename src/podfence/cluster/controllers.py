# SPDX-License-Identifier: Apache-2.0
"""The labels that controllers put on the pods they make, besides those of the template.

The engine knows them before there are pods, and the lab puts them on. What only a running controller knows, a hash or
a uid, is `UNKNOWN` until then: the label is there, and no selector that names a value matches it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

    from podfence.kube.objects import Labels, Workload

UNKNOWN: Final = "?"
"""In the place of a value, or of the rest of one, that nobody knows yet; no label can have it."""

TEMPLATE_HASH: Final = "pod-template-hash"
REVISION_HASH: Final = "controller-revision-hash"
_GENERATION: Final = "pod-template-generation"
_POD_NAME: Final = "statefulset.kubernetes.io/pod-name"
_POD_INDEX: Final = "apps.kubernetes.io/pod-index"
COMPLETION_INDEX: Final = "batch.kubernetes.io/job-completion-index"
JOB_NAME: Final = "batch.kubernetes.io/job-name"
_OLD_JOB_NAME: Final = "job-name"
_JOB_UIDS: Final = ("batch.kubernetes.io/controller-uid", "controller-uid")

CHOSEN: Final = frozenset({TEMPLATE_HASH, REVISION_HASH, _GENERATION, *_JOB_UIDS})
"""The labels whose values nobody can know before there are pods; of a CronJob's pods, those with the Job's name too."""

ALIKE: Final = (frozenset({JOB_NAME, _OLD_JOB_NAME}), frozenset(_JOB_UIDS))
"""Labels of one pod that have the same value."""

PER_POD: Final = frozenset({_POD_NAME, _POD_INDEX, COMPLETION_INDEX})
"""The labels that differ from pod to pod of one workload."""

ADDED: Final = CHOSEN | PER_POD | {JOB_NAME, _OLD_JOB_NAME}
"""Every label that a controller puts on."""

_MOST_PODS: Final = 1000


def is_unknown(value: str | None) -> bool:
    """Return whether a label's value, or how it ends, is chosen by a controller and not known yet."""
    return value is not None and value.endswith(UNKNOWN)


def added_labels(
    workload: Workload, *, revision: str = UNKNOWN, number: int | None = None, uid: str = UNKNOWN
) -> Labels:
    """Return the labels that the controller of a workload puts on one of its pods.

    `revision` names the template, `number` is the pod's own among the workload's, None for any, and `uid` that of the
    workload, "" in a cluster that gives none.
    """
    return dict(_added(workload, revision, number, uid))


def _added(workload: Workload, revision: str, number: int | None, uid: str) -> Iterator[tuple[str, str]]:
    name = workload.name
    match workload.kind:
        case "Deployment":
            yield TEMPLATE_HASH, revision
        case "StatefulSet":
            yield REVISION_HASH, f"{name}-{revision}"
            yield _POD_NAME, f"{name}-{UNKNOWN if number is None else number}"
            yield _POD_INDEX, UNKNOWN if number is None else str(number)
        case "DaemonSet":
            yield REVISION_HASH, revision
            if revision == UNKNOWN:
                yield _GENERATION, UNKNOWN
        case "Job" | "CronJob":
            job = name if workload.kind == "Job" else f"{name}-{UNKNOWN}"
            yield JOB_NAME, job
            yield _OLD_JOB_NAME, job
            for key in _JOB_UIDS if uid else ():
                yield key, uid
            if workload.indexes:
                yield COMPLETION_INDEX, UNKNOWN if number is None else str(number)


def numbers(workload: Workload) -> range:
    """Return the numbers of a workload's pods if its controller numbers them, else an empty range."""
    if workload.kind == "StatefulSet":
        return range(workload.first, workload.first + min(max(workload.replicas, 1), _MOST_PODS))
    return range(min(workload.indexes, _MOST_PODS))


def numbered_name(workload: Workload, number: int) -> str:
    """Return the name of a workload's pod of a number, with `UNKNOWN` for what the controller draws or counts.

    Only a StatefulSet gives its pods names that are known before: the pods of others never have those.
    """
    match workload.kind:
        case "StatefulSet":
            return f"{workload.name}-{number}"
        case "CronJob":
            return f"{workload.name}-{UNKNOWN}-{number}-{UNKNOWN}"
        case _:
            return f"{workload.name}-{number}-{UNKNOWN}"
