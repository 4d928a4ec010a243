# SPDX-License-Identifier: Apache-2.0
"""What a listing says where a policy may lie that nobody has read (semantics 13.9): everything there depends on it.

What was read still is worth knowing, so a line tells it apart: what was read allows, and what it does not.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from podfence.policy import unknown
from podfence.sets import PortSet

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from podfence.analysis.view import View
    from podfence.kube.omissions import Gap
    from podfence.policy.reach import Partition
    from podfence.policy.verdict import Dependency

_CLAUSE: Final = "depends on policies that were not read"

Piece = tuple[PortSet, int, str]
"""Ports, sources, and what the connections of one destination depend on, "" for nothing."""


class Unread:
    """The classes of a view about which policies may say anything that nobody has read.

    The first line of an answer names where these policies may lie, and so no line of a listing names it again.
    `classes` are these classes, and `bits` those whose lines say that they depend: none if that is `told_once`, for all
    lines together.
    """

    def __init__(self, view: View, *, told_once: bool = False) -> None:
        """Look at the namespaces of all classes."""
        self._view = view
        self._gaps: dict[Gap, None] = {}
        self.classes = 0
        for name in sorted(view.index.namespaces_of(view.index.all)):
            gaps = view.engine.world.unread(name)
            if gaps:
                self._gaps.update(dict.fromkeys(gaps))
                self.classes |= view.index.in_namespace(name)
        self.bits = 0 if told_once else self.classes

    @property
    def unknown(self) -> tuple[Dependency, ...]:
        """Return what was not read, each once."""
        return tuple(unknown.unread(gap.what, gap.remedy) for gap in self._gaps)

    def about(self, number: int, other: str = "") -> str:
        """Return the clause for a class and addresses outside or pods of another namespace, "" if all was read."""
        if self.classes >> number & 1:
            return _CLAUSE if self.bits else ""
        return _CLAUSE if other and self._view.engine.world.unread(other) else ""

    def told(self, destination: int, sources: int, pieces: Iterable[Piece], possible: Partition) -> Iterator[Piece]:
        """Yield the connections of a destination as what was read says, and those that it denies and others may not.

        `possible` are the sources by the ports that they have if policies that were not read allow everything.
        """
        read = list(pieces)
        for bits, clause in self._apart(destination, sources):
            denied = [(bits & there, ports) for ports, there in possible.items()] if clause else []
            for ports, there, depends in read:
                here = there & bits
                if here:
                    yield ports, here, as_read(clause, depends)
                    denied = [part for item in denied for part in _without(item, here, ports)]
            yield from ((ports, there, clause) for there, ports in denied if there and ports)

    def _apart(self, destination: int, sources: int) -> Iterator[tuple[int, str]]:
        """Yield sources with the clause for connections with a destination."""
        concerned = sources if self.bits >> destination & 1 else sources & self.bits
        if concerned:
            yield concerned, _CLAUSE
        if sources ^ concerned:
            yield sources ^ concerned, ""


def as_read(clause: str, depends: str) -> str:
    """Return what a connection that what was read allows depends on if policies that were not read may say anything."""
    if not clause:
        return depends
    return f"{clause}; what was read {f'says: {depends}' if depends else 'allows it'}"


def _without(item: tuple[int, PortSet], sources: int, ports: PortSet) -> Iterator[tuple[int, PortSet]]:
    """Yield what is left of sources with ports without others."""
    bits, known = item
    common = bits & sources
    yield bits ^ common, known
    yield common, known - ports
