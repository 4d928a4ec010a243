# SPDX-License-Identifier: Apache-2.0
"""Objects that kubectl sends as protobuf, read into JSON by the numbers of their fields."""

from __future__ import annotations

import base64
import datetime as dt
from typing import TYPE_CHECKING, Any, Final

from podfence.lab.apiserver.fields import kind_type

if TYPE_CHECKING:
    from collections.abc import Iterator

    from podfence.lab.apiserver.fields import Field, Type

MAGIC: Final = b"k8s\x00"
_DEEPEST: Final = 100


class BrokenError(ValueError):
    """The bytes are no message of the type."""


def decode(body: bytes) -> dict[str, Any]:
    """Return the object in a body, with its apiVersion and kind. Raises BrokenError, and KeyError for a type."""
    if not body.startswith(MAGIC):
        raise BrokenError("provided data does not appear to be a protobuf message, expected prefix [107 56 115 0]")
    version = kind = ""
    raw = b""
    for number, value in _fields(body[len(MAGIC) :]):
        if number == 1 and isinstance(value, bytes):
            texts = {key: item.decode() for key, item in _fields(value) if isinstance(item, bytes)}
            version, kind = texts.get(1, ""), texts.get(2, "")
        elif number == 2 and isinstance(value, bytes):
            raw = value
    group = version.rpartition("/")[0]
    of = kind_type(group, kind) if kind != "DeleteOptions" else kind_type("meta", kind)
    return {"apiVersion": version, "kind": kind} | _message(raw, of, _DEEPEST)


def _fields(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Return the fields of a message in order: their numbers and their values."""
    at = 0
    while at < len(data):
        tag, at = _varint(data, at)
        match tag & 7:
            case 0:
                value, at = _varint(data, at)
                yield tag >> 3, value
                continue
            case 1:
                size = 8
            case 2:
                size, at = _varint(data, at)
            case 5:
                size = 4
            case _:
                raise BrokenError(f"proto: illegal wireType {tag & 7}")
        if at + size > len(data):
            raise BrokenError("unexpected EOF")
        yield tag >> 3, data[at : at + size]
        at += size


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        if at >= len(data):
            raise BrokenError("unexpected EOF")
        if shift > 63:
            raise BrokenError("proto: integer overflow")
        byte = data[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at
        shift += 7


def _message(data: bytes, of: Type, depth: int) -> dict[str, Any]:
    if depth == 0:
        raise BrokenError("exceeded max depth")
    wire = of.struct.wire
    found: dict[str, Any] = {}
    for number, value in _fields(data):
        row = wire.get(number)
        if row is None:
            continue
        if not row.name:
            found |= _message(_bytes(value), row.type, depth - 1)
        else:
            _add(found, row, value, depth)
    return found


def _add(found: dict[str, Any], row: Field, value: int | bytes, depth: int) -> None:
    of = row.type
    if of.form == "list":
        found.setdefault(row.name, []).append(_value(value, of.held, depth))
    elif of.form == "map":
        parts = dict(_fields(_bytes(value)))
        key = _bytes(parts.get(1, b"")).decode()
        found.setdefault(row.name, {})[key] = _value(parts.get(2, b""), of.held, depth)
    else:
        found[row.name] = _value(value, of, depth)


def _value(value: int | bytes, of: Type, depth: int) -> Any:  # noqa: ANN401 - any JSON value
    match of.form:
        case "struct":
            return _message(_bytes(value), of, depth - 1)
        case "list":
            return [_value(item, of.held, depth - 1) for number, item in _fields(_bytes(value)) if number == 1]
        case "bool":
            return bool(value)
        case "int":
            return _signed(value if isinstance(value, int) else 0)
        case "bytes":
            return base64.b64encode(_bytes(value)).decode()
        case "time" | "micro":
            return _time(_bytes(value))
        case "intstr":
            parts = dict(_fields(_bytes(value)))
            return _bytes(parts.get(3, b"")).decode() if parts.get(1) else _signed(_number(parts.get(2, 0)))
        case "quantity":
            return _bytes(dict(_fields(_bytes(value))).get(1, b"")).decode() or "0"
        case "fields":
            return None
    return _bytes(value).decode()


def _bytes(value: int | bytes) -> bytes:
    if not isinstance(value, bytes):
        raise BrokenError("proto: wrong wireType = 0")
    return value


def _number(value: int | bytes) -> int:
    return value if isinstance(value, int) else 0


def _signed(value: int) -> int:
    return value - 2**64 if value >= 2**63 else value


def _time(data: bytes) -> str | None:
    if not data:
        return None
    seconds = _signed(_number(dict(_fields(data)).get(1, 0)))
    try:
        moment = dt.datetime.fromtimestamp(seconds, dt.UTC)
    except (OverflowError, ValueError, OSError):
        raise BrokenError("time out of range") from None
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")
