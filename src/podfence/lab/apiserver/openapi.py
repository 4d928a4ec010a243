# SPDX-License-Identifier: Apache-2.0
"""OpenAPI documents: what kubectl asks before it applies, and what `kubectl explain` prints.

Those of version 3 have the names and types of all fields, and no descriptions. That of version 2, which kubectl asks
for before it applies a List, says which kinds there are. kubectl reads it as protobuf only; what it does not say of
fields, kubectl leaves to the server.
"""

from __future__ import annotations

import hashlib
from functools import cache
from typing import TYPE_CHECKING, Final

import msgspec

from podfence.lab.apiserver.fields import kind_type
from podfence.lab.apiserver.objects import PATCHES
from podfence.lab.store.resources import RESOURCES

if TYPE_CHECKING:
    from podfence.lab.apiserver.fields import Field, Type
    from podfence.lab.store.metadata import Raw
    from podfence.lab.store.resources import Resource


_FORMS: Final[dict[str, Raw]] = {
    "string": {"type": "string"},
    "bool": {"type": "boolean"},
    "bytes": {"type": "string", "format": "byte"},
    "time": {"type": "string", "format": "date-time"},
    "micro": {"type": "string", "format": "date-time"},
    "quantity": {"oneOf": [{"type": "string"}, {"type": "number"}]},
    "intstr": {"oneOf": [{"type": "integer"}, {"type": "string"}], "format": "int-or-string"},
    "fields": {"type": "object"},
}
_NAMED: Final[dict[str, str]] = {
    "time": "io.k8s.apimachinery.pkg.apis.meta.v1.Time",
    "micro": "io.k8s.apimachinery.pkg.apis.meta.v1.MicroTime",
    "quantity": "io.k8s.apimachinery.pkg.api.resource.Quantity",
    "intstr": "io.k8s.apimachinery.pkg.util.intstr.IntOrString",
}
_VALIDATION: Final = {"name": "fieldValidation", "in": "query", "schema": {"type": "string", "uniqueItems": True}}
_PLACES: Final = {
    name: {"name": name, "in": "path", "required": True, "schema": {"type": "string", "uniqueItems": True}}
    for name in ("namespace", "name")
}
KINDS_TYPE: Final = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf"
"""The content type of the document of version 2; below are the numbers of its fields."""

_SWAGGER, _INFO, _DEFINITIONS = 1, 2, 9
_TITLE, _VERSION = 1, 2
_NAME, _VALUE = 1, 2
_ITEMS: Final = 1
_EXTENSION: Final = 31
_YAML: Final = 2
_DRY_RUN: Final = {"name": "dryRun", "in": "query", "schema": {"type": "string", "uniqueItems": True}}


@cache
def index() -> bytes:
    """Return the answer to ``/openapi/v3``: the documents, and a digest of each."""
    paths = {}
    for version in dict.fromkeys(row.api_version for row in RESOURCES.values()):
        path = _path(version)
        digest = hashlib.sha256(document(path)).hexdigest().upper()
        paths[path] = {"serverRelativeURL": f"/openapi/v3/{path}?hash={digest}"}
    return msgspec.json.encode({"paths": paths})


@cache
def document(path: str) -> bytes:
    """Return the document of an API version, by its path such as ``apis/apps/v1``. Raises KeyError."""
    rows = [row for row in RESOURCES.values() if _path(row.api_version) == path]
    if not rows:
        raise KeyError(path)
    schemas: Raw = {}
    paths: Raw = {}
    for row in rows:
        name = _add(kind_type(row.group, row.kind), schemas)
        kind = {"group": row.group, "kind": row.kind, "version": row.version}
        own = name if row.api_version.endswith("/v1") or not row.group else f"{name}.{row.version}"
        schemas[own] = {**schemas[name], "x-kubernetes-group-version-kind": [kind]}
        properties = {"apiVersion": _FORMS["string"], "kind": _FORMS["string"], **schemas[own]["properties"]}
        schemas[own]["properties"] = properties
        paths |= _paths(row, path, kind, own)
    found = {
        "openapi": "3.0.0",
        "info": {"title": "Kubernetes", "version": "unversioned"},
        "paths": paths,
        "components": {"schemas": schemas},
    }
    return msgspec.json.encode(found)


def _path(api_version: str) -> str:
    return f"apis/{api_version}" if "/" in api_version else f"api/{api_version}"


