# SPDX-License-Identifier: Apache-2.0
"""Documents to objects together with what is written in them: all is checked before anything is done."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from podfence.kube.decode import decode
from podfence.kube.findings import Finding, Severity
from podfence.kube.objects import KubeObject, Pod, Workload
from podfence.kube.registry import KINDS
from podfence.kube.source import Origin
from podfence.lab.objects.templates import Template, read_template

if TYPE_CHECKING:
    from collections.abc import Iterable

    from podfence.kube.source import Document, Path


class Written(NamedTuple):
    """An object and what is written of it; `run` is what its pods run, None if it has none."""

    item: KubeObject
    value: dict[str, Any]
    run: Template | None = None


class Batch(NamedTuple):
    """What a request holds: objects in order, and what is wrong."""

    objects: tuple[Written, ...]
    errors: tuple[Finding, ...]
    warnings: tuple[Finding, ...]


def read(documents: Iterable[Document], *, namespace: str, lax: bool, legacy: str) -> Batch:
    """Return the objects of documents; those that name no namespace are in `namespace`.

    `lax` and `legacy` are those of `podfence.kube.decode.decode`.
    """
    decoded = decode(documents, validation="lax" if lax else "strict", legacy=legacy, custom=False)
    problems = decoded.problems
    objects: list[Written] = []
    for item in decoded.objects:
        written, wrong = _written(item, namespace)
        objects.append(written)
        problems += wrong
    return Batch(
        tuple(objects),
        tuple(problem for problem in problems if problem.severity is Severity.ERROR),
        tuple(problem for problem in problems if problem.severity is not Severity.ERROR),
    )


def _written(item: KubeObject, namespace: str) -> tuple[Written, list[Finding]]:
    origin = item.origin
    if origin is None:  # pragma: no cover - decoded objects have one
        raise AssertionError(item)
    value: Any = origin.written()
    problems = []
    if not value["metadata"].get("name"):
        prefix = value["metadata"].get("generateName")
        problems.append(
            Finding(
                position=origin.at("metadata", "generateName"),
                message=f"from {prefix}: cannot use generate name with apply",
                remedy="give it a name",
            )
        )
    if KINDS[item.key.kind].namespaced and not value["metadata"].get("namespace"):
        item = msgspec.structs.replace(item, namespace=namespace)
    path = KINDS[item.key.kind].template
    if path is None or item.key.kind == "CronJob" or not isinstance(item, Pod | Workload):
        return Written(item, value), problems
    run, wrong = read_template(_at(value, path), Origin(origin.document, (*origin.path, *path)))
    return Written(item, value, run), [*problems, *wrong]


def _at(value: Any, path: Path) -> Any:  # noqa: ANN401 - any JSON value
    for step in path:
        value = value[step]
    return value
