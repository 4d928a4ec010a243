# SPDX-License-Identifier: Apache-2.0
"""Sets of classes as people name them: workloads, whole namespaces, all pods."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Hashable
from typing import TYPE_CHECKING, Protocol, TypeVar

from podfence.analysis.answers import Endpoints, PortRange, Ports
from podfence.cluster.members import display_name
from podfence.sets import AddressSet, PortSet, members

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping

    from podfence.cluster.pod_class import PodClass
    from podfence.kube.objects import Key

_Set = TypeVar("_Set", bound=Hashable)
_FEW = 4
_LONG = 6
"""A set with more members than this that is used several times is named once, as a group."""


class Classes(Protocol):
    """Classes of pods by number, as bits: those of an index, or others."""

    @property
    def classes(self) -> Mapping[int, PodClass]:
        """Every class by its number."""

    @property
    def all(self) -> int:
        """All classes."""

    def in_namespace(self, name: str) -> int:
        """Return the classes of one namespace."""

    def namespaces_of(self, bits: int) -> set[str]:
        """Return the namespaces of classes."""


class Namer:
    """Names the classes of an index; `only` limits the names to some pods and workloads."""

    def __init__(self, index: Classes, internet: AddressSet = AddressSet.EMPTY) -> None:
        """Work out the name of every class's workloads: by label where a workload is in several classes.

        `internet` are the addresses to call so, if the question does.
        """
        self._index = index
        self._internet = internet
        self._names: dict[int, tuple[str, ...]] = {}
        self._known: dict[tuple[int, AddressSet, int, int], Endpoints] = {}
        classes_of: dict[Key, set[int]] = defaultdict(set)
        for pod_class in index.classes.values():
            for member in pod_class.members.values():
                classes_of[member.owner].add(pod_class.id)
        parts = {key: _part_names(index, numbers) for key, numbers in classes_of.items() if len(numbers) > 1}
        for pod_class in index.classes.values():
            keys = {member.owner for member in pod_class.members.values()}
            self._names[pod_class.id] = tuple(
                sorted(display_name(key) + (parts[key][pod_class.id] if key in parts else "") for key in keys)
            )
        # Workloads in several classes, by class: all its classes, the name of the whole, and those of its parts.
        self._wholes: dict[int, list[tuple[int, str, frozenset[str]]]] = defaultdict(list)
        for key, names in parts.items():
            whole = display_name(key)
            item = (sum(1 << number for number in names), whole, frozenset(whole + part for part in names.values()))
            self._wholes[min(names)].append(item)
        self.spaces = sorted({pod_class.namespace for pod_class in index.classes.values()})
        self._count = {
            name: sum(len(self._names[n]) for n in members(index.in_namespace(name))) for name in self.spaces
        }

    def names(self, bits: int, only: Collection[str] | None = None) -> tuple[str, ...]:
        """Return the workloads and bare pods of classes, in order; `only` those that begin with one of the names.

        A workload of which all classes are there is named as one.
        """
        found = [name for number in members(bits) for name in self._names[number]]
        for number in members(bits) if self._wholes else ():
            for classes, whole, parts in self._wholes.get(number, ()):
                if not classes & ~bits:
                    found = [name for name in found if name not in parts] + [whole]
        if only is not None:
            found = [name for name in found if name.partition("[")[0] in only]
        return tuple(sorted(found))

    def whole_names(self, bits: int) -> frozenset[str]:
        """Return the names of classes without what tells those of one workload apart."""
        return frozenset(name.partition("[")[0] for name in self.names(bits))

    def endpoints(
        self,
        bits: int,
        addresses: AddressSet = AddressSet.EMPTY,
        *,
        opened: int = 0,
        optional: int = 0,
        only: Collection[str] | None = None,
    ) -> Endpoints:
        """Return classes and addresses as an answer names them.

        `opened` are the classes no policy isolates, named as one where all of them are in a large set;
        `optional` those that may be named or not, whichever is shorter.
        """
        if only is not None:
            return self._endpoints(bits, addresses, opened, optional, only)
        key = (bits, addresses, opened, optional)
        found = self._known.get(key)
        if found is None:
            found = self._known[key] = self._endpoints(bits, addresses, opened, optional, None)
        return found

    def _endpoints(
        self, bits: int, addresses: AddressSet, opened: int, optional: int, only: Collection[str] | None
    ) -> Endpoints:
        outside = addresses == AddressSet.ALL
        internet = bool(addresses) and addresses == self._internet
        blocks = () if outside or internet else addresses.blocks()
        if only is not None:
            return Endpoints(
                workloads=self.names(bits, only), all_addresses=outside, internet=internet, addresses=blocks
            )
        everyone = self._index.all
        if bits and bits | optional == everyone:
            if outside:
                return Endpoints(everything=True)
            return Endpoints(all_pods=True, internet=internet, addresses=blocks)
        rest = bits
        with_open = bool(opened) and not opened & ~(bits | optional) and opened.bit_count() > _FEW
        if with_open:
            rest &= ~opened
        spaces = []
        left = rest
        while left:
            # Of each namespace one class is looked at: most sets are of whole namespaces.
            name = self._index.classes[(left & -left).bit_length() - 1].namespace
            inside = self._index.in_namespace(name)
            left &= ~inside
            if not inside & ~(rest | optional) and self._count[name] > 1:
                spaces.append(name)
                rest &= ~inside
        if bits != optional:
            rest &= ~optional
        return Endpoints(
            all_addresses=outside,
            internet=internet,
            open_pods=with_open,
            namespaces=tuple(sorted(spaces)),
            workloads=self.names(rest),
            addresses=blocks,
        )


def _part_names(index: Classes, numbers: set[int]) -> dict[int, str]:
    """Return what tells the classes of one workload apart: ``[track=canary]``, or the pods' names."""
    classes = [index.classes[number] for number in sorted(numbers)]
    keys = sorted({key for item in classes for key in item.labels})
    telling = [key for key in keys if len({item.labels.get(key) for item in classes}) > 1]
    texts = {item.id: _label_part(item, telling) for item in classes}
    if len(set(texts.values())) < len(classes):
        texts = {item.id: ",".join(sorted(key.name for key in item.members)) for item in classes}
    return {number: f"[{text}]" for number, text in texts.items()}


def _label_part(pod_class: PodClass, keys: list[str]) -> str:
    return ",".join(f"{key}={pod_class.labels[key]}" if key in pod_class.labels else f"!{key}" for key in keys)


def group_names(used: Iterable[_Set], length: Callable[[_Set], int]) -> dict[_Set, str]:
    """Return a name for each long one of the sets that are used several times, in the order of their first use."""
    long = (item for item, uses in Counter(used).items() if uses > 1 and length(item) > _LONG)
    return {item: f"G{number}" for number, item in enumerate(long, 1)}


def as_ports(ports: PortSet) -> Ports:
    """Return a set of ports as an answer shows it."""
    if ports == PortSet.ALL:
        return Ports(everything=True)
    return Ports(ranges=tuple(PortRange(*item) for item in ports.ranges()))
