# SPDX-License-Identifier: Apache-2.0
"""Why connections changed: the changes of objects that undo it if they are undone.

One pair of ends stands for all that the policies of both sides treat alike. It is judged in NEW with each change undone
that can have a say. A change that alone brings back what OLD says is a cause. If none does, it takes several together.
"""

from __future__ import annotations

from collections import defaultdict
from functools import cache, cached_property
from typing import TYPE_CHECKING, Final, NamedTuple

from podfence.analysis.diff.answer import Cause
from podfence.analysis.diff.bearing import Bearing
from podfence.analysis.diff.search import search
from podfence.analysis.diff.states import equal_ports
from podfence.analysis.diff.trial import Ends, Trials
from podfence.analysis.diff.undo import Undo, cause, parts
from podfence.cluster.controllers import is_unknown
from podfence.kube.objects import Key
from podfence.policy.verdict import Direction
from podfence.sets import AddressSet, PortSet, union
from podfence.sets.addresses import family_of
from podfence.sets.partition import split

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from podfence.analysis.diff.compare import Piece
    from podfence.analysis.diff.objects import Pair
    from podfence.analysis.diff.policies import Policies
    from podfence.analysis.diff.search import Undone
    from podfence.analysis.diff.units import Group, Units
    from podfence.policy.peers import Scenario
    from podfence.policy.reach import Reach

_MOST: Final = 4_000
"""So many times something is undone. A larger change is about everything, and nobody reads that many causes."""

_MOST_PARTS: Final = 50
"""A policy of which more differs is undone as a whole only."""


class Because(NamedTuple):
    """The causes of a change on some ports: each alone is one, or all are together (`joint`)."""

    ports: PortSet
    causes: tuple[Cause, ...]
    joint: bool


class Alike(NamedTuple):
    """A part of a piece that one pair of ends stands for."""

    others: int
    addresses: AddressSet
    because: tuple[Because, ...]


_UNTOLD: Final = (Because(PortSet.ALL, (), joint=False),)


