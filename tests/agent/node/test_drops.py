# SPDX-License-Identifier: Apache-2.0
"""Totals of dropped packets: what the kernel's counters amount to, whatever becomes of the rules."""

from __future__ import annotations

from typing import TYPE_CHECKING

from podfence.agent.node.drops import AGAIN, Drops, DropTotals
from podfence.dataplane.ruleset import TABLE
from podfence.nft.errors import NotFoundError
from podfence.nft.runner import RuleCounter
from tests.nft.fake import FakeRunner

if TYPE_CHECKING:
    from podfence.nft.table import Table


class Counting(FakeRunner):
    """A table whose counters the test sets; without any there is no table."""

    def __init__(self) -> None:
        super().__init__()
        self.figures: dict[tuple[str, int], int] | None = {}
        self.frames: dict[tuple[str, int], int] | None = None
        self.looks = 0

    def counters(self, table: Table) -> tuple[RuleCounter, ...]:
        figures = self.figures if table == TABLE else self.frames
        self.looks += table == TABLE
        if figures is None:
            raise NotFoundError("No such file or directory")
        return tuple(RuleCounter(chain, handle, None, number, 0) for (chain, handle), number in figures.items())


class Watched:
    """Totals by a clock that the test moves."""

    def __init__(self) -> None:
        self.now = 0.0
        self.runner = Counting()
        self.drops = DropTotals(self.runner, lambda: self.now)

    def see(self, figures: dict[tuple[str, int], int] | None) -> Drops | None:
        self.now += AGAIN
        self.runner.figures = figures
        return self.drops.read(AGAIN)


def test_each_kind_of_chain_counts_for_its_kind_and_admitting_ones_for_none() -> None:
    found = Watched().see(
        {
            ("deny_e_shop_web_1", 1): 1,
            ("deny_i_shop_db_1", 2): 10,
            ("deny_i_shop_db_1", 3): 20,
            ("hold", 4): 100,
            ("revoked", 5): 1000,
            ("ok_in_shop_db_1", 6): 10000,
            ("unknown_source", 7): 7,
            ("unknown_destination", 8): 8,
            ("tunnelled", 9): 9,
            ("refused", 10): 2,
            ("refused", 11): 3,
            ("announced", 12): 4,
            ("midstream", 13): 10000,
        }
    )
    policies = Drops(egress=1, ingress=30, held=100, cut=1000, segments=5, errors=4)
    assert found == policies._replace(unknown_source=7, unknown_destination=8, tunnel=9)
    assert found.stray == {"unknown-source": 7, "unknown-destination": 8, "unknown-protocol": 0, "tunnel": 9}


def test_a_chain_of_the_same_name_in_the_table_of_frames_is_another_one() -> None:
    watched = Watched()
    watched.see({("unknown_source", 1): 5})
    watched.runner.frames = {("unknown_source", 1): 3, ("held", 2): 1}
    assert watched.see({("unknown_source", 1): 5}) == Drops(held=1, unknown_source=8)


def test_a_total_stays_when_a_group_goes_or_is_made_again_and_grows_from_there() -> None:
    watched = Watched()
    assert watched.see({("deny_i_a", 1): 5}) == Drops(ingress=5)
    assert watched.see({}) == Drops(ingress=5)
    assert watched.see({("deny_i_a", 9): 2}) == Drops(ingress=7)
    assert watched.see({("deny_i_a", 9): 1}) == Drops(ingress=8)
    assert watched.see({("deny_i_a", 9): 4}) == Drops(ingress=11)


def test_a_table_that_cannot_be_read_leaves_the_totals_as_they_were() -> None:
    watched = Watched()
    watched.see({("hold", 1): 3})
    assert watched.see(None) is None
    assert watched.drops.totals == Drops(held=3)
    assert watched.see({("hold", 1): 4}) == Drops(held=4)


def test_many_who_scrape_do_not_keep_nft_busy() -> None:
    watched = Watched()
    watched.see({("hold", 1): 3})
    watched.runner.figures = {("hold", 1): 7}
    assert watched.drops.read(AGAIN) == Drops(held=3)
    assert watched.runner.looks == 1
