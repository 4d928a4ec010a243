# SPDX-License-Identifier: Apache-2.0
"""Strategic merge patches: a merge patch that merges some lists item by item, by the key that their type names."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

from podfence.lab.apiserver.fields import Type, without
from podfence.lab.apiserver.reading import go_kind
from podfence.lab.apiserver.status import no_fault

if TYPE_CHECKING:
    from podfence.lab.store.metadata import Raw

_PATCH: Final = "$patch"
_RETAIN: Final = "$retainKeys"
_DELETE: Final = "$deleteFromPrimitiveList/"
_ORDER: Final = "$setElementOrder/"


def applied(target: Raw, patch: Raw, of: Type) -> Raw:
    """Return an object with a patch applied; neither is changed in place. Raises RefusedError."""
    return _map(target, patch, of) or {}


def _map(target: Raw, patch: Raw, of: Type | None) -> Raw | None:
    directive = patch.get(_PATCH)
    if directive == "replace":
        return without(patch, _PATCH)
    if directive == "delete":
        return None
    if directive not in (None, "merge"):
        raise no_fault(f"unknown patch type: {go_text(directive)} in map: {go_text(patch)}")
    found = dict(target)
    if _RETAIN in patch:
        kept = patch[_RETAIN]
        if not isinstance(kept, list):
            raise no_fault("invalid patch format of retainKeys")
        found = {key: value for key, value in found.items() if key in kept}
    orders = {key.removeprefix(_ORDER): value for key, value in patch.items() if key.startswith(_ORDER)}
    for key, value in patch.items():
        if key.startswith(_DELETE):
            name = key.removeprefix(_DELETE)
            gone = value if isinstance(value, list) else []
            found[name] = [item for item in found.get(name) or () if item not in gone]
        elif key not in (_PATCH, _RETAIN) and not key.startswith(_ORDER):
            _field(found, key, value, merging_of(of, key), orders.get(key))
    for key, order in orders.items():
        if key not in patch and isinstance(found.get(key), list):
            merge = merging_of(of, key).merge
            found[key] = found[key] if merge is None else ordered(found[key], order, merge, found[key])
    return found


class Merging(NamedTuple):
    """How the value of a key is merged: the type of it, and the key of its items if they are merged one by one."""

    type: Type | None = None
    merge: str | None = None


def merging_of(of: Type | None, key: str) -> Merging:
    """Return how the value of a key is merged, in an object of a type."""
    if of is None or of.form not in ("map", "struct"):
        return Merging()
    if of.form == "map":
        return Merging(of.held)
    row = of.struct.fields.get(key)
    return Merging(row.type, row.merge) if row is not None else Merging()


def _field(found: Raw, key: str, value: Any, place: Merging, order: object) -> None:  # noqa: ANN401 - any JSON value
    before = found.get(key)
    if isinstance(value, dict):
        value = _map(before if isinstance(before, dict) else {}, value, place.type)
    elif isinstance(value, list):
        value = _list(before if isinstance(before, list) else [], value, place, order)
    if value is None:
        found.pop(key, None)
    else:
        found[key] = value


def _list(old: list[Any], patch: list[Any], place: Merging, order: object) -> list[Any]:
    if place.merge is None:
        return [item for item in patch if not (isinstance(item, dict) and _PATCH in item)]
    held = place.type.held if place.type is not None and place.type.form == "list" else None
    if not place.merge:
        merged = [*old, *(item for item in patch if item not in old)]
        return ordered(merged, patch if order is None else order, "", old)
    key = place.merge
    if any(isinstance(item, dict) and item.get(_PATCH) == "replace" for item in patch):
        return [item for item in patch if not (isinstance(item, dict) and item.get(_PATCH) == "replace")]
    merged = list(old)
    for item in patch:
        if not isinstance(item, dict):
            raise no_fault("expected map[string]interface {}, but received a " + go_kind(item))
        if key not in item:
            raise no_fault(f"map: {go_text(item)} does not contain declared merge key: {key}")
        at = next((i for i, one in enumerate(merged) if isinstance(one, dict) and one.get(key) == item[key]), None)
        if item.get(_PATCH) == "merge":
            raise no_fault("merging lists cannot yet be specified in the patch")
        if item.get(_PATCH) == "delete":
            merged = [one for one in merged if not (isinstance(one, dict) and one.get(key) == item[key])]
            continue
        result = _map(merged[at] if at is not None else {}, item, held)
        if result is not None and at is not None:
            merged[at] = result
        elif result is not None:
            merged.append(result)
    return ordered(merged, patch if order is None else order, key, old)


def ordered(items: list[Any], order: object, key: str, old: list[Any]) -> list[Any]:
    """Return merged items in the order that a patch wants.

    Those that it does not name keep their order, and their place before those that were behind them in the `old` list.
    """

    def name(item: Any) -> Any:  # noqa: ANN401 - any JSON value
        return item.get(key) if key and isinstance(item, dict) else item

    wanted = [name(item) for item in order] if isinstance(order, list) else []
    there = [name(item) for item in old]
    named = sorted((item for item in items if name(item) in wanted), key=lambda item: wanted.index(name(item)))
    others = [item for item in items if name(item) not in wanted]
    result: list[Any] = []
    while named and others:
        first = name(named[0])
        stays_before = first in there and there.index(name(others[0])) < there.index(first)
        result.append((others if stays_before else named).pop(0))
    return result + named + others


def go_text(value: object) -> str:
    """Return a value as Go prints it."""
    match value:
        case None:
            return "<nil>"
        case bool():
            return "true" if value else "false"
        case dict():
            return "map[" + " ".join(f"{key}:{go_text(value[key])}" for key in sorted(value)) + "]"
        case list():
            return "[" + " ".join(map(go_text, value)) + "]"
    return str(value)
