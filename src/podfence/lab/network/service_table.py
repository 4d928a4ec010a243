# SPDX-License-Identifier: Apache-2.0
"""A node's table of Services as a value, and the transactions that lead from one such table to another.

A transaction has to fit into a socket's buffer, which a process without rights over the machine cannot enlarge.
So what differs is sent in pieces; each port of a Service changes in one step.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from podfence.nft.chain import Chain, Hook
from podfence.nft.rule import Rule
from podfence.nft.sets import Elements
from podfence.nft.table import Table
from podfence.nft.transaction import Transaction

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from podfence.nft.element import Element, Key
    from podfence.nft.sets import Map, Set
    from podfence.nft.transaction import Object, Verb

TABLE: Final = Table("podfence_lab")

_PIECE: Final = 20_000
"""Characters of one transaction; as netlink messages they are some three times as long, and 200 KiB are usual."""

_Step = list[tuple["Verb", "Object"]]


@dataclass(slots=True)
class ServiceTable:
    """Hooked chains, chains of ports (each after those it leads to), and the elements of each set and map."""

    hooks: dict[str, tuple[Hook, tuple[str, ...]]] = field(default_factory=dict)
    chains: dict[str, tuple[str, ...]] = field(default_factory=dict)
    elements: dict[Set | Map, dict[Key, Element]] = field(default_factory=dict)


def changes(before: ServiceTable | None, after: ServiceTable) -> Iterator[Transaction]:
    """Yield what makes one table out of another, in order; without one before, whatever is there goes first.

    Both tables have the same hooks, sets and maps.
    """
    if before is None:
        base = Transaction(TABLE).add(TABLE).delete(TABLE).add(TABLE, *after.elements)
        for name, (hook, texts) in after.hooks.items():
            base.add(Chain(name, hook), *(Rule(name, text) for text in texts))
        yield base
        before = ServiceTable(after.hooks, {}, {container: {} for container in after.elements})
    yield from _pieces(_steps(before, after))


def _steps(before: ServiceTable, after: ServiceTable) -> Iterator[_Step]:
    for name, texts in after.chains.items():
        if before.chains.get(name) != texts:
            chain = Chain(name)
            yield [("add", chain), ("flush", chain), *(("add", Rule(name, text)) for text in texts)]
    for container, items in after.elements.items():
        had = before.elements[container]
        for key in sorted(had.keys() | items.keys()):
            one, other = had.get(key), items.get(key)
            if one != other:
                step: _Step = [] if one is None else [("delete", Elements(container, (one,)))]
                yield step if other is None else [*step, ("add", Elements(container, (other,)))]
    # Those that lead to others come after them, so go before them.
    for name in reversed(before.chains):
        if name not in after.chains:
            yield [("flush", Chain(name)), ("delete", Chain(name))]


def _pieces(steps: Iterable[_Step]) -> Iterator[Transaction]:
    piece, size = Transaction(TABLE), 0
    for step in steps:
        length = sum(len(item.statement(verb, TABLE)) for verb, item in step)
        if size and size + length > _PIECE:
            yield piece
            piece, size = Transaction(TABLE), 0
        for verb, item in step:
            _METHODS[verb](piece, item)
        size += length
    if size:
        yield piece


_METHODS: Final = {"add": Transaction.add, "flush": Transaction.flush, "delete": Transaction.delete}
