# SPDX-License-Identifier: Apache-2.0
"""Who has which address, by pod, by class, and by the sets of pods that rules mean."""

from __future__ import annotations

from typing import TYPE_CHECKING

from podfence.analysis.endpoints import claim
from podfence.sets import AddressSet, members

if TYPE_CHECKING:
    from collections.abc import Iterable

    from podfence.cluster.classes import ClassIndex
    from podfence.cluster.members import Member
    from podfence.dataplane.program import SharedKey
    from podfence.kube.objects import Key


class Ownership:
    """The addresses of all pods; an address that several claim belongs to one of them (semantics 8.6)."""

    def __init__(self, index: ClassIndex) -> None:
        """Start without pods; the classes are those of `index`."""
        self._index = index
        self._claims: dict[int, dict[Key, Member]] = {}
        self._owners: dict[int, Key] = {}
        self._of_class: dict[int, tuple[int, ...]] = {}
        self._pools: dict[SharedKey, tuple[int, frozenset[int]]] = {}
        self.members: dict[Key, Member] = {}
        self.class_of: dict[Key, int] = {}

    def take(self, member: Member, number: int) -> None:
        """Note a pod and its class."""
        self.members[member.key] = member
        self.class_of[member.key] = number
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

    def changed(self, numbers: Iterable[int]) -> int:
        """Work out anew, when next asked, what depends on the addresses of some classes; return them as bits."""
        bits = 0
        for number in numbers:
            self._of_class.pop(number, None)
            bits |= 1 << number
        for key in [key for key, (meant, _) in self._pools.items() if meant & bits]:
            del self._pools[key]
        return bits

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

    def pool(self, key: SharedKey, bits: int) -> frozenset[int]:
        """Return the addresses of the pods that a set means, which are in the classes `bits`."""
        known = self._pools.get(key)
        if known is None or known[0] != bits:
            block = key.peer
            found = (address for number in members(bits) for address in self.of_class(number))
            if isinstance(block, AddressSet):
                found = (address for address in found if address in block)
            known = self._pools[key] = bits, frozenset(found)
        return known[1]

    def drop_pools(self, keys: Iterable[SharedKey]) -> None:
        """Forget sets that nobody uses any more."""
        for key in keys:
            self._pools.pop(key, None)


def _owner(claims: dict[Key, Member]) -> Key:
    """Return the pod that an address belongs to of those that claim it (semantics 8.6)."""
    if len(claims) == 1:
        return next(iter(claims))
    return max(claims.values(), key=lambda member: (claim(member), member.key)).key
