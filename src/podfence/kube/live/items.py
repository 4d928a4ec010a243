# SPDX-License-Identifier: Apache-2.0
"""From a server's bytes to objects, kind by kind; what cannot be read never stops the rest.

Items come to their types in one step. Only when that fails, because something in one of them has another
type, are they read one by one, and the bad ones named.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec

from podfence.kube import wire
from podfence.kube.collection import uncollected
from podfence.kube.convert import Identity, network_policy
from podfence.kube.findings import Finding, Severity
from podfence.kube.live.errors import UnreachableError
from podfence.kube.live.fields import WRITTEN, ListMeta, Meta, Name, Named, Subject, SubjectOnly
from podfence.kube.objects import Key, KubeObject, NetworkPolicy
from podfence.kube.registry import KINDS, LEGACY_POLICY, Reading
from podfence.kube.validation.findings import Findings
from podfence.kube.validation.policy import check_policy

if TYPE_CHECKING:
    from podfence.kube.live.fields import Object
    from podfence.kube.live.resources import Resource
    from podfence.kube.origin import Origin


class Item(NamedTuple):
    """One object of a server; `object` is None if it cannot be read, and `reason` says why then.

    `warnings` are what is odd about it and was accepted all the same (semantics 9.4). `closed` stands for a policy
    that cannot be read: it isolates the same pods, all of the namespace if not even those can be read, and admits
    nothing to them.
    """

    key: Key
    revision: str
    object: KubeObject | None
    reason: str = ""
    warnings: tuple[Finding, ...] = ()
    closed: NetworkPolicy | None = None


class Page(NamedTuple):
    """A part of a list; `token` is what the next part is asked with, "" for the last.

    With one that `starts`, what came before is void.
    """

    items: list[Item]
    revision: str
    token: str
    starts: bool = False


def _lists_of(item: type) -> msgspec.json.Decoder[Any]:
    """Return what decodes a list with such items."""
    fields: list[Any] = [("metadata", ListMeta | None, None), ("items", list[item] | None, None)]  # type: ignore[valid-type]  # made at run time
    return msgspec.json.Decoder(msgspec.defstruct("_List", fields))


PIECES: Final = _lists_of(msgspec.Raw)
"""Decodes a list, and leaves its items for later."""

_NAMES: Final = msgspec.json.Decoder(Named)
_SUBJECTS: Final = msgspec.json.Decoder(SubjectOnly)
_UNREADABLE: Final = (msgspec.DecodeError, UnicodeDecodeError)


class Reader:
    """Reads objects of one resource; `origin` is what they all are given, None for nothing.

    `legacy` is the option of that name: it is about policies of extensions/v1beta1 only (semantics 10).
    """

    def __init__(self, resource: Resource, origin: Origin | None = None, legacy: str = "auto") -> None:
        kind = KINDS[resource.kind]
        written = WRITTEN[resource.kind]
        self._resource = resource
        self._origin = origin
        self._build = kind.build
        # Other kinds are trusted to be what the server has validated; a policy decides, so it is looked at again.
        self._check = kind.check if resource.kind == "NetworkPolicy" else None
        is_old = legacy != "v1" and resource.api_version == LEGACY_POLICY
        self._reading = Reading(resource.kind, resource.api_version, lax=True, legacy=is_old)
        self._items: msgspec.json.Decoder[Object] = msgspec.json.Decoder(written)
        self._pages = _lists_of(written)

    def page(self, data: bytes) -> Page:
        """Return what a list holds; raises UnreachableError for what is no list, as broken proxies send."""
        with uncollected():
            try:
                page = self._pages.decode(data)
            except _UNREADABLE:
                return self._pieces(data)
            items = [self._item(written) for written in page.items or ()]
        return _page(items, page.metadata)

    def item(self, data: msgspec.Raw | bytes) -> Item:
        """Return one object."""
        try:
            return self._item(self._items.decode(data))
        except _UNREADABLE as error:
            return self._malformed(data, f"{error}"[:1].lower() + f"{error}"[1:])

    def _pieces(self, data: bytes) -> Page:
        try:
            pieces = PIECES.decode(data)
        except _UNREADABLE as error:
            raise UnreachableError(f"the answer is no list of {self._resource.plural}: {error}") from None
        return _page([self.item(piece) for piece in pieces.items or ()], pieces.metadata)

    def _item(self, written: Object) -> Item:
        meta = written.metadata or Meta()
        key = self._key(meta.namespace, meta.name)
        if not meta.name or (self._resource.namespaced and not meta.namespace):
            return Item(key, meta.resource_version or "", None, "it has no name or no namespace")
        if meta.labels:
            # One copy of texts that many objects have: values of labels.
            meta.labels = {name: sys.intern(value) if value else value for name, value in meta.labels.items()}
        warnings: tuple[Finding, ...] = ()
        if self._check is not None:
            findings = Findings()
            self._check(written, self._reading, findings)
            wrong = [finding for finding in findings if finding.severity is Severity.ERROR]
            if wrong:
                reason = "; ".join(f"{finding.field}: {finding.message}" for finding in wrong)
                closed = self._closed(key, msgspec.json.encode(written))
                return Item(key, meta.resource_version or "", None, reason, (), closed)
            warnings = tuple(findings)
        identity = Identity(key.kind, self._resource.api_version, key.namespace, key.name, self._origin)
        return Item(key, meta.resource_version or "", self._build(written, identity), "", warnings)

    def _key(self, namespace: str | None, name: str | None) -> Key:
        return Key(self._resource.kind, sys.intern(namespace or "") if self._resource.namespaced else "", name or "")

    def _malformed(self, data: msgspec.Raw | bytes, reason: str) -> Item:
        try:
            meta = _NAMES.decode(data).metadata or Name()
        except _UNREADABLE:
            meta = Name()
        key = self._key(meta.namespace, meta.name)
        closed = self._closed(key, data) if key.kind == "NetworkPolicy" and key.name else None
        return Item(key, meta.resource_version or "", None, reason, (), closed)

    def _closed(self, key: Key, data: msgspec.Raw | bytes) -> NetworkPolicy:
        """Return what stands for a policy that cannot be read."""
        identity = Identity(key.kind, self._resource.api_version, key.namespace, key.name, self._origin)
        try:
            subject = _SUBJECTS.decode(data).spec or Subject()
        except _UNREADABLE:
            subject = Subject(policy_types=["Ingress", "Egress"])
        types = subject.policy_types or (["Ingress", "Egress"] if subject.egress else ["Ingress"])
        spec = wire.PolicySpec(pod_selector=subject.pod_selector, policy_types=[*types])
        findings = Findings()
        check_policy(wire.NetworkPolicy(spec=spec), findings, lax=True)
        if any(finding.severity is Severity.ERROR for finding in findings):
            spec = wire.PolicySpec(policy_types=["Ingress", "Egress"])
        return network_policy(wire.NetworkPolicy(spec=spec), identity)


def _page(items: list[Item], meta: ListMeta | None) -> Page:
    if meta is None or not meta.resource_version:
        raise UnreachableError("the answer is no list of objects: it has no resourceVersion")
    return Page(items, meta.resource_version, meta.continue_ or "")
