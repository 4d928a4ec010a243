# SPDX-License-Identifier: Apache-2.0
"""Classes of pods that nothing asked so far can tell apart, as bit positions.

All work on the whole cluster is done per class. A key, name or cut that comes into use later splits the classes it
tells apart; when it has been out of use for a while (see `looks`) they are joined again.
"""

from __future__ import annotations

from copy import copy
from heapq import heappop, heappush
from typing import TYPE_CHECKING, TypeVar

from msgspec import Struct
from msgspec.structs import replace

from podfence.cluster.looks import Look, Looks
from podfence.cluster.namespaces import NamespaceIndex
from podfence.cluster.pod_class import ClassKey, PodClass, class_key, told_apart_by
from podfence.kube.objects import Key
from podfence.sets.addresses import AddressSet, Family, family_of
from podfence.sets.bits import members as members_of
from podfence.sets.bits import union

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from podfence.cluster.members import Member
    from podfence.cluster.selection import Selection
    from podfence.kube.objects import Labels, Requirement, Selector

_K = TypeVar("_K")


class Joined(Struct, frozen=True):
    """What giving up what nobody looks at changed: the classes that took part, and the pods that are in others."""

    classes: frozenset[int]
    pods: frozenset[Key]


class ClassIndex:
    """The classes of a set of members, and the pods each selection and address set means, as bits."""

    def __init__(self, namespaces: Mapping[str, Labels]) -> None:
        """Start without members; `namespaces` are the labels of each namespace."""
        self._namespaces = NamespaceIndex(namespaces)
        self.looks = Looks()
        self._class_of: dict[Key, PodClass] = {}
        self._by_key: dict[ClassKey, PodClass] = {}
        self._key_of: dict[int, ClassKey] = {}
        self._free: list[int] = []
        self.classes: dict[int, PodClass] = {}
        self.all = 0
        self._in_namespace: dict[str, int] = {}
        self._with_label: dict[tuple[str, str], int] = {}
        self._with_key: dict[str, int] = {}
        self._in_cell: dict[int, int] = {}
        self.unaddressed = 0
        self._local: dict[str, dict[Selection, int]] = {}
        self._global: dict[Selection, int] = {}
        self._matched: dict[Selection, frozenset[str]] = {}
        self._changed: dict[Selection, int] = {}

    def copy(self, *, namespaces: bool = False) -> ClassIndex:
        """Return an index of its own with the same members in the same classes, to be changed for one question.

        It shares what is known of namespaces, unless the question is to change that too.
        """
        classes = {
            number: replace(item, labels=dict(item.labels), members=dict(item.members))
            for number, item in self.classes.items()
        }
        other = copy(self)
        # Whoever asks at the same time may be adding selections: they are taken as they are at one instant.
        tables = {name: value.copy() for name, value in vars(self).items() if isinstance(value, dict | list)}
        vars(other).update(
            tables,
            looks=self.looks.copy(),
            classes=classes,
            _class_of={key: item for item in classes.values() for key in item.members},
            _by_key={key: classes[number] for number, key in self._key_of.items()},
            _local={name: dict(table) for name, table in dict(self._local).items()},
            _changed={},
            _namespaces=self._namespaces.copy() if namespaces else self._namespaces,
        )
        return other

    def class_of(self, key: Key) -> PodClass | None:
        """Return the class of a member, None if it is not in the index."""
        return self._class_of.get(key)

    # What is looked at

    def look_at(self, keys: Iterable[str], names: Iterable[str], cuts: Iterable[int]) -> set[int]:
        """Tell pods apart by label keys, port names and address cuts too; return the classes that were split."""
        look = Look(frozenset(keys), frozenset(names), frozenset(cuts))
        new = self.looks.new_in(look)
        concerned = union(self._in_cell.get(cell, 0) for cell in {self.cell(cut) for cut in new.cuts})
        self.looks.take(look)
        if new.keys or new.names:
            members = ((number, member) for number, item in self.classes.items() for member in item.members.values())
            for number, member in members:
                if not new.keys.isdisjoint(member.labels) or any(port.name in new.names for port in member.ports):
                    concerned |= 1 << number
        return {number for split in members_of(concerned) for number in self._split(self.classes[split], new)}

    def look_away(self, keys: Iterable[str], names: Iterable[str], cuts: Iterable[int]) -> None:
        """Take back one `look_at` of the same; `tidy` joins the classes that nothing else tells apart."""
        self.looks.end(Look(frozenset(keys), frozenset(names), frozenset(cuts)))

    def tidy(self) -> Joined:
        """Join the classes that nothing tells apart any more, if it is time (see `Looks`)."""
        unused = self.looks.give_up()
        concerned = union(self._with_key.get(key, 0) for key in unused.keys)
        concerned |= union(self._in_cell.get(cut, 0) for cut in unused.cuts)
        for number, pod_class in self.classes.items() if unused.names else ():
            if any(name in unused.names for name, _, _, _ in pod_class.ports):
                concerned |= 1 << number
        classes: set[int] = set()
        pods: set[Key] = set()
        for number in members_of(concerned):
            self._join(self.classes[number], classes, pods)
        return Joined(frozenset(classes), frozenset(pods))

    def _join(self, pod_class: PodClass, classes: set[int], pods: set[Key]) -> None:
        """Let a class be known by what is looked at now; if another is so too, the smaller one goes into the other."""
        key = class_key(next(iter(pod_class.members.values())), self.looks)
        other = self._by_key.get(key)
        if other is None:
            self._rename(pod_class, key)
            return
        small, large = sorted((pod_class, other), key=lambda item: len(item.members))
        classes.update((small.id, large.id))
        pods.update(small.members)
        self._drop(small)
        for member in small.members.values():
            large.members[member.key] = member
            self._class_of[member.key] = large
        if large is pod_class:
            self._rename(pod_class, key)

    def _rename(self, pod_class: PodClass, key: ClassKey) -> None:
        """Let a class be known by another key, which means the same members."""
        labels, cells, bit = pod_class.labels.items(), set(pod_class.cells), 1 << pod_class.id
        del self._by_key[self._key_of[pod_class.id]]
        self._take_key(pod_class, key)
        self._flip_labels(pod_class.labels.items() ^ labels, bit)
        self._flip_cells(set(pod_class.cells) ^ cells, bit)

    def _split(self, pod_class: PodClass, new: Look) -> set[int]:
        """Put the members of a class that are told apart now into classes of their own; return all that took part.

        The first kind of members keeps the class: when all are of one kind nothing that refers to it changes.
        """
        kinds: dict[object, list[Member]] = {}
        for member in pod_class.members.values():
            kinds.setdefault(told_apart_by(new, member, self.looks), []).append(member)
        kept, *others = kinds.values()
        self._rename(pod_class, class_key(kept[0], self.looks))
        touched = {pod_class.id} if others else set()
        for apart in others:
            for member in apart:
                del pod_class.members[member.key]
                touched |= self.add(member)
        return touched

    # Members

    def add(self, member: Member) -> set[int]:
        """Put a member into its class; return the classes that came into being."""
        key = class_key(member, self.looks)
        pod_class = self._by_key.get(key)
        created = set()
        if pod_class is None:
            pod_class = self._create(key)
            created.add(pod_class.id)
        pod_class.members[member.key] = member
        self._class_of[member.key] = pod_class
        return created

    def remove(self, key: Key) -> set[int]:
        """Take a member out; return the classes that ceased to be."""
        pod_class = self._class_of.pop(key)
        del pod_class.members[key]
        if pod_class.members:
            return set()
        self._drop(pod_class)
        return {pod_class.id}

    def cell(self, number: int) -> int:
        """Return the first number of the elementary range that an address lies in."""
        return self.looks.cell(number)

    def _create(self, key: ClassKey) -> PodClass:
        # The lowest number that is free, so that sets of classes get short again after a flood.
        number = heappop(self._free) if self._free else len(self.classes)
        pod_class = PodClass(number, key[0], {}, (), ())
        self.classes[number] = pod_class
        self._take_key(pod_class, key)
        self._flip(pod_class)
        for table in (self._local.get(pod_class.namespace, {}), self._global):
            for selection in self._meaning(pod_class, table):
                table[selection] |= 1 << number
                self._note(selection, 1 << number)
        return pod_class

    def _take_key(self, pod_class: PodClass, key: ClassKey) -> None:
        _, labels, pod_class.ports, pod_class.cells = key
        pod_class.labels = dict(labels)
        self._by_key[key] = pod_class
        self._key_of[pod_class.id] = key

    def _drop(self, pod_class: PodClass) -> None:
        self._flip(pod_class)
        bit = 1 << pod_class.id
        for table in (self._local.get(pod_class.namespace, {}), self._global):
            for selection, bits in table.items():
                if bits & bit:
                    table[selection] = bits ^ bit
                    self._note(selection, bit)
        del self.classes[pod_class.id]
        del self._by_key[self._key_of.pop(pod_class.id)]
        heappush(self._free, pod_class.id)

    def _flip(self, pod_class: PodClass) -> None:
        """Set the class's bit in every index if it is clear, clear it if it is set."""
        bit = 1 << pod_class.id
        self.all ^= bit
        _flip_in(self._in_namespace, pod_class.namespace, bit)
        self._flip_labels(pod_class.labels.items(), bit)
        self._flip_cells(set(pod_class.cells), bit)
        if not pod_class.cells:
            self.unaddressed ^= bit

    def _flip_labels(self, labels: Iterable[tuple[str, str]], bit: int) -> None:
        for item in labels:
            _flip_in(self._with_label, item, bit)
            _flip_in(self._with_key, item[0], bit)

    def _flip_cells(self, cells: Iterable[int], bit: int) -> None:
        for cell in cells:
            _flip_in(self._in_cell, cell, bit)

    # Selections

    def _meaning(self, pod_class: PodClass, table: Iterable[Selection]) -> list[Selection]:
        """Return the selections that mean a class, out of those of its namespace or those of namespaces by labels."""
        namespace, labels, matched = pod_class.namespace, pod_class.labels, self._matched
        return [
            selection
            for selection in table
            if (selection.namespace is not None or namespace in matched[selection]) and selection.matches_labels(labels)
        ]

    def bits(self, selection: Selection) -> int:
        """Return the classes a selection means; its keys must be looked at (semantics 3.3, 3.4, 4)."""
        here = selection.namespace
        table = self._global
        if here is not None:
            local = self._local.get(here)
            table = self._local.setdefault(here, {}) if local is None else local
        found = table.get(selection)
        if found is None:
            found = table[selection] = self._evaluate(selection)
        return found

    def _evaluate(self, selection: Selection) -> int:
        if selection.namespace is not None:
            result = self._in_namespace.get(selection.namespace, 0)
        else:
            matched = self._matched[selection] = self._namespaces.matching(selection.namespaces)
            if len(matched) == len(self._namespaces):
                result = self.all
            else:
                result = union(self._in_namespace.get(name, 0) for name in matched)
        for requirement in selection.pods.requirements if selection.pods else ():
            result &= self._holding(requirement)
        return result

    def _holding(self, requirement: Requirement) -> int:
        """Return the classes for which a requirement holds: the truth table of semantics 4.3."""
        if requirement.operator in ("Exists", "DoesNotExist"):
            found = self._with_key.get(requirement.key, 0)
        else:
            found = union(self._with_label.get((requirement.key, value), 0) for value in requirement.values)
        return found if requirement.operator in ("In", "Exists") else self.all & ~found

    def forget(self, selection: Selection) -> None:
        """Stop keeping the bits of a selection that nobody uses any more."""
        here = selection.namespace
        table = self._global if here is None else self._local.get(here, {})
        table.pop(selection, None)
        self._matched.pop(selection, None)
        if here is not None and not table:
            self._local.pop(here, None)

    def put_namespace(self, name: str, labels: Labels | None) -> None:
        """Let a namespace have these labels from now on; None takes it out."""
        self._namespaces.put(name, labels)
        # Many selections have the same selector of namespaces.
        means: dict[Selector | None, bool] = {}
        for selection, before in list(self._global.items()):
            matched = self._matched[selection]
            now = means.get(selection.namespaces)
            if now is None:
                now = labels is not None and selection.matches_namespace(name, labels)
                means[selection.namespaces] = now
            if now == (name in matched):
                continue
            self._matched[selection] = matched | {name} if now else matched - {name}
            inside = self._in_namespace.get(name, 0)
            for requirement in selection.pods.requirements if selection.pods else ():
                inside &= self._holding(requirement)
            self._global[selection] = before | inside if now else before & ~inside
            self._note(selection, inside)

    def _note(self, selection: Selection, bits: int) -> None:
        self._changed[selection] = self._changed.get(selection, 0) | bits

    def take_changes(self) -> dict[Selection, int]:
        """Return the selections that gained or lost classes since last asked, with those classes."""
        changed, self._changed = self._changed, {}
        return changed

    # Addresses

    def in_family(self, family: Family, *, assumed: bool) -> int:
        """Return the classes that have an address of the family; `assumed` tells whether unaddressed ones do."""
        return self.with_address_in(AddressSet.ALL, family) | (self.unaddressed if assumed else 0)

    def with_address_in(self, addresses: AddressSet, family: Family) -> int:
        """Return the classes with a known address of the family inside the set (semantics 7.13)."""
        in_cells = self._in_cell.items()
        return union(bits for cell, bits in in_cells if family_of(cell) == family and cell in addresses)

    def families(self) -> frozenset[Family]:
        """Return the families of known addresses."""
        return frozenset(family_of(cell) for cell, bits in self._in_cell.items() if bits)

    def namespaces_of(self, bits: int) -> set[str]:
        """Return the namespaces of classes."""
        return {self.classes[number].namespace for number in members_of(bits)}

    def in_namespace(self, name: str) -> int:
        """Return the classes of one namespace."""
        return self._in_namespace.get(name, 0)


def _flip_in(table: dict[_K, int], key: _K, bit: int) -> None:
    """Set a bit of an entry if it is clear, clear it if it is set; there are no entries without bits."""
    bits = table.get(key, 0) ^ bit
    if bits:
        table[key] = bits
    else:
        del table[key]
