# SPDX-License-Identifier: Apache-2.0
"""The pods of two clusters side by side, in groups that neither cluster tells apart.

Both sides are judged on the same classes: those of OLD, told apart also by what policies of NEW look at, and those of
the pods that NEW has more. A group is a class of OLD and the class of NEW that its pods are in there, which mostly is
the same.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from msgspec import Struct, field

from podfence.analysis.endpoints import alone
from podfence.analysis.view import View
from podfence.cluster.members import Member
from podfence.cluster.pod_class import PodClass
from podfence.kube.objects import Key
from podfence.policy.model import class_index, looked_at
from podfence.sets import members, union

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping

    from podfence.analysis.diff.answer import Ends
    from podfence.cluster.classes import ClassIndex
    from podfence.policy.engine import Engine
    from podfence.policy.grants import CompiledPolicy

Place = tuple[int | None, int | None]
"""The class in OLD and the class in NEW, None on the side where there is none."""


class Group(Struct, eq=False):
    """Pods that are in one class on each side; `old` and `new` are their members there, by the name of the pod."""

    id: int
    place: Place
    old: dict[Key, Member] = field(default_factory=dict)
    new: dict[Key, Member] = field(default_factory=dict)

    @property
    def ends(self) -> Ends:
        """Whether the pods are on both sides, in NEW only or in OLD only."""
        return "added" if self.place[0] is None else "removed" if self.place[1] is None else "kept"

    @property
    def moved(self) -> bool:
        """Whether the pods are told apart by something that they had not in OLD."""
        return self.place[0] != self.place[1]

    @property
    def alone(self) -> bool:
        """Whether it is one pod, which always reaches itself (semantics 7.1)."""
        return all(alone(side.values()) for side in (self.old, self.new) if side)

    @property
    def owner(self) -> Key:
        """The workload of one of the pods, or a bare pod."""
        return next(iter((self.new or self.old).values())).owner


class Units:
    """The groups of two clusters; sets of groups are bits by their numbers, as sets of classes are."""

    def __init__(self, old: View, new: View, groups: Iterable[Group]) -> None:
        """Keep the groups, and the two views of their classes."""
        self.old = old
        self.new = new
        self.groups = {group.id: group for group in groups}
        self._by_class: tuple[dict[int, int], dict[int, int]] = ({}, {})
        self._translated: tuple[dict[int, int], dict[int, int]] = ({}, {})
        self.with_ends: dict[str, int] = {"kept": 0, "added": 0, "removed": 0}
        self.moved = 0
        for group in self.groups.values():
            bit = 1 << group.id
            self.with_ends[group.ends] |= bit
            if group.moved:
                self.moved |= bit
            for number, table in zip(group.place, self._by_class, strict=True):
                if number is not None:
                    table[number] = table.get(number, 0) | bit
        self._same = tuple(
            sum(1 << number for number, bits in table.items() if bits == 1 << number) for table in self._by_class
        )

    @property
    def divided(self) -> set[str]:
        """The namespaces of which the pods of NEW are in classes that OLD does not have."""
        new = self.new.index.classes
        return {new[number].namespace for number in new.keys() - self.old.index.classes.keys()}

    @property
    def all(self) -> int:
        """All groups."""
        return self.with_ends["kept"] | self.with_ends["added"] | self.with_ends["removed"]

    def classes(self, side: int) -> int:
        """Return the classes that have pods on a side: 0 is OLD, 1 is NEW."""
        return sum(1 << number for number in self._by_class[side])

    def of_classes(self, side: int, bits: int) -> int:
        """Return the groups whose pods are in classes on a side."""
        known = self._translated[side]
        found = known.get(bits)
        if found is None:
            same, table = self._same[side], self._by_class[side]
            found = known[bits] = bits & same | union(table.get(number, 0) for number in members(bits & ~same))
        return found

    def classes_of(self, groups: int) -> int:
        """Return the classes of groups on either side."""
        places = (place for number in members(groups) for place in self.groups[number].place)
        return union(1 << place for place in places if place is not None)

    def only(self, ends: Ends) -> Mapping[int, PodClass]:
        """Return the groups that connections with such ends are between, as classes that have names."""
        wanted = self.with_ends["kept"] | self.with_ends[ends]
        return {number: self._as_class(self.groups[number]) for number in members(wanted)}

    def _as_class(self, group: Group) -> PodClass:
        index, number = (self.old.index, group.place[0]) if group.place[1] is None else (self.new.index, group.place[1])
        seen = index.classes[number or 0]
        return PodClass(group.id, seen.namespace, seen.labels, seen.ports, seen.cells, group.new or group.old)


def units(
    old: Engine,
    new: Engine,
    index: ClassIndex | None,
    policies: Iterable[CompiledPolicy],
    spaces: Collection[str],
) -> Units:
    """Return the pods of both sides in groups; `index` is that of OLD, if there is one already.

    `policies` are those that only NEW has, and `spaces` the namespaces of which the labels differ.
    """
    if index is not None:
        before = index.copy(namespaces=True)
    else:
        # All that policies look at counts once, for nothing of it is ever given up.
        written = (policy for name in old.state.namespaces for policy in old.policies(name))
        before = class_index(old, [looked_at(*written)])
    for name in spaces:
        if name not in old.state.namespaces:
            before.put_namespace(name, old.state.labels_of_namespace(name))
    before.look_at(*looked_at(*policies))
    after = before.copy(namespaces=True)
    for name in spaces:
        after.put_namespace(name, new.state.labels_of_namespace(name))
    matched = list(_matched(old, new, before, after))
    found: dict[object, Group] = {}
    spare = max((*before.classes, *after.classes), default=-1) + 1
    for place, one, other in matched:
        # What has changed of one workload is not what has changed of another.
        key = (place, other.owner) if one and other and place[0] != place[1] else place
        group = found.get(key)
        if group is None:
            number = place[0]
            if number is None or number != place[1]:
                number = spare
                spare += 1
            group = found[key] = Group(number, place)
        if one is not None:
            group.old[one.key] = one
        if other is not None:
            group.new[other.key] = other
    return Units(View(old.as_read(), before), View(new, after), found.values())


_Match = tuple[Place, "Member | None", "Member | None"]


def _matched(old: Engine, new: Engine, before: ClassIndex, after: ClassIndex) -> Iterator[_Match]:
    """Yield the pods of both sides, each with its counterpart, if it has one, and put those of NEW in `after`.

    The counterpart of a pod is the one of its name. For one that is on one side only it is what its workload has on
    the other: pods that are all alike, or else those of the same class.
    """
    gone: list[Member] = []
    now = {key: member for key, member in new.state.members.items() if new.is_judged(member)}
    come = dict(now)
    on_old, on_new = _Owned(before), _Owned(after)
    for key, member in old.state.members.items():
        found = before.class_of(key)
        if found is None:
            continue
        other = come.pop(key, None)
        on_old.add(member)
        if other is None:
            gone.append(member)
        else:
            if not _is_equal(member, other):
                after.add(other)
            yield (found.id, on_new.number(key)), member, other
    for member in come.values():
        after.add(member)
    for member in now.values():
        on_new.add(member)
    for member in gone:
        number = on_old.number(member.key)
        place, counterpart = on_new.counterpart(member, number)
        yield (number, place), member, counterpart
    for member in come.values():
        number = on_new.number(member.key)
        place, counterpart = on_old.counterpart(member, number)
        yield (place, number), counterpart, member


class _Owned:
    """The pods of each workload of one side, one of each class."""

    def __init__(self, index: ClassIndex) -> None:
        self._index = index
        self._classes: dict[Key, dict[int, Member]] = defaultdict(dict)

    def number(self, key: Key) -> int:
        found = self._index.class_of(key)
        if found is None:
            raise AssertionError(f"{key} is in no class")
        return found.id

    def add(self, member: Member) -> None:
        if member.workload is not None:
            self._classes[member.workload][self.number(member.key)] = member

    def counterpart(self, member: Member, number: int) -> tuple[int | None, Member | None]:
        """Return a class and a pod of the workload of a pod that is of a class on the other side, None for none."""
        classes = self._classes.get(member.workload, {}) if member.workload is not None else {}
        if len(classes) == 1:
            return next(iter(classes.items()))
        return (number, classes[number]) if number in classes else (None, None)


def _is_equal(one: Member, other: Member) -> bool:
    return (one.labels, one.ports, one.addresses) == (other.labels, other.ports, other.addresses)
