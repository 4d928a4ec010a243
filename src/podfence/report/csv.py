# SPDX-License-Identifier: Apache-2.0
"""Connectivity as comma-separated values: one row per connection, or change of one, and range of ports."""

from __future__ import annotations

import csv
from io import StringIO
from typing import TYPE_CHECKING

from podfence.analysis.answers import Connectivity
from podfence.policy.verdict import Direction
from podfence.report.expanded import Members
from podfence.report.style import PAGE

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from podfence.analysis.answers import PodConnection, Ports
    from podfence.analysis.diff.answer import Difference
    from podfence.report.style import Page

HEADER = ("source", "destination", "protocol", "from", "to", "depends")


def connectivity(answer: Connectivity, _page: Page = PAGE) -> Iterator[str]:
    """Yield the lines of `answer`; the members of a set are separated by spaces, groups are written out."""
    yield _line(HEADER)
    members = Members(answer)
    for item in answer.connections:
        source = " ".join(members.of(item.sources, source=True))
        destination = " ".join(members.of(item.destinations, source=False))
        yield from (_line((source, destination, *ports, item.depends)) for ports in _ranges(item.ports))
    for peer in answer.absent:
        subjects = " ".join(members.of(peer.subjects, source=peer.direction is Direction.EGRESS))
        ends = peer.direction.ordered(subjects, str(peer.peers))
        ranges = _ranges(peer.ports, peer.port_names)
        yield from (_line((*ends, *ports, peer.depends)) for ports in ranges)


def pods(connections: Iterable[PodConnection], _page: Page = PAGE) -> Iterator[str]:
    """Yield the lines of connections between single pods as they come."""
    yield _line(HEADER)
    for item in connections:
        ranges = _ranges(item.ports, item.port_names)
        yield from (_line((item.source, item.destination, *ports, item.depends)) for ports in ranges)


def difference(answer: Difference, _page: Page = PAGE) -> Iterator[str]:
    """Yield one row per change and range of ports; the members of a set are separated by spaces."""
    yield _line(("change", *HEADER[:5], "before", "after", "ends", "family", "cause", "accepted"))
    members = Members(Connectivity(connections=()))
    for item in answer.connections:
        source = " ".join(members.of(item.sources, source=True))
        destination = " ".join(members.of(item.destinations, source=False))
        causes = "; ".join(map(str, item.causes))
        rest = (item.before, item.after, item.ends, item.family, causes, item.allowed)
        yield from (_line((item.change, source, destination, *ports, *rest)) for ports in _ranges(item.ports))


def _line(values: tuple[str, ...]) -> str:
    out = StringIO()
    csv.writer(out, lineterminator="").writerow(values)
    return out.getvalue()


def _ranges(ports: Ports, names: tuple[str, ...] = ()) -> Iterator[tuple[str, str, str]]:
    """Yield protocol, first and last port; ``*`` is every protocol, no numbers a protocol without ports.

    A port by name has its name in the place of both numbers.
    """
    if ports.everything:
        yield ("*", "", "")
    for item in ports.ranges:
        yield (item.protocol, _number(item.first), _number(item.last))
    for text in names:
        protocol, _, name = text.partition(" ")
        yield (protocol, name, name)


def _number(port: int | None) -> str:
    return "" if port is None else str(port)
