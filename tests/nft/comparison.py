# SPDX-License-Identifier: Apache-2.0
"""What comparing the fake with the real nft needs: a table with one of everything, and what a runner then holds."""

from __future__ import annotations

from dataclasses import replace
from operator import attrgetter
from typing import TYPE_CHECKING

from podfence.nft.chain import Chain, Hook
from podfence.nft.element import Element, Key, Verdict
from podfence.nft.errors import NftError, NotFoundError
from podfence.nft.sets import INTERVAL, Elements, Map, Set
from podfence.nft.table import Table
from podfence.nft.transaction import Transaction

if TYPE_CHECKING:
    from podfence.nft.runner import Contents, Runner

T = Table("t")
FORWARD = Chain("forward", Hook("filter", "forward", 0))
HASH, RANGES, PAIRS = (
    Set("h", ("ipv4_addr",)),
    Set("r", ("ipv4_addr",), INTERVAL),
    Set("p", ("ipv4_addr", "inet_service"), INTERVAL),
)
PEERS, BLOCKS = Map("m", ("ipv4_addr",)), Map("b", ("ipv4_addr",), flags=INTERVAL)
DATA = Map("d", ("ipv4_addr",), ("inet_service",))
C, D = Chain("c"), Chain("d_")


def new() -> Transaction:
    return Transaction(T)


def base() -> Transaction:
    return new().add(T, FORWARD, C, D, HASH, RANGES, PAIRS, PEERS, BLOCKS, DATA)


def of(container: Set | Map, *keys: str, value: Verdict | Key | None = None) -> Elements:
    """Return elements whose keys are written as `a`, `a-b` or `a . b`."""
    items = []
    for key in keys:
        pairs = [(part.split("-")[0], part.split("-")[-1]) for part in key.split(" . ")]
        items.append(Element(tuple(a for a, _ in pairs), tuple(b for _, b in pairs), value))
    return Elements(container, tuple(items))


def refusal(runner: Runner, transaction: Transaction) -> NftError | None:
    try:
        runner.run(transaction)
    except NftError as error:
        return error
    return None


def outcome(runner: Runner, transaction: Transaction) -> type[NftError] | None:
    """Return the class of the refusal, or None if the transaction was carried out."""
    error = refusal(runner, transaction)
    return None if error is None else type(error)


def held(runner: Runner) -> Contents | None:
    """Return what the table holds, or None if there is no table."""
    try:
        return anonymous(runner.contents(T))
    except NotFoundError:
        return None


def anonymous(found: Contents) -> Contents:
    """Return the same contents without the numbers and the order that the kernel chooses."""
    return replace(
        found,
        rules={name: tuple(replace(rule, handle=None) for rule in rules) for name, rules in found.rules.items()},
        chains=tuple(sorted(found.chains, key=attrgetter("name"))),
        sets=tuple(sorted(found.sets, key=attrgetter("name"))),
    )
