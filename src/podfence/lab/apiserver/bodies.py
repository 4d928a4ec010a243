# SPDX-License-Identifier: Apache-2.0
"""Bodies of requests, read as objects of the kind that the path names."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from podfence.kube.yaml import parse as parse_yaml
from podfence.lab.apiserver import media, protobuf, reading, status
from podfence.lab.apiserver.fields import kind_type
from podfence.lab.store.errors import RefusedError
from podfence.lab.store.resources import RESOURCES

if TYPE_CHECKING:
    from aiohttp import web

    from podfence.lab.store.resources import Resource

LIMIT: Final = 3 * 1024 * 1024
"""The largest body, in bytes."""

_TYPES: Final = f"{media.JSON}, {media.YAML}, {media.PROTOBUF}"
_SHOWN: Final = 30
_VERSION: Final = re.compile(r"[^/]*(/[^/]*)?")

_SERVED: Final = frozenset((row.api_version, row.kind) for row in RESOURCES.values())


async def body_of(request: web.Request) -> bytes:
    """Return the body of a request. Raises RefusedError if it is too large."""
    length = request.content_length
    if length is None or length <= LIMIT:
        body = bytearray()
        async for part in request.content.iter_any():
            body += part
            if len(body) > LIMIT:
                break
        else:
            return bytes(body)
    message = f"Request entity too large: limit is {LIMIT}"
    raise RefusedError(413, message, "RequestEntityTooLarge")


class Read(NamedTuple):
    """An object as it was sent, without what its kind does not have, and what strict validation says of it."""

    object: dict[str, Any]
    complaints: list[str]


def read(body: bytes, content_type: str, row: Resource) -> Read:
    """Return the object in a body. Raises RefusedError."""
    kind = row.kind
    value, doubled = parse(body, content_type, kind)
    version, named = (
        default if given in (None, "") else given
        for given, default in ((value.get("apiVersion"), row.api_version), (value.get("kind"), kind))
    )
    for field, text in (("kind", named), ("apiVersion", version)):
        if not isinstance(text, str):
            why = f"json: cannot unmarshal {reading.word(text)} into Go struct field .{field} of type string"
            raise unrecognized(kind, f"json parse error: {why}", body)
    if not _VERSION.fullmatch(version):
        raise unrecognized(kind, f"unexpected GroupVersion string: {version}", body)
    if named != kind:
        error = f'no kind "{named}" is registered for version "{version}" in scheme'
        short = version.rpartition("/")[2]
        raise status.bad_request(f'{named} in version "{short}" cannot be handled as a {kind}: {error}')
    if version != row.api_version and (version, kind) not in _SERVED:
        known = f'no kind "{kind}" is registered for version "{version}" in scheme "pkg/runtime/scheme.go:111"'
        raise status.unread(kind, version.rpartition("/")[2], known)
    if version != row.api_version:
        raise status.bad_request(
            f"the API version in the data ({version}) does not match the expected API version ({row.api_version})"
        )
    reader = reading.Reader()
    try:
        found = reader.read(value, kind_type(row.group, kind))
    except reading.WrongTypeError as error:
        raise status.unread(kind, row.version, str(error)) from None
    found["apiVersion"], found["kind"] = row.api_version, kind
    return Read(found, doubled + reader.complaints)


def parse(body: bytes, content_type: str, kind: str) -> tuple[dict[str, Any], list[str]]:
    """Return the object in a body as it is written there, and which keys YAML has twice. Raises RefusedError."""
    name = media.media_type(content_type)[0] or media.JSON
    if name == media.PROTOBUF:
        try:
            return protobuf.decode(body), []
        except (protobuf.BrokenError, UnicodeDecodeError, KeyError) as error:
            raise unrecognized(kind, str(error), b"") from None
    if name == media.YAML:
        return _yaml(body, kind)
    if name != media.JSON:
        raise status.unsupported_type(
            f"the body of the request was in an unknown format - accepted media types include: {_TYPES}"
        )
    try:
        value = reading.parse(body)
    except RecursionError:
        raise unrecognized(kind, "json parse error: exceeded max depth", b"...") from None
    except (ValueError, UnicodeDecodeError) as error:
        raise unrecognized(kind, f"json parse error: {go_error(error, body)}", body) from None
    if value is None:
        return {}, []
    if not isinstance(value, dict):
        wanted = (
            'struct { APIVersion string "json:\\"apiVersion,omitempty\\""; Kind string "json:\\"kind,omitempty\\"" }'
        )
        raise unrecognized(
            kind,
            f"json parse error: json: cannot unmarshal {reading.word(value)} into Go value of type {wanted}",
            body.hex() if len(body) <= _SHOWN else f"{body[:_SHOWN].hex()} ...",
        )
    return value, []


def unrecognized(kind: str, why: str, body: bytes | str) -> RefusedError:
    """Return the refusal of a body that is no object at all."""
    text = body if isinstance(body, str) else body[:1024].decode("utf-8", "replace") or "<empty>"
    message = f"the object provided is unrecognized (must be of type {kind}): couldn't get version/kind; {why} ({text})"
    return status.bad_request(message)


def _yaml(body: bytes, kind: str) -> tuple[dict[str, Any], list[str]]:
    documents, problems = parse_yaml(body, "body")
    first = next(iter(documents), None)
    if first is None and problems:
        raise unrecognized(kind, f"yaml: {problems[0].message}", b"...")
    value = first.value if first is not None else {}
    if value is not None and not isinstance(value, dict):
        raise unrecognized(kind, f"json: cannot unmarshal {reading.word(value)} into Go value of type struct", b"...")
    doubled = [
        f'yaml: unmarshal errors:\n  line {place.line}: key "{key}" already set in map'
        for key, places in (first.duplicates() if first is not None else ())
        for place in places[1:]
    ]
    return value or {}, doubled


_AFTER: Final = {
    "Extra data": "after top-level value",
    "Expecting property name": "looking for beginning of object key string",
    "Expecting ':'": "after object key",
}


def go_error(error: Exception, body: bytes) -> str:
    """Return what Go's JSON decoder says of a text that Python's refused."""
    if not isinstance(error, json.JSONDecodeError):
        return str(error)
    text = error.doc[error.pos :].lstrip()
    if not text:
        return "unexpected end of JSON input"
    shown = f"'{text[0]}'" if text[0] not in "'\\" else f"'\\{text[0]}'"
    where = next((after for begin, after in _AFTER.items() if error.msg.startswith(begin)), "")
    if error.msg.startswith("Expecting ','"):
        where = "after object key:value pair" if body.count(b"{") > body.count(b"}") else "after array element"
    return f"invalid character {shown} {where or 'looking for beginning of value'}"
