# SPDX-License-Identifier: Apache-2.0
"""What one node's kernel has to know, as plain values: no nft, no names of chains.

A packet that opens a connection is judged in steps that each look one thing up: is the source a local
isolated pod, and which group is it; does the group know the peer's address, a set that holds it, a
range around it, or the port alone; the same again for the destination. A step that does not decide
goes on to the next; a group that has nothing more to ask denies. Where cluster-wide policies have a say, the first
step that knows the peer decides all.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass, field
from operator import itemgetter
from typing import TYPE_CHECKING, Final, NamedTuple

from podfence.cluster.selection import Selection
from podfence.policy.identity import RuleId
from podfence.policy.named_ports import PortName
from podfence.policy.verdict import Direction
from podfence.sets import AddressSet, PortSet
from podfence.sets.layers import Layer, together
from podfence.sets.spans import normalize

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from collections.abc import Set as AbstractSet
    from typing import Self

    from podfence.kube.objects import Key
    from podfence.sets.layers import Cover
    from podfence.sets.spans import Spans


_UDP: Final = 17

PortProgram = tuple[tuple[PortSet, RuleId], ...]
"""Disjoint sets of ports, each with the rule that is credited with admitting them."""

Equal = dict[tuple[int, int], tuple[PortProgram, PortProgram]]
"""Pairs of programs that are equal, by what tells the objects apart; they are kept, so that they stay the same ones."""


@dataclass(frozen=True, slots=True)
class GroupKey:
    """What makes local pods one group: the policies that isolate them, and how their port names resolve.

    `policies` are in order of name. `ports` are (name, protocol, number), of the names their ingress
    rules use.
    """

    direction: Direction
    namespace: str
    policies: tuple[Key, ...]
    ports: tuple[tuple[str, str, int], ...]
    _hash: int = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        # It holds many names, and is looked up far more often than it is made.
        object.__setattr__(self, "_hash", hash((self.direction, self.namespace, self.policies, self.ports)))

    def __hash__(self) -> int:
        """Return the hash of the value."""
        return self._hash


class _SharedKey(NamedTuple):
    peer: Selection | AddressSet | None
    names: tuple[PortName, ...] = ()
    names_in: str | None = None
    resolved: PortSet = PortSet.EMPTY


class SharedKey(_SharedKey):
    """What makes a set of pods' addresses: whom a rule means, and what its port names resolve to on them.

    `names` and `names_in` are those of the rule (see `Grant`), empty when its ports are numbers.
    """

    _hash: int | None = None

    def __hash__(self) -> int:
        """Return the hash of the value, which is asked for far more often than one is made."""
        found = self._hash
        if found is None:
            found = self._hash = super().__hash__()
        return found


@dataclass(frozen=True, slots=True, weakref_slot=True)
class Ranges:
    """Disjoint ranges of addresses in order, as (first, last, what is admitted there); see `GroupProgram`."""

    items: tuple[tuple[int, int, PortProgram], ...]
    is_complete: bool = False
    _hash: int = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        # There can be very many, with long programs, and many groups have the same.
        object.__setattr__(self, "_hash", hash(tuple(first for first, _, _ in self.items)))

    def __hash__(self) -> int:
        """Return the hash of the value."""
        return self._hash

    @classmethod
    def joined(cls, items: Iterable[tuple[int, int, PortProgram]], *, is_complete: bool = False) -> Self:
        """Return ranges in order as the fewest that say the same: neighbours with equal programs become one."""
        result: list[tuple[int, int, PortProgram]] = []
        for first, last, program in items:
            if result and result[-1][1] + 1 == first and result[-1][2] == program:
                result[-1] = (result[-1][0], last, program)
            else:
                result.append((first, last, program))
        return cls(tuple(result), is_complete)

    def find(self, address: int) -> PortProgram | None:
        """Return what is admitted at an address, None if it is outside all ranges."""
        place = bisect_right(self.items, address, key=itemgetter(0)) - 1
        if place < 0 or self.items[place][1] < address:
            return None
        return self.items[place][2]

    def at(self, address: int) -> PortProgram:
        """Return what is admitted at an address; nothing outside all ranges."""
        return self.find(address) or ()


@dataclass(frozen=True, slots=True)
class GroupProgram:
    """What a group admits.

    `peers`: by address of a pod, everything the group admits of it. `shared`: by a set of pods that is
    large and that other groups may use too. `ranges`: by address, in tables that are asked one after the
    other. `anywhere`: whatever the peer. What one of them does not admit the next may.
    If the program `is_complete`, the first that knows a peer decides all of its ports, and `shared` is empty.
    """

    peers: Mapping[int, PortProgram]
    shared: tuple[tuple[SharedKey, PortProgram], ...]
    ranges: tuple[Ranges, ...]
    anywhere: PortProgram
    is_complete: bool = False

    def same_as(self, other: GroupProgram, known: Equal) -> bool:
        """Return whether both admit the same, written the same way; `known` are programs that were found equal.

        Groups with the same policies have most of their programs in common, as the same objects.
        """
        return (
            self.anywhere == other.anywhere
            and self.is_complete == other.is_complete
            and self.ranges == other.ranges
            and self.peers.keys() == other.peers.keys()
            and [key for key, _ in self.shared] == [key for key, _ in other.shared]
            and all(_equal(one, two, known) for one, two in self._others(other))
        )

    def _others(self, other: GroupProgram) -> Iterator[tuple[PortProgram, PortProgram]]:
        """Yield the programs of equal keys that are not one object."""
        peers = other.peers
        yield from [(one, peers[address]) for address, one in self.peers.items() if peers[address] is not one]
        yield from ((one, two) for (_, one), (_, two) in zip(self.shared, other.shared, strict=True) if one is not two)

    def at(self, address: int) -> Iterator[PortProgram]:
        """Yield what the tables of ranges admit of an address, in the order in which they are asked."""
        return (table.at(address) for table in self.ranges)

    def programs_for(self, peer: int, *sets: Mapping[SharedKey, AbstractSet[int]]) -> list[PortProgram]:
        """Return by which programs a peer is judged: each port by the first that has it, as in the group's chain.

        Of `sets` the first decides which addresses a shared set has that has any of it.
        """
        listed = self.peers.get(peer)
        if self.is_complete:
            known = (listed, *(table.find(peer) for table in self.ranges), self.anywhere)
            return [next(program for program in known if program is not None)]
        found = [] if listed is None else [listed]
        for key, program in self.shared:
            if any(peer in table[key] for table in sets if table.get(key)):
                found.append(program)
        return [*found, *self.at(peer), self.anywhere]


def _equal(one: PortProgram, other: PortProgram, known: Equal) -> bool:
    if (id(one), id(other)) in known:
        return True
    if one != other:
        return False
    known[id(one), id(other)] = one, other
    return True


NOT_YET: Final = GroupProgram({}, (), (), ())
"""What a group admits that is not compiled yet: nothing that is new. It is no reason to cut a flow."""


class Tunnels(NamedTuple):
    """By which UDP `ports` and which `protocols` of IP nodes speak to each other, and pods with `sources` must not."""

    ports: frozenset[int]
    protocols: frozenset[int]
    sources: frozenset[int]

    def carries(self, protocol: int, port: int) -> bool:
        """Return whether a flow, by its protocol's number and the port that answers, is one of a tunnel."""
        return protocol in self.protocols or (protocol == _UDP and port in self.ports)


