# SPDX-License-Identifier: Apache-2.0
"""Which of the things an API server refuses an answer may depend on.

Nobody's answer is served by refusing a workload for its missing image, and leaving it out would be worse: it is a
workload. So where answers are asked for, what is listed here is a warning, and the object is judged as it is written.
Everything else stays an error: what is in a policy, names, namespaces, labels, selectors of policies and Services,
port numbers, names and protocols, addresses, and what cannot be decoded.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from podfence.kube.findings import Code

if TYPE_CHECKING:
    from collections.abc import Iterator

    from podfence.kube.findings import Finding
    from podfence.kube.origin import Path
    from podfence.kube.registry import Kind

_ANY: Final = "*"

# Fields, each with all that is below it, and why no answer depends on them.
_OF_ANY: Final = (
    ("metadata", "annotations"),  # no answer reads annotations that are misspelt or too many
    ("metadata", "finalizers"),  # finalizers say who is asked before an object is deleted
    ("metadata", "ownerReferences", "uid"),  # owners are found by kind and name
    ("metadata", "ownerReferences", "apiVersion"),
    ("metadata", "ownerReferences", _ANY, "uid"),
    ("metadata", "ownerReferences", _ANY, "apiVersion"),
    ("metadata", "managedFields"),  # who wrote a field changes nothing
)
_OF_PODS: Final = (
    *(
        (containers, _ANY, field)
        for containers in ("containers", "initContainers")
        # What a container runs does not change who may connect. Ports have names of their own.
        for field in ("image", "command", "args", "env", "name")
    ),
    ("restartPolicy",),  # how often a pod is started again does not change who connects
)
_OF_WORKLOADS: Final = (
    ("spec", "selector"),  # the pods of a workload are those of its template
    ("spec", "replicas"),  # a workload is judged even while it has no pods
)
_OF_SERVICES: Final = (("spec", "ports", _ANY, "name"),)  # a Service is asked for by its port's number
_OF_POLICIES: Final = (("status",),)  # policies had a status in Kubernetes 1.24 to 1.27, and it decided nothing


def is_harmless(finding: Finding, kind: Kind) -> bool:
    """Return whether no answer can depend on what a finding about an object is about."""
    # Whatever a workload selects, its pods are those of its template.
    return finding.code is Code.MISMATCH or any(
        len(path) >= len(row) and all(wanted in (_ANY, step) for wanted, step in zip(row, path, strict=False))
        for table, path in _tables(kind, finding.path)
        for row in table
    )


def _tables(kind: Kind, path: Path) -> Iterator[tuple[tuple[tuple[str, ...], ...], Path]]:
    """Yield what is harmless in objects of a kind, with the path as it is seen there."""
    if kind.name == "NetworkPolicy":
        yield _OF_POLICIES, path
        return
    yield _OF_ANY, path
    if kind.name == "Service":
        yield _OF_SERVICES, path
    if kind.template:
        yield _OF_WORKLOADS, path
        yield _OF_ANY, _inside(kind.template, path)
    if kind.template is not None:
        yield _OF_PODS, _inside((*kind.template, "spec"), path)


def _inside(start: Path, path: Path) -> Path:
    return path[len(start) :] if path[: len(start)] == start else ()
