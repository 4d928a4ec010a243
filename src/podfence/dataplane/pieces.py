# SPDX-License-Identifier: Apache-2.0
"""The grants of a group's policies, sorted by the kind of their peers: pods, blocks of addresses, or anybody."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field, replace
from itertools import chain
from typing import TYPE_CHECKING, NamedTuple

from podfence.cluster.selection import Selection
from podfence.dataplane.program import SharedKey
from podfence.dataplane.ranges import PolicyBlocks
from podfence.policy.identity import RuleId, icmp_option
from podfence.policy.named_ports import named_ports
from podfence.policy.verdict import Direction
from podfence.sets import AddressSet, PortSet
from podfence.sets.layers import Layer, over, together
from podfence.sets.spans import normalize

if TYPE_CHECKING:
    from collections.abc import Iterable

    from podfence.cluster.classes import ClassIndex
    from podfence.dataplane.program import Equal, GroupKey, PortProgram
    from podfence.dataplane.ranges import BlockLayer
    from podfence.policy.grants import CompiledPolicy, Grant
    from podfence.policy.named_ports import PortName
    from podfence.policy.options import Options
    from podfence.sets.layers import Cover

Shared = list[tuple["SharedKey", "PortProgram"]]


class Credit(NamedTuple):
    """What a rule admits from somewhere."""

    ports: PortSet
    rule: RuleId

    @property
    def cover(self) -> Cover[RuleId]:
        """Return it as a cover."""
        return Layer((), self.ports.spans, self.rule).cover


@dataclass(frozen=True, slots=True)
class Piece:
    """A credit for the pods of some classes (bits), only at their addresses inside `key.peer` if that is a block."""

    key: SharedKey
    bits: int
    credit: Credit

    def means(self, address: int) -> bool:
        """Return whether an address of a pod of the classes is meant."""
        return not isinstance(self.key.peer, AddressSet) or address in self.key.peer

    def now(self, index: ClassIndex) -> Piece:
        """Return the same for the classes that a selection means by now."""
        bits = index.bits(self.key.peer) if isinstance(self.key.peer, Selection) else self.bits
        return self if bits == self.bits else replace(self, bits=bits)


@dataclass(slots=True)
class Sorted:
    """The credits of a group by the kind of their peers.

    `looks_up` says that names of ports are looked up on the peers, so that the pieces depend on their ports, and
    `any_pod` that they are on a pod of any class.
    """

    pieces: list[Piece] = field(default_factory=list)
    blocks: list[PolicyBlocks] = field(default_factory=list)
    anywhere: Cover[RuleId] = ()
    looks_up: bool = False
    any_pod: bool = False


@dataclass(slots=True)
class Memo:
    """What groups that are compiled one after the other have in common; pods and policies must not change meanwhile."""

    sorted: dict[tuple[int, Direction], tuple[list[Piece], PolicyBlocks]] = field(default_factory=dict)
    sizes: dict[int, tuple[Piece, int]] = field(default_factory=dict)
    shared: dict[tuple[int, ...], tuple[list[Piece], Shared]] = field(default_factory=dict)
    equal: Equal = field(default_factory=dict)


def sort(key: GroupKey, policies: Iterable[CompiledPolicy], index: ClassIndex, options: Options, memo: Memo) -> Sorted:
    """Return what the policies of a group grant, in the order of policies and rules.

    A policy without names of ports is the same for all groups, and is looked up in the `memo`.
    """
    result = Sorted()
    resolved: dict[tuple[PortName, ...], dict[PortSet, int]] = {}
    for policy in policies:
        before = memo.sorted.get((id(policy), key.direction))
        if before is None:
            count = len(result.pieces)
            blocks = _sort_policy(policy, key, index, options, result, resolved)
            if not any(grant.names for grant in policy.grants[key.direction]):
                memo.sorted[id(policy), key.direction] = result.pieces[count:], blocks
        else:
            pieces, blocks = before
            result.pieces += pieces
        result.blocks.append(blocks)
    result.anywhere = together([blocks.anywhere for blocks in result.blocks])
    if options.icmp == "allowed":
        result.anywhere = over(result.anywhere, Layer((), PortSet.OTHER.spans, icmp_option(key.direction)).cover)
    return result


def _sort_policy(
    policy: CompiledPolicy,
    key: GroupKey,
    index: ClassIndex,
    options: Options,
    result: Sorted,
    resolved: dict[tuple[PortName, ...], dict[PortSet, int]],
) -> PolicyBlocks:
    """Put the pieces of one policy into the result, and return the rest."""
    blocks: dict[tuple[RuleId, PortSet], list[AddressSet]] = {}
    anywhere: list[BlockLayer] = []
    for grant in policy.grants[key.direction]:
        rule = RuleId(*policy.key, key.direction, grant.rule)
        ports = grant.ports - PortSet.OTHER if options.icmp == "denied" else grant.ports
        if grant.names and key.direction is Direction.INGRESS:
            ports |= own_ports(grant, key, options)
        if ports:
            if grant.peer is None:
                anywhere.append(Layer((), ports.spans, rule))
            elif isinstance(grant.peer, AddressSet):
                blocks.setdefault((rule, ports), []).append(grant.peer)
            else:
                result.pieces.append(Piece(SharedKey(grant.peer), index.bits(grant.peer), Credit(ports, rule)))
        if grant.names and key.direction is Direction.EGRESS:
            result.looks_up = True
            result.any_pod |= grant.peer is None
            for numbers, bits in sorted(
                resolutions(grant, index, options, resolved).items(), key=lambda item: item[0].spans
            ):
                shared = SharedKey(grant.peer, grant.names, grant.names_in, numbers)
                result.pieces.append(Piece(shared, bits, Credit(numbers, rule)))
    layers = tuple(
        Layer(normalize(chain.from_iterable(block.spans for block in found)), ports.spans, rule)
        for (rule, ports), found in blocks.items()
    )
    return PolicyBlocks(layers, together([layer.cover for layer in anywhere]))


def own_ports(grant: Grant, key: GroupKey, options: Options) -> PortSet:
    """Return the numbers that names have on the group's own pods, of which the key has those that count (5.4)."""
    return named_ports(((*port, False) for port in key.ports), grant.names, options)


def resolutions(
    grant: Grant, index: ClassIndex, options: Options, resolved: dict[tuple[PortName, ...], dict[PortSet, int]]
) -> dict[PortSet, int]:
    """Return the classes a grant's peer means by what its names resolve to on their pods (semantics 5.4 to 5.8).

    `resolved` has for names that were asked for before what they resolve to on all pods.
    """
    if grant.peer is None:
        bits = index.all
    elif isinstance(grant.peer, Selection):
        bits = index.bits(grant.peer)
    else:
        bits = index.with_address_in(grant.peer, 4) | index.with_address_in(grant.peer, 6)
    if grant.names_in is not None:
        bits &= index.in_namespace(grant.names_in)
    if grant.names not in resolved:
        resolved[grant.names] = _everywhere(grant.names, index, options)
    return {ports: meant for ports, classes in resolved[grant.names].items() if (meant := classes & bits)}


def _everywhere(names: tuple[PortName, ...], index: ClassIndex, options: Options) -> dict[PortSet, int]:
    """Return the classes of all pods by what names of ports resolve to on them, those on which they do."""
    found: dict[PortSet, int] = defaultdict(int)
    for number, pod_class in index.classes.items():
        ports = named_ports(pod_class.ports, names, options)
        if ports:
            found[ports] |= 1 << number
    return found
