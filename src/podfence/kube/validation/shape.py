# SPDX-License-Identifier: Apache-2.0
"""All wrong types and unknown fields of one object at once, and the rest of it.

The quick decoder stops at the first wrong type, as the API server does (semantics 9.10); this one is
asked when it failed. It drops what cannot be read, so that validation can go on with what is left.

In kinds whose other fields are not looked at, a field may look like a misspelt one that matters. A server drops a field
it does not know, with a warning at most; a pod whose ``lables`` are dropped is selected by other policies than its
author thinks.
"""

from __future__ import annotations

from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

from msgspec import inspect, structs

from podfence.errors import nearest
from podfence.kube import wire
from podfence.kube.findings import Code, Finding, MapKey, Severity, field_text
from podfence.kube.validation.findings import Findings, go_quote

if TYPE_CHECKING:
    from collections.abc import Collection

    from podfence.kube.origin import Path
    from podfence.kube.registry import Kind

_CONFUSED = {
    ("IngressRule", "to"): "from",
    ("IngressRule", "peers"): "from",
    ("EgressRule", "from"): "to",
    ("EgressRule", "peers"): "to",
    ("IngressRule", "port"): "ports",
    ("EgressRule", "port"): "ports",
    ("IngressRule", "toPorts"): "ports",
    ("EgressRule", "toPorts"): "ports",
    ("IngressRule", "fromPorts"): "ports",
    ("Peer", "pods"): "podSelector",
    ("Peer", "selector"): "podSelector",
    ("Peer", "cidr"): "ipBlock",
    ("Port", "number"): "port",
    ("Port", "targetPort"): "port",
    ("PolicySpec", "selector"): "podSelector",
    ("PolicySelector", "labels"): "matchLabels",
    ("PolicySelector", "expressions"): "matchExpressions",
    ("PolicyRequirement", "op"): "operator",
}
_BY_LABEL = "select it by its label: namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: NAME}}"
_MISPLACED = {
    ("Peer", "namespace"): _BY_LABEL,
    ("Peer", "namespaces"): _BY_LABEL,
    ("Peer", "matchLabels"): "put it under podSelector or namespaceSelector",
    ("Peer", "matchExpressions"): "put it under podSelector or namespaceSelector",
    ("Peer", "except"): "put it under ipBlock",
    ("Peer", "ports"): "put it beside the list of peers, not inside it",
    ("Peer", "port"): "write ports beside the list of peers, not inside it",
    ("PolicySpec", "spec"): "move its content one level up",
    ("PolicySpec", "ports"): "put it inside an item of ingress or egress",
    ("PolicySpec", "from"): "put it inside an item of ingress",
    ("PolicySpec", "to"): "put it inside an item of egress",
    ("NetworkPolicy", "status"): "remove it: policies have no status",
    ("NetworkPolicy", "podSelector"): "put it under spec",
    ("NetworkPolicy", "ingress"): "put it under spec",
    ("NetworkPolicy", "egress"): "put it under spec",
    ("NetworkPolicy", "policyTypes"): "put it under spec",
    ("StrictMeta", "podSelector"): "put it under spec",
}


class _Level(NamedTuple):
    """The fields of a mapping that podfence reads, and what is in those of them that are lists of mappings."""

    known: frozenset[str]
    lists: dict[str, _Level] = {}


_METADATA = _Level(frozenset(field.encode_name for field in structs.fields(wire.StrictMeta)))
_CONTAINER_PORT = _Level(frozenset({"containerPort", "name", "protocol"}))
_CONTAINER = _Level(frozenset({"ports", "restartPolicy"}), {"ports": _CONTAINER_PORT})
_POD_SPEC = _Level(
    frozenset({"containers", "hostNetwork", "initContainers", "nodeName"}),
    {"containers": _CONTAINER, "initContainers": _CONTAINER},
)
_SERVICE_PORT = _Level(frozenset({"appProtocol", "name", "nodePort", "port", "protocol", "targetPort"}))
_SERVICE_SPEC = _Level(frozenset({"ports", "selector", "type"}), {"ports": _SERVICE_PORT})

