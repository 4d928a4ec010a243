# SPDX-License-Identifier: Apache-2.0
"""What a group admits that policies of several tiers judge: every lookup is complete, and no two know one peer.

Rules of cluster-wide policies have an order, and some of them deny. So no lookup may leave ports to another, as those
of a group do that only NetworkPolicies isolate. For each peer the tiers are decided in Python, on all ports; a peer is
in the group's own map if that differs from what its address gets, in a range if that differs from what everybody gets.
"""

from __future__ import annotations

from collections import defaultdict
from functools import reduce
from operator import itemgetter, or_
from typing import TYPE_CHECKING, NamedTuple

from podfence.cluster.selection import Selection
from podfence.dataplane.pieces import own_ports, resolutions
from podfence.dataplane.program import GroupProgram, Ranges
from podfence.policy.identity import RuleId, default, icmp_option
from podfence.policy.ordered import ORDER
from podfence.policy.tiers import Action
from podfence.policy.verdict import Direction, Tier
from podfence.sets import AddressSet, PortSet, members, spans

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from podfence.cluster.classes import ClassIndex
    from podfence.dataplane.ownership import Ownership
    from podfence.dataplane.program import GroupKey, PortProgram
    from podfence.policy.grants import CompiledPolicy, Grant
    from podfence.policy.named_ports import PortName
    from podfence.policy.options import Options


class _Entry(NamedTuple):
    """What a rule does on some ports with pods of some classes (bits), and at some addresses, None being any."""

    action: Action
    rule: RuleId
    ports: PortSet
    bits: int | None
    block: AddressSet | None


class Ordered(NamedTuple):
    """A group's program with the classes (bits) whose pods it depends on, and those of each address that it lists.

    A pod of `any_class` may have to be listed if a rule without peers looks up names.
    """

    program: GroupProgram
    classes: int
    listed: dict[int, tuple[int, ...]]
    any_class: bool


def is_ordered(policies: Iterable[CompiledPolicy]) -> bool:
    """Return whether a group's policies are of other tiers too, and not NetworkPolicies alone."""
    return any(policy.tier is not Tier.NETWORK_POLICY for policy in policies)


def compile_ordered(
    key: GroupKey, policies: tuple[CompiledPolicy, ...], index: ClassIndex, options: Options, owned: Ownership
) -> Ordered:
    """Return what the pods of a group admit, given its policies, those of one tier in the order they are asked."""
    deciding = _Deciding(key, policies, index, options)
    around = Ranges.joined(_ranges(deciding), is_complete=True)
    anywhere = deciding.program(None, None)
    classes = reduce(or_, (entry.bits or 0 for entry in deciding.entries), 0)
    peers: dict[int, PortProgram] = {}
    listed: dict[int, tuple[int, ...]] = {}
    for number in members(classes):
        found: dict[int, PortProgram] = {}
        for address in owned.of_class(number):
            program = deciding.program(number, address)
            otherwise = around.find(address)
            if program != (anywhere if otherwise is None else otherwise):
                found[address] = program
        if found:
            peers.update(found)
            listed[number] = tuple(found)
    ranges = (around,) if around.items else ()
    return Ordered(GroupProgram(peers, (), ranges, anywhere, is_complete=True), classes, listed, deciding.any_class)


class _Deciding:
    """Decides the tiers for one peer after the other, each way in which rules may match once."""

    def __init__(
        self, key: GroupKey, policies: tuple[CompiledPolicy, ...], index: ClassIndex, options: Options
    ) -> None:
        self._key = key
        self._index = index
        self._options = options
        self._resolved: dict[tuple[PortName, ...], dict[PortSet, int]] = {}
        self._known: dict[tuple[int, ...], PortProgram] = {}
        self._is_isolated = any(policy.tier is Tier.NETWORK_POLICY for policy in policies)
        self.any_class = False
        self.entries: list[_Entry] = []
        self._tiers: list[tuple[Tier, range]] = []
        for tier in ORDER:
            start = len(self.entries)
            self.entries += (
                entry
                for policy in policies
                if policy.tier is tier
                for grant in policy.grants[key.direction]
                for entry in self._entries(policy, grant)
            )
            if tier is Tier.NETWORK_POLICY and self._is_isolated and options.icmp == "allowed":
                self.entries.append(_Entry(Action.ALLOW, icmp_option(key.direction), PortSet.OTHER, None, None))
            self._tiers.append((tier, range(start, len(self.entries))))

    def _entries(self, policy: CompiledPolicy, grant: Grant) -> Iterator[_Entry]:
        rule = RuleId(*policy.key, self._key.direction, grant.rule)
        ports = grant.ports
        if policy.tier is Tier.NETWORK_POLICY and self._options.icmp == "denied":
            ports -= PortSet.OTHER
        if grant.names and self._key.direction is Direction.INGRESS:
            ports |= own_ports(grant, self._key, self._options)
        bits = self._index.bits(grant.peer) if isinstance(grant.peer, Selection) else None
        block = grant.peer if isinstance(grant.peer, AddressSet) else None
        if ports:
            yield _Entry(grant.action, rule, ports, bits, block)
        if grant.names and self._key.direction is Direction.EGRESS:
            self.any_class |= grant.peer is None
            for numbers, meant in resolutions(grant, self._index, self._options, self._resolved).items():
                yield _Entry(grant.action, rule, numbers, meant, block)

    def program(self, number: int | None, address: int | None) -> PortProgram:
        """Return what is admitted of a peer: a pod of a class, an address of nobody, or what is in no block."""
        places = tuple(place for place, entry in enumerate(self.entries) if _means(entry, number, address))
        found = self._known.get(places)
        if found is None:
            found = self._known[places] = self._decided(places)
        return found

    def _decided(self, places: tuple[int, ...]) -> PortProgram:
        """Return the ports that the first match admits over all tiers (semantics 11.21), by rule."""
        admitted: dict[RuleId, list[PortSet]] = defaultdict(list)
        left = PortSet.ALL
        for tier, span in self._tiers:
            asked = left
            for entry in (self.entries[place] for place in places if place in span):
                ports = entry.ports & asked
                asked -= ports
                if entry.action is not Action.PASS:
                    left -= ports
                if entry.action is Action.ALLOW and ports:
                    admitted[entry.rule].append(ports)
            if tier is Tier.NETWORK_POLICY and self._is_isolated:
                left = PortSet.EMPTY
        if left:
            admitted[default(self._key.direction)].append(left)
        return tuple((PortSet.union(several), rule) for rule, several in sorted(admitted.items(), key=itemgetter(0)))


def _means(entry: _Entry, number: int | None, address: int | None) -> bool:
    if entry.bits is not None and (number is None or not entry.bits >> number & 1):
        return False
    return entry.block is None or (address is not None and address in entry.block)


def _ranges(deciding: _Deciding) -> Iterator[tuple[int, int, PortProgram]]:
    """Yield the ranges of addresses of nobody for which another program holds than for those in no block."""
    cuts = sorted({cut for entry in deciding.entries if entry.block is not None for cut in entry.block.cuts()})
    anywhere = deciding.program(None, None)
    for first, last in spans.cut(AddressSet.ALL.spans, cuts):
        program = deciding.program(None, first)
        if program != anywhere:
            yield first, last, program
