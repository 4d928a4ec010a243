# SPDX-License-Identifier: Apache-2.0
"""`metadata` of every object (semantics 9.6)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from podfence.kube import wire
from podfence.kube.findings import Code, Finding
from podfence.kube.validation.findings import go_quote
from podfence.kube.validation.names import dns_label, label_key
from podfence.kube.validation.selectors import check_labels

if TYPE_CHECKING:
    from collections.abc import Callable

    from podfence.kube.origin import Path
    from podfence.kube.validation.findings import Findings

_ANNOTATION_BYTES = 262144
_FINALIZERS = ("foregroundDeletion", "kubernetes", "orphan")
_TIME = re.compile(r"\d{4}-\d{2}-\d{2}[Tt]\d{2}:\d{2}:\d{2}([.,]\d+)?([Zz]|[+-]\d{2}:\d{2})", re.ASCII)
_META: Path = ("metadata",)


def check_meta(
    meta: wire.Meta, name_rule: Callable[[str], tuple[str, ...]], findings: Findings, *, namespaced: bool
) -> None:
    """Check `metadata`; `name_rule` says what a name of this kind looks like."""
    _check_names(meta, name_rule, findings)
    if namespaced and meta.namespace and (messages := dns_label(meta.namespace)):
        findings.invalid((*_META, "namespace"), meta.namespace, *messages)
    if meta.labels:
        check_labels(meta.labels, (*_META, "labels"), findings)
    if meta.annotations:
        _check_annotations(meta.annotations, (*_META, "annotations"), findings)
    for index, owner in enumerate(meta.owner_references or ()):
        _check_owner(owner or wire.OwnerReference(), index, findings)
    for index, finalizer in enumerate(meta.finalizers or ()):
        _check_finalizer(finalizer or "", (*_META, "finalizers", index), findings)
    if meta.creation_timestamp:
        _check_time(meta.creation_timestamp, (*_META, "creationTimestamp"), findings)
    if meta.deletion_timestamp:
        _check_time(meta.deletion_timestamp, (*_META, "deletionTimestamp"), findings)


def _check_names(meta: wire.Meta, name_rule: Callable[[str], tuple[str, ...]], findings: Findings) -> None:
    prefix = meta.generate_name
    if prefix:
        # The server checks the prefix as a name, with a letter in place of a dash at its end.
        sample = f"{prefix[:-1]}a" if len(prefix) > 1 and prefix.endswith("-") else prefix
        findings.invalid((*_META, "generateName"), prefix, *name_rule(sample))
    if meta.name:
        if messages := name_rule(meta.name):
            findings.invalid((*_META, "name"), meta.name, *messages)
    elif not prefix:
        findings.required((*_META, "name"), "name or generateName is required")


def _check_time(text: str, field: Path, findings: Findings) -> None:
    if not _TIME.fullmatch(text):
        message = f'expected a time like "2024-01-31T12:00:00Z", found the string {go_quote(text)}'
        findings.append(Finding(code=Code.WRONG_TYPE, path=field, message=message))


def _check_annotations(annotations: wire.Texts, field: Path, findings: Findings) -> None:
    size = 0
    for key, value in annotations.items():
        findings.invalid(field, key, *label_key(key.lower()), place=(*field, key), at_key=True)
        size += len(key.encode("utf-8", "surrogatepass")) + len((value or "").encode("utf-8", "surrogatepass"))
    if size > _ANNOTATION_BYTES:
        message = f"Too long: may not be more than {_ANNOTATION_BYTES} bytes"
        findings.append(Finding(path=field, message=message))


def _check_owner(owner: wire.OwnerReference, index: int, findings: Findings) -> None:
    # The server leaves the index out of these fields.
    field: Path = (*_META, "ownerReferences")
    if not owner.api_version:
        place = (*field, index, "apiVersion")
        findings.invalid((*field, "apiVersion"), "", "version must not be empty", place=place)
    for key, text in (("kind", owner.kind), ("name", owner.name), ("uid", owner.uid)):
        if not text:
            findings.invalid((*field, key), "", "must not be empty", place=(*field, index, key))


def _check_finalizer(finalizer: str, field: Path, findings: Findings) -> None:
    messages = label_key(finalizer)
    findings.invalid(field, finalizer, *messages)
    if not messages and "/" not in finalizer and finalizer not in _FINALIZERS:
        findings.invalid(field, finalizer, "name is neither a standard finalizer name nor is it fully qualified")
