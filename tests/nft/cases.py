# SPDX-License-Identifier: Apache-2.0
"""Transactions that nft accepts or refuses: a name, what is run one after another, and the class of the last answer."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING

from podfence.nft.chain import Chain, Hook
from podfence.nft.element import ACCEPT, DROP, Element, goto, jump
from podfence.nft.errors import AlreadyExistsError, BusyError, ConflictError, NftError, NotFoundError
from podfence.nft.rule import Rule
from podfence.nft.sets import INTERVAL, TIMEOUT, Elements, Map, Set
from podfence.nft.table import Table
from tests.nft.comparison import BLOCKS, DATA, FORWARD, HASH, PAIRS, PEERS, RANGES, C, D, T, base, new, of

if TYPE_CHECKING:
    from podfence.nft.transaction import Transaction


def ladder(count: int) -> Transaction:
    """Return a transaction that makes `count` chains of which each jumps to the next, and the base chain to the first."""
    names = [f"j{number}" for number in range(count)]
    steps = [Rule(one, f"jump {other}") for one, other in pairwise(names)]
    return base().add(*(Chain(name) for name in names), *steps, Rule("forward", f"jump {names[0]}"))


CASES: list[tuple[str, list[Transaction], type[NftError] | None]] = [
    # tables
    ("a table twice", [new().add(T), new().add(T)], None),
    ("delete an absent table", [new().delete(T)], NotFoundError),
    ("add, delete, add: a fresh table", [base(), new().add(T).delete(T).add(T, C)], None),
    (
        "flush a table",
        [base().add(Rule("c", "jump d_"), Rule("forward", "goto c"), of(HASH, "1.1.1.1")), new().flush(T)],
        None,
    ),
    ("flush an absent table", [new().flush(T)], NotFoundError),
    (
        "the first comment of a table stays",
        [new().add(Table("t", comment="a")), new().add(Table("t", comment="b"))],
        None,
    ),
    ("a chain in an absent table", [new().add(C)], NotFoundError),
    ("a set in an absent table", [new().add(HASH)], NotFoundError),
    ("a rule after its table was deleted", [base(), new().delete(T).add(T).add(Rule("c", "accept"))], NotFoundError),
    # chains
    ("a chain twice", [base(), new().add(C)], None),
    ("delete an absent chain", [base(), new().delete(Chain("x"))], NotFoundError),
    ("flush an absent chain", [base(), new().flush(Chain("x"))], NotFoundError),
    ("delete a chain with rules", [base().add(Rule("c", "accept")), new().delete(C)], None),
    ("delete a chain that jumps to itself", [base().add(Rule("c", "jump c")), new().delete(C)], BusyError),
    ("delete a chain that a rule jumps to", [base().add(Rule("c", "jump d_")), new().delete(D)], BusyError),
    (
        "delete a chain that a map goes to",
        [base().add(of(PEERS, "1.1.1.1", value=goto("c"))), new().delete(C)],
        BusyError,
    ),
    ("delete the reference, then the chain", [base().add(Rule("c", "jump d_")), new().flush(C).delete(D)], None),
    ("delete the chain, then the reference", [base().add(Rule("c", "jump d_")), new().delete(D).flush(C)], BusyError),
    (
        "delete the map, then its chain",
        [base().add(of(PEERS, "1.1.1.1", value=goto("c"))), new().delete(PEERS, C)],
        None,
    ),
    (
        "flush the map, then delete its chain",
        [base().add(of(PEERS, "1.1.1.1", value=goto("c"))), new().flush(PEERS).delete(C)],
        None,
    ),
    (
        "delete the element, then its chain",
        [base().add(of(PEERS, "1.1.1.1", value=goto("c"))), new().delete(of(PEERS, "1.1.1.1")).delete(C)],
        None,
    ),
    (
        "another policy for a base chain",
        [base(), new().add(replace(FORWARD, hook=Hook("filter", "forward", 0, "drop")))],
        None,
    ),
    ("another hook for a base chain", [base(), new().add(replace(FORWARD, hook=Hook("filter", "input", 0)))], NftError),
    (
        "another priority for a base chain",
        [base(), new().add(replace(FORWARD, hook=Hook("filter", "forward", 1)))],
        NftError,
    ),
    (
        "another type for a base chain",
        [new().add(T, Chain("o", Hook("filter", "output", 0))), new().add(Chain("o", Hook("route", "output", 0)))],
        AlreadyExistsError,
    ),
    ("a hook for a regular chain", [base(), new().add(Chain("c", Hook("filter", "forward", 0)))], NftError),
    ("a base chain again without its hook", [base(), new().add(Chain("forward"))], None),
    # rules
    ("rules in order", [base().add(Rule("c", "accept"), Rule("c", "drop", "x"), Rule("c", "return"))], None),
    ("a rule in an absent chain", [base(), new().add(Rule("x", "accept"))], NotFoundError),
    ("jump to an absent chain", [base(), new().add(Rule("c", "jump x"))], NotFoundError),
    ("goto an absent chain", [base(), new().add(Rule("c", "goto x"))], NotFoundError),
    ("jump to a chain that is added later", [base(), new().add(Rule("c", "jump x"), Chain("x"))], NotFoundError),
    ("jump to a chain that is added before", [base(), new().add(Chain("x"), Rule("c", "jump x"))], None),
    ("jump to a deleted chain", [base(), new().delete(D).add(Rule("c", "jump d_"))], NotFoundError),
    ("jump to a base chain", [base(), new().add(Rule("c", "jump forward"))], NftError),
    ("a name in a comment is no reference", [base(), new().add(Rule("c", "accept", "jump x @y"))], None),
    ("a name in a log prefix is no reference", [base(), new().add(Rule("c", 'log prefix "jump x @y" group 1'))], None),
    (
        "a verdict in an anonymous map",
        [base(), new().add(Rule("c", "ip saddr vmap { 10.0.0.1 : goto x, 10.0.0.2 : drop }"))],
        NotFoundError,
    ),
    ("delete an absent rule", [base(), new().delete(Rule("c", "accept", handle=99))], NotFoundError),
    ("look up an absent set", [base(), new().add(Rule("c", "ip saddr @x accept"))], NotFoundError),
    ("look up an absent map", [base(), new().add(Rule("c", "ip saddr vmap @x"))], NotFoundError),
    ("look up a set as a map", [base(), new().add(Rule("c", "ip saddr vmap @h"))], NftError),
    ("look up a map as a set", [base(), new().add(Rule("c", "ip saddr @m accept"))], None),
    ("fifteen jumps in a row", [ladder(15)], None),
    ("sixteen jumps in a row", [ladder(16)], NftError),
    (
        "a circle",
        [base().add(Rule("c", "jump d_"), Rule("forward", "jump c")), new().add(Rule("d_", "goto c"))],
        NftError,
    ),
    (
        "a circle through a map",
        [
            base().add(Rule("c", "ip saddr vmap @m"), Rule("forward", "jump c")),
            new().add(of(PEERS, "1.1.1.1", value=goto("c"))),
        ],
        NftError,
    ),
    ("a circle that nothing leads to", [base().add(Rule("c", "jump d_"), Rule("d_", "goto c"))], None),
    (
        "a circle that something leads to later",
        [base().add(Rule("c", "jump d_"), Rule("d_", "goto c")), new().add(Rule("forward", "jump c"))],
        NftError,
    ),
    # sets and maps
    ("a set twice", [base(), new().add(HASH, replace(HASH, comment="x"))], None),
    ("a set with another type", [base(), new().add(replace(HASH, types=("ipv6_addr",)))], AlreadyExistsError),
    ("a set with other flags", [base(), new().add(replace(HASH, flags=INTERVAL))], AlreadyExistsError),
    (
        "a set with a timeout",
        [base(), new().add(replace(HASH, flags=TIMEOUT, timeout=60))],
        AlreadyExistsError,
    ),
    ("a map where a set is", [base(), new().add(Map("h", ("ipv4_addr",)))], AlreadyExistsError),
    ("a map with other values", [base(), new().add(replace(PEERS, values=("mark",)))], AlreadyExistsError),
    ("delete an absent set", [base(), new().delete(Set("x", ("mark",)))], NotFoundError),
    ("delete an absent map", [base(), new().delete(Map("x", ("mark",)))], NotFoundError),
    ("delete a map as a set", [base(), new().delete(Set("m", ("ipv4_addr",)))], None),
    ("delete a set as a map", [base(), new().delete(Map("h", ("ipv4_addr",)))], None),
    ("flush an absent set", [base(), new().flush(Set("x", ("mark",)))], NotFoundError),
    ("flush a map as a set", [base(), new().flush(Set("m", ("ipv4_addr",)))], NotFoundError),
    ("flush a set as a map", [base(), new().flush(Map("h", ("ipv4_addr",)))], NotFoundError),
    ("delete a set that a rule looks up", [base().add(Rule("c", "ip saddr @h accept")), new().delete(HASH)], BusyError),
    ("delete a map that a rule looks up", [base().add(Rule("c", "ip saddr vmap @m")), new().delete(PEERS)], BusyError),
    (
        "delete the lookup, then the set",
        [base().add(Rule("c", "ip saddr @h accept")), new().flush(C).delete(HASH)],
        None,
    ),
    (
        "flush a set that a rule looks up",
        [base().add(Rule("c", "ip saddr @h accept"), of(HASH, "1.1.1.1")), new().flush(HASH)],
        None,
    ),
    (
        "another set under the same name",
        [base(), new().delete(HASH).add(Set("h", ("ipv6_addr",)), of(Set("h", ("ipv6_addr",)), "fd00::1"))],
        None,
    ),
    # elements
    ("an element twice", [base().add(of(HASH, "1.1.1.1")), new().add(of(HASH, "1.1.1.1", "1.1.1.2"))], None),
    ("an element twice in one command", [base().add(of(HASH, "1.1.1.1", "1.1.1.1"))], None),
    ("delete an absent element", [base(), new().delete(of(HASH, "1.1.1.1"))], NotFoundError),
    (
        "delete an element twice",
        [base().add(of(HASH, "1.1.1.1")), new().delete(of(HASH, "1.1.1.1", "1.1.1.1"))],
        NotFoundError,
    ),
    ("an element in an absent set", [base(), new().add(of(Set("x", ("ipv4_addr",)), "1.1.1.1"))], NotFoundError),
    ("an element of a deleted set", [base(), new().delete(HASH).add(of(HASH, "1.1.1.1"))], NotFoundError),
    ("an element of another type", [base(), new().add(of(Set("h", ("ipv6_addr",)), "fd00::1"))], NftError),
    ("an element of fewer parts", [base(), new().add(of(Set("p", ("ipv4_addr",)), "1.1.1.1"))], NftError),
    ("an element of more parts", [base(), new().add(of(Set("h", ("ipv4_addr", "mark")), "1.1.1.1 . 1"))], NftError),
    (
        "an interval in a set of single keys",
        [base(), new().add(of(Set("h", ("ipv4_addr",), INTERVAL), "1.1.1.1-1.1.1.5"))],
        NftError,
    ),
    ("a verdict in a set", [base(), new().add(of(Map("h", ("ipv4_addr",)), "1.1.1.1", value=DROP))], NftError),
    ("no verdict in a map", [base(), new().add(of(Set("m", ("ipv4_addr",)), "1.1.1.1"))], NftError),
    (
        "a datum in a verdict map",
        [base(), new().add(of(Map("m", ("ipv4_addr",), ("inet_service",)), "1.1.1.1", value=("80",)))],
        NftError,
    ),
    ("a verdict in a map of data", [base(), new().add(of(Map("d", ("ipv4_addr",)), "1.1.1.1", value=DROP))], NftError),
    ("a datum", [base().add(of(DATA, "1.1.1.1", value=("80",)))], None),
    (
        "a timeout in a set without",
        [
            base(),
            new().add(Elements(replace(HASH, flags=TIMEOUT), (Element(("1.1.1.1",), timeout=60),))),
        ],
        NftError,
    ),
    (
        "an absent chain before a key that is there with another verdict",
        [
            base().add(of(PEERS, "1.1.1.1", value=DROP)),
            new().add(of(PEERS, "1.1.1.2", value=goto("x")), of(PEERS, "1.1.1.1", value=ACCEPT)),
        ],
        NotFoundError,
    ),
    (
        "an absent chain after a key that is there with another verdict",
        [
            base().add(of(PEERS, "1.1.1.1", value=DROP)),
            new().add(of(PEERS, "1.1.1.1", value=ACCEPT), of(PEERS, "1.1.1.2", value=goto("x"))),
        ],
        AlreadyExistsError,
    ),
    ("a verdict that names an absent chain", [base(), new().add(of(PEERS, "1.1.1.1", value=goto("x")))], NotFoundError),
    (
        "a verdict that names a chain added later",
        [base(), new().add(of(PEERS, "1.1.1.1", value=goto("x")), Chain("x"))],
        NotFoundError,
    ),
    ("a verdict that names a base chain", [base(), new().add(of(PEERS, "1.1.1.1", value=jump("forward")))], NftError),
    (
        "the same verdict again",
        [base().add(of(PEERS, "1.1.1.1", value=goto("c"))), new().add(of(PEERS, "1.1.1.1", value=goto("c")))],
        None,
    ),
    (
        "another verdict for a present key",
        [base().add(of(PEERS, "1.1.1.1", value=goto("c"))), new().add(of(PEERS, "1.1.1.1", value=goto("d_")))],
        AlreadyExistsError,
    ),
    (
        "another verdict after deleting the key",
        [
            base().add(of(PEERS, "1.1.1.1", value=goto("c"))),
            new().delete(of(PEERS, "1.1.1.1")).add(of(PEERS, "1.1.1.1", value=DROP)),
        ],
        None,
    ),
    (
        "delete a key of a map by another value",
        [base().add(of(PEERS, "1.1.1.1", value=goto("c"))), new().delete(of(PEERS, "1.1.1.1", value=DROP))],
        None,
    ),
    # intervals
    ("intervals that touch", [base().add(of(RANGES, "1.1.1.0-1.1.1.255", "1.1.2.0-1.1.2.255", "1.1.3.0"))], None),
    (
        "the same interval twice",
        [base().add(of(RANGES, "1.1.1.0-1.1.1.255")), new().add(of(RANGES, "1.1.1.0-1.1.1.255"))],
        None,
    ),
    (
        "the same interval twice in one command",
        [base().add(of(RANGES, "1.1.1.0-1.1.1.255", "1.1.1.0-1.1.1.255"))],
        None,
    ),
    (
        "an interval in a present one",
        [base().add(of(RANGES, "1.1.1.0-1.1.1.255")), new().add(of(RANGES, "1.1.1.4-1.1.1.5"))],
        ConflictError,
    ),
    (
        "an interval around a present one",
        [base().add(of(RANGES, "1.1.1.4-1.1.1.5")), new().add(of(RANGES, "1.1.1.0-1.1.1.255"))],
        ConflictError,
    ),
    (
        "an interval that starts as a present one",
        [base().add(of(RANGES, "1.1.1.0-1.1.1.255")), new().add(of(RANGES, "1.1.1.0-1.1.1.5"))],
        ConflictError,
    ),
    (
        "an interval that ends as a present one",
        [base().add(of(RANGES, "1.1.1.0-1.1.1.255")), new().add(of(RANGES, "1.1.1.9-1.1.1.255"))],
        ConflictError,
    ),
    (
        "a single key in an interval",
        [base().add(of(RANGES, "1.1.1.0-1.1.1.255")), new().add(of(RANGES, "1.1.1.7"))],
        ConflictError,
    ),
    ("overlaps in one command", [base(), new().add(of(RANGES, "1.1.1.0-1.1.1.255", "1.1.1.9-1.1.2.5"))], ConflictError),
    (
        "overlaps in one transaction",
        [base(), new().add(of(RANGES, "1.1.1.0-1.1.1.255")).add(RANGES).add(of(RANGES, "1.1.1.9-1.1.2.5"))],
        ConflictError,
    ),
    (
        "the whole space and one more",
        [base().add(of(RANGES, "0.0.0.0-255.255.255.255")), new().add(of(RANGES, "255.255.255.255"))],
        ConflictError,
    ),
    ("both ends of the space", [base().add(of(RANGES, "0.0.0.0", "255.255.255.255", "1.1.1.1-255.255.255.254"))], None),
    (
        "delete, then overlap",
        [
            base().add(of(RANGES, "1.1.1.0-1.1.1.255")),
            new().delete(of(RANGES, "1.1.1.0-1.1.1.255")).add(of(RANGES, "1.1.1.9-1.1.2.5")),
        ],
        None,
    ),
    (
        "flush, then overlap",
        [base().add(of(RANGES, "1.1.1.0-1.1.1.255")), new().flush(RANGES).add(of(RANGES, "1.1.1.9-1.1.2.5"))],
        None,
    ),
    (
        "delete a part of an interval",
        [base().add(of(RANGES, "1.1.1.0-1.1.1.255")), new().delete(of(RANGES, "1.1.1.0-1.1.1.5"))],
        NotFoundError,
    ),
    ("delete an absent interval", [base(), new().delete(of(RANGES, "1.1.1.0-1.1.1.5"))], NotFoundError),
    (
        "another verdict for a present interval",
        [base().add(of(BLOCKS, "1.1.1.0-1.1.1.5", value=DROP)), new().add(of(BLOCKS, "1.1.1.0-1.1.1.5", value=ACCEPT))],
        AlreadyExistsError,
    ),
    (
        "an overlap in a map",
        [base().add(of(BLOCKS, "1.1.1.0-1.1.1.5", value=DROP)), new().add(of(BLOCKS, "1.1.1.5-1.1.1.9", value=DROP))],
        ConflictError,
    ),
    (
        "concatenated intervals",
        [base().add(of(PAIRS, "1.1.1.0-1.1.1.255 . 80-90", "1.1.1.0-1.1.1.255 . 91", "1.1.2.0 . 80-90"))],
        None,
    ),
    (
        "a concatenated interval in a present one",
        [base().add(of(PAIRS, "1.1.1.0-1.1.1.255 . 80-90")), new().add(of(PAIRS, "1.1.1.9 . 85"))],
        AlreadyExistsError,
    ),
    (
        "a concatenated interval around a present one",
        [base().add(of(PAIRS, "1.1.1.9 . 85")), new().add(of(PAIRS, "1.1.1.0-1.1.1.255 . 80-90"))],
        None,
    ),
    (
        "the same concatenated interval twice",
        [base().add(of(PAIRS, "1.1.1.0-1.1.1.255 . 80-90")), new().add(of(PAIRS, "1.1.1.0-1.1.1.255 . 80-90"))],
        None,
    ),
    # all or nothing
    (
        "nothing of a refused transaction stays",
        [
            base().add(of(HASH, "1.1.1.1")),
            new()
            .add(Chain("x"), Rule("c", "drop"), of(HASH, "9.9.9.9"))
            .delete(of(HASH, "1.1.1.1"), FORWARD, D, Chain("nope")),
        ],
        NotFoundError,
    ),
    (
        "a refused transaction before an accepted one",
        [base(), new().add(Chain("x"), of(PEERS, "1.1.1.1", value=goto("c"))).delete(C), new().delete(C)],
        None,
    ),
]
