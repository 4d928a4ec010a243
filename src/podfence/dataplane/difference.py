# SPDX-License-Identifier: Apache-2.0
"""From one ruleset to another: the commands, in an order that the kernel takes, and nothing more."""

from __future__ import annotations

from itertools import chain, compress, filterfalse, pairwise
from operator import attrgetter, is_not
from typing import TYPE_CHECKING, Final, NamedTuple, TypeVar

from podfence.dataplane import bound, tracked
from podfence.dataplane.ruleset import BRIDGE_TABLE, TABLE, ChainBody, Ruleset, SetBody
from podfence.nft.chain import Chain
from podfence.nft.rule import Rule
from podfence.nft.sets import Set
from podfence.nft.transaction import Operation, Transaction

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from podfence.dataplane.ruleset import Container, ElementKey
    from podfence.nft.table import Table
    from podfence.nft.transaction import Verb

CHUNK: Final = 250
"""How many operations one transaction has at a cold start; longer ones stall packets for longer.

Rules with ports cost the kernel most: 500 of them took 18 ms, and 2,000 other operations 5 ms.
"""

_HOOKS: Final = ("forward", "own_node", "own_node_out", "stage_in")
_JUDGING: Final = ("routed", "routed_cut", "own_node_cut", "received", "evaluate", "discovery", "hold")
FIXED_CHAINS: Final = (*_HOOKS, *_JUDGING, *tracked.CHAINS, *bound.CHAINS)
_PLACED: Final = (*bound.SETS, *tracked.SETS, "own4", "own6", "eg4", "eg6", "in4", "in6")
_KNOWN: Final = ("known4", "known6")
_RANGE: Final = ("podcidr4", "podcidr6")
_FIXED_SETS: Final = (*_RANGE, *_PLACED, *_KNOWN)
_AT_ONCE: Final = 250

STEP: Final = 1000
"""How much of what is new, or no longer needed, one transaction brings or takes: rules by their length, and chains.

The kernel's time for a transaction grows with the square of the rules with ports in it: 32,000 took 23 s.
"""

_TEXT: Final = 256
_ELEMENTS: Final = 8

_Body = TypeVar("_Body", ChainBody, SetBody)
_Name = TypeVar("_Name")
_Value = TypeVar("_Value")


def difference(old: Ruleset, new: Ruleset, table: Table = TABLE) -> Transaction:
    """Return the transaction that makes `old` into `new`, both in a table that exists; it is empty if they are equal.

    Chains exist before elements and rules that lead to them, and are deleted after all of these are gone.
    Objects of one name must be of one kind in both (see `compatible`).
    """
    return Transaction(table).extend(_changes(old, new))


class Reached(NamedTuple):
    """Where a transaction leads: what the table is then, and whether packets are judged by what is wanted."""

    ruleset: Ruleset
    is_decisive: bool


def steps(old: Ruleset, new: Ruleset, table: Table = TABLE) -> Iterator[tuple[Transaction, Reached]]:
    """Yield the transactions that make `old` into `new` under traffic, each with what it leads to.

    A packet goes on with the rules there were when it entered, but finds in sets and maps what is in them
    when it comes to them. If a new element led it to a chain that is as new, it would find that chain empty,
    and what it looks up in a map that is going away would be gone. So what is new comes first, with nothing
    that leads to it, and what is no longer needed goes last. Both go in transactions of bounded size.
    Packets are judged by `new` when what is no longer needed is still there.
    """
    # Nearly all is the same object in both, and is not gone through again for each transaction.
    one, other = _apart(new, old), _apart(old, new)
    coming, going = _parts(one, other), _parts(other, one)
    stages = chain(
        ((old, one, coming[:count]) for count in range(len(coming) + 1)),
        ((new, other, going[:count]) for count in range(len(going), -1, -1)),
    )
    for place, ((_, before, some), (base, after, more)) in enumerate(pairwise(stages)):
        transaction = difference(_with(before, some), _with(after, more), table)
        if len(transaction):
            yield transaction, Reached(_with(base, more), is_decisive=place >= len(coming))


