# SPDX-License-Identifier: Apache-2.0
"""Who has which address, by pod, by class, and by the sets of pods that rules mean."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING

from podfence.cluster.addresses import claim
from podfence.sets import AddressSet, members

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from podfence.cluster.classes import ClassIndex
    from podfence.cluster.members import Member
    from podfence.dataplane.program import SharedKey
    from podfence.kube.objects import Key


@dataclass(slots=True)
class _Pool:
    """The addresses of the pods that a set means; `bits` are their classes."""

    bits: int = 0
    addresses: frozenset[int] = frozenset()


class Ownership:
    """The addresses of all pods; an address that several claim belongs to one of them (semantics 8.6)."""

    def __init__(self, index: ClassIndex) -> None:
        """Start without pods; the classes are those of `index`."""
        self._index = index
        self._claims: dict[int, dict[Key, Member]] = {}
        self._owners: dict[int, Key] = {}
        self._of_class: dict[int, tuple[int, ...]] = {}
        self._pools: dict[SharedKey, _Pool] = {}
        self._counts: dict[int, int] = {}
        self._with_count: dict[int, int] = {}
        self._uncounted = 0
        self.members: dict[Key, Member] = {}
        self.class_of: dict[Key, int] = {}

    def take(self, member: Member, number: int) -> None:
        """Note a pod and its class."""
        self.members[member.key] = member
        self.class_of[member.key] = number
        self._uncounted |= 1 << number
        for address in member.addresses:
            claims = self._claims.setdefault(address, {})
            claims[member.key] = member
            self._owners[address] = _owner(claims)

    def leave(self, key: Key) -> None:
        """Forget a pod, if it is known."""
        member = self.members.pop(key, None)
        if member is None:
            return
        del self.class_of[key]
        for address in dict.fromkeys(member.addresses):
            claims = self._claims[address]
            del claims[key]
            if claims:
                self._owners[address] = _owner(claims)
            else:
                del self._claims[address], self._owners[address]

    def claimants(self, key: Key) -> set[Key]:
        """Return a pod and those that claim one of its addresses too; none if it is not known."""
        member = self.members.get(key)
        if member is None:
            return set()
        return {key, *(other for number in member.addresses for other in self._claims[number])}

    def changed(self, numbers: Collection[int]) -> int:
        """Work out anew, when next asked, what depends on the addresses of some classes; return them as bits."""
        bits = 0
        for number in numbers:
            bits |= 1 << number
        self._uncounted |= bits
        for pool in self._pools.values():
            self._take_out(pool, pool.bits & bits)
        for number in numbers:
            self._of_class.pop(number, None)
        return bits

    def _take_out(self, pool: _Pool, bits: int) -> None:
        """Take classes out of a set, with the addresses that they had when they came into it."""
        if bits:
            known = self._of_class
            pool.addresses = pool.addresses.difference(*(known.get(number, ()) for number in members(bits)))
            pool.bits &= ~bits

    def owner(self, address: int) -> Key | None:
        """Return the pod that owns an address, None if no pod claims it."""
        return self._owners.get(address)

    def of_pod(self, key: Key) -> list[int]:
        """Return the addresses that a pod owns."""
        return [number for number in dict.fromkeys(self.members[key].addresses) if self._owners[number] == key]

    def of_class(self, number: int) -> tuple[int, ...]:
        """Return the addresses that the pods of a class own."""
        found = self._of_class.get(number)
        if found is None:
            owners = self._owners
            found = self._of_class[number] = tuple(
                address
                for key, member in self._index.classes[number].members.items()
                for address in dict.fromkeys(member.addresses)
                if owners[address] == key
            )
        return found

    def size(self, key: SharedKey, bits: int) -> int:
        """Return how many addresses the pods have that a set means, which are in the classes `bits`."""
        if isinstance(key.peer, AddressSet):
            return len(self.pool(key, bits))
        self._count()
        return sum(count * (bits & classes).bit_count() for count, classes in self._with_count.items())

    def _count(self) -> None:
        """Count the addresses of classes that may have others than when they were counted last."""
        for number in members(self._uncounted):
            bit = 1 << number
            before = self._counts.pop(number, 0)
            now = len(self.of_class(number)) if number in self._index.classes else 0
            if before != now:
                for count, change in ((before, -bit), (now, bit)):
                    if count:
                        self._with_count[count] = self._with_count.get(count, 0) + change
                if before and not self._with_count[before]:
                    del self._with_count[before]
            if now:
                self._counts[number] = now
        self._uncounted = 0

    def pool(self, key: SharedKey, bits: int) -> frozenset[int]:
        """Return the addresses of the pods that a set means, which are in the classes `bits`."""
        found = self._pools.get(key)
        if found is None:
            found = self._pools[key] = _Pool()
        if found.bits != bits:
            self._take_out(found, found.bits & ~bits)
            come: Iterable[int] = chain.from_iterable(map(self.of_class, members(bits & ~found.bits)))
            block = key.peer
            if isinstance(block, AddressSet):
                come = (address for address in come if address in block)
            found.addresses = found.addresses.union(come)
            found.bits = bits
        return found.addresses

    def drop_pools(self, keys: Iterable[SharedKey]) -> None:
        """Forget sets that nobody uses any more."""
        for key in keys:
            self._pools.pop(key, None)


def _owner(claims: dict[Key, Member]) -> Key:
    """Return the pod that an address belongs to of those that claim it (semantics 8.6)."""
    if len(claims) == 1:
        return next(iter(claims))
    return max(claims.values(), key=claim).key
