# SPDX-License-Identifier: Apache-2.0
"""The fake accepts and refuses what nft does, for the same reason, and then holds the same."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from podfence.nft.element import DROP
from podfence.nft.errors import NftError, NotFoundError
from podfence.nft.rule import Rule
from podfence.nft.sets import Map, Set
from tests.nft.cases import CASES
from tests.nft.comparison import PEERS, C, T, base, held, new, of, outcome
from tests.nft.fake import FakeRunner

if TYPE_CHECKING:
    from collections.abc import Callable

    from podfence.nft.process import NftRunner
    from podfence.nft.runner import Runner
    from podfence.nft.transaction import Transaction


@pytest.mark.parametrize(("name", "transactions", "expected"), CASES, ids=[name for name, _, _ in CASES])
def test_nft_and_the_fake_agree(
    name: str, transactions: list[Transaction], expected: type[NftError] | None, real: NftRunner
) -> None:
    fake = FakeRunner()

    outcomes = [(outcome(real, transaction), outcome(fake, transaction)) for transaction in transactions]

    assert outcomes[-1] == (expected, expected)
    assert all(one == other for one, other in outcomes)
    assert held(real) == held(fake)


def test_both_tell_the_refused_line(real: NftRunner) -> None:
    transaction = base().add(Rule("c", "accept"), Rule("nope", "accept")).add(Rule("c", "drop"))

    for runner in (real, FakeRunner()):
        with pytest.raises(NotFoundError) as caught:
            runner.run(transaction)
        assert caught.value.line == 12
        assert caught.value.statement == "add rule inet t nope accept"


def test_check_refuses_what_run_refuses_and_changes_nothing(real: NftRunner) -> None:
    for runner in (real, FakeRunner()):
        runner.check(base())
        assert held(runner) is None
        with pytest.raises(NotFoundError):
            runner.check(new().add(C))


def test_rules_are_deleted_by_their_handles(real: NftRunner) -> None:
    for runner in (real, FakeRunner()):
        runner.run(base().add(*(Rule("c", "counter", str(number)) for number in range(4))))
        rules = runner.contents(T).rules["c"]
        runner.run(new().delete(rules[2]))
        after = runner.contents(T).rules["c"]

        assert [(rule.text, rule.comment) for rule in after] == [("counter", "0"), ("counter", "1"), ("counter", "3")]
        assert [rule.handle for rule in after] == [rules[0].handle, rules[1].handle, rules[3].handle]


@pytest.mark.parametrize("read", ["list_table", "list_chains", "counters", "contents"])
def test_reading_an_absent_table_is_refused(read: str, real: NftRunner) -> None:
    for runner in (real, FakeRunner()):
        with pytest.raises(NotFoundError):
            getattr(runner, read)(T)


def test_reading_what_is_absent_in_a_table_is_refused(real: NftRunner) -> None:
    absent: list[Callable[[Runner], object]] = [
        lambda runner: runner.list_elements(T, Set("x", ("mark",))),
        lambda runner: runner.list_elements(T, Map("h", ("ipv4_addr",))),
    ]
    for runner in (real, FakeRunner()):
        runner.run(base())
        for read in absent:
            with pytest.raises(NotFoundError):
                read(runner)


def test_both_list_the_same_piece_by_piece(real: NftRunner) -> None:
    fake = FakeRunner()
    for runner in (real, fake):
        runner.run(
            base().add(
                Rule("c", "counter drop", "x"), Rule("d_", "accept"), of(PEERS, "1.1.1.9", "1.1.1.10", value=DROP)
            )
        )

    assert real.list_table(T) == fake.list_table(T)
    assert real.list_chains(T) == fake.list_chains(T)
    assert real.contents(T).sets == fake.contents(T).sets
    assert real.list_elements(T, PEERS) == fake.list_elements(T, PEERS)
    assert (
        [counter.comment for counter in real.counters(T)] == [counter.comment for counter in fake.counters(T)] == ["x"]
    )
