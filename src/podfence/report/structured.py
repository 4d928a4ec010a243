# SPDX-License-Identifier: Apache-2.0
"""Documents as JSON and YAML text."""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING, Literal

import msgspec

from podfence.report import yaml
from podfence.report.values import API_VERSION

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from podfence.analysis.answers import PodConnection
    from podfence.kube.omissions import Gap

Form = Literal["json", "yaml"]


def lines(document: msgspec.Struct, form: Form, gaps: Sequence[Gap] = ()) -> Iterator[str]:
    """Yield the lines of `document`: its fields in the order of its type, indented by two spaces.

    With `gaps` it says that it is incomplete.
    """
    if gaps:
        document = msgspec.structs.replace(document, complete=False, incomplete=tuple(map(str, gaps)))
    if form == "yaml":
        yield from yaml.lines(msgspec.to_builtins(document))
    else:
        yield msgspec.json.format(msgspec.json.encode(document), indent=2).decode()


def pod_lines(connections: Iterable[PodConnection], form: Form, gaps: Sequence[Gap] = ()) -> Iterator[str]:
    """Yield the lines of a PodConnections document while `connections` come; nothing is kept.

    JSON has one line per connection, so that programs which read lines can read it as well.
    """
    return _pod_yaml(connections, gaps) if form == "yaml" else _pod_json(connections, gaps)


def _pod_json(connections: Iterable[PodConnection], gaps: Sequence[Gap]) -> Iterator[str]:
    yield "{"
    yield f'  "apiVersion": "{API_VERSION}",'
    yield '  "kind": "PodConnections",'
    yield f'  "complete": {str(not gaps).lower()},'
    yield f'  "incomplete": {msgspec.json.encode([str(gap) for gap in gaps]).decode()},'
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


def _pod_yaml(connections: Iterable[PodConnection], gaps: Sequence[Gap]) -> Iterator[str]:
    yield f"apiVersion: {API_VERSION}"
    yield "kind: PodConnections"
    yield from yaml.lines({"complete": not gaps, "incomplete": [str(gap) for gap in gaps]})
    remaining = iter(connections)
    first = next(remaining, None)
    if first is None:
        yield "items: []"
        return
    yield "items:"
    for item in chain((first,), remaining):
        yield from yaml.list_item(msgspec.to_builtins(item))