def _apart(old: Ruleset, new: Ruleset) -> Ruleset:
    """Return what of a new ruleset is not the same object in the old one."""
    return Ruleset(
        {name: new.chains[name] for name in _others(old.chains, new.chains)},
        {name: new.sets[name] for name in _others(old.sets, new.sets)},
    )


def _with(base: Ruleset, parts: Sequence[Ruleset]) -> Ruleset:
    """Return a ruleset with parts in it that it has not."""
    if not parts:
        return base
    chains, sets = dict(base.chains), dict(base.sets)
    for part in parts:
        chains.update(part.chains)
        sets.update(part.sets)
    return Ruleset(chains, sets)


def _parts(base: Ruleset, other: Ruleset) -> list[Ruleset]:
    """Return what is only in the other, in parts that can come in this order, and go in the opposite one.

    If there is much of it, chains come without rules first, then sets, whose elements lead to them, then rules.
    """
    chains = {name: other.chains[name] for name in filterfalse(base.chains.__contains__, other.chains)}
    sets = {name: other.sets[name] for name in filterfalse(base.sets.__contains__, other.sets)}
    if not chains and not sets:
        return []
    if sum(map(_weight, chains.values())) + sum(map(_weight, sets.values())) <= STEP:
        return [Ruleset(chains, sets)]
    bare = {name: ChainBody(body.chain, ()) for name, body in chains.items()}
    return [
        *(Ruleset(part, {}) for part in _divided(bare)),
        *(Ruleset({}, part) for part in _divided(sets)),
        *(Ruleset(part, {}) for part in _divided(chains)),
    ]


def _divided(bodies: Mapping[str, _Body]) -> Iterator[dict[str, _Body]]:
    return map(dict, _batches(bodies.items(), lambda item: _weight(item[1]), STEP))


def _batches(items: Iterable[_Value], weight: Callable[[_Value], int], most: int) -> Iterator[list[_Value]]:
    """Yield items in order, together as many as weigh no more than `most`, or one."""
    batch: list[_Value] = []
    size = 0
    for item in items:
        more = weight(item)
        if batch and size + more > most:
            yield batch
            batch, size = [], 0
        batch.append(item)
        size += more
    if batch:
        yield batch


