# SPDX-License-Identifier: Apache-2.0
"""The objects of a lab by resource, namespace and name, with everything that an API server promises of them."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from itertools import islice
from operator import itemgetter
from typing import TYPE_CHECKING, Final, Literal

from podfence.cluster.members import FINISHED_PHASES
from podfence.lab.store import metadata
from podfence.lab.store.errors import AlreadyExistsError, ConflictError, ExpiredError, ForbiddenError, NotFoundError
from podfence.lab.store.history import Change
from podfence.lab.store.metadata import Raw
from podfence.lab.store.resources import RESOURCES

if TYPE_CHECKING:
    from podfence.lab.store.resources import Resource

Propagation = Literal["Background", "Foreground", "Orphan"]
"""What becomes of the dependents of a deleted object: they go after it, before it, or stay."""

Admission = Callable[[Raw | None, Raw | None], Raw | None]
"""What has a say in every request for a resource: it gets the object that is wanted, None to delete it, and the stored
one, None to create it. It returns what to store, or raises StoreError. The lock is held."""

Check = Callable[[Raw, Raw | None], None]
"""What looks at an object just before it is stored, and at its old form: it raises what speaks against it."""

Objects = list[Raw]
Changes = list[Change]
# `list` is a method of the class below.

_PROPAGATION: Final = {"Foreground": metadata.FOREGROUND, "Orphan": metadata.ORPHAN}
_IMMORTAL: Final = ("default", "kube-system", "kube-public")
# etcd has both under one prefix.
_TOGETHER: Final = ("Service", "Endpoints")
_GRACE: Final = 30
# Later times cannot be written as objects have them.
_MOST_GRACE: Final = 2**31
# Who follows and is further behind lists anew.
_MOST_CHANGES: Final = 1000
_STALE: Final = "the object has been modified; please apply your changes to the latest version and try again"


class Store:
    """The objects of a lab. Its methods may be called by several threads; each is one step for all others.

    A resource is named by its key, ``pods`` or ``deployments.apps``. Objects are not copied: neither those that were
    given nor those that were returned may be changed in place. `lock` is held during every step, so whoever holds it
    sees no change.
    """

    def __init__(self, *, clock: Callable[[], float] = time.time, remembered: int = _MOST_CHANGES) -> None:
        """Start empty. `clock` gives the seconds since the epoch; so many changes are `remembered`."""
        self.lock = threading.RLock()
        self.revision = 0
        """The resourceVersion of the latest change."""
        self._clock = clock
        self._tables: dict[str, dict[tuple[str, str], Raw]] = {
            key: {} for key, row in RESOURCES.items() if not row.stored_as
        }
        self._latest: deque[Change] = deque(maxlen=remembered)
        self._listeners: list[Callable[[Change], None]] = []
        self._admissions: dict[str, list[Admission]] = {}

    # Reading

    def get(self, resource: str, namespace: str, name: str) -> Raw:
        """Return an object; raise NotFoundError."""
        with self.lock:
            found = self._tables[resource].get((namespace, name))
        if found is None:
            raise NotFoundError.of(RESOURCES[resource], name)
        return found

    def list(self, resource: str, namespace: str = "") -> tuple[Objects, int]:
        """Return the objects of a namespace, or of all, in order of namespace and name, and the revision."""
        with self.lock:
            found = [item for item in self._tables[resource].items() if not namespace or item[0][0] == namespace]
            revision = self.revision
        return [obj for _, obj in sorted(found, key=itemgetter(0))], revision

    def changes(self, resource: str, since: int, namespace: str = "") -> Changes:
        """Return what changed after a revision in a namespace, or in all; raise ExpiredError."""
        with self.lock:
            oldest = self._latest[0].revision if self._latest else since + 1
            if since < oldest - 1:
                raise ExpiredError(f"too old resource version: {since} ({oldest - 1})")
            found = islice(self._latest, since + 1 - oldest, None)
            return [change for change in found if change.is_in(resource, namespace)]

    def subscribe(self, tell: Callable[[Change], None]) -> Callable[[], None]:
        """Tell of all changes from now on, in order and with the lock held; return what ends that.

        `tell` must return soon, must not raise, and must not change the store.
        """
        with self.lock:
            self._listeners.append(tell)

        def end() -> None:
            with self.lock:
                self._listeners.remove(tell)

        return end

    # Writing

    def admit(self, resource: str, admission: Admission) -> None:
        """Ask `admission` too from now on before objects of a resource are created, changed or deleted."""
        self._admissions.setdefault(resource, []).append(admission)

    def create(self, resource: str, obj: Raw, *, check: Check | None = None, dry_run: bool = False) -> Raw:
        """Add an object, and return it as it is stored.

        Raises AlreadyExistsError, NotFoundError without its namespace, ForbiddenError if that is being deleted, and
        what `check` raises.
        """
        row = RESOURCES[resource]
        given = obj["metadata"]
        with self.lock:
            name, prefix = given.get("name") or "", given.get("generateName") or ""
            if prefix and not name:
                name = metadata.generated_name(prefix, f"{resource}/{self.revision}")
            namespace = given.get("namespace", "") if row.namespaced else ""
            if row.namespaced:
                self._require_namespace(row, namespace, name)
            made = {**obj, "metadata": metadata.created(row, given, name, self._clock())}
            if row.has_status:
                made["status"] = dict(row.first_status)
            if row.kind == "Namespace":
                made["spec"] = {"finalizers": ["kubernetes"]}
            made = self._admitted(resource, made, None)
            if check is not None:
                check(made, None)
            if there := self._tables[resource].get((namespace, name)):
                going = "object is being deleted: " if "deletionTimestamp" in there["metadata"] else ""
                raise AlreadyExistsError.of(row, name, going)
            return made if dry_run else self._commit("ADDED", row, made, None)

    def update(
        self, resource: str, obj: Raw, *, status: bool = False, check: Check | None = None, dry_run: bool = False
    ) -> Raw:
        """Replace an object, or its `status` and metadata, and return it as it is stored.

        What the server fills in stays, and so does the status of what has one of its own. If nothing differs, nothing
        is stored. An object that is being deleted goes with its last finalizer.
        Raises NotFoundError, ConflictError if `obj` has another uid or resourceVersion than the stored one, and what
        `check` raises.
        """
        row = RESOURCES[resource]
        given = obj["metadata"]
        with self.lock:
            before = self.get(resource, given.get("namespace", "") if row.namespaced else "", given["name"])
            known = before["metadata"]
            if given.get("resourceVersion") not in (None, "", known["resourceVersion"]):
                raise ConflictError.of(row, given["name"], _STALE)
            if given.get("uid") not in (None, "", known["uid"]):
                raise ConflictError.of(row, given["name"], other_uid(row, given, known))
            if status:
                after = self._admitted(resource, _with_status(row, obj, before), before)
            else:
                after = _changed(row, self._admitted(resource, obj, before), before)
            if check is not None:
                check(after, before)
            if after == before:
                return before
            if dry_run:
                return after
            if _is_due(row, after):
                self._commit("DELETED", row, after, before)
                return after
            return self._commit("MODIFIED", row, after, before)

    def delete(
        self,
        resource: str,
        namespace: str,
        name: str,
        *,
        uid: str = "",
        revision: str = "",
        grace: int | None = None,
        propagation: Propagation = "Background",
        dry_run: bool = False,
    ) -> Raw:
        """Delete an object, and return its last form.

        It has a `deletionTimestamp` if something is still to be done: while it has finalizers, as a namespace while
        it holds something, and as a pod until `grace` seconds have passed (those that its spec says unless given) or
        its node says that it has stopped, by deleting it with a grace of 0.
        Raises NotFoundError, ConflictError for another `uid` or `revision`, ForbiddenError for Kubernetes' namespaces.
        """
        row = RESOURCES[resource]
        with self.lock:
            before = self.get(resource, namespace, name)
            _require_preconditions(row, before["metadata"], uid, revision)
            if row.kind == "Namespace" and name in _IMMORTAL:
                raise ForbiddenError.of(row, name, "this namespace may not be deleted")
            for admission in self._admissions.get(resource, ()):
                admission(None, before)
            after = self._going(row, before, grace, propagation)
            if _is_due(row, after):
                last = after if row.kind == "Pod" else before
                if dry_run:
                    return last
                if last is not before:
                    # Who watches pods sees that they are to go before they are gone.
                    before = self._commit("MODIFIED", row, after, before)
                return self._commit("DELETED", row, last, before)
            if after == before or dry_run:
                return after
            return self._commit("MODIFIED", row, after, before)

    def finalize(self, namespace: str) -> None:
        """Let a namespace that is being deleted go as soon as no finalizer holds it. Raises NotFoundError.

        It holds nothing any more.
        """
        with self.lock:
            row, before = RESOURCES["namespaces"], self.get("namespaces", "", namespace)
            after = {**before, "spec": {}}
            if _is_due(row, after):
                self._commit("DELETED", row, after, before)
            elif after != before:
                self._commit("MODIFIED", row, after, before)

    def _going(self, row: Resource, before: Raw, grace: int | None, propagation: Propagation) -> Raw:
        """Return an object with the marks of its deletion."""
        known = before["metadata"]
        if row.kind == "Namespace" and "deletionTimestamp" in known:
            return before
        seconds = _grace(before, grace) if row.kind == "Pod" else 0
        left = known.get("deletionGracePeriodSeconds")
        if left is not None and left <= seconds:
            return before
        found = metadata.deleting(row, known, self._clock() + seconds, None if row.kind == "Namespace" else seconds)
        finalizer = _PROPAGATION.get(propagation)
        if finalizer and "deletionTimestamp" not in known and finalizer not in known.get("finalizers", ()):
            found["finalizers"] = [*known.get("finalizers", ()), finalizer]
        if row.kind == "Namespace":
            return {**before, "metadata": found, "status": {**before["status"], "phase": "Terminating"}}
        return {**before, "metadata": found}

    def _admitted(self, resource: str, wanted: Raw, before: Raw | None) -> Raw:
        for admission in self._admissions.get(resource, ()):
            wanted = admission(wanted, before) or wanted
        return wanted

    def _require_namespace(self, row: Resource, namespace: str, name: str) -> None:
        found = self.get("namespaces", "", namespace)
        if "deletionTimestamp" in found["metadata"]:
            why = f"unable to create new content in namespace {namespace} because it is being terminated"
            raise ForbiddenError.of(row, name or "Unknown", why, _terminating(namespace))

    def _commit(
        self, kind: Literal["ADDED", "MODIFIED", "DELETED"], row: Resource, obj: Raw, before: Raw | None
    ) -> Raw:
        """Store an object under a new revision, or take it away, and tell of it."""
        self.revision += 1
        known = {**obj["metadata"], "resourceVersion": str(self.revision)}
        stored = {**obj, "metadata": known}
        place = (known.get("namespace", ""), known["name"])
        if kind == "DELETED":
            del self._tables[row.key][place]
        else:
            self._tables[row.key][place] = stored
        change = Change(kind, row.key, stored, before, self.revision)
        self._latest.append(change)
        for tell in tuple(self._listeners):
            tell(change)
        return stored


def _changed(row: Resource, obj: Raw, before: Raw) -> Raw:
    """Return an object as it is after a request that may change everything but its status."""
    after = {key: value for key, value in obj.items() if key != "status" or not row.has_status}
    if row.has_status and "status" in before:
        after["status"] = before["status"]
    if row.kind == "Namespace":
        after["spec"] = before["spec"]
    # Equal parts are kept once, however often an object changes.
    after = {key: before[key] if before.get(key) == value else value for key, value in after.items()}
    known = after["metadata"] = metadata.changed(row, obj["metadata"], before["metadata"])
    counted = known.get("annotations") != before["metadata"].get("annotations") and row.kind == "Deployment"
    if row.has_generation and (counted or _content(after) != _content(before)):
        known["generation"] = known.get("generation", 0) + 1
    return after


def _with_status(row: Resource, obj: Raw, before: Raw) -> Raw:
    """Return an object as it is after a request for its status: its spec stays."""
    found = metadata.changed(row, obj["metadata"], before["metadata"])
    found |= {key: before["metadata"][key] for key in row.kept_by_status if key in before["metadata"]}
    for key in row.kept_by_status:
        if key not in before["metadata"]:
            found.pop(key, None)
    return {**before, "metadata": found, **({"status": obj["status"]} if "status" in obj else {})}


def _content(obj: Raw) -> Raw:
    """Return what the generation of an object counts the changes of."""
    found = {key: value for key, value in obj.items() if key not in ("metadata", "status", "apiVersion", "kind")}
    if obj.get("kind") == "Pod":
        # A pod is bound to its node once, and that is no change of what is wanted.
        found["spec"] = {key: value for key, value in (found.get("spec") or {}).items() if key != "nodeName"}
    return found


def _grace(pod: Raw, asked: int | None) -> int:
    """Return the seconds that a pod has to end, 0 for one in which nothing runs."""
    spec, phase = pod.get("spec") or {}, (pod.get("status") or {}).get("phase")
    if not spec.get("nodeName") or phase in FINISHED_PHASES:
        return 0
    own = spec.get("terminationGracePeriodSeconds")
    seconds = asked if asked is not None else _GRACE if own is None else own
    return min(max(0, int(seconds)), _MOST_GRACE)


def _is_due(row: Resource, obj: Raw) -> bool:
    """Return whether nothing holds back an object that is to be deleted. A namespace is held until `finalize`."""
    known = obj["metadata"]
    held = known.get("finalizers") or known.get("deletionGracePeriodSeconds")
    if row.kind == "Namespace":
        held = held or obj["spec"].get("finalizers")
    return "deletionTimestamp" in known and not held


def _terminating(namespace: str) -> dict[str, str]:
    message = f"namespace {namespace} is being terminated"
    return {"reason": "NamespaceTerminating", "message": message, "field": "metadata.namespace"}


def other_uid(row: Resource, given: Raw, known: Raw) -> str:
    """Return why an object is not the one that is meant: it has another uid, or does not exist and has none."""
    plural = f"services/{'specs' if row.kind == 'Service' else 'endpoints'}" if row.kind in _TOGETHER else row.plural
    place = "/".join(filter(None, ("/registry", plural, given.get("namespace"), given["name"])))
    failed = f"Precondition failed: UID in precondition: {given['uid']}, UID in object meta: {known.get('uid', '')}"
    return f"StorageError: invalid object, Code: 4, Key: {place}, ResourceVersion: 0, AdditionalErrorMsg: {failed}"


def _require_preconditions(row: Resource, known: Raw, uid: str, revision: str) -> None:
    name = known["name"]
    # The API server names the kind here and the resource elsewhere.
    row = row._replace(plural=row.kind)
    if uid and uid != known["uid"]:
        why = f"the UID in the precondition ({uid}) does not match the UID in record ({known['uid']})"
        raise ConflictError.of(row, name, f"{why}. The object might have been deleted and then recreated")
    if revision and revision != known["resourceVersion"]:
        why = f"the ResourceVersion in the precondition ({revision}) does not match the ResourceVersion in record"
        raise ConflictError.of(row, name, f"{why} ({known['resourceVersion']}). The object might have been modified")