def _paths(row: Resource, path: str, kind: Raw, name: str) -> Raw:
    content = {"application/json": {"schema": {"$ref": f"#/components/schemas/{name}"}}}
    found = {"200": {"description": "OK", "content": content}}
    base = f"/{path}/namespaces/{{namespace}}/{row.plural}" if row.namespaced else f"/{path}/{row.plural}"

    def operation(verb: str, *, writes: bool) -> Raw:
        shown: Raw = {"responses": found, "x-kubernetes-action": verb, "x-kubernetes-group-version-kind": kind}
        if writes:
            shown["parameters"] = [_DRY_RUN, _VALIDATION]
            kinds = PATCHES if verb == "patch" else ("*/*",)
            shown["requestBody"] = {"content": dict.fromkeys(kinds, content["application/json"])}
        return shown

    one = {"get": operation("get", writes=False), "delete": operation("delete", writes=False)}
    one |= {"put": operation("put", writes=True), "patch": operation("patch", writes=True)}
    inside = [_PLACES["namespace"]] if row.namespaced else []
    all_of_them = {"get": operation("list", writes=False), "post": operation("post", writes=True)}
    return {
        base: {**all_of_them, "parameters": inside},
        f"{base}/{{name}}": {**one, "parameters": [*inside, _PLACES["name"]]},
    }


def _schema_name(of: Type) -> str:
    package, _, name = of.item.rpartition(".")
    place = "apimachinery.pkg.apis.meta.v1" if package == "meta/v1" else f"api.{package.replace('/', '.')}"
    return f"io.k8s.{place}.{name}"


def _add(of: Type, schemas: Raw) -> str:
    """Add a struct and all that it holds to schemas; return its name there."""
    name = _schema_name(of)
    if name in schemas:
        return name
    found: Raw = {"type": "object"}
    schemas[name] = found
    fields = of.struct.fields
    found["properties"] = {key: _property(row, schemas) for key, row in fields.items()}
    if required := [key for key, row in fields.items() if row.required]:
        found["required"] = required
    if of.struct.whole:
        found["x-kubernetes-map-type"] = "atomic"
    return name


def _property(row: Field, schemas: Raw) -> Raw:
    found = dict(_value(row.type, schemas))
    if row.type.form == "list":
        found["x-kubernetes-list-type"] = "map" if row.keys else "set" if row.is_set else "atomic"
        if row.keys:
            found["x-kubernetes-list-map-keys"] = list(row.keys)
    if row.merge is not None:
        found["x-kubernetes-patch-strategy"] = "merge,retainKeys" if row.retain else "merge"
        if row.merge:
            found["x-kubernetes-patch-merge-key"] = row.merge
    if row.whole and "allOf" not in found:
        found["x-kubernetes-map-type"] = "atomic"
    return found


def _value(of: Type, schemas: Raw) -> Raw:
    match of.form:
        case "struct":
            return {"allOf": [{"$ref": f"#/components/schemas/{_add(of, schemas)}"}], "default": {}}
        case "list":
            return {"type": "array", "items": _value(of.held, schemas)}
        case "map":
            return {"type": "object", "additionalProperties": _value(of.held, schemas)}
        case "int":
            return {"type": "integer", "format": f"int{of.bits}"}
    if of.form in _NAMED:
        name = _NAMED[of.form]
        schemas[name] = _FORMS[of.form]
        return {"allOf": [{"$ref": f"#/components/schemas/{name}"}]}
    return _FORMS[of.form]


@cache
def kinds() -> bytes:
    """Return the document of version 2."""
    definitions = b"".join(
        _part(_ITEMS, _part(_NAME, f"{row.version}.{row.group}.{row.kind}".encode()) + _part(_VALUE, _schema(kind)))
        for row in RESOURCES.values()
        for kind in (f"- group: {row.group}\n  kind: {row.kind}\n  version: {row.version}\n",)
    )
    info = _part(_TITLE, b"Kubernetes") + _part(_VERSION, b"unversioned")
    return _part(_SWAGGER, b"2.0") + _part(_INFO, info) + _part(_DEFINITIONS, definitions)


def _schema(kind: str) -> bytes:
    """Return a schema of which nothing is said but its kind, as YAML."""
    value = _part(_NAME, b"x-kubernetes-group-version-kind") + _part(_VALUE, _part(_YAML, kind.encode()))
    return _part(_EXTENSION, value)


def _part(number: int, value: bytes) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(value)) + value


def _varint(value: int) -> bytes:
    return bytes((value,)) if value < 128 else bytes((value & 127 | 128,)) + _varint(value >> 7)
