# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from podfence.nft.chain import Chain, Hook
from podfence.nft.element import DROP, Element, goto
from podfence.nft.errors import InvalidError
from podfence.nft.rule import Rule
from podfence.nft.sets import Elements, Map, Set
from podfence.nft.table import Table
from podfence.nft.transaction import CHUNK, Transaction
from tests.nft.fake import FakeRunner

if TYPE_CHECKING:
    from collections.abc import Callable

    from podfence.nft.process import NftRunner

TABLE = Table("t", comment="x")
PEERS = Map("peers", ("ipv4_addr",))
RANGES = Set("ranges", ("ipv4_addr",), frozenset({"interval"}), comment="r")
SCRIPT = """\
add table inet t { comment "x"; }
delete table inet t
add table inet t { comment "x"; }
add chain inet t f { type filter hook forward priority -5; policy drop; comment "b"; }
add chain inet t c
add map inet t peers { type ipv4_addr : verdict; }
add set inet t ranges { type ipv4_addr; flags interval; comment "r"; }
add rule inet t f ip saddr vmap @peers comment "why"
delete rule inet t f handle 8
add element inet t peers { 10.0.0.1 comment "k" : goto c, 10.0.0.2 : drop }
delete element inet t peers { 10.0.0.1 }
add element inet t ranges { 10.0.0.0-10.255.255.255 }
flush chain inet t c
flush map inet t peers
flush set inet t ranges
delete map inet t peers
delete chain inet t f
"""


def whole() -> Transaction:
    one, two = Element(("10.0.0.1",), value=goto("c"), comment="k"), Element(("10.0.0.2",), value=DROP)
    return (
        Transaction(TABLE)
        .add(TABLE)
        .delete(TABLE)
        .add(TABLE)
        .add(Chain("f", Hook("filter", "forward", -5, "drop"), "b"), Chain("c"), PEERS, RANGES)
        .add(Rule("f", "ip saddr vmap @peers", "why"))
        .delete(Rule("f", "counter", handle=8))
        .add(Elements(PEERS, (one,)), Elements(PEERS, (two,)))
        .delete(Elements(PEERS, (one,)))
        .add(Elements(RANGES, (Element.block("10.0.0.0/8"),)))
        .flush(Chain("c"), PEERS, RANGES)
        .delete(PEERS, Chain("f"))
    )


def test_the_text_of_a_transaction_is_the_script() -> None:
    assert str(whole()) == SCRIPT


def test_operations_are_counted_by_verb_and_kind_and_elements_singly() -> None:
    transaction = whole()

    assert transaction.counts["add element"] == 3
    assert transaction.counts["add chain"] == 2
    assert len(transaction) == 18


def test_an_empty_transaction_is_an_empty_script_that_nft_takes(real: NftRunner) -> None:
    transaction = Transaction(TABLE)

    real.run(transaction)

    assert (str(transaction), len(transaction)) == ("", 0)


def test_many_elements_share_few_commands_and_keep_their_order() -> None:
    keys = [str(number) for number in range(2 * CHUNK + 1)]
    ports = Set("ports", ("inet_service",))
    transaction = Transaction(TABLE).add(*(Elements(ports, (Element((key,)),)) for key in keys))

    lines = str(transaction).splitlines()

    assert len(lines) == 3
    assert [key for line in lines for key in line[line.index("{") + 2 : -2].split(", ")] == keys
    assert len(transaction) == len(keys)


def test_elements_are_not_brought_together_across_another_operation() -> None:
    ports = Set("ports", ("inet_service",))
    one = Elements(ports, (Element(("1",)),))

    transaction = Transaction(TABLE).add(one).flush(ports).add(one).delete(one).add(one)

    assert [line.split()[0] for line in str(transaction).splitlines()] == ["add", "flush", "add", "delete", "add"]


REFUSED: list[tuple[Callable[[Transaction], Transaction], str]] = [
    (lambda t: t.flush(Rule("c", "accept")), "nft has no 'flush' for rules"),
    (lambda t: t.flush(Elements(RANGES, ())), "nft has no 'flush' for elements"),
    (lambda t: t.delete(Rule("c", "accept")), "delete needs a rule with a handle"),
    (lambda t: t.add(Rule("c", "accept", handle=3)), "add takes a rule without a handle"),
    (lambda t: t.add(Table("other")), "not on inet other"),
    (lambda t: t.add(Elements(PEERS, (Element(("10.0.0.1",)),))), "needs a value: 10.0.0.1"),
]


@pytest.mark.parametrize(("operation", "reason"), REFUSED, ids=[reason for _, reason in REFUSED])
def test_the_first_invalid_operation_is_told_when_the_transaction_is_run(
    operation: Callable[[Transaction], Transaction], reason: str
) -> None:
    transaction = operation(Transaction(TABLE).add(TABLE)).delete(Rule("later", "accept"))
    runner = FakeRunner()

    for carry_out in (runner.run, runner.check):
        with pytest.raises(InvalidError, match=reason):
            carry_out(transaction)

    assert str(transaction).splitlines()[-1] == f"# refused: {transaction.error}"


def test_elements_of_a_map_are_deleted_without_values() -> None:
    assert Transaction(TABLE).delete(Elements(PEERS, (Element(("10.0.0.1",)),))).error is None


def test_an_invalid_transaction_never_reaches_nft(real: NftRunner) -> None:
    with pytest.raises(InvalidError):
        real.run(Transaction(TABLE).add(TABLE).delete(Rule("c", "accept")))

    assert real.check(Transaction(TABLE).add(TABLE)) is None  # type: ignore[func-returns-value]
