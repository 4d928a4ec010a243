# SPDX-License-Identifier: Apache-2.0
"""From documents to objects: lists taken apart, kinds recognised, everything wrong reported at once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import msgspec
from msgspec.structs import replace

from podfence.kube.convert import Identity
from podfence.kube.custom import (
    CUSTOM_WORKLOAD,
    custom_name,
    is_custom_workload,
    is_kustomization,
    is_template,
    with_parameters,
)
from podfence.kube.findings import Code, Finding, Severity
from podfence.kube.objects import Endpoints, Key, KubeObject
from podfence.kube.omissions import Gap, LeftOut, Reason
from podfence.kube.origin import Origin
from podfence.kube.registry import (
    KINDS,
    LEGACY_POLICY,
    Kind,
    Reading,
    is_known_version,
    is_upstream_group,
    near_kind,
)
from podfence.kube.validation.consequences import is_harmless
from podfence.kube.validation.findings import Findings, go_quote, is_placeholder, without_consequences
from podfence.kube.validation.meta import check_meta
from podfence.kube.validation.names import dns_label, label_value
from podfence.kube.validation.shape import examine, found, near_misses
from podfence.kube.wire import Meta

if TYPE_CHECKING:
    from collections.abc import Iterable

    from podfence.kube.origin import Document, Path
    from podfence.kube.parsed import Decoding  # noqa: TC004  msgspec needs the types only of what it reads or writes

Validation = Literal["strict", "answer", "lax"]

_BARE_ITEM = "every item of a List has an apiVersion and a kind of its own"
_VERSION_FORM = "it is GROUP/VERSION, or v1"
_NO_OBJECT = "leave the file out if it holds no Kubernetes objects"


class Decoded(NamedTuple):
    """What documents hold.

    `objects` come in the order of the documents, `problems` in that order and inside of a document by position.
    `ignored` counts the objects of kinds that are not read. `left_out` are documents that are no objects, and with
    `keep_going` objects with an error; `gaps` are where a policy may lie because of that. `unplaced` are the objects
    that name no namespace and got one.
    """

    objects: list[KubeObject]
    problems: list[Finding]
    ignored: Counter[str]
    left_out: list[LeftOut]
    gaps: list[Gap]
    unplaced: list[Key]


def decode(
    documents: Iterable[Document],
    *,
    validation: Validation = "strict",
    legacy: str = "auto",
    namespace: str = "default",
    custom: bool = True,
    folders: Collection[str] = (),
    keep_going: bool = False,
    known: Decoding | None = None,
    kept: Iterable[Kind] = (),
) -> Decoded:
    """Return the objects of documents, and what is to be said about them.

    `validation` is how much is refused: what an API server refuses ("strict"), the same but for CIDR spellings that
    older servers stored ("lax"), or only what an answer may depend on ("answer"). Objects that come from a live
    cluster are always read as lax at least (semantics 9.4). `legacy` is the option of that name: with "v1", policies
    of extensions/v1beta1 are checked like those of networking.k8s.io/v1 (semantics 10). Objects that name no
    namespace are in `namespace`. `custom` reads workloads of other kinds, and OpenShift's Templates. `kept` are kinds
    that no answer uses and that are read too.

    An object with an error is not returned. Of inputs named in `folders`, documents that are no objects are left out
    in place of being an error, and with `keep_going` objects with an error too. Documents whose value another call has
    decoded in the same way are taken from `known`, if that is given to both.
    """
    kinds = {**KINDS, **{row.name: row for row in kept}}
    decoder = _Decoder(validation, legacy != "v1", namespace, custom, folders, keep_going, known, kinds)
    for document in documents:
        decoder.read(document)
    return decoder.found


class _Decoder(msgspec.Struct):
    """The arguments of `decode`, and what was found so far."""

    _validation: Validation
    _old_meaning: bool
    _namespace: str
    _custom: bool
    _folders: Collection[str]
    _keep_going: bool
    _known: Decoding | None
    _kinds: Mapping[str, Kind]
    _generated: int = 0
    found: Decoded = msgspec.field(default_factory=lambda: Decoded([], [], Counter(), [], [], []))

    def read(self, document: Document) -> None:
        if document.value is None:
            return
        problems = self.found.problems
        before = len(problems)
        origin = Origin(document)
        forgiven = document.file in self._folders
        if forgiven and not _is_meant_as_object(document.value):
            self.found.left_out.append(LeftOut(Reason.NO_OBJECT, _place(origin)))
            return
        if self._known is not None:
            self._shared(self._known, document.value, origin, forgiven=forgiven)
        else:
            self._item(document.value, origin, "", "")
        if forgiven and self._keep_going:
            self._leave_refused(before)
        if len(problems) - before > 1:
            problems[before:] = sorted(problems[before:], key=lambda problem: problem.position)

    def _shared(self, known: Decoding, value: object, origin: Origin, *, forgiven: bool) -> None:
        """Decode a value, or take what is known of it; only what leaves nothing to be said is kept."""
        way = (self._validation, self._old_meaning, self._namespace, self._custom, forgiven)
        there = known.take(value, way)
        objects, unplaced = self.found.objects, self.found.unplaced
        if there is not None:
            for item in there.objects:
                path = item.origin.path if item.origin is not None else ()
                objects.append(replace(item, origin=Origin(origin.document, path)))
            unplaced += there.unplaced
            return
        first, placed, before = len(objects), len(unplaced), self._remarks()
        self._item(value, origin, "", "")
        # Endpoints are made of slices that have places of their own.
        if self._remarks() == before and not any(isinstance(item, Endpoints) for item in objects[first:]):
            known.keep(value, way, objects[first:], unplaced[placed:])

    def _remarks(self) -> tuple[int, ...]:
        """Return how much was said so far besides objects."""
        found = self.found
        return len(found.problems), len(found.left_out), len(found.gaps), found.ignored.total(), self._generated

    def _leave_refused(self, before: int) -> None:
        """Turn the errors of a document into one warning an object, that it was left out."""
        problems = self.found.problems
        seen: set[Key | None] = set()
        kept: list[Finding] = []
        for problem in problems[before:]:
            if problem.severity is Severity.WARNING:
                kept.append(problem)
            elif problem.object not in seen:
                seen.add(problem.object)
                kept.append(problem.left_out())
                self.found.left_out.append(LeftOut(Reason.REFUSED, str(problem.position)))
                self.found.gaps.append(_gap(problem.object, problem))
        problems[before:] = kept

    def _item(self, value: object, origin: Origin, default_kind: str, default_version: str) -> None:
        if not isinstance(value, dict):
            message = f"expected a Kubernetes object, found {found(value)}"
            self._error(origin, Code.NO_OBJECT, (), message, remedy="" if origin.path else _NO_OBJECT)
            return
        version = self._text(value, "apiVersion", default_version, origin)
        kind = self._text(value, "kind", default_kind, origin)
        if not kind or not version:
            return
        if kind.endswith("List") and ("items" in value or kind == "List" or kind[:-4] in self._kinds):
            self._list(value, origin, "items", kind[:-4], version)
        elif (known := self._kinds.get(kind)) is not None and version in known.versions:
            self._object(value, origin, known, kind, version)
        elif self._custom and is_template(kind, version):
            # The objects are looked at as they would be made, at the places where they stand.
            self._list(with_parameters(value), origin, "objects", "", version)
        elif self._custom and is_custom_workload(value, kind, version):
            self._object(value, origin, CUSTOM_WORKLOAD, custom_name(kind, version), version)
        else:
            self._other(kind, version, origin)

    def _text(self, value: dict[str, Any], key: str, default: str, origin: Origin) -> str:
        text = value.get(key)
        if isinstance(text, str) and text:
            return text
        # The messages name the field, in kubectl's words.
        if text is not None and not isinstance(text, str):
            self._error(origin, Code.NO_OBJECT, (), f"{key} isn't string type", place=(key,))
            return ""
        if not default:
            kind = value.get("kind")
            known = KINDS.get(kind) if key == "apiVersion" and isinstance(kind, str) else None
            remedy = f"write apiVersion: {known.current}" if known else _BARE_ITEM if origin.path else _NO_OBJECT
            self._error(origin, Code.NO_OBJECT, (), f"{key} not set", remedy=remedy, place=(key,))
        return default

    def _list(self, value: dict[str, Any], origin: Origin, key: str, kind: str, version: str) -> None:
        items = value.get(key)
        if key not in value:
            remedy = f"a list has its objects under {key}"
            self._error(origin, Code.REQUIRED, (key,), "Required value", remedy=remedy)
        elif items is not None and not isinstance(items, list):
            self._error(origin, Code.WRONG_TYPE, (key,), f"expected a list, found {found(items)}")
        else:
            for index, item in enumerate(items or ()):
                at = Origin(origin.document, (*origin.path, key, index))
                self._item(item, at, kind, version if kind else "")

    def _other(self, kind: str, version: str, origin: Origin) -> None:
        group, _, number = version.rpartition("/")
        if "/" in group or (not number and group):
            message = f"unexpected GroupVersion string: {version}"
            self._error(origin, Code.UNKNOWN_KIND, ("apiVersion",), message, remedy=_VERSION_FORM)
            return
        known = KINDS.get(kind)
        message = f"no matches for kind {go_quote(kind)} in version {go_quote(version)}"
        if known is not None:
            if is_upstream_group(group):
                remedy = f"write apiVersion: {known.current}"
                self._error(origin, Code.UNKNOWN_KIND, ("apiVersion",), message, remedy=remedy)
                return
        elif near := near_kind(kind, group):
            self._error(origin, Code.UNKNOWN_KIND, ("kind",), message, remedy=f"did you mean {near}?")
            return
        self.found.ignored[f"{kind}.{group}" if group else kind] += 1

    def _object(self, value: dict[str, Any], origin: Origin, known: Kind, kind: str, version: str) -> None:
        unread = Findings()
        try:
            written: Any = msgspec.convert(value, known.written)
        except msgspec.ValidationError:
            written = msgspec.convert(examine(value, known.written, unread), known.written)
        meta: Meta = written.metadata or Meta()
        live = bool(meta.uid or meta.creation_timestamp or meta.resource_version or meta.managed_fields)
        legacy = self._old_meaning and kind == "NetworkPolicy" and version == LEGACY_POLICY
        findings = Findings()
        if dropped := known.versions.get(version):
            message = f"{kind} of {version} is not served since Kubernetes {dropped}"
            findings.warn(("apiVersion",), message, f"write apiVersion: {known.current}", Code.OLD_VERSION)
        check_meta(meta, known.name_rule, findings, namespaced=known.namespaced)
        if kind == "Namespace" and meta.name:
            # The server puts its label on before it validates, so a name that is no label value is told twice.
            findings.invalid(("metadata", "labels"), meta.name, *label_value(meta.name), place=("metadata", "name"))
        if kind != "NetworkPolicy" and not live:
            findings += near_misses(value, known)
        lax = self._validation == "lax" or live
        known.check(written, Reading(kind, version, lax, legacy), findings)
        key = Key(kind, (meta.namespace or self._namespace) if known.namespaced else "", meta.name or "")
        if kind == "Namespace" and is_placeholder(key.name) and origin.document.file in self._folders:
            self._leave_namespace(key, origin)
            return
        if (unread or findings) and self._tell(unread, findings, origin, known, key, live=live):
            return
        if not meta.name:
            # The server appends five random characters; these are as good and the same on every run.
            self._generated += 1
            key = key._replace(name=f"{meta.generate_name or ''}{self._generated:05}")
        if known.namespaced and not meta.namespace:
            self.found.unplaced.append(key)
        self.found.objects.append(known.build(written, Identity(kind, version, key.namespace, key.name, origin)))

    def _leave_namespace(self, key: Key, origin: Origin) -> None:
        """Leave out a Namespace whose name a template is to fill in: it hides no policy, only labels."""
        position = origin.at("metadata", "name")
        self.found.left_out.append(LeftOut(Reason.TEMPLATE, str(position)))
        what = f"the labels of a namespace are not known, because Namespace {key.name} ({position}) is a template"
        self.found.gaps.append(Gap(what, "render it first"))

    def _tell(self, unread: Findings, findings: Findings, origin: Origin, known: Kind, key: Key, *, live: bool) -> bool:
        """Add what is wrong with an object to the problems; return whether it is refused."""
        if live:
            unread = _trust(unread)
        everything = [*unread, *without_consequences(findings, unread)]
        if self._validation == "answer":
            everything = _weighed(everything, known)
        self.found.problems.extend(finding.at(origin, key) for finding in everything)
        return any(finding.severity is Severity.ERROR for finding in everything)

    def _error(
        self, origin: Origin, code: Code, path: Path, message: str, *, remedy: str = "", place: Path | None = None
    ) -> None:
        finding = Finding(code=code, path=path, place=place, message=message, remedy=remedy)
        self.found.problems.append(finding.at(origin))


def _weighed(findings: list[Finding], known: Kind) -> list[Finding]:
    """Return findings with one line for all that no answer depends on."""
    kept: list[Finding] = []
    harmless: list[Finding] = []
    for finding in findings:
        if finding.severity is Severity.ERROR and is_harmless(finding, known):
            harmless.append(replace(finding, severity=Severity.WARNING))
        else:
            kept.append(finding)
    if len(harmless) > 1:
        message = f"{harmless[0].message}; {len(harmless) - 1} more of this object that no answer depends on"
        harmless = [replace(harmless[0], message=message)]
    return [*harmless, *kept]


def _is_meant_as_object(value: object) -> bool:
    """Return whether a document of a folder is an object, or so near to one that leaving it out would be rash."""
    if not isinstance(value, dict):
        return False
    kind, version = value.get("kind"), value.get("apiVersion")
    if isinstance(kind, str) and isinstance(version, str) and kind and version:
        return not is_kustomization(kind, version)
    if isinstance(kind, str) and (kind in KINDS or kind == "List"):
        return True
    return isinstance(version, str) and is_known_version(version) and isinstance(value.get("metadata"), dict)


def _place(origin: Origin) -> str:
    position = origin.at()
    return position.file if position.line <= 1 else str(position)


def _gap(key: Key | None, problem: Finding) -> Gap:
    """Return where an object that was left out may matter: in its namespace, or everywhere if that is not known."""
    if key is None or key.kind == "Node" or dns_label(key.namespace or key.name):
        return Gap(f"{problem.position} is refused")
    space = key.name if key.kind == "Namespace" else key.namespace
    what = f"{key.kind} {key.name}".rstrip()
    return Gap(f"{what} ({problem.position}) is refused", "", frozenset({space}))


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
