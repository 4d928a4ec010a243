# SPDX-License-Identifier: Apache-2.0
"""The same connections in fewer and shorter lines, which may overlap, as the rules do that admit them.

"Everyone on 4443" and "the own namespace on everything" are two rules. Lines that share nothing need three for them,
and name every other namespace in one. Here a line is widened by what is allowed in any case, where that is shorter to
say, and then what others say as well is taken out of it. Nothing is said that is not allowed, and nothing is lost.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from msgspec import Struct
from msgspec.structs import replace

from podfence.analysis.lines import Line
from podfence.sets import AddressSet, PortSet, members, union

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from podfence.analysis.overview import Measure

_MOST_WORK = 200_000
"""Above this many comparisons lines stay as they are: nobody reads so many."""


class _Row(Struct):
    """A line to pods, its destinations as atoms: classes that the same lines lead to, by number."""

    sources: int
    addresses: AddressSet
    atoms: frozenset[int]
    ports: PortSet
    depends: str

    def covers_ports(self, other: _Row) -> bool:
        """Return whether whatever is in this line has at least the other's ports, and as surely."""
        return self.depends == other.depends and other.ports <= self.ports


def cover(lines: Iterable[Line], measure: Measure) -> list[Line]:
    """Return lines that say the same; those to addresses stay as they are."""
    result: list[Line] = []
    inward: list[Line] = []
    for line in lines:
        (inward if line.destinations else result).append(line)
    if len(inward) ** 2 > _MOST_WORK:
        return [*inward, *result]
    numbers: dict[int, list[int]] = defaultdict(list)
    for index, line in enumerate(inward):
        for number in members(line.destinations):
            numbers[number].append(index)
    by_lines: dict[tuple[int, ...], int] = defaultdict(int)
    for number, indexes in numbers.items():
        by_lines[tuple(indexes)] |= 1 << number
    if sum(len(indexes) ** 2 for indexes in by_lines) > _MOST_WORK:
        return [*inward, *result]
    atoms = list(by_lines.values())
    of_line: dict[int, set[int]] = defaultdict(set)
    for atom, leading in enumerate(by_lines):
        for index in leading:
            of_line[index].add(atom)
    rows = [
        _Row(line.sources, line.source_addresses, frozenset(of_line[index]), line.ports, line.depends)
        for index, line in enumerate(inward)
    ]

    def bits(numbers: Iterable[int]) -> int:
        return union(map(atoms.__getitem__, numbers))

    shorter = _without_repetition(_widened(rows, bits, measure), bits, measure)
    return [
        *(
            Line(row.sources, row.addresses, bits(row.atoms), AddressSet.EMPTY, row.ports, row.depends)
            for row in _joined(_joined(shorter, bits, measure), bits, measure)
        ),
        *result,
    ]


def _widened(rows: list[_Row], bits: Callable[[Iterable[int]], int], measure: Measure) -> list[_Row]:
    """Widen the sources of each line, and then its destinations, where that is not longer to say."""
    at: dict[int, list[_Row]] = defaultdict(list)
    for row in rows:
        for atom in row.atoms:
            at[atom].append(row)
    widened: list[_Row] = []
    for row in rows:
        sources, addresses = -1, AddressSet.ALL
        for atom in row.atoms:
            more, further = 0, AddressSet.EMPTY
            for other in at[atom]:
                if other.covers_ports(row):
                    more |= other.sources
                    further |= other.addresses
            sources &= more
            addresses &= further
        to = bits(row.atoms)
        shorter = measure.sources(sources, addresses, to) <= measure.sources(row.sources, row.addresses, to)
        widened.append(replace(row, sources=sources, addresses=addresses) if shorter else row)
    for index, row in enumerate(widened):
        everywhere = row.atoms.union(
            *(
                other.atoms
                for other in (*rows, *widened)
                if other.covers_ports(row) and not row.sources & ~other.sources and row.addresses <= other.addresses
            )
        )
        if measure.destinations(bits(everywhere)) < measure.destinations(bits(row.atoms)):
            widened[index] = replace(row, atoms=everywhere)
    return widened


def _without_repetition(rows: list[_Row], bits: Callable[[Iterable[int]], int], measure: Measure) -> Iterator[_Row]:
    """Yield the lines without what others say as well, the longest to say being the first to go."""
    kept: dict[int, _Row] = dict(enumerate(rows))
    at: dict[int, set[int]] = defaultdict(set)
    for index, row in kept.items():
        for atom in row.atoms:
            at[atom].add(index)

    def length(index: int) -> tuple[int, int]:
        row = kept[index]
        to = bits(row.atoms)
        return measure.sources(row.sources, row.addresses, to) + measure.destinations(to), index

    for index in sorted(kept, key=length, reverse=True):
        row = kept[index]
        needed = PortSet.EMPTY
        atoms = set()
        for atom in row.atoms:
            others = [kept[other] for other in at[atom] if other != index and kept[other].depends == row.depends]
            missing = _missing(row, others)
            if missing:
                atoms.add(atom)
                needed |= missing
        for atom in row.atoms:
            if not needed:
                at[atom].discard(index)
        if not needed:
            del kept[index]
            continue
        fewer = frozenset(atoms)
        if measure.destinations(bits(fewer)) < measure.destinations(bits(row.atoms)):
            for atom in row.atoms - fewer:
                at[atom].discard(index)
            row = replace(row, atoms=fewer)
        if measure.ports(needed) < measure.ports(row.ports):
            row = replace(row, ports=needed)
        kept[index] = row
    yield from kept.values()


def _joined(rows: Iterable[_Row], bits: Callable[[Iterable[int]], int], measure: Measure) -> list[_Row]:
    """Join lines that differ in their destinations only, and those in their sources where that is not longer to say."""
    by_sources: dict[object, _Row] = {}
    for row in rows:
        key = (row.sources, row.addresses, row.ports, row.depends)
        known = by_sources.get(key)
        by_sources[key] = row if known is None else replace(row, atoms=known.atoms | row.atoms)
    by_place: dict[object, list[_Row]] = defaultdict(list)
    for row in by_sources.values():
        place = by_place[row.atoms, row.ports, row.depends]
        to = bits(row.atoms)
        for index, other in enumerate(place):
            sources, addresses = row.sources | other.sources, row.addresses | other.addresses
            apart = sum(measure.sources(item.sources, item.addresses, to) for item in (row, other))
            if measure.sources(sources, addresses, to) <= apart:
                place[index] = replace(row, sources=sources, addresses=addresses)
                break
        else:
            place.append(row)
    return [row for place in by_place.values() for row in place]


def _missing(row: _Row, others: list[_Row]) -> PortSet:
    """Return the ports of a line at one place that some of its sources have by it alone."""
    pieces: list[tuple[int, AddressSet, PortSet]] = [(row.sources, row.addresses, row.ports)]
    for other in others:
        rest: list[tuple[int, AddressSet, PortSet]] = []
        for sources, addresses, ports in pieces:
            left, outside = sources & ~other.sources, addresses - other.addresses
            if left or outside:
                rest.append((left, outside, ports))
            fewer = ports - other.ports
            if fewer and (sources & other.sources or addresses & other.addresses):
                rest.append((sources & other.sources, addresses & other.addresses, fewer))
        pieces = rest
    return PortSet.union(ports for _, _, ports in pieces)
