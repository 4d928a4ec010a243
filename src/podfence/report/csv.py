# SPDX-License-Identifier: Apache-2.0
"""Connectivity as comma-separated values: one row per connection and range of ports."""

from __future__ import annotations

import csv
from typing import TYPE_CHECKING

from podfence.report.sets import Members

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import TextIO

    from podfence.analysis.answers import Connectivity, PodConnection, Ports

HEADER = ("source", "destination", "protocol", "from", "to", "depends")


def connectivity(answer: Connectivity, out: TextIO) -> None:
    """Write `answer`; the members of a set are separated by spaces, groups are written out."""
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(HEADER)
    members = Members(answer)
    for item in answer.connections:
        source = " ".join(members.of(item.sources, source=True))
        destination = " ".join(members.of(item.destinations, source=False))
        writer.writerows((source, destination, *ports, item.depends) for ports in _ranges(item.ports))


def pods(connections: Iterable[PodConnection], out: TextIO) -> None:
    """Write connections between single pods as they come."""
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(HEADER)
    for item in connections:
        writer.writerows((item.source, item.destination, *ports, item.depends) for ports in _ranges(item.ports))


def _ranges(ports: Ports) -> Iterator[tuple[str, str, str]]:
    """Yield protocol, first and last port; ``*`` is every protocol, no numbers a protocol without ports."""
    if ports.everything:
        yield ("*", "", "")
    for item in ports.ranges:
        yield (item.protocol, _number(item.first), _number(item.last))


def _number(port: int | None) -> str:
    return "" if port is None else str(port)
