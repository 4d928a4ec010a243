# SPDX-License-Identifier: Apache-2.0
"""Objects of a lab as ``kubectl describe`` shows them: NetworkPolicies in its words, others field by field."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from podfence.lab.apiserver.cells import selector

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    Raw = Mapping[str, Any]

_NONE: Final = "<none>"
_INDENT: Final = "  "
_WORD: Final = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_ACRONYMS: Final = ("API", "URL", "UID", "OSB", "GUID")
_EVERY_POD: Final = "<none> (Allowing the specific traffic to all pods in this namespace)"
_SHOWN_BEFORE: Final = ("name", "namespace", "labels", "annotations", "managedFields")


def lines(item: Raw) -> Iterator[str]:
    """Yield the lines for an object as the API server gives it."""
    meta: Raw = item["metadata"]
    is_policy = item["kind"] == "NetworkPolicy"
    fields = [("Name", [meta["name"]]), ("Namespace", [meta.get("namespace", "")])]
    if is_policy:
        when = str(meta.get("creationTimestamp", "")).replace("T", " ").replace("Z", " +0000 UTC")
        fields.append(("Created on", [when]))
    fields.append(("Labels", _pairs(meta.get("labels"), "=")))
    fields.append(("Annotations", _pairs(meta.get("annotations"), ": ")))
    if not is_policy:
        fields += [("API Version", [item["apiVersion"]]), ("Kind", [item["kind"]])]
    for name, values in fields:
        yield f"{name + ':':<13} {values[0]}".rstrip()
        yield from (f"{'':14}{value}" for value in values[1:])
    if is_policy:
        yield "Spec:"
        yield from (_INDENT + line for line in _policy(item["spec"]))
        return
    rest = {"metadata": {key: value for key, value in meta.items() if key not in _SHOWN_BEFORE}}
    rest |= {key: value for key, value in item.items() if key not in ("apiVersion", "kind", "metadata")}
    yield from _fields(rest)


def _pairs(found: Mapping[str, str] | None, between: str) -> list[str]:
    return [f"{key}{between}{value}" for key, value in sorted((found or {}).items())] or [_NONE]


def _fields(value: Raw, indent: str = "") -> Iterator[str]:
    """Yield the fields of a mapping in order of their names, with the values of neighbours in one column."""
    names = {key: f"{_title(key)}:" for key in sorted(value)}
    plain = [name for key, name in names.items() if not isinstance(value[key], dict | list)]
    width = max(map(len, plain), default=0) + 2
    for key, name in names.items():
        item = value[key]
        if isinstance(item, dict):
            yield indent + name
            yield from _fields(item, indent + _INDENT)
        elif isinstance(item, list):
            yield indent + name
            yield from _items(item, indent + _INDENT)
        else:
            yield f"{indent}{name:<{width}}{_scalar(item)}".rstrip()


def _title(key: str) -> str:
    """Return the name of a field as words, as kubectl splits it."""
    words = _WORD.sub(" ", key).split(" ")
    return " ".join(word.upper() if word.upper() in _ACRONYMS else word[:1].upper() + word[1:] for word in words)


def _items(items: Sequence[Any], indent: str) -> Iterator[str]:
    for item in items:
        if isinstance(item, dict):
            yield from _fields(item, indent)
        else:
            yield f"{indent}{_scalar(item)}"


def _scalar(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else _NONE if value is None else str(value)


def _policy(spec: Raw) -> Iterator[str]:
    pods = selector(spec.get("podSelector"))
    yield f"PodSelector:     {_EVERY_POD if pods == _NONE else pods}"
    types: Sequence[str] = spec.get("policyTypes") or ()
    for direction, field, end in (("ingress", "from", "From"), ("egress", "to", "To")):
        if direction.capitalize() not in types:
            yield f"Not affecting {direction} traffic"
            continue
        yield f"Allowing {direction} traffic:"
        rules = spec.get(direction) or ()
        if not rules:
            yield f"{_INDENT}<none> (Selected pods are isolated for {direction} connectivity)"
        for number, rule in enumerate(rules):
            if number:
                yield f"{_INDENT}----------"
            yield from (_INDENT + line for line in _rule(rule, field, end))
    yield f"Policy Types: {', '.join(types)}"


def _rule(rule: Raw, field: str, end: str) -> Iterator[str]:
    for port in rule.get("ports") or ():
        last = f"-{port['endPort']}" if "endPort" in port else ""
        name = "To Port Range" if last else "To Port"
        yield f"{name}: {port.get('port', '<nil>')}{last}/{port.get('protocol', 'TCP')}"
    if not rule.get("ports"):
        yield "To Port: <any> (traffic allowed to all ports)"
    for peer in rule.get(field) or ():
        yield f"{end}:"
        if block := peer.get("ipBlock"):
            yield f"{_INDENT}IPBlock:"
            yield f"{_INDENT * 2}CIDR: {block['cidr']}"
            yield f"{_INDENT * 2}Except: {', '.join(block.get('except') or ())}"
        for key, name in (("namespaceSelector", "NamespaceSelector"), ("podSelector", "PodSelector")):
            if key in peer:
                yield f"{_INDENT}{name}: {selector(peer[key])}"
    if not rule.get(field):
        whom = "source" if field == "from" else "destination"
        yield f"{end}: <any> (traffic not restricted by {whom})"
