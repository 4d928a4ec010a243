# SPDX-License-Identifier: Apache-2.0
"""JSON patches (RFC 6902) and merge patches (RFC 7386). Nothing that was given is changed in place."""

from __future__ import annotations

from typing import Any, Final

from podfence.lab.apiserver.fields import without
from podfence.lab.apiserver.status import bad_request
from podfence.lab.store.errors import RefusedError

_WRONG: Final = "the server rejected our request due to an error in our request"
_MOST: Final = 10000


def merged(target: Any, patch: Any) -> Any:  # noqa: ANN401 - any JSON value
    """Return a value with a merge patch applied: null removes, lists are replaced."""
    if not isinstance(patch, dict):
        return patch
    found = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            found.pop(key, None)
        else:
            found[key] = merged(found.get(key), value)
    return found


def json_patched(target: Any, patch: object) -> Any:  # noqa: ANN401 - any JSON value
    """Return a value with the operations of a JSON patch applied. Raises RefusedError."""
    if not isinstance(patch, list) or not all(isinstance(step, dict) for step in patch):
        found = "object" if isinstance(patch, dict) else "array" if isinstance(patch, list) else "value"
        raise bad_request(
            f"error decoding patch: json: cannot unmarshal {found} into Go value of type []handlers.jsonPatchOp"
        )
    if len(patch) > _MOST:
        message = f"The allowed maximum operations in a JSON patch is {_MOST}, got {len(patch)}"
        raise RefusedError(413, message, "RequestEntityTooLarge")
    try:
        for step in patch:
            target = _step(target, step)
    except (LookupError, ValueError, TypeError, AttributeError, RecursionError):
        raise RefusedError(422, _WRONG, "Invalid", {}) from None
    return target


def _step(target: Any, step: dict[str, Any]) -> Any:  # noqa: ANN401 - any JSON value
    path = _pointer(step["path"])
    match step["op"]:
        case "add":
            return _put(target, path, step["value"], insert=True)
        case "replace":
            _get(target, path[:-1])
            return _put(target, path, step["value"], insert=False)
        case "remove":
            return _without(target, path)
        case "move":
            source = _pointer(step["from"])
            value = _get(target, source)
            return _put(_without(target, source), path, value, insert=True)
        case "copy":
            return _put(target, path, _copied(target, _pointer(step["from"])), insert=True)
        case "test":
            if _found(target, path) != step.get("value"):
                raise ValueError("testing value failed")
            return target
    raise ValueError("unexpected operation")


def _pointer(text: str) -> list[str]:
    if text and not text.startswith("/"):
        raise ValueError("a path starts with a slash")
    return [part.replace("~1", "/").replace("~0", "~") for part in text.split("/")[1:]]


def _get(target: Any, path: list[str]) -> Any:  # noqa: ANN401 - any JSON value
    for key in path:
        target = target[_index(target, key, len(target) - 1)] if isinstance(target, list) else target[key]
    return target


def _copied(target: Any, path: list[str]) -> Any:  # noqa: ANN401 - any JSON value
    """Return the value at a path, null for a key that an object has not: Kubernetes copies that too."""
    parent = _get(target, path[:-1])
    return parent.get(path[-1]) if path and isinstance(parent, dict) else _get(target, path)


def _found(target: Any, path: list[str]) -> Any:  # noqa: ANN401 - any JSON value
    """Return the value at a path, None where there is none, as a test of null wants it."""
    try:
        return _get(target, path)
    except LookupError:
        return None


def _put(target: Any, path: list[str], value: Any, *, insert: bool) -> Any:  # noqa: ANN401 - any JSON value
    if not path:
        return value
    key, *rest = path
    if isinstance(target, list):
        found = list(target)
        if rest:
            index = _index(target, key, len(target) - 1)
            found[index] = _put(target[index], rest, value, insert=insert)
        elif insert:
            found.insert(len(found) if key == "-" else _index(target, key, len(target)), value)
        else:
            found[_index(target, key, len(target) - 1)] = value
        return found
    if not isinstance(target, dict):
        raise TypeError("not an object")
    return {**target, key: _put(target[key], rest, value, insert=insert) if rest else value}


def _without(target: Any, path: list[str]) -> Any:  # noqa: ANN401 - any JSON value
    if not path:
        raise ValueError("the whole object cannot be removed")
    key, *rest = path
    if isinstance(target, list):
        index = _index(target, key, len(target) - 1)
        kept = [_without(target[index], rest)] if rest else []
        return [*target[:index], *kept, *target[index + 1 :]]
    if rest:
        return {**target, key: _without(target[key], rest)}
    if key not in target:
        raise KeyError(key)
    return without(target, key)


def _index(items: list[Any], key: str, highest: int) -> int:
    index = int(key) if key.lstrip("-").isascii() and key.lstrip("-").isdecimal() else None
    if index is None or index > highest or index < -len(items):
        raise IndexError(key)
    return index + len(items) if index < 0 else index
