# SPDX-License-Identifier: Apache-2.0
"""What `kubectl apply` makes of a manifest: the object to store, which keeps what others have done to it.

The manifest that was applied last is an annotation of the object. What was in that and is not any more goes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec

from podfence.kube.registry import KINDS, LEGACY_POLICY
from podfence.lab.apiserver import defaults
from podfence.lab.apiserver.fields import kind_type
from podfence.lab.apiserver.reading import Reader

if TYPE_CHECKING:
    from podfence.kube.objects import Key
    from podfence.lab.store.metadata import Raw

_GROUP: Final = "networking.k8s.io"
_LAST: Final = "kubectl.kubernetes.io/last-applied-configuration"
# A dump has them, and no other cluster's say is of use here.
_OF_A_SERVER: Final = (
    *("uid", "resourceVersion", "generation", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds"),
    *("managedFields", "selfLink"),
)


def wanted(value: Raw, key: Key) -> Raw:
    """Return the object that a manifest stands for, in the version that is stored."""
    row = KINDS[key.kind]
    metadata = {name: item for name, item in value["metadata"].items() if name not in _OF_A_SERVER and item is not None}
    for field in ("labels", "annotations"):
        if field in metadata:
            metadata[field] = {name: text or "" for name, text in metadata[field].items() if name != _LAST}
    if row.namespaced:
        metadata["namespace"] = key.namespace
    kept = {name: item for name, item in value.items() if name != "status"}
    # Old policies keep their version, because that is what tells their meaning.
    version = LEGACY_POLICY if key.kind == "NetworkPolicy" and value["apiVersion"] == LEGACY_POLICY else row.current
    return {**kept, "apiVersion": version, "metadata": metadata}


def first(new: Raw) -> Raw:
    """Return the object to create for a manifest."""
    return _filled(_noted(new, new))


def merged(new: Raw, live: Raw) -> Raw:
    """Return the object that a manifest makes of the one that is stored."""
    text = (live["metadata"].get("annotations") or {}).get(_LAST)
    try:
        last: Any = msgspec.json.decode(text) if text else {}
    except msgspec.DecodeError:
        last = {}
    return _filled(_noted(_merged(last if isinstance(last, dict) else {}, new, live), new))


def _filled(obj: Raw) -> Raw:
    """Return a policy with an API server's defaults: kubectl says by these which directions it isolates."""
    if obj["kind"] != "NetworkPolicy" or obj["apiVersion"] == LEGACY_POLICY:
        return obj
    return defaults.fill("NetworkPolicy", Reader().read(obj, kind_type(_GROUP, "NetworkPolicy")))


def _noted(obj: Raw, new: Raw) -> Raw:
    text = msgspec.json.encode(new, order="deterministic").decode() + "\n"
    known = obj["metadata"]
    return {**obj, "metadata": {**known, "annotations": {**(known.get("annotations") or {}), _LAST: text}}}


def _merged(last: Raw, new: Raw, live: Raw) -> Raw:
    result = {key: value for key, value in live.items() if key in new or key not in last}
    for key, value in new.items():
        there = live.get(key)
        if value is None:
            result.pop(key, None)
        elif isinstance(value, dict) and isinstance(there, dict):
            before = last.get(key)
            result[key] = _merged(before if isinstance(before, dict) else {}, value, there)
        elif not (_covers(there, value) and (value == last.get(key) or not isinstance(value, list))):
            # A list that was written differently before may have had more in its items.
            result[key] = value
    return result


def _covers(live: object, new: object) -> bool:
    """Return whether a value says all that a manifest says, and perhaps what a server has filled in."""
    if isinstance(new, dict):
        return isinstance(live, dict) and all(
            value is None or _covers(live.get(key), value) for key, value in new.items()
        )
    if isinstance(new, list):
        return isinstance(live, list) and len(live) == len(new) and all(map(_covers, live, new))
    return live == new and type(live) is type(new)
