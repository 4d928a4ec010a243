# SPDX-License-Identifier: Apache-2.0
"""What somebody looks at to tell pods apart: label keys, names of ports, and cuts between ranges of addresses.

Each is counted, because many policies look at the same. What nobody looks at any more is not given up at once:
a policy that is replaced looks at nearly the same again, and to join classes costs what it cost to split them.
It is given up when that has happened about as often as there is something in use, so that an agent that runs for
years has room and time for what there is, and not for what there was.
"""

from __future__ import annotations

from bisect import bisect_right, insort
from copy import copy
from typing import TYPE_CHECKING, Final, NamedTuple, TypeVar

from podfence.sets.addresses import V6_FIRST

if TYPE_CHECKING:
    from collections.abc import Iterable

PATIENCE: Final = 64
"""How often something falls out of use before anything is given up, for each 64 in use one more."""

_FEW: Final = 8

_T = TypeVar("_T")


class Look(NamedTuple):
    """Label keys, names of ports, and addresses at which a range begins."""

    keys: frozenset[str] = frozenset()
    names: frozenset[str] = frozenset()
    cuts: frozenset[int] = frozenset()

    def __bool__(self) -> bool:
        """Return whether it is at anything."""
        return bool(self.keys or self.names or self.cuts)


class Looks:
    """All looks that are taken: `keys` and `names` are those that count, with how many look at each.

    `patience` is `PATIENCE`, or less to give things up sooner.
    """

    def __init__(self) -> None:
        """Look at nothing but the family of an address."""
        self.patience = PATIENCE
        self.keys: dict[str, int] = {}
        self.names: dict[str, int] = {}
        self._cuts: dict[int, int] = dict.fromkeys((0, V6_FIRST), 1)
        self._order = sorted(self._cuts)
        self._idle = 0
        self._fallen = 0

    def copy(self) -> Looks:
        """Return the same looks, to be changed for one question."""
        other = copy(self)
        vars(other).update(
            keys=dict(self.keys), names=dict(self.names), _cuts=dict(self._cuts), _order=list(self._order)
        )
        return other

    def cell(self, number: int) -> int:
        """Return the first number of the elementary range that an address lies in."""
        return self._order[bisect_right(self._order, number) - 1]

    def new_in(self, look: Look) -> Look:
        """Return what in a look does not count yet."""
        return Look(
            look.keys.difference(self.keys), look.names.difference(self.names), look.cuts.difference(self._cuts)
        )

    def take(self, look: Look) -> None:
        """Let a look count."""
        new = look.cuts.difference(self._cuts)
        self._idle -= _count(self.keys, look.keys) + _count(self.names, look.names) + _count(self._cuts, look.cuts)
        if len(new) > _FEW:
            self._order += new
            self._order.sort()
        else:
            for cut in new:
                insort(self._order, cut)

    def end(self, look: Look) -> None:
        """Take one look back that was taken."""
        fallen = _uncount(self.keys, look.keys) + _uncount(self.names, look.names) + _uncount(self._cuts, look.cuts)
        self._idle += fallen
        self._fallen += fallen

    def give_up(self) -> Look:
        """Return what nobody looks at, if it is time to give it up; it does not count from then on."""
        in_use = len(self.keys) + len(self.names) + len(self._cuts) - self._idle
        if not self._fallen or self._fallen * PATIENCE <= self.patience * (PATIENCE + in_use):
            return Look()
        self._idle = self._fallen = 0
        unused = Look(_unused(self.keys), _unused(self.names), _unused(self._cuts))
        if unused.cuts:
            self._order = sorted(self._cuts)
        return unused


def _count(counts: dict[_T, int], items: Iterable[_T]) -> int:
    """Return how many were at nought."""
    risen = 0
    for item in items:
        count = counts.get(item)
        risen += count == 0
        counts[item] = (count or 0) + 1
    return risen


def _uncount(counts: dict[_T, int], items: Iterable[_T]) -> int:
    """Return how many are at nought now."""
    fallen = 0
    for item in items:
        counts[item] -= 1
        fallen += not counts[item]
    return fallen


def _unused(counts: dict[_T, int]) -> frozenset[_T]:
    unused = frozenset(item for item, count in counts.items() if not count)
    for item in unused:
        del counts[item]
    return unused
