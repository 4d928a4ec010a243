# SPDX-License-Identifier: Apache-2.0
"""What one group of local pods admits: the grants of its policies, by address of the peer.

Grants are taken in order of policy name and rule, so that of several rules that admit the same thing the
first is credited. For a peer that is listed by its address the listed program is complete: it holds what
sets, ranges and the rules without peers admit too. Where that were very much, whatever can be is asked by sets, and
the others are listed without.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, replace
from functools import reduce
from itertools import groupby
from operator import attrgetter, or_
from typing import TYPE_CHECKING, Final, NamedTuple

from podfence.dataplane.ordered import compile_ordered, is_ordered
from podfence.dataplane.pieces import Credit, Memo, Piece, Sorted, sort
from podfence.dataplane.program import GroupProgram, Programs, SharedKey, cover_of
from podfence.sets import AddressSet, members
from podfence.sets.layers import Stack, over, together

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

    from podfence.cluster.classes import ClassIndex
    from podfence.dataplane.ownership import Ownership
    from podfence.dataplane.program import GroupKey, PortProgram
    from podfence.dataplane.ranges import Tables
    from podfence.policy.grants import CompiledPolicy
    from podfence.policy.identity import RuleId
    from podfence.policy.options import Options
    from podfence.sets.layers import Cover


MOST_SHARED: Final = 4
"""How many large sets a group asks; with more, the smaller of them are listed in its own map of peers."""

MOST_LISTED: Final = 4096
"""How many ports of peers a group lists, about. With more, all sets are asked that are worth it.

