# SPDX-License-Identifier: Apache-2.0
"""Why a connection is as it is on a node: the engine's answer beside what the kernel has and counts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from podfence.errors import counted
from podfence.report import verdict_text
from podfence.report.style import PAGE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from podfence.agent.node.answer import Judged, Why
    from podfence.report.style import Page, Style


def lines(answer: Why, page: Page = PAGE) -> Iterator[str]:
    """Yield the engine's decision, then each connection with the kernel's counters, then whether they differ."""
    style = page.style
    yield from verdict_text.brief(answer.verdict, page)
    for item in answer.connections:
        yield ""
        yield f"{style.strong(f'{item.source} -> {item.destination}')} {item.ports}"
        for side in item.sides:
            yield from _side(side)
        yield from (f"  {style.decision('denied', 'differs')}: {text}" for text in item.differences)
    if answer.left_out:
        yield ""
        yield f"{answer.left_out} more connections were not looked up: ask about single pods"
    yield ""
    yield from (f"note: {note}" for note in answer.notes)
    yield _end(answer, style)


def _end(answer: Why, style: Style) -> str:
    if answer.differs:
        return style.decision("denied", f"the kernel of node {answer.node} differs from the engine")
    if not answer.connections:
        return f"the kernel of node {answer.node} has nothing to compare"
    return f"the kernel of node {answer.node} has what the engine says"


def _side(side: Judged) -> Iterator[str]:
    where = "at its source" if side.direction == "egress" else "at its destination"
    yield f"  {side.direction}, judged here {where} {side.pod} ({side.address})"
    if side.policies:
        yield f"    isolated by {', '.join(side.policies)}"
    yield f"    engine admits {side.engine}; the node's program admits {side.program}"
    for rule in side.rules:
        yield f"    {_packets(rule.packets)} admitted by {rule.rule} ({rule.ports})"
    if side.chain:
        yield f"    {_packets(side.denied_packets)} denied by chain deny_{side.chain}"


def _packets(number: int | None) -> str:
    return "no counter of packets" if number is None else counted(number, "packet")
