# SPDX-License-Identifier: Apache-2.0
"""The OpenAPI v2 document that kubectl asks for before it applies a List: which kinds there are, and no fields.

kubectl reads it as protobuf only. What it does not say of fields, kubectl leaves to the server.
"""

from __future__ import annotations

import hashlib
from functools import cache
from typing import Final

from podfence.lab.store.resources import RESOURCES

CONTENT_TYPE: Final = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf"

_SWAGGER, _INFO, _DEFINITIONS = 1, 2, 9
_TITLE, _VERSION = 1, 2
_NAME, _VALUE = 1, 2
_ITEMS: Final = 1
_EXTENSION: Final = 31
_YAML: Final = 2


@cache
def document() -> bytes:
    """Return the document."""
    definitions = b"".join(
        _field(_ITEMS, _field(_NAME, f"{row.version}.{row.group}.{row.kind}".encode()) + _field(_VALUE, _schema(kind)))
        for row in RESOURCES.values()
        for kind in (f"- group: {row.group}\n  kind: {row.kind}\n  version: {row.version}\n",)
    )
    info = _field(_TITLE, b"Kubernetes") + _field(_VERSION, b"unversioned")
    return _field(_SWAGGER, b"2.0") + _field(_INFO, info) + _field(_DEFINITIONS, definitions)


def etag() -> str:
    """Return a tag that changes with the document."""
    return f'"{hashlib.sha256(document()).hexdigest().upper()}"'


def _schema(kind: str) -> bytes:
    """Return a schema of which nothing is said but its kind, as YAML."""
    value = _field(_NAME, b"x-kubernetes-group-version-kind") + _field(_VALUE, _field(_YAML, kind.encode()))
    return _field(_EXTENSION, value)


def _field(number: int, value: bytes) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(value)) + value


def _varint(value: int) -> bytes:
    found = bytearray()
    while value > 127:
        found.append(value & 127 | 128)
        value >>= 7
    found.append(value)
    return bytes(found)
