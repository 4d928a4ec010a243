# SPDX-License-Identifier: Apache-2.0
"""One pair of ends, judged in OLD, in NEW, and in NEW with some changes undone."""

from __future__ import annotations

from collections import defaultdict
from copy import copy
from functools import cache, lru_cache, reduce
from typing import TYPE_CHECKING, NamedTuple

from msgspec.structs import replace

from podfence.analysis.diff.states import state_of
from podfence.analysis.diff.undo import CLUSTER, restored
from podfence.analysis.diff.units import Group
from podfence.analysis.doubts import outcomes
from podfence.cluster.state import NAME_LABEL
from podfence.kube.objects import Key, Namespace, NetworkPolicy
from podfence.policy.budget import BUDGETS, Size, size_of
from podfence.policy.ends import AddressEnd, PodEnd
from podfence.policy.engine import Engine
from podfence.policy.extent import extent
from podfence.policy.grants import compile_policy
from podfence.policy.verdict import Direction
from podfence.policy.world import singles
from podfence.sets.addresses import family_of

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from podfence.analysis.diff.objects import Pair
    from podfence.analysis.diff.states import State
    from podfence.analysis.diff.undo import Undo
    from podfence.cluster.members import Member
    from podfence.cluster.state import ClusterState
    from podfence.policy.ends import End
    from podfence.policy.grants import CompiledPolicy
    from podfence.sets.addresses import Family

_OPEN = "depends"
_FEW = 8


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

    def __init__(self, old: Engine, new: Engine, found: Mapping[Key, Pair], entangled: Collection[str]) -> None:
        """Judge by two engines of which `found` are the objects that differ.

        `entangled` are the namespaces where a policy has a say in what others mean.
        """
        self._old = old
        self._new = new
        self._found = found
        self._entangled = entangled
        self._engines: dict[frozenset[Undo], Engine] = {frozenset(): new}
        self._compiled: dict[frozenset[Undo], tuple[CompiledPolicy | None, bool]] = {}
        self._names_one = cache(self._names_one_anew)
        self._selecting_ends = lru_cache(_FEW)(self._selecting)
        apart = [key for key in found if key.kind == "NetworkPolicy" and key.namespace not in entangled]
        names = {key.namespace for key in apart}
        before, after = (
            {policy.key: policy for name in names for policy in side.policies(name)} for side in (old, new)
        )
        is_alike = old.options == new.options
        self._on_both_sides = {key: (before.get(key), after.get(key)) for key in apart if is_alike}

    def before(self, ends: Ends) -> State:
        """Return how connections between two ends are in OLD."""
        return _state(self._old, *_members(ends, (False, False)))

    def after(self, ends: Ends, undone: Iterable[Undo] = ()) -> State:
        """Return how they are in NEW with some changes undone."""
        several = frozenset(undone)
        pods = {item.object for item in several}
        one, other = (isinstance(end, int) or end.owner not in pods for end in ends)
        return _state(self._engine(several, ends), *_members(ends, (one, other)))

    def now(self, ends: Ends) -> tuple[Engine, tuple[tuple[End, End], ...]]:
        """Return what judges NEW, and two ends as they are in it, in each family that both have."""
        return self._new, tuple(_in_families(self._new, *_members(ends, (True, True))).values())

    def compiled(self, key: Key, *, anywhere: bool) -> tuple[CompiledPolicy | None, CompiledPolicy | None]:
        """Return a policy as it is compiled in OLD and in NEW, None where it is not.

        Both are None for an object that has a say in what others mean: also of policies, if an end may be `anywhere`,
        and of all if the sides are judged with different options.
        """
        both = self._on_both_sides.get(key)
        return (None, None) if both is None or (anywhere and self._names_one(key)) else both

    def sides(self, group: Group) -> tuple[tuple[Engine, Member | None], tuple[Engine, Member | None]]:
        """Return what judges a pod of a group in OLD and in NEW, with the pod as it is there, None if it is not."""
        return (self._old, next(iter(group.old.values()), None)), self.judged(group, ())

    def judged(self, group: Group, undone: Iterable[Undo]) -> tuple[Engine, Member | None]:
        """Return what judges a pod of a group in NEW with some changes undone, and the pod."""
        several = frozenset(undone)
        is_old = group.owner in {item.object for item in several}
        return self._engine(several), next(iter((group.old if is_old else group.new).values()), None)

    def concerned(self, direction: Direction, subject: Group) -> set[Key]:
        """Return the policies that select a pod in a direction on either side, or may do so."""
        sides = (self._old, subject.old), (self._new, subject.new)
        return {key for engine, members in sides for key in _selecting(engine, direction, members)}

    def _engine(self, several: frozenset[Undo], ends: Ends | None = None) -> Engine:
        """Return what judges NEW with some changes undone; if `ends` are given, them only."""
        undone = frozenset(item for item in several if item.object.kind in _OF_THE_STATE)
        found = self._engines.get(undone)
        if found is None:
            found = self._beside(undone, ends)
            if found is None:
                found = self._made(undone)
                ends = None
            if len(undone) == 1 and ends is None:
                # Larger sets are not asked for twice, or seldom.
                self._engines[undone] = found
        return found

    def _beside(self, undone: Collection[Undo], ends: Ends | None) -> Engine | None:
        """Return the engine of NEW with other policies, None if undoing these changes makes anything else differ."""
        by_key = _by_object(undone)
        if any(key.kind != "NetworkPolicy" or key.namespace in self._entangled for key in by_key):
            return None
        engine = self._new
        for name in {key.namespace for key in by_key}:
            written = engine.policies(name) if ends is None else self._selecting_ends(ends)
            together = [policy for policy in written if policy.key.namespace == name and policy.key not in by_key]
            for key, several in by_key.items():
                if key.namespace == name:
                    policy, fits = self._restored(frozenset(several))
                    if not fits:
                        return None
                    together += [policy] if policy is not None else []
            engine = engine.with_policies(name, tuple(sorted(together, key=lambda policy: policy.key.name)))
        if any(map(self._names_one, by_key)):
            engine.world = engine.world.of(self._state_without(by_key))
        return engine

    def _names_one_anew(self, key: Key) -> bool:
        """Return whether a policy names an address alone: no pod whose address is not known has it (semantics 13.6)."""
        pair = self._found[key]
        return any(isinstance(item, NetworkPolicy) and any(singles(item)) for item in (pair.old, pair.new))

    def _selecting(self, ends: Ends) -> Collection[CompiledPolicy]:
        """Return the policies of NEW that select an end in its direction, or may do so, as it is on either side."""
        found: dict[Key, CompiledPolicy] = {}
        for direction, end in zip((Direction.EGRESS, Direction.INGRESS), ends, strict=True):
            if not isinstance(end, int):
                for members in (end.old, end.new):
                    found.update(_selecting(self._new, direction, members))
        return found.values()

    def _restored(self, undone: frozenset[Undo]) -> tuple[CompiledPolicy | None, bool]:
        """Return a policy of NEW with parts as they were in OLD, compiled, and whether it is as small as these."""
        if undone not in self._compiled:
            pair = self._found[next(iter(undone)).object]
            policy = restored(pair, undone)
            compiled, fits = None, True
            if policy is not None:
                size, budget = size_of(policy), BUDGETS[self._new.options.budget]
                both = [size_of(item) for item in (pair.old, pair.new) if isinstance(item, NetworkPolicy)]
                most = reduce(Size.plus, both)
                fits = budget is None or not (size.beyond(budget.policy) or size.beyond(most))
                compiled = compile_policy(policy, self._new.options, size, "")
            self._compiled[undone] = compiled, fits
        return self._compiled[undone]

    def _made(self, undone: Collection[Undo]) -> Engine:
        by_key = _by_object(undone)
        state = self._state_without(by_key)
        side = self._old if CLUSTER in by_key else self._new
        return Engine(state, side.options, side.world.of(state))

    def _state_without(self, undone: Mapping[Key, Collection[Undo]]) -> ClusterState:
        """Return the state of NEW with changes of objects undone."""
        state = copy(self._new.state)
        state.policies = dict(state.policies)
        for name in {key.namespace for key in undone}:
            state.policies[name] = dict(state.policies.get(name, {}))
        state.namespaces, state.implied = dict(state.namespaces), set(state.implied)
        for key, several in undone.items():
            if key.kind == "Namespace":
                _restore_namespace(state, self._old.state, key.name)
            elif key != CLUSTER:
                policy = restored(self._found[key], several)
                state.policies[key.namespace].pop(key.name, None)
                if policy is not None:
                    state.policies[key.namespace][key.name] = policy
        return state


