# SPDX-License-Identifier: Apache-2.0
"""One pair of ends, judged in OLD, in NEW, and in NEW with some changes undone."""

from __future__ import annotations

from copy import copy
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from podfence.analysis.diff.states import state_of
from podfence.analysis.diff.undo import CLUSTER, restored
from podfence.analysis.diff.units import Group
from podfence.analysis.doubts import outcomes
from podfence.cluster.state import NAME_LABEL
from podfence.kube.objects import Key, Namespace
from podfence.policy.ends import AddressEnd, PodEnd
from podfence.policy.engine import Engine
from podfence.policy.extent import extent
from podfence.sets.addresses import family_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from podfence.analysis.diff.objects import Pair
    from podfence.analysis.diff.states import State
    from podfence.analysis.diff.undo import Undo
    from podfence.cluster.members import Member
    from podfence.cluster.state import ClusterState
    from podfence.policy.ends import End
    from podfence.policy.verdict import Direction
    from podfence.sets.addresses import Family

_OPEN = "depends"


class Ends(NamedTuple):
    """Source and destination: pods that are on both sides, or an address by its number."""

    source: Group | int
    destination: Group | int

    @property
    def groups(self) -> tuple[Group, ...]:
        """The ends that are pods."""
        return tuple(end for end in self if not isinstance(end, int))


class Trials:
    """Judges pairs of ends with some changes undone; one pod stands for all that no policy tells apart."""

    def __init__(self, old: Engine, new: Engine, found: Mapping[Key, Pair]) -> None:
        """Judge by two engines of which `found` are the objects that differ."""
        self._old = old
        self._new = new
        self._found = found
        self._engines: dict[frozenset[Undo], Engine] = {frozenset(): new}

    def before(self, ends: Ends) -> State:
        """Return how connections between two ends are in OLD."""
        return _state(self._old, *_members(ends, dict.fromkeys(range(2), 0)))

    def after(self, ends: Ends, undone: Iterable[Undo] = ()) -> State:
        """Return how they are in NEW with some changes undone."""
        several = frozenset(undone)
        pods = {item.object for item in several}
        sides = {place: int(isinstance(end, int) or end.owner not in pods) for place, end in enumerate(ends)}
        engine = self._engine(frozenset(item for item in several if item.object.kind in _OF_THE_STATE))
        return _state(engine, *_members(ends, sides))

    def sides(self, group: Group) -> tuple[tuple[Engine, Member | None], tuple[Engine, Member | None]]:
        """Return what judges a pod of a group in OLD and in NEW, with the pod as it is there, None if it is not."""
        return (self._old, next(iter(group.old.values()), None)), self.judged(group, ())

    def judged(self, group: Group, undone: Iterable[Undo]) -> tuple[Engine, Member | None]:
        """Return what judges a pod of a group in NEW with some changes undone, and the pod."""
        several = frozenset(undone)
        is_old = group.owner in {item.object for item in several}
        engine = self._engine(frozenset(item for item in several if item.object.kind in _OF_THE_STATE))
        return engine, next(iter((group.old if is_old else group.new).values()), None)

    def concerned(self, direction: Direction, subject: Group) -> set[Key]:
        """Return the policies that select a pod in a direction on either side, or may do so."""
        found: set[Key] = set()
        for engine, members in ((self._old, subject.old), (self._new, subject.new)):
            for member in list(members.values())[:1]:
                for policies in engine.concerned(direction, PodEnd(member, None, 4)):
                    found.update(policy.key for policy in policies)
        return found

    def _engine(self, undone: frozenset[Undo]) -> Engine:
        found = self._engines.get(undone)
        if found is None:
            found = self._engines[undone] = self._made(undone)
        return found

    def _made(self, undone: frozenset[Undo]) -> Engine:
        state = copy(self._new.state)
        state.policies = dict(state.policies)
        state.namespaces, state.implied = dict(state.namespaces), set(state.implied)
        options, world = self._new.options, self._new.world
        for key in {item.object for item in undone}:
            if key == CLUSTER:
                options, world = self._old.options, self._old.world
            elif key.kind == "Namespace":
                _restore_namespace(state, self._old.state, key.name)
            else:
                policy = restored(self._found[key], [item for item in undone if item.object == key])
                table = {**state.policies.get(key.namespace, {}), key.name: policy}
                state.policies[key.namespace] = {name: item for name, item in table.items() if item is not None}
        return Engine(state, options, world.of(state))


_OF_THE_STATE = frozenset({"NetworkPolicy", "Namespace", CLUSTER.kind})
"""The kinds that are undone in the state; pods are, where they are the ends."""


def _restore_namespace(state: ClusterState, old: ClusterState, name: str) -> None:
    state.namespaces[name] = old.namespaces.get(name) or Namespace(name=name, labels={NAME_LABEL: name})
    if name in old.implied or name not in old.namespaces:
        state.implied.add(name)
    else:
        state.implied.discard(name)


def _members(ends: Ends, sides: Mapping[int, int]) -> tuple[Member | int, Member | int]:
    """Return the pods at two ends, as they are in OLD (0) or in NEW (1); two different ones also of one group."""
    chosen: list[Member | int] = []
    for place, end in enumerate(ends):
        if isinstance(end, int):
            chosen.append(end)
            continue
        several = list((end.new if sides[place] else end.old).values())
        chosen.append(several[-1] if place else several[0])
    one, other = chosen
    if not isinstance(one, int) and not isinstance(other, int) and one.key == other.key:
        other = replace(other, key=Key(other.key.kind, other.namespace, ""))
    return one, other


def _state(engine: Engine, source: Member | int, destination: Member | int) -> State:
    """Return how connections between two ends are, in each family that both have."""
    if isinstance(source, int) or isinstance(destination, int):
        number = source if isinstance(source, int) else destination
        family = family_of(number) if isinstance(number, int) else 4
        extents = {family: extent(engine, _end(source, family), _end(destination, family))}
    else:
        one, other = _families(engine, source), _families(engine, destination)
        extents = {family: extent(engine, one[family], other[family]) for family in sorted(one.keys() & other.keys())}
    return state_of((text, ports) for ports, text in outcomes(extents, _OPEN))


def _end(end: Member | int, family: Family) -> End:
    return AddressEnd(end) if isinstance(end, int) else PodEnd(end, None, family)


def _families(engine: Engine, member: Member) -> dict[Family, PodEnd]:
    if member.addresses:
        return {family_of(number): PodEnd(member, number, family_of(number)) for number in member.addresses}
    return {family: PodEnd(member, None, family) for family in engine.assumed_families()}
