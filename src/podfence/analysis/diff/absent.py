# SPDX-License-Identifier: Apache-2.0
"""What changes for peers of which neither side has any pod: rules for pods that are yet to come, or elsewhere."""

from __future__ import annotations

from functools import cache, partial
from itertools import product
from math import prod
from typing import TYPE_CHECKING, Final, NamedTuple

from msgspec.structs import replace

from podfence.analysis.absent import admitted, ports_by_block, space_of, unsaid
from podfence.analysis.diff.answer import ConnectionWord
from podfence.analysis.diff.causes import Because
from podfence.analysis.diff.undo import Undo
from podfence.analysis.ports import parse_port
from podfence.cluster.selection import Selection
from podfence.cluster.state import NAME_LABEL
from podfence.kube.objects import Selector
from podfence.policy.ends import PodEnd
from podfence.policy.verdict import Direction
from podfence.sets import PortSet, members

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from podfence.analysis.diff.causes import Causes
    from podfence.analysis.diff.units import Group, Units
    from podfence.cluster.members import Member
    from podfence.kube.objects import Requirement
    from podfence.policy.engine import Engine
    from podfence.policy.grants import Grant
    from podfence.policy.reach import Reach


_MOST: Final = 32
"""A selector that lists more combinations of values than this is taken as a whole."""


class AbsentPiece(NamedTuple):
    """Ports, by number and by name, that rules of a group admit with absent peers on one side only."""

    word: ConnectionWord
    direction: Direction
    group: int
    peer: Selection
    some_here: bool
    names: tuple[str, ...]
    because: Because


class Absent:
    """Compares what rules admit with peers that are nobody on both sides."""

    def __init__(self, units: Units, reaches: tuple[Reach, Reach], causes: Causes) -> None:
        """Look at nothing before it is asked for."""
        self._units = units
        self._reaches = reaches
        self._causes = causes
        self._is_nobody = cache(self._is_nobody_on_both)
        self._known: dict[object, tuple[tuple[ConnectionWord, tuple[str, ...], Because], ...]] = {}

    def differing(self, concerned: Mapping[Direction, int], spaces: Collection[str]) -> Iterator[AbsentPiece]:
        """Yield what differs for the groups that are concerned, and for others with rules about peers in `spaces`.

        `spaces` are the namespaces of which policies differ: they may say something of those peers.
        """
        for direction in Direction:
            groups = 0
            for side, reach in enumerate(self._reaches):
                groups |= self._units.of_classes(side, reach.with_absent_peers(direction)) & concerned[direction]
                for peer, subjects in reach.rectangles(direction):
                    if isinstance(peer, Selection) and space_of(peer) in spaces and self._is_nobody(peer):
                        groups |= self._units.of_classes(side, subjects)
            for number in members(groups):
                yield from self._of_group(direction, self._units.groups[number])

    def is_absent(self, direction: Direction, namespace: str, peer: Selection) -> bool:
        """Return whether a peer of a rule in a namespace means pods that neither side shows."""
        return all(reach.is_absent(direction, namespace, peer) for reach in self._reaches)

    def _is_nobody_on_both(self, peer: Selection) -> bool:
        """Return whether neither side has a pod that a selection means."""
        return all(reach.peers.is_nobody(peer) for reach in self._reaches)

    def _of_group(self, direction: Direction, group: Group) -> Iterator[AbsentPiece]:
        before, after = (_Rules(self, direction, *judged) for judged in self._causes.trials.sides(group))
        for peer in dict.fromkeys((*before.peers(), *after.peers())):
            key = (self._causes.said(direction, group), direction, peer, before.told(), after.told())
            if key not in self._known:
                self._known[key] = tuple(self._of_peer(direction, group, peer, before, after))
            for word, names, because in self._known[key]:
                yield AbsentPiece(word, direction, group.id, peer, not self._is_nobody(peer), names, because)

    def _of_peer(
        self, direction: Direction, group: Group, peer: Selection, before: _Rules, after: _Rules
    ) -> Iterator[tuple[ConnectionWord, tuple[str, ...], Because]]:
        # The other end is judged too, as far as it is known who that would be.
        others = self._causes.changed_in(space_of(peer))
        candidates = self._causes.candidates(direction, group) | {Undo(key) for key in others}
        word: ConnectionWord
        for word in ("opened", "closed"):
            ports, names = after.beyond(before, peer) if word == "opened" else before.beyond(after, peer)

            def undone(several: Collection[Undo], word: str = word) -> tuple[PortSet, tuple[str, ...]]:
                now = _Rules(self, direction, *self._causes.trials.judged(group, several))
                return now.beyond(before, peer) if word == "opened" else before.beyond(now, peer)

            if group.ends != "kept":
                if ports or names:
                    yield word, names, Because(ports, (), joint=False)
                continue
            if ports:
                for found in self._causes.searched(candidates, lambda some: PortSet.ALL - undone(some)[0], ports):
                    yield word, (), found
            if names:
                for found in self._causes.searched(
                    candidates, lambda some: PortSet.EMPTY if undone(some)[1] else PortSet.ALL, PortSet.ALL
                ):
                    yield word, names, found._replace(ports=PortSet.EMPTY)