class Causes:
    """Finds the causes of pieces."""

    def __init__(
        self,
        units: Units,
        reaches: tuple[Reach, Reach],
        scenarios: tuple[tuple[Scenario, ...], tuple[Scenario, ...]],
        policies: Policies,
        found: Mapping[Key, Pair],
        concerned: Mapping[Direction, int],
    ) -> None:
        """Look at nothing before it is asked for; `concerned` are the groups that are, by direction."""
        self._units = units
        self._reaches = reaches
        self._scenarios = scenarios
        self._policies = policies
        self._found = found
        self._concerned = concerned
        self.trials = Trials(units.old.engine, units.new.engine, found, policies.entangled)
        self._spaces = {key.name for key, pair in found.items() if key.kind == "Namespace" and pair.differs}
        self._changed: dict[str, set[Key]] = defaultdict(set)
        for key, pair in found.items():
            if key.kind == "NetworkPolicy" and pair.differs:
                self._changed[key.namespace].add(key)
        self.said = cache(self._identity)
        self._parts_of: dict[object, tuple[Alike, ...]] = {}
        self._known: dict[object, tuple[Because, ...]] = {}
        self._cause = cache(lambda undo: cause(undo, found.get(undo.object)))
        self._undone = 0

    def of(self, piece: Piece) -> Iterator[Alike]:
        """Yield the parts of a piece with their causes; all of its ends are on both sides."""
        if self.is_exhausted:
            yield Alike(piece.others, piece.addresses, _UNTOLD)
            return
        group = self._units.groups[piece.group]
        said = self.said(piece.direction, group)
        if piece.others & self._with_changes:
            yield from self._of_groups(piece, group, said)
            return
        # Many groups have the same rules, and the same others.
        key = (said, self._seen(group), piece._replace(group=0))
        if key not in self._parts_of:
            found = self._of_addresses(piece, group, said) if piece.addresses else self._of_groups(piece, group, said)
            self._parts_of[key] = tuple(found)
        yield from self._parts_of[key]

    def _of_addresses(self, piece: Piece, group: Group, said: object) -> Iterator[Alike]:
        blocks = dict.fromkeys(peer for peer, _ in self._peers(piece.direction, group) if isinstance(peer, AddressSet))
        for addresses in split([piece.addresses], blocks):
            number = addresses.spans[0][0]
            ends = Ends(number, group) if piece.direction is Direction.INGRESS else Ends(group, number)
            held = tuple(number in block for block in blocks)
            because = self._because((piece.direction, said, piece.before, piece.after, held), ends, piece)
            yield Alike(0, addresses, because)

    def _of_groups(self, piece: Piece, group: Group, said: object) -> Iterator[Alike]:
        splitters = dict.fromkeys(bits for _, bits in self._peers(piece.direction, group)) if said else {}
        for told, sources in self._by_source(piece.others):
            meant = tuple(self._meant(told, sources, group))
            for others in split([sources], splitters):
                one = (others & -others).bit_length() - 1
                held = tuple(bits >> one & 1 for bits in splitters)
                key = (said, told, self._seen(group), piece.before, piece.after, meant, held)
                yield Alike(others, AddressSet.EMPTY, self._because(key, Ends(self._units.groups[one], group), piece))

    @property
    def is_exhausted(self) -> bool:
        """Whether so much was tried that no more causes are looked for."""
        return self._undone >= _MOST

    # What is alike

    def _identity(self, direction: Direction, group: Group) -> object:
        """Return a value that is equal for groups of which the same changes are to be told in a direction."""
        space = group.owner.namespace if group.owner.namespace in self._spaces else ""
        if not self._concerned[direction] >> group.id & 1:
            return space
        views = (self._units.old, self._units.new)
        selecting = tuple(
            tuple(
                id(policy)
                for policy in view.engine.policies(group.owner.namespace)
                if number is not None and policy.isolates(direction) and view.index.bits(policy.subject) >> number & 1
            )
            for view, number in zip(views, group.place, strict=True)
        )
        return space, selecting, self._seen(group)

    def _seen(self, group: Group) -> object:
        """Return what else rules may see of a group: its named ports and families, and itself if it has changed."""
        number = next(number for number in group.place if number is not None)
        seen = (self._units.old if group.place[0] is not None else self._units.new).index.classes[number]
        apart = group.moved or any(map(is_unknown, seen.labels.values()))
        return seen.ports, frozenset(map(family_of, seen.cells)), group.id if apart else -1

    @cached_property
    def _sources(self) -> dict[object, int]:
        """All groups of which changes are to be told as of sources, those together of which the same are."""
        found: dict[object, int] = defaultdict(int)
        for group in self._units.groups.values():
            if said := self.said(Direction.EGRESS, group):
                found[said] |= 1 << group.id
        return found

    @cached_property
    def _with_changes(self) -> int:
        return union(self._sources.values())

    def _by_source(self, others: int) -> Iterator[tuple[object, int]]:
        """Yield sources in sets of which the same changes are to be told."""
        for said, bits in self._sources.items():
            if inside := others & bits:
                yield said, inside
                others &= ~bits
        if others:
            yield "", others

    def _peers(self, direction: Direction, group: Group) -> Iterator[tuple[object, int]]:
        """Yield the peers of all rules of a group in a direction, with the groups that they mean."""
        for side, number in enumerate(group.place):
            if number is None:
                continue
            for grant in self._reaches[side].grants(direction, number):
                for scenario in self._scenarios[side]:
                    yield grant.peer, self._units.of_classes(side, self._reaches[side].peers.of(grant.peer, scenario))

    def _meant(self, told: object, sources: int, group: Group) -> Iterator[int]:
        """Yield whether each egress rule of sources, which all have the same ones, means a group."""
        if told:
            source = self._units.groups[(sources & -sources).bit_length() - 1]
            yield from (bits >> group.id & 1 for _, bits in self._peers(Direction.EGRESS, source))

    # What it takes

    def _because(self, key: object, ends: Ends, piece: Piece) -> tuple[Because, ...]:
        known = self._known.get(key)
        if known is None:
            changed = PortSet.ALL - equal_ports(piece.before, piece.after)
            known = self._known[key] = tuple(self._tried(ends, changed))
        return known

    def _tried(self, ends: Ends, changed: PortSet) -> Iterator[Because]:
        before = self.trials.before(ends)
        candidates = self._candidates(ends)
        differ_in_policies = len(candidates) > 1 and all(undo.object.kind == "NetworkPolicy" for undo in candidates)
        yield from self.searched(
            candidates,
            lambda undone: equal_ports(self.trials.after(ends, undone), before),
            changed,
            Bearing(self.trials, ends, before) if differ_in_policies else None,
        )

    def searched(
        self, candidates: Iterable[Undo], undone: Undone, changed: PortSet, seen: Bearing | None = None
    ) -> Iterator[Because]:
        """Yield the causes among candidates, of which `undone` returns the ports that are as in OLD without some.

        `seen` is what is known of them without a trial, None for nothing.
        """
        if self.is_exhausted:
            yield Because(changed, (), joint=False)
            return

        def tried(several: Sequence[Undo]) -> PortSet:
            self._undone += 1
            return undone(several)

        for ports, several, joint in search(sorted(candidates), self._parts, tried, changed, seen):
            yield Because(ports, tuple(map(self._cause, several)), joint)

    def _candidates(self, ends: Ends) -> set[Undo]:
        """Return the objects whose change may matter to two ends."""
        found: set[Undo] = set()
        for direction, end in zip((Direction.EGRESS, Direction.INGRESS), ends, strict=True):
            if not isinstance(end, int):
                found |= self.candidates(direction, end)
        return found

    def candidates(self, direction: Direction, subject: Group) -> set[Undo]:
        """Return the objects whose change may matter to a direction of a pod."""
        namespace = subject.owner.namespace
        found = self.changed_in(namespace)
        if namespace not in self._policies.entangled:
            found &= self.trials.concerned(direction, subject)
        if namespace in self._spaces:
            found.add(Key("Namespace", "", namespace))
        if subject.moved:
            found.add(subject.owner)
        return {Undo(key) for key in found}

    def changed_in(self, namespace: str) -> set[Key]:
        """Return the policies of a namespace that differ."""
        return set(self._changed.get(namespace, ()))

    def _parts(self, undo: Undo) -> Sequence[Undo]:
        found = list(parts(undo.object, self._found[undo.object])) if undo.object.kind == "NetworkPolicy" else []
        return found if len(found) <= _MOST_PARTS else []