def _weight(body: ChainBody | SetBody) -> int:
    """Return about how long the kernel takes for a chain with its rules, or a set: that for a chain without is 1."""
    if isinstance(body, SetBody):
        return 1 + len(body.elements) // _ELEMENTS
    return 1 + sum(1 + len(item.text) // _TEXT for item in body.rules)


def compatible(old: Ruleset, new: Ruleset) -> bool:
    """Return whether one can be made into the other: the kernel changes neither hooks nor types."""
    chains = ((old.chains[name], new.chains[name]) for name in _others(old.chains, new.chains) if name in old.chains)
    sets = ((old.sets[name], new.sets[name]) for name in _others(old.sets, new.sets) if name in old.sets)
    return all(one.chain.hook == other.chain.hook for one, other in chains) and all(
        _alike(one.container, other.container) for one, other in sets
    )


def _others(old: Mapping[_Name, _Value], new: Mapping[_Name, _Value]) -> list[_Name]:
    """Return the names, in order, of what is not the same object in both: nearly all is, and is passed over in C."""
    return list(compress(new, map(is_not, map(old.get, new), new.values())))


def _alike(one: Container, other: Container) -> bool:
    return one.types == other.types and one.flags == other.flags and type(one) is type(other)


def replacement(new: Ruleset, table: Table = TABLE) -> Transaction:
    """Return the one transaction that makes a table anew with this in it, whatever it was before."""
    return Transaction(table).extend([*_anew(table), *_changes(Ruleset(), new)])


def cold_start(new: Ruleset, *, anew: bool = False) -> Iterator[Transaction]:
    """Yield the transactions, of bounded size, that make the table where there was none, or `anew`.

    The first makes the hooks, and pods are held from then on; a pod is known when all about it is there.
    What is bound comes before what says that it must be. Where there was no table, connections that are under way
    may go on (see `tracked.GRACE`).
    """
    fixed = {name: body for name, body in new.sets.items() if name in _FIXED_SETS}
    first = Ruleset(
        {name: body for name, body in new.chains.items() if name in FIXED_CHAINS},
        {name: body if name in _RANGE else SetBody(body.container, {}) for name, body in fixed.items()},
    )
    head, tail = (_anew(TABLE), []) if anew else ([Operation("add", TABLE)], [Operation("add", tracked.GRACE_BEGINS)])
    yield Transaction(TABLE).extend([*head, *_changes(Ruleset(), first), *tail])
    groups = Ruleset(new.chains, {name: body for name, body in new.sets.items() if name not in _FIXED_SETS})
    rest = [*_changes(Ruleset(first.chains, {}), groups)]
    for name in (*_PLACED, *_KNOWN):
        if name in fixed:
            rest += _elements("add", fixed[name], fixed[name].elements)
    yield from _pieces(TABLE, rest)


def hooks_last(new: Ruleset, *, anew: bool = False) -> Iterator[Transaction]:
    """Yield the transactions, of bounded size, that make the table of frames, which does nothing until all is there."""
    head = _anew(BRIDGE_TABLE) if anew else [Operation("add", BRIDGE_TABLE)]
    rest = [item for item in _changes(Ruleset(), new) if not _is_of_hook(item, new)]
    yield from _pieces(BRIDGE_TABLE, [*head, *rest])
    hooked = {name: body for name, body in new.chains.items() if body.chain.hook is not None}
    yield Transaction(BRIDGE_TABLE).extend(_changes(Ruleset(), Ruleset(hooked)))


def _is_of_hook(operation: Operation, new: Ruleset) -> bool:
    item = operation.object
    name = item.chain if isinstance(item, Rule) else item.name if isinstance(item, Chain) else ""
    return name in new.chains and new.chains[name].chain.hook is not None


def _pieces(table: Table, operations: Iterable[Operation]) -> Iterator[Transaction]:
    return (Transaction(table).extend(batch) for batch in _batches(operations, attrgetter("size"), CHUNK))


def _changes(old: Ruleset, new: Ruleset) -> Iterator[Operation]:
    changed = [
        name
        for name in _others(old.chains, new.chains)
        if name not in old.chains or not old.chains[name].same_as(new.chains[name])
    ]
    for name in sorted((old.chains.keys() & changed) | (old.chains.keys() - new.chains.keys())):
        yield Operation("flush", old.chains[name].chain)
    for name in changed:
        if name not in old.chains:
            yield Operation("add", new.chains[name].chain)
    added: list[Operation] = []
    for name in _others(old.sets, new.sets):
        before, body = old.sets.get(name), new.sets[name]
        if before is None:
            yield Operation("add", body.container)
            added += _elements("add", body, body.elements)
        elif before.elements is not body.elements:
            gone, come = _compare(before, body)
            yield from _elements("delete", before, gone)
            added += _elements("add", body, come)
    yield from added
    for name in changed:
        for item in new.chains[name].rules:
            yield Operation("add", item)
    for name in sorted(old.sets.keys() - new.sets.keys()):
        yield Operation("delete", old.sets[name].container)
    for name in sorted(old.chains.keys() - new.chains.keys()):
        yield Operation("delete", old.chains[name].chain)


def _compare(old: SetBody, new: SetBody) -> tuple[list[ElementKey], list[ElementKey]]:
    """Return the keys to delete and those to add; an element with another verdict is both."""
    before, after = old.elements, new.elements
    if isinstance(new.container, Set):
        return list(before.keys() - after.keys()), list(after.keys() - before.keys())
    come = [key for key in _others(before, after) if before.get(key) != after[key]]
    return [*filter(before.__contains__, come), *filterfalse(after.__contains__, before)], come


def _elements(verb: Verb, body: SetBody, keys: Iterable[ElementKey]) -> Iterator[Operation]:
    items = list(keys)
    for start in range(0, len(items), _AT_ONCE):
        elements = body.nft_elements(items[start : start + _AT_ONCE])
        yield Operation(verb, elements)


def _anew(table: Table) -> list[Operation]:
    return [Operation("add", table), Operation("delete", table), Operation("add", table)]
