# SPDX-License-Identifier: Apache-2.0
"""Connectivity for people: one line per connection, then what the names of sets stand for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from podfence.report import columns
from podfence.report.counts import counted
from podfence.report.style import PAGE

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from podfence.analysis.answers import Connection, Connectivity, Endpoints, PodConnection
    from podfence.report.style import Page

_HEADER = ("SOURCE", "", "DESTINATION", "PORTS", "DEPENDS")
_GAPS = (" ", " ", "  ", "  ")
_ARROW_COLUMN, _DEPENDS_COLUMN = 1, 4


def connectivity(answer: Connectivity, page: Page = PAGE) -> Iterator[str]:
    """Yield the lines of `answer`."""
    width, style = page
    depends = any(connection.depends for connection in answer.connections)
    rows = [_row(connection, with_depends=depends) for connection in answer.connections]
    size = 5 if depends else 4

    def paint(column: int, text: str) -> str:
        if column == _DEPENDS_COLUMN:
            return style.decision("depends", text)
        return style.faint(text) if column == _ARROW_COLUMN else text

    header = _HEADER[:size] if width is not None else ()
    yield from columns.lines(rows, header=header, gaps=_GAPS[: size - 1], width=width, style=style, paint=paint)
    definitions = [columns.paragraph(text, width) for text in definition_lines(answer)]
    if definitions:
        yield ""
        yield from definitions


def pods(connections: Iterable[PodConnection], page: Page = PAGE) -> Iterator[str]:
    """Yield one line per connection as it comes; nothing is kept, so nothing is aligned."""
    style = page.style
    arrow = style.faint("->")
    for item in connections:
        depends = f"  {style.decision('depends', f'depends on {item.depends}')}" if item.depends else ""
        yield f"{item.source} {arrow} {item.destination}  {item.ports}{depends}"


def definition_lines(answer: Connectivity) -> list[str]:
    """Return what "open pods" and the groups of `answer` stand for, as far as its connections use them."""
    sources = _used(answer, [connection.sources for connection in answer.connections])
    destinations = _used(answer, [connection.destinations for connection in answer.connections])
    names = {name for item in (*sources, *destinations) for name in item.groups}
    texts = [f"{group.name} = {group.members}" for group in answer.groups if group.name in names]
    if any(item.open_pods for item in sources):
        texts.append(_open("source", "egress", answer.open_sources))
    if any(item.open_pods for item in destinations):
        texts.append(_open("destination", "ingress", answer.open_destinations))
    return texts


def _row(connection: Connection, *, with_depends: bool) -> tuple[str, ...]:
    row = (str(connection.sources), "->", str(connection.destinations), str(connection.ports))
    return (*row, f"depends on {connection.depends}" if connection.depends else "") if with_depends else row


def _used(answer: Connectivity, ends: list[Endpoints]) -> list[Endpoints]:
    """Return `ends` and, through any number of groups, the sets they name."""
    members = {group.name: group.members for group in answer.groups}
    found = list(ends)
    seen: set[str] = set()
    for item in found:
        fresh = [name for name in item.groups if name in members and name not in seen]
        seen.update(fresh)
        found.extend(members[name] for name in fresh)
    return found


def _open(side: str, direction: str, members: Endpoints) -> str:
    kinds = ((len(members.namespaces), "whole namespace"), (len(members.workloads), "workload"))
    counts = ", ".join(counted(number, noun) for number, noun in kinds if number)
    heading = f"open pods (as {side}) = pods no policy isolates for {direction}"
    return f"{heading} ({counts}): {members}" if counts else f"{heading}: {members}"
