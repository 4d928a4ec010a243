# SPDX-License-Identifier: Apache-2.0
"""From documents to objects: lists taken apart, kinds recognised, everything wrong reported at once."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import msgspec

from podfence.kube.convert import Identity
from podfence.kube.findings import Code, Finding, Severity
from podfence.kube.registry import KINDS, LEGACY_POLICY, Kind, Reading, is_upstream_group, near_kind
from podfence.kube.source import Origin
from podfence.kube.validation.findings import Findings, go_quote, without_consequences
from podfence.kube.validation.meta import check_meta
from podfence.kube.validation.names import label_value
from podfence.kube.validation.near import near_misses
from podfence.kube.validation.shape import examine, found

if TYPE_CHECKING:
    from collections.abc import Iterable

    from podfence.kube.objects import KubeObject
    from podfence.kube.source import Document, Path
    from podfence.kube.wire import Meta

_BARE_ITEM = "every item of a List has an apiVersion and a kind of its own"
_VERSION_FORM = "it is GROUP/VERSION, or v1"
_NO_OBJECT = "leave the file out if it holds no Kubernetes objects"


def decode(
    documents: Iterable[Document], *, lax: bool = False, legacy: str = "auto"
) -> tuple[list[KubeObject], list[Finding], Counter[str]]:
    """Return the objects of documents, the problems found, and how many objects of which kinds were ignored.

    `lax` accepts CIDR spellings that current API servers refuse, with a warning; objects that come
    from a live cluster are always read so (semantics 9.4). `legacy` is the option of that name: with
    "v1", policies of extensions/v1beta1 are checked like those of networking.k8s.io/v1 (semantics 10).
    An object with an error is not returned. Problems are in the order of the documents, and inside a
    document by position.
    """
    decoder = _Decoder(lax=lax, legacy=legacy)
    for document in documents:
        decoder.read(document)
    return decoder.objects, decoder.problems, decoder.ignored


class _Decoder:
    def __init__(self, *, lax: bool, legacy: str) -> None:
        self.objects: list[KubeObject] = []
        self.problems: list[Finding] = []
        self.ignored: Counter[str] = Counter()
        self._lax = lax
        self._old_meaning = legacy != "v1"
        self._generated = 0

    def read(self, document: Document) -> None:
        if document.value is None:
            return
        before = len(self.problems)
        self._item(document.value, Origin(document), "", "")
        if len(self.problems) - before > 1:
            self.problems[before:] = sorted(self.problems[before:], key=_position)

    def _item(self, value: object, origin: Origin, default_kind: str, default_version: str) -> None:
        if not isinstance(value, dict):
            message = f"expected a Kubernetes object, found {found(value)}"
            self._error(origin, Code.NO_OBJECT, (), message, remedy="" if origin.path else _NO_OBJECT)
            return
        version = self._text(value, "apiVersion", default_version, origin)
        kind = self._text(value, "kind", default_kind, origin)
        if not kind or not version:
            return
        if kind.endswith("List") and ("items" in value or kind == "List" or kind[:-4] in KINDS):
            self._list(value, origin, kind[:-4], version)
        elif (known := KINDS.get(kind)) is not None and version in known.versions:
            self._object(value, origin, known, kind, version)
        else:
            self._other(kind, version, origin)

    def _text(self, value: dict[str, Any], key: str, default: str, origin: Origin) -> str:
        text = value.get(key)
        if isinstance(text, str) and text:
            return text
        if text is not None and not isinstance(text, str):
            self._unset(origin, key, f"{key} isn't string type", "")
            return ""
        if not default:
            kind = value.get("kind")
            known = KINDS.get(kind) if key == "apiVersion" and isinstance(kind, str) else None
            remedy = _BARE_ITEM if origin.path else _NO_OBJECT
            self._unset(origin, key, f"{key} not set", f"write apiVersion: {known.current}" if known else remedy)
        return default

    def _list(self, value: dict[str, Any], origin: Origin, kind: str, version: str) -> None:
        items = value.get("items")
        if "items" not in value:
            self._error(
                origin, Code.REQUIRED, ("items",), "Required value", remedy="a list has its objects under items"
            )
        elif items is not None and not isinstance(items, list):
            self._error(origin, Code.WRONG_TYPE, ("items",), f"expected a list, found {found(items)}")
        else:
            for index, item in enumerate(items or ()):
                at = Origin(origin.document, (*origin.path, "items", index))
                self._item(item, at, kind, version if kind else "")

    def _other(self, kind: str, version: str, origin: Origin) -> None:
        group, _, number = version.rpartition("/")
        if "/" in group or (not number and group):
            message = f"unexpected GroupVersion string: {version}"
            self._error(origin, Code.UNKNOWN_KIND, ("apiVersion",), message, remedy=_VERSION_FORM)
            return
        known = KINDS.get(kind)
        if known is not None:
            if is_upstream_group(group):
                message = f"no matches for kind {go_quote(kind)} in version {go_quote(version)}"
                self._error(
                    origin, Code.UNKNOWN_KIND, ("apiVersion",), message, remedy=f"write apiVersion: {known.current}"
                )
                return
        elif near := near_kind(kind, group):
            message = f"no matches for kind {go_quote(kind)} in version {go_quote(version)}"
            self._error(origin, Code.UNKNOWN_KIND, ("kind",), message, remedy=f"did you mean {near}?")
            return
        self.ignored[f"{kind}.{group}" if group else kind] += 1

    def _object(self, value: dict[str, Any], origin: Origin, known: Kind, kind: str, version: str) -> None:
        unread = Findings()
        try:
            written: Any = msgspec.convert(value, known.written)
        except msgspec.ValidationError:
            written = msgspec.convert(examine(value, known.written, unread), known.written)
        meta: Meta | None = written.metadata
        live = meta is not None and _is_live(meta)
        legacy = self._old_meaning and kind == "NetworkPolicy" and version == LEGACY_POLICY
        findings = Findings()
        if known.versions[version]:
            findings.append(_dropped(kind, version, known))
        check_meta(meta, known.name_rule, findings, namespaced=known.namespaced)
        if kind == "Namespace":
            _check_name_label(meta, findings)
        if kind != "NetworkPolicy" and not live:
            findings += near_misses(value, kind)
        known.check(written, Reading(kind, version, self._lax or live, legacy), findings)
        if unread or findings:
            if live:
                unread = _trust(unread)
            everything = [*unread, *without_consequences(findings, unread)]
            self.problems += [finding.at(origin) for finding in everything]
            if any(finding.severity is Severity.ERROR for finding in everything):
                return
        name, namespace = meta.name if meta is not None else None, meta.namespace if meta is not None else None
        identity = Identity(
            kind,
            version,
            (namespace or "default") if known.namespaced else "",
            name or self._generate(meta),
            origin,
        )
        self.objects.append(known.build(written, identity))

    def _generate(self, meta: Meta | None) -> str:
        # The server appends five random characters; these are as good and the same on every run.
        self._generated += 1
        prefix = meta.generate_name if meta is not None else None
        return f"{prefix or ''}{self._generated:05}"

    def _unset(self, origin: Origin, key: str, message: str, remedy: str) -> None:
        # The message names the field, in kubectl's words.
        finding = Finding(code=Code.NO_OBJECT, message=message, place=(key,), remedy=remedy)
        self.problems.append(finding.at(origin))

    def _error(self, origin: Origin, code: Code, place: Path, message: str, *, remedy: str = "") -> None:
        self.problems.append(Finding(code=code, path=place, message=message, remedy=remedy).at(origin))


def _position(problem: Finding) -> tuple[int, int]:
    return problem.position.line, problem.position.column


def _is_live(meta: Meta) -> bool:
    return bool(meta.uid or meta.creation_timestamp or meta.resource_version or meta.managed_fields)


def _trust(unread: Findings) -> Findings:
    """Return findings about an object that a server has stored: what it knew and we do not is no error.

    A misspelling is one all the same, because no server stores it: the file was edited afterwards.
    """
    trusted = Findings()
    for finding in unread:
        if finding.path == ("status",):
            continue
        if finding.code is Code.UNKNOWN_FIELD and not finding.meant:
            trusted.warn(finding.path, f"{finding.message} is ignored", "this version of podfence does not know it")
        else:
            trusted.append(finding)
    return trusted


def _dropped(kind: str, version: str, known: Kind) -> Finding:
    place = ("apiVersion",)
    return Finding(
        code=Code.OLD_VERSION,
        severity=Severity.WARNING,
        path=place,
        message=f"{kind} of {version} is not served since Kubernetes {known.versions[version]}",
        remedy=f"write apiVersion: {known.current}",
    )


def _check_name_label(meta: Meta | None, findings: Findings) -> None:
    # The server puts its label on before it validates, so a name that is no label value is told twice.
    if meta is not None and meta.name:
        for message in label_value(meta.name):
            findings.invalid(("metadata", "labels"), meta.name, message, place=("metadata", "name"))
