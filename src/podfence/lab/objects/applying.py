# SPDX-License-Identifier: Apache-2.0
"""What `kubectl apply` makes of a manifest: the object to store, which keeps what others have done to it.

The manifest that was applied last is an annotation of the object. What was in that and is not any more goes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec

from podfence.kube.registry import KINDS
from podfence.lab.apiserver.fields import kind_type
from podfence.lab.apiserver.strategic import merging_of, ordered

if TYPE_CHECKING:
    from podfence.kube.objects import Key
    from podfence.lab.apiserver.fields import Type
    from podfence.lab.apiserver.strategic import Merging
    from podfence.lab.store.metadata import Raw

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
    return {**kept, "apiVersion": row.current, "metadata": metadata}


def first(new: Raw) -> Raw:
    """Return the object to create for a manifest."""
    return _noted(new, new)


def merged(new: Raw, live: Raw) -> Raw:
    """Return the object that a manifest makes of the one that is stored."""
    text = (live["metadata"].get("annotations") or {}).get(_LAST)
    try:
        last: Any = msgspec.json.decode(text) if text else {}
    except msgspec.DecodeError:
        last = {}
    of = kind_type(KINDS[new["kind"]].current.rpartition("/")[0], new["kind"])
    return _noted(_merged(last if isinstance(last, dict) else {}, new, live, of), new)


def same(one: Raw, other: Raw) -> bool:
    """Return whether two forms of an object say the same, whatever was noted of their manifests."""
    return _without_note(one) == _without_note(other)


def _without_note(obj: Raw) -> Raw:
    known = {key: item for key, item in obj["metadata"].items() if key != "resourceVersion"}
    known["annotations"] = {key: text for key, text in (known.get("annotations") or {}).items() if key != _LAST}
    return {**obj, "metadata": known}


def _noted(obj: Raw, new: Raw) -> Raw:
    text = msgspec.json.encode(new, order="deterministic").decode() + "\n"
    known = obj["metadata"]
    return {**obj, "metadata": {**known, "annotations": {**(known.get("annotations") or {}), _LAST: text}}}


def _merged(last: Raw, new: Raw, live: Raw, of: Type | None) -> Raw:
    result = {key: value for key, value in live.items() if key in new or key not in last}
    for key, value in new.items():
        there, before, place = live.get(key), last.get(key), merging_of(of, key)
        if value is None:
            result.pop(key, None)
        elif isinstance(value, dict) and isinstance(there, dict):
            result[key] = _merged(before if isinstance(before, dict) else {}, value, there, place.type)
        elif isinstance(value, list) and isinstance(there, list) and place.merge is not None:
            result[key] = _merged_items(before if isinstance(before, list) else [], value, there, place)
        else:
            result[key] = value
    return result


def _merged_items(last: list[Any], new: list[Any], live: list[Any], place: Merging) -> list[Any]:
    """Return a list whose items have a key, or are values, with those that others have added."""
    key = place.merge or ""

    def name(item: Any) -> Any:  # noqa: ANN401 - any JSON value
        return item.get(key) if key and isinstance(item, dict) else item

    def same(items: list[Any], item: object) -> Raw:
        return next((one for one in items if isinstance(one, dict) and name(one) == name(item)), {})

    names = [list(map(name, items)) for items in (new, live)]
    if any(found.count(one) > 1 for found in names for one in found):
        # Ports of a Service of two protocols have one number, and with it one key.
        return new
    held = place.type.held if place.type is not None else None
    made = [
        _merged(same(last, item), item, same(live, item), held) if key and isinstance(item, dict) else item
        for item in new
    ]
    said = [name(item) for item in (*last, *new)]
    return ordered([*made, *(item for item in live if name(item) not in said)], new, key, live)
