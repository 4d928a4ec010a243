# SPDX-License-Identifier: Apache-2.0
"""What can carry out a transaction and read a table back: nft itself, or one in memory for tests."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping

    from podfence.nft.chain import Chain
    from podfence.nft.element import Element
    from podfence.nft.rule import Rule
    from podfence.nft.sets import Map, Set
    from podfence.nft.table import Table
    from podfence.nft.transaction import Transaction


@dataclass(frozen=True, slots=True)
class RuleCounter:
    """The figures of the first counter in a rule: packets and bytes since it was made."""

    chain: str
    handle: int
    comment: str | None
    packets: int
    bytes: int


@dataclass(frozen=True, slots=True)
class Contents:
    """All that a table holds; rules by chain in their order, elements by set or map in the order of their keys."""

    table: Table
    chains: tuple[Chain, ...]
    sets: tuple[Set | Map, ...]
    rules: Mapping[str, tuple[Rule, ...]]
    elements: Mapping[str, tuple[Element, ...]]


class Runner(Protocol):
    """All methods raise NftError or what derives from it; the reading ones NotFoundError for what does not exist."""

    def __hash__(self) -> int:
        """Return a hash: a runner is equal to itself alone."""
        ...

    def version(self) -> str:
        """Return the version of nft, as in `1.0.6`."""
        ...

    def run(self, transaction: Transaction) -> None:
        """Carry out all of the transaction or nothing of it."""
        ...

    def check(self, transaction: Transaction) -> None:
        """Raise what `run` would raise, and change nothing."""
        ...

    def list_table(self, table: Table) -> Table:
        """Return the table with its comment."""
        ...

    def list_chains(self, table: Table) -> tuple[Chain, ...]:
        """Return the chains of a table."""
        ...

    def list_elements(self, table: Table, container: Set | Map) -> tuple[Element, ...]:
        """Return the elements of a set or map, in the order of their keys."""
        ...

    def counters(self, table: Table) -> tuple[RuleCounter, ...]:
        """Return the counters of all rules that count."""
        ...

    def contents(self, table: Table) -> Contents:
        """Return all of a table; this is slow for large tables, and not for the hot path."""
        ...