class _Rules:
    """What the rules of one pod, None if it is not there, admit with absent peers."""

    def __init__(self, absent: Absent, direction: Direction, engine: Engine, member: Member | None) -> None:
        self._grants: list[Grant] = []
        self._admitted: dict[Selection, tuple[PortSet, tuple[str, ...]]] = {}
        self._by_block = PortSet.EMPTY
        self._is_there = member is not None
        self._is_isolated = False
        if member is None:
            return
        policies = [policy for several in engine.concerned(direction, PodEnd(member, None, 4)) for policy in several]
        self._is_isolated = bool(policies)
        self._grants = [grant for policy in policies for grant in policy.grants[direction]]
        self._by_block = ports_by_block(engine, self._grants)
        is_absent = partial(absent.is_absent, direction, member.namespace)
        self._admitted = admitted(engine, direction, member, self._grants, is_absent, parse_port(None))

    def peers(self) -> Collection[Selection]:
        """Return the peers that are nobody."""
        return self._admitted.keys()

    def told(self) -> object:
        """Return all that is said, for comparison."""
        return self._is_isolated, self._is_there, tuple(self._admitted.items())

    def beyond(self, other: _Rules, peer: Selection) -> tuple[PortSet, tuple[str, ...]]:
        """Return what these rules say of a peer that the others do not admit anyway."""
        ports, names = self._admitted.get(peer, (PortSet.EMPTY, ()))
        if other._is_there and not other._is_isolated:
            return PortSet.EMPTY, ()
        anyway = PortSet.union(grant.ports for grant in other._grants if grant.peer is None) | other._by_block
        left, named = PortSet.EMPTY, dict.fromkeys(names, False)
        # Several rules of the others may mean the values that a selector lists one by one.
        for part in apart(peer):
            covering = [said for wider, said in other._admitted.items() if covers(wider, part)]
            said = PortSet.union(there for there, _ in covering) | anyway
            left |= ports - said
            for name in unsaid(names, said):
                named[name] |= not any(name in several for _, several in covering)
        return left, tuple(name for name, is_left in named.items() if is_left)


def apart(selection: Selection) -> list[Selection]:
    """Return selections that together mean the same pods, each with one value where there is a list of values."""
    return [
        Selection(selection.namespace, spaces, pods)
        for spaces in _apart(selection.namespaces)
        for pods in _apart(selection.pods)
    ]


def _apart(selector: Selector | None) -> Iterator[Selector | None]:
    listed = prod(max(len(term.values), 1) for term in selector.requirements) if selector else 0
    if selector is None or listed > _MOST:
        yield selector
        return
    choices = [
        [replace(term, values=(value,)) for value in term.values] if term.operator == "In" else [term]
        for term in selector.requirements
    ]
    yield from map(Selector, product(*choices))


def covers(wider: Selection, narrow: Selection) -> bool:
    """Return whether a selection surely means all pods that another one means."""
    return _covers_spaces(wider, narrow) and _implies(narrow.pods, wider.pods)


def _covers_spaces(wider: Selection, narrow: Selection) -> bool:
    if wider.namespace is not None:
        return wider.namespace == space_of(narrow)
    if narrow.namespace is not None and wider.namespaces is not None:
        only_names = all(term.key == NAME_LABEL and term.operator == "In" for term in wider.namespaces.requirements)
        return only_names and all(narrow.namespace in term.values for term in wider.namespaces.requirements)
    return _implies(narrow.namespaces, wider.namespaces)


def _implies(narrow: Selector | None, wider: Selector | None) -> bool:
    """Return whether what the narrower selector asks for is surely enough for the wider one."""
    asked = narrow.requirements if narrow else ()
    return all(any(_is_enough(one, other) for one in asked) for other in (wider.requirements if wider else ()))


def _is_enough(one: Requirement, other: Requirement) -> bool:
    if one.key != other.key:
        return False
    if one.operator == "In" and other.operator in ("In", "NotIn"):
        return {*one.values} <= {*other.values} if other.operator == "In" else {*one.values}.isdisjoint(other.values)
    if one.operator == "NotIn" and other.operator == "NotIn":
        return {*other.values} <= {*one.values}
    return one.operator == other.operator or (one.operator, other.operator) in (
        ("In", "Exists"),
        ("DoesNotExist", "NotIn"),
    )
