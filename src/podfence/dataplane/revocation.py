# SPDX-License-Identifier: Apache-2.0
"""Established flows, looked at again after a change: those forbidden now are cut, those allowed again are freed.

A flow is cut by a label in the kernel's connection tracking, which the table asks for before it lets
established flows pass; so the rules are programmed first, and the labels after.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from podfence.dataplane.flows import Judge

if TYPE_CHECKING:
    from collections.abc import Iterable

    from podfence.dataplane.conntrack import Conntrack
    from podfence.dataplane.flows import Flow
    from podfence.dataplane.program import NodeProgram, ProgramChange


class Reviewed(NamedTuple):
    """What looking at flows again did.

    `cut` are forbidden now, `freed` were cut and are allowed again. `unable` are forbidden and go on until
    they end: the kernel has known them for longer than the table, and has no room for labels on them.
    Flows that TCP has ended are not counted.
    """

    cut: int = 0
    freed: int = 0
    unable: int = 0


@dataclass(slots=True)
class _Noted:
    """Flows to look at: those of some addresses, or every one."""

    ends: set[int] = field(default_factory=set)
    every: bool = False

    def __or__(self, other: _Noted) -> _Noted:
        return _Noted(self.ends | other.ends, self.every or other.every)


class Revocation:
    """Keeps in mind which flows have to be looked at again; without a `conntrack`, none."""

    def __init__(self, conntrack: Conntrack | None) -> None:
        """Have nothing to look at yet."""
        self._conntrack = conntrack
        self._new = _Noted()
        self._recent = _Noted()
        self._older = _Noted()

    def note(self, ends: Iterable[int]) -> None:
        """Look at the flows of some addresses, next time and the time after."""
        self._new.ends.update(ends)

    def note_all(self) -> None:
        """Look at all flows, next time and the time after."""
        self._new.every = True

    def look(self, program: NodeProgram) -> Reviewed:
        """Look at what was noted since the last look, and return what was done.

        Raises NetlinkError; then all of it is looked at again.
        """
        result = self._look(program, self._new)
        self._recent.ends |= self._new.ends
        self._recent.every |= self._new.every
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

    def _look(self, program: NodeProgram, noted: _Noted) -> Reviewed:
        if self._conntrack is None or not (noted.ends or noted.every):
            return Reviewed()
        return _review(self._conntrack, program, None if noted.every else noted.ends)


def _review(conntrack: Conntrack, program: NodeProgram, ends: set[int] | None) -> Reviewed:
    judge = Judge(program, conntrack.own_addresses())
    cut: list[Flow] = []
    free: list[Flow] = []
    over: dict[bool, list[Flow]] = {True: [], False: []}
    for flow in conntrack.flows(ends, lambda flow: judge.admits(flow) is not flow.labelled):
        if flow.is_over:
            over[not flow.labelled].append(flow)
        else:
            (free if flow.labelled else cut).append(flow)
    done = conntrack.label(cut, present=True)
    freed = conntrack.label(free, present=False)
    # Whoever can forge a reset or an end can go on under it. So these are cut too, but nobody misses them.
    for present, flows in over.items():
        conntrack.label(flows, present=present)
    return Reviewed(done.done, freed.done, done.unable)


def concerned(change: ProgramChange, program: NodeProgram) -> set[int]:
    """Return the local addresses for which a change of the program may decide otherwise than before."""
    groups = set(change.groups)
    if change.sets:
        groups |= {
            key for key, group in program.groups.items() if any(shared in change.sets for shared, _ in group.shared)
        }
    found = set(change.addresses)
    for table in program.group_of.values():
        found |= {address for address, key in table.items() if key in groups}
    return found
