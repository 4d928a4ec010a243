# SPDX-License-Identifier: Apache-2.0
"""What requests do to objects: create, update, patch and delete, with everything that is checked before."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any, Final, NamedTuple, cast

import msgspec

from podfence.lab.apiserver import patches, reading, rules, status, strategic
from podfence.lab.apiserver.bodies import Read, go_error
from podfence.lab.apiserver.fields import kind_type
from podfence.lab.apiserver.options import dry_run_complaint
from podfence.lab.apiserver.status import bad_request
from podfence.lab.store.errors import ConflictError, NotFoundError, RefusedError
from podfence.lab.store.metadata import Raw
from podfence.lab.store.resources import RESOURCES
from podfence.lab.store.store import other_uid
from podfence.policy.legacy import ANNOTATION, isolation_asked

if TYPE_CHECKING:
    from podfence.lab.apiserver.options import WriteOptions
    from podfence.lab.apiserver.paths import Target
    from podfence.lab.store.resources import Resource
    from podfence.lab.store.store import Check, Propagation, Store

Warn = Callable[[str], None]
Limits = Callable[[Raw], Iterator[str]]
"""Yields a sentence about each part of an object that is not done."""

PATCHES: Final = {
    "application/json-patch+json": "json",
    "application/merge-patch+json": "merge",
    "application/strategic-merge-patch+json": "strategic",
}
# Kubernetes answers with the deleted object for these, and with a Status for all others.
_RETURNED: Final = frozenset({"Pod", "Service", "ServiceAccount"})
_NO_ISOLATION: Final = (
    f"metadata.annotations[{ANNOTATION}]: it has had no effect since Kubernetes 1.7; "
    "`podfence lab up --set legacy=v1beta1` starts a lab where it isolates the namespace"
)
_TOO_NEW: Final = (
    "a lab with legacy=v1beta1 is a cluster from before 1.7, which has no policies of networking.k8s.io/v1; "
    "write extensions/v1beta1, or start the lab without that option"
)
_PROPAGATION: Final = ("Foreground", "Background", "Orphan")


class Answer(NamedTuple):
    """What a request gets: the HTTP status, and the body."""

    code: int
    body: Raw


class Objects:
    """The objects of a store, as requests change them.

    `warn` is told what a request should be told beside its answer, also if that is a refusal.
    """

    def __init__(
        self, store: Store, policies: rules.Policies = rules.CURRENT, limits: Limits = lambda _obj: iter(())
    ) -> None:
        """Work on a store that completes what is written. With legacy `policies`, annotations isolate namespaces.

        Of `limits` that an object had not before, a request is told.
        """
        self.store = store
        self._policies = policies
        self._limits = limits

    def create(self, row: Resource, namespace: str, read: Read, options: WriteOptions, warn: Warn) -> Answer:
        """Create an object. Raises RefusedError and StoreError."""
        _complain(read, options, warn, partial(status.unread, row.kind, row.version))
        obj, meta = read.object, read.object["metadata"]
        _place(row, meta, namespace)
        if meta.get("resourceVersion") and not options.dry_run:
            raise status.no_fault("resourceVersion should not be set on objects to be created")
        return self._create(row, obj, options, partial(self._check, row, warn))

    def _create(self, row: Resource, obj: Raw, options: WriteOptions, check: Check) -> Answer:
        made = self.store.create(row.table, _stored(row, obj), check=check, dry_run=options.dry_run)
        return Answer(201, shown(row, made))

    def update(self, target: Target, read: Read, options: WriteOptions, warn: Warn) -> Answer:
        """Replace an object, or its status. Raises RefusedError and StoreError."""
        _complain(read, options, warn, partial(status.unread, target.row.kind, target.row.version))
        with self.store.lock:
            return self._replace(target, read.object, options, warn)

    def _replace(self, target: Target, obj: Raw, options: WriteOptions, warn: Warn) -> Answer:
        row, name, meta = target.row, target.name, obj["metadata"]
        if not meta.get("name"):
            raise bad_request(f"the name of the object ({name} based on URL) was undeterminable: name must be provided")
        if meta["name"] != name:
            raise bad_request(f"the name of the object ({meta['name']}) does not match the name on the URL ({name})")
        _place(row, meta, target.namespace)
        of_status = target.subresource == "status"
        check = partial(self._check, row, warn)
        is_there = True
        try:
            self.store.get(row.table, target.namespace, name)
        except NotFoundError:
            if of_status or not row.made_by_put:
                raise
            is_there = False
        given = meta.get("resourceVersion")
        if given and not (given.isascii() and given.isdecimal()):
            raise status.no_fault(f'strconv.ParseUint: parsing "{given}": invalid syntax')
        if not is_there:
            if meta.get("uid"):
                raise ConflictError.of(row, name, other_uid(row, meta, {}))
            return self._create(row, obj, options, check)
        new = _stored(row, obj)
        stored = self.store.update(
            row.table, new, status=of_status, check=None if of_status else check, dry_run=options.dry_run
        )
        return Answer(200, shown(row, stored))

    def patch(self, target: Target, body: bytes, how: str, options: WriteOptions, warn: Warn) -> Answer:
        """Change parts of an object, or of its status. Raises RefusedError and StoreError."""
        if options.force:
            message = "Forbidden: may not be specified for non-apply patch"
            raise status.invalid_fields("meta.k8s.io", "PatchOptions", "", [("force", message)])
        with self.store.lock:
            before = shown(target.row, self.store.get(target.row.table, target.namespace, target.name))
            patch = read_patch(body, how, options.validation)
            read, text = patched(before, patch, how, target.row)
            _complain(read, options, warn, partial(_wrong_patch, text))
            return self._replace(target, read.object, options, warn)

    def delete(self, row: Resource, namespace: str, name: str, body: Raw) -> Answer:
        """Delete an object as DeleteOptions say. Raises RefusedError and StoreError."""
        asked = delete_options(body)
        last = self.store.delete(row.table, namespace, name, **asked)
        known = last["metadata"]
        stays = known.get("finalizers") or known.get("deletionGracePeriodSeconds") or row.kind == "Namespace"
        if row.kind in _RETURNED or stays:
            return Answer(200, shown(row, last))
        return Answer(200, status.deleted(row, last))

    def _check(self, row: Resource, warn: Warn, obj: Raw, before: Raw | None) -> None:
        """Refuse objects that Kubernetes would not have, and warn of others. Raises RefusedError."""
        legacy, name = self._policies.legacy, obj["metadata"].get("name", "")
        if legacy and row.kind == "NetworkPolicy" and not row.stored_as:
            raise status.invalid_fields(row.group, row.kind, name, [("apiVersion", _TOO_NEW)])
        findings = rules.check(row, obj, before, self._policies)
        if refusal := status.invalid(row.group, row.kind, name, findings):
            raise refusal
        for text in rules.warnings(findings):
            warn(text)
        had, has = (_isolation(one) for one in (before, obj))
        if row.kind == "Namespace" and has != had and isolation_asked(has) and not legacy:
            warn(_NO_ISOLATION)
        known = set(self._limits(before)) if before is not None else ()
        for text in self._limits(obj):
            if text not in known:
                warn(text)


def _isolation(obj: Raw | None) -> str:
    """Return the annotation by which the oldest policies isolate a namespace."""
    annotations: dict[str, str] = (obj["metadata"].get("annotations") if obj else None) or {}
    return annotations.get(ANNOTATION, "")


def shown(row: Resource, obj: Raw) -> Raw:
    """Return an object as it is sent, in the version of a resource."""
    return {**obj, "kind": row.kind, "apiVersion": row.api_version}


def _stored(row: Resource, obj: Raw) -> Raw:
    return {**obj, "apiVersion": RESOURCES[row.stored_as].api_version} if row.stored_as else obj


def _place(row: Resource, meta: Raw, namespace: str) -> None:
    """Put an object into the namespace of the path. Raises RefusedError if it is in another."""
    if row.namespaced and meta.get("namespace") not in (None, "", namespace):
        raise bad_request("the namespace of the provided object does not match the namespace sent on the request")
    if row.namespaced:
        meta["namespace"] = namespace
    else:
        meta.pop("namespace", None)


def _complain(read: Read, options: WriteOptions, warn: Warn, refuse: Callable[[str], RefusedError]) -> None:
    """Warn of unknown fields. Raises RefusedError if they are errors."""
    if options.validation == "Strict" and read.complaints:
        raise refuse(f"strict decoding error: {', '.join(read.complaints)}")
    if options.validation == "Warn":
        for text in read.complaints:
            warn(text)


def read_patch(body: bytes, how: str, validation: str) -> Any:  # noqa: ANN401 - any JSON value
    """Return a patch as a value; `validation` is what the request says of unknown fields. Raises RefusedError."""
    try:
        value = reading.parse(body)
    except RecursionError:
        raise bad_request("error decoding patch: exceeded max depth") from None
    except (ValueError, UnicodeDecodeError) as error:
        text = go_error(error, body)
        raise bad_request(text if how == "strategic" else f"error decoding patch: {text}") from None
    if how != "json" and not isinstance(value, dict):
        if how == "merge" and validation == "Ignore" and not isinstance(value, list):
            raise bad_request("Invalid JSON Patch")
        found = reading.go_kind(value).replace("slice", "array").replace("int64", "number")
        message = f"json: cannot unmarshal {found} into Go value of type map[string]interface {{}}"
        raise bad_request(message if how == "strategic" else f"error decoding patch: {message}")
    return value


def patched(before: Raw, patch: Any, how: str, row: Resource) -> tuple[Read, str]:  # noqa: ANN401 - any JSON value
    """Return an object with a patch applied, and how messages show the patch. Raises RefusedError."""
    of = kind_type(row.group, row.kind)
    try:
        if how == "strategic":
            value: Any = strategic.applied(before, patch, of)
            text = strategic.go_text(patch)
        else:
            value = patches.json_patched(before, patch) if how == "json" else patches.merged(before, patch)
            text = msgspec.json.encode(value).decode()
    except RecursionError:
        raise bad_request("error decoding patch: exceeded max depth") from None
    if not isinstance(value, dict):
        raise _wrong_patch(text, "json: cannot unmarshal into an object")
    named = (value.get("apiVersion"), value.get("kind"))
    if named != (before["apiVersion"], before["kind"]):
        raise bad_request(f"the kind of the object cannot be changed from {before['kind']} of {before['apiVersion']}")
    reader = reading.Reader()
    try:
        return Read(reader.read(value, of), reader.complaints), text
    except reading.WrongTypeError as error:
        raise _wrong_patch(text, error.short if how == "strategic" else str(error)) from None
    except RecursionError:
        raise bad_request("error decoding patch: exceeded max depth") from None


def _wrong_patch(text: str, why: str) -> RefusedError:
    shown_text = msgspec.json.encode(text).decode()
    return status.invalid_fields("", "", "", [("patch", f"Invalid value: {shown_text}: {why}")])


def delete_options(body: Raw) -> dict[str, Any]:
    """Return what a store is to be told of a delete. Raises RefusedError."""
    reader = reading.Reader()
    try:
        given = reader.read(body, kind_type("meta", "DeleteOptions"))
    except reading.WrongTypeError as error:
        raise bad_request(str(error)) from None
    wrong: list[tuple[str, str]] = []
    propagation, dry = given.get("propagationPolicy"), given.get("dryRun") or []
    if propagation is not None and propagation not in _PROPAGATION:
        known = '"Foreground", "Background", "Orphan", "nil"'
        wrong.append(("propagationPolicy", f'Unsupported value: "{propagation}": supported values: {known}'))
    if propagation is not None and given.get("orphanDependents") is not None:
        both = "Invalid value: true: orphanDependents and deletionPropagation cannot be both set"
        wrong.append(("propagationPolicy", both))
    if complaint := dry_run_complaint(dry):
        wrong.append(("dryRun", complaint))
    if wrong:
        raise status.invalid_fields("meta.k8s.io", "DeleteOptions", "", wrong)
    grace = given.get("gracePeriodSeconds")
    conditions = given.get("preconditions") or {}
    orphan = given.get("orphanDependents")
    return {
        "uid": conditions.get("uid") or "",
        "revision": conditions.get("resourceVersion") or "",
        "grace": None if grace is None else max(0, grace),
        "propagation": cast("Propagation", propagation or ("Orphan" if orphan else "Background")),
        "dry_run": bool(dry),
    }
