# SPDX-License-Identifier: Apache-2.0
"""An nft in memory, for tests of what stands on this layer.

It accepts and refuses what nft does with tables, chains, sets, maps, elements and what rules refer to, and the
tests of this layer compare both. It does not read the language of rules: of a rule it knows `jump`, `goto`,
`@set` and `vmap @map`. Nothing in it expires, and its counters stand at zero.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from podfence.nft.chain import Chain
from podfence.nft.errors import NftError, NotFoundError
from podfence.nft.listing import in_order
from podfence.nft.rule import Rule
from podfence.nft.runner import Contents, RuleCounter
from podfence.nft.sets import Elements, Map, Set
from podfence.nft.table import Table
from tests.nft.fake_table import MISSING, FakeTable

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from podfence.nft.element import Element
    from podfence.nft.transaction import Operation, Transaction

VERSION: Final = "1.0.6"
"""The version of nft whose answers the fake gives."""

Tables = dict[str, FakeTable]


class FakeRunner:
    """A runner without a kernel; `lacks` are pieces of rules that its kernel cannot load, as `ct label`."""

    def __init__(self, *, lacks: Collection[str] = ()) -> None:
        """Start without any table."""
        self.lacks = tuple(lacks)
        self._tables: Tables = {}

    def version(self) -> str:
        """Return the version of nft that is imitated."""
        return VERSION

    def run(self, transaction: Transaction) -> None:
        """Carry out all of the transaction or nothing of it."""
        self._tables = self._after(transaction)

    def check(self, transaction: Transaction) -> None:
        """Raise what `run` would raise, and change nothing."""
        self._after(transaction)

    def list_table(self, table: Table) -> Table:
        """Return the table with its comment."""
        return self._table(table).table

    def list_chains(self, table: Table) -> tuple[Chain, ...]:
        """Return the chains of a table."""
        return tuple(self._table(table).chains.values())

    def list_elements(self, table: Table, container: Set | Map) -> tuple[Element, ...]:
        """Return the elements of a set or map, in the order of their keys."""
        store = self._table(table).stores.get(container.name)
        if store is None or type(store.container) is not type(container):
            raise NotFoundError(MISSING)
        return in_order(store.container, list(store.elements.values()))

    def counters(self, table: Table) -> tuple[RuleCounter, ...]:
        """Return a counter at zero for each rule that counts."""
        return tuple(
            RuleCounter(rule.chain, rule.handle or 0, rule.comment, 0, 0)
            for rules in self._table(table).rules.values()
            for rule in rules
            if "counter" in rule.text.split()
        )

    def contents(self, table: Table) -> Contents:
        """Return all of a table."""
        own = self._table(table)
        return Contents(
            own.table,
            self.list_chains(table),
            tuple(sorted((store.container for store in own.stores.values()), key=lambda found: isinstance(found, Map))),
            {chain: tuple(rules) for chain, rules in own.rules.items()},
            {name: in_order(store.container, list(store.elements.values())) for name, store in own.stores.items()},
        )

    def _table(self, table: Table) -> FakeTable:
        return _existing(self._tables, table)

    def _after(self, transaction: Transaction) -> Tables:
        """Return the tables as they are after the transaction."""
        if transaction.error is not None:
            raise transaction.error
        tables = dict(self._tables)
        if transaction.table.address in tables:
            tables[transaction.table.address] = tables[transaction.table.address].copy()
        line, statement = 0, ""
        try:
            for line, operation in enumerate(transaction.commands(), 1):  # noqa: B007  # the refused line is told
                statement = operation.object.statement(operation.verb, transaction.table)
                self._refuse_unknown(operation)
                _apply(tables, transaction.table, operation)
            for table in tables.values():
                table.refuse_depth()
        except NftError as error:
            raise type(error)(error.text, line=line, statement=statement) from error
        return tables

    def _refuse_unknown(self, operation: Operation) -> None:
        if isinstance(operation.object, Rule) and any(piece in operation.object.text for piece in self.lacks):
            raise NotFoundError(MISSING)


def _existing(tables: Mapping[str, FakeTable], table: Table) -> FakeTable:
    if table.address not in tables:
        raise NotFoundError(MISSING)
    return tables[table.address]


def _apply(tables: Tables, table: Table, operation: Operation) -> None:
    verb, item = operation
    if isinstance(item, Table):
        if verb == "add":
            tables.setdefault(table.address, FakeTable(item))
            return
        own = _existing(tables, table)
        if verb == "delete":
            del tables[table.address]
        else:
            own.flush()
        return
    own = _existing(tables, table)
    if isinstance(item, Chain):
        own.chain(verb, item)
    elif isinstance(item, Rule):
        own.rule(verb, item)
    elif isinstance(item, Elements):
        own.elements(verb, item)
    else:
        own.container(verb, item)
