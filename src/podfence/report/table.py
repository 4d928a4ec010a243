# SPDX-License-Identifier: Apache-2.0
"""Connectivity for people: one line per connection, then what the names of sets stand for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from podfence.errors import counted
from podfence.report import columns
from podfence.report.style import PAGE

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from podfence.analysis.answers import PodConnection
    from podfence.analysis.overview import Ends, Overview, OverviewLine
    from podfence.report.style import Page

_HEADER = ("SOURCE", "", "DESTINATION", "PORTS", "DEPENDS")
_GAPS = (" ", " ", "  ", "  ")


def overview(answer: Overview, page: Page = PAGE) -> Iterator[str]:
    """Yield the lines of `answer`; on a terminal none is wider, and sets name their namespace once."""
    width, style = page[:2]
    short = width is not None
    own = _only_namespace(answer) if short else ""
    depends = any(line.depends for line in answer.lines)
    rows = [_row(line, own, with_depends=depends, short=short) for line in answer.lines]
    size = 5 if depends else 4
    paint = columns.painter(style, arrow=1, column=4, decision=lambda _: "depends")
    header = _HEADER[:size] if short else ()
    yield from columns.lines(rows, header=header, gaps=_GAPS[: size - 1], width=width, style=style, paint=paint)
    texts = definition_lines(answer, own, short=short)
    if own:
        texts.append(f"names without a namespace are in {own}")
    definitions = [columns.paragraph(text, width) for text in texts]
    if definitions:
        yield ""
        yield from definitions


def pods(connections: Iterable[PodConnection], page: Page = PAGE) -> Iterator[str]:
    """Yield one line per connection as it comes; nothing is kept, so nothing is aligned."""
    style = page.style
    arrow = style.faint("->")
    for item in connections:
        depends = f"  {style.decision('depends', item.depends)}" if item.depends else ""
        yield f"{item.source} {arrow} {item.destination}  {item.ports_text}{depends}"


def definition_lines(answer: Overview, own: str = "", *, short: bool = False) -> list[str]:
    """Return what "open pods" and the groups of `answer` stand for, as far as lines use them, and what was not read.

    `own` and `short` are those of `written`.
    """
    with_open = {name for name, ends in answer.groups if "open pods" in ends.items}
    texts = [f"{name} = {written(ends, own, short=short)}" for name, ends in answer.groups]
    for side, direction, members, shown in (
        ("source", "egress", answer.open_sources, [line.sources for line in answer.lines]),
        ("destination", "ingress", answer.open_destinations, [line.destinations for line in answer.lines]),
    ):
        if any("open pods" in ends.items or not with_open.isdisjoint(ends.items) for ends in shown):
            texts.append(_open(side, direction, members, own, short=short))
    if answer.unread.items:
        whose = written(answer.unread, own, short=short)
        texts.append(
            f"connections of {whose} depend on policies that were not read: "
            "these may deny what a line allows, and allow more"
        )
    return texts


def written(ends: Ends, own: str = "", *, short: bool = False) -> str:
    """Return a set as text.

    If `short`, pods and workloads that follow one of their namespace do not repeat it, and those of the namespace
    `own` do not name it at all.
    """
    if not short:
        return str(ends)
    text = ", ".join(_short(ends.items, own))
    return f"{text} except {', '.join(_short(ends.excepts, own))}" if ends.excepts else text


def _short(items: Sequence[str], own: str) -> Iterator[str]:
    before = ""
    for item in items:
        space, rest = _split(item)
        yield rest if space and space in (before, own) else item
        before = space


def _split(item: str) -> tuple[str, str]:
    """Return the namespace of a pod or workload and the rest of its name; no namespace for what is something else."""
    space, separator, rest = item.partition("/")
    return (space, rest) if separator and rest != "*" and not space[0].isdigit() and ":" not in space else ("", item)


def _only_namespace(answer: Overview) -> str:
    """Return the namespace of all pods and workloads that the lines name, if it is one only."""
    found = {
        _split(item)[0]
        for line in answer.lines
        for ends in (line.sources, line.destinations)
        for item in (*ends.items, *ends.excepts)
    } - {""}
    return found.pop() if len(found) == 1 else ""


def _row(line: OverviewLine, own: str, *, with_depends: bool, short: bool) -> tuple[str, ...]:
    source, destination = (written(ends, own, short=short) for ends in (line.sources, line.destinations))
    row = (source, "->", destination, str(line.ports))
    return (*row, line.depends) if with_depends else row


def _open(side: str, direction: str, members: Ends, own: str, *, short: bool) -> str:
    spaces = sum(item.endswith("/*") for item in members.items)
    kinds = ((spaces, "whole namespace"), (len(members.items) - spaces, "workload"))
    counts = ", ".join(counted(number, noun) for number, noun in kinds if number)
    heading = f"open pods (as {side}) = pods no policy isolates for {direction}"
    text = written(members, own, short=short)
    return f"{heading} ({counts}): {text}" if counts else f"{heading}: {text}"