_NEAR = 0.7
_NEARER = 0.8
_TYPES: dict[type[inspect.Type], tuple[type, str]] = {
    inspect.StructType: (dict, "a mapping"),
    inspect.DictType: (dict, "a mapping"),
    inspect.ListType: (list, "a list"),
    inspect.StrType: (str, "a string"),
    inspect.BoolType: (bool, "true or false"),
    # A field of type `object`.
    inspect.CustomType: (object, "anything"),
}
_WORDS = ("cidr", "except", "operator", "policyTypes", "protocol")


def examine(value: object, wanted: type, findings: Findings) -> object:
    """Return `value` without what `wanted` cannot hold, adding a finding for everything dropped."""
    return _Walk(findings).visit(value, _shape(wanted), ())


_shape = cache(inspect.type_info)


class _Walk:
    def __init__(self, findings: Findings) -> None:
        self.findings = findings

    def visit(self, value: object, shape: inspect.Type, path: Path) -> Any:  # noqa: ANN401 - any JSON value
        if value is None or isinstance(shape, inspect.AnyType):
            return value
        choices = _alternatives(shape)
        for choice in choices:
            if _fits(value, choice):
                return self._inside(value, choice, path)
        self._refuse(value, choices, path)
        return None

    def _inside(self, value: Any, shape: inspect.Type, path: Path) -> object:  # noqa: ANN401 - any JSON value
        match shape:
            case inspect.StructType():
                return self._struct(value, shape, path)
            case inspect.DictType():
                return {key: self.visit(item, shape.value_type, (*path, MapKey(key))) for key, item in value.items()}
            case inspect.ListType():
                return [self.visit(item, shape.item_type, (*path, index)) for index, item in enumerate(value)]
            case inspect.IntType():
                return int(value)
        return value

    def _struct(self, value: dict[str, Any], shape: inspect.StructType, path: Path) -> dict[str, object]:
        fields = {field.encode_name: field.type for field in shape.fields}
        kept: dict[str, object] = {}
        for key, item in value.items():
            if key in fields:
                kept[key] = self.visit(item, fields[key], (*path, key))
            elif shape.forbid_unknown_fields:
                self.findings.append(_unknown(shape.cls.__name__, key, fields, (*path, key)))
        return kept

    def _refuse(self, value: object, choices: tuple[inspect.Type, ...], path: Path) -> None:
        if isinstance(value, float) and value.is_integer() and abs(value) < 2**63:
            value = int(value)
        wanted = " or ".join(_wanted(choice, value) for choice in choices)
        self.findings.append(
            Finding(
                code=Code.WRONG_TYPE,
                path=path,
                message=f"expected {wanted}, found {found(value)}",
                remedy=_remedy(value, choices, path),
            )
        )


def _alternatives(shape: inspect.Type) -> tuple[inspect.Type, ...]:
    if isinstance(shape, inspect.UnionType):
        return tuple(part for part in shape.types if not isinstance(part, inspect.NoneType))
    return (shape,)


def _fits(value: object, shape: inspect.Type) -> bool:
    if not isinstance(shape, inspect.IntType):
        return isinstance(value, _TYPES[type(shape)][0])
    low, high = _range(shape)
    if not isinstance(value, int | float) or isinstance(value, bool):
        return False
    return low <= value <= high and value == int(value)


def _range(shape: inspect.IntType) -> tuple[int, int]:
    low = -(2**63) if shape.ge is None else shape.ge
    high = 2**63 - 1 if shape.le is None else shape.le
    return low, high


def _wanted(shape: inspect.Type, value: object) -> str:
    if not isinstance(shape, inspect.IntType):
        return _TYPES[type(shape)][1]
    if isinstance(value, float):
        return "a whole number"
    if isinstance(value, int) and not isinstance(value, bool):
        return "a number from {} to {}".format(*_range(shape))
    return "a number"


def found(value: object) -> str:
    """Return how a message calls a value that was not expected."""
    match value:
        case None:
            return "null"
        case bool():
            return "true" if value else "false"
        case str():
            return f"the string {go_quote(value)}"
        case int() | float():
            return f"the number {value}"
        case list():
            return "a list"
    return "a mapping"


