# SPDX-License-Identifier: Apache-2.0
"""Documents as JSON and YAML text."""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING, Literal

import msgspec

from podfence.report import yaml
from podfence.report.values import API_VERSION

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from podfence.analysis.answers import PodConnection

Form = Literal["json", "yaml"]


def lines(document: msgspec.Struct, form: Form) -> Iterator[str]:
    """Yield the lines of `document`: its fields in the order of its type, indented by two spaces."""
    if form == "yaml":
        yield from yaml.lines(msgspec.to_builtins(document))
    else:
        yield msgspec.json.format(msgspec.json.encode(document), indent=2).decode()


def pod_lines(connections: Iterable[PodConnection], form: Form) -> Iterator[str]:
    """Yield the lines of a PodConnections document while `connections` come; nothing is kept.

    JSON has one line per connection, so that programs which read lines can read it as well.
    """
    return _pod_yaml(connections) if form == "yaml" else _pod_json(connections)


def _pod_json(connections: Iterable[PodConnection]) -> Iterator[str]:
    yield "{"
    yield f'  "apiVersion": "{API_VERSION}",'
    yield '  "kind": "PodConnections",'
    yield '  "items": ['
    encode = msgspec.json.Encoder().encode
    before = ""
    for item in connections:
        if before:
            yield before + ","
        before = "    " + msgspec.json.format(encode(item), indent=0).decode()
    if before:
        yield before
    yield "  ]"
    yield "}"


def _pod_yaml(connections: Iterable[PodConnection]) -> Iterator[str]:
    yield f"apiVersion: {API_VERSION}"
    yield "kind: PodConnections"
    remaining = iter(connections)
    first = next(remaining, None)
    if first is None:
        yield "items: []"
        return
    yield "items:"
    for item in chain((first,), remaining):
        yield from yaml.list_item(msgspec.to_builtins(item))
