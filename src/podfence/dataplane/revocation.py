# SPDX-License-Identifier: Apache-2.0
"""Established flows, looked at again after a change: those forbidden now are cut, those allowed again are freed.

A flow is cut by a label in the kernel's connection tracking, which the table asks for before it lets
established flows pass; so the rules are programmed first, and the labels after. The entry of a cut flow is
deleted some time later, and at once if the kernel has no room for labels on it.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, Final, NamedTuple

from podfence.dataplane.flows import Judge, Sides
from podfence.policy.verdict import Direction

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from podfence.dataplane.conntrack import Conntrack
    from podfence.dataplane.flows import Flow
    from podfence.dataplane.grace import Grace
    from podfence.dataplane.program import NodeProgram, ProgramChange

FORGET_AFTER: Final = 30.0
"""Seconds after which the entry of a cut flow is deleted.

Until then it stands for what is still under way: an answer to the client may pass where policies let its sender begin
a flow of its own, but the client may not use it to go on. Later, such a packet does begin a flow of its own.
"""

FORGET_AGAIN: Final = 10.0
"""Seconds after which that is tried again where it is too early, or the kernel keeps the entry."""

_AT_ONCE: Final = 10_000
"""How many entries are deleted in one step: that takes some tens of milliseconds."""

_TCP: Final = 6


class Reviewed(NamedTuple):
    """What looking at flows again did.

    `cut` are forbidden now, `freed` were cut and are allowed again. `unable` are forbidden and go on for now: the
    kernel has no room for labels on them, and does not let their entries go. Flows that TCP has ended are not counted.
    """

    cut: int = 0
    freed: int = 0
    unable: int = 0


@dataclass(slots=True)
class _Noted:
    """Flows to look at: some, or every one."""

    sides: Sides = field(default_factory=Sides)
    every: bool = False

    def __or__(self, other: _Noted) -> _Noted:
        return _Noted(self.sides.union(other.sides), self.every or other.every)


class Revocation:
    """Keeps in mind which flows have to be looked at again; without a `conntrack`, none.

    `uncut` is how many are forbidden and go on, because the kernel does not let them be cut; flows that TCP has ended
    are not counted.
    """

    def __init__(
        self,
        conntrack: Conntrack | None,
        grace: Grace,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Have nothing to look at yet.

        `grace` is the table's, which is told of connections that are cut. `clock` gives seconds and never goes back.
        """
        self.uncut = 0
        self._conntrack = conntrack
        self._grace = grace
        self._clock = clock
        self._new = _Noted()
        self._recent = _Noted()
        self._older = _Noted()
        self._cut: dict[bytes, float] = {}
        self._uncut: dict[bytes, Flow] = {}
        self._not_before = 0.0

    @property
    def forget_at(self) -> float | None:
        """By the clock, when `forget` has something to do next."""
        if self._uncut:
            return self._not_before
        first = next(iter(self._cut.values()), None)
        return None if first is None else max(first, self._not_before)

    @property
    def has_cut(self) -> bool:
        """Whether flows are cut, or should be, whose entries are still there: they may be allowed again."""
        return bool(self._cut or self._uncut)

    def note(self, sides: Sides) -> None:
        """Look at the flows of some addresses, next time and the time after."""
        self._new.sides = self._new.sides.union(sides)

    def note_all(self) -> None:
        """Look at all flows, next time and the time after."""
        self._new.every = True

    def look(self, program: NodeProgram) -> Reviewed:
        """Look at what was noted since the last look, and return what was done.

        Raises NetlinkError; then all of it is looked at again.
        """
        result = self._look(program, self._new, quick=True)
        self._recent |= self._new
        self._new = _Noted()
        return result

    def review(self, program: NodeProgram, *, settled: bool) -> Reviewed:
        """Look again at what was seen since the last review, and return what was done.

        A flow that begins while the rules change may show only then: the kernel lists a flow when its first packet
        has left. Where the last change was only moments ago, so that this is not `settled`, the next review looks
        at all that came since the last one once more. Raises NetlinkError; then all of it is looked at again.
        """
        seen = self._new | self._recent
        result = self._look(program, seen | self._older)
        self._older = _Noted() if settled else seen
        self._recent, self._new = _Noted(), _Noted()
        return result

    def forget(self, program: NodeProgram) -> Reviewed:
        """Delete the entries that are due, and return what was done. Raises NetlinkError; then they stay due."""
        now = self._clock()
        if self._conntrack is None or self.forget_at is None or now < self.forget_at:
            return Reviewed()
        self._not_before = now + FORGET_AGAIN
        self._forget_due(self._conntrack, now)
        judge = Judge(program, self._conntrack.own_addresses())
        waiting = [flow for flow in self._uncut.values() if not judge.admits(flow)]
        left = self._delete(self._conntrack, waiting)
        self._uncut = {flow.handle: flow for flow in left}
        self.uncut = _alive(left)
        return Reviewed(cut=_alive(waiting) - _alive(left), unable=_alive(left))

    def _forget_due(self, conntrack: Conntrack, now: float) -> None:
        due = list(islice((handle for handle, at in self._cut.items() if at <= now), _AT_ONCE))
        if len(due) == _AT_ONCE:
            self._not_before = now
        for handle in set(due) - conntrack.forget(due):
            del self._cut[handle]

    def _look(self, program: NodeProgram, noted: _Noted, *, quick: bool = False) -> Reviewed:
        if self._conntrack is None or not (any(noted.sides) or noted.every):
            return Reviewed()
        judge = Judge(program, self._conntrack.own_addresses())
        # Whoever can forge a reset or an end can go on under it. So flows that TCP has ended are cut and freed like
        # others, but nobody misses them.
        cut: dict[bool, list[Flow]] = {True: [], False: []}
        free: dict[bool, list[Flow]] = {True: [], False: []}
        found: list[Flow] = []
        sides = None if noted.every else noted.sides

        def settled(flow: Flow) -> bool:
            return not flow.labelled and judge.admits(flow)

        for flow in self._conntrack.flows(sides, settled, quick=quick):
            if not flow.labelled:
                cut[flow.is_over].append(flow)
            elif judge.admits(flow):
                free[flow.is_over].append(flow)
            elif flow.handle not in self._cut:
                # Cut by an agent before this one.
                found.append(flow)
        self._grace.end([flow for flow in found if flow.protocol == _TCP])
        self._cut |= dict.fromkeys((flow.handle for flow in found), self._clock() + FORGET_AFTER)
        result, _ = (self._end(self._conntrack, cut[is_over], free[is_over]) for is_over in (False, True))
        return result

    def _end(self, conntrack: Conntrack, cut: Collection[Flow], free: Collection[Flow]) -> Reviewed:
        """Cut flows, and free others."""
        self._grace.end([flow for flow in cut if flow.protocol == _TCP])
        labelled = conntrack.label(cut, present=True)
        left = self._delete(conntrack, labelled.without_room)
        if left and not self._uncut:
            self._not_before = self._clock() + FORGET_AGAIN
        self._uncut |= {flow.handle: flow for flow in left}
        self.uncut = _alive(self._uncut.values())
        without_room = {flow.handle for flow in labelled.without_room}
        due = self._clock() + FORGET_AFTER
        self._cut |= {flow.handle: due for flow in cut if flow.handle not in without_room}
        freed = conntrack.label(free, present=False)
        for flow in free:
            self._cut.pop(flow.handle, None)
        return Reviewed(labelled.done + len(without_room) - len(left), freed.done, len(left))

    def _delete(self, conntrack: Conntrack, flows: Collection[Flow]) -> list[Flow]:
        """Delete the entries of flows that cannot be labelled; return those that have to wait."""
        tcp = {flow.handle for flow in flows if flow.protocol == _TCP}
        early = set() if self._grace.end([flow for flow in flows if flow.handle in tcp]) else tcp
        kept = early | conntrack.forget([flow.handle for flow in flows if flow.handle not in early])
        return [flow for flow in flows if flow.handle in kept]


def _alive(flows: Collection[Flow]) -> int:
    """Return how many of some flows TCP has not ended."""
    return sum(not flow.is_over for flow in flows)


def concerned(change: ProgramChange, program: NodeProgram) -> Sides:
    """Return the local addresses about whose flows a change of the program may decide otherwise than before."""
    groups = set(change.groups)
    if change.sets:
        groups |= {
            key for key, group in program.groups.items() if any(shared in change.sets for shared, _ in group.shared)
        }

    def of(direction: Direction) -> set[int]:
        table = program.group_of[direction]
        return change.addresses.union(address for address, key in table.items() if key in groups)

    return Sides(of(Direction.EGRESS), of(Direction.INGRESS))
