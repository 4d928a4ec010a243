# SPDX-License-Identifier: Apache-2.0
"""Label selectors and field selectors of requests, with the API server's messages for wrong ones."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import partial
from typing import Final, Literal

from podfence.cluster.selection import holds
from podfence.kube.objects import Labels, Requirement
from podfence.kube.validation.findings import go_quote
from podfence.kube.validation.names import label_key, label_value
from podfence.lab.apiserver.fields import value_at
from podfence.lab.apiserver.status import bad_request
from podfence.lab.store.metadata import Raw

Matches = Callable[[Raw], bool]
_Term = Callable[[Labels], bool]

_TOKEN: Final = re.compile(r"\s*(?:(==|!=|=|!|<|>|\(|\)|,)|([^\s=!<>(),]+))")
_OPERATORS: Final[Mapping[str, Literal["In", "NotIn"]]] = {
    **dict.fromkeys(("=", "==", "in"), "In"),
    **dict.fromkeys(("!=", "notin"), "NotIn"),
}
_SYMBOLS: Final = frozenset("=!<>(),") | {"==", "!="}
_END: Final = ""


def _compares(key: str, operator: str, limit: int, labels: Labels) -> bool:
    value = labels.get(key)
    if value is None or not (value.isascii() and value.isdecimal()):
        return False
    return int(value) > limit if operator == ">" else int(value) < limit


def label_selector(text: str) -> Matches:
    """Return whether an object has the labels that a selector wants. Raises RefusedError."""
    terms = _Parser(text).terms()
    return lambda obj: all(term(obj["metadata"].get("labels") or {}) for term in terms)


class _Parser:
    """Reads a label selector as Kubernetes does; a keyword is an identifier wherever one is expected."""

    def __init__(self, text: str) -> None:
        self._tokens: list[str] = []
        at = 0
        while found := _TOKEN.match(text, at):
            self._tokens.append(found[1] or found[2])
            at = found.end()
        self._at = 0

    def terms(self) -> list[_Term]:
        found: list[_Term] = []
        while True:
            word = self._peek()
            if word == _END:
                return found
            if word != "!" and word in _SYMBOLS:
                raise bad_request(f"found '{word}', expected: !, identifier, or 'end of string'")
            found.append(self._term())
            word = self._take()
            if word == _END:
                return found
            if word != ",":
                raise bad_request(f"found '{word}', expected: ',' or 'end of string'")
            word = self._peek()
            if word != "!" and (word == _END or word in _SYMBOLS):
                raise bad_request(f"found '{word}', expected: identifier after ','")

    def _term(self) -> _Term:
        word = self._take()
        absent = word == "!"
        if absent:
            word = self._take()
        if word == _END or word in _SYMBOLS:
            raise self._wrong(f"found '{word}', expected: identifier")
        for message in label_key(word):
            raise self._wrong(f"<nil>: Invalid value: {go_quote(word)}: {message}")
        if absent:
            return partial(holds, Requirement(word, "DoesNotExist"))
        if self._peek() in (_END, ","):
            return partial(holds, Requirement(word, "Exists"))
        operator = self._take()
        if operator not in (*_OPERATORS, ">", "<"):
            raise self._wrong(f"found '{operator}', expected: in, notin, =, ==, !=, gt, lt")
        values = self._list() if operator in ("in", "notin") else [self._one()]
        for index, value in enumerate(values):
            for message in label_value(value):
                raise self._wrong(f"values[{index}][{word}]: Invalid value: {go_quote(value)}: {message}")
        if operator not in ("<", ">"):
            return partial(holds, Requirement(word, _OPERATORS[operator], tuple(values)))
        if not (values[0].isascii() and values[0].isdecimal()):
            wanted = "for 'Gt', 'Lt' operators, the value must be an integer"
            raise self._wrong(f"values[0]: Invalid value: {go_quote(values[0])}: {wanted}")
        return partial(_compares, word, operator, int(values[0]))

    def _one(self) -> str:
        if self._peek() in (_END, ","):
            return ""
        word = self._take()
        if word in _SYMBOLS:
            raise self._wrong(f"found '{word}', expected: identifier")
        return word

    def _list(self) -> list[str]:
        word = self._take()
        if word != "(":
            raise self._wrong(f"found '{word}', expected: '('")
        values: list[str] = []
        while True:
            word = self._take()
            if word in (",", ")"):
                values.append("")
                if word == ")":
                    return values
                continue
            if word == _END or word in _SYMBOLS:
                raise self._wrong(f"found '{word}', expected: ',', ')' or identifier")
            values.append(word)
            word = self._take()
            if word == ")":
                return values
            if word != ",":
                raise self._wrong(f"found '{word}', expected: ',' or ')'")

    def _peek(self) -> str:
        return self._tokens[self._at] if self._at < len(self._tokens) else _END

    def _take(self) -> str:
        word = self._peek()
        self._at += 1
        return word

    @staticmethod
    def _wrong(message: str) -> Exception:
        return bad_request(f"unable to parse requirement: {message}")


_FIELDS: Final[Mapping[str, tuple[str, ...]]] = {
    "Pod": (
        *("spec.nodeName", "spec.restartPolicy", "spec.schedulerName", "spec.serviceAccountName"),
        *("spec.hostNetwork", "status.phase", "status.podIP", "status.podIPs", "status.nominatedNodeName"),
    ),
    "Event": (
        *(f"involvedObject.{key}" for key in ("kind", "namespace", "name", "uid", "apiVersion")),
        *("involvedObject.resourceVersion", "involvedObject.fieldPath", "reason", "reportingComponent"),
        *("source", "type"),
    ),
    "Namespace": ("status.phase",),
    "Node": ("spec.unschedulable",),
    "Secret": ("type",),
    "Service": ("spec.clusterIP", "spec.type"),
    "ReplicaSet": ("status.replicas",),
    "ReplicationController": ("status.replicas",),
    "Job": ("status.successful",),
}
_FALSE_UNLESS_SET: Final = frozenset({"spec.hostNetwork", "spec.unschedulable"})


def field_selector(text: str, kind: str) -> Matches:
    """Return whether an object has the fields that a selector wants. Raises RefusedError."""
    terms = [_field_term(part, kind) for part in re.split(r"(?<!\\),", text) if part]
    return lambda obj: all((_field(obj, path) == value) is equal for path, value, equal in terms)


def _field_term(part: str, kind: str) -> tuple[str, str, bool]:
    found = re.fullmatch(r"(.*?)(!=|==|=)(.*)", part, re.DOTALL)
    if not found:
        raise bad_request(f"invalid selector: '{part}'; can't understand '{part}'")
    path, operator, value = found.groups()
    if path not in ("metadata.name", "metadata.namespace", *_FIELDS.get(kind, ())):
        if kind in _FIELDS:
            raise bad_request(f"field label not supported: {path}")
        known = 'only "metadata.name", "metadata.namespace"'
        raise bad_request(f"{go_quote(path)} is not a known field selector: {known}")
    return path, re.sub(r"\\(.)", r"\1", value), operator != "!="


def _field(obj: Raw, path: str) -> str:
    if path == "source":
        return str((obj.get("source") or {}).get("component", ""))
    if path == "status.podIPs":
        path = "status.podIP"
    value = value_at(obj, path.replace("status.successful", "status.succeeded"))
    if value is None:
        return "false" if path in _FALSE_UNLESS_SET else "0" if path.startswith("status.repl") else ""
    return str(value).lower() if isinstance(value, bool) else str(value)
