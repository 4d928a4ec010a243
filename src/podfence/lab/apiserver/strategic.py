# SPDX-License-Identifier: Apache-2.0
"""Strategic merge patches: a merge patch that merges some lists item by item, by the key that their type names."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

from podfence.lab.apiserver.fields import Type
from podfence.lab.apiserver.reading import go_kind
from podfence.lab.apiserver.status import RefusedError

Raw = dict[str, Any]

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
        return {key: value for key, value in patch.items() if key != _PATCH}
    if directive == "delete":
        return None
    if directive not in (None, "merge"):
        raise _wrong(f"unknown patch type: {go_text(directive)} in map: {go_text(patch)}")
    found = dict(target)
    if _RETAIN in patch:
        kept = patch[_RETAIN]
        if not isinstance(kept, list):
            raise _wrong("invalid patch format of retainKeys")
        found = {key: value for key, value in found.items() if key in kept}
    orders = {key.removeprefix(_ORDER): value for key, value in patch.items() if key.startswith(_ORDER)}
    for key, value in patch.items():
        if key.startswith(_DELETE):
            name = key.removeprefix(_DELETE)
            gone = value if isinstance(value, list) else []
            found[name] = [item for item in found.get(name) or () if item not in gone]
        elif key not in (_PATCH, _RETAIN) and not key.startswith(_ORDER):
            _field(found, key, value, _place_of(of, key), orders.get(key))
    for key, order in orders.items():
        if key not in patch and isinstance(found.get(key), list):
            found[key] = _ordered(found[key], order, _place_of(of, key).merge, found[key])
    return found


class _Place(NamedTuple):
    """How the value of a key is merged: the type of it, and the key of its items if they are merged one by one."""

    type: Type | None = None
    merge: str | None = None


def _place_of(of: Type | None, key: str) -> _Place:
    if of is None or of.form not in ("map", "struct"):
        return _Place()
    if of.form == "map":
        return _Place(of.held)
    row = of.struct.fields.get(key)
    return _Place(row.type, row.merge) if row is not None else _Place()


def _field(found: Raw, key: str, value: Any, place: _Place, order: object) -> None:  # noqa: ANN401 - any JSON value
    if value is None:
        found.pop(key, None)
    elif isinstance(value, dict):
        before = found.get(key)
        result = _map(before if isinstance(before, dict) else {}, value, place.type)
        if result is None:
            found.pop(key, None)
        else:
            found[key] = result
    elif isinstance(value, list):
        before = found.get(key)
        old = before if isinstance(before, list) else []
        found[key] = _list(old, value, place, order)
    else:
        found[key] = value


def _list(old: list[Any], patch: list[Any], place: _Place, order: object) -> list[Any]:
    if place.merge is None:
        return [item for item in patch if not (isinstance(item, dict) and _PATCH in item)]
    held = place.type.held if place.type is not None and place.type.form == "list" else None
    if not place.merge:
        merged = [*old, *(item for item in patch if item not in old)]
        return _ordered(merged, order, "", patch)
    key = place.merge
    if any(isinstance(item, dict) and item.get(_PATCH) == "replace" for item in patch):
        return [item for item in patch if not (isinstance(item, dict) and item.get(_PATCH) == "replace")]
    merged = list(old)
    for item in patch:
        if not isinstance(item, dict):
            raise _wrong("expected map[string]interface {}, but received a " + go_kind(item))
        if key not in item:
            raise _wrong(f"map: {go_text(item)} does not contain declared merge key: {key}")
        at = next((i for i, one in enumerate(merged) if isinstance(one, dict) and one.get(key) == item[key]), None)
        if item.get(_PATCH) == "delete":
            merged = [one for one in merged if not (isinstance(one, dict) and one.get(key) == item[key])]
            continue
        result = _map(merged[at] if at is not None else {}, item, held)
        if result is not None and at is not None:
            merged[at] = result
        elif result is not None:
            merged.append(result)
    return _ordered(merged, order, key, patch)


def _ordered(items: list[Any], order: object, key: str | None, patch: list[Any]) -> list[Any]:
    """Return items in the order that a patch wants; those it does not name stay behind the one before them."""
    if not isinstance(order, list) or key is None:
        return items

    def name(item: Any) -> Any:  # noqa: ANN401 - any JSON value
        return item.get(key) if key and isinstance(item, dict) else item

    wanted = [name(item) for item in order]
    named = [item for item in items if name(item) in wanted]
    named.sort(key=lambda item: wanted.index(name(item)))
    others = [item for item in items if name(item) not in wanted]
    if not others:
        return named
    given = {str(name(item)) for item in patch}
    result = list(named)
    for item in others:
        before = items[: items.index(item)]
        last = next((one for one in reversed(before) if one in result and str(name(one)) not in given), None)
        result.insert(result.index(last) + 1 if last is not None else 0 if not before else len(result), item)
    return result


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


def _wrong(message: str) -> RefusedError:
    # Kubernetes answers 500 here, but a wrong request is no fault of the server.
    return RefusedError(400, message)
