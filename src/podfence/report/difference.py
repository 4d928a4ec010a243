# SPDX-License-Identifier: Apache-2.0
"""What a change opens and closes, for people: each cause, and below it the connections that it changes."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final

from podfence.analysis.diff.answer import AbsentChange
from podfence.analysis.diff.review import port_set
from podfence.errors import counted
from podfence.report import columns
from podfence.report.style import PAGE
from podfence.sets.ports import PortSet

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from podfence.analysis.answers import Ports
    from podfence.analysis.diff.answer import Cause, ConnectionChange, Difference, GapChange, ObjectChange
    from podfence.kube.findings import Position
    from podfence.report.style import Page

    Change = ConnectionChange | AbsentChange

ORDER: Final = ("opened", "unknown", "closed", "known")
"""The kinds of changes, what a reviewer must see first before the rest."""

_DOING: Final = {
    "opened": "opens {}",
    "closed": "closes {}",
    "unknown": "makes {} unknown",
    "known": "makes {} known",
}
_GAPS: Final = ("  ", " ", " ", "  ", "  ")
_INDENT: Final = "  "
_OBJECTS: Final = {"added": "added", "removed": "removed", "changed": "changed", "text": "only the text changed"}
_COLOURS: Final = {"opened": "denied", "closed": "allowed", "unknown": "depends", "known": "depends"}


def lines(answer: Difference, page: Page = PAGE) -> Iterator[str]:
    """Yield what the change does in one line, then each cause with its connections, then the objects that differ."""
    yield page.style.strong(columns.paragraph(headline(answer), page.width))
    for causes, items in by_cause(answer):
        yield ""
        yield from (columns.paragraph(text, page.width) for text in heading(causes, items))
        yield from _rows(items, page)
    if answer.objects:
        yield ""
        yield from columns.lines([_object(item) for item in answer.objects], width=page.width, style=page.style)
    if changed := [told_gap(gap) for gap in answer.gaps if gap.change != "kept"]:
        yield ""
        yield from (columns.paragraph(f"{word}: {text}", page.width) for word, text in changed)


def headline(answer: Difference) -> str:
    """Return ``opens 2 connections, closes 1 connection``, or that nothing changes."""
    counts = Counter(item.change for item in answer.changes)
    texts = [doing(word, counts[word]) for word in ORDER if counts[word]]
    unseen = sum(bool(item.unseen) for item in answer.objects)
    if unseen:
        texts.append(f"changes {counted(unseen, 'policy', 'policies')} for pods that are not here")
    gaps = Counter(gap.change for gap in answer.gaps)
    if gaps["added"]:
        texts.append(f"leaves {counted(gaps['added'], 'more place', 'more places')} unread")
    if gaps["removed"]:
        texts.append(f"leaves {counted(gaps['removed'], 'fewer place', 'fewer places')} unread")
    if texts:
        return ", ".join(texts)
    if answer.only_text:
        return "no connection changes: only the text of objects changed"
    return "no connection changes" if answer.objects else "no difference"


def doing(change: str, number: int) -> str:
    """Return what a change does with so many connections: ``opens 2 connections``, ``makes 1 connection unknown``."""
    return _DOING[change].format(counted(number, "connection"))


def told_gap(gap: GapChange) -> tuple[str, str]:
    """Return whether NEW is ``incomplete`` or ``complete`` at a place, and what to say of it."""
    if gap.change == "removed":
        return "complete", gap.what
    return "incomplete", f"{gap.what} ({gap.remedy})" if gap.remedy else gap.what


def told_object(item: ObjectChange) -> tuple[str, Position | None, list[str]]:
    """Return what has become of an object, its place in NEW or else in OLD, and what differs."""
    texts = [", ".join(item.what) if item.change == "changed" else "", item.unseen]
    return _OBJECTS[item.change], item.new or item.old, [text for text in texts if text]


def by_cause(answer: Difference) -> list[tuple[tuple[Cause, ...], list[Change]]]:
    """Return the changes of each cause together, in the order of the answer, opened ones first."""
    found: dict[tuple[tuple[Cause, ...], bool], list[Change]] = {}
    for item in sorted(answer.changes, key=lambda item: ORDER.index(item.change)):
        found.setdefault((item.causes, item.joint), []).append(item)
    return [(causes, items) for (causes, _), items in found.items()]


def heading(causes: Sequence[Cause], items: Sequence[Change]) -> Iterator[str]:
    """Yield what changes connections, one cause a line; several are named as what they are."""
    if not causes:
        ends = {getattr(item, "ends", "kept") for item in items}
        words = {frozenset({"added"}): "new workloads", frozenset({"removed"}): "workloads that were removed"}
        yield words.get(frozenset(ends), "several changes together")
    elif len(causes) == 1:
        yield str(causes[0])
    else:
        yield f"these changes (undo {'all' if items[0].joint else 'any one'} of them to undo it)"
        yield from (f"{_INDENT}{cause}" for cause in causes)


def because(causes: Sequence[Cause], items: Sequence[Change]) -> str:
    """Return what changes connections in one line."""
    first, *others = heading(causes, items)
    return f"{first}: {', and '.join(map(str.strip, others))}" if others else first


def row(item: Change) -> tuple[str, ...]:
    """Return source, arrow, destination, ports, and what else is to be said, as texts."""
    if isinstance(item, AbsentChange):
        peer = item.connection
        source, destination = peer.direction.ordered(str(peer.subjects), str(peer.peers))
        return (source, "->", destination, peer.ports_text, _remark(item))
    family = f" ({item.family})" if item.family else ""
    return (str(item.sources), "->", str(item.destinations), f"{_ports(item.ports)}{family}", _remark(item))


def _ports(ports: Ports) -> str:
    """Return ports as they are, or by what is not among them, whichever is shorter."""
    told = str(ports)
    rest = f"all ports except {' and '.join(str(PortSet.ALL - port_set(ports)).split('; '))}"
    return min(told, rest, key=len) if ports.ranges else told


def _remark(item: Change) -> str:
    """Return what is to be said of a change besides its ends: how it depends, whose ends are new, why it is allowed."""
    texts = []
    if item.change == "unknown":
        texts.append(f"{item.after}, was {item.before}")
    elif item.change == "known":
        texts.append(f"{item.after}, was: {item.before}")
    ends = getattr(item, "ends", "kept")
    if ends != "kept":
        texts.append(f"{'new' if ends == 'added' else 'former'} workload")
    if item.allowed:
        texts.append(f"accepted: {item.allowed}")
    return "; ".join(texts)


def _rows(items: Sequence[Change], page: Page) -> Iterator[str]:
    rows = [(item.change, *row(item)) for item in items]
    paint = columns.painter(page.style, arrow=2, column=0, decision=_COLOURS.__getitem__)
    width = None if page.width is None else page.width - len(_INDENT)
    for line in columns.lines(rows, gaps=_GAPS, width=width, style=page.style, paint=paint):
        yield f"{_INDENT}{line}"


def _object(item: ObjectChange) -> tuple[str, str, str]:
    change, place, texts = told_object(item)
    return (change, f"{item} ({place})" if place else str(item), "; ".join(texts))
