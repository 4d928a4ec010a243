# SPDX-License-Identifier: Apache-2.0
"""For which local addresses a change may forbid what was admitted before, and in which direction.

Other flows need no look, which costs the kernel a walk through its whole table of flows. What is compared are the two
programs, and not what happened to policies and pods: a new policy may admit more to some pods and isolate others.
Where it is not plain that nothing was lost, it counts as lost.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from podfence.dataplane.flows import Sides
from podfence.dataplane.program import NOT_YET
from podfence.policy.verdict import Direction
from podfence.sets import PortSet

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from podfence.dataplane.program import GroupKey, GroupProgram, NodeProgram, PortProgram, Ranges, SharedKey

_MOST: Final = 5_000
"""How many programs of peers, sets and ranges are compared for one change; a walk takes less than more of them."""

_Sets = dict["SharedKey", frozenset[int]]
_Ids = tuple[tuple[int, ...], tuple[int, ...]]


def before(program: NodeProgram) -> NodeProgram:
    """Return a copy of a program that stays what it is now; its `sets` are those with what is late."""
    return replace(
        program,
        groups=dict(program.groups),
        group_of={direction: dict(table) for direction, table in program.group_of.items()},
        known=set(program.known),
        sets=_sets(program),
        own=set(program.own),
    )


def tightened(sides: Sides, old: NodeProgram, program: NodeProgram) -> Sides:
    """Return those of some local addresses for which less may be admitted than before: as sources, and as destinations.

    The node's and the cluster's pod ranges must be the same as before.
    """
    comparing = _Comparing(old, program)
    # What no policy isolates any more reaches itself like anybody.
    isolated = set().union(*program.group_of.values())
    lost = {address for pair in old.own - program.own for address in pair} & isolated

    def less(direction: Direction, addresses: Iterable[int]) -> set[int]:
        one, other = old.group_of[direction], program.group_of[direction]
        return {
            address
            for address in addresses
            if address in lost
            or address not in old.known
            or address not in program.known
            or not comparing.admits_no_less(one.get(address), other.get(address))
        }

    return Sides(less(Direction.EGRESS, sides.opened), less(Direction.INGRESS, sides.answering))


class _Comparing:
    """Compares groups, each pair once."""

    def __init__(self, old: NodeProgram, program: NodeProgram) -> None:
        self._old = old
        self._program = program
        self._sets = _sets(program)
        self._left = _MOST
        self._known: dict[tuple[GroupKey, GroupKey], bool] = {}
        self._held: dict[_Ids, bool] = {}

    def admits_no_less(self, one: GroupKey | None, other: GroupKey | None) -> bool:
        """Return whether the pods of one group before are admitted all of that in another one now."""
        if other is None:
            return True
        if one is None:
            return False
        found = self._known.get((one, other))
        if found is None:
            found = self._known[one, other] = self._compare(self._old.groups[one], self._program.groups[other])
        return found

    def _compare(self, one: GroupProgram, other: GroupProgram) -> bool:
        if one is NOT_YET:
            # Nothing was cut because of it.
            return False
        self._left -= len(one.peers) + len(one.shared) + sum(len(table.items) for table in (*one.ranges, *other.ranges))
        if one.is_complete or other.is_complete:
            self._left -= len(other.peers)
            return self._left >= 0 and self._keeps_all(one, other)
        return self._left >= 0 and (
            self._holds([one.anywhere], [other.anywhere])
            and self._keeps_sets(one, other)
            and all(
                self._holds([ports], [other.peers.get(peer, ()), other.anywhere]) for peer, ports in one.peers.items()
            )
            and all(self._keeps_range(table, other) for table in one.ranges)
        )

    def _keeps_all(self, one: GroupProgram, other: GroupProgram) -> bool:
        """Return whether every peer keeps its ports, where one of two programs is complete: each is asked in both."""
        if one.shared or other.shared:
            return False
        ranges = (item for table in (*one.ranges, *other.ranges) for item in table.items)
        starts = {start for first, last, _ in ranges for start in (first, last + 1)}
        old, new = replace(one, peers={}), replace(other, peers={})
        return (
            self._holds([one.anywhere], [other.anywhere])
            and all(self._holds(old.programs_for(start), new.programs_for(start)) for start in starts)
            and all(
                self._holds(one.programs_for(peer), other.programs_for(peer))
                for peer in one.peers.keys() | other.peers.keys()
            )
        )

    def _keeps_sets(self, one: GroupProgram, other: GroupProgram) -> bool:
        now: dict[SharedKey, list[PortProgram]] = {}
        for key, ports in other.shared:
            now.setdefault(key, [other.anywhere]).append(ports)
        old, new = self._old.sets, self._sets
        return all(
            self._holds([ports], [other.anywhere])
            or (key in now and (old[key] is new[key] or old[key] <= new[key]) and self._holds([ports], now[key]))
            for key, ports in one.shared
        )

    def _keeps_range(self, table: Ranges, other: GroupProgram) -> bool:
        if table in other.ranges:
            return True
        cuts = sorted({cut for more in other.ranges for first, last, _ in more.items for cut in (first, last + 1)})
        return all(
            self._holds([ports], [*other.at(start), other.anywhere])
            for first, last, ports in table.items
            for start in (first, *cuts[bisect_right(cuts, first) : bisect_left(cuts, last + 1)])
        )

    def _holds(self, less: Sequence[PortProgram], more: Sequence[PortProgram]) -> bool:
        """Return whether all ports of some programs are in others; these are objects that stay."""
        key = tuple(map(id, less)), tuple(map(id, more))
        found = self._held.get(key)
        if found is None:
            found = self._held[key] = _ports(less) <= _ports(more)
        return found


def _ports(programs: Iterable[PortProgram]) -> PortSet:
    return PortSet.union(ports for program in programs for ports, _ in program)


def _sets(program: NodeProgram) -> _Sets:
    return {**program.sets, **{key: addresses for key, addresses in program.late.items() if addresses}}
