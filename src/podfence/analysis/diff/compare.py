# SPDX-License-Identifier: Apache-2.0
"""The connections of two clusters side by side: for each end, the other ends with which something differs."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from msgspec import Struct

from podfence.analysis.diff.states import State, state_of, steps
from podfence.analysis.lines import Question, lines
from podfence.analysis.unread import Unread
from podfence.policy.verdict import Direction
from podfence.sets import AddressSet, PortSet, members

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from podfence.analysis.diff.units import Units
    from podfence.analysis.doubts import Doubts
    from podfence.analysis.lines import Progress
    from podfence.analysis.view import View
    from podfence.policy.reach import Reach

Set = TypeVar("Set", int, AddressSet)
"""Some ends: groups as bits, or addresses."""


class Piece(NamedTuple):
    """Connections that are alike on each side: of a group with other groups (bits), or else with addresses.

    In `direction` ingress the group is the destination, and in egress, which is with addresses only, the source.
    """

    direction: Direction
    group: int
    others: int
    addresses: AddressSet
    before: State
    after: State


class _Rows(Struct):
    """The connections of one side by class: from pods and from addresses to it, and from it to addresses."""

    pods: dict[int | None, list[tuple[int, str, PortSet]]]
    incoming: dict[int | None, list[tuple[AddressSet, str, PortSet]]]
    outgoing: dict[int | None, list[tuple[AddressSet, str, PortSet]]]


def differing(
    units: Units,
    reaches: tuple[Reach, Reach],
    doubts: tuple[Doubts, Doubts],
    concerned: dict[Direction, int],
    progress: Progress | None = None,
) -> Iterator[Piece]:
    """Yield all connections that differ, of the groups that are `concerned` in a direction."""
    ingress, egress = (units.classes_of(concerned[way]) for way in (Direction.INGRESS, Direction.EGRESS))
    sides = [
        _rows(view, reach, doubt, units.classes(side), ingress, egress, _half(progress, side))
        for side, (view, reach, doubt) in enumerate(zip((units.old, units.new), reaches, doubts, strict=True))
    ]
    known: dict[object, tuple[tuple[AddressSet, State, State], ...]] = {}
    self_allowed = units.new.engine.options.self_traffic == "allowed"
    for group in units.groups.values():
        itself = 1 << group.id if self_allowed and group.alone else 0
        tables = [
            [(units.of_classes(side, bits) & ~itself, text, ports) for bits, text, ports in rows.pods.get(number, ())]
            for side, (rows, number) in enumerate(zip(sides, group.place, strict=True))
        ]
        for bits, before, after in _unequal(units.all, tables):
            yield Piece(Direction.INGRESS, group.id, bits, AddressSet.EMPTY, before, after)
        for direction in Direction:
            found = tuple(
                tuple((rows.incoming if direction is Direction.INGRESS else rows.outgoing).get(number, ()))
                for rows, number in zip(sides, group.place, strict=True)
            )
            # Most groups exchange connections with the same addresses as others.
            if found not in known:
                known[found] = tuple(_unequal(AddressSet.ALL, found))
            for addresses, before, after in known[found]:
                yield Piece(direction, group.id, 0, addresses, before, after)


def _half(progress: Progress | None, side: int) -> Progress | None:
    """Return what is told of the progress of one side, as a half of the whole."""
    if progress is None:
        return None
    return lambda done, total: progress(done + side * total, 2 * total)


def _rows(
    view: View, reach: Reach, doubts: Doubts, there: int, ingress: int, egress: int, progress: Progress | None
) -> _Rows:
    question = Question(
        blocks=((ingress & there, there), (there & ~ingress, egress & there)),
        inside_sources=egress & there,
        inside_destinations=ingress & there,
        from_addresses=AddressSet.ALL,
        to_addresses=AddressSet.ALL,
        ports_into=lambda _: PortSet.ALL,
    )
    rows = _Rows(defaultdict(list), defaultdict(list), defaultdict(list))
    for line in lines(view, reach, doubts, Unread(view), question, progress):
        for number in members(line.destinations):
            if line.sources:
                rows.pods[number].append((line.sources, line.depends, line.ports))
            if line.source_addresses:
                rows.incoming[number].append((line.source_addresses, line.depends, line.ports))
        if line.destination_addresses:
            for number in members(line.sources):
                rows.outgoing[number].append((line.destination_addresses, line.depends, line.ports))
    return rows


_Told = tuple[tuple[str, PortSet], ...]
_Block = tuple[Set, _Told, _Told]
"""A set of ends, and what each side says of them."""


def _unequal(
    everything: Set, tables: Sequence[Iterable[tuple[Set, str, PortSet]]]
) -> Iterator[tuple[Set, State, State]]:
    """Yield the ends of which the two tables say something else, in sets, with what each says of them."""
    blocks: list[_Block[Set]] = [(everything, (), ())]
    for side, table in enumerate(tables):
        for those, text, ports in table:
            blocks = list(_refined(blocks, those, (text, ports), side))
    for block, old, new in blocks:
        before, after = state_of(old), state_of(new)
        if before != after and steps(before, after):
            yield block, before, after


def _refined(
    blocks: Iterable[_Block[Set]],
    those: Set,
    said: tuple[str, PortSet],
    side: int,
) -> Iterator[_Block[Set]]:
    """Yield blocks with what one side says of some ends."""
    for block, *both in blocks:
        inside = block & those
        outside = block - inside
        if inside:
            told: list[_Told] = list(both)
            told[side] = (*told[side], said)
            yield inside, told[0], told[1]
        if outside:
            yield outside, both[0], both[1]
