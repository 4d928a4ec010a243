# SPDX-License-Identifier: Apache-2.0
"""Which of the things an API server refuses an answer may depend on.

Nobody's answer is served by refusing a workload for its missing image, and leaving it out would be worse: it is a
workload. So where answers are asked for, what is listed here is a warning, and the object is judged as it is written.
Everything else stays an error: what is in a policy, names, namespaces, labels, selectors of policies and Services,
port numbers, names and protocols, addresses, and what cannot be decoded.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from msgspec.structs import replace

from podfence.kube.findings import Code, Severity

if TYPE_CHECKING:
    from collections.abc import Iterator

    from podfence.kube.findings import Finding
    from podfence.kube.registry import Kind
    from podfence.kube.source import Path

_ANY: Final = "*"


class _Harmless(NamedTuple):
    """A field, with all that is below it, and why no answer depends on it; no `codes` means any."""

    path: tuple[str, ...]
    reason: str
    codes: frozenset[Code] = frozenset()

    def holds(self, code: Code, path: Path) -> bool:
        """Return whether a finding is about the field."""
        return (
            (not self.codes or code in self.codes)
            and len(path) >= len(self.path)
            and all(wanted in (_ANY, step) for wanted, step in zip(self.path, path, strict=False))
        )


_OF_ANY: Final = (
    _Harmless(("metadata", "annotations"), "no answer reads annotations that are misspelt or too many"),
    _Harmless(("metadata", "finalizers"), "finalizers say who is asked before an object is deleted"),
    _Harmless(("metadata", "ownerReferences", "uid"), "owners are found by kind and name"),
    _Harmless(("metadata", "ownerReferences", "apiVersion"), "owners are found by kind and name"),
    _Harmless(("metadata", "ownerReferences", _ANY, "uid"), "owners are found by kind and name"),
    _Harmless(("metadata", "ownerReferences", _ANY, "apiVersion"), "owners are found by kind and name"),
    _Harmless(("metadata", "managedFields"), "who wrote a field changes nothing"),
)
_OF_PODS: Final = (
    *(
        _Harmless((containers, _ANY, field), reason)
        for containers in ("containers", "initContainers")
        for field, reason in (
            ("image", "which image runs does not change who connects"),
            ("name", "ports have names of their own, and containers are not asked for"),
            ("command", "what a container runs does not change who may connect"),
            ("args", "what a container runs does not change who may connect"),
            ("env", "what a container runs does not change who may connect"),
        )
    ),
    _Harmless(("restartPolicy",), "how often a pod is started again does not change who connects"),
)
_OF_WORKLOADS: Final = (
    _Harmless(("spec", "selector"), "the pods of a workload are those of its template"),
    _Harmless(
        ("spec", "template", "metadata", "labels"),
        "the pods of a workload are those of its template",
        frozenset({Code.MISMATCH}),
    ),
    _Harmless(("spec", "replicas"), "a workload is judged even while it has no pods"),
)
_OF_SERVICES: Final = (_Harmless(("spec", "ports", _ANY, "name"), "a Service is asked for by its port's number"),)
_OF_POLICIES: Final = (
    _Harmless(("status",), "policies had a status in Kubernetes 1.24 to 1.27, and it decided nothing"),
)


def weighed(finding: Finding, kind: Kind) -> Finding:
    """Return a finding about an object, as a warning if no answer can depend on it."""
    if finding.severity is Severity.WARNING or not reason(finding, kind):
        return finding
    return replace(finding, severity=Severity.WARNING)


def reason(finding: Finding, kind: Kind) -> str:
    """Return why no answer can depend on what a finding is about; "" if one may."""
    for table, path in _tables(kind, finding.path):
        for row in table:
            if row.holds(finding.code, path):
                return row.reason
    return ""


def _tables(kind: Kind, path: Path) -> Iterator[tuple[tuple[_Harmless, ...], Path]]:
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
