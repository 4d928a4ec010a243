# SPDX-License-Identifier: Apache-2.0
"""What a store writes into the metadata of objects: who they are, how new, and whether they are going."""

from __future__ import annotations

import hashlib
import time
import uuid
from typing import TYPE_CHECKING, Any, Final

from podfence.cluster.state import NAME_LABEL

if TYPE_CHECKING:
    from podfence.lab.store.resources import Resource

Raw = dict[str, Any]
"""An object, or a part of one, as JSON. It is never changed in place once a store has it."""

ORPHAN: Final = "orphan"
"""The finalizer of an object whose dependents are to stay."""

FOREGROUND: Final = "foregroundDeletion"
"""The finalizer of an object that goes after its dependents."""

# The letters and digits that Kubernetes makes names of: none that could spell a word.
_ALPHABET: Final = "bcdfghjklmnpqrstvwxz2456789"
_SUFFIX: Final = 5
_LONGEST_PREFIX: Final = 58

# A server's own; what a request says of them is not looked at.
_OWN: Final = ("uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds", "generation", "selfLink")


def moment(seconds: float) -> str:
    """Return a time in seconds since the epoch as objects have it."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))


def short_name(seed: str, length: int = _SUFFIX) -> str:
    """Return letters and digits as Kubernetes ends names with, the same for the same seed."""
    digest = hashlib.sha256(seed.encode()).digest()
    return "".join(_ALPHABET[byte % len(_ALPHABET)] for byte in digest[:length])


def generated_name(prefix: str, seed: str) -> str:
    """Return a name that begins as `generateName` says."""
    return prefix[:_LONGEST_PREFIX] + short_name(seed)


def created(row: Resource, given: Raw, name: str, now: float) -> Raw:
    """Return the metadata of a new object, still without a revision."""
    found = {key: value for key, value in given.items() if key not in (*_OWN, "resourceVersion") and value is not None}
    found["name"] = name
    if not row.namespaced:
        found.pop("namespace", None)
    found["uid"] = str(uuid.uuid4())
    found["creationTimestamp"] = moment(now)
    if row.has_generation:
        found["generation"] = 1
    return _labelled(row, found)


def changed(row: Resource, given: Raw, before: Raw) -> Raw:
    """Return the metadata of a changed object: what is the server's own stays as it was `before`."""
    found = {key: value for key, value in given.items() if key not in _OWN and value is not None}
    found |= {key: before[key] for key in (*_OWN, "name", "namespace", "resourceVersion") if key in before}
    return _labelled(row, found)


def deleting(row: Resource, before: Raw, due: float, grace: int | None) -> Raw:
    """Return the metadata of an object that is to go at a time; `grace` are the seconds until then."""
    found = {**before, "deletionTimestamp": moment(due)}
    if grace is not None:
        found["deletionGracePeriodSeconds"] = grace
    if row.has_generation and "deletionTimestamp" not in before:
        found["generation"] = before.get("generation", 0) + 1
    return found


def _labelled(row: Resource, found: Raw) -> Raw:
    """Return metadata with the label that every namespace has (semantics 3.7)."""
    if row.kind == "Namespace":
        found["labels"] = {**(found.get("labels") or {}), NAME_LABEL: found["name"]}
    return found