_OF_THE_STATE = frozenset({"NetworkPolicy", "Namespace", CLUSTER.kind})
"""The kinds that are undone in the state; pods are, where they are the ends."""


def _restore_namespace(state: ClusterState, old: ClusterState, name: str) -> None:
    state.namespaces[name] = old.namespaces.get(name) or Namespace(name=name, labels={NAME_LABEL: name})
    if name in old.implied or name not in old.namespaces:
        state.implied.add(name)
    else:
        state.implied.discard(name)


def _members(ends: Ends, are_new: tuple[bool, bool]) -> tuple[Member | int, Member | int]:
    """Return the pods at two ends, as they are in OLD or in NEW; two different ones also of one group."""
    one, other = (
        end if isinstance(end, int) else list((end.new if is_new else end.old).values())[place]
        for end, is_new, place in zip(ends, are_new, (0, -1), strict=True)
    )
    if not isinstance(one, int) and not isinstance(other, int) and one.key == other.key:
        other = replace(other, key=Key(other.key.kind, other.namespace, ""))
    return one, other


def _selecting(engine: Engine, direction: Direction, members: Mapping[Key, Member]) -> dict[Key, CompiledPolicy]:
    """Return the policies that select pods which are alike in a direction, or may do so."""
    ends = [PodEnd(member, None, 4) for member in list(members.values())[:1]]
    several = [policies for end in ends for policies in engine.concerned(direction, end)]
    return {policy.key: policy for policies in several for policy in policies}


def _by_object(undone: Iterable[Undo]) -> dict[Key, set[Undo]]:
    found: dict[Key, set[Undo]] = defaultdict(set)
    for item in undone:
        found[item.object].add(item)
    return found


def _state(engine: Engine, source: Member | int, destination: Member | int) -> State:
    """Return how connections between two ends are, in each family that both have."""
    pairs = _in_families(engine, source, destination)
    extents = {family: extent(engine, *pair) for family, pair in pairs.items()}
    return state_of((text, ports) for ports, text in outcomes(extents, _OPEN))


def _in_families(engine: Engine, source: Member | int, destination: Member | int) -> dict[Family, tuple[End, End]]:
    if isinstance(source, int) or isinstance(destination, int):
        number = source if isinstance(source, int) else destination
        family = family_of(number) if isinstance(number, int) else 4
        return {family: (_end(source, family), _end(destination, family))}
    one, other = ({end.family: end for end in engine.pod_ends(pod)} for pod in (source, destination))
    return {family: (one[family], other[family]) for family in sorted(one.keys() & other.keys())}


def _end(end: Member | int, family: Family) -> End:
    return AddressEnd(end) if isinstance(end, int) else PodEnd(end, None, family)
