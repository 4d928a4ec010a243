# SPDX-License-Identifier: Apache-2.0
"""Answers as JSON and YAML documents."""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING

import msgspec

from podfence.documents import API_VERSION
from podfence.report import yaml_text
from podfence.report.documents import ABOUT_A_CLUSTER, PodConnections
from podfence.report.style import PAGE

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from podfence.analysis.answers import PodConnection
    from podfence.report.style import Page


def json_lines(answer: msgspec.Struct, page: Page = PAGE) -> Iterator[str]:
    """Yield an answer as JSON: its fields in the order of its type, indented by two spaces."""
    encoded = msgspec.json.encode(answer)
    head = msgspec.json.encode(_head(type(answer), page))
    encoded = head[:-1] + (b"," if len(encoded) > len(b"{}") else b"") + encoded[1:]
    yield msgspec.json.format(encoded, indent=2).decode()


def yaml_lines(answer: msgspec.Struct, page: Page = PAGE) -> Iterator[str]:
    """Yield the lines of an answer as YAML, the same facts in the same order."""
    yield from yaml_text.lines(_head(type(answer), page) | msgspec.to_builtins(answer))


def _head(answer: type[msgspec.Struct], page: Page) -> dict[str, object]:
    """Return what a document begins with."""
    head: dict[str, object] = {"apiVersion": API_VERSION, "kind": answer.__name__}
    if answer in ABOUT_A_CLUSTER:
        head |= {"complete": not page.gaps, "incomplete": list(page.gaps), "assumes": list(page.assumes)}
    return head


def pods_json(connections: Iterable[PodConnection], page: Page = PAGE) -> Iterator[str]:
    """Yield the lines of a PodConnections document while `connections` come; nothing is kept.

    It has one line per connection, so that programs which read lines can read it as well.
    """
    yield "{"
    for name, value in _head(PodConnections, page).items():
        yield f'  "{name}": {msgspec.json.encode(value).decode()},'
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


def pods_yaml(connections: Iterable[PodConnection], page: Page = PAGE) -> Iterator[str]:
    """Yield the lines of a PodConnections document while `connections` come; nothing is kept."""
    yield from yaml_text.lines(_head(PodConnections, page))
    remaining = iter(connections)
    first = next(remaining, None)
    if first is None:
        yield "items: []"
        return
    yield "items:"
    for item in chain((first,), remaining):
        yield from yaml_text.list_item(msgspec.to_builtins(item))
