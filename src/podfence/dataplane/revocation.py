# SPDX-License-Identifier: Apache-2.0
"""Established flows, looked at again after a change: those forbidden now are cut, those allowed again are freed.

A flow is cut by a label in the kernel's connection tracking, which the table asks for before it lets
established flows pass; so the rules are programmed first, and the labels after.
"""

from __future__ import annotations

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
    """

    cut: int = 0
    freed: int = 0
    unable: int = 0


class Revocation:
    """Keeps in mind which flows have to be looked at again; without a `conntrack`, none."""

    def __init__(self, conntrack: Conntrack | None) -> None:
        """Have nothing to look at yet."""
        self._conntrack = conntrack
        self._first: set[int] = set()
        self._second: set[int] = set()
        self._all_first = self._all_second = False

    def note(self, ends: Iterable[int]) -> None:
        """Look at the flows of some addresses, next time and the time after."""
        self._first.update(ends)

    def note_all(self) -> None:
        """Look at all flows, next time and the time after."""
        self._all_first = True

    def look(self, program: NodeProgram, *, second: bool = False) -> Reviewed:
        """Look at what was noted, and the `second` time at what was seen once; return what was done.

        A flow that begins while the rules change may show only the second time: the kernel lists a flow when
        its first packet has left. Raises NetlinkError; then all of it is looked at again.
        """
        ends = self._first | self._second if second else self._first
        every = self._all_first or (second and self._all_second)
        if self._conntrack is None or not (ends or every):
            return Reviewed()
        result = _review(self._conntrack, program, None if every else ends)
        if second:
            self._second, self._all_second = self._first, self._all_first
        else:
            self._second |= self._first
            self._all_second |= self._all_first
        self._first, self._all_first = set(), False
        return result


def _review(conntrack: Conntrack, program: NodeProgram, ends: set[int] | None) -> Reviewed:
    judge = Judge(program, conntrack.own_addresses())
    cut: list[Flow] = []
    free: list[Flow] = []
    for flow in conntrack.flows(ends):
        if judge.admits(flow) == flow.labelled:
            (free if flow.labelled else cut).append(flow)
    done = conntrack.label(cut, present=True)
    return Reviewed(done.done, conntrack.label(free, present=False).done, done.unable)


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
