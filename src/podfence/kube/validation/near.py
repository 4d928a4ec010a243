# SPDX-License-Identifier: Apache-2.0
"""Fields that look like a misspelt one that matters, in kinds whose other fields are not looked at.

A server drops a field it does not know, with a warning at most; a pod whose ``lables`` are dropped is
selected by other policies than its author thinks.
"""

from __future__ import annotations

import difflib
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

from podfence.kube.findings import Code, Finding, Severity, field_text
from podfence.kube.validation.findings import Findings, go_quote

if TYPE_CHECKING:
    from collections.abc import Iterator

    from podfence.kube.registry import Kind
    from podfence.kube.source import Path

_METADATA: Final = frozenset(
    {
        *("annotations", "creationTimestamp", "deletionGracePeriodSeconds", "deletionTimestamp", "finalizers"),
        *("generateName", "generation", "labels", "managedFields", "name", "namespace", "ownerReferences"),
        *("resourceVersion", "selfLink", "uid"),
    }
)
_POD_SPEC: Final = frozenset({"containers", "hostNetwork", "initContainers", "nodeName"})
_CONTAINER: Final = frozenset({"ports", "restartPolicy"})
_CONTAINER_PORT: Final = frozenset({"containerPort", "name", "protocol"})
_SERVICE_SPEC: Final = frozenset({"ports", "selector", "type"})
_SERVICE_PORT: Final = frozenset({"appProtocol", "name", "nodePort", "port", "protocol", "targetPort"})
_LIKENESS: Final = 0.8


def near_misses(value: dict[str, Any], kind: Kind) -> Findings:
    """Return a warning for each field of an object that is nearly one podfence reads."""
    findings = Findings()
    for place, known in _places(value, kind):
        at = _get(value, place)
        if not isinstance(at, dict):
            continue
        for key in at:
            meant = _meant(key, known) if key not in known and isinstance(key, str) else ""
            if meant:
                findings.append(_warning((*place, key), meant))
    return findings


def _warning(path: Path, meant: str) -> Finding:
    return Finding(
        code=Code.UNKNOWN_FIELD,
        path=path,
        at_key=True,
        severity=Severity.WARNING,
        message=f"unknown field {go_quote(field_text(path))} is ignored",
        remedy=f"did you mean {meant}?",
    )


def _places(value: dict[str, Any], kind: Kind) -> Iterator[tuple[Path, frozenset[str]]]:
    yield ("metadata",), _METADATA
    if kind.name == "Service":
        yield ("spec",), _SERVICE_SPEC
        for item in _items(value, ("spec", "ports")):
            yield item, _SERVICE_PORT
    template = kind.template
    if template is None:
        return
    if template:
        yield (*template, "metadata"), _METADATA
    yield (*template, "spec"), _POD_SPEC
    for containers in ("containers", "initContainers"):
        for container in _items(value, (*template, "spec", containers)):
            yield container, _CONTAINER
            for port in _items(value, (*container, "ports")):
                yield port, _CONTAINER_PORT


def _get(value: object, path: Path) -> object:
    for step in path:
        if isinstance(value, dict):
            value = value.get(step)
        elif isinstance(value, list) and isinstance(step, int):
            value = value[step]
        else:
            return None
    return value


def _items(value: dict[str, Any], path: Path) -> Iterator[Path]:
    found = _get(value, path)
    if isinstance(found, list):
        for index in range(len(found)):
            yield (*path, index)


@lru_cache(maxsize=4096)
def _meant(key: str, known: frozenset[str]) -> str:
    """Return the known field that a key is most likely meant to be, "" if it is like none."""
    for name in known:
        if name.lower() == key.lower():
            return name
    return next(iter(difflib.get_close_matches(key, sorted(known), n=1, cutoff=_LIKENESS)), "")