@dataclass(slots=True)
class NodeProgram:
    """Everything one node enforces.

    `groups` by key; `group_of` the group of each local isolated pod's address, by direction; `known` the
    addresses of local pods that are programmed; `sets` the addresses of each shared set, and `late` all those of
    sets that do not have all of them yet; `own` pairs of addresses of one isolated pod, which may reach itself;
    `pod_range` the node's pod addresses, of which those not known are held; `judges_own_node` whether egress to
    the node itself is judged. Of the cluster, `nodes` are the addresses of its nodes, and `pod_ranges` the pod
    addresses of all of them. `tunnels` is how pods must not speak to nodes.
    """

    groups: dict[GroupKey, GroupProgram] = field(default_factory=dict)
    group_of: dict[Direction, dict[int, GroupKey]] = field(
        default_factory=lambda: {direction: {} for direction in Direction}
    )
    known: set[int] = field(default_factory=set)
    sets: dict[SharedKey, frozenset[int]] = field(default_factory=dict)
    late: dict[SharedKey, frozenset[int]] = field(default_factory=dict)
    own: set[tuple[int, int]] = field(default_factory=set)
    pod_range: AddressSet = AddressSet.EMPTY
    judges_own_node: bool = True
    nodes: frozenset[int] = frozenset()
    pod_ranges: AddressSet = AddressSet.EMPTY
    tunnels: Tunnels | None = None


@dataclass(slots=True)
class ProgramChange:
    """What differs in a program after an event: groups and sets (new, gone or changed), and local addresses."""

    groups: set[GroupKey] = field(default_factory=set)
    sets: set[SharedKey] = field(default_factory=set)
    addresses: set[int] = field(default_factory=set)

    def __bool__(self) -> bool:
        """Return whether anything does."""
        return bool(self.groups or self.sets or self.addresses)


def first_match(admitted: Iterable[tuple[PortSet, RuleId]]) -> PortProgram:
    """Return the disjoint form of what several rules admit: each port is credited to the first that does."""
    items = list(admitted)
    spans: dict[RuleId, list[tuple[int, int]]] = {name: [] for _, name in items}
    covers = [Layer((), ports.spans, place).cover for place, (ports, _) in enumerate(items)]
    for first, last, place in together(covers):
        spans[items[place][1]].append((first, last))
    return tuple((PortSet(normalize(found)), name) for name, found in spans.items() if found)


def cover_of(program: PortProgram) -> Cover[RuleId]:
    """Return a program as a cover, to be laid over others; rules are credited in the order of their names."""
    return tuple(sorted((first, last, name) for ports, name in program for first, last in ports.spans))


class Programs:
    """Makes programs of covers; what is equal in two of them is one object, for there can be very many."""

    def __init__(self) -> None:
        """Have made none."""
        self._known: dict[tuple[RuleId, Spans], tuple[PortSet, RuleId]] = {}

    def of(self, cover: Iterable[tuple[int, int, RuleId]]) -> PortProgram:
        """Return what a cover of rules admits, in the order of their names; some of its spans may be left out."""
        spans: dict[RuleId, Spans] = {}
        for first, last, name in cover:
            before = spans.get(name)
            spans[name] = ((first, last),) if before is None else (*before, (first, last))
        known = self._known
        result: list[tuple[PortSet, RuleId]] = []
        for key in sorted(spans.items()):
            item = known.get(key)
            if item is None:
                item = known[key] = PortSet(key[1]), key[0]
            result.append(item)
        return tuple(result)
