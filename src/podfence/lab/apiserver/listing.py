# SPDX-License-Identifier: Apache-2.0
"""Lists: the objects of a resource that a request asks for, in pages if it wants."""

from __future__ import annotations

import base64
import binascii
import json
from typing import TYPE_CHECKING, NamedTuple

from podfence.lab.apiserver.selectors import Matches, field_selector, label_selector
from podfence.lab.apiserver.status import bad_request
from podfence.lab.store.errors import RefusedError
from podfence.lab.store.metadata import Raw

if TYPE_CHECKING:
    from podfence.lab.apiserver.options import ListOptions
    from podfence.lab.store.resources import Resource
    from podfence.lab.store.store import Store


class Page(NamedTuple):
    """A part of a list, and the metadata of the list."""

    items: list[Raw]
    meta: Raw


def matcher(row: Resource, options: ListOptions, name: str = "") -> Matches:
    """Return whether an object is asked for. Raises RefusedError for a selector that cannot be read."""
    tests: list[Matches] = []
    if options.labels:
        tests.append(label_selector(options.labels))
    if options.fields:
        tests.append(field_selector(options.fields, row.kind))
    if name:
        tests.append(lambda obj: obj["metadata"]["name"] == name)
    return lambda obj: all(test(obj) for test in tests)


def page(store: Store, row: Resource, namespace: str, options: ListOptions) -> Page:
    """Return the objects that a request asks for. Raises RefusedError."""
    matches = matcher(row, options)
    start, begun = _read_token(options.token) if options.token else (None, 0)
    if start is not None and options.revision:
        raise bad_request("specifying resource version is not allowed when using continue")
    objects, revision = store.list(row.table, namespace)
    _require_revision(options, revision)
    if options.labels or options.fields:
        objects = [obj for obj in objects if matches(obj)]
    if start is not None:
        objects, revision = [obj for obj in objects if _place(obj, namespace) >= start], begun
    meta: Raw = {"resourceVersion": str(revision)}
    if options.limit and len(objects) > options.limit:
        # The pages show what is there now, not what was there at the first; a watch from the revision tells the rest.
        meta["continue"] = _token(objects[options.limit - 1], namespace, revision)
        if not options.labels and not options.fields:
            meta["remainingItemCount"] = len(objects) - options.limit
        objects = objects[: options.limit]
    return Page(objects, meta)


def _require_revision(options: ListOptions, revision: int) -> None:
    asked = options.revision
    if asked and asked > revision:
        message = f"Timeout: Too large resource version: {asked}, current: {revision}"
        cause = {"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}
        raise RefusedError(504, message, "Timeout", {"causes": [cause], "retryAfterSeconds": 1})
    if options.match == "Exact" and asked != revision:
        raise RefusedError(410, "The resourceVersion for the provided list is too old.", "Expired")


def _place(obj: Raw, namespace: str) -> tuple[str, str]:
    meta = obj["metadata"]
    return ("" if namespace else meta.get("namespace", ""), meta["name"])


def _token(last: Raw, namespace: str, revision: int) -> str:
    space, name = _place(last, namespace)
    start = f"{space}/{name}\0" if space else f"{name}\0"
    text = json.dumps({"v": "meta.k8s.io/v1", "rv": revision, "start": f"/{start}"}, separators=(",", ":"))
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def _read_token(text: str) -> tuple[tuple[str, str], int]:
    """Return the place at which a page starts, and the revision of the first page."""
    try:
        found = json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
        space, _, name = found["start"].removeprefix("/").rpartition("/")
        return (space, name), int(found["rv"])
    except (ArithmeticError, ValueError, binascii.Error, LookupError, TypeError, AttributeError, RecursionError):
        why = "invalid character '~' looking for beginning of value"
        raise bad_request(f"invalid continue token: continue key is not valid: {why}") from None