Whenever rules change, the kernel follows every way through them, some 80 ns for each port of each peer.
"""

_WORTH_A_SET: Final = 16
"""How many addresses a set has at least that is asked to list less."""


class _Listed(NamedTuple):
    """The places of the pieces whose addresses a group lists; `alone` says that it does so without what others admit.

    Then what sets, ranges and rules without peers admit is asked of a listed peer too.
    """

    places: tuple[int, ...]
    alone: bool


@dataclass(frozen=True, slots=True)
class Compiled:
    """A group's program and what it was compiled from.

    `peers` are the classes (bits) whose pods it lists, itself or through `sets`, and `pools` the sets it
    asked for, large or not. `listed` are the addresses in the program's `peers` by class. The others are what
    it was made of on the way.
    """

    program: GroupProgram
    sets: dict[SharedKey, frozenset[int]]
    peers: int
    pools: frozenset[SharedKey]
    listed: dict[int, tuple[int, ...]]
    policies: tuple[CompiledPolicy, ...]
    found: Sorted
    sizes: tuple[int, ...]
    small: _Listed


def compile_group(
    key: GroupKey,
    policies: tuple[CompiledPolicy, ...],
    index: ClassIndex,
    options: Options,
    owned: Ownership,
    tables: Tables,
    shared_from: int,
    most_listed: int,
    known: Compiled | None = None,
    changed: int = 0,
    memo: Memo | None = None,
) -> Compiled:
    """Return what the pods of a group admit.

    `owned` tells the addresses of pods; a set of pods with at least `shared_from` is a set of its own, and others are
    where more than `most_listed` (see `MOST_LISTED`) would be listed. `tables` are those of the node. `known` is an
    earlier result for the group, since which only classes `changed` (bits) got other addresses.
    """
    if is_ordered(policies):
        ordered = compile_ordered(key, policies, index, options, owned)
        found = Sorted(any_pod=ordered.any_class)
        return Compiled(
            ordered.program,
            {},
            ordered.classes,
            frozenset(),
            ordered.listed,
            policies,
            found,
            (),
            _Listed((), alone=False),
        )
    memo = memo or Memo()
    if known is None or known.policies != policies or known.found.looks_up:
        found = sort(key, policies, index, options, memo)
        pools = frozenset(piece.key for piece in found.pieces)
        ranges = tables.of_group(found.blocks)
        anywhere = Programs().of(found.anywhere)
    else:
        found = replace(known.found, pieces=[piece.now(index) for piece in known.found.pieces])
        pools, ranges, anywhere = known.pools, known.program.ranges, known.program.anywhere
    if known is not None and _comparable(known, policies, found):
        for before, piece in zip(known.found.pieces, found.pieces, strict=True):
            if before is not piece:
                changed |= before.bits ^ piece.bits
    else:
        known = None
    sizes = _sizes(found, owned, known, changed, memo)
    large, small = _by_size(found, sizes, shared_from, most_listed)
    concerned = reduce(or_, (found.pieces[place].bits for place in small.places), 0)
    peers: dict[int, PortProgram] = {}
    listed: dict[int, tuple[int, ...]] = {}
    if known is None or known.small != small:
        shared = tuple(_shared(large, found, memo) if small.alone else _complete(large, found))
    else:
        shared = known.program.shared
        peers.update(known.program.peers)
        listed.update(known.listed)
        for number in members(changed):
            for address in listed.pop(number, ()):
                del peers[address]
        concerned &= changed
    program = GroupProgram(peers, shared, ranges, anywhere)
    if small.alone:
        listing = Sorted([found.pieces[place] for place in small.places])
        peers_of = _peers(concerned, listing, GroupProgram({}, (), (), ()), index, owned)
    else:
        peers_of = _peers(concerned, found, program, index, owned)
    for number, admitted in peers_of:
        peers.update(admitted)
        listed[number] = tuple(admitted)
    sets = {item: owned.pool(item, bits) for item, bits in large.items()}
    meant = reduce(or_, (piece.bits for piece in found.pieces), 0)
    return Compiled(program, sets, meant, pools, listed, policies, found, sizes, small)


def _comparable(known: Compiled, policies: tuple[CompiledPolicy, ...], found: Sorted) -> bool:
    """Return whether a class that did not change has the same in both: equal credits in equal places."""
    return (
        known.policies == policies
        and len(known.found.pieces) == len(found.pieces)
        and all(
            before is piece or (before.key == piece.key and before.credit == piece.credit)
            for before, piece in zip(known.found.pieces, found.pieces, strict=True)
        )
    )


def _sizes(found: Sorted, owned: Ownership, known: Compiled | None, changed: int, memo: Memo) -> tuple[int, ...]:
    """Return how many addresses each piece means; a `known` result has that of those without a class `changed`."""
    if known is None:
        for piece in found.pieces:
            if id(piece) not in memo.sizes:
                memo.sizes[id(piece)] = piece, owned.size(piece.key, piece.bits)
        return tuple(memo.sizes[id(piece)][1] for piece in found.pieces)
    return tuple(
        owned.size(piece.key, piece.bits) if (before.bits | piece.bits) & changed else size
        for before, piece, size in zip(known.found.pieces, found.pieces, known.sizes, strict=True)
    )


def _by_size(
    found: Sorted, sizes: tuple[int, ...], shared_from: int, most_listed: int
) -> tuple[dict[SharedKey, int], _Listed]:
    """Return the sets that are asked with their classes, and which of the pieces are listed."""
    pieces = found.pieces
    size_of: dict[SharedKey, int] = {}
    for piece, size in zip(pieces, sizes, strict=True):
        size_of.setdefault(piece.key, size)
    # Sorting is stable: of sets of one size the first stays.
    largest = sorted(size_of, key=lambda key: -size_of[key])[:MOST_SHARED]
    asked = {key for key in largest if size_of[key] >= shared_from}
    alone = (
        sum(
            size * (len(piece.credit.ports.spans) + len(found.anywhere))
            for piece, size in zip(pieces, sizes, strict=True)
            if piece.key not in asked
        )
        > most_listed
    )
    if alone:
        asked |= {key for key, size in size_of.items() if size >= min(_WORTH_A_SET, shared_from)}
    places = tuple(place for place, piece in enumerate(pieces) if piece.key not in asked)
    return {piece.key: piece.bits for piece in pieces if piece.key in asked}, _Listed(places, alone)


def _complete(asked: Iterable[SharedKey], found: Sorted) -> Iterator[tuple[SharedKey, PortProgram]]:
    """Yield sets with what is admitted of their pods, by whatever rule."""
    programs = Programs()
    covers: dict[SharedKey, list[Cover[RuleId]]] = defaultdict(list)
    for piece in found.pieces:
        covers[piece.key].append(piece.credit.cover)
    for key in asked:
        yield key, programs.of(over(together(covers[key]), found.anywhere))


def _shared(asked: Collection[SharedKey], found: Sorted, memo: Memo) -> Iterator[tuple[SharedKey, PortProgram]]:
    """Yield sets with what each policy alone admits of their pods, which is the same for all of its groups."""
    for _, together_with in groupby(found.pieces, key=attrgetter("credit.rule.name")):
        pieces = list(together_with)
        ids = tuple(map(id, pieces))
        known = memo.shared.get(ids)
        if known is None:
            known = memo.shared[ids] = pieces, list(_complete({piece.key: 0 for piece in pieces}, Sorted(pieces)))
        yield from (item for item in known[1] if item[0] in asked)


def _peers(
    listed: int,
    group: Sorted,
    program: GroupProgram,
    index: ClassIndex,
    owned: Ownership,
) -> Iterator[tuple[int, dict[int, PortProgram]]]:
    """Yield classes (bits `listed`) with what is admitted of each of their addresses, those of which anything is."""
    parts = sorted(_parts(group.pieces), key=attrgetter("credit.rule"))
    always = len(parts)
    stack = Stack([*(part.credit.cover for part in parts), group.anywhere])
    stack.flip([always])
    there: set[int] = set()
    programs = Programs()
    meant: dict[int, list[int]] = {number: [] for number in members(listed)}
    for place, part in enumerate(parts):
        for number in members(part.bits & listed):
            meant[number].append(place)
    covers: dict[int, Cover[RuleId]] = {}
    interned: dict[tuple[int, ...], PortProgram] = {}
    for number, concerned in meant.items():
        result: dict[int, PortProgram] = {}
        for address, alike in _cells(number, index, owned):
            found = {place for place in concerned if parts[place].means(address)}
            if not found:
                continue
            # Pods of one class after the other are admitted much the same.
            cover = stack.flip(there ^ found)
            there = found
            around = [ports for ports in program.at(address) if ports]
            key = (cover, *map(id, around))
            admitted = interned.get(key)
            if admitted is None:
                ranges = [covers.get(id(ports)) or covers.setdefault(id(ports), cover_of(ports)) for ports in around]
                admitted = interned[key] = programs.of(together([stack.covers[cover], *ranges]))
            if admitted:
                result.update(dict.fromkeys(alike, admitted))
        if result:
            yield number, result


def _parts(pieces: Iterable[Piece]) -> list[Piece]:
    """Return pieces with those of one credit joined that mean all addresses of their pods."""
    joined: dict[Credit, Piece] = {}
    result: list[Piece] = []
    for piece in pieces:
        if isinstance(piece.key.peer, AddressSet):
            result.append(piece)
        elif piece.credit in joined:
            joined[piece.credit] = replace(piece, bits=piece.bits | joined[piece.credit].bits)
        else:
            joined[piece.credit] = piece
    return [*result, *joined.values()]


def _cells(number: int, index: ClassIndex, owned: Ownership) -> Iterator[tuple[int, Iterable[int]]]:
    """Yield the addresses of a class's pods that no block tells apart, with one of them to ask for all."""
    addresses = owned.of_class(number)
    if len(index.classes[number].cells) > 1:
        by_cell: dict[int, list[int]] = defaultdict(list)
        for address in addresses:
            by_cell[index.cell(address)].append(address)
        yield from ((alike[0], alike) for alike in by_cell.values())
    elif addresses:
        yield addresses[0], addresses