def _remedy(value: object, choices: tuple[inspect.Type, ...], path: Path) -> str:
    kinds = tuple(type(choice) for choice in choices)
    if isinstance(value, str):
        if inspect.IntType in kinds and value.isascii() and value.isdecimal():
            return "remove the quotes"
        if inspect.BoolType in kinds and value in ("true", "false"):
            return "remove the quotes"
        if isinstance(choices[0], inspect.ListType) and _holds_texts(choices[0]):
            return f"write [{go_quote(value)}]"
        return ""
    if isinstance(value, bool | int | float) and kinds == (inspect.StrType,):
        return "" if _has_own_words(path) else "put it in quotes"
    if isinstance(value, dict) and inspect.ListType in kinds:
        return "start its first line with a dash"
    if isinstance(value, list) and (inspect.StructType in kinds or inspect.DictType in kinds):
        return "remove the dash" if len(value) == 1 and isinstance(value[0], dict) else ""
    return ""


def _has_own_words(path: Path) -> bool:
    """Return whether the field takes certain words only, so that quotes would not help."""
    return any(step in _WORDS for step in path[-2:] if not isinstance(step, MapKey))


def _holds_texts(shape: inspect.ListType) -> bool:
    return any(isinstance(part, inspect.StrType) for part in _alternatives(shape.item_type))


def _unknown(struct: str, key: str, known: Collection[str], path: Path) -> Finding:
    meant = _MISPLACED.get((struct, key), "") or _suggest(struct, key, known)
    if (struct, key) in _MISPLACED:
        remedy = meant
    elif meant:
        remedy = f"did you mean {meant}?"
    elif struct == "PolicySelector":
        meant, remedy = "matchLabels", "labels go under matchLabels"
    else:
        remedy = f"the fields here are {', '.join(known)}"
    return Finding(
        code=Code.UNKNOWN_FIELD,
        path=path,
        at_key=True,
        message=f"unknown field {go_quote(field_text(path))}",
        remedy=remedy,
        meant=meant,
    )


def _suggest(struct: str, key: str, known: Collection[str]) -> str:
    if (struct, key) in _CONFUSED:
        return _CONFUSED[struct, key]
    plain = {name.lower(): name for name in known}
    if key.lower() in plain:
        return plain[key.lower()]
    return plain.get(nearest(key.lower(), plain, _NEAR), "")


def near_misses(value: dict[str, Any], kind: Kind) -> Findings:
    """Return a warning for each field of an object that is nearly one podfence reads."""
    findings = Findings()
    _look(value.get("metadata"), _METADATA, ("metadata",), findings)
    if kind.name == "Service":
        _look(value.get("spec"), _SERVICE_SPEC, ("spec",), findings)
    if kind.template is not None:
        template: Any = value
        for step in kind.template:
            template = template.get(step) if isinstance(template, dict) else None
        if isinstance(template, dict):
            if kind.template:
                _look(template.get("metadata"), _METADATA, (*kind.template, "metadata"), findings)
            _look(template.get("spec"), _POD_SPEC, (*kind.template, "spec"), findings)
    return findings


def _look(value: object, level: _Level, path: Path, findings: Findings) -> None:
    if not isinstance(value, dict):
        return
    for key, item in value.items():
        place = (*path, key)
        if key not in level.known and (meant := _meant(key, level.known)):
            findings.append(
                Finding(
                    code=Code.UNKNOWN_FIELD,
                    path=place,
                    at_key=True,
                    severity=Severity.WARNING,
                    message=f"unknown field {go_quote(field_text(place))} is ignored",
                    remedy=f"did you mean {meant}?",
                )
            )
        if key in level.lists and isinstance(item, list):
            for index, member in enumerate(item):
                _look(member, level.lists[key], (*place, index), findings)


@lru_cache(maxsize=4096)
def _meant(key: str, known: frozenset[str]) -> str:
    """Return the known field that a key is most likely meant to be, "" if it is like none."""
    for name in known:
        if name.lower() == key.lower():
            return name
    return nearest(key, sorted(known), _NEARER)
